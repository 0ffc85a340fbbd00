"""What a sweep draws given the clusters: n, the concentration, the weights, and the components' parameters."""

import math
from typing import Any

import numpy as np

from gibbs_gmm.kernels._jit import kernel, step
from gibbs_gmm.kernels.families.generic import draw, draw_hyper, draw_shared, prepare
from gibbs_gmm.kernels.random import draw_key
from gibbs_gmm.kernels.sampler.outliers import draw_share
from gibbs_gmm.kernels.sampler.partition_prior import (
    PROCESS,
    break_sticks,
    component_concentration,
    draw_concentration,
    draw_n_components,
    draw_process_weights,
)
from gibbs_gmm.kernels.sampler.rows import Rows
from gibbs_gmm.kernels.sampler.state import (
    N_CLUSTERS,
    N_COMPONENTS,
    Model,
    State,
    n_observations,
    n_rows,
    outlier_label,
)
from gibbs_gmm.kernels.sampler.weights import draw_log_weights
from gibbs_gmm.kernels.tile import LOG2_E
from gibbs_gmm.kernels.types import FloatArray


@step
def _draw_sticks(rng: np.random.Generator, model: Model, state: State, t: int, rows: Rows) -> int:
    """Weights of a process given C: the clusters', then sticks until less is left than the least slice (Walker 2007).

    The slice of row i is u_i = w_{z_i} v_i, v_i uniform by ``key[1]``. Returns the number n of components; log_w[n]
    holds the rest.
    """
    alpha, log_w, w = state.alpha[0], state.log_w, state.components.log_c  # log_c is set afresh after this
    draw_process_weights(rng, model.weights, alpha, t, state.total.n, log_w)
    for k in range(t):
        w[k] = math.exp(log_w[k])
    if state.outliers.shape[0] > 0:
        w[outlier_label(state)] = 1.0
    least = rows.least_slice(state.z, w, state.key[1], 0, n_rows(state))
    return break_sticks(rng, model.weights, alpha, t, math.log(least), log_w)


@step
def draw_weights(rng: np.random.Generator, model: Model, state: State, scratch: FloatArray, rows: Rows) -> None:
    """n | C, then the concentration | C, n, then the weights | C, n and the concentration."""
    N, weights, sizes, alpha = n_observations(state), model.weights, state.total.n, state.alpha[0]
    t = state.size[N_CLUSTERS]
    state.key[1] = draw_key(rng)
    if weights.kind != PROCESS and not weights.known:
        state.size[N_COMPONENTS] = draw_n_components(rng, weights, alpha, N, t, sizes, scratch)
    if weights.grid.shape[0] > 0:
        alpha = draw_concentration(rng, weights, alpha, N, state.size[N_COMPONENTS], t, sizes)
        state.alpha[0] = alpha
    if weights.kind == PROCESS:
        draw_share(rng, state)
        state.size[N_COMPONENTS] = _draw_sticks(rng, model, state, t, rows)
    else:
        draw_known_weights(rng, model, state, scratch, rows)


@step
def draw_known_weights(rng: np.random.Generator, model: Model, state: State, scratch: FloatArray, rows: Rows) -> None:
    """The weights | C where n and the concentration are known: all that :func:`draw_weights` then does."""
    t, n = state.size[N_CLUSTERS], state.size[N_COMPONENTS]
    draw_share(rng, state)
    for k in range(t, n):
        state.total.n[k] = 0.0
    gamma = component_concentration(model.weights, state.alpha[0], n)
    draw_log_weights(rng, gamma, state.total.n, state.log_w[:n])


@kernel
def _draw_components(rng: np.random.Generator, state: State, scratch: Any, first: int, last: int) -> int:
    """(mu_k, Sigma_k) | z for components first .. last, ready for the label pass; those without rows from the prior.

    Returns 0, or k + 1 when component k failed.
    """
    total, components, t = state.total, state.components, state.size[N_CLUSTERS]
    for k in range(first, last):
        n = total.n[k] if k < t else 0.0
        if draw(state.prior, rng, n, total, k, components.centre, state.parameters, k, scratch) != 0:
            return k + 1
        log_density = prepare(state.prior, state.parameters, k, components, k)
        components.log_c[k] = LOG2_E * (state.log_w[k] + log_density)
    return 0


@kernel
def draw_parameters(rng: np.random.Generator, model: Model, state: State, scratch: Any) -> int:
    """All parameters and hyperparameters of the components | C, n, and a key for the labels that follow.

    Returns 0, k + 1 when component k failed, or a negative number when what all share did.
    """
    t, K, centre = state.size[N_CLUSTERS], state.size[N_COMPONENTS], state.components.centre
    first = 0 * t
    status = draw_shared(state.prior, rng, state.total, t, centre, scratch)
    if status != 0:
        return -status
    state.key[0] = draw_key(rng)
    failed = _draw_components(rng, state, scratch, first, t)
    if failed == 0:
        failed = -draw_hyper(state.prior, rng, model.hyper, t, state.parameters, centre, scratch)
    if failed == 0:
        state.key[0] = draw_key(rng)
        failed = _draw_components(rng, state, scratch, t, K)
    return failed
