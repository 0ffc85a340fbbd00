"""Principal components of the partitions: where a chain is among the ways in which rows can be together.

Numbers that sum a partition up say little of a mode that some rows leave now and then, and for long: the log likelihood
of Wine with three components has thousands of effective draws where the partitions have fewer than a hundred. The
principal components of the partitions are the directions in which they vary most, so that a mode which is seldom
visited, and seldom left, is one of them. As quantities of each draw that do not depend on labels they have an R-hat and
effective draws like any other. (Principal coordinates: Gower 1966; distances to draws of a chain whose parameter is not
a number, for effective draws of phylogenies: Lanfear, Hua & Warren 2016.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gibbs_gmm.kernels.types import AnyArray, FloatArray
from gibbs_gmm.posterior.chain_partitions import of_rows, some_of_each_cluster

_COMPONENTS = 3  # that are looked at
_ROWS = 64  # whose pairs are looked at
_DRAWS = 400  # of all chains, equally spaced, from which components are found
_SCORED = 1000  # draws of each chain, equally spaced, that have scores: more would take as long as they were in making
_CHUNK = 250  # draws whose scores are computed together
_ITERATIONS = 30
_EXACT = 2.0**-41  # that directions are multiples of: sums of them are exact, and the same for equal partitions
_LEAST = 1e-12  # of the variance of all pairs: less is rounding


def partition_scores(assignments: Sequence[AnyArray] | AnyArray | None) -> dict[str, FloatArray]:
    """Scores (C, T) of draws on the first principal components of the partitions, partition[0], [1] and [2].

    T is the number of draws, or 1000 of them, equally spaced, where there are more.

    The partitions are those of up to 64 rows, some of every cluster that a chain has in its last draw among them; their
    coordinates are the indicators that two rows are together, over the square root of the number of pairs, so that the
    squared distance of two draws is 1 minus their Rand index. Components that do not vary are left out.

    Parameters
    ----------
    assignments : (C, T, N) integers, or C arrays (T, N), or None
        Labels; -1 of outliers is a label too.
    """
    if assignments is None:
        return {}
    C, T = len(assignments), min(len(assignments[0]), _SCORED)
    rows = some_of_each_cluster(assignments, _ROWS)
    if len(rows) < 2:
        return {}
    draws = np.linspace(0, len(assignments[0]) - 1, T).astype(np.int64)
    z = np.concatenate([of_rows(labels, draws, rows) for labels in assignments])
    some = _together(z[np.linspace(0, C * T - 1, min(C * T, _DRAWS)).astype(np.int64)])
    some -= (mean := some.mean(0))
    variances, vectors = _leading(some @ some.T)
    there = variances > _LEAST * some.size
    directions = np.round(some.T @ vectors[:, there] / np.sqrt(variances[there]) / _EXACT)
    scores = np.concatenate([_together(z[t : t + _CHUNK]) @ directions for t in range(0, C * T, _CHUNK)])
    scores = (scores - mean @ directions) * (_EXACT / np.sqrt(some.shape[1]))
    return {f"partition[{k}]": column.reshape(C, T) for k, column in enumerate(scores.T)}


def _leading(gram: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The largest eigenvalues of a matrix (M, M), descending, and their eigenvectors, in columns.

    By orthogonal iteration without BLAS: any directions near those of most variance will do, and LAPACK's decomposition
    takes a hundred times as long where its threads and other processes wait for each other.
    """
    vectors = np.random.default_rng(0).standard_normal((len(gram), min(len(gram), 2 * _COMPONENTS)))
    for _ in range(_ITERATIONS):
        vectors = np.linalg.qr(np.einsum("ij,jk->ik", gram, vectors))[0]
    values, turned = np.linalg.eigh(np.einsum("ji,jk,kl->il", vectors, gram, vectors, optimize="greedy"))
    return values[::-1][:_COMPONENTS], (vectors @ turned)[:, ::-1][:, :_COMPONENTS]


def _together(z: AnyArray) -> FloatArray:
    """(T, R (R - 1) / 2) 1 where two of the rows z (T, R) are together, and 0 where they are not."""
    first, second = np.triu_indices(z.shape[1], 1)
    return np.asarray(z[:, first] == z[:, second], np.float64)
