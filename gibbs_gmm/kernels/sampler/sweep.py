"""One Gibbs sweep, and batches of sweeps that never return to Python in between.

A sweep is, in this order:

1. split-merge moves: C given everything but weights, means and covariances, which are integrated out;
2. ``draw_weights``: n | C (telescoping), the concentration | C, n, the weights | C; ``draw_parameters``: what all
   components share | C, then the occupied components | z, the hyperparameters given those, and unoccupied components
   from the prior;
3. ``label_pass``: z | w, mu, Sigma for all rows (Diebolt & Robert 1994), and the statistics of the new clusters;
4. ``finish``: the shards' statistics summed in their order, occupied components put first.

Each leaves the posterior invariant. What is recorded after a sweep, (n, w, mu, Sigma, z) and the log likelihood, is
therefore one draw from the joint posterior. With several threads per chain, ``run_sweeps`` runs as plain Python and its
passes over X as compiled tasks. The result is the same to the last bit, because rows are cut into shards by N alone and
shards are summed in order.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from gibbs_gmm.kernels._jit import JIT, Piece, allocating_kernel, kernel, plain, pointer, step
from gibbs_gmm.kernels._processes import compile_pieces
from gibbs_gmm.kernels._records import by_address, kept
from gibbs_gmm.kernels.families.generic import (
    Statistics,
    accumulate,
    add_shard,
    clear,
    flush,
    log_weights,
    swap,
    swap_clusters,
)
from gibbs_gmm.kernels.sampler import counted
from gibbs_gmm.kernels.sampler import rows as store
from gibbs_gmm.kernels.sampler.label_pass import draw_tile, law_of, log_likelihood
from gibbs_gmm.kernels.sampler.latent import latent_pass, latent_task
from gibbs_gmm.kernels.sampler.launch import pair_pass, pair_task
from gibbs_gmm.kernels.sampler.moves import Moves
from gibbs_gmm.kernels.sampler.outliers import moves_with_outliers
from gibbs_gmm.kernels.sampler.parameters import draw_known_weights, draw_parameters, draw_weights
from gibbs_gmm.kernels.sampler.partition_prior import PROCESS, tilt
from gibbs_gmm.kernels.sampler.pruning import Nearby, label_in_order, nearby, prunes, rows_together
from gibbs_gmm.kernels.sampler.recording import record
from gibbs_gmm.kernels.sampler.row_by_row import Sides, sequential_moves
from gibbs_gmm.kernels.sampler.rows import Rows
from gibbs_gmm.kernels.sampler.split_merge import split_merge
from gibbs_gmm.kernels.sampler.state import (
    ALL_AWAY,
    AWAY,
    COUNT,
    DONE,
    FAILED,
    LOG_REST,
    N_CLUSTERS,
    N_COMPONENTS,
    RISING,
    UNRECORDED,
    Data,
    Draws,
    Model,
    State,
    outlier_label,
)
from gibbs_gmm.kernels.tile import LOG2_E, TILE, Workspace, load_tile, new_workspace
from gibbs_gmm.kernels.types import FloatArray, IntArray

_MIN_SHARD, _MAX_SHARDS = 16_384, 64


def n_shards(N: int) -> int:
    """Into how many shards N rows are cut. It depends on nothing else, so neither do the sums of their statistics."""
    return min(_MAX_SHARDS, max(1, N // _MIN_SHARD))


@kernel
def label_pass(data: Data, state: State, sliced: bool, work: Workspace, first: int, last: int) -> None:
    """Draw z_i | w, mu, Sigma for the rows of shards first .. last, and collect their statistics.

    Leaves p(z | w, mu, Sigma, X) invariant (it draws from it); ``sliced``, p(z | w, mu, Sigma, u, X),
    where row i may only choose among the components with w_k > u_i. Overwrites z for these rows, and each shard's
    statistics about the components' centres and its log likelihood, sum_i log sum_k w_k N(x_i | mu_k, Sigma_k).

    A row of a known kind may only choose its component, and its log likelihood is that of both. Where there are
    outliers, they are one more component, behind the others.
    """
    N, n_cut, near = data.X.shape[0], state.shard_log_likelihood.shape[0], nearby(state.size[N_COMPONENTS], work)
    pruned = prunes(data, state, sliced, first * N // n_cut, last * N // n_cut, work, near)
    label_shards(data, state, sliced, pruned, work, near, first, last)


@kernel
def label_shards(
    data: Data, state: State, sliced: bool, pruned: bool, work: Workspace, near: Nearby, first: int, last: int
) -> None:
    """:func:`label_pass`, which gives the same whether few components are looked at (``pruned``) or all are."""
    N, K, n_cut = data.X.shape[0], state.size[N_COMPONENTS], state.shard_log_likelihood.shape[0]
    outlier, law = outlier_label(state), law_of(state, sliced)
    M = K + 1 if outlier >= 0 else K
    if sliced:
        for k in range(K):
            work.weight[k] = math.exp(state.log_w[k])
    top, mass = (work.acc[0], work.acc[1]) if sliced else (work.top, work.total)
    for shard in range(first, last):
        statistics = Statistics(state.shards.n[shard], state.shards.block[shard])
        clear(statistics, M)
        total = 0.0
        begin, end = shard * N // n_cut, (shard + 1) * N // n_cut
        step = rows_together(K, data.X.shape[1], end - begin) if pruned else TILE
        for start in range(begin, end, step):
            if pruned:
                stop = min(start + step, end)
                total = label_in_order(data, state, law, start, stop, work, near, statistics, total)
                continue
            size = min(TILE, end - start)
            labels = state.z[start : start + size]  # a slice: an index that cannot be negative vectorises
            load_tile(data.X, data.loc, start, size, work.Xt, work.rows)
            for b in range(TILE):
                work.row[b] = start + b
            if sliced:
                for b in range(size):
                    work.label[b] = min(K, int(labels[b]))
            log_weights(state.components, K, work)
            draw_tile(law, data.tags[start : start + size], work.every[:K], size, work)
            for b in range(size):
                labels[b] = work.label[b]
            if outlier >= 0:
                for b in range(size):
                    labels[b] = outlier if work.label[b] == K else work.label[b]
            accumulate(state.components, size, work, statistics)
            total += log_likelihood(size, top, mass)
        flush(state.components, M, work, statistics)
        state.shard_log_likelihood[shard] = total / LOG2_E
        if outlier >= 0:
            state.shard_log_likelihood[shard] += (end - begin) * state.outliers[LOG_REST]


@allocating_kernel
def label_task(data: Data, state: State, sliced: bool, first: int, last: int) -> None:
    """:func:`label_pass` with a workspace of its own: one task of a pass that is spread over threads."""
    K = state.size[N_COMPONENTS] + (1 if state.outliers.shape[0] > 0 else 0)
    label_pass(data, state, sliced, kept(new_workspace(K, data.X.shape[1])), first, last)


@kernel
def reduce_shards(state: State) -> float:
    """Sum the shards' statistics in order into ``state.total``; returns the log likelihood of (w, mu, Sigma)."""
    K, result = state.size[N_COMPONENTS], 0.0
    with_outliers = state.outliers.shape[0] > 0
    for shard in range(state.shard_log_likelihood.shape[0]):
        add_shard(state.total, state.shards, shard, K + 1 if with_outliers else K)
        result += state.shard_log_likelihood[shard]
    if with_outliers:
        state.outliers[COUNT] = state.total.n[K]
        state.total.n[K] = 0.0
    return result


