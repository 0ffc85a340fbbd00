"""`fit` against the exact posterior: every partition of a few observations, enumerated by the oracle.

Each quantity has at least 10,000 effective draws behind it and lies within 4 Monte-Carlo standard errors of the
truth. A right sampler fails one such comparison with probability 6e-5; there are about 300 of them, with fixed seeds.
"""

from itertools import permutations

import numpy as np
import oracle
import pytest
from harness import EPS, Gibbs, assert_within_mcse, estimate, package_prior, some_niw
from oracle import NIW, Finite, Floats, Ints
from scipy.special import gammaln

import gibbs_gmm as gg

# Nine observations of Neal (2000): fixture A, with numbers that two programs without common code agree on.
NEAL = np.array([-1.48, -1.40, -1.16, -1.08, -1.02, 0.14, 0.51, 0.53, 0.78])[:, None]
NEAL_NIW = NIW(np.zeros(1), 0.1, 4.0, np.eye(1))
LOG_EVIDENCE = {
    1: -15.221205316717,
    2: -12.993067709966,
    3: -12.957991019147,
    4: -13.057976468661,
    5: -13.180380196774,
    6: -13.300574166786,
}
MIN_ESS = 10_000


def run(X: Floats, n: int, alpha: float, niw: NIW, *, draws: int = 20_000, thin: int = 4) -> gg.Trace:
    """Four chains on one thread."""
    weights = gg.FiniteMixture(n, concentration=alpha)
    settings = {"draws": draws, "warmup": 200, "thin": thin, "rng": 20, "threads": 1, "progress": False}
    return gg.fit(X, weights, prior=package_prior(niw), **settings)


def assert_posterior(trace: gg.Trace, exact: oracle.Enumeration) -> None:
    """The partition part of a trace agrees with the enumeration."""
    assert trace.assignments is not None
    assert_partitions(trace.assignments, trace.weights.shape[-1], exact)
    counts = [(trace.assignments == k).any(-1) for k in range(trace.weights.shape[-1])]
    np.testing.assert_array_equal(trace.n_clusters, np.sum(counts, axis=0))


def assert_partitions(z: Ints, K: int, exact: oracle.Enumeration) -> None:
    """Draws of labels (C, T, N) agree with the enumeration."""
    N = z.shape[-1]
    n = np.stack([(z == k).sum(-1) for k in range(K)], axis=-1) / N
    n_clusters = (n > 0).sum(-1)
    for t in range(1, K + 1):
        assert_within_mcse(n_clusters == t, exact.n_clusters[t - 1], min_ess=MIN_ESS, name=f"p(n+ = {t})")
    assert_within_mcse((n**2).sum(-1), exact.mean_concentration, min_ess=MIN_ESS, name="concentration")
    entropy = -(n * np.log(n, where=n > 0, out=np.zeros_like(n))).sum(-1)
    assert_within_mcse(entropy, exact.mean_entropy, min_ess=MIN_ESS, name="entropy")
    for i in range(N):
        for j in range(i):
            together = z[..., i] == z[..., j]
            assert_within_mcse(together, exact.co_clustering[i, j], min_ess=MIN_ESS, name=f"p(z_{i} = z_{j})")


def mixture_density(trace: gg.Trace, x: Floats) -> Floats:
    """sum_k w_k N(x | mu_k, Sigma_k) in every draw, (C, T)."""
    d = x - trace.means
    distance = (d * np.linalg.solve(trace.covariances, d[..., None])[..., 0]).sum(-1)
    log_det = np.linalg.slogdet(2 * np.pi * trace.covariances)[1]
    return np.asarray((trace.weights * np.exp(-0.5 * (distance + log_det))).sum(-1))


def test_fixture_a() -> None:
    trace = run(NEAL, 3, 1.0, NEAL_NIW)
    exact = oracle.enumerate_posterior(NEAL, NEAL_NIW, Finite(3, 1.0))
    for t, p in enumerate([0.00567358, 0.51530631, 0.47902011], start=1):
        assert_within_mcse(trace.n_clusters == t, p, min_ess=MIN_ESS, name=f"p(n+ = {t})")
    assert_posterior(trace, exact)


