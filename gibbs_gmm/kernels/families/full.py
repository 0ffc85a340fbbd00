"""Full covariances: the Normal-Inverse-Wishart conjugate pair. All in coordinates shifted by ``loc``.

Sigma ~ InverseWishart(nu_0, Psi_0), mu | Sigma ~ N(mu_0, Sigma / kappa_0). A component is held as the lower triangular
W with W'W = Sigma^-1, so that densities need neither Sigma nor its inverse.
"""

import math
from typing import NamedTuple

import numpy as np

from gibbs_gmm.kernels._jit import kernel
from gibbs_gmm.kernels._records import by_address
from gibbs_gmm.kernels.families import generic
from gibbs_gmm.kernels.families.full_pass import Components, block_size
from gibbs_gmm.kernels.families.generic import Statistics, padded, zeros
from gibbs_gmm.kernels.families.hyperprior import FIXED, Hyperprior, Room, draw_kappa, draw_scale, new_room
from gibbs_gmm.kernels.linalg import (
    cholesky,
    divide_lower,
    log_diagonal,
    solve_lower,
)
from gibbs_gmm.kernels.tile import LOG2_E
from gibbs_gmm.kernels.types import AnyArray, FloatArray

KAPPA, NU, LOG_NORM = 0, 1, 2
"""Places in ``Prior.scalars``: kappa_0, nu_0, and the log of the density's normalising constant."""

_ROUNDING = 2.0**-46
"""More than the relative rounding errors of a Cholesky factorisation, 2^-53 times a small multiple of D."""


@by_address
class Prior(NamedTuple):
    """mu_0 (D,), scalars (3,), Psi_0 (D, D) and its lower Cholesky factor, and the variance (D,) that is left to a
    value by its resolution, r_d^2 / 12.
    """

    mu_0: FloatArray
    scalars: FloatArray
    Psi_0: FloatArray
    L_0: FloatArray
    noise: FloatArray


@by_address
class Parameters(NamedTuple):
    """W (K, D, D), lower triangular, W'W = Sigma^-1. The means are the components' centres."""

    W: FloatArray


@by_address
class Scratch(NamedTuple):
    """mu_n (D,), Psi_n (D, D), a mean and a centre (P,), places for one component's parameters and for one cluster's
    statistics, and room for draws of Psi_0.
    """

    mu_n: FloatArray
    Psi_n: FloatArray
    mu: FloatArray
    centre: FloatArray
    parameters: Parameters
    one: Statistics
    room: Room


def new_parameters(K: int, D: int) -> Parameters:
    """Room for K components."""
    return Parameters(np.zeros((K, D, D)))


def new_scratch(D: int) -> Scratch:
    """Scratch for D columns."""
    return Scratch(
        mu_n=np.zeros(D),
        Psi_n=np.zeros((D, D)),
        mu=np.zeros(padded(D)),
        centre=np.zeros(padded(D)),
        parameters=new_parameters(1, D),
        one=Statistics(np.zeros(1), zeros(1, block_size(D))),
        room=new_room(D),
    )


@kernel
def log_normaliser(D: int, kappa_0: float, nu_0: float, log_det_Psi_0: float) -> float:
    """log of the constant of NIW(mu_0, kappa_0, nu_0, Psi_0), as a density of (mu, Sigma) (BDA3, 3.6).

    (nu_0/2) log|Psi_0| - (nu_0 D/2) log 2 - log Gamma_D(nu_0/2) + (D/2) log(kappa_0 / 2 pi)
    """
    log_gamma_D = 0.25 * D * (D - 1) * math.log(math.pi)
    for j in range(D):
        log_gamma_D += math.lgamma(0.5 * (nu_0 - j))
    return (
        0.5 * nu_0 * (log_det_Psi_0 - D * math.log(2.0)) - log_gamma_D + 0.5 * D * math.log(kappa_0 / (2.0 * math.pi))
    )


