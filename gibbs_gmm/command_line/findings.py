"""What a run has found, worked out once for tables, pictures and the report."""

from __future__ import annotations

import csv
import dataclasses
import functools
import io
import itertools
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from gibbs_gmm.command_line.cluster_words import Description, describe
from gibbs_gmm.command_line.cross_table import CrossTable, cross_table
from gibbs_gmm.kernels.types import AnyArray, IntArray
from gibbs_gmm.posterior.clustering import Partition
from gibbs_gmm.posterior.matched import Components, checked_data, matched_components
from gibbs_gmm.posterior.merging import Merged, merge_components
from gibbs_gmm.posterior.model_check import Check, check_components, sentences
from gibbs_gmm.posterior.n_posterior import NPosterior
from gibbs_gmm.posterior.summary import Summary
from gibbs_gmm.trace import Trace


@dataclasses.dataclass(frozen=True, eq=False)
class Findings:
    """A trace, its data, and what is said of them.

    ``partition`` is None for a trace without assignments. ``texts`` holds the values of columns that were left out of
    the model, such as the species, a text for each row; ``names`` what the rows are called, and ``lines`` where they
    are in the file, if that is known.
    """

    trace: Trace
    X: AnyArray
    summary: Summary
    n_posterior: NPosterior
    components: Components
    partition: Partition | None
    texts: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    names: Sequence[str] | None = None
    lines: Sequence[int] | IntArray | None = None

    @functools.cached_property
    def descriptions(self) -> tuple[Description, ...]:
        """Each component in words."""
        return describe(self.components, self.X)

    @functools.cached_property
    def cross_tables(self) -> tuple[CrossTable, ...]:
        """Clusters beside the columns that were left out, where these have a few values."""
        if self.partition is None:
            return ()
        tables = (cross_table(name, values, self.partition.labels) for name, values in self.texts.items())
        return tuple(table for table in tables if table is not None)

    @functools.cached_property
    def check(self) -> Check | None:
        """Whether the components are normal, or None for a trace without assignments or with counts."""
        unknown = self.partition is None or self.trace.counts is not None
        return None if unknown else check_components(self.components, self.X)

    @functools.cached_property
    def merged(self) -> Merged | None:
        """The components merged, where the check has something to say of them and there are several."""
        wanted = self.check is not None and sentences(self.check) and self.components.K > 1
        return merge_components(self.components) if wanted else None


def find(
    trace: Trace,
    X: Any,
    texts: Mapping[str, Sequence[str]] | None = None,
    names: Sequence[str] | None = None,
    lines: Sequence[int] | IntArray | None = None,
) -> Findings:
    """Work out all that tables, pictures and the report say. It does not warn: the messages are in the tables.

    Parameters
    ----------
    trace : Trace
        The posterior.
    X : array-like (N, D)
        The rows it was fitted to.
    texts : mapping of str to N texts, optional
        Columns that were left out, by name.
    names : N texts, optional
        What the rows are called.
    lines : N integers, optional
        Their lines in the file, from 1.
    """
    array = checked_data(trace, X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        summary, n_posterior = trace.summary(), trace.n_posterior()
    partition = None if trace.assignments is None else trace._partition
    return Findings(trace, array, summary, n_posterior, matched_components(trace), partition, texts or {}, names, lines)


def clusters_csv(partition: Partition, named: Mapping[str, Sequence[Any]] | None = None) -> str:
    """The cluster of every row (from 0), how uncertain it is, and the second cluster, as the text of a CSV file.

    ``named`` are columns that go with the number of the row: its line, its name.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    named = {} if named is None else named
    writer.writerow(["row", *named, "cluster", "uncertainty", "second", "second_probability"])
    rows = zip(partition.labels.tolist(), partition.uncertainty.tolist(), partition.second.tolist(), strict=True)
    called = zip(*named.values(), strict=True) if named else itertools.repeat(())
    for row, ((cluster, uncertainty, second), names) in enumerate(zip(rows, called, strict=False)):
        other = ("", "") if second < 0 else (second, f"{partition.probabilities[row, second]:.6g}")
        writer.writerow([row, *names, cluster, f"{uncertainty:.6g}", *other])
    return file.getvalue()
