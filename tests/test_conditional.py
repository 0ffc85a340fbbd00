"""Conditional densities: ratios of joint densities by SciPy, quadrature, exact answers, and what bad input gets."""

import dataclasses
import doctest
import itertools
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import oracle
import pandas as pd
import polars as pl
import pytest
from harness import assert_p_values, package_prior, some_niw
from oracle import Floats
from scipy import optimize, special, stats
from test_predict import RATE, chain, rows

import gibbs_gmm as gg
from gibbs_gmm.posterior import conditional as module
from gibbs_gmm.posterior.conditional_components import Components, Given
from gibbs_gmm.posterior.matched import marginal
from gibbs_gmm.posterior.mixture_quantiles import quantiles, t_cdf

QUICK: dict[str, Any] = {"draws": 12, "warmup": 50, "thin": 1, "chains": 2, "rng": 1, "threads": 1, "progress": False}
_STATIC = gg.MixtureOfFiniteMixtures(stats.randint(1, 7), 0.8, dynamic=False)

KINDS: dict[str, tuple[Any, str]] = {
    "full, n known": (3, "full"),
    "full, n unknown": (None, "full"),
    "full, components empty": (gg.FiniteMixture(8, 0.2), "full"),
    "full, Pitman-Yor process": (gg.PitmanYorProcess(0.5, 0.3), "full"),
    "tied, n known": (3, "tied"),
    "tied, Dirichlet process": (gg.DirichletProcess(1.0), "tied"),
    "diag, n unknown": (None, "diag"),
    "diag, Pitman-Yor process": (gg.PitmanYorProcess(0.5, 0.3), "diag"),
    "spherical, static": (_STATIC, "spherical"),
    "spherical, Dirichlet process": (gg.DirichletProcess(1.0), "spherical"),
}
UNKNOWN = ("full, Pitman-Yor process", "tied, Dirichlet process", "diag, Pitman-Yor process")
SETS = ((), (1,), (2, 0))
"""Columns that are given, of three."""


@lru_cache
def trace_of(kind: str) -> gg.Trace:
    n_components, covariance_type = KINDS[kind]
    return gg.fit(rows(40, 3), n_components, covariance_type=covariance_type, **QUICK)


def free(given: tuple[int, ...]) -> list[int]:
    return [column for column in range(3) if column not in given]


def new_rows(M: int) -> Floats:
    """Rows like those of the fit, and every third far outside, where components without observations matter."""
    return rows(M, 3, 1) * np.where(np.arange(M) % 3, 1.0, 8.0)[:, None]


def ask(trace: gg.Trace, given: tuple[int, ...], X: Floats) -> module.Conditional:
    return trace.conditional({column: X[:, column] for column in given})


# --- What SciPy says ---


def pieces(trace: gg.Trace) -> list[tuple[float, str, Floats, Floats, float]]:
    """Weight, law, centre, scale and degrees of freedom of all components of all draws, averaged over draws."""
    C, T, _, D = trace.means.shape
    prior, result = trace.prior, []
    for c, t in itertools.product(range(C), range(T)):
        held = np.flatnonzero(np.isfinite(trace.means[c, t, :, 0]))
        for k in held:
            result.append((trace.weights[c, t, k], "normal", trace.means[c, t, k], trace.covariances[c, t, k], np.inf))
        rest = 1.0 - trace.weights[c, t].sum()
        if rest <= 0.0 or (trace.weight_prior.n_is_finite and trace.n_components[c, t] == len(held)):
            continue
        kappa_0 = prior.kappa_0 if trace.kappa_0 is None else trace.kappa_0[c, t]
        factor = (kappa_0 + 1.0) / kappa_0
        if isinstance(prior, gg.NormalInverseGamma):
            b_0 = prior.b_0 if trace.b_0 is None else trace.b_0[c, t]
            law = "joint" if prior.covariance_type == "spherical" else "product"
            A, df = factor * b_0 / prior.a_0 * np.eye(D), 2.0 * prior.a_0
        elif trace.covariance is not None:
            law, A, df = "normal", factor * trace.covariance[c, t], np.inf
        else:
            Psi_0, df = (prior.Psi_0 if trace.Psi_0 is None else trace.Psi_0[c, t]), prior.nu_0 - D + 1.0
            law, A = "joint", factor * Psi_0 / df
        result.append((rest, law, prior.mu_0, A, df))
    return result


