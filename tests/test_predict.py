"""Posterior predictive densities, probabilities and rows: direct averages, exact answers, and what bad input gets."""

import dataclasses
import functools
import itertools
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import oracle
import pandas as pd
import polars as pl
import pytest
from harness import EPS, assert_p_values, assert_within_mcse, package_prior, some_niw
from oracle import Floats, Ints
from scipy import stats
from scipy.special import logsumexp

import gibbs_gmm as gg
from gibbs_gmm.kernels.tile import log2
from gibbs_gmm.posterior import near_rows, predict
from gibbs_gmm.posterior.matched import checked_data

RATE = 1e-4
QUICK: dict[str, Any] = {"draws": 12, "warmup": 50, "thin": 1, "chains": 2, "rng": 1, "threads": 1, "progress": False}


def rows(N: int, D: int, seed: int = 0) -> Floats:
    """Two clusters that overlap, N rows in all."""
    rng = np.random.default_rng([seed, N, D])
    return rng.standard_normal((N, D)) + np.where(np.arange(N) % 3, 2.5, -2.5)[:, None]


KINDS: dict[str, tuple[Any, int, dict[str, Any]]] = {
    "n known": (3, 2, {}),
    "n known, components empty": (gg.FiniteMixture(8, 0.2), 2, {}),
    "n unknown": (None, 2, {}),
    "n unknown, D = 1": (None, 1, {}),
    "n unknown, D = 5": (None, 5, {}),
    "Dirichlet process": (gg.DirichletProcess(1.0), 2, {}),
    "Pitman-Yor process": (gg.PitmanYorProcess(0.5, 0.3), 3, {}),
    "one component": (1, 2, {}),
    "one component, D = 1": (1, 1, {}),
    "fixed prior": (None, 2, {"prior": package_prior(some_niw(2))}),
    "kappa_0 learned": (None, 2, {"prior": gg.NormalInverseWishart([0, 0], 0.1, 4, np.eye(2), kappa_0_shape=2.0)}),
    "one chain": (None, 2, {"chains": 1}),
    "one draw": (None, 2, {"chains": 1, "draws": 1}),
}


@lru_cache
def trace_of(kind: str) -> gg.Trace:
    n_components, D, changes = KINDS[kind]
    return gg.fit(rows(40, D), n_components, **{**QUICK, **changes})


def labels_of(trace: gg.Trace) -> Ints:
    return (np.arange(trace.settings["n_observations"]) % 3 > 0).astype(np.int64)


def hyperparameters(trace: gg.Trace, c: int, t: int) -> tuple[float, Floats]:
    kappa_0 = trace.prior.kappa_0 if trace.kappa_0 is None else trace.kappa_0[c, t]
    return kappa_0, trace.prior.Psi_0 if trace.Psi_0 is None else trace.Psi_0[c, t]


def direct(trace: gg.Trace, X: Floats) -> list[list[Floats]]:
    """Log density of rows (N,) under every draw, by SciPy alone."""
    C, T, K, D = trace.means.shape
    nu = trace.prior.nu_0 - D + 1
    result = []
    for c, t in itertools.product(range(C), range(T)):
        terms = []
        for k in range(K):
            if np.isfinite(trace.means[c, t, k]).all():
                normal = stats.multivariate_normal(trace.means[c, t, k], trace.covariances[c, t, k])
                terms.append(np.log(trace.weights[c, t, k]) + np.reshape(normal.logpdf(X), len(X)))
        n_held = K if trace.n_is_known else trace.n_clusters[c, t]
        assert len(terms) == n_held
        process = isinstance(trace.weight_prior, gg.DirichletProcess | gg.PitmanYorProcess)
        rest = 1 - trace.weights[c, t].sum()  # rounding may leave nothing of it
        if rest > 0 and (process or trace.n_components[c, t] > n_held):
            kappa_0, Psi_0 = hyperparameters(trace, c, t)
            prior = stats.multivariate_t(trace.prior.mu_0, Psi_0 * (kappa_0 + 1) / (kappa_0 * nu), nu)
            terms.append(np.log(rest) + np.reshape(prior.logpdf(X), len(X)))
        result.append(terms)
    return result


