"""The compiler's cache on disk, where several processes write to it at once."""

from pathlib import Path
from typing import Any

import pytest
from harness import JIT
from numba.core.caching import IndexDataCacheFile

from gibbs_gmm.kernels import _cache_file
from gibbs_gmm.kernels.sampler.sweep import run_sweeps


def save_at_once(kind: type[IndexDataCacheFile], folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is read under two keys whose processes looked at the index together, and the first was slower to write."""
    folder.mkdir()
    slow, fast = (kind(str(folder), "kernel", "stamp") for _ in range(2))
    write = slow._save_data

    def overtaken(name: str, data: Any) -> None:
        fast.save("b", "code of b")
        write(name, data)

    with monkeypatch.context() as patch:
        patch.setattr(fast, "_load_index", lambda: {})
        patch.setattr(slow, "_save_data", overtaken)
        slow.save("a", "code of a")
    return [fast.load(key) for key in "ab"]


def test_no_kernel_is_taken_for_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert save_at_once(_cache_file.CacheFile, tmp_path / "ours", monkeypatch) == ["code of a", "code of b"]
    # What the package's own files are for:
    assert save_at_once(IndexDataCacheFile, tmp_path / "numba", monkeypatch) == [None, "code of a"]


def test_names_are_kept_and_never_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = _cache_file.CacheFile(str(tmp_path), "kernel", "stamp")
    for content in ("old", "new"):
        file.save("key", content)
        assert file.load("key") == content
    assert len(list(tmp_path.glob("*.nbc"))) == 1
    monkeypatch.setattr(_cache_file, "repr", lambda key: "the same for all", raising=False)
    for key in "abc":
        file.save(key, f"code of {key}")
    assert [file.load(key) for key in ("key", *"abc")] == ["new", "code of a", "code of b", "code of c"]


@pytest.mark.skipif(not JIT, reason="nothing is compiled")
def test_kernels_use_it() -> None:
    assert type(run_sweeps._cache._cache_file) is _cache_file.CacheFile


def test_a_change_of_any_kernel_empties_the_cache_of_all(tmp_path: Path) -> None:
    kernels = Path(_cache_file.__file__).parent
    for source in kernels.rglob("*.py"):
        copy = tmp_path / source.relative_to(kernels)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(source.read_bytes())
    assert _cache_file.stamp_of(tmp_path) == _cache_file.stamp_of(kernels)
    with (tmp_path / "families" / "full.py").open("a") as file:
        file.write("# an edit\n")
    assert _cache_file.stamp_of(tmp_path) != _cache_file.stamp_of(kernels)


def test_an_index_that_cannot_be_read_is_empty(tmp_path: Path) -> None:
    file = _cache_file.CacheFile(str(tmp_path), "kernel", "stamp")
    file.save("key", "code")
    (index,) = tmp_path.glob("*.nbi")
    index.write_bytes(index.read_bytes()[:-8] + b"cno.such\nthing\n.")
    assert file.load("key") is None
    file.save("key", "code")
    assert file.load("key") == "code"
