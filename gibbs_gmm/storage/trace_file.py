"""A trace in one file: plain arrays and a JSON text."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from gibbs_gmm.model.families import prior_from_dict
from gibbs_gmm.model.weight_priors import from_dict, to_dict
from gibbs_gmm.storage.whole_files import replacing
from gibbs_gmm.trace import Trace

_FORMAT = "gibbs_gmm trace 1"


def save(trace: Trace, path: str | os.PathLike[str]) -> None:
    """Write a trace; see :meth:`gibbs_gmm.Trace.save`."""
    arrays = trace.arrays()
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
    """Read a trace written by :meth:`Trace.save`, or the draws of a run so far from its checkpoint folder.

    Loading never runs code from a file. The arrays of a folder are memory maps: they may be larger than memory, and are
    read when they are looked at. The folder may be that of a run which another process is at work on: the trace then
    has the draws that all chains have so far. Checksums of the draws are compared in arrays of up to 1 GiB.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file is not a trace, is damaged, or was written by an incompatible version; or the run has no draws yet.
    """
    if os.path.isdir(path) and os.path.exists(os.path.join(path, "run.json")):
        from gibbs_gmm.storage.run_folder import read_trace

        return read_trace(path)
    try:
        # np.load would leave a file open that it cannot read.
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
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
        raise ValueError(f"{os.fspath(path)!r} cannot be read as a gibbs_gmm trace: {error}") from error
