"""Tests of each cluster in each column, draw by draw, and put together over draws.

Labels, means and covariances drawn from the posterior have, with the data, the joint law that those behind the data
have (Johnson 2007). Given them, the rows of a component are independent and normal: the law of a statistic of these
rows, in one draw, is known, and its p-value is uniform. (A posterior predictive p-value is not; it lies too near 1/2.)
The statistics of tails and skewness are free of location and scale, so that of a draw they need the labels alone; they
are taken of rows moved at random within the cells that they were rounded to. As draws are of the same data they depend
on each other, and are put together by rules that allow for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special, stats

from gibbs_gmm.kernels.types import FloatArray, IntArray
from gibbs_gmm.mapped_draws import let_go
from gibbs_gmm.posterior.matched import Components, spread
from gibbs_gmm.posterior.normality import LEAST_ROWS, combine, combine_valid, excess_tails, z_skewness, z_tails

_DRAWS = 100
_LEAST_SPREAD = 1e-12  # of the largest deviation in a column: a cluster narrower than that is one value
_SIDE = 4.0  # standard deviations to either side in which the cells of a cluster are counted
_HEAPING = 2.0  # how often a preferred digit is written for one that is meant


class Draw(NamedTuple):
    """The labels of some rows in one draw, as matched components, and what the draw says of these.

    ``place`` (n,), K for outliers; ``size`` (K,) how many of all rows each owns; ``mean`` and ``sd`` (K, D).
    """

    place: IntArray
    size: IntArray
    mean: FloatArray
    sd: FloatArray


def some_draws_of(components: Components, rows: IntArray) -> list[Draw]:
    """At most 100 of the draws of the components, with the labels of these rows."""
    trace, K = components.trace, components.K
    assert trace.assignments is not None
    result = []
    for s in spread(len(components.draws), _DRAWS):
        chain, t = divmod(int(components.draws[s]), trace.assignments.shape[1])
        own = components.perm[s]
        place_of = np.zeros(trace.weights.shape[-1] + 1, np.int64)
        place_of[own], place_of[-1] = np.arange(K), K  # outliers are -1
        z = np.asarray(trace.assignments[chain, t])
        variance = np.diagonal(trace.covariances[chain, t, own], axis1=-2, axis2=-1)
        size = np.bincount(place_of[z], minlength=K)[:K]
        result.append(Draw(place_of[z[rows]], size, trace.means[chain, t, own], np.sqrt(variance)))
    let_go(trace.assignments)
    return result


def unrounded(X: FloatArray, draw: Draw) -> FloatArray:
    """The rows moved at random within the cells that they were rounded to, as tests of shape want them.

    A cell is as wide as the values of a cluster are apart in this column, but at most the cluster's standard deviation:
    steps that are wider are no rounding. Nothing that is positive becomes zero.
    """
    u, result = np.random.default_rng(0).random(X.shape) - 0.5, X.copy()
    for k in np.unique(draw.place[draw.place < len(draw.sd)]):
        own = np.flatnonzero(draw.place == k)
        width = np.minimum([_apart(np.unique(column)) for column in X[own].T], draw.sd[k])
        result[own] += u[own] * width
    return np.where(X > 0.0, np.maximum(result, 0.5 * X), result)


def _apart(value: FloatArray) -> float:
    """The median distance of sorted distinct values from the nearest other one; infinite if there is none."""
    gaps = np.diff(value)
    return float(np.median(np.minimum(np.append(gaps, np.inf), np.append(np.inf, gaps))))


def shape_tests(X: FloatArray, draws: Sequence[Draw]) -> dict[str, FloatArray]:
    """``tails``, ``skewness``, means over draws, and their p-values ``p_tails``, ``p_skewness``, each (K, D).

    NaN where no draw has 8 rows or more in the cluster, or they do not vary.
    """
    standard = X - X.mean(0)
    standard /= np.maximum(np.abs(standard).max(0), np.finfo(float).tiny)  # powers stay in range
    n, a, skewness = (np.stack(parts) for parts in zip(*(_moments(standard, draw) for draw in draws), strict=True))
    n = np.where(n[..., None] >= LEAST_ROWS, n[..., None], np.nan)
    return {
        "tails": _mean(excess_tails(a, n)),
        "skewness": _mean(skewness + 0.0 * n),
        "p_tails": combine(z_tails(a, n)),
        "p_skewness": combine(z_skewness(skewness, n)),
    }


def _moments(X: FloatArray, draw: Draw) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Rows (K,), mean absolute over root mean square deviation (K, D), and skewness (K, D) of each cluster."""
    K, D = draw.mean.shape
    own = draw.place < K
    X, place = X[own], draw.place[own]
    count = np.bincount(place, minlength=K)
    there = np.flatnonzero(count)
    n = count[there]
    first = np.cumsum(n) - n
    Y = X[np.argsort(place, kind="stable")]
    Y -= (np.add.reduceat(Y, first) / n[:, None]).repeat(n, 0)
    square = Y * Y  # Y**3 would take twenty times as long
    m2, m3, deviation = (np.add.reduceat(power, first) / n[:, None] for power in (square, square * Y, np.abs(Y)))
    sd = np.where(m2 > _LEAST_SPREAD**2, np.sqrt(m2), np.nan)
    a, skewness = np.full((K, D), np.nan), np.full((K, D), np.nan)
    a[there], skewness[there] = deviation / sd, m3 / sd**3
    return count.astype(np.float64), a, skewness


