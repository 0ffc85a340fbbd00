"""Full covariances in the label pass: quadratic forms, and sufficient statistics. This is where the time goes."""

from typing import NamedTuple

import numpy as np

from gibbs_gmm.kernels._jit import kernel
from gibbs_gmm.kernels._records import by_address
from gibbs_gmm.kernels.families import generic
from gibbs_gmm.kernels.families.generic import Statistics, padded, zeros
from gibbs_gmm.kernels.simd import (
    HALF,
    LANES,
    add_halves,
    add_outer,
    add_rows,
    part_of_callers,
    subtract_half,
    subtract_row,
    sum_deviations,
    sum_products,
    wide_vectors,
)
from gibbs_gmm.kernels.simd_quadratic import TOGETHER, add_squares
from gibbs_gmm.kernels.tile import PENDING, TILE, Workspace
from gibbs_gmm.kernels.types import FloatArray, IntArray

_MANY_ROWS = TILE // 8  # with copies of a component, from which on it is faster to go through all of the tile


@by_address
class Components(NamedTuple):
    """What the label pass needs of each component, in coordinates shifted by ``loc``.

    W (K, D, D) lower triangular with W'W = log2(e) Sigma^-1; c (K, D) = -W mu; log_c (K,) = log2 of weight times
    normalising constant; centre (K, P) = mu, zero beyond D: the drawn mean, and the point that statistics are taken
    about.
    """

    W: FloatArray
    c: FloatArray
    log_c: FloatArray
    centre: FloatArray


def block_size(D: int) -> int:
    """A block has the sums of x - centre (P,), then those of (x - centre)(x - centre)' (P, P), P = D padded to 8, of
    which the lower triangle of the leading D x D is meaningful."""
    P = padded(D)
    return P + P * P


def block_of_scatter(S: FloatArray) -> FloatArray:
    """The block of rows with this scatter matrix S (D, D) about their mean."""
    D = len(S)
    P, block = padded(D), np.zeros(block_size(D))
    block[P:].reshape(P, P)[:D, :D] = S
    return block


def block_of(d: FloatArray) -> FloatArray:
    """The block of rows d (n, D) from which their mean has been taken."""
    return block_of_scatter(d.T @ d.copy())  # a product of two arrays: NumPy rounds that of one with itself otherwise


def new_components(K: int, D: int) -> Components:
    """Room for K components."""
    return Components(np.zeros((K, D, D)), np.zeros((K, D)), np.zeros(K), zeros(K, padded(D)))


@kernel
def set_weight(log_c: float, lw: FloatArray, n: int, work: Workspace) -> None:
    """lw[b] <- log_c - q[b] / 2, and top[b] is raised to it, for the tile's first n rows."""
    part_of_callers()
    wide_vectors()
    q, top = work.q, work.top
    for b in range(n):
        value = log_c - 0.5 * q[b]
        lw[b] = value
        top[b] = value if value > top[b] else top[b]


@generic.log_weights.of(Components)
@kernel
def log_weights(components: Components, K: int, work: Workspace) -> None:
    """The quadratic form is |W_k x_b + c_k|^2, summed by rows of the lower triangular W_k."""
    wide_vectors()
    W, c, log_c = components.W, components.c, components.log_c
    for b in range(TILE):
        work.top[b] = -np.inf
    for k in range(K):
        for i in range(0, W.shape[1], TOGETHER):
            add_squares(work.q, work.Xt, W[k], c[k], i, TILE)
        set_weight(log_c[k], work.lw[k], TILE, work)


@generic.weigh.of(Components)
@kernel
def weigh(components: Components, chosen: IntArray, first: int, n: int, work: Workspace) -> None:
    """As :func:`log_weights`."""
    wide_vectors()
    W, c, log_c = components.W, components.c, components.log_c
    for s in range(chosen.shape[0]):
        k = np.uint64(chosen[s])
        for i in range(0, W.shape[1], TOGETHER):
            add_squares(work.q, work.Xt, W[k], c[k], i, n)
        set_weight(log_c[k], work.lw[first + s], n, work)


@kernel
def _fold(D: int, k: int, size: int, pending: FloatArray, block: FloatArray) -> None:
    """Add the first ``size`` (a multiple of 8) pending rows of component k to its sums and scatter."""
    wide_vectors()
    P = pending.shape[2]
    sums = k * block.shape[1]
    scatter = sums + P
    for r in range(0, size, LANES):
        rows = (k * PENDING + r) * P
        for j in range(0, P, LANES):
            add_rows(block, sums + j, pending, rows + j, P)
        for i in range(0, D, 4):
            for j in range(0, i + 4, LANES):
                add_outer(block, scatter + i * P + j, pending, rows + i, rows + j, P)


@kernel
def _fold_half(k: int, size: int, pending: FloatArray, block: FloatArray) -> None:
    """The same for rows packed to four numbers."""
    wide_vectors()
    P = pending.shape[2]
    sums = k * block.shape[1]
    for r in range(0, size, LANES):
        add_halves(block, sums + P, block, sums, pending, k * PENDING * P + r * HALF)