def log_densities(trace: gg.Trace, X: Floats, columns: list[int]) -> Floats:
    """Log densities (P, M) of some columns of rows: weight and density of every component of every draw."""
    if not columns:
        return np.log([[piece[0]] * len(X) for piece in pieces(trace)])
    result = []
    for weight, law, mean, A, df in pieces(trace):
        m, S, x = mean[columns], A[np.ix_(columns, columns)], X[:, columns]
        if law == "normal":
            value = stats.multivariate_normal(m, S).logpdf(x)
        elif law == "joint":
            value = stats.multivariate_t(m, S, df).logpdf(x)
        else:
            value = stats.t(df, m, np.sqrt(np.diagonal(S))).logpdf(x).sum(1)
        result.append(np.log(weight) + np.reshape(value, len(x)))
    return np.array(result)


def scipy_density(trace: gg.Trace, given: tuple[int, ...], X: Floats) -> Floats:
    joint, margin = (log_densities(trace, X, columns) for columns in ([0, 1, 2], sorted(given)))
    return np.asarray(special.logsumexp(joint, axis=0) - special.logsumexp(margin, axis=0))


def scipy_moments(trace: gg.Trace, given: tuple[int, ...], X: Floats) -> tuple[Floats, Floats]:
    """Means and covariances of the free columns, by the textbook's formulas for one component and row at a time."""
    log_w, a, b = log_densities(trace, X, sorted(given)), sorted(given), free(given)
    weight = np.exp(log_w - special.logsumexp(log_w, axis=0))
    first, second = np.zeros((len(X), len(b))), np.zeros((len(X), len(b), len(b)))
    for p, (_, law, mean, A, df) in enumerate(pieces(trace)):
        slope = np.linalg.solve(A[np.ix_(a, a)], A[np.ix_(a, b)]).T
        left = A[np.ix_(b, b)] - slope @ A[np.ix_(a, b)]
        for i, x in enumerate(X):
            d, spread = x[a] - mean[a], 1.0
            if law == "joint":
                q = d @ np.linalg.solve(A[np.ix_(a, a)], d) if a else 0.0
                spread = (df + q) / (df + len(a)) * (df + len(a)) / (df + len(a) - 2.0)
            elif law == "product":
                spread = df / (df - 2.0)
            m = mean[b] + slope @ d
            first[i] += weight[p, i] * m
            second[i] += weight[p, i] * (spread * left + np.outer(m, m))
    return first, second - first[:, :, None] * first[:, None, :]


