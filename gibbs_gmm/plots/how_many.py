"""How many? p(n) and p(n+) beside their priors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gibbs_gmm.kernels.types import AnyArray, FloatArray
from gibbs_gmm.plots.style import GREY, INK, PALE, PALETTE, frame, matplotlib, on_axes
from gibbs_gmm.posterior.n_posterior import NPosterior, tabulate
from gibbs_gmm.trace import Trace

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PANELS = ("p(n)", "p(n+)")
_SIDE = 0.2  # half the width of a bar
_LEAST_PLACES = 3


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

    Examples
    --------
    Of the trace and the rows of :func:`gibbs_gmm.fit`'s example:

    >>> gg.plots.n_posterior(trace)
    <1 Axes>
    """
    posterior = tabulate(trace) if isinstance(trace, Trace) else trace
    panels = 1 if posterior.p_n_components is None else 2
    flat: AnyArray = on_axes(axes, (1, panels), (0.6 + 3.8 * panels, 3.2), " and ".join(_PANELS[-panels:]))[0]
    if posterior.p_n_components is not None:
        _bars(flat[0], posterior, posterior.p_n_components, posterior.se_n_components, posterior.prior_n_components)
        flat[0].set_xlabel("n, components of the mixture", fontsize=9, color=INK)
    _bars(flat[-1], posterior, posterior.p_n_clusters, posterior.se_n_clusters, posterior.prior_n_clusters)
    chains = posterior.p_n_clusters_by_chain
    if len(chains) > 1:
        visited = np.flatnonzero(chains.any(0))
        style = {"s": 16, "facecolor": "white", "edgecolor": INK, "lw": 0.8, "zorder": 4, "label": "each chain alone"}
        flat[-1].scatter(np.broadcast_to(posterior.n - _SIDE, chains.shape)[:, visited], chains[:, visited], **style)
    flat[-1].set_xlabel("n+, components that own observations", fontsize=9, color=INK)
    for ax, name in zip(flat, _PANELS[-panels:], strict=True):
        ax.set_title(name, fontsize=10, color=INK, loc="left")
    flat[-1].legend(framealpha=0.85, edgecolor="none", fontsize=8)
    return flat


def _bars(ax: Any, posterior: NPosterior, p: FloatArray, se: FloatArray | None, prior: FloatArray | None) -> None:
    """Posterior probabilities with two standard errors to either side, and prior ones, as bars side by side."""
    n, shown = posterior.n, posterior.visible()
    ax.bar(n - _SIDE, p, 2 * _SIDE, color=PALETTE[0], label="posterior", zorder=2)
    if prior is not None and np.isfinite(prior).all():
        ax.bar(n + _SIDE, prior, 2 * _SIDE, color=PALE, ec=GREY, lw=0.8, label="prior", zorder=2)
    if se is not None:
        known = np.flatnonzero(np.isfinite(se))
        low, high = np.maximum(p - 2.0 * se, 0.0), np.minimum(p + 2.0 * se, 1.0)
        ax.vlines(n[known] - _SIDE, low[known], high[known], color=INK, lw=1.0, zorder=3)
    frame(ax)
    ax.xaxis.set_major_locator(matplotlib("ticker").MaxNLocator(nbins=12, integer=True, min_n_ticks=1))
    narrow = max(0.0, 0.5 * (_LEAST_PLACES - len(n[shown])))  # one bar alone would fill the panel
    ax.set_xlim(n[shown][0] - 0.7 - narrow, n[shown][-1] + 0.7 + narrow)
    ax.set_ylim(bottom=0.0)
