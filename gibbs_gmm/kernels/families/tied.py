"""One covariance for all components. All in coordinates shifted by ``loc``.

Sigma ~ InverseWishart(nu_0, Psi_0), mu_k | Sigma ~ N(mu_0, Sigma / kappa_0). Sigma is drawn given the clusters with the
means integrated out; all else is conditional on it, so that clusters are independent and moves are about means alone.
It is held as the lower triangular W with W'W = Sigma^-1. With one component this is the family of full covariances.
"""

import math
from typing import NamedTuple

import numpy as np

from gibbs_gmm.kernels._jit import kernel
from gibbs_gmm.kernels._records import by_address
from gibbs_gmm.kernels.families import full, generic
from gibbs_gmm.kernels.families.full import (
    KAPPA,
    NU,
    add_row_scatter,
    blur,
    draw_mean,
    draw_precision,
    log_niw,
    merge_scatter,
    noise_exponent,
    ready,
)
from gibbs_gmm.kernels.families.generic import Statistics
from gibbs_gmm.kernels.families.hyperprior import FIXED, Hyperprior, Room, draw_scale, draw_truncated_gamma, new_room
from gibbs_gmm.kernels.families.tied_pass import TiedComponents
from gibbs_gmm.kernels.linalg import cholesky, log_diagonal
from gibbs_gmm.kernels.random import draw_log_gamma
from gibbs_gmm.kernels.tile import LOG2_E
from gibbs_gmm.kernels.types import AnyArray, FloatArray


@by_address
class TiedPrior(NamedTuple):
    """As that of full covariances, and W (1, D, D), lower triangular, W'W = Sigma^-1: the covariance of now."""

    mu_0: FloatArray
    scalars: FloatArray
    Psi_0: FloatArray
    L_0: FloatArray
    noise: FloatArray
    W: FloatArray


@by_address
class TiedParameters(NamedTuple):
    """A component has a mean alone, which is its centre; mu (K, D) has room for that of values before rounding."""

    mu: FloatArray


@by_address
class TiedScratch(NamedTuple):
    """mu_n (D,), Psi_n (D, D), a covariance's W (1, D, D), places for one component's parameters, and room for draws of
    Psi_0. rest (D, D), rows (1,): during a move, what the other clusters add to Psi_0, and how many rows there are in
    all; 0 rows say that Sigma is given.
    """

    mu_n: FloatArray
    Psi_n: FloatArray
    W: FloatArray
    rest: FloatArray
    rows: FloatArray
    parameters: TiedParameters
    room: Room


def new_parameters(K: int, D: int) -> TiedParameters:
    """Room for K components."""
    return TiedParameters(np.zeros((K, D)))


def new_scratch(D: int) -> TiedScratch:
    """TiedScratch for D columns."""
    return TiedScratch(
        mu_n=np.zeros(D),
        Psi_n=np.zeros((D, D)),
        W=np.zeros((1, D, D)),
        rest=np.zeros((D, D)),
        rows=np.zeros(1),
        parameters=new_parameters(1, D),
        room=new_room(D),
    )


def with_covariance(prior: full.Prior) -> TiedPrior:
    """The prior of components that share a covariance: Sigma = Psi_0 / nu_0 until it is drawn."""
    W = np.sqrt(prior.scalars[NU]) * np.tril(np.linalg.inv(prior.L_0))
    return TiedPrior(*prior, W[None])


@kernel
def as_full(prior: TiedPrior) -> full.Prior:
    """The same hyperparameters, of components with covariances of their own: views, not copies."""
    return full.Prior(prior.mu_0, prior.scalars, prior.Psi_0, prior.L_0, prior.noise)


@kernel
def add_scatter(prior: TiedPrior, n: float, statistics: Statistics, k: int, centre: FloatArray, S: FloatArray) -> None:
    """S (D, D), the lower triangle, += what cluster k of n > 0 rows adds to Psi_0 with its mean integrated out:

    sum (x - xbar)(x - xbar)' + (kappa_0 n / (kappa_0 + n)) (xbar - mu_0)(xbar - mu_0)', centre (P,) being the point
    that the statistics are about.
    """
    D, P, own, kappa_0 = S.shape[0], centre.shape[0], statistics.block[k], prior.scalars[KAPPA]
    shrink = kappa_0 * n / (kappa_0 + n)
    for i in range(D):
        offset_i = centre[i] + own[i] / n - prior.mu_0[i]
        row = P + P * i
        for j in range(i + 1):
            offset_j = centre[j] + own[j] / n - prior.mu_0[j]
            S[i, j] += (own[row + j] - own[i] * own[j] / n) + shrink * offset_i * offset_j


