"""A prior of n that is tilted until a chain visits every n, and the evidences that follow from its visits."""

from __future__ import annotations

import math

import numpy as np
from arviz_stats.base import array_stats
from scipy.special import gammaln, logsumexp

from gibbs_gmm.kernels.sampler.partition_prior import STATIC, Weights
from gibbs_gmm.kernels.types import FloatArray, IntArray


class Tilt:
    """A prior p(n) of n = 1..n_max, and what follows from it and the number of clusters t alone.

    p(C, n) = p(n) v_n(t) prod_c Gamma(gamma + n_c)/Gamma(gamma), where v_n(t) = n!/(n - t)! Gamma(n gamma)/Gamma(n
    gamma + N). ``weights`` is this prior as the kernels take it; its tables change when p(n) does. ``log_p`` (n_max,)
    is log p(n), and ``given`` (n_max, n_max) is p(n | t), with a row for each t.
    """

    def __init__(self, N: int, n_max: int, gamma: float) -> None:
        self.N, self.gamma = N, gamma
        n, t = np.arange(1, n_max + 1)[:, None], np.arange(1, n_max + 1)
        log_v = gammaln(n + 1.0) - gammaln(np.maximum(n - t, 0) + 1.0) + gammaln(n * gamma) - gammaln(n * gamma + N)
        self.log_v = np.where(t <= n, log_v, -np.inf)
        none = np.zeros(0)
        self.weights = Weights(STATIC, False, 0.0, np.full(n_max + 1, -np.inf), np.zeros(n_max + 1), none, none)
        self.set(np.zeros(n_max))

    def set(self, log_p: FloatArray) -> None:
        """Replace log p(n), given up to a constant."""
        self.log_p = log_p - logsumexp(log_p)
        self.weights.log_p[1:] = self.log_p
        self.weights.log_tail[:-1] = np.logaddexp.accumulate(self.log_p[::-1])[::-1]
        self.weights.log_tail[-1] = -np.inf
        joint = self.log_p[:, None] + self.log_v
        self.given = np.exp(joint - logsumexp(joint, axis=0)).T

    def flatten(self, log_M: FloatArray) -> None:
        """Set p(n) so that all n have equal posterior mass.

        ``log_M[t - 1]`` estimates the logarithm of the sum, over partitions into t clusters, of prod_c m(X_c)
        Gamma(gamma + n_c)/Gamma(gamma).
        """
        self.set(-logsumexp(self.log_v + log_M, axis=1))

    def log_product(self, sizes: FloatArray) -> float:
        """log prod_c Gamma(gamma + n_c)/Gamma(gamma)."""
        return float((gammaln(self.gamma + sizes) - gammaln(self.gamma)).sum())

    def log_evidence(self, t: IntArray, first: float) -> tuple[FloatArray, FloatArray, int]:
        """log p(X | n), n = 1..n_max, their standard errors, and the number of round trips, from t (chains, draws).

        ``first`` is log p(X | 1). NaN where n or n = 1 was never visited. Errors are infinite there, and without
        round trips.
        """
        C, T = t.shape
        visits = np.stack([np.bincount(row, minlength=len(self.log_p) + 1)[1:] for row in t]) / T
        P = visits.mean(0) @ self.given
        estimate, error = np.full(len(P), np.nan), np.full(len(P), np.inf)
        seen = (P > 0.0) & (P[0] > 0.0)
        estimate[seen] = first + np.log(P[seen] / P[0]) - self.log_p[seen] + self.log_p[0]
        # Its linear part is the mean over draws of y[t - 1, n - 1].
        y = self.given[:, seen] / P[seen] - self.given[:, :1] / P[0] if seen.any() else np.zeros((len(P), 0))
        spread = (visits @ y).std(0, ddof=1) / math.sqrt(C)
        error[seen] = np.maximum(spread, [_standard_error(column[t - 1]) for column in y.T])
        many = max(2, math.ceil(t.mean()))
        ends = [row[(row == 1) | (row >= many)] == 1 for row in t]
        trips = sum(int((end[1:] > end[:-1]).sum()) for end in ends)
        if trips == 0:
            error[:] = np.inf
        estimate[0], error[0] = first, 0.0
        return estimate, error, trips


def _standard_error(x: FloatArray) -> float:
    """Standard error of the mean of draws (chains, draws), by their effective sample size (Vehtari et al. 2021)."""
    if x.min() == x.max():
        return 0.0
    return float(x.std(ddof=1) / math.sqrt(float(array_stats.ess(x, method="mean"))))
