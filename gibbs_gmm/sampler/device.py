"""Chains whose rows lie on a GPU: the passes over X are made there, the rest of a sweep here.

X and every chain's labels stay on the device. Parameters go out, and statistics come back, added in an order that the
number of rows alone decides: a run gives the same bytes each time on one kind of device. They are not the bytes of the
processor, whose sums have another order; the law of the draws is the same. Labels are fetched only where draws of them,
or a checkpoint, are kept.
"""

from __future__ import annotations

import functools
import math
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from gibbs_gmm.device_rows import cuda_kernels, rows_of
from gibbs_gmm.kernels.cuda_layout import MOST_COLUMNS, Layout, layout_of
from gibbs_gmm.kernels.families.generic import Family
from gibbs_gmm.kernels.sampler.launch import MERGE, MODE, SIDE_0, SIDE_1, WRITE, Pair
from gibbs_gmm.kernels.sampler.rows import Rows
from gibbs_gmm.kernels.sampler.state import N_COMPONENTS, Data, State
from gibbs_gmm.kernels.types import FloatArray, IntArray, LabelArray
from gibbs_gmm.model.families import ComponentPrior

if TYPE_CHECKING:
    from gibbs_gmm.data import Observations

_GRID, _BLOCK = 528, 128  # of kernels that touch labels only
_UPLOAD = 1 << 26  # bytes of X that are moved at a time
_FAMILIES = ("full", "diag", "spherical")


class _Chain:
    """What the device holds of a chain: its labels, and how its family's numbers lie."""

    def __init__(self, cuda: Any, N: int, D: int, family: Family) -> None:
        self.z = cuda.to_device(np.zeros(N, np.uint16))
        self.layout = layout_of(family.components(1, D), D)
        self.pairs = cuda.to_device(self.layout.pairs)


