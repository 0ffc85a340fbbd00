"""How the time of a sweep grows: ``python -m benchmarks.scaling [--quick]``, in N, D, K and threads.

Each line varies one size and keeps the others. A sweep is a whole one, recorded, without labels in the trace (ten
million of them for each draw would be most of the memory). Results go to ``benchmarks/results/scaling.json`` and
``scaling.png``; those of ``--quick`` to ``results/scratch``.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import common
from benchmarks.common import say

_POINT_SECONDS = 0.6  # for each size; at least three timings
_BATCH_SECONDS = 0.02


@dataclasses.dataclass(frozen=True)
class Point:
    """A size, and the seconds of one sweep there: median over batches, with the quartiles."""

    N: int
    D: int
    K: int
    chains: int
    threads: int
    dtype: str
    seconds: float
    low: float
    high: float
    sweeps: int
    per_batch: int

    @property
    def nanoseconds(self) -> float:
        """A sweep's time for one observation and component, in ns."""
        return self.seconds / (self.N * self.K * self.chains) * 1e9

    @property
    def rate(self) -> float:
        """GFLOP/s, where N K (D (D + 1) + 4 D) operations are counted: those of the label pass alone."""
        return self.N * self.K * self.chains * (self.D * (self.D + 1) + 4 * self.D) / self.seconds / 1e9

    def row(self) -> list[str]:
        """Its line in the table."""
        time = f"{self.seconds * 1e6:,.1f} us" if self.seconds < 1e-3 else f"{self.seconds * 1e3:,.2f} ms"
        sizes = [f"{value:,}" for value in (self.N, self.D, self.K)]
        return [*sizes, self.dtype, time, f"{self.nanoseconds:.2f}", f"{self.rate:.1f}"]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**dataclasses.asdict(self), "ns_per_observation_and_component": self.nanoseconds, "gflops": self.rate}


def measure(N: int, D: int, K: int, seconds: float, dtype: type = np.float64) -> Point:
    """Whole sweeps of one chain on one thread."""
    chain = common.settled_chain(common.mixture(N, D, K, dtype), K, draws=256, warmup=6, save_assignments=False)
    begun = time.perf_counter()
    common.sweep(chain, 1)
    one = time.perf_counter() - begun
    per_batch = max(1, min(256, int(_BATCH_SECONDS / one)))
    repeats = max(3, min(200, int(seconds / (per_batch * one))))
    batches = common.interleave({"sweep": lambda: common.sweep(chain, per_batch)}, repeats)["sweep"]
    low, middle, high = np.quantile(batches, [0.25, 0.5, 0.75]) / per_batch
    return Point(N, D, K, 1, 1, np.dtype(dtype).name, float(middle), float(low), float(high), repeats, per_batch)


def thread_rows(N: int, D: int, K: int, chains: int, repeats: int) -> tuple[list[str], dict[str, Any]]:
    """Sampling of ``chains`` chains on 1 and on 2 threads in turn."""
    one_sweep = 2e-9 * N * K + 1e-5  # roughly, to choose how many
    draws = max(4, min(20_000, int(0.4 / (one_sweep * chains))))
    X = common.mixture(N, D, K)
    settings = {
        "draws": draws,
        "warmup": 0,
        "thin": 1,
        "chains": chains,
        "rng": 1,
        "threads": 2,
        "save_assignments": False,
    }
    built = common.build_chains(X, K, **settings)
    tasks = {str(threads): partial(common.run_again, built, threads) for threads in (1, 2)}
    common.interleave(tasks, 1)
    seconds = common.interleave(tasks, repeats, time.perf_counter)
    one, two = (statistics.median(seconds[name]) for name in ("1", "2"))
    low, high = common.ratio_range(seconds["1"], seconds["2"])
    cells = [f"{N:,}", str(D), str(K), str(chains), f"{one / draws * 1e3:,.3f}", f"{two / draws * 1e3:,.3f}"]
    detail = {"N": N, "D": D, "K": K, "chains": chains, "draws": draws, "seconds": seconds, "speed_up": one / two}
    return [*cells, f"{one / two:.2f} ({low:.2f} to {high:.2f})"], detail