CASES = {
    "1D, sparse": (1, 8, 3, 0.2, -0.3),
    "1D, heavy": (1, 7, 2, 3.0, 2.0),
    "2D": (2, 7, 3, 1.0, 1.5),
    "2D, sparse": (2, 7, 4, 0.3, 3.0),
    "3D": (3, 6, 2, 1.0, 0.2),
    "3D, heavy": (3, 6, 3, 2.5, 2.0),
}
"""D, N, n, concentration, nu_0 - D."""


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_partitions_and_predictive_density(case: tuple[int, int, int, float, float]) -> None:
    D, N, K, alpha, excess = case
    rng = np.random.default_rng([D, N, K])
    X = np.where(np.arange(N) % 2, 1.0, -1.0)[:, None] + rng.standard_normal((N, D))
    niw = some_niw(D, D + excess)
    exact = oracle.enumerate_posterior(X, niw, Finite(K, alpha))
    trace = run(X, K, alpha, niw)
    assert_posterior(trace, exact)
    # The density of one more observation involves all of w, mu and Sigma: a ratio of two evidences is its mean.
    for x in (X.mean(0), X[0] + 0.5, X[1] - 1.0):
        more = oracle.enumerate_posterior(np.vstack([X, x]), niw, Finite(K, alpha))
        truth = np.exp(more.log_evidence - exact.log_evidence)
        assert_within_mcse(mixture_density(trace, x), truth, min_ess=MIN_ESS, name=f"density at {x}")


def test_values_known_to_a_width() -> None:
    # The cells are as wide as the clusters, so that leaving them out of any one step would show.
    X, niw = np.round(np.random.default_rng(10).standard_normal((7, 2))), some_niw(2)._replace(noise=NOISE)
    exact = oracle.enumerate_posterior(X, niw, Finite(3, 1.0))
    sharp = oracle.enumerate_posterior(X, niw._replace(noise=None), Finite(3, 1.0))
    assert np.abs(exact.n_clusters - sharp.n_clusters).max() > 0.05
    assert_posterior(run(X, 3, 1.0, niw), exact)


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_affine_maps_change_nothing(scale: float) -> None:
    # X A' + b with the prior mapped likewise is the same problem: the partitions have the same posterior.
    N, D, K = 7, 2, 3
    X = np.where(np.arange(N) % 2, 1.0, -1.0)[:, None] + np.random.default_rng(5).standard_normal((N, D))
    niw, A, b = some_niw(D), scale * np.array([[2.0, 1.5], [-0.4, 0.5]]), np.array([1e4, -3.0])
    mapped = NIW(A @ niw.mu_0 + b, niw.kappa_0, niw.nu_0, A @ niw.Psi_0 @ A.T)
    assert_posterior(run(X @ A.T + b, K, 1.0, mapped), oracle.enumerate_posterior(X, niw, Finite(K, 1.0)))


def test_row_order_changes_nothing() -> None:
    order = np.random.default_rng(6).permutation(9)
    exact = oracle.enumerate_posterior(NEAL[order], NEAL_NIW, Finite(2, 1.0))
    assert_posterior(run(NEAL[order], 2, 1.0, NEAL_NIW), exact)
    same = oracle.enumerate_posterior(NEAL, NEAL_NIW, Finite(2, 1.0)).co_clustering[np.ix_(order, order)]
    np.testing.assert_allclose(exact.co_clustering, same, rtol=1000 * EPS)


NOISE = np.array([0.4, 0.8])
MOVES = ["launches", "recalls", "row by row", "seeded", "searched"]


@pytest.mark.parametrize("moves", np.diag([20] * 5).tolist(), ids=MOVES)
@pytest.mark.parametrize(("D", "noise"), [(1, None), (2, None), (2, NOISE)], ids=["1D", "2D", "2D, rounded"])
def test_split_merge_moves_that_are_nearly_alone(D: int, noise: Floats | None, moves: list[int]) -> None:
    # Twenty moves of whole clusters for each pass of single labels: a bias of the moves is not mended by the labels.
    X, niw = NEAL[:7] if D == 1 else np.random.default_rng(9).standard_normal((7, 2)), some_niw(D, D + 2.0)
    niw = niw._replace(noise=noise)
    gibbs, rng = Gibbs(X, 3, 0.7, niw), np.random.default_rng(18)
    gibbs.warm_up(rng, 20_000, moves)
    z = gibbs.sweeps(rng, 20_000)["z"]
    assert_partitions(z[None].astype(np.int64), 3, oracle.enumerate_posterior(X, niw, Finite(3, 0.7)))


