"""Runs whose data lie on a Dask cluster: byte for byte those of one machine, whatever becomes of the workers."""

import os
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness import assert_same_draws

import gibbs_gmm as gg
from gibbs_gmm.kernels.sampler import sweep
from gibbs_gmm.sampler import chain as chains

da = pytest.importorskip("dask.array")
distributed = pytest.importorskip("distributed")

N = 400
X = np.random.default_rng(1).standard_normal((N, 2)) + np.array([-4.0, 0.0, 4.0])[np.arange(N) % 3, None]
SETTINGS: dict[str, Any] = {"draws": 4, "warmup": 24, "thin": 1, "chains": 2, "rng": 1, "progress": False}
PRIORS: dict[str, Any] = {"known": gg.FiniteMixture(3), "unknown": None, "process": gg.DirichletProcess()}


@pytest.fixture(autouse=True)
def _quiet_and_small_shards(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sweep, "_MIN_SHARD", 64)  # six shards of these few rows
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Dask's own
        yield


def client_of(workers: int, **settings: Any) -> Any:
    return distributed.Client(
        n_workers=workers, threads_per_worker=1, dashboard_address=None, **{"processes": False, **settings}
    )


@pytest.mark.parametrize("name", PRIORS)
def test_the_draws_are_those_of_one_machine(name: str) -> None:
    expected = gg.fit(X, PRIORS[name], **SETTINGS)
    for workers, chunks in ((1, (N, 2)), (3, (70, 1))):
        with client_of(workers):
            trace = gg.fit(da.from_array(X, chunks=chunks), PRIORS[name], **SETTINGS)
        assert_same_draws(trace, expected)
        counts = [np.array(chain["counts"]).tolist() for chain in trace.settings["split_merge"]]
        assert counts == [np.array(chain["counts"]).tolist() for chain in expected.settings["split_merge"]]
        # Moves with a launch and row by row were accepted, so that labels changed outside the label pass.
        assert name != "unknown" or (np.sum(counts, 0)[:2, :, 1].sum(1) > 0).all(), counts


@pytest.mark.parametrize(("name", "given"), [("labels", np.zeros(N, int)), ("outliers", True)])
def test_known_labels_and_outliers_are_refused(name: str, given: Any) -> None:
    with client_of(1), pytest.raises(ValueError, match=f"{name} cannot be given for rows on a cluster"):
        gg.fit(da.from_array(X, chunks=(N, 2)), 3, **{name: given}, **SETTINGS)


def test_checkpoints_are_the_same_too(tmp_path: Path) -> None:
    expected = gg.fit(X, None, **SETTINGS, checkpoint=tmp_path / "here")
    with client_of(2) as client:
        remote = da.from_array(X, chunks=(150, 2))
        gg.fit(remote, None, **{**SETTINGS, "draws": 2}, checkpoint=tmp_path / "run")
        with pytest.raises(ValueError, match="pass X"):
            gg.resume(tmp_path / "run")
        assert_same_draws(gg.resume(tmp_path / "run", remote, draws=4, progress=False), expected)
        assert_same_draws(gg.resume(tmp_path / "here", X, client=client, draws=4, progress=False), expected)
        longer = gg.resume(tmp_path / "run", X, draws=5, progress=False)  # and here again
        assert_same_draws(expected, longer, of_b=(slice(None), slice(4)))
        for bad, error, message in (
            (da.ones((9, 2), dtype=bool), TypeError, "real numbers"),
            (da.ones((9, 2, 2)), ValueError, r"shape \(N, D\)"),
            (remote[remote[:, 0] > 0.0], ValueError, "known N"),
            (da.from_array(np.array([[0.0], [np.nan], [1.0]])), ValueError, "got none in row 1"),
            (da.from_array(np.array([[0.0, 1.0], [np.nan, 2.0], [1.0, 0.0]])), ValueError, "got 1 missing ones"),
        ):
            with pytest.raises(error, match=message):
                gg.fit(bad, 2, **SETTINGS)


def test_evidence_is_that_of_one_machine() -> None:
    settings: dict[str, Any] = {"draws": 100, "warmup": 100, "chains": 2, "rng": 1}
    expected = gg.log_evidence(X, 2, **settings)
    with client_of(2):
        found = gg.log_evidence(da.from_array(X, chunks=(150, 2)), 2, **settings)
    assert np.array_equal(found.log_evidence, expected.log_evidence, equal_nan=True)


# --- Workers that die ---

ROWS = 4 * 16_384
FEW: dict[str, Any] = {**SETTINGS, "draws": 3, "warmup": 6, "chains": 1}


def many() -> Any:
    return np.random.default_rng(2).standard_normal((ROWS, 2)) + np.array([-4.0, 4.0])[np.arange(ROWS) % 2, None]


def at_command(number: int, act: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Do something right after the ``number``-th command has gone out to the first part."""
    from gibbs_gmm.sampler.machines import Cluster

    send, sent = Cluster._send, []

    def sending(self: Any, member: Any, *rest: Any) -> Any:
        result = send(self, member, *rest)
        if member is self._members[0]:
            sent.append(rest)
            if len(sent) == number:
                act(member)
        return result

    monkeypatch.setattr(Cluster, "_send", sending)


@pytest.mark.parametrize("prior", [None, pytest.param(gg.DirichletProcess(), marks=pytest.mark.slow)])
def test_a_worker_killed_in_mid_sweep(prior: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the workers are processes, with shards of the usual size
    data = many()
    expected = gg.fit(data, prior, **FEW)
    with client_of(2, processes=True) as client:
        pids = client.run(os.getpid)
        killed = []

        def kill(member: Any) -> None:
            killed.append(member.address)
            os.kill(pids[member.address], signal.SIGKILL)

        for number in (12, 30):
            with monkeypatch.context() as patch:
                at_command(number, kill, patch)
                trace = gg.fit(da.from_array(data, chunks=(10_000, 2)), prior, **FEW)
            assert_same_draws(trace, expected)
            client.wait_for_workers(2)
            pids = client.run(os.getpid, on_error="ignore")
        assert len(killed) == 2


def test_all_workers_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gibbs_gmm.sampler import machines as ours

    expected = gg.fit(X, None, **SETTINGS)
    monkeypatch.setattr(ours, "_PATIENCE", 0.5)
    with client_of(2) as client:
        remote = da.from_array(X, chunks=(150, 2))

        def stop(member: Any) -> None:
            client.cluster.scale(0)
            client.cluster.sync(client.cluster._correct_state)

        with monkeypatch.context() as patch:
            patch.setattr(chains, "_BATCH_SECONDS", 0.0)
            at_command(200, stop, patch)
            with pytest.raises(ours.ClusterError, match=r"no worker is left .*resume\(path, X\)"):
                gg.fit(remote, None, **SETTINGS, checkpoint=tmp_path / "run")
        client.cluster.scale(1)
        client.wait_for_workers(1)
        assert_same_draws(gg.resume(tmp_path / "run", remote, progress=False), expected)
