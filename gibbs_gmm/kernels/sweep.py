"""One Gibbs sweep, and batches of sweeps that never return to Python in between.

A sweep is, in this order (Diebolt & Robert 1994):

1. ``draw_parameters``: w | z and (mu_k, Sigma_k) | z, from the sufficient statistics alone;
2. ``assign_shards``: z | w, mu, Sigma for all rows, and the statistics of the new clusters;
3. ``reduce_shards``: the shards' statistics summed, in their order.

Each leaves the posterior invariant. What is recorded after a sweep, (w, mu, Sigma, z) and the log likelihood of
(w, mu, Sigma), is therefore one draw from the joint posterior. Running 1-3 from Python with the shards of 2 spread over
threads gives the same bytes as ``run_sweeps``: the cut into shards depends on N only.
"""

import math
from typing import NamedTuple

import numpy as np

from gibbs_gmm.kernels._jit import kernel
from gibbs_gmm.kernels.assign import (
    LOG2_E,
    TILE,
    Components,
    Statistics,
    Workspace,
    accumulate,
    draw_labels,
    flush,
    load_tile,
    log_likelihood,
    log_weights,
    new_workspace,
)
from gibbs_gmm.kernels.linalg import invert_lower, log_diagonal, outer_lower
from gibbs_gmm.kernels.niw import Prior, draw_component, log_niw, update_posterior
from gibbs_gmm.kernels.random import draw_key
from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray, LabelArray
from gibbs_gmm.kernels.weights import draw_log_weights, log_dirichlet

_MIN_SHARD, _MAX_SHARDS = 16_384, 64


class Data(NamedTuple):
    """X (N, D), and the point that coordinates are taken about."""

    X: AnyArray
    loc: FloatArray


class Model(NamedTuple):
    """The prior as numbers: Dirichlet(alpha, ..., alpha) weights and NIW components."""

    alpha: float
    components: Prior


class State(NamedTuple):
    """Where one chain is: everything the next sweep needs, besides its generator.

    z (N,); total: statistics of z; log_w (K,), mu (K, P), W (K, D, D); components: the same, ready for the label pass;
    shards: statistics by shard; shard_log_likelihood (shards,); key (1,) of the sweep's uniforms.
    """

    z: LabelArray
    total: Statistics
    log_w: FloatArray
    W: FloatArray
    components: Components
    shards: Statistics
    shard_log_likelihood: FloatArray
    key: AnyArray


class Draws(NamedTuple):
    """Where the draws of a chain are written, one row per kept sweep; z has no rows if labels are not wanted."""

    weights: FloatArray
    means: FloatArray
    covariances: FloatArray
    log_likelihood: FloatArray
    log_posterior: FloatArray
    n_clusters: IntArray
    z: LabelArray


