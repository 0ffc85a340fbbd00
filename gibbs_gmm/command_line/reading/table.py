"""A file as a table: the columns that can be modelled, the names of the rows, and why other columns are left out."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import difflib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gibbs_gmm import checks
from gibbs_gmm.command_line.reading import hints
from gibbs_gmm.command_line.reading.numbers import Cells, Numbers, Unread, number, read_column
from gibbs_gmm.command_line.reading.options import ReadOptions, Refused
from gibbs_gmm.command_line.reading.rows import Rows
from gibbs_gmm.command_line.reading.sources import STDIN, Grid, Text, read_source
from gibbs_gmm.command_line.reading.text import grid_of_rows, read_text
from gibbs_gmm.kernels.types import FloatArray, IntArray

_NAMED, _SHOWN = 5, 20  # lines and names that a message lists, and columns where all matter
_MOST_LEVELS = 50  # distinct values of a text column that is kept, to be compared with clusters


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """The numeric part of a file. ``fit(table, 3)`` takes it as it is and keeps the column names.

    Attributes
    ----------
    X : (N, D) float64
        The values, C-ordered.
    columns : tuple of str
        Names of the D columns.
    left_out : dict
        Column that is not in X -> the reason, such as "text ('setosa', ...)".
    notes : tuple of str
        What was read otherwise than it stands: decimal commas, units, encodings.
    warnings : tuple of str
        What may be wrong, by the name of the column, and what can be done.
    rows : Rows
        Lines, names and texts.
    counts : (N,) float64 or int64, or None
        The column of counts that was named.
    """

    X: FloatArray
    columns: tuple[str, ...]
    left_out: dict[str, str]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    rows: Rows
    counts: FloatArray | IntArray | None = None

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.array(self.X, dtype=dtype, copy=copy)


@dataclasses.dataclass(frozen=True, eq=False)
class Observations:
    """Values, which may be a map of a file, with the names of their columns: what ``fit`` takes."""

    values: FloatArray
    columns: tuple[str, ...]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.array(self.values, dtype=dtype, copy=copy)


def read_table(path: str | os.PathLike[str], options: ReadOptions | None = None) -> Table:
    """Read the numeric columns of a file.

    Text files may have commas, semicolons, tabs, bars or spaces between fields, decimal points or commas, separators
    between thousands, units, any usual encoding, and be compressed; Excel, Parquet and NumPy files are read where a
    reader is installed. Text columns (at least half of the values are no numbers), constant and empty ones are left
    out. A column without a name, or of a name like "id", or of whole numbers in order, holds the rows' names.

    Parameters
    ----------
    path : path-like
        The file; ``-`` is standard input.
    options : ReadOptions, optional
        What the file does not say itself.

    Returns
    -------
    Table

    Raises
    ------
    OSError
        The file cannot be read; FileNotFoundError and IsADirectoryError say so plainly.
    Refused (a ValueError)
        It is no table, or something in it can be read in two ways, or a row has no value: the message names the line,
        the column and the value, and what can be done.
    """
    options = ReadOptions() if options is None else options
    path = Path(path)
    with _named(path):
        return _table(_grid(path, options), options)


def read_grid(path: Path, options: ReadOptions, exact: bool = False) -> Grid:
    """All columns of a file, numbers and texts; with ``exact``, those of a text file as they are written."""
    with _named(path):
        return _grid(path, options, exact)


def _grid(path: Path, options: ReadOptions, exact: bool = False) -> Grid:
    source = read_source(path, options.encoding)
    if isinstance(source, Text):
        return read_text(source, options, exact)
    return source if isinstance(source, Grid) else grid_of_rows(source, options)


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Put the name of the file before what is wrong with it."""
    try:
        yield
    except Refused as error:
        name = "standard input" if str(path) == STDIN else repr(str(path))
        raise Refused(f"{name}: {error}") from None


