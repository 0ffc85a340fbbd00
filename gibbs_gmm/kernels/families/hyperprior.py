"""The laws of Psi_0 and kappa_0 where they are learned, and their draws given the occupied components.

Given Sigma_1..Sigma_t with Sigma_k^-1 = W_k'W_k, the likelihood of Psi_0 is |Psi_0|^(t nu_0 / 2) exp(-tr(Psi_0 M) / 2),
M = sum_k Sigma_k^-1. Every draw here leaves p(Psi_0, kappa_0 | mu_1, Sigma_1, .., mu_t, Sigma_t) invariant.
"""

import math
from typing import NamedTuple

import numpy as np

from gibbs_gmm.kernels._jit import kernel
from gibbs_gmm.kernels._records import by_address
from gibbs_gmm.kernels.linalg import cholesky, log_diagonal
from gibbs_gmm.kernels.types import FloatArray

FIXED, WISHART, SHRUNK = 0, 1, 2
"""Laws of Psi_0."""


@by_address
class Hyperprior(NamedTuple):
    """The laws of Psi_0 and kappa_0 as numbers.

    law: of Psi_0. WISHART: Wishart(df, S), rate (D, D) = S^-1. SHRUNK: A Psi_0 A' = Psi, A = ``axes`` (D, D; 0 x 0 for
    the columns), whose diagonal entries are independent Gamma(df / 2, rate_dd / 2), and whose correlation matrix is
    (C + ridge I) / (1 + ridge), C uniform over correlation matrices. kappa_shape: kappa_0 has a density proportional to
    kappa_0^(kappa_shape - 1) on (0, kappa_most], and is fixed where the shape is 0.
    """

    law: int
    df: float
    rate: FloatArray
    ridge: float
    axes: FloatArray
    inverse_axes: FloatArray
    kappa_shape: float
    kappa_most: float


@by_address
class Room(NamedTuple):
    """Scratch, each (D, D), and zeros (D,)."""

    M: FloatArray
    R: FloatArray
    B: FloatArray
    G: FloatArray
    Psi: FloatArray
    L: FloatArray
    zero: FloatArray


def new_room(D: int) -> Room:
    """Room for D columns."""
    M, R, B, G, Psi, L = np.zeros((6, D, D))
    return Room(M, R, B, G, Psi, L, np.zeros(D))


@kernel
def _congruence(T: FloatArray, A: FloatArray, scratch: FloatArray, out: FloatArray, transposed: bool) -> None:
    """out <- T A T', or T' A T if transposed, in full, for A symmetric, of which the lower triangle is read."""
    D = A.shape[0]
    for i in range(D):
        for j in range(D):
            total = 0.0
            for m in range(D):
                total += (T[m, i] if transposed else T[i, m]) * (A[m, j] if m >= j else A[j, m])
            scratch[i, j] = total
    for i in range(D):
        for j in range(i + 1):
            total = 0.0
            for m in range(D):
                total += scratch[i, m] * (T[m, j] if transposed else T[j, m])
            out[i, j] = total
            out[j, i] = total


@kernel
def _sum_precisions(W: FloatArray, t: int, M: FloatArray) -> None:
    """M <- sum_{k < t} W_k'W_k (lower triangle)."""
    D = M.shape[0]
    for i in range(D):
        for j in range(i + 1):
            total = 0.0
            for k in range(t):
                for m in range(i, D):
                    total += W[k, m, i] * W[k, m, j]
            M[i, j] = total


@kernel
def draw_bartlett(rng: np.random.Generator, nu: float, B: FloatArray) -> None:
    """Lower triangular B with BB' ~ Wishart(nu, I): B_ii^2 ~ chi^2(nu - i), i = 0.., standard normals below."""
    D = B.shape[0]
    for i in range(D):
        for j in range(D):
            B[i, j] = rng.standard_normal() if j < i else 0.0
        B[i, i] = math.sqrt(2.0 * rng.standard_gamma(0.5 * (nu - i)))


@kernel
def multiply_lower(G: FloatArray, B: FloatArray, factor: float, R: FloatArray) -> None:
    """R <- factor G B for lower triangular matrices."""
    D = G.shape[0]
    for i in range(D):
        for j in range(i + 1):
            total = 0.0
            for m in range(j, i + 1):
                total += G[i, m] * B[m, j]
            R[i, j] = factor * total


