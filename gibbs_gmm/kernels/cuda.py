"""The passes over the rows on a CUDA device: one block of threads for each run of consecutive rows.

The same formulas as the label pass of :mod:`gibbs_gmm.kernels.sampler.sweep` and the pair pass of
:mod:`gibbs_gmm.kernels.sampler.launch`, with the same uniforms. X lies column by column, so that neighbouring threads
read neighbouring numbers. Statistics are summed in an order that the number of rows alone decides: a block sorts the
labels of a tile, one thread sums one entry over the rows in that order, and blocks are added in theirs. No two threads
write to one place, so a run gives the same bytes each time.
"""

import functools
import math
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import cuda, float64, int32, uint64

from gibbs_gmm.kernels.families.full_pass import Components
from gibbs_gmm.kernels.families.generic import padded
from gibbs_gmm.kernels.sampler.launch import DRAW, EVALUATE, NEAREST, WRITE
from gibbs_gmm.kernels.types import AnyArray, FloatArray

LABELS, SLICED, PAIR = 0, 1, 2
"""What :class:`Kernels`.assign draws: labels; labels of a process, by slices; sides of the members of two clusters."""

MOST_BLOCKS = 1056
"""Blocks of a pass: eight for each multiprocessor of the largest devices, and the same number on all of them."""

_LEAST = -60.0  # log2 of a share of the largest weight that is not added: it cannot change a double
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_30, _27, _31, _SHIFT = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(12)
_1, _2, _3, _4, _5, _6, _7, _8, _9, _10, _11, _12, _13, _14, _15 = (np.uint64(i) for i in range(1, 16))


def is_available() -> bool:
    """Whether there is a CUDA device that can be used, or one is simulated."""
    try:
        return bool(cuda.is_available())
    except Exception:  # whatever a driver that is there in part raises
        return False


