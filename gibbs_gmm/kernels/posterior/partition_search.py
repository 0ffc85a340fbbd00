"""Search for the partition that is closest to all draws (SALSO: Dahl, Johnson & Mueller 2022).

A partition c of the rows is compared with S draws through one table: n[j, k] counts the rows that are in cluster k of c
and in cluster j of a draw, where j runs over the clusters of all draws, one after the other. Moving a row changes one
cluster j of each draw and two clusters k, so no matrix of pairs of rows is needed. Clusters k are the fast axis: what a
row would add to all of them is a sum of S short vectors.

Losses, with N rows, n_k = sum_j n[j, k] and m_j = sum_k n[j, k] in one draw:

    VI     [sum_k n_k log2 n_k + sum_j m_j log2 m_j - 2 sum_kj n_kj log2 n_kj] / N, in bits (Meila 2007)
    Binder [sum_k n_k^2 + sum_j m_j^2 - 2 sum_kj n_kj^2] / N^2, the share of ordered pairs that disagree (Binder 1978)
    omARI  1 - (R - A B / T) / ((A + B) / 2 - A B / T), where R, A, B and T are the numbers of pairs of rows in the same
           n_kj, n_k, m_j and at all: one minus the adjusted Rand index (Hubert & Arabie 1985)
"""

import math
from typing import NamedTuple

import numpy as np

from gibbs_gmm.kernels._jit import allocating_kernel, kernel
from gibbs_gmm.kernels._records import by_address
from gibbs_gmm.kernels.random import uniform
from gibbs_gmm.kernels.simd import LANES, add_four, add_ratios
from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray, LabelArray

VI, BINDER, OMARI = 0, 1, 2

_TINY = 1e-200


@by_address
class Draws(NamedTuple):
    """Partitions of U rows, each of which may stand for several observations that no draw separates."""

    z: LabelArray
    """(U, S) labels 0, 1, ... of each row in each draw."""
    first: IntArray
    """(S + 1,) the place j of the first cluster of each draw, and the number of clusters of all."""
    share: FloatArray
    """(S,) the weight of each draw; they sum to 1."""
    weight: IntArray
    """(U,) the observations of each row; 1 for omARI."""
    f: FloatArray
    """(N + 2,) m log2 m of m = 0, 1, ..., for VI."""
    step: FloatArray
    """(N + 2,) what one more observation adds to a cell of m: f(m + 1) - f(m) for VI; m for the others."""


@by_address
class Table(NamedTuple):
    """A partition beside the draws, in ``width`` places for clusters, a multiple of 8; some of them are empty."""

    n: AnyArray
    """(L, width) int32 counts n[j, k]."""
    gain: FloatArray
    """(L, width) step[n], times the draw's share unless the loss is omARI."""
    less: FloatArray
    """(L, width) the same of n - 1: what one observation less takes away (VI)."""
    size: IntArray
    """(width,) n_k."""
    label: IntArray
    """(U,) the place of each row; -1 if it has none yet."""
    m: IntArray
    """(L,) m_j of the rows that have a place (omARI)."""
    pairs: FloatArray
    """(2, S) R and B of each draw (omARI)."""
    at: IntArray
    """(S,) scratch: where the row being placed is in ``n``."""
    sums: FloatArray
    """(2, width) scratch."""
    numbers: FloatArray
    """(5,) scratch."""
    now: FloatArray
    """(1,) the mean adjusted Rand index of the table as it is, or nan if it is to be computed again (omARI)."""


