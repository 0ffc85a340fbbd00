"""What a run has found, worked out once for tables, pictures and the report."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gibbs_gmm.command_line.cluster_words import Description, describe
from gibbs_gmm.command_line.cross_table import CrossTable, cross_table
from gibbs_gmm.command_line.output_folder import csv_lines
from gibbs_gmm.kernels.types import AnyArray, IntArray
from gibbs_gmm.posterior.clustering import Partition
from gibbs_gmm.posterior.matched import Components, checked_data, matched_components
from gibbs_gmm.posterior.merging import Merged, merge_components
from gibbs_gmm.posterior.model_check import Check, check_components, sentences
from gibbs_gmm.posterior.n_posterior import NPosterior
from gibbs_gmm.posterior.summary import Summary
from gibbs_gmm.trace import Trace

_BLOCK = 1 << 16  # rows of a table that are made at a time


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
    def outliers(self) -> IntArray | None:
        """The rows that are outliers with a probability of 1/2 or more, the surest first; None where none may be."""
        if self.trace.outlier_weight is None or self.partition is None:
            return None
        probability = self.trace.outlier_probability()
        order = np.argsort(-probability, kind="stable")
        return order[probability[order] >= 0.5]

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


def clusters_csv(partition: Partition, named: Mapping[str, Sequence[Any] | IntArray] | None = None) -> Iterator[str]:
    """The cluster of every row (from 0), how uncertain it is, and the second cluster, as parts of a CSV file.

    ``named`` are columns that go with the number of the row: its line, its name.
    """
    named = {} if named is None else named
    yield csv_lines([["row", *named, "cluster", "uncertainty", "second", "second_probability"]])
    N = len(partition.labels)
    for first in range(0, N, _BLOCK):
        rows = np.arange(first, min(first + _BLOCK, N))
        part, second = slice(first, first + _BLOCK), partition.second[rows]
        columns = (partition.labels[rows], partition.uncertainty[rows], second, partition.probabilities[rows, second])
        names_of = [v[part].tolist() if isinstance(v, np.ndarray) else v[part] for v in named.values()]
        called = zip(*names_of, strict=True) if named else itertools.repeat(())
        lines = zip(*(column.tolist() for column in (rows, *columns)), called, strict=False)
        yield csv_lines(
            [row, *names, k, f"{u:.6g}", *(("", "") if other < 0 else (other, f"{p:.6g}"))]
            for row, k, u, other, p, names in lines
        )
