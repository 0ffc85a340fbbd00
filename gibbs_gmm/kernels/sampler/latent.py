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

So a row pays for the columns that it lacks. All components of a row are worked on together, eight to a vector; where
many rows of a tile lack the same one column, these rows are.
"""

import math

import numpy as np

from gibbs_gmm.kernels._jit import allocating_kernel, kernel
from gibbs_gmm.kernels.families.generic import Statistics, accumulate, clear, flush, log_weights
from gibbs_gmm.kernels.random import mix, normal
from gibbs_gmm.kernels.sampler.label_pass import (
    apply_slice,
    draw_labels,
    keep_to_tags,
    log_likelihood,
    sum_weights,
)
from gibbs_gmm.kernels.sampler.latent_factors import (
    WIDEST,
    factorise_one,
    factorise_tile,
    fill_table,
    new_room,
    prepare_kind,
    set_precisions,
    width_for,
)
from gibbs_gmm.kernels.sampler.state import N_COMPONENTS, Data, Latent, Room, State
from gibbs_gmm.kernels.simd import LANES, half_squares, solve_row
from gibbs_gmm.kernels.tile import LOG2_E, TILE, Workspace, load_tile, log2, new_workspace

_MOST_TOGETHER = 4  # sets of columns of which rows are taken together
_LEAST_TOGETHER = 12  # rows of a tile for each column that they lack
_OTHER = np.uint64(0xD1B54A32D192ED03)  # makes a key for values of one for labels


@kernel
def _weigh_together(latent: Latent, p: int, room: Room, K: int, width: int, start: int, work: Workspace) -> None:
    """:func:`_weigh_tile` of the rows of the tile with work.threshold = 1, which lack the same columns, the p-th set.

    Every inner loop runs over the rows of the tile; those with work.threshold = 0 stay.
    """
    Xt, lw, selected, constant, V, tile = work.Xt, work.lw, work.threshold, work.total, room.precision, room.tile
    D, g = room.one.shape[0], latent.first[p]
    m, columns, by_row = latent.size[g], latent.columns[g], latent.noise.shape[0] > 0
    n = m * (m + 1) // 2
    for b in range(TILE):
        constant[b] = 0.0
    for a in range(m if by_row else 0):
        for b in range(TILE):
            tile[n + a, b] = 0.0
            if selected[b] == 1.0:
                own = latent.group[start + b]
                tile[n + a, b] = latent.noise[own, columns[a]]
                constant[b] = latent.constant[own]
    for k in range(K):
        at, squares = room.place[g] + k, work.acc[0]
        if by_row:
            factorise_tile(m, columns, D, V, width, k, tile)
        for b in range(TILE):
            squares[b] = 0.0
        for a in range(m):
            u, row, minus = tile[n + m + a], columns[a] * D * width + k, room.shift[columns[a] * width + k]
            for b in range(TILE):
                u[b] = -minus
            for j in range(0, D - D % 4, 4):
                v0, v1 = V[row + j * width], V[row + (j + 1) * width]
                v2, v3 = V[row + (j + 2) * width], V[row + (j + 3) * width]
                for b in range(TILE):
                    u[b] += v0 * Xt[j, b] + v1 * Xt[j + 1, b] + v2 * Xt[j + 2, b] + v3 * Xt[j + 3, b]
            for j in range(D - D % 4, D):
                v0 = V[row + j * width]
                for b in range(TILE):
                    u[b] += v0 * Xt[j, b]
            first = a * (a + 1) // 2
            for r in range(a):
                before = tile[n + m + r]
                if by_row:
                    factor = tile[first + r]
                    for b in range(TILE):
                        u[b] -= factor[b] * before[b]
                else:
                    v0 = room.table[at + (first + r) * width]
                    for b in range(TILE):
                        u[b] -= v0 * before[b]
            if by_row:
                factor = tile[first + a]
                for b in range(TILE):
                    u[b] *= factor[b]
            else:
                v0 = room.table[at + (first + a) * width]
                for b in range(TILE):
                    u[b] *= v0
            for b in range(TILE):
                squares[b] += u[b] * u[b]
        if by_row:
            for a in range(0, m - 1, 2):
                x, y = tile[a * (a + 3) // 2], tile[(a + 1) * (a + 4) // 2]
                for b in range(TILE):
                    squares[b] += 2.0 * log2(x[b] * y[b])
            if m % 2 == 1:
                x = tile[(m - 1) * (m + 2) // 2]
                for b in range(TILE):
                    squares[b] += 2.0 * log2(x[b])
        else:
            v0 = room.table[at + n * width]
            for b in range(TILE):
                constant[b] = v0
        own_lw = lw[k]
        for b in range(TILE):
            own_lw[b] += selected[b] * (constant[b] + 0.5 * squares[b])


@kernel
def _weigh_tile(
    latent: Latent, room: Room, K: int, width: int, ready: int, start: int, size: int, work: Workspace
) -> None:
    """lw[k, b] += what makes the density of row b, as it is filled in, that of what was observed; top[b] follows.

    work.members has the ``size`` rows that are not exact. They are taken one by one, or together where many lack the
    same columns.
    """
    selected, together, own, top, members = work.threshold, 0, 0 * width, work.top, work.members
    for p in range(min(latent.first.shape[0], _MOST_TOGETHER)):
        g, count = latent.first[p], 0
        shared = latent.noise.shape[0] == 0 and g < ready
        by_row = latent.noise.shape[0] > 0 and latent.noise.shape[1] == room.one.shape[0]
        if latent.size[g] > WIDEST or not (shared or by_row):
            break
        for b in range(TILE):
            selected[b] = 0.0
        for s in range(size):
            if latent.pattern[latent.group[start + members[s]]] == p:
                selected[members[s]] = 1.0
                count += 1
        if count < _LEAST_TOGETHER * latent.size[g]:
            break
        if p == 0:  # Xt may have been overwritten
            for d in range(work.Xt.shape[0]):
                for b in range(TILE):
                    work.Xt[d, b] = work.rows[b, d]
        _weigh_together(latent, p, room, K, width, start, work)
        together += 1
    if together > 0:
        for b in range(TILE):
            top[b] = work.lw[0, b]
        for k in range(1, K):
            for b in range(TILE):
                top[b] = work.lw[k, b] if work.lw[k, b] > top[b] else top[b]
    L, u, spare, V, lw = room.table, room.u, room.spare, room.precision, work.lw
    D, P, rows = room.one.shape[0], work.rows.shape[1], work.rows
    for s in range(size):
        b = members[s]
        g = latent.group[start + b]
        if latent.pattern[g] < together:
            continue
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
        best = -np.inf
        for k in range(K):
            value = lw[k, b] + spare[k]
            lw[k, b] = value
            best = value if value > best else best
        top[b] = best


@kernel
def _draw_tile(
    data: Data, room: Room, width: int, ready: int, key: np.uint64, start: int, size: int, work: Workspace
) -> None:
    """v_l | label, observed, of the ``size`` rows in work.members, from normals of (key, row, column): into the tile's
    rows and the chain's."""
    latent, L, V, v, rows, own = data.latent, room.table, room.precision, room.vector, work.rows, 0 * width
    D, noise = v.shape[0], math.sqrt(LOG2_E)
    for s in range(size):
        b = work.members[s]
        g = latent.group[start + b]
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
            v[a] = noise * normal(key, (start + b) * D + latent.columns[g, a]) - v[a]
        for a in range(m - 1, -1, -1):
            total = v[a]
            for r in range(a + 1, m):
                total -= L[at + (r * (r + 1) // 2 + a) * width] * v[r]
            v[a] = total * L[at + a * (a + 3) // 2 * width]
        for a in range(m):
            i = latent.columns[g, a]
            value = rows[b, i] + v[a] + data.loc[i]
            latent.values[start + b, i] = value
            rows[b, i] = value - data.loc[i]


@kernel
def _find_latent(latent: Latent, start: int, size: int, work: Workspace) -> int:
    """The rows of the tile that are not exact, into work.members; returns how many."""
    found = 0
    for b in range(size):
        work.members[found] = b
        found += 1 if latent.group[start + b] >= 0 else 0
    return found


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
def _latent_pass(data: Data, state: State, sliced: bool, work: Workspace, room: Room, first: int, last: int) -> None:
    """:func:`gibbs_gmm.kernels.sampler.sweep.label_pass` where rows have latent values, which are drawn too."""
    latent, N, K = data.latent, data.X.shape[0], state.size[N_COMPONENTS]
    width, n_cut, key = width_for(K), state.shard_log_likelihood.shape[0], mix(state.key[0] ^ _OTHER)
    set_precisions(state, K, width, room)
    ready, tagged = fill_table(latent, room, width), data.tags.shape[0] > 0
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
            for b in range(TILE):
                work.row[b] = start + b
            if latent.recorded.shape[0] > 0:
                _load_recorded(data, start, size, work)
            log_weights(state.components, K, work)
            some = _find_latent(latent, start, size, work)
            if some > 0:
                _weigh_tile(latent, room, K, width, ready, start, some, work)
            if tagged:
                keep_to_tags(data.tags[start : start + size], K, work)
            if sliced:
                for b in range(size):
                    work.label[b] = labels[b]
                sum_weights(K, work)
                total += log_likelihood(size, work.top, work.total)
                apply_slice(work.every[:K], math.exp(state.log_w[K]), state.key[1], size, work)
                if tagged:
                    keep_to_tags(data.tags[start : start + size], K, work)
            draw_labels(K, state.key[0], work)
            for b in range(size):
                labels[b] = work.label[b]
            if some > 0:
                _find_latent(latent, start, size, work)
                _draw_tile(data, room, width, ready, key, start, some, work)
            accumulate(state.components, size, work, statistics)
            if not sliced:
                total += log_likelihood(size, work.top, work.total)
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
