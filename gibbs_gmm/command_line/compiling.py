"""The command ``compile``: have the compiler's cache hold what later runs need."""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
from pathlib import Path

import numpy as np

from gibbs_gmm.command_line.console import Failure, Refusal, fold, silent, step


def compile_kernels(args: argparse.Namespace) -> int:
    """Fit, and predict with, a few rows of each family named: whatever that compiles is what any rows need."""
    from gibbs_gmm.kernels import _jit
    from gibbs_gmm.model.families import COVARIANCE_TYPES

    say = silent if args.quiet else print
    if not _jit.JIT:
        raise Refusal("NUMBA_DISABLE_JIT is set: nothing is compiled")
    folder = _jit.cache_folder()
    if folder is None:
        raise Refusal(
            "there is no folder that compiled code may be written to: name one by the environment variable "
            "NUMBA_CACHE_DIR, here and for the runs that are to find it"
        )
    families = tuple(dict.fromkeys(args.families or COVARIANCE_TYPES))
    for family in families:
        with step(f"compiling for {family} clusters", args.quiet):
            _run(family)
    say(fold(f"compiled for {', '.join(families)} clusters, in {folder} and its neighbours"))
    return 0


def _run(family: str) -> None:
    """The commands ``fit``, of an unknown number of components and of two, and ``predict``, on made-up rows."""
    X = np.random.default_rng(0).standard_normal((60, 2)) + np.repeat([[0.0], [6.0]], 30, axis=0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file, settings = folder / "rows.csv", ["--covariance-type", family, "--draws", "40", "--seed", "1", "--quiet"]
        np.savetxt(file, X, delimiter=",", header="x,y", comments="")
        for run, more in (("unknown", []), ("known", ["--components", "2"])):
            _command(["fit", str(file), "--out", str(folder / run), *settings, *more])
        predicted = ["--out", str(folder / "labels.csv"), "--quiet"]
        _command(["predict", str(folder / "known"), str(file), *predicted])


def _command(arguments: list[str]) -> None:
    """Run a command of this program, of whose warnings nobody needs to know."""
    from gibbs_gmm.command_line.cli import main

    with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.redirect_stdout(io.StringIO()):
        code = main(arguments)
    if code != 0:
        raise Failure(f"{' '.join(arguments)} failed: {said.getvalue().strip()}")
