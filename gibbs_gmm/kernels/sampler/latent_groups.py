"""Rows that lack the same columns, worked on together: eight rows to a vector, one component after another.

Rows of a kind that many share have the same factors (:mod:`gibbs_gmm.kernels.sampler.latent_factors`); rows whose
errors differ are factorised each by itself, all those of a tile together.
"""

from gibbs_gmm.kernels._jit import kernel
from gibbs_gmm.kernels.sampler.latent_factors import factorise_tile, record_size
from gibbs_gmm.kernels.sampler.state import Latent, Room
from gibbs_gmm.kernels.simd import LANES, wide_vectors
from gibbs_gmm.kernels.simd_latent import WIDE, add_half_squares, add_half_squares_wide
from gibbs_gmm.kernels.tile import TILE, Workspace, log2
from gibbs_gmm.kernels.types import FloatArray, IntArray


@kernel
def weigh_alike(latent: Latent, g: int, room: Room, K: int, start: int, end: int, work: Workspace) -> None:
    """:func:`gibbs_gmm.kernels.sampler.latent_rows.weigh_rows` of rows start .. end of the tile, of kind g."""
    wide_vectors()
    D, m, table, Xt, lw = room.one.shape[0], latent.size[g], room.table, room.Xt, work.lw
    size = record_size(m, D)
    for k in range(K):
        at = room.place[g] + k * size
        constant, out, b = at + size - 1, k * TILE, start
        while b + WIDE <= end:
            add_half_squares_wide(lw, out + b, table, at, m, D, Xt, b, TILE, constant)
            b += WIDE
        while b < end:
            add_half_squares(lw, out + b, table, at, m, D, Xt, b, TILE, constant)
            b += LANES


