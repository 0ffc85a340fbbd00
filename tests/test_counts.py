"""Rows that stand for several observations: equal in law to repeating them, and the front door's promises.

Each comparison with an enumeration lies within 4 Monte-Carlo standard errors (a right sampler fails one with
probability 6e-5), p-values are of a family-wise error rate RATE, and seeds are fixed.
"""

import dataclasses
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import oracle
import pytest
from harness import (
    JIT,
    assert_p_values,
    assert_same_draws,
    assert_within_mcse,
    estimate,
    package_prior,
    read_only,
    some_niw,
)
from oracle import Floats, Ints
from scipy import stats
from test_families import Case
from test_unknown_n import PRIORS, use_moves

import gibbs_gmm as gg
from benchmarks.common import data_set
from gibbs_gmm import trace_arrays
from gibbs_gmm.data import observations_of
from gibbs_gmm.kernels._jit import allocating_kernel
from gibbs_gmm.kernels.binomial import binomial
from gibbs_gmm.kernels.binomials import DRAWN, FIRST, KEY, SECOND, TRIALS, draw_binomials
from gibbs_gmm.kernels.families.generic import ball
from gibbs_gmm.kernels.random import subkey, uniform
from gibbs_gmm.kernels.sampler import counted
from gibbs_gmm.kernels.sampler.launch import DRAW, EVALUATE, WRITE, reduce_pair
from gibbs_gmm.kernels.sampler.slices_of_copies import least_of
from gibbs_gmm.kernels.sampler.state import Data, rows_of
from gibbs_gmm.kernels.sampler.state import observations_of as observations_of_chain
from gibbs_gmm.kernels.simd import bits_to_float
from gibbs_gmm.kernels.tile import SCRATCH, TILE, new_workspace
from gibbs_gmm.model.families import ComponentPrior
from gibbs_gmm.model.weight_priors import WeightPrior
from gibbs_gmm.sampler.assemble import as_model, initial_state
from gibbs_gmm.sampler.buffers import new_moves
from gibbs_gmm.sampler.chain import Chain
from gibbs_gmm.sampler.recipe import Plan

RATE = 1e-3

# --- Binomial numbers -----------------------------------------------------------------------------------------------


@allocating_kernel
def binomials(key: np.uint64, count: int, n: float, a: float, b: float) -> Floats:
    """Draws with keys of their own."""
    result = np.empty(count)
    for i in range(count):
        result[i] = binomial(subkey(key, i), n, a, b)
    return result


@allocating_kernel
def together(keys: Any, n: Floats, a: Floats, b: Floats) -> Floats:
    """Draws that are made many at a time."""
    result, S, index = np.empty(len(n)), np.empty(SCRATCH * TILE), np.zeros(TILE, np.int64)
    for first in range(0, len(n), 100):
        size = min(100, len(n) - first)
        for i in range(size):
            S[KEY + i] = bits_to_float(keys[first + i])
            S[TRIALS + i], S[FIRST + i], S[SECOND + i] = n[first + i], a[first + i], b[first + i]
        draw_binomials(size, index, S)
        for i in range(size):
            result[first + i] = S[DRAWN + i]
    return result


BINOMIALS = [
    (1, 0.3),
    (2, 0.999),
    (5, 0.5),
    (20, 0.9),
    (21, 0.5),
    (40, 0.25),
    (100, 0.05),
    (1000, 0.4),
    (10**6, 0.2),
    (10**6, 1e-6),
    (10**6, 1.0 - 1e-5),
    (10**9, 0.5),
    (10**9, 1e-9),
    (10**9, 3e-8),
    (10**12, 0.7),
]


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize(("n", "p"), BINOMIALS)
def test_binomial_numbers_have_the_binomial_law(n: int, p: float, many: bool) -> None:
    assert_p_values(binomial_p_value(n, p, many), RATE / len(BINOMIALS))


