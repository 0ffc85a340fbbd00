"""What the kernels pass to each other: data and model in, a chain's state, and the draws that come out."""

from typing import NamedTuple

from gibbs_gmm.kernels._jit import kernel
from gibbs_gmm.kernels.families.full import Prior
from gibbs_gmm.kernels.families.hyperprior import Hyperprior
from gibbs_gmm.kernels.sampler.label_pass import Components, Statistics
from gibbs_gmm.kernels.sampler.partition_prior import Weights
from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray, LabelArray

ALPHA, KAPPA, LOG_NORM = 0, 1, 2
"""Places in ``State.hyper``: concentration, kappa_0, and the log normaliser of the current component prior."""

N_COMPONENTS, N_CLUSTERS = 0, 1
"""Places in ``State.size``."""

DONE, FAILED, UNRECORDED = 0, 1, 2
"""Places in ``State.report``: sweeps done by the last call; component that failed + 1, negative for Psi_0, or 0;
whether the last draw found no room in the trace."""


class Data(NamedTuple):
    """X (N, D), the point that coordinates are taken about (D,), and the scale of each column (D,)."""

    X: AnyArray
    loc: FloatArray
    scale: FloatArray


class Model(NamedTuple):
    """The prior as numbers: of n, the weights and the concentration; of the components; and of Psi_0 and kappa_0."""

    weights: Weights
    components: Prior
    hyper: Hyperprior


class State(NamedTuple):
    """Where one chain is: everything the next sweep needs, besides its generator.

    Arrays over components have room for ``capacity`` of them, of which the first ``size[N_COMPONENTS]`` are in use, the
    occupied ones first. z (N,); total: statistics of z about ``components.centre``; log_w, W: the parameters, and
    components: the same, ready for the label pass; shards, shard_log_likelihood: results by shard; key (2,) of the
    sweep's uniforms; hyper (3,); Psi_0, L_0 (D, D) the current scale matrix and its Cholesky factor; size (2,); report
    (3,).
    """

    z: LabelArray
    total: Statistics
    log_w: FloatArray
    W: FloatArray
    components: Components
    shards: Statistics
    shard_log_likelihood: FloatArray
    key: AnyArray
    hyper: FloatArray
    Psi_0: FloatArray
    L_0: FloatArray
    size: IntArray
    report: IntArray


class Draws(NamedTuple):
    """Where a chain's draws are written, one row per kept sweep; z has no rows if labels are not wanted."""

    weights: FloatArray
    means: FloatArray
    covariances: FloatArray
    log_likelihood: FloatArray
    log_posterior: FloatArray
    n_components: IntArray
    n_clusters: IntArray
    concentration: FloatArray
    kappa_0: FloatArray
    Psi_0: FloatArray
    z: LabelArray


@kernel
def current_prior(model: Model, state: State) -> Prior:
    """The component prior at the current hyperparameters."""
    prior = model.components
    return Prior(prior.mu_0, state.hyper[KAPPA], prior.nu_0, state.Psi_0, state.L_0, state.hyper[LOG_NORM], prior.noise)
