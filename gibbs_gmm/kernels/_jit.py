"""Every compiler option of the package, in one place. Nothing outside ``kernels/`` imports numba."""

import hashlib
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.ccallback import CFunc

F = TypeVar("F", bound=Callable[..., Any])

JIT = not numba.config.DISABLE_JIT
"""False when NUMBA_DISABLE_JIT=1: kernels then run as plain Python (slow, debuggable)."""

_OPTIONS = {
    "nogil": True,  # chains and shards are Python threads over compiled code
    "error_model": "numpy",  # a division by zero is inf or nan and reaches a status check, not an exception
    "fastmath": {"contract"},  # a*b + c may be one rounding; NaN and the order of sums stay as written
}


def _can_cache() -> bool:
    """Whether numba finds a folder it may write compiled code to (a read-only install has none)."""

    def probe() -> None:
        pass

    try:
        numba.njit(cache=True)(probe)
    except RuntimeError:
        return False
    return True


_CACHE = _can_cache()


def stamp_of(folder: Path) -> str:
    """A digest of all kernels' source and of the options: compiled code contains copies of kernels from other files."""
    digest = hashlib.sha256(repr(sorted(_OPTIONS.items())).encode())
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


_STAMP = stamp_of(Path(__file__).parent)


class _CacheFile(IndexDataCacheFile):  # type: ignore[misc]
    """A kernel's files on disk; that of a specialisation is named after it.

    numba numbers them from 1. Two processes that save different specialisations of one kernel at the same time both
    take the next number, and may leave the code of the one in the index as that of the other. Here at worst an entry
    of the index is lost, and compiled again.
    """

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


class _Cache(FunctionCache):  # type: ignore[misc]
    """A kernel's cache on disk that several processes may write to, and that any change of any kernel empties.

    numba's own stamp is that of one file, so that a kernel with a copy of another would outlive a change of the latter.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file = _CacheFile(self._cache_path, self._impl.filename_base, _STAMP)


def _compiled(function: F, **options: Any) -> F:
    """Compile on first call, and keep the result on disk."""
    compiled: Any = numba.njit(function, no_cfunc_wrapper=True, **_OPTIONS, **options)
    if JIT and _CACHE:
        compiled._cache = _Cache(function)
    return cast("F", compiled)


def kernel(function: F) -> F:
    """Compile on first call, keep the result on disk, release the GIL while running.

    Without numba's runtime: a kernel allocates nothing, and its views of arrays are not counted. (Counting them, by
    atomic instructions, took half the time of a sweep of few rows.)
    """
    return _compiled(function, _nrt=False)


def allocating_kernel(function: F) -> F:
    """A kernel that makes arrays."""
    return _compiled(function)


_pointers: dict[Any, Any] = {}


def pointer(function: Callable[..., Any], returns: str, *arguments: Any) -> Callable[..., Any]:
    """The function compiled for arguments of these types, to be passed to kernels as an argument.

    A kernel that calls another contains a copy of it, compiled again with it; one that is handed a pointer does not.
    The large pieces of a sweep are therefore compiled once each. The same kernel may be run as plain Python and handed
    other functions, such as one that spreads the work over threads.
    """
    plain = getattr(function, "py_func", function)
    if not JIT:
        return plain
    signature = getattr(numba.types, returns)(*(numba.typeof(argument) for argument in arguments))
    key = (plain, signature)
    if key not in _pointers:
        compiled: Any = CFunc(plain, (signature.args, signature.return_type), {}, {"_nrt": False, **_OPTIONS})
        if _CACHE:
            compiled._cache = _Cache(plain)
        compiled.compile()
        _pointers[key] = compiled
    return cast("Callable[..., Any]", _pointers[key])
