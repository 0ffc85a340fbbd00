"""What all pictures share: colours, frames, sizes, and where a figure comes from."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import IO, Any

import numpy as np

from gibbs_gmm.kernels.types import AnyArray
from gibbs_gmm.optional import needs

# The first seven are those of Okabe & Ito (2008), yellow, the palest, last; black is for the mixture. Each later one is
# the farthest from all before it in CIELAB, as seen with normal vision and without red or green cones (Machado 2009).
PALETTE = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#770011", "#0055DD", "#661155"),
    *("#AACC77", "#003388", "#DD2244", "#6699FF", "#990044", "#AACCAA", "#55CCDD", "#337777", "#884400", "#EE9944"),
)
GREY, INK, PALE = "#8c8c8c", "#333333", "#e4e4e4"
_WIDEST = 1800  # pixels
_LONGEST_NAME = 20
_READABLE = 0.45  # lightness of letters on white

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
    dpi = min(150.0, _WIDEST / figure.get_figwidth())
    if isinstance(target, (str, os.PathLike)):
        figure.savefig(target, dpi=dpi)
        return
    figure.dpi = dpi
    matplotlib("backends.backend_agg").FigureCanvasAgg(figure).print_png(target)  # savefig() would draw it twice


def formats() -> list[str]:
    """The endings, without their point, that :func:`save` knows."""
    return sorted(matplotlib("backend_bases").FigureCanvasBase.get_supported_filetypes())


@contextlib.contextmanager
def _without_pyplot() -> Iterator[None]:
    token = _figure.set(matplotlib("figure").Figure)
    try:
        yield
    finally:
        _figure.reset(token)


class Panels(np.ndarray[Any, np.dtype[np.object_]]):
    """An array of Axes that a notebook shows in one line."""

    def __repr__(self) -> str:
        return f"<{' x '.join(map(str, self.shape))} Axes>"


def on_axes(axes: Any, shape: tuple[int, int], size: tuple[float, float], what: str) -> AnyArray:
    """The given axes as an array of this shape, or those of a new figure of this size in inches.

    ``what`` says in an error what they are for.
    """
    if axes is None:
        figure = _figure.get() or matplotlib("pyplot").figure
        return np.asarray(figure(figsize=size, layout="constrained").subplots(*shape, squeeze=False)).view(Panels)
    given = np.asarray(axes, dtype=object)
    if given.size != shape[0] * shape[1] or (given.ndim == 2 and 1 not in shape and given.shape != shape):
        raise ValueError(f"axes must be {_array_text(shape)} for {what}, got shape {given.shape}")
    return given.reshape(shape).view(Panels)


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
    """Colours of K components or chains; from the twenty-first on they come again, and only numbers tell."""
    return [PALETTE[k % len(PALETTE)] for k in range(K)]


def numbers(ax: Any, x: Any, y: Any, labels: Sequence[object], colours: Sequence[str], size: float = 9.0) -> None:
    """Numbers of components, in their colours and with a white rim, at these places."""
    rim = [matplotlib("patheffects").withStroke(linewidth=2.6, foreground="white")]
    for place_x, place_y, label, colour in zip(x, y, labels, colours, strict=True):
        text = ax.text(place_x, place_y, str(label), color=dark(colour), fontsize=size, fontweight="bold", zorder=6)
        text.set(path_effects=rim, ha="center", va="center", clip_on=True)


def dark(colour: str) -> Any:
    """The colour, or a darker one of its hue where it is too pale to be read on white."""
    red, green, blue = matplotlib("colors").to_rgb(colour)
    light = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return tuple(part * min(1.0, _READABLE / light) for part in (red, green, blue))


def limits(x: AnyArray) -> tuple[float, float]:
    """Limits of an axis for these values, with a margin; missing ones are NaN."""
    low, high = float(np.nanmin(x)), float(np.nanmax(x))
    margin = 0.08 * (high - low) or max(abs(low), 1.0) * 0.05
    return low - margin, high + margin


def point_size(n: int) -> float:
    """Size of each of n points."""
    return float(np.clip(2500.0 / n, 2.0, 14.0))


def short(name: str) -> str:
    """A name of a column that fits beside a panel, as plain text: a dollar sign begins no formula."""
    cut = name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}\N{HORIZONTAL ELLIPSIS}"
    return cut.replace("$", r"\$")
