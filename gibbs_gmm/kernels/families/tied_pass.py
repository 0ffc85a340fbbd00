"""One covariance for all components in the label pass: rows are multiplied by V once, not once a component."""

from typing import NamedTuple

import numpy as np

from gibbs_gmm.kernels._jit import kernel
from gibbs_gmm.kernels._records import by_address
from gibbs_gmm.kernels.families import generic
from gibbs_gmm.kernels.families.full_pass import (
    accumulate_scatter,
    add_copies_scatter,
    flush_scatter,
    inner_product,
)
from gibbs_gmm.kernels.families.generic import Statistics, padded, zeros
from gibbs_gmm.kernels.simd import wide_vectors
from gibbs_gmm.kernels.tile import TILE, Workspace
from gibbs_gmm.kernels.types import FloatArray


@by_address
class TiedComponents(NamedTuple):
    """What the label pass needs of the components, in coordinates shifted by ``loc``.

    V (D, D) lower triangular with V'V = log2(e) Sigma^-1, for all; c (K, D) = -V mu_k; log_c (K,) = log2 of weight
    times normalising constant; centre (K, P) = mu_k, zero beyond D: the drawn mean, and the point that statistics are
    taken about.
    """

    V: FloatArray
    c: FloatArray
    log_c: FloatArray
    centre: FloatArray


def new_components(K: int, D: int) -> TiedComponents:
    """Room for K components."""
    return TiedComponents(np.zeros((D, D)), np.zeros((K, D)), np.zeros(K), zeros(K, padded(D)))


@kernel
def _multiply_rows(V: FloatArray, work: Workspace) -> None:
    """Xt <- V Xt, from the last row of V up, so that a row of Xt is overwritten when no other needs it.

    V is used in 4 x 4 blocks held in registers; every inner loop runs over the observations of the tile. Rows beyond
    the last multiple of four go one at a time.
    """
    wide_vectors()
    Xt, acc = work.Xt, work.acc
    D = Xt.shape[0]
    blocked = D - D % 4
    for i in range(D - 1, blocked - 1, -1):
        a00 = V[i, 0]
        for b in range(TILE):
            acc[0, b] = a00 * Xt[0, b]
        for j in range(1, i + 1):
            a00 = V[i, j]
            for b in range(TILE):
                acc[0, b] += a00 * Xt[j, b]
        for b in range(TILE):
            Xt[i, b] = acc[0, b]
    for i in range(blocked - 4, -1, -4):
        d00, d10, d11 = V[i, i], V[i + 1, i], V[i + 1, i + 1]
        d20, d21, d22 = V[i + 2, i], V[i + 2, i + 1], V[i + 2, i + 2]
        d30, d31, d32, d33 = V[i + 3, i], V[i + 3, i + 1], V[i + 3, i + 2], V[i + 3, i + 3]
        for b in range(TILE):
            x0, x1, x2, x3 = Xt[i, b], Xt[i + 1, b], Xt[i + 2, b], Xt[i + 3, b]
            acc[0, b] = d00 * x0
            acc[1, b] = d10 * x0 + d11 * x1
            acc[2, b] = d20 * x0 + d21 * x1 + d22 * x2
            acc[3, b] = d30 * x0 + d31 * x1 + d32 * x2 + d33 * x3
        for j in range(0, i, 4):
            a00, a01, a02, a03 = V[i, j], V[i, j + 1], V[i, j + 2], V[i, j + 3]
            a10, a11, a12, a13 = V[i + 1, j], V[i + 1, j + 1], V[i + 1, j + 2], V[i + 1, j + 3]
            a20, a21, a22, a23 = V[i + 2, j], V[i + 2, j + 1], V[i + 2, j + 2], V[i + 2, j + 3]
            a30, a31, a32, a33 = V[i + 3, j], V[i + 3, j + 1], V[i + 3, j + 2], V[i + 3, j + 3]
            for b in range(TILE):
                x0, x1, x2, x3 = Xt[j, b], Xt[j + 1, b], Xt[j + 2, b], Xt[j + 3, b]
                acc[0, b] += a00 * x0 + a01 * x1 + a02 * x2 + a03 * x3
                acc[1, b] += a10 * x0 + a11 * x1 + a12 * x2 + a13 * x3
                acc[2, b] += a20 * x0 + a21 * x1 + a22 * x2 + a23 * x3
                acc[3, b] += a30 * x0 + a31 * x1 + a32 * x2 + a33 * x3
        for r in range(4):
            for b in range(TILE):
                Xt[i + r, b] = acc[r, b]