def _table(grid: Grid, options: ReadOptions) -> Table:
    """The columns to use, as a table, and why the others are left out."""
    names = list(grid.names)
    wanted = None if options.columns is None else _chosen(options.columns, names)
    dropped = set(_chosen(options.drop, names))
    id_ = None if options.id is None else _chosen_one(options.id, names)
    labels = None if options.labels is None else _chosen_one(options.labels, names)
    counted = None if options.counts is None else _chosen_one(options.counts, names)
    order = range(len(names)) if wanted is None else dict.fromkeys(names.index(name) for name in wanted)
    missing = [entry.strip() for entry in options.missing]
    columns = {
        j: Cells(cells, missing) if isinstance(cells, list) else _without(cells, missing)
        for j, cells in enumerate(grid.columns)
        if names[j] == counted or (j in order and names[j] not in dropped)
    }
    decimal = _decimal(grid, options, columns.values())
    used: dict[str, Numbers] = {}
    left_out: dict[str, str] = {}
    warnings = list[str]()
    counts = None
    if counted is not None:
        found = _numbers(grid, names.index(counted), columns[names.index(counted)], decimal, options)
        if isinstance(found, Unread):
            raise Refused(f"column {counted!r} cannot be counts: {found.reason}")
        if len(found.missing) > 0:
            raise Refused(f"{_where({counted: found.missing}, grid.lines, 'missing')}: counts must all be there")
        _refuse_infinite({counted: found}, grid.lines)
        counts = found.values
    for j in order:
        name, shown = names[j], names[j] or "(the first column)"
        if name == counted:
            left_out[shown] = "the counts of the rows"
        elif name in dropped:
            left_out[shown] = "dropped"
        elif id_ == name:
            left_out[shown] = "the names of the rows"
        elif labels == name:
            left_out[shown] = "the kinds of the rows, as far as they are known"
        elif not name and wanted is None and not (_is_empty(columns[j])):
            id_, left_out[shown] = name if id_ is None else id_, "it has no name: row labels"
        else:
            result = _numbers(grid, j, columns[j], decimal, options)
            why = result if isinstance(result, Unread) else _unfit(result, options.constant)
            if why is None and isinstance(result, Numbers):
                used[name] = result
                continue
            assert why is not None
            if wanted is not None:
                raise Refused(f"column {name!r} cannot be modelled: {why.reason}")
            left_out[shown] = why.reason
            if why.lost:
                warnings.append(f"column {name!r} is left out: it holds {why.reason}")
    if wanted is not None and id_ is None:
        id_ = next((name for name in names if name not in wanted and hints.is_id_name(name)), None)
    elif not options.constant:
        id_ = _set_aside_ids(grid, used, left_out, id_)
    if not used:
        reasons = "; ".join(f"{name}: {why}" for name, why in list(left_out.items())[:_NAMED])
        hint = ": there is only one row" if len(grid.lines) == 1 else ""
        if len(names) == 1 and grid.delimiter:
            hint = ": if fields are separated by another character, say --delimiter"
        raise Refused(f"no numeric column is left ({reasons}){hint}")
    _refuse_infinite(used, grid.lines)
    X = np.empty((len(grid.lines), len(used)))
    for d, column in enumerate(used.values()):
        X[:, d] = column.values
    _refuse_empty_rows(X, grid.lines)
    if wanted is None:
        warnings += hints.warnings(X, tuple(used), grid.lines)
    else:
        left_out |= {name: "not asked for" for name in names if name and name not in (*wanted, id_, labels, counted)}
    rows = _rows(grid, id_, used, labels)
    if labels is not None:
        rows = dataclasses.replace(rows, labels=_labels(grid.columns[names.index(labels)], missing))
    if counted is not None:
        rows.texts.pop(counted, None)
    notes = (*grid.notes, *_notations(used), *_gaps(used, grid.lines))
    return Table(X, tuple(used), left_out, notes, tuple(warnings), rows, counts)


def without_absent_rows(table: Table) -> Table:
    """The table without rows of count 0, and its counts checked: whole numbers, (N,) int64."""
    if table.counts is None:
        return table
    counts = checks.counts(table.counts, len(table.X), "--counts")
    kept = np.flatnonzero(counts)
    rows = dataclasses.replace(
        table.rows,
        lines=table.rows.lines[kept],
        ids=None if table.rows.ids is None else [table.rows.ids[i] for i in kept],
        texts={name: [texts[i] for i in kept] for name, texts in table.rows.texts.items()},
        labels=None if table.rows.labels is None else [table.rows.labels[i] for i in kept],
    )
    return dataclasses.replace(table, X=np.ascontiguousarray(table.X[kept]), rows=rows, counts=counts[kept])


def _chosen(given: Iterable[str], names: Sequence[str]) -> list[str]:
    """The columns that were named: each entry is a name, or several with commas between them."""
    result: list[str] = []
    for entry in given:
        if entry in names:
            result.append(entry)
        else:
            parts = [part.strip() for part in next(csv.reader([entry], skipinitialspace=True), []) if part.strip()]
            result += parts
    for name in result:
        _chosen_one(name, names, [other for other in names if other not in result])
    return result


