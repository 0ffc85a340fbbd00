"""The observations of a fit, and what all of it needs to know of them."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from gibbs_gmm import checks
from gibbs_gmm.kernels.sampler.state import Data
from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray
from gibbs_gmm.latent import kinds_of_rows

_SAMPLE = 10_000  # rows that are looked at
_FINEST = 1e-3  # of the local spread: no column is taken to be known better
_DISTINCT = 0.9  # share of distinct values below which equal values are taken to come of rounding
_WINDOW = 0.05  # share of the rows over which the local spread is measured
_NAMED = 8  # columns in a note
_WINDOW_OF_NORMAL = 6.0  # standard deviations of a normal law over the median width of such windows


@dataclasses.dataclass(frozen=True, eq=False)
class Observations:
    """Rows that can be fitted, and their statistics: of what was observed.

    Attributes
    ----------
    X : (N, D) float32 or float64
        Finite, but for missing values, which are NaN. Each row and column has a value.
    columns : tuple of str
        Names of the D columns.
    loc, scale : (D,) float64
        Mean and standard deviation (ddof=1) of each column; 0 where it is constant.
    missing : (D,) int
        How many values of each column are missing.
    errors : (D,), (N, D) or (N, D, D) float64, optional
        Variances or covariance matrices of what X was measured with; none where X is exact.
    copies : (N,) int64 or None
        How many observations each row stands for, where not one.
    """

    X: AnyArray
    columns: tuple[str, ...]
    loc: FloatArray
    scale: FloatArray
    missing: IntArray
    errors: FloatArray | None = None
    copies: IntArray | None = None

    @classmethod
    def of(
        cls,
        X: AnyArray,
        columns: tuple[str, ...],
        errors: FloatArray | None = None,
        *,
        missing: bool = False,
        copies: IntArray | None = None,
    ) -> Observations:
        """The rows of a table. They are read twice, block by block, and about the first row, so that no digit is lost.

        ``copies`` (N,), all positive, says how many observations each row stands for, if not one.

        Raises
        ------
        ValueError
            Values are not finite, or their squares leave the range of doubles. Or values are missing and not allowed
            to be, or are all of a row or column.
        """
        D, N = X.shape[1], len(X) if copies is None else int(copies.sum())
        origin, shift, varies = X[0].astype(np.float64), np.zeros(D), np.zeros(D, dtype=bool)
        gaps = checks.NotFinite(columns)
        with np.errstate(over="ignore", invalid="ignore"):
            for start, block in checks.blocks(X):
                gaps.look(block, start)
                moved = block - origin
                shift += _sum(moved, start, copies) / N
                varies |= moved.any(0)
            if copies is not None and gaps.missing.any():
                raise ValueError(
                    f"X must have all of its values where counts are given, got {gaps.missing.sum()} missing ones "
                    "(NaN): repeat the rows, as np.repeat(X, counts, axis=0) does"
                )
            gaps.refuse(missing)
            squares = np.zeros(D)
            if gaps.missing.any():
                origin, shift, squares, varies = _moments_of_observed(X, N - gaps.missing)
            else:
                for start, block in checks.blocks(X):
                    squares += _sum(np.square((block - origin) - shift), start, copies)
            mean, scale = origin + shift, np.sqrt(squares / np.maximum(N - gaps.missing - 1, 1))
            spread = np.abs(shift) + scale
        for name, value, size in zip(columns, spread, np.abs(mean), strict=True):
            if not (value < checks.LARGEST and size < checks.LARGEST):
                raise ValueError(
                    f"X column {name!r} is too large for covariances in double precision (about "
                    f"{max(size, value):.0e}); divide it so that its values stay below {checks.LARGEST:.0e}"
                )
        for name, differs, value in zip(columns, varies, scale, strict=True):
            if value < checks.SMALLEST and differs:
                raise ValueError(
                    f"X column {name!r} varies too little for covariances in double precision (by less than "
                    f"{checks.SMALLEST:.0e}); multiply it so that its standard deviation is above "
                    f"{checks.SMALLEST:.0e}"
                )
        return cls(X, columns, mean, scale, gaps.missing, errors, copies)

    @property
    def count(self) -> int:
        """How many observations there are."""
        return len(self.X) if self.copies is None else int(self.copies.sum())

    @functools.cached_property
    def sample(self) -> FloatArray:
        """At most 10,000 observations, evenly spaced, as float64."""
        N = self.count
        index = np.unique(np.linspace(0, N - 1, min(N, _SAMPLE)).astype(np.int64))
        if self.copies is not None:
            index = np.searchsorted(np.cumsum(self.copies), index, side="right")
        return np.asarray(self.X[index], np.float64)

    @functools.cached_property
    def resolution(self) -> FloatArray:
        """To what width each column is known, (D,), in the column's units: :func:`resolutions` of the sample."""
        result = resolutions(self.sample)
        for d in np.flatnonzero(np.isnan(self.sample).all(0)):
            observed = np.concatenate([block[:, d].astype(np.float64) for _, block in checks.blocks(self.X)])
            result[d] = resolutions(observed[~np.isnan(observed)][:_SAMPLE, None])[0]
        return result

    @functools.cached_property
    def error_variance(self) -> FloatArray:
        """The mean variance of the errors of each column, (D,)."""
        N, D = self.X.shape
        if self.errors is None:
            return np.zeros(D)
        variance = np.einsum("ndd->nd", self.errors) if self.errors.ndim == 3 else self.errors
        variance = np.broadcast_to(variance, (N, D))
        if not self.missing.any():
            return np.asarray(variance.mean(0), np.float64)
        observed = ~checks.missing(self.X)
        return np.asarray(np.where(observed, variance, 0.0).sum(0) / observed.sum(0), np.float64)

    def require_exact(self, where: str) -> None:
        """Refuse missing values and measurement errors, which ``where`` takes none of."""
        if self.missing.any():
            raise ValueError(
                f"X must have all of its values {where}, got {self.missing.sum()} missing ones (NaN): leave out one or "
                "the other"
            )
        if self.errors is not None:
            raise ValueError(f"errors must be None {where}: leave out one or the other")

    def notes(self) -> tuple[str, ...]:
        """What a reader of the summary must know of the rows: which values are missing, and that they have errors."""
        total, size = int(self.missing.sum()), math.prod(self.X.shape)
        measured = (
            (
                "Values were measured with errors of known size: clusters, means and covariances are those of the true "
                "values.",
            )
            if self.errors is not None
            else ()
        )
        if total == 0:
            return measured
        some = [f"{name!r} {count}" for name, count in zip(self.columns, self.missing, strict=True) if count > 0]
        more = f" and {len(some) - _NAMED} more columns" if len(some) > _NAMED else ""
        return (
            f"{total} of {size} values are missing ({', '.join(some[:_NAMED])}{more}). They are taken to be "
            "missing at random, given what is there, and are integrated out.",
            *measured,
        )

    def as_kernel(self) -> Data:
        """The rows as the kernels take them, with a scale of 1 for a constant column."""
        data = Data(self.X, self.loc, np.where(self.scale > 0.0, self.scale, 1.0))
        if self.errors is None and not self.missing.any():
            return data
        return data._replace(latent=kinds_of_rows(self.X, self.errors))


