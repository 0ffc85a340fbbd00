"""Partitions of a trace: similarities, the point estimate and the ball around it, against slow and obvious versions."""

import itertools
import math
from functools import cache
from typing import Any

import numpy as np
import pytest
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


# --- The search finds the best partition ---


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("N", [1, 2, 3, 5])
def test_search_equals_exhaustive_search(N: int, loss: str) -> None:
    partitions, matrix = set_partitions(N), loss_matrix(N, loss)
    place = {p: i for i, p in enumerate(partitions)}
    sizes = np.array([max(p) + 1 for p in partitions])
    for seed in range(40 if N > 3 else 10):
        z = random_draws(np.random.default_rng(seed), N)
        expected = matrix[:, [place[canonical(row)] for row in z]].mean(1)
        for limit in (None, N):
            found = trace_of(z).partition(loss, max_clusters=limit)
            allowed = sizes <= (limit or max(len(set(row)) for row in z))
            np.testing.assert_allclose(found.expected_loss, expected[place[canonical(found.labels)]], atol=1e-12)
            np.testing.assert_allclose(found.expected_loss, expected[allowed].min(), atol=1e-12, err_msg=str(seed))


def test_similarity_is_the_share_of_draws() -> None:
    z = np.random.default_rng(2).integers(4, size=(2, 30, 70))
    trace = trace_of(z)
    flat = z.reshape(60, 70)
    expected = (flat[:, :, None] == flat[:, None, :]).mean(0)
    np.testing.assert_allclose(trace.similarity(), expected, rtol=1e-15)
    rows = [5, 3, 60, 5]
    np.testing.assert_allclose(trace.similarity(rows), expected[np.ix_(rows, rows)], rtol=1e-15)
    pairs = [[1, 2], [2, 1], [69, 0], [4, 4]]
    np.testing.assert_allclose(trace.similarity(pairs=pairs), [expected[i, j] for i, j in pairs], rtol=1e-15)