def binomial_p_value(n: int, p: float, many: bool, bug: float = 1.0) -> dict[str, float]:
    """Chi-square of numbers drawn one by one or many at a time, where the law has ``bug`` times the probability."""
    count = 100_000 if JIT else 2_000
    if many:
        keys = np.random.default_rng(n).integers(0, 2**64, count, np.uint64)
        x = together(keys, np.full(count, float(n)), np.full(count, p * bug), np.full(count, 1.0 - p * bug))
    else:
        x = binomials(np.uint64(n), count, float(n), p * bug, 1.0 - p * bug)
    law = stats.binom(n, p)
    assert ((x >= 0.0) & (x <= n) & (x == np.floor(x))).all()
    inner = np.arange(n) if n <= 60 else np.unique(law.ppf(np.linspace(0.0, 1.0, 61)[1:-1]))
    expected = count * np.diff(np.concatenate([[0.0], law.cdf(inner), [1.0]]))
    seen = np.bincount(np.searchsorted(inner, x), minlength=len(expected))
    enough = expected > 5.0  # the others are put together
    seen = np.append(seen[enough], seen[~enough].sum())
    expected = np.append(expected[enough], expected[~enough].sum())
    if expected[-1] == 0.0:
        assert seen[-1] == 0
        seen, expected = seen[:-1], expected[:-1]
    chi = float((np.square(seen - expected) / expected).sum())
    return {"chi-square": float(stats.chi2.sf(chi, len(seen) - 1))}


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize(("n", "p"), [(20, 0.3), (100, 0.2), (10**6, 0.2)])
def test_a_wrong_probability_is_caught(n: int, p: float, many: bool) -> None:
    off = 0.05 * math.sqrt(n * p * (1.0 - p)) / (n * p)  # a twentieth of a standard deviation
    assert binomial_p_value(n, p, many, 1.0 + off)["chi-square"] < RATE / len(BINOMIALS)


def test_many_binomial_numbers_are_those_of_one() -> None:
    rng, count = np.random.default_rng(3), 30_000 if JIT else 1_000
    keys = rng.integers(0, 2**64, count, np.uint64)
    n, p = np.floor(10.0 ** rng.uniform(0.0, 11.0, count)), 10.0 ** rng.uniform(-9.0, 0.0, count)
    a = np.where(rng.random(count) < 0.5, p, 1.0 - p)
    a[:4], n[4:8] = [0.0, 1e-300, 1.0, 1.0], [0.0, 1.0, 2.0, 2.0**53]
    b = 1.0 - a
    b[3] = 1e-300
    one = np.array([binomial(key, *case) for key, *case in zip(keys, n, a, b, strict=True)])
    np.testing.assert_array_equal(together(keys, n, a, b), one)


def test_binomial_numbers_at_the_ends() -> None:
    key = np.uint64(1)
    assert binomial(key, 0.0, 1.0, 2.0) == 0.0
    assert binomial(key, 7.0, 0.0, 2.0) == 0.0
    assert binomial(key, 7.0, 2.0, 0.0) == 7.0
    assert binomial(key, 2.0**53, 1e-300, 1.0) == 0.0
    assert binomial(key, 2.0**53, 1.0, 1e-300) == 2.0**53
    # With the widest n the mean is met to within its standard error: no digit is lost.
    x = binomials(key, 400, 2.0**53, 1.0, 3.0)
    error = (x - 2.0**51) / math.sqrt(2.0**53 * 3.0 / 16.0)
    assert abs(error.mean()) < 4.0 / math.sqrt(len(error))
    assert 0.7 < error.std() < 1.3


def test_the_least_of_many_slices() -> None:
    v = np.array([uniform(np.uint64(5), i) for i in range(20_000 if JIT else 500)])
    for n in (1, 7, 10**6):
        least = np.array([least_of(x, float(n)) for x in v])
        p = stats.kstest(least, lambda x, n=n: -np.expm1(n * np.log1p(-x))).pvalue
        assert_p_values({"least": float(p)}, RATE / 3)


