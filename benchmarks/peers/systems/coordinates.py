r"""Coordinates in which NUTS samples a Gaussian mixture with its labels summed out. NumPy and SciPy.

Given labels, the conjugate posterior is a product of independent Beta sticks v_k (Dirichlet weights are sticks too), of
Bartlett factors A_k of the precisions, Sigma_k^-1 = W_k W_k' with W_k = L_k A_k and L_k = chol(Psi_n^-1), whose entries
are N(0, 1) below the diagonal and chi on it, and of means mu_k = mu_n + W_k'^-1 e_k, e_k ~ N(0, I / kappa_n). The
vector t that is sampled holds logit v, log diag A, the rest of A and e, each less its mean given the labels of the
k-means start and over its standard deviation. So 0 is the centre of what the start says, scales are near 1 and
correlations small, and a component that is empty at the start has the non-centred form of the prior. It is a change of
variables and nothing else: the density of t is that of the mixture under its prior, for any labels, and its logarithm
is

    sum_i logsumexp_k [log w_k + log N(x_i; mu_k, Sigma_k)] + sum_k [a_k log v_k + b_k log(1 - v_k)]
    + sum_k [sum_j (nu_0 - j) log A_k,jj - |W_k|^2 / 2 - kappa_0 |W_k' mu_k|^2 / 2],    j = 0, ..., D - 1,

up to a constant, where the rows were first shifted and rotated so that mu_0 = 0 and Psi_0 = I. log N is linear in x and
its products x_i x_j, so one matrix product with ``features`` gives all of them, and its transpose the gradient.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy import special


class Frame(NamedTuple):
    """The constants of one chain's coordinates, from its labels at the start."""

    stick_mean: Any  # (K - 1,)
    stick_sd: Any
    diag_mean: Any  # (K, D), of log diag A
    diag_sd: Any
    L: Any  # (K, D, D)
    centre: Any  # (K, D)
    e_sd: Any  # (K,)


class Coordinates:
    """A task's rows and prior as NUTS is given them, and the way back."""

    def __init__(self, task: Any, truncation: int = 20) -> None:
        self.K = K = task.n if task.model == "known" else truncation
        self.D = D = task.D
        # Sticks of Dirichlet(alpha, ..., alpha) and of a truncated Dirichlet process, v_K = 1
        after = np.arange(K - 1, 0, -1.0)
        self.a = np.full(K - 1, task.alpha if task.model == "known" else 1.0)
        self.b = task.alpha * (after if task.model == "known" else np.ones(K - 1))
        self.nu_0, self.kappa_0 = task.nu_0, task.kappa_0
        self.mu_0, self.root = task.mu_0, np.linalg.cholesky(task.Psi_0)
        self.rows = np.linalg.solve(self.root, (task.X - self.mu_0).T).T
        self.lower, self.upper = np.tril_indices(D, -1), np.triu_indices(D)
        # Puts the diagonal and the rest into their D x D places: a product costs less than a scatter and its gradient
        places = np.concatenate([np.arange(D) * (D + 1), self.lower[0] * D + self.lower[1]])
        self.place = np.eye(D * D)[places]
        cuts = np.cumsum([K - 1, K * D, K * D * (D - 1) // 2, K * D])
        self.sticks, self.diag, self.rest, self.e = (
            slice(int(i), int(j)) for i, j in zip([0, *cuts[:-1]], cuts, strict=True)
        )
        self.size = int(cuts[-1])

    def features(self) -> np.ndarray:
        """The rows' (P, N) features: 1, x and -x_i x_j / 2, the last doubled off the diagonal (i < j)."""
        i, j = self.upper
        x = self.rows.T
        return np.vstack([np.ones((1, x.shape[1])), x, x[i] * x[j] * np.where(i == j, -0.5, -1.0)[:, None]])

    def frame(self, labels: np.ndarray) -> Frame:
        """The coordinates about the labels of a start; components in order of their size, as sticks like them."""
        K, D = self.K, self.D
        sizes = np.bincount(labels, minlength=K)
        rank = np.argsort(np.argsort(-sizes, kind="stable"), kind="stable")
        z = np.minimum(rank[labels], K - 1)
        n = np.bincount(z, minlength=K).astype(float)
        a, b = self.a + n[:-1], self.b + (n.sum() - np.cumsum(n))[:-1]
        nu, kappa = self.nu_0 + n, self.kappa_0 + n
        half = (nu[:, None] - np.arange(D)) / 2
        sums = np.array([self.rows[z == k].sum(0) for k in range(K)])
        L = np.empty((K, D, D))
        for k in range(K):
            x = self.rows[z == k]
            Psi = np.eye(D) + x.T @ x - np.outer(sums[k], sums[k]) / kappa[k]
            L[k] = np.linalg.cholesky(np.linalg.inv(Psi))
        return Frame(
            special.digamma(a) - special.digamma(b),
            np.sqrt(special.polygamma(1, a) + special.polygamma(1, b)),
            (special.digamma(half) + np.log(2)) / 2,
            np.sqrt(special.polygamma(1, half)) / 2,
            L,
            sums / kappa[:, None],
            1 / np.sqrt(kappa),
        )

    def parameters(self, t: np.ndarray, frame: Frame) -> dict[str, np.ndarray]:
        """Weights (T, K), means (T, K, D) and covariances (T, K, D, D) of the draws t (T, size), in units of X."""
        T, K, D = len(t), self.K, self.D
        logits = frame.stick_mean + frame.stick_sd * t[:, self.sticks]
        log_w = np.zeros((T, K))
        log_w[:, :-1] = special.log_expit(logits)
        log_w[:, 1:] += np.cumsum(special.log_expit(-logits), axis=1)
        A = np.zeros((T, K, D, D))
        A[..., *self.lower] = t[:, self.rest].reshape(T, K, -1)
        A[..., range(D), range(D)] = np.exp(frame.diag_mean + frame.diag_sd * t[:, self.diag].reshape(T, K, D))
        back = self.root @ np.swapaxes(np.linalg.inv(frame.L @ A), -1, -2)  # root W'^-1
        e = frame.e_sd[:, None] * t[:, self.e].reshape(T, K, D)
        return {
            "weights": np.exp(log_w),
            "means": self.mu_0 + frame.centre @ self.root.T + (back @ e[..., None])[..., 0],
            "covariances": back @ np.swapaxes(back, -1, -2),
        }