class Layout(NamedTuple):
    """Where a family's components and statistics lie in the numbers that travel.

    widths: numbers of each component that its density takes, before c (width,), log_c, weight and centre (D,). entries:
    numbers of statistics, the count first.
    """

    D: int
    diagonal: bool

    @property
    def width(self) -> int:
        """Columns, to a multiple of four where W goes in blocks of four rows."""
        return self.D if self.diagonal else -(-self.D // 4) * 4

    @property
    def matrix(self) -> int:
        """Numbers of a component's W, or of its widths."""
        return self.D if self.diagonal else self.width * (self.width + 1) // 2

    @property
    def room(self) -> int:
        """Numbers of a component."""
        return self.matrix + self.width + 2 + self.D

    @property
    def entries(self) -> int:
        """Numbers of a cluster's statistics: its count, sums and squares, or products."""
        return 1 + 2 * self.D if self.diagonal else 1 + self.D + self.D * (self.D + 1) // 2

    def pack(self, components: Any, weight: FloatArray, K: int) -> FloatArray:
        """The first K components as the kernels read them, (K, room)."""
        D, width, out = self.D, self.width, np.zeros((K, self.room))
        if self.diagonal:
            out[:, :D] = components.a[:K]
        else:
            W = np.zeros((K, width, width))
            W[:, :D, :D] = components.W[:K]
            out[:, : self.matrix] = W.reshape(K, -1)[:, _blocked(width)]
        at = self.matrix
        out[:, at : at + D] = components.c[:K]
        out[:, at + width] = components.log_c[:K]
        out[:, at + width + 1] = weight[:K]
        out[:, at + width + 2 :] = components.centre[:K, :D]
        return out

    def unpack(self, sums: FloatArray, n: FloatArray, block: FloatArray) -> None:
        """Statistics (K, entries) into counts (K,) and blocks (K, B) as the family holds them."""
        D, P, K = self.D, padded(self.D), len(sums)
        n[:K] = sums[:, 0]
        block[:K, :D] = sums[:, 1 : 1 + D]
        if self.diagonal:
            block[:K, P : P + D] = sums[:, 1 + D :]
        else:
            i, j = np.tril_indices(D)
            block[:K, P + i * P + j] = sums[:, 1 + D :]


def layout_of(components: Any, D: int) -> Layout:
    """The layout of a family with these components."""
    return Layout(D, not isinstance(components, Components))


@functools.cache
def _blocked(width: int) -> AnyArray:
    """Places in a matrix (width, width) of the numbers of its lower triangle, as the kernel wants them.

    Of four rows at a time, the columns before them, four numbers each, then the triangle on the diagonal.
    """
    places = []
    for i in range(0, width, 4):
        places += [(i + a) * width + j for j in range(i) for a in range(4)]
        places += [(i + a) * width + i + b for a in range(4) for b in range(a + 1)]
    return np.array(places)


class Kernels(NamedTuple):
    """Compiled for a layout, a type of X and the shape of a block.

    A block works on a tile of so many rows as it has threads. groups: parts of a tile whose statistics are added apart,
    where there are threads for it. transpose[...](rows (n, D), loc, X (D N,), N, first): put rows into X by columns.
    assign: see :func:`kernels`. add[...](parts (P, E), sums (E,)): add the parts in their order.
    """

    threads: int
    groups: int
    transpose: Any
    assign: Any
    add: Any


class LabelKernels(NamedTuple):
    """What is done to labels alone: relabel(z, place), rename(z, was, now), write(z, rows, labels), least(z, w, key,
    out (blocks,)), count(z, a, b, chunk, out), find(z, a, b, chunk, starts, rows, side)."""

    relabel: Any
    rename: Any
    write: Any
    least: Any
    count: Any
    find: Any


@cuda.jit(device=True)
def _uniform(key: Any, i: Any) -> Any:
    """:func:`gibbs_gmm.kernels.random.uniform`."""
    h = uint64(key) + uint64(i) * _GOLDEN
    h = (h ^ (h >> _30)) * _MIX_1
    h = (h ^ (h >> _27)) * _MIX_2
    h = h ^ (h >> _31)
    return float64(h >> _SHIFT) * 2.0**-52 + 2.0**-53


def _reader(single: bool) -> Any:
    """A function that reads a number of X about loc: the copy on the device is about it already, but in float32."""
    if single:

        @cuda.jit(device=True)
        def read(X: Any, loc: Any, at: Any, d: Any) -> Any:
            return float64(X[at]) - loc[d]
    else:

        @cuda.jit(device=True)
        def read(X: Any, loc: Any, at: Any, d: Any) -> Any:
            return X[at]

    return read


@cuda.jit(device=True)
def _four(P: Any, p: Any, y0: Any, y1: Any, y2: Any, y3: Any, x0: Any, x1: Any, x2: Any, x3: Any) -> Any:
    """Four rows of W times four numbers, added to y."""
    y0 += P[p] * x0 + P[p + _4] * x1 + P[p + _8] * x2 + P[p + _12] * x3
    y1 += P[p + _1] * x0 + P[p + _5] * x1 + P[p + _9] * x2 + P[p + _13] * x3
    y2 += P[p + _2] * x0 + P[p + _6] * x1 + P[p + _10] * x2 + P[p + _14] * x3
    y3 += P[p + _3] * x0 + P[p + _7] * x1 + P[p + _11] * x2 + P[p + _15] * x3
    return y0, y1, y2, y3


@cuda.jit(device=True)
def _square(P: Any, p: Any, y0: Any, y1: Any, y2: Any, y3: Any, x0: Any, x1: Any, x2: Any, x3: Any) -> Any:
    """The sum of squares of y plus the triangle of W on the diagonal times four numbers."""
    y0 += P[p] * x0
    y1 += P[p + _1] * x0 + P[p + _2] * x1
    y2 += P[p + _3] * x0 + P[p + _4] * x1 + P[p + _5] * x2
    y3 += P[p + _6] * x0 + P[p + _7] * x1 + P[p + _8] * x2 + P[p + _9] * x3
    return y0 * y0 + y1 * y1 + y2 * y2 + y3 * y3


def _density(layout: Layout, read: Any) -> tuple[Any, Any]:
    """load(x, X, loc, N, row) puts a row into x (width,), and log_weight(P, at, x) is its log2 density times weight.

    They are written out, number by number, for the layout: a row then stays in registers.
    """
    D, width, matrix = layout.D, layout.width, layout.matrix
    load = ["def load(x, X, loc, N, row):"]
    load += [f"    x[{d}] = read(X, loc, uint64({d}) * N + row, {d})" for d in range(D)]
    load += [f"    x[{d}] = 0.0" for d in range(D, width)]
    lines = ["def log_weight(P, at, x):", "    q = 0.0"]
    if layout.diagonal:
        for d in range(D):
            lines += [f"    y = P[at + uint64({d})] * x[{d}] + P[at + uint64({matrix + d})]", "    q += y * y"]
        lines += [f"    return P[at + uint64({matrix + width})] - q"]
    else:
        p = 0
        for i in range(0, width, 4):
            c = ", ".join(f"P[at + uint64({matrix + i + a})]" for a in range(4))
            lines += [f"    y0, y1, y2, y3 = {c}"]
            for j in range(0, i + 4, 4):
                arguments = f"P, at + uint64({p}), y0, y1, y2, y3, x[{j}], x[{j + 1}], x[{j + 2}], x[{j + 3}]"
                lines += [f"    y0, y1, y2, y3 = four({arguments})" if j < i else f"    q += square({arguments})"]
                p += 16 if j < i else 10
        lines += [f"    return P[at + uint64({matrix + width})] - 0.5 * q"]
    scope = {"read": read, "four": _four, "square": _square, "uint64": uint64}
    exec("\n".join([*load, *lines]), scope)
    return cuda.jit(device=True)(scope["load"]), cuda.jit(device=True)(scope["log_weight"])


@functools.cache
def kernels(layout: Layout, single: bool, threads: int) -> Kernels:
    """Compiled kernels for blocks of so many threads, a power of two.

    assign[...](X, loc, N, z, task, K, key, key_1, rest, P, lw, parts, totals) draws labels of all rows, of those of two
    clusters for PAIR, and leaves statistics about the centres in parts (blocks groups, K entries), and in totals
    (blocks,) the log2 likelihood, or of PAIR the log2 probability of the sides. task (6,): what is drawn, then the task
    of :class:`gibbs_gmm.kernels.sampler.launch.Pair`. key: of the uniforms; key_1 and rest: of slices
    (:func:`gibbs_gmm.kernels.sampler.label_pass.apply_slice`). P (K room,): the components, packed. lw (blocks K
    threads,): room for weights.
    """
    D, room, E, width = layout.D, layout.room, layout.entries, layout.width
    diagonal, groups = layout.diagonal, max(1, threads // layout.entries)
    read = _reader(single)
    load, log_weight = _density(layout, read)
    weight_at = layout.matrix + width + 1
    centre_at = weight_at + 1

    @cuda.jit
    def transpose(rows: Any, loc: Any, X: Any, N: Any, first: Any) -> None:
        i = cuda.grid(1)
        if i < rows.shape[0]:
            for d in range(D):
                X[d * N + first + i] = rows[i, d] if single else rows[i, d] - loc[d]

    @cuda.jit
    def assign(
        X: Any, loc: Any, N: Any, z: Any, task: Any, K: Any, key: Any, key_1: Any, rest: Any, P: Any, lw: Any,
        parts: Any, totals: Any,
    ) -> None:  # fmt: skip
        label = cuda.shared.array(threads, int32)  # label * threads + row; the simulator knows an array by its line
        in_order = cuda.shared.array(threads, int32)  # the same, sorted
        by_thread = cuda.shared.array(threads, float64)
        x = cuda.local.array(width, float64)
        t, block = cuda.threadIdx.x, cuda.blockIdx.x
        what, mode, label_0, label_1, row_0, row_1 = task[0], task[1], task[2], task[3], task[4], task[5]
        tiles = (N + threads - 1) // threads
        first = block * tiles // cuda.gridDim.x * threads
        last = min(N, (block + 1) * tiles // cuda.gridDim.x * threads)
        mine = uint64(block) * uint64(K) * uint64(threads) + uint64(t)
        for g in range(groups):
            for e in range(t, K * E, threads):
                parts[block * groups + g, e] = 0.0
        total = 0.0
        for start in range(first, last, threads):
            row, drawn = start + t, K  # K: of no component
            if row < last and (what != PAIR or z[row] == label_0 or z[row] == label_1):
                load(x, X, loc, uint64(N), uint64(row))
                top, at = -1e300, mine
                for k in range(K):
                    value = log_weight(P, uint64(k) * uint64(room), x)
                    lw[at] = value
                    at += uint64(threads)
                    if value > top:
                        top = value
                if what == PAIR:
                    margin = lw[mine + uint64(threads)] - lw[mine]
                    odds = math.exp2(-abs(margin))
                    chance = (1.0 if margin >= 0.0 else odds) / (1.0 + odds)
                    if row == row_0:
                        drawn = 0
                    elif row == row_1:
                        drawn = 1
                    elif mode == NEAREST:
                        drawn = 1 if margin > 0.0 else 0
                    else:
                        if mode == EVALUATE:
                            drawn = 1 if z[row] == label_1 else 0
                        else:
                            drawn = 1 if _uniform(key, row) < chance else 0
                        if (drawn == 1) != (margin >= 0.0):
                            total -= abs(margin)
                        total -= math.log2(1.0 + odds)
                    if mode == WRITE:
                        z[row] = label_1 if drawn == 1 else label_0
                else:
                    highest, kept = top, False
                    if what == SLICED:
                        summed, at, highest, now = 0.0, mine, -1e300, int(z[row])
                        least = P[uint64(now) * uint64(room) + uint64(weight_at)] * _uniform(key_1, row)
                        kept = least <= rest
                        for k in range(K):
                            value = lw[at]
                            if value - top > _LEAST:
                                summed += math.exp2(value - top)
                            w = P[uint64(k) * uint64(room) + uint64(weight_at)]
                            value = value - math.log2(w) if w > least else -1e300
                            lw[at] = value
                            at += uint64(threads)
                            if value > highest:
                                highest = value
                        total += top + math.log2(summed)
                        drawn = now
                    if not kept:
                        summed, at = 0.0, mine
                        for _ in range(K):
                            value = lw[at] - highest
                            if value > _LEAST:
                                summed += math.exp2(value)
                            lw[at] = summed
                            at += uint64(threads)
                        if what != SLICED:
                            total += highest + math.log2(summed)
                        threshold = _uniform(key, row) * summed
                        drawn, at = 0, mine
                        for _ in range(K - 1):
                            if lw[at] < threshold:
                                drawn += 1
                            at += uint64(threads)
                        z[row] = drawn
            own = drawn * threads + t
            label[t] = own
            cuda.syncthreads()
            place = 0  # of the row when the tile is sorted by labels
            for i in range(threads):
                if label[i] < own:
                    place += 1
            in_order[place] = own
            cuda.syncthreads()
            for work in range(t, E * groups, threads):
                g = work // E
                e = work - g * E
                part, i, j = block * groups + g, 0, 0
                if e > D:
                    f = e - 1 - D
                    i, j = f, f
                    if not diagonal:
                        i = int((math.sqrt(8.0 * f + 1.0) - 1.0) * 0.5)
                        j = f - i * (i + 1) // 2
                elif e > 0:
                    i = e - 1
                acc, now, m_i, m_j = 0.0, -1, 0.0, 0.0
                at_i, at_j = uint64(i) * uint64(N) + uint64(start), uint64(j) * uint64(N) + uint64(start)
                for s in range(g * threads // groups, (g + 1) * threads // groups):
                    k = in_order[s] // threads
                    b = uint64(in_order[s] - k * threads)
                    if k != now:
                        if now >= 0:
                            parts[part, now * E + e] += acc
                        now, acc = k, 0.0
                        if k == K:
                            break
                        centre = uint64(k) * uint64(room) + uint64(centre_at)
                        m_i, m_j = P[centre + uint64(i)], P[centre + uint64(j)]
                    if e == 0:
                        acc += 1.0
                    elif e <= D:
                        acc += read(X, loc, at_i + b, i) - m_i
                    else:
                        acc += (read(X, loc, at_i + b, i) - m_i) * (read(X, loc, at_j + b, j) - m_j)
                if 0 <= now < K:
                    parts[part, now * E + e] += acc
            cuda.syncthreads()
        by_thread[t] = total
        cuda.syncthreads()
        if t == 0:
            total = 0.0
            for i in range(threads):
                total += by_thread[i]
            totals[block] = total

    @cuda.jit
    def add(parts: Any, sums: Any) -> None:
        e = cuda.grid(1)
        if e < sums.shape[0]:
            total = 0.0
            for part in range(parts.shape[0]):
                total += parts[part, e]
            sums[e] = total

    return Kernels(threads, groups, transpose, assign, add)


@functools.cache
def label_kernels() -> LabelKernels:
    """Compiled kernels that touch labels only; the grid is one-dimensional, and strides over the rows."""

    @cuda.jit
    def relabel(z: Any, place: Any) -> None:
        for i in range(cuda.grid(1), z.shape[0], cuda.gridsize(1)):
            z[i] = place[z[i]]

    @cuda.jit
    def rename(z: Any, was: Any, now: Any) -> None:
        for i in range(cuda.grid(1), z.shape[0], cuda.gridsize(1)):
            if z[i] == was:
                z[i] = now

    @cuda.jit
    def write(z: Any, rows: Any, labels: Any) -> None:
        for s in range(cuda.grid(1), rows.shape[0], cuda.gridsize(1)):
            z[rows[s]] = labels[s]

    @cuda.jit
    def least(z: Any, w: Any, key: Any, out: Any) -> None:
        g, result = cuda.grid(1), 1.0
        for i in range(g, z.shape[0], cuda.gridsize(1)):
            result = min(result, w[z[i]] * _uniform(key, i))
        out[g] = result

    @cuda.jit
    def count(z: Any, a: Any, b: Any, chunk: Any, out: Any) -> None:
        g, found = cuda.grid(1), 0
        for i in range(g * chunk, min(z.shape[0], (g + 1) * chunk)):
            if z[i] == a or z[i] == b:
                found += 1
        out[g] = found

    @cuda.jit
    def find(z: Any, a: Any, b: Any, chunk: Any, starts: Any, rows: Any, side: Any) -> None:
        g = cuda.grid(1)
        at = starts[g]
        for i in range(g * chunk, min(z.shape[0], (g + 1) * chunk)):
            if z[i] == a or z[i] == b:
                rows[at] = i
                side[at] = 0 if z[i] == a else 1
                at += 1

    return LabelKernels(relabel, rename, write, least, count, find)


def device_array(shape: Any, dtype: Any) -> Any:
    """Room on the device."""
    return cuda.device_array(shape, dtype)


def to_device(array: AnyArray) -> Any:
    """A copy on the device."""
    return cuda.to_device(np.ascontiguousarray(array))


def as_device_array(X: Any) -> Any:
    """An array that lies on the device already, as the kernels take it, by ``__cuda_array_interface__``."""
    return cuda.as_cuda_array(X)


SIMULATED = bool(numba.config.ENABLE_CUDASIM)
"""Whether kernels run as plain Python (NUMBA_ENABLE_CUDASIM=1)."""

__all__ = ["DRAW", "Kernels", "LabelKernels", "Layout", "device_array", "kernels", "label_kernels", "layout_of"]
