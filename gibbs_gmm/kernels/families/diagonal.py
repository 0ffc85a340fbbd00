"""Diagonal covariances: the Normal-Inverse-Gamma conjugate pair in each column. All in coordinates shifted by ``loc``.

sigma^2_d ~ InverseGamma(a_0, b_0d), mu_d | sigma^2_d ~ N(mu_0d, sigma^2_d / kappa_0), the columns independent given
kappa_0 and b_0. In one column it is the Normal-Inverse-Wishart of a_0 = nu_0 / 2, b_0 = Psi_0 / 2.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from gibbs_gmm.kernels._jit import kernel
from gibbs_gmm.kernels._records import by_address
from gibbs_gmm.kernels.families import generic
from gibbs_gmm.kernels.families.diagonal_pass import (
    DiagonalComponents,
    DiagonalParameters,
    DiagonalScratch,
    copy_component,
    ready,
)
from gibbs_gmm.kernels.families.generic import Statistics
from gibbs_gmm.kernels.families.hyperprior import draw_truncated_gamma
from gibbs_gmm.kernels.families.rounding import NEGLIGIBLE, STEPS
from gibbs_gmm.kernels.linalg import gather_log
from gibbs_gmm.kernels.types import AnyArray, FloatArray

KAPPA, A, LOG_NORM = 0, 1, 2
"""Places in ``DiagonalPrior.scalars``: kappa_0, a_0, and the log of the density's normalising constant."""


@by_address
class DiagonalPrior(NamedTuple):
    """mu_0 (D,), scalars (3,), b_0 (D,), and the variance (D,) that its resolution leaves to a value, r_d^2 / 12."""

    mu_0: FloatArray
    scalars: FloatArray
    b_0: FloatArray
    noise: FloatArray


@by_address
class Hyper(NamedTuple):
    """The laws of b_0 and kappa_0 as numbers.

    b_0d ~ Gamma(shape, rate_d), and is fixed where the shape is 0; rate (D,), or (1,) of spherical components. kappa_0
    has a density proportional to kappa_0^(kappa_shape - 1) on (0, kappa_most], and is fixed where kappa_shape is 0.
    """

    shape: float
    rate: FloatArray
    kappa_shape: float
    kappa_most: float


# --- One column -----------------------------------------------------------------------------------------------------


@kernel
def update_column(
    mu_0: float, kappa_0: float, noise: float, n: float, mean: float, scatter: float
) -> tuple[float, float]:
    """Posterior mean mu_n, and b_n - b_0, of n values with this mean and scatter about it (Murphy 2007).

    mu_n = (kappa_0 mu_0 + n xbar) / kappa_n, and b_n - b_0 = (scatter + n noise + (kappa_0 n / kappa_n)
    (xbar - mu_0)^2) / 2. kappa_n = kappa_0 + n and a_n = a_0 + n / 2 are left to the caller.
    """
    offset, kappa_n = mean - mu_0, kappa_0 + n
    shrink = kappa_0 * n / kappa_n
    return mu_0 + offset * n / kappa_n, 0.5 * (scatter + n * noise + shrink * offset * offset)


@kernel
def column_of(own: FloatArray, n: float, centre: FloatArray, d: int) -> tuple[float, float]:
    """Mean of column d of the n > 0 rows of a block, and scatter about it."""
    P = centre.shape[0]
    return centre[d] + own[d] / n, max(own[P + d] - own[d] * own[d] / n, 0.0)


@kernel
def posterior_column(prior: Any, n: float, own: FloatArray, centre: FloatArray, d: int) -> tuple[float, float]:
    """:func:`update_column` of column d of a block of n rows; no rows (n = 0) give the prior, whatever it holds."""
    if n == 0.0:
        return prior.mu_0[d], 0.0
    mean, scatter = column_of(own, n, centre, d)
    return update_column(prior.mu_0[d], prior.scalars[KAPPA], prior.noise[d], n, mean, scatter)


@kernel
def unround_column(
    rng: np.random.Generator, mu: float, variance: float, noise: float, n: float, mean: float, scatter: float
) -> tuple[float, float]:
    """Mean and scatter of n >= 3 values before rounding, given those after it and the component (mu, variance).

    The scalar case of :func:`gibbs_gmm.kernels.families.rounding.draw_unrounded`.
    """
    share = variance / (variance + noise)
    root = math.sqrt(share * noise)
    drawn = share * math.sqrt(scatter) + root * rng.standard_normal()
    rest = 2.0 * share * noise * rng.standard_gamma(0.5 * (n - 2.0))
    return mu + share * (mean - mu) + root * rng.standard_normal() / math.sqrt(n), drawn * drawn + rest


# --- The family's verbs ---------------------------------------------------------------------------------------------


