"""Merging clusters as a reading aid: which of them may together be one kind that is not normal."""

from __future__ import annotations

import csv
import dataclasses
import os
from typing import Any

import numpy as np
from scipy import special

from gibbs_gmm import checks
from gibbs_gmm.data_warnings import drawn_rows
from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray
from gibbs_gmm.optional import needs
from gibbs_gmm.posterior.matched import Components, matched_components
from gibbs_gmm.posterior.wording import html_table, text_table
from gibbs_gmm.trace import Trace

SHALLOW = 0.2
"""A dip in the density that chance may leave in one kind."""

_ROWS = 50_000  # whose memberships the entropies are of
_RIDGE = 200  # points of a ridgeline
_NOTHING = 1e-9  # nats a row that count as no decrease
_NOTE = (
    "Merging is worth a thought where the entropy falls much, since it was unclear which of the two a row is in, and "
    "where the density has no deep dip between them (0: none, 1: down to nothing)."
)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Merged:
    """Partitions from all J clusters down to one, two merged at each of J - 1 steps; :meth:`gibbs_gmm.Trace.merged`.

    The J clusters are the components that are most probable for some row; others are taken for part of the one that
    they share most with. Clusters have the numbers of the components of :meth:`gibbs_gmm.Trace.summary`; a merged one
    has the smaller number of its two.

    Attributes
    ----------
    n_clusters : (J,) int64
        J, J - 1, ..., 1.
    pair : (J, 2) int64
        The two clusters that the step to this number has merged; -1 for the first row, before any step.
    rows : (J,) int64
        How many rows the merged cluster has.
    entropy : (J,) float64
        -sum_i sum_k t_ik log t_ik, in nats, over the probabilities t_ik that row i is in cluster k: 0 where all rows
        are sure.
    decrease : (J,) float64
        By how much the step has lowered it: what was unclear between the two.
    dip : (J,) float64
        How deep the density falls on the way from the one to the other before it rises again (Ray & Lindsay 2005;
        Hennig 2010), as a share of the lower height beside the dip: 1 where nothing is between them; 0 where there is
        no dip, so that they are two for their shape alone.
    """

    n_clusters: IntArray
    pair: IntArray
    rows: IntArray
    entropy: FloatArray
    decrease: FloatArray
    dip: FloatArray
    _start: AnyArray  # (N,) the cluster of each row before merging, K for outliers
    _groups: IntArray  # (J, K + 1) what each of these is merged into, -1 for outliers

    def __post_init__(self) -> None:
        for value in vars(self).values():
            value.flags.writeable = False

    def __len__(self) -> int:
        return len(self.n_clusters)

    def __repr__(self) -> str:
        return text_table(*self._text(), (_NOTE,))

    def _repr_html_(self) -> str:
        return html_table(*self._text(), (_NOTE,))

    def labels(self, n_clusters: int) -> IntArray:
        """The partition with this many clusters.

        Parameters
        ----------
        n_clusters : int
            From 1 to J.

        Returns
        -------
        (N,) int64
            The number of the cluster that each row's most probable one is merged into.
        """
        k, J = checks.integer("n_clusters", n_clusters, 1), len(self)
        if k > J:
            raise ValueError(f"n_clusters must be at most {J}, the clusters before merging, got {k}")
        return np.asarray(self._groups[J - k][self._start], np.int64)

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the table to a CSV file, every digit of it."""
        columns = self._columns()
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))

    def to_dataframe(self) -> Any:
        """The table as a pandas DataFrame, indexed by the number of clusters."""
        pd = needs("pandas", "arviz", "to_dataframe()")
        return pd.DataFrame(self._columns()).set_index("n_clusters")

    def plot(self, axes: Any = None) -> Any:
        """The picture of :func:`gibbs_gmm.plots.merged`."""
        from gibbs_gmm.plots import merged as picture

        return picture(self, axes)

    def _columns(self) -> dict[str, AnyArray]:
        first, second = self.pair.T
        names = ("n_clusters", "rows", "entropy", "decrease", "dip")
        values = {name: getattr(self, name) for name in names}
        return {"n_clusters": values.pop("n_clusters"), "first": first, "second": second} | values

    def _text(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        lines = []
        for step, k in enumerate(self.n_clusters):
            cells = ["-"] * 4
            if step > 0:
                a, b = self.pair[step]
                cells = [f"{a} and {b}", str(self.rows[step]), f"{self.decrease[step]:z.2f}"]
                cells.append(f"{self.dip[step]:.2f}")
            lines.append((str(k), *cells[:2], f"{self.entropy[step]:z.2f}", *cells[2:]))
        return ("clusters", "merged", "rows", "entropy", "less by", "dip"), lines


def merged(trace: Trace) -> Merged:
    """Clusters merged two at a time, from all down to one, and what each step costs: an aid to reading.

    For kinds that are not normal, of which a mixture makes several clusters. The clusters are those of
    :meth:`gibbs_gmm.Trace.summary`. Each step merges the two clusters whose merging lowers the entropy of the rows'
    memberships most (Baudry, Raftery, Celeux, Lo & Gottardo 2010), or the nearest two where no row is between any. Of
    more than 50,000 rows as many are drawn for the entropies.

    Returns
    -------
    Merged
        ``merged.labels(k)`` is the partition with k clusters. See :class:`gibbs_gmm.posterior.merging.Merged`.

    Raises
    ------
    ValueError
        The trace has no assignments.

    Examples
    --------
    >>> import gibbs_gmm as gg
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.exponential(1.0, (100, 2)), 20.0 + rng.normal(size=(100, 2))])
    >>> merged = gg.fit(X, 4, draws=200, warmup=500, rng=1).merged()
    >>> np.bincount(merged.labels(2))[np.unique(merged.labels(2))]
    array([100, 100])
    """
    if trace.assignments is None:
        raise ValueError("a trace without assignments has no clusters to merge; fit with save_assignments=True")
    return merge_components(matched_components(trace))


def merge_components(components: Components) -> Merged:
    """The same of matched components of a trace with assignments."""
    partition = components.trace._partition
    outlier, N = partition.labels < 0, len(partition.labels)
    start = np.where(outlier, components.K, partition.labels)
    sample = drawn_rows(N, _ROWS)
    t, each = partition.probabilities[sample, :-1], N / len(sample)  # rows that one of the sample stands for
    left = np.unique(start[~outlier]).tolist()
    for b in set(range(components.K)) - set(
        left
    ):  # no row's most probable component: part of the one it shares most with
        t[:, left[int((t[:, b] @ t[:, left]).argmax())]] += t[:, b]
        t[:, b] = 0.0
    J = len(left)
    distance, dip = _between(components)
    h, size = each * _entropies(t), np.bincount(start, minlength=components.K)
    into = np.append(np.arange(components.K), -1)
    pairs, rows, dips, entropy, groups = [(-1, -1)], [N], [0.0], [float(h.sum())], [into.copy()]
    gain = np.zeros((components.K, components.K))  # by how much merging two would lower the entropy

    def look(a: int) -> None:
        others = [c for c in left if c != a]
        gain[a, others] = gain[others, a] = h[a] + h[others] - each * _entropies(t[:, [a]] + t[:, others])

    for a in left:
        look(a)
    while len(left) > 1:
        a, b = _best(gain, distance, left, _NOTHING * N)
        t[:, a] += t[:, b]
        t[:, b] = 0.0
        left.remove(b)
        h[[a, b]] = each * _entropies(t[:, [a, b]])
        look(a)
        size[a] += size[b]
        into[into == b] = a
        pairs.append((a, b))
        rows.append(int(size[a]))
        dips.append(float(dip[a, b]))
        entropy.append(float(h.sum()))
        groups.append(into.copy())
        for array in (distance, dip):  # of groups, those of the nearest pair in them
            array[a] = array[:, a] = np.minimum(array[a], array[b])
    return Merged(
        n_clusters=np.arange(J, 0, -1),
        pair=np.array(pairs),
        rows=np.array(rows),
        entropy=np.array(entropy),
        decrease=np.concatenate([[0.0], -np.diff(entropy)]),
        dip=np.array(dips),
        _start=start.astype(np.min_scalar_type(components.K)),
        _groups=np.array(groups),
    )


def _entropies(t: FloatArray) -> FloatArray:
    """(J,): -sum_i t_ij log t_ij."""
    return np.asarray(-(t * np.log(np.where(t > 0.0, t, 1.0))).sum(0), np.float64)


def _best(gain: FloatArray, distance: FloatArray, left: list[int], nothing: float) -> tuple[int, int]:
    """The two clusters whose merging lowers the entropy most; if that is nothing for any two, the nearest."""
    pairs = [(a, b) for i, a in enumerate(left) for b in left[i + 1 :]]
    best = max(pairs, key=lambda pair: gain[pair])
    return best if gain[best] > nothing else min(pairs, key=lambda pair: distance[pair])


def _between(components: Components) -> tuple[FloatArray, FloatArray]:
    """Bhattacharyya distances (J, J) of the components at their posterior means, and the dips between."""
    weight, mean, covariance = average_normals(components)
    J = len(weight)
    distance, dip = np.full((J, J), np.inf), np.ones((J, J))
    for a in range(J):
        for b in range(a + 1, J):
            A, B, step = covariance[a], covariance[b], mean[b] - mean[a]
            middle, log_dets = 0.5 * (A + B), np.linalg.slogdet(np.stack([0.5 * (A + B), A, B]))[1]
            far = step @ np.linalg.solve(middle, step) / 8.0 + 0.5 * (log_dets[0] - 0.5 * log_dets[1:].sum())
            distance[a, b] = distance[b, a] = far
            dip[a, b] = dip[b, a] = dip_between(weight, mean, covariance, a, b)
    return distance, dip


def average_normals(components: Components) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Posterior means of weights (J,), means (J, D) and covariances (J, D, D)."""
    everything = np.arange(len(components.trace.columns))
    mean = components.average(components.means(everything))
    return components.weights.mean(0), mean, components.average(components.covariances(everything))


