"""Draws of labels as draws of partitions, and how often two rows are in the same cluster."""

import numpy as np

from gibbs_gmm.kernels._jit import allocating_kernel, kernel
from gibbs_gmm.kernels.random import mix
from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray, LabelArray

_TILE = 64  # rows whose labels stay in the cache while others are compared with them


@allocating_kernel
def renumber(labels: LabelArray, sizes: IntArray) -> None:
    """Number the clusters of each draw 0, 1, ... in the order in which they appear: one name for one partition.

    Parameters
    ----------
    labels : (B, N) uint16
        Labels of B draws; overwritten.
    sizes : (B,) int64
        Overwritten by the number of clusters of each draw.
    """
    name, met = np.full(1 << 16, -1, np.int32), np.empty(1 << 16, np.uint16)
    for b in range(len(labels)):
        row = labels[b]
        count = 0
        for i in range(len(row)):
            z = row[i]
            if name[z] < 0:
                name[z], met[count] = count, z
                count += 1
            row[i] = name[z]
        for k in range(count):
            name[met[k]] = -1
        sizes[b] = count


@kernel
def hash_rows(labels: LabelArray, key: AnyArray) -> None:
    """Mix the labels (B, N) of B further draws into the ``key`` (N,) uint64 of each row."""
    for b in range(len(labels)):
        for i in range(len(key)):
            key[i] = mix(key[i] + np.uint64(labels[b, i]) + np.uint64(1))


@kernel
def share_together(z: LabelArray, count: IntArray, start: int, stop: int, p: FloatArray) -> None:
    """Posterior probabilities that two rows are in the same cluster, for rows ``start`` to ``stop - 1`` and all others.

    Parameters
    ----------
    z : (U, S) uint16
        Labels of U rows in S draws.
    count : (S,) int64
        How often each draw occurs.
    p : (U, U) float64
        ``p[i, j]`` and ``p[j, i]`` are written for i = start, ..., stop - 1 and j <= i.
    """
    total = count.sum()
    for low in range(0, stop, _TILE):
        for i in range(max(low, start), stop):
            a = z[i]
            for j in range(low, min(low + _TILE, i + 1)):
                b = z[j]
                together = 0
                for s in range(len(count)):
                    together += count[s] if a[s] == b[s] else 0
                p[i, j] = together / total
                p[j, i] = p[i, j]


@kernel
def pairs_together(z: LabelArray, count: IntArray, pairs: IntArray, start: int, stop: int, p: FloatArray) -> None:
    """The same for the rows ``pairs[m]``, m = start, ..., stop - 1, into ``p[m]``."""
    total = count.sum()
    for m in range(start, stop):
        a, b = z[pairs[m, 0]], z[pairs[m, 1]]
        together = 0
        for s in range(len(count)):
            together += count[s] if a[s] == b[s] else 0
        p[m] = together / total
