"""Traces of fits that were never made: of a given or an unknown number of components, whose answers are known."""

import dataclasses
from typing import Any

import numpy as np
from scipy import stats

from gibbs_gmm import FiniteMixture, MixtureOfFiniteMixtures, NormalInverseWishart, Trace

BY_DRAW = (
    "weights",
    "means",
    "covariances",
    "assignments",
    "n_components",
    "n_clusters",
    "log_likelihood",
    "log_posterior",
    "concentration",
    "kappa_0",
    "Psi_0",
)


def simulate(C: int = 4, T: int = 300, K: int = 3, D: int = 2, N: int = 60, seed: int = 0) -> tuple[Trace, Any]:
    """A made-up trace of independent draws, components in the same order everywhere, and data that fit it.

    Components are 8 standard deviations apart along every column, their weights decrease, and row i of X belongs to
    component i modulo K.
    """
    rng = np.random.default_rng(seed)
    weights = np.arange(K, 0, -1) / np.arange(K, 0, -1).sum()
    centres = 8.0 * np.arange(K)[:, None] * (-1.0) ** np.arange(D)
    A = rng.normal(size=(C, T, K, D, 40))
    z = np.arange(N) % K
    values = dict.fromkeys((field.name for field in dataclasses.fields(Trace)), None)  # nothing else was learned
    values |= {
        "weights": rng.dirichlet(4000.0 * weights, (C, T)),
        "means": centres + 0.1 * rng.normal(size=(C, T, K, D)),
        "covariances": np.einsum("ctkin,ctkjn->ctkij", A, A) / 40,
        "assignments": np.broadcast_to(z.astype(np.uint8), (C, T, N)).copy(),
        "n_components": np.full((C, T), K),
        "n_clusters": np.full((C, T), K),
        "log_likelihood": rng.normal(-200.0, 2.0, (C, T)),
        "log_posterior": rng.normal(-220.0, 2.0, (C, T)),
        "columns": tuple(f"x{d}" for d in range(D)),
        "prior": NormalInverseWishart(np.zeros(D), 1.0, D + 2, np.eye(D)),
        "weight_prior": FiniteMixture(K),
        "settings": {"n_observations": N, "interrupted": False, "seed": 1},
    }
    trace = Trace(**values)
    return trace, centres[z] + rng.normal(size=(N, D))


def simulate_unknown_n(
    n_clusters: Any = (0.0, 0.2, 0.5, 0.3),
    C: int = 4,
    T: int = 300,
    D: int = 2,
    weight_prior: Any = None,
    seed: int = 0,
) -> tuple[Trace, Any]:
    """A made-up trace of an unknown number of components, and data that fit it.

    ``n_clusters`` are the probabilities of 1, 2, ... or an array (C, T). A draw with t clusters has the first t
    components of :func:`simulate`, in order, and 1% of weight without observations; half of the draws have more
    components than clusters. The rows of components that a draw does not have belong to the first.
    """
    rng = np.random.default_rng([seed, 1])
    t = np.asarray(n_clusters)
    if t.ndim == 1:
        t = 1 + rng.choice(len(t), size=(C, T), p=t)
    (C, T), K = t.shape, int(t.max())
    trace, X = simulate(C, T, K, D, seed=seed)
    z = np.arange(60) % K
    used = np.arange(K) < t[..., None]
    weights = np.where(used, trace.weights, 0.0)
    return dataclasses.replace(
        trace,
        weights=0.99 * weights / weights.sum(-1, keepdims=True),
        means=np.where(used[..., None], trace.means, np.nan),
        covariances=np.where(used[..., None, None], trace.covariances, np.nan),
        assignments=np.where(z < t[..., None], z, 0).astype(np.uint8),
        n_components=t + rng.geometric(0.5, (C, T)) - 1,
        n_clusters=t,
        concentration=rng.gamma(2.0, size=(C, T)),
        weight_prior=MixtureOfFiniteMixtures() if weight_prior is None else weight_prior,
    ), X


