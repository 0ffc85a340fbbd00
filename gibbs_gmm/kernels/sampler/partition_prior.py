"""Priors of partitions: what n, the weights and the concentration have to do with the data.

Given the clusters' sizes n_1..n_t nothing else of the data matters here. Finite mixtures with Dirichlet(gamma) weights:

    p(C, n) = p(n) n!/(n-t)! Gamma(n gamma)/Gamma(n gamma + N) prod_c Gamma(gamma + n_c)/Gamma(gamma),

with gamma = alpha (static) or alpha/n (dynamic). Dirichlet and Pitman-Yor processes with discount d (Pitman 1996):

    p(C) = prod_{i=1}^{t-1} (alpha + i d) Gamma(1 + alpha)/Gamma(alpha + N) prod_c Gamma(n_c - d)/Gamma(1 - d).

The clusters of G kinds of which some rows are known are tagged; t counts them. A finite mixture has these kinds among
its components, so that (n-G)!/(n-t)! stands in place of n!/(n-t)!. A process has infinitely many components to choose
from: its p(C) is the same, of partitions in which the known rows are together and apart as they should be.
"""

import math
from typing import NamedTuple

import numpy as np

from gibbs_gmm.kernels._jit import kernel
from gibbs_gmm.kernels._records import by_address
from gibbs_gmm.kernels.random import draw_log_gamma
from gibbs_gmm.kernels.types import FloatArray

STATIC, DYNAMIC, PROCESS = 0, 1, 2

MAX_STICKS = 128
"""Unoccupied components of a process that are represented at most. The number it takes to leave less than every slice
has a heavy tail where the discount is positive; rows whose slice lies below the rest keep their label for this sweep
instead, which leaves p(z | w, mu, Sigma, u) invariant too, since which rows these are depends on the weights and slices
only."""


@by_address
class Weights(NamedTuple):
    """A weight prior as numbers.

    kind: STATIC, DYNAMIC or PROCESS. known: whether n has one possible value. discount: d of a process. log_p (n_max +
    1,): log prior of n = 0, 1, ...; log_tail: log of the prior mass beyond n. grid, log_prior: log alpha on an even
    grid, and the log prior density of log alpha there; of length 0 where alpha is known. tagged: G, how many kinds are
    known; their clusters are the first.
    """

    kind: int
    known: bool
    discount: float
    log_p: FloatArray
    log_tail: FloatArray
    grid: FloatArray
    log_prior: FloatArray
    tagged: int = 0


@kernel
def component_concentration(weights: Weights, alpha: float, n: int) -> float:
    """The Dirichlet parameter gamma of each of n components."""
    return alpha / n if weights.kind == DYNAMIC else alpha


@kernel
def log_partition(weights: Weights, alpha: float, N: int, n: int, t: int, sizes: FloatArray) -> float:
    """log p(C, n), or log p(C) for a process, for a partition of N into clusters of the first t ``sizes``.

    -inf where n < t or p(n) = 0.
    """
    if weights.kind == PROCESS and t == 0:  # of no rows
        return 0.0
    if weights.kind == PROCESS:
        d = weights.discount
        result = math.lgamma(1.0 + alpha) - math.lgamma(alpha + N) - t * math.lgamma(1.0 - d)
        for i in range(1, t):
            result += math.log(alpha + i * d)
        for c in range(t):
            result += math.lgamma(sizes[c] - d)
        return result
    if n < t or n >= weights.log_p.shape[0]:
        return -np.inf
    gamma = component_concentration(weights, alpha, n)
    result = weights.log_p[n] + math.lgamma(n - weights.tagged + 1.0) - math.lgamma(n - t + 1.0)
    result += math.lgamma(n * gamma) - math.lgamma(n * gamma + N) - t * math.lgamma(gamma)
    for c in range(t):
        result += math.lgamma(gamma + sizes[c])
    return result


@kernel
def draw_n_components(
    rng: np.random.Generator, weights: Weights, alpha: float, N: int, t: int, sizes: FloatArray, cumulated: FloatArray
) -> int:
    """n | C, alpha for a finite mixture (telescoping: Fruehwirth-Schnatter, Malsiner-Walli & Gruen 2021).

    By inversion, from n = t upwards, until what lies beyond cannot change the draw any more: the factor beside p(n)
    falls once it has begun to fall (static), and is at most its value without (n - G)!/(n - t)! / n^(t - G) (dynamic).
    ``cumulated`` is scratch of the length of ``log_p``.
    """
    n_max = weights.log_p.shape[0] - 1
    u = 1.0 - rng.random()
    least = max(t, 1)  # all rows may be outliers
    top, total, previous, candidate = -np.inf, 0.0, -np.inf, least
    for n in range(least, n_max + 1):
        log_term = log_partition(weights, alpha, N, n, t, sizes)
        if log_term == -np.inf:
            cumulated[n] = total
            continue
        if log_term > top:  # rescale what has been summed
            scale = math.exp(top - log_term)
            for m in range(least, n):
                cumulated[m] *= scale
            total *= scale
            top = log_term
        total += math.exp(log_term - top)
        cumulated[n] = total
        log_factor = log_term - weights.log_p[n]
        if weights.kind == DYNAMIC:
            tagged = weights.tagged
            log_factor += (t - tagged) * math.log(n) + math.lgamma(n - t + 1.0) - math.lgamma(n - tagged + 1.0)
            falling = True
        else:
            falling = log_factor < previous
        previous = log_factor
        if n == n_max:
            break
        if falling:
            beyond = math.exp(min(log_factor + weights.log_tail[n] - top, 700.0))
            while candidate < n and cumulated[candidate] < u * total:
                candidate += 1
            if u * (total + beyond) <= cumulated[candidate]:
                return candidate
    candidate = least
    while candidate < n_max and cumulated[candidate] < u * total:
        candidate += 1
    return candidate


