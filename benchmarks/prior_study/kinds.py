"""Simulated kinds of data that are hard for one prior or another."""

from __future__ import annotations

import numpy as np

from benchmarks.common import FloatArray
from benchmarks.prior_study.sets import Data, IntArray, simulate

_CORRELATIONS = (0.8, 0.9, 0.95, 0.99)
_GAP = 4.5  # between kinds along narrow directions, in standard deviations there


def narrow_sets(per_cell: int = 10) -> list[Data]:
    """300 rows of three kinds in 4-D whose columns have the same correlation within each, thin where they differ.

    The covariance within a kind is s^2 (I + rho (J - I)), with s lognormal(0, .1): all columns rise and fall together.
    The means form an equilateral triangle across that direction, where the variance is 1 - rho.
    """
    return [_narrow(rho, i) for rho in _CORRELATIONS for i in range(per_cell)]


def _narrow(rho: float, i: int) -> Data:
    rng = np.random.default_rng([11, round(100 * rho), i])
    D, n = 4, 3
    across = np.linalg.qr(np.column_stack([np.ones(D), rng.standard_normal((D, 2))]))[0][:, 1:]  # (D, 2)
    angle = 2.0 * np.pi * np.arange(n) / n
    triangle = np.column_stack([np.cos(angle), np.sin(angle)]) / np.sqrt(3.0)  # sides of 1
    means = _GAP * np.sqrt(1.0 - rho) * triangle @ across.T
    root = np.linalg.cholesky(np.full((D, D), rho) + (1.0 - rho) * np.eye(D))
    z = rng.integers(n, size=300)
    size = np.exp(0.1 * rng.standard_normal(n))[z]
    X = means[z] + size[:, None] * (rng.standard_normal((300, D)) @ root.T)
    return Data(f"correlation {rho:g}, {i}", X, z, n, f"correlation {rho:g}")


def redundant_sets(per_cell: int = 6) -> list[Data]:
    """Three clear clusters in 5-D and 10-D, and the same with one more column: a copy or the total of the others.

    The column carries noise of 0, 1% or 5% of its standard deviation.
    """
    sets = []
    for D in (5, 10):
        for i in range(per_cell):
            base = simulate(300, D, 3, 0.01, seed=100 + i)
            sets.append(_with_column(base, None, f"{D}-D, none, {i}", f"{D}-D none"))
            for what, column in (("copy", base.X[:, -1]), ("total", base.X.sum(1))):
                for noise in (0.0, 0.01, 0.05):
                    rng = np.random.default_rng([12, D, i, round(100 * noise)])
                    more = column + noise * column.std() * rng.standard_normal(len(column))
                    cell = f"{D}-D {what} {noise:.0%}"
                    sets.append(_with_column(base, more, f"{D}-D, {what} {noise:.0%}, {i}", cell))
    return sets


def _with_column(base: Data, column: FloatArray | None, name: str, cell: str) -> Data:
    X = base.X if column is None else np.column_stack([base.X, column])
    return Data(name, X, base.labels, base.n, cell)


def rounded_sets(per_cell: int = 24) -> list[Data]:
    """Kinds 5 standard deviations apart along the first column, exact and recorded to parts of that deviation.

    D = 1, 2, 4; 200 to 2,000 rows; two or three kinds; standard deviations of columns within kinds lognormal(0, .2),
    correlated. The grid's offset is random.
    """
    sets = []
    for D in (1, 2, 4):
        for i in range(per_cell):
            X, z, variances = _kinds_in_a_row(np.random.default_rng([13, D, i]), D, (200, 500, 1000, 2000)[i % 4])
            sets.append(Data(f"{D}-D exact, {i}", X, z, len(variances), f"{D}-D exact", variances))
            for part in (0.25, 0.5, 1.0):
                shift = np.random.default_rng([14, D, i]).random(D)
                rounded = part * (np.round(X / part + shift) - shift)
                cell = f"{D}-D {part:g}"
                sets.append(Data(f"{D}-D to {part:g}, {i}", rounded, z, len(variances), cell, variances))
    return sets


def _kinds_in_a_row(rng: np.random.Generator, D: int, N: int) -> tuple[FloatArray, IntArray, FloatArray]:
    """Rows, labels, and variances (n, D); the standard deviations within kinds are about 1."""
    n = int(rng.integers(2, 4))
    z = rng.permutation(np.arange(N) % n)
    sd = np.exp(0.2 * rng.standard_normal((n, D)))
    means = 2.0 * rng.standard_normal((n, D))
    means[:, 0] = 5.0 * np.arange(n) + rng.uniform(0.0, 0.5, n)
    X = np.empty((N, D))
    for k in range(n):
        axes = rng.standard_normal((D, D + 2))
        S = axes @ axes.T
        correlation = S / np.sqrt(np.outer(np.diag(S), np.diag(S)))
        root = sd[k][:, None] * np.linalg.cholesky(correlation)
        X[z == k] = means[k] + rng.standard_normal((int((z == k).sum()), D)) @ root.T
    return X, z, sd**2
