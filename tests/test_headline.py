"""One sentence says how many clusters there are, and it is the same wherever it is said."""

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
from made_up_traces import simulate, simulate_unknown_n

import gibbs_gmm as gg
from gibbs_gmm.posterior.headline import credible_set


def unknown(n_clusters: Any) -> gg.Trace:
    """A trace of one chain whose draws have these numbers of clusters, in a random order."""
    return simulate_unknown_n(np.random.default_rng(0).permutation(n_clusters)[None], D=1)[0]


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ({3: 100}, "3 clusters (100%)"),
        ({1: 100}, "1 cluster (100%)"),
        ({2: 1, 3: 199}, "3 clusters (more than 99%)"),
        ({3: 50, 4: 48, 5: 2}, "3 or 4 clusters (50% and 48%); tables and pictures show 3"),
        ({3: 30, 4: 48, 5: 22}, "3, 4 or 5 clusters (30%, 48% and 22%); tables and pictures show 4"),
        ({2: 50, 4: 50}, "2 or 4 clusters (50% and 50%); tables and pictures show 2"),
        ({3: 10, 4: 30, 5: 30, 6: 20, 7: 10}, "3 to 6 clusters (90% together); tables and pictures show 4"),
        ({2: 30, 4: 30, 5: 20, 9: 20}, "2, 4, 5 or 9 clusters (100% together); tables and pictures show 2"),
    ],
)
def test_unknown_numbers(counts: dict[int, int], text: str) -> None:
    trace = unknown(np.repeat(list(counts), list(counts.values())))
    assert trace.headline == text
    assert repr(trace) == f"<Trace: 1 chain x {sum(counts.values())} draws of 60 rows x 1 column: {text}>"
    assert f"{trace.summary().note} ".startswith(f"{text}. ")


def test_given_numbers() -> None:
    trace, _ = simulate(K=3)
    assert trace.headline == "3 components, as given"
    n_clusters = np.where(np.random.default_rng(0).random((4, 300)) < 0.4, 2, 3)
    share = round(100 * (n_clusters == 2).mean())
    trace = dataclasses.replace(trace, n_clusters=n_clusters)
    assert trace.headline == (
        f"3 components, as given, of which 2 or 3 own rows ({share}% and {100 - share}%); tables and pictures show 3"
    )


def test_the_set_is_the_smallest_that_holds_its_level() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        draws = rng.choice(8, size=200, p=rng.dirichlet(np.full(8, 0.7))) + 1
        numbers, p = credible_set(draws)
        assert np.isin(draws, numbers).mean() >= 0.9
        np.testing.assert_allclose(p, [(draws == n).mean() for n in numbers])
        present = np.unique(draws)
        for fewer in itertools.combinations(present, len(numbers) - 1):
            assert np.isin(draws, fewer).mean() < 0.9
