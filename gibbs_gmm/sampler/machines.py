"""Chains whose data lie on the workers of a Dask cluster: the passes over X are made there, the rest of a sweep here.

Consecutive shards of the rows are pinned to each worker, with every chain's labels of them. Parameters go out;
statistics come back by shard and are summed in the shards' order, so that the draws are those of one machine, byte for
byte. Labels are fetched only where draws of them, or a checkpoint, are kept.

A worker's labels are what the commands since the last label pass made of them. Each chain remembers these commands: a
worker that dies is replaced, its rows are loaded again and its labels made again, and the sweep goes on as if nothing
had happened. Where labels depend on those before them (the slices of a process), they are fetched now and then, so that
there are never many commands.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import threading
import time
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from gibbs_gmm import checks
from gibbs_gmm.kernels.sampler import row_by_row as sequential
from gibbs_gmm.kernels.sampler import sweep as kernels
from gibbs_gmm.kernels.sampler.launch import MERGE, WRITE
from gibbs_gmm.kernels.sampler.partition_prior import PROCESS, break_sticks, draw_process_weights
from gibbs_gmm.kernels.sampler.split_merge import Moves, split_merge
from gibbs_gmm.kernels.sampler.state import ALPHA, N_COMPONENTS, Data, Draws, Model, State
from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray, LabelArray
from gibbs_gmm.optional import needs
from gibbs_gmm.sampler.machine import CHANGES, Part, phantom, row_range
from gibbs_gmm.sampler.threaded import Shared, plain

_PATIENCE = 60.0  # seconds to wait for a worker where there is none
_POLL = 0.5  # seconds between looks at whether a worker that does not answer is still there
_ATTEMPTS = 5  # workers that may be lost in one command
_MOST_COMMANDS = 64  # of which labels may have to be made again


class ClusterError(RuntimeError):
    """The cluster has no worker left, or loses them as fast as they come."""


def is_dask(X: Any) -> bool:
    """Whether X is a Dask array, without importing Dask."""
    return type(X).__module__.split(".")[0] == "dask" and hasattr(X, "to_delayed")


class Rows(np.ndarray[Any, Any]):
    """X (N, D), on the workers: rows are fetched when they are indexed, by number, range or array of numbers.

    As an array it is zeros, apart from the rows that a move has asked for.
    """

    cluster: Cluster | None = None

    def __getitem__(self, key: Any) -> Any:
        if self.cluster is None:
            return super().__getitem__(key)
        if isinstance(key, (int, np.integer)):
            return self.cluster.fetch(np.array([int(key) % len(self)]))[0]
        if isinstance(key, slice):
            return self.cluster.fetch(np.arange(*key.indices(len(self))))
        return self.cluster.fetch(np.asarray(key))


class Labels(np.ndarray[Any, Any]):
    """The labels (N,) of a chain, on the workers; see :class:`Cluster`. As an array it is zeros."""

    cluster: Cluster
    chain: int

    def __getitem__(self, key: Any) -> Any:
        if not hasattr(self, "cluster"):
            return super().__getitem__(key)
        return self.cluster.label(self, int(key))

    def __setitem__(self, key: Any, value: Any) -> None:
        if not hasattr(self, "cluster"):
            super().__setitem__(key, value)
        else:
            self.cluster.set_label(self, int(key), int(value))

    def gather(self) -> LabelArray:
        """All labels."""
        return np.concatenate(self.cluster.command(self, "labels"))

    def scatter(self, labels: LabelArray) -> None:
        """Replace all labels."""
        self.cluster.command(self, "set", labels)


@dataclasses.dataclass
class _Member:
    """A worker's part: which shards, where, and how often it had to be replaced."""

    shards: tuple[int, int]
    rows: Any  # the Dask array of its rows
    actor: Any = None
    future: Any = None
    address: str = ""
    epoch: int = 0


@dataclasses.dataclass
class _Log:
    """The commands from which a chain's labels can be made again, a reset first; ``done`` changed them before these."""

    done: int
    commands: list[tuple[str, tuple[Any, ...]]]
    known: dict[int, int]  # labels that were fetched and have not changed since
    written: dict[int, int]  # labels that are still to be sent


