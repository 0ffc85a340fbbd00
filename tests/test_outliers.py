"""Outliers: the law of which rows they are and of the partition of the others, by enumeration, and what is said.

Thresholds: each quantity within 4 Monte-Carlo standard errors of the truth (a right sampler fails one comparison with
probability 6e-5). Seeds are fixed.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import oracle
import pytest
from harness import assert_same_draws, assert_within_mcse, package_prior
from oracle import NIW, Floats
from scipy import integrate
from tagged import Tagged, enumerate_tagged
from test_unknown_n import MOVES, PRIORS, use_moves

import gibbs_gmm as gg
from gibbs_gmm.data import Observations
from gibbs_gmm.model.outliers import Outliers

X = np.array([-1.5, -1.4, -1.2, 0.6, 0.8, 2.9])[:, None]
XNIW = NIW(np.zeros(1), 0.2, 4.0, 0.3 * np.eye(1))
SHARE = 0.3
LABELS, TAGS = ["a", None, None, "b", None, None], np.array([0, -1, -1, 1, -1, -1])
NONE = np.full(6, -1)
FIT: dict[str, Any] = {"threads": 1, "progress": False}


def box(trace: gg.Trace) -> tuple[float, float, float]:
    """The law of outliers as the enumeration takes it."""
    width = np.ptp(X) + trace.prior.resolution[0]
    return 1.0, 1.0 / SHARE - 1.0, -float(np.log(width))


def assert_exact(trace: gg.Trace, exact: Tagged, min_ess: float) -> None:
    """Outliers, n+, p(n) and co-clustering of a trace agree with the enumeration."""
    z = trace.assignments
    assert z is not None
    assert z.dtype == np.int16
    for i in range(6):
        assert_within_mcse(z[..., i] == -1, exact.mean(exact.z[:, i] == -1), min_ess=min_ess, name=f"p(z_{i} = -1)")
    both = exact.mean((exact.z[:, 0] == -1) & (exact.z[:, 5] == -1))
    assert_within_mcse((z[..., 0] == -1) & (z[..., 5] == -1), both, min_ess=min_ess, name="p(z_0 = z_5 = -1)")
    m = (exact.z == -1).sum(1)
    assert_within_mcse((z == -1).sum(-1), exact.mean(m), min_ess=min_ess, name="the number of outliers")
    a, b = 1.0, 1.0 / SHARE - 1.0
    assert trace.outlier_weight is not None
    assert_within_mcse(trace.outlier_weight, exact.mean((a + m) / (a + b + 6)), min_ess=min_ess, name="E[s]")
    for t in range(1, 5):
        truth = exact.mean(exact.n_clusters == t)
        if truth > 1e-3:
            assert_within_mcse(trace.n_clusters == t, truth, min_ess=min_ess, name=f"p(n+ = {t})")
    for i, j in ((0, 1), (3, 4), (4, 5), (1, 2)):
        truth = exact.mean((exact.z[:, i] == exact.z[:, j]) & (exact.z[:, i] >= 0))
        together = (z[..., i] == z[..., j]) & (z[..., i] >= 0)
        assert_within_mcse(together, truth, min_ess=min_ess, name=f"p(z_{i} = z_{j})")
    if exact.n_components is not None:
        for n in range(1, 5):
            name = f"p(n = {n})"
            assert_within_mcse(trace.n_components == n, exact.n_components[n - 1], min_ess=min_ess, name=name)


CROSSED = [
    pytest.param(name, moves, marks=() if moves == "all" or name == "static" else pytest.mark.slow)
    for name in PRIORS
    for moves in MOVES
]


@pytest.mark.parametrize(("name", "moves"), CROSSED)
def test_enumeration(name: str, moves: str, monkeypatch: pytest.MonkeyPatch) -> None:
    prior, truth = PRIORS[name]
    *rates, thin = MOVES[moves]
    use_moves(monkeypatch, *rates)
    settings = {"draws": 4000, "warmup": 500, "thin": thin, "rng": 5, **FIT}
    trace = gg.fit(X, prior, prior=package_prior(XNIW), outliers=SHARE, **settings)
    assert_exact(trace, enumerate_tagged(X, XNIW, truth, NONE, box(trace)), min_ess=4000)


@pytest.mark.parametrize("name", ["static", "Dirichlet process"])
def test_enumeration_with_known_labels(name: str) -> None:
    prior, truth = PRIORS[name]
    settings = {"draws": 4000, "warmup": 500, "thin": 5, "rng": 5, **FIT}
    trace = gg.fit(X, prior, prior=package_prior(XNIW), labels=LABELS, outliers=SHARE, **settings)
    exact = enumerate_tagged(X, XNIW, truth, TAGS, box(trace))
    assert_exact(trace, exact, min_ess=4000)
    assert trace.assignments is not None
    for i in (1, 2, 4, 5):
        for k in (0, 1):
            name = f"p(z_{i} = {k})"
            assert_within_mcse(trace.assignments[..., i] == k, exact.mean(exact.z[:, i] == k), name=name)


@pytest.mark.parametrize("covariance_type", ["diag", "spherical", "tied"])
def test_enumeration_of_other_families(covariance_type: str) -> None:
    prior, truth = PRIORS["static"]
    niw: Any = gg.NormalInverseWishart([0.0], 0.2, 4.0, [[0.3]], covariance_type="tied")
    if covariance_type != "tied":
        niw = gg.NormalInverseGamma([0.0], 0.2, 2.0, [0.15] if covariance_type == "diag" else 0.15)
    trace = gg.fit(X, prior, prior=niw, outliers=SHARE, draws=4000, warmup=500, thin=5, rng=5, **FIT)
    exact = enumerate_tagged(X, XNIW, truth, NONE, box(trace), tied=covariance_type == "tied")
    assert_exact(trace, exact, min_ess=4000)


# --- Moves alone, and bugs in them ---


ROOT = Path(__file__).resolve().parents[1]
PLANTS = {
    "none": ("", ""),
    "their density forgotten": (" + m * outliers[LOG_DENSITY]", ""),
    "the proposal forgotten": ("n_0, moves.scratch) - log_q", "n_0, moves.scratch)"),
    "the choice of the first row forgotten": ("(t + 1.0 - G) * n_0", "(t + 1.0 - G)"),
    "the share taken as known": ("math.lgamma(outliers[SHAPE_0] + m)", "math.log(0.4) * m"),
}
"""text in the kernel, what it becomes"""


@pytest.mark.parametrize("plant", PLANTS)
def test_moves_alone_visit_partitions_as_often_as_they_should(plant: str, tmp_path: Path) -> None:
    """With the compiler off, so that a bug needs no compilation to be seen."""
    text, bug = PLANTS[plant]
    for name in ("gibbs_gmm", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    source = tmp_path / "gibbs_gmm" / "kernels" / "sampler" / "outliers.py"
    original = source.read_text()
    assert text == "" or original.count(text) == 1
    source.write_text(original if text == "" else original.replace(text, bug))
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-W", "ignore", str(tmp_path / "tests" / "outlier_moves.py")]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    # Of 14 partitions by t statistics with 19 degrees of freedom: above 6 by chance once in 8,000 times.
    assert (float(run.stdout) > 6.0) == (plant != "none"), run.stdout


# --- What it finds ---


def noisy(seed: int, outliers: int) -> Floats:
    """Two groups of 95 rows in three columns, and outliers, the last rows, anywhere in a box."""
    rng = np.random.default_rng(seed)
    groups = [rng.normal(m, 1.0, (95, 3)) for m in ((-4.0, 0.0, 0.0), (4.0, 0.0, 3.0))]
    return np.concatenate([*groups, rng.uniform(-12.0, 12.0, (outliers, 3))])


@pytest.mark.parametrize("n_components", [2, None])
def test_uniform_noise_is_recovered(n_components: int | None) -> None:
    data = noisy(1, 10)
    trace = gg.fit(data, n_components, outliers=True, draws=300, warmup=500, thin=2, rng=1, **FIT)
    p = trace.outlier_probability()
    # An outlier may lie within a group by chance; noise of this seed does not.
    assert (p[190:] > 0.5).sum() >= 9
    assert (p[:190] > 0.5).sum() <= 2
    assert np.median(trace.n_clusters) == 2
    partition = trace.partition()
    np.testing.assert_array_equal(partition.labels < 0, p >= 0.5)
    assert partition.n_clusters == 2
    assert partition.sizes.sum() == (p < 0.5).sum()
    searched = trace.partition("vi")
    assert (searched.labels[p >= 0.5] == -1).all()
    assert searched.n_clusters == 2


def test_few_outliers_in_clean_data() -> None:
    data = np.random.default_rng(2).standard_normal((300, 4))
    trace = gg.fit(data, outliers=True, draws=300, warmup=500, thin=2, rng=1, **FIT)
    p = trace.outlier_probability()
    assert p.mean() < 0.03  # below the share that is expected
    assert (p > 0.5).sum() <= 3


def test_wine_has_three_kinds_and_a_few_outliers() -> None:
    """Wines that are odd, well known among the 71 of one cultivar, are outliers, and take no component of the three."""
    table = np.genfromtxt(ROOT / "data" / "wine.csv", delimiter=",", skip_header=1)
    data, cultivar = table[:, :13], table[:, 13]
    trace = gg.fit(data, 3, outliers=True, draws=150, warmup=500, thin=2, rng=1, **FIT)
    z = trace.assignments
    assert z is not None
    assert min((z == k).sum(-1).min() for k in range(3)) > 40
    p = trace.outlier_probability()
    assert set(np.flatnonzero(p > 0.95)) >= {69, 73, 78, 95, 110, 121}
    assert 5.0 < p.sum() < 12.0
    labels = trace.partition().labels
    own = labels >= 0
    table = np.array([[((labels == k) & (cultivar == c)).sum() for c in (1, 2, 3)] for k in range(3)])
    assert table.max(1).sum() >= 0.96 * own.sum()


def test_units_do_not_matter() -> None:
    data, by = noisy(3, 8), np.array([4.0, 0.25, 1.0])  # powers of two: not a digit changes
    settings: dict[str, Any] = {"outliers": True, "draws": 50, "warmup": 100, "thin": 1, "chains": 2, "rng": 1, **FIT}
    one, other = gg.fit(data, 2, **settings), gg.fit(data * by, 2, **settings)
    assert one.assignments is not None
    assert other.assignments is not None
    assert (one.assignments != other.assignments).mean() < 0.001
    np.testing.assert_allclose(one.means * by, other.means, rtol=1e-6)


# --- What the trace says ---


@pytest.fixture(scope="module")
def trace() -> gg.Trace:
    return gg.fit(noisy(4, 10)[:, :2], 2, outliers=True, draws=200, warmup=300, thin=1, rng=1, **FIT)


def test_density_is_that_of_the_mixture_with_outliers(trace: gg.Trace) -> None:
    low, high = trace.settings["outliers"]["low"], trace.settings["outliers"]["high"]
    new = np.array([[-4.0, 0.0], [0.0, 5.0], [30.0, 0.0]])
    assert trace.outlier_weight is not None
    by_draw = np.empty((*trace.outlier_weight.shape, 3))
    for c, t in np.ndindex(trace.outlier_weight.shape):
        s = trace.outlier_weight[c, t]
        w = np.log1p(-s) + np.log(trace.weights[c, t])
        own = oracle.log_joint_density(new, np.exp(w), trace.means[c, t], trace.covariances[c, t])
        g = np.where((new >= low).all(1) & (new <= high).all(1), s / np.prod(np.subtract(high, low)), 0.0)
        by_draw[c, t] = np.log(np.exp(own).sum(1) + g)
    np.testing.assert_allclose(trace.pointwise_log_density(new), by_draw, rtol=1e-9)
    np.testing.assert_allclose(trace.log_density(new), np.log(np.exp(by_draw).mean((0, 1))), rtol=1e-9)
    x = np.linspace(low[0] - 5.0, high[0] + 5.0, 241)
    y = np.linspace(low[1] - 5.0, high[1] + 5.0, 241)
    grid = np.exp(trace.log_density(np.stack(np.meshgrid(x, y), -1).reshape(-1, 2))).reshape(241, 241)
    assert abs(integrate.trapezoid(integrate.trapezoid(grid, x, axis=1), y) - 1.0) < 0.01


def test_new_rows(trace: gg.Trace) -> None:
    new = np.array([[-4.0, 0.0], [4.0, 0.0], [0.0, 9.0], [100.0, -100.0]])
    p = trace.outlier_probability(new)
    assert (p[:2] < 0.05).all()
    assert (p[2:] > 0.95).all()
    proba = trace.predict_proba(new)
    np.testing.assert_allclose(proba.sum(1), 1.0)
    np.testing.assert_allclose(proba[:, -1], p, rtol=1e-9)  # of a known number of components nothing else is none
    assert (trace.predict(new)[2:] == -1).all()
    assert set(trace.predict(new)[:2]) == {0, 1}


def test_samples(trace: gg.Trace) -> None:
    from gibbs_gmm.posterior.predict import sample

    rows, draw, component = sample(trace, 20_000, 3)
    assert trace.outlier_weight is not None
    s = trace.outlier_weight.mean()
    assert abs((component == -1).mean() - s) < 5 * np.sqrt(s / 20_000)
    low, high = trace.settings["outliers"]["low"], trace.settings["outliers"]["high"]
    own = rows[component == -1]
    assert ((own >= low) & (own <= high)).all()
    assert len(draw) == 20_000


def test_other_questions(trace: gg.Trace, tmp_path: Path) -> None:
    summary = trace.summary()
    assert summary["outlier_weight"]["mean"] == pytest.approx(trace.outlier_weight.mean())  # type: ignore[union-attr]
    matched = trace.relabel().trace.assignments
    assert matched is not None
    np.testing.assert_array_equal(matched == -1, trace.assignments == -1)
    ball = trace.credible_ball()
    assert ball.probability >= 0.95
    trace.save(tmp_path / "trace.npz")
    again = gg.load(tmp_path / "trace.npz")
    assert_same_draws(trace, again)
    np.testing.assert_array_equal(again.outlier_probability([[0.0, 9.0]]), trace.outlier_probability([[0.0, 9.0]]))
    with pytest.raises(ValueError, match=r"conditional\(\) is not offered for a fit with outliers"):
        trace.conditional({"x0": 1.0})
    with pytest.raises(ValueError, match=r"needs a fit that allows outliers: fit\(\.\.\., outliers=True\)"):
        gg.fit(noisy(4, 10), 2, draws=5, warmup=5, thin=1, chains=1, rng=1, **FIT).outlier_probability()


def test_checks_and_merged_clusters_leave_outliers_out() -> None:
    data = noisy(5, 10)[:, :2]
    trace = gg.fit(data, 2, outliers=True, draws=100, warmup=200, thin=1, rng=1, **FIT)
    check = trace.check(data)
    assert (check.rows < 97.0).all()
    assert check.messages == ()
    labels = trace.partition().labels
    merged = trace.merged()
    np.testing.assert_array_equal(merged.labels(2), labels)
    np.testing.assert_array_equal(merged.labels(1) < 0, labels < 0)
    together = trace.partition().together
    assert (np.diagonal(together) > 0.9).all()


def test_resumed_and_threaded_runs_are_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    data = rng.normal(0.0, 1.0, (33_000, 2)) + np.where(np.arange(33_000) % 2, 4.0, -4.0)[:, None]
    data[:300] = rng.uniform(-20.0, 20.0, (300, 2))
    settings: dict[str, Any] = {"outliers": True, "warmup": 20, "thin": 1, "chains": 1, "rng": 1, "progress": False}
    one = gg.fit(data, draws=10, threads=1, **settings)
    assert_same_draws(one, gg.fit(data, draws=10, threads=2, **settings))
    gg.fit(data, draws=4, threads=1, checkpoint=tmp_path / "run", **settings)
    assert_same_draws(one, gg.resume(tmp_path / "run", draws=10, progress=False))
    with pytest.raises(ValueError, match="outliers"):
        gg.fit(data, draws=10, checkpoint=tmp_path / "run", **{**settings, "outliers": 0.1})


# --- What is accepted and refused ---


def test_box_of_the_data() -> None:
    data = Observations.of(np.array([[1.0, 10.0], [3.0, 30.0], [2.0, 20.0]]), ("a", "b"))
    found = Outliers.of(0.1, data, np.array([0.0, 2.0]))
    assert found == Outliers(0.1, (1.0, 9.0), (3.0, 31.0))
    assert found.log_density == pytest.approx(-np.log(2.0 * 22.0))
    assert found.log_densities(np.array([[2.0, 20.0], [7.0, 9.0]])) == pytest.approx(-np.log([44.0, 6.0 * 22.0]))
    assert Outliers.of(False, data, np.zeros(2)) is None
    assert Outliers.from_dict(found.to_dict()) == found


@pytest.mark.parametrize(
    ("outliers", "error", "message"),
    [
        (0.0, ValueError, "outliers must be True, False or an expected share between 0 and 1, got 0"),
        (1, ValueError, "outliers must be True, False or an expected share between 0 and 1, got 1"),
        ("yes", TypeError, "outliers must be True, False or an expected share between 0 and 1, got 'yes'"),
        (None, TypeError, "outliers must be True, False or an expected share between 0 and 1, got None"),
    ],
)
def test_wrong_outliers_are_refused(outliers: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        gg.fit(X, outliers=outliers, **FIT)


def test_more_components_than_labels_can_tell_apart_are_refused() -> None:
    with pytest.raises(ValueError, match="n_components must be at most 30000 where there may be outliers"):
        gg.fit(np.random.default_rng(1).standard_normal(40_000), 30_001, outliers=True, **FIT)


def test_constant_column_is_refused() -> None:
    data = np.column_stack([np.arange(6.0), np.ones(6)])
    niw = gg.NormalInverseWishart([0.0, 0.0], 1.0, 4.0, np.eye(2))
    with pytest.raises(ValueError, match="X column 'x1' is constant"):
        gg.fit(data, 2, prior=niw, outliers=True, **FIT)
