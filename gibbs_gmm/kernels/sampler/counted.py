"""The store of rows that stand for several observations each, all of the same values: counts in place of labels.

The copies of a row are observations with labels of their own, and a partition is one of all copies. Copies of one row
that have the same label cannot be told apart, so that how many of them have each label says all: given the components
these numbers are multinomial, and a proposal that draws one side for each copy draws a binomial number of them. Its
probability is that of the labels of the copies, prod r^c (1 - r)^(n - c), *without* a binomial coefficient. So all of
it has the law of the plain store with every row repeated, at a cost that grows with the rows.

Observations are numbered by rows, those of a row by their labels. The functions are those of
:class:`gibbs_gmm.kernels.sampler.rows.Rows`.
"""

import math
from typing import NamedTuple

import numpy as np

from gibbs_gmm.kernels._jit import allocating_kernel, kernel
from gibbs_gmm.kernels._records import by_address, kept
from gibbs_gmm.kernels.binomial import binomial
from gibbs_gmm.kernels.binomials import DRAWN, FIRST, KEY, SECOND, TRIALS, draw_binomials
from gibbs_gmm.kernels.families.generic import Statistics, add_all_copies, add_copies, clear, log_weights
from gibbs_gmm.kernels.random import subkey, uniform
from gibbs_gmm.kernels.sampler.label_pass import sum_weights
from gibbs_gmm.kernels.sampler.launch import (
    EVALUATE,
    MERGE,
    MODE,
    NEAREST,
    ROW_0,
    ROW_1,
    SIDE_0,
    SIDE_1,
    WRITE,
    Pair,
)
from gibbs_gmm.kernels.sampler.slices_of_copies import draw_sliced_copies, least_of, sort_weights
from gibbs_gmm.kernels.sampler.state import N_COMPONENTS, Data, State, observations_of, rows_of
from gibbs_gmm.kernels.simd import bits_to_float, float_to_bits, wide_vectors
from gibbs_gmm.kernels.tile import LOG2_E, TILE, Workspace, exp2, load_rows, load_tile, log2, log2_1p, new_workspace
from gibbs_gmm.kernels.types import FloatArray, IntArray, LabelArray

_ONE, _BEHIND = np.uint64(1), np.uint64(TILE)

_MINOR = 2.0**-7
"""Expected copies of a row below which a component is a minor one: whether any of these has one is asked once."""


@by_address
class Copies(NamedTuple):
    """In place of labels: how many copies of each row have each label, c (capacity, N), and first (N + 1,).

    Row i has the observations first[i] .. first[i + 1]. A label that is not in use has zeros in c.
    """

    c: IntArray
    first: IntArray


@observations_of.of(Copies)
@kernel
def _observations_of(z: Copies) -> int:
    return int(z.first[z.c.shape[1]])


@rows_of.of(Copies)
@kernel
def _rows_of(z: Copies) -> int:
    return int(z.c.shape[1])


# --- The label pass -------------------------------------------------------------------------------------------------


@kernel
def _log_likelihood(K: int, first: IntArray, start: int, size: int, work: Workspace) -> float:
    """The tile's log likelihood in base 2, sum_b f_b log2 sum_k 2^lw[k, b], f_b the copies of row start + b."""
    result = 0.0
    sum_weights(K, work)
    for b in range(size):
        result += (first[start + b + 1] - first[start + b]) * (work.top[b] + math.log2(work.total[b]))
    return result


@kernel
def _add_weights(K: int, first: IntArray, start: int, size: int, work: Workspace) -> float:
    """lw[k, b] <- 2^(lw[k, b] - top[b]); returns what :func:`_log_likelihood` does.

    work.q gets the copies of the tile's rows, work.total the sum over the minor components, of which no copy is
    expected (:data:`_MINOR`), and work.pending the sums over the others from k on; behind them, which of the others is
    the first from k on, K where there is none.
    """
    wide_vectors()
    lw, top, minor, major, copies, next_one = work.lw, work.top, work.total, work.threshold, work.q, work.acc[0]
    tail = work.pending.reshape(work.pending.shape[0], -1)
    for b in range(TILE):
        copies[b], minor[b], major[b], next_one[b] = 0.0, 0.0, 0.0, float(K)
    for b in range(size):
        copies[b] = float(first[start + b + 1] - first[start + b])
    for k in range(K):  # loops of few arrays each: one of all of them does not vectorise
        for b in range(TILE):
            lw[k, b] = exp2(lw[k, b] - top[b])
    for k in range(K):
        for b in range(TILE):
            minor[b] += lw[k, b] if lw[k, b] * copies[b] < _MINOR else 0.0
    for i in range(K):
        k = K - 1 - i
        for b in range(TILE):
            major[b] += 0.0 if lw[k, b] * copies[b] < _MINOR else lw[k, b]
            tail[k, b] = major[b]
    for i in range(K):
        k = K - 1 - i
        for b in range(TILE):
            next_one[b] = next_one[b] if lw[k, b] * copies[b] < _MINOR else float(k)
            tail[k, TILE + b] = next_one[b]
    for b in range(TILE):
        top[b] = copies[b] * (top[b] + log2(minor[b] + major[b]))
    result = 0.0
    for b in range(size):
        result += top[b]
    return result


