"""Merging clusters: the sequence is the greedy one in entropy, and dips are those of the density."""

import csv
import dataclasses
from typing import Any

import numpy as np
import pytest
from made_up_traces import simulate, simulate_unknown_n
from scipy import stats

import gibbs_gmm as gg
from gibbs_gmm import Trace
from gibbs_gmm.posterior.merging import dip_between


def unsure(seed: int = 0, K: int = 5, N: int = 60) -> tuple[Trace, np.ndarray]:
    """A trace in whose draws some rows wander, and the probabilities of rows in clusters."""
    trace, _ = simulate(C=2, T=50, K=K, N=N)
    rng = np.random.default_rng(seed)
    z = np.array(trace.assignments)
    wander = rng.random(N) < 0.4
    z[:, :, wander] = np.where(
        rng.random((2, 50, wander.sum())) < 0.3, rng.integers(K, size=wander.sum()), z[:, :, wander]
    )
    shares = np.stack([(z == k).mean((0, 1)) for k in range(K)], 1)
    return dataclasses.replace(trace, assignments=z), shares


def entropy(t: np.ndarray) -> float:
    return float(-np.sum(t[t > 0] * np.log(t[t > 0])))


@pytest.mark.parametrize("seed", range(4))
def test_each_step_lowers_the_entropy_most(seed: int) -> None:
    trace, t = unsure(seed)
    merged = trace.merged()
    assert merged.n_clusters.tolist() == [5, 4, 3, 2, 1]
    labels = t.argmax(1)
    for step in range(5):
        if step > 0:
            a, b = merged.pair[step]
            left = np.flatnonzero(t.any(0))
            options = []
            for i, c in enumerate(left):
                for d in left[i + 1 :]:
                    tried = t.copy()
                    tried[:, c] += tried[:, d]
                    tried[:, d] = 0.0
                    options.append(entropy(t) - entropy(tried))
            before = entropy(t)
            t[:, a] += t[:, b]
            t[:, b] = 0.0
            assert before - entropy(t) == pytest.approx(max(options), abs=1e-9)
            assert merged.decrease[step] == pytest.approx(max(options), abs=1e-9)
            assert a < b
            assert merged.rows[step] == np.count_nonzero(merged.labels(5 - step) == a)
            labels[labels == b] = a
        assert merged.entropy[step] == pytest.approx(entropy(t), abs=1e-9)
        np.testing.assert_array_equal(merged.labels(5 - step), labels)


def test_where_nothing_is_unclear_the_nearest_are_merged() -> None:
    trace, _ = simulate(C=2, T=5, K=4, N=60)
    means = trace.means.copy()
    means[..., 3, :] = means[..., 1, :] + 2.0
    merged = dataclasses.replace(trace, means=means).merged()
    assert merged.pair[1].tolist() == [1, 3]
    assert (merged.decrease == 0.0).all()
    assert merged.dip[1] < 0.9 < merged.dip[2]
    assert merged.labels(1).tolist() == [0] * 60


@pytest.mark.parametrize(("distance", "one_mode"), [(1.9, True), (2.1, False), (4.0, False)])
def test_two_equal_normals_have_one_mode_up_to_two_standard_deviations(distance: float, one_mode: bool) -> None:
    mean, covariance = np.array([[0.0, 0.0], [distance, 0.0]]), np.stack([np.eye(2)] * 2)
    dip = dip_between(np.array([0.5, 0.5]), mean, covariance, 0, 1)
    assert (dip < 1e-9) == one_mode
    middle, peak = (stats.norm.pdf(x).sum() for x in ([0.5 * distance] * 2, [0.0, distance]))
    if distance == 4.0:
        assert dip == pytest.approx(1.0 - middle / peak, abs=2e-3)


def test_a_dip_is_that_of_the_density_on_the_way() -> None:
    weight, mean, sd = np.array([0.7, 0.2, 0.1]), np.array([0.0, 5.0, 2.2]), np.array([1.0, 0.5, 1.0])
    x = np.linspace(0.0, 5.0, 20_001)

    def depth(parts: list[int]) -> float:
        density = sum(weight[k] * stats.norm.pdf(x, mean[k], sd[k]) for k in parts)
        lower = np.minimum(np.maximum.accumulate(density), np.maximum.accumulate(density[::-1])[::-1])
        return float((1.0 - density / lower).max())

    arguments = weight, mean[:, None], (sd**2)[:, None, None]
    assert dip_between(*arguments, 0, 1) == pytest.approx(depth([0, 1, 2]), abs=2e-3)
    assert dip_between(*arguments, 1, 0) == pytest.approx(depth([0, 1, 2]), abs=2e-3)
    two = tuple(array[:2] for array in arguments)
    assert dip_between(*two, 0, 1) == pytest.approx(depth([0, 1]), abs=2e-3)
    assert depth([0, 1]) > depth([0, 1, 2]) + 0.1


def test_one_kind_that_is_not_normal_comes_together() -> None:
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.exponential(1.0, (100, 2)), 20.0 + rng.normal(size=(100, 2))])
    merged = gg.fit(X, 4, draws=200, warmup=500, rng=1).merged()
    labels = merged.labels(2)
    assert len(np.unique(labels[:100])) == len(np.unique(labels[100:])) == 1
    assert labels[0] != labels[100]
    assert merged.dip[-1] > 0.9 > merged.dip[1]


def test_table_csv_and_data_frame(tmp_path: Any) -> None:
    merged = unsure()[0].merged()
    assert max(map(len, repr(merged).splitlines())) <= 80
    a, b = merged.pair[1]
    assert repr(merged).splitlines()[2].split()[:4] == ["4", str(a), "and", str(b)]
    assert "<td>" in merged._repr_html_()
    assert len(merged) == 5
    frame = merged.to_dataframe()
    assert frame.loc[4, "entropy"] == merged.entropy[1]
    merged.to_csv(tmp_path / "merged.csv")
    with open(tmp_path / "merged.csv", encoding="utf-8") as file:
        lines = list(csv.reader(file))
    assert lines[0] == ["n_clusters", *frame.columns]
    assert float(lines[2][4]) == merged.entropy[1]
    with pytest.raises(ValueError, match="read-only"):
        merged.entropy[0] = 1.0


def test_any_trace() -> None:
    one = simulate(C=1, T=3, K=1)[0].merged()
    assert one.labels(1).tolist() == [0] * 60
    assert len(one) == 1
    assert repr(one)
    trace, _ = simulate_unknown_n(T=20, weight_prior=gg.MixtureOfFiniteMixtures(concentration=1.0))
    assert trace.merged().n_clusters[0] == 3
    trace, _ = simulate(C=1, T=4, K=3)
    z = np.where(trace.assignments == 2, 1, trace.assignments).astype(np.uint8)
    z[0, 0, 1] = 2  # once, and so never the most probable
    merged = dataclasses.replace(trace, assignments=z).merged()
    assert merged.n_clusters.tolist() == [2, 1]
    assert merged.entropy.tolist() == [0.0, 0.0]
    assert np.unique(merged.labels(2)).tolist() == [0, 1]


def test_what_cannot_be_merged_is_refused() -> None:
    trace, _ = simulate(T=3, K=3)
    with pytest.raises(ValueError, match="n_clusters must be at most 3, the clusters before merging, got 4"):
        trace.merged().labels(4)
    with pytest.raises(ValueError, match="n_clusters must be at least 1"):
        trace.merged().labels(0)
    with pytest.raises(ValueError, match="has no clusters to merge"):
        dataclasses.replace(trace, assignments=None).merged()
