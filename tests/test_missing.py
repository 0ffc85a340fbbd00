"""Missing values: labels given what is there, fills given labels, and the posterior with both integrated out.

RATE is the probability with which a statistical test fails although all is well.
"""

import itertools
import math
from typing import Any

import numpy as np
import oracle
import pytest
import simulation
from harness import Gibbs, assert_p_values, assert_within_mcse, package_prior, read_only, some_niw
from latent_stories import LatentStory, Sampler, full_errors, p_values, some_gaps
from oracle import NIW, Finite, Floats
from scipy import stats
from scipy.special import logsumexp

import gibbs_gmm as gg
from gibbs_gmm.kernels.sampler import latent as kernels
from gibbs_gmm.kernels.sampler import latent_factors as factors
from gibbs_gmm.kernels.sampler.latent_factors import factor_size
from gibbs_gmm.kernels.sampler.state import Data
from gibbs_gmm.kernels.sampler.sweep import kernel_passes
from gibbs_gmm.latent import filled_in, kinds_of_rows

RATE = 1e-4

# --- The label pass, against SciPy ---


class Incomplete(Gibbs):
    """One chain of full components, of rows that are not known in full."""

    def __init__(self, X: Floats, K: int, errors: Floats | None = None) -> None:
        D, rng = X.shape[1], np.random.default_rng(3)
        super().__init__(np.nan_to_num(X), K, 1.0, some_niw(D), np.linspace(0.4, -0.3, D))
        self.data = Data(read_only(X), self.loc, np.ones(D), latent=kinds_of_rows(X, errors))
        self.data = filled_in(rng, self.data, K)

    def label_shards(self, first: int, last: int) -> None:
        """The part of a label pass that one thread does."""
        kernel_passes(self.data, self.state.z)[1](self.data, self.state, False, first, last)


def some_mixture(K: int, D: int) -> tuple[Floats, Floats, Floats]:
    rng = np.random.default_rng([K, D])
    mu, Sigma = simulation.draw_components(rng, some_niw(D, D + 3.0), K)
    return rng.dirichlet(np.ones(K)), mu, Sigma


def some_rows(N: int, D: int, errors: str) -> tuple[Floats, Floats | None]:
    """Rows with gaps, and errors of a kind: of a column, or a row and column, some 0 or none, or matrices, 0 in one
    column."""
    rng = np.random.default_rng([N, D, len(errors)])
    X = rng.normal(0.0, 2.0, (N, D))
    X[some_gaps(N, D)] = np.nan
    if errors == "none":
        return X, None
    if errors == "of a column":
        return X, np.linspace(0.0, 1.0, D) if D > 1 else np.ones(1)
    if errors == "of a row and column":
        return X, rng.random((N, D)) * (rng.random((N, D)) < 0.7)
    if errors == "of all rows and columns":
        X[1:] = rng.normal(0.0, 2.0, (N - 1, D))
        return X, 0.1 + rng.random((N, D))
    root = rng.standard_normal((N, D, D))
    E = root @ root.transpose(0, 2, 1) + 0.1 * np.eye(D)
    if D > 1:
        E[:, 1, :] = E[:, :, 1] = 0.0
    return X, E


ERRORS = ["none", "of a column", "of a row and column", "of all rows and columns", "matrices"]


@pytest.mark.parametrize("errors", ERRORS)
@pytest.mark.parametrize(("D", "K"), [(1, 2), (2, 3), (4, 9), (5, 17), (9, 2)])
def test_log_likelihood_is_that_of_what_was_observed(D: int, K: int, errors: str) -> None:
    N = 150
    X, E = some_rows(N, D, errors)
    gibbs, (w, mu, Sigma) = Incomplete(X, K, E), some_mixture(K, D)
    gibbs.set_parameters(w, mu, Sigma)
    total, T = 0.0, np.zeros((N, D, D)) if E is None else full_errors(E, N, D)
    for i in range(N):
        o = ~np.isnan(X[i])
        laws = [stats.multivariate_normal(mu[k][o], (Sigma[k] + T[i])[np.ix_(o, o)]) for k in range(K)]
        total += logsumexp([law.logpdf(X[i, o]) for law in laws], b=w)
    for key in (1, 2):  # whatever the fills
        assert gibbs.label_pass(key) == pytest.approx(total, rel=1e-11)
    o = ~np.isnan(X) if E is None else ~np.isnan(X) & (np.einsum("ndd->nd", T) == 0.0)
    np.testing.assert_array_equal(gibbs.data.X[o], X[o])


