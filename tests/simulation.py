"""Data and parameters drawn from the story of the oracle, in NumPy and SciPy: no code is shared with the package.

References
----------
Bartlett (1933), On the theory of statistical regression.
Diebolt & Robert (1994), Estimation of finite mixture distributions through Bayesian sampling.
"""

from functools import cache
from typing import Any

import numpy as np
import oracle
from oracle import NIW, Floats, Ints


def draw_components(rng: np.random.Generator, niw: NIW, K: int) -> tuple[Floats, Floats]:
    """Draw ``mu (K, D), Sigma (K, D, D)`` from `niw`, independently.

    Sigma^-1 = L^-T A A' L^-1 for Psi_0 = L L' and a lower triangular A whose squares on the diagonal are chi-squared of
    nu_0, nu_0 - 1, ... degrees of freedom, and whose other numbers are standard normal (Bartlett 1933). SciPy's
    inverse Wishart takes ten times as long, which was most of the time of tests of invariance.
    """
    D = len(niw.mu_0)
    A = np.tril(rng.standard_normal((K, D, D)), -1)
    A[:, np.arange(D), np.arange(D)] = np.sqrt(rng.chisquare(niw.nu_0 - np.arange(D), (K, D)))
    B = np.linalg.solve(A, np.broadcast_to(np.linalg.cholesky(niw.Psi_0).T, (K, D, D)))
    Sigma = B.swapaxes(1, 2) @ B
    return draw_rows(rng, np.arange(K), np.tile(niw.mu_0, (K, 1)), Sigma / niw.kappa_0), Sigma


def draw_niw(rng: np.random.Generator, niw: NIW) -> tuple[Floats, Floats]:
    """Draw ``mu (D,), Sigma (D, D)`` from `niw`."""
    mu, Sigma = draw_components(rng, niw, 1)
    return mu[0], Sigma[0]


@cache
def _table(n_prior: Any) -> tuple[Ints, Floats]:
    n = np.arange(1, 20_001)
    p = np.asarray(n_prior.pmf(n))
    return n[p > 0.0], p[p > 0.0] / p.sum()


def draw_n(rng: np.random.Generator, n_prior: Any, count: int) -> Ints:
    """Draw numbers of components (count,) from a frozen distribution, all but 1e-9 of it up to 20,000."""
    n, p = _table(n_prior)
    return np.asarray(rng.choice(n, count, p=p))


def gibbs_sweep(
    rng: np.random.Generator, X: Floats, z: Ints, alpha: float, niw: NIW, n: int
) -> tuple[Floats, Floats, Floats, Ints]:
    """Make one blocked Gibbs sweep for known `n` and return ``w, mu, Sigma, z`` (Diebolt & Robert 1994).

    Leaves p(w, mu, Sigma, z | X) invariant: w | z ~ Dirichlet(alpha + n_k), (mu_k, Sigma_k) | z from the NIW
    posterior (empty components: the prior), then z_i = k with probability proportional to
    w_k N(x_i; mu_k, Sigma_k). Of the old state only `z` matters.

    Parameters
    ----------
    rng
        Source of randomness, advanced.
    X
        Data (N, D).
    z
        Labels (N,) in 0..n-1; not changed.
    alpha
        Dirichlet parameter of each component.
    niw
        Prior of each component.
    n
        Number of components.
    """
    w = rng.dirichlet(alpha + np.bincount(z, minlength=n))
    pairs = [draw_niw(rng, oracle.niw_posterior(X[z == k], niw)) for k in range(n)]
    mu, Sigma = np.array([mu for mu, _ in pairs]), np.array([Sigma for _, Sigma in pairs])
    log_p = oracle.log_joint_density(X, w, mu, Sigma)
    z = (log_p + rng.gumbel(size=log_p.shape)).argmax(axis=1)  # Categorical draws, by the Gumbel-max trick.
    return w, mu, Sigma, z


def draw_rows(rng: np.random.Generator, z: Ints, mu: Floats, Sigma: Floats) -> Floats:
    """Draw ``X (N, D)`` given its labels and components."""
    noise = rng.standard_normal((len(z), mu.shape[1], 1))
    return np.asarray(mu[z] + (np.linalg.cholesky(Sigma)[z] @ noise)[..., 0])


def draw_mixture(rng: np.random.Generator, N: int, w: Floats, mu: Floats, Sigma: Floats) -> tuple[Floats, Ints]:
    """Draw ``X (N, D)`` and its labels ``z (N,)`` from the mixture (w, mu, Sigma)."""
    z = rng.choice(len(w), size=N, p=w)
    return draw_rows(rng, z, mu, Sigma), z


def simulate_prior(
    rng: np.random.Generator, n: int, alpha: float, niw: NIW, N: int
) -> tuple[Floats, Floats, Floats, Ints, Floats]:
    """Draw the whole story once, for known `n`, and return ``w, mu, Sigma, z, X``.

    Parameters
    ----------
    rng
        Source of randomness, advanced.
    n, alpha, niw
        Number of components, Dirichlet parameter of each, prior of each.
    N
        Number of observations.
    """
    w = rng.dirichlet(np.full(n, alpha))
    mu, Sigma = draw_components(rng, niw, n)
    X, z = draw_mixture(rng, N, w, mu, Sigma)
    return w, mu, Sigma, z, X


def simulate_mixture(
    rng: np.random.Generator, N: int, D: int, K: int, separation: float
) -> tuple[Floats, Ints, Floats, Floats, Floats]:
    """Simulate a separated mixture for tests of recovery and return ``X, z, w, mu, Sigma``.

    Standard deviations lie between 0.5 and 1 along randomly turned axes and any two means are at least
    `separation` apart, so that the plane halfway between two means puts a point on the wrong side with
    probability at most Phi(-separation / 2), whatever D is. Weights are Dirichlet(10): unequal, rarely small.

    Parameters
    ----------
    rng
        Source of randomness, advanced.
    N, D, K
        Numbers of observations, dimensions and components (a component may own no observation by chance).
    separation
        Least distance between two means, positive.
    """
    Q = np.linalg.qr(rng.standard_normal((K, D, D)))[0]
    Sigma = (Q * rng.uniform(0.5, 1.0, (K, 1, D)) ** 2) @ Q.swapaxes(1, 2)
    spread, closest = separation, -1.0
    while closest < separation:
        mu = spread * rng.standard_normal((K, D))
        gaps = [float(np.linalg.norm(mu[j] - mu[k])) for j in range(K) for k in range(j)]
        closest = min(gaps, default=np.inf)
        spread *= 1.05
    w = rng.dirichlet(np.full(K, 10.0))
    X, z = draw_mixture(rng, N, w, mu, Sigma)
    return X, z, w, mu, Sigma
