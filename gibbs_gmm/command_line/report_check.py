"""The part of the report that says whether the clusters are normal and, if not, which of them may be one kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gibbs_gmm.command_line.findings import Findings
from gibbs_gmm.command_line.html_pieces import escape, figure, fold, p
from gibbs_gmm.posterior.model_check import LEVEL, sentences
from gibbs_gmm.posterior.wording import count


def pictures(findings: Findings) -> dict[str, tuple[Any, ...]]:
    """The pictures to draw, by name: a function of ``plots`` and what it takes. None where there is nothing to say."""
    from gibbs_gmm import plots

    result: dict[str, tuple[Any, ...]] = {}
    if findings.check is not None and not findings.check.passed:
        result["check"] = (plots.check, findings.check)
    if findings.merged is not None:
        result["merged"] = (plots.merged, findings.merged)
    return result


def section(findings: Findings, images: dict[str, bytes]) -> Iterator[str]:
    """What was tested and what came of it; clusters that may together be one kind."""
    check, merged = findings.check, findings.merged
    if check is None:
        return
    yield p(
        "The model takes every cluster to be normal: symmetric, with thin tails. Tails, skewness and ties of each "
        f"cluster were tested in each column. {_verdict(check.passed)}"
    )
    if said := sentences(check):
        yield "<ul>" + "".join(f"<li>{escape(sentence)}</li>" for sentence in said) + "</ul>"
    if not check.passed:
        failed = sum(int((getattr(check, f"adjusted_{test}") < LEVEL).sum()) for test in ("tails", "skewness", "ties"))
        yield figure(
            images,
            "check",
            f"{count(failed, 'test')} of clusters and columns fail{'s'[: failed == 1]}.",
            "Tails, skewness and ties of each cluster in each column: white where they are those of a normal, with a "
            f"cross where they are not (adjusted p-value below {LEVEL:g}).",
        )
    if merged is not None:
        inside = [
            p(
                "Several clusters together can be one kind that is not normal. Here they are merged two at a time, "
                "first those between which most is unclear, which gives a clustering for each smaller number of "
                "clusters (in Python, trace.merged().labels(k)):"
            ),
            f'<div class="wide" tabindex="0">{merged._repr_html_()}</div>',
            figure(images, "merged", "What is unclear after each step.", "Numbers are those of the clusters merged."),
        ]
        yield fold("Which clusters may together be one kind?", inside)


def _verdict(passed: bool) -> str:
    return "Nothing speaks against it." if passed else "They are not all:"
