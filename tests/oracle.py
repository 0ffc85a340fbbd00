"""The slow, obvious oracle of the test-suite: NumPy and SciPy only, no code shared with the package.

Every function is the textbook formula written down once, for tiny data. Conventions (DESIGN section 2):
``X (N, D)``, labels ``z (N,)`` in 0..n-1, ``w (K,)``, ``mu (K, D)``, ``Sigma (K, D, D)``, and

    Sigma ~ InverseWishart(nu_0, Psi_0), with E[Sigma] = Psi_0 / (nu_0 - D - 1),
    mu | Sigma ~ N(mu_0, Sigma / kappa_0).

Arrays indexed by a count start at one: ``p[0]`` is the probability of 1.

References
----------
Antoniak (1974), Mixtures of Dirichlet processes with applications to Bayesian nonparametric problems.
Fruehwirth-Schnatter, Malsiner-Walli & Gruen (2021), Generalized mixtures of finite mixtures and telescoping
sampling.
Gelman et al. (2013), Bayesian Data Analysis, 3rd ed., section 3.6.
Miller & Harrison (2018), Mixture models with a prior on the number of components.
Murphy (2007), Conjugate Bayesian analysis of the Gaussian distribution, section 9.
Pitman (1995), Exchangeable and partially exchangeable random partitions.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from scipy.special import gammaln, logsumexp, multigammaln, xlogy

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


# --- The Normal-Inverse-Wishart model of one cluster ---


class NIW(NamedTuple):
    """Normal-Inverse-Wishart parameters: mu_0 (D,), kappa_0 > 0, nu_0 > D - 1, Psi_0 (D, D).

    noise (D,), if any, is r^2 / 12 of the width r to which values are known: a row's likelihood is exp of the mean of
    log N(v | mu, Sigma) over v in its cell.
    """

    mu_0: Floats
    kappa_0: float
    nu_0: float
    Psi_0: Floats
    noise: Floats | None = None


def niw_posterior(X: Floats, niw: NIW) -> NIW:
    """Return `niw` updated by the observations ``X (n, D)``; n = 0 leaves it as it is.

    kappa_n = kappa_0 + n, nu_n = nu_0 + n, mu_n = (kappa_0 mu_0 + n xbar) / kappa_n,
    Psi_n = Psi_0 + S + (kappa_0 n / kappa_n) (xbar - mu_0)(xbar - mu_0)' (Gelman et al. 2013, section 3.6).
    """
    n = len(X)
    if n == 0:
        return niw
    xbar = X.mean(axis=0)
    S = (X - xbar).T @ (X - xbar)
    if niw.noise is not None:
        S = S + n * np.diag(niw.noise)
    kappa_n = niw.kappa_0 + n
    shift = xbar - niw.mu_0
    return NIW(
        mu_0=(niw.kappa_0 * niw.mu_0 + n * xbar) / kappa_n,
        kappa_0=kappa_n,
        nu_0=niw.nu_0 + n,
        Psi_0=niw.Psi_0 + S + niw.kappa_0 * n / kappa_n * np.outer(shift, shift),
        noise=niw.noise,
    )


def log_marginal(X: Floats, niw: NIW) -> float:
    """Return log m(X), the density of ``X (n, D)`` as one cluster, mu and Sigma integrated out.

    The closed form of Murphy (2007), eq. 266; 0 for no rows.
    """
    n, D = X.shape
    post = niw_posterior(X, niw)
    return float(
        -n * D / 2 * np.log(np.pi)
        + multigammaln(post.nu_0 / 2, D)
        - multigammaln(niw.nu_0 / 2, D)
        + niw.nu_0 / 2 * np.linalg.slogdet(niw.Psi_0)[1]
        - post.nu_0 / 2 * np.linalg.slogdet(post.Psi_0)[1]
        + D / 2 * np.log(niw.kappa_0 / post.kappa_0)
    )


def tied_scale(X: Floats, z: Ints, niw: NIW) -> Floats:
    """Return Psi(C) of Sigma | X, partition ~ IW(nu_0 + N, Psi(C)), Sigma shared by all clusters, means integrated out.

    Psi(C) = Psi_0 + T - sum_k u_k u_k' + N R, where T = sum_i (x_i - mu_0)(x_i - mu_0)', R = diag(noise) and u_k = sum
    over cluster k of (x_i - mu_0), over sqrt(kappa_0 + n_k).
    """
    d = X - niw.mu_0
    Psi = niw.Psi_0 + d.T @ d
    for k in np.unique(z):
        u = d[z == k].sum(0) / np.sqrt(niw.kappa_0 + (z == k).sum())
        Psi = Psi - np.outer(u, u)
    return Psi if niw.noise is None else Psi + len(X) * np.diag(niw.noise)


def log_tied_marginal(X: Floats, z: Ints, niw: NIW) -> float:
    """Return log m(X | partition): Sigma ~ IW(nu_0, Psi_0) for all clusters, mu_k | Sigma ~ N(mu_0, Sigma / kappa_0).

    As :func:`log_marginal`, with Psi(C) of :func:`tied_scale` and a factor (kappa_0 / (kappa_0 + n_k))^(D/2) for each
    cluster.
    """
    (N, D), n = X.shape, np.unique(z, return_counts=True)[1]
    return float(
        -N * D / 2 * np.log(np.pi)
        + multigammaln((niw.nu_0 + N) / 2, D)
        - multigammaln(niw.nu_0 / 2, D)
        + niw.nu_0 / 2 * np.linalg.slogdet(niw.Psi_0)[1]
        - (niw.nu_0 + N) / 2 * np.linalg.slogdet(tied_scale(X, z, niw))[1]
        + D / 2 * np.log(niw.kappa_0 / (niw.kappa_0 + n)).sum()
    )


def log_niw(mu: Floats, Sigma: Floats, niw: NIW) -> float:
    """Return the log density of `niw` at one component, ``mu (D,)`` and ``Sigma (D, D)``."""
    log_p_Sigma = stats.invwishart.logpdf(Sigma, df=niw.nu_0, scale=niw.Psi_0)
    log_p_mu = stats.multivariate_normal.logpdf(mu, mean=niw.mu_0, cov=Sigma / niw.kappa_0)
    return float(log_p_Sigma + log_p_mu)


# --- The mixture given its parameters ---


def log_joint_density(X: Floats, w: Floats, mu: Floats, Sigma: Floats) -> Floats:
    """Return ``log w_k + log N(x_i; mu_k, Sigma_k)``, shape (N, K); -inf where a weight is zero.

    Raises LinAlgError where SciPy calls a covariance singular (condition number above 4e9).
    """
    normal = stats.multivariate_normal
    with np.errstate(divide="ignore"):
        log_w = np.log(w)
    columns = [log_w[k] + np.reshape(normal.logpdf(X, mu[k], Sigma[k]), len(X)) for k in range(len(w))]
    return np.stack(columns, axis=1)


def log_mixture_density(X: Floats, w: Floats, mu: Floats, Sigma: Floats) -> Floats:
    """Return ``log sum_k w_k N(x_i; mu_k, Sigma_k)`` for every observation, shape (N,)."""
    return np.asarray(logsumexp(log_joint_density(X, w, mu, Sigma), axis=1))


def log_posterior(X: Floats, w: Floats, mu: Floats, Sigma: Floats, alpha: float, niw: NIW) -> float:
    """Return log p(X, w, mu, Sigma | n = K), labels summed out: the log posterior up to its evidence.

    ``sum_i log sum_k w_k N(x_i) + log Dirichlet(w; alpha, ..., alpha) + sum_k log NIW(mu_k, Sigma_k)``. The
    components are labelled (no K! for the sets they form).

    Parameters
    ----------
    X, w, mu, Sigma
        Data (N, D) and parameters (K,), (K, D), (K, D, D).
    alpha
        Dirichlet parameter of each component; the Dirichlet term is 0 for K = 1.
    niw
        Prior of each component.
    """
    K = len(w)
    log_p_w = stats.dirichlet.logpdf(w, np.full(K, alpha)) if K > 1 else 0.0
    log_p_theta = sum(log_niw(mu[k], Sigma[k], niw) for k in range(K))
    return float(log_mixture_density(X, w, mu, Sigma).sum() + log_p_w + log_p_theta)


# --- Priors on partitions ---


class Finite(NamedTuple):
    """`n` components, ``w ~ Dirichlet(alpha, ..., alpha)``: `alpha` is per component."""

    n: int
    alpha: float


class StaticMFM(NamedTuple):
    """n ~ `p_n`, ``w | n ~ Dirichlet(alpha, ..., alpha)``; ``p_n[k - 1]`` = p(n = k), used as it is given.

    A tail cut off stays cut off (it is not renormalised): for the beta-negative-binomial (1, 4, 3) on n - 1,
    20,000 terms leave out 2e-15.
    """

    alpha: float
    p_n: Floats


class DynamicMFM(NamedTuple):
    """n ~ `p_n` (as in StaticMFM), ``w | n ~ Dirichlet(alpha / n, ..., alpha / n)``: `alpha` is the total."""

    alpha: float
    p_n: Floats


class DP(NamedTuple):
    """Dirichlet process of concentration `alpha`."""

    alpha: float


class PY(NamedTuple):
    """Pitman-Yor process, ``0 <= discount < 1`` and ``alpha > -discount``."""

    alpha: float
    discount: float


MFM = StaticMFM | DynamicMFM
WeightPrior = Finite | MFM | DP | PY


def _log_rising(a: ArrayLike, m: int) -> Floats:
    """Return ``log a (a+1) ... (a+m-1)``, elementwise: log Gamma(a+m) - log Gamma(a), but nothing cancels."""
    a = np.asarray(a, dtype=float)
    return np.sum([np.log(a + i) for i in range(m)], axis=0) if m > 0 else np.zeros_like(a)


def _log_partition_given_n(sizes: Ints, n: Ints, alpha: Floats) -> Floats:
    """Return log p(partition | n), elementwise over `n` and the per-component `alpha`; -inf where n < t.

    ``n! / (n - t)! * Gamma(n alpha) / Gamma(n alpha + N) * prod_c Gamma(alpha + n_c) / Gamma(alpha)``: the
    Dirichlet-multinomial probability of one labelling, times the ways to name t blocks differently out of n
    (Miller & Harrison 2018, section 3).
    """
    with np.errstate(divide="ignore"):
        log_ways = np.sum([np.log(np.maximum(n - i, 0)) for i in range(len(sizes))], axis=0)
    log_blocks = np.sum([_log_rising(alpha, int(n_c)) for n_c in sizes], axis=0)
    return np.asarray(log_ways - _log_rising(n * alpha, int(sizes.sum())) + log_blocks)


def _log_n_and_partition(sizes: ArrayLike, prior: MFM) -> Floats:
    """Return log p(n) + log p(partition | n) for n = 1, ..., len(p_n)."""
    n = np.arange(1, len(prior.p_n) + 1)
    alpha = np.full(len(n), prior.alpha) if isinstance(prior, StaticMFM) else prior.alpha / n
    with np.errstate(divide="ignore"):
        return np.log(prior.p_n) + _log_partition_given_n(np.asarray(sizes), n, alpha)


def log_partition_prior(sizes: ArrayLike, prior: WeightPrior) -> float:
    """Return the log probability of one partition of N labelled items into blocks of `sizes`.

    Its exponential sums to one over all set partitions (`partitions`). With (a)_m the rising factorial,

    - Dirichlet process: ``alpha^t / (alpha)_N * prod_c (n_c - 1)!`` (Antoniak 1974);
    - Pitman-Yor: ``prod_{i=1}^{t-1} (alpha + i d) / (alpha + 1)_{N-1} * prod_c (1 - d)_{n_c - 1}``
      (Pitman 1995);
    - finite n: `_log_partition_given_n`; mixtures of finite mixtures: its sum over n (Miller & Harrison 2018;
      Fruehwirth-Schnatter et al. 2021).

    Parameters
    ----------
    sizes
        The t block sizes, all positive, in any order.
    prior
        One of Finite, StaticMFM, DynamicMFM, DP, PY.
    """
    sizes = np.asarray(sizes)
    N, t = int(sizes.sum()), len(sizes)
    match prior:
        case Finite(n, alpha):
            return float(_log_partition_given_n(sizes, np.array(n), np.array(alpha)))
        case StaticMFM() | DynamicMFM():
            return float(logsumexp(_log_n_and_partition(sizes, prior)))
        case DP(alpha):
            return float(t * np.log(alpha) - _log_rising(alpha, N) + gammaln(sizes).sum())
        case PY(alpha, d):
            log_new = np.log(alpha + d * np.arange(1, t)).sum()
            log_old = sum(_log_rising(1 - d, int(n_c) - 1) for n_c in sizes)
            return float(log_new - _log_rising(alpha + 1, N - 1) + log_old)


def n_given_partition(sizes: ArrayLike, prior: MFM) -> Floats:
    """Return p(n | partition) for n = 1, ..., len(p_n); undefined for more blocks than the largest n.

    Given the partition, n does not depend on the data.
    """
    log_p = _log_n_and_partition(sizes, prior)
    return np.asarray(np.exp(log_p - logsumexp(log_p)))


# --- Partitions and their enumeration ---


def partitions(N: int) -> Iterator[tuple[int, ...]]:
    """Yield every set partition of N items once, as labels in order of appearance (restricted growth)."""
    if N == 0:
        yield ()
        return
    for head in partitions(N - 1):
        for label in range(max(head, default=-1) + 2):
            yield (*head, label)


def canonical(z: ArrayLike) -> tuple[int, ...]:
    """Return the labels renamed in order of appearance: equal for two labellings of one partition."""
    names: dict[int, int] = {}
    return tuple(names.setdefault(int(label), len(names)) for label in np.asarray(z))


def co_clustering(z: ArrayLike) -> NDArray[np.bool_]:
    """Return whether i and j share a label: (N,) labels give (N, N), a stack (..., N) gives (..., N, N)."""
    z = np.asarray(z)
    return np.asarray(z[..., :, None] == z[..., None, :])


@lru_cache(maxsize=4)
def _partition_table(N: int) -> tuple[Ints, tuple[tuple[int, ...], ...], Ints]:
    """Return all labels (P, N), the distinct block sizes, and which of these each partition has (P,)."""
    z = np.array(list(partitions(N)), dtype=np.int64)
    counts = -np.sort(-np.stack([(z == c).sum(axis=1) for c in range(N)], axis=1), axis=1)
    rows, which = np.unique(counts, axis=0, return_inverse=True)
    z.flags.writeable = False
    return z, tuple(tuple(int(n_c) for n_c in row if n_c > 0) for row in rows), which.ravel()


def partition_prior(N: int, prior: WeightPrior) -> Floats:
    """Return the prior probability of every partition of N items, in the order of `partitions`."""
    _, sizes, which = _partition_table(N)
    return np.exp([log_partition_prior(s, prior) for s in sizes])[which]


def prior_n_clusters(N: int, prior: WeightPrior) -> Floats:
    """Return p(n_clusters = 1, ..., N) before any data."""
    _, sizes, which = _partition_table(N)
    t = np.array([len(s) for s in sizes])[which]
    return np.bincount(t - 1, weights=partition_prior(N, prior), minlength=N).astype(float)


class Enumeration(NamedTuple):
    """The exact posterior over all P partitions of N observations."""

    log_evidence: float
    """log p(X), everything else summed and integrated out."""
    n_clusters: Floats
    """(N,): p(n_clusters = 1, ..., N | X)."""
    n_components: Floats | None
    """(len(p_n),): p(n = 1, 2, ... | X) where n is random, else None."""
    co_clustering: Floats
    """(N, N): p(z_i = z_j | X)."""
    mean_concentration: float
    """E[sum_k (n_k / N)^2 | X]."""
    mean_entropy: float
    """E[-sum_k (n_k / N) log(n_k / N) | X], in nats."""
    partitions: Ints
    """(P, N): all partitions, in the order of `partitions`, for any other expectation."""
    probability: Floats
    """(P,): their posterior probabilities."""


def enumerate_posterior(X: Floats, niw: NIW, prior: WeightPrior, *, tied: bool = False) -> Enumeration:
    """Return the exact posterior of the mixture, summing over all set partitions.

    p(X, partition) = p(partition) prod_c m(X_c), with m computed once for each of the 2^N subsets. A
    posterior predictive density is a ratio of two evidences: log p(x | X) = log p(X, x) - log p(X).

    Parameters
    ----------
    X
        Data (N, D); N = 9 has 21,147 partitions and takes a tenth of a second.
    niw
        Prior of each component.
    prior
        One of Finite, StaticMFM, DynamicMFM, DP, PY.
    tied
        Whether all components share one covariance.
    """
    N = len(X)
    z, sizes, which = _partition_table(N)
    bits = 1 << np.arange(N)
    if tied:
        log_lik = np.array([log_tied_marginal(X, labels, niw) for labels in z])
    else:
        log_m = np.array([log_marginal(X[(subset & bits) > 0], niw) for subset in range(2**N)])
        log_lik = np.sum([log_m[(z == c) @ bits] for c in range(N)], axis=0)  # The empty subset has log m = 0.
    log_p = np.array([log_partition_prior(s, prior) for s in sizes])[which] + log_lik
    log_evidence = float(logsumexp(log_p))
    p = np.exp(log_p - log_evidence)

    p_sizes = np.bincount(which, weights=p).astype(float)
    fractions = [np.array(s) / N for s in sizes]
    n_components = None
    if isinstance(prior, StaticMFM | DynamicMFM):
        possible = [(q, n_given_partition(s, prior)) for q, s in zip(p_sizes, sizes, strict=True) if q > 0]
        n_components = np.sum([q * p_n for q, p_n in possible], axis=0)
    return Enumeration(
        log_evidence=log_evidence,
        n_clusters=p_sizes @ np.stack([np.arange(1, N + 1) == len(s) for s in sizes]),
        n_components=n_components,
        co_clustering=np.tensordot(p, co_clustering(z), axes=1),
        mean_concentration=float(p_sizes @ [(f**2).sum() for f in fractions]),
        mean_entropy=float(p_sizes @ [-xlogy(f, f).sum() for f in fractions]),
        partitions=z,
        probability=p,
    )
