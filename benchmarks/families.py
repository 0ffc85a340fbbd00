"""Families of covariances against each other and against EM: ``python -m benchmarks.families [--quick]``.

A sweep of known n as ``fit`` makes it, moves included, one thread, CPU time; runs take turns within this process. An EM
iteration is the difference of two fits of scikit-learn, of the same covariance type, from the same parameters.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from benchmarks import common
from benchmarks.common import Figure, interleave, medians, ratio_range

TYPES = ("full", "tied", "diag", "spherical")
_FASTER = {("diag", 32): 4.0, ("diag", 8): 1.5, ("tied", 32): 2.0}
_EM = {"full": 20.0, "tied": 10.0, "diag": 10.0, "spherical": 10.0}
_ITERATIONS = 1, 3
_PRECISIONS: dict[str, Callable[[Any], Any]] = {
    "full": np.linalg.inv,
    "tied": np.linalg.inv,
    "diag": np.reciprocal,
    "spherical": np.reciprocal,
}
_STORED = {"full": "covariances", "tied": "covariance", "diag": "variances", "spherical": "variances"}


def settled(X: Any, K: int, kind: str) -> Any:
    """A chain of this family that has been through a short warm-up."""
    settings = {"draws": 2, "warmup": 20, "thin": 1, "chains": 1, "rng": 1}
    (chain,) = common.build_chains(X, K, covariance_type=kind, **settings)
    while chain.sweeps_done < 20:
        chain.advance(None)
    common.sweep(chain, 1)
    return chain


def em(chain: Any, X: Any, kind: str, max_iter: int) -> Callable[[], object]:
    """A fit of scikit-learn from the chain's parameters: ``max_iter`` iterations and one E-step."""
    draw = {name: chain.arrays[name][0].copy() for name in ("weights", "means", _STORED[kind])}
    model = GaussianMixture(
        len(draw["weights"]),
        covariance_type=kind,
        weights_init=draw["weights"] / draw["weights"].sum(),
        means_init=draw["means"],
        precisions_init=_PRECISIONS[kind](draw[_STORED[kind]]),
        tol=0.0,
        max_iter=max_iter,
    )
    return lambda: model.fit(X)


def sweeps(quick: bool) -> tuple[list[Figure], dict[str, Any]]:
    """Sweeps of all families, and EM iterations, at D = 8 and 32."""
    figures, detail = [], {}
    N, K = (20_000 if quick else 100_000), 20
    for D in (8, 32):
        X = common.mixture(N, D, K)
        chains = {kind: settled(X, K, kind) for kind in TYPES}
        tasks = {kind: (lambda chain=chain: common.sweep(chain, 1)) for kind, chain in chains.items()}
        short = interleave(tasks, 5 if quick else 11)
        long_tasks = {f"{kind} {m}": em(chains[kind], X, kind, m) for kind in TYPES for m in _ITERATIONS}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            long = medians(interleave(long_tasks, 1 if quick else 3))
        middle, size = medians(short), f"N={N:,} D={D} K={K}"
        few, many = _ITERATIONS
        for kind in TYPES:
            low, high = ratio_range(short["full"], short[kind])
            if kind != "full":
                target = _FASTER.get((kind, D))
                note = f"{1e3 * middle[kind]:.2f} ms; quartiles {low:.3g} to {high:.3g}"
                figures.append(
                    Figure(f"full / {kind} sweep, {size}", target, True, middle["full"] / middle[kind], "", note)
                )
            iteration = (long[f"{kind} {many}"] - long[f"{kind} {few}"]) / (many - few)
            name = f"EM iteration of scikit-learn / sweep, {kind}, {size}"
            note = f"{1e3 * iteration:.1f} ms against {1e3 * middle[kind]:.2f}"
            figures.append(Figure(name, _EM[kind], True, iteration / middle[kind], "", note))
        detail[size] = {"sweeps": short, "em": long}
    return figures, detail


def many_columns(quick: bool) -> tuple[list[Figure], dict[str, Any]]:
    """What a column of a diagonal sweep costs at D = 200, beside D = 50."""
    N, K = (5_000 if quick else 20_000), 10
    chains = {D: settled(common.mixture(N, D, K), K, "diag") for D in (50, 200)}
    tasks = {str(D): (lambda chain=chain: common.sweep(chain, 1)) for D, chain in chains.items()}
    seconds = interleave(tasks, 5 if quick else 15)
    middle = medians(seconds)
    ratio = (middle["200"] / 200) / (middle["50"] / 50)
    note = f"{1e3 * middle['200']:.2f} and {1e3 * middle['50']:.2f} ms a sweep"
    name = f"a column at D=200 / at D=50, diag, N={N:,} K={K}"
    return [Figure(name, 1.2, False, ratio, "", note)], {"seconds": seconds}


def main(arguments: Sequence[str] | None = None) -> int:
    args = common.parser(__doc__ or "").parse_args(arguments)
    figures: list[Figure] = []
    detail: dict[str, Any] = {}
    with common.one_blas_thread(), common.OtherLoad() as load:
        for section in (sweeps, many_columns):
            more, seconds = section(args.quick)
            figures += more
            detail[section.__name__] = seconds
    print(common.table(("figure", "target", "measured", "", "note"), [figure.row() for figure in figures]))
    payload = {"figures": [figure.to_dict() for figure in figures], "other_load": load.share, "seconds": detail}
    common.write("families", payload, args.quick)
    return 0


if __name__ == "__main__":
    sys.exit(main())