@kernel
def _add_ridge(R: FloatArray, ridge: float, Psi: FloatArray) -> None:
    """Psi <- Omega + ridge diag(Omega) in full, for Omega = RR', R lower triangular."""
    D = R.shape[0]
    for i in range(D):
        for j in range(i + 1):
            total = 0.0
            for m in range(j + 1):
                total += R[i, m] * R[j, m]
            if i == j:
                total *= 1.0 + ridge
            Psi[i, j] = total
            Psi[j, i] = total


@kernel
def _draw_wishart(rng: np.random.Generator, nu: float, room: Room, Psi_0: FloatArray) -> int:
    """Psi_0 ~ Wishart(nu, M^-1), M the lower triangle of room.M. Returns 0, or a pivot that is not positive.

    With M = RR', Psi_0 = (R'^-1 B)(R'^-1 B)' for B of Bartlett's decomposition.
    """
    D, R, B = Psi_0.shape[0], room.R, room.B
    status = cholesky(room.M, R)
    if status != 0:
        return status
    draw_bartlett(rng, nu, B)
    for j in range(D):  # B <- R'^-1 B, by columns, from the last row up
        for i in range(D - 1, -1, -1):
            total = B[i, j]
            for m in range(i + 1, D):
                total -= R[m, i] * B[m, j]
            B[i, j] = total / R[i, i]
    for i in range(D):
        for j in range(i + 1):
            total = 0.0
            for m in range(D):
                total += B[i, m] * B[j, m]
            Psi_0[i, j] = total
            Psi_0[j, i] = total
    return 0


@kernel
def _walk(rng: np.random.Generator, hyper: Hyperprior, a: float, room: Room, Psi: FloatArray, L: FloatArray) -> int:
    """A Metropolis-Hastings step of a shrunk scale Psi = LL' in its axes; room.M is M there, and a = t nu_0.

    Psi = Omega + ridge diag(Omega), where Omega has the correlation matrix C. With psi_d = Psi_dd, its density is
    prod_d psi_d^(df / 2 - (D + 1) / 2) exp(-rate_d psi_d / 2), up to a constant: that of the psi_d, over the Jacobian
    prod_d psi_d^((D - 1) / 2) of (psi, C). The proposal is Omega' ~ Wishart(m, Omega / m). With Omega = GG', Omega' =
    GBB'G' / m and delta = log|Omega'| - log|Omega|,

        log q(Omega | Omega') - log q(Omega' | Omega) = -(m - (D + 1) / 2) delta + |B|^2 / 2 - m^2 |B^-1|^2 / 2.

    m is as large as suits the degrees of freedom that the scale has by now: a third to four fifths of the proposals are
    accepted. Returns 0, or the number of a pivot that is not positive.
    """
    D, M, R, B, G = Psi.shape[0], room.M, room.R, room.B, room.G
    m = D + 2.0 + (hyper.df + a) * D * (D + 1.0) / 12.0
    for i in range(D):
        for j in range(i + 1):
            G[i, j] = Psi[i, j] / (1.0 + hyper.ridge) if i == j else Psi[i, j]
    status = cholesky(G, G)
    if status != 0:
        return status
    draw_bartlett(rng, m, B)
    log_ratio = (0.5 * (D + 1.0) - m) * (2.0 * log_diagonal(B) - D * math.log(m))
    for j in range(D):  # column j of B^-1 goes into row j of R
        for i in range(j, D):
            total = 1.0 if i == j else 0.0
            for k in range(j, i):
                total -= B[i, k] * R[j, k]
            R[j, i] = total / B[i, i]
            log_ratio += 0.5 * B[i, j] * B[i, j] - 0.5 * m * m * R[j, i] * R[j, i]
    multiply_lower(G, B, 1.0 / math.sqrt(m), R)
    _add_ridge(R, hyper.ridge, G)  # G is Psi' from here on, and B its factor
    if cholesky(G, B) != 0:
        return 0
    log_ratio += a * (log_diagonal(B) - log_diagonal(L))
    for i in range(D):
        for j in range(i):
            log_ratio -= (G[i, j] - Psi[i, j]) * M[i, j]
        log_ratio -= 0.5 * (G[i, i] - Psi[i, i]) * (M[i, i] + hyper.rate[i, i])
        log_ratio += 0.5 * (hyper.df - D - 1.0) * math.log(G[i, i] / Psi[i, i])
    if math.log1p(-rng.random()) < log_ratio:
        for i in range(D):
            for j in range(D):
                Psi[i, j] = G[i, j]
                L[i, j] = B[i, j] if j <= i else 0.0
    return 0


