"""log p(X | n = 1) with learned hyperparameters, against importance sampling from their prior and quadrature."""

from typing import Any

import numpy as np
import oracle
import pytest
from harness import EPS, draw_scales, scale_prior, some_niw
from oracle import Floats
from scipy.special import logsumexp, multigammaln, roots_legendre

import gibbs_gmm as gg
from gibbs_gmm.kernels.sampler.state import Data
from gibbs_gmm.sampler import one_cluster
from gibbs_gmm.sampler.one_cluster import log_one_cluster

N, KAPPA, SHAPE, RESOLUTION = 12, 0.4, 0.7, 0.3
LAWS = [(1, "wishart"), (1, "shrunk"), *((D, law) for D in (2, 3) for law in ("wishart", "shrunk", "turned"))]


def some_rows(D: int) -> Floats:
    return np.random.default_rng(D).standard_normal((N, D)) + 0.5


def some_prior(D: int, **changes: Any) -> gg.NormalInverseWishart:
    niw = some_niw(D)
    values = {"Psi_0": niw.Psi_0, "kappa_0_shape": SHAPE, "resolution": RESOLUTION} | changes
    return gg.NormalInverseWishart(niw.mu_0, KAPPA, niw.nu_0, **values)


def found(X: Floats, prior: gg.NormalInverseWishart, seed: int = 1, threads: int = 1) -> tuple[float, float]:
    data = Data(X, X.mean(0), np.ones(X.shape[1]))
    return log_one_cluster(data, prior, np.random.SeedSequence(seed).spawn(16), threads)


def log_densities(X: Floats, mu_0: Floats, nu_0: float, Psi_0: Floats, kappa_0: Floats) -> Floats:
    """log m(X) of scale matrices (M, D, D) and kappa_0 (M,), as the oracle's ``log_marginal`` has it for one."""
    N, D = X.shape
    gap = X.mean(0) - mu_0
    S = (X - X.mean(0)).T @ (X - X.mean(0)) + N * RESOLUTION**2 / 12.0 * np.eye(D)
    Psi_n = Psi_0 + S + (kappa_0 * N / (kappa_0 + N))[:, None, None] * np.outer(gap, gap)
    nu_n, log_det = nu_0 + N, [np.linalg.slogdet(Psi)[1] for Psi in (Psi_0, Psi_n)]
    constant = multigammaln(nu_n / 2, D) - multigammaln(nu_0 / 2, D) - N * D / 2 * np.log(np.pi)
    return np.asarray(
        constant + nu_0 / 2 * log_det[0] - nu_n / 2 * log_det[1] + D / 2 * np.log(kappa_0 / (kappa_0 + N))
    )


def importance(X: Floats, scale: dict[str, Any], shape: float = SHAPE, M: int = 200_000) -> tuple[float, float]:
    """log E[m(X)] over M draws from the prior of some_prior with this scale, and its standard error."""
    rng, niw = np.random.default_rng(7), some_niw(X.shape[1])
    kappa_0 = KAPPA * rng.random(M) ** (1.0 / shape)
    log_p = log_densities(X, niw.mu_0, niw.nu_0, draw_scales(rng, M, **scale), kappa_0)
    mean = float(logsumexp(log_p) - np.log(M))
    return mean, float(np.exp(log_p - mean).std() / np.sqrt(M))


def gap(D: int, law: str, *, shape: float = SHAPE, more_df: float = 0.0) -> tuple[float, float]:
    """Difference from importance sampling, under the same prior or a changed one, and its standard error."""
    X, scale = some_rows(D), scale_prior(law, some_niw(D).Psi_0)
    value, se = found(X, some_prior(D, **scale))
    truth, se_truth = importance(X, scale | {"Psi_0_df": scale["Psi_0_df"] + more_df}, shape)
    assert 0.0 < se < 0.04
    assert se_truth < 0.02
    return value - truth, float(np.hypot(se, se_truth))


