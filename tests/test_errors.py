"""Known errors of measurement: the posterior of the true values' mixture (extreme deconvolution).

RATE is the probability with which a statistical test fails although all is well. That labels, likelihood and true
values have their law given the parameters is tested beside missing values (test_missing.py): a missing value is one of
infinite error.
"""

import math
from typing import Any

import numpy as np
import oracle
import pandas as pd
import polars as pl
import pytest
from harness import assert_p_values, assert_same_draws, assert_within_mcse, package_prior, some_niw
from latent_stories import LatentStory, p_values, some_gaps
from oracle import Finite, Floats
from scipy import stats
from scipy.special import logsumexp

import gibbs_gmm as gg
from gibbs_gmm.data import checked_errors

RATE = 1e-4
QUICK: dict[str, Any] = {"draws": 30, "warmup": 150, "chains": 2, "rng": 4, "threads": 1, "progress": False}


def two_kinds(N: int = 80) -> Floats:
    rng = np.random.default_rng(N)
    return rng.standard_normal((N, 2)) + 7.0 * (np.arange(N) % 2)[:, None]


# --- The posterior ---


def test_partitions_and_true_values_against_quadrature() -> None:
    # One column; only two values have errors, so that the true ones can be integrated on a grid.
    N, K, alpha, niw = 5, 3, 0.8, some_niw(1, 4.0)
    X = np.array([-1.5, -1.0, 0.2, 0.9, 1.4])[:, None]
    sd = np.array([0.0, 0.8, 0.0, 0.5, 0.0])[:, None]
    grid = np.linspace(-4.5, 4.5, 31)
    log_p, together = [], []
    for a in grid:
        for b in grid:
            V = X.copy()
            V[1, 0], V[3, 0] = X[1, 0] + 0.8 * a, X[3, 0] + 0.5 * b
            exact = oracle.enumerate_posterior(V, niw, Finite(K, alpha))
            log_p.append(exact.log_evidence - 0.5 * (a * a + b * b))
            together.append(exact.co_clustering)
    p = np.exp(np.array(log_p) - logsumexp(log_p))
    truth = np.tensordot(p, np.array(together), axes=1)
    without = oracle.enumerate_posterior(X, niw, Finite(K, alpha)).co_clustering
    assert np.abs(truth - without).max() > 0.01
    settings = {"draws": 20_000, "warmup": 200, "thin": 4, "rng": 21, "threads": 1, "progress": False}
    trace = gg.fit(X, gg.FiniteMixture(K, concentration=alpha), prior=package_prior(niw), errors=sd, **settings)
    assert trace.assignments is not None
    z = trace.assignments
    for i in range(N):
        for j in range(i):
            assert_within_mcse(z[..., i] == z[..., j], truth[i, j], min_ess=5000, name=f"p(z_{i} = z_{j})")


FINITE = gg.FiniteMixture(3, concentration=0.8)


def some_errors(kind: str, N: int, D: int) -> Floats:
    """Variances of columns or of all values, or matrices."""
    rng = np.random.default_rng([N, D])
    if kind == "of columns":
        return np.linspace(0.0, 1.5, D)
    if kind == "of all values":
        return 2.0 * rng.random((N, D)) * (rng.random((N, D)) < 0.8)
    root = rng.standard_normal((N, D, D))
    return root @ root.transpose(0, 2, 1)


@pytest.mark.parametrize("kind", ["of columns", "of all values", "matrices"])
def test_sweeps_leave_the_prior_invariant(kind: str) -> None:
    gaps = some_gaps(8, 2, 0.3)
    assert_p_values(p_values(LatentStory("full", FINITE, gaps, some_errors(kind, 8, 2))), RATE)


@pytest.mark.parametrize("name", ["tied", "diag", "spherical"])
def test_sweeps_leave_every_family_invariant(name: str) -> None:
    gaps = some_gaps(8, 2, 0.0)
    assert_p_values(p_values(LatentStory(name, FINITE, gaps, some_errors("of all values", 8, 2))), RATE)


