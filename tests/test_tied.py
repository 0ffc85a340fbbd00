"""One covariance for all components: each verb against SciPy and NumPy.

RATE is the probability that a statistical test fails although all is well: it is divided by the number of p-values.
"""

import dataclasses
import math

import numpy as np
import oracle
import pytest
import simulation
from harness import (
    EPS,
    JIT,
    LOG2_E,
    assert_p_values,
    draw_scales,
    package_prior,
    read_only,
    repeat,
    scale_prior,
    some_niw,
)
from oracle import NIW, Floats, Ints
from scipy import stats

import gibbs_gmm as gg
from gibbs_gmm.kernels.families import FULL, TIED, generic
from gibbs_gmm.kernels.families.full import KAPPA
from gibbs_gmm.kernels.families.tied import TiedPrior
from gibbs_gmm.kernels.families.tied_rounding import draw_all_unrounded
from gibbs_gmm.kernels.tile import TILE, load_tile, new_workspace

RATE = 1e-4
SIZE = 5_000 if JIT else 300
DIMENSIONS = [1, 2, 3, 4, 5, 8, 13]
NOISE = np.array([0.4, 0.8, 0.1])


def lower(P: Floats) -> Floats:
    """Lower triangular W with W'W = P."""
    return np.ascontiguousarray(np.linalg.cholesky(P[::-1, ::-1])[::-1, ::-1].T)


def tied_prior(niw: NIW, Sigma: Floats | None = None) -> TiedPrior:
    """The kernels' prior, in coordinates that are not shifted, with Sigma as the covariance of now."""
    prior: TiedPrior = dataclasses.replace(package_prior(niw), covariance_type="tied").as_kernel(
        np.zeros(len(niw.mu_0))
    )
    if Sigma is not None:
        prior.W[0] = lower(np.linalg.inv(Sigma))
    return prior


def some_covariance(rng: np.random.Generator, D: int) -> Floats:
    A = rng.standard_normal((D, D + 2))
    return A @ A.T / D


def statistics_of(X: Floats, z: Ints, K: int, centre: Floats) -> generic.Statistics:
    """Statistics of rows X (N, D) with labels z about the centres (K, D)."""
    D = X.shape[1]
    result = TIED.statistics(K, D)
    for k in range(K):
        d = X[z == k] - centre[k]
        result.n[k] = len(d)
        if len(d) > 0:
            result.block[k] = TIED.block_of(d)
            result.block[k, :D] = d.sum(0)
    return result


def padded(mu: Floats) -> Floats:
    """Means (K, D) as centres (K, P)."""
    result = generic.zeros(len(mu), generic.padded(mu.shape[1]))
    result[:, : mu.shape[1]] = mu
    return result


def three_clusters(D: int, N: int = 12, niw: NIW | None = None) -> tuple[NIW, Floats, Ints, Floats, Floats]:
    """A prior, rows and their labels in 0..2, centres near their means, and a covariance."""
    rng = np.random.default_rng([3, D])
    niw = some_niw(D) if niw is None else niw
    z = np.sort(np.arange(N) % 3)
    X = 2.0 * z[:, None] + rng.standard_normal((N, D))
    centre = np.stack([X[z == k].mean(0) for k in range(3)]) + 0.1 * rng.standard_normal((3, D))
    return niw, X, z, centre, some_covariance(rng, D)


def log_marginal_given_Sigma(X: Floats, Sigma: Floats, niw: NIW) -> float:
    """log density of rows of one cluster: they are jointly normal, with the mean integrated out."""
    n, D = X.shape
    joint = np.kron(np.eye(n), Sigma) + np.kron(np.ones((n, n)), Sigma / niw.kappa_0)
    noise = np.zeros(D) if niw.noise is None else niw.noise
    loss = 0.5 * n * np.trace(noise[:, None] * np.linalg.inv(Sigma))
    return float(stats.multivariate_normal(np.tile(niw.mu_0, n), joint).logpdf(X.ravel()) - loss)


# --- The label pass ---


