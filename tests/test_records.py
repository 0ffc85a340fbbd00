"""Named tuples that go to compiled code by their address, and functions that go by theirs."""

import gc
import weakref
from typing import Any, NamedTuple

import numba
import numpy as np
import pytest
from harness import JIT

from gibbs_gmm.kernels._jit import allocating_kernel, kernel, pointer
from gibbs_gmm.kernels._records import Record, by_address, kept
from gibbs_gmm.kernels.types import FloatArray, IntArray

pytestmark = pytest.mark.skipif(not JIT, reason="nothing is compiled")


@by_address
class Inner(NamedTuple):
    """Fields of several sizes."""

    on: bool
    x: FloatArray
    small: Any
    n: int


@by_address
class Outer(NamedTuple):
    """A record in a record, behind something else."""

    first: float
    inner: Inner
    last: IntArray


class Plain(NamedTuple):
    """Not by address."""

    x: FloatArray
    n: int


@by_address
class Made(NamedTuple):
    """What compiled code makes."""

    x: FloatArray
    y: FloatArray


def outer() -> Outer:
    return Outer(2.5, Inner(True, np.arange(6.0)[::2], np.float32(0.5), 7), np.array([3, 4]))


@kernel
def add_up(inner: Inner) -> float:
    return float(inner.x[2] + inner.small + inner.n + (100.0 if inner.on else 0.0))


@kernel
def read(given: Outer) -> float:
    return given.first + add_up(given.inner) + given.last[1]


@kernel
def overwrite(given: Outer, times: int) -> float:
    """A store to an array of a record is seen by what reads it next."""
    total = 0.0
    for i in range(times):
        given.inner.x[1] = total + i
        total += given.inner.x[1]
    return total


@kernel
def call(function: Any, given: Outer) -> float:
    return float(function(given))


@allocating_kernel
def _make(n: int) -> Made:
    return Made(np.full(n, 1.0), np.full(n, 2.0))


@kernel
def _sum(made: Made) -> float:
    total = 0.0
    for i in range(made.x.shape[0]):
        total += made.x[i] + made.y[i]
    return total


@allocating_kernel
def make(n: int, times: int) -> float:
    """Arrays of a record live as long as it does, also where it is used in several blocks and in a loop."""
    made, total = kept(_make(n)), 0.0
    for _ in range(times):
        other = np.full(n, 5.0)  # where arrays that were let go would be
        total += _sum(made) + 0.0 * other[0]
        if total > 1e9:
            return -1.0
    return total


def test_fields_are_read_where_they_lie() -> None:
    assert read(outer()) == 2.5 + 4.0 + 0.5 + 7 + 100.0 + 4


def test_arrays_are_the_callers() -> None:
    given = outer()
    assert overwrite(given, 4) == 0 + 1 + (1 + 2) + (4 + 3)
    assert given.inner.x.tolist() == [0.0, 7.0, 4.0]


def test_what_compiled_code_makes_is_kept_while_it_is_used() -> None:
    assert make(1000, 50) == 50 * 3000.0


def test_arrays_are_let_go_after_a_call() -> None:
    given = outer()
    array = weakref.ref(given.last)
    read(given)
    del given
    gc.collect()
    assert array() is None


def test_functions_are_called_by_their_address() -> None:
    own = pointer(read, "float64", outer())
    own.piece.compile()  # type: ignore[attr-defined]
    assert call(own, outer()) == read(outer())
    with pytest.raises(numba.TypingError):
        call(own, Plain(np.zeros(1), 1))


def test_types_are_told_apart_by_short_names() -> None:
    kind, other = numba.typeof(outer()), numba.typeof(outer()._replace(last=np.zeros(2)))
    assert isinstance(kind, Record)
    assert kind == numba.typeof(outer())
    assert kind != other
    assert len(str(kind)) < 40
    assert not isinstance(numba.typeof(Plain(np.zeros(1), 1)), Record)
