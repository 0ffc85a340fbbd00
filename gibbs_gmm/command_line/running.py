"""What surrounds a run of the command line: its folder before and after, and what its errors are called."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from gibbs_gmm.command_line import output_folder, results
from gibbs_gmm.command_line.console import PROG, Failure, Refusal

if TYPE_CHECKING:
    from gibbs_gmm.command_line.reading.table import Table

_REPLACED = "replaced"  # a folder, for as long as a run takes
_OPTIONS = {"n_components": "--components", "max_sweeps": "--max-sweeps"} | {
    name: f"--{name}" for name in ("resolution", "draws", "warmup", "thin", "chains", "threads", "labels", "counts")
}


def refuse_existing_run(out: Path, force: bool) -> None:
    """Keep a run that is there from being replaced, unless that is asked for."""
    from gibbs_gmm.storage.run_folder import Folder

    if out.exists() and not out.is_dir():
        raise Refusal(f"the output {str(out)!r} is a file, not a folder")
    draws = out / output_folder.TRACE
    if force:
        return
    other = "choose another folder with --out, or replace it with --force"
    if (failure := Folder(draws).failure) is not None:
        raise Refusal(f"the folder {str(out)!r} has a run that failed ({failure}); {other}")
    if draws.exists() and not (out / output_folder.REPORT).exists():
        raise Refusal(
            f"the folder {str(out)!r} has a run that was not finished: `{PROG} resume {out}` carries it on; or {other}"
        )
    if draws.exists() or any((out / name).exists() for name in output_folder.FILES):
        raise Refusal(f"the folder {str(out)!r} already has a run: {other}")


@contextlib.contextmanager
def made(folder: Path) -> Iterator[None]:
    """Make the folder before the long run, not after it; take it away again if nothing came to be in it."""
    new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refusal(f"the output folder {str(folder)!r} cannot be made: {error.strerror}") from None
    if not os.access(folder, os.W_OK):
        raise Refusal(f"the output folder {str(folder)!r} cannot be written to")
    try:
        yield
    except BaseException:
        if new:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


@contextlib.contextmanager
def begun(out: Path, table: Table, command: output_folder.Command) -> Iterator[None]:
    """Write what a run is of before it begins, so that it can be resumed; take it back if no sweep was kept.

    A run that was there is set aside, and is there again if the new one comes to nothing.
    """
    with _aside(out):
        with results.writing(out):
            output_folder.save_origin(out, table.X, table.rows, command)
        try:
            yield
        except BaseException:
            if not (out / output_folder.TRACE).exists():
                for name in output_folder.ORIGIN:
                    with contextlib.suppress(OSError):
                        (out / name).unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def _aside(out: Path) -> Iterator[None]:
    """Set the run in a folder aside until another has taken its place, or has failed to."""
    from gibbs_gmm.storage.run_folder import Folder

    aside, names = out / _REPLACED, (output_folder.TRACE, *output_folder.FILES)
    there = [name for name in names if (out / name).exists()]
    with failures(out):
        if (out / output_folder.TRACE).exists():
            with Folder(out / output_folder.TRACE).locked():  # or another process is at work in it
                pass
        if there:
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir()
        for name in there:
            (out / name).replace(aside / name)
    try:
        yield
    except BaseException:
        if not (out / output_folder.TRACE).exists():
            for name in there:
                (aside / name).replace(out / name)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextlib.contextmanager
def failures(out: Path) -> Iterator[None]:
    """Errors of a run as what the command line makes of them."""
    import numpy as np

    try:
        yield
    except FileNotFoundError as error:
        raise Refusal(error) from None
    except (ArithmeticError, MemoryError, OSError, np.linalg.LinAlgError) as error:
        raise Failure(f"the run failed: {str(error) or type(error).__name__}") from None
    except (TypeError, ValueError) as error:
        raise Refusal(_of_options(str(error))) from None
    except KeyboardInterrupt:
        if (out / output_folder.TRACE).exists():
            raise KeyboardInterrupt(f"`{PROG} resume {out}` carries the run on") from None
        raise


def _of_options(message: str) -> str:
    """What is said of an argument of :func:`gibbs_gmm.fit` as what is wrong with an option."""
    name = message.split(" ", 1)[0]
    return f"{_OPTIONS[name]}{message.removeprefix(name)}" if name in _OPTIONS else message


@contextlib.contextmanager
def progress_lines(quiet: bool) -> Iterator[None]:
    """Show the package's log of a run as lines of this program, where there is no terminal for a progress bar."""
    log, handler = logging.getLogger("gibbs_gmm"), logging.StreamHandler(sys.stderr)
    if quiet or sys.stderr.isatty():
        yield
        return
    handler.setFormatter(logging.Formatter(f"{PROG}: %(message)s"))
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
