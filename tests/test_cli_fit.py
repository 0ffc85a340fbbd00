"""The command ``fit``: what it writes."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import ALL_FILES, DATA, FILES, PNG, SHORT, complaints, csv_file, fit, fit_unknown, written

import gibbs_gmm
from gibbs_gmm.command_line.cli import main

pytestmark = pytest.mark.usefixtures("fresh_folder", "no_pictures")


def test_fit_writes_a_run_and_says_so(pictures: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", str(DATA / "iris.csv"), "--components", "3", "--out", "deep/iris-run", *SHORT]) == 0
    out, err = capsys.readouterr()
    assert complaints(err) == ""
    lines = out.splitlines()
    assert lines[0].endswith("iris.csv: 150 rows")
    assert lines[1].split() == ["used", "sepal_length,", "sepal_width,", "petal_length,", "petal_width"]
    assert lines[2].split(maxsplit=3)[2:] == ["species:", "text ('setosa', ...)"]
    assert lines[3] == ""
    assert lines[4].startswith("3 components, as given")
    assert lines[-1] == "The same draws again: --seed 1"

    assert written("deep/iris-run") == FILES
    for name in ("deep/iris-run", "deep/iris-run/draws"):
        trace = gibbs_gmm.load(name)
        assert trace.means.shape == (2, 30, 3, 4)
        assert trace.columns == ("sepal_length", "sepal_width", "petal_length", "petal_width")
    with open("deep/iris-run/summary.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["name"] == "weight[0]"
    assert len(rows) == 3 * (1 + 4 + 10) + 2 + 3 + 3 + 3  # entropy, partitions, n_clusters and kappa_0 at the end
    assert all(len(cell.lstrip("-0.").split("e")[0].replace(".", "")) <= 6 for cell in list(rows[5].values())[1:])
    assert Path("deep/iris-run/pairs.png").read_bytes().startswith(PNG)
    report = Path("deep/iris-run/report.html").read_text(encoding="utf-8")
    assert report.count("<img src=") >= 5
    assert "iris.csv --components 3 --out deep/iris-run --draws 30 --warmup 30 --chains 2 --seed 1</pre>" in report
    with open("deep/iris-run/clusters.csv", encoding="utf-8") as file:
        clusters = list(csv.DictReader(file))
    assert [int(row["row"]) for row in clusters] == list(range(150))
    assert [int(row["line"]) for row in clusters] == list(range(2, 152))
    assert {int(row["cluster"]) for row in clusters} <= {0, 1, 2}


def test_draws_and_data_are_kept_once() -> None:
    assert main(["fit", csv_file(rows=400), "--components", "2", *SHORT, "--draws", "200"]) == 0
    trace = gibbs_gmm.load("some-run")
    arrays = sum(value.nbytes for value in vars(trace).values() if isinstance(value, np.ndarray))
    states = sum(path.stat().st_size for path in Path("some-run/draws").glob("chain-*"))
    size = sum(path.stat().st_size for path in Path("some-run").rglob("*") if path.suffix not in (".html", ".csv"))
    assert arrays < size - states < 1.3 * arrays
    assert not Path("some-run/draws/data.npy").exists()
    Path("some-run").rename("moved")
    assert main(["resume", "moved", "--draws", "210"]) == 0
    assert gibbs_gmm.load("moved").means.shape[1] == 210


def test_without_components_their_number_is_learned(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", str(DATA / "iris.csv"), "--out", "iris-run", *SHORT]) == 0
    out, err = capsys.readouterr()
    assert complaints(err) == ""
    lines = out.splitlines()
    headline = gibbs_gmm.load("iris-run").headline
    assert lines[4].split() == ["p(n),", "components", "post", "prior", "p(n+),", "clusters", "post", "prior"]
    assert lines[5].split()[:1] == ["1"]
    end = lines.index("", 5)
    assert any("######" in line for line in lines[5:end])
    assert headline in " ".join(lines[end:])
    assert f">{headline}<" in Path("iris-run/report.html").read_text(encoding="utf-8")
    assert max(map(len, lines)) < 80
    assert written("iris-run") == ALL_FILES
    trace = gibbs_gmm.load("iris-run")
    assert trace.weight_prior.concentration.dist.name == "f"
    with open("iris-run/n_posterior.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:4] == ["n", "p_n_components", "se_n_components", "prior_n_components"]
    assert float(rows[1]["p_n_clusters"]) == pytest.approx(np.mean(trace.n_clusters == 2), rel=1e-5)
    assert Path("iris-run/n_posterior.png").read_bytes().startswith(PNG)


def test_rows_carry_their_names_and_lines() -> None:
    text = Path(csv_file()).read_text().replace("\n", "\n\n", 3)
    assert main(["fit", csv_file(text), "-n", "2", *SHORT]) == 0
    with open("some-run/clusters.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["row", "line", "name", "cluster", "uncertainty", "second", "second_probability"]
    assert [int(row["line"]) for row in rows[:4]] == [3, 5, 7, 8]
    assert rows[1]["name"] == text.splitlines()[4].split(",")[2]


def test_append_writes_the_file_with_its_clusters(capsys: pytest.CaptureFixture[str]) -> None:
    text = "Nr;a;Art\n\n" + "".join(f"{i};{i % 2 * 9},{i % 7}50;{'xy'[i % 2]}\n" for i in range(40))
    assert main(["fit", csv_file(text), "-n", "2", "--append", *SHORT]) == 0
    lines = Path("some-run/with_clusters.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "Nr;a;Art;cluster;probability"
    assert len(lines) == 41
    assert lines[2].startswith("1;9,150;y;")
    sure = [float(line.split(";")[4].replace(",", ".")) for line in lines[1:]]
    assert all(0.5 <= p <= 1.0 for p in sure)
    with open("some-run/clusters.csv", encoding="utf-8") as file:
        assert [row["cluster"] for row in csv.DictReader(file)] == [line.split(";")[3] for line in lines[1:]]
    assert "with_clusters.csv" in capsys.readouterr().out
    assert main(["fit", "-", "--append"]) == 2
    assert "--append needs a file" in capsys.readouterr().err
    assert main(["fit", "some.csv", "--append", "--no-assignments"]) == 2
    assert "--append needs to know which row is in which cluster" in capsys.readouterr().err


def test_quick_is_short_and_marked_as_preliminary(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", csv_file(), "--quick", "--seed", "1"]) == 0
    out = capsys.readouterr().out
    assert "This is a preliminary answer (--quick): run without it for one to keep." in out
    trace = gibbs_gmm.load("some-run")
    settings = {name: trace.settings[name] for name in ("draws", "warmup", "thin", "chains")}
    assert settings == {"draws": 500, "warmup": 2000, "thin": 10, "chains": 4}
    assert main(["fit", csv_file(), "--quick", "--draws", "7", "--force", "--quiet"]) == 0
    assert gibbs_gmm.load("some-run").settings["draws"] == 7


def test_a_process_has_one_chart(capsys: pytest.CaptureFixture[str]) -> None:
    assert fit_unknown("--weights", "dp") == 0
    lines = capsys.readouterr().out.splitlines()
    chart = lines[lines.index("") + 1 :]
    assert chart[0].split() == ["p(n+),", "clusters", "post", "prior"]
    assert max(map(len, chart[: chart.index("")])) < 80
    assert written() == ALL_FILES


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


def test_the_printed_seed_repeats_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["fit", csv_file(), "-n", "2", "--draws", "5", "--warmup", "5", "--drop", "b"]
    assert main(options) == 0
    seed = capsys.readouterr().out.split("--seed ")[1].split()[0]
    assert main([*options, "--seed", seed, "--out", "again"]) == 0
    first, second = (gibbs_gmm.load(folder) for folder in ("some-run", "again"))
    np.testing.assert_array_equal(first.means, second.means)


def test_a_second_run_needs_force(capsys: pytest.CaptureFixture[str]) -> None:
    assert fit() == 0
    before = Path("some-run/draws/means.npy").read_bytes()
    assert fit("--seed", "2") == 2
    assert "error: the folder 'some-run' already has a run" in capsys.readouterr().err
    assert Path("some-run/draws/means.npy").read_bytes() == before
    assert fit("--seed", "2", "--force") == 0
    assert gibbs_gmm.load("some-run").settings["seed"] == 2
    assert written() == FILES


def test_a_run_that_is_refused_leaves_the_one_before(capsys: pytest.CaptureFixture[str]) -> None:
    assert fit() == 0

    def content() -> dict[Path, bytes]:
        files = (path for path in Path("some-run").rglob("*") if path.is_file() and path.suffix != ".lock")
        return {path: path.read_bytes() for path in files}

    before = content()
    assert main(["fit", "some.csv", "--components", "200", *SHORT, "--force"]) == 2
    assert "error: --components must be at most 40 for X with 40 rows, got 200" in capsys.readouterr().err
    assert content() == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_an_output_that_cannot_be_written_is_said() -> None:
    command = [sys.executable, "-m", "gibbs_gmm", "fit", csv_file(), *SHORT, "--components", "1"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert complaints(done.stderr) == "gibbs-gmm: error: the output could not be written: No space left on device\n"
    assert "Traceback" not in done.stderr


def test_a_folder_with_other_files_can_be_used() -> None:
    Path("some-run").mkdir()
    Path("some-run/notes.txt").touch()
    assert fit() == 0
    assert written() == sorted(["notes.txt", *FILES])


def test_without_matplotlib_the_rest_is_written(
    pictures: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert fit() == 0
    out, err = capsys.readouterr()
    said = "a picture needs the package 'matplotlib'; install it with: pip install 'gibbs-gmm[plots]'"
    assert complaints(err) == f"gibbs-gmm: warning: no pictures: {said}\n"
    assert "Read next: some-run/report.html" in out
    assert written() == [name for name in FILES if name != "pairs.png"]
    report = Path("some-run/report.html").read_text(encoding="utf-8")
    assert "The report has no pictures: plots need matplotlib" in report
    assert "<img" not in report


def test_python_m_gibbs_gmm() -> None:
    command = [sys.executable, "-m", "gibbs_gmm", "fit", csv_file(), "--components", "2", *SHORT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, complaints(done.stderr)) == (0, "")
    assert "Clusters of the rows: some-run/clusters.csv" in done.stdout
    done = subprocess.run([*command, "--out", "some-run"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert complaints(done.stderr).startswith("gibbs-gmm: error: the folder 'some-run' already has a run")


def test_counts(capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(1)
    rows = np.round(rng.normal(size=(60, 2)) + 8.0 * (np.arange(60) % 2)[:, None], 1)
    counts = np.arange(60) % 4
    lines = [f"{a},{b},{n}" for (a, b), n in zip(rows.tolist(), counts.tolist(), strict=True)]
    path = csv_file("a,b,n\n" + "\n".join(lines) + "\n")
    assert main(["fit", path, "--components", "2", *SHORT, "--counts", "n"]) == 0
    out, _ = capsys.readouterr()
    assert "45 rows that stand for 90 observations" in out
    assert "left out  n: the counts of the rows" in out
    trace = gibbs_gmm.load("some-run")
    np.testing.assert_array_equal(trace.counts, counts[counts > 0])
    again = gibbs_gmm.fit(rows, 2, counts=counts, draws=30, warmup=30, chains=2, rng=1, progress=False)
    np.testing.assert_array_equal(trace.assignments, again.assignments)
    report = Path("some-run/report.html").read_text(encoding="utf-8")
    assert "observations" in report
    assert main(["report", "some-run"]) == 0
    assert main(["fit", path, *SHORT, "--counts", "a", "--force"]) == 2
    assert "--counts must be" in capsys.readouterr().err
    assert main(["fit", path, *SHORT, "--counts", "m", "--force"]) == 2
    assert "there is no column 'm'" in capsys.readouterr().err
