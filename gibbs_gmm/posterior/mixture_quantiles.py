"""Quantiles of one-dimensional mixtures of normal and t distributions."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping

import numpy as np
from scipy import special

from gibbs_gmm.kernels.types import FloatArray

_RELATIVE, _ABSOLUTE = 1e-10, 1e-13  # of the distribution function: of min(q, 1 - q), and at least
_ITERATIONS = 200
_NEGLIGIBLE = 1e-15  # share of all weight that components may have together to be left out
_STEPS, _REACH = 1 << 16, 80.0  # of the table of a t distribution, in asinh of its argument

Part = tuple[FloatArray, FloatArray, FloatArray]
"""Weights (P,), centres (P,) and scales (P,) of components that have the same degrees of freedom."""


def quantiles(q: FloatArray, mixture: Mapping[float, Part]) -> FloatArray:
    """The quantiles (Q,) at q (Q,) of a mixture of t distributions, by their degrees of freedom; inf is normal.

    By Newton steps within brackets and bisection where these are slow (Press et al. 2007, section 9.4), until the
    distribution function is q to 1e-10 of min(q, 1 - q), or 1e-13, or the bracket is as narrow as doubles allow. The
    first bracket is that of the components' own quantiles. Weights need not sum to 1.
    """
    total = sum(float(weight.sum()) for weight, _, _ in mixture.values())
    size = sum(len(weight) for weight, _, _ in mixture.values())
    parts = {}
    for df, (weight, centre, scale) in mixture.items():
        kept = weight > _NEGLIGIBLE * total / size
        if kept.any():
            parts[df] = weight[kept] / total, centre[kept], scale[kept]
    low, high, x = np.full(len(q), math.inf), np.full(len(q), -math.inf), np.zeros(len(q))
    for df, (weight, centre, scale) in parts.items():
        own = centre[:, None] + scale[:, None] * (special.ndtri(q) if math.isinf(df) else special.stdtrit(df, q))
        low, high = np.minimum(low, own.min(0)), np.maximum(high, own.max(0))
        x += (weight[:, None] * own).sum(0)
    x = np.clip(x, low, high)
    before = high - low
    enough = np.maximum(_RELATIVE * np.minimum(q, 1.0 - q), _ABSOLUTE)
    for _ in range(_ITERATIONS):
        below, slope = _cdf_and_density(x, parts)
        off = below - q
        low, high = np.where(off < 0.0, x, low), np.where(off >= 0.0, x, high)
        width = 4.0 * np.finfo(np.float64).eps * np.maximum(np.abs(low), np.abs(high))
        done = (np.abs(off) <= enough) | (high - low <= width)
        if done.all():
            break
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            newton = x - off / slope
            good = (newton > low) & (newton < high) & (np.abs(newton - x) <= 0.5 * before)
        following = np.where(done, x, np.where(good, newton, low + 0.5 * (high - low)))
        before, x = np.abs(following - x), following
    return x


def _cdf_and_density(x: FloatArray, parts: Mapping[float, Part]) -> tuple[FloatArray, FloatArray]:
    """The distribution function and the density of the mixture at x (Q,)."""
    below, density = np.zeros(len(x)), np.zeros(len(x))
    for df, (weight, centre, scale) in parts.items():
        for j in range(len(x)):
            z = (x[j] - centre) / scale
            if math.isinf(df):
                share, peak = special.ndtr(z), np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
            else:
                share, peak = t_cdf(df, z), _t_density(df, z)
            below[j] += (weight * share).sum()  # not as a product, for which BLAS would wake its threads
            density[j] += (weight * peak / scale).sum()
    return below, density


def t_cdf(df: float, z: FloatArray) -> FloatArray:
    """Student's distribution function at z, to 1e-13: by cubic interpolation in asinh z, which is fast."""
    value, slope = _t_table(df)
    place = np.clip((np.arcsinh(z) + _REACH) * (_STEPS / (2.0 * _REACH)), 0.0, _STEPS - 1e-9)
    i = place.astype(np.int64)
    s = place - i
    rise, left, right = value[i + 1] - value[i], slope[i], slope[i + 1]
    result: FloatArray = value[i] + s * (left + s * (3.0 * rise - 2.0 * left - right + s * (left + right - 2.0 * rise)))
    return result


@functools.lru_cache(maxsize=8)
def _t_table(df: float) -> tuple[FloatArray, FloatArray]:
    """Student's distribution function on a grid of asinh z, and its derivatives there in grid steps."""
    u = np.linspace(-_REACH, _REACH, _STEPS + 1)
    z = np.sinh(u)
    return special.stdtr(df, z), _t_density(df, z) * np.cosh(u) * (2.0 * _REACH / _STEPS)


def _t_density(df: float, z: FloatArray) -> FloatArray:
    """Student's density at z."""
    log_norm = math.lgamma(0.5 * (df + 1.0)) - math.lgamma(0.5 * df) - 0.5 * math.log(math.pi * df)
    result: FloatArray = np.exp(log_norm - 0.5 * (df + 1.0) * np.log1p(z * z / df))
    return result
