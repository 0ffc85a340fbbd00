"""Where components and statistics lie in the numbers that go to a CUDA device and come back, and densities of rows.

Densities are written out for a layout, number by number, for two rows at a time.
"""

import functools
from typing import Any, NamedTuple

import numpy as np
from numba import cuda, float64, uint64

from gibbs_gmm.kernels.families.full_pass import Components
from gibbs_gmm.kernels.families.generic import padded
from gibbs_gmm.kernels.types import AnyArray, FloatArray

STAGED = 1024
"""Numbers of components that a block reads together, if one component has not more."""

MOST_THREADS = 128
"""Threads of a block, where rows have few columns."""

MOST_COLUMNS = {False: 64, True: 128}
"""Columns of the rows, of components that are not diagonal and that are: what is written out would grow with their
square."""

_1, _2, _3, _4, _5, _6, _7, _8, _9, _10, _11, _12, _13, _14, _15 = (np.uint64(i) for i in range(1, 16))


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

    @property
    def pairs(self) -> AnyArray:
        """The two columns that each entry of the statistics multiplies, (2, entries); column D is of ones."""
        D = self.D
        i, j = (np.arange(D), np.arange(D)) if self.diagonal else np.tril_indices(D)
        return np.array([[D, *range(D), *i], [D, *[D] * D, *j]], np.int32)

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


def threads_for(D: int) -> int:
    """Threads of a block: a tile has a row for each, and fits with some components into 48 KB."""
    return MOST_THREADS if D <= 32 else 64 if D <= 48 else 32


def reader(single: bool) -> Any:
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
def _four(
    P: Any, p: Any, y0: Any, y1: Any, y2: Any, y3: Any, v0: Any, v1: Any, v2: Any, v3: Any, x0: Any, x1: Any, x2: Any,
    x3: Any, u0: Any, u1: Any, u2: Any, u3: Any,
) -> Any:  # fmt: skip
    """Four rows of W times four numbers of each of two rows of X, x and u, added to y and v."""
    w0, w1, w2, w3 = P[p], P[p + _1], P[p + _2], P[p + _3]
    y0, y1, y2, y3 = y0 + w0 * x0, y1 + w1 * x0, y2 + w2 * x0, y3 + w3 * x0
    v0, v1, v2, v3 = v0 + w0 * u0, v1 + w1 * u0, v2 + w2 * u0, v3 + w3 * u0
    w0, w1, w2, w3 = P[p + _4], P[p + _5], P[p + _6], P[p + _7]
    y0, y1, y2, y3 = y0 + w0 * x1, y1 + w1 * x1, y2 + w2 * x1, y3 + w3 * x1
    v0, v1, v2, v3 = v0 + w0 * u1, v1 + w1 * u1, v2 + w2 * u1, v3 + w3 * u1
    w0, w1, w2, w3 = P[p + _8], P[p + _9], P[p + _10], P[p + _11]
    y0, y1, y2, y3 = y0 + w0 * x2, y1 + w1 * x2, y2 + w2 * x2, y3 + w3 * x2
    v0, v1, v2, v3 = v0 + w0 * u2, v1 + w1 * u2, v2 + w2 * u2, v3 + w3 * u2
    w0, w1, w2, w3 = P[p + _12], P[p + _13], P[p + _14], P[p + _15]
    y0, y1, y2, y3 = y0 + w0 * x3, y1 + w1 * x3, y2 + w2 * x3, y3 + w3 * x3
    v0, v1, v2, v3 = v0 + w0 * u3, v1 + w1 * u3, v2 + w2 * u3, v3 + w3 * u3
    return y0, y1, y2, y3, v0, v1, v2, v3


