"""Checks of arguments at the boundary. Each message names the argument, what was seen and what is wanted."""

from __future__ import annotations

import difflib
import inspect
import math
import numbers
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from typing import Any, ClassVar

import numpy as np

from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray

SMALL = 1 << 22
"""Numbers of an array of float32 that is read as float64: not worth a compilation of its own."""

_CHUNK = 1 << 16
LARGEST, SMALLEST = 1e140, 1e-140
_MOST_OBSERVATIONS = 2.0**53  # beyond which sums of counts are no whole numbers
_LONGEST_SHOWN = 40  # characters of a value in an error
_NAMED_ROWS = 5  # in an error


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


def data(X: Any, name: str = "X", min_rows: int = 2, missing: bool = False) -> tuple[AnyArray, tuple[str, ...]]:
    """:func:`table`, whose values are finite or, if ``missing``, NaN, but not in all of a row: they are read once."""
    array, columns = table(X, name, min_rows)
    refuse_not_finite(array, columns, name, missing)
    return array, columns


def refuse_not_finite(array: AnyArray, columns: tuple[str, ...], name: str, missing: bool) -> None:
    """Refuse values that are infinite or, but for ``missing`` ones, NaN."""
    gaps = NotFinite(columns, name)
    for start, block in blocks(array):
        gaps.look(block, start)
    gaps.refuse(missing, empty_columns=True)


def table(X: Any, name: str = "X", min_rows: int = 2) -> tuple[AnyArray, tuple[str, ...]]:
    """X as a C-ordered (N, D) array of float32 or float64, and the names of its columns. Its values are not looked at.

    Such an array (a memory map too) is used in place; anything else is converted once, and so is a small array of
    float32, since code would be compiled a second time for it. Data frames keep their column names; one-dimensional
    input is one column. The result is a read-only view, whatever X is, for the same reason.
    """
    array = real_numbers(X, name, " of shape (N, D)")
    names = column_names(X, name)
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
    if array.dtype not in (np.float32, np.float64) or (array.dtype == np.float32 and array.size <= SMALL):
        array = array.astype(np.float64)
    if not (array.flags.c_contiguous and array.flags.aligned and array.dtype.isnative):
        array = np.require(array.astype(array.dtype.newbyteorder("=")), requirements=["C", "A"])
    columns = tuple(f"x{d}" for d in range(D)) if names is None else names
    array = np.asarray(array).view()
    array.flags.writeable = False
    return array, columns


def real_numbers(X: Any, name: str, shape: str = "") -> AnyArray:
    """X as an array of integers or floats of any shape; what is missing in it is NaN. Such an array is used in place.

    Tables and objects become float64. ``shape`` is what an error says of the shape that is wanted.
    """
    _refuse_what_is_no_array(X, name, shape)
    X = unmasked(X)
    # polars makes numbers of dates and booleans: columns are looked at one by one
    frame = column_names(X, name) is not None and hasattr(X, "__getitem__")
    if frame and any(np.asarray(X[label]).dtype.kind not in "iuf" for label in X.columns):
        return _from_frame(X, X.columns, name)
    try:
        array = X if isinstance(X, np.ndarray) else np.asarray(X)
    except ValueError:
        if not isinstance(X, (list, tuple)):
            raise
        raise ValueError(f"{name} must hold real numbers{shape}, got rows of different lengths") from None
    if array.dtype.kind == "O":
        array = _from_objects(array, name)
    if array.dtype.kind not in "iuf":
        advice = "; convert booleans to 0 and 1 if meant" if array.dtype.kind == "b" else ""
        raise TypeError(f"{name} must hold real numbers{shape}, got dtype {array.dtype}{advice}")
    return array


