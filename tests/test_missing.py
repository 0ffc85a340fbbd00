"""Missing values: labels given what is there, fills given labels, and the posterior with both integrated out.

RATE is the probability with which a statistical test fails although all is well.
"""

import html
import itertools
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import oracle
import pandas as pd
import polars as pl
import pytest
from harness import (
    Gibbs,
    assert_p_values,
    assert_same_draws,
    assert_within_mcse,
    package_prior,
    read_only,
    some_niw,
)
from latent_stories import LatentStory, Sampler, full_errors, p_values, some_gaps
from oracle import NIW, Finite, Floats, Ints
from scipy import stats
from scipy.special import logsumexp

import gibbs_gmm as gg
from gibbs_gmm.command_line.cli import main
from gibbs_gmm.kernels.sampler import latent as kernels
from gibbs_gmm.kernels.sampler import latent_factors as factors
from gibbs_gmm.kernels.sampler.latent_factors import factor_size
from gibbs_gmm.kernels.sampler.state import Data
from gibbs_gmm.kernels.sampler.sweep import kernel_passes
from gibbs_gmm.latent import filled_in, kinds_of_rows
from gibbs_gmm.posterior.agreement import apart
from gibbs_gmm.posterior.matched import marginal

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
    mu, Sigma = oracle.draw_components(rng, some_niw(D, D + 3.0), K)
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


# --- Fits ---


def two_kinds(N: int = 60, D: int = 3, share: float = 0.2) -> tuple[Floats, Floats, Ints]:
    """Rows of two kinds with correlated columns, the same with gaps, and the kinds."""
    rng = np.random.default_rng([N, D])
    z = np.arange(N) % 2
    X = rng.standard_normal((N, D)) + rng.standard_normal((N, 1)) + 6.0 * z[:, None]
    Y = X.copy()
    Y[some_gaps(N, D, share)] = np.nan
    return X, Y, z


QUICK: dict[str, Any] = {"draws": 30, "warmup": 150, "chains": 2, "rng": 4, "threads": 1, "progress": False}


def test_gaps_come_in_many_forms() -> None:
    _, Y, _ = two_kinds()
    gaps = np.isnan(Y)
    trace = gg.fit(Y, 2, **QUICK)
    frame = pd.DataFrame(Y, columns=["x0", "x1", "x2"])
    forms = {
        "masked": np.ma.masked_array(np.where(gaps, 99.0, Y), mask=gaps),
        "masked rows": list(np.ma.masked_array(np.where(gaps, 99.0, Y), mask=gaps)),
        "list": [[None if np.isnan(x) else x for x in row] for row in Y],
        "pandas": frame,
        "pandas with NA": frame.convert_dtypes(),
        "polars": pl.DataFrame({name: pl.Series(frame[name], nan_to_null=True) for name in frame}),
    }
    for name, form in forms.items():
        other = gg.fit(form, 2, **QUICK)
        np.testing.assert_array_equal(other.assignments, trace.assignments, err_msg=name)
        np.testing.assert_array_equal(other.log_likelihood, trace.log_likelihood, err_msg=name)
    assert "are missing ('x0'" in trace.settings["notes"][0]


@pytest.mark.parametrize("weights", [2, gg.DirichletProcess(1.0)], ids=["finite", "process"])
def test_threads_change_no_byte(weights: Any) -> None:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(40_000, 3)) + 6.0 * (np.arange(40_000) % 2)[:, None]
    X[rng.random(X.shape) < 0.2] = np.nan
    X = X[~np.isnan(X).all(1)]
    settings = {**QUICK, "draws": 4, "warmup": 10, "chains": 1}
    assert_same_draws(gg.fit(X, weights, **settings), gg.fit(X, weights, **{**settings, "threads": 3}))


def test_a_run_is_carried_on_byte_for_byte(tmp_path: Any) -> None:
    _, Y, _ = two_kinds()
    whole = gg.fit(Y, **QUICK)
    gg.fit(Y, **{**QUICK, "draws": 12}, checkpoint=tmp_path / "run")
    assert_same_draws(whole, gg.resume(tmp_path / "run", draws=30, progress=False))
    other = Y.copy()
    other[0, 0] += 1.0
    with pytest.raises(ValueError, match="X has the same shape, but other values"):
        gg.fit(other, **QUICK, checkpoint=tmp_path / "run")


