"""Chains: their generators and states, the threads that advance them, progress and interruption."""

from __future__ import annotations

import dataclasses
import functools
import logging
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

import numpy as np
from tqdm import tqdm

from gibbs_gmm.aligned import padded
from gibbs_gmm.errors import NumericalError
from gibbs_gmm.kernels.families.hyperprior import FIXED, new_room
from gibbs_gmm.kernels.sampler import sweep as kernels
from gibbs_gmm.kernels.sampler.label_pass import Components, Statistics, new_workspace
from gibbs_gmm.kernels.sampler.launch import Pair, restricted_task
from gibbs_gmm.kernels.sampler.row_by_row import new_sides
from gibbs_gmm.kernels.sampler.split_merge import Library, Moves, split_merge
from gibbs_gmm.kernels.sampler.state import DONE, FAILED, N_CLUSTERS, UNRECORDED, Data, Draws, Model, State
from gibbs_gmm.kernels.simd import LANES
from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray, LabelArray
from gibbs_gmm.sampler.starts import kmeans_plus_plus
from gibbs_gmm.sampler.tuning import Tuner
from gibbs_gmm.storage.draw_files import with_slots
from gibbs_gmm.threads import Threads

_log = logging.getLogger("gibbs_gmm")

_LOG_SECONDS = 10.0  # between two lines of progress in the log
_BATCH_SECONDS = 0.05  # how long compiled code runs before control returns to Python
_BATCH_LABELS = 1 << 22  # labels that one batch may hold before they are narrowed into the trace
_SHARE_SECONDS = 0.004  # a sweep longer than this is worth spreading over idle threads
_LIBRARY = 128  # learned launches kept
_SLOTS = 8  # component slots a trace of unknown n begins with


@dataclasses.dataclass(frozen=True)
class Plan:
    """How long a chain runs: sweeps of warm-up, draws to keep, sweeps per draw."""

    warmup: int
    draws: int
    thin: int

    @property
    def sweeps(self) -> int:
        """Sweeps of one chain in all."""
        return self.warmup + self.draws * self.thin


def initial_state(rng: np.random.Generator, data: Data, model: Model, alpha: float, K: int, capacity: int) -> State:
    """A chain's state before its first sweep: K components, and the statistics of a k-means++ clustering.

    ``capacity`` components find room. Labels are not set yet: the first sweep draws them.
    """
    D, prior = data.X.shape[1], model.components
    state = empty_state(np.zeros(len(data.X), np.uint16), D, capacity)
    state.hyper[:] = alpha, prior.kappa_0, prior.log_norm
    state.Psi_0[:], state.L_0[:] = prior.Psi_0, prior.L_0
    state.size[:] = K, 0
    rows, labels = kmeans_plus_plus(rng, data.X, data.loc, data.scale, K)
    t = 0
    for k in range(K):
        own = rows[labels == k]
        if len(own) > 0:
            centre = own.mean(0)
            state.total.n[t] = len(own)
            state.components.centre[t, :D] = centre
            state.total.S[t, :D, :D] = (own - centre).T @ (own - centre)
            t += 1
    state.size[N_CLUSTERS] = t
    return state


