"""Choosing, weighing and carrying out split-merge moves; ``split_merge`` has the launch and its passes over X."""

import math
from typing import Any, NamedTuple

import numpy as np

from gibbs_gmm.kernels._jit import kernel
from gibbs_gmm.kernels.families.full import log_marginal, merge_statistics
from gibbs_gmm.kernels.families.hyperprior import Room
from gibbs_gmm.kernels.random import draw_key
from gibbs_gmm.kernels.sampler.label_pass import Components, Statistics, Workspace
from gibbs_gmm.kernels.sampler.launch import (
    DRAW,
    EVALUATE,
    MERGE,
    NEAREST,
    WRITE,
    Pair,
    draw_launch,
    launch_from_anchors,
    reduce_pair,
)
from gibbs_gmm.kernels.sampler.partition_prior import PROCESS, log_partition
from gibbs_gmm.kernels.sampler.state import ALPHA, N_CLUSTERS, N_COMPONENTS, Data, Model, State, current_prior
from gibbs_gmm.kernels.types import FloatArray, IntArray

SPLIT, JOIN, RESPLIT = 0, 1, 2
_LOG_2 = math.log(2.0)
_REMEMBER_PAIR = 0.1
"""How often a collecting move keeps the components of two neighbouring clusters as a launch."""


class Library(NamedTuple):
    """Launches of accepted splits, collected during warm-up and frozen after it.

    W (L, 2, D, D), c (L, 2, D), log_c (L, 2), centre (L, 2, P): the pair's components; mean (L, D): of the cluster that
    was split; collected (1,): how many were ever kept, the latest L of which are here.
    """

    W: FloatArray
    c: FloatArray
    log_c: FloatArray
    centre: FloatArray
    mean: FloatArray
    collected: IntArray


class Moves(NamedTuple):
    """What split-merge moves need besides the state of their chain.

    pair, groups: the launch at hand and the statistics of its sides. union (1 cluster), union_centre (P,). sizes
    (capacity + 1,), mu_n, Psi_n, W, room, score: scratch. counts (2, 3, 2): proposed
    and accepted splits, merges, re-splits, by launches and row by row.
    rows (1,): rows that passes have read, the measure of cost.
    """

    pair: Pair
    groups: Statistics
    union: Statistics
    union_centre: FloatArray
    sizes: FloatArray
    mu_n: FloatArray
    Psi_n: FloatArray
    W: FloatArray
    room: Room
    score: FloatArray
    counts: IntArray
    rows: IntArray
    library: Library


@kernel
def log_partition_of(model: Model, state: State, n: int, t: int, moves: Moves) -> float:
    """log p(C, n) of the first t of ``moves.sizes``."""
    return log_partition(model.weights, state.hyper[ALPHA], state.z.shape[0], n, t, moves.sizes)


@kernel
def _copy_cluster(
    s: FloatArray, S: FloatArray, centre: FloatArray, to_s: FloatArray, to_S: FloatArray, to_centre: FloatArray
) -> None:
    """Copy the sums, scatter and centre of a cluster."""
    P = centre.shape[0]
    for i in range(P):
        to_centre[i] = centre[i]
        to_s[i] = s[i]
        for j in range(P):
            to_S[i, j] = S[i, j]


@kernel
def copy_union(state: State, moves: Moves, a: int, size: float) -> None:
    """Give cluster a the statistics of the union, of ``size`` rows."""
    total, centre = state.total, state.components.centre
    _copy_cluster(moves.union.s[0], moves.union.S[0], moves.union_centre, total.s[a], total.S[a], centre[a])
    total.n[a] = size


@kernel
def free_place(state: State, b: int, last: int) -> None:
    """Give the last cluster's statistics the place b that a merge has left free."""
    total, centre = state.total, state.components.centre
    if b != last:
        _copy_cluster(total.s[last], total.S[last], centre[last], total.s[b], total.S[b], centre[b])
        total.n[b] = total.n[last]
    total.n[last] = 0.0


@kernel
def n_step(model: Model) -> int:
    """By how much n rises with a split and falls with a merge: unknown n keeps the number of empty components."""
    return 0 if model.weights.known or model.weights.kind == PROCESS else 1