@kernel
def log_normaliser(D: int, kappa_0: float, a_0: float, log_b_0: float) -> float:
    """log of the constant of the prior as a density of (mu, sigma^2) in all D columns; log_b_0 = sum_d log b_0d.

    sum_d a_0 log b_0d - D log Gamma(a_0) + (D/2) log(kappa_0 / 2 pi)
    """
    return a_0 * log_b_0 - D * math.lgamma(a_0) + 0.5 * D * math.log(kappa_0 / (2.0 * math.pi))


@kernel
def normalise(prior: DiagonalPrior) -> None:
    """Set the normalising constant of a prior whose hyperparameters have changed."""
    log_b_0 = 0.0
    for b in prior.b_0:
        log_b_0 += math.log(b)
    prior.scalars[LOG_NORM] = log_normaliser(prior.b_0.shape[0], prior.scalars[KAPPA], prior.scalars[A], log_b_0)


@kernel
def draw_column(rng: np.random.Generator, mu_n: float, kappa_n: float, a_n: float, b_n: float) -> tuple[float, float]:
    """(mu, 1 / sigma): sigma^2 ~ InverseGamma(a_n, b_n), mu ~ N(mu_n, sigma^2 / kappa_n)."""
    w = math.sqrt(2.0 * rng.standard_gamma(a_n)) / math.sqrt(2.0 * b_n)
    return mu_n + rng.standard_normal() / w / math.sqrt(kappa_n), w


@generic.draw.of(DiagonalPrior)
@kernel
def draw(
    prior: DiagonalPrior,
    rng: np.random.Generator,
    n: float,
    statistics: Statistics,
    k: int,
    centre: FloatArray,
    parameters: DiagonalParameters,
    j: int,
    scratch: DiagonalScratch,
) -> int:
    """:func:`draw_column` in each column. A width that is not a positive number is a pivot that fails."""
    own, w, kappa_n, a_n = statistics.block[k], parameters.w[j], prior.scalars[KAPPA] + n, prior.scalars[A] + 0.5 * n
    for d in range(w.shape[0]):
        mu_n, more = posterior_column(prior, n, own, centre[k], d)
        centre[k, d], w[d] = draw_column(rng, mu_n, kappa_n, a_n, prior.b_0[d] + more)
        if not 0.0 < w[d] < np.inf:
            return d + 1
    return 0


@generic.prepare.of(DiagonalPrior)
@kernel
def prepare(
    prior: DiagonalPrior, parameters: DiagonalParameters, j: int, components: DiagonalComponents, k: int
) -> float:
    """:func:`ready`."""
    return ready(prior.noise, parameters, j, components, k)


@kernel
def draw_kappa(
    rng: np.random.Generator, hyper: Hyper, mu_0: FloatArray, t: int, parameters: DiagonalParameters, centre: FloatArray
) -> float:
    """kappa_0 given t components, Gamma(kappa_shape + t D / 2, rate sum_kd w_kd^2 (mu_kd - mu_0d)^2 / 2), truncated."""
    D, w, rate = mu_0.shape[0], parameters.w, 0.0
    for k in range(t):
        for d in range(D):
            y = w[k, d] * (centre[k, d] - mu_0[d])
            rate += 0.5 * y * y
    return draw_truncated_gamma(rng, hyper.kappa_shape + 0.5 * t * D, rate, hyper.kappa_most)


@generic.draw_hyper.of(DiagonalPrior)
@kernel
def draw_hyper(
    prior: DiagonalPrior,
    rng: np.random.Generator,
    hyper: Hyper,
    t: int,
    parameters: DiagonalParameters,
    centre: FloatArray,
    scratch: DiagonalScratch,
) -> int:
    """b_0d ~ Gamma(shape + t a_0, rate_d + sum_k 1 / sigma^2_kd), then kappa_0, where they are learned."""
    w = parameters.w
    if hyper.shape > 0.0:
        for d in range(prior.b_0.shape[0]):
            rate = hyper.rate[d]
            for k in range(t):
                rate += w[k, d] * w[k, d]
            prior.b_0[d] = rng.standard_gamma(hyper.shape + t * prior.scalars[A]) / rate
            if not 0.0 < prior.b_0[d] < np.inf:
                return d + 1
    if hyper.kappa_shape > 0.0:
        prior.scalars[KAPPA] = draw_kappa(rng, hyper, prior.mu_0, t, parameters, centre)
    if hyper.shape > 0.0 or hyper.kappa_shape > 0.0:
        normalise(prior)
    return 0


@kernel
def log_marginal_of(prior: DiagonalPrior, n: float, log_b_n: float) -> float:
    """log density of n rows from sum_d log b_nd, the ratio of the normalising constants times (2 pi)^(-n D / 2)."""
    D = prior.b_0.shape[0]
    log_norm_n = log_normaliser(D, prior.scalars[KAPPA] + n, prior.scalars[A] + 0.5 * n, log_b_n)
    return prior.scalars[LOG_NORM] - log_norm_n - 0.5 * n * D * math.log(2.0 * math.pi)