@kernel
def load(draws: Draws, loss: int, labels: IntArray, table: Table) -> None:
    """Make ``table`` that of the partition ``labels`` (U,); -1 leaves a row out."""
    n, size = table.n, table.size
    S = len(draws.share)
    for k in range(len(size)):
        size[k] = 0
    for j in range(len(n)):
        for k in range(len(size)):
            n[j, k] = 0
    table.now[0] = math.nan
    for i in range(len(labels)):
        k = labels[i]
        table.label[i] = k
        if k >= 0:
            size[k] += draws.weight[i]
            for s in range(S):
                n[draws.first[s] + draws.z[i, s], k] += draws.weight[i]
    for s in range(S):
        scale = 1.0 if loss == OMARI else draws.share[s]
        same = table.pairs[0, s] = table.pairs[1, s] = 0.0
        for j in range(draws.first[s], draws.first[s + 1]):
            m = 0
            for k in range(len(size)):
                table.gain[j, k] = scale * draws.step[n[j, k]]
                table.less[j, k] = scale * draws.step[max(n[j, k] - 1, 0)]
                m += n[j, k]
                same += 0.5 * n[j, k] * (n[j, k] - 1.0)
            table.m[j] = m
            table.pairs[1, s] += 0.5 * m * (m - 1.0)
        table.pairs[0, s] = same


@kernel
def add_row(draws: Draws, loss: int, i: int, k: int, sign: int, table: Table) -> None:
    """Put row i into place k (sign 1), or take it out of there (-1)."""
    n, gain, first, z = table.n, table.gain, draws.first, draws.z[i]
    w = sign * draws.weight[i]
    table.now[0] = math.nan
    table.size[k] += w
    table.label[i] = k if sign > 0 else -1
    for s in range(len(z)):
        j = first[s] + z[s]
        if loss == OMARI:
            table.pairs[0, s] += n[j, k] if sign > 0 else 1 - n[j, k]
        n[j, k] += w
        scale = 1.0 if loss == OMARI else draws.share[s]
        gain[j, k] = scale * draws.step[n[j, k]]
        if loss == VI:
            table.less[j, k] = scale * draws.step[max(n[j, k] - 1, 0)]


@kernel
def count_row(draws: Draws, i: int, sign: int, table: Table) -> None:
    """Count row i among those that have a place, on the draws' side (omARI)."""
    for s in range(len(draws.share)):
        j = draws.first[s] + draws.z[i, s]
        table.pairs[1, s] += table.m[j] if sign > 0 else 1 - table.m[j]
        table.m[j] += sign


@kernel
def adjusted_rand(R: float, A: float, B: float, T: float) -> float:
    """(R - A B / T) / ((A + B) / 2 - A B / T), and 1 where both partitions are one cluster, or both all singletons."""
    expected = A * B / max(T, 1.0)
    return (R - expected + _TINY) / (0.5 * (A + B) - expected + _TINY)


@kernel
def pairs_of(size: IntArray) -> float:
    """The pairs of observations in the same cluster."""
    A = 0.0
    for k in range(len(size)):
        A += 0.5 * size[k] * (size[k] - 1.0)
    return A


@kernel
def losses(draws: Draws, loss: int, table: Table, out: FloatArray) -> float:
    """The loss of a whole partition against each draw, into ``out`` (S,); returns their mean, weighted by shares."""
    f, n, size = draws.f, table.n, table.size
    N = size.sum()
    mean = 0.0
    own = 0.0
    for k in range(len(size)):
        own += f[size[k]] if loss == VI else 1.0 * size[k] * size[k]
    for s in range(len(out)):
        theirs, both = 0.0, 0.0
        for j in range(draws.first[s], draws.first[s + 1]):
            m = 0
            for k in range(len(size)):
                c = n[j, k]
                if c > 0:
                    m += c
                    both += f[c] if loss == VI else 1.0 * c * c
            theirs += f[m] if loss == VI else 1.0 * m * m
        if loss == VI:
            out[s] = max(own + theirs - 2.0 * both, 0.0) / N
        elif loss == BINDER:
            out[s] = (own + theirs - 2.0 * both) / N / N
        else:
            R, A, B, T = 0.5 * (both - N), 0.5 * (own - N), 0.5 * (theirs - N), 0.5 * N * (N - 1.0)
            out[s] = 1.0 - adjusted_rand(R, A, B, T)
        mean += draws.share[s] * out[s]
    return mean