@kernel
def normalise(prior: Prior) -> None:
    """Set the normalising constant of a prior whose hyperparameters have changed."""
    log_det = 2.0 * log_diagonal(prior.L_0)
    prior.scalars[LOG_NORM] = log_normaliser(prior.mu_0.shape[0], prior.scalars[KAPPA], prior.scalars[NU], log_det)


@kernel
def blur(noise: FloatArray, n: float, i: int, scatter: float) -> float:
    """Diagonal entry i of a scatter matrix of n rows, with what their resolution adds.

    Where values are not exact, that is at least what rounding of the entry itself may have taken: the matrix stays
    positive definite although a gross outlier, or two columns that are equal, leave some direction no digit.
    """
    return scatter + (n * noise[i] + _ROUNDING * scatter if noise[i] > 0.0 else 0.0)


@kernel
def noise_exponent(noise: FloatArray, W: FloatArray) -> float:
    """tr(R Sigma^-1) / 2, Sigma^-1 = W'W, R = diag(noise): what a row's log density loses by its resolution.

    A value that is known to lie in a cell of width r, and nowhere in particular there, has E log N(x) = log N(centre) -
    tr(R Sigma^-1) / 2 with R = diag(r^2 / 12) over the cell.
    """
    total = 0.0
    for j in range(W.shape[0]):
        column = 0.0
        for i in range(j, W.shape[0]):
            column += W[i, j] * W[i, j]
        total += column * noise[j]
    return 0.5 * total


@kernel
def update_posterior(
    prior: Prior, noise: FloatArray, n: float, statistics: Statistics, k: int, centre: FloatArray, scratch: Scratch
) -> None:
    """Posterior NIW of a cluster of n rows (Murphy 2007; BDA3, 3.6): scratch.mu_n, and the lower triangle of Psi_n.

    mu_n = (kappa_0 mu_0 + n xbar) / kappa_n, and Psi_n = Psi_0 + sum (x - xbar)(x - xbar)' + n R +
    (kappa_0 n / kappa_n)(xbar - mu_0)(xbar - mu_0)', R = diag(noise). kappa_n = kappa_0 + n and nu_n = nu_0 + n are
    left to the caller. An empty cluster (n = 0) gives the prior, whatever its block holds.
    """
    mu_n, Psi_n = scratch.mu_n, scratch.Psi_n
    D, P, own, kappa_0 = mu_n.shape[0], centre.shape[0], statistics.block[k], prior.scalars[KAPPA]
    if n == 0.0:
        for i in range(D):
            mu_n[i] = prior.mu_0[i]
            for j in range(i + 1):
                Psi_n[i, j] = prior.Psi_0[i, j]
        return
    shrink = kappa_0 * n / (kappa_0 + n)
    for i in range(D):
        offset_i = centre[i] + own[i] / n - prior.mu_0[i]
        mu_n[i] = prior.mu_0[i] + offset_i * n / (kappa_0 + n)
        row = P + P * i
        for j in range(i + 1):
            offset_j = centre[j] + own[j] / n - prior.mu_0[j]
            Psi_n[i, j] = prior.Psi_0[i, j] + (own[row + j] - own[i] * own[j] / n) + shrink * offset_i * offset_j
        Psi_n[i, i] = blur(noise, n, i, Psi_n[i, i])


@kernel
def draw_component(
    rng: np.random.Generator,
    mu_n: FloatArray,
    kappa_n: float,
    nu_n: float,
    Psi_n: FloatArray,
    mu: FloatArray,
    W: FloatArray,
) -> int:
    """(mu, Sigma) ~ NIW(mu_n, kappa_n, nu_n, Psi_n), as mu (at least D,) and W (D, D) with W'W = Sigma^-1.

    With Psi_n = L L', W = A' L^-1 for A upper triangular, A_jj^2 ~ chi^2(nu_n - D + j), j = 1..D, and standard normals
    above the diagonal (Bartlett's decomposition, reversed so that W is lower triangular); mu = mu_n + W^-1 eps /
    sqrt(kappa_n).
    Psi_n is overwritten. Returns 0, or the number of the pivot at which Psi_n is not positive definite.
    """
    status = draw_precision(rng, nu_n, Psi_n, W)
    if status != 0:
        return status
    draw_mean(rng, mu_n, kappa_n, W, mu)
    return 0


