"""Run the parts, print the tables and write the results."""

from __future__ import annotations

import json
import time

from benchmarks import common, quality
from benchmarks.common import Figure
from benchmarks.quality.calibration import calibration, reliability_tables
from benchmarks.quality.coverage import coverage
from benchmarks.quality.held_out import held_out
from benchmarks.quality.labels import labels
from benchmarks.quality.tables import tables


def main() -> None:
    parts = {"coverage": coverage, "calibration": calibration, "held out": held_out, "labels": labels}
    parser = common.parser(str(quality.__doc__).splitlines()[0])
    parser.add_argument("--part", choices=parts, nargs="+", default=list(parts), help="parts to run; others stay as is")
    args = parser.parse_args()
    quick, path = args.quick, common.results_folder(args.quick) / "quality.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    details, loads = before.get("details", {}), before.get("load_of_others", {})
    if missing := set(parts) - set(args.part) - set(details):
        parser.error(f"--part: there are no results yet of {', '.join(sorted(missing))}; run all parts first")
    for name in args.part:
        begun = time.perf_counter()
        with common.OtherLoad() as load:
            found, details[name] = parts[name](quick)
        loads[name], details[name]["seconds"] = load.share, time.perf_counter() - begun
        details[name]["figures"] = [figure.to_dict() for figure in found]
    figures = [
        Figure(**{k: v for k, v in f.items() if k != "met"}) for part in details.values() for f in part["figures"]
    ]
    payload = {"load_of_others": loads, "details": details}
    print(common.describe(common.environment()))
    print(f"\n{tables(payload)}\n\n{reliability_tables(details['calibration'])}\n")
    judged = [figure for figure in figures if figure.target is not None]
    print(common.table(["figure", "target", "measured", "", "note"], [figure.row() for figure in judged]))
    for name in ("coverage", "calibration"):
        unmet = "; ".join(f"{key} {share:.1%}" for key, share in details[name]["r_hat_above_1.05"].items())
        print(f"\nData sets with an R-hat above 1.05, {name}: {unmet}", end="")
    print("\nLargest R-hat of n+ in a fold: ", end="")
    print(", ".join(f"{data['data']} {data['r_hat']:.3f}" for data in details["held out"]["data_sets"]))
    took = ", ".join(f"{name} {part['seconds']:.0f} s" for name, part in details.items())
    print(f"Took {took}; other processes took " + ", ".join(f"{share or 0:.0%}" for share in loads.values()))
    common.write("quality", payload, quick)


if __name__ == "__main__":
    main()