@kernel
def compact(state: State, place: IntArray) -> bool:
    """Put the occupied components first and count them; whether any moved, from k to place[k] (capacity,).

    A hole is filled by the last occupied component, as often as needed. Labels are left to the caller. Clusters of
    known kinds stay where they are, the first: none is ever empty.
    """
    total, K = state.total, state.size[N_COMPONENTS]
    for k in range(K):
        place[k] = k
    if state.outliers.shape[0] > 0:
        place[outlier_label(state)] = outlier_label(state)
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
        swap_clusters(total, low, high)
        state.log_w[low], state.log_w[high] = state.log_w[high], state.log_w[low]
        swap(state.components, state.parameters, low, high)
    state.size[N_CLUSTERS] = low
    return moved


@step
def finish(state: State, place: IntArray, rows: Rows) -> float:
    """:func:`reduce_shards`, then :func:`compact` and the labels; returns the log likelihood of (w, mu, Sigma)."""
    total = reduce_shards(state)
    if compact(state, place):
        rows.relabel(state.z, place)
    return total


LAUNCHES, RECALLS, ROW_BY_ROW, SCANS, GREEDY, COLLECT, EXCURSIONS, GAIN = 0, 1, 2, 3, 4, 5, 6, 7
SEEDED, SEARCHED = 8, 9
"""Places in ``tuning``: split-merge moves a sweep with a launch, from the library and row by row (rates), scans of a
launch, whether moves are greedy (warm-up only), whether accepted moves are collected; the share of sweeps from a known
n in which n may rise, and the gain of the tilt of p(n) there (warm-up only); moves a sweep from a seed, and by a search
(rates)."""

_MOST_AWAY = 64  # sweeps for each that is asked for, after which a batch ends
_LOST = 2_000  # sweeps in a row at a larger n, after which a chain is called back, and n rises no more


