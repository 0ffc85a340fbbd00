"""Effective sample sizes: how many independent draws would give as precise an estimate (Vehtari et al. 2021)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.special import ndtri

from gibbs_gmm.kernels.types import AnyArray, FloatArray

_TAILS = (0.05, 0.95)  # the quantiles whose effective sample sizes are those of the tails
_CHUNK = 1 << 19  # draws that are looked at together


def ess_bulk(x: AnyArray) -> FloatArray:
    """(R,) effective sample sizes of R quantities (R, C, T) where most draws are: those of their normal scores."""
    return _in_chunks(x, lambda part: _effective(normal_scores(halves(part))))


def ess_tail(x: AnyArray) -> FloatArray:
    """(R,) effective sample sizes of the tails of R quantities (R, C, T): of the 5% and 95% quantiles, the smaller."""
    return _in_chunks(x, _ess_tail)


def ess_mean(x: AnyArray) -> FloatArray:
    """(R,) effective sample sizes of the means of R quantities (R, C, T)."""
    return _in_chunks(x, lambda part: _effective(halves(part)))


def standard_error(x: AnyArray) -> float:
    """Monte-Carlo standard error of the mean of draws (C, T)."""
    return float(x.std(ddof=1) / math.sqrt(ess_mean(x[None])[0]))


def halves(x: FloatArray) -> FloatArray:
    """(R, 2C, T // 2): chains of draws (R, C, T) cut in halves."""
    n = x.shape[-1] // 2
    return np.concatenate([x[..., :n], x[..., x.shape[-1] - n :]], axis=1)


def normal_scores(x: FloatArray) -> FloatArray:
    """Normal scores of the ranks of each of R quantities (R, C, n) among its draws of all chains."""
    from scipy.stats import rankdata  # here, for it takes half a second

    R, C, n = x.shape
    return np.asarray(ndtri((rankdata(x.reshape(R, C * n), axis=1) - 0.375) / (C * n + 0.25)).reshape(x.shape))


def _in_chunks(x: AnyArray, function: Callable[[FloatArray], FloatArray]) -> FloatArray:
    """The function of all quantities, a few at a time."""
    few = max(1, _CHUNK // x[0].size)
    return np.concatenate([function(np.asarray(x[first : first + few], np.float64)) for first in range(0, len(x), few)])


def _ess_tail(x: FloatArray) -> FloatArray:
    below = (x <= limit for limit in np.quantile(x, _TAILS, axis=(1, 2), keepdims=True))
    return np.minimum(*(_effective(halves(hits.astype(np.float64))) for hits in below))


def _effective(x: FloatArray) -> FloatArray:
    """(R,) effective sample sizes of the means of R quantities in C chains of n draws, chains as they are.

    C n / tau, with tau the sum of the autocorrelations at all lags, to either side. It ends at Geyer's (1992) initial
    monotone sequence: sums of two neighbours are taken while they are positive, and none is larger than the one before.
    What chains differ by is part of the variance, and so of every autocorrelation.

    Parameters
    ----------
    x : (R, C, n), n >= 2

    Returns
    -------
    (R,) float64
        At most C n log10(C n), for draws that are spread more evenly than independent ones; C n for a quantity that
        never changes.
    """
    _, C, n = x.shape
    covariance = _autocovariance(x)
    within = covariance[:, :1] * (n / (n - 1.0))
    total = covariance[:, :1] + (x.mean(2).var(1, ddof=1)[:, None] if C > 1 else 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):  # a quantity that never changes
        rho = 1.0 - (within - covariance) / total
    rho[:, 0] = 1.0
    last = max(0, (n - 3) // 2)
    even, odd = rho[:, : 2 * last + 1 : 2], rho[:, 1 : 2 * last + 2 : 2]
    pairs = even + odd
    negative = pairs <= 0.0
    end = np.where(negative.any(1), negative.argmax(1), last)[:, None]
    half = np.where(np.arange(last + 1) < end, np.minimum.accumulate(pairs, axis=1), 0.0).sum(1)
    edge, pair = (np.take_along_axis(values, end, 1)[:, 0] for values in (even, pairs))
    tau = 2.0 * half - 1.0 + np.where((edge > 0.0) | (pair >= 0.0), edge, 0.0)
    result = C * n / np.maximum(tau, 1.0 / math.log10(C * n))
    return np.where(np.ptp(x, axis=(1, 2)) < np.finfo(np.float64).resolution, float(C * n), result)


def _autocovariance(x: FloatArray) -> FloatArray:
    """(R, n) autocovariances of R quantities in C chains of n draws, by lag: the means over the chains."""
    n = x.shape[-1]
    length = 1 << (2 * n - 1).bit_length()  # zeros behind the draws, so that the ends of a chain do not meet
    waves = np.fft.rfft(x - x.mean(-1, keepdims=True), length)
    power = (waves.real**2 + waves.imag**2).mean(1)
    return np.asarray(np.fft.irfft(power, length)[:, :n] / n)
