"""Where chains start: a clustering that differs from chain to chain."""

from __future__ import annotations

import numpy as np

from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray

_SAMPLE = 10_000


def kmeans_plus_plus(
    rng: np.random.Generator, X: AnyArray, loc: FloatArray, scale: FloatArray, K: int
) -> tuple[FloatArray, IntArray]:
    """Seeds by k-means++ (Arthur & Vassilvitskii 2007), and a rough clustering about them.

    Works on at most 10,000 rows sampled for the chain, or 50 for each component, and on standardised columns. The seeds
    are not refined: chains should start apart.

    Returns
    -------
    rows : (M, D) float64
        The rows used, shifted by ``loc``.
    labels : (M,) int64
        The nearest seed of each.
    """
    N = X.shape[0]
    M = min(N, max(_SAMPLE, 50 * K))
    index = np.arange(N) if M == N else np.sort(rng.choice(N, M, replace=False, shuffle=False))
    rows = X[index].astype(np.float64) - loc
    standard = rows / np.where(scale > 0.0, scale, 1.0)
    nearest = np.full(M, np.inf)
    labels = np.zeros(M, np.int64)
    seed = int(rng.integers(M))
    for k in range(K):
        distance = np.square(standard - standard[seed]).sum(1)
        closer = distance < nearest
        labels[closer] = k
        nearest[closer] = distance[closer]
        total = nearest.sum()
        seed = int(rng.choice(M, p=nearest / total)) if total > 0.0 else int(rng.integers(M))
    return rows, labels
