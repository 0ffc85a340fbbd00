"""Known labels: the law of partitions by enumeration, under every prior and for every kind of move, and what is said.

Thresholds: each quantity within 4 Monte-Carlo standard errors of the truth (a right sampler fails one comparison with
probability 6e-5). Seeds are fixed.
"""

import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import oracle
import pytest
from harness import assert_same_draws, assert_within_mcse, package_prior, some_niw
from scipy import stats
from scipy.special import gammaln
from tagged import Tagged, enumerate_tagged, log_prior_of_n
from test_unknown_n import MOVES, NEAL, NEAL_NIW, PRIORS, use_moves

import gibbs_gmm as gg
from gibbs_gmm.kernels.sampler.partition_prior import log_partition
from gibbs_gmm.model.known_labels import KnownLabels
from gibbs_gmm.posterior.matched import some_draws

LABELS = ["low", None, "low", None, "", None, "high", None, float("nan")]
TAGS = np.array([1, -1, 1, -1, -1, -1, 0, -1, -1])
FIT: dict[str, Any] = {"threads": 1, "progress": False}


# --- The law of partitions ---


@pytest.mark.parametrize("dynamic", [False, True])
def test_prior_of_tagged_partitions_is_that_of_labels(dynamic: bool) -> None:
    """Labels of n components with Dirichlet weights, two of which have names: summed over those of the others."""
    N, alpha, p_n = 4, 0.7, np.array([0.3, 0.1, 0.4, 0.2])
    tags = np.array([0, -1, 1, -1])
    total: dict[tuple[int, ...], float] = {}
    for n in range(2, 5):
        gamma = alpha / n if dynamic else alpha
        for z in itertools.product(range(n), repeat=N):
            if z[0] == 0 and z[2] == 1:
                counts = np.bincount(z, minlength=n)
                log_p = gammaln(n * gamma) - gammaln(n * gamma + N) + (gammaln(gamma + counts) - gammaln(gamma)).sum()
                names = {0: 0, 1: 1}
                key = tuple(names.setdefault(k, len(names)) for k in z)
                total[key] = total.get(key, 0.0) + p_n[n - 1] * np.exp(log_p)
    prior = oracle.DynamicMFM(alpha, p_n) if dynamic else oracle.StaticMFM(alpha, p_n)
    weights = gg.MixtureOfFiniteMixtures(stats.rv_discrete(values=(np.arange(1, 5), p_n)), alpha, dynamic=dynamic)
    kernel = weights.as_kernel()[0]._replace(tagged=2)
    for z, p in total.items():
        sizes = np.bincount(z).astype(float)
        by_n = log_prior_of_n(sizes.astype(int), 2, prior)
        assert np.exp(by_n).sum() == pytest.approx(p, rel=1e-12)
        ours = [log_partition(kernel, alpha, N, n, len(sizes), sizes) for n in range(1, 5)]
        np.testing.assert_allclose(np.exp(ours), np.exp(by_n), rtol=1e-12, atol=0)
    assert set(total) == set(map(tuple, enumerate_tagged(np.zeros((N, 1)), NEAL_NIW, prior, tags).z.tolist()))


# --- The posterior ---


def assert_exact(trace: gg.Trace, exact: Tagged, min_ess: float) -> None:
    """Labels, n+ and p(n) of a trace agree with the enumeration."""
    z = trace.assignments
    assert z is not None
    z = z.astype(int)
    for i, k in [(1, 0), (1, 1), (3, 0), (4, 1), (5, 0), (5, 1), (8, 0)]:
        if i < z.shape[-1]:
            assert_within_mcse(z[..., i] == k, exact.mean(exact.z[:, i] == k), min_ess=min_ess, name=f"p(z_{i} = {k})")
    for t in range(2, z.shape[-1] + 1):
        truth = exact.mean(exact.n_clusters == t)
        if truth > 1e-3:
            assert_within_mcse(trace.n_clusters == t, truth, min_ess=min_ess, name=f"p(n+ = {t})")
    for i, j in ((1, 3), (4, 5), (7, 8)):
        if j < z.shape[-1]:
            truth = exact.mean((exact.z[:, i] == exact.z[:, j]) & (exact.z[:, i] >= 0))
            together = (z[..., i] == z[..., j]) & (z[..., i] >= 0)
            assert_within_mcse(together, truth, min_ess=min_ess, name=f"p(z_{i} = z_{j})")
    if exact.n_components is not None:
        for n in range(2, 6):
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
    niw = package_prior(NEAL_NIW)
    trace = gg.fit(NEAL, prior, prior=niw, labels=LABELS, draws=4000, warmup=500, thin=thin, rng=5, **FIT)
    assert trace.label_names == ("high", "low")
    assert_exact(trace, enumerate_tagged(NEAL, NEAL_NIW, truth, TAGS), min_ess=4000)
    assert trace.assignments is not None
    assert (trace.assignments[..., TAGS >= 0] == TAGS[TAGS >= 0]).all()


