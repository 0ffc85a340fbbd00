"""Pictures of a posterior. matplotlib is imported when one is drawn."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gibbs_gmm import validate
from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray
from gibbs_gmm.n_posterior import NPosterior, tabulate
from gibbs_gmm.relabel import match_components, most_probable_n_clusters
from gibbs_gmm.summary import percent
from gibbs_gmm.trace import Trace

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe & Ito (2008), told apart with any colour vision; yellow, the palest, comes late.
_PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
_GREY, _INK, _PALE = "#8c8c8c", "#333333", "#e4e4e4"
_LEVEL = 0.9  # mass of a component inside its ellipse
_MAX_COLUMNS = 10
_MAX_POINTS = 4000  # per panel: more would only paint over each other
_MAX_ELLIPSES = 12_000  # per figure
_MAX_CURVES = 200  # draws behind a density
_LEGEND_LENGTH = 12
_PANELS = ("p(n)", "p(n+)")
_SIDE = 0.2  # half the width of a bar


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


def n_posterior(trace: Trace | NPosterior, axes: Axes | AnyArray | None = None) -> AnyArray:
    """How many? Bars of p(n) and p(n+), beside their priors.

    Thin lines are two Monte-Carlo standard errors to either side, and circles p(n+) of each chain alone: where they are
    apart, the chains have not met.

    Parameters
    ----------
    trace : Trace or NPosterior
        The posterior, or the table that ``trace.n_posterior()`` gave.
    axes : Axes or array of Axes, optional
        Where to draw: two for p(n) and p(n+); one, for p(n+), where n is given or infinite. A new figure by default.

    Returns
    -------
    (1,) or (2,) array of Axes

    Raises
    ------
    ImportError
        matplotlib is not installed.
    ValueError
        The number of axes is not that of panels.
    """
    posterior = tabulate(trace) if isinstance(trace, Trace) else trace
    panels = 1 if posterior.p_n_components is None else 2
    if axes is None:
        pyplot = _matplotlib("pyplot")
        axes = pyplot.figure(figsize=_bars_size(panels), layout="constrained").subplots(1, panels, squeeze=False)[0]
    flat = np.atleast_1d(np.asarray(axes, dtype=object)).ravel()
    if len(flat) != panels:
        raise ValueError(f"axes must be {panels} Axes for {' and '.join(_PANELS[-panels:])}, got {len(flat)}")
    if posterior.p_n_components is not None:
        _bars(flat[0], posterior, posterior.p_n_components, posterior.se_n_components, posterior.prior_n_components)
        flat[0].set_xlabel("n, components of the mixture", fontsize=9, color=_INK)
    _bars(flat[-1], posterior, posterior.p_n_clusters, posterior.se_n_clusters, posterior.prior_n_clusters)
    chains = posterior.p_n_clusters_by_chain
    if len(chains) > 1:
        visited = np.flatnonzero(chains.any(0))
        style = {"s": 16, "facecolor": "white", "edgecolor": _INK, "lw": 0.8, "zorder": 4, "label": "each chain alone"}
        flat[-1].scatter(np.broadcast_to(posterior.n - _SIDE, chains.shape)[:, visited], chains[:, visited], **style)
    flat[-1].set_xlabel("n+, components that own observations", fontsize=9, color=_INK)
    for ax, name in zip(flat, _PANELS[-panels:], strict=True):
        ax.set_title(name, fontsize=10, color=_INK, loc="left")
    flat[-1].legend(frameon=False, fontsize=8)
    return flat


def save_n_posterior(trace: Trace | NPosterior, path: str | os.PathLike[str]) -> None:
    """Write :func:`n_posterior` to a picture file, without a display and without touching pyplot's figures.

    Parameters
    ----------
    trace
        As for :func:`n_posterior`.
    path : path-like
        Its ending chooses the format.
    """
    posterior = tabulate(trace) if isinstance(trace, Trace) else trace
    panels = 1 if posterior.p_n_components is None else 2
    figure = _matplotlib("figure").Figure(figsize=_bars_size(panels), layout="constrained")
    n_posterior(posterior, figure.subplots(1, panels, squeeze=False)[0])
    figure.savefig(path, dpi=150)


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


def _bars_size(panels: int) -> tuple[float, float]:
    return 0.6 + 3.8 * panels, 3.2


def _bars(ax: Any, posterior: NPosterior, p: FloatArray, se: FloatArray | None, prior: FloatArray | None) -> None:
    """Posterior probabilities with two standard errors to either side, and prior ones, as bars side by side."""
    n, shown = posterior.n, posterior.visible()
    ax.bar(n - _SIDE, p, 2 * _SIDE, color=_PALETTE[0], label="posterior", zorder=2)
    if prior is not None and np.isfinite(prior).all():
        ax.bar(n + _SIDE, prior, 2 * _SIDE, color=_PALE, ec=_GREY, lw=0.8, label="prior", zorder=2)
    if se is not None:
        known = np.flatnonzero(np.isfinite(se))
        low, high = np.maximum(p - 2.0 * se, 0.0), np.minimum(p + 2.0 * se, 1.0)
        ax.vlines(n[known] - _SIDE, low[known], high[known], color=_INK, lw=1.0, zorder=3)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(_GREY)
    ax.tick_params(labelsize=8, color=_GREY, labelcolor=_INK)
    ax.xaxis.set_major_locator(_matplotlib("ticker").MaxNLocator(nbins=12, integer=True, min_n_ticks=1))
    ax.set_xlim(n[shown][0] - 0.7, n[shown][-1] + 0.7)
    ax.set_ylim(bottom=0.0)


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
    flat = trace.covariances.reshape(C * T, K, *trace.covariances.shape[-2:])
    flat_weights, flat_means = trace.weights.reshape(C * T, K), trace.means.reshape(C * T, K, -1)[..., shown]
    own, kinds = np.arange(C * T), "component"
    if not trace.n_is_known:
        K = most_probable_n_clusters(trace)
        own = np.flatnonzero(trace.n_clusters.ravel() == K)
        kinds = f"{K} cluster{'s'[: K > 1]} ({percent(len(own) / (C * T))} of draws)"
        perm = perm[:, :K]  # of these draws, all components
    perm = perm[own]
    weights = np.take_along_axis(flat_weights[own], perm, 1)
    means = np.take_along_axis(flat_means[own], perm[:, :, None], 1)
    everything, some = _spread(C * T, _MAX_CURVES), _spread(len(own), _MAX_CURVES)
    colours = _colours(K)
    rows = _spread(N, _MAX_POINTS)
    face = _point_colours(trace, own, perm, rows, colours)

    few = _spread(len(own), max(2, min(max_draws, _MAX_ELLIPSES // max(1, K * d * (d - 1) // 2))))
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
            variances = flat[..., shown[i], shown[i]]
            mixture = (flat_weights[everything], flat_means[everything, :, i], variances[everything])
            own_variances = np.take_along_axis(variances[own[some]], perm[some], 1)
            components = (weights[some], means[some, :, i], own_variances)
            _densities(ax, X[:, shown[i]], mixture, components, colours, limits[i])
            continue
        ax.scatter(
            X[rows, shown[j]], X[rows, shown[i]], s=_point_size(len(rows)), c=face, alpha=0.55, lw=0, rasterized=True
        )
        block = np.ix_(shown[[j, i]], shown[[j, i]])
        pair = np.take_along_axis(flat[:, :, block[0], block[1]][own], perm[:, :, None, None], 1)
        centre = np.einsum("tk,tkij->kij", mass, pair)
        for k in range(K):
            drawn = few[weights[few, k] * N >= 1.0]
            faint = float(np.clip(10.0 / max(len(drawn), 1), 0.2, 0.5))
            _ellipses(ax, means[drawn, k][:, [j, i]], pair[drawn, k], colours[k], width=0.5, alpha=faint)
            _ellipses(ax, mean[None, k][:, [j, i]], centre[None, k], colours[k], width=bold, alpha=1.0)
    _legend(axes, weights, colours, kinds, len(own) < C * T, len(trace.columns), d, len(few))


def _spread(n: int, most: int) -> IntArray:
    """At most ``most`` of 0..n-1, evenly spread."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(np.int64))


