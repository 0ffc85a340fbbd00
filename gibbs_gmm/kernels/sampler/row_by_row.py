"""Split-merge moves of few rows, allocated one after the other with parameters integrated out (Dahl 2005).

Two anchors begin two sides; the other rows S of their cluster or clusters follow in random order, each to a side with
the odds of its predictive density there given those before it. The order depends on S only. A split proposes an
allocation with probability q; the reverse merge is deterministic, and its ratio uses the q that the same procedure
would give to the current allocation. Here q comes without a parameter drawn from few rows, and is less noisy than with
a launch; what it costs is a predictive density per row and side and an update of a cluster per row: these are the moves
of clusters of few rows, as those with a launch (:mod:`split_merge`) are of clusters of many.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from gibbs_gmm.kernels._jit import kernel, step
from gibbs_gmm.kernels.families.generic import (
    Family,
    add_row,
    begin,
    draw_shared,
    grow,
    log_marginal_side,
    log_predictive,
    padded,
)
from gibbs_gmm.kernels.sampler.moves import (
    JOIN,
    NONE,
    SPLIT,
    Choice,
    Moves,
    choose_few,
    log_before,
    log_choice_few,
    log_merged,
    log_sizes_after,
    settle,
    settle_merge,
    size_after,
)
from gibbs_gmm.kernels.sampler.partition_prior import PROCESS, component_concentration
from gibbs_gmm.kernels.sampler.rows import Rows
from gibbs_gmm.kernels.sampler.state import N_CLUSTERS, N_COMPONENTS, Data, Model, State, n_rows
from gibbs_gmm.kernels.types import FloatArray, IntArray

MOST_ROWS = 1024
"""Rows that a move may have."""

_TYPICAL_COST = 32.0
_SCANNED = 128.0
"""A move on m rows costs about m + N / _SCANNED row operations, the second term for finding them. It is attempted with
probability min(1, _TYPICAL_COST / cost): m is the same for a move and its reverse, so no ratio changes."""


class Sides(NamedTuple):
    """Two growing clusters and the rows they are to share.

    own: the family's two clusters, of n (2,) rows; rows, side (limit + 1,): numbers of the rows, and the side of each;
    values (limit + 1, P): the rows themselves, minus loc.
    """

    own: Any
    n: FloatArray
    rows: IntArray
    side: IntArray
    values: FloatArray


def new_sides(family: Family, prior: Any, N: int) -> Sides:
    """Buffers for clusters of N observations under this prior."""
    limit, D = min(N, MOST_ROWS), len(prior.mu_0)
    return Sides(
        own=family.side(prior, limit),
        n=np.zeros(2),
        rows=np.zeros(limit + 1, np.int64),
        side=np.zeros(limit + 1, np.int64),
        values=np.zeros((limit + 1, padded(D))),
    )


@kernel
def _exchange(sides: Sides, a: int, b: int) -> None:
    """Exchange two rows that are to be shared."""
    rows, side = sides.rows, sides.side
    rows[a], rows[b] = rows[b], rows[a]
    side[a], side[b] = side[b], side[a]


@kernel
def _order(rng: np.random.Generator, state: State, choice: Choice, sides: Sides, m: int) -> None:
    """Put the m rows in random order, the anchors first: any two for a split, else a row of each cluster."""
    if choice.kind != SPLIT:
        for k in range(2):
            s, left = k, int(rng.random() * state.total.n[choice.b if k == 1 else choice.a])
            while sides.side[s] != k or left > 0:
                left -= 1 if sides.side[s] == k else 0
                s += 1
            _exchange(sides, k, s)
    for s in range(0 if choice.kind == SPLIT else 2, m):
        _exchange(sides, s, s + int(rng.random() * (m - s)))


@kernel
def _allocate(prior: Any, rng: np.random.Generator, offset: float, sides: Sides, m: int, drawn: bool) -> float:
    """Allocate rows 2 .. m to the sides that rows 0 and 1 begin, or follow ``side`` where not drawn; returns log q.

    ``offset`` is added to a side's size in its weight, as the prior of partitions has it.
    """
    own, n, D, first = sides.own, sides.n, prior.mu_0.shape[0], 0 * m
    for k in range(2):
        n[k] = 0.0
        begin(prior, own, k)
    log_q, q = 0.0, 1.0
    for s in range(m):
        x, k = sides.values[s, :D], s
        if s < 2:
            log_predictive(prior, own, k, n[k], x)
            sides.side[s] = s
        else:
            log_odds = log_predictive(prior, own, first, n[0], x) - log_predictive(prior, own, first + 1, n[1], x)
            odds = math.exp(min(max(log_odds, -300.0), 300.0)) * (n[0] + offset) / (n[1] + offset)
            k = sides.side[s]
            if drawn:
                k = 0 if rng.random() * (1.0 + odds) < odds else 1
                sides.side[s] = k
            q *= (odds if k == 0 else 1.0) / (1.0 + odds)
            if q < 1e-100:
                log_q += math.log(q)
                q = 1.0
        grow(prior, own, k, n[k], x)
        n[k] += 1.0
    return log_q + math.log(q)


@kernel
def _settle_side(state: State, sides: Sides, m: int, side: int, k: int) -> None:
    """Give cluster k the statistics of the rows of a side, about their mean."""
    D, block, centre, values = state.prior.mu_0.shape[0], state.total.block[k], state.components.centre[k], sides.values
    n = sides.n[side]
    state.total.n[k] = n
    for i in range(block.shape[0]):
        block[i] = 0.0
    for d in range(D):
        total = 0.0
        for s in range(m):
            if sides.side[s] == side:
                total += values[s, d]
        centre[d] = total / n
    for s in range(m):
        if sides.side[s] == side:
            for d in range(D):
                values[s, d] -= centre[d]
            add_row(state.prior, block, values[s])


@step
def _move(
    rng: np.random.Generator, data: Data, model: Model, state: State, moves: Moves, sides: Sides, rows: Rows
) -> None:
    """Split a cluster, or merge or re-split a pair, at random. Leaves p(C, n | X, alpha, hyperparameters) invariant."""
    total, t, prior = state.total, state.size[N_CLUSTERS], state.prior
    u, log_u = rng.random(), math.log1p(-rng.random())
    choice = choose_few(rng, u, model, state)
    kind, a, b = choice.kind, choice.a, choice.b
    if kind == NONE:
        return
    n_a, n_b = total.n[a], 0.0 if kind == SPLIT else total.n[b]
    cost = n_a + n_b + n_rows(state) / _SCANNED
    if n_a + n_b > len(sides.side) - 1 or rng.random() * cost > _TYPICAL_COST:
        return
    moves.counts[1, kind, 0] += 1

    log_ratio = -log_before(model, state, moves, choice)
    if kind == JOIN:
        log_ratio += log_merged(model, state, moves, choice) + log_choice_few(kind, t, n_a, n_b, 0.0, 0.0)
        if not log_u < log_ratio:  # q is at most 1
            return

    m = rows.members(state.z, a, a if kind == SPLIT else b, sides.rows, sides.side)
    _order(rng, state, choice, sides, m)
    rows.read(data, sides.rows, m, sides.values)
    offset = -model.weights.discount
    if model.weights.kind != PROCESS:  # with n as it is when the two are merged, in both directions
        n = size_after(model, state, kind)[0] if kind == JOIN else state.size[N_COMPONENTS]
        offset = component_concentration(model.weights, state.alpha[0], n)
    if kind != SPLIT:
        log_ratio += _allocate(prior, rng, offset, sides, m, False)
    if kind != JOIN:
        log_ratio -= _allocate(prior, rng, offset, sides, m, True)
        for k in range(2):
            log_ratio += log_marginal_side(prior, sides.own, k, sides.n[k], moves.scratch)
        log_ratio += log_choice_few(kind, t, n_a, n_b, sides.n[0], sides.n[1])
        log_ratio += log_sizes_after(model, state, moves, choice, sides.n[0], sides.n[1])
    if not log_u < log_ratio:  # a NaN is refused too
        return

    if kind == JOIN:
        rows.rename(state.z, b, a)
        settle_merge(state, moves, choice, rows)
    else:
        rows.assign(state.z, sides.rows, sides.side, m, a, b)
        for k in range(2):
            _settle_side(state, sides, m, k, b if k == 1 else a)
    settle(model, state, moves, 0 * m + 1, kind)


@step
def sequential_moves(
    rng: np.random.Generator,
    data: Data,
    model: Model,
    state: State,
    moves: Moves,
    sides: Sides,
    count: int,
    rows: Rows,
) -> None:
    """``count`` times :func:`_move`, given what all components share, drawn anew."""
    if draw_shared(state.prior, rng, state.total, state.size[N_CLUSTERS], state.components.centre, moves.scratch) != 0:
        return
    for _ in range(count):
        _move(rng, data, model, state, moves, sides, rows)
