"""`log_evidence` against enumeration, published numbers, and identities; its standard errors against its own spread."""

import dataclasses
import sys
from typing import Any

import numpy as np
import oracle
import pytest
from harness import EPS, estimate, package_prior, some_niw
from oracle import NIW, Finite, Floats
from scipy import stats
from scipy.special import gammaln, logsumexp, roots_genlaguerre, roots_legendre

import gibbs_gmm as gg
from gibbs_gmm.evidence import Evidence, log_evidence
from gibbs_gmm.sampler import chain as chains

# Nine observations of Neal (2000): fixture A, with numbers that two programs without common code agree on.
NEAL = np.array([-1.48, -1.40, -1.16, -1.08, -1.02, 0.14, 0.51, 0.53, 0.78])[:, None]
NEAL_NIW = NIW(np.zeros(1), 0.1, 4.0, np.eye(1))
EXACT = np.array(
    [-15.221205316717, -12.993067709966, -12.957991019147, -13.057976468661, -13.180380196774, -13.300574166786]
)
DATA = "data"


def run(X: Any, n: Any, niw: NIW, **changes: Any) -> Evidence:
    settings = {"draws": 15_000, "warmup": 3_000, "rng": 1, "threads": 1, "progress": False} | changes
    return log_evidence(X, n, prior=package_prior(niw), **settings)


def assert_evidence(found: Evidence, truth: Floats, *, at_most: float, se: Floats | float = 0.0) -> None:
    """Within 4 standard errors, which are small enough to tell; n = 1, which comes first, is exact."""
    assert found.messages == ()
    np.testing.assert_allclose(found.log_evidence[0], truth[0], rtol=1e-11)  # the fixtures' digits
    assert found.standard_error[0] == 0.0
    assert (found.standard_error <= at_most).all()
    joint = np.hypot(found.standard_error, se)[1:]
    assert (np.abs(found.log_evidence - truth)[1:] <= 4 * joint).all(), (found, truth)


# --- Against enumeration ---


def test_fixture_a() -> None:
    found = run(NEAL, range(1, 7), NEAL_NIW)
    np.testing.assert_array_equal(found.n_components, range(1, 7))
    assert_evidence(found, EXACT, at_most=0.05)


CASES = {
    "1D, sparse": (1, 8, 0.1, 5),
    "2D": (2, 8, 1.0, 4),
    "2D, heavy": (2, 7, 3.0, 9),
    "2D, sparse": (2, 6, 0.2, 12),
    "3D": (3, 6, 0.7, 3),
}
"""D, N, concentration, largest n (which may exceed N)."""


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_enumeration(case: tuple[int, int, float, int]) -> None:
    D, N, alpha, n_max = case
    rng = np.random.default_rng([D, N, n_max])
    X = np.where(np.arange(N) % 2, 1.2, -1.2)[:, None] + rng.standard_normal((N, D))
    niw = some_niw(D)
    truth = [oracle.enumerate_posterior(X, niw, Finite(n, alpha)).log_evidence for n in range(1, n_max + 1)]
    assert_evidence(run(X, range(1, n_max + 1), niw, concentration=alpha), np.array(truth), at_most=0.05)


def test_standard_errors_are_honest() -> None:
    # Twenty independent short runs: squared errors over squared standard errors have mean 1; that of 20 squared normals
    # exceeds 2.7 with probability 1e-4 (chi-squared).
    runs = [run(NEAL, range(1, 7), NEAL_NIW, draws=1_500, warmup=1_500, rng=seed) for seed in range(20)]
    z = np.array([(found.log_evidence - EXACT)[1:] / found.standard_error[1:] for found in runs])
    assert (z**2).mean(0).max() < 2.7
    assert (z**2).mean(0).min() > 0.25  # nor are they far too large: probability 1e-5


# --- Learned hyperparameters ---


