"""The summary table and what it says when chains cannot be trusted."""

import csv
import dataclasses
import re
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from arviz_stats.base import array_stats
from made_up_traces import shuffled, simulate, simulate_unknown_n

import gibbs_gmm as gg
from gibbs_gmm import DirichletProcess, PitmanYorProcess
from gibbs_gmm.posterior.summary import Summary, summarize

STATISTICS = ("mean", "sd", "q05", "q95", "r_hat", "ess_bulk", "ess_tail")


def said(summary: Summary, part: str) -> bool:
    return any(part in message for message in summary.messages)


def test_rows_come_in_a_known_order() -> None:
    trace, _ = simulate(K=2, D=2)
    assert summarize(trace).name == (
        "weight[0]",
        "weight[1]",
        "mean[0, x0]",
        "mean[0, x1]",
        "mean[1, x0]",
        "mean[1, x1]",
        *(f"covariance[{k}, {pair}]" for k in (0, 1) for pair in ("x0, x0", "x0, x1", "x1, x1")),
        "log_likelihood",
        "log_posterior",
        "sorted_weight[0]",
        "sorted_weight[1]",
        "entropy",
        "n_clusters",
    )


def test_values_are_those_of_the_matched_components() -> None:
    truth, _ = simulate(K=3, D=2)
    trace, _ = shuffled(truth, seed=1)
    summary = summarize(trace)
    values = {
        "weight[1]": truth.weights[:, :, 1],
        "mean[2, x1]": truth.means[:, :, 2, 1],
        "covariance[0, x0, x1]": truth.covariances[:, :, 0, 0, 1],
        "log_likelihood": truth.log_likelihood,
        "sorted_weight[2]": np.sort(truth.weights, -1)[:, :, 0],
    }
    for name, x in values.items():
        expected = {
            "mean": x.mean(),
            "sd": x.std(ddof=1),
            "q05": np.quantile(x, 0.05),
            "q95": np.quantile(x, 0.95),
            "r_hat": array_stats.rhat(x),
            "ess_bulk": array_stats.ess(x),
            "ess_tail": array_stats.ess(x, method="tail", prob=(0.05, 0.95)),
        }
        assert tuple(summary[name]) == STATISTICS
        np.testing.assert_allclose(list(summary[name].values()), [float(v) for v in expected.values()], rtol=1e-12)
    assert summary.messages == ()
    assert len(summary) == len(summary.mean) == 3 + 6 + 9 + 2 + 3 + 2


def test_trace_summary_is_summarize() -> None:
    trace, _ = simulate(T=20)
    np.testing.assert_array_equal(trace.summary().r_hat, summarize(trace).r_hat)


def test_chains_that_have_not_met_are_warned_about_once() -> None:
    trace, _ = simulate()
    log_likelihood = trace.log_likelihood.copy()
    log_likelihood[2] -= 15.0
    with pytest.warns(UserWarning, match="chains have not met") as record:
        summary = dataclasses.replace(trace, log_likelihood=log_likelihood).summary()
    assert len(record) == 1
    assert record[0].filename == __file__
    assert said(summary, "R-hat is above 1.05 for log_likelihood (")
    longer = "gg.fit(X, trace.weight_prior, prior=trace.prior, warmup=4000, draws=1200, thin=1, chains=4)."
    assert said(summary, f"Run longer, until they agree: {longer}")
    assert said(summary, f"{log_likelihood[2].mean():.1f}")


def test_one_chain_apart_among_many_is_seen_although_r_hat_is_not_high() -> None:
    trace, _ = simulate(C=120, T=20, K=1, D=1)
    log_likelihood = trace.log_likelihood.copy()
    log_likelihood[7] -= 100.0
    trace = dataclasses.replace(trace, log_likelihood=log_likelihood)
    with pytest.warns(UserWarning, match="never comes near"):
        summary = summarize(trace)
    assert summary["log_likelihood"]["r_hat"] < 1.05


