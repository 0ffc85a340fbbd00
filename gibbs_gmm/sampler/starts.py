"""Where chains start: a clustering that differs from chain to chain."""

from __future__ import annotations

import numpy as np

from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray

_SAMPLE = 10_000


def kmeans_plus_plus(
    rng: np.random.Generator, X: AnyArray, loc: FloatArray, scale: FloatArray, K: int, copies: IntArray | None = None
) -> tuple[FloatArray, IntArray, IntArray | None]:
    """Seeds by k-means++ (Arthur & Vassilvitskii 2007), and a rough clustering about them.

    Works on at most 10,000 rows sampled for the chain, or 50 for each component, and on standardised columns. The seeds
    are not refined: chains should start apart. ``copies`` (N,) says how many observations each row stands for, if not
    one.

    Returns
    -------
    rows : (M, D) float64
        The rows used, shifted by ``loc``.
    labels : (M,) int64
        The nearest seed of each.
    own : (M,) int64 or None
        Their ``copies``.
    """
    N = X.shape[0]
    M = min(N, max(_SAMPLE, 50 * K))
    index = np.arange(N) if M == N else np.sort(rng.choice(N, M, replace=False, shuffle=False))
    rows = X[index].astype(np.float64) - loc
    standard = rows / np.where(scale > 0.0, scale, 1.0)
    nearest = np.full(M, np.inf)
    labels = np.zeros(M, np.int64)
    own = None if copies is None else copies[index]
    seed = int(rng.integers(M)) if own is None else int(rng.choice(M, p=own / own.sum()))
    for k in range(K):
        distance = np.square(standard - standard[seed]).sum(1)
        closer = distance < nearest
        labels[closer] = k
        nearest[closer] = distance[closer]
        likely = nearest if own is None else nearest * own
        total = likely.sum()
        seed = int(rng.choice(M, p=likely / total)) if total > 0.0 else int(rng.integers(M))
    return rows, labels, own
