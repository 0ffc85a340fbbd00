"""Named tuples that compiled code hands over by their address, and functions handed over by theirs.

numba takes a named tuple apart at every call: a chain's state is hundreds of numbers, each of which is an argument, is
put in its place again by what is called, and is worked on by every pass of LLVM. A record lies in memory where it was
handed to compiled code from Python; what is called is given its address, and reads the fields that it uses.
"""

import functools
import hashlib
from functools import cached_property
from typing import Any, TypeVar

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.ccallback import CFunc
from numba.core.compiler_lock import global_compiler_lock
from numba.core.datamodel.models import DataModel, OpaqueModel
from numba.core.imputils import lower_builtin, lower_getattr_generic
from numba.core.typing import signature
from numba.core.typing.typeof import typeof, typeof_impl
from numba.extending import NativeValue, intrinsic, register_model, unbox

C = TypeVar("C", bound=type)

_WORD = ir.IntType(64)
_READ_ONLY = {"noalias", "nocapture", "captures(none)"} & set(ir.values.ArgumentAttributes._known)
"""What LLVM is to know of addresses of records, in the words of its version: no store to an array changes what is
there, and none is kept."""


def _digest(name: str) -> str:
    """What stands for a name: numba's of a tuple are pages long, and part of the name of each function it goes to."""
    return hashlib.sha256(name.encode()).hexdigest()[:16]


class Record(types.NamedTuple):  # type: ignore[misc]
    """The type of a record; its fields' types are those that numba gives them."""

    def __init__(self, kinds: tuple[Any, ...], cls: type) -> None:
        super().__init__(kinds, cls)
        self.name: str = f"record_{cls.__name__}_{_digest(f'{cls.__module__} {self.name}')}"

    @property
    def key(self) -> str:
        """What makes two such types the same; compared at every call from Python."""
        return self.name


_record_type = functools.cache(Record)


def by_address(kind: C) -> C:
    """Make records of the named tuples of a class. Compiled code makes none but by :func:`kept`."""

    def type_of(value: Any, context: Any) -> Record:
        return _record_type(tuple(typeof(field, context.purpose) for field in value), kind)

    typeof_impl.register(kind)(type_of)
    return kind


@register_model(Record)
class RecordModel(DataModel):  # type: ignore[misc]
    """An address, at which fields lie one behind another; a record in a record has its own fields there."""

    def __init__(self, manager: Any, kind: Record) -> None:
        super().__init__(manager, kind)
        self.models = [manager.lookup(field) for field in kind.types]

    def get_value_type(self) -> Any:
        """An address."""
        return ir.ArrayType(_WORD, self.places[-1]).as_pointer()

    @cached_property
    def places(self) -> list[int]:
        """Where each field begins, in words, and behind them the size of all."""
        places = [0]
        for model in self.models:
            size = model.places[-1] if isinstance(model, RecordModel) else _words(model.get_value_type())
            places.append(places[-1] + size)
        return places

    def as_argument(self, builder: Any, value: Any) -> Any:
        """Itself."""
        return value

    from_argument = as_data = from_data = as_argument

    def inner_models(self) -> list[Any]:
        """Those of the fields."""
        return self.models

    def traverse(self, builder: Any) -> list[Any]:
        """The fields, and how to read them: numba counts references also where a variable has no record yet."""

        def read(value: Any, place: int) -> Any:
            nothing = cgutils.global_constant(builder, "no_record", ir.Constant(value.type.pointee, None))
            return self.read(builder, builder.select(cgutils.is_null(builder, value), nothing, value), place)

        return [(kind, functools.partial(read, place=place)) for place, kind in enumerate(self.fe_type.types)]

    def _address(self, builder: Any, value: Any, place: int) -> Any:
        return builder.gep(value, [_WORD(0), _WORD(self.places[place])], inbounds=True)

    def read(self, builder: Any, value: Any, place: int) -> Any:
        """A field."""
        address, model = self._address(builder, value, place), self.models[place]
        if isinstance(model, RecordModel):
            return builder.bitcast(address, model.get_value_type())
        return builder.load(builder.bitcast(address, model.get_value_type().as_pointer()))

    def write(self, builder: Any, value: Any, place: int, field: Any) -> None:
        """Overwrite a field."""
        address, model = self._address(builder, value, place), self.models[place]
        if isinstance(model, RecordModel):
            address = builder.bitcast(address, model.get_value_type())
            for inner in range(len(model.models)):
                model.write(builder, address, inner, model.read(builder, field, inner))
        else:
            builder.store(field, builder.bitcast(address, model.get_value_type().as_pointer()))

    def room(self, builder: Any) -> Any:
        """Memory for one, until the function returns."""
        with builder.goto_entry_block():
            return builder.alloca(self.get_value_type().pointee)


def declare_records(module: Any) -> None:
    """Tell LLVM of all functions that are handed records that these are only read: stores to arrays leave them be."""
    for function in module.functions:
        for argument in function.args:
            kind = getattr(argument.type, "pointee", None)
            if isinstance(kind, ir.ArrayType) and kind.element == _WORD:
                for attribute in _READ_ONLY:
                    argument.add_attribute(attribute)
                argument.attributes.dereferenceable = 8 * kind.count


