"""What a run has found, and the report of it: the numbers are those of the trace, and the HTML is sound."""

import base64
import dataclasses
import html.parser
import json
import re
import struct
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from test_relabel import select, shuffled, simulate, simulate_unknown_n

import gibbs_gmm
from gibbs_gmm import DirichletProcess, MixtureOfFiniteMixtures, Trace
from gibbs_gmm.command_line.findings import Findings, clusters_csv, find
from gibbs_gmm.command_line.output_folder import Command
from gibbs_gmm.command_line.report import _UNSURE, _interval, _number, _ranges, pictures, render
from gibbs_gmm.posterior.matched import marginal, some_draws

FIXED = MixtureOfFiniteMixtures(concentration=1.0)
COMMAND = Command("some.csv", ("fit", "some.csv", "--seed", "1"), {"name": "text ('x', ...)"})


def parsed(text: str) -> ElementTree.Element:
    """The report as a tree: it is also well-formed XML, entities and all."""
    head, body = text.split("\n", 1)
    assert head == "<!DOCTYPE html>"
    return ElementTree.fromstring(body)


def words(text: str) -> str:
    return " ".join(" ".join(parsed(text).itertext()).split())


def rows_of(tree: ElementTree.Element, heading: str) -> list[list[str]]:
    """The rows of the table whose header holds this cell."""
    (table,) = [t for t in tree.iter("table") if heading in [th.text for th in t.iterfind("thead/tr/th")]]
    return [[cell.text or "" for cell in row] for row in table.iterfind("tbody/tr")]


def unsure_trace() -> tuple[Trace, Any]:
    """Two far clusters of 30 rows, two and a half of which are in the other one in some draws."""
    trace, X = simulate(T=100, K=2)
    z = trace.assignments.copy()
    z[:, :40, 0] = 1  # row 0 of cluster 0: 40% elsewhere
    z[:, :20, 3] = 0
    z[:, :5, 4] = 1
    return dataclasses.replace(trace, assignments=z), X


def test_the_table_of_clusters() -> None:
    trace, X = unsure_trace()
    partition = find(trace, X).partition
    assert partition is trace.partition()
    np.testing.assert_array_equal(partition.labels, np.arange(60) % 2)
    np.testing.assert_allclose(partition.uncertainty, [0.4, 0, 0, 0.2, 0.05] + [0] * 55, atol=1e-12)
    lines = clusters_csv(partition).splitlines()
    assert lines[:3] == [
        "row,cluster,uncertainty,second,second_probability",
        f"0,0,{float(partition.uncertainty[0])!r},1,0.4",
        "1,1,0.0,,",
    ]
    assert len(lines) == 61


def test_clusters_have_the_numbers_of_components_whatever_the_order() -> None:
    trace, X = shuffled(simulate(T=50, K=3, N=60)[0], seed=3)[0], simulate(T=50, K=3, N=60)[1]
    found = find(trace, X)
    assert found.partition is not None
    means = np.stack([X[found.partition.labels == k].mean(0) for k in range(3)])
    expected = [[found.summary[f"mean[{k}, x{d}]"]["mean"] for d in range(2)] for k in range(3)]
    np.testing.assert_allclose(means, expected, atol=1.0)


def test_some_draws_are_one_chain() -> None:
    trace, _ = simulate_unknown_n(C=2, T=5)
    part = some_draws(trace, np.array([1, 7]))
    for name in ("weights", "means", "assignments", "n_clusters", "concentration"):
        got, whole = getattr(part, name), getattr(trace, name)
        np.testing.assert_array_equal(got[0], np.stack([whole[0, 1], whole[1, 2]]))
    assert part.Psi_0 is None


def test_the_marginal_of_a_posterior_integrates_it_out() -> None:
    """The density of column 0 is the integral of that of both, what components without rows hold included."""
    trace, _ = simulate_unknown_n(C=1, T=4)
    prior = gibbs_gmm.NormalInverseWishart([0.0, 1.0], 0.5, 6.0, [[3.0, 1.0], [1.0, 2.0]], Psi_0_df=3.0)
    Psi_0 = np.stack([np.eye(2) * s for s in (1.0, 2.0, 3.0, 4.0)])[None]
    trace = dataclasses.replace(
        trace, weights=0.5 * trace.weights, prior=prior, Psi_0=Psi_0, n_components=trace.n_clusters + 1
    )
    y = np.linspace(-400.0, 400.0, 80_001)
    for x in (-1.0, 3.0):
        both = trace.pointwise_log_density(np.column_stack([np.full_like(y, x), y]))
        expected = np.trapezoid(np.exp(both), y, axis=-1)
        got = np.exp(marginal(trace, np.array([0])).pointwise_log_density([[x]]))[..., 0]
        np.testing.assert_allclose(got, expected, rtol=1e-5)


