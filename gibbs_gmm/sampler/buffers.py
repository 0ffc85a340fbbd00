"""Room for what the kernels work with: a chain's state, its split-merge moves, and a pass over two clusters."""

from __future__ import annotations

import numpy as np

from gibbs_gmm.aligned import padded
from gibbs_gmm.kernels.families.hyperprior import new_room
from gibbs_gmm.kernels.sampler import sweep as kernels
from gibbs_gmm.kernels.sampler.label_pass import Components, Statistics
from gibbs_gmm.kernels.sampler.launch import Pair
from gibbs_gmm.kernels.sampler.split_merge import Library, Moves
from gibbs_gmm.kernels.sampler.state import Data, State
from gibbs_gmm.kernels.simd import LANES
from gibbs_gmm.kernels.types import LabelArray

_LIBRARY = 128  # learned launches kept


def empty_state(z: LabelArray, D: int, capacity: int) -> State:
    """Room for a chain's state, with these labels (N,)."""
    P, shards = -(-D // LANES) * LANES, kernels.n_shards(len(z))
    return State(
        z=z,
        total=_statistics(capacity, P),
        log_w=np.zeros(capacity),
        W=np.zeros((capacity, D, D)),
        components=_components(capacity, D),
        shards=_statistics(shards, capacity, P),
        shard_log_likelihood=np.zeros(shards),
        key=np.zeros(2, np.uint64),
        hyper=np.zeros(3),
        Psi_0=np.zeros((D, D)),
        L_0=np.zeros((D, D)),
        size=np.zeros(2, np.int64),
        report=np.zeros(3, np.int64),
    )


def new_moves(data: Data, capacity: int) -> Moves:
    """Buffers of split-merge moves, and an empty library."""
    D = data.X.shape[1]
    P, shards = -(-D // LANES) * LANES, kernels.n_shards(len(data.X))
    library = Library(
        W=np.zeros((_LIBRARY, 2, D, D)),
        c=np.zeros((_LIBRARY, 2, D)),
        log_c=np.zeros((_LIBRARY, 2)),
        centre=np.zeros((_LIBRARY, 2, P)),
        mean=np.zeros((_LIBRARY, D)),
        collected=np.zeros(1, np.int64),
    )
    return Moves(
        pair=new_pair(shards, D),
        groups=_statistics(2, P),
        union=_statistics(1, P),
        union_centre=np.zeros(P),
        sizes=np.zeros(capacity + 1),
        mu_n=np.zeros(D),
        Psi_n=np.zeros((D, D)),
        W=np.zeros((D, D)),
        room=new_room(D),
        score=np.zeros(_LIBRARY),
        counts=np.zeros((2, 3, 2), np.int64),
        rows=np.zeros(1, np.int64),
        library=library,
    )


def new_pair(shards: int, D: int) -> Pair:
    """Room for a pass over two clusters."""
    return Pair(
        components=_components(2, D),
        task=np.zeros(5, np.int64),
        key=np.zeros(1, np.uint64),
        groups=_statistics(shards, 2, -(-D // LANES) * LANES),
        log_q=np.zeros(shards),
    )


def _statistics(*shape: int) -> Statistics:
    """Empty statistics: shape (..., K, P)."""
    *lead, P = shape
    return Statistics(np.zeros(lead), padded(*lead, P), padded(*lead, P, P))


def _components(K: int, D: int) -> Components:
    """Room for K components in the label pass's form."""
    return Components(np.zeros((K, D, D)), np.zeros((K, D)), np.zeros(K), padded(K, -(-D // LANES) * LANES))
