"""One system on one task: a folder, a process on one core, an answer or the reason why there is none."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.common import AnyArray
from benchmarks.peers.cases import Case, starts
from benchmarks.peers.judge import Summary, quantities, read_arrays, summarise
from benchmarks.peers.registry import ROOT, System

Run = dict[str, Any]
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


class Bench:
    """A case with its data on disk, on which systems are run."""

    def __init__(self, case: Case, start_from: int) -> None:
        self.case = case
        self.folder = Path(tempfile.mkdtemp(prefix="gibbs-gmm-peers-"))
        case.X.tofile(self.folder / "X.f64")
        z0: AnyArray = starts(case.X, start_from)
        z0.tofile(self.folder / "z0.i32")

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder)

    def run(self, system: System, model: str, limit: float, **settings: Any) -> Run:
        """What came of it; ``failed`` says why, where nothing did."""
        run: Run = {"case": self.case.name, "model": model, "system": system.name}
        if not system.installed():
            return {**run, "failed": f"not installed: {system.how_to_install()}"}
        folder = self.folder / "run"
        folder.mkdir()
        try:
            for name in ("X.f64", "z0.i32"):
                (folder / name).symlink_to(self.folder / name)
            task = {**self.case.task(model), **settings, "started": time.time()}
            (folder / "task.json").write_text(json.dumps(task))
            begun = time.perf_counter()
            failed = _process([*system.command(), str(folder)], limit)
            run["wall_seconds"] = time.perf_counter() - begun
            if failed is not None:
                return {**run, "failed": failed}
            run |= {k: v for k, v in json.loads((folder / "result.json").read_text()).items() if k != "arrays"}
            if arrays := read_arrays(folder):
                found = quantities(self.case, model == "known", arrays)
                run["found"] = {name: vars(summarise(draws)) for name, draws in found.items()}
                n = found["n+"].astype(int)
                run["p_n_clusters"] = [float((n == t).mean()) for t in range(1, int(n.max()) + 1)]
            return run
        finally:
            shutil.rmtree(folder)


def summaries(run: Run) -> dict[str, Summary]:
    """What was found of each quantity."""
    return {name: Summary(**values) for name, values in run.get("found", {}).items()}


def _process(command: list[str], limit: float) -> str | None:
    """Run it on one core; None if it went well."""
    environment = os.environ | dict.fromkeys(_THREAD_VARIABLES, "1")
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT.parent.parent), os.environ.get("PYTHONPATH", "")])
    pin: Callable[[], None] | None = None
    if hasattr(os, "sched_setaffinity"):
        core = max(os.sched_getaffinity(0))
        pin = lambda: os.sched_setaffinity(0, {core})  # noqa: E731
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=limit, env=environment, cwd=ROOT / "systems",
            preexec_fn=pin, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"stopped after {limit:.0f} s"
    if done.returncode == 0:
        return None
    said = [line for line in done.stderr.strip().splitlines() if line.strip()]
    return f"exit status {done.returncode}: {said[-1] if said else 'nothing said'}"
