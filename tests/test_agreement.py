"""Whether chains agree: R-hat, and what is said where they do not."""

import numpy as np
import pytest
from arviz_stats.base import array_stats

from gibbs_gmm.agreement import limit, r_hat


@pytest.mark.parametrize("kind", ["normal", "heavy tails", "counts", "one chain apart", "scales differ"])
@pytest.mark.parametrize(("C", "T"), [(2, 4), (4, 250), (3, 101)])
def test_r_hat_is_that_of_arviz(kind: str, C: int, T: int) -> None:
    rng = np.random.default_rng([C, T])
    x = rng.standard_normal((6, C, T)).cumsum(-1)
    if kind == "heavy tails":
        x = rng.standard_cauchy((6, C, T))
    elif kind == "counts":
        x = rng.poisson(3.0, (6, C, T)).astype(float)
    elif kind == "one chain apart":
        x[:, 0] += 10.0
    elif kind == "scales differ":
        x[:, 0] *= 20.0
    np.testing.assert_allclose(r_hat(x), array_stats.rhat(x), rtol=1e-12)
    assert r_hat(x[0]) == r_hat(x)[0]


def test_r_hat_where_it_is_not_defined() -> None:
    x = np.random.default_rng(0).standard_normal((2, 10))
    for undefined in (x[:1], x[:, :3], np.ones((2, 10)), 0.1 + np.zeros((2, 10)) + 1e-17 * x):
        assert np.isnan(r_hat(undefined))
    assert r_hat(np.array([[2.0] * 10, [3.0] * 10])) == np.inf


def test_chance_in_short_chains_is_no_disagreement() -> None:
    """Of 2,000 sets of independent draws of each length one or two may exceed its limit; many exceed 1.05."""
    rng = np.random.default_rng(3)
    for C, T in ((2, 5), (4, 10), (4, 30), (10, 60), (4, 1000)):
        found = r_hat(rng.standard_normal((2000 if T < 1000 else 100, C, T)))
        assert (found > limit(C, T)).sum() <= 2
        assert limit(C, T) >= 1.05
    assert (r_hat(rng.standard_normal((100, 4, 10))) > 1.05).mean() > 0.2
    assert limit(4, 1000) == 1.05
