"""The regressor: scikit-learn's own checks, agreement with the trace, and a curve that a line cannot follow."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import gibbs_gmm as gg

QUICK: dict[str, Any] = {"draws": 30, "warmup": 60, "thin": 1, "chains": 2, "threads": 1, "random_state": 1}
RNG = np.random.default_rng(0)
X = RNG.uniform(-2.0, 2.0, (150, 1))
Y = np.abs(X[:, 0]) + 0.1 * RNG.standard_normal(150)
BOTH = np.column_stack([Y, -X[:, 0] + 0.3 * RNG.standard_normal(150)])
NEW = np.array([[-1.7], [0.1], [1.2], [40.0]])


@pytest.mark.filterwarnings("ignore:X has columns of few distinct values")  # these checks have labels for y
@parametrize_with_checks(
    [
        gg.GibbsMixtureRegressor(2, draws=5, warmup=5, chains=1, threads=1),
        gg.GibbsMixtureRegressor(draws=5, warmup=5, thin=1, chains=1, threads=1),
    ]
)
def test_scikit_learn_checks(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize("n_components", [2, None], ids=["n known", "n unknown"])
@pytest.mark.parametrize("y", [Y, Y[:, None], BOTH], ids=["one", "one column", "two"])
def test_agrees_with_the_trace(y: Any, n_components: int | None) -> None:
    model = gg.GibbsMixtureRegressor(n_components, **QUICK).fit(X, y)
    rows = np.column_stack([X, y])
    trace = gg.fit(rows, n_components, draws=30, warmup=60, thin=1, chains=2, rng=1, progress=False)
    np.testing.assert_array_equal(model.trace_.means, trace.means)
    asked, shape = trace.conditional({0: NEW[:, 0]}), (4, *y.shape[1:])
    mean, std = model.predict(NEW, return_std=True)
    np.testing.assert_array_equal(mean, asked.mean().reshape(shape))
    np.testing.assert_array_equal(std, asked.std().reshape(shape))
    np.testing.assert_array_equal(model.predict(NEW), mean)
    q = [0.1, 0.5, 0.6]
    np.testing.assert_array_equal(model.predict_quantiles(NEW, q), asked.quantile(q).reshape(3, *shape))
    np.testing.assert_array_equal(model.predict_quantiles(NEW, 0.1), asked.quantile(0.1).reshape(shape))
    drawn = model.sample_y(NEW, 5, random_state=2)
    assert drawn.shape == (*shape, 5)
    np.testing.assert_array_equal(np.moveaxis(drawn, -1, 0), asked.sample(5, 2).reshape(5, *shape))


def test_a_curve_and_its_noise() -> None:
    model = gg.GibbsMixtureRegressor(**QUICK).fit(X, Y)
    rng = np.random.default_rng(5)
    new = rng.uniform(-2.0, 2.0, (400, 1))
    y = np.abs(new[:, 0]) + 0.1 * rng.standard_normal(400)
    assert LinearRegression().fit(X, Y).score(new, y) < 0.1
    assert model.score(new, y) > 0.93  # of .956 that the noise leaves
    low, high = model.predict_quantiles(new, [0.05, 0.95])
    assert stats.binomtest(int(((low < y) & (y < high)).sum()), 400, 0.9).pvalue > 1e-4
    std = model.predict([[-1.0], [30.0]], return_std=True)[1]
    assert 0.08 < std[0] < 0.2
    assert std[1] > 10 * std[0], "far from all rows nothing is known"


def test_random_states() -> None:
    model = gg.GibbsMixtureRegressor(**QUICK).fit(X, Y)
    np.testing.assert_array_equal(model.sample_y(NEW), model.sample_y(NEW))
    assert not np.array_equal(model.sample_y(NEW, random_state=None), model.sample_y(NEW, random_state=None))
    one, other = (model.sample_y(NEW, 3, np.random.RandomState(seed)) for seed in (3, 3))
    np.testing.assert_array_equal(one, other)
    state = np.random.RandomState(3)
    assert not np.array_equal(model.sample_y(NEW, 3, state), model.sample_y(NEW, 3, state))


def test_names() -> None:
    frame = pd.DataFrame(np.column_stack([X, BOTH[:, 1]]), columns=["a", "b"])
    cases: list[tuple[Any, Any, tuple[str, ...]]] = [
        (frame, pd.Series(Y, name="c"), ("a", "b", "c")),
        (frame, pd.Series(Y, name="a"), ("a", "b", "y")),
        (frame, pd.DataFrame({"u": Y, "v": -Y + BOTH[:, 0] * X[:, 0]}), ("a", "b", "u", "v")),
        (frame, BOTH + frame.to_numpy() ** 2, ("a", "b", "y0", "y1")),
        (frame.to_numpy(), Y.tolist(), ("x0", "x1", "y")),
        (frame.rename(columns={"a": "y"}), Y, ("x0", "x1", "x2")),
    ]
    for rows, y, columns in cases:
        model = gg.GibbsMixtureRegressor(1, **QUICK).fit(rows, y)
        assert model.trace_.columns == columns
    model = gg.GibbsMixtureRegressor(1, **QUICK).fit(frame, pd.Series(Y, name="c"))
    np.testing.assert_array_equal(model.predict(frame[["b", "a"]]), model.predict(frame))
    assert model.trace_.conditional({"a": 1.0, "b": 0.0}).columns == ("c",)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame.rename(columns={"a": "z"}))


def test_pipeline_and_search() -> None:
    model = make_pipeline(StandardScaler(), gg.GibbsMixtureRegressor(**QUICK))
    search = GridSearchCV(model, {"gibbsmixtureregressor__n_components": [1, 3]}, cv=3).fit(X, Y)
    assert search.best_params_ == {"gibbsmixtureregressor__n_components": 3}
    assert clone(gg.GibbsMixtureRegressor(gg.DirichletProcess(2.0), covariance_type="tied")).covariance_type == "tied"


def test_bad_input() -> None:
    model = gg.GibbsMixtureRegressor(1, **QUICK)
    for method in ("predict", "sample_y"):
        with pytest.raises(NotFittedError):
            getattr(model, method)(NEW)
    with pytest.raises(ValueError, match="X contains NaN"):
        model.fit(np.ma.masked_less(X, 0.0), Y)
    with pytest.raises(ValueError, match="y contains NaN"):
        model.fit(X, np.ma.masked_less(Y, 0.5))
    with pytest.raises(ValueError, match="y contains NaN"):
        model.fit(X, [None, *Y.tolist()[1:]])
    with pytest.raises(TypeError, match="y must hold real numbers, got"):
        model.fit(X, ["a"] * len(X))
    with pytest.raises(ValueError, match="draws must be at least 1, got 0"):
        clone(model).set_params(draws=0).fit(X, Y)
    with pytest.raises(ValueError, match="q must be between 0 and 1"):
        model.fit(X, Y).predict_quantiles(NEW, 1.0)
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        model.sample_y(NEW, 0)