# --- Against enumeration --------------------------------------------------------------------------------------------

ROWS = np.array([[-1.4, 0.2], [0.1, -0.7], [0.9, 0.6]])
COPIES = np.array([2, 1, 3])
MOVES = {
    "labels only": (0.0, 0.0, 0.0),
    "launches": (8.0, 0.0, 0.0),
    "recalls": (0.0, 8.0, 0.0),
    "row by row": (0.0, 0.0, 8.0),
    "all": (1.0, 1.0, 1.0),
}


class Counted:
    """A chain of rows with copies, in whatever family, whose labels are looked at after each draw."""

    def __init__(
        self, X: Floats, copies: Ints, weights: WeightPrior, prior: ComponentPrior, plan: Plan, capacity: int = 64
    ) -> None:
        data, rng = Data(read_only(X), np.zeros(X.shape[1]), np.ones(X.shape[1])), np.random.default_rng(3)
        model, alpha = as_model(prior, weights, data.loc)
        if weights.n_is_finite:
            capacity = weights.known_n or len(model.weights.log_p)
        start = weights.known_n or 2
        self.state = initial_state(rng, data, model, prior.family, alpha, start, capacity, copies=copies)
        fields = trace_arrays.fields(prior, weights.learns_concentration, save_assignments=True)
        self.chain = Chain(0, rng, data, model, prior.family, self.state, plan, fields)
        self.copies = copies

    def draws(self, rates: tuple[float, float, float], monkeypatch: pytest.MonkeyPatch) -> Ints:
        """Counts c (draws, K, N) after warm-up, with as many moves of each kind a sweep."""
        chain, tuner, seen = self.chain, self.chain.tuner, list[Ints]()
        while not chain.finished:
            if chain.sweeps_done == chain.plan.warmup:
                monkeypatch.setattr("gibbs_gmm.sampler.chain._BATCH_SECONDS", 0.0)
                tuner.launches, tuner.recalls, tuner.row_by_row = rates
            chain.advance(None)
            if chain.draws_done > len(seen):
                c, n = self.state.z.c, self.state.total.n
                assert (c.sum(0) == self.copies).all()
                t = int(self.state.size[1])
                assert (c[:t].sum(1) == n[:t]).all()
                assert not c[t:].any()
                seen.append(c[:6].copy())
        return np.array(seen)


def assert_law(c: Ints, copies: Ints, exact: oracle.Enumeration, min_ess: float) -> None:
    """Draws of counts have the law of the enumerated partitions of repeated rows."""
    N, first = int(copies.sum()), np.cumsum(copies) - copies
    sizes = c.sum(2)
    n_clusters = (sizes > 0).sum(1)

    def within(values: Any, truth: float, name: str) -> None:
        assert_within_mcse(np.asarray(values)[None], truth, min_ess=min_ess, name=name)

    for t in range(1, N + 1):
        if exact.n_clusters[t - 1] > 1e-3:
            within(n_clusters == t, exact.n_clusters[t - 1], f"p(n+ = {t})")
    within(np.square(sizes / N).sum(1), exact.mean_concentration, "concentration")
    for i in range(len(copies)):
        for j in range(i + 1):
            pairs = (c[:, :, i] * (c[:, :, j] - (i == j))).sum(1) / (copies[i] * (copies[j] - (i == j)) or 1)
            if i != j or copies[i] > 1:
                within(pairs, exact.co_clustering[first[i], first[j] + (i == j)], f"p({i}, {j})")


FEW = [pytest.param(name, marks=() if name == "recalls" else pytest.mark.slow) for name in MOVES]


