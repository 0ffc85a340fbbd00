"""Labels given weights and densities, a tile at a time: what the label pass does for every family alike."""

import math
from typing import NamedTuple

import numpy as np

from gibbs_gmm.kernels._jit import kernel
from gibbs_gmm.kernels.random import uniform
from gibbs_gmm.kernels.sampler.state import (
    LOG_DENSITY,
    LOG_REST,
    LOG_SHARE,
    N_COMPONENTS,
    State,
    outlier_label,
)
from gibbs_gmm.kernels.simd import LANES, part_of_callers, wide_vectors
from gibbs_gmm.kernels.tile import LOG2_E, NEGLIGIBLE, TILE, Workspace, exp2_of_near
from gibbs_gmm.kernels.types import FloatArray, IntArray


@kernel
def draw_labels(K: int, key: np.uint64, work: Workspace) -> None:
    """label[b] ~ Categorical(2^lw[:, b]) by inversion: count the cumulated weights that lie below u times their total.

    Row work.row[b] uses the uniform of that number. A weight of at most 2^-53 of the row's largest counts as zero, as
    do those of components that a pass leaves out. lw is overwritten by the cumulated weights.
    """
    wide_vectors()
    lw, top, total, threshold, label = work.lw, work.top, work.total, work.threshold, work.label
    for b in range(TILE):
        total[b] = 0.0
    for k in range(K):
        for b in range(TILE):
            x = lw[k, b] - top[b]
            weight = exp2_of_near(x)
            total[b] += weight if x > NEGLIGIBLE else 0.0
            lw[k, b] = total[b]
    for b in range(TILE):
        threshold[b] = uniform(key, work.row[b]) * total[b]
        label[b] = 0
    for k in range(K - 1):
        for b in range(TILE):
            label[b] += 1 if lw[k, b] < threshold[b] else 0


@kernel
def sum_weights(K: int, work: Workspace) -> None:
    """total[b] <- sum_k 2^(lw[k, b] - top[b]), but for negligible weights, for :func:`log_likelihood`."""
    wide_vectors()
    lw, top, total = work.lw, work.top, work.total
    for b in range(TILE):
        total[b] = 0.0
    for k in range(K):
        for b in range(TILE):
            x = lw[k, b] - top[b]
            weight = exp2_of_near(x)
            total[b] += weight if x > NEGLIGIBLE else 0.0


@kernel
def apply_slice(alive: IntArray, rest: float, key: np.uint64, size: int, work: Workspace) -> None:
    """lw[s, b] <- log2 N(x_b | mu_k, Sigma_k), k = alive[s], where w_k > u_b, else nothing (Walker 2007); top follows.

    u_b = w_z v_b, v_b the uniform of row work.row[b] and z the current label of each of the ``size`` rows, in
    work.label; work.weight: the weights. Rows with u_b <= rest, the weight of the components that are not represented,
    keep their label.
    """
    wide_vectors()
    lw, top, u, weight, z = work.lw, work.top, work.threshold, work.weight, work.label
    for b in range(TILE):
        u[b] = weight[z[b]] * uniform(key, work.row[b]) if b < size else 1.0
        top[b] = -np.inf
    for s in range(alive.shape[0]):
        w, log2_w = weight[alive[s]], math.log2(weight[alive[s]])
        for b in range(TILE):
            value = lw[s, b] - log2_w if w > u[b] else -np.inf
            lw[s, b] = value
            top[b] = value if value > top[b] else top[b]
    for b in range(size):
        if u[b] <= rest:
            for s in range(alive.shape[0]):
                lw[s, b] = 0.0 if alive[s] == z[b] else -np.inf
            top[b] = 0.0


@kernel
def weigh_outliers(K: int, log2_weight: float, work: Workspace) -> None:
    """lw[K, b] <- the log2 of what outliers weigh beside the K components; top follows."""
    lw, top = work.lw, work.top
    for b in range(TILE):
        lw[K, b] = log2_weight
        top[b] = log2_weight if log2_weight > top[b] else top[b]


