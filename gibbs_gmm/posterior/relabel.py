"""Matching components across draws and chains: labels mean nothing until this is done."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from gibbs_gmm import checks
from gibbs_gmm.kernels.posterior.matching import add_responsibilities, count_agreements, count_places
from gibbs_gmm.kernels.tile import LOG2_E, TILE
from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray
from gibbs_gmm.posterior.numbering import by_weight
from gibbs_gmm.posterior.partition_draws import label_blocks
from gibbs_gmm.posterior.wording import count
from gibbs_gmm.trace import Trace

METHODS = ("kl", "ecr", "divergence")
AMBIGUOUS_LIMIT = 0.02
"""Share of ambiguous draws from which on a component is not to be read: they could fill much of a 5% tail."""

_DOUBT = 0.05  # a matching is ambiguous if an exchange of two components has at least this probability
_MAX_PASSES = 100


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Relabelling:
    """Which component of each draw is which: components matched across draws and chains, and how surely.

    Attributes
    ----------
    permutation : (C, T, K) int64
        ``permutation[c, t, j]`` is the component of draw t of chain c that sits at place j, always a permutation of
        0..K-1: ``np.take_along_axis(trace.weights, permutation, -1)`` is matched.
    n_matched : int
        Places 0..n_matched-1 are the components of the reference, and so the same ones in every draw, by decreasing
        posterior mean weight (equal ones by the mean of the first column). Behind them are the components of a draw
        that match none of these, in order of decreasing weight, and unused slots. A draw with fewer components than
        ``n_matched`` has unused slots at the places that none of its components match.
    counted : (C, T) bool
        The draws that have as many components as the reference, which the tables of components are from: all of them
        where n is known.
    ambiguous_places : (C, T, n_matched) bool
        Whether the component of the draw at this place and another could as well be the other way round; see
        :func:`relabel`.
    method : str
        "kl", "ecr" or "divergence".
    source : Trace
        What was relabelled.
    """

    permutation: IntArray
    n_matched: int
    counted: AnyArray
    ambiguous_places: AnyArray
    method: str
    source: Trace

    def __post_init__(self) -> None:
        for array in (self.permutation, self.counted, self.ambiguous_places):
            array.flags.writeable = False

    def __repr__(self) -> str:
        C, T, _ = self.permutation.shape
        return (
            f"<Relabelling by {self.method}: {count(self.n_matched, 'component')} in {count(C, 'chain')} x "
            f"{count(T, 'draw')}, {100.0 * self.ambiguous_share:.1f}% of draws ambiguous>"
        )

    @property
    def ambiguous(self) -> AnyArray:
        """(C, T) bool: whether the matching of the draw is ambiguous at some place."""
        return np.asarray(self.ambiguous_places.any(-1))

    @property
    def ambiguous_share(self) -> float:
        """The share of draws whose matching is ambiguous at some place."""
        return float(self.ambiguous.mean())

    @property
    def ambiguous_share_by_component(self) -> FloatArray:
        """(n_matched,) float64: the share of draws whose matching is ambiguous at this place."""
        return np.asarray(self.ambiguous_places.mean((0, 1)))

    @functools.cached_property
    def trace(self) -> Trace:
        """The trace with the components of every draw in their places.

        ``weights``, ``means``, ``covariances`` and ``assignments`` are permuted copies; everything that does not depend
        on labels is the very same array. Of an unknown number of components, unused slots may be at any place.
        """
        source, perm = self.source, self.permutation
        assignments = source.assignments
        if assignments is not None:
            place = np.argsort(perm, axis=-1).astype(assignments.dtype)
            if source.outlier_weight is not None:  # -1 is the last place, and stays
                place = np.concatenate([place, np.full((*place.shape[:2], 1), -1, place.dtype)], -1)
            moved = np.empty_like(assignments, subok=False)
            for draw in np.ndindex(*perm.shape[:2]):
                np.take(place[draw], assignments[draw], out=moved[draw])
            assignments = moved
        return dataclasses.replace(source.permuted(perm), assignments=assignments)


def most_probable_n_clusters(trace: Trace) -> int:
    """The value of ``n_clusters`` that most draws of all chains have; of several, the smallest."""
    return int(np.bincount(trace.n_clusters.ravel()).argmax())


def relabel(trace: Trace, method: str | None = None, X: Any = None) -> Relabelling:
    """Match the components of every draw of every chain with those of a reference; no draw is left out.

    The reference begins as one draw, the pivot. For a known number of
    components the pivot is the draw with the highest log_posterior. For an unknown one it is the draw with the highest
    log_likelihood among those with the most probable number of clusters, J. (log_posterior cannot be compared between
    dimensions, and the Dirichlet density in it grows without bound as the weight of an unoccupied component vanishes.)

    Every draw is then given the matching with the highest total score, an assignment problem, in which the components
    of a draw with more than J compete for the J places. Component k of a draw scores at place j

    - "ecr": the number of its rows that the reference has at place j. The reference is then the place that each row has
      most often, and so on until no draw changes: equivalence classes representatives (Papastamoulis & Iliopoulos 2010)
      with the pivot found in turn with the matching. It needs assignments.
    - "kl": sum_i p_ik log(1 + (J + 1) P_ij), with p_ik the probability that the draw gives to row i being of component
      k, and P_ij their sum at place j over all draws, and so on until no draw changes: the algorithm of Stephens (2000)
      for the Kullback-Leibler divergence of the draws' classification probabilities from their mean, which is
      estimated by (P_ij + 1/(J + 1)) / (n + 1) in n draws; a component that matches none scores as if rows like its
      own had never been seen. It needs X, the data, and the time of K densities for every row and draw. (Labels in the
      place of probabilities would do without, but are wrong where it matters: of components that cannot be told
      apart, the logarithm then makes one row, always the same, the mark by which they are.)
    - "divergence": minus the symmetric Kullback-Leibler (Jeffreys) divergence of the two weighted Gaussians,
      (w_k - w_j) log(w_k / w_j) + w_k KL(N_k, N_j) + w_j KL(N_j, N_k). By the log-sum inequality the sum of these
      bounds the Jeffreys divergence of the two whole mixtures. The weights matter: without them a component that owns
      no observation, drawn from the prior, has divergences so large that it alone decides where the others go. It
      needs nothing but the trace, and stays with the pivot.

    Draws with more or fewer components than the reference are matched with it, and do not change it. Components of
    known kinds (``trace.label_names``) are at the first places, in their order, whatever their weight.

    Ambiguity. For two places, let g be the score that a draw loses, per row that the two components own (in
    "divergence", per weight), when they are exchanged. If the labels of every draw were swapped at random, g would be a
    mixture of N(m, s^2) and N(-m, s^2); m and s^2 are estimated over all draws, and 1 / (1 + exp(2 m g / s^2)) is the
    probability that a draw is mislabelled. A draw is ambiguous if this is at least 5% for some pair of places. The
    question is not whether rows are hard to classify, but whether draws lie between the two labellings: components
    that overlap and yet are known well are matched with certainty.

    Parameters
    ----------
    trace : Trace
        C chains of T draws of at most K components.
    method : {"kl", "ecr", "divergence"}, optional
        By default the first of these that has what it needs.
    X : array-like (N, D) or (N,), optional
        The observations that the trace was fitted to, for "kl".

    Returns
    -------
    Relabelling
        It does not depend on the order of the chains, nor on that of the components within draws.

    Raises
    ------
    ValueError
        The method is unknown or needs what is not there, or X is not the data of the trace.
    """
    if method is None:
        method = "kl" if X is not None else "divergence" if trace.assignments is None else "ecr"
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(map(repr, METHODS))}, got {method!r}")
    if (X is None) == (method == "kl"):
        raise ValueError(f'X must be the data for method="kl", and None for any other; got method={method!r}')
    if method == "ecr" and trace.assignments is None:
        raise ValueError('method="ecr" needs assignments, and the trace was made with save_assignments=False')
    filled, tagged = ~np.isnan(trace.means[..., 0]), len(trace.label_names)
    # Components of known kinds, the others in order of decreasing weight, then unused slots.
    by = np.where(filled, -trace.weights, 1.0)
    by[..., :tagged] = -2.0
    slots = np.argsort(by, axis=-1, kind="stable")
    pivot = _pivot(trace)
    order = slots[pivot][: filled[pivot].sum()]
    candidates = _Candidates(slots, filled.sum(-1), len(order), tagged)
    if method == "ecr":
        scores, sizes, perm = _ecr(trace, candidates, pivot, order)
    else:
        sizes, scores = trace.weights, _divergence_scores(trace, pivot, order)
        perm = candidates.assign(scores)
        if method == "kl":
            scores, sizes, perm = _stephens(trace, candidates, perm, _data(trace, X))
    counted, J = candidates.counted, candidates.J
    draws = perm[counted][:, tagged:J]
    weights = np.take_along_axis(trace.weights[counted], draws, -1)
    number = np.arange(J)
    if len(order) > tagged:
        places = np.take_along_axis(trace.means[..., 0][counted], draws, -1)
        number[tagged:] = tagged + by_weight(weights, places)
    perm[..., :J], scores = perm[..., number], scores[:, :, number]
    return Relabelling(
        permutation=perm,
        n_matched=J,
        counted=counted,
        ambiguous_places=_doubtful(scores, sizes, perm, filled, tagged),
        method=method,
        source=trace,
    )


def _data(trace: Trace, X: Any) -> AnyArray:
    """X, checked to have the columns and the number of rows that were fitted, and no missing values."""
    array, N = trace.fitted_rows(checks.new_data(X, trace.columns, "X")), trace.n_rows
    if len(array) != N:
        raise ValueError(f"X must be the {N} rows that were fitted, got {len(array)}")
    return array


def _pivot(trace: Trace) -> tuple[int, int]:
    """Chain and draw of the pivot."""
    criterion = trace.log_posterior
    if not trace.n_is_known:
        criterion = np.where(trace.n_clusters == most_probable_n_clusters(trace), trace.log_likelihood, -np.inf)
    chain, draw = np.unravel_index(np.argmax(criterion), criterion.shape)
    return int(chain), int(draw)


class _Candidates(NamedTuple):
    """The components to be matched in each draw.

    slots (C, T, K): those of known kinds, then in order of decreasing weight, unused ones last; n (C, T): components of
    each draw; J: those of the reference; tagged: of known kinds, which are where they are.
    """

    slots: IntArray
    n: IntArray
    J: int
    tagged: int = 0

    @property
    def counted(self) -> AnyArray:
        """(C, T) bool: the draws that define the reference, which have as many components."""
        return np.asarray(self.n == self.J)

    def assign(self, scores: FloatArray) -> IntArray:
        """The permutations (C, T, K) with the highest total scores (C, T, J, K).

        Components that match none come behind, in order of weight. Of equal totals that is taken which matches heavier
        components with earlier places, whatever the labels.
        """
        perm, G = np.full(self.slots.shape, -1, dtype=np.int64), self.tagged
        perm[..., :G] = np.arange(G)
        for draw in np.ndindex(*self.n.shape):
            slots, row = self.slots[draw], perm[draw]
            own = slots[G : self.n[draw]]
            places, matched = linear_sum_assignment(scores[draw][G:, own], maximize=True)
            row[G + places] = own[matched]
            row[row < 0] = slots[~np.isin(slots, row)]
        return perm


def _ecr(
    trace: Trace, candidates: _Candidates, pivot: tuple[int, int], order: IntArray
) -> tuple[FloatArray, FloatArray, IntArray]:
    """Scores (C, T, J, K), rows of each component (C, T, K) and permutations (C, T, K) of iterated ECR.

    Matching and reference in turn maximise the number of agreements, which can only rise: they come to rest.
    """
    assert trace.assignments is not None
    C, T, K = trace.weights.shape
    J, counted = candidates.J, candidates.counted
    place = np.zeros(K + 1, dtype=np.int64)
    place[order] = np.arange(J)
    place[K] = J  # of outliers, labelled K in blocks of labels
    reference = place[trace.assignments[pivot]]
    perm = None
    for _ in range(_MAX_PASSES):
        table = np.zeros((C, T, J + 1, K + 1))
        for rows, labels in label_blocks(trace.assignments, K):
            for c in range(C):
                count_agreements(labels[c], reference[rows], table[c])
        scores = table[:, :, :J, :K]
        before, perm = perm, candidates.assign(scores)
        if before is not None and np.array_equal(perm[counted], before[counted]):
            break
        places = np.concatenate([np.argsort(perm, axis=-1), np.full((C, T, 1), J)], -1)
        for rows, labels in label_blocks(trace.assignments, K):
            counts = np.zeros((labels[0].shape[1], J + 1), dtype=np.int64)
            for c in range(C):
                count_places(labels[c], places[c], counted[c], counts)
            reference[rows] = counts.argmax(1)
    assert perm is not None
    return scores, scores.sum(-2), perm


def _stephens(
    trace: Trace, candidates: _Candidates, perm: IntArray, X: AnyArray
) -> tuple[FloatArray, FloatArray, IntArray]:
    """Scores (C, T, J, K), rows of each component (C, T, K) and permutations of Stephens' (2000) algorithm.

    Permutations and mean probabilities P in turn maximise the sum over draws and rows of sum_k p_ik log P_i,place(k),
    plus sum_ij log(P_ij) / (J + 1), which can only rise: they come to rest.
    """
    C, T, K = perm.shape
    J, counted, slots = candidates.J, candidates.counted, candidates.slots
    loc = X[0].astype(np.float64)
    mixtures = [_ready(trace, c, slots[c], candidates.n[c], loc) for c in range(C)]
    p, total = np.empty((C, T, K, TILE)), np.empty((C, J, TILE))
    for _ in range(_MAX_PASSES):
        place = np.take_along_axis(np.argsort(perm, axis=-1), slots, -1)  # of the heaviest component first
        scores, sizes = np.zeros((C, T, K, J)), np.zeros((C, T, K))
        for first in range(0, len(X), TILE):
            total[:] = 0.0
            for c in range(C):
                add_responsibilities(X, loc, first, candidates.n[c], *mixtures[c], place[c], counted[c], p[c], total[c])
            # Chains are added in an order of their own, so that theirs makes no difference to the last digit.
            log_mean = np.log1p((J + 1.0) * np.sort(total, axis=0).sum(0))
            sizes += p.sum(-1)
            for c in range(C):
                scores[c] += (p[c].reshape(T * K, TILE) @ log_mean.T).reshape(T, K, J)
        unsorted = np.argsort(slots, axis=-1)
        scores = np.take_along_axis(scores, unsorted[..., None], 2).swapaxes(2, 3)
        before, perm = perm, candidates.assign(scores)
        if np.array_equal(perm[counted], before[counted]):
            break
    return scores, np.take_along_axis(sizes, unsorted, -1), perm


def _ready(
    trace: Trace, chain: int, slots: IntArray, n: IntArray, loc: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """W, c and log_c of the draws of a chain, components in ``slots``, as in kernels.assign.Components."""
    D = trace.means.shape[-1]
    present = np.arange(slots.shape[1]) < n[:, None]
    means = np.take_along_axis(trace.means[chain], slots[..., None], 1)
    covariances: FloatArray = trace.covariances[chain, np.arange(len(slots))[:, None], slots]
    covariances = np.where(present[..., None, None], covariances, np.eye(D))
    W = np.linalg.inv(np.linalg.cholesky(covariances))
    c = -(W @ np.where(present[..., None], means - loc, 0.0)[..., None])[..., 0]
    weights = np.maximum(np.take_along_axis(trace.weights[chain], slots, -1), np.finfo(float).tiny)
    log_c = np.log2(weights) + np.log2(np.diagonal(W, axis1=2, axis2=3)).sum(-1)
    return math.sqrt(LOG2_E) * W, math.sqrt(LOG2_E) * c, log_c


def _doubtful(scores: FloatArray, sizes: FloatArray, perm: IntArray, filled: AnyArray, tagged: int) -> AnyArray:
    """(C, T, J): whether the component at this place might be exchanged with another, as :func:`relabel` says.

    Parameters
    ----------
    scores : (C, T, J, K) float64
        Of component k at place j.
    sizes : (C, T, K) float64
        What a component owns: rows, or weight.
    perm : (C, T, K) int64
        The matching.
    filled : (C, T, K) bool
        Whether a slot holds a component.
    tagged : int
        Components of known kinds, the first, about which there is no doubt.
    """
    C, T, J, K = scores.shape
    first, second = np.triu_indices(J, 1)
    gaps = np.empty((C, T, len(first) + (J if K > J else 0)))
    for c in range(C):  # one chain at a time, to save memory
        S = np.take_along_axis(scores[c], perm[c, :, None, :], -1)
        size = np.take_along_axis(sizes[c], perm[c], -1)
        present = np.take_along_axis(filled[c], perm[c], -1)
        best = np.diagonal(S, axis1=1, axis2=2)
        cost = best[:, first] + best[:, second] - S[:, first, second] - S[:, second, first]
        gap = _per_row(cost, size[:, first] + size[:, second])
        gaps[c, :, : len(first)] = np.where(present[:, first] | present[:, second], gap, np.nan)
        if K > J:  # with one that matches none, the nearest of these
            gap = _per_row(best[..., None] - S[..., J:], size[:, :J, None] + size[:, None, J:])
            gap = np.where(present[:, :J, None] & present[:, None, J:], gap, np.inf).min(-1)
            gaps[c, :, len(first) :] = np.where(np.isinf(gap), np.nan, gap)
    gaps[..., : len(first)][..., first < tagged] = np.nan
    gaps[..., len(first) :][..., :tagged] = np.nan
    possible = ~np.isnan(gaps)
    # Sums in an order of their own, so that the order of the chains makes no difference to the last digit.
    ordered = np.sort(np.where(possible, gaps, 0.0).reshape(C * T, -1), axis=0)
    n = np.maximum(possible.sum((0, 1)), 1)
    mean = ordered.sum(0) / n
    variance = np.maximum((ordered**2).sum(0) / n - mean**2, 0.0)
    odds = 2.0 * np.maximum(mean, 0.0) * gaps
    doubt = possible & ((gaps <= 0.0) | (odds <= variance * math.log(1.0 / _DOUBT - 1.0)))
    result = np.zeros((C, T, J), dtype=bool)
    for pair, (j, k) in enumerate(zip(first, second, strict=True)):
        result[..., j] |= doubt[..., pair]
        result[..., k] |= doubt[..., pair]
    return result | doubt[..., len(first) :] if K > J else result


def _per_row(cost: FloatArray, size: FloatArray) -> FloatArray:
    """cost / size; 0 between unoccupied components."""
    return np.divide(cost, size, out=np.zeros_like(cost), where=size > 0.0)


def _divergence_scores(trace: Trace, pivot: tuple[int, int], order: IntArray) -> FloatArray:
    """Minus the Jeffreys divergences (C, T, J, K) of all components from those of the pivot; 0 for unused slots."""
    C, T, K, D = trace.means.shape
    own = trace.weights[pivot][order], trace.means[pivot][order], trace.covariances[pivot][order]
    scores = np.empty((C, T, len(order), K))
    for c in range(C):
        filled = ~np.isnan(trace.means[c, ..., 0])
        means, covariances = trace.means[c], trace.covariances[c]
        if not filled.all():
            means = np.where(filled[..., None], means, 0.0)
            covariances = np.where(filled[..., None, None], covariances, np.eye(D))
        scores[c] = np.where(filled[:, None], -_divergences(trace.weights[c], means, covariances, *own), 0.0)
    return scores


def _divergences(
    weights: FloatArray,
    means: FloatArray,
    covariances: FloatArray,
    pivot_weights: FloatArray,
    pivot_means: FloatArray,
    pivot_covariances: FloatArray,
) -> FloatArray:
    """Jeffreys divergences of weighted Gaussians: K components in each of T draws against K of a pivot.

    Parameters
    ----------
    weights, means, covariances : (T, K), (T, K, D), (T, K, D, D)
        The draws.
    pivot_weights, pivot_means, pivot_covariances : (K,), (K, D), (K, D, D)
        The pivot.

    Returns
    -------
    (T, K, K) float64
        ``[t, j, k]``: component j of the pivot against component k of draw t.
    """
    D = means.shape[-1]
    # A weight may have underflowed to zero.
    w = np.maximum(weights, np.finfo(float).tiny)
    precisions, log_dets = np.linalg.inv(covariances), np.linalg.slogdet(covariances)[1]
    cost = np.empty((len(w), len(pivot_weights), w.shape[1]))
    for j, (v, mean, covariance) in enumerate(zip(pivot_weights, pivot_means, pivot_covariances, strict=True)):
        v = max(float(v), np.finfo(float).tiny)
        precision, log_det = np.linalg.inv(covariance), np.linalg.slogdet(covariance)[1]
        d = means - mean
        # Twice the Kullback-Leibler divergences, from the draw to the pivot and back.
        forth = _trace(covariances, precision) + np.einsum("tki,ij,tkj->tk", d, precision, d, optimize=True)
        back = _trace(precisions, covariance) + (np.matmul(precisions, d[..., None])[..., 0] * d).sum(-1)
        forth += log_det - log_dets - D
        back += log_dets - log_det - D
        cost[:, j] = (w - v) * np.log(w / v) + 0.5 * (w * forth + v * back)
    return cost


def _trace(A: AnyArray, B: AnyArray) -> AnyArray:
    """trace(A B) of symmetric A (T, K, D, D) and B (D, D), as one matrix-vector product."""
    return A.reshape(*A.shape[:2], -1) @ B.ravel()
