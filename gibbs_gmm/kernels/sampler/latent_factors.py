"""Factors of P, the precision of the latent columns of a row (:mod:`gibbs_gmm.kernels.sampler.latent`).

Rows of a kind lack the same columns and have the same errors. Kinds that several rows share are factorised once a pass,
for all components, eight to a vector.

The factors of a kind of many rows are kept component by component, each as a record: of each latent column a the row
[-s_a, A_a] with A = L^-1 Lambda_l and s = A mu, LL' = P, so that |A x0 - s|^2 = g' P^-1 g; then L, packed by rows, with
the inverse of the diagonal on it; then what the density of a row of the kind has for a constant, less half of log2|P|.
"""

import math

import numpy as np

from gibbs_gmm.kernels._jit import allocating_kernel, kernel
from gibbs_gmm.kernels.families.generic import precision
from gibbs_gmm.kernels.sampler.latent_order import BLOCK
from gibbs_gmm.kernels.sampler.state import Latent, Room, State
from gibbs_gmm.kernels.simd import LANES
from gibbs_gmm.kernels.simd_latent import factor_below, factor_pivot
from gibbs_gmm.kernels.tile import LOG2_E, TILE, log2
from gibbs_gmm.kernels.types import FloatArray, IntArray

LARGEST_TABLE = 1 << 21
"""Numbers in a table of factors."""

WIDEST = 16
"""Latent columns of rows of a tile that are factorised together."""

LEAST = 16
"""Rows of a block (:mod:`gibbs_gmm.kernels.sampler.latent_order`) that are worked on together."""

_LEAST_PIVOT = 2.0**-46  # of what a pivot began as: rounding may have taken the rest


@kernel
def width_for(K: int) -> int:
    """K rounded up to a multiple of eight."""
    return (K + LANES - 1) // LANES * LANES


@kernel
def factor_size(m: int, width: int) -> int:
    """Numbers in the factors of one kind of row with m columns that are not exact, for ``width`` components."""
    return (m * (m + 1) // 2 + 1) * width


@kernel
def record_size(m: int, D: int) -> int:
    """Numbers in the record of a component, for a kind of many rows with m columns that are not exact."""
    return m * (D + 1) + m * (m + 1) // 2 + 1


def many_rows(N: int) -> int:
    """How many of N rows are many: enough for tiles of their own, and for records."""
    return max(1, N // BLOCK) * LEAST


@kernel
def _table_size(latent: Latent, g: int, D: int, width: int) -> int:
    """Numbers in the table of a kind that several rows share."""
    m = latent.size[g]
    return record_size(m, D) * width if g < latent.shared[1] else factor_size(m, width)


@allocating_kernel
def new_room(latent: Latent, K: int, D: int) -> Room:
    """Scratch of a pass for K components and D columns: kinds of rows that several rows share have their own place."""
    width, N = width_for(K), latent.group.shape[0]
    size = 0
    for g in range(latent.shared[0]):
        size = min(LARGEST_TABLE, size + _table_size(latent, g, D, width))
    parts = latent.shared[1] + latent.shared[2] + 2
    places = min(N, 2 * BLOCK) + LANES * parts
    return Room(
        np.empty(D * D * width),
        np.empty(D * width),
        np.empty(D * width),
        np.empty(width),
        np.empty(factor_size(D, width) + size),
        np.zeros(latent.shared[0] + 1, np.int64),
        np.empty((D, TILE)),
        np.empty((min(D, WIDEST) * (min(D, WIDEST) + 5) // 2 + 1, TILE)),
        np.empty((D + 1, TILE)),
        np.zeros(TILE, np.int64),
        np.zeros((D, D)),
        np.zeros(D),
        np.zeros(places, np.int64),
        np.zeros(places // LANES + 1, np.int64),
        np.zeros(min(N, 2 * BLOCK), np.int64),
        np.zeros(parts, np.int64),
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
def _write_records(latent: Latent, g: int, room: Room, width: int, K: int, at: int) -> None:
    """The records of kind g, from place ``at`` of the table, whose beginning has the factors."""
    L, V, m, D = room.table, room.precision, latent.size[g], room.one.shape[0]
    size, triangle = record_size(m, D), m * (m + 1) // 2
    for k in range(K):
        record = L[at + k * size :][:size]
        for a in range(m):
            i, first = latent.columns[g, a], a * (a + 1) // 2
            for j in range(D + 1):
                value = V[(i * D + j - 1) * width + k] if j > 0 else -room.shift[i * width + k]
                for r in range(a):
                    value -= L[(first + r) * width + k] * record[r * (D + 1) + j]
                record[a * (D + 1) + j] = value * L[(first + a) * width + k]
        for place in range(triangle + 1):
            record[m * (D + 1) + place] = L[place * width + k]


@kernel
def fill_table(latent: Latent, room: Room, K: int, width: int) -> int:
    """The factors of kinds of rows that several rows share, for as many as find room; returns how many.

    The room counts as :data:`LARGEST_TABLE` numbers where it is larger: how it is used depends on K alone.
    """
    D = room.one.shape[0]
    at = own = factor_size(D, width)
    for g in range(latent.shared[0]):
        size = _table_size(latent, g, D, width)
        if at + size > min(own + LARGEST_TABLE, room.table.shape[0]):
            return g
        room.place[g] = at
        if g < latent.shared[1]:
            prepare_kind(latent, g, room, width, 0)
            _write_records(latent, g, room, width, K, at)
        else:
            prepare_kind(latent, g, room, width, at)
        at += size
    return int(latent.shared[0])


@kernel
def factorise_tile(m: int, n: int, tile: FloatArray) -> None:
    """Overwrite P of the first n rows of a tile by its factors, packed by rows: those of row b are in tile[:, b].

    Inverses of the diagonal are on it. tile (R, TILE) has a row more than P needs.
    """
    least = tile[m * (m + 1) // 2][:n]
    for a in range(m):
        first = a * (a + 1) // 2
        for c in range(a):
            other = c * (c + 1) // 2
            out, pivot = tile[first + c][:n], tile[other + c][:n]
            for r in range(c):
                x, y = tile[first + r][:n], tile[other + r][:n]
                for b in range(n):
                    out[b] -= x[b] * y[b]
            for b in range(n):
                out[b] *= pivot[b]
        out = tile[first + a][:n]
        for b in range(n):
            least[b] = _LEAST_PIVOT * out[b]
        for r in range(a):
            x = tile[first + r][:n]
            for b in range(n):
                out[b] -= x[b] * x[b]
        for b in range(n):
            out[b] = 1.0 / math.sqrt(out[b] if out[b] > least[b] else least[b])


def log_row_constant(missing: FloatArray, measured: FloatArray, log_det: FloatArray) -> FloatArray:
    """The constants of kinds of rows, from how many columns are missing and measured, and log|E|; in base 2."""
    both = (missing + measured) * math.log2(LOG2_E)
    return 0.5 * (both + missing * math.log2(2.0 * math.pi) - LOG2_E * log_det)
