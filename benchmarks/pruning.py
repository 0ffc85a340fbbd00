"""Figures of :mod:`benchmarks.kernels` on passes that leave out components, against the same that leave out none.

With tags, none of which says anything, no label pass prunes. CPU time, one thread, in turn within this process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest import mock

import numpy as np

import gibbs_gmm
from benchmarks import common
from benchmarks.common import Figure, interleave, medians, noise
from benchmarks.pieces import work_left
from gibbs_gmm.kernels._jit import allocating_kernel, kernel
from gibbs_gmm.kernels.families.generic import log_weights
from gibbs_gmm.kernels.sampler import sweep as kernels
from gibbs_gmm.kernels.sampler.launch import EVALUATE, MODE, SIDE_1, Pair, pair_task
from gibbs_gmm.kernels.sampler.state import Data
from gibbs_gmm.kernels.tile import TILE, Workspace, load_rows, new_workspace
from gibbs_gmm.kernels.types import LabelArray
from gibbs_gmm.posterior import near_rows
from gibbs_gmm.sampler.chain import Chain

Detail = dict[str, Any]

_SEPARATED = (
    # N, D, K, standard deviation of the components' means, and the least ratio that is asked
    (100_000, 8, 20, 5.0, None),
    (100_000, 8, 100, 5.0, 2.5),
    (50_000, 16, 20, 4.0, 2.5),
    (50_000, 32, 32, 4.0, 4.0),
)
_WORST = (
    (300_000, 2, 20, 5.0, 0.97),
    (300_000, 4, 20, 5.0, 0.97),
    (100_000, 4, 50, 5.0, 0.97),
    (100_000, 8, 20, 1.0, 0.97),
    (100_000, 8, 20, 3.5, 0.97),
    (50_000, 16, 20, 2.0, 0.97),
    (50_000, 32, 32, 1.0, 0.97),
    (50_000, 32, 32, 1.3, 0.97),
)
"""Of separated clusters, and of those where least is to be had: few values, or clusters that overlap."""


def _chain(N: int, D: int, K: int, apart: float) -> Chain:
    return common.settled_chain(common.mixture(N, D, K, apart=apart), K, draws=1)


def _with_tags(data: Data) -> Data:
    return data._replace(tags=np.full(len(data.X), -1))


@contextmanager
def _nothing_left_out(chain: Chain) -> Iterator[None]:
    with mock.patch.object(chain, "data", _with_tags(chain.data)):
        yield


def _figure(what: str, size: str, target: float | None, seconds: dict[str, list[float]], note: str = "") -> Figure:
    """Of what takes "plain" and "pruned" seconds."""
    middle, spread = medians(seconds), noise(seconds["plain"], seconds["pruned"])
    note = f"{middle['pruned'] * 1e3:.2f} ms; {note}{spread}"
    return Figure(f"plain {what} / {what}, {size}", target, True, middle["plain"] / middle["pruned"], "times", note)


def passes(quick: bool) -> tuple[list[Figure], Detail]:
    """The label pass. Work left: the share of the weights of components that radii do not rule out."""
    figures, detail = [], {}
    for N, D, K, apart, target in (*_SEPARATED, *_WORST):
        chain = _chain(N, D, K, apart)
        data, state, shards = chain.data, chain.state, kernels.n_shards(N)
        tasks = {
            "plain": partial(kernels.label_task, _with_tags(data), state, False, 0, shards),
            "pruned": partial(kernels.label_task, data, state, False, 0, shards),
        }
        left, size = work_left(chain), f"N={N:,} D={D} K={K}, clusters {apart:g} apart"
        interleave(tasks, 1)
        seconds = interleave(tasks, 9 if quick else 31)
        figures.append(_figure("label pass", size, target, seconds, f"{left:.0%} of the weights; "))
        detail[size] = {"left": left, "seconds": seconds}
    return figures, detail


def sweeps(quick: bool) -> tuple[list[Figure], Detail]:
    """Whole sweeps, moves and parameters included, which no pruning makes faster."""
    figures, detail = [], {}
    for N, D, K, apart, _ in _SEPARATED:
        chain = _chain(N, D, K, apart)

        def plain(chain: Chain = chain) -> None:
            with _nothing_left_out(chain):
                common.sweep(chain, 1)

        tasks: dict[str, Callable[[], object]] = {"plain": plain, "pruned": partial(common.sweep, chain, 1)}
        interleave(tasks, 1)
        seconds, size = interleave(tasks, 9 if quick else 31), f"N={N:,} D={D} K={K}, clusters {apart:g} apart"
        figures.append(_figure("sweep", size, None, seconds))
        detail[size] = {"seconds": seconds}
    return figures, detail


@kernel
def _read_pair(data: Data, z: LabelArray, pair: Pair, work: Workspace, sides: int) -> None:
    """As a pass over two clusters, up to weights in ``sides`` of them."""
    N, size = data.X.shape[0], 0
    for row in range(N):
        if z[row] <= pair.task[SIDE_1]:
            work.members[size] = row
            size += 1
        if size == TILE or (row == N - 1 and size > 0):
            load_rows(data.X, data.loc, work.members, size, work)
            log_weights(pair.components, sides, work)
            size = 0


@allocating_kernel
def _read_pair_task(data: Data, z: LabelArray, pair: Pair, sides: int) -> None:
    _read_pair(data, z, pair, new_workspace(2, data.X.shape[1]), sides)


def pairs(quick: bool) -> tuple[list[Figure], Detail]:
    """What the pass over two clusters could save: the weight of the second where the first is certain, of every row.

    That is all: of its two components each row needs its own, and rows are read and added to statistics as before.
    """
    figures, detail = [], {}
    for N, D, K, apart, _ in _SEPARATED:
        chain = _chain(N, D, K, apart)
        data, state, pair, shards = chain.data, chain.state, chain.moves.pair, kernels.n_shards(N)
        pair.task[:] = 0, 0, 1, -1, -1
        pair.task[MODE] = EVALUATE
        for own, all_of_them in zip(pair.components, state.components, strict=True):
            own[:] = all_of_them[:2]

        def without(chain: Chain = chain) -> None:
            with common.without_moves(chain):
                common.sweep(chain, 1)

        tasks: dict[str, Callable[[], object]] = {
            "pass": partial(pair_task, data, state.z, pair, 0, shards),
            "one": partial(_read_pair_task, data, state.z, pair, 1),
            "two": partial(_read_pair_task, data, state.z, pair, 2),
        }
        interleave(tasks, 1)
        seconds = interleave(tasks, 15 if quick else 61)
        whole: dict[str, Callable[[], object]] = {"sweep": partial(common.sweep, chain, 1), "without moves": without}
        seconds |= interleave(whole, 9 if quick else 31)
        middle, size = medians(seconds), f"N={N:,} D={D} K={K}"
        second, moves = (
            (middle["two"] - middle["one"]) / middle["pass"],
            1.0 - middle["without moves"] / middle["sweep"],
        )
        note = f"{middle['pass'] * 1e6:.0f} us; all moves together take {moves:.1%} of a sweep"
        figures.append(Figure(f"weights of one side / pass over two clusters, {size}", None, False, second, "", note))
        detail[size] = {"seconds": seconds}
    return figures, detail


def predictions(quick: bool) -> tuple[list[Figure], Detail]:
    """Densities of the rows of the fit under each draw, and probabilities of clusters."""
    figures, detail = [], {}
    for N, D, K, apart, _ in _SEPARATED:
        N, draws = N // 2, 40
        X = common.mixture(N, D, K, apart=apart)
        trace = gibbs_gmm.fit(X, K, draws=draws, warmup=20, chains=1, rng=1, threads=1, progress=False)
        labels = trace.relabel()

        def ask(how: Callable[[], object], least: int) -> None:
            with mock.patch.object(near_rows, "_LEAST_COMPONENTS", least):
                how()

        for name, how in (
            ("log_density", partial(trace.log_density, X, threads=1)),
            ("predict_proba", partial(trace.predict_proba, X, labels, threads=1)),
        ):
            tasks = {"plain": partial(ask, how, K + 1), "pruned": partial(ask, how, 1)}
            interleave(tasks, 1)
            seconds, size = interleave(tasks, 5 if quick else 15), f"N={N:,} D={D} K={K}, {draws} draws"
            figures.append(_figure(name, size, None, seconds))
            detail[f"{name} {size}"] = {"seconds": seconds}
    return figures, detail
