"""Every family of components through everything that a fit meets: runs, folders, threads, questions, the estimator."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness import assert_same_draws
from scipy import stats

import gibbs_gmm as gg
from gibbs_gmm.model.families import COVARIANCE_TYPES

RNG = np.random.default_rng(4)
X = np.concatenate([RNG.normal(m, 1.0, (40, 2)) for m in (-3.0, 3.0)])
FEW: dict[str, Any] = {"draws": 60, "warmup": 200, "thin": 1, "chains": 2, "rng": 1, "progress": False}
STORED = {
    "full": ("covariances", (2, 60, 3, 2, 2)),
    "tied": ("covariance", (2, 60, 2, 2)),
    "diag": ("variances", (2, 60, 3, 2)),
    "spherical": ("variances", (2, 60, 3)),
}
SHAPES = {"full": (2, 2, 2), "tied": (2, 2), "diag": (2, 2), "spherical": (2,)}


def known(kind: str) -> gg.Trace:
    return gg.fit(X, 3, covariance_type=kind, **FEW)


def normals(trace: gg.Trace, rows: np.ndarray) -> np.ndarray:
    """log density of rows under every draw of known n, by SciPy, (C T, N)."""
    C, T, K = trace.weights.shape
    result = []
    for c, t in np.ndindex(C, T):
        parts = [stats.multivariate_normal(trace.means[c, t, k], trace.covariances[c, t, k]) for k in range(K)]
        terms = [trace.weights[c, t, k] * part.pdf(rows) for k, part in enumerate(parts)]
        result.append(np.log(np.sum(terms, axis=0)))
    return np.array(result)


@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
def test_a_trace_stores_what_it_is_and_means_matrices(kind: str) -> None:
    trace, (name, shape) = known(kind), STORED[kind]
    assert getattr(trace, name).shape == shape
    assert {"covariances", "covariance", "variances"} & trace.arrays().keys() == {name}
    assert trace.covariances.shape == (2, 60, 3, 2, 2)
    matrices = np.asarray(trace.covariances)
    np.testing.assert_array_equal(matrices[1, 5, 2], trace.covariances[1, 5, 2])
    np.testing.assert_array_equal(matrices[..., 0, 1], trace.covariances[..., 0, 1])
    if kind in ("diag", "spherical"):
        assert not matrices[..., 0, 1].any()
    if kind == "spherical":
        np.testing.assert_array_equal(matrices[..., 0, 0], matrices[..., 1, 1])
    if kind == "tied":
        np.testing.assert_array_equal(matrices[:, :, 0], matrices[:, :, 2])
    assert trace.prior.covariance_type == kind


@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
def test_densities_are_those_of_its_matrices(kind: str) -> None:
    trace, rows = known(kind), X[::17] + 0.1
    expected = np.log(np.exp(normals(trace, rows)).mean(0))
    np.testing.assert_allclose(trace.log_density(rows), expected, rtol=1e-9)


@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
def test_unoccupied_components_are_integrated_out(kind: str) -> None:
    """The density of an unknown number of components integrates to 1, tails of the prior predictive included."""
    one = X[:, :1]
    trace = gg.fit(one, covariance_type=kind, **{**FEW, "draws": 20})
    grid = np.sinh(np.linspace(-14.0, 14.0, 20_001))
    density = np.exp(trace.log_density(grid[:, None]))
    np.testing.assert_allclose(np.trapezoid(density, grid), 1.0, atol=2e-3)
    drawn = trace.sample(400, rng=1)
    assert drawn.shape == (400, 1)
    inside = np.cumsum(density * np.gradient(grid))
    uniform = np.interp(drawn[:, 0], grid, inside)
    assert stats.kstest(uniform, "uniform").pvalue > 1e-4


@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
@pytest.mark.parametrize("n", [3, None, gg.DirichletProcess(1.0)], ids=["known", "unknown", "process"])
def test_folders_threads_and_files_change_nothing(kind: str, n: Any, tmp_path: Path) -> None:
    trace = gg.fit(X, n, covariance_type=kind, **FEW)
    gg.fit(X, n, covariance_type=kind, checkpoint=tmp_path / "run", **{**FEW, "draws": 30})
    assert_same_draws(gg.resume(tmp_path / "run", draws=60, progress=False), trace)
    trace.save(tmp_path / "trace.npz")
    loaded = gg.load(tmp_path / "trace.npz")
    assert_same_draws(loaded, trace)
    assert loaded.prior == trace.prior
    assert_same_draws(gg.fit(X, n, covariance_type=kind, threads=3, **FEW), trace)


@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
def test_two_kinds_are_found_and_every_question_has_an_answer(kind: str) -> None:
    trace = gg.fit(X, covariance_type=kind, **{**FEW, "draws": 200, "warmup": 500})
    assert trace.n_posterior().p_n_clusters[1] > 0.8
    labels = trace.partition().labels
    assert len(np.unique(labels)) == 2
    assert (labels[:40] == labels[0]).all()
    np.testing.assert_allclose(trace.predict_proba(X[:3]).sum(1), 1.0)
    assert "weight[0]" in repr(trace.summary())
    assert trace.relabel(method="divergence").trace.means.shape == trace.means.shape
    assert trace.similarity().shape == (80, 80)
    assert trace.to_dataframe() is not None
    assert name_in_arviz(trace, STORED[kind][0])


def name_in_arviz(trace: gg.Trace, name: str) -> bool:
    tree = trace.to_arviz()
    return any(name in tree[group].data_vars or "covariances" in tree[group].data_vars for group in tree.children)


@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
def test_the_estimator_has_scikit_learns_shapes(kind: str) -> None:
    model = gg.GibbsGaussianMixture(2, covariance_type=kind, draws=60, warmup=200, random_state=1, chains=2).fit(X)
    assert model.covariances_.shape == model.precisions_.shape == SHAPES[kind]
    identity = (
        model.covariances_ @ model.precisions_ if kind in ("full", "tied") else model.covariances_ * model.precisions_
    )
    np.testing.assert_allclose(
        identity, np.broadcast_to(np.eye(2) if kind in ("full", "tied") else 1.0, identity.shape), atol=1e-9
    )


def test_priors_of_the_wrong_class_are_refused() -> None:
    niw, nig = gg.NormalInverseWishart.from_data(X), gg.NormalInverseGamma.from_data(X)
    for prior, kind, message in (
        (niw, "diag", r"must be a NormalInverseGamma for covariance_type='diag'.*, got a NormalInverseWishart"),
        (nig, "spherical", r"one number as b_0, got a NormalInverseGamma for 'diag'"),
        (nig, "tied", r"must be a NormalInverseWishart for covariance_type='tied'"),
    ):
        with pytest.raises(TypeError, match=message):
            gg.fit(X, 2, prior=prior, covariance_type=kind, **FEW)
        with pytest.raises(TypeError, match=message):
            gg.log_evidence(X, 1, prior=prior, covariance_type=kind)
    with pytest.raises(ValueError, match=r"'full', 'tied', 'diag' or 'spherical', got 'diagonal'; did you mean 'diag'"):
        gg.fit(X, 2, covariance_type="diagonal")
    assert gg.fit(X, 2, prior=niw, covariance_type="tied", **FEW).prior.covariance_type == "tied"


def test_the_summary_says_that_spherical_components_want_equal_units() -> None:
    wide = X * np.array([1.0, 300.0])
    (message, *_) = gg.fit(wide, 2, covariance_type="spherical", **FEW).summary().messages
    assert "'x1' and 'x0' are 288 to 1" in message
    assert "covariance_type='diag'" in message
    assert not any("spherical" in text for text in gg.fit(X, 2, covariance_type="spherical", **FEW).summary().messages)


def test_a_diagonal_trace_of_many_columns_is_small() -> None:
    D = 50
    wide = np.random.default_rng(1).normal(size=(60, D))
    sizes = {}
    for kind in ("full", "diag"):
        trace = gg.fit(wide, 2, covariance_type=kind, **{**FEW, "draws": 5, "warmup": 5})
        sizes[kind] = trace.arrays()[STORED[kind][0]].nbytes
    assert sizes["full"] == D * sizes["diag"]
