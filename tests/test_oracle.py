"""The oracle against published and independent numbers, against SciPy, and against itself by other routes.

Where a test is statistical, `RATE` is the probability that it fails although all is well: its p-values are
compared with RATE divided by their number (Bonferroni). Seeds are fixed.
"""

from collections.abc import Callable
from itertools import product

import numpy as np
import oracle
import pytest
import simulation
from numpy.typing import ArrayLike
from oracle import DP, NIW, PY, DynamicMFM, Finite, Floats, Ints, StaticMFM, WeightPrior
from scipy import stats
from scipy.special import gammaln, logsumexp

RATE = 1e-4
EPS = float(np.finfo(float).eps)

# Nine observations of Neal (2000). The numbers that go with them are the project's fixture A, each obtained
# by two programs that share no code (the dynamic MFM by one).
NEAL = np.array([-1.48, -1.40, -1.16, -1.08, -1.02, 0.14, 0.51, 0.53, 0.78])[:, None]
NEAL_NIW = NIW(np.zeros(1), 0.1, 4.0, np.eye(1))
BNB = stats.betanbinom(1, 4, 3, loc=1).pmf(np.arange(1, 20_001))

EVERY_PRIOR = [
    Finite(1, 0.7),
    Finite(3, 0.4),
    StaticMFM(0.6, BNB),
    StaticMFM(1.0, np.full(5, 0.2)),
    DynamicMFM(1.3, BNB),
    DP(0.8),
    PY(0.5, 0.25),
    PY(-0.2, 0.6),
]


def some_niw(D: int, nu_0: float | None = None) -> NIW:
    """Return a prior with nothing symmetric about it; nu_0 = D + 1.5 unless given."""
    A = np.eye(D) + np.tri(D, k=-1) / 2
    return NIW(np.linspace(-0.5, 0.7, D), 0.3, D + 1.5 if nu_0 is None else nu_0, 1.2 * A @ A.T)


def some_data(N: int, D: int, seed: int = 1) -> Floats:
    """Return N observations in two loose groups."""
    centre = np.where(np.arange(N) % 2, 1.5, -1.5)[:, None]
    return centre + np.random.default_rng(seed).standard_normal((N, D))


def log_predictive(x: Floats, X: Floats, niw: NIW) -> float:
    """Return log p(x | X) for one cluster: a multivariate t (Gelman et al. 2013, section 3.6).

    nu_n - D + 1 degrees of freedom, location mu_n, shape Psi_n (kappa_n + 1) / (kappa_n (nu_n - D + 1)).
    """
    mu, kappa, nu, Psi, _ = oracle.niw_posterior(X, niw)
    df = nu - len(x) + 1
    return float(stats.multivariate_t.logpdf(x, mu, Psi * (kappa + 1) / (kappa * df), df))


def numbers(text: str) -> Floats:
    """Return the numbers of one printed line."""
    return np.array(text.split(), dtype=float)


def name(prior: WeightPrior) -> str:
    """Return the name of a weight prior, for the test's own name."""
    return type(prior).__name__


def assert_close(actual: ArrayLike, expected: ArrayLike, ulps: float = 1000) -> None:
    """Compare two routes to one number: some hundreds of roundings apart, no more."""
    np.testing.assert_allclose(np.asarray(actual), np.asarray(expected), rtol=ulps * EPS)


def assert_printed(actual: ArrayLike, printed: ArrayLike, decimals: int) -> None:
    """Compare with numbers printed to so many decimals: half a unit in the last place, and rounding error."""
    half_unit = 0.5 * 10.0**-decimals
    np.testing.assert_allclose(np.asarray(actual), np.asarray(printed), rtol=100 * EPS, atol=half_unit * 1.001)


# --- Fixture A ---


def test_dirichlet_process_reproduces_fixture() -> None:
    exact = oracle.enumerate_posterior(NEAL, NEAL_NIW, DP(1.0))
    assert_printed(exact.log_evidence, -13.375208092361, 12)
    n_clusters = numbers(".01754087 .37718601 .38820410 .17023206 .04063830 .00570396 .00047279 .00002149 .00000041")
    assert_printed(exact.n_clusters, n_clusters, 8)


