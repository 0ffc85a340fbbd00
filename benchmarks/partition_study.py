"""Which clustering to report where the number is learned: ``python -m benchmarks.partition_study [--quick]``.

48 simulated mixtures of two to four components in 1 to 8 dimensions, at four overlaps (the error of the best possible
rule, that knows all parameters), and the data sets with known labels. On each, of one fit with the defaults:

- matched components: each row to the component that owns it in most of the draws with the most probable n+;
- the partitions of least expected loss (variation of information, Binder's, one minus the adjusted Rand index), as a
  search finds them, and with at most the most probable n+ of clusters.

They are compared by the adjusted Rand index (ARI) against the true labels, and by the posterior probability that n+ is
what they have clusters: an answer with a number that the posterior all but excludes contradicts it. The probabilities
that come with matched components are compared with how often they are right. Results go to
``benchmarks/results/partition_study.json`` and ``partition_study.md``; those of ``--quick`` to ``results/scratch``.
"""

from __future__ import annotations

import itertools
import math
import time
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

import gibbs_gmm as gg
from benchmarks import common
from benchmarks.common import say
from benchmarks.prior_study.scores import adjusted_rand
from benchmarks.prior_study.sets import Data, labelled, simulate
from gibbs_gmm.posterior.numbering import like

LOSSES = ("vi", "binder", "omari")
FORMS = ("matched components", *LOSSES, *(f"{loss}, at most n+" for loss in LOSSES))
_REAL = ("iris", "penguins", "thyroid", "wine")
_ERRORS = (0.01, 0.04, 0.1, 0.16)
_EXCLUDED = 0.05  # probability of n+ below which a number of clusters contradicts the posterior
_CLASSES = (0.0, 0.6, 0.7, 0.8, 0.9, 0.99, 1.01)  # of membership probabilities


def data_sets(per_cell: int) -> list[tuple[Data, float | None]]:
    """Simulated mixtures with their error, ``per_cell`` for each dimension and overlap, and data sets with labels."""
    rng = np.random.default_rng(5)
    sets: list[tuple[Data, float | None]] = []
    for D in (1, 2, 4, 8):
        for error in _ERRORS:
            for _ in range(per_cell):
                N, n = int(rng.choice([100, 250, 500])), int(rng.integers(2, 5))
                sets.append((simulate(N, D, n, error, int(rng.integers(1 << 30))), error))
    return [*sets, *((labelled(name), None) for name in _REAL)]


def study(data: Data, error: float | None) -> dict[str, Any]:
    """One data set: of each form its ARI, its clusters and the probability of so many."""
    begun, labels = time.perf_counter(), data.labels
    assert labels is not None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "fit.*have not met", UserWarning)
        warnings.filterwarnings("ignore", "partition", UserWarning)
        trace = gg.fit(data.X, draws=500, rng=1, progress=False)
        matched = trace.partition()
        J = trace.relabel().n_matched
        found = [matched.labels, *(trace.partition(loss).labels for loss in LOSSES)]
        found += [trace.partition(loss, max_clusters=J).labels for loss in LOSSES]
    p = np.bincount(trace.n_clusters.ravel(), minlength=trace.settings["n_observations"] + 1) / trace.n_clusters.size
    forms = {}
    for name, z in zip(FORMS, found, strict=True):
        clusters = len(np.unique(z))
        forms[name] = {
            "ari": float(adjusted_rand(z[None], labels)[0]),
            "clusters": clusters,
            "probability": float(p[clusters]),
        }
    right = like(matched.labels, labels, J) == matched.labels  # the kinds have the numbers of the clusters they are
    sure = 1.0 - matched.uncertainty
    place = np.digitize(sure, _CLASSES) - 1
    classes = [[float(sure[place == k].sum()), int(right[place == k].sum()), int((place == k).sum())] for k in range(6)]
    say(f"{data.name}: {forms[FORMS[0]]['ari']:.3f} in {time.perf_counter() - begun:.0f} s")
    return {
        "data": data.name,
        "n": int(labels.max()) + 1,
        "shown": J,
        "p_shown": float(p[J]),
        "error": error,
        "met": trace.verdict == "",
        "forms": forms,
        "classes": classes,
    }


def table(results: Sequence[dict[str, Any]]) -> str:
    """Each form by overlap, on the data sets, and how often it contradicts the posterior."""
    simulated = [r for r in results if r["error"] is not None]
    real = [r for r in results if r["error"] is None]
    rows = []
    for form in FORMS:
        by_error = [[r["forms"][form]["ari"] for r in simulated if r["error"] == error] for error in _ERRORS]
        less = np.array([r["forms"][form]["ari"] - r["forms"][FORMS[0]]["ari"] for r in simulated])
        excluded = sum(r["forms"][form]["probability"] < _EXCLUDED for r in results)
        cells = [f"{np.mean(group):.3f}" for group in by_error]
        gain = "" if form == FORMS[0] else f"{less.mean():+.3f} ({less.std() / math.sqrt(len(less)):.3f})"
        cells += [f"{np.mean(np.concatenate(by_error)):.3f}", gain]
        cells += [f"{r['forms'][form]['ari']:.3f} ({r['forms'][form]['clusters']})" for r in real]
        rows.append([form, *cells, f"{excluded} of {len(results)}"])
    errors = [f"error {error:.0%}" for error in _ERRORS]
    names = [str(r["data"]) for r in real]
    return common.table(("clustering", *errors, "simulated", "gain (se)", *names, "contradicts"), rows)


def calibration(results: Sequence[dict[str, Any]]) -> str:
    """Mean membership probability of a row's own cluster, and how often it is right, by classes of it."""
    rows = []
    for name, chosen in (
        ("n+ shown is the true one", [r for r in results if r["shown"] == r["n"]]),
        ("it is not", [r for r in results if r["shown"] != r["n"]]),
    ):
        total = np.sum([r["classes"] for r in chosen], axis=0) if chosen else np.zeros((6, 3))
        cells = [f"{p / n:.3f}: {right / n:.3f}" if n else "-" for p, right, n in total]
        rows.append([name, str(len(chosen)), *cells])
    header = [f"{low:g} to {min(high, 1.0):g}" for low, high in itertools.pairwise(_CLASSES)]
    return common.table(("simulated sets where", "sets", *header), rows)


def main(arguments: Sequence[str] | None = None) -> None:
    quick = common.parser(str(__doc__).splitlines()[0]).parse_args(arguments).quick
    results = [study(data, error) for data, error in data_sets(1 if quick else 3)]
    simulated = [r for r in results if r["error"] is not None]
    page = "\n\n".join(
        (
            "## Which clustering",
            table(results),
            "Mean adjusted Rand index against the true labels, by the error of the best possible rule; its gain on "
            "matched components over all simulated sets (standard error); of each data set, with the number of "
            f"clusters. Contradicts: sets where p(n+ = number of clusters | X) is below {_EXCLUDED}.",
            "## Are membership probabilities right?",
            calibration(simulated),
            "Of matched components: mean probability of a row's own cluster, and the share of rows that are of the "
            "kind that the cluster is, in classes of that probability. They are given that so many clusters there are "
            "as are shown; whether there are is another question, which `trace.headline` answers.",
        )
    )
    print(page)
    (common.results_folder(quick) / "partition_study.md").write_text(page + "\n", encoding="utf-8")
    common.write("partition_study", {"results": results}, quick)


if __name__ == "__main__":
    main()
