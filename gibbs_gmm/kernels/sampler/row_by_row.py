"""Split-merge moves of few rows, allocated one after the other with parameters integrated out (Dahl 2005).

Two anchors begin two sides; the other rows S of their cluster or clusters follow in random order, each to a side with
the odds of its predictive density there given those before it. The order depends on S only, so a split that drew the
sides with probability q and a merge that would have come back to the present ones, at the q *of those*, are each
other's reverse. Here q comes without a parameter drawn from few rows, and is less noisy than with a launch; what it
costs is a triangular solve per row and side and an update of a Cholesky factor per row: these are the moves of clusters
of few rows, as those with a launch (:mod:`moves`) are of clusters of many.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy.special import gammaln

from gibbs_gmm.kernels._jit import kernel
from gibbs_gmm.kernels.families.full import Prior, blur, log_marginal, log_marginal_of, merge_statistics
from gibbs_gmm.kernels.linalg import cholesky, log_diagonal, outer_lower
from gibbs_gmm.kernels.sampler.partition_prior import PROCESS, component_concentration
from gibbs_gmm.kernels.sampler.split_merge import (
    JOIN,
    RESPLIT,
    SPLIT,
    Moves,
    copy_union,
    free_place,
    log_partition_of,
    may_split,
    n_step,
)
from gibbs_gmm.kernels.sampler.state import ALPHA, N_CLUSTERS, N_COMPONENTS, Data, Model, State, current_prior
from gibbs_gmm.kernels.types import FloatArray, IntArray, LabelArray

MOST_ROWS = 1024
"""Rows that a move may have."""

_TYPICAL_COST = 32.0
_SCANNED = 128.0
"""A move may cost as much as this many rows, where finding its rows among N costs as much as N / _SCANNED of them; one
that costs more is made the more rarely. Its rows are the same in both directions, so this changes no ratio."""


class Sides(NamedTuple):
    """Two growing clusters and the rows they are to share.

    L (2, D, D) lower Cholesky factor of Psi_n, mu (2, D), n (2,), log_det (2,) = log|L|, log_c (2,) the constant of the
    predictive density; gap (2, D) = L^-1 (x - mu) of the row x (D,) at hand; rows (limit + 1,), and the side
    (limit,) of each; log_h (limit + 1,) = log Gamma((nu_n + 1)/2) - log Gamma((nu_n + 1 - D)/2) - (D/2) log pi, by n.
    """

    L: FloatArray
    mu: FloatArray
    n: FloatArray
    log_det: FloatArray
    log_c: FloatArray
    gap: FloatArray
    x: FloatArray
    rows: IntArray
    side: IntArray
    log_h: FloatArray


def new_sides(N: int, D: int, nu_0: float) -> Sides:
    """Buffers for clusters of N rows of dimension D, under a prior of nu_0 degrees of freedom."""
    limit = min(N, MOST_ROWS)
    nu = nu_0 + np.arange(limit + 1)
    return Sides(
        L=np.zeros((2, D, D)),
        mu=np.zeros((2, D)),
        n=np.zeros(2),
        log_det=np.zeros(2),
        log_c=np.zeros(2),
        gap=np.zeros((2, D)),
        x=np.zeros(D),
        rows=np.zeros(limit + 1, np.int64),
        side=np.zeros(limit, np.int64),
        log_h=gammaln(0.5 * (nu + 1.0)) - gammaln(0.5 * (nu + 1.0 - D)) - 0.5 * D * np.log(np.pi),
    )


@kernel
def _log_tail(prior: Prior, sides: Sides, k: int) -> float:
    """log(1 + kappa_n/(kappa_n + 1) |L^-1 (x - mu)|^2) at side k.

    The predictive density of x is exp(log_c) times the -(nu_n + 1)/2 power of its argument, a multivariate t (Murphy
    2007), and |Psi_n| grows by that factor when x joins.
    """
    D, L, mu, x, gap = len(sides.x), sides.L[k], sides.mu[k], sides.x, sides.gap[k]
    q = 0.0
    for i in range(D):
        total = x[i] - mu[i]
        for j in range(i):
            total -= L[i, j] * gap[j]
        total /= L[i, i]
        gap[i] = total
        q += total * total
    kappa = prior.kappa_0 + sides.n[k]
    return math.log(1.0 + kappa / (kappa + 1.0) * q)


@kernel
def _add(prior: Prior, sides: Sides, k: int, log_tail: float) -> None:
    """Give x to side k: mu, and L by a rank-one update, Psi_n + kappa_n/(kappa_n + 1) (x - mu)(x - mu)'."""
    D, L, mu, v = len(sides.x), sides.L[k], sides.mu[k], sides.gap[k]
    kappa = prior.kappa_0 + sides.n[k]
    root = math.sqrt(kappa / (kappa + 1.0))
    for i in range(D):
        d = sides.x[i] - mu[i]
        v[i] = root * d
        mu[i] += d / (kappa + 1.0)
    for j in range(D):
        pivot = math.sqrt(L[j, j] * L[j, j] + v[j] * v[j])
        c, s = L[j, j] / pivot, v[j] / L[j, j]
        L[j, j] = pivot
        for i in range(j + 1, D):
            before = v[i]
            v[i] = before - s * L[i, j]
            L[i, j] = c * (L[i, j] + s * before)
            v[i] = v[i] * c
    sides.log_det[k] += 0.5 * log_tail
    sides.n[k] += 1.0
    _set_constant(prior, sides, k)


