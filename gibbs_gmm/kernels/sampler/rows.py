"""The store of the rows: it holds X and every chain's labels, and is the only thing that indexes either.

A store is a set of functions, :class:`Rows`. These are the ones of a machine that holds all rows; a sweep that runs
compiled is handed pointers to them, one that is interpreted may be handed others, which spread the passes over threads
or send them to other machines.
"""

from typing import Any, NamedTuple

import numpy as np

from gibbs_gmm.kernels._jit import kernel
from gibbs_gmm.kernels._records import by_address
from gibbs_gmm.kernels.random import uniform
from gibbs_gmm.kernels.sampler.state import Data
from gibbs_gmm.kernels.types import FloatArray, IntArray, LabelArray


@by_address
class Rows(NamedTuple):
    """What can be asked of the rows, and of a chain's labels z (N,).

    label_pass(data, state, sliced, work, first, last): draw all labels of shards first .. last, and their statistics.
    pair_pass(data, z, pair, work, first, last): what ``pair.task`` says of the members of two clusters. read(data,
    rows, size, out): the values of rows[:size], minus loc, into out (size, at least D). row(z, i), label(z, i): of
    observation i. partner(rng, z, i, a, same, outlier) -> j: another observation than i, at random among those of
    cluster a, or those that are not, and have not the label of outliers. members(z, a, b, rows, side) -> m: the rows
    of clusters a and b, in order, and 1 for those of b. assign(z, rows, side, size, a, b): label rows[:size], all
    members of a and b, a, or b where their side is 1. rename(z, was, now): give the rows of a cluster another label.
    relabel(z, place): label k becomes place[k]. least_slice(z, w, key, first, last) -> the least of w_{z_i} v_i, v_i
    the uniform of row i, over these rows. copy(z, out): all labels.
    """

    label_pass: Any
    pair_pass: Any
    read: Any
    row: Any
    label: Any
    partner: Any
    members: Any
    assign: Any
    rename: Any
    relabel: Any
    least_slice: Any
    copy: Any


@kernel
def read(data: Data, rows: IntArray, size: int, out: FloatArray) -> None:
    """See :class:`Rows`."""
    for s in range(size):
        x = data.X[rows[s]]
        for d in range(x.shape[0]):
            out[s, d] = x[d] - data.loc[d]


@kernel
def row(z: LabelArray, i: int) -> int:
    """See :class:`Rows`: the rows are the observations."""
    return i


@kernel
def label(z: LabelArray, i: int) -> int:
    """See :class:`Rows`."""
    return int(z[i])


@kernel
def partner(rng: np.random.Generator, z: LabelArray, i: int, a: int, same: bool, outlier: int) -> int:
    """See :class:`Rows`."""
    j = i
    while j == i or (z[j] == a) != same or z[j] == outlier:
        j = int(rng.random() * z.shape[0])
    return j


@kernel
def members(z: LabelArray, a: int, b: int, rows: IntArray, side: IntArray) -> int:
    """See :class:`Rows`. ``rows`` and ``side`` have room for one more than there are."""
    m = 0
    for i in range(z.shape[0]):
        rows[m] = i
        side[m] = 0 if z[i] == a else 1
        m += 1 if z[i] == a or z[i] == b else 0
    return m


@kernel
def assign(z: LabelArray, rows: IntArray, side: IntArray, size: int, a: int, b: int) -> None:
    """See :class:`Rows`."""
    for s in range(size):
        z[rows[s]] = a if side[s] == 0 else b


@kernel
def rename(z: LabelArray, was: int, now: int) -> None:
    """See :class:`Rows`."""
    for i in range(z.shape[0]):
        z[i] = now if z[i] == was else z[i]


@kernel
def relabel(z: LabelArray, place: IntArray) -> None:
    """See :class:`Rows`."""
    for i in range(z.shape[0]):
        z[i] = place[z[i]]


@kernel
def least_slice(z: LabelArray, w: FloatArray, key: np.uint64, first: int, last: int) -> float:
    """See :class:`Rows`; 1 of no rows."""
    least = 1.0
    for i in range(first, last):
        least = min(least, w[z[i]] * uniform(key, i))
    return least


@kernel
def copy(z: LabelArray, out: LabelArray) -> None:
    """See :class:`Rows`."""
    for i in range(z.shape[0]):
        out[i] = z[i]
