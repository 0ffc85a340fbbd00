"""What a run has found, and the report of it: the numbers are those of the trace, and the HTML is sound."""

import base64
import dataclasses
import html.parser
import json
import re
import struct
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from made_up_traces import select, shuffled, simulate, simulate_unknown_n
from sklearn.metrics import adjusted_rand_score

import gibbs_gmm
from gibbs_gmm import DirichletProcess, MixtureOfFiniteMixtures, Trace
from gibbs_gmm.command_line import output_folder, results
from gibbs_gmm.command_line.findings import Findings, clusters_csv, find
from gibbs_gmm.command_line.html_pieces import interval, ranges
from gibbs_gmm.command_line.output_folder import Command
from gibbs_gmm.command_line.report import CHAPTERS, pictures, render
from gibbs_gmm.command_line.report_rows import _sureness
from gibbs_gmm.posterior.matched import marginal, some_draws
from gibbs_gmm.posterior.wording import listed, number

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
    return [[" ".join("|".join(cell.itertext()).split()) for cell in row] for row in table.iterfind("tbody/tr")]


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
    lines = "".join(clusters_csv(partition)).splitlines()
    assert lines[:3] == [
        "row,cluster,uncertainty,second,second_probability",
        "0,0,0.4,1,0.4",
        "1,1,0,,",
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
    prior = gibbs_gmm.NormalInverseWishart([0.0, 1.0], 0.5, 6.0, [[3.0, 1.0], [1.0, 2.0]], Psi_0_df=4.0)
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
    assert [p.text for p in tree.iter("p") if p.get("class") == "headline"] == [trace.headline]
    assert "The numbers that are named hold 90% or more of the posterior probability" in words(text)
    assert found.partition is not None
    own = trace.n_clusters == 3
    (table,) = [t for t in tree.iter("table") if t.get("class") == "numbers"]
    cells = [["|".join(cell.itertext()) for cell in row] for row in table.iterfind("tbody/tr")]
    table = {row[0]: row[1:] for row in cells}
    assert list(table) == ["weight", "x0, mean", "x0, sd", "x1, mean", "x1, sd"]
    for k in range(3):
        assert table["x1, mean"][k] == "|".join(interval(trace.means[own][:, k, 1]))
        assert table["x0, sd"][k] == "|".join(interval(np.sqrt(trace.covariances[own][:, k, 0, 0])))
        mean, low, high = map(float, re.findall(r"-?[\d.]+", table["weight"][k]))
        expected = found.summary[f"weight[{k}]"]
        assert (mean, low, high) == pytest.approx([expected[s] for s in ("mean", "q05", "q95")], abs=1e-3)
    invariants = {row[0]: row[1:] for row in rows_of(tree, "effective draws")}
    assert list(invariants) == [name for name in found.summary.name if "[" not in name or name[:4] in ("sort", "part")]
    assert invariants["log_likelihood"][0] == f"{trace.log_likelihood.mean():.1f}"
    clusters = rows_of(tree, "in doubt")
    assert [int(row[1]) for row in clusters] == np.bincount(found.partition.labels).tolist()
    assert "4 chains of 300 draws" in words(text)


def test_uncertain_rows_are_listed_with_where_else_they_may_belong() -> None:
    trace, X = unsure_trace()
    text, _ = report(trace, X)
    table = rows_of(parsed(text), "or cluster")
    assert [row[0] for row in table] == ["0", "3"]
    assert table[0][1:3] == [f"{X[0, 0]:.6g}", f"{X[0, 1]:.6g}"]
    assert table[0][3:] == ["0", "0.60", "1", "0.40"]
    assert rows_of(parsed(text), "in doubt") == [
        ["cluster 0", "30", "28", "1", "1"],
        ["cluster 1", "30", "29", "0", "1"],
    ]
    seen = words(text)
    assert "The rows fall into 2 clusters, of 30, 30 rows. 2 rows (3%) are in doubt, with a probability of 10%" in seen
    assert "Here are the rows in doubt. Rows are counted from 0" in seen
    found = find(trace, X, names=[f"plant <{i}>" for i in range(60)], lines=np.arange(60) + 2)
    text = render(found, {}, COMMAND)
    assert [row[:2] for row in rows_of(parsed(text), "or cluster")] == [["plant <0>", "2"], ["plant <3>", "5"]]


def test_the_doubt_of_a_cluster_is_a_figure_of_the_cluster() -> None:
    """In 40% of draws component 2 is part of component 0: no row is uncertain, the two clusters are."""
    trace, X = simulate_unknown_n(np.repeat([[2] * 40 + [3] * 60], 4, axis=0), weight_prior=FIXED)
    text, _ = report(trace, X)
    table = {row[0]: row[1:] for row in rows_of(parsed(text), "together")}
    assert [table[f"cluster {k}"] for k in range(3)] == [
        ["0.000", "1.00", "2 (0.40)"],
        ["0.000", "1.00", "-"],
        ["0.000", "1.00", "0 (0.40)"],
    ]
    assert "None is in doubt: each is in its cluster with a probability above 90%." in words(text)
    assert "It may be one with cluster 2: their rows are together with probability 0.40." in words(text)


def test_chains_that_have_not_met_come_first() -> None:
    n_clusters = np.array([[2], [3]]) + np.zeros((1, 50), int)
    text, _ = report(*simulate_unknown_n(n_clusters, weight_prior=FIXED))
    warning = next(element for element in parsed(text).iter("div") if element.get("class") == "warning")
    assert "have not met" in (warning.text or "")
    assert "agree." not in words(text)
    assert "No: the 2 runs do not agree, and what they found is mixed here." in words(text)


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
        self.found += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data")]
        assert all(re.fullmatch("--c: #[0-9A-F]{6}", value or "") for name, value in attrs if name == "style")


def test_it_is_one_file_with_its_pictures_and_tables() -> None:
    trace, X = simulate_unknown_n(weight_prior=FIXED)
    found = find(trace, X, {"kind": ["<a>", "b"] * 30, "note": [str(i) for i in range(60)]})
    images = pictures(found)
    expected = {"n_posterior", "pairs", "profiles", "membership", "density", "similarity", "chains", "check", "merged"}
    assert set(images) == expected
    files = {"clusters.csv": "row,cluster\n0,1\n", "large.csv": None}
    text = render(found, images, COMMAND, files)
    tree = parsed(text)
    sources = [element.get("src", "") for element in tree.iter("img")]
    assert len(sources) == len(expected)
    for source in sources:
        head, data = source.split(",", 1)
        assert head == "data:image/png;base64"
        assert base64.b64decode(data) in images.values()
    (saved,) = [link for link in tree.iter("a") if link.get("download")]
    assert saved.get("download") == "clusters.csv"
    head, data = saved.get("href", "").split(",", 1)
    assert (head, base64.b64decode(data).decode()) == ("data:text/csv;charset=utf-8;base64", files["clusters.csv"])
    assert "in the folder beside it: large.csv" in words(text)
    parser = _References()
    parser.found = []
    parser.feed(text)
    outside = [source for source in parser.found if source not in sources and not source.startswith(("#", "data:"))]
    assert outside == []
    style = text.split("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    assert "http" not in text
    for image in images.values():
        width, height = struct.unpack(">II", image[16:24])
        assert max(width, height) <= 1800


def test_contents_lead_to_chapters_and_every_picture_says_what_it_shows() -> None:
    trace, X = simulate_unknown_n(weight_prior=FIXED)
    found = find(trace, X, {"kind": ["a", "b"] * 30})
    tree = parsed(render(found, pictures(found), COMMAND))
    named = [element.get("id") for element in tree.iter() if element.get("id")]
    assert len(set(named)) == len(named)
    links = [link.get("href", "")[1:] for link in tree.iter("a") if link.get("href", "").startswith("#")]
    assert links == named == [*(name for name, _, _ in CHAPTERS), "again"]
    for picture in tree.iter("figure"):
        (image,), (finding,) = picture.iter("img"), picture.iter("strong")
        assert len(image.get("alt", "").split()) >= 3
        assert finding.text
        assert finding.text.rstrip().endswith(".")
    text = "".join(tree.find(".//section[@id='number']").itertext())
    assert "3 clusters are most probable: " in text
    tables = list(tree.iter("table"))
    inside = [table for scroll in tree.iter("div") if scroll.get("class") == "wide" for table in scroll.iter("table")]
    assert len(inside) == len(tables)


def test_columns_that_were_left_out_are_beside_the_clusters() -> None:
    trace, X = simulate(T=30, K=3)
    kinds = np.array(["setosa", "versicolor", "virginica"])[np.arange(60) % 3]
    kinds[:3] = "<other>"
    found = find(trace, X, {"species": kinds.tolist(), "always": ["x"] * 60, "id": [str(i) for i in range(60)]})
    text = render(found, {}, COMMAND)
    assert rows_of(parsed(text), "species") == [
        ["<other>", "1", "1", "1", "3"],
        ["setosa", "19", "0", "0", "19"],
        ["versicolor", "0", "19", "0", "19"],
        ["virginica", "0", "0", "19", "19"],
    ]
    seen = words(text)
    agreement = found.cross_tables[0].agreement
    assert agreement == pytest.approx(adjusted_rand_score(kinds, np.arange(60) % 3))
    assert f"Clusters and species agree almost row by row (adjusted Rand index {agreement:.2f};" in seen
    assert "setosa is in cluster 0 (19 of 19 rows)" in seen
    assert "species: setosa (19) and <other> (1)." in seen
    assert "Not shown, for they have one value or very many: always and id." in seen
    unrelated = find(trace, X, {"day": np.random.default_rng(0).choice(["mo", "tu"], 60).tolist()}).cross_tables[0]
    assert "have little to do with each other" in unrelated.sentence


def test_what_is_left_out_and_unrelated_is_in_a_fold_alone() -> None:
    trace, X = simulate(T=30, K=3)
    day = np.random.default_rng(0).choice(["monday", "tuesday"], 60).tolist()
    text = render(find(trace, X, {"day": day}), {}, COMMAND)
    before, fold = text.split("What has little to do with the clusters: day</summary>")
    assert "monday" not in before
    assert "monday" in fold.split("</details>")[0]


def test_how_the_file_was_read_and_what_is_missing_is_said() -> None:
    trace, X = simulate(T=30, K=2)
    note = "3 of 120 values are missing"
    trace = dataclasses.replace(trace, settings={**trace.settings, "notes": [note]})
    command = dataclasses.replace(COMMAND, notes=("decimal commas in column 'a': '9,5' is read as 9.5",))
    seen = words(render(find(trace, X), {}, command))
    assert seen.count(note) == 1
    assert seen.index(note) < seen.index("What are the clusters like?")
    assert "How the file was read: decimal commas in column 'a'" in seen


@pytest.mark.parametrize(
    ("settings", "arguments", "advice"),
    [
        ({"warmup": 2000, "thin": 10}, ("fit", "x.csv", "--quick"), "the same command without --quick."),
        (
            {"warmup": 2000, "thin": 10},
            ("fit", "x.csv"),
            "the same command with --warmup 8000 --draws 1000 --thin 10 --chains 4 --force.",
        ),
        ({"max_sweeps": 5000}, ("fit", "x.csv"), "gibbs-gmm resume FOLDER --max-sweeps 20000"),
    ],
)
def test_advice_is_a_command(settings: dict[str, int], arguments: tuple[str, ...], advice: str) -> None:
    trace, X = simulate_unknown_n(np.repeat([[2], [3], [3], [3]], 50, axis=1))
    trace = dataclasses.replace(trace, settings={**trace.settings, **settings})
    command = dataclasses.replace(COMMAND, arguments=arguments)
    seen = words(render(find(trace, X), {}, command))
    assert f"Run longer, until they agree: {advice}" in seen
    assert "gg.fit" not in seen


def test_rows_that_stand_for_several_are_told_from_observations() -> None:
    trace, X = simulate(T=30, K=2)
    counts = np.full(len(X), 3)
    trace = dataclasses.replace(trace, counts=counts, settings={**trace.settings, "n_observations": 3 * len(X)})
    assert f"{len(X)} rows that stand for {3 * len(X)} observations" in words(render(find(trace, X), {}, COMMAND))


def test_each_cluster_is_described_by_what_sets_it_apart() -> None:
    """In standard deviations within clusters: very low, medium and very high; equal means; hardly apart."""
    means = np.array([[0.0, 5.0, 1.0], [5.0, 5.0, 1.0], [10.0, 5.0, 1.6]])
    deviations = np.array([[1.0, 1.0, 1.0], [1.0, 3.0, 1.0], [1.0, 1.0, 1.0]])
    rng = np.random.default_rng(0)
    trace, X = simulate(C=2, T=100, K=3, D=3, N=90)
    noise = rng.normal(0.0, 0.02, trace.means.shape)
    covariances = np.einsum("kd,de->kde", deviations**2, np.eye(3))
    covariances = covariances * np.exp(rng.normal(0.0, 0.02, (2, 100, 1, 1, 1)))
    trace = dataclasses.replace(trace, means=means + noise, covariances=np.broadcast_to(covariances, (*noise.shape, 3)))
    trace = dataclasses.replace(trace, columns=("length", "width", "depth"))
    X = means[np.arange(90) % 3] + rng.normal(size=(90, 3))
    one, two, three = find(trace, X).descriptions
    assert [trait.word for trait in one.traits if trait.column == "length"] == ["very low"]
    assert two.telling[0].word == "medium"
    assert three.telling[0].word == "very high"
    assert one.telling[0].column == two.telling[0].column == three.telling[0].column == "length"
    assert three.telling[1] == dataclasses.replace(three.telling[1], column="depth", word="high")
    assert [trait.word for trait in one.traits if trait.column == "width"] == [""]
    assert (two.wider, two.narrower, one.wider) == (("width",), (), ())
    assert one.sentence.startswith("Very low length (0.0")
    assert "; the others 5.0" in one.sentence
    assert two.sentence.endswith("; a wide spread of width.")
    assert "There is no other cluster" in find(*simulate(T=10, K=1)).descriptions[0].sentence
    flat = dataclasses.replace(trace, means=5.0 + noise, covariances=np.broadcast_to(np.eye(3), (*noise.shape, 3)))
    assert find(flat, X).descriptions[0].sentence.startswith("No single column sets it apart")


def test_twelve_clusters_are_in_tables_of_four() -> None:
    trace, X = simulate(C=1, T=10, K=12, N=120, D=3)
    tree = parsed(report(trace, X)[0])
    tables = [t for t in tree.iter("table") if t.get("class") == "numbers"]
    headers = [["".join(th.itertext()) for th in t.iterfind("thead/tr/th")] for t in tables]
    assert headers == [["", *(f"cluster {k}" for k in range(first, first + 4))] for first in (0, 4, 8)]
    assert len([card for card in tree.iter("div") if card.get("class") == "card"]) == 12


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
    assert len(headings) == (6 if case == "bare" else 7)
    assert "nan" not in seen.lower()
    assert ("--no-assignments" in seen) == (case == "bare")
    assert ("as given" in seen) == trace.n_is_known
    assert ("There is one run" in seen) == (case in ("one chain", "one draw"))
    assert "1 chains" not in seen
    assert "1 draws" not in seen
    assert "gibbs-gmm fit some.csv --seed 1" in seen


def test_what_speaks_against_normal_clusters_is_said() -> None:
    trace, X = simulate(T=20, K=2, N=200)
    assert "Nothing speaks against it." in words(report(trace, X)[0])
    expected = {"pairs", "profiles", "membership", "density", "similarity", "chains"}
    assert set(pictures(find(trace, X))) == expected
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
    assert ranges(np.array([0, 1, 2, 4, 7, 8])) == "0-2, 4, 7-8"
    assert ranges(np.arange(0, 100, 2)).endswith("44, 46, ...")
    assert number(12.3456, 0.05) == "12.346"
    assert number(12345.6, 500.0) == "12346"
    assert number(1.0, 1e9) == "1"
    assert number(3.0, 0.0) == "3"
    assert listed("abc") == "a, b and c"
    assert listed(range(30), most=2) == "0, 1 and 28 more"
    assert json.loads(json.dumps(dataclasses.asdict(COMMAND)))["source"] == "some.csv"
    assert select(simulate(T=3)[0], slice(None), slice(1)).weights.shape[1] == 1


def test_a_table_that_is_too_large_stays_beside_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not even read; how large is counted in bytes of the file."""
    (tmp_path / "some.csv").write_text("12345678", encoding="utf-8")
    assert results._text(tmp_path / "some.csv") == "12345678"
    monkeypatch.setattr(output_folder, "LARGEST_DOWNLOAD", 7)
    assert results._text(tmp_path / "some.csv") is None


def test_a_long_table_of_clusters_is_made_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts together are the table, whatever their length, and names go with their rows."""
    trace, X = unsure_trace()
    partition = find(trace, X).partition
    assert partition is not None
    named = {"line": np.arange(60) + 2, "id": [f"row {i}" for i in range(60)]}
    whole = "".join(clusters_csv(partition, named))
    assert whole.splitlines()[59] == "58,60,row 58,0,0,,"
    monkeypatch.setattr("gibbs_gmm.command_line.findings._BLOCK", 7)
    parts = list(clusters_csv(partition, named))
    assert len(parts) == 10
    assert "".join(parts) == whole


def test_the_pair_that_is_most_often_unclear_is_named() -> None:
    trace, X = unsure_trace()
    partition = find(trace, X).partition
    assert partition is not None
    unsure = int((partition.uncertainty >= 0.1).sum())
    assert (
        _sureness(partition) == f"{60 - unsure} of 60 rows are sure; of the others {unsure} may be of cluster 0 or 1."
    )
