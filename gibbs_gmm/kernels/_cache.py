"""Compiled code on disk: written to by several processes, read where it cannot be written, and never stale."""

import hashlib
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache, IndexDataCacheFile, _CacheLocator
from numba.core.registry import cpu_target

OPTIONS = {
    "nogil": True,  # chains and shards are Python threads over compiled code
    "error_model": "numpy",  # a division by zero is inf or nan and reaches a status check, not an exception
    "fastmath": {"contract"},  # a*b + c may be one rounding; NaN and the order of sums stay as written
}
"""Of the compiler, for all kernels."""


def _can_write() -> bool:
    """Whether numba finds a folder it may write compiled code to (a read-only install has none)."""

    def probe() -> None:
        pass

    try:
        numba.njit(cache=True)(probe)
    except RuntimeError:
        return False
    return True


WRITABLE = _can_write()


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


def _folders(source: str) -> Iterator[str]:
    """Where numba keeps the code of a source file if it may: where it is told to, or beside the file."""
    if numba.config.CACHE_DIR:
        yield os.path.join(numba.config.CACHE_DIR, _CacheLocator.get_suitable_cache_subpath(source))
    yield os.path.join(os.path.dirname(source), "__pycache__")


class _Reader(_CacheLocator):  # type: ignore[misc]
    """The first of these folders, where there is none that can be written to."""

    def __init__(self, function: Callable[..., Any], source: str) -> None:
        self._function, self._source = function, source

    def ensure_cache_path(self) -> None:
        """Nothing is written."""

    def get_cache_path(self) -> str:
        """See the class."""
        return next(_folders(self._source))

    def get_source_stamp(self) -> str:
        """Not used."""
        return STAMP

    def get_disambiguator(self) -> str:
        """As numba's, the number of the first line."""
        return str(self._function.__code__.co_firstlineno)

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> "_Reader":
        """Of any function."""
        return cls(py_func, py_file)


class KernelCacheImpl(CompileResultCacheImpl):  # type: ignore[misc]
    """How compiled code is kept on disk, and where."""

    _locator_classes = [*CompileResultCacheImpl._locator_classes, _Reader]  # noqa: RUF012


class KernelCache(FunctionCache):  # type: ignore[misc]
    """A kernel's cache on disk, which any change of any kernel empties.

    numba's own stamp is that of one file, so that a kernel with a copy of another would outlive a change of the latter.
    Code is also found where numba would have written it had it been allowed to: somebody else may have compiled it.
    """

    _impl_class, _suffix = KernelCacheImpl, ""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        base, own = self._impl.filename_base + self._suffix, self._cache_path
        self._cache_file = CacheFile(own, base, STAMP)
        source = function.__code__.co_filename
        others = [CacheFile(folder, base, STAMP) for folder in _folders(source) if folder != own]
        self._files = [self._cache_file, *others]

    def has(self, signature: Any) -> bool:
        """Whether there is code for a signature."""
        key = self._index_key(signature, cpu_target.target_context.codegen())
        return any(file.has(key) for file in self._files)

    def _load_overload(self, sig: Any, target_context: Any) -> Any:
        key = self._index_key(sig, target_context.codegen())
        for file in self._files:
            data = file.load(key)
            if data is not None:
                return self._impl.rebuild(target_context, data)
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep compiled code, if there is a folder for it."""
        if WRITABLE:
            super().save_overload(sig, data)