def _chosen_one(name: str, names: Sequence[str], meant: Sequence[str] | None = None) -> str:
    """The name, if there is such a column; ``meant`` are those that it may be a misspelling of, by default all."""
    if name in names and name:
        return name
    likely = [one for one in (names if meant is None else meant) if one]
    close = difflib.get_close_matches(name.lower(), [one.lower() for one in likely], 1, 0.6)
    near = [one for one in likely if one.lower() in close]
    hint = f"did you mean {near[0]!r}? The" if near else "the"
    if list(names) == [f"x{j}" for j in range(len(names))]:
        hint = "the file begins with numbers, not with a line of names, and its"
    shown = [repr(one) for one in names if one]
    more = f", ... ({len(shown)} in all)" if len(shown) > _SHOWN else ""
    raise Refused(f"there is no column {name!r}; {hint} columns are {', '.join(shown[:_SHOWN])}{more}")


def _decimal(grid: Grid, options: ReadOptions, columns: Iterable[Cells | Numbers]) -> str:
    """The decimal separator that columns agree on; "" if none proves any, or they do not agree."""
    if options.decimal is not None:
        return options.decimal
    proof = {mark for column in columns if isinstance(column, Cells) for mark in column.proof}
    if len(proof) == 1:
        return proof.pop()
    return "." if not proof and grid.delimiter == "," else ""


def _numbers(grid: Grid, j: int, column: Cells | Numbers, decimal: str, options: ReadOptions) -> Numbers | Unread:
    """A column as numbers, or why it is none."""
    if isinstance(column, Numbers):
        return column
    result = read_column(grid.names[j], column, grid.lines, decimal, options.decimal is not None)
    if isinstance(result, Unread) and result.reason.startswith(("text", "several")):
        first = next(text for text, gone in zip(column.texts, column.absent.tolist(), strict=True) if not gone)
        return Unread(f"dates ({first!r}, ...)") if hints.is_date(first) else result
    return _without(result, options.missing) if isinstance(result, Numbers) else result


def _without(column: Numbers, missing: Sequence[str]) -> Numbers:
    """The numbers, but for those that stand for missing ones."""
    given = [value for entry in missing if (value := number(entry.replace(",", "."))) is not None]
    if not given:
        return column
    values = np.where(np.isin(column.values, given), np.nan, column.values)
    return dataclasses.replace(column, values=values, missing=np.flatnonzero(np.isnan(values)))


def _is_empty(column: Cells | Numbers) -> bool:
    return isinstance(column, Cells) and bool(column.absent.all())


def _unfit(column: Numbers, constant: bool) -> Unread | None:
    """Why a column of numbers cannot be modelled, or None."""
    values = column.values
    values = values[~np.isnan(values)]
    if len(values) == 0:
        return Unread("empty")
    if constant or values.min() != values.max():
        return None
    return Unread(f"constant (always {values[0]:g})")


def _set_aside_ids(grid: Grid, used: dict[str, Numbers], left_out: dict[str, str], id_: str | None) -> str | None:
    """Take columns that only count or name the rows away from those to be modelled; returns that of their names.

    The last column that is left stays, whatever it is.
    """
    for name, column in list(used.items()):
        counts = len(column.missing) == 0 and hints.counts_rows(column.values)
        named = hints.is_id_name(name) and len(np.unique(column.values)) == len(column.values)
        if len(used) > 1 and (counts or (named and np.array_equal(column.values, np.round(column.values)))):
            what = "whole numbers in order" if counts else "its name, and that all its values are distinct"
            left_out[name] = f"the names of the rows, by {what}; to model it: --columns"
            del used[name]
            id_ = name if id_ is None else id_
    if id_ is None:
        texts = (name for name, cells in zip(grid.names, grid.columns, strict=True) if isinstance(cells, list))
        likely = (name for name in texts if name not in used and hints.is_id_name(name))
        id_ = next((name for name in likely if _distinct(grid, name)), None)
        if id_ is not None and left_out.get(id_, "").startswith("text"):
            left_out[id_] = "the names of the rows"
    return id_


def _notations(used: dict[str, Numbers]) -> list[str]:
    """How columns were read that are not written as Python writes numbers: columns of one notation together."""
    together: dict[str, list[str]] = {}
    for name, column in used.items():
        if column.notation:
            together.setdefault(column.notation, []).append(name)
    return [f"{notation} in {_listed(names)}: {used[names[0]].example}" for notation, names in together.items()]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"column{'s'[: len(names) > 1]} {', '.join(map(repr, names[:_NAMED]))}{more}"