@kernel
def log_marginal_of(prior: TiedPrior, n: float, quadratic: float) -> float:
    """log density of n rows of one cluster given Sigma, from the quadratic form; see :func:`log_marginal`."""
    W, kappa_0, D = prior.W[0], prior.scalars[KAPPA], prior.mu_0.shape[0]
    log_density = log_diagonal(W) - 0.5 * D * math.log(2.0 * math.pi) - noise_exponent(prior.noise, W)
    return n * log_density + 0.5 * D * math.log(kappa_0 / (kappa_0 + n)) - 0.5 * quadratic


# --- The family's verbs ---------------------------------------------------------------------------------------------


@generic.draw_shared.of(TiedPrior)
@kernel
def draw_shared(
    prior: TiedPrior, rng: np.random.Generator, statistics: Statistics, t: int, centre: FloatArray, scratch: TiedScratch
) -> int:
    """Sigma ~ InverseWishart(nu_0 + N, Psi_0 + sum_k [scatter_k + shrink_k (xbar_k - mu_0)(xbar_k - mu_0)'] + N R).

    See :func:`add_scatter`; R = diag(noise).
    """
    set_rest(prior, statistics, t, centre, t, t, scratch)
    total = scratch.rows[0]
    scratch.rows[0] = 0.0
    none = -1 - 0 * t
    _set_scale(prior, total, statistics, none, none, centre, scratch)
    return draw_precision(rng, prior.scalars[NU] + total, scratch.Psi_n, prior.W[0])


@generic.set_rest.of(TiedPrior)
@kernel
def set_rest(
    prior: TiedPrior, statistics: Statistics, t: int, centre: FloatArray, a: int, b: int, scratch: TiedScratch
) -> None:
    """Psi_0 and what clusters other than a and b add to it."""
    rest, D = scratch.rest, scratch.rest.shape[0]
    for i in range(D):
        for j in range(i + 1):
            rest[i, j] = prior.Psi_0[i, j]
    scratch.rows[0] = 0.0
    for k in range(t):
        scratch.rows[0] += statistics.n[k]
        if k != a and k != b:
            add_scatter(prior, statistics.n[k], statistics, k, centre[k], rest)


@kernel
def _set_scale(
    prior: TiedPrior, total: float, statistics: Statistics, a: int, b: int, centre: FloatArray, scratch: TiedScratch
) -> None:
    """Psi_n <- rest, what clusters a and b (-1 for none) add to it, and what the resolution of all rows does."""
    Psi_n, rest = scratch.Psi_n, scratch.rest
    for i in range(rest.shape[0]):
        for j in range(i + 1):
            Psi_n[i, j] = rest[i, j]
    for side in range(2):
        k = b if side == 1 else a
        if k >= 0 and statistics.n[k] > 0.0:
            add_scatter(prior, statistics.n[k], statistics, k, centre[k], Psi_n)
    for i in range(rest.shape[0]):
        Psi_n[i, i] = blur(prior.noise, total, i, Psi_n[i, i])


@generic.log_marginals.of(TiedPrior)
@kernel
def log_marginals(
    prior: TiedPrior, statistics: Statistics, a: int, b: int, centre: FloatArray, scratch: TiedScratch
) -> float:
    """With Sigma integrated out, -((nu_0 + N) / 2) log|Psi(C)| + (D/2) sum_k log(kappa_0 / (kappa_0 + n_k)).

    Psi(C) = rest + what clusters a and b add to it + N R. Given Sigma, the sum of :func:`log_marginal`.
    """
    total, kappa_0, D = scratch.rows[0], prior.scalars[KAPPA], scratch.Psi_n.shape[0]
    if total == 0.0:
        given = log_marginal(prior, statistics.n[a], statistics, a, centre[a], scratch)
        if b >= 0:
            given += log_marginal(prior, statistics.n[b], statistics, b, centre[b], scratch)
        return given
    result = 0.5 * D * math.log(kappa_0 / (kappa_0 + statistics.n[a]))
    if b >= 0:
        result += 0.5 * D * math.log(kappa_0 / (kappa_0 + statistics.n[b]))
    _set_scale(prior, total, statistics, a, b, centre, scratch)
    if cholesky(scratch.Psi_n, scratch.Psi_n) != 0:
        return np.nan
    return result - (prior.scalars[NU] + total) * log_diagonal(scratch.Psi_n)


