"""The command line when something stops it: failures, Ctrl-C, full disks, and resuming."""

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import FILES, complaints, fit, written
from harness import assert_same_draws
from made_up_traces import select

import gibbs_gmm
from gibbs_gmm.command_line.cli import main
from gibbs_gmm.sampler import chain as chains

pytestmark = pytest.mark.usefixtures("fresh_folder", "no_pictures")


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
    assert complaints(capsys.readouterr().err) == f"gibbs-gmm: error: {message}\n"
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
    assert complaints(err) == "gibbs-gmm: warning: interrupted: the trace has 7 of 30 draws per chain\n"
    assert "The run was interrupted: these are the 7 draws per chain" in " ".join(out.split())
    assert written() == FILES


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
    assert_same_draws(gibbs_gmm.load("some-run"), gibbs_gmm.load("whole"))
    assert Path("some-run/summary.csv").read_bytes() == Path("whole/summary.csv").read_bytes()


def test_draws_are_added_to_a_finished_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert fit("--draws", "10") == 0
    assert main(["resume", "some-run", "--draws", "30", "--quiet"]) == 0
    assert fit("--out", "whole") == 0
    assert_same_draws(gibbs_gmm.load("some-run"), gibbs_gmm.load("whole"))
    assert main(["resume", "some-run", "--draws", "29"]) == 2
    assert "draws must be at least 30" in capsys.readouterr().err
    assert fit("--force") == 0  # begins again, rather than comparing with what there was
    assert main(["resume", "nowhere"]) == 2
    assert "there is no run in 'nowhere': it does not exist" in capsys.readouterr().err
    assert main(["resume", "some.csv"]) == 2
    assert "there is no run in 'some.csv': it is a file, not the folder of a run" in capsys.readouterr().err


def test_a_checkpoint_folder_of_python_is_resumed(capsys: pytest.CaptureFixture[str]) -> None:
    X = np.random.default_rng(0).normal(size=(40, 2))
    gibbs_gmm.fit(X, 2, draws=5, warmup=5, chains=2, rng=1, progress=False, checkpoint="run")
    assert main(["resume", "run", "--draws", "9"]) == 0
    assert "2 chains x 9 draws" in capsys.readouterr().out
    assert gibbs_gmm.load("run").means.shape[1] == 9


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("gibbs_gmm.plots.save", full)
        assert fit() == 1
    assert capsys.readouterr().err.endswith(
        "No space left on device; summary.csv and clusters.csv in some-run can be used, and `gibbs-gmm report "
        "some-run` writes the others\n"
    )
    with monkeypatch.context() as patch:
        patch.setattr("gibbs_gmm.posterior.summary.Summary.to_csv", full)
        assert fit("--out", "other") == 1
    assert capsys.readouterr().err.endswith(
        "No space left on device; the draws are whole: `gibbs-gmm report other` writes the results\n"
    )
    assert written("other") == ["command.json", "observations.npy", "rows.csv"]
    assert main(["report", "other"]) == 0
    with monkeypatch.context() as patch:
        patch.setattr("gibbs_gmm.command_line.output_folder.save_origin", full)
        assert fit("--out", "third") == 1
    assert capsys.readouterr().err.endswith("No space left on device; nothing is written\n")


def test_an_interruption_while_writing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gibbs_gmm.plots.save", interrupt)
    assert fit() == 130
    assert complaints(capsys.readouterr().err) == (
        "gibbs-gmm: error: interrupted; summary.csv and clusters.csv in some-run can be used, and `gibbs-gmm report "
        "some-run` writes the others\n"
    )
