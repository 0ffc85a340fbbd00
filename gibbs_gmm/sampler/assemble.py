"""Chains made ready: priors as numbers, states to start from, and room for the draws."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gibbs_gmm.kernels.families.generic import Family
from gibbs_gmm.kernels.sampler.counted import Copies
from gibbs_gmm.kernels.sampler.state import N_CLUSTERS, Data, Model, State
from gibbs_gmm.kernels.types import FloatArray, IntArray
from gibbs_gmm.latent import filled_in
from gibbs_gmm.model.families import ComponentPrior
from gibbs_gmm.model.weight_priors import WeightPrior
from gibbs_gmm.sampler.buffers import NO_OUTLIERS, empty_state
from gibbs_gmm.sampler.chain import Chain
from gibbs_gmm.sampler.machine import phantom
from gibbs_gmm.sampler.recipe import Recipe
from gibbs_gmm.sampler.starts import from_sample, kmeans_plus_plus, sample
from gibbs_gmm.trace_arrays import allocate

if TYPE_CHECKING:
    from gibbs_gmm.sampler.rows import Away


def chains_of(
    recipe: Recipe,
    data: Data,
    away: Away | None = None,
    window_bytes: int | None = None,
    copies: IntArray | None = None,
) -> list[Chain]:
    """All chains of a run, before their first sweep.

    ``window_bytes`` is the memory that the draws of one may take; by default there is room for all draws. ``copies``
    (N,) says how many observations each row stands for, if not one.
    """
    model, alpha = as_model(recipe.prior, recipe.weight_prior, data.loc)
    tagged = 0
    if recipe.labels is not None:
        tagged = len(recipe.labels.names)
        data = data._replace(tags=recipe.labels.tags.copy())
        model = model._replace(weights=model.weights._replace(tagged=tagged))
    outliers = NO_OUTLIERS if recipe.outliers is None else recipe.outliers.as_kernel()
    known, fields, (N, D) = recipe.known_n, recipe.fields, data.X.shape
    capacity = recipe.capacity(N)
    whole = None  # the arrays of all chains, where it is known how large they will be
    if known is not None and window_bytes is None:
        whole = allocate(fields, (recipe.chains, recipe.plan.draws), known, D, N)
    family = recipe.prior.family
    plain = tagged == 0 and len(outliers) == 0 and len(data.latent.group) == 0 and copies is None
    chains, shards = [], None if away is None else away.shards
    for c, seed in enumerate(recipe.root.spawn(recipe.chains)):
        generator = np.random.Generator(np.random.PCG64(seed))
        K = known or max(tagged, min(_start(c, N), capacity - 1 - (len(outliers) > 0)))
        own, first = filled_in(generator, data, capacity), None
        if plain and from_sample(N):
            some, plan = sample(generator, data)
            start = initial_state(generator, some, model, family, alpha, K, capacity)
            first = Chain(
                c, generator, some, model, family, start, plan, [f for f in fields if f.name != "assignments"]
            )
            state = empty_state(np.zeros(N, np.uint16), model.prior, family, capacity, shards=shards)
        else:
            state = initial_state(
                generator, own, model, family, alpha, K, capacity, outliers, shards=shards, copies=copies
            )
        if away is not None:
            away.add_chain(c, model.prior, family, own, capacity)
        rows = None if whole is None else {name: array[c] for name, array in whole.items()}
        chain = Chain(c, generator, own, model, family, state, recipe.plan, fields, window_bytes, rows, away)
        chain.first = first
        chains.append(chain)
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
    outliers: FloatArray = NO_OUTLIERS,
    *,
    shards: int | None = None,
    copies: IntArray | None = None,
) -> State:
    """A chain's state before its first sweep: K components, and the statistics of a k-means++ clustering.

    The first components have the rows of known kinds, and the clustering is one of the others. ``capacity`` components
    find room. Labels are not set yet, but for known ones: the first sweep draws them. Rows stand for ``copies`` (N,)
    observations each, if given.
    """
    (N, D), tagged = data.X.shape, model.weights.tagged
    z: Any = np.zeros(N, np.uint16)
    if copies is not None:
        z = Copies(phantom((capacity, N), np.int64), np.concatenate([[0], np.cumsum(copies)]))
        z.c[0] = copies  # all labels are 0
    state = empty_state(z, model.prior, family, capacity, outliers, shards)
    state.alpha[0] = alpha
    state.size[:] = K, 0
    groups, free = [], data.X
    if tagged > 0:
        known = data.tags >= 0
        state.z[known] = data.tags[known]
        groups = [data.X[data.tags == k].astype(np.float64) - data.loc for k in range(tagged)]
        free = data.X[~known]
    sizes = [np.ones(len(own)) for own in groups]
    if len(free) > 0 and len(groups) < K:
        rows, labels, counts = kmeans_plus_plus(rng, free, data.loc, data.scale, K - tagged, copies)
        weights = np.ones(len(rows)) if counts is None else counts.astype(np.float64)
        groups += [rows[labels == k] for k in range(K - tagged)]
        sizes += [weights[labels == k] for k in range(K - tagged)]
    t = 0
    for own, n in zip(groups, sizes, strict=True):
        if len(own) > 0:
            centre = own.mean(0) if copies is None else n @ own / n.sum()
            state.total.n[t] = n.sum()
            state.components.centre[t, :D] = centre
            moved = own - centre if copies is None else np.sqrt(n)[:, None] * (own - centre)
            state.total.block[t] = family.block_of(moved)
            t += 1
    state.size[N_CLUSTERS] = t
    return state


def _start(chain: int, N: int) -> int:
    """How many clusters a chain of unknown n starts from: one, many, and in between."""
    return min(N, (1, 20, 4, 10)[chain % 4])
