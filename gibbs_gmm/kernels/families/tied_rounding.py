"""What a trace has of components that share a covariance: means and covariance of the values before rounding.

As in :mod:`rounding`, for all clusters at once: given (mu_1, .., mu_t, Sigma) and x, each cluster's mean of v is drawn,
and the scatter of all rows about their clusters' means, which has N - t degrees of freedom.
"""

import numpy as np

from gibbs_gmm.kernels._jit import kernel
from gibbs_gmm.kernels.families import generic
from gibbs_gmm.kernels.families.full import KAPPA, NU, draw_mean, draw_precision, noise_exponent
from gibbs_gmm.kernels.families.generic import Statistics
from gibbs_gmm.kernels.families.rounding import (
    NEGLIGIBLE,
    STEPS,
    cholesky_semidefinite,
    draw_cluster_mean,
    draw_scatter,
    set_attenuation,
)
from gibbs_gmm.kernels.families.tied import TiedParameters, TiedPrior, TiedScratch
from gibbs_gmm.kernels.families.tied_pass import TiedComponents
from gibbs_gmm.kernels.linalg import invert_lower, outer_lower
from gibbs_gmm.kernels.types import AnyArray, FloatArray


@kernel
def _add_means(prior: TiedPrior, statistics: Statistics, t: int, mean: FloatArray, Psi_n: FloatArray) -> None:
    """Psi_n += Psi_0 + sum_k (kappa_0 n / (kappa_0 + n)) (mean_k - mu_0)(mean_k - mu_0)', the lower triangle."""
    D, kappa_0 = Psi_n.shape[0], prior.scalars[KAPPA]
    for i in range(D):
        for j in range(i + 1):
            Psi_n[i, j] += prior.Psi_0[i, j]
    for k in range(t):
        n = statistics.n[k]
        shrink = kappa_0 * n / (kappa_0 + n)
        for i in range(D):
            offset = shrink * (mean[k, i] - prior.mu_0[i])
            for j in range(i + 1):
                Psi_n[i, j] += offset * (mean[k, j] - prior.mu_0[j])


@kernel
def draw_all_unrounded(
    rng: np.random.Generator,
    prior: TiedPrior,
    statistics: Statistics,
    t: int,
    centre: FloatArray,
    scratch: TiedScratch,
    mu: FloatArray,
    W: FloatArray,
) -> int:
    """Steps of (mu_1, .., mu_t, Sigma) of the values before rounding, Sigma^-1 = W'W, given the clusters' statistics.

    Leaves the posterior of (mu_1, .., mu_t, Sigma) under N(x | mu_k, Sigma + R), given the clusters, invariant. Nothing
    is done where rounding is negligible, or to fewer than t + D + 1 rows. mu (t, D) and W (D, D) are overwritten.
    centre (t, P) are what the statistics are about. Returns 0, or the number of a pivot that fails.
    """
    mu_n, Psi_n, room = scratch.mu_n, scratch.Psi_n, scratch.room
    D, P, N, L, kappa_0 = mu_n.shape[0], centre.shape[1], 0.0, room.M, prior.scalars[KAPPA]
    for k in range(t):
        N += statistics.n[k]
    if t + D + 1.0 > N or noise_exponent(prior.noise, W) < NEGLIGIBLE * D:
        return 0
    for i in range(D):
        for j in range(i + 1):
            L[i, j] = 0.0
            for k in range(t):
                own, n = statistics.block[k], statistics.n[k]
                L[i, j] += own[P + P * i + j] - own[i] * own[j] / n
    cholesky_semidefinite(L)
    for _ in range(STEPS):
        status = set_attenuation(prior.noise, W, room)
        if status != 0:
            return status
        draw_scatter(rng, N - t, room, mu_n)
        for k in range(t):
            draw_cluster_mean(rng, statistics.n[k], statistics.block[k], centre[k], mu[k], room, mu_n)
            for i in range(D):
                mu[k, i] = mu_n[i]
        for i in range(D):
            for j in range(i + 1):
                Psi_n[i, j] = room.L[i, j]
        _add_means(prior, statistics, t, mu, Psi_n)
        status = draw_precision(rng, prior.scalars[NU] + N, Psi_n, W)
        if status != 0:
            return status
        for k in range(t):
            n = statistics.n[k]
            for i in range(D):
                mu_n[i] = prior.mu_0[i] + (mu[k, i] - prior.mu_0[i]) * n / (kappa_0 + n)
            draw_mean(rng, mu_n, kappa_0 + n, W, mu[k])
    return 0


@kernel
def _write_covariance(
    prior: TiedPrior,
    rng: np.random.Generator,
    statistics: Statistics,
    parameters: TiedParameters,
    components: TiedComponents,
    scratch: TiedScratch,
    covariance: AnyArray,
) -> None:
    """Sigma into covariance (D, D), and the means of the clusters as a draw has them into the parameters."""
    W, V, mu, t = scratch.W[0], scratch.Psi_n, parameters.mu, 0
    D = V.shape[0]
    for i in range(D):
        for j in range(i + 1):
            W[i, j] = prior.W[0, i, j]
    while t < mu.shape[0] and statistics.n[t] > 0.0:
        for i in range(D):
            mu[t, i] = components.centre[t, i]
        t += 1
    draw_all_unrounded(rng, prior, statistics, t, components.centre, scratch, mu, W)
    invert_lower(W, V)
    outer_lower(V, covariance)


@generic.write.of(TiedPrior)
@kernel
def write(
    prior: TiedPrior,
    rng: np.random.Generator,
    n: float,
    statistics: Statistics,
    k: int,
    parameters: TiedParameters,
    components: TiedComponents,
    loc: FloatArray,
    scratch: TiedScratch,
    means: AnyArray,
    covariances: AnyArray,
) -> None:
    """The mean; with the first component, which is always occupied, the covariance (D, D) of all."""
    if k == 0:
        _write_covariance(prior, rng, statistics, parameters, components, scratch, covariances)
    for d in range(loc.shape[0]):
        means[k, d] = loc[d] + (parameters.mu[k, d] if n > 0.0 else components.centre[k, d])
