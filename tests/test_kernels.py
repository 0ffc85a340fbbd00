"""The kernels one by one, against SciPy, NumPy and the oracle.

Where a test is statistical, RATE is the probability that it fails although all is well: p-values are compared with RATE
divided by their number. Tolerances are bounds on rounding errors, with their source. With the compiler off
(test_no_compiler.py) the same tests run on smaller samples.
"""

import math
import os
import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import oracle
import pytest
from harness import EPS, JIT, assert_p_values, kernel_prior, read_only, repeat, some_niw, standard_error_p_value
from hypothesis import given
from hypothesis import strategies as st
from oracle import Floats
from scipy import special, stats

from gibbs_gmm.kernels import linalg, random
from gibbs_gmm.kernels._jit import kernel
from gibbs_gmm.kernels.families import FULL
from gibbs_gmm.kernels.families import full as niw
from gibbs_gmm.kernels.families.generic import padded
from gibbs_gmm.kernels.sampler import weights
from gibbs_gmm.kernels.simd import bits_to_float, float_to_bits
from gibbs_gmm.kernels.tile import TILE, copy_rows, exp2, load_rows, load_tile, new_workspace

RATE = 1e-4
SIZE = 20_000 if JIT else 1_000
DIMENSIONS = [1, 2, 3, 5, 8, 13]


def lower(rng: np.random.Generator, D: int) -> Floats:
    """A well-conditioned lower triangle with NaN above it, which no kernel may read."""
    L = np.tril(rng.standard_normal((D, D)) / math.sqrt(D), -1) + np.diag(rng.uniform(0.5, 2.0, D))
    return np.where(np.tri(D) > 0, L, np.nan)


def covariance(rng: np.random.Generator, D: int) -> Floats:
    L = np.tril(lower(rng, D))
    return L @ L.T


# --- Linear algebra ---


@pytest.mark.parametrize("D", DIMENSIONS)
def test_cholesky(D: int) -> None:
    A = covariance(np.random.default_rng(D), D)
    L = np.full((D, D), np.nan)
    only_lower = np.where(np.tri(D) > 0, A, np.nan)
    assert linalg.cholesky(only_lower, L) == 0
    assert np.isnan(L[np.triu_indices(D, 1)]).all()
    L = np.tril(L)
    bound = (D + 1) * EPS * (np.abs(L) @ np.abs(L).T)  # Higham (2002), Thm 10.3
    assert (np.abs(L @ L.T - A) <= 2.0 * bound).all()  # and as much for the product formed here
    in_place = only_lower.copy()
    assert linalg.cholesky(in_place, in_place) == 0
    np.testing.assert_array_equal(np.tril(in_place), L)


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan])
def test_cholesky_names_the_pivot(bad: float) -> None:
    for j in range(4):
        A = np.eye(4)
        A[j, j] = bad
        assert linalg.cholesky(A, np.empty((4, 4))) == j + 1
    singular = np.array([[1.0, 2.0], [2.0, 4.0]])
    assert linalg.cholesky(singular, np.empty((2, 2))) == 2


@pytest.mark.parametrize("D", DIMENSIONS)
def test_triangular_solves(D: int) -> None:
    rng = np.random.default_rng(D)
    L, B, x = lower(rng, D), lower(rng, D), rng.standard_normal(D)
    L0, B0, x0 = np.tril(L), np.tril(B), x.copy()

    linalg.solve_lower(L, x)
    # Higham (2002), Thm 8.5: the residual of a substitution is below gamma_D |L| |x|.
    assert (np.abs(L0 @ x - x0) <= 2 * (D + 1) * EPS * (np.abs(L0) @ np.abs(x))).all()

    linalg.divide_lower(B, L)
    assert np.isnan(B[np.triu_indices(D, 1)]).all()
    B = np.tril(B)
    assert (np.abs(B @ L0 - B0) <= 2 * (D + 1) * EPS * (np.abs(B) @ np.abs(L0))).all()

    V = np.full((D, D), np.nan)
    linalg.invert_lower(L, V)
    assert np.isnan(V[np.triu_indices(D, 1)]).all()
    V = np.tril(V)
    assert (np.abs(L0 @ V - np.eye(D)) <= 2 * (D + 1) * EPS * (np.abs(L0) @ np.abs(V))).all()

    A = np.empty((D, D))
    linalg.outer_lower(np.where(np.tri(D) > 0, V, np.nan), A)
    np.testing.assert_array_equal(A, A.T)
    assert (np.abs(A - V @ V.T) <= 2 * (D + 1) * EPS * (np.abs(V) @ np.abs(V).T)).all()

    half_log_det = 0.5 * np.linalg.slogdet(L0 @ L0.T)[1]
    size = np.abs(np.log(np.diagonal(L0))).sum() + np.linalg.cond(L0) ** 2
    assert abs(linalg.log_diagonal(L) - half_log_det) <= 4 * D * EPS * size


