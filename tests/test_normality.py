"""Laws of the statistics that clusters are tested with, and of what is made of many p-values."""

import numpy as np
import pytest
from scipy import stats

from gibbs_gmm.posterior.normality import combine, combine_valid, excess_tails, holm, z_skewness, z_tails

DRAWS = 40_000


def geary(x: np.ndarray) -> np.ndarray:
    d = x - x.mean(1, keepdims=True)
    return np.asarray(np.abs(d).mean(1) / np.sqrt((d**2).mean(1)))


@pytest.mark.parametrize("n", [8, 15, 50, 400])
def test_scores_of_normal_rows_are_standard_normal(n: int) -> None:
    x = np.random.default_rng(n).normal(3.0, 1e-3, (DRAWS, n))
    size = np.full(DRAWS, float(n))
    for z in (z_tails(geary(x), size), z_skewness(stats.skew(x, axis=1), size)):
        for p in (0.001, 0.01, 0.05, 0.25, 0.5):
            for tail in (z > stats.norm.isf(p), z < stats.norm.ppf(p)):
                limit = 4.0 * np.sqrt(p * (1.0 - p) / DRAWS)
                allowed = 0.15 * p if n > 8 else 0.9 * p  # 8 rows cannot be far from normal: too few is no harm
                assert -allowed - limit < tail.mean() - p < 0.15 * p + limit
    assert abs(excess_tails(geary(x), size).mean()) < 2e-3


def test_skewness_is_that_of_scipy() -> None:
    x = np.random.default_rng(0).gamma(2.0, size=(5, 30))
    got = z_skewness(stats.skew(x, axis=1), np.full(5, 30.0))
    np.testing.assert_allclose(got, stats.skewtest(x, axis=1).statistic, rtol=1e-12)


def test_scores_know_the_side_and_stay_finite() -> None:
    rng, n = np.random.default_rng(1), np.array([500.0])
    assert z_tails(geary(rng.standard_t(3, (1, 500))), n)[0] > 4.0
    assert z_tails(geary(rng.random((1, 500))), n)[0] < -4.0
    assert np.isfinite(z_tails(np.array([0.05, 1.0]), n)).all()
    assert z_skewness(np.array([1.0]), n)[0] > 4.0 > -4.0 > z_skewness(np.array([-1.0]), n)[0]


@pytest.mark.parametrize("rho", [1.0, 0.9, 0.6])
def test_dependent_scores_combine_to_a_uniform_p_value(rho: float) -> None:
    rng = np.random.default_rng(2)
    z = np.sqrt(rho) * rng.normal(size=3000) + np.sqrt(1.0 - rho) * rng.normal(size=(50, 3000))
    p = combine(z)
    assert stats.kstest(p, "uniform").pvalue > 1e-3
    if rho == 1.0:
        np.testing.assert_allclose(p, 2.0 * stats.norm.sf(np.abs(z[0])))


def test_missing_scores_are_left_out() -> None:
    z = np.array([[1.0, np.nan], [np.nan, np.nan], [1.0, np.nan]])
    assert combine(z)[0] == pytest.approx(2.0 * stats.norm.sf(1.0))
    assert np.isnan(combine(z)[1])
    p = np.array([[0.01, np.nan, 0.7], [0.02, np.nan, 0.8], [1.0, np.nan, 1.0]])
    np.testing.assert_array_equal(combine_valid(p), [0.04, np.nan, 1.0])
    np.testing.assert_array_equal(combine_valid(np.where(np.isnan(p), 0.2, p)[:, 1]), 0.4)


def test_holm_by_hand() -> None:
    p = np.array([[0.01, np.nan], [0.04, 0.03]])
    np.testing.assert_allclose(holm(p), [[0.03, np.nan], [0.06, 0.06]])
    np.testing.assert_array_equal(holm(np.array([0.9, 0.8])), [1.0, 1.0])