def _colours(K: int) -> list[str]:
    if len(_PALETTE) >= K:
        return list(_PALETTE[:K])
    to_hex = _matplotlib("colors").to_hex
    # The brightest end of viridis is too pale for lines on white.
    return [to_hex(colour) for colour in _matplotlib().colormaps["viridis"](np.linspace(0.0, 0.92, K))]


def _point_colours(trace: Trace, own: IntArray, perm: IntArray, rows: IntArray, colours: list[str]) -> list[str]:
    """Colour of the most probable component of each of these observations: the one that owned it most often.

    ``own`` are the draws to look at, chains one after the other, and ``perm`` their matched components.
    """
    if trace.assignments is None:
        return [_GREY] * len(rows)
    counts = np.zeros((len(rows), len(colours)), dtype=np.int64)
    here = np.arange(len(rows))
    place = np.zeros(trace.weights.shape[-1], dtype=np.int64)  # component of a draw -> matched component
    for t in _spread(len(own), 1000):
        chain, draw = divmod(int(own[t]), trace.assignments.shape[1])
        place[perm[t]] = np.arange(len(colours))
        counts[here, place[trace.assignments[chain, draw, rows]]] += 1
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
    mixture: tuple[FloatArray, FloatArray, FloatArray],
    components: tuple[FloatArray, FloatArray, FloatArray],
    colours: list[str],
    limits: tuple[float, float],
) -> None:
    """Histogram of a column, and densities of the mixture and of its components.

    Each tuple holds weights, means and variances (T, K), draws of mixtures and draws of matched components; slots of
    the first may be unused.
    """
    bins = int(np.clip(np.sqrt(len(x)), 10, 60))
    ax.hist(x, bins=bins, range=(float(x.min()), float(x.max())), density=True, color=_PALE, lw=0)
    grid = np.linspace(*limits, 300)
    total = sum(_weighted_normals(grid, *mixture), np.zeros((len(mixture[0]), len(grid))))
    low, high = np.quantile(total, [0.05, 0.95], axis=0)
    ax.fill_between(grid, low, high, color=_INK, alpha=0.18, lw=0)
    ax.plot(grid, total.mean(0), color=_INK, lw=2.2)  # wider than a component, to be seen where it is one
    for density, colour in zip(_weighted_normals(grid, *components), colours, strict=True):
        ax.plot(grid, density.mean(0), color=colour, lw=1.3)
    ax.set_ylim(bottom=0.0)


