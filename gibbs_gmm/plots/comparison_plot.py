"""Which family, and how many components? Log evidences over n."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gibbs_gmm.plots.style import INK, PALETTE, frame, matplotlib, on_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gibbs_gmm.compare import Comparison

_MARKERS = ("o", "s", "^", "D")


def comparison(comparison: Comparison, axes: Axes | None = None) -> Any:
    """Log evidences over n, a line for each family of covariances.

    Thin lines are two Monte-Carlo standard errors to either side; the most probable family and n has a ring.

    Parameters
    ----------
    comparison : Comparison
        What :func:`gibbs_gmm.compare` gave.
    axes : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Raises
    ------
    ImportError
        matplotlib is not installed.

    Examples
    --------
    Of the rows of :func:`gibbs_gmm.fit`'s example:

    >>> found = gg.compare(X, [1, 2], ("full", "spherical"), draws=1000, warmup=500, rng=1, progress=False)
    >>> gg.plots.comparison(found).get_xlabel()
    'n, components of the mixture'
    """
    ax = on_axes(axes, (1, 1), (5.2, 3.6), "log evidence")[0, 0]
    n = comparison.n_components
    for f, name in enumerate(comparison.covariance_types):
        value, error = comparison.log_evidence[f], 2.0 * comparison.standard_error[f]
        color = PALETTE[f % len(PALETTE)]
        ax.plot(n, value, color=color, lw=1.2, marker=_MARKERS[f % len(_MARKERS)], ms=4.5, label=name, zorder=3)
        known = np.isfinite(value) & np.isfinite(error)
        ax.vlines(n[known], (value - error)[known], (value + error)[known], color=color, lw=1.0, zorder=2)
    family, best = comparison.best
    at = comparison.log_evidence[comparison.covariance_types.index(family), int(np.flatnonzero(n == best)[0])]
    ax.plot([best], [at], "o", ms=11, mfc="none", mec=INK, mew=1.0, zorder=4)
    frame(ax)
    ax.xaxis.set_major_locator(matplotlib("ticker").MaxNLocator(nbins=12, integer=True, min_n_ticks=1))
    ax.set_xlabel("n, components of the mixture", fontsize=9, color=INK)
    ax.set_ylabel("log p(X | n, family)", fontsize=9, color=INK)
    ax.set_title(f"most probable: {family}, n = {best}", fontsize=10, color=INK, loc="left")
    ax.legend(frameon=False, fontsize=8)
    return ax