@generic.draw_sides.of(TiedPrior)
@kernel
def draw_sides(
    prior: TiedPrior, rng: np.random.Generator, groups: Statistics, components: TiedComponents, scratch: TiedScratch
) -> int:
    """A covariance of the launch's own, given the groups and the other clusters, then the means given that.

    The covariance of now would not do: it depends on the partition, which the move changes.
    """
    total, first = scratch.rows[0], 0 * len(groups.n)
    _set_scale(prior, total, groups, first, first + 1, components.centre, scratch)
    if draw_precision(rng, prior.scalars[NU] + total, scratch.Psi_n, scratch.W[0]) != 0:
        return 1
    own = TiedPrior(prior.mu_0, prior.scalars, prior.Psi_0, prior.L_0, prior.noise, scratch.W)
    for k in range(2):
        draw(own, rng, groups.n[k], groups, k, components.centre, scratch.parameters, first, scratch)
        log_weight = draw_log_gamma(rng, 1.0 + groups.n[k])
        components.log_c[k] = LOG2_E * (log_weight + prepare(own, scratch.parameters, first, components, k))
    return 0


@generic.draw.of(TiedPrior)
@kernel
def draw(
    prior: TiedPrior,
    rng: np.random.Generator,
    n: float,
    statistics: Statistics,
    k: int,
    centre: FloatArray,
    parameters: TiedParameters,
    j: int,
    scratch: TiedScratch,
) -> int:
    """mu_k ~ N((kappa_0 mu_0 + n xbar) / (kappa_0 + n), Sigma / (kappa_0 + n))."""
    own, mu, mu_n, kappa_0 = statistics.block[k], centre[k], scratch.mu_n, prior.scalars[KAPPA]
    for i in range(mu_n.shape[0]):
        mu_n[i] = prior.mu_0[i]
        if n > 0.0:
            mu_n[i] += (mu[i] + own[i] / n - prior.mu_0[i]) * n / (kappa_0 + n)
    draw_mean(rng, mu_n, kappa_0 + n, prior.W[0], mu)
    return 0


@generic.prepare.of(TiedPrior)
@kernel
def prepare(prior: TiedPrior, parameters: TiedParameters, j: int, components: TiedComponents, k: int) -> float:
    """log|W| - (D/2) log 2 pi - tr(R Sigma^-1) / 2."""
    W = prior.W[0]
    ready(W, components.V, components.centre[k], components.c[k])
    return log_diagonal(W) - 0.5 * W.shape[0] * math.log(2.0 * math.pi) - noise_exponent(prior.noise, W)


@generic.draw_hyper.of(TiedPrior)
@kernel
def draw_hyper(
    prior: TiedPrior,
    rng: np.random.Generator,
    hyper: Hyperprior,
    t: int,
    parameters: TiedParameters,
    centre: FloatArray,
    scratch: TiedScratch,
) -> int:
    """Psi_0 given the one covariance, then kappa_0 given the means, where they are learned."""
    W, D = prior.W, prior.mu_0.shape[0]
    if hyper.law != FIXED:
        status = draw_scale(rng, hyper, W.shape[0], prior.scalars[NU], W, scratch.room, prior.Psi_0, prior.L_0)
        if status != 0:
            return status
    if hyper.kappa_shape > 0.0:
        rate = 0.0
        for k in range(t):
            rate += 0.5 * _squared_distance(prior, centre[k])
        prior.scalars[KAPPA] = draw_truncated_gamma(rng, hyper.kappa_shape + 0.5 * t * D, rate, hyper.kappa_most)
    if hyper.law != FIXED or hyper.kappa_shape > 0.0:
        full.normalise(as_full(prior))
    return 0


@kernel
def _squared_distance(prior: TiedPrior, mu: FloatArray) -> float:
    """|W (mu - mu_0)|^2, mu (at least D,)."""
    W, result = prior.W, 0.0
    for i in range(prior.mu_0.shape[0]):
        y = 0.0
        for j in range(i + 1):
            y += W[0, i, j] * (mu[j] - prior.mu_0[j])
        result += y * y
    return result


