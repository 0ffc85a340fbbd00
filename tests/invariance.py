"""Exact invariance: draw everything from the prior, let the sampler loose on it, and it must still be from the prior.

Geweke (2004), Getting it right; Gandy & Scott (2020), Unit testing for MCMC. A transition that leaves the posterior
invariant whatever the data leaves the joint distribution of (w, mu, Sigma, z, X) invariant too. Replicates are
independent, so a plain Kolmogorov-Smirnov test between statistics after the transition and statistics of as many
fresh draws of the story is valid (conservative where a statistic is discrete).

Knows nothing of how a sampler works: a transition is any function (rng, w, mu, Sigma, z, X) -> (w, mu, Sigma, z), and
the number of components may differ between replicates.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import simulation
from oracle import NIW, Floats, Ints
from scipy import stats

Transition = Callable[[np.random.Generator, Floats, Floats, Floats, Ints, Floats], tuple[Floats, Floats, Floats, Ints]]


@dataclass(frozen=True, eq=False)
class Story:
    """The prior of everything: N observations of K components with Dirichlet(alpha) weights."""

    N: int
    K: int
    alpha: float
    niw: NIW

    @property
    def D(self) -> int:
        return len(self.niw.mu_0)

    def draw(self, rng: np.random.Generator) -> tuple[Floats, Floats, Floats, Ints, Floats]:
        """w, mu, Sigma, z and X from the oracle, which shares no code with the package."""
        return simulation.simulate_prior(rng, self.K, self.alpha, self.niw, self.N)


def shuffled(
    rng: np.random.Generator, w: Floats, mu: Floats, Sigma: Floats, z: Ints
) -> tuple[Floats, Floats, Floats, Ints]:
    """The same mixture with its components named at random, for a sampler that puts them into an order of its own.

    The story is exchangeable: if the mixture without names is invariant, so is the mixture with random ones.
    """
    order = rng.permutation(len(w))
    return w[order], mu[order], Sigma[order], np.argsort(order)[z]


def statistics(w: Floats, mu: Floats, Sigma: Floats, z: Ints, X: Floats) -> dict[str, float]:
    """What is compared: parameters one by one, and how they go with labels and data.

    The last group matters most. A step that ignores the data, or that draws labels from slightly wrong probabilities,
    may leave every parameter prior-distributed: the log likelihood and the share of the widest component show it.
    """
    N, D = X.shape
    K = len(w)
    V = np.linalg.inv(np.linalg.cholesky(Sigma))
    log_det = -np.log(np.diagonal(V, axis1=1, axis2=2)).sum(1)  # log |Sigma| / 2
    y = np.matmul(V[:, None], (X - mu[:, None])[..., None])[..., 0]  # (K, N, D), standard normal where z = k
    log_p = np.log(w)[:, None] - log_det[:, None] - 0.5 * (y**2).sum(2)
    n = np.bincount(z, minlength=K)
    own = y[z, np.arange(N)]
    result = {
        "w_0": w[0],
        "least w": w.min(),
        "mu_0": mu[0, 0],
        "Sigma_0": Sigma[0, 0, 0],
        "log det Sigma_0": log_det[0],
        "n_0": float(n[0]),
        "largest n": float(n.max()),
        "clusters": float((n > 0).sum()),
        "log likelihood": np.logaddexp.reduce(log_p, axis=0).sum(),
        "own distances": (own**2).sum(),
        "residual of 0": own[z == 0, 0].sum() / np.sqrt(max(n[0], 1)),
        "mean of X less mixture mean": (X.mean(0) - w @ mu)[0],
        "own weight": w[z].mean() - (w**2).sum(),
        "share of the widest": n[log_det.argmax()] / N - w[log_det.argmax()],
    }
    if D > 1:
        result |= {
            "last mu_0": mu[0, -1],
            "last Sigma_0": Sigma[0, -1, -1],
            "last W_0": V[0, -1, -1],
            "correlation of 0": Sigma[0, 0, -1] / np.sqrt(Sigma[0, 0, 0] * Sigma[0, -1, -1]),
            "last residual of 0": own[z == 0, -1].sum() / np.sqrt(max(n[0], 1)),
        }
    return result


def _stack(rows: list[dict[str, float]]) -> dict[str, Floats]:
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


@lru_cache(maxsize=16)
def reference(story: Story, size: int, seed: int) -> dict[str, Floats]:
    """The statistics of ``size`` independent draws of the story."""
    rng = np.random.default_rng([seed, 0])
    return _stack([statistics(*story.draw(rng)) for _ in range(size)])


def invariance_p_values(story: Story, transition: Transition, *, replicates: int, seed: int) -> dict[str, float]:
    """p-values, one per statistic, of the hypothesis that the transition leaves the story invariant."""
    rng = np.random.default_rng([seed, 1])
    after = []
    for _ in range(replicates):
        w, mu, Sigma, z, X = story.draw(rng)
        w, mu, Sigma, z = transition(rng, w, mu, Sigma, z, X)
        after.append(statistics(w, mu, Sigma, z, X))
    before = reference(story, 3 * replicates, seed)
    return {
        name: float(stats.ks_2samp(values, before[name], method="asymp").pvalue)
        for name, values in _stack(after).items()
    }