@kernel
def apply_slice_with_outliers(
    alive: IntArray, K: int, rest: float, key: np.uint64, size: int, log2_weight: float, work: Workspace
) -> None:
    """:func:`apply_slice` where outliers, labelled K, are behind the components.

    Given that row b is an outlier u_b is uniform: outliers may be chosen whatever it is, with their weight over that of
    all components together.
    """
    work.weight[K] = 1.0
    apply_slice(alive, rest, key, size, work)
    lw, top, u, z, outliers = work.lw, work.top, work.threshold, work.label, alive.shape[0]
    for b in range(TILE):
        value = log2_weight
        if b < size and u[b] <= rest:
            value = 0.0 if z[b] == K else -np.inf
        lw[outliers, b] = value
        top[b] = value if value > top[b] else top[b]


@kernel
def keep_to_tags(tags: IntArray, K: int, work: Workspace) -> None:
    """lw[k, b] <- -inf but for the tag of row b, where it has one (is not -1); top follows."""
    lw, top = work.lw, work.top
    for b in range(tags.shape[0]):
        if tags[b] >= 0:
            for k in range(K):
                lw[k, b] = lw[k, b] if k == tags[b] else -np.inf
            top[b] = lw[tags[b], b]


@kernel
def log_likelihood(size: int, top: FloatArray, total: FloatArray) -> float:
    """sum over the first ``size`` rows of log2 sum_k 2^lw[k, b] = top[b] + log2 total[b]; destroys both (TILE,).

    Totals lie in [1, K], so sixteen of them are multiplied before one logarithm is taken.
    """
    wide_vectors()
    for b in range(size, TILE):
        top[b] = 0.0
        total[b] = 1.0
    half = TILE // 2
    while half >= LANES:
        for b in range(half):
            top[b] += top[b + half]
            total[b] *= total[b + half]
        half //= 2
    result = 0.0
    for b in range(LANES):
        result += top[b] + math.log2(total[b])
    return result


class Law(NamedTuple):
    """How labels are drawn, beside the components: K of them; whether there may be outliers, and the log2 of their
    weight beside the components; whether by slices, and the weight of the components that are not represented; keys of
    the uniforms of labels and slices.
    """

    K: int
    outliers: bool
    log2_weight: float
    sliced: bool
    rest: float
    key: np.uint64
    slice_key: np.uint64


@kernel
def law_of(state: State, sliced: bool) -> Law:
    """The law of the labels that are drawn next."""
    K, outliers, log2_weight, rest = state.size[N_COMPONENTS], outlier_label(state) >= 0, 0.0, 0.0
    if outliers:
        log2_weight = LOG2_E * (state.outliers[LOG_SHARE] - state.outliers[LOG_REST] + state.outliers[LOG_DENSITY])
    if sliced:
        rest = math.exp(state.log_w[K])
    return Law(K, outliers, log2_weight, sliced, rest, state.key[0], state.key[1])


@kernel
def draw_tile(law: Law, tags: IntArray, alive: IntArray, size: int, work: Workspace) -> None:
    """Places in ``alive`` of the labels of the tile's first ``size`` rows, work.row, into work.label.

    lw[s] and top are given for the components alive[s] in increasing order; outliers, where there may be any, are
    behind them, and labelled K. ``law.sliced``, row i may only choose among the components with w_k > u_i; work.label
    then holds the current labels. A row with a tag may only choose its component: then all are alive. What
    :func:`log_likelihood` sums is left in top and total, or, ``law.sliced``, in acc[0] and acc[1].
    """
    part_of_callers()
    m = alive.shape[0]
    choices = m + 1 if law.outliers else m
    if law.outliers:
        weigh_outliers(m, law.log2_weight, work)
    keep_to_tags(tags, choices, work)
    if law.sliced:
        sum_weights(choices, work)
        for b in range(TILE):
            work.acc[0, b] = work.top[b]
            work.acc[1, b] = work.total[b]
        if law.outliers:
            apply_slice_with_outliers(alive, law.K, law.rest, law.slice_key, size, law.log2_weight, work)
        else:
            apply_slice(alive, law.rest, law.slice_key, size, work)
        keep_to_tags(tags, choices, work)
    draw_labels(choices, law.key, work)
