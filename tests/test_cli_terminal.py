"""What the command line says while it runs and when it has ended, in a terminal and in a log."""

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import SHORT, complaints, csv_file, fit
from made_up_traces import simulate_unknown_n

import gibbs_gmm
from gibbs_gmm.command_line.cli import main
from gibbs_gmm.command_line.console import bar_chart
from gibbs_gmm.posterior.n_posterior import tabulate
from gibbs_gmm.sampler import chain as chains
from gibbs_gmm.sampler import progress as shown

pytestmark = pytest.mark.usefixtures("fresh_folder", "no_pictures")

FIXED = gibbs_gmm.MixtureOfFiniteMixtures(concentration=1.0)


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


def test_progress_goes_to_lines_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shown, "_LOG_SECONDS", 0.0)
    monkeypatch.setattr(chains, "_BATCH_SECONDS", 0.0)
    assert fit() == 0
    lines = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"gibbs-gmm: 2 chains, draw \d+ of 30: \d+%, \d+ s left", lines[-6])
    assert lines[0] == "gibbs-gmm: reading some.csv"
    assert lines[-5:] == [
        "gibbs-gmm: putting the draws of all chains together",
        "gibbs-gmm: writing tables",
        "gibbs-gmm: testing whether clusters are normal",
        "gibbs-gmm: drawing pictures",
        "gibbs-gmm: writing the report",
    ]
    assert fit("--quiet", "--force") == 0
    assert not re.search("reading|chains,|writing", capsys.readouterr().err)


def test_quiet_prints_warnings_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert fit("--quiet") == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("gibbs-gmm: warning: ")
    assert "few effective draws" in err or "chains have not met" in err


def test_columns_that_look_like_labels_are_pointed_out(capsys: pytest.CaptureFixture[str]) -> None:
    rows = "".join(f"{i % 7 + 0.1 * i},{i % 2}\n" for i in range(40))
    assert main(["fit", csv_file(f"a,kind\n{rows}"), "-n", "1", *SHORT]) == 0
    err = capsys.readouterr().err
    assert "warning: X has columns of few distinct values: 'kind' (2). A Gaussian is for measurements" in err
    assert "(--drop leaves a column out)\n" in err
    assert "X has columns of few distinct values" in Path("some-run/report.html").read_text(encoding="utf-8")


def test_what_is_wrong_with_data_and_clusters_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    income = np.exp(rng.normal(size=200))
    lines = [
        f"{x},{k},{y}" for x, k, y in zip(income.tolist(), range(1, 201), rng.normal(size=200).tolist(), strict=True)
    ]
    assert main(["fit", csv_file("income,number,other\n" + "\n".join(lines)), "--components", "1", *SHORT]) == 0
    out, err = capsys.readouterr()
    assert complaints(err) == ""
    assert " left out number: the names of the rows, by whole numbers in order; to model it:" in " ".join(out.split())
    assert "\nCluster 0 is skewed to the right in income.\n" in out
    assert "Take logarithms of income? It is skewed to the right, and its logarithms are not." in " ".join(out.split())
    assert "Take logarithms of income?" in Path("some-run/report.html").read_text()


# --- In a terminal of 80 columns ---


def in_a_terminal(arguments: list[str], **environment: str) -> tuple[int, str]:
    """Run the command line in a pseudo-terminal of 80 columns: its exit code and everything it printed there."""
    pty, termios = pytest.importorskip("pty"), pytest.importorskip("termios")
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    command = [sys.executable, "-m", "gibbs_gmm", *arguments]
    without = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True, env={**without, **environment}
    )
    os.close(theirs)
    pieces = []
    while True:
        try:
            piece = os.read(ours, 1 << 16)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        pieces.append(piece)
    os.close(ours)
    return process.wait(), b"".join(pieces).decode()


def screen(text: str) -> list[str]:
    """The lines that are left on the screen: what follows a carriage return replaces what was there."""
    lines = []
    for line in text.replace("\r\n", "\n").split("\n"):
        shown = ""
        for piece in line.split("\r"):
            shown = piece + shown[len(piece) :]
        lines.append(shown.rstrip())
    return lines


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_a_run_in_a_terminal_of_80_columns() -> None:
    text = Path(csv_file()).read_text().replace("a,b,name", "a,code,a column with a really long name")
    head, *rows = text.splitlines()
    text = "\n".join([head, *(f"{row.rsplit(',', 1)[0]},{i % 3}" for i, row in enumerate(rows))])
    settings = ["--draws", "1000", "--thin", "60", "--warmup", "100", "--chains", "2", "--seed", "1"]
    code, shown = in_a_terminal(["fit", csv_file(text), *settings])
    assert code == 0
    everything = re.split(r"[\r\n]", shown)
    assert max(map(len, everything)) <= 80
    for words in ("reading some.csv ...", "drawing pictures ...", "writing the report ..."):
        assert sum(line == words for line in everything) == 1
    assert re.search(r"2 chains, draw [\d,]+ of 1,000 \|.*\| +\d+%, \d\d:\d\d left", shown)
    assert "\x1b[A" not in shown
    left = screen(shown)
    assert not any("..." in line and line.endswith("...") for line in left), left
    assert left[0] == "some.csv: 40 rows"
    end = left.index("Read next: some-run/report.html")
    assert left[end:] == [
        "Read next: some-run/report.html",
        "Clusters of the rows: some-run/clusters.csv",
        "All numbers: some-run/summary.csv",
        "More draws: gibbs-gmm resume some-run --draws 2000",
        "The same draws again: --seed 1",
        "",
    ]
    table = next(k for k, line in enumerate(left) if line.startswith("Clusters: share and number of the rows"))
    assert left[table + 1].split() == ["cluster", "share", "rows", "a", "code", "a", "column", "with", ".."]
    assert left[table + 2].split()[0] == "0"
    warning = left.index("gibbs-gmm: warning: X has columns of few distinct values: 'a column with a")
    assert left[warning + 1].startswith("  really long name' (3). A Gaussian")


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_a_terminal_that_lacks_characters() -> None:
    text = "größe;β\n" + "".join(f"{i % 7},{i % 10};{i % 9}\n" for i in range(40))
    code, shown = in_a_terminal(["fit", csv_file(text), "-n", "1", *SHORT], PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert code == 0
    assert "used      gr\\xf6\\xdfe, \\u03b2" in shown


def test_the_first_line_comes_before_anything_large_is_imported() -> None:
    program = """
import sys
large = {"numba", "scipy.stats", "matplotlib", "arviz_stats", "pandas"}
write = sys.stderr.write
def watch(text):
    write(text + str(sorted(large & set(sys.modules))))
sys.stderr.write = watch
from gibbs_gmm.command_line.cli import main
main(["fit", "none.csv"])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr.startswith("gibbs-gmm: reading none.csv[]")
