"""A label pass works on tiles of rows: their buffers, how they are filled, and an exponential that vectorises."""

import math
from typing import NamedTuple

import numpy as np

from gibbs_gmm.kernels._jit import allocating_kernel, kernel
from gibbs_gmm.kernels._records import by_address
from gibbs_gmm.kernels.simd import LANES, bits_to_float, float_to_bits, part_of_callers, wide_vectors
from gibbs_gmm.kernels.simd_rows import load_block, load_part
from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray

TILE = 128
"""Rows per tile: 64 spends more on loop starts, 256 falls out of the first-level cache at D = 32."""

PENDING = 32
"""Rows of a component that wait before they are added to its statistics together: a multiple of 8."""

SCRATCH = 16
"""Rows of a tile that a workspace has besides, for whatever a pass needs."""

LOG2_E = math.log2(math.e)

NEGLIGIBLE = -53.0
"""A weight of a row that is not above 2^-53 of the row's largest counts as zero: their sum would not show it."""

PRUNED_ROWS = 1 << 15
"""Most rows that are put in order at once: they stay in the third-level cache, and clusters fill tiles."""

PRUNED_COMPONENTS, PRUNED_VALUES = 512, 128
"""Most components with radii between them, and most values of a row (2 MB each)."""

LINES = 1 << 20
"""Most numbers in the lines between components (8 MB)."""

PACKED = 32
"""Components whose radii are computed together."""

# Taylor coefficients of 2^r; on |r| <= 1/2 the remainder is below 7e-15 of the value.
_C0, _C1, _C2, _C3, _C4, _C5, _C6, _C7, _C8, _C9, _C10, _C11 = (
    math.log(2.0) ** i / math.factorial(i) for i in range(12)
)
_ROUND = 1.5 * 2.0**52  # adding it leaves the nearest integer in the low bits of the sum
_BIAS, _MANTISSA = np.uint64(1023), np.uint64(52)

# atanh s = s (1 + s^2/3 + s^4/5 + ...); on |s| <= 0.172 the remainder is below 3e-17 of the value.
_A1, _A2, _A3, _A4, _A5, _A6, _A7, _A8, _A9 = (1.0 / (2 * i + 1) for i in range(1, 10))
_ONE, _SQRT_HALF = np.uint64(0x3FF0000000000000), np.uint64(0x3FE6A09E667F3BCD)
_BELOW = np.uint64(0x000FFFFFFFFFFFFF)
_INTEGER = np.uint64(0x4330000000000000)  # 2^52: its low bits are an integer
_INTEGER_BIAS = 2.0**52 + 1023.0


@by_address
class Workspace(NamedTuple):
    """Buffers of one label pass; see :func:`new_workspace`.

    row: numbers of the tile's rows. every: 0, 1, .., K - 1. places, room: for a pass that prunes.
    """

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
    row: IntArray
    every: IntArray
    pending: FloatArray
    waiting: IntArray
    weight: FloatArray
    places: IntArray
    room: FloatArray
    scratch: FloatArray


@allocating_kernel
def _aligned(size: int) -> FloatArray:
    """An array that starts on a cache line: wide loads that straddle two lines cost twice."""
    raw = np.empty(size + LANES)
    skip = (-raw.ctypes.data % 64) // 8
    return raw[skip : skip + size]


@kernel
def places_for(K: int) -> int:
    """Integers that a pass over K components needs to prune: rows in order, where labels begin, a list of K."""
    return PRUNED_ROWS + 2 * K + 3


@kernel
def lines_for(K: int, D: int) -> int:
    """Components between which there is room for lines: all or none."""
    return K if K * K * (D + 1) <= LINES else 0