class Cluster(Shared):
    """The parts of the data on the workers of a cluster, and the pieces of a sweep that use them."""

    always = True

    def __init__(self, X: Any, client: Any = None) -> None:
        array, distributed = (needs(name, "dask", "a Dask array or client") for name in ("dask.array", "distributed"))
        self._client = distributed.get_client() if client is None else client
        if not is_dask(X):
            rows, self.columns = checks.data(X)
            X = array.from_array(rows, chunks=(max(1, len(rows) // 64), rows.shape[1]))
        else:
            X = X[:, None] if X.ndim == 1 else X
            if X.ndim != 2 or np.isnan(X.shape).any() or X.shape[0] < 2 or X.shape[1] < 1:
                raise ValueError(f"X must have shape (N, D) with known N of at least 2, got {X.shape}")
            if X.dtype.kind not in "iuf":
                raise TypeError(f"X must hold real numbers of shape (N, D), got dtype {X.dtype}")
            if X.dtype not in (np.float32, np.float64):
                X = X.astype(np.float64)
            self.columns = tuple(f"x{d}" for d in range(X.shape[1]))
        self._N, self._D = (int(n) for n in X.shape)
        self._logs: dict[int, _Log] = {}
        self._guard = threading.Lock()
        self._loc, self._capacity = np.zeros(self._D), 1
        addresses, shards = self._workers(), kernels.n_shards(self._N)
        cuts = np.linspace(0, shards, min(len(addresses), shards) + 1).astype(int).tolist()
        self._members = []
        for a, b in itertools.pairwise(cuts):
            first, last = row_range(self._N, a, b)
            self._members.append(_Member((a, b), X[first:last].rechunk((last - first, self._D))))
        for member, address in zip(self._members, addresses, strict=False):
            self._place(member, address)
        self._values: Any = phantom((self._N, self._D), X.dtype)
        self.X = self._values.view(Rows)
        self.X.flags.writeable = False
        self.X.cluster = self

    def labels(self, chain: int, loc: FloatArray, capacity: int) -> Any:
        """Labels of a chain, all 0."""
        result: Any = phantom((self._N,), np.uint16).view(Labels)
        result.cluster, result.chain = self, chain
        self._logs[chain] = _Log(0, [("reset", (loc, capacity))], {}, {})
        return result

    # --- Pieces of a sweep ---

    def calls(self, model: Model) -> kernels.Calls:
        """The pieces of a sweep, those that look at rows done by the workers."""
        calls = kernels.kernel_calls(model)
        if model.weights.kind == PROCESS:
            calls = calls._replace(draw_weights=_with(kernels.draw_weights, _draw_sticks=self._draw_sticks))
        move = _with(sequential._move, find_members=self._find_members, rename=self._rename, _place=self._place_rows)
        return calls._replace(
            split_merge=plain(split_merge),
            restricted=self._restricted,
            row_by_row=_with(sequential.sequential_moves, _move=move),
            assign=self._assign,
            finish=self._finish,
            record=self._record,
        )

    def _assign(self, data: Data, state: State, sliced: bool, *_: Any) -> None:
        K = int(state.size[N_COMPONENTS])
        components = tuple(array[:K] for array in state.components)
        results = self.command(state.z, "assign", sliced, components, state.log_w[: K + 1], state.key)
        for member, (*statistics, log_likelihood) in zip(self._members, results, strict=True):
            a, b = member.shards
            for array, value in zip(state.shards, statistics, strict=True):
                array[a:b, :K] = value
            state.shard_log_likelihood[a:b] = log_likelihood

    def _restricted(self, X: AnyArray, loc: FloatArray, z: Any, pair: Any, *_: Any) -> None:
        name = "write_pass" if pair.task[0] in (WRITE, MERGE) else "pass"
        for member, (*statistics, log_q) in zip(
            self._members, self.command(z, name, tuple(pair.components), pair.task, pair.key), strict=True
        ):
            a, b = member.shards
            for array, value in zip(pair.groups, statistics, strict=True):
                array[a:b] = value
            pair.log_q[a:b] = log_q

    def _draw_sticks(self, rng: np.random.Generator, model: Model, state: State, t: int) -> int:
        alpha, log_w = state.hyper[ALPHA], state.log_w
        draw_process_weights(rng, model.weights, alpha, t, state.total.n, log_w)
        w = np.array([math.exp(value) for value in log_w[:t]])
        least = min(self.command(state.z, "least", w, state.key))
        return int(break_sticks(rng, model.weights, alpha, t, math.log(least), log_w))

    def _finish(self, state: State, place: IntArray) -> float:
        total = kernels.reduce_shards(state)
        kernels.compact(state._replace(z=np.zeros(0, np.uint16)), place)
        K = int(state.size[N_COMPONENTS])
        if (place[:K] != np.arange(K)).any():
            self.command(state.z, "relabel", place[:K].copy())
        return float(total)

    def _record(
        self,
        rng: np.random.Generator,
        data: Data,
        model: Model,
        state: State,
        moves: Moves,
        total: float,
        draws: Draws,
        row: int,
    ) -> bool:
        done = kernels.record(rng, data, model, state, moves, total, draws._replace(z=draws.z[:0]), row)
        if done and len(draws.z) > 0:
            z: Any = state.z
            draws.z[row] = z.gather()
        return bool(done)

    def _find_members(self, z: Any, a: int, b: int, rows: IntArray) -> int:
        found = self.command(z, "members", int(a), int(b))
        index = np.concatenate([part[0] for part in found])
        rows[: len(index)] = index
        self._values[index] = np.concatenate([part[2] for part in found])
        labels = np.concatenate([part[1] for part in found])
        self._logs[z.chain].known = dict(zip(index.tolist(), labels.tolist(), strict=True))
        return len(index)

    def _rename(self, z: Any, was: int, now: int) -> None:
        self.command(z, "rename", int(was), int(now))

    def _place_rows(self, data: Data, state: State, sides: Any, size: int, side: int, k: int) -> None:
        sequential._place(data, state, sides, size, side, k)
        rows = sides.rows[:size][sides.side[:size] == side]
        self.command(state.z, "write", rows.copy(), np.full(len(rows), k, np.uint16))

    # --- Rows and labels ---

    def fetch(self, index: IntArray) -> AnyArray:
        """The values of some rows."""
        result = np.empty((len(index), self._D), self.X.dtype)
        for number, member in enumerate(self._members):
            first, last = row_range(self._N, *member.shards)
            mine = (index >= first) & (index < last)
            if mine.any():
                result[mine] = self._ask(number, -1, 0, "rows", (index[mine],))
        return result

    def label(self, z: Labels, i: int) -> int:
        """The label of a row, whose values then are at hand too."""
        log = self._logs[z.chain]
        if i in log.written:
            return log.written[i]
        if i not in log.known:
            (found,) = (answer for answer in self.command(z, "row", i) if answer)
            log.known[i], self._values[i] = found
        return log.known[i]

    def set_label(self, z: Labels, i: int, label: int) -> None:
        """Set the label of a row, with the next command."""
        self._logs[z.chain].written[i] = label

    # --- Commands ---

    def command(self, z: Any, name: str, *arguments: Any) -> list[Any]:
        """Have all parts carry out a command for a chain; their answers, in order."""
        log = self._logs[z.chain]
        if log.written:
            rows, labels = np.array(list(log.written)), np.array(list(log.written.values()), np.uint16)
            log.written = {}
            self.command(z, "write", rows, labels)
        if name in CHANGES and len(log.commands) > _MOST_COMMANDS:
            labels = z.gather()
            log.done, log.commands = log.done + len(log.commands) - 2, [log.commands[0], ("set", (labels,))]
        done = log.done + len(log.commands) - 1
        # Arguments are copied: they may have to be sent again when the chain has gone on.
        arguments = tuple(_copied(argument) for argument in arguments)
        waiting = [self._send(member, z.chain, done, name, arguments) for member in self._members]
        answers = [
            self._receive(number, future, z.chain, done, name, arguments) for number, future in enumerate(waiting)
        ]
        if name in CHANGES:
            log.known = {}
            if name == "set" or (name == "assign" and not arguments[0]):  # what came before does not matter
                log.done, log.commands = done, log.commands[:1]
            log.commands.append((name, arguments))
        return answers

    def _send(self, member: _Member, chain: int, done: int, name: str, arguments: tuple[Any, ...]) -> Any:
        """Begin a command; None where the worker is known to be lost."""
        try:
            return member.epoch, member.actor.run(chain, done, name, arguments)
        except Exception:  # whatever Dask says of an actor that it has lost
            return member.epoch, None

    def _ask(self, number: int, chain: int, done: int, name: str, arguments: tuple[Any, ...]) -> Any:
        future = self._send(self._members[number], chain, done, name, arguments)
        return self._receive(number, future, chain, done, name, arguments)

    def _receive(
        self, number: int, sent: tuple[int, Any], chain: int, done: int, name: str, arguments: tuple[Any, ...]
    ) -> Any:
        """The answer to a command, from a worker that replaces a lost one if need be."""
        member = self._members[number]
        for _ in range(_ATTEMPTS):
            try:
                answer = self._wait(member, sent)
                if answer is None:
                    self._replay(member, chain)
            except _Lost:
                self._replace(member, sent[0])
                answer = None
            if answer is not None:
                return answer
            sent = self._send(member, chain, done, name, arguments)
        raise ClusterError(f"the cluster loses workers as fast as they come: {_ATTEMPTS} in one pass over the data")

    def _wait(self, member: _Member, sent: tuple[int, Any]) -> Any:
        """The answer, or _Lost if the worker is."""
        epoch, future = sent
        address = member.address
        while future is not None:
            try:
                return future.result(timeout=_POLL)
            except TimeoutError:
                if epoch != member.epoch or address not in self._workers(wait=False):
                    raise _Lost from None
            except Exception as error:
                time.sleep(0.05)
                if isinstance(error, (OSError, KeyError)) or address not in self._workers(wait=False):
                    raise _Lost from None
                raise
        raise _Lost

    def _replay(self, member: _Member, chain: int) -> None:
        """Make a chain's labels again on a worker that has not, or not yet, heard of them."""
        if chain < 0:
            return
        log = self._logs[chain]
        for number, (name, arguments) in enumerate(log.commands):
            sent = self._send(member, chain, log.done + max(number, 1) - 1, name, arguments)
            if self._wait(member, sent) is None:
                return

    def _replace(self, member: _Member, epoch: int) -> None:
        """Put a lost part on another worker, unless another thread has."""
        with self._guard:
            if member.epoch == epoch:
                load = dict.fromkeys(self._workers(), 0)
                for other in self._members:
                    if other is not member and other.address in load:
                        load[other.address] += 1
                self._place(member, min(load, key=lambda address: load[address]))

    def _place(self, member: _Member, address: str) -> None:
        """Load a part's rows on a worker."""
        threads = int(self._client.scheduler_info()["workers"].get(address, {}).get("nthreads", 1))
        member.actor = member.future = None  # let go of what a lost worker had: it would be waited for
        rows = self._client.compute(member.rows)
        member.future = self._client.submit(
            Part, rows, self._N, *member.shards, threads, actor=True, pure=False, workers=[address]
        )
        member.address = address
        while member.actor is None:
            try:
                member.actor = member.future.result(timeout=_POLL)
            except TimeoutError:
                if address not in self._workers(wait=False):
                    break
        member.epoch += 1

    def _workers(self, wait: bool = True) -> list[str]:
        """Addresses of the workers that there are; waits for one if need be."""
        deadline = time.monotonic() + (_PATIENCE if wait else 0.0)
        while True:
            try:
                found = sorted(self._client.scheduler_info()["workers"])
            except Exception as error:  # the scheduler is gone
                raise ClusterError(f"the cluster does not answer: {error}") from None
            if found or not wait:
                return found
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"no worker is left on the cluster, and none came in {_PATIENCE:.0f} seconds; a run with a "
                    "checkpoint can be carried on with resume(path, X) when there are some"
                )
            time.sleep(_POLL)


class _Lost(Exception):
    """A worker does not answer."""


def _copied(argument: Any) -> Any:
    if isinstance(argument, tuple):
        return tuple(_copied(item) for item in argument)
    return np.array(argument) if isinstance(argument, np.ndarray) else argument


def _with(kernel: Any, **replaced: Any) -> Callable[..., Any]:
    """A kernel to be interpreted, with other functions in place of some that it calls."""
    function = plain(kernel)
    return types.FunctionType(function.__code__, {**function.__globals__, **replaced}, function.__name__)