@pytest.mark.parametrize("given", SETS, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_densities_are_ratios_of_joint_densities(kind: str, given: tuple[int, ...]) -> None:
    trace, X = trace_of(kind), new_rows(9)
    found = ask(trace, given, X).log_density(X[:, free(given)])
    np.testing.assert_allclose(found, scipy_density(trace, given, X), rtol=1e-11, atol=1e-11)


def test_draws_that_are_not_weighted_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bug: the average over draws of their own conditional densities, all draws alike."""
    original = module.Conditional._laws

    def planted(self: module.Conditional, rows: slice) -> Iterator[tuple[Components, Given]]:
        groups = list(original(self, rows))
        log_density = np.full((self.trace.n_clusters.size, rows.stop - rows.start), -np.inf)
        for group, law in groups:
            np.logaddexp.at(log_density, group.draw, law.log_weight)
        for group, law in groups:
            yield group, dataclasses.replace(law, log_weight=law.log_weight - log_density[group.draw])

    monkeypatch.setattr(module.Conditional, "_laws", planted)
    for test, kind in itertools.product((test_densities_are_ratios_of_joint_densities, test_moments), KINDS):
        with pytest.raises(AssertionError, match="Not equal to tolerance"):
            test(kind, (1,))
    with pytest.raises(AssertionError, match="p-values below"):
        test_exact_conditionals("dynamic")


@pytest.mark.parametrize("given", SETS, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_moments(kind: str, given: tuple[int, ...]) -> None:
    trace, X = trace_of(kind), new_rows(6)
    answer, (mean, covariance) = ask(trace, given, X), scipy_moments(trace, given, X)
    F = 3 - len(given)
    assert answer.mean().shape == (1 if not given else 6, F)
    assert answer.covariance().shape == (1 if not given else 6, F, F)
    np.testing.assert_allclose(answer.mean(), mean[: len(answer.values)], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(answer.covariance(), covariance[: len(answer.values)], rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(answer.std(), np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))[: len(answer.values)])


# --- Quadrature ---


def line(points: int, end: float) -> tuple[Floats, Floats]:
    """Nodes x = 2 sinh u and weights: trapezoids in u, which converge geometrically."""
    u = np.linspace(-end, end, points)
    return 2.0 * np.sinh(u), 2.0 * np.cosh(u) * (u[1] - u[0])


@pytest.mark.parametrize("kind", KINDS)
def test_one_free_column_by_quadrature(kind: str) -> None:
    """Normalisation, mean, variance, and the distribution function at quantiles."""
    trace, (x, weight) = trace_of(kind), line(4001, 36.0)
    for row in ([0.5, -1.0], [2.0, 30.0]):
        answer = trace.conditional({"x0": row[0], "x2": row[1]})
        p = np.exp(answer.log_density(x)) * weight
        assert abs(p.sum() - 1.0) < 1e-9
        mean = (p * x).sum()
        np.testing.assert_allclose(answer.mean()[0, 0], mean, rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(answer.std()[0, 0] ** 2, (p * (x - mean) ** 2).sum(), rtol=1e-7)
        q = np.array([1e-4, 0.05, 0.5, 0.9, 0.9999])
        v, w = line(3001, 3.4)
        away = np.exp(0.25 * np.pi * v)  # from the quantile, to the side that holds less: exp(pi / 2 sinh t)
        for level, place in zip(q, answer.quantile(q)[:, 0, 0], strict=True):
            beyond = answer.log_density(place + (away if level > 0.5 else -away))
            mass = (np.exp(beyond) * away * 0.25 * np.pi * w).sum()
            np.testing.assert_allclose(mass, min(level, 1.0 - level), rtol=1e-8)


@pytest.mark.parametrize("kind", ["full, n unknown", "spherical, Dirichlet process"])
def test_two_free_columns_by_quadrature(kind: str) -> None:
    """Fewer nodes and a nearer end: the mass outside is what the tolerances are for."""
    answer, (x, weight) = trace_of(kind).conditional({"x1": 0.7}), line(401, 9.0)
    grid = np.stack(np.meshgrid(x, x, indexing="ij"), -1).reshape(-1, 2)
    p = np.exp(answer.log_density(grid)) * np.outer(weight, weight).ravel()
    assert abs(p.sum() - 1.0) < 1e-6
    np.testing.assert_allclose(answer.mean()[0], p @ grid, atol=1e-4)
    deviation = grid - answer.mean()[0]
    np.testing.assert_allclose(answer.covariance()[0], (deviation.T * p) @ deviation, rtol=1e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_quantiles_are_those_of_the_column_alone(kind: str) -> None:
    trace, q = trace_of(kind), np.array([0.01, 0.5, 0.975])
    both = trace.conditional({"x1": [0.3, -6.0]})
    for f, column in enumerate((0, 2)):
        order = np.array(sorted((1, column)))
        alone = marginal(trace, order).conditional({"x1": [0.3, -6.0]})
        np.testing.assert_allclose(both.quantile(q)[:, :, f], alone.quantile(q)[:, :, 0], rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(both.mean()[:, f], alone.mean()[:, 0], rtol=1e-10, atol=1e-12)
    assert both.quantile(0.5).shape == (2, 2)
    np.testing.assert_array_equal(both.quantile(0.5), both.quantile([0.5])[0])


def test_t_distribution_function() -> None:
    z = np.concatenate([np.linspace(-40, 40, 4001), np.sinh(np.linspace(-70, 70, 2001))])
    for df in (0.4, 1.0, 3.3, 17.0, 400.0):
        np.testing.assert_allclose(t_cdf(df, z), special.stdtr(df, z), atol=1e-12)


def test_quantiles_of_hard_mixtures() -> None:
    """Far apart, of very different widths, of tiny weights, and of t's: Brent's method, to 1e-9 of the probability."""
    q = np.array([1e-9, 0.2, 0.5, 0.50001, 1 - 1e-6])
    rng = np.random.default_rng(0)
    hard: list[dict[float, Any]] = [
        {np.inf: ([0.5, 0.5], [-1e6, 1e6], [1.0, 1e-3])},
        {np.inf: ([1.0, 1e-8], [0.0, 1e3], [1e-5, 1e2])},
        {np.inf: ([3.0], [0.0], [1.0]), 2.1: ([1.0, 1e-3], [0.0, 50.0], [1e3, 1.0])},
        {1.5: (rng.random(50), rng.normal(0, 9, 50), rng.exponential(1, 50))},
    ]
    for mixture in hard:
        parts = {df: tuple(np.asarray(array, float) for array in part) for df, part in mixture.items()}
        total = sum(part[0].sum() for part in parts.values())

        def cdf(x: float, parts: Any = parts, total: float = total) -> float:
            return sum(
                float(w @ (special.ndtr((x - m) / s) if np.isinf(df) else special.stdtr(df, (x - m) / s)))
                for df, (w, m, s) in parts.items()
            ) / float(total)

        for level, x in zip(q, quantiles(q, parts), strict=True):
            exact = optimize.brentq(lambda x, level=level: cdf(x) - level, -1e13, 1e13, xtol=1e-12)
            assert abs(cdf(x) - level) <= max(1e-9 * min(level, 1 - level), 2e-12), (level, x, exact)


# --- Samples ---


@pytest.mark.parametrize("kind", KINDS)
def test_samples_have_the_distribution(kind: str) -> None:
    """Each column by itself in its quantiles; and two together: one is then drawn given the other one's draws."""
    trace, n = trace_of(kind), 3000
    answer = trace.conditional({"x1": [0.2, 9.0]})
    drawn = answer.sample(n, rng=3)
    assert drawn.shape == (n, 2, 2)
    edges, p_values = answer.quantile(np.arange(1, 10) / 10), {}
    for i, f in itertools.product(range(2), range(2)):
        counts = np.bincount((drawn[:, i, f, None] > edges[:, i, f]).sum(1), minlength=10)
        p_values[f"row {i}, column {f}"] = stats.chisquare(counts).pvalue
    some = drawn[:500, 0]
    middle = trace.conditional({"x1": 0.2, "x0": some[:, 0]}).quantile(0.5)[:, 0]
    for name, part in {"low": some[:, 0] < edges[4, 0, 0], "high": some[:, 0] >= edges[4, 0, 0]}.items():
        above = (some[:, 1] > middle)[part]
        p_values[f"second given first, {name}"] = stats.binomtest(int(above.sum()), len(above)).pvalue
    assert_p_values(p_values, RATE)
    np.testing.assert_array_equal(answer.sample(5, rng=3), answer.sample(5, rng=3))
    assert not np.array_equal(answer.sample(5, rng=3), answer.sample(5, rng=4))


@pytest.mark.parametrize("kind", UNKNOWN)
def test_a_row_is_its_first_column_and_the_rest_given_that(kind: str) -> None:
    trace, n = trace_of(kind), 2000
    X = trace.sample(n, rng=5)
    X[:, 1:] = trace.conditional({0: X[:, 0]}).sample(1, rng=6)[0]
    whole, a = trace.sample(n, rng=7), np.array([[1.0, 1.0, 0.0], [1.0, -0.6, 0.4], [0.0, 1.0, -1.0]])
    p_values = {str(direction): stats.ks_2samp(X @ direction, whole @ direction).pvalue for direction in a}
    assert_p_values(p_values, RATE)


# --- Exact answers ---

PRIORS: dict[str, tuple[Any, Any]] = {
    "dynamic": (
        oracle.DynamicMFM(1.5, np.full(6, 1 / 6)),
        gg.MixtureOfFiniteMixtures(stats.randint(1, 7), 1.5, dynamic=True),
    ),
    "PY": (oracle.PY(0.6, 0.3), gg.PitmanYorProcess(0.6, 0.3)),
}


@pytest.mark.parametrize("name", PRIORS)
def test_exact_conditionals(name: str) -> None:
    """p(X, x_1, x_2) / integral of it over x_2, the sum over all partitions of the rows and the new one: 20 chains."""
    exact_prior, prior = PRIORS[name]
    niw = some_niw(2)
    X = np.array([[-1.1, -0.8], [-0.9, -1.2], [-0.3, -0.1], [0.8, 1.4], [1.0, 0.7]])
    trace = gg.fit(X, prior, prior=package_prior(niw), draws=400, warmup=200, thin=3, chains=20, rng=3, progress=False)
    x, weight = line(121, 8.0)
    p_values = {}
    for x_1 in (0.9, 4.0):
        points = np.vstack([np.column_stack([np.full(len(x), x_1), x]), [[x_1, 0.5]]])
        log_p = np.array(
            [oracle.enumerate_posterior(np.vstack([X, one]), niw, exact_prior).log_evidence for one in points]
        )
        p = np.exp(log_p - log_p.max()) * np.append(weight, 1.0)
        total = p[:-1].sum()
        exact = {"mean": (p[:-1] * x).sum() / total, "density": p[-1] / total}
        answers = [chain(trace, c).conditional({"x0": x_1}) for c in range(20)]
        found = {
            "mean": [one.mean()[0, 0] for one in answers],
            "density": [np.exp(one.log_density([0.5])[0]) for one in answers],
        }
        p_values |= {f"{key} at {x_1}": stats.ttest_1samp(found[key], exact[key]).pvalue for key in exact}
    assert_p_values(p_values, RATE)


def test_one_component_is_a_t() -> None:
    """Of one component the predictive is a t, and a part of it given the other a t: with as many draws as it takes."""
    niw = some_niw(2)
    X = rows(8, 2)
    trace = gg.fit(X, 1, prior=package_prior(niw), draws=10_000, warmup=1, chains=2, rng=1, progress=False)
    post = oracle.niw_posterior(X, niw)
    df = post.nu_0 - 1.0
    A = post.Psi_0 * (post.kappa_0 + 1.0) / (post.kappa_0 * df)
    for x in (0.0, 9.0):
        d = x - post.mu_0[0]
        scale = np.sqrt((df + d * d / A[0, 0]) / (df + 1.0) * (A[1, 1] - A[0, 1] ** 2 / A[0, 0]))
        exact = stats.t(df + 1.0, post.mu_0[1] + A[0, 1] / A[0, 0] * d, scale)
        answer = trace.conditional({"x0": x})
        # Draws of one component are independent; a quantile's error is that of its probability over the density.
        error = 5.0 / np.sqrt(answer.effective_draws[0])
        assert 100.0 < answer.effective_draws[0] <= 20_000.0 + 1e-6
        assert abs(answer.mean()[0, 0] - exact.mean()) <= error * exact.std()
        for q in (0.1, 0.5, 0.8):
            assert abs(exact.cdf(answer.quantile(q)[0, 0]) - q) <= 0.5 * error


# --- Invariances ---


@pytest.mark.parametrize("kind", KINDS)
def test_order_of_columns(kind: str) -> None:
    trace, X = trace_of(kind), new_rows(5)
    order = np.array([2, 0, 1])
    other = marginal(trace, order)
    here, there = trace.conditional({"x1": X[:, 1]}), other.conditional({"x1": X[:, 1]})
    assert (here.columns, there.columns) == (("x0", "x2"), ("x2", "x0"))
    np.testing.assert_allclose(there.mean()[:, ::-1], here.mean(), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(there.covariance()[:, ::-1, ::-1], here.covariance(), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(there.quantile(0.3)[:, ::-1], here.quantile(0.3), rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(there.log_density(X[:, [2, 0]]), here.log_density(X[:, [0, 2]]), rtol=1e-10, atol=1e-10)
    swapped = trace.conditional({"x2": X[:, 2], "x0": X[:, 0]})
    np.testing.assert_array_equal(swapped.values, X[:, [0, 2]])


@pytest.mark.parametrize("covariance_type", ["full", "diag"])
def test_units(covariance_type: str) -> None:
    """Powers of two, by which sampling goes the same way digit for digit."""
    X, new, unit = rows(40, 3), new_rows(4), np.array([2.0**40, 1.0, 2.0**-40])
    here, there = (gg.fit(array, None, covariance_type=covariance_type, **QUICK) for array in (X, X * unit))
    np.testing.assert_allclose(there.means, here.means * unit, rtol=1e-9)
    one, other = here.conditional({0: new[:, 0]}), there.conditional({0: (new * unit)[:, 0]})
    np.testing.assert_allclose(other.mean(), one.mean() * unit[1:], rtol=1e-6)
    np.testing.assert_allclose(other.quantile(0.9), one.quantile(0.9) * unit[1:], rtol=1e-6)
    np.testing.assert_allclose(other.std(), one.std() * unit[1:], rtol=1e-6)


@pytest.mark.parametrize("kind", ["full, n unknown", "diag, Pitman-Yor process"])
def test_blocks_and_companions_change_nothing(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trace, X = trace_of(kind), new_rows(15)
    q = [0.2, 0.8]

    def answers(part: slice) -> list[Floats]:
        one = trace.conditional({"x1": X[part, 1]})
        found = [one.mean(), one.covariance().reshape(-1, 4), one.quantile(q)[1], one.probabilities]
        return [*found, one.log_density(X[part][:, [0, 2]])[:, None], one.effective_draws[:, None]]

    whole = answers(slice(None))
    for a, b in zip(answers(slice(10, 13)), whole, strict=True):
        np.testing.assert_allclose(a, b[10:13], rtol=1e-9, atol=1e-11)
    drawn = trace.conditional({"x1": X[:, 1]}).sample(3, rng=1)
    for name, value in {"_ROWS": 7, "_NUMBERS": 1, "_MOST_KEPT": 1}.items():
        monkeypatch.setattr(module, name, value)
    for a, b in zip(answers(slice(None)), whole, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)
    assert trace.conditional({"x1": X[:, 1]}).sample(3, rng=1).shape == drawn.shape


@pytest.mark.parametrize("kind", ["full, components empty", "full, Pitman-Yor process"])
def test_a_relabelled_trace_says_the_same(kind: str) -> None:
    trace = trace_of(kind)
    order = np.random.default_rng(4).permuted(trace.relabel().permutation, axis=-1)  # any order: unused slots anywhere
    other = dataclasses.replace(trace.relabel(), permutation=order).trace
    one, two = (some.conditional({"x2": [0.0, 20.0]}) for some in (trace, other))
    np.testing.assert_allclose(two.mean(), one.mean(), rtol=1e-10)
    np.testing.assert_allclose(two.quantile(0.2), one.quantile(0.2), rtol=1e-7)


# --- Far away, and nothing given ---


def test_far_away_it_follows_the_widest_component() -> None:
    trace = trace_of("full, n known")
    flat = trace.covariances[..., 1, 1].reshape(-1)
    widest = flat.argmax()
    mean, Sigma = trace.means.reshape(-1, 3)[widest], trace.covariances.reshape(-1, 3, 3)[widest]
    slope = Sigma[[0, 2], 1] / Sigma[1, 1]
    left = Sigma[np.ix_([0, 2], [0, 2])] - np.outer(slope, slope) * Sigma[1, 1]
    answer = trace.conditional({"x1": [1e6, -1e100]})
    np.testing.assert_allclose(answer.mean(), mean[[0, 2]] + np.outer([1e6, -1e100] - mean[1], slope), rtol=1e-12)
    np.testing.assert_allclose(answer.covariance(), np.tile(left, (2, 1, 1)), rtol=1e-9)
    np.testing.assert_allclose(answer.quantile(0.5), answer.mean(), rtol=1e-9)
    np.testing.assert_allclose(answer.effective_draws, 1.0)
    density = answer.log_density(answer.mean())[0]
    np.testing.assert_allclose(density, stats.multivariate_normal(cov=left).logpdf([0, 0]), rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_nan_far_away(kind: str) -> None:
    trace = trace_of(kind)
    answer = trace.conditional({0: [1e9, -1e60, 1e120]})
    for found in (answer.mean(), answer.std(), answer.quantile(0.3), answer.sample(3, 1), answer.probabilities):
        assert np.isfinite(found).all()
    assert not np.isnan(answer.log_density(np.zeros((1, 2)))).any()


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_given_is_the_predictive(kind: str) -> None:
    trace, X = trace_of(kind), new_rows(20)
    answer = trace.conditional({})
    assert repr(answer) == "<Conditional: x0, x1, x2, nothing given, 1 row>"
    np.testing.assert_allclose(answer.log_density(X), trace.log_density(X), rtol=1e-11)
    np.testing.assert_allclose(answer.effective_draws, trace.n_clusters.size)
    drawn, other = answer.sample(2000, 1)[:, 0], trace.sample(2000, 2)
    p_values = {str(d): stats.ks_2samp(drawn[:, d], other[:, d]).pvalue for d in range(3)}
    assert_p_values(p_values, RATE)
    assert answer.probabilities.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_are_those_of_the_given_columns(kind: str) -> None:
    trace, X = trace_of(kind), np.vstack([new_rows(8), [[1e3, 0.0, -1e3]]])  # where one draw may outweigh all others
    expected = marginal(trace, np.array([0, 2])).predict_proba(X[:, [0, 2]], trace.relabel())
    np.testing.assert_allclose(ask(trace, (0, 2), X).probabilities, expected, rtol=1e-9, atol=1e-13)


def test_moments_that_do_not_exist() -> None:
    """A prior of the t distribution with nu_0 - D + 1 = 1 degree of freedom, and one more for the column given."""
    prior = gg.NormalInverseWishart([0.0, 0.0], 0.1, 2.0, np.eye(2))
    trace = gg.fit(rows(30, 2), gg.DirichletProcess(1.0), prior=prior, **QUICK)
    given, nothing = trace.conditional({"x0": 0.0}), trace.conditional({})
    assert np.isfinite(given.mean()).all()
    np.testing.assert_array_equal(given.covariance(), [[[np.inf]]])
    assert np.isnan(nothing.mean()).all()
    np.testing.assert_array_equal(nothing.std(), [[np.inf, np.inf]])
    assert np.isfinite(nothing.quantile([0.01, 0.99])).all()


def test_a_covariance_that_is_not_positive_definite() -> None:
    trace = trace_of("full, n known")
    covariances = trace.covariances.copy()
    covariances[1, 3, 2, 0, 0] = -1.0
    with pytest.raises(gg.NumericalError, match="chain 1, draw 3: the covariance matrix of component 2 is not"):
        dataclasses.replace(trace, covariances=covariances).conditional({1: 0.0}).mean()


# --- Input ---


def test_kinds_of_input() -> None:
    frame = pd.DataFrame(rows(40, 3), columns=["a", "b", "c"])
    trace = gg.fit(frame, 2, **QUICK)
    expected = trace.conditional({"a": [1.0, 2.0], "c": [3.0, 3.0]})
    np.testing.assert_array_equal(expected.values, [[1.0, 3.0], [2.0, 3.0]])
    assert (expected.columns, expected.given) == (("b",), ("a", "c"))
    assert repr(expected) == "<Conditional: b given a, c, 2 rows>"
    same: list[Any] = [
        {"c": 3.0, "a": np.array([1, 2])},
        {np.int64(0): (1, 2), 2: np.float32(3)},
        {"a": pd.Series([1.0, 2.0]), "c": pl.Series([3, 3])},
        pd.DataFrame({"c": [3.0, 3.0], "a": [1.0, 2.0]}),
        pl.DataFrame({"a": [1.0, 2.0], "c": [3.0, 3.0]}),
    ]
    for given in same:
        np.testing.assert_array_equal(trace.conditional(given).mean(), expected.mean())
    assert trace.conditional({"a": 1.0}).mean().shape == (1, 2)
    values = pd.DataFrame({"c": [0.0, 1.0], "b": [2.0, 3.0]})
    both = trace.conditional({"a": 1.0})
    np.testing.assert_array_equal(both.log_density(values), both.log_density([[2.0, 0.0], [3.0, 1.0]]))
    with pytest.raises(ValueError, match="read-only"):
        expected.values[0, 0] = 0.0


BAD: dict[str, tuple[Any, type[Exception], str]] = {
    "unknown": (
        {"lenght": 1.0},
        ValueError,
        r"given must name columns among .*got 'lenght' \(did you mean 'length'\?\)",
    ),
    "quite unknown": ({"zzz": 1.0}, ValueError, r"among \['length', 'width', 'x'\], got 'zzz'$"),
    "a boolean": ({True: 1.0}, ValueError, "got True"),
    "no such position": ({3: 1.0}, ValueError, r"positions of columns in 0\.\.2, got 3"),
    "a negative position": ({-1: 1.0}, ValueError, r"positions of columns in 0\.\.2, got -1"),
    "twice": ({"length": 1.0, 0: 1.0}, ValueError, "name a column once, got 'length' twice"),
    "all": ({0: 1.0, 1: 1.0, 2: 1.0}, ValueError, "leave at least one column free, got all 3.*log_density"),
    "NaN": (
        {"length": [0.0, np.nan]},
        ValueError,
        "given must be finite, got 1 missing values.*row 1, column 'length'",
    ),
    "None": ({"length": None}, ValueError, "given must be finite, got 1 missing values"),
    "infinite": ({"length": np.inf}, ValueError, "given must be finite, got 1 infinite"),
    "huge": ({"length": 1e150}, ValueError, "given column 'length' is too large"),
    "text": ({"length": "tall"}, TypeError, r"given\['length'\] must hold real numbers"),
    "a matrix": ({"length": np.zeros((2, 2))}, ValueError, r"given\['length'\] must be a number or one-dim.*\(2, 2\)"),
    "lengths": (
        {"length": [1.0, 2.0], "width": [1.0, 2.0, 3.0]},
        ValueError,
        "as many values of each column, or one number, got 2 of 'length', 3 of 'width'",
    ),
    "no rows": ({"length": []}, ValueError, r"given\['length'\] must have at least 1 row"),
    "an array": (
        np.zeros((1, 2)),
        TypeError,
        "given must be a mapping .* or a data frame.*got an object of type ndarray",
    ),
    "a name": ("length", TypeError, "got an object of type str"),
    "a frame": (pd.DataFrame({"lenght": [1.0]}), ValueError, "did you mean 'length'"),
}


@pytest.mark.parametrize("case", BAD.values(), ids=list(BAD))
def test_bad_given(case: tuple[Any, type[Exception], str]) -> None:
    given, error, message = case
    trace = dataclasses.replace(trace_of("full, n known"), columns=("length", "width", "x"))
    with pytest.raises(error, match=message):
        trace.conditional(given)


def test_bad_questions() -> None:
    answer = trace_of("full, n known").conditional({"x0": [1.0, 2.0, 3.0]})
    for q in (0.0, 1.0, -0.1, [0.5, 1.5], []):
        with pytest.raises(ValueError, match="q must be between 0 and 1, exclusive, got"):
            answer.quantile(q)
    with pytest.raises(ValueError, match="q must be finite"):
        answer.quantile(np.nan)
    with pytest.raises(ValueError, match=r"q must have shape \(\) or \(Q,\), got \(1, 1\)"):
        answer.quantile([[0.5]])
    with pytest.raises(TypeError, match="q must hold real numbers"):
        answer.quantile("half")
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        answer.sample(0)
    with pytest.raises(ValueError, match="values must have one row, or one for each of the 3 rows given, got 2"):
        answer.log_density(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="values must have the 2 columns"):
        answer.log_density(np.zeros((3, 3)))
    with pytest.raises(ValueError, match="values must be finite, got 1 missing"):
        answer.log_density([[0.0, np.nan]])


def test_chains_that_have_not_met_are_told() -> None:
    trace = trace_of("full, n known")
    apart = dataclasses.replace(trace, log_likelihood=np.add(trace.log_likelihood, [[0.0], [1e4]]))
    with pytest.warns(UserWarning, match=r"conditional\(\): .*have not met"):
        apart.conditional({0: 1.0})


def test_the_example_of_the_class() -> None:
    X = np.concatenate([np.random.default_rng(0).normal(m, 1.0, (50, 2)) for m in (-3.0, 3.0)])
    trace = gg.fit(X, 2, draws=200, warmup=200, rng=1, progress=False)
    result = doctest.testmod(module, extraglobs={"trace": trace}, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert (result.failed, result.attempted) == (0, 5)


@pytest.mark.filterwarnings("ignore:X has redundant columns")
def test_a_covariance_keeps_its_digits() -> None:
    """Of a column that is the other one but for a millionth, E x^2 - (E x)^2 would lose all but five."""
    x, e = np.random.default_rng(1).standard_normal((2, 60))
    prior = gg.NormalInverseWishart([0.0, 0.0], 0.1, 4.0, 1e-12 * np.eye(2) + 1.0)
    X = np.column_stack([x, x + 1e-6 * e])
    trace = gg.fit(X, 1, prior=prior, resolution=0.0, **{**QUICK, "draws": 500})
    L, mu = np.linalg.cholesky(trace.covariances.reshape(-1, 2, 2)), trace.means.reshape(-1, 2)
    y = (2.3 - mu[:, 0]) / L[:, 0, 0]
    weight, mean, variance = np.exp(-0.5 * y * y) / L[:, 0, 0], mu[:, 1] + L[:, 1, 0] * y, L[:, 1, 1] ** 2
    weight /= weight.sum()
    expected = weight @ (variance + (mean - weight @ mean) ** 2)
    assert 1e-14 < expected < 1e-10
    np.testing.assert_allclose(trace.conditional({"x0": 2.3}).covariance(), [[[expected]]], rtol=1e-9)