def integrated(X: Floats, niw: NIW, n_max: int, df: float, shape: float) -> Floats:
    """log p(X | n), n = 1..n_max, of N x 1 data, over Psi_0 ~ Gamma(df / 2) of niw's mean and kappa_0 up to niw's.

    Gauss-Laguerre nodes for Psi_0; for kappa_0, Gauss-Legendre nodes of the uniform (kappa_0 / niw.kappa_0)^shape.
    """
    x, w_x = roots_genlaguerre(14, df / 2.0 - 1.0)
    u, w_u = roots_legendre(10)
    uniform, terms, weights = np.full(n_max, 1.0 / n_max), [], []
    for scale, a in zip(x / (df / 2.0), w_x / w_x.sum(), strict=True):
        for share, b in zip((0.5 * (u + 1.0)) ** (1.0 / shape), w_u / 2.0, strict=True):
            now = niw._replace(kappa_0=share * niw.kappa_0, Psi_0=scale * niw.Psi_0)
            exact = oracle.enumerate_posterior(X, now, oracle.StaticMFM(1.0, uniform))
            assert exact.n_components is not None
            terms.append(exact.log_evidence + np.log(exact.n_components / uniform))
            weights.append(a * b)
    return np.asarray(logsumexp(np.array(terms), axis=0, b=np.array(weights)[:, None]))


LEARNED = NEAL_NIW._replace(kappa_0=0.8, noise=np.array([0.02]))
LEARNED_DF, LEARNED_SHAPE = 5.0, 0.7


@pytest.mark.parametrize("shrinkage", [None, 0.5])
def test_learned_hyperparameters_are_integrated_out(shrinkage: float | None) -> None:
    X = NEAL[1:8]
    truth = integrated(X, LEARNED, 3, LEARNED_DF, LEARNED_SHAPE)
    prior = dataclasses.replace(
        package_prior(LEARNED), Psi_0_df=LEARNED_DF, Psi_0_shrinkage=shrinkage, kappa_0_shape=LEARNED_SHAPE
    )
    found = log_evidence(X, range(1, 4), prior=prior, draws=30_000, warmup=2_000, rng=1, threads=1, progress=False)
    assert found.messages == ()
    assert ((found.standard_error > 0.0) & (found.standard_error < 0.03)).all()
    assert (np.abs(found.log_evidence - truth) <= 4 * found.standard_error).all(), (found, truth)
    # It would be seen if one law or the other were another: both have a hold on p(X | n).
    for df, shape in ((LEARNED_DF + 2.0, LEARNED_SHAPE), (LEARNED_DF, LEARNED_SHAPE + 0.5)):
        other = integrated(X, LEARNED, 3, df, shape)
        assert (np.abs(found.log_evidence - other) > 4 * found.standard_error).any()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "columns"), [("iris", 4), ("galaxies", 1), ("acidity", 1)])
def test_posterior_of_n_is_that_of_a_fit(name: str, columns: int) -> None:
    """Both with the default prior of the components. Ten runs give the standard errors of differences between n."""
    X, n_prior = read(name, columns), stats.randint(1, 7)
    settings: dict[str, Any] = {"draws": 5_000, "warmup": 3_000, "progress": False}
    runs = [log_evidence(X, range(1, 7), rng=seed, **settings) for seed in range(10)]
    assert [found.messages for found in runs] == [()] * 10
    p = np.array([found.posterior(n_prior) for found in runs])
    weights = gg.MixtureOfFiniteMixtures(n_prior, concentration=1.0, dynamic=False)
    trace = gg.fit(X, weights, draws=25_000, warmup=5_000, rng=2, progress=False, save_assignments=False)
    compared = 0
    for n in range(1, 7):
        mean, se, ess = estimate(trace.n_components == n)
        if ess > 400:
            joint = np.hypot(se, p[:, n - 1].std(ddof=1) / np.sqrt(10))
            assert joint < 0.02
            assert abs(mean - p[:, n - 1].mean()) <= 4 * joint, (n, mean, se, p)
            compared += 1
    assert compared >= 3


# --- Identities ---


