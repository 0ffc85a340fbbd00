"""A trace as an ArviZ DataTree and as a data frame: names, places, values, and that ArviZ can use them."""

import sys
from functools import lru_cache
from typing import Any

import arviz_stats
import numpy as np
import oracle
import pandas as pd
import pytest
from harness import package_prior, some_niw

import gibbs_gmm as gg

QUICK: dict[str, Any] = {"draws": 60, "warmup": 100, "thin": 1, "chains": 2, "rng": 1, "threads": 1, "progress": False}
RNG = np.random.default_rng(3)
FRAME = pd.DataFrame(
    RNG.standard_normal((40, 2)) + np.where(np.arange(40) % 3, 4.0, -4.0)[:, None],
    columns=["length", "width"],
    index=[f"flower {i}" for i in range(40)],
)
KINDS: dict[str, Any] = {
    "n known": 2,
    "n unknown": None,
    "process": gg.DirichletProcess(1.0),
    "one component": 1,
}


@lru_cache
def trace_of(kind: str) -> gg.Trace:
    return gg.fit(FRAME, KINDS[kind], **QUICK)


# --- ArviZ ---


@pytest.mark.parametrize("kind", KINDS)
def test_groups_dimensions_and_coordinates(kind: str) -> None:
    trace = trace_of(kind)
    tree = trace.to_arviz(FRAME)
    assert set(tree.children) == {"posterior", "sample_stats", "log_likelihood", "observed_data"}
    posterior = tree["posterior"]
    assert posterior["weights"].dims == ("chain", "draw", "component")
    assert posterior["means"].dims == ("chain", "draw", "component", "column")
    assert posterior["covariances"].dims == ("chain", "draw", "component", "column", "column_2")
    assert list(posterior["column"].values) == list(posterior["column_2"].values) == ["length", "width"]
    unknown = {"n known": set(), "one component": set(), "process": {"n_clusters"}}
    sizes = unknown.get(kind, {"n_clusters", "n_components"})
    assert sizes == {"n_clusters", "n_components"} & set(posterior.data_vars)
    assert {"n_clusters", "n_components"} - sizes == {"n_clusters", "n_components"} & set(
        tree["sample_stats"].data_vars
    )
    for name in ("concentration", "kappa_0", "Psi_0"):
        assert (name in posterior) == (getattr(trace, name) is not None)
    np.testing.assert_array_equal(tree["sample_stats"]["lp"], trace.log_posterior)
    assert tree["log_likelihood"]["X"].dims == ("chain", "draw", "row")
    np.testing.assert_array_equal(tree["log_likelihood"]["X"], trace.pointwise_log_density(FRAME))
    np.testing.assert_array_equal(tree["observed_data"]["X"].sel(column="width"), FRAME["width"])
    assert list(tree["observed_data"]["row"].values) == list(FRAME.index)
    assert posterior.attrs["inference_library"] == "gibbs_gmm"


@pytest.mark.parametrize("kind", KINDS)
def test_components_are_matched(kind: str) -> None:
    trace = trace_of(kind)
    tree = trace.to_arviz()
    means, weights, z = (
        tree[path].values for path in ("posterior/means", "posterior/weights", "sample_stats/assignments")
    )
    # The clusters are 8 standard deviations apart: the heavier one, above, is component 0 of the pivot.
    if kind != "one component":
        assert (np.abs(means[:, :, 0] - 4.0) < 1.5).all()
    assert trace.assignments is not None
    for c, t in ((0, 0), (0, 30), (1, 59)):
        own = {tuple(m): w for m, w in zip(trace.means[c, t], trace.weights[c, t], strict=True)}
        for m, w in zip(means[c, t], weights[c, t], strict=True):
            assert np.isnan(m).all() or own[tuple(m)] == w
        np.testing.assert_array_equal(means[c, t, z[c, t]], trace.means[c, t, trace.assignments[c, t]])


def test_arviz_summarises_it() -> None:
    table = arviz_stats.summary(trace_of("n known").to_arviz(), var_names=["weights", "means"])
    assert list(table.index[:3]) == ["weights[0]", "weights[1]", "means[0, length]"]


def test_leave_one_out() -> None:
    """Of one component the density of a row given the others is a multivariate t; importance sampling comes near it."""
    niw, X = some_niw(2), FRAME.to_numpy() / 4
    trace = gg.fit(X, 1, prior=package_prior(niw), draws=1000, warmup=1, chains=2, rng=1, progress=False)
    loo = arviz_stats.loo(trace.to_arviz(X), pointwise=True)
    exact = oracle.log_marginal(X, niw) - np.array([oracle.log_marginal(np.delete(X, i, 0), niw) for i in range(40)])
    inverse = np.exp(-trace.pointwise_log_density(X)).reshape(-1, 40)
    se = inverse.std(0) / inverse.mean(0) / np.sqrt(len(inverse))
    assert (np.abs(loo.elpd_i.values - exact) <= 5 * se).all()
    assert (np.abs(trace.log_density(X) - exact) > 5 * se).mean() > 0.2  # of rows that were not left out


def test_without_data_and_without_assignments() -> None:
    trace = gg.fit(FRAME.to_numpy(), None, save_assignments=False, **QUICK)
    tree = trace.to_arviz()
    assert set(tree.children) == {"posterior", "sample_stats"}
    assert "assignments" not in tree["sample_stats"]
    assert list(tree["posterior"]["column"].values) == ["x0", "x1"]


def test_other_data_are_refused() -> None:
    with pytest.raises(ValueError, match="X must be the 40 rows that were fitted, got 39"):
        trace_of("n known").to_arviz(FRAME[:39])
    with pytest.raises(ValueError, match="X must have the 2 columns of the fit"):
        trace_of("n known").to_arviz(np.zeros((40, 3)))


# --- Data frame ---


@pytest.mark.parametrize("kind", KINDS)
def test_dataframe(kind: str) -> None:
    trace = trace_of(kind)
    frame = trace.to_dataframe()
    held = (~np.isnan(trace.means[..., 0])).sum(-1)
    assert len(frame) == held.sum()
    sizes = frame.groupby(["chain", "draw"]).size()
    np.testing.assert_array_equal(sizes.to_numpy(), held.ravel())
    tree = trace.to_arviz()["posterior"]
    for row in frame.iloc[[0, len(frame) // 2, -1]].to_dict("records"):
        place = {name: int(row[name]) for name in ("chain", "draw", "component")}
        assert row["weight"] == tree["weights"].sel(place).item()
        assert row["mean[width]"] == tree["means"].sel({**place, "column": "width"}).item()
        assert row["covariance[length, width]"] == tree["covariances"].sel(
            {**place, "column": "length", "column_2": "width"}
        )
        assert row["n_clusters"] == trace.n_clusters[place["chain"], place["draw"]]
        assert row["log_likelihood"] == trace.log_likelihood[place["chain"], place["draw"]]
    assert ("concentration" in frame) == (trace.concentration is not None)
    assert list(frame.columns[:6]) == ["chain", "draw", "component", "weight", "mean[length]", "mean[width]"]


@pytest.mark.parametrize(("module", "method"), [("arviz_base", "to_arviz"), ("pandas", "to_dataframe")])
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, module: str, method: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"{method} needs the package '{module}'.*pip install 'gibbs-gmm\[arviz\]'"):
        getattr(trace_of("n known"), method)()