@pytest.mark.parametrize("covariance_type", ["diag", "spherical", "tied"])
def test_enumeration_of_other_families(covariance_type: str) -> None:
    prior, truth = PRIORS["static"]
    niw: Any = gg.NormalInverseWishart([0.0], 0.1, 4.0, [[1.0]], covariance_type="tied")
    if covariance_type != "tied":
        niw = gg.NormalInverseGamma([0.0], 0.1, 2.0, [0.5] if covariance_type == "diag" else 0.5)
    trace = gg.fit(NEAL, prior, prior=niw, labels=LABELS, draws=4000, warmup=500, thin=5, rng=5, **FIT)
    exact = enumerate_tagged(NEAL, NEAL_NIW, truth, TAGS, tied=covariance_type == "tied")
    assert_exact(trace, exact, min_ess=4000)


def test_all_labels_known_is_quadratic_discriminant_analysis() -> None:
    """p(kind | x) is proportional to (n_k + gamma) t(x | its rows), in closed form."""
    rng, niw, gamma = np.random.default_rng(1), some_niw(2), 1.5
    y = np.repeat([3, 7, 5], [6, 9, 5])
    X = rng.standard_normal((20, 2)) + (y[:, None] == 7) * 1.5 - (y[:, None] == 5) * [1.0, -1.0]
    new = rng.standard_normal((6, 2)) * 2.0
    trace = gg.fit(
        X, gg.FiniteMixture(3, gamma), prior=package_prior(niw), labels=y, draws=4000, warmup=10, thin=1, rng=2, **FIT
    )
    assert trace.label_names == (3, 5, 7)
    log_p = np.empty((6, 3))
    for j, kind in enumerate(trace.label_names):
        own = X[y == kind]
        log_m = oracle.log_marginal(own, niw)
        log_t = np.array([oracle.log_marginal(np.vstack([own, x]), niw) - log_m for x in new])
        log_p[:, j] = np.log(len(own) + gamma) + log_t
    exact = np.exp(log_p - log_p.max(1, keepdims=True))
    exact /= exact.sum(1, keepdims=True)
    proba = trace.predict_proba(new)
    assert proba.shape == (6, 4)
    assert (proba[:, 3] == 0.0).all()
    # Draws are independent: twenty batches of them say how far the average may be from the truth.
    batches = np.array_split(np.arange(trace.n_clusters.size), 20)
    by_batch = np.stack([some_draws(trace, draws).predict_proba(new)[:, :3] for draws in batches])
    se = by_batch.std(0, ddof=1) / np.sqrt(20)
    assert se.max() < 0.01
    assert (np.abs(proba[:, :3] - exact) <= 5 * se + 1e-12).all()
    assert (trace.predict(new) == exact.argmax(1)).all()


def test_one_kind_is_known() -> None:
    X = np.concatenate([np.random.default_rng(0).normal(m, 1.0, (30, 2)) for m in (-5.0, 0.0, 5.0)])
    trace = gg.fit(X, labels=["a"] * 3 + [""] * 87, draws=200, warmup=300, rng=1, **FIT)
    assert trace.label_names == ("a",)
    z = trace.assignments
    assert z is not None
    assert (z[..., :3] == 0).all()
    assert np.median(trace.n_clusters) == 3
    assert ((z[..., :30] == 0).mean((0, 1)) > 0.9).all()


# --- Moves without a label pass, which would put known rows back, behind them ---


ROOT = Path(__file__).resolve().parents[1]
PLANTS = {
    "none": ("launch.py", "", ""),
    "known rows move in a launch": ("launch.py", "if tagged and tags[row] >= 0:", "if False:"),
    "known rows move row by row": (
        "row_by_row.py",
        "if tags.shape[0] > 0 and tags[sides.rows[s]] >= 0:",
        "if False:",
    ),
    "a known row begins another cluster": (
        "moves.py",
        "if a < model.weights.tagged and data.tags[j] >= 0:",
        "if False:",
    ),
    "two kinds are merged": (
        "moves.py",
        "return b >= tagged or (choice.kind == RESPLIT and a < tagged)",
        "return True",
    ),
    "a kind loses its place": ("split_merge.py", "choice = tagged_first(model, choice)", "pass"),
}
"""file, text, what it becomes: bugs that ``tagged_moves.py`` must see"""