@kernel
def _accumulate_half(size: int, centre: FloatArray, work: Workspace, statistics: Statistics) -> None:
    """:func:`accumulate` where D <= 4: rows are packed to four numbers, and two of them share a vector."""
    wide_vectors()
    rows, label, pending, waiting = work.rows, work.label, work.pending, work.waiting
    P = rows.shape[1]
    for b in range(size):
        k = label[b]
        place = k * PENDING * P + waiting[np.uint64(k)] * HALF
        subtract_half(pending, place, rows, b * P, centre, k * P)
        waiting[np.uint64(k)] += 1
        if waiting[np.uint64(k)] == PENDING:
            waiting[k] = 0
            statistics.n[k] += PENDING
            _fold_half(k, PENDING, pending, statistics.block)


@kernel
def accumulate_scatter(size: int, centre: FloatArray, work: Workspace, statistics: Statistics) -> None:
    """Add the tile's first ``size`` rows to counts, sums and scatter of their labels, about ``centre`` (K, P).

    A centred row waits in its component's buffer until enough are there: one load and store of the scatter then serves
    eight rows, and the branch that a random label makes unpredictable is rare.
    """
    wide_vectors()
    rows, label, pending, waiting = work.rows, work.label, work.pending, work.waiting
    D, P = work.Xt.shape[0], rows.shape[1]
    if D <= HALF:
        _accumulate_half(size, centre, work, statistics)
        return
    for b in range(size):
        k = label[b]
        place = (k * PENDING + waiting[np.uint64(k)]) * P
        for j in range(0, P, LANES):
            subtract_row(pending, place + j, rows, b * P + j, centre, k * P + j)
        waiting[np.uint64(k)] += 1
        if waiting[np.uint64(k)] == PENDING:
            waiting[k] = 0
            statistics.n[k] += PENDING
            _fold(D, k, PENDING, pending, statistics.block)


@kernel
def flush_scatter(K: int, work: Workspace, statistics: Statistics) -> None:
    """Add the rows that still wait, filled up with rows of zeros."""
    wide_vectors()
    pending, waiting, D = work.pending, work.waiting, work.Xt.shape[0]
    for k in range(K):
        size = (waiting[k] + LANES - 1) // LANES * LANES
        width = HALF if D <= HALF else pending.shape[2]
        own = pending[k].reshape(-1)
        for i in range(width * waiting[k], width * size):
            own[i] = 0.0
        statistics.n[k] += waiting[k]
        waiting[k] = 0
        if D <= HALF:
            _fold_half(k, size, pending, statistics.block)
        else:
            _fold(D, k, size, pending, statistics.block)


@kernel
def add_copies_scatter(k: int, b: int, n: float, centre: FloatArray, work: Workspace, statistics: Statistics) -> None:
    """Add n times the tile's row b to count, sums and scatter of component k, about ``centre`` (K, P)."""
    rows, block, D, P = work.rows, statistics.block, work.Xt.shape[0], work.rows.shape[1]
    statistics.n[k] += n
    for i in range(D):
        d = n * (rows[b, i] - centre[k, i])
        block[k, i] += d
        for j in range(i + 1):
            block[k, P + P * i + j] += d * (rows[b, j] - centre[k, j])


@generic.add_copies.of(Components)
@kernel
def add_copies(components: Components, k: int, b: int, n: float, work: Workspace, statistics: Statistics) -> None:
    """:func:`add_copies_scatter` about the components' centres."""
    add_copies_scatter(k, b, n, components.centre, work, statistics)


@generic.add_all_copies.of(Components)
@kernel
def add_all_copies(components: Components, K: int, size: int, work: Workspace, statistics: Statistics) -> None:
    """Sums over all rows of the tile at once, where many of them have copies of a component."""
    lw, Xt, centre, block, D, P = (
        work.lw,
        work.Xt,
        components.centre,
        statistics.block,
        work.Xt.shape[0],
        work.rows.shape[1],
    )
    for k in range(K):
        some, n, own = 0, 0, lw[k]
        for b in range(TILE):
            some += 1 if own[b] > 0.0 else 0
            n += int(own[b])
        if some < _MANY_ROWS:
            for b in range(size if some > 0 else 0):
                if own[b] > 0.0:
                    add_copies_scatter(k, b, own[b], centre, work, statistics)
            continue
        statistics.n[k] += n
        for i in range(D):
            block[k, i] += sum_deviations(lw, k * TILE, Xt, i * TILE, centre[k, i], TILE)
            for j in range(i + 1):
                block[k, P + P * i + j] += sum_products(
                    lw, k * TILE, Xt, i * TILE, centre[k, i], j * TILE, centre[k, j], TILE
                )


@generic.accumulate.of(Components)
@kernel
def accumulate(components: Components, size: int, work: Workspace, statistics: Statistics) -> None:
    """:func:`accumulate_scatter` about the components' centres."""
    accumulate_scatter(size, components.centre, work, statistics)


@generic.flush.of(Components)
@kernel
def flush(components: Components, K: int, work: Workspace, statistics: Statistics) -> None:
    """:func:`flush_scatter`."""
    flush_scatter(K, work, statistics)


@kernel
def inner_product(W: FloatArray, out: FloatArray) -> None:
    """out (D, D) <- W'W, W lower triangular."""
    D = W.shape[0]
    for i in range(D):
        for j in range(i + 1):
            total = 0.0
            for r in range(i, D):
                total += W[r, i] * W[r, j]
            out[i, j] = total
            out[j, i] = total


@generic.precision.of(Components)
@kernel
def precision(components: Components, k: int, out: FloatArray) -> None:
    """W'W."""
    inner_product(components.W[k], out)