@kernel
def choose(draws: Draws, loss: int, i: int, limit: int, table: Table) -> tuple[int, float]:
    """The best place for row i other than its own, and by how much it is better (inf if it has none).

    Candidates are all clusters and, if there are fewer than ``limit`` of them, one empty place. The improvement is that
    of N times the mean VI, N^2 times the mean Binder loss, or the mean omARI; -inf where there is no other place. Where
    it is certain that it is negative, it is not always exact.
    """
    f, size, at, sums = draws.f, table.size, table.at, table.sums
    w, own, width = draws.weight[i], table.label[i], len(size)
    last, free, clusters = 0, -1, 0
    for k in range(width):
        if size[k] > 0:
            last = k
            clusters += 1
        elif free < 0:
            free = k
    if clusters >= limit or (own >= 0 and size[own] == w):  # a row alone in its cluster has an empty place already
        free = -1
    last = max(last, free)
    for k in range(width):
        sums[0, k] = 0.0
    for s in range(len(at)):
        at[s] = (draws.first[s] + draws.z[i, s]) * width
    if loss == OMARI:
        stay = sum_ratios(draws, own, last, table)
    elif loss == VI and w > 1:
        stay = sum_heavy(draws, w, own, last, table)
    else:
        sum_steps(last, table)
        stay = sums[0, max(own, 0)] - w  # for Binder
    best, least = -1, math.inf
    for k in range(last + 1):
        if k != own and (size[k] > 0 or k == free):
            cost = cost_of(f, loss, w, size[k], sums[0, k])
            if cost < least:
                best, least = k, cost
    if own < 0:
        return best, math.inf
    if loss == VI and w == 1:
        # step(m) - step(m - 1) is at most 2. Most rows are so well where they are that this decides.
        now = cost_of(f, loss, w, size[own] - w, sums[0, own] - 2.0)
        if now <= least:
            return best, now - least
        stay = own_steps(own, table)
    return best, cost_of(f, loss, w, size[own] - w, stay) - least


@kernel
def cost_of(f: FloatArray, loss: int, w: int, before: int, both: float) -> float:
    """What a row of weight w adds to the loss in a cluster of ``before`` observations, ``both`` to its cells."""
    if loss == VI:
        return f[before + w] - f[before] - 2.0 * both
    return 2.0 * w * (before - 2.0 * both) - w * w if loss == BINDER else -both


@kernel
def sum_steps(last: int, table: Table) -> None:
    """Mean over draws of ``step`` of the cells that one observation enters, for places 0, ..., ``last``."""
    at, sums, gain = table.at, table.sums, table.gain
    S = len(at)
    whole = S - S % 4
    for k in range(0, last + 1, LANES):
        for s in range(0, whole, 4):
            add_four(sums, k, gain, at[s] + k, at[s + 1] + k, at[s + 2] + k, at[s + 3] + k)
    cells = gain.reshape(-1)
    for s in range(whole, S):
        for k in range(last + 1):
            sums[0, k] += cells[at[s] + k]


@kernel
def sum_heavy(draws: Draws, w: int, own: int, last: int, table: Table) -> float:
    """The same of f(m + w) - f(m), for a row of w observations (VI); returns that of its own cluster without it."""
    f, cells, sums = draws.f, table.n.reshape(-1), table.sums
    stay = 0.0
    for s in range(len(table.at)):
        share, start = draws.share[s], table.at[s]
        for k in range(last + 1):
            sums[0, k] += share * (f[cells[start + k] + w] - f[cells[start + k]])
        if own >= 0:
            stay += share * (f[cells[start + own]] - f[cells[start + own] - w])
    return stay