def test_chains_stuck_at_different_numbers_of_clusters() -> None:
    trace, _ = simulate()
    n_clusters = trace.n_clusters.copy()
    n_clusters[0] = 2
    with pytest.warns(UserWarning, match=r"n_clusters \(stuck at different values\)"):
        summary = summarize(dataclasses.replace(trace, n_clusters=n_clusters))
    assert summary["n_clusters"]["r_hat"] == np.inf
    assert "inf" in repr(summary)


def test_components_that_differ_between_chains_are_said_without_a_warning() -> None:
    trace, _ = simulate()
    means = trace.means.copy()
    means[0, :, 1] += 0.3
    summary = summarize(dataclasses.replace(trace, means=means))
    assert said(summary, "matched with certainty, but component-wise R-hat reaches 1.")
    assert said(summary, "Do not read their rows")
    assert len(summary.messages) == 1


def test_labels_that_cannot_be_told_apart_are_said_without_a_warning() -> None:
    """Two of four components take each other's rows at random; only their rows are not to be read."""
    trace, _ = simulate(K=4)
    rows = np.flatnonzero(trace.assignments[0, 0] % 2)
    assignments = trace.assignments.copy()
    assignments[..., rows] = 1 + 2 * np.random.default_rng(0).integers(0, 2, (4, 300, len(rows)))
    summary = summarize(dataclasses.replace(trace, assignments=assignments))
    assert 0.3 < summary.ambiguous_share < 1.0
    share = f"{100 * summary.ambiguous_share:.0f}%"
    assert said(summary, f"Labels are not separable: components 1 and 3 could as well be exchanged in {share} of draws")
    assert said(summary, "Do not read their rows")
    assert f"ambiguous in {share} of them" in summary.note
    assert len(summary.messages) == 1


@pytest.mark.parametrize(("K", "listed"), [(4, "2 and 3"), (13, "2, 3, 4, 5, 6, 7, 8 and 4 more")])
def test_components_without_observations_are_not_to_be_read(K: int, listed: str) -> None:
    trace, _ = simulate(K=K, D=1)
    summary = summarize(dataclasses.replace(trace, assignments=trace.assignments % 2))
    assert summary.ambiguous_share == 1.0
    assert said(summary, f"components {listed} could as well be exchanged in 100% of draws")


def test_few_effective_draws_are_said() -> None:
    assert said(summarize(simulate(T=60)[0]), "few effective draws")
    assert not said(summarize(simulate(T=300)[0]), "few effective draws")


def test_an_interrupted_run_is_said() -> None:
    trace, _ = simulate()
    trace = dataclasses.replace(trace, settings={**trace.settings, "interrupted": True})
    assert said(summarize(trace), "interrupted: these are the 300 draws per chain")


@pytest.mark.parametrize(("C", "T"), [(1, 1), (4, 1), (1, 3), (2, 4), (1, 50)])
@pytest.mark.parametrize(("K", "D"), [(1, 1), (1, 3), (2, 1)])
def test_small_traces_work_and_undefined_values_are_nan(C: int, T: int, K: int, D: int) -> None:
    trace, _ = simulate(C=C, T=T, K=K, D=D)
    with warnings.catch_warnings():
        # Four draws may disagree by chance, which is no matter here; anything else is an error.
        warnings.filterwarnings("ignore", "The chains have not met")
        summary = summarize(dataclasses.replace(trace, assignments=None))
    row = summary["log_likelihood"]
    assert np.isfinite([row["mean"], row["q05"], row["q95"]]).all()
    assert np.isnan(row["sd"]) == (C * T == 1)
    assert np.isnan(row["r_hat"]) == (C == 1 or T < 4)
    assert np.isnan(row["ess_bulk"]) == np.isnan(row["ess_tail"]) == (T < 4)
    assert said(summary, "one chain") == (C == 1)
    assert said(summary, "at least 4 draws") == (T < 4)
    constant = summary["n_clusters"]
    assert constant["sd"] == 0.0 or C * T == 1
    assert all(np.isnan(constant[name]) for name in ("r_hat", "ess_bulk", "ess_tail"))
    assert "nan" not in repr(summary)


