"""One Gibbs sweep, and batches of sweeps that never return to Python in between.

A sweep is, in this order:

1. split-merge moves: C given everything but weights, means and covariances, which are integrated out;
2. ``draw_weights``: n | C (telescoping), the concentration | C, n, the weights | C; ``draw_components`` for the
   occupied ones | z; ``draw_hyperparameters`` given those; and unoccupied components from the prior;
3. ``assign_shards``: z | w, mu, Sigma for all rows (Diebolt & Robert 1994), and the statistics of the new clusters;
4. ``reduce_shards`` and ``compact``: the shards' statistics summed in their order, occupied components put first.

Each leaves the posterior invariant. What is recorded after a sweep, (n, w, mu, Sigma, z) and the log likelihood, is
therefore one draw from the joint posterior. ``run_sweeps`` interpreted, with its passes over X spread over threads,
gives the same bytes as compiled: the cut into shards depends on N only.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from gibbs_gmm.kernels._jit import allocating_kernel, kernel, pointer
from gibbs_gmm.kernels.families.full import draw_component, log_niw, log_normaliser, noise_exponent, update_posterior
from gibbs_gmm.kernels.families.hyperprior import FIXED, Room, draw_kappa, draw_scale
from gibbs_gmm.kernels.families.rounding import draw_unrounded
from gibbs_gmm.kernels.linalg import invert_lower, log_diagonal, outer_lower
from gibbs_gmm.kernels.random import draw_key, uniform
from gibbs_gmm.kernels.sampler.label_pass import (
    LOG2_E,
    TILE,
    Workspace,
    accumulate,
    apply_slice,
    draw_labels,
    flush,
    load_tile,
    log_likelihood,
    log_weights,
    new_workspace,
    sum_weights,
)
from gibbs_gmm.kernels.sampler.launch import restricted_shards
from gibbs_gmm.kernels.sampler.partition_prior import (
    PROCESS,
    break_sticks,
    component_concentration,
    draw_concentration,
    draw_n_components,
    draw_process_weights,
)
from gibbs_gmm.kernels.sampler.row_by_row import Sides, new_sides, sequential_moves
from gibbs_gmm.kernels.sampler.split_merge import Moves, split_merge
from gibbs_gmm.kernels.sampler.state import (
    ALPHA,
    DONE,
    FAILED,
    KAPPA,
    LOG_NORM,
    N_CLUSTERS,
    N_COMPONENTS,
    UNRECORDED,
    Data,
    Draws,
    Model,
    State,
    current_prior,
)
from gibbs_gmm.kernels.sampler.weights import draw_log_weights, log_dirichlet
from gibbs_gmm.kernels.types import FloatArray, IntArray, LabelArray

_MIN_SHARD, _MAX_SHARDS = 16_384, 64


def n_shards(N: int) -> int:
    """Into how many shards N rows are cut. It depends on nothing else, so neither do the sums of their statistics."""
    return min(_MAX_SHARDS, max(1, N // _MIN_SHARD))


@kernel
def least_slice(z: LabelArray, w: FloatArray, key: np.uint64, first: int, last: int) -> float:
    """The least of w_{z_i} v_i over rows first .. last, v_i the uniform of row i; 1 of none."""
    least = 1.0
    for i in range(first, last):
        least = min(least, w[z[i]] * uniform(key, i))
    return least


@kernel
def _draw_sticks(rng: np.random.Generator, model: Model, state: State, t: int) -> int:
    """Weights of a process given C: the clusters', then sticks until less is left than the least slice (Walker 2007).

    The slice of row i is u_i = w_{z_i} v_i, v_i uniform by ``key[1]``. Returns the number n of components; log_w[n]
    holds the rest.
    """
    alpha, log_w, w = state.hyper[ALPHA], state.log_w, state.components.log_c  # log_c is drawn afresh after this
    draw_process_weights(rng, model.weights, alpha, t, state.total.n, log_w)
    for k in range(t):
        w[k] = math.exp(log_w[k])
    least = least_slice(state.z, w, state.key[1], 0, state.z.shape[0])
    return break_sticks(rng, model.weights, alpha, t, math.log(least), log_w)


@kernel
def draw_weights(rng: np.random.Generator, model: Model, state: State, scratch: FloatArray) -> None:
    """n | C, then the concentration | C, n, then the weights | C, n and the concentration."""
    N, weights, sizes, alpha = state.z.shape[0], model.weights, state.total.n, state.hyper[ALPHA]
    t = state.size[N_CLUSTERS]
    state.key[1] = draw_key(rng)
    if weights.kind != PROCESS and not weights.known:
        state.size[N_COMPONENTS] = draw_n_components(rng, weights, alpha, N, t, sizes, scratch)
    if weights.grid.shape[0] > 0:
        alpha = draw_concentration(rng, weights, alpha, N, state.size[N_COMPONENTS], t, sizes)
        state.hyper[ALPHA] = alpha
    if weights.kind == PROCESS:
        state.size[N_COMPONENTS] = _draw_sticks(rng, model, state, t)
    else:
        draw_known_weights(rng, model, state, scratch)


@kernel
def draw_known_weights(rng: np.random.Generator, model: Model, state: State, scratch: FloatArray) -> None:
    """The weights | C where n and the concentration are known: all that :func:`draw_weights` then does."""
    t, n = state.size[N_CLUSTERS], state.size[N_COMPONENTS]
    for k in range(t, n):
        state.total.n[k] = 0.0
    gamma = component_concentration(model.weights, state.hyper[ALPHA], n)
    draw_log_weights(rng, gamma, state.total.n, state.log_w[:n])


@kernel
def draw_hyperparameters(rng: np.random.Generator, model: Model, state: State, room: Room) -> int:
    """Psi_0 and kappa_0 given the occupied components, where they are learned. Returns 0 or a failed pivot."""
    D, t, prior, hyper = state.Psi_0.shape[0], state.size[N_CLUSTERS], model.components, model.hyper
    if hyper.law != FIXED:
        status = draw_scale(rng, hyper, t, prior.nu_0, state.W, room, state.Psi_0, state.L_0)
        if status != 0:
            return status
    if hyper.kappa_shape > 0.0:
        state.hyper[KAPPA] = draw_kappa(rng, hyper, prior.mu_0, t, state.W, state.components.centre)
    state.hyper[LOG_NORM] = log_normaliser(D, state.hyper[KAPPA], prior.nu_0, 2.0 * log_diagonal(state.L_0))
    return 0


@kernel
def keep_hyperparameters(rng: np.random.Generator, model: Model, state: State, room: Room) -> int:
    """Stands in for :func:`draw_hyperparameters` where all are fixed."""
    return 0


@kernel
def draw_components(
    rng: np.random.Generator, model: Model, state: State, first: int, last: int, mu_n: FloatArray, Psi_n: FloatArray
) -> int:
    """(mu_k, Sigma_k) | z for components first .. last, ready for the label pass, and a key for the labels.

    Components without observations are drawn from the prior. mu_n (D,) and Psi_n (D, D) are scratch. Returns 0, or
    k + 1 when the posterior scale matrix of component k is not positive definite.
    """
    D, total, t = state.W.shape[1], state.total, state.size[N_CLUSTERS]
    prior, scale = current_prior(model, state), math.sqrt(LOG2_E)
    W_2, c, log_c, mu = state.components.W, state.components.c, state.components.log_c, state.components.centre
    state.key[0] = draw_key(rng)
    for k in range(first, last):
        n = total.n[k] if k < t else 0.0
        update_posterior(prior, n, total.s[k], total.S[k], mu[k], mu_n, Psi_n)
        if draw_component(rng, mu_n, prior.kappa_0 + n, prior.nu_0 + n, Psi_n, mu[k], state.W[k]) != 0:
            return k + 1
        for i in range(D):
            y = 0.0
            for j in range(i + 1):
                W_2[k, i, j] = scale * state.W[k, i, j]
                y -= W_2[k, i, j] * mu[k, j]
            c[k, i] = y
        log_density = log_diagonal(state.W[k]) - 0.5 * D * math.log(2.0 * math.pi) - noise_exponent(prior, state.W[k])
        log_c[k] = LOG2_E * (state.log_w[k] + log_density)
    return 0


@kernel
def assign_shards(data: Data, state: State, sliced: bool, work: Workspace, first: int, last: int) -> None:
    """Draw z_i | w, mu, Sigma for the rows of shards first .. last, and collect their statistics.

    Leaves p(z | w, mu, Sigma, X) invariant (it draws from it); ``sliced``, p(z | w, mu, Sigma, u, X),
    where row i may only choose among the components with w_k > u_i. Overwrites z for these rows, and each shard's
    statistics about the components' centres and its log likelihood, sum_i log sum_k w_k N(x_i | mu_k, Sigma_k).
    """
    N, K, n_cut = data.X.shape[0], state.size[N_COMPONENTS], state.shard_log_likelihood.shape[0]
    P = work.rows.shape[1]
    if sliced:
        for k in range(K):
            work.weight[k] = math.exp(state.log_w[k])
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
            labels = state.z[start : start + size]  # a slice: an index that cannot be negative vectorises
            load_tile(data.X, data.loc, start, size, work.Xt, work.rows)
            log_weights(K, state.components, work)
            if sliced:
                sum_weights(K, work)
                total += log_likelihood(size, work)
                apply_slice(K, math.exp(state.log_w[K]), state.key[1], start, labels, work)
            draw_labels(K, state.key[0], start, work)
            for b in range(size):
                labels[b] = work.label[b]
            accumulate(size, state.components, work, n, s, S)
            if not sliced:
                total += log_likelihood(size, work)
        flush(K, work, n, s, S)
        state.shard_log_likelihood[shard] = total / LOG2_E


@allocating_kernel
def assign_task(data: Data, state: State, sliced: bool, first: int, last: int) -> None:
    """:func:`assign_shards` with a workspace of its own: one task of a pass that is spread over threads."""
    assign_shards(data, state, sliced, new_workspace(state.size[N_COMPONENTS], state.W.shape[1]), first, last)


@kernel
def _add(total: FloatArray, part: FloatArray, first: bool) -> None:
    """total <- part at first, else total + part, for one-dimensional arrays (a loop compiles faster than slices)."""
    for i in range(total.shape[0]):
        total[i] = part[i] if first else total[i] + part[i]


@kernel
def reduce_shards(state: State) -> float:
    """Sum the shards' statistics in order into ``state.total``; returns the log likelihood of (w, mu, Sigma)."""
    total, shards, K = state.total, state.shards, state.size[N_COMPONENTS]
    result = 0.0
    for shard in range(state.shard_log_likelihood.shape[0]):
        first = shard == 0
        _add(total.n[:K], shards.n[shard, :K], first)
        for k in range(K):
            _add(total.s[k], shards.s[shard, k], first)
            for i in range(total.S.shape[1]):
                _add(total.S[k, i], shards.S[shard, k, i], first)
        result += state.shard_log_likelihood[shard]
    return result


