"""Figures of :mod:`benchmarks.kernels` that need a fresh Python process: memory, and the time to start."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from benchmarks import common
from benchmarks.common import Figure

Detail = dict[str, Any]

# X is made in place and the kernels are loaded before the first reading, so that neither the compiler's memory nor a
# temporary copy of X is in it. The growth is counted from what is resident then (VmRSS), not from the earlier peak,
# which could hide some of it. The peak is VmHWM: getrusage's ru_maxrss keeps, over fork and exec, that of the parent.
_MEMORY = """
import json, sys
import numpy as np
import gibbs_gmm
def resident(field):
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith(field)) * 1024
def fit(X, draws, chains):
    return gibbs_gmm.fit(X, 20, draws=draws, warmup=6, chains=chains, rng=1, progress=False, save_assignments=False)
N, chains = int(sys.argv[1]), int(sys.argv[2])
X = np.empty((N, 4), np.float32)
rng = np.random.default_rng(0)
rng.standard_normal(dtype=np.float32, out=X)
for k in range(5):
    X[k::5] += 8.0 * k
fit(X[:100_000], 2, chains)
before, peak_before = resident("VmRSS"), resident("VmHWM")
trace = fit(X, 2, chains)
arrays = (trace.weights, trace.means, trace.covariances, trace.log_likelihood, trace.log_posterior, trace.n_clusters)
held = sum(a.nbytes for a in arrays)
peak = resident("VmHWM")
print(json.dumps({"before": before, "peak_before": peak_before, "peak": peak, "trace": held, "X": X.nbytes}))
"""


def memory(quick: bool) -> tuple[list[Figure], Detail]:
    """Peak growth of resident memory while ten million rows are fitted, beyond X and the trace, in a fresh process.

    It is read from /proc, so on Linux alone.
    """
    figures, detail = [], {}
    N = 1_000_000 if quick else 10_000_000
    for n_chains in (1, 4):
        seen = _subprocess(["-c", _MEMORY, str(N), str(n_chains)])[2]
        growth = (seen["peak"] - seen["before"] - seen["trace"]) / 1e6
        figures.append(
            Figure(
                f"memory beyond X and trace, N={N:,} D=4 float32 K=20, {n_chains} chain{'s' if n_chains > 1 else ''}",
                100.0,
                False,
                growth,
                "MB",
                f"of which {2 * N * n_chains / 1e6:.0f} MB are current labels; X itself {seen['X'] / 1e6:.0f} MB",
            )
        )
        detail[f"{n_chains} chains"] = seen
    return figures, detail


_IMPORT = """
import json, time
begun = time.perf_counter()
import gibbs_gmm
print(json.dumps({"import": time.perf_counter() - begun}))
"""
_FIRST = """
import json, sys, time
begun = time.perf_counter()
import gibbs_gmm
import numpy as np
X = np.loadtxt(sys.argv[1], delimiter=",", skiprows=1, usecols=range(4))
gibbs_gmm.fit
loaded = time.perf_counter()
trace = gibbs_gmm.fit(X, 3, rng=1, progress=False)
fitted = time.perf_counter()
cpu = time.process_time()
gibbs_gmm.fit(X, 3, rng=1, progress=False)
cpu = time.process_time() - cpu
again = time.perf_counter() - fitted
print(json.dumps({"import": loaded - begun, "fit": fitted - loaded, "fit again": again, "fit again, CPU": cpu}))
"""


def _subprocess(arguments: list[str], cache: str | None = None) -> tuple[float, float, dict[str, float]]:
    """Wall and CPU seconds of a fresh Python process, and the JSON that it prints."""
    environment = {**os.environ, **({"NUMBA_CACHE_DIR": cache} if cache is not None else {})}
    begun, cpu = time.perf_counter(), sum(os.times()[2:4])
    done = subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        cwd=common.ROOT.parent,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return time.perf_counter() - begun, sum(os.times()[2:4]) - cpu, json.loads(done.stdout)


def startup(quick: bool) -> tuple[list[Figure], Detail]:
    """Importing, the first fit ever (no compiled code on disk) and a later process, each a fresh Python.

    Wall time of the whole process, its CPU time beside it: if only that meets the target, the machine was busy.
    """
    imports = [_subprocess(["-c", _IMPORT])[2]["import"] for _ in range(3 if quick else 9)]
    fit = ["-c", _FIRST, str(common.ROOT.parent / "data" / "iris.csv")]
    first, later = [], []
    for _ in range(1 if quick else 3):
        with tempfile.TemporaryDirectory() as cache:
            first.append(_subprocess(fit, cache))
            later += [_subprocess(fit, cache) for _ in range(2)]
    figures = [
        Figure("import gibbs_gmm", 0.4, False, statistics.median(imports), "s", "in the process, names still lazy")
    ]
    for name, target, runs in (
        ("first fit ever, Iris n=3, defaults", 15.0, first),
        ("the same in a later process", 2.0, later),
    ):
        # Each process ends with a second fit, which is not part of the figure.
        wall = statistics.median(run[0] - run[2]["fit again"] for run in runs)
        cpu = statistics.median(run[1] - run[2]["fit again, CPU"] for run in runs)
        loading = statistics.median(run[2]["import"] for run in runs)
        compiling = statistics.median(run[2]["fit"] - run[2]["fit again"] for run in runs)
        note = f"CPU time {cpu:.2f} s; imports {loading:.2f} s, compiling or loading compiled code {compiling:.2f} s"
        figures.append(Figure(name, target, False, wall, "s", note, fair=cpu > target))
    return figures, {"import": imports, "first": first, "later": later}
