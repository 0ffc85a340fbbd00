"""Densities of rows under many draws at once: what the label pass computes, with the draws' mixtures read from a trace.

A block of B draws is made ready once (:func:`prepare`) and then meets every tile of rows. Rows do not depend on each
other or on how they are cut, and each meets the draws in their order, so results do not depend on threads.

A component with at most 2^-53 of what a row's densest one has counts as zero, as in the label pass. So components that
are negligible for all rows of a tile may be left out, after a part of their quadratic forms, and the results are the
same to the last bit. Tiles of rows that are near each other leave out most (:func:`nearest`).
"""

import math
from typing import NamedTuple

import numpy as np

from gibbs_gmm.kernels._jit import allocating_kernel, kernel
from gibbs_gmm.kernels._records import by_address, kept
from gibbs_gmm.kernels.families.full_pass import Components, set_weight
from gibbs_gmm.kernels.families.generic import log_weights
from gibbs_gmm.kernels.linalg import cholesky, invert_lower, log_diagonal
from gibbs_gmm.kernels.sampler.label_pass import sum_weights
from gibbs_gmm.kernels.simd import wide_vectors
from gibbs_gmm.kernels.simd_quadratic import TOGETHER as ROWS
from gibbs_gmm.kernels.simd_quadratic import add_squares_near
from gibbs_gmm.kernels.tile import (
    LOG2_E,
    NEGLIGIBLE,
    TILE,
    Workspace,
    exp2,
    exp2_of_near,
    load_tile,
    log2,
    new_workspace,
)
from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray

TOGETHER = 1 << 15
"""Numbers in the W of the draws that meet one tile after the other: they should stay in the second-level cache."""

JOINT, PRODUCT, NORMAL = 0, 1, 2
"""Laws of a new row of an unoccupied component."""

LOWEST = -1e300
"""Where running maxima of log densities start: below all of them, and finite."""


@by_address
class Mixtures(NamedTuple):
    """B draws of at most K components in coordinates shifted by ``loc``, as :class:`Components` holds one of them.

    W (B, K + 1, D, D), c (B, K + 1, D), log_c (B, K + 1); n (B,) components in use. In the place after those are all
    unoccupied components together, integrated out: their predictive has y = W x + c and, times their weight, the
    density 2^log_rest[t] (1 + |y|^2)^-power (law JOINT, a multivariate t) or 2^log_rest[t] prod_d (1 + y_d^2)^-power
    (law PRODUCT, a t in each column), with log_rest (B,) = -inf where there are none. log_c is -inf there, so that the
    label pass's :func:`log_weights` leaves that place out. Under law NORMAL they are one component more, counted in n.
    """

    W: FloatArray
    c: FloatArray
    log_c: FloatArray
    n: IntArray
    log_rest: FloatArray
    power: float
    law: int


@kernel
def _factorise(A: FloatArray, mean: FloatArray, loc: FloatArray, scale: float, W: FloatArray, c: FloatArray) -> float:
    """W <- scale L^-1 for A = L L', and c <- -W (mean - loc). Returns sum_j log L_jj, or NaN if A is not positive."""
    D = W.shape[0]
    if cholesky(A, W) != 0:
        return np.nan
    log_det = log_diagonal(W)
    invert_lower(W, W)
    for i in range(D):
        y = 0.0
        for j in range(i + 1):
            W[i, j] *= scale
            y -= W[i, j] * (mean[j] - loc[j])
        c[i] = y
    return log_det


@kernel
def prepare(
    mixtures: Mixtures,
    weights: FloatArray,
    means: FloatArray,
    covariances: FloatArray,
    rest: FloatArray,
    mu_0: FloatArray,
    scale: FloatArray,
    df: float,
    loc: FloatArray,
    first: int,
    last: int,
) -> int:
    """Make draws first .. last of a block ready: overwrite them in ``mixtures``, of which n is set already.

    weights (B, K), means (B, K, D), covariances (B, K, D, D): of draw t, the first ``mixtures.n[t]`` components. rest
    (B,): the weight of unoccupied components. A new row of theirs is t-distributed with ``df`` degrees of freedom about
    mu_0 with scale matrix scale[t] / df, scale (B, D, D) (Murphy 2007, section 9; BDA3, 3.6), jointly or with diagonal
    scale in each column; or normal with covariance scale[t].

    Returns 0, or 1 + t (K + 1) + k when covariance k of draw t, or (k = K) the scale, is not positive definite.
    """
    K, D = weights.shape[1], means.shape[2]
    W, c, log_c = mixtures.W, mixtures.c, mixtures.log_c
    for t in range(first, last):
        n = mixtures.n[t]
        for k in range(n):
            log_det = _factorise(covariances[t, k], means[t, k], loc, math.sqrt(LOG2_E), W[t, k], c[t, k])
            if math.isnan(log_det):
                return 1 + t * (K + 1) + k
            log_c[t, k] = math.log2(weights[t, k]) - LOG2_E * (log_det + 0.5 * D * math.log(2.0 * math.pi))
        mixtures.log_rest[t] = -np.inf
        if rest[t] > 0.0:
            factor = math.sqrt(LOG2_E) if mixtures.law == NORMAL else 1.0
            log_det = _factorise(scale[t], mu_0, loc, factor, W[t, n], c[t, n])
            if math.isnan(log_det):
                return 1 + t * (K + 1) + K
            if mixtures.law == NORMAL:
                log_c[t, n] = math.log2(rest[t]) - LOG2_E * (log_det + 0.5 * D * math.log(2.0 * math.pi))
                mixtures.n[t] = n + 1
                continue
            if mixtures.law == JOINT:
                log_t = math.lgamma(0.5 * (df + D)) - math.lgamma(0.5 * df)
            else:
                log_t = D * (math.lgamma(0.5 * (df + 1.0)) - math.lgamma(0.5 * df))
            mixtures.log_rest[t] = math.log2(rest[t]) + LOG2_E * (log_t - log_det - 0.5 * D * math.log(math.pi))
            log_c[t, n] = -np.inf
    return 0


