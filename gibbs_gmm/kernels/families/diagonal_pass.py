"""DiagonalComponents whose covariances are diagonal, in the label pass: quadratic forms, and sufficient statistics.

Spherical components are the same here, with one width for all columns.
"""

import math
from typing import NamedTuple

import numpy as np

from gibbs_gmm.kernels._jit import kernel
from gibbs_gmm.kernels._records import by_address
from gibbs_gmm.kernels.families import generic
from gibbs_gmm.kernels.families.generic import Statistics, padded, zeros
from gibbs_gmm.kernels.linalg import gather_log
from gibbs_gmm.kernels.simd import LANES, add_moments, wide_vectors
from gibbs_gmm.kernels.tile import LOG2_E, TILE, Workspace
from gibbs_gmm.kernels.types import FloatArray

_CHUNK = 16
"""Columns of a tile that all components read before the next ones are: 16 KB, half of a first-level cache."""


@by_address
class DiagonalComponents(NamedTuple):
    """What the label pass needs of each component, in coordinates shifted by ``loc``.

    a (K, D) with a^2 = log2(e) / (2 sigma^2); c (K, D) = -a mu; log_c (K,) = log2 of weight times normalising constant;
    centre (K, P) = mu, zero beyond D: the drawn mean, and the point that statistics are taken about.
    """

    a: FloatArray
    c: FloatArray
    log_c: FloatArray
    centre: FloatArray


@by_address
class DiagonalParameters(NamedTuple):
    """w (K, D) = 1 / sigma, of a spherical component the same in all columns. The means are the components' centres."""

    w: FloatArray


@by_address
class DiagonalScratch(NamedTuple):
    """Places for one component's parameters and for a mean (D,)."""

    parameters: DiagonalParameters
    mu: FloatArray


def block_size(D: int) -> int:
    """A block has the sums of x - centre (P,), then those of its squares (P,), P = D padded to 8."""
    return 2 * padded(D)


def block_of(d: FloatArray) -> FloatArray:
    """The block of rows d (n, D) from which their mean has been taken."""
    D, block = d.shape[1], np.zeros(block_size(d.shape[1]))
    block[padded(D) :][:D] = np.square(d).sum(0)
    return block


def new_components(K: int, D: int) -> DiagonalComponents:
    """Room for K components."""
    return DiagonalComponents(np.zeros((K, D)), np.zeros((K, D)), np.zeros(K), zeros(K, padded(D)))


def new_parameters(K: int, D: int) -> DiagonalParameters:
    """Room for K components."""
    return DiagonalParameters(np.zeros((K, D)))


def new_scratch(D: int) -> DiagonalScratch:
    """DiagonalScratch for D columns."""
    return DiagonalScratch(new_parameters(1, D), np.zeros(D))


@kernel
def ready(noise: FloatArray, parameters: DiagonalParameters, j: int, components: DiagonalComponents, k: int) -> float:
    """:func:`gibbs_gmm.kernels.families.generic.prepare`: sum_d log w_d - (D/2) log 2 pi - sum_d w_d^2 noise_d / 2."""
    w, a, c, centre = parameters.w[j], components.a[k], components.c[k], components.centre[k]
    scale, D = math.sqrt(0.5 * LOG2_E), w.shape[0]
    total, product, exponent = 0.0, 1.0, 0.0
    for d in range(D):
        a[d] = scale * w[d]
        c[d] = -a[d] * centre[d]
        exponent += w[d] * w[d] * noise[d]
        product, total = gather_log(w[d], product, total)
    return total + math.log(product) - 0.5 * (D * math.log(2.0 * math.pi) + exponent)


@generic.log_weights.of(DiagonalComponents)
@kernel
def log_weights(components: DiagonalComponents, K: int, work: Workspace) -> None:
    """The quadratic form is sum_d (a_kd x_bd + c_kd)^2.

    Four columns' a and c are held in registers; every inner loop runs over the observations of the tile. What is left
    of a chunk after its last multiple of four goes column by column.
    """
    wide_vectors()
    a, c, log_c = components.a, components.c, components.log_c
    Xt, lw, top = work.Xt, work.lw, work.top
    D = Xt.shape[0]
    for first in range(0, D, _CHUNK):
        last = min(first + _CHUNK, D)
        blocked = last - (last - first) % 4
        for k in range(K):
            if first == 0:
                for b in range(TILE):
                    lw[k, b] = log_c[k]
            for i in range(first, blocked, 4):
                a0, a1, a2, a3 = a[k, i], a[k, i + 1], a[k, i + 2], a[k, i + 3]
                c0, c1, c2, c3 = c[k, i], c[k, i + 1], c[k, i + 2], c[k, i + 3]
                for b in range(TILE):
                    y0 = c0 + a0 * Xt[i, b]
                    y1 = c1 + a1 * Xt[i + 1, b]
                    y2 = c2 + a2 * Xt[i + 2, b]
                    y3 = c3 + a3 * Xt[i + 3, b]
                    lw[k, b] -= y0 * y0 + y1 * y1 + y2 * y2 + y3 * y3
            for i in range(blocked, last):
                a0, c0 = a[k, i], c[k, i]
                for b in range(TILE):
                    y0 = c0 + a0 * Xt[i, b]
                    lw[k, b] -= y0 * y0
    for b in range(TILE):
        top[b] = lw[0, b]
    for k in range(1, K):
        for b in range(TILE):
            top[b] = lw[k, b] if lw[k, b] > top[b] else top[b]