# --- The Normal-Inverse-Wishart ---


@pytest.mark.parametrize("D", DIMENSIONS)
@pytest.mark.parametrize("excess", [-0.5, 0.0, 30.0])
def test_log_niw(D: int, excess: float) -> None:
    # nu_0 = D - 1/2 is the corner between D - 1, where the prior ends, and D.
    niw_0, rng = some_niw(D, D + excess), np.random.default_rng(D)
    prior = kernel_prior(niw_0)
    for _ in range(5):
        mu, Sigma = niw_0.mu_0 + rng.standard_normal(D), covariance(rng, D)
        W = np.linalg.inv(np.linalg.cholesky(Sigma))
        log_det = np.linalg.slogdet(Sigma)[1]
        quadratic = np.trace(niw_0.Psi_0 @ np.linalg.inv(Sigma)) + niw_0.kappa_0 * np.sum((W @ (mu - niw_0.mu_0)) ** 2)
        size = abs(prior.scalars[niw.LOG_NORM]) + (niw_0.nu_0 + D + 2) * abs(log_det) + quadratic
        expected = oracle.log_niw(mu, Sigma, niw_0)
        # Both invert Sigma, which costs its condition number.
        assert abs(niw.log_niw(prior, mu, W) - expected) <= 4 * D * EPS * np.linalg.cond(Sigma) * size


@pytest.mark.parametrize("D", DIMENSIONS)
@pytest.mark.parametrize("nu_0", [0.01, 1.0, 300.0])
def test_log_normaliser_is_the_density_at_its_mode(D: int, nu_0: float) -> None:
    nu_0, kappa_0 = nu_0 + D - 1, 0.3
    Psi_0 = some_niw(D).Psi_0
    log_det = np.linalg.slogdet(Psi_0)[1]
    at_Psi_0 = stats.invwishart.logpdf(Psi_0, nu_0, Psi_0) + 0.5 * (nu_0 + D + 1) * log_det + 0.5 * D
    expected = at_Psi_0 + 0.5 * D * math.log(kappa_0 / (2.0 * math.pi))
    terms = [
        0.5 * nu_0 * log_det,
        0.5 * nu_0 * D * math.log(2.0),
        special.multigammaln(0.5 * nu_0, D),
        0.5 * D * log_det,
    ]
    tolerance = 8 * D * EPS * (1.0 + np.abs(terms).sum())
    assert abs(niw.log_normaliser(D, kappa_0, nu_0, log_det) - expected) <= tolerance


@pytest.mark.parametrize("D", DIMENSIONS)
@pytest.mark.parametrize("n", [0, 1, 2, 40])
@pytest.mark.parametrize("about", ["mean", "anywhere"])
def test_update_posterior_with_any_centre(D: int, n: int, about: str) -> None:
    niw_0, rng = some_niw(D), np.random.default_rng([D, n])
    X = 2.0 + rng.standard_normal((n, D))
    centre = np.full(D, np.nan) if n == 0 else X.mean(0) if about == "mean" else 7.0 * rng.standard_normal(D)
    d = X - centre
    prior, rows, scratch = kernel_prior(niw_0), FULL.statistics(1, D), FULL.scratch(D)
    rows.block[0] = FULL.block_of(d)
    rows.block[0, :D] = d.sum(0)
    mu_n, Psi_n = scratch.mu_n, scratch.Psi_n
    Psi_n[:] = np.nan
    where = np.zeros(padded(D))
    where[:D] = centre
    niw.update_posterior(prior, prior.noise, float(n), rows, 0, where, scratch)
    expected = oracle.niw_posterior(X, niw_0)
    if n == 0:
        np.testing.assert_array_equal(mu_n, niw_0.mu_0)
        np.testing.assert_array_equal(np.tril(Psi_n), np.tril(niw_0.Psi_0))
        return
    # n + 8 roundings of the sums about this centre, which are much larger than the result when it is far away.
    size = (
        np.abs(niw_0.Psi_0) + np.abs(d).T @ np.abs(d) + 2 * n * np.outer(*[np.abs(X).max(0) + np.abs(niw_0.mu_0)] * 2)
    )
    assert (np.abs(Psi_n - expected.Psi_0)[np.tril_indices(D)] <= ((n + 8) * EPS * size)[np.tril_indices(D)]).all()
    assert np.isnan(Psi_n[np.triu_indices(D, 1)]).all()
    size = np.abs(niw_0.mu_0) + np.abs(centre) + np.abs(d).sum(0) + np.abs(X).max(0)
    assert (np.abs(mu_n - expected.mu_0) <= (n + 8) * EPS * size).all()