@pytest.mark.parametrize(
    ("n", "log_evidence"),
    [
        (1, -15.221205316717),
        (2, -12.993067709966),
        (3, -12.957991019147),
        (4, -13.057976468661),
        (5, -13.180380196774),
        (6, -13.300574166786),
    ],
)
def test_finite_mixture_reproduces_fixture(n: int, log_evidence: float) -> None:
    exact = oracle.enumerate_posterior(NEAL, NEAL_NIW, Finite(n, 1.0))
    assert_printed(exact.log_evidence, log_evidence, 12)
    assert exact.n_components is None
    if n == 3:
        assert_printed(exact.n_clusters[:3], [0.00567358, 0.51530631, 0.47902011], 8)
    assert not exact.n_clusters[n:].any()


def test_static_mfm_reproduces_fixture() -> None:
    exact = oracle.enumerate_posterior(NEAL, NEAL_NIW, StaticMFM(1.0, BNB))
    assert_printed(exact.log_evidence, -13.751985716349, 12)
    n_clusters = numbers(".14280156 .59486931 .18854035 .05374819 .01490361 .00395886 .00096006 .00019307 .00002499")
    assert_printed(exact.n_clusters, n_clusters, 8)
    assert exact.n_components is not None
    n_components = [0.13148857, 0.45770654, 0.21068723, 0.09532023, 0.04600281, 0.02379587]
    assert_printed(exact.n_components[:6], n_components, 8)


def test_dynamic_mfm_reproduces_fixture() -> None:
    exact = oracle.enumerate_posterior(NEAL, NEAL_NIW, DynamicMFM(1.0, BNB))
    assert_printed(exact.log_evidence, -13.97847424, 8)
    assert_printed(exact.n_clusters[:3], [0.2012171, 0.6560607, 0.1269441], 7)
    assert_printed(exact.n_clusters[3:6], [0.0146, 0.0011181, 0.000058], 7)


def test_prior_of_n_clusters_reproduces_fixture() -> None:
    printed = numbers(".62059306 .22770739 .09057710 .03719167 .01518166 .00592614 .00209748 .00061139 .00011411")
    assert_printed(oracle.prior_n_clusters(9, StaticMFM(1.0, BNB)), printed, 8)


def test_log_v_reproduces_fixture() -> None:
    # p(partition) = V_N(t) prod_c Gamma(gamma + n_c) / Gamma(gamma): all partitions of t blocks give V_9(t).
    printed = numbers(
        "-13.27890718 -15.66781567 -16.74382642 -16.94079594 -16.45049843"
        " -15.37631061 -13.77588777 -11.67643402 -9.07835193"
    )
    for z in [z for z in oracle.partitions(9) if list(z) == sorted(z)]:
        sizes = np.bincount(z)
        log_v = oracle.log_partition_prior(sizes, StaticMFM(1.0, BNB)) - gammaln(1.0 + sizes).sum()
        assert_printed(log_v, printed[len(sizes) - 1], 8)


def test_prior_of_n_reproduces_published_table() -> None:
    # The BNB(1, 4, 3) of Fruehwirth-Schnatter, Malsiner-Walli & Gruen (2021); project fixture C.
    assert_printed(BNB[:5], [0.5714, 0.2143, 0.0952, 0.0476, 0.0260], 4)


# --- One cluster ---


@pytest.mark.parametrize("D", [1, 2, 3])
@pytest.mark.parametrize("excess", [-0.5, 0.0, 4.0])
def test_log_marginal_is_product_of_predictives(D: int, excess: float) -> None:
    # nu_0 = D - 1/2 is the corner between D - 1, where the prior ends, and D.
    X, niw = some_data(8, D), some_niw(D, D + excess)
    log_p = np.cumsum([log_predictive(X[i], X[:i], niw) for i in range(len(X))])
    assert_close([oracle.log_marginal(X[: i + 1], niw) for i in range(len(X))], log_p)
    assert oracle.log_marginal(X[:0], niw) == 0.0


@pytest.mark.parametrize("D", [1, 2, 3])
def test_posterior_updates_in_steps(D: int) -> None:
    X, niw = some_data(9, D), some_niw(D)
    at_once = oracle.niw_posterior(X, niw)
    in_steps = oracle.niw_posterior(X[4:], oracle.niw_posterior(X[:4], niw))
    assert_close(np.hstack([np.ravel(a) for a in in_steps[:4]]), np.hstack([np.ravel(a) for a in at_once[:4]]))


