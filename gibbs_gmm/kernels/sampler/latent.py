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

So a row pays for the columns that it lacks. Rows that lack the same ones are worked on together
(:mod:`gibbs_gmm.kernels.sampler.latent_order`). What is random depends on the number of a row in the data, not on where
it lies.
"""

import math

import numpy as np

from gibbs_gmm.kernels._jit import allocating_kernel, kernel
from gibbs_gmm.kernels._records import kept
from gibbs_gmm.kernels.families.generic import Statistics, accumulate, clear, flush, log_weights
from gibbs_gmm.kernels.normals import fill_normals
from gibbs_gmm.kernels.random import mix
from gibbs_gmm.kernels.sampler.label_pass import (
    apply_slice,
    draw_labels,
    keep_to_tags,
    log_likelihood,
    sum_weights,
)
from gibbs_gmm.kernels.sampler.latent_factors import fill_table, new_room, set_precisions, width_for
from gibbs_gmm.kernels.sampler.latent_groups import draw_alike, draw_each, weigh_alike, weigh_each
from gibbs_gmm.kernels.sampler.latent_order import end_of_block, sort_rows
from gibbs_gmm.kernels.sampler.latent_rows import draw_rows, weigh_rows
from gibbs_gmm.kernels.sampler.state import N_COMPONENTS, Data, Latent, Room, State
from gibbs_gmm.kernels.simd import LANES, wide_vectors
from gibbs_gmm.kernels.tile import LOG2_E, TILE, Workspace, new_workspace
from gibbs_gmm.kernels.types import IntArray

_OTHER = np.uint64(0xD1B54A32D192ED03)  # makes a key for values of one for labels


@kernel
def _load(data: Data, index: IntArray, work: Workspace) -> None:
    """The rows ``index`` of X into the tile, by rows and columns, with what was measured in place of true values.

    Places without a row (-1) and beyond them have some row's numbers.
    """
    latent, rows, loc, D = data.latent, work.rows, data.loc, work.Xt.shape[0]
    for b in range(index.shape[0]):
        x, row = data.X[np.uint64(max(index[b], 0))], rows[b]
        for d in range(D):
            row[d] = x[d] - loc[d]
    if latent.recorded.shape[0] > 0:
        for b in range(index.shape[0]):
            i = max(index[b], 0)
            g = latent.group[i]
            for a in range(latent.size[g] if g >= 0 else 0):
                d = latent.columns[g, a]
                x = latent.recorded[i, d]
                if x == x:
                    rows[b, d] = x - loc[d]
    for b in range(index.shape[0], TILE):
        for d in range(D):
            rows[b, d] = 0.0
    for d in range(D):
        for b in range(TILE):
            work.Xt[d, b] = rows[b, d]


@kernel
def _end_of_part(part: IntArray, start: int, size: int) -> int:
    """Where the part of the place ``start`` of a tile ends, which has ``size`` places."""
    end = start + LANES
    while end < size and part[end // LANES] == part[start // LANES]:
        end += LANES
    return end


@kernel
def _weigh(
    latent: Latent, room: Room, K: int, width: int, ready: int, index: IntArray, part: IntArray, work: Workspace
) -> None:
    """Lw[k, b] += what makes the density of row b, as it is filled in, that of what was observed; top[b] follows."""
    kinds, sets, size, top, start = min(ready, latent.shared[1]), latent.shared[2], index.shape[0], work.top, 0
    while start < size:
        end, p = _end_of_part(part, start, size), part[start // LANES]
        if 0 < p <= kinds:
            weigh_alike(latent, p - 1, room, K, start, end, work)
        elif kinds < p <= kinds + sets:
            weigh_each(latent, p - kinds - 1, room, K, width, index[start:end], start, work)
        elif p > 0:
            weigh_rows(latent, room, K, width, ready, index[start:end], start, work)
        start = end
    for b in range(TILE):
        top[b] = work.lw[0, b]
    for k in range(1, K):
        for b in range(TILE):
            top[b] = work.lw[k, b] if work.lw[k, b] > top[b] else top[b]


@kernel
def _draw(
    data: Data,
    room: Room,
    width: int,
    ready: int,
    key: np.uint64,
    index: IntArray,
    part: IntArray,
    work: Workspace,
) -> None:
    """v_l | label, observed, from normals of (key, row, which of its columns): into the tile's rows and the chain's."""
    latent, rows, D = data.latent, work.rows, room.one.shape[0]
    kinds, sets, size, noise, start = min(ready, latent.shared[1]), latent.shared[2], index.shape[0], LOG2_E**0.5, 0
    while start < size:
        end, p = _end_of_part(part, start, size), part[start // LANES]
        own, most = index[start:end], 0
        for s in range(end - start if p > 0 else 0):
            most = max(most, latent.size[latent.group[own[s]]] if own[s] >= 0 else 0)
        fill_normals(key, own, most, D, noise, room.normals)
        if 0 < p <= kinds:
            draw_alike(latent, p - 1, room, start, end, work)
        elif kinds < p <= kinds + sets:
            draw_each(latent, p - kinds - 1, room, width, own, start, work)
        elif p > 0:
            draw_rows(latent, room, width, ready, own, start, work)
        for s in range(end - start if p > 0 else 0):
            if own[s] >= 0:
                g, b = latent.group[own[s]], start + s
                for a in range(latent.size[g]):
                    d = latent.columns[g, a]
                    value = rows[b, d] + room.normals[a, s] + data.loc[d]
                    latent.values[own[s], d] = value
                    rows[b, d] = value - data.loc[d]
        start = end


@kernel
def _close_up(index: IntArray, work: Workspace) -> int:
    """Rows from the end of the tile, and their labels, to places without a row; returns how many rows there are."""
    size = index.shape[0]
    for b in range(size):
        if index[b] < 0:
            while size > b and index[size - 1] < 0:
                size -= 1
            if size <= b:
                break
            size -= 1
            work.label[b] = work.label[size]
            for d in range(work.Xt.shape[0]):
                work.rows[b, d] = work.rows[size, d]
    return size


@kernel
def _sum_log_likelihood(index: IntArray, work: Workspace) -> float:
    """:func:`log_likelihood` of places with rows."""
    for b in range(index.shape[0]):
        if index[b] < 0:
            work.top[b], work.total[b] = 0.0, 1.0
    return float(log_likelihood(index.shape[0], work.top, work.total))


@kernel
def _name_rows(index: IntArray, work: Workspace) -> None:
    """work.row <- the rows whose uniforms are used, any where there is none."""
    for b in range(TILE):
        work.row[b] = max(index[b], 0) if b < index.shape[0] else 0


@kernel
def _slice(state: State, index: IntArray, work: Workspace) -> None:
    """:func:`apply_slice` of the rows, by their current labels."""
    K = state.size[N_COMPONENTS]
    for b in range(index.shape[0]):
        work.label[b] = state.z[index[b]] if index[b] >= 0 else 0
    apply_slice(work.every[:K], math.exp(state.log_w[K]), state.key[1], index.shape[0], work)


@kernel
def _work_on_tile(
    data: Data,
    state: State,
    sliced: bool,
    work: Workspace,
    room: Room,
    ready: int,
    index: IntArray,
    part: IntArray,
    statistics: Statistics,
) -> float:
    """Labels, latent values and statistics of the rows ``index``, whose places are in these parts; returns their log
    likelihood in base 2."""
    wide_vectors()
    K, total, tagged, tags = state.size[N_COMPONENTS], 0.0, data.tags.shape[0] > 0, room.tags[: index.shape[0]]
    width, latent = width_for(K), part[(index.shape[0] - 1) // LANES] > 0
    _load(data, index, work)
    _name_rows(index, work)
    if latent:  # densities may overwrite work.Xt
        for d in range(room.Xt.shape[0]):
            for b in range(TILE):
                room.Xt[d, b] = work.Xt[d, b]
    log_weights(state.components, K, work)
    if latent:
        _weigh(data.latent, room, K, width, ready, index, part, work)
    if tagged:
        for b in range(index.shape[0]):
            tags[b] = data.tags[index[b]] if index[b] >= 0 else -1
        keep_to_tags(tags, K, work)
    if sliced:
        sum_weights(K, work)
        total = _sum_log_likelihood(index, work)
        _slice(state, index, work)
        if tagged:
            keep_to_tags(tags, K, work)
    draw_labels(K, state.key[0], work)
    for b in range(index.shape[0]):
        if index[b] >= 0:
            state.z[np.uint64(index[b])] = work.label[b]
    if latent:
        _draw(data, room, width, ready, mix(state.key[0] ^ _OTHER), index, part, work)
    if not sliced:
        total = _sum_log_likelihood(index, work)
    accumulate(state.components, _close_up(index, work), work, statistics)
    return total


@kernel
def _latent_pass(data: Data, state: State, sliced: bool, work: Workspace, room: Room, first: int, last: int) -> None:
    """:func:`gibbs_gmm.kernels.sampler.sweep.label_pass` where rows have latent values, which are drawn too."""
    wide_vectors()
    latent, N, K, n_cut = data.latent, data.X.shape[0], state.size[N_COMPONENTS], state.shard_log_likelihood.shape[0]
    width = width_for(K)
    set_precisions(state, K, width, room)
    ready = fill_table(latent, room, K, width)
    if sliced:
        for k in range(K):
            work.weight[k] = math.exp(state.log_w[k])
    for shard in range(first, last):
        statistics = Statistics(state.shards.n[shard], state.shards.block[shard])
        clear(statistics, K)
        total, start, end = 0.0, shard * N // n_cut, (shard + 1) * N // n_cut
        while start < end:
            after = end_of_block(start, end)
            places = sort_rows(latent, min(ready, latent.shared[1]), start, after, room)
            for place in range(0, places, TILE):
                index, part = room.order[place : min(place + TILE, places)], room.part[place // LANES :]
                total += _work_on_tile(data, state, sliced, work, room, ready, index, part, statistics)
            start = after
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
    _latent_pass(data, state, sliced, kept(new_workspace(K, D)), kept(new_room(data.latent, K, D)), first, last)