@pytest.mark.parametrize("moves", MOVES)
@pytest.mark.parametrize("D", [1, 2])
def test_a_known_n(D: int, moves: str, monkeypatch: pytest.MonkeyPatch) -> None:
    X, niw = ROWS[:, :D], some_niw(D, D + 2.0)
    exact = oracle.enumerate_posterior(np.repeat(X, COPIES, axis=0), niw, oracle.Finite(3, 0.7))
    chain = Counted(X, COPIES, gg.FiniteMixture(3, 0.7), package_prior(niw), Plan(1000, 4000, 8))
    assert_law(chain.draws(MOVES[moves], monkeypatch), COPIES, exact, 1500)


@pytest.mark.parametrize("moves", FEW)
@pytest.mark.parametrize("name", PRIORS)
def test_every_weight_prior(name: str, moves: str, monkeypatch: pytest.MonkeyPatch) -> None:
    weights, truth = PRIORS[name]
    niw = some_niw(1, 3.0)
    exact = oracle.enumerate_posterior(np.repeat(ROWS[:, :1], COPIES, axis=0), niw, truth)
    chain = Counted(ROWS[:, :1], COPIES, weights, package_prior(niw), Plan(1000, 4000, 12))
    assert_law(chain.draws(MOVES[moves], monkeypatch), COPIES, exact, 1500)


@pytest.mark.parametrize(
    "moves", ["launches", *(pytest.param(name, marks=pytest.mark.slow) for name in ("row by row", "all"))]
)
@pytest.mark.parametrize("kind", ["diag", "spherical", "tied"])
def test_every_family(kind: str, moves: str, monkeypatch: pytest.MonkeyPatch) -> None:
    repeated, truth = np.repeat(ROWS, COPIES, axis=0), oracle.Finite(3, 0.7)
    if kind == "tied":
        niw = some_niw(2, 3.5)
        prior: ComponentPrior = dataclasses.replace(package_prior(niw), covariance_type="tied")
        exact = oracle.enumerate_posterior(repeated, niw, truth, tied=True)
    else:
        case = Case(kind, 2, np.zeros(2))
        prior = case.package()
        with monkeypatch.context() as patch:
            patch.setattr(oracle, "log_marginal", lambda X, niw: case.log_marginal(X))
            exact = oracle.enumerate_posterior(repeated, case.niw, truth)
    chain = Counted(ROWS, COPIES, gg.FiniteMixture(3, 0.7), prior, Plan(1000, 4000, 8))
    assert_law(chain.draws(MOVES[moves], monkeypatch), COPIES, exact, 1500)


