"""Which cluster each row belongs to, and how surely.

The clusters are the matched components of the draws that have as many as are most probable (of all draws where their
number is given), and a row is in the one that owns it most often. ``benchmarks/partition_study.py`` has why.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, TypeVar

import numpy as np

from gibbs_gmm.kernels.posterior.matching import count_agreements, count_places
from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray
from gibbs_gmm.posterior.partition_draws import label_blocks
from gibbs_gmm.posterior.relabel import Relabelling
from gibbs_gmm.posterior.wording import percent
from gibbs_gmm.trace import Trace

_Array = TypeVar("_Array", bound=AnyArray)
_BLOCK = 1 << 16  # rows
_EXCLUDED = 0.05  # posterior probability of a number of clusters below which an answer with so many contradicts it


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Partition:
    """Who belongs with whom as one answer, and how surely: :meth:`gibbs_gmm.Trace.partition`.

    Attributes
    ----------
    labels : (N,) int64
        The number of the cluster of each row, -1 for one that is an outlier in at least half of the draws. It is that
        of the matched component that the cluster is, as in ``trace.summary()``; clusters of a search that are none of
        these have further numbers. A component that owns no row more often than others do is missing among the labels.
    loss : str or None
        None for the matched components; "vi", "binder" or "omari" where a search was made for the least of it.
    probabilities : (N, J + 1) float64
        Membership probabilities of each row: of clusters 0..J-1, and in the last column of none of these. Of matched
        components, given that there are J of them: the share of the draws with J in which a component owns the row.
        Of other partitions, the share of all draws in which the row's component has most of its rows in the cluster.
    together : (n_clusters, n_clusters) float64
        The probability that two rows, one of either cluster, are in one component, averaged over such pairs and all
        draws; of two different rows of one cluster on the diagonal (1 for a cluster of one row). Clusters as in
        ``numbers``.
    expected_loss : float or None
        Mean loss over all draws: of "vi" in bits, between 0 and log2 N; of "binder" the share of ordered pairs of
        observations on which a draw disagrees, between 0 and 1; of "omari" one minus the adjusted Rand index.
    counts : (N,) int64 or None
        How many observations each row stands for, if not one.
    runs, agreeing_runs : int
        Searches made, and those of them that ended at this expected loss (to one in 10,000). If it is one of many,
        there may be a better partition: ask for more ``runs``. 0 where there was no search.

    Examples
    --------
    Of the trace and the rows of :func:`gibbs_gmm.fit`'s example:

    >>> partition = trace.partition()
    >>> partition.n_clusters, partition.sizes
    (2, array([50, 50]))
    >>> partition.labels[[0, 99]]
    array([0, 1])
    """

    labels: IntArray
    loss: str | None
    probabilities: FloatArray
    together: FloatArray
    expected_loss: float | None = None
    runs: int = 0
    agreeing_runs: int = 0
    counts: IntArray | None = None

    def __post_init__(self) -> None:
        for name in ("labels", "probabilities", "together"):
            object.__setattr__(self, name, _read_only(getattr(self, name)))

    @functools.cached_property
    def numbers(self) -> IntArray:
        """(n_clusters,) the numbers of the clusters that have rows, in increasing order."""
        return _read_only(np.unique(self.labels[self.labels >= 0]))

    @property
    def n_clusters(self) -> int:
        """How many clusters have rows."""
        return len(self.numbers)

    @property
    def sizes(self) -> IntArray:
        """(n_clusters,) how many observations each of them has: rows, where a row stands for one."""
        if self.counts is None:
            return np.bincount(self.labels[self.labels >= 0])[self.numbers]
        return np.array([self.counts[self.labels == k].sum() for k in self.numbers])

    @property
    def unit(self) -> str:
        """What ``sizes`` count: "row" or "observation"."""
        return "row" if self.counts is None else "observation"

    @functools.cached_property
    def uncertainty(self) -> FloatArray:
        """(N,) one minus the membership probability of the row's own cluster; 0 is certain.

        Of matched components, that is the largest of the row's membership probabilities.
        """
        doubt: FloatArray = 1.0 - self.probabilities[np.arange(len(self.labels)), self.labels]
        return _read_only(doubt)

    @functools.cached_property
    def second(self) -> IntArray:
        """(N,) the number of the most probable other cluster; -1 where that is none of these, or nothing at all."""
        result = np.empty(len(self.labels), np.int64)
        for first in range(0, len(result), _BLOCK):  # a copy of all would be large
            labels = self.labels[first : first + _BLOCK]
            others = self.probabilities[first : first + _BLOCK].copy()
            others[np.arange(len(labels)), labels] = -1.0
            best = others.argmax(1)
            nothing = (best == others.shape[1] - 1) | (others.max(1) <= 0.0)
            result[first : first + _BLOCK] = np.where(nothing, -1, best)
        return _read_only(result)

    @property
    def cohesion(self) -> FloatArray:
        """(n_clusters,) the probability that two rows of the cluster are in one component: if low, it may be two."""
        return np.diagonal(self.together)

    @property
    def nearest(self) -> IntArray:
        """(n_clusters,) the cluster with which each is together most: it may be part of that. -1 where it is alone."""
        if self.n_clusters == 1:
            return np.array([-1])
        others = np.where(np.eye(self.n_clusters, dtype=bool), -1.0, self.together)
        return np.asarray(self.numbers[others.argmax(1)])

    def __repr__(self) -> str:
        sizes = ", ".join(str(size) for size in self.sizes[:10]) + ", ..." * (self.n_clusters > 10)
        clusters = f"{self.n_clusters} cluster{'s'[: self.n_clusters > 1]}"
        how = "matched components"
        if self.loss is not None:
            how = f"expected {self.loss} {self.expected_loss:.4g}"
        return f"<Partition: {clusters} of {sizes}; {how}>"

    def _repr_html_(self) -> str:
        from gibbs_gmm.posterior.notebook import partition_html

        return partition_html(self)


def assignments_of(trace: Trace) -> AnyArray:
    """The labels of a trace that has them."""
    if trace.assignments is None:
        raise ValueError(
            "this trace has no assignments, and so nothing to say about who belongs with whom: it was made with "
            "save_assignments=False; fit again with save_assignments=True"
        )
    return trace.assignments


def outlier_probability(trace: Trace) -> FloatArray:
    """Of the rows of the fit: see :meth:`gibbs_gmm.Trace.outlier_probability`."""
    return np.asarray((assignments_of(trace) == -1).mean((0, 1)), np.float64)


def without_outliers(trace: Trace, labels: IntArray) -> IntArray:
    """The labels, -1 for rows that are outliers in at least half of the draws."""
    if trace.outlier_weight is None:
        return labels
    return np.where(outlier_probability(trace) >= 0.5, -1, labels)


def by_components(trace: Trace) -> Partition:
    """The rows by matched components: see :meth:`gibbs_gmm.Trace.partition`."""
    assignments_of(trace)
    relabelling = trace.relabel()
    probabilities = membership(trace, clusters_of(relabelling), relabelling.counted, relabelling.n_matched)
    blocks = (probabilities[first : first + _BLOCK, :-1] for first in range(0, len(probabilities), _BLOCK))
    labels = np.concatenate([block.argmax(1) for block in blocks])  # which copies what it is of
    labels = without_outliers(trace, labels)
    return Partition(labels, None, probabilities, together(trace, labels), counts=_counts(trace))


def of_labels(trace: Trace, labels: IntArray, **search: Any) -> Partition:
    """Any partition of the rows, whose clusters have been numbered, with its membership probabilities."""
    J = int(labels.max()) + 1
    everywhere = np.ones(trace.n_clusters.shape, dtype=bool)
    probabilities = membership(trace, clusters_with_most(trace, labels), everywhere, J)
    return Partition(
        labels, probabilities=probabilities, together=together(trace, labels), counts=_counts(trace), **search
    )


def _counts(trace: Trace) -> IntArray | None:
    """How many observations the rows of a trace stand for, those of count 0 left out."""
    return None if trace.counts is None else trace.counts[trace.counts > 0]


def contradiction(trace: Trace, partition: Partition) -> str | None:
    """A sentence, where a partition has so many clusters that the posterior all but excludes n+ to be their number."""
    t = partition.n_clusters
    p = float((trace.n_clusters == t).mean())
    if p >= _EXCLUDED:
        return None
    text = f"The rows fall into {t} cluster{'s'[: t > 1]}, though the posterior probability of so many is {percent(p)}"
    if partition.loss is not None:
        return f"{text}. partition() has the components of the most probable number instead."
    missing = np.setdiff1d(np.arange(partition.probabilities.shape[1] - 1), partition.numbers)
    components = f"component{'s'[: len(missing) > 1]} {', '.join(map(str, missing))}"
    return f"{text}: no row is owned by {components} more often than by others. See the membership probabilities."


def clusters_of(relabelling: Relabelling) -> IntArray:
    """(C, T, K) which cluster each component of each draw is: its matched place, or J = ``n_matched`` for none."""
    return np.minimum(np.argsort(relabelling.permutation, axis=-1), relabelling.n_matched)


def clusters_with_most(trace: Trace, labels: IntArray) -> IntArray:
    """(C, T, K) the cluster that has most of the rows of each component of each draw, J for one without rows."""
    J = int(labels.max()) + 1
    result = np.empty(trace.weights.shape, np.int64)
    for c, shared in enumerate(_contingency(trace, labels, J)):
        result[c] = np.where(shared.any(1), shared.argmax(1), J)
    return result


def membership(trace: Trace, cluster: IntArray, counted: AnyArray, J: int) -> FloatArray:
    """(N, J + 1) the share of the ``counted`` draws (C, T) in which the component of a row stands for each cluster.

    Parameters
    ----------
    cluster : (C, T, K) int64
        The number that each component stands for, 0..J-1, or J for none.
    """
    assignments, (C, T, K) = assignments_of(trace), cluster.shape
    shares, draws = np.empty((assignments.shape[-1], J + 1)), counted.sum()
    place = np.concatenate([cluster, np.full((C, T, 1), J)], -1)
    for rows, labels in label_blocks(assignments, K):
        counts = np.zeros((rows.stop - rows.start, J + 1), np.int64)
        for c, z in enumerate(labels):
            count_places(z, place[c], counted[c], counts)
        shares[rows] = counts / draws
    return shares


def together(trace: Trace, labels: IntArray) -> FloatArray:
    """``Partition.together``: mean probabilities that two rows are in one component, between and within clusters."""
    numbers, cluster = np.unique(labels[labels >= 0], return_inverse=True)
    n = np.bincount(cluster).astype(np.float64)
    cluster = np.where(labels >= 0, np.searchsorted(numbers, labels), -1)
    pairs = np.zeros((len(n), len(n)))
    for shared in _contingency(trace, cluster, len(numbers)):
        pairs += np.tensordot(shared, shared, ((0, 2), (0, 2)))
    pairs /= trace.n_clusters.size
    result = (pairs - np.diag(n)) / np.maximum(np.outer(n, n) - np.diag(n), 1.0)
    result[n == 1.0, n == 1.0] = 1.0
    return np.clip(result, 0.0, 1.0)


def _contingency(trace: Trace, labels: IntArray, J: int) -> list[FloatArray]:
    """For each chain, (T, J, K): how many rows a cluster shares with a component of a draw, labels -1 left out."""
    assignments = assignments_of(trace)
    C, T, K = trace.weights.shape
    shared, reference = np.zeros((C, T, J + 1, K + 1)), np.where(labels >= 0, labels, J)
    for rows, draws in label_blocks(assignments, K):
        for c, z in enumerate(draws):
            count_agreements(z, reference[rows], shared[c])
    return list(shared[:, :, :J, :K])


def _read_only(array: _Array) -> _Array:
    """A view of an array that cannot be written to."""
    view = array.view()
    view.flags.writeable = False
    return view
