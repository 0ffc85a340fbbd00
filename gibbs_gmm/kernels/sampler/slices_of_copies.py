"""Slices of the copies of a row (Walker 2007), in aggregate.

A copy with label k has a slice u ~ U(0, w_k), and may only go to components with w > u. With the E components whose
weights exceed the rest, sorted by weight, w_(1) >= w_(2) >= ..., a copy whose slice lies between w_(m + 1) and w_(m)
(the rest, in place of w_(E + 1)) may go to the first m of them; one below the rest keeps its label. How many of the
copies of a row and label lie in each interval is multinomial, given the least of their slices: it is drawn first, since
the sticks of the process are broken until less than it is left. Copies that may go to the first m choose among these by
densities alone: how many choose the m-th is binomial, and the others are like those that may go to the first m - 1.
"""

import math
from typing import Any

import numpy as np

from gibbs_gmm.kernels._jit import kernel
from gibbs_gmm.kernels.binomial import binomial
from gibbs_gmm.kernels.families.generic import Statistics, add_copies
from gibbs_gmm.kernels.random import subkey, uniform
from gibbs_gmm.kernels.tile import Workspace, exp2
from gibbs_gmm.kernels.types import AnyArray, IntArray


@kernel
def least_of(v: float, n: float) -> float:
    """The least of n uniforms on (0, 1), by inversion of a uniform v: 1 - (1 - v)^(1/n)."""
    return -math.expm1(math.log1p(-v) / n)


@kernel
def sort_weights(K: int, work: Workspace) -> None:
    """work.waiting <- the components by falling weight."""
    order, weight = work.waiting, work.weight
    for k in range(K):
        place = k
        while place > 0 and weight[order[place - 1]] < weight[k]:
            order[place] = order[place - 1]
            place -= 1
        order[place] = k


@kernel
def _place_slices(
    key: np.uint64, n: float, place: int, E: int, least: float, rest: float, work: Workspace, eligible: AnyArray
) -> float:
    """Add the slices of n copies of the component at a place to the intervals; returns how many lie below the rest.

    The least is given; the others are uniform above it.
    """
    order, weight = work.waiting, work.weight
    left, top, m = n - 1.0, weight[order[place]], place
    while m < E:
        bottom = weight[order[m + 1]] if m + 1 < E else rest
        if least > bottom:
            eligible[m] += left + 1.0
            return 0.0
        drawn = 0.0
        if left > 0.0 and top > bottom:
            drawn = binomial(subkey(key, m), left, top - bottom, bottom - least)
        eligible[m] += drawn
        left -= drawn
        top = bottom
        m += 1
    return left + 1.0


@kernel
def draw_sliced_copies(
    K: int,
    rest: float,
    keys: AnyArray,
    components: Any,
    c: IntArray,
    start: int,
    size: int,
    work: Workspace,
    statistics: Statistics,
) -> None:
    """c[k, start + b] <- how many copies of the tile's row b component k has; they are added to the statistics.

    lw[k, b] = log2 of weight times density; work.weight and work.waiting as :func:`sort_weights` leaves them; ``rest``
    the weight of the components that are not represented. keys: of the labels, and of the slices. Overwrites
    work.pending.
    """
    lw, order, weight = work.lw, work.waiting, work.weight
    room = work.pending.reshape(-1)
    eligible, log_sum, new = room[:K], room[K : 2 * K], room[2 * K : 3 * K]
    E = 0
    while E < K and weight[order[E]] > rest:
        E += 1
    for b in range(size):
        row = start + b
        own, slices = subkey(keys[0], row), subkey(keys[1], row)
        for k in range(K):
            eligible[k], new[k] = 0.0, 0.0
        for m in range(K):
            k = order[m]
            n = float(c[k, row])
            if n > 0.0:
                least = weight[k] * least_of(uniform(slices, k), n)
                new[k] += _place_slices(subkey(own, k), n, m, E, least, rest, work, eligible)
        for m in range(E):
            density = lw[order[m], b] - math.log2(weight[order[m]])
            high, low = density, -np.inf
            if m > 0:
                high, low = max(density, log_sum[m - 1]), min(density, log_sum[m - 1])
            log_sum[m] = high + math.log2(1.0 + exp2(low - high))
        left = 0.0
        for m in range(E - 1, -1, -1):
            k = order[m]
            left += eligible[m]
            if left == 0.0:
                continue
            drawn = left
            if m > 0:
                density = lw[k, b] - math.log2(weight[k])
                high = max(density, log_sum[m - 1])
                drawn = binomial(subkey(own, K + m), left, exp2(density - high), exp2(log_sum[m - 1] - high))
            new[k] += drawn
            left -= drawn
        for k in range(K):
            c[k, row] = int(new[k])
            if new[k] > 0.0:
                add_copies(components, k, b, new[k], work, statistics)
