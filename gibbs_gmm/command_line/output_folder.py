"""The folder of a run of the command line: the names of its files, and what makes a report of it possible again."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gibbs_gmm.command_line.reading.rows import Rows
from gibbs_gmm.storage.whole_files import replacing
from gibbs_gmm.storage.whole_files import write as write

if TYPE_CHECKING:
    from gibbs_gmm.kernels.types import FloatArray
    from gibbs_gmm.trace import Trace

TRACE = "draws"  # a folder: see ``storage.run_folder``
OBSERVATIONS = "observations.npy"
ROWS = "rows.csv"
COMMAND = "command.json"
SUMMARY = "summary.csv"
N_TABLE = "n_posterior.csv"
CLUSTERS = "clusters.csv"
PAIRS = "pairs.png"
N_PICTURE = "n_posterior.png"
REPORT = "report.html"
APPENDED = "with_clusters.csv"
ORIGIN = (OBSERVATIONS, ROWS, COMMAND)
DERIVED = (SUMMARY, N_TABLE, CLUSTERS, PAIRS, N_PICTURE, REPORT)  # can be made again from the others
FILES = (*ORIGIN, *DERIVED, APPENDED)

LARGEST_DOWNLOAD = 2_000_000  # bytes of a table that is kept inside the report

_FORMAT = "gibbs_gmm command 2"
_ID = "name: "  # before the name of the column of the rows' names
_BLOCK = 1 << 16  # rows
_NOT_FITTED = "does not hold the observations that were fitted; fit again, with --force"


@dataclasses.dataclass(frozen=True)
class Command:
    """How a run came to be.

    Attributes
    ----------
    source : str
        The CSV file, as it was given.
    arguments : tuple of str
        What makes the same run again, behind the program's name.
    left_out : dict
        Column that was not used -> why.
    notes, warnings : tuple of str
        How the file was read, and what may be wrong with it or with the run.
    """

    source: str
    arguments: tuple[str, ...]
    left_out: dict[str, str]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """A run: its draws, and what it is of."""

    trace: Trace
    X: FloatArray
    rows: Rows
    command: Command


def save_origin(folder: Path, X: FloatArray, rows: Rows, command: Command) -> None:
    """Write what, beside the trace, a report is made of: the observations, their names and the command."""
    import numpy as np

    with replacing(folder / OBSERVATIONS) as descriptor, os.fdopen(os.dup(descriptor), "wb") as file:
        np.lib.format.write_array(file, X, allow_pickle=False)
    write(folder / ROWS, _rows_csv(rows))
    save_command(folder, X, command)


def save_command(folder: Path, X: FloatArray, command: Command) -> None:
    """Write the command alone."""
    values = {"format": _FORMAT, **dataclasses.asdict(command), "observations_sha256": _digest(X)}
    write(folder / COMMAND, json.dumps(values, indent=2) + "\n")


def observations(folder: Path) -> FloatArray:
    """The observations as a read-only map of their file."""
    import numpy as np

    return np.asarray(np.load(folder / OBSERVATIONS, mmap_mode="r", allow_pickle=False))


def read(folder: Path) -> Run:
    """Read a run.

    Raises
    ------
    FileNotFoundError
        There is no run in the folder, or one of its files is gone.
    ValueError
        A file is damaged, or the observations are not those that were fitted.
    """
    from gibbs_gmm.storage.trace_file import load

    if not (folder / TRACE).is_dir():
        what = "is a file, not the folder of a run" if folder.is_file() else f"holds no run: there is no {TRACE} in it"
        raise FileNotFoundError(f"{str(folder)!r} {what if folder.exists() else 'does not exist'}")
    X, rows, command = read_origin(folder)
    trace = load(folder / TRACE)
    if X.shape != (trace.n_rows, len(trace.columns)):
        raise ValueError(f"{str(folder / OBSERVATIONS)!r} {_NOT_FITTED}")
    return Run(trace, X, rows, command)


def read_origin(folder: Path) -> tuple[FloatArray, Rows, Command]:
    """The observations, their names and the command of a run, finished or not; raises as :func:`read`."""
    for name in ORIGIN:
        if not (folder / name).exists():
            raise FileNotFoundError(f"{str(folder / name)!r} is missing: fit again, with --force, to have it back")
    try:
        X = observations(folder)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{str(folder / OBSERVATIONS)!r} is damaged: {error}") from None
    try:
        values: dict[str, Any] = json.loads((folder / COMMAND).read_text(encoding="utf-8"))
        if values["format"] != _FORMAT:
            raise ValueError(f"its format is {values['format']!r}, and this version reads {_FORMAT!r}")
        said = (tuple(values["notes"]), tuple(values["warnings"]))
        command = Command(values["source"], tuple(values["arguments"]), dict(values["left_out"]), *said)
        digest = values["observations_sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{str(folder / COMMAND)!r} cannot be read: {error}") from None
    if _digest(X) != digest:
        raise ValueError(f"{str(folder / OBSERVATIONS)!r} {_NOT_FITTED}")
    return X, _read_rows(folder / ROWS, len(X)), command


def _rows_csv(rows: Rows) -> Iterator[str]:
    """Lines, names and texts of the rows, as parts of a CSV file."""
    columns = [*([] if rows.ids is None else [rows.ids]), *rows.texts.values()]
    yield csv_lines([["line", *([] if rows.ids is None else [f"{_ID}{rows.id_name}"]), *rows.texts]])
    for first in range(0, len(rows.lines), _BLOCK):
        part = slice(first, first + _BLOCK)
        yield csv_lines(zip(rows.lines[part].tolist(), *(column[part] for column in columns), strict=True))


def csv_lines(rows: Iterable[Sequence[Any]]) -> str:
    """Rows as lines of a CSV file."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue()


def _read_rows(path: Path, N: int) -> Rows:
    """The inverse of :func:`_rows_csv`."""
    import numpy as np

    with open(path, newline="", encoding="utf-8") as file:
        names, *body = csv.reader(file)
    if len(body) != N or any(len(row) != len(names) for row in body):
        raise ValueError(f"{str(path)!r} {_NOT_FITTED}")
    columns = dict(zip(names, zip(*body, strict=True), strict=True))
    lines = np.array(columns.pop("line"), np.int64)
    id_ = next((name for name in columns if name.startswith(_ID)), None)
    ids = None if id_ is None else list(columns.pop(id_))
    return Rows(lines, (id_ or "").removeprefix(_ID), ids, {name: list(texts) for name, texts in columns.items()})


def _digest(X: FloatArray) -> str:
    digest = hashlib.sha256(str((X.shape, X.dtype.str)).encode())
    for start in range(0, len(X), _BLOCK):
        digest.update(X[start : start + _BLOCK].tobytes())
    return digest.hexdigest()
