"""The scikit-learn estimator: scikit-learn's own checks, pipelines and searches, and agreement with the trace."""

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import gibbs_gmm as gg

QUICK: dict[str, Any] = {"draws": 30, "warmup": 30, "thin": 1, "chains": 2, "threads": 1, "random_state": 1}
RNG = np.random.default_rng(0)
X = RNG.standard_normal((90, 2)) + np.where(np.arange(90) % 3, 4.0, -4.0)[:, None]


@parametrize_with_checks(
    [
        gg.GibbsGaussianMixture(2, draws=5, warmup=5, chains=1, threads=1),
        gg.GibbsGaussianMixture(draws=5, warmup=5, thin=1, chains=1, threads=1),
    ],
    expected_failed_checks=lambda _: {
        "check_sample_weight_equivalence_on_dense_data": "the posterior is the same, and two samples of it are compared"
    },
)
@pytest.mark.filterwarnings("ignore:X has columns of few distinct values:UserWarning", "ignore:X has repeated rows")
def test_scikit_learn_checks(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize("n_components", [3, None, gg.DirichletProcess(1.0)], ids=["n known", "n unknown", "process"])
def test_agrees_with_the_trace(n_components: Any) -> None:
    model = gg.GibbsGaussianMixture(n_components, **QUICK)
    labels = model.fit_predict(X)
    np.testing.assert_array_equal(labels, model.labels_)
    trace = gg.fit(X, n_components, draws=30, warmup=30, thin=1, chains=2, rng=1, progress=False)
    np.testing.assert_array_equal(model.trace_.means, trace.means)
    np.testing.assert_array_equal(labels, trace.partition().labels)
    new = np.vstack([X[:5], [[300.0, -300.0]]])
    np.testing.assert_array_equal(model.score_samples(new), trace.log_density(new))
    assert model.score(new) == trace.log_density(new).mean()
    proba = model.predict_proba(new)
    np.testing.assert_array_equal(proba, trace.predict_proba(new))
    assert proba.shape == (6, trace.relabel().n_matched + 1)
    np.testing.assert_array_equal(model.predict(new) % proba.shape[1], proba.argmax(1))
    np.testing.assert_array_equal(model.predict(X), labels)  # the clusters are 8 standard deviations apart


def test_sample() -> None:
    model = gg.GibbsGaussianMixture(None, **QUICK).fit(X)
    rows, labels = model.sample(4000)
    assert rows.shape == (4000, 2)
    np.testing.assert_array_equal(rows, model.sample(4000)[0])
    # Labels are drawn together with the rows: among rows like x, those of cluster j have the share p(j | x).
    proba = model.predict_proba(rows)
    for j in range(proba.shape[1]):
        drawn, expected = labels == (j if j < proba.shape[1] - 1 else -1), proba[:, j]
        se = np.sqrt((expected * (1 - expected)).sum())
        assert abs(drawn.sum() - expected.sum()) <= stats.norm.isf(1e-5) * se + 1e-6


def test_random_state() -> None:
    one = gg.GibbsGaussianMixture(2, **{**QUICK, "random_state": np.random.RandomState(3)})
    other = gg.GibbsGaussianMixture(2, **{**QUICK, "random_state": np.random.RandomState(3)})
    first = one.fit(X).trace_.means
    np.testing.assert_array_equal(other.fit(X).trace_.means, first)
    assert not np.array_equal(one.fit(X).trace_.means, first)  # a RandomState goes on
    assert not np.array_equal(one.sample(3)[0], one.sample(3)[0])


def test_pipeline_and_grid_search() -> None:
    model = make_pipeline(StandardScaler(), gg.GibbsGaussianMixture(**QUICK))
    search = GridSearchCV(model, {"gibbsgaussianmixture__n_components": [1, 2]}, cv=3).fit(X)
    assert search.best_params_ == {"gibbsgaussianmixture__n_components": 2}
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.predict(X).shape == (90,)
    prior = gg.NormalInverseWishart([0, 0], 0.1, 4, np.eye(2))
    assert clone(gg.GibbsGaussianMixture(gg.DirichletProcess(2.0), prior=prior)).prior is not None


def test_column_names() -> None:
    frame = pd.DataFrame(X, columns=["length", "width"])
    model = gg.GibbsGaussianMixture(2, **QUICK).fit(frame)
    assert list(model.feature_names_in_) == ["length", "width"]
    assert model.trace_.columns == ("length", "width")
    for method in (model.predict_proba, model.score_samples):
        np.testing.assert_array_equal(method(frame[["width", "length"]]), method(frame))
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame.rename(columns={"width": "height"}))


