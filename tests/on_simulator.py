"""Run by tests/test_device.py in a process with numba's CUDA simulator: passes and fits on a device of few threads."""

import dataclasses
import math
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba.cuda.simulator import kernel, kernelapi
from numba.np.numpy_support import as_dtype

warnings.simplefilter("ignore")  # of whole numbers that wrap, as they do on a device
np.seterr(over="ignore")


class Block:
    """A block of the simulator, in place of its own, which polls its threads: that takes longer than all they do."""

    def __init__(self, f: Any, grid_dim: Any, block_dim: Any, debug: bool) -> None:
        self._f, self._block_dim = f, block_dim

    def run(self, grid_point: Any, *arguments: Any) -> None:
        barrier = threading.Barrier(math.prod(self._block_dim))

        def one() -> None:
            try:
                self._f(*arguments)
            except BaseException:
                barrier.abort()
                raise

        threads = [kernel.BlockThread(one, self, grid_point, place, False) for place in np.ndindex(*self._block_dim)]
        for thread in threads:
            thread.syncthreads = barrier.wait
            thread.start()
        for thread in threads:
            thread.join()
        for thread in threads:
            if thread.exception is not None and not isinstance(thread.exception[0], threading.BrokenBarrierError):
                raise thread.exception[0].with_traceback(thread.exception[1])


_allocating = threading.Lock()


def shared_array(self: Any, shape: Any, dtype: Any) -> Any:
    """The simulator's shared array, known by its line. Its own lets two threads make two of one, and rows are lost."""
    caller = sys._getframe(1)
    with _allocating:
        key = caller.f_code, caller.f_lineno
        if key not in self._allocations:
            self._allocations[key] = np.empty(shape, as_dtype(dtype))
        return self._allocations[key]


kernel.BlockManager, kernelapi.FakeCUDAShared.array = Block, shared_array

import harness  # noqa: E402
import oracle  # noqa: E402

import gibbs_gmm as gg  # noqa: E402
from gibbs_gmm import checks, device_rows  # noqa: E402
from gibbs_gmm.data import Observations  # noqa: E402
from gibbs_gmm.kernels import cuda, cuda_layout  # noqa: E402
from gibbs_gmm.kernels.sampler import sweep  # noqa: E402
from gibbs_gmm.kernels.sampler.launch import MERGE, NEAREST, WRITE, pair_pass  # noqa: E402
from gibbs_gmm.kernels.tile import new_workspace  # noqa: E402
from gibbs_gmm.model.families import component_prior  # noqa: E402
from gibbs_gmm.posterior import on_device  # noqa: E402
from gibbs_gmm.sampler import device  # noqa: E402
from gibbs_gmm.sampler.assemble import as_model, initial_state  # noqa: E402
from gibbs_gmm.sampler.buffers import new_pair  # noqa: E402

device._GRID, device._BLOCK, device._UPLOAD, device_rows._MOVED = 2, 4, 1 << 10, 1 << 10
cuda.MOST_BLOCKS, cuda_layout.threads_for = 3, lambda D: 8 if D > 1 else 16
checks.SMALL = 0  # rows of float32 stay so
EPS = float(np.finfo(float).eps)


def rows(D: int, dtype: Any, N: int = 93) -> Any:
    rng = np.random.default_rng(1)
    return (rng.normal(size=(N, D)) + 3 * rng.integers(3, size=(N, 1)) + 1000).astype(dtype)


def parts(block: Any, D: int, kind: str) -> Any:
    """The numbers of blocks that mean something."""
    P = sweep.new_workspace(1, D).rows.shape[1]
    if kind != "full":
        return np.concatenate([block[..., :D], block[..., P : P + D]], -1)
    i, j = np.tril_indices(D)
    return np.concatenate([block[..., :D], block[..., P + i * P + j]], -1)


def assert_near(a: Any, b: Any) -> None:
    assert (np.abs(a - b) <= 1e4 * EPS * (1.0 + np.abs(b).max())).all(), np.abs(a - b).max()


