"""The pass that looks at few components for each row gives what the plain pass gives, to the last bit."""

import itertools
from typing import Any, NamedTuple

import numpy as np
import pytest
from harness import JIT, kernel_prior, package_prior, read_only, some_niw
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import Floats

from gibbs_gmm.kernels.families import generic
from gibbs_gmm.kernels.sampler import pruning
from gibbs_gmm.kernels.sampler import sweep as kernels
from gibbs_gmm.kernels.sampler.state import Data
from gibbs_gmm.kernels.tile import LOG2_E, NEGLIGIBLE, PRUNED_ROWS, lines_for, new_workspace
from gibbs_gmm.sampler.buffers import empty_state

KINDS = (
    "apart",
    "at the radius",
    "overlapping",
    "identical",
    "one wide",
    "negligible weights",
    "rows far from all",
    "far from the origin",
    "tied rows",
    "labels of no use",
)


class Problem(NamedTuple):
    """Rows, their labels before the pass, and a mixture."""

    X: Floats
    z: Any
    w: Floats
    mu: Floats
    Sigma: Floats


def problem(kind: str, N: int, D: int, K: int, seed: int) -> Problem:
    """Components of different shapes and sizes; how far they are apart, and what else is odd, depends on the kind."""
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.standard_normal((K, D, D)))[0]
    Sigma = (Q * rng.uniform(0.3, 2.0, (K, 1, D)) ** 2) @ Q.swapaxes(1, 2)
    # Radii are near 13 + sqrt(D) standard deviations: half of them are there.
    distance = {"apart": 60.0, "overlapping": 2.0, "identical": 0.0}.get(kind, 13.0)
    mu = distance * rng.standard_normal((K, D)) / np.sqrt(D)
    w = rng.dirichlet(np.full(K, 1.0))
    if kind == "one wide":
        Sigma[0] *= 1e4
    if kind == "negligible weights":
        w = np.exp(-rng.uniform(0.0, 600.0, K))
        w[0] = 0.0 if K > 1 else 1.0
        w /= w.sum()
    if kind == "far from the origin":
        mu += 10.0 ** rng.uniform(9.0, 17.0)
    z = rng.integers(K, size=N)
    X = mu[z] + np.einsum("nij,nj->ni", np.linalg.cholesky(Sigma)[z], rng.standard_normal((N, D)))
    if kind == "rows far from all":
        X *= 10.0 ** rng.choice([0.0, 2.0, 8.0, 160.0 if JIT else 9.0], (N, 1), p=[0.7, 0.2, 0.05, 0.05])
    if kind == "tied rows":
        X = X[rng.integers(1 + N // 10, size=N)]
    if kind == "labels of no use":
        z = rng.integers(K, size=N)
    return Problem(X, z, w, mu, Sigma)


def log(w: Floats) -> Floats:
    """Of weights, some of which may be 0."""
    return np.where(w > 0.0, np.log(np.maximum(w, 1e-300)), -np.inf)


class Pass(NamedTuple):
    """All that a label pass leaves."""

    labels: Any
    counts: Floats
    sums: Floats
    log_likelihood: Floats


class Ready(NamedTuple):
    """All that a pass takes."""

    data: Data
    state: Any
    work: Any
    near: Any


def ready(
    case: Problem, *, sliced: bool = False, outliers: bool = False, shards: int = 1, dtype: type = np.float64
) -> Ready:
    """A chain about to draw labels, and the radii of its components."""
    (K, D), niw = case.mu.shape, some_niw(case.mu.shape[1])
    law = np.array([1.0, 1.0, -2.0 * D, 0.0, np.log(0.05), np.log(0.95)]) if outliers else np.zeros(0)
    z = case.z.astype(np.uint16)
    state = empty_state(z, kernel_prior(niw), package_prior(niw).family, K + 1 + outliers, law, shards)
    if outliers:
        z[:: len(z) // 40 + 1] = K + 1
    W = np.sqrt(LOG2_E) * np.tril(np.linalg.inv(np.linalg.cholesky(case.Sigma)))
    log_w = np.log(np.maximum(case.w, 1e-300) * 0.9) if sliced else log(case.w)
    state.size[0], state.key[:] = K, (5, 6)
    state.log_w[:K], state.log_w[K] = log_w, np.log(0.1)
    state.components.W[:K], state.components.centre[:K, :D] = W, case.mu
    state.components.c[:K] = -np.einsum("kij,kj->ki", W, case.mu)
    state.components.log_c[:K] = LOG2_E * log_w + np.log2(np.diagonal(W, axis1=1, axis2=2)).sum(1)
    data = Data(read_only(case.X.astype(dtype)), np.zeros(D), np.ones(D))
    work = new_workspace(K + outliers, D)
    near = getattr(pruning.nearby, "py_func", pruning.nearby)(K, work)
    with np.errstate(invalid="ignore"):  # of the interpreter: compiled code does not warn
        assert generic.set_radii(state.components, K, state.log_w, sliced, near.radii)
    return Ready(data, state, work, near)


def run(own: Ready, z: Any, *, sliced: bool, pruned: bool) -> Pass:
    """A pass from these labels."""
    data, state, work, near = own
    M, shards = work.lw.shape[0], len(state.shard_log_likelihood)
    state.z[:] = z
    for array in (state.shards.n, state.shards.block, state.shard_log_likelihood, work.lw, work.top, work.acc):
        array[...] = np.nan  # nothing is left from before
    with np.errstate(over="ignore", invalid="ignore"):
        kernels.label_shards(data, state, sliced, pruned, work, near, 0, shards)
    found = state.z, state.shards.n[:, :M], state.shards.block[:, :M], state.shard_log_likelihood
    return Pass(*(array.copy() for array in found))


def assert_same_bytes(own: Ready, sliced: bool = False) -> None:
    """Of a plain pass, and of one that prunes, worth it or not."""
    z = own.state.z.copy()
    plain, pruned = (run(own, z, sliced=sliced, pruned=pruned) for pruned in (False, True))
    assert_same(plain, pruned)


def assert_same(plain: Pass, pruned: Pass) -> None:
    """Bit for bit."""
    for name, a, b in zip(Pass._fields, plain, pruned, strict=True):
        assert a.tobytes() == b.tobytes(), f"{name}: {np.count_nonzero(a != b)} of {a.size} differ"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sliced", [False, True])
@pytest.mark.parametrize("outliers", [False, True])
def test_same_bytes(kind: str, sliced: bool, outliers: bool) -> None:
    for D, K in ((1, 3), (2, 40), (5, 120), (8, 20), (16, 33), (40, 7)) if JIT else ((1, 3), (5, 6)):
        case = problem(kind, 900 if JIT else 300, D, K, seed=D)
        assert_same_bytes(ready(case, sliced=sliced, outliers=outliers), sliced)


@given(
    st.sampled_from(KINDS),
    st.integers(2, 700),
    st.integers(1, 40),
    st.integers(1, 120),
    st.integers(0, 2**32),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=200 if JIT else 3, deadline=None)
def test_same_bytes_of_any_problem(kind: str, N: int, D: int, K: int, seed: int, sliced: bool, outliers: bool) -> None:
    if not JIT:
        N, D, K = N % 200 + 2, D % 4 + 1, K % 5 + 1
    assert_same_bytes(ready(problem(kind, N, D, K, seed), sliced=sliced, outliers=outliers), sliced)


def test_same_bytes_of_single_precision_and_many_rows() -> None:
    # More rows than are put in order at once, in the second shard of two.
    case = problem("at the radius", 2 * PRUNED_ROWS + 300 if JIT else 300, 3, 9, seed=4)
    assert_same_bytes(ready(case, shards=2, dtype=np.float32))


def test_rows_so_far_from_the_origin_that_rounding_decides() -> None:
    # Seeds with which some labels differ where a row's norm is of no account.
    some = [(15.8, 106), (16.0, 66), (16.0, 356), (16.2, 270)]
    for power, seed in itertools.product((15.8, 16.0, 16.2), range(500)) if JIT else some:
        case = problem("at the radius", 4, 2, 2, seed)
        case.X[...] += 10.0**power
        case.mu[...] += 10.0**power
        assert_same_bytes(ready(case))


def test_what_is_out_of_the_question_is_not_looked_at() -> None:
    case = problem("apart", 300, 3, 4, seed=1)
    case.mu[3] += 1e4
    case.z[case.z == 3] = 0
    own = ready(case)
    plain = run(own, case.z, sliced=False, pruned=False)
    own.state.components.log_c[3] = 1e12  # whoever looks will choose it
    assert_same(plain, run(own, case.z, sliced=False, pruned=True))
    assert (run(own, case.z, sliced=False, pruned=False).labels == 3).all()


@pytest.mark.parametrize("sliced", [False, True])
def test_radii(sliced: bool) -> None:
    """At the radius of (j, k), and nearer, k is negligible in all directions; beyond it not in all, if Sigma is one."""
    D, rng = 3, np.random.default_rng(3)
    case = problem("at the radius", 2, D, 12, seed=5)
    case.Sigma[6:] = case.Sigma[6]
    own = ready(case, sliced=sliced)
    W, log_c, squared = own.state.components.W, own.state.components.log_c.copy(), own.near.radii.squared
    weights = (log_c, log_c - LOG2_E * own.state.log_w) if sliced else (log_c,)
    seen = 0
    for j, k in itertools.permutations(range(12), 2):
        radius = np.sqrt(squared[j, k])
        towards = W[j] @ (case.mu[k] - case.mu[j])
        t = np.concatenate([towards[None], rng.standard_normal((500, D))])
        t *= radius / np.linalg.norm(t, axis=1, keepdims=True)

        def log_ratio(share: float, j: int = j, k: int = k, t: Floats = t) -> Floats:
            x = case.mu[j] + share * t @ np.linalg.inv(W[j]).T
            q = [((x - case.mu[i]) @ W[i].T) ** 2 for i in (j, k)]
            return np.max([each[k] - each[j] for each in weights]) - 0.5 * (q[1].sum(1) - q[0].sum(1))

        most = max(log_ratio(1.0).max(), log_ratio(0.5).max()) if radius > 0.0 else -np.inf
        assert most < NEGLIGIBLE, f"{k} weighs 2^{most} of {j} within the radius"
        if min(j, k) >= 6 and radius > 0.0:
            assert log_ratio(1.001)[0] > NEGLIGIBLE
            seen += 1
    assert seen > 10


def test_lines() -> None:
    """Below the distance from k, and at the mean of j equal to it but for what rounding is left."""
    D, rng = 5, np.random.default_rng(4)
    own = ready(problem("at the radius", 2, D, 40, seed=6))
    W, mu, line = own.state.components.W, own.state.components.centre[:, :D], own.near.radii.line
    for j, k in itertools.permutations(range(40), 2):
        x = mu[j] + np.concatenate([np.zeros((1, D)), 10.0 * rng.standard_normal((50, D))])
        distance = np.linalg.norm((x - mu[k]) @ W[k].T, axis=1)
        bound = line[j, k, 0] + x @ line[j, k, 1:]
        assert (bound < distance).all()
        assert distance[0] - bound[0] < 2.0**-10, f"not {bound[0]} == {distance[0]} ± {2.0**-10}"


def test_lines_leave_out_what_radii_do_not() -> None:
    """A row of cluster 0 is far from its mean, but even farther from component 1."""
    case = problem("apart", 200, 2, 2, seed=1)
    case.Sigma[:], case.mu[:], case.w[:], case.z[:] = np.eye(2), [[0.0, 0.0], [40.0, 0.0]], 0.5, 0
    case.X[:] = np.random.default_rng(2).standard_normal((200, 2))
    case.X[0] = -30.0, 0.0
    own = ready(case)
    plain = run(own, case.z, sliced=False, pruned=False)
    own.state.components.W[1] = own.state.components.c[1] = 0.0  # whoever looks will choose it for the row far away
    assert_same(plain, run(own, case.z, sliced=False, pruned=True))
    assert run(own, case.z, sliced=False, pruned=False).labels[0] == 1
    own.near.radii.line[...] = 0.0  # which says that it may be anywhere
    assert run(own, case.z, sliced=False, pruned=True).labels[0] == 1


@pytest.mark.skipif(not JIT, reason="only many rows are worth it")
def test_worth_it() -> None:
    for kind, worth in (("apart", True), ("overlapping", False), ("labels of no use", False)):
        own = ready(problem(kind, 5000, 8, 20, seed=2))
        z, results = own.state.z.copy(), []
        assert pruning.prunes(own.data, own.state, False, 0, 5000, own.work, own.near) == worth
        for tags in (np.zeros(0, np.int64), np.full(5000, -1)):  # with tags, no pass prunes
            own.state.z[:] = z
            kernels.label_pass(own.data._replace(tags=tags), own.state, False, own.work, 0, 1)
            found = own.state.z, own.state.shards.n, own.state.shards.block, own.state.shard_log_likelihood
            results.append(Pass(*(array.copy() for array in found)))
        assert_same(*results)


@pytest.mark.parametrize("D", [1, 8, 50])
def test_fewer_components_than_a_workspace_is_for_have_room_in_it(D: int) -> None:
    """A chain of 200 components in 50-D has no room for lines between all, but for those of the ten that are left."""
    nearby = getattr(pruning.nearby, "py_func", pruning.nearby)
    work, least = new_workspace(200, D), len(nearby(1, new_workspace(1, D)).radii.scratch)
    for K in range(1, 201):
        radii, lines = nearby(K, work).radii, lines_for(K, D)
        assert radii.line.shape == (lines, lines, D + 1)
        assert len(radii.scratch) >= least + K - 1