def counts(value: Any, N: int, name: str = "counts") -> IntArray:
    """How many observations each of N rows stands for: whole numbers, 0 or more, two in all or more; (N,) int64."""
    array = np.asarray(unmasked(value))
    if array.dtype.kind == "O" and array.ndim > 0:
        array = _numbers(array, name)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} must hold whole numbers, one for each row of X, got dtype {array.dtype}")
    if array.shape not in ((N,), (N, 1)):
        raise ValueError(f"{name} must have shape ({N},), one for each row of X, got {array.shape}")
    array = array.reshape(N)
    for wrong, what in ((np.isnan(array), "NaN"), (np.isinf(array), "an infinite value"), (array < 0, "{}")):
        if wrong.any():
            row = int(wrong.argmax())
            raise ValueError(f"{name} must be 0 or more, got {what.format(array[row])} in row {row}")
    fractions = array != np.floor(array)
    if fractions.any():
        row = int(fractions.argmax())
        raise ValueError(
            f"{name} must be whole numbers of observations, got {array[row]} in row {row}: round them, or multiply "
            "them by what makes them whole, if they count observations in other units. Weights that say how probable "
            "or how important a row is are no observations, and have no likelihood"
        )
    total = float(array.sum(dtype=np.float64))
    if total > _MOST_OBSERVATIONS:
        raise ValueError(f"{name} must sum to at most 2^53 observations, got {total:.3g}")
    if total == 0.0:
        raise ValueError(f"{name} are all zero: at least 2 observations are wanted")
    if total < 2.0:
        raise ValueError(f"{name} must sum to at least 2 observations, got {total:.0f}")
    result: IntArray = array.astype(np.int64)
    result.flags.writeable = False
    return result


def present(X: AnyArray, counts: IntArray) -> AnyArray:
    """The rows of X whose count is not 0, as :func:`table` gives them."""
    if counts.all():
        return X
    rows = np.ascontiguousarray(X[counts > 0])
    rows.flags.writeable = False
    return rows


