"""Whether clusters are normal: right models are rarely accused, wrong ones are, and the sentences say what is meant."""

import csv
import dataclasses
from typing import Any

import numpy as np
import pytest
from made_up_traces import shuffled, simulate, simulate_unknown_n
from scipy import stats

import gibbs_gmm as gg
from gibbs_gmm import FiniteMixture, MixtureOfFiniteMixtures, NormalInverseWishart, Trace
from gibbs_gmm.posterior import model_check
from gibbs_gmm.posterior.model_check import Check, sentences

FIXED = MixtureOfFiniteMixtures(concentration=1.0)


def two(seed: int = 0, N: int = 400) -> tuple[Trace, Any]:
    """A made-up trace of two clusters that are far apart, and rows that are normal: even ones of cluster 0."""
    return simulate(C=2, T=10, K=2, D=2, N=N, seed=seed)


def adjusted(check: Check) -> np.ndarray:
    return np.stack([getattr(check, f"adjusted_{test}") for test in ("tails", "skewness", "ties")])


# --- Calibration ---


def test_p_values_are_uniform_if_the_model_is_right() -> None:
    """Parameters, labels and rows drawn from the prior that fit() is given; clusters overlap now and then."""
    D, N, sets = 2, 80, 100
    prior = NormalInverseWishart(np.zeros(D), 0.05, D + 4.0, 3.0 * np.eye(D))
    p: dict[str, list[float]] = {"tails": [], "skewness": []}
    accused = 0
    for seed in range(sets):
        rng = np.random.default_rng([1, seed])
        w = rng.dirichlet([2.0, 2.0])
        Sigma = stats.invwishart(D + 4, 3.0 * np.eye(D)).rvs(2, random_state=rng)
        mu = np.stack([rng.multivariate_normal(np.zeros(D), S / 0.05) for S in Sigma])
        X = np.stack([rng.multivariate_normal(mu[k], Sigma[k]) for k in rng.choice(2, N, p=w)])
        trace = gg.fit(X, FiniteMixture(2, concentration=2.0), prior=prior, draws=25, warmup=60, thin=2, rng=seed)
        check = trace.check(X)
        accused += not check.passed
        p["tails"].append(check.p_tails[0, 0])
        p["skewness"].append(check.p_skewness[0, 1])
    for test, values in p.items():
        assert np.isfinite(values).sum() >= 0.95 * sets
        assert stats.kstest(np.array(values)[np.isfinite(values)], "uniform").pvalue > 1e-3, test
    assert accused <= 5  # one is expected, and six have a probability of 0.0005


def test_rounding_is_no_failure() -> None:
    """Rows recorded to a tenth, a half or a whole of their standard deviation, some with preferred digits."""
    accused = 0
    for seed in range(60):
        trace, X = two(seed, N=200)
        step = (0.1, 0.5, 1.0)[seed % 3]
        rounded = np.round(X / step) * step
        coarse = np.random.default_rng(seed).random(X.shape) < 0.3
        rounded = np.where(coarse & (step < 1.0), np.round(X / (2 * step)) * 2 * step, rounded)
        accused += not trace.check(rounded).passed
    assert accused <= 4  # a probability of 0.0003 at one in a hundred


def test_steps_wider_than_a_cluster_are_no_rounding() -> None:
    trace, X = two(N=600)
    X[1::2, 1] = np.round(X[1::2, 1] / 2.0) * 2.0
    check = trace.check(X)
    assert check.adjusted_tails[1, 1] < 0.01
    X[1::2, 1] = np.round(X[1::2, 1] / 4.0) * 4.0
    assert "Cluster 1 is made of repeated values in x1: it may be no kind of its own." in trace.check(X).messages


def test_a_constant_column_is_no_failure_of_a_cluster() -> None:
    X = np.column_stack([two(N=200)[1], np.full(200, 7.0)])
    with pytest.warns(UserWarning, match="X has constant columns: 'x2'"):
        trace = gg.fit(X, 2, draws=20, warmup=50, chains=1, rng=1)
    check = trace.check(X)
    assert not any("x2" in message for message in check.messages)
    assert np.isnan(adjusted(check)[..., 2]).all()
    assert np.isfinite(adjusted(check)[..., :2]).all()


# --- Power ---


def test_tails_are_found_where_they_are() -> None:
    trace, X = two()
    X[1::2, 1] = 50.0 + np.random.default_rng(0).standard_t(3, 200)
    check = trace.check(X)
    assert check.messages[0] == "Cluster 1 has heavier tails than a normal in x1."
    assert check.tails[1, 1] > 0.05
    assert not check.passed
    failed = adjusted(check) < 0.01
    assert failed[0].tolist() == [[False, False], [False, True]]
    assert not failed[2].any()
    X[1::2, 1] = np.random.default_rng(0).random(200)
    assert trace.check(X).messages == ("Cluster 1 has lighter tails than a normal in x1: it may be two kinds.",)