def test_the_density_of_true_values_is_recovered() -> None:
    rng = np.random.default_rng(8)
    N = 1500
    truth = np.where(rng.random(N) < 0.4, rng.normal(-2.0, 0.5, N), rng.normal(1.5, 0.7, N))
    sd = rng.uniform(0.3, 1.2, N)
    X = truth + sd * rng.standard_normal(N)
    settings = {**QUICK, "draws": 150, "warmup": 300}
    grid = np.linspace(-5.0, 5.0, 201)
    right = 0.4 * stats.norm.pdf(grid, -2.0, 0.5) + 0.6 * stats.norm.pdf(grid, 1.5, 0.7)
    step, distance = grid[1] - grid[0], {}
    trace = gg.fit(X, 2, errors=sd, **settings)
    blurred = gg.fit(X, 2, **settings)
    for name, one in (("deconvolved", trace), ("blurred", blurred)):
        distance[name] = 0.5 * np.abs(np.exp(one.log_density(grid)) - right).sum() * step
    assert distance["deconvolved"] < 0.06 < 0.1 < distance["blurred"]
    noisy = np.exp(trace.log_density(grid, errors=[0.8]))
    wider = sum(w * stats.norm.pdf(grid, m, math.hypot(s, 0.8)) for w, m, s in ((0.4, -2.0, 0.5), (0.6, 1.5, 0.7)))
    assert 0.5 * np.abs(noisy - wider).sum() * step < 0.05


# --- Arguments ---


def test_no_error_gives_the_same_bytes() -> None:
    X = two_kinds()
    trace = gg.fit(X, 2, **QUICK)
    for none in (np.zeros(2), np.zeros((80, 2)), np.zeros((80, 2, 2))):
        assert_same_draws(trace, gg.fit(X, 2, errors=none, **QUICK))


def test_forms_of_the_same_errors_give_the_same_draws() -> None:
    X, sd = two_kinds(), np.array([0.5, 0.0])
    trace = gg.fit(X, 2, errors=sd, **QUICK)
    many = gg.fit(X, 2, errors=np.tile(sd, (80, 1)), **QUICK)
    assert_same_draws(trace, many)
    matrices = gg.fit(X, 2, errors=np.tile(np.diag(sd**2), (80, 1, 1)), **QUICK)
    np.testing.assert_array_equal(matrices.assignments, trace.assignments)
    np.testing.assert_allclose(matrices.log_likelihood, trace.log_likelihood, rtol=1e-9)
    assert "Values were measured with errors" in trace.settings["notes"][0]


def test_threads_and_interruptions_change_no_byte(tmp_path: Any) -> None:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(40_000, 2)) + 6.0 * (np.arange(40_000) % 2)[:, None]
    sd = rng.uniform(0.1, 0.5, X.shape)
    settings = {**QUICK, "draws": 4, "warmup": 10, "chains": 1, "errors": sd}
    assert_same_draws(gg.fit(X, 2, **settings), gg.fit(X, 2, **{**settings, "threads": 3}))
    settings = {**QUICK, "errors": sd[:80]}
    whole = gg.fit(X[:80], **settings)
    gg.fit(X[:80], **{**settings, "draws": 12}, checkpoint=tmp_path / "run")
    with pytest.raises(ValueError, match="is of data with other measurement errors"):
        gg.fit(X[:80], **{**settings, "errors": sd[80:160]}, checkpoint=tmp_path / "run")
    assert_same_draws(whole, gg.resume(tmp_path / "run", draws=30, progress=False))


def test_default_prior_is_of_true_values() -> None:
    rng = np.random.default_rng(2)
    V = rng.normal(0.0, [1.0, 2.0], (5000, 2))
    X = V + np.array([1.0, 0.5]) * rng.standard_normal((5000, 2))
    one, other = (
        gg.fit(x, 1, **{**QUICK, "draws": 2, "warmup": 5, **more}).prior
        for x, more in ((V, {}), (X, {"errors": [1.0, 0.5]}))
    )
    np.testing.assert_allclose(one.Psi_0, other.Psi_0, rtol=0.1)