def _distinct(grid: Grid, name: str) -> bool:
    cells = grid.columns[list(grid.names).index(name)]
    return isinstance(cells, list) and len(set(cells)) == len(cells)


def _refuse_infinite(used: dict[str, Numbers], lines: IntArray) -> None:
    """Infinite values cannot be modelled: say how many there are and where, and what can be done."""
    found = {name: np.flatnonzero(np.isinf(column.values)) for name, column in used.items()}
    found = {name: rows for name, rows in found.items() if len(rows) > 0}
    if not found:
        return
    concerned = len(np.unique(np.concatenate(list(found.values()))))
    raise Refused(
        f"{_where(found, lines, 'infinite')}. Values that are infinite cannot be modelled: remove the {concerned} "
        f"row{'s'[: concerned > 1]} concerned (of {len(lines)}), leave their cells empty, or leave out "
        f"{'the column' if len(found) == 1 else 'columns'} with --drop {','.join(_quoted(name) for name in found)}"
    )


def _refuse_empty_rows(X: FloatArray, lines: IntArray) -> None:
    """A row without a value in any column that is used says nothing."""
    empty = lines[np.isnan(X).all(1)]
    if len(empty) > 0:
        some = ", ".join(map(str, empty[:_NAMED])) + (", ..." if len(empty) > _NAMED else "")
        raise Refused(
            f"{len(empty)} row{'s'[: len(empty) > 1]} (line{'s'[: len(empty) > 1]} {some}) without a value in any "
            f"column that is used: remove {'them' if len(empty) > 1 else 'it'}"
        )


def _gaps(used: dict[str, Numbers], lines: IntArray) -> list[str]:
    """How many values are missing, and where: they are integrated out."""
    gaps = {name: column.missing for name, column in used.items() if len(column.missing) > 0}
    if not gaps:
        return []
    total, rows = sum(map(len, gaps.values())), len(np.unique(np.concatenate(list(gaps.values()))))
    return [f"{total} missing value{'s'[: total > 1]} in {rows} row{'s'[: rows > 1]}: {_where(gaps, lines, 'missing')}"]


def _where(found: dict[str, IntArray], lines: IntArray, what: str) -> str:
    """Where values of a kind are, column by column."""
    where = [
        f"column {name!r} has {len(rows)} {what} value{'s'[: len(rows) > 1]}, line{'s'[: len(rows) > 1]} "
        f"{', '.join(map(str, lines[rows[:_NAMED]]))}{', ...' if len(rows) > _NAMED else ''}"
        for name, rows in list(found.items())[:_NAMED]
    ]
    if len(found) > _NAMED:
        where.append(f"and {len(found) - _NAMED} more columns")
    return "; ".join(where)


def _quoted(name: str) -> str:
    return f"'{name}'" if any(mark in name for mark in " ;&()'") else name


def _labels(column: list[str] | Numbers, missing: Sequence[str]) -> list[int | str | None]:
    """Labels as whole numbers where all are, else as texts; None where they are missing."""
    if isinstance(column, Numbers):
        texts = ["" if np.isnan(value) else f"{value:.17g}" for value in _without(column, missing).values.tolist()]
    else:
        absent = Cells(column, missing).absent.tolist()
        texts = ["" if gone else text.strip() for text, gone in zip(column, absent, strict=True)]
    with contextlib.suppress(ValueError):
        return [int(text) if text else None for text in texts]
    return [text or None for text in texts]


def _rows(grid: Grid, id_: str | None, used: dict[str, Numbers], labels: str | None) -> Rows:
    """Lines, names and texts of the rows."""
    ids: list[str] | None = None
    texts = {}
    for name, cells in zip(grid.names, grid.columns, strict=True):
        if name == id_ and name not in used:
            ids = cells if isinstance(cells, list) else [f"{value:.17g}" for value in cells.values.tolist()]
        elif name and name not in used and name != labels:
            values = cells if isinstance(cells, list) else [f"{value:.6g}" for value in cells.values.tolist()]
            if 2 <= len(set(values)) <= min(_MOST_LEVELS, len(values) // 2):
                texts[name] = values
    return Rows(grid.lines, (id_ or "row name") if ids is not None else "", ids, texts)
