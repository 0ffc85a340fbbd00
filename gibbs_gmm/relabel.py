"""Matching components across draws and chains: labels mean nothing until this is done."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray
from gibbs_gmm.trace import Trace


def most_probable_n_clusters(trace: Trace) -> int:
    """The value of ``n_clusters`` that most draws of all chains have; of several, the smallest."""
    return int(np.bincount(trace.n_clusters.ravel()).argmax())


def match_components(trace: Trace) -> IntArray:
    """A permutation of the components of each draw, so that component k is the same in every draw and chain.

    The pivot is one draw, its components in order of decreasing weight. Every draw is permuted so as to minimise the
    sum over pairs (k of the draw, j of the pivot) of the symmetric Kullback-Leibler (Jeffreys) divergence of w_k N_k
    and w_j N_j, weights included:

        (w_k - w_j) log(w_k / w_j) + w_k KL(N_k, N_j) + w_j KL(N_j, N_k).

    By the log-sum inequality the sum bounds the Jeffreys divergence of the two whole mixtures from above; this is
    the labelling with the least such bound. The weights matter: without them a component that owns no observation,
    and is drawn from the prior, has divergences so large that it alone decides where the others go.

    For a known number of components the pivot is the draw with the highest log_posterior. For an unknown one it is the
    draw with the highest log_likelihood among those with the most probable number of clusters, t. (log_posterior cannot
    be compared between dimensions, and the Dirichlet density in it grows without bound as the weight of an unoccupied
    component vanishes.) A draw with more than t clusters has the t that match best in the places 0..t-1, and the others
    behind them in order of decreasing weight; one with fewer leaves some of those places to its unused slots.

    Parameters
    ----------
    trace : Trace
        C chains of T draws of at most K components; unused slots are NaN.

    Returns
    -------
    (C, T, K) int64
        ``perm[c, t, j]`` is the component of draw t of chain c that matches component j of the pivot:
        ``np.take_along_axis(trace.weights, perm, -1)`` is matched. No draw is left out, and the order of the chains
        does not matter.
    """
    C, T, K = trace.weights.shape
    filled = ~np.isnan(trace.means[..., 0])
    criterion = trace.log_posterior
    if not trace.n_is_known:
        criterion = np.where(trace.n_clusters == most_probable_n_clusters(trace), trace.log_likelihood, -np.inf)
    pivot = np.unravel_index(np.argmax(criterion), (C, T))
    order = np.argsort(-trace.weights[pivot], kind="stable")[: np.count_nonzero(filled[pivot])]
    pivot_mixture = (trace.weights[pivot][order], trace.means[pivot][order], trace.covariances[pivot][order])
    perm = np.full((C, T, K), -1, dtype=np.int64)
    for c in range(C):
        means, covariances = trace.means[c], trace.covariances[c]
        if not filled[c].all():
            means = np.where(filled[c][..., None], means, 0.0)
            covariances = np.where(filled[c][..., None, None], covariances, np.eye(means.shape[-1]))
        cost = _divergences(trace.weights[c], means, covariances, *pivot_mixture)
        by_weight = np.argsort(np.where(filled[c], -trace.weights[c], 1.0), axis=-1, kind="stable")
        for t in range(T):
            own = np.flatnonzero(filled[c, t])
            places, matched = linear_sum_assignment(cost[t][:, own])
            row = perm[c, t]
            row[places] = own[matched]
            row[row < 0] = by_weight[t][~np.isin(by_weight[t], row)]
    return perm


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
