"""How many: the table of p(n) and p(n+), and what it says when chains disagree."""

import csv
import dataclasses
import re
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arviz_stats.base import array_stats
from made_up_traces import simulate, simulate_unknown_n
from scipy import stats

import gibbs_gmm as gg
from gibbs_gmm.posterior.n_posterior import NPosterior, tabulate

PRIOR = gg.MixtureOfFiniteMixtures(stats.randint(1, 31), concentration=1.0, dynamic=False)
COLUMNS = [
    *(f"{part}_n_components" for part in ("p", "se", "prior")),
    *(f"{part}_n_clusters" for part in ("p", "se", "prior")),
    *(f"p_n_clusters_chain_{c}" for c in range(4)),
]


@pytest.fixture(autouse=True)
def _prior_of_n_clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    """A prior of n+ whose values are known here: p(n+) = 2^-n+."""

    def n_clusters_pmf(self: Any, N: int, most: int | None = None) -> Any:
        assert N == 60
        return 0.5 ** np.arange(1, (N if most is None else most) + 1)

    for kind in (gg.FiniteMixture, gg.MixtureOfFiniteMixtures, gg.DirichletProcess, gg.PitmanYorProcess):
        monkeypatch.setattr(kind, "n_clusters_pmf", n_clusters_pmf)


def said(posterior: NPosterior, part: str) -> bool:
    return any(part in message for message in posterior.messages)


def lines(posterior: NPosterior) -> list[list[str]]:
    """The cells of the printed table, header first."""
    return [line.split() for line in repr(posterior).split("\n\n")[0].splitlines()]


def test_probabilities_are_shares_of_draws() -> None:
    trace, _ = simulate_unknown_n(weight_prior=PRIOR)
    posterior = trace.n_posterior()
    n, C = posterior.n, 4
    np.testing.assert_array_equal(n, np.arange(1, len(posterior) + 1))
    for values, p, se in (
        (trace.n_components, posterior.p_n_components, posterior.se_n_components),
        (trace.n_clusters, posterior.p_n_clusters, posterior.se_n_clusters),
    ):
        assert p is not None
        assert se is not None
        np.testing.assert_allclose(p, [(values == value).mean() for value in n], rtol=1e-15)
        expected = [
            array_stats.mcse((values == value).astype(float)) if (values == value).any() else np.nan for value in n
        ]
        np.testing.assert_allclose(se, expected, rtol=1e-12)
    chains = [[(trace.n_clusters[c] == value).mean() for value in n] for c in range(C)]
    np.testing.assert_allclose(posterior.p_n_clusters_by_chain, chains, rtol=1e-15)
    np.testing.assert_allclose(posterior.prior_n_components, 1 / 30, rtol=1e-12)
    np.testing.assert_array_equal(posterior.prior_n_clusters, 0.5**n)
    assert posterior.messages == ()
    assert posterior.note == ""


def test_the_default_prior_of_n_is_beta_negative_binomial() -> None:
    trace, _ = simulate_unknown_n()
    posterior = tabulate(trace)
    expected = stats.betanbinom(1, 4, 3, loc=1).pmf(posterior.n)
    np.testing.assert_allclose(posterior.prior_n_components, expected, rtol=1e-12)


def test_a_standard_error_covers_correlated_draws() -> None:
    """Draws that come in runs of ten say as much as a tenth of them."""
    short, _ = simulate_unknown_n(T=100)
    long = dataclasses.replace(
        simulate_unknown_n(T=1000)[0],
        n_clusters=np.repeat(short.n_clusters, 10, axis=1),
        n_components=np.repeat(short.n_components, 10, axis=1),
    )
    ratio = tabulate(long).se_n_clusters[1:4] / tabulate(short).se_n_clusters[1:4]
    assert ((ratio > 0.6) & (ratio < 1.6)).all()


def test_values_that_are_never_visited_have_no_standard_error() -> None:
    posterior = tabulate(simulate_unknown_n(np.full((4, 50), 3))[0])
    assert posterior.p_n_clusters[2] == 1.0
    assert np.isnan(posterior.se_n_clusters).all()
    assert "nan" not in repr(posterior)


def test_the_upper_end_is_cut_where_nothing_is_left() -> None:
    n_clusters = np.random.default_rng(0).integers(2, 5, (4, 2500))
    trace, _ = simulate_unknown_n(n_clusters)
    n_components = n_clusters.copy()
    n_components[0, :4] = 40  # 0.0004
    n_components[0, 4:9] = 7  # 0.0005
    trace = dataclasses.replace(trace, n_components=n_components)
    posterior = tabulate(trace)
    assert len(posterior) == 7
    assert lines(posterior)[-1] == [">", "7", f"{stats.betanbinom(1, 4, 3, loc=1).sf(7):.3f}", "0.008"]  # of the priors
    n_clusters = n_clusters.copy()
    n_clusters[2, :2] = 9  # 0.0008 of a chain
    assert len(tabulate(dataclasses.replace(trace, n_clusters=n_clusters))) == 9


