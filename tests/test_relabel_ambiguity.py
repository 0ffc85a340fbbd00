"""Which draws of a relabelled trace are ambiguous: that cannot be told apart, and what can."""

import dataclasses

import numpy as np
import pytest
from made_up_traces import exchanging, shuffled, simulate, simulate_unknown_n
from test_relabel import by

from gibbs_gmm.posterior.relabel import METHODS


@pytest.mark.parametrize("method", METHODS)
def test_components_that_cannot_be_told_apart_are_reported(method: str) -> None:
    """A cut at an angle a from the reference costs about cos(a) to exchange.

    Over angles its mean is 0.64 and its standard deviation 0.31, so an exchange has a probability of 5% or more below
    log(19) 0.31^2 / (2 0.64) = 0.22, which is 14% of angles; the limits are five standard errors to either side. (The
    divergence is not proportional to the cosine.)
    """
    trace, X = exchanging()
    relabelling = trace.relabel(**by(method, X))
    share = relabelling.ambiguous_share_by_component
    apart = trace.means[0, 0, :, 0].argmax()
    lone = int(np.flatnonzero(relabelling.permutation[0, 0] == apart)[0])
    assert share[lone] == 0.0
    assert share[lone - 1] == share[lone - 2] == relabelling.ambiguous_share
    low, high = (0.02, 0.26) if method != "divergence" else (0.02, 0.6)
    assert low < relabelling.ambiguous_share < high
    assert f"{100 * relabelling.ambiguous_share:.1f}% of draws ambiguous" in repr(relabelling)


def test_labels_of_a_coin_are_ambiguous() -> None:
    """(Logarithms of frequencies in the place of agreements call none of these draws ambiguous.)"""
    trace, _ = simulate(C=4, T=300, K=2, N=20)
    coin = np.random.default_rng(0).integers(0, 2, trace.assignments.shape)
    assert dataclasses.replace(trace, assignments=coin.astype(np.uint8)).relabel().ambiguous_share > 0.3


def test_components_that_overlap_and_are_known_well_are_certain() -> None:
    """A third of the rows changes sides in every draw, of two components 1.5 standard deviations apart."""
    trace, _ = simulate(C=2, T=100, K=2, D=1, N=3000)
    rng = np.random.default_rng(1)
    X = 1.5 * (np.arange(3000) % 2)[:, None] + rng.normal(size=(3000, 1))
    means = np.broadcast_to([[0.0], [1.5]], trace.means.shape) + 0.05 * rng.normal(size=trace.means.shape)
    assignments = (rng.random(trace.assignments.shape) < 1.0 / (1.0 + np.exp(1.5 * (0.75 - X[:, 0])))).astype(np.uint8)
    trace = dataclasses.replace(
        trace,
        weights=rng.dirichlet([1500.0, 1500.0], (2, 100)),
        means=means,
        covariances=np.ones_like(trace.covariances),
        assignments=assignments,
    )
    trace, order = shuffled(trace, seed=3)
    assert 0.2 < (assignments[0, 0] != assignments[0, 1]).mean() < 0.5
    for method in ("kl", "ecr"):
        relabelling = trace.relabel(**by(method, X))
        place = np.take_along_axis(np.argsort(relabelling.permutation, -1), np.argsort(order, -1), -1)
        assert (place == place[0, 0]).all()
        assert relabelling.ambiguous_share == 0.0


def test_ambiguity_is_the_probability_of_the_other_sign() -> None:
    """Two components: g of every draw by hand, from agreements with the reference, and a mixture of two normals."""
    trace, _ = exchanging(N=60, T=50)
    z = (trace.assignments[..., np.arange(60) % 3 > 0] == 1).astype(np.uint8)
    two = dataclasses.replace(trace, **{name: getattr(trace, name)[:, :, 1:] for name in ("weights", "means")})
    two = dataclasses.replace(
        two,
        covariances=trace.covariances[:, :, 1:],
        assignments=z,
        settings=trace.settings,
        n_clusters=trace.n_clusters,
    )
    relabelling = two.relabel("ecr")
    labels = relabelling.trace.assignments.astype(int)
    reference = (labels.mean((0, 1)) > 0.5).astype(int)
    g = 2.0 * (labels == reference).mean(-1) - 1.0
    g = 2.0 * g * 40 / 40 / 2.0  # both components' rows are all 40
    odds = np.exp(-0.5 * ((g - g.mean()) / g.std()) ** 2), np.exp(-0.5 * ((g + g.mean()) / g.std()) ** 2)
    np.testing.assert_array_equal(relabelling.ambiguous, odds[1] / (odds[0] + odds[1]) >= 0.05)
    assert 0.0 < relabelling.ambiguous_share < 1.0


def test_components_without_rows_are_ambiguous_among_themselves_only() -> None:
    truth, _ = simulate(C=2, T=20, K=4)
    trace, _ = shuffled(dataclasses.replace(truth, assignments=truth.assignments % 2), seed=1)
    relabelling = trace.relabel("ecr")
    np.testing.assert_array_equal(relabelling.ambiguous_share_by_component, [0.0, 0.0, 1.0, 1.0])
    np.testing.assert_array_equal(relabelling.trace.weights[..., :2], truth.weights[..., :2])


def test_a_cluster_that_some_draws_split_at_random_is_ambiguous_in_these() -> None:
    """Either part could be the one that matches: the larger does, by the toss of 20 coins."""
    trace, _ = simulate_unknown_n((0.0, 0.0, 0.7, 0.3))
    split = trace.n_clusters == 4
    kind = np.arange(60) % 3
    parts = np.where((kind == 2) & (np.random.default_rng(0).random((4, 300, 60)) < 0.5), 3, kind)
    trace = dataclasses.replace(trace, assignments=np.where(split[..., None], parts, kind).astype(np.uint8))
    relabelling = trace.relabel()
    assert not relabelling.ambiguous_places[~split].any()
    assert not relabelling.ambiguous_places[..., :2].any()
    assert 0.2 < relabelling.ambiguous_places[split, 2].mean() < 1.0
    matched = relabelling.trace.assignments
    assert ((matched == 2).sum(-1) >= (matched == 3).sum(-1)).all()
