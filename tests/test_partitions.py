"""Partitions of a trace: similarities, the point estimate and the ball around it, against slow and obvious versions."""

import dataclasses
import itertools
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up_traces import shuffled, simulate, simulate_unknown_n
from oracle import Floats, Ints
from partition_cases import LOSSES, canonical, loss_matrix, random_draws, set_partitions, trace_of
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform
from scipy.special import xlogy

import gibbs_gmm as gg
from gibbs_gmm.kernels.posterior import partition_search
from gibbs_gmm.posterior.partition_draws import collect
from gibbs_gmm.posterior.partitions import _new_table

# Made-up draws have any number of clusters.
pytestmark = pytest.mark.filterwarnings("ignore:partition.*The rows fall into")
ROOT = Path(__file__).resolve().parents[1]

# --- The search finds the best partition ---


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("N", [1, 2, 3, 5])
def test_search_equals_exhaustive_search(N: int, loss: str) -> None:
    partitions, matrix = set_partitions(N), loss_matrix(N, loss)
    place = {p: i for i, p in enumerate(partitions)}
    sizes = np.array([max(p) + 1 for p in partitions])
    for seed in range(40 if N > 3 else 10):
        z = random_draws(np.random.default_rng(seed), N)
        expected = matrix[:, [place[canonical(row)] for row in z]].mean(1)
        for limit in (None, N):
            found = trace_of(z).partition(loss, max_clusters=limit)
            allowed = sizes <= (limit or max(len(set(row)) for row in z))
            np.testing.assert_allclose(found.expected_loss, expected[place[canonical(found.labels)]], atol=1e-12)
            np.testing.assert_allclose(found.expected_loss, expected[allowed].min(), atol=1e-12, err_msg=str(seed))


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("N", [6, 7, 8, 9])
def test_search_equals_exhaustive_search_of_more(N: int, loss: str) -> None:
    partitions = set_partitions(N)
    sizes = np.array([max(p) + 1 for p in partitions])
    for seed in range(200 if N < 8 else 12):
        z = random_draws(np.random.default_rng(seed), N)
        expected = np.mean([quick_losses(partitions, row, loss) for row in z], axis=0)
        for limit in (None, N):
            found = trace_of(z).partition(loss, max_clusters=limit)
            allowed = sizes <= (limit or max(len(set(row)) for row in z))
            np.testing.assert_allclose(found.expected_loss, expected[allowed].min(), atol=1e-12, err_msg=str(seed))


def quick_losses(partitions: list[tuple[int, ...]], z: Any, loss: str) -> Floats:
    """The loss of each of many partitions against one: by contingency tables of all at once."""
    P, N = np.array(partitions), len(z)
    own, other = P[..., None] == np.arange(N), np.asarray(z)[:, None] == np.unique(z)
    n = np.einsum("pik,ij->pkj", own.astype(float), other.astype(float))
    cells = [n.sum(2), np.broadcast_to(n.sum(1), (len(P), other.shape[1])), n.reshape(len(P), -1)]
    if loss == "vi":
        a, b, both = (-xlogy(m / N, m / N).sum(1) / np.log(2.0) for m in cells)
        return np.asarray(2 * both - a - b)
    A, B, R = ((m * (m - 1)).sum(1) / 2 for m in cells)
    if loss == "binder":
        return np.asarray(2 * (A + B - 2 * R) / N**2)
    chance = A * B / (N * (N - 1) / 2)
    below = (A + B) / 2 - chance
    return np.where(np.abs(below) < 1e-9, 0.0, 1 - (R - chance) / np.where(np.abs(below) < 1e-9, 1.0, below))


# --- It is never worse than other ways to an answer ---


def groups(N: int, S: int, seed: int) -> Ints:
    """Labels drawn from overlapping groups on a line, one of which is split in some draws."""
    rng = np.random.default_rng(seed)
    centres = np.array([-3.0, 0.0, 2.0, 6.0])
    x = rng.choice(centres, N) + rng.standard_normal(N)
    z = np.empty((S, N), np.int64)
    for s in range(S):
        c = centres + 0.2 * rng.standard_normal(4)
        c = np.append(c, c[0] - 0.7) if s % 3 == 0 else c
        z[s] = np.argmax(-0.5 * (x[:, None] - c) ** 2 + rng.gumbel(size=(N, len(c))), 1)
    return z


def mean_loss(labels: Any, z: Ints, loss: str) -> float:
    return float(np.mean([quick_losses([tuple(labels)], row, loss)[0] for row in z]))