@kernel
def draw_precision(rng: np.random.Generator, nu_n: float, Psi_n: FloatArray, W: FloatArray) -> int:
    """W of Sigma ~ InverseWishart(nu_n, Psi_n), W'W = Sigma^-1; see :func:`draw_component`."""
    D = W.shape[0]
    status = cholesky(Psi_n, Psi_n)
    if status != 0:
        return status
    for i in range(D):
        for j in range(i):
            W[i, j] = rng.standard_normal()
        W[i, i] = math.sqrt(2.0 * rng.standard_gamma(0.5 * (nu_n - D + i + 1)))
    divide_lower(W, Psi_n)
    return 0


@kernel
def draw_mean(rng: np.random.Generator, mu_n: FloatArray, kappa_n: float, W: FloatArray, mu: FloatArray) -> None:
    """Mu ~ N(mu_n, Sigma / kappa_n), Sigma^-1 = W'W; mu is (at least D,)."""
    D = mu_n.shape[0]
    for j in range(D):
        mu[j] = rng.standard_normal()
    solve_lower(W, mu)
    for j in range(D):
        mu[j] = mu_n[j] + mu[j] / math.sqrt(kappa_n)


@kernel
def log_niw(prior: Prior, mu: FloatArray, W: FloatArray) -> float:
    """log density of (mu, Sigma) under the prior, Sigma^-1 = W'W (D, D), with respect to d mu d Sigma.

    log_norm + (nu_0 + D + 2) sum_j log W_jj - |W L_0|^2 / 2 - kappa_0 |W (mu - mu_0)|^2 / 2, where Psi_0 = L_0 L_0'.
    """
    D, kappa_0, nu_0 = W.shape[0], prior.scalars[KAPPA], prior.scalars[NU]
    quadratic = 0.0
    for i in range(D):
        y = 0.0
        for j in range(i + 1):
            y += W[i, j] * (mu[j] - prior.mu_0[j])
            trace = 0.0
            for m in range(j, i + 1):
                trace += W[i, m] * prior.L_0[m, j]
            quadratic += trace * trace
        quadratic += kappa_0 * y * y
    return prior.scalars[LOG_NORM] + (nu_0 + D + 2.0) * log_diagonal(W) - 0.5 * quadratic


@kernel
def log_marginal_of(prior: Prior, D: int, n: float, log_det: float) -> float:
    """log density of n observations from log|L|, Psi_n = L L'; see :func:`log_marginal`."""
    kappa_0, nu_0, log_norm = prior.scalars[KAPPA], prior.scalars[NU], prior.scalars[LOG_NORM]
    log_norm_n = log_normaliser(D, kappa_0 + n, nu_0 + n, 2.0 * log_det)
    return log_norm - log_norm_n - 0.5 * n * D * math.log(2.0 * math.pi)


@kernel
def ready(W: FloatArray, scaled: FloatArray, mu: FloatArray, c: FloatArray) -> None:
    """scaled (D, D) <- sqrt(log2 e) W, and c (D,) <- -scaled mu: a component in the label pass's form."""
    scale = math.sqrt(LOG2_E)
    for i in range(W.shape[0]):
        y = 0.0
        for j in range(i + 1):
            scaled[i, j] = scale * W[i, j]
            y -= scaled[i, j] * mu[j]
        c[i] = y


# --- The family's verbs ---------------------------------------------------------------------------------------------


@generic.draw.of(Prior)
@kernel
def draw(
    prior: Prior,
    rng: np.random.Generator,
    n: float,
    statistics: Statistics,
    k: int,
    centre: FloatArray,
    parameters: Parameters,
    j: int,
    scratch: Scratch,
) -> int:
    """See :func:`draw_component`."""
    update_posterior(prior, prior.noise, n, statistics, k, centre[k], scratch)
    kappa_n, nu_n = prior.scalars[KAPPA] + n, prior.scalars[NU] + n
    return draw_component(rng, scratch.mu_n, kappa_n, nu_n, scratch.Psi_n, centre[k], parameters.W[j])


