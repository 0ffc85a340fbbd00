"""The command line with known kinds and outliers: what it reads, says and writes."""

import csv
from pathlib import Path

import numpy as np
import pytest
from commands import SHORT, complaints

import gibbs_gmm
from gibbs_gmm.command_line.cli import main

pytestmark = pytest.mark.usefixtures("fresh_folder", "no_pictures")


def labelled_file(kinds: tuple[str, str] = ("left", "right"), gap: str = "", outliers: int = 3) -> str:
    """Two kinds of 30 rows, two rows of each known, and some rows far off."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2)) + 8.0 * (np.arange(60) % 2)[:, None]
    x = np.concatenate([x, rng.uniform([-30.0, 30.0], [-20.0, 40.0], (outliers, 2))])
    known = [kinds[i % 2] if i < 4 else gap for i in range(len(x))]
    lines = [f"{a},{b},{kind},n{i}\n" for i, ((a, b), kind) in enumerate(zip(x.tolist(), known, strict=True))]
    Path("some.csv").write_text("a,b,kind,name\n" + "".join(lines), encoding="utf-8")
    return "some.csv"


def test_known_kinds_and_outliers(capsys: pytest.CaptureFixture[str], pictures: None) -> None:
    options = ["--labels", "kind", "--outliers", "--components", "2", "--append", *SHORT]
    assert main(["fit", labelled_file(), *options]) == 0
    out, err = capsys.readouterr()
    assert complaints(err) == ""
    assert max(map(len, out.splitlines())) <= 100
    assert "left out  kind: the kinds of the rows, as far as they are known" in out
    table = out[out.index("Clusters: share") :].splitlines()
    assert table[2].split()[:2] == ["0", "left"]
    assert table[3].split()[:2] == ["1", "right"]
    said = " ".join(out.split())
    assert "3 rows are outliers, of no cluster, with a probability of 1/2 or more: name n6" in said
    trace = gibbs_gmm.load("some-run")
    assert trace.label_names == ("left", "right")
    assert (trace.partition().labels[:60] == np.arange(60) % 2).all()
    report = Path("some-run/report.html").read_text(encoding="utf-8")
    assert "0 is left and 1 is right, as known for some rows" in report
    assert "Cluster 0 (left): 30 rows" in report
    assert "3 rows are outliers" in report
    assert ">n60</t" in report
    with open("some-run/clusters.csv", encoding="utf-8") as file:
        assert [row["cluster"] for row in csv.DictReader(file)] == ["0", "1"] * 30 + ["-1"] * 3
    assert Path("some-run/with_clusters.csv").read_text(encoding="utf-8").splitlines()[-1].split(",")[4] == "-1"
    # The results can be made again, and the run be carried on, without the option.
    assert main(["report", "some-run", "--quiet"]) == 0
    assert Path("some-run/report.html").read_text(encoding="utf-8") == report
    assert main(["resume", "some-run", "--draws", "40", "--quiet"]) == 0
    assert gibbs_gmm.load("some-run").label_names == ("left", "right")
    Path("new.csv").write_text("a,b\n0,0\n8,8\n300,-300\n", encoding="utf-8")
    capsys.readouterr()
    assert main(["predict", "some-run", "new.csv"]) == 0
    assert [row["cluster"] for row in csv.DictReader(capsys.readouterr()[0].splitlines())] == ["0", "1", "-1"]


@pytest.mark.parametrize("gap", ["", "-1", "NA"])
def test_numbers_are_kinds_too(gap: str) -> None:
    assert main(["fit", labelled_file(("7", "3"), gap, 0), "--labels", "kind", "--components", "2", *SHORT]) == 0
    trace = gibbs_gmm.load("some-run")
    assert trace.label_names == (3, 7)
    assert (trace.partition().labels == 1 - np.arange(60) % 2).all()
    assert trace.columns == ("a", "b")


def test_no_outliers_are_said_to_be_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", labelled_file(outliers=0), "--outliers", "--components", "2", *SHORT]) == 0
    assert "No row is an outlier with a probability of 1/2 or more" in " ".join(capsys.readouterr()[0].split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--labels", "knd"], "there is no column 'knd'; did you mean 'kind'?"),
        (["--labels", "kind", "--components", "1"], "--components must allow at least 2 components"),
        (["--outliers", "--no-assignments"], "--outliers needs to know which row is what"),
    ],
)
def test_contradictions_are_refused(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", labelled_file(), *options, *SHORT]) == 2
    assert message in " ".join(capsys.readouterr()[1].split())
    assert not Path("some-run").exists()
