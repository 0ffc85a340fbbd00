"""The label pass where clusters are apart: the same labels, from the few components that can matter to each tile.

Rows are looked at together with the rows that had their label. The distance from that component is computed first;
given that, most of the others are known to weigh less than 2^-53 of it, whatever else the rows are; of those left, most
are after one product of the rows with a vector (:class:`generic.Radii`). Weights as small as that count as zero in
every pass. So labels, statistics and log likelihood are those of the plain pass, to the last bit, and which of the two
is made may depend on anything.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from gibbs_gmm.kernels._jit import kernel
from gibbs_gmm.kernels.families.generic import Radii, Statistics, accumulate, log_weights, set_radii, weigh
from gibbs_gmm.kernels.sampler.label_pass import Law, draw_tile, log_likelihood
from gibbs_gmm.kernels.sampler.state import N_COMPONENTS, Data, State, outlier_label
from gibbs_gmm.kernels.simd import LANES, fetch, part_of_callers, wide_vectors
from gibbs_gmm.kernels.simd_quadratic import reaches_along
from gibbs_gmm.kernels.tile import (
    NEGLIGIBLE,
    PACKED,
    PRUNED_COMPONENTS,
    PRUNED_ROWS,
    PRUNED_VALUES,
    TILE,
    Workspace,
    copy_rows,
    lines_for,
    load_rows,
)
from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray, LabelArray

_EXPONENTIAL, _TEST, _OVERHEAD, _OVERHEAD_VALUE = 25.0, 16.0, 300.0, 14.0
"""What a row costs, in multiplications: beside a quadratic form, that component's weight; beside a product with a line,
what it tells; and in a pass that prunes, to be put in order and read once more, altogether and for each value."""

_WORTH = 0.85
"""Most that a pass that prunes may cost, of the plain pass."""

_PAIR, _PAIR_SQUARE = 350.0, 7.0
"""What radii and lines cost for a pair of components, and for the square of the number of values."""

_TRIED = 8
"""Tiles on which it is tried how much a pass that prunes leaves out."""

SHARE = 2.0**-30
"""What a bound on squared distances leaves for their rounding."""

_CLOSE = 1 << 16
"""Numbers of X that stay in the second-level cache."""

_LEAST_ROWS = 4096
"""Fewest rows that are worth it."""


class Nearby(NamedTuple):
    """Buffers of a pass that prunes, in the workspace.

    order (PRUNED_ROWS,): rows by their labels, those of label k at start[k] .. start[k + 1], start (K + 2,). alive (K +
    1,): a tile's components, outliers behind them. top, total (PRUNED_ROWS,): of each row, for the log likelihood.
    """

    order: IntArray
    start: IntArray
    alive: IntArray
    top: FloatArray
    total: FloatArray
    radii: Radii


@kernel
def nearby(K: int, work: Workspace) -> Nearby:
    """The workspace's buffers for K components."""
    k = min(K, PRUNED_COMPONENTS)
    places, room, order, squared, D = work.places, work.room, PRUNED_ROWS, 2 * PRUNED_ROWS, work.Xt.shape[0]
    line, lines = squared + k * k, lines_for(K, D)
    limit = line + lines * lines * (D + 1)
    return Nearby(
        places[:order],
        places[order : order + K + 2],
        places[order + K + 2 : order + 2 * K + 3],
        room[:order],
        room[order:squared],
        Radii(
            room[squared:line].reshape(k, k),
            room[line:limit].reshape(lines, lines, D + 1),
            room[limit : limit + k],
            room[limit + k :],
        ),
    )


@kernel
def _cost(D: float) -> float:
    """What a row costs in a component."""
    return 0.5 * D * (D + 1.0) + D + _EXPONENTIAL


@kernel
def _maximum(values: FloatArray, first: int, last: int) -> float:
    """The largest of values[first:last], or NaN if one is; overwrites them."""
    wide_vectors()
    size = last - first
    while size > 1:
        half = size // 2
        low, high = values[first : first + half], values[first + size - half : first + size]
        for b in range(half):
            low[b] = low[b] if low[b] > high[b] or low[b] != low[b] else high[b]
        size -= half
    return values[first]