@generic.accumulate.of(DiagonalComponents)
@kernel
def accumulate(components: DiagonalComponents, size: int, work: Workspace, statistics: Statistics) -> None:
    """Each row at once: sums and squares are few enough."""
    wide_vectors()
    rows, label, centre, block = work.rows, work.label, components.centre, statistics.block
    P = rows.shape[1]
    for b in range(size):
        k = label[b]
        statistics.n[k] += 1.0
        for j in range(0, P, LANES):
            add_moments(block, 2 * k * P + j, P, rows, b * P + j, centre, k * P + j)


@generic.add_copies.of(DiagonalComponents)
@kernel
def add_copies(
    components: DiagonalComponents, k: int, b: int, n: float, work: Workspace, statistics: Statistics
) -> None:
    """Sums and squares."""
    rows, centre, block, P = work.rows, components.centre, statistics.block, work.rows.shape[1]
    statistics.n[k] += n
    for i in range(work.Xt.shape[0]):
        d = rows[b, i] - centre[k, i]
        block[k, i] += n * d
        block[k, P + i] += n * d * d


@generic.flush.of(DiagonalComponents)
@kernel
def flush(components: DiagonalComponents, K: int, work: Workspace, statistics: Statistics) -> None:
    """No row waits."""


@kernel
def _swap_rows(A: FloatArray, a: int, b: int) -> None:
    for i in range(A.shape[1]):
        A[a, i], A[b, i] = A[b, i], A[a, i]


@generic.swap.of(DiagonalComponents)
@kernel
def swap(components: DiagonalComponents, parameters: DiagonalParameters, a: int, b: int) -> None:
    """Both forms of the widths, c, log_c and the centre."""
    log_c = components.log_c
    log_c[a], log_c[b] = log_c[b], log_c[a]
    _swap_rows(components.a, a, b)
    _swap_rows(components.c, a, b)
    _swap_rows(components.centre, a, b)
    _swap_rows(parameters.w, a, b)


@generic.ball.of(DiagonalComponents)
@kernel
def ball(components: DiagonalComponents, k: int, x: FloatArray, scale: FloatArray) -> None:
    """Widths in proportion to the columns' scales."""
    a, c, centre = components.a, components.c, components.centre
    for d in range(a.shape[1]):
        a[k, d] = math.sqrt(0.5 * LOG2_E) / scale[d]
        centre[k, d] = x[d]
        c[k, d] = -a[k, d] * x[d]
    components.log_c[k] = 0.0


@kernel
def copy_component(source: DiagonalComponents, k: int, to: DiagonalComponents, place: int) -> None:
    """Copy component k to a place of others."""
    to.log_c[place] = source.log_c[k]
    for i in range(source.centre.shape[1]):
        to.centre[place, i] = source.centre[k, i]
    for d in range(source.a.shape[1]):
        to.a[place, d] = source.a[k, d]
        to.c[place, d] = source.c[k, d]


@generic.keep.of(DiagonalComponents)
@kernel
def keep(components: DiagonalComponents, k: int, library: DiagonalComponents, place: int) -> None:
    """A copy."""
    copy_component(components, k, library, place)


@generic.log_odds.of(DiagonalComponents)
@kernel
def log_odds(components: DiagonalComponents, x: FloatArray) -> float:
    """By the quadratic forms."""
    a, c, log_c = components.a, components.c, components.log_c
    result = log_c[0] - log_c[1]
    for d in range(a.shape[1]):
        y0, y1 = a[0, d] * x[d] + c[0, d], a[1, d] * x[d] + c[1, d]
        result += y1 * y1 - y0 * y0
    return result


@generic.precision.of(DiagonalComponents)
@kernel
def precision(components: DiagonalComponents, k: int, out: FloatArray) -> None:
    """2 a^2 on the diagonal."""
    for d in range(out.shape[0]):
        for j in range(out.shape[0]):
            out[d, j] = 0.0
        out[d, d] = 2.0 * components.a[k, d] * components.a[k, d]
