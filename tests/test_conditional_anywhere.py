"""Conditional densities of columns in any order and unit, of rows far away, and where nothing is given."""

import dataclasses

import numpy as np
import pytest
from conditional_cases import KINDS, QUICK, ask, new_rows, trace_of
from harness import assert_p_values
from oracle import Floats
from scipy import stats
from test_predict import RATE, rows

import gibbs_gmm as gg
from gibbs_gmm.posterior import conditional as module
from gibbs_gmm.posterior.matched import marginal

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
