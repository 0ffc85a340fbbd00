"""Matching components across draws and chains."""

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up_traces import (
    classification_probabilities,
    exchanging,
    noisy,
    select,
    shuffled,
    simulate,
    simulate_unknown_n,
)
from scipy import integrate, stats

from gibbs_gmm import Trace, load
from gibbs_gmm.posterior.numbering import by_weight, like
from gibbs_gmm.posterior.relabel import METHODS, _divergences


def permutation(trace: Trace, method: str | None = None, X: Any = None) -> Any:
    return trace.relabel(method, X).permutation


def by(method: str, X: Any) -> dict[str, Any]:
    """Arguments of relabel()."""
    return {"method": method, "X": X if method == "kl" else None}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("K", "D"), [(1, 1), (2, 1), (3, 4), (8, 2)])
def test_known_permutations_are_recovered_exactly(K: int, D: int, method: str) -> None:
    truth, X = simulate(C=2, T=50, K=K, D=D)
    trace, order = shuffled(truth, seed=1)
    relabelling = trace.relabel(**by(method, X))
    perm = relabelling.permutation
    assert perm.shape == (2, 50, K)
    assert perm.dtype == np.int64
    assert relabelling.n_matched == K
    assert relabelling.method == method
    np.testing.assert_array_equal(perm, np.argsort(order, axis=2))
    matched = relabelling.trace
    for name in ("weights", "means", "covariances", "assignments"):
        np.testing.assert_array_equal(getattr(matched, name), getattr(truth, name))
        assert not getattr(matched, name).flags.writeable
    assert matched.assignments.dtype == trace.assignments.dtype
    assert relabelling.ambiguous.shape == (2, 50)
    assert relabelling.ambiguous_share == 0.0
    np.testing.assert_array_equal(relabelling.ambiguous_share_by_component, np.zeros(K))


def test_what_does_not_depend_on_labels_is_the_same_array() -> None:
    trace, _ = shuffled(simulate_unknown_n()[0], seed=1)
    matched = trace.relabel().trace
    for field in dataclasses.fields(Trace):
        if field.name not in ("weights", "means", "covariances", "assignments"):
            before, after = getattr(trace, field.name), getattr(matched, field.name)
            assert after is before or (np.shares_memory(before, after) and before.shape == after.shape)
    np.testing.assert_array_equal(np.sort(matched.weights, -1), np.sort(trace.weights, -1))


def test_matching_again_changes_nothing() -> None:
    trace, _ = shuffled(simulate_unknown_n()[0], seed=1)
    matched = trace.relabel().trace
    again = matched.relabel()
    np.testing.assert_array_equal(again.trace.weights, matched.weights)
    np.testing.assert_array_equal(again.ambiguous, trace.relabel().ambiguous)


