"""Are the clusters normal? Tails, skewness and ties of each cluster in each column, and a sentence for each failure."""

from __future__ import annotations

import csv
import dataclasses
import math
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gibbs_gmm.data_warnings import drawn_rows
from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray
from gibbs_gmm.optional import needs
from gibbs_gmm.posterior.cluster_tests import Draw, shape_tests, some_draws_of, tie_tests, unrounded
from gibbs_gmm.posterior.impute import impute
from gibbs_gmm.posterior.matched import Components, checked_data, matched_components
from gibbs_gmm.posterior.merging import SHALLOW, average_normals, dip_between
from gibbs_gmm.posterior.normality import holm
from gibbs_gmm.posterior.wording import html_table, text_table
from gibbs_gmm.trace import Trace

LEVEL = 0.01
"""Adjusted p-value below which a cluster is said not to be normal."""

_ROWS = 20_000  # rows that are looked at: of many more the slightest departure would show
_TIE_DRAWS = 25  # ties take long, and need fewer draws for a p-value that is a median
_LONGEST_PRINT = 60
_MADE_OF = 0.9  # share of a cluster's rows with one value from which on it is made of it
_OVERLAP = 0.05  # share of a cluster's rows that another owns at times from which on they may be one kind
_MOST_SENTENCES, _MOST_NAMES = 12, 6
_TESTS = ("tails", "skewness", "ties")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Check:
    """How far the clusters of a fit are from normal, from :meth:`gibbs_gmm.Trace.check`: K clusters in D columns.

    Clusters have the numbers of the components of :meth:`gibbs_gmm.Trace.summary`. Statistics are means over draws.

    Attributes
    ----------
    columns : tuple of str
        Names of the columns.
    rows : (K,) float64
        The number of rows of each cluster.
    tails, skewness, ties : (K, D) float64
        Tails: by what share the mean absolute deviation falls short of a normal's with the same standard deviation;
        above 0 for heavy tails, below for light ones. Skewness: m_3 / m_2^1.5, above 0 for a long tail to the right.
        Ties: the share of rows whose value another row of the cluster has too.
    p_tails, p_skewness, p_ties : (K, D) float64
        p-value of each test alone; NaN for clusters of fewer than 8 rows and for constant columns.
    adjusted_tails, adjusted_skewness, adjusted_ties : (K, D) float64
        The same adjusted for the number of tests (Holm 1979): if all clusters are normal, the probability that any is
        below 0.01 is at most 0.01.
    draws : int
        How many draws the tests are from.
    messages : tuple of str
        A sentence for each failure; empty when nothing speaks against the clusters.
    hints : tuple of str
        Which clusters run into each other, with no dip in the density or hardly any between them, and so may be one
        kind that is not normal; and columns whose logarithms would be normal. A right model may have such clusters too.
    """

    columns: tuple[str, ...]
    rows: FloatArray
    tails: FloatArray
    skewness: FloatArray
    ties: FloatArray
    p_tails: FloatArray
    p_skewness: FloatArray
    p_ties: FloatArray
    adjusted_tails: FloatArray
    adjusted_skewness: FloatArray
    adjusted_ties: FloatArray
    draws: int
    messages: tuple[str, ...]
    hints: tuple[str, ...]

    def __post_init__(self) -> None:
        for value in vars(self).values():
            if isinstance(value, np.ndarray):
                value.flags.writeable = False

    def __len__(self) -> int:
        return self.tails.size

    def __repr__(self) -> str:
        return text_table(*self._text(), self._remarks())

    def _repr_html_(self) -> str:
        return html_table(*self._text(), self._remarks())

    @property
    def passed(self) -> bool:
        """Whether no test fails: no adjusted p-value is below 0.01."""
        return not any((self._adjusted(test) < LEVEL).any() for test in _TESTS)

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the table to a CSV file, a line for each cluster and column; undefined values are empty."""
        columns = self._columns()
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["cluster", "column", *columns])
            for row, (k, d) in enumerate(np.ndindex(self.tails.shape)):
                values = (float(column[row]) for column in columns.values())
                writer.writerow([k, self.columns[d], *("" if math.isnan(value) else repr(value) for value in values)])

    def to_dataframe(self) -> Any:
        """The table as a pandas DataFrame, indexed by cluster and column."""
        pd = needs("pandas", "arviz", "to_dataframe()")
        index = pd.MultiIndex.from_product([range(len(self.rows)), self.columns], names=["cluster", "column"])
        return pd.DataFrame(self._columns(), index=index)

    def plot(self, axes: Any = None) -> Any:
        """The picture of :func:`gibbs_gmm.plots.check`."""
        from gibbs_gmm.plots import check as picture

        return picture(self, axes)

    def _columns(self) -> dict[str, FloatArray]:
        names = [*_TESTS, *(f"p_{test}" for test in _TESTS), *(f"adjusted_{test}" for test in _TESTS)]
        return {"rows": self.rows.repeat(len(self.columns))} | {name: getattr(self, name).ravel() for name in names}

    def _adjusted(self, test: str) -> FloatArray:
        return np.asarray(getattr(self, f"adjusted_{test}"))

    def _text(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Header and rows as text, without empty clusters; of a long table those with the smallest p-values."""
        everything = np.flatnonzero(self.rows.repeat(len(self.columns)) >= 0.5)
        least = np.fmin.reduce([self._adjusted(test).ravel()[everything] for test in _TESTS])
        shown = everything[np.sort(np.argsort(least, kind="stable")[:_LONGEST_PRINT])]
        lines = []
        for k, d in zip(*np.unravel_index(shown, self.tails.shape), strict=True):
            cells = [f"cluster {k}, {self.columns[d]}", f"{self.rows[k]:.0f}"]
            for test in _TESTS:
                p = self._adjusted(test)[k, d]
                cells += [f"{getattr(self, test)[k, d]:z.2f}", f"{p:.0e}" if p < 0.001 else f"{p:.3f}"]
            lines.append(tuple("-" if cell == "nan" else cell for cell in cells))
        if len(shown) < len(everything):
            lines.append((f"... {len(everything) - len(shown)} more rows, in to_csv()", *[""] * 7))
        return ("", "rows", "tails", "p", "skewness", "p", "ties", "p"), lines

    def _remarks(self) -> tuple[str, ...]:
        tests = sum(int(np.isfinite(self._adjusted(test)).sum()) for test in _TESTS)
        note = f"p is adjusted for the number of tests, {tests}; below {LEVEL:g} a cluster is not normal."
        return (note, *(self.messages or ("Nothing here speaks against normal clusters.",)), *self.hints)


