"""4. Known labels."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
from typing import Any

import numpy as np
from sklearn.metrics import adjusted_rand_score

import gibbs_gmm as gg
from benchmarks import common
from benchmarks.common import Figure, say
from benchmarks.quality.shared import spread

_R_SCRIPT = common.ROOT / "peers" / "systems" / "mclust_labels.R"
_INSTALL = "apt-get install r-base-core r-cran-mclust r-cran-jsonlite"
_MOST = 20  # clusters that mclust tries
OURS, BEST, FULL = "gibbs_gmm, fit(X)", "mclust, best family by BIC", "mclust, full covariances"


@functools.cache
def has_mclust() -> bool:
    """Whether R is here, with what the script needs."""
    if (program := shutil.which("Rscript")) is None:
        return False
    code = 'quit(status = !all(sapply(c("mclust", "jsonlite"), requireNamespace, quietly = TRUE)))'
    return subprocess.run([program, "--vanilla", "-e", code], capture_output=True, check=False).returncode == 0


def by_mclust(name: str) -> dict[str, Any]:
    """Adjusted Rand index, number of clusters and family of covariances of both answers; index 0 without an answer."""
    X, labels = common.data_set(name)
    rows = "\n".join(",".join(repr(float(value)) for value in row) for row in X)
    program = ["Rscript", "--vanilla", str(_R_SCRIPT), str(_MOST)]
    found = json.loads(subprocess.run(program, input=rows + "\n", capture_output=True, text=True, check=True).stdout)
    result: dict[str, Any] = {"version": found["version"]}
    for system, key in ((BEST, "best"), (FULL, "full")):
        answer = found[key]
        if answer is None:
            result[system] = {"ari": 0.0, "note": "no fit"}
        else:
            ari = float(adjusted_rand_score(labels, answer["labels"]))
            result[system] = {"ari": ari, "n": answer["n"], "note": answer["family"]}
    return result


def by_default(name: str) -> dict[str, Any]:
    """The same of the one partition of ``fit(X)``; index 0 where it fails."""
    X, labels = common.data_set(name)
    try:
        trace = gg.fit(X, rng=9, threads=1, progress=False)
    except gg.NumericalError:
        return {"ari": 0.0, "note": "failed"}
    partition = trace.partition()
    ari = float(adjusted_rand_score(labels, partition.labels))
    return {"ari": ari, "n": partition.n_clusters, "note": ""}


def labels(quick: bool) -> tuple[list[Figure], dict[str, Any]]:
    """Part 4."""
    names = common.LABELLED[:: 3 if quick else 1]
    found = {OURS: spread(by_default, [(name,) for name in names], "labels")}
    details: dict[str, Any] = {"data_sets": list(names), "systems": found}
    if has_mclust():
        theirs = spread(by_mclust, [(name,) for name in names], "labels, mclust")
        found |= {system: [answers[system] for answers in theirs] for system in (BEST, FULL)}
        details["mclust"] = theirs[0]["version"]
    else:
        say(f"mclust is left out: Rscript with mclust and jsonlite was not found; {_INSTALL}")
    figures = []
    for system, answers in found.items():
        mean = float(np.mean([answer["ari"] for answer in answers]))
        target = 0.72 if system == OURS else None
        figures.append(Figure(f"{system}: mean adjusted Rand index of labelled sets", target, True, mean, ""))
    return figures, details


def labels_table(details: dict[str, Any]) -> str:
    """The adjusted Rand index, and the number of clusters found, a row for each system."""
    rows = []
    for system, answers in details["systems"].items():
        cells = [f"{a['ari']:.2f}; {' '.join(str(a[key]) for key in ('n', 'note') if a.get(key))}" for a in answers]
        rows.append([system, f"{np.mean([a['ari'] for a in answers]):.3f}", *cells])
    version = f" (mclust {details['mclust']}, at most {_MOST} clusters)" if "mclust" in details else ""
    return (
        "Adjusted Rand index of the one partition against known labels (1: the same, 0: by chance, or a failure); the "
        f"number of clusters found, and the family of covariances{version}:\n\n"
        f"{common.table(['system', 'mean', *details['data_sets']], rows)}"
    )