@kernel
def sum_ratios(draws: Draws, own: int, last: int, table: Table) -> float:
    """Mean adjusted Rand indices with a row in each of places 0, ..., ``last``; returns that with it in its own."""
    sums, numbers, size, cells, width = table.sums, table.numbers, table.size, table.n.reshape(-1), len(table.size)
    A, N = pairs_of(size), size.sum() + (1 if own < 0 else 0)
    T = 0.5 * N * (N - 1.0)
    per_pair = 1.0 / max(T, 1.0)
    # In another place than its own: A - (n_own - 1) + n_k pairs, and likewise R.
    rest = A - (size[own] - 1.0) if own >= 0 else A
    for k in range(width):
        sums[1, k] = rest + size[k]
    fresh = own >= 0 and math.isnan(table.now[0])
    if fresh:
        table.now[0] = 0.0
    for s in range(len(table.at)):
        R, B = table.pairs[0, s], table.pairs[1, s]
        if fresh:
            table.now[0] += draws.share[s] * adjusted_rand(R, A, B, T)
        b = B * per_pair
        numbers[0], numbers[1], numbers[2], numbers[3], numbers[4] = draws.share[s], R, b, 0.5 * B, 0.5 - b
        if own >= 0:
            numbers[1] -= cells[table.at[s] + own] - 1.0
        for k in range(0, last + 1, LANES):
            add_ratios(sums, k, table.gain, table.at[s] + k, sums, width + k, numbers, 0)
    return table.now[0]


@kernel
def own_steps(own: int, table: Table) -> float:
    """The mean of ``step`` of the cells of a row of one observation in its own cluster, without it (VI)."""
    at, less = table.at, table.less.reshape(-1)
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    whole = len(at) - len(at) % 4
    for s in range(0, whole, 4):  # four sums, so that no addition waits for the one before
        a += less[at[s] + own]
        b += less[at[s + 1] + own]
        c += less[at[s + 2] + own]
        d += less[at[s + 3] + own]
    for s in range(whole, len(at)):
        a += less[at[s] + own]
    return (a + b) + (c + d)


@kernel
def place(draws: Draws, loss: int, rows: IntArray, limit: int, table: Table, better: FloatArray) -> int:
    """Put each of ``rows``, in this order, where it is best; those that have a place move if that is better.

    ``better[i]`` is overwritten by the improvement, made or not, of each. Returns how many moved.
    """
    least = 1e-12 if loss == OMARI else 1e-8  # improvements below this are rounding
    moved = 0
    for i in rows:
        own = table.label[i]
        if own < 0 and loss == OMARI:
            count_row(draws, i, 1, table)
        k, better[i] = choose(draws, loss, i, limit, table)
        if better[i] > least:
            if own >= 0:
                add_row(draws, loss, i, own, -1, table)
            add_row(draws, loss, i, k, 1, table)
            moved += 1
    return moved


@kernel
def undecided(rows: IntArray, better: FloatArray) -> int:
    """Bring to the front of ``rows`` those that moved, or are nearly as well elsewhere; returns how many they are."""
    mean, count = 0.0, 0
    for i in rows:
        if -math.inf < better[i] < 0.0:
            mean += better[i]
            count += 1
    limit = 0.125 * mean / max(count, 1)
    front = 0
    for m in range(len(rows)):
        if better[rows[m]] >= limit:
            rows[front], rows[m] = rows[m], rows[front]
            front += 1
    return front