@generic.prepare.of(Prior)
@kernel
def prepare(prior: Prior, parameters: Parameters, j: int, components: Components, k: int) -> float:
    """log|W| - (D/2) log 2 pi - tr(R Sigma^-1) / 2."""
    W = parameters.W[j]
    ready(W, components.W[k], components.centre[k], components.c[k])
    return log_diagonal(W) - 0.5 * W.shape[0] * math.log(2.0 * math.pi) - noise_exponent(prior.noise, W)


@generic.draw_hyper.of(Prior)
@kernel
def draw_hyper(
    prior: Prior,
    rng: np.random.Generator,
    hyper: Hyperprior,
    t: int,
    parameters: Parameters,
    centre: FloatArray,
    scratch: Scratch,
) -> int:
    """Psi_0, then kappa_0, where they are learned."""
    if hyper.law != FIXED:
        status = draw_scale(rng, hyper, t, prior.scalars[NU], parameters.W, scratch.room, prior.Psi_0, prior.L_0)
        if status != 0:
            return status
    if hyper.kappa_shape > 0.0:
        prior.scalars[KAPPA] = draw_kappa(rng, hyper, prior.mu_0, t, parameters.W, centre)
    if hyper.law != FIXED or hyper.kappa_shape > 0.0:
        normalise(prior)
    return 0


@generic.log_marginal.of(Prior)
@kernel
def log_marginal(prior: Prior, n: float, statistics: Statistics, k: int, centre: FloatArray, scratch: Scratch) -> float:
    """The ratio of the normalising constants of prior and posterior, times (2 pi)^(-n D / 2) (Murphy 2007; BDA3, 3.6).

    NaN when Psi_n is not positive definite.
    """
    update_posterior(prior, prior.noise, n, statistics, k, centre, scratch)
    if cholesky(scratch.Psi_n, scratch.Psi_n) != 0:
        return np.nan
    return log_marginal_of(prior, scratch.mu_n.shape[0], n, log_diagonal(scratch.Psi_n))


@kernel
def merge_scatter(
    D: int, statistics: Statistics, a: int, b: int, centre: FloatArray, union: Statistics, union_centre: FloatArray
) -> None:
    """:func:`gibbs_gmm.kernels.families.generic.merge` of counts, sums and scatter matrices."""
    P = union_centre.shape[0]
    own_a, own_b, own = statistics.block[a], statistics.block[b], union.block[0]
    centre_a, centre_b = centre[a], centre[b]
    n_a, n_b = statistics.n[a], statistics.n[b]
    n = n_a + n_b
    union.n[0] = n
    for i in range(D):
        mean_a, mean_b = centre_a[i] + own_a[i] / n_a, centre_b[i] + own_b[i] / n_b
        union_centre[i] = (n_a * mean_a + n_b * mean_b) / n
        own[i] = 0.0
        row = P + P * i
        for j in range(i + 1):
            gap = (mean_a - mean_b) * (centre_a[j] + own_a[j] / n_a - centre_b[j] - own_b[j] / n_b)
            S_a = own_a[row + j] - own_a[i] * own_a[j] / n_a
            S_b = own_b[row + j] - own_b[i] * own_b[j] / n_b
            own[row + j] = S_a + S_b + n_a * n_b / n * gap


@generic.merge.of(Prior)
@kernel
def merge(
    prior: Prior,
    statistics: Statistics,
    a: int,
    b: int,
    centre: FloatArray,
    union: Statistics,
    union_centre: FloatArray,
) -> None:
    """:func:`merge_scatter`."""
    merge_scatter(prior.mu_0.shape[0], statistics, a, b, centre, union, union_centre)


@kernel
def add_row_scatter(D: int, block: FloatArray, d: FloatArray) -> None:
    """Add d d', d (P,), to the lower triangle of a block's scatter."""
    P = d.shape[0]
    for i in range(D):
        for j in range(i + 1):
            block[P + P * i + j] += d[i] * d[j]


