"""Sweeps of diagonal and spherical components: against the enumerated posterior, and against each other in one column.

Each comparison fails with probability 6e-5 although all is well.
"""

import math

import numpy as np
import oracle
import pytest
from family_cases import Case
from harness import Gibbs, assert_same_draws, assert_within_mcse
from oracle import Finite, Floats

import gibbs_gmm as gg
from gibbs_gmm import trace_arrays
from gibbs_gmm.sampler import chain as chains
from gibbs_gmm.sampler.assemble import as_model, initial_state


class Columns(Gibbs):
    """One chain of components of a case."""

    def __init__(self, X: Floats, K: int, alpha: float, case: Case) -> None:
        super().__init__(X, K, alpha, case.niw)
        prior = case.package()
        self.model, _ = as_model(prior, gg.FiniteMixture(K, alpha), self.loc)
        self.family = prior.family
        self.state = initial_state(np.random.default_rng(0), self.data, self.model, self.family, alpha, K, K)
        self._fields = trace_arrays.fields(prior, learns_concentration=False, save_assignments=True)


MOVES = dict(zip(("launches", "recalls", "row by row", "seeded", "searched"), np.diag([20] * 5).tolist(), strict=True))


@pytest.mark.parametrize("moves", MOVES.values(), ids=list(MOVES))
@pytest.mark.parametrize("noise", [None, np.array([0.4, 0.8])], ids=["exact", "rounded"])
@pytest.mark.parametrize("name", ["diag", "spherical"])
def test_partitions_have_their_posterior_probabilities(
    name: str, noise: Floats | None, moves: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Twenty moves of whole clusters for each pass of single labels: a bias of the moves is not mended by the labels.
    N, D, K, alpha, count = 6, 2, 3, 0.7, 20_000
    X = np.where(np.arange(N) % 2, 1.0, -1.0)[:, None] + np.random.default_rng(N).standard_normal((N, D))
    case = Case(name, D, np.zeros(D) if noise is None else noise)
    gibbs, rng = Columns(X, K, alpha, case), np.random.default_rng(8)
    gibbs.warm_up(rng, count, moves)
    draws = gibbs.sweeps(rng, count)
    z = draws["z"][None].astype(np.int64)
    free = oracle.enumerate_posterior(X, case.niw, Finite(K, alpha))
    monkeypatch.setattr(oracle, "log_marginal", lambda X, niw: case.log_marginal(X))
    exact = oracle.enumerate_posterior(X, case.niw, Finite(K, alpha))
    assert np.abs(exact.co_clustering - free.co_clustering).max() > 0.03  # full covariances would show
    n_clusters = sum((z == k).any(-1).astype(int) for k in range(K))
    for t in range(1, K + 1):
        assert_within_mcse(n_clusters == t, exact.n_clusters[t - 1], min_ess=3000, name=f"p(n+ = {t})")
    for i in range(N):
        for j in range(i):
            assert_within_mcse(z[..., i] == z[..., j], exact.co_clustering[i, j], min_ess=3000, name=f"p({i}, {j})")
    if noise is None:  # the density of one more row involves w, mu and sigma: a ratio of two evidences is its mean
        x = X[0] + 0.5
        more = oracle.enumerate_posterior(np.vstack([X, x]), case.niw, Finite(K, alpha))
        truth = math.exp(more.log_evidence - exact.log_evidence)
        variance = draws["variances"].reshape(count, K, -1) * np.ones(D)
        log_p = -0.5 * (np.square(x - draws["means"]) / variance + np.log(2.0 * np.pi * variance)).sum(-1)
        assert_within_mcse((draws["weights"] * np.exp(log_p)).sum(-1)[None], truth, min_ess=3000, name="density")


def test_in_one_column_diagonal_and_spherical_fits_are_the_same() -> None:
    rng = np.random.default_rng(2)
    X = np.concatenate([rng.normal(-4.0, 1.0, 60), rng.normal(2.0, 0.5, 60)])[:, None]
    settings = {"draws": 50, "warmup": 150, "chains": 2, "rng": 4, "threads": 1, "progress": False}
    diag, spherical = (gg.fit(X, covariance_type=kind, **settings) for kind in ("diag", "spherical"))
    np.testing.assert_array_equal(diag.assignments, spherical.assignments)
    for name in ("weights", "means", "log_likelihood", "log_posterior", "kappa_0"):
        np.testing.assert_allclose(getattr(diag, name), getattr(spherical, name), rtol=1e-6, err_msg=name)
    np.testing.assert_allclose(diag.variances[..., 0], spherical.variances, rtol=1e-6)


@pytest.mark.parametrize("kind", ["diag", "spherical"])
def test_threads_change_no_byte(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chains, "_SHARE_SECONDS", 0.0)  # share the rows of every sweep, however fast
    monkeypatch.setattr(chains, "_BATCH_SECONDS", 0.0)  # but of the first batch, whose speed is not known
    X = np.random.default_rng(1).normal(size=(40_000, 5)) + 6.0 * (np.arange(40_000) % 2)[:, None]
    settings = {"draws": 2, "warmup": 6, "chains": 1, "rng": 4, "progress": False, "covariance_type": kind}
    assert_same_draws(gg.fit(X, threads=1, **settings), gg.fit(X, threads=2, **settings))


@pytest.mark.parametrize("kind", ["diag", "spherical"])
@pytest.mark.parametrize(("D", "N"), [(1, 200), (50, 150), (200, 150)])
def test_kinds_that_lie_apart_are_found(kind: str, D: int, N: int) -> None:
    rng = np.random.default_rng([3, D])
    width = np.exp(rng.normal(0.0, 0.3, (3, D if kind == "diag" else 1)))
    z = np.arange(N) % 3
    centres = np.array([-9.0, 0.0, 9.0])[:, None] if D == 1 else rng.normal(0.0, 1.5, (3, D))
    X = centres[z] + width[z] * rng.standard_normal((N, D))
    if kind == "diag":  # whatever the units
        X *= 10.0 ** rng.integers(-6, 7, D)
    trace = gg.fit(X, covariance_type=kind, draws=60, warmup=200, chains=2, rng=4, threads=1, progress=False)
    assert np.mean(trace.n_clusters == 3) > 0.8
    same = trace.assignments[:, -1, :, None] == trace.assignments[:, -1, None, :]
    assert (same == (z[:, None] == z)).mean() > 0.99


@pytest.mark.parametrize("kind", ["diag", "spherical"])
@pytest.mark.parametrize("D", [2, 50])
def test_one_kind_is_not_split(kind: str, D: int) -> None:
    X = np.random.default_rng([5, D]).normal(size=(200, D))
    trace = gg.fit(X, covariance_type=kind, draws=60, warmup=200, chains=2, rng=4, threads=1, progress=False)
    assert np.mean(trace.n_clusters == 1) > 0.8
