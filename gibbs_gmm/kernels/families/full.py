"""The Normal-Inverse-Wishart conjugate pair: update, draw, log density. All in coordinates shifted by ``loc``.

Sigma ~ InverseWishart(nu_0, Psi_0), mu | Sigma ~ N(mu_0, Sigma / kappa_0). A component is held as the lower triangular
W with W'W = Sigma^-1, so that densities need neither Sigma nor its inverse.
"""

import math
from typing import NamedTuple

import numpy as np

from gibbs_gmm.kernels._jit import kernel
from gibbs_gmm.kernels.linalg import cholesky, divide_lower, log_diagonal, solve_lower
from gibbs_gmm.kernels.types import FloatArray

_ROUNDING = 2.0**-46
"""More than the relative rounding errors of a Cholesky factorisation, 2^-53 times a small multiple of D."""


class Prior(NamedTuple):
    """mu_0 (D,), kappa_0, nu_0, Psi_0 (D, D), its lower Cholesky factor, the density's log normalising constant, and
    the variance (D,) that is left to a value by its resolution, r_d^2 / 12.
    """

    mu_0: FloatArray
    kappa_0: float
    nu_0: float
    Psi_0: FloatArray
    L_0: FloatArray
    log_norm: float
    noise: FloatArray


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
def blur(prior: Prior, n: float, i: int, scatter: float) -> float:
    """Diagonal entry i of a scatter matrix of n rows, with what their resolution adds.

    Where values are not exact, that is at least what rounding of the entry itself may have taken: the matrix stays
    positive definite although a gross outlier, or two columns that are equal, leave some direction no digit.
    """
    noise = prior.noise[i]
    return scatter + (n * noise + _ROUNDING * scatter if noise > 0.0 else 0.0)


@kernel
def update_posterior(
    prior: Prior,
    n: float,
    s: FloatArray,
    S: FloatArray,
    centre: FloatArray,
    mu_n: FloatArray,
    Psi_n: FloatArray,
) -> None:
    """Posterior NIW of a cluster with statistics (n, s, S) about ``centre`` (Murphy 2007; BDA3, 3.6).

    mu_n = (kappa_0 mu_0 + n xbar) / kappa_n, and Psi_n = Psi_0 + sum (x - xbar)(x - xbar)' + n R +
    (kappa_0 n / kappa_n)(xbar - mu_0)(xbar - mu_0)' (lower triangle), R = diag(noise). kappa_n = kappa_0
    + n and nu_n = nu_0 + n are left to the caller. An empty cluster (n = 0) gives the prior, whatever s and S hold.
    """
    D = mu_n.shape[0]
    if n == 0.0:
        for i in range(D):
            mu_n[i] = prior.mu_0[i]
            for j in range(i + 1):
                Psi_n[i, j] = prior.Psi_0[i, j]
        return
    shrink = prior.kappa_0 * n / (prior.kappa_0 + n)
    for i in range(D):
        offset_i = centre[i] + s[i] / n - prior.mu_0[i]
        mu_n[i] = prior.mu_0[i] + offset_i * n / (prior.kappa_0 + n)
        for j in range(i + 1):
            offset_j = centre[j] + s[j] / n - prior.mu_0[j]
            Psi_n[i, j] = prior.Psi_0[i, j] + (S[i, j] - s[i] * s[j] / n) + shrink * offset_i * offset_j
        Psi_n[i, i] = blur(prior, n, i, Psi_n[i, i])


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
    D = mu_n.shape[0]
    status = cholesky(Psi_n, Psi_n)
    if status != 0:
        return status
    for i in range(D):
        for j in range(i):
            W[i, j] = rng.standard_normal()
        W[i, i] = math.sqrt(2.0 * rng.standard_gamma(0.5 * (nu_n - D + i + 1)))
    divide_lower(W, Psi_n)
    for j in range(D):
        mu[j] = rng.standard_normal()
    solve_lower(W, mu)
    for j in range(D):
        mu[j] = mu_n[j] + mu[j] / math.sqrt(kappa_n)
    return 0


