"""log p(X | n = 1) under a Normal-Inverse-Gamma prior, against closed forms and nested quadrature by SciPy."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from harness import EPS, read_only
from oracle import Floats
from scipy import integrate, stats
from scipy.special import gammaln, hyperu

import gibbs_gmm as gg
from gibbs_gmm.errors import NumericalError
from gibbs_gmm.kernels.sampler.state import Data
from gibbs_gmm.sampler import one_cluster_gamma
from gibbs_gmm.sampler.one_cluster import log_one_cluster
from gibbs_gmm.sampler.one_cluster_gamma import log_mean_of_scale, log_one_cluster_gamma

N, A_0, KAPPA, SHAPE, H, RESOLUTION = 12, 1.8, 0.4, 0.7, 1.3, 0.3
TYPES = ["diag", "spherical"]


def some_rows(D: int) -> Floats:
    return np.random.default_rng(D).standard_normal((N, D)) + 0.5


def some_prior(D: int, kind: str, **changes: Any) -> gg.NormalInverseGamma:
    b_0 = np.linspace(0.5, 1.5, D) if kind == "diag" else 0.8
    values = {"b_0": b_0, "b_0_shape": H, "kappa_0_shape": SHAPE, "resolution": RESOLUTION} | changes
    return gg.NormalInverseGamma(np.linspace(0.0, 1.0, D), KAPPA, A_0, **values)


def found(X: Floats, prior: gg.NormalInverseGamma) -> float:
    X = read_only(X)
    return log_one_cluster_gamma(Data(X, X.mean(0), np.ones(X.shape[1])), prior)


def log_density(x: Floats, mu_0: Floats, kappa_0: float, b_0: float) -> float:
    """Of rows (n, D) that share one variance: a t density of scale b M / a_0, M = I + 11' / kappa_0 in each column, and
    what their resolution adds. M has an inverse by Sherman & Morrison, and the determinant 1 + n / kappa_0.
    """
    n, D = x.shape
    b, half, d = b_0 + n * D * RESOLUTION**2 / 24.0, 0.5 * n * D, x - mu_0
    q = float(np.square(d).sum() - np.square(d.sum(0)).sum() / (kappa_0 + n))
    log_t = gammaln(A_0 + half) - gammaln(A_0) - half * np.log(2.0 * np.pi * b) - 0.5 * D * np.log1p(n / kappa_0)
    return float(A_0 * np.log(b_0 / b) + log_t - (A_0 + half) * np.log1p(q / (2.0 * b)))


def parts(X: Floats, prior: gg.NormalInverseGamma) -> list[tuple[Floats, Floats, float]]:
    """Rows, prior mean and scale of what shares a variance."""
    if prior.covariance_type == "spherical":
        return [(X, prior.mu_0, float(prior.b_0))]
    return [(X[:, [d]], prior.mu_0[[d]], prior.b_0[d]) for d in range(X.shape[1])]


def mean_of_scale(log_m: Callable[[float], float], b_0: float) -> float:
    """The mean of m over b ~ Gamma(H, mean b_0), in the logarithm of b."""
    law = stats.gamma(H, scale=b_0 / H)

    def density(s: float) -> float:
        return float(np.exp(log_m(np.exp(s)) + law.logpdf(np.exp(s)) + s))

    return float(integrate.quad(density, -25.0, 4.0, epsabs=0.0, epsrel=1e-11, limit=500)[0])


def brute(X: Floats, prior: gg.NormalInverseGamma) -> float:
    """The logarithm of the mean over both priors, one integral within the other."""

    def given_kappa(kappa: float) -> float:
        product = 1.0
        for x, mu_0, b_0 in parts(X, prior):
            if prior.b_0_shape is None:
                product *= np.exp(log_density(x, mu_0, kappa, b_0))
            else:
                product *= mean_of_scale(lambda b, x=x, mu_0=mu_0: log_density(x, mu_0, kappa, b), b_0)
        return product

    if prior.kappa_0_shape is None:
        return float(np.log(given_kappa(KAPPA)))

    def density(v: float) -> float:  # kappa_0 = KAPPA u^(1 / SHAPE), u uniform, and u = v^4 is smooth at 0
        return given_kappa(KAPPA * v ** (4.0 / SHAPE)) * 4.0 * v**3

    return float(np.log(integrate.quad(density, 0.0, 1.0, epsabs=0.0, epsrel=1e-10)[0]))


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("D", [1, 2])
@pytest.mark.parametrize("learned", ["nothing", "b_0", "kappa_0", "both"])
def test_it_is_the_mean_over_the_prior(kind: str, D: int, learned: str) -> None:
    fixed: dict[str, Any] = {}
    if learned in ("nothing", "kappa_0"):
        fixed["b_0_shape"] = None
    if learned in ("nothing", "b_0"):
        fixed["kappa_0_shape"] = None
    X, prior = some_rows(D), some_prior(D, kind, **fixed)
    assert abs(found(X, prior) - brute(X, prior)) < 1e-8


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("change", [{"b_0_shape": 1.2 * H}, {"kappa_0_shape": 1.2 * SHAPE}, {"resolution": 0.32}])
def test_another_prior_would_be_seen(kind: str, change: dict[str, float]) -> None:
    X = some_rows(2)
    assert abs(found(X, some_prior(2, kind, **change)) - found(X, some_prior(2, kind))) > 1e-3


@pytest.mark.parametrize("a_n", [2.5, 4.0, 21.7])
@pytest.mark.parametrize("h", [0.05, 0.5, 3.0])
@pytest.mark.parametrize("z", [0.01, 1.0, 30.0])
def test_the_mean_over_a_scale_is_a_confluent_hypergeometric_function(a_n: float, h: float, z: float) -> None:
    a_0, rate = 1.5, 2.0
    c, power = z / rate, h + a_0
    # U(a, b, z) = z^(1-b) U(a-b+1, 2-b, z) (DLMF 13.2.40); SciPy has the second form right where b is far below 0
    log_U = (a_n - power) * np.log(z) + np.log(hyperu(a_n, a_n - power + 1.0, z))
    truth = h * np.log(rate) - gammaln(h) + (power - a_n) * np.log(c) + gammaln(power) + log_U
    result = log_mean_of_scale(a_0, a_n, h, np.array([rate]), np.array([[c]]))[0, 0]
    assert abs(result - truth) < 1e-8


@pytest.mark.parametrize("a_n", [2.0, 60.0, 1e6])
@pytest.mark.parametrize("h", [0.01, 0.5, 1e4])
@pytest.mark.parametrize("c", [1e-12, 1.0, 1e12])
def test_a_finer_rule_gives_the_same(a_n: float, h: float, c: float, monkeypatch: pytest.MonkeyPatch) -> None:
    args = 1.5, a_n, h, np.array([0.7]), np.array([[c]])
    result = log_mean_of_scale(*args)[0, 0]
    monkeypatch.setattr(one_cluster_gamma, "_STEP", one_cluster_gamma._STEP / 4.0)
    monkeypatch.setattr(one_cluster_gamma, "_DROP", 60.0)
    finer = log_mean_of_scale(*args)[0, 0]
    assert abs(result - finer) < 1e-9 + 4.0 * EPS * abs(finer)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize(("rows", "D"), [(3, 1), (50, 8), (400, 60)])
@pytest.mark.parametrize("away", [0.0, 1e3])
def test_finer_panels_give_the_same(kind: str, rows: int, D: int, away: float, monkeypatch: pytest.MonkeyPatch) -> None:
    X = np.random.default_rng(1).normal(size=(rows, D))
    default = gg.NormalInverseGamma.from_data(X, kind).to_dict()
    prior = gg.NormalInverseGamma.from_dict(default | {"mu_0": np.array(default["mu_0"]) + away})
    result = found(X, prior)
    for name in ("_PANEL", "_FIRST"):
        monkeypatch.setattr(one_cluster_gamma, name, getattr(one_cluster_gamma, name) / 3.0)
    monkeypatch.setattr(one_cluster_gamma, "_DROP", 60.0)
    finer = found(X, prior)
    assert abs(result - finer) < 1e-8 + 4.0 * EPS * abs(finer)


@pytest.mark.parametrize("kind", TYPES)
def test_a_narrow_law_is_nearly_fixed(kind: str) -> None:
    X = some_rows(3)
    fixed = found(X, some_prior(3, kind, b_0_shape=None, kappa_0_shape=None))
    narrow = found(X, some_prior(3, kind, b_0_shape=1e7, kappa_0_shape=1e7))
    assert abs(narrow - fixed) < 1e-4


@pytest.mark.parametrize("kind", TYPES)
def test_in_one_column_it_is_that_of_full_covariances(kind: str) -> None:
    X = read_only(some_rows(1))
    value, se = log_one_cluster(
        Data(X, X.mean(0), np.ones(1)),
        gg.NormalInverseWishart.from_data(X),
        np.random.SeedSequence(1).spawn(16),
        1,
    )
    assert 0.0 < se < 0.04
    assert abs(found(X, gg.NormalInverseGamma.from_data(X, kind)) - value) < 4.0 * se


def test_units_change_the_density_only() -> None:
    """Columns a millionth and a million times as wide, of diagonal components."""
    X, width = some_rows(3), np.array([1e-6, 1.0, 1e6])
    prior = some_prior(3, "diag")
    mapped = gg.NormalInverseGamma(
        prior.mu_0 * width, KAPPA, A_0, prior.b_0 * width**2,
        b_0_shape=H, kappa_0_shape=SHAPE, resolution=RESOLUTION * width,
    )  # fmt: skip
    assert abs(found(X * width, mapped) + N * np.log(width).sum() - found(X, prior)) < 1e-8


def test_a_constant_column_known_exactly_has_no_density() -> None:
    X = some_rows(2)
    X[:, 1] = 3.0
    with pytest.raises(NumericalError, match="constant and exact"):
        found(X, some_prior(2, "diag", resolution=0.0))
    assert np.isfinite(found(X, some_prior(2, "diag", resolution=0.1)))
    assert np.isfinite(found(X, some_prior(2, "diag", resolution=0.0, b_0_shape=None)))