def passes() -> None:
    """Labels of the device are the processor's, given the same parameters and uniforms; statistics to rounding."""
    for D, kind, dtype in (
        (1, "full", np.float64),
        (5, "full", np.float32),
        (8, "full", np.float64),
        (3, "diag", np.float64),
        (2, "spherical", np.float32),
    ):
        X, rng, K = rows(D, dtype), np.random.default_rng(3), 3
        observations = Observations.of(X, tuple(f"x{d}" for d in range(D)))
        prior, data = component_prior(None, kind, observations), observations.as_kernel()
        family = prior.family
        model, alpha = as_model(prior, gg.FiniteMixture(K), data.loc)
        state = initial_state(rng, data, model, family, alpha, K, K + 1)
        sweep.draw_weights(rng, model, state, np.zeros(10), sweep.kernel_rows())
        assert sweep.draw_parameters(rng, model, state, family.scratch(D)) == 0
        store = device.Device(X)
        store.add_chain(0, model.prior, family, data, K + 1)
        there = store.rows(0)
        for sliced in (False, True):
            state.key[1], state.log_w[K] = np.uint64(77), -3.0
            state.z[:] = rng.integers(K, size=len(X))
            store.scatter(0, state.z, np.zeros(0))
            there.label_pass(data, state, sliced)
            n, block, total = state.shards.n.copy(), state.shards.block.copy(), state.shard_log_likelihood.copy()
            sweep.label_pass(data, state, sliced, new_workspace(K, D), 0, 1)
            assert (store.gather(0) == state.z).all()
            assert (n == state.shards.n).all()
            assert len(np.unique(state.z)) == K
            assert_near(parts(block, D, kind)[0, :K], parts(state.shards.block, D, kind)[0, :K])
            assert_near(total, state.shard_log_likelihood)
        w = np.array([0.1, 0.4, 0.5])
        assert there.least_slice(None, w, np.uint64(5)) == sweep.store.least_slice(state.z, w, np.uint64(5), 0, len(X))
        sides(D, kind, data, state, family, store)


def sides(D: int, kind: str, data: Any, state: Any, family: Any, store: Any) -> None:
    """The same of a pass over two clusters, in all its modes, and of what else is done to labels."""
    N, z, there = len(state.z), state.z.copy(), store.rows(0)
    pair = new_pair(family, 1, D)
    for name, array in zip(pair.components._fields, pair.components, strict=True):
        array[:] = getattr(state.components, name)[:2]
    for mode in range(NEAREST, MERGE + 1):
        pair.task[:] = mode, 0, 2, np.flatnonzero(z == 0)[0], np.flatnonzero(z == 2)[1]
        pair.key[0] = np.uint64(5)
        state.z[:] = z
        store.scatter(0, z, np.zeros(0))
        there.pair_pass(data, None, pair)
        n, block, log_q = pair.groups.n.copy(), pair.groups.block.copy(), pair.log_q.copy()
        pair_pass(data, state.z, pair, new_workspace(2, D), 0, 1)
        assert (store.gather(0) == state.z).all()
        if mode not in (WRITE, MERGE):
            assert (n == pair.groups.n).all()
            assert_near(parts(block, D, kind), parts(pair.groups.block, D, kind))
            assert_near(log_q, pair.log_q)
    state.z[:] = z
    store.scatter(0, z, np.zeros(0))
    found, want = (np.zeros((2, N + 1), np.int64) for _ in range(2))
    m = there.members(None, 1, 2, *found)
    assert m == sweep.store.members(state.z, 1, 2, *want)
    assert (found[:, :m] == want[:, :m]).all()
    there.assign(None, *found, m, 0, 1)
    sweep.store.assign(state.z, *want, m, 0, 1)
    there.rename(None, 1, 2)
    sweep.store.rename(state.z, 1, 2)
    place = np.array([1, 0, 0])
    there.relabel(None, place)
    sweep.store.relabel(state.z, place)
    copied, read, values = np.zeros(N, np.uint16), np.array([5, 90]), np.zeros((2, 2, 8))
    there.copy(None, copied)
    assert (copied == state.z).all()
    assert there.label(None, 4) == state.z[4]
    there.read(data, read, 2, values[0])
    sweep.store.read(data, read, 2, values[1])
    assert (values[0] == values[1]).all()


