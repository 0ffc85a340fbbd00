"""The passes over the rows on a CUDA device: one block of threads for each run of consecutive rows.

The same formulas as the label pass of :mod:`gibbs_gmm.kernels.sampler.sweep` and the pair pass of
:mod:`gibbs_gmm.kernels.sampler.launch`, with the same uniforms. X lies column by column, so that neighbouring threads
read neighbouring numbers. Statistics are summed in an order that the number of rows alone decides: a block sorts the
labels of a tile, one thread sums one entry over the rows in that order, and blocks are added in theirs. No two threads
add to one place (additions are atomic only because a thread need not wait for them), so a run gives the same bytes each
time.
"""

import functools
import math
from typing import Any, NamedTuple

import numpy as np
from numba import cuda, float64, int32, uint64

from gibbs_gmm.kernels import cuda_layout
from gibbs_gmm.kernels.cuda_layout import Layout
from gibbs_gmm.kernels.sampler.launch import EVALUATE, NEAREST, WRITE
from gibbs_gmm.kernels.tile import NEGLIGIBLE
from gibbs_gmm.kernels.types import AnyArray

LABELS, SLICED, PAIR = 0, 1, 2
"""What :class:`Kernels`.assign draws: labels; labels of a process, by slices; sides of the members of two clusters."""

MOST_BLOCKS, _LEAST_BLOCKS = 528, 132
"""Blocks of a pass: four for each multiprocessor of the largest devices, and the same number on all of them."""
_MOST_PARTS = 1 << 22  # numbers in the statistics of all blocks: they should stay in the device's cache

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_30, _27, _31, _SHIFT = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(12)


def is_available() -> bool:
    """Whether there is a CUDA device that can be used, or one is simulated."""
    try:
        return bool(cuda.is_available())
    except Exception:  # whatever a driver that is there in part raises
        return False


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


