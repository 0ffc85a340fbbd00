"""The same blocked Gibbs sweep, vectorised in NumPy (``benchmarks/numpy_sampler.py``, the version tuned for memory)."""

import numpy as np
from driver import cpu, how_many, task

import gibbs_gmm as gg
from benchmarks.numpy_sampler import TunedNumpySampler

t = task()
prior = gg.NormalInverseWishart(t.mu_0, t.kappa_0, t.nu_0, t.Psi_0)
names = ("weights", "means", "covariances") if t.keep else ()


def chain(c: int) -> TunedNumpySampler:
    """A chain at its start."""
    return TunedNumpySampler(t.X, t.n, prior, t.alpha, t.z0[c].astype(np.int64), np.random.default_rng([t.seed, c]))


def sweeps(sampler: TunedNumpySampler, times: int) -> list[dict]:
    """That many draws."""
    return [{name: draw[name] for name in names} for draw in (sampler.sweep() for _ in range(times))]


chains = [chain(c) for c in range(t.chains)]
chains[0].sweep()
first = t.since_start()
each = cpu(lambda: sweeps(chains[0], 3))[0] / 3
draws = how_many(each, t.seconds / t.chains, t.draws)
warmup, _ = cpu(lambda: [sweeps(sampler, min(1000, draws) if t.keep else 1) for sampler in chains])
seconds, kept = cpu(lambda: [sweeps(sampler, draws) for sampler in chains])
t.finish(
    {name: np.array([[draw[name] for draw in draws] for draws in kept]) for name in names},
    version=f"NumPy {np.__version__}",
    first_draw_seconds=first,
    warmup_seconds=warmup,
    seconds=seconds,
    iterations=draws * t.chains,
)
