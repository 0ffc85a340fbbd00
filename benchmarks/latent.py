"""What gaps and measurement errors cost, and how well gaps are filled: ``python -m benchmarks.latent [--quick]``.

Sweeps of known n as ``fit`` makes them, moves included, one thread, CPU time; runs take turns within this process. An
iteration of XDGMM is that of astroML, where it is installed. Fills of Iris and Thyroid are compared with the values
that were deleted, in standard deviations of the columns.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.experimental import enable_iterative_imputer  # noqa: F401  # makes the next import possible
from sklearn.impute import IterativeImputer
from sklearn.metrics import adjusted_rand_score

import gibbs_gmm as gg
from benchmarks import common
from benchmarks.common import Figure, interleave, medians
from gibbs_gmm.kernels.types import AnyArray, FloatArray

_SHARE, _SEEDS = 0.2, 10


def gapped(X: FloatArray, share: float, patterns: int | None = None, seed: int = 1) -> FloatArray:
    """X with this share of its values missing, in one of so many patterns a row, or each by itself; none is empty."""
    rng, (N, D) = np.random.default_rng(seed), X.shape
    gaps = rng.random((patterns or N, D)) < share
    full = gaps.all(1)
    gaps[full, rng.integers(D, size=int(full.sum()))] = False
    result = X.copy()
    result[gaps if patterns is None else gaps[rng.integers(patterns, size=N)]] = np.nan
    return result


def settled(X: FloatArray, K: int, **settings: Any) -> Any:
    """A chain that has been through a short warm-up."""
    (chain,) = common.build_chains(
        X, K, draws=2, warmup=10, thin=1, chains=1, rng=1, save_assignments=False, **settings
    )
    while chain.sweeps_done < 10:
        chain.advance(None)
    common.sweep(chain, 1)
    return chain


def sweeps(quick: bool) -> tuple[list[Figure], dict[str, Any]]:
    """Sweeps with gaps beside sweeps of the same rows without."""
    N, D, K = (50_000 if quick else 1_000_000), 8, 20
    X = common.mixture(N, D, K)
    few, one = X.copy(), X.copy()
    few[::100, 3] = np.nan
    one[::2, 3] = np.nan
    data = {"complete": X, "1% of rows": few, "one column": one, "30% in 50 patterns": gapped(X, 0.3, 50)}
    chains = {name: settled(rows, K) for name, rows in data.items()}
    seconds = interleave({n: (lambda c=c: common.sweep(c, 1)) for n, c in chains.items()}, 5)
    middle = medians(seconds)
    targets = {"1% of rows": 1.1, "one column": 1.5, "30% in 50 patterns": 3.0}
    size = f"N={N:,} D={D} K={K}"
    return [
        Figure(f"sweep, gaps: {name} / complete, {size}", target, False, middle[name] / middle["complete"], "", "")
        for name, target in targets.items()
    ], {"seconds": seconds}


def errors(quick: bool) -> tuple[list[Figure], dict[str, Any]]:
    """Sweeps with an error for each row and column beside sweeps without, and iterations of XDGMM."""
    N, D, K = (10_000 if quick else 100_000), 4, 10
    rng = np.random.default_rng(3)
    X = common.mixture(N, D, K)
    sd = rng.uniform(0.1, 0.5, (N, D))
    noisy = X + sd * rng.standard_normal((N, D))
    chains = {"exact": settled(noisy, K), "errors": settled(noisy, K, errors=sd)}
    seconds = interleave({n: (lambda c=c: common.sweep(c, 1)) for n, c in chains.items()}, 5 if quick else 11)
    middle = medians(seconds)
    size = f"N={N:,} D={D} K={K}"
    figures = [
        Figure(
            f"sweep, errors of rows and columns / none, {size}", 10.0, False, middle["errors"] / middle["exact"], "", ""
        )
    ]
    iteration = xd_iteration(noisy, sd, K)
    if iteration is not None:
        name = f"iteration of astroML's XDGMM / sweep with errors, {size}"
        figures.append(Figure(name, 20.0, True, iteration / middle["errors"], "", f"{iteration:.2f} s"))
    return figures, {"seconds": seconds, "xdgmm": iteration}


def xd_iteration(X: FloatArray, sd: FloatArray, K: int) -> float | None:
    """CPU seconds of one EM iteration of astroML's extreme deconvolution, or None where it is not installed."""
    try:
        from astroML.density_estimation import XDGMM
    except ImportError:
        return None
    covariances, ends = np.zeros((*X.shape, X.shape[1])), []
    covariances[:, np.arange(X.shape[1]), np.arange(X.shape[1])] = sd**2
    for iterations in (1, 2):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            begun = time.process_time()
            XDGMM(K, max_iter=iterations, tol=-np.inf, random_state=0).fit(X, covariances)
            ends.append(time.process_time() - begun)
    return ends[1] - ends[0]


