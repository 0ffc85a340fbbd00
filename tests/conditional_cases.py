"""Traces and rows of which conditional densities are asked."""

from functools import lru_cache
from typing import Any

import numpy as np
from oracle import Floats
from scipy import stats
from test_predict import rows

import gibbs_gmm as gg
from gibbs_gmm.posterior import conditional as module

QUICK: dict[str, Any] = {"draws": 12, "warmup": 50, "thin": 1, "chains": 2, "rng": 1, "threads": 1, "progress": False}
_STATIC = gg.MixtureOfFiniteMixtures(stats.randint(1, 7), 0.8, dynamic=False)
KINDS: dict[str, tuple[Any, str]] = {
    "full, n known": (3, "full"),
    "full, n unknown": (None, "full"),
    "full, components empty": (gg.FiniteMixture(8, 0.2), "full"),
    "full, Pitman-Yor process": (gg.PitmanYorProcess(0.5, 0.3), "full"),
    "tied, n known": (3, "tied"),
    "tied, Dirichlet process": (gg.DirichletProcess(1.0), "tied"),
    "diag, n unknown": (None, "diag"),
    "diag, Pitman-Yor process": (gg.PitmanYorProcess(0.5, 0.3), "diag"),
    "spherical, static": (_STATIC, "spherical"),
    "spherical, Dirichlet process": (gg.DirichletProcess(1.0), "spherical"),
}
UNKNOWN = ("full, Pitman-Yor process", "tied, Dirichlet process", "diag, Pitman-Yor process")
SETS = ((), (1,), (2, 0))
"""Columns that are given, of three."""


@lru_cache
def trace_of(kind: str) -> gg.Trace:
    n_components, covariance_type = KINDS[kind]
    return gg.fit(rows(40, 3), n_components, covariance_type=covariance_type, **QUICK)


def free(given: tuple[int, ...]) -> list[int]:
    return [column for column in range(3) if column not in given]


def new_rows(M: int) -> Floats:
    """Rows like those of the fit, and every third far outside, where components without observations matter."""
    return rows(M, 3, 1) * np.where(np.arange(M) % 3, 1.0, 8.0)[:, None]


def ask(trace: gg.Trace, given: tuple[int, ...], X: Floats) -> module.Conditional:
    return trace.conditional({column: X[:, column] for column in given})
