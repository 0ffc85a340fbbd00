"""What a worker of a cluster holds of a run: some shards of the rows, and each chain's labels of them, and true values
where rows are not known in full.

Kernels count rows from the first of all, and a uniform belongs to its row's number: so a part holds arrays of all N
rows, of which only its own ever take memory.
"""

from __future__ import annotations

import itertools
import math
import mmap
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from gibbs_gmm.kernels.families.generic import Family
from gibbs_gmm.kernels.sampler import sweep as kernels
from gibbs_gmm.kernels.sampler.launch import Pair, pair_task
from gibbs_gmm.kernels.sampler.rows import least_slice, rename
from gibbs_gmm.kernels.sampler.state import N_COMPONENTS, Data, Latent, State
from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray, LabelArray
from gibbs_gmm.latent import Fills, PartOfRows, not_exact
from gibbs_gmm.sampler.buffers import empty_state, new_pair

_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)  # Python lacked the name


def phantom(shape: tuple[int, ...], dtype: Any) -> AnyArray:
    """Zeros that take no memory until they are written to, however many (on Windows, as many as memory could hold)."""
    if not hasattr(mmap, "MAP_ANONYMOUS"):
        return np.zeros(shape, dtype)
    size = max(1, math.prod(shape) * np.dtype(dtype).itemsize)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE)
    return np.frombuffer(memory, dtype, math.prod(shape)).reshape(shape)


def row_range(N: int, first: int, last: int) -> tuple[int, int]:
    """The rows of shards first .. last."""
    shards = kernels.n_shards(N)
    return first * N // shards, last * N // shards


class _Chain(NamedTuple):
    """A chain as a part sees it; ``done`` (1,) counts the commands that have changed its labels. Its data are all that
    there are, or true values."""

    data: Data
    state: State
    pair: Pair
    done: IntArray


