"""Run the examples and keep what they print."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import Any

from matplotlib.figure import Figure

from benchmarks import examples
from gibbs_gmm import plots


def picture(trace: Any, X: Any) -> None:
    """The picture of the README: two columns of Iris, how many clusters, and who is sure."""
    figure = Figure(figsize=(11.0, 5.6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.15, 1.0))
    trace = dataclasses.replace(trace, columns=("sepal length", "sepal width", "petal length", "petal width"))
    plots.pairs(trace, X, left.subplots(2, 2), columns=["sepal width", "petal length"])
    top, bottom = right.subfigures(2, 1, height_ratios=(1.0, 1.0))
    for ax, name in zip(plots.n_posterior(trace, top.subplots(1, 2)), ("components", "clusters"), strict=True):
        ax.set_xlabel(f"number of {name}", fontsize=9)
    plots.membership(trace, bottom.subplots())
    figure.savefig(examples.PICTURE, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=examples.__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[[], *examples.NAMES], help="which ones; all by default")
    names = parser.parse_args().names or examples.NAMES
    path = examples.RESULTS / "examples.json"
    printed = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for name in names:
        printed[name], variables = examples.run(name)
        print(f"--- {name}\n{printed[name]}")
        if name == "readme":
            picture(variables["trace"], variables["X"])
    path.write_text(json.dumps(printed, indent=1) + "\n", encoding="utf-8")
    parts = ["# Worked examples", "Made by `python -m benchmarks.examples`."]
    for name in examples.NAMES[1:]:
        source = examples.code(name)
        title = source.splitlines()[0].strip('"')
        body = source.split('"""\n', 1)[1].strip() if source.count('"""') == 2 else source.split("\n", 1)[1].strip()
        parts += [f"## {title}", f"```python\n{body}\n```", f"```text\n{printed[name].rstrip()}\n```"]
    (examples.RESULTS / "examples.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
