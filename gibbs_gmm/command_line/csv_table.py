"""Reading a CSV file into numbers: which columns can be modelled, and why the others cannot."""

from __future__ import annotations

import csv
import dataclasses
import math
import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from gibbs_gmm.kernels.types import FloatArray

_MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})
_CHUNK = 50_000
_PREVIEW = 20  # lines that decide the delimiter
_NAMED = 5  # lines that a message names
_LABEL_VALUES = 10


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """The numeric part of a CSV file. ``fit(table, 3)`` takes it as it is and keeps the column names.

    Attributes
    ----------
    X : (N, D) float64
        The values, C-ordered.
    columns : tuple of str
        Names of the D columns.
    left_out : dict
        Column that is not in X -> the reason, such as "text ('setosa', ...)".
    label_like : dict
        Column in X that nobody asked for by name and that may be labels rather than measurements -> how many distinct
        values, all of them whole numbers, it holds.
    """

    X: FloatArray
    columns: tuple[str, ...]
    left_out: dict[str, str]
    label_like: dict[str, int]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.array(self.X, dtype=dtype, copy=copy)


@dataclasses.dataclass
class _Column:
    """What has been read of one column. ``missing`` and ``infinite`` are line numbers."""

    name: str
    values: list[FloatArray] = dataclasses.field(default_factory=list)
    n_numeric: int = 0
    n_text: int = 0
    first_text: tuple[int, str] = (0, "")  # line and value
    missing: list[int] = dataclasses.field(default_factory=list)
    infinite: list[int] = dataclasses.field(default_factory=list)

    def add(self, fields: Sequence[str], lines: Sequence[int]) -> None:
        """Parse a chunk. The common case, all numbers, takes one pass in C."""
        try:
            if "_" in "".join(fields):  # Python reads "1_0" as 10; nobody else does
                raise ValueError
            values = np.array(list(map(float, fields)))
            if np.isnan(values).any():
                raise ValueError
            self.n_numeric += len(values)
        except ValueError:
            values = np.array([self._number(field, line) for field, line in zip(fields, lines, strict=True)])
        self.infinite += [lines[int(i)] for i in np.flatnonzero(np.isinf(values))]
        self.values.append(values)

    def _number(self, field: str, line: int) -> float:
        if _is_missing(field):
            self.missing.append(line)
            return math.nan
        value = _number(field)
        if value is None:
            if self.n_text == 0:
                self.first_text = (line, field)
            self.n_text += 1
            return math.nan
        self.n_numeric += 1
        return value

    def unfit(self, constant: bool) -> str | None:
        """Why the column cannot be modelled, or None. Raises ValueError where one value keeps it from that.

        A constant column can be, if ``constant``.
        """
        line, value = self.first_text
        if self.n_numeric == 0 and self.n_text == 0:
            return "empty"
        if self.n_text >= self.n_numeric:
            return f"text ({value!r}, ...)"
        if self.n_text > 0:
            more = f" (and {self.n_text - 1} more such values)" if self.n_text > 1 else ""
            raise ValueError(f"column {self.name!r} holds numbers, but {value!r} in line {line}{more}; correct it")
        low, high = (f([f(chunk) for chunk in self.values]) for f in (np.fmin.reduce, np.fmax.reduce))
        return f"constant (always {low:g})" if low == high and not self.missing and not constant else None