@kernel
def library_place(moves: Moves) -> int:
    """Where the next launch goes; when the library is full, the oldest makes room."""
    place = moves.library.collected[0] % moves.library.mean.shape[0]
    moves.library.collected[0] += 1
    return int(place)


@kernel
def remember_side(moves: Moves, place: int, side: int, components: Components, k: int, share: float) -> None:
    """Keep component k as one side of a launch. share: of the union's observations that are its own."""
    library, D = moves.library, moves.library.mean.shape[1]
    library.log_c[place, side] = components.log_c[k]
    for i in range(components.centre.shape[1]):
        library.centre[place, side, i] = components.centre[k, i]
    for i in range(D):
        library.mean[place, i] = share * components.centre[k, i] + (library.mean[place, i] if side == 1 else 0.0)
        library.c[place, side, i] = components.c[k, i]
        for j in range(D):
            library.W[place, side, i, j] = components.W[k, i, j]


@kernel
def remember_pair(rng: np.random.Generator, data: Data, state: State, moves: Moves) -> None:
    """Keep a random cluster's component and that of the nearest other cluster as a launch."""
    t, n, centre = state.size[N_CLUSTERS], state.total.n, state.components.centre
    D = data.X.shape[1]
    a = int(rng.random() * t)
    b, least = 0, np.inf
    for k in range(t):
        distance = 0.0
        for i in range(D):
            distance += ((centre[k, i] - centre[a, i]) / data.scale[i]) ** 2
        if k != a and distance < least:
            b, least = k, distance
    place = library_place(moves)
    for side in range(2):
        k = b if side == 1 else a
        remember_side(moves, place, side, state.components, k, n[k] / (n[a] + n[b]))


@kernel
def _recall(rng: np.random.Generator, data: Data, moves: Moves, mean: FloatArray) -> None:
    """Draw a launch from the library, the likelier the nearer its cluster's mean lies to ``mean`` (D,) of the union.

    The union is the same before and after a move, so these probabilities cancel.
    """
    library, components, score = moves.library, moves.pair.components, moves.score
    size = min(library.collected[0], library.mean.shape[0])
    D = mean.shape[0]
    total = 0.0
    for m in range(size):
        distance = 0.0
        for i in range(D):
            gap = (library.mean[m, i] - mean[i]) / data.scale[i]
            distance += gap * gap
        total += 1.0 / (0.01 * D + distance) ** 2
        score[m] = total
    u = rng.random() * total
    m = 0
    while m < size - 1 and score[m] <= u:
        m += 1
    for k in range(2):
        components.log_c[k] = library.log_c[m, k]
        for i in range(components.centre.shape[1]):
            components.centre[k, i] = library.centre[m, k, i]
        for i in range(D):
            components.c[k, i] = library.c[m, k, i]
            for j in range(D):
                components.W[k, i, j] = library.W[m, k, i, j]


@kernel
def _lean(pair: Pair, centre: FloatArray, s: FloatArray, n: float, mean: FloatArray) -> float:
    """log2 odds of side 0 at a cluster's mean, which is written to ``mean`` (D,)."""
    D = mean.shape[0]
    W, c, log_c = pair.components.W, pair.components.c, pair.components.log_c
    for i in range(D):
        mean[i] = centre[i] + s[i] / n
    result = log_c[0] - log_c[1]
    for k in range(2):
        for i in range(D):
            y = c[k, i]
            for j in range(i + 1):
                y += W[k, i, j] * mean[j]
            result += (0.5 if k == 1 else -0.5) * y * y
    return result


@kernel
def may_split(model: Model, state: State) -> bool:
    """Whether the prior, and the room there is, allow one more cluster."""
    t = state.size[N_CLUSTERS]
    if t + 1 >= state.log_w.shape[0]:
        return t + 1 == state.log_w.shape[0] and model.weights.known
    if model.weights.kind == PROCESS:
        return True
    after = state.size[N_COMPONENTS] + n_step(model)
    return bool(t + 1 <= after < model.weights.log_p.shape[0] and model.weights.log_p[after] > -np.inf)