def empty_state(z: LabelArray, D: int, capacity: int) -> State:
    """Room for a chain's state, with these labels (N,)."""
    P, shards = -(-D // LANES) * LANES, kernels.n_shards(len(z))
    return State(
        z=z,
        total=_statistics(capacity, P),
        log_w=np.zeros(capacity),
        W=np.zeros((capacity, D, D)),
        components=_components(capacity, D),
        shards=_statistics(shards, capacity, P),
        shard_log_likelihood=np.zeros(shards),
        key=np.zeros(2, np.uint64),
        hyper=np.zeros(3),
        Psi_0=np.zeros((D, D)),
        L_0=np.zeros((D, D)),
        size=np.zeros(2, np.int64),
        report=np.zeros(3, np.int64),
    )


def new_moves(data: Data, capacity: int) -> Moves:
    """Buffers of split-merge moves, and an empty library."""
    D = data.X.shape[1]
    P, shards = -(-D // LANES) * LANES, kernels.n_shards(len(data.X))
    library = Library(
        W=np.zeros((_LIBRARY, 2, D, D)),
        c=np.zeros((_LIBRARY, 2, D)),
        log_c=np.zeros((_LIBRARY, 2)),
        centre=np.zeros((_LIBRARY, 2, P)),
        mean=np.zeros((_LIBRARY, D)),
        collected=np.zeros(1, np.int64),
    )
    return Moves(
        pair=new_pair(shards, D),
        groups=_statistics(2, P),
        union=_statistics(1, P),
        union_centre=np.zeros(P),
        sizes=np.zeros(capacity + 1),
        mu_n=np.zeros(D),
        Psi_n=np.zeros((D, D)),
        W=np.zeros((D, D)),
        room=new_room(D),
        score=np.zeros(_LIBRARY),
        counts=np.zeros((2, 3, 2), np.int64),
        rows=np.zeros(1, np.int64),
        library=library,
    )


def new_pair(shards: int, D: int) -> Pair:
    """Room for a pass over two clusters."""
    return Pair(
        components=_components(2, D),
        task=np.zeros(5, np.int64),
        key=np.zeros(1, np.uint64),
        groups=_statistics(shards, 2, -(-D // LANES) * LANES),
        log_q=np.zeros(shards),
    )


def _statistics(*shape: int) -> Statistics:
    """Empty statistics: shape (..., K, P)."""
    *lead, P = shape
    return Statistics(np.zeros(lead), padded(*lead, P), padded(*lead, P, P))


def _components(K: int, D: int) -> Components:
    """Room for K components in the label pass's form."""
    return Components(np.zeros((K, D, D)), np.zeros((K, D)), np.zeros(K), padded(K, -(-D // LANES) * LANES))


class Shared:
    """The passes of a sweep spread over threads: what an interpreted sweep calls in place of compiled passes."""

    always = False  # whether every sweep is to be spread, however short

    def __init__(self, threads: Threads) -> None:
        self._threads = threads

    def calls(self, model: Model) -> kernels.Calls:
        """The pieces of a sweep, those that pass over X spread; pointers would be interpreted when called from here."""
        return kernels.kernel_calls(model)._replace(
            split_merge=plain(split_merge), restricted=self._restricted, assign=self._assign
        )

    def _assign(self, data: Data, state: State, sliced: bool, *_: Any) -> None:
        task = functools.partial(kernels.assign_task, data, state, sliced)
        self._threads.run(task, len(state.shard_log_likelihood))

    def _restricted(self, X: AnyArray, loc: FloatArray, z: LabelArray, pair: Pair, *_: Any) -> None:
        self._threads.run(functools.partial(restricted_task, X, loc, z, pair), len(pair.log_q))


def plain(kernel: Any) -> Any:
    """The Python function of a kernel, to be interpreted."""
    return getattr(kernel, "py_func", kernel)


class Chain:
    """One chain: a generator, a state, and the part of the trace that it writes.

    Its arrays have room for all draws, or for as many as take ``window_bytes``: when they are full, :meth:`take` must
    be called. ``arrays`` may be its part of arrays of all chains.
    """

    def __init__(
        self,
        number: int,
        rng: np.random.Generator,
        data: Data,
        model: Model,
        state: State,
        plan: Plan,
        save_assignments: bool,
        window_bytes: int | None = None,
        arrays: dict[str, AnyArray] | None = None,
    ) -> None:
        self.number, self.rng, self.data, self.model, self.state, self.plan = number, rng, data, model, state, plan
        capacity, (N, D) = len(state.log_w), data.X.shape
        self.moves = new_moves(data, capacity)
        self.tuner = Tuner(plan.warmup, model)
        self._scratch = kernels.Scratch(
            sides=new_sides(N, D, model.components.nu_0),
            cumulated=np.zeros(len(model.weights.log_p)),
            place=np.zeros(capacity, np.int64),
            work=new_workspace(capacity, D),
            pair_work=new_workspace(2, D),
        )
        slots = capacity if model.weights.known else min(capacity, _SLOTS)
        self._window_bytes, self._label_bytes = window_bytes, 2 * N if save_assignments else 0
        self.window, self._first = self._room(slots), 0  # draws that its arrays hold, and the number of their first
        rows = trace_arrays((self.window,), model, capacity, N if save_assignments else 0) if arrays is None else arrays
        self.labels = rows.get("assignments")
        self.arrays = {name: array for name, array in rows.items() if name != "assignments"}
        draws = self._rows(0, 0, np.empty((0, N), np.uint16))
        self._calls = kernels.compiled_calls(rng, data, model, state, self.moves, draws)
        self.sweeps_done = 0
        self._seconds_per_sweep = math.inf

    @property
    def draws_done(self) -> int:
        """Draws recorded so far."""
        return max(0, self.sweeps_done - self.plan.warmup) // self.plan.thin

    @property
    def finished(self) -> bool:
        """Whether no sweep is left."""
        return self.sweeps_done == self.plan.sweeps

    def _room(self, slots: int) -> int:
        """Draws that its arrays have room for if each has this many component slots."""
        if self._window_bytes is None:
            return self.plan.draws
        D = self.data.X.shape[1]
        row = 8 * (slots * (1 + D + D * D) + D * D + 6) + self._label_bytes
        return int(min(self.plan.draws, max(1, self._window_bytes // row)))

    @property
    def is_full(self) -> bool:
        """Whether the window has no room for another draw."""
        return self.draws_done - self._first == self.window

    def take(self) -> tuple[dict[str, AnyArray], int]:
        """The draws in the window, as views that the next sweeps overwrite, and how many slots are in use in them."""
        kept = self.draws_done - self._first
        rows = {name: array[:kept] for name, array in self.arrays.items()}
        if self.labels is not None:
            rows["assignments"] = self.labels[:kept]
        self._first = self.draws_done
        return rows, self.slots if self.model.weights.known else int(rows["n_clusters"].max(initial=1))

    def row_shapes(self) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
        """Type and shape of a draw in each array that it writes."""
        arrays = self.arrays if self.labels is None else {**self.arrays, "assignments": self.labels}
        return {name: (array.dtype, array.shape[1:]) for name, array in arrays.items()}

    def continue_from(self, sweeps: int) -> None:
        """Go on after this many sweeps, the state being where it was then."""
        self.sweeps_done = sweeps
        self._first = self.draws_done

    def report(self) -> dict[str, Any]:
        """What became of its split-merge moves, for the record."""
        return {"counts": self.moves.counts.tolist(), **self.tuner.frozen()}

    def advance(self, shared: Shared | None) -> int:
        """Run about 50 ms of warm-up sweeps or of draws, at least one; returns how many sweeps.

        With ``shared``, a sweep that takes long enough has its passes spread over threads; the draws do not depend on
        it.
        """
        begun = time.perf_counter()
        wanted = max(1, int(_BATCH_SECONDS / self._seconds_per_sweep))
        N, first = len(self.data.X), self.draws_done - self._first
        tuning, left = self.tuner.at(self.sweeps_done, self.moves, self.state)
        if self.sweeps_done < self.plan.warmup:
            thin, kept = 0, 0
            sweeps = min(wanted, left)
        else:
            thin, left_of_plan = self.plan.thin, self.plan.draws - self.draws_done
            kept = min(max(1, wanted // thin), max(1, _BATCH_LABELS // N), self.window - first, left_of_plan)
            sweeps = kept * thin
        labels = np.empty((kept if self.labels is not None else 0, N), np.uint16)
        draws = self._rows(first, kept, labels)
        state, report = self.state, self.state.report
        long = _SHARE_SECONDS < self._seconds_per_sweep < math.inf
        spread = shared is not None and (shared.always or long)
        run_sweeps = plain(kernels.run_sweeps) if spread else kernels.run_sweeps
        calls = shared.calls(self.model) if shared is not None and spread else self._calls
        total = run_sweeps(
            self.rng, self.data, self.model, state, self.moves, tuning, self._scratch, calls, sweeps, thin, draws
        )
        done = int(report[DONE])
        self._check(done)
        self.sweeps_done += done
        kept = done // thin if thin > 0 else 0
        if report[UNRECORDED]:
            slots = 2 * max(self.slots, int(state.size[N_CLUSTERS]))
            if self._window_bytes is not None:
                self.window = max(first + kept, self._room(slots))
            self.arrays = {name: with_slots(name, a[: self.window], slots) for name, a in self.arrays.items()}
            last = self._rows(first, kept, labels)
            record = calls.record if spread else kernels.record  # a pointer would be interpreted
            record(self.rng, self.data, self.model, state, self.moves, total, last, kept - 1)
        if self.labels is not None and kept > 0:
            most = self.slots if self.model.weights.known else self.arrays["n_clusters"][first : first + kept].max()
            self.labels = self.labels.astype(
                np.promote_types(self.labels.dtype, np.min_scalar_type(most - 1)), copy=False
            )
            self.labels[first : first + kept] = labels[:kept]
        self._seconds_per_sweep = max(time.perf_counter() - begun, 1e-9) / done  # a clock may stand still, or go back
        return done

    @property
    def slots(self) -> int:
        """Component slots of its part of the trace."""
        return int(self.arrays["weights"].shape[1])

    def _rows(self, first: int, kept: int, labels: LabelArray) -> Draws:
        """The rows of the trace that the next draws go to."""
        return Draws(**{name: array[first : first + kept] for name, array in self.arrays.items()}, z=labels)

    def _check(self, done: int) -> None:
        failed = int(self.state.report[FAILED])
        where = f"chain {self.number}, sweep {self.sweeps_done + done}"
        if failed != 0:
            what = f"the scale matrix of component {failed - 1}" if failed > 0 else "the learned scale Psi_0"
            raise NumericalError(
                f"{where}: {what} is not positive definite{self._why(failed - 1)}. Pass resolution=, the width to "
                "which values are known, or a prior with a larger Psi_0"
            )

    def _why(self, k: int) -> str:
        """The rows and columns in which cluster k, or any if k < 0, does not vary, where that can be seen."""
        if not isinstance(self.state.z, np.ndarray) or not self.state.key[0]:
            return ""
        rows = np.flatnonzero(self.state.z == k) if k >= 0 else _equal_rows(self.data.X)
        if len(rows) == 0:
            return ""
        if len(rows) == 1:
            return f": it has one row, {rows[0]}, counted from 0"
        equal = np.flatnonzero(np.ptp(np.asarray(self.data.X[rows]), axis=0) == 0.0)
        some = ", ".join(map(str, rows[:5])) + (", ..." if len(rows) > 5 else "")
        what = f"are equal in columns {', '.join(map(str, equal))}" if len(equal) else "do not vary in some direction"
        return f": {len(rows)} rows ({some}) {what}, all counted from 0"


def _equal_rows(X: AnyArray) -> IntArray:
    """The rows that equal the most frequent of the first 10,000, if any is there twice."""
    first = np.asarray(X[:10_000])
    _, group, counts = np.unique(first, axis=0, return_inverse=True, return_counts=True)
    return np.flatnonzero(group.ravel() == counts.argmax()) if counts.max() > 1 else np.zeros(0, np.int64)


def trace_arrays(shape: tuple[int, ...], model: Model, capacity: int, N: int) -> dict[str, AnyArray]:
    """Room for draws of this shape, with labels of N rows if N > 0.

    For a known n each has all its components; otherwise as many slots as will do at first, and labels of one byte.
    """
    known, D = model.weights.known, len(model.components.mu_0)
    slots = capacity if known else min(capacity, _SLOTS)
    scale = D if model.hyper.law != FIXED else 0  # a scale that is fixed is not written down for each draw
    arrays: dict[str, AnyArray] = {
        "weights": np.empty((*shape, slots)),
        "means": np.empty((*shape, slots, D)),
        "covariances": np.empty((*shape, slots, D, D)),
        "log_likelihood": np.empty(shape),
        "log_posterior": np.empty(shape),
        "n_components": np.empty(shape, np.int64),
        "n_clusters": np.empty(shape, np.int64),
        "concentration": np.empty(shape),
        "kappa_0": np.empty(shape),
        "Psi_0": np.empty((*shape, scale, scale)),
    }
    if N > 0:
        arrays["assignments"] = np.empty((*shape, N), np.min_scalar_type(capacity - 1) if known else np.uint8)
    return arrays


def stack(chains: list[Chain], kept: int) -> dict[str, AnyArray]:
    """The first ``kept`` draws of all chains as one set of (chain, draw, ...) arrays, with as many slots as are used.

    Arrays that are parts of the same are not copied.
    """
    known = chains[0].model.weights.known
    used = (int(chain.arrays["n_clusters"][:kept].max()) for chain in chains)
    slots = chains[0].slots if known else max(used)
    whole = {
        name: _joined([with_slots(name, chain.arrays[name][:kept], slots) for chain in chains])
        for name in chains[0].arrays
    }
    labels = [chain.labels[:kept] for chain in chains if chain.labels is not None]
    if labels:
        whole["assignments"] = _joined(labels).astype(np.min_scalar_type(slots - 1), copy=False)
    return whole


def _joined(parts: list[AnyArray]) -> AnyArray:
    """The parts side by side: the array that they are consecutive parts of, or a copy."""
    whole = parts[0].base
    if whole is not None and whole.shape == (len(parts), *parts[0].shape):
        starts = [part.__array_interface__["data"][0] for part in parts]
        if starts == [row.__array_interface__["data"][0] for row in whole]:
            return whole
    return np.stack(parts)


def run(
    chains: list[Chain],
    threads: int,
    progress: bool,
    keep: Callable[[Chain], None] | None = None,
    cluster: Shared | None = None,
) -> bool:
    """Advance all chains side by side until they are finished; returns True if Ctrl-C stopped them early.

    Chains take turns, so that an interrupted run has about as many draws of each. ``keep`` is called after each batch
    of a chain, on the thread that advanced it; ``cluster`` makes the passes over X, where they are not made here. With
    ``progress``, a line now and then goes to the log.
    """
    stop = threading.Event()
    plan = chains[0].plan
    spare = cluster is None and threads > len(chains) and kernels.n_shards(chains[0].data.X.shape[0]) > 1
    helpers = Threads(threads) if spare else None
    shared = cluster if helpers is None else Shared(helpers)

    def step(chain: Chain) -> tuple[Chain, int]:
        sweeps = 0 if stop.is_set() or chain.finished else chain.advance(shared)
        if keep is not None and sweeps > 0:
            keep(chain)
        return chain, sweeps

    bar = tqdm(
        total=len(chains) * plan.sweeps,
        initial=sum(chain.sweeps_done for chain in chains),
        desc=f"{len(chains)} chain{'s' if len(chains) > 1 else ''}",
        unit=" draws",
        unit_scale=1.0 / plan.thin if plan.thin > 1 else False,
        disable=None if progress else True,  # None: silent unless standard error is a terminal
        delay=0.5,
        leave=False,
    )
    workers = ThreadPoolExecutor(len(chains) if cluster is not None else min(threads, len(chains)))
    running: set[Future[tuple[Chain, int]]] = set()
    interrupted = False
    try:
        running = {workers.submit(step, chain) for chain in chains}
        logged = math.inf
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                chain, sweeps = future.result()
                bar.update(sweeps)
                if not chain.finished:
                    running.add(workers.submit(step, chain))
            now = time.monotonic()
            if progress and now - logged > _LOG_SECONDS:
                swept, total = sum(chain.sweeps_done for chain in chains), len(chains) * plan.sweeps
                _log.info("%d of %d sweeps (%.0f%%)", swept, total, 100.0 * swept / total)
            if not 0.0 <= now - logged <= _LOG_SECONDS:  # after the first batch too, which may have had to be compiled
                logged = now
    except KeyboardInterrupt:
        interrupted = True
    finally:
        stop.set()  # what is queued returns at once; what runs ends its batch
        workers.shutdown(wait=True, cancel_futures=True)
        if helpers is not None:
            helpers.close()
        bar.close()
    return interrupted
