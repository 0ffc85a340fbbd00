"""Labels and sufficient statistics in one pass over X: where nearly all the time of a large run is spent.

Rows are taken in tiles of 128 that fit the first-level cache. A tile is held twice: transposed, so that the loops over
observations vectorise when log weights are computed, and by rows, to accumulate statistics. Nothing here is N x K.

Log weights are kept in base 2: W and c arrive multiplied by sqrt(log2 e), log_c by log2 e, so that exp2 needs no range
reduction by log 2.
"""

import math
from typing import NamedTuple

import numpy as np

from gibbs_gmm.kernels._jit import allocating_kernel, kernel
from gibbs_gmm.kernels.random import uniform
from gibbs_gmm.kernels.simd import (
    HALF,
    LANES,
    add_halves,
    add_outer,
    add_rows,
    bits_to_float,
    float_to_bits,
    subtract_half,
    subtract_row,
)
from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray, LabelArray

TILE = 128
"""Rows per tile: 64 spends more on loop starts, 256 falls out of the first-level cache at D = 32."""

PENDING = 32
"""Rows of a component that wait before they are added to its statistics together: a multiple of 8."""

LOG2_E = math.log2(math.e)

# Taylor coefficients of 2^r; on |r| <= 1/2 the remainder is below 7e-15 of the value.
_C0, _C1, _C2, _C3, _C4, _C5, _C6, _C7, _C8, _C9, _C10, _C11 = (
    math.log(2.0) ** i / math.factorial(i) for i in range(12)
)
_ROUND = 1.5 * 2.0**52  # adding it leaves the nearest integer in the low bits of the sum
_BIAS, _MANTISSA = np.uint64(1023), np.uint64(52)


class Statistics(NamedTuple):
    """Sufficient statistics of the clusters about given centres, for K components and P = D padded to 8.

    n (..., K) counts; s (..., K, P) sums of x - centre; S (..., K, P, P) sums of (x - centre)(x - centre)', of which
    the lower triangle of the leading D x D block is meaningful. A leading axis counts shards.
    """

    n: FloatArray
    s: FloatArray
    S: FloatArray


class Components(NamedTuple):
    """What the label pass needs of each component, in coordinates shifted by ``loc``.

    W (K, D, D) lower triangular with W'W = log2(e) Sigma^-1; c (K, D) = -W mu; log_c (K,) = log2 of weight times
    normalising constant; centre (K, P) = mu, zero beyond D.
    """

    W: FloatArray
    c: FloatArray
    log_c: FloatArray
    centre: FloatArray


class Workspace(NamedTuple):
    """Buffers of one label pass; see :func:`new_workspace`."""

    Xt: FloatArray
    rows: FloatArray
    q: FloatArray
    acc: FloatArray
    lw: FloatArray
    top: FloatArray
    total: FloatArray
    threshold: FloatArray
    label: IntArray
    members: IntArray
    pending: FloatArray
    waiting: IntArray
    weight: FloatArray


@allocating_kernel
def _aligned(size: int) -> FloatArray:
    """An array that starts on a cache line: wide loads that straddle two lines cost twice."""
    raw = np.empty(size + LANES)
    skip = (-raw.ctypes.data % 64) // 8
    return raw[skip : skip + size]


@allocating_kernel
def new_workspace(K: int, D: int) -> Workspace:
    """Buffers for K components of dimension D: about 1 KB x (K + 2 D) and 128 B x K D."""
    P = (D + LANES - 1) // LANES * LANES
    # One block with gaps of a quarter of a tile: buffers that are read together must not fall on the same cache sets.
    gap = TILE // 4
    block = _aligned((D + K + 8) * TILE + 4 * gap)
    acc = D * TILE + gap
    lw = acc + 4 * TILE + gap
    rest = lw + K * TILE + gap
    rows = _aligned(TILE * P)
    for i in range(rows.shape[0]):
        rows[i] = 0.0  # its columns beyond D are never written; all other buffers are, before they are read
    return Workspace(
        block[: D * TILE].reshape(D, TILE),
        rows.reshape(TILE, P),
        block[rest : rest + TILE],
        block[acc : acc + 4 * TILE].reshape(4, TILE),
        block[lw : lw + K * TILE].reshape(K, TILE),
        block[rest + TILE : rest + 2 * TILE],
        block[rest + 2 * TILE : rest + 3 * TILE],
        block[rest + 3 * TILE : rest + 4 * TILE],
        np.zeros(TILE, np.int64),
        np.zeros(TILE, np.int64),
        _aligned(K * PENDING * P).reshape(K, PENDING, P),
        np.zeros(K, np.int64),
        np.zeros(K),
    )


