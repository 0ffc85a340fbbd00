"""Split-merge moves of few rows, allocated one after the other with parameters integrated out (Dahl 2005).

Two anchors begin two sides; the other rows S of their cluster or clusters follow in random order, each to a side with
the odds of its predictive density there given those before it. The order depends on S only. A split proposes an
allocation with probability q; the reverse merge is deterministic, and its ratio uses the q that the same procedure
would give to the current allocation. Here q comes without a parameter drawn from few rows, and is less noisy than with
a launch; what it costs is a predictive density per row and side and an update of a cluster per row: these are the moves
of clusters of few rows, as those with a launch (:mod:`split_merge`) are of clusters of many. There are two more manners
of them, whose q is of the same kind:

- from a seed: one row begins a side, some rows near it may follow, and all others are the other side. So clusters of
  few rows, which are what comes and goes in many columns, cost what these few rows cost. The seed is drawn by a law of
  its own, frozen after warm-up: mostly among those from which earlier moves were accepted.
- by a search (Jain & Neal 2004): after the anchors each row begins with the nearer, and all are scanned a few times,
  each given all others; q is that of the last scan. What comes before it depends on S, not on the sides as they are. In
  many columns sides that were drawn without a search are hardly ever right.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from gibbs_gmm.kernels._jit import kernel, step
from gibbs_gmm.kernels._records import by_address
from gibbs_gmm.kernels.families.generic import (
    Family,
    add_row,
    begin,
    copy_cluster,
    draw_shared,
    grow,
    log_marginal_side,
    log_predictive,
    padded,
    resume,
    shrink,
)
from gibbs_gmm.kernels.sampler.launch import NO_ROW
from gibbs_gmm.kernels.sampler.moves import (
    JOIN,
    NONE,
    SPLIT,
    Choice,
    Moves,
    choose_few,
    choose_seeded,
    log_before,
    log_choice_few,
    log_choice_seeded,
    log_merged,
    log_sizes_after,
    settle,
    settle_merge,
    size_after,
    sow,
)
from gibbs_gmm.kernels.sampler.partition_prior import PROCESS, component_concentration
from gibbs_gmm.kernels.sampler.rows import Rows
from gibbs_gmm.kernels.sampler.state import N_CLUSTERS, N_COMPONENTS, Data, Model, State, n_observations, n_rows
from gibbs_gmm.kernels.types import FloatArray, IntArray

ANCHORED, SEEDED, SEARCHED = 0, 1, 2
"""Manners of a move: two anchors begin the sides, and the others follow; a seed begins one side, and all rows but those
near it are the other; or two anchors begin, and rows are scanned until the sides have found themselves."""

MOST_ROWS = 1024
"""Rows that a move may have."""

_MOST_FREE = 16.0
"""The rows near a seed that may follow it are less than these; their logarithm is uniform."""

_SCANS = 5
"""Scans of a search, with the one that counts."""

_TYPICAL_COST = 32.0
_SCANNED = 128.0
_LOOKED_AT = 0.1
"""A move on m rows costs about m + N / _SCANNED row operations, the second term for finding them. It is attempted with
probability min(1, _TYPICAL_COST / cost): m is the same for a move and its reverse, so no ratio changes. Those of a move
from a seed are mostly just looked at."""


@by_address
class Sides(NamedTuple):
    """Two growing clusters and the rows they are to share.

    own: the family's two clusters, of n (2,) rows; rows, side (limit + 1,): numbers of the rows, and the side of each;
    values (limit + 1, P): the rows themselves, minus loc; distance (limit + 1,) of each from the seed; target
    (limit + 1,): sides that a scan is to lead to.
    """

    own: Any
    n: FloatArray
    rows: IntArray
    side: IntArray
    values: FloatArray
    distance: FloatArray
    target: IntArray


def new_sides(family: Family, prior: Any, N: int) -> Sides:
    """Buffers for clusters of N observations under this prior."""
    limit, D = min(N, MOST_ROWS), len(prior.mu_0)
    return Sides(
        own=family.side(prior, limit),
        n=np.zeros(2),
        rows=np.zeros(limit + 1, np.int64),
        side=np.zeros(limit + 1, np.int64),
        values=np.zeros((limit + 1, padded(D))),
        distance=np.zeros(limit + 1),
        target=np.zeros(limit + 1, np.int64),
    )


@kernel
def affordable(rng: np.random.Generator, m: float, state: State, sides: Sides) -> bool:
    """Whether a move on m rows is attempted: there is room for them, and its cost is met by chance."""
    cost = m + n_rows(state) / _SCANNED
    return bool(not (m > len(sides.side) - 1 or rng.random() * cost > _TYPICAL_COST))


@kernel
def exchange(sides: Sides, a: int, b: int) -> None:
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
            exchange(sides, k, s)
    for s in range(0 if choice.kind == SPLIT else 2, m):
        exchange(sides, s, s + int(rng.random() * (m - s)))


@kernel
def _distance(a: FloatArray, b: FloatArray, scale: FloatArray) -> float:
    """Squared distance of two rows in the columns' scales (D,)."""
    total = 0.0
    for d in range(scale.shape[0]):
        gap = (a[d] - b[d]) / scale[d]
        total += gap * gap
    return total