@pytest.mark.parametrize(("D", "law"), LAWS)
def test_it_is_the_mean_over_the_prior(D: int, law: str) -> None:
    difference, se = gap(D, law)
    assert abs(difference) <= 4 * se


@pytest.mark.parametrize("law", ["wishart", "shrunk", "turned"])
@pytest.mark.parametrize("change", [{"shape": 1.0}, {"more_df": 1.0}], ids=["kappa", "df"])
def test_another_prior_would_be_seen(law: str, change: dict[str, float]) -> None:
    difference, se = gap(2, law, **change)
    assert abs(difference) > 4 * se


@pytest.mark.parametrize("D", [1, 3])
def test_kappa_alone_by_quadrature(D: int) -> None:
    """With kappa_0 = KAPPA u^(1 / SHAPE), u is uniform."""
    X, niw = some_rows(D), some_niw(D)
    node, weight = roots_legendre(200)
    kappa_0 = KAPPA * (0.5 * (node + 1.0)) ** (1.0 / SHAPE)
    log_p = log_densities(X, niw.mu_0, niw.nu_0, np.broadcast_to(niw.Psi_0, (200, D, D)), kappa_0)
    value, se = found(X, some_prior(D))
    assert 0.0 < se < 0.02
    assert abs(value - logsumexp(log_p, b=0.5 * weight)) <= 4 * se


def test_nothing_learned_is_exact() -> None:
    X = some_rows(3)
    niw = some_niw(3)._replace(kappa_0=KAPPA, noise=np.full(3, RESOLUTION**2 / 12.0))
    value, se = found(X, some_prior(3, kappa_0_shape=None))
    np.testing.assert_allclose(value, oracle.log_marginal(X, niw), rtol=200 * EPS)
    assert se == 0.0


def test_standard_errors_are_honest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty short runs: squared errors over squared standard errors, of 15 degrees of freedom, average 15 / 13."""
    monkeypatch.setattr(one_cluster, "_SWEEPS", (60, 60))
    X, scale = some_rows(2), scale_prior("turned", some_niw(2).Psi_0)
    runs = np.array([found(X, some_prior(2, **scale), seed) for seed in range(30)])
    z = (runs[:, 0] - importance(X, scale)[0]) / runs[:, 1]
    assert 0.4 < (z**2).mean() < 2.6  # its standard deviation is 0.34
    assert abs(z.mean()) < 0.8  # nor is there a bias: 4 of its standard deviations


def test_same_seed_same_bytes_whatever_the_threads() -> None:
    X, prior = some_rows(2), some_prior(2, **scale_prior("turned", some_niw(2).Psi_0))
    one = found(X, prior)
    assert one == found(X, prior) == found(X, prior, threads=3)
    assert one != found(X, prior, seed=2)


def test_units_change_the_density_only() -> None:
    """Columns a millionth and a million times as wide."""
    X, width = some_rows(3), np.array([1e-6, 1.0, 1e6])
    scale = scale_prior("shrunk", some_niw(3).Psi_0)
    one, _ = found(X, some_prior(3, **scale))
    niw, mapped = some_niw(3), scale | {"Psi_0": scale["Psi_0"] * np.outer(width, width)}
    prior = gg.NormalInverseWishart(
        niw.mu_0 * width, KAPPA, niw.nu_0, kappa_0_shape=SHAPE, resolution=RESOLUTION * width, **mapped
    )
    np.testing.assert_allclose(found(X * width, prior)[0] + N * np.log(width).sum(), one, atol=1e-6)


def test_axes_are_directions_of_any_length() -> None:
    X, scale = some_rows(2), scale_prior("turned", some_niw(2).Psi_0)
    longer = scale | {"axes": scale["axes"] * np.array([[2.0], [5.0]])}
    one, _ = found(X, some_prior(2, **scale))
    np.testing.assert_allclose(found(X, some_prior(2, **longer))[0], one, atol=1e-6)