def test_the_printed_table_is_aligned_and_has_sensible_digits() -> None:
    trace, _ = simulate(K=1, D=1)
    means = 1000.0 + 0.02 * np.random.default_rng(0).normal(size=trace.means.shape)
    lines = repr(summarize(dataclasses.replace(trace, means=means))).splitlines()
    assert lines[0].split() == ["mean", "sd", "5%", "95%", "r_hat", "ess_bulk", "ess_tail"]
    assert lines[-2:] == ["", "1 component, as given."]
    assert len(set(map(len, lines[:-2]))) == 1
    assert re.fullmatch(
        r"mean\[0, x0\] +(?:1000\.00\d|999\.99\d) +0\.0[12]\d +999\.9\d\d +1000\.0\d\d +\d\.\d{3} +\d+ +\d+", lines[2]
    )
    assert lines[1].split()[:3] == ["weight[0]", "1", "0"]


def test_numbers_are_readable_at_any_scale() -> None:
    trace, _ = simulate(K=1, D=1)
    for scale in (1e-120, 1e-8, 1e-3, 1e3, 1e9, 1e120):
        text = repr(summarize(dataclasses.replace(trace, means=scale * trace.means)))
        assert max(map(len, text.splitlines())) < 110


def test_negative_zero_is_not_printed() -> None:
    trace, _ = simulate(C=1, T=100, K=1, D=1)
    means = trace.means - trace.means.mean() - 1e-6
    assert "-0.000 " not in repr(summarize(dataclasses.replace(trace, means=means)))


def test_a_long_table_is_cut_in_the_middle() -> None:
    summary = summarize(simulate(C=4, T=100, K=4, D=8)[0])
    text = repr(summary)
    assert f"... {len(summary) - 100} more rows" in text
    for name in ("weight[3]", "mean[3, x7]", "log_likelihood", "n_clusters"):
        assert name in text
    assert len(text.split("\n\n")[0].splitlines()) == 102


def test_html_is_escaped() -> None:
    trace, _ = simulate(T=20, K=1, D=1)
    markup = summarize(dataclasses.replace(trace, columns=("<b>&",)))._repr_html_()
    assert "mean[0, &lt;b&gt;&amp;]" in markup
    assert "<b>" not in markup
    assert "<p>There are few effective draws" in markup


def test_csv_holds_every_digit(tmp_path: Path) -> None:
    trace, _ = simulate(T=20)
    trace = dataclasses.replace(trace, columns=('a, "b"', "é"))
    summary = summarize(trace)
    summary.to_csv(tmp_path / "summary.csv")
    with open(tmp_path / "summary.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert tuple(row["name"] for row in rows) == summary.name
    for statistic in STATISTICS:
        read = np.array([float(row[statistic] or "nan") for row in rows])
        np.testing.assert_array_equal(read, getattr(summary, statistic))


def test_dataframe() -> None:
    summary = summarize(simulate(T=20)[0])
    frame = summary.to_dataframe()
    assert tuple(frame.index) == summary.name
    assert tuple(frame.columns) == STATISTICS
    np.testing.assert_array_equal(frame["ess_tail"], summary.ess_tail)


def test_dataframe_without_pandas_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"needs the package 'pandas'.*pip install 'gibbs-gmm\[arviz\]'"):
        summarize(simulate(T=20)[0]).to_dataframe()


def test_an_unknown_row_is_named() -> None:
    with pytest.raises(KeyError, match=r"no row 'weight\[9\]'"):
        summarize(simulate(T=20)[0])["weight[9]"]


# --- Unknown n ---


def test_rows_of_an_unknown_number_of_components() -> None:
    trace, _ = simulate_unknown_n(D=1)
    assert summarize(trace).name == (
        *(f"weight[{k}]" for k in range(3)),
        *(f"mean[{k}, x0]" for k in range(3)),
        *(f"covariance[{k}, x0, x0]" for k in range(3)),
        "log_likelihood",
        *(f"sorted_weight[{j}]" for j in range(4)),
        "entropy",
        *(f"partition[{j}]" for j in range(2)),
        "n_clusters",
        "n_components",
        "concentration",
    )