def test_results_cannot_be_written_to() -> None:
    relabelling = simulate(T=5)[0].relabel()
    with pytest.raises(ValueError, match="read-only"):
        relabelling.permutation[0, 0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        relabelling.ambiguous_places[0, 0, 0] = True


@pytest.mark.parametrize("method", METHODS)
def test_components_are_numbered_by_their_mean_weight_whatever_the_pivot(method: str) -> None:
    truth, X = simulate(C=2, T=40)
    log_posterior, weights = truth.log_posterior.copy(), truth.weights.copy()
    log_posterior[1, 7], weights[1, 7] = 0.0, (0.3, 0.1, 0.6)
    trace, order = shuffled(dataclasses.replace(truth, log_posterior=log_posterior, weights=weights), seed=3)
    np.testing.assert_array_equal(permutation(trace, **by(method, X)), np.argsort(order, axis=2))


def test_equal_weights_are_numbered_by_the_first_column() -> None:
    """The same three equal weights in draws of other seeds: their order says nothing, the means are far apart."""
    for seed in range(5):
        truth, _ = simulate(C=2, T=400, seed=seed)
        rng = np.random.default_rng(seed)
        weights, means = rng.dirichlet([40.0, 40.0, 40.0], (2, 400)), truth.means.copy()
        means[..., 0] *= -1.0
        matched = dataclasses.replace(truth, weights=weights, means=means).relabel()
        first = np.take_along_axis(means[..., 0], matched.permutation, -1).mean((0, 1))
        assert (np.diff(first) > 7.0).all()


def test_numbers_by_weight_against_a_count_of_standard_deviations() -> None:
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((4000, 3))
    noise = (noise - noise.mean(0)) / noise.std(0)
    place = np.broadcast_to([3.0, 2.0, 1.0], (4000, 3))
    sd = (noise[:, 0] - noise[:, 1]).std()
    clear = by_weight(noise + np.array([0.3 * sd, 0.0, -5.0]), place)
    np.testing.assert_array_equal(clear, [0, 1, 2])
    np.testing.assert_array_equal(by_weight(noise + np.array([0.1 * sd, 0.0, -5.0]), place), [1, 0, 2])
    np.testing.assert_array_equal(by_weight(np.flipud(noise + np.array([0.1 * sd, 0.0, -5.0])), place), [1, 0, 2])


def test_clusters_take_the_number_of_the_one_they_are() -> None:
    reference = np.array([4, 4, 4, 1, 1, 0, 0, 0])
    np.testing.assert_array_equal(like(reference, np.array([9, 9, 9, 2, 2, 5, 5, 5]), 6), reference)
    np.testing.assert_array_equal(like(reference, np.zeros(8, int), 6), [0] * 8)
    other = np.array([3, 3, 7, 1, 1, 2, 2, 2])  # rows 0 to 2 in two, of which the larger keeps the number
    np.testing.assert_array_equal(like(reference, other, 6), [4, 4, 6, 1, 1, 0, 0, 0])


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_chains_and_of_components_does_not_matter(method: str) -> None:
    trace, X = exchanging(C=3, T=40)
    plain = trace.relabel(**by(method, X))
    chains = select(trace, [2, 0, 1]).relabel(**by(method, X))
    np.testing.assert_array_equal(chains.permutation, plain.permutation[[2, 0, 1]])
    np.testing.assert_array_equal(chains.ambiguous_places, plain.ambiguous_places[[2, 0, 1]])
    mixed, _ = shuffled(trace, seed=2)
    components = mixed.relabel(**by(method, X))
    np.testing.assert_array_equal(components.trace.weights, plain.trace.weights)
    np.testing.assert_array_equal(components.ambiguous_places, plain.ambiguous_places)


def test_ecr_is_at_rest() -> None:
    """Reference and matching, each the best given the other, by trying all permutations."""
    trace, _ = noisy()
    labels = trace.relabel("ecr").trace.assignments
    counts = np.stack([(labels == k).sum((0, 1)) for k in range(4)])
    agreements = (labels == counts.argmax(0)).sum(-1)
    for order in itertools.permutations(range(4)):
        assert ((np.array(order)[labels] == counts.argmax(0)).sum(-1) <= agreements).all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_stephens_is_at_rest(dtype: Any) -> None:
    """Mean probabilities and matching, each the best given the other, by trying all permutations, with SciPy."""
    trace, X = noisy()
    X = X.astype(dtype)
    matched = trace.relabel("kl", X).trace
    p = classification_probabilities(matched, X)
    score = np.log1p(5.0 * p.sum((0, 1)))
    best = (p * score).sum((-1, -2))
    others = [(p[..., list(order)] * score).sum((-1, -2)) for order in itertools.permutations(range(4))]
    assert (np.max(others, axis=0) <= best * (1.0 + 1e-12)).all()
    worse = np.sort(others, axis=0)[-2]
    assert (worse < best).all()  # so that "best" means something


def test_a_poor_pivot_is_left_behind() -> None:
    """Most of its labels are wrong. (Without iteration one draw in fifty is matched otherwise than the rest.)"""
    truth, _ = simulate(C=2, T=100, K=3, N=30)
    z, rng = truth.assignments.copy(), np.random.default_rng(0)
    pivot = np.unravel_index(truth.log_posterior.argmax(), (2, 100))
    z[pivot] = rng.permutation(z[pivot])
    z[pivot][:12] = np.arange(12) % 3
    noise = rng.random(z.shape) < 0.2
    noise[pivot] = False
    z = np.where(noise, rng.integers(0, 3, z.shape), z).astype(np.uint8)
    relabelling = dataclasses.replace(truth, assignments=z).relabel()
    others = np.ones((2, 100), dtype=bool)
    others[pivot] = False
    assert (relabelling.permutation[others] == relabelling.permutation[others][0]).all()


def test_rows_may_come_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    trace, _ = noisy()
    whole = trace.relabel()
    monkeypatch.setattr("gibbs_gmm.posterior.partition_draws._BLOCK", 50)
    pieces = dataclasses.replace(trace).relabel()
    np.testing.assert_array_equal(pieces.permutation, whole.permutation)
    np.testing.assert_array_equal(pieces.ambiguous_places, whole.ambiguous_places)


def test_from_disk_and_from_a_memory_map(tmp_path: Path) -> None:
    trace, _ = noisy()
    expected = trace.relabel()
    trace.save(tmp_path / "trace.npz")
    np.save(tmp_path / "assignments.npy", trace.assignments.astype(np.uint16))
    mapped = dataclasses.replace(trace, assignments=np.load(tmp_path / "assignments.npy", mmap_mode="r"))
    for other in (load(tmp_path / "trace.npz"), mapped):
        relabelling = other.relabel()
        np.testing.assert_array_equal(relabelling.permutation, expected.permutation)
        np.testing.assert_array_equal(relabelling.ambiguous_places, expected.ambiguous_places)
        np.testing.assert_array_equal(relabelling.trace.assignments, expected.trace.assignments)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("C", "T", "K", "D"), [(1, 1, 1, 1), (1, 1, 3, 2), (1, 4, 2, 1), (2, 1, 3, 2)])