def sentences(check: Check) -> tuple[str, ...]:
    """What a summary or a report says of a check: its messages and hints, of very many the first; empty if none."""
    messages, more = check.messages, len(check.messages) - _MOST_SENTENCES
    if more > 0:
        messages = (*messages[:_MOST_SENTENCES], f"There are {more} more such sentences: trace.check(X).messages.")
    return (*messages, *check.hints)


def check(trace: Trace, X: Any) -> Check:
    """Are the clusters normal? Tails, skewness and ties of each cluster in each column, with calibrated p-values.

    Each of up to 100 draws says which rows a component owns. If the model is right these are normal, and a test of
    that is as exact as on a simple sample (Johnson 2007). Draws are put together with their correlation (Hartung
    1999), and p-values adjusted for the number of tests (Holm 1979). Clusters of fewer than D + 1 rows or of
    repeated values are named, and so are clusters that may be one kind and columns to take logarithms of.

    Parameters
    ----------
    X : array-like (N, D) or (N,)
        The rows of the fit, which a trace does not hold. Of more than 20,000 as many are drawn. Missing values are
        filled in as the model has them, and say nothing against it.

    Returns
    -------
    Check
        See :class:`gibbs_gmm.posterior.model_check.Check`; its ``messages`` are in plain words.

    Raises
    ------
    ValueError
        X is not of the shape of the fit, or the trace has no assignments, or its rows stand for several observations:
        how these lie within a row is not known.

    Examples
    --------
    >>> import gibbs_gmm as gg
    >>> import numpy as np
    >>> X = np.random.default_rng(0).standard_t(3, (200, 1))
    >>> gg.fit(X, 1, draws=50, warmup=50, rng=1).check(X).messages[0]
    'Cluster 0 has heavier tails than a normal in x0.'
    """
    array = checked_data(trace, X)
    if trace.counts is not None:
        raise ValueError("a trace with counts cannot be checked: it does not know how the observations of a row lie")
    if trace.assignments is None:
        raise ValueError("a trace without assignments cannot be checked; fit with save_assignments=True")
    return check_components(matched_components(trace), array)