def checked_errors(
    errors: Any,
    X: AnyArray,
    columns: tuple[str, ...],
    given: tuple[str, ...] | None = None,
    name: str = "errors",
) -> FloatArray | None:
    """Errors of measurement of X (N, D): variances (D,) or (N, D), or covariance matrices (N, D, D); None if all are 0.

    They are given as standard deviations or covariance matrices. Where X is missing they do not matter, and are 0. A
    table or Series of them whose columns, or entries, have names is put into the order of ``columns``, those of X;
    others are taken to be in the order of ``given``, if X came with its columns in another one.
    """
    if errors is None:
        return None
    N, D = X.shape
    array, order = _in_columns(errors, columns, given, name)
    if array.ndim == 1 and D == 1 and len(array) == N:
        array = array[:, None]
    if array.shape not in ((D,), (N, D), (N, D, D)):
        raise ValueError(
            f"{name} must be standard deviations of shape ({D},) or ({N}, {D}), or covariance matrices of shape "
            f"({N}, {D}, {D}), got {array.shape}"
        )
    array = np.array(array, np.float64)
    if order is not None:
        array = array[..., order] if array.ndim < 3 else array[:, order][:, :, order]
    if array.ndim > 1:
        missing = checks.missing(X)
        array[missing] = 0.0
        if array.ndim == 3:
            array.swapaxes(1, 2)[missing] = 0.0
    if not np.isfinite(array).all():
        where = ", ".join(map(str, np.argwhere(~np.isfinite(array))[0]))
        raise ValueError(f"{name} must be finite, got {array[~np.isfinite(array)][0]} at [{where}]")
    if not array.any():
        return None
    size = np.abs(array if array.ndim < 3 else np.sqrt(np.abs(np.einsum("ndd->nd", array))))
    wrong = (size > checks.LARGEST) | ((size > 0.0) & (size < checks.SMALLEST))
    if wrong.any():
        raise ValueError(
            f"{name} must be 0, or standard deviations between {checks.SMALLEST:.0e} and {checks.LARGEST:.0e}, got "
            f"{size[wrong][0]:.0e}"
        )
    if array.ndim < 3:
        if (array < 0.0).any():
            where = ", ".join(map(str, np.argwhere(array < 0.0)[0]))
            raise ValueError(f"{name} must not be negative, got {array[array < 0.0][0]:g} at [{where}]")
        variances: FloatArray = np.square(array)
        return variances
    return _checked_matrices(array, name)