def linkage_cuts(similarity: Floats, method: str) -> list[Ints]:
    """Cuts of a hierarchical clustering of 1 - similarity (Medvedovic et al. 2004; Fritsch & Ickstadt 2009)."""
    distance = squareform(1 - similarity, checks=False)
    tree = hierarchy.linkage(np.maximum(distance, 0), method)
    return [hierarchy.fcluster(tree, k, "maxclust") - 1 for k in range(1, 9)]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("data", ["groups", "iris", "galaxies"])
def test_never_worse_than_the_best_draw_and_hierarchical_clusterings(data: str, loss: str) -> None:
    if data == "groups":
        trace = trace_of(groups(60, 60, 1))
    else:
        X = np.loadtxt(
            ROOT / "data" / f"{data}.csv", delimiter=",", skiprows=1, usecols=range(4 if data == "iris" else 1)
        )
        trace = gg.fit(X, 4, draws=60, warmup=200, chains=1, rng=1, progress=False)
    assert trace.assignments is not None
    z = trace.assignments.reshape(-1, trace.assignments.shape[-1]).astype(np.int64)
    found = trace.partition(loss)
    np.testing.assert_allclose(found.expected_loss, mean_loss(found.labels, z, loss), atol=1e-12)
    most = int(trace.n_clusters.max())
    others = list(z[::3])
    others += [cut for method in ("average", "complete") for cut in linkage_cuts(trace.similarity(), method)]
    for labels in others:
        if len(set(labels)) <= most:
            assert found.expected_loss <= mean_loss(canonical(labels), z, loss) + 1e-12


# --- What comes with it ---


def slow_membership(labels: Any, z: Any) -> Floats:
    """In what share of the draws the component of a row has most of its rows in each cluster."""
    J = max(labels) + 1
    p = np.zeros((len(labels), J + 1))
    for draw in z:
        stands = {k: np.bincount(labels[draw == k], minlength=J).argmax() for k in set(draw.tolist())}
        for i, k in enumerate(draw.tolist()):
            p[i, stands[k]] += 1 / len(z)
    return p


def slow_together(labels: Any, z: Any) -> Floats:
    """Mean shares of the draws in which two rows are in one component, between and within clusters."""
    p, numbers = (z[:, :, None] == z[:, None, :]).mean(0), np.unique(labels)
    result = np.ones((len(numbers), len(numbers)))
    for (a, j), (b, k) in itertools.product(enumerate(numbers), repeat=2):
        pairs = [p[x, y] for x in np.flatnonzero(labels == j) for y in np.flatnonzero(labels == k) if x != y]
        result[a, b] = np.mean(pairs) if pairs else 1.0
    return result


def test_membership_and_cohesion_of_a_search() -> None:
    z = groups(50, 40, 2)
    for loss in LOSSES:
        found = trace_of(z).partition(loss)
        assert found.n_clusters == len(found.sizes) == len(set(found.labels))
        np.testing.assert_array_equal(found.sizes, [(found.labels == k).sum() for k in found.numbers])
        np.testing.assert_allclose(found.probabilities, slow_membership(found.labels, z), atol=1e-12)
        np.testing.assert_allclose(found.together, slow_together(found.labels, z), atol=1e-12)
        np.testing.assert_array_equal(found.cohesion, np.diagonal(found.together))
        own = found.probabilities[np.arange(50), found.labels]
        np.testing.assert_allclose(found.uncertainty, 1.0 - own)
        for name in ("labels", "probabilities", "together", "uncertainty", "second", "numbers"):
            with pytest.raises(ValueError, match="read-only"):
                getattr(found, name)[0] = 0
        assert repr(found).startswith("<Partition: ")
        assert f"expected {loss}" in repr(found)


def test_rows_are_of_the_matched_component_that_owns_them_most_often() -> None:
    trace, _ = shuffled(simulate(C=2, T=50)[0], seed=1)
    flips, z = np.random.default_rng(2).random((2, 50)) < 0.3, trace.relabel().trace.assignments.copy()
    z[flips, 0] = 2  # row 0 is of component 0
    z = np.take_along_axis(trace.relabel().permutation, z.astype(int), 2).astype(np.uint8)
    trace = dataclasses.replace(trace, assignments=z)
    found = trace.partition()
    assert found is trace.partition()
    assert (found.loss, found.expected_loss, found.runs) == (None, None, 0)
    np.testing.assert_array_equal(found.labels, np.arange(60) % 3)
    np.testing.assert_array_equal(found.numbers, [0, 1, 2])
    share = flips.mean()
    np.testing.assert_allclose(found.probabilities[0], [1 - share, 0, share, 0], atol=1e-12)
    np.testing.assert_allclose(found.uncertainty, [share] + [0] * 59, atol=1e-12)
    np.testing.assert_array_equal(found.second, [2] + [-1] * 59)
    np.testing.assert_allclose(found.cohesion, [1 - share / 10, 1, 1], atol=1e-12)
    np.testing.assert_array_equal(found.nearest[[0, 2]], [2, 0])
    assert repr(found) == "<Partition: 3 clusters of 20, 20, 20; matched components>"


