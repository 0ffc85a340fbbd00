"""Who belongs with whom: the similarity matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from gibbs_gmm import checks
from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray
from gibbs_gmm.plots.memberships import apart
from gibbs_gmm.plots.style import GREY, INK, frame, on_axes
from gibbs_gmm.posterior.matched import spread
from gibbs_gmm.trace import Trace

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NAMED = 0.032  # of the side: what a name beside it takes


def similarity(trace: Trace, axes: Axes | None = None, *, partition: Any = None, max_rows: int = 1000) -> Any:
    """Posterior probabilities that two observations are in the same cluster, ordered by the point partition.

    Dark squares about the diagonal are clusters that hold together, pale parts inside them rows that may be split, dark
    parts outside clusters that may be one. The clusters are those of the partition, outlined and named, by number;
    within one, rows that are often together are next to each other. The diagonal itself, a row and the same row, says
    nothing and is left white.

    Parameters
    ----------
    trace : Trace
        The posterior, with assignments.
    axes : Axes, optional
        Where to draw; a new figure by default.
    partition : Partition or (N,) integers, optional
        Another one, or labels of the clusters; by default that of ``trace.partition()``.
    max_rows : int
        Rows to show; of more, some of each cluster in proportion to its size.

    Returns
    -------
    Axes

    Raises
    ------
    ImportError
        matplotlib is not installed.
    ValueError
        The trace has no assignments, or the partition is of other observations.

    Examples
    --------
    Of the trace and the rows of :func:`gibbs_gmm.fit`'s example:

    >>> [text.get_text() for text in gg.plots.similarity(trace).texts]
    ['0', '1']
    """
    max_rows = checks.integer("max_rows", max_rows, 2)
    ax = on_axes(axes, (1, 1), (6.0, 5.2), "a similarity matrix")[0, 0]
    labels = np.asarray(getattr(trace._partition if partition is None else partition, "labels", partition))
    N = trace.n_rows
    if labels.shape != (N,) or labels.dtype.kind not in "iu":
        raise ValueError(f"partition must be of the {N} observations of the trace, got shape {labels.shape}")
    rows = np.argsort(labels, kind="stable")[spread(N, max_rows)]
    matrix, shown = trace.similarity(rows=rows), labels[rows]
    order = np.concatenate([_in_order(matrix, np.flatnonzero(shown == k)) for k in np.unique(shown)])
    matrix, shown = matrix[np.ix_(order, order)], shown[order]
    np.fill_diagonal(matrix, np.nan)
    image = ax.imshow(matrix, cmap="Blues", vmin=0.0, vmax=1.0, interpolation="nearest", rasterized=True)
    _outline(ax, shown)
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.8, pad=0.02)
    bar.set_label("probability of being in one cluster", fontsize=9, color=INK)
    bar.ax.tick_params(labelsize=8, color=GREY, labelcolor=INK)
    bar.outline.set_visible(False)
    some = "" if len(rows) == N else f" ({len(rows):,} of {N:,} shown)"
    ax.set_xlabel(f"observations{some}, by cluster of the partition", fontsize=9, color=INK)
    ax.set_ylabel("cluster", fontsize=9, color=INK, labelpad=18.0)
    return ax


def _in_order(matrix: FloatArray, rows: IntArray) -> IntArray:
    """Rows of one cluster, those that are often together side by side: the leaves of an average-linkage tree."""
    if len(rows) < 3:
        return rows
    distance = 1.0 - matrix[np.ix_(rows, rows)]
    np.fill_diagonal(distance, 0.0)
    tree = hierarchy.linkage(squareform(np.maximum(distance, 0.0), checks=False), "average")
    return np.asarray(rows[hierarchy.leaves_list(tree)], np.int64)


def _outline(ax: Any, shown: AnyArray) -> None:
    """Squares around the clusters of these rows, which come one after the other, and their names."""
    first = np.flatnonzero(np.r_[True, np.diff(shown) != 0])
    last = np.r_[first[1:], len(shown)]
    for a, b in zip(first - 0.5, last - 0.5, strict=True):
        ax.plot([a, b, b, a, a], [a, a, b, b, a], color=INK, lw=0.8, clip_on=False)
    frame(ax)
    ax.set_xlim(-0.5, len(shown) - 0.5)
    ax.set_ylim(len(shown) - 0.5, -0.5)
    ax.spines[["left", "bottom"]].set_visible(False)
    ax.tick_params(length=0)
    ax.set_xticks([])
    N, centre = len(shown), (first + last - 1) / 2
    place = apart(centre, N - 1, _NAMED)
    size = 8.0 if len(first) <= 1.0 / _NAMED else 8.0 / (_NAMED * len(first))
    ax.set_yticks([])
    for k, own, text in zip(shown[first], centre, place, strict=True):
        ax.plot([-0.5, -0.5 - 0.02 * N], [own, text], color=GREY, lw=0.5, clip_on=False)
        ax.text(-0.5 - 0.027 * N, text, str(k), fontsize=size, color=INK, ha="right", va="center")