@kernel
def _swap(a: FloatArray, b: FloatArray) -> None:
    for i in range(a.shape[0]):
        a[i], b[i] = b[i], a[i]


@kernel
def compact(state: State, place: IntArray) -> None:
    """Put the occupied components first and count them. ``place`` (capacity,) is scratch.

    A hole is filled by the last occupied component, as often as needed; z is relabelled in one pass if anything moved.
    """
    total, components, K = state.total, state.components, state.size[N_COMPONENTS]
    for k in range(K):
        place[k] = k
    low, high, moved = 0, K - 1, False
    while True:
        while low < K and total.n[low] > 0.0:
            low += 1
        while high >= 0 and total.n[high] == 0.0:
            high -= 1
        if low > high:
            break
        place[high] = low
        moved = True
        total.n[low], total.n[high] = total.n[high], total.n[low]
        state.log_w[low], state.log_w[high] = state.log_w[high], state.log_w[low]
        components.log_c[low], components.log_c[high] = components.log_c[high], components.log_c[low]
        _swap(total.s[low], total.s[high])
        _swap(components.c[low], components.c[high])
        _swap(components.centre[low], components.centre[high])
        for i in range(total.S.shape[1]):
            _swap(total.S[low, i], total.S[high, i])
        for i in range(state.W.shape[1]):
            _swap(state.W[low, i], state.W[high, i])
            _swap(components.W[low, i], components.W[high, i])
    state.size[N_CLUSTERS] = low
    if moved:
        z = state.z
        for i in range(z.shape[0]):
            z[i] = place[z[i]]