@pytest.mark.parametrize("D", DIMENSIONS)
def test_log_weights(D: int) -> None:
    rng, K, size = np.random.default_rng(D), 3, TILE - 5
    niw = some_niw(D)._replace(noise=np.full(D, 0.1))
    mu, Sigma, X = 3.0 * rng.standard_normal((K, D)), some_covariance(rng, D), 3.0 * rng.standard_normal((size, D))
    log_w = np.log(rng.dirichlet(np.ones(K)))
    prior, components, parameters = tied_prior(niw, Sigma), TIED.components(K, D), TIED.parameters(K, D)
    components.centre[:] = padded(mu)
    for k in range(K):
        components.log_c[k] = LOG2_E * (log_w[k] + generic.prepare(prior, parameters, k, components, k))
    work, loc = new_workspace(K, D), np.linspace(-1.0, 1.0, D)
    load_tile(read_only(X + loc), loc, 0, size, work.Xt, work.rows)
    rows = work.rows.copy()
    generic.log_weights(components, K, work)
    loss = 0.5 * np.trace(np.diag(niw.noise) @ np.linalg.inv(Sigma))
    for k in range(K):
        log_p = np.reshape(stats.multivariate_normal(mu[k], Sigma).logpdf(X), size) + log_w[k] - loss
        np.testing.assert_allclose(work.lw[k, :size], LOG2_E * log_p, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(work.top, work.lw[:K].max(0))
    np.testing.assert_array_equal(work.rows, rows)
    # the odds of components 0 and 1 at a point are those of the label pass
    odds = generic.log_odds(components, X[0])
    assert math.isclose(odds, work.lw[0, 0] - work.lw[1, 0], rel_tol=1e-9, abs_tol=1e-9)


def test_a_launch_of_the_library_is_recalled_with_the_covariance_that_was_kept() -> None:
    D, rng = 3, np.random.default_rng(4)
    niw, mu, Sigma = some_niw(D), rng.standard_normal((2, D)), some_covariance(rng, D)
    prior, pair, library = tied_prior(niw, Sigma), TIED.components(2, D), TIED.components(6, D)
    pair.centre[:] = padded(mu)
    for k, log_w in enumerate(np.log([0.3, 0.7])):
        pair.log_c[k] = LOG2_E * (log_w + generic.prepare(prior, TIED.parameters(1, D), 0, pair, k))
        generic.keep(pair, k, library, 4 + k)
    prior.W[0] = lower(np.linalg.inv(some_covariance(rng, D)))  # it depends on the partition, which a move changes
    again, x = TIED.components(2, D), rng.standard_normal(D)
    for k in range(2):
        generic.recall(prior, library, 4 + k, again, k)
    density = [stats.multivariate_normal(m, Sigma).pdf(x) for m in mu]
    assert math.isclose(generic.log_odds(again, x), math.log2(0.3 * density[0] / (0.7 * density[1])), rel_tol=1e-9)


def test_swap_and_ball() -> None:
    D, components = 2, TIED.components(3, 2)
    for k in range(3):
        generic.ball(components, k, np.array([k, -1.0]), np.array([2.0, 0.5]))
        components.log_c[k] = k
    np.testing.assert_array_equal(components.V, np.diag([0.5, 2.0]))
    np.testing.assert_array_equal(components.c, [[0.0, 2.0], [-0.5, 2.0], [-1.0, 2.0]])
    generic.swap(components, TIED.parameters(3, D), 0, 2)
    np.testing.assert_array_equal(components.log_c, [2.0, 1.0, 0.0])
    np.testing.assert_array_equal(components.centre[:, 0], [2.0, 1.0, 0.0])
    np.testing.assert_array_equal(components.c[:, 0], [-1.0, -0.5, 0.0])


# --- Conjugate updates ---


@pytest.mark.parametrize("D", [1, 2, 3])
def test_the_covariance_given_the_clusters(D: int) -> None:
    niw, X, z, centre, _ = three_clusters(D, niw=some_niw(D)._replace(noise=NOISE[:D]))
    prior, rows, where, scratch = tied_prior(niw), statistics_of(X, z, 3, centre), padded(centre), TIED.scratch(D)
    rng, Psi, nu = np.random.default_rng(D), oracle.tied_scale(X, z, niw), niw.nu_0 + len(X)

    def draw() -> Floats:
        assert generic.draw_shared(prior, rng, rows, 3, where, scratch) == 0
        V = np.linalg.inv(prior.W[0])
        return V @ V.T

    Sigma, p = repeat(SIZE, draw), {}
    for name, a in {"first": np.eye(D)[0], "last": np.eye(D)[-1], "all": np.ones(D)}.items():
        law = stats.invgamma(0.5 * (nu - D + 1.0), scale=0.5 * a @ Psi @ a)  # of a' Sigma a
        p[name] = float(stats.kstest(a @ Sigma @ a, law.cdf).pvalue)
    # |Psi| / |Sigma| is a product of independent chi^2(nu), chi^2(nu - 1), ...
    other = np.prod([stats.chi2(nu - j).rvs(SIZE, random_state=rng) for j in range(D)], axis=0)
    p["determinant"] = float(stats.ks_2samp(np.linalg.det(Psi) / np.linalg.det(Sigma), other).pvalue)
    assert_p_values(p, RATE)


@pytest.mark.parametrize("n", [0, 4])
def test_a_mean_given_its_rows(n: int) -> None:
    D = 2
    niw, X, z, centre, Sigma = three_clusters(D)
    prior, rows, scratch = tied_prior(niw, Sigma), statistics_of(X, z, 3, centre), TIED.scratch(D)
    rng = np.random.default_rng(n)

    def draw() -> Floats:
        where = padded(centre)
        assert generic.draw(prior, rng, float(n), rows, 1, where, TIED.parameters(1, D), 0, scratch) == 0
        return where[1, :D].copy()

    posterior = oracle.niw_posterior(X[z == 1] if n > 0 else X[:0], niw)
    mu = repeat(SIZE, draw)
    residual = (mu - posterior.mu_0) @ lower(np.linalg.inv(Sigma)).T * math.sqrt(posterior.kappa_0)
    p = {str(d): float(stats.kstest(residual[:, d], stats.norm.cdf).pvalue) for d in range(D)}
    p["together"] = float(stats.kstest(residual.sum(1) / math.sqrt(D), stats.norm.cdf).pvalue)
    assert_p_values(p, RATE)


@pytest.mark.parametrize("D", [1, 2, 3, 5])
def test_one_component_is_the_full_family(D: int) -> None:
    niw, X, _, centre, _ = three_clusters(D, niw=some_niw(D)._replace(noise=np.full(D, 0.2)))
    z, prior, full = np.zeros(len(X), np.int64), tied_prior(niw), package_prior(niw).as_kernel(np.zeros(D))
    rows, parameters = statistics_of(X, z, 1, centre), FULL.parameters(1, D)
    ours, theirs, rng = padded(centre), padded(centre), np.random.default_rng
    assert generic.draw_shared(prior, one := rng(5), rows, 1, ours, TIED.scratch(D)) == 0
    assert generic.draw(prior, one, float(len(X)), rows, 0, ours, TIED.parameters(1, D), 0, TIED.scratch(D)) == 0
    assert generic.draw(full, rng(5), float(len(X)), rows, 0, theirs, parameters, 0, FULL.scratch(D)) == 0
    np.testing.assert_allclose(prior.W[0], parameters.W[0], rtol=1e4 * EPS, atol=1e2 * EPS)
    np.testing.assert_allclose(ours, theirs, rtol=1e4 * EPS, atol=1e3 * EPS)
    assert math.isclose(
        generic.log_prior(prior, TIED.parameters(1, D), ours, 1),
        generic.log_prior(full, parameters, theirs, 1),
        rel_tol=1e-9,
    )


def test_the_default_prior_is_that_of_full_covariances() -> None:
    X = np.random.default_rng(1).standard_normal((30, 4))
    full, tied = (gg.NormalInverseWishart.from_data(X, covariance_type=name).to_dict() for name in ("full", "tied"))
    assert tied == full | {"covariance_type": "tied"}


@pytest.mark.parametrize("D", [1, 2, 3])
def test_log_marginal(D: int) -> None:
    niw, X, z, centre, Sigma = three_clusters(D, niw=some_niw(D)._replace(noise=NOISE[:D]))
    prior, rows, where, scratch = (
        tied_prior(niw, Sigma),
        statistics_of(X, z, 3, centre),
        padded(centre),
        TIED.scratch(D),
    )
    for k in range(3):
        value = generic.log_marginal(prior, rows.n[k], rows, k, where[k], scratch)
        assert math.isclose(value, log_marginal_given_Sigma(X[z == k], Sigma, niw), rel_tol=1e-9)
    assert generic.log_marginal(prior, 0.0, rows, 0, where[0], scratch) == 0.0
    union, middle = TIED.statistics(1, D), np.zeros(generic.padded(D))
    generic.merge(prior, rows, 0, 2, where, union, middle)
    value = generic.log_marginal(prior, union.n[0], union, 0, middle, scratch)
    assert math.isclose(value, log_marginal_given_Sigma(X[z != 1], Sigma, niw), rel_tol=1e-9)


def test_log_marginals_given_the_covariance_average_to_that_of_the_partition() -> None:
    # Bayes' theorem at any Sigma: log m(X | C) = log m(X | C, Sigma) + log p(Sigma) - log p(Sigma | X, C)
    D = 2
    niw, X, z, centre, Sigma = three_clusters(D)
    prior, rows, where, scratch = (
        tied_prior(niw, Sigma),
        statistics_of(X, z, 3, centre),
        padded(centre),
        TIED.scratch(D),
    )
    given = sum(generic.log_marginal(prior, rows.n[k], rows, k, where[k], scratch) for k in range(3))
    before = stats.invwishart.logpdf(Sigma, niw.nu_0, niw.Psi_0)
    after = stats.invwishart.logpdf(Sigma, niw.nu_0 + len(X), oracle.tied_scale(X, z, niw))
    assert math.isclose(given + before - after, oracle.log_tied_marginal(X, z, niw), rel_tol=1e-9)


def test_log_marginals_with_the_covariance_integrated_out() -> None:
    # rows of clusters 0 and 2 as they are and merged: the difference is that of the partitions' log marginals
    D = 2
    niw, X, z, centre, _ = three_clusters(D, niw=some_niw(D)._replace(noise=NOISE[:D]))
    prior, scratch = tied_prior(niw), TIED.scratch(D)
    rows, where = statistics_of(X, z, 3, centre), padded(centre)
    union, middle = TIED.statistics(1, D), generic.zeros(1, generic.padded(D))
    generic.set_rest(prior, rows, 3, where, 0, 2, scratch)
    apart = generic.log_marginals(prior, rows, 0, 2, where, scratch)
    generic.merge(prior, rows, 0, 2, where, union, middle[0])
    together = generic.log_marginals(prior, union, 0, -1, middle, scratch)
    truth = oracle.log_tied_marginal(X, z, niw) - oracle.log_tied_marginal(X, np.where(z == 2, 0, z), niw)
    assert math.isclose(apart - together, truth, rel_tol=1e-9)


def test_log_prior() -> None:
    D, rng = 3, np.random.default_rng(6)
    niw, mu, Sigma = some_niw(D), rng.standard_normal((4, D)), some_covariance(rng, D)
    value = generic.log_prior(tied_prior(niw, Sigma), TIED.parameters(4, D), padded(mu), 3)
    truth = stats.invwishart.logpdf(Sigma, niw.nu_0, niw.Psi_0)
    truth += stats.multivariate_normal(niw.mu_0, Sigma / niw.kappa_0).logpdf(mu[:3]).sum()
    assert math.isclose(value, truth, rel_tol=1e-9)


# --- Row by row ---


@pytest.mark.parametrize("D", [1, 2, 3])
def test_clusters_that_grow_row_by_row(D: int) -> None:
    niw, X, _, _, Sigma = three_clusters(D, niw=some_niw(D)._replace(noise=NOISE[:D]))
    X[5] = X[4]  # two rows alike, one after the other
    prior = tied_prior(niw, Sigma)
    side, own = TIED.side(prior, len(X)), [X[:0], X[:0]]
    for k in range(2):
        generic.begin(prior, side, k)
    for i, x in enumerate(X):
        values, truth = [], []
        for k in range(2):
            values.append(generic.log_predictive(prior, side, k, float(len(own[k])), x))
            post = oracle.niw_posterior(own[k], niw)
            truth.append(stats.multivariate_normal(post.mu_0, Sigma * (1.0 + 1.0 / post.kappa_0)).logpdf(x))
        assert math.isclose(values[0] - values[1], truth[0] - truth[1], rel_tol=1e-9, abs_tol=1e-9)
        k = i * i % 3 % 2
        generic.grow(prior, side, k, float(len(own[k])), x)
        own[k] = np.vstack([own[k], x])
    for k in range(2):
        value = generic.log_marginal_side(prior, side, k, float(len(own[k])), TIED.scratch(D))
        assert math.isclose(value, log_marginal_given_Sigma(own[k], Sigma, niw), rel_tol=1e-9)


@pytest.mark.parametrize("D", [1, 2, 3])
def test_clusters_that_lose_rows(D: int) -> None:
    """A side that resumes a cluster, three rows of which then leave, is the cluster of the others."""
    niw, X, z, centre, Sigma = three_clusters(D, N=18, niw=some_niw(D)._replace(noise=NOISE[:D]))
    prior, scratch, rows = tied_prior(niw, Sigma), TIED.scratch(D), X[z == 1]
    n, x, own = len(rows), X[z != 1][0], statistics_of(X, z, 3, centre)
    side = TIED.side(prior, n)
    assert generic.resume(prior, own, 1, padded(centre)[1], side, 0, scratch)
    for i in range(3):
        assert generic.shrink(prior, side, 0, float(n - i), rows[i])
    generic.begin(prior, side, 1)
    for i, row in enumerate(rows[3:]):
        generic.log_predictive(prior, side, 1, float(i), row)
        generic.grow(prior, side, 1, float(i), row)
    found, truth = (generic.log_predictive(prior, side, k, float(n - 3), x) for k in range(2))
    assert math.isclose(found, truth, rel_tol=1e-9, abs_tol=1e-9)
    value = generic.log_marginal_side(prior, side, 0, float(n - 3), scratch)
    assert math.isclose(value, log_marginal_given_Sigma(rows[3:], Sigma, niw), rel_tol=1e-9)


def test_a_covariance_that_has_moved_is_not_mistaken_for_the_last() -> None:
    D, rng = 2, np.random.default_rng(7)
    niw, x, prior = some_niw(D), rng.standard_normal(D), tied_prior(some_niw(D))
    side = TIED.side(prior, 5)
    for _ in range(2):
        for k in range(2):
            generic.begin(prior, side, k)
        value = generic.log_predictive(prior, side, 0, 0.0, x)
        Sigma = np.linalg.inv(prior.W[0].T @ prior.W[0]) * (1.0 + 1.0 / niw.kappa_0)
        norm = 0.5 * D * math.log(2.0 * math.pi) + np.log(np.diagonal(prior.W[0])).sum() * -1.0
        truth = stats.multivariate_normal(niw.mu_0, Sigma).logpdf(x) + norm
        assert math.isclose(value, truth, rel_tol=1e-9)
        prior.W[0] = lower(np.linalg.inv(some_covariance(rng, D)))


# --- Hyperparameters, and what a trace has ---


@pytest.mark.parametrize("law", ["wishart", "shrunk", "turned"])
def test_hyperparameters_keep_their_prior(law: str) -> None:
    """(Psi_0, kappa_0) from their prior, (Sigma, mu) given them, then a draw given (Sigma, mu): the prior again."""
    D, t, size, rng = 2, 3, SIZE, np.random.default_rng(12)
    scale = scale_prior(law, np.array([[1.2, 0.4], [0.4, 0.8]]))
    niw = gg.NormalInverseWishart(np.array([0.3, -0.2]), 0.5, D + 3.0, kappa_0_shape=1.5, **scale)
    prior, hyper, scratch = (
        dataclasses.replace(niw, covariance_type="tied").as_kernel(np.zeros(D)),
        niw.hyper_as_kernel(),
        TIED.scratch(D),
    )

    def statistics(Psi_0: Floats, kappa_0: float, Sigma: Floats, mu: Floats) -> list[float]:
        d = (mu - niw.mu_0) @ lower(np.linalg.inv(Sigma)).T
        size = np.sqrt(np.diagonal(Psi_0))
        return [
            *size,
            Psi_0[0, 1] / size.prod(),
            float(np.trace(Psi_0 @ np.linalg.inv(Sigma))),
            kappa_0,
            kappa_0 * float((d**2).sum()),
        ]

    scales = draw_scales(rng, 2 * size, **scale)
    before, after = [], []
    for i, Psi_0 in enumerate(scales):
        kappa_0 = 0.5 * rng.random() ** (1.0 / 1.5)
        Sigma = np.reshape(stats.invwishart.rvs(niw.nu_0, Psi_0, random_state=rng), (D, D))
        mu = rng.multivariate_normal(niw.mu_0, Sigma / kappa_0, t)
        if i % 2 == 0:
            before.append(statistics(Psi_0, kappa_0, Sigma, mu))
            continue
        prior.W[0], prior.Psi_0[:], prior.scalars[KAPPA] = lower(np.linalg.inv(Sigma)), Psi_0, kappa_0
        prior.L_0[:] = np.linalg.cholesky(Psi_0)
        assert generic.draw_hyper(prior, rng, hyper, t, TIED.parameters(t, D), padded(mu), scratch) == 0
        after.append(statistics(prior.Psi_0, prior.scalars[KAPPA], Sigma, mu))
    plain = gg.NormalInverseWishart(niw.mu_0, prior.scalars[KAPPA], niw.nu_0, prior.Psi_0).as_kernel(np.zeros(D))
    np.testing.assert_allclose(prior.scalars, plain.scalars, rtol=1e-12)
    columns = zip(np.array(before).T, np.array(after).T, strict=True)
    p = {str(i): float(stats.ks_2samp(a, b, method="asymp").pvalue) for i, (a, b) in enumerate(columns)}
    assert_p_values(p, RATE)


def test_a_draw_is_written_in_the_units_of_the_data() -> None:
    D, loc, rng = 2, np.array([10.0, -20.0]), np.random.default_rng(0)
    niw, X, z, centre, Sigma = three_clusters(D)
    prior, rows = tied_prior(niw, Sigma), statistics_of(X, z, 4, np.vstack([centre, 9.0 * np.ones(2)]))
    components, parameters = TIED.components(4, D), TIED.parameters(4, D)
    components.centre[:] = padded(np.vstack([centre, [9.0, 9.0]]))
    means, covariances, state = np.empty((4, D)), np.full((3, D, D), np.nan), rng.bit_generator.state
    for k in range(4):
        n = float(rows.n[k])
        generic.write(prior, rng, n, rows, k, parameters, components, loc, TIED.scratch(D), means, covariances[1])
    np.testing.assert_array_equal(means, components.centre[:, :D] + loc)
    np.testing.assert_allclose(covariances[1], Sigma, rtol=1e-12)
    assert rng.bit_generator.state == state  # exact values: nothing is drawn
    kappa_0, scale = np.zeros(3), np.zeros((3, D, D))
    generic.write_shared(prior, covariances[1], kappa_0, scale, 2)
    np.testing.assert_array_equal(scale[2], niw.Psi_0)
    assert kappa_0[2] == niw.kappa_0
    before = covariances.copy()
    generic.erase(prior, covariances[1], 3)
    np.testing.assert_array_equal(covariances, before)


@pytest.mark.parametrize(("D", "N"), [(1, 8), (2, 7), (2, 30), (3, 12)])  # both sides of the cut at t + 2 D rows
def test_values_before_rounding(D: int, N: int) -> None:
    """(mu, Sigma) from the prior, rows from N(mu_k, Sigma + R), then the steps of a trace's draws: the prior again."""
    rng, t, size = np.random.default_rng([2, D, N]), 3, SIZE // 2
    niw, z = some_niw(D, D + 3.0)._replace(noise=np.linspace(0.4, 1.0, D)), np.arange(N) % t
    prior, scratch, centre = tied_prior(niw), TIED.scratch(D), np.linspace(-1.0, 1.0, t * D).reshape(t, D)

    def draw() -> tuple[Floats, Floats, Floats]:
        _, Sigma = simulation.draw_niw(rng, niw)
        mu = rng.multivariate_normal(niw.mu_0, Sigma / niw.kappa_0, t)
        assert niw.noise is not None
        return mu, Sigma, mu[z] + rng.multivariate_normal(np.zeros(D), Sigma + np.diag(niw.noise), N)

    def statistics(mu: Floats, Sigma: Floats, X: Floats) -> list[float]:
        residual = X - mu[z]
        scatter = residual.T @ residual
        gap = (X[z == 0].mean(0) - mu[0])[0]
        inverse = np.linalg.inv(Sigma)
        return [mu[-1, -1], Sigma[0, 0], float(np.linalg.slogdet(Sigma)[1]), gap, float(np.trace(inverse @ scatter))]

    before, after = [statistics(*draw()) for _ in range(3 * size)], []
    for _ in range(size):
        mu, Sigma, X = draw()
        W, where = lower(np.linalg.inv(Sigma)), padded(centre)
        assert draw_all_unrounded(rng, prior, statistics_of(X, z, t, centre), t, where, scratch, mu, W) == 0
        after.append(statistics(mu, np.linalg.inv(W.T @ W), X))
    columns = zip(np.array(before).T, np.array(after).T, strict=True)
    p = {str(i): float(stats.ks_2samp(a, b, method="asymp").pvalue) for i, (a, b) in enumerate(columns)}
    assert_p_values(p, RATE)