def _in_columns(
    errors: Any, columns: tuple[str, ...], given: tuple[str, ...] | None, name: str
) -> tuple[AnyArray, list[int] | None]:
    """Errors as numbers, and the places of ``columns`` in them, if they are not in their order."""
    labels = None
    if len(columns) > 1 and isinstance(errors, Mapping):
        labels, errors = list(errors), list(errors.values())
    elif len(columns) > 1 and hasattr(errors, "index") and getattr(errors, "ndim", 0) == 1:  # a Series
        labels = list(errors.index)
    array = checks.real_numbers(errors, name)
    labels = getattr(errors, "columns", None) if labels is None else labels
    names = None if labels is None else tuple(map(str, labels))
    if names is None or names == tuple(map(str, range(len(columns)))):
        return array, checks.order_of(given, columns, "X")
    if len(names) != len(columns):
        raise ValueError(f"{name} must have the columns of X, {list(columns)}, got {list(names)}")
    return array, checks.order_of(names, columns, name, "of X")


def _checked_matrices(E: FloatArray, name: str) -> FloatArray:
    """Covariance matrices (N, D, D), symmetric, and positive definite in the columns whose variance is not 0."""
    D, size = E.shape[1], np.abs(E).max((1, 2))
    uneven = np.abs(E - E.swapaxes(1, 2)).max((1, 2)) > 1e-10 * size
    if uneven.any():
        raise ValueError(f"{name} must be symmetric, and the matrix of row {int(uneven.argmax())} is not")
    E = 0.5 * (E + E.swapaxes(1, 2))
    variance = np.einsum("ndd->nd", E)
    exact = variance == 0.0
    stray = (E != 0.0) & (exact[:, :, None] | exact[:, None, :])
    root = np.sqrt(np.where(exact, 1.0, np.abs(variance)))
    scaled = E / (root[:, :, None] * root[:, None, :]) + exact[:, :, None] * np.eye(D)
    bad = stray.any((1, 2)) | ~(np.linalg.eigvalsh(scaled)[:, 0] > 1e-14 * D)
    if bad.any():
        raise ValueError(
            f"{name} must be positive definite but for columns of zeros, and the matrix of row {int(bad.argmax())} is "
            "not"
        )
    return E


