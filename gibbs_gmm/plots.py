"""Pictures of a posterior. matplotlib is imported when one is drawn."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gibbs_gmm import validate
from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray
from gibbs_gmm.relabel import match_components
from gibbs_gmm.trace import Trace

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe & Ito (2008), told apart with any colour vision; yellow, the palest, comes late.
_PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
_GREY, _INK = "#8c8c8c", "#333333"
_LEVEL = 0.9  # mass of a component inside its ellipse
_MAX_COLUMNS = 10
_MAX_POINTS = 4000  # per panel: more would only paint over each other
_MAX_ELLIPSES = 12_000  # per figure
_MAX_CURVES = 200  # draws behind a density
_LEGEND_LENGTH = 12


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
    90% band) and that of each component times its weight. Below it, the observations, coloured by their most probable
    component, and for each component the ellipse that holds 90% of its mass: thin for single draws, whose spread is
    the uncertainty about it, and thick for the posterior mean. Components are matched across draws
    (:func:`gibbs_gmm.relabel.match_components`); draws in which a component is as good as empty are left out of its
    ellipses, and its posterior mean is weighted by its weight in each draw.

    Parameters
    ----------
    trace : Trace
        The posterior.
    X : array-like (N, D) or (N,)
        The observations it was fitted to.
    axes : Axes or (d, d) array of Axes, optional
        Where to draw d columns; a new figure by default.
    columns : sequence of str, optional
        Names of the columns to draw, in ``trace.columns``; by default the first ten, and the legend says so where there
        are more.
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
    """
    max_draws = validate.integer("max_draws", max_draws, 1)
    array, shown = _checked(trace, X, columns)
    d = len(shown)
    if axes is None:
        pyplot = _matplotlib("pyplot")
        axes = pyplot.figure(figsize=_size(d), layout="constrained").subplots(d, d, squeeze=False)
    grid = np.atleast_2d(np.asarray(axes, dtype=object))
    if grid.shape != (d, d):
        raise ValueError(f"axes must be a ({d}, {d}) array of Axes for {d} columns, got shape {grid.shape}")
    _draw(trace, array, shown, grid, max_draws)
    return grid


def save_pairs(trace: Trace, X: Any, path: str | os.PathLike[str], **options: Any) -> None:
    """Write :func:`pairs` to a picture file, without a display and without touching pyplot's figures.

    Parameters
    ----------
    trace, X
        As for :func:`pairs`.
    path : path-like
        Its ending chooses the format.
    **options
        ``columns`` and ``max_draws`` of :func:`pairs`.
    """
    _, shown = _checked(trace, X, options.get("columns"))
    d = len(shown)
    figure = _matplotlib("figure").Figure(figsize=_size(d), layout="constrained")
    pairs(trace, X, figure.subplots(d, d, squeeze=False), **options)
    figure.savefig(path, dpi=150)


def _matplotlib(module: str = "") -> Any:
    """matplotlib or a module of it, or an error that says how to get it."""
    try:
        return importlib.import_module(f"matplotlib.{module}".rstrip("."))
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install 'gibbs-gmm[plots]'") from error


def _size(d: int) -> tuple[float, float]:
    return (6.4, 4.4) if d == 1 else (max(5.0, 2.1 * d + 0.6), max(4.6, 2.0 * d + 0.4))


def _checked(trace: Trace, X: Any, columns: Sequence[str] | None) -> tuple[AnyArray, IntArray]:
    """X as an array, and the numbers of the columns to draw."""
    array, _ = validate.data(X)
    wanted = (trace.settings["n_observations"], len(trace.columns))
    if array.shape != wanted:
        raise ValueError(f"X must be the data of the trace, of shape {wanted}, got {array.shape}")
    names = trace.columns[:_MAX_COLUMNS] if columns is None else columns
    if isinstance(names, str) or len(names) == 0:
        raise ValueError(f"columns must be a sequence of names, got {columns!r}")
    unknown = [name for name in names if name not in trace.columns]
    if unknown:
        raise ValueError(f"columns must be among {list(trace.columns)}, got {unknown}")
    return array, np.array([trace.columns.index(name) for name in names])