@pytest.mark.parametrize("D", [1, 2, 3])
def test_densities_agree_with_bayes_theorem(D: int) -> None:
    # Chib (1995): log p(X | theta) + log p(theta) - log p(theta | X) is log m(X) whatever theta is.
    X, niw, rng = some_data(7, D), some_niw(D), np.random.default_rng(2)
    for _ in range(5):
        mu, Sigma = simulation.draw_niw(rng, niw)
        log_p = oracle.log_posterior(X, np.ones(1), mu[None], Sigma[None], 0.5, niw)
        log_p -= oracle.log_niw(mu, Sigma, oracle.niw_posterior(X, niw))
        assert_close(log_p, oracle.log_marginal(X, niw), ulps=10_000)


@pytest.mark.parametrize("D", [1, 2, 3])
def test_log_posterior_sums_over_labels(D: int) -> None:
    N, alpha, niw, rng = 4, 0.8, some_niw(D), np.random.default_rng(3)
    w, mu, Sigma, _, X = simulation.simulate_prior(rng, 2, alpha, niw, N)
    labellings = list(product((0, 1), repeat=N))
    log_f = [[stats.multivariate_normal.logpdf(x, mu[k], Sigma[k]) for k in (0, 1)] for x in X]
    log_given_z = [sum(np.log(w[k]) + log_f[i][k] for i, k in enumerate(z)) for z in labellings]
    log_prior = stats.beta.logpdf(w[0], alpha, alpha) + sum(map(oracle.log_niw, mu, Sigma, [niw, niw]))
    actual = oracle.log_posterior(X, w, mu, Sigma, alpha, niw)
    assert_close(actual, logsumexp(log_given_z) + log_prior)


def test_zero_weight_is_no_component() -> None:
    _, mu, Sigma, _, X = simulation.simulate_prior(np.random.default_rng(4), 2, 1.0, some_niw(2), 3)
    one = oracle.log_mixture_density(X, np.ones(1), mu[:1], Sigma[:1])
    np.testing.assert_array_equal(oracle.log_mixture_density(X, np.array([1.0, 0.0]), mu, Sigma), one)


# --- Partitions ---


def test_partitions_are_all_there_once() -> None:
    for N, bell in enumerate([1, 1, 2, 5, 15, 52, 203, 877, 4140]):  # OEIS A000110
        z = list(oracle.partitions(N))
        assert len(z) == len(set(z)) == bell
        assert all(oracle.canonical(labels) == labels for labels in z)


def test_co_clustering_and_canonical_forget_names() -> None:
    z, renamed = np.array([0, 2, 0, 1]), np.array([7, 0, 7, 3])
    assert oracle.canonical(z) == oracle.canonical(renamed) == (0, 1, 0, 2)
    together = oracle.co_clustering(z)
    np.testing.assert_array_equal(together, oracle.co_clustering(renamed))
    np.testing.assert_array_equal(together, [[1, 0, 1, 0], [0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 1]])
    np.testing.assert_array_equal(oracle.co_clustering(np.stack([z, z])), np.stack([together, together]))


@pytest.mark.parametrize("prior", EVERY_PRIOR, ids=name)
@pytest.mark.parametrize("N", [1, 4, 8])
def test_partition_prior_sums_to_one(prior: WeightPrior, N: int) -> None:
    # The tail of p(n) that BNB leaves out is 2e-15.
    assert_close(oracle.partition_prior(N, prior).sum(), 1.0)


@pytest.mark.parametrize("prior", EVERY_PRIOR, ids=name)
def test_partition_prior_is_consistent_in_N(prior: WeightPrior) -> None:
    # Leaving out the last of N items gives the prior of N - 1 (Kolmogorov consistency, Pitman 1995).
    marginal: dict[tuple[int, ...], float] = {}
    for z, p in zip(oracle.partitions(6), oracle.partition_prior(6, prior), strict=True):
        marginal[z[:-1]] = marginal.get(z[:-1], 0.0) + p
    assert_close(list(marginal.values()), oracle.partition_prior(5, prior))


@pytest.mark.parametrize("prior", [StaticMFM(0.6, BNB[:50]), DynamicMFM(1.3, BNB[:50])], ids=name)
def test_n_given_partition_averages_to_prior(prior: StaticMFM | DynamicMFM) -> None:
    p = np.zeros(50)
    for z, p_z in zip(oracle.partitions(5), oracle.partition_prior(5, prior), strict=True):
        p += p_z * oracle.n_given_partition(np.bincount(z), prior)
    assert_close(p, prior.p_n)


