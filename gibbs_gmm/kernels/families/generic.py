"""What a family of components is: the types of a few named tuples, and these verbs.

A family has a ``Prior`` (the component prior as it is now, in the chain's state: a hyperparameter that moves is
overwritten there), ``Hyper`` (the laws of its hyperparameters), ``Parameters`` (as drawn), ``Components`` (as the label
pass wants them), ``Scratch`` and ``Side`` (a cluster that grows row by row). The first argument of a verb, a ``Prior``
or ``Components``, decides whose it is, when a kernel is compiled. Statistics are one type for all: a family says only
what is in a cluster's block, so that zeroing, adding, copying and sending statistics are written once, below.

Every cluster's statistics are taken about a centre of its own, ``centre[k]``: nothing cancels where data lie far from 0
and clusters far apart. After a draw the centre is the drawn mean.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gibbs_gmm.kernels._jit import by_family, kernel
from gibbs_gmm.kernels.random import draw_log_gamma
from gibbs_gmm.kernels.simd import LANES
from gibbs_gmm.kernels.tile import LOG2_E, Workspace
from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray


class Statistics(NamedTuple):
    """Sufficient statistics of K clusters: counts n (..., K), and a block (..., K, B) of sums about their centres.

    A leading axis counts shards. Blocks start on a cache line; B is a multiple of eight.
    """

    n: FloatArray
    block: FloatArray


class Family(NamedTuple):
    """How to make room for a family's tuples, in Python.

    block(D): numbers in a cluster's block of statistics. components(K, D), parameters(K, D), scratch(D): room for K
    components. side(prior, limit): room for two clusters of up to ``limit`` rows under this prior. block_of(d): the
    block of rows d (n, D) from which their mean has been taken. scale_ndim: axes of the learned scale.
    """

    block: Callable[[int], int]
    components: Callable[[int, int], Any]
    parameters: Callable[[int, int], Any]
    scratch: Callable[[int], Any]
    side: Callable[[Any, int], Any]
    block_of: Callable[[FloatArray], FloatArray]
    scale_ndim: int = 2

    def statistics(self, *shape: int) -> Statistics:
        """Statistics of no rows: shape (..., K, D)."""
        *lead, D = shape
        return Statistics(np.zeros(lead), zeros(*lead, self.block(D)))


def padded(D: int) -> int:
    """D rounded up to a multiple of eight."""
    return -(-D // LANES) * LANES


def zeros(*shape: int) -> FloatArray:
    """Zeros that start on a cache line."""
    raw = np.zeros(math.prod(shape) + LANES)
    skip = (-raw.ctypes.data % 64) // 8
    return raw[skip : skip + math.prod(shape)].reshape(shape)


# --- Of components, in the label pass -------------------------------------------------------------------------------


@by_family
def log_weights(components: Any, K: int, work: Workspace) -> None:
    """lw[k, b] <- log2 of w_k N(x_b | mu_k, Sigma_k) for the tile's rows, and top[b] <- its largest value over k.

    May overwrite work.Xt; work.rows stays.
    """


@by_family
def weigh(components: Any, chosen: IntArray, first: int, n: int, work: Workspace) -> None:
    """lw[first + s, b] <- what :func:`log_weights` puts into lw[chosen[s], b], b < n; top[b] is raised to the largest.

    n is a multiple of eight. Asked for only where there are radii.
    """


class Radii(NamedTuple):
    """How far rows may be from their component for others to be left out, and room to compute it.

    The distance of a row x from component k is sqrt(2 (log_c_k - log2 weight)). squared (K, K): in [j, k], a row whose
    squared distance from component j is less has less than 2^-53 of its weight there in component k. line (K, K, D +
    1): in [j, k], numbers a and v such that the distance from component k is at least a + v'x, which is much where x is
    near component j; (0, 0, 0) where there is no room. limit (K,): from this norm on, rounding might matter to a
    component. scratch: a family's own.
    """

    squared: FloatArray
    line: FloatArray
    limit: FloatArray
    scratch: FloatArray


@by_family
def set_radii(components: Any, K: int, log_w: FloatArray, sliced: bool, radii: Radii) -> bool:
    """Radii of at most PRUNED_COMPONENTS components of PRUNED_VALUES values; ``sliced``, that hold without weights too.

    Lines are of distances with weights. False in a family that knows no radii.
    """
    return False


@by_family
def accumulate(components: Any, size: int, work: Workspace, statistics: Statistics) -> None:
    """Add the tile's first ``size`` rows to the statistics (n (K,), block (K, B)) of their labels, about the centres.

    Rows may wait in ``work`` until :func:`flush`.
    """


@by_family
def flush(components: Any, K: int, work: Workspace, statistics: Statistics) -> None:
    """Add the rows that still wait."""


@by_family
def add_copies(components: Any, k: int, b: int, n: float, work: Workspace, statistics: Statistics) -> None:
    """Add n copies of the tile's row b to the statistics of component k, about its centre. None waits."""