@kernel
def _draw_minor(K: int, key: np.uint64, b: int, work: Workspace) -> float:
    """How many copies of the tile's row b go to the minor components together, of which hardly ever any does; it is
    shared among these, whose weights are overwritten by less how many copies they have."""
    lw, copies = work.lw, work.q[b]
    major = work.pending.reshape(work.pending.shape[0], -1)[0, b]
    together = binomial(subkey(key, K), copies, work.total[b], major)
    left = together
    for k in range(K if left > 0.0 else 0):
        if lw[k, b] * copies < _MINOR:
            after, drawn = 0.0, 0.0
            for j in range(k + 1, K):
                after += lw[j, b] if lw[j, b] * copies < _MINOR else 0.0
            if left > 0.0:
                drawn = binomial(subkey(key, K + 1 + k), left, lw[k, b], after)
            lw[k, b] = -drawn  # less than any weight
            left -= drawn
    return together


@kernel
def _draw_copies(K: int, key: np.uint64, start: int, size: int, work: Workspace) -> None:
    """lw[k, b] <- how many copies of the tile's row b component k has, Multinomial(f_b, weights).

    First how many copies go to the minor components together, then a binomial number to each of the others of what is
    left: for all rows together to the first of theirs, to the second, and so on. work is as :func:`_add_weights` has
    left it.
    """
    wide_vectors()
    lw, left, S, chosen = work.lw, work.threshold, work.scratch, work.label
    own, at, after = work.acc[0], work.acc[1], work.acc[2]  # key; whose turn it is; what the components behind weigh
    tail = work.pending.reshape(work.pending.shape[0], -1)
    for b in range(size):
        own[b] = bits_to_float(subkey(key, start + b))
        S[b] = uniform(subkey(float_to_bits(own[b]), K), 0) + work.q[b] * work.total[b] / (work.total[b] + tail[0, b])
        at[b] = tail[0, TILE + b]
        left[b] = work.q[b]
        chosen[b] = b
    for b in range(size):
        after[b] = tail[np.uint64(at[b]) + _ONE, b] if at[b] < K - 1 else 0.0
        if S[b] > 1.0:  # a uniform above 1 - n p: below it the number is 0
            left[b] -= _draw_minor(K, float_to_bits(own[b]), b, work)
    candidates = size
    while True:
        found = 0
        for s in range(candidates):
            row = np.uint64(chosen[s])
            chosen[np.uint64(found)] = chosen[s]
            found += 1 if left[row] > 0.0 and after[row] > 0.0 else 0
        candidates = found
        if found == 0:
            break
        for s in range(found):
            row = np.uint64(chosen[s])
            S[KEY + s], S[DRAWN + s] = own[row], at[row]
            S[TRIALS + s], S[FIRST + s], S[SECOND + s] = left[row], lw[np.uint64(at[row]), row], after[row]
        for s in range(found):
            S[KEY + s] = bits_to_float(subkey(float_to_bits(S[KEY + s]), int(S[DRAWN + s])))
        draw_binomials(found, work.places, S)
        for s in range(found):
            row, drawn = np.uint64(chosen[s]), S[DRAWN + s]
            one = np.uint64(at[row])
            lw[one, row] = -drawn
            left[row] -= drawn
            at[row] = tail[one + _ONE, _BEHIND + row]
            after[row] = tail[np.uint64(at[row]) + _ONE, row] if at[row] < K - 1 else 0.0
    for b in range(size):
        if left[b] > 0.0:  # all that are left go to the last
            lw[np.uint64(at[b]), b] = -left[b]
    for k in range(K):
        for b in range(TILE):
            lw[k, b] = -lw[k, b] if lw[k, b] < 0.0 else 0.0


