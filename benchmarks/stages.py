"""From a file to a report, stage by stage: ``python -m benchmarks.stages [--quick] [--file FILE ...]``.

Makes CSV files of N rows in 4 columns, of 10 and of 30 overlapping normal clusters, and runs ``gibbs-gmm fit`` on each
in a process of its own. For every stage: seconds by the clock, without those of the stages inside it; seconds of all
cores; and the most memory while it was at work, with and without the pages of files that are mapped, which the system
takes back when it needs them. Results go to ``results/stages.json``. Linux only.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import common
from benchmarks.common import say

_N, _D = 1_000_000, 4
_TICK = 0.01
STAGES: tuple[tuple[str, str], ...] = (
    ("read the file", "gibbs_gmm.command_line.commands:_read"),
    ("write observations and names", "gibbs_gmm.command_line.output_folder:save_origin"),
    ("check the table", "gibbs_gmm.checks:table"),
    ("means and scales of columns", "gibbs_gmm.data:Observations.of"),
    ("look for columns that are not normal", "gibbs_gmm.data_warnings:warn"),
    ("prior and resolution", "gibbs_gmm.fitting:component_prior"),
    ("begin the folder", "gibbs_gmm.storage.run_folder:Folder.begin"),
    ("start the chains", "gibbs_gmm.fitting:chains_of"),
    ("sample", "gibbs_gmm.fitting:run"),
    ("drop draws to go on", "gibbs_gmm.storage.run_folder:Keeper.go_on"),
    ("have the chains met?", "gibbs_gmm.fitting:standing"),
    ("read the trace", "gibbs_gmm.fitting:read_trace"),
    ("match components", "gibbs_gmm.posterior.relabel:relabel"),
    ("cluster the rows", "gibbs_gmm.posterior.clustering:by_components"),
    ("summary", "gibbs_gmm.trace:Trace.summary"),
    ("p(n)", "gibbs_gmm.trace:Trace.n_posterior"),
    ("put draws together: the rest", "gibbs_gmm.command_line.findings:find"),
    ("table of the rows", "gibbs_gmm.command_line.findings:clusters_csv"),
    ("are clusters normal?", "gibbs_gmm.command_line.findings:check_components"),
    ("may clusters be one?", "gibbs_gmm.command_line.findings:merge_components"),
    ("picture: pairs", "gibbs_gmm.plots:pairs"),
    ("picture: profiles", "gibbs_gmm.plots:profiles"),
    ("picture: chains", "gibbs_gmm.plots:chains"),
    ("picture: p(n)", "gibbs_gmm.plots:n_posterior"),
    ("picture: similarity", "gibbs_gmm.plots:similarity"),
    ("picture: membership", "gibbs_gmm.plots:membership"),
    ("picture: check", "gibbs_gmm.plots:check"),
    ("pictures: saving", "gibbs_gmm.command_line.report:pictures"),
    ("report", "gibbs_gmm.command_line.report:render"),
    ("everything else", "gibbs_gmm.command_line.cli:main"),
)


@dataclasses.dataclass
class Stage:
    """What a stage took: seconds by the clock and of all cores, and the most bytes while it was at work."""

    seconds: float = 0.0
    core_seconds: float = 0.0
    private: int = 0
    resident: int = 0


class Stopwatch:
    """Stages that may lie inside each other; each is charged for what happens in none inside it."""

    def __init__(self) -> None:
        self.stages: dict[str, Stage] = {}
        self._open: list[str] = []
        self._at = time.perf_counter(), time.process_time()
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)
        self._main = threading.get_ident()

    def start(self) -> None:
        """Begin to look at the memory."""
        self._watch.start()

    def stop(self) -> None:
        """Look no more."""
        self._ended.set()
        self._watch.join()

    def _charge(self) -> None:
        now = time.perf_counter(), time.process_time()
        if self._open:
            stage = self.stages.setdefault(self._open[-1], Stage())
            stage.seconds += now[0] - self._at[0]
            stage.core_seconds += now[1] - self._at[1]
        self._at = now

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """A stage, if this is the thread that the stopwatch was made on."""
        if threading.get_ident() != self._main:
            yield
            return
        self._charge()
        self._open.append(name)
        self.stages.setdefault(name, Stage())
        try:
            yield
        finally:
            self._charge()
            self._open.pop()

    def around(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function as a stage of this name."""

        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.stage(name):
                return function(*args, **kwargs)

        return timed

    def _look(self) -> None:
        while not self._ended.wait(_TICK):
            private, resident = memory()
            if self._open:
                stage = self.stages[self._open[-1]]
                stage.private, stage.resident = max(stage.private, private), max(stage.resident, resident)


