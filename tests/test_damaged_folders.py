"""Run folders after faults, damaged, or made to do harm: refused, or sampled again to the same bytes."""

import errno
import hashlib
import io
import json
import random
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoint_cases import fit, keep_every_sweep
from harness import assert_same_draws

import gibbs_gmm as gg
from gibbs_gmm.sampler import chain as chains
from gibbs_gmm.storage import chain_state as states
from gibbs_gmm.storage import draw_files as storage
from gibbs_gmm.storage import run_folder as checkpoint


@pytest.fixture(scope="module")
def whole() -> gg.Trace:
    """What a run without a folder gives."""
    return fit()


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_every_sweep(monkeypatch)


# --- Faults ---


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("room", [2_000, 10_000, 30_000])
def test_full_disk(room: int, tmp_path: Path, whole: gg.Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    left, write_all = [room], storage.write_all

    def full(descriptor: int, data: np.ndarray, offset: int) -> None:
        left[0] -= data.nbytes
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_all(descriptor, data, offset)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "write_all", full)
        with pytest.raises(OSError, match=r"\(No space left on device\).*resume\(\)"):
            fit(checkpoint=tmp_path / "run")
    assert_same_draws(gg.resume(tmp_path / "run"), whole)


def test_file_size_limit(tmp_path: Path, whole: gg.Trace) -> None:
    # States are the largest files here; the limit is of the system, so that what fails is what would.
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(OSError, match=r"File too large"):
            fit(checkpoint=tmp_path / "run")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert_same_draws(gg.resume(tmp_path / "run"), whole)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    with pytest.MonkeyPatch.context() as patch:
        keep_every_sweep(patch)
        fit(checkpoint=folder)
    return folder


def damaged_copy(finished: Path, tmp_path: Path, name: str, damage: Callable[[bytes], bytes]) -> Path:
    folder = tmp_path / "copy"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(finished, folder)
    (folder / name).write_bytes(damage((folder / name).read_bytes()))
    return folder


def newest_state(folder: Path, chain: int) -> Path:
    return checkpoint.Folder(folder).states(chain)[0]


@pytest.mark.parametrize("kind", ["cut", "flipped", "emptied", "header"])
def test_the_state_before_a_damaged_one_is_used(kind: str, finished: Path, tmp_path: Path, whole: gg.Trace) -> None:
    name = newest_state(finished, 1).name

    def damage(content: bytes) -> bytes:
        flipped = bytearray(content)
        flipped[300 if kind == "header" else -100] ^= 4
        return {"cut": content[:-1], "emptied": b""}.get(kind, bytes(flipped))

    folder = damaged_copy(finished, tmp_path, name, damage)
    swept = []
    with pytest.MonkeyPatch.context() as patch:
        advance = chains.Chain.advance
        patch.setattr(chains.Chain, "advance", lambda *args: swept.append(advance(*args)) or swept[-1])
        assert_same_draws(gg.resume(folder), whole)
    assert 0 < sum(swept) < 10, "only the last few sweeps of one chain had to be made again"


def test_damaged_draws_are_seen_and_sampled_again(finished: Path, tmp_path: Path, whole: gg.Trace) -> None:
    def flip(content: bytes) -> bytes:
        return content[:-700] + bytes([content[-700] ^ 1]) + content[-699:]

    for name in ("means", "log_likelihood", "assignments"):
        folder = damaged_copy(finished, tmp_path, f"{name}.npy", flip)
        with pytest.raises(ValueError, match=rf"{name}\.npy is damaged in draw \d+ of chain [01].*resume"):
            gg.load(folder)
        assert_same_draws(gg.resume(folder), whole)


def test_any_flipped_bit_is_seen_or_harmless(finished: Path, tmp_path: Path, whole: gg.Trace) -> None:
    rng = random.Random(5)
    names = sorted(path.name for path in finished.iterdir() if path.stat().st_size > 0)
    for name in names:

        def flip(content: bytes) -> bytes:
            place, bit = rng.randrange(len(content)), rng.randrange(8)
            return content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]

        folder = damaged_copy(finished, tmp_path, name, flip)
        for read in (gg.load, gg.resume):
            try:
                trace = read(folder)
            except ValueError:
                continue
            kept = trace.log_likelihood.shape[1]
            assert kept == 30 or (read is gg.load and kept > 27)  # of the state before
            assert_same_draws(trace, whole, of_b=(slice(None), slice(kept)))


