"""Full covariances: how far from its component a row may lie for another component to weigh nothing, whatever the row.

With y_k(x) = W_k x + c_k, the log2 weight of component k at x is l_k - |y_k(x)|^2 / 2. Let r = |y_j(x)|,
n = |y_k(mu_j)|, u = y_k(mu_j) / n and s = |W_j'^-1 W_k' u|. By Cauchy and Schwarz

    |y_k(x)| >= u'y_k(x) = n + (W_k' u)'(x - mu_j) >= n - s r.

So component k weighs less than 2^-53 of component j wherever max(0, n - s r)^2 - r^2 + C > 0, C = 2 (l_j - l_k - 53).
The left side falls as r grows: below its root, the radius of (j, k), component k is out of the question. What is not
may still be for rows that are known: u'y_k(x) is a line in x.
"""

import math
from typing import NamedTuple

from gibbs_gmm.kernels._jit import kernel
from gibbs_gmm.kernels.families import generic
from gibbs_gmm.kernels.families.full_pass import Components
from gibbs_gmm.kernels.families.generic import Radii
from gibbs_gmm.kernels.simd import LANES, wide_vectors
from gibbs_gmm.kernels.simd_latent import half_squares, solve_row
from gibbs_gmm.kernels.tile import LOG2_E, NEGLIGIBLE, PACKED
from gibbs_gmm.kernels.types import FloatArray

_EPS = 2.0**-52
_ERROR = 2.0**-13
"""Most that rounding may add to y, in Euclidean norm: of rows so far from the origin that it could, none is skipped."""

_SLACK, _SHARE = 2.0**-9, 2.0**-30
"""What the radius leaves, in bits and as a share of all numbers that are subtracted, for their rounding."""


class _Room(NamedTuple):
    """Scratch, of which :data:`PACKED` components j lie innermost, and one component k alone.

    packed: columns of W below the diagonal, each with its pivot's inverse behind it; mean: (1, mu); y = y_k(mu_j); t =
    n s, as a vector; line = (y'c_k, W_k'y); zero: zeros, then ones; log_c: l_j; log_ratio: what is added to it;
    distance, slope: n^2 / 2 and (n s)^2 / 2; root: the radii squared. row, column: (c_i, W_i0, .., W_ii) and (W_ii, ..,
    W_Di) of component k, each from a multiple of D + 1. length (K,): norms of means.
    """

    packed: FloatArray
    mean: FloatArray
    y: FloatArray
    t: FloatArray
    line: FloatArray
    zero: FloatArray
    log_c: FloatArray
    log_ratio: FloatArray
    distance: FloatArray
    slope: FloatArray
    root: FloatArray
    row: FloatArray
    column: FloatArray
    length: FloatArray


@kernel
def _room(K: int, D: int, scratch: FloatArray) -> _Room:
    mean = D * (D + 1) // 2 * PACKED
    y = mean + (D + 1) * PACKED
    t = y + D * PACKED
    line = t + D * PACKED
    zero = line + (D + 1) * PACKED
    log_c = zero + 2 * PACKED
    row = log_c + 5 * PACKED
    column = row + D * (D + 1)
    length = column + D * (D + 1)
    return _Room(
        scratch[:mean],
        scratch[mean:y],
        scratch[y:t],
        scratch[t:line],
        scratch[line:zero],
        scratch[zero:log_c],
        scratch[log_c : log_c + PACKED],
        scratch[log_c + PACKED : log_c + 2 * PACKED],
        scratch[log_c + 2 * PACKED : log_c + 3 * PACKED],
        scratch[log_c + 3 * PACKED : log_c + 4 * PACKED],
        scratch[log_c + 4 * PACKED : row],
        scratch[row:column],
        scratch[column:length],
        scratch[length : length + K],
    )


@kernel
def _pack(components: Components, first: int, size: int, room: _Room) -> None:
    """Components first .. first + size, and unit balls behind them."""
    D, place = components.c.shape[1], 0
    for b in range(PACKED):
        room.mean[b] = 1.0
        room.log_c[b] = components.log_c[first + b] if b < size else 0.0
    for i in range(D):
        for b in range(PACKED):
            room.mean[(i + 1) * PACKED + b] = components.centre[first + b, i] if b < size else 0.0
        for e in range(i + 1, D + 1):
            for b in range(PACKED):
                if e < D:
                    room.packed[place + b] = components.W[first + b, e, i] if b < size else 0.0
                else:
                    room.packed[place + b] = 1.0 / components.W[first + b, i, i] if b < size else 1.0
            place += PACKED


@kernel
def _unpack(components: Components, k: int, room: _Room) -> None:
    """Component k alone."""
    W, D = components.W[k], components.c.shape[1]
    for i in range(D):
        room.row[i * (D + 1)] = components.c[k, i]
        for e in range(i + 1):
            room.row[i * (D + 1) + e + 1] = W[i, e]
            room.column[e * (D + 1) + i - e] = W[i, e]


@kernel
def _project(D: int, room: _Room) -> None:
    """n^2 / 2 and (n s)^2 / 2 of the packed components j and the unpacked k."""
    wide_vectors()
    y, t, zero, packed, size = room.y, room.t, room.zero, room.packed, D + 1
    for i in range(D):
        for b in range(0, PACKED, LANES):
            at = i * PACKED + b
            solve_row(y, at, room.mean, b, room.row, i * size, i + 2, zero, b, zero, b, b, PACKED, 0, PACKED + b)
    place = packed.shape[0]
    for i in range(D - 1, -1, -1):
        place -= (D - i) * PACKED
        pivot = place + (D - 1 - i) * PACKED
        for b in range(0, PACKED, LANES):
            at, column = i * PACKED + b, place + b
            solve_row(
                t, at, y, at, room.column, i * size, D - i, zero, b, packed, column, at + PACKED, PACKED, D - 1 - i,
                pivot + b,
            )  # fmt: skip
    for b in range(0, PACKED, LANES):
        half_squares(room.distance, b, y, b, PACKED, D, zero, b)
        half_squares(room.slope, b, t, b, PACKED, D, zero, b)


