"""Every partition of a few rows in which some kinds are known and some rows may be outliers, with its probability."""

from typing import NamedTuple

import numpy as np
import oracle
from oracle import NIW, Floats, Ints
from scipy.special import betaln, logsumexp


class Tagged(NamedTuple):
    """z (S, N): labels of each partition, those of G known kinds 0..G-1, others from G on, -1 for outliers;
    probability (S,); n_components: p(n) for n = 1, 2, ..., where the prior has one."""

    z: Ints
    probability: Floats
    n_components: Floats | None

    def mean(self, values: Floats) -> float:
        """The posterior mean of a value of each partition."""
        return float(self.probability @ values)

    @property
    def n_clusters(self) -> Ints:
        """(S,) how many clusters each has."""
        return np.array([len(set(z[z >= 0])) for z in self.z])


def log_prior_of_n(sizes: Ints, G: int, prior: oracle.MFM) -> Floats:
    """Log p(n) + log p(C | n), n = 1, 2, ...: the other t - G of the t clusters are named in (n - G)!/(n - t)! ways."""
    n = np.arange(1, len(prior.p_n) + 1)
    log_p = np.log(prior.p_n) if len(sizes) == 0 else oracle._log_n_and_partition(sizes, prior)
    with np.errstate(divide="ignore"):
        log_ways = np.sum([np.log(np.maximum(n - i, 0)) for i in range(G)], axis=0)
        return np.asarray(np.where(n >= G, log_p, -np.inf) - np.where(n >= G, log_ways, 0.0))


def enumerate_tagged(
    X: Floats,
    niw: NIW,
    prior: oracle.WeightPrior,
    tags: Ints,
    outliers: tuple[float, float, float] | None = None,
    tied: bool = False,
) -> Tagged:
    """The posterior over all partitions in which rows of known kinds (tags >= 0) are together and apart as they should.

    ``outliers`` are (a, b, log g): a row is an outlier with probability s ~ Beta(a, b), and then has density g.
    """
    N, G = len(X), int(tags.max(initial=-1)) + 1
    extended = np.array(list(oracle.partitions(N + 1)))  # a last row marks the block of outliers
    rows = np.arange(N)
    is_outlier = extended[:, :N] == extended[:, N:]
    if outliers is None:
        extended, is_outlier = extended[~is_outlier.any(1)], np.zeros((1, N), bool)
        is_outlier = np.zeros((len(extended), N), bool)
    allowed = ~(is_outlier & (tags >= 0)).any(1)
    for i in rows[tags >= 0]:
        for j in rows[tags >= 0]:
            allowed &= (extended[:, i] == extended[:, j]) == (tags[i] == tags[j])
    extended, is_outlier = extended[allowed], is_outlier[allowed]
    log_m = {(): 0.0}
    z, log_p, given = np.empty((len(extended), N), np.int64), np.empty(len(extended)), []
    priors: dict[tuple[int, ...], tuple[float, Floats | None]] = {}
    for s, (row, out) in enumerate(zip(extended[:, :N], is_outlier, strict=True)):
        names = {row[i]: tags[i] for i in rows[tags >= 0]}
        for label in row[~out]:
            names.setdefault(label, G + sum(k >= G for k in names.values()))
        z[s] = np.where(out, -1, [names.get(label, -1) for label in row])
        blocks = [tuple(rows[z[s] == k]) for k in sorted(set(names.values()))]
        sizes = tuple(sorted(map(len, blocks)))
        if sizes not in priors:
            by_n = None
            if isinstance(prior, oracle.StaticMFM | oracle.DynamicMFM):
                by_n = log_prior_of_n(np.array(sizes, int), G, prior)
                priors[sizes] = float(logsumexp(by_n)), by_n
            else:
                priors[sizes] = oracle.log_partition_prior(np.array(sizes, int), prior) if sizes else 0.0, None
        log_p[s], by_n = priors[sizes]
        given.append(by_n)
        if tied:
            own = z[s] >= 0
            log_p[s] += oracle.log_tied_marginal(X[own], z[s][own], niw) if own.any() else 0.0
        else:
            for block in blocks:
                if block not in log_m:
                    log_m[block] = oracle.log_marginal(X[list(block)], niw)
                log_p[s] += log_m[block]
        if outliers is not None:
            a, b, log_g = outliers
            m = int(out.sum())
            log_p[s] += m * log_g + betaln(a + m, b + N - m) - betaln(a, b)
    p = np.exp(log_p - logsumexp(log_p))
    n_components = None
    if given[0] is not None:
        n_components = np.sum([q * np.exp(by_n - logsumexp(by_n)) for q, by_n in zip(p, given, strict=True)], axis=0)
    return Tagged(z, p, n_components)