def test_both_states_lost_start_the_chain_over(finished: Path, tmp_path: Path, whole: gg.Trace) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    for path in folder.glob("chain-1.*"):
        path.unlink()
    assert_same_draws(gg.resume(folder), whole)


@pytest.mark.usefixtures("eager")
def test_clocks_that_jump(tmp_path: Path, whole: gg.Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(3)

    class Clock:
        """Stands still, jumps by days, and goes back."""

        now = 0.0

        def __call__(self) -> float:
            self.now += rng.choice([0.0, 0.0, 1e-3, 1e5, -1e5])
            return self.now

    for name in ("time", "monotonic", "perf_counter"):
        for module in (chains, checkpoint):
            monkeypatch.setattr(module.time, name, Clock())
    assert_same_draws(fit(checkpoint=tmp_path / "run"), whole)


# --- Malicious folders ---


def rewrite_recipe(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the recipe and put the right checksum under it, as who wants to do harm would."""
    content = json.loads((folder / "run.json").read_text())
    content.pop("sha256")
    change(content)
    content["sha256"] = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    (folder / "run.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c["recipe"].update(save_assignments="no"),
        lambda c: c["recipe"]["prior"].update(mu_0=[0.0] * 3, Psi_0=np.eye(3).tolist()),
        lambda c: c["data"].update(shape=[10**15, 2]),
        lambda c: c["recipe"].update(chains=10**12),
        lambda c: c["recipe"].update(chains="two"),
        lambda c: c["recipe"].update(draws=-1),
        lambda c: c["recipe"].update(columns=["a"] * 3),
        lambda c: c.update(recipe=[]),
        lambda c: c.update(format="gibbs_gmm run 99"),
    ],
)
def test_malicious_recipes_are_refused(change: Any, finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    rewrite_recipe(folder, change)
    with pytest.raises(ValueError, match="cannot be read as a gibbs_gmm run"):
        gg.load(folder)


def npy(dtype: Any, shape: tuple[int, ...], fortran: bool = False, length: int | None = None) -> bytes:
    file = io.BytesIO()
    descr = np.lib.format.dtype_to_descr(np.dtype(dtype))
    header = {"descr": descr, "fortran_order": fortran, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue().ljust(length or 0, b"\0")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        npy("f8", (2, 10**12, 2, 2)),
        npy("f8", (2, 1 << 62, 1 << 62, 2)),
        npy("O", (2, 30, 2, 2), length=10_000),
        npy([("a", "f8")], (2, 30, 2, 2), length=10_000),
        npy("f8", (2, 30, 8, 2), fortran=True, length=128 + 2 * 30 * 16 * 8 + 480),
        npy("f8", (2, 30, -8, -2), length=128 + 2 * 30 * 16 * 8 + 480),
        npy("f8", (2, 30, 8, 3), length=128 + 2 * 30 * 24 * 8 + 480),
        npy("f8", (2, 3, 8, 2), length=128 + 2 * 3 * 16 * 8 + 48),
    ],
    ids=range(10),
)
def test_malicious_draws_are_refused(content: bytes, finished: Path, tmp_path: Path) -> None:
    folder = damaged_copy(finished, tmp_path, "means.npy", lambda _: content)
    with pytest.raises(ValueError, match="cannot be read as a gibbs_gmm run"):
        gg.load(folder)


def test_a_state_that_claims_to_be_huge_is_damaged(finished: Path, tmp_path: Path) -> None:
    name = newest_state(finished, 0).name

    def inflate(content: bytes) -> bytes:
        first, _, text, body = content.split(b"\n", 3)
        header = json.loads(text)
        header["arrays"][0][3] = 10**15
        text = json.dumps(header).encode()
        return b"\n".join([first, hashlib.sha256(text).hexdigest().encode(), text, body])

    folder = damaged_copy(finished, tmp_path, name, inflate)
    with pytest.raises(states.Damaged, match="cut short or too long"):
        states.read_header(folder / name)
    assert newest_state(folder, 0).name != name
