"""The part of the report that says whether the clusters are normal and, if not, which of them may be one kind."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from typing import Any

from gibbs_gmm.command_line.findings import Findings
from gibbs_gmm.posterior.model_check import LEVEL, sentences


def pictures(findings: Findings) -> dict[str, tuple[Any, ...]]:
    """The pictures to draw, by name: a function of ``plots`` and what it takes. None where there is nothing to say."""
    from gibbs_gmm import plots

    result: dict[str, tuple[Any, ...]] = {}
    if findings.check is not None and not findings.check.passed:
        result["check"] = (plots.check, findings.check)
    if findings.merged is not None:
        result["merged"] = (plots.merged, findings.merged)
    return result


def section(findings: Findings, figure: Callable[[str, str], Iterator[str]]) -> Iterator[str]:
    """Paragraphs, tables and, from ``figure(name, caption)``, pictures."""
    check, merged = findings.check, findings.merged
    if check is None:
        return
    yield (
        "<p>Are they normal, as the model takes them to be? Tails, skewness and ties of each component were tested in "
        f"each column. {_verdict(check.passed)}</p>"
    )
    if said := sentences(check):
        yield "<ul>" + "".join(f"<li>{html.escape(sentence)}</li>" for sentence in said) + "</ul>"
    if not check.passed:
        caption = (
            "Tails, skewness and ties of each component in each column: white where they are those of a normal, with a "
            f"cross where they are not (adjusted p-value below {LEVEL:g})."
        )
        yield from figure("check", caption)
    if merged is not None:
        yield (
            "<p>Several components together can be one kind that is not normal. Here they are merged two at a time, "
            "first those between which most is unclear, which gives a clustering for each smaller number of clusters "
            f'(in Python, trace.merged().labels(k)):</p><div class="wide">{merged._repr_html_()}</div>'
        )
        yield from figure("merged", "What is unclear after each step; the numbers are those of the components merged.")


def _verdict(passed: bool) -> str:
    return "Nothing speaks against it." if passed else "They are not all:"
