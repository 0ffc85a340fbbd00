"""PyMC, sampled by nutpie: the mixture with its labels summed out, as PyMC's distributions and nutpie's defaults go.

``pymc_tuned.py`` is what an expert can make of the same model. PyMC has no Wishart that NUTS can sample: precisions are
written by Bartlett's decomposition, as its documentation advises for a Wishart.
"""

import numpy as np
import nutpie
import pymc as pm
import pytensor.tensor as pt
from driver import cpu, how_many, task

t = task()
K, D = t.n, t.D
below = np.tril_indices(D, -1)
root = np.linalg.cholesky(np.linalg.inv(t.Psi_0))  # Sigma_k^-1 = L_k L_k', L_k = root A_k
labels = t.z0[0]
centres = np.array([t.X[labels == k].mean(0) if (labels == k).any() else t.X.mean(0) for k in range(K)])

with pm.Model() as model:
    weights = pm.Dirichlet("weights", np.full(K, t.alpha), initval=(np.bincount(labels, minlength=K) + 1.0) / (t.N + K))
    squares = pm.ChiSquared("squares", t.nu_0 - np.arange(D), shape=(K, D))
    rest = pm.Normal("rest", shape=(K, len(below[0])))
    A = pt.zeros((K, D, D))
    A = pt.set_subtensor(A[:, np.arange(D), np.arange(D)], pt.sqrt(squares))
    A = pt.set_subtensor(A[:, below[0], below[1]], rest)
    L = (root[None, :, :, None] * A[:, None, :, :]).sum(2)
    means = pm.Flat("means", shape=(K, D), initval=centres)
    log_det = pt.log(squares).sum(1) / 2 + np.log(np.diagonal(root)).sum()

    def log_normal(gap, factor):
        """log N(gap; 0, (factor L_k L_k')^-1), of gaps (..., K, D)."""
        y = (L * gap[..., :, None]).sum(-2)
        return log_det + D / 2 * np.log(factor / (2 * np.pi)) - factor / 2 * (y**2).sum(-1)

    pm.Potential("means given covariances", log_normal(means - t.mu_0, t.kappa_0).sum())
    log_p = pt.log(weights) + log_normal(t.X[:, None] - means, 1.0)
    pm.Potential("likelihood", pt.logsumexp(log_p, axis=1).sum())
    pm.Deterministic("L", L)

compiled = nutpie.compile_pymc_model(model, backend="numba")


def sample(chain, warmup, draws):
    """CPU seconds of warm-up and of draws, in proportion to their leapfrog steps, and the draws."""
    settings = {"tune": warmup, "draws": draws, "chains": 1, "cores": 1, "progress_bar": False}
    used, trace = cpu(lambda: nutpie.sample(compiled, seed=t.seed + chain, **settings))
    before, after = (int(part["n_steps"].sum()) for part in (trace.warmup_sample_stats, trace.sample_stats))
    share = after / (before + after)
    return (1 - share) * used, share * used, {n: trace.posterior[n].values[0] for n in ("weights", "means", "L")}


sample(0, 10, 1)
first = t.since_start()
pilot = sample(0, 100, 20)
draws = how_many(max(pilot[0] / 100, pilot[1] / 20), t.seconds / t.chains, 1000, 300)
runs = [sample(chain, draws, draws) for chain in range(t.chains)]
samples = {name: np.stack([run[2][name] for run in runs]) for name in runs[0][2]}
inverse = np.linalg.inv(samples.pop("L"))
t.finish(
    {**samples, "covariances": np.swapaxes(inverse, -1, -2) @ inverse},
    version=f"PyMC {pm.__version__}, nutpie {nutpie.__version__}",
    first_draw_seconds=first,
    warmup_seconds=sum(run[0] for run in runs),
    seconds=sum(run[1] for run in runs),
    iterations=draws * t.chains,
    note=f"{draws} warm-up and kept trajectories a chain",
)