@kernel
def _exchange_values(sides: Sides, a: int, b: int) -> None:
    """:func:`exchange` of rows whose values have been read, and of their distances."""
    exchange(sides, a, b)
    values, distance = sides.values, sides.distance
    distance[a], distance[b] = distance[b], distance[a]
    for d in range(values.shape[1]):
        values[a, d], values[b, d] = values[b, d], values[a, d]


@kernel
def _order_near(rng: np.random.Generator, scale: FloatArray, sides: Sides, m: int, seed: int, free: int) -> None:
    """Put the seed first of the m rows, and then the ``free`` ones nearest to it, in random order."""
    s = 0
    while sides.rows[s] != seed:
        s += 1
    _exchange_values(sides, 0, s)
    distance, far = sides.distance, 0  # far: the place of the farthest of those at hand
    for s in range(1, m):
        distance[s] = _distance(sides.values[s], sides.values[0], scale)
        if s <= free:
            far = s if s == 1 or distance[s] > distance[far] else far
        elif free > 0 and distance[s] < distance[far]:
            _exchange_values(sides, far, s)
            for k in range(1, free + 1):
                far = k if distance[k] > distance[far] else far
    for s in range(1, free + 1):
        _exchange_values(sides, s, s + int(rng.random() * (free + 1 - s)))


@kernel
def _join_side(prior: Any, sides: Sides, s: int, k: int) -> None:
    """Row s begins side k, or joins it whatever its odds."""
    x = sides.values[s, : prior.mu_0.shape[0]]
    log_predictive(prior, sides.own, k, sides.n[k], x)
    grow(prior, sides.own, k, sides.n[k], x)
    sides.n[k] += 1.0
    sides.side[s] = k


@kernel
def _begin_anchors(prior: Any, sides: Sides) -> None:
    """Rows 0 and 1 begin sides 0 and 1."""
    for k in range(2):
        sides.n[k] = 0.0
        begin(prior, sides.own, k)
        _join_side(prior, sides, k, k)


@kernel
def _begin_seed(prior: Any, moves: Moves, sides: Sides, free: int) -> bool:
    """Row 0 begins side 1; side 0 begins as the union, less this row and the ``free`` ones behind it."""
    own, n, D, first = sides.own, sides.n, prior.mu_0.shape[0], 0 * free
    if not resume(prior, moves.union, first, moves.union_centre[0], own, first, moves.scratch):
        return False
    n[0], n[1] = moves.union.n[0], 0.0
    for s in range(free + 1):
        if not shrink(prior, own, first, n[0], sides.values[s, :D]):
            return False
        n[0] -= 1.0
    begin(prior, own, first + 1)
    _join_side(prior, sides, first, first + 1)
    return True


@kernel
def _odds(prior: Any, offset: float, sides: Sides, x: FloatArray) -> float:
    """The odds of side 0 for the row x, which is on neither.

    ``offset`` is added to a side's size in its weight, as the prior of partitions has it.
    """
    own, n, first = sides.own, sides.n, 0 * sides.side.shape[0]
    log_odds = log_predictive(prior, own, first, n[0], x) - log_predictive(prior, own, first + 1, n[1], x)
    return float(math.exp(min(max(log_odds, -300.0), 300.0)) * (n[0] + offset) / (n[1] + offset))


