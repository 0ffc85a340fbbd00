"""The label pass of rows that are not known in full: values that are missing, or measured with an error.

Row i has a true value v_i ~ N(mu_k, Sigma_k). Of its columns some are exact; some are measured, x = v + e with e ~ N(0,
E_i), E_i known; and some are missing, which is E = infinity. The true values of a chain are filled in, and everything
but this pass takes them for the data. Here a label is drawn given what was observed, true values integrated out, and
then the true values given the label: together that is the conditional of both given the parameters. The log likelihood
is that of what was observed.

With l the columns that are not exact, Lambda = Sigma_k^-1, Q the inverse of E_i with zeros for missing columns, and x0
the row with what was measured in measured columns and anything in missing ones: P = Lambda_ll + Q, g = [Lambda (x0 -
mu_k)]_l, and

    log N(observed) = log N(x0 | mu_k, Sigma_k) + g' P^-1 g / 2 - log|P| / 2 + a constant of the row,
    v_l | label = k, observed ~ N(x0_l - P^-1 g, P^-1).

So a row pays for the columns that it lacks. All components of a row are worked on together, eight to a vector.
"""

import math

import numpy as np

from gibbs_gmm.kernels._jit import allocating_kernel, kernel
from gibbs_gmm.kernels.families.generic import (
    Statistics,
    accumulate,
    clear,
    flush,
    log_weights,
    precision,
)
from gibbs_gmm.kernels.random import mix, normal
from gibbs_gmm.kernels.sampler.label_pass import apply_slice, draw_labels, log_likelihood, sum_weights
from gibbs_gmm.kernels.sampler.state import N_COMPONENTS, Data, Latent, Room, State
from gibbs_gmm.kernels.simd import LANES, copy_plus, inverse_root, multiply_by, multiply_row, subtract_products
from gibbs_gmm.kernels.tile import LOG2_E, TILE, Workspace, load_tile, log2, new_workspace
from gibbs_gmm.kernels.types import FloatArray

LARGEST_TABLE = 1 << 21
"""Numbers in a table of factors."""

_LEAST_PIVOT = 2.0**-46  # of what a pivot began as: rounding may have taken the rest
_OTHER = np.uint64(0xD1B54A32D192ED03)  # makes a key for values of one for labels


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
        np.zeros((D, D)),
        np.zeros(D),
    )


@kernel
def _set_precisions(state: State, K: int, width: int, room: Room) -> None:
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
def _factorise(latent: Latent, g: int, room: Room, width: int, at: int, first: int, last: int) -> None:
    """The lower Cholesky factors of P for rows of kind g and components first .. last, packed by rows from place ``at``
    of the table, with the inverse of the diagonal on it. first and last are multiples of eight.
    """
    table, columns, noise, D = room.table, latent.columns[g], latent.noise, room.one.shape[0]
    by_column = noise.shape[1] == D
    for a in range(latent.size[g]):
        i, row = columns[a], at + a * (a + 1) // 2 * width
        for b in range(a + 1):
            j, other, place = columns[b], at + b * (b + 1) // 2 * width, row + b * width
            q = 0.0
            if noise.shape[0] > 0 and (a == b or not by_column):
                q = noise[g, i] if by_column else noise[g, i * D + j]
            for c in range(first, last, LANES):
                copy_plus(table, place + c, room.precision, (i * D + j) * width + c, q)
                if a == b:
                    copy_plus(room.spare, c, table, place + c, 0.0)
                subtract_products(table, place + c, table, row + c, table, other + c, width, b)
                if a == b:
                    inverse_root(table, place + c, room.spare, c, _LEAST_PIVOT)
                else:
                    multiply_by(table, place + c, table, other + b * width + c)


