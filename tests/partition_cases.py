"""Partitions and their losses, slow and obvious, and traces of given labels."""

import itertools
import math
from functools import cache
from typing import Any

import numpy as np
from oracle import Floats, Ints

import gibbs_gmm as gg

LOSSES = ("vi", "binder", "omari")

# --- Slow and obvious ---


def set_partitions(N: int) -> list[tuple[int, ...]]:
    """All partitions of N items, labels in order of appearance."""
    if N == 0:
        return [()]
    return [(*p, k) for p in set_partitions(N - 1) for k in range(max(p, default=-1) + 2)]


def slow_loss(a: Any, b: Any, loss: str) -> float:
    """The three losses by their definitions: entropies, and pairs of items one by one."""
    N = len(a)
    if loss == "vi":
        joint = list(zip(a, b, strict=True))
        h = [
            -sum(c / N * math.log2(c / N) for c in map(items.count, set(items))) for items in (list(a), list(b), joint)
        ]
        return 2 * h[2] - h[0] - h[1]
    pairs = list(itertools.combinations(range(N), 2))
    in_a, in_b = ([x[i] == x[j] for i, j in pairs] for x in (a, b))
    if loss == "binder":
        return 2 * sum(x != y for x, y in zip(in_a, in_b, strict=True)) / N**2
    if in_a == in_b:
        return 0.0
    both, A, B = sum(x and y for x, y in zip(in_a, in_b, strict=True)), sum(in_a), sum(in_b)
    return 1 - (both - A * B / len(pairs)) / ((A + B) / 2 - A * B / len(pairs))


@cache
def loss_matrix(N: int, loss: str) -> Floats:
    """Losses between all partitions of N items."""
    partitions = set_partitions(N)
    return np.array([[slow_loss(a, b, loss) for b in partitions] for a in partitions])


def canonical(labels: Any) -> tuple[int, ...]:
    names: dict[int, int] = {}
    return tuple(names.setdefault(int(z), len(names)) for z in labels)


# --- Traces ---


def trace_of(labels: Any) -> gg.Trace:
    """A trace whose assignments are these, (C, T, N) or (T, N); the rest of it is of no consequence."""
    z = np.asarray(labels, dtype=np.uint8)
    z = z if z.ndim == 3 else z[None]
    K = int(z.max()) + 1
    filled = np.zeros((*z.shape[:2], K))
    return gg.Trace(
        weights=filled + 1 / K,
        means=filled[..., None],
        covariances=filled[..., None, None] + 1,
        assignments=z,
        n_components=np.full(z.shape[:2], K),
        n_clusters=np.array([[len(set(draw)) for draw in chain] for chain in z.tolist()]),
        log_likelihood=filled[..., 0],
        log_posterior=filled[..., 0],
        concentration=None,
        kappa_0=None,
        Psi_0=None,
        columns=("x0",),
        prior=gg.NormalInverseWishart([0.0], 1.0, 3.0, [[1.0]]),
        weight_prior=gg.FiniteMixture(K),
        settings={"n_observations": z.shape[2]},
    )


def random_draws(rng: np.random.Generator, N: int) -> Ints:
    """Draws of labels: without structure, noise about a partition, or many singletons."""
    S, kind = int(rng.integers(1, 25)), rng.integers(3)
    if kind == 0:
        return rng.integers(rng.integers(1, N + 1), size=(S, N))
    noisy = rng.random((S, N)) < rng.choice([0.2, 0.5])
    if kind == 1:
        return np.where(noisy, rng.integers(4, size=(S, N)), rng.integers(3, size=N))
    return np.where(noisy, np.arange(N), rng.integers(2, size=(S, N)))