def averages(values: list[list[Floats]]) -> tuple[Floats, Floats]:
    """Log density by draw (C T, N), and of the average over draws (N,)."""
    by_draw = np.array([logsumexp(terms, axis=0) for terms in values])
    return by_draw, np.asarray(logsumexp(by_draw, axis=0) - np.log(len(by_draw)))


# --- Densities ---


def test_log2() -> None:
    x = np.concatenate([1 + np.geomspace(1e-17, 1, 2000), np.geomspace(1, 1e300, 2000), [np.sqrt(2), 2.0, 4.0]])
    found = np.array([log2(value) for value in x])
    np.testing.assert_allclose(found, np.log2(x), rtol=4 * EPS, atol=4 * EPS)


@pytest.mark.parametrize("kind", KINDS)
def test_densities_against_scipy(kind: str) -> None:
    trace = trace_of(kind)
    # More than one tile of rows, some of them far outside, where components without observations matter.
    X = rows(150, trace.prior.n_features, 1) * np.where(np.arange(150) % 10, 1.0, 10.0)[:, None]
    by_draw, average = averages(direct(trace, X))
    # Squares of coordinates over standard deviations, some of which are small.
    tolerance = 1e-12 * (1 + np.abs(by_draw).max(0))
    pointwise = trace.pointwise_log_density(X)
    assert pointwise.shape == (*trace.n_clusters.shape, 150)
    assert (np.abs(pointwise.reshape(by_draw.shape) - by_draw) <= tolerance).all()
    assert (np.abs(trace.log_density(X) - average) <= tolerance).all()


@pytest.mark.parametrize("kind", ["n known", "n known, components empty", "one component"])
def test_pointwise_sums_to_the_log_likelihood(kind: str) -> None:
    n_components, D, changes = KINDS[kind]
    X = rows(40, D)  # taken as exact: else the likelihood is the average over the cells of the values
    trace = gg.fit(X, n_components, resolution=0.0, **{**QUICK, **changes})
    np.testing.assert_allclose(trace.pointwise_log_density(X).sum(-1), trace.log_likelihood, rtol=1e-12)


def test_far_from_the_origin_and_far_from_the_data() -> None:
    X = rows(40, 2)
    shift = np.array([2.0**30, -(2.0**30)])
    prior = gg.NormalInverseWishart([0, 0], 0.1, 4, np.eye(2))
    moved = gg.NormalInverseWishart(shift, 0.1, 4, np.eye(2))
    here, there = gg.fit(X, 2, prior=prior, **QUICK), gg.fit(X + shift, 2, prior=moved, **QUICK)
    # Means are held to 2^-22 there; log densities have gradients of a few.
    np.testing.assert_allclose(there.log_density(X + shift), here.log_density(X), atol=1e-5)
    far = here.log_density(np.array([[1e100, 0.0], [1e139, -1e139]]))
    assert (far < -1e150).all()
    assert not np.isnan(far).any()


@pytest.mark.parametrize("kind", ["n known", "n unknown", "Pitman-Yor process", "n unknown, D = 5"])
def test_threads_and_companions_change_nothing(kind: str) -> None:
    trace = trace_of(kind)
    X = rows(700, trace.prior.n_features, 2)
    one = trace.log_density(X, threads=1)
    np.testing.assert_array_equal(trace.log_density(X, threads=3), one)
    np.testing.assert_array_equal(trace.log_density(X[300:303]), one[300:303])
    pointwise = trace.pointwise_log_density(X, threads=1)
    np.testing.assert_array_equal(trace.pointwise_log_density(X, threads=4), pointwise)
    proba = trace.predict_proba(X, labels_of(trace), threads=1)
    np.testing.assert_array_equal(trace.predict_proba(X, labels_of(trace), threads=3), proba)
    np.testing.assert_array_equal(trace.predict_proba(X[9:10], labels_of(trace)), proba[9:10])


