"""Rows that stand for several observations: equal in law to repeating them, and the front door's promises.

Each comparison with an enumeration lies within 4 Monte-Carlo standard errors (a right sampler fails one with
probability 6e-5), p-values are of a family-wise error rate RATE, and seeds are fixed.
"""

import dataclasses
import math
import warnings
from typing import Any

import numpy as np
import oracle
import pytest
from family_cases import Case
from harness import assert_p_values, assert_within_mcse, package_prior, read_only, some_niw
from oracle import Floats, Ints
from scipy import stats
from test_unknown_n import PRIORS, use_moves

import gibbs_gmm as gg
from gibbs_gmm import trace_arrays
from gibbs_gmm.kernels.families.generic import ball
from gibbs_gmm.kernels.sampler import counted
from gibbs_gmm.kernels.sampler.launch import DRAW, EVALUATE, WRITE, reduce_pair
from gibbs_gmm.kernels.sampler.state import Data, rows_of
from gibbs_gmm.kernels.sampler.state import observations_of as observations_of_chain
from gibbs_gmm.kernels.tile import new_workspace
from gibbs_gmm.model.families import ComponentPrior
from gibbs_gmm.model.weight_priors import WeightPrior
from gibbs_gmm.sampler.assemble import as_model, initial_state
from gibbs_gmm.sampler.buffers import new_moves
from gibbs_gmm.sampler.chain import Chain
from gibbs_gmm.sampler.recipe import Plan

RATE = 1e-3

# --- Against enumeration ---

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


@pytest.mark.parametrize(
    ("D", "moves"),
    [
        *((1, moves) for moves in MOVES),
        *(pytest.param(2, moves, marks=() if moves == "all" else pytest.mark.slow) for moves in MOVES),
    ],
)
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


# --- One pass over two clusters ---


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


# --- Exact invariance ---


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
