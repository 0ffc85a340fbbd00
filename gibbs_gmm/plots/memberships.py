"""Who is sure and who is not: the membership probabilities of the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gibbs_gmm.kernels.types import FloatArray, IntArray
from gibbs_gmm.plots.style import INK, PALE, distinct, frame, on_axes
from gibbs_gmm.posterior.clustering import Partition
from gibbs_gmm.posterior.matched import spread
from gibbs_gmm.trace import Trace

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAX_ROWS = 2000
_NAMED = 0.03  # of the width: what a number at the edge takes


def membership(trace: Trace | Partition, axes: Axes | None = None) -> Any:
    """Membership probabilities: a thin column for each row, filled with the colours of the clusters it may be of.

    Rows are sorted by their cluster, and in it from the surest to the least sure. A column of one colour is a row that
    is sure; a second colour is the probability of another cluster.

    Parameters
    ----------
    trace : Trace or Partition
        The posterior, or what ``trace.partition()`` gave.
    axes : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Raises
    ------
    ImportError
        matplotlib is not installed.
    ValueError
        The trace has no assignments.

    Examples
    --------
    Of the trace and the rows of :func:`gibbs_gmm.fit`'s example:

    >>> gg.plots.membership(trace).get_xlabel()
    'rows, by cluster, the surest first'
    """
    partition = trace._partition if isinstance(trace, Trace) else trace
    ax = on_axes(axes, (1, 1), (7.2, 2.6), "membership probabilities")[0, 0]
    order = np.lexsort((partition.uncertainty, partition.labels))
    rows = order[spread(len(order), _MAX_ROWS)]
    p, shown = partition.probabilities[rows], partition.labels[rows]
    colours = [*distinct(p.shape[1] - 1), PALE]
    edges = np.arange(len(rows) + 1)
    # A row's own cluster is at the bottom, so that what it lacks of 1 is what is unsure.
    places = np.argsort(np.arange(p.shape[1]) != shown[:, None] % p.shape[1], axis=1, kind="stable")
    heights = np.take_along_axis(p, places, 1)
    tops = np.cumsum(heights, axis=1)
    for k, colour in enumerate(colours):
        at = (places == k).argmax(1)[:, None]
        top = np.take_along_axis(tops, at, 1)[:, 0]
        bottom = top - np.take_along_axis(heights, at, 1)[:, 0]
        if (top > bottom).any():
            ends = (np.append(bound, bound[-1]) for bound in (bottom, top))  # stairs() takes a second for all this
            ax.fill_between(edges, *ends, step="post", color=colour, lw=0.0)
    _name(ax, shown)
    frame(ax)
    ax.set_xlim(0, len(rows))
    ax.set_ylim(0.0, 1.0)
    some = "" if len(rows) == len(order) else f"  ({len(rows):,} of {len(order):,} shown)"
    ax.set_xlabel(f"rows, by cluster, the surest first{some}", fontsize=9, color=INK)
    ax.set_ylabel("probability", fontsize=9, color=INK)
    return ax


def _name(ax: Any, shown: IntArray) -> None:
    """The number of each cluster below its rows, and a line between two clusters."""
    first = np.flatnonzero(np.r_[True, np.diff(shown) != 0])
    last = np.r_[first[1:], len(shown)]
    for edge in first[1:]:
        ax.axvline(edge, color="white", lw=1.2)
        ax.axvline(edge, color=INK, lw=0.6)
    ax.set_xticks(apart((first + last) / 2, len(shown), _NAMED), [str(k) if k >= 0 else "none" for k in shown[first]])
    ax.tick_params(axis="x", length=0)


def apart(places: FloatArray, length: float, gap: float) -> FloatArray:
    """Increasing places in 0..``length``, moved as little as keeps two of them ``gap`` of the length apart."""
    if len(places) < 2:
        return places
    least = min(gap, 1.0 / len(places)) * length
    shifted = places - least * np.arange(len(places))
    # What is nearest to the places and does not decrease: pool adjacent violators.
    blocks: list[list[float]] = []
    for value in shifted:
        blocks.append([value, 1.0])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            value_b, n_b = blocks.pop()
            value_a, n_a = blocks.pop()
            blocks.append([(value_a * n_a + value_b * n_b) / (n_a + n_b), n_a + n_b])
    pooled = np.concatenate([np.full(int(n), value) for value, n in blocks])
    return np.asarray(
        np.clip(pooled, 0.0, max(0.0, length - least * (len(places) - 1))) + least * np.arange(len(places))
    )