@kernel
def _set_constant(prior: Prior, sides: Sides, k: int) -> None:
    """log_c of side k as it stands."""
    kappa = prior.kappa_0 + sides.n[k]
    log_h = sides.log_h[int(sides.n[k])]
    sides.log_c[k] = log_h + 0.5 * len(sides.x) * math.log(kappa / (kappa + 1.0)) - sides.log_det[k]


@kernel
def _allocate(
    rng: np.random.Generator,
    data: Data,
    prior: Prior,
    offset: float,
    sides: Sides,
    size: int,
    drawn: bool,
) -> float:
    """Allocate rows 2 .. size to the sides that rows 0 and 1 begin, or follow ``side`` where not drawn; returns log q.

    ``offset`` is added to a side's size in its weight, as the prior of partitions has it.
    """
    D, log_det_0 = len(sides.x), log_diagonal(prior.L_0)
    for k in range(2):
        sides.n[k], sides.log_det[k] = 0.0, log_det_0
        for i in range(D):
            sides.mu[k, i] = prior.mu_0[i]
            for j in range(i + 1):
                sides.L[k, i, j] = prior.L_0[i, j]
        _set_constant(prior, sides, k)
    log_q, q = 0.0, 1.0
    for s in range(size):
        x = data.X[sides.rows[s]]
        for i in range(D):
            sides.x[i] = x[i] - data.loc[i]
        if s < 2:
            sides.side[s] = s
            _add(prior, sides, s, _log_tail(prior, sides, s))
            continue
        tail_0, tail_1 = _log_tail(prior, sides, 0), _log_tail(prior, sides, 1)
        n_0, n_1 = sides.n[0], sides.n[1]
        log_odds = sides.log_c[0] - sides.log_c[1]
        log_odds += 0.5 * ((prior.nu_0 + n_1 + 1.0) * tail_1 - (prior.nu_0 + n_0 + 1.0) * tail_0)
        odds = math.exp(min(max(log_odds, -300.0), 300.0)) * (n_0 + offset) / (n_1 + offset)
        k = sides.side[s]
        if drawn:
            k = 0 if rng.random() * (1.0 + odds) < odds else 1
            sides.side[s] = k
        q *= (odds if k == 0 else 1.0) / (1.0 + odds)
        if q < 1e-100:
            log_q += math.log(q)
            q = 1.0
        _add(prior, sides, k, tail_0 if k == 0 else tail_1)
    return log_q + math.log(q)


@kernel
def _log_marginal_side(prior: Prior, sides: Sides, k: int, Psi_n: FloatArray) -> float:
    """Log marginal of the rows of side k, Psi_n = LL' + nR: rows are allocated by L, without the resolution."""
    outer_lower(sides.L[k], Psi_n)
    for d in range(len(sides.x)):
        Psi_n[d, d] = blur(prior, sides.n[k], d, Psi_n[d, d])
    if cholesky(Psi_n, Psi_n) != 0:
        return np.nan
    return log_marginal_of(prior, len(sides.x), sides.n[k], log_diagonal(Psi_n))


@kernel
def _place(data: Data, state: State, sides: Sides, size: int, side: int, k: int) -> None:
    """Write the rows of a side into cluster k: labels, and statistics about their mean."""
    D, total, centre = data.X.shape[1], state.total, state.components.centre[k]
    total.n[k] = sides.n[side]
    for a in range(D):
        mean = 0.0
        for s in range(size):
            if sides.side[s] == side:
                mean += data.X[sides.rows[s], a] - data.loc[a]
        centre[a] = mean / total.n[k]
        total.s[k, a] = 0.0
        for b in range(a + 1):
            total.S[k, a, b] = 0.0
    for s in range(size):
        if sides.side[s] == side:
            state.z[sides.rows[s]] = k
            for a in range(D):
                d = data.X[sides.rows[s], a] - data.loc[a] - centre[a]
                for b in range(a + 1):
                    total.S[k, a, b] += d * (data.X[sides.rows[s], b] - data.loc[b] - centre[b])


@kernel
def sequential_moves(
    rng: np.random.Generator, data: Data, model: Model, state: State, moves: Moves, sides: Sides, count: int
) -> None:
    """``count`` times :func:`_move`."""
    for _ in range(count):
        _move(rng, data, model, state, moves, sides)


@kernel
def find_members(z: LabelArray, a: int, b: int, rows: IntArray) -> int:
    """Write the rows of clusters a and b, in order, and return how many there are: at most one less than has room."""
    m = 0
    for i in range(z.shape[0]):
        rows[m] = i
        m += 1 if z[i] == a or z[i] == b else 0
    return m


