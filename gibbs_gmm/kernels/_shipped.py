"""Compiled kernels that come with the package, for a kind of processors rather than for one.

They are made by :mod:`gibbs_gmm.command_line.wheel`, and used only where all is as it was there: the kernels' sources
and options, the versions of Python, numba, llvmlite and NumPy, numba's settings; where the processor has all that its
kind is to have; and where every byte is as it was written. Otherwise nobody hears of them, and kernels are compiled.
"""

import functools
import hashlib
import json
import pickle
import platform
import sys
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding
import numba
import numpy as np

from gibbs_gmm.kernels._cache_file import STAMP, CacheFile

_V3 = (
    "avx", "avx2", "bmi", "bmi2", "cmov", "cx16", "cx8", "f16c", "fma", "fxsr", "lzcnt", "mmx", "movbe", "popcnt",
    "sahf", "sse", "sse2", "sse3", "sse4.1", "sse4.2", "ssse3", "xsave",
)  # fmt: skip
FEATURES = {"x86-64-v4": (*_V3, "avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl"), "x86-64-v3": _V3}
"""What processors of a kind have, by LLVM's names; the best kind first."""

FOLDER = Path(__file__).parent / "_compiled"
MANIFEST = "manifest.json"


def parts_of(kind: str) -> dict[str, Any]:
    """Everything that compiled code for a kind of processors depends on."""
    config = numba.config
    return {
        "kernels": STAMP,
        "python": [sys.implementation.cache_tag, platform.python_version()],
        "numba": numba.__version__,
        "llvmlite": llvmlite.__version__,
        "numpy": np.__version__,
        "settings": [
            str(config.OPT),
            bool(config.LOOP_VECTORIZE),
            bool(config.SLP_VECTORIZE),
            bool(config.BOUNDSCHECK),
        ],
        "triple": llvmlite.binding.get_process_triple(),
        "kind": kind,
        "features": list(FEATURES[kind]),
    }


def digest_of(content: bytes) -> str:
    """A digest of a file."""
    return hashlib.sha256(content).hexdigest()


def manifest_of(kind: str, files: dict[str, bytes]) -> bytes:
    """What says which files there are for a kind, what is in them, and what they depend on."""
    parts = {"parts": parts_of(kind), "files": {name: digest_of(content) for name, content in sorted(files.items())}}
    return json.dumps({**parts, "digest": digest_of(json.dumps(parts).encode())}).encode()


def _host_features() -> set[str]:
    """What this processor has."""
    return {name for name, there in llvmlite.binding.get_host_cpu_features().items() if there}


def _files(kind: str) -> dict[str, str]:
    """The digests of a kind's files; none where anything is not as it has to be."""
    try:
        manifest = json.loads((FOLDER / kind / MANIFEST).read_bytes())
        parts = {name: manifest[name] for name in ("parts", "files")}
        whole = manifest["digest"] == digest_of(json.dumps(parts).encode())
        fits = parts["parts"] == parts_of(kind) and set(FEATURES[kind]) <= _host_features()
        return dict(parts["files"]) if whole and fits else {}
    except (OSError, ValueError, TypeError, LookupError, RuntimeError):  # there is none, or it is damaged
        return {}


@functools.cache
def best() -> tuple[str, dict[str, str]] | None:
    """The best kind of which there are files that fit, and their digests."""
    if numba.config.CPU_NAME is not None or numba.config.CPU_FEATURES is not None or not FOLDER.is_dir():
        return None  # a processor is asked for by name; or nothing has come with the package
    return next(((kind, files) for kind in FEATURES if (files := _files(kind))), None)


class ShippedFile(CacheFile):
    """A kernel's files that came with the package."""

    def __init__(self, kind: str, folder: str, digests: dict[str, str], base: str) -> None:
        super().__init__(str(FOLDER / kind / folder), base, STAMP)
        self._kind, self._folder, self._digests = kind, folder, digests

    def _whole(self, name: str) -> bytes:
        """The bytes of a file. Raises OSError if they are not those that were written."""
        content = (FOLDER / self._kind / self._folder / name).read_bytes()
        if digest_of(content) != self._digests.get(f"{self._folder}/{name}"):
            raise OSError(f"{name} is damaged")
        return content

    def _load_index(self) -> dict[Any, Any]:
        try:
            self._whole(self._index_name)
        except OSError:
            return {}
        return super()._load_index()

    def _load_data(self, name: str) -> Any:
        return pickle.loads(self._whole(name))

    def _key(self, key: Any) -> Any:
        """The key of the same code for the kind of processors."""
        signature, (triple, *_), code = key
        return signature, (triple, self._kind, ""), code

    def has(self, key: Any) -> bool:
        """Whether there is code, and it is whole."""
        name = self._load_index().get(self._key(key))
        try:
            return name is not None and bool(self._whole(name))
        except OSError:
            return False

    def load(self, key: Any) -> Any:
        """The code, if there is any."""
        return super().load(self._key(key))


def shipped(source: str, base: str) -> list[ShippedFile]:
    """The files that came with the package for a kernel in this source file, if any fit."""
    found = best()
    if found is None:
        return []
    folder = Path(source).parent.relative_to(FOLDER.parent).as_posix()
    return [ShippedFile(found[0], folder, found[1], base)]
