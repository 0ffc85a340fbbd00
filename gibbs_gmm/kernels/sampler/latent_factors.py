"""Factors of P, the precision of the latent columns of a row (:mod:`gibbs_gmm.kernels.sampler.latent`).

Rows of a kind lack the same columns and have the same errors. Kinds that several rows share are factorised once a pass,
for all components, eight to a vector.
"""

import math

import numpy as np

from gibbs_gmm.kernels._jit import allocating_kernel, kernel
from gibbs_gmm.kernels.families.generic import precision
from gibbs_gmm.kernels.sampler.state import Latent, Room, State
from gibbs_gmm.kernels.simd import LANES, factor_below, factor_pivot
from gibbs_gmm.kernels.tile import LOG2_E, TILE, log2
from gibbs_gmm.kernels.types import FloatArray, IntArray

LARGEST_TABLE = 1 << 21
"""Numbers in a table of factors."""

WIDEST = 16
"""Latent columns of rows of a tile that are factorised together."""

_LEAST_PIVOT = 2.0**-46  # of what a pivot began as: rounding may have taken the rest


@kernel
def width_for(K: int) -> int:
    """K rounded up to a multiple of eight."""
    return (K + LANES - 1) // LANES * LANES


@kernel
def factor_size(m: int, width: int) -> int:
    """Numbers in the factors of one kind of row with m columns that are not exact, for ``width`` components."""
    return (m * (m + 1) // 2 + 1) * width


@allocating_kernel
def new_room(latent: Latent, K: int, D: int) -> Room:
    """Scratch of a pass for K components and D columns: kinds of rows that several rows share have their own place."""
    width = width_for(K)
    size = own = factor_size(D, width)
    for g in range(latent.shared[0]):
        more = factor_size(latent.size[g], width)
        if size + more > own + LARGEST_TABLE:
            break
        size += more
    return Room(
        np.empty(D * D * width),
        np.empty(D * width),
        np.empty(D * width),
        np.empty(width),
        np.empty(size),
        np.zeros(latent.shared[0] + 1, np.int64),
        np.empty((D * (D + 5) // 2 if D <= WIDEST else WIDEST * (WIDEST + 5) // 2, TILE)),
        np.zeros((D, D)),
        np.zeros(D),
    )


@kernel
def set_precisions(state: State, K: int, width: int, room: Room) -> None:
    """room.precision and room.shift of all components; places without one hold the identity, about 0."""
    one, D = room.one, room.one.shape[0]
    for k in range(width):
        if k < K:
            precision(state.components, k, one)
        for i in range(D):
            total = 0.0
            for j in range(D):
                value = one[i, j] if k < K else (1.0 if i == j else 0.0)
                room.precision[(i * D + j) * width + k] = value
                total += value * state.components.centre[k, j] if k < K else 0.0
            room.shift[i * width + k] = total


@kernel
def _noise(noise: FloatArray, i: int, j: int, D: int) -> float:
    """Q_ij of a kind of rows, times log2(e), from its line of ``Latent.noise``, which may be empty."""
    if noise.shape[0] == D:
        return noise[i] if i == j else 0.0
    return noise[i * D + j] if noise.shape[0] > 0 else 0.0


@kernel
def _factorise(m: int, columns: IntArray, noise: FloatArray, D: int, V: FloatArray, width: int, L: FloatArray) -> None:
    """The lower Cholesky factors of P for rows that lack the first m of ``columns``, and all components: packed by rows
    from the beginning of L, with the inverse of the diagonal on it. V is ``Room.precision``.
    """
    for a in range(m):
        i, row = columns[a], a * (a + 1) // 2 * width
        for b in range(a):
            j, other, place = columns[b], b * (b + 1) // 2 * width, row + b * width
            source, q = (i * D + j) * width, _noise(noise, i, j, D)
            for c in range(0, width, LANES):
                factor_below(L, place + c, V, source + c, q, row + c, other + c, width, b, other + b * width + c)
        source, q = (i * D + i) * width, _noise(noise, i, i, D)
        for c in range(0, width, LANES):
            factor_pivot(L, row + a * width + c, V, source + c, q, row + c, width, a, _LEAST_PIVOT)


@kernel
def factorise_one(
    m: int, columns: IntArray, noise: FloatArray, D: int, V: FloatArray, width: int, L: FloatArray, k: int
) -> None:
    """The same of component k alone."""
    for a in range(m):
        i, row = columns[a], a * (a + 1) // 2 * width + k
        for b in range(a + 1):
            j, other = columns[b], b * (b + 1) // 2 * width + k
            whole = V[(i * D + j) * width + k] + _noise(noise, i, j, D)
            value = whole
            for r in range(b):
                value -= L[row + r * width] * L[other + r * width]
            if a == b:
                L[row + b * width] = 1.0 / math.sqrt(max(value, _LEAST_PIVOT * whole))
            else:
                L[row + b * width] = value * L[other + b * width]


@kernel
def _set_constants(m: int, constant: float, width: int, L: FloatArray) -> None:
    """Behind the factors of a kind of rows: its constant, less half of log2|P|.

    Logarithms are taken of the products of two pivots, which lie within range.
    """
    out = L[m * (m + 1) // 2 * width :][:width]
    for k in range(width):
        out[k] = constant
    for a in range(0, m - 1, 2):
        x, y = L[a * (a + 3) // 2 * width :][:width], L[(a + 1) * (a + 4) // 2 * width :][:width]
        for k in range(width):
            out[k] += log2(x[k] * y[k])
    if m % 2 == 1:
        x = L[(m - 1) * (m + 2) // 2 * width :][:width]
        for k in range(width):
            out[k] += log2(x[k])


@kernel
def prepare_kind(latent: Latent, g: int, room: Room, width: int, at: int) -> None:
    """Factors and constants of kind g, from place ``at`` of the table."""
    m, L = latent.size[g], room.table[at:]
    _factorise(
        m,
        latent.columns[g],
        latent.noise.reshape(-1)[g * latent.noise.shape[1] :][: latent.noise.shape[1]],
        room.one.shape[0],
        room.precision,
        width,
        L,
    )
    _set_constants(m, latent.constant[g], width, L)


@kernel
def fill_table(latent: Latent, room: Room, width: int) -> int:
    """The factors of kinds of rows that several rows share, for as many as find room; returns how many."""
    at = factor_size(room.one.shape[0], width)
    for g in range(latent.shared[0]):
        size = factor_size(latent.size[g], width)
        if at + size > room.table.shape[0]:
            return g
        room.place[g] = at
        prepare_kind(latent, g, room, width, at)
        at += size
    return int(latent.shared[0])


@kernel
def factorise_tile(m: int, columns: IntArray, D: int, V: FloatArray, width: int, k: int, tile: FloatArray) -> None:
    """The factors of P of component k, as :func:`_factorise` packs them, for each row of the tile: into tile[:, b].

    Behind them tile (R, TILE) has what measurements add to the diagonal of P.
    """
    size = m * (m + 1) // 2
    for a in range(m):
        first, i = a * (a + 1) // 2, columns[a]
        for c in range(a):
            other, whole = c * (c + 1) // 2, V[(i * D + columns[c]) * width + k]
            out, pivot = tile[first + c], tile[other + c]
            for b in range(TILE):
                out[b] = whole
            for r in range(c):
                x, y = tile[first + r], tile[other + r]
                for b in range(TILE):
                    out[b] -= x[b] * y[b]
            for b in range(TILE):
                out[b] *= pivot[b]
        out, noise, whole = tile[first + a], tile[size + a], V[(i * D + i) * width + k]
        for b in range(TILE):
            out[b] = whole + noise[b]
        for r in range(a):
            x = tile[first + r]
            for b in range(TILE):
                out[b] -= x[b] * x[b]
        for b in range(TILE):
            least = _LEAST_PIVOT * (whole + noise[b])
            out[b] = 1.0 / math.sqrt(out[b] if out[b] > least else least)


def log_row_constant(missing: FloatArray, measured: FloatArray, log_det: FloatArray) -> FloatArray:
    """The constants of kinds of rows, from how many columns are missing and measured, and log|E|; in base 2."""
    both = (missing + measured) * math.log2(LOG2_E)
    return 0.5 * (both + missing * math.log2(2.0 * math.pi) - LOG2_E * log_det)
