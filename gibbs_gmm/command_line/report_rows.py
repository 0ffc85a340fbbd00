"""The part of the report that says who is sure and who is not: the rows, and how far clusters hold together."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from gibbs_gmm.command_line import output_folder
from gibbs_gmm.command_line.findings import Findings
from gibbs_gmm.command_line.html_pieces import figure, fold, p, ranges, table
from gibbs_gmm.posterior.clustering import Partition
from gibbs_gmm.posterior.wording import count, percent

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
                f"cluster {k}",
                f"{len(u):,}",
                f"{np.count_nonzero(u < _CERTAIN):,}",
                f"{np.count_nonzero((u >= _CERTAIN) & (u < UNSURE)):,}",
                f"{np.count_nonzero(u >= UNSURE):,}",
            )
        )
    yield table(("", "rows", "above 99% sure", "90% to 99%", "in doubt"), body)
    yield from _uncertain(findings, partition)
    yield fold("Which rows are in which cluster", _members(partition))
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
        second = (str(other), f"{partition.probabilities[row, other]:.2f}") if other >= 0 else ("-", "-")
        values = (f"{findings.X[row, d]:.6g}" for d in shown)
        own = f"{1.0 - partition.uncertainty[row]:.2f}"
        body.append((*name_of(int(row)), *values, str(partition.labels[row]), own, *second))
    counted = "" if findings.lines is not None else f" {_COUNTED}"
    yield p(f"Here are {many} in doubt.{counted}")
    yield table(header, body)


def _called(findings: Findings) -> tuple[list[str], Callable[[int], list[str]]]:
    """What rows are called: the headers, and the cells of a row."""
    names, lines = findings.names, findings.lines
    if lines is None and names is None:
        return ["row"], lambda row: [str(row)]
    headers = ["line"] * (lines is not None)
    if names is None:
        return headers, lambda row: [str(lines[row])] if lines is not None else []
    return ["name", *headers], lambda row: [str(names[row]), *([str(lines[row])] if lines is not None else [])]


def _members(partition: Partition) -> Iterator[str]:
    body = [(f"cluster {k}", ranges(np.flatnonzero(partition.labels == k))) for k in partition.numbers]
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
        body.append((f"cluster {k}", f"{mean:.3f}", f"{partition.cohesion[j]:.2f}", nearest))
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
