"""Do the chains cluster the rows alike? Seen by which rows each chain has together, and said with their numbers.

Numbers that sum a partition up (n+, the log likelihood, weights) can agree where partitions do not: each chain may have
another handful of rows as its third cluster. The shares of draws in which two rows are together, the co-clustering
matrix of each chain, cannot.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray
from gibbs_gmm.mapped_draws import let_go
from gibbs_gmm.posterior.agreement import LISTED, limit

_ROWS = 400  # that are compared with each other
_DRAWS = 250  # of each chain, equally spaced
_LABELS = 200_000_000  # that are compared with one row's, over all chains: fewer draws of very many rows
_LEAST = 12  # draws of each chain without which nothing is said
_GAP = 0.5  # in the share of draws in which two rows are together, from which on chains are said to differ
_STRANGE = 0.25  # of its rows that may come and go while a chain is still said to have a cluster
_LAST = 10  # draws of each chain in which a cluster of another chain is looked for


@dataclasses.dataclass(frozen=True, eq=False)
class Difference:
    """Rows that some chains have as a cluster of their own, or in one cluster with another row, and others have not.

    Attributes
    ----------
    rows : (R,) int64
        The rows in question, in ascending order.
    chains : (C,) bool
        The chains that have them so.
    other : int or None
        The row that they are together with; None where they are a cluster of their own.
    """

    rows: IntArray
    chains: AnyArray
    other: int | None

    def __str__(self) -> str:
        one = len(self.rows) == 1
        rows = f"row {self.rows[0]}" if one else f"rows {_listed(self.rows)}"
        own = f"as a cluster of {'its' if one else 'their'} own"
        how = own if self.other is None else f"in one cluster with row {self.other}"
        numbers = np.flatnonzero(self.chains)
        who = f"Chain {numbers[0]} has" if len(numbers) == 1 else f"Chains {_listed(numbers)} have"
        others = "other does" if len(self.chains) - len(numbers) == 1 else "others do"
        return f"{who} {rows} (counted from 0) {how}, the {others} not."


def largest_difference(assignments: Sequence[AnyArray] | AnyArray | None) -> Difference | None:
    """The rows about which the chains differ most; None where they differ about none, or where it cannot be seen.

    Up to 400 rows are compared with each other, in up to 250 draws of each chain: all rows, or some of every cluster
    that a chain has in its last draw. Two rows tell chains apart where the share of draws in which they are together
    differs by half or more between two chains, and its R-hat is larger than chance gives to independent draws once in
    100,000 times, whatever the number of pairs. What is found is then looked for in all rows.

    Parameters
    ----------
    assignments : (C, T, N) integers, or C arrays (T, N), or None
        Labels.
    """
    if assignments is None or len(assignments) < 2 or len(assignments[0]) < _LEAST:
        return None
    C, T = len(assignments), len(assignments[0])
    draws = np.linspace(0, T - 1, min(T, _DRAWS)).astype(np.int64)
    rows = some_of_each_cluster(assignments, _ROWS)
    z = np.array([of_rows(labels, draws, rows) for labels in assignments])
    p = _co_clustering(z)
    chains = 0.5 * (p[0::2] + p[1::2])
    gap = chains.max(0) - chains.min(0)
    most = limit(C, len(draws), tests=max(1, len(rows) * (len(rows) - 1) // 2))
    gap = np.where((gap >= _GAP) & (_r_hat(p, len(draws) // 2) > most), gap, 0.0)
    if not gap.any():
        return None
    i = int(gap.sum(1).argmax())  # of the few rows that are moved, rather than of the many that they are moved from
    j = int(gap[i].argmax())
    share = chains[:, i, j]
    return _in_all_rows(assignments, int(rows[i]), int(rows[j]), share >= 0.5 * (share.max() + share.min()))


def _in_all_rows(assignments: Sequence[AnyArray] | AnyArray, row: int, other: int, together: AnyArray) -> Difference:
    """The rows that are to be named with ``row``, which some chains have ``together`` with the ``other`` row."""
    C, (T, N) = len(assignments), assignments[0].shape
    draws = np.linspace(0, T - 1, min(T, max(10, min(_DRAWS, _LABELS // (N * C))))).astype(np.int64)
    with_row, with_other = np.zeros((C, N)), np.zeros((C, N))
    for c in range(C):
        for z in (assignments[c][t] for t in draws):
            with_row[c] += z == z[row]
            with_other[c] += z == z[other]
        let_go(assignments[c])
    own = []
    for chains in (together, ~together):
        share = with_row[chains].mean(0) / len(draws)
        cluster = share >= 0.5
        strange = share[~cluster].sum() + (1.0 - share[cluster]).sum()  # rows that come and go
        if strange <= _STRANGE * np.count_nonzero(cluster):
            likeness = [
                _likeness(assignments[c][t], cluster) for c in np.flatnonzero(~chains).tolist() for t in draws[-_LAST:]
            ]
            if np.mean(likeness) <= 0.5:
                own.append(Difference(np.flatnonzero(cluster), chains, None))
    if own:
        return min(own, key=lambda difference: len(difference.rows))
    moved = with_other[together].mean(0) - with_other[~together].mean(0)
    alike = moved >= 0.5 * moved[row]
    alike[other] = False
    return Difference(np.flatnonzero(alike), together, other)


def of_rows(labels: AnyArray, draws: IntArray, rows: IntArray) -> AnyArray:
    """The labels of some rows in some draws of a chain."""
    result = np.array([labels[t][rows] for t in draws])
    let_go(labels)
    return result


def _likeness(z: AnyArray, rows: AnyArray) -> float:
    """The Jaccard index of some rows (N,) bool, and the cluster among the labels (N,) that is most like them."""
    z = z - z.min()  # outliers are -1
    shared, sizes = np.bincount(z[rows]), np.bincount(z)
    return float((shared / (np.count_nonzero(rows) + sizes[: len(shared)] - shared).clip(1)).max())


def some_of_each_cluster(assignments: Sequence[AnyArray] | AnyArray, most: int) -> IntArray:
    """Numbers of ``most`` rows, or of all: equally many of each cluster that some chain has in its last draw, and of
    the others, equally spaced, as many as there is room for.
    """
    every = np.arange(assignments[0].shape[1])
    if len(every) <= most:
        return every
    clusters: list[IntArray] = []
    for z in (chain[-1] for chain in assignments):
        order = np.argsort(z, kind="stable")
        clusters += np.split(order, np.flatnonzero(np.diff(z[order])) + 1)
    each = max(1, most // len(clusters))
    chosen = np.unique(np.concatenate([_spaced(rows, each) for rows in clusters[:most]]))
    others = np.setdiff1d(every, chosen, assume_unique=True)
    return np.sort(np.concatenate([chosen, _spaced(others, most - len(chosen))]))


def _spaced(rows: IntArray, most: int) -> IntArray:
    """Up to ``most`` of the rows, equally spaced."""
    return rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(np.int64)]


def _co_clustering(z: AnyArray) -> FloatArray:
    """(2C, R, R) the share of the draws of each half chain in which two of the rows z (C, T, R) are together."""
    C, T, R = z.shape
    n = T // 2
    counts = np.zeros((2 * C, R, R), np.uint16)
    for c in range(C):
        for half, first in ((2 * c, 0), (2 * c + 1, T - n)):
            for labels in z[c, first : first + n]:
                counts[half] += labels[:, None] == labels
    return np.asarray(counts / n)


def _r_hat(p: FloatArray, n: int) -> FloatArray:
    """Split R-hat of indicators with means p (2C, ...) in half chains of n draws; infinite where they never vary."""
    within = (p * (1.0 - p)).mean(0) * n / max(n - 1, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.sqrt((n - 1) / n + p.var(0, ddof=1) / within))


def _listed(numbers: IntArray) -> str:
    """3, 9 and 11; 3, 9, 11 and 40 more."""
    shown = [str(number) for number in numbers[:LISTED]]
    last = f"{len(numbers) - LISTED} more" if len(numbers) > LISTED else shown.pop()
    return f"{', '.join(shown)} and {last}" if shown else last
