"""Conditional densities: ratios of joint densities by SciPy, quadrature, samples, exact answers."""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import oracle
import pytest
from conditional_cases import KINDS, SETS, UNKNOWN, ask, free, new_rows, trace_of
from harness import assert_p_values, package_prior, some_niw
from oracle import Floats
from scipy import optimize, special, stats
from test_predict import RATE, chain, rows

import gibbs_gmm as gg
from gibbs_gmm.posterior import conditional as module
from gibbs_gmm.posterior.conditional_components import Components, Given
from gibbs_gmm.posterior.matched import marginal
from gibbs_gmm.posterior.mixture_quantiles import quantiles, t_cdf

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
