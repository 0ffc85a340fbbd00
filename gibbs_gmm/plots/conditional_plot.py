"""One column given others: its density, or its quantiles along one of them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from gibbs_gmm.kernels.types import FloatArray
from gibbs_gmm.plots.style import GREY, INK, PALETTE, frame, on_axes, point_size, short
from gibbs_gmm.posterior import conditional as ask
from gibbs_gmm.posterior.matched import checked_data, marginal, some_draws, spread
from gibbs_gmm.trace import Trace

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAX_DRAWS, _MAX_POINTS, _GRID = 400, 4000, 300
_BANDS = {0.95: "#dfe9f2", 0.8: "#b9d2e6", 0.5: "#8db9d9"}  # probability in a band, outermost first, and its colour
_OUTSIDE = 0.002  # probability on either side of a density's axis


def conditional(trace: Trace, given: Any, axes: Axes | None = None, *, column: str | None = None, X: Any = None) -> Any:
    """One column given others: its density where one row is given, or a regression along a column that varies.

    The density is averaged over the posterior, and the band holds that of 90% of the posterior's mixtures at each
    point, weighted by how well they explain what is given; the dashed line is the density when nothing is given. The
    regression has the median, and bands of 50%, 80% and 95% of the next observations.

    Parameters
    ----------
    trace : Trace
        The posterior.
    given : mapping or data frame
        What ``trace.conditional`` takes: one row, or several that differ in one column.
    axes : Axes, optional
        Where to draw; a new figure by default.
    column : str, optional
        The free column that is shown; by default the only one.
    X : array-like (N, D), optional
        The observations of the fit, which a regression then shows as points.

    Returns
    -------
    Axes

    Raises
    ------
    ImportError
        matplotlib is not installed.
    ValueError
        Columns do not fit the trace, or rows differ in several columns.

    Examples
    --------
    Of the trace and the rows of :func:`gibbs_gmm.fit`'s example:

    >>> gg.plots.conditional(trace, {"x0": 3.0}).get_title(loc="left")
    'x1 given x0 = 3'
    >>> gg.plots.conditional(trace, {"x0": np.linspace(-5, 5, 50)}, X=X).get_title(loc="left")
    'x1 given x0'
    """
    asked = ask.conditional(trace, given)
    if column is None and len(asked.columns) > 1:
        raise ValueError(f"column must be one of the free columns {list(asked.columns)}, got None")
    if column is not None and column not in asked.columns:
        raise ValueError(f"column must be one of the free columns {list(asked.columns)}, got {column!r}")
    shown = asked.columns[0] if column is None else column
    rows = None if X is None else checked_data(trace, X)
    asked = _of(trace, asked, shown)
    varies = np.flatnonzero(np.ptp(asked.values, axis=0) > 0.0)
    if len(asked.values) > 1 and len(varies) != 1:
        raise ValueError(
            "given must be one row, or rows that differ in one column, got "
            f"{len(asked.values)} rows that differ in {[asked.given[j] for j in varies]}"
        )
    ax = on_axes(axes, (1, 1), (6.0, 3.6), "a column given others")[0, 0]
    frame(ax)
    named = [
        short(name) if j in varies else f"{short(name)} = {asked.values[0, j]:.4g}"
        for j, name in enumerate(asked.given)
    ]
    title = short(shown) + (f" given {', '.join(named)}" if named else "")
    ax.set_title(title, fontsize=10, color=INK, loc="left")
    if len(varies) == 0:
        _density(ax, trace, asked)
        ax.set_xlabel(short(shown), fontsize=9, color=INK)
        ax.set_ylabel("density", fontsize=9, color=INK)
    else:
        along = asked.given[varies[0]]
        points = None if rows is None else rows[:, [trace.columns.index(along), trace.columns.index(shown)]]
        _regression(ax, asked, asked.values[:, varies[0]], points)
        ax.set_xlabel(short(along), fontsize=9, color=INK)
        ax.set_ylabel(short(shown), fontsize=9, color=INK)
    ax.legend(frameon=False, fontsize=8)
    return ax


def _of(trace: Trace, asked: ask.Conditional, column: str, given: bool = True) -> ask.Conditional:
    """One free column: the others are integrated out, and a trace of fewer columns answers faster."""
    names = asked.given if given else ()
    part = marginal(trace, np.array([trace.columns.index(name) for name in (*names, column)]))
    return ask.conditional(part, dict(zip(names, asked.values.T, strict=False)))


def _density(ax: Any, trace: Trace, asked: ask.Conditional) -> None:
    """The density of the free column given one row, its band, and the density when nothing is given."""
    ends = asked.quantile([_OUTSIDE, 1.0 - _OUTSIDE])[:, 0, 0]
    free = _of(trace, asked, asked.columns[0], given=False)
    usual = free.quantile([2.0 * _OUTSIDE, 1.0 - 2.0 * _OUTSIDE])[:, 0, 0]
    x = np.linspace(min(ends[0], usual[0]), max(ends[1], usual[1]), _GRID)
    low, high = _band(trace, asked, x)
    ax.fill_between(x, low, high, color=PALETTE[0], alpha=0.25, lw=0, label="90% band")
    ax.plot(x, np.exp(asked.log_density(x)), color=PALETTE[0], lw=2.2, label="density")
    if asked.given:
        ax.plot(x, np.exp(free.log_density(x)), color=GREY, lw=1.2, ls="--", label="nothing given")
    ax.set_xlim(x[0], x[-1])
    ax.set_ylim(bottom=0.0)


def _band(trace: Trace, asked: ask.Conditional, x: FloatArray) -> FloatArray:
    """The 5% and the 95% point (2, G), over draws by their weights, of their conditional densities at x (G,)."""
    some = some_draws(dataclasses.replace(trace, assignments=None), spread(trace.n_clusters.size, _MAX_DRAWS))
    columns = np.array([trace.columns.index(name) for name in asked.given + asked.columns])
    rows = np.column_stack([np.tile(asked.values, (len(x), 1)), x])
    log_density = marginal(some, columns).pointwise_log_density(rows)[0]
    log_weight = np.zeros((len(log_density), 1))
    if asked.given:
        log_weight = marginal(some, columns[:-1]).pointwise_log_density(asked.values)[0]
    density, weight = np.exp(log_density - log_weight), np.exp(log_weight - log_weight.max())[:, 0]
    order = np.argsort(density, axis=0)
    below = np.cumsum(weight[order], axis=0) / weight.sum()
    place = np.minimum((below < np.array([0.05, 0.95])[:, None, None]).sum(1), len(density) - 1)
    return np.take_along_axis(np.take_along_axis(density, order, 0), place, 0)


def _regression(ax: Any, asked: ask.Conditional, along: FloatArray, points: FloatArray | None) -> None:
    """The median of the free column along a given one, bands of quantiles, and the observations (N, 2), if any."""
    order = np.argsort(along, kind="stable")
    levels = [0.5, *(0.5 + side * mass / 2.0 for mass in _BANDS for side in (-1.0, 1.0))]
    median, *ends = asked.quantile(levels)[:, order, 0]
    x = along[order]
    for (mass, colour), low, high in zip(_BANDS.items(), ends[::2], ends[1::2], strict=True):
        ax.fill_between(x, low, high, color=colour, lw=0, label=f"{mass:.0%} of the next observations")
    ax.plot(x, median, color=PALETTE[0], lw=2.0, label="median")
    if points is not None:
        kept = points[spread(len(points), _MAX_POINTS)]
        size = point_size(len(kept))
        ax.scatter(*kept.T, s=size, c=INK, alpha=0.6, lw=0, rasterized=True, zorder=3, label="observations")
