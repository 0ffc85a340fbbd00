"""Which number a component and a cluster has: decided here, and so the same in every table, picture and file."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from gibbs_gmm.kernels.types import FloatArray, IntArray

_ALIKE = 0.2  # standard deviations of a difference of weights: another seed, of 400 effective draws, leaves it so


def by_weight(weights: FloatArray, positions: FloatArray) -> IntArray:
    """The order in which matched components are numbered: by decreasing weight, equal ones by their place.

    Weights are equal where their posterior means differ by less than a fifth of the posterior standard deviation of
    their difference. From one component to the next, this may make a group of several; in it the order is that of the
    means in the first column.

    Parameters
    ----------
    weights : (S, J) float64
        S draws of the weights of J components.
    positions : (S, J) float64
        Draws of their means in the first column.

    Returns
    -------
    (J,) int64
        Component ``order[j]`` is number j. It does not depend on the order of the draws.
    """
    mean, place = (np.sort(values, axis=0).sum(0) for values in (weights, positions))
    order = np.argsort(-mean, kind="stable")
    gap = (weights[:, order[:-1]] - weights[:, order[1:]]).std(0)
    apart = (mean[order[:-1]] - mean[order[1:]]) / len(weights) > _ALIKE * gap
    group = np.concatenate([[0], np.cumsum(apart)])
    return order[np.lexsort((place[order], group))]


def like(reference: IntArray, labels: IntArray, K: int) -> IntArray:
    """The same partition, each cluster with the number of the cluster of ``reference`` that it is.

    That is the one with which it shares most rows, by an assignment, so that no number is given twice. Clusters that
    are left over have the numbers from K on, in the order of their labels. Outliers, -1 in the reference, are one of
    its clusters.

    Parameters
    ----------
    reference, labels : (N,) int64
        Labels of the same rows; those of the reference are below K.

    Returns
    -------
    (N,) int64
    """
    cluster = np.unique(labels, return_inverse=True)[1]
    J = int(cluster.max()) + 1
    outlier = reference < 0
    L = K + int(outlier.any())
    shared = np.bincount(cluster * L + np.where(outlier, K, reference), minlength=J * L).reshape(J, L)
    theirs, ours = linear_sum_assignment(shared, maximize=True)
    number = np.full(J, -2)
    number[theirs] = np.where(shared[theirs, ours] > 0, np.where(ours == K, -1, ours), -2)
    left = np.flatnonzero(number < -1)
    number[left] = K + np.arange(len(left))
    return np.asarray(number[cluster], np.int64)
