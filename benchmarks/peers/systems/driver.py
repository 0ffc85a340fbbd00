"""What the Python systems share: reading a task, timing, writing what was drawn. Needs NumPy and nothing else."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np


class Task:
    """The task in a folder: its settings as attributes, ``X`` (N, D), ``z0`` (chains, N)."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.settings: dict[str, Any] = json.loads((self.folder / "task.json").read_text())
        self.X = np.fromfile(self.folder / "X.f64").reshape(self.N, self.D)
        self.z0 = np.fromfile(self.folder / "z0.i32", np.int32, self.chains * self.N).reshape(self.chains, -1)
        self.mu_0, self.Psi_0 = np.array(self.settings["mu_0"]), np.array(self.settings["Psi_0"])

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["settings"][name]
        except KeyError:
            raise AttributeError(name) from None

    def since_start(self) -> float:
        """Seconds since the process was started, by the clock."""
        return time.time() - self.started

    def finish(self, arrays: Mapping[str, Any], **result: Any) -> None:
        """Write the arrays and ``result.json``."""
        shapes = {}
        for name, values in arrays.items():
            whole = np.issubdtype(np.asarray(values).dtype, np.integer)
            np.ascontiguousarray(values, np.int32 if whole else np.float64).tofile(
                self.folder / f"{name}.{'i32' if whole else 'f64'}"
            )
            shapes[name] = list(np.shape(values))
        (self.folder / "result.json").write_text(json.dumps({"note": "", **result, "arrays": shapes}))


def task() -> Task:
    """The task whose folder is the script's only argument."""
    return Task(sys.argv[1])


def cpu(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of all threads of this process while ``work`` ran, and what it gave."""
    begun = time.process_time()
    value = work()
    return time.process_time() - begun, value


def cost_of_iterations(fit: Callable[[int], Any], seconds: float, most: int) -> tuple[float, int]:
    """CPU seconds of some iterations of a fit, and how many: two fits differ by iterations alone.

    ``fit(m)`` must make exactly m iterations, whatever it does besides.
    """
    once, _ = cpu(lambda: fit(1))
    each = max(cpu(lambda: fit(3))[0] - once, 1e-6) / 2
    if 2 * each >= seconds:
        return 2 * each, 2
    times = how_many(each, seconds, most)
    return max(cpu(lambda: fit(1 + times))[0] - once, 1e-9), times


def how_many(seconds_each: float, seconds: float, most: int, least: int = 3) -> int:
    """As many iterations as fit into the time, between the two bounds."""
    return int(min(most, max(least, seconds / max(seconds_each, 1e-9))))
