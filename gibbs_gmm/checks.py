"""Checks of arguments at the boundary. Each message names the argument, what was seen and what is wanted."""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from gibbs_gmm.kernels.types import AnyArray, FloatArray

_CHUNK = 1 << 16
LARGEST, SMALLEST = 1e140, 1e-140


def integer(name: str, value: Any, minimum: int) -> int:
    """``value`` as an int of at least ``minimum``. Booleans and floats are refused."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be an integer, got the boolean {value}")
    try:
        result = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r} ({type(value).__name__})") from None
    if result < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {result}")
    return result


def positive(name: str, value: Any) -> float:
    """``value`` as a finite float above 0."""
    result = real(name, value)
    if not result > 0.0:
        raise ValueError(f"{name} must be positive, got {result}")
    return result


def real(name: str, value: Any) -> float:
    """``value`` as a finite float."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be a number, got the boolean {value}")
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, got {value!r} ({type(value).__name__})")
    try:
        result = float(value)
    except OverflowError:  # an int beyond the range of floats
        result = math.inf
    if not math.isfinite(result):
        raise ValueError(f"{name} must be finite, got {result}")
    return result


def real_array(name: str, value: Any, shape_text: str, ndim: int) -> FloatArray:
    """``value`` as a new finite float64 array of ``ndim`` dimensions."""
    array = np.asarray(value)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} must hold real numbers of shape {shape_text}, got dtype {array.dtype}")
    if array.ndim != ndim:
        raise ValueError(f"{name} must have shape {shape_text}, got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got {array}")
    result = np.array(array, dtype=np.float64, order="C")
    result.flags.writeable = False
    return result


def data(X: Any, name: str = "X", min_rows: int = 2) -> tuple[AnyArray, tuple[str, ...]]:
    """:func:`table`, whose values are finite: they are read once."""
    array, columns = table(X, name, min_rows)
    gaps = NotFinite(columns, name)
    for start, block in blocks(array):
        gaps.look(block, start)
    gaps.refuse()
    return array, columns


def table(X: Any, name: str = "X", min_rows: int = 2) -> tuple[AnyArray, tuple[str, ...]]:
    """X as a C-ordered (N, D) array of float32 or float64, and the names of its columns. Its values are not looked at.

    Such an array (a memory map too) is used in place; anything else is converted once. Data frames keep their column
    names; one-dimensional input is one column. The result is a read-only view, whatever X is: code would be compiled a
    second time for the other kind.
    """
    names = column_names(X, name)
    array = X if isinstance(X, np.ndarray) else np.asarray(X)
    if array.dtype.kind == "O":
        array = _from_objects(array, name)
    if array.dtype.kind not in "iuf":
        advice = "; convert booleans to 0 and 1 if meant" if array.dtype.kind == "b" else ""
        raise TypeError(f"{name} must hold real numbers of shape (N, D), got dtype {array.dtype}{advice}")
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2:
        raise ValueError(f"{name} must have shape (N, D) or (N,), got {array.shape}")
    N, D = array.shape
    if D == 0:
        raise ValueError(f"{name} must have at least one column, got shape {array.shape}")
    if min_rows > N:
        rows = f"{min_rows} row{'s'[: min_rows > 1]}"
        raise ValueError(f"{name} must have at least {rows}, got shape {array.shape}")
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float64)
    if not (array.flags.c_contiguous and array.flags.aligned and array.dtype.isnative):
        array = np.require(array.astype(array.dtype.newbyteorder("=")), requirements=["C", "A"])
    columns = tuple(f"x{d}" for d in range(D)) if names is None else names
    array = np.asarray(array).view()
    array.flags.writeable = False
    return array, columns