@generic.log_marginal.of(DiagonalPrior)
@kernel
def log_marginal(
    prior: DiagonalPrior, n: float, statistics: Statistics, k: int, centre: FloatArray, scratch: DiagonalScratch
) -> float:
    """The ratio of the normalising constants of prior and posterior (Murphy 2007)."""
    total, product = 0.0, 1.0
    for d in range(prior.b_0.shape[0]):
        _, more = posterior_column(prior, n, statistics.block[k], centre, d)
        product, total = gather_log(prior.b_0[d] + more, product, total)
    return log_marginal_of(prior, n, total + math.log(product))


@generic.merge.of(DiagonalPrior)
@kernel
def merge(
    prior: DiagonalPrior,
    statistics: Statistics,
    a: int,
    b: int,
    centre: FloatArray,
    union: Statistics,
    union_centre: FloatArray,
) -> None:
    """Column by column."""
    P, own, n_a, n_b = centre.shape[1], union.block[0], statistics.n[a], statistics.n[b]
    n = n_a + n_b
    union.n[0] = n
    for d in range(prior.mu_0.shape[0]):
        mean_a, scatter_a = column_of(statistics.block[a], n_a, centre[a], d)
        mean_b, scatter_b = column_of(statistics.block[b], n_b, centre[b], d)
        union_centre[d] = (n_a * mean_a + n_b * mean_b) / n
        own[d] = 0.0
        own[P + d] = scatter_a + scatter_b + n_a * n_b / n * (mean_a - mean_b) * (mean_a - mean_b)


@generic.add_row.of(DiagonalPrior)
@kernel
def add_row(prior: DiagonalPrior, block: FloatArray, d: FloatArray) -> None:
    """Its squares."""
    P = d.shape[0]
    for i in range(prior.mu_0.shape[0]):
        block[P + i] += d[i] * d[i]


@generic.log_prior.of(DiagonalPrior)
@kernel
def log_prior(prior: DiagonalPrior, parameters: DiagonalParameters, centre: FloatArray, count: int) -> float:
    """log_norm + sum_d [(2 a_0 + 3) log w_d - w_d^2 (b_0d + kappa_0 (mu_d - mu_0d)^2 / 2)] for each component."""
    w, kappa_0, a_0 = parameters.w, prior.scalars[KAPPA], prior.scalars[A]
    result = count * prior.scalars[LOG_NORM]
    for k in range(count):
        total, product = 0.0, 1.0
        for d in range(w.shape[1]):
            offset = centre[k, d] - prior.mu_0[d]
            product, total = gather_log(w[k, d], product, total)
            result -= w[k, d] * w[k, d] * (prior.b_0[d] + 0.5 * kappa_0 * offset * offset)
        result += (2.0 * a_0 + 3.0) * (total + math.log(product))
    return result


@generic.recall.of(DiagonalPrior)
@kernel
def recall(
    prior: DiagonalPrior, library: DiagonalComponents, place: int, components: DiagonalComponents, k: int
) -> None:
    """A copy."""
    copy_component(library, place, components, k)


# --- A trace --------------------------------------------------------------------------------------------------------


@generic.write.of(DiagonalPrior)
@kernel
def write(
    prior: DiagonalPrior,
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
    """Variances, covariances (K, D). Columns whose resolution is not negligible take steps of augmentation first."""
    own, centre, b_0, kappa_0 = statistics.block[k], components.centre[k], prior.b_0, prior.scalars[KAPPA]
    for d in range(b_0.shape[0]):
        mu, w, noise = centre[d], parameters.w[k, d], prior.noise[d]
        if n >= 3.0 and 0.5 * w * w * noise >= NEGLIGIBLE:
            mean, scatter = column_of(own, n, centre, d)
            for _ in range(STEPS):
                mean_v, scatter_v = unround_column(rng, mu, 1.0 / (w * w), noise, n, mean, scatter)
                mu_n, more = update_column(prior.mu_0[d], kappa_0, 0.0, n, mean_v, scatter_v)
                mu, w = draw_column(rng, mu_n, kappa_0 + n, prior.scalars[A] + 0.5 * n, b_0[d] + more)
        means[k, d] = loc[d] + mu
        covariances[k, d] = 1.0 / (w * w)


@generic.write_shared.of(DiagonalPrior)
@kernel
def write_shared(prior: DiagonalPrior, covariances: AnyArray, kappa_0: FloatArray, scale: AnyArray, row: int) -> None:
    """kappa_0 and b_0, scale (draws, D)."""
    kappa_0[row] = prior.scalars[KAPPA]
    for d in range(scale.shape[1]):
        scale[row, d] = prior.b_0[d]


@generic.erase.of(DiagonalPrior)
@kernel
def erase(prior: DiagonalPrior, covariances: AnyArray, k: int) -> None:
    """A row of NaN."""
    for d in range(covariances.shape[1]):
        covariances[k, d] = np.nan
