"""Spherical covariances sigma^2 I, in the units of the data. All in coordinates shifted by ``loc``.

sigma^2 ~ InverseGamma(a_0, b_0), mu | sigma^2 ~ N(mu_0, sigma^2 I / kappa_0). Components and their statistics are those
of the diagonal family, of which this is the case of equal widths; in one column the two families are the same.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy.special import gammaln

from gibbs_gmm.kernels._jit import kernel
from gibbs_gmm.kernels._records import by_address
from gibbs_gmm.kernels.families import diagonal, generic
from gibbs_gmm.kernels.families.diagonal import (
    KAPPA,
    LOG_NORM,
    A,
    Hyper,
    column_of,
    draw_kappa,
    posterior_column,
    unround_column,
    update_column,
)
from gibbs_gmm.kernels.families.diagonal_pass import (
    DiagonalComponents,
    DiagonalParameters,
    DiagonalScratch,
    block_of,
    block_size,
    new_components,
    new_parameters,
    new_scratch,
)
from gibbs_gmm.kernels.families.generic import Family, Statistics
from gibbs_gmm.kernels.families.rounding import NEGLIGIBLE, STEPS
from gibbs_gmm.kernels.types import AnyArray, FloatArray

B = 3
"""Place of b_0 in ``SphericalPrior.scalars``; the other places are those of the diagonal family."""


@by_address
class SphericalPrior(NamedTuple):
    """mu_0 (D,), scalars (4,), and the variance (D,) that is left to a value by its resolution, r_d^2 / 12."""

    mu_0: FloatArray
    scalars: FloatArray
    noise: FloatArray


@by_address
class SphericalSide(NamedTuple):
    """Two growing clusters.

    mu (2, D) and b (2,) of the posterior; log_c (2,) the constant of the predictive density; gap (2,) = |x - mu|^2 of
    the row x that was asked about last; log_h (limit + 1,) = log Gamma(a_n + D / 2) - log Gamma(a_n), by n.
    """

    mu: FloatArray
    b: FloatArray
    log_c: FloatArray
    gap: FloatArray
    log_h: FloatArray


def new_side(prior: SphericalPrior, limit: int) -> SphericalSide:
    """Room for two clusters of up to ``limit`` rows."""
    half = 0.5 * len(prior.mu_0)
    a = prior.scalars[A] + half * np.arange(limit + 1)
    b, log_c, gap = np.zeros((3, 2))
    return SphericalSide(np.zeros((2, len(prior.mu_0))), b, log_c, gap, gammaln(a + half) - gammaln(a))


@kernel
def log_normaliser(D: int, kappa_0: float, a_0: float, b_0: float) -> float:
    """log of the constant of the prior as a density of (mu, sigma^2).

    a_0 log b_0 - log Gamma(a_0) + (D/2) log(kappa_0 / 2 pi)
    """
    return a_0 * math.log(b_0) - math.lgamma(a_0) + 0.5 * D * math.log(kappa_0 / (2.0 * math.pi))


@kernel
def normalise(prior: SphericalPrior) -> None:
    """Set the normalising constant of a prior whose hyperparameters have changed."""
    D, scalars = prior.mu_0.shape[0], prior.scalars
    scalars[LOG_NORM] = log_normaliser(D, scalars[KAPPA], scalars[A], scalars[B])


@kernel
def draw_width(rng: np.random.Generator, a_n: float, b_n: float) -> float:
    """1 / sigma, sigma^2 ~ InverseGamma(a_n, b_n)."""
    return math.sqrt(2.0 * rng.standard_gamma(a_n)) / math.sqrt(2.0 * b_n)


# --- What spherical components have in common with diagonal ones ----------------------------------------------------

generic.merge.of(SphericalPrior)(diagonal.merge)
generic.add_row.of(SphericalPrior)(diagonal.add_row)
generic.recall.of(SphericalPrior)(diagonal.recall)
generic.prepare.of(SphericalPrior)(diagonal.prepare)


# --- What they have of their own ------------------------------------------------------------------------------------


@generic.draw.of(SphericalPrior)
@kernel
def draw(
    prior: SphericalPrior,
    rng: np.random.Generator,
    n: float,
    statistics: Statistics,
    k: int,
    centre: FloatArray,
    parameters: DiagonalParameters,
    j: int,
    scratch: DiagonalScratch,
) -> int:
    """a_n = a_0 + n D / 2, b_n = b_0 + what each column adds; then mu. A width that is no positive number fails."""
    own, mu_n, D, b_n = statistics.block[k], scratch.mu, prior.mu_0.shape[0], prior.scalars[B]
    for d in range(D):
        mu_n[d], more = posterior_column(prior, n, own, centre[k], d)
        b_n += more
    w = draw_width(rng, prior.scalars[A] + 0.5 * n * D, b_n)
    for d in range(D):
        parameters.w[j, d] = w
        centre[k, d] = mu_n[d] + rng.standard_normal() / w / math.sqrt(prior.scalars[KAPPA] + n)
    return 0 if 0.0 < w < np.inf else 1


@generic.draw_hyper.of(SphericalPrior)
@kernel
def draw_hyper(
    prior: SphericalPrior,
    rng: np.random.Generator,
    hyper: Hyper,
    t: int,
    parameters: DiagonalParameters,
    centre: FloatArray,
    scratch: DiagonalScratch,
) -> int:
    """b_0 ~ Gamma(shape + t a_0, rate + sum_k 1 / sigma^2_k), then kappa_0, where they are learned."""
    scalars = prior.scalars
    if hyper.shape > 0.0:
        rate = hyper.rate[0]
        for k in range(t):
            rate += parameters.w[k, 0] * parameters.w[k, 0]
        scalars[B] = rng.standard_gamma(hyper.shape + t * scalars[A]) / rate
        if not 0.0 < scalars[B] < np.inf:
            return 1
    if hyper.kappa_shape > 0.0:
        scalars[KAPPA] = draw_kappa(rng, hyper, prior.mu_0, t, parameters, centre)
    if hyper.shape > 0.0 or hyper.kappa_shape > 0.0:
        normalise(prior)
    return 0


@kernel
def log_marginal_of(prior: SphericalPrior, n: float, b_n: float) -> float:
    """log density of n rows from b_n, the ratio of the normalising constants times (2 pi)^(-n D / 2)."""
    D = prior.mu_0.shape[0]
    log_norm_n = log_normaliser(D, prior.scalars[KAPPA] + n, prior.scalars[A] + 0.5 * n * D, b_n)
    return prior.scalars[LOG_NORM] - log_norm_n - 0.5 * n * D * math.log(2.0 * math.pi)


@generic.log_marginal.of(SphericalPrior)
@kernel
def log_marginal(
    prior: SphericalPrior, n: float, statistics: Statistics, k: int, centre: FloatArray, scratch: DiagonalScratch
) -> float:
    """The ratio of the normalising constants of prior and posterior (Murphy 2007)."""
    b_n = prior.scalars[B]
    for d in range(prior.mu_0.shape[0]):
        _, more = posterior_column(prior, n, statistics.block[k], centre, d)
        b_n += more
    return log_marginal_of(prior, n, b_n)


@generic.log_prior.of(SphericalPrior)
@kernel
def log_prior(prior: SphericalPrior, parameters: DiagonalParameters, centre: FloatArray, count: int) -> float:
    """log_norm + (2 a_0 + 2 + D) log w - w^2 (b_0 + kappa_0 |mu - mu_0|^2 / 2) for each component, w = 1 / sigma."""
    D, kappa_0, a_0, b_0 = prior.mu_0.shape[0], prior.scalars[KAPPA], prior.scalars[A], prior.scalars[B]
    result = count * prior.scalars[LOG_NORM]
    for k in range(count):
        w, square = parameters.w[k, 0], 0.0
        for d in range(D):
            offset = centre[k, d] - prior.mu_0[d]
            square += offset * offset
        result += (2.0 * a_0 + 2.0 + D) * math.log(w) - w * w * (b_0 + 0.5 * kappa_0 * square)
    return result


@generic.write.of(SphericalPrior)
@kernel
def write(
    prior: SphericalPrior,
    rng: np.random.Generator,
    n: float,
    statistics: Statistics,
    k: int,
    parameters: DiagonalParameters,
    components: DiagonalComponents,
    loc: FloatArray,
    scratch: DiagonalScratch,
    means: AnyArray,
    covariances: AnyArray,
) -> None:
    """The variance, covariances (K,). Where the resolution is not negligible it takes steps of augmentation first."""
    own, centre, kappa_0, D = statistics.block[k], components.centre[k], prior.scalars[KAPPA], prior.mu_0.shape[0]
    mu, w, exponent = scratch.mu, parameters.w[k, 0], 0.0
    for d in range(D):
        mu[d] = centre[d]
        exponent += 0.5 * w * w * prior.noise[d]
    if n >= 3.0 and exponent >= NEGLIGIBLE * D:
        for _ in range(STEPS):
            b_n = prior.scalars[B]
            for d in range(D):
                mean, scatter = column_of(own, n, centre, d)
                mean, scatter = unround_column(rng, mu[d], 1.0 / (w * w), prior.noise[d], n, mean, scatter)
                mu[d], more = update_column(prior.mu_0[d], kappa_0, 0.0, n, mean, scatter)
                b_n += more
            w = draw_width(rng, prior.scalars[A] + 0.5 * n * D, b_n)
            for d in range(D):
                mu[d] += rng.standard_normal() / w / math.sqrt(kappa_0 + n)
    for d in range(D):
        means[k, d] = loc[d] + mu[d]
    covariances[k] = 1.0 / (w * w)


@generic.write_shared.of(SphericalPrior)
@kernel
def write_shared(prior: SphericalPrior, covariances: AnyArray, kappa_0: FloatArray, scale: AnyArray, row: int) -> None:
    """kappa_0 and b_0, scale (draws,), or empty."""
    kappa_0[row] = prior.scalars[KAPPA]
    if row < scale.shape[0]:
        scale[row] = prior.scalars[B]


@generic.erase.of(SphericalPrior)
@kernel
def erase(prior: SphericalPrior, covariances: AnyArray, k: int) -> None:
    """NaN."""
    covariances[k] = np.nan


# --- Clusters that grow row by row ----------------------------------------------------------------------------------


@kernel
def _set_constant(prior: SphericalPrior, side: SphericalSide, k: int, n: float) -> None:
    """log_c of side k with n rows."""
    kappa, half = prior.scalars[KAPPA] + n, 0.5 * prior.mu_0.shape[0]
    side.log_c[k] = side.log_h[int(n)] + half * math.log(kappa / (kappa + 1.0) / side.b[k])


@generic.begin.of(SphericalPrior)
@kernel
def begin(prior: SphericalPrior, side: SphericalSide, k: int) -> None:
    """The prior itself."""
    side.b[k] = prior.scalars[B]
    for d in range(prior.mu_0.shape[0]):
        side.mu[k, d] = prior.mu_0[d]
    _set_constant(prior, side, k, 0.0)


@generic.resume.of(SphericalPrior)
@kernel
def resume(
    prior: SphericalPrior,
    statistics: Statistics,
    place: int,
    centre: FloatArray,
    side: SphericalSide,
    k: int,
    scratch: DiagonalScratch,
) -> bool:
    """mu_n and b_n, without the resolution."""
    n, b_n = statistics.n[place], prior.scalars[B]
    for d in range(prior.mu_0.shape[0]):
        mean, scatter = column_of(statistics.block[place], n, centre, d)
        side.mu[k, d], more = update_column(prior.mu_0[d], prior.scalars[KAPPA], 0.0, n, mean, scatter)
        b_n += more
    side.b[k] = b_n
    _set_constant(prior, side, k, n)
    return True


@generic.shrink.of(SphericalPrior)
@kernel
def shrink(prior: SphericalPrior, side: SphericalSide, k: int, n: float, x: FloatArray) -> bool:
    """mu and b."""
    mu, kappa, total = side.mu[k], prior.scalars[KAPPA] + n, 0.0
    for d in range(mu.shape[0]):
        gap = x[d] - mu[d]
        total += gap * gap
        mu[d] -= gap / (kappa - 1.0)
    side.b[k] -= 0.5 * kappa / (kappa - 1.0) * total
    _set_constant(prior, side, k, n - 1.0)
    return bool(side.b[k] > 0.0)


@generic.log_predictive.of(SphericalPrior)
@kernel
def log_predictive(prior: SphericalPrior, side: SphericalSide, k: int, n: float, x: FloatArray) -> float:
    """A t density of 2 a_n degrees of freedom.

    log_c - (a_n + D / 2) log(1 + kappa_n / (kappa_n + 1) |x - mu|^2 / (2 b))
    """
    mu, kappa, D, total = side.mu[k], prior.scalars[KAPPA] + n, x.shape[0], 0.0
    for d in range(D):
        gap = x[d] - mu[d]
        total += gap * gap
    side.gap[k] = total
    tail = math.log(1.0 + 0.5 * kappa / (kappa + 1.0) * total / side.b[k])
    return side.log_c[k] - (prior.scalars[A] + 0.5 * D * (n + 1.0)) * tail


@generic.grow.of(SphericalPrior)
@kernel
def grow(prior: SphericalPrior, side: SphericalSide, k: int, n: float, x: FloatArray) -> None:
    """mu and b."""
    mu, kappa = side.mu[k], prior.scalars[KAPPA] + n
    side.b[k] += 0.5 * kappa / (kappa + 1.0) * side.gap[k]
    for d in range(mu.shape[0]):
        mu[d] += (x[d] - mu[d]) / (kappa + 1.0)
    _set_constant(prior, side, k, n + 1.0)


@generic.log_marginal_side.of(SphericalPrior)
@kernel
def log_marginal_side(prior: SphericalPrior, side: SphericalSide, k: int, n: float, scratch: DiagonalScratch) -> float:
    """From b_n with what the resolution adds: rows are allocated without it."""
    b_n = side.b[k]
    for d in range(prior.noise.shape[0]):
        b_n += 0.5 * n * prior.noise[d]
    return log_marginal_of(prior, n, b_n)


FAMILY = Family(block_size, new_components, new_parameters, new_scratch, new_side, block_of, 0)
