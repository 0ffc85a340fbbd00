"""Room for what the kernels work with: a chain's state, its split-merge moves, and a pass over two clusters."""

from __future__ import annotations

from typing import Any

import numpy as np

from gibbs_gmm.kernels.families.generic import Family, padded
from gibbs_gmm.kernels.sampler import sweep as kernels
from gibbs_gmm.kernels.sampler.launch import Pair
from gibbs_gmm.kernels.sampler.moves import Library, Moves
from gibbs_gmm.kernels.sampler.state import State, rows_of
from gibbs_gmm.kernels.types import FloatArray

_LIBRARY = 128  # learned launches kept
NO_OUTLIERS = np.zeros(0)
_SEEDS = 256  # and rows that small clusters were grown from


def empty_state(
    z: Any,
    prior: Any,
    family: Family,
    capacity: int,
    outliers: FloatArray = NO_OUTLIERS,
    shards: int | None = None,
) -> State:
    """Room for a chain's state, with these labels (N,), or copies, outliers, and a prior of its own, equal to this one.

    Its rows are cut into as many shards as this machine cuts them, or as is said.
    """
    D, shards = len(prior.mu_0), kernels.n_shards(rows_of(z)) if shards is None else shards
    return State(
        z=z,
        total=family.statistics(capacity, D),
        log_w=np.zeros(capacity),
        parameters=family.parameters(capacity, D),
        components=family.components(capacity, D),
        shards=family.statistics(shards, capacity, D),
        shard_log_likelihood=np.zeros(shards),
        key=np.zeros(2, np.uint64),
        alpha=np.zeros(1),
        prior=type(prior)(*(array.copy() for array in prior)),
        size=np.zeros(2, np.int64),
        report=np.zeros(3, np.int64),
        visits=np.zeros(3, np.int64),
        outliers=outliers.copy(),
    )


def new_moves(D: int, family: Family, capacity: int, shards: int) -> Moves:
    """Buffers of split-merge moves, and an empty library."""
    library = Library(
        components=family.components(2 * _LIBRARY, D),
        mean=np.zeros((_LIBRARY, D)),
        score=np.zeros(_LIBRARY),
        collected=np.zeros(1, np.int64),
        seeds=np.zeros(_SEEDS, np.int64),
        sown=np.zeros(1, np.int64),
    )
    return Moves(
        pair=new_pair(family, shards, D),
        groups=family.statistics(2, D),
        union=family.statistics(1, D),
        union_centre=np.zeros((1, padded(D))),
        sizes=np.zeros(capacity + 1),
        mean=np.zeros(D),
        scratch=family.scratch(D),
        counts=np.zeros((4, 3, 2), np.int64),
        rows_read=np.zeros(1, np.int64),
        library=library,
    )


def new_pair(family: Family, shards: int, D: int) -> Pair:
    """Room for a pass over two clusters."""
    return Pair(
        components=family.components(2, D),
        task=np.zeros(5, np.int64),
        key=np.zeros(1, np.uint64),
        anchors=np.zeros((2, padded(D))),
        groups=family.statistics(shards, 2, D),
        log_q=np.zeros(shards),
    )