@by_family
def add_all_copies(components: Any, K: int, size: int, work: Workspace, statistics: Statistics) -> None:
    """:func:`add_copies` of the tile's first ``size`` rows, of which component k has work.lw[k] copies each."""
    for k in range(K):
        for b in range(size):
            if work.lw[k, b] > 0.0:
                add_copies(components, k, b, work.lw[k, b], work, statistics)


@by_family
def swap(components: Any, parameters: Any, a: int, b: int) -> None:
    """Exchange components a and b, whatever is kept of them."""


@by_family
def ball(components: Any, k: int, x: FloatArray, scale: FloatArray) -> None:
    """Make component k a unit ball, in the columns' scales (D,), about the point x (at least D,)."""


@by_family
def keep(components: Any, k: int, library: Any, place: int) -> None:
    """Copy component k to a place of a library of components."""


@by_family
def log_odds(components: Any, x: FloatArray) -> float:
    """log2 of the ratio of weights times densities of components 0 and 1 at the point x (at least D,)."""


@by_family
def precision(components: Any, k: int, out: FloatArray) -> None:
    """out (D, D) <- log2(e) Sigma_k^-1."""


# --- Of the prior: conjugate updates --------------------------------------------------------------------------------


@by_family
def recall(prior: Any, library: Any, place: int, components: Any, k: int) -> None:
    """Make component k the one in a place of the library, at the shared parameters as they are."""


@by_family
def draw_shared(
    prior: Any, rng: np.random.Generator, statistics: Statistics, t: int, centre: FloatArray, scratch: Any
) -> int:
    """Parameters that all components share, given the clusters, the components' own parameters integrated out.

    Overwrites them in the prior. Returns 0, or the number of a pivot that is not positive. Here there are none.
    """
    return 0


@by_family
def draw(
    prior: Any,
    rng: np.random.Generator,
    n: float,
    statistics: Statistics,
    k: int,
    centre: FloatArray,
    parameters: Any,
    j: int,
    scratch: Any,
) -> int:
    """(mu, Sigma) of a component given the n rows of cluster k; n = 0 draws from the prior, whatever the block holds.

    Overwrites ``centre[k]``, about which the statistics are, by mu, and the parameters in place j. Returns 0, or the
    number of a pivot that is not positive.
    """


@by_family
def prepare(prior: Any, parameters: Any, j: int, components: Any, k: int) -> float:
    """Make component k ready for the label pass, with the parameters in place j and the mean ``components.centre[k]``.

    Returns the log of its density's normalising constant, less what a row loses by its resolution. The caller sets
    log_c.
    """


@by_family
def draw_hyper(
    prior: Any, rng: np.random.Generator, hyper: Any, t: int, parameters: Any, centre: FloatArray, scratch: Any
) -> int:
    """Hyperparameters given the t occupied components. Overwrites them in the prior.

    Returns 0, or the number of a pivot that is not positive.
    """


@by_family
def log_marginal(prior: Any, n: float, statistics: Statistics, k: int, centre: FloatArray, scratch: Any) -> float:
    """log density of the n rows of cluster k given what all components share, (mu, Sigma) integrated out.

    centre (P,) is the point that the statistics are about. NaN where it cannot be computed.
    """


@by_family
def set_rest(prior: Any, statistics: Statistics, t: int, centre: FloatArray, a: int, b: int, scratch: Any) -> None:
    """Before a move about clusters a and b of t: what the other clusters say of that which all components share.

    Where they share something, :func:`log_marginals` and :func:`draw_sides` then integrate it out, until
    :func:`draw_shared` draws it again. Here they share nothing.
    """


@by_family
def log_marginals(prior: Any, statistics: Statistics, a: int, b: int, centre: FloatArray, scratch: Any) -> float:
    """log density of the rows of clusters a and b (-1 for none), up to a constant that is the same for all divisions of
    these rows. centre (K, P): the points that the statistics are about. NaN where it cannot be computed.

    Here the sum of :func:`log_marginal`.
    """
    result = log_marginal(prior, statistics.n[a], statistics, a, centre[a], scratch)
    if b >= 0:
        result += log_marginal(prior, statistics.n[b], statistics, b, centre[b], scratch)
    return result


@by_family
def draw_sides(prior: Any, rng: np.random.Generator, groups: Statistics, components: Any, scratch: Any) -> int:
    """The components of a launch given two groups of rows. Returns 0 or the side that failed + 1.

    The weights are drawn from Beta(1 + n_0, 1 + n_1) whatever the prior of the mixture: a launch may be any function of
    the rows and of what the move does not change.
    """
    parameters, first = scratch.parameters, 0 * len(groups.n)
    for k in range(2):
        if draw(prior, rng, groups.n[k], groups, k, components.centre, parameters, first, scratch) != 0:
            return k + 1
        log_weight = draw_log_gamma(rng, 1.0 + groups.n[k])
        components.log_c[k] = LOG2_E * (log_weight + prepare(prior, parameters, first, components, k))
    return 0