@kernel
def log_niw(prior: Prior, mu: FloatArray, W: FloatArray) -> float:
    """log density of (mu, Sigma) under the prior, Sigma^-1 = W'W (D, D), with respect to d mu d Sigma.

    log_norm + (nu_0 + D + 2) sum_j log W_jj - |W L_0|^2 / 2 - kappa_0 |W (mu - mu_0)|^2 / 2, where Psi_0 = L_0 L_0'.
    """
    D = W.shape[0]
    quadratic = 0.0
    for i in range(D):
        y = 0.0
        for j in range(i + 1):
            y += W[i, j] * (mu[j] - prior.mu_0[j])
            trace = 0.0
            for m in range(j, i + 1):
                trace += W[i, m] * prior.L_0[m, j]
            quadratic += trace * trace
        quadratic += prior.kappa_0 * y * y
    return prior.log_norm + (prior.nu_0 + D + 2.0) * log_diagonal(W) - 0.5 * quadratic


@kernel
def log_marginal(
    prior: Prior,
    n: float,
    s: FloatArray,
    S: FloatArray,
    centre: FloatArray,
    mu_n: FloatArray,
    Psi_n: FloatArray,
) -> float:
    """log density of a cluster's observations, parameters integrated out (Murphy 2007; BDA3, 3.6).

    The ratio of the normalising constants of prior and posterior, times (2 pi)^(-n D / 2). mu_n and Psi_n are scratch.
    Returns NaN when Psi_n is not positive definite.
    """
    D = mu_n.shape[0]
    update_posterior(prior, n, s, S, centre, mu_n, Psi_n)
    if cholesky(Psi_n, Psi_n) != 0:
        return np.nan
    return log_marginal_of(prior, D, n, log_diagonal(Psi_n))


@kernel
def log_marginal_of(prior: Prior, D: int, n: float, log_det: float) -> float:
    """The same from the number of observations and log|L|, Psi_n = L L'."""
    log_norm_n = log_normaliser(D, prior.kappa_0 + n, prior.nu_0 + n, 2.0 * log_det)
    return prior.log_norm - log_norm_n - 0.5 * n * D * math.log(2.0 * math.pi)


@kernel
def merge_statistics(
    n_a: float,
    s_a: FloatArray,
    S_a: FloatArray,
    centre_a: FloatArray,
    n_b: float,
    s_b: FloatArray,
    S_b: FloatArray,
    centre_b: FloatArray,
    s: FloatArray,
    S: FloatArray,
    centre: FloatArray,
) -> None:
    """Statistics (n_a + n_b, s, S) of two clusters together, about their joint mean, which is written to ``centre``.

    Each cluster is re-centred at its own mean first, so that nothing cancels when the two lie far apart.
    """
    D = centre_a.shape[0]
    n = n_a + n_b
    for i in range(D):
        mean_a, mean_b = centre_a[i] + s_a[i] / n_a, centre_b[i] + s_b[i] / n_b
        centre[i] = (n_a * mean_a + n_b * mean_b) / n
        s[i] = 0.0
        for j in range(i + 1):
            gap = (mean_a - mean_b) * (centre_a[j] + s_a[j] / n_a - centre_b[j] - s_b[j] / n_b)
            S[i, j] = (S_a[i, j] - s_a[i] * s_a[j] / n_a) + (S_b[i, j] - s_b[i] * s_b[j] / n_b) + n_a * n_b / n * gap


@kernel
def noise_exponent(prior: Prior, W: FloatArray) -> float:
    """tr(R Sigma^-1) / 2, Sigma^-1 = W'W, R = diag(noise): what a row's log density loses by its resolution.

    A value that is known to lie in a cell of width r, and nowhere in particular there, has E log N(x) = log N(centre) -
    tr(R Sigma^-1) / 2 with R = diag(r^2 / 12) over the cell.
    """
    total = 0.0
    for j in range(W.shape[0]):
        column = 0.0
        for i in range(j, W.shape[0]):
            column += W[i, j] * W[i, j]
        total += column * prior.noise[j]
    return 0.5 * total