@pytest.mark.parametrize("errors", ERRORS)
def test_labels_and_fills_are_drawn_from_their_law(errors: str) -> None:
    # The rows are copies of a few, so that one pass draws each of them 4,000 times.
    D, K, copies = 3, 2, 4000
    X, E = some_rows(5, D, errors)
    T = np.zeros((5, D, D)) if E is None else full_errors(E, 5, D)
    many = E if E is None or E.ndim == 1 else np.repeat(E, copies, axis=0)
    gibbs, (w, mu, Sigma) = Incomplete(np.repeat(X, copies, axis=0), K, many), some_mixture(K, D)
    gibbs.set_parameters(w, mu, Sigma)
    gibbs.label_pass(7)
    labels, values, p = gibbs.labels().reshape(5, copies), np.array(gibbs.data.X).reshape(5, copies, D), {}
    for i in range(5):
        o = ~np.isnan(X[i])
        S = [(Sigma[k] + T[i])[np.ix_(o, o)] for k in range(K)]
        log_p = [math.log(w[k]) + stats.multivariate_normal(mu[k][o], S[k]).logpdf(X[i, o]) for k in range(K)]
        share = math.exp(log_p[1] - logsumexp(log_p))
        p[f"label {i}"] = stats.binomtest(int(labels[i].sum()), copies, share).pvalue
        for k in range(K):
            own = values[i, labels[i] == k]
            if len(own) < 100:
                continue
            gain = Sigma[k][:, o] @ np.linalg.inv(S[k])
            mean, C = mu[k] + gain @ (X[i, o] - mu[k][o]), Sigma[k] - gain @ Sigma[k][o]
            free = np.flatnonzero(np.diagonal(C) > 1e-12)
            root = np.linalg.cholesky(C[np.ix_(free, free)])
            y = np.linalg.solve(root, (own - mean)[:, free].T)
            for a, b in itertools.combinations_with_replacement(range(len(free)), 2):
                p[f"row {i}, {k}, {a} {b}"] = stats.kstest(y[a] if a == b else (y[a] + y[b]) / 2**0.5, "norm").pvalue
    assert_p_values(p, RATE)


def test_a_table_without_room_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    X, _ = some_rows(150, 4, "none")
    one, other = (Incomplete(X, 9) for _ in range(2))
    room = other.data.latent.room
    own = factor_size(4, 16)
    cut = other.data.latent._replace(room=room._replace(table=room.table[: own + 500].copy()))
    other.data = other.data._replace(latent=cut)
    for gibbs in (one, other):
        gibbs.set_parameters(*some_mixture(9, 4))
        gibbs.state.key[0] = 5
        kernels.latent_pass(gibbs.data, gibbs.state, False, kernels.new_workspace(9, 4), 0, 1)
    np.testing.assert_allclose(one.data.X, other.data.X, rtol=1e-12, atol=1e-12)  # rounding differs
    np.testing.assert_array_equal(one.labels(), other.labels())


@pytest.mark.parametrize("apart", [1e4, 1e8])
def test_far_apart_and_thin(apart: float) -> None:
    # Two columns that are nearly one, and clusters far away: no digit that matters is lost once fills are near.
    rng, D = np.random.default_rng(2), 3
    z = np.arange(200) % 2
    X = rng.standard_normal((200, D)) + apart * z[:, None]
    X[:, 1] = X[:, 0] + 1e-4 * rng.standard_normal(200)
    X[::3, 1] = np.nan
    Sigma = np.array([[1.0, 1.0, 0.0], [1.0, 1.0 + 1e-8, 0.0], [0.0, 0.0, 1.0]])
    mu, w = np.array([np.zeros(D), np.full(D, apart)]), np.array([0.3, 0.7])
    gibbs = Incomplete(X, 2)
    gibbs.loc[:] = X[np.arange(200) % 3 != 0].mean(0)
    gibbs.set_parameters(w, mu, np.array([Sigma, Sigma]))
    gibbs.label_pass(1)
    found = gibbs.label_pass(2)
    np.testing.assert_array_equal(gibbs.labels(), z)
    truth = np.log(w[z]).sum()
    for i in range(200):
        o = ~np.isnan(X[i])
        truth += stats.multivariate_normal(mu[z[i]][o], Sigma[np.ix_(o, o)]).logpdf(X[i, o])
    assert found == pytest.approx(truth, abs=1e-9 * apart)


# --- Exact invariance ---

FINITE = gg.FiniteMixture(3, concentration=0.8)
WEIGHTS = {
    "finite": FINITE,
    "mixture of finite mixtures": gg.MixtureOfFiniteMixtures(
        n_prior=stats.randint(1, 5), concentration=0.9, dynamic=False
    ),
    "process": gg.DirichletProcess(concentration=0.8),
}
FAMILIES = ["full", "tied", "diag", "spherical"]


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("D", [2, 3])
def test_sweeps_leave_every_family_invariant(name: str, D: int) -> None:
    assert_p_values(p_values(LatentStory(name, FINITE, some_gaps(8, D))), RATE)


@pytest.mark.parametrize("weights", ["mixture of finite mixtures", "process"])
def test_sweeps_leave_every_prior_of_weights_invariant(weights: str) -> None:
    assert_p_values(p_values(LatentStory("full", WEIGHTS[weights], some_gaps(8, 2))), RATE)


