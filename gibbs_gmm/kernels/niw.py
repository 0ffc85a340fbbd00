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


class Prior(NamedTuple):
    """mu_0 (D,), kappa_0, nu_0, Psi_0 (D, D), its lower Cholesky factor, and the density's log normalising constant."""

    mu_0: FloatArray
    kappa_0: float
    nu_0: float
    Psi_0: FloatArray
    L_0: FloatArray
    log_norm: float


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

    mu_n = (kappa_0 mu_0 + n xbar) / kappa_n, and Psi_n = Psi_0 + sum (x - xbar)(x - xbar)' +
    (kappa_0 n / kappa_n)(xbar - mu_0)(xbar - mu_0)' (lower triangle). kappa_n = kappa_0 + n and nu_n = nu_0 + n are
    left to the caller. An empty cluster (n = 0) gives the prior.
    """
    D = mu_n.shape[0]
    per = 1.0 / n if n > 0.0 else 0.0
    shrink = prior.kappa_0 * n / (prior.kappa_0 + n)
    for i in range(D):
        offset_i = centre[i] + s[i] * per - prior.mu_0[i] if n > 0.0 else 0.0
        mu_n[i] = prior.mu_0[i] + offset_i * n / (prior.kappa_0 + n)
        for j in range(i + 1):
            offset_j = centre[j] + s[j] * per - prior.mu_0[j] if n > 0.0 else 0.0
            Psi_n[i, j] = prior.Psi_0[i, j] + (S[i, j] - s[i] * s[j] * per) + shrink * offset_i * offset_j


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