@pytest.mark.parametrize("weight_prior", [gg.DirichletProcess(), gg.PitmanYorProcess()])
def test_a_process_has_no_p_of_n(weight_prior: Any) -> None:
    trace, _ = simulate_unknown_n(weight_prior=weight_prior)
    posterior = tabulate(dataclasses.replace(trace, n_components=trace.n_components + 1000))
    assert posterior.p_n_components is posterior.se_n_components is posterior.prior_n_components is None
    assert len(posterior) == 4
    assert "a process has infinitely many components" in posterior.note
    assert lines(posterior)[0] == ["n", "p(n+)", "se", "prior", "chain", "0", "1", "2", "3"]
    assert list(posterior.to_dataframe().columns) == COLUMNS[3:]


@pytest.mark.parametrize("weight_prior", [None, gg.MixtureOfFiniteMixtures(stats.randint(200, 201))])
def test_a_given_n_has_no_p_of_n(weight_prior: Any) -> None:
    trace, _ = simulate(K=3)
    n_clusters = np.random.default_rng(0).integers(2, 4, trace.n_clusters.shape)
    trace = dataclasses.replace(
        trace,
        n_clusters=n_clusters,
        n_components=np.full_like(n_clusters, 200),
        weight_prior=weight_prior or trace.weight_prior,
    )
    posterior = tabulate(trace)
    assert posterior.p_n_components is None
    assert len(posterior) == 3
    assert posterior.note == "n = 200 is given; n+ is how many of these components own observations."
    assert posterior.p_n_clusters[1] == pytest.approx(np.mean(n_clusters == 2))
    assert posterior.note in " ".join(repr(posterior).split())


def test_the_prior_of_very_many_observations_is_not_computed() -> None:
    trace, _ = simulate_unknown_n()
    posterior = tabulate(dataclasses.replace(trace, settings={**trace.settings, "n_observations": 10**8}))
    assert np.isnan(posterior.prior_n_clusters).all()
    assert [line[6] for line in lines(posterior)[1:5]] == ["-"] * 4


def test_chains_that_have_not_met_are_warned_about_once() -> None:
    n_clusters = np.full((4, 300), 3)
    n_clusters[0], n_clusters[1] = 1, 5
    n_clusters[:, ::7] = 2
    trace, _ = simulate_unknown_n(n_clusters)
    with pytest.warns(UserWarning, match="have not met") as record:
        posterior = trace.n_posterior()
    assert len(record) == 1
    assert record[0].filename == __file__
    assert said(
        posterior, "The chains, which start from one cluster, from many and from numbers between, have not met: "
    )
    assert re.search(r"R-hat is above 1.05 for n_clusters \(\d\.\d\d\), ", posterior.messages[0])
    assert said(posterior, "The most probable n_clusters of each chain is 1, 5, 3, 3. Chain ")
    assert said(posterior, "as a cluster of their own, the others do not. These probabilities mix them")


def test_chains_that_are_stuck_have_not_met() -> None:
    trace, _ = simulate_unknown_n(np.array([[2], [3]]) + np.zeros((1, 50), int))
    with pytest.warns(UserWarning, match="n_clusters \\(stuck at different values\\)"):
        tabulate(trace)
    n_clusters = np.random.default_rng(0).integers(2, 7, (120, 20))
    n_clusters[7] = 7
    trace, _ = simulate_unknown_n(n_clusters, D=1, weight_prior=gg.DirichletProcess())
    with pytest.warns(UserWarning, match="one chain's n_clusters never comes near another's"):
        assert lines(tabulate(trace))[0][-3:] == ["least", "chain", "most"]


def test_different_modes_that_are_chance_are_no_warning() -> None:
    n_clusters = np.tile([2, 3], (4, 150))
    n_clusters[0, 0], n_clusters[1, 1] = 3, 2
    posterior = tabulate(simulate_unknown_n(n_clusters)[0])
    assert said(posterior, "The most probable n_clusters of each chain is 3, 2, 2, 2. As R-hat finds the chains alike")


def test_the_printed_table_is_aligned_and_fits_80_columns() -> None:
    text = repr(tabulate(simulate_unknown_n(weight_prior=PRIOR)[0])).splitlines()
    assert text[0].split() == ["n", *["p(n)", "se", "prior"], *["p(n+)", "se", "prior"], "chain", "0", "1", "2", "3"]
    assert len({len(line) for line in text[:5]}) == 1
    assert len(text[0]) < 80
    assert re.fullmatch(r"3   +0\.\d{3}  0\.0\d{3}  0\.033  0\.\d{3}  0\.0\d{3}  0\.125 (  +0\.\d{3}){4}", text[3])