@pytest.mark.parametrize("D", [1, 2, 3])
def test_draw_component(D: int) -> None:
    # Few degrees of freedom, so that giving them to the wrong rows (nu for nu - D + 1) moves a variance by a quarter.
    niw_n, rng = some_niw(D, D + 4.5), np.random.default_rng([20, D])
    mu_n, kappa, nu, Psi, _ = niw_n
    mu, W = np.empty(D), np.zeros((D, D))

    def draw() -> Floats:
        assert niw.draw_component(rng, mu_n, kappa, nu, Psi.copy(), mu, W) == 0
        return np.concatenate([mu, W.ravel()])

    mu_draws, W_draws = np.split(repeat(SIZE, draw), [D], axis=1)
    W_draws = W_draws.reshape(-1, D, D)
    assert not W_draws[:, *np.triu_indices(D, 1)].any()
    V = np.linalg.inv(W_draws)
    Sigma = V @ V.swapaxes(1, 2)
    precision = W_draws.swapaxes(1, 2) @ W_draws
    log_det = -2.0 * np.log(np.diagonal(W_draws, axis1=1, axis2=2)).sum(1)

    p = {}
    df = nu - D + 1
    for j in range(D):
        p[f"Sigma_{j}{j}"] = stats.kstest(Sigma[:, j, j], stats.invgamma(df / 2, scale=Psi[j, j] / 2).cdf).pvalue
        scale = np.linalg.inv(Psi)[j, j]
        p[f"precision_{j}{j}"] = stats.kstest(precision[:, j, j], stats.chi2(nu, scale=scale).cdf).pvalue
        t = stats.t(df, loc=mu_n[j], scale=np.sqrt(Psi[j, j] / (kappa * df)))
        p[f"mu_{j}"] = stats.kstest(mu_draws[:, j], t.cdf).pvalue
        for i in range(j + 1):
            p[f"mean Sigma_{i}{j}"] = standard_error_p_value(Sigma[:, i, j], Psi[i, j] / (nu - D - 1))
    y = np.einsum("tij,tj->ti", W_draws, mu_draws - mu_n)
    p["distance of mu"] = stats.kstest(kappa * (y**2).sum(1), stats.chi2(D).cdf).pvalue
    p["mu against Sigma"] = stats.spearmanr((y**2).sum(1), log_det).pvalue
    mean_log_det = np.linalg.slogdet(Psi)[1] - D * math.log(2) - special.digamma((nu - np.arange(D)) / 2).sum()
    p["mean log det"] = standard_error_p_value(log_det, mean_log_det)
    if D > 1:
        other = stats.invwishart.rvs(nu, Psi, size=SIZE, random_state=np.random.default_rng(21))
        for name, S in (("correlation", Sigma), ("of SciPy", other)):
            p[name] = S[:, 0, -1] / np.sqrt(S[:, 0, 0] * S[:, -1, -1])
        p["correlation"] = stats.ks_2samp(p["correlation"], p.pop("of SciPy"), method="asymp").pvalue
    assert_p_values(p, RATE)


def test_draw_component_reports_the_pivot() -> None:
    Psi = np.diag([1.0, 2.0, -1e-9])
    assert niw.draw_component(np.random.default_rng(1), np.zeros(3), 1.0, 5.0, Psi, np.empty(3), np.empty((3, 3))) == 3


# --- Weights ---


@pytest.mark.parametrize("K", [1, 2, 7])
@pytest.mark.parametrize("alpha", [0.001, 0.5, 1.0, 30.0])
def test_log_dirichlet(K: int, alpha: float) -> None:
    w = np.random.default_rng(K).dirichlet(np.full(K, 2.0))
    expected = stats.dirichlet.logpdf(w, np.full(K, alpha)) if K > 1 else 0.0
    size = abs(math.lgamma(K * alpha)) + K * abs(math.lgamma(alpha)) + abs(alpha - 1.0) * np.abs(np.log(w)).sum()
    # SciPy wants weights that sum to 1 to the last bit or so; ours are the same numbers.
    assert abs(weights.log_dirichlet(alpha, np.log(w)) - expected) <= 4 * (K + 2) * EPS * (1.0 + size)