@kernel
def _allocate(
    prior: Any,
    rng: np.random.Generator,
    offset: float,
    sides: Sides,
    first: int,
    last: int,
    tags: IntArray,
    tag: int,
    drawn: bool,
) -> float:
    """Allocate rows first .. last to sides that are begun, or follow ``side`` where not drawn; returns log q.

    Rows that have a tag are on side 0 if it is ``tag``, else on side 1.
    """
    own, n, D = sides.own, sides.n, prior.mu_0.shape[0]
    log_q, q = 0.0, 1.0
    for s in range(first, last):
        x = sides.values[s, :D]
        if tags.shape[0] > 0 and tags[sides.rows[s]] >= 0:
            _join_side(prior, sides, s, 0 if tags[sides.rows[s]] == tag else 1)
            continue
        odds, k = _odds(prior, offset, sides, x), sides.side[s]
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
def _scan(prior: Any, rng: np.random.Generator, offset: float, sides: Sides, m: int, drawn: bool) -> float:
    """Allocate rows 2 .. m anew, each given all others, or as ``target`` says where not drawn; returns log q."""
    own, n, D = sides.own, sides.n, prior.mu_0.shape[0]
    log_q, q = 0.0, 1.0
    for s in range(2, m):
        x, k = sides.values[s, :D], sides.side[s]
        shrink(prior, own, k, n[k], x)
        n[k] -= 1.0
        odds = _odds(prior, offset, sides, x)
        k = (0 if rng.random() * (1.0 + odds) < odds else 1) if drawn else sides.target[s]
        q *= (odds if k == 0 else 1.0) / (1.0 + odds)
        if q < 1e-100:
            log_q += math.log(q)
            q = 1.0
        grow(prior, own, k, n[k], x)
        n[k] += 1.0
        sides.side[s] = k
    return log_q + math.log(q)


@kernel
def _search(
    prior: Any, rng: np.random.Generator, scale: FloatArray, offset: float, sides: Sides, m: int, drawn: bool
) -> float:
    """A launch of Jain & Neal (2004): rows 2 .. m begin with the nearer anchor and are scanned a few times. Then the
    scan that counts, whose log q is returned; where not drawn, it is to lead to the sides as they are now.
    """
    for s in range(m):
        sides.target[s] = sides.side[s]
    _begin_anchors(prior, sides)
    for s in range(2, m):
        nearer = _distance(sides.values[s], sides.values[1], scale) < _distance(sides.values[s], sides.values[0], scale)
        _join_side(prior, sides, s, 1 if nearer else 0)
    log_q = 0.0
    for scan in range(_SCANS):
        log_q = _scan(prior, rng, offset, sides, m, drawn or scan < _SCANS - 1)
    return log_q


