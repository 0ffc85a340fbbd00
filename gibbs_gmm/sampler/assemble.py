"""Chains made ready: priors as numbers, states to start from, and room for the draws."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gibbs_gmm.kernels.families.generic import Family
from gibbs_gmm.kernels.sampler.state import N_CLUSTERS, Data, Model, State
from gibbs_gmm.kernels.types import FloatArray
from gibbs_gmm.model.families import ComponentPrior
from gibbs_gmm.model.weight_priors import WeightPrior
from gibbs_gmm.sampler.buffers import empty_state
from gibbs_gmm.sampler.chain import Chain
from gibbs_gmm.sampler.recipe import Recipe
from gibbs_gmm.sampler.starts import from_sample, kmeans_plus_plus, sample
from gibbs_gmm.trace_arrays import allocate

if TYPE_CHECKING:
    from gibbs_gmm.sampler.machines import Cluster


def chains_of(
    recipe: Recipe, data: Data, cluster: Cluster | None = None, window_bytes: int | None = None
) -> list[Chain]:
    """All chains of a run, before their first sweep.

    ``window_bytes`` is the memory that the draws of one may take; by default there is room for all draws.
    """
    model, alpha = as_model(recipe.prior, recipe.weight_prior, data.loc)
    known, fields, (N, D) = recipe.known_n, recipe.fields, data.X.shape
    capacity = recipe.capacity(N)
    whole = None  # the arrays of all chains, where it is known how large they will be
    if known is not None and window_bytes is None:
        whole = allocate(fields, (recipe.chains, recipe.plan.draws), known, D, N)
    family = recipe.prior.family
    chains = []
    for c, seed in enumerate(recipe.root.spawn(recipe.chains)):
        generator = np.random.Generator(np.random.PCG64(seed))
        K = known or min(_start(c, N), capacity - 1)
        first = None
        if from_sample(N):
            some, plan = sample(generator, data)
            start = initial_state(generator, some, model, family, alpha, K, capacity)
            first = Chain(
                c, generator, some, model, family, start, plan, [f for f in fields if f.name != "assignments"]
            )
            state = empty_state(np.zeros(N, np.uint16), model.prior, family, capacity)
        else:
            state = initial_state(generator, data, model, family, alpha, K, capacity)
        if cluster is not None:
            cluster.add_chain(c, model.prior, family, data.loc, capacity)
        rows = None if whole is None else {name: array[c] for name, array in whole.items()}
        chain = Chain(c, generator, data, model, family, state, recipe.plan, fields, window_bytes, rows, cluster)
        chain.first = first
        chains.append(chain)
    return chains


def as_model(prior: ComponentPrior, weight_prior: WeightPrior, loc: FloatArray) -> tuple[Model, float]:
    """Both priors as numbers for the kernels, in coordinates about ``loc``, and a starting concentration."""
    weights, alpha = weight_prior.as_kernel()
    return Model(weights, prior.as_kernel(loc), prior.hyper_as_kernel()), alpha


def initial_state(
    rng: np.random.Generator, data: Data, model: Model, family: Family, alpha: float, K: int, capacity: int
) -> State:
    """A chain's state before its first sweep: K components, and the statistics of a k-means++ clustering.

    ``capacity`` components find room. Labels are not set yet: the first sweep draws them.
    """
    D = data.X.shape[1]
    state = empty_state(np.zeros(len(data.X), np.uint16), model.prior, family, capacity)
    state.alpha[0] = alpha
    state.size[:] = K, 0
    rows, labels = kmeans_plus_plus(rng, data.X, data.loc, data.scale, K)
    t = 0
    for k in range(K):
        own = rows[labels == k]
        if len(own) > 0:
            centre = own.mean(0)
            state.total.n[t] = len(own)
            state.components.centre[t, :D] = centre
            state.total.block[t] = family.block_of(own - centre)
            t += 1
    state.size[N_CLUSTERS] = t
    return state


def _start(chain: int, N: int) -> int:
    """How many clusters a chain of unknown n starts from: one, many, and in between."""
    return min(N, (1, 20, 4, 10)[chain % 4])