@pytest.mark.parametrize("alpha", [0.3, 1.0, 2.5])
def test_draw_log_weights(alpha: float) -> None:
    rng, n, log_w = np.random.default_rng(31), np.array([0.0, 3.0, 1.0]), np.empty(3)

    def draw() -> Floats:
        weights.draw_log_weights(rng, alpha, n, log_w)
        return log_w.copy()

    w = np.exp(repeat(SIZE, draw))
    assert (np.abs(w.sum(1) - 1.0) <= 16 * EPS).all()
    a = alpha + n
    p = {f"w_{k}": stats.kstest(w[:, k], stats.beta(a[k], a.sum() - a[k]).cdf).pvalue for k in range(3)}
    # Given w_0, the others share the rest like Beta(a_1, a_2), whatever w_0 is (neutrality).
    share = w[:, 1] / (w[:, 1] + w[:, 2])
    p["share"] = stats.kstest(share, stats.beta(a[1], a[2]).cdf).pvalue
    p["share against w_0"] = stats.spearmanr(share, w[:, 0]).pvalue
    assert_p_values(p, RATE)


def test_draw_log_weights_stays_finite_where_weights_underflow() -> None:
    a, rng, log_w = 0.001, np.random.default_rng(32), np.empty(2)

    def draw() -> float:
        weights.draw_log_weights(rng, a, np.zeros(2), log_w)
        return log_w[0]

    x = repeat(SIZE, draw)
    assert np.isfinite(x).all()
    assert x.min() < math.log(np.finfo(float).tiny)  # a weight would have been 0
    # Beta(a, a) below 1e-30 is x^a / (a B(a, a)), to a relative error below 1e-30; its weight is a half on either side.
    small = x < -70.0
    cdf = np.where(small, np.exp(a * x - math.log(a) - special.betaln(a, a)), special.betainc(a, a, np.exp(x)))
    # So near to 1 that the last bit of x holds many values: draws in (1 - 1e-10, 1] are spread over their probability.
    top = x > -1e-10
    low = 1.0 - special.betainc(a, a, 1e-10)
    cdf[top] = low + (1.0 - low) * np.random.default_rng(33).random(top.sum())
    assert_p_values({"log w": stats.kstest(cdf, stats.uniform.cdf).pvalue}, RATE)


@pytest.mark.parametrize("shape", [0.2, 1.0, 6.0])
def test_draw_log_gamma(shape: float) -> None:
    rng = np.random.default_rng(34)
    x = repeat(SIZE, lambda: random.draw_log_gamma(rng, shape))
    assert_p_values({"gamma": stats.kstest(np.exp(x), stats.gamma(shape).cdf).pvalue}, RATE)


# --- Uniforms and powers of two ---


def uniforms(key: int, count: int, first: int = 0) -> Floats:
    return np.array([random.uniform(np.uint64(key), i) for i in range(first, first + count)])


def unmix(h: int) -> int:
    """The inverse of `mix`: xor-shifts undone bit by bit, products by the inverse modulo 2^64."""
    for shift, factor in ((31, 0x94D049BB133111EB), (27, 0xBF58476D1CE4E5B9), (30, 1)):
        x = h
        for _ in range(64 // shift):
            x = h ^ (x >> shift)
        h = x * pow(factor, -1, 2**64) % 2**64
    return h


def test_uniform_never_reaches_0_or_1() -> None:
    for bits, extreme in ((0, 2.0**-53), (2**64 - 1, 1.0 - 2.0**-53)):  # the extremes of the 64 random bits
        key = np.uint64(unmix(bits))
        assert int(random.mix(key)) == bits
        assert random.uniform(key, 0) == extreme


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**40))
def test_uniform_of_any_key_and_row(key: int, i: int) -> None:
    assert 0.0 < random.uniform(np.uint64(key), i) < 1.0


def test_mix_is_a_bijection_that_spreads_single_bits() -> None:
    h = [int(random.mix(np.uint64(i))) for i in range(1, 4097)]
    assert len(set(h)) == len(h)
    # Avalanche: flipping one input bit flips each output bit with probability 1/2; 64 x 200 coin flips for each.
    rng = np.random.default_rng(40)
    inputs = rng.integers(0, 2**63, 200, dtype=np.uint64)
    p = {}
    for bit in range(64):
        flipped = [int(random.mix(x)) ^ int(random.mix(x ^ (np.uint64(1) << np.uint64(bit)))) for x in inputs]
        p[f"bit {bit}"] = stats.binomtest(sum(f.bit_count() for f in flipped), 64 * len(inputs)).pvalue
    assert_p_values(p, RATE)


