"""Fits of tables with gaps, predictions of rows with gaps, and imputation."""

import html
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import simulation
from harness import assert_same_draws, package_prior, some_niw
from latent_stories import some_gaps
from oracle import Floats, Ints
from scipy import stats
from scipy.special import logsumexp

import gibbs_gmm as gg
from gibbs_gmm.command_line.cli import main
from gibbs_gmm.posterior.agreement import apart
from gibbs_gmm.posterior.matched import marginal

RATE = 1e-4

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
        X, *_ = simulation.simulate_mixture(rng, 80, 3, 2, 5.0)
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
        mu, Sigma = simulation.draw_components(rng, niw, 2)
        X, _ = simulation.draw_mixture(rng, 80, rng.dirichlet([1.0, 1.0]), mu, Sigma)
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