@by_address
class Scratch(NamedTuple):
    """Buffers of a sweep: sides of moves, cumulated (n_max + 1,), place (capacity,), workspaces for all components and
    for a pair."""

    sides: Sides
    cumulated: FloatArray
    place: IntArray
    work: Workspace
    pair_work: Workspace


@by_address
class Calls(NamedTuple):
    """The large pieces of a sweep, as pointers to compiled code or, where it is interpreted, as Python functions."""

    split_merge: Any
    row_by_row: Any
    draw_weights: Any
    draw_parameters: Any
    finish: Any
    record: Any


@kernel
def run_sweeps(
    rng: np.random.Generator,
    data: Data,
    model: Model,
    wider: Model,
    state: State,
    moves: Moves,
    tuning: FloatArray,
    scratch: Scratch,
    calls: Calls,
    rows: Rows,
    sweeps: int,
    thin: int,
    begun: int,
    draws: Draws,
) -> float:
    """Run ``sweeps`` sweeps; with thin > 0 record every thin-th, in the rows of ``draws`` from the first.

    A known n may rise for a while, and let the chain out of a mode: a share of the sweeps that begin at it, chosen by
    chance, and all that begin at a larger n, are of the model ``wider``, under which n is the given one or larger.
    Whatever p(n) is there, its posterior given n is that of ``model``; and a chain that is watched only when n is as
    given has the posterior given n. So only these sweeps count. They cost on average 1 + EXCURSIONS (1 / P - 1) others,
    P the probability of the given n under ``wider`` (Kac 1947). An unknown n has ``wider`` = ``model``.

    ``begun`` sweeps have been counted since the last draw. Ends early when a sweep fails, its draw finds too few slots
    in the trace, or n has been larger for long; ``state.report`` says which, and how many sweeps were counted. Returns
    the log likelihood of the last.
    """
    first, shards = 0 * len(state.report), len(state.shard_log_likelihood)
    greedy, collect, scans = tuning[GREEDY] > 0.0, tuning[COLLECT] > 0.0, int(tuning[SCANS])
    state.report[DONE], state.report[FAILED], state.report[UNRECORDED] = 0, 0, 0
    total, number, beyond, visits = 0.0, 0, model.weights.log_p.shape[0], state.visits
    for _ in range(_MOST_AWAY * sweeps):
        away = model.weights.known and state.size[N_COMPONENTS] >= beyond
        rising = away or (tuning[EXCURSIONS] > 0.0 and visits[AWAY] <= _LOST and rng.random() < tuning[EXCURSIONS])
        prior = wider if rising else model
        labelled = state.key[0] != np.uint64(0)  # before its first sweep a chain has statistics but no labels
        for move in range(int(tuning[LAUNCHES] + rng.random()) if labelled else 0):
            # A pair of components is remembered only while they are those of the clusters: before the first move.
            keep = collect and move == 0
            calls.split_merge(rng, data, prior, state, moves, scans, greedy, keep, scratch.pair_work, rows)
        for _ in range(int(tuning[RECALLS] + rng.random()) if labelled else 0):
            calls.split_merge(rng, data, prior, state, moves, 0, greedy, False, scratch.pair_work, rows)
        if labelled:
            count, seeded = int(tuning[ROW_BY_ROW] + rng.random()), int(tuning[SEEDED] + rng.random())
            searched = int(tuning[SEARCHED] + rng.random())
            if count + seeded + searched > 0:
                calls.row_by_row(rng, data, prior, state, moves, scratch.sides, count, seeded, searched, collect, rows)
        calls.draw_weights(rng, prior, state, scratch.cumulated, rows)
        failed = calls.draw_parameters(rng, prior, state, moves.scratch)
        if failed != 0:
            state.report[FAILED] = failed
            return total
        rows.label_pass(data, state, model.weights.kind == PROCESS, scratch.work, first, shards)
        total = calls.finish(state, scratch.place, rows)
        if rising and tuning[GAIN] > 0.0:
            visits[RISING] += 1
            tilt(wider.weights, state.size[N_COMPONENTS], min(1.0, tuning[GAIN] / visits[RISING]))
        if model.weights.known and state.size[N_COMPONENTS] >= beyond:
            visits[AWAY] += 1
            visits[ALL_AWAY] += 1
            if visits[AWAY] > _LOST:
                tilt(wider.weights, state.size[N_COMPONENTS], 1.0)
            continue
        if visits[AWAY] <= _LOST or tuning[GAIN] > 0.0:
            visits[AWAY] = 0
        number += 1
        state.report[DONE] = number
        if (
            thin > 0
            and (begun + number) % thin == 0
            and not calls.record(rng, data, model, state, moves, total, draws, (begun + number) // thin - 1, rows)
        ):
            state.report[UNRECORDED] = 1
            return total
        if number == sweeps:
            break
    return total


interpreted_sweeps = plain(run_sweeps)
"""The same as plain Python: for a store of rows that is not compiled code."""


def kernel_calls(model: Model, state: State) -> Calls:
    """The pieces as kernels that Python can call; a simple model has simpler ones."""
    simple = model.weights.known and len(model.weights.grid) == 0
    draw_some = draw_known_weights if simple else draw_weights
    row_by_row = sequential_moves if len(state.outliers) == 0 else moves_with_outliers
    return Calls(split_merge, row_by_row, draw_some, draw_parameters, finish, record)


def kernel_passes(data: Data | None, z: Any) -> tuple[Any, Any]:
    """The label pass, and its task for threads: rows with latent values, and with copies, have their own."""
    if isinstance(z, counted.Copies):
        return counted.label_pass, counted.label_task
    return (latent_pass, latent_task) if data is not None and len(data.latent.values) > 0 else (label_pass, label_task)


def kernel_rows(data: Data | None = None, z: Any = None) -> Rows:
    """The store of a machine that holds all rows and what ``z`` is, as kernels that Python can call."""
    own: Any = counted if isinstance(z, counted.Copies) else store
    return Rows(
        kernel_passes(data, z)[0],
        counted.pair_pass if own is counted else pair_pass,
        store.read,
        own.row,
        own.label,
        own.partner,
        own.members,
        own.assign,
        own.rename,
        own.relabel,
        own.least_slice,
        own.copy,
    )


def kernel_tasks(data: Data, z: Any) -> tuple[Any, Any]:
    """The passes of such a store with workspaces of their own: what is spread over threads."""
    return kernel_passes(data, z)[1], counted.pair_task if isinstance(z, counted.Copies) else pair_task


def rows_by_pointer(
    rng: np.random.Generator, data: Data, state: State, moves: Moves, draws: Draws, work: Workspace
) -> Rows:
    """The same as pointers for these types."""
    rows, z, index, place = kernel_rows(data, state.z), state.z, moves.pair.task, state.size
    return Rows(
        pointer(rows.label_pass, "void", data, state, False, work, 0, 0),
        pointer(rows.pair_pass, "void", data, z, moves.pair, work, 0, 0),
        pointer(rows.read, "void", data, index, 0, moves.pair.anchors),
        pointer(rows.row, "int64", z, 0),
        pointer(rows.label, "int64", z, 0),
        pointer(rows.partner, "int64", rng, z, 0, 0, False, 0),
        pointer(rows.members, "int64", z, 0, 0, index, index),
        pointer(rows.assign, "void", z, index, index, 0, 0, 0),
        pointer(rows.rename, "void", z, 0, 0),
        pointer(rows.relabel, "void", z, place),
        pointer(rows.least_slice, "float64", z, state.log_w, state.key[0], 0, 0),
        pointer(rows.copy, "void", z, draws.z.reshape(-1)),
    )


def compiled_calls(
    rng: np.random.Generator, data: Data, model: Model, state: State, moves: Moves, draws: Draws, scratch: Scratch
) -> tuple[Calls, Rows]:
    """The pieces of a sweep as pointers, and a store of rows; what a simple model does not need is not compiled."""
    work, calls = scratch.work, kernel_calls(model, state)
    rows = rows_by_pointer(rng, data, state, moves, draws, work)
    pointers = Calls(
        pointer(calls.split_merge, "boolean", rng, data, model, state, moves, 0, False, False, work, rows),
        pointer(calls.row_by_row, "void", rng, data, model, state, moves, scratch.sides, 0, 0, 0, False, rows),
        pointer(calls.draw_weights, "void", rng, model, state, state.log_w, rows),
        pointer(calls.draw_parameters, "int64", rng, model, state, moves.scratch),
        pointer(calls.finish, "float64", state, state.report, rows),
        pointer(calls.record, "boolean", rng, data, model, state, moves, 0.0, draws, 0, rows),
    )
    if JIT:
        whole = Piece.of(
            run_sweeps, rng, data, model, model, state, moves, state.alpha, scratch, pointers, rows, 0, 0, 0, draws
        )  # fmt: skip
        long = rows.label_pass, pointers.split_merge, pointers.row_by_row, pointers.draw_parameters, pointers.record
        others = [one.piece for one in (*pointers, *rows) if one not in long]
        compile_pieces(list(dict.fromkeys([*(one.piece for one in long), whole, *others])))
    return pointers, rows