@kernel
def draw_scale(
    rng: np.random.Generator,
    hyper: Hyperprior,
    t: int,
    nu_0: float,
    W: FloatArray,
    room: Room,
    Psi_0: FloatArray,
    L_0: FloatArray,
) -> int:
    """Psi_0 given the covariances of t components. Overwrites Psi_0 and its lower Cholesky factor L_0 (D, D).

    WISHART, and in one dimension SHRUNK too: Wishart(df + t nu_0, (S^-1 + M)^-1) (in the spirit of Richardson & Green
    1997). SHRUNK: Metropolis-Hastings steps, in the axes. Returns 0, or the number of a pivot that is not positive.
    """
    D, M = Psi_0.shape[0], room.M
    _sum_precisions(W, t, M)
    if hyper.law == WISHART or D == 1:
        for i in range(D):
            for j in range(i + 1):
                M[i, j] += hyper.rate[i, j]
        status = _draw_wishart(rng, hyper.df + t * nu_0, room, Psi_0)
        return cholesky(Psi_0, L_0) if status == 0 else status
    steps, status = 1 + D // 8, 0  # more entries want more of them, and cost little beside the rows
    if hyper.axes.shape[0] == 0:
        for _ in range(steps):
            if status == 0:
                status = _walk(rng, hyper, t * nu_0, room, Psi_0, L_0)
        return status
    _congruence(hyper.inverse_axes, M, room.R, room.G, True)
    for i in range(D):
        for j in range(i + 1):
            M[i, j] = room.G[i, j]
    _congruence(hyper.axes, Psi_0, room.R, room.Psi, False)
    status = cholesky(room.Psi, room.L)
    for _ in range(steps):
        if status == 0:
            status = _walk(rng, hyper, t * nu_0, room, room.Psi, room.L)
    if status != 0:
        return status
    _congruence(hyper.inverse_axes, room.Psi, room.R, Psi_0, False)
    return cholesky(Psi_0, L_0)


@kernel
def draw_truncated_gamma(rng: np.random.Generator, shape: float, rate: float, most: float) -> float:
    """Gamma(shape, rate) on (0, most]; the rate may be 0.

    With x = rate most: where most of the whole Gamma law lies below ``most``, it is drawn from until a draw lies there.
    Elsewhere most e^-y is proposed, y ~ Exp(shape - x), and accepted with probability exp(-x (e^-y - 1 + y)).
    """
    x = rate * most
    if x > 0.5 * shape and x > shape - math.sqrt(shape):
        while True:
            draw = rng.standard_gamma(shape)
            if draw <= x:
                return most * draw / x
    while True:
        y = rng.standard_exponential() / (shape - x)
        shrunk = math.exp(-y)
        if rng.random() < math.exp(-x * (shrunk - 1.0 + y)):
            return most * shrunk


@kernel
def draw_kappa(
    rng: np.random.Generator, hyper: Hyperprior, mu_0: FloatArray, t: int, W: FloatArray, mu: FloatArray
) -> float:
    """kappa_0 given t components: Gamma(kappa_shape + t D / 2, rate sum_k |W_k (mu_k - mu_0)|^2 / 2), truncated."""
    D, rate = mu_0.shape[0], 0.0
    for k in range(t):
        for i in range(D):
            y = 0.0
            for j in range(i + 1):
                y += W[k, i, j] * (mu[k, j] - mu_0[j])
            rate += 0.5 * y * y
    return draw_truncated_gamma(rng, hyper.kappa_shape + 0.5 * t * D, rate, hyper.kappa_most)