def check_components(components: Components, X: AnyArray) -> Check:
    """The check of matched components of a trace with assignments, from checked data X (N, D)."""
    rows = drawn_rows(len(X), _ROWS)
    sample, draws = X[rows].astype(np.float64), some_draws_of(components, rows)
    if np.isnan(sample).any():
        sample = impute(components.trace, sample).draws(1, rng=0)[0]
    smooth = unrounded(sample, draws[0])
    found = shape_tests(smooth, draws) | tie_tests(sample, draws[:: math.ceil(len(draws) / _TIE_DRAWS)])
    most = found.pop("most")
    constant = (sample == sample[0]).all(0)  # has no shape, and tells no cluster apart
    for values in (most, *(found[f"p_{test}"] for test in _TESTS)):
        values[:, constant] = np.nan
    adjusted = holm(np.stack([found[f"p_{test}"] for test in _TESTS]))
    found |= dict(zip((f"adjusted_{test}" for test in _TESTS), adjusted, strict=True))
    size = np.stack([draw.size for draw in draws]).mean(0)
    columns = components.trace.columns
    shares = components.trace._partition.probabilities[rows, :-1]
    group = _groups(components, shares)
    messages = [
        *_of_size(size, len(columns)),
        *_of_values(most, size, columns),
        *_of_tests(found, columns, _partners(shares), most >= _MADE_OF),
    ]
    hints = tuple(_of_groups(smooth, draws, group, columns))
    return Check(columns=columns, rows=size, draws=len(draws), messages=tuple(messages), hints=hints, **found)


# --- Sentences ---


def _of_size(size: FloatArray, D: int) -> Iterator[str]:
    """Clusters that are too small to have a shape of their own."""
    for k in np.flatnonzero(np.round(size) <= D):
        n = round(float(size[k]))
        if n > 0:
            yield (
                f"Cluster {k} has {n} row{'s'[: n > 1]}, fewer than D + 1 = {D + 1}: its covariance is the prior's in "
                "some direction, and it may be outliers of another cluster."
            )


def _of_values(most: FloatArray, size: FloatArray, columns: tuple[str, ...]) -> Iterator[str]:
    """Clusters that are one value, or nearly."""
    for k in np.flatnonzero(np.round(size) >= 2):
        if len(named := np.flatnonzero(most[k] >= _MADE_OF)):
            yield f"Cluster {k} is made of repeated values in {_names(named, columns)}: it may be no kind of its own."


def _of_tests(
    found: dict[str, FloatArray], columns: tuple[str, ...], partner: IntArray, said: AnyArray
) -> Iterator[str]:
    """What the tests that fail mean, a sentence for each cluster and kind of failure; not where all has been said."""
    failed = {test: (found[f"adjusted_{test}"] < LEVEL) & ~said for test in _TESTS}
    right, heavy = found["skewness"] > 0.0, found["tails"] > 0.0
    for k in range(len(partner)):
        one_kind = (
            "." if partner[k] < 0 else f": clusters {min(k, partner[k])} and {max(k, partner[k])} may be one kind."
        )
        kinds = (
            (failed["tails"] & heavy, f"has heavier tails than a normal in {{}}{one_kind}"),
            (failed["tails"] & ~heavy, "has lighter tails than a normal in {}: it may be two kinds."),
            (failed["skewness"] & right, f"is skewed to the right in {{}}{one_kind}"),
            (failed["skewness"] & ~right, f"is skewed to the left in {{}}{one_kind}"),
            (failed["ties"], "has values in {} that repeat more often than rounding explains."),
        )
        for which, text in kinds:
            if which[k].any():
                yield f"Cluster {k} " + text.format(_names(np.flatnonzero(which[k]), columns))