# --- The report ---


def report(trace: Trace, X: Any, command: Command = COMMAND) -> tuple[str, Findings]:
    found = find(trace, X)
    return render(found, {}, command), found


def test_the_numbers_are_those_of_the_trace() -> None:
    trace, X = simulate_unknown_n(weight_prior=FIXED)
    text, found = report(trace, X)
    tree = parsed(text)
    assert f"{trace.headline}. The numbers that are named hold 90% or more of the post" in words(text)
    assert found.partition is not None
    own = trace.n_clusters == 3
    table = {row[0]: row[1:] for row in rows_of(tree, "component")}
    assert list(table) == ["weight", "x0, mean", "x0, sd", "x1, mean", "x1, sd"]
    for k in range(3):
        assert table["x1, mean"][k] == _interval(trace.means[own][:, k, 1])
        assert table["x0, sd"][k] == _interval(np.sqrt(trace.covariances[own][:, k, 0, 0]))
        mean, low, high = map(float, re.findall(r"-?[\d.]+", table["weight"][k]))
        expected = found.summary[f"weight[{k}]"]
        assert (mean, low, high) == pytest.approx([expected[s] for s in ("mean", "q05", "q95")], abs=1e-3)
    invariants = {row[0]: row[1:] for row in rows_of(tree, "effective draws")}
    assert list(invariants) == [name for name in found.summary.name if "[" not in name or "sorted" in name]
    assert invariants["log_likelihood"][0] == f"{trace.log_likelihood.mean():.1f}"
    clusters = rows_of(tree, "which")
    assert [int(row[1]) for row in clusters] == np.bincount(found.partition.labels).tolist()
    assert "4 chains of 300 draws" in words(text)


def test_uncertain_rows_are_listed_with_where_else_they_may_belong() -> None:
    trace, X = unsure_trace()
    text, _ = report(trace, X)
    table = rows_of(parsed(text), "uncertainty")
    assert [row[0] for row in table] == ["0", "3"]
    assert table[0][1:3] == [f"{X[0, 0]:.6g}", f"{X[0, 1]:.6g}"]
    assert table[0][3:] == ["0", "0.40", "1", "0.40"]
    assert f"2 rows with an uncertainty of {_UNSURE} or more:" in words(text)
    assert "of 30, 30 rows. 2 rows (3%) may belong elsewhere, with an uncertainty of 0.1 or more." in words(text)


def test_the_doubt_of_a_cluster_is_a_figure_of_the_cluster() -> None:
    """In 40% of draws component 2 is part of component 0: no row is uncertain, the two clusters are."""
    trace, X = simulate_unknown_n(np.repeat([[2] * 40 + [3] * 60], 4, axis=0), weight_prior=FIXED)
    text, _ = report(trace, X)
    table = {row[0]: row[1:] for row in rows_of(parsed(text), "together")}
    assert [table[k][2:5] for k in "012"] == [
        ["0.000", "1.00", "2 (0.40)"],
        ["0.000", "1.00", "-"],
        ["0.000", "1.00", "0 (0.40)"],
    ]
    assert "No row may belong elsewhere, with an uncertainty of 0.1 or more." in words(text)


def test_chains_that_have_not_met_come_first() -> None:
    n_clusters = np.array([[2], [3]]) + np.zeros((1, 50), int)
    text, _ = report(*simulate_unknown_n(n_clusters, weight_prior=FIXED))
    warning = next(element for element in parsed(text).iter("div") if element.get("class") == "warning")
    assert "have not met" in (warning.text or "")
    assert "chains agree:" not in words(text)
    assert "The 2 chains do not agree" in words(text)


def test_names_are_escaped() -> None:
    trace, X = simulate(T=20)
    evil = "<script>alert('x')</script>", 'a"b & </td>'
    command = Command("<b>&.csv", ("fit", "<b>&.csv", "--drop", "a b"), {"<i>": "text ('<u>', ...)"})
    text, _ = report(dataclasses.replace(trace, columns=evil), X, command)
    assert "<script" not in text
    assert "<b>" not in text
    seen = words(text)
    assert evil[0] in seen
    assert f"{evil[1]}, mean" in seen
    assert "gibbs-gmm fit '<b>&.csv' --drop 'a b'" in seen
    assert "<i>: text ('<u>', ...)" in seen
    images = pictures(find(dataclasses.replace(trace, columns=(evil[0], "$\\frac{$")), X))  # nor is it mathematics
    assert "pairs" in images


