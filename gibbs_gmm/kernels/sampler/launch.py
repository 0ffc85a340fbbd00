"""A launch of a split-merge move, and the pass over the members of two clusters (Jain & Neal 2004, blocked).

A launch is a pair of components with weights, L, whose distribution depends on the two anchors (i, j) and on the set S
of the other members of their clusters, and on nothing else of the partition: starting labels by the nearer anchor, then
``scans`` times parameters given the two groups and labels given the parameters, then parameters once more. L gives each
member of S a probability r_s of either side. A split draws the sides, q = prod r_s; a merge pays q = prod r_s *at the
current labels*. Since L is the same random object in both directions, accepting with

    [p(C')/p(C)] [m(Y_a) m(Y_b) / m(Y_ab)] / q      (split; its inverse for a merge)

is exact with weights, means and covariances integrated out. ``pair_pass`` does all work that grows with N, by
shards.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from gibbs_gmm.kernels._jit import allocating_kernel, kernel, step
from gibbs_gmm.kernels._records import by_address, kept
from gibbs_gmm.kernels.families.generic import (
    Statistics,
    accumulate,
    add_shard,
    ball,
    clear,
    draw_sides,
    flush,
    log_weights,
)
from gibbs_gmm.kernels.random import draw_key, uniform
from gibbs_gmm.kernels.sampler.rows import Rows
from gibbs_gmm.kernels.sampler.state import Data
from gibbs_gmm.kernels.simd import wide_vectors
from gibbs_gmm.kernels.tile import LOG2_E, TILE, Workspace, exp2, load_rows, new_workspace
from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray, LabelArray

NEAREST, DRAW, EVALUATE, WRITE, MERGE = 0, 1, 2, 3, 4
"""What a pass does with the members of S: side of the nearer anchor; drawn sides; the current labels; drawn sides
written into z; the label of side 0 for all."""

MODE, SIDE_0, SIDE_1, ROW_0, ROW_1 = 0, 1, 2, 3, 4
"""Places in ``Pair.task``: one of the above; the labels of both sides; the anchors, which are forced to sides 0 and 1,
or -1 for none."""

NO_ROW = -1


@by_address
class Pair(NamedTuple):
    """What a pass over the members of two clusters needs, and what it leaves.

    components: the two sides, as for the label pass with K = 2. task (5,). key (1,). anchors (2, P): their values.
    groups: the sides' statistics by shard, log_q (shards,) the log2 probability of the labels.
    """

    components: Any
    task: IntArray
    key: AnyArray
    anchors: FloatArray
    groups: Statistics
    log_q: FloatArray


@kernel
def _choose_sides(tags: IntArray, index: IntArray, size: int, z: LabelArray, pair: Pair, work: Workspace) -> float:
    """Sides of the tile's rows, into work.label; returns the log2 probability of all of them (0 for NEAREST).

    Rows of a known kind are on the side of its cluster, like anchors on theirs.
    """
    wide_vectors()
    mode, label_1, i, j = pair.task[MODE], pair.task[SIDE_1], pair.task[ROW_0], pair.task[ROW_1]
    label_0, tagged = pair.task[SIDE_0], tags.shape[0] > 0
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
        if tagged and tags[row] >= 0:
            label[b] = 0 if tags[row] == label_0 else 1
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
def pair_pass(data: Data, z: LabelArray, pair: Pair, work: Workspace, first: int, last: int) -> None:
    """One pass over the members of two clusters in shards first .. last, as ``pair.task`` says."""
    N, shards = data.X.shape[0], pair.log_q.shape[0]
    mode, label_0, label_1 = pair.task[MODE], pair.task[SIDE_0], pair.task[SIDE_1]
    sides = pair.components.log_c.shape[0]  # 2; a literal would have callees compiled a second time
    index = work.members
    for shard in range(first, last):
        statistics = Statistics(pair.groups.n[shard], pair.groups.block[shard])
        clear(statistics, sides)
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
                    load_rows(data.X, data.loc, index, size, work)
                    log_weights(pair.components, sides, work)
                    total += _choose_sides(data.tags, index, size, z, pair, work)
                    if mode == WRITE:
                        for b in range(size):
                            z[index[b]] = label_1 if work.label[b] == 1 else label_0
                    else:
                        accumulate(pair.components, size, work, statistics)
                size = 0
        flush(pair.components, sides, work, statistics)
        pair.log_q[shard] = total


@allocating_kernel
def pair_task(data: Data, z: LabelArray, pair: Pair, first: int, last: int) -> None:
    """:func:`pair_pass` with a workspace of its own: one task of a pass that is spread over threads."""
    pair_pass(data, z, pair, kept(new_workspace(pair.components.log_c.shape[0], data.X.shape[1])), first, last)


@kernel
def reduce_pair(pair: Pair, groups: Statistics) -> float:
    """Sum the shards of a pass in order into ``groups``; returns log q."""
    log_q = 0.0
    for shard in range(pair.log_q.shape[0]):
        log_q += pair.log_q[shard]
        add_shard(groups, pair.groups, shard, groups.n.shape[0])
    return log_q / LOG2_E


@step
def launch(
    prior: Any,
    rng: np.random.Generator,
    data: Data,
    z: LabelArray,
    pair: Pair,
    groups: Statistics,
    scratch: Any,
    scans: int,
    work: Workspace,
    rows: Rows,
) -> bool:
    """A launch from the anchors and labels in ``pair.task``: leaves L in the pair's components. False if it failed."""
    first, shards = 0 * len(pair.task), len(pair.log_q)
    rows.read(data, pair.task[ROW_0:], 2, pair.anchors)
    for k in range(2):
        ball(pair.components, k, pair.anchors[k], data.scale)
    pair.task[MODE] = NEAREST
    for scan in range(scans + 1):
        rows.pair_pass(data, z, pair, work, first, shards)
        reduce_pair(pair, groups)
        if draw_sides(prior, rng, groups, pair.components, scratch) != 0:
            return False
        if scan < scans:
            pair.key[0] = draw_key(rng)
            pair.task[MODE] = DRAW
    return True
