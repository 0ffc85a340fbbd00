"""A state as one draw of the trace."""

import math

import numpy as np

from gibbs_gmm.kernels._jit import step
from gibbs_gmm.kernels.families.generic import erase, log_prior, write, write_shared
from gibbs_gmm.kernels.sampler.moves import Moves
from gibbs_gmm.kernels.sampler.outliers import log_share_prior
from gibbs_gmm.kernels.sampler.partition_prior import PROCESS, component_concentration
from gibbs_gmm.kernels.sampler.rows import Rows
from gibbs_gmm.kernels.sampler.state import LOG_SHARE, N_CLUSTERS, N_COMPONENTS, Data, Draws, Model, State
from gibbs_gmm.kernels.sampler.weights import log_dirichlet


@step
def record(
    rng: np.random.Generator,
    data: Data,
    model: Model,
    state: State,
    moves: Moves,
    total: float,
    draws: Draws,
    row: int,
    rows: Rows,
) -> bool:
    """Write the state into a row of the draws: its parameters, and the log posterior density

    log p(X | w, mu, Sigma) + log p(w) + sum_k log p(mu_k, Sigma_k), up to a constant, over all components (known n) or
    the occupied ones and their weights (unknown n). Unused slots are NaN, their weights 0. False if there are too few
    slots.
    """
    slots, K, t = draws.weights.shape[1], state.size[N_COMPONENTS], state.size[N_CLUSTERS]
    written = K if model.weights.known else t
    if written > slots:
        return False
    log_density = log_prior(state.prior, state.parameters, state.components.centre, written)
    means, covariances = draws.means[row], draws.covariances[row]
    for k in range(written):
        n = state.total.n[k] if k < t else 0.0
        draws.weights[row, k] = math.exp(state.log_w[k])
        write(
            state.prior, rng, n, state.total, k, state.parameters, state.components, data.loc, moves.scratch,
            means, covariances,
        )  # fmt: skip
    for k in range(written, slots):
        draws.weights[row, k] = 0.0
        for i in range(means.shape[1]):
            means[k, i] = np.nan
        erase(state.prior, covariances, k)
    if model.weights.kind != PROCESS:
        log_density += log_dirichlet(component_concentration(model.weights, state.alpha[0], K), state.log_w[:K])
    if state.outliers.shape[0] > 0:
        log_density += log_share_prior(state)
        draws.outlier_weight[row] = math.exp(state.outliers[LOG_SHARE])
    draws.log_likelihood[row] = total
    draws.log_posterior[row] = total + log_density
    draws.n_components[row] = K
    draws.n_clusters[row] = t
    draws.concentration[row] = state.alpha[0]
    write_shared(state.prior, covariances, draws.kappa_0, draws.scale, row)
    if draws.z.shape[0] > 0:
        rows.copy(state.z, draws.z[row])
    return True