@generic.log_weights.of(TiedComponents)
@kernel
def log_weights(components: TiedComponents, K: int, work: Workspace) -> None:
    """The quadratic form is |y_b + c_k|^2, y_b = V x_b, four columns at a time."""
    wide_vectors()
    c = components.c
    Xt, lw, top, q = work.Xt, work.lw, work.top, work.q
    D = Xt.shape[0]
    blocked = D - D % 4
    _multiply_rows(components.V, work)
    for k in range(K):
        for b in range(TILE):
            q[b] = 0.0
        for i in range(0, blocked, 4):
            c0, c1, c2, c3 = c[k, i], c[k, i + 1], c[k, i + 2], c[k, i + 3]
            for b in range(TILE):
                y0, y1, y2, y3 = Xt[i, b] + c0, Xt[i + 1, b] + c1, Xt[i + 2, b] + c2, Xt[i + 3, b] + c3
                q[b] += y0 * y0 + y1 * y1 + y2 * y2 + y3 * y3
        for i in range(blocked, D):
            c0 = c[k, i]
            for b in range(TILE):
                y0 = Xt[i, b] + c0
                q[b] += y0 * y0
        log_c = components.log_c[k]
        if k == 0:
            for b in range(TILE):
                value = log_c - 0.5 * q[b]
                lw[k, b] = value
                top[b] = value
        else:
            for b in range(TILE):
                value = log_c - 0.5 * q[b]
                lw[k, b] = value
                top[b] = value if value > top[b] else top[b]


@generic.accumulate.of(TiedComponents)
@kernel
def accumulate(components: TiedComponents, size: int, work: Workspace, statistics: Statistics) -> None:
    """:func:`accumulate_scatter` about the components' centres."""
    accumulate_scatter(size, components.centre, work, statistics)


@generic.add_copies.of(TiedComponents)
@kernel
def add_copies(components: TiedComponents, k: int, b: int, n: float, work: Workspace, statistics: Statistics) -> None:
    """:func:`add_copies_scatter` about the components' centres."""
    add_copies_scatter(k, b, n, components.centre, work, statistics)


@generic.flush.of(TiedComponents)
@kernel
def flush(components: TiedComponents, K: int, work: Workspace, statistics: Statistics) -> None:
    """:func:`flush_scatter`."""
    flush_scatter(K, work, statistics)


@generic.log_odds.of(TiedComponents)
@kernel
def log_odds(components: TiedComponents, x: FloatArray) -> float:
    """By the quadratic forms."""
    V, c, log_c = components.V, components.c, components.log_c
    result = log_c[0] - log_c[1]
    for i in range(V.shape[0]):
        y = 0.0
        for j in range(i + 1):
            y += V[i, j] * x[j]
        result += 0.5 * ((y + c[1, i]) ** 2 - (y + c[0, i]) ** 2)
    return result


@generic.ball.of(TiedComponents)
@kernel
def ball(components: TiedComponents, k: int, x: FloatArray, scale: FloatArray) -> None:
    """V = diag(1 / scale), for all components."""
    V, c, centre = components.V, components.c, components.centre
    D = V.shape[0]
    for i in range(D):
        for j in range(D):
            V[i, j] = 0.0
        V[i, i] = 1.0 / scale[i]
        centre[k, i] = x[i]
        c[k, i] = -V[i, i] * x[i]
    components.log_c[k] = 0.0


@generic.keep.of(TiedComponents)
@kernel
def keep(components: TiedComponents, k: int, library: TiedComponents, place: int) -> None:
    """The weight and the mean; and V, in place of the one kept before: the library has one for all launches."""
    library.log_c[place] = components.log_c[k]
    for i in range(components.V.shape[0]):
        for j in range(i + 1):
            library.V[i, j] = components.V[i, j]
    for i in range(components.centre.shape[1]):
        library.centre[place, i] = components.centre[k, i]


@generic.precision.of(TiedComponents)
@kernel
def precision(components: TiedComponents, k: int, out: FloatArray) -> None:
    """V'V, the same for all k."""
    inner_product(components.V, out)
