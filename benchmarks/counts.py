"""Rows that stand for many observations: ``python -m benchmarks.counts [--quick]``.

A sweep of known n as ``fit`` makes it, moves included, of a histogram of a billion observations in 10,000 bins, against
one of 10,000 rows of the same mixture; one thread, CPU time, runs take turns within this process.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks import common
from benchmarks.common import Figure, interleave, medians, ratio_range

_BINS, _OBSERVATIONS = 10_000, 1_000_000_000
_SWEEPS = 20  # in one batch


def histogram(K: int, total: int) -> tuple[Any, Any]:
    """Centres of the bins of a grid over a mixture of K normals in the plane, and counts that sum to about a total.

    The grid is finer than wanted, and the fullest bins are kept.
    """
    sample = common.mixture(2_000_000, 2, K)
    low, high = sample.min(0), sample.max(0)
    counts, *edges = np.histogram2d(*sample.T, bins=160, range=list(zip(low, high, strict=True)))
    centres = np.meshgrid(*(0.5 * (edge[1:] + edge[:-1]) for edge in edges), indexing="ij")
    fullest = np.sort(np.argsort(-counts.ravel(), kind="stable")[:_BINS])
    X = np.column_stack([centre.ravel()[fullest] for centre in centres])
    return X, np.maximum(1, np.round(counts.ravel()[fullest] * (total / counts.sum())).astype(np.int64))


def settled(X: Any, K: int, counts: Any = None) -> Any:
    """A chain that has been through a short warm-up."""
    settings = {"draws": _SWEEPS, "warmup": 100, "thin": 1, "chains": 1, "rng": 1}
    (chain,) = common.build_chains(X, K, counts=counts, **settings)
    while chain.sweeps_done < 100:
        chain.advance(None)
    common.sweep(chain, 1)
    return chain


def sweeps(quick: bool) -> tuple[list[Figure], dict[str, Any]]:
    """The ratio of both sweeps."""
    K = 10
    X, counts = histogram(K, _OBSERVATIONS)
    few = np.full(len(X), 1) + (np.arange(len(X)) % 2)
    chains = {
        "rows": settled(common.mixture(len(X), 2, K), K),
        "a billion": settled(X, K, counts),
        "one or two": settled(X, K, few),
    }
    tasks = {name: (lambda chain=chain: common.sweep(chain, _SWEEPS)) for name, chain in chains.items()}
    seconds = interleave(tasks, 5 if quick else 15)
    middle, figures = medians(seconds), []
    for name, target in (("a billion", 3.0), ("one or two", None)):
        low, high = ratio_range(seconds[name], seconds["rows"])
        note = f"{1e3 * middle[name] / _SWEEPS:.2f} ms against {1e3 * middle['rows'] / _SWEEPS:.2f}; quartiles "
        figures.append(
            Figure(
                f"sweep of {name} in {len(X):,} bins / of {len(X):,} rows, D=2 K={K}",
                target,
                False,
                middle[name] / middle["rows"],
                "",
                f"{note}{low:.3g} to {high:.3g}",
            )
        )
    return figures, {"seconds": seconds, "observations": int(counts.sum())}


def main(arguments: Sequence[str] | None = None) -> int:
    args = common.parser(__doc__ or "").parse_args(arguments)
    with common.one_blas_thread(), common.OtherLoad() as load:
        figures, detail = sweeps(args.quick)
    print(common.table(("figure", "target", "measured", "", "note"), [figure.row() for figure in figures]))
    payload = {"figures": [figure.to_dict() for figure in figures], "load_of_others": load.share, "seconds": detail}
    common.write("counts", payload, args.quick)
    return 0


if __name__ == "__main__":
    sys.exit(main())
