"""Log evidences of each number of components, and the posterior they give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gibbs_gmm.kernels.types import AnyArray
from gibbs_gmm.plots.style import GREY, INK, PALETTE, frame, matplotlib, on_axes

if TYPE_CHECKING:
    from gibbs_gmm.evidence import Evidence

_FAR = 30.0  # nats below the highest, beyond which nothing matters


def evidence(evidence: Evidence, axes: Any = None) -> AnyArray:
    """How many components? To the left log p(X | n), to the right p(n | X) when all n are equally probable before.

    Log evidences are differences from the highest, in nats, with two standard errors to either side; three nats are a
    Bayes factor of 20. Those that are more than 30 below the highest are not shown.

    Parameters
    ----------
    evidence : Evidence
        What :func:`gibbs_gmm.log_evidence` gave.
    axes : array of two Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    (2,) array of Axes

    Raises
    ------
    ImportError
        matplotlib is not installed.
    TypeError
        It is not an evidence, but a trace, say.
    ValueError
        The number of axes is not two.

    Examples
    --------
    Of the rows of :func:`gibbs_gmm.fit`'s example:

    >>> gg.plots.evidence(gg.log_evidence(X, [1, 2], draws=1000, warmup=500, rng=1, progress=False))
    <2 Axes>
    """
    if not hasattr(evidence, "log_evidence"):
        raise TypeError(f"evidence must be what log_evidence(X) gave, got an object of type {type(evidence).__name__}")
    flat: AnyArray = on_axes(axes, (1, 2), (8.2, 3.2), "log p(X | n) and p(n | X)")[0]
    n, value = evidence.n_components, evidence.log_evidence
    known = np.isfinite(value)
    gap = value - value[known].max(initial=-np.inf) if known.any() else value
    near = known & (gap > -_FAR)
    style = {"color": PALETTE[0], "ecolor": INK, "elinewidth": 1.0, "lw": 1.0, "marker": "o", "ms": 4.0}
    flat[0].errorbar(n[near], gap[near], 2.0 * evidence.standard_error[near], **style)
    flat[0].axhline(0.0, color=GREY, lw=0.8, zorder=1)
    flat[0].set_title("log p(X | n), less the highest", fontsize=10, color=INK, loc="left")
    flat[0].set_ylabel("nats", fontsize=9, color=INK)
    flat[1].bar(n, np.nan_to_num(evidence.posterior()), 0.6, color=PALETTE[0])
    flat[1].set_title("p(n | X), from a uniform p(n)", fontsize=10, color=INK, loc="left")
    for ax in flat:
        frame(ax)
        ax.set_xlabel("n, components of the mixture", fontsize=9, color=INK)
        ax.xaxis.set_major_locator(matplotlib("ticker").MaxNLocator(nbins=12, integer=True, min_n_ticks=1))
        ax.set_xlim(n[0] - 0.7, n[-1] + 0.7)
    return flat
