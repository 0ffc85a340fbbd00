"""Chains whose rows lie on a GPU, by numba's CUDA simulator: the passes are those of the processor."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gibbs_gmm as gg

TESTS = Path(__file__).resolve().parent


def simulated(*arguments: str) -> None:
    command = [sys.executable, str(TESTS / "on_simulator.py"), *arguments]
    environment = os.environ | {"NUMBA_ENABLE_CUDASIM": "1"}
    run = subprocess.run(command, cwd=TESTS.parent, env=environment, capture_output=True, text=True, check=False)
    assert run.stdout.strip().endswith("passed"), run.stdout + run.stderr


def test_passes_are_those_of_the_processor() -> None:
    simulated("passes")


def test_fits_on_a_device(tmp_path: Path) -> None:
    simulated("fits", str(tmp_path))


def test_predictions_are_those_of_the_processor() -> None:
    simulated("predictions")


def test_without_a_device() -> None:
    from gibbs_gmm.kernels import cuda

    if cuda.is_available():
        pytest.skip("there is a device")
    with pytest.raises(RuntimeError, match="needs an NVIDIA GPU"):
        gg.fit(np.zeros((5, 2)), 2, device="cuda")
    trace = gg.fit(np.random.default_rng(1).normal(size=(20, 2)), 1, draws=4, warmup=4, chains=1, progress=False)
    with pytest.raises(RuntimeError, match="needs an NVIDIA GPU"):
        trace.predict(np.zeros((1, 2)), device="cuda")
