"""What the kernels pass to each other: data and model in, a chain's state, and the draws that come out."""

from typing import Any, NamedTuple

import numpy as np

from gibbs_gmm.kernels._jit import by_family, kernel
from gibbs_gmm.kernels._records import by_address
from gibbs_gmm.kernels.families.generic import Statistics
from gibbs_gmm.kernels.sampler.partition_prior import Weights
from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray, LabelArray

N_COMPONENTS, N_CLUSTERS = 0, 1
"""Places in ``State.size``."""

DONE, FAILED, UNRECORDED = 0, 1, 2
"""Places in ``State.report``: sweeps done by the last call; component that failed + 1, negative for a hyperparameter or
a shared parameter, or 0; whether the last draw found no room in the trace."""

RISING, AWAY, ALL_AWAY = 0, 1, 2
"""Places in ``State.visits``, of a known n that may rise: sweeps in which it might while p(n) was tilted; sweeps in a
row after which it was larger; and all such sweeps."""

SHAPE_0, SHAPE_1, LOG_DENSITY, COUNT, LOG_SHARE, LOG_REST = 0, 1, 2, 3, 4, 5
"""Places in ``State.outliers``: the law Beta(SHAPE_0, SHAPE_1) of the share of outliers, the log of their density, how
many rows are outliers now, and the logarithms of their share and of what it leaves, as drawn."""


@by_address
class Room(NamedTuple):
    """Scratch of a pass over rows with latent values (:mod:`gibbs_gmm.kernels.sampler.latent`).

    precision (D D width,): Lambda of each component, times log2(e), components innermost, width their number padded to
    eight; shift (D width,) = Lambda mu; u (D width,) and spare (width,); table: factors, one kind of row behind
    another, first the place for kinds that have none of their own; place: where those of each kind begin. Of a tile: Xt
    (D, TILE) its rows, tile (R, TILE) factors for each row, normals (D + 1, TILE), tags (TILE,). one (D, D) and
    vector (D,). order, part, own and tally: see :func:`gibbs_gmm.kernels.sampler.latent_order.sort_rows`.
    """

    precision: FloatArray
    shift: FloatArray
    u: FloatArray
    spare: FloatArray
    table: FloatArray
    place: IntArray
    Xt: FloatArray
    tile: FloatArray
    normals: FloatArray
    tags: IntArray
    one: FloatArray
    vector: FloatArray
    order: IntArray
    part: IntArray
    own: IntArray
    tally: IntArray


@by_address
class Latent(NamedTuple):
    """Which values are not known exactly, and what they are now; all arrays are empty where all are.

    values (N, D): those of a chain, the true values filled in, which its ``Data.X`` shows. group (N,): what kind of row
    each is, -1 where all of it is exact. recorded (N, D): what was observed, NaN where nothing was, or empty where no
    value is measured with an error. Of each kind of row: size (G,), how many columns are not exact, and columns (G, D)
    which; noise (G, D), the inverse of the variance of its measurements times log2(e), 0 in missing columns, or (G, D
    D) of their covariance, or empty; constant (G,). pattern (G,): which set of columns is not exact, the most frequent
    one first; first: a kind of each set. shared (3,): how many kinds have several rows, and how many have many: they
    come first; and how many sets have many, where such rows can be worked on together although their errors differ.
    """

    values: FloatArray
    group: IntArray
    recorded: FloatArray
    size: IntArray
    columns: IntArray
    noise: FloatArray
    constant: FloatArray
    shared: IntArray
    pattern: IntArray
    first: IntArray
    room: Room


def nothing_latent() -> Latent:
    """Of data that are known exactly."""
    none, no_rows, no_number = np.zeros(0), np.zeros((0, 0)), np.zeros(0, np.int64)
    room = Room(*(none,) * 5, no_number, *(no_rows,) * 3, no_number, no_rows, none, *(no_number,) * 4)
    integers = np.zeros((0, 0), np.int64)
    return Latent(
        no_rows, no_number, no_rows, no_number, integers, no_rows, none, no_number, no_number, no_number, room
    )


@by_address
class Data(NamedTuple):
    """X (N, D), the point that coordinates are taken about (D,), and the scale of each column (D,).

    tags (N,): the cluster of each row of a known kind, -1 for other rows; of length 0 where no kind is known. latent:
    values that are not known exactly.
    """

    X: AnyArray
    loc: FloatArray
    scale: FloatArray
    tags: IntArray = np.zeros(0, np.int64)
    latent: Latent = nothing_latent()


@by_address
class Model(NamedTuple):
    """The prior as numbers: of n, the weights and the concentration; of the components, where a chain starts; and of
    what is learned of that. The last two are of one family (:mod:`gibbs_gmm.kernels.families.generic`).
    """

    weights: Weights
    prior: Any
    hyper: Any


@by_address
class State(NamedTuple):
    """Where one chain is: everything the next sweep needs, besides its generator.

    Arrays over components have room for ``capacity`` of them, of which the first ``size[N_COMPONENTS]`` are in use, the
    occupied ones first. z (N,), or what a store of rows has in its place; total: statistics of z about
    ``components.centre``; log_w; parameters, as drawn, and components: the same, ready for the label pass, with the
    means as their centres; shards, shard_log_likelihood: results by shard; key (2,) of the sweep's uniforms; alpha (1,)
    the concentration; prior: that of the components at the current hyperparameters; size (2,); report (3,); visits
    (3,). outliers (6,): of a component of fixed density for rows of no kind, which is none of the others: its rows have
    the label of the last place, :func:`outlier_label`; of length 0 where there is none.
    """

    z: Any
    total: Statistics
    log_w: FloatArray
    parameters: Any
    components: Any
    shards: Statistics
    shard_log_likelihood: FloatArray
    key: AnyArray
    alpha: FloatArray
    prior: Any
    size: IntArray
    report: IntArray
    visits: IntArray
    outliers: FloatArray


@by_address
class Draws(NamedTuple):
    """Where a chain's draws are written, one row per kept sweep; z has no rows if labels are not wanted.

    The shapes of covariances and scale are the family's.
    """

    weights: FloatArray
    means: FloatArray
    covariances: FloatArray
    log_likelihood: FloatArray
    log_posterior: FloatArray
    n_components: IntArray
    n_clusters: IntArray
    concentration: FloatArray
    kappa_0: FloatArray
    scale: FloatArray
    outlier_weight: FloatArray
    z: LabelArray


@by_family
def observations_of(z: Any) -> int:
    """How many observations a chain has labels of: as many as rows, but where a row stands for several."""
    return int(z.shape[0])


@by_family
def rows_of(z: Any) -> int:
    """How many rows a chain has labels of."""
    return int(z.shape[0])


@kernel
def n_observations(state: State) -> int:
    """How many observations the prior of partitions speaks of: all but outliers."""
    return observations_of(state.z) - n_outliers(state)


@kernel
def n_rows(state: State) -> int:
    """How many rows a pass reads."""
    return rows_of(state.z)


@kernel
def n_outliers(state: State) -> int:
    """How many rows are outliers."""
    return int(state.outliers[COUNT]) if state.outliers.shape[0] > 0 else 0


@kernel
def room(state: State) -> int:
    """How many components there is room for: the last place is kept for outliers, where there may be any."""
    return state.log_w.shape[0] - (1 if state.outliers.shape[0] > 0 else 0)


@kernel
def outlier_label(state: State) -> int:
    """The label of outliers, or -1 where there are none."""
    return state.log_w.shape[0] - 1 if state.outliers.shape[0] > 0 else -1