@kernel
def label_pass(data: Data, state: State, sliced: bool, work: Workspace, first: int, last: int) -> None:
    """As :func:`gibbs_gmm.kernels.sampler.sweep.label_pass`, for all copies of the rows of shards first .. last."""
    wide_vectors()
    N, K, n_cut = data.X.shape[0], state.size[N_COMPONENTS], state.shard_log_likelihood.shape[0]
    c, components = state.z.c, state.components
    if sliced:
        for k in range(K):
            work.weight[k] = math.exp(state.log_w[k])
        sort_weights(K, work)
    for shard in range(first, last):
        statistics = Statistics(state.shards.n[shard], state.shards.block[shard])
        clear(statistics, K)
        total = 0.0
        end = (shard + 1) * N // n_cut
        for start in range(shard * N // n_cut, end, TILE):
            size = min(TILE, end - start)
            load_tile(data.X, data.loc, start, size, work.Xt, work.rows)
            log_weights(components, K, work)
            if sliced:
                total += _log_likelihood(K, state.z.first, start, size, work)
                draw_sliced_copies(K, math.exp(state.log_w[K]), state.key, components, c, start, size, work, statistics)
                continue
            total += _add_weights(K, state.z.first, start, size, work)
            _draw_copies(K, state.key[0], start, size, work)
            for k in range(K):
                own = c[k, start : start + size]
                for b in range(size):
                    own[b] = int(work.lw[k, b])
            add_all_copies(components, K, size, work, statistics)
        state.shard_log_likelihood[shard] = total / LOG2_E


@allocating_kernel
def label_task(data: Data, state: State, sliced: bool, first: int, last: int) -> None:
    """:func:`label_pass` with a workspace of its own: one task of a pass that is spread over threads."""
    label_pass(data, state, sliced, kept(new_workspace(state.size[N_COMPONENTS], data.X.shape[1])), first, last)


@kernel
def least_slice(z: Copies, w: FloatArray, key: np.uint64, first: int, last: int) -> float:
    """The least of the slices of all copies of these rows; 1 of no rows. A copy with label k has a slice U(0, w_k)."""
    least, left = 1.0, z.first[last] - z.first[first]
    for k in range(z.c.shape[0]):
        if left == 0:
            break
        for i in range(first, last):
            n = z.c[k, i]
            if n > 0:
                left -= n
                least = min(least, w[k] * least_of(uniform(subkey(key, i), k), float(n)))
    return least


# --- The pass over two clusters -------------------------------------------------------------------------------------


@kernel
def _choose_sides(index: IntArray, size: int, z: Copies, pair: Pair, work: Workspace) -> float:
    """lw[k, b] <- how many members of row index[b] side k has; returns the log2 probability of all of them.

    Those of the copies, each with a label: no binomial coefficients. An anchor is a copy whose side is certain.
    """
    task, lw, margin, odds, rest = pair.task, work.lw, work.top, work.total, work.threshold
    S, chosen = work.scratch, work.label
    mode, a, b_ = task[MODE], task[SIDE_0], task[SIDE_1]
    for b in range(TILE):
        margin[b] = lw[1, b] - lw[0, b]
        away = margin[b] if margin[b] < 0.0 else -margin[b]
        odds[b] = exp2(away)  # of the less probable side
        rest[b] = log2_1p(odds[b])
    found = 0
    for b in range(size):
        row = index[b]
        anchor_0, anchor_1 = 1.0 if row == task[ROW_0] else 0.0, 1.0 if row == task[ROW_1] else 0.0
        free = float(z.c[a, row] + z.c[b_, row]) - anchor_0 - anchor_1
        on_1 = 0.0
        if mode == NEAREST:
            on_1 = free if margin[b] > 0.0 else 0.0
        elif mode == EVALUATE:
            on_1 = z.c[b_, row] - anchor_1
        elif free > 0.0:
            leans = margin[b] >= 0.0  # to side 1
            S[KEY + found] = bits_to_float(subkey(pair.key[0], row))
            S[TRIALS + found] = free
            S[FIRST + found], S[SECOND + found] = 1.0 if leans else odds[b], odds[b] if leans else 1.0
            chosen[found] = b
            found += 1
        lw[0, b], lw[1, b] = free, on_1
    draw_binomials(found, work.places, S)
    for s in range(found):
        lw[1, chosen[s]] = S[DRAWN + s]
    result = 0.0
    for b in range(size):
        row, free, on_1 = index[b], lw[0, b], lw[1, b]
        if mode != NEAREST:
            result -= abs(margin[b]) * (free - on_1 if margin[b] >= 0.0 else on_1) + free * rest[b]
        lw[0, b] = free - on_1 + (1.0 if row == task[ROW_0] else 0.0)
        lw[1, b] = on_1 + (1.0 if row == task[ROW_1] else 0.0)
    return result


@kernel
def pair_pass(data: Data, z: Copies, pair: Pair, work: Workspace, first: int, last: int) -> None:
    """As :func:`gibbs_gmm.kernels.sampler.launch.pair_pass`, for all copies of the rows of shards first .. last."""
    N, shards, c = data.X.shape[0], pair.log_q.shape[0], z.c
    mode, a, b_ = pair.task[MODE], pair.task[SIDE_0], pair.task[SIDE_1]
    sides = pair.components.log_c.shape[0]  # 2; a literal would have callees compiled a second time
    index = work.members
    for shard in range(first, last):
        statistics = Statistics(pair.groups.n[shard], pair.groups.block[shard])
        clear(statistics, sides)
        total = 0.0
        size = 0
        end = (shard + 1) * N // shards
        for row in range(shard * N // shards, end):
            if c[a, row] + c[b_, row] > 0:
                index[size] = row
                size += 1
            if size == TILE or (row == end - 1 and size > 0):
                if mode == MERGE:
                    for b in range(size):
                        c[a, index[b]] += c[b_, index[b]]
                        c[b_, index[b]] = 0
                else:
                    load_rows(data.X, data.loc, index, size, work)
                    log_weights(pair.components, sides, work)
                    total += _choose_sides(index, size, z, pair, work)
                    if mode == WRITE:
                        for b in range(size):
                            c[a, index[b]] = int(work.lw[0, b])
                            c[b_, index[b]] = int(work.lw[1, b])
                    else:
                        for b in range(size):
                            for k in range(sides):
                                if work.lw[k, b] > 0.0:
                                    add_copies(pair.components, k, b, work.lw[k, b], work, statistics)
                size = 0
        pair.log_q[shard] = total


@allocating_kernel
def pair_task(data: Data, z: Copies, pair: Pair, first: int, last: int) -> None:
    """:func:`pair_pass` with a workspace of its own: one task of a pass that is spread over threads."""
    pair_pass(data, z, pair, kept(new_workspace(pair.components.log_c.shape[0], data.X.shape[1])), first, last)


# --- Single observations and clusters -------------------------------------------------------------------------------


@kernel
def row(z: Copies, i: int) -> int:
    """See ``Rows``: by bisection."""
    low, high = 0, z.c.shape[1]
    while high - low > 1:
        middle = (low + high) // 2
        if z.first[middle] <= i:
            low = middle
        else:
            high = middle
    return low


@kernel
def label(z: Copies, i: int) -> int:
    """See ``Rows``."""
    own = row(z, i)
    left, k = i - z.first[own], 0
    while left >= z.c[k, own]:
        left -= z.c[k, own]
        k += 1
    return k


@kernel
def partner(rng: np.random.Generator, z: Copies, i: int, a: int, same: bool, outlier: int) -> int:
    """See ``Rows``: the one of a random number among those in question, which are counted row by row.

    (Trials until one is of another cluster would be as many as there are observations where nearly all are of one.)
    """
    N, own, n_a = z.c.shape[1], row(z, i), 0
    for r in range(N):
        n_a += z.c[a, r]
    left = int(rng.random() * (n_a - 1 if same else z.first[N] - n_a))
    r = 0
    while True:
        candidates = z.c[a, r] - (1 if r == own else 0) if same else z.first[r + 1] - z.first[r] - z.c[a, r]
        if left < candidates:
            break
        left -= candidates
        r += 1
    before = 0  # copies of the row that come before those with label a
    for k in range(a):
        before += z.c[k, r]
    if not same:
        return z.first[r] + left + (z.c[a, r] if left >= before else 0)
    j = z.first[r] + before + left
    return j + 1 if r == own and j >= i else j


@kernel
def members(z: Copies, a: int, b: int, rows: IntArray, side: IntArray) -> int:
    """See ``Rows``: a row as often as it has copies there."""
    m = 0
    for i in range(z.c.shape[1]):
        n_0 = z.c[a, i]
        for s in range(n_0 + (z.c[b, i] if b != a else 0)):
            rows[m] = i
            side[m] = 0 if s < n_0 else 1
            m += 1
    return m


@kernel
def assign(z: Copies, rows: IntArray, side: IntArray, size: int, a: int, b: int) -> None:
    """See ``Rows``."""
    for s in range(size):
        z.c[a, rows[s]], z.c[b, rows[s]] = 0, 0
    for s in range(size):
        z.c[a if side[s] == 0 else b, rows[s]] += 1


@kernel
def rename(z: Copies, was: int, now: int) -> None:
    """See ``Rows``."""
    for i in range(z.c.shape[1]):
        z.c[now, i] += z.c[was, i]
        z.c[was, i] = 0


@kernel
def relabel(z: Copies, place: IntArray) -> None:
    """See ``Rows``: a label goes to a place that no other has, or stays."""
    for k in range(place.shape[0]):
        if place[k] != k:
            rename(z, k, place[k])


@kernel
def copy(z: Copies, out: LabelArray) -> None:
    """See ``Rows``: of each row the label that most of its copies have, and of several such labels the first."""
    for i in range(z.c.shape[1]):
        left, most, best = z.first[i + 1] - z.first[i], 0, 0
        for k in range(z.c.shape[0]):
            if left <= most:
                break
            n = z.c[k, i]
            left -= n
            best = k if n > most else best
            most = n if n > most else most
        out[i] = best
