"""Matching components across draws and chains.

``simulate`` and ``simulate_unknown_n`` make the traces that other tests of results use too.
"""

import dataclasses
from typing import Any

import numpy as np
import pytest
from scipy import integrate, stats

from gibbs_gmm import FiniteMixture, MixtureOfFiniteMixtures, NormalInverseWishart, Trace
from gibbs_gmm.relabel import _divergences, most_probable_n_clusters

BY_DRAW = (
    "weights",
    "means",
    "covariances",
    "assignments",
    "n_components",
    "n_clusters",
    "log_likelihood",
    "log_posterior",
    "concentration",
    "kappa_0",
    "Psi_0",
)


def simulate(C: int = 4, T: int = 300, K: int = 3, D: int = 2, N: int = 60, seed: int = 0) -> tuple[Trace, Any]:
    """A made-up trace of independent draws, components in the same order everywhere, and data that fit it.

    Components are 8 standard deviations apart along every column, their weights decrease, and row i of X belongs to
    component i modulo K.
    """
    rng = np.random.default_rng(seed)
    weights = np.arange(K, 0, -1) / np.arange(K, 0, -1).sum()
    centres = 8.0 * np.arange(K)[:, None] * (-1.0) ** np.arange(D)
    A = rng.normal(size=(C, T, K, D, 40))
    z = np.arange(N) % K
    values = dict.fromkeys((field.name for field in dataclasses.fields(Trace)), None)  # nothing else was learned
    values |= {
        "weights": rng.dirichlet(4000.0 * weights, (C, T)),
        "means": centres + 0.1 * rng.normal(size=(C, T, K, D)),
        "covariances": np.einsum("ctkin,ctkjn->ctkij", A, A) / 40,
        "assignments": np.broadcast_to(z.astype(np.uint8), (C, T, N)).copy(),
        "n_components": np.full((C, T), K),
        "n_clusters": np.full((C, T), K),
        "log_likelihood": rng.normal(-200.0, 2.0, (C, T)),
        "log_posterior": rng.normal(-220.0, 2.0, (C, T)),
        "columns": tuple(f"x{d}" for d in range(D)),
        "prior": NormalInverseWishart(np.zeros(D), 1.0, D + 2, np.eye(D)),
        "weight_prior": FiniteMixture(K),
        "settings": {"n_observations": N, "interrupted": False, "seed": 1},
    }
    trace = Trace(**values)
    return trace, centres[z] + rng.normal(size=(N, D))


def simulate_unknown_n(
    n_clusters: Any = (0.0, 0.2, 0.5, 0.3),
    C: int = 4,
    T: int = 300,
    D: int = 2,
    weight_prior: Any = None,
    seed: int = 0,
) -> tuple[Trace, Any]:
    """A made-up trace of an unknown number of components, and data that fit it.

    ``n_clusters`` are the probabilities of 1, 2, ... or an array (C, T). A draw with t clusters has the first t
    components of :func:`simulate`, in order, and 1% of weight without observations; half of the draws have more
    components than clusters.
    """
    rng = np.random.default_rng([seed, 1])
    t = np.asarray(n_clusters)
    if t.ndim == 1:
        t = 1 + rng.choice(len(t), size=(C, T), p=t)
    (C, T), K = t.shape, int(t.max())
    trace, X = simulate(C, T, K, D, seed=seed)
    used = np.arange(K) < t[..., None]
    weights = np.where(used, trace.weights, 0.0)
    return dataclasses.replace(
        trace,
        weights=0.99 * weights / weights.sum(-1, keepdims=True),
        means=np.where(used[..., None], trace.means, np.nan),
        covariances=np.where(used[..., None, None], trace.covariances, np.nan),
        assignments=(np.arange(60) % t[..., None]).astype(np.uint8),
        n_components=t + rng.geometric(0.5, (C, T)) - 1,
        n_clusters=t,
        concentration=rng.gamma(2.0, size=(C, T)),
        weight_prior=MixtureOfFiniteMixtures() if weight_prior is None else weight_prior,
    ), X


def select(trace: Trace, *index: Any) -> Trace:
    """Some chains and draws of a trace."""
    arrays = {name: getattr(trace, name)[index] for name in BY_DRAW if getattr(trace, name) is not None}
    return dataclasses.replace(trace, **arrays)


def shuffled(trace: Trace, seed: int) -> tuple[Trace, Any]:
    """The trace with the components of every draw in an order of their own: ``new[k] = old[order[k]]``."""
    order = np.random.default_rng(seed).permuted(
        np.broadcast_to(np.arange(trace.weights.shape[2]), trace.weights.shape), axis=2
    )
    return (
        dataclasses.replace(
            trace,
            weights=np.take_along_axis(trace.weights, order, 2),
            means=np.take_along_axis(trace.means, order[..., None], 2),
            covariances=np.take_along_axis(trace.covariances, order[..., None, None], 2),
            assignments=np.take_along_axis(np.argsort(order, 2), trace.assignments.astype(int), 2).astype(np.uint8),
        ),
        order,
    )


def permutation(trace: Trace, method: str | None = None) -> Any:
    return trace.relabel(method).permutation


@pytest.mark.parametrize(("K", "D"), [(1, 1), (2, 1), (3, 4), (8, 2)])
def test_known_permutations_are_recovered_exactly(K: int, D: int) -> None:
    truth, _ = simulate(C=2, T=50, K=K, D=D)
    trace, order = shuffled(truth, seed=1)
    perm = permutation(trace)
    assert perm.shape == (2, 50, K)
    assert perm.dtype == np.int64
    np.testing.assert_array_equal(perm, np.argsort(order, axis=2))
    np.testing.assert_array_equal(np.take_along_axis(trace.weights, perm, -1), truth.weights)


def test_components_are_numbered_by_their_weight_in_the_best_draw() -> None:
    trace, _ = simulate(C=2, T=20)
    log_posterior = trace.log_posterior.copy()
    weights = trace.weights.copy()
    log_posterior[1, 7], weights[1, 7] = 0.0, (0.3, 0.1, 0.6)
    perm = permutation(dataclasses.replace(trace, log_posterior=log_posterior, weights=weights))
    np.testing.assert_array_equal(perm, np.broadcast_to([2, 0, 1], perm.shape))


def test_the_order_of_chains_does_not_matter() -> None:
    trace, _ = shuffled(simulate(C=3, T=40)[0], seed=2)
    order = [2, 0, 1]
    np.testing.assert_array_equal(permutation(select(trace, order)), permutation(trace)[order])


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


# --- Unknown n ---


def test_draws_with_fewer_and_with_more_clusters_are_matched_too() -> None:
    truth, _ = simulate_unknown_n()
    assert most_probable_n_clusters(truth) == 3
    trace, _ = shuffled(truth, seed=1)  # unused slots too
    perm = permutation(trace)
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
    log_likelihood, weights = trace.log_likelihood.copy(), trace.weights.copy()
    log_likelihood[trace.n_clusters != 3] += 1e3
    log_likelihood[chain, draw], weights[chain, draw, :3] = 0.0, (0.2, 0.5, 0.3)
    trace = dataclasses.replace(trace, log_likelihood=log_likelihood, weights=weights)
    first = permutation(trace)[trace.n_clusters == 3, :3]
    np.testing.assert_array_equal(first, np.broadcast_to([1, 2, 0], first.shape))


def test_of_equally_frequent_numbers_the_smallest_counts() -> None:
    assert most_probable_n_clusters(simulate_unknown_n(np.array([[4, 4, 2, 2, 3]]))[0]) == 2
