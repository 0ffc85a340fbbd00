"""Files of compiled code, and the stamp that tells whether it is that of the kernels as they are."""

import hashlib
import itertools
from pathlib import Path
from typing import Any, cast

from numba.core.caching import IndexDataCacheFile

OPTIONS = {
    "nogil": True,  # chains and shards are Python threads over compiled code
    "error_model": "numpy",  # a division by zero is inf or nan and reaches a status check, not an exception
    "fastmath": {"contract"},  # a*b + c may be one rounding; NaN and the order of sums stay as written
}
"""Of the compiler, for all kernels."""


def stamp_of(folder: Path) -> str:
    """A digest of all kernels' source and of the options: compiled code contains copies of kernels from other files."""
    digest = hashlib.sha256(repr(sorted(OPTIONS.items())).encode())
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


STAMP = stamp_of(Path(__file__).parent)


class CacheFile(IndexDataCacheFile):  # type: ignore[misc]
    """A kernel's files on disk; that of a specialisation is named after it.

    numba numbers them from 1. Two processes that save different specialisations of one kernel at the same time both
    take the next number, and may leave the code of the one in the index as that of the other. Here at worst an entry
    of the index is lost, and compiled again.
    """

    def _load_index(self) -> dict[Any, Any]:
        """The index; empty where it cannot be read, such as one that names types of another version."""
        try:
            return cast("dict[Any, Any]", super()._load_index())
        except Exception:  # whatever unpickling raises
            return {}

    def has(self, key: Any) -> bool:
        """Whether the index speaks of a specialisation."""
        return key in self._load_index()

    def save(self, key: Any, data: Any) -> None:
        """Write the code, then the index that speaks of it."""
        overloads = self._load_index()
        first = int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:6])
        for number in itertools.count(first):
            name = self._data_name(number)
            if all(other == key for other, taken in overloads.items() if taken == name):
                break
        self._save_data(name, data)
        self._save_index({**self._load_index(), key: name})
