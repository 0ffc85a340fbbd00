"""The label pass and the sweep around it: likelihood, labels and statistics against NumPy and the oracle.

Tolerances are bounds on rounding errors; statistical tests fail at the rate RATE although all is well. With the
compiler off (test_no_compiler.py) the same tests run on smaller cases.
"""

from fractions import Fraction

import numpy as np
import oracle
import pytest
import simulation
from harness import EPS, JIT, Gibbs, assert_p_values, some_niw
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import Floats, Ints
from scipy import stats

from gibbs_gmm.kernels.random import uniform
from gibbs_gmm.kernels.sampler import sweep as kernels

RATE = 1e-4
# Below, at and beyond the blocks of 4 rows, the vectors of 8 and both.
DIMENSIONS = [*range(1, 10), 13, 16, 17, 32, 33] if JIT else [1, 2, 5, 9]
COMPONENTS = [1, 2, 3, 20] if JIT else [1, 3]
# Below, at and beyond a tile of 128 rows.
SIZES = [2, 127, 128, 129, 700] if JIT else [2, 129]


def case(N: int, D: int, K: int, seed: int = 0) -> tuple[Floats, Floats, Floats, Floats]:
    """X, w, mu, Sigma: overlapping components of different shapes, standard deviations from 0.5 to 2."""
    rng = np.random.default_rng([seed, N, D, K])
    Q = np.linalg.qr(rng.standard_normal((K, D, D)))[0]
    Sigma = (Q * rng.uniform(0.5, 2.0, (K, 1, D)) ** 2) @ Q.swapaxes(1, 2)
    w, mu = rng.dirichlet(np.full(K, 2.0)), 1.5 * rng.standard_normal((K, D)) / np.sqrt(D)
    return simulation.draw_mixture(rng, N, w, mu, Sigma)[0], w, mu, Sigma


def ready(X: Floats, w: Floats, mu: Floats, Sigma: Floats, loc: Floats | None = None) -> Gibbs:
    """A chain about to draw labels given these parameters."""
    gibbs = Gibbs(X, len(w), 1.0, some_niw(X.shape[1]), loc)
    gibbs.set_parameters(w, mu, Sigma)
    return gibbs


def density_error(X: Floats, mu: Floats, Sigma: Floats, loc: Floats) -> Floats:
    """A bound, for each row, on the rounding error of its log density under any component, (N,).

    y = W (x - loc) - W (mu - loc) is formed by D + 3 roundings of terms that sum to at most a in absolute value, so
    |y|^2 / 2 is off by (D + 3) EPS a^2 and, squares and their sum included, by twice that.
    """
    D = X.shape[1]
    W = np.abs(np.linalg.inv(np.linalg.cholesky(Sigma)))
    size = np.einsum("kij,nj->nki", W, np.abs(X) + np.abs(loc)) + np.einsum("kij,kj->ki", W, np.abs(mu) + np.abs(loc))
    return np.asarray(2 * (D + 3) * EPS * (1.0 + (size**2).sum(2).max(1)))


