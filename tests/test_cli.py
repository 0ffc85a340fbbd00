"""The command line: what it writes, what it says and how it ends."""

import csv
import dataclasses
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness import assert_same_draws
from test_relabel import select, simulate_unknown_n

import gibbs_gmm
from gibbs_gmm.command_line.cli import main
from gibbs_gmm.command_line.console import bar_chart
from gibbs_gmm.posterior.n_posterior import tabulate
from gibbs_gmm.sampler import chain as chains

DATA = Path(__file__).resolve().parents[1] / "data"
FIXED = gibbs_gmm.MixtureOfFiniteMixtures(concentration=1.0)
SHORT = ["--draws", "30", "--warmup", "30", "--chains", "2", "--seed", "1"]
FILES = [
    "clusters.csv",
    "command.json",
    "observations.npy",
    "pairs.png",
    "report.html",
    "summary.csv",
    "trace.npz",
]
ALL_FILES = sorted(["n_posterior.csv", "n_posterior.png", *FILES])
PNG = b"\x89PNG"


@pytest.fixture(autouse=True)
def _in_a_fresh_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _no_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are drawn where they matter: they take longer than all the rest."""
    if "pictures" not in request.fixturenames:
        monkeypatch.setattr("gibbs_gmm.plots.save", lambda target, *_, **__: target.write(PNG))


@pytest.fixture
def pictures() -> None:
    """Asked for by tests that want real pictures."""


def csv_file(text: str = "", rows: int = 40) -> str:
    """A small file of two clusters, or this text."""
    x = np.random.default_rng(0).normal(size=(rows, 2)) + 10.0 * (np.arange(rows) % 2)[:, None]
    Path("some.csv").write_text(
        text or "a,b,name\n" + "".join(f"{a},{b},n{a}\n" for a, b in x.tolist()), encoding="utf-8"
    )
    return "some.csv"


def fit(*options: str) -> int:
    return main(["fit", csv_file(), "--components", "2", *SHORT, *options])


def fit_unknown(*options: str) -> int:
    return main(["fit", csv_file(), *SHORT, *options])


def written(folder: str = "some-run") -> list[str]:
    """The results in a folder, beside the checkpoint."""
    return sorted(path.name for path in Path(folder).iterdir() if path.name != "checkpoint")


def test_what_is_wrong_with_data_and_clusters_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    income = np.exp(rng.normal(size=200))
    lines = [
        f"{x},{k},{y}" for x, k, y in zip(income.tolist(), range(1, 201), rng.normal(size=200).tolist(), strict=True)
    ]
    assert main(["fit", csv_file("income,number,other\n" + "\n".join(lines)), "--components", "1", *SHORT]) == 0
    out, err = capsys.readouterr()
    assert err.startswith(
        "gibbs-gmm: warning: X has columns that look like numbers of rows, integers that are all distinct"
    )
    assert "'number'" in err
    assert "\nCluster 0 is skewed to the right in income.\n" in out
    assert "Take logarithms of income? It is skewed to the right, and its logarithms are not." in " ".join(out.split())
    assert "Take logarithms of income?" in Path("some-run/report.html").read_text()


def test_fit_writes_a_run_and_says_so(pictures: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", str(DATA / "iris.csv"), "--components", "3", "--out", "deep/iris-run", *SHORT]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert lines[0].endswith("iris.csv: 150 rows")
    assert lines[1].split() == ["used", "sepal_length,", "sepal_width,", "petal_length,", "petal_width"]
    assert lines[2].split(maxsplit=3)[2:] == ["species:", "text ('setosa', ...)"]
    assert "covariance[2, petal_width, petal_width]" in out
    assert "n_clusters" in out
    assert lines[-1] == (
        "wrote trace.npz, observations.npy, command.json, summary.csv, clusters.csv, pairs.png, report.html in "
        "deep/iris-run; --seed 1 gives the same draws again"
    )

    assert written("deep/iris-run") == FILES
    trace = gibbs_gmm.load("deep/iris-run/trace.npz")
    assert trace.means.shape == (2, 30, 3, 4)
    assert trace.columns == ("sepal_length", "sepal_width", "petal_length", "petal_width")
    with open("deep/iris-run/summary.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["name"] == "weight[0]"
    assert len(rows) == 3 * (1 + 4 + 10) + 2 + 3 + 1 + 1 + 1  # the last are entropy, n_clusters and kappa_0
    assert Path("deep/iris-run/pairs.png").read_bytes().startswith(PNG)
    report = Path("deep/iris-run/report.html").read_text(encoding="utf-8")
    assert report.count("<img src=") == 4
    assert "iris.csv --components 3 --out deep/iris-run --draws 30 --warmup 30 --chains 2 --seed 1</pre>" in report
    with open("deep/iris-run/clusters.csv", encoding="utf-8") as file:
        clusters = list(csv.DictReader(file))
    assert [int(row["row"]) for row in clusters] == list(range(150))
    assert {int(row["cluster"]) for row in clusters} <= {0, 1, 2}


def test_without_components_their_number_is_learned(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", str(DATA / "iris.csv"), "--out", "iris-run", *SHORT]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    headline = gibbs_gmm.load("iris-run/trace.npz").headline
    assert lines[3:6] == ["", headline, ""]
    assert f"{headline}." in " ".join(out.split())
    assert f"{headline}." in Path("iris-run/report.html").read_text(encoding="utf-8")
    assert lines[6].split() == ["p(n),", "components", "post", "prior", "p(n+),", "clusters", "post", "prior"]
    assert lines[7].split()[:1] == ["1"]
    end = lines.index("", 6)
    assert max(map(len, lines[6:end])) < 80
    assert any("######" in line for line in lines[7:end])
    assert lines[end + 1].split() == ["mean", "sd", "5%", "95%", "r_hat", "ess_bulk", "ess_tail"]
    assert "n_components" in out
    assert lines[-1].startswith(
        "wrote trace.npz, observations.npy, command.json, summary.csv, n_posterior.csv, clusters.csv, pairs.png, "
        "n_posterior.png, report.html in iris-run; "
    )
    assert written("iris-run") == ALL_FILES
    trace = gibbs_gmm.load("iris-run/trace.npz")
    assert trace.weight_prior.concentration.dist.name == "f"
    with open("iris-run/n_posterior.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:4] == ["n", "p_n_components", "se_n_components", "prior_n_components"]
    assert float(rows[1]["p_n_clusters"]) == np.mean(trace.n_clusters == 2)
    assert Path("iris-run/n_posterior.png").read_bytes().startswith(PNG)


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


def test_a_process_has_one_chart(capsys: pytest.CaptureFixture[str]) -> None:
    assert fit_unknown("--weights", "dp") == 0
    lines = capsys.readouterr().out.splitlines()
    chart = lines[lines.index("") + 3 :]
    assert chart[0].split() == ["p(n+),", "clusters", "post", "prior"]
    assert max(map(len, chart[: chart.index("")])) < 80
    assert written() == ALL_FILES


def test_the_bar_chart_is_to_scale() -> None:
    posterior = tabulate(simulate_unknown_n(np.array([[1, 2, 2, 2, 2, 2, 12, 12]]), weight_prior=FIXED)[0])
    posterior = dataclasses.replace(
        posterior, p_n_components=posterior.p_n_clusters, prior_n_clusters=np.full(len(posterior), np.nan)
    )
    head, *lines = bar_chart(posterior).splitlines()
    assert head.endswith("prior")
    assert [line.split()[0] for line in lines] == [str(n) for n in range(1, 13)]
    assert len({len(line) for line in (head, *lines)}) == 1
    bars = [[len(bar) for bar in re.findall("#+", line)] for line in lines]
    full = bars[1][0]
    assert full > 15
    assert bars[:3] == [[round(full / 5)] * 2, [full] * 2, []]
    assert bars[11] == [round(full * 2 / 5)] * 2
    assert lines[0].split() == ["1", "#" * bars[0][0], "0.125", "0.571", "#" * bars[0][0], "0.125", "-"]


def test_very_many_bars_are_not_printed() -> None:
    posterior = tabulate(simulate_unknown_n(np.arange(1, 61)[None], D=1, weight_prior=gibbs_gmm.DirichletProcess())[0])
    assert "spread over 60 values: see n_posterior.csv" in bar_chart(posterior)


def test_a_run_of_known_n_takes_away_the_tables_of_an_earlier_one_of_unknown_n(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit_unknown("--weights", "dp") == 0
    assert fit() == 2
    for name in FILES:
        Path("some-run", name).unlink()
    assert fit() == 2
    assert "already has a run" in capsys.readouterr().err
    assert fit("--force") == 0
    assert written() == FILES


def test_options_reach_the_fit() -> None:
    options = ["--columns", "b, a", "--concentration", "0.5", "--thin", "2", "--no-assignments", "--threads", "1"]
    assert fit(*options, "--out", "here") == 0
    trace = gibbs_gmm.load("here/trace.npz")
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


def test_the_printed_seed_repeats_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["fit", csv_file(), "-n", "2", "--draws", "5", "--warmup", "5", "--drop", "b"]
    assert main(options) == 0
    seed = capsys.readouterr().out.split("--seed ")[1].split()[0]
    assert main([*options, "--seed", seed, "--out", "again"]) == 0
    first, second = (gibbs_gmm.load(f"{folder}/trace.npz") for folder in ("some-run", "again"))
    np.testing.assert_array_equal(first.means, second.means)


def test_a_second_run_needs_force(capsys: pytest.CaptureFixture[str]) -> None:
    assert fit() == 0
    before = Path("some-run/trace.npz").read_bytes()
    assert fit("--seed", "2") == 2
    assert "error: the folder 'some-run' already has a run" in capsys.readouterr().err
    assert Path("some-run/trace.npz").read_bytes() == before
    assert fit("--seed", "2", "--force") == 0
    assert gibbs_gmm.load("some-run/trace.npz").settings["seed"] == 2
    assert written() == FILES


def test_a_folder_with_other_files_can_be_used() -> None:
    Path("some-run").mkdir()
    Path("some-run/notes.txt").touch()
    assert fit() == 0
    assert written() == sorted(["notes.txt", *FILES])


def test_bad_output_folders(capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").touch()
    assert fit("--out", "file") == 2
    assert "the output 'file' is a file, not a folder" in capsys.readouterr().err
    assert fit("--out", "file/run") == 2
    assert "the output folder 'file/run' cannot be made: Not a directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name\nx\ny\n", "no numeric column is left (name: text ('x', ...))"),
        ("a,b\n1,2\n3,\n4,5\n", "column 'b' has 1 missing value, line 3;"),
        ("a,b\n1,2\n3\n", "line 3 has 1 field where 2 are expected"),
        ("a\n1\n2\n3\n4\nfive\n", "column 'a' holds numbers, but 'five' in line 6"),
        ("a,b\n1,2\n", "no numeric column is left (a: constant (always 1)"),
        ("a\n1\n2\n3\n", "n_components must be at most 3 for X with 3 rows, got 4"),
    ],
)
def test_bad_files_end_with_2_and_leave_nothing(text: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", csv_file(text), "--components", "4"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("gibbs-gmm: error: ")
    assert message in err
    assert not Path("some-run").exists()


def test_a_missing_file_and_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "none.csv", "--components", "2"]) == 2
    assert capsys.readouterr().err == "gibbs-gmm: error: there is no file 'none.csv'\n"
    assert main(["fit", ".", "--components", "2"]) == 2
    assert "is a folder, not a CSV file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["fit"], "the following arguments are required: CSV"),
        (["fit", "x.csv", "-n", "0"], "argument -n/--components: a whole number of at least 1 is wanted, got '0'"),
        (["fit", "x.csv", "-n", "2.5"], "a whole number of at least 1 is wanted, got '2.5'"),
        (["fit", "x.csv", "-n", "2", "--warmup", "-1"], "argument --warmup: a whole number of at least 0 is wanted"),
        (["fit", "x.csv", "-n", "2", "--concentration", "0"], "argument --concentration: a positive number is wanted"),
        (["fit", "x.csv", "-n", "2", "--concentration", "nan"], "a positive number is wanted, got 'nan'"),
        (["fit", "x.csv", "--weights", "crp"], "argument --weights: invalid choice: 'crp'"),
        (["fit", "x.csv", "--discount", "1"], "argument --discount: a number of at least 0 and less than 1 is wanted"),
        (["fit", "x.csv", "--discount", "nan"], "less than 1 is wanted, got 'nan'"),
        (["fit", "x.csv", "-n", "2", "--columns", ","], "argument --columns: names of columns with commas"),
        (["fit", "x.csv", "-n", "2", "--sed", "x"], "unrecognized arguments: --sed"),
        (["fits"], "invalid choice: 'fits'"),
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
    assert "fit a mixture to a CSV file" in capsys.readouterr().out
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
    ):
        assert f"--{option}" in text


def test_quiet_prints_warnings_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert fit("--quiet") == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("gibbs-gmm: warning: ")
    assert "few effective draws" in err or "chains have not met" in err


def test_columns_that_look_like_labels_are_pointed_out(capsys: pytest.CaptureFixture[str]) -> None:
    rows = "".join(f"{i % 7 + 0.1 * i},{i % 2}\n" for i in range(40))
    assert main(["fit", csv_file(f"a,kind\n{rows}"), "-n", "1", *SHORT]) == 0
    assert "warning: column 'kind' has only 2 values, all whole" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (gibbs_gmm.NumericalError("chain 1, sweep 5: no"), 1, "the run failed: chain 1, sweep 5: no"),
        (np.linalg.LinAlgError("Singular matrix"), 1, "the run failed: Singular matrix"),
        (MemoryError(), 1, "the run failed: MemoryError"),
        (ValueError("X must be good"), 2, "X must be good"),
        (KeyboardInterrupt(), 130, "interrupted; nothing is written"),
    ],
)
def test_a_failed_run_leaves_nothing(
    error: BaseException, code: int, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(gibbs_gmm, "fit", fail)
    assert fit() == code
    assert capsys.readouterr().err == f"gibbs-gmm: error: {message}\n"
    assert not Path("some-run").exists()


def test_an_interrupted_run_is_written(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    real = gibbs_gmm.fit

    def interrupted(*args: Any, **options: Any) -> gibbs_gmm.Trace:
        trace = real(*args, **options)
        warnings.warn("interrupted: the trace has 7 of 30 draws per chain", stacklevel=2)
        part = select(trace, slice(None), slice(7))
        return dataclasses.replace(part, settings={**trace.settings, "interrupted": True})

    monkeypatch.setattr(gibbs_gmm, "fit", interrupted)
    assert fit() == 130
    out, err = capsys.readouterr()
    assert err == "gibbs-gmm: warning: interrupted: the trace has 7 of 30 draws per chain\n"
    assert "The run was interrupted: these are the 7 draws per chain" in out
    assert written() == FILES
    assert gibbs_gmm.load("some-run/trace.npz").means.shape[1] == 7


def stopped_at(count: int, error: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a run raise at its ``count``-th sweep."""
    advance, calls = chains.Chain.advance, iter(range(1 << 30))

    def failing(self: chains.Chain, shared: Any) -> int:
        if next(calls) == count:
            raise error(28, "No space left on device")
        return advance(self, shared)

    monkeypatch.setattr(chains, "_BATCH_SECONDS", 0.0)
    monkeypatch.setattr(chains.Chain, "advance", failing)


