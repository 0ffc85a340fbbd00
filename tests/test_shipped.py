"""Kernels that come compiled with the package: used where all is as it was, else refused in silence."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness import JIT
from test_compiling import RESULTS, RUN, VALUES, python

from gibbs_gmm.command_line import wheel
from gibbs_gmm.kernels import _shipped

KIND = "x86-64-v3"
ROOT = Path(__file__).resolve().parents[1]
SHIPPED = """
from pathlib import Path
from gibbs_gmm.kernels import _shipped
_shipped.FOLDER = Path({!r}) / "_compiled"
"""

pytestmark = pytest.mark.skipif(
    not JIT or not set(_shipped.FEATURES[KIND]) <= _shipped._host_features(), reason="for x86-64-v3, compiled"
)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with made-up kernels, compiled for a kind of processors as ``wheel`` does it."""
    folder = tmp_path_factory.mktemp("shipped")
    python(
        RUN + "_processes.compile_pieces(pieces)" + RESULTS,
        folder,
        more={"NUMBA_CPU_NAME": KIND, "NUMBA_CPU_FEATURES": ""},
    )
    paths = [path for path in (folder / "cache").rglob("*.nb[ci]") if "-copied." not in path.name]
    files = {f"./{path.name}": path.read_bytes() for path in paths}
    assert len(files) == 12  # an index and the code of six pieces
    target = folder / "_compiled" / KIND
    target.mkdir(parents=True)
    for name, content in files.items():
        (target / name).write_bytes(content)
    (target / _shipped.MANIFEST).write_bytes(_shipped.manifest_of(KIND, files))
    shutil.rmtree(folder / "cache")
    return folder


@pytest.fixture
def copy(compiled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, where this process finds what came with the package."""
    shutil.copytree(compiled, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(_shipped, "FOLDER", tmp_path / "_compiled")
    return tmp_path


def run(folder: Path) -> tuple[list[float], list[int], bool]:
    """The values of all pieces, which pointers were found compiled, and whether any piece was compiled."""
    values, hits, steps = python(
        SHIPPED.format(str(folder)) + RUN + "_processes.compile_pieces(pieces)" + RESULTS, folder
    )
    return values, hits, steps != []


def test_what_came_compiled_is_not_compiled(copy: Path) -> None:
    assert run(copy) == (VALUES, [1] * 5, False)
    assert not list(copy.rglob("cache/**/*.nbc"))


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
@pytest.mark.parametrize("act", [lambda b: b[:-1], lambda b: b[:99] + bytes([b[99] ^ 1]) + b[100:], lambda b: b""])
def test_damaged_files_are_refused(copy: Path, suffix: str, act: Callable[[bytes], bytes]) -> None:
    (path,) = (copy / "_compiled" / KIND).glob(f"*piece_2*.{suffix}")
    path.write_bytes(act(path.read_bytes()))
    assert run(copy) == (VALUES, [1, 1, 0, 1, 1], True)


def test_another_file_in_the_place_of_one_is_refused(copy: Path) -> None:
    (one,) = (copy / "_compiled" / KIND).glob("*piece_1*.nbc")
    (other,) = (copy / "_compiled" / KIND).glob("*piece_2*.nbc")
    shutil.copy(one, other)
    assert run(copy) == (VALUES, [1, 1, 0, 1, 1], True)


def test_an_edit_of_a_kernel_refuses_all(copy: Path) -> None:
    edited = SHIPPED.format(str(copy)) + "_shipped.STAMP = 'of other kernels'\n"
    here = "_processes._start = lambda number: []\n"
    values, hits, _ = python(edited + RUN + here + "_processes.compile_pieces(pieces)" + RESULTS, copy)
    assert values == VALUES
    assert hits == [0] * 5


@pytest.mark.parametrize("part", sorted(_shipped.parts_of(KIND)))
def test_each_part_of_the_stamp_counts(copy: Path, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is here differs from what was there; or the manifest says otherwise, and its digest agrees."""
    assert len(_shipped._files(KIND)) == 12
    real = _shipped.parts_of
    with monkeypatch.context() as patch:
        patch.setattr(_shipped, "parts_of", lambda kind: {**real(kind), part: "another"})
        assert _shipped._files(KIND) == {}
        path = copy / "_compiled" / KIND / _shipped.MANIFEST
        names = list(json.loads(path.read_bytes())["files"])
        path.write_bytes(_shipped.manifest_of(KIND, dict.fromkeys(names, b"")))
        assert len(_shipped._files(KIND)) == 12  # written and read there
    assert _shipped._files(KIND) == {}


def test_a_processor_without_a_feature_refuses_all(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for feature in _shipped.FEATURES[KIND]:
        there = _shipped._host_features() - {feature}
        with monkeypatch.context() as patch:
            patch.setattr(_shipped, "_host_features", lambda there=there: there)
            assert _shipped._files(KIND) == {}


@pytest.mark.parametrize("act", [lambda b: b[:-1], lambda b: b.replace(b'"numba": "', b'"numba": "1'), lambda b: b"7"])
def test_a_damaged_manifest_refuses_all(copy: Path, act: Callable[[bytes], bytes]) -> None:
    path = copy / "_compiled" / KIND / _shipped.MANIFEST
    path.write_bytes(act(path.read_bytes()))
    assert _shipped._files(KIND) == {}


def test_a_processor_asked_for_by_name_is_compiled_for(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    best: Any = _shipped.best.__wrapped__
    assert best()[0] == KIND
    monkeypatch.setattr(_shipped.numba.config, "CPU_NAME", "generic")
    assert best() is None


def test_the_tree_of_a_wheel_takes_compiled_kernels(tmp_path: Path) -> None:
    wheel.copy_source(ROOT, tmp_path)
    assert '"gibbs_gmm.kernels" = ["_compiled/**/*"]' in (tmp_path / "pyproject.toml").read_text()
    assert "python_tag = cp3" in (tmp_path / "setup.cfg").read_text()
    assert not list(tmp_path.rglob("*.nb[ci]"))
    (tmp_path / "pyproject.toml").write_text("")
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(ValueError, match="not the folder of this project"):
        wheel.copy_source(tmp_path, other)