@pytest.mark.parametrize(("alpha", "d"), [(0.8, 0.0), (0.5, 0.25), (-0.2, 0.6)])
def test_processes_follow_the_urn(alpha: float, d: float) -> None:
    # Chinese restaurant: weight n_c - d for an old block, alpha + d t for a new one (Pitman 1995).
    for z, p in zip(oracle.partitions(6), oracle.partition_prior(6, PY(alpha, d)), strict=True):
        urn = 1.0
        for i in range(1, 6):
            n_c, t = z[:i].count(z[i]), max(z[:i]) + 1
            urn *= (n_c - d if n_c else alpha + d * t) / (i + alpha)
        assert_close(p, urn)
    if d == 0:
        assert_close(oracle.partition_prior(6, DP(alpha)), oracle.partition_prior(6, PY(alpha, d)))


# --- Enumeration ---


@pytest.mark.parametrize("D", [1, 2, 3])
def test_enumeration_agrees_with_sum_over_labels(D: int) -> None:
    # By another route: all n^N labels, each observation predicted from those before it.
    N, n, alpha = 5, 3, 0.4
    X, niw = some_data(N, D), some_niw(D)

    labels = np.array(list(product(range(n), repeat=N)))
    log_p = np.zeros(n**N)
    for row, z in enumerate(labels):
        for i in range(N):
            mine = z[:i] == z[i]
            log_p[row] += np.log((mine.sum() + alpha) / (i + n * alpha))
            log_p[row] += log_predictive(X[i], X[:i][mine], niw)
    p = np.exp(log_p - logsumexp(log_p))
    fractions = np.stack([(labels == k).mean(axis=1) for k in range(n)], axis=1)
    entropy = [stats.entropy(f) for f in fractions]

    exact = oracle.enumerate_posterior(X, niw, Finite(n, alpha))
    assert_close(exact.log_evidence, logsumexp(log_p))
    assert_close(exact.co_clustering, np.tensordot(p, oracle.co_clustering(labels), axes=1))
    assert_close(exact.mean_concentration, p @ (fractions**2).sum(axis=1))
    assert_close(exact.mean_entropy, p @ entropy)
    for t in range(1, N + 1):
        p_t = p[(fractions > 0).sum(axis=1) == t].sum()
        assert_close(exact.n_clusters[t - 1], p_t)


@pytest.mark.parametrize("prior", EVERY_PRIOR, ids=name)
def test_enumeration_is_coherent(prior: WeightPrior) -> None:
    X, niw = some_data(6, 2), some_niw(2)
    exact = oracle.enumerate_posterior(X, niw, prior)
    assert_close(exact.probability.sum(), 1.0)
    assert_close(exact.n_clusters.sum(), 1.0)
    assert_close(np.diag(exact.co_clustering), 1.0)
    # E sum_k (n_k / N)^2 is the mean of the co-clustering matrix.
    assert_close(exact.co_clustering.mean(), exact.mean_concentration)
    assert (exact.n_components is not None) == isinstance(prior, StaticMFM | DynamicMFM)
    if exact.n_components is not None:
        assert_close(exact.n_components.sum(), 1.0)
    order = np.array([3, 1, 5, 0, 4, 2])
    shuffled = oracle.enumerate_posterior(X[order], niw, prior)
    assert_close(shuffled.log_evidence, exact.log_evidence)
    assert_close(shuffled.co_clustering, exact.co_clustering[np.ix_(order, order)])


@pytest.mark.parametrize("make", [StaticMFM, DynamicMFM], ids=["static", "dynamic"])
def test_mfm_evidence_is_average_over_n(make: type[StaticMFM] | type[DynamicMFM]) -> None:
    # p(X) = sum_n p(n) p(X | n), and p(n | X) by Bayes' theorem from the evidences of fixed n.
    X, niw, p_n = some_data(6, 3), some_niw(3), np.array([0.1, 0.4, 0.0, 0.3, 0.2])
    alphas = [0.7] * 5 if make is StaticMFM else [0.7 / n for n in range(1, 6)]
    per_n = [oracle.enumerate_posterior(X, niw, Finite(n, a)).log_evidence for n, a in enumerate(alphas, start=1)]
    log_evidence = logsumexp(per_n, b=p_n)
    exact = oracle.enumerate_posterior(X, niw, make(0.7, p_n))
    assert_close(exact.log_evidence, log_evidence)
    assert exact.n_components is not None
    assert_close(exact.n_components, p_n * np.exp(per_n - log_evidence), ulps=10_000)


