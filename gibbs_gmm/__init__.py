"""Bayesian Gaussian mixtures: the posterior over the number of components and all of their parameters.

Start with :func:`fit`. Names are imported when they are first used, so that ``import gibbs_gmm`` is fast and compiles nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gibbs_gmm import plots as plots
    from gibbs_gmm.chains import NumericalError as NumericalError
    from gibbs_gmm.fit import fit as fit
    from gibbs_gmm.priors import NormalInverseWishart as NormalInverseWishart
    from gibbs_gmm.trace import Trace as Trace
    from gibbs_gmm.trace import load as load
    from gibbs_gmm.weight_priors import FiniteMixture as FiniteMixture

_HOME = {
    "FiniteMixture": "weight_priors",
    "NormalInverseWishart": "priors",
    "NumericalError": "chains",
    "Trace": "trace",
    "fit": "fit",
    "load": "trace",
}

__all__ = ["FiniteMixture", "NormalInverseWishart", "NumericalError", "Trace", "fit", "load", "plots"]


def __getattr__(name: str) -> Any:
    if name == "plots":
        return importlib.import_module("gibbs_gmm.plots")
    if name not in _HOME:
        raise AttributeError(f"module 'gibbs_gmm' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"gibbs_gmm.{_HOME[name]}"), name)
    globals()[name] = value  # `fit` the function, which replaces `fit` the submodule
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
