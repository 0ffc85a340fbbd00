"""A trace in memory and on disk: read-only, saved whole or not at all, loaded without running anything."""

import dataclasses
import json
import os
import pickle
import re
import stat
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from harness import assert_same_draws
from hypothesis import given, settings
from hypothesis import strategies as st

import gibbs_gmm as gg

X = np.random.default_rng(1).standard_normal((12, 2))
QUICK: dict[str, Any] = {"draws": 5, "warmup": 3, "chains": 2, "threads": 1, "progress": False}


def small(**changes: Any) -> gg.Trace:
    return gg.fit(X, gg.FiniteMixture(2, 0.5), **{**QUICK, "rng": 1, **changes})


def assert_same_trace(a: gg.Trace, b: gg.Trace) -> None:
    assert_same_draws(a, b)
    for name in ("columns", "prior", "weight_prior", "settings"):
        assert getattr(a, name) == getattr(b, name), name


# --- In memory ---


def test_arrays_are_read_only() -> None:
    trace = small()
    for name, array in trace.arrays().items():
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(trace, name, array)


# --- Round trip ---


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"save_assignments": False},
        {"rng": None},
        {"rng": [1, 2**70]},
        {"rng": np.random.default_rng(3)},
        {"rng": np.random.SeedSequence(np.array([3, 4]), spawn_key=(np.int64(1),))},
        {"rng": np.random.SeedSequence(np.int64(5))},
        {"prior": gg.NormalInverseWishart([1e-300, 0.1], 1 / 3, 1.5, np.diag([np.pi, 1e5]))},
    ],
    ids=lambda changes: ", ".join(changes) or "default",
)
def test_round_trip(tmp_path: Path, changes: dict[str, Any]) -> None:
    trace = small(**changes)
    trace.save(tmp_path / "trace.npz")
    loaded = gg.load(tmp_path / "trace.npz")
    assert_same_trace(loaded, trace)
    assert (loaded.assignments is None) == (trace.assignments is None)
    assert not any(array.flags.writeable for array in loaded.arrays().values())
    assert repr(loaded) == repr(trace)
    loaded.save(str(tmp_path / "again.npz"))
    assert_same_trace(gg.load(str(tmp_path / "again.npz")), trace)


def test_column_names_of_any_kind_survive(tmp_path: Path) -> None:
    frame = pd.DataFrame(X, columns=['Länge, "größte"\n', 7])
    trace = gg.fit(frame, 2, rng=1, **QUICK)
    trace.save(tmp_path / "t")
    assert gg.load(tmp_path / "t").columns == trace.columns == ('Länge, "größte"\n', "7")


def test_file_has_the_name_it_was_given(tmp_path: Path) -> None:
    small().save(tmp_path / "trace")
    assert os.listdir(tmp_path) == ["trace"]


def test_file_is_as_readable_as_others(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    small().save(tmp_path / "trace")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("other", "trace")]
    assert modes[0] == modes[1]


def test_saving_replaces_an_older_file(tmp_path: Path) -> None:
    small(rng=2).save(tmp_path / "trace")
    small().save(tmp_path / "trace")
    assert_same_draws(gg.load(tmp_path / "trace"), small())


# --- Interrupted and impossible saves ---


