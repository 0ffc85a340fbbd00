"""Clusters beside columns that were left out of the model, such as the species: a cross table, and what it says."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from gibbs_gmm.kernels.types import IntArray
from gibbs_gmm.posterior.wording import cluster_name, listed

_MOST_VALUES = 30
_MOST_NAMED = 12  # values whose clusters are said in words
_MOSTLY = 0.6  # share of a value's rows in one cluster from which on it is said to be that cluster
_RELATED = 0.3  # agreement from which on a column has to do with the clusters
_AGREEMENT = (
    (0.9, "agree almost row by row"),
    (0.65, "agree for most rows"),
    (_RELATED, "agree in part"),
    (-1.0, "have little to do with each other"),
)


@dataclasses.dataclass(frozen=True, eq=False)
class CrossTable:
    """How many rows have each value of a column that was left out, and are in each cluster.

    Attributes
    ----------
    name : str
        Of the column.
    values : tuple of str
        Its V values.
    numbers : (J,) int64
        The clusters.
    counts : (V, J) int64
    agreement : float
        The adjusted Rand index of the values and the clusters (Hubert & Arabie 1985): 1 where they are the same
        partition, 0 on average where they have nothing to do with each other.
    """

    name: str
    values: tuple[str, ...]
    numbers: IntArray
    counts: IntArray
    agreement: float

    @property
    def related(self) -> bool:
        """Whether the column has to do with the clusters."""
        return self.agreement >= _RELATED

    @property
    def sentence(self) -> str:
        """What the table says."""
        words = next(text for least, text in _AGREEMENT if self.agreement >= least)
        text = f"Clusters and {self.name} {words} (adjusted Rand index {self.agreement:z.2f}; 1 is the same, 0 chance)."
        mostly = []
        for value, row in zip(self.values[:_MOST_NAMED], self.counts[:_MOST_NAMED], strict=True):
            j, total = int(row.argmax()), int(row.sum())
            if self.related and row[j] >= _MOSTLY * total:
                where = f"is in {cluster_name(self.numbers[j])}" if self.numbers[j] >= 0 else "are outliers"
                mostly.append(f"{value} {where} ({row[j]:,} of {total:,} rows)")
        return f"{text} {listed(mostly, most=_MOST_NAMED)}." if mostly else text

    def of_cluster(self, number: int) -> str:
        """The values in one cluster, the most frequent first, such as "virginica (50) and versicolor (4)"."""
        column = self.counts[:, int(np.searchsorted(self.numbers, number))]
        order = np.argsort(-column, kind="stable")
        return listed((f"{self.values[v]} ({column[v]:,})" for v in order if column[v] > 0), most=4)


def cross_table(name: str, values: Sequence[str], labels: IntArray) -> CrossTable | None:
    """The table of a column and the clusters of the rows; None where it has one value, or more than 30."""
    distinct, row = np.unique(np.asarray(values, dtype=np.str_), return_inverse=True)
    if not 2 <= len(distinct) <= _MOST_VALUES:
        return None
    numbers, column = np.unique(labels, return_inverse=True)
    shape = len(distinct), len(numbers)
    counts = np.bincount(row * shape[1] + column, minlength=shape[0] * shape[1]).reshape(shape)
    return CrossTable(name, tuple(map(str, distinct)), numbers, counts, _adjusted_rand(counts))


def _adjusted_rand(counts: IntArray) -> float:
    """The adjusted Rand index of a contingency table (Hubert & Arabie 1985, equation 5)."""
    n = counts.astype(np.float64)
    both, rows, columns = ((m * (m - 1.0) / 2.0).sum() for m in (n, n.sum(1), n.sum(0)))
    pairs = n.sum() * (n.sum() - 1.0) / 2.0
    expected = rows * columns / pairs
    largest = (rows + columns) / 2.0
    return float((both - expected) / (largest - expected)) if largest > expected else 1.0
