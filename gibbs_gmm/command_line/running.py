"""What surrounds a run of the command line: its folder before and after, and what its errors are called."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from gibbs_gmm.command_line import output_folder, results
from gibbs_gmm.command_line.console import PROG, Failure, Refusal

if TYPE_CHECKING:
    from gibbs_gmm.command_line.reading.table import Table


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
    """Write what a run is of before it begins, so that it can be resumed; take it back if no sweep was kept."""
    from gibbs_gmm.storage.run_folder import Folder

    with failures(out):
        Folder(out / output_folder.TRACE).remove()
    with results.writing(out):
        for name in output_folder.FILES:
            (out / name).unlink(missing_ok=True)
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
        raise Refusal(error) from None
    except KeyboardInterrupt:
        if (out / output_folder.TRACE).exists():
            raise KeyboardInterrupt(f"`{PROG} resume {out}` carries the run on") from None
        raise


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
