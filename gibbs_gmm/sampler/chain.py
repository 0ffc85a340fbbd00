"""A chain: its generator, its state, and the draws that it writes."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from typing import Any

import numpy as np

from gibbs_gmm.errors import NumericalError
from gibbs_gmm.kernels._jit import plain
from gibbs_gmm.kernels.families.generic import Family
from gibbs_gmm.kernels.sampler import sweep as kernels
from gibbs_gmm.kernels.sampler.counted import Copies
from gibbs_gmm.kernels.sampler.partition_prior import tilt
from gibbs_gmm.kernels.sampler.recording import record
from gibbs_gmm.kernels.sampler.row_by_row import new_sides
from gibbs_gmm.kernels.sampler.state import (
    ALL_AWAY,
    DONE,
    FAILED,
    N_CLUSTERS,
    UNRECORDED,
    Data,
    Draws,
    Model,
    State,
    observations_of,
    room,
)
from gibbs_gmm.kernels.tile import new_workspace
from gibbs_gmm.kernels.types import AnyArray, IntArray, LabelArray
from gibbs_gmm.latent import count_not_exact, not_exact
from gibbs_gmm.sampler.buffers import new_moves
from gibbs_gmm.sampler.recipe import Plan
from gibbs_gmm.sampler.rows import Store
from gibbs_gmm.sampler.starts import start_from
from gibbs_gmm.sampler.tuning import Tuner
from gibbs_gmm.trace_arrays import Field, allocate

_BATCH_SECONDS = 0.05  # how long compiled code runs before control returns to Python
_BATCH_LABELS = 1 << 22  # labels that one batch may hold before they are narrowed into the trace
_SHARE_SECONDS = 0.004  # a sweep longer than this is worth spreading over idle threads
_SLOTS = 8  # component slots a trace of unknown n begins with


class Chain:
    """One chain: a generator, a state, and the part of the trace that it writes.

    Its arrays have room for all draws, or for as many as take ``window_bytes``: when they are full, :meth:`take` must
    be called. ``fields`` are the arrays that it writes; ``arrays`` may be its part of arrays of all chains. ``remote``
    is where the rows and its labels are, if not here: something that can ``gather`` and ``scatter`` them. ``true``
    are the values that are not exact, row by row, after :meth:`gather`.
    ``first`` is a chain with the same generator, of some of the rows, that is run first and from whose end this starts.
    """

    first: Chain | None = None

    def __init__(
        self,
        number: int,
        rng: np.random.Generator,
        data: Data,
        model: Model,
        family: Family,
        state: State,
        plan: Plan,
        fields: Iterable[Field],
        window_bytes: int | None = None,
        arrays: dict[str, AnyArray] | None = None,
        remote: Any = None,
    ) -> None:
        self.number, self.rng, self.data, self.model, self.state, self.plan = number, rng, data, model, state, plan
        capacity, (N, D) = len(state.log_w), data.X.shape
        self.remote, self._scale_ndim = remote, family.scale_ndim
        self.wider = wider(model, plain(room)(state))
        self.moves = new_moves(D, family, capacity, len(state.shard_log_likelihood))
        self.tuner = Tuner(plan.warmup if plan.tuning is None else plan.tuning, model, self.wider is not model)
        self._scratch = kernels.Scratch(
            sides=new_sides(family, model.prior, observations_of(state.z)),
            cumulated=np.zeros(max(capacity, len(model.weights.log_p))),
            place=np.zeros(capacity, np.int64),
            work=plain(new_workspace)(capacity, D),
            pair_work=plain(new_workspace)(2, D),
        )
        self.fields, self._window_bytes = {field.name: field for field in fields}, window_bytes
        slots = len(model.weights.log_p) - 1 if model.weights.known else min(capacity, _SLOTS)
        self.window, self._first = self._room(slots), 0  # draws that its arrays hold, and the number of their first
        rows = allocate(self.fields.values(), (self.window,), slots, D, N) if arrays is None else arrays
        self.labels = rows.get("assignments")
        self.arrays = {name: array for name, array in rows.items() if name != "assignments"}
        draws = self._rows(0, 0, np.empty((0, N), np.uint16))
        if remote is None:  # otherwise all sweeps are interpreted
            self._compiled = kernels.compiled_calls(rng, data, self.wider, state, self.moves, draws, self._scratch)
        self.true = np.empty(int(count_not_exact(data.latent).sum()))  # room, which takes no memory until it is used
        self.sweeps_done = 0
        self._seconds_per_sweep = math.inf

    @property
    def draws_done(self) -> int:
        """Draws recorded so far."""
        return self.plan.draws_after(self.sweeps_done)

    @property
    def finished(self) -> bool:
        """Whether no sweep is left."""
        return self.sweeps_done == self.plan.sweeps

    def _room(self, slots: int) -> int:
        """Draws that its arrays have room for if each has this many component slots."""
        if self._window_bytes is None:
            return self.plan.draws
        N, D = self.data.X.shape
        row = sum(field.bytes(slots, D, N) for field in self.fields.values())
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

    def go_on(self, plan: Plan, first: int) -> None:
        """Follow a longer plan: of the draws there are, every second behind the ``first`` is kept, or is in a file."""
        self.plan = plan
        self._first = 0
        if self._window_bytes is not None:
            self._first = self.draws_done
            return
        for array in (*self.arrays.values(), *(() if self.labels is None else (self.labels,))):
            kept = array[first + 1 :: 2].copy()
            array[: len(kept)] = kept

    def gather(self) -> None:
        """Have the labels in the state, wherever the rows are, and the values that are not exact in ``true``."""
        if self.remote is not None:
            self.state.z[:] = self.remote.gather(self.number)
            self.true[:] = self.remote.gather_true(self.number)
        elif len(self.true) > 0:
            self.true[:] = self.data.latent.values[not_exact(self.data.latent)]

    def scatter(self) -> None:
        """Have the labels of the state, and ``true``, where the rows are."""
        if self.remote is not None:
            self.remote.scatter(self.number, self.state.z, self.true)
        elif len(self.true) > 0:
            self.data.latent.values[not_exact(self.data.latent)] = self.true

    def report(self) -> dict[str, Any]:
        """What became of its split-merge moves, for the record."""
        away = {} if self.wider is self.model else {"sweeps_at_larger_n": int(self.state.visits[ALL_AWAY])}
        return {"counts": self.moves.counts.tolist(), **self.tuner.frozen(), **away}

    def advance(self, store: Store | None) -> int:
        """Run about 50 ms of warm-up sweeps or of draws, at least one; returns how many sweeps.

        With a ``store`` other than this core, a sweep that takes long enough is interpreted and uses it; the draws do
        not depend on it. Before the first sweep it may be its ``first`` chain that is advanced: then it returns 0.
        """
        if self.sweeps_done == 0 and self.first is not None:
            if not self.first.finished:
                self.first.advance(None)
                return 0
            start_from(self.state, self.first.state)
        started = time.perf_counter()
        wanted = max(1, int(_BATCH_SECONDS / self._seconds_per_sweep))
        N, first = len(self.data.X), self.draws_done - self._first
        tuning, left = self.tuner.at(self.sweeps_done, self.moves, self.state)
        if self.sweeps_done < self.plan.warmup:
            thin, kept, begun = 0, 0, 0
            sweeps = min(wanted, left, self.plan.warmup - self.sweeps_done)
        else:
            thin, left_of_plan = self.plan.thin, self.plan.draws - self.draws_done
            kept = min(max(1, wanted // thin), max(1, _BATCH_LABELS // N), self.window - first, left_of_plan)
            begun = (self.sweeps_done - self.plan.warmup) % thin  # a batch may end between two draws
            sweeps = kept * thin - begun
        labels = np.empty((kept if self.labels is not None else 0, N), np.uint16)
        draws = self._rows(first, kept, labels)
        state, report = self.state, self.state.report
        long = _SHARE_SECONDS < self._seconds_per_sweep < math.inf
        spread = store is not None and (store.always or long)
        run_sweeps = kernels.interpreted_sweeps if spread else kernels.run_sweeps
        if store is not None and spread:
            calls, rows = kernels.kernel_calls(self.wider, state), store.rows(self.number, self.data, state.z)
        else:
            calls, rows = self._compiled
        total = run_sweeps(
            self.rng, self.data, self.model, self.wider, state, self.moves, tuning, self._scratch, calls, rows,
            sweeps, thin, begun, draws,
        )  # fmt: skip
        done = int(report[DONE])
        self._check(done)
        self.sweeps_done += done
        kept = (begun + done) // thin if thin > 0 else 0
        if report[UNRECORDED]:
            slots = 2 * max(self.slots, int(state.size[N_CLUSTERS]))
            if self._window_bytes is not None:
                self.window = max(first + kept, self._room(slots))
            self.arrays = {n: self.fields[n].with_slots(a[: self.window], slots) for n, a in self.arrays.items()}
            last = self._rows(first, kept, labels)
            if not spread:
                rows = kernels.kernel_rows(self.data, state.z)  # a pointer would be interpreted
            record(self.rng, self.data, self.model, state, self.moves, total, last, kept - 1, rows)
        if self.labels is not None and kept > 0 and len(state.outliers) > 0:
            own = labels[:kept].astype(self.labels.dtype)
            own[own == len(state.log_w) - 1] = -1
            self.labels[first : first + kept] = own
        elif self.labels is not None and kept > 0:
            most = self.slots if self.model.weights.known else self.arrays["n_clusters"][first : first + kept].max()
            self.labels = self.labels.astype(
                np.promote_types(self.labels.dtype, np.min_scalar_type(most - 1)), copy=False
            )
            self.labels[first : first + kept] = labels[:kept]
        # A clock may stand still, or go back.
        self._seconds_per_sweep = max(time.perf_counter() - started, 1e-9) / max(done, 1)
        return done

    @property
    def slots(self) -> int:
        """Component slots of its part of the trace."""
        return int(self.arrays["weights"].shape[1])

    def _rows(self, first: int, kept: int, labels: LabelArray) -> Draws:
        """The rows of the trace that the next draws go to; what is not learned is not kept."""
        own = {self.fields[n].place or n: array[first : first + kept] for n, array in self.arrays.items()}
        scale = np.empty((kept, *[0] * self._scale_ndim)) if self._scale_ndim > 0 else np.empty(0)
        fixed = {"concentration": np.empty(kept), "kappa_0": np.empty(kept), "scale": scale}
        fixed["outlier_weight"] = np.empty(kept)
        return Draws(**{**fixed, **own}, z=labels)

    def _check(self, done: int) -> None:
        failed = int(self.state.report[FAILED])
        where = f"chain {self.number}, sweep {self.sweeps_done + done}"
        if failed != 0:
            what = (
                f"the scale matrix of component {failed - 1}" if failed > 0 else "the scale that is shared or learned"
            )
            raise NumericalError(
                f"{where}: {what} is not positive definite{self._why(failed - 1)}. Pass resolution=, the width to "
                "which values are known, or a prior with a larger scale"
            )

    def _why(self, k: int) -> str:
        """The rows and columns in which cluster k, or any if k < 0, does not vary, where that can be seen."""
        if self.remote is not None or not self.state.key[0]:
            return ""
        z = self.state.z
        own = z.c[k] > 0 if isinstance(z, Copies) else z == k
        rows = np.flatnonzero(own) if k >= 0 else _equal_rows(self.data.X)
        if len(rows) == 0:
            return ""
        if len(rows) == 1:
            return f": it has one row, {rows[0]}, counted from 0"
        equal = np.flatnonzero(np.ptp(np.asarray(self.data.X[rows]), axis=0) == 0.0)
        some = ", ".join(map(str, rows[:5])) + (", ..." if len(rows) > 5 else "")
        what = f"are equal in columns {', '.join(map(str, equal))}" if len(equal) else "do not vary in some direction"
        return f": {len(rows)} rows ({some}) {what}, all counted from 0"


def wider(model: Model, capacity: int) -> Model:
    """The model under which a known n may be larger, for as many components as there is room for; else the model."""
    weights, n = model.weights, len(model.weights.log_p) - 1
    if not weights.known or capacity <= n + 1:
        return model
    log_p = np.full(capacity, -np.inf)
    log_p[n:] = 0.0
    weights = weights._replace(known=False, log_p=log_p, log_tail=np.full(capacity, -np.inf))
    tilt(weights, n, 0.0)
    return model._replace(weights=weights)


def _equal_rows(X: AnyArray) -> IntArray:
    """The rows that equal the most frequent of the first 10,000, if any is there twice."""
    first = np.asarray(X[:10_000])
    _, group, counts = np.unique(first, axis=0, return_inverse=True, return_counts=True)
    return np.flatnonzero(group.ravel() == counts.argmax()) if counts.max() > 1 else np.zeros(0, np.int64)
