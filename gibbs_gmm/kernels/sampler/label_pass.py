"""Labels given weights and densities, a tile at a time: what the label pass does for every family alike."""

import math

import numpy as np

from gibbs_gmm.kernels._jit import kernel
from gibbs_gmm.kernels.random import uniform
from gibbs_gmm.kernels.simd import LANES, wide_vectors
from gibbs_gmm.kernels.tile import TILE, Workspace, exp2
from gibbs_gmm.kernels.types import IntArray, LabelArray


@kernel
def draw_labels(K: int, key: np.uint64, first: int, work: Workspace) -> None:
    """label[b] ~ Categorical(2^lw[:, b]) by inversion: count the cumulated weights that lie below u times their total.

    Row first + b uses the uniform of that number. lw is overwritten by the cumulated weights.
    """
    wide_vectors()
    for b in range(TILE):
        work.threshold[b] = uniform(key, first + b)
    draw_labels_by(K, work)


@kernel
def draw_labels_by(K: int, work: Workspace) -> None:
    """:func:`draw_labels` by the uniforms in work.threshold, which is overwritten."""
    wide_vectors()
    lw, top, total, threshold, label = work.lw, work.top, work.total, work.threshold, work.label
    for b in range(TILE):
        total[b] = 0.0
    for k in range(K):
        for b in range(TILE):
            total[b] += exp2(lw[k, b] - top[b])
            lw[k, b] = total[b]
    for b in range(TILE):
        threshold[b] *= total[b]
        label[b] = 0
    for k in range(K - 1):
        for b in range(TILE):
            label[b] += 1 if lw[k, b] < threshold[b] else 0


@kernel
def sum_weights(K: int, work: Workspace) -> None:
    """total[b] <- sum_k 2^(lw[k, b] - top[b]), for :func:`log_likelihood`."""
    wide_vectors()
    lw, top, total = work.lw, work.top, work.total
    for b in range(TILE):
        total[b] = 0.0
    for k in range(K):
        for b in range(TILE):
            total[b] += exp2(lw[k, b] - top[b])


@kernel
def apply_slice(K: int, rest: float, key: np.uint64, first: int, z: LabelArray, work: Workspace) -> None:
    """lw[k, b] <- log2 N(x_b | mu_k, Sigma_k) where w_k > u_b, else nothing (Walker 2007); top follows.

    u_b = w_{z_b} v_b, v_b the uniform of row first + b. z holds the current labels of the tile's rows, work.weight the
    weights. Rows with u_b <= rest, the weight of the components that are not represented, keep their label.
    """
    wide_vectors()
    for b in range(TILE):
        work.threshold[b] = uniform(key, first + b)
    apply_slice_by(K, rest, z, work)


@kernel
def apply_slice_by(K: int, rest: float, z: LabelArray | IntArray, work: Workspace) -> None:
    """:func:`apply_slice` by the uniforms in work.threshold, which is overwritten."""
    wide_vectors()
    lw, top, u, weight = work.lw, work.top, work.threshold, work.weight
    for b in range(TILE):
        u[b] = weight[z[b]] * u[b] if b < z.shape[0] else 1.0
        top[b] = -np.inf
    for k in range(K):
        w, log2_w = weight[k], math.log2(weight[k])
        for b in range(TILE):
            value = lw[k, b] - log2_w if w > u[b] else -np.inf
            lw[k, b] = value
            top[b] = value if value > top[b] else top[b]
    for b in range(z.shape[0]):
        if u[b] <= rest:
            for k in range(K):
                lw[k, b] = 0.0 if k == z[b] else -np.inf
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
    K: int, rest: float, key: np.uint64, first: int, z: LabelArray, log2_weight: float, work: Workspace
) -> None:
    """:func:`apply_slice` where outliers, labelled K in z, are beside the components.

    Given that row b is an outlier u_b is uniform: outliers may be chosen whatever it is, with their weight over that of
    all components together.
    """
    work.weight[K] = 1.0
    apply_slice(K, rest, key, first, z, work)
    lw, top, u = work.lw, work.top, work.threshold
    for b in range(TILE):
        value = log2_weight
        if b < z.shape[0] and u[b] <= rest:
            value = 0.0 if z[b] == K else -np.inf
        lw[K, b] = value
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
def log_likelihood(size: int, work: Workspace) -> float:
    """sum over the first ``size`` rows of log2 sum_k 2^lw[k, b]; destroys top and total.

    Totals lie in [1, K], so sixteen of them are multiplied before one logarithm is taken.
    """
    wide_vectors()
    top, total = work.top, work.total
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