@kernel
def finish(state: State, place: IntArray) -> float:
    """:func:`reduce_shards`, then :func:`compact`; returns the log likelihood of (w, mu, Sigma)."""
    total = reduce_shards(state)
    compact(state, place)
    return total


@kernel
def record(
    rng: np.random.Generator,
    data: Data,
    model: Model,
    state: State,
    moves: Moves,
    total: float,
    draws: Draws,
    row: int,
) -> bool:
    """Write the state into a row of the draws: Sigma_k = W_k^-1 W_k^-T, and the log posterior density

    log p(X | w, mu, Sigma) + log p(w) + sum_k log p(mu_k, Sigma_k), up to a constant, over all components (known n) or
    the occupied ones and their weights (unknown n). Unused slots are NaN, their weights 0. False if there are too few
    slots. Where values are rounded by a width that matters, the means and covariances written are those of the values
    before, given the clusters (:mod:`rounding`).
    """
    D, slots, K, t = state.W.shape[1], draws.weights.shape[1], state.size[N_COMPONENTS], state.size[N_CLUSTERS]
    written = K if model.weights.known else t
    if written > slots:
        return False
    prior, mu, W, V = current_prior(model, state), moves.union_centre, moves.W, moves.Psi_n
    log_prior = 0.0
    for k in range(written):
        log_prior += log_niw(prior, state.components.centre[k], state.W[k])
        draws.weights[row, k] = math.exp(state.log_w[k])
        for i in range(D):
            mu[i] = state.components.centre[k, i]
            for j in range(i + 1):
                W[i, j] = state.W[k, i, j]
        if k < t:
            n, centre = state.total.n[k], state.components.centre[k]
            draw_unrounded(rng, prior, n, state.total.s[k], state.total.S[k], centre, moves.room, moves.mu_n, mu, W)
        for d in range(D):
            draws.means[row, k, d] = data.loc[d] + mu[d]
        invert_lower(W, V)
        outer_lower(V, draws.covariances[row, k])
    for k in range(written, slots):
        draws.weights[row, k] = 0.0
        for i in range(D):
            draws.means[row, k, i] = np.nan
            for j in range(D):
                draws.covariances[row, k, i, j] = np.nan
    if model.weights.kind != PROCESS:
        log_prior += log_dirichlet(component_concentration(model.weights, state.hyper[ALPHA], K), state.log_w[:K])
    draws.log_likelihood[row] = total
    draws.log_posterior[row] = total + log_prior
    draws.n_components[row] = K
    draws.n_clusters[row] = t
    draws.concentration[row] = state.hyper[ALPHA]
    draws.kappa_0[row] = state.hyper[KAPPA]
    for i in range(draws.Psi_0.shape[1]):
        for j in range(draws.Psi_0.shape[1]):
            draws.Psi_0[row, i, j] = state.Psi_0[i, j]
    if draws.z.shape[0] > 0:
        z = draws.z[row]
        for i in range(z.shape[0]):
            z[i] = state.z[i]
    return True


