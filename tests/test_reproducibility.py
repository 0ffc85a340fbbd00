"""The same seed gives the same bytes, whatever the threads, batches, thinning or units; another seed gives others."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from harness import EPS, assert_same_draws
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import Floats

import gibbs_gmm as gg
from gibbs_gmm import checks
from gibbs_gmm import threads as threading
from gibbs_gmm.sampler import chain as chains
from gibbs_gmm.sampler import run as running

EVERY = slice(None)


def run(X: Floats, n: int = 3, **changes: Any) -> gg.Trace:
    arguments = {"draws": 40, "warmup": 20, "chains": 3, "rng": 11, "threads": 1, "progress": False} | changes
    return gg.fit(X, n, **arguments)


def groups(N: int = 128, D: int = 2) -> Floats:
    """Three overlapping groups, in multiples of 1/1024 and N a power of two: column means are exact in floats."""
    centre = np.array([-2.0, 0.0, 3.0])[np.arange(N) % 3]
    X = np.random.default_rng(2).standard_normal((N, D)) + centre[:, None]
    return np.asarray(np.round(X * 1024) / 1024)


# --- Threads, chains, batches, thinning ---


@pytest.mark.parametrize("threads", [2, 3, 4, None])
def test_threads_change_nothing(threads: int | None) -> None:
    assert_same_draws(run(groups(), threads=threads), run(groups()))


@pytest.mark.parametrize("seconds", [0.0, 3600.0], ids=["one sweep at a time", "all at once"])
@pytest.mark.parametrize("labels", [1, 1 << 22])
def test_batches_change_nothing(monkeypatch: pytest.MonkeyPatch, seconds: float, labels: int) -> None:
    expected = run(groups())
    monkeypatch.setattr(chains, "_BATCH_SECONDS", seconds)
    monkeypatch.setattr(chains, "_BATCH_LABELS", labels)
    assert_same_draws(run(groups(), threads=2), expected)


def test_added_chains_change_nothing() -> None:
    assert_same_draws(run(groups(), chains=2), run(groups(), chains=4), of_b=(slice(2), EVERY))
    assert_same_draws(run(groups(), chains=1, threads=3), run(groups(), chains=4), of_b=(slice(1), EVERY))


def test_chains_differ() -> None:
    trace = run(groups(), chains=4)
    for c in range(4):
        for d in range(c):
            assert not np.isin(trace.log_likelihood[c], trace.log_likelihood[d]).any()


@pytest.mark.parametrize("thin", [2, 3])
def test_thinned_draws_are_every_so_many(thin: int) -> None:
    kept = slice(thin - 1, None, thin)
    assert_same_draws(run(groups(), draws=10, thin=thin), run(groups(), draws=10 * thin, thin=1), of_b=(EVERY, kept))


def test_longer_runs_continue_shorter_ones() -> None:
    longer = run(groups(), draws=60)
    assert_same_draws(run(groups(), draws=40), longer, of_b=(EVERY, slice(40)))
    assert_same_draws(run(groups(), draws=1), longer, of_b=(EVERY, slice(1)))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_row_shards_change_nothing(monkeypatch: pytest.MonkeyPatch, dtype: type) -> None:
    monkeypatch.setattr(checks, "SMALL", 0)
    X = groups(100_000).astype(dtype)
    few = {"draws": 4, "warmup": 3, "chains": 1}
    expected = run(X, **few)
    tasks = []

    class Counting(ThreadPoolExecutor):
        def submit(self, *args: Any, **kwargs: Any) -> Any:
            tasks.append(args)
            return super().submit(*args, **kwargs)

    for module in (running, threading):
        monkeypatch.setattr(module, "ThreadPoolExecutor", Counting)
    monkeypatch.setattr(chains, "_SHARE_SECONDS", 0.0)  # share the rows of every sweep, however fast
    monkeypatch.setattr(chains, "_BATCH_SECONDS", 0.0)  # but of the first batch, whose speed is not known
    for threads in (2, 4):
        tasks.clear()
        assert_same_draws(run(X, threads=threads, **few), expected)
        assert len(tasks) > 7, "no sweep was spread over threads: the only tasks were the seven sweeps"
    two = few | {"chains": 2}
    assert_same_draws(run(X, threads=4, **two), run(X, **two))


# --- Seeds ---


def generator() -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(5))


@pytest.mark.parametrize(
    ("seed", "same"),
    [
        (7, 7),
        (7, np.int64(7)),
        (7, [7]),
        (7, np.random.SeedSequence(7)),
        (2**100, 2**100),
        ([1, 2], (1, 2)),
        ([1, 2], np.array([1, 2])),
        ([1, 2], np.random.SeedSequence([1, 2])),
        (generator(), generator()),
    ],
    ids=str,
)
def test_equal_seeds_give_equal_draws(seed: Any, same: Any) -> None:
    assert_same_draws(run(groups(), rng=seed), run(groups(), rng=same))


def test_other_seeds_give_other_draws() -> None:
    rng = generator()
    seeds = [None, None, 0, 1, [0, 1], np.random.SeedSequence(0, spawn_key=(1,)), rng, rng]
    values = [run(groups(), rng=seed).log_likelihood for seed in seeds]
    assert len(np.unique(values)) == np.size(values)


def test_seeds_are_left_as_they_are() -> None:
    seed = np.random.SeedSequence(3)
    np.random.seed(4)  # noqa: NPY002 - the legacy global state, which must not be used
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    assert_same_draws(run(groups(), rng=seed), run(groups(), rng=seed))
    assert seed.n_children_spawned == 0
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.parametrize(
    "seed", [None, 5, [1, 2**40], np.random.SeedSequence(np.array([3, 4]), spawn_key=(2,)), generator()]
)
def test_a_trace_says_how_to_draw_it_again(seed: Any) -> None:
    trace = run(groups(), rng=seed)
    again = np.random.SeedSequence(trace.settings["seed"], spawn_key=trace.settings["spawn_key"])
    assert_same_draws(run(groups(), rng=again), trace)


# --- Units ---


def assert_mapped(
    mapped: gg.Trace, trace: gg.Trace, factor: Floats, shift: Floats, *, tolerance: float, shift_error: float = 0.0
) -> None:
    """``mapped`` is the trace of X * factor + shift: same labels, parameters mapped, densities moved by a constant.

    ``tolerance`` is relative to the spread of a component; ``shift_error`` is an absolute one of the means, in units
    of X.
    """
    N = trace.settings["n_observations"]
    for name in ("assignments", "n_clusters", "n_components"):
        np.testing.assert_array_equal(getattr(mapped, name), getattr(trace, name))
    assert (np.abs(mapped.weights - trace.weights) <= tolerance * trace.weights).all()
    sd = np.sqrt(np.diagonal(trace.covariances, axis1=-2, axis2=-1))
    means = (mapped.means - shift) / factor
    assert (np.abs(means - trace.means) <= tolerance * (sd + np.abs(trace.means)) + shift_error).all()
    covariances = mapped.covariances / np.outer(factor, factor)
    assert (np.abs(covariances - trace.covariances) <= tolerance * sd[..., None] * sd[..., None, :]).all()
    constant = -N * np.log(factor).sum()
    size = np.abs(trace.log_likelihood).max() + abs(constant) + N
    # Each of N densities carries an error of about this tolerance times its squared distance; 100 is beyond the
    # largest.
    error = size * (100 * EPS + 100 * tolerance) + 100 * N * shift_error
    assert (np.abs(mapped.log_likelihood - trace.log_likelihood - constant) <= error).all()


@given(
    st.lists(st.integers(-60, 60), min_size=2, max_size=2),
    st.lists(st.integers(-(2**20), 2**20), min_size=2, max_size=2),
)
@settings(max_examples=20)
def test_powers_of_two_and_exact_shifts_change_no_bit(exponents: list[int], shifts: list[int]) -> None:
    """Multiplying by a power of two, or adding a whole number to these data, is exact, and so is what the sampler does.

    Only logarithms of determinants do not: a label may differ where a uniform is within rounding of a boundary, about
    one in 1e12.
    """
    X, factor = groups(), 2.0 ** np.array(exponents)
    shift = factor * np.array(shifts, dtype=float)
    trace, mapped = run(X), run(X * factor + shift)
    # Means are returned in the units of X: there the shift rounds them.
    spacing = float(np.spacing(np.abs(shifts).max() + 16.0))
    assert_mapped(mapped, trace, factor, shift, tolerance=0.0, shift_error=spacing)


def test_a_hundred_million_added_loses_nothing() -> None:
    trace, mapped = run(groups()), run(groups() + 1e8)  # exact: 27 bits before the point, 10 behind
    assert_mapped(mapped, trace, np.ones(2), np.full(2, 1e8), tolerance=0.0, shift_error=float(np.spacing(1e8)))


def test_any_units() -> None:
    """Rounded products and sums: each column is off by its own rounding, relative to its spread, and so are the draws.

    No label changes (each would with a probability of about this error), so that errors do not grow from sweep to
    sweep. A draw is a smooth function of the data; its condition is bounded by that of the components' covariances.
    """
    X, factor, shift = groups(), np.array([0.3, 1.7e5]), np.array([77.7, -1.1e6])
    trace, mapped = run(X), run(X * factor + shift)
    condition = np.linalg.cond(trace.covariances).max()
    rounding = (4 * EPS * (np.abs(X) + np.abs(shift / factor))).max()
    assert_mapped(mapped, trace, factor, shift, tolerance=100 * condition * rounding, shift_error=rounding)
