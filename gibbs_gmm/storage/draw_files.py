"""Draws on disk, larger than memory if need be: one ``.npy`` file for each array of a trace, read by memory map.

A file holds an array (chain, draw, ...) in C order, with room for every draw from the beginning: it is a sparse file
until they come. Behind the array, where readers of ``.npy`` files do not look, stands a checksum of each draw. A chain
of unknown n may need more component slots, or wider labels, than a file has room for: the file is then written anew,
wider, and takes the old one's place in one step.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gibbs_gmm.kernels.types import AnyArray
from gibbs_gmm.mapped_draws import let_go
from gibbs_gmm.storage.whole_files import replacing
from gibbs_gmm.trace_arrays import Field

if TYPE_CHECKING:
    from gibbs_gmm.sampler.recipe import Plan

_CHUNK_BYTES = 1 << 24
_MAX_HEADER = 10_000
_SALT = np.uint64(0x9E3779B97F4A7C15)  # without it an all-zero hole in the file would have the valid checksum 0


def write_all(descriptor: int, data: AnyArray | bytes, offset: int) -> None:
    """Write all bytes at this offset. It moves the descriptor: one thread at a time."""
    view = memoryview(data.data if isinstance(data, np.ndarray) else data).cast("B")
    os.lseek(descriptor, offset, os.SEEK_SET)
    while len(view) > 0:
        view = view[os.write(descriptor, view[: 1 << 30]) :]


def checksums(rows: AnyArray) -> AnyArray:
    """A 64-bit sum of the bytes of each row: any one flipped bit changes it, and it costs less than copying them."""
    flat = np.ascontiguousarray(rows).reshape(len(rows), -1).view(np.uint8)
    words = flat.shape[1] // 8 * 8
    result = flat[:, :words].view(np.uint64).sum(1, dtype=np.uint64) + flat[:, words:].sum(1, dtype=np.uint64)
    return np.asarray(result ^ _SALT)


class DrawFile:
    """One array of draws in a ``.npy`` file, open for reading or, with ``write=True``, for both."""

    def __init__(self, path: Path, write: bool = False) -> None:
        self.path = path
        with open(path, "rb") as file:
            if np.lib.format.read_magic(file) != (1, 0):
                raise ValueError(f"{path.name} is not of version 1.0 of the .npy format")
            try:
                shape, fortran, dtype = np.lib.format.read_array_header_1_0(file, _MAX_HEADER)
            except Exception as error:  # NumPy parses it as Python, and lets that parser's errors out
                raise ValueError(f"{path.name} has a damaged header: {error}") from error
            self._offset, size = file.tell(), os.fstat(file.fileno()).st_size
        if dtype.kind not in "fiu" or fortran or len(shape) < 2 or min(shape) < 1:
            raise ValueError(f"{path.name} holds no draws: its type is {dtype} and its shape {shape}")
        self.dtype, self.shape = dtype, tuple(int(n) for n in shape)
        C, T, *row = self.shape
        self._row = math.prod(row) * dtype.itemsize
        self._sums = self._offset + C * T * self._row
        if size != self._sums + 8 * C * T:  # before anything of this size is mapped or allocated
            raise ValueError(f"{path.name} has {size} bytes, and {self._sums + 8 * C * T} are wanted for {self.shape}")
        self.nbytes = size
        self._descriptor = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0)) if write else None

    @classmethod
    def create(cls, path: Path, dtype: Any, shape: tuple[int, ...]) -> DrawFile:
        """A new file of this type and shape, all holes."""
        with open(path, "wb") as file:
            _write_header(file, dtype, shape)
        return cls(path, write=True)

    def map(self) -> AnyArray:
        """The array, read-only and read when it is looked at."""
        return np.asarray(np.memmap(self.path, self.dtype, "r", self._offset, self.shape))

    def write(self, chain: int, first: int, rows: AnyArray) -> None:
        """Put these draws of a chain, from number ``first`` on, and their checksums where they belong."""
        assert self._descriptor is not None
        place = chain * self.shape[1] + first
        rows = np.ascontiguousarray(rows, self.dtype)
        write_all(self._descriptor, rows, self._offset + place * self._row)
        write_all(self._descriptor, checksums(rows), self._sums + 8 * place)

    def sync(self) -> None:
        """Flush to disk what was written."""
        if self._descriptor is not None:
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Give the descriptor back."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def whole(self, chain: int, draws: int) -> int:
        """How many of the first ``draws`` draws of a chain are as they were written, up to the first that is not."""
        T = self.shape[1]
        sums = np.memmap(self.path, np.uint64, "r", self._sums, (self.shape[0], T))[chain]
        array = self.map()[chain]
        for first, last in _chunks(draws, self._row):
            wrong = np.flatnonzero(checksums(array[first:last]) != sums[first:last])
            let_go(array)
            if len(wrong) > 0:
                return first + int(wrong[0])
        return draws

    def widened(self, field: Field, dtype: Any, shape: tuple[int, ...], written: list[int]) -> DrawFile:
        """The same draws in a file of this type and shape, which takes the place of this one."""
        with replacing(self.path) as descriptor:
            self._copy(descriptor, field, dtype, shape, written, slice(None))
            self.close()  # Windows replaces no file that is open
        return DrawFile(self.path, write=True)

    def thinned(self, path: Path, field: Field, draws: int, kept: int, first: int) -> None:
        """Write a file for ``draws`` draws; it begins with ``kept``, every second of these behind the ``first``."""
        shape = (self.shape[0], draws, *self.shape[2:])
        with replacing(path) as descriptor:
            self._copy(descriptor, field, self.dtype, shape, [kept] * shape[0], slice(first + 1, None, 2))

    def _copy(
        self, descriptor: int, field: Field, dtype: Any, shape: tuple[int, ...], written: list[int], chosen: slice
    ) -> None:
        """Write a file of this type and shape, with the ``chosen`` draws; no map of this one is left behind."""
        with os.fdopen(os.dup(descriptor), "wb") as file:
            offset = _write_header(file, dtype, shape)
        old, T, row = self.map()[:, chosen], shape[1], math.prod(shape[2:]) * np.dtype(dtype).itemsize
        for chain, draws in enumerate(written):
            for first, last in _chunks(draws, row):
                rows = old[chain, first:last].astype(dtype, copy=False)
                rows = np.ascontiguousarray(field.with_slots(rows, shape[2]) if field.per_slot else rows)
                place = chain * T + first
                write_all(descriptor, rows, offset + place * row)
                write_all(descriptor, checksums(rows), offset + shape[0] * T * row + 8 * place)
                let_go(old)


def _write_header(file: Any, dtype: Any, shape: tuple[int, ...]) -> int:
    """The head of a file, and its full length as a hole; returns where the array begins."""
    dtype = np.dtype(dtype)
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    offset = int(file.tell())
    file.truncate(offset + math.prod(shape) * dtype.itemsize + 8 * shape[0] * shape[1])
    return offset


def _chunks(draws: int, row: int) -> Iterator[tuple[int, int]]:
    """Consecutive ranges of draws of a few MB each."""
    step = max(1, _CHUNK_BYTES // max(1, row))
    for first in range(0, draws, step):
        yield first, min(first + step, draws)


def draw_path(folder: Path, name: str, plan: Plan) -> Path:
    """The file of an array of draws: of a run that goes on until it is done, with the sweeps per draw in its name."""
    return folder / (f"{name}.npy" if plan.max_sweeps is None else f"{name}.{plan.thin}.npy")


class DrawFiles:
    """The files of a run, open for writing; ``written`` says how many draws of each chain they hold.

    ``rows`` are the type and shape of a draw in each of the fields.
    """

    def __init__(
        self,
        folder: Path,
        fields: Iterable[Field],
        rows: Mapping[str, tuple[Any, tuple[int, ...]]],
        plan: Plan,
        written: list[int],
    ) -> None:
        self._folder, self._draws, self.written = folder, plan.draws, written
        self._fields = {field.name: field for field in fields}
        self._files: dict[str, DrawFile] = {}
        for name, field in self._fields.items():
            path, (dtype, row) = draw_path(folder, name, plan), rows[name]
            if path.exists() and any(written):
                self._files[name] = DrawFile(path, write=True)
                self._fit(name, dtype, row[0] if field.per_slot else 0)
            else:
                self._files[name] = DrawFile.create(path, dtype, (len(written), plan.draws, *row))

    def map(self, name: str) -> AnyArray:
        """The array of this name, with room for draws that are not there yet."""
        return self._files[name].map()

    def thin(self, plan: Plan, first: int) -> None:
        """Write the files of a longer plan, which begin with every second draw behind the ``first``."""
        kept = (min(self.written) - first) // 2
        for name, field in self._fields.items():
            self._files[name].thinned(draw_path(self._folder, name, plan), field, plan.draws, kept, first)

    def follow(self, plan: Plan, first: int) -> None:
        """Go on in the files of a longer plan, and remove these."""
        self._draws, self.written = plan.draws, [(count - first) // 2 for count in self.written]
        for name, file in self._files.items():
            file.close()
            self._files[name] = DrawFile(draw_path(self._folder, name, plan), write=True)
            with contextlib.suppress(PermissionError):  # Windows removes no file that is mapped
                file.path.unlink()

    def write(self, chain: int, rows: Mapping[str, AnyArray], used: int) -> None:
        """Append draws of a chain, in which ``used`` component slots are in use."""
        first, count = self.written[chain], len(next(iter(rows.values())))
        for name, field in self._fields.items() if count > 0 else ():
            array = rows[name]
            self._fit(name, array.dtype, used if field.per_slot else 0)
            file = self._files[name]
            file.write(chain, first, field.with_slots(array, file.shape[2]) if field.per_slot else array)
        self.written[chain] += count

    def _fit(self, name: str, dtype: Any, slots: int) -> None:
        """Give a file room for as many draws and slots, and values of as wide a type, as are wanted."""
        file = self._files[name]
        row = list(file.shape[2:])
        if slots > (row[0] if row else 0):
            row[0] = max(slots, 2 * row[0])
        wider = np.promote_types(file.dtype, dtype)
        if wider != file.dtype or file.shape[1] < self._draws or tuple(row) != file.shape[2:]:
            shape = (file.shape[0], max(self._draws, file.shape[1]), *row)
            self._files[name] = file.widened(self._fields[name], wider, shape, self.written)

    def sync(self) -> None:
        """Flush all files to disk."""
        for file in self._files.values():
            file.sync()

    def close(self) -> None:
        """Close all files."""
        for file in self._files.values():
            file.close()


def described(error: OSError, folder: Path) -> OSError:
    """The error of a write into a run's folder, with what it means for the run."""
    reason = error.strerror or str(error)
    message = (
        f"the run folder could not be written ({reason}): what it holds is whole, and resume() carries on from there"
    )
    return type(error)(error.errno or errno.EIO, message, os.fspath(folder))