SETTINGS: dict[str, Any] = {"draws": 4, "warmup": 8, "chains": 2, "rng": 1, "progress": False, "thin": 1}


def fits(folder: str) -> None:
    """Each prior of n: twice the same bytes, and from a checkpoint; an array that is on the device; what is refused."""
    cuda_layout.threads_for = lambda D: 4  # each costs a thread of Python at every pass
    X = rows(2, np.float64, 24)
    for number, n in enumerate((3, None, gg.DirichletProcess())):
        first = gg.fit(cuda.to_device(X) if n == 3 else X, n, device="cuda", **SETTINGS)
        path = Path(folder) / str(number)
        gg.fit(X, n, device="cuda", checkpoint=path, **{**SETTINGS, "draws": 2})
        second = gg.resume(path, draws=4, progress=False)
        for field in dataclasses.fields(first):
            a, b = getattr(first, field.name), getattr(second, field.name)
            assert not isinstance(a, np.ndarray) or np.array_equal(a, b, equal_nan=True), field.name
        assert first.settings["device"] == "cuda"
        counts = np.sum([chain["counts"] for chain in first.settings["split_merge"]], 0)
        assert n == 3 or (counts[..., 1].sum() > 0), counts
    X, niw = rows(1, np.float64, 6) - 1000.0, harness.some_niw(1)
    exact = [oracle.enumerate_posterior(X, niw, oracle.Finite(n, 1.0)).log_evidence for n in (1, 2)]
    found = gg.log_evidence(
        X, [1, 2], prior=harness.package_prior(niw), draws=100, warmup=100, chains=2, rng=1, device="cuda"
    )
    off = np.abs(found.log_evidence - exact)
    assert (off <= 5 * found.standard_error + 1e-11).all(), (found, exact)
    assert found.standard_error[1] < 0.3
    for arguments, message in (
        ({"covariance_type": "tied"}, "covariance_type"),
        ({"device": "gpu"}, 'device must be "cpu" or "cuda"'),
        ({"client": 1}, "client"),
    ):
        with pytest.raises(ValueError, match=message):
            gg.fit(X, 3, **{"device": "cuda", **SETTINGS, **arguments})


def predictions() -> None:
    """Densities and probabilities of new rows are the processor's, of each family, prior of n and kind of rows."""
    on_device._NUMBERS = 400  # more than one part
    rng = np.random.default_rng(4)
    for D, n, kind, dtype in (
        (1, None, "full", np.float64),
        (5, 3, "full", np.float32),
        (2, gg.DirichletProcess(), "tied", np.float64),
        (3, None, "diag", np.float64),
        (2, None, "spherical", np.float32),
    ):
        X = rows(D, np.float64, 40)  # no more kinds of fits are compiled than other tests want
        trace = gg.fit(X, n, covariance_type=kind, **{**SETTINGS, "draws": 12})
        new = np.vstack([rows(D, dtype, 50), 1e5 * np.ones((1, D), dtype)])  # a row far from everything
        gaps = new.copy()
        gaps[rng.random(new.shape) < 0.3] = np.nan
        gaps[np.isnan(gaps).all(1)] = 1000.0
        for X_new in (new, gaps):
            for name in ("log_density", "predict_proba"):
                here, there = (getattr(trace, name)(X_new, device=device) for device in ("cpu", "cuda"))
                assert (np.abs(here - there) <= 1e-9 * (1.0 + np.abs(here))).all(), (name, np.abs(here - there).max())
            assert (trace.predict(X_new) == trace.predict(X_new, device="cuda")).all()
        assert (trace.predict(new) == trace.predict(cuda.to_device(new), device="cuda")).all()
    for arguments, message in (({"errors": np.ones(2)}, "errors"), ({"device": "gpu"}, 'must be "cpu" or "cuda"')):
        with pytest.raises(ValueError, match=message):
            trace.log_density(new, **{"device": "cuda", **arguments})


if __name__ == "__main__":
    {"passes": passes, "predictions": predictions, "fits": lambda: fits(sys.argv[2])}[sys.argv[1]]()
    print("passed")