@kernel
def exp2(x: float) -> float:
    """2^x for x <= 0, flushed to 2^-1000 below; relative error under 1e-14. Unlike a call to libm it vectorises."""
    x = x if x > -1000.0 else -1000.0
    shifted = x + _ROUND
    r = x - (shifted - _ROUND)
    p = _C11 * r + _C10
    p = p * r + _C9
    p = p * r + _C8
    p = p * r + _C7
    p = p * r + _C6
    p = p * r + _C5
    p = p * r + _C4
    p = p * r + _C3
    p = p * r + _C2
    p = p * r + _C1
    p = p * r + _C0
    return p * bits_to_float((float_to_bits(shifted) + _BIAS) << _MANTISSA)


@kernel
def load_tile(X: AnyArray, loc: FloatArray, first: int, size: int, Xt: FloatArray, rows: FloatArray) -> None:
    """Rows first .. first + size of X (N, D), minus loc, into Xt (D, TILE) and rows (TILE, P); the rest is zero."""
    D = X.shape[1]
    for b in range(size):
        x, row = X[first + b], rows[b]
        for d in range(D):
            row[d] = x[d] - loc[d]
    for b in range(size, TILE):
        for d in range(D):
            rows[b, d] = 0.0
    for d in range(D):
        for b in range(TILE):
            Xt[d, b] = rows[b, d]


@kernel
def log_weights(K: int, components: Components, work: Workspace) -> None:
    """lw[k, b] <- log2 of w_k N(x_b | mu_k, Sigma_k), and top[b] <- its largest value over k.

    The quadratic form is |W_k x_b + c_k|^2, summed by rows of the lower triangular W_k. W is used in 4 x 4 blocks held
    in registers; every inner loop runs over the observations of the tile. Rows beyond the last multiple of four go one
    at a time.
    """
    W, c = components.W, components.c
    Xt, lw, top, q, acc = work.Xt, work.lw, work.top, work.q, work.acc
    D = Xt.shape[0]
    blocked = D - D % 4
    for k in range(K):
        for b in range(TILE):
            q[b] = 0.0
        for i in range(0, blocked, 4):
            c0, c1, c2, c3 = c[k, i], c[k, i + 1], c[k, i + 2], c[k, i + 3]
            for j in range(0, i, 4):
                a00, a01, a02, a03 = W[k, i, j], W[k, i, j + 1], W[k, i, j + 2], W[k, i, j + 3]
                a10, a11, a12, a13 = W[k, i + 1, j], W[k, i + 1, j + 1], W[k, i + 1, j + 2], W[k, i + 1, j + 3]
                a20, a21, a22, a23 = W[k, i + 2, j], W[k, i + 2, j + 1], W[k, i + 2, j + 2], W[k, i + 2, j + 3]
                a30, a31, a32, a33 = W[k, i + 3, j], W[k, i + 3, j + 1], W[k, i + 3, j + 2], W[k, i + 3, j + 3]
                if j == 0:
                    for b in range(TILE):
                        x0, x1, x2, x3 = Xt[0, b], Xt[1, b], Xt[2, b], Xt[3, b]
                        acc[0, b] = c0 + a00 * x0 + a01 * x1 + a02 * x2 + a03 * x3
                        acc[1, b] = c1 + a10 * x0 + a11 * x1 + a12 * x2 + a13 * x3
                        acc[2, b] = c2 + a20 * x0 + a21 * x1 + a22 * x2 + a23 * x3
                        acc[3, b] = c3 + a30 * x0 + a31 * x1 + a32 * x2 + a33 * x3
                else:
                    for b in range(TILE):
                        x0, x1, x2, x3 = Xt[j, b], Xt[j + 1, b], Xt[j + 2, b], Xt[j + 3, b]
                        acc[0, b] += a00 * x0 + a01 * x1 + a02 * x2 + a03 * x3
                        acc[1, b] += a10 * x0 + a11 * x1 + a12 * x2 + a13 * x3
                        acc[2, b] += a20 * x0 + a21 * x1 + a22 * x2 + a23 * x3
                        acc[3, b] += a30 * x0 + a31 * x1 + a32 * x2 + a33 * x3
            d00, d10, d11 = W[k, i, i], W[k, i + 1, i], W[k, i + 1, i + 1]
            d20, d21, d22 = W[k, i + 2, i], W[k, i + 2, i + 1], W[k, i + 2, i + 2]
            d30, d31, d32, d33 = W[k, i + 3, i], W[k, i + 3, i + 1], W[k, i + 3, i + 2], W[k, i + 3, i + 3]
            if i == 0:
                for b in range(TILE):
                    x0, x1, x2, x3 = Xt[0, b], Xt[1, b], Xt[2, b], Xt[3, b]
                    y0 = c0 + d00 * x0
                    y1 = c1 + d10 * x0 + d11 * x1
                    y2 = c2 + d20 * x0 + d21 * x1 + d22 * x2
                    y3 = c3 + d30 * x0 + d31 * x1 + d32 * x2 + d33 * x3
                    q[b] = y0 * y0 + y1 * y1 + y2 * y2 + y3 * y3
            else:
                for b in range(TILE):
                    x0, x1, x2, x3 = Xt[i, b], Xt[i + 1, b], Xt[i + 2, b], Xt[i + 3, b]
                    y0 = acc[0, b] + d00 * x0
                    y1 = acc[1, b] + d10 * x0 + d11 * x1
                    y2 = acc[2, b] + d20 * x0 + d21 * x1 + d22 * x2
                    y3 = acc[3, b] + d30 * x0 + d31 * x1 + d32 * x2 + d33 * x3
                    q[b] += y0 * y0 + y1 * y1 + y2 * y2 + y3 * y3
        for i in range(blocked, D):
            c0, a00 = c[k, i], W[k, i, 0]
            for b in range(TILE):
                acc[0, b] = c0 + a00 * Xt[0, b]
            for j in range(1, i + 1):
                a00 = W[k, i, j]
                for b in range(TILE):
                    acc[0, b] += a00 * Xt[j, b]
            for b in range(TILE):
                q[b] += acc[0, b] * acc[0, b]
        log_c = components.log_c[k]
        if k == 0:
            for b in range(TILE):
                value = log_c - 0.5 * q[b]
                lw[k, b] = value
                top[b] = value
        else:
            for b in range(TILE):
                value = log_c - 0.5 * q[b]
                lw[k, b] = value
                top[b] = value if value > top[b] else top[b]