@pytest.mark.parametrize(
    ("count", "error", "code", "said"),
    [
        (20, KeyboardInterrupt, 130, "interrupted; `gibbs-gmm resume some-run` carries the run on"),
        (100, OSError, 1, "the run failed: "),
    ],
)
def test_a_stopped_run_is_resumed(
    count: int,
    error: type[BaseException],
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert fit("--out", "whole") == 0
    with monkeypatch.context() as patch:
        stopped_at(count, error, patch)
        assert fit() == code
    assert said in capsys.readouterr().err
    assert fit() == 2
    assert "already has a run" in (err := capsys.readouterr().err) or "resume some-run` carries it on" in err
    assert main(["resume", "some-run"]) == 0
    assert written() == FILES
    assert_same_draws(gibbs_gmm.load("some-run/trace.npz"), gibbs_gmm.load("whole/trace.npz"))
    assert Path("some-run/summary.csv").read_bytes() == Path("whole/summary.csv").read_bytes()


def test_draws_are_added_to_a_finished_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert fit("--draws", "10") == 0
    assert main(["resume", "some-run", "--draws", "30", "--quiet"]) == 0
    assert fit("--out", "whole") == 0
    assert_same_draws(gibbs_gmm.load("some-run/trace.npz"), gibbs_gmm.load("whole/trace.npz"))
    assert main(["resume", "some-run", "--draws", "29"]) == 2
    assert "draws must be at least 30" in capsys.readouterr().err
    assert fit("--force") == 0  # begins again, rather than comparing with what there was
    assert main(["resume", "nowhere"]) == 2
    assert "there is no run in 'nowhere'" in capsys.readouterr().err


def test_a_checkpoint_folder_of_python_is_resumed(capsys: pytest.CaptureFixture[str]) -> None:
    X = np.random.default_rng(0).normal(size=(40, 2))
    gibbs_gmm.fit(X, 2, draws=5, warmup=5, chains=2, rng=1, progress=False, checkpoint="run")
    assert main(["resume", "run", "--draws", "9"]) == 0
    assert "2 chains x 9 draws" in capsys.readouterr().out
    assert gibbs_gmm.load("run").means.shape[1] == 9


def test_progress_goes_to_lines_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gibbs_gmm.sampler.run._LOG_SECONDS", 0.0)
    assert fit() == 0
    assert re.search(r"^gibbs-gmm: \d+ of 660 sweeps \(\d+%\)$", capsys.readouterr().err, re.M)
    assert fit("--quiet", "--force") == 0
    assert capsys.readouterr().err.count("sweeps") == 0


def test_without_matplotlib_the_rest_is_written(
    pictures: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert fit() == 0
    out, err = capsys.readouterr()
    said = "a picture needs the package 'matplotlib'; install it with: pip install 'gibbs-gmm[plots]'"
    assert err == f"gibbs-gmm: warning: no pictures: {said}\n"
    assert "summary.csv, clusters.csv, report.html in some-run" in out
    assert written() == [name for name in FILES if name != "pairs.png"]
    report = Path("some-run/report.html").read_text(encoding="utf-8")
    assert "The report has no pictures: plots need matplotlib" in report
    assert "<img" not in report


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("gibbs_gmm.plots.save", full)
        assert fit() == 1
    assert capsys.readouterr().err.endswith(
        "No space left on device; trace.npz, observations.npy, command.json, summary.csv and clusters.csv in some-run "
        "can be used\n"
    )
    with monkeypatch.context() as patch:
        patch.setattr("gibbs_gmm.trace.Trace.save", full)
        assert fit("--out", "other") == 1
    assert capsys.readouterr().err.endswith("No space left on device; nothing is written\n")
    assert written("other") == ["command.json", "observations.npy"]  # with the checkpoint, all that `resume` needs


def test_an_interruption_while_writing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gibbs_gmm.plots.save", interrupt)
    assert fit() == 130
    assert capsys.readouterr().err == (
        "gibbs-gmm: error: interrupted; trace.npz, observations.npy, command.json, summary.csv and clusters.csv in "
        "some-run can be used\n"
    )


# --- report and predict ---


def test_report_makes_everything_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert fit_unknown("--weights", "dp") == 0
    before = {name: Path("some-run", name).read_bytes() for name in ALL_FILES}
    for name in set(ALL_FILES) - {"trace.npz", "observations.npy", "command.json"}:
        Path("some-run", name).unlink()
    Path("some.csv").unlink()  # it is not needed
    capsys.readouterr()
    assert main(["report", "some-run"]) == 0
    assert {name: Path("some-run", name).read_bytes() for name in written()} == before
    assert capsys.readouterr().out == (
        "wrote summary.csv, n_posterior.csv, clusters.csv, pairs.png, n_posterior.png, report.html in some-run\n"
    )
    assert main(["report", "some-run", "--quiet"]) == 0
    assert capsys.readouterr().out == ""


def test_the_command_of_a_report_repeats_the_run() -> None:
    assert main(["fit", csv_file(), "-n", "2", "--draws", "5", "--warmup", "5", "--drop", "b"]) == 0
    report = Path("some-run/report.html").read_text(encoding="utf-8")
    command = re.search("<pre>(.*?)</pre>", report)[1].split()
    assert command[:2] == ["gibbs-gmm", "fit"]
    assert main([*command[1:], "--out", "again"]) == 0
    first, second = (gibbs_gmm.load(f"{folder}/trace.npz") for folder in ("some-run", "again"))
    np.testing.assert_array_equal(first.means, second.means)


def test_predict_labels_new_rows(capsys: pytest.CaptureFixture[str]) -> None:
    assert fit("--quiet") == 0
    x = [(0.2, -0.5), (10.0, 9.0), (5.0, 5.0)]
    Path("new.csv").write_text("b,other,a\n" + "".join(f"{b},text,{a}\n" for a, b in x), encoding="utf-8")
    capsys.readouterr()
    assert main(["predict", "some-run", "new.csv"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    rows = list(csv.DictReader(out.splitlines()))
    assert [row["row"] for row in rows] == ["0", "1", "2"]
    trace = gibbs_gmm.load("some-run/trace.npz")
    with open("some-run/clusters.csv", encoding="utf-8") as file:
        labels = np.array([int(row["cluster"]) for row in csv.DictReader(file)])
    observations = np.load("some-run/observations.npy")
    for row, near in zip(rows[:2], x[:2], strict=True):
        nearest = np.abs(observations - near).sum(1).argmin()
        assert int(row["cluster"]) == labels[nearest]
    expected = trace.predict_proba(x)
    np.testing.assert_allclose([float(row["probability"]) for row in rows], expected.max(1), rtol=1e-12)
    np.testing.assert_allclose([float(row["log_density"]) for row in rows], trace.log_density(x), rtol=1e-12)

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
        ("a,b\n1,\n2,3\n", "column 'b' has 1 missing value, line 2"),
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
    trace, observations = (Path("some-run", name).read_bytes() for name in ("trace.npz", "observations.npy"))
    changed = observations[:-8] + np.float64(3.0).tobytes()
    for folder, name, content, message in (
        ("none", "", None, "'none' does not exist"),
        ("empty", "", None, "'empty' holds no run: there is no trace.npz in it"),
        ("some.csv", "", None, "'some.csv' is a file, not the folder of a run"),
        ("some-run", "trace.npz", trace[:100], "cannot be read as a gibbs_gmm trace"),
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
        err = capsys.readouterr().err
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
    assert {line.split(",")[1] for line in capsys.readouterr().out.splitlines()[1:]} == {"0", "1"}


def test_help_of_report_and_predict(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("report", "predict"):
        assert main([command, "--help"]) == 0
        text = capsys.readouterr().out
        assert max(map(len, text.splitlines())) < 80
        assert "folder that fit wrote" in text


def test_python_m_gibbs_gmm() -> None:
    command = [sys.executable, "-m", "gibbs_gmm", "fit", csv_file(), "--components", "2", *SHORT]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "80"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "clusters.csv, pairs.png, report.html in some-run" in done.stdout
    done = subprocess.run([*command, "--out", "some-run"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("gibbs-gmm: error: the folder 'some-run' already has a run")
