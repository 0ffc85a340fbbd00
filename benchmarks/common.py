"""What every benchmark needs: the machine in words, interleaved timing, chains as ``fit`` builds them, tables, JSON."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any
from unittest import mock

import llvmlite.binding
import numpy as np
import numpy.typing as npt
import threadpoolctl

import gibbs_gmm
from gibbs_gmm.kernels.sampler import sweep as kernels
from gibbs_gmm.posterior.standing import standing
from gibbs_gmm.sampler.chain import _BATCH_SECONDS, Chain
from gibbs_gmm.sampler.progress import Progress
from gibbs_gmm.sampler.run import run
from gibbs_gmm.threads import cores as cores

FloatArray = npt.NDArray[np.float64]
AnyArray = npt.NDArray[Any]

ROOT = Path(__file__).parent
DATA_SETS = ("iris", "thyroid", "wine", "faithful", "galaxies", "acidity")
LABELLED = ("iris", "thyroid", "wine", "penguins", "crabs", "diabetes", "ais", "olive", "fgl", "biopsy")
_LABELS = {"species", "Diagnosis", "cultivar", "label"}  # names of the columns that only score
_RESULTS = ROOT / "results"

_FIT = sys.modules[gibbs_gmm.fit.__module__]  # the module of fit(), whatever it is called


# --- The machine ------------------------------------------------------------------------------------------------------


def environment() -> dict[str, Any]:
    """Processor, cores and versions; nothing that names the machine or its folders."""
    blas = [
        f"{entry['internal_api']} {entry['version']} ({entry.get('architecture', 'unknown')})"
        for entry in threadpoolctl.threadpool_info()
        if entry["user_api"] == "blas"
    ]
    return {
        "cpu": _cpu_model(),
        "llvm_cpu": llvmlite.binding.get_host_cpu_name(),
        "cores": cores(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in ("numpy", "scipy", "numba", "llvmlite", "scikit-learn")},
        "blas": sorted(set(blas)),
        "gibbs-gmm": metadata.version("gibbs-gmm"),
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def one_blas_thread() -> AbstractContextManager[Any]:
    """A context in which BLAS uses one thread."""
    limits: AbstractContextManager[Any] = threadpoolctl.threadpool_limits(1)
    return limits


class OtherLoad:
    """Which share of the machine other processes took while this ran (Linux; None elsewhere): how noisy a run was."""

    def __enter__(self) -> OtherLoad:
        self._begun = _cpu_seconds()
        self.share: float | None = None
        return self

    def __exit__(self, *_: object) -> None:
        if self._begun is not None and (end := _cpu_seconds()) is not None:
            busy, total, own = (b - a for a, b in zip(self._begun, end, strict=True))
            self.share = max(0.0, busy - own) / total if total > 0.0 else 0.0


def _cpu_seconds() -> tuple[float, float, float] | None:
    """Busy and total seconds of all cores since boot, and seconds of this process and its children."""
    try:
        first = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    except OSError:
        return None
    user, nice, system, idle, iowait, irq, softirq, steal = (int(field) for field in first)
    busy, tick = user + nice + system + irq + softirq + steal, os.sysconf("SC_CLK_TCK")
    own = os.times()
    return busy / tick, (busy + idle + iowait) / tick, sum(own[:4])


# --- Timing -----------------------------------------------------------------------------------------------------------


def interleave(
    tasks: Mapping[str, Callable[[], object]], repeats: int, clock: Callable[[], float] = time.process_time
) -> dict[str, list[float]]:
    """Seconds of each task, ``repeats`` times in turn (A, B, A, B, ...): what disturbs one disturbs the others too.

    The clock is the CPU time of the process. For work on one thread it is what the wall would show on an idle machine,
    and it does not count the time that other processes hold the core. Pass ``time.perf_counter`` where threads matter.
    """
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(repeats):
        for name, task in tasks.items():
            begun = clock()
            task()
            seconds[name].append(clock() - begun)
    return seconds


def medians(seconds: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {name: statistics.median(values) for name, values in seconds.items()}


def ratio_range(above: Sequence[float], below: Sequence[float]) -> tuple[float, float]:
    """Lower and upper quartile of the ratios of neighbouring runs: how far the machine's noise reaches."""
    low, high = np.quantile(np.array(above) / np.array(below), [0.25, 0.75])
    return float(low), float(high)