class Device:
    """The store of rows that are on a GPU.

    Parameters
    ----------
    X : array-like (N, D)
        As for :func:`gibbs_gmm.fit`; or an array that is on the device: of CuPy, or with ``__cuda_array_interface__``
        or ``__dlpack__``.

    Raises
    ------
    RuntimeError
        There is no CUDA device, or numba cannot use it.
    """

    always = True
    shards = 1

    def __init__(self, X: Any) -> None:
        self._cuda = cuda = cuda_kernels()
        self.X, self.columns = rows_of(X, cuda)
        self._N, self._D = (int(n) for n in self.X.shape)
        self._chains: dict[int, _Chain] = {}
        self._guard = threading.Lock()  # chains take turns: a pass fills the device
        self._own: Any = None  # X by columns, about loc
        self._rooms: dict[str, Any] = {}
        self._views: dict[Any, Any] = {}
        self._task = cuda.to_device(np.zeros(6, np.int64))

    def require(self, prior: ComponentPrior, observations: Observations) -> None:
        """Refuse a family that is not offered, and rows that are not known in full."""
        observations.require_exact("where the rows are on a GPU")
        if prior.covariance_type not in _FAMILIES:
            raise ValueError(
                f'device="cuda" takes covariance_type {", ".join(map(repr, _FAMILIES))}, got {prior.covariance_type!r}'
            )
        most = MOST_COLUMNS[prior.covariance_type != "full"]
        if most < self._D:
            raise ValueError(
                f'device="cuda" takes at most {most} columns with covariance_type {prior.covariance_type!r}, got '
                f"{self._D}"
            )

    def add_chain(self, chain: int, prior: Any, family: Family, data: Data, capacity: int) -> None:
        """Begin with labels 0 of a chain; the first brings X to the device."""
        with self._guard:
            if self._own is None or not np.array_equal(self._loc_here, data.loc):
                self._load(data.loc)
            self._chains[chain] = _Chain(self._cuda, self._N, self._D, family)

    def _load(self, loc: FloatArray) -> None:
        """X onto the device by columns, in its own precision, block by block."""
        cuda, (N, D) = self._cuda, (self._N, self._D)
        self._loc_here, self._loc = loc, cuda.to_device(loc)
        self._own = cuda.device_array(D * N, self.X.dtype)
        layout = Layout(D, True)
        transpose = cuda.kernels(layout, self._single).transpose
        step = max(1, _UPLOAD // (D * self.X.dtype.itemsize))
        for start in range(0, N, step):
            rows = cuda.to_device(self.X[start : start + step])
            transpose[-(-len(rows) // _BLOCK), _BLOCK](rows, self._loc, self._own, N, start)

    @property
    def _single(self) -> bool:
        return bool(self.X.dtype == np.float32)

    # --- The store of the rows ---

    def rows(self, chain: int, *_: Any) -> Rows:
        """The store of the rows that an interpreted sweep of this chain is handed."""
        own = self._chains[chain]
        return Rows(
            label_pass=functools.partial(self._label_pass, own),
            pair_pass=functools.partial(self._pair_pass, own),
            read=self._read,
            row=lambda z, i: i,
            label=lambda z, i: int(own.z[int(i)]),
            partner=functools.partial(self._partner, own),
            members=functools.partial(self._members, own),
            assign=functools.partial(self._assign, own),
            rename=lambda z, was, now: self._on_labels("rename", own.z, int(was), int(now)),
            relabel=lambda z, place: self._on_labels("relabel", own.z, place),
            least_slice=functools.partial(self._least, own),
            copy=lambda z, out: self._copy(own, out),
        )

    def _label_pass(self, own: _Chain, data: Data, state: State, sliced: bool, *_: Any) -> None:
        K = int(state.size[N_COMPONENTS])
        weight = np.exp(state.log_w[: K + 1])
        what = self._cuda.SLICED if sliced else self._cuda.LABELS
        task = np.array([what, 0, 0, 0, 0, 0])
        keys, rest = (state.key[0], state.key[1]), float(weight[K]) if sliced else 0.0
        sums, total = self._pass(own, task, state.components, weight, K, keys, rest)
        own.layout.unpack(sums, state.shards.n[0], state.shards.block[0])
        state.shard_log_likelihood[0] = total * math.log(2.0)

    def _pair_pass(self, own: _Chain, data: Data, z: Any, pair: Pair, *_: Any) -> None:
        mode = int(pair.task[MODE])
        if mode == MERGE:
            self._on_labels("rename", own.z, int(pair.task[SIDE_1]), int(pair.task[SIDE_0]))
            return
        task = np.concatenate([[self._cuda.PAIR], pair.task])
        sums, total = self._pass(own, task, pair.components, np.zeros(2), 2, (pair.key[0], pair.key[0]), 0.0)
        if mode != WRITE:
            own.layout.unpack(sums, pair.groups.n[0], pair.groups.block[0])
            pair.log_q[0] = total

    def _pass(
        self,
        own: _Chain,
        task: IntArray,
        components: Any,
        weight: FloatArray,
        K: int,
        keys: tuple[np.uint64, np.uint64],
        rest: float,
    ) -> tuple[FloatArray, float]:
        """One pass over X: statistics (K, entries), and the sum of what each row adds."""
        cuda, N, width = self._cuda, self._N, K * own.layout.entries + 1
        compiled = cuda.kernels(own.layout, self._single)
        threads, blocks = compiled.threads, cuda.blocks_for(N, K, compiled, own.layout)
        rows = blocks * compiled.groups
        with self._guard:
            P = self._room("P", K * own.layout.room)
            P.copy_to_device(own.layout.pack(components, weight, K).ravel())
            parts = self._room("parts", rows, width)
            sums = self._room("sums", width)
            self._task.copy_to_device(task)
            compiled.assign[blocks, threads](
                self._own, self._loc, N, own.z, self._task, K, *keys, rest, P, own.pairs,
                self._room("lw", 2 * blocks * K * threads), parts,
            )  # fmt: skip
            compiled.add[-(-width // _BLOCK), _BLOCK](parts, sums)
            result = sums.copy_to_host()
        return result[:-1].reshape(K, -1), float(result[-1])

    def _room(self, name: str, *shape: int) -> Any:
        """An array of doubles on the device, that all chains share, and that overwrites the last of this name."""
        size = math.prod(shape)
        if name not in self._rooms or len(self._rooms[name]) < size:
            self._rooms[name] = self._cuda.device_array(size, np.float64)
            self._views = {key: view for key, view in self._views.items() if key[0] != name}
        if (name, shape) not in self._views:
            self._views[name, shape] = self._rooms[name][:size].reshape(*shape)
        return self._views[name, shape]

    def _read(self, data: Data, rows: IntArray, size: int, out: FloatArray) -> None:
        with self._guard:
            out[:size, : self._D] = self.X[np.asarray(rows[:size])] - data.loc

    def _partner(self, own: _Chain, rng: np.random.Generator, z: Any, i: int, a: int, same: bool, *_: Any) -> int:
        j = i
        while j == i or (int(own.z[j]) == a) != same:
            j = int(rng.random() * self._N)
        return j

    def _on_labels(self, name: str, *arguments: Any) -> None:
        """A kernel that touches labels only."""
        with self._guard:
            sent = [self._cuda.to_device(a) if isinstance(a, np.ndarray) else a for a in arguments]
            getattr(self._cuda.label_kernels(), name)[self._grid, _BLOCK](*sent)

    @property
    def _grid(self) -> int:
        return min(_GRID, -(-self._N // _BLOCK))

    def _members(self, own: _Chain, z: Any, a: int, b: int, rows: IntArray, side: IntArray) -> int:
        cuda, threads = self._cuda, self._grid * _BLOCK
        chunk = -(-self._N // threads)
        with self._guard:
            counts = cuda.device_array(threads, np.int64)
            cuda.label_kernels().count[self._grid, _BLOCK](own.z, int(a), int(b), chunk, counts)
            found = counts.copy_to_host()
            m, starts = int(found.sum()), np.concatenate([[0], np.cumsum(found)[:-1]])
            rows_there, side_there = (cuda.device_array(max(m, 1), np.int64) for _ in range(2))
            cuda.label_kernels().find[self._grid, _BLOCK](
                own.z, int(a), int(b), chunk, cuda.to_device(starts), rows_there, side_there
            )
            rows[:m], side[:m] = rows_there.copy_to_host()[:m], side_there.copy_to_host()[:m]
        return m

    def _assign(self, own: _Chain, z: Any, rows: IntArray, side: IntArray, size: int, a: int, b: int) -> None:
        labels = np.where(side[:size] == 0, a, b).astype(np.uint16)
        self._on_labels("write", own.z, np.array(rows[:size]), labels)

    def _least(self, own: _Chain, z: Any, w: FloatArray, key: np.uint64, *_: Any) -> float:
        with self._guard:
            out = self._cuda.device_array(self._grid * _BLOCK, np.float64)
            self._cuda.label_kernels().least[self._grid, _BLOCK](own.z, self._cuda.to_device(w), key, out)
            return float(out.copy_to_host().min())

    def _copy(self, own: _Chain, out: LabelArray) -> None:
        with self._guard:
            out[:] = own.z.copy_to_host()

    # --- All labels ---

    def gather(self, chain: int) -> LabelArray:
        """All labels of a chain."""
        with self._guard:
            return np.asarray(self._chains[chain].z.copy_to_host(), np.uint16)

    def gather_true(self, chain: int) -> FloatArray:
        """All values are exact."""
        return np.zeros(0)

    def scatter(self, chain: int, labels: LabelArray, true: FloatArray) -> None:
        """Replace all labels of a chain."""
        with self._guard:
            self._chains[chain].z.copy_to_device(np.asarray(labels, np.uint16))