@kernel
def draw_alike(latent: Latent, g: int, room: Room, start: int, end: int, work: Workspace) -> None:
    """:func:`gibbs_gmm.kernels.sampler.latent_rows.draw_rows` of the same."""
    D, m, table, rows, normals, v = room.one.shape[0], latent.size[g], room.table, work.rows, room.normals, room.vector
    size = record_size(m, D)
    for s in range(end - start):
        b = start + s
        record = table[room.place[g] + work.label[b] * size :][:size]
        factor = record[m * (D + 1) :]
        for a in range(m):
            line = record[a * (D + 1) :]
            total = line[0]
            for j in range(D):
                total += line[j + 1] * rows[b, j]
            v[a] = normals[a, s] - total
        for a in range(m - 1, -1, -1):
            total = v[a]
            for r in range(a + 1, m):
                total -= factor[r * (r + 1) // 2 + a] * v[r]
            v[a] = total * factor[a * (a + 3) // 2]
            normals[a, s] = v[a]


# --- Rows whose errors differ ---------------------------------------------------------------------------------------
#
# A tile has, of m columns: n = m (m + 1) / 2 rows of factors, one of scratch, m of noise, m of right-hand sides u.


@kernel
def _load_noise(latent: Latent, m: int, columns: IntArray, index: IntArray, tile: FloatArray) -> None:
    """What measurements add to the diagonal of P, of each row."""
    noise = m * (m + 1) // 2 + 1
    for b in range(index.shape[0]):
        g = latent.group[max(index[b], 0)]
        for a in range(m):
            tile[noise + a, b] = latent.noise[g, columns[a]] if g >= 0 else 0.0


@kernel
def _solve(m: int, n: int, tile: FloatArray) -> None:
    """u <- L^-1 u of the first n rows of the tile."""
    rights = m * (m + 3) // 2 + 1
    for a in range(m):
        u, first = tile[rights + a][:n], a * (a + 1) // 2
        for r in range(a):
            factor, before = tile[first + r][:n], tile[rights + r][:n]
            for b in range(n):
                u[b] -= factor[b] * before[b]
        factor = tile[first + a][:n]
        for b in range(n):
            u[b] *= factor[b]


@kernel
def weigh_each(
    latent: Latent, p: int, room: Room, K: int, width: int, index: IntArray, start: int, work: Workspace
) -> None:
    """:func:`gibbs_gmm.kernels.sampler.latent_rows.weigh_rows` of rows that lack the p-th set of columns."""
    wide_vectors()
    V, tile, D, n, kind = room.precision, room.tile, room.one.shape[0], index.shape[0], latent.first[p]
    m, columns = latent.size[kind], latent.columns[kind]
    triangle, rights = m * (m + 1) // 2, m * (m + 3) // 2 + 1
    _load_noise(latent, m, columns, index, tile)
    constant, squares = work.q[:n], work.acc[0][:n]
    for b in range(n):
        constant[b] = latent.constant[max(latent.group[max(index[b], 0)], 0)]
    for k in range(K):
        for a in range(m):
            row, first = columns[a] * D * width + k, a * (a + 1) // 2
            for c in range(a + 1):
                out, value = tile[first + c][:n], V[row + columns[c] * width]
                for b in range(n):
                    out[b] = value
            noise = tile[triangle + 1 + a][:n]
            for b in range(n):
                out[b] += noise[b]
            u, value = tile[rights + a][:n], -room.shift[columns[a] * width + k]
            for b in range(n):
                u[b] = value
            for j in range(D):
                x, value = room.Xt[j, start : start + n], V[row + j * width]
                for b in range(n):
                    u[b] += value * x[b]
        factorise_tile(m, n, tile)
        _solve(m, n, tile)
        for b in range(n):
            squares[b] = constant[b]
        for a in range(m):
            u = tile[rights + a][:n]
            for b in range(n):
                squares[b] += 0.5 * u[b] * u[b]
        for a in range(0, m - 1, 2):  # the product of two pivots lies within range
            x, y = tile[a * (a + 3) // 2][:n], tile[(a + 1) * (a + 4) // 2][:n]
            for b in range(n):
                squares[b] += log2(x[b] * y[b])
        if m % 2 == 1:
            x = tile[(m - 1) * (m + 2) // 2][:n]
            for b in range(n):
                squares[b] += log2(x[b])
        own = work.lw[k, start : start + n]
        for b in range(n):
            own[b] += squares[b]


@kernel
def draw_each(latent: Latent, p: int, room: Room, width: int, index: IntArray, start: int, work: Workspace) -> None:
    """:func:`gibbs_gmm.kernels.sampler.latent_rows.draw_rows` of the same."""
    wide_vectors()
    V, tile, D, n, kind = room.precision, room.tile, room.one.shape[0], index.shape[0], latent.first[p]
    m, columns, label = latent.size[kind], latent.columns[kind], work.label[start : start + n]
    triangle, rights = m * (m + 1) // 2, m * (m + 3) // 2 + 1
    _load_noise(latent, m, columns, index, tile)
    for a in range(m):
        row, first = columns[a] * D * width, a * (a + 1) // 2
        for c in range(a + 1):
            out, place = tile[first + c][:n], row + columns[c] * width
            for b in range(n):
                out[b] = V[place + label[b]]
        noise, u, place = tile[triangle + 1 + a][:n], tile[rights + a][:n], columns[a] * width
        for b in range(n):
            out[b] += noise[b]
            u[b] = -room.shift[place + label[b]]
        for j in range(D):
            x, place = room.Xt[j, start : start + n], row + j * width
            for b in range(n):
                u[b] += V[place + label[b]] * x[b]
    factorise_tile(m, n, tile)
    _solve(m, n, tile)
    for a in range(m - 1, -1, -1):
        u, normal = tile[rights + a][:n], room.normals[a][:n]
        for b in range(n):
            normal[b] -= u[b]
        for r in range(a + 1, m):
            factor, after = tile[r * (r + 1) // 2 + a][:n], room.normals[r][:n]
            for b in range(n):
                normal[b] -= factor[b] * after[b]
        factor = tile[a * (a + 3) // 2][:n]
        for b in range(n):
            normal[b] *= factor[b]