def select(trace: Trace, *index: Any) -> Trace:
    """Some chains and draws of a trace."""
    arrays = {name: getattr(trace, name)[index] for name in BY_DRAW if getattr(trace, name) is not None}
    return dataclasses.replace(trace, **arrays)


def shuffled(trace: Trace, seed: int) -> tuple[Trace, Any]:
    """The trace with the components of every draw in an order of their own: ``new[k] = old[order[k]]``."""
    order = np.random.default_rng(seed).permuted(
        np.broadcast_to(np.arange(trace.weights.shape[2]), trace.weights.shape), axis=2
    )
    return (
        dataclasses.replace(
            trace,
            weights=np.take_along_axis(trace.weights, order, 2),
            means=np.take_along_axis(trace.means, order[..., None], 2),
            covariances=np.take_along_axis(trace.covariances, order[..., None, None], 2),
            assignments=np.take_along_axis(np.argsort(order, 2), trace.assignments.astype(int), 2).astype(np.uint8),
        ),
        order,
    )


def exchanging(N: int = 90, C: int = 2, T: int = 100, seed: int = 0) -> tuple[Trace, Any]:
    """Components 1 and 2 of three cannot be told apart: the same N rows in two parts, a new cut in each draw.

    Rows lie on a circle, and the two components cut it by a line through its centre, at any angle; which side is 1 is
    a coin's toss. Component 0 is far away.
    """
    rng = np.random.default_rng(seed)
    trace, _ = simulate(C, T, 3, 2, N, seed)
    far, angle = np.arange(N) % 3 == 0, np.linspace(0.0, 2.0 * np.pi, N)
    X = np.where(far[:, None], [100.0, 0.0], np.stack([np.cos(angle), np.sin(angle)], axis=1))
    X[far] += rng.normal(size=(far.sum(), 2))
    cut = rng.uniform(0.0, 2.0 * np.pi, (C, T))
    side = np.cos(angle - cut[..., None]) > 0.0
    means, covariances, weights = trace.means.copy(), trace.covariances.copy(), np.full((C, T, 3), 1 / 3)
    means[..., 0, :] = 100.0, 0.0
    for k, sign in ((1, -0.6), (2, 0.6)):
        means[..., k, 0], means[..., k, 1] = sign * np.cos(cut), sign * np.sin(cut)
        covariances[..., k, :, :] = 0.3 * np.eye(2)
    weights += rng.normal(0.0, 0.01, weights.shape)
    weights /= weights.sum(-1, keepdims=True)
    assignments = np.where(far, 0, 1 + side).astype(np.uint8)
    return dataclasses.replace(trace, weights=weights, means=means, covariances=covariances, assignments=assignments), X


def classification_probabilities(trace: Trace, X: Any) -> Any:
    """(C, T, N, K), by SciPy."""
    C, T, K = trace.weights.shape
    p = np.empty((C, T, len(X), K))
    for c, t, k in np.ndindex(C, T, K):
        density = stats.multivariate_normal(trace.means[c, t, k], trace.covariances[c, t, k])
        p[c, t, :, k] = trace.weights[c, t, k] * density.pdf(X.astype(np.float64))
    return p / p.sum(-1, keepdims=True)


def noisy() -> tuple[Trace, Any]:
    """Four components 1.5 standard deviations apart, the pivot's labels half wrong; 201 rows, more than a tile."""
    truth, X = simulate(C=2, T=15, K=4, N=201)
    rng = np.random.default_rng(5)
    truth = dataclasses.replace(truth, means=truth.means * (1.5 / 8.0))
    X = X - truth.means[0, 0, np.arange(201) % 4] * 0.0
    X = truth.means.mean((0, 1))[np.arange(201) % 4] + rng.normal(size=(201, 2))
    p = classification_probabilities(truth, X)
    z = (rng.random((*p.shape[:3], 1)) > p.cumsum(-1)).sum(-1).astype(np.uint8)
    pivot = np.unravel_index(truth.log_posterior.argmax(), (2, 15))
    z[pivot] = np.where(rng.random(201) < 0.5, rng.integers(0, 4, 201), z[pivot])
    return shuffled(dataclasses.replace(truth, assignments=z), seed=6)[0], X