def blocks_for(N: int, K: int, compiled: Kernels, layout: Layout) -> int:
    """Blocks of a pass over N rows with K components."""
    fitting = _MOST_PARTS // (K * layout.entries * compiled.groups)
    return min(MOST_BLOCKS, max(_LEAST_BLOCKS, fitting), -(-N // (2 * compiled.threads)))


@functools.cache
def kernels(layout: Layout, single: bool) -> Kernels:
    """Compiled kernels for a layout and X in single precision or not.

    assign[...](X, loc, N, z, task, K, key, key_1, rest, P, pairs, lw, parts) draws labels of all rows, of those of two
    clusters for PAIR, and leaves statistics about the centres in parts (blocks groups, K entries + 1), and in the last
    of a block the log2 likelihood, or of PAIR the log2 probability of the sides. task (6,): what is drawn, then the
    task of :class:`gibbs_gmm.kernels.sampler.launch.Pair`. key: of the uniforms; key_1 and rest: of slices
    (:func:`gibbs_gmm.kernels.sampler.label_pass.apply_slice`). P (K room,): the components, packed. pairs (2, entries):
    the columns that each entry of statistics multiplies. lw (blocks 2 K threads,): room for weights.

    A thread takes two rows at a time, which share each number of P that is read; then a block takes the first of each
    thread as a tile, and the second.
    """
    D, room, E, width, threads = layout.D, layout.room, layout.entries, layout.width, cuda_layout.threads_for(layout.D)
    staged, two_rows = (D + 1) * threads, 2 * width  # sizes of arrays are names or numbers
    together = max(1, cuda_layout.STAGED // room)
    staged_p = together * room
    shift, groups = threads.bit_length() - 1, max(1, threads // layout.entries)
    written = cuda_layout.written_out(layout, cuda_layout.reader(single))
    load, densities, stage = written["load"], written["densities"], written["stage"]
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
        X: Any, loc: Any, N: Any, z: Any, task: Any, K: Any, key: Any, key_1: Any, rest: Any, P: Any, pairs: Any,
        lw: Any, parts: Any,
    ) -> None:  # fmt: skip
        label = cuda.shared.array(threads, int32)  # label * threads + row; the simulator knows an array by its line
        in_order = cuda.shared.array(threads, int32)  # the same, sorted
        ps = cuda.shared.array(staged_p, float64)  # some components
        xs = cuda.shared.array(staged, float64)  # the rows of the tile about their components' centres, by columns
        by_thread = cuda.shared.array(threads, float64)
        x = cuda.local.array(two_rows, float64)
        t, block = cuda.threadIdx.x, cuda.blockIdx.x
        what, mode, label_0, label_1, row_0, row_1 = task[0], task[1], task[2], task[3], task[4], task[5]
        tiles = (N + 2 * threads - 1) // (2 * threads)
        first = block * tiles // cuda.gridDim.x * (2 * threads)
        last = min(N, (block + 1) * tiles // cuda.gridDim.x * (2 * threads))
        mine = uint64(block) * uint64(2 * threads) * uint64(K) + uint64(t)
        for g in range(groups):
            for e in range(t, K * E + 1, threads):
                parts[block * groups + g, e] = 0.0
        total = 0.0
        for start in range(first, last, 2 * threads):
            row = start + t
            other = row + threads
            takes = row < last and (what != PAIR or z[row] == label_0 or z[row] == label_1)
            takes_other = other < last and (what != PAIR or z[other] == label_0 or z[other] == label_1)
            top, top_of_other = -1e300, -1e300
            if takes or takes_other:
                load(x, X, loc, uint64(N), uint64(min(row, N - 1)), uint64(min(other, N - 1)))
            at = mine
            for k in range(0, K, together):
                some = min(together, K - k)
                cuda.syncthreads()
                for i in range(t, some * room, threads):
                    ps[i] = P[k * room + i]
                cuda.syncthreads()
                if takes or takes_other:
                    p = uint64(0)
                    for _ in range(some):
                        value, value_of_other = densities(ps, p, x)
                        lw[at] = value
                        lw[at + uint64(threads)] = value_of_other
                        at += uint64(2 * threads)
                        p += uint64(room)
                        top, top_of_other = max(top, value), max(top_of_other, value_of_other)
            for second in range(2):
                drawn, own = K, mine  # K: of no component
                if second == 1:
                    takes, row, top, own = takes_other, other, top_of_other, mine + uint64(threads)
                if takes and what == PAIR:
                    margin = lw[own + uint64(2 * threads)] - lw[own]
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
                elif takes:
                    kept = False
                    if what == SLICED:
                        summed, at, highest, now = 0.0, own, -1e300, int(z[row])
                        least = P[uint64(now) * uint64(room) + uint64(weight_at)] * _uniform(key_1, row)
                        kept = least <= rest
                        for k in range(K):
                            value = lw[at]
                            if value - top > NEGLIGIBLE:
                                summed += math.exp2(value - top)
                            w = P[uint64(k) * uint64(room) + uint64(weight_at)]
                            value = value - math.log2(w) if w > least else -1e300
                            lw[at] = value
                            at += uint64(2 * threads)
                            highest = max(highest, value)
                        total += top + math.log2(summed)
                        top, drawn = highest, now
                    if not kept:
                        summed, at = 0.0, own
                        for _ in range(K):
                            value = lw[at] - top
                            if value > NEGLIGIBLE:
                                summed += math.exp2(value)
                            at += uint64(2 * threads)
                        if what != SLICED:
                            total += top + math.log2(summed)
                        threshold = _uniform(key, row) * summed
                        summed, at, drawn = 0.0, own, 0
                        while drawn < K - 1:
                            value = lw[at] - top
                            if value > NEGLIGIBLE:
                                summed += math.exp2(value)
                            if summed >= threshold:
                                break
                            drawn += 1
                            at += uint64(2 * threads)
                        z[row] = drawn
                code = (drawn << shift) + t
                label[t] = code
                if drawn < K:
                    stage(x, second == 1, P, uint64(drawn) * uint64(room) + uint64(centre_at), xs, t)
                cuda.syncthreads()
                place = 0  # of the row when the tile is sorted by labels
                for i in range(threads):
                    if label[i] < code:
                        place += 1
                in_order[place] = code
                cuda.syncthreads()
                for work in range(t, E * groups, threads):
                    g = 0
                    e = work
                    while e >= E:
                        e -= E
                        g += 1
                    i, j = pairs[0, e] * threads, pairs[1, e] * threads
                    acc, now = 0.0, -1
                    for s in range(g * threads // groups, (g + 1) * threads // groups):
                        k = in_order[s] >> shift
                        b = in_order[s] & (threads - 1)
                        if k != now:
                            if now >= 0:
                                cuda.atomic.add(parts, (block * groups + g, now * E + e), acc)
                            now, acc = k, 0.0
                            if k == K:
                                break
                        acc += xs[i + b] * xs[j + b]
                    if 0 <= now < K:
                        cuda.atomic.add(parts, (block * groups + g, now * E + e), acc)
                cuda.syncthreads()
        by_thread[t] = total
        cuda.syncthreads()
        if t == 0:
            total = 0.0
            for i in range(threads):
                total += by_thread[i]
            parts[block * groups, K * E] = total

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