@generic.log_marginal.of(TiedPrior)
@kernel
def log_marginal(
    prior: TiedPrior, n: float, statistics: Statistics, k: int, centre: FloatArray, scratch: TiedScratch
) -> float:
    """-(n/2) log|2 pi Sigma| + (D/2) log(kappa_0 / (kappa_0 + n)) - tr(Sigma^-1 S) / 2 - n tr(R Sigma^-1) / 2.

    S is the matrix of :func:`add_scatter`.
    """
    if n == 0.0:
        return 0.0
    return log_marginal_of(prior, n, quadratic_form(prior, n, statistics, k, centre, scratch))


@kernel
def quadratic_form(
    prior: TiedPrior, n: float, statistics: Statistics, k: int, centre: FloatArray, scratch: TiedScratch
) -> float:
    """tr(Sigma^-1 S) of a cluster of n > 0 rows, S the matrix of :func:`add_scatter`."""
    S, W, D, quadratic = scratch.Psi_n, prior.W[0], prior.mu_0.shape[0], 0.0
    for i in range(D):
        for j in range(i + 1):
            S[i, j] = 0.0
    add_scatter(prior, n, statistics, k, centre, S)
    for i in range(D):
        for j in range(i):
            S[j, i] = S[i, j]
    for i in range(D):  # tr(W S W')
        for j in range(i + 1):
            total = 0.0
            for m in range(i + 1):
                total += S[j, m] * W[i, m]
            quadratic += total * W[i, j]
    return quadratic


@generic.merge.of(TiedPrior)
@kernel
def merge(
    prior: TiedPrior,
    statistics: Statistics,
    a: int,
    b: int,
    centre: FloatArray,
    union: Statistics,
    union_centre: FloatArray,
) -> None:
    """:func:`merge_scatter`."""
    merge_scatter(prior.mu_0.shape[0], statistics, a, b, centre, union, union_centre)


@generic.add_row.of(TiedPrior)
@kernel
def add_row(prior: TiedPrior, block: FloatArray, d: FloatArray) -> None:
    """:func:`add_row_scatter`."""
    add_row_scatter(prior.mu_0.shape[0], block, d)


@generic.log_prior.of(TiedPrior)
@kernel
def log_prior(prior: TiedPrior, parameters: TiedParameters, centre: FloatArray, count: int) -> float:
    """log InverseWishart(Sigma | nu_0, Psi_0) + sum_k log N(mu_k | mu_0, Sigma / kappa_0): the first two as one."""
    D, kappa_0 = prior.mu_0.shape[0], prior.scalars[KAPPA]
    log_norm = 0.5 * D * math.log(kappa_0 / (2.0 * math.pi)) + log_diagonal(prior.W[0])
    total = log_niw(as_full(prior), centre[0], prior.W[0])
    for k in range(1, count):
        total += log_norm - 0.5 * kappa_0 * _squared_distance(prior, centre[k])
    return total


@generic.write_shared.of(TiedPrior)
@kernel
def write_shared(prior: TiedPrior, covariances: AnyArray, kappa_0: FloatArray, scale: AnyArray, row: int) -> None:
    """kappa_0 and Psi_0. The covariance is written with the means, which rounding ties it to."""
    full.write_shared(as_full(prior), covariances, kappa_0, scale, row)


@generic.erase.of(TiedPrior)
@kernel
def erase(prior: TiedPrior, covariances: AnyArray, k: int) -> None:
    """A component has no covariance of its own."""


@generic.swap.of(TiedComponents)
@kernel
def swap(components: TiedComponents, parameters: TiedParameters, a: int, b: int) -> None:
    """c, log_c and the centre."""
    log_c = components.log_c
    log_c[a], log_c[b] = log_c[b], log_c[a]
    full.swap_rows(components.c, a, b)
    full.swap_rows(components.centre, a, b)


@generic.recall.of(TiedPrior)
@kernel
def recall(prior: TiedPrior, library: TiedComponents, place: int, components: TiedComponents, k: int) -> None:
    """The weight and the mean that were kept, with the covariance of the launch that was kept last.

    The covariance of now depends on the partition, which the move changes. What log_c has of the covariance then is the
    same for both components of a launch, and cancels.
    """
    V, D = components.V, library.V.shape[0]
    components.log_c[k] = library.log_c[place]
    for i in range(library.centre.shape[1]):
        components.centre[k, i] = library.centre[place, i]
    for i in range(D):
        total = 0.0
        for j in range(i + 1):
            V[i, j] = library.V[i, j]
            total -= V[i, j] * components.centre[k, j]
        components.c[k, i] = total
