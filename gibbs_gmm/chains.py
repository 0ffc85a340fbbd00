"""Chains: their generators and states, the threads that advance them, progress and interruption."""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

import numpy as np
from tqdm import tqdm

from gibbs_gmm import validate
from gibbs_gmm.kernels import sweep as kernels
from gibbs_gmm.kernels.assign import Components, Statistics
from gibbs_gmm.kernels.simd import LANES
from gibbs_gmm.kernels.types import AnyArray, FloatArray
from gibbs_gmm.starts import kmeans_plus_plus

_BATCH_SECONDS = 0.05  # how long compiled code runs before control returns to Python
_BATCH_LABELS = 1 << 22  # labels that one batch may hold before they are narrowed into the trace
_SHARE_SECONDS = 0.004  # a sweep longer than this is worth spreading over idle threads
_TASKS_PER_THREAD = 4  # more tasks than threads even out cores that are busy with something else


class NumericalError(ArithmeticError):
    """A chain met a matrix that is not positive definite; the message names chain, sweep and component."""


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


def seed_sequence(rng: Any) -> np.random.SeedSequence:
    """The root of a run's randomness, from what a user may pass as ``rng`` (SPEC 7 of Scientific Python).

    None is fresh entropy; an int, a sequence of ints or a SeedSequence is a seed; a Generator gives 128 bits and is
    advanced by it, so that the next run with it differs.
    """
    if isinstance(rng, np.random.Generator):
        return np.random.SeedSequence([int(word) for word in rng.integers(0, 2**32, size=4, dtype=np.uint64)])
    if isinstance(rng, np.random.SeedSequence):  # a copy: spawning must not change the caller's
        return np.random.SeedSequence(rng.entropy, spawn_key=rng.spawn_key, pool_size=rng.pool_size)
    if rng is None:
        return np.random.SeedSequence()
    if isinstance(rng, (Sequence, np.ndarray)) and not isinstance(rng, (str, bytes)):
        return np.random.SeedSequence([validate.integer("rng", word, 0) for word in rng])
    try:
        return np.random.SeedSequence(validate.integer("rng", rng, 0))
    except TypeError:
        raise TypeError(
            f"rng must be None, an integer, a SeedSequence or a numpy.random.Generator, got {rng!r}"
        ) from None


def _padded(*shape: int) -> FloatArray:
    """Zeros of this shape that start on a cache line; the last axis is a multiple of eight."""
    raw = np.zeros(math.prod(shape) + LANES)
    skip = (-raw.ctypes.data % 64) // 8
    return raw[skip : skip + math.prod(shape)].reshape(shape)


