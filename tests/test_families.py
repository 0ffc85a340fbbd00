"""Every verb of every family of components, against SciPy and NumPy.

RATE is the probability with which a statistical test fails although all is well.
"""

from typing import Any

import numpy as np
import pytest
from family_cases import FAMILIES, KAPPA_SHAPE, Case, Kernels, drawn, some_case
from harness import EPS, JIT, assert_p_values
from oracle import Floats
from scipy import stats

import gibbs_gmm as gg
from gibbs_gmm.kernels.families import generic
from gibbs_gmm.kernels.families.generic import Statistics, padded
from gibbs_gmm.kernels.tile import LOG2_E

RATE = 1e-4
REPLICATES = 3000 if JIT else 40
DIMENSIONS = [1, 2, 3, 5, 8, 18]
every_family = pytest.mark.parametrize("name", list(FAMILIES))
every_size = pytest.mark.parametrize("D", DIMENSIONS)

# --- Of components ---


@every_family
@every_size
@pytest.mark.parametrize("resolved", [True, False])
def test_log_weights(name: str, D: int, resolved: bool) -> None:
    case = some_case(name, D, resolved)
    own, mu, covariances = drawn(case, 3)
    X = np.random.default_rng(D).normal(0.0, 2.0, (90, D))
    lw = own.log_weights(X)
    for k in range(3):
        Sigma = case.Sigma(covariances[k])
        exponent = 0.5 * case.noise @ np.diagonal(np.linalg.inv(Sigma))
        log_p = stats.multivariate_normal(mu[k], Sigma).logpdf(X) - exponent + np.log(k + 1.0)
        # Sigma is an inverse and is inverted again by SciPy, with its condition number as the error of each
        size = 10 * D * EPS * np.linalg.cond(Sigma) * (D * 10 + np.abs(log_p))
        assert (np.abs(lw[k] / LOG2_E - log_p) <= size).all()


@every_family
@every_size
def test_statistics_are_those_of_the_rows_about_the_centres(name: str, D: int) -> None:
    case, N, K = some_case(name, D), 500, 3
    rng = np.random.default_rng(D)
    X, z, centre = rng.normal(1.0, 1.0, (N, D)), rng.integers(0, K, N), rng.normal(size=(K, D))
    z[:200] = 1
    own = Kernels(case, K)
    own.collect(X, z, centre)
    for k in range(K):
        d = X[z == k] - centre[k]
        block = case.family.block_of(d)
        block[:D] = d.sum(0)
        assert own.statistics.n[k] == len(d)
        error = 2 * N * EPS * (1.0 + np.abs(d).max()) ** 2 * len(d)
        assert (np.abs(own.statistics.block[k] - block)[case.meaningful()] <= error).all()


@every_family
@every_size
def test_log_odds_are_differences_of_log_weights(name: str, D: int) -> None:
    own, _, _ = drawn(some_case(name, D), 2)
    X = np.random.default_rng(D).normal(0.0, 2.0, (20, D))
    lw = own.log_weights(X)
    odds = [generic.log_odds(own.components, np.pad(x, (0, padded(D) - D))) for x in X]
    np.testing.assert_allclose(odds, lw[0] - lw[1], rtol=0.0, atol=100 * D * EPS * np.abs(lw).max())


@every_family
@every_size
def test_balls_divide_the_rows_by_the_nearer_one(name: str, D: int) -> None:
    own, rng = Kernels(some_case(name, D), 2), np.random.default_rng(D)
    X, points, scale = rng.normal(size=(100, D)), rng.normal(size=(2, padded(D))), rng.uniform(0.5, 2.0, D)
    for k in range(2):
        generic.ball(own.components, k, points[k], scale)
    lw = own.log_weights(X)
    distance = np.square((X[:, None] - points[:, :D]) / scale).sum(2)
    np.testing.assert_array_equal(lw[1] > lw[0], distance[:, 1] < distance[:, 0])
    np.testing.assert_array_equal(own.components.centre[:, :D], points[:, :D])