def test_blocks_of_draws_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    trace = trace_of("n unknown")
    X = rows(200, 2, 3)
    whole = trace.log_density(X), trace.pointwise_log_density(X), trace.predict_proba(X, labels_of(trace))
    monkeypatch.setattr(predict, "_BLOCK_BYTES", 0)
    parts = trace.log_density(X), trace.pointwise_log_density(X), trace.predict_proba(X, labels_of(trace))
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(a, b)


def integral(trace: gg.Trace, points: int) -> float:
    """The integral of the predictive density: trapezoids in u, x = 2 sinh u, which converge geometrically."""
    u = np.linspace(-14.0, 14.0, points)
    D = trace.prior.n_features
    grid = np.stack(np.meshgrid(*[2 * np.sinh(u)] * D, indexing="ij"), -1).reshape(-1, D)
    jacobian = np.prod(np.stack(np.meshgrid(*[2 * np.cosh(u)] * D, indexing="ij"), -1).reshape(-1, D), axis=1)
    return float((np.exp(trace.log_density(grid)) * jacobian).sum() * (u[1] - u[0]) ** D)


@pytest.mark.parametrize("kind", ["n unknown, D = 1", "one component, D = 1", "n unknown", "Dirichlet process"])
def test_integrates_to_one(kind: str) -> None:
    trace = trace_of(kind)
    assert abs(integral(trace, 2001 if trace.prior.n_features == 1 else 601) - 1.0) < 1e-6


def test_unoccupied_components_are_missed_where_they_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    trace = trace_of("Dirichlet process")
    monkeypatch.setattr(predict, "rest_weight", lambda trace: np.zeros(trace.n_clusters.size))
    assert integral(trace, 601) < 0.99


def test_one_component_is_a_multivariate_t() -> None:
    D, niw = 2, some_niw(2)
    X, new = rows(12, D), rows(6, D, 1)
    trace = gg.fit(X, 1, prior=package_prior(niw), draws=10_000, warmup=1, chains=2, rng=1, progress=False)
    post = oracle.niw_posterior(X, niw)
    nu = post.nu_0 - D + 1
    exact = stats.multivariate_t(post.mu_0, post.Psi_0 * (post.kappa_0 + 1) / (post.kappa_0 * nu), nu).logpdf(new)
    density = np.exp(trace.pointwise_log_density(new))
    for i in range(len(new)):
        assert_within_mcse(density[..., i], np.exp(exact[i]), name=f"density of row {i}")
    se = density.std(axis=(0, 1)) / np.sqrt(density[..., 0].size)  # draws of one component are independent
    assert (np.abs(np.exp(trace.log_density(new)) - np.exp(exact)) <= 4 * se).all()


# --- Exact answers: all partitions of the rows and a new one ---

PRIORS: dict[str, tuple[Any, Any]] = {
    "finite": (oracle.Finite(3, 0.7), gg.FiniteMixture(3, 0.7)),
    "static": (
        oracle.StaticMFM(0.8, np.full(6, 1 / 6)),
        gg.MixtureOfFiniteMixtures(stats.randint(1, 7), 0.8, dynamic=False),
    ),
    "dynamic": (
        oracle.DynamicMFM(1.5, np.full(6, 1 / 6)),
        gg.MixtureOfFiniteMixtures(stats.randint(1, 7), 1.5, dynamic=True),
    ),
    "DP": (oracle.DP(1.2), gg.DirichletProcess(1.2)),
    "PY": (oracle.PY(0.6, 0.3), gg.PitmanYorProcess(0.6, 0.3)),
}