@kernel
def _set_constants(latent: Latent, g: int, room: Room, width: int, at: int) -> None:
    """Behind the factors of kind g: its constant, less half of log2|P|.

    Logarithms are taken of the products of two pivots, which lie within range.
    """
    m = latent.size[g]
    out = room.table[at + m * (m + 1) // 2 * width :][:width]
    for k in range(width):
        out[k] = latent.constant[g]
    for a in range(0, m - 1, 2):
        left, right = at + a * (a + 3) // 2 * width, at + (a + 1) * (a + 4) // 2 * width
        x, y = room.table[left : left + width], room.table[right : right + width]
        for k in range(width):
            out[k] += log2(x[k] * y[k])
    if m % 2 == 1:
        left = at + (m - 1) * (m + 2) // 2 * width
        x = room.table[left : left + width]
        for k in range(width):
            out[k] += log2(x[k])


@kernel
def _fill_table(latent: Latent, room: Room, width: int) -> int:
    """The factors of kinds of rows that several rows share, for as many as find room; returns how many."""
    at = factor_size(room.one.shape[0], width)
    for g in range(latent.shared[0]):
        size = factor_size(latent.size[g], width)
        if at + size > room.table.shape[0]:
            return g
        room.place[g] = at
        _factorise(latent, g, room, width, at, 0, width)
        _set_constants(latent, g, room, width, at)
        at += size
    return int(latent.shared[0])


@kernel
def _weigh(latent: Latent, g: int, room: Room, K: int, width: int, at: int, b: int, work: Workspace) -> None:
    """lw[k, b] += what makes the density of the row, as it is filled in, that of what was observed; top[b] follows."""
    table, u, spare, m, D, P = room.table, room.u, room.spare, latent.size[g], room.one.shape[0], work.rows.shape[1]
    end = at + m * (m + 1) // 2 * width
    for c in range(0, width, LANES):
        for a in range(m):
            i, row = latent.columns[g, a], at + a * (a + 1) // 2 * width + c
            place = a * width + c
            multiply_row(
                u, place, room.precision, i * D * width + c, width, work.rows, b * P, D, room.shift, i * width + c
            )
            subtract_products(u, place, table, row, u, c, width, a)
            multiply_by(u, place, table, row + a * width)
        copy_plus(spare, c, table, end + c, 0.0)
        subtract_products(spare, c, u, c, u, c, width, m)  # spare = constant - |u|^2; the constant once more below
    top = -np.inf
    for k in range(K):
        constant = table[end + k]
        value = work.lw[k, b] + constant + 0.5 * (constant - spare[k])
        work.lw[k, b] = value
        top = value if value > top else top
    work.top[b] = top


@kernel
def _draw_values(
    data: Data, room: Room, width: int, at: int, k: int, key: np.uint64, row: int, b: int, work: Workspace
) -> None:
    """v_l | label = k, observed, from normals of (key, row, column): into the tile's row b and the chain's row."""
    latent, table, v, x = data.latent, room.table, room.vector, work.rows[b]
    D, g = v.shape[0], latent.group[row]
    m = latent.size[g]
    for a in range(m):
        i, own = latent.columns[g, a], at + a * (a + 1) // 2 * width + k
        total = -room.shift[i * width + k]
        for j in range(D):
            total += room.precision[(i * D + j) * width + k] * x[j]
        for r in range(a):
            total -= table[own + r * width] * v[r]
        v[a] = total * table[own + a * width]
    for a in range(m):
        v[a] = math.sqrt(LOG2_E) * normal(key, row * D + latent.columns[g, a]) - v[a]
    for a in range(m - 1, -1, -1):
        total = v[a]
        for r in range(a + 1, m):
            total -= table[at + (r * (r + 1) // 2 + a) * width + k] * v[r]
        v[a] = total * table[at + a * (a + 3) // 2 * width + k]
    for a in range(m):
        i = latent.columns[g, a]
        value = x[i] + v[a] + data.loc[i]
        latent.values[row, i] = value
        x[i] = value - data.loc[i]


@kernel
def _load_recorded(data: Data, first: int, size: int, work: Workspace) -> None:
    """What was measured in place of true values, in the tile's rows and columns."""
    latent = data.latent
    for b in range(size):
        g = latent.group[first + b]
        for a in range(latent.size[g] if g >= 0 else 0):
            d = latent.columns[g, a]
            x = latent.recorded[first + b, d]
            if x == x:
                work.rows[b, d] = x - data.loc[d]
                work.Xt[d, b] = work.rows[b, d]


@kernel
def _latent_pass(
    data: Data, state: State, sliced: bool, work: Workspace, room: Room, first: int, last: int
) -> None:
    """:func:`gibbs_gmm.kernels.sampler.sweep.label_pass` where rows have latent values, which are drawn too."""
    latent, N, K = data.latent, data.X.shape[0], state.size[N_COMPONENTS]
    width, n_cut, key = width_for(K), state.shard_log_likelihood.shape[0], mix(state.key[0] ^ _OTHER)
    _set_precisions(state, K, width, room)
    ready, own = _fill_table(latent, room, width), 0 * width
    if sliced:
        for k in range(K):
            work.weight[k] = math.exp(state.log_w[k])
    for shard in range(first, last):
        statistics = Statistics(state.shards.n[shard], state.shards.block[shard])
        clear(statistics, K)
        total = 0.0
        end = (shard + 1) * N // n_cut
        for start in range(shard * N // n_cut, end, TILE):
            size = min(TILE, end - start)
            labels = state.z[start : start + size]
            load_tile(data.X, data.loc, start, size, work.Xt, work.rows)
            if latent.recorded.shape[0] > 0:
                _load_recorded(data, start, size, work)
            log_weights(state.components, K, work)
            for b in range(size):
                g = latent.group[start + b]
                if g >= 0:
                    at = room.place[g] if g < ready else own
                    if g >= ready:
                        _factorise(latent, g, room, width, at, 0, width)
                        _set_constants(latent, g, room, width, at)
                    _weigh(latent, g, room, K, width, at, b, work)
            if sliced:
                sum_weights(K, work)
                total += log_likelihood(size, work)
                apply_slice(K, math.exp(state.log_w[K]), state.key[1], start, labels, work)
            draw_labels(K, state.key[0], start, work)
            for b in range(size):
                k, g = work.label[b], latent.group[start + b]
                labels[b] = k
                if g >= 0:
                    at = room.place[g] if g < ready else own
                    if g >= ready:
                        lane = k // LANES * LANES
                        _factorise(latent, g, room, width, at, lane, lane + LANES)
                    _draw_values(data, room, width, at, k, key, start + b, b, work)
            accumulate(state.components, size, work, statistics)
            if not sliced:
                total += log_likelihood(size, work)
        flush(state.components, K, work, statistics)
        state.shard_log_likelihood[shard] = total / LOG2_E


@kernel
def latent_pass(data: Data, state: State, sliced: bool, work: Workspace, first: int, last: int) -> None:
    """:func:`_latent_pass` with the chain's own room."""
    _latent_pass(data, state, sliced, work, data.latent.room, first, last)


@allocating_kernel
def latent_task(data: Data, state: State, sliced: bool, first: int, last: int) -> None:
    """:func:`latent_pass` with buffers of its own: one task of a pass that is spread over threads."""
    K, D = state.size[N_COMPONENTS], data.X.shape[1]
    _latent_pass(data, state, sliced, new_workspace(K, D), new_room(data.latent, K, D), first, last)


def log_row_constant(missing: FloatArray, measured: FloatArray, log_det: FloatArray) -> FloatArray:
    """The constants of kinds of rows, from how many columns are missing and measured, and log|E|; in base 2."""
    both = (missing + measured) * math.log2(LOG2_E)
    return 0.5 * (both + missing * math.log2(2.0 * math.pi) - LOG2_E * log_det)
