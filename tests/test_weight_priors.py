"""What weight priors imply for the number of clusters: `n_clusters_pmf` against enumeration, urns and simulation."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import oracle
import pytest
from oracle import DP, PY, DynamicMFM, Finite, Floats, StaticMFM
from scipy import special, stats

import gibbs_gmm as gg
from gibbs_gmm.model import n_clusters_prior as partition_prior
from gibbs_gmm.model.weight_priors import WeightPrior

BNB = stats.betanbinom(1, 4, 3, loc=1)
UP_TO_6 = stats.randint(1, 7)
MANY_TERMS = np.arange(1, 20_001)

RELATIVE = 1e-9  # of a coefficient, where sigma is not near 1
TAIL = 2e-9  # mass of n beyond the cut at 1e-9, on either side of it


# --- Small N: enumeration, and the fixture ---

CONCENTRATIONS = [1e-3, 0.3, 1.0, 2.7, 40.0]


def pairs(alpha: float) -> list[tuple[WeightPrior, oracle.WeightPrior, float]]:
    """The package's priors, the oracle's, and how far apart they may be."""
    return [
        (gg.FiniteMixture(1, alpha), Finite(1, alpha), RELATIVE),
        (gg.FiniteMixture(4, alpha), Finite(4, alpha), RELATIVE),
        (gg.FiniteMixture(30, alpha), Finite(30, alpha), RELATIVE),
        (gg.MixtureOfFiniteMixtures(UP_TO_6, alpha, dynamic=False), StaticMFM(alpha, np.full(6, 1 / 6)), RELATIVE),
        (gg.MixtureOfFiniteMixtures(UP_TO_6, alpha, dynamic=True), DynamicMFM(alpha, np.full(6, 1 / 6)), RELATIVE),
        (gg.MixtureOfFiniteMixtures(BNB, alpha, dynamic=False), StaticMFM(alpha, BNB.pmf(MANY_TERMS)), TAIL),
        (gg.MixtureOfFiniteMixtures(BNB, alpha, dynamic=True), DynamicMFM(alpha, BNB.pmf(MANY_TERMS)), TAIL),
        (gg.DirichletProcess(alpha), DP(alpha), RELATIVE),
        (gg.PitmanYorProcess(alpha, 0.25), PY(alpha, 0.25), RELATIVE),
        (gg.PitmanYorProcess(alpha, 0.9), PY(alpha, 0.9), RELATIVE),
    ]


@pytest.mark.parametrize("alpha", CONCENTRATIONS)
@pytest.mark.parametrize("N", [1, 2, 9])
def test_enumeration(N: int, alpha: float) -> None:
    for prior, other, error in pairs(alpha):
        pmf = prior.n_clusters_pmf(N)
        assert pmf.shape == (N,)
        assert pmf.dtype == np.float64
        np.testing.assert_allclose(pmf, oracle.prior_n_clusters(N, other), rtol=0, atol=error, err_msg=repr(prior))


def test_fixture_a() -> None:
    text = ".62059306 .22770739 .09057710 .03719167 .01518166 .00592614 .00209748 .00061139 .00011411"
    pmf = gg.MixtureOfFiniteMixtures(BNB, 1.0, dynamic=False).n_clusters_pmf(9)
    printed = np.array(text.split(), dtype=float)
    np.testing.assert_allclose(pmf, printed, rtol=0, atol=0.5e-8 + TAIL)


# --- Any N: urns, identities, sums ---


def urn(N: int, alpha: float, new: float) -> Floats:
    """p(n+ = 1..N) by one observation after another: the (i + 1)st founds a cluster with probability
    (alpha + t new)/(i + alpha), where t clusters hold i observations. n components: new = -alpha/n. All terms are
    positive.
    """
    p, t = np.zeros(N + 1), np.arange(N + 1)
    p[1] = 1.0
    for i in range(1, N):
        found = np.clip((alpha + new * t) / (i + alpha), 0.0, 1.0)
        p[1:] = p[1:] * (1.0 - found[1:]) + p[:-1] * found[:-1]
    return p[1:]


@pytest.mark.parametrize("N", [65, 150, 2000])
@pytest.mark.parametrize("alpha", [1e-6, 0.7, 30.0, 1e6])
def test_urns(N: int, alpha: float) -> None:
    for n in (2, 7, 400, 5000):
        np.testing.assert_allclose(
            gg.FiniteMixture(n, alpha / n).n_clusters_pmf(N), urn(N, alpha, -alpha / n), atol=2e-9
        )
    np.testing.assert_allclose(gg.DirichletProcess(alpha).n_clusters_pmf(N), urn(N, alpha, 0.0), atol=2e-9)
    for d in (1e-9, 0.3, 0.8, 0.99):
        pmf = gg.PitmanYorProcess(alpha, d).n_clusters_pmf(N)
        np.testing.assert_allclose(pmf, urn(N, alpha, d), atol=2e-9 / (1.0 - d))


def test_stirling_numbers_by_their_recursion() -> None:
    # S(N + 1, t) = (N - sigma t) S(N, t) + S(N, t - 1), in logs; no term is negative.
    for sigma in (-1e6, -20.0, -1.0, -1e-3, 0.0, 0.2, 0.9):
        log_S = np.array([0.0])
        for N in range(1, 300):
            t = np.arange(1.0, N + 1.0)
            stay = np.append(np.log(N - sigma * t) + log_S, -np.inf)
            log_S = np.logaddexp(stay, np.append(-np.inf, log_S))
            if N in (1, 2, 7, 15, 16, 20, 63, 64, 65, 130, 299):
                t = np.append(t, N + 1.0)
                log_c = partition_prior.log_coefficients(N + 1, t, np.full(len(t), sigma))
                found = log_c + special.gammaln(N + 2.0) - special.gammaln(t + 1.0)
                np.testing.assert_allclose(found, log_S, rtol=1e-13, atol=RELATIVE, err_msg=f"{sigma}, {N + 1}")


LEARNED: list[WeightPrior] = [
    gg.FiniteMixture(10, stats.gamma(1, scale=1 / 20)),
    gg.MixtureOfFiniteMixtures(),
    gg.MixtureOfFiniteMixtures(BNB, stats.gamma(1, scale=1 / 20), dynamic=False),
    gg.DirichletProcess(stats.gamma(2, scale=1 / 4)),
    gg.PitmanYorProcess(stats.lognorm(1.0), 0.3),
]


@pytest.mark.parametrize("N", [1, 150, 10_000, 1_000_000])
def test_sums_to_one(N: int) -> None:
    for prior in [pair[0] for pair in pairs(0.5)] + (LEARNED if N < 1_000_000 else LEARNED[1:2]):
        pmf = prior.n_clusters_pmf(N)
        assert pmf.shape == (N,)
        assert pmf.min() >= 0.0
        assert abs(pmf.sum() - 1.0) < 2e-9 + 1e-15 * N, prior  # log N! has a rounding error of its own
        if isinstance(prior, gg.FiniteMixture):
            assert not pmf[prior.n_components :].any()


def test_known_n_is_a_finite_mixture() -> None:
    four = stats.randint(4, 5)
    for N in (5, 300):
        static = gg.MixtureOfFiniteMixtures(four, 0.6, dynamic=False).n_clusters_pmf(N)
        dynamic = gg.MixtureOfFiniteMixtures(four, 2.4, dynamic=True).n_clusters_pmf(N)
        finite = gg.FiniteMixture(4, 0.6).n_clusters_pmf(N)
        np.testing.assert_allclose(static, finite, rtol=1e-9)
        np.testing.assert_allclose(dynamic, finite, rtol=1e-9)


def test_pitman_yor_without_discount_is_a_dirichlet_process() -> None:
    pmf = gg.PitmanYorProcess(1.7, 0.0).n_clusters_pmf(500)
    np.testing.assert_array_equal(pmf, gg.DirichletProcess(1.7).n_clusters_pmf(500))


@pytest.mark.parametrize("N", [100, 10_000_000])
def test_means_in_closed_form(N: int) -> None:
    t = np.arange(1, N + 1)
    alpha, d, n = 2.5, 0.4, 8
    process = alpha * (special.digamma(alpha + N) - special.digamma(alpha))
    np.testing.assert_allclose(gg.DirichletProcess(alpha).n_clusters_pmf(N) @ t, process, rtol=1e-7)
    rising = special.gammaln(alpha + d + N) - special.gammaln(alpha + N) + special.gammaln(alpha + 1)
    two = math.exp(rising - special.gammaln(alpha + d)) / d - alpha / d  # Pitman (2006), eq. 3.13
    np.testing.assert_allclose(gg.PitmanYorProcess(alpha, d).n_clusters_pmf(N) @ t, two, rtol=1e-6)
    absent = special.betaln((n - 1) * 0.1 + N, 0.1) - special.betaln((n - 1) * 0.1, 0.1)
    finite = n * -math.expm1(absent)
    np.testing.assert_allclose(gg.FiniteMixture(n, 0.1).n_clusters_pmf(N) @ t, finite, rtol=1e-7)


# --- Learned concentrations ---


@pytest.mark.parametrize(
    "law",
    [stats.f(6, 3), stats.gamma(1, scale=0.05), stats.uniform(0.5, 2), stats.triang(0.3, 0.1, 3), stats.halfcauchy()],
    ids=lambda law: law.dist.name,
)
def test_learned_concentration_by_quadrature(law: Any) -> None:
    N = 40
    grid = np.concatenate([law.ppf([1e-10, 0.01, 0.2, 0.5, 0.8, 0.99]), [law.ppf(1 - 1e-10)]])
    if law.dist.name == "triang":
        grid = np.sort(np.append(grid, 0.1 + 0.3 * 3))  # its corner
    for kind in (gg.DirichletProcess, lambda alpha: gg.MixtureOfFiniteMixtures(UP_TO_6, alpha, dynamic=True)):
        total = np.zeros(N)
        x, w = np.polynomial.legendre.leggauss(20)
        for low, high in pairwise(np.log(grid)):
            alpha = np.exp(0.5 * (low + high) + 0.5 * (high - low) * x)
            weight = 0.5 * (high - low) * w * law.pdf(alpha) * alpha
            total += sum(share * kind(a).n_clusters_pmf(N) for share, a in zip(weight, alpha, strict=True))
        found = kind(law).n_clusters_pmf(N)
        assert np.abs(found - total).sum() < 1e-6


@pytest.mark.parametrize("prior", LEARNED, ids=lambda prior: type(prior).__name__)
def test_learned_concentration_by_simulation(prior: WeightPrior) -> None:
    """Weights, then labels, then clusters; chi-squared, which fails a right answer with probability 1e-4."""
    N, R, rng = 20, 20_000, np.random.default_rng(7)
    alpha = prior.concentration.rvs(R, random_state=rng)
    t = np.ones(R, int)
    if isinstance(prior, gg.FiniteMixture | gg.MixtureOfFiniteMixtures):
        known = isinstance(prior, gg.FiniteMixture)
        n = np.full(R, prior.n_components) if known else prior.n_prior.rvs(R, random_state=rng)
        gamma = alpha / n if not known and prior.dynamic else alpha
        for r in range(R):
            # log Gamma(gamma) variates as log Gamma(gamma + 1) + log(U)/gamma: gamma may be tiny.
            log_w = np.log(rng.standard_gamma(gamma[r] + 1, n[r])) - rng.standard_exponential(n[r]) / gamma[r]
            w = np.exp(log_w - log_w.max())
            t[r] = np.count_nonzero(rng.multinomial(N, w / w.sum()))
    else:
        d = getattr(prior, "discount", 0.0)
        for i in range(1, N):
            t += rng.random(R) * (i + alpha) < alpha + t * d
    p = prior.n_clusters_pmf(N)
    last = int(np.flatnonzero(p[::-1].cumsum()[::-1] * R > 20)[-1])  # pool the tail
    expected = R * np.append(p[:last], p[last:].sum())
    observed = np.bincount(np.minimum(t - 1, last), minlength=last + 1)
    assert stats.chisquare(observed, expected * observed.sum() / expected.sum()).pvalue > 1e-4


def test_a_density_too_rough_for_the_rule_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition_prior, "_MOST_PANELS", 6)
    monkeypatch.setattr(partition_prior, "_AGREE", 1e-15)
    with pytest.warns(UserWarning, match="may be wrong by"):
        gg.DirichletProcess(stats.triang(0.3, 0.1, 3)).n_clusters_pmf(50)


def test_the_first_few_alone() -> None:
    """They are the same, up to where the average over a concentration ends."""
    learned = (gg.MixtureOfFiniteMixtures(), gg.DirichletProcess(stats.gamma(2)))
    for prior in (*(prior for prior, _, _ in pairs(0.7)), *learned):
        whole = prior.n_clusters_pmf(40)
        for most in (1, 7, 16, 39, 40, 90):
            first = prior.n_clusters_pmf(40, most)
            np.testing.assert_allclose(first, whole[:most], rtol=0, atol=1e-8, err_msg=repr(prior))
            assert first.shape == (min(most, 40),)
    with pytest.raises(ValueError, match="most must be at least 1, got 0"):
        gg.DirichletProcess().n_clusters_pmf(9, 0)


# --- Bad input ---


@pytest.mark.parametrize(
    ("N", "error", "message"),
    [
        (0, ValueError, "N must be at least 1, got 0"),
        (-3, ValueError, "N must be at least 1, got -3"),
        (2.0, TypeError, "N must be an integer, got 2.0"),
        (True, TypeError, "N must be an integer, got the boolean True"),
        ("9", TypeError, "N must be an integer, got '9'"),
        (10**9, ValueError, r"N must be at most 10,000,000 \(the result has N entries\), got 1,000,000,000"),
    ],
)
def test_bad_N(N: Any, error: type[Exception], message: str) -> None:
    for prior in (gg.FiniteMixture(3), gg.MixtureOfFiniteMixtures(), gg.DirichletProcess(), gg.PitmanYorProcess()):
        with pytest.raises(error, match=message):
            prior.n_clusters_pmf(N)