def _words(kind: Any) -> int:
    """Room for a value of LLVM's type, in words of eight bytes, of which no number has more than one."""
    if isinstance(kind, ir.BaseStructType):
        return sum(map(_words, kind.elements))
    return kind.count * _words(kind.element) if isinstance(kind, ir.ArrayType) else 1


@lower_getattr_generic(Record)
def _field(context: Any, builder: Any, kind: Any, value: Any, name: str) -> Any:
    field = context.data_model_manager[kind].read(builder, value, kind.fields.index(name))
    if context.enable_nrt:
        context.nrt.incref(builder, kind[kind.fields.index(name)], field)
    return field


@unbox(Record)
def _from_python(kind: Any, value: Any, c: Any) -> NativeValue:
    model = c.context.data_model_manager[kind]
    room, cleanups = model.room(c.builder), []
    failed = cgutils.alloca_once_value(c.builder, cgutils.false_bit)
    for place, field_kind in enumerate(kind.types):
        field = c.unbox(field_kind, c.pyapi.tuple_getitem(value, place))
        model.write(c.builder, room, place, field.value)
        with c.builder.if_then(field.is_error, likely=False):
            c.builder.store(cgutils.true_bit, failed)
        if field.cleanup is not None:
            cleanups.append(field.cleanup)

    def cleanup() -> None:
        for one in reversed(cleanups):
            one()

    return NativeValue(room, cleanup=cleanup if cleanups else None, is_error=c.builder.load(failed))


def _kept(value: Any) -> Any:
    """A named tuple that compiled code has made, as a record; once for each call of what calls this."""
    return value


if not numba.config.DISABLE_JIT:

    @intrinsic
    def kept(context: Any, value: Any) -> Any:
        to = Record(tuple(value), value.instance_class)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            model = context.data_model_manager[to]
            room = model.room(builder)
            for place in range(len(to)):
                model.write(builder, room, place, builder.extract_value(arguments[0], place))
            if context.enable_nrt:
                context.nrt.incref(builder, to, room)
            return room

        return to(value), generate

    kept.__doc__ = _kept.__doc__
else:
    kept = _kept


class Pointer(CFunc):
    """Compiled code of a function for some types of arguments, which other compiled code calls by its address."""

    _sig: Any
    _compiler: Any
    _compile_uncached: Any
    _cache: Any
    _cache_hits: int
    _targetdescr: Any

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        customize = self._compiler._customize_flags

        def customized(flags: Any) -> Any:
            customize(flags)
            flags.no_cfunc_wrapper, flags.no_compile = True, False
            return flags

        self._compiler._customize_flags = customized
        self.kind = Address(self._sig)

    @global_compiler_lock
    def compile(self) -> None:
        """Load it from the cache, or compile it."""
        context = self._targetdescr.target_context
        code = self._cache.load_overload(self._sig, context)
        if code is None:
            code = self._compile_uncached()
            self._cache.save_overload(self._sig, code)
        else:
            self._cache_hits += 1
        self._library = code.library
        self._wrapper_address = self._library.get_pointer_to_function(code.fndesc.llvm_func_name)


class Address(types.Callable):  # type: ignore[misc]
    """The type of pointers to functions of a signature."""

    def __init__(self, signature: Any) -> None:
        self.signature = signature
        super().__init__(f"address_{_digest(str(signature))}")

    @property
    def key(self) -> str:
        """What makes two such types the same."""
        return str(self.name)

    def get_call_type(self, context: Any, args: Any, kws: Any) -> Any:
        """The signature, with the pointer before the arguments."""
        own = self.signature
        if kws or len(args) != len(own.args):
            return None
        if any(context.can_convert(types.unliteral(a), b) is None for a, b in zip(args, own.args, strict=True)):
            return None
        return signature(own.return_type, *own.args, recvr=self)

    def get_call_signatures(self) -> Any:
        """It has one."""
        return [self.signature], False

    def get_impl_key(self, sig: Any) -> Any:
        """All are called by :func:`_call`."""
        return type(self)


register_model(Address)(OpaqueModel)


@typeof_impl.register(Pointer)
def _address_of(value: Any, context: Any) -> Address:
    return value.kind


@unbox(Address)
def _address_from_python(kind: Any, value: Any, c: Any) -> NativeValue:
    number = c.pyapi.object_getattr_string(value, "address")
    address = c.pyapi.long_as_voidptr(number)
    c.pyapi.decref(number)
    return NativeValue(address, is_error=cgutils.is_null(c.builder, address))


@lower_builtin(Address, types.VarArg(types.Any))
def _call(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    convention = context.call_conv
    kind = convention.get_function_type(sig.return_type, sig.args[1:])
    function = builder.bitcast(args[0], kind.as_pointer())
    status, result = convention.call_function(builder, function, sig.return_type, sig.args[1:], args[1:])
    with cgutils.if_unlikely(builder, status.is_error):
        convention.return_status_propagate(builder, status)
    return result