@every_family
@every_size
def test_components_change_places_and_are_remembered(name: str, D: int) -> None:
    own, mu, covariances = drawn(some_case(name, D), 3)
    X = np.random.default_rng(D).normal(0.0, 2.0, (20, D))
    before, library = own.log_weights(X), own.case.family.components(2, D)
    generic.keep(own.components, 2, library, 1)
    generic.swap(own.components, own.parameters, 0, 2)
    np.testing.assert_array_equal(own.log_weights(X), before[::-1])
    np.testing.assert_array_equal(own.components.centre[::-1, :D], mu)
    for k in range(3):
        np.testing.assert_array_equal(own.write(np.random.default_rng(0), k)[1], covariances[2 - k])
    generic.recall(own.prior, library, 1, own.components, 1)
    np.testing.assert_array_equal(own.log_weights(X)[1], before[2])
    np.testing.assert_array_equal(own.components.centre[1, :D], mu[2])


# --- Conjugate updates ---


@every_family
@every_size
@pytest.mark.parametrize("resolved", [True, False])
def test_log_marginal(name: str, D: int, resolved: bool) -> None:
    case, rng = some_case(name, D, resolved), np.random.default_rng(D)
    own, X = Kernels(case, 3), rng.normal(0.5, 1.5, (12, D))
    own.collect(X, np.repeat([1, 2], [11, 1]), rng.normal(size=(3, D)))
    for k, rows in ((1, X[:11]), (2, X[11:])):
        centre = own.components.centre[k]
        found = generic.log_marginal(own.prior, float(len(rows)), own.statistics, k, centre, own.scratch)
        np.testing.assert_allclose(found, case.log_marginal(rows), rtol=1e4 * EPS, atol=1e4 * D * EPS)
    nothing = generic.log_marginal(own.prior, 0.0, own.statistics, 0, own.components.centre[0], own.scratch)
    assert abs(nothing) <= 100 * D * EPS


def characteristics(case: Case, mu: Floats, covariances: Any, X: Floats) -> dict[str, Floats]:
    """Of components (R, D) and rows (R, n, D) of each; of no rows, of the components alone."""
    Sigma, n = np.array([case.Sigma(covariance) for covariance in covariances]), X.shape[1]
    d = (mu - case.niw.mu_0)[..., None]
    result = {
        "mu": mu[:, -1],
        "first": Sigma[:, 0, 0],
        "log det": np.linalg.slogdet(Sigma)[1],
        "distance": (d * np.linalg.solve(Sigma, d)).sum((1, 2)),
    }
    if n > 0:
        mean = X.mean(1)
        scatter = np.einsum("rni,rnj->rij", X - mean[:, None], X - mean[:, None]) / n
        result["mu less mean"] = (mean - mu)[:, 0]
        result["scatter"] = np.trace(np.linalg.solve(Sigma, scatter), axis1=1, axis2=2)
    return result


def assert_same_law(after: dict[str, Floats], fresh: dict[str, Floats], tests: int) -> None:
    p = {key: float(stats.ks_2samp(after[key], fresh[key], method="asymp").pvalue) for key in fresh}
    assert_p_values(p, RATE / tests)


def fresh_pairs(case: Case, rng: np.random.Generator, count: int, n: int) -> tuple[Floats, Floats, Floats]:
    """Components from the prior and n rows given each (count, n, D), of values known to the case's resolution."""
    mu, covariances = case.draw(rng, count)
    return mu, covariances, given_rows(case, rng, mu, covariances, n)


def given_rows(case: Case, rng: np.random.Generator, mu: Floats, covariances: Any, n: int) -> Floats:
    """n rows of each component (count, n, D), of values known to the case's resolution."""
    spread = np.linalg.cholesky([case.Sigma(covariance) + np.diag(case.noise) for covariance in covariances])
    return np.asarray(mu[:, None] + rng.standard_normal((len(mu), n, case.D)) @ spread.swapaxes(1, 2))


@every_family
@pytest.mark.parametrize(("D", "n"), [(1, 0), (1, 5), (3, 0), (3, 4)])
def test_a_draw_leaves_the_joint_law_of_component_and_rows_invariant(name: str, D: int, n: int) -> None:
    case, rng = some_case(name, D), np.random.default_rng([7, D, n])
    first, _, X = fresh_pairs(case, rng, REPLICATES, n)
    own, after = Kernels(case, 2), []
    for mu, rows in zip(first, X, strict=True):
        generic.clear(own.statistics, 2)
        own.collect(rows, np.ones(n, int), np.array([mu, mu - 0.5]))
        own.draw(rng, 1, float(n))
        after.append(own.write(rng, 1))
    means, covariances = zip(*after, strict=True)
    other = fresh_pairs(case, rng, REPLICATES, n)
    assert_same_law(characteristics(case, np.array(means), covariances, X), characteristics(case, *other), 12)


