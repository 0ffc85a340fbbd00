"""Every compiler option of the package, in one place. Nothing outside ``kernels/`` imports numba."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

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


def kernel(function: F) -> F:
    """Compile on first call, keep the result on disk, release the GIL while running.

    Without numba's runtime: a kernel allocates nothing, and its views of arrays are not counted. (Counting them, by
    atomic instructions, took half the time of a sweep of few rows.)
    """
    compiled: F = numba.njit(function, cache=_CACHE, no_cfunc_wrapper=True, _nrt=False, **_OPTIONS)
    return compiled


def allocating_kernel(function: F) -> F:
    """A kernel that makes arrays."""
    compiled: F = numba.njit(function, cache=_CACHE, no_cfunc_wrapper=True, **_OPTIONS)
    return compiled


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
        _pointers[key] = numba.cfunc(signature, cache=_CACHE, _nrt=False, **_OPTIONS)(plain)
    return cast("Callable[..., Any]", _pointers[key])
