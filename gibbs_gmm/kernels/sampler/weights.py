"""Mixture weights under a symmetric Dirichlet prior, in logarithms."""

import math

import numpy as np

from gibbs_gmm.kernels._jit import kernel
from gibbs_gmm.kernels.random import draw_log_gamma
from gibbs_gmm.kernels.types import FloatArray


@kernel
def draw_log_weights(rng: np.random.Generator, alpha: float, n: FloatArray, log_w: FloatArray) -> None:
    """w | z ~ Dirichlet(alpha + n_1, ..., alpha + n_K), as log_w (K,): normalised Gamma draws."""
    K = log_w.shape[0]
    top = -np.inf
    for k in range(K):
        log_w[k] = draw_log_gamma(rng, alpha + n[k])
        top = max(top, log_w[k])
    total = 0.0
    for k in range(K):
        total += math.exp(log_w[k] - top)
    log_total = top + math.log(total)
    for k in range(K):
        log_w[k] -= log_total


@kernel
def log_dirichlet(alpha: float, log_w: FloatArray) -> float:
    """log density of Dirichlet(alpha, ..., alpha) at weights exp(log_w) (K,); 0 for K = 1."""
    K = log_w.shape[0]
    total = math.lgamma(K * alpha) - K * math.lgamma(alpha)
    for k in range(K):
        total += (alpha - 1.0) * log_w[k]
    return total
