"""Rows with latent values one by one: where few lack the same columns, or matrices of errors differ.

All components of a row are worked on together, eight to a vector.
"""

from gibbs_gmm.kernels._jit import kernel
from gibbs_gmm.kernels.sampler.latent_factors import factorise_one, prepare_kind
from gibbs_gmm.kernels.sampler.state import Latent, Room
from gibbs_gmm.kernels.simd import LANES
from gibbs_gmm.kernels.simd_latent import half_squares, solve_row
from gibbs_gmm.kernels.tile import Workspace
from gibbs_gmm.kernels.types import IntArray


@kernel
def weigh_rows(
    latent: Latent, room: Room, K: int, width: int, ready: int, index: IntArray, start: int, work: Workspace
) -> None:
    """lw[k, b] += what makes the density of row b, as it is filled in, that of what was observed.

    index: which rows the places of the tile from ``start`` on hold, -1 for none.
    """
    L, u, spare, V, lw, own = room.table, room.u, room.spare, room.precision, work.lw, 0 * width
    D, P, rows = room.one.shape[0], work.rows.shape[1], work.rows
    for s in range(index.shape[0]):
        if index[s] < 0:
            continue
        b, g = start + s, latent.group[index[s]]
        at, m = room.place[g] if g < ready else own, latent.size[g]
        if g >= ready:
            prepare_kind(latent, g, room, width, at)
        for a in range(m):
            i, row, place = latent.columns[g, a], at + a * (a + 1) // 2 * width, a * width
            for c in range(0, width, LANES):
                solve_row(
                    u, place + c, V, i * D * width + c, rows, b * P, D, room.shift, i * width + c,
                    L, row + c, c, width, a, row + place + c,
                )  # fmt: skip
        for c in range(0, width, LANES):
            half_squares(spare, c, u, c, width, m, L, at + m * (m + 1) // 2 * width + c)
        for k in range(K):
            lw[k, b] += spare[k]


@kernel
def draw_rows(latent: Latent, room: Room, width: int, ready: int, index: IntArray, start: int, work: Workspace) -> None:
    """room.normals[:, s] <- v_l - x0_l of the rows, given their labels, from normals that are there."""
    L, V, v, rows, normals = room.table, room.precision, room.vector, work.rows, room.normals
    D, own = v.shape[0], 0 * width
    for s in range(index.shape[0]):
        if index[s] < 0:
            continue
        b, g = start + s, latent.group[index[s]]
        k, m, at = work.label[b], latent.size[g], room.place[g] if g < ready else own
        if g >= ready:
            line = latent.noise.reshape(-1)[g * latent.noise.shape[1] :][: latent.noise.shape[1]]
            factorise_one(m, latent.columns[g], line, D, V, width, L, k)
        at += k
        for a in range(m):
            i, row = latent.columns[g, a], at + a * (a + 1) // 2 * width
            total, source = -room.shift[i * width + k], i * D * width + k
            for j in range(D):
                total += V[source + j * width] * rows[b, j]
            for r in range(a):
                total -= L[row + r * width] * v[r]
            v[a] = total * L[row + a * width]
        for a in range(m):
            v[a] = normals[a, s] - v[a]
        for a in range(m - 1, -1, -1):
            total = v[a]
            for r in range(a + 1, m):
                total -= L[at + (r * (r + 1) // 2 + a) * width] * v[r]
            v[a] = total * L[at + a * (a + 3) // 2 * width]
        for a in range(m):
            normals[a, s] = v[a]