@kernel
def split_merge(
    rng: np.random.Generator,
    data: Data,
    model: Model,
    state: State,
    moves: Moves,
    scans: int,
    greedy: bool,
    collect: bool,
    work: Workspace,
    restricted: Any,
) -> bool:
    """One split-merge move. Leaves p(C, n | X, alpha, Psi_0, kappa_0) invariant, unless ``greedy``.

    scans > 0: a launch from two random anchors, i among all rows and j, with equal probability, among the others in its
    cluster or among those outside. In one cluster, they propose to split it; in two, with probability 1/2 each, to
    merge or to re-split them. scans = 0: a launch from the library; a split takes a cluster at random, a merge or
    re-split a pair, so that of t clusters a split has probability 1 / t and its reverse 2 / ((t + 1) t). Of a pair, the
    cluster whose mean leans more to side 0 is taken for it, and a split that would not be reversed so is refused.

    greedy leaves out the proposal's probability: not exact, for warm-up only. Greedy and with scans = 0, it merges a
    pair at random if their marginal likelihood together is better, without reading X. collect keeps accepted launches
    of splits. ``restricted`` makes a pass over X. Returns whether the move was accepted.
    """
    z, total, pair, groups, task = state.z, state.total, moves.pair, moves.groups, moves.pair.task
    first, shards = 0 * len(task), len(pair.log_q)
    t, n = state.size[N_CLUSTERS], state.size[N_COMPONENTS]
    centre, N, D = state.components.centre, data.X.shape[0], data.X.shape[1]
    prior, mu_n, Psi_n = current_prior(model, state), moves.mu_n, moves.Psi_n
    if collect and t > 1 and rng.random() < _REMEMBER_PAIR:
        remember_pair(rng, data, state, moves)

    scan_cost = N / 8.0  # finding the members of a pair among all rows
    u, log_u = rng.random(), math.log1p(-rng.random())
    i, j = -1, -1
    if scans > 0:
        kind = SPLIT if u < 0.5 else (JOIN if u < 0.75 else RESPLIT)
        i = int(rng.random() * N)
        a = int(z[i])
        if (kind == SPLIT and total.n[a] < 2.0) or (kind != SPLIT and t == 1):
            return False
        j = i
        while j == i or (z[j] == a) != (kind == SPLIT):
            j = int(rng.random() * N)
        b = int(z[j])
        # Choosing (i, j): 1/2 / (N (n_a - 1)) for a split, 1/4 / (N (N - n_a)) for the others.
        log_extra = _LOG_2 + math.log((N - total.n[a]) / (total.n[a] + total.n[b] - 1.0)) if kind == JOIN else 0.0
    else:
        kind = JOIN if greedy or 0.45 <= u < 0.9 else (SPLIT if u < 0.45 else RESPLIT)
        if (moves.library.collected[0] == 0 and not greedy) or (t == 1 and kind != SPLIT):
            return False
        a = int(rng.random() * t)
        b = int(rng.random() * (t - 1))
        b += 1 if b >= a else 0
        log_extra = math.log(2.0 / (t + 1.0)) if kind == SPLIT else (math.log(t / 2.0) if kind == JOIN else 0.0)
    if kind == SPLIT:
        b = t
        if total.n[a] < 2.0 or not may_split(model, state):
            return False
    moves.counts[0, kind, 0] += 1

    read = total.n[a]
    for k in range(t):
        moves.sizes[k] = total.n[k]
    log_ratio = -log_partition_of(model, state, n, t, moves)
    log_ratio -= log_marginal(prior, total.n[a], total.s[a], total.S[a], centre[a], mu_n, Psi_n)
    if kind != SPLIT:
        read += total.n[b]
        log_ratio -= log_marginal(prior, total.n[b], total.s[b], total.S[b], centre[b], mu_n, Psi_n)
    if kind == JOIN:
        merge_statistics(
            total.n[a], total.s[a], total.S[a], centre[a], total.n[b], total.s[b], total.S[b], centre[b],
            moves.union.s[0], moves.union.S[0], moves.union_centre,
        )  # fmt: skip
        moves.sizes[a] = read
        moves.sizes[b] = moves.sizes[t - 1]
        n, t = n - n_step(model), t - 1
        log_ratio += log_marginal(prior, read, moves.union.s[0], moves.union.S[0], moves.union_centre, mu_n, Psi_n)
        log_ratio += log_partition_of(model, state, n, t, moves)
        # q is at most 1: most merges are refused here, without a launch or a pass.
        if not log_u < log_ratio + (0.0 if greedy else log_extra):
            return False

    if kind != JOIN or not greedy:
        if scans > 0:
            task[0], task[1], task[2], task[3], task[4] = NEAREST, a, b, i, j
            launch_from_anchors(data.X, data.loc, data.scale, pair)
            for scan in range(scans + 1):
                restricted(data.X, data.loc, z, pair, work, first, shards)
                reduce_pair(pair, groups)
                if draw_launch(rng, prior, groups, pair, moves.W, mu_n, Psi_n) != 0:
                    return False
                if scan < scans:
                    pair.key[0] = draw_key(rng)
                    task[0] = DRAW
            moves.rows[0] += int((read + scan_cost) * (scans + 1))
        else:
            for d in range(D):
                mu_n[d] = (total.n[a] * centre[a, d] + total.s[a, d]) / read
                if kind != SPLIT:
                    mu_n[d] += (total.n[b] * centre[b, d] + total.s[b, d]) / read
            _recall(rng, data, moves, mu_n)
            if kind != SPLIT and _lean(pair, centre[a], total.s[a], total.n[a], mu_n) < _lean(
                pair, centre[b], total.s[b], total.n[b], mu_n
            ):
                a, b = b, a
            task[1], task[2], task[3], task[4] = a, b, i, j
    if kind != SPLIT and not greedy:  # the probability of the current labels
        task[0] = EVALUATE
        restricted(data.X, data.loc, z, pair, work, first, shards)
        log_ratio += reduce_pair(pair, groups)
        moves.rows[0] += int(read + scan_cost)
    if kind != JOIN:
        pair.key[0] = draw_key(rng)
        task[0] = DRAW
        restricted(data.X, data.loc, z, pair, work, first, shards)
        log_q = reduce_pair(pair, groups)
        moves.rows[0] += int(read + scan_cost)
        if groups.n[0] == 0.0 or groups.n[1] == 0.0:
            return False
        side_0, side_1 = pair.components.centre[0], pair.components.centre[1]
        if scans == 0 and _lean(pair, side_0, groups.s[0], groups.n[0], mu_n) < _lean(
            pair, side_1, groups.s[1], groups.n[1], mu_n
        ):
            return False  # the reverse move would take the sides the other way round
        moves.sizes[a], moves.sizes[b] = groups.n[0], groups.n[1]
        if kind == SPLIT:
            n, t = n + n_step(model), t + 1
        for k in range(2):
            side = pair.components.centre[k]
            log_ratio += log_marginal(prior, groups.n[k], groups.s[k], groups.S[k], side, mu_n, Psi_n)
        log_ratio += log_partition_of(model, state, n, t, moves)
        if not greedy:
            log_ratio -= log_q
        if scans > 0 and kind == SPLIT:
            log_extra = math.log((read - 1.0) / (N - groups.n[0])) - _LOG_2
        if scans > 0 and kind == RESPLIT:
            log_extra = math.log((N - total.n[a]) / (N - groups.n[0]))
    if not log_u < log_ratio + (0.0 if greedy else log_extra):  # a NaN is refused too
        return False

    task[0], task[1], task[2], task[3], task[4] = MERGE if kind == JOIN else WRITE, a, b, i, j
    restricted(data.X, data.loc, z, pair, work, first, shards)
    if kind == JOIN and b != t:
        task[1], task[2] = b, t
        restricted(data.X, data.loc, z, pair, work, first, shards)
    if kind == JOIN:
        copy_union(state, moves, a, read)
        free_place(state, b, t)
    else:
        for k in range(2):
            place = b if k == 1 else a
            side = pair.components.centre[k]
            _copy_cluster(groups.s[k], groups.S[k], side, total.s[place], total.S[place], centre[place])
            total.n[place] = groups.n[k]
    state.size[N_COMPONENTS], state.size[N_CLUSTERS] = max(n, t), t
    moves.counts[0, kind, 1] += 1
    if collect and kind == SPLIT:
        place = library_place(moves)
        for k in range(2):
            remember_side(moves, place, k, pair.components, k, groups.n[k] / read)
    return True
