"""Sweeps of components that share a covariance: against the enumerated posterior, and exact invariance of the prior.

RATE is the probability that a statistical test fails although all is well: it is divided by the number of p-values.
"""

import dataclasses
import math

import numpy as np
import oracle
import pytest
import simulation
from harness import Gibbs, assert_p_values, assert_within_mcse, package_prior, some_niw
from invariance import Story, invariance_p_values, shuffled
from oracle import NIW, Finite, Floats, Ints
from test_tied import NOISE, RATE, lower

import gibbs_gmm as gg
from gibbs_gmm import trace_arrays
from gibbs_gmm.kernels.families.full import NU
from gibbs_gmm.sampler.assemble import as_model, initial_state


class Tied(Gibbs):
    """One chain of components that share a covariance; Sigma goes in and comes out as (K, D, D), all alike."""

    def __init__(self, X: Floats, K: int, alpha: float, niw: NIW, loc: Floats | None = None) -> None:
        super().__init__(X, K, alpha, niw, loc)
        prior = dataclasses.replace(package_prior(niw), covariance_type="tied")
        self.family = prior.family
        self.model, _ = as_model(prior, gg.FiniteMixture(K, alpha), self.loc)
        self.state = initial_state(np.random.default_rng(0), self.data, self.model, self.family, alpha, K, K)
        self._fields = trace_arrays.fields(prior, learns_concentration=False, save_assignments=True)

    def set_covariance(self, Sigma: Floats) -> None:
        """Set the covariance that moves are conditional on."""
        self.state.prior.W[0] = lower(np.linalg.inv(Sigma[0]))

    def parameters(self) -> tuple[Floats, Floats, Floats]:
        """w, mu and Sigma as they stand."""
        V = np.linalg.inv(self.state.prior.W[0])
        mu = self.state.components.centre[:, : self.D] + self.loc
        return np.exp(self.state.log_w), mu, np.tile(V @ V.T, (self.K, 1, 1))


MOVES = dict(zip(("launches", "recalls", "row by row", "seeded", "searched"), np.diag([20] * 5).tolist(), strict=True))
ENUMERATED = {"1D": (1, 7, None), "2D": (2, 7, None), "2D, rounded": (2, 6, NOISE[:2])}


@pytest.mark.parametrize("moves", MOVES.values(), ids=list(MOVES))
@pytest.mark.parametrize(("D", "N", "noise"), ENUMERATED.values(), ids=list(ENUMERATED))
def test_partitions_have_their_posterior_probabilities(D: int, N: int, noise: Floats | None, moves: list[int]) -> None:
    # Twenty moves of whole clusters for each pass of single labels: a bias of the moves is not mended by the labels.
    X = np.where(np.arange(N) % 2, 1.0, -1.0)[:, None] + np.random.default_rng(N).standard_normal((N, D))
    niw, K, alpha, count = some_niw(D, D + 1.5)._replace(noise=noise), 3, 0.7, 20_000
    gibbs, rng = Tied(X, K, alpha, niw), np.random.default_rng(8)
    gibbs.warm_up(rng, count, moves)
    draws = gibbs.sweeps(rng, count)
    z = draws["z"][None].astype(np.int64)
    exact, free = (oracle.enumerate_posterior(X, niw, Finite(K, alpha), tied=tied) for tied in (True, False))
    assert np.abs(exact.co_clustering - free.co_clustering).max() > 0.03  # covariances of their own would show
    n_clusters = sum((z == k).any(-1).astype(int) for k in range(K))
    for t in range(1, K + 1):
        assert_within_mcse(n_clusters == t, exact.n_clusters[t - 1], min_ess=3000, name=f"p(n+ = {t})")
    for i in range(N):
        for j in range(i):
            assert_within_mcse(z[..., i] == z[..., j], exact.co_clustering[i, j], min_ess=3000, name=f"p({i}, {j})")
    if noise is None:  # the density of one more row involves w, mu and Sigma: a ratio of two evidences is its mean
        x = X[0] + 0.5
        more = oracle.enumerate_posterior(np.vstack([X, x]), niw, Finite(K, alpha), tied=True)
        truth = math.exp(more.log_evidence - exact.log_evidence)
        d, Sigma = x - draws["means"], draws["covariance"]
        distance = (d * np.linalg.solve(Sigma[:, None], d[..., None])[..., 0]).sum(-1)
        log_p = -0.5 * (distance + np.linalg.slogdet(2.0 * np.pi * Sigma)[1][:, None])
        assert_within_mcse((draws["weights"] * np.exp(log_p)).sum(-1)[None], truth, min_ess=3000, name="density")


class TiedStory(Story):
    """Components that share a covariance."""

    def draw(self, rng: np.random.Generator) -> tuple[Floats, Floats, Floats, Ints, Floats]:
        """w, mu, Sigma (K, D, D), z and X."""
        w = rng.dirichlet(np.full(self.K, self.alpha))
        _, Sigma = simulation.draw_niw(rng, self.niw)
        mu = rng.multivariate_normal(self.niw.mu_0, Sigma / self.niw.kappa_0, self.K)
        covariances = np.tile(Sigma, (self.K, 1, 1))
        X, z = simulation.draw_mixture(rng, self.N, w, mu, covariances)
        return w, mu, covariances, z, X


STORIES = {f"{D}D, K={K}": TiedStory(10, K, 0.8, some_niw(D, D + 3.0)) for D, K in ((1, 2), (2, 3))}
SEED = 20_260_901


def p_values(story: Story, moves: list[int], bug: float = 0.0) -> dict[str, float]:
    """Of sweeps that leave the story invariant; with a bug, the covariance's degrees of freedom are off by as much."""
    rng, sweeps = np.random.default_rng(3), 3
    gibbs = Tied(
        story.niw.mu_0 + rng.standard_normal((story.N, story.D)), story.K, story.alpha, story.niw, np.full(story.D, 0.3)
    )
    gibbs.warm_up(rng, sweeps, moves)
    gibbs.state.prior.scalars[NU] += bug

    def step(
        rng: np.random.Generator, w: Floats, mu: Floats, Sigma: Floats, z: Ints, X: Floats
    ) -> tuple[Floats, Floats, Floats, Ints]:
        gibbs.set_data(X)
        gibbs.set_covariance(Sigma)
        gibbs.set_labels(z, occupied_first=True)
        gibbs.sweeps(rng, sweeps)
        return shuffled(rng, *gibbs.parameters(), gibbs.labels())

    return invariance_p_values(story, step, replicates=1500, seed=SEED)


@pytest.mark.parametrize("story", STORIES.values(), ids=list(STORIES))
def test_sweeps_leave_the_prior_invariant(story: Story) -> None:
    assert_p_values(p_values(story, [3, 3, 3, 3, 3]), RATE)


def test_a_bug_planted_in_the_sweep_is_caught() -> None:
    with pytest.raises(AssertionError, match="p-values below"):
        assert_p_values(p_values(STORIES["2D, K=3"], [3, 3, 3, 3, 3], bug=1.0), RATE)
