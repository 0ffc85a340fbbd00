"""Split-merge moves of many rows: sides are drawn all at once, by a new launch (:mod:`launch`) or a learned one."""

import math
from typing import Any

import numpy as np

from gibbs_gmm.kernels._jit import kernel, step
from gibbs_gmm.kernels.families.generic import copy_cluster, log_marginals, log_odds, recall, set_rest
from gibbs_gmm.kernels.random import draw_key
from gibbs_gmm.kernels.sampler.launch import (
    DRAW,
    EVALUATE,
    MERGE,
    MODE,
    NO_ROW,
    ROW_0,
    ROW_1,
    SIDE_0,
    SIDE_1,
    WRITE,
    launch,
    reduce_pair,
)
from gibbs_gmm.kernels.sampler.moves import (
    JOIN,
    NONE,
    SPLIT,
    Choice,
    Moves,
    choose_anchored,
    choose_learned,
    log_before,
    log_choice_anchored,
    log_choice_learned,
    log_merged,
    log_sizes_after,
    remember,
    remember_pair,
    settle,
    settle_merge,
    tagged_first,
)
from gibbs_gmm.kernels.sampler.rows import Rows
from gibbs_gmm.kernels.sampler.state import N_CLUSTERS, Data, Model, State, n_rows
from gibbs_gmm.kernels.tile import Workspace
from gibbs_gmm.kernels.types import FloatArray

_TIED = 1e-6
"""Difference of leans, log2 odds, below which they are equal up to rounding: clusters of copies of one row."""

_SCANNED = 8.0
"""Rows whose labels are looked at, in order to find the members of a pair, at the cost of one that is read."""


@kernel
def _recall(rng: np.random.Generator, scale: FloatArray, state: State, moves: Moves, mean: FloatArray) -> None:
    """Draw a launch from the library, the likelier the nearer its cluster's mean lies to ``mean`` (D,) of the union.

    The union is the same before and after a move, so these probabilities cancel.
    """
    library, score = moves.library, moves.library.score
    size = min(library.collected[0], library.mean.shape[0])
    D = mean.shape[0]
    total = 0.0
    for m in range(size):
        distance = 0.0
        for i in range(D):
            gap = (library.mean[m, i] - mean[i]) / scale[i]
            distance += gap * gap
        total += 1.0 / (0.01 * D + distance) ** 2
        score[m] = total
    u = rng.random() * total
    m = 0
    while m < size - 1 and score[m] <= u:
        m += 1
    for k in range(2):
        recall(state.prior, library.components, 2 * m + k, moves.pair.components, k)


@kernel
def _lean(components: Any, centre: FloatArray, sums: FloatArray, n: float, mean: FloatArray) -> float:
    """log2 odds of side 0 at a cluster's mean, which is written to ``mean`` (D,)."""
    for i in range(mean.shape[0]):
        mean[i] = centre[i] + sums[i] / n
    return log_odds(components, mean)


@kernel
def _recalled(
    rng: np.random.Generator, scale: FloatArray, state: State, moves: Moves, choice: Choice, tagged: bool
) -> Choice:
    """A launch from the library that suits the union; clusters a and b then change places if b leans more to side 0.

    Of clusters that lean alike none is side 0, and there is no move. A tagged cluster is side 0 or 1 with probability
    1/2, in both directions: a pair is in random order already.
    """
    total, centre, a, b, mean = state.total, state.components.centre, choice.a, choice.b, moves.mean
    n = total.n[a] + (0.0 if choice.kind == SPLIT else total.n[b])
    for d in range(mean.shape[0]):
        mean[d] = (total.n[a] * centre[a, d] + total.block[a, d]) / n
        if choice.kind != SPLIT:
            mean[d] += (total.n[b] * centre[b, d] + total.block[b, d]) / n
    _recall(rng, scale, state, moves, mean)
    if tagged:
        if choice.kind == SPLIT and rng.random() < 0.5:
            a, b = b, a
    elif choice.kind != SPLIT:
        components = moves.pair.components
        lean_a = _lean(components, centre[a], total.block[a], total.n[a], mean)
        lean_b = _lean(components, centre[b], total.block[b], total.n[b], mean)
        if abs(lean_a - lean_b) < _TIED:
            return Choice(NONE, a, b)
        if lean_a < lean_b:
            a, b = b, a
    return Choice(choice.kind, a, b)


@kernel
def _sides_change_places(moves: Moves) -> bool:
    """Whether the reverse of the move would take the sides that were drawn the other way round, or could not tell."""
    groups, components, mean = moves.groups, moves.pair.components, moves.mean
    lean_0 = _lean(components, components.centre[0], groups.block[0], groups.n[0], mean)
    return lean_0 < _lean(components, components.centre[1], groups.block[1], groups.n[1], mean) + _TIED


