"""log p(X | n = 1): the evidence of all rows as one cluster, under fixed or learned hyperparameters."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy.special import logsumexp

from gibbs_gmm.errors import NumericalError
from gibbs_gmm.kernels.families.full import log_marginal, new_scratch
from gibbs_gmm.kernels.families.full_pass import block_of_scatter
from gibbs_gmm.kernels.families.generic import Statistics, padded
from gibbs_gmm.kernels.families.hyperprior import WISHART
from gibbs_gmm.kernels.families.one_cluster import climb, new_place
from gibbs_gmm.kernels.sampler.state import Data
from gibbs_gmm.kernels.types import FloatArray
from gibbs_gmm.model.component_prior import NormalInverseWishart

REPLICATES = 16
_STONES = 40
_SWEEPS = 150, 500  # the least and the most of each replicate on each stone
_DISCARDED = 4  # one of so many of them, after a step from one stone to the next
_POWER = 4  # stones lie more closely near the prior, where little data says much
_ROWS = 1 << 16


def log_one_cluster(
    data: Data, prior: NormalInverseWishart, seeds: list[np.random.SeedSequence], threads: int
) -> tuple[float, float]:
    """log p(X | n = 1) and its Monte-Carlo standard error.

    With fixed hyperparameters it has a closed form, m(X | Psi_0, kappa_0), and the standard error is 0. Otherwise it is
    the logarithm of m's mean under the law of Psi_0 and kappa_0, by stepping-stone sampling (Xie, Lewis, Fan, Kuo &
    Chen 2011) from prior to posterior. Stone k has the target p(Psi_0, kappa_0) m_k, where m_k raises the likelihood of
    (mu, Sigma) to the power n_k / N, that is, counts n_k of N rows: so it has a closed form too, and the target a Gibbs
    sampler. The integral is the product over k of the means of m_{k+1} / m_k. The standard error is that of the mean
    over independent replicates, one for each of the seeds.

    Raises
    ------
    NumericalError
        A scale matrix was not positive definite.
    """
    N, D = data.X.shape
    s, S = _statistics(data)
    if prior.Psi_0_df is None and prior.kappa_0_shape is None:
        rows = Statistics(np.array([float(N)]), block_of_scatter(S)[None])
        rows.block[0, :D] = s
        value = log_marginal(prior.as_kernel(data.loc), float(N), rows, 0, np.zeros(padded(D)), new_scratch(D))
        if not math.isfinite(value):
            raise NumericalError("the posterior scale matrix of all data as one cluster is not positive definite")
        return float(value), 0.0

    # In the coordinates A x, where the scale's axes are the columns; R is the variance left by the resolution.
    A = np.eye(D) if prior.axes is None else prior.axes
    R = np.diag(prior.resolution**2 / 12.0)
    scatter = A @ (S - np.outer(s, s) / N + N * R) @ A.T
    Psi_0 = prior.Psi_0 if prior.axes is None else np.diag(np.diagonal(A @ prior.Psi_0 @ A.T))
    turned = NormalInverseWishart(
        A @ (prior.mu_0 - data.loc),
        prior.kappa_0,
        prior.nu_0,
        Psi_0,
        Psi_0_df=prior.Psi_0_df,
        Psi_0_shrinkage=prior.Psi_0_shrinkage,
        kappa_0_shape=prior.kappa_0_shape,
    )
    start, hyper, n = turned.as_kernel(np.zeros(D)), turned.hyper_as_kernel(), _sizes(N, prior)
    shape = np.append((hyper.df - (np.arange(D) if hyper.law == WISHART else 0.0)) * np.full(D, 0.5), 1.0)
    rows, mean = Statistics(n, n[:, None] / N * block_of_scatter(scatter)), np.zeros(padded(D))
    mean[:D] = A @ (s / N)

    sweeps = int(np.clip(2000 // D, *_SWEEPS))

    def replicate(seed: np.random.SeedSequence) -> FloatArray:
        log_ratio = np.empty((_STONES, sweeps))
        rng = np.random.Generator(np.random.PCG64(seed))
        climb(rng, start, hyper, shape, rows, mean, new_place(start), log_ratio)
        return log_ratio[:, sweeps // _DISCARDED :]

    with ThreadPoolExecutor(threads) as workers:
        log_ratio = np.stack(list(workers.map(replicate, seeds)))
    if np.isnan(log_ratio).any():
        raise NumericalError("the posterior scale matrix of all data as one cluster is not positive definite")
    count = log_ratio[0, 0].size
    alone = logsumexp(log_ratio, axis=2) - math.log(count)  # (replicates, stones)
    value = float((logsumexp(alone, axis=0) - math.log(len(seeds))).sum())
    error = float(alone.sum(1).std(ddof=1)) / math.sqrt(len(seeds))
    return value + N * float(np.linalg.slogdet(A)[1]), error


def _statistics(data: Data) -> tuple[FloatArray, FloatArray]:
    """Sum (D,) and sum of squares (D, D) of all rows about ``data.loc``, the mean of X."""
    N, D = data.X.shape
    s, S = np.zeros(D), np.zeros((D, D))
    for start in range(0, N, _ROWS):
        rows = data.X[start : start + _ROWS] - data.loc
        s += rows.sum(0)
        S += rows.T @ rows
    return s, S


def _sizes(N: int, prior: NormalInverseWishart) -> FloatArray:
    """Rows n_0 = 0, .., n_K = N that the stones count. What they say of Psi_0 and kappa_0 levels off as n / (n + c)."""
    c = 2.0 * (prior.nu_0 + prior.kappa_0)
    share = N / (N + c) * np.linspace(0.0, 1.0, _STONES + 1) ** _POWER
    n: FloatArray = c * share / (1.0 - share)
    n[-1] = N
    return n
