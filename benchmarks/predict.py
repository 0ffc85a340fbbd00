"""The cost of predictive densities: ``python -m benchmarks.predict [--quick]``.

The figure is the cost of ``log_density`` for each (row, component, draw), everything included (checks, factorising the
covariances of each draw, averaging), against that of the label pass alone, whose density kernel it shares: ratios of
medians of CPU time, one thread each, in turn within this process. Results go to ``benchmarks/results/predict.json``.
"""

from __future__ import annotations

import dataclasses
from functools import partial

import numpy as np

import gibbs_gmm
from benchmarks import common
from benchmarks.common import Figure, interleave, medians, ratio_range
from benchmarks.pieces import labels_alone

_SIZES = (
    # N, D, K, draws, and whether there is a target: few rows of many columns are mostly factorisation
    (100_000, 4, 20, 20, True),
    (100_000, 4, 3, 50, True),
    (100_000, 2, 3, 50, True),
    (50_000, 16, 20, 10, True),
    (20_000, 32, 32, 6, True),
    (1_000, 4, 20, 500, True),
    (1_000, 16, 20, 200, False),
    (1_000, 32, 32, 60, False),
)


def traces(X: common.AnyArray, K: int, draws: int) -> dict[str, gibbs_gmm.Trace]:
    """A trace of K components, and the same as one of unknown n: the components without observations hold 1%."""
    trace = gibbs_gmm.fit(
        X, K, draws=draws, warmup=20, chains=1, rng=1, threads=1, progress=False, save_assignments=False
    )
    unknown = dataclasses.replace(
        trace,
        weights=0.99 * trace.weights,
        n_components=np.full_like(trace.n_components, K + 1),
        n_clusters=np.full_like(trace.n_clusters, K),
        weight_prior=gibbs_gmm.MixtureOfFiniteMixtures(),
    )
    return {"n known": trace, "n unknown": unknown}


def main() -> None:
    options = common.parser("Measure the cost of predictive densities against the label pass.").parse_args()
    figures, details = [], {}
    with common.OtherLoad() as load:
        for N, D, K, draws, aimed in _SIZES:
            size = f"N={N:,} D={D} K={K}"
            common.say(f"{size} ...")
            X = common.mixture(N, D, K)
            alone = labels_alone(common.settled_chain(X, K, draws=1, save_assignments=False))
            tasks = {"labels": lambda alone=alone, draws=draws: [alone() for _ in range(draws)]}
            for name, trace in traces(X, K, draws).items():
                tasks[name] = partial(trace.log_density, X, threads=1)
                tasks[f"{name}, by draw"] = partial(trace.pointwise_log_density, X, threads=1)
            interleave(tasks, 1)
            seconds = interleave(tasks, 3 if options.quick else 15)
            middle = medians(seconds)
            unit = N * K * draws / 1e9
            for name in list(tasks)[1:]:
                low, high = ratio_range(seconds[name], seconds["labels"])
                figures.append(
                    Figure(
                        f"{'log_density' if 'draw' not in name else 'pointwise_log_density'} / label pass, {size}, "
                        f"{name.removesuffix(', by draw')}",
                        1.3 if aimed else None,
                        False,
                        middle[name] / middle["labels"],
                        "times",
                        f"{middle[name] / unit:.2f} and {middle['labels'] / unit:.2f} ns; "
                        f"quartiles {low:.3g} to {high:.3g}",
                    )
                )
            details[size] = {"draws": draws, "seconds": seconds}
    print(f"{common.describe(common.environment())}\n")
    print(common.table(["figure", "target", "measured", "", "note"], (figure.row() for figure in figures)))
    print(f"\nOf the machine, other processes took {load.share or 0:.0%}.")
    payload = {"figures": [f.to_dict() for f in figures], "load_of_others": load.share, "details": details}
    common.write("predict", payload, options.quick)


if __name__ == "__main__":
    main()
