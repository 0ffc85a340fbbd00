"""The same Gibbs sweep in vectorised NumPy: the yardstick for the kernels, written twice.

:class:`NumpySampler` is how the sweep is usually written: (N, K) arrays, ``scipy.special.logsumexp``, a loop over the
components and none over the rows. :class:`TunedNumpySampler` is the fastest that could be got out of NumPy here: (K, N)
arrays, so that every operation runs along memory, and no temporary larger than one component's. Both draw from the
conditionals that the kernels draw from, in float64, and return one draw with its log likelihood.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from gibbs_gmm.model.component_prior import NormalInverseWishart

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


class NumpySampler:
    """A chain: X (N, D), prior, Dirichlet(alpha, ..., alpha) weights, current labels z (N,)."""

    def __init__(
        self, X: FloatArray, K: int, prior: NormalInverseWishart, alpha: float, z: IntArray, rng: np.random.Generator
    ) -> None:
        self.X, self.K, self.prior, self.alpha, self.z, self.rng = X, K, prior, alpha, z, rng

    def sweep(self) -> dict[str, Any]:
        """One sweep: parameters given labels, labels given parameters."""
        weights, means, W = self.draw_parameters()
        log_norm = np.log(np.diagonal(W, axis1=1, axis2=2)).sum(1) - 0.5 * self.X.shape[1] * np.log(2.0 * np.pi)
        log_likelihood = self.draw_labels(np.log(weights) + log_norm, means, W)
        V = np.linalg.inv(W)
        return {
            "weights": weights,
            "means": means,
            "covariances": V @ V.transpose(0, 2, 1),
            "assignments": self.z.astype(np.uint8),
            "log_likelihood": log_likelihood,
        }

    def draw_parameters(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Weights (K,), means (K, D) and W (K, D, D), lower triangular with W'W the precision, given the labels."""
        K, D, prior, rng = self.K, self.X.shape[1], self.prior, self.rng
        counts = np.bincount(self.z, minlength=K)
        means, W = np.empty((K, D)), np.empty((K, D, D))
        for k in range(K):
            rows, n = self.X[self.z == k], counts[k]
            mean = rows.mean(0) if n > 0 else np.zeros(D)
            centred = rows - mean
            offset = mean - prior.mu_0
            kappa_n, nu_n = prior.kappa_0 + n, prior.nu_0 + n
            Psi_n = prior.Psi_0 + centred.T @ centred + prior.kappa_0 * n / kappa_n * np.outer(offset, offset)
            # Bartlett: with Psi_n = L L' and A'A ~ Wishart(nu_n, I), W = A L^-1 has W'W ~ Wishart(nu_n, Psi_n^-1).
            A = np.tril(rng.standard_normal((D, D)), -1)
            A[np.diag_indices(D)] = np.sqrt(rng.chisquare(nu_n - D + 1 + np.arange(D)))
            W[k] = A @ np.linalg.inv(np.linalg.cholesky(Psi_n))
            mu_n = (prior.kappa_0 * prior.mu_0 + n * mean) / kappa_n
            means[k] = mu_n + np.linalg.solve(W[k], rng.standard_normal(D)) / np.sqrt(kappa_n)
        return rng.dirichlet(self.alpha + counts), means, W

    def draw_labels(self, log_c: FloatArray, means: FloatArray, W: FloatArray) -> float:
        """Labels of all rows given the parameters, into ``z``; returns the log likelihood."""
        N = len(self.X)
        log_p = np.empty((N, self.K))
        for k in range(self.K):
            log_p[:, k] = log_c[k] - 0.5 * np.square((self.X - means[k]) @ W[k].T).sum(1)
        log_total = logsumexp(log_p, axis=1, keepdims=True)
        cumulated = np.exp(log_p - log_total).cumsum(1)
        self.z = (cumulated[:, :-1] < self.rng.random((N, 1))).sum(1)
        return float(log_total.sum())


class TunedNumpySampler(NumpySampler):
    """The same chain with its label step laid out for memory."""

    def __init__(
        self, X: FloatArray, K: int, prior: NormalInverseWishart, alpha: float, z: IntArray, rng: np.random.Generator
    ) -> None:
        super().__init__(X, K, prior, alpha, z, rng)
        self.Xt = np.ascontiguousarray(X.T)
        self._cumulated = np.empty((K, len(X)))

    def draw_labels(self, log_c: FloatArray, means: FloatArray, W: FloatArray) -> float:
        """As above, on (K, N) arrays and in place."""
        cumulated = self._cumulated
        for k in range(self.K):
            Y = W[k] @ self.Xt
            Y -= (W[k] @ means[k])[:, None]
            np.einsum("ij,ij->j", Y, Y, out=cumulated[k])
            cumulated[k] *= -0.5
            cumulated[k] += log_c[k]
        top = cumulated.max(0)
        cumulated -= top
        np.exp(cumulated, out=cumulated)
        np.cumsum(cumulated, axis=0, out=cumulated)
        total = cumulated[-1]
        self.z = (cumulated[:-1] < self.rng.random(len(top)) * total).sum(0)
        return float((top + np.log(total)).sum())
