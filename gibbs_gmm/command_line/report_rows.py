"""The part of the report that says who is sure and who is not: the rows, and how far clusters hold together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from gibbs_gmm.command_line import output_folder
from gibbs_gmm.command_line.findings import Findings
from gibbs_gmm.command_line.html_pieces import figure, fold, p, ranges, table
from gibbs_gmm.posterior.clustering import Partition
from gibbs_gmm.posterior.wording import cluster_name, count, listed, percent

UNSURE = 0.1  # uncertainty of a row from which on it is in doubt
_CERTAIN = 0.01
_MAX_LISTED = 20  # rows
_COUNTED = "Rows are counted from 0, the first below the names of columns."


def doubt(partition: Partition) -> str:
    """How many rows are in doubt, in a sentence."""
    N = len(partition.labels)
    unsure = int(np.count_nonzero(partition.uncertainty >= UNSURE))
    if unsure == 0:
        return f"None is in doubt: each is in its cluster with a probability above {1.0 - UNSURE:.0%}."
    verb = "is" if unsure == 1 else "are"
    return (
        f"{count(unsure, 'row')} ({percent(unsure / N)}) {verb} in doubt, with a probability of {UNSURE:.0%} or more "
        "of being in another."
    )


def rows(findings: Findings, images: dict[str, bytes]) -> Iterator[str]:
    """How sure the rows of each cluster are, the least sure one by one, and how far clusters hold together."""
    partition = findings.partition
    if partition is None:
        yield p("This run did not keep which row belongs to which cluster (--no-assignments).")
        return
    given = "" if findings.trace.n_is_known else f", if there are {count(findings.components.K, 'cluster')}"
    yield p(
        f"A row is in the cluster that owns it in most draws; its uncertainty is the probability that another one "
        f"does{given}. {doubt(partition)}"
    )
    yield figure(
        images,
        "membership",
        _sureness(partition),
        "A thin column for each row, the surest of each cluster first: one colour is a sure row, a second colour the "
        "probability of another cluster.",
    )
    body = []
    for k in partition.numbers:
        u = partition.uncertainty[partition.labels == k]
        body.append(
            (
                cluster_name(k, findings.trace.label_names),
                f"{len(u):,}",
                f"{np.count_nonzero(u < _CERTAIN):,}",
                f"{np.count_nonzero((u >= _CERTAIN) & (u < UNSURE)):,}",
                f"{np.count_nonzero(u >= UNSURE):,}",
            )
        )
    yield table(("", "rows", "above 99% sure", "90% to 99%", "in doubt"), body)
    yield from _uncertain(findings, partition)
    yield from _outliers(findings)
    yield fold("Which rows are in which cluster", _members(partition, findings.trace.label_names))
    yield fold("Does each cluster hold together, or may two be one?", _holding(partition, images))


def _sureness(partition: Partition) -> str:
    """What the picture of memberships shows."""
    unsure = np.flatnonzero(partition.uncertainty >= UNSURE)
    N = len(partition.labels)
    text = f"{N - len(unsure):,} of {N:,} rows are sure"
    first, second = partition.labels[unsure], partition.second[unsure]
    between = np.stack([np.minimum(first, second), np.maximum(first, second)], axis=1)[second >= 0]
    if len(between) == 0:
        return f"{text}."
    pairs, rows_of = np.unique(between, axis=0, return_counts=True)
    a, b = pairs[rows_of.argmax()]
    return f"{text}; of the others {rows_of.max():,} may be of cluster {a} or {b}."


def _uncertain(findings: Findings, partition: Partition) -> Iterator[str]:
    """The least certain rows, and where else they might belong."""
    unsure = np.flatnonzero(partition.uncertainty >= UNSURE)
    if len(unsure) == 0:
        return
    worst = unsure[np.argsort(-partition.uncertainty[unsure], kind="stable")][:_MAX_LISTED]
    many = f"the {len(worst)} least sure of the {len(unsure):,} rows" if len(worst) < len(unsure) else "the rows"
    shown = findings.components.telling_columns(4)
    called, name_of = _called(findings)
    header = [
        *called,
        *(findings.trace.columns[d] for d in shown),
        "cluster",
        "probability",
        "or cluster",
        "probability",
    ]
    body = []
    for row in worst:
        other = int(partition.second[row])
        p_other = float(partition.probabilities[row, other])  # -1: of none of the clusters
        second = (str(other) if other >= 0 else "none", f"{p_other:.2f}") if p_other > 0.0 else ("-", "-")
        values = ("missing" if np.isnan(x) else f"{x:.6g}" for x in findings.X[row, shown])
        own = f"{1.0 - partition.uncertainty[row]:.2f}"
        label = int(partition.labels[row])
        body.append((*name_of(int(row)), *values, str(label) if label >= 0 else "none", own, *second))
    counted = "" if findings.lines is not None else f" {_COUNTED}"
    yield p(f"Here are {many} in doubt.{counted}")
    yield table(header, body)


def _outliers(findings: Findings) -> Iterator[str]:
    """The rows that are more probably of no kind than not, one by one."""
    if findings.outliers is None:
        return
    yield p(outliers_sentence(findings))
    rows = findings.outliers[:_MAX_LISTED]
    if len(rows) > 0:
        called, name_of = _called(findings)
        shown = range(min(len(findings.trace.columns), 4))
        header = [*called, *(findings.trace.columns[d] for d in shown), "probability"]
        probability = findings.trace.outlier_probability()
        yield table(
            header,
            [
                (*name_of(int(row)), *(f"{findings.X[row, d]:.6g}" for d in shown), f"{probability[row]:.2f}")
                for row in rows
            ],
        )


def outliers_sentence(findings: Findings) -> str:
    """How many outliers there are, and which, in a sentence."""
    rows, trace = findings.outliers, findings.trace
    assert rows is not None
    assert trace.outlier_weight is not None
    share = f"outliers are expected to be {percent(float(trace.outlier_weight.mean()))} of further rows"
    if len(rows) == 0:
        return f"No row is an outlier with a probability of 1/2 or more; {share}."
    verb = "is an outlier" if len(rows) == 1 else "are outliers"
    called, name_of = _called(findings)
    probability = trace.outlier_probability()
    which = listed((f"{called[0]} {name_of(int(row))[0]} ({probability[row]:.2f})" for row in rows), most=10)
    return f"{count(len(rows), 'row')} {verb}, of no cluster, with a probability of 1/2 or more: {which}; {share}."


def _called(findings: Findings) -> tuple[list[str], Callable[[int], list[str]]]:
    """What rows are called: the headers, and the cells of a row."""
    names, lines = findings.names, findings.lines
    if lines is None and names is None:
        return ["row"], lambda row: [str(row)]
    headers = ["line"] * (lines is not None)
    if names is None:
        return headers, lambda row: [str(lines[row])] if lines is not None else []
    return ["name", *headers], lambda row: [str(names[row]), *([str(lines[row])] if lines is not None else [])]


def _members(partition: Partition, kinds: Sequence[object]) -> Iterator[str]:
    body = [(cluster_name(k, kinds), ranges(np.flatnonzero(partition.labels == k))) for k in partition.numbers]
    if (partition.labels < 0).any():
        body.append((cluster_name(-1), ranges(np.flatnonzero(partition.labels < 0))))
    yield p(_COUNTED)
    yield table(("", "rows"), body, "facts")
    yield p(f"Cluster, uncertainty and second cluster of every row: {output_folder.CLUSTERS}.", "small")


def _holding(partition: Partition, images: dict[str, bytes]) -> Iterator[str]:
    """How far clusters hold together, whatever their number is."""
    yield p(
        "This is from all draws, whatever their number of clusters. Together: the probability that two of its rows are "
        "in one component; where it is low, rows are uncertain or the cluster may be two. Nearest: the other cluster "
        "with whose rows its own are together most, and how much; where that is high, it may be part of it."
    )
    body = []
    for j, k in enumerate(partition.numbers):
        other = int(partition.nearest[j])
        between = float(partition.together[j, np.searchsorted(partition.numbers, other)]) if other >= 0 else 0.0
        nearest = f"{other} ({between:.2f})" if between >= 0.005 else "-"
        mean = partition.uncertainty[partition.labels == k].mean()
        body.append((cluster_name(k), f"{mean:.3f}", f"{partition.cohesion[j]:.2f}", nearest))
    yield table(("", "mean uncertainty", "together", "nearest"), body)
    low, high = partition.cohesion.min(), partition.cohesion.max()
    between_text = f"{low:.2f}" if low == high else f"{low:.2f} to {high:.2f}"
    yield figure(
        images,
        "similarity",
        f"Two rows of one cluster are together with probability {between_text}.",
        "The probability that two rows are in one component, over all draws. Pale parts inside a square are rows that "
        "may be split off, and dark parts outside are clusters that may be one.",
    )
