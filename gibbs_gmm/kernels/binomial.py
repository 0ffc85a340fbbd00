"""Binomial numbers from counter-based uniforms: how many of n observations fall on one of two sides.

For n up to 2^53, in a time that does not grow with it, and exact to the rounding of doubles.
"""

import math

import numpy as np

from gibbs_gmm.kernels._jit import kernel
from gibbs_gmm.kernels.random import uniform

FEW = 10.0  # expected number up to which it is found by inversion
MOST_OF_FEW = 110.0  # beyond it lies less than 1e-70
_NEAR = 20.0  # of the mode, where these bounds are too wide
_NEVER = 2.0**-54  # expected number below which inversion gives 0 for each uniform that there is
_OF_SMALL = np.array(
    [0.0] + [math.lgamma(x + 1.0) - (x + 0.5) * math.log(x) + x - 0.5 * math.log(math.tau) for x in range(1, 16)]
)  # errors of Stirling's formula where its series has too few terms


@kernel
def stirling_error(x: float) -> float:
    """log x! less Stirling's log sqrt(2 pi x) + x log x - x, for whole x > 0. It vectorises."""
    inverse = 1.0 / x
    y = inverse * inverse
    series = (1.0 / 12.0 - (1.0 / 360.0 - (1.0 / 1260.0 - y / 1680.0) * y) * y) * inverse
    small = _OF_SMALL[np.uint64(x if x < 16.0 else 0.0)]
    return small if x < 16.0 else series


@kernel
def _deviance(x: float, mean: float) -> float:
    """X log(x / mean) + mean - x, with all digits where x is near the mean (Loader 2000)."""
    gap = x - mean
    if abs(gap) >= 0.1 * (x + mean):
        return x * math.log(x / mean) - gap
    v = gap / (x + mean)
    total, term = gap * v, 2.0 * x * v
    for j in range(1, 1000):
        term *= v * v
        after = total + term / (2 * j + 1)
        if after == total:
            break
        total = after
    return total


@kernel
def _log_probability(k: float, n: float, p: float) -> float:
    """log of the binomial probability of k of n, up to what depends on n alone (Loader 2000)."""
    q = 1.0 - p
    if k == 0.0 or k == n:
        return n * (math.log1p(-p) if k == 0.0 else math.log(p)) - stirling_error(n) - 0.5 * math.log(n / math.tau)
    result = -stirling_error(k) - stirling_error(n - k) - _deviance(k, n * p) - _deviance(n - k, n * q)
    return result - 0.5 * math.log(k * (n - k))


@kernel
def _few(key: np.uint64, n: float, p: float) -> float:
    """By inversion, from 0 upwards."""
    u, k = uniform(key, 0), 0.0
    if u <= 1.0 - n * p:  # which is at most (1 - p)^n
        return k
    odds = p / (1.0 - p)
    probability = 1.0 - p if n == 1.0 else math.exp(n * math.log1p(-p))
    while u > probability and k < n and k < MOST_OF_FEW:
        u -= probability
        k += 1.0
        probability *= odds * (n - k + 1.0) * (1.0 / k)
    return k


@kernel
def _many(key: np.uint64, n: float, p: float) -> float:
    """By transformed rejection with a squeeze, for p <= 1/2 and n p >= 10 (Hoermann 1993, BTRS).

    The density is Loader's: differences of log factorials would lose all digits of a large n.
    """
    root = math.sqrt(n * p * (1.0 - p))
    b = 1.15 + 2.53 * root
    a = -0.0873 + 0.0248 * b + 0.01 * p
    centre, squeeze = n * p + 0.5, 0.92 - 4.2 / b
    mode, at_mode = np.floor((n + 1.0) * p), 1.0  # no logarithm of a probability is 1: not computed yet
    for trial in range(0, 1 << 30, 2):
        u, v = uniform(key, trial) - 0.5, uniform(key, trial + 1)
        room = 0.5 - abs(u)
        k = np.floor((2.0 * a / room + b) * u + centre)
        if room >= 0.07 and v <= squeeze:
            return k
        if k < 0.0 or k > n:
            continue
        height = math.log(v * (2.83 + 5.1 / b) * root / (a / (room * room) + b))
        away, variance = abs(k - mode), root * root
        if _NEAR < away < 0.5 * variance - 1.0:  # bounds of the density (Kachitvichyanukul & Schmeiser 1988, BTPE)
            normal = -0.5 * away * away / variance
            error = away / variance * ((away * (away / 3.0 + 0.625) + 1.0 / 6.0) / variance + 0.5)
            if height < normal - error:
                return k
            if height > normal + error:
                continue
        if at_mode == 1.0:
            at_mode = _log_probability(mode, n, p)
        if height <= _log_probability(k, n, p) - at_mode:
            return k
    return mode


@kernel
def binomial(key: np.uint64, n: float, a: float, b: float) -> float:
    """How many of n observations fall on the first of two sides with weights a and b >= 0, not both 0.

    Binomial(n, a / (a + b)) by the uniforms of the key. n is a whole number up to 2^53, and so is the result.
    """
    total = a + b
    if n * a < _NEVER * total:
        return 0.0
    if n * b < _NEVER * total:
        return n
    p = (a if a <= b else b) / total
    k = _few(key, n, p) if n * p < FEW else _many(key, n, p)
    return k if a <= b else n - k
