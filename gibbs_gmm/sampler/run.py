"""Chains side by side: the threads that advance them, progress, interruption, and their draws put together."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Protocol

import numpy as np

from gibbs_gmm.kernels.sampler import sweep as kernels
from gibbs_gmm.kernels.types import AnyArray
from gibbs_gmm.sampler import until
from gibbs_gmm.sampler.chain import Chain
from gibbs_gmm.sampler.progress import Progress
from gibbs_gmm.sampler.rows import Away, Store
from gibbs_gmm.sampler.threaded import Threaded
from gibbs_gmm.threads import Threads

if TYPE_CHECKING:
    from gibbs_gmm.posterior.standing import Standing
    from gibbs_gmm.sampler.recipe import Plan


class Keep(Protocol):
    """What keeps chains on disk (:class:`gibbs_gmm.storage.run_folder.Keeper`)."""

    def __call__(self, chain: Chain) -> None:
        """Keep what there is to be kept of a chain."""

    def keep_all(self) -> None:
        """Keep all chains as they are."""

    def kept(self, name: str) -> AnyArray:
        """An array (C, T, ...) of all draws."""

    def go_on(self, plan: Plan, first: int) -> None:
        """Go on with a longer plan, and every second of the draws behind the ``first``."""


class Judge(Protocol):
    """Says how far a run is (:func:`gibbs_gmm.posterior.standing.standing`)."""

    def __call__(self, arrays: Mapping[str, AnyArray], labels: Sequence[AnyArray] | None) -> Standing:
        """How far it is, from its weights, n_clusters and log_likelihood, and the assignments of each chain."""


def run(
    chains: list[Chain],
    threads: int,
    progress: Progress,
    judge: Judge,
    keep: Keep | None = None,
    away: Away | None = None,
) -> str:
    """Advance all chains side by side until the run is done; returns what ended it.

    That is "interruption", by Ctrl-C; "draws", which were given; or, of a run that goes on until it is done
    (:mod:`gibbs_gmm.sampler.until`), "converged" or "max_sweeps".

    Chains take turns, so that an interrupted run has about as many draws of each. ``keep`` is called after each batch
    of a chain, on the thread that advanced it; ``away`` makes the passes over X, where they are not made here.
    """
    while not _advance(chains, threads, progress, keep, away):
        plan = chains[0].plan
        if plan.max_sweeps is None:
            return "draws"
        try:
            now = judge(*_judged(chains, keep))
        except KeyboardInterrupt:
            break
        if now.done:
            return "converged"
        following = until.longer(plan, len(chains[0].data.X), now.apart)
        if following is None:
            return "max_sweeps"
        if keep is not None:
            keep.go_on(*following)
        for chain in chains:
            chain.go_on(*following)
        progress.missing = str(now)
    return "interruption"


def _judged(chains: list[Chain], keep: Keep | None) -> tuple[dict[str, AnyArray], Sequence[AnyArray] | None]:
    """What the draws of all chains are judged by: three arrays, and the labels of each chain, which are not copied."""
    names, labelled = ("weights", "n_clusters", "log_likelihood"), chains[0].labels is not None
    if keep is not None:
        keep.keep_all()
        return {name: keep.kept(name) for name in names}, list(keep.kept("assignments")) if labelled else None
    T, slots = chains[0].draws_done, max(chain.slots for chain in chains)
    arrays = {
        name: np.stack([chain.fields[name].with_slots(chain.arrays[name][:T], slots) for chain in chains])
        for name in names
    }
    return arrays, [chain.labels[:T] for chain in chains if chain.labels is not None] if labelled else None


def _advance(chains: list[Chain], threads: int, progress: Progress, keep: Keep | None, away: Away | None) -> bool:
    """Advance all chains to the end of their plan. Returns whether Ctrl-C came."""
    stop = threading.Event()
    spare = away is None and threads > len(chains) and kernels.n_shards(chains[0].data.X.shape[0]) > 1
    helpers = Threads(threads) if spare else None
    store: Store | None = away if helpers is None else Threaded(helpers)

    def step(chain: Chain) -> tuple[Chain, int]:
        sweeps = 0 if stop.is_set() or chain.finished else chain.advance(store)
        if keep is not None and sweeps > 0:
            keep(chain)
        return chain, sweeps

    workers = ThreadPoolExecutor(len(chains) if away is not None else min(threads, len(chains)))
    running: set[Future[tuple[Chain, int]]] = set()
    interrupted = False
    progress.begin(chains)
    try:
        running = {workers.submit(step, chain) for chain in chains}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                chain, sweeps = future.result()
                progress.update(sweeps)
                if not chain.finished:
                    running.add(workers.submit(step, chain))
    except KeyboardInterrupt:
        interrupted = True
    finally:
        stop.set()  # what is queued returns at once; what runs ends its batch
        workers.shutdown(wait=True, cancel_futures=True)
        if helpers is not None:
            helpers.close()
        progress.close()
    return interrupted


def stack(chains: list[Chain], kept: int) -> dict[str, AnyArray]:
    """The first ``kept`` draws of all chains as one set of (chain, draw, ...) arrays, with as many slots as are used.

    They are views, not copies, where the chains share one array.
    """
    known = chains[0].model.weights.known
    used = (int(chain.arrays["n_clusters"][:kept].max()) for chain in chains)
    slots = chains[0].slots if known else max(1, *used)
    whole = {
        name: _joined([field.with_slots(chain.arrays[name][:kept], slots) for chain in chains])
        for name, field in chains[0].fields.items()
        if name in chains[0].arrays
    }
    labels = [chain.labels[:kept] for chain in chains if chain.labels is not None]
    if labels:
        whole["assignments"] = _joined(labels).astype(chains[0].fields["assignments"].dtype(slots), copy=False)
    return whole


def _joined(parts: list[AnyArray]) -> AnyArray:
    """The parts stacked: the array whose consecutive parts they are, if there is one, or a copy."""
    whole = parts[0].base
    if whole is not None and whole.shape == (len(parts), *parts[0].shape):
        starts = [part.__array_interface__["data"][0] for part in parts]
        if starts == [row.__array_interface__["data"][0] for row in whole]:
            return whole
    return np.stack(parts)