@pytest.mark.parametrize("name", PRIORS)
def test_exact_density_and_probabilities(name: str) -> None:
    """p(x | X) = p(X, x) / p(X), and where the new row is: the sum over partitions, against 20 chains."""
    exact_prior, prior = PRIORS[name]
    niw, X, labels = some_niw(1), np.array([[-1.1], [-0.9], [-0.3], [0.8], [1.0]]), np.array([0, 0, 0, 1, 1])
    trace = gg.fit(X, prior, prior=package_prior(niw), draws=400, warmup=200, thin=3, chains=20, rng=3, progress=False)
    log_evidence = oracle.enumerate_posterior(X, niw, exact_prior).log_evidence
    p_values = {}
    for x in (-1.0, 0.4, 5.0):
        new = np.array([[x]])
        posterior = oracle.enumerate_posterior(np.vstack([X, new]), niw, exact_prior)
        exact = np.zeros(3)
        for z, p in zip(posterior.partitions, posterior.probability, strict=True):
            fellows = labels[z[:-1] == z[-1]]
            exact[np.bincount(fellows, minlength=2).argmax() if len(fellows) else 2] += p
        density = np.exp(trace.pointwise_log_density(new))[..., 0]
        assert_within_mcse(density, np.exp(posterior.log_evidence - log_evidence), name=f"density at {x}")
        found = np.array([chain(trace, c).predict_proba(new, labels)[0] for c in range(20)])
        p_values |= {f"cluster {j} at {x}": stats.ttest_1samp(found[:, j], exact[j]).pvalue for j in range(3)}
    assert_p_values(p_values, RATE)


def chain(trace: gg.Trace, c: int) -> gg.Trace:
    """One chain of a trace."""
    values = {field.name: getattr(trace, field.name) for field in dataclasses.fields(trace)}
    return gg.Trace(**{k: v[c : c + 1] if isinstance(v, np.ndarray) else v for k, v in values.items()})


# --- Probabilities and labels ---


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_against_scipy(kind: str) -> None:
    trace = trace_of(kind)
    labels, X = labels_of(trace), rows(20, trace.prior.n_features, 4)
    C, T, K = trace.weights.shape
    mass = np.zeros((20, 3))
    for (c, t), terms in zip(itertools.product(range(C), range(T)), direct(trace, X), strict=True):
        assert trace.assignments is not None
        for k, log_p in enumerate(terms):
            fellows = labels[trace.assignments[c, t] == k] if k < K else labels[:0]
            mass[:, np.bincount(fellows, minlength=2).argmax() if len(fellows) else 2] += np.exp(log_p)
    expected = mass / mass.sum(1, keepdims=True)
    found = trace.predict_proba(X, labels)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.sum(1), 1.0, rtol=8 * EPS)
    np.testing.assert_array_equal(trace.predict(X, labels), np.array([0, 1, -1])[expected.argmax(1)])