@step
def _carry_out(
    data: Data, model: Model, state: State, moves: Moves, choice: Choice, work: Workspace, rows: Rows
) -> None:
    """Labels and statistics of an accepted move."""
    pair, groups, total, centre = moves.pair, moves.groups, state.total, state.components.centre
    first, shards = 0 * len(pair.task), len(pair.log_q)
    pair.task[MODE] = MERGE if choice.kind == JOIN else WRITE
    rows.pair_pass(data, state.z, pair, work, first, shards)
    if choice.kind == JOIN:
        settle_merge(state, moves, choice, rows)
    else:
        for k in range(2):
            place = choice.b if k == 1 else choice.a
            copy_cluster(groups, k, pair.components.centre[k], total, place, centre[place])
    settle(model, state, moves, first, choice.kind)


@step
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
    rows: Rows,
) -> bool:
    """One split-merge move. Leaves p(C, n | X, alpha, hyperparameters) invariant, unless ``greedy``.

    scans > 0: clusters by two anchors, and a launch from them. scans = 0: a launch from the library; when two clusters
    are merged or split again, the one whose mean has the higher odds under component 0 is side 0, and a split whose
    reverse would assign the sides the other way round, or could not tell them apart, is refused, so that every move has
    exactly one reverse. (Unless one is tagged: a tag tells them apart.)

    greedy leaves out the proposal's probability: not exact, for warm-up only. Greedy and with scans = 0, it merges a
    pair at random if their marginal likelihood together is better, without reading X. collect keeps accepted launches
    of splits. Returns whether the move was accepted.
    """
    total, pair, groups, task, t = state.total, moves.pair, moves.groups, moves.pair.task, state.size[N_CLUSTERS]
    first, shards = 0 * len(task), len(pair.log_q)
    if collect:
        remember_pair(rng, data.scale, state, moves)
    u, log_u = rng.random(), math.log1p(-rng.random())
    if scans > 0:
        choice = choose_anchored(rng, u, data, model, state, task, rows)
    else:
        if moves.library.collected[0] == 0 and not greedy:
            return False
        task[ROW_0], task[ROW_1] = NO_ROW, NO_ROW
        choice = choose_learned(rng, u, greedy, model, state)
    kind = choice.kind
    if kind == NONE:
        return False
    moves.counts[0, kind, 0] += 1
    n_a, n_b = total.n[choice.a], 0.0 if kind == SPLIT else total.n[choice.b]
    tagged = choice.a < model.weights.tagged or choice.b < model.weights.tagged
    cost = min(n_a + n_b, float(n_rows(state))) + n_rows(state) / _SCANNED  # of one pass, in rows read

    set_rest(state.prior, total, t, state.components.centre, choice.a, choice.b, moves.scratch)
    log_ratio = -log_before(model, state, moves, choice)
    if kind == JOIN:
        log_ratio += log_merged(model, state, moves, choice)
        if not greedy:
            log_choice = log_choice_anchored(kind, state, n_a, n_b, 0.0) if scans > 0 else log_choice_learned(kind, t)
            log_ratio += log_choice
        if not log_u < log_ratio:  # q is at most 1: most merges are refused here, without a launch or a pass
            return False

    if kind != JOIN or not greedy:
        if scans == 0:
            choice = _recalled(rng, data.scale, state, moves, choice, tagged)
            if choice.kind == NONE:
                return False
            n_a = n_a if kind == SPLIT else total.n[choice.a]
        task[SIDE_0], task[SIDE_1] = choice.a, choice.b
        if scans > 0:
            if not launch(state.prior, rng, data, state.z, pair, groups, moves.scratch, scans, work, rows):
                return False
            moves.rows_read[0] += int(cost * (scans + 1))
    if kind != SPLIT and not greedy:  # the probability of the current sides
        task[MODE] = EVALUATE
        rows.pair_pass(data, state.z, pair, work, first, shards)
        log_ratio += reduce_pair(pair, groups)
        moves.rows_read[0] += int(cost)
    if kind != JOIN:
        pair.key[0] = draw_key(rng)
        task[MODE] = DRAW
        rows.pair_pass(data, state.z, pair, work, first, shards)
        log_q = reduce_pair(pair, groups)
        moves.rows_read[0] += int(cost)
        n_0, n_1 = groups.n[0], groups.n[1]
        if n_0 == 0.0 or n_1 == 0.0 or (scans == 0 and not tagged and _sides_change_places(moves)):
            return False
        log_ratio += log_marginals(state.prior, groups, first, first + 1, pair.components.centre, moves.scratch)
        log_ratio += log_sizes_after(model, state, moves, choice, n_0, n_1)
        if not greedy:
            log_ratio -= log_q
            log_choice = log_choice_anchored(kind, state, n_a, n_b, n_0) if scans > 0 else log_choice_learned(kind, t)
            log_ratio += log_choice
    if not log_u < log_ratio:  # a NaN is refused too
        return False

    if kind == JOIN:
        choice = tagged_first(model, choice)
    task[SIDE_0], task[SIDE_1] = choice.a, choice.b
    _carry_out(data, model, state, moves, choice, work, rows)
    if collect and kind == SPLIT:
        remember(moves.library, pair.components, first, first + 1, groups.n[0] / (n_a + n_b))
    return True