BAD = {
    "shape": (
        np.ones(3),
        ValueError,
        r"errors must be standard deviations of shape \(2,\) or \(80, 2\), .* got \(3,\)",
    ),
    "negative": ([0.1, -0.2], ValueError, r"errors must not be negative, got -0.2 at \[1\]"),
    "NaN": ([0.1, np.nan], ValueError, r"errors must be finite, got nan at \[1\]"),
    "infinite": (np.full((80, 2), np.inf), ValueError, r"errors must be finite, got inf at \[0, 0\]"),
    "text": ([["a", "b"]] * 80, TypeError, "errors must hold real numbers"),
    "a set": ({0.1, 0.2}, TypeError, r"errors must hold real numbers, got a set: pass list\(errors\)"),
    "ragged": ([[0.1], [0.1, 0.2]], ValueError, "errors must hold real numbers, got rows of different lengths"),
    "null": ([0.1, None], ValueError, r"errors must be finite, got nan at \[1\]"),
    "masked": (np.ma.masked_array([0.1, 0.2], mask=[0, 1]), ValueError, r"errors must be finite, got nan at \[1\]"),
    "huge": (
        [1e200, 1.0],
        ValueError,
        r"errors must be 0, or standard deviations between 1e-140 and 1e\+140",
    ),
    "tiny": (
        np.tile(np.eye(2) * 1e-300, (80, 1, 1)),
        ValueError,
        "errors must be 0, or standard deviations .* got 1e-150",
    ),
    "not symmetric": (
        np.tile([[1.0, 0.5], [0.0, 1.0]], (80, 1, 1)),
        ValueError,
        "errors must be symmetric, and the matrix of row 0 is not",
    ),
    "not positive": (
        np.tile([[1.0, 2.0], [2.0, 1.0]], (80, 1, 1)),
        ValueError,
        "errors must be positive definite but for columns of zeros, and the matrix of row 0 is not",
    ),
    "stray": (np.tile([[1.0, 0.1], [0.1, 0.0]], (80, 1, 1)), ValueError, "positive definite but for columns of zeros"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_errors_are_named(kind: str) -> None:
    bad, error, message = BAD[kind]
    with pytest.raises(error, match=message):
        gg.fit(two_kinds(), 2, errors=bad, **QUICK)


def test_errors_have_the_names_of_columns() -> None:
    X, sd = two_kinds(), np.random.default_rng(3).uniform(0.1, 0.5, (80, 2))
    columns, matrices = ["a", "b"], sd[:, :, None] ** 2 * np.eye(2)
    frame, few = pd.DataFrame(X, columns=columns), {**QUICK, "draws": 2, "warmup": 5}
    trace, one = gg.fit(frame, 2, errors=sd, **few), gg.fit(frame, 2, errors=[0.1, 0.4], **few)
    named = pd.DataFrame(sd, columns=columns)
    for errors in (
        named[["b", "a"]],
        pl.DataFrame({"b": sd[:, 1], "a": sd[:, 0]}),
        pd.DataFrame(sd),
        sd.astype(object),
    ):
        assert_same_draws(gg.fit(frame, 2, errors=errors, **few), trace)
    assert_same_draws(gg.fit(frame, 2, errors=named.astype("Float64"), **few), trace)
    for errors in (pd.Series({"b": 0.4, "a": 0.1}), {"b": 0.4, "a": 0.1}, pd.Series([0.1, 0.4])):
        assert_same_draws(gg.fit(frame, 2, errors=errors, **few), one)
    for wrong in (named.rename(columns={"b": "c"}), pd.Series({"a": 0.1, "z": 0.4}), {"a": 0.1}):
        with pytest.raises(ValueError, match=r"errors must have the columns of X, \['a', 'b'\], got \['a'"):
            gg.fit(frame, 2, errors=wrong, **few)
    # Rows whose columns come in another order: so do errors, unless these have names.
    density, turned = trace.log_density(frame, errors=sd), frame[["b", "a"]]
    for errors in (sd[:, ::-1], named, matrices[:, ::-1, ::-1]):
        np.testing.assert_allclose(trace.log_density(turned, errors=errors), density, rtol=1e-12)


def test_errors_of_missing_values_do_not_matter() -> None:
    X = two_kinds(6)
    X[2, 1] = np.nan
    sd = np.ones((6, 2))
    sd[2, 1] = np.nan
    found = checked_errors(sd, X, ("a", "b"))
    assert found is not None
    assert found[2, 1] == 0.0
    matrices = checked_errors(np.where(np.isnan(sd), np.nan, 1.0)[:, :, None] * np.eye(2), X, ("a", "b"))
    assert matrices is not None
    assert (matrices[2] == [[1.0, 0.0], [0.0, 0.0]]).all()
