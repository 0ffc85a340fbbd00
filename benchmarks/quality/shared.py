"""Simulated data, scikit-learn's variational mixture, and work on all cores."""

from __future__ import annotations

import math
import multiprocessing
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any

import numpy as np
import threadpoolctl
from scipy import stats
from sklearn.mixture import BayesianGaussianMixture

import gibbs_gmm as gg
from benchmarks import common
from benchmarks.common import AnyArray, FloatArray, say

D, N = 2, 100  # of the simulated data sets
SE = 3.0  # a figure that should be exact may be as many standard errors off


def _one_thread() -> None:
    threadpoolctl.threadpool_limits(1)
    warnings.simplefilter("ignore")  # chains that have not met and fits that have not converged are counted instead


def spread(function: Callable[..., Any], tasks: Sequence[tuple[Any, ...]], title: str) -> list[Any]:
    """The function of every task, in order; one process a core, one thread each."""
    begun = time.perf_counter()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(common.cores(), context, _one_thread) as pool:
        jobs = [pool.submit(function, *task) for task in tasks]
        for done, job in enumerate(as_completed(jobs), 1):
            job.result()
            if done % max(1, len(jobs) // 4) == 0:
                say(f"{title}: {done}/{len(jobs)}, {time.perf_counter() - begun:.0f} s")
    return [job.result() for job in jobs]


def niw(kappa_0: float) -> gg.NormalInverseWishart:
    """E[Sigma] = I; means have a standard deviation of 1 / sqrt(kappa_0)."""
    return gg.NormalInverseWishart(np.zeros(D), kappa_0, 6.0, 3.0 * np.eye(D))


def simulate(
    rng: np.random.Generator, prior: gg.NormalInverseWishart, n: int, alpha: float
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, AnyArray]:
    """Weights, means, covariances, N rows and their labels from a mixture of n components drawn from the prior."""
    w = rng.dirichlet(np.full(n, alpha))
    Sigma = np.stack([stats.invwishart.rvs(prior.nu_0, prior.Psi_0, random_state=rng) for _ in range(n)])
    roots = np.linalg.cholesky(Sigma)
    mu = prior.mu_0 + np.einsum("nij,nj->ni", roots, rng.standard_normal((n, D))) / math.sqrt(prior.kappa_0)
    z = rng.choice(n, size=N, p=w)
    X = mu[z] + np.einsum("nij,nj->ni", roots[z], rng.standard_normal((N, D)))
    return w, mu, Sigma, X, z


def variational(
    prior: gg.NormalInverseWishart | None, components: int, seed: int, **more: Any
) -> BayesianGaussianMixture:
    """scikit-learn's, best of five starts, with the prior in its own parameters, or its default prior."""
    if prior is not None:
        more |= {"mean_prior": prior.mu_0, "mean_precision_prior": prior.kappa_0}
        more |= {"degrees_of_freedom_prior": prior.nu_0, "covariance_prior": prior.Psi_0}
    return BayesianGaussianMixture(n_components=components, n_init=5, max_iter=2000, random_state=seed, **more)
