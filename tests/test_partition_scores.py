"""Principal components of the partitions, against NumPy's decomposition and Rand indices, and what they see."""

import dataclasses

import numpy as np
import pytest
from sklearn.metrics import rand_score
from test_relabel import simulate

from gibbs_gmm.kernels.types import AnyArray
from gibbs_gmm.posterior.agreement import r_hat
from gibbs_gmm.posterior.chain_partitions import largest_difference, some_of_each_cluster
from gibbs_gmm.posterior.partition_scores import partition_scores
from gibbs_gmm.posterior.standing import standing


def noisy(C: int, T: int, N: int, moved: float, seed: int = 0) -> AnyArray:
    """(C, T, N) labels of three clusters; each row is in another one in a share of the draws."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random((C, T, N)) < moved, rng.integers(0, 3, (C, T, N)), np.arange(N) % 3).astype(np.uint8)


def test_scores_are_those_of_a_principal_component_analysis() -> None:
    z = noisy(2, 60, 20, 0.02)
    z[:, :, :6] = np.where(np.random.default_rng(1).random((2, 60, 1)) < 0.3, 2, z[:, :, :6])
    first, second = np.triu_indices(20, 1)
    together = (z[..., first] == z[..., second]).reshape(120, -1) / np.sqrt(len(first))
    together -= together.mean(0)
    u, s, _ = np.linalg.svd(together, full_matrices=False)
    for k, score in enumerate(partition_scores(z).values()):
        expected = (u[:, k] * s[k]).reshape(2, 60)
        np.testing.assert_allclose(score * np.sign((score * expected).sum()), expected, atol=1e-4)


def test_squared_distances_are_one_minus_the_rand_index() -> None:
    z = np.zeros((3, 40, 50), np.uint8)
    z[..., 20:] = 1
    z[1, 25:, 5:12] = 2
    scores = partition_scores(z)
    assert list(scores) == ["partition[0]"]
    score = scores["partition[0]"]
    assert (score[1, -1] - score[0, 0]) ** 2 == pytest.approx(1.0 - rand_score(z[1, -1], z[0, 0]), rel=1e-9)
    np.testing.assert_allclose(score[[0, 2]], score[0, 0], rtol=1e-9)


def test_equal_partitions_have_equal_scores() -> None:
    """Rounding would be ranked: R-hat of partitions that hardly ever change was 2."""
    z = noisy(3, 111, 40, 0.0)
    z[1, 30:33, 3] = 2
    z[2, 60, 9:20] = 0
    scores = partition_scores(z)
    assert {name: len(np.unique(score)) for name, score in scores.items()} == {"partition[0]": 3, "partition[1]": 3}
    assert max(r_hat(score) for score in scores.values()) < 1.05


def test_names_of_clusters_and_partitions_that_never_change() -> None:
    z = noisy(2, 50, 30, 0.05)
    names = np.argsort(np.random.default_rng(2).random((2, 50, 3)), axis=-1)
    for name, score in partition_scores(np.take_along_axis(names, z.astype(np.int64), -1)).items():
        np.testing.assert_array_equal(score, partition_scores(z)[name])
    assert partition_scores(noisy(2, 50, 30, 0.0)) == {}
    assert partition_scores(np.zeros((2, 50, 1), np.uint8)) == {}
    assert partition_scores(None) == {}


@pytest.mark.parametrize("N", [90, 900])
def test_a_mode_that_is_left_seldom_is_seen_where_no_number_differs(N: int) -> None:
    """In a fifth of one chain's draws, all in a row, a tenth of all rows are in each other's cluster: sizes stay."""
    z = noisy(4, 1000, N, 0.02)
    few = 3 * np.arange(N // 20)
    z[0, 300:500, few], z[0, 300:500, few + 1] = z[0, 300:500, few + 1], z[0, 300:500, few].copy()
    rng = np.random.default_rng(3)
    arrays = {
        "weights": rng.dirichlet([50.0, 30.0, 20.0], (4, 1000)),
        "n_clusters": rng.integers(2, 4, (4, 1000)),
        "log_likelihood": rng.normal(size=(4, 1000)),
    }
    assert standing(arrays, noisy(4, 1000, N, 0.02)).done
    assert largest_difference(z) is None
    now = standing(arrays, z)
    assert not now.done
    assert now.effective_of == "partition[0]"
    assert now.effective < 100
    assert r_hat(partition_scores(z)["partition[0]"]) > 1.01


def test_what_is_said_where_partitions_alone_tell_chains_apart() -> None:
    trace, _ = simulate(T=200)
    z = trace.assignments.copy()
    z[0, 60:140, :7:3] = 1  # in less than half of its draws
    trace = dataclasses.replace(trace, assignments=z)
    assert trace._difference is None
    why = r"have not met: they do not cluster the rows alike \(R-hat of partitions: 1\.\d\d\)"
    with pytest.warns(UserWarning, match=why):
        assert "partition[0]" in trace.summary().name


def test_rows_are_of_every_cluster_and_as_many_as_may_be() -> None:
    z = np.zeros((3, 2, 1000), np.uint8)
    z[1, -1, 500] = 1
    z[2, -1, 7:9] = 2
    rows = some_of_each_cluster(z, 64)
    assert len(rows) == len(set(rows)) == 64
    assert {500, 7, 8} <= set(rows.tolist())
    np.testing.assert_array_equal(some_of_each_cluster(z[..., :30], 64), np.arange(30))
    many = some_of_each_cluster(np.arange(1000)[None, None].repeat(2, 0), 64)
    assert len(set(many.tolist())) == 64


def test_of_many_draws_some_have_scores() -> None:
    z = noisy(2, 2500, 30, 0.05)
    scores = partition_scores(z)
    some = np.linspace(0, 2499, 1000).astype(int)
    for name, score in partition_scores(z[:, some]).items():
        np.testing.assert_array_equal(score, scores[name])
    trace, _ = simulate(C=2, T=2500)
    summary = dataclasses.replace(trace, assignments=noisy(2, 2500, 60, 0.05)).summary()
    assert summary["partition[0]"]["ess_bulk"] < 2500 < summary["log_likelihood"]["ess_bulk"]
    assert "partition[2]" in repr(summary)