def column_names(X: Any, name: str = "X") -> tuple[str, ...] | None:
    """The names of the columns of X, or None if they have none. Names that occur twice are refused."""
    if getattr(X, "columns", None) is None:
        return None
    names = tuple(str(column) for column in X.columns)
    twice = sorted({column for column in names if names.count(column) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise ValueError(f"{name} must have columns with different names, got {', '.join(map(repr, twice))} twice")
    return names


def order_of(
    names: tuple[str, ...] | None, columns: tuple[str, ...], name: str, whose: str = "of the fit"
) -> list[int] | None:
    """The places of ``columns`` among the names of a table's columns, of which there are as many; None if they are
    these, or if either have no names. Other names are refused."""
    if names is None or names == columns or columns == tuple(f"x{d}" for d in range(len(columns))):
        return None
    if set(names) != set(columns):
        raise ValueError(f"{name} must have the columns {whose}, {list(columns)}, got {list(names)}")
    return [names.index(column) for column in columns]


def new_data(
    X: Any, columns: tuple[str, ...], name: str = "X_new", missing: bool = False, whose: str = "of the fit"
) -> AnyArray:
    """Rows like those of a fit, whose columns were ``columns``, as :func:`data` gives them; one row is enough.

    If both have names they must be the same; columns in another order are put into that of the fit.
    """
    array, _ = table(X, name, 1)
    if array.shape[1] != len(columns):
        own = f"{len(columns)} columns" if len(columns) > 1 else "column"
        raise ValueError(f"{name} must have the {own} {whose}, got shape {np.shape(X)}")
    order = order_of(column_names(X, name), columns, name, whose)
    if order is not None:
        array = np.ascontiguousarray(array[:, order])
        array.flags.writeable = False
    refuse_not_finite(array, columns, name, missing)
    for column, low, high in zip(columns, np.fmin.reduce(array), np.fmax.reduce(array), strict=True):
        if max(-float(low), float(high)) >= LARGEST:
            raise ValueError(
                f"{name} column {column!r} is too large for densities in double precision: it reaches "
                f"{float(low) if -low > high else float(high):.0e}, and must stay below {LARGEST:.0e}"
            )
    return array


def unmasked(X: Any) -> Any:
    """A masked array, or a list of masked rows, with NaN where it is masked: to convert one would drop its mask.

    A Dask array, which may be masked, comes here.
    """
    if type(X).__module__.startswith("dask.") and hasattr(X, "compute"):
        X = X.compute()
    if isinstance(X, (list, tuple)) and any(isinstance(row, np.ma.MaskedArray) for row in X):
        X = np.ma.stack(X)
    if not isinstance(X, np.ma.MaskedArray) or not np.ma.is_masked(X) or X.dtype.kind not in "iuf":
        return np.asarray(X) if isinstance(X, np.ma.MaskedArray) else X
    kind = np.float32 if X.dtype == np.float32 else np.float64
    return np.ma.filled(X.astype(kind), math.nan)


def _refuse_what_is_no_array(X: Any, name: str, shape: str) -> None:
    """Sparse matrices, frames that hold no data yet, sets, mappings and iterators: what they are, and what makes an
    array of them."""
    kind = type(X)
    if isinstance(X, (Mapping, Set, Iterator)):
        advice = f"pass pandas.DataFrame({name})" if isinstance(X, Mapping) else f"pass list({name})"
        raise TypeError(f"{name} must hold real numbers{shape}, got a {kind.__name__}: {advice}")
    library = kind.__module__.split(".")[0]
    if library == "scipy" and callable(getattr(X, "toarray", None)):
        raise TypeError(f"{name} must be dense, got a sparse {kind.__name__}: pass {name}.toarray()")
    if library == "polars" and kind.__name__ == "LazyFrame":
        raise TypeError(f"{name} must hold its data, got a polars LazyFrame: pass {name}.collect()")
    if kind.__module__.startswith("dask.") and hasattr(X, "columns"):
        raise TypeError(f"{name} must be an array, got a dask {kind.__name__}: pass {name}.to_dask_array(lengths=True)")


def _from_frame(X: Any, labels: Iterable[Any], name: str) -> AnyArray:
    """A data frame, some column of which is no plain number, as float64; or an error that names the column."""
    arrays = []
    for label in labels:
        column, what = np.asarray(X[label]), f"{name} column {str(label)!r}"
        if column.dtype.kind == "O":
            column = _numbers(column, what)
        elif column.dtype.kind not in "iuf":
            raise TypeError(_what_it_holds(column, what))
        arrays.append(column.astype(np.float64))
    return np.column_stack(arrays)


def _from_objects(array: AnyArray, name: str) -> AnyArray:
    """Objects as float64, if all are numbers; None and NA are missing values."""
    if array.ndim == 2:
        columns = [_numbers(column, f"{name} column {f'x{d}'!r}") for d, column in enumerate(array.T)]
        return np.column_stack(columns)
    return _numbers(array, name)


def _numbers(values: AnyArray, what: str) -> AnyArray:
    """One column of objects as float64; ``what`` names it in an error."""
    result = np.empty(values.shape)
    for row, value in enumerate(values.flat):
        if value is None or type(value).__name__ in ("NAType", "NaTType"):
            result.flat[row] = math.nan
            continue
        try:
            if isinstance(value, (str, bytes, bool, np.bool_, complex, np.datetime64)):
                raise TypeError
            result.flat[row] = float(value)
        except (TypeError, ValueError):
            shown = repr(value) if len(repr(value)) <= _LONGEST_SHOWN else type(value).__name__
            raise TypeError(f"{_what_it_holds(np.asarray([value]), what)}; row {row} is {shown}") from None
    return result


def _what_it_holds(values: AnyArray, what: str) -> str:
    """That a column holds no real numbers but text, dates or booleans, and what to do."""
    kind, one = values.dtype.kind, values.ravel()[0] if values.size else None
    if kind in "USTO" and isinstance(one, (str, bytes)):
        return f"{what} must hold real numbers, got text: leave it out, or make numbers of it"
    if kind == "b" or isinstance(one, (bool, np.bool_)):
        return f"{what} must hold real numbers, got booleans; convert them to 0 and 1 if meant"
    if kind == "c" or isinstance(one, complex):
        return f"{what} must hold real numbers, got complex ones"
    if kind in "mM" or type(one).__module__ == "datetime":
        return f"{what} must hold real numbers, got dates or times: leave it out, or count days from one of them"
    return f"{what} must hold real numbers, got objects that are not numbers (ragged rows?)"


def refuse_unknown(function: str, unknown: dict[str, Any], known: Sequence[str]) -> None:
    """Refuse keyword arguments that a function does not have, and say which was meant."""
    if not unknown:
        return
    parts = []
    for word in unknown:
        meant = _ALSO_CALLED.get(word.lower())
        if meant not in known:
            meant = next(iter(difflib.get_close_matches(word, known, 1)), None)
        parts.append(f"{word!r}" + (f" (did you mean {meant}?)" if meant else ""))
    raise TypeError(f"{function}() has no argument {', '.join(parts)}; its arguments are {', '.join(known)}")


def arguments(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names of a function's arguments."""
    parameters = inspect.signature(function).parameters.values()
    return tuple(one.name for one in parameters if one.kind is not inspect.Parameter.VAR_KEYWORD)


_ALSO_CALLED = {
    **dict.fromkeys(("seed", "random_state", "random_seed", "key", "generator"), "rng"),
    **dict.fromkeys(("k", "n", "n_clusters", "clusters", "components", "max_components"), "n_components"),
    **dict.fromkeys(("n_iter", "iter", "iterations", "max_iter", "samples", "n_samples", "n_draws"), "draws"),
    **dict.fromkeys(("burn", "burnin", "burn_in", "tune", "n_burn", "warm_up", "n_warmup"), "warmup"),
    **dict.fromkeys(("thinning", "thin_by"), "thin"),
    **dict.fromkeys(("n_chains", "nchains"), "chains"),
    **dict.fromkeys(("n_jobs", "cores", "n_threads", "workers", "num_threads"), "threads"),
    **dict.fromkeys(("verbose", "progressbar", "progress_bar", "show_progress"), "progress"),
    **dict.fromkeys(("data", "x"), "X"),
    **dict.fromkeys(("weights", "sample_weight", "sample_weights", "frequencies", "frequency", "count"), "counts"),
    **dict.fromkeys(("priors", "prior_params"), "prior"),
    **dict.fromkeys(("alpha", "weight_concentration_prior"), "concentration"),
}


class NotFinite:
    """NaN and infinite values of an array that is read block by block: how many, and where the first is.

    ``missing`` (D,) counts the missing values of each column.
    """

    _KINDS: ClassVar = {"missing values (NaN)": np.isnan, "infinite values": np.isinf}

    def __init__(self, columns: tuple[str, ...], name: str = "X") -> None:
        self._columns, self._name = columns, name
        self.missing = np.zeros(len(columns), np.int64)
        self._count = dict.fromkeys(self._KINDS, 0)
        self._first: dict[str, tuple[int, int]] = {}  # row and column
        self._rows, self._empty = 0, list[int]()

    def look(self, block: AnyArray, start: int) -> None:
        """Look at a block of rows, of which the first has this number."""
        self._rows += len(block)
        if np.isfinite(block).all():
            return
        for kind, test in self._KINDS.items():
            bad = test(block)
            if bad.any():
                row, column = np.argwhere(bad)[0]
                self._first.setdefault(kind, (start + int(row), int(column)))
                self._count[kind] += int(bad.sum())
        missing = np.isnan(block)
        self.missing += missing.sum(0)
        self._empty.extend((start + np.flatnonzero(missing.all(1))).tolist())

    def refuse(self, but_missing: bool = False, empty_columns: bool = False) -> None:
        """Raise ValueError if there was any.

        But not, if ``but_missing``, of missing values, unless a row or, without ``empty_columns``, a column has no
        others.
        """
        if but_missing:
            self._refuse_empty(empty_columns)
        kinds = list(self._KINDS)[but_missing:]
        kind = next((kind for kind in kinds if self._count[kind] > 0), None)
        if kind is not None:
            row, column = self._first[kind]
            raise ValueError(
                f"{self._name} must be finite, got {self._count[kind]} {kind}, the first in row {row}, column "
                f"{self._columns[column]!r}; drop or impute those rows"
            )

    def _refuse_empty(self, empty_columns: bool) -> None:
        empty = [name for name, count in zip(self._columns, self.missing, strict=True) if count == self._rows]
        if empty and not empty_columns:
            raise ValueError(
                f"{self._name} must have a value in each column, got none in {', '.join(map(repr, empty))}: leave "
                f"{'it' if len(empty) == 1 else 'them'} out"
            )
        if self._empty:
            rows = ", ".join(map(str, self._empty[:_NAMED_ROWS])) + (", ..." if len(self._empty) > _NAMED_ROWS else "")
            raise ValueError(
                f"{self._name} must have a value in each row, got none in row{'s'[: len(self._empty) > 1]} {rows}, "
                "counted from 0: drop what says nothing"
            )


def missing(X: Any) -> AnyArray:
    """Which values of X (N, D) are NaN; rows that are elsewhere come block by block."""
    return np.isnan(X) if isinstance(X, np.ndarray) else np.concatenate([np.isnan(block) for _, block in blocks(X)])


def blocks(X: AnyArray) -> Iterator[tuple[int, AnyArray]]:
    """X (N, D) in blocks of rows, with the number of the first of each."""
    for start in range(0, len(X), _CHUNK):
        yield start, X[start : start + _CHUNK]
