"""The folder of a run of the command line: the names of its files, and what makes a report of it possible again."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gibbs_gmm.storage.whole_files import write as write

if TYPE_CHECKING:
    from gibbs_gmm.kernels.types import FloatArray
    from gibbs_gmm.trace import Trace

CHECKPOINT = "checkpoint"  # a folder: see ``checkpoint``
TRACE = "trace.npz"
OBSERVATIONS = "observations.npy"
COMMAND = "command.json"
SUMMARY = "summary.csv"
N_TABLE = "n_posterior.csv"
CLUSTERS = "clusters.csv"
PAIRS = "pairs.png"
N_PICTURE = "n_posterior.png"
REPORT = "report.html"
DERIVED = (SUMMARY, N_TABLE, CLUSTERS, PAIRS, N_PICTURE, REPORT)  # can be made again from the others
EVERYTHING = (TRACE, OBSERVATIONS, COMMAND, *DERIVED)

_FORMAT = "gibbs_gmm command 1"
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
    """

    source: str
    arguments: tuple[str, ...]
    left_out: dict[str, str]


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """A run read from its folder."""

    trace: Trace
    X: FloatArray
    command: Command


def save_origin(folder: Path, X: FloatArray, command: Command) -> None:
    """Write what, beside the trace, a report is made of: the observations and the command."""
    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, X, allow_pickle=False)
    write(folder / OBSERVATIONS, buffer.getvalue())
    values = {"format": _FORMAT, **dataclasses.asdict(command), "observations_sha256": _digest(X)}
    write(folder / COMMAND, json.dumps(values, indent=2) + "\n")


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

    if not (folder / TRACE).exists():
        what = "is a file, not the folder of a run" if folder.is_file() else f"holds no run: there is no {TRACE} in it"
        raise FileNotFoundError(f"{str(folder)!r} {what if folder.exists() else 'does not exist'}")
    trace = load(folder / TRACE)
    X, command = read_origin(folder)
    if X.shape != (trace.settings["n_observations"], len(trace.columns)):
        raise ValueError(f"{str(folder / OBSERVATIONS)!r} {_NOT_FITTED}")
    return Run(trace, X, command)


def read_origin(folder: Path) -> tuple[FloatArray, Command]:
    """The observations and the command of a run, finished or not; raises as :func:`read`."""
    import numpy as np

    for name in (OBSERVATIONS, COMMAND):
        if not (folder / name).exists():
            raise FileNotFoundError(f"{str(folder / name)!r} is missing: fit again, with --force, to have it back")
    try:
        with open(folder / OBSERVATIONS, "rb") as file:
            X = np.load(file, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{str(folder / OBSERVATIONS)!r} is damaged: {error}") from None
    try:
        values: dict[str, Any] = json.loads((folder / COMMAND).read_text(encoding="utf-8"))
        if values["format"] != _FORMAT:
            raise ValueError(f"its format is {values['format']!r}, and this version reads {_FORMAT!r}")
        command = Command(values["source"], tuple(values["arguments"]), dict(values["left_out"]))
        digest = values["observations_sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{str(folder / COMMAND)!r} cannot be read: {error}") from None
    if _digest(X) != digest:
        raise ValueError(f"{str(folder / OBSERVATIONS)!r} {_NOT_FITTED}")
    return X, command


def _digest(X: FloatArray) -> str:
    return hashlib.sha256(str((X.shape, X.dtype.str)).encode() + X.tobytes()).hexdigest()
