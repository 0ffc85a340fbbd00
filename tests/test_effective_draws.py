"""Effective sample sizes, against those of ArviZ."""

import numpy as np
import pytest
from arviz_stats.base import array_stats

from gibbs_gmm import effective_draws
from gibbs_gmm.effective_draws import ess_bulk, ess_mean, ess_tail, standard_error


def quantities(C: int, T: int) -> np.ndarray:
    """Draws of many kinds of quantities (R, C, T): independent, sticky, antithetic, drifting, counts, rare, stuck."""
    rng = np.random.default_rng([C, T])
    x = rng.standard_normal((28, C, T))
    for row, slope in enumerate((0.5, 0.9, 0.99, -0.5, -0.9)):
        for t in range(1, T):
            x[row, :, t] += slope * x[row, :, t - 1]
    x[5:9] = x[5:9].cumsum(-1)
    x[9:13] = np.round(x[9:13])
    x[13:17] = x[13:17] > 1.5
    x[17, 0] += 5.0
    x[18] *= 1e9
    x[19] = 3.0
    x[20, 0] = 0.0
    x[21] = np.arange(C)[:, None]
    return x


@pytest.mark.parametrize("C", [1, 4])
@pytest.mark.parametrize("T", [4, 5, 6, 7, 8, 9, 30, 101, 500])
def test_they_are_those_of_arviz(C: int, T: int) -> None:
    x = quantities(C, T)
    with np.errstate(all="ignore"):
        expected = [
            array_stats.ess(x),
            array_stats.ess(x, method="tail", prob=(0.05, 0.95)),
            array_stats.ess(x, method="mean"),
        ]
    for function, ess in zip((ess_bulk, ess_tail, ess_mean), expected, strict=True):
        assert np.isfinite(ess).all()
        np.testing.assert_allclose(function(x), ess, rtol=1e-11)
    assert standard_error(x[0]) == pytest.approx(float(array_stats.mcse(x[0])), rel=1e-11)


def test_of_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    x = quantities(2, 50)
    whole = [function(x) for function in (ess_bulk, ess_tail, ess_mean)]
    monkeypatch.setattr(effective_draws, "_CHUNK", 350)
    for function, values in zip((ess_bulk, ess_tail, ess_mean), whole, strict=True):
        np.testing.assert_array_equal(function(x), values)


def test_a_quantity_with_missing_draws_has_none() -> None:
    x = quantities(2, 50)[:3]
    x[1, 0, 3] = np.nan
    for function in (ess_bulk, ess_mean):
        np.testing.assert_array_equal(np.isnan(function(x)), [False, True, False])


def test_independent_draws_count_in_full() -> None:
    """Of 400 quantities of 4 x 500 independent draws: the mean of the estimates, whose bias is below 3%."""
    x = np.random.default_rng(0).standard_normal((400, 4, 500))
    for function in (ess_bulk, ess_mean):
        assert function(x).mean() == pytest.approx(2000, rel=0.03)