@pytest.mark.parametrize("where", ["numpy.savez", "os.fsync", "os.replace"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_interrupted_save_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, error: type[BaseException]
) -> None:
    trace = small(rng=2)
    trace.save(tmp_path / "trace")

    def fail(*args: Any, **kwargs: Any) -> None:
        if hasattr(args[0], "write"):
            args[0].write(b"half")
        raise error

    monkeypatch.setattr(where, fail)
    for name in ("trace", "new"):
        with pytest.raises(error):
            small().save(tmp_path / name)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["trace"]
    assert_same_draws(gg.load(tmp_path / "trace"), trace)


def test_saving_where_there_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        small().save(tmp_path / "no" / "trace")


def test_saving_over_a_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        small().save(tmp_path / "folder")
    assert os.listdir(tmp_path) == ["folder"]


# --- Foreign and damaged files ---


def test_loading_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        gg.load(tmp_path / "nothing")


class Bomb:
    """Unpickling this touches a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def write_foreign(path: Path, kind: str) -> None:
    """A file that is not a trace."""
    bomb = path.with_name("exploded")
    metadata = np.array(json.dumps({"format": "gibbs_gmm trace 1"}))
    match kind:
        case "empty":
            path.touch()
        case "text":
            path.write_text("weights,means\n1,2\n")
        case "folder":
            path.mkdir()
        case "pickle":
            path.write_bytes(pickle.dumps(Bomb(bomb)))
        case "array":
            with open(path, "wb") as file:
                np.save(file, X)
        case "objects":
            with open(path, "wb") as file:
                np.savez(file, metadata=metadata, weights=np.array([Bomb(bomb)], dtype=object), allow_pickle=True)
        case "object metadata":
            with open(path, "wb") as file:
                np.savez(file, metadata=np.array([Bomb(bomb)], dtype=object), allow_pickle=True)
        case "arrays":
            with open(path, "wb") as file:
                np.savez(file, X=X)
        case "other format":
            with open(path, "wb") as file:
                np.savez(file, metadata=np.array(json.dumps({"format": "gibbs_gmm trace 99"})))
        case "no json":
            with open(path, "wb") as file:
                np.savez(file, metadata=np.array("{"))
        case "json of something else":
            with open(path, "wb") as file:
                np.savez(file, metadata=np.array("[1, 2]"))
        case "nothing but the format":
            with open(path, "wb") as file:
                np.savez(file, metadata=metadata)
        case "zip":
            with zipfile.ZipFile(path, "w") as file:
                file.writestr("metadata.npy", "no array")


FOREIGN = [
    "empty",
    "text",
    "folder",
    "pickle",
    "array",
    "objects",
    "object metadata",
    "arrays",
    "other format",
    "no json",
    "json of something else",
    "nothing but the format",
    "zip",
]


@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_file(tmp_path: Path, kind: str) -> None:
    write_foreign(tmp_path / "file", kind)
    with pytest.raises(ValueError, match="file' cannot be read as a gibbs_gmm trace"):
        gg.load(tmp_path / "file")
    assert not (tmp_path / "exploded").exists(), "loading ran code from the file"


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        (b"a,b\n1,2\n", "it is not what Trace.save"),
        (b"", "it is not what Trace.save"),
        (b"\x80\x04\x95", "it is a pickle, and loading it could run code"),
        (b"PAR1....", "it is a parquet file"),
        (np.arange(3), "it is one array, such as the data of a fit"),
        (np.array([{}], dtype=object), "it is one array"),
        ({"X": np.arange(3)}, "it is an archive of X"),
        ({"metadata": np.array([{}], dtype=object)}, "it holds Python objects, and loading them could run code"),
    ],
)
def test_a_wrong_file_is_named_and_nothing_unsafe_is_advised(tmp_path: Path, content: Any, seen: str) -> None:
    path = tmp_path / "file"
    with open(path, "wb") as file:
        if isinstance(content, bytes):
            file.write(content)
        elif isinstance(content, dict):
            np.savez(file, **content)
        else:
            np.save(file, content)
    with pytest.raises(ValueError, match="file' cannot be read as a gibbs_gmm trace") as caught:
        gg.load(path)
    assert seen in str(caught.value)
    assert "allow_pickle" not in str(caught.value)
    assert "unsafe" not in str(caught.value)


def test_a_folder_of_the_command_line_is_its_trace(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="it is a folder without a run, with neither the draws"):
        gg.load(tmp_path)
    trace = small()
    trace.save(tmp_path / "trace.npz")
    assert_same_trace(gg.load(tmp_path), trace)


def test_newer_format_is_named(tmp_path: Path) -> None:
    write_foreign(tmp_path / "file", "other format")
    with pytest.raises(ValueError, match=r"its format is 'gibbs_gmm trace 99', and this version reads"):
        gg.load(tmp_path / "file")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, gg.Trace, bytes]:
    folder, trace = tmp_path_factory.mktemp("traces"), small(draws=200)  # arrays larger than buffers
    trace.save(folder / "trace")
    return folder / "damaged", trace, (folder / "trace").read_bytes()


@given(st.floats(0.0, 1.0, exclude_max=True))
@settings(max_examples=50)
def test_truncated_file(saved: tuple[Path, gg.Trace, bytes], part: float) -> None:
    path, _, whole = saved
    path.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(ValueError, match="cannot be read as a gibbs_gmm trace"):
        gg.load(path)


def assert_seen_or_harmless(saved: tuple[Path, gg.Trace, bytes], byte: int, bit: int) -> None:
    path, trace, whole = saved
    damaged = bytearray(whole)
    damaged[byte] ^= 1 << bit
    path.write_bytes(damaged)
    try:
        loaded = gg.load(path)
    except ValueError:  # and nothing else
        return
    assert_same_trace(loaded, trace)


@given(st.floats(0.0, 1.0, exclude_max=True), st.integers(0, 7))
@settings(max_examples=500)
def test_any_flipped_bit_is_seen_or_harmless(saved: tuple[Path, gg.Trace, bytes], place: float, bit: int) -> None:
    # Harmless: dates and other fields of the archive that nobody reads.
    assert_seen_or_harmless(saved, int(place * len(saved[2])), bit)


@pytest.mark.parametrize("bit", range(3))  # these make digits of digits
def test_flipped_bits_of_types_and_shapes_are_seen(saved: tuple[Path, gg.Trace, bytes], bit: int) -> None:
    # An array that seems smaller than it is would be read without its checksum.
    for header in re.finditer(rb"{'descr': .*?}", saved[2]):
        for byte in range(*header.span()):
            assert_seen_or_harmless(saved, byte, bit)