def test_uniform_is_uniform() -> None:
    p = {}
    for key in (0, 1, 2**63, 0x9E3779B97F4A7C15):
        u = uniforms(key, SIZE)
        p[f"key {key}"] = stats.kstest(u, stats.uniform.cdf).pvalue
        for lag in (1, 2, 128):
            p[f"key {key}, lag {lag}"] = stats.pearsonr(u[lag:], u[:-lag]).pvalue
    rng = np.random.default_rng(41)
    keys = [np.uint64(random.draw_key(rng)) for _ in range(SIZE)]
    for i in (0, 1, 127):
        p[f"row {i} over keys"] = stats.kstest([random.uniform(key, i) for key in keys], stats.uniform.cdf).pvalue
    rows = np.array([[random.uniform(key, i) for key in keys] for i in (0, 1)])
    p["rows 0 and 1 over keys"] = stats.pearsonr(*rows).pvalue
    assert len(set(map(int, keys))) == len(keys)
    assert_p_values(p, RATE)


def test_uniform_depends_on_key_and_row_only() -> None:
    expected = uniforms(7, 1000)
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda first: uniforms(7, 100, first), range(0, 1000, 100)))
    np.testing.assert_array_equal(np.concatenate(parts), expected)


@given(st.floats(-1000.0, 0.0))
def test_exp2(x: float) -> None:
    assert abs(exp2(x) - 2.0**x) <= 1e-14 * 2.0**x  # as its docstring states


@given(st.floats(max_value=-1000.0))
def test_exp2_is_flushed_far_below(x: float) -> None:
    assert exp2(x) == exp2(-1000.0) <= 2.0**-999


def test_exp2_is_exact_at_whole_numbers() -> None:
    for i in range(1000):
        assert exp2(-float(i)) == 2.0**-i


@kernel
def there_and_back(x: float) -> float:
    return bits_to_float(float_to_bits(x))  # these exist inside compiled code only


@given(st.floats(allow_nan=False))
def test_bits_round_trip(x: float) -> None:
    assert there_and_back(x) == x


@pytest.mark.parametrize("D", [1, 2, 4, 7, 8, 11, 16, 19])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_rows_are_loaded_by_rows_and_by_columns(D: int, dtype: type) -> None:
    rng, loc = np.random.default_rng(D), np.linspace(-1.0, 1.0, D)
    for N in (1, 5, 9, 140):
        X = rng.standard_normal((N, D)).astype(dtype)
        for first, size in {(0, min(N, TILE)), (N // 3, min(N - N // 3, TILE)), (max(0, N - TILE), min(N, TILE))}:
            index, work = rng.integers(N, size=TILE), new_workspace(2, D)
            for rows, gathered in ((np.arange(first, first + size), False), (index[:size], True)):
                work.Xt[:], work.rows[:, :D] = np.nan, np.nan
                if gathered:
                    load_rows(read_only(X), loc, index, size, work)
                else:
                    load_tile(read_only(X), loc, first, size, work.Xt, work.rows)
                expected = np.zeros(work.rows.shape)
                expected[:size, :D] = X[rows] - loc
                np.testing.assert_array_equal(work.rows, expected)
                np.testing.assert_array_equal(work.Xt, expected[:, :D].T)
            work.rows[:, :D] = 0.0
            copy_rows(read_only(X), loc, first, size, work.rows)
            np.testing.assert_array_equal(work.rows[:size, :D], X[first : first + size] - loc)


@pytest.mark.skipif(not JIT or platform.machine() != "x86_64", reason="nothing is compiled, or not for x86")
def test_kernels_ask_for_vectors_as_wide_as_the_processors() -> None:
    """Where LLVM prefers half of a processor's vectors, loops over a tile are compiled for whole ones all the same."""
    code = """
import numba
from gibbs_gmm.kernels.tile import load_tile
X, x = numba.types.float64[:, ::1], numba.types.float64[::1]
compiled = numba.njit(load_tile.py_func)
compiled.compile((X, x, numba.types.int64, numba.types.int64, X, X))
(text,) = compiled.inspect_asm().values()
print(text.count("zmm"), text.count("ymm"))
"""
    without = "import gibbs_gmm.kernels.tile as tile\ntile.wide_vectors = numba.njit(lambda: None)\n"
    features = "+avx512f,+avx512dq,+avx512bw,+avx512vl,+avx2,+avx,+fma"
    environment = os.environ | {"NUMBA_CPU_NAME": "cascadelake", "NUMBA_CPU_FEATURES": features}
    found = []
    for source in (code, code.replace("compiled = ", without + "compiled = ")):
        command = [sys.executable, "-c", source]
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        found.append([int(number) for number in run.stdout.split()])
    assert found[0][0] > found[1][0], found