@kernel
def draw_labels(K: int, key: np.uint64, first: int, work: Workspace) -> None:
    """label[b] ~ Categorical(2^lw[:, b]) by inversion: count the cumulated weights that lie below u times their total.

    Row first + b uses the uniform of that number. lw is overwritten by the cumulated weights.
    """
    lw, top, total, threshold, label = work.lw, work.top, work.total, work.threshold, work.label
    for b in range(TILE):
        total[b] = 0.0
    for k in range(K):
        for b in range(TILE):
            total[b] += exp2(lw[k, b] - top[b])
            lw[k, b] = total[b]
    for b in range(TILE):
        threshold[b] = uniform(key, first + b) * total[b]
        label[b] = 0
    for k in range(K - 1):
        for b in range(TILE):
            label[b] += 1 if lw[k, b] < threshold[b] else 0


@kernel
def sum_weights(K: int, work: Workspace) -> None:
    """total[b] <- sum_k 2^(lw[k, b] - top[b]), for :func:`log_likelihood`."""
    lw, top, total = work.lw, work.top, work.total
    for b in range(TILE):
        total[b] = 0.0
    for k in range(K):
        for b in range(TILE):
            total[b] += exp2(lw[k, b] - top[b])


@kernel
def apply_slice(K: int, rest: float, key: np.uint64, first: int, z: LabelArray, work: Workspace) -> None:
    """lw[k, b] <- log2 N(x_b | mu_k, Sigma_k) where w_k > u_b, else nothing (Walker 2007); top follows.

    u_b = w_{z_b} v_b, v_b the uniform of row first + b. z holds the current labels of the tile's rows, work.weight the
    weights. Rows with u_b <= rest, the weight of the components that are not represented, keep their label.
    """
    lw, top, u, weight = work.lw, work.top, work.threshold, work.weight
    for b in range(TILE):
        u[b] = weight[z[b]] * uniform(key, first + b) if b < z.shape[0] else 1.0
        top[b] = -np.inf
    for k in range(K):
        w, log2_w = weight[k], math.log2(weight[k])
        for b in range(TILE):
            value = lw[k, b] - log2_w if w > u[b] else -np.inf
            lw[k, b] = value
            top[b] = value if value > top[b] else top[b]
    for b in range(z.shape[0]):
        if u[b] <= rest:
            for k in range(K):
                lw[k, b] = 0.0 if k == z[b] else -np.inf
            top[b] = 0.0


