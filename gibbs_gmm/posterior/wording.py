"""Tables and numbers as text."""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Iterable, Sequence


def percent(share: float) -> str:
    """A share as whole per cent; never 0% or 100% of something that is neither none nor all."""
    if 0.0 < share < 0.01:
        return "less than 1%"
    if 0.99 < share < 1.0:
        return "more than 99%"
    return f"{100.0 * share:.0f}%"


def plain(value: float, digits: int) -> str:
    """A number for a file, of which all digits are 17; empty if it is undefined."""
    if math.isnan(value):
        return ""
    return repr(float(value)) if digits >= 17 else f"{value:.{digits}g}"


def number(value: float, scale: float) -> str:
    """A number to two significant digits of ``scale``; four digits where that says nothing; - for none."""
    if math.isnan(value):
        return "-"
    if not (math.isfinite(scale) and scale > 0.0):
        return f"{value:.4g}"
    decimals = 1 - math.floor(math.log10(scale))
    if abs(value) < 1e7 and -3 <= decimals <= 6:
        return f"{value:z.{max(decimals, 0)}f}"
    return f"{value:.4g}"


def count(n: int, what: str) -> str:
    """3 rows; 1 row."""
    return f"{n:,} {what}{'s'[: n != 1]}"


def cluster_name(k: int, kinds: Sequence[object] = ()) -> str:
    """cluster 3; of a known kind, cluster 0 (setosa); outliers for -1."""
    if k < 0:
        return "outliers"
    return f"cluster {k} ({kinds[k]})" if k < len(kinds) else f"cluster {k}"


def listed(values: Iterable[object], word: str = "and", most: int = 20) -> str:
    """a, b and c; of very many the first."""
    texts: Sequence[str] = [str(value) for value in values]
    if len(texts) > most:
        texts = [*texts[:most], f"{len(texts) - most} more"]
    return f" {word} ".join([", ".join(texts[:-1]), texts[-1]]) if len(texts) > 1 else "".join(texts)


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]], remarks: Sequence[str]) -> str:
    """An aligned table, the first column to the left, with remarks below it."""
    width = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [
        "  ".join([row[0].ljust(width[0]), *(cell.rjust(w) for cell, w in zip(row[1:], width[1:], strict=True))])
        for row in (header, *rows)
    ]
    filled = (textwrap.fill(remark, max(80, len(lines[0]))) for remark in remarks)
    return "\n".join([*(line.rstrip() for line in lines), *(f"\n{remark}" for remark in filled)])


def html_table(header: Sequence[str], rows: Sequence[Sequence[str]], remarks: Sequence[str]) -> str:
    """The same as HTML."""
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    body = "".join(
        f"<tr><th>{html.escape(row[0])}</th>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row[1:]) + "</tr>"
        for row in rows
    )
    notes = "".join(f"<p>{html.escape(remark)}</p>" for remark in remarks)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{notes}"
