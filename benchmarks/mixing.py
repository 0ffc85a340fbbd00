"""Do chains of unknown n really move, and what does it cost: ``python -m benchmarks.mixing [--quick]``.

1. effective draws of n+ a second on one core, after warm-up, on data sets with a fixed prior (arviz-stats' mean ESS
   over four dispersed chains, by the CPU time of the sweeps), and p(n+) on Iris against independent figures;
2. ``fit(X)`` as it is, on six data sets: seconds and R-hat of n+;
3. large simulated mixtures: sweeps until the true n from one cluster and from 30 random ones, and whether it stays;
4. a sweep of unknown n against one of known n = 20 at N = 1,000,000;
5. ``log_evidence``: standard errors and seconds.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import numpy as np
from arviz_stats.base import array_stats
from scipy import stats

import gibbs_gmm as gg
from benchmarks import common
from benchmarks.common import AnyArray, FloatArray
from gibbs_gmm.chains import Chain
from gibbs_gmm.summary import r_hat_of


@dataclasses.dataclass(frozen=True)
class Case:
    """Data with a fixed prior and what is asked of its effective draws of n+ a second."""

    name: str
    target: float
    X: FloatArray
    prior: gg.NormalInverseWishart
    most: int  # n is uniform on 1 .. most
    thin: int


def cases() -> list[Case]:
    """The data sets of the figures, each with a fixed prior; weights are Dirichlet(1), n uniform on 1 .. most."""
    X = {name: common.data_set(name)[0] for name in ("iris", "galaxies", "faithful", "thyroid")}
    covariance = np.cov(X["iris"].T)
    iris = gg.NormalInverseWishart(X["iris"].mean(0), 0.01, 6.0, covariance / np.sqrt(3.0))
    galaxies = gg.NormalInverseWishart([20.82817073], 0.103556777, 2.56, [[14.813199656]])  # fixture B
    result = [Case("Iris", 300, X["iris"], iris, 10, 10), Case("Galaxies", 2500, X["galaxies"], galaxies, 10, 5)]
    for name, target, thin in (("faithful", 200, 20), ("thyroid", 60, 40)):
        rows = X[name]
        D = rows.shape[1]
        prior = gg.NormalInverseWishart(rows.mean(0), 0.05, D + 2, 0.2 * np.diag(rows.var(0, ddof=1)))
        result.append(Case(name.capitalize(), target, rows, prior, 30, thin))
    return result


def run_case(case: Case, draws: int, warmup: int, seed: int) -> dict[str, Any]:
    """Four chains on one thread, one after the other: ESS of n+ over all, and CPU seconds of the kept sweeps."""
    weights = gg.MixtureOfFiniteMixtures(stats.randint(1, case.most + 1), 1.0, dynamic=False)
    chains = common.build_chains(
        case.X, weights, prior=case.prior, draws=draws, warmup=warmup, thin=case.thin, chains=4, rng=seed,
        save_assignments=False,
    )  # fmt: skip
    seconds = [_advance(chain) for chain in chains]
    n = np.stack([chain.arrays["n_clusters"] for chain in chains])
    warm, kept = np.array(seconds).T
    counts = np.sum([chain.moves.counts for chain in chains], axis=0)
    return {
        "data": case.name,
        "seed": seed,
        "ess": ess_of(n),
        "r_hat": float(r_hat_of(n)),
        "seconds": float(kept.sum()),
        "warmup_seconds": float(warm.sum()),
        "ess_per_second": ess_of(n) / float(kept.sum()),
        "microseconds_a_sweep": float(1e6 * kept.sum() / (4 * draws * case.thin)),
        "p_n_clusters": [float(np.mean(n == t)) for t in range(1, int(n.max()) + 1)],
        "proposed": counts[..., 0].tolist(),
        "accepted": counts[..., 1].tolist(),
        "tuning": [chain.tuner.frozen() for chain in chains],
    }


def ess_of(values: AnyArray) -> float:
    """Effective sample size for the mean of draws (C, T)."""
    return float(array_stats.ess(values.astype(np.float64), method="mean"))


def _advance(chain: Chain) -> tuple[float, float]:
    """Run a chain to its end; CPU seconds of warm-up and of what is kept."""
    begun = time.thread_time()
    while chain.sweeps_done < chain.plan.warmup:
        chain.advance(None)
    middle = time.thread_time()
    while not chain.finished:
        chain.advance(None)
    return middle - begun, time.thread_time() - middle
