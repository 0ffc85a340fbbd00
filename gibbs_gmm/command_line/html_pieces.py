"""Pieces of the report's HTML. Everything that came from outside (names, arguments) is escaped here, on its way in."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence

import numpy as np

from gibbs_gmm.kernels.types import AnyArray
from gibbs_gmm.posterior.wording import number

_LONG_TEXT = 24  # characters of a cell that may be broken into lines
_MAX_RANGES = 24  # of rows in a cluster

escape = html.escape


def p(text: str, kind: str = "") -> str:
    """A paragraph."""
    return f"<p{_class(kind)}>{escape(text)}</p>"


def warning(text: str) -> str:
    """A paragraph that cannot be overlooked."""
    return f'<div class="warning" role="alert">{escape(text)}</div>'


def fold(title: str, content: Iterable[str]) -> str:
    """Content that is shown when its title is asked for, and on paper."""
    inside = "".join(content)
    return f"<details><summary>{escape(title)}</summary>{inside}</details>" if inside else ""


def figure(images: dict[str, bytes], name: str, finding: str, reading: str = "", text: str = "") -> str:
    """A picture with what it shows and how to read it; nothing where the picture was not drawn.

    ``text`` is what stands for it where it cannot be seen; by default the finding.
    """
    if name not in images:
        return ""
    data = base64.b64encode(images[name]).decode("ascii")
    caption = f"<strong>{escape(finding)}</strong> {escape(reading)}".rstrip()
    image = f'<img src="data:image/png;base64,{data}" alt="{escape(text or finding)}"/>'
    return (
        f'<figure class="{escape(name)}"><div class="scroll" tabindex="0">{image}</div>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def table(header: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """A table that scrolls inside the page where it is too wide; long texts in it may be broken into lines."""
    return raw_table([escape(cell) for cell in header], [[escape(cell) for cell in row] for row in rows], kind)


def raw_table(header: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """The same of cells that are HTML."""
    head = "".join(f'<th scope="col">{cell}</th>' for cell in header)
    body = ""
    for first, *cells in rows:
        body += f'<tr><th scope="row">{first}</th>'
        for cell in cells:
            long = len(cell) > _LONG_TEXT and "<" not in cell
            body += f'<td class="text">{cell}</td>' if long else f"<td>{cell}</td>"
        body += "</tr>"
    top = f"<thead><tr>{head}</tr></thead>" if any(header) else ""
    return f'<div class="wide" tabindex="0"><table{_class(kind)}>{top}<tbody>{body}</tbody></table></div>'


def interval(draws: AnyArray) -> tuple[str, str]:
    """Posterior mean, and the 90% interval as "low to high"."""
    scale = float(draws.std())
    low, high = (number(float(x), scale) for x in np.quantile(draws, [0.05, 0.95]))
    return number(float(draws.mean()), scale), f"{low} to {high}"


def interval_cell(draws: AnyArray) -> str:
    """Posterior mean and, below it, its 90% interval."""
    mean, between = interval(draws)
    return f'{escape(mean)}<br/><span class="between">{escape(between)}</span>'


def badge(k: int, colour: str) -> str:
    """The number of a cluster on its colour."""
    return f'<span class="badge" style="--c: {escape(colour)}">{k}</span>'


def download(name: str, text: str) -> str:
    """A link that saves a file which the page holds."""
    data = base64.b64encode(text.encode()).decode("ascii")
    return f'<a download="{escape(name)}" href="data:text/csv;charset=utf-8;base64,{data}">{escape(name)}</a>'


def ranges(rows: AnyArray) -> str:
    """Numbers in increasing order, runs of them as ranges, the first of very many."""
    starts = np.flatnonzero(np.r_[True, np.diff(rows) > 1])
    ends = np.r_[starts[1:], len(rows)] - 1
    parts = [
        str(rows[a]) if a == b else f"{rows[a]}-{rows[b]}" for a, b in zip(starts[:_MAX_RANGES], ends, strict=False)
    ]
    return ", ".join(parts) + (", ..." if len(starts) > _MAX_RANGES else "")


def _class(kind: str) -> str:
    return f' class="{escape(kind)}"' if kind else ""
