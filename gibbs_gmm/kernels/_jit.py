"""Every compiler option of the package, in one place. Nothing outside ``kernels/`` imports numba."""

import functools
import hashlib
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.ccallback import CFunc
from numba.extending import overload

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

    def _load_index(self) -> dict[Any, Any]:
        """The index; empty where it cannot be read, such as one that names types of another version."""
        try:
            return cast("dict[Any, Any]", super()._load_index())
        except Exception:  # whatever unpickling raises
            return {}

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


class Verb:
    """What :func:`by_family` makes of a function: call it as that function, or register a family's own with ``of``."""

    def __init__(self, declared: Callable[..., Any]) -> None:
        functools.update_wrapper(self, declared)
        self._declared, self._own = declared, dict[type, Any]()

    def __call__(self, *arguments: Any) -> Any:
        """The verb of the first argument's family, where nothing is compiled."""
        return self._own.get(type(arguments[0]), self._declared)(*arguments)

    def of(self, *kinds: type) -> Callable[[F], F]:
        """Register the kernel decorated as the verb of these named tuples, whose names must differ.

        numba tells types of functions apart by what they are printed as, and would take one family's for another's.
        """
        names = {kind.__name__: kind for kind in self._own} | {kind.__name__: kind for kind in kinds}
        if len(names) != len({*self._own, *kinds}):
            raise ValueError(f"families must have tuples of different names, got {sorted(names)}")

        def register(function: F) -> F:
            self._own.update(dict.fromkeys(kinds, function))
            return function

        return register

    def of_type(self, kind: type) -> Callable[..., Any]:
        """The plain function of a kind: its own, or else the one that was declared."""
        own = self._own.get(kind, self._declared)
        return cast("Callable[..., Any]", getattr(own, "py_func", own))


def by_family(declared: Callable[..., Any]) -> Verb:
    """A function of which families of components have their own, chosen by the type of its first argument.

    A family that registers none has the function declared, and so has an argument that is no named tuple.

    Compiled code contains the family's own function and no trace of the choice: the type of a named tuple is known when
    a kernel is compiled. (A function handed over as an argument or held by a closure would be as fast, but its identity
    is part of the key under which numba keeps compiled code, so that every process would compile again.)
    """
    verb = Verb(declared)

    @overload(verb, strict=False, jit_options={"_nrt": False, "no_cfunc_wrapper": True, **_OPTIONS})
    def choose(*arguments: Any) -> Any:
        return verb.of_type(getattr(arguments[0], "instance_class", type(None)))

    return verb


class Step:
    """What :func:`step` makes of a function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.py_func = function

    def __call__(self, *arguments: Any) -> Any:
        """Interpreted; the kernels it calls are compiled."""
        return self.py_func(*arguments)


def step(function: F) -> F:
    """A part of a sweep that is handed a store of rows: compiled where compiled code calls it, and else interpreted.

    Compiled code calls the store's functions by pointers. The same part interpreted may be handed any Python functions,
    such as ones that spread a pass over threads or machines.
    """
    part = Step(function)

    @overload(part, strict=False, jit_options={"_nrt": False, "no_cfunc_wrapper": True, **_OPTIONS})
    def choose(*arguments: Any) -> Any:
        return function

    return cast("F", part)


_pointers: dict[Any, Any] = {}


def pointer(function: Callable[..., Any], returns: str, *arguments: Any) -> Callable[..., Any]:
    """The function compiled for arguments of these types, to be passed to kernels as an argument.

    A kernel that calls another contains a copy of it, compiled again with it; one that is handed a pointer does not.
    The large pieces of a sweep are therefore compiled once each.
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
