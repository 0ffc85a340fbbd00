"""One covariance row by row: given Sigma, a growing cluster is a count and a mean, both in the coordinates W x."""

import math
from typing import NamedTuple

import numpy as np

from gibbs_gmm.kernels._jit import kernel
from gibbs_gmm.kernels._records import by_address
from gibbs_gmm.kernels.families import generic
from gibbs_gmm.kernels.families.full import KAPPA
from gibbs_gmm.kernels.families.generic import Statistics
from gibbs_gmm.kernels.families.tied import TiedPrior, TiedScratch, log_marginal_of, quadratic_form
from gibbs_gmm.kernels.types import FloatArray


@by_address
class TiedSide(NamedTuple):
    """Two growing clusters.

    m (2, D) = W mu_n; quadratic (2,): the quadratic form of the cluster's density, so far; log_c (2,) the constant of
    the predictive density; last (2,): by how much the quadratic form grows when the row joins that was asked about
    last; x (D,): that row, and y (D,) = W x.
    """

    m: FloatArray
    quadratic: FloatArray
    log_c: FloatArray
    last: FloatArray
    x: FloatArray
    y: FloatArray


def new_side(prior: TiedPrior, limit: int) -> TiedSide:
    """Room for two clusters, of any number of rows."""
    D = len(prior.mu_0)
    return TiedSide(np.zeros((2, D)), np.zeros(2), np.zeros(2), np.zeros(2), np.zeros(D), np.zeros(D))


@kernel
def _multiply(W: FloatArray, x: FloatArray, y: FloatArray) -> None:
    """Y <- W x, W (D, D) lower triangular."""
    for i in range(W.shape[0]):
        total = 0.0
        for j in range(i + 1):
            total += W[i, j] * x[j]
        y[i] = total


@kernel
def _set_constant(prior: TiedPrior, side: TiedSide, k: int, n: float) -> None:
    """log_c of side k with n rows."""
    kappa = prior.scalars[KAPPA] + n
    side.log_c[k] = 0.5 * side.m.shape[1] * math.log(kappa / (kappa + 1.0))


@generic.begin.of(TiedPrior)
@kernel
def begin(prior: TiedPrior, side: TiedSide, k: int) -> None:
    """The prior itself. Sigma may be another than when a row was last asked about."""
    _multiply(prior.W[0], prior.mu_0, side.m[k])
    side.quadratic[k] = 0.0
    side.x[0] = np.nan
    _set_constant(prior, side, k, 0.0)


@generic.log_predictive.of(TiedPrior)
@kernel
def log_predictive(prior: TiedPrior, side: TiedSide, k: int, n: float, x: FloatArray) -> float:
    """log N(x | mu_n, Sigma (1 + 1 / kappa_n)): (D/2) log(kappa_n / (kappa_n + 1)) - q / 2, up to a constant,

    q = kappa_n / (kappa_n + 1) |W x - W mu_n|^2. W x is computed once for both sides.
    """
    D, y, m = x.shape[0], side.y, side.m[k]
    known = True
    for i in range(D):
        known = known and x[i] == side.x[i]
    if not known:
        for i in range(D):
            side.x[i] = x[i]
        _multiply(prior.W[0], x, y)
    q = 0.0
    for i in range(D):
        q += (y[i] - m[i]) ** 2
    kappa = prior.scalars[KAPPA] + n
    side.last[k] = kappa / (kappa + 1.0) * q
    return side.log_c[k] - 0.5 * side.last[k]


@generic.grow.of(TiedPrior)
@kernel
def grow(prior: TiedPrior, side: TiedSide, k: int, n: float, x: FloatArray) -> None:
    """W mu_n moves towards W x, and the quadratic form grows."""
    kappa, m = prior.scalars[KAPPA] + n, side.m[k]
    for i in range(m.shape[0]):
        m[i] += (side.y[i] - m[i]) / (kappa + 1.0)
    side.quadratic[k] += side.last[k]
    _set_constant(prior, side, k, n + 1.0)


@generic.resume.of(TiedPrior)
@kernel
def resume(
    prior: TiedPrior,
    statistics: Statistics,
    place: int,
    centre: FloatArray,
    side: TiedSide,
    k: int,
    scratch: TiedScratch,
) -> bool:
    """W mu_n and the quadratic form. Sigma may be another than when a row was last asked about."""
    n, D = statistics.n[place], prior.mu_0.shape[0]
    share = n / (prior.scalars[KAPPA] + n)
    for d in range(D):
        offset = centre[d] + statistics.block[place, d] / n - prior.mu_0[d]
        side.y[d] = prior.mu_0[d] + share * offset
    _multiply(prior.W[0], side.y, side.m[k])
    side.quadratic[k] = quadratic_form(prior, n, statistics, place, centre, scratch)
    side.x[0] = np.nan
    _set_constant(prior, side, k, n)
    return True


@generic.shrink.of(TiedPrior)
@kernel
def shrink(prior: TiedPrior, side: TiedSide, k: int, n: float, x: FloatArray) -> bool:
    """W mu_n moves away from W x, and the quadratic form falls."""
    kappa, m, y, q = prior.scalars[KAPPA] + n, side.m[k], side.y, 0.0
    for i in range(m.shape[0]):
        side.x[i] = x[i]
    _multiply(prior.W[0], x, y)
    for i in range(m.shape[0]):
        gap = y[i] - m[i]
        q += gap * gap
        m[i] -= gap / (kappa - 1.0)
    side.quadratic[k] -= kappa / (kappa - 1.0) * q
    _set_constant(prior, side, k, n - 1.0)
    return True


@generic.log_marginal_side.of(TiedPrior)
@kernel
def log_marginal_side(prior: TiedPrior, side: TiedSide, k: int, n: float, scratch: TiedScratch) -> float:
    """From the sum of the rows' quadratic forms, each given those before it."""
    return log_marginal_of(prior, n, side.quadratic[k])