@pytest.mark.parametrize("kind", ["full", "tied", "diag", "spherical"])
def test_kinds_are_found_and_units_do_not_matter(kind: str) -> None:
    _, Y, z = two_kinds(D=4)
    trace = gg.fit(Y, 2, covariance_type=kind, **{**QUICK, "warmup": 300})
    labels = trace.partition().labels
    assert max(np.mean(labels == z), np.mean(labels == 1 - z)) > 0.95
    if kind != "spherical":
        other = gg.fit(Y * 2.0 ** np.array([3, -8, 0, 5]), 2, covariance_type=kind, **{**QUICK, "warmup": 300})
        np.testing.assert_array_equal(other.assignments, trace.assignments)


def test_default_prior_is_of_what_was_observed() -> None:
    X = np.random.default_rng(3).normal(2.0, 3.0, (20_000, 2))
    Y = X.copy()
    Y[some_gaps(20_000, 2, 0.3)] = np.nan
    one, other = gg.NormalInverseWishart.from_data(X), gg.NormalInverseWishart.from_data(Y)
    np.testing.assert_allclose(one.mu_0, other.mu_0, atol=0.1)
    np.testing.assert_allclose(one.Psi_0, other.Psi_0, rtol=0.05)
    np.testing.assert_allclose(one.resolution, other.resolution, rtol=0.2)
    assert other.mu_0 == pytest.approx(np.nanmean(Y, 0))


# --- Predictions and imputation ---


def test_density_and_cluster_of_a_row_with_gaps() -> None:
    X, Y, _ = two_kinds()
    trace = gg.fit(X, 2, prior=gg.NormalInverseWishart.from_data(X), **{**QUICK, "draws": 10})
    got, pointwise = trace.log_density(Y), trace.pointwise_log_density(Y)
    proba = trace.predict_proba(Y)
    for i in range(0, 60, 7):
        o = ~np.isnan(Y[i])
        block = np.ix_(o, o)
        log_p = np.empty(trace.weights.shape)
        for c, t, k in np.ndindex(log_p.shape):
            law = stats.multivariate_normal(trace.means[c, t, k][o], trace.covariances[c, t, k][block])
            log_p[c, t, k] = law.logpdf(Y[i, o])
        each = logsumexp(log_p, b=trace.weights, axis=-1)
        np.testing.assert_allclose(pointwise[..., i], each, rtol=1e-9)
        assert got[i] == pytest.approx(logsumexp(each) - math.log(each.size), rel=1e-9)
    assert (proba.argmax(1) == trace.predict_proba(X).argmax(1)).mean() > 0.95
    np.testing.assert_array_equal(trace.log_density(X), trace.log_density(np.vstack([X, Y]))[:60])


def test_unoccupied_components_have_their_margin() -> None:
    X, _, _ = two_kinds()
    trace = gg.fit(X[:, [0, 1]], **{**QUICK, "draws": 5})
    rows = np.column_stack([np.full(9, np.nan), np.linspace(-30.0, 30.0, 9)])
    narrow = marginal(trace, np.array([1]))
    np.testing.assert_allclose(trace.log_density(rows), narrow.log_density(rows[:, 1:]), rtol=1e-9)


def test_imputation_against_the_components_of_each_draw() -> None:
    _, Y, _ = two_kinds()
    trace = gg.fit(Y, 2, **{**QUICK, "draws": 10})
    filled, gaps = trace.impute(Y), np.isnan(Y)
    np.testing.assert_array_equal(filled.mean[~gaps], Y[~gaps])
    assert (filled.std[~gaps] == 0.0).all()
    assert (filled.std[gaps] > 0.0).all()
    i = int(np.flatnonzero(gaps.sum(1) == 1)[0])
    o, m = ~gaps[i], int(np.flatnonzero(gaps[i])[0])
    first = second = 0.0
    for c, t in np.ndindex(2, 10):
        w, mu, S = trace.weights[c, t], trace.means[c, t], trace.covariances[c, t]
        p = np.array([w[k] * stats.multivariate_normal(mu[k][o], S[k][np.ix_(o, o)]).pdf(Y[i, o]) for k in range(2)])
        p /= p.sum()
        for k in range(2):
            gain = S[k][m, o] @ np.linalg.inv(S[k][np.ix_(o, o)])
            mean = mu[k][m] + gain @ (Y[i, o] - mu[k][o])
            first += p[k] * mean / 20
            second += p[k] * (S[k][m, m] - gain @ S[k][o, m] + mean**2) / 20
    assert filled.mean[i, m] == pytest.approx(first)
    assert filled.std[i, m] == pytest.approx(math.sqrt(second - first**2))
    draws = filled.draws(2000, rng=1)
    np.testing.assert_array_equal(draws[:, ~gaps], np.tile(Y[~gaps], (2000, 1)))
    z = (draws.mean(0) - filled.mean)[gaps] / (filled.std[gaps] / math.sqrt(2000))
    assert np.abs(z).max() < stats.norm.isf(RATE / len(z) / 2)
    np.testing.assert_allclose(draws.std(0)[gaps], filled.std[gaps], rtol=0.25)
    np.testing.assert_array_equal(filled.draws(3, rng=2), filled.draws(3, rng=2))