@pytest.mark.parametrize("name", ["full", "tied", "errors"])
def test_rows_that_are_worked_on_together_leave_the_prior_invariant(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Few rows are worked on together only where few count as many.
    monkeypatch.setattr(factors, "many_rows", lambda N: 1)
    gaps = some_gaps(12, 2)
    errors = 0.1 + np.random.default_rng(1).random((12, 2)) if name == "errors" else None
    latent = kinds_of_rows(np.where(gaps, np.nan, 0.0), errors)
    assert latent.shared[2] > 0 if name == "errors" else latent.shared[1] > 0
    assert_p_values(p_values(LatentStory("tied" if name == "tied" else "full", FINITE, gaps, errors)), RATE)


class OldFills(Sampler):
    """A bug: fills are kept where labels were drawn without them."""

    def after(self, rng: np.random.Generator, drawn: Any) -> dict[str, float]:
        latent = self.data.latent
        self.chain.data = self.data._replace(latent=latent._replace(values=latent.values.copy()))
        return super().after(rng, drawn)


def test_fills_that_are_kept_are_caught() -> None:
    story = LatentStory("full", FINITE, some_gaps(8, 2))
    p = p_values(story, OldFills(story))
    assert p["distances of rows with gaps"] < RATE / len(p)


# --- The posterior, by enumeration ---


def enumerated(X: Floats, niw: NIW, K: int, alpha: float, nodes: int = 150) -> tuple[Floats, Floats]:
    """p(z_i = z_j | what was observed) and the mean of each missing value, by quadrature over the one missing value."""
    row, column = np.argwhere(np.isnan(X))[0]
    grid = np.linspace(-12.0, 12.0, nodes)
    evidence, together = [], []
    for value in grid:
        full = X.copy()
        full[row, column] = value
        exact = oracle.enumerate_posterior(full, niw, Finite(K, alpha))
        evidence.append(exact.log_evidence)
        together.append(exact.co_clustering)
    p = np.exp(np.array(evidence) - max(evidence))
    p /= p.sum()
    return np.tensordot(p, np.array(together), axes=1), np.array([p @ grid, p @ grid**2])


@pytest.mark.parametrize("noise", [None, np.array([0.4, 0.2])], ids=["exact", "rounded"])
def test_partitions_and_fills_have_their_posterior(noise: Floats | None) -> None:
    N, K, alpha, niw = 5, 3, 0.8, some_niw(2, 4.0)._replace(noise=noise)
    X = np.where(np.arange(N) % 2, 1.0, -1.0)[:, None] + np.random.default_rng(5).standard_normal((N, 2))
    X[1, 0] = np.nan
    together, moments = enumerated(X, niw, K, alpha)
    settings = {"draws": 20_000, "warmup": 200, "thin": 4, "rng": 20, "threads": 1, "progress": False}
    trace = gg.fit(X, gg.FiniteMixture(K, concentration=alpha), prior=package_prior(niw), **settings)
    assert trace.assignments is not None
    z = trace.assignments
    for i in range(N):
        for j in range(i):
            assert_within_mcse(z[..., i] == z[..., j], together[i, j], min_ess=5000, name=f"p(z_{i} = z_{j})")
    if noise is not None:  # what is recorded is of values before rounding
        return
    # The mean of a missing value over draws of parameters, and labels given these, is its posterior mean.
    mean, S = trace.means, trace.covariances
    gain = S[..., 0, 1] / S[..., 1, 1]
    given = mean[..., 0] + gain * (X[1, 1] - mean[..., 1])
    log_p = np.log(trace.weights) + stats.norm.logpdf(X[1, 1], mean[..., 1], np.sqrt(S[..., 1, 1]))
    share = np.exp(log_p - logsumexp(log_p, axis=-1, keepdims=True))
    assert_within_mcse((share * given).sum(-1), moments[0], min_ess=5000, name="mean of the fill")


def test_a_column_without_values_is_the_model_of_the_others() -> None:
    # fit() refuses it, the kernels do not: NIW(nu_0) of D columns is NIW(nu_0 - 1) of D - 1.
    N, K, alpha = 6, 3, 0.8
    X = np.where(np.arange(N) % 2, 1.5, -1.0)[:, None] + np.random.default_rng(6).standard_normal((N, 2))
    story = LatentStory("full", gg.FiniteMixture(K, concentration=alpha), np.tile([False, True], (N, 1)))
    sampler = Sampler(story)
    chain, latent = sampler.chain, sampler.data.latent
    latent.values[:, 0] = X[:, 0]
    case = story.case.niw
    one = NIW(case.mu_0[:1], case.kappa_0, case.nu_0 - 1.0, case.Psi_0[:1, :1])
    exact = oracle.enumerate_posterior(X[:, :1], one, Finite(K, alpha))
    chain.plan = type(chain.plan)(warmup=300, draws=chain.window, thin=1)
    z = []
    for _ in range(2000):
        chain.sweeps_done = chain.plan.warmup
        while not chain.finished:
            chain.advance(None)
        z.append(chain.labels[: chain.window].copy())
    labels = np.concatenate(z)[None].astype(int)
    for i in range(N):
        for j in range(i):
            same = labels[..., i] == labels[..., j]
            assert_within_mcse(same, exact.co_clustering[i, j], min_ess=1000, name=f"p(z_{i} = z_{j})")
