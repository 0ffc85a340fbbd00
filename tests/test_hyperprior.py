"""The learned scale and kappa_0: their draws leave their priors invariant, and follow densities written down afresh."""

from collections.abc import Callable

import numpy as np
import pytest
from harness import assert_p_values, draw_scales, scale_prior, some_niw
from oracle import Floats
from scipy import stats
from scipy.special import gammainc

import gibbs_gmm as gg
from gibbs_gmm.kernels.families import hyperprior as kernels

RATE = 1e-3
REPLICATES = 4000
LAWS = [(1, "wishart"), (3, "wishart"), (1, "shrunk"), (2, "shrunk"), (3, "shrunk"), (3, "turned")]


def statistics(Psi: Floats) -> dict[str, Floats]:
    """Of scales (count, D, D)."""
    result = {"log det": np.linalg.slogdet(Psi)[1], "first": Psi[:, 0, 0], "last": Psi[:, -1, -1]}
    if Psi.shape[1] > 1:
        result["correlation"] = Psi[:, 0, -1] / np.sqrt(Psi[:, 0, 0] * Psi[:, -1, -1])
        result["least"] = np.linalg.eigvalsh(Psi)[:, 0]
    return result


def drawn(D: int, law: str, step: Callable[..., int] = kernels.draw_scale) -> tuple[Floats, Floats, Floats]:
    """Scales from their prior; the same after a step given t covariances that each has drawn; and fresh ones."""
    rng, t, nu_0 = np.random.default_rng([3, D, len(law)]), 3, D + 2.5
    scale = scale_prior(law, some_niw(D).Psi_0)
    hyper = gg.NormalInverseWishart(np.zeros(D), 0.1, nu_0, **scale).hyper_as_kernel()
    room = kernels.new_room(D)
    before = draw_scales(rng, REPLICATES, **scale)
    after = before.copy()
    for Psi in after:
        precisions = stats.wishart(nu_0, np.linalg.inv(Psi)).rvs(t, random_state=rng).reshape(t, D, D)
        # lower triangular W with W'W = P: the Cholesky factor of the matrix turned about
        W = np.ascontiguousarray(np.linalg.cholesky(precisions[:, ::-1, ::-1])[:, ::-1, ::-1].transpose(0, 2, 1))
        L = np.linalg.cholesky(Psi)
        assert step(rng, hyper, t, nu_0, W, room, Psi, L) == 0
        np.testing.assert_allclose(L @ L.T, Psi, rtol=1e-9, atol=1e-12 * np.abs(Psi).max())
    return before, after, draw_scales(rng, 3 * REPLICATES, **scale)


@pytest.mark.parametrize(("D", "law"), LAWS)
def test_a_draw_of_the_scale_leaves_its_prior_invariant(D: int, law: str) -> None:
    before, after, fresh = drawn(D, law)
    moved = (np.abs(after - before).max((1, 2)) > 0.0).mean()
    assert moved > 0.3
    now, then = statistics(after), statistics(fresh)
    p = {name: float(stats.ks_2samp(now[name], then[name], method="asymp").pvalue) for name in now}
    assert_p_values(p, RATE / len(LAWS))


def test_a_step_under_another_law_would_be_seen() -> None:
    """Steps for components of one degree of freedom more than they were drawn with."""

    def wrong(rng: np.random.Generator, hyper: kernels.Hyperprior, t: int, nu_0: float, *rest: object) -> int:
        return max(int(kernels.draw_scale(rng, hyper, t, nu_0 + 1.0, *rest)) for _ in range(5))

    _, after, fresh = drawn(3, "shrunk", wrong)
    now, then = statistics(after), statistics(fresh)
    p = {name: float(stats.ks_2samp(now[name], then[name], method="asymp").pvalue) for name in now}
    with pytest.raises(AssertionError):
        assert_p_values(p, RATE / len(LAWS))


@pytest.mark.parametrize("shape", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("spread", [0.0, 1.0, 10.0, 100.0, 1e4])
def test_kappa_follows_its_truncated_gamma_law(shape: float, spread: float) -> None:
    D, t, most = 2, 3, 0.05
    rng = np.random.default_rng(5)
    mu, W = spread * rng.standard_normal((t, D)), np.tril(rng.random((t, D, D))) + np.eye(D)
    niw = gg.NormalInverseWishart(np.zeros(D), most, D + 2.0, np.eye(D), kappa_0_shape=shape)
    hyper = niw.hyper_as_kernel()
    draws = np.array([kernels.draw_kappa(rng, hyper, np.zeros(D), t, W, mu) for _ in range(4000)])
    assert ((draws > 0.0) & (draws <= most)).all()
    rate = sum(np.square(W[k] @ mu[k]).sum() for k in range(t)) / 2.0

    s = shape + t * D / 2.0
    p = (draws / most) ** s if rate == 0.0 else gammainc(s, rate * draws) / gammainc(s, rate * most)
    assert stats.kstest(p, "uniform").pvalue > RATE / 15