@pytest.mark.parametrize("noise", [None, [0.5, 0.2, 0.3]], ids=["exact", "with errors"])
def test_imputation_of_rows_of_known_kinds(noise: Any) -> None:
    # Given its kind, a row is Gaussian in each draw. Kinds overlap: without it, the other component has its say.
    _, Y, z = two_kinds()
    Y -= 4.0 * z[:, None]
    labels = np.array(["one", "other"])[z].tolist()
    known = [*labels[:40], *[None] * 20]
    trace = gg.fit(Y, 2, labels=labels, **{**QUICK, "draws": 10})
    filled, free = trace.impute(Y, errors=noise, labels=known), trace.impute(Y, errors=noise)
    fills, T = filled.draws(2000, rng=1), np.zeros((3, 3)) if noise is None else np.diag(np.square(noise))
    for i in np.flatnonzero(np.isnan(Y[:40]).any(1)):
        o, m = np.flatnonzero(~np.isnan(Y[i])), np.flatnonzero(np.isnan(Y[i]))
        mu, S = trace.means[:, :, z[i]].reshape(20, 3), trace.covariances[:, :, z[i]].reshape(20, 3, 3)
        gain = S[:, m[:, None], o] @ np.linalg.inv((S + T)[:, o[:, None], o])
        mean = mu[:, m] + (gain @ (Y[i, o] - mu[:, o])[..., None])[..., 0]
        own = np.einsum("tmm->tm", S[:, m[:, None], m] - gain @ S[:, o[:, None], m])
        std = np.sqrt((own + mean**2).mean(0) - mean.mean(0) ** 2)
        np.testing.assert_allclose(filled.mean[i, m], mean.mean(0), rtol=1e-9)
        np.testing.assert_allclose(filled.std[i, m], std, rtol=1e-7)
        np.testing.assert_allclose(fills[:, i, m].mean(0), mean.mean(0), atol=4.5 * std.max() / math.sqrt(2000))
        np.testing.assert_allclose(fills[:, i, m].std(0), std, rtol=0.1)
    assert np.abs(filled.mean - free.mean)[:40].max() > 0.1
    np.testing.assert_array_equal(filled.mean[40:], free.mean[40:])


def test_imputation_refuses_labels_that_the_fit_had_not() -> None:
    _, Y, z = two_kinds()
    few = {**QUICK, "draws": 2, "warmup": 5}
    with pytest.raises(ValueError, match="labels must be None for a fit that had none"):
        gg.fit(Y, 2, **few).impute(Y, labels=z)
    trace = gg.fit(Y, 2, labels=z, **few)
    assert np.isfinite(trace.impute(Y, labels=pd.Series(z).astype("category")).mean).all()
    for wrong, error, message in (
        ([0, 1, 2], ValueError, r"labels must have 60 entries, one for each row of X, got 3"),
        ([0] * 59 + [7], ValueError, r"labels must be among those of the fit \(0, 1\), got 7 for row 59"),
        ([0] * 59 + [[1]], TypeError, r"labels must be hashable, got \[1\] \(list\) for row 59"),
    ):
        with pytest.raises(error, match=message):
            trace.impute(Y, labels=wrong)


def test_what_else_a_trace_is_asked_of_rows_with_gaps() -> None:
    _, Y, _ = two_kinds()
    trace = gg.fit(Y, 2, **{**QUICK, "chains": 4})
    assert trace.check(Y).draws > 0
    assert trace.to_arviz(Y).log_likelihood["X"].shape == (4, 30, 60)
    assert gg.plots.pairs(trace, Y).shape == (3, 3)
    gg.plots.profiles(trace, Y)
    gg.plots.density(trace, Y, columns=["x0", "x1"])
    model = gg.GibbsGaussianMixture(2, draws=20, warmup=100, chains=2, random_state=1, threads=1).fit(Y)
    assert model.score_samples(Y).shape == (60,)
    assert model.predict(Y).shape == (60,)


