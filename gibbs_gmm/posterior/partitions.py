"""Who belongs with whom: co-clustering probabilities, a point estimate of the partition, and a ball around it.

All draws of all chains count alike, and only as partitions: which label a cluster has does not matter.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

import numpy as np

from gibbs_gmm import checks
from gibbs_gmm.kernels.families.generic import zeros
from gibbs_gmm.kernels.posterior import co_clustering, partition_search
from gibbs_gmm.kernels.posterior.partition_search import Draws, Table
from gibbs_gmm.kernels.simd import LANES
from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray
from gibbs_gmm.posterior.clustering import Partition, assignments_of, contradiction, of_labels
from gibbs_gmm.posterior.numbering import like
from gibbs_gmm.posterior.partition_draws import collect
from gibbs_gmm.posterior.wording import count
from gibbs_gmm.seeds import seed_sequence
from gibbs_gmm.threads import Threads, thread_count
from gibbs_gmm.trace import Trace

LARGEST_MATRIX = 10_000
"""Rows for which :func:`similarity` makes a matrix: 10,000 rows are 800 MB."""

_LOSSES = {"vi": partition_search.VI, "binder": partition_search.BINDER, "omari": partition_search.OMARI}
_SCORING = 50_000_000  # cells counted to find the draws that are best as an answer
_FROM_DRAWS = 4  # runs that start from them: every second one, at first
_ROUND, _ENOUGH = 4, 4  # runs between two looks at whether the best loss has been found so often that it will do
_QUICK = 100_000  # labels of so few that all runs are made
_ATTEMPTS = 10  # clusters destroyed and allocated anew in a run, as in SALSO
_LARGEST_TABLE = 1 << 31  # bytes, of the tables of concurrent runs together
_PAIRS = 1 << 16


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class CredibleBall:
    """The draws nearest to a point estimate (Wade & Ghahramani 2018), from :meth:`gibbs_gmm.Trace.credible_ball`.

    Attributes
    ----------
    level : float
        The posterior probability asked for.
    partition : Partition
        The centre.
    loss : str
        "vi", "binder" or "omari": what distances are in, that of the partition; "vi" if it is of matched components.
    radius : float
        The smallest distance within which a share of at least ``level`` of the draws lies.
    probability : float
        The share of draws that do.
    inside : (C, T) bool
        Which these are.
    distances : (C, T) float64
        Distance of each draw from the centre.
    horizontal : (B, N) int64
        The draws inside that are farthest from the centre; one row unless several are equally far.
    upper_vertical : (B, N) int64
        Of the draws inside with the fewest clusters, those farthest from the centre.
    lower_vertical : (B, N) int64
        Of the draws inside with the most clusters, those farthest from the centre.
    horizontal_distance, upper_vertical_distance, lower_vertical_distance : float
        How far.

    Notes
    -----
    Clusters of the bounds have the number of the cluster of the centre that they are: see
    :func:`gibbs_gmm.posterior.numbering.like`.

    Examples
    --------
    Of the trace and the rows of :func:`gibbs_gmm.fit`'s example:

    >>> ball = trace.credible_ball()
    >>> ball.radius, ball.horizontal.shape
    (0.0, (1, 100))
    """

    level: float
    partition: Partition
    loss: str
    radius: float
    probability: float
    inside: AnyArray
    distances: FloatArray
    horizontal: IntArray
    upper_vertical: IntArray
    lower_vertical: IntArray
    horizontal_distance: float
    upper_vertical_distance: float
    lower_vertical_distance: float

    def __post_init__(self) -> None:
        for name in ("inside", "distances", "horizontal", "upper_vertical", "lower_vertical"):
            view = getattr(self, name).view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)

    def __repr__(self) -> str:
        upper, lower = (len(np.unique(bound[0])) for bound in (self.upper_vertical, self.lower_vertical))
        return (
            f"<CredibleBall: {self.probability:.1%} of the draws are within {self.loss} {self.radius:.4g} of "
            f"{count(self.partition.n_clusters, 'cluster')}; they have {upper} to {lower}>"
        )

    def _repr_html_(self) -> str:
        from gibbs_gmm.posterior.notebook import ball_html

        return ball_html(self)


# --- Questions asked of a trace ---------------------------------------------------------------------------------------


def similarity(trace: Trace, rows: Any = None, pairs: Any = None, *, threads: int | None = None) -> FloatArray:
    """Posterior probabilities that two observations are in the same cluster: see :meth:`gibbs_gmm.Trace.similarity`."""
    assignments = assignments_of(trace)
    N = assignments.shape[-1]
    if rows is not None and pairs is not None:
        raise ValueError("rows and pairs were both given: ask for one of them")
    if pairs is not None:
        pairs = _indices("pairs", pairs, N, "(P, 2)", 2)
        rows, places = np.unique(pairs, return_inverse=True)
        pairs = places.reshape(pairs.shape)
    elif rows is not None:
        rows = _indices("rows", rows, N, "(R,)", 1)
        if len(rows) > LARGEST_MATRIX:
            raise ValueError(f"rows must be at most {LARGEST_MATRIX:,} for a matrix, got {len(rows):,}; pass fewer")
    elif N > LARGEST_MATRIX:
        raise ValueError(
            f"the {N:,} x {N:,} matrix of all observations would be {8e-9 * N * N:.3g} GB, and the limit is "
            f"{LARGEST_MATRIX:,}: pass rows=, the numbers of some observations (a sample), or pairs=, of shape (P, 2)"
        )
    sample = collect(assignments, rows)
    U, count, member = len(sample.z), sample.count, sample.member
    with Threads(threads) as workers:
        if pairs is not None:
            among = np.ascontiguousarray(member[pairs])
            p = np.empty(len(pairs))
            workers.run(lambda a, b: co_clustering.pairs_together(sample.z, count, among, a, b, p), len(p), 1, _PAIRS)
            return p
        p, step = np.empty((U, U)), max(16, U // 64)
        workers.run(lambda a, b: co_clustering.share_together(sample.z, count, a, b, p), U, step, step)
    return p if len(member) == U else p[member[:, None], member]


def partition(
    trace: Trace,
    loss: str | None = None,
    *,
    runs: int = 16,
    max_clusters: int | None = None,
    rng: Any = 0,
    threads: int | None = None,
) -> Partition:
    """Who belongs with whom, as one answer: see :meth:`gibbs_gmm.Trace.partition`.

    The search is SALSO (Dahl, Johnson & Mueller 2022): several runs, each of which allocates the observations one after
    the other in random order, then moves single observations while this lowers the expected loss, and then destroys
    single clusters and allocates their observations anew. Some runs start from the draws that are the best answers
    themselves. The best partition of all runs is returned.
    """
    assignments = assignments_of(trace)
    runs = checks.integer("runs", runs, 1)
    if loss is None:
        if max_clusters is not None:
            raise ValueError("max_clusters is for the search with a loss: pass loss='vi', 'binder' or 'omari' too")
        return _said_if_contradicted(trace, trace._partition)
    code = _loss(loss)
    limit = 0 if max_clusters is None else checks.integer("max_clusters", max_clusters, 1)
    workers = thread_count(threads)
    keys = seed_sequence(rng).generate_state(runs, np.uint64)
    # Rows that no draw separates can be moved together without loss for VI and Binder. As a function of how many of
    # them are put into one of two clusters, the expected loss is concave (m log m and m^2 curve no more at n_k than at
    # the smaller n_kj, which count twice), so that its minimum is at an end: all of them, or none.
    sample = collect(assignments, None, collapse=loss != "omari")
    draws = sample.draws(code)
    limit = limit or int(sample.clusters.max())
    tables = _tables(draws, limit, workers)
    starts = _starts(draws, code, runs, limit, tables)
    found = np.empty((runs, len(sample.z)), np.int64)

    def run(r: int) -> float:
        start, from_draw = divmod(r, 2)
        labels = starts[start] if from_draw and start < len(starts) else np.full(len(sample.z), -1)
        table = tables.get()
        try:
            return partition_search.search(keys[r], draws, code, labels, limit, _ATTEMPTS, table, found[r])
        finally:
            tables.put(table)

    enough = runs if sample.z.size <= _QUICK else _ENOUGH
    expected: list[float] = []
    with ThreadPoolExecutor(tables.qsize()) as pool:
        while len(expected) < runs and _agreeing(expected) < enough:
            expected += pool.map(run, range(len(expected), min(len(expected) + _ROUND, runs)))
    best = int(np.argmin(np.round(expected, 12)))  # the first of those that are alike to rounding
    labels = like(trace._partition.labels, found[best][sample.member], trace.relabel().n_matched)
    searched = {"expected_loss": max(expected[best], 0.0), "runs": len(expected), "agreeing_runs": _agreeing(expected)}
    return _said_if_contradicted(trace, of_labels(trace, labels, loss=loss, **searched))


def _said_if_contradicted(trace: Trace, found: Partition) -> Partition:
    """The partition, after a warning, once for each loss, if its number of clusters is all but excluded."""
    text, question = contradiction(trace, found), f"partition({'' if found.loss is None else repr(found.loss)})"
    if text is not None and f"{question}: number" not in trace._warned:
        trace._warned.add(f"{question}: number")
        warnings.warn(f"{question}: {text}", UserWarning, stacklevel=4)  # 4: the caller of Trace.partition
    return found


def credible_ball(trace: Trace, level: float = 0.95, partition: Partition | None = None) -> CredibleBall:
    """The draws nearest to a point estimate: see :meth:`gibbs_gmm.Trace.credible_ball`."""
    level = checks.real("level", level)
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must be between 0 and 1, got {level}")
    assignments = assignments_of(trace)
    C, T, N = assignments.shape
    centre = trace._partition if partition is None else partition
    if not isinstance(centre, Partition):
        raise TypeError(f"partition must be a Partition, as trace.partition() gives it, or None, got {partition!r}")
    if len(centre.labels) != N:
        raise ValueError(f"partition must be of the {N} observations of this trace, got {len(centre.labels)}")
    sample = collect(assignments, None, collapse=False)
    loss = centre.loss or "vi"
    code = _loss(loss)
    draws = sample.draws(code)
    distance, compact = np.empty(len(sample.count)), np.searchsorted(centre.numbers, centre.labels)
    compact[centre.labels < 0] = centre.n_clusters
    partition_search.losses_of(draws, code, compact, _new_table(draws, int(compact.max()) + 1), distance)
    K = centre.probabilities.shape[1] - 1
    order = np.argsort(distance, kind="stable")
    # Counted in draws: level * S is rounded up, but not because of the last bit of the product.
    needed = math.ceil(level * C * T * (1.0 - 4.0 * np.finfo(float).eps))
    radius = float(distance[order[np.searchsorted(np.cumsum(sample.count[order]), needed)]])
    inside = distance <= _about(radius)
    clusters = np.diff(draws.first)
    bounds: dict[str, Any] = {}
    for name, candidates in {
        "horizontal": inside,
        "upper_vertical": inside & (clusters == clusters[inside].min()),
        "lower_vertical": inside & (clusters == clusters[inside].max()),
    }.items():
        farthest = float(distance[candidates].max())
        chosen = np.flatnonzero(candidates & (_about(distance) >= farthest))
        bounds[name] = np.stack([like(centre.labels, sample.z[:, s].astype(np.int64), K) for s in chosen])
        bounds[f"{name}_distance"] = farthest
    return CredibleBall(
        level=level,
        partition=centre,
        loss=loss,
        radius=radius,
        probability=float(sample.count[inside].sum() / (C * T)),
        inside=inside[sample.draw].reshape(C, T),
        distances=distance[sample.draw].reshape(C, T),
        **bounds,
    )


def partition_distance(a: Any, b: Any, loss: str = "vi") -> float:
    """The loss between two partitions of the same observations, given by their labels.

    Parameters
    ----------
    a, b : array-like (N,) of integers
        Labels of the clusters; which numbers they are does not matter.
    loss : {"vi", "binder", "omari"}
        The variation of information in bits (Meila 2007), the share of ordered pairs on which they disagree (Binder
        1978), or one minus the adjusted Rand index (Hubert & Arabie 1985). The first two are metrics.

    Returns
    -------
    float
        0 if they are the same partition.

    Examples
    --------
    >>> import gibbs_gmm as gg
    >>> gg.partition_distance([0, 0, 1, 1], [1, 1, 0, 0])
    0.0
    >>> gg.partition_distance([0, 0, 1, 1], [0, 0, 0, 0])
    1.0
    """
    code = _loss(loss)
    labels = []
    for name, value in (("a", a), ("b", b)):
        array = np.asarray(value)
        if array.dtype.kind not in "iu":
            raise TypeError(f"{name} must hold integers of shape (N,), got dtype {array.dtype}")
        if array.ndim != 1 or len(array) == 0:
            raise ValueError(f"{name} must have shape (N,) with at least one entry, got {array.shape}")
        labels.append(np.unique(array, return_inverse=True)[1].astype(np.int64))
    if len(labels[0]) != len(labels[1]):
        raise ValueError(f"a and b must be as long as each other, got {len(labels[0])} and {len(labels[1])}")
    if labels[1].max() >= 1 << 16:
        labels.reverse()
    if labels[1].max() >= 1 << 16:
        raise ValueError(f"one of a and b must have at most 65,536 clusters, got {labels[1].max() + 1:,} or more")
    draws = collect(labels[1].astype(np.uint16)[None, None], None, collapse=False).draws(code)
    table = _new_table(draws, int(labels[0].max()) + 1)
    return float(partition_search.losses_of(draws, code, labels[0], table, np.empty(1)))


# --- The search -------------------------------------------------------------------------------------------------------


def _new_table(draws: Draws, width: int) -> Table:
    """A table with room for ``width`` clusters; its vectors of eight doubles start on cache lines."""
    (U, S), L, width = draws.z.shape, int(draws.first[-1]), -(-width // LANES) * LANES
    return Table(
        n=np.zeros((L, width), np.int32),
        gain=zeros(L, width),
        less=zeros(L, width),
        size=np.zeros(width, np.int64),
        label=np.full(U, -1),
        m=np.zeros(L, np.int64),
        pairs=np.zeros((2, S)),
        at=np.zeros(S, np.int64),
        sums=zeros(2, width),
        numbers=np.zeros(5),
        now=np.zeros(1),
    )


def _tables(draws: Draws, limit: int, workers: int) -> SimpleQueue[Table]:
    """A table for each run at a time: as many as workers, or fewer where they are large."""
    size = 20 * int(draws.first[-1]) * (limit + LANES)
    if size > _LARGEST_TABLE:
        raise ValueError(
            f"max_clusters must be smaller for these draws: a table for {limit:,} clusters would take "
            f"{size / 1e9:.3g} GB, and the limit is {_LARGEST_TABLE / 1e9:.3g} GB"
        )
    tables: SimpleQueue[Table] = SimpleQueue()
    for _ in range(max(1, min(workers, _LARGEST_TABLE // size))):
        tables.put(_new_table(draws, limit + 1))
    return tables


def _starts(draws: Draws, loss: int, runs: int, limit: int, tables: SimpleQueue[Table]) -> list[IntArray]:
    """The draws that are best as an answer, for the first runs to start from.

    All draws are tried where that costs little, and some, at equal distances, where there are many and large ones.
    """
    U, S = draws.z.shape
    allowed = np.flatnonzero(np.diff(draws.first) <= limit)
    tried = allowed[:: max(1, math.ceil(len(allowed) / max(16, _SCORING // (U * S))))]

    def score(s: int) -> float:
        table = tables.get()
        try:
            labels = draws.z[:, s].astype(np.int64)
            return partition_search.losses_of(draws, loss, labels, table, np.empty(S))
        finally:
            tables.put(table)

    with ThreadPoolExecutor(tables.qsize()) as pool:
        expected = np.array(list(pool.map(score, tried)))
    best = tried[np.argsort(np.round(expected, 12), kind="stable")[:_FROM_DRAWS]]
    return [draws.z[:, s].astype(np.int64) for s in best]


# --- Small pieces -----------------------------------------------------------------------------------------------------


def _loss(loss: Any) -> int:
    if not isinstance(loss, str) or loss not in _LOSSES:
        raise ValueError(f"loss must be 'vi', 'binder' or 'omari', got {loss!r}")
    return _LOSSES[loss]


def _indices(name: str, value: Any, N: int, shape: str, ndim: int) -> IntArray:
    """Numbers of observations, 0, ..., N - 1."""
    array = np.asarray(value)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must hold integers of shape {shape}, got dtype {array.dtype}")
    if array.ndim != ndim or array.size == 0 or (ndim == 2 and array.shape[1] != 2):
        raise ValueError(f"{name} must have shape {shape} with at least one entry, got {array.shape}")
    if array.min() < 0 or array.max() >= N:
        raise ValueError(f"{name} must be between 0 and N - 1 = {N - 1}, got {array.min()} to {array.max()}")
    return array.astype(np.int64)


def _agreeing(expected: list[float]) -> int:
    """How many runs ended at the lowest expected loss, or so near it that draws cannot tell them apart."""
    return sum(value <= _about(1.0001 * min(expected)) for value in expected)


def _about(distance: Any) -> Any:
    """A little more than ``distance``: those that are equal were summed in different orders."""
    return distance + 1e-10