def dip_between(weight: FloatArray, mean: FloatArray, covariance: FloatArray, a: int, b: int) -> float:
    """How deep the density of a mixture of normals falls on the way from component a to b, before it rises again.

    A share of the lower of the two heights beside the dip: 0 if there is none, 1 if nothing is left between. The way is
    the ridgeline of the two, x(s) = S(s) ((1 - s) A^-1 mu_a + s B^-1 mu_b), 0 <= s <= 1, with S(s)^-1 = (1 - s) A^-1 +
    s B^-1: all modes of the two alone are on it, and they have one if there is no dip (Ray & Lindsay 2005). The density
    is that of all components, so that a third may fill the gap.
    """
    P, Q = np.linalg.inv(covariance[[a, b]])
    s = np.linspace(0.0, 1.0, _RIDGE)[:, None]
    towards = (1.0 - s) * (P @ mean[a]) + s * (Q @ mean[b])
    x = np.linalg.solve((1.0 - s[..., None]) * P + s[..., None] * Q, towards[..., None])[..., 0]
    d = x - mean[:, None]
    q = (np.linalg.solve(covariance, d.swapaxes(1, 2)).swapaxes(1, 2) * d).sum(-1)
    log_norm = np.log(np.maximum(weight, np.finfo(float).tiny)) - 0.5 * np.linalg.slogdet(covariance)[1]
    log_density = special.logsumexp(log_norm[:, None] - 0.5 * q, axis=0)
    before, beyond = (np.maximum.accumulate(way) for way in (log_density, log_density[::-1]))
    return float(1.0 - np.exp((log_density - np.minimum(before, beyond[::-1])).min()))