@every_family
def test_a_draw_without_rows_is_from_the_prior_whatever_the_block_holds(name: str) -> None:
    own = Kernels(some_case(name, 2), 1)
    own.draw(np.random.default_rng(1), 0, 0.0)
    first = own.write(np.random.default_rng(0), 0)
    own.statistics.block[:] = np.nan
    own.draw(np.random.default_rng(1), 0, 0.0)
    for a, b in zip(first, own.write(np.random.default_rng(0), 0), strict=True):
        np.testing.assert_array_equal(a, b)


@every_family
@every_size
def test_log_prior(name: str, D: int) -> None:
    case = some_case(name, D)
    own, mu, covariances = drawn(case, 3)
    for count in (0, 1, 3):
        found = generic.log_prior(own.prior, own.parameters, own.components.centre, count)
        truth = sum(case.log_prior(mu[k], covariances[k]) for k in range(count))
        error = EPS * sum(100.0 * D**2 * np.linalg.cond(case.Sigma(C)) for C in covariances)
        np.testing.assert_allclose(found, truth, rtol=error, atol=error)


@every_family
@every_size
def test_merged_statistics_are_those_of_all_rows(name: str, D: int) -> None:
    case, rng = some_case(name, D), np.random.default_rng(D)
    own, X = Kernels(case, 3), rng.normal(size=(40, D)) + 1e6 * (np.arange(40) < 15)[:, None]
    own.collect(X, np.where(np.arange(40) < 15, 2, 0), np.array([X[20], X[0], X[0]]) + 1.0)
    union, centre = case.family.statistics(1, D), np.zeros(padded(D))
    generic.merge(own.prior, own.statistics, 2, 0, own.components.centre, union, centre)
    assert union.n[0] == 40
    np.testing.assert_allclose(centre[:D], X.mean(0), rtol=10 * EPS)
    block = case.family.block_of(X - X.mean(0))
    used = case.meaningful()
    np.testing.assert_allclose(union.block[0][used], block[used], rtol=1e-9)

    # the scatter of two clusters far apart is not lost in the distance of their origins
    away = X - 1e6 * (np.arange(40) < 15)[:, None]
    own.collect(away, np.full(40, 1), np.zeros((3, D)))
    generic.merge(own.prior, own.statistics, 1, 0, own.components.centre, union, centre)
    assert np.isfinite(union.block[0][used]).all()


@every_family
@every_size
def test_rows_are_added_to_a_block_about_their_mean(name: str, D: int) -> None:
    case = some_case(name, D)
    d = np.random.default_rng(D).normal(size=(9, D))
    d -= d.mean(0)
    block = np.zeros(case.family.block(D))
    for row in d:
        generic.add_row(case.kernel(), block, np.pad(row, (0, padded(D) - D)))
    used = case.meaningful()
    np.testing.assert_allclose(block[used], case.family.block_of(d)[used], rtol=20 * EPS, atol=20 * EPS)


# --- Hyperparameters ---


@every_family
@pytest.mark.parametrize("D", [1, 3])
def test_a_draw_of_the_hyperparameters_leaves_their_law_invariant(name: str, D: int) -> None:
    case, rng, t = some_case(name, D), np.random.default_rng([9, D]), 3
    most, hyper = case.niw.kappa_0, case.hyper()

    def draw() -> tuple[Any, float]:
        return case.draw_scale(rng), most * rng.random() ** (1.0 / KAPPA_SHAPE)

    def values(scale: Any, kappa_0: float) -> dict[str, float]:
        flat = np.ravel(scale)
        return {"kappa_0": kappa_0, "first": flat[0], "last": flat[-1], "sum": flat.sum()}

    own, after = Kernels(case, t), []
    for _ in range(REPLICATES):
        scale, kappa_0 = draw()
        own.prior = case.kernel(scale, kappa_0)
        for k in range(t):
            own.draw(rng, k, 0.0)
        centre = own.components.centre
        assert generic.draw_hyper(own.prior, rng, hyper, t, own.parameters, centre, own.scratch) == 0
        kappa, written = np.zeros(1), np.zeros((1, *np.shape(scale)))
        generic.write_shared(own.prior, case.covariances(t), kappa, written, 0)
        after.append(values(written[0], kappa[0]))
    fresh = [values(*draw()) for _ in range(3 * REPLICATES)]
    assert_same_law(*({key: np.array([one[key] for one in some]) for key in fresh[0]} for some in (after, fresh)), 6)

    own.draw(rng, 0, 0.0)  # the prior knows the constant of its density at the new hyperparameters
    mu, covariance = own.write(rng, 0)
    found = generic.log_prior(own.prior, own.parameters, own.components.centre, 1)
    np.testing.assert_allclose(found, case.log_prior(mu, covariance, written[0], kappa[0]), rtol=1e-9, atol=1e-9)


