"""Runs whose data lie on a Dask cluster: byte for byte those of one machine, whatever becomes of the workers."""

import os
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
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
            (da.from_array(np.array([[0.0], [np.nan], [1.0]]), chunks=1), ValueError, "got none in row 1"),
            (
                da.from_array(np.full((9, 2), [1.0, np.nan]), chunks=(2, 1)),
                ValueError,
                "got none in 'x1': leave it out",
            ),
        ):
            with pytest.raises(error, match=message):
                gg.fit(bad, 2, **SETTINGS)


def test_evidence_is_that_of_one_machine() -> None:
    settings: dict[str, Any] = {"draws": 100, "warmup": 100, "chains": 2, "rng": 1}
    expected = gg.log_evidence(X, 2, **settings)
    with client_of(2):
        found = gg.log_evidence(da.from_array(X, chunks=(150, 2)), 2, **settings)
    assert np.array_equal(found.log_evidence, expected.log_evidence, equal_nan=True)


# --- Rows that are not known in full ---

SOME = np.random.default_rng(3)
GAPS = SOME.random((N, 2)) < 0.2
GAPS[GAPS.all(1), 0] = False
Y = np.where(GAPS, np.nan, X)
ROOTS = SOME.standard_normal((N, 2, 2))
ERRORS: dict[str, Any] = {
    "none": None,
    "of a column": [0.1, 0.4],
    "of a row and column": SOME.random((N, 2)) * (SOME.random((N, 2)) < 0.7),
    "matrices": 0.1 * ROOTS @ ROOTS.transpose(0, 2, 1) + 0.05 * np.eye(2),
}


@pytest.mark.parametrize("errors", ERRORS)
@pytest.mark.parametrize("name", PRIORS)
def test_gaps_and_errors_are_those_of_one_machine(name: str, errors: str) -> None:
    expected = gg.fit(Y, PRIORS[name], errors=ERRORS[errors], **SETTINGS)
    for workers, chunks in ((1, (N, 2)), (3, (70, 1))):
        with client_of(workers):
            trace = gg.fit(da.from_array(Y, chunks=chunks), PRIORS[name], errors=ERRORS[errors], **SETTINGS)
        assert_same_draws(trace, expected)
        assert trace.settings["notes"] == expected.settings["notes"]


def test_masked_values_are_missing() -> None:
    few = {**SETTINGS, "draws": 2, "warmup": 3}
    expected = gg.fit(Y, 3, **few)
    with client_of(2) as client:
        masked = np.ma.masked_array(X, mask=GAPS)
        assert_same_draws(gg.fit(da.ma.masked_array(da.from_array(X, chunks=(150, 1)), GAPS), 3, **few), expected)
        assert_same_draws(gg.fit(masked, 3, client=client, **few), expected)
        there = da.ma.masked_array(da.from_array(X, chunks=(150, 2)), GAPS)
        np.testing.assert_array_equal(expected.log_density(there), expected.log_density(Y))
        frame = gg.fit(pd.DataFrame(Y, columns=["a", "b"]).convert_dtypes(), 3, client=client, **few)
    assert frame.columns == ("a", "b")
    assert_same_draws(frame, expected)


def test_errors_may_be_on_the_cluster_too() -> None:
    few = {**SETTINGS, "draws": 2, "warmup": 3}
    with client_of(2):
        remote, there = (da.from_array(array, chunks=(150, 2)) for array in (X, ERRORS["of a row and column"]))
        trace = gg.fit(remote, 3, errors=there, **few)
        with pytest.raises(ValueError, match=r"errors must be finite, got nan at \[3, 1\]"):
            gg.fit(remote, 3, errors=da.where(np.arange(2 * N).reshape(N, 2) == 7, np.nan, there), **few)
    assert_same_draws(trace, gg.fit(X, 3, errors=ERRORS["of a row and column"], **few))


@pytest.mark.parametrize("errors", ["none", "matrices"])
def test_checkpoints_of_true_values_are_the_same_too(errors: str, tmp_path: Path) -> None:
    given = {"errors": ERRORS[errors]}
    expected = gg.fit(Y, None, **given, **SETTINGS, checkpoint=tmp_path / "here")
    with client_of(2) as client:
        remote = da.from_array(Y, chunks=(150, 2))
        gg.fit(remote, None, **given, **{**SETTINGS, "draws": 2}, checkpoint=tmp_path / "run")
        longer = gg.resume(tmp_path / "here", Y, client=client, draws=6, progress=False)
        assert_same_draws(expected, longer, of_b=(slice(None), slice(4)))
        assert_same_draws(gg.resume(tmp_path / "run", remote, draws=4, progress=False), expected)
    assert_same_draws(gg.resume(tmp_path / "run", Y, draws=6, progress=False), longer)  # and here again


def test_what_is_told_of_rows_here_is_not_carried_on_elsewhere(tmp_path: Path) -> None:
    few = {**SETTINGS, "draws": 1, "warmup": 2}
    for name, given in {"labels": [0, 1, *[-1] * (N - 2)], "outliers": True, "counts": [2] * N}.items():
        gg.fit(X, 3, **{name: given}, **few, checkpoint=tmp_path / name)
        with client_of(1) as client, pytest.raises(ValueError, match=f"{name} cannot be given for rows on a cluster"):
            gg.resume(tmp_path / name, client=client, draws=2, progress=False)


@pytest.mark.parametrize("name", ["unknown", "process"])
def test_parts_that_forget(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Labels and true values are made again from a copy and from what came after it.
    from gibbs_gmm.sampler import machines

    settings = {**SETTINGS, "errors": ERRORS["matrices"]}
    expected = gg.fit(Y, PRIORS[name], **settings)
    monkeypatch.setattr(machines, "_MOST_COMMANDS", 5)
    replays, replay = [], machines.Cluster._replay

    def forget(self: Any, member: Any, chain: int, done: int, command: str, arguments: Any) -> Any:
        if len(sent) % 97 == 40:
            self._place(member, member.address)
        sent.append(command)
        return send(self, member, chain, done, command, arguments)

    def replaying(self: Any, member: Any, chain: int) -> None:
        replays.append([command for command, _ in self._logs[chain].commands])
        replay(self, member, chain)

    sent, send = [], machines.Cluster._send
    monkeypatch.setattr(machines.Cluster, "_replay", replaying)
    with client_of(2):
        remote = da.from_array(Y, chunks=(150, 2))
        monkeypatch.setattr(machines.Cluster, "_send", forget)
        assert_same_draws(gg.fit(remote, PRIORS[name], **settings), expected)
    assert any(commands.count("label_pass") > 1 and "set" in commands for commands in replays), replays


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


@pytest.mark.parametrize("gaps", [False, True], ids=["complete", "with gaps"])
@pytest.mark.parametrize("prior", [None, pytest.param(gg.DirichletProcess(), marks=pytest.mark.slow)])
def test_a_worker_killed_in_mid_sweep(prior: Any, gaps: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the workers are processes, with shards of the usual size
    data = many()
    data[::7, 1] = np.nan if gaps else data[::7, 1]
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
