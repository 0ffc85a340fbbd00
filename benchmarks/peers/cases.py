"""What is compared: data with a fixed prior, and sizes of simulated data."""

from __future__ import annotations

import dataclasses
import warnings
from functools import partial
from typing import Any

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from benchmarks import common
from benchmarks.common import AnyArray, FloatArray

CHAINS = 4


@dataclasses.dataclass(frozen=True)
class Case:
    """Data, a Normal-Inverse-Wishart prior with fixed scale, and the number of components where it is known."""

    name: str
    X: FloatArray
    n: int
    mu_0: FloatArray
    kappa_0: float
    nu_0: float
    Psi_0: FloatArray

    def task(self, model: str) -> dict[str, Any]:
        """The settings that every system is given."""
        N, D = self.X.shape
        return {
            "case": self.name,
            "model": model,
            "N": N,
            "D": D,
            "n": self.n,
            "mu_0": self.mu_0.tolist(),
            "kappa_0": self.kappa_0,
            "nu_0": self.nu_0,
            "Psi_0": self.Psi_0.tolist(),
            "alpha": 1.0,
            "alpha_shape": 2.0,
            "alpha_rate": 4.0,
            "chains": CHAINS,
        }


def _case(name: str, X: FloatArray, n: int) -> Case:
    """With a prior as a careful user writes it: centred, weak about means, clusters smaller than the data."""
    D = X.shape[1]
    return Case(name, X, n, X.mean(0), 0.05, D + 2.0, 0.2 * np.diag(X.var(0, ddof=1)))


def real() -> list[Case]:
    """The data sets, with the number of components that is usually assumed."""
    iris, galaxies = common.data_set("iris")[0], common.data_set("galaxies")[0]
    psi = np.array([[14.813199656]])  # Galaxies: the prior of Hairault, Robert & Rousseau (2022)
    return [
        Case("iris", iris, 3, iris.mean(0), 0.01, 6.0, np.cov(iris.T) / np.sqrt(3.0)),
        Case("galaxies", galaxies, 4, np.array([20.82817073]), 0.103556777, 2.56, psi),
        *(_case(name, common.data_set(name)[0], n) for name, n in (("faithful", 2), ("thyroid", 3), ("wine", 3))),
    ]


def simulated(N: int, D: int, K: int) -> Case:
    """N rows of K components in D dimensions."""
    return _case(f"N={N:,} D={D} K={K}", common.mixture(N, D, K, seed=1), K)


def sizes(quick: bool) -> dict[str, list[tuple[int, int, int]]]:
    """(N, D, K) of the simulated data on which the cost of an iteration is measured, by what varies."""
    if quick:
        return {"N": [(N, 8, 20) for N in (1_000, 10_000)], "D": [(10_000, D, 10) for D in (2, 16)], "K": []}
    return {
        "N": [(10**e, 8, 20) for e in range(3, 8)],
        "D": [(10_000, D, 10) for D in (2, 4, 8, 16, 32, 50)],
        "K": [(100_000, 4, K) for K in (3, 10, 30, 100)],
    }


def starts(X: FloatArray, K: int) -> AnyArray:
    """A k-means clustering for each chain (of a sample, where there are many rows), (chains, N) labels."""
    rows = X if len(X) <= 20_000 else X[np.random.default_rng(0).choice(len(X), 20_000, replace=False)]
    fit = partial(KMeans, min(K, len(rows)), n_init=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return np.array([fit(random_state=c).fit(rows).predict(X) for c in range(CHAINS)], np.int32)
