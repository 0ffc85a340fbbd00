"""What columns may be, other than measurements: names of rows, dates, numbers that stand for missing values.

(What else is in numbers that a mixture is not meant for, :mod:`gibbs_gmm.data_warnings` says.)
"""

from __future__ import annotations

import re

import numpy as np

from gibbs_gmm.kernels.types import FloatArray, IntArray

_SENTINELS = (-9.0, -99.0, -999.0, -9999.0, -99999.0, -999.25, 99.0, 999.0, 9999.0, 99999.0)
_ID_NAMES = re.compile(
    r"(row|sample|case|record|patient|subject|specimen|plant|animal|object|observation)?[ _.-]?"
    r"(id|ids|index|idx|nr|no|num|number|key|name|rownames?|row|obs|#|№|unnamed: 0|x\.1|lfd\.? ?nr)\.?",
    re.IGNORECASE,
)
_DATE_NAMES = re.compile(r"(.*[ _.-])?(date|datum|day|year|jahr|time|timestamp)", re.IGNORECASE)
_DATE_TEXT = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T]\d{1,2}:\d{2}.*)?|(1[6-9]|2[01])\d{2}-[01]\d")
_LEAST_ROWS = 6  # fewer may be in order by chance
_NAMED = 5  # lines and columns that a message names


def is_id_name(name: str) -> bool:
    """Whether a column of this name holds the names of rows; one without a name does."""
    return not name or _ID_NAMES.fullmatch(name.strip()) is not None


def counts_rows(values: FloatArray) -> bool:
    """Whether these are whole numbers, all distinct and in order."""
    if len(values) < _LEAST_ROWS or not np.isfinite(values).all() or not np.array_equal(values, np.round(values)):
        return False
    steps = np.diff(values)
    return bool((steps > 0).all() or (steps < 0).all())


def is_date(cell: str) -> bool:
    """Whether a text is a date, or a date and a time."""
    return _DATE_TEXT.fullmatch(cell.strip()) is not None


def warnings(X: FloatArray, columns: tuple[str, ...], lines: IntArray) -> list[str]:
    """What is to be said of columns that nobody asked for by their names, and how to leave them out."""
    said, dates = [], list[str]()
    for name, column in zip(columns, X.T, strict=True):
        values = column[~np.isnan(column)]
        if (sentinel := _sentinel(values)) is not None:
            rows = lines[column == sentinel]
            where = ", ".join(map(str, rows[:_NAMED])) + (", ..." if len(rows) > _NAMED else "")
            plural = "s"[: len(rows) > 1]
            said.append(
                f"column {name!r} is {sentinel:g} in {len(rows)} row{plural} (line{plural} {where}), far from all its "
                f"other values: if that stands for a missing value, say so with --missing {sentinel:g}"
            )
        elif _are_dates(name, values):
            dates.append(f"{name!r} holds dates or years ({values[0]:.0f}, ...)")
    if dates:
        said.append(f"column {_some(dates)}: if they are no measurements, leave them out with --drop")
    return said


def _some(texts: list[str]) -> str:
    return ", ".join(texts[:_NAMED]) + (f", and {len(texts) - _NAMED} more such columns" if len(texts) > _NAMED else "")


def _sentinel(values: FloatArray) -> float | None:
    """The number that stands for missing values, if there is one: it is farther from the others than they are apart."""
    low, high = float(values.min()), float(values.max())
    for value in (low, high):
        others = values[values != value]
        if value in _SENTINELS and len(others) > 2:
            gap = float(np.abs(others - value).min())
            if gap > np.ptp(others) and gap > 2.0 * float(np.abs(others).max()) * (value > 0):
                return value
    return None


def _are_dates(name: str, values: FloatArray) -> bool:
    """Whether these are years, under such a name, or days written like 20240131."""
    if not np.array_equal(values, np.round(values)):
        return False
    if _DATE_NAMES.fullmatch(name.strip()) is not None and bool(((values >= 1700) & (values <= 2200)).all()):
        return True
    month, day = values // 100 % 100, values % 100
    within = (values >= 17000101) & (values <= 22001231) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
    return bool(within.all())
