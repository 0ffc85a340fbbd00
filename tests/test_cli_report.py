"""The commands ``report`` and ``predict``."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from commands import ALL_FILES, FILES, complaints, csv_file, fit, fit_unknown, written

import gibbs_gmm
from gibbs_gmm.command_line.cli import main

pytestmark = pytest.mark.usefixtures("fresh_folder", "no_pictures")


def test_report_makes_everything_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert fit_unknown("--weights", "dp") == 0
    before = {name: Path("some-run", name).read_bytes() for name in ALL_FILES}
    for name in set(ALL_FILES) - {"observations.npy", "rows.csv", "command.json"}:
        Path("some-run", name).unlink()
    Path("some.csv").unlink()  # it is not needed
    capsys.readouterr()
    assert main(["report", "some-run"]) == 0
    assert {name: Path("some-run", name).read_bytes() for name in written()} == before
    assert " ".join(capsys.readouterr().out.split()) == (
        "wrote summary.csv, n_posterior.csv, clusters.csv, pairs.png, n_posterior.png, report.html in some-run"
    )
    assert main(["report", "some-run", "--quiet"]) == 0
    assert capsys.readouterr().out == ""


def test_the_command_of_a_report_repeats_the_run() -> None:
    assert main(["fit", csv_file(), "-n", "2", "--draws", "5", "--warmup", "5", "--drop", "b"]) == 0
    report = Path("some-run/report.html").read_text(encoding="utf-8")
    command = re.search("<pre>(.*?)</pre>", report)[1].split()
    assert command[:2] == ["gibbs-gmm", "fit"]
    assert main([*command[1:], "--out", "again"]) == 0
    first, second = (gibbs_gmm.load(folder) for folder in ("some-run", "again"))
    np.testing.assert_array_equal(first.means, second.means)


def test_predict_labels_new_rows(capsys: pytest.CaptureFixture[str]) -> None:
    assert fit("--quiet") == 0
    x = [(0.2, -0.5), (10.0, 9.0), (5.0, 5.0)]
    text = "b,other,sample id,a\n" + "".join(f"{b},text,new{a},{a}\n" for a, b in x)
    Path("new.csv").write_text(text, encoding="utf-8")
    capsys.readouterr()
    assert main(["predict", "some-run", "new.csv"]) == 0
    out, err = capsys.readouterr()
    assert complaints(err) == ""
    rows = list(csv.DictReader(out.splitlines()))
    assert [(row["row"], row["line"]) for row in rows] == [("0", "2"), ("1", "3"), ("2", "4")]
    assert [row["sample id"] for row in rows] == ["new0.2", "new10.0", "new5.0"]
    trace = gibbs_gmm.load("some-run")
    with open("some-run/clusters.csv", encoding="utf-8") as file:
        labels = np.array([int(row["cluster"]) for row in csv.DictReader(file)])
    observations = np.load("some-run/observations.npy")
    for row, near in zip(rows[:2], x[:2], strict=True):
        nearest = np.abs(observations - near).sum(1).argmin()
        assert int(row["cluster"]) == labels[nearest]
    expected = trace.predict_proba(x)
    np.testing.assert_allclose([float(row["probability"]) for row in rows], expected.max(1), rtol=1e-5)
    np.testing.assert_allclose([float(row["log_density"]) for row in rows], trace.log_density(x), rtol=1e-5)

    Path("some-run/clusters.csv").unlink()
    assert main(["predict", "some-run", "new.csv", "--out", "labels.csv"]) == 0
    assert capsys.readouterr().out == "wrote 3 rows to labels.csv\n"
    assert Path("labels.csv").read_text(encoding="utf-8") == out
    assert main(["predict", "some-run", "new.csv", "--out", "labels.csv"]) == 2
    assert "the file 'labels.csv' exists" in capsys.readouterr().err
    assert main(["predict", "some-run", "new.csv", "--out", "labels.csv", "--force", "--quiet"]) == 0


def test_predict_takes_one_row_and_says_which_column_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert fit("--quiet") == 0
    capsys.readouterr()
    for text, message in (
        ("a,b\n1,2\n", ""),
        ("a,c\n1,2\n", "'new.csv': there is no column 'b'; the columns are 'a', 'c'"),
        ("a,b\n1,x\n", "'new.csv': column 'b' cannot be modelled: text ('x', ...)"),
        ("a,b\n.,NA\n2,3\n", "1 row (line 2) without a value in any column that is used: remove it"),
    ):
        Path("new.csv").write_text(text, encoding="utf-8")
        assert main(["predict", "some-run", "new.csv"]) == (2 if message else 0)
        out, err = capsys.readouterr()
        assert message in err
        assert (out.count("\n") == 2) == (not message)


def test_a_run_that_is_not_whole_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty").mkdir()
    assert fit("--quiet") == 0
    capsys.readouterr()
    trace, observations = (Path("some-run", name).read_bytes() for name in ("draws/means.npy", "observations.npy"))
    changed = observations[:-8] + np.float64(3.0).tobytes()
    for folder, name, content, message in (
        ("none", "", None, "'none' does not exist"),
        ("empty", "", None, "'empty' holds no run: there is no draws in it"),
        ("some.csv", "", None, "'some.csv' is a file, not the folder of a run"),
        ("some-run", "draws/means.npy", trace[:200], "cannot be read as a gibbs_gmm run"),
        ("some-run", "observations.npy", None, "observations.npy' is missing: fit again"),
        ("some-run", "observations.npy", changed, "does not hold the observations that were fitted"),
        ("some-run", "observations.npy", observations[:60], "observations.npy' is damaged"),
        ("some-run", "command.json", b"{}", "command.json' cannot be read"),
    ):
        before = Path(folder, name).read_bytes() if name else b""
        if name and content is None:
            Path(folder, name).unlink()
        elif name:
            Path(folder, name).write_bytes(content)
        assert main(["predict", folder, "some.csv"]) == 2
        err = complaints(capsys.readouterr().err)
        assert err.startswith("gibbs-gmm: error: ")
        assert message in err
        if name:
            Path(folder, name).write_bytes(before)
    assert main(["predict", "some-run", "some.csv"]) == 0


def test_a_run_without_assignments_has_a_report_but_no_clusters(capsys: pytest.CaptureFixture[str]) -> None:
    assert fit("--no-assignments", "--quiet") == 0
    assert written() == [name for name in FILES if name != "clusters.csv"]
    capsys.readouterr()
    assert main(["predict", "some-run", "some.csv"]) == 0  # of components, which need none
    assert {line.split(",")[3] for line in capsys.readouterr().out.splitlines()[1:]} == {"0", "1"}


def test_help_of_report_and_predict(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("report", "predict"):
        assert main([command, "--help"]) == 0
        text = capsys.readouterr().out
        assert max(map(len, text.splitlines())) < 80
        assert "folder that fit wrote" in text