def _moments_of_observed(X: AnyArray, counts: IntArray) -> tuple[FloatArray, FloatArray, FloatArray, AnyArray]:
    """Of each column (D,) its first value, the mean of the others less that, their squares about the mean, and whether
    they vary. ``counts`` is how many there are."""
    origin = np.full(X.shape[1], np.nan)
    shift, squares, varies = np.zeros_like(origin), np.zeros_like(origin), np.zeros(X.shape[1], bool)
    for _, block in checks.blocks(X):
        known = ~np.isnan(block)
        first = block[known.argmax(0), np.arange(X.shape[1])].astype(np.float64)
        origin = np.where(np.isnan(origin), first, origin)
    for _, block in checks.blocks(X):
        moved = block - origin
        shift += np.nansum(moved, 0) / counts
        varies |= (np.nan_to_num(moved) != 0.0).any(0)
    for _, block in checks.blocks(X):
        squares += np.nansum(np.square((block - origin) - shift), 0)
    return origin, shift, squares, varies


def observations_of(X: Any, counts: Any = None) -> Observations:
    """The observations of a table, and of counts of its rows, if given, as :func:`gibbs_gmm.fit` takes both."""
    array, columns = checks.table(X, min_rows=2 if counts is None else 1)
    given = None if counts is None else checks.counts(counts, len(array))
    if given is not None:
        array = checks.present(array, given)
    return Observations.of(array, columns, missing=True, copies=copies_of(given))


def copies_of(counts: IntArray | None) -> IntArray | None:
    """How many observations each row stands for of those whose count is not 0; None where it is one everywhere."""
    if counts is None:
        return None
    copies = counts[counts > 0]
    return None if (copies == 1).all() else copies


def _sum(rows: FloatArray, start: int, copies: IntArray | None) -> FloatArray:
    """The sum of a block of rows, the first of which has this number, each as often as it has copies."""
    total: FloatArray = rows.sum(0) if copies is None else copies[start : start + len(rows)] @ rows
    return total


def resolutions(rows: FloatArray) -> FloatArray:
    """To what width each column of rows (M, D) is known, (D,), in the column's units.

    Where many values are equal, the distance from a value to the nearest other one, as the median over rows has it: the
    step of a rounded column. Elsewhere, and at least, a thousandth of the local spread, 6 times the median width of
    windows of 5% of the rows, which far-apart clusters and outliers do not change. A constant column has no spread, and
    is known to a thousandth of its value (1/1000 where it is 0): any width says the same of its clusters, nothing.
    Missing values say nothing.
    """
    return np.array([_resolution(column[~np.isnan(column)]) for column in np.sort(rows, axis=0).T])


def _resolution(x: FloatArray) -> float:
    if len(x) == 0:
        return 0.0
    window = max(1, round(_WINDOW * len(x)))
    widths = x[window:] - x[:-window]
    widths = widths[widths > 0.0]
    if len(widths) == 0:  # all equal, or all but a few rows
        return float(x[-1] - x[0]) or _FINEST * (abs(float(x[0])) or 1.0)
    finest = _FINEST * _WINDOW_OF_NORMAL * float(np.median(widths))
    first = np.concatenate([[True], np.diff(x) > 1e-3 * finest])
    values, counts = x[first], np.diff(np.append(np.flatnonzero(first), len(x)))
    if len(values) > _DISTINCT * len(x):
        return finest
    gaps = np.concatenate([[np.inf], np.diff(values), [np.inf]])
    nearest = np.repeat(np.minimum(gaps[:-1], gaps[1:]), counts)
    return max(finest, float(np.median(nearest)))