def noise(above: Sequence[float], below: Sequence[float], factor: float = 1.0) -> str:
    """:func:`ratio_range` in words, times a factor."""
    low, high = ratio_range(above, below)
    return f"quartiles {low * factor:.3g} to {high * factor:.3g}"


# --- Data and chains --------------------------------------------------------------------------------------------------


def data_set(name: str) -> tuple[FloatArray, AnyArray | None]:
    """The rows of ``data/name.csv``, and the labels that it came with, numbered, if any."""
    with open(ROOT.parent / "data" / f"{name}.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    column = next(iter(_LABELS & rows[0].keys()), None)
    X = np.array([[float(value) for key, value in row.items() if key != column] for row in rows])
    return X, np.unique([row[column] for row in rows], return_inverse=True)[1] if column else None


def iris() -> FloatArray:
    """150 flowers, 4 measurements."""
    return data_set("iris")[0]


def mixture(N: int, D: int, K: int, dtype: type = np.float64, seed: int = 0, apart: float = 5.0) -> AnyArray:
    """N rows from K normal components, some of which overlap; rows in random order. Made in chunks, in place.

    ``apart`` is the standard deviation of their means, theirs in each direction being about 1.
    """
    rng = np.random.default_rng(seed)
    means = apart * rng.standard_normal((K, D))
    spread = np.eye(D) + 0.5 * rng.standard_normal((K, D, D)) / np.sqrt(D)
    X: AnyArray = np.empty((N, D), dtype)
    for start in range(0, N, 1 << 16):
        size = min(1 << 16, N - start)
        rows, z = rng.standard_normal((size, D)), rng.integers(K, size=size)
        for k in range(K):
            rows[z == k] = means[k] + rows[z == k] @ spread[k]
        X[start : start + size] = rows
    return X


class _Built(Exception):
    """Carries the chains out of ``fit``."""

    def __init__(self, chains: list[Chain]) -> None:
        self.chains = chains


def build_chains(X: AnyArray, n_components: Any, **settings: Any) -> list[Chain]:
    """The chains that ``fit(X, n_components, **settings)`` runs, as it builds them, before their first sweep."""

    def stop(chains: list[Chain], *_: object, **__: object) -> None:
        raise _Built(chains)

    with mock.patch.object(_FIT, "run", stop):
        try:
            gibbs_gmm.fit(X, n_components, progress=False, **settings)
        except _Built as built:
            return built.chains
    raise RuntimeError("fit() returned without calling run()")


def settled_chain(X: AnyArray, K: int, draws: int, warmup: int = 20, save_assignments: bool = True) -> Chain:
    """One chain that has been through a warm-up, with room for ``draws`` draws; its kernels are compiled."""
    settings = {"draws": draws, "warmup": warmup, "thin": 1, "chains": 1, "rng": 1}
    settings["save_assignments"] = save_assignments
    (chain,) = build_chains(X, K, **settings)
    while chain.sweeps_done < warmup:
        chain.advance(None)
    sweep(chain, 1)
    return chain


def sweep(chain: Chain, sweeps: int) -> None:
    """``sweeps`` sweeps as ``fit`` makes them after warm-up, in one batch, each written into the trace from row 0.

    Where a draw has more clusters than there is room for, the chain makes room, and the sweeps left follow.
    """
    done, slots = 0, -1
    while done < sweeps:
        if chain.slots == slots:
            raise ValueError(f"{sweeps} sweeps do not fit into one batch of this chain")
        slots = chain.slots
        chain.sweeps_done = chain.plan.warmup
        chain._seconds_per_sweep = _BATCH_SECONDS / (sweeps - done + 0.5)  # the chain sizes its batch by this
        done += chain.advance(None)


@contextmanager
def without_moves(chain: Chain) -> Iterator[None]:
    """Sweeps without split-merge moves: parameters and labels alone."""
    tuner, names = chain.tuner, ("launches", "recalls", "row_by_row", "seeded", "searched")
    rates = {name: getattr(tuner, name) for name in names}
    vars(tuner).update(dict.fromkeys(names, 0.0))
    try:
        yield
    finally:
        vars(tuner).update(rates)


def label_statistics_pass(chain: Chain) -> None:
    """Labels and statistics of all rows: the part of a sweep whose cost grows with N."""
    kernels.label_task(chain.data, chain.state, False, 0, kernels.n_shards(chain.data.X.shape[0]))


def run_again(chains: list[Chain], threads: int) -> None:
    """Run chains from :func:`build_chains` to their end, as ``fit`` does; those already there start over."""
    for chain in chains:
        chain.sweeps_done = 0
    run(chains, threads, Progress(False), standing)


# --- Results ----------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Figure:
    """One measured figure and its target; ``least`` says whether the target is a least or a largest value.

    Without a target it is there for comparison; ``fair`` is False where the machine itself was too busy to reach it.
    """

    name: str
    target: float | None
    least: bool
    measured: float
    unit: str
    note: str = ""
    fair: bool = True

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None without a target, or if missing it says nothing."""
        if self.target is None:
            return None
        met = self.measured >= self.target if self.least else self.measured <= self.target
        return True if met else False if self.fair else None

    def row(self) -> list[str]:
        """Its line in the table."""
        unit = f" {self.unit}" if self.unit else ""
        target = "-" if self.target is None else f"at {'least' if self.least else 'most'} {self.target:g}{unit}"
        verdict = {True: "met", False: "**missed**", None: "-" if self.target is None else "cannot tell"}[self.met]
        return [self.name, target, f"{self.measured:.3g}{unit}", verdict, self.note]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**dataclasses.asdict(self), "met": self.met}


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    cells = [list(header), *(list(row) for row in rows)]
    widths = [max(3, *(len(row[i]) for row in cells)) for i in range(len(header))]
    cells.insert(1, ["-" * width for width in widths])
    padded = ([cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in cells)
    return "\n".join(f"| {' | '.join(row)} |" for row in padded)


def describe(machine: Mapping[str, Any]) -> str:
    """One line on where the numbers come from."""
    versions = ", ".join(f"{name} {machine[name]}" for name in ("python", "numpy", "scipy", "numba", "scikit-learn"))
    processor = f"{machine['cpu']} ({machine['llvm_cpu']}), {machine['cores']} cores"
    return f"{processor}; {versions}; {'; '.join(machine['blas'])}"


def results_folder(scratch: bool) -> Path:
    """``benchmarks/results``, or for runs that are not whole its ``scratch``, which git does not see."""
    folder = _RESULTS / "scratch" if scratch else _RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write(name: str, payload: Mapping[str, Any], scratch: bool, quiet: bool = False) -> None:
    """The payload beside the machine and the load it met, as JSON."""
    content = {"benchmark": name, "quick": scratch, "environment": environment(), **payload}
    path = results_folder(scratch) / f"{name}.json"
    scratch_path = path.with_suffix(".part")  # whole or not at all: what was there before is not lost to a full disk
    scratch_path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    scratch_path.replace(path)
    if not quiet:
        say(f"written: benchmarks/{path.relative_to(ROOT)}")


def parser(description: str) -> argparse.ArgumentParser:
    """The options that all benchmarks share."""
    result = argparse.ArgumentParser(description=description)
    result.add_argument("--quick", action="store_true", help="fewer repeats and sizes; results go to results/scratch")
    return result


def say(text: str) -> None:
    """What is being done, on standard error, so that standard output is the tables alone."""
    print(text, file=sys.stderr, flush=True)