@pytest.mark.parametrize("scale", [1e-100, 1.0, 1e100])
def test_skewness_is_found_and_logarithms_advised_where_they_help(scale: float) -> None:
    rng = np.random.default_rng(1)
    trace, X = two()
    lognormal, exponential = np.exp(0.7 * rng.normal(size=200)), 5.0 + rng.exponential(size=200)
    X[:, 0] = np.exp(X[:, 0] / 40.0)
    X[1::2, 0] = lognormal
    X[0::2, 1] = exponential
    X -= [0.0, X[:, 1].min() - 1.0]
    X *= scale
    check = trace.check(X)
    assert "Cluster 1 is skewed to the right in x0." in check.messages
    assert "Cluster 0 is skewed to the right in x1." in check.messages
    assert check.hints == ("Take logarithms of x0? It is skewed to the right, and its logarithms are not.",)
    assert trace.check(X - [scale * lognormal.min(), 0.0]).hints == ()  # a value that is not positive has none
    assert "Cluster 1 is skewed to the left in x0." in trace.check(-X).messages


def test_ties_are_found() -> None:
    trace, X = two()
    X[1::4, 0] = X[1::2, 0].min() - 0.5  # a quarter of all, half of cluster 1
    message = "Cluster 1 has values in x0 that repeat more often than rounding explains."
    assert message in trace.check(X).messages
    assert message in trace.check(X.round(1)).messages
    trace, X = two()
    X[1:31:2] = X[1]
    assert "Cluster 1 has values in x0 and x1 that repeat more often than rounding explains." in trace.check(X).messages
    assert trace.check(X).ties[1, 0] == pytest.approx(15 / 200)


def test_clusters_of_few_rows_or_of_one_value_are_named() -> None:
    trace, X = simulate(C=2, T=10, K=3, D=2, N=300)
    z = np.array(trace.assignments)
    z[..., 2::3] = 0
    z[..., [2, 5]] = 2
    z[..., 8:70:3] = 1
    X[z[0, 0] == 1, 1] = -8.0
    X[z[0, 0] == 0] = np.random.default_rng(0).normal(size=((z[0, 0] == 0).sum(), 2))
    messages = dataclasses.replace(trace, assignments=z).check(X).messages
    assert messages[0].startswith("Cluster 2 has 2 rows, fewer than D + 1 = 3: ")
    assert messages[1] == "Cluster 1 is made of repeated values in x1: it may be no kind of its own."


def test_clusters_that_exchange_rows_may_be_one_kind() -> None:
    trace, X = two()
    z = np.array(trace.assignments)
    z[:, ::2, 1::4] = 0  # half of cluster 1 is in cluster 0 in every second draw
    X[:] = np.random.default_rng(2).standard_t(2, X.shape)
    means, covariances = trace.means.copy(), trace.covariances.copy()
    means[:] = 0.0
    covariances[:, :, 1] *= 9.0
    check = dataclasses.replace(trace, assignments=z, means=means, covariances=covariances).check(X)
    assert "Cluster 0 has heavier tails than a normal in x0 and x1: clusters 0 and 1 may be one kind." in check.messages
    assert check.hints[0].startswith(
        "Clusters 0 and 1 run into each other: they may be one kind, heavier in the tails than a normal in x0 and x1"
    )
    assert sentences(check) == (*check.messages, *check.hints)


@pytest.mark.parametrize(("kind", "hint"), [("t", "heavier in the tails"), ("lognormal", "skewed to the right in x0")])
def test_what_the_default_makes_several_clusters_of_is_seen(kind: str, hint: str) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_t(3, (300, 1)) if kind == "t" else np.exp(0.7 * rng.normal(size=(300, 1)))
    one = gg.fit(X, 1, draws=50, warmup=50, rng=1).check(X)
    assert any("Cluster 0 has heavier tails than a normal in x0." in message for message in one.messages)
    trace = gg.fit(X, draws=200, warmup=1000, thin=5, rng=1)
    assert trace.n_clusters.max() > 1
    hints = trace.check(X).hints
    assert "run into each other: they may be one kind" in hints[0]
    assert hint in hints[0]
    if kind == "lognormal":
        assert "Take logarithms of x0?" in one.hints[0]
        assert "Take logarithms of x0?" in hints[1]


# --- What comes back ---


