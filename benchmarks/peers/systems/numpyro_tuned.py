"""NumPyro's NUTS on the mixture with its labels summed out, in the coordinates of ``coordinates.py``, one thread.

Warm-up and draws are calls of one compiled function, 50 trajectories each (what MCMC.run does inside), so that neither
contains compilation; the draws go round the chains until the time is up.
"""

import os

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from coordinates import Coordinates
from driver import cpu, how_many, task
from numpyro import distributions as dist
from numpyro.infer import NUTS

numpyro.enable_x64()
t = task()
c = Coordinates(t)
K, D = c.K, c.D
frames = [c.frame(z) for z in t.z0]
features = jnp.asarray(c.features())


def model(features, frame):
    u = numpyro.sample("t", dist.ImproperUniform(dist.constraints.real, (), (c.size,)))
    logit = frame.stick_mean + frame.stick_sd * u[c.sticks]
    log_v, log_rest = jax.nn.log_sigmoid(logit), jax.nn.log_sigmoid(-logit)
    log_w = jnp.append(log_v, 0.0) + jnp.append(0.0, jnp.cumsum(log_rest))
    log_diag = frame.diag_mean + frame.diag_sd * u[c.diag].reshape(K, D)
    entries = jnp.concatenate([jnp.exp(log_diag), u[c.rest].reshape(K, -1)], axis=1)
    A = (entries @ c.place).reshape(K, D, D)
    W = frame.L @ A
    b = jnp.einsum("kij,ki->kj", W, frame.centre) + frame.e_sd[:, None] * u[c.e].reshape(K, D)  # W' mu
    numpyro.factor(
        "prior",
        c.a @ log_v
        + c.b @ log_rest
        + ((c.nu_0 - jnp.arange(D)) * log_diag).sum()
        - 0.5 * (W**2).sum()
        - 0.5 * c.kappa_0 * (b**2).sum(),
    )
    P = W @ W.swapaxes(-1, -2)
    log_norm = log_w + log_diag.sum(1) + jnp.log(frame.L.diagonal(axis1=1, axis2=2)).sum(1) - 0.5 * (b**2).sum(1)
    theta = jnp.concatenate([log_norm[:, None], jnp.einsum("kij,kj->ki", W, b), P[:, *c.upper]], axis=1)
    numpyro.factor("likelihood", jax.nn.logsumexp(theta @ features, axis=0).sum())


class Chains:
    """All chains of a warm-up of a given length, and one compiled function that moves a chain on."""

    def __init__(self, warmup, block):
        self.warmup, self.block = warmup, block
        # Dense: twice the effective draws on Iris. Of more coordinates a warm-up has too few draws to learn it from
        dense = c.size <= 100
        self.kernel = NUTS(model, target_accept_prob=0.8, max_tree_depth=10, dense_mass=dense, adapt_mass_matrix=t.keep)
        self.states = [
            self.kernel.init(key, warmup, {"t": jnp.zeros(c.size)}, (features, frame), {})
            for key, frame in zip(jax.random.split(jax.random.PRNGKey(t.seed), len(frames)), frames, strict=True)
        ]
        self.many = jax.jit(self.moves).lower(self.states[0], features, frames[0]).compile()

    def moves(self, state, features, frame):
        """The state after a block of trajectories, and what they drew."""

        def move(state, _):
            state = self.kernel.sample(state, (features, frame), {})
            return state, (state.z["t"], state.num_steps, state.diverging)

        return jax.lax.scan(move, state, length=self.block)

    def advance(self, chain):
        """CPU seconds of a block of trajectories, and what it drew."""

        def work():
            self.states[chain], out = self.many(self.states[chain], features, frames[chain])
            return jax.tree.map(np.asarray, out)

        return cpu(work)


warmup, block = (1000, 50) if t.keep else (20, 1)
chains = Chains(warmup, block)
first = None
if t.keep:
    # A pilot: the first trajectories of a warm-up, the dearest of it, say how long one may be
    pilot, _ = chains.advance(0)
    first = t.since_start()
    affordable = how_many(pilot / block, t.seconds / t.chains, 1000, 300)
    warmup = -(-affordable // block) * block
    chains = Chains(warmup, block)
else:
    frames = frames[:1]

warm = 0.0
for chain in range(len(frames)):
    for _ in range(warmup // block):
        warm += chains.advance(chain)[0]
        first = first or t.since_start()

least, most = (-(-300 // block), max(1, t.draws // block)) if t.keep else (3, 1000)
blocks = [[] for _ in frames]
seconds = 0.0
while len(blocks[0]) < min(least, most) or (seconds < t.seconds and len(blocks[0]) < most):
    for chain, drawn in enumerate(blocks):
        used, out = chains.advance(chain)
        seconds += used
        drawn.append(out)
draws = [[np.concatenate(part) for part in zip(*drawn, strict=True)] for drawn in blocks]

potential = chains.kernel.get_potential_fn((features, frames[0]), {})
gradients = 500 if t.keep else 3


def repeat(u):
    """A gradient after a gradient, each at a point that hangs on the one before."""
    return jax.lax.fori_loop(0, gradients, lambda _, u: u - 1e-9 * jax.grad(lambda u: potential({"t": u}))(u), u)


repeated = jax.jit(repeat)
gradient = min(cpu(lambda: repeated(jnp.zeros(c.size)).block_until_ready())[0] for _ in range(3))
arrays = {}
if t.keep:
    parts = [c.parameters(drawn[0], frame) for drawn, frame in zip(draws, frames, strict=True)]
    arrays = {name: np.stack([part[name] for part in parts]) for name in parts[0]}
steps, diverging = (np.concatenate([drawn[i] for drawn in draws]) for i in (1, 2))
t.finish(
    arrays,
    version=f"NumPyro {numpyro.__version__}, JAX {jax.__version__}",
    first_draw_seconds=first,
    warmup_seconds=warm,
    seconds=seconds,
    iterations=len(steps),
    note=f"{warmup} warm-up and {len(draws[0][0])} kept trajectories a chain, {steps.mean():.1f} leapfrog steps and "
    f"{1e6 * seconds / steps.sum():.0f} us a step; a gradient alone {1e6 * gradient / gradients:.0f} us; "
    f"{int(diverging.sum())} divergences",
)
