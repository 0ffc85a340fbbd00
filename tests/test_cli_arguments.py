"""Arguments of the command line: what they mean, and what is said of those that mean nothing."""

from pathlib import Path
from typing import Any

import pytest
from commands import complaints, csv_file, fit, fit_unknown

import gibbs_gmm
from gibbs_gmm.command_line.cli import main

pytestmark = pytest.mark.usefixtures("fresh_folder", "no_pictures")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--concentration", "2"], gibbs_gmm.MixtureOfFiniteMixtures(concentration=2.0)),
        (["--weights", "mfm", "--concentration", "0.5"], gibbs_gmm.MixtureOfFiniteMixtures(concentration=0.5)),
        (["--weights", "dp"], gibbs_gmm.DirichletProcess()),
        (["--weights", "dp", "--concentration", "0.5"], gibbs_gmm.DirichletProcess(0.5)),
        (["--weights", "py"], gibbs_gmm.PitmanYorProcess()),
        (["--weights", "py", "--concentration", "2", "--discount", "0.1"], gibbs_gmm.PitmanYorProcess(2.0, 0.1)),
        (["--components", "2"], gibbs_gmm.FiniteMixture(2)),
    ],
)
def test_weights_are_those_asked_for(options: list[str], expected: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Enough(Exception):
        pass

    seen = []

    def fit(X: Any, n_components: Any, **_: Any) -> None:
        seen.append(n_components)
        raise Enough

    monkeypatch.setattr(gibbs_gmm, "fit", fit)
    with pytest.raises(Enough):
        fit_unknown(*options)
    (weight_prior,) = seen
    assert type(weight_prior) is type(expected)
    assert weight_prior.concentration == expected.concentration
    assert getattr(weight_prior, "discount", None) == getattr(expected, "discount", None)


def test_options_reach_the_fit() -> None:
    options = ["--columns", "b, a", "--concentration", "0.5", "--thin", "2", "--no-assignments", "--threads", "1"]
    assert fit(*options, "--out", "here") == 0
    trace = gibbs_gmm.load("here")
    assert trace.columns == ("b", "a")
    assert trace.weight_prior == gibbs_gmm.FiniteMixture(2, 0.5)
    assert trace.assignments is None
    assert trace.log_likelihood.shape == (2, 30)
    assert {name: trace.settings[name] for name in ("thin", "warmup", "threads", "seed")} == {
        "thin": 2,
        "warmup": 30,
        "threads": 1,
        "seed": 1,
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["fit"], "the following arguments are required: FILE"),
        (["fit", "x.csv", "-n", "0"], "argument -n/--components: a whole number of at least 1 is wanted, got '0'"),
        (["fit", "x.csv", "-n", "2.5"], "a whole number of at least 1 is wanted, got '2.5'"),
        (["fit", "x.csv", "-n", "2", "--warmup", "-1"], "argument --warmup: a whole number of at least 0 is wanted"),
        (["fit", "x.csv", "-n", "2", "--concentration", "0"], "argument --concentration: a positive number is wanted"),
        (["fit", "x.csv", "-n", "2", "--concentration", "nan"], "a positive number is wanted, got 'nan'"),
        (["fit", "x.csv", "--weights", "crp"], "argument --weights: invalid choice: 'crp'"),
        (["fit", "x.csv", "--discount", "1"], "argument --discount: a number of at least 0 and less than 1 is wanted"),
        (["fit", "x.csv", "--discount", "nan"], "less than 1 is wanted, got 'nan'"),
        (["fit", "x.csv", "-n", "2", "--columns", ","], "argument --columns: names of columns with commas"),
        (["fit", "x.csv", "-n", "2", "--sed", "x"], "unrecognized arguments: --sed x. For --sed, did you mean --seed?"),
        (["fit", "x.csv", "--n", "3"], "unrecognized arguments: --n 3. For --n, did you mean --components (-n)?"),
        (["fit", "x.csv", "--no-ass"], "For --no-ass, did you mean --no-assignments?"),
        (["fit", "x.csv", "--output", "y"], "For --output, did you mean --out?"),
        (["fit", "x.csv", "--burn-in=50"], "For --burn-in, did you mean --warmup?"),
        (["fit", "x.csv", "--sep", ";"], "For --sep, did you mean --delimiter?"),
        (["fit", "x.csv", "y.csv"], "unrecognized arguments: y.csv. See gibbs-gmm fit --help"),
        (["resume", "x", "--n-iter", "5"], "For --n-iter, did you mean --draws?"),
        (["report", "x", "--components", "5"], "unrecognized arguments: --components 5. See gibbs-gmm report --help"),
        (["fit", "x.csv", "--delimiter", "ab"], 'one character, "tab" or "space" is wanted, got \'ab\''),
        (["fit", "x.csv", "--decimal", ";"], "argument --decimal: invalid choice: ';'"),
        (["repot"], "invalid choice: 'repot': did you mean `gibbs-gmm report`?"),
        (["x.csv"], "invalid choice: 'x.csv': did you mean `gibbs-gmm fit x.csv`?"),
        (["fits"], "invalid choice: 'fits': did you mean `gibbs-gmm fit`?"),
        (["cluster"], "invalid choice: 'cluster' (choose from fit, resume, report, predict, compare, compile)"),
    ],
)
def test_bad_usage(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(options) == 2
    err = capsys.readouterr().err
    assert err.startswith("usage: gibbs-gmm")
    assert "\ngibbs-gmm: error: " in err
    assert message in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--components", "2", "--weights", "dp"], "--weights is for an unknown number of components"),
        (["--weights", "dp", "--discount", "0.1"], "--discount is for --weights py"),
        (["--components", "2", "--discount", "0.1"], "--discount is for --weights py"),
    ],
)
def test_options_that_do_not_go_together(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit_unknown(*options) == 2
    assert capsys.readouterr().err.startswith(f"gibbs-gmm: error: {message}")
    assert not Path("some-run").exists()


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("gibbs-gmm 0.")
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: gibbs-gmm {fit,resume,report,predict,compare,compile} ... (--help says more)\n")
    assert "fit a mixture to a CSV file" in out
    assert main(["fit", "--help"]) == 0
    text = capsys.readouterr().out
    assert "gibbs-gmm fit data/iris.csv --out iris-run\n" in text
    assert max(map(len, text.splitlines())) < 80
    for option in (
        "columns",
        "drop",
        "components",
        "weights",
        "concentration",
        "discount",
        "draws",
        "warmup",
        "thin",
        "chains",
        "seed",
        "threads",
        "force",
        "quiet",
        *("decimal", "delimiter", "encoding", "header", "skip", "comment", "missing", "id", "quick", "append"),
    ):
        assert f"--{option}" in text


def test_bad_output_folders(capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").touch()
    assert fit("--out", "file") == 2
    assert "the output 'file' is a file, not a folder" in capsys.readouterr().err
    assert fit("--out", "file/run") == 2
    assert "the output folder 'file/run' cannot be made: Not a directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind\nx\ny\n", "no numeric column is left (kind: text ('x', ...))"),
        ("a,b\n1,2\n.,NA\n4,5\n", "1 row (line 3) without a value in any column that is used: remove it"),
        ("a,b\n1,2\n3\n", "line 3 has 1 field where 2 are expected"),
        ("a\n1\n2\n3\n4\nfive\n", "column 'a' holds numbers, but 'five' in line 6"),
        ("a,b\n1,2\n", "no numeric column is left (a: constant (always 1)"),
        ("a\n1\n2\n3\n", "--components must be at most 3 for X with 3 rows, got 4"),
    ],
)
def test_bad_files_end_with_2_and_leave_nothing(text: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", csv_file(text), "--components", "4"]) == 2
    err = complaints(capsys.readouterr().err)
    assert err.startswith("gibbs-gmm: error: ")
    assert message in err
    assert not Path("some-run").exists()


def test_a_missing_file_and_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "none.csv", "--components", "2"]) == 2
    assert complaints(capsys.readouterr().err) == "gibbs-gmm: error: there is no file 'none.csv'\n"
    assert main(["fit", ".", "--components", "2"]) == 2
    assert "is a folder, not a CSV file" in capsys.readouterr().err
