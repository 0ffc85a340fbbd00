"""Which columns are noise about others."""

from __future__ import annotations

import numpy as np
from scipy.special import fdtrc

from gibbs_gmm.kernels.types import FloatArray, IntArray

_UNEXPLAINED = 0.05  # share of a column's variance, left by the other columns, below which it is a candidate
_THINNEST = 1e-8  # of a column's variance: an axis with less would lose its digits in the columns' units
_NOISE = 0.005  # least p-value, of each of four tests, at which what is left passes for noise
_MOST_PRODUCTS = 4  # principal components whose products the residuals are regressed on


def noise_axes(rows: FloatArray, resolution: FloatArray) -> FloatArray:
    """Axes (D, D), one a row, in which columns that are noise about a linear combination of others are that noise.

    The axes of the other columns are the columns themselves. A column is replaced by its residual from the regression
    on those that are left where the residual has less than 5% of its variance and passes for noise at the 2% level: it
    is normal (D'Agostino's tests of skewness and kurtosis), not explained by squares and products of their principal
    components (in the manner of Ramsey 1969), and its square is not explained by them (Breusch & Pagan 1979); or where
    it is within the columns' resolution. The most redundant column goes first. A residual that is tiny
    beside the column, as outliers may make it, is left alone.
    """
    M, D = rows.shape
    axes = np.eye(D)
    if M < 3 * D:
        return axes
    scale = rows.std(0)
    left = np.flatnonzero(scale > 0.0)
    scale = np.where(scale > 0.0, scale, 1.0)
    Z = (rows - rows.mean(0)) / scale
    cell = resolution / scale
    while len(left) > 1:
        j, slopes, residual = _most_redundant(Z, left)
        others = left[left != j]
        if residual.var() > _UNEXPLAINED:
            break
        left = others
        within = (cell[j] ** 2 + slopes**2 @ cell[others] ** 2) / 12.0
        if residual.var() + within < _THINNEST:
            continue
        if residual.var() <= within or _is_noise(Z[:, others], residual):
            axes[j, others] = -slopes * scale[j] / scale[others]
    return axes


def _most_redundant(Z: FloatArray, left: IntArray) -> tuple[int, FloatArray, FloatArray]:
    """The column that the others among ``left`` explain best, its slopes on them and its residuals (M,)."""
    best = None
    for j in left:
        others = Z[:, left[left != j]]
        slopes = np.asarray(np.linalg.lstsq(others, Z[:, j], rcond=1e-10)[0], np.float64)
        residual = Z[:, j] - others @ slopes
        if best is None or residual.var() < best[2].var():
            best = int(j), slopes, residual
    assert best is not None
    return best


def _is_noise(others: FloatArray, residual: FloatArray) -> bool:
    """Whether the residuals are normal, and not explained by squares and products of the other columns."""
    from scipy import stats  # here, for it takes half a second and is seldom needed

    e = residual / residual.std()
    if min(stats.skewtest(e).pvalue, stats.kurtosistest(e).pvalue) < _NOISE:
        return False
    U, s, _ = np.linalg.svd(others, full_matrices=False)
    F = U[:, s > 1e-8 * s[0]] * np.sqrt(len(U))
    lead = min(_MOST_PRODUCTS, F.shape[1])
    products = [F[:, a] * F[:, b] for a in range(lead) for b in range(a)]
    quadratic = np.column_stack([F**2, *products])[:, : max(1, len(F) // 5)]
    one = np.ones((len(F), 1))
    level = np.hstack([one, F])
    return _F_test(e, level, quadratic) >= _NOISE and _F_test(e**2, one, F) >= _NOISE


def _F_test(y: FloatArray, base: FloatArray, more: FloatArray) -> float:
    """p-value of the F test that ``more`` explains nothing of y beyond ``base``; 1 where there are too few rows."""
    full = np.hstack([base, more])
    freedom = len(y) - full.shape[1]
    if freedom < 1:
        return 1.0
    rss = [float(np.square(y - B @ np.linalg.lstsq(B, y, rcond=None)[0]).sum()) for B in (base, full)]
    ratio = (rss[0] - rss[1]) / more.shape[1] / (rss[1] / freedom)
    return float(fdtrc(more.shape[1], freedom, max(0.0, ratio)))