def column_names(X: Any, name: str = "X") -> tuple[str, ...] | None:
    """The names of the columns of X, or None if they have none. Masked arrays, and names that occur twice, are refused.

    (To convert a masked array drops its mask, and shows the numbers below it.)
    """
    masked = isinstance(X, np.ma.MaskedArray)
    if masked or (isinstance(X, (list, tuple)) and any(isinstance(row, np.ma.MaskedArray) for row in X)):
        raise TypeError(f"{name} must not be a masked array: missing values are not supported; drop those rows")
    if getattr(X, "columns", None) is None:
        return None
    names = tuple(str(column) for column in X.columns)
    twice = sorted({column for column in names if names.count(column) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise ValueError(f"{name} must have columns with different names, got {', '.join(map(repr, twice))} twice")
    return names


def new_data(X: Any, columns: tuple[str, ...], name: str = "X_new") -> AnyArray:
    """Rows like those of a fit, whose columns were ``columns``, as :func:`data` gives them; one row is enough.

    If both have names they must be the same; columns in another order are put into that of the fit.
    """
    array, names = data(X, name, 1)
    if array.shape[1] != len(columns):
        raise ValueError(f"{name} must have the {len(columns)} columns of the fit, got shape {np.shape(X)}")
    named = getattr(X, "columns", None) is not None and columns != tuple(f"x{d}" for d in range(len(columns)))
    if named and names != columns:
        if set(names) != set(columns):
            raise ValueError(f"{name} must have the columns of the fit, {list(columns)}, got {list(names)}")
        array = np.ascontiguousarray(array[:, [names.index(column) for column in columns]])
        array.flags.writeable = False
    for column, low, high in zip(columns, array.min(0), array.max(0), strict=True):
        if not max(-float(low), float(high)) < LARGEST:
            raise ValueError(
                f"{name} column {column!r} is too large for densities in double precision: it reaches "
                f"{float(low) if -low > high else float(high):.0e}, and must stay below {LARGEST:.0e}"
            )
    return array


def _from_objects(array: AnyArray, name: str) -> AnyArray:
    """Objects (a data frame with columns of several types gives them) as float64, if all are numbers."""
    kinds = {type(value) for value in array.flat}
    if any(issubclass(kind, (bool, np.bool_)) for kind in kinds):
        raise TypeError(
            f"{name} must hold real numbers of shape (N, D), got booleans; convert them to 0 and 1 if meant"
        )
    try:
        if any(issubclass(kind, (str, bytes)) for kind in kinds):
            raise TypeError
        return array.astype(np.float64)
    except (TypeError, ValueError):
        raise TypeError(
            f"{name} must hold real numbers of shape (N, D), got objects that are not numbers (text, ragged rows?)"
        ) from None


class NotFinite:
    """NaN and infinite values of an array that is read block by block: how many, and where the first is."""

    _KINDS: ClassVar = {"missing values (NaN)": np.isnan, "infinite values": np.isinf}

    def __init__(self, columns: tuple[str, ...], name: str = "X") -> None:
        self._columns, self._name = columns, name
        self._count = dict.fromkeys(self._KINDS, 0)
        self._first: dict[str, tuple[int, int]] = {}  # row and column

    def look(self, block: AnyArray, start: int) -> None:
        """Look at a block of rows, of which the first has this number."""
        if np.isfinite(block).all():
            return
        for kind, test in self._KINDS.items():
            bad = test(block)
            if bad.any():
                row, column = np.argwhere(bad)[0]
                self._first.setdefault(kind, (start + int(row), int(column)))
                self._count[kind] += int(bad.sum())

    def refuse(self) -> None:
        """Raise ValueError if there was any."""
        kind = next((kind for kind, count in self._count.items() if count > 0), None)
        if kind is not None:
            row, column = self._first[kind]
            raise ValueError(
                f"{self._name} must be finite, got {self._count[kind]} {kind}, the first in row {row}, column "
                f"{self._columns[column]!r}; drop or impute those rows"
            )


def blocks(X: AnyArray) -> Iterator[tuple[int, AnyArray]]:
    """X (N, D) in blocks of rows, with the number of the first of each."""
    for start in range(0, len(X), _CHUNK):
        yield start, X[start : start + _CHUNK]