def read_csv(
    path: str | os.PathLike[str],
    columns: Sequence[str] | None = None,
    drop: Sequence[str] = (),
    constant: bool = False,
) -> Table:
    """Read the numeric columns of a CSV file.

    Fields are separated by commas, semicolons or tabs, the text is UTF-8 and numbers have decimal points. The first
    line holds the column names, unless it is all numbers: then they are x0, x1, .... Blank lines are skipped. Text
    columns (at least half of the values are no numbers), constant and empty columns are left out, and so is a first
    column without a name (row labels, as R and pandas write them).

    Parameters
    ----------
    path : path-like
        The file.
    columns : sequence of str, optional
        The columns to use, in this order; by default all that can be modelled.
    drop : sequence of str
        Columns to leave out.
    constant : bool
        Take constant columns too, as rows to be predicted may have.

    Returns
    -------
    Table

    Raises
    ------
    OSError
        The file cannot be read; FileNotFoundError and IsADirectoryError say so plainly.
    ValueError
        Missing or infinite values, a ragged line, a stray text among numbers, a first line that is neither names nor
        numbers, no numeric column, or no CSV file at all: the message names the line, the column and the value.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{str(path)!r} is a folder, not a CSV file")
    if not path.exists():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            preview = list(islice(file, _PREVIEW))
            if any("\0" in line for line in preview):
                raise ValueError("this is not a text file; save it as CSV in UTF-8")
            file.seek(0)
            reader = csv.reader(file, delimiter=_delimiter(preview), strict=True)
            try:
                parsed = _parse(reader)
            except csv.Error as error:
                raise ValueError(f"line {reader.line_num} is not valid CSV: {error}") from None
        return _select(parsed, columns, drop, constant)
    except UnicodeDecodeError:
        raise ValueError(f"{str(path)!r}: this is not UTF-8 text; save it as CSV in UTF-8") from None
    except ValueError as error:
        raise ValueError(f"{str(path)!r}: {error}") from None


def _delimiter(preview: list[str]) -> str:
    """The separator of these lines: a tab or semicolon if all of them have equally many, else the commonest.

    In this order, because decimal commas may stand between semicolons but hardly semicolons between commas.
    """
    lines = [line for line in preview if line.strip()] or [""]
    for delimiter in "\t;":
        counts = {line.count(delimiter) for line in lines}
        if len(counts) == 1 and counts.pop() > 0:
            return delimiter
    return max(",;\t", key=lines[0].count)


def _parse(reader: Any) -> list[_Column]:
    """All columns of the file, as far as they are numbers."""
    first: list[str] | None = next((row for row in reader if row), None)
    if first is None:
        raise ValueError("the file is empty")
    numbers = [_number(field) is not None for field in first]
    rows: list[list[str]] = []
    if not any(numbers):
        names = [field.strip() or f"x{j}" for j, field in enumerate(first)]
        if len(first) > 1 and not first[0].strip():
            names[0] = ""
    elif all(number or _is_missing(field) for number, field in zip(numbers, first, strict=True)):
        names, rows = [f"x{j}" for j in range(len(first))], [first]
    else:
        number, text = first[numbers.index(True)], first[numbers.index(False)]
        raise ValueError(
            f"line {reader.line_num} is neither column names nor numbers: it holds {number!r} and {text!r}; give the "
            "file a first line of names, none of them a number"
        )
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise ValueError(f"line {reader.line_num} names two columns {repeated!r}")
    columns = [_Column(name) for name in names]
    for chunk, lines in _chunks(reader, rows, len(names)):
        for column, fields in zip(columns, zip(*chunk, strict=True), strict=True):
            column.add(fields, lines)
    if not columns[0].values:
        raise ValueError("there are no rows below the line of column names")
    return columns


def _chunks(reader: Any, rows: list[list[str]], width: int) -> Iterator[tuple[list[list[str]], list[int]]]:
    """Rows and their line numbers, some at a time; blank lines are skipped, ragged ones refused."""
    lines: list[int] = [reader.line_num] * len(rows)
    for row in reader:
        if len(row) != width:
            if not row:
                continue
            raise ValueError(
                f"line {reader.line_num} has {len(row)} field{'s'[: len(row) > 1]} where {width} are expected"
            )
        rows.append(row)
        lines.append(reader.line_num)
        if len(rows) == _CHUNK:
            yield rows, lines
            rows, lines = [], []
    if rows:
        yield rows, lines


def _select(parsed: list[_Column], columns: Sequence[str] | None, drop: Sequence[str], constant: bool) -> Table:
    """The columns to use, as a table, and why the others are left out."""
    by_name = {column.name: column for column in parsed if column.name}
    for name in (*(columns or ()), *drop):
        if name not in by_name:
            raise ValueError(f"there is no column {name!r}; the columns are {', '.join(map(repr, by_name))}")
    used: list[_Column] = []
    left_out: dict[str, str] = {}
    for column in parsed if columns is None else [by_name[name] for name in dict.fromkeys(columns)]:
        if not column.name:
            left_out["(the first column)"] = "it has no name: row labels"
        elif column.name in drop:
            left_out[column.name] = "dropped"
        elif (reason := column.unfit(constant)) is None:
            used.append(column)
        elif columns is None:
            left_out[column.name] = reason
        else:
            raise ValueError(f"column {column.name!r} cannot be modelled: {reason}")
    if not used:
        raise ValueError(f"no numeric column is left ({'; '.join(f'{name}: {why}' for name, why in left_out.items())})")
    _refuse_gaps(used)
    X = np.empty((sum(map(len, used[0].values)), len(used)))
    for j, column in enumerate(used):
        np.concatenate(column.values, out=X[:, j])
    label_like = {}
    if columns is None:
        label_like = {column.name: n for j, column in enumerate(used) if (n := _few_whole_values(X[:, j])) > 0}
    else:
        left_out |= {name: "not asked for" for name in by_name if name not in columns}
    return Table(X, tuple(column.name for column in used), left_out, label_like)


def _refuse_gaps(used: list[_Column]) -> None:
    """Missing and infinite values cannot be modelled: say how many there are and where."""
    for what in ("missing", "infinite"):
        gaps: dict[str, list[int]] = {column.name: lines for column in used if (lines := getattr(column, what))}
        if gaps:
            where = "; ".join(
                f"column {name!r} has {len(lines)} {what} value{'s'[: len(lines) > 1]}, line{'s'[: len(lines) > 1]} "
                f"{', '.join(map(str, lines[:_NAMED]))}{', ...' if len(lines) > _NAMED else ''}"
                for name, lines in gaps.items()
            )
            raise ValueError(f"{where}; {what} values are not supported: fill or remove those rows, or drop the column")


def _few_whole_values(x: FloatArray) -> int:
    """How many distinct values there are, where they are few and whole, as labels are; else 0."""
    if not np.array_equal(x[:1000], np.round(x[:1000])):
        return 0
    distinct = np.unique(x)
    few = len(distinct) <= min(_LABEL_VALUES, len(x) // 10)
    return len(distinct) if few and np.array_equal(distinct, np.round(distinct)) else 0


def _is_missing(field: str) -> bool:
    return field.strip().lower() in _MISSING


def _number(field: str) -> float | None:
    """The field as a number, or None if it is text or missing."""
    try:
        value = float(field)
    except ValueError:
        return None
    return None if math.isnan(value) or "_" in field else value