@cuda.jit(device=True)
def _squares(
    P: Any, p: Any, y0: Any, y1: Any, y2: Any, y3: Any, v0: Any, v1: Any, v2: Any, v3: Any, x0: Any, x1: Any, x2: Any,
    x3: Any, u0: Any, u1: Any, u2: Any, u3: Any,
) -> Any:  # fmt: skip
    """The sums of squares of y and v, plus the triangle of W on the diagonal times four numbers of each row."""
    w0, w1, w2, w3, w4 = P[p], P[p + _1], P[p + _2], P[p + _3], P[p + _4]
    w5, w6, w7, w8, w9 = P[p + _5], P[p + _6], P[p + _7], P[p + _8], P[p + _9]
    y0, v0 = y0 + w0 * x0, v0 + w0 * u0
    y1, v1 = y1 + w1 * x0 + w2 * x1, v1 + w1 * u0 + w2 * u1
    y2, v2 = y2 + w3 * x0 + w4 * x1 + w5 * x2, v2 + w3 * u0 + w4 * u1 + w5 * u2
    y3, v3 = y3 + w6 * x0 + w7 * x1 + w8 * x2 + w9 * x3, v3 + w6 * u0 + w7 * u1 + w8 * u2 + w9 * u3
    return y0 * y0 + y1 * y1 + y2 * y2 + y3 * y3, v0 * v0 + v1 * v1 + v2 * v2 + v3 * v3


def written_out(layout: Layout, read: Any) -> dict[str, Any]:
    """What is done with the numbers of two rows, written out number by number, so that they stay in registers.

    load(x, X, loc, N, row, other): put two rows into x (2 width,). densities(P, at, x): log2 of the weight times
    density of the component at P[at] for both. stage(x, second, P, centre, xs, t): one of the rows about a centre into
    column t of xs (D threads,).
    """
    D, width, matrix = layout.D, layout.width, layout.matrix
    load = ["def load(x, X, loc, N, row, other):"]
    for d in range(width):
        for r, name in ((0, "row"), (1, "other")):
            load += [
                f"    x[{r * width + d}] = " + (f"read(X, loc, uint64({d}) * N + {name}, {d})" if d < D else "0.0")
            ]
    densities = ["def densities(P, at, x):", "    q, r = 0.0, 0.0"]
    if layout.diagonal:
        for d in range(D):
            densities += [f"    a, c = P[at + uint64({d})], P[at + uint64({matrix + d})]"]
            densities += [f"    y, v = a * x[{d}] + c, a * x[{width + d}] + c"]
            densities += ["    q, r = q + y * y, r + v * v"]
        halved = ""
    else:
        p, names = 0, "y0, y1, y2, y3, v0, v1, v2, v3"
        for i in range(0, width, 4):
            c = ", ".join(f"P[at + uint64({matrix + i + a})]" for a in range(4))
            densities += [f"    y0, y1, y2, y3 = {c}", "    v0, v1, v2, v3 = y0, y1, y2, y3"]
            for j in range(0, i + 4, 4):
                both = ", ".join(f"x[{r * width + j + b}]" for r in range(2) for b in range(4))
                arguments = f"P, at + uint64({p}), {names}, {both}"
                if j < i:
                    densities += [f"    {names} = four({arguments})"]
                else:
                    densities += [f"    a, b = squares({arguments})", "    q, r = q + a, r + b"]
                p += 16 if j < i else 10
        halved = "0.5 * "
    log_c = f"P[at + uint64({matrix + width})]"
    densities += [f"    return {log_c} - {halved}q, {log_c} - {halved}r"]
    stage = ["def stage(x, second, P, centre, xs, t):", "    if second:"]
    for r, otherwise in ((1, ["    else:"]), (0, [])):
        stage += [f"        xs[{d} * threads + t] = x[{r * width + d}] - P[centre + uint64({d})]" for d in range(D)]
        stage += otherwise
    stage += [f"    xs[{D} * threads + t] = 1.0"]
    scope = {"read": read, "four": _four, "squares": _squares, "uint64": uint64, "threads": threads_for(D)}
    exec("\n".join([*load, *densities, *stage]), scope)
    return {name: cuda.jit(device=True)(scope[name]) for name in ("load", "densities", "stage")}