@kernel
def _largest_norm(n: int, work: Workspace) -> float:
    """Of the tile's first n rows; overwrites work.total."""
    wide_vectors()
    Xt, total = work.Xt, work.total
    for b in range(n):
        total[b] = 0.0
    for d in range(Xt.shape[0]):
        for b in range(n):
            total[b] += Xt[d, b] * Xt[d, b]
    return math.sqrt(_maximum(total, 0, n))


@kernel
def _largest_distance(log_c: float, lw: FloatArray, n: int, work: Workspace) -> float:
    """Of the tile's first n rows from a component, squared, in bits; overwrites work.total."""
    wide_vectors()
    for b in range(n):
        work.total[b] = 2.0 * (log_c - lw[b])
    return _maximum(work.total, 0, n)


@kernel
def rows_together(K: int, D: int, rows: int) -> int:
    """How many rows at a time are put in order, a multiple of TILE.

    As many as stay in the second-level cache, unless clusters would then not fill tiles.
    """
    most = min(_CLOSE // D, PRUNED_ROWS) if _CLOSE // D >= TILE * K else PRUNED_ROWS
    parts = (rows + most - 1) // most
    return ((rows + parts - 1) // parts + TILE - 1) // TILE * TILE


@kernel
def put_in_order(z: LabelArray, K: int, near: Nearby) -> None:
    """The rows of each label in their order, outliers last."""
    order, start = near.order, near.start
    for k in range(K + 2):
        start[k] = 0
    for i in range(z.shape[0]):
        start[min(K, int(z[i])) + 1] += 1
    for k in range(1, K + 2):
        start[k] += start[k - 1]
    for i in range(z.shape[0]):
        k = min(K, int(z[i]))
        order[start[k]] = i
        start[k] += 1
    for k in range(K + 1, 0, -1):
        start[k] = start[k - 1]
    start[0] = 0


@kernel
def _move(lw: FloatArray, place: int, to: int) -> None:
    """lw[to] <- lw[place]."""
    wide_vectors()
    old, new = lw[place], lw[to]
    if place != to:
        for b in range(TILE):
            new[b] = old[b]


@kernel
def load_order(data: Data, first: int, at: int, size: int, work: Workspace, near: Nearby) -> int:
    """The rows in places at .. at + size of the order into the tile, and the last again up to a multiple of eight.

    Returns how many.
    """
    part_of_callers()
    wide_vectors()
    n = (size + LANES - 1) // LANES * LANES
    for b in range(TILE):
        work.row[b] = first + near.order[at + min(b, size - 1)]
    load_rows(data.X, data.loc, work.row, n, work)
    return n


@kernel
def weigh_own(components: Any, K: int, j: int, n: int, work: Workspace, near: Nearby) -> tuple[float, float]:
    """The last place of lw, and top <- weights of the tile's first n rows in component j; returns their largest norm
    and squared distance from it, in bits."""
    part_of_callers()
    wide_vectors()
    for b in range(TILE):
        work.top[b] = -np.inf
    near.alive[0] = j
    weigh(components, near.alive[:1], K - 1, n, work)
    return _largest_norm(n, work), _largest_distance(components.log_c[j], work.lw[K - 1], n, work)


@kernel
def candidates(
    components: Any, K: int, j: int, n: int, every: bool, norm: float, distance: float, work: Workspace, near: Nearby
) -> tuple[int, int]:
    """Into ``alive`` those of K components, but for j, that the tile's first n rows may need, whose label was j;
    returns how many are before j, and how many in all.

    The weights of j are in top; no norm is larger, and no squared distance from j. ``every``, radii alone are asked.
    """
    part_of_callers()
    limit, lines, below, size = near.radii.limit, near.radii.line.shape[0] > 0 and not every, 0, 0
    within, squared = norm < limit[j], near.radii.squared[j]
    for k in range(K):
        below = size if k == j else below
        if k == j or (within and distance < squared[k] and norm < limit[k]):
            continue
        if lines and norm < limit[k]:
            line = near.radii.line[j, k]
            if not reaches_along(work.Xt, line, n, components.log_c[k], 1.0 - SHARE, work.top, NEGLIGIBLE):
                continue
        near.alive[size] = k
        size += 1
    return below, size


@kernel
def weigh_tile(components: Any, K: int, sliced: bool, j: int, n: int, work: Workspace, near: Nearby) -> int:
    """lw and top of the tile's first n rows, whose label was j, of all components that can matter to any of them;
    returns how many they are, in ``alive``. ``sliced``, they may matter for what they are without their weights.
    """
    part_of_callers()
    wide_vectors()
    alive, below, size = near.alive, 0, K
    if j == K:  # outliers have no distance
        for b in range(TILE):
            work.top[b] = -np.inf
        for k in range(K):
            alive[k] = k
        weigh(components, alive[:K], 0, n, work)
    else:
        norm, distance = weigh_own(components, K, j, n, work, near)
        below, size = candidates(components, K, j, n, sliced, norm, distance, work, near)
        weigh(components, alive[:below], 0, n, work)
        _move(work.lw, K - 1, below)
        weigh(components, alive[below:size], below + 1, n, work)
        for s in range(size, below, -1):
            alive[s] = alive[s - 1]
        alive[below] = j
        size += 1
    alive[size] = K
    return size


@kernel
def _cost_of_others(D: int, K: int, rows: int) -> float:
    """What a row costs, in a pass of so many rows that prunes, but for its components."""
    pairs = (K + PACKED - 1) // PACKED * PACKED * K
    return _OVERHEAD + _OVERHEAD_VALUE * D + (_PAIR + _PAIR_SQUARE * D * D) * pairs / rows


@kernel
def _not_negligible(data: Data, state: State, first: int, last: int, work: Workspace) -> float:
    """Components that are not negligible for a row, on average over a tile of rows from all over."""
    wide_vectors()
    K, index, count = state.size[N_COMPONENTS], work.row, 0
    for b in range(TILE):
        index[b] = first + b * ((last - first) // TILE)
    load_rows(data.X, data.loc, index, TILE, work)
    log_weights(state.components, K, work)
    for k in range(K):
        own = work.lw[k]
        for b in range(TILE):
            count += 1 if own[b] - work.top[b] > NEGLIGIBLE else 0
    return count / TILE


@kernel
def _try(data: Data, state: State, sliced: bool, first: int, last: int, work: Workspace, near: Nearby) -> float:
    """What a row of first .. last, which are put in order, costs for its components, on average over some tiles."""
    K, D, start, whole, cost = state.size[N_COMPONENTS], data.X.shape[1], near.start, _cost(data.X.shape[1]), 0.0
    test, j = D + _TEST if near.radii.line.shape[0] > 0 and not sliced else 0.0, 0
    for tile in range(_TRIED):
        at = tile * (last - first) // _TRIED
        while start[j + 1] <= at:
            j += 1
        at = max(start[j], min(at, start[j + 1] - TILE))
        n = load_order(data, first, at, min(TILE, start[j + 1] - at), work, near)
        if j == K:
            cost += K * whole
            continue
        norm, distance = weigh_own(state.components, K, j, n, work, near)
        within = candidates(state.components, K, j, n, True, norm, distance, work, near)[1]
        left = candidates(state.components, K, j, n, sliced, norm, distance, work, near)[1]
        cost += whole + within * test + left * whole
    return cost / _TRIED


@kernel
def prunes(data: Data, state: State, sliced: bool, first: int, last: int, work: Workspace, near: Nearby) -> bool:
    """Whether a pass over rows first .. last that prunes will cost less than a plain one; then radii are ready."""
    K, D, rows = state.size[N_COMPONENTS], data.X.shape[1], last - first
    most = _WORTH * K * _cost(D) - _cost_of_others(D, K, rows)
    if data.tags.shape[0] > 0 or K > PRUNED_COMPONENTS or D > PRUNED_VALUES or rows < _LEAST_ROWS:
        return False
    if most < _cost(D) or most < _not_negligible(data, state, first, last, work) * _cost(D):
        return False
    if not set_radii(state.components, K, state.log_w, sliced, near.radii):
        return False
    some = first + min(rows, rows_together(K, D, rows))
    put_in_order(state.z[first:some], K, near)
    return _try(data, state, sliced, first, some, work, near) <= most


@kernel
def _fetch(X: AnyArray, first: int, at: int, rows: int, near: Nearby) -> None:
    """Have the rows in places from ``at`` on, as many as there may be in a tile, on their way: they lie far apart."""
    for b in range(at, min(at + TILE, rows)):
        for d in range(0, X.shape[1], LANES):
            fetch(X, first + near.order[b], d)


@kernel
def _are_finite(top: FloatArray, n: int) -> bool:
    """Whether the first n are numbers."""
    wide_vectors()
    count = 0
    for b in range(n):
        count += 1 if abs(top[b]) < np.inf else 0
    return count == n


@kernel
def _label_tile(
    data: Data, state: State, law: Law, first: int, last: int, j: int, at: int, size: int, work: Workspace, near: Nearby
) -> None:
    """Labels of the rows in places at .. at + size of the order, whose label was j; leaves top and total."""
    wide_vectors()
    K, outlier, labels = law.K, outlier_label(state), state.z[first:]
    top, mass = (work.acc[0], work.acc[1]) if law.sliced else (work.top, work.total)
    n = load_order(data, first, at, size, work, near)
    _fetch(data.X, first, at + size, last - first, near)
    m = weigh_tile(state.components, K, law.sliced, j, n, work, near)
    if m == 1 and j < K and not law.sliced and not law.outliers and _are_finite(top, n):
        for b in range(size):  # they stay
            near.top[near.order[at + b]] = top[b]
            near.total[near.order[at + b]] = 1.0
        return
    if law.sliced:
        for b in range(size):
            work.label[b] = j
    draw_tile(law, data.tags, near.alive[:m], size, work)
    for b in range(size):
        i, k = near.order[at + b], near.alive[work.label[b]]
        labels[i] = outlier if k == K else k
        near.top[i] = top[b]
        near.total[i] = mass[b]


@kernel
def label_in_order(
    data: Data,
    state: State,
    law: Law,
    first: int,
    last: int,
    work: Workspace,
    near: Nearby,
    statistics: Statistics,
    log_likelihood_before: float,
) -> float:
    """Labels and statistics of rows first .. last, PRUNED_ROWS at most, which are looked at in the order of labels.

    Radii are set already. Returns the log likelihood in base 2, added to that of the rows before these.
    """
    wide_vectors()
    K, labels = law.K, state.z[first:last]
    top, mass = (work.acc[0], work.acc[1]) if law.sliced else (work.top, work.total)
    put_in_order(labels, K, near)
    _fetch(data.X, first, 0, last - first, near)
    for j in range(K + 1):
        at, rows = near.start[j], near.start[j + 1] - near.start[j]
        for tiles in range((rows + TILE - 1) // TILE, 0, -1):
            size = (rows + tiles - 1) // tiles
            _label_tile(data, state, law, first, last, j, at, size, work, near)
            at += size
            rows -= size
    result = log_likelihood_before
    for at in range(0, last - first, TILE):
        size = min(TILE, last - first - at)
        copy_rows(data.X, data.loc, first + at, size, work.rows)
        for b in range(size):
            work.label[b] = min(K, int(labels[at + b]))
            top[b] = near.top[at + b]
            mass[b] = near.total[at + b]
        accumulate(state.components, size, work, statistics)
        result += log_likelihood(size, top, mass)
    return result