def test_small_traces(C: int, T: int, K: int, D: int, method: str) -> None:
    truth, X = simulate(C, T, K, D)
    trace, _ = shuffled(truth, seed=1)
    relabelling = trace.relabel(**by(method, X))
    np.testing.assert_array_equal(relabelling.trace.weights, truth.weights)
    assert relabelling.ambiguous_share == 0.0


def test_the_default_is_the_first_method_that_has_what_it_needs() -> None:
    trace, X = simulate(T=5, D=1)
    assert trace.relabel().method == "ecr"
    assert trace.relabel(X=X[:, 0]).method == "kl"
    without = dataclasses.replace(trace, assignments=None)
    assert without.relabel().method == "divergence"
    assert without.relabel().trace.assignments is None
    assert without.relabel(X=X).method == "kl"


def test_bad_arguments() -> None:
    trace, X = simulate(T=5)
    with pytest.raises(ValueError, match="method must be one of 'kl', 'ecr', 'divergence', got 'pivot'"):
        trace.relabel("pivot")
    with pytest.raises(ValueError, match='X must be the data for method="kl"'):
        trace.relabel("kl")
    with pytest.raises(ValueError, match="None for any other; got method='ecr'"):
        trace.relabel("ecr", X)
    with pytest.raises(ValueError, match="X must be the 60 rows that were fitted, got 59"):
        trace.relabel("kl", X[1:])
    with pytest.raises(ValueError, match='method="ecr" needs assignments'):
        dataclasses.replace(trace, assignments=None).relabel("ecr")


def test_overlapping_components_are_told_apart_by_weight() -> None:
    truth, _ = simulate(C=2, T=100, K=2)
    one = np.zeros_like(truth.means), np.ones_like(truth.covariances) + np.eye(2)
    truth = dataclasses.replace(truth, means=one[0], covariances=one[1])
    trace, order = shuffled(truth, seed=3)
    np.testing.assert_array_equal(permutation(trace), np.argsort(order, axis=2))


def test_a_component_without_observations_does_not_disturb_the_others() -> None:
    """Drawn from the prior, it is anywhere and of any size: only its weight says that it is the same one.

    (Without weights in the divergence, one draw in twelve is mismatched here.)
    """
    truth, _ = simulate(C=2, T=200, K=4, D=4)
    rng = np.random.default_rng(4)
    weights, means, covariances = truth.weights.copy(), truth.means.copy(), truth.covariances.copy()
    weights[:, :, 3] = rng.exponential(1 / 150, (2, 200))
    weights[0, 0, 3] = 0.0  # underflow
    covariances[:, :, 3] = stats.invwishart(6, 16.0 * np.eye(4)).rvs(400, random_state=rng).reshape(2, 200, 4, 4)
    L = np.linalg.cholesky(covariances[:, :, 3])
    means[:, :, 3] = 10.0 * (L @ rng.normal(size=(2, 200, 4, 1)))[..., 0]  # kappa_0 = 0.01
    truth = dataclasses.replace(
        truth, weights=weights / weights.sum(-1, keepdims=True), means=means, covariances=covariances
    )
    trace, order = shuffled(truth, seed=5)
    np.testing.assert_array_equal(permutation(trace), np.argsort(order, axis=2))


def test_divergences_are_the_integral_that_they_stand_for() -> None:
    """int (p - q) log(p / q) for p, q weighted normal densities, in one dimension; a product of two of them in 2-D."""
    v, m, s = 0.3, 1.0, 0.8
    w, mu, sigma = 0.6, -0.4, 1.7

    def integrand(x: float) -> float:
        log_p = np.log(w) + stats.norm.logpdf(x, mu, sigma)
        log_q = np.log(v) + stats.norm.logpdf(x, m, s)
        return float((np.exp(log_p) - np.exp(log_q)) * (log_p - log_q))

    expected, error = integrate.quad(integrand, -30.0, 30.0, limit=200)
    got = _divergences(
        np.array([[w]]),
        np.array([[[mu]]]),
        np.array([[[[sigma**2]]]]),
        np.array([v]),
        np.array([[m]]),
        np.array([[[s**2]]]),
    )
    assert got.shape == (1, 1, 1)
    assert abs(got[0, 0, 0] - expected) < 10 * error


def test_divergences_do_not_depend_on_coordinates() -> None:
    trace, _ = simulate(C=1, T=5, D=3)
    w, mu, Sigma = trace.weights[0], trace.means[0], trace.covariances[0]
    plain = _divergences(w, mu, Sigma, w[0], mu[0], Sigma[0])
    A = np.array([[1.0, 0.3, 0.0], [0.0, 2.0, -0.5], [0.2, 0.0, 0.7]])
    mu, Sigma = mu @ A.T + 100.0, A @ Sigma @ A.T
    np.testing.assert_allclose(_divergences(w, mu, Sigma, w[0], mu[0], Sigma[0]), plain, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(np.diagonal(plain[0]), 0.0, atol=1e-12)
