"""Chains made ready: priors as numbers, states to start from, and room for the draws."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gibbs_gmm.kernels.families.generic import Family
from gibbs_gmm.kernels.sampler.counted import Copies
from gibbs_gmm.kernels.sampler.state import N_CLUSTERS, Data, Model, State
from gibbs_gmm.kernels.types import FloatArray, IntArray
from gibbs_gmm.model.families import ComponentPrior
from gibbs_gmm.model.weight_priors import WeightPrior
from gibbs_gmm.sampler.buffers import empty_state
from gibbs_gmm.sampler.chain import Chain
from gibbs_gmm.sampler.machine import phantom
from gibbs_gmm.sampler.recipe import Recipe
from gibbs_gmm.sampler.starts import kmeans_plus_plus
from gibbs_gmm.trace_arrays import allocate

if TYPE_CHECKING:
    from gibbs_gmm.sampler.machines import Cluster


def chains_of(
    recipe: Recipe,
    data: Data,
    cluster: Cluster | None = None,
    window_bytes: int | None = None,
    copies: IntArray | None = None,
) -> list[Chain]:
    """All chains of a run, before their first sweep.

    ``window_bytes`` is the memory that the draws of one may take; by default there is room for all draws. ``copies``
    (N,) says how many observations each row stands for, if not one.
    """
    model, alpha = as_model(recipe.prior, recipe.weight_prior, data.loc)
    known, fields, (N, D) = recipe.known_n, recipe.fields, data.X.shape
    capacity = recipe.capacity(N)
    whole = None  # the arrays of all chains, where it is known how large they will be
    if known is not None and window_bytes is None:
        whole = allocate(fields, (recipe.chains, recipe.plan.draws), known, D, N)
    chains = []
    for c, seed in enumerate(recipe.root.spawn(recipe.chains)):
        generator = np.random.Generator(np.random.PCG64(seed))
        K = known or min(_start(c, N), capacity - 1)
        state = initial_state(generator, data, model, recipe.prior.family, alpha, K, capacity, copies)
        if cluster is not None:
            cluster.add_chain(c, model.prior, recipe.prior.family, data.loc, capacity)
        rows = None if whole is None else {name: array[c] for name, array in whole.items()}
        settings = recipe.plan, fields, window_bytes, rows, cluster
        chains.append(Chain(c, generator, data, model, recipe.prior.family, state, *settings))
    return chains


def as_model(prior: ComponentPrior, weight_prior: WeightPrior, loc: FloatArray) -> tuple[Model, float]:
    """Both priors as numbers for the kernels, in coordinates about ``loc``, and a starting concentration."""
    weights, alpha = weight_prior.as_kernel()
    return Model(weights, prior.as_kernel(loc), prior.hyper_as_kernel()), alpha


def initial_state(
    rng: np.random.Generator,
    data: Data,
    model: Model,
    family: Family,
    alpha: float,
    K: int,
    capacity: int,
    copies: IntArray | None = None,
) -> State:
    """A chain's state before its first sweep: K components, and the statistics of a k-means++ clustering.

    ``capacity`` components find room. Labels are not set yet: the first sweep draws them. Rows stand for ``copies``
    (N,) observations each, if given.
    """
    N, D = data.X.shape
    z: Any = np.zeros(N, np.uint16)
    if copies is not None:
        z = Copies(phantom((capacity, N), np.int64), np.concatenate([[0], np.cumsum(copies)]))
        z.c[0] = copies  # all labels are 0
    state = empty_state(z, model.prior, family, capacity)
    state.alpha[0] = alpha
    state.size[:] = K, 0
    rows, labels, counts = kmeans_plus_plus(rng, data.X, data.loc, data.scale, K, copies)
    t = 0
    for k in range(K):
        own = rows[labels == k]
        if len(own) > 0:
            n = np.ones(len(own)) if counts is None else counts[labels == k].astype(np.float64)
            centre = own.mean(0) if counts is None else n @ own / n.sum()
            state.total.n[t] = n.sum()
            state.components.centre[t, :D] = centre
            state.total.block[t] = family.block_of(np.sqrt(n)[:, None] * (own - centre))
            t += 1
    state.size[N_CLUSTERS] = t
    return state


def _start(chain: int, N: int) -> int:
    """How many clusters a chain of unknown n starts from: one, many, and in between."""
    return min(N, (1, 20, 4, 10)[chain % 4])
