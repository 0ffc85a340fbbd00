"""Runs that outlast interruptions: the trace is, byte for byte, that of a run that nothing interrupted."""

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoint_cases import PRIORS, SETTINGS, Stop, X, fit, keep_every_sweep, stop_at
from harness import assert_same_draws, threads_left
from scipy import stats

import gibbs_gmm as gg
from gibbs_gmm.model.weight_priors import to_dict
from gibbs_gmm.sampler import chain as chains
from gibbs_gmm.storage import room
from gibbs_gmm.storage import run_folder as checkpoint


@pytest.fixture(scope="module")
def whole() -> dict[str, gg.Trace]:
    """What runs without a folder give."""
    return {name: fit(prior) for name, prior in PRIORS.items()}


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_every_sweep(monkeypatch)


# --- The same bytes ---


@pytest.mark.parametrize("name", PRIORS)
def test_a_folder_changes_nothing(name: str, tmp_path: Path, whole: dict[str, gg.Trace]) -> None:
    trace = fit(PRIORS[name], checkpoint=tmp_path / "run")
    assert_same_draws(trace, whole[name])
    for loaded in (gg.load(tmp_path / "run"), gg.resume(tmp_path / "run")):
        assert_same_draws(loaded, trace)
        assert loaded.settings == trace.settings
        assert (loaded.columns, loaded.prior) == (trace.columns, trace.prior)
        assert to_dict(loaded.weight_prior) == to_dict(PRIORS[name] or gg.MixtureOfFiniteMixtures())
    timeless = [{**t.settings, "seconds": 0.0} for t in (trace, whole[name])]
    assert timeless[0] == timeless[1]
    assert not trace.means.flags.writeable


@pytest.mark.parametrize("name", PRIORS)
@pytest.mark.usefixtures("eager")
def test_stopped_anywhere_and_resumed(
    name: str, tmp_path: Path, whole: dict[str, gg.Trace], monkeypatch: pytest.MonkeyPatch
) -> None:
    for count in (0, 1, 20, 31, 30, 7, 1, 10):
        with monkeypatch.context() as patch:
            stop_at(patch, count)
            with pytest.raises(Stop):
                fit(PRIORS[name], checkpoint=tmp_path / "run")
    assert_same_draws(gg.resume(tmp_path / "run", threads=1), whole[name])
    assert_same_draws(gg.load(tmp_path / "run"), whole[name])


@pytest.mark.usefixtures("eager")
def test_slots_and_label_types_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = np.arange(300.0)[:, None] * 10.0 + np.random.default_rng(0).standard_normal((300, 1))
    monkeypatch.setattr(chains, "_SLOTS", 1)
    prior = gg.NormalInverseWishart([1500.0], 1e-6, 10.0, [[1.0]])
    settings: dict[str, Any] = {
        "prior": prior,
        "draws": 12,
        "warmup": 0,
        "thin": 1,
        "chains": 3,
        "rng": 2,
        "threads": 1,
    }
    many_components = gg.MixtureOfFiniteMixtures(stats.randint(2, 301), 100.0, dynamic=False)
    monkeypatch.setattr("gibbs_gmm.sampler.assemble._start", lambda chain, N: (2, 299, 30)[chain])
    expected = gg.fit(many, many_components, progress=False, **settings)
    assert expected.assignments is not None
    assert expected.assignments.dtype == np.uint16, "labels never outgrew a byte"
    with monkeypatch.context() as patch:
        stop_at(patch, 8)
        with pytest.raises(Stop):
            gg.fit(many, many_components, progress=False, checkpoint=tmp_path / "run", **settings)
    assert_same_draws(gg.resume(tmp_path / "run"), expected)


