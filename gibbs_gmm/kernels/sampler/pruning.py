"""The label pass where clusters are apart: the same labels, from the few components that can matter to each tile.

A row is looked at together with the rows that had its label. Its distance from that component is computed first; given
that, most of the others are known to weigh less than 2^-53 of it (:func:`generic.set_radii`), whatever else the row is,
and weights as small as that count as zero in every pass. So labels, statistics and log likelihood are those of the
plain pass, to the last bit, and which of the two is made may depend on anything.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from gibbs_gmm.kernels._jit import kernel
from gibbs_gmm.kernels.families.generic import Radii, Statistics, accumulate, log_weights, set_radii, weigh
from gibbs_gmm.kernels.sampler.label_pass import Law, draw_tile, log_likelihood
from gibbs_gmm.kernels.sampler.state import N_COMPONENTS, Data, State, outlier_label
from gibbs_gmm.kernels.simd import LANES, fetch, part_of_callers, wide_vectors
from gibbs_gmm.kernels.tile import (
    NEGLIGIBLE,
    PRUNED_COMPONENTS,
    PRUNED_ROWS,
    PRUNED_VALUES,
    TILE,
    Workspace,
    copy_rows,
    load_rows,
)
from gibbs_gmm.kernels.types import FloatArray, IntArray, LabelArray

_EXPONENTIAL, _OVERHEAD, _OVERHEAD_VALUE = 25, 200, 8
"""What a row costs, in multiplications: beside a quadratic form, that component's weight; and in a pass that prunes,
to be put in order and read once more, altogether and for each value."""

_WORTH = 0.85
"""Most that a pass that prunes may cost, of the plain pass."""

_CLOSE = 1 << 16
"""Numbers of X that stay in the second-level cache."""

_LEAST_ROWS, _LEAST_SHARE = 4096, 32
"""Fewest rows that are worth it, and fewest for each component."""


LEFT_OUT, WANTED, OWN = 0, 1, 2
"""What a component is to a tile: negligible; perhaps not; what some row of it had."""


class Nearby(NamedTuple):
    """Buffers of a pass that prunes, in the workspace.

    order (PRUNED_ROWS,): rows by their labels, those of label k at start[k] .. start[k + 1], start (K + 2,). alive (K +
    1,): a tile's components, outliers behind them. marked (K,): what each is to the tile. place (K,): of lw. top, total
    (PRUNED_ROWS,): of each row, for the log likelihood.
    """

    order: IntArray
    start: IntArray
    alive: IntArray
    marked: IntArray
    place: IntArray
    top: FloatArray
    total: FloatArray
    radii: Radii


@kernel
def nearby(K: int, work: Workspace) -> Nearby:
    """The workspace's buffers for K components."""
    k = min(K, PRUNED_COMPONENTS)
    places, room, order, squared = work.places, work.room, PRUNED_ROWS, 2 * PRUNED_ROWS
    limit = squared + k * k
    return Nearby(
        places[:order],
        places[order : order + K + 2],
        places[order + K + 2 : order + 2 * K + 3],
        places[order + 2 * K + 3 : order + 3 * K + 3],
        places[order + 3 * K + 3 : order + 4 * K + 3],
        room[:order],
        room[order:squared],
        Radii(room[squared:limit].reshape(k, k), room[limit : limit + k], room[limit + k :]),
    )