@kernel
def tilt(weights: Weights, n: int, step: float) -> None:
    """Make n less likely by ``step``, log p(n) <- log p(n) - step, and p(n) sum to one (Wang & Landau 2001)."""
    log_p, log_tail = weights.log_p, weights.log_tail
    log_p[n] -= step
    log_total = -np.inf
    for m in range(log_p.shape[0] - 1, -1, -1):
        log_tail[m] = log_total
        top = max(log_total, log_p[m])
        if top > -np.inf:
            log_total = top + math.log(math.exp(log_total - top) + math.exp(log_p[m] - top))
    for m in range(log_p.shape[0]):
        log_p[m] -= log_total
        log_tail[m] -= log_total


@kernel
def _log_alpha_density(weights: Weights, log_alpha: float, N: int, n: int, t: int, sizes: FloatArray) -> float:
    """log density of log alpha given C and n, up to a constant; the prior is interpolated on its grid."""
    grid = weights.grid
    step = grid[1] - grid[0]
    place = (log_alpha - grid[0]) / step
    if not (place >= 0.0 and place < grid.shape[0] - 1):
        return -np.inf
    i = int(place)
    share = place - i
    log_prior = (1.0 - share) * weights.log_prior[i] + share * weights.log_prior[i + 1]
    return log_prior + log_partition(weights, math.exp(log_alpha), N, n, t, sizes)


@kernel
def draw_concentration(
    rng: np.random.Generator, weights: Weights, alpha: float, N: int, n: int, t: int, sizes: FloatArray
) -> float:
    """alpha | C, n by a slice step on log alpha: step out, then shrink (Neal 2003). Leaves it invariant, exactly."""
    width = 1.0
    x = math.log(alpha)
    level = _log_alpha_density(weights, x, N, n, t, sizes) + math.log1p(-rng.random())
    low = x - width * rng.random()
    high = low + width
    while _log_alpha_density(weights, low, N, n, t, sizes) > level:
        low -= width
    while _log_alpha_density(weights, high, N, n, t, sizes) > level:
        high += width
    while True:
        proposal = low + (high - low) * rng.random()
        if _log_alpha_density(weights, proposal, N, n, t, sizes) >= level:
            return math.exp(proposal)
        if proposal < x:
            low = proposal
        else:
            high = proposal


@kernel
def draw_process_weights(
    rng: np.random.Generator, weights: Weights, alpha: float, t: int, sizes: FloatArray, log_w: FloatArray
) -> None:
    """(w_1..w_t, rest) | C ~ Dirichlet(n_1 - d, .., n_t - d, alpha + t d) (Pitman 1996), as log_w[: t + 1]."""
    top = -np.inf
    for k in range(t + 1):
        shape = sizes[k] - weights.discount if k < t else alpha + t * weights.discount
        value = draw_log_gamma(rng, shape)
        log_w[k] = value
        top = max(top, value)
    total = 0.0
    for k in range(t + 1):
        total += math.exp(log_w[k] - top)
    log_total = top + math.log(total)
    for k in range(t + 1):
        log_w[k] -= log_total


@kernel
def break_sticks(
    rng: np.random.Generator, weights: Weights, alpha: float, t: int, log_least: float, log_w: FloatArray
) -> int:
    """Break sticks V_j ~ Beta(1 - d, alpha + (t + j) d), j = 1, 2, ..., from what log_w[t] says is left.

    Stops when less than exp(log_least) is left, after MAX_STICKS, or when log_w is full. Fills log_w[t:n], leaves the
    log of the rest in log_w[n], and returns n.
    """
    n, log_rest = t, log_w[t]
    while log_rest >= log_least and n < t + MAX_STICKS and n + 1 < log_w.shape[0]:
        a = draw_log_gamma(rng, 1.0 - weights.discount)
        b = draw_log_gamma(rng, alpha + (n + 1) * weights.discount)
        top = max(a, b)
        log_sum = top + math.log(math.exp(a - top) + math.exp(b - top))
        log_w[n] = log_rest + a - log_sum
        log_rest += b - log_sum
        n += 1
    log_w[n] = log_rest
    return n