def _weighted_normals(
    grid: FloatArray, weights: FloatArray, means: FloatArray, variances: FloatArray
) -> Iterator[FloatArray]:
    """For each of K components, weight times normal density in each of T draws, (T, grid); 0 in unused slots."""
    for w, mean, variance in zip(weights.T, means.T, variances.T, strict=True):
        scale = np.sqrt(variance)[:, None]
        z = (grid - mean[:, None]) / scale
        density = w[:, None] * np.exp(-0.5 * z * z) / (scale * np.sqrt(2.0 * np.pi))
        density[np.isnan(mean)] = 0.0
        yield density


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


def _legend(
    axes: AnyArray, weights: FloatArray, colours: list[str], kinds: str, partly: bool, D: int, d: int, draws: int
) -> None:
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
    handles.append(
        line([], [], color=_INK, lw=2.2, label=f"mixture{', all draws' if partly else ''}, and its 90% band")
    )
    if d > 1:
        handles.append(line([], [], color=_GREY, lw=0.6, label=f"90% ellipses of {draws} draws"))
    if d < D:
        handles.append(line([], [], lw=0, label=f"{d} of {D} columns are shown"))
    title = f"{kinds}:  weight (90% interval)"
    style: dict[str, Any] = {"handles": handles, "title": title, "frameon": False, "fontsize": 8, "title_fontsize": 8}
    if d == 1:
        axes[0, 0].legend(loc="best", alignment="left", **style)
    else:
        legend = axes[0, -1].legend(loc="upper right", borderaxespad=0.0, alignment="left", **style)
        legend.set_in_layout(False)  # it may be wider than its panel
