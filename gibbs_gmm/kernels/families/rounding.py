"""Components of the values before they were rounded, given the clusters of the rounded ones.

A recorded value is x = v + e, e ~ N(0, R), R = diag(r^2 / 12): rounding to a width r adds r^2 / 12 to a variance
(Sheppard 1898). Given a cluster's rows, (mu, Sigma) of v has the posterior of N(x | mu, Sigma + R) and the conjugate
prior. It is reached by data augmentation: v given (mu, Sigma) and x, then (mu, Sigma) given v. Of v only the mean and
the scatter matter, and these are drawn from those of x, without the rows.
"""

import math

import numpy as np

from gibbs_gmm.kernels._jit import kernel
from gibbs_gmm.kernels.families import generic
from gibbs_gmm.kernels.families.full import (
    KAPPA,
    NU,
    Parameters,
    Prior,
    Scratch,
    draw_component,
    noise_exponent,
    update_posterior,
)
from gibbs_gmm.kernels.families.full_pass import Components
from gibbs_gmm.kernels.families.generic import Statistics
from gibbs_gmm.kernels.families.hyperprior import Room, draw_bartlett, multiply_lower
from gibbs_gmm.kernels.linalg import cholesky, invert_lower, outer_lower, solve_lower
from gibbs_gmm.kernels.types import AnyArray, FloatArray

NEGLIGIBLE = 5e-4
"""tr(R Sigma^-1) / 2 per column up to which rounding changes nothing that a draw could show."""

STEPS = 3
"""Steps of augmentation. Each takes off all but a share R / (Sigma + R) of what the start has too much."""


@kernel
def cholesky_semidefinite(A: FloatArray) -> None:
    """A <- its lower Cholesky factor, with columns of zeros where a pivot is not positive."""
    D = A.shape[0]
    for j in range(D):
        for i in range(j, D):
            total = A[i, j]
            for m in range(j):
                total -= A[i, m] * A[j, m]
            if i == j:
                A[j, j] = math.sqrt(total) if total > 0.0 else 0.0
            else:
                A[i, j] = total / A[j, j] if A[j, j] > 0.0 else 0.0


@kernel
def add_normal_row(rng: np.random.Generator, root: FloatArray, row: FloatArray) -> None:
    """row += root g, g (D,) standard normal, root (D, D) lower triangular."""
    D = row.shape[0]
    for j in range(D):
        g = rng.standard_normal()
        for i in range(j, D):
            row[i] += root[i, j] * g


@kernel
def set_attenuation(noise: FloatArray, W: FloatArray, room: Room) -> int:
    """room.Psi <- A = Sigma T^-1, T = Sigma + R, Sigma^-1 = W'W, and room.R <- a root of C = Sigma - Sigma T^-1 Sigma.

    A value v given x is N(mu + A (x - mu), C), C = R - R T^-1 R. Returns 0, or the number of a pivot that fails.
    """
    A, root, T, V, D = room.Psi, room.R, room.B, room.G, W.shape[0]
    invert_lower(W, V)
    outer_lower(V, T)
    for i in range(D):
        T[i, i] += noise[i]
    status = cholesky(T, T)
    if status != 0:
        return status
    for j in range(D):  # V <- (T^-1)', by columns; A = I - R T^-1, root of C = R A'
        for i in range(D):
            V[j, i] = 1.0 if i == j else 0.0
        solve_lower(T, V[j])
        for i in range(D - 1, -1, -1):
            total = V[j, i]
            for m in range(i + 1, D):
                total -= T[m, i] * V[j, m]
            V[j, i] = total / T[i, i]
    for i in range(D):
        for j in range(D):
            A[i, j] = (1.0 if i == j else 0.0) - noise[i] * V[j, i]
            root[i, j] = A[j, i] * noise[i]
    cholesky_semidefinite(root)
    return 0