def _draw(trace: Trace, X: AnyArray, shown: IntArray, axes: AnyArray, max_draws: int) -> None:
    C, T, K = trace.weights.shape
    N, d = X.shape[0], len(shown)
    perm = match_components(trace).reshape(C * T, K)
    weights = np.take_along_axis(trace.weights.reshape(C * T, K), perm, 1)
    means = np.take_along_axis(trace.means.reshape(C * T, K, -1), perm[:, :, None], 1)[..., shown]
    flat = trace.covariances.reshape(C * T, K, *trace.covariances.shape[-2:])
    thinned = _spread(C * T, _MAX_CURVES)
    colours = _colours(K)
    rows = _spread(N, _MAX_POINTS)
    face = _point_colours(trace, perm, rows, colours)

    few = _spread(C * T, max(2, min(max_draws, _MAX_ELLIPSES // max(1, K * d * (d - 1) // 2))))
    mass = weights / weights.sum(0)
    mean = np.einsum("tk,tkd->kd", mass, means)
    limits = [_limits(X[:, column]) for column in shown]
    bold = 1.8 if K * d <= 60 else 1.0
    for i, j in np.ndindex(d, d):
        ax: Any = axes[i, j]
        if i < j:
            ax.set_axis_off()
            continue
        _style(ax, trace.columns, shown, i, j, d, limits)
        if i == j:
            variances = np.take_along_axis(flat[thinned][..., shown[i], shown[i]], perm[thinned], 1)
            _densities(ax, X[:, shown[i]], weights[thinned], means[thinned, :, i], variances, colours, limits[i])
            continue
        ax.scatter(
            X[rows, shown[j]], X[rows, shown[i]], s=_point_size(len(rows)), c=face, alpha=0.55, lw=0, rasterized=True
        )
        block = np.ix_(shown[[j, i]], shown[[j, i]])
        pair = np.take_along_axis(flat[:, :, block[0], block[1]], perm[:, :, None, None], 1)
        centre = np.einsum("tk,tkij->kij", mass, pair)
        for k in range(K):
            own = few[weights[few, k] * N >= 1.0]
            faint = float(np.clip(10.0 / max(len(own), 1), 0.2, 0.5))
            _ellipses(ax, means[own, k][:, [j, i]], pair[own, k], colours[k], width=0.5, alpha=faint)
            _ellipses(ax, mean[None, k][:, [j, i]], centre[None, k], colours[k], width=bold, alpha=1.0)
    _legend(axes, weights, colours, len(trace.columns), d, len(few))


def _spread(n: int, most: int) -> IntArray:
    """At most ``most`` of 0..n-1, evenly spread."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(np.int64))


def _colours(K: int) -> list[str]:
    if len(_PALETTE) >= K:
        return list(_PALETTE[:K])
    to_hex = _matplotlib("colors").to_hex
    # The brightest end of viridis is too pale for lines on white.
    return [to_hex(colour) for colour in _matplotlib().colormaps["viridis"](np.linspace(0.0, 0.92, K))]


def _point_colours(trace: Trace, perm: IntArray, rows: IntArray, colours: list[str]) -> list[str]:
    """Colour of the most probable component of each of these observations: the one that owned it most often."""
    if trace.assignments is None:
        return [_GREY] * len(rows)
    K = len(colours)
    place = np.argsort(perm, axis=1)  # component of a draw -> matched component
    counts = np.zeros((len(rows), K), dtype=np.int64)
    here = np.arange(len(rows))
    for t in _spread(len(perm), 1000):
        chain, draw = divmod(int(t), trace.assignments.shape[1])
        counts[here, place[t, trace.assignments[chain, draw, rows]]] += 1
    return [colours[k] for k in counts.argmax(1)]


def _limits(x: AnyArray) -> tuple[float, float]:
    low, high = float(x.min()), float(x.max())
    margin = 0.08 * (high - low) or max(abs(low), 1.0) * 0.05
    return low - margin, high + margin


def _point_size(n: int) -> float:
    return float(np.clip(2500.0 / n, 2.0, 14.0))


def _style(
    ax: Any, names: Sequence[str], shown: IntArray, i: int, j: int, d: int, limits: list[tuple[float, float]]
) -> None:
    """Frame, limits, ticks and labels of the panel in row i and column j."""
    ticker = _matplotlib("ticker")
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(_GREY)
    ax.tick_params(labelsize=8, color=_GREY, labelcolor=_INK)
    ax.set_xlim(*limits[j])
    ax.xaxis.set_major_locator(ticker.MaxNLocator(4))
    if i == d - 1:
        ax.set_xlabel(names[shown[j]], fontsize=9, color=_INK)
    else:
        ax.tick_params(labelbottom=False)
    if i == j:
        ax.set_yticks([])
        ax.spines["left"].set_visible(False)
        return
    ax.set_ylim(*limits[i])
    ax.yaxis.set_major_locator(ticker.MaxNLocator(4))
    if j == 0:
        ax.set_ylabel(names[shown[i]], fontsize=9, color=_INK)
    else:
        ax.tick_params(labelleft=False)


def _densities(
    ax: Any,
    x: AnyArray,
    weights: FloatArray,
    means: FloatArray,
    variances: FloatArray,
    colours: list[str],
    limits: tuple[float, float],
) -> None:
    """Histogram of a column, and densities of the mixture and of its components from draws (T, K)."""
    bins = int(np.clip(np.sqrt(len(x)), 10, 60))
    ax.hist(x, bins=bins, range=(float(x.min()), float(x.max())), density=True, color="#e4e4e4", lw=0)
    grid = np.linspace(*limits, 300)
    mixture = np.zeros((len(weights), len(grid)))
    curves = []
    for k in range(weights.shape[1]):
        scale = np.sqrt(variances[:, k, None])
        z = (grid - means[:, k, None]) / scale
        density = weights[:, k, None] * np.exp(-0.5 * z * z) / (scale * np.sqrt(2.0 * np.pi))
        mixture += density
        curves.append(density.mean(0))
    low, high = np.quantile(mixture, [0.05, 0.95], axis=0)
    ax.fill_between(grid, low, high, color=_INK, alpha=0.18, lw=0)
    ax.plot(grid, mixture.mean(0), color=_INK, lw=2.2)  # wider than a component, to be seen where it is one
    for curve, colour in zip(curves, colours, strict=True):
        ax.plot(grid, curve, color=colour, lw=1.3)
    ax.set_ylim(bottom=0.0)


def _ellipses(
    ax: Any, centres: FloatArray, covariances: FloatArray, colour: str, *, width: float, alpha: float
) -> None:
    """90% ellipses of n Gaussians: centres (n, 2), covariances (n, 2, 2)."""
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
    lines = _matplotlib("collections").LineCollection(
        list(np.stack([x, y], axis=-1)),
        colors=colour,
        linewidths=width,
        alpha=alpha,
        zorder=3 + (alpha == 1.0),
        rasterized=alpha < 1.0,
    )
    ax.add_collection(lines, autolim=False)


def _legend(axes: AnyArray, weights: FloatArray, colours: list[str], D: int, d: int, draws: int) -> None:
    """Components with their weights, and what the lines are, in the empty corner."""
    line = _matplotlib("lines").Line2D
    low, high = np.quantile(weights, [0.05, 0.95], axis=0)
    K = len(colours)
    listed = K if K <= _LEGEND_LENGTH else _LEGEND_LENGTH - 1
    handles = [
        line([], [], color=colours[k], lw=2.5, label=f"{k}:  {weights[:, k].mean():.2f}  ({low[k]:.2f}-{high[k]:.2f})")
        for k in range(listed)
    ]
    if listed < K:
        handles.append(line([], [], lw=0, label=f"and {K - listed} more"))
    handles.append(line([], [], color=_INK, lw=2.2, label="mixture, and its 90% band"))
    if d > 1:
        handles.append(line([], [], color=_GREY, lw=0.6, label=f"90% ellipses of {draws} draws"))
    if d < D:
        handles.append(line([], [], lw=0, label=f"{d} of {D} columns are shown"))
    title = "component:  weight (90% interval)"
    style: dict[str, Any] = {"handles": handles, "title": title, "frameon": False, "fontsize": 8, "title_fontsize": 8}
    if d == 1:
        axes[0, 0].legend(loc="best", alignment="left", **style)
    else:
        legend = axes[0, -1].legend(loc="upper right", borderaxespad=0.0, alignment="left", **style)
        legend.set_in_layout(False)  # it may be wider than its panel
