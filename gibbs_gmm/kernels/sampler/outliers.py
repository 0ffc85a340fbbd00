"""Outliers: a component of fixed density g for rows of no kind, and moves between it and whole clusters.

A row is an outlier with probability s ~ Beta(a, b), whatever the kinds are; the other rows, N' of them, are partitioned
as the weight prior has it. With m outliers, s integrated out,

    p(outliers, C, n, X) = [B(a + m, b + N')/B(a, b)] g^m p(C, n) prod_c m(Y_c).

Single rows come and go in the label pass. Here a cluster dissolves into outliers, or some of them form a cluster: one
outlier begins it, and the others follow in random order, each into the cluster or not with the odds of its predictive
density there, as in moves of few rows (:mod:`row_by_row`). Either way the rows are those of the cluster and all
outliers, so that the reverse has the same to choose from.
"""

import math
from typing import Any

import numpy as np

from gibbs_gmm.kernels._jit import kernel, step
from gibbs_gmm.kernels.families.generic import (
    begin,
    copy_cluster,
    draw_shared,
    grow,
    log_marginal_side,
    log_marginals,
    log_predictive,
)
from gibbs_gmm.kernels.random import draw_log_gamma
from gibbs_gmm.kernels.sampler.moves import JOIN, SPLIT, Moves, may_split, size_after
from gibbs_gmm.kernels.sampler.partition_prior import PROCESS, component_concentration, log_partition
from gibbs_gmm.kernels.sampler.row_by_row import Sides, affordable, exchange, sequential_moves, settle_side
from gibbs_gmm.kernels.sampler.rows import Rows
from gibbs_gmm.kernels.sampler.state import (
    COUNT,
    LOG_DENSITY,
    LOG_REST,
    LOG_SHARE,
    N_CLUSTERS,
    N_COMPONENTS,
    SHAPE_0,
    SHAPE_1,
    Data,
    Model,
    State,
    n_observations,
    n_outliers,
    outlier_label,
)


@kernel
def draw_share(rng: np.random.Generator, state: State) -> None:
    """s | z ~ Beta(a + m, b + N'), in logarithms; nothing where there are no outliers."""
    outliers = state.outliers
    if outliers.shape[0] == 0:
        return
    x = draw_log_gamma(rng, outliers[SHAPE_0] + n_outliers(state))
    y = draw_log_gamma(rng, outliers[SHAPE_1] + n_observations(state))
    log_total = max(x, y) + math.log1p(math.exp(-abs(x - y)))
    outliers[LOG_SHARE], outliers[LOG_REST] = x - log_total, y - log_total


@kernel
def log_share_prior(state: State) -> float:
    """log density of s as drawn."""
    a, b = state.outliers[SHAPE_0], state.outliers[SHAPE_1]
    result = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    return result + (a - 1.0) * state.outliers[LOG_SHARE] + (b - 1.0) * state.outliers[LOG_REST]


@kernel
def _log_partition(model: Model, state: State, moves: Moves, n: int, t: int, m: float) -> float:
    """log p(outliers, C, n) + m log g with m outliers and clusters of the first t ``moves.sizes``, up to a constant."""
    outliers, rest = state.outliers, state.z.shape[0] - m
    result = log_partition(model.weights, state.alpha[0], int(rest), n, t, moves.sizes) + m * outliers[LOG_DENSITY]
    return result + math.lgamma(outliers[SHAPE_0] + m) + math.lgamma(outliers[SHAPE_1] + rest)


@kernel
def _allocate(
    prior: Any, rng: np.random.Generator, state: State, offset: float, sides: Sides, m: int, scratch: Any, drawn: bool
) -> float:
    """Allocate rows 1 .. m to the cluster that row 0 begins, side 0, or to the outliers, side 1; returns log q.

    Where not drawn, ``side`` is followed. ``offset`` is added to the size of the cluster, as the prior of partitions
    has it.
    """
    own, n, D, first = sides.own, sides.n, prior.mu_0.shape[0], 0 * m
    n[0], n[1] = 0.0, 0.0
    begin(prior, own, first)
    log_q, log_constant = 0.0, 0.0
    for s in range(m):
        x = sides.values[s, :D]
        log_density = log_predictive(prior, own, first, n[0], x)
        if s > 0:
            log_odds = log_density + log_constant - state.outliers[LOG_DENSITY]
            log_odds += math.log((n[0] + offset) / (n[1] + state.outliers[SHAPE_0]))
            log_odds = min(max(log_odds, -300.0), 300.0)
            if drawn:
                sides.side[s] = 0 if rng.random() * (1.0 + math.exp(-log_odds)) < 1.0 else 1
            log_q -= math.log1p(math.exp(-log_odds if sides.side[s] == 0 else log_odds))
        else:
            sides.side[s] = 0
        if sides.side[s] == 0:
            grow(prior, own, first, n[0], x)
        n[sides.side[s]] += 1.0
        if s == 0:  # predictive densities lack a constant, which is the same for all
            log_constant = log_marginal_side(prior, own, first, n[0], scratch) - log_density
    return log_q