def rmse(X: FloatArray, gaps: AnyArray, filled: FloatArray) -> float:
    """Root mean square of the errors of fills, in standard deviations of the columns."""
    return float(np.sqrt(np.square(((filled - X) / X.std(0))[gaps]).mean()))


def fills(quick: bool) -> tuple[list[Figure], dict[str, Any]]:
    """Errors of fills, and the agreement of clusters with the labels, with a fifth of the values deleted.

    The number of components is given. What is lost is also shown for the mixture that was fitted to the complete rows:
    no other can be expected to lose much less.
    """
    figures, detail = [], {}
    for name in ("iris", "thyroid"):
        X, labels = common.data_set(name)
        settings: dict[str, Any] = {
            "draws": 200 if quick else 500,
            "warmup": 1000,
            "thin": 5,
            "progress": False,
            "rng": 1,
        }
        rows: dict[str, list[float]] = {"mean": [], "iterative": [], "gibbs_gmm": [], "ari": [], "bound": []}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            best = gg.fit(X, 3, **settings)
            complete = adjusted_rand_score(labels, best.partition().labels)
            for seed in range(2 if quick else _SEEDS):
                Y = gapped(X, _SHARE, seed=seed)
                gaps = np.isnan(Y)
                trace = gg.fit(Y, 3, **settings)
                rows["gibbs_gmm"].append(rmse(X, gaps, trace.impute(Y).mean))
                rows["mean"].append(rmse(X, gaps, np.where(gaps, np.nanmean(Y, 0), Y)))
                rows["iterative"].append(rmse(X, gaps, IterativeImputer(random_state=0).fit_transform(Y)))
                rows["ari"].append(adjusted_rand_score(labels, trace.partition().labels))
                rows["bound"].append(adjusted_rand_score(labels, best.predict(Y)))
        mean = {key: float(np.mean(values)) for key, values in rows.items()}
        for other in ("mean", "iterative"):
            ratio = mean["gibbs_gmm"] / mean[other]
            figures.append(Figure(f"error of fills / that of {other}, {name}", 1.0, False, ratio, "", ""))
        if name == "iris":
            loss = complete - mean["ari"]
            note = f"of {complete:.3f}; with the mixture of the complete rows {complete - mean['bound']:.3f}"
            figures.append(Figure("adjusted Rand index lost, Iris", 0.05, False, loss, "", note))
        detail[name] = rows | {"complete": [complete]}
    return figures, detail


def main(arguments: Sequence[str] | None = None) -> int:
    args = common.parser(__doc__ or "").parse_args(arguments)
    figures: list[Figure] = []
    detail: dict[str, Any] = {}
    with common.one_blas_thread(), common.OtherLoad() as load:
        for section in (sweeps, errors, fills):
            more, seconds = section(args.quick)
            figures += more
            detail[section.__name__] = seconds
    print(common.table(("figure", "target", "measured", "", "note"), [figure.row() for figure in figures]))
    payload = {"figures": [figure.to_dict() for figure in figures], "other_load": load.share, "detail": detail}
    common.write("latent", payload, args.quick)
    return 0


if __name__ == "__main__":
    sys.exit(main())
