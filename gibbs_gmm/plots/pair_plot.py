"""The pair plot: the data, and what the posterior says about its components."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gibbs_gmm import checks
from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray
from gibbs_gmm.plots.predictive import GREYS, MASSES, contours, curve
from gibbs_gmm.plots.style import GREY, INK, distinct, frame, limits, matplotlib, numbers, on_axes, point_size, short
from gibbs_gmm.posterior.matched import Components, checked_columns, checked_data, matched_components, spread
from gibbs_gmm.posterior.wording import percent
from gibbs_gmm.trace import Trace

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LEVEL = 0.9  # mass of a component inside its ellipse
_MAX_COLUMNS = 6
_MAX_POINTS = 4000  # per panel: more would only paint over each other
_MAX_ELLIPSES = 12_000  # per figure
_MAX_CURVES = 200  # draws behind a component's density
_MAX_CELLS = 20_000_000  # normal densities behind the contours of a figure
_LEGEND_LENGTH, _SHORT_LEGEND = 12, 7  # components
_SURE, _UNSURE = 0.65, 0.2  # opaqueness of points
_STRIP = 0.06  # of the height: marks of the rows of one column


def pairs(
    trace: Trace,
    X: Any,
    axes: Axes | AnyArray | None = None,
    *,
    columns: Sequence[str] | None = None,
    max_draws: int = 40,
) -> AnyArray:
    """Pair plot of the data and of what the posterior says about its components.

    On the diagonal, a histogram of each column, the posterior-mean density of the mixture (black, with its pointwise
    90% band) and that of each component times its weight. Below it, the observations, coloured by their cluster in
    :meth:`Trace.partition`, and for each component the ellipse that holds 90% of its mass: thin for single draws, whose
    spread is the uncertainty about it, and thick for the posterior mean, with the component's number at its centre.
    Components are matched across draws (:meth:`Trace.relabel`) and have the numbers that they have everywhere; a draw's
    ellipse is the paler the smaller the component's weight in it, and left out where it is as good as empty, and the
    posterior mean is weighted by the weight in each draw. Points are the paler the less sure they are of their cluster.

    If the number of components is unknown, single components (curves, ellipses, colours, weights) are those of the most
    probable number of clusters, from the draws that have it, whose share the legend says; the density of the mixture is
    from all draws, without what components that own no observations add to it.

    Parameters
    ----------
    trace : Trace
        The posterior.
    X : array-like (N, D) or (N,)
        The observations it was fitted to.
    axes : Axes or (d, d) array of Axes, optional
        Where to draw d columns; a new figure by default.
    columns : sequence of str, optional
        Names of the columns to draw, in ``trace.columns``; by default all, or the six that tell the components apart
        best, and the legend says so where there are more.
    max_draws : int
        Draws that get thin ellipses; fewer where there are very many components and columns.

    Returns
    -------
    (d, d) array of Axes
        Those above the diagonal are switched off; one holds the legend.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    ValueError
        X, axes or columns do not fit the trace.

    Examples
    --------
    Of the trace and the rows of :func:`gibbs_gmm.fit`'s example:

    >>> gg.plots.pairs(trace, X)
    <2 x 2 Axes>
    """
    max_draws = checks.integer("max_draws", max_draws, 1)
    array = checked_data(trace, X)
    chosen = None if columns is None else checked_columns(trace, columns)
    kinds = matched_components(trace)
    shown = kinds.telling_columns(_MAX_COLUMNS) if chosen is None else chosen
    d = len(shown)
    grid = on_axes(axes, (d, d), _size(d), f"{d} columns")
    _draw(kinds, array, shown, grid, max_draws)
    return grid


def _size(d: int) -> tuple[float, float]:
    if d <= 2:
        return (6.4, 4.4) if d == 1 else (7.2, 6.6)
    return 2.1 * d + 0.6, 2.0 * d + 0.4


def _draw(kinds: Components, X: AnyArray, shown: IntArray, axes: AnyArray, max_draws: int) -> None:
    trace, N, d = kinds.trace, len(X), len(shown)
    K, weights, means = kinds.K, kinds.weights, kinds.means(shown)
    colours = distinct(K)
    rows = spread(N, _MAX_POINTS)
    face, alpha = [GREY] * len(rows), np.full(len(rows), _SURE)
    if trace.assignments is not None:
        face = [colours[k] if k >= 0 else INK for k in trace._partition.labels[rows]]
        alpha = _UNSURE + (_SURE - _UNSURE) * (1.0 - trace._partition.uncertainty[rows])
    points = matplotlib("colors").to_rgba_array(face, alpha)
    panels = max(1, d * (d - 1) // 2)
    some = spread(len(kinds.draws), _MAX_CURVES)
    few = spread(len(kinds.draws), max(2, min(max_draws, _MAX_ELLIPSES // (K * panels))))
    faint = float(np.clip(10.0 / len(few), 0.2, 0.5))
    bold = 1.8 if K * d <= 60 else 1.0
    edges = [limits(X[:, column]) for column in shown]
    for i, j in np.ndindex(d, d):
        ax: Any = axes[i, j]
        if i < j:
            ax.set_axis_off()
            continue
        _style(ax, trace.columns, shown, i, j, d, edges)
        if i == j:
            curve(ax, trace, X, int(shown[i]), edges[i])
            variances = kinds.covariances(shown[[i]])[some, :, 0, 0]
            grid, curves = _component_curves(ax, (weights[some], means[some, :, i], variances), colours, edges[i])
            if d == 1:
                numbers(ax, grid[curves.argmax(1)], curves.max(1), range(K), colours)
                _strip(ax, X[rows, shown[0]], points)
            continue
        panel = shown[[j, i]]
        contours(ax, trace, panel, (edges[j], edges[i]), _MAX_CELLS // (panels * K))
        ax.scatter(*X[rows][:, panel].T, s=point_size(len(rows)), c=points, lw=0, rasterized=True)
        blocks = kinds.covariances(panel)
        centres, centre = means[:, :, [j, i]], kinds.average(means[:, :, [j, i]])
        mean = kinds.average(blocks)
        for k in range(K):
            drawn = few[weights[few, k] * N >= 1.0]
            pale = faint * np.minimum(1.0, weights[drawn, k] / weights[:, k].mean())
            _ellipses(ax, centres[drawn, k], blocks[drawn, k], colours[k], width=0.5, alpha=pale)
            _ellipses(ax, centre[[k]], mean[[k]], colours[k], width=bold, alpha=np.ones(1))
        numbers(ax, centre[:, 0], centre[:, 1], range(K), colours, 9.0 if K * d <= 60 else 7.0)
    _legend(axes, kinds, colours, len(trace.columns), len(few))


def _style(
    ax: Any, names: Sequence[str], shown: IntArray, i: int, j: int, d: int, limits: list[tuple[float, float]]
) -> None:
    """Frame, limits, ticks and labels of the panel in row i and column j."""
    ticker = matplotlib("ticker")
    frame(ax)
    ax.set_xlim(*limits[j])
    ax.xaxis.set_major_locator(ticker.MaxNLocator(4))
    if i == d - 1:
        ax.set_xlabel(short(names[shown[j]]), fontsize=9, color=INK)
    else:
        ax.tick_params(labelbottom=False)
    if i == j:
        ax.set_yticks([])
        ax.spines["left"].set_visible(False)
        return
    ax.set_ylim(*limits[i])
    ax.yaxis.set_major_locator(ticker.MaxNLocator(4))
    if j == 0:
        ax.set_ylabel(short(names[shown[i]]), fontsize=9, color=INK)
    else:
        ax.tick_params(labelleft=False)


def _component_curves(
    ax: Any, components: tuple[FloatArray, FloatArray, FloatArray], colours: list[str], edges: tuple[float, float]
) -> tuple[FloatArray, FloatArray]:
    """Posterior-mean density of each component times its weight, from weights, means and variances (S, K).

    Returns the grid (G,) and the curves (K, G).
    """
    grid, curves = np.linspace(*edges, 300), []
    for w, mean, variance, colour in zip(*(values.T for values in components), colours, strict=True):
        scale = np.sqrt(variance)[:, None]
        z = (grid - mean[:, None]) / scale
        density = w[:, None] * np.exp(-0.5 * z * z) / (scale * np.sqrt(2.0 * np.pi))
        curves.append(density.mean(0))
        ax.plot(grid, curves[-1], color=colour, lw=1.3)
    return grid, np.array(curves)


def _strip(ax: Any, x: AnyArray, points: FloatArray) -> None:
    """The rows of the only column, as marks in the colours of their clusters in a strip below its curves."""
    height = _STRIP * ax.get_ylim()[1]
    ax.set_ylim(bottom=-1.3 * height)
    ax.vlines(x, -1.15 * height, -0.15 * height, colors=points, lw=1.0, rasterized=True)


def _ellipses(
    ax: Any, centres: FloatArray, covariances: FloatArray, colour: str, *, width: float, alpha: FloatArray
) -> None:
    """90% ellipses of n Gaussians: centres (n, 2), covariances (n, 2, 2), opaqueness (n,)."""
    # L u maps the unit circle to the ellipse of L L', for any square root L; LAPACK's Cholesky would fail where
    # rounding left a 2 x 2 block singular.
    s_x = np.sqrt(covariances[:, 0, 0])
    a = covariances[:, 0, 1] / s_x
    b = np.sqrt(np.maximum(covariances[:, 1, 1] - a * a, 0.0))
    angle = np.linspace(0.0, 2.0 * np.pi, 61 if width < 1.0 else 181)
    radius = np.sqrt(-2.0 * np.log1p(-_LEVEL))  # chi-square quantile with 2 degrees of freedom
    u, v = radius * np.cos(angle), radius * np.sin(angle)
    x = centres[:, :1] + s_x[:, None] * u
    y = centres[:, 1:] + a[:, None] * u + b[:, None] * v
    lines = matplotlib("collections").LineCollection(
        list(np.stack([x, y], axis=-1)),
        colors=matplotlib("colors").to_rgba_array([colour] * len(alpha), alpha),
        linewidths=width,
        zorder=3 + (width >= 1.0),
        rasterized=width < 1.0,
    )
    ax.add_collection(lines, autolim=False)


def _legend(axes: AnyArray, kinds: Components, colours: list[str], D: int, draws: int) -> None:
    """Components with their weights, and what the lines are, in the empty corner."""
    line = matplotlib("lines").Line2D
    low, high = np.quantile(kinds.weights, [0.05, 0.95], axis=0)
    K, d = kinds.K, len(axes)
    room = _LEGEND_LENGTH if d != 3 else _SHORT_LEGEND  # beside the panel in the middle of three
    listed = K if room >= K else room - 1
    decimals = 2 if (high - low).min() >= 0.02 else 3
    texts = [" ".join(f"{x:.{decimals}f}" for x in row) for row in zip(kinds.weights.mean(0), low, high, strict=True)]
    handles = [
        line([], [], color=colours[k], lw=2.5, label="{}:  {}  ({}-{})".format(k, *texts[k].split()))
        for k in range(listed)
    ]
    if listed < K:
        handles.append(line([], [], lw=0, label=f"and {K - listed} more"))
    every = "" if kinds.share == 1.0 else ", all draws"
    handles.append(line([], [], color=INK, lw=2.2, label=f"mixture{every}, and its 90% band"))
    if d > 1:
        handles.append(line([], [], color=GREY, lw=0.6, label=f"90% ellipses of {draws} draws"))
        inside = ", ".join(f"{mass:.0%}" for mass in MASSES[::-1])
        grey = matplotlib("patches").Patch(color=GREYS[1], label=f"mixture: {inside} lie inside")
        handles.append(grey)
    if d < D:
        handles.append(line([], [], lw=0, label=f"{d} of {D} columns are shown"))
    what = "component"
    if not kinds.trace.n_is_known:
        what = f"{K} cluster{'s'[: K > 1]} ({percent(kinds.share)} of draws)"
    title = f"{what}:  weight (90% interval)"
    style: dict[str, Any] = {"handles": handles, "title": title, "frameon": False, "fontsize": 8, "title_fontsize": 8}
    if d == 1:
        axes[0, 0].legend(loc="best", alignment="left", **style)
    else:
        legend = axes[0, -1].legend(loc="upper right", borderaxespad=0.0, alignment="left", **style)
        legend.set_in_layout(False)  # it may be wider than its panel