def test_of_an_unknown_number_the_most_probable_is_the_one_that_counts() -> None:
    """Component 2 is part of component 0 in 40% of draws, which is no doubt of a row, but one of the cluster."""
    trace, _ = simulate_unknown_n((0.0, 0.4, 0.6))
    found, share = trace.partition(), (trace.n_clusters == 2).mean()
    np.testing.assert_array_equal(found.labels, np.arange(60) % 3)
    np.testing.assert_array_equal(found.uncertainty, 0.0)
    np.testing.assert_allclose(found.together, [[1, 0, share], [0, 1, 0], [share, 0, 1]], atol=1e-12)
    np.testing.assert_array_equal(found.nearest[[0, 2]], [2, 0])


def test_a_component_without_rows_of_its_own_is_missing_among_the_labels() -> None:
    trace, _ = simulate(C=1, T=20, K=3)
    z = np.where(trace.assignments == 1, 0, trace.assignments)
    trace = dataclasses.replace(trace, assignments=z, n_clusters=np.full((1, 20), 2))
    found = trace.partition()
    np.testing.assert_array_equal(found.numbers, [0, 2])
    np.testing.assert_array_equal(found.sizes, [40, 20])
    assert found.probabilities.shape == (60, 4)
    np.testing.assert_array_equal(trace.partition("vi").labels, found.labels)
    ball = trace.credible_ball()
    assert (ball.loss, ball.radius) == ("vi", 0.0)
    np.testing.assert_array_equal(ball.horizontal, [found.labels])


def test_a_number_of_clusters_that_is_all_but_excluded_is_said() -> None:
    """Variation of information makes one cluster of two that are told apart in every draw, by another cut each time."""
    trace, _ = simulate(C=1, T=200, K=2)
    moved = np.random.default_rng(3).random((1, 200, 60)) < 0.3
    trace = dataclasses.replace(trace, assignments=np.where(moved, 1 - trace.assignments, trace.assignments))
    message = "partition.'vi'.: The rows fall into 1 cluster, though the posterior probability of so many is 0%. part"
    with pytest.warns(UserWarning, match=message):
        assert trace.partition("vi").n_clusters == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert trace.partition("vi").n_clusters == 1  # said once
        assert trace.partition().n_clusters == 2
    joined = dataclasses.replace(trace, assignments=np.where(moved, 1, 0).astype(np.uint8))
    with pytest.warns(UserWarning, match="is 0%: no row is owned by component 1 more often than by others"):
        assert joined.partition().n_clusters == 1


def test_clusters_of_a_search_have_the_numbers_of_components() -> None:
    """Variation of information joins components 0 and 2, which are one in most draws, and knows it as number 0."""
    trace, _ = simulate(C=1, T=50)
    z = np.where((trace.assignments == 2) & (np.arange(50) % 10 > 0)[:, None], 0, trace.assignments)
    trace = dataclasses.replace(trace, assignments=z)
    found = trace.partition("vi")
    np.testing.assert_array_equal(found.labels, np.where(np.arange(60) % 3 == 1, 1, 0))


def test_result_depends_on_partitions_alone() -> None:
    z = groups(60, 50, 3).reshape(2, 25, 60)
    expected = trace_of(z).partition("vi", threads=1)
    rng = np.random.default_rng(1)
    renamed = np.array([[rng.permutation(7)[row] for row in chain] for chain in z])
    others = {
        "threads": trace_of(z).partition("vi", threads=3),
        "names of labels": trace_of(renamed).partition("vi"),
        "one chain": trace_of(z.reshape(1, 50, 60)).partition("vi"),
        "draws twice": trace_of(np.concatenate([z, z], axis=1)).partition("vi"),
    }
    for name, other in others.items():
        assert canonical(other.labels) == canonical(expected.labels), name
        np.testing.assert_allclose(other.expected_loss, expected.expected_loss, rtol=1e-13, err_msg=name)
        np.testing.assert_allclose(other.uncertainty, expected.uncertainty, atol=1e-13, err_msg=name)
    again = trace_of(z).partition("vi", rng=np.random.default_rng(5))
    np.testing.assert_allclose(again.expected_loss, expected.expected_loss, rtol=1e-4)