class Part:
    """Shards first .. last of the data, pinned to a worker. One command at a time."""

    def __init__(self, rows: AnyArray, N: int, first: int, last: int, threads: int) -> None:
        self._shards, self._rows = (first, last), row_range(N, first, last)
        X = phantom((N, rows.shape[1]), rows.dtype)
        X[self._rows[0] : self._rows[1]] = rows
        X.flags.writeable = False
        self._X = X
        self._latent: Latent | None = None  # where rows are not known in full
        self._chains: dict[int, _Chain] = {}
        self._cuts = np.unique(np.linspace(first, last, max(1, threads) + 1).astype(int)).tolist()
        self._threads = ThreadPoolExecutor(max(1, threads))

    def run(self, chain: int, done: int, command: str, arguments: tuple[Any, ...]) -> Any:
        """Carry out a command for a chain; None if the part has lost its labels: it wants ``done`` commands before."""
        if command == "reset":
            return self._reset(chain, done, *arguments)
        if command == "rows":
            return self._X[arguments[0]]
        if chain not in self._chains or int(self._chains[chain].done[0]) != done:
            return None
        own = self._chains[chain]
        result = getattr(self, f"_{command}")(own, *arguments)
        own.done[0] += command in CHANGES
        return result

    def _reset(
        self,
        chain: int,
        done: int,
        prior: Any,
        family: Family,
        loc: FloatArray,
        capacity: int,
        latent: PartOfRows | None,
        fills: Fills | None,
    ) -> bool:
        """Begin with labels 0, and rows that are not known in full as they are filled in for a start."""
        N, D = self._X.shape
        data = Data(self._X, loc, np.ones(D))
        if latent is not None and fills is not None:
            data = self._with_true_values(data, latent, fills)
        state = empty_state(phantom((N,), np.uint16), prior, family, capacity)
        pair = new_pair(family, kernels.n_shards(N), D)
        self._chains[chain] = _Chain(data, state, pair, np.array([done]))
        return True

    def _with_true_values(self, data: Data, latent: PartOfRows, fills: Fills) -> Data:
        """The data of a chain, and room for its true values."""
        (first, last), N = self._rows, len(data.X)
        if self._latent is None:  # the same for all chains
            self._latent = latent.in_place(phantom, N, first, data.X[first:last])
            self._not_exact = not_exact(latent.latent)
        values = phantom(data.X.shape, np.float64)
        values[first:last] = data.X[first:last]
        fills.into(np.arange(first, last), values[first:last])
        shown = values.view()
        shown.flags.writeable = False
        return data._replace(X=shown, latent=self._latent._replace(values=values))

    def _spread(self, task: Callable[..., None], *arguments: Any) -> None:
        """Run a task for the part's shards, on its threads."""
        ranges = itertools.pairwise(self._cuts)
        for part in [self._threads.submit(task, *arguments, a, b) for a, b in ranges]:
            part.result()

    def _label_pass(self, own: _Chain, sliced: bool, components: Any, K: int, log_w: FloatArray, key: AnyArray) -> Any:
        """The label pass: returns the shards' statistics and log likelihoods."""
        (a, b) = self._shards
        state = own.state._replace(components=components)
        state.log_w[: len(log_w)] = log_w
        state.key[:] = key
        state.size[N_COMPONENTS] = K
        self._spread(kernels.kernel_tasks(own.data, state.z)[0], own.data, state, sliced)
        return tuple(array[a:b, :K] for array in state.shards), state.shard_log_likelihood[a:b]

    def _pair_pass(self, own: _Chain, components: Any, task: IntArray, key: AnyArray) -> Any:
        """A pass over two clusters: returns the sides' statistics and log q by shard."""
        a, b = self._shards
        pair = own.pair._replace(components=components, task=task, key=key)
        self._spread(pair_task, own.data, own.state.z, pair)
        return tuple(array[a:b] for array in pair.groups), pair.log_q[a:b]

    _write_pass = _pair_pass  # one that changes labels

    def _relabel(self, own: _Chain, place: IntArray) -> bool:
        first, last = self._rows
        own.state.z[first:last] = place[own.state.z[first:last]]
        return True

    def _rename(self, own: _Chain, was: int, now: int) -> bool:
        rename(own.state.z[self._rows[0] : self._rows[1]], was, now)
        return True

    def _write(self, own: _Chain, rows: IntArray, labels: AnyArray) -> bool:
        mine = (rows >= self._rows[0]) & (rows < self._rows[1])
        own.state.z[rows[mine]] = labels[mine]
        return True

    def _set(self, own: _Chain, labels: LabelArray, true: FloatArray) -> bool:
        first, last = self._rows
        own.state.z[first:last] = labels
        if self._latent is not None:
            own.data.latent.values[first:last][self._not_exact] = true
        return True

    def _labels(self, own: _Chain) -> Any:
        return own.state.z[self._rows[0] : self._rows[1]].copy()

    def _true(self, own: _Chain) -> Any:
        """The values that are not exact."""
        return own.data.X[self._rows[0] : self._rows[1]][self._not_exact] if self._latent is not None else np.zeros(0)

    def _row(self, own: _Chain, i: int) -> Any:
        """Label and values of a row, if it is here."""
        here = self._rows[0] <= i < self._rows[1]
        return (int(own.state.z[i]), own.data.X[i].copy()) if here else ()

    def _members(self, own: _Chain, a: int, b: int) -> Any:
        """The rows of two clusters, their labels and values."""
        z = self._labels(own)
        rows = self._rows[0] + np.flatnonzero((z == a) | (z == b))
        return rows, own.state.z[rows], own.data.X[rows]

    def _least(self, own: _Chain, w: FloatArray, key: np.uint64) -> float:
        """The least slice."""
        return float(least_slice(own.state.z, w, key, *self._rows))


CHANGES = ("label_pass", "write_pass", "relabel", "rename", "write", "set")
"""Commands that change labels."""