def _of_groups(X: FloatArray, draws: Sequence[Draw], group: IntArray, columns: tuple[str, ...]) -> Iterator[str]:
    """Clusters that may together be one kind, what it looks like, and columns whose logarithms are normal."""
    joined = [draw._replace(place=np.append(group, len(group))[draw.place]) for draw in draws]
    shape, skewed = shape_tests(X, joined), set[int]()
    failed = dict(
        zip(("tails", "skewness"), holm(np.stack([shape["p_tails"], shape["p_skewness"]])) < LEVEL, strict=True)
    )
    looks = {
        "heavier in the tails than a normal": failed["tails"] & (shape["tails"] > 0.0),
        "skewed to the right": failed["skewness"] & (shape["skewness"] > 0.0),
        "skewed to the left": failed["skewness"] & (shape["skewness"] < 0.0),
    }
    for k in np.unique(group):
        members = np.flatnonzero(group == k)
        skewed |= set(np.flatnonzero(looks["skewed to the right"][k]))
        if len(members) > 1:
            seen = [
                f"{look} in {_names(np.flatnonzero(which[k]), columns)}"
                for look, which in looks.items()
                if which[k].any()
            ]
            text = f"Clusters {_listed([str(j) for j in members])} run into each other: they may be one kind"
            yield f"{text}, {', '.join(seen)}." if seen else f"{text}."
    for d in sorted(skewed):
        if (X[:, d] > 0.0).all():
            logs = shape_tests(np.log(X[:, [d]]), [draw._replace(mean=draw.mean[:, [d]]) for draw in joined])
            if not (holm(np.stack([logs["p_tails"], logs["p_skewness"]])) < LEVEL).any():
                yield f"Take logarithms of {columns[d]}? It is skewed to the right, and its logarithms are not."


def _groups(components: Components, shares: FloatArray) -> IntArray:
    """(K,) the number of each cluster's group, the smallest in it: clusters that share rows and have no dip between."""
    group, normals = np.arange(components.K), average_normals(components)
    both = _shared(shares)
    for a, b in np.argwhere(np.triu(np.maximum(both, both.T) >= _OVERLAP, 1)):
        if dip_between(*normals, a, b) <= SHALLOW:
            group[group == max(group[a], group[b])] = min(group[a], group[b])
    return group


def _partners(shares: FloatArray) -> IntArray:
    """(K,) the cluster that shares most rows with each, in other draws; -1 where none shares many."""
    both = _shared(shares)
    return np.where(both.max(1) >= _OVERLAP, both.argmax(1), -1)


def _shared(shares: FloatArray) -> FloatArray:
    """[j, k]: the probability that a row of cluster j is in cluster k in another draw; 0 for j = k."""
    both: FloatArray = (shares.T @ shares) / np.maximum(shares.sum(0), np.finfo(float).tiny)[:, None]
    np.fill_diagonal(both, 0.0)
    return both


def _names(which: IntArray, columns: tuple[str, ...]) -> str:
    """Names of columns for a sentence."""
    names = [columns[d] for d in which[:_MOST_NAMES]]
    if len(which) > _MOST_NAMES:
        names.append(f"{len(which) - _MOST_NAMES} more")
    return _listed(names)


def _listed(texts: Sequence[str]) -> str:
    return " and ".join([", ".join(texts[:-1]), texts[-1]]) if len(texts) > 1 else texts[0]