@pytest.mark.parametrize("weight_prior", [DirichletProcess(), PitmanYorProcess()])
def test_a_process_has_no_number_of_components(weight_prior: DirichletProcess | PitmanYorProcess) -> None:
    trace, _ = simulate_unknown_n(weight_prior=weight_prior)
    names = summarize(dataclasses.replace(trace, concentration=None, kappa_0=trace.concentration)).name
    assert names[-2:] == ("n_clusters", "kappa_0")
    assert "n_components" not in names


def test_component_rows_are_from_the_draws_with_the_most_probable_number_of_clusters() -> None:
    truth, _ = simulate_unknown_n(T=600)
    trace, _ = shuffled(truth, seed=1)
    summary = summarize(trace)
    own = truth.n_clusters == 3
    least = own.sum(1).min()
    for name, values in {
        "weight[1]": truth.weights[..., 1],
        "mean[2, x1]": truth.means[..., 2, 1],
        "covariance[0, x0, x1]": truth.covariances[..., 0, 0, 1],
    }.items():
        x, chains = values[own], np.stack([values[c, own[c]][:least] for c in range(4)])
        np.testing.assert_allclose(
            list(summary[name].values()),
            [
                x.mean(),
                x.std(ddof=1),
                *np.quantile(x, [0.05, 0.95]),
                array_stats.rhat(chains),
                array_stats.ess(chains),
                array_stats.ess(chains, method="tail", prob=(0.05, 0.95)),
            ],
            rtol=1e-12,
        )
    assert f"(weight, mean, covariance) are from the {100 * own.mean():.0f}% of draws with 3 clusters," in summary.note
    assert summary.messages == ()
    assert summary.note.split()[-1] in repr(summary)
    assert summary.note[:30] in summary._repr_html_()
    for name, values in {
        "log_likelihood": truth.log_likelihood,
        "sorted_weight[3]": truth.weights[..., 3],
        "n_clusters": truth.n_clusters,
        "n_components": truth.n_components,
    }.items():
        assert summary[name]["mean"] == pytest.approx(values.mean(), rel=1e-12)


def test_the_note_says_how_surely_components_were_matched() -> None:
    matched = "The components of these draws were matched; which is which is ambiguous in 0% of them."
    assert summarize(simulate()[0]).note == f"3 components, as given. {matched}"
    assert summarize(simulate(K=1)[0]).note == "1 component, as given."
    summary = summarize(simulate_unknown_n(np.full((4, 300), 3))[0])
    assert summary.note == f"3 clusters (100%). {matched}"
    assert summary.ambiguous_share == 0.0
    assert "log_posterior" not in summary.name


@pytest.mark.parametrize(("rare", "share"), [(5, "more than 99%"), (1190, "less than 1%")])
def test_the_share_is_never_rounded_to_all_or_nothing(rare: int, share: str) -> None:
    n_clusters = np.full(1200, 2)
    n_clusters[:rare] = 3 if rare == 5 else 3 + np.arange(rare) // 9  # 9 draws of each number
    summary = summarize(simulate_unknown_n(np.random.default_rng(0).permutation(n_clusters).reshape(4, 300), D=1)[0])
    assert f"from the {share} of draws with 2 clusters" in summary.note


def test_weights_that_few_draws_have_are_left_out() -> None:
    names = summarize(simulate_unknown_n((0.0, 0.6, 0.3, 0.08, 0.02))[0]).name
    assert [name for name in names if name.startswith("sorted_weight")] == [f"sorted_weight[{j}]" for j in range(4)]


def test_chains_from_one_cluster_and_from_many_that_have_not_met() -> None:
    n_clusters = np.full((4, 300), 3)
    n_clusters[0], n_clusters[1] = 1, 5
    n_clusters[:, ::7] = 2
    trace, _ = simulate_unknown_n(n_clusters)
    with pytest.warns(UserWarning, match="have not met") as record:
        summary = trace.summary()
    assert len(record) == 1
    assert record[0].filename == __file__
    assert said(summary, "The chains, which start from one cluster, from many and from numbers between, have not met: ")
    assert said(summary, "R-hat is above 1.05 for n_clusters (")
    assert said(summary, "The most probable n_clusters of each chain is 1, 5, 3, 3. ")
    assert "Some chain has fewer than 4 of these draws" in summary.note
    assert np.isnan(summary["weight[0]"]["r_hat"])
    assert np.isnan(summary["weight[0]"]["ess_bulk"])
    assert summary["mean[2, x0]"]["mean"] == pytest.approx(trace.means[2:, :, 2, 0][n_clusters[2:] == 3].mean())