def tie_tests(X: FloatArray, draws: Sequence[Draw]) -> dict[str, FloatArray]:
    """``ties``, ``p_ties`` and ``most``, the share of rows with the most frequent values, each (K, D).

    Data are rounded, and some digits are preferred. So each value of a cluster, N(mu, sigma^2) in this column, stands
    for a cell as wide as its values are apart (the median distance of its distinct values from the nearest), but at
    most sigma; and a cell may hold twice the rows that the normal expects. If no more is behind it, the number of rows
    with a value is at most binomial. The value that exceeds its expected number most is tested: the upper tail times
    the number of cells within four standard deviations (Bonferroni) is a valid p-value, though not a uniform one: few
    values repeat at all by chance.

    ``most`` is of the one value that is most frequent in a cluster of fewer than 8 rows, else of the two.
    """
    K, D = draws[0].mean.shape
    size = np.stack([np.bincount(draw.place, minlength=K)[:K] for draw in draws])
    ties, most = np.zeros((len(draws), K, D)), np.zeros((len(draws), K, D))
    p = np.where(size[..., None] >= LEAST_ROWS, np.ones(D), np.nan)
    for d in range(D):
        value, code = np.unique(X[:, d], return_inverse=True)
        if len(value) == len(X):
            most[..., d] = np.where(size < LEAST_ROWS, 1.0, 2.0) / np.maximum(size, 1)
            continue
        for s, draw in enumerate(draws):
            counts = np.bincount(draw.place * len(value) + code, minlength=(K + 1) * len(value))
            counts = counts.reshape(K + 1, len(value))
            for k in np.flatnonzero(size[s]):
                there = np.flatnonzero(counts[k])
                count, n = counts[k, there], size[s, k]
                ties[s, k, d] = count[count > 1].sum() / n
                most[s, k, d] = np.sort(count)[-1 if n < LEAST_ROWS else -2 :].sum() / n
                if n >= LEAST_ROWS:
                    p[s, k, d] = _p_tied(value[there], count, draw.mean[k, d], draw.sd[k, d])
    known = np.isfinite(p).any(0)
    return {
        "ties": np.where(known, ties.mean(0), np.nan),
        "p_ties": combine_valid(p),
        "most": most.mean(0),
    }


def _p_tied(value: FloatArray, count: IntArray, mean: float, sd: float) -> float:
    """The p-value of the most excessive tie among the distinct values of a cluster, each held by ``count`` rows."""
    width = min(_apart(value) / sd, 1.0)
    z = np.abs(value - mean) / sd
    n = int(count.sum())
    p = _HEAPING * (special.ndtr(0.5 * width - z) - special.ndtr(-0.5 * width - z))
    p = np.clip(p, 1e-300, 1.0)
    excess = np.where((count > 1) & (count > n * p), count * np.log(count / (n * p)) - (count - n * p), 0.0)
    j = int(excess.argmax())
    if excess[j] == 0.0:
        return 1.0
    cells = 1.0 + 2.0 * _SIDE / width
    return min(1.0, float(cells * stats.binom.sf(count[j] - 1, n, p[j])))


def _mean(values: FloatArray) -> FloatArray:
    """Mean over draws, of those that have a value."""
    known = np.isfinite(values)
    total = np.where(known, values, 0.0).sum(0)
    return np.where(known.any(0), total / np.maximum(known.sum(0), 1), np.nan)
