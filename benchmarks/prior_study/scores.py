"""One fit under a candidate, and what it says against what is known."""

from __future__ import annotations

import math
import time
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

import gibbs_gmm as gg
from benchmarks.common import FloatArray
from benchmarks.prior_study.candidates import keywords
from benchmarks.prior_study.sets import Data, IntArray
from gibbs_gmm.posterior.agreement import r_hat as r_hat_of

Result = dict[str, Any]

_FOLDS = 5
_LEVEL = 0.9  # of the intervals of variances
_LEAST_DRAWS = 50  # of the true n+, below which its variances say nothing


def adjusted_rand(Z: npt.NDArray[np.integer[Any]], labels: IntArray) -> FloatArray:
    """The adjusted Rand index (Hubert & Arabie 1985) of each row of Z (T, N) against ``labels`` (N,)."""
    T, K, C = len(Z), int(Z.max()) + 1, int(labels.max()) + 1
    cell = (np.arange(T)[:, None] * K + Z) * C + labels
    table = np.bincount(cell.ravel(), minlength=T * K * C).reshape(T, K, C).astype(np.float64)

    def pairs(counts: FloatArray) -> FloatArray:
        return np.asarray((counts * (counts - 1.0) / 2.0).sum(tuple(range(1, counts.ndim))))

    both, ours, theirs = pairs(table), pairs(table.sum(2)), pairs(table.sum(1))
    chance = ours * theirs / (Z.shape[1] * (Z.shape[1] - 1.0) / 2.0)
    span = 0.5 * (ours + theirs) - chance
    return np.where(span == 0.0, 1.0, (both - chance) / np.where(span == 0.0, 1.0, span))


def _fit(X: FloatArray, candidate: str, seed: int, told: int | None, labels: bool) -> gg.Trace:
    """Two chains, from 1 and from 20 clusters where n is not told."""
    N = len(X)
    given = keywords(candidate, X)
    if told is not None:
        given["n_components"] = told
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what warnings say of chains and data is scored
        return gg.fit(
            X, draws=200, warmup=1500, thin=max(1, min(20, 20_000 // N)), chains=2, rng=seed, threads=1,
            progress=False, save_assignments=labels, **given,
        )  # fmt: skip


def score(data: Data, candidate: str, seed: int) -> Result:
    """What the fit says of n+, labels and variances, or how it failed."""
    begun = time.process_time()
    result: Result = {"cell": data.cell, "N": len(data.X), "D": data.X.shape[1], "n": data.n, "failure": None}
    try:
        trace = _fit(data.X, candidate, seed, data.n if data.told else None, data.labels is not None)
    except Exception as error:  # whatever a prior does is its score
        return {**result, "failure": f"{type(error).__name__}: {error}", "seconds": time.process_time() - begun}
    counts = trace.n_clusters
    p = np.bincount(counts.ravel()) / counts.size
    r_hat = float(r_hat_of(counts))
    result |= {
        "mode": int(p.argmax()),
        "mean": float(counts.mean()),
        "by_chain": counts.mean(1).tolist(),
        "r_hat": None if math.isnan(r_hat) else r_hat,  # n+ is the same in every draw
        "seconds": time.process_time() - begun,
    }
    if data.labels is not None:
        result["ari"] = float(adjusted_rand(trace.partition().labels[None], data.labels)[0])
    if data.n is not None:
        result["p_true"] = float(p[data.n]) if data.n < len(p) else 0.0
        result["log_score"] = math.log(max(result["p_true"], 0.5 / counts.size))  # as far as the draws can tell
    if data.variances is not None:
        draws = _variances(trace, len(data.variances))
        if len(draws) >= _LEAST_DRAWS:
            low, middle, high = np.quantile(draws, [0.5 - _LEVEL / 2, 0.5, 0.5 + _LEVEL / 2], axis=0)
            result["covered"] = float(((low <= data.variances) & (data.variances <= high)).mean())
            result["variance_ratio"] = float(np.exp(np.abs(np.log(middle / data.variances)).max()))
    return result


def _variances(trace: gg.Trace, n: int) -> FloatArray:
    """(draws with n clusters, n, D): variances within clusters, those ordered by the first coordinate of their mean."""
    chosen = trace.n_clusters == n
    means, covariances = trace.means[chosen][:, :n], trace.covariances[chosen][:, :n]
    order = means[..., 0].argsort(1)
    return np.take_along_axis(np.diagonal(covariances, axis1=2, axis2=3), order[..., None], 1)


def density(data: Data, candidate: str, seed: int) -> Result:
    """The mean log predictive density of a row left out, in five folds; columns standardised by the rows fitted."""
    begun = time.process_time()
    result: Result = {"cell": data.cell, "N": len(data.X), "D": data.X.shape[1], "failure": None}
    fold = np.random.default_rng(seed).permutation(len(data.X)) % _FOLDS
    total = 0.0
    try:
        for k in range(_FOLDS):
            rows = data.X[fold != k]
            mean, scale = rows.mean(0), rows.std(0)
            trace = _fit((rows - mean) / scale, candidate, seed, None, False)
            total += float(trace.log_density((data.X[fold == k] - mean) / scale, threads=1).sum())
    except Exception as error:
        return {**result, "failure": f"{type(error).__name__}: {error}", "seconds": time.process_time() - begun}
    return {**result, "log_density": total / len(data.X), "seconds": time.process_time() - begun}
