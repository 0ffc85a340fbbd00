"""Split-merge moves: the steps that change how many clusters there are (Jain & Neal 2004, with a blocked launch).

A launch is a pair of components with weights, L, whose distribution depends on the two anchors (i, j) and on the set S
of the other members of their clusters, and on nothing else of the partition: starting labels by the nearer anchor, then
``scans`` times parameters given the two groups and labels given the parameters, then parameters once more. L gives each
member of S a probability r_s of either side. A split draws the sides, q = prod r_s; a merge pays q = prod r_s *at the
current labels*. Since L is the same random object in both directions, accepting with

    [p(C')/p(C)] [m(Y_a) m(Y_b) / m(Y_ab)] / q      (split; its inverse for a merge)

is exact with weights, means and covariances integrated out. ``restricted_shards`` does all work that grows with N, by
shards.
"""

import math
from typing import NamedTuple

import numpy as np

from gibbs_gmm.kernels._jit import allocating_kernel, kernel
from gibbs_gmm.kernels.families.full import Prior, draw_component, noise_exponent, update_posterior
from gibbs_gmm.kernels.linalg import log_diagonal
from gibbs_gmm.kernels.random import draw_log_gamma, uniform
from gibbs_gmm.kernels.sampler.label_pass import (
    LOG2_E,
    TILE,
    Components,
    Statistics,
    Workspace,
    accumulate,
    exp2,
    flush,
    log_weights,
    new_workspace,
)
from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray, LabelArray

NEAREST, DRAW, EVALUATE, WRITE, MERGE = 0, 1, 2, 3, 4
"""What a pass does with the members of S: side of the nearer anchor; drawn sides; the current labels; drawn sides
written into z; label a for all."""


class Pair(NamedTuple):
    """What a pass over the members of two clusters needs, and what it leaves.

    components: the two sides, as for the label pass with K = 2. task (5,): mode, label of side 0, label of side 1, row
    i, row j (the anchors are forced to sides 0 and 1; -1 for none). key (1,). groups: the sides' statistics by shard,
    log_q (shards,) the log2 probability of the labels.
    """

    components: Components
    task: IntArray
    key: AnyArray
    groups: Statistics
    log_q: FloatArray


@kernel
def _load_rows(X: AnyArray, loc: FloatArray, index: IntArray, size: int, work: Workspace) -> None:
    """The rows of X in ``index``, minus loc, into the tile."""
    D = X.shape[1]
    for b in range(TILE):
        for d in range(D):
            work.rows[b, d] = X[index[b], d] - loc[d] if b < size else 0.0
    for d in range(D):
        for b in range(TILE):
            work.Xt[d, b] = work.rows[b, d]


@kernel
def _choose_sides(index: IntArray, size: int, z: LabelArray, pair: Pair, work: Workspace) -> float:
    """Sides of the tile's rows, into work.label; returns the log2 probability of all of them (0 for NEAREST)."""
    mode, label_1, i, j = pair.task[0], pair.task[2], pair.task[3], pair.task[4]
    lw, label, margin, odds, chance = work.lw, work.label, work.top, work.total, work.threshold
    for b in range(TILE):
        margin[b] = lw[1, b] - lw[0, b]
        away = margin[b] if margin[b] < 0.0 else -margin[b]
        odds[b] = exp2(away)  # of the less probable side
        chance[b] = (1.0 if margin[b] >= 0.0 else odds[b]) / (1.0 + odds[b])
    result, product = 0.0, 1.0
    for b in range(size):
        row = index[b]
        if row == i:
            label[b] = 0
            continue
        if row == j:
            label[b] = 1
            continue
        if mode == NEAREST:
            label[b] = 1 if margin[b] > 0.0 else 0
            continue
        if mode == EVALUATE:
            label[b] = 1 if z[row] == label_1 else 0
        else:
            label[b] = 1 if uniform(pair.key[0], row) < chance[b] else 0
        if (label[b] == 1) != (margin[b] >= 0.0):
            result -= abs(margin[b])
        product *= 1.0 + odds[b]  # at most 2^128 in a tile
    return result - math.log2(product)


