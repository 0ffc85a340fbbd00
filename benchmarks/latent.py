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


def climbed_from(Y: FloatArray, labels: AnyArray, iterations: int = 200) -> AnyArray:
    """Labels of the mixture of normals to which EM climbs from these labels, missing values integrated out.

    A variance of (0.03)^2 is added to each column, which keeps covariances of few rows from collapsing.
    """
    N, D = Y.shape
    known, K = ~np.isnan(Y), int(labels.max()) + 1
    share = np.eye(K)[labels]
    fill = np.repeat(np.where(known, Y, np.nanmean(Y, 0))[:, None], K, axis=1)
    spread = np.zeros((N, K, D, D))
    for _ in range(iterations):
        n = share.sum(0)
        mu = np.einsum("nk,nkd->kd", share, fill) / n[:, None]
        gap = fill - mu
        S = np.einsum("nk,nki,nkj->kij", share, gap, gap) + np.einsum("nk,nkij->kij", share, spread)
        S = S / n[:, None, None] + 1e-3 * np.eye(D)
        log_p = np.tile(np.log(n / N), (N, 1))
        for pattern in np.unique(known, axis=0):
            rows, (o, m) = (known == pattern).all(1), (np.flatnonzero(pattern), np.flatnonzero(~pattern))
            for k in range(K):
                inverse, gap_o = np.linalg.inv(S[k][np.ix_(o, o)]), Y[np.ix_(rows, o)] - mu[k, o]
                log_p[rows, k] -= 0.5 * np.einsum("ni,ij,nj->n", gap_o, inverse, gap_o)
                log_p[rows, k] -= 0.5 * np.linalg.slogdet(2.0 * np.pi * S[k][np.ix_(o, o)])[1]
                gain = S[k][np.ix_(m, o)] @ inverse
                fill[np.ix_(rows, [k], m)] = (mu[k, m] + gap_o @ gain.T)[:, None]
                left = np.zeros((D, D))
                left[np.ix_(m, m)] = S[k][np.ix_(m, m)] - gain @ S[k][np.ix_(o, m)]
                spread[rows, k] = left
        share = np.exp(log_p - log_p.max(1, keepdims=True))
        share /= share.sum(1, keepdims=True)
    result: AnyArray = share.argmax(1)
    return result


def fills(quick: bool) -> tuple[list[Figure], dict[str, Any]]:
    """Errors of fills, and the agreement of clusters with the labels, with a fifth of the values deleted.

    The number of components is given. What is lost is also shown for labels under the mixture that was fitted to the
    complete rows, under the one of the rows with gaps when all labels are known, and for the maximum of the likelihood
    that is next to the true labels: what the rows with gaps say about the clusters is less than what the labels do.
    """
    figures, detail = [], {}
    for name in ("iris", "thyroid"):
        X, labels = common.data_set(name)
        settings: dict[str, Any] = {
            "draws": 200 if quick else 500,
            "warmup": 1000,
            "thin": 5 if quick else 50,
            "progress": False,
            "rng": 1,
        }
        rows: dict[str, list[float]] = {"mean": [], "iterative": [], "gibbs_gmm": [], "ari": []}
        rows |= {"complete mixture": [], "labels known": [], "likelihood": [], "chains": []}
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
                rows["complete mixture"].append(adjusted_rand_score(labels, best.predict(Y)))
                taught = gg.fit(Y, 3, labels=labels, **{**settings, "thin": 5})
                rows["labels known"].append(adjusted_rand_score(labels, taught.predict(Y)))
                rows["likelihood"].append(adjusted_rand_score(labels, climbed_from(Y, labels)))
                of_chains = [[adjusted_rand_score(labels, z) for z in chain[::20]] for chain in trace.assignments]
                rows["chains"].append(float(np.ptp(np.mean(of_chains, axis=1))))
        mean = {key: float(np.mean(values)) for key, values in rows.items()}
        for other in ("mean", "iterative"):
            ratio = mean["gibbs_gmm"] / mean[other]
            figures.append(Figure(f"error of fills / that of {other}, {name}", 1.0, False, ratio, "", ""))
        if name == "iris":
            loss = complete - mean["ari"]
            others = ("complete mixture", "labels known", "likelihood")
            lost = ", ".join(f"{key} {complete - mean[key]:.3f}" for key in others)
            error = np.std(rows["ari"], ddof=1) / len(rows["ari"]) ** 0.5
            note = f"of {complete:.3f}, standard error {error:.3f}; {lost}"
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
    payload = {"figures": [figure.to_dict() for figure in figures], "load_of_others": load.share, "detail": detail}
    common.write("latent", payload, args.quick)
    return 0


if __name__ == "__main__":
    sys.exit(main())