@by_family
def merge(
    prior: Any,
    statistics: Statistics,
    a: int,
    b: int,
    centre: FloatArray,
    union: Statistics,
    union_centre: FloatArray,
) -> None:
    """Statistics of clusters a and b together, about their joint mean: into place 0 of ``union``, and its centre (P,).

    Each cluster is re-centred at its own mean first, so that nothing cancels when the two lie far apart.
    """


@by_family
def add_row(prior: Any, block: FloatArray, d: FloatArray) -> None:
    """Add a row d (P,), from which the centre has been taken, to a block (B,) of statistics about their mean.

    The sums are zero there, and stay so.
    """


@by_family
def log_prior(prior: Any, parameters: Any, centre: FloatArray, count: int) -> float:
    """log density of the first ``count`` components' parameters, and of those that all share, given hyperparameters."""


# --- Of the prior: a trace ------------------------------------------------------------------------------------------


@by_family
def write(
    prior: Any,
    rng: np.random.Generator,
    n: float,
    statistics: Statistics,
    k: int,
    parameters: Any,
    components: Any,
    loc: FloatArray,
    scratch: Any,
    means: AnyArray,
    covariances: AnyArray,
) -> None:
    """Write component k into ``means[k]`` (D,) and ``covariances``, both of one draw; n rows are its own.

    Where values are rounded by a width that matters, what is written is (mu, Sigma) of the values before, given the
    cluster.
    """


@by_family
def write_shared(prior: Any, covariances: AnyArray, kappa_0: FloatArray, scale: AnyArray, row: int) -> None:
    """Write hyperparameters, and what all components share, into row ``row`` of the trace's arrays."""


@by_family
def erase(prior: Any, covariances: AnyArray, k: int) -> None:
    """NaN into the covariances of component k of one draw."""


# --- Of the prior: clusters that grow row by row --------------------------------------------------------------------


@by_family
def begin(prior: Any, side: Any, k: int) -> None:
    """Empty side k of two."""


@by_family
def resume(prior: Any, statistics: Statistics, place: int, centre: FloatArray, side: Any, k: int, scratch: Any) -> bool:
    """Make side k the cluster in a place of the statistics, which are about the point centre (P,).

    False where its scale is not positive definite.
    """


@by_family
def shrink(prior: Any, side: Any, k: int, n: float, x: FloatArray) -> bool:
    """Take the row x (D,) out of side k of n rows, itself included.

    False where the side's scale does not stay positive definite, by rounding.
    """


@by_family
def log_predictive(prior: Any, side: Any, k: int, n: float, x: FloatArray) -> float:
    """log density of the row x (D,) given the n rows of side k, up to a constant that is the same for both sides.

    Leaves in ``side`` what :func:`grow` of the same row needs.
    """


@by_family
def grow(prior: Any, side: Any, k: int, n: float, x: FloatArray) -> None:
    """Add the row x (D,), whose predictive density was the last to be asked for, to side k of n rows so far."""


@by_family
def log_marginal_side(prior: Any, side: Any, k: int, n: float, scratch: Any) -> float:
    """:func:`log_marginal` of the n rows of side k, with what their resolution adds."""


# --- Statistics, of whatever family ---------------------------------------------------------------------------------


@kernel
def clear(statistics: Statistics, K: int) -> None:
    """Zero the first K."""
    for k in range(K):
        statistics.n[k] = 0.0
        for i in range(statistics.block.shape[1]):
            statistics.block[k, i] = 0.0


@kernel
def add_shard(total: Statistics, shards: Statistics, shard: int, K: int) -> None:
    """total <- shard 0, or total + any later shard, for the first K."""
    for k in range(K):
        total.n[k] = (0.0 if shard == 0 else total.n[k]) + shards.n[shard, k]
        for i in range(total.block.shape[1]):
            total.block[k, i] = (
                shards.block[shard, k, i] if shard == 0 else total.block[k, i] + shards.block[shard, k, i]
            )


@kernel
def copy_cluster(
    source: Statistics, k: int, centre: FloatArray, to: Statistics, place: int, to_centre: FloatArray
) -> None:
    """Copy count and block of cluster k, and its centre (P,)."""
    to.n[place] = source.n[k]
    for i in range(source.block.shape[1]):
        to.block[place, i] = source.block[k, i]
    for i in range(centre.shape[0]):
        to_centre[i] = centre[i]


@kernel
def swap_clusters(statistics: Statistics, a: int, b: int) -> None:
    """Exchange the statistics of two clusters."""
    statistics.n[a], statistics.n[b] = statistics.n[b], statistics.n[a]
    for i in range(statistics.block.shape[1]):
        statistics.block[a, i], statistics.block[b, i] = statistics.block[b, i], statistics.block[a, i]
