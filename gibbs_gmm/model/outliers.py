"""Outliers: rows of no kind, which a component of fixed density takes."""

from __future__ import annotations

import dataclasses
import math
import numbers
from typing import Any

import numpy as np

from gibbs_gmm import checks
from gibbs_gmm.data import Observations
from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray

MOST_COMPONENTS = 30_000
"""Labels are held as int16 where -1 is one of them."""

_SHARE = 0.05  # outliers that are expected where no share is given


@dataclasses.dataclass(frozen=True)
class Outliers:
    """A component beside those of the mixture, for rows of no kind: uniform over the box that the data span.

    Each row is one with probability s ~ Beta(1, 1 / share - 1), whose mean is ``share`` and whose density is highest at
    0. The box is that of the columns' ranges (Banfield & Raftery 1993): a density that depends on no guess at a scale
    and is the same in any units. In many columns it is low, for most of the box is empty there, so that a row must lie
    far from all clusters to be an outlier; a density that follows the bulk of the data would take rows from them.

    Attributes
    ----------
    share : float between 0 and 1
        The share of outliers that is expected.
    low, high : tuple of D floats
        The box: the least and the largest value of each column, in its units, half a resolution beyond.
    """

    share: float
    low: tuple[float, ...]
    high: tuple[float, ...]

    @classmethod
    def of(cls, outliers: Any, data: Observations, resolution: FloatArray) -> Outliers | None:
        """What the argument of ``fit`` says: None for False, a share of 5% for True.

        ``resolution`` (D,) widens the ranges: a value lies anywhere in its cell.

        Raises
        ------
        TypeError, ValueError
            It is no boolean and no number between 0 and 1, or a column is constant.
        """
        if isinstance(outliers, (bool, np.bool_)):
            if not outliers:
                return None
            share = _SHARE
        else:
            wanted = "outliers must be True, False or an expected share between 0 and 1"
            if not isinstance(outliers, numbers.Real):
                raise TypeError(f"{wanted}, got {outliers!r} ({type(outliers).__name__})")
            share = float(outliers)
            if not 0.0 < share < 1.0:
                raise ValueError(f"{wanted}, got {outliers}")
        blocks = [(block.min(0), block.max(0)) for _, block in checks.blocks(data.X)]
        low, high = np.min([b[0] for b in blocks], 0).astype(float), np.max([b[1] for b in blocks], 0).astype(float)
        low, high = low - 0.5 * resolution, high + 0.5 * resolution
        for name, value in zip(data.columns, high - low, strict=True):
            if not value > 0.0:
                raise ValueError(f"outliers needs columns that vary, and X column {name!r} is constant: leave it out")
        return cls(share, tuple(low.tolist()), tuple(high.tolist()))

    @property
    def log_density(self) -> float:
        """Of an outlier, in the units of X: minus the sum of the logarithms of the columns' ranges."""
        return -float(np.log(np.subtract(self.high, self.low)).sum())

    def log_densities(self, X: FloatArray) -> FloatArray:
        """Of new rows X (N, D) as outliers, each in the box that is just wide enough to hold it too."""
        width = np.maximum(self.high, X) - np.minimum(self.low, X)
        return np.asarray(-np.log(np.where(np.isnan(X), 1.0, width)).sum(1), np.float64)

    def log_density_within(self, X: AnyArray) -> FloatArray:
        """Of rows X (N, D), -inf outside of the box; missing values, NaN, are integrated out."""
        rows = np.asarray(X, np.float64)
        gaps = np.isnan(rows)
        inside = (((rows - self.low >= 0.0) & (rows - self.high <= 0.0)) | gaps).all(1)
        log_density = -np.where(gaps, 0.0, np.log(np.subtract(self.high, self.low))).sum(1)
        return np.asarray(np.where(inside, log_density, -np.inf), np.float64)

    def marginal(self, columns: IntArray) -> Outliers:
        """Of some columns alone."""
        low, high = ([values[d] for d in columns] for values in (self.low, self.high))
        return Outliers(self.share, tuple(low), tuple(high))

    def as_kernel(self) -> FloatArray:
        """As the kernels take it (``State.outliers``), with no outliers yet."""
        share = [math.log(self.share), math.log1p(-self.share)]
        return np.array([1.0, 1.0 / self.share - 1.0, self.log_density, 0.0, *share])

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"share": self.share, "low": list(self.low), "high": list(self.high)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Outliers:
        """The inverse of :meth:`to_dict`."""
        return cls(values["share"], tuple(values["low"]), tuple(values["high"]))
