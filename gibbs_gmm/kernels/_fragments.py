"""Kernels as compiled code sees them: to be copied into the code that calls them, and never to be run by themselves.

numba makes machine code, and a function that Python can call, of every kernel that another calls, and optimises it once
more for each level at which it is called. Of a kernel that is only copied none of this is used; it took half the time
of compiling. What is copied is therefore compiled to LLVM's intermediate code and no further.
"""

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from llvmlite.binding import parse_bitcode
from numba import types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler, CompileResult
from numba.core.registry import CPUDispatcher

from gibbs_gmm.kernels._cache import KernelCache, KernelCacheImpl
from gibbs_gmm.kernels._cache_file import OPTIONS
from gibbs_gmm.kernels._records import declare_records


class _Records(JITCodeLibrary):  # type: ignore[misc]
    """A library of functions that are handed records."""

    def add_ir_module(self, ir_module: Any) -> None:
        """See :func:`declare_records`."""
        declare_records(ir_module)
        super().add_ir_module(ir_module)


class _Library(_Records):
    """Machine code, which is optimised as a whole and not one function at a time before."""

    def _optimize_functions(self, module: Any) -> None:
        module.data_layout = self._codegen._data_layout


class FragmentLibrary(_Records):
    """Intermediate code that is linked into other code."""

    def _optimize_final_module(self) -> None:
        """By what it is linked into, as a whole, but for loops over tiles: they are vectorised as they are here."""
        if self.alone:
            super()._optimize_final_module()

    def _finalize_final_module(self) -> None:
        """No machine code is made."""
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        """There is none."""
        self._ensure_finalized()
        return 0

    @property
    def codegen(self) -> Any:
        """Itself, for :meth:`set_env`."""
        return self

    def set_env(self, name: str, env: Any) -> None:
        """No machine code reads it."""

    def serialize_using_object_code(self) -> tuple[str, bytes]:
        """Its name and bitcode."""
        return self._name, self._get_module_for_linking().as_bitcode()


class WholeCompiler(Compiler):  # type: ignore[misc]
    """Compiles what is run."""

    def _compile_core(self) -> CompileResult:
        state = self.state
        state.library = _Library(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        return super()._compile_core()


class _FragmentCompiler(Compiler):  # type: ignore[misc]
    """Compiles into a :class:`FragmentLibrary`."""

    def _compile_core(self) -> CompileResult:
        state = self.state
        state.library = FragmentLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.alone = "wide_vectors" in state.func_id.code.co_names
        return super()._compile_core()


class _Context:
    """What :class:`CompileResult` asks of a target to be rebuilt."""

    def __init__(self, target: Any) -> None:
        self._target, self.typing_context, self.get_executable = target, target.typing_context, target.get_executable

    def codegen(self) -> Any:
        """For :meth:`unserialize_library`."""
        return self

    def unserialize_library(self, data: tuple[str, bytes]) -> FragmentLibrary:
        """The library whose name and bitcode these are."""
        name, bitcode = data
        library = FragmentLibrary(self._target.codegen(), name)
        library._final_module = parse_bitcode(bitcode)
        library._finalize_final_module()
        return library


class FragmentCacheImpl(KernelCacheImpl):
    """How fragments are kept on disk."""

    def rebuild(self, target_context: Any, payload: Any) -> CompileResult:
        """From what was kept."""
        return CompileResult._rebuild(_Context(target_context), *payload)


class _FragmentCache(KernelCache):
    """The cache of what is copied into other code."""

    _impl_class, _suffix = FragmentCacheImpl, "-copied"


_TARGET = {"nopython": True, "boundscheck": None, "no_cfunc_wrapper": True, **OPTIONS}


class Fragment(CPUDispatcher):  # type: ignore[misc]
    """A function that compiled code calls; of literal arguments the type is all that matters."""

    def __init__(self, function: Callable[..., Any], nrt: bool) -> None:
        options = {**_TARGET, "_nrt": nrt, "no_cpython_wrapper": True}
        super().__init__(function, targetoptions=options, pipeline_class=_FragmentCompiler)
        self._cache = _FragmentCache(function)

    def get_call_template(self, args: Any, kws: Any) -> Any:
        """As numba's, with the types of literals for literals: a kernel would be compiled again for each."""
        return super().get_call_template(
            tuple(types.unliteral(argument) for argument in args),
            {name: types.unliteral(argument) for name, argument in kws.items()},
        )


fragment_of = functools.cache(Fragment)
"""The function as compiled code sees it."""


class Kernel(CPUDispatcher):  # type: ignore[misc]
    """A function that Python calls; compiled code that calls it has a copy of its fragment."""

    def __init__(self, function: Callable[..., Any], nrt: bool) -> None:
        super().__init__(function, targetoptions={**_TARGET, "_nrt": nrt}, pipeline_class=WholeCompiler)
        self._nrt = nrt
        del self._cache  # for the one below

    @functools.cached_property
    def _cache(self) -> KernelCache:
        """Made when it is needed: most kernels are never called from Python."""
        return KernelCache(self.py_func)

    @property
    def _numba_type_(self) -> Any:
        return types.Dispatcher(fragment_of(self.py_func, self._nrt))


class Called(ABC):
    """A function of which compiled code that calls it has a copy of a fragment, by the types of the arguments.

    It stands where numba has a dispatcher.
    """

    is_compiling = False

    @abstractmethod
    def fragment(self, types: Any) -> Fragment:
        """The one for arguments of these types."""

    @property
    def _numba_type_(self) -> Any:
        return types.Dispatcher(self)

    def get_call_template(self, arguments: Any, keywords: Any) -> Any:
        """See :meth:`Fragment.get_call_template`."""
        return self.fragment(arguments).get_call_template(arguments, keywords)

    def get_overload(self, arguments: Any) -> Any:
        """The code for arguments of these types."""
        return self.fragment(arguments).get_overload(arguments)