def plot(curves: dict[str, list[Point]], path: Path) -> bool:
    """Seconds a sweep against N, D and K, side by side, log-log; False where matplotlib is not installed."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(curves), figsize=(4.0 * len(curves), 3.4), sharey=False, layout="constrained")
    for axis, (name, points) in zip(axes, curves.items(), strict=True):
        sizes, seconds = [getattr(point, name) for point in points], [point.seconds * 1e3 for point in points]
        axis.loglog(sizes, seconds, "o-", color="#1f5fa8", markersize=4, linewidth=1.5, label="a whole sweep")
        power = 2 if name == "D" else 1
        last = np.array([sizes[0], sizes[-1]], float)
        axis.loglog(
            last,
            seconds[-1] * (last / last[-1]) ** power,
            "--",
            color="0.6",
            linewidth=1.0,
            label=f"proportional to {name}{'$^2$' if power == 2 else ''}",
        )
        others = ", ".join(f"{other} = {getattr(points[0], other):,}" for other in "NDK" if other != name)
        axis.set(xlabel=name, title=others)
        axis.title.set_fontsize(10)
        axis.grid(True, color="0.9", linewidth=0.6)
        axis.set_axisbelow(True)
        axis.legend(frameon=False, fontsize=8)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    axes[0].set_ylabel("ms a sweep, one thread")
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
    return True


def main() -> None:
    options = common.parser("Time a sweep against N, D, K and threads.").parse_args()
    quick = options.quick
    seconds = 0.15 if quick else _POINT_SECONDS
    largest = 6 if quick else 7
    sizes: dict[str, list[tuple[int, int, int]]] = {
        "N": [(10**power, 4, 10) for power in range(3, largest + 1)],
        "D": [(20_000, D, 10) for D in ((1, 2, 4, 16, 64) if quick else (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64))],
        "K": [(50_000, 4, K) for K in ((1, 3, 10, 50, 200) if quick else (1, 2, 3, 5, 10, 20, 50, 100, 200))],
    }
    begun = time.perf_counter()
    common.settled_chain(common.mixture(200, 2, 2), 2, draws=1)
    compile_seconds = time.perf_counter() - begun
    print(common.describe(common.environment()))
    with common.one_blas_thread(), common.OtherLoad() as load:
        curves: dict[str, list[Point]] = {}
        for name, points in sizes.items():
            say(f"{name} ...")
            curves[name] = [measure(N, D, K, seconds) for N, D, K in points]
            if name == "N":
                curves[name].append(measure(*points[-1], seconds, np.float32))
            print(f"\nOne sweep against {name}, one thread\n")
            header = ["N", "D", "K", "X", "a sweep", "ns / (observation, component)", "GFLOP/s of the label pass"]
            print(common.table(header, (point.row() for point in curves[name])))
        say("threads ...")
        cases = ((150, 4, 3, 2), (10_000, 4, 10, 2), (200_000, 4, 10, 2), (10**6, 4, 10, 2), (10**6, 4, 10, 1))
        rows, details = zip(*(thread_rows(*case, 3 if quick else 7) for case in cases), strict=True)
        print("\nThreads: sampling of fit() after its set-up\n")
        header = ["N", "D", "K", "chains", "1 thread, ms a draw of all chains", "2 threads", "speed-up (quartiles)"]
        print(common.table(header, rows))

    lines = {name: [point for point in points if point.dtype == "float64"] for name, points in curves.items()}
    slopes = {}
    for name, line in lines.items():
        first, last = line[-2:]
        slopes[name] = math.log(last.seconds / first.seconds) / math.log(getattr(last, name) / getattr(first, name))
    print("\nGrowth at the upper end: " + ", ".join(f"{name}^{slope:.2f}" for name, slope in slopes.items()) + ".")
    if load.share is not None:
        print(f"Of the machine, other processes took {load.share:.0%}.")
    payload = {
        "curves": {name: [point.to_dict() for point in points] for name, points in curves.items()},
        "threads": details,
        "growth": slopes,
        "load_of_others": load.share,
        "first_chain_in_this_process_seconds": compile_seconds,
    }
    common.write("scaling", payload, quick)
    if not plot(lines, common.results_folder(quick) / "scaling.png"):
        say("matplotlib is not installed: no figure")


if __name__ == "__main__":
    main()