@pytest.mark.parametrize("plant", PLANTS)
def test_moves_keep_known_rows_where_they_are(plant: str, tmp_path: Path) -> None:
    """With the compiler off: a few hundred moves take a second, and a bug needs no compilation to be seen."""
    file, text, bug = PLANTS[plant]
    for name in ("gibbs_gmm", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    source = tmp_path / "gibbs_gmm" / "kernels" / "sampler" / file
    original = source.read_text()
    assert text == "" or original.count(text) == 1
    source.write_text(original if text == "" else original.replace(text, bug))
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-W", "ignore", str(tmp_path / "tests" / "tagged_moves.py")]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if plant == "none":
        assert run.returncode == 0, run.stderr
        accepted, formed = json.loads(run.stdout)
        assert np.min(accepted[:2]) >= 5  # splits, merges and re-splits, by launches and row by row
        assert formed >= 5
    else:
        assert run.returncode == 1, run.stdout
        assert "AssertionError" in run.stderr, run.stderr


# --- What the trace says ---


def test_kinds_keep_their_places() -> None:
    """The smaller kind is known first: without names, components are numbered by weight."""
    rng = np.random.default_rng(3)
    X = np.concatenate([rng.normal(-5.0, 1.0, (10, 2)), rng.normal(0.0, 1.0, (40, 2)), rng.normal(5.0, 1.0, (80, 2))])
    labels = np.full(130, -1)
    labels[0], labels[15] = 10, 20
    trace = gg.fit(X, 3, labels=labels, draws=100, warmup=100, rng=1, **FIT)
    relabelling = trace.relabel()
    assert (relabelling.permutation[..., :2] == [0, 1]).all()
    assert not relabelling.ambiguous_places[..., :2].any()
    assert (trace.relabel("divergence").permutation[..., :2] == [0, 1]).all()
    partition = trace.partition()
    assert (partition.labels == np.repeat([0, 1, 2], [10, 40, 80])).all()
    assert (trace.predict(X[[5, 20, 100]]) == [0, 1, 2]).all()


def test_resumed_and_threaded_runs_are_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    X = rng.normal(0.0, 1.0, (33_000, 2)) + np.where(np.arange(33_000) % 2, 4.0, -4.0)[:, None]
    labels = np.where(np.arange(33_000) % 100 == 0, "even", "")
    settings: dict[str, Any] = {"labels": labels, "warmup": 20, "thin": 1, "chains": 1, "rng": 1, "progress": False}
    one = gg.fit(X, draws=10, threads=1, **settings)
    assert_same_draws(one, gg.fit(X, draws=10, threads=2, **settings))
    gg.fit(X, draws=4, threads=1, checkpoint=tmp_path / "run", **settings)
    more = gg.resume(tmp_path / "run", draws=10, progress=False)
    assert_same_draws(one, more)
    assert more.label_names == ("even",)
    with pytest.raises(ValueError, match="labels"):
        gg.fit(X, draws=10, threads=1, checkpoint=tmp_path / "run", **{**settings, "labels": labels[::-1]})


# --- What is accepted and refused ---


@pytest.mark.parametrize(
    ("labels", "names", "tags"),
    [
        (["b", "a", ""], ("a", "b"), [1, 0, -1]),
        ([None, 2, 1], (1, 2), [-1, 1, 0]),
        (np.array([1.0, np.nan, 3.0]), (1, 3), [0, -1, 1]),
        (np.array([5, -1, 5]), (5,), [0, -1, 0]),
        (np.ma.array([1, 2, 1], mask=[False, True, False]), (1,), [0, -1, 0]),
        ([True, False, None], (False, True), [1, 0, -1]),
        (["a", 1, -1], (1, "a"), [1, 0, -1]),
        ([(1, 2), None, (0, 1)], ("(0, 1)", "(1, 2)"), [1, -1, 0]),
    ],
)
def test_labels_of_any_kind(labels: Any, names: tuple[Any, ...], tags: list[int]) -> None:
    known = KnownLabels.of(labels, 3)
    assert known.names == names
    assert known.tags.tolist() == tags
    again = KnownLabels.from_dict(known.to_dict())
    assert again.names == names
    assert again.tags.tolist() == tags


def test_labels_of_pandas() -> None:
    pd = pytest.importorskip("pandas")
    for labels in (
        pd.Series(["x", None, "y"]),
        pd.Series(["x", None, "y"], dtype="category"),
        pd.Series(["x", pd.NA, "y"], dtype="string"),
        pd.Series([1, None, 2], dtype="Int64"),
    ):
        assert KnownLabels.of(labels, 3).tags.tolist() == [0, -1, 1]


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ([1, 2], ValueError, "labels must have 3 entries, one for each row of X, got 2"),
        ([-1, None, ""], ValueError, "labels must hold at least one known label, got none"),
        ([[1], 2, 3], TypeError, r"labels must be hashable, got \[1\] \(list\) for row 0"),
        (np.ones((3, 1)), ValueError, r"labels must have one dimension, got shape \(3, 1\)"),
        ("abc", TypeError, "labels must hold one label for each row of X, got 'abc'"),
        (7, TypeError, "labels must hold one label for each row of X, got 7"),
    ],
)
def test_wrong_labels_are_refused(labels: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        gg.fit(np.arange(3.0), labels=labels, **FIT)


def test_more_kinds_than_components_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"at least 3 components, one for each kind in labels \(1, 2, 3\), got at most 2"
    ):
        gg.fit(np.arange(6.0), 2, labels=[1, 2, 3, None, None, None], **FIT)
    few = gg.MixtureOfFiniteMixtures(stats.randint(1, 3))
    with pytest.raises(ValueError, match="at least 3 components"):
        gg.fit(np.arange(6.0), few, labels=[1, 2, 3, None, None, None], **FIT)