@kernel
def draw_scatter(rng: np.random.Generator, df: float, room: Room, v: FloatArray) -> None:
    """room.L <- scatter of v about cluster means, with df >= D + 1 degrees of freedom; the lower triangle.

    (L'A' + G)'(L'A' + G) + H'H, where LL' is the scatter of x, L in room.M, G has D rows and H df - D rows N(0, C); A
    and the root of C are those of :func:`set_attenuation`. v (D,) is scratch.
    """
    A, root, T, V, L, scatter = room.Psi, room.R, room.B, room.G, room.M, room.L
    D = v.shape[0]
    for i in range(D):
        for j in range(D):
            scatter[i, j] = 0.0
    noise_alone = df - D  # rows of H
    drawn_at_once = noise_alone >= D
    for row in range(D if drawn_at_once else int(df)):
        for i in range(D):
            total = 0.0
            if row < D:
                for m in range(row, D):
                    total += A[i, m] * L[m, row]
            v[i] = total
        add_normal_row(rng, root, v)
        for i in range(D):
            for j in range(i + 1):
                scatter[i, j] += v[i] * v[j]
    if drawn_at_once:
        draw_bartlett(rng, noise_alone, T)
        multiply_lower(root, T, 1.0, V)
        for i in range(D):
            for j in range(i + 1):
                for m in range(j + 1):
                    scatter[i, j] += V[i, m] * V[j, m]


@kernel
def draw_cluster_mean(
    rng: np.random.Generator,
    n: float,
    own: FloatArray,
    centre: FloatArray,
    mu: FloatArray,
    room: Room,
    mean: FloatArray,
) -> None:
    """mean (at least D,) <- that of a cluster's n values v, N(mu + A (xbar - mu), C / n); own (B,) is the cluster's
    block of statistics of x about centre (P,).
    """
    A, row = room.Psi, room.G[0]
    D = A.shape[0]
    for i in range(D):
        row[i] = 0.0
    add_normal_row(rng, room.R, row)
    for i in range(D):
        total = mu[i] + row[i] / math.sqrt(n)
        for j in range(D):
            total += A[i, j] * (centre[j] + own[j] / n - mu[j])
        mean[i] = total


@kernel
def draw_unrounded(
    rng: np.random.Generator,
    prior: Prior,
    n: float,
    statistics: Statistics,
    k: int,
    centre: FloatArray,
    scratch: Scratch,
    mu: FloatArray,
    W: FloatArray,
) -> int:
    """Steps of (mu, Sigma) of the values before rounding, Sigma^-1 = W'W, given cluster k's statistics.

    A step draws the mean of v and its scatter, then (mu, Sigma) from its posterior given these. Leaves the posterior of
    (mu, Sigma) under N(x | mu, Sigma + R) invariant. Nothing is done where rounding is negligible, or to fewer than D +
    2 rows. mu (at least D,) and W (D, D) are overwritten. centre (P,) is what the statistics are about. Returns 0, or
    the number of a pivot that fails.
    """
    mean, room, own, one = scratch.mu_n, scratch.room, statistics.block[k], scratch.one.block[0]
    D, P = mean.shape[0], centre.shape[0]
    if n < D + 2.0 or noise_exponent(prior.noise, W) < NEGLIGIBLE * D:
        return 0
    L = room.M
    for i in range(D):
        for j in range(i + 1):
            L[i, j] = own[P + P * i + j] - own[i] * own[j] / n
    cholesky_semidefinite(L)
    for _ in range(STEPS):
        status = set_attenuation(prior.noise, W, room)
        if status != 0:
            return status
        draw_scatter(rng, n - 1.0, room, mean)
        draw_cluster_mean(rng, n, own, centre, mu, room, scratch.centre)
        for i in range(D):
            one[i] = 0.0
            for j in range(i + 1):
                one[P + P * i + j] = room.L[i, j]
        update_posterior(prior, room.zero, n, scratch.one, 0, scratch.centre, scratch)
        kappa_n, nu_n = prior.scalars[KAPPA] + n, prior.scalars[NU] + n
        status = draw_component(rng, mean, kappa_n, nu_n, scratch.Psi_n, mu, W)
        if status != 0:
            return status
    return 0


@generic.write.of(Prior)
@kernel
def write(
    prior: Prior,
    rng: np.random.Generator,
    n: float,
    statistics: Statistics,
    k: int,
    parameters: Parameters,
    components: Components,
    loc: FloatArray,
    scratch: Scratch,
    means: AnyArray,
    covariances: AnyArray,
) -> None:
    """Sigma_k = W_k^-1 W_k^-T."""
    mu, W, V = scratch.mu, scratch.parameters.W[0], scratch.Psi_n
    D = V.shape[0]
    for i in range(D):
        mu[i] = components.centre[k, i]
        for j in range(i + 1):
            W[i, j] = parameters.W[k, i, j]
    if n > 0.0:
        draw_unrounded(rng, prior, n, statistics, k, components.centre[k], scratch, mu, W)
    for d in range(D):
        means[k, d] = loc[d] + mu[d]
    invert_lower(W, V)
    outer_lower(V, covariances[k])