@every_family
def test_fixed_hyperparameters_stay(name: str) -> None:
    case = some_case(name, 2)
    own, _, _ = drawn(case, 2)
    hyper = case.package().hyper_as_kernel()
    rng = np.random.default_rng(1)
    centre = own.components.centre
    assert generic.draw_hyper(own.prior, rng, hyper, 2, own.parameters, centre, own.scratch) == 0
    for a, b in zip(own.prior, case.kernel(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert rng.random() == np.random.default_rng(1).random()


@every_family
def test_nothing_is_shared_but_hyperparameters(name: str) -> None:
    own, _, _ = drawn(some_case(name, 2), 2)
    rng = np.random.default_rng(1)
    status = generic.draw_shared(own.prior, rng, own.statistics, 2, own.components.centre, own.scratch)
    assert status == 0
    assert rng.random() == np.random.default_rng(1).random()


# --- A trace ---


@every_family
def test_an_unused_slot_is_erased(name: str) -> None:
    case = some_case(name, 2)
    covariances = case.covariances(3)
    generic.erase(case.kernel(), covariances, 1)
    assert np.isnan(covariances[1]).all()
    assert (covariances[[0, 2]] == 0.0).all()


@every_family
def test_a_scale_that_is_not_learned_has_no_room(name: str) -> None:
    case = some_case(name, 2)
    kappa, scale = np.zeros(3), np.zeros({"full": (3, 0, 0), "diag": (3, 0), "spherical": (0,)}[name])
    generic.write_shared(case.kernel(), case.covariances(1), kappa, scale, 2)
    np.testing.assert_array_equal(kappa, [0.0, 0.0, case.niw.kappa_0])


@every_family
@pytest.mark.parametrize(("D", "n"), [(1, 3), (1, 8), (3, 5), (3, 12)])
def test_components_before_rounding_are_written(name: str, D: int, n: int) -> None:
    case, rng = some_case(name, D, resolved=False), np.random.default_rng([2, D, n])
    own, after, X = Kernels(case, 1), [], np.empty((REPLICATES, n, D))
    for rows in X:
        own.draw(rng, 0, 0.0)
        mu, C = own.write(rng, 0)
        rows[:] = given_rows(case, rng, mu[None], [C], n)[0]
        generic.clear(own.statistics, 1)
        own.collect(rows, np.zeros(n, int), mu[None])
        after.append(own.write(rng, 0, float(n)))
    means, covariances = zip(*after, strict=True)
    fresh = fresh_pairs(case, rng, 2 * REPLICATES, n)
    assert_same_law(characteristics(case, np.array(means), covariances, X), characteristics(case, *fresh), 12)


# --- Row by row ---


@every_family
@every_size
@pytest.mark.parametrize("resolved", [True, False])
def test_clusters_that_grow_row_by_row(name: str, D: int, resolved: bool) -> None:
    case = some_case(name, D, resolved)
    exact, prior, scratch = some_case(name, D), case.kernel(), case.family.scratch(D)
    X, n = np.random.default_rng(D).normal(0.5, 1.5, (10, D)), [0, 0]
    side = case.family.side(prior, len(X))
    for k in range(2):
        generic.begin(prior, side, k)
    for i, x in enumerate(X):
        k = int(i % 3 == 0)
        rows = [X[[j for j in range(i) if int(j % 3 == 0) == own]] for own in range(2)]
        found, truth = [], []
        for own in (0, 1):
            found.append(generic.log_predictive(prior, side, own, float(n[own]), x))
            both = np.concatenate([rows[own], x[None]])
            truth.append(exact.log_marginal(both) - (exact.log_marginal(rows[own]) if n[own] else 0.0))
        np.testing.assert_allclose(found[0] - found[1], truth[0] - truth[1], rtol=1e-9, atol=1e-10 * D)
        generic.log_predictive(prior, side, k, float(n[k]), x)
        generic.grow(prior, side, k, float(n[k]), x)
        n[k] += 1
    for k in range(2):
        own_rows = X[[i for i in range(len(X)) if int(i % 3 == 0) == k]]
        found_m = generic.log_marginal_side(prior, side, k, float(n[k]), scratch)
        np.testing.assert_allclose(found_m, case.log_marginal(own_rows), rtol=1e-11)


@every_family
@every_size
@pytest.mark.parametrize("resolved", [True, False])
def test_clusters_that_lose_rows(name: str, D: int, resolved: bool) -> None:
    """A side that resumes a cluster of eight rows, three of which then leave, is the cluster of the other five."""
    case, rng = some_case(name, D, resolved), np.random.default_rng(D)
    own, X = Kernels(case, 2), rng.normal(0.5, 1.5, (9, D))
    own.collect(X[:8], np.ones(8, int), rng.normal(size=(2, D)))
    side = case.family.side(own.prior, len(X))
    assert generic.resume(own.prior, own.statistics, 1, own.components.centre[1], side, 0, own.scratch)
    for i in range(3):
        assert generic.shrink(own.prior, side, 0, 8.0 - i, X[i])
    generic.begin(own.prior, side, 1)
    for i, x in enumerate(X[3:8]):
        generic.log_predictive(own.prior, side, 1, float(i), x)
        generic.grow(own.prior, side, 1, float(i), x)
    found, truth = (generic.log_predictive(own.prior, side, k, 5.0, X[8]) for k in range(2))
    np.testing.assert_allclose(found, truth, rtol=1e-9, atol=1e-9 * D)
    marginal = generic.log_marginal_side(own.prior, side, 0, 5.0, own.scratch)
    np.testing.assert_allclose(marginal, case.log_marginal(X[3:8]), rtol=1e-10)


# --- One column ---


@pytest.mark.parametrize(("one", "other"), [("full", "diag"), ("diag", "spherical")])
def test_in_one_column_families_are_the_same_draw_for_draw(one: str, other: str) -> None:
    rng = np.random.default_rng(3)
    X = np.round(np.concatenate([rng.normal(-3.0, 1.0, 40), rng.normal(2.0, 0.5, 60)]), 1)[:, None]
    z = np.repeat([0, 1], [40, 60])
    traces = []
    for name in (one, other):
        case = some_case(name, 1)
        prior = gg.NormalInverseWishart.from_data(X) if name == "full" else gg.NormalInverseGamma.from_data(X, name)
        own, hyper, own_rng = Kernels(case, 3), prior.hyper_as_kernel(), np.random.default_rng(5)
        own.prior = prior.as_kernel(np.zeros(1))
        trace = []
        for _ in range(20):
            generic.clear(own.statistics, 3)
            own.collect(X, z, own.components.centre[:, :1].copy())
            for k, n in enumerate((40.0, 60.0)):
                trace += [generic.log_marginal(own.prior, n, own.statistics, k, own.components.centre[k], own.scratch)]
                trace += [float(v.item()) for v in own.write(own_rng, k, n)] if len(trace) > 2 else []
            for k, n in enumerate((40.0, 60.0, 0.0)):
                generic.clear(own.statistics, 3)
                own.collect(X, z, own.components.centre[:, :1].copy())
                own.draw(own_rng, k, n)
            args = own.prior, own_rng, hyper, 2, own.parameters, own.components.centre, own.scratch
            assert generic.draw_hyper(*args) == 0
            for k in range(3):
                own.prepare(k)
            trace += [*own.log_weights(X).ravel(), own.prior.scalars[0]]
            trace += [generic.log_prior(own.prior, own.parameters, own.components.centre, 3)]
        traces.append(trace)
    np.testing.assert_allclose(traces[0], traces[1], rtol=1e-9, atol=1e-9)


def test_statistics_is_one_type() -> None:
    assert all(type(family.statistics(2, 3)) is Statistics for family in FAMILIES.values())
