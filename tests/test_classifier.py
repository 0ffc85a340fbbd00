"""The scikit-learn classifier: scikit-learn's own checks, and agreement with the trace and with what is known."""

import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks

import gibbs_gmm as gg

QUICK: dict[str, Any] = {"draws": 100, "warmup": 50, "thin": 1, "chains": 2, "threads": 1, "random_state": 1}
RNG = np.random.default_rng(0)
KIND = np.arange(120) % 3
X = RNG.standard_normal((120, 2)) + np.array([[-4.0, 0.0], [4.0, 0.0], [0.0, 5.0]])[KIND]


@parametrize_with_checks(
    [gg.GibbsGaussianMixtureClassifier(draws=10, warmup=5, thin=1, chains=1, threads=1)],
    # As scikit-learn excuses its own semi-supervised classifiers from it: -1 is no class.
    expected_failed_checks=lambda _: {"check_classifiers_classes": "a target of -1 is unknown"},
)
def test_scikit_learn_checks(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize("names", [np.array([30, 10, 20]), np.array(["c", "a", "b"]), np.array([0.5, -2.0, 7.0])])
def test_few_classes_are_known(names: Any) -> None:
    y = names[KIND]
    unknown = np.arange(120) >= 6
    if names.dtype.kind == "f":
        y = y * 2.0  # whole numbers: others are targets of a regression
    hidden = y.copy()
    hidden[unknown] = "" if names.dtype.kind == "U" else -1
    model = gg.GibbsGaussianMixtureClassifier(**QUICK).fit(X, hidden)
    assert (model.classes_ == np.unique(y)).all()
    assert model.classes_.dtype == y.dtype
    assert (model.predict(X) == y).mean() > 0.95
    assert model.score(X, y) == (model.predict(X) == y).mean()
    proba = model.predict_proba(X[:5])
    np.testing.assert_allclose(proba, model.trace_.predict_proba(X[:5])[:, :3], rtol=1e-13)
    np.testing.assert_allclose(proba.sum(1), 1.0)
    # Component j is class j.
    for j, name in enumerate(model.classes_):
        np.testing.assert_allclose(model.means_[j], X[y == name].mean(0), atol=0.3)


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        (["a", None], ValueError, 'y must be -1 where a class is unknown, or "" among text, got None in row 1'),
        (["a", np.nan], ValueError, "NaN"),
        (["a", 3], TypeError, "y must hold classes of one kind, got int, str: make text of all of them"),
        ([-1, -1], ValueError, "y must have at least one known class"),
    ],
)
def test_classes_that_are_refused(y: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        gg.GibbsGaussianMixtureClassifier(**QUICK).fit(X, np.array(y * 60, dtype=object if "a" in y else int))


def test_unknown_among_text_may_be_a_number() -> None:
    y = np.array(["a", "b", -1] * 40, dtype=object)
    model = gg.GibbsGaussianMixtureClassifier(**{**QUICK, "draws": 5, "warmup": 5}).fit(X, y)
    assert model.classes_.tolist() == ["a", "b"]


def test_all_known_agrees_with_quadratic_discriminant_analysis() -> None:
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 400)
    rows = rng.standard_normal((400, 2)) * np.where(y[:, None], [1.0, 2.0], [2.0, 1.0]) + y[:, None]
    ours = gg.GibbsGaussianMixtureClassifier(**QUICK).fit(rows, y).predict_proba(rows)
    theirs = QuadraticDiscriminantAnalysis().fit(rows, y).predict_proba(rows)
    assert np.abs(ours - theirs).mean() < 0.02  # of 400 rows the posterior is narrow


def test_further_kinds() -> None:
    y = np.where((KIND == 2) | (np.arange(120) > 20), -1, KIND)
    model = gg.GibbsGaussianMixtureClassifier(3, **QUICK).fit(X, y)
    proba = model.predict_proba(X)
    assert proba.shape == (120, 2)
    np.testing.assert_allclose(proba.sum(1), 1.0)
    assert (model.trace_.predict(X)[KIND == 2] == 2).all()
    assert set(model.predict(X)) == {0, 1}
    far = model.predict_proba([[0.0, 1e4]])
    assert np.isfinite(far).all()


def test_cross_validation_and_data_frames() -> None:
    frame = pd.DataFrame(X, columns=["a", "b"])
    model = gg.GibbsGaussianMixtureClassifier(**QUICK)
    assert cross_val_score(model, frame, pd.Series(KIND).map({0: "x", 1: "y", 2: "z"}), cv=3).min() > 0.9
    assert list(model.fit(frame, KIND).feature_names_in_) == ["a", "b"]
    np.testing.assert_array_equal(model.fit_predict(frame, KIND), model.predict(frame[["b", "a"]]))


def test_no_class_is_known() -> None:
    with pytest.raises(ValueError, match=r"y must have at least one known class, got -1 \(unknown\) for every row"):
        gg.GibbsGaussianMixtureClassifier(**QUICK).fit(X, np.full(120, -1))


def test_scikit_learn_is_named_where_missing() -> None:
    code = """
import sys, gibbs_gmm
sys.modules["sklearn.base"] = None
try:
    gibbs_gmm.GibbsGaussianMixtureClassifier
except ImportError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'gibbs-gmm[sklearn]'" in run.stdout
