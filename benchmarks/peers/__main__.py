"""This package beside others, on the same data, on the same machine, in turn.

Three parts: ``known`` and ``unknown`` n on data sets (effective draws a second, and whether answers agree), and the
``cost`` of an iteration on simulated mixtures. Each run is written down when it is over; ``--resume`` keeps those of an
interrupted benchmark. Tables and the picture are made from ``benchmarks/results/peers.json`` by ``--tables`` alone.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterator
from typing import Any

from benchmarks import common
from benchmarks.common import say
from benchmarks.peers import cases, tables
from benchmarks.peers.registry import OURS, SYSTEMS, System
from benchmarks.peers.runner import Bench, Run

PARTS = ("known", "unknown", "cost")
_NAMES = [system.name for system in SYSTEMS]
_ENVIRONMENTS = sorted({system.environment for system in SYSTEMS if system.needs and not system.is_r})
_LARGE = 10_000  # from so many rows on fewer draws are kept


class Book:
    """The runs so far, on disk after each."""

    def __init__(self, args: argparse.Namespace, whole: bool) -> None:
        self.whole = whole
        self.path = common.results_folder(not whole) / "peers.json"
        self.runs: list[Run] = []
        self.loads: list[float | None] = []
        if args.resume and self.path.exists():
            before = json.loads(self.path.read_text())
            self.runs = [run for run in before["runs"] if not run.get("failed", "").startswith("not installed")]
            self.loads = before["load_of_others"]

    def has(self, **what: Any) -> bool:
        """Whether this has been run already."""
        return any(all(run.get(key) == value for key, value in what.items()) for run in self.runs)

    def add(self, run: Run, load: float | None) -> None:
        """Write it down."""
        self.runs.append(run)
        self.loads.append(load)
        payload = {"runs": self.runs, "load_of_others": self.loads}
        common.write("peers", payload, not self.whole, quiet=True)


def _arguments() -> argparse.Namespace:
    parser = common.parser(__doc__.splitlines()[0])
    parser.add_argument("--part", nargs="+", choices=PARTS, default=PARTS, help="parts to run")
    parser.add_argument("--data", nargs="+", default=None, metavar="NAME", help="data sets to run on, by name")
    parser.add_argument("--system", nargs="+", choices=_NAMES, default=None, metavar="NAME",
                        help="systems to run: " + ", ".join(_NAMES))  # fmt: skip
    parser.add_argument("--resume", action="store_true", help="keep the runs of an interrupted benchmark")
    parser.add_argument("--tables", action="store_true", help="run nothing, show the last results again")
    parser.add_argument("--install", nargs="+", choices=_ENVIRONMENTS,
                        help="make the environment of a system, then stop")  # fmt: skip
    return parser.parse_args()


def _posterior(known: bool, args: argparse.Namespace) -> Iterator[tuple[cases.Case, System, str, dict[str, Any]]]:
    """The runs on data sets: the case, the system, the model, the seed and the settings."""
    chosen = cases.real()[: 2 if args.quick else None]
    if known and not args.quick:
        chosen += [cases.simulated(1_000, 2, 3), cases.simulated(10_000, 4, 10)]
    models = ("known",) if known else ("dp", "dp_gamma", "mfm")
    for case in chosen:
        most = 50_000 if len(case.X) < _LARGE else 1_000
        settings = {"keep": True, "seconds": 2.0 if args.quick else 5.0, "draws": most, "seed": 1}
        for model in models:
            ours = next(system for system in SYSTEMS if system.name == OURS)
            long = {"seed": 1001, "seconds": 4 * settings["seconds"], "draws": most // 5, "reference": True}
            yield case, ours, model, {**settings, **long}
            for system in SYSTEMS:
                if model in system.models and case.name in system.data.get(model, [case.name]):
                    yield case, system, model, {**settings, "seconds": system.patience * settings["seconds"]}


def _answers(known: bool, args: argparse.Namespace, book: Book) -> None:
    """A part on data sets."""
    limit = 120.0 if args.quick else 180.0
    todo = [
        (case, system, model, settings)
        for case, system, model, settings in _posterior(known, args)
        if (args.data is None or case.name in args.data)
        and (args.system is None or system.name in args.system or "reference" in settings)
        and not book.has(case=case.name, model=model, system=system.name, reference="reference" in settings)
    ]
    for _, runs in itertools.groupby(todo, key=lambda run: run[0].name):
        of_case = list(runs)
        case = of_case[0][0]
        with Bench(case, case.n if known else 10) as bench:
            for _, system, model, settings in of_case:
                reference = "reference" in settings
                say(f"{case.name}, {model}: {'the reference' if reference else system.name}")
                with common.OtherLoad() as load:
                    run = bench.run(system, model, limit + 5 * settings["seconds"], **settings)
                book.add({**run, "reference": reference}, load.share)


def _costs(args: argparse.Namespace, book: Book) -> None:
    """The part on simulated mixtures: as many iterations as take a few seconds, small sizes first."""
    limit = 60.0 if args.quick else 150.0
    for axis, sizes in cases.sizes(args.quick).items():
        stopped: dict[str, str] = {}
        for N, D, K in sizes:
            name = f"N={N:,} D={D} K={K}"
            systems = [s for s in SYSTEMS if s.costs and (args.system is None or s.name in args.system)]
            todo = [s for s in systems if not book.has(case=name, axis=axis, system=s.name)]
            if (args.data and name not in args.data) or not todo:
                continue
            with Bench(cases.simulated(N, D, K), K) as bench:
                for system in todo:
                    say(f"cost, {name}: {system.name}")
                    with common.OtherLoad() as load:
                        if system.name in stopped:
                            run = {"case": name, "system": system.name, "failed": stopped[system.name]}
                        else:
                            settings = {
                                "keep": False,
                                "seconds": 1.0 if args.quick else 3.0,
                                "draws": 1000,
                                "seed": 1,
                                "chains": 1,
                            }
                            run = bench.run(system, "known", limit, **settings)
                    if "stopped" in run.get("failed", "") or "exit" in run.get("failed", ""):
                        stopped.setdefault(system.name, f"{run['failed']} at {name}")
                    book.add({**run, "axis": axis, "N": N, "D": D, "K": K}, load.share)


def main() -> None:
    args = _arguments()
    if args.install:
        for system in {s.environment: s for s in SYSTEMS if s.environment in args.install}.values():
            system.install()
        return
    whole = not args.quick and tuple(args.part) == PARTS and args.data is None and args.system is None
    book = Book(args, whole)
    if not args.tables:
        if "known" in args.part:
            _answers(True, args, book)
        if "unknown" in args.part:
            _answers(False, args, book)
        if "cost" in args.part:
            _costs(args, book)
    content = json.loads(book.path.read_text())
    tables.report(content, book.path.parent)


if __name__ == "__main__":
    main()
