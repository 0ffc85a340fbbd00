"""Chains whose data lie on the workers of a Dask cluster: the passes over X are made there, the rest of a sweep here.

Consecutive shards of the rows are pinned to each worker, with every chain's labels of them. Parameters go out;
statistics come back by shard and are summed in the shards' order, so that the draws are those of one machine, byte for
byte. Labels are fetched only where draws of them, or a checkpoint, are kept.

A worker's labels are determined by the last label pass and the commands since. Each chain logs these commands: a worker
that dies is replaced, its rows are loaded again, the replacement replays the commands, and the sweep goes on as if
nothing had happened. Where labels depend on those before them (the slices of a process), they are fetched now and
then, so that there are never many commands. So are true values of rows that are not known in full: to the last bit they
depend on what they were before.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from gibbs_gmm import checks
from gibbs_gmm.kernels.families.generic import Family
from gibbs_gmm.kernels.sampler import sweep as kernels
from gibbs_gmm.kernels.sampler.launch import MERGE, MODE, WRITE, Pair
from gibbs_gmm.kernels.sampler.rows import Rows
from gibbs_gmm.kernels.sampler.state import N_COMPONENTS, Data, State
from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray, LabelArray
from gibbs_gmm.latent import FilledRows, PartOfRows, count_not_exact
from gibbs_gmm.model.families import ComponentPrior
from gibbs_gmm.optional import needs
from gibbs_gmm.sampler.machine import CHANGES, Part, row_range

if TYPE_CHECKING:
    from gibbs_gmm.data import Observations

_PATIENCE = 60.0  # seconds to wait for a worker where there is none
_POLL = 0.5  # seconds between looks at whether a worker that does not answer is still there
_ATTEMPTS = 5  # workers that may be lost in one command
_MOST_COMMANDS = 64  # of which labels may have to be made again


class ClusterError(RuntimeError):
    """The cluster has no worker left, or loses them as fast as they come."""


def is_dask(X: Any) -> bool:
    """Whether X is a Dask array, without importing Dask."""
    return type(X).__module__.split(".")[0] == "dask" and hasattr(X, "to_delayed")


class Remote:
    """X (N, D), on the workers: rows are fetched when they are indexed, by number, range or array of numbers."""

    def __init__(self, cluster: Cluster, shape: tuple[int, int], dtype: np.dtype[Any]) -> None:
        self._cluster, self.shape, self.dtype, self.ndim = cluster, shape, dtype, 2

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes that all of it would take."""
        return self.shape[0] * self.shape[1] * self.dtype.itemsize

    def __getitem__(self, key: Any) -> AnyArray:
        if isinstance(key, slice):
            return self._cluster.fetch(np.arange(*key.indices(len(self))))
        return self._cluster.fetch(np.asarray(key)) if np.ndim(key) > 0 else self._cluster.fetch(np.array([key]))[0]


@dataclasses.dataclass
class _Member:
    """A worker's part: its number, which shards, where, and how often it had to be replaced."""

    number: int
    shards: tuple[int, int]
    rows: Any  # the Dask array of its rows
    actor: Any = None
    future: Any = None
    address: str = ""
    epoch: int = 0


@dataclasses.dataclass
class _Log:
    """The commands from which a chain's labels can be made again, a reset first; ``done`` changed them before these.

    ``latent``: whether it has true values, which depend on what they were.
    """

    done: int
    commands: list[tuple[str, tuple[Any, ...]]]
    known: dict[int, tuple[int, AnyArray]]  # labels and values that were fetched and have not changed since
    latent: bool

    def keep(self, those: tuple[str, ...]) -> None:
        """Drop commands of other names: what they changed does not matter any more."""
        kept = [command for command in self.commands if command[0] in those]
        self.done += len(self.commands) - len(kept)
        self.commands = kept


@dataclasses.dataclass(frozen=True)
class _ByMember:
    """An argument of a command that differs from part to part."""

    pieces: list[Any]


