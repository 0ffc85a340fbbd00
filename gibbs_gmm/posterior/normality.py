"""Tests of normality that need nothing but a sample, from its moments, and how p-values of many are put together.

The laws of both statistics are free of location and scale. They are accurate from 8 rows on, down to p = 0.0001.
"""

from __future__ import annotations

import numpy as np
from scipy import special, stats

from gibbs_gmm.kernels.types import FloatArray

LEAST_ROWS = 8
"""Rows from which on the approximations hold."""

_LEAST_CORRELATION = 0.5  # of the scores of two draws: with smaller estimates the smallest p-values are too small


def z_tails(a: FloatArray, n: FloatArray) -> FloatArray:
    """Normal score of Geary's statistic: standard normal for normal rows, above 0 for heavy tails.

    Parameters
    ----------
    a : array
        Mean absolute deviation from the mean over the root mean square deviation: sqrt(2 / pi) for a normal.
    n : array
        Rows that it is from, at least 8.

    Returns
    -------
    array

    Notes
    -----
    By Basu's theorem a is independent of the mean square s^2, so that E a^j = E d^j / E s^j with d the mean absolute
    deviation, whose first two moments are known (Geary 1935, 1936). With the skewness that Geary gives, a is taken for
    a Pearson type III variable.
    """
    mean, sd, skewness = _geary(n)
    y = (mean - a) / sd
    upper, lower = stats.pearson3.sf(y, skewness), stats.pearson3.cdf(y, skewness)
    return np.asarray(
        np.where(upper < lower, stats.norm.isf(_above_0(upper)), stats.norm.ppf(_above_0(lower))), np.float64
    )


def _above_0(p: FloatArray) -> FloatArray:
    """A p-value that has underflowed as the smallest number."""
    return np.asarray(np.where(p == 0.0, np.finfo(float).tiny, p), np.float64)


def excess_tails(a: FloatArray, n: FloatArray) -> FloatArray:
    """How much less Geary's statistic is than expected, in shares of that: above 0 for heavy tails, below for light."""
    mean = _geary(n)[0]
    return np.asarray(1.0 - a / mean, np.float64)


def _geary(n: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Mean and standard deviation of Geary's statistic of n normal rows, and minus its skewness."""
    root = np.sqrt(2.0 / n) * np.exp(special.gammaln(0.5 * n) - special.gammaln(0.5 * (n - 1.0)))  # E s
    first = np.sqrt(2.0 * (n - 1.0) / (n * np.pi))  # E d
    variance = first**2 / n * (0.5 * np.pi + np.sqrt(n * (n - 2.0)) - n + np.arcsin(1.0 / (n - 1.0)))  # of d
    mean = first / root
    sd = np.sqrt((variance + first**2) * n / (n - 1.0) - mean**2)
    return mean, sd, 1.764 / np.sqrt(n) * (1.0 - 2.362 / n)


def z_skewness(skewness: FloatArray, n: FloatArray) -> FloatArray:
    """Normal score of the sample skewness m_3 / m_2^1.5 of n rows, at least 8 (D'Agostino 1970)."""
    y = skewness * np.sqrt((n + 1.0) * (n + 3.0) / (6.0 * (n - 2.0)))
    kurtosis = 3.0 * (n**2 + 27.0 * n - 70.0) * (n + 1.0) * (n + 3.0)
    kurtosis = kurtosis / ((n - 2.0) * (n + 5.0) * (n + 7.0) * (n + 9.0))
    W2 = np.sqrt(2.0 * (kurtosis - 1.0)) - 1.0
    return np.asarray(np.arcsinh(y / np.sqrt(2.0 / (W2 - 1.0))) / np.sqrt(0.5 * np.log(W2)), np.float64)


def combine(z: FloatArray) -> FloatArray:
    """Two-sided p-value of normal scores of S draws, along the first axis, that depend on each other (Hartung 1999).

    If their correlation is rho, their mean has variance rho + (1 - rho) / S, and 1 - rho is estimated by their variance
    among each other: draws that agree count once, whatever their number. (The mean of p-values, or of scores as if rho
    were 1, is conservative; a Cauchy combination is right for small p alone.) rho is at least 0.5. NaN are left out.
    """
    known = np.isfinite(z)
    S = np.maximum(known.sum(0), 1)
    mean = np.where(known, z, 0.0).sum(0) / S
    rho = 1.0 - np.where(known, (z - mean) ** 2, 0.0).sum(0) / np.maximum(S - 1, 1)
    rho = np.maximum(rho, _LEAST_CORRELATION)
    p = 2.0 * stats.norm.sf(np.abs(mean) / np.sqrt(rho + (1.0 - rho) / S))
    return np.asarray(np.where(known.any(0), p, np.nan), np.float64)


def combine_valid(p: FloatArray) -> FloatArray:
    """Twice the median of p-values of draws, along the first axis: valid whatever the dependence (Rueger 1978).

    NaN are left out.
    """
    known = np.isfinite(p).any(0)
    return np.asarray(
        np.where(known, np.minimum(1.0, 2.0 * np.nanmedian(np.where(known, p, 1.0), axis=0)), np.nan), np.float64
    )


def holm(p: FloatArray) -> FloatArray:
    """p-values of any shape adjusted for their number (Holm 1979): below a level with at most that probability.

    NaN stay, and do not count.
    """
    flat = p.ravel()
    known = np.flatnonzero(np.isfinite(flat))
    order = known[np.argsort(flat[known], kind="stable")]
    result = np.full(flat.shape, np.nan)
    result[order] = np.minimum(1.0, np.maximum.accumulate(flat[order] * np.arange(len(order), 0, -1)))
    return result.reshape(p.shape)
