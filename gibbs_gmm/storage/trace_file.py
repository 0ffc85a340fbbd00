"""A trace in one file: plain arrays and a JSON text."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import IO, Any

import numpy as np

from gibbs_gmm.model.families import prior_from_dict
from gibbs_gmm.model.weight_priors import from_dict, to_dict
from gibbs_gmm.storage.whole_files import replacing
from gibbs_gmm.trace import Trace

_FORMAT = "gibbs_gmm trace 1"
_DRAWS = "draws"  # of a run of the command line: the folder in its folder


def save(trace: Trace, path: str | os.PathLike[str]) -> None:
    """Write a trace; see :meth:`gibbs_gmm.Trace.save`."""
    arrays = trace.arrays() | ({} if trace.counts is None else {"counts": trace.counts})
    metadata = {
        "format": _FORMAT,
        "arrays": list(arrays),
        "columns": list(trace.columns),
        "prior": trace.prior.to_dict(),
        "weight_prior": to_dict(trace.weight_prior),
        "settings": trace.settings,
    }
    with replacing(Path(path)) as descriptor, os.fdopen(os.dup(descriptor), "wb") as file:
        np.savez(file, allow_pickle=False, metadata=np.array(json.dumps(metadata)), **arrays)


def load(path: str | os.PathLike[str]) -> Trace:
    """Read a trace written by :meth:`Trace.save`, or that of a run from its folder.

    A folder is that of the command line, or the checkpoint of a run, which may still be at work.

    Loading never runs code from a file. The arrays of a folder are memory maps: they may be larger than memory, and are
    read when they are looked at. The folder may be that of a run which another process is at work on: the trace then
    has the draws that all chains have so far. Checksums of the draws are compared in arrays of up to 1 GiB.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file is not a trace, is damaged, or was written by an incompatible version; or there is no run in the
        folder, or one that has no draws yet.

    Examples
    --------
    Of the trace and the rows of :func:`gibbs_gmm.fit`'s example:

    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "run.npz")
    >>> trace.save(path)
    >>> gg.load(path).headline
    '2 components, as given'
    """
    if os.path.isdir(path):
        return _of_folder(Path(path))
    try:
        with open(path, "rb") as stream:
            _refuse_other_kinds(stream)
        # np.load would leave a file open that it cannot read.
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            if "metadata" not in file.files:
                raise ValueError(f"it is an archive of {', '.join(file.files[:5]) or 'nothing'}")
            metadata = json.loads(str(file["metadata"]))
            if metadata.get("format") != _FORMAT:
                raise ValueError(f"its format is {metadata.get('format')!r}, and this version reads {_FORMAT!r}")
            if file.zip.testzip() is not None:  # reading an array whose header says it is smaller checks nothing
                raise ValueError("it is damaged")
            arrays: dict[str, Any] = {name: file[name] for name in metadata["arrays"]}
            return Trace(
                **arrays,
                columns=tuple(metadata["columns"]),
                prior=prior_from_dict(metadata["prior"]),
                weight_prior=from_dict(metadata["weight_prior"]),
                settings=metadata["settings"],
            )
    except FileNotFoundError:
        raise
    except Exception as error:  # there is no end to what zipfile, json and numpy raise on bytes that are not theirs
        # numpy advises to load objects unsafely
        text = "it holds Python objects, and loading them could run code" if "allow_pickle" in str(error) else error
        raise ValueError(f"{os.fspath(path)!r} cannot be read as a gibbs_gmm trace: {text}") from error


def _of_folder(path: Path) -> Trace:
    """The trace of a folder: of a run's checkpoint, or of the command line."""
    from gibbs_gmm.storage.run_folder import read_trace

    for folder in (path, path / _DRAWS):
        if (folder / "run.json").exists():
            return read_trace(folder)
    if (path / "trace.npz").exists():
        return load(path / "trace.npz")
    raise ValueError(
        f"{os.fspath(path)!r} cannot be read as a gibbs_gmm trace: it is a folder without a run, with neither the "
        f"{_DRAWS} of the command line, nor the run.json of fit(..., checkpoint=...), nor a trace.npz"
    )


def _refuse_other_kinds(stream: IO[bytes]) -> None:
    """Refuse files that are no archive, by what they are."""
    start = stream.read(6)
    kinds = {b"\x93NUMPY": "one array, such as the data of a fit", b"\x80": "a pickle, and loading it could run code"}
    kinds |= {b"PAR1": "a parquet file", b"\x1f\x8b": "compressed by gzip", b"%PDF": "a PDF", b"\x89PNG": "a picture"}
    found = next((what for mark, what in kinds.items() if start.startswith(mark)), None)
    if found is not None:
        raise ValueError(f"it is {found}")
    if not start.startswith(b"PK"):
        raise ValueError("it is not what Trace.save() writes; to read a table, use gibbs-gmm fit, or pandas and fit()")