LAUNCHES, RECALLS, ROW_BY_ROW, SCANS, GREEDY, COLLECT = 0, 1, 2, 3, 4, 5
"""Places in ``tuning``: split-merge moves a sweep with a launch, from the library and row by row (rates), scans of a
launch, whether moves are greedy (warm-up only), whether accepted launches are collected."""


class Scratch(NamedTuple):
    """Buffers of a sweep: sides of moves, cumulated (n_max + 1,), place (capacity,), workspaces for all components and
    for a pair."""

    sides: Sides
    cumulated: FloatArray
    place: IntArray
    work: Workspace
    pair_work: Workspace


class Calls(NamedTuple):
    """The large pieces of a sweep, as pointers to compiled code or, to spread passes over threads, as Python
    functions."""

    split_merge: Any
    restricted: Any
    row_by_row: Any
    draw_weights: Any
    draw_components: Any
    draw_hyperparameters: Any
    assign: Any
    finish: Any
    record: Any


@kernel
def run_sweeps(
    rng: np.random.Generator,
    data: Data,
    model: Model,
    state: State,
    moves: Moves,
    tuning: FloatArray,
    scratch: Scratch,
    calls: Calls,
    sweeps: int,
    thin: int,
    draws: Draws,
) -> float:
    """Run ``sweeps`` sweeps; with thin > 0 record every thin-th, in the rows of ``draws`` from the first.

    Ends early when a sweep fails or its draw finds too few slots in the trace; ``state.report`` says which, and how
    many sweeps were done. Returns the log likelihood of the last.
    """
    first, shards = 0 * len(state.report), len(state.shard_log_likelihood)
    greedy, collect, scans = tuning[GREEDY] > 0.0, tuning[COLLECT] > 0.0, int(tuning[SCANS])
    state.report[DONE], state.report[FAILED], state.report[UNRECORDED] = 0, 0, 0
    total = 0.0
    for number in range(1, sweeps + 1):
        labelled = state.key[0] != np.uint64(0)  # before its first sweep a chain has statistics but no labels
        for move in range(int(tuning[LAUNCHES] + rng.random()) if labelled else 0):
            # A pair of components is remembered only while they are those of the clusters: before the first move.
            keep = collect and move == 0
            calls.split_merge(rng, data, model, state, moves, scans, greedy, keep, scratch.pair_work, calls.restricted)
        for _ in range(int(tuning[RECALLS] + rng.random()) if labelled else 0):
            calls.split_merge(rng, data, model, state, moves, 0, greedy, False, scratch.pair_work, calls.restricted)
        count = int(tuning[ROW_BY_ROW] + rng.random()) if labelled else 0
        if count > 0:
            calls.row_by_row(rng, data, model, state, moves, scratch.sides, count)
        calls.draw_weights(rng, model, state, scratch.cumulated)
        K, t = state.size[N_COMPONENTS], state.size[N_CLUSTERS]
        failed = calls.draw_components(rng, model, state, first, t, moves.mu_n, moves.Psi_n)
        if failed == 0:
            failed = -calls.draw_hyperparameters(rng, model, state, moves.room)
        if failed == 0:
            failed = calls.draw_components(rng, model, state, t, K, moves.mu_n, moves.Psi_n)
        if failed != 0:
            state.report[FAILED] = failed
            return total
        calls.assign(data, state, model.weights.kind == PROCESS, scratch.work, first, shards)
        total = calls.finish(state, scratch.place)
        state.report[DONE] = number
        if (
            thin > 0
            and number % thin == 0
            and not calls.record(rng, data, model, state, moves, total, draws, number // thin - 1)
        ):
            state.report[UNRECORDED] = 1
            return total
    return total


def kernel_calls(model: Model) -> Calls:
    """The pieces as kernels that Python can call; a simple model has simpler ones."""
    simple = model.weights.known and len(model.weights.grid) == 0
    learned = model.hyper.law != FIXED or model.hyper.kappa_shape > 0.0
    return Calls(
        split_merge,
        restricted_shards,
        sequential_moves,
        draw_known_weights if simple else draw_weights,
        draw_components,
        draw_hyperparameters if learned else keep_hyperparameters,
        assign_shards,
        finish,
        record,
    )


def compiled_calls(
    rng: np.random.Generator, data: Data, model: Model, state: State, moves: Moves, draws: Draws
) -> Calls:
    """The same as pointers, compiled for these types; what a simple model does not need is not compiled."""
    work, sides, calls = new_workspace(1, state.W.shape[1]), new_sides(1, state.W.shape[1], 1.0), kernel_calls(model)
    restricted = pointer(calls.restricted, "void", data.X, data.loc, state.z, moves.pair, work, 0, 0)
    return Calls(
        pointer(calls.split_merge, "boolean", rng, data, model, state, moves, 0, False, False, work, restricted),
        restricted,
        pointer(calls.row_by_row, "void", rng, data, model, state, moves, sides, 0),
        pointer(calls.draw_weights, "void", rng, model, state, state.log_w),
        pointer(calls.draw_components, "int64", rng, model, state, 0, 0, moves.mu_n, moves.Psi_n),
        pointer(calls.draw_hyperparameters, "int64", rng, model, state, moves.room),
        pointer(calls.assign, "void", data, state, False, work, 0, 0),
        pointer(calls.finish, "float64", state, state.report),
        pointer(calls.record, "boolean", rng, data, model, state, moves, 0.0, draws, 0),
    )
