"""Data larger than memory are read where they lie: what a run takes does not grow with them, but for labels."""

import os
import subprocess
import sys
from pathlib import Path

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
def test_memory_maps_are_read_in_place(dtype: type, tmp_path: Path) -> None:
    rows = np.random.default_rng(2).standard_normal((300, 3)).astype(dtype)
    np.save(tmp_path / "X.npy", rows)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert np.shares_memory(checks.data(mapped)[0], mapped)
