"""What all pictures share: colours, frames, sizes, and where a figure comes from."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import IO, Any

import numpy as np

from gibbs_gmm.kernels.types import AnyArray
from gibbs_gmm.optional import needs

# Okabe & Ito (2008), told apart with any colour vision; yellow, the palest, comes last; black is for the mixture.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
GREY, INK, PALE = "#8c8c8c", "#333333", "#e4e4e4"
_WIDEST = 1800  # pixels
_LONGEST_NAME = 20
_GOLDEN = 0.6180339887498949

_figure: ContextVar[Any] = ContextVar("figure", default=None)  # what makes a figure; None: pyplot


def matplotlib(module: str = "") -> Any:
    """matplotlib or a module of it, or an error that says how to get it."""
    return needs(f"matplotlib.{module}".rstrip("."), "plots", "a picture")


def save(target: str | os.PathLike[str] | IO[bytes], plot: Callable[..., Any], *args: Any, **options: Any) -> None:
    """Draw a picture into a file, without a display and without touching pyplot's figures.

    Parameters
    ----------
    target : path-like or binary file
        Where to write. The ending of a path chooses the format; a file gets a PNG.
    plot : function
        One of this package, such as :func:`gibbs_gmm.plots.pairs`.
    *args, **options
        What it takes, without ``axes``.

    Examples
    --------
    >>> gg.plots.save("pairs.pdf", gg.plots.pairs, trace, X)  # doctest: +SKIP
    """
    with _without_pyplot():
        figure = np.ravel(plot(*args, **options))[0].figure
    named = {} if isinstance(target, (str, os.PathLike)) else {"format": "png"}
    figure.savefig(target, dpi=min(150.0, _WIDEST / figure.get_figwidth()), **named)


@contextlib.contextmanager
def _without_pyplot() -> Iterator[None]:
    token = _figure.set(matplotlib("figure").Figure)
    try:
        yield
    finally:
        _figure.reset(token)


def on_axes(axes: Any, shape: tuple[int, int], size: tuple[float, float], what: str) -> AnyArray:
    """The given axes as an array of this shape, or those of a new figure of this size in inches.

    ``what`` says in an error what they are for.
    """
    if axes is None:
        figure = _figure.get() or matplotlib("pyplot").figure
        return np.asarray(figure(figsize=size, layout="constrained").subplots(*shape, squeeze=False))
    given = np.asarray(axes, dtype=object)
    if given.size != shape[0] * shape[1] or (given.ndim == 2 and 1 not in shape and given.shape != shape):
        raise ValueError(f"axes must be {_array_text(shape)} for {what}, got shape {given.shape}")
    return given.reshape(shape)


def _array_text(shape: tuple[int, int]) -> str:
    if shape == (1, 1):
        return "one Axes"
    return f"a {shape} array of Axes" if 1 not in shape else f"{max(shape)} Axes"


def frame(ax: Any) -> None:
    """A light frame: two spines, small ticks."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(GREY)
    ax.tick_params(labelsize=8, color=GREY, labelcolor=INK)


def distinct(K: int) -> list[str]:
    """K colours for components or chains, told apart as well as K can be."""
    if len(PALETTE) >= K:
        return list(PALETTE[:K])
    to_hex = matplotlib("colors").to_hex
    # The brightest end of viridis is too pale for lines on white. Steps by the golden ratio put neighbours apart.
    places = np.argsort(np.argsort(np.arange(K) * _GOLDEN % 1.0)) / (K - 1)
    return [to_hex(colour) for colour in matplotlib().colormaps["viridis"](0.92 * places)]


def limits(x: AnyArray) -> tuple[float, float]:
    """Limits of an axis for these values, with a margin."""
    low, high = float(x.min()), float(x.max())
    margin = 0.08 * (high - low) or max(abs(low), 1.0) * 0.05
    return low - margin, high + margin


def point_size(n: int) -> float:
    """Size of each of n points."""
    return float(np.clip(2500.0 / n, 2.0, 14.0))


def short(name: str) -> str:
    """A name of a column that fits beside a panel, as plain text: a dollar sign begins no formula."""
    cut = name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}\N{HORIZONTAL ELLIPSIS}"
    return cut.replace("$", r"\$")