class _References(html.parser.HTMLParser):
    found: list[str]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "link", "iframe", "object", "base")
        self.found += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "style", "data")]


def test_it_is_one_file_with_its_pictures() -> None:
    trace, X = simulate_unknown_n(weight_prior=FIXED)
    found = find(trace, X)
    images = pictures(found)
    assert set(images) == {"n_posterior", "pairs", "density", "similarity", "chains", "check", "merged"}
    text = render(found, images, COMMAND)
    tree = parsed(text)
    sources = [element.get("src", "") for element in tree.iter("img")]
    assert len(sources) == 7
    for source in sources:
        head, data = source.split(",", 1)
        assert head == "data:image/png;base64"
        assert base64.b64decode(data) in images.values()
    parser = _References()
    parser.found = []
    parser.feed(text)
    assert parser.found == sources
    assert "url(" not in text.split("</style>")[0]
    assert "@import" not in text.split("</style>")[0]
    assert "http" not in text
    for image in images.values():
        width, height = struct.unpack(">II", image[16:24])
        assert max(width, height) <= 1800


@pytest.mark.parametrize("case", ["known", "process", "one column", "one component", "one chain", "one draw", "bare"])
def test_any_trace(case: str) -> None:
    trace, X = {
        "known": lambda: simulate(T=10),
        "process": lambda: simulate_unknown_n(T=10, weight_prior=DirichletProcess()),
        "one column": lambda: simulate_unknown_n(T=10, D=1, weight_prior=FIXED),
        "one component": lambda: simulate(T=10, K=1),
        "one chain": lambda: simulate(C=1, T=10),
        "one draw": lambda: simulate_unknown_n(C=1, T=1, weight_prior=FIXED),
        "bare": lambda: simulate(T=10, D=3),
    }[case]()
    if case == "bare":
        trace = dataclasses.replace(trace, assignments=None)
    text, _ = report(trace, X)
    seen = words(text)
    headings = [element.text for element in parsed(text).iter("h2")]
    assert len(headings) == 5
    assert "nan" not in seen.lower()
    assert ("--no-assignments" in seen) == (case == "bare")
    assert ("as given" in seen) == trace.n_is_known
    assert ("There is one chain" in seen) == (case in ("one chain", "one draw"))
    assert "gibbs-gmm fit some.csv --seed 1" in seen


def test_what_speaks_against_normal_clusters_is_said() -> None:
    trace, X = simulate(T=20, K=2, N=200)
    assert "Nothing speaks against it." in words(report(trace, X)[0])
    assert set(pictures(find(trace, X))) == {"n_posterior", "pairs", "density", "similarity", "chains"}
    X[1::2, 1] = np.random.default_rng(0).standard_t(2, 100)
    text, found = report(dataclasses.replace(trace, columns=("a", "<i>")), X)
    assert "They are not all:" in words(text)
    assert "Cluster 1 has heavier tails than a normal in <i>." in words(text)
    assert rows_of(parsed(text), "entropy") == [
        ["2", "-", "-", "0.00", "-", "-"],
        ["1", "0 and 1", "200", "0.00", "0.00", "1.00"],
    ]
    assert found.check is found.check


def test_a_trace_from_disk_gives_the_same_report(tmp_path: Any) -> None:
    trace, X = simulate_unknown_n(T=20, weight_prior=FIXED)
    trace.save(tmp_path / "trace.npz")
    assert report(trace, X)[0] == report(gibbs_gmm.load(tmp_path / "trace.npz"), X)[0]


def test_small_pieces() -> None:
    assert _ranges(np.array([0, 1, 2, 4, 7, 8])) == "0-2, 4, 7-8"
    assert _ranges(np.arange(0, 100, 2)).endswith("44, 46, ...")
    assert _number(12.3456, 0.05) == "12.346"
    assert _number(12345.6, 500.0) == "1.235e+04"
    assert _number(3.0, 0.0) == "3"
    assert json.loads(json.dumps(dataclasses.asdict(COMMAND)))["source"] == "some.csv"
    assert select(simulate(T=3)[0], slice(None), slice(1)).weights.shape[1] == 1
