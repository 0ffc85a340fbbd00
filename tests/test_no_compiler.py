"""The kernels are plain Python too: their unit tests pass with numba's compiler off."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from harness import EPS

TESTS = Path(__file__).resolve().parent


def test_kernel_tests_pass_interpreted() -> None:
    files = [str(TESTS / name) for name in ("test_kernels.py", "test_label_pass.py", "test_tied.py")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files]
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    run = subprocess.run(command, cwd=TESTS.parent, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert " passed" in run.stdout
    assert "failed" not in run.stdout


def test_interpreted_and_compiled_sweeps_agree() -> None:
    """The same random numbers, hence the same labels; parameters to rounding, which the compiler may contract."""
    code = """
import json, sys
sys.path.insert(0, "tests")
import numpy as np
from harness import Gibbs, some_niw
np.seterr(over="ignore")
X = np.random.default_rng(1).standard_normal((150, 3)) + np.where(np.arange(150) % 2, 2.0, -2.0)[:, None]
draws = Gibbs(X, 3, 0.8, some_niw(3)).sweeps(np.random.default_rng(2), 10)
names = ["z", "means", "covariances", "log_likelihood"]
print(json.dumps([draws[name].tolist() for name in names]))
"""
    results = []
    for off in ("0", "1"):
        environment = os.environ | {"NUMBA_DISABLE_JIT": off}
        command = [sys.executable, "-c", code]
        run = subprocess.run(command, cwd=TESTS.parent, env=environment, capture_output=True, text=True, check=True)
        results.append([np.array(values) for values in json.loads(run.stdout)])
    for compiled, interpreted in zip(*results, strict=True):
        scale = np.abs(compiled).max()
        assert (np.abs(compiled - interpreted) <= 1000 * EPS * scale).all()