@kernel
def settle_side(state: State, sides: Sides, m: int, side: int, k: int) -> None:
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
    rng: np.random.Generator,
    data: Data,
    model: Model,
    state: State,
    moves: Moves,
    sides: Sides,
    manner: int,
    collect: bool,
    rows: Rows,
) -> None:
    """Split a cluster, or merge or re-split a pair, at random. Leaves p(C, n | X, alpha, hyperparameters) invariant."""
    total, t, prior, first = state.total, state.size[N_CLUSTERS], state.prior, 0 * manner
    seeded, searched, seed, free = manner == SEEDED, manner == SEARCHED, NO_ROW, first
    u, log_u = rng.random(), math.log1p(-rng.random())
    if seeded:
        choice, seed = choose_seeded(rng, u, model, state, moves.library, rows)
    else:
        choice = choose_few(rng, u, model, state)
    kind, a, b = choice.kind, choice.a, choice.b
    if kind == NONE:
        return
    n_a, n_b = total.n[a], 0.0 if kind == SPLIT else total.n[b]
    m = int(n_a + n_b)
    cost = (n_a + n_b) * (_LOOKED_AT if seeded else 1.0) + n_rows(state) / _SCANNED
    if m > len(sides.side) - 1 or (not searched and rng.random() * cost > _TYPICAL_COST):
        return
    if seeded:
        free = min(int(_MOST_FREE ** rng.random()) - 1, m - 2)
        if n_b > free + 1.0:  # no move from this seed has led here
            return
    moves.counts[1 + manner, kind, 0] += 1

    log_ratio = -log_before(model, state, moves, choice)
    if kind == JOIN:
        log_ratio += log_merged(model, state, moves, choice)
        log_ratio += log_choice_seeded(kind, t) if seeded else log_choice_few(kind, t, n_a, n_b, 0.0, 0.0)
        if not log_u < log_ratio:  # q is at most 1
            return

    rows.members(state.z, a, a if kind == SPLIT else b, sides.rows, sides.side)
    if not seeded:
        _order(rng, state, choice, sides, m)
        if kind == SPLIT and a < model.weights.tagged and data.tags[sides.rows[1]] >= 0:
            return
    rows.read(data, sides.rows, m, sides.values)
    if seeded:
        _order_near(rng, data.scale, sides, m, seed, free)
        if kind == SPLIT:
            copy_cluster(total, a, state.components.centre[a], moves.union, first, moves.union_centre[0])
        for s in range(free + 1, m):
            if sides.side[s] == 1:
                return
    offset = -model.weights.discount
    if model.weights.kind != PROCESS:  # with n as it is when the two are merged, in both directions
        n = size_after(model, state, kind)[0] if kind == JOIN else state.size[N_COMPONENTS]
        offset = component_concentration(model.weights, state.alpha[0], n)
    begun, last = (1, 1 + free) if seeded else (2, m)
    for drawn in range(2):  # the probability of the current sides, then other sides and theirs
        if (kind == SPLIT and drawn == 0) or (kind == JOIN and drawn == 1):
            continue
        if searched:
            log_q = _search(prior, rng, data.scale, offset, sides, m, drawn == 1)
        else:
            if not seeded:
                _begin_anchors(prior, sides)
            elif not _begin_seed(prior, moves, sides, free):
                return
            log_q = _allocate(prior, rng, offset, sides, begun, last, data.tags, a, drawn == 1)
        log_ratio += log_q if drawn == 0 else -log_q
    if kind != JOIN:
        for k in range(2):
            log_ratio += log_marginal_side(prior, sides.own, k, sides.n[k], moves.scratch)
        log_ratio += log_sizes_after(model, state, moves, choice, sides.n[0], sides.n[1])
        log_ratio += log_choice_seeded(kind, t) if seeded else log_choice_few(kind, t, n_a, n_b, sides.n[0], sides.n[1])
    if not log_u < log_ratio:  # a NaN is refused too
        return

    if kind == JOIN:
        rows.rename(state.z, b, a)
        settle_merge(state, moves, choice, rows)
    else:
        rows.assign(state.z, sides.rows, sides.side, m, a, b)
        for k in range(2):
            settle_side(state, sides, m, k, b if k == 1 else a)
    settle(model, state, moves, 1 + manner, kind)
    if seeded and collect:
        sow(moves.library, seed)


@step
def sequential_moves(
    rng: np.random.Generator,
    data: Data,
    model: Model,
    state: State,
    moves: Moves,
    sides: Sides,
    anchored: int,
    seeded: int,
    searched: int,
    collect: bool,
    rows: Rows,
) -> None:
    """So many times :func:`_move` in each manner, given what all components share, drawn anew.

    Where kinds are known, there are outliers, or rows stand for several observations, with anchors only.
    """
    if draw_shared(state.prior, rng, state.total, state.size[N_CLUSTERS], state.components.centre, moves.scratch) != 0:
        return
    plain = model.weights.tagged == 0 and state.outliers.shape[0] == 0 and n_rows(state) == n_observations(state)
    others = seeded + searched if plain else 0
    for i in range(anchored + others):
        manner = ANCHORED if i < anchored else (SEEDED if i < anchored + seeded else SEARCHED)
        _move(rng, data, model, state, moves, sides, manner, collect, rows)