def test_neighbours_agree_with_a_fit() -> None:
    """Nobile (2004): p(X | n) / p(X | n - 1) is a known factor over E[(n - n+)/n | X, n], here from `fit`."""
    N, n, alpha, niw = 60, 3, 1.5, some_niw(2)
    rng = np.random.default_rng(3)
    X = np.where(np.arange(N) % 2, 2.0, -2.0)[:, None] + rng.standard_normal((N, 2))
    found = run(X, [n - 1, n], niw, concentration=alpha)
    settings = {"draws": 20_000, "warmup": 500, "rng": 2, "threads": 1, "progress": False, "save_assignments": False}
    trace = gg.fit(X, gg.FiniteMixture(n, alpha), prior=package_prior(niw), **settings)
    empty, se, ess = estimate((n - trace.n_clusters) / n)
    assert ess > 1000
    low, high = (n - 1) * alpha, n * alpha
    ratio = gammaln(high) + gammaln(N + low) - gammaln(low) - gammaln(N + high) - np.log(empty)
    joint = np.hypot(found.standard_error.sum(), se / empty)
    assert abs(np.diff(found.log_evidence)[0] - ratio) <= 4 * joint


def test_units_change_the_density_only() -> None:
    A, b = np.array([[2.0, 1.5], [-0.4, 0.5]]), np.array([1e3, -3.0])
    niw, X = some_niw(2), np.random.default_rng(4).standard_normal((30, 2))
    mapped = NIW(A @ niw.mu_0 + b, niw.kappa_0, niw.nu_0, A @ niw.Psi_0 @ A.T)
    one = run(X, 1, niw).log_evidence - 30 * np.log(np.abs(np.linalg.det(A)))
    np.testing.assert_allclose(run(X @ A.T + b, 1, mapped).log_evidence, one, rtol=1e-10)


@pytest.mark.parametrize("D", [1, 3])
def test_one_component_is_exact(D: int) -> None:
    X, niw = np.random.default_rng(D).standard_normal((7, D)), some_niw(D)
    found = run(X, 1, niw)
    np.testing.assert_allclose(found.log_evidence, [oracle.log_marginal(X, niw)], rtol=200 * EPS)
    np.testing.assert_array_equal(found.standard_error, [0.0])
    assert len(found) == 1


def test_what_is_asked_for_does_not_change_it() -> None:
    settings: dict[str, Any] = {"draws": 300, "warmup": 200}
    found = run(NEAL, range(1, 6), NEAL_NIW, **settings)
    for n in ([5, 2], np.array([2, 5, 5]), (5, 2), {2, 5}):
        some = run(NEAL, n, NEAL_NIW, **settings)
        np.testing.assert_array_equal(some.n_components, [2, 5])
        np.testing.assert_array_equal(some.log_evidence, found.log_evidence[[1, 4]])
        np.testing.assert_array_equal(some.standard_error, found.standard_error[[1, 4]])
    five = run(NEAL, 5, NEAL_NIW, **settings)
    np.testing.assert_array_equal(five.log_evidence, found.log_evidence[4:])


def test_same_seed_same_bytes_whatever_the_threads() -> None:
    X = np.random.default_rng(0).standard_normal((200, 2))
    runs = [run(X, range(1, 5), some_niw(2), draws=600, warmup=300, threads=threads, rng=5) for threads in (1, 1, 3)]
    for other in runs[1:]:
        np.testing.assert_array_equal(runs[0].log_evidence, other.log_evidence)
        np.testing.assert_array_equal(runs[0].standard_error, other.standard_error)
    another = run(X, range(1, 5), some_niw(2), draws=600, warmup=300, rng=6)
    assert (runs[0].log_evidence != another.log_evidence)[1:].all()


# --- Published and measured data sets ---


def read(name: str, columns: int) -> Floats:
    from conftest import ROOT

    return np.loadtxt(ROOT / DATA / f"{name}.csv", delimiter=",", skiprows=1, usecols=range(columns), ndmin=2)


@pytest.mark.slow
def test_galaxies() -> None:
    """Fixture B: Hairault, Robert & Rousseau's (2022) sequential importance sampling, with its standard errors."""
    niw = NIW(np.array([20.82817073]), 0.103556777, 2.56, np.array([[14.813199656]]))
    text = "-246.17994108 -231.477 -227.059 -226.436 -226.262 -226.328 -226.519 -226.784 -227.111 -227.456"
    se = np.array([0, 0.010, 0.007, 0.005, 0.004, 0.004, 0.004, 0.004, 0.003, 0.003])
    found = run(read("galaxies", 1), range(1, 11), niw, draws=250_000, warmup=5_000, chains=8, threads=2)
    assert_evidence(found, np.array(text.split(), dtype=float), at_most=0.05, se=se)


