"""Fits of rows that stand for several observations: the same as of repeated rows; what is refused."""

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness import assert_same_draws, estimate
from oracle import Floats, Ints
from scipy import stats

import gibbs_gmm as gg
from benchmarks.common import data_set
from gibbs_gmm.data import observations_of
from gibbs_gmm.sampler import chain as chains

# --- fit() ---

SETTINGS: dict[str, Any] = {"draws": 40, "warmup": 200, "chains": 2, "rng": 3, "threads": 1, "progress": False}


def folded(seed: int = 1, N: int = 400) -> tuple[Floats, Ints]:
    """Distinct rows of two rounded kinds in the plane, and how often each is there."""
    rng = np.random.default_rng(seed)
    X = np.round(4.0 * (rng.standard_normal((N, 2)) + 5.0 * (np.arange(N) % 2)[:, None])) / 4.0
    rows, counts = np.unique(X, axis=0, return_counts=True)
    return rows, counts


def test_statistics_and_default_priors_are_those_of_repeated_rows() -> None:
    X, counts = folded()
    ours, theirs = observations_of(X, counts), observations_of(np.repeat(X, counts, axis=0))
    np.testing.assert_allclose(ours.loc, theirs.loc, rtol=1e-13)
    np.testing.assert_allclose(ours.scale, theirs.scale, rtol=1e-13)
    np.testing.assert_array_equal(ours.sample, theirs.sample)
    for prior in (gg.NormalInverseWishart, gg.NormalInverseGamma):
        a, b = prior.from_data(X, counts=counts), prior.from_data(np.repeat(X, counts, axis=0))
        np.testing.assert_allclose(a.as_kernel(np.zeros(2)).scalars, b.as_kernel(np.zeros(2)).scalars, rtol=1e-12)


def test_counts_of_one_change_no_byte_and_of_zero_are_absent() -> None:
    X, _ = folded()
    plain = gg.fit(X, 2, **SETTINGS)
    ones = gg.fit(X, 2, counts=np.ones(len(X)), **SETTINGS)
    assert_same_draws(plain, ones)
    assert ones.counts is None
    more = np.vstack([X[:1] + 100.0, X, np.full((2, 2), np.nan)])
    absent = np.concatenate([[0], np.ones(len(X), np.int64), [0, 0]])
    trace = gg.fit(more, 2, counts=absent, **SETTINGS)
    assert_same_draws(plain, trace)
    np.testing.assert_array_equal(trace.counts, absent)
    assert trace.n_rows == len(X) == trace.assignments.shape[2]
    assert trace.settings["n_observations"] == len(X)


def test_threads_folders_and_files_change_no_byte(tmp_path: Path) -> None:
    X, counts = folded()
    trace = gg.fit(X, counts=counts, **SETTINGS)
    assert_same_draws(trace, gg.fit(X, counts=counts.astype(float).tolist(), **{**SETTINGS, "threads": 2}))
    gg.fit(X, counts=counts, checkpoint=tmp_path / "run", **{**SETTINGS, "draws": 15})
    resumed = gg.resume(tmp_path / "run", draws=40, progress=False)
    assert_same_draws(trace, resumed)
    np.testing.assert_array_equal(resumed.counts, counts)
    other = counts.copy()
    other[:2] += [1, -1] if counts[1] > 1 else [1, 0]
    with pytest.raises(ValueError, match="other counts of the same rows"):
        gg.fit(X, counts=other, checkpoint=tmp_path / "run", **SETTINGS)
    trace.save(tmp_path / "trace.npz")
    loaded = gg.load(tmp_path / "trace.npz")
    assert_same_draws(trace, loaded)
    np.testing.assert_array_equal(loaded.counts, counts)
    assert f"{counts.sum()} observations in {len(X)} rows" in repr(loaded)


def test_shards_of_many_rows_are_the_same_on_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chains, "_SHARE_SECONDS", 0.0)  # share the rows of every sweep, however fast
    monkeypatch.setattr(chains, "_BATCH_SECONDS", 0.0)  # but of the first batch, whose speed is not known
    N = 40_000
    X = np.random.default_rng(1).standard_normal((N, 2)) + 6.0 * (np.arange(N) % 2)[:, None]
    counts = 1 + np.arange(N) % 5
    settings = {**SETTINGS, "draws": 2, "warmup": 6, "chains": 1}
    for weights in (2, gg.DirichletProcess()):
        one, two = (gg.fit(X, weights, counts=counts, **{**settings, "threads": n}) for n in (1, 2))
        assert_same_draws(one, two)


def test_the_log_likelihood_weighs_rows_by_their_counts() -> None:
    X, counts = folded()
    trace = gg.fit(X, 2, counts=counts, resolution=0.0, **SETTINGS)
    pointwise = trace.pointwise_log_density(X)
    np.testing.assert_allclose(trace.log_likelihood, pointwise @ counts, rtol=1e-10)
    partition = trace.partition()
    assert partition.sizes.sum() == counts.sum()
    assert np.abs(partition.sizes - 200).max() <= 3