def test_evidence_ratio_is_a_density() -> None:
    X, niw, prior = some_data(4, 1), some_niw(1), PY(0.5, 0.25)
    grid = np.sinh(np.linspace(-9, 9, 301))  # Wide: the predictive has the tails of a Student t.
    both = [oracle.enumerate_posterior(np.vstack([X, [[x]]]), niw, prior).log_evidence for x in grid]
    density = np.exp(np.array(both) - oracle.enumerate_posterior(X, niw, prior).log_evidence)
    integral = np.trapezoid(density * np.sqrt(1 + grid**2), np.arcsinh(grid))
    # Missing is what lies beyond sinh(9) = 4,052: the predictive is narrower than 2 t_2.5, so below 1e-8.
    np.testing.assert_allclose(integral, 1.0, rtol=1e-8)


# --- Simulation ---


def sweep_p_values(draws: int) -> list[float]:
    """Run one chain of `gibbs_sweep`; return a p-value per label-invariant mean that enumeration knows.

    Each is a t-test of the means of 20 batches, which are much longer than the chain's memory.
    """
    N, n, alpha, batches = 5, 3, 0.9, 20
    X, niw, rng = some_data(N, 2), some_niw(2), np.random.default_rng(5)
    exact = oracle.enumerate_posterior(X, niw, Finite(n, alpha))
    z, trace = np.zeros(N, dtype=np.int64), []
    for _ in range(draws):
        *_, z = simulation.gibbs_sweep(rng, X, z, alpha, niw, n)
        trace.append(z)
    kept = np.stack(trace)[draws // 20 :]
    fractions = np.stack([(kept == k).mean(axis=1) for k in range(n)], axis=1)
    pairs = np.triu_indices(N, k=1)
    seen = [(fractions > 0).sum(axis=1) == t for t in (1, 2)]
    seen += [(fractions**2).sum(axis=1), stats.entropy(fractions, axis=1)]
    seen += [*oracle.co_clustering(kept)[:, *pairs].T]
    true = [*exact.n_clusters[:2], exact.mean_concentration, exact.mean_entropy, *exact.co_clustering[pairs]]
    means = np.array([[batch.mean() for batch in np.array_split(x, batches)] for x in seen])
    return [float(stats.ttest_1samp(m, mean).pvalue) for m, mean in zip(means, true, strict=True)]


def test_gibbs_sweep_agrees_with_enumeration() -> None:
    p_values = sweep_p_values(3000)
    assert min(p_values) > RATE / len(p_values)


def geweke_p_values(replicates: int) -> list[float]:
    """Return p-values of "prior, data, one sweep" against the prior (Geweke 2004).

    Replicates are independent, so Kolmogorov-Smirnov tests hold. Three marginals of the prior are known. Two
    statistics are compared with a second set of replicates: the log likelihood, and by how much the share of
    the widest component exceeds its weight.
    """
    n, alpha, D, N = 2, 0.9, 2, 12
    niw, rng = some_niw(D)._replace(kappa_0=2.0), np.random.default_rng(6)  # Overlapping.

    def summary(w: Floats, mu: Floats, Sigma: Floats, z: Ints, X: Floats) -> list[float]:
        log_lik = oracle.log_mixture_density(X, w, mu, Sigma).sum()
        widest = np.linalg.det(Sigma).argmax()
        return [w[0], mu[0, 1], Sigma[0, 0, 0], log_lik, (z == widest).mean() - w[widest]]

    before, after = [], []
    for _ in range(replicates):
        before.append(summary(*simulation.simulate_prior(rng, n, alpha, niw, N)))
        *_, z, X = simulation.simulate_prior(rng, n, alpha, niw, N)
        after.append(summary(*simulation.gibbs_sweep(rng, X, z, alpha, niw, n), X))
    w_0, mu_01, Sigma_00, *others = np.transpose(after)
    df = niw.nu_0 - D + 1
    tests = [
        stats.kstest(w_0, stats.beta(alpha, (n - 1) * alpha).cdf),
        stats.kstest(mu_01, stats.t(df, niw.mu_0[1], np.sqrt(niw.Psi_0[1, 1] / (niw.kappa_0 * df))).cdf),
        stats.kstest(Sigma_00, stats.invgamma(df / 2, scale=niw.Psi_0[0, 0] / 2).cdf),
        *(stats.ks_2samp(a, b) for a, b in zip(others, np.transpose(before)[3:], strict=True)),
    ]
    return [float(test.pvalue) for test in tests]


def test_prior_data_and_sweep_are_invariant() -> None:
    p_values = geweke_p_values(1200)
    assert min(p_values) > RATE / len(p_values)


def nu_off_by_one(X: Floats, niw: NIW, right: Callable[[Floats, NIW], NIW] = oracle.niw_posterior) -> NIW:
    """Update `niw`, wrongly."""
    return right(X, niw)._replace(nu_0=niw.nu_0 + len(X) - 1)


def without_log_det(X: Floats, w: Floats, mu: Floats, Sigma: Floats) -> Floats:
    """Return the joint log density without -log|Sigma_k| / 2, wrongly."""
    white = [np.linalg.solve(np.linalg.cholesky(S), (X - m).T) for m, S in zip(mu, Sigma, strict=True)]
    return np.asarray(np.log(w) - (np.stack(white) ** 2).sum(axis=1).T / 2)


@pytest.mark.parametrize(
    ("formula", "wrong"), [("niw_posterior", nu_off_by_one), ("log_joint_density", without_log_det)]
)
def test_planted_bug_is_caught(monkeypatch: pytest.MonkeyPatch, formula: str, wrong: object) -> None:
    monkeypatch.setattr(oracle, formula, wrong)
    p_values = geweke_p_values(1200)
    assert min(p_values) < RATE / len(p_values)


@pytest.mark.parametrize("D", [1, 3])
def test_components_have_the_law_that_scipy_has_for_them(D: int) -> None:
    niw, count = some_niw(D, D + 0.7), 20_000
    mu, Sigma = simulation.draw_components(np.random.default_rng(5), niw, count)
    other = stats.invwishart(niw.nu_0, niw.Psi_0).rvs(count, random_state=np.random.default_rng(6)).reshape(-1, D, D)
    root = np.linalg.cholesky(Sigma / niw.kappa_0)
    found, expected = {}, {}
    for values, of in ((found, Sigma), (expected, other)):
        values |= {f"Sigma_{i}{j}": of[:, i, j] for i in range(D) for j in range(i + 1)}
        values["log det"] = np.linalg.slogdet(of)[1]
        values["of the inverse"] = np.linalg.inv(of)[:, 0, -1]
    p = [stats.ks_2samp(found[name], expected[name]).pvalue for name in found]
    p.append(stats.kstest(np.linalg.solve(root, (mu - niw.mu_0)[..., None]).ravel(), stats.norm.cdf).pvalue)
    assert min(p) > RATE / len(p)


def test_numbers_of_components_have_their_law() -> None:
    n_prior = stats.betanbinom(1, 4, 3, loc=1)
    n = simulation.draw_n(np.random.default_rng(7), n_prior, 50_000)
    p = n_prior.pmf(np.arange(1, 8))
    observed, expected = np.bincount(n, minlength=8)[1:8], 50_000 * p
    rest = np.array([50_000 - observed.sum()]), np.array([50_000 * (1.0 - p.sum())])
    assert stats.chisquare(np.append(observed, rest[0]), np.append(expected, rest[1])).pvalue > RATE


@pytest.mark.parametrize(("D", "K"), [(1, 1), (1, 3), (2, 5), (13, 4)])
def test_simulated_mixture_is_separated(D: int, K: int) -> None:
    N, separation = 1000, 6.0
    X, z, w, mu, Sigma = simulation.simulate_mixture(np.random.default_rng(7), N, D, K, separation)
    assert (X.shape, z.shape, w.shape) == ((N, D), (N,), (K,))
    assert (mu.shape, Sigma.shape) == ((K, D), (K, D, D))
    assert_close(w.sum(), 1.0)
    eigenvalues = np.linalg.eigvalsh(Sigma)
    assert eigenvalues.min() > 0.25 - 100 * EPS
    assert eigenvalues.max() < 1 + 100 * EPS
    assert all(np.linalg.norm(mu[j] - mu[k]) >= separation for j in range(K) for k in range(j))
    # The best classifier does no worse than the halfway planes: error at most (K - 1) Phi(-separation / 2).
    wrong = int((oracle.log_joint_density(X, w, mu, Sigma).argmax(axis=1) != z).sum())
    assert wrong <= stats.binom.isf(RATE, N, (K - 1) * stats.norm.cdf(-separation / 2))
    standardised = np.linalg.solve(np.linalg.cholesky(Sigma)[z], (X - mu[z])[..., None])
    assert stats.kstest(standardised.ravel(), stats.norm.cdf).pvalue > RATE
    assert K == 1 or stats.chisquare(np.bincount(z, minlength=K), N * w).pvalue > RATE
