"""Rows in an order in which few components of a mixture matter to each tile of them."""

import functools

import numpy as np

from gibbs_gmm.kernels.posterior.predictive import Mixtures, nearest
from gibbs_gmm.kernels.tile import TILE
from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray
from gibbs_gmm.threads import Threads

_LEAST_COMPONENTS, _LEAST_VALUES, _LEAST_TILES = 8, 8, 2
"""From where on it is worth it: components, values of a row, and tiles for each component."""

_MOST_NUMBERS = 1 << 25
"""Of rows that may be copied: more, which may be those of a memory map, are read in place."""


def near_each_other(
    X: AnyArray, loc: FloatArray, mixtures: Mixtures, workers: Threads, most: int
) -> tuple[AnyArray, IntArray, IntArray] | None:
    """The rows by their densest components under the block's first draw, their numbers, and the component of each tile;
    None if it is not worth it, or there are too many of them. ``most`` rows are looked at by one task."""
    K = int(mixtures.n[0])
    if (
        X.size > _MOST_NUMBERS
        or K < _LEAST_COMPONENTS
        or X.shape[1] < _LEAST_VALUES
        or len(X) < _LEAST_TILES * TILE * K
    ):
        return None
    component = np.empty(len(X), np.int64)
    workers.run(functools.partial(nearest, X, loc, mixtures, component), len(X), TILE, most)
    order = np.argsort(component, kind="stable")
    rows = X[order]
    rows.flags.writeable = False  # as all rows that the kernels read: they are compiled for one kind of array
    return rows, order, component[order][::TILE].copy()