@generic.add_row.of(Prior)
@kernel
def add_row(prior: Prior, block: FloatArray, d: FloatArray) -> None:
    """:func:`add_row_scatter`."""
    add_row_scatter(prior.mu_0.shape[0], block, d)


@generic.log_prior.of(Prior)
@kernel
def log_prior(prior: Prior, parameters: Parameters, centre: FloatArray, count: int) -> float:
    """The sum of :func:`log_niw`."""
    total = 0.0
    for k in range(count):
        total += log_niw(prior, centre[k], parameters.W[k])
    return total


@generic.write_shared.of(Prior)
@kernel
def write_shared(prior: Prior, covariances: AnyArray, kappa_0: FloatArray, scale: AnyArray, row: int) -> None:
    """kappa_0 and Psi_0."""
    kappa_0[row] = prior.scalars[KAPPA]
    for i in range(scale.shape[1]):
        for j in range(scale.shape[1]):
            scale[row, i, j] = prior.Psi_0[i, j]


@generic.erase.of(Prior)
@kernel
def erase(prior: Prior, covariances: AnyArray, k: int) -> None:
    """A matrix of NaN."""
    for i in range(covariances.shape[1]):
        for j in range(covariances.shape[1]):
            covariances[k, i, j] = np.nan


# --- Its components as the label pass has them ----------------------------------------------------------------------


@kernel
def swap_rows(A: FloatArray, a: int, b: int) -> None:
    """Exchange rows a and b."""
    for i in range(A.shape[1]):
        A[a, i], A[b, i] = A[b, i], A[a, i]


@generic.swap.of(Components)
@kernel
def swap(components: Components, parameters: Parameters, a: int, b: int) -> None:
    """Both forms of W, c, log_c and the centre."""
    log_c = components.log_c
    log_c[a], log_c[b] = log_c[b], log_c[a]
    swap_rows(components.c, a, b)
    swap_rows(components.centre, a, b)
    for i in range(parameters.W.shape[1]):
        swap_rows(parameters.W[:, i], a, b)
        swap_rows(components.W[:, i], a, b)


@generic.ball.of(Components)
@kernel
def ball(components: Components, k: int, x: FloatArray, scale: FloatArray) -> None:
    """W = diag(1 / scale)."""
    W, c, centre = components.W, components.c, components.centre
    D = W.shape[1]
    for i in range(D):
        for j in range(D):
            W[k, i, j] = 0.0
        W[k, i, i] = 1.0 / scale[i]
        centre[k, i] = x[i]
        c[k, i] = -W[k, i, i] * centre[k, i]
    components.log_c[k] = 0.0


@kernel
def _copy(source: Components, k: int, to: Components, place: int) -> None:
    D = source.c.shape[1]
    to.log_c[place] = source.log_c[k]
    for i in range(source.centre.shape[1]):
        to.centre[place, i] = source.centre[k, i]
    for i in range(D):
        to.c[place, i] = source.c[k, i]
        for j in range(D):
            to.W[place, i, j] = source.W[k, i, j]


@generic.keep.of(Components)
@kernel
def keep(components: Components, k: int, library: Components, place: int) -> None:
    """A copy."""
    _copy(components, k, library, place)


@generic.recall.of(Prior)
@kernel
def recall(prior: Prior, library: Components, place: int, components: Components, k: int) -> None:
    """A copy."""
    _copy(library, place, components, k)


@generic.log_odds.of(Components)
@kernel
def log_odds(components: Components, x: FloatArray) -> float:
    """By the quadratic forms."""
    W, c, log_c = components.W, components.c, components.log_c
    D = W.shape[1]
    result = log_c[0] - log_c[1]
    for k in range(2):
        for i in range(D):
            y = c[k, i]
            for j in range(i + 1):
                y += W[k, i, j] * x[j]
            result += (0.5 if k == 1 else -0.5) * y * y
    return result
