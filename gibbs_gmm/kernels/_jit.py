"""Every compiler option of the package, in one place. Nothing outside ``kernels/`` imports numba."""

import functools
import importlib
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numba

from gibbs_gmm.kernels._cache import WRITABLE, KernelCache
from gibbs_gmm.kernels._cache_file import OPTIONS
from gibbs_gmm.kernels._fragments import Called, Fragment, Kernel, WholeCompiler, fragment_of
from gibbs_gmm.kernels._records import Pointer

F = TypeVar("F", bound=Callable[..., Any])

JIT = not numba.config.DISABLE_JIT
"""False when NUMBA_DISABLE_JIT=1: kernels then run as plain Python (slow, debuggable)."""


def kernel(function: F) -> F:
    """Compile on first call, keep the result on disk, release the GIL while running.

    Without numba's runtime: a kernel allocates nothing, and its views of arrays are not counted. (Counting them, by
    atomic instructions, took half the time of a sweep of few rows.)
    """
    return cast("F", Kernel(function, nrt=False)) if JIT else function


def allocating_kernel(function: F) -> F:
    """A kernel that makes arrays."""
    return cast("F", Kernel(function, nrt=True)) if JIT else function


class Verb(Called):
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

    def fragment(self, types: Any) -> Fragment:
        """That of a kind: its own, or else the one that was declared."""
        own = self._own.get(getattr(types[0], "instance_class", type(None)), self._declared)
        return fragment_of(getattr(own, "py_func", own), False)


def by_family(declared: Callable[..., Any]) -> Verb:
    """A function of which families of components have their own, chosen by the type of its first argument.

    A family that registers none has the function declared, and so has an argument that is no named tuple.

    Compiled code contains the family's own function and no trace of the choice: the type of a named tuple is known when
    a kernel is compiled. (A function handed over as an argument or held by a closure would be as fast, but its identity
    is part of the key under which numba keeps compiled code, so that every process would compile again.)
    """
    return Verb(declared)


class Step(Called):
    """What :func:`step` makes of a function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.py_func = function

    def __call__(self, *arguments: Any) -> Any:
        """Interpreted; the kernels it calls are compiled."""
        return self.py_func(*arguments)

    def fragment(self, types: Any) -> Fragment:
        """The same for all types."""
        return fragment_of(self.py_func, False)


def step(function: F) -> F:
    """A part of a sweep that is handed a store of rows: compiled where compiled code calls it, and else interpreted.

    Compiled code calls the store's functions by pointers. The same part interpreted may be handed any Python functions,
    such as ones that spread a pass over threads or machines.
    """
    return cast("F", Step(function))


def cache_folder() -> str | None:
    """Where kernels of the modules beside this one are kept once they are compiled, if anywhere."""
    return cast("str", KernelCache(kernel).cache_path) if WRITABLE else None


def plain(function: F) -> F:
    """The Python function of a kernel, for what takes no time: it would be compiled to be called from Python."""
    return cast("F", getattr(function, "py_func", function))


_pointers: dict[Any, Any] = {}


class Piece(NamedTuple):
    """What is compiled as a whole: a function, for arguments of these types.

    One that is handed over by a pointer has a type of its result, ``returns``; else it is a kernel that Python calls.
    """

    function: Any
    arguments: tuple[Any, ...]
    returns: Any = None

    @classmethod
    def of(cls, function: Callable[..., Any], *arguments: Any) -> "Piece":
        """Of a kernel, to be called with such arguments."""
        return cls(function, tuple(numba.typeof(argument) for argument in arguments))

    @property
    def code(self) -> Any:
        """What numba compiles."""
        if self.returns is None:
            return self.function
        key = self.function, self.arguments, self.returns
        if key not in _pointers:
            own: Any = plain(self.function)
            types, options = (self.arguments, self.returns), {"_nrt": False, **OPTIONS}
            _pointers[key] = Pointer(own, types, {}, options, pipeline_class=WholeCompiler)
            _pointers[key].piece = self
            _pointers[key]._cache = KernelCache(own)
        return _pointers[key]

    def compile(self) -> None:
        """Load it from the cache, or compile it."""
        code = self.code
        if self.returns is None:
            code.compile(self.arguments)
        elif code.address is None:
            code.compile()

    def is_compiled(self) -> bool:
        """Whether it is loaded, or in the cache."""
        code = self.code
        if self.returns is None:
            loaded, key = self.arguments in code.overloads, self.arguments
        else:
            loaded, key = code.address is not None, code._sig
        return loaded or code._cache.has(key)

    def cache_folder(self) -> str | None:
        """Where it is kept, if anywhere."""
        return cast("str", self.code._cache.cache_path) if WRITABLE else None

    def description(self) -> tuple[str, str, tuple[Any, ...], Any]:
        """What another process makes the same piece of, by :meth:`described`."""
        return self.function.__module__, self.function.__name__, self.arguments, self.returns

    @classmethod
    def described(cls, description: tuple[str, str, tuple[Any, ...], Any]) -> "Piece":
        """The inverse of :meth:`description`."""
        module, name, arguments, returns = description
        return cls(getattr(importlib.import_module(module), name), arguments, returns)


def pointer(function: Callable[..., Any], returns: str, *arguments: Any) -> Callable[..., Any]:
    """The function for arguments of these types, to be passed to kernels once its ``piece`` is compiled.

    A kernel that calls another contains a copy of it, compiled again with it; one that is handed a pointer does not.
    The large pieces of a sweep are therefore compiled once each.
    """
    if not JIT:
        return plain(function)
    return cast(
        "Callable[..., Any]", Piece.of(function, *arguments)._replace(returns=getattr(numba.types, returns)).code
    )