@pytest.mark.parametrize("name", PRIORS)
def test_draws_added_are_those_of_a_longer_run(name: str, tmp_path: Path, whole: dict[str, gg.Trace]) -> None:
    folder = tmp_path / "run"
    fit(PRIORS[name], draws=7, checkpoint=folder)
    assert gg.resume(folder, draws=19).settings["draws"] == 19
    trace = fit(PRIORS[name], checkpoint=folder)
    assert_same_draws(trace, whole[name])
    assert trace.settings["draws"] == 30
    with pytest.raises(ValueError, match="draws must be at least 30"):
        gg.resume(folder, draws=29)
    with pytest.raises(ValueError, match="draws was 30, got 29"):
        fit(PRIORS[name], draws=29, checkpoint=folder)


def test_any_seed_is_the_seed_of_the_run(tmp_path: Path) -> None:
    first = fit(3, rng=None, draws=5, checkpoint=tmp_path / "run")
    longer = fit(3, rng=None, draws=9, checkpoint=tmp_path / "run")
    assert_same_draws(first, longer, of_b=(slice(None), slice(5)))
    assert first.settings["seed"] == longer.settings["seed"]


# --- Interruptions ---


@pytest.mark.usefixtures("eager")
def test_ctrl_c_keeps_everything(tmp_path: Path, whole: dict[str, gg.Trace], monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        stop_at(patch, 120, KeyboardInterrupt)
        with pytest.warns(UserWarning, match=r"interrupted: .*resume\('.*run'\)"):
            part = fit(checkpoint=tmp_path / "run")
    kept = part.log_likelihood.shape[1]
    assert 0 < kept < 30
    assert part.settings["interrupted"]
    assert_same_draws(part, gg.load(tmp_path / "run"))
    np.testing.assert_array_equal(part.log_likelihood, whole["unknown"].log_likelihood[:, :kept])
    trace = gg.resume(tmp_path / "run")
    assert_same_draws(trace, whole["unknown"])
    assert not trace.settings["interrupted"]


def test_ctrl_c_in_warm_up_can_be_resumed(
    tmp_path: Path, whole: dict[str, gg.Trace], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chains, "_BATCH_SECONDS", 0.0)
    with monkeypatch.context() as patch:
        stop_at(patch, 20, KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt, match="carries the run on"):
            fit(checkpoint=tmp_path / "run")
    with pytest.raises(ValueError, match=r"it has no draws yet, and has made \d+ of 40 sweeps of warm-up"):
        gg.load(tmp_path / "run")
    assert_same_draws(gg.resume(tmp_path / "run"), whole["unknown"])


@pytest.mark.usefixtures("eager")
def test_ctrl_c_twice(tmp_path: Path, whole: dict[str, gg.Trace], monkeypatch: pytest.MonkeyPatch) -> None:
    def impatient(self: checkpoint.Keeper) -> None:
        raise KeyboardInterrupt

    running = set(threading.enumerate())
    with monkeypatch.context() as patch:
        stop_at(patch, 100, KeyboardInterrupt)
        patch.setattr(checkpoint.Keeper, "keep_all", impatient)
        with pytest.raises(KeyboardInterrupt):
            fit(checkpoint=tmp_path / "run")
    assert threads_left(running) == []
    assert_same_draws(gg.resume(tmp_path / "run"), whole["unknown"])


@pytest.mark.usefixtures("eager")
def test_draws_are_read_while_the_run_goes_on(
    tmp_path: Path, whole: dict[str, gg.Trace], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    advance = chains.Chain.advance

    def looking(self: chains.Chain, shared: Any) -> int:
        if self.draws_done > 2 and self.number == 0:
            trace = gg.load(tmp_path / "run")
            seen.append(trace.log_likelihood.shape[1])
            assert_same_draws(trace, trace)
            for name in ("log_likelihood", "n_clusters", "assignments"):
                ours, theirs = getattr(trace, name), getattr(whole["unknown"], name)[:, : seen[-1]]
                np.testing.assert_array_equal(ours, theirs)
        return advance(self, shared)

    monkeypatch.setattr(chains.Chain, "advance", looking)
    fit(checkpoint=tmp_path / "run", threads=1)
    assert sorted(set(seen)) == seen or len(set(seen)) > 10
    assert max(seen) > 20


SCRIPT = """
import sys
import numpy as np
import gibbs_gmm as gg
from gibbs_gmm.sampler import chain as chains
from gibbs_gmm.storage import run_folder as checkpoint
chains._BATCH_SECONDS = 0.001
checkpoint._SECONDS = checkpoint._SHARE = 0.0
n = {"known": 3, "unknown": None, "process": gg.DirichletProcess()}[sys.argv[2]]
print("begun", flush=True)
gg.fit(np.load(sys.argv[3]), n, progress=False, checkpoint=sys.argv[1], **eval(sys.argv[4]))
"""


def start(folder: Path, name: str, **changes: Any) -> subprocess.Popen[str]:
    """A process that runs a fit into the folder, and has got as far as beginning it."""
    np.save(folder.with_name("X.npy"), X)
    arguments = [str(folder), name, str(folder.with_name("X.npy")), repr({**SETTINGS, **changes})]
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(gg.__file__).parents[1])},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n", process.communicate()
    return process


