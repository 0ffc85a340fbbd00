"""What moves that split and merge clusters share, whatever proposes the sides.

A move chooses a kind and one or two clusters, weighs the partition as it is, merges two clusters if it is to, and is
refused early where even a proposal of probability 1 would not save it; sides are proposed, the partition that would be
is weighed, and the move is carried out or not. The acceptance ratio is

    [p(C', n') / p(C, n)] [prod m(Y') / prod m(Y)] [p(choosing the reverse) / p(choosing the move)] [q_before / q]

with q the probability of the sides that are drawn, and q_before that with which the current sides would have been. The
probabilities of choosing are below, beside each other.

The first clusters may be tagged: of kinds some of whose rows are known. These rows are on the side of their cluster,
whatever the move. Two tagged clusters are never merged; a tagged one stays so when it is split, or another is merged
into it. Where anchors are drawn, the first lies in the tagged cluster before and after. A choice of anchors for which
this is not so is no move; then a move and its reverse are chosen with the probabilities that they have without tags.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from gibbs_gmm.kernels._jit import kernel, step
from gibbs_gmm.kernels._records import by_address
from gibbs_gmm.kernels.families.generic import Statistics, copy_cluster, keep, log_marginals, merge
from gibbs_gmm.kernels.sampler.launch import ROW_0, ROW_1, Pair
from gibbs_gmm.kernels.sampler.partition_prior import PROCESS, log_partition
from gibbs_gmm.kernels.sampler.rows import Rows
from gibbs_gmm.kernels.sampler.state import (
    N_CLUSTERS,
    N_COMPONENTS,
    Data,
    Model,
    State,
    n_observations,
    n_outliers,
    outlier_label,
    room,
)
from gibbs_gmm.kernels.types import FloatArray, IntArray

SPLIT, JOIN, RESPLIT, NONE = 0, 1, 2, 3
"""Kinds of moves: split a cluster, merge two, or merge two and split them again; or no move."""

# How often each kind is tried: with anchors among all rows, from the library, and row by row. A split is undone by a
# merge and a re-split by a re-split, so the ratio of the first two enters the acceptance ratios, and nothing else.
_SPLIT_ANCHORED, _JOIN_ANCHORED = 0.5, 0.25
_SPLIT_LEARNED, _JOIN_LEARNED = 0.45, 0.45
_SPLIT_FEW, _JOIN_FEW = 0.4, 0.4
_SPLIT_SEEDED = 0.5  # and as many merges

_LEARNED_SEEDS = 0.8
"""How often a seed is one of those that were kept."""

_REMEMBER_PAIR = 0.1
"""How often a collecting move keeps the components of two neighbouring clusters as a launch."""


@by_address
class Library(NamedTuple):
    """What accepted moves have taught, collected during warm-up and frozen after it: launches of splits, and seeds.

    components: of launch m in places 2 m and 2 m + 1; mean (L, D): of the cluster that was split; score (L,) scratch;
    collected (1,): how many were ever kept, the latest L of which are here. seeds (S,): rows that small clusters were
    grown from or given up at; sown (1,): how many were ever kept.
    """

    components: Any
    mean: FloatArray
    score: FloatArray
    collected: IntArray
    seeds: IntArray
    sown: IntArray


@by_address
class Moves(NamedTuple):
    """What moves need besides the state of their chain.

    pair, groups: the launch at hand and the statistics of its sides. union (1 cluster), union_centre (1, P). sizes
    (capacity + 1,); mean (D,) and scratch, of the family. counts (4, 3, 2): proposed and accepted splits, merges,
    re-splits, by launches, row by row, from seeds and by searches. rows_read (1,): rows that passes have read, the
    measure of cost.
    """

    pair: Pair
    groups: Statistics
    union: Statistics
    union_centre: FloatArray
    sizes: FloatArray
    mean: FloatArray
    scratch: Any
    counts: IntArray
    rows_read: IntArray
    library: Library


class Choice(NamedTuple):
    """A kind, and clusters a and b; b is the number of the new cluster of a split."""

    kind: int
    a: int
    b: int


# --- Choosing -------------------------------------------------------------------------------------------------------


@kernel
def _n_step(model: Model) -> int:
    """By how much n rises with a split and falls with a merge: unknown n keeps the number of empty components."""
    return 0 if model.weights.known or model.weights.kind == PROCESS else 1


@kernel
def may_split(model: Model, state: State) -> bool:
    """Whether the prior, and the room there is, allow one more cluster."""
    t, most = state.size[N_CLUSTERS], room(state)
    if t + 1 >= most:
        return t + 1 == most and model.weights.known
    if model.weights.kind == PROCESS:
        return True
    after = state.size[N_COMPONENTS] + _n_step(model)
    return bool(t + 1 <= after < model.weights.log_p.shape[0] and model.weights.log_p[after] > -np.inf)


@kernel
def _kind(u: float, split: float, join: float) -> int:
    """SPLIT, JOIN or RESPLIT with these probabilities, for u uniform."""
    return SPLIT if u < split else (JOIN if u < split + join else RESPLIT)


@kernel
def _pair_of_clusters(rng: np.random.Generator, t: int) -> tuple[int, int]:
    """Two different clusters of t, in random order; of t = 1, twice the first."""
    a = int(rng.random() * t)
    b = int(rng.random() * (t - 1))
    return a, b + (1 if b >= a else 0)


@kernel
def ordered(model: Model, choice: Choice) -> bool:
    """Whether cluster a is the tagged one, if one of two is, and the two may be merged, if they are to be."""
    a, b, tagged = choice.a, choice.b, model.weights.tagged
    return b >= tagged or (choice.kind == RESPLIT and a < tagged)


@kernel
def tagged_first(model: Model, choice: Choice) -> Choice:
    """Two clusters that are to be merged, the one that stays in its place as a."""
    if choice.b < model.weights.tagged:
        return Choice(choice.kind, choice.b, choice.a)
    return choice


@step
def choose_anchored(
    rng: np.random.Generator, u: float, data: Data, model: Model, state: State, task: IntArray, rows: Rows
) -> Choice:
    """Clusters by two anchors, whose rows ``task`` takes: i among all observations, and j, equally likely, among the
    others in i's cluster, which is to be split, or among those outside. An outlier is in no cluster.
    """
    N, t = n_observations(state) + n_outliers(state), state.size[N_CLUSTERS]
    kind, outlier = _kind(u, _SPLIT_ANCHORED, _JOIN_ANCHORED), outlier_label(state)
    i = int(rng.random() * N)
    a = rows.label(state.z, i)
    if a == outlier or (kind == SPLIT and state.total.n[a] < 2.0) or (kind != SPLIT and t < 2):
        return Choice(NONE, a, a)
    j = rows.partner(rng, state.z, i, a, kind == SPLIT, outlier)
    task[ROW_0], task[ROW_1] = rows.row(state.z, i), rows.row(state.z, j)
    if kind != SPLIT:
        choice = Choice(kind, a, rows.label(state.z, j))
        return choice if ordered(model, choice) else Choice(NONE, a, choice.b)
    if a < model.weights.tagged and data.tags[j] >= 0:
        return Choice(NONE, a, t)
    return Choice(kind if may_split(model, state) else NONE, a, t)


@kernel
def log_choice_anchored(kind: int, state: State, n_a: float, n_b: float, n_0: float) -> float:
    """log of the probability of choosing the reverse move, over that of choosing this one.

    Split: P_split / (N (n - 1)); the others: P_join / (N (N - n_i)), n_i the size of the cluster of i; the second N
    without outliers. n_a, n_b: sizes as they are (n_b = 0 for a split); n_0: of the side of i that would be.
    """
    N, n = float(n_observations(state)), n_a + n_b
    if kind == SPLIT:
        return math.log(_JOIN_ANCHORED / _SPLIT_ANCHORED) + math.log((n - 1.0) / (N - n_0))
    if kind == JOIN:
        return math.log(_SPLIT_ANCHORED / _JOIN_ANCHORED) + math.log((N - n_a) / (n - 1.0))
    return math.log((N - n_a) / (N - n_0))


@kernel
def choose_learned(rng: np.random.Generator, u: float, merge_only: bool, model: Model, state: State) -> Choice:
    """A cluster at random, to be split, or a pair, in random order."""
    t, tagged = state.size[N_CLUSTERS], model.weights.tagged
    kind = JOIN if merge_only else _kind(u, _SPLIT_LEARNED, _JOIN_LEARNED)
    if t < 2 and kind != SPLIT:
        return Choice(NONE, 0, 0)
    a, b = _pair_of_clusters(rng, t)
    if kind != SPLIT:
        return Choice(NONE if kind == JOIN and a < tagged and b < tagged else kind, a, b)
    return Choice(kind if state.total.n[a] >= 2.0 and may_split(model, state) else NONE, a, t)


@kernel
def log_choice_learned(kind: int, t: int) -> float:
    """As :func:`log_choice_anchored`: of t clusters, a split has P_split / t, and a merge P_join 2 / (t (t - 1))."""
    if kind == SPLIT:
        return math.log(_JOIN_LEARNED / _SPLIT_LEARNED * 2.0 / (t + 1.0))
    return math.log(_SPLIT_LEARNED / _JOIN_LEARNED * t / 2.0) if kind == JOIN else 0.0


@kernel
def choose_few(rng: np.random.Generator, u: float, model: Model, state: State) -> Choice:
    """A cluster at random, to be split, or an ordered pair; anchors are drawn in them later."""
    kind, t = _kind(u, _SPLIT_FEW, _JOIN_FEW), state.size[N_CLUSTERS]
    a = int(rng.random() * t)
    if kind == SPLIT:
        return Choice(kind if state.total.n[a] >= 2.0 and may_split(model, state) else NONE, a, t)
    if t < 2:
        return Choice(NONE, a, a)
    b = int(rng.random() * (t - 1))
    choice = Choice(kind, a, b + (1 if b >= a else 0))
    return choice if ordered(model, choice) else Choice(NONE, a, b)


@kernel
def log_choice_few(kind: int, t: int, n_a: float, n_b: float, n_0: float, n_1: float) -> float:
    """As :func:`log_choice_anchored`: a split has P_split / (t n (n - 1)), its ordered pair of anchors included, and a
    merge or re-split P_join / (t (t - 1) n_a n_b). n_0, n_1: the sides that would be.
    """
    n = n_a + n_b
    if kind == SPLIT:
        return math.log(_JOIN_FEW / _SPLIT_FEW * n * (n - 1.0) / ((t + 1.0) * n_0 * n_1))
    if kind == JOIN:
        return -math.log(_JOIN_FEW / _SPLIT_FEW * n * (n - 1.0) / (t * n_a * n_b))
    return math.log(n_a * n_b / (n_0 * n_1))


@step
def choose_seeded(
    rng: np.random.Generator, u: float, model: Model, state: State, library: Library, rows: Rows
) -> tuple[Choice, int]:
    """A seed among all rows, by a law that no move changes, and clusters: that of the seed is to be split, or to join
    another, which is chosen at random.
    """
    N, t = n_observations(state), state.size[N_CLUSTERS]
    known = min(library.sown[0], library.seeds.shape[0])
    seed = int(rng.random() * N)
    if known > 0 and rng.random() < _LEARNED_SEEDS:
        seed = library.seeds[int(rng.random() * known)]
    b = rows.label(state.z, seed)
    if u < _SPLIT_SEEDED:
        return Choice(SPLIT if state.total.n[b] >= 2.0 and may_split(model, state) else NONE, b, t), seed
    if t == 1:
        return Choice(NONE, b, b), seed
    a = int(rng.random() * (t - 1))
    return Choice(JOIN, a + (1 if a >= b else 0), b), seed


@kernel
def log_choice_seeded(kind: int, t: int) -> float:
    """As :func:`log_choice_anchored`: of t clusters, a split has p(seed) / 2, and a merge p(seed) / (2 (t - 1))."""
    return -math.log(float(t)) if kind == SPLIT else math.log(t - 1.0)


@kernel
def sow(library: Library, seed: int) -> None:
    """Keep a seed; when there is no room, the oldest makes some."""
    library.seeds[library.sown[0] % library.seeds.shape[0]] = seed
    library.sown[0] += 1


# --- Weighing -------------------------------------------------------------------------------------------------------


@kernel
def log_partition_of(model: Model, state: State, n: int, t: int, moves: Moves) -> float:
    """log p(C, n) of the first t of ``moves.sizes``."""
    return log_partition(model.weights, state.alpha[0], n_observations(state), n, t, moves.sizes)


@kernel
def size_after(model: Model, state: State, kind: int) -> tuple[int, int]:
    """n and t after a move of this kind."""
    n, t = state.size[N_COMPONENTS], state.size[N_CLUSTERS]
    if kind == SPLIT:
        return n + _n_step(model), t + 1
    return (n - _n_step(model), t - 1) if kind == JOIN else (n, t)


@kernel
def log_before(model: Model, state: State, moves: Moves, choice: Choice) -> float:
    """log p(C, n) and the log marginals of the clusters that the move is about. Fills ``moves.sizes``."""
    total, centre, kind = state.total, state.components.centre, choice.kind
    n, t = state.size[N_COMPONENTS], state.size[N_CLUSTERS]
    for k in range(t):
        moves.sizes[k] = total.n[k]
    result = log_partition_of(model, state, n, t, moves)
    return result + log_marginals(
        state.prior, total, choice.a, -1 if kind == SPLIT else choice.b, centre, moves.scratch
    )


@kernel
def log_merged(model: Model, state: State, moves: Moves, choice: Choice) -> float:
    """The same after clusters a and b are merged: into ``moves.union``, with the last cluster in place of b."""
    a, b, t = choice.a, choice.b, state.size[N_CLUSTERS]
    first = 0 * len(moves.sizes)
    merge(state.prior, state.total, a, b, state.components.centre, moves.union, moves.union_centre[0])
    moves.sizes[a] = moves.union.n[0]
    moves.sizes[b] = moves.sizes[t - 1]
    n, t = size_after(model, state, JOIN)
    result = log_marginals(state.prior, moves.union, first, first - 1, moves.union_centre, moves.scratch)
    return result + log_partition_of(model, state, n, t, moves)


@kernel
def log_sizes_after(model: Model, state: State, moves: Moves, choice: Choice, n_0: float, n_1: float) -> float:
    """log p(C, n) once clusters a and b are sides of these sizes."""
    moves.sizes[choice.a], moves.sizes[choice.b] = n_0, n_1
    n, t = size_after(model, state, choice.kind)
    return log_partition_of(model, state, n, t, moves)


# --- Carrying out ---------------------------------------------------------------------------------------------------


@kernel
def settle(model: Model, state: State, moves: Moves, method: int, kind: int) -> None:
    """Count an accepted move, by launches (0), row by row (1), from a seed (2) or by a search (3), and set n
    and t.
    """
    n, t = size_after(model, state, kind)
    state.size[N_COMPONENTS], state.size[N_CLUSTERS] = max(n, t), t
    moves.counts[method, kind, 1] += 1


@step
def settle_merge(state: State, moves: Moves, choice: Choice, rows: Rows) -> None:
    """Give cluster a the union's statistics, and the last cluster the place of b; rows of b have been relabelled a."""
    total, centre, a, b = state.total, state.components.centre, choice.a, choice.b
    last, first = state.size[N_CLUSTERS] - 1, 0 * len(moves.sizes)
    copy_cluster(moves.union, first, moves.union_centre[0], total, a, centre[a])
    if b != last:
        rows.rename(state.z, last, b)
        copy_cluster(total, last, centre[last], total, b, centre[b])
    total.n[last] = 0.0