@pytest.mark.parametrize("method", ["fit", "predict"])
def test_names_that_occur_twice_are_refused(method: str) -> None:
    model = gg.GibbsGaussianMixture(2, **QUICK).fit(X)
    with pytest.raises(ValueError, match="X must have columns with different names, got 'a' twice"):
        getattr(model, method)(pd.DataFrame(X, columns=["a", "a"]))


@pytest.mark.filterwarnings("ignore:The chains have not met")  # so short a run
@pytest.mark.parametrize("n_components", [3, None])
def test_components_are_those_of_the_summary(n_components: int | None) -> None:
    frame = pd.DataFrame(X, columns=["a", "b"])
    model = gg.GibbsGaussianMixture(n_components, **QUICK).fit(frame)
    summary, K = model.trace_.summary(), model.n_components_
    assert (n_components or np.bincount(model.trace_.n_clusters.ravel()).argmax()) == K
    assert (np.diff(model.weights_) <= 0).all()
    for k in range(K):
        assert model.weights_[k] == pytest.approx(summary[f"weight[{k}]"]["mean"])
        assert model.means_[k] == pytest.approx([summary[f"mean[{k}, {name}]"]["mean"] for name in "ab"])
        assert model.covariances_[k, 0, 1] == pytest.approx(summary[f"covariance[{k}, a, b]"]["mean"])
    np.testing.assert_allclose(model.precisions_ @ model.covariances_, np.tile(np.eye(2), (K, 1, 1)), atol=1e-9)
    own = np.stack([X[model.labels_ == k].mean(0) for k in np.unique(model.labels_)])
    np.testing.assert_allclose(own[:2], model.means_[:2], atol=0.5)


def test_converged() -> None:
    assert gg.GibbsGaussianMixture(1, **QUICK).fit(X).converged_
    assert not gg.GibbsGaussianMixture(1, **{**QUICK, "chains": 1}).fit(X).converged_
    wide = np.random.default_rng(0).standard_normal((500, 6)) + np.where(np.arange(500) % 2, 1.0, -1.0)[:, None]
    apart = gg.GibbsGaussianMixture(**{**QUICK, "draws": 12, "warmup": 0})
    with pytest.warns(UserWarning, match=r"fit\(\): The chains, .* have not met") as record:
        apart.fit(wide)
    assert len(record) == 1
    assert not apart.converged_


@pytest.mark.parametrize(("name", "instead"), [("bic", "gibbs_gmm.log_evidence"), ("aic", "arviz_stats.loo")])
def test_information_criteria_say_what_to_use_instead(name: str, instead: str) -> None:
    model = gg.GibbsGaussianMixture(1, **QUICK).fit(X)
    with pytest.raises(NotImplementedError, match=instead):
        getattr(model, name)(X)


def test_not_fitted() -> None:
    for method in ("predict", "predict_proba", "score_samples", "sample"):
        with pytest.raises(NotFittedError):
            getattr(gg.GibbsGaussianMixture(), method)(*([] if method == "sample" else [X]))


def test_bad_parameters_are_named() -> None:
    with pytest.raises(ValueError, match="draws must be at least 1, got 0"):
        gg.GibbsGaussianMixture(2, draws=0).fit(X)


def test_scikit_learn_is_imported_late_and_named_where_missing() -> None:
    code = """
import sys, gibbs_gmm
assert not any(name.startswith("sklearn") for name in sys.modules)
sys.modules["sklearn.base"] = None
try:
    gibbs_gmm.GibbsGaussianMixture
except ImportError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", code], env=os.environ, capture_output=True, text=True, check=True)
    assert "pip install 'gibbs-gmm[sklearn]'" in run.stdout


def test_sample_weights_are_counts() -> None:
    counts = np.arange(90) % 3
    model = gg.GibbsGaussianMixture(2, **QUICK).fit(X, sample_weight=counts)
    trace = gg.fit(X, 2, counts=counts, draws=30, warmup=30, thin=1, chains=2, rng=1, progress=False)
    np.testing.assert_array_equal(model.trace_.means, trace.means)
    assert model.labels_.shape == (90,)
    np.testing.assert_array_equal(model.labels_[counts > 0], trace.partition().labels)
    np.testing.assert_array_equal(model.labels_[counts == 0], trace.predict(X)[counts == 0])
    np.testing.assert_array_equal(model.fit_predict(X, sample_weight=counts), model.labels_)
    with pytest.raises(ValueError, match=r"sample_weight must be whole numbers of observations, got 0.5 in row 0"):
        model.fit(X, sample_weight=np.full(90, 0.5))
