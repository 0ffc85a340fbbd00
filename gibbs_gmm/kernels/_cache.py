"""Compiled code on disk: written to by several processes, read where it cannot be written, and never stale."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator
from numba.core.registry import cpu_target

from gibbs_gmm.kernels._cache_file import STAMP, CacheFile
from gibbs_gmm.kernels._shipped import shipped


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


def subfolder(folder: Path) -> str:
    """What numba calls the folder, in a cache that it is told to use, of modules in a folder."""
    return str(_CacheLocator.get_suitable_cache_subpath(str(folder / "any.py")))


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
    Code is also found where numba would have written it had it been allowed to: somebody else may have compiled it. Or
    it has come with the package.
    """

    _impl_class, _suffix = KernelCacheImpl, ""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        base, own = self._impl.filename_base + self._suffix, self._cache_path
        self._cache_file = CacheFile(own, base, STAMP)
        source = function.__code__.co_filename
        others = [CacheFile(folder, base, STAMP) for folder in _folders(source) if folder != own]
        self._files = [self._cache_file, *others, *shipped(source, base)]

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
