"""A trace as an ArviZ DataTree and as a data frame: names, places, values, and that ArviZ can use them."""

import dataclasses
import sys
from functools import lru_cache
from typing import Any

import arviz_stats
import numpy as np
import oracle
import pandas as pd
import pytest
from harness import package_prior, some_niw
from made_up_traces import simulate_unknown_n

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
    assert set(tree.children) == {"posterior", "components", "sample_stats", "log_likelihood", "observed_data"}
    posterior, components = tree["posterior"], tree["components"]
    assert components["weights"].dims == ("chain", "draw", "component")
    assert components["means"].dims == ("chain", "draw", "component", "column")
    assert components["covariances"].dims == ("chain", "draw", "component", "column", "column_2")
    assert list(components["column"].values) == list(components["column_2"].values) == ["length", "width"]
    learned = {"concentration", "kappa_0", "Psi_0", "n_components", "n_clusters"}
    assert {"sorted_weights"} <= set(posterior.data_vars) <= {"sorted_weights"} | learned
    np.testing.assert_array_equal(posterior["sorted_weights"], -np.sort(-trace.weights, axis=-1))
    unknown = {"n known": set(), "one component": set(), "process": {"n_clusters"}}
    sizes = unknown.get(kind, {"n_clusters", "n_components"})
    assert sizes == {"n_clusters", "n_components"} & set(posterior.data_vars)
    assert {"n_clusters", "n_components"} - sizes == {"n_clusters", "n_components"} & set(
        tree["sample_stats"].data_vars
    )
    for name in ("concentration", "kappa_0", "Psi_0"):
        assert (name in posterior) == (getattr(trace, name) is not None)
    np.testing.assert_array_equal(tree["sample_stats"]["lp"], trace.log_posterior)
    np.testing.assert_array_equal(tree["sample_stats"]["total_log_likelihood"], trace.log_likelihood)
    groups = [set(tree[name].data_vars) for name in ("posterior", "components", "sample_stats")]
    assert len(set.union(*groups, set(tree.children))) == sum(map(len, groups)) + len(tree.children)
    assert tree["log_likelihood"]["X"].dims == ("chain", "draw", "row")
    np.testing.assert_array_equal(tree["log_likelihood"]["X"], trace.pointwise_log_density(FRAME))
    np.testing.assert_array_equal(tree["observed_data"]["X"].sel(column="width"), FRAME["width"])
    assert list(tree["observed_data"]["row"].values) == list(FRAME.index)
    assert posterior.attrs["inference_library"] == "gibbs_gmm"


@pytest.mark.parametrize("kind", KINDS)
def test_components_are_matched(kind: str) -> None:
    trace = trace_of(kind)
    tree = trace.to_arviz()
    means, weights, draws = (tree["components"][name].values for name in ("means", "weights", "draw_of_posterior"))
    z, K = tree["sample_stats"]["assignments"].values, means.shape[2]
    # The clusters are 8 standard deviations apart: the heavier one, above, is number 0.
    if kind != "one component":
        assert (np.abs(means[:, :, 0] - 4.0) < 1.5).all()
    assert np.isfinite(means).all()
    assert trace.assignments is not None
    wanted = np.bincount(trace.n_clusters.ravel()).argmax() if not trace.n_is_known else K
    assert wanted == K
    for c, s in ((0, 0), (0, -1), (1, 7)):
        t = draws[c, s]
        own = {tuple(m): w for m, w in zip(trace.means[c, t], trace.weights[c, t], strict=True)}
        for m, w in zip(means[c, s], weights[c, s], strict=True):
            assert own[tuple(m)] == w
        np.testing.assert_array_equal(means[c, s, z[c, t]], trace.means[c, t, trace.assignments[c, t]])


def test_of_an_unknown_number_no_draw_with_another_one_is_averaged() -> None:
    trace, _ = simulate_unknown_n((0.0, 0.2, 0.5, 0.3))
    run = {"versions": {"gibbs-gmm": "1"}, "seconds": 1.0, "warmup": 1, "thin": 1}
    trace = dataclasses.replace(trace, settings={**trace.settings, **run})
    components = trace.to_arviz()["components"]
    assert components.attrs["n_components"] == 3
    assert components.attrs["share_of_draws"] == np.mean(trace.n_clusters == 3)
    least = (trace.n_clusters == 3).sum(1).min()
    for c in range(4):
        draws = np.flatnonzero(trace.n_clusters[c] == 3)[:least]
        np.testing.assert_array_equal(components["draw_of_posterior"][c], draws)
        np.testing.assert_array_equal(components["means"][c], trace.means[c, draws, :3])
    n_clusters = np.repeat([[2], [2], [3]], 20, axis=1)
    apart = dataclasses.replace(simulate_unknown_n(n_clusters)[0], settings=trace.settings)
    assert "components" not in apart.to_arviz().children


def test_arviz_summarises_it() -> None:
    table = arviz_stats.summary(trace_of("n known").to_arviz(), group="components", var_names=["weights", "means"])
    assert list(table.index[:3]) == ["weights[0]", "weights[1]", "means[0, length]"]
    assert arviz_stats.summary(trace_of("n unknown").to_arviz())["r_hat"].notna().any()


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
    assert set(tree.children) == {"posterior", "components", "sample_stats"}
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
    matched = trace.relabel().trace
    for row in frame.iloc[[0, len(frame) // 2, -1]].to_dict("records"):
        c, t, k = (int(row[name]) for name in ("chain", "draw", "component"))
        assert row["weight"] == matched.weights[c, t, k]
        assert row["mean[width]"] == matched.means[c, t, k, 1]
        assert row["covariance[length, width]"] == matched.covariances[c, t, k, 0, 1]
        assert row["n_clusters"] == trace.n_clusters[c, t]
        assert row["log_likelihood"] == trace.log_likelihood[c, t]
    assert ("concentration" in frame) == (trace.concentration is not None)
    assert list(frame.columns[:6]) == ["chain", "draw", "component", "weight", "mean[length]", "mean[width]"]


@pytest.mark.parametrize(("module", "method"), [("arviz_base", "to_arviz"), ("pandas", "to_dataframe")])
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, module: str, method: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        ImportError, match=rf"{method}\(\) needs the package '{module}'.*pip install 'gibbs-gmm\[arviz\]'"
    ):
        getattr(trace_of("n known"), method)()