@allocating_kernel
def search(
    key: np.uint64, draws: Draws, loss: int, labels: IntArray, limit: int, attempts: int, table: Table, best: IntArray
) -> float:
    """One run from the partition ``labels`` (U,), -1 for rows without a place: the best found goes into ``best`` (U,).

    Rows are allocated one after the other, in random order, each where the loss so far is least; then they move, in
    random orders, until none would (sweetening). Then, ``attempts`` times, a random cluster is merged with another if
    that is better, and otherwise destroyed and its rows are allocated and moved likewise (a zealous update), which is
    kept if the loss falls. The merges are not part of SALSO.

    Parameters
    ----------
    key : uint64
        Of the random numbers.
    limit : int
        The most clusters; ``table`` is wider.
    table, best
        Overwritten.

    Returns
    -------
    float
        The expected loss of ``best``.
    """
    U = len(labels)
    against, better, rows = np.empty(len(draws.share)), np.empty(U), np.empty(U, np.int64)
    load(draws, loss, labels, table)
    least, drawn = math.inf, 0
    for attempt in range(attempts + 1):
        count = U
        if attempt > 0:
            k = any_cluster(uniform(key, drawn), table)
            drawn += 1
            count = 0
            for i in range(U):
                if table.label[i] == k:
                    rows[count] = i
                    count += 1
            into = best_merge(draws, loss, k, 1.0 - least, table)
            for i in rows[:count]:
                add_row(draws, loss, i, k, -1, table)
                if into >= 0:
                    add_row(draws, loss, i, into, 1, table)
                elif loss == OMARI:
                    count_row(draws, i, -1, table)
            if into >= 0:
                count = U
        while True:
            if count == U:
                for i in range(U):
                    rows[i] = i
            now = count
            while True:
                for i in range(now - 1, 0, -1):  # a random order (Fisher & Yates)
                    other = int(uniform(key, drawn) * (i + 1))
                    drawn += 1
                    rows[i], rows[other] = rows[other], rows[i]
                moved = place(draws, loss, rows[:now], limit, table, better)
                if moved > 0 and now == count:
                    # The next to move are nearly always among few: these go on alone until none of them moves.
                    now = undecided(rows[:count], better)
                elif moved == 0 and now == count:
                    break
                elif moved == 0:
                    now = count
            value = losses(draws, loss, table, against)
            if count == U or value >= least - 1e-12:
                break
            count = U  # what is better for the rows of one cluster may move others
        if value < least:
            least = value
            for i in range(U):
                best[i] = table.label[i]
        else:
            for i in range(U):
                if table.label[i] != best[i]:
                    add_row(draws, loss, i, table.label[i], -1, table)
                    add_row(draws, loss, i, best[i], 1, table)
    return least


@kernel
def best_merge(draws: Draws, loss: int, a: int, index: float, table: Table) -> int:
    """The cluster whose union with cluster a lowers the loss most; -1 if none does.

    ``index`` is the mean adjusted Rand index as it is (omARI).
    """
    f, n, size = draws.f, table.n, table.size
    A, N = pairs_of(size), size.sum()
    best, least = -1, -1e-12 if loss == OMARI else -1e-8
    for b in range(len(size)):
        if b == a or size[b] == 0:
            continue
        both = 0.0
        for s in range(len(draws.share)):
            change = 0.0
            for j in range(draws.first[s], draws.first[s + 1]):
                p, q = n[j, a], n[j, b]
                if p > 0 and q > 0:
                    change += f[p + q] - f[p] - f[q] if loss == VI else 1.0 * p * q
            if loss == OMARI:
                R, B = table.pairs[0, s] + change, table.pairs[1, s]
                change = adjusted_rand(R, A + 1.0 * size[a] * size[b], B, 0.5 * N * (N - 1.0))
            both += draws.share[s] * change
        cost = f[size[a] + size[b]] - f[size[a]] - f[size[b]] - 2.0 * both
        if loss == BINDER:
            cost = 2.0 * size[a] * size[b] - 4.0 * both
        elif loss == OMARI:
            cost = index - both
        if cost < least:
            best, least = b, cost
    return best


@kernel
def any_cluster(u: float, table: Table) -> int:
    """One of the clusters, all equally likely (that of a random row would nearly always be a large one)."""
    clusters = 0
    for k in range(len(table.size)):
        clusters += table.size[k] > 0
    left, k = int(u * clusters), -1
    while left >= 0:
        k += 1
        left -= table.size[k] > 0
    return k


@kernel
def losses_of(draws: Draws, loss: int, labels: IntArray, table: Table, out: FloatArray) -> float:
    """The loss of the partition ``labels`` (U,) against each draw, into ``out`` (S,); returns the expected loss."""
    load(draws, loss, labels, table)
    return losses(draws, loss, table, out)
