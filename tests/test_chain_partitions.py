"""Chains whose partitions differ, though the numbers that sum them up may not: seen, and said with the rows."""

import dataclasses
import time
import warnings
from typing import Any

import numpy as np
import pytest
from made_up_traces import shuffled, simulate

import gibbs_gmm as gg
from benchmarks import common
from gibbs_gmm.posterior.chain_partitions import Difference, largest_difference


def labels(*chains: Any, T: int = 40) -> Any:
    """(C, T, N) labels of chains that never move."""
    return np.repeat(np.array(chains, np.uint8)[:, None], T, axis=1)


def found(assignments: Any) -> Difference:
    difference = largest_difference(assignments)
    assert difference is not None
    return difference


def test_rows_that_some_chains_have_as_a_cluster_of_their_own() -> None:
    z = np.arange(60) % 2
    own = z.copy()
    own[[3, 9, 11]] = 2
    difference = found(labels(own, z, own, z))
    np.testing.assert_array_equal(difference.rows, [3, 9, 11])
    assert str(difference) == (
        "Chains 0 and 2 have rows 3, 9 and 11 (counted from 0) as a cluster of their own, the others do not."
    )
    own = np.where(np.arange(60) == 7, 2, z)
    assert str(found(labels(z, z, own))) == (
        "Chain 2 has row 7 (counted from 0) as a cluster of its own, the others do not."
    )


def test_rows_that_some_chains_have_in_another_cluster() -> None:
    """n+, and here even the sizes of clusters, are the same in both chains."""
    z = np.arange(60) % 3
    moved = z.copy()
    moved[[0, 3]], moved[[1, 4]] = 1, 0
    difference = found(labels(z, moved))
    assert difference.rows.tolist() in ([0, 3], [1, 4])
    (chain,), other, (first, second) = np.flatnonzero(difference.chains), difference.other, difference.rows
    assert str(difference) == (
        f"Chain {chain} has rows {first} and {second} (counted from 0) in one cluster with row {other}, the other does "
        "not."
    )
    assert (z, moved)[chain][first] == (z, moved)[chain][other]
    assert (z, moved)[1 - chain][first] != (z, moved)[1 - chain][other]


def test_many_rows_and_chains_are_counted() -> None:
    half, whole = np.arange(100) // 60, np.zeros(100)
    difference = found(labels(*[half] * 9, whole, T=20))
    np.testing.assert_array_equal(difference.rows, np.arange(60, 100))
    assert str(difference) == (
        "Chains 0, 1, 2, 3, 4, 5, 6, 7 and 1 more have rows 60, 61, 62, 63, 64, 65, 66, 67 and 32 more (counted from "
        "0) as a cluster of their own, the other does not."
    )


def test_a_small_cluster_among_very_many_rows_is_seen_in_little_time() -> None:
    rng = np.random.default_rng(1)
    z = rng.integers(0, 4, 1_000_000).astype(np.uint8)
    own = z.copy()
    few = np.sort(rng.choice(len(z), 30, replace=False))
    own[few] = 4
    begun = time.process_time()
    difference = found(np.repeat(np.stack([z, own, own])[:, None], 30, axis=1))
    assert time.process_time() - begun < 60.0  # a second or so: a square of the rows would take days
    np.testing.assert_array_equal(difference.rows, few)
    assert difference.other is None


def test_names_of_clusters_and_chance_are_no_difference() -> None:
    """Independent draws of one posterior, clusters named anew in each: none of 200 traces is taken for chains apart."""
    rng = np.random.default_rng(2)
    for C, T in [(2, 12), (4, 20), (4, 40), (3, 300)]:
        for _ in range(50):
            z = np.tile(np.arange(30) % 3, (C, T, 1))
            unsure = rng.choice(30, 6, replace=False)
            z[..., unsure] = rng.integers(0, 4, (C, T, 6))
            names = rng.permuted(np.tile(np.arange(4), (C, T, 1)), axis=-1)
            assert largest_difference(np.take_along_axis(names, z, -1)) is None
    assert largest_difference(shuffled(simulate()[0], 3)[0].assignments) is None


def test_what_cannot_be_compared() -> None:
    z = np.arange(10) % 2
    for assignments in (None, labels(z), labels(z, 0 * z, T=3), labels(0 * z, 0 * z), labels([0], [0])):
        assert largest_difference(assignments) is None


def test_chains_that_differ_in_partitions_alone_have_not_met() -> None:
    trace, _ = simulate()
    assert trace.verdict == ""
    z = trace.assignments.copy()
    z[1, :, [4, 10]] = 0
    differing = dataclasses.replace(trace, assignments=z)
    text = "have not met: they do not cluster the rows alike. Chain 1 has rows 4 and 10 (counted from 0) in one cluster"
    with pytest.warns(UserWarning, match="not met") as record:
        summary = differing.summary()
    assert text in str(record[0].message)
    assert text in summary.messages[0]
    assert "NOT MET" in differing.verdict
    assert dataclasses.replace(differing, assignments=None).verdict == ""


def test_chains_on_wine_that_each_keep_other_rows_apart_are_told() -> None:
    """Known n = 3 under a prior of which each start finds another third cluster."""
    X = common.data_set("wine")[0]
    prior = gg.NormalInverseWishart(X.mean(0), 0.05, 15.0, 0.2 * np.diag(X.var(0)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trace = gg.fit(X, 3, prior=prior, draws=200, warmup=500, thin=1, rng=1, progress=False)
    difference = trace._difference
    assert difference is not None
    z = trace.assignments
    if difference.other is None:
        size = [[np.sum(labels == labels[difference.rows[0]]) for labels in chain] for chain in z]
        here = np.mean(np.array(size) <= 1.5 * len(difference.rows), axis=1)
        assert len(difference.rows) < 60
    else:
        here = (z[..., difference.rows] == z[..., [difference.other]]).mean((1, 2))
    assert here[difference.chains].min() > here[~difference.chains].max() + 0.3