@pytest.mark.slow
def test_iris() -> None:
    X = read("iris", 4)
    niw = NIW(X.mean(0), 0.01, 6.0, np.cov(X.T) / np.sqrt(3))
    runs = [run(X, range(1, 11), niw, draws=60_000, warmup=5_000, threads=2, rng=seed) for seed in (1, 2)]
    assert max(found.standard_error.max() for found in runs) < 0.1
    assert_evidence(runs[0], runs[1].log_evidence, at_most=0.1, se=runs[1].standard_error)
    # p(n | X) with n uniform on 1..10 has its mass on 2 and 3.
    p = np.exp(runs[0].log_evidence - runs[0].log_evidence.max())
    assert (p / p.sum())[1:3].sum() > 0.7


def test_component_slots_that_grow_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"draws": 1200, "warmup": 200}
    expected = run(NEAL, [1, 3, 5], NEAL_NIW, **settings)
    monkeypatch.setattr(chains, "_SLOTS", 1)
    np.testing.assert_array_equal(run(NEAL, [1, 3, 5], NEAL_NIW, **settings).log_evidence, expected.log_evidence)


# --- What a user sees ---


def test_table_and_data_frame() -> None:
    found = run(NEAL, [1, 3], NEAL_NIW, draws=200, warmup=100)
    header, one, three = repr(found).split("\n")[:3]
    assert header.split() == ["n", "log", "p(X", "|", "n)", "s.e.", "-", "highest", "p(n", "|", "X)"]
    assert one.split()[:3] == ["1", "-15.2212", "0.0000"]
    assert three.split()[0] == "3"
    assert [float(one.split()[-1]), float(three.split()[-1])] == [round(p, 4) for p in found.posterior()]
    assert "p(n | X) under a uniform prior on these n." in repr(found)
    assert package_prior(NEAL_NIW).describe() in " ".join(repr(found).split())
    assert max(map(len, repr(found).split("\n"))) <= 80
    frame = found.to_dataframe()
    assert list(frame.columns) == ["log_evidence", "standard_error", "posterior"]
    assert frame.index.name == "n_components"
    np.testing.assert_array_equal(frame.loc[3, "log_evidence"], found.log_evidence[1])


def made(log_evidence: list[float]) -> Evidence:
    settings = {"prior": PRIOR.to_dict()}
    return Evidence(np.array([1, 2, 4]), np.array(log_evidence), np.zeros(3), (), settings)


def test_posterior_under_a_prior_of_n() -> None:
    found = made([-1000.0, -1000.0 + np.log(3.0), -1000.0 + np.log(4.0)])
    np.testing.assert_allclose(found.posterior(), [1 / 8, 3 / 8, 4 / 8], rtol=1e-12)
    np.testing.assert_allclose(found.posterior(stats.randint(1, 3)), [1 / 4, 3 / 4, 0.0], rtol=1e-12)
    np.testing.assert_allclose(found.posterior(stats.geom(0.5)), np.array([4, 6, 2]) / 12, rtol=1e-12)
    with pytest.raises(TypeError, match="n_prior must be a frozen discrete"):
        found.posterior([0.5, 0.5])
    with pytest.raises(ValueError, match=r"n_prior must be a distribution on 1, 2, \.\.\., got probability"):
        found.posterior(stats.poisson(1.0))
    with pytest.raises(ValueError, match=r"n_prior must give some of n = \[1, 2, 4\] a probability above 0"):
        found.posterior(stats.randint(5, 7))


def test_an_evidence_that_is_not_known_leaves_none_where_it_counts() -> None:
    found = made([-5.0, -4.0, np.nan])
    assert np.isnan(found.posterior()).all()
    np.testing.assert_allclose(found.posterior(stats.randint(1, 3)).sum(), 1.0, rtol=1e-12)
    assert "nan" in repr(found)