def n_shards(N: int) -> int:
    """Into how many shards N rows are cut. It depends on nothing else, so neither do the sums of their statistics."""
    return min(_MAX_SHARDS, max(1, N // _MIN_SHARD))


@kernel
def draw_parameters(rng: np.random.Generator, model: Model, state: State) -> int:
    """w | z and (mu_k, Sigma_k) | z from the statistics of z, and a key for the labels that follow.

    Returns 0, or k + 1 when the posterior scale matrix of component k is not positive definite.
    """
    K, D = state.W.shape[0], state.W.shape[1]
    n, s, S = state.total.n, state.total.s, state.total.S
    W_2, c, log_c, mu = state.components.W, state.components.c, state.components.log_c, state.components.centre
    draw_log_weights(rng, model.alpha, n, state.log_w)
    mu_n, Psi_n = np.empty(D), np.empty((D, D))
    scale = math.sqrt(LOG2_E)
    for k in range(K):
        update_posterior(model.components, n[k], s[k], S[k], mu[k], mu_n, Psi_n)
        kappa_n, nu_n = model.components.kappa_0 + n[k], model.components.nu_0 + n[k]
        if draw_component(rng, mu_n, kappa_n, nu_n, Psi_n, mu[k], state.W[k]) != 0:
            return k + 1
        for i in range(D):
            total = 0.0
            for j in range(i + 1):
                W_2[k, i, j] = scale * state.W[k, i, j]
                total -= W_2[k, i, j] * mu[k, j]
            c[k, i] = total
        log_c[k] = LOG2_E * (state.log_w[k] + log_diagonal(state.W[k]) - 0.5 * D * math.log(2.0 * math.pi))
    state.key[0] = draw_key(rng)
    return 0


@kernel
def assign_shards(data: Data, state: State, work: Workspace, first: int, last: int) -> None:
    """Draw z_i | w, mu, Sigma for the rows of shards first .. last, and collect their statistics.

    Leaves p(z | w, mu, Sigma, X) invariant (it draws from it). Overwrites z for these rows, and each shard's statistics
    about the components' centres and its log likelihood, sum_i log sum_k w_k N(x_i | mu_k, Sigma_k).
    """
    N, K, n_cut = data.X.shape[0], state.W.shape[0], state.shard_log_likelihood.shape[0]
    P = work.rows.shape[1]
    for shard in range(first, last):
        n, s, S = state.shards.n[shard], state.shards.s[shard], state.shards.S[shard]
        for k in range(K):
            n[k] = 0.0
            for i in range(P):
                s[k, i] = 0.0
                for j in range(P):
                    S[k, i, j] = 0.0
        total = 0.0
        end = (shard + 1) * N // n_cut
        for start in range(shard * N // n_cut, end, TILE):
            size = min(TILE, end - start)
            load_tile(data.X, data.loc, start, size, work.Xt, work.rows)
            log_weights(K, state.components, work)
            draw_labels(K, state.key[0], start, work)
            labels = state.z[start : start + size]  # a slice: an index that cannot be negative vectorises
            for b in range(size):
                labels[b] = work.label[b]
            accumulate(size, state.components, work, n, s, S)
            total += log_likelihood(size, work)
        flush(K, work, n, s, S)
        state.shard_log_likelihood[shard] = total / LOG2_E


@kernel
def _add(total: FloatArray, part: FloatArray, first: bool) -> None:
    """total <- part at first, else total + part, for one-dimensional arrays (a loop compiles faster than slices)."""
    for i in range(total.shape[0]):
        total[i] = part[i] if first else total[i] + part[i]


@kernel
def reduce_shards(state: State) -> float:
    """Sum the shards' statistics in order into ``state.total``; returns the log likelihood of (w, mu, Sigma)."""
    total, shards = state.total, state.shards
    result = 0.0
    for shard in range(state.shard_log_likelihood.shape[0]):
        first = shard == 0
        _add(total.n, shards.n[shard], first)
        for k in range(total.n.shape[0]):
            _add(total.s[k], shards.s[shard, k], first)
            for i in range(total.S.shape[1]):
                _add(total.S[k, i], shards.S[shard, k, i], first)
        result += state.shard_log_likelihood[shard]
    return result


@kernel
def record(data: Data, model: Model, state: State, total: float, draws: Draws, t: int) -> None:
    """Write the state into row t of the draws: Sigma_k = W_k^-1 W_k^-T, and the log posterior density

    log p(X | w, mu, Sigma) + log p(w) + sum_k log p(mu_k, Sigma_k), up to the constant log p(X).
    """
    K, D = state.W.shape[0], state.W.shape[1]
    V = np.empty((D, D))
    log_prior = log_dirichlet(model.alpha, state.log_w)
    clusters = 0
    for k in range(K):
        log_prior += log_niw(model.components, state.components.centre[k], state.W[k])
        draws.weights[t, k] = math.exp(state.log_w[k])
        for d in range(D):
            draws.means[t, k, d] = data.loc[d] + state.components.centre[k, d]
        invert_lower(state.W[k], V)
        outer_lower(V, draws.covariances[t, k])
        clusters += 1 if state.total.n[k] > 0.0 else 0
    draws.log_likelihood[t] = total
    draws.log_posterior[t] = total + log_prior
    draws.n_clusters[t] = clusters
    if draws.z.shape[0] > 0:
        z = draws.z[t]
        for i in range(z.shape[0]):
            z[i] = state.z[i]


@kernel
def assign_task(data: Data, state: State, first: int, last: int) -> None:
    """:func:`assign_shards` with a workspace of its own: one task of a sweep that is spread over threads."""
    assign_shards(data, state, new_workspace(state.W.shape[0], state.W.shape[1]), first, last)


@kernel
def run_sweeps(
    rng: np.random.Generator, data: Data, model: Model, state: State, sweeps: int, thin: int, draws: Draws
) -> int:
    """Run ``sweeps`` sweeps; with thin > 0 record every thin-th, in the rows of ``draws`` from the first.

    Returns 0, or sweep * (K + 1) + k + 1 when component k fails in that sweep (counted from 0).
    """
    K, D = state.W.shape[0], state.W.shape[1]
    work = new_workspace(K, D)
    for sweep in range(sweeps):
        status = draw_parameters(rng, model, state)
        if status != 0:
            return sweep * (K + 1) + status
        assign_shards(data, state, work, 0, state.shard_log_likelihood.shape[0])
        total = reduce_shards(state)
        if thin > 0 and (sweep + 1) % thin == 0:
            record(data, model, state, total, draws, (sweep + 1) // thin - 1)
    return 0