def test_n_clusters_come_first_among_what_disagrees() -> None:
    n_clusters = np.random.default_rng(0).integers(2, 4, (4, 300))
    n_clusters[0, :200] = 3
    trace, _ = simulate_unknown_n(n_clusters)
    concentration = trace.concentration + 100.0 * np.arange(4)[:, None]
    with pytest.warns(UserWarning, match=r"R-hat is above 1.05 for n_clusters \(1.\d\d\), concentration \("):
        summarize(dataclasses.replace(trace, concentration=concentration))


def test_one_chain_apart_in_n_clusters_among_many_is_seen_although_r_hat_is_not_high() -> None:
    n_clusters = np.random.default_rng(0).integers(2, 7, (120, 20))
    n_clusters[7] = 7
    trace, _ = simulate_unknown_n(n_clusters, D=1)
    weights = np.tile(trace.weights[7:8, :1], (120, 20, 1))  # these agree
    with pytest.warns(UserWarning, match="have not met: one chain's n_clusters never comes near another's") as record:
        summary = summarize(dataclasses.replace(trace, weights=weights))
    assert "The most probable n_clusters of each chain lies between 2 and 7." in str(record[0].message)
    assert summary["n_clusters"]["r_hat"] < 1.05


def test_different_modes_that_are_chance_are_no_warning() -> None:
    n_clusters = np.tile([2, 3], (4, 150))
    n_clusters[0, 0], n_clusters[1, 1] = 3, 2
    summary = summarize(simulate_unknown_n(n_clusters)[0])
    assert said(summary, "The most probable n_clusters of each chain is 3, 2, 2, 2. As R-hat finds the chains alike")


def test_few_draws_of_the_most_probable_number_are_not_taken_for_label_switching() -> None:
    trace, _ = simulate_unknown_n((0.0, 0.0, 0.3, 0.28, 0.27, 0.15), T=120)
    means = trace.means.copy()
    means[0, :, 1] += 0.3
    summary = summarize(dataclasses.replace(trace, means=means))
    assert summary["mean[1, x0]"]["r_hat"] > 1.05
    assert not said(summary, "labels switch")
    assert said(summary, "few effective draws")


def test_a_known_number_keeps_all_rows_when_the_number_of_clusters_varies() -> None:
    trace, _ = simulate(K=3)
    n_clusters = np.random.default_rng(0).integers(2, 4, trace.n_clusters.shape)
    summary = summarize(dataclasses.replace(trace, n_clusters=n_clusters))
    assert {"weight[2]", "log_posterior", "sorted_weight[2]"} <= set(summary.name)
    assert "n_components" not in summary.name
    assert "most probable number" not in summary.note


@pytest.mark.parametrize(("C", "T"), [(1, 1), (4, 1), (1, 3), (2, 4), (1, 50)])
def test_small_traces_of_unknown_n(C: int, T: int) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* have not met")
        summary = summarize(simulate_unknown_n(C=C, T=T)[0])
    assert np.isfinite(summary.mean).all()
    assert "nan" not in repr(summary)


def test_a_real_fit_of_unknown_n() -> None:
    X = np.random.default_rng(1).normal(size=(40, 1)) + 10.0 * (np.arange(40) % 2)[:, None]
    trace = gg.fit(X, draws=100, warmup=200, chains=2, rng=1, progress=False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* have not met")
        summary = summarize(trace)
    t = int(np.bincount(trace.n_clusters.ravel()).argmax())
    assert [name for name in summary.name if name.startswith("weight")] == [f"weight[{k}]" for k in range(t)]
    assert {"log_likelihood", "n_clusters", "n_components", "concentration"} <= set(summary.name)
    assert np.isfinite(summary.mean).all()
