"""Where chains start: a clustering that differs from chain to chain, of very many rows one of some of them.

A sweep over some of the rows costs little and says most of what one over all of them would. Chains of very many rows
therefore go through a warm-up of their own with rows that each draws for itself, and start from the clusters that they
have then. What is left to warm up with all rows is what only these can tell.
"""

from __future__ import annotations

import numpy as np

from gibbs_gmm.kernels.sampler.state import Data, State
from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray
from gibbs_gmm.sampler.recipe import Plan

_SAMPLE = 10_000
_VERY_MANY = 200_000  # rows, from which on chains start from a sample of them
_SHARE, _FEWEST, _MOST = 20, 20_000, 100_000  # one row in so many is in that sample, between so few and so many
_SWEEPS = 1_000  # over that sample: they cost as much as some 50 over all rows


def from_sample(N: int) -> bool:
    """Whether chains of N rows start from a run with some of them."""
    return N >= _VERY_MANY


def sample(rng: np.random.Generator, data: Data) -> tuple[Data, Plan]:
    """Rows to start with, and how long: a warm-up and nothing behind it.

    Their values are taken as they are, with what else is known of rows left out: it is a start, not a posterior.
    """
    N = len(data.X)
    edges = np.linspace(0, N, min(_MOST, max(_FEWEST, N // _SHARE)) + 1).astype(np.int64)
    index = edges[:-1] + rng.integers(np.diff(edges))  # one of each stretch: in order, and no list of all rows
    rows: AnyArray = np.array(data.X[index], order="C")
    rows.flags.writeable = False  # as all data are: nothing is compiled for these alone
    return Data(rows, data.loc, data.scale), Plan(warmup=_SWEEPS, draws=0, thin=1)


def start_from(state: State, other: State) -> None:
    """Let a state that has no labels yet start from the clusters of another one, which may be of other rows."""
    for mine, theirs in (
        *zip(state.total, other.total, strict=True),
        *zip(state.components, other.components, strict=True),
        *zip(state.parameters, other.parameters, strict=True),
        *zip(state.prior, other.prior, strict=True),
        (state.log_w, other.log_w),
        (state.alpha, other.alpha),
        (state.size, other.size),
    ):
        mine[...] = theirs


def kmeans_plus_plus(
    rng: np.random.Generator, X: AnyArray, loc: FloatArray, scale: FloatArray, K: int, copies: IntArray | None = None
) -> tuple[FloatArray, IntArray, IntArray | None]:
    """Seeds by k-means++ (Arthur & Vassilvitskii 2007), and a rough clustering about them.

    Works on at most 10,000 rows sampled for the chain, or 50 for each component, and on standardised columns. The seeds
    are not refined: chains should start apart. ``copies`` (N,) says how many observations each row stands for, if not
    one.

    Returns
    -------
    rows : (M, D) float64
        The rows used, shifted by ``loc``.
    labels : (M,) int64
        The nearest seed of each.
    own : (M,) int64 or None
        Their ``copies``.
    """
    N = X.shape[0]
    M = min(N, max(_SAMPLE, 50 * K))
    index = np.arange(N) if M == N else np.sort(rng.choice(N, M, replace=False, shuffle=False))
    rows = X[index].astype(np.float64) - loc
    standard = rows / np.where(scale > 0.0, scale, 1.0)
    nearest = np.full(M, np.inf)
    labels = np.zeros(M, np.int64)
    own = None if copies is None else copies[index]
    seed = int(rng.integers(M)) if own is None else int(rng.choice(M, p=own / own.sum()))
    for k in range(K):
        distance = np.square(standard - standard[seed]).sum(1)
        closer = distance < nearest
        labels[closer] = k
        nearest[closer] = distance[closer]
        likely = nearest if own is None else nearest * own
        total = likely.sum()
        seed = int(rng.choice(M, p=likely / total)) if total > 0.0 else int(rng.integers(M))
    return rows, labels, own