def kill_and_carry_on(folder: Path, name: str, kills: int, seed: int, draws: int) -> None:
    """Kill a run so many times, at random instants, and let it finish: it has to be the one that nothing killed."""
    rng = random.Random(seed)
    for _ in range(kills):
        process = start(folder, name, draws=draws)
        time.sleep(rng.uniform(0.0, 1.5))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "the run was over before it was killed"
    assert_same_draws(fit(PRIORS[name], draws=draws, checkpoint=folder), fit(PRIORS[name], draws=draws))


def test_killed_and_carried_on(tmp_path: Path) -> None:
    kill_and_carry_on(tmp_path / "run", "unknown", kills=2, seed=1, draws=2000)


@pytest.mark.slow
@pytest.mark.parametrize("name", PRIORS)
def test_killed_at_twenty_instants_and_carried_on(name: str, tmp_path: Path) -> None:
    draws = 400_000 if name == "known" else 20_000  # so many that no run is over before it is killed
    kill_and_carry_on(tmp_path / "run", name, kills=20, seed=2, draws=draws)


# --- Refusals ---


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"warmup": 41}, "warmup was 40, got 41"),
        ({"thin": 1}, "thin was 2, got 1"),
        ({"chains": 3}, "chains was 2, got 3"),
        ({"rng": 2}, "seed.entropy was 1, got 2"),
        ({"save_assignments": False}, "save_assignments was True, got False"),
        ({"n": 3}, "weight_prior.concentration.* was .*, got 1.0"),
        ({"prior": gg.NormalInverseWishart([0.0, 0.0], 1.0, 5.0, np.eye(2))}, "prior.Psi_0 was "),
    ],
    ids=lambda value: next(iter(value), "") if isinstance(value, dict) else "",
)
def test_other_settings_are_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    fit(draws=2, checkpoint=tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with pytest.raises(ValueError, match=rf"run' has other settings: {message}"):
        fit(checkpoint=tmp_path / "run", **{"draws": 2, **changes})
    assert {path: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_other_data_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    trace = fit(draws=2, checkpoint=folder)
    changed = X.copy()
    changed[-1, -1] = np.nextafter(changed[-1, -1], 9.0)
    for other, message in (
        (changed, "X has the same shape, but other values"),
        (X[1:], r"X was \(60, 2\) float64, got \(59, 2\) float64"),
        (X.astype(np.float32), "X has the same shape, but other values"),
    ):
        with pytest.raises(ValueError, match=message):
            gg.resume(folder, other)
        with pytest.raises(ValueError, match=message):
            gg.fit(other, **{**SETTINGS, "draws": 2}, progress=False, checkpoint=folder)
    assert_same_draws(gg.resume(folder, X), trace)


def test_other_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit(draws=2, checkpoint=tmp_path / "run")
    now = checkpoint.versions()
    monkeypatch.setattr(checkpoint, "versions", lambda: {**now, "gibbs-gmm": "99.0"})
    with pytest.raises(ValueError, match=r"made by gibbs-gmm .*, and this is 99\.0"):
        gg.resume(tmp_path / "run")
    monkeypatch.setattr(checkpoint, "versions", lambda: {**now, "numba": "99.0"})
    with pytest.warns(UserWarning, match=r"begun with numba .*, now 99\.0"):
        gg.resume(tmp_path / "run")


def test_mapped_data_are_not_copied(tmp_path: Path) -> None:
    np.save(tmp_path / "X.npy", np.vstack([X[:7], X]))
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")[7:]
    trace = gg.fit(mapped, 3, **SETTINGS, progress=False, checkpoint=tmp_path / "run")
    assert not (tmp_path / "run" / "data.npy").exists()
    assert_same_draws(trace, fit(3))
    assert_same_draws(gg.resume(tmp_path / "run", draws=31), fit(3, draws=31))
    (tmp_path / "X.npy").unlink()
    with pytest.raises(ValueError, match=r"the data of the run were in '.*X\.npy', which cannot be read: pass X"):
        gg.resume(tmp_path / "run", draws=32)
    assert_same_draws(gg.resume(tmp_path / "run", X, draws=32), fit(3, draws=32))


def test_one_process_at_a_time(tmp_path: Path) -> None:
    fit(draws=2, checkpoint=tmp_path / "run")
    with checkpoint.Folder(tmp_path / "run").locked():  # the lock is of the open file, whichever process opened it
        for again in (gg.resume, lambda folder: fit(draws=2, checkpoint=folder)):
            with pytest.raises(ValueError, match="another process is at work in the run folder"):
                again(tmp_path / "run")
        assert gg.load(tmp_path / "run").means.shape[1] == 2
    gg.resume(tmp_path / "run")


def test_foreign_folders_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "means.npy").write_text("mine")
    with pytest.raises(ValueError, match="holds other files and no run"):
        fit(checkpoint=tmp_path)
    assert os.listdir(tmp_path) == ["means.npy"]
    with pytest.raises(ValueError, match="is a file"):
        fit(checkpoint=tmp_path / "means.npy")
    with pytest.raises(FileNotFoundError, match="there is no run in"):
        gg.resume(tmp_path)
    with pytest.raises(FileNotFoundError):
        gg.load(tmp_path / "nothing")


def test_folders_that_cannot_be_written_are_seen_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    fit(draws=2, checkpoint=tmp_path / "run")
    monkeypatch.setattr(chains.Chain, "advance", refuse)
    monkeypatch.setattr(checkpoint.os, "open", refuse)
    for folder in ("run", "new"):
        with pytest.raises(OSError, match=r"the checkpoint folder cannot be written to .Read-only file system"):
            fit(checkpoint=tmp_path / folder)
    monkeypatch.undo()
    assert gg.load(tmp_path / "run").means.shape[1] == 2


# --- Larger than memory, larger than the disk ---


def test_traces_too_large_are_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chains.Chain, "advance", None)
    monkeypatch.setattr(room, "_free_memory", lambda: 10_000_000)
    many = {**SETTINGS, "draws": 100_000, "progress": False}
    message = r"it takes 48 MB \(covariances 19\.2 MB.*10 MB are free.*checkpoint='a folder'.*thin.*save_assignments"
    with pytest.raises(ValueError, match=message):
        gg.fit(X, 3, **{**many, "save_assignments": False})
    usage = shutil.disk_usage(tmp_path)._replace(free=10_000_000)
    monkeypatch.setattr(room.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(ValueError, match=r"too large for the disk of '.*run': it takes .*10 MB are free.*another disk"):
        gg.fit(X, 3, **many, checkpoint=tmp_path / "run")


def test_free_memory_is_known_here() -> None:
    free = room._free_memory()
    assert free is None or 1 << 20 < free < 1 << 50


def test_resume_says_which_argument_was_meant(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"resume\(\) has no argument 'samples' \(did you mean draws\?\)"):
        gg.resume(tmp_path, samples=5)
