"""Run the parts, candidate by candidate, and write each result when it is there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from benchmarks import common, prior_study
from benchmarks.common import say
from benchmarks.prior_study import tables
from benchmarks.prior_study.candidates import CANDIDATES
from benchmarks.prior_study.cases import case_sets
from benchmarks.prior_study.kinds import narrow_sets, redundant_sets, rounded_sets
from benchmarks.prior_study.scores import Result, density, score
from benchmarks.prior_study.sets import Data, real_sets, simulated_sets

PARTS: dict[str, Callable[[], list[Data]]] = {
    "real": real_sets,
    "simulated": lambda: [*simulated_sets(2, 1000), *simulated_sets(2, 5000)],
    "narrow": narrow_sets,
    "redundant": redundant_sets,
    "rounded": rounded_sets,
    "cases": case_sets,
    "density": real_sets,
}


def key(result: Result) -> tuple[str, str, str, int]:
    """What a result is of: a later one with the same key replaces it."""
    return result["part"], result["candidate"], result["data"], result["seed"]


def stored(quick: bool) -> list[Result]:
    """All results so far."""
    path = common.results_folder(quick) / "prior_study.json"
    found: list[Result] = json.loads(path.read_text(encoding="utf-8"))["results"] if path.exists() else []
    return found


def store(new: Iterable[Result], quick: bool) -> None:
    """Merge results into those stored, which other runs may have added to."""
    merged = {key(result): result for result in (*stored(quick), *new)}
    order = {part: i for i, part in enumerate(PARTS)}
    results = sorted(merged.values(), key=lambda result: order[result["part"]])
    lines = ",\n".join(json.dumps(_short(result)) for result in results)
    text = f'{{"environment": {json.dumps(common.environment())},\n"results": [\n{lines}\n]}}\n'
    path = common.results_folder(quick) / "prior_study.json"
    part = path.with_suffix(".part")  # whole or not at all
    part.write_text(text, encoding="utf-8")
    part.replace(path)
    page = tables.page(results, PARTS)
    (common.results_folder(quick) / "prior_study.md").write_text(page + "\n", encoding="utf-8")


def _short(value: Any) -> Any:
    """Floats to four digits, in dictionaries and lists too: files of thousands of results stay small."""
    if isinstance(value, dict):
        return {name: _short(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_short(inner) for inner in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def main() -> None:
    parser = common.parser(str(prior_study.__doc__).splitlines()[0])
    parser.add_argument("--part", choices=PARTS, nargs="+", default=list(PARTS), help="parts to run (default: all)")
    parser.add_argument(
        "--candidate", choices=CANDIDATES, nargs="+", default=list(CANDIDATES), help="candidates to run (default: all)"
    )
    parser.add_argument("--data", nargs="+", help="only data sets whose names begin so")
    parser.add_argument("--seed", type=int, default=1, help="of the chains (default 1)")
    parser.add_argument("--resume", action="store_true", help="skip what has a result")
    args = parser.parse_args()
    for part in args.part:
        sets = [data for data in PARTS[part]() if not args.data or data.name.startswith(tuple(args.data))]
        for candidate in args.candidate:
            done = {key(result) for result in stored(args.quick)} if args.resume else set()
            for data in sets[:: 5 if args.quick else 1]:
                name: Result = {"part": part, "candidate": candidate, "data": data.name, "seed": args.seed}
                if key(name) in done:
                    continue
                found = (density if part == "density" else score)(data, candidate, args.seed)
                store([name | found], args.quick)
                what = found["failure"] or ", ".join(
                    f"{field} {found[field]:.3g}"
                    for field in ("ari", "p_true", "mean", "log_density", "seconds")
                    if field in found
                )
                say(f"{part}, {candidate}, {data.name}: {what}")
    print(tables.page(stored(args.quick), args.part))


if __name__ == "__main__":
    main()