@kernel
def _weigh(t: int, k: int, place: int, every: bool, mixtures: Mixtures, work: Workspace) -> bool:
    """lw[place, b] <- the log2 weight of component k of draw t, and top[b] is raised to it; False if k is left out.

    Unless ``every``, that is as soon as its sum of squares tells that it is negligible for all rows of the tile. The
    sum only grows, and rounding keeps the order of numbers.
    """
    W, c, log_c = mixtures.W[t, k], mixtures.c[t, k], mixtures.log_c[t, k]
    for i in range(0, W.shape[1], ROWS):
        if not (add_squares_near(work.q, work.Xt, W, c, i, TILE, log_c, work.top, NEGLIGIBLE) or every):
            return False
    set_weight(log_c, work.lw[place], TILE, work)
    return True


@kernel
def _weigh_rest(t: int, place: int, mixtures: Mixtures, work: Workspace) -> None:
    """lw[place, b] and top[b] of all components that own nothing, whose quadratic form is in ``work``."""
    wide_vectors()
    W, c = mixtures.W[t, mixtures.n[t]], mixtures.c[t, mixtures.n[t]]
    lw, top, q, log_tail = work.lw, work.top, work.q, work.acc[0]
    if mixtures.law == JOINT:
        for b in range(TILE):
            log_tail[b] = log2(1.0 + q[b])
    else:
        for b in range(TILE):
            log_tail[b] = 0.0
        for d in range(c.shape[0]):
            w, c_d = W[d, d], c[d]
            for b in range(TILE):
                y = w * work.Xt[d, b] + c_d
                log_tail[b] += log2(1.0 + y * y)
    for b in range(TILE):
        value = mixtures.log_rest[t] - mixtures.power * log_tail[b]
        lw[place, b] = value
        top[b] = value if value > top[b] else top[b]


@kernel
def _log_weights(t: int, first: int, mixtures: Mixtures, alive: IntArray, work: Workspace) -> int:
    """lw[s, b] and top[b] of the tile as :func:`log_weights` gives them, under draw t, of components k = alive[s];
    returns how many they are.

    All of them, unless ``first`` is one of them: then those that are not negligible for some row, ``first`` weighed
    before the others. The last is all components that own nothing, if they have any weight.
    """
    wide_vectors()
    n, m = mixtures.n[t], 0
    rest = mixtures.log_rest[t] > -np.inf
    if first < 0 or first >= n:
        m = n
        log_weights(
            Components(mixtures.W[t], mixtures.c[t], mixtures.log_c[t], mixtures.c[t]), n + 1 if rest else n, work
        )
        for k in range(n):
            alive[k] = k
    else:
        for b in range(TILE):
            work.top[b] = -np.inf
        _weigh(t, first, n - 1, True, mixtures, work)
        for k in range(n):
            if k == first:
                for b in range(TILE):
                    work.lw[m, b] = work.lw[n - 1, b]
            elif not _weigh(t, k, m, False, mixtures, work):
                continue
            alive[m] = k
            m += 1
        if rest:
            _weigh(t, n, m, True, mixtures, work)
    if rest:
        alive[m] = n
        _weigh_rest(t, m, mixtures, work)
        m += 1
    return m


@kernel
def _first_of_next(first: int, n: int, alive: IntArray, work: Workspace) -> int:
    """The component to begin with under the next draw: the densest for the tile's first row; -1 where few of all n were
    left out, so that under every other draw none is tried."""
    best = 0
    for s in range(alive.shape[0]):
        best = s if work.lw[s, 0] > work.lw[best, 0] else best
    return -1 if first >= 0 and 4 * alive.shape[0] > 3 * n else alive[best]


