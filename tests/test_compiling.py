"""Pieces compiled by processes side by side, and code that is found where nothing can be written."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from harness import JIT

from gibbs_gmm.command_line import compiling
from gibbs_gmm.command_line.cli import main
from gibbs_gmm.kernels import _jit, _processes

pytestmark = pytest.mark.skipif(not JIT, reason="nothing is compiled")

ROOT = Path(__file__).resolve().parents[1]

KERNELS = """
from gibbs_gmm.kernels._jit import kernel

@kernel
def inner(x: float, times: int) -> float:
    return x * times

""" + "\n".join(f"@kernel\ndef piece_{i}(x: float) -> float:\n    return inner(x, {i}) + {i}.5\n" for i in range(6))

RUN = """
import json, os, sys, time
import numba
import made_up
from gibbs_gmm.kernels import _jit, _processes

steps = []
_processes._cores = lambda: 3
_processes.reported.set(lambda done, total: steps.append((done, total)))
pointers = [_jit.pointer(getattr(made_up, f"piece_{i}"), "float64", 0.0) for i in range(5)]
pieces = [one.piece for one in pointers] + [_jit.Piece.of(made_up.piece_5, 0.0)]
"""

RESULTS = """
call = numba.njit(lambda pointer, x: pointer(x))
values = [call(one, 2.0) for one in pointers] + [made_up.piece_5(2.0)]
hits = [one.cache_hits for one in pointers]
print(json.dumps([values, hits, steps]))
"""

EMPTY: Mapping[str, str] = {}
VALUES = [2.0 * i + i + 0.5 for i in range(6)]


def python(code: str, folder: Path, by_stdin: bool = False, more: Mapping[str, str] = EMPTY) -> Any:
    """What a script prints as JSON, run in a process of its own with an empty cache, or the one that is there."""
    (folder / "made_up.py").write_text(KERNELS)
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder / "cache"), "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"}
    environment |= more
    command = [sys.executable, "-"] if by_stdin else [sys.executable, "-c", code]
    done = subprocess.run(
        command, input=code if by_stdin else None, capture_output=True, text=True, env=environment, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def waiting_for(others: int) -> str:
    """Code by which this process compiles nothing before other processes have compiled so many pieces."""
    return f"""
compile_one = _jit.Piece.compile
def wait(self):
    until = time.monotonic() + 500
    while len(steps) <= {others} and time.monotonic() < until:
        time.sleep(0.01)
    compile_one(self)
_jit.Piece.compile = wait
_processes.compile_pieces(pieces)
"""


@pytest.mark.parametrize("by_stdin", [False, True])
def test_pieces_are_compiled_by_processes_and_loaded(tmp_path: Path, by_stdin: bool) -> None:
    """One of six is compiled by this process; all others are by two more, before it begins."""
    values, hits, steps = python(RUN + waiting_for(5) + RESULTS, tmp_path, by_stdin)
    assert values == VALUES
    assert sum(hits) >= 4
    assert steps == [[done, 6] for done in range(7)]
    values, hits, steps = python(RUN + "_processes.compile_pieces(pieces)" + RESULTS, tmp_path, by_stdin)
    assert values == VALUES
    assert hits == [1] * 5
    assert steps == []  # nothing is said when nothing is compiled


@pytest.mark.parametrize("name", ["python-that-ends", "no-interpreter", "python-that-does-not-exist"])
def test_without_processes_pieces_are_compiled_here(tmp_path: Path, name: str) -> None:
    program = tmp_path / name
    if not name.endswith("exist"):
        program.write_text("#!/bin/sh\nexit 1\n")
        program.chmod(0o700)
    code = f"sys.executable = {str(program)!r}\n_processes.compile_pieces(pieces)\n"
    values, hits, steps = python(RUN + code + RESULTS, tmp_path)
    assert values == VALUES
    assert hits == [0] * 5
    assert steps[0] == [0, 6]


def test_an_interruption_ends_the_processes(tmp_path: Path) -> None:
    code = """
started = []
start = _processes._start
_processes._start = lambda number: started.extend(start(number)) or started
def interrupted(self):
    raise KeyboardInterrupt
_jit.Piece.compile = interrupted
try:
    _processes.compile_pieces(pieces)
except KeyboardInterrupt:
    print(json.dumps([one.returncode for one in started]))
"""
    assert python(RUN + code, tmp_path) == [-9, -9]


def test_a_process_ends_with_the_one_that_started_it() -> None:
    (helper,) = _processes._start(1)
    assert helper.stdin is not None
    helper.stdin.close()
    assert helper.wait(timeout=300) == 0
    _processes._end(helper)


def test_few_pieces_are_compiled_here(tmp_path: Path) -> None:
    code = "_processes._start = None\n_processes.compile_pieces(pieces[:3])\n_processes.compile_pieces(pieces[3:])\n"
    values, hits, _ = python(RUN + code + RESULTS, tmp_path)
    assert values == VALUES
    assert hits == [0] * 5


def test_code_is_found_where_nothing_can_be_written(tmp_path: Path) -> None:
    python(RUN + "_processes.compile_pieces(pieces)" + RESULTS, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*") if path.is_file()}
    code = """
import tempfile
def refuse(*_, **__):
    raise PermissionError
tempfile.TemporaryFile = refuse  # by which numba finds out
"""
    values, hits, steps = python(code + RUN + "_processes.compile_pieces(pieces)" + RESULTS, tmp_path)
    assert values == VALUES
    assert hits == [1] * 5
    assert steps == []
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*") if path.is_file()} == before
    changed = code + "import made_up\nmade_up.piece_9 = made_up.piece_0\n" + RUN.replace("0.0)", "0)")
    values, hits, _ = python(changed + "_processes.compile_pieces(pieces)" + RESULTS.replace("2.0", "2"), tmp_path)
    assert values == VALUES
    assert hits == [0] * 5  # of integers there was none
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*") if path.is_file()} == before


def test_a_literal_is_no_type_of_its_own(tmp_path: Path) -> None:
    code = """
pieces[1].compile()
pieces[2].compile()
print(json.dumps([str(one) for one in made_up.inner._numba_type_.dispatcher.signatures]))
"""
    assert python(RUN + code, tmp_path) == ["(float64, int64)"]


# --- The command ---


def test_the_command_runs_what_needs_the_kernels(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(compiling, "_command", commands.append)
    assert main(["compile", "diag", "full", "diag"]) == 0
    assert [command[0] for command in commands] == ["fit", "fit", "predict"] * 2
    assert [command[command.index("--covariance-type") + 1] for command in commands if "fit" in command] == [
        "diag",
        "diag",
        "full",
        "full",
    ]
    out = " ".join(capsys.readouterr().out.split())
    assert out.startswith("compiled for diag, full clusters, in ")
    commands.clear()
    assert main(["compile", "--quiet"]) == 0
    assert len(commands) == 12
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("no_pictures")
def test_its_commands_succeed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", "full", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_it_says_what_is_wrong(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", "round"]) == 2
    assert "must be one of full, tied, diag, spherical, got 'round'" in capsys.readouterr().err
    with monkeypatch.context() as patch:
        patch.setattr(_jit, "WRITABLE", False)
        assert main(["compile"]) == 2
    assert "NUMBA_CACHE_DIR" in capsys.readouterr().err
    with monkeypatch.context() as patch:
        patch.setattr(_jit, "JIT", False)
        assert main(["compile"]) == 2
    assert "NUMBA_DISABLE_JIT" in capsys.readouterr().err
