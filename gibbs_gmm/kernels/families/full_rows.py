"""Full covariances row by row: a cluster as the Cholesky factor of Psi_n, which grows by a rank-one update a row."""

import math
from typing import NamedTuple

import numpy as np
from scipy.special import gammaln

from gibbs_gmm.kernels._jit import kernel
from gibbs_gmm.kernels._records import by_address
from gibbs_gmm.kernels.families import generic
from gibbs_gmm.kernels.families.full import KAPPA, NU, Prior, Scratch, blur, log_marginal_of, update_posterior
from gibbs_gmm.kernels.families.generic import Statistics
from gibbs_gmm.kernels.linalg import cholesky, log_diagonal, outer_lower
from gibbs_gmm.kernels.types import FloatArray


@by_address
class Side(NamedTuple):
    """Two growing clusters.

    L (2, D, D) lower Cholesky factor of Psi_n, mu (2, D), log_det (2,) = log|L|, log_c (2,) the constant of the
    predictive density; gap (2, D) = L^-1 (x - mu) and log_tail (2,) of the row x that was asked about last; log_h
    (limit + 1,) = log Gamma((nu_n + 1)/2) - log Gamma((nu_n + 1 - D)/2) - (D/2) log pi, by n.
    """

    L: FloatArray
    mu: FloatArray
    log_det: FloatArray
    log_c: FloatArray
    gap: FloatArray
    log_tail: FloatArray
    log_h: FloatArray


def new_side(prior: Prior, limit: int) -> Side:
    """Room for two clusters of up to ``limit`` rows."""
    D, nu = len(prior.mu_0), prior.scalars[NU] + np.arange(limit + 1)
    return Side(
        L=np.zeros((2, D, D)),
        mu=np.zeros((2, D)),
        log_det=np.zeros(2),
        log_c=np.zeros(2),
        gap=np.zeros((2, D)),
        log_tail=np.zeros(2),
        log_h=gammaln(0.5 * (nu + 1.0)) - gammaln(0.5 * (nu + 1.0 - D)) - 0.5 * D * np.log(np.pi),
    )


@kernel
def _set_constant(prior: Prior, side: Side, k: int, n: float) -> None:
    """log_c of side k with n rows."""
    kappa = prior.scalars[KAPPA] + n
    half = 0.5 * side.mu.shape[1]
    side.log_c[k] = side.log_h[int(n)] + half * math.log(kappa / (kappa + 1.0)) - side.log_det[k]


@generic.begin.of(Prior)
@kernel
def begin(prior: Prior, side: Side, k: int) -> None:
    """The prior itself."""
    side.log_det[k] = log_diagonal(prior.L_0)
    for i in range(side.mu.shape[1]):
        side.mu[k, i] = prior.mu_0[i]
        for j in range(i + 1):
            side.L[k, i, j] = prior.L_0[i, j]
    _set_constant(prior, side, k, 0.0)


@generic.log_predictive.of(Prior)
@kernel
def log_predictive(prior: Prior, side: Side, k: int, n: float, x: FloatArray) -> float:
    """log_c - (nu_n + 1)/2 log(1 + kappa_n/(kappa_n + 1) |L^-1 (x - mu)|^2), a multivariate t (Murphy 2007).

    The argument of the logarithm, whose log is kept as log_tail, is the factor by which |Psi_n| grows when x joins.
    """
    D, L, mu, gap = x.shape[0], side.L[k], side.mu[k], side.gap[k]
    q = 0.0
    for i in range(D):
        total = x[i] - mu[i]
        for j in range(i):
            total -= L[i, j] * gap[j]
        total /= L[i, i]
        gap[i] = total
        q += total * total
    kappa = prior.scalars[KAPPA] + n
    side.log_tail[k] = math.log(1.0 + kappa / (kappa + 1.0) * q)
    return side.log_c[k] - 0.5 * (prior.scalars[NU] + n + 1.0) * side.log_tail[k]


@generic.grow.of(Prior)
@kernel
def grow(prior: Prior, side: Side, k: int, n: float, x: FloatArray) -> None:
    """mu, and L by a rank-one update, Psi_n + kappa_n/(kappa_n + 1) (x - mu)(x - mu)'."""
    D, L, mu, v = x.shape[0], side.L[k], side.mu[k], side.gap[k]
    kappa = prior.scalars[KAPPA] + n
    root = math.sqrt(kappa / (kappa + 1.0))
    for i in range(D):
        d = x[i] - mu[i]
        v[i] = root * d
        mu[i] += d / (kappa + 1.0)
    for j in range(D):
        pivot = math.sqrt(L[j, j] * L[j, j] + v[j] * v[j])
        c, s = L[j, j] / pivot, v[j] / L[j, j]
        L[j, j] = pivot
        for i in range(j + 1, D):
            before = v[i]
            v[i] = before - s * L[i, j]
            L[i, j] = c * (L[i, j] + s * before)
            v[i] = v[i] * c
    side.log_det[k] += 0.5 * side.log_tail[k]
    _set_constant(prior, side, k, n + 1.0)


@generic.resume.of(Prior)
@kernel
def resume(
    prior: Prior, statistics: Statistics, place: int, centre: FloatArray, side: Side, k: int, scratch: Scratch
) -> bool:
    """The Cholesky factor of Psi_n, without the resolution."""
    n = statistics.n[place]
    update_posterior(prior, scratch.room.zero, n, statistics, place, centre, scratch)
    if cholesky(scratch.Psi_n, side.L[k]) != 0:
        return False
    for i in range(side.mu.shape[1]):
        side.mu[k, i] = scratch.mu_n[i]
    side.log_det[k] = log_diagonal(side.L[k])
    _set_constant(prior, side, k, n)
    return True


@generic.shrink.of(Prior)
@kernel
def shrink(prior: Prior, side: Side, k: int, n: float, x: FloatArray) -> bool:
    """mu, and L by a rank-one update, Psi_n - kappa_n/(kappa_n - 1) (x - mu)(x - mu)'."""
    D, L, mu, v = x.shape[0], side.L[k], side.mu[k], side.gap[k]
    kappa = prior.scalars[KAPPA] + n
    root, ratio = math.sqrt(kappa / (kappa - 1.0)), 1.0
    for i in range(D):
        d = x[i] - mu[i]
        v[i] = root * d
        mu[i] -= d / (kappa - 1.0)
    for j in range(D):
        square = L[j, j] * L[j, j] - v[j] * v[j]
        if not square > 0.0:
            return False
        pivot = math.sqrt(square)
        c, s = pivot / L[j, j], v[j] / L[j, j]
        ratio *= c
        L[j, j] = pivot
        for i in range(j + 1, D):
            L[i, j] = (L[i, j] - s * v[i]) / c
            v[i] = c * v[i] - s * L[i, j]
    side.log_det[k] += math.log(ratio)
    _set_constant(prior, side, k, n - 1.0)
    return True


@generic.log_marginal_side.of(Prior)
@kernel
def log_marginal_side(prior: Prior, side: Side, k: int, n: float, scratch: Scratch) -> float:
    """From Psi_n = LL' + nR: rows are allocated by L, without the resolution. NaN where it is not positive definite."""
    Psi_n = scratch.Psi_n
    D = Psi_n.shape[0]
    outer_lower(side.L[k], Psi_n)
    for d in range(D):
        Psi_n[d, d] = blur(prior.noise, n, d, Psi_n[d, d])
    if cholesky(Psi_n, Psi_n) != 0:
        return np.nan
    return log_marginal_of(prior, D, n, log_diagonal(Psi_n))
