"""Cases with an answer that nobody would dispute, or that have to end at all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.common import FloatArray
from benchmarks.prior_study.sets import Data


def far_apart(name: str, means: Sequence[float], rows: int, told: bool = False) -> Data:
    """Kinds in 1-D with variance 1 at these means, ``rows`` of each; the variances wanted are those of the sample."""
    rng = np.random.default_rng(21)
    z = np.repeat(np.arange(len(means)), rows)
    X = np.asarray(means, float)[z] + rng.standard_normal(len(z))
    variances = np.array([[X[z == k].var(ddof=1)] for k in range(len(means))])
    return Data(name, X[:, None], z, len(means), name, variances, told)


def soils(name: str, decimals: int | None) -> Data:
    """Shares of sand, silt and clay in 150 samples of each of two soils, in per cent, rounded to so many decimals."""
    rng = np.random.default_rng(22)
    X = 100.0 * np.concatenate([rng.dirichlet(shape, 150) for shape in ((30, 12, 8), (8, 14, 28))])
    return Data(name, X if decimals is None else X.round(decimals), np.repeat([0, 1], 150), 2, name)


def few_rows(name: str, N: int, D: int, gap: float) -> Data:
    """Two kinds of N / 2 rows each with unit covariance, ``gap`` apart."""
    rng = np.random.default_rng([23, N, D])
    direction = rng.standard_normal(D)
    z = np.repeat([0, 1], N // 2)
    X = rng.standard_normal((N, D)) + gap * z[:, None] * direction / np.linalg.norm(direction)
    return Data(name, X, z, 2, name)


def clear_clusters(name: str, more: str) -> Data:
    """Three kinds of 100 rows in 10-D with unit covariance, 6 apart, and one more column."""
    rng = np.random.default_rng(24)
    D, z = 10, np.repeat([0, 1, 2], 100)
    corners = np.linalg.qr(rng.standard_normal((D, 3)))[0].T * 6.0 / np.sqrt(2.0)
    X = corners[z] + rng.standard_normal((len(z), D))
    column = {"none": [], "total": [X.sum(1)], "copy": [X[:, 0]]}[more]
    return Data(name, np.column_stack([X, *column]), z, 3, name)


def copies() -> FloatArray:
    """200 normal rows in 2-D, and 15 copies of one row."""
    X = np.random.default_rng(25).standard_normal((200, 2))
    return np.concatenate([X, np.repeat(X[:1], 15, axis=0)])


def outlier() -> FloatArray:
    """Two kinds of 100 rows in 2-D, 8 apart, and one row a million times as far."""
    X = np.random.default_rng(26).standard_normal((201, 2))
    X[100:200, 0] += 8.0
    X[200] = 8e6
    return X


def case_sets() -> list[Data]:
    """All of them, each in a column of its own."""
    gaps = (10, 100, 1000, 10_000, 100_000, 1_000_000)
    return [
        *(far_apart(f"0, {gap:,}; n = 2", (0.0, gap), 50, told=True) for gap in gaps),
        *(far_apart(f"0, {gap:,}", (0.0, gap), 50) for gap in gaps),
        far_apart("0, 8, 1,000", (0.0, 8.0, 1000.0), 60),
        soils("soils, exact", None),
        soils("soils, .1%", 1),
        soils("soils, 1%", 0),
        few_rows("20 rows, 50-D", 20, 50, 40.0),
        few_rows("40 rows, 60-D", 40, 60, 60.0),
        *(clear_clusters(f"10-D, {more}", more) for more in ("none", "copy", "total")),
        Data("15 copies", copies(), cell="15 copies"),
        Data("outlier", outlier(), cell="outlier"),
    ]