@allocating_kernel
def nearest(X: AnyArray, loc: FloatArray, mixtures: Mixtures, component: IntArray, first: int, last: int) -> None:
    """component[i] <- the densest of row i, first <= i < last, under the first draw of the block."""
    wide_vectors()
    work, alive = new_workspace(mixtures.c.shape[1], X.shape[1]), np.empty(mixtures.c.shape[1], np.int64)
    for start in range(first, last, TILE):
        size = min(TILE, last - start)
        load_tile(X, loc, start, size, work.Xt, work.rows)
        m = _log_weights(0, -1, mixtures, alive, work)
        for b in range(size):
            component[start + b] = 0
            for s in range(m):
                if work.lw[s, b] == work.top[b]:
                    component[start + b] = s


@allocating_kernel
def add_draws(
    X: AnyArray,
    loc: FloatArray,
    mixtures: Mixtures,
    column: IntArray,
    top: FloatArray,
    mass: FloatArray,
    begin_with: IntArray,
    first: int,
    last: int,
) -> None:
    """Add the densities of rows first .. last under the block's draws to sums over draws, by column.

    mass[j, i] 2^top[i] is the sum over draws t and components k with column[t, k] = j of w_k N(x_i | mu_k, Sigma_k);
    column (B, K + 1), components that own nothing in the place after the others. top (N,) starts at LOWEST, mass (J, N)
    at 0. begin_with: the component to begin with in each tile under the next draw, if rows that follow each other are
    near each other; it is kept up to date, and changes no result. Of length 0 if they are not.
    """
    wide_vectors()
    J, B, near = mass.shape[0], mixtures.n.shape[0], begin_with.shape[0] > 0
    work, alive = kept(new_workspace(mixtures.c.shape[1], X.shape[1])), np.empty(mixtures.c.shape[1], np.int64)
    part, peak, shrink, rise = np.empty((J, TILE)), np.empty(TILE), np.empty(TILE), np.empty(TILE)
    lw, highest, group = work.lw, work.top, max(1, TOGETHER // mixtures.W[0].size)
    for draws in range(0, B, group):
        for start in range(first, last, TILE):
            size = min(TILE, last - start)
            load_tile(X, loc, start, size, work.Xt, work.rows)
            for b in range(TILE):
                inside = b < size
                peak[b] = top[start + b] if inside else LOWEST
                for j in range(J):
                    part[j, b] = mass[j, start + b] if inside else 0.0
            for t in range(draws, min(draws + group, B)):
                k = begin_with[start // TILE] if near else -1
                m = _log_weights(t, k, mixtures, alive, work)
                if near:
                    begin_with[start // TILE] = _first_of_next(k, mixtures.n[t], alive[:m], work)
                for b in range(TILE):
                    higher = work.top[b] if work.top[b] > peak[b] else peak[b]
                    shrink[b] = exp2(peak[b] - higher)
                    rise[b] = exp2(work.top[b] - higher)
                    peak[b] = higher
                for j in range(J):
                    for b in range(TILE):
                        part[j, b] *= shrink[b]
                for s in range(m):
                    own, values = part[column[t, alive[s]]], lw[s]
                    for b in range(TILE):
                        x = values[b] - highest[b]
                        weight = exp2_of_near(x)
                        own[b] += weight * rise[b] if x > NEGLIGIBLE else 0.0
            for b in range(size):
                top[start + b] = peak[b]
                for j in range(J):
                    mass[j, start + b] = part[j, b]


@allocating_kernel
def log_densities(
    X: AnyArray,
    loc: FloatArray,
    mixtures: Mixtures,
    log_density: FloatArray,
    begin_with: IntArray,
    first: int,
    last: int,
) -> None:
    """log_density[t, i] <- log density of row i, first <= i < last, under draw t of the block; (B, N).

    begin_with: as in :func:`add_draws`.
    """
    wide_vectors()
    B, work = mixtures.n.shape[0], kept(new_workspace(mixtures.c.shape[1], X.shape[1]))
    alive, near = np.empty(mixtures.c.shape[1], np.int64), begin_with.shape[0] > 0
    group = max(1, TOGETHER // mixtures.W[0].size)
    for draws in range(0, B, group):
        for start in range(first, last, TILE):
            size = min(TILE, last - start)
            load_tile(X, loc, start, size, work.Xt, work.rows)
            for t in range(draws, min(draws + group, B)):
                k = begin_with[start // TILE] if near else -1
                m = _log_weights(t, k, mixtures, alive, work)
                if near:
                    begin_with[start // TILE] = _first_of_next(k, mixtures.n[t], alive[:m], work)
                sum_weights(m, work)
                for b in range(TILE):
                    work.total[b] = (work.top[b] + log2(work.total[b])) / LOG2_E
                for b in range(size):
                    log_density[t, start + b] = work.total[b]