@kernel
def log_likelihood(size: int, work: Workspace) -> float:
    """sum over the first ``size`` rows of log2 sum_k 2^lw[k, b]; destroys top and total.

    Totals lie in [1, K], so sixteen of them are multiplied before one logarithm is taken.
    """
    top, total = work.top, work.total
    for b in range(size, TILE):
        top[b] = 0.0
        total[b] = 1.0
    half = TILE // 2
    while half >= LANES:
        for b in range(half):
            top[b] += top[b + half]
            total[b] *= total[b + half]
        half //= 2
    result = 0.0
    for b in range(LANES):
        result += top[b] + math.log2(total[b])
    return result


@kernel
def _fold(D: int, k: int, size: int, pending: FloatArray, s: FloatArray, S: FloatArray) -> None:
    """Add the first ``size`` (a multiple of 8) pending rows of component k to its sums and scatter."""
    P = pending.shape[2]
    out = k * P * P
    for r in range(0, size, LANES):
        rows = (k * PENDING + r) * P
        for j in range(0, P, LANES):
            add_rows(s, k * P + j, pending, rows + j, P)
        for i in range(0, D, 4):
            for j in range(0, i + 4, LANES):
                add_outer(S, out + i * P + j, pending, rows + i, rows + j, P)


@kernel
def _fold_half(k: int, size: int, pending: FloatArray, s: FloatArray, S: FloatArray) -> None:
    """The same for rows packed to four numbers."""
    P = pending.shape[2]
    for r in range(0, size, LANES):
        add_halves(S, k * P * P, s, k * P, pending, k * PENDING * P + r * HALF)


@kernel
def _accumulate_half(
    size: int, components: Components, work: Workspace, n: FloatArray, s: FloatArray, S: FloatArray
) -> None:
    """:func:`accumulate` where D <= 4: rows are packed to four numbers, and two of them share a vector."""
    rows, label, pending, waiting = work.rows, work.label, work.pending, work.waiting
    P = rows.shape[1]
    for b in range(size):
        k = label[b]
        place = k * PENDING * P + waiting[np.uint64(k)] * HALF
        subtract_half(pending, place, rows, b * P, components.centre, k * P)
        waiting[np.uint64(k)] += 1
        if waiting[np.uint64(k)] == PENDING:
            waiting[k] = 0
            n[k] += PENDING
            _fold_half(k, PENDING, pending, s, S)


@kernel
def accumulate(size: int, components: Components, work: Workspace, n: FloatArray, s: FloatArray, S: FloatArray) -> None:
    """Add the tile's first ``size`` rows to the statistics of their labels.

    A centred row waits in its component's buffer until enough are there: one load and store of S then serves eight
    rows, and the branch that a random label makes unpredictable is rare.
    """
    rows, label, pending, waiting = work.rows, work.label, work.pending, work.waiting
    D, P = work.Xt.shape[0], rows.shape[1]
    if D <= HALF:
        _accumulate_half(size, components, work, n, s, S)
        return
    for b in range(size):
        k = label[b]
        place = (k * PENDING + waiting[np.uint64(k)]) * P
        for j in range(0, P, LANES):
            subtract_row(pending, place + j, rows, b * P + j, components.centre, k * P + j)
        waiting[np.uint64(k)] += 1
        if waiting[np.uint64(k)] == PENDING:
            waiting[k] = 0
            n[k] += PENDING
            _fold(D, k, PENDING, pending, s, S)


@kernel
def flush(K: int, work: Workspace, n: FloatArray, s: FloatArray, S: FloatArray) -> None:
    """Add the rows that still wait, filled up with rows of zeros."""
    pending, waiting, D = work.pending, work.waiting, work.Xt.shape[0]
    for k in range(K):
        size = (waiting[k] + LANES - 1) // LANES * LANES
        width = HALF if D <= HALF else pending.shape[2]
        own = pending[k].reshape(-1)
        for i in range(width * waiting[k], width * size):
            own[i] = 0.0
        n[k] += waiting[k]
        waiting[k] = 0
        if D <= HALF:
            _fold_half(k, size, pending, s, S)
        else:
            _fold(D, k, size, pending, s, S)
