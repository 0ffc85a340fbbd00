"""What sets the clusters apart: their means in every column, on one scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gibbs_gmm.data import copies_of
from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray
from gibbs_gmm.plots.style import GREY, INK, PALE, distinct, frame, matplotlib, on_axes, short
from gibbs_gmm.posterior.matched import Components, checked_columns, checked_data, matched_components, spread
from gibbs_gmm.posterior.wording import percent
from gibbs_gmm.trace import Trace

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAX_COLUMNS, _MAX_PANELS, _ACROSS = 40, 24, 4
_MAX_DRAWS = 2000
_WIDTH, _ROW = 2.3, 0.21  # inches: of a panel, and of a column's place in it


def profiles(
    trace: Trace, X: Any, axes: Axes | AnyArray | None = None, *, columns: Sequence[str] | None = None
) -> AnyArray:
    """Profile of each cluster: its mean in every column, in standard deviations from the mean of all rows.

    A panel for each cluster and a line for each column. The point is the posterior mean of the cluster's mean, the dark
    bar its 90% interval, and the pale bar reaches one standard deviation of the cluster to either side: about two
    thirds of its rows are in it. Where points of two clusters are on different sides of 0, that column tells them
    apart. Clusters are the matched components of :meth:`gibbs_gmm.Trace.summary`, with their numbers.

    Parameters
    ----------
    trace : Trace
        The posterior.
    X : array-like (N, D) or (N,)
        The observations it was fitted to: what is 0, and what is 1, in each column.
    axes : array of Axes, optional
        Where to draw: one for each of K clusters. A new figure by default, of at most 24.
    columns : sequence of str, optional
        Names of the columns to draw; by default all, or the 40 that tell clusters apart best.

    Returns
    -------
    (K,) array of Axes

    Raises
    ------
    ImportError
        matplotlib is not installed.
    ValueError
        X, axes or columns do not fit the trace.

    Examples
    --------
    Of the trace and the rows of :func:`gibbs_gmm.fit`'s example:

    >>> [ax.get_title(loc="left") for ax in gg.plots.profiles(trace, X)]
    ['cluster 0  (50%)', 'cluster 1  (50%)']
    """
    array = checked_data(trace, X)
    chosen = None if columns is None else checked_columns(trace, columns)
    kinds = matched_components(trace)
    shown = kinds.telling_columns(_MAX_COLUMNS) if chosen is None else chosen
    panels = min(kinds.K, _MAX_PANELS) if axes is None else kinds.K
    across = min(panels, _ACROSS)
    down = -(-panels // across)
    if axes is None:
        size = (1.1 + _WIDTH * across, down * (0.55 + _ROW * max(2, len(shown))) + 0.4)
        flat: AnyArray = on_axes(None, (down, across), size, "profiles").ravel()
    else:
        flat = on_axes(axes, (1, panels), (0.0, 0.0), f"{panels} clusters").ravel()
    centre, spread_of, low, high = _standardised(kinds, array, shown)
    reach = 1.05 * max(1.0, float(np.max(np.abs(centre) + spread_of)))
    colours, y = distinct(kinds.K), np.arange(len(shown))
    for k, ax in enumerate(flat[:panels]):
        frame(ax)
        ax.axvline(0.0, color=GREY, lw=0.8, zorder=1)
        ax.hlines(y, centre[k] - spread_of[k], centre[k] + spread_of[k], color=colours[k], lw=7.0, alpha=0.25, zorder=2)
        ax.hlines(y, low[k], high[k], color=INK, lw=1.6, zorder=3)
        ax.scatter(centre[k], y, s=26, color=colours[k], edgecolor=INK, lw=0.5, zorder=4)
        ax.set_xlim(-reach, reach)
        ax.set_ylim(len(shown) - 0.4, -0.6)
        ax.xaxis.set_major_locator(matplotlib("ticker").MaxNLocator(4, integer=True))
        ax.set_yticks(y, [short(trace.columns[d]) for d in shown] if k % across == 0 else [""] * len(y))
        ax.tick_params(axis="y", length=0)
        ax.grid(axis="y", color=PALE, lw=0.6, zorder=0)
        share = percent(float(kinds.weights[:, k].mean()))
        ax.set_title(f"cluster {k}  ({share})", fontsize=10, color=INK, loc="left")
    for ax in flat[panels:]:
        ax.set_axis_off()
    what = "standard deviations from the mean of all rows"
    if panels < kinds.K:
        what += f"; {panels} of {kinds.K} clusters are shown"
    if len(shown) < len(trace.columns) and columns is None:
        what += f"; {len(shown)} of {len(trace.columns)} columns are shown"
    if axes is None:
        flat[0].figure.supxlabel(what, fontsize=9, color=INK)
    else:
        flat[0].set_xlabel(what, fontsize=9, color=INK)
    result: AnyArray = flat[:panels]
    return result


def _standardised(
    kinds: Components, X: AnyArray, shown: IntArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Means, standard deviations and 90% limits of the means (K, d), in standard deviations about the mean of X."""
    if (copies := copies_of(kinds.trace.counts)) is None:
        location = np.nanmean(X[:, shown], 0, dtype=np.float64)
        scale = np.nanstd(X[:, shown], 0, dtype=np.float64)
    else:  # without missing values
        location = np.average(X[:, shown], 0, copies)
        scale = np.sqrt(np.average((X[:, shown] - location) ** 2, 0, copies))
    scale = np.where(scale > 0.0, scale, 1.0)
    some = spread(len(kinds.draws), _MAX_DRAWS)
    means = (kinds.means(shown)[some] - location) / scale
    low, high = np.quantile(means, [0.05, 0.95], axis=0)
    variances = np.stack([kinds.average(kinds.covariances(shown[[j]]))[:, 0, 0] for j in range(len(shown))], axis=1)
    return kinds.average((kinds.means(shown) - location) / scale), np.sqrt(variances) / scale, low, high
