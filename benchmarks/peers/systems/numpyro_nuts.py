"""NumPyro's NUTS on the mixture with its labels summed out, as its distributions and its defaults have it.

``numpyro_tuned.py`` is what an expert can make of the same model. Here every quantity is sampled under its own name,
the mass matrix is diagonal, and all that is done for NUTS is a start at the k-means clustering.
"""

import os

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from driver import cpu, how_many, task
from numpyro import distributions as dist
from numpyro.infer import MCMC, NUTS
from numpyro.infer.util import unconstrain_fn

numpyro.enable_x64()
t = task()
K, D, X = t.n, t.D, jnp.asarray(t.X)


def model():
    weights = numpyro.sample("weights", dist.Dirichlet(jnp.full(K, t.alpha)))
    with numpyro.plate("components", K):
        L = numpyro.sample("L", dist.WishartCholesky(t.nu_0, rate_matrix=t.Psi_0))
        precision = L @ L.swapaxes(-1, -2)
        means = numpyro.sample("means", dist.MultivariateNormal(t.mu_0, precision_matrix=t.kappa_0 * precision))
    y = jnp.einsum("kij,nki->nkj", L, X[:, None] - means)
    log_det = jnp.log(L.diagonal(axis1=1, axis2=2)).sum(1)
    log_density = log_det - 0.5 * (y**2).sum(-1) - 0.5 * D * jnp.log(2 * jnp.pi)
    numpyro.factor("likelihood", jax.nn.logsumexp(jnp.log(weights) + log_density, axis=1).sum())


def start(labels):
    """The conjugate posterior's centre given the labels of the start."""
    n = np.bincount(labels, minlength=K)
    means, L = np.empty((K, D)), np.empty((K, D, D))
    for k in range(K):
        x = t.X[labels == k] - t.mu_0
        kappa = t.kappa_0 + n[k]
        Psi = t.Psi_0 + x.T @ x - np.outer(x.sum(0), x.sum(0)) / kappa
        means[k] = t.mu_0 + x.sum(0) / kappa
        L[k] = np.linalg.cholesky((t.nu_0 + n[k]) * np.linalg.inv(Psi))
    return {"weights": (n + t.alpha) / (t.N + K * t.alpha), "means": means, "L": L}


class Sampler:
    """MCMC as it is, for one chain after the other; compiled by a run that is not timed."""

    def __init__(self, warmup, draws):
        self.mcmc = MCMC(NUTS(model), num_warmup=warmup, num_samples=draws, progress_bar=False)
        self.run(0)

    def run(self, chain):
        """CPU seconds of a warm-up and of the draws that follow it, and the draws."""
        key, mcmc = jax.random.PRNGKey(t.seed + chain), self.mcmc
        begin = unconstrain_fn(model, (), {}, start(t.z0[chain]))
        mcmc.post_warmup_state = None
        warm, _ = cpu(lambda: (mcmc.warmup(key, init_params=begin), jax.block_until_ready(mcmc.last_state)))
        mcmc.post_warmup_state = mcmc.last_state
        seconds, _ = cpu(lambda: (mcmc.run(key), jax.block_until_ready(mcmc.last_state)))
        return warm, seconds, {name: np.asarray(value) for name, value in mcmc.get_samples().items()}


pilot = Sampler(100, 20).run(0)
first = t.since_start()
draws = how_many(max(pilot[0] / 100, pilot[1] / 20), t.seconds / t.chains, 1000, 300)
sampler = Sampler(draws, draws)
runs = [sampler.run(chain) for chain in range(t.chains)]
samples = {name: np.stack([run[2][name] for run in runs]) for name in runs[0][2]}
inverse = np.linalg.inv(samples.pop("L"))
t.finish(
    {**samples, "covariances": np.swapaxes(inverse, -1, -2) @ inverse},
    version=f"NumPyro {numpyro.__version__}, JAX {jax.__version__}",
    first_draw_seconds=first,
    warmup_seconds=sum(run[0] for run in runs),
    seconds=sum(run[1] for run in runs),
    iterations=draws * t.chains,
    note=f"{draws} warm-up and kept trajectories a chain",
)
