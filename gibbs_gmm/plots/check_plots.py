"""Are the clusters normal, and which may be one kind?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gibbs_gmm.kernels.types import AnyArray
from gibbs_gmm.plots.style import INK, PALETTE, frame, on_axes, short
from gibbs_gmm.posterior.merging import SHALLOW, Merged
from gibbs_gmm.posterior.model_check import LEVEL, Check

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TESTS = {"tails": "tails (red: heavy)", "skewness": "skewness (red: to the right)", "ties": "ties"}
_MOST_NAMED = 40  # names beside an axis


def check(check: Check, axes: AnyArray | None = None) -> AnyArray:
    """Are the clusters normal? Tails, skewness and ties of each cluster in each column; crosses mark what fails.

    Colours are the statistics, white where they are those of a normal, grey where there are too few rows.

    Parameters
    ----------
    check : Check
        What ``trace.check(X)`` gave.
    axes : array of Axes, optional
        Where to draw: three. A new figure by default.

    Returns
    -------
    (3,) array of Axes

    Raises
    ------
    ImportError
        matplotlib is not installed.
    TypeError
        It is not a check, but the trace, say.
    ValueError
        The number of axes is not three.

    Examples
    --------
    Of the trace and the rows of :func:`gibbs_gmm.fit`'s example:

    >>> gg.plots.check(trace.check(X))
    <3 Axes>
    """
    if not isinstance(check, Check):
        raise TypeError(f"check must be what trace.check(X) gave, got an object of type {type(check).__name__}")
    K, D = check.tails.shape
    height = float(np.clip(1.4 + 0.25 * K, 2.2, 9.0))
    width = float(np.clip(4.0 + 0.75 * D, 6.0, 14.0))
    flat: AnyArray = on_axes(axes, (1, 3), (width, height), "tails, skewness and ties")[0]
    limits = {"tails": 0.3, "skewness": 2.0, "ties": 1.0}
    for ax, (test, title) in zip(flat, _TESTS.items(), strict=True):
        values, failed = getattr(check, test), getattr(check, f"adjusted_{test}") < LEVEL
        style = {"cmap": "RdBu_r", "vmin": -limits[test], "vmax": limits[test], "aspect": "auto"}
        ax.imshow(np.ma.masked_invalid(values), interpolation="nearest", **style)
        ax.set_facecolor("#d0d0d0")
        k, d = np.nonzero(failed)
        ax.scatter(d, k, marker="X", s=50, color="white", edgecolor=INK, lw=0.8)
        frame(ax)
        ax.set_title(title, fontsize=10, color=INK, loc="left")
        shown = np.arange(min(D, _MOST_NAMED))
        ax.set_xticks(shown, [short(check.columns[d]) for d in shown], rotation=90 if D > 3 else 0)
        ax.set_yticks(np.arange(min(K, _MOST_NAMED)))
        ax.tick_params(length=0)
    flat[0].set_ylabel("cluster", fontsize=9, color=INK)
    return flat


def merged(merged: Merged, axes: Axes | None = None) -> Any:
    """Which clusters may be one kind? The entropy of who belongs where against the number of clusters left.

    It falls steeply where clusters are merged that share rows, and is flat where they are apart: the elbow is where
    merging ends to be worth it. Numbers are those of the two that a step merges; a filled point: with no dip in the
    density between them, or one of at most a fifth.

    Parameters
    ----------
    merged : Merged
        What ``trace.merged()`` gave.
    axes : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Raises
    ------
    ImportError
        matplotlib is not installed.
    TypeError
        It is not a merging, but the trace, say.

    Examples
    --------
    Of the trace and the rows of :func:`gibbs_gmm.fit`'s example:

    >>> [text.get_text() for text in gg.plots.merged(trace.merged()).texts]
    ['0+1']
    """
    if not isinstance(merged, Merged):
        raise TypeError(f"merged must be what trace.merged() gave, got an object of type {type(merged).__name__}")
    ax = on_axes(axes, (1, 1), (5.6, 3.6), "entropy")[0, 0]
    n, entropy = merged.n_clusters, merged.entropy
    ax.plot(n, entropy, color=PALETTE[0], lw=1.2, zorder=2)
    shallow = (merged.dip <= SHALLOW) & (merged.pair[:, 0] >= 0)
    style = {"s": 26, "edgecolor": PALETTE[0], "lw": 1.2, "zorder": 3}
    ax.scatter(n, entropy, c=np.where(shallow, PALETTE[0], "white"), **style)
    if len(merged) <= _MOST_NAMED // 2:
        for step in range(1, len(merged)):
            a, b = merged.pair[step]
            offset = {"xytext": (2, 6), "textcoords": "offset points"}
            ax.annotate(f"{a}+{b}", (n[step], entropy[step]), fontsize=8, color=INK, **offset)
    frame(ax)
    ax.invert_xaxis()
    ax.set_ylim(bottom=min(0.0, float(entropy.min())), top=1.1 * float(entropy.max()) or 1.0)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set_xlabel("clusters left", fontsize=9, color=INK)
    ax.set_ylabel("entropy, nats", fontsize=9, color=INK)
    return ax
