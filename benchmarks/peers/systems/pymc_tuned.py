"""PyMC, sampled by nutpie: the mixture, its labels summed out, in the coordinates of ``coordinates.py``, one thread.

nutpie makes warm-up and draws in one call, so the CPU seconds of the calls (compiled before) are divided between the
two as their leapfrog steps are, which are nearly all of the work.
"""

import numpy as np
import nutpie
import pymc as pm
import pytensor
import pytensor.tensor as pt
from coordinates import Coordinates, Frame
from driver import cpu, how_many, task

t = task()
c = Coordinates(t)
K, D = c.K, c.D
frames = [c.frame(z) for z in t.z0]
spread = np.eye(D * D)[:, c.upper[0] * D + c.upper[1]]  # what picks the products i <= j of all i, j

with pm.Model() as model:
    frame = Frame(*(pytensor.shared(value, name, shape=value.shape) for name, value in frames[0]._asdict().items()))
    u = pm.Flat("t", shape=c.size, initval=np.zeros(c.size))
    logit = frame.stick_mean + frame.stick_sd * u[c.sticks]
    log_v, log_rest = -pt.softplus(-logit), -pt.softplus(logit)
    log_w = pt.concatenate([log_v, [0.0]]) + pt.concatenate([[0.0], pt.cumsum(log_rest)])
    log_diag = frame.diag_mean + frame.diag_sd * u[c.diag].reshape((K, D))
    entries = pt.concatenate([pt.exp(log_diag), u[c.rest].reshape((K, D * (D - 1) // 2))], axis=1)
    A = (entries @ c.place).reshape((K, D, D))
    W = (frame.L[:, :, :, None] * A[:, None, :, :]).sum(2)
    e = frame.e_sd[:, None] * u[c.e].reshape((K, D))
    b = (W * frame.centre[:, :, None]).sum(1) + e  # W' mu
    pm.Potential(
        "prior",
        (c.a * log_v).sum()
        + (c.b * log_rest).sum()
        + ((c.nu_0 - np.arange(D)) * log_diag).sum()
        - 0.5 * (W**2).sum()
        - 0.5 * c.kappa_0 * (b**2).sum(),
    )
    P = (W[:, :, None, :] * W[:, None, :, :]).sum(3).reshape((K, D * D)) @ spread
    log_det = log_diag.sum(1) + pt.log((frame.L * np.eye(D)).sum(2)).sum(1)
    linear = (W * b[:, None, :]).sum(2)
    theta = pt.concatenate([(log_w + log_det - 0.5 * (b**2).sum(1))[:, None], linear, P], axis=1)
    pm.Potential("likelihood", pt.logsumexp(theta @ c.features(), axis=0).sum())

# Chains start within 1 of 0, nutpie's default; at 0 the gradient of an empty component is 0, which it refuses
compiled = nutpie.compile_pymc_model(model, backend="numba")


def sample(chain, warmup, draws):
    """CPU seconds, (2, draws) leapfrog steps and (2, draws) divergences of warm-up and draws, and the draws."""

    def work():
        return nutpie.sample(
            compiled.with_data(**frames[chain]._asdict()),
            tune=warmup,
            draws=draws,
            chains=1,
            cores=1,
            seed=t.seed + chain,
            target_accept=0.8,
            maxdepth=10,
            progress_bar=False,
        )

    used, trace = cpu(work)
    before, after = (int(part["n_steps"].sum()) for part in (trace.warmup_sample_stats, trace.sample_stats))
    return {
        "warmup": used * before / (before + after),
        "seconds": used * after / (before + after),
        "steps": after,
        "divergences": int(trace.sample_stats["diverging"].sum()),
        "draws": trace.posterior["t"].values[0],
    }


sample(0, 10, 1)
first = t.since_start()
# The pilots: how dear a trajectory is depends on what the warm-up has found
pilots = []
while len(pilots) < t.chains and sum(p["warmup"] + p["seconds"] for p in pilots) < t.seconds / 2:
    pilots.append(sample(len(pilots), 300, 100) if t.keep else sample(0, 20, 3))
share = t.seconds / t.chains
warmup = how_many(np.mean([p["warmup"] for p in pilots]) / 300, share, 1000, 300)
draws = how_many(np.mean([p["seconds"] for p in pilots]) / 100, share, t.draws, 300)
runs = [sample(chain, warmup, draws) for chain in range(t.chains)] if t.keep else pilots

arrays = {}
if t.keep:
    parts = [c.parameters(run["draws"], frame) for run, frame in zip(runs, frames, strict=True)]
    arrays = {name: np.stack([part[name] for part in parts]) for name in parts[0]}
seconds, steps = sum(run["seconds"] for run in runs), sum(run["steps"] for run in runs)
trajectories = sum(len(run["draws"]) for run in runs)
t.finish(
    arrays,
    version=f"PyMC {pm.__version__}, nutpie {nutpie.__version__}",
    first_draw_seconds=first,
    warmup_seconds=sum(run["warmup"] for run in runs),
    seconds=seconds,
    iterations=trajectories,
    note=f"{warmup} warm-up and {draws} kept trajectories a chain, {steps / trajectories:.1f} leapfrog steps and "
    f"{1e6 * seconds / steps:.0f} us a step; {sum(run['divergences'] for run in runs)} divergences",
)
