"""Relabelling where draws have different numbers of clusters."""

import dataclasses

import numpy as np
import pytest
from made_up_traces import classification_probabilities, noisy, select, shuffled, simulate_unknown_n
from test_relabel import permutation

from gibbs_gmm.posterior.relabel import _Candidates, _pivot, _stephens, most_probable_n_clusters


@pytest.mark.parametrize("method", ["ecr", "divergence"])
def test_draws_with_fewer_and_with_more_clusters_are_matched_too(method: str) -> None:
    truth, _ = simulate_unknown_n((0.1, 0.2, 0.4, 0.3))
    assert most_probable_n_clusters(truth) == 3
    trace, _ = shuffled(truth, seed=1)  # unused slots too
    relabelling = trace.relabel(method)
    perm = relabelling.permutation
    assert relabelling.n_matched == 3
    assert not relabelling.ambiguous[truth.n_clusters < 4].any()
    np.testing.assert_array_equal(np.take_along_axis(trace.weights, perm, -1), truth.weights)
    np.testing.assert_array_equal(np.take_along_axis(trace.means, perm[..., None], 2), truth.means)
    np.testing.assert_array_equal(permutation(truth), np.broadcast_to(np.arange(4), perm.shape))


def test_a_cluster_that_a_draw_does_not_have_leaves_its_place_unused() -> None:
    trace, _ = simulate_unknown_n(np.where(np.arange(50) == 7, 2, 3)[None])
    means, covariances = trace.means.copy(), trace.covariances.copy()
    means[0, 7, :2], covariances[0, 7, :2] = means[0, 8, [2, 0]], covariances[0, 8, [2, 0]]
    perm = permutation(dataclasses.replace(trace, means=means, covariances=covariances), "divergence")
    np.testing.assert_array_equal(perm[0, 7], [1, 2, 0])


def test_clusters_beyond_the_most_probable_number_come_behind_by_weight() -> None:
    trace, _ = simulate_unknown_n(np.where(np.arange(50) == 7, 5, 2)[None])
    weights = trace.weights.copy()
    weights[0, 7] = (0.5, 0.3, 0.03, 0.1, 0.06)
    perm = permutation(dataclasses.replace(trace, weights=weights))
    np.testing.assert_array_equal(perm[0, 7], [0, 1, 3, 4, 2])


def test_every_draw_has_a_whole_permutation_even_if_means_coincide() -> None:
    trace, _ = shuffled(simulate_unknown_n((0.3, 0.1, 0.2, 0.1, 0.3))[0], seed=2)
    trace = dataclasses.replace(trace, means=0.0 * trace.means)
    perm = permutation(trace)
    np.testing.assert_array_equal(np.sort(perm, -1), np.broadcast_to(np.arange(5), perm.shape))
    np.testing.assert_array_equal(permutation(select(trace, [3, 1])), perm[[3, 1]])


def test_the_pivot_has_the_most_probable_number_of_clusters_and_the_highest_likelihood_of_those() -> None:
    trace, _ = simulate_unknown_n()
    chain, draw = np.argwhere(trace.n_clusters == 3)[5]
    log_likelihood = trace.log_likelihood.copy()
    log_likelihood[trace.n_clusters != 3] += 1e3
    log_likelihood[chain, draw] = 0.0
    trace = dataclasses.replace(trace, log_likelihood=log_likelihood)
    assert _pivot(trace) == (chain, draw)
    np.testing.assert_array_equal(trace.relabel().counted, trace.n_clusters == 3)


@pytest.mark.parametrize("unknown", [False, True])
def test_scores_of_stephens_are_those_of_scipy(unknown: bool) -> None:
    """In draws of 2, 3 and 4 clusters too, of which those of 3 make the mean; in coordinates of any origin."""
    trace, X = noisy()
    filled = np.ones((2, 15, 4), dtype=bool)
    if unknown:
        filled[:, :3, 3] = filled[:, :9, 2] = False
        trace = dataclasses.replace(
            trace,
            weights=np.where(filled, trace.weights, 0.0),
            means=np.where(filled[..., None], trace.means, np.nan),
            covariances=np.where(filled[..., None, None], trace.covariances, np.nan),
        )
    trace, X = dataclasses.replace(trace, means=trace.means + 1e4), X + 1e4
    n, J = filled.sum(-1), 3 if unknown else 4
    by_weight = np.argsort(-trace.weights, -1, kind="stable")
    scores, sizes, perm = _stephens(trace, _Candidates(by_weight, n, J), by_weight, X)
    usable = dataclasses.replace(
        trace,
        means=np.where(filled[..., None], trace.means, 0.0),
        covariances=np.where(filled[..., None, None], trace.covariances, np.eye(2)),
    )
    p = classification_probabilities(usable, X)
    np.testing.assert_allclose(sizes, p.sum(2), rtol=1e-9, atol=1e-12)
    P = np.take_along_axis(p, perm[:, :, None], -1)[n == J].sum(0)[:, :J]
    expected = np.einsum("ctik,ij->ctjk", p, np.log1p((J + 1.0) * P))
    np.testing.assert_allclose(scores, expected, rtol=1e-9, atol=1e-9)


def test_of_equally_frequent_numbers_the_smallest_counts() -> None:
    assert most_probable_n_clusters(simulate_unknown_n(np.array([[4, 4, 2, 2, 3]]))[0]) == 2
