"""A sweep in pieces, each repeated inside compiled code: what a missed figure is explained with.

The label pass is cut off after 1 to 6 of its steps; the cost of a step is the difference of two cuts.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.common import interleave, sweep, without_moves
from gibbs_gmm.kernels._jit import kernel
from gibbs_gmm.kernels.families.generic import Statistics, accumulate, flush, log_weights
from gibbs_gmm.kernels.sampler.label_pass import draw_labels, log_likelihood
from gibbs_gmm.kernels.sampler.moves import Moves
from gibbs_gmm.kernels.sampler.pruning import nearby, prunes, put_in_order, rows_together, weigh_tile
from gibbs_gmm.kernels.sampler.rows import Rows
from gibbs_gmm.kernels.sampler.state import N_COMPONENTS, Data, Draws, Model, State
from gibbs_gmm.kernels.sampler.sweep import Calls, compact, reduce_shards
from gibbs_gmm.kernels.tile import TILE, Workspace, load_rows, load_tile, new_workspace
from gibbs_gmm.kernels.types import FloatArray, IntArray
from gibbs_gmm.sampler.chain import Chain

STEPS = ("load tile", "log weights", "draw labels", "store labels", "log likelihood", "statistics")
LABELS_ALONE = 5
"""Steps of the pass that draws and stores labels and sums the log likelihood, without statistics."""


@kernel
def partial_pass(data: Data, state: State, work: Workspace, scratch: Statistics, times: int, steps: int) -> float:
    """The first ``steps`` steps of the pass over all rows, ``times`` times. Statistics go to ``scratch``."""
    N, K = data.X.shape[0], state.log_w.shape[0]
    total = 0.0
    for _ in range(times):
        for start in range(0, N, TILE):
            size = min(TILE, N - start)
            load_tile(data.X, data.loc, start, size, work.Xt, work.rows)
            if steps > 1:
                log_weights(state.components, K, work)
            if steps > 2:
                for b in range(TILE):
                    work.row[b] = start + b
                draw_labels(K, state.key[0], work)
            if steps > 3:
                labels = state.z[start : start + size]
                for b in range(size):
                    labels[b] = work.label[b]
            if steps > 4:
                total += log_likelihood(size, work.top, work.total)
            if steps > 5:
                accumulate(state.components, size, work, scratch)
        if steps > 5:
            flush(state.components, K, work, scratch)
    return total


@kernel
def _repeat_parameters(
    calls: Calls,
    rows: Rows,
    rng: np.random.Generator,
    model: Model,
    state: State,
    moves: Moves,
    scratch: FloatArray,
    times: int,
) -> int:
    failed = 0
    for _ in range(times):
        calls.draw_weights(rng, model, state, scratch, rows)
        failed += calls.draw_parameters(rng, model, state, moves.scratch)
    return failed


@kernel
def _repeat_reduce(state: State, place: IntArray, times: int) -> float:
    total = 0.0
    for _ in range(times):
        total += reduce_shards(state)
        compact(state, place)
    return total


@kernel
def _repeat_record(
    calls: Calls,
    rows: Rows,
    rng: np.random.Generator,
    data: Data,
    model: Model,
    state: State,
    moves: Moves,
    draws: Draws,
    times: int,
) -> None:
    for t in range(times):
        calls.record(rng, data, model, state, moves, 0.0, draws, t, rows)


@kernel
def _count_weights(data: Data, state: State, work: Workspace) -> float:
    """Weights that a pass computes, of all rows and components: all if it does not prune."""
    N, K, D, near = data.X.shape[0], state.size[N_COMPONENTS], data.X.shape[1], nearby(state.size[N_COMPONENTS], work)
    if not prunes(data, state, False, 0, N, work, near):
        return float(N * K)
    weights, step = 0.0, rows_together(K, D, N)
    for first in range(0, N, step):
        labels = state.z[first : min(first + step, N)]
        put_in_order(labels, K, near)
        for j in range(K):
            for at in range(near.start[j], near.start[j + 1], TILE):
                size = min(TILE, near.start[j + 1] - at)
                for b in range(TILE):
                    work.row[b] = first + near.order[at + min(b, size - 1)]
                load_rows(data.X, data.loc, work.row, TILE, work)
                weights += size * weigh_tile(state.components, K, True, j, TILE, work, near)
    return weights


def work_left(chain: Chain) -> float:
    """The share of weights that a label pass computes."""
    N, K = len(chain.state.z), len(chain.state.log_w)
    return _count_weights(chain.data, chain.state, new_workspace(K, chain.data.X.shape[1])) / (N * K)


def labels_alone(chain: Chain) -> Callable[[], object]:
    """The label pass by itself, ready to be timed: the least that a sweep must do."""
    return _pass(chain, 1, LABELS_ALONE)


def _pass(chain: Chain, times: int, steps: int) -> Callable[[], object]:
    state = chain.state
    work = new_workspace(len(state.log_w), chain.data.X.shape[1])
    scratch = Statistics(*(np.zeros_like(array) for array in state.total))

    def task() -> object:
        return partial_pass(chain.data, state, work, scratch, times, steps)

    task()  # compiled now, not while it is timed
    return task


def profile(chain: Chain, times: int, repeats: int) -> dict[str, float]:
    """Seconds of each piece of a sweep, and of a whole sweep. The chain needs room for ``times`` draws.

    The least of several: differences of medians would show the machine's noise in place of small pieces.
    """
    data, model, state, scratch, (calls, rows) = chain.data, chain.model, chain.state, chain._scratch, chain._compiled
    labels = np.empty((times if chain.labels is not None else 0, len(state.z)), np.uint16)
    draws = chain._rows(0, times, labels)

    def without() -> None:
        with without_moves(chain):
            sweep(chain, times)

    tasks: dict[str, Callable[[], object]] = {
        "whole sweep": lambda: sweep(chain, times),
        "without moves": without,
        "parameters": lambda: _repeat_parameters(
            calls, rows, chain.rng, model, state, chain.moves, scratch.cumulated, times
        ),
        "reduce, compact": lambda: _repeat_reduce(state, scratch.place, times),
        "record": lambda: _repeat_record(calls, rows, chain.rng, data, model, state, chain.moves, draws, times),
    }
    cuts = {f"cut {steps}": _pass(chain, times, steps) for steps in range(1, len(STEPS) + 1)}
    tasks |= cuts
    interleave(tasks, 1)
    sweep(chain, 1)
    seconds = {name: min(values) / times for name, values in interleave(tasks, repeats).items()}
    ends = [0.0, *(seconds.pop(name) for name in cuts)]
    whole, blocked = seconds.pop("whole sweep"), seconds.pop("without moves")
    seconds |= {step: after - before for step, before, after in zip(STEPS, ends, ends[1:], strict=False)}
    rest = blocked - sum(seconds.values())
    return {"whole sweep": whole, "split-merge moves": whole - blocked, **seconds, "the rest": rest}
