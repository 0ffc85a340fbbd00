"""Binomial numbers, by which copies of a row are divided among components, against SciPy."""

import math
from typing import Any

import numpy as np
import pytest
from harness import JIT, assert_p_values
from oracle import Floats
from scipy import stats

from gibbs_gmm.kernels._jit import allocating_kernel
from gibbs_gmm.kernels.binomial import binomial
from gibbs_gmm.kernels.binomials import DRAWN, FIRST, KEY, SECOND, TRIALS, draw_binomials
from gibbs_gmm.kernels.random import subkey, uniform
from gibbs_gmm.kernels.sampler.slices_of_copies import least_of
from gibbs_gmm.kernels.simd import bits_to_float
from gibbs_gmm.kernels.tile import SCRATCH, TILE

RATE = 1e-3


@allocating_kernel
def binomials(key: np.uint64, count: int, n: float, a: float, b: float) -> Floats:
    """Draws with keys of their own."""
    result = np.empty(count)
    for i in range(count):
        result[i] = binomial(subkey(key, i), n, a, b)
    return result


@allocating_kernel
def together(keys: Any, n: Floats, a: Floats, b: Floats) -> Floats:
    """Draws that are made many at a time."""
    result, S, index = np.empty(len(n)), np.empty(SCRATCH * TILE), np.zeros(TILE, np.int64)
    for first in range(0, len(n), 100):
        size = min(100, len(n) - first)
        for i in range(size):
            S[KEY + i] = bits_to_float(keys[first + i])
            S[TRIALS + i], S[FIRST + i], S[SECOND + i] = n[first + i], a[first + i], b[first + i]
        draw_binomials(size, index, S)
        for i in range(size):
            result[first + i] = S[DRAWN + i]
    return result


BINOMIALS = [
    (1, 0.3),
    (2, 0.999),
    (5, 0.5),
    (20, 0.9),
    (21, 0.5),
    (40, 0.25),
    (100, 0.05),
    (1000, 0.4),
    (10**6, 0.2),
    (10**6, 1e-6),
    (10**6, 1.0 - 1e-5),
    (10**9, 0.5),
    (10**9, 1e-9),
    (10**9, 3e-8),
    (10**12, 0.7),
]


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize(("n", "p"), BINOMIALS)
def test_binomial_numbers_have_the_binomial_law(n: int, p: float, many: bool) -> None:
    assert_p_values(binomial_p_value(n, p, many), RATE / len(BINOMIALS))


def binomial_p_value(n: int, p: float, many: bool, bug: float = 1.0) -> dict[str, float]:
    """Chi-square of numbers drawn one by one or many at a time, where the law has ``bug`` times the probability."""
    count = 100_000 if JIT else 2_000
    if many:
        keys = np.random.default_rng(n).integers(0, 2**64, count, np.uint64)
        x = together(keys, np.full(count, float(n)), np.full(count, p * bug), np.full(count, 1.0 - p * bug))
    else:
        x = binomials(np.uint64(n), count, float(n), p * bug, 1.0 - p * bug)
    law = stats.binom(n, p)
    assert ((x >= 0.0) & (x <= n) & (x == np.floor(x))).all()
    inner = np.arange(n) if n <= 60 else np.unique(law.ppf(np.linspace(0.0, 1.0, 61)[1:-1]))
    expected = count * np.diff(np.concatenate([[0.0], law.cdf(inner), [1.0]]))
    seen = np.bincount(np.searchsorted(inner, x), minlength=len(expected))
    enough = expected > 5.0  # the others are put together
    seen = np.append(seen[enough], seen[~enough].sum())
    expected = np.append(expected[enough], expected[~enough].sum())
    if expected[-1] == 0.0:
        assert seen[-1] == 0
        seen, expected = seen[:-1], expected[:-1]
    chi = float((np.square(seen - expected) / expected).sum())
    return {"chi-square": float(stats.chi2.sf(chi, len(seen) - 1))}


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize(("n", "p"), [(20, 0.3), (100, 0.2), (10**6, 0.2)])
def test_a_wrong_probability_is_caught(n: int, p: float, many: bool) -> None:
    off = 0.05 * math.sqrt(n * p * (1.0 - p)) / (n * p)  # a twentieth of a standard deviation
    assert binomial_p_value(n, p, many, 1.0 + off)["chi-square"] < RATE / len(BINOMIALS)


def test_many_binomial_numbers_are_those_of_one() -> None:
    rng, count = np.random.default_rng(3), 30_000 if JIT else 1_000
    keys = rng.integers(0, 2**64, count, np.uint64)
    n, p = np.floor(10.0 ** rng.uniform(0.0, 11.0, count)), 10.0 ** rng.uniform(-9.0, 0.0, count)
    a = np.where(rng.random(count) < 0.5, p, 1.0 - p)
    a[:4], n[4:8] = [0.0, 1e-300, 1.0, 1.0], [0.0, 1.0, 2.0, 2.0**53]
    b = 1.0 - a
    b[3] = 1e-300
    one = np.array([binomial(key, *case) for key, *case in zip(keys, n, a, b, strict=True)])
    np.testing.assert_array_equal(together(keys, n, a, b), one)


def test_binomial_numbers_at_the_ends() -> None:
    key = np.uint64(1)
    assert binomial(key, 0.0, 1.0, 2.0) == 0.0
    assert binomial(key, 7.0, 0.0, 2.0) == 0.0
    assert binomial(key, 7.0, 2.0, 0.0) == 7.0
    assert binomial(key, 2.0**53, 1e-300, 1.0) == 0.0
    assert binomial(key, 2.0**53, 1.0, 1e-300) == 2.0**53
    # With the widest n the mean is met to within its standard error: no digit is lost.
    x = binomials(key, 400, 2.0**53, 1.0, 3.0)
    error = (x - 2.0**51) / math.sqrt(2.0**53 * 3.0 / 16.0)
    assert abs(error.mean()) < 4.0 / math.sqrt(len(error))
    assert 0.7 < error.std() < 1.3


def test_the_least_of_many_slices() -> None:
    v = np.array([uniform(np.uint64(5), i) for i in range(20_000 if JIT else 500)])
    for n in (1, 7, 10**6):
        least = np.array([least_of(x, float(n)) for x in v])
        p = stats.kstest(least, lambda x, n=n: -np.expm1(n * np.log1p(-x))).pvalue
        assert_p_values({"least": float(p)}, RATE / 3)
