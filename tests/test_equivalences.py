"""Weight priors that are the same law give the same draws, and in a limit nearly the same number of clusters."""

import numpy as np
import pytest
from harness import assert_same_draws
from scipy import stats

import gibbs_gmm as gg
from gibbs_gmm.model.weight_priors import WeightPrior, from_dict, to_dict

RNG = np.random.default_rng(3)
X = np.concatenate([RNG.normal(mean, 1.0, (20, 2)) for mean in (-4.0, 0.0, 4.0)])
THREE = stats.randint(3, 4)
GAMMA = stats.gamma(2.0, scale=0.5)
SETTINGS = {"draws": 40, "warmup": 40, "thin": 1, "rng": 1, "threads": 1, "progress": False}


@pytest.mark.parametrize(
    ("prior", "same"),
    [
        (gg.MixtureOfFiniteMixtures(THREE, 1.0, dynamic=False), gg.FiniteMixture(3, 1.0)),
        (gg.MixtureOfFiniteMixtures(THREE, 3.0, dynamic=True), gg.FiniteMixture(3, 1.0)),
        (gg.MixtureOfFiniteMixtures(THREE, GAMMA, dynamic=False), gg.FiniteMixture(3, GAMMA)),
        (gg.MixtureOfFiniteMixtures(stats.randint(1, 2), 1.0), gg.FiniteMixture(1, 1.0)),
        (gg.PitmanYorProcess(0.7, 0.0), gg.DirichletProcess(0.7)),
        (gg.PitmanYorProcess(GAMMA, 0.0), gg.DirichletProcess(GAMMA)),
    ],
)
def test_the_same_law_gives_the_same_bytes(prior: WeightPrior, same: WeightPrior) -> None:
    a, b = gg.fit(X, prior, **SETTINGS), gg.fit(X, same, **SETTINGS)
    assert_same_draws(a, b)
    assert a.n_is_known == b.n_is_known == (prior.known_n is not None)
    if prior.known_n is not None:
        assert (a.n_components == prior.known_n).all()


def test_defaults_of_a_known_number_hold_for_a_point_mass() -> None:
    a = gg.fit(X, gg.MixtureOfFiniteMixtures(THREE, 1.0, dynamic=False), draws=5, rng=1, progress=False)
    b = gg.fit(X, 3, draws=5, rng=1, progress=False)
    assert {name: a.settings[name] for name in ("warmup", "thin")} == {"warmup": 1000, "thin": 10}
    assert_same_draws(a, b)


def test_a_number_that_the_rows_do_not_allow_is_refused() -> None:
    with pytest.raises(ValueError, match=r"n_prior must allow n <= 2 for X with 2 rows, got a least n of 3"):
        gg.fit(X[:2], gg.MixtureOfFiniteMixtures(THREE, 1.0))


@pytest.mark.parametrize(
    ("prior", "known_n", "n_is_finite", "learns_n", "learns_concentration"),
    [
        (gg.FiniteMixture(4), 4, True, False, False),
        (gg.FiniteMixture(4, GAMMA), 4, True, False, True),
        (gg.MixtureOfFiniteMixtures(), None, True, True, True),
        (gg.MixtureOfFiniteMixtures(stats.randint(2, 4), 1.0), None, True, True, False),
        (gg.MixtureOfFiniteMixtures(THREE, 1.0), 3, True, False, False),
        (gg.MixtureOfFiniteMixtures(stats.binom(1, 1e-12, loc=5), 1.0), 5, True, False, False),  # 6 has mass 1e-12
        (gg.DirichletProcess(), None, False, False, False),
        (gg.PitmanYorProcess(GAMMA), None, False, False, True),
    ],
)
def test_what_a_prior_answers(
    prior: WeightPrior, known_n: int | None, n_is_finite: bool, learns_n: bool, learns_concentration: bool
) -> None:
    for same in (prior, from_dict(to_dict(prior))):
        assert same.known_n == known_n
        assert same.n_is_finite is n_is_finite
        assert same.learns_n is learns_n
        assert same.learns_concentration is learns_concentration


def test_priors_in_words() -> None:
    weights = "weights Dirichlet(concentration) each, concentration"
    for prior, words in (
        (gg.FiniteMixture(1, 0.5), f"1 component, {weights} 0.5"),
        (gg.FiniteMixture(4, GAMMA), f"4 components, {weights} learned"),
        (gg.MixtureOfFiniteMixtures(THREE, 1.0, dynamic=False), f"3 components, {weights} 1"),
        (
            gg.MixtureOfFiniteMixtures(),
            "mixture of finite mixtures: n unknown, weights Dirichlet(concentration / n) each, concentration learned",
        ),
        (gg.DirichletProcess(2.0), "Dirichlet process, concentration 2"),
        (gg.PitmanYorProcess(GAMMA, 0.25), "Pitman-Yor process, concentration learned, discount 0.25"),
    ):
        assert prior.describe() == words


@pytest.mark.parametrize(("alpha", "N", "K"), [(0.5, 30, 100_000), (3.0, 200, 10_000_000)])
def test_many_components_are_near_a_dirichlet_process(alpha: float, N: int, K: int) -> None:
    # One observation after another: with t <= i clusters, another is founded with probability (alpha - alpha t / K) /
    # (i + alpha) in place of alpha / (i + alpha). So the two laws of n+ differ by at most sum_i alpha i / (K (i +
    # alpha)) < alpha N / K in total variation; 2e-9 is the error of either pmf.
    many, process = gg.FiniteMixture(K, alpha / K).n_clusters_pmf(N), gg.DirichletProcess(alpha).n_clusters_pmf(N)
    assert 0.5 * np.abs(many - process).sum() < alpha * N / K + 2e-9
