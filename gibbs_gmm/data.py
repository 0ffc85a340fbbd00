"""The observations of a fit, and what all of it needs to know of them."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np

from gibbs_gmm import checks
from gibbs_gmm.kernels.sampler.state import Data
from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray

_SAMPLE = 10_000  # rows that are looked at
_FINEST = 1e-3  # of the local spread: no column is taken to be known better
_DISTINCT = 0.9  # share of distinct values below which equal values are taken to come of rounding
_WINDOW = 0.05  # share of the rows over which the local spread is measured
_WINDOW_OF_NORMAL = 6.0  # standard deviations of a normal law over the median width of such windows


@dataclasses.dataclass(frozen=True, eq=False)
class Observations:
    """Rows that can be fitted, and their statistics.

    Attributes
    ----------
    X : (N, D) float32 or float64
        All values are finite.
    columns : tuple of str
        Names of the D columns.
    loc, scale : (D,) float64
        Mean and standard deviation (ddof=1) of each column; 0 where it is constant.
    copies : (N,) int64 or None
        How many observations each row stands for, where not one.
    """

    X: AnyArray
    columns: tuple[str, ...]
    loc: FloatArray
    scale: FloatArray
    copies: IntArray | None = None

    @classmethod
    def of(cls, X: AnyArray, columns: tuple[str, ...], copies: IntArray | None = None) -> Observations:
        """The rows of a table. They are read twice, block by block, and about the first row, so that no digit is lost.

        ``copies`` (N,), all positive, says how many observations each row stands for, if not one.

        Raises
        ------
        ValueError
            Values are not finite, or their squares leave the range of doubles.
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
            gaps.refuse()
            squares = np.zeros(D)
            for start, block in checks.blocks(X):
                squares += _sum(np.square((block - origin) - shift), start, copies)
            mean, scale = origin + shift, np.sqrt(squares / (N - 1))
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
        return cls(X, columns, mean, scale, copies)

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
        return resolutions(self.sample)

    def as_kernel(self) -> Data:
        """The rows as the kernels take them, with a scale of 1 for a constant column."""
        return Data(self.X, self.loc, np.where(self.scale > 0.0, self.scale, 1.0))


def observations_of(X: Any, counts: Any = None) -> Observations:
    """The observations of a table, and of counts of its rows, if given, as :func:`gibbs_gmm.fit` takes both."""
    array, columns = checks.table(X, min_rows=2 if counts is None else 1)
    given = None if counts is None else checks.counts(counts, len(array))
    if given is not None:
        array = checks.present(array, given)
    return Observations.of(array, columns, copies_of(given))


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
    """
    return np.array([_resolution(column) for column in np.sort(rows, axis=0).T])


def _resolution(x: FloatArray) -> float:
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