def memory() -> tuple[int, int]:
    """Bytes of memory that are this process's own, and with pages of mapped files, now."""
    lines = Path("/proc/self/status").read_text().splitlines()
    values = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith(("RssAnon", "VmRSS"))}
    return 1024 * int(values["RssAnon"]), 1024 * int(values["VmRSS"])


def watched(arguments: list[str], report: Path) -> int:
    """Run the command line in this process, and write what its stages took."""
    begun = time.perf_counter()
    watch = Stopwatch()
    watch.start()
    with watch.stage("import"):
        for _, where in STAGES:
            importlib.import_module(where.split(":")[0])
    for name, where in STAGES:
        module, path = where.split(":")
        *owners, attribute = path.split(".")
        owner = functools.reduce(getattr, owners, importlib.import_module(module))
        held = vars(owner).get(attribute)
        if isinstance(held, classmethod):
            setattr(owner, attribute, classmethod(watch.around(name, held.__func__)))
        else:
            setattr(owner, attribute, watch.around(name, getattr(owner, attribute)))
    code: int = importlib.import_module("gibbs_gmm.command_line.cli").main(arguments)
    watch.stop()
    stages = {name: dataclasses.asdict(stage) for name, stage in watch.stages.items()}
    report.write_text(json.dumps({"seconds": time.perf_counter() - begun, "stages": stages}), encoding="utf-8")
    return code


def clusters(N: int, K: int, path: Path) -> None:
    """A CSV file of N rows of K overlapping normal clusters, four digits behind the point."""
    rng = np.random.default_rng(K)
    centres, shares = rng.normal(0.0, 3.0, (K, _D)), rng.dirichlet(np.full(K, 5.0))
    kind, X = rng.choice(K, N, p=shares), np.empty((N, _D))
    for k in range(K):
        A = 0.5 * rng.normal(size=(_D, _D))
        own = np.flatnonzero(kind == k)
        X[own] = rng.multivariate_normal(centres[k], A @ A.T + 0.4 * np.eye(_D), len(own))
    np.savetxt(path, X, "%.4f", ",", header=",".join(f"x{d + 1}" for d in range(_D)), comments="")


def run(file: Path, more: list[str]) -> dict[str, Any]:
    """What the stages of a fit of this file took."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "stages.json"
        arguments = ["fit", str(file), "--out", str(Path(folder) / "run"), "--seed", "1", *more]
        command = [sys.executable, "-m", "benchmarks.stages", "--inside", str(report), *arguments]
        with common.OtherLoad() as load:
            code = subprocess.run(command, check=False).returncode
        if code != 0:
            raise SystemExit(f"{file} ended with exit code {code}")
        return {**json.loads(report.read_text(encoding="utf-8")), "load_of_others": load.share}


def table(found: dict[str, Any]) -> str:
    """The stages in their order, and their sums."""
    stages = found["stages"]

    def row(name: str, values: dict[str, float]) -> list[str]:
        sizes = (f"{values[what] / 1e6:,.0f}" for what in ("private", "resident"))
        return [name, f"{values['seconds']:.2f}", f"{values['core_seconds']:.2f}", *sizes]

    most = {what: max(stage[what] for stage in stages.values()) for what in ("private", "resident")}
    total = {"seconds": found["seconds"], "core_seconds": sum(stage["core_seconds"] for stage in stages.values())}
    header = ["stage", "s", "s of cores", "own MB", "MB with mapped files"]
    return common.table(header, [row(*item) for item in stages.items()] + [row("all", {**total, **most})])


def main() -> None:
    if sys.argv[1:2] == ["--inside"]:
        raise SystemExit(watched(sys.argv[3:], Path(sys.argv[2])))
    parser = common.parser("Time and memory of the stages of gibbs-gmm fit.")
    parser.add_argument("--file", type=Path, action="append", help="fit this file, in place of simulated ones")
    options, more = parser.parse_known_args()
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        files = {str(file): file for file in options.file or ()}
        N = _N // 100 if options.quick else _N
        for K in () if files else (10, 30):
            files[f"{N:,} rows of {K} clusters"] = file = Path(folder) / f"clusters_{K}.csv"
            clusters(N, K, file)
        for name, file in files.items():
            say(f"{name} ...")
            results[name] = run(file, more)
            print(f"\n{name}\n\n{table(results[name])}\n")
    if not options.file:
        common.write("stages", results, options.quick)


if __name__ == "__main__":
    main()