@kernel
def _order(rng: np.random.Generator, sides: Sides, m: int, n: float) -> None:
    """Put the m rows in random order, first one of the n on side 0."""
    s, left = 0, int(rng.random() * n)
    while sides.side[s] != 0 or left > 0:
        left -= 1 if sides.side[s] == 0 else 0
        s += 1
    exchange(sides, 0 * m, s)
    for s in range(1, m):
        exchange(sides, s, s + int(rng.random() * (m - s)))


@kernel
def _remove(state: State, b: int) -> bool:
    """Give the last cluster's statistics the place of b; whether there are any to move."""
    total, centre, last = state.total, state.components.centre, state.size[N_CLUSTERS] - 1
    if b != last:
        copy_cluster(total, last, centre[last], total, b, centre[b])
    total.n[last] = 0.0
    return bool(b != last)


@step
def _move(
    rng: np.random.Generator, data: Data, model: Model, state: State, moves: Moves, sides: Sides, rows: Rows
) -> None:
    """Form a cluster of outliers, or dissolve one that is not tagged. Leaves p(outliers, C, n | X, alpha,
    hyperparameters) invariant.

    Forming is chosen with probability 1/2 and each outlier to begin with 1/m; dissolving with 1/2, each cluster with
    1/(t - G), and each of its rows as the one that began it with 1/n_b.
    """
    total, prior, weights, outlier = state.total, state.prior, model.weights, outlier_label(state)
    n, t, G, m = state.size[N_COMPONENTS], state.size[N_CLUSTERS], weights.tagged, state.outliers[COUNT]
    form, u, log_u = rng.random() < 0.5, rng.random(), math.log1p(-rng.random())
    b = t
    if form:
        if m == 0.0 or t == 0 or not may_split(model, state):
            return
    else:
        if t == G or t < 2:
            return
        b = G + int(u * (t - G))
    n_b = 0.0 if form else total.n[b]
    if not affordable(rng, n_b + m, state, sides):
        return
    for k in range(t):
        moves.sizes[k] = total.n[k]
    log_ratio = -_log_partition(model, state, moves, n, t, m)
    count = rows.members(state.z, outlier if form else b, outlier, sides.rows, sides.side)
    _order(rng, sides, count, m if form else n_b)
    rows.read(data, sides.rows, count, sides.values)
    after, t_after = size_after(model, state, SPLIT if form else JOIN)
    offset = -weights.discount
    if weights.kind != PROCESS:  # with n as it is when there are fewer clusters, in both directions
        offset = component_concentration(weights, state.alpha[0], n if form else after)
    log_q = _allocate(prior, rng, state, offset, sides, count, moves.scratch, form)
    n_0 = sides.n[0]
    if form:
        moves.sizes[t] = n_0
        log_ratio += log_marginal_side(prior, sides.own, 0 * t, n_0, moves.scratch) - log_q
        log_ratio += math.log(m / ((t + 1.0 - G) * n_0))
    else:
        moves.sizes[b] = moves.sizes[t - 1]
        log_ratio -= log_marginals(prior, total, b, -1, state.components.centre, moves.scratch) - log_q
        log_ratio -= math.log((m + n_b) / ((t - G) * n_b))
    m += -n_0 if form else n_b
    log_ratio += _log_partition(model, state, moves, after, t_after, m)
    if not log_u < log_ratio:  # a NaN is refused too
        return

    rows.assign(state.z, sides.rows, sides.side, count, b if form else outlier, outlier)
    state.outliers[COUNT] = m
    if form:
        settle_side(state, sides, count, 0 * b, b)
    elif _remove(state, b):
        rows.rename(state.z, t - 1, b)
    state.size[N_COMPONENTS], state.size[N_CLUSTERS] = max(after, t_after), t_after


@step
def moves_with_outliers(
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
    """:func:`sequential_moves`, and as many with anchors between clusters and outliers."""
    sequential_moves(rng, data, model, state, moves, sides, anchored, seeded, searched, collect, rows)
    if draw_shared(state.prior, rng, state.total, state.size[N_CLUSTERS], state.components.centre, moves.scratch) != 0:
        return
    for _ in range(anchored):
        _move(rng, data, model, state, moves, sides, rows)