@kernel
def room_for(K: int, D: int) -> int:
    """Numbers that it needs, for up to K components: two of each row; radii and lines; and what it takes to compute
    them.
    """
    k, d = min(K, PRUNED_COMPONENTS), min(D, PRUNED_VALUES)
    lines = min(K, int(math.sqrt(LINES // (D + 1))))
    return (
        2 * PRUNED_ROWS
        + k * k
        + lines * lines * (D + 1)
        + 2 * k
        + PACKED * (d * (d + 1) // 2 + 4 * d + 9)
        + 2 * d * (d + 1)
    )


@allocating_kernel
def new_workspace(K: int, D: int) -> Workspace:
    """Buffers for K components of dimension D: about 1 KB x (K + 2 D + 16) and 128 B x K D."""
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
        np.zeros(TILE, np.int64),
        np.arange(K),
        _aligned(K * PENDING * P).reshape(K, PENDING, P),
        np.zeros(K, np.int64),
        np.zeros(K),
        np.empty(places_for(K), np.int64),  # a page takes no memory until it is written to
        _aligned(room_for(K, D)),
        _aligned(SCRATCH * TILE),
    )


@kernel
def exp2_of_near(x: float) -> float:
    """2^x for -1000 <= x <= 0, with a relative error under 1e-14; any number elsewhere. Unlike libm's it vectorises."""
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
def exp2(x: float) -> float:
    """2^x for x <= 0, flushed to 2^-1000 below."""
    return exp2_of_near(x if x > -1000.0 else -1000.0)


@kernel
def log2(x: float) -> float:
    """log2(x) for a positive normal x, to rounding. Unlike a call to libm it vectorises."""
    bits = float_to_bits(x) + (_ONE - _SQRT_HALF)
    exponent = bits_to_float((bits >> _MANTISSA) | _INTEGER) - _INTEGER_BIAS
    m = bits_to_float((bits & _BELOW) + _SQRT_HALF)  # x = m 2^exponent, m between sqrt(1/2) and sqrt(2)
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    p = _A9 * z + _A8
    p = p * z + _A7
    p = p * z + _A6
    p = p * z + _A5
    p = p * z + _A4
    p = p * z + _A3
    p = p * z + _A2
    p = p * z + _A1
    p = p * z + 1.0
    return exponent + 2.0 * LOG2_E * s * p


@kernel
def log2_1p(x: float) -> float:
    """log2(1 + x) for x >= -1/2, to rounding also where x is small. It vectorises."""
    y = 1.0 + x
    return log2(y) + LOG2_E * (x - (y - 1.0)) / y


@kernel
def _load_row(x: AnyArray, loc: FloatArray, b: int, rows: FloatArray, Xt: FloatArray) -> None:
    """Row b of the tile, one value after the other."""
    for d in range(x.shape[0]):
        rows[b, d] = Xt[d, b] = x[d] - loc[d]


@kernel
def _clear_rows(size: int, rows: FloatArray, Xt: FloatArray) -> None:
    """Of the tile's rows, those from ``size`` on."""
    for b in range(size, TILE):
        for d in range(Xt.shape[0]):
            rows[b, d] = Xt[d, b] = 0.0


@kernel
def load_tile(X: AnyArray, loc: FloatArray, first: int, size: int, Xt: FloatArray, rows: FloatArray) -> None:
    """Rows first .. first + size of X (N, D), minus loc, into Xt (D, TILE) and rows (TILE, P); the rest is zero."""
    wide_vectors()
    N, D = X.shape
    whole = D - D % LANES
    blocks = max(0, min(size, N - LANES - first)) // LANES * LANES
    for b in range(0, blocks, LANES):
        for d in range(0, whole, LANES):
            load_block(rows, Xt, b, d, X, first, loc)
        if whole < D:
            load_part(rows, Xt, b, whole, X, first, loc)
    for b in range(blocks, size):
        _load_row(X[first + b], loc, b, rows, Xt)
    _clear_rows(size, rows, Xt)


@kernel
def copy_rows(X: AnyArray, loc: FloatArray, first: int, size: int, rows: FloatArray) -> None:
    """Rows first .. first + size of X (N, D), minus loc, into rows (TILE, P)."""
    wide_vectors()
    N, D = X.shape
    whole = D - D % LANES
    blocks = max(0, min(size, N - LANES - first)) // LANES * LANES
    for b in range(0, blocks, LANES):
        for d in range(0, whole, LANES):
            load_block(rows, None, b, d, X, first, loc)
        if whole < D:
            load_part(rows, None, b, whole, X, first, loc)
    for b in range(blocks, size):
        for d in range(D):
            rows[b, d] = X[first + b, d] - loc[d]


@kernel
def load_rows(X: AnyArray, loc: FloatArray, index: IntArray, size: int, work: Workspace) -> None:
    """The rows of X in ``index``, minus loc, into the tile; the rest is zero."""
    part_of_callers()
    wide_vectors()
    rows, Xt, (N, D) = work.rows, work.Xt, X.shape
    whole, blocks = D - D % LANES, size // LANES * LANES
    for b in range(0, blocks, LANES):
        last = 0
        for r in range(LANES):
            last = max(last, index[b + r])
        if last < N - LANES:
            for d in range(0, whole, LANES):
                load_block(rows, Xt, b, d, X, index, loc)
            if whole < D:
                load_part(rows, Xt, b, whole, X, index, loc)
        else:
            for r in range(LANES):
                _load_row(X[index[b + r]], loc, b + r, rows, Xt)
    for b in range(blocks, size):
        _load_row(X[index[b]], loc, b, rows, Xt)
    _clear_rows(size, rows, Xt)
