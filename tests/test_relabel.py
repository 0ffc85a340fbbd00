"""Matching components across draws and chains.

``simulate`` and ``simulate_unknown_n`` make the traces that other tests of results use too.
"""

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import integrate, stats

from gibbs_gmm import FiniteMixture, MixtureOfFiniteMixtures, NormalInverseWishart, Trace, load
from gibbs_gmm.posterior.numbering import by_weight, like
from gibbs_gmm.posterior.relabel import METHODS, _Candidates, _divergences, _pivot, _stephens, most_probable_n_clusters

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
    components than clusters. The rows of components that a draw does not have belong to the first.
    """
    rng = np.random.default_rng([seed, 1])
    t = np.asarray(n_clusters)
    if t.ndim == 1:
        t = 1 + rng.choice(len(t), size=(C, T), p=t)
    (C, T), K = t.shape, int(t.max())
    trace, X = simulate(C, T, K, D, seed=seed)
    z = np.arange(60) % K
    used = np.arange(K) < t[..., None]
    weights = np.where(used, trace.weights, 0.0)
    return dataclasses.replace(
        trace,
        weights=0.99 * weights / weights.sum(-1, keepdims=True),
        means=np.where(used[..., None], trace.means, np.nan),
        covariances=np.where(used[..., None, None], trace.covariances, np.nan),
        assignments=np.where(z < t[..., None], z, 0).astype(np.uint8),
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


def permutation(trace: Trace, method: str | None = None, X: Any = None) -> Any:
    return trace.relabel(method, X).permutation


def by(method: str, X: Any) -> dict[str, Any]:
    """Arguments of relabel()."""
    return {"method": method, "X": X if method == "kl" else None}


def exchanging(N: int = 90, C: int = 2, T: int = 100, seed: int = 0) -> tuple[Trace, Any]:
    """Components 1 and 2 of three cannot be told apart: the same N rows in two parts, a new cut in each draw.

    Rows lie on a circle, and the two components cut it by a line through its centre, at any angle; which side is 1 is
    a coin's toss. Component 0 is far away.
    """
    rng = np.random.default_rng(seed)
    trace, _ = simulate(C, T, 3, 2, N, seed)
    far, angle = np.arange(N) % 3 == 0, np.linspace(0.0, 2.0 * np.pi, N)
    X = np.where(far[:, None], [100.0, 0.0], np.stack([np.cos(angle), np.sin(angle)], axis=1))
    X[far] += rng.normal(size=(far.sum(), 2))
    cut = rng.uniform(0.0, 2.0 * np.pi, (C, T))
    side = np.cos(angle - cut[..., None]) > 0.0
    means, covariances, weights = trace.means.copy(), trace.covariances.copy(), np.full((C, T, 3), 1 / 3)
    means[..., 0, :] = 100.0, 0.0
    for k, sign in ((1, -0.6), (2, 0.6)):
        means[..., k, 0], means[..., k, 1] = sign * np.cos(cut), sign * np.sin(cut)
        covariances[..., k, :, :] = 0.3 * np.eye(2)
    weights += rng.normal(0.0, 0.01, weights.shape)
    weights /= weights.sum(-1, keepdims=True)
    assignments = np.where(far, 0, 1 + side).astype(np.uint8)
    return dataclasses.replace(trace, weights=weights, means=means, covariances=covariances, assignments=assignments), X


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


def classification_probabilities(trace: Trace, X: Any) -> Any:
    """(C, T, N, K), by SciPy."""
    C, T, K = trace.weights.shape
    p = np.empty((C, T, len(X), K))
    for c, t, k in np.ndindex(C, T, K):
        density = stats.multivariate_normal(trace.means[c, t, k], trace.covariances[c, t, k])
        p[c, t, :, k] = trace.weights[c, t, k] * density.pdf(X.astype(np.float64))
    return p / p.sum(-1, keepdims=True)


def noisy() -> tuple[Trace, Any]:
    """Four components 1.5 standard deviations apart, the pivot's labels half wrong; 201 rows, more than a tile."""
    truth, X = simulate(C=2, T=15, K=4, N=201)
    rng = np.random.default_rng(5)
    truth = dataclasses.replace(truth, means=truth.means * (1.5 / 8.0))
    X = X - truth.means[0, 0, np.arange(201) % 4] * 0.0
    X = truth.means.mean((0, 1))[np.arange(201) % 4] + rng.normal(size=(201, 2))
    p = classification_probabilities(truth, X)
    z = (rng.random((*p.shape[:3], 1)) > p.cumsum(-1)).sum(-1).astype(np.uint8)
    pivot = np.unravel_index(truth.log_posterior.argmax(), (2, 15))
    z[pivot] = np.where(rng.random(201) < 0.5, rng.integers(0, 4, 201), z[pivot])
    return shuffled(dataclasses.replace(truth, assignments=z), seed=6)[0], X


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


# --- Unknown n ---


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