def test_recalls_of_rows_that_are_there_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    # Two clusters of copies of one row lean alike: neither is side 0, whatever rounding says.
    weights, truth = PRIORS["static, 0.6"]
    repeated, niw = np.repeat(ROWS[:, :1], COPIES, axis=0), some_niw(1, 3.0)
    use_moves(monkeypatch, 0.0, 8.0, 0.0)
    settings = {"draws": 6000, "warmup": 500, "thin": 12, "rng": 5, "threads": 1, "progress": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        trace = gg.fit(repeated, weights, prior=package_prior(niw), **settings)
    exact = oracle.enumerate_posterior(repeated, niw, truth)
    for t in (1, 2, 3):
        assert_within_mcse(trace.n_clusters == t, exact.n_clusters[t - 1], min_ess=10_000, name=f"p(n+ = {t})")


# --- One pass over two clusters -------------------------------------------------------------------------------------


@pytest.mark.parametrize("anchors", [(-1, -1), (0, 2), (2, 2)])
def test_sides_have_the_probability_of_the_labels_of_copies(anchors: tuple[int, int]) -> None:
    # A product over copies, each with a label: no binomial coefficients, and none of the anchors, which have no choice.
    niw, scale = some_niw(2, 4.0), np.ones(2)
    prior, data = package_prior(niw), Data(read_only(ROWS), np.zeros(2), scale)
    model, _ = as_model(prior, gg.FiniteMixture(3, 0.7), data.loc)
    state = initial_state(np.random.default_rng(0), data, model, prior.family, 1.0, 3, 3, copies=np.array([2, 4, 5]))
    moves, work, z = new_moves(2, prior.family, 3, 1), new_workspace(2, 2), state.z
    pair = moves.pair
    z.c[:] = [[1, 3, 1], [1, 1, 3], [0, 0, 1]]
    centres = ROWS[[0, 2]]
    for k in range(2):
        ball(pair.components, k, np.pad(centres[k], (0, 6)), scale)
    free = z.c[:2].T.astype(float)
    for side, row in enumerate(anchors):
        if row >= 0:
            free[row, side] -= 1.0
    log2_density = -0.5 * np.square(ROWS[:, None] - centres).sum(2)  # a ball's is in bits
    log_r = math.log(2.0) * (log2_density - np.logaddexp2(*log2_density.T)[:, None])
    pair.task[:] = EVALUATE, 0, 1, *anchors
    counted.pair_pass(data, z, pair, work, 0, 1)
    assert math.isclose(reduce_pair(pair, moves.groups), (free * log_r).sum(), rel_tol=1e-12)
    np.testing.assert_array_equal(moves.groups.n, [5, 5])
    seen = np.zeros(2)
    for key in range(1, 400):
        pair.task[0], pair.key[0] = DRAW, key
        counted.pair_pass(data, z, pair, work, 0, 1)
        log_q, sizes = reduce_pair(pair, moves.groups), moves.groups.n.copy()
        seen += sizes / 399
        if key == 1:
            before = z.c.copy()
            pair.task[0] = WRITE
            counted.pair_pass(data, z, pair, work, 0, 1)  # the same sides again
            drawn = z.c[:2].T.astype(float)
            np.testing.assert_array_equal(drawn.sum(0), sizes)
            np.testing.assert_array_equal(z.c.sum(0), before.sum(0))
            for side, row in enumerate(anchors):
                if row >= 0:
                    drawn[row, side] -= 1.0
            assert (drawn >= 0.0).all()
            assert math.isclose(log_q, (drawn * log_r).sum(), rel_tol=1e-12)
            z.c[:] = before
    r, n = np.exp(log_r), free.sum(1)
    expected, error = (n[:, None] * r).sum(0), math.sqrt((n * r.prod(1)).sum() / 399)
    assert np.abs(seen - expected - [anchors[0] >= 0, anchors[1] >= 0]).max() < 4.0 * error


def test_anchors_are_observations_each_as_likely() -> None:
    c = np.array([[1, 3, 1], [1, 1, 3], [0, 0, 1]])
    z = counted.Copies(c.copy(), np.concatenate([[0], np.cumsum(c.sum(0))]))
    assert (observations_of_chain(z), rows_of(z)) == (11, 3)
    rows, labels = (np.array([of(z, i) for i in range(11)]) for of in (counted.row, counted.label))
    np.testing.assert_array_equal(rows, np.repeat([0, 1, 2], [2, 4, 5]))
    seen = np.zeros_like(c)
    np.add.at(seen, (labels, rows), 1)
    np.testing.assert_array_equal(seen, c)
    rng, count, p = np.random.default_rng(4), 4000, {}
    for i, same in ((1, True), (1, False), (5, True), (8, False), (10, False)):
        allowed = (labels == labels[i]) == same
        allowed[i] = False
        drawn = [counted.partner(rng, z, i, labels[i], same, -1) for _ in range(count)]
        often = np.bincount(drawn, minlength=11)
        assert often[~allowed].sum() == 0
        p[f"{i}, {same}"] = float(stats.chisquare(often[allowed]).pvalue)
    assert_p_values(p, RATE)


# --- Exact invariance -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moves", ["labels only", "launches", "row by row"])
def test_sweeps_leave_the_posterior_invariant(moves: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Partitions drawn from the enumerated posterior are still from it after a sweep: replicates are independent.
    niw, K, replicates = some_niw(1, 3.0), 3, 3000
    X, rng = ROWS[:, :1], np.random.default_rng(17)
    exact = oracle.enumerate_posterior(np.repeat(X, COPIES, axis=0), niw, oracle.Finite(K, 0.7))
    row = np.repeat(np.arange(len(COPIES)), COPIES)
    chain = Counted(X, COPIES, gg.FiniteMixture(K, 0.7), package_prior(niw), Plan(200, 1, 1)).chain
    while chain.sweeps_done < 200:
        chain.advance(None)
    chain.tuner.launches, chain.tuner.recalls, chain.tuner.row_by_row = MOVES[moves]
    state, family = chain.state, package_prior(niw).family

    def table(c: Ints) -> tuple[tuple[int, ...], ...]:
        return tuple(sorted(map(tuple, c[c.sum(1) > 0].tolist())))

    before, after = [], []
    for z in exact.partitions[rng.choice(len(exact.partitions), replicates, p=exact.probability)]:
        state.z.c[...] = 0
        np.add.at(state.z.c, (z, row), 1)
        before.append(table(state.z.c.copy()))
        t = int(z.max()) + 1
        state.size[:] = K, t
        state.total.n[:] = 0.0
        for k in range(t):
            own = X[row[z == k]]
            state.total.n[k] = len(own)
            state.components.centre[k, :1] = own.mean(0)
            state.total.block[k] = family.block_of(own - own.mean(0))
        chain.sweeps_done = 200
        chain.advance(None)
        after.append(table(state.z.c.copy()))
    expected: dict[tuple[tuple[int, ...], ...], float] = {}
    for z, p in zip(exact.partitions, exact.probability, strict=True):
        c = np.zeros((6, 3), np.int64)
        np.add.at(c, (z, row), 1)
        expected[table(c)] = expected.get(table(c), 0.0) + replicates * p
    often = [key for key, value in expected.items() if value > 5.0]
    for name, seen in (("before", before), ("after", after)):
        observed = np.array([seen.count(key) for key in often] + [0])
        wanted = np.array([expected[key] for key in often] + [0.0])
        observed[-1], wanted[-1] = replicates - observed.sum(), replicates - wanted.sum()
        chi = float((np.square(observed - wanted) / wanted).sum())
        assert_p_values({name: float(stats.chi2.sf(chi, len(wanted) - 1))}, RATE / 6)


# --- fit() ----------------------------------------------------------------------------------------------------------

SETTINGS: dict[str, Any] = {"draws": 40, "warmup": 200, "chains": 2, "rng": 3, "threads": 1, "progress": False}


def folded(seed: int = 1, N: int = 400) -> tuple[Floats, Ints]:
    """Distinct rows of two rounded kinds in the plane, and how often each is there."""
    rng = np.random.default_rng(seed)
    X = np.round(4.0 * (rng.standard_normal((N, 2)) + 5.0 * (np.arange(N) % 2)[:, None])) / 4.0
    rows, counts = np.unique(X, axis=0, return_counts=True)
    return rows, counts


def test_statistics_and_default_priors_are_those_of_repeated_rows() -> None:
    X, counts = folded()
    ours, theirs = observations_of(X, counts), observations_of(np.repeat(X, counts, axis=0))
    np.testing.assert_allclose(ours.loc, theirs.loc, rtol=1e-13)
    np.testing.assert_allclose(ours.scale, theirs.scale, rtol=1e-13)
    np.testing.assert_array_equal(ours.sample, theirs.sample)
    for prior in (gg.NormalInverseWishart, gg.NormalInverseGamma):
        a, b = prior.from_data(X, counts=counts), prior.from_data(np.repeat(X, counts, axis=0))
        np.testing.assert_allclose(a.as_kernel(np.zeros(2)).scalars, b.as_kernel(np.zeros(2)).scalars, rtol=1e-12)


def test_counts_of_one_change_no_byte_and_of_zero_are_absent() -> None:
    X, _ = folded()
    plain = gg.fit(X, 2, **SETTINGS)
    ones = gg.fit(X, 2, counts=np.ones(len(X)), **SETTINGS)
    assert_same_draws(plain, ones)
    assert ones.counts is None
    more = np.vstack([X[:1] + 100.0, X, np.full((2, 2), np.nan)])
    absent = np.concatenate([[0], np.ones(len(X), np.int64), [0, 0]])
    trace = gg.fit(more, 2, counts=absent, **SETTINGS)
    assert_same_draws(plain, trace)
    np.testing.assert_array_equal(trace.counts, absent)
    assert trace.n_rows == len(X) == trace.assignments.shape[2]
    assert trace.settings["n_observations"] == len(X)


def test_threads_folders_and_files_change_no_byte(tmp_path: Path) -> None:
    X, counts = folded()
    trace = gg.fit(X, counts=counts, **SETTINGS)
    assert_same_draws(trace, gg.fit(X, counts=counts.astype(float).tolist(), **{**SETTINGS, "threads": 2}))
    gg.fit(X, counts=counts, checkpoint=tmp_path / "run", **{**SETTINGS, "draws": 15})
    resumed = gg.resume(tmp_path / "run", draws=40, progress=False)
    assert_same_draws(trace, resumed)
    np.testing.assert_array_equal(resumed.counts, counts)
    other = counts.copy()
    other[:2] += [1, -1] if counts[1] > 1 else [1, 0]
    with pytest.raises(ValueError, match="other counts of the same rows"):
        gg.fit(X, counts=other, checkpoint=tmp_path / "run", **SETTINGS)
    trace.save(tmp_path / "trace.npz")
    loaded = gg.load(tmp_path / "trace.npz")
    assert_same_draws(trace, loaded)
    np.testing.assert_array_equal(loaded.counts, counts)
    assert f"{counts.sum()} observations in {len(X)} rows" in repr(loaded)


def test_shards_of_many_rows_are_the_same_on_any_number_of_threads() -> None:
    N = 40_000
    X = np.random.default_rng(1).standard_normal((N, 2)) + 6.0 * (np.arange(N) % 2)[:, None]
    counts = 1 + np.arange(N) % 5
    settings = {**SETTINGS, "draws": 4, "warmup": 20, "chains": 1}
    for weights in (2, gg.DirichletProcess()):
        one, two = (gg.fit(X, weights, counts=counts, **{**settings, "threads": n}) for n in (1, 2))
        assert_same_draws(one, two)


def test_the_log_likelihood_weighs_rows_by_their_counts() -> None:
    X, counts = folded()
    trace = gg.fit(X, 2, counts=counts, resolution=0.0, **SETTINGS)
    pointwise = trace.pointwise_log_density(X)
    np.testing.assert_allclose(trace.log_likelihood, pointwise @ counts, rtol=1e-10)
    partition = trace.partition()
    assert partition.sizes.sum() == counts.sum()
    assert np.abs(partition.sizes - 200).max() <= 3


def test_a_billion_observations() -> None:
    edges = np.linspace(-8.0, 8.0, 161)
    centres = 0.5 * (edges[1:] + edges[:-1])
    shares = 0.3 * np.diff(stats.norm(-2.0, 1.0).cdf(edges)) + 0.7 * np.diff(stats.norm(2.0, 0.8).cdf(edges))
    counts = np.round(1e9 * shares).astype(np.int64)
    trace = gg.fit(centres, 2, counts=counts, **SETTINGS)
    w, mu = trace.weights, trace.means[..., 0]
    order = np.argsort(mu, axis=-1)
    w, mu = (np.take_along_axis(array, order, -1)[:, -1].mean(0) for array in (w, mu))
    sigma = np.sqrt(np.take_along_axis(trace.covariances[..., 0, 0], order, -1)[:, -1].mean(0))
    np.testing.assert_allclose(w, [0.3, 0.7], atol=1e-3)
    np.testing.assert_allclose(mu, [-2.0, 2.0], atol=1e-2)
    np.testing.assert_allclose(sigma, [1.0, 0.8], atol=1e-2)


def test_a_fit_of_folded_rows_agrees_with_that_of_repeated_ones() -> None:
    iris = data_set("iris")[0]
    X, counts = np.unique(np.round(5.0 * iris) / 5.0, axis=0, return_counts=True)
    repeated = np.repeat(X, counts, axis=0)
    prior = gg.NormalInverseWishart(iris.mean(0), 0.01, 6, np.cov(iris.T) / 3**0.5, resolution=0.2)
    weights = gg.MixtureOfFiniteMixtures(stats.randint(1, 6), 1.0, dynamic=False)
    settings = {"draws": 3000, "warmup": 1500, "thin": 4, "rng": 4, "threads": 1, "progress": False, "prior": prior}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        ours, theirs = gg.fit(X, weights, counts=counts, **settings), gg.fit(repeated, weights, **settings)
    sums = {
        "log likelihood": lambda trace: trace.log_likelihood,
        "largest weight": lambda trace: np.nanmax(trace.weights, axis=-1),
        **{f"p(n+ = {t})": lambda trace, t=t: trace.n_clusters == t for t in (2, 3)},
        **{f"p(n = {n})": lambda trace, n=n: trace.n_components == n for n in (2, 3, 4)},
    }
    for name, of in sums.items():
        a, b = estimate(of(ours)), estimate(of(theirs))
        assert min(a.ess, b.ess) > 300, name
        assert abs(a.mean - b.mean) < 4.0 * math.hypot(a.se, b.se), (name, a, b)


# --- What is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "kind", "message"),
    [
        ([1.5] * 6, ValueError, "whole numbers of observations, got 1.5 in row 0: round them, or multiply"),
        ([1, 2, -1, 1, 1, 1], ValueError, "counts must be 0 or more, got -1 in row 2"),
        ([1, np.nan, 1, 1, 1, 1], ValueError, "counts must be 0 or more, got NaN in row 1"),
        ([1, np.inf, 1, 1, 1, 1], ValueError, "got an infinite value in row 1"),
        ([1, 2], ValueError, r"counts must have shape \(6,\), one for each row of X, got \(2,\)"),
        (2, ValueError, r"counts must have shape \(6,\)"),
        ([0] * 6, ValueError, "counts are all zero"),
        ([0, 1, 0, 0, 0, 0], ValueError, "at least 2 observations, got 1"),
        ([2**52] * 6, ValueError, r"at most 2\^53"),
        (["a"] * 6, TypeError, "counts must hold whole numbers"),
        ([True] * 6, TypeError, "counts must hold whole numbers"),
        (np.ma.masked_array([1] * 6, mask=[0, 0, 1, 0, 0, 0]), ValueError, "0 or more, got NaN in row 2"),
        ({0: 1}, TypeError, "counts must hold whole numbers"),
    ],
)
def test_bad_counts_are_named(counts: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        gg.fit(np.arange(12.0).reshape(6, 2), 2, counts=counts, progress=False)


def test_other_names_for_counts() -> None:
    with pytest.raises(TypeError, match=r"'sample_weight' \(did you mean counts\?\)"):
        gg.fit(np.arange(12.0).reshape(6, 2), 2, sample_weight=[1] * 6)


def test_what_a_trace_with_counts_cannot_say() -> None:
    X, counts = folded()
    trace = gg.fit(X, 2, counts=counts, **SETTINGS)
    with pytest.raises(ValueError, match="with counts cannot be checked"):
        trace.check(X)


def test_repeated_rows_are_meant() -> None:
    rng = np.random.default_rng(2)
    X, counts = rng.standard_normal((60, 2)), np.full(60, 3)
    with pytest.warns(UserWarning, match="repeated rows"):
        gg.fit(np.repeat(X, counts, axis=0), 1, **{**SETTINGS, "draws": 2, "warmup": 2})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gg.fit(X, 1, counts=counts, **{**SETTINGS, "draws": 2, "warmup": 2})