def test_clusters_have_the_numbers_of_the_summary() -> None:
    trace, X = simulate(T=100, K=2, N=400)
    X[1::2, 1] = -8.0 + np.random.default_rng(0).standard_t(3, 200)
    mixed = shuffled(trace, seed=3)[0]
    check, other = trace.check(X), mixed.check(X)
    np.testing.assert_allclose(adjusted(other), adjusted(check))
    assert other.messages == check.messages
    assert check.messages[0] == "Cluster 1 has heavier tails than a normal in x1."
    assert mixed.summary()["mean[1, x1]"]["mean"] == pytest.approx(-8.0, abs=0.1)


def test_the_table() -> None:
    trace, X = two()
    X[1::2, 1] = 50.0 + np.random.default_rng(0).standard_t(3, 200)
    check = dataclasses.replace(trace, columns=("length", "width")).check(X)
    text = repr(check)
    assert max(map(len, text.splitlines())) <= 80
    assert "cluster 1, width" in text
    assert "p is adjusted for the number of tests, 12; below 0.01 a cluster is not normal." in text
    assert "Cluster 1 has heavier tails than a normal in width." in text
    assert "<td>" in check._repr_html_()
    assert len(check) == 4
    assert check.draws == 20
    np.testing.assert_array_equal(check.rows, [200.0, 200.0])
    with pytest.raises(ValueError, match="read-only"):
        check.tails[0, 0] = 1.0
    assert "Nothing here speaks against normal clusters." in repr(two()[0].check(two()[1]))


def test_csv_and_data_frame(tmp_path: Any) -> None:
    trace, X = simulate(C=2, T=10, K=2, D=2, N=14)  # 7 rows of each: no tests
    check = trace.check(X)
    assert check.passed
    assert np.isnan(adjusted(check)).all()
    assert check.messages == ()
    frame = check.to_dataframe()
    assert frame.index.names == ["cluster", "column"]
    check.to_csv(tmp_path / "check.csv")
    with open(tmp_path / "check.csv", encoding="utf-8") as file:
        lines = list(csv.reader(file))
    assert lines[0] == ["cluster", "column", *frame.columns]
    assert lines[1][:6] == ["0", "x0", "7.0", "", "", ""]
    trace, X = two()
    frame = trace.check(X).to_dataframe()
    assert frame.loc[(1, "x0"), "p_tails"] == trace.check(X).p_tails[1, 0]


def test_long_tables_and_long_lists_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_check, "_LONGEST_PRINT", 3)
    monkeypatch.setattr(model_check, "_MOST_SENTENCES", 1)
    trace, X = two()
    X[1::2, 1] = 50.0 + np.random.default_rng(0).standard_t(3, 200)
    X[0::2, 0] = np.random.default_rng(1).random(200)
    check = trace.check(X)
    lines = repr(check).splitlines()
    assert lines[4].startswith("... 1 more rows")
    assert any(line.startswith("cluster 1, x1") for line in lines[:4])
    assert len(check.messages) > 1
    assert sentences(check)[1] == f"There are {len(check.messages) - 1} more such sentences: trace.check(X).messages."


@pytest.mark.parametrize("case", ["unknown n", "one draw", "one component", "an empty component", "a constant column"])
def test_any_trace(case: str) -> None:
    trace, X = {
        "unknown n": lambda: simulate_unknown_n(T=20, weight_prior=FIXED),
        "one draw": lambda: simulate(C=1, T=1),
        "one component": lambda: simulate(T=5, K=1),
        "an empty component": lambda: simulate(T=5, K=2),
        "a constant column": lambda: simulate(T=5, K=2),
    }[case]()
    if case == "an empty component":
        trace = dataclasses.replace(trace, assignments=np.zeros_like(trace.assignments))
    if case == "a constant column":
        X[:, 1] = 3.0
    check = trace.check(X)
    assert check.rows.sum() == pytest.approx(60.0)
    p = adjusted(check)
    assert ((p >= 0.0) & (p <= 1.0) | np.isnan(p)).all()
    assert repr(check)


def test_many_rows_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_check, "_ROWS", 1000)
    trace, X = two(N=5000)
    X[1::2, 1] = 50.0 + np.random.default_rng(0).standard_t(3, 2500)
    check = trace.check(X.astype(np.float32))
    assert check.messages[0] == "Cluster 1 has heavier tails than a normal in x1."
    np.testing.assert_array_equal(check.rows, [2500.0, 2500.0])


def test_what_cannot_be_checked_is_refused() -> None:
    trace, X = two()
    with pytest.raises(ValueError, match="without assignments cannot be checked"):
        dataclasses.replace(trace, assignments=None).check(X)
    with pytest.raises(ValueError, match="X must be the data of the trace"):
        trace.check(X[:10])