@kernel
def restricted_shards(
    X: AnyArray, loc: FloatArray, z: LabelArray, pair: Pair, work: Workspace, first: int, last: int
) -> None:
    """One pass over the members of clusters ``task[1]`` and ``task[2]`` in shards first .. last, as ``task`` says."""
    N, shards, P = X.shape[0], pair.log_q.shape[0], work.rows.shape[1]
    mode, label_0, label_1 = pair.task[0], pair.task[1], pair.task[2]
    sides = pair.components.W.shape[0]  # 2; a literal would have callees compiled a second time
    index = work.members
    for shard in range(first, last):
        n, s, S = pair.groups.n[shard], pair.groups.s[shard], pair.groups.S[shard]
        for k in range(sides):
            n[k] = 0.0
            for i in range(P):
                s[k, i] = 0.0
                for j in range(P):
                    S[k, i, j] = 0.0
        total = 0.0
        size = 0
        end = (shard + 1) * N // shards
        for row in range(shard * N // shards, end):
            if z[row] == label_0 or z[row] == label_1:
                index[size] = row
                size += 1
            if size == TILE or (row == end - 1 and size > 0):
                if mode == MERGE:
                    for b in range(size):
                        z[index[b]] = label_0
                else:
                    _load_rows(X, loc, index, size, work)
                    log_weights(sides, pair.components, work)
                    total += _choose_sides(index, size, z, pair, work)
                    if mode == WRITE:
                        for b in range(size):
                            z[index[b]] = label_1 if work.label[b] == 1 else label_0
                    else:
                        accumulate(size, pair.components, work, n, s, S)
                size = 0
        flush(sides, work, n, s, S)
        pair.log_q[shard] = total


@allocating_kernel
def restricted_task(X: AnyArray, loc: FloatArray, z: LabelArray, pair: Pair, first: int, last: int) -> None:
    """:func:`restricted_shards` with a workspace of its own: one task of a pass that is spread over threads."""
    restricted_shards(X, loc, z, pair, new_workspace(pair.components.W.shape[0], X.shape[1]), first, last)


@kernel
def reduce_pair(pair: Pair, groups: Statistics) -> float:
    """Sum the shards of a pass in order into ``groups``; returns log q."""
    P = groups.s.shape[1]
    log_q = 0.0
    for shard in range(pair.log_q.shape[0]):
        log_q += pair.log_q[shard]
        for k in range(2):
            groups.n[k] = (0.0 if shard == 0 else groups.n[k]) + pair.groups.n[shard, k]
            for i in range(P):
                groups.s[k, i] = (0.0 if shard == 0 else groups.s[k, i]) + pair.groups.s[shard, k, i]
                for j in range(P):
                    groups.S[k, i, j] = (0.0 if shard == 0 else groups.S[k, i, j]) + pair.groups.S[shard, k, i, j]
    return log_q / LOG2_E


@kernel
def launch_from_anchors(X: AnyArray, loc: FloatArray, scale: FloatArray, pair: Pair) -> None:
    """Set the pair's components to unit balls (in the columns' scales) about the anchors."""
    D = X.shape[1]
    W, c, log_c, centre = pair.components.W, pair.components.c, pair.components.log_c, pair.components.centre
    for k in range(2):
        row = pair.task[3 + k]
        for i in range(D):
            for j in range(D):
                W[k, i, j] = 0.0
            W[k, i, i] = 1.0 / scale[i]
            centre[k, i] = X[row, i] - loc[i]
            c[k, i] = -W[k, i, i] * centre[k, i]
        log_c[k] = 0.0


@kernel
def draw_launch(
    rng: np.random.Generator,
    prior: Prior,
    groups: Statistics,
    pair: Pair,
    W: FloatArray,
    mu_n: FloatArray,
    Psi_n: FloatArray,
) -> int:
    """Parameters of the two sides given the two groups: the pair's components. Returns 0 or the side that failed + 1.

    The weights are drawn from Beta(1 + n_0, 1 + n_1) whatever the prior of the mixture: a launch may be any function
    of S.
    """
    D = mu_n.shape[0]
    c, log_c, centre = pair.components.c, pair.components.log_c, pair.components.centre
    scale = math.sqrt(LOG2_E)
    for k in range(2):
        update_posterior(prior, groups.n[k], groups.s[k], groups.S[k], centre[k], mu_n, Psi_n)
        if draw_component(rng, mu_n, prior.kappa_0 + groups.n[k], prior.nu_0 + groups.n[k], Psi_n, centre[k], W) != 0:
            return k + 1
        log_c[k] = LOG2_E * (draw_log_gamma(rng, 1.0 + groups.n[k]) + log_diagonal(W) - noise_exponent(prior, W))
        for i in range(D):
            total = 0.0
            for j in range(i + 1):
                pair.components.W[k, i, j] = scale * W[i, j]
                total -= pair.components.W[k, i, j] * centre[k, j]
            c[k, i] = total
    return 0