def test_a_value_that_was_never_seen_is_told_from_a_rare_one() -> None:
    n_clusters = np.full((4, 1000), 3)
    n_clusters[2, 5] = 1
    table = lines(tabulate(simulate_unknown_n(n_clusters)[0]))
    assert table[1][-7:] == ["0.000", "0.0002", "0.500", "0", "0", "0.001", "0"]
    assert table[2][-7:] == ["0", "-", "0.250", "0", "0", "0", "0"]


def test_many_empty_values_before_the_first_are_one_row() -> None:
    n_clusters = 21 + np.random.default_rng(0).integers(0, 3, (4, 100))
    posterior = tabulate(simulate_unknown_n(n_clusters, D=1, weight_prior=gg.DirichletProcess())[0])
    assert [line[:2] for line in lines(posterior)[1:2]] == [["<", "21"]]
    assert lines(posterior)[1][2:] == ["1.000"]  # of the prior
    assert [line[0] for line in lines(posterior)[2:]] == ["21", "22", "23"]
    assert posterior.visible() == slice(20, 23)
    assert len(posterior) == 23


def test_probabilities_that_are_all_small_are_shown() -> None:
    n_clusters = np.arange(1, 4001).reshape(1, 4000)
    trace = dataclasses.replace(simulate(C=1, T=4000, K=1, D=1)[0], n_clusters=n_clusters)
    posterior = tabulate(trace)
    assert len(posterior) == 4000
    assert posterior.visible() == slice(0, 4000)


@pytest.mark.parametrize(("C", "T"), [(1, 1), (4, 1), (1, 3), (2, 4), (1, 50), (9, 20)])
def test_small_traces(C: int, T: int) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* have not met")
        posterior = tabulate(simulate_unknown_n(C=C, T=T)[0])
    assert posterior.p_n_clusters.sum() == pytest.approx(1.0)
    assert np.isnan(posterior.se_n_clusters).all() == (T < 4)
    assert said(posterior, "one chain") == (C == 1)
    assert said(posterior, f"at least 4 draws per chain; there are {T}") == (T < 4)
    assert len({len(line) for line in lines(posterior)[1:2]}) == 1


def test_csv_holds_every_digit(tmp_path: Path) -> None:
    posterior = tabulate(simulate_unknown_n()[0])
    posterior.to_csv(tmp_path / "n.csv")
    with open(tmp_path / "n.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["n", *COLUMNS]
    assert [int(row["n"]) for row in rows] == posterior.n.tolist()
    for name in COLUMNS[:6]:
        read = np.array([float(row[name] or "nan") for row in rows])
        np.testing.assert_array_equal(read, getattr(posterior, name))
    np.testing.assert_array_equal([float(row[COLUMNS[8]]) for row in rows], posterior.p_n_clusters_by_chain[2])


def test_dataframe(monkeypatch: pytest.MonkeyPatch) -> None:
    posterior = tabulate(simulate_unknown_n()[0])
    frame = posterior.to_dataframe()
    assert (frame.index.name, list(frame.columns)) == ("n", COLUMNS)
    np.testing.assert_array_equal(frame.index, posterior.n)
    np.testing.assert_array_equal(frame["se_n_clusters"], posterior.se_n_clusters)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"needs the package 'pandas'.*pip install 'gibbs-gmm\[arviz\]'"):
        posterior.to_dataframe()


def test_html() -> None:
    markup = tabulate(simulate_unknown_n(weight_prior=gg.DirichletProcess())[0])._repr_html_()
    assert markup.startswith("<p><strong>3 clusters: ")
    assert "<th>number</th><th>clusters</th><th>before the data</th>" in markup
    assert "<p>There is no p(n): a process" in markup


def test_a_real_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two groups far apart: no draw has one cluster, and p(n+ = 2) is most of it, wherever a chain started."""
    monkeypatch.undo()  # the package's own prior of n+
    X = np.random.default_rng(1).normal(size=(60, 1)) + 30.0 * (np.arange(60) % 2)[:, None]
    trace = gg.fit(X, PRIOR, draws=200, warmup=300, chains=2, rng=1, progress=False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* have not met")
        posterior = trace.n_posterior()
    assert repr(trace).startswith("<Trace: 2 chains x 200 draws of 60 rows x 1 column: ")
    assert trace.headline in repr(trace)
    assert posterior.p_n_clusters[0] == 0.0
    assert posterior.p_n_clusters.argmax() == 1
    assert posterior.p_n_clusters.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(posterior.prior_n_clusters, PRIOR.n_clusters_pmf(60)[: len(posterior)], rtol=1e-12)
    process = gg.fit(X, gg.DirichletProcess(), draws=20, warmup=50, chains=2, rng=1, progress=False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* have not met")
        assert process.n_posterior().p_n_components is None
