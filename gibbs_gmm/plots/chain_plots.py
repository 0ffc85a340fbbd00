"""Did the chains agree? Traces and ranks of quantities that do not depend on labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gibbs_gmm.kernels.types import AnyArray, FloatArray
from gibbs_gmm.plots.style import GREY, INK, PALE, distinct, frame, matplotlib, on_axes
from gibbs_gmm.posterior.agreement import invariants
from gibbs_gmm.posterior.matched import spread
from gibbs_gmm.trace import Trace

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DEFAULT = ("log_likelihood", "n_clusters", "n_components", "concentration", "sorted_weight[0]")
_MAX_POINTS = 4000  # per panel
_BINS = 20
_NUMBERED = 12  # chains
_JITTER = 0.3  # of counts, which would be drawn over each other
_LONG_TAIL = 20.0  # times the median: beyond it, a logarithmic axis


def chains(trace: Trace, axes: Axes | AnyArray | None = None, *, quantities: Sequence[str] | None = None) -> AnyArray:
    """Traces and rank plots, by chain, of quantities that do not depend on labels.

    To the left, the draws of each chain, chains side by side, with each chain's mean: all should look alike, and none
    should drift. Points of counts are moved a little, to be seen. To the right, how the draws of each chain rank among
    all draws (Vehtari et al. 2021): one histogram above the other, all flat, at the thin lines, where the chains agree.
    Equal values are ranked in an order chosen by lot, so that those of counts are flat too.

    Parameters
    ----------
    trace : Trace
        The posterior.
    axes : (Q, 2) array of Axes, optional
        Where to draw Q quantities; a new figure by default.
    quantities : sequence of str, optional
        Their names: label-invariant rows of ``trace.summary()``. By default log_likelihood, and of n_clusters,
        n_components, concentration and sorted_weight[0] those that there are and that are not constant.

    Returns
    -------
    (Q, 2) array of Axes

    Raises
    ------
    ImportError
        matplotlib is not installed.
    ValueError
        A name is unknown, or the shape of axes is not (Q, 2).

    Examples
    --------
    Of the trace and the rows of :func:`gibbs_gmm.fit`'s example:

    >>> gg.plots.chains(trace, quantities=["log_likelihood"])
    <1 x 2 Axes>
    """
    known = invariants(trace)
    if quantities is None:
        names = [name for name in _DEFAULT if name in known and (name == "log_likelihood" or np.ptp(known[name]) > 0)]
    else:
        if isinstance(quantities, str) or len(quantities) == 0:
            raise ValueError(f"quantities must be a sequence of names, got {quantities!r}")
        names = list(quantities)
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ValueError(f"quantities must be among {list(known)}, got {unknown}")
    shape = (len(names), 2)
    grid = on_axes(axes, shape, (8.4, 0.7 + 1.7 * len(names)), f"{len(names)} quantities")
    colours = distinct(len(trace.log_likelihood))
    for (left, right), name in zip(grid, names, strict=True):
        _trace(left, known[name], colours)
        _ranks(right, known[name], colours)
        left.set_ylabel(name, fontsize=9, color=INK)
    grid[0, 0].set_title("draws of each chain", fontsize=10, color=INK, loc="left")
    grid[0, 1].set_title("ranks of each chain's draws among all", fontsize=10, color=INK, loc="left")
    grid[-1, 0].set_xlabel("chain", fontsize=9, color=INK)
    grid[-1, 1].set_xlabel("rank", fontsize=9, color=INK)
    return grid


def _trace(ax: Any, values: FloatArray, colours: list[str]) -> None:
    """The draws (C, T) of each chain, side by side, and their mean."""
    C, T = values.shape
    shown = spread(T, max(2, _MAX_POINTS // C))
    width = 0.94  # of a chain's place
    place = (shown + 0.5) / T * width
    whole = bool((values == np.round(values)).all())
    points: dict[str, Any] = {"lw": 0.5, "marker": "o" if len(shown) < 10 else "", "ms": 3.0}
    jitter = np.zeros(values.shape)
    if whole:
        points = {"lw": 0.0, "marker": "o", "ms": 1.5, "mew": 0.0, "alpha": 0.5}
        jitter = np.random.default_rng(0).uniform(-_JITTER, _JITTER, values.shape)
    for c, colour in enumerate(colours):
        ax.plot(c + place, (values + jitter)[c, shown], color=colour, rasterized=True, **points)
        ax.plot([c, c + width], [values[c].mean()] * 2, color=INK, lw=1.6)
    frame(ax)
    ax.margins(x=0.01)
    ticks = spread(C, _NUMBERED)
    ax.set_xticks(ticks + width / 2, [str(c) for c in ticks])
    ax.tick_params(axis="x", length=0)
    if values.min() > 0.0 and not whole and values.max() > _LONG_TAIL * np.median(values):
        ax.set_yscale("log")
    else:
        ax.yaxis.set_major_locator(matplotlib("ticker").MaxNLocator(4, integer=whole))


def _ranks(ax: Any, values: FloatArray, colours: list[str]) -> None:
    """Histograms of the ranks of each chain's draws (C, T), the first chain's on top, each about its own line."""
    C, T = values.shape
    bins = min(_BINS, T)
    lots = np.random.default_rng(0).random(C * T)
    rank = np.empty(C * T)
    rank[np.lexsort((lots, values.ravel()))] = np.arange(C * T)
    counts = np.stack([np.histogram(row, bins, (0, C * T))[0] for row in rank.reshape(C, T)]) * bins / T  # 1: flat
    edges = np.linspace(0, C * T, bins + 1)
    for c, colour in enumerate(colours):
        base = 2.0 * (C - 1 - c)
        ax.stairs(base + np.minimum(counts[c], 3.0), edges, baseline=base, color=colour, fill=True, alpha=0.65, lw=0)
        ax.plot([0, C * T], [base + 1.0] * 2, color=INK, lw=0.7)
        ax.plot([0, C * T], [base] * 2, color=PALE if c < C - 1 else GREY, lw=0.8)
    frame(ax)
    ticks = spread(C, _NUMBERED)
    ax.set_yticks(2.0 * (C - 1 - ticks) + 0.5, [str(c) for c in ticks])
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    ax.set_xlim(0, C * T)
    ax.set_ylim(0, 2.0 * C + 0.6)
    ax.xaxis.set_major_locator(matplotlib("ticker").MaxNLocator(4, integer=True))