@kernel
def _project_lines(c: FloatArray, k: int, D: int, room: _Room) -> None:
    """(y'c_k, W_k'y) of the packed components j and the unpacked k."""
    wide_vectors()
    y, line, zero, size = room.y, room.line, room.zero, D + 1
    for b in range(0, PACKED, LANES):
        solve_row(line, b, y, b, c, k * D, D, zero, b, zero, b, b, PACKED, 0, PACKED + b)
    for i in range(D):
        for b in range(0, PACKED, LANES):
            at, y_i = (i + 1) * PACKED + b, i * PACKED + b
            solve_row(line, at, y, y_i, room.column, i * size, D - i, zero, b, zero, b, b, PACKED, 0, PACKED + b)


@kernel
def _set_lines(D: int, k: int, first: int, size: int, room: _Room, line: FloatArray) -> None:
    """line[j, k] of the packed components j: u'c_k and W_k'u, the first a little too small.

    For rows that are held to be exact, rounding adds less than 2 _ERROR to u'c_k + u'W_k x, which has twice as many
    terms as an entry of y_k(x), and takes less than _ERROR from |y_k(x)|.
    """
    for b in range(size):
        n = math.sqrt(2.0 * room.distance[b])
        scale = 1.0 / n if n > 0.0 else 0.0
        own = line[first + b, k]
        own[0] = room.line[b] * scale - 4.0 * _ERROR
        for e in range(1, D + 1):
            own[e] = room.line[e * PACKED + b] * scale


@kernel
def _find_roots(log_c: float, log_ratio: FloatArray, room: _Room) -> None:
    """root <- the root of max(0, n - s r)^2 - r^2 + C in r, squared, a little too small, if it is above 0.

    log_c: l_k. log_ratio (PACKED,) is added to l_j - l_k.
    """
    wide_vectors()
    for b in range(PACKED):
        log_c_j, n = room.log_c[b], math.sqrt(2.0 * room.distance[b])
        slack = _SLACK + _SHARE * (abs(log_c_j) + abs(log_c) + abs(log_ratio[b]))
        C = 2.0 * (log_c_j - log_c + log_ratio[b] + NEGLIGIBLE - slack)
        s = math.sqrt(2.0 * room.slope[b]) / (n if n > 0.0 else 1.0) * (1.0 + _SHARE)
        n = n * (1.0 - _SHARE) - _ERROR * (2.0 * s + 4.0)
        square = n * n if n > 0.0 else 0.0
        if C * s * s >= square:
            root = C  # inside the ball of radius n / s, the nearest point to mu_k is taken for mu_k itself
        elif square + C > 0.0:
            root = (square + C) / (s * n + math.sqrt(square - (s * s - 1.0) * C))
            root = root * root
        else:
            root = 0.0
        room.root[b] = root * (1.0 - _SHARE)


@generic.set_radii.of(Components)
@kernel
def set_radii(components: Components, K: int, log_w: FloatArray, sliced: bool, radii: Radii) -> bool:
    """See the top of this file. Rows x with |x| < limit[k] are held to be exact, and so must be the means.

    There |fl(y_k) - y_k| <= (D + 2) eps (|W_k| |x| + |c_k|) <= _ERROR in the norms of Frobenius and Euclid (Higham
    2002, section 3.1). Rounding in n, in W_k' u, and in the solution of the triangular system - exact for a matrix as
    far from W_j as products with it are from exact (theorem 8.5) - is of the same size, and is taken from n.
    """
    W, c, centre, D = components.W, components.c, components.centre, components.c.shape[1]
    room = _room(K, D, radii.scratch)
    for b in range(2 * PACKED):
        room.zero[b] = 0.0 if b < PACKED else 1.0
    for k in range(K):
        size, offset, length = 0.0, 0.0, 0.0
        for i in range(D):
            offset += c[k, i] * c[k, i]
            length += centre[k, i] * centre[k, i]
            for e in range(i + 1):
                size += W[k, i, e] * W[k, i, e]
        radii.limit[k] = (_ERROR / ((D + 4) * _EPS) - math.sqrt(offset)) / math.sqrt(size)
        room.length[k] = math.sqrt(length)
    for first in range(0, K, PACKED):
        size = min(PACKED, K - first)
        _pack(components, first, size, room)
        for k in range(K):
            _unpack(components, k, room)
            _project(D, room)
            if radii.line.shape[0] > 0:
                _project_lines(c, k, D, room)
                _set_lines(D, k, first, size, room, radii.line)
            _find_roots(components.log_c[k], room.zero, room)
            for b in range(size):
                j = first + b
                radii.squared[j, k] = room.root[b] if j != k and room.length[j] < radii.limit[k] else 0.0
            if sliced:
                for b in range(PACKED):
                    room.log_ratio[b] = LOG2_E * (log_w[k] - log_w[first + b]) if b < size else 0.0
                _find_roots(components.log_c[k], room.log_ratio, room)
                for b in range(size):
                    if not room.root[b] >= radii.squared[first + b, k]:  # NaN stays NaN
                        radii.squared[first + b, k] = room.root[b] + 0.0 * radii.squared[first + b, k]
    return True
