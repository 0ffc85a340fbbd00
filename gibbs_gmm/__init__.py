"""Bayesian Gaussian mixtures: the posterior over the number of components and all of their parameters.

Start with :func:`fit`. Names are imported when they are first used, so that ``import gibbs_gmm`` is fast and compiles
nothing.
"""

from __future__ import annotations

import contextlib
import importlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gibbs_gmm import plots as plots
    from gibbs_gmm.compare import Comparison as Comparison
    from gibbs_gmm.compare import compare as compare
    from gibbs_gmm.errors import NumericalError as NumericalError
    from gibbs_gmm.estimator import GibbsGaussianMixture as GibbsGaussianMixture
    from gibbs_gmm.estimator_regressor import GibbsMixtureRegressor as GibbsMixtureRegressor
    from gibbs_gmm.evidence import Evidence as Evidence
    from gibbs_gmm.evidence import log_evidence as log_evidence
    from gibbs_gmm.fitting import fit as fit
    from gibbs_gmm.fitting import resume as resume
    from gibbs_gmm.model.component_prior import NormalInverseWishart as NormalInverseWishart
    from gibbs_gmm.model.normal_inverse_gamma import NormalInverseGamma as NormalInverseGamma
    from gibbs_gmm.model.weight_priors import DirichletProcess as DirichletProcess
    from gibbs_gmm.model.weight_priors import FiniteMixture as FiniteMixture
    from gibbs_gmm.model.weight_priors import MixtureOfFiniteMixtures as MixtureOfFiniteMixtures
    from gibbs_gmm.model.weight_priors import PitmanYorProcess as PitmanYorProcess
    from gibbs_gmm.posterior.clustering import Partition as Partition
    from gibbs_gmm.posterior.partitions import CredibleBall as CredibleBall
    from gibbs_gmm.posterior.partitions import partition_distance as partition_distance
    from gibbs_gmm.storage.trace_file import load as load
    from gibbs_gmm.trace import Trace as Trace

_HOME = {
    "Comparison": "compare",
    "CredibleBall": "posterior.partitions",
    "DirichletProcess": "model.weight_priors",
    "Evidence": "evidence",
    "GibbsGaussianMixture": "estimator",
    "GibbsGaussianMixtureClassifier": "estimator_classifier",
    "GibbsMixtureRegressor": "estimator_regressor",
    "FiniteMixture": "model.weight_priors",
    "MixtureOfFiniteMixtures": "model.weight_priors",
    "NormalInverseGamma": "model.normal_inverse_gamma",
    "NormalInverseWishart": "model.component_prior",
    "NumericalError": "errors",
    "Partition": "posterior.clustering",
    "PitmanYorProcess": "model.weight_priors",
    "Trace": "trace",
    "compare": "compare",
    "fit": "fitting",
    "load": "storage.trace_file",
    "log_evidence": "evidence",
    "partition_distance": "posterior.partitions",
    "resume": "fitting",
}

__all__ = [
    "fit",
    "resume",
    "log_evidence",
    "compare",
    "load",
    "Trace",
    "Evidence",
    "Comparison",
    "Partition",
    "CredibleBall",
    "partition_distance",
    "GibbsGaussianMixture",
    "GibbsGaussianMixtureClassifier",
    "GibbsMixtureRegressor",
    "NormalInverseWishart",
    "NormalInverseGamma",
    "FiniteMixture",
    "MixtureOfFiniteMixtures",
    "DirichletProcess",
    "PitmanYorProcess",
    "NumericalError",
    "plots",
]


def __getattr__(name: str) -> Any:
    if name == "plots":
        return importlib.import_module("gibbs_gmm.plots")
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("gibbs-gmm")
    if name not in _HOME:
        raise AttributeError(f"module 'gibbs_gmm' has no attribute {name!r}")
    with _whole(), _sign(name):
        value = getattr(importlib.import_module(f"gibbs_gmm.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def _sign(name: str) -> contextlib.AbstractContextManager[None]:
    """A sign of life in a terminal while what samples is imported."""
    if name not in ("fit", "resume", "log_evidence"):
        return contextlib.nullcontext()
    return importlib.import_module("gibbs_gmm.loading").shown()  # type: ignore[no-any-return]


@contextlib.contextmanager
def _whole() -> Iterator[None]:
    """Let Ctrl-C wait until an import has ended: numba, imported by half, cannot be imported again in the process."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread is interrupted
        yield
        return
    caught: list[tuple[int, FrameType | None]] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: caught.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before if before is not None else signal.default_int_handler)
    if caught and callable(before):
        before(*caught[0])


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