# --- The evidence, by Chib's identity ---


def log_ordinates(z: Ints, X: Floats, alpha: float, niw: NIW, w: Floats, mu: Floats, Sigma: Floats) -> Floats:
    """Log p(w, mu, Sigma | z, X) at one point for each draw of z (C, T, N): a mean over the K! names of components."""
    N, K = len(X), len(w)
    bits = 1 << np.arange(N)
    blocks = [np.flatnonzero(subset & bits) for subset in range(2**N)]
    # [j, subset]: the factor of component j when it owns this subset.
    factor = np.array(
        [
            [
                (alpha + len(own) - 1) * np.log(w[j])
                - gammaln(alpha + len(own))
                + oracle.log_niw(mu[j], Sigma[j], oracle.niw_posterior(X[own], niw))
                for own in blocks
            ]
            for j in range(K)
        ]
    )
    subsets = np.sort(np.stack([(z == k) @ bits for k in range(K)], axis=-1), axis=-1)
    distinct, which = np.unique(subsets.reshape(-1, K), axis=0, return_inverse=True)
    names = list(permutations(range(K)))
    total = np.full(len(distinct), -np.inf)
    for name in names:
        total = np.logaddexp(total, sum(factor[j, distinct[:, name[j]]] for j in range(K)))
    total += gammaln(K * alpha + N) - np.log(len(names))
    return np.asarray(total[which.ravel()].reshape(z.shape[:-1]))


@pytest.mark.parametrize("n", list(LOG_EVIDENCE))
def test_log_posterior_minus_log_evidence_is_the_posterior_density(n: int) -> None:
    """Chib (1995): log p(X) = log p(X, w, mu, Sigma) - log p(w, mu, Sigma | X), at any one point.

    The first term is the trace's `log_posterior` there. The second is the mean over draws of z of a closed form, here
    summed over all names of the components, because labels switch. So exp of (ordinate - log_posterior + the
    fixture's log evidence) has mean 1.
    """
    trace = run(NEAL, n, 1.0, NEAL_NIW)
    assert trace.assignments is not None
    z, log_p = trace.assignments, trace.log_posterior

    def log_ratio(t: int, chains: slice) -> Floats:
        """The identity at draw t of the first chain, for each draw of z of some chains."""
        point = trace.weights[0, t], trace.means[0, t], trace.covariances[0, t]
        return log_ordinates(z[chains], NEAL, 1.0, NEAL_NIW, *point) - log_p[0, t] + LOG_EVIDENCE[n]

    if n == 1:  # one partition, so that nothing is random: rounding, and the 12 decimals of the fixture
        size = np.abs(log_p).max() + np.abs(LOG_EVIDENCE[n])
        assert np.abs(log_ratio(0, slice(None))).max() <= 1e-12 + 100 * EPS * size
        return
    # The first chain chooses the point, among its highest, where the identity varies least; the others answer.
    ratios = {t: np.exp(log_ratio(t, slice(1))) for t in np.argsort(-log_p[0])[:5]}
    best = min(ratios, key=lambda t: ratios[t].std() / ratios[t].mean())
    ratio = np.exp(log_ratio(best, slice(1, None)))
    assert_within_mcse(ratio, 1.0, min_ess=MIN_ESS, name=f"p(x | {n}) over the fixture's")
    # It is sharp enough to tell: a tenth of a unit of log evidence would be seen.
    assert 4 * estimate(ratio).se < np.expm1(0.1)


def test_evidence_of_one_component_in_two_and_three_dimensions() -> None:
    for D in (2, 3):
        X, niw = np.random.default_rng(D).standard_normal((7, D)), some_niw(D)
        trace = run(X, 1, 1.0, niw, draws=50)
        posterior = oracle.niw_posterior(X, niw)
        for c, t in np.ndindex(trace.log_posterior.shape):
            ordinate = oracle.log_niw(trace.means[c, t, 0], trace.covariances[c, t, 0], posterior)
            size = np.linalg.cond(trace.covariances[c, t, 0]) * (abs(ordinate) + abs(trace.log_posterior[c, t]))
            error = abs(trace.log_posterior[c, t] - ordinate - oracle.log_marginal(X, niw))
            assert error <= 50 * EPS * (1 + size)
