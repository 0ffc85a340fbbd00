"""Diagonal covariances row by row: a cluster as the posterior of each column's mean and variance."""

import math
from typing import NamedTuple

import numpy as np
from scipy.special import gammaln

from gibbs_gmm.kernels._jit import kernel
from gibbs_gmm.kernels._records import by_address
from gibbs_gmm.kernels.families import generic
from gibbs_gmm.kernels.families.diagonal import (
    KAPPA,
    A,
    DiagonalPrior,
    column_of,
    log_marginal_of,
    update_column,
)
from gibbs_gmm.kernels.families.diagonal_pass import (
    DiagonalScratch,
    block_of,
    block_size,
    new_components,
    new_parameters,
    new_scratch,
)
from gibbs_gmm.kernels.families.generic import Family, Statistics
from gibbs_gmm.kernels.linalg import gather_log
from gibbs_gmm.kernels.types import FloatArray


@by_address
class DiagonalSide(NamedTuple):
    """Two growing clusters.

    mu, b (2, D) of the posterior; log_b (2,) = sum_d log b_d; log_c (2,) the constant of the predictive density;
    log_tail (2,) of the row that was asked about last; log_h (limit + 1,) = D (log Gamma(a_n + 1/2) - log Gamma(a_n)),
    by n.
    """

    mu: FloatArray
    b: FloatArray
    log_b: FloatArray
    log_c: FloatArray
    log_tail: FloatArray
    log_h: FloatArray


def new_side(prior: DiagonalPrior, limit: int) -> DiagonalSide:
    """Room for two clusters of up to ``limit`` rows."""
    D, a = len(prior.mu_0), prior.scalars[A] + 0.5 * np.arange(limit + 1)
    log_b, log_c, log_tail = np.zeros((3, 2))
    return DiagonalSide(np.zeros((2, D)), np.zeros((2, D)), log_b, log_c, log_tail, D * (gammaln(a + 0.5) - gammaln(a)))


@kernel
def _set_constant(prior: DiagonalPrior, side: DiagonalSide, k: int, n: float) -> None:
    """log_c of side k with n rows."""
    kappa, D = prior.scalars[KAPPA] + n, prior.mu_0.shape[0]
    side.log_c[k] = side.log_h[int(n)] + 0.5 * D * math.log(kappa / (kappa + 1.0)) - 0.5 * side.log_b[k]


@generic.begin.of(DiagonalPrior)
@kernel
def begin(prior: DiagonalPrior, side: DiagonalSide, k: int) -> None:
    """The prior itself."""
    total, product = 0.0, 1.0
    for d in range(prior.b_0.shape[0]):
        side.mu[k, d], side.b[k, d] = prior.mu_0[d], prior.b_0[d]
        product, total = gather_log(prior.b_0[d], product, total)
    side.log_b[k] = total + math.log(product)
    _set_constant(prior, side, k, 0.0)


@generic.resume.of(DiagonalPrior)
@kernel
def resume(
    prior: DiagonalPrior,
    statistics: Statistics,
    place: int,
    centre: FloatArray,
    side: DiagonalSide,
    k: int,
    scratch: DiagonalScratch,
) -> bool:
    """mu_n and b_n, without the resolution."""
    n, total, product = statistics.n[place], 0.0, 1.0
    for d in range(prior.b_0.shape[0]):
        mean, scatter = column_of(statistics.block[place], n, centre, d)
        side.mu[k, d], more = update_column(prior.mu_0[d], prior.scalars[KAPPA], 0.0, n, mean, scatter)
        side.b[k, d] = prior.b_0[d] + more
        product, total = gather_log(side.b[k, d], product, total)
    side.log_b[k] = total + math.log(product)
    _set_constant(prior, side, k, n)
    return True


@generic.shrink.of(DiagonalPrior)
@kernel
def shrink(prior: DiagonalPrior, side: DiagonalSide, k: int, n: float, x: FloatArray) -> bool:
    """mu and b; log_b is summed afresh."""
    mu, b, kappa = side.mu[k], side.b[k], prior.scalars[KAPPA] + n
    factor, total, product = 0.5 * kappa / (kappa - 1.0), 0.0, 1.0
    for d in range(mu.shape[0]):
        gap = x[d] - mu[d]
        b[d] -= factor * gap * gap
        if not b[d] > 0.0:
            return False
        mu[d] -= gap / (kappa - 1.0)
        product, total = gather_log(b[d], product, total)
    side.log_b[k] = total + math.log(product)
    _set_constant(prior, side, k, n - 1.0)
    return True


@generic.log_predictive.of(DiagonalPrior)
@kernel
def log_predictive(prior: DiagonalPrior, side: DiagonalSide, k: int, n: float, x: FloatArray) -> float:
    """log_c - (a_n + 1/2) log_tail, a product of t densities of 2 a_n degrees of freedom.

    log_tail = sum_d log(1 + kappa_n / (kappa_n + 1) (x_d - mu_d)^2 / (2 b_d)): by so much grows sum_d log b_d when x
    joins.
    """
    mu, b, kappa = side.mu[k], side.b[k], prior.scalars[KAPPA] + n
    shrink, total, product = 0.5 * kappa / (kappa + 1.0), 0.0, 1.0
    for d in range(mu.shape[0]):
        gap = x[d] - mu[d]
        product, total = gather_log(1.0 + shrink * gap * gap / b[d], product, total)
    side.log_tail[k] = total + math.log(product)
    return side.log_c[k] - (prior.scalars[A] + 0.5 * n + 0.5) * side.log_tail[k]


@generic.grow.of(DiagonalPrior)
@kernel
def grow(prior: DiagonalPrior, side: DiagonalSide, k: int, n: float, x: FloatArray) -> None:
    """mu and b."""
    mu, b, kappa = side.mu[k], side.b[k], prior.scalars[KAPPA] + n
    shrink = 0.5 * kappa / (kappa + 1.0)
    for d in range(mu.shape[0]):
        gap = x[d] - mu[d]
        b[d] += shrink * gap * gap
        mu[d] += gap / (kappa + 1.0)
    side.log_b[k] += side.log_tail[k]
    _set_constant(prior, side, k, n + 1.0)


@generic.log_marginal_side.of(DiagonalPrior)
@kernel
def log_marginal_side(prior: DiagonalPrior, side: DiagonalSide, k: int, n: float, scratch: DiagonalScratch) -> float:
    """From b_n with what the resolution adds: rows are allocated without it."""
    total, product = 0.0, 1.0
    for d in range(prior.b_0.shape[0]):
        product, total = gather_log(side.b[k, d] + 0.5 * n * prior.noise[d], product, total)
    return log_marginal_of(prior, n, total + math.log(product))


FAMILY = Family(block_size, new_components, new_parameters, new_scratch, new_side, block_of, 1)