@kernel
def _cost(D: int, K: float) -> float:
    """What a row costs if K components are looked at."""
    return K * (D * (D + 1) // 2 + D + _EXPONENTIAL)


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
def _largest_norm(Xt: FloatArray, scratch: FloatArray) -> float:
    """Of the tile's rows."""
    wide_vectors()
    for b in range(TILE):
        scratch[b] = 0.0
    for d in range(Xt.shape[0]):
        for b in range(TILE):
            scratch[b] += Xt[d, b] * Xt[d, b]
    return math.sqrt(_maximum(scratch, 0, TILE))


@kernel
def _largest_distance(log_c: float, lw: FloatArray, first: int, last: int, scratch: FloatArray) -> float:
    """Of the tile's rows first .. last from a component, squared, in bits."""
    wide_vectors()
    for b in range(first, last):
        scratch[b] = 2.0 * (log_c - lw[b])
    return _maximum(scratch, first, last)


@kernel
def prunes(data: Data, state: State, sliced: bool, first: int, last: int, work: Workspace, near: Nearby) -> bool:
    """Whether a pass over rows first .. last that prunes will cost less than a plain one; then radii are ready.

    Counted on a tile of rows from all over: as many components as are within the largest distance among them.
    """
    K, D, rows, index, radii = state.size[N_COMPONENTS], data.X.shape[1], last - first, work.row, near.radii
    most = (_WORTH * _cost(D, K) - _OVERHEAD - _OVERHEAD_VALUE * D) / _cost(D, 1.0)
    if data.tags.shape[0] > 0 or K > PRUNED_COMPONENTS or D > PRUNED_VALUES:
        return False
    if rows < max(_LEAST_ROWS, _LEAST_SHARE * K) or most < 1.0:
        return False
    if not set_radii(state.components, K, state.log_w, sliced, radii):
        return False
    for b in range(TILE):
        index[b] = first + b * (rows // TILE)
    load_rows(data.X, data.loc, index, TILE, work)
    log_weights(state.components, K, work)
    for b in range(TILE):
        j = state.z[index[b]]
        work.total[b] = 2.0 * (state.components.log_c[j] - work.lw[j, b]) if j < K else 0.0
    distance, alive = _maximum(work.total, 0, TILE), 0
    for b in range(TILE):
        j = state.z[index[b]]
        for k in range(K):
            alive += 0 if j < K and distance < radii.squared[j, k] else 1
    return alive <= most * TILE


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
def _reaches(lw: FloatArray, top: FloatArray) -> bool:
    """Whether a component is not negligible for some row of the tile, or cannot be compared."""
    wide_vectors()
    count = 0
    for b in range(TILE):
        count += 0 if lw[b] - top[b] <= NEGLIGIBLE else 1
    return count > 0


@kernel
def _move(lw: FloatArray, place: int, to: int) -> None:
    """lw[to] <- lw[place]."""
    wide_vectors()
    old, new = lw[place], lw[to]
    if place != to:
        for b in range(TILE):
            new[b] = old[b]


@kernel
def _weigh_own(components: Any, K: int, at: int, size: int, work: Workspace, near: Nearby) -> int:
    """Weights of the components that some row in places at .. at + size of the order had, in the last places of lw;
    returns how many. Marks them OWN, those that any row may need WANTED, and others LEFT_OUT.
    """
    part_of_callers()
    marked, start, radii, alive, place, own = near.marked, near.start, near.radii, near.alive, near.place, 0
    for k in range(K):
        marked[k] = LEFT_OUT
        if max(start[k], at) < min(start[k + 1], at + size):
            marked[k] = OWN
            alive[own] = k
            own += 1
    for s in range(own):
        place[s] = K - own + s
    weigh(components, alive[:own], place[:own], work)
    norm = _largest_norm(work.Xt, work.total)
    everything = start[K] < at + size  # outliers have no distance
    for s in range(own):
        j = alive[s]
        begin, end = max(start[j] - at, 0), min(start[j + 1] - at, size)
        distance = _largest_distance(components.log_c[j], work.lw[place[s]], begin, end, work.total)
        everything = everything or not norm < radii.limit[j]
        for k in range(K):
            if marked[k] == LEFT_OUT and not distance < radii.squared[j, k]:
                marked[k] = WANTED
    for k in range(K):
        if marked[k] == LEFT_OUT and (everything or not norm < radii.limit[k]):
            marked[k] = WANTED
    return own


@kernel
def weigh_tile(components: Any, K: int, sliced: bool, at: int, size: int, work: Workspace, near: Nearby) -> int:
    """lw and top of the rows in places at .. at + size of the order, of all components that can matter to any of them;
    returns how many they are, in ``alive``. ``sliced``, they may matter for what they are without their weights.
    """
    part_of_callers()
    marked, lw, wanted, m = near.marked, work.lw, 0, 0
    for b in range(TILE):
        work.top[b] = -np.inf
    own = K - _weigh_own(components, K, at, size, work, near)
    for k in range(K):  # those of the rows go down to their place among the others: over nothing that is still needed
        if marked[k] == OWN:
            _move(lw, own, m)
            own += 1
        elif marked[k] == WANTED:
            near.alive[wanted] = k
            near.place[wanted] = m
            wanted += 1
        m += 1 if marked[k] != LEFT_OUT else 0
    weigh(components, near.alive[:wanted], near.place[:wanted], work)
    found, m = 0, 0
    for k in range(K):
        if marked[k] == OWN or (marked[k] == WANTED and (sliced or _reaches(lw[found], work.top))):
            _move(lw, found, m)
            near.alive[m] = k
            m += 1
        found += 1 if marked[k] != LEFT_OUT else 0
    near.alive[m] = K
    return m


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
    K, outlier, labels = law.K, outlier_label(state), state.z[first:last]
    top, mass = (work.acc[0], work.acc[1]) if law.sliced else (work.top, work.total)
    put_in_order(labels, K, near)
    for i in range(first, last):
        for d in range(0, data.X.shape[1], LANES):
            fetch(data.X, i, d)  # in the order of memory, before they are read in that of labels
    for at in range(0, last - first, TILE):
        size = min(TILE, last - first - at)
        for b in range(TILE):
            work.row[b] = first + near.order[at + b] if b < size else first
        load_rows(data.X, data.loc, work.row, size, work)
        m = weigh_tile(state.components, K, law.sliced, at, size, work, near)
        if law.sliced:
            for b in range(size):
                work.label[b] = min(K, int(labels[near.order[at + b]]))
        draw_tile(law, data.tags, near.alive[:m], size, work)
        for b in range(size):
            i, k = near.order[at + b], near.alive[work.label[b]]
            labels[i] = outlier if k == K else k
            near.top[i] = top[b]
            near.total[i] = mass[b]
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