@pytest.mark.parametrize(
    ("t", "trips", "known", "message"),
    [
        ([2, 3, 2, 3], 0, [1], "Some n were never visited"),
        ([1, 1, 1, 1], 0, [1, 2, 3], "from one cluster to many and back only 0 times"),
        ([1, 2, 2, 2], 0, [1, 2, 3], "from one cluster to many and back only 0 times"),
        ([1, 2, 1, 2], 4, [1, 2, 3], "from one cluster to many and back only 4 times"),
        ([1, 2, 1, 1] * 3 + [2, 1, 1, 1], 16, [1, 2, 3], None),
    ],
)
def test_few_round_trips_are_said(
    monkeypatch: pytest.MonkeyPatch, t: list[int], trips: int, known: list[int], message: str | None
) -> None:
    """Four chains that went this way between numbers of clusters."""
    monkeypatch.setattr(sys.modules["gibbs_gmm.evidence"], "_sample", lambda *_: np.array([t] * 4))
    found = run(NEAL, range(1, 4), NEAL_NIW)
    np.testing.assert_array_equal(found.n_components[np.isfinite(found.log_evidence)], known)
    np.testing.assert_array_equal(np.isinf(found.standard_error)[1:], [trips == 0] * 2)
    assert found.settings["round_trips"] == trips
    assert len(found.messages) == (message is not None)
    if message is not None:
        assert message in repr(found)
        assert message in found.messages[0]


def test_default_prior_is_that_of_a_fit() -> None:
    X = np.random.default_rng(1).standard_normal((40, 2))
    found = log_evidence(X, 1)
    prior = gg.NormalInverseWishart.from_dict(found.settings["prior"])
    assert prior == gg.NormalInverseWishart.from_data(X)
    assert found.standard_error[0] > 0.0
    assert prior.describe() in " ".join(repr(found).split())


# --- Bad input ---

PRIOR = package_prior(NEAL_NIW)
BAD = {
    "no n": ({"n_components": []}, ValueError, "n_components must hold at least one number, got none"),
    "n = 0": ({"n_components": [1, 0]}, ValueError, "n_components must be at least 1, got 0"),
    "n = 2.5": ({"n_components": [2.5]}, TypeError, "n_components must be an integer, got 2.5"),
    "text": ({"n_components": "12"}, TypeError, "n_components must be an integer, got '12'"),
    "too many": ({"n_components": 10**6}, ValueError, "n_components must be at most 65534, got 1000000"),
    "weights": ({"n_components": gg.FiniteMixture(3)}, TypeError, "n_components must be an integer, got Finite"),
    "prior": ({"prior": 3}, TypeError, "prior must be a NormalInverseWishart, a NormalInverseGamma or None, got 3"),
    "prior's columns": (
        {"prior": package_prior(some_niw(2))},
        ValueError,
        "prior must be for the 1 columns of X, got mu_0 with 2 entries",
    ),
    "concentration": ({"concentration": 0.0}, ValueError, "concentration must be positive, got 0.0"),
    "learned": ({"concentration": None}, TypeError, "concentration must be a number, got None"),
    "draws": ({"draws": 99}, ValueError, "draws must be at least 100, got 99"),
    "warmup": ({"warmup": 0}, ValueError, "warmup must be at least 100, got 0"),
    "chains": ({"chains": 1}, ValueError, "chains must be at least 2, got 1"),
    "threads": ({"threads": 0}, ValueError, "threads must be at least 1, got 0"),
    "rng": ({"rng": "x"}, TypeError, "rng must be None, an integer"),
    "progress": ({"progress": "yes"}, TypeError, "progress must be True or False, got 'yes'"),
    "X": ({"X": np.array([1.0, np.nan])}, ValueError, "X must be finite"),
}


@pytest.mark.parametrize("case", BAD.values(), ids=list(BAD))
def test_bad_input(case: tuple[dict[str, Any], type[Exception], str], monkeypatch: pytest.MonkeyPatch) -> None:
    changes, error, message = case
    monkeypatch.setattr(sys.modules["gibbs_gmm.evidence"], "_sample", lambda *_: pytest.fail("sampling was started"))
    arguments: dict[str, Any] = {"X": NEAL, "prior": PRIOR} | changes
    with pytest.raises(error, match=message):
        log_evidence(**arguments)
