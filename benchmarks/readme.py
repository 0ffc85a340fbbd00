"""Fill the tables of the READMEs from ``benchmarks/results``: ``python -m benchmarks.readme [--check]``.

A table stands between ``<!-- results: NAME -->`` and ``<!-- end of results -->``; what is written between them by hand
is lost. ``--check`` changes nothing, and fails where a table is not what the results say.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from typing import Any

from benchmarks import common, examples, scaling, stages
from benchmarks.common import Figure
from benchmarks.peers import tables as peers
from benchmarks.quality import tables as quality

DOCUMENTS = (common.ROOT.parent / "README.md", common.ROOT / "README.md")
_BLOCK = re.compile(r"(<!-- results: (.*?) -->\n).*?(<!-- end of results -->)", re.DOTALL)


def _results(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((common.results_folder(False) / f"{name}.json").read_text(encoding="utf-8"))
    return content


def _machine(content: dict[str, Any]) -> str:
    """Where the numbers come from, in a sentence."""
    loads = content.get("load_of_others")
    values = list(loads.values()) if isinstance(loads, dict) else loads if isinstance(loads, list) else [loads]
    known = [load for load in values if load is not None]
    machine = content["environment"]
    of = f"{machine['cpu']} ({machine['llvm_cpu']}), {machine['cores']} cores"
    busy = f", of which other processes took {min(known):.0%} to {max(known):.0%}" if known else ""
    return f"Measured on {of}{busy}."


def figures(name: str) -> str:
    """The figures of a benchmark, those with a target first met or missed as they are."""
    content = _results(name)
    fields = ("name", "target", "least", "measured", "unit", "note", "fair")
    rows = [Figure(**{key: figure[key] for key in fields if key in figure}).row() for figure in content["figures"]]
    return _machine(content) + "\n\n" + common.table(["figure", "target", "measured", "", "note"], rows)


def curves() -> str:
    """A sweep against N, D and K."""
    content = _results("scaling_quick")
    fields = [field.name for field in scaling.dataclasses.fields(scaling.Point)]
    points = [
        scaling.Point(**{key: point[key] for key in fields}) for line in content["curves"].values() for point in line
    ]
    header = ["N", "D", "K", "X", "a sweep", "ns / (observation, component)", "GFLOP/s of the label pass"]
    return _machine(content) + "\n\n" + common.table(header, [point.row() for point in points])


def waiting() -> str:
    """How long a person waits."""
    content = _results("waiting")
    rows = []
    for entry in content["results"]:
        name = f"`{entry['name']}`" if entry["name"].startswith("gibbs") else entry["name"]
        limit, clock, cpu = (f"{entry[what]:.3g} s" for what in ("at_most", "seconds", "cpu_seconds"))
        rows.append([name, entry["until"], limit, clock, cpu])
    return _machine(content) + "\n\n" + common.table(["", "until", "at most", "by the clock", "of the CPU"], rows)


def a_million_rows() -> str:
    """The stages of a fit of a million rows."""
    content = _results("stages")
    names = [name for name, found in content.items() if isinstance(found, dict) and "stages" in found]
    return _machine(content) + "".join(f"\n\n{name}\n\n{stages.table(content[name])}" for name in names)


def _peers(part: Callable[[list[dict[str, Any]]], str]) -> str:
    content = _results("peers")
    return _machine(content) + "\n\n" + part(content["runs"])


BLOCKS: dict[str, Callable[[], str]] = {
    "counts": lambda: figures("counts"),
    "kernels": lambda: figures("kernels"),
    "latent": lambda: figures("latent"),
    "mixing": lambda: figures("mixing"),
    "partitions": lambda: figures("partitions"),
    "predict": lambda: figures("predict"),
    "scaling": curves,
    "stages": a_million_rows,
    "waiting": waiting,
    "speed": lambda: _peers(peers.shortest),
    "example": lambda: f"```text\n{examples.shown('readme')}```",
    "peers": lambda: _peers(peers.overview),
    "peers, cost": lambda: _peers(peers.costs),
    "peers, figures": lambda: _peers(peers.figures_table),
    "peers, whole": lambda: _peers(peers.whole),
    "quality": lambda: quality.tables(_results("quality")),
}


def filled(text: str) -> str:
    """The document with its tables as the results say."""
    return _BLOCK.sub(lambda found: f"{found[1]}\n{BLOCKS[found[2]]()}\n\n{found[3]}", text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing; fail where a table is out of date")
    check = parser.parse_args().check
    stale = []
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        if (new := filled(text)) != text:
            stale.append(str(path.relative_to(common.ROOT.parent)))
            if not check:
                path.write_text(new, encoding="utf-8")
    if check and stale:
        sys.exit(f"not what the results say: {', '.join(stale)}; run python -m benchmarks.readme")


if __name__ == "__main__":
    main()
