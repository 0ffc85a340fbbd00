"""Data larger than memory are read where they lie: what a run takes does not grow with them, but for labels."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gibbs_gmm as gg
from gibbs_gmm import checks

LIMIT = 40 << 20  # bytes that a run may take beyond what the process held before
ROWS, D = 5 * LIMIT // 32, 4  # 5 times as much, in float64

SCRIPT = """
import sys
import threading
import time
import numpy as np
import gibbs_gmm as gg


def held():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("RssAnon"))


def watch():
    while True:
        most.append(held())
        time.sleep(0.005)


small = np.random.default_rng(1).standard_normal((1000, 4))
settings = dict(draws=2, warmup=2, chains=1, threads=1, rng=1, progress=False, save_assignments=False)
gg.fit(small, 2, **settings)  # what a process needs whatever the data are
before, most = held(), []
threading.Thread(target=watch, daemon=True).start()
trace = gg.fit(np.load(sys.argv[1], mmap_mode="r"), 2, **settings, checkpoint=sys.argv[2])
print(max(most) - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_is_bounded_when_data_are_five_times_as_large(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    X = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", np.float64, (ROWS, D))
    block = rng.standard_normal((1 << 16, D))
    for start in range(0, ROWS, len(block)):
        X[start : start + len(block)] = (block + rng.choice([-2.0, 2.0]))[: ROWS - start]
    X.flush()
    assert X.nbytes >= 5 * LIMIT
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "X.npy"), str(tmp_path / "run")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(gg.__file__).parents[1])},
    )
    assert done.returncode == 0, done.stderr
    assert 2 * ROWS <= int(done.stdout) < LIMIT, "labels alone take two bytes a row: less was not measured"
    assert not (tmp_path / "run" / "data.npy").exists()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_memory_maps_are_read_in_place(dtype: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "SMALL", 899)
    rows = np.random.default_rng(2).standard_normal((300, 3)).astype(dtype)
    np.save(tmp_path / "X.npy", rows)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert np.shares_memory(checks.data(mapped)[0], mapped)


class Counting(np.memmap):
    """A memory map that counts the rows that are read; the whole of it may not be read at once."""

    rows = 0

    def __getitem__(self, key: Any) -> Any:
        found = np.asarray(super().__getitem__(key))
        type(self).rows += len(found) if found.ndim == 2 else 1
        return found

    def __array_ufunc__(self, *_: Any, **__: Any) -> None:
        pytest.fail("the whole of X is read at once")


@pytest.mark.parametrize("n_components", [3, None])
def test_rows_are_read_twice_before_sampling(
    n_components: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    N, looked_at = 200_000, 10_000  # the second: rows of a sample
    np.save(tmp_path / "X.npy", np.random.default_rng(3).standard_normal((N, 2)))
    table = checks.table

    def counted(*arguments: Any, **named: Any) -> tuple[Any, tuple[str, ...]]:
        array, columns = table(*arguments, **named)
        return array.view(Counting), columns

    def stop(*_: Any, **__: Any) -> None:
        raise StopIteration

    monkeypatch.setattr(checks, "table", counted)
    monkeypatch.setitem(gg.fit.__globals__, "run", stop)
    monkeypatch.setattr(Counting, "rows", 0)
    with pytest.raises(StopIteration):
        gg.fit(np.load(tmp_path / "X.npy", mmap_mode="r"), n_components, chains=1, rng=1)
    samples = 2 * looked_at + 20_000  # of the prior, of the warnings about columns and of where the chain starts
    assert 2 * N <= Counting.rows <= 2 * N + samples + 1