class Cluster:
    """The store of rows that are in parts on the workers of a cluster."""

    always = True

    def __init__(self, X: Any, client: Any = None) -> None:
        array, distributed = (needs(name, "dask", "a Dask array or client") for name in ("dask.array", "distributed"))
        self._client = distributed.get_client() if client is None else client
        if not is_dask(X):
            rows, self.columns = checks.table(X)
            X = array.from_array(rows, chunks=(max(1, len(rows) // 64), rows.shape[1]))
        else:
            X = X[:, None] if X.ndim == 1 else X
            if X.ndim != 2 or np.isnan(X.shape).any() or X.shape[0] < 2 or X.shape[1] < 1:
                raise ValueError(f"X must have shape (N, D) with known N of at least 2, got {X.shape}")
            if X.dtype.kind not in "iuf":
                raise TypeError(f"X must hold real numbers of shape (N, D), got dtype {X.dtype}")
            if X.dtype not in (np.float32, np.float64):
                X = X.astype(np.float64)
            if isinstance(getattr(X, "_meta", None), np.ma.MaskedArray):  # what is masked is missing
                X = X.map_blocks(checks.unmasked, dtype=X.dtype)
            self.columns = tuple(f"x{d}" for d in range(X.shape[1]))
        self._N, self._D = (int(n) for n in X.shape)
        self._logs: dict[int, _Log] = {}
        self._guard = threading.Lock()
        addresses, self.shards = self._workers(), kernels.n_shards(self._N)
        cuts = np.linspace(0, self.shards, min(len(addresses), self.shards) + 1).astype(int).tolist()
        self._members = []
        for number, (a, b) in enumerate(itertools.pairwise(cuts)):
            first, last = row_range(self._N, a, b)
            self._members.append(_Member(number, (a, b), X[first:last].rechunk((last - first, self._D))))
        self._latent: _ByMember | None = None
        for member, address in zip(self._members, addresses, strict=False):
            self._place(member, address)
        self.X: Any = Remote(self, (self._N, self._D), np.dtype(X.dtype))

    def require(self, prior: ComponentPrior, observations: Observations) -> None:
        """All components are offered, and rows that are not known in full."""

    def add_chain(self, chain: int, prior: Any, family: Family, data: Data, capacity: int) -> None:
        """Begin with labels 0 of a chain, and rows that are not known in full as ``data`` fills them in."""
        fills, latent = None, len(data.latent.group) > 0
        if isinstance(data.X, FilledRows):
            fills = data.X.fills
            ranges = [row_range(self._N, *member.shards) for member in self._members]
            if self._latent is None:  # the same for all chains
                self._latent = _ByMember([PartOfRows.of(data.latent, *own) for own in ranges])
        self._logs[chain] = _Log(0, [("reset", (prior, family, data.loc, capacity, self._latent, fills))], {}, latent)

    # --- The store of the rows ---

    def rows(self, chain: int, *_: Any) -> Rows:
        """The store of the rows that an interpreted sweep of this chain is handed: the workers do what it says."""
        return Rows(
            label_pass=functools.partial(self._draw_labels, chain),
            pair_pass=functools.partial(self._pass_over_pair, chain),
            read=functools.partial(self._read, chain),
            row=lambda z, i: i,
            label=lambda z, i: self._row(chain, int(i))[0],
            partner=functools.partial(self._partner, chain),
            members=functools.partial(self._members_of, chain),
            assign=functools.partial(self._assign, chain),
            rename=lambda z, was, now: self.command(chain, "rename", int(was), int(now)),
            relabel=lambda z, place: self.command(chain, "relabel", place),
            least_slice=lambda z, w, key, *_: min(self.command(chain, "least", w, key)),
            copy=functools.partial(self._copy, chain),
        )

    def _draw_labels(self, chain: int, data: Data, state: State, sliced: bool, *_: Any) -> None:
        K = int(state.size[N_COMPONENTS])
        results = self.command(chain, "label_pass", sliced, state.components, K, state.log_w[: K + 1], state.key)
        for member, (statistics, log_likelihood) in zip(self._members, results, strict=True):
            a, b = member.shards
            for array, value in zip(state.shards, statistics, strict=True):
                array[a:b, :K] = value
            state.shard_log_likelihood[a:b] = log_likelihood

    def _pass_over_pair(self, chain: int, data: Data, z: Any, pair: Pair, *_: Any) -> None:
        name = "write_pass" if pair.task[MODE] in (WRITE, MERGE) else "pair_pass"
        results = self.command(chain, name, pair.components, pair.task, pair.key)
        for member, (statistics, log_q) in zip(self._members, results, strict=True):
            a, b = member.shards
            for array, value in zip(pair.groups, statistics, strict=True):
                array[a:b] = value
            pair.log_q[a:b] = log_q

    def _read(self, chain: int, data: Data, rows: IntArray, size: int, out: FloatArray) -> None:
        for s, row in enumerate(rows[:size].tolist()):
            out[s, : self._D] = self._row(chain, row)[1] - data.loc

    def _partner(self, chain: int, rng: np.random.Generator, z: Any, i: int, a: int, same: bool, *_: Any) -> int:
        j = i
        while j == i or (self._row(chain, j)[0] == a) != same:
            j = int(rng.random() * self._N)
        return j

    def _members_of(self, chain: int, z: Any, a: int, b: int, rows: IntArray, side: IntArray) -> int:
        found = self.command(chain, "members", int(a), int(b))
        index, labels, values = (np.concatenate(parts) for parts in zip(*found, strict=True))
        rows[: len(index)] = index
        side[: len(index)] = labels != a
        known = zip(labels.tolist(), values, strict=True)
        self._logs[chain].known = dict(zip(index.tolist(), known, strict=True))
        return len(index)

    def _assign(self, chain: int, z: Any, rows: IntArray, side: IntArray, size: int, a: int, b: int) -> None:
        self.command(chain, "write", rows[:size], np.where(side[:size] == 0, a, b).astype(np.uint16))

    def _copy(self, chain: int, z: Any, out: LabelArray) -> None:
        out[:] = self.gather(chain)

    def _row(self, chain: int, i: int) -> tuple[int, AnyArray]:
        """Label and values of a row."""
        known = self._logs[chain].known
        if i not in known:
            (known[i],) = (answer for answer in self.command(chain, "row", i) if answer)
        return known[i]

    # --- All rows, all labels ---

    def fetch(self, index: IntArray) -> AnyArray:
        """The values of some rows."""
        result = np.empty((len(index), self._D), self.X.dtype)
        for number, member in enumerate(self._members):
            first, last = row_range(self._N, *member.shards)
            mine = (index >= first) & (index < last)
            if mine.any():
                result[mine] = self._ask(number, -1, 0, "rows", (index[mine],))
        return result

    def gather(self, chain: int) -> LabelArray:
        """All labels of a chain."""
        return np.concatenate(self.command(chain, "labels"))

    def gather_true(self, chain: int) -> FloatArray:
        """All values of a chain that are not exact."""
        return np.concatenate(self.command(chain, "true"))

    def scatter(self, chain: int, labels: LabelArray, true: FloatArray) -> None:
        """Replace all labels of a chain, and all values that are not exact."""
        cuts = [row_range(self._N, *member.shards)[0] for member in self._members[1:]]
        parts = [] if self._latent is None else self._latent.pieces
        sizes = [int(count_not_exact(part.latent).sum()) for part in parts] or [0] * len(self._members)
        own, own_true = np.split(np.array(labels), cuts), np.split(np.array(true), np.cumsum(sizes)[:-1])
        self.command(chain, "set", _ByMember(own), _ByMember(own_true))

    # --- Commands ---

    def command(self, chain: int, name: str, *arguments: Any) -> list[Any]:
        """Have all parts carry out a command for a chain; their answers, in order."""
        log = self._logs[chain]
        if name in CHANGES and len(log.commands) > _MOST_COMMANDS:
            parts = self.command(chain, "labels"), self.command(chain, "true")
            log.done += len(log.commands) - 2
            log.commands = [log.commands[0], ("set", tuple(_ByMember(pieces) for pieces in parts))]
        done = log.done + len(log.commands) - 1
        # Arguments are copied: they may have to be sent again when the chain has gone on.
        arguments = tuple(_copied(argument) for argument in arguments)
        waiting = [self._send(member, chain, done, name, arguments) for member in self._members]
        answers = [self._receive(number, future, chain, done, name, arguments) for number, future in enumerate(waiting)]
        if name in CHANGES:
            log.known = {}
            if name == "set" or (name == "label_pass" and not arguments[0]):  # labels before it do not matter
                log.keep(("reset", "set", "label_pass") if log.latent and name != "set" else ("reset",))
            log.commands.append((name, arguments))
        return answers

    def _send(self, member: _Member, chain: int, done: int, name: str, arguments: tuple[Any, ...]) -> Any:
        """Begin a command; None where the worker is known to be lost."""
        own = tuple(a.pieces[member.number] if isinstance(a, _ByMember) else a for a in arguments)
        try:
            return member.epoch, member.actor.run(chain, done, name, own)
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
        copies = [_copied(item) for item in argument]
        return type(argument)(*copies) if hasattr(argument, "_fields") else tuple(copies)
    return np.array(argument) if isinstance(argument, np.ndarray) else argument
