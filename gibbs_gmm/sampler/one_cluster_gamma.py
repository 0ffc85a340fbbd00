"""log p(X | n = 1) under a Normal-Inverse-Gamma prior: the evidence of all rows as one cluster, by quadrature.

Given kappa_0 and b_0 it has a closed form; given kappa_0 alone, the columns are independent, so that each b_0d is
integrated out by itself; kappa_0 comes last. All integrands are analytic in the logarithm of their variable, and both
rules converge exponentially.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import gammaln, logsumexp, roots_legendre

from gibbs_gmm.errors import NumericalError
from gibbs_gmm.kernels.sampler.state import Data
from gibbs_gmm.kernels.types import FloatArray
from gibbs_gmm.model.normal_inverse_gamma import NormalInverseGamma

_DROP = 36.0  # what lies below e^-36 of an integrand's peak is left out
_STEP = 0.25  # of the trapezoidal rule, in the logarithm of b_0, over its standard deviation where that is below 1
_NODES = 16  # of a Gauss-Legendre rule on a panel
_PANEL = 2.0  # width of a panel, in the logarithm of kappa_0, over its standard deviation
_FIRST = 8.0  # width of the first panel, at most, over the shortest length in which the integrand may fall by e
_ROWS = 1 << 16


def log_one_cluster_gamma(data: Data, prior: NormalInverseGamma) -> float:
    """log p(X | n = 1), with b_0 and kappa_0 integrated out where they are learned. Its relative error is below 1e-8.

    Raises
    ------
    NumericalError
        All values of a column are equal and known exactly: the density is infinite.
    """
    N, D = data.X.shape
    gap, scatter = _statistics(data, prior)
    scatter += N * prior.resolution**2 / 12.0
    b_0, n = np.atleast_1d(prior.b_0), float(N)
    if prior.covariance_type == "spherical":
        gap, scatter, n = np.array([gap.sum()]), np.array([scatter.sum()]), float(N * D)
    if not (scatter > 0.0).all() and prior.b_0_shape is not None:
        raise NumericalError("the density of all data as one cluster is infinite: a column is constant and exact")
    a_n = prior.a_0 + 0.5 * n
    constant = len(b_0) * (gammaln(a_n) - gammaln(prior.a_0)) - 0.5 * N * D * math.log(2.0 * math.pi)

    def log_means(kappa: FloatArray) -> FloatArray:
        """log of prod_d E[b_0d^a_0 / b_nd^a_n] at each kappa_0 (M,)."""
        c = 0.5 * (scatter + (kappa * N / (kappa + N))[:, None] * gap)
        if prior.b_0_shape is None:
            terms = prior.a_0 * np.log(b_0) - a_n * np.log(b_0 + c)
        else:
            terms = log_mean_of_scale(prior.a_0, a_n, prior.b_0_shape, prior.b_0_shape / b_0, c)
        return np.asarray(terms.sum(1), np.float64)

    if prior.kappa_0_shape is None:
        kappa = np.array([prior.kappa_0])
        return float(constant + 0.5 * D * math.log(prior.kappa_0 / (prior.kappa_0 + N)) + log_means(kappa)[0])

    # In q = log kappa_0, from the largest down: all but the first factor of e^(power q) e^(rest) decreases in q, so
    # that its value at kappa_0 = 0 bounds what is left of the integral.
    shape, power = prior.kappa_0_shape, prior.kappa_0_shape + 0.5 * D
    constant += math.log(shape) - shape * math.log(prior.kappa_0)
    node, weight = roots_legendre(_NODES)
    widest = _PANEL / math.sqrt(1.0 + power)
    width = min(widest, _FIRST / power)  # the mode may be the largest kappa_0
    most = float(log_means(np.zeros(1))[0]) - 0.5 * D * math.log(N)
    q, total = math.log(prior.kappa_0), -math.inf
    while power * q - math.log(power) + most > total - _DROP:
        at = q - 0.5 * width * (1.0 - node)
        terms = power * at - 0.5 * D * np.log(np.exp(at) + N) + log_means(np.exp(at))
        total = float(np.logaddexp(total, logsumexp(terms, b=0.5 * width * weight)))
        q, width = q - width, min(widest, 2.0 * width)
    return float(constant + total)


def log_mean_of_scale(a_0: float, a_n: float, shape: float, rate: FloatArray, c: FloatArray) -> FloatArray:
    """log E[b^a_0 / (b + c)^a_n] for b ~ Gamma(shape, rate), elementwise over c > 0 (M, D), rate (D,).

    With b = c e^s it is rate^shape / Gamma(shape) c^(power - a_n) times the integral over s of exp f(s), f(s) = power s
    - a_n log(1 + e^s) - rate c e^s, power = shape + a_0: a concave function, whose mode solves a quadratic equation.
    """
    power, z = shape + a_0, rate * c
    half = 0.5 * (a_n + z - power)
    root = np.sqrt(half * half + z * power)
    mode = np.log(np.where(half > 0.0, power / (root + np.abs(half)), (root + np.abs(half)) / z))

    def f(s: FloatArray) -> FloatArray:
        return np.asarray(power * s - a_n * np.logaddexp(0.0, s) - z * np.exp(s), np.float64)

    peak = f(mode)
    low, reach = (peak - _DROP) / power, np.full_like(mode, 1.0 / math.sqrt(1.0 + power))  # f(s) <= power s
    while (f(mode + reach) > peak - _DROP).any():
        reach *= np.where(f(mode + reach) > peak - _DROP, 2.0, 1.0)
    width = mode + reach - low
    count = math.ceil(float(width.max()) / _STEP * math.sqrt(max(1.0, power)))
    total = np.zeros_like(mode)
    for i in range(count + 1):
        total += np.exp(f(low + width * (i / count)) - peak)
    log_integral = np.log(total * width / count) + peak
    result: FloatArray = shape * np.log(rate) - gammaln(shape) + (power - a_n) * np.log(c) + log_integral
    return result


def _statistics(data: Data, prior: NormalInverseGamma) -> tuple[FloatArray, FloatArray]:
    """(mean - mu_0)^2 of each column, and its scatter about its mean."""
    N, D = data.X.shape
    sums, squares = np.zeros((2, D))
    for start in range(0, N, _ROWS):
        rows = data.X[start : start + _ROWS] - data.loc  # loc is the mean of X, up to rounding
        sums += rows.sum(0)
        squares += np.square(rows).sum(0)
    mean = sums / N
    return np.square(mean + data.loc - prior.mu_0), np.maximum(squares - N * mean * mean, 0.0)