def test_a_billion_observations() -> None:
    edges = np.linspace(-8.0, 8.0, 161)
    centres = 0.5 * (edges[1:] + edges[:-1])
    shares = 0.3 * np.diff(stats.norm(-2.0, 1.0).cdf(edges)) + 0.7 * np.diff(stats.norm(2.0, 0.8).cdf(edges))
    counts = np.round(1e9 * shares).astype(np.int64)
    trace = gg.fit(centres, 2, counts=counts, **SETTINGS)
    w, mu = trace.weights, trace.means[..., 0]
    order = np.argsort(mu, axis=-1)
    w, mu = (np.take_along_axis(array, order, -1)[:, -1].mean(0) for array in (w, mu))
    sigma = np.sqrt(np.take_along_axis(trace.covariances[..., 0, 0], order, -1)[:, -1].mean(0))
    np.testing.assert_allclose(w, [0.3, 0.7], atol=1e-3)
    np.testing.assert_allclose(mu, [-2.0, 2.0], atol=1e-2)
    np.testing.assert_allclose(sigma, [1.0, 0.8], atol=1e-2)


def test_a_fit_of_folded_rows_agrees_with_that_of_repeated_ones() -> None:
    iris = data_set("iris")[0]
    X, counts = np.unique(np.round(5.0 * iris) / 5.0, axis=0, return_counts=True)
    repeated = np.repeat(X, counts, axis=0)
    prior = gg.NormalInverseWishart(iris.mean(0), 0.01, 6, np.cov(iris.T) / 3**0.5, resolution=0.2)
    weights = gg.MixtureOfFiniteMixtures(stats.randint(1, 6), 1.0, dynamic=False)
    settings = {"draws": 3000, "warmup": 1500, "thin": 4, "rng": 4, "threads": 1, "progress": False, "prior": prior}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        ours, theirs = gg.fit(X, weights, counts=counts, **settings), gg.fit(repeated, weights, **settings)
    sums = {
        "log likelihood": lambda trace: trace.log_likelihood,
        "largest weight": lambda trace: np.nanmax(trace.weights, axis=-1),
        **{f"p(n+ = {t})": lambda trace, t=t: trace.n_clusters == t for t in (2, 3)},
        **{f"p(n = {n})": lambda trace, n=n: trace.n_components == n for n in (2, 3, 4)},
    }
    for name, of in sums.items():
        a, b = estimate(of(ours)), estimate(of(theirs))
        assert min(a.ess, b.ess) > 300, name
        assert abs(a.mean - b.mean) < 4.0 * math.hypot(a.se, b.se), (name, a, b)


# --- What is refused ---


@pytest.mark.parametrize(
    ("counts", "kind", "message"),
    [
        ([1.5] * 6, ValueError, "whole numbers of observations, got 1.5 in row 0: round them, or multiply"),
        ([1, 2, -1, 1, 1, 1], ValueError, "counts must be 0 or more, got -1 in row 2"),
        ([1, np.nan, 1, 1, 1, 1], ValueError, "counts must be 0 or more, got NaN in row 1"),
        ([1, np.inf, 1, 1, 1, 1], ValueError, "got an infinite value in row 1"),
        ([1, 2], ValueError, r"counts must have shape \(6,\), one for each row of X, got \(2,\)"),
        (2, ValueError, r"counts must have shape \(6,\)"),
        ([0] * 6, ValueError, "counts are all zero"),
        ([0, 1, 0, 0, 0, 0], ValueError, "at least 2 observations, got 1"),
        ([2**52] * 6, ValueError, r"at most 2\^53"),
        (["a"] * 6, TypeError, "counts must hold whole numbers"),
        ([True] * 6, TypeError, "counts must hold whole numbers"),
        (np.ma.masked_array([1] * 6, mask=[0, 0, 1, 0, 0, 0]), ValueError, "0 or more, got NaN in row 2"),
        ({0: 1}, TypeError, "counts must hold whole numbers"),
    ],
)
def test_bad_counts_are_named(counts: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        gg.fit(np.arange(12.0).reshape(6, 2), 2, counts=counts, progress=False)


def test_other_names_for_counts() -> None:
    with pytest.raises(TypeError, match=r"'sample_weight' \(did you mean counts\?\)"):
        gg.fit(np.arange(12.0).reshape(6, 2), 2, sample_weight=[1] * 6)


def test_what_a_trace_with_counts_cannot_say() -> None:
    X, counts = folded()
    trace = gg.fit(X, 2, counts=counts, **SETTINGS)
    with pytest.raises(ValueError, match="with counts cannot be checked"):
        trace.check(X)


def test_repeated_rows_are_meant() -> None:
    rng = np.random.default_rng(2)
    X, counts = rng.standard_normal((60, 2)), np.full(60, 3)
    with pytest.warns(UserWarning, match="repeated rows"):
        gg.fit(np.repeat(X, counts, axis=0), 1, **{**SETTINGS, "draws": 2, "warmup": 2})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gg.fit(X, 1, counts=counts, **{**SETTINGS, "draws": 2, "warmup": 2})