def scatter(X: Floats, z: Ints, loc: Floats, centre: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """n, s, S (lower triangle) about the centres, from the same differences that the kernel forms, and sum |d||d|'."""
    K = len(centre)
    d = [(X[z == k].astype(float) - loc) - (centre[k] - loc) for k in range(K)]
    S = np.array([np.tril(a.T @ a) for a in d])
    size = np.array([np.tril(np.abs(a).T @ np.abs(a)) for a in d])
    return np.array([float(len(a)) for a in d]), np.array([a.sum(0) for a in d]), S, size


# --- Likelihood ---


@pytest.mark.parametrize("D", DIMENSIONS)
@pytest.mark.parametrize("K", COMPONENTS)
def test_log_likelihood(D: int, K: int) -> None:
    for N in SIZES:
        X, w, mu, Sigma = case(N, D, K)
        loc = np.linspace(-1.0, 2.0, D)
        tolerance = density_error(X, mu, Sigma, loc).sum() + 2e-14 * N  # exp2 is good to 1e-14
        expected = oracle.log_mixture_density(X, w, mu, Sigma).sum()
        assert abs(ready(X, w, mu, Sigma, loc).label_pass(1) - expected) <= tolerance


def test_log_likelihood_of_components_that_are_far_apart() -> None:
    # Densities beyond the range of doubles, above and below: exp(-5e5) under one component, exp(+300) under the other.
    X = np.concatenate([np.full((5, 1), -500.0), np.full((5, 1), 500.0)])
    X[:, 0] += np.tile([-1e-130, 0.0, 1e-130, 0.0, 0.0], 2)
    w, mu, Sigma = np.array([0.5, 0.5]), np.array([[-500.0], [500.0]]), np.array([[[1e-2]], [[1e-2]]])
    gibbs = ready(X, w, mu, Sigma)
    expected = 10 * (np.log(0.5) - 0.5 * np.log(2 * np.pi * 1e-2))
    assert abs(gibbs.label_pass(1) - expected) <= 10 * density_error(np.zeros((1, 1)), mu * 0, Sigma, np.zeros(1))[0]
    np.testing.assert_array_equal(gibbs.labels(), np.repeat([0, 1], 5))


def test_zero_weight_is_no_component() -> None:
    X, _, mu, Sigma = case(50, 2, 2)
    one, two = ready(X, np.ones(1), mu[:1], Sigma[:1]), ready(X, np.array([0.5, 0.5]), mu, Sigma)
    two.state.components.log_c[:] = [one.state.components.log_c[0], -1e6]
    # 2^-1000 is what is left of a component 10^6 bits away.
    assert one.label_pass(3) == two.label_pass(3)
    assert not two.labels().any()


# --- Labels ---


@pytest.mark.parametrize("D", DIMENSIONS)
@pytest.mark.parametrize("K", COMPONENTS)
def test_labels_invert_the_cumulated_responsibilities(D: int, K: int) -> None:
    for N, key in zip(SIZES, (1, 2**40, 2**64 - 1, 12345, 99), strict=False):
        X, w, mu, Sigma = case(N, D, K)
        gibbs = ready(X, w, mu, Sigma)
        gibbs.label_pass(key)
        log_p = oracle.log_joint_density(X, w, mu, Sigma)
        cumulated = np.exp(np.logaddexp.accumulate(log_p, axis=1) - np.logaddexp.reduce(log_p, axis=1)[:, None])
        u = np.array([uniform(np.uint64(key), i) for i in range(N)])[:, None]
        # A uniform as near to a boundary as rounding reaches may fall on either side; so near, few should be.
        margin = K * (density_error(X, mu, Sigma, np.zeros(D))[:, None] + 2e-14)
        clear = (np.abs(cumulated[:, :-1] - u) > margin).all(1)
        assert clear.mean() >= 0.99
        np.testing.assert_array_equal(gibbs.labels()[clear], (cumulated[:, :-1] < u).sum(1)[clear])


@pytest.mark.parametrize("over", ["rows", "keys"])
def test_label_frequencies(over: str) -> None:
    rows, repeats = 16, 20_000 if JIT else 1_000
    X, w, mu, Sigma = case(rows, 3, 4)
    mu *= 0.3  # so that most rows could be anyone's
    if over == "rows":  # one pass over many copies of the rows
        gibbs = ready(np.tile(X, (repeats, 1)), w, mu, Sigma)
        gibbs.label_pass(17)
        z = gibbs.labels().reshape(repeats, rows)
    else:  # many passes
        gibbs = ready(X, w, mu, Sigma)
        z = np.empty((repeats // 5, rows), np.int64)
        keys = np.random.default_rng(18).integers(0, 2**63, len(z))
        for t, key in enumerate(keys):
            gibbs.label_pass(int(key))
            z[t] = gibbs.labels()
    log_p = oracle.log_joint_density(X, w, mu, Sigma)
    r = np.exp(log_p - np.logaddexp.reduce(log_p, axis=1)[:, None])
    p = {}
    for i in range(rows):
        observed, expected = np.bincount(z[:, i], minlength=4), len(z) * r[i]
        rare = expected < 5.0  # together, as Pearson's approximation wants
        if rare.any():
            observed = np.append(observed[~rare], observed[rare].sum())
            expected = np.append(expected[~rare], expected[rare].sum())
        if len(expected) > 1 and expected.min() > 0.5:
            p[f"row {i}"] = stats.chisquare(observed, expected).pvalue
    assert len(p) >= rows // 4
    # Labels of neighbours are independent: whether each is in its likeliest component.
    likely = z == r.argmax(1)
    for i in range(0, rows - 1, 2):
        if 0 < likely[:, i].mean() < 1 and 0 < likely[:, i + 1].mean() < 1:
            p[f"rows {i} and {i + 1}"] = stats.pearsonr(likely[:, i], likely[:, i + 1]).pvalue
    assert_p_values(p, RATE)


# --- Statistics ---


@pytest.mark.parametrize("D", DIMENSIONS)
@pytest.mark.parametrize("K", COMPONENTS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_statistics(D: int, K: int, dtype: type) -> None:
    for N in SIZES:
        X, w, mu, Sigma = case(N, D, K)
        X, loc = X.astype(dtype), np.linspace(-1.0, 2.0, D)
        gibbs = ready(X, w, mu, Sigma, loc)
        gibbs.label_pass(5)
        n, s, S = gibbs.statistics()
        expected_n, expected_s, expected_S, size = scatter(X, gibbs.labels(), loc, mu)
        np.testing.assert_array_equal(n, expected_n)
        # Sums of at most N terms, here and there in different orders: Higham (2002), section 3.1.
        assert (np.abs(S - expected_S) <= 2 * N * EPS * size).all()
        sizes = np.sqrt(n[:, None] * np.diagonal(size, axis1=1, axis2=2))  # sum |d| is at most this
        assert (np.abs(s - expected_s) <= 2 * N * EPS * sizes).all()


@given(st.integers(2, 400), st.integers(1, 12), st.integers(1, 6), st.integers(0, 2**63))
@settings(max_examples=60 if JIT else 3)
def test_statistics_of_any_shape(N: int, D: int, K: int, key: int) -> None:
    X, w, mu, Sigma = case(N, D, K, seed=1)
    gibbs = ready(X, w, mu, Sigma)
    log_likelihood = gibbs.label_pass(key)
    n, s, _ = gibbs.statistics()
    assert n.sum() == N
    assert np.isfinite(log_likelihood)
    total = (X.sum(0) - n @ mu) - s.sum(0)  # what is left of the sum of all rows
    assert (np.abs(total) <= 2 * N * EPS * (np.abs(X).sum(0) + n @ np.abs(mu))).all()


@pytest.mark.parametrize("shift", [0.0, 1e8, -1e12])
def test_scatter_far_from_origin(shift: float) -> None:
    # Two digits of 1e12 are left of unit spread, and none may be lost: exact rational sums of the data as they are.
    X, w, mu, Sigma = case(150, 2, 2)
    X, mu = X + shift, mu + shift
    gibbs = ready(X, w, mu, Sigma, loc=np.full(2, shift))
    gibbs.label_pass(6)
    z, (n, s, S) = gibbs.labels(), gibbs.statistics()
    centre = gibbs.state.components.centre[:, :2]
    for k in range(2):
        rows = [
            [Fraction(v) - Fraction(shift) - Fraction(c) for v, c in zip(x, centre[k], strict=True)] for x in X[z == k]
        ]
        for i in range(2):
            exact = sum(row[i] for row in rows)
            # Each difference is rounded twice; no rounding is of a number larger than the spread.
            bound = (n[k] + 4) * EPS * float(sum(abs(row[i]) + abs(Fraction(centre[k, i])) for row in rows))
            assert abs(float(Fraction(s[k, i]) - exact)) <= bound
            for j in range(i + 1):
                exact = sum(row[i] * row[j] for row in rows)
                size = [[abs(float(row[d])) + abs(centre[k, d]) for d in (i, j)] for row in rows]
                bound = (n[k] + 8) * EPS * sum(a * b for a, b in size)
                assert abs(float(Fraction(S[k, i, j]) - exact)) <= bound


def test_scatter_about_a_moving_centre() -> None:
    # Coordinates about 0 with data at 1e8: the centre alone saves the scatter. A sum of squares would be off by 1e16
    # * EPS = 2.
    X, w, mu, Sigma = case(150, 2, 1)
    X, mu = X + 1e8, mu + 1e8
    gibbs = ready(X, w, mu, Sigma)
    gibbs.label_pass(6)
    _, _, S = gibbs.statistics()
    d = X - mu[0]  # exact: both are multiples of the spacing at 1e8 (Sterbenz)
    assert (np.abs(S[0] - np.tril(d.T @ d)) <= 2 * 150 * EPS * np.tril(np.abs(d).T @ np.abs(d))).all()


# --- Shards and sweeps ---


def test_shards_cover_all_rows_once() -> None:
    N = 40_000
    assert kernels.n_shards(N) == 2
    X, w, mu, Sigma = case(N, 3, 4)
    gibbs = ready(X, w, mu, Sigma)
    log_likelihood = gibbs.label_pass(9)
    expected = oracle.log_mixture_density(X, w, mu, Sigma)
    assert abs(log_likelihood - expected.sum()) <= N * EPS * np.abs(expected).sum() + N * 2e-14
    n, _, S = gibbs.statistics()
    expected_n, _, expected_S, size = scatter(X, gibbs.labels(), np.zeros(3), mu)
    np.testing.assert_array_equal(n, expected_n)
    assert (np.abs(S - expected_S) <= 2 * N * EPS * size).all()
    # The shards in any order and in parts: same labels, same statistics, same bytes.
    parts = ready(X, w, mu, Sigma)
    parts.state.key[0] = 9
    for shard in (1, 0):
        parts.label_shards(shard, shard + 1)
    assert parts.reduce() == log_likelihood
    np.testing.assert_array_equal(parts.labels(), gibbs.labels())
    np.testing.assert_array_equal(parts.statistics()[2], S)


def test_number_of_shards_is_bounded() -> None:
    assert [kernels.n_shards(N) for N in (2, 16_384, 32_767, 32_768, 10**7)] == [1, 1, 1, 2, 64]


@pytest.mark.parametrize("D", [1, 2, 4])
@pytest.mark.parametrize("K", [1, 3])
def test_recorded_densities_are_those_of_the_recorded_parameters(D: int, K: int) -> None:
    X, niw = case(60, D, K)[0], some_niw(D)
    draws = Gibbs(X, K, 0.7, niw, loc=X.mean(0)).sweeps(np.random.default_rng(4), 10)
    for t in range(10):
        w, mu, Sigma = draws["weights"][t], draws["means"][t], draws["covariances"][t]
        assert abs(w.sum() - 1.0) <= 4 * K * EPS
        np.testing.assert_array_equal(Sigma, Sigma.swapaxes(1, 2))
        # Sigma is W^-1 W^-T, inverted again by the oracle: its condition number, once for each.
        error = density_error(X, mu, Sigma, X.mean(0)).sum() * np.linalg.cond(Sigma).max()
        expected = oracle.log_mixture_density(X, w, mu, Sigma).sum()
        assert abs(draws["log_likelihood"][t] - expected) <= error
        expected = oracle.log_posterior(X, w, mu, Sigma, 0.7, niw)
        assert abs(draws["log_posterior"][t] - expected) <= error
        assert draws["n_clusters"][t] == len(np.unique(draws["z"][t]))


def test_labels_recorded_follow_the_parameters_recorded_with_them() -> None:
    # One row of a trace is one joint draw: labels drawn given *these* parameters, not the ones before or after.
    X = np.concatenate([np.full((20, 1), -3.0), np.full((20, 1), 3.0)]) + np.linspace(-1, 1, 40)[:, None]
    draws = Gibbs(X, 2, 1.0, some_niw(1)).sweeps(np.random.default_rng(5), 400 if JIT else 20)
    for t in range(len(draws["z"])):
        log_p = oracle.log_joint_density(X, draws["weights"][t], draws["means"][t], draws["covariances"][t])
        own = log_p[np.arange(40), draws["z"][t]] - np.logaddexp.reduce(log_p, axis=1)
        # 16,000 labels; each is one of less than this probability with at most (K - 1 = 1 times) this probability.
        assert own.min() > np.log(RATE / 16_000)
