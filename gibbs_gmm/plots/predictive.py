"""The predictive density: where the next observation would be, and how sure that is."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gibbs_gmm.data import copies_of
from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray
from gibbs_gmm.plots.style import INK, PALE, PALETTE, frame, limits, matplotlib, on_axes, point_size, short
from gibbs_gmm.posterior.matched import checked_columns, checked_data, marginal, matched_components, some_draws, spread
from gibbs_gmm.trace import Trace

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MASSES = (0.95, 0.8, 0.5)  # inside the contours, outermost first
_MAX_DRAWS = 200
_MAX_POINTS = 4000
_GRID_1, _GRID_2 = 300, 90  # points of a curve, and along each side of a map
_LOOSE = 16  # draws whose outermost contour is drawn
GREYS = ("#efefef", "#e0e0e0", "#cecece")  # of their areas
_BLUES = ("#dfe9f2", "#b9d2e6", "#8db9d9")


def density(trace: Trace, X: Any, axes: Axes | None = None, *, columns: Sequence[str] | None = None) -> Any:
    """Predictive density of one column, over its histogram, or of two, as contours.

    It is averaged over the posterior, and what components without observations hold is part of it. In one dimension,
    the band holds the density of 90% of draws at each point. In two, the areas are the smallest that hold 50%, 80% and
    95% of the next observations, and thin lines are the 95% of single draws.

    Parameters
    ----------
    trace : Trace
        The posterior.
    X : array-like (N, D) or (N,)
        The observations it was fitted to.
    axes : Axes, optional
        Where to draw; a new figure by default.
    columns : sequence of one or two str, optional
        Names of the columns, in ``trace.columns``; by default the only one, or the two that tell the components apart
        best, and the title says so where there are more.

    Returns
    -------
    Axes

    Raises
    ------
    ImportError
        matplotlib is not installed.
    ValueError
        X or columns do not fit the trace.

    Examples
    --------
    Of the trace and the rows of :func:`gibbs_gmm.fit`'s example:

    >>> gg.plots.density(trace, X, columns=["x0"]).get_title(loc="left")
    '1 of 2 columns'
    """
    array = checked_data(trace, X)
    D = len(trace.columns)
    if columns is None and D > 2:
        shown = matched_components(trace).telling_columns(2)
    else:
        shown = checked_columns(trace, trace.columns if columns is None else columns)
    if len(shown) > 2:
        raise ValueError(f"columns must be one or two names, got {list(columns or ())}")
    ax = on_axes(axes, (1, 1), (6.0, 3.6 if len(shown) == 1 else 5.0), "a density")[0, 0]
    frame(ax)
    edges = [limits(array[:, column]) for column in shown]
    ax.set_xlim(*edges[0])
    ax.set_xlabel(short(trace.columns[shown[0]]), fontsize=9, color=INK)
    if len(shown) == 1:
        curve(ax, trace, array, int(shown[0]), edges[0], PALETTE[0])
        ax.set_ylabel("density", fontsize=9, color=INK)
        ax.legend(frameon=False, fontsize=8)
    else:
        ax.set_ylim(*edges[1])
        ax.set_ylabel(short(trace.columns[shown[1]]), fontsize=9, color=INK)
        _map(ax, trace, array, shown, edges)
    if len(shown) < D:
        best = "" if columns is not None else ", which tell the clusters apart best"
        ax.set_title(f"{len(shown)} of {D} columns{best}", fontsize=9, color=INK, loc="left")
    return ax


def curve(ax: Any, trace: Trace, X: AnyArray, column: int, edges: tuple[float, float], colour: str = INK) -> None:
    """Histogram of a column, its predictive density and the pointwise 90% band of the density."""
    x, copies = X[:, column], copies_of(trace.counts)
    known = ~np.isnan(x)
    weights, x = None if copies is None else copies[known], x[known]
    ax.hist(x, bins=_bins(x), weights=weights, density=True, color=PALE, lw=0, label="observations")
    grid = np.linspace(*edges, _GRID_1)
    densities = predictive_densities(trace, np.array([column]), grid[:, None], _MAX_DRAWS)
    low, high = np.quantile(densities, [0.05, 0.95], axis=0)
    ax.fill_between(grid, low, high, color=colour, alpha=0.25, lw=0, label="90% band")
    ax.plot(grid, densities.mean(0), color=colour, lw=2.2, label="predictive density")
    ax.set_ylim(bottom=0.0)


def contours(ax: Any, trace: Trace, columns: IntArray, edges: Sequence[tuple[float, float]], cells: int) -> None:
    """Contours of the predictive density of two columns; ``cells`` is how many densities of draws may be computed."""
    side = int(np.clip(np.sqrt(cells / 40), 24, _GRID_2))
    x, y, points = _grid(edges, side)
    mean = predictive_densities(trace, columns, points, max(10, cells // side**2)).mean(0).reshape(side, side)
    levels = _levels(mean, MASSES)
    if len(levels) == len(MASSES):
        ax.contourf(x, y, mean, levels=[*levels, np.inf], colors=GREYS, zorder=0.5)
        ax.contour(x, y, mean, levels=levels, colors=INK, linewidths=0.5, alpha=0.6, zorder=1.5)


def _map(ax: Any, trace: Trace, X: AnyArray, shown: IntArray, edges: Sequence[tuple[float, float]]) -> None:
    x, y, points = _grid(edges, _GRID_2)
    densities = predictive_densities(trace, shown, points, _MAX_DRAWS)
    mean = densities.mean(0).reshape(len(y), len(x))
    levels = _levels(mean, MASSES)
    if len(levels) == len(MASSES):
        ax.contourf(x, y, mean, levels=[*levels, np.inf], colors=_BLUES, zorder=0.5)
    for s in spread(len(densities), _LOOSE):
        one = densities[s].reshape(len(y), len(x))
        ax.contour(x, y, one, levels=_levels(one, MASSES[:1]), colors=PALETTE[0], linewidths=0.5, alpha=0.5, zorder=1)
    rows = spread(len(X), _MAX_POINTS)
    ax.scatter(*X[rows][:, shown].T, s=point_size(len(rows)), c=INK, alpha=0.6, lw=0, rasterized=True, zorder=2)
    patch, line = matplotlib("patches").Patch, matplotlib("lines").Line2D
    handles: list[Any] = [patch(color=_BLUES[k], label=f"{MASSES[k]:.0%}") for k in (2, 1, 0)]
    handles.append(line([], [], color=PALETTE[0], lw=0.6, label=f"{MASSES[0]:.0%} of single draws"))
    title = "of the next observations"
    ax.legend(handles=handles, title=title, frameon=False, fontsize=8, title_fontsize=8, alignment="left")


def _bins(x: AnyArray) -> FloatArray:
    """Edges of the bins of a histogram, by the rule of Freedman & Diaconis (1981), neither too few nor too many."""
    low, high = float(x.min()), float(x.max())
    quartiles = np.quantile(x[spread(len(x), 10_000)], [0.25, 0.75])
    width = 2.0 * float(np.diff(quartiles)[0]) / len(x) ** (1 / 3)
    count = (high - low) / width if width > 0.0 else 0.0
    return np.linspace(low, high if high > low else low + 1.0, int(np.clip(np.ceil(count), 12, 80)) + 1)


def _grid(edges: Sequence[tuple[float, float]], side: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    x, y = (np.linspace(*edge, side) for edge in edges)
    return x, y, np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)


def _levels(density: FloatArray, masses: Sequence[float]) -> list[float]:
    """Heights above which a density on a grid holds these shares of its mass, increasing."""
    descending = np.sort(density, axis=None)[::-1]
    mass = np.cumsum(descending)
    heights = [float(descending[np.searchsorted(mass, share * mass[-1])]) for share in masses]
    return [h for before, h in zip([0.0, *heights], heights, strict=False) if h > before]


def predictive_densities(trace: Trace, columns: IntArray, points: FloatArray, most: int) -> FloatArray:
    """Densities (S, G) at points (G, d) under each of at most ``most`` draws, what is unoccupied included."""
    C, T = trace.log_likelihood.shape
    some = some_draws(dataclasses.replace(trace, assignments=None), spread(C * T, most))
    part = marginal(_used_first(some), columns)
    result: FloatArray = np.exp(part.pointwise_log_density(points)[0])
    return result


def _used_first(trace: Trace) -> Trace:
    """The trace with the used slots of each draw first: a relabelled one may have others between them."""
    order = np.argsort(np.isnan(trace.means[..., 0]), axis=-1, kind="stable")
    return trace.permuted(order)