# --- The library ----------------------------------------------------------------------------------------------------


@kernel
def _library_place(library: Library) -> int:
    """Where the next launch goes; when the library is full, the oldest makes room."""
    place = library.collected[0] % library.mean.shape[0]
    library.collected[0] += 1
    return int(place)


@kernel
def remember(library: Library, components: Any, a: int, b: int, share: float) -> None:
    """Keep components a and b as a launch. share: of the union's observations that are a's."""
    place, centre, D = _library_place(library), components.centre, library.mean.shape[1]
    keep(components, a, library.components, 2 * place)
    keep(components, b, library.components, 2 * place + 1)
    for i in range(D):
        library.mean[place, i] = share * centre[a, i] + (1.0 - share) * centre[b, i]


@kernel
def remember_pair(rng: np.random.Generator, scale: FloatArray, state: State, moves: Moves) -> None:
    """Sometimes, keep a random cluster's component and that of the nearest other cluster as a launch.

    Distances are in the columns' scales (D,).
    """
    t, n, centre = state.size[N_CLUSTERS], state.total.n, state.components.centre
    if t < 2 or rng.random() >= _REMEMBER_PAIR:
        return
    a = int(rng.random() * t)
    b, least = 0, np.inf
    for k in range(t):
        distance = 0.0
        for i in range(scale.shape[0]):
            distance += ((centre[k, i] - centre[a, i]) / scale[i]) ** 2
        if k != a and distance < least:
            b, least = k, distance
    remember(moves.library, state.components, a, b, n[a] / (n[a] + n[b]))
