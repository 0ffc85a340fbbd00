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
_30, _27, _31, _12 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(12)
_1, _2, _3, _4, _5, _6, _7, _8, _9, _10 = (np.uint64(i) for i in range(1, 11))


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

    tile: rows that a block works on at a time. groups: parts of a tile that are added apart, where there are threads. transpose[...](rows (n, D), X (D N,), N, first): put rows into X by
    columns. assign: see :func:`kernels`. add[...](parts (blocks, E), sums (E,)): add the blocks in their order.
    """

    threads: int
    tile: int
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
    return float64(h >> _12) * 2.0**-52 + 2.0**-53


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


def _full(layout: Layout, read: Any, R: int) -> Any:
    """log_weights of full covariances: |W x + c|^2, W in blocks of four rows."""
    D, width, matrix = layout.D, layout.width, layout.matrix
    blocks, last = width // 4, D - 1

    @cuda.jit(device=True)
    def log_weights(X: Any, loc: Any, N: Any, own: Any, parameters: Any, start: Any, value: Any) -> None:
        p, c = start, start + uint64(matrix)
        y0, y1 = cuda.local.array(R, float64), cuda.local.array(R, float64)
        y2, y3 = cuda.local.array(R, float64), cuda.local.array(R, float64)
        for r in range(R):
            value[r] = 0.0
        for i in range(blocks):
            c0, c1, c2, c3 = parameters[c], parameters[c + _1], parameters[c + _2], parameters[c + _3]
            c += _4
            for r in range(R):
                y0[r] = c0
                y1[r] = c1
                y2[r] = c2
                y3[r] = c3
            column = uint64(0)
            for j in range(4 * i):
                w0, w1, w2, w3 = parameters[p], parameters[p + _1], parameters[p + _2], parameters[p + _3]
                p += _4
                for r in range(R):
                    x = read(X, loc, column + own[r], j)
                    y0[r] += w0 * x
                    y1[r] += w1 * x
                    y2[r] += w2 * x
                    y3[r] += w3 * x
                column += N
            w0, w1, w2, w3, w4 = (
                parameters[p], parameters[p + _1], parameters[p + _2], parameters[p + _3], parameters[p + _4],
            )  # fmt: skip
            w5, w6, w7, w8, w9 = (
                parameters[p + _5], parameters[p + _6], parameters[p + _7], parameters[p + _8], parameters[p + _9],
            )  # fmt: skip
            p += _10
            i0, i1, i2, i3 = 4 * i, min(4 * i + 1, last), min(4 * i + 2, last), min(4 * i + 3, last)
            for r in range(R):  # beyond the last column W and c are zero
                x0 = read(X, loc, uint64(i0) * N + own[r], i0)
                x1 = read(X, loc, uint64(i1) * N + own[r], i1)
                x2 = read(X, loc, uint64(i2) * N + own[r], i2)
                x3 = read(X, loc, uint64(i3) * N + own[r], i3)
                u0 = y0[r] + w0 * x0
                u1 = y1[r] + w1 * x0 + w2 * x1
                u2 = y2[r] + w3 * x0 + w4 * x1 + w5 * x2
                u3 = y3[r] + w6 * x0 + w7 * x1 + w8 * x2 + w9 * x3
                value[r] += u0 * u0 + u1 * u1 + u2 * u2 + u3 * u3
        log_c = parameters[start + uint64(matrix + width)]
        for r in range(R):
            value[r] = log_c - 0.5 * value[r]

    return log_weights


def _diagonal(layout: Layout, read: Any, R: int) -> Any:
    """log_weights of diagonal covariances: sum_d (a_d x_d + c_d)^2."""
    D, width, matrix = layout.D, layout.width, layout.matrix

    @cuda.jit(device=True)
    def log_weights(X: Any, loc: Any, N: Any, own: Any, parameters: Any, start: Any, value: Any) -> None:
        log_c = parameters[start + uint64(matrix + width)]
        for r in range(R):
            value[r] = log_c
        column = uint64(0)
        for d in range(D):
            a, c = parameters[start + uint64(d)], parameters[start + uint64(matrix + d)]
            for r in range(R):
                y = a * read(X, loc, column + own[r], d) + c
                value[r] -= y * y
            column += N

    return log_weights


@functools.cache
def kernels(layout: Layout, single: bool, threads: int, R: int) -> Kernels:
    """Compiled kernels for blocks of ``threads`` threads that take R rows each.

    assign[...](X, loc, N, z, task, K, key, key_1, rest, parameters, lw, parts, totals) draws labels of all rows, of
    those of two clusters for PAIR, and leaves statistics about the centres in parts (blocks groups, K entries), and in
    totals (blocks,) the log2 likelihood, or of PAIR the log2 probability of the sides. task (6,): what is drawn,
    then the task of :class:`gibbs_gmm.kernels.sampler.launch.Pair`. key: of the uniforms; key_1 and rest: of slices
    (:func:`gibbs_gmm.kernels.sampler.label_pass.apply_slice`). lw (blocks K tile,): room for weights.
    """
    D, room, E, matrix, width = layout.D, layout.room, layout.entries, layout.matrix, layout.width
    diagonal, tile, groups = layout.diagonal, threads * R, max(1, threads // layout.entries)
    read = _reader(single)
    log_weights = (_diagonal if diagonal else _full)(layout, read, R)
    weight_at, centre_at = matrix + width + 1, matrix + width + 2

    @cuda.jit
    def transpose(rows: Any, loc: Any, X: Any, N: Any, first: Any) -> None:
        i = cuda.grid(1)
        if i < rows.shape[0]:
            for d in range(D):
                X[d * N + first + i] = rows[i, d] if single else rows[i, d] - loc[d]

    @cuda.jit
    def assign(
        X: Any, loc: Any, N: Any, z: Any, task: Any, K: Any, key: Any, key_1: Any, rest: Any, parameters: Any, lw: Any,
        parts: Any, totals: Any,
    ) -> None:  # fmt: skip
        label = cuda.shared.array(tile, int32)  # the simulator knows a shared array by its line
        order = cuda.shared.array(tile, int32)
        by_thread = cuda.shared.array(threads, float64)
        own, value = cuda.local.array(R, uint64), cuda.local.array(R, float64)
        top = cuda.local.array(R, float64)
        mine, place = cuda.local.array(R, int32), cuda.local.array(R, int32)
        t, block = cuda.threadIdx.x, cuda.blockIdx.x
        what, mode, label_0, label_1, row_0, row_1 = task[0], task[1], task[2], task[3], task[4], task[5]
        tiles = (N + tile - 1) // tile
        first, last = block * tiles // cuda.gridDim.x * tile, min(N, (block + 1) * tiles // cuda.gridDim.x * tile)
        room_of_block = uint64(block) * uint64(K) * uint64(tile)
        for g in range(groups):
            for e in range(t, K * E, threads):
                parts[block * groups + g, e] = 0.0
        total = 0.0
        for start in range(first, last, tile):
            some = False
            for r in range(R):
                b = r * threads + t
                row = min(start + b, N - 1)
                own[r] = uint64(row)
                top[r] = -1e300
                label[b] = K  # of no component
                if start + b < last and (what != PAIR or z[row] == label_0 or z[row] == label_1):
                    some = True
                    label[b] = 0
            if some:
                for k in range(K):
                    log_weights(X, loc, uint64(N), own, parameters, uint64(k) * uint64(room), value)
                    at = room_of_block + uint64(k) * uint64(tile) + uint64(t)
                    for r in range(R):
                        lw[at + uint64(r * threads)] = value[r]
                        if value[r] > top[r]:
                            top[r] = value[r]
                for r in range(R):
                    b = r * threads + t
                    if label[b] == K:
                        continue
                    row = start + b
                    at = room_of_block + uint64(b)
                    if what == PAIR:
                        margin = lw[at + uint64(tile)] - lw[at]
                        odds = math.exp2(-abs(margin))
                        chance = (1.0 if margin >= 0.0 else odds) / (1.0 + odds)
                        if row == row_0:
                            side = 0
                        elif row == row_1:
                            side = 1
                        else:
                            if mode == NEAREST:
                                side = 1 if margin > 0.0 else 0
                            elif mode == EVALUATE:
                                side = 1 if z[row] == label_1 else 0
                            else:
                                side = 1 if _uniform(key, row) < chance else 0
                            if mode != NEAREST:
                                if (side == 1) != (margin >= 0.0):
                                    total -= abs(margin)
                                total -= math.log2(1.0 + odds)
                        label[b] = side
                        if mode == WRITE:
                            z[row] = label_1 if side == 1 else label_0
                        continue
                    least, highest, kept = -1.0, top[r], False
                    if what == SLICED:
                        summed = 0.0
                        highest = -1e300
                        now = int(z[row])
                        least = parameters[uint64(now) * uint64(room) + uint64(weight_at)] * _uniform(key_1, row)
                        kept = least <= rest
                        for k in range(K):
                            v = lw[at + uint64(k) * uint64(tile)]
                            if v - top[r] > _LEAST:
                                summed += math.exp2(v - top[r])
                            w = parameters[uint64(k) * uint64(room) + uint64(weight_at)]
                            v = v - math.log2(w) if w > least else -1e300
                            lw[at + uint64(k) * uint64(tile)] = v
                            if v > highest:
                                highest = v
                        total += top[r] + math.log2(summed)
                        if kept:
                            label[b] = now
                            continue
                    summed = 0.0
                    for k in range(K):
                        v = lw[at + uint64(k) * uint64(tile)] - highest
                        if v > _LEAST:
                            summed += math.exp2(v)
                        lw[at + uint64(k) * uint64(tile)] = summed
                    if what != SLICED:
                        total += highest + math.log2(summed)
                    threshold = _uniform(key, row) * summed
                    drawn = 0
                    for k in range(K - 1):
                        if lw[at + uint64(k) * uint64(tile)] < threshold:
                            drawn += 1
                    label[b] = drawn
                    z[row] = drawn
            cuda.syncthreads()
            for r in range(R):  # the place of a row when the tile is sorted by labels
                mine[r] = label[r * threads + t] * tile + r * threads + t
                place[r] = 0
            for i in range(tile):
                other = label[i] * tile + i
                for r in range(R):
                    if other < mine[r]:
                        place[r] += 1
            for r in range(R):
                order[place[r]] = r * threads + t
            cuda.syncthreads()
            for work in range(t, E * groups, threads):
                g = work // E
                e = work - g * E
                part = block * groups + g
                i, j = 0, 0
                if e > D:
                    f = e - 1 - D
                    i = f
                    j = f
                    if not diagonal:
                        i = int((math.sqrt(8.0 * f + 1.0) - 1.0) * 0.5)
                        j = f - i * (i + 1) // 2
                elif e > 0:
                    i = e - 1
                acc, now, m_i, m_j = 0.0, -1, 0.0, 0.0
                at_i, at_j = uint64(i) * uint64(N) + uint64(start), uint64(j) * uint64(N) + uint64(start)
                for s in range(g * tile // groups, (g + 1) * tile // groups):
                    b = order[s]
                    k = label[b]
                    if k != now:
                        if now >= 0:
                            parts[part, now * E + e] += acc
                        now = k
                        acc = 0.0
                        if k == K:
                            break
                        centre = uint64(k) * uint64(room) + uint64(centre_at)
                        m_i = parameters[centre + uint64(i)]
                        m_j = parameters[centre + uint64(j)]
                    if e == 0:
                        acc += 1.0
                    elif e <= D:
                        acc += read(X, loc, at_i + uint64(b), i) - m_i
                    else:
                        acc += (read(X, loc, at_i + uint64(b), i) - m_i) * (read(X, loc, at_j + uint64(b), j) - m_j)
                if now >= 0 and now < K:
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
            for block in range(parts.shape[0]):
                total += parts[block, e]
            sums[e] = total

    return Kernels(threads, tile, groups, transpose, assign, add)


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
