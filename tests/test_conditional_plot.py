"""The picture of a column given others: what is drawn is what the trace says."""

from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.collections import PathCollection
from oracle import Floats
from test_predict import QUICK, rows

import gibbs_gmm as gg
from gibbs_gmm.plots import conditional
from gibbs_gmm.posterior.matched import marginal, some_draws

pytestmark = pytest.mark.usefixtures("figures_closed")


@lru_cache
def fitted() -> tuple[gg.Trace, Floats]:
    X = rows(60, 3)
    return gg.fit(X, None, **{**QUICK, "draws": 40}), X


def labels(ax: Any) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_a_density() -> None:
    trace, _ = fitted()
    ax = conditional(trace, {"x2": 2.5}, column="x0")
    assert ax.get_title(loc="left") == "x0 given x2 = 2.5"
    assert labels(ax) == ["90% band", "density", "nothing given"]
    curve, usual = ax.lines
    x, y = curve.get_data()
    alone = trace.conditional({"x2": 2.5})
    assert x[0] <= alone.quantile(0.002)[0, 0] + 1e-9
    assert x[-1] >= alone.quantile(0.998)[0, 0] - 1e-9
    assert np.sum(y) * (x[1] - x[0]) == pytest.approx(1.0, abs=0.01)
    inside = (x > 1.0) & (x < 4.0)  # here, where most of it is, the mean density is within the band
    vertices = ax.collections[0].get_paths()[0].vertices
    low, high = (np.array([f(vertices[np.isclose(vertices[:, 0], v), 1]) for v in x]) for f in (np.min, np.max))
    assert ((low < y) & (y < high))[inside].all()
    np.testing.assert_allclose(usual.get_ydata(), np.exp(marginal(trace, np.array([0])).log_density(x)), rtol=1e-9)
    ax.figure.draw_without_rendering()


def test_a_band_weighs_the_draws() -> None:
    """The quantiles of the draws' densities, each counted as often as its density of what is given."""
    trace, _ = fitted()
    ax = conditional(trace, {"x2": 2.5, "x1": -1.0})
    x, _ = ax.lines[0].get_data()
    place = int(np.abs(x - 2.0).argmin())
    vertices = ax.collections[0].get_paths()[0].vertices
    low, high = np.sort(vertices[np.isclose(vertices[:, 0], x[place]), 1])[[0, -1]]
    density, weight = [], []
    for t in range(trace.n_clusters.size):
        one = some_draws(trace, np.array([t]))
        density.append(np.exp(one.conditional({"x2": 2.5, "x1": -1.0}).log_density(x[[place]])[0]))
        weight.append(np.exp(marginal(one, np.array([1, 2])).log_density([[-1.0, 2.5]])[0]))
    order = np.argsort(density)
    below = np.cumsum(np.array(weight)[order]) / np.sum(weight)
    expected = [np.array(density)[order][np.searchsorted(below, q)] for q in (0.05, 0.95)]
    np.testing.assert_allclose([low, high], expected, rtol=1e-9)


def test_nothing_given() -> None:
    trace, _ = fitted()
    ax = conditional(trace, {}, column="x1")
    assert labels(ax) == ["90% band", "density"]
    assert ax.get_title(loc="left") == "x1"


def test_a_regression() -> None:
    trace, X = fitted()
    along = np.linspace(4.0, -4.0, 9)
    ax = conditional(trace, {"x2": along, "x1": 0.0}, X=X)
    assert ax.get_title(loc="left") == "x0 given x1 = 0, x2"
    assert labels(ax)[-2:] == ["median", "observations"]
    x, y = ax.lines[0].get_data()
    np.testing.assert_array_equal(x, along[::-1])
    np.testing.assert_allclose(y, trace.conditional({1: 0.0, 2: along}).quantile(0.5)[::-1, 0], rtol=1e-8)
    (points,) = [c for c in ax.collections if isinstance(c, PathCollection)]
    np.testing.assert_array_equal(points.get_offsets(), X[:, [2, 0]])
    middle = trace.conditional({1: 0.0, 2: 0.0}).quantile([0.025, 0.975])[:, 0, 0]
    ends = ax.collections[0].get_paths()[0].vertices
    np.testing.assert_allclose(np.unique(ends[ends[:, 0] == 0.0, 1]), middle, rtol=1e-7)
    ax.figure.draw_without_rendering()


def test_on_given_axes() -> None:
    trace, _ = fitted()
    _, ax = plt.subplots()
    assert conditional(trace, {0: 1.0, 1: 1.0}, ax) is ax


def test_bad_arguments() -> None:
    trace, X = fitted()
    with pytest.raises(ValueError, match=r"column must be one of the free columns \['x0', 'x1'\], got None"):
        conditional(trace, {"x2": 0.0})
    with pytest.raises(ValueError, match=r"column must be one of the free columns \['x0', 'x1'\], got 'x2'"):
        conditional(trace, {"x2": 0.0}, column="x2")
    with pytest.raises(ValueError, match=r"rows that differ in one column, got 2 rows that differ in \['x1', 'x2'\]"):
        conditional(trace, {"x1": [0.0, 1.0], "x2": [0.0, 1.0]})
    with pytest.raises(ValueError, match=r"got 2 rows that differ in \[\]"):
        conditional(trace, {"x1": [1.0, 1.0], "x2": 0.0})
    with pytest.raises(ValueError, match="X must be the data of the trace"):
        conditional(trace, {"x1": 1.0, "x2": 0.0}, X=X[:5])