def test_rows_that_are_never_separated_move_as_one() -> None:
    """Weighted rows take the other branch of the kernel: the answer is that of the same rows one by one."""
    z = np.repeat(groups(30, 40, 4), [5] + [1] * 9 + [2] * 20, axis=1)
    for loss in ("vi", "binder"):
        found = trace_of(z).partition(loss)
        np.testing.assert_allclose(found.expected_loss, mean_loss(found.labels, z, loss), atol=1e-12)
        apart = runs_on_single_rows(z, loss)
        best = min(apart(seed) for seed in range(8))
        assert found.expected_loss <= best + 1e-12


def runs_on_single_rows(z: Ints, loss: str) -> Any:
    """Expected losses of runs on the rows one by one."""
    code = LOSSES.index(loss)
    sample = collect(z[None].astype(np.uint8), None, collapse=False)
    draws = sample.draws(code)
    limit = int(sample.clusters.max())

    def run(seed: int) -> float:
        start, best = np.full(z.shape[1], -1), np.empty(z.shape[1], np.int64)
        table = _new_table(draws, limit + 1)
        return partition_search.search(np.uint64(seed), draws, code, start, limit, 10, table, best)

    return run


# --- Traces of every kind ---


@pytest.mark.parametrize(
    "kind", ["one draw", "one observation", "all in one", "all apart", "float32 fit, D = 1", "K = 1"]
)
def test_every_kind_of_trace(kind: str) -> None:
    x = np.random.default_rng(1).standard_normal(20).astype(np.float32)
    quick: dict[str, Any] = {"draws": 5, "warmup": 3, "chains": 2, "progress": False, "rng": 1}
    trace = {
        "one draw": lambda: trace_of([[2, 2, 0, 1]]),
        "one observation": lambda: trace_of([[0], [1]]),
        "all in one": lambda: trace_of(np.zeros((3, 6), int)),
        "all apart": lambda: trace_of([np.arange(6)] * 3),
        "float32 fit, D = 1": lambda: gg.fit(x, 3, **quick),
        "K = 1": lambda: gg.fit(x, 1, **quick),
    }[kind]()
    assert trace.assignments is not None
    N = trace.assignments.shape[-1]
    for loss in LOSSES:
        found = trace.partition(loss)
        ball = trace.credible_ball(0.9, found)
        assert found.labels.shape == found.uncertainty.shape == (N,)
        assert ball.inside.shape == trace.assignments.shape[:2]
        assert ball.probability >= 0.9
        if kind in ("one draw", "all in one", "all apart", "K = 1"):
            assert found.expected_loss == pytest.approx(0, abs=1e-12)
            assert canonical(found.labels) == canonical(trace.assignments[0, 0])
            np.testing.assert_allclose(found.uncertainty, 0, atol=1e-12)
            assert ball.radius == pytest.approx(0, abs=1e-12)
    assert trace.similarity().shape == (N, N)


def test_traces_of_unknown_n_from_disk_and_memory_maps(tmp_path: Any) -> None:
    X = np.random.default_rng(2).standard_normal((30, 2)) + 4 * (np.arange(30) % 2)[:, None]
    trace = gg.fit(X, draws=10, warmup=20, chains=2, rng=1, progress=False)
    expected = trace.partition()
    trace.save(tmp_path / "trace.npz")
    loaded = gg.load(tmp_path / "trace.npz")
    np.save(tmp_path / "z.npy", trace.assignments)
    mapped = dataclasses.replace(trace, assignments=np.load(tmp_path / "z.npy", mmap_mode="r"))
    for other in (loaded, mapped):
        np.testing.assert_array_equal(other.partition().labels, expected.labels)
        np.testing.assert_array_equal(other.similarity(), trace.similarity())
        assert other.credible_ball().radius == trace.credible_ball().radius


def test_without_assignments() -> None:
    trace = dataclasses.replace(trace_of([[0, 1]]), assignments=None)
    for question in (trace.partition, trace.similarity, trace.credible_ball):
        with pytest.raises(ValueError, match=r"save_assignments=False; fit again with save_assignments=True"):
            question()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"loss": "mse"}, ValueError, "loss must be 'vi', 'binder' or 'omari', got 'mse'"),
        ({"runs": 0}, ValueError, "runs must be at least 1"),
        ({"max_clusters": 3}, ValueError, "max_clusters is for the search with a loss"),
        ({"loss": "vi", "max_clusters": 0}, ValueError, "max_clusters must be at least 1"),
        ({"loss": "vi", "max_clusters": 10**9}, ValueError, "max_clusters must be smaller"),
        ({"loss": "vi", "threads": 1.5}, TypeError, "threads must be an integer"),
        ({"loss": "vi", "rng": "x"}, TypeError, "rng must be"),
    ],
)
def test_bad_requests_for_a_partition(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        trace_of([[0, 1, 0, 1]]).partition(**arguments)
