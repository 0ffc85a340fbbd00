"""Densities of rows under many draws on a CUDA device: what :func:`gibbs_gmm.kernels.posterior.predictive.add_draws`
adds, by a thread for each two rows, which meet all components of a block of draws in one order.
"""

import functools
import math
from typing import Any

import numpy as np
from numba import cuda, float64, uint64

from gibbs_gmm.kernels import cuda_layout
from gibbs_gmm.kernels.cuda_layout import Layout
from gibbs_gmm.kernels.families.diagonal_pass import DiagonalComponents
from gibbs_gmm.kernels.families.full_pass import Components
from gibbs_gmm.kernels.posterior.predictive import JOINT, PRODUCT, Mixtures
from gibbs_gmm.kernels.types import FloatArray, IntArray

NORMAL, JOINT_T, PRODUCT_T = 0, 1, 2
"""Laws of the components that :func:`packed` lists."""

_LEAST = -80.0  # log2 of a share of the largest that is not added: of a million draws it cannot change a double


@cuda.jit(device=True)
def _add(value: Any, peak: Any, mass: Any, j: Any, row: Any) -> Any:
    """Add 2^value to column j of a row, whose numbers are in units of 2^peak; returns the new peak."""
    if value > peak:
        shrink = math.exp2(peak - value)
        for i in range(mass.shape[0]):
            mass[i, row] *= shrink
        mass[j, row] += 1.0
        return value
    if value - peak > _LEAST:
        mass[j, row] += math.exp2(value - peak)
    return peak


@cuda.jit(device=True)
def _joint(value: Any, log_c: Any, power: Any) -> Any:
    """log2 of a multivariate t where :func:`gibbs_gmm.kernels.cuda_layout.written_out` has log_c - q / 2."""
    return log_c - power * math.log2(1.0 + 2.0 * (log_c - value))


@functools.cache
def kernel(layout: Layout, single: bool) -> Any:
    """add[...](X, loc, N, P, law, column, M, power, top, mass): add M components to sums over draws, by column.

    X (D N,): rows by columns. P (M room,): the components, packed; law (M,) and column (M,) of each. top (N,) and mass
    (J, N) as in :func:`gibbs_gmm.kernels.posterior.predictive.add_draws`.
    """
    D, room, width, threads = layout.D, layout.room, layout.width, cuda_layout.threads_for(layout.D)
    together = max(1, cuda_layout.STAGED // room)
    staged, two_rows, matrix = together * room, 2 * width, layout.matrix
    written = cuda_layout.written_out(layout, cuda_layout.reader(single))
    load, densities = written["load"], written["densities"]

    @cuda.jit
    def add(
        X: Any, loc: Any, N: Any, P: Any, law: Any, column: Any, M: Any, power: Any, top: Any, mass: Any
    ) -> None:  # fmt: skip
        ps = cuda.shared.array(staged, float64)
        x = cuda.local.array(two_rows, float64)
        t = cuda.threadIdx.x
        row = cuda.blockIdx.x * 2 * threads + t
        other = row + threads
        takes, takes_other = row < N, other < N
        peak, peak_of_other = 0.0, 0.0
        if takes:
            load(x, X, loc, uint64(N), uint64(row), uint64(min(other, N - 1)))
            peak, peak_of_other = top[row], top[min(other, N - 1)]
        for m in range(0, M, together):
            some = min(together, M - m)
            cuda.syncthreads()
            for i in range(t, some * room, threads):
                ps[i] = P[m * room + i]
            cuda.syncthreads()
            if takes:
                for i in range(some):
                    at, j = uint64(i) * uint64(room), column[m + i]
                    value, value_of_other = densities(ps, at, x)
                    log_c = ps[at + uint64(matrix + width)]
                    if law[m + i] == JOINT_T:
                        value, value_of_other = _joint(value, log_c, power), _joint(value_of_other, log_c, power)
                    elif law[m + i] == PRODUCT_T:
                        value, value_of_other = log_c, log_c
                        for d in range(D):
                            a, c = ps[at + uint64(d)], ps[at + uint64(matrix + d)]
                            y, v = a * x[d] + c, a * x[width + d] + c
                            value -= power * math.log2(1.0 + 2.0 * y * y)
                            value_of_other -= power * math.log2(1.0 + 2.0 * v * v)
                    peak = _add(value, peak, mass, j, row)
                    if takes_other:
                        peak_of_other = _add(value_of_other, peak_of_other, mass, j, other)
        if takes:
            top[row] = peak
        if takes_other:
            top[other] = peak_of_other

    return add


def packed(layout: Layout, mixtures: Mixtures, column: IntArray) -> tuple[FloatArray, IntArray, IntArray]:
    """All components of a block of draws for :func:`kernel`: their numbers (M room,), laws (M,) and columns (M,).

    column (B, K + 1) as in :func:`gibbs_gmm.kernels.posterior.predictive.add_draws`. Of the diagonal layout, half of
    the squares is in the numbers.
    """
    places, rest = np.arange(column.shape[1]), mixtures.log_rest > -np.inf
    used = places < (mixtures.n + rest)[:, None]
    is_rest = rest[:, None] & (places == mixtures.n[:, None])
    W, c = mixtures.W[used], mixtures.c[used]
    log_c = np.where(is_rest, mixtures.log_rest[:, None], mixtures.log_c)[used]
    law = np.where(is_rest[used], {JOINT: JOINT_T, PRODUCT: PRODUCT_T}.get(mixtures.law, NORMAL), NORMAL)
    M, D = c.shape
    centre, components = np.zeros((M, D)), Components(W, c, log_c, np.zeros((M, D)))
    if layout.diagonal:
        half = math.sqrt(0.5)
        own = DiagonalComponents(half * np.diagonal(W, axis1=1, axis2=2), half * c, log_c, centre)
        return layout.pack(own, np.zeros(M), M).ravel(), law, column[used]
    return layout.pack(components, np.zeros(M), M).ravel(), law, column[used]
