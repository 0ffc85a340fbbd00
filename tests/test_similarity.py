"""Similarities, credible balls and distances of partitions."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from partition_cases import LOSSES, canonical, slow_loss, trace_of
from test_partitions import groups, mean_loss

import gibbs_gmm as gg

# Made-up draws have any number of clusters.
pytestmark = pytest.mark.filterwarnings("ignore:partition.*The rows fall into")

# --- Similarity ---


def test_similarity_is_the_share_of_draws() -> None:
    z = np.random.default_rng(2).integers(4, size=(2, 30, 70))
    trace = trace_of(z)
    flat = z.reshape(60, 70)
    expected = (flat[:, :, None] == flat[:, None, :]).mean(0)
    np.testing.assert_allclose(trace.similarity(), expected, rtol=1e-15)
    rows = [5, 3, 60, 5]
    np.testing.assert_allclose(trace.similarity(rows), expected[np.ix_(rows, rows)], rtol=1e-15)
    pairs = [[1, 2], [2, 1], [69, 0], [4, 4]]
    np.testing.assert_allclose(trace.similarity(pairs=pairs), [expected[i, j] for i, j in pairs], rtol=1e-15)


def test_similarity_has_a_limit_and_names_the_ways_out() -> None:
    trace = trace_of(np.zeros((1, 10_001), int))
    with pytest.raises(ValueError, match=r"10,001 x 10,001 .* rows=.* pairs="):
        trace.similarity()
    assert trace.similarity(rows=[0, 10_000]).tolist() == [[1, 1], [1, 1]]
    assert trace.similarity(pairs=[(0, 10_000)]).tolist() == [1]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"rows": [0], "pairs": [[0, 1]]}, ValueError, "both given"),
        ({"rows": [0.5]}, TypeError, "rows must hold integers"),
        ({"rows": [True, False]}, TypeError, "rows must hold integers"),
        ({"rows": [[0]]}, ValueError, "rows must have shape"),
        ({"rows": [-1]}, ValueError, "rows must be between 0 and N - 1 = 3, got -1"),
        ({"pairs": [0, 1]}, ValueError, "pairs must have shape"),
        ({"pairs": [[0, 4]]}, ValueError, "pairs must be between"),
        ({"threads": 0}, ValueError, "threads must be at least 1"),
    ],
)
def test_bad_requests_for_similarities(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        trace_of([[0, 1, 0, 1]]).similarity(**arguments)


# --- The credible ball ---


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("level", [0.05, 0.5, 0.95])
def test_ball_is_the_smallest_that_holds_its_level(loss: str, level: float) -> None:
    z = groups(40, 60, 5).reshape(2, 30, 40)
    centre = trace_of(z).partition(loss)
    ball = trace_of(z).credible_ball(level, centre)
    distances = np.array([[mean_loss(centre.labels, row[None], loss) for row in chain] for chain in z])
    np.testing.assert_allclose(ball.distances, distances, atol=1e-12)
    np.testing.assert_array_equal(ball.inside, distances <= ball.radius + 1e-9)
    assert ball.probability == ball.inside.mean() >= level
    assert (distances < ball.radius - 1e-9).mean() < level  # no smaller one does
    inside = [tuple(canonical(row)) for row in z[ball.inside]]
    sizes = [max(row) + 1 for row in inside]
    for name, wanted in (("horizontal", None), ("upper_vertical", min(sizes)), ("lower_vertical", max(sizes))):
        candidates = {row for row, size in zip(inside, sizes, strict=True) if wanted in (None, size)}
        losses = {row: mean_loss(row, np.asarray(centre.labels)[None], loss) for row in candidates}
        farthest = max(losses.values())
        np.testing.assert_allclose(getattr(ball, f"{name}_distance"), farthest, atol=1e-12)
        bounds = {canonical(row) for row in getattr(ball, name)}
        assert bounds == {row for row, value in losses.items() if value > farthest - 1e-9}
    np.testing.assert_allclose(ball.horizontal_distance, ball.radius, atol=1e-9)
    assert "CredibleBall" in repr(ball)


def test_bounds_are_numbered_like_the_centre() -> None:
    z = np.array([[0, 0, 0, 0, 1, 1, 1, 2, 2]] * 8 + [[3, 3, 2, 2, 0, 0, 0, 1, 1]] * 2)
    ball = trace_of(z).credible_ball(0.95)
    np.testing.assert_array_equal(ball.partition.labels, [0, 0, 0, 0, 1, 1, 1, 2, 2])
    # Number 3 is that of a component.
    assert ball.horizontal.tolist() in ([[0, 0, 4, 4, 1, 1, 1, 2, 2]], [[4, 4, 0, 0, 1, 1, 1, 2, 2]])


def test_bad_requests_for_a_ball() -> None:
    trace = trace_of([[0, 1, 0, 1]])
    for level in (0.0, 1.0, -1):
        with pytest.raises(ValueError, match="level must be between 0 and 1"):
            trace.credible_ball(level)
    with pytest.raises(TypeError, match="partition must be a Partition"):
        trace.credible_ball(0.5, np.zeros(4))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="4 observations"):
        trace.credible_ball(0.5, trace_of([[0, 1]]).partition())


# --- Distances ---

labels_of = st.integers(1, 12).flatmap(lambda N: st.tuples(*[st.lists(st.integers(0, 4), min_size=N, max_size=N)] * 3))


@given(labels_of)
def test_vi_and_binder_are_metrics(abc: tuple[list[int], ...]) -> None:
    for loss in ("vi", "binder"):
        d = [[gg.partition_distance(x, y, loss) for y in abc] for x in abc]
        np.testing.assert_allclose(d, np.transpose(d), atol=1e-12)
        assert min(map(min, d)) >= 0
        for i, j, k in itertools.permutations(range(3)):
            assert d[i][j] <= d[i][k] + d[k][j] + 1e-12
            assert (d[i][j] < 1e-12) == (canonical(abc[i]) == canonical(abc[j]))
    assert max(gg.partition_distance(x, abc[0]) for x in abc) <= math.log2(len(abc[0])) + 1e-12


@given(labels_of)
def test_distances_are_those_of_the_definitions(abc: tuple[list[int], ...]) -> None:
    a, b, _ = abc
    for loss in LOSSES:
        np.testing.assert_allclose(gg.partition_distance(a, b, loss), slow_loss(a, b, loss), atol=1e-12)


def test_distances_of_bad_labels() -> None:
    with pytest.raises(ValueError, match="as long as each other"):
        gg.partition_distance([0, 1], [0])
    with pytest.raises(TypeError, match="b must hold integers"):
        gg.partition_distance([0, 1], [0.0, 1.0])
    with pytest.raises(ValueError, match="loss must be"):
        gg.partition_distance([0, 1], [0, 1], "VI")
