"""What the kernels pass to each other: data and model in, a chain's state, and the draws that come out."""

from typing import Any, NamedTuple

from gibbs_gmm.kernels._jit import by_family, kernel
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


class Data(NamedTuple):
    """X (N, D), the point that coordinates are taken about (D,), and the scale of each column (D,)."""

    X: AnyArray
    loc: FloatArray
    scale: FloatArray


class Model(NamedTuple):
    """The prior as numbers: of n, the weights and the concentration; of the components, where a chain starts; and of
    what is learned of that. The last two are of one family (:mod:`gibbs_gmm.kernels.families.generic`).
    """

    weights: Weights
    prior: Any
    hyper: Any


class State(NamedTuple):
    """Where one chain is: everything the next sweep needs, besides its generator.

    Arrays over components have room for ``capacity`` of them, of which the first ``size[N_COMPONENTS]`` are in use, the
    occupied ones first. z (N,), or what a store of rows has in its place; total: statistics of z about
    ``components.centre``; log_w; parameters, as drawn, and components: the same, ready for the label pass, with the
    means as their centres; shards, shard_log_likelihood: results by shard; key (2,) of the sweep's uniforms; alpha (1,)
    the concentration; prior: that of the components at the current hyperparameters; size (2,); report (3,); visits
    (3,).
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
    """How many observations the prior of partitions speaks of, and a proposal chooses among."""
    return observations_of(state.z)


@kernel
def n_rows(state: State) -> int:
    """How many rows a pass reads."""
    return rows_of(state.z)