def initial_state(rng: np.random.Generator, data: kernels.Data, scale: FloatArray, K: int) -> kernels.State:
    """A chain's state before its first sweep: the statistics of a k-means++ clustering, about each cluster's mean."""
    N, D = data.X.shape
    P, shards = -(-D // LANES) * LANES, kernels.n_shards(N)
    state = kernels.State(
        z=np.zeros(N, np.uint16),
        total=Statistics(np.zeros(K), _padded(K, P), _padded(K, P, P)),
        log_w=np.zeros(K),
        W=np.zeros((K, D, D)),
        components=Components(np.zeros((K, D, D)), np.zeros((K, D)), np.zeros(K), _padded(K, P)),
        shards=Statistics(np.zeros((shards, K)), _padded(shards, K, P), _padded(shards, K, P, P)),
        shard_log_likelihood=np.zeros(shards),
        key=np.zeros(1, np.uint64),
    )
    rows, labels = kmeans_plus_plus(rng, data.X, data.loc, scale, K)
    for k in range(K):
        own = rows[labels == k]
        if len(own) > 0:
            centre = own.mean(0)
            state.total.n[k] = len(own)
            state.components.centre[k, :D] = centre
            state.total.S[k, :D, :D] = (own - centre).T @ (own - centre)
    return state


class Chain:
    """One chain: a generator, a state, and the part of the trace that it writes."""

    def __init__(
        self,
        number: int,
        rng: np.random.Generator,
        data: kernels.Data,
        model: kernels.Model,
        state: kernels.State,
        plan: Plan,
        draws: dict[str, AnyArray],
        labels: AnyArray | None,
    ) -> None:
        self.number, self.rng, self.data, self.model, self.state = number, rng, data, model, state
        self.plan, self.draws, self.labels = plan, draws, labels
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

    def advance(self, helpers: ThreadPoolExecutor | None, tasks: int) -> int:
        """Run about 50 ms of warm-up sweeps or of draws, at least one; returns how many sweeps.

        With ``helpers``, a sweep that takes long enough has its shards spread over them; the draws do not depend on it.
        """
        begun = time.perf_counter()
        wanted = max(1, int(_BATCH_SECONDS / self._seconds_per_sweep))
        N = self.data.X.shape[0]
        if self.sweeps_done < self.plan.warmup:
            thin, kept = 0, 0
            sweeps = min(wanted, self.plan.warmup - self.sweeps_done)
        else:
            thin = self.plan.thin
            kept = min(max(1, wanted // thin), max(1, _BATCH_LABELS // N), self.plan.draws - self.draws_done)
            sweeps = kept * thin
        first = self.draws_done
        labels = np.empty((kept if self.labels is not None else 0, N), np.uint16)
        draws = kernels.Draws(**{name: array[first : first + kept] for name, array in self.draws.items()}, z=labels)
        if helpers is not None and _SHARE_SECONDS < self._seconds_per_sweep < math.inf:
            self._run_shared(sweeps, thin, draws, helpers, tasks)
        else:
            status = kernels.run_sweeps(self.rng, self.data, self.model, self.state, sweeps, thin, draws)
            self._check(*divmod(status, self.state.W.shape[0] + 1))
        if self.labels is not None:
            self.labels[first : first + len(labels)] = labels
        self.sweeps_done += sweeps
        self._seconds_per_sweep = (time.perf_counter() - begun) / sweeps
        return sweeps

    def _run_shared(
        self, sweeps: int, thin: int, draws: kernels.Draws, helpers: ThreadPoolExecutor, tasks: int
    ) -> None:
        """The same as ``run_sweeps``, with the shards of each sweep in ``tasks`` tasks."""
        shards = len(self.state.shard_log_likelihood)
        cuts = np.unique(np.linspace(0, shards, min(tasks, shards) + 1).astype(int))
        for sweep in range(sweeps):
            self._check(sweep, kernels.draw_parameters(self.rng, self.model, self.state))
            parts = [
                helpers.submit(kernels.assign_task, self.data, self.state, int(a), int(b))
                for a, b in zip(cuts[:-1], cuts[1:], strict=True)
            ]
            for part in parts:
                part.result()
            log_likelihood = kernels.reduce_shards(self.state)
            if thin > 0 and (sweep + 1) % thin == 0:
                row = (sweep + 1) // thin - 1
                kernels.record(self.data, self.model, self.state, log_likelihood, draws, row)

    def _check(self, sweep: int, failed: int) -> None:
        if failed != 0:
            raise NumericalError(
                f"chain {self.number}, sweep {self.sweeps_done + sweep}: the scale matrix of component {failed - 1} is "
                "not positive definite; the prior's Psi_0 is too small for the rounding errors of these data"
            )


def run(chains: list[Chain], threads: int, progress: bool) -> bool:
    """Advance all chains side by side until they are finished; returns True if Ctrl-C stopped them early.

    Chains take turns, so that an interrupted run has about as many draws of each.
    """
    stop = threading.Event()
    plan = chains[0].plan
    spare = threads > len(chains) and kernels.n_shards(chains[0].data.X.shape[0]) > 1
    helpers = ThreadPoolExecutor(threads) if spare else None
    tasks = _TASKS_PER_THREAD * threads

    def step(chain: Chain) -> tuple[Chain, int]:
        return chain, 0 if stop.is_set() else chain.advance(helpers, tasks)

    bar = tqdm(
        total=len(chains) * plan.sweeps,
        desc=f"{len(chains)} chain{'s' if len(chains) > 1 else ''}",
        unit=" draws",
        unit_scale=1.0 / plan.thin if plan.thin > 1 else False,
        disable=None if progress else True,  # None: silent unless standard error is a terminal
        delay=0.5,
        leave=False,
    )
    workers = ThreadPoolExecutor(min(threads, len(chains)))
    running: set[Future[tuple[Chain, int]]] = set()
    interrupted = False
    try:
        running = {workers.submit(step, chain) for chain in chains}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                chain, sweeps = future.result()
                bar.update(sweeps)
                if not chain.finished:
                    running.add(workers.submit(step, chain))
    except KeyboardInterrupt:
        interrupted = True
    finally:
        stop.set()  # what is queued returns at once; what runs ends its batch
        workers.shutdown(wait=True, cancel_futures=True)
        if helpers is not None:
            helpers.shutdown(wait=True)
        bar.close()
    return interrupted