@kernel
def rename(z: LabelArray, was: int, now: int) -> None:
    """Give the rows of one cluster another label."""
    for i in range(z.shape[0]):
        z[i] = now if z[i] == was else z[i]


@kernel
def _move(rng: np.random.Generator, data: Data, model: Model, state: State, moves: Moves, sides: Sides) -> None:
    """Split a random cluster, or merge or re-split a random pair. Leaves p(C, n | X, alpha, Psi_0, kappa_0) invariant.

    A split chooses one of t clusters, of n rows, and an ordered pair of anchors in it: 1/(t n (n - 1)). A merge or
    re-split chooses an ordered pair of clusters and an anchor in each: 1/(t (t - 1) n_a n_b).
    """
    z, total, t, n = state.z, state.total, state.size[N_CLUSTERS], state.size[N_COMPONENTS]
    N, centre, prior = z.shape[0], state.components.centre, current_prior(model, state)
    mu_n, Psi_n, union = moves.mu_n, moves.Psi_n, moves.union
    u, log_u = rng.random(), math.log1p(-rng.random())
    kind = SPLIT if u < 0.4 else (JOIN if u < 0.8 else RESPLIT)
    a, b = int(rng.random() * t), 0
    if kind == SPLIT:
        b, size = a, total.n[a]
        if size < 2.0 or not may_split(model, state):
            return
    else:
        if t == 1:
            return
        b = int(rng.random() * (t - 1))
        b += 1 if b >= a else 0
        size = total.n[a] + total.n[b]
    if size > len(sides.side) or rng.random() * (size + N / _SCANNED) > _TYPICAL_COST:
        return
    moves.counts[1, kind, 0] += 1

    for k in range(t):
        moves.sizes[k] = total.n[k]
    log_ratio = -log_partition_of(model, state, n, t, moves)
    log_ratio -= log_marginal(prior, total.n[a], total.s[a], total.S[a], centre[a], mu_n, Psi_n)
    if kind != SPLIT:
        log_ratio -= log_marginal(prior, total.n[b], total.s[b], total.S[b], centre[b], mu_n, Psi_n)
    if kind == JOIN:
        merge_statistics(
            total.n[a], total.s[a], total.S[a], centre[a], total.n[b], total.s[b], total.S[b], centre[b],
            union.s[0], union.S[0], moves.union_centre,
        )  # fmt: skip
        log_ratio += log_marginal(prior, size, union.s[0], union.S[0], moves.union_centre, mu_n, Psi_n)
        log_ratio -= math.log(size * (size - 1.0) / (t * total.n[a] * total.n[b]))
        moves.sizes[a] = size
        moves.sizes[b] = moves.sizes[t - 1]
        n, t = n - n_step(model), t - 1
        log_ratio += log_partition_of(model, state, n, t, moves)
        if not log_u < log_ratio:  # q is at most 1
            return

    m = find_members(z, a, b, sides.rows)
    if kind != SPLIT:  # the sides as they are, and an anchor of each
        for k in range(2):
            own, s = b if k == 1 else a, k
            left = int(rng.random() * total.n[own])
            while z[sides.rows[s]] != own or left > 0:
                left -= 1 if z[sides.rows[s]] == own else 0
                s += 1
            sides.rows[k], sides.rows[s] = sides.rows[s], sides.rows[k]
    for s in range(0 if kind == SPLIT else 2, m):  # in random order
        other = s + int(rng.random() * (m - s))
        sides.rows[s], sides.rows[other] = sides.rows[other], sides.rows[s]
    for s in range(m):
        sides.side[s] = 0 if z[sides.rows[s]] == a else 1
    offset = -model.weights.discount
    if model.weights.kind != PROCESS:  # here n is that of the clusters merged, in both directions
        offset = component_concentration(model.weights, state.hyper[ALPHA], n)
    if kind != SPLIT:
        log_ratio += _allocate(rng, data, prior, offset, sides, m, False)
    if kind != JOIN:
        log_ratio -= _allocate(rng, data, prior, offset, sides, m, True)
        for k in range(2):
            log_ratio += _log_marginal_side(prior, sides, k, Psi_n)
        if kind == SPLIT:
            b = t
            n, t = n + n_step(model), t + 1
            log_ratio += math.log(size * (size - 1.0) / (t * sides.n[0] * sides.n[1]))
        else:
            log_ratio += math.log(total.n[a] * total.n[b] / (sides.n[0] * sides.n[1]))
        moves.sizes[a], moves.sizes[b] = sides.n[0], sides.n[1]
        log_ratio += log_partition_of(model, state, n, t, moves)
    if not log_u < log_ratio:  # a NaN is refused too
        return

    moves.counts[1, kind, 1] += 1
    state.size[N_COMPONENTS], state.size[N_CLUSTERS] = max(n, t), t
    if kind != JOIN:
        _place(data, state, sides, m, 0, a)
        _place(data, state, sides, m, 1, b)
        return
    for s in range(m):
        z[sides.rows[s]] = a
    if b != t:
        rename(z, t, b)
    copy_union(state, moves, a, size)
    free_place(state, b, t)