def test_where_gaps_are_not_taken_they_are_refused() -> None:
    _, Y, _ = two_kinds()
    with pytest.raises(ValueError, match=r"X must be finite, got \d+ missing values \(NaN\)"):
        gg.log_evidence(Y, [1, 2], progress=False)
    Y[7] = np.nan
    with pytest.raises(ValueError, match="X must have a value in each row, got none in row 7, counted from 0"):
        gg.fit(Y, 2)


def settled(Y: Floats, seed: int) -> gg.Trace:
    """A fit whose chains have met: a hard data set takes longer."""
    for length in (1, 4, 16):
        trace = gg.fit(Y, 2, **{**QUICK, "draws": 200 * length, "warmup": 300 * length, "rng": seed})
        if apart(trace) is None:
            break
    return trace


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.1, 0.3])
def test_intervals_of_imputed_values_cover(share: float) -> None:
    inside = []
    for seed in range(200):
        rng = np.random.default_rng([seed, 1])
        X, *_ = oracle.simulate_mixture(rng, 80, 3, 2, 5.0)
        Y = X.copy()
        gaps = rng.random(X.shape) < share
        gaps[gaps.all(1), 0] = False
        Y[gaps] = np.nan
        trace = settled(Y, seed)
        # Between the 20th and the 380th of 399 lies another such draw with probability 0.9.
        low, high = np.sort(trace.impute(Y).draws(399, rng=seed), axis=0)[[19, 379]]
        inside.append(((low <= X) & (high >= X))[gaps].mean())
    assert abs(np.mean(inside) - 0.9) < 0.02, (np.mean(inside), np.std(inside, ddof=1) / len(inside) ** 0.5)


@pytest.mark.slow
def test_intervals_of_imputed_values_are_exact_where_the_prior_is() -> None:
    inside, niw, weights = [], some_niw(3, 7.0)._replace(kappa_0=0.05), gg.FiniteMixture(2, concentration=1.0)
    settings = {**QUICK, "draws": 200, "warmup": 300, "thin": 5}
    for seed in range(200):
        rng = np.random.default_rng([seed, 99])
        mu, Sigma = oracle.draw_components(rng, niw, 2)
        X, _ = oracle.draw_mixture(rng, 80, rng.dirichlet([1.0, 1.0]), mu, Sigma)
        gaps = rng.random(X.shape) < 0.3
        gaps[gaps.all(1), 0] = False
        Y = np.where(gaps, np.nan, X)
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # kinds may lie upon each other
            trace = gg.fit(Y, weights, prior=package_prior(niw), **{**settings, "rng": seed})
            low, high = np.sort(trace.impute(Y).draws(399, rng=seed), axis=0)[[19, 379]]
        inside.append(((low <= X) & (high >= X))[gaps].mean())
    error = np.std(inside, ddof=1) / math.sqrt(len(inside))
    assert abs(np.mean(inside) - 0.9) < stats.norm.isf(RATE / 2) * error, (np.mean(inside), error)


# --- The command line ---


@pytest.mark.usefixtures("fresh_folder")
def test_a_file_with_gaps(capsys: pytest.CaptureFixture[str]) -> None:
    _, Y, _ = two_kinds(40)
    cells = [[("", "NA", "?", ".")[i % 4] if np.isnan(x) else f"{x:.3f}" for x in row] for i, row in enumerate(Y)]
    text = "a,b,c\n" + "\n".join(",".join(row) for row in cells) + "\n"
    Path("gaps.csv").write_text(text, encoding="utf-8")
    options = ["--components", "2", "--draws", "20", "--warmup", "60", "--chains", "2", "--seed", "1", "--threads", "1"]
    assert main(["fit", "gaps.csv", "--out", "some-run", *options]) == 0
    shown = "".join(capsys.readouterr())
    total = int(np.isnan(Y).sum())
    assert f"{total} missing values in" in shown
    report = html.unescape(Path("some-run/report.html").read_text(encoding="utf-8"))
    assert f"{total} of 120 values are missing ('a' {int(np.isnan(Y[:, 0]).sum())}, 'b'" in report
    assert main(["predict", "some-run", "gaps.csv", "--out", "labels.csv"]) == 0
    assert len(Path("labels.csv").read_text(encoding="utf-8").splitlines()) == 41