@pytest.mark.filterwarnings("ignore:partition.*The rows fall into")  # more components than clusters are wanted here
@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_of_matched_components(kind: str) -> None:
    trace = trace_of(kind)
    X, matched = rows(20, trace.prior.n_features, 4), trace.relabel()
    C, T, _ = trace.weights.shape
    J = matched.n_matched
    mass = np.zeros((20, J + 1))
    for (c, t), terms in zip(itertools.product(range(C), range(T)), direct(trace, X), strict=True):
        if not matched.counted[c, t]:
            continue  # a draw with another number of components
        place = np.append(np.minimum(np.argsort(matched.permutation[c, t]), J), J)
        n_held = np.isfinite(trace.means[c, t, :, 0]).sum()
        for k, log_p in enumerate(terms):
            mass[:, place[k] if k < n_held else J] += np.exp(log_p)
    found = trace.predict_proba(X, matched)
    np.testing.assert_allclose(found, mass / mass.sum(1, keepdims=True), rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(trace.predict(X, matched) % (J + 1), found.argmax(1))
    for default in (None, trace.partition()):
        np.testing.assert_array_equal(trace.predict_proba(X, default), found)


@pytest.mark.parametrize("kind", ["n known, components empty", "Dirichlet process"])
def test_a_relabelled_trace_predicts_the_same(kind: str) -> None:
    trace = trace_of(kind)
    order = np.random.default_rng(4).permuted(trace.relabel().permutation, axis=-1)  # any order: unused slots anywhere
    X, other = rows(150, 2, 5), dataclasses.replace(trace.relabel(), permutation=order).trace
    if kind != "n known, components empty":
        empty = np.isnan(other.means[..., 0])
        assert (empty[..., :-1] & ~empty[..., 1:]).any(), "no unused slot comes before a component"
    np.testing.assert_allclose(other.log_density(X), trace.log_density(X), rtol=1e-12)
    np.testing.assert_allclose(other.pointwise_log_density(X), trace.pointwise_log_density(X), rtol=1e-12)
    proba = trace.predict_proba(X, labels_of(trace))
    np.testing.assert_allclose(other.predict_proba(X, labels_of(trace)), proba, rtol=1e-9)
    p_value = stats.ks_2samp(other.sample(2000, rng=1)[:, 0], trace.sample(2000, rng=2)[:, 0]).pvalue
    assert p_value > RATE / 2


def test_a_row_of_a_new_kind() -> None:
    trace = trace_of("Dirichlet process")
    assert trace.predict(np.array([[200.0, -200.0]]), labels_of(trace))[0] == -1


# --- Rows ---


@pytest.mark.parametrize("kind", KINDS)
def test_rows_have_the_predictive_distribution(kind: str) -> None:
    """Along a direction a, the predictive is a mixture of normals and of t's: Kolmogorov-Smirnov against it."""
    trace, n = trace_of(kind), 5000
    C, T, K, D = trace.means.shape
    X, nu = trace.sample(n, rng=5), trace.prior.nu_0 - D + 1
    assert X.shape == (n, D)
    a = np.array([1.0, -0.5, 0.3, 2.0, 0.7])[:D]
    terms = direct(trace, np.zeros((1, D)))

    def cdf(x: Floats) -> Floats:
        total = np.zeros_like(x)
        for (c, t), held in zip(itertools.product(range(C), range(T)), terms, strict=True):
            for k in range(len(held) - (held_prior := len(held) > (K if trace.n_is_known else trace.n_clusters[c, t]))):
                scale = np.sqrt(a @ trace.covariances[c, t, k] @ a)
                total += trace.weights[c, t, k] * stats.norm.cdf(x, a @ trace.means[c, t, k], scale)
            if held_prior:
                kappa_0, Psi_0 = hyperparameters(trace, c, t)
                scale = np.sqrt(a @ Psi_0 @ a * (kappa_0 + 1) / (kappa_0 * nu))
                total += (1 - trace.weights[c, t].sum()) * stats.t.cdf(x, nu, a @ trace.prior.mu_0, scale)
        return np.asarray(total / (C * T))

    assert stats.kstest(X @ a, cdf).pvalue > RATE / len(KINDS)


def test_sample_seeds() -> None:
    trace = trace_of("n unknown")
    first = trace.sample(100, rng=7)
    np.testing.assert_array_equal(trace.sample(100, rng=7), first)
    np.testing.assert_array_equal(trace.sample(100, rng=np.random.SeedSequence(7)), first)
    assert not np.array_equal(trace.sample(100, rng=8), first)


@pytest.mark.slow
@pytest.mark.parametrize("n_components", [3, None], ids=["n known", "n unknown"])
def test_coverage(n_components: int | None) -> None:
    """Intervals hold a new row as often as they say: parameters and data from the prior, 1000 times."""
    rng = np.random.default_rng(11)
    prior = gg.NormalInverseWishart([0.0], 0.3, 4.0, [[2.0]])
    weights = gg.FiniteMixture(3) if n_components else gg.MixtureOfFiniteMixtures(stats.randint(1, 5), 1.0)
    N, position = 15, []
    for _ in range(1000):
        n = 3 if n_components else int(rng.integers(1, 5))
        w = rng.dirichlet(np.full(n, 1.0 if n_components else 1.0 / n))
        Sigma = 2.0 / rng.chisquare(4.0, n)
        mu = rng.normal(0.0, np.sqrt(Sigma / 0.3))
        z = rng.choice(n, size=N + 1, p=w)
        x = rng.normal(mu[z], np.sqrt(Sigma[z]))
        trace = gg.fit(
            x[:N], weights, prior=prior, draws=300, warmup=200, thin=3, chains=1, rng=rng, threads=1, progress=False
        )
        position.append((trace.sample(999, rng=rng)[:, 0] < x[N]).sum() / 1000)
    p_values = {"uniform": stats.kstest(position, "uniform").pvalue}
    for level in (0.5, 0.9):
        inside = int((np.abs(np.array(position) - 0.4995) <= level / 2).sum())
        p_values[f"{level}"] = stats.binomtest(inside, 1000, level).pvalue
    assert_p_values(p_values, 1e-3)


# --- Input ---


def test_kinds_of_input(tmp_path: Path) -> None:
    X = rows(40, 2)
    frame = pd.DataFrame(X, columns=["a", "b"])
    trace = gg.fit(frame, None, **QUICK)
    new = rows(5, 2, 1).astype(np.float32).astype(float)
    expected, labels = trace.log_density(new), labels_of(trace)
    same: list[Any] = [new.tolist(), new.astype(np.float32), np.asfortranarray(new)]
    same += [pd.DataFrame(new, columns=["a", "b"]), pl.DataFrame(new, schema=["a", "b"])]
    for X_new in same:
        np.testing.assert_array_equal(trace.log_density(X_new), expected)
        np.testing.assert_array_equal(trace.pointwise_log_density(X_new), trace.pointwise_log_density(new))
        np.testing.assert_array_equal(trace.predict(X_new, labels), trace.predict(new, labels))
    trace.save(tmp_path / "trace")
    loaded = gg.load(tmp_path / "trace")
    np.testing.assert_array_equal(loaded.log_density(new), expected)
    np.testing.assert_array_equal(loaded.sample(10, rng=1), trace.sample(10, rng=1))
    np.testing.assert_array_equal(loaded.predict_proba(new, labels), trace.predict_proba(new, labels))


def test_one_column_and_float32_data() -> None:
    trace = gg.fit(rows(40, 1)[:, 0].astype(np.float32), None, **QUICK)
    x = np.linspace(-2, 2, 5)
    np.testing.assert_array_equal(trace.log_density(x), trace.log_density(x[:, None]))
    assert trace.log_density([0.5]).shape == (1,)


BAD: dict[str, tuple[Any, type[Exception], str]] = {
    "too many columns": (np.zeros((3, 3)), ValueError, r"X_new must have the 2 columns of the fit, got shape \(3, 3\)"),
    "one row as a vector": (np.zeros(2), ValueError, r"X_new must have the 2 columns of the fit, got shape \(2,\)"),
    "no rows": (np.zeros((0, 2)), ValueError, r"X_new must have at least 1 row, got shape \(0, 2\)"),
    "NaN": (np.array([[np.nan, np.nan]]), ValueError, "X_new must have a value in each row, got none in row 0"),
    "infinite": (np.array([[0.0, np.inf]]), ValueError, "X_new must be finite, got 1 infinite values, .* column 'b'"),
    "text": ([["1", "2"]], TypeError, "X_new must hold real numbers"),
    "huge": (np.array([[0.0, -1e150]]), ValueError, "X_new column 'b' is too large .* it reaches -1e.150"),
    "other columns": (
        pd.DataFrame(np.zeros((2, 2)), columns=["b", "c"]),
        ValueError,
        r"X_new must have the columns of the fit, \['a', 'b'\], got \['b', 'c'\]",
    ),
}


@pytest.mark.parametrize("case", BAD.values(), ids=list(BAD))
def test_bad_rows(case: tuple[Any, type[Exception], str]) -> None:
    X_new, error, message = case
    trace = gg.fit(pd.DataFrame(rows(40, 2), columns=["a", "b"]), 2, **QUICK)
    for method in (trace.log_density, lambda X: trace.predict_proba(X, labels_of(trace))):
        with pytest.raises(error, match=message):
            method(X_new)
    with pytest.raises(error, match=message.replace("X_new", "X")):
        trace.pointwise_log_density(X_new)


def test_columns_are_found_by_their_names() -> None:
    frame = pd.DataFrame(rows(40, 2), columns=["a", "b"])
    trace, other = gg.fit(frame, 2, **QUICK), frame[["b", "a"]]
    for method in (trace.log_density, trace.predict_proba, trace.pointwise_log_density):
        np.testing.assert_array_equal(method(other), method(frame))
    np.testing.assert_array_equal(checked_data(trace, other), frame.to_numpy())


def test_bad_arguments() -> None:
    trace = trace_of("n known")
    X = rows(3, 2)
    with pytest.raises(ValueError, match="threads must be at least 1, got 0"):
        trace.log_density(X, threads=0)
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        trace.sample(0)
    with pytest.raises(
        ValueError, match=r"reference must be a partition, a relabelling or 40 integer labels.*got shape \(3,\)"
    ):
        trace.predict(X, [0, 1, 2])
    with pytest.raises(ValueError, match=r"reference must hold labels 0, 1, \.\.\., got -1"):
        trace.predict(X, np.full(40, -1))
    without = gg.fit(rows(40, 2), 2, save_assignments=False, **QUICK)
    with pytest.raises(ValueError, match="save_assignments=True"):
        without.predict(X, labels_of(trace))


def test_a_covariance_that_is_not_positive_definite() -> None:
    trace = trace_of("n known")
    covariances = trace.covariances.copy()
    covariances[1, 3, 2] = [[1.0, 2.0], [2.0, 1.0]]
    with pytest.raises(
        gg.NumericalError, match="chain 1, draw 3: the covariance matrix of component 2 is not positive"
    ):
        dataclasses.replace(trace, covariances=covariances).log_density(rows(3, 2))


def test_rows_in_another_order_have_the_same_densities(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many rows are put in an order in which components are left out, few are not: the same bytes."""
    rng, K, D = np.random.default_rng(3), 9, 8
    X = 4.0 * rng.standard_normal((K, D))[rng.integers(K, size=2_500)] + rng.standard_normal((2_500, D))
    X[::50] *= 100.0
    known = gg.fit(X[:600], K, draws=6, warmup=10, chains=2, rng=1, threads=1, progress=False)
    unknown = dataclasses.replace(
        known, weights=0.99 * known.weights, n_components=known.n_components + 1,
        weight_prior=gg.MixtureOfFiniteMixtures(),
    )  # fmt: skip
    for trace in (known, unknown):
        labels = known.relabel()
        for name, axis in (("log_density", 0), ("pointwise_log_density", 2), ("predict_proba", 0)):
            ask = getattr(trace, name)
            if name == "predict_proba":
                ask = functools.partial(ask, reference=labels)
            whole = ask(X)
            pieces = np.concatenate([ask(X[i : i + 250]) for i in range(0, 2_500, 250)], axis=axis)
            assert whole.tobytes() == pieces.tobytes(), f"{name}: {np.count_nonzero(whole != pieces)} differ"
    ordered, nearest = known.log_density(X), near_rows.nearest
    given: list[int] = []

    def seen(*arguments: Any) -> None:
        given.append(1)
        nearest(*arguments)

    monkeypatch.setattr(near_rows, "nearest", seen)
    np.testing.assert_array_equal(known.log_density(X), ordered)
    assert given, "the rows are many enough"
    given.clear()
    monkeypatch.setattr(near_rows, "_MOST_NUMBERS", X.size - 1)
    np.testing.assert_array_equal(known.log_density(X), ordered)
    assert not given, "rows that are too many to be copied are read in place"
