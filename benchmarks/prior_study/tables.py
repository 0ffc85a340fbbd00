"""The tables of the study, from its results."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from benchmarks import common
from benchmarks.prior_study.scores import Result

_MET = 1.1  # R-hat of n+ above which two short chains have not met


def _mean(values: Iterable[float | None]) -> float:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else math.nan


def _number(value: float, form: str = ".2f") -> str:
    return "-" if math.isnan(value) else f"{value:{form}}"


def _apart(r: Result) -> bool:
    return bool((r.get("r_hat") or 1.0) > _MET)


def _or_zero(r: Result, key: str) -> float | None:
    """A score that is 0 where the fit failed; None where it has no such score."""
    return 0.0 if r["failure"] else r.get(key)


def _grid(
    results: Sequence[Result], cell: Callable[[list[Result]], str], total: Callable[[list[Result]], list[str]],
    header: Sequence[str], order: Callable[[list[Result]], float],
) -> str:  # fmt: skip
    """A row for each candidate, best first, and a column for each cell in the order of its first result."""
    cells = list(dict.fromkeys(r["cell"] for r in results))
    groups: dict[str, list[Result]] = {}
    for r in results:
        groups.setdefault(r["candidate"], []).append(r)
    rows = []
    for candidate, group in sorted(groups.items(), key=lambda item: -order(item[1])):
        inside = ([r for r in group if r["cell"] == name] for name in cells)
        rows.append([candidate, *total(group), *(cell(own) if own else "" for own in inside)])
    return common.table(["candidate", *header, *cells], rows)


def real(results: Sequence[Result]) -> str:
    """ARI of the one partition, and the range over chains of the mean n+."""

    def cell(own: list[Result]) -> str:
        ari = f"{_mean(_or_zero(r, 'ari') for r in own):.2f}"
        means = [value for r in own for value in r.get("by_chain", ())]
        if not means:
            return "failed"
        low, high = f"{min(means):.1f}", f"{max(means):.1f}"
        n = low if low == high else f"{low}-{high}"
        return f"{ari}; {n}{'*' if any(map(_apart, own)) else ''}"

    def mean_ari(group: list[Result]) -> float:
        by_set: dict[str, list[float | None]] = {}
        for r in group:
            by_set.setdefault(r["data"], []).append(_or_zero(r, "ari"))
        return _mean(_mean(values) for values in by_set.values())

    def total(group: list[Result]) -> list[str]:
        failed = sum(bool(r["failure"]) for r in group)
        return [f"{mean_ari(group):.3f}", f"{failed}", f"{_mean(r['seconds'] for r in group):.1f}"]

    return _grid(results, cell, total, ("mean ARI", "failed", "seconds"), mean_ari)


def simulated(results: Sequence[Result]) -> str:
    """P(true n+) by cell, and what else is known of n+ over all sets."""

    def p_true(group: Iterable[Result]) -> float:
        return _mean(_or_zero(r, "p_true") for r in group)

    def total(group: list[Result]) -> list[str]:
        fine = [r for r in group if not r["failure"]]
        return [
            _number(p_true(group), ".3f"),
            _number(_mean(r["log_score"] for r in fine)),
            _number(_mean(float(r.get("mode") == r["n"]) for r in group)),
            _number(_mean(r["mean"] - r["n"] for r in fine), "+.2f"),
            _number(_mean(0.0 if r["failure"] and r["n"] != 1 else r.get("ari") for r in group)),
            _number(p_true(r for r in group if r["D"] <= 2 and r["n"] != 1)),
            _number(_mean(float(_apart(r)) for r in fine)),
            f"{len(group) - len(fine)}",
            _number(_mean(r["seconds"] for r in group), ".1f"),
        ]

    header = ("P(true n+)", "log score", "mode right", "bias", "ARI", "P, D <= 2", "apart", "failed", "seconds")
    return _grid(results, lambda own: _number(p_true(own)), total, header, p_true)


def rounded(results: Sequence[Result]) -> str:
    """P(true n+), and coverage of 90% intervals of variances, by cell."""

    def cell(own: list[Result]) -> str:
        return f"{_mean(_or_zero(r, 'p_true') for r in own):.2f}; {_number(_mean(r.get('covered') for r in own))}"

    def p_true(group: list[Result]) -> float:
        return _mean(_or_zero(r, "p_true") for r in group)

    def total(group: list[Result]) -> list[str]:
        covered = _mean(r.get("covered") for r in group)
        return [f"{p_true(group):.3f}", _number(covered, ".3f"), f"{sum(bool(r['failure']) for r in group)}"]

    return _grid(results, cell, total, ("P(true n+)", "covered", "failed"), p_true)


def right(r: Result) -> bool:
    """Whether a case has the answer wanted: n+ by its mode, ARI above .9, variances within a factor of 1.5."""
    return (
        not r["failure"]
        and (r["n"] is None or r["mode"] == r["n"])
        and r.get("ari", 1.0) > 0.9
        and ("variance_ratio" not in r or r["variance_ratio"] < 1.5)
    )


def cases(results: Sequence[Result]) -> str:
    """Right or wrong, case by case."""

    def share(group: list[Result]) -> float:
        return _mean(float(right(r)) for r in group)

    def cell(own: list[Result]) -> str:
        if all(map(right, own)):
            return "right"
        worst = next(r for r in own if not right(r))
        if worst["failure"]:
            return "failed"
        ratio = f"; variance x {worst['variance_ratio']:.3g}" if "variance_ratio" in worst else ""
        return f"n+ {worst['mode']}; ARI {_number(worst.get('ari', math.nan))}{ratio}"

    return _grid(results, cell, lambda group: [f"{share(group):.2f}"], ("right",), share)


def density(results: Sequence[Result]) -> str:
    """Log predictive densities; no mean over sets where one failed."""

    def cell(own: list[Result]) -> str:
        return "failed" if any(r["failure"] for r in own) else f"{_mean(r['log_density'] for r in own):.3f}"

    def mean(group: list[Result]) -> float:
        return -math.inf if any(r["failure"] for r in group) else _mean(r["log_density"] for r in group)

    return _grid(results, cell, lambda group: [f"{mean(group):.3f}"], ("mean",), mean)


PARTS: dict[str, tuple[str, Callable[[Sequence[Result]], str]]] = {
    "real": (
        "Labelled data: adjusted Rand index of the one partition (0 where the fit failed); range over chains of the "
        f"mean of n+, * with its R-hat above {_MET}",
        real,
    ),
    "simulated": ("Simulated mixtures: P(true n+), in the last columns by dimension", simulated),
    "narrow": ("Kinds that differ along narrow directions: P(true n+) by the correlation within kinds", simulated),
    "redundant": ("Three clear clusters and one more column: P(true n+) by the noise of that column", simulated),
    "rounded": ("Rounded rows: P(true n+); coverage of 90% intervals of the variances within kinds", rounded),
    "cases": ("Cases with a known answer", cases),
    "density": ("Labelled data: log predictive density of a row left out, columns standardised", density),
}


def page(results: Sequence[Result], parts: Iterable[str]) -> str:
    """The tables of these parts, as far as there are results."""
    text = []
    for part in parts:
        title, table = PARTS[part]
        if own := [r for r in results if r["part"] == part]:
            text += [f"## {title}", table(own)]
    return "\n\n".join(text)
