"""What a run has found, worked out once for tables, pictures and the report: how many, what they look like, who is who.

Clusters of rows have the numbers of the components they mostly are, so that "cluster 2" is the same everywhere.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
import io
import warnings
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from gibbs_gmm.components import Components, checked_data, matched_components, some_draws, spread
from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray
from gibbs_gmm.merging import Merged, merge_components
from gibbs_gmm.model_check import Check, check_components, sentences
from gibbs_gmm.n_posterior import NPosterior
from gibbs_gmm.summary import Summary
from gibbs_gmm.trace import Trace

_MAX_LABELS = 5_000_000  # labels of all draws that a partition is searched for in
_LEAST_DRAWS = 100
_MAX_ROWS = 200_000  # beyond which a search takes minutes
_MAX_VOTES = 1000
_SAMPLE = 20_000  # rows that decide which component a cluster is


@dataclasses.dataclass(frozen=True, eq=False)
class Clusters:
    """Who belongs with whom, as one answer.

    Attributes
    ----------
    labels : (N,) int64
        The cluster of each row: the number of the matched component that most of its rows mostly belong to. Clusters
        that are left over have further numbers, and a component that is no cluster leaves a gap.
    uncertainty : (N,) float64
        0 is certain: one minus the mean probability of being with another row of the same cluster.
    draws : int
        How many draws the answer is from.
    ball : tuple of int, or None
        The fewest and most clusters that partitions within the 95% credible ball have.
    """

    labels: IntArray
    uncertainty: FloatArray
    draws: int
    ball: tuple[int, int] | None

    @property
    def numbers(self) -> IntArray:
        """The numbers of the clusters."""
        return np.unique(self.labels)

    def to_csv(self) -> str:
        """Row (from 0), cluster and uncertainty, as the text of a CSV file."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["row", "cluster", "uncertainty"])
        writer.writerows(zip(range(len(self.labels)), self.labels.tolist(), self.uncertainty.tolist(), strict=True))
        return file.getvalue()


@dataclasses.dataclass(frozen=True, eq=False)
class Findings:
    """A trace, its data, and what is said of them. ``clusters`` is None for a trace without assignments."""

    trace: Trace
    X: AnyArray
    summary: Summary
    n_posterior: NPosterior
    components: Components
    clusters: Clusters | None

    @functools.cached_property
    def check(self) -> Check | None:
        """Whether the components are normal, or None for a trace without assignments."""
        return None if self.clusters is None else check_components(self.components, self.X)

    @functools.cached_property
    def merged(self) -> Merged | None:
        """The components merged, where the check has something to say of them and there are several."""
        wanted = self.check is not None and sentences(self.check) and self.components.K > 1
        return merge_components(self.components) if wanted else None

    def alternatives(self, rows: IntArray) -> FloatArray:
        """(R, J): how much these rows are with each cluster: the mean probability of being with another of its rows."""
        clusters, assignments = self.clusters, self.trace.assignments
        if clusters is None or assignments is None:
            raise ValueError("the trace must have assignments")
        labels = np.unique(clusters.labels, return_inverse=True)[1]
        J, K, T = int(labels.max()) + 1, self.trace.weights.shape[2], assignments.shape[1]
        own = np.arange(J) == labels[rows, None]
        others = np.maximum(np.bincount(labels, minlength=J) - own, 1)
        result = np.zeros((len(rows), J))
        votes = spread(self.trace.log_likelihood.size, _MAX_VOTES)
        for s in votes:
            z = assignments[divmod(int(s), T)]
            counts = np.bincount(z.astype(np.int64) * J + labels, minlength=K * J).reshape(K, J)
            result += (counts[z[rows]] - own) / others
        return result / len(votes)


def find(trace: Trace, X: Any) -> Findings:
    """Work out all that tables, pictures and the report say. It does not warn: the messages are in the tables."""
    array = checked_data(trace, X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        summary, n_posterior = trace.summary(), trace.n_posterior()
    components = matched_components(trace)
    clusters = None if trace.assignments is None else _clusters(trace, components)
    return Findings(trace, array, summary, n_posterior, components, clusters)


def _clusters(trace: Trace, components: Components) -> Clusters:
    """The partition of least expected variation of information; of very many rows, the most frequent components."""
    N, draws = trace.settings["n_observations"], trace.log_likelihood.size
    if N > _MAX_ROWS:
        owners = components.owners(np.arange(N))
        assert owners is not None
        return Clusters(owners[0], 1.0 - owners[1], len(components.draws), None)
    kept = spread(draws, max(_LEAST_DRAWS, _MAX_LABELS // N))
    searched = trace if len(kept) == draws else some_draws(trace, kept)
    partition = searched.partition()
    ball = searched.credible_ball(partition=partition)
    ends = [len(np.unique(bound[0])) for bound in (ball.upper_vertical, ball.lower_vertical)]
    labels = _numbered(partition.labels, components)
    return Clusters(labels, np.array(partition.uncertainty), len(kept), (min(ends), max(ends)))


def _numbered(labels: IntArray, components: Components) -> IntArray:
    """The same partition, each cluster with the number of the component that shares most rows with it."""
    rows = spread(len(labels), _SAMPLE)
    owners = components.owners(rows)
    assert owners is not None
    J, K = int(labels.max()) + 1, components.K
    shared = np.bincount(labels[rows] * K + owners[0], minlength=J * K).reshape(J, K)
    cluster, component = linear_sum_assignment(shared, maximize=True)
    number = np.full(J, -1)
    real = shared[cluster, component] > 0
    number[cluster[real]] = component[real]
    left = np.flatnonzero(number < 0)
    number[left] = K + np.arange(len(left))
    return np.asarray(number[labels], np.int64)
