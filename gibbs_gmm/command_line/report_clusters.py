"""The part of the report that says what the clusters are like: in words, in pictures, and in numbers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gibbs_gmm.command_line import output_folder
from gibbs_gmm.command_line.cluster_words import HOW_FAR, Description
from gibbs_gmm.command_line.cross_table import CrossTable
from gibbs_gmm.command_line.findings import Findings
from gibbs_gmm.command_line.html_pieces import badge, escape, figure, fold, interval_cell, p, raw_table, warning
from gibbs_gmm.plots.style import distinct
from gibbs_gmm.posterior.relabel import AMBIGUOUS_LIMIT
from gibbs_gmm.posterior.wording import cluster_name, count, listed, percent

_ABREAST = 4  # clusters in one table of numbers: what a page has room for
_MUCH_TOGETHER = 0.25  # probability of being in one component from which on two clusters may be one
_LOOSE = 0.7  # cohesion below which a cluster may be two
_FEW_COLUMNS = 12  # in the table of all numbers, before it is folded


def described(findings: Findings, images: dict[str, bytes]) -> Iterator[str]:
    """A card for each cluster, and the profiles of all."""
    trace, kinds = findings.trace, findings.components
    numbered = "Clusters are numbered from the largest, 0, on, the same in every table and picture."
    if trace.label_names:
        known = listed(f"{k} is {name}" for k, name in enumerate(trace.label_names))
        numbered = f"Of the clusters {known}, as known for some rows; the others are numbered from the largest on."
    if not trace.n_is_known and kinds.share < 1.0:
        yield p(
            f"What follows is from {percent(kinds.share)} of the draws, those with {count(kinds.K, 'cluster')}, the "
            f"most probable number. {numbered}"
        )
    else:
        yield p(numbered)
    if kinds.ambiguous_share > AMBIGUOUS_LIMIT:
        yield warning(
            f"In {percent(kinds.ambiguous_share)} of draws it is not clear which component is which: they overlap, or "
            "split in several ways. What is said of single clusters means little here; the number of clusters and the "
            "density of the whole mixture do not depend on it."
        )
    colours = distinct(kinds.K)
    cards = "".join(_card(findings, one, colours[one.number]) for one in findings.descriptions)
    yield f'<div class="cards">{cards}</div>'
    if kinds.K > 1:
        yield p(HOW_FAR, "small")
    yield figure(
        images,
        "profiles",
        _stand_out(findings),
        "A panel for each cluster, a line for each column: the point is the cluster's mean, in standard deviations "
        "from the mean of all rows (0); the dark bar is its 90% interval; about two thirds of the cluster's rows are "
        "inside the pale bar.",
    )


def _card(findings: Findings, one: Description, colour: str) -> str:
    """What is said of one cluster."""
    partition, k = findings.partition, one.number
    size, more = f"{percent(one.weight)} of what the rows are from", []
    if partition is not None and k in partition.numbers:
        j = int(np.searchsorted(partition.numbers, k))
        own, all_ = int(partition.sizes[j]), int(partition.sizes.sum())
        size = f"{count(own, partition.unit)} ({percent(own / all_)})"
        more += [f"{table.name}: {table.of_cluster(k)}." for table in findings.cross_tables if table.related]
        other = int(partition.nearest[j])
        if other >= 0 and (both := _together(findings, k, other)) >= _MUCH_TOGETHER:
            more.append(f"It may be one with cluster {other}: their rows are together with probability {both:.2f}.")
        if partition.cohesion[j] < _LOOSE:
            more.append(
                f"It may be more than one: two of its rows are together with probability {partition.cohesion[j]:.2f}."
            )
    elif partition is not None:
        size = f"no row is in it more often than in others; weight {percent(one.weight)}"
    name = f"C{cluster_name(k, findings.trace.label_names)[1:]}"
    said = "".join(p(text, "small") for text in more)
    return (
        f'<div class="card" style="--c: {escape(colour)}"><h3>{badge(k, colour)} {escape(name)}: {escape(size)}</h3>'
        f"{p(one.sentence)}{said}</div>"
    )


def _together(findings: Findings, k: int, other: int) -> float:
    """The probability that two rows, one of either cluster, are in one component."""
    partition = findings.partition
    assert partition is not None
    i, j = np.searchsorted(partition.numbers, [k, other])
    return float(partition.together[i, j])


def _stand_out(findings: Findings) -> str:
    """By what each cluster stands out, in a sentence."""
    parts = []
    for one in findings.descriptions[:6]:
        if one.telling:
            trait = one.telling[0]
            parts.append(f"cluster {one.number} by its {trait.word} {trait.column}")
    if not parts:
        return "Profiles of the clusters."
    return f"What most sets each cluster apart from the others: {'; '.join(parts)}."


def beside_texts(findings: Findings, images: dict[str, bytes]) -> Iterator[str]:
    """Clusters beside the columns that were left out, such as the species."""
    del images
    for table in findings.cross_tables:
        if table.related:
            yield from _beside(table)
    others = [table for table in findings.cross_tables if not table.related]
    if others:
        names = listed(table.name for table in others)
        yield fold(
            f"What has little to do with the clusters: {names}", (text for one in others for text in _beside(one))
        )
    missing = [name for name in findings.texts if name not in {table.name for table in findings.cross_tables}]
    if missing and findings.cross_tables:
        yield p(f"Not shown, for they have one value or very many: {listed(missing)}.", "small")
    if findings.cross_tables:
        yield p("The model has not seen these columns.", "small")


def _beside(table: CrossTable) -> Iterator[str]:
    """A cross table, after what it says."""
    yield p(table.sentence)
    most = table.counts == table.counts.max(1, keepdims=True)
    rows = []
    for v, value in enumerate(table.values):
        cells = (
            f"<strong>{n:,}</strong>" if top and n else f"{n:,}" if n else '<span class="nothing">0</span>'
            for n, top in zip(table.counts[v], most[v], strict=True)
        )
        rows.append((escape(value), *cells, f"{table.counts[v].sum():,}"))
    header = (escape(table.name), *(cluster_name(k) for k in table.numbers), "rows")
    yield raw_table(header, rows, "counts")


def details(findings: Findings, images: dict[str, bytes]) -> Iterator[str]:
    """Every column: the pair plot, the density, and all means and standard deviations."""
    trace, kinds = findings.trace, findings.components
    best = [trace.columns[d] for d in kinds.telling_columns(2 if len(trace.columns) > 2 else 1)]
    tell = f"{listed(best)} tell the clusters apart best." if len(best) > 1 else "Where the rows and the clusters are."
    yield figure(
        images,
        "pairs",
        tell if kinds.K > 1 else "The rows, and the one cluster they are in.",
        "Rows in the colour of their cluster, the paler the less sure; ellipses hold 90% of each cluster, thick for "
        "the posterior mean and thin for single draws, whose spread is the uncertainty; grey areas are the density of "
        "the whole mixture. Curves: each column's histogram, the mixture with its 90% band, and the clusters."
        if len(trace.columns) > 1
        else "The histogram, the mixture (black) with its 90% band, and the clusters; the rows are marks below.",
    )
    yield figure(
        images,
        "density",
        "Where the next row would be.",
        "The predictive density: areas hold 50%, 80% and 95% of the next rows; lines are the 95% of single draws.",
    )
    tables = [p("The weight of each cluster, and its mean and standard deviation in each column, with 90% intervals.")]
    tables += _numbers(findings)
    tables.append(p(f"With covariances, R-hat and effective sample sizes: {output_folder.SUMMARY}.", "small"))
    if kinds.K * len(trace.columns) <= _FEW_COLUMNS:
        yield from tables
    else:
        yield fold("Every mean and standard deviation, with 90% intervals", tables)


def _numbers(findings: Findings) -> Iterator[str]:
    """Tables of weights, means and standard deviations, a few clusters in each."""
    trace, kinds = findings.trace, findings.components
    everything = np.arange(len(trace.columns))
    means = kinds.means(everything)
    spreads = np.stack([np.sqrt(kinds.covariances(everything[[d]])[..., 0, 0]) for d in everything], -1)
    for first in range(0, kinds.K, _ABREAST):
        shown = range(first, min(first + _ABREAST, kinds.K))
        rows = [("weight", *(interval_cell(kinds.weights[:, k]) for k in shown))]
        for d, name in enumerate(trace.columns):
            for what, values in (("mean", means), ("sd", spreads)):
                rows.append((f"{escape(name)}, {what}", *(interval_cell(values[:, k, d]) for k in shown)))
        yield raw_table(("", *(f"cluster {k}" for k in shown)), rows, "numbers")
