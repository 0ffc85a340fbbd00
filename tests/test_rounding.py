"""Components of the values before rounding: an exact step of augmentation, and variances that come out right."""

import warnings

import numpy as np
import pytest
from harness import assert_p_values, some_niw
from oracle import NIW, Floats
from scipy import integrate, stats
from simulation import draw_niw

import gibbs_gmm as gg
from gibbs_gmm.kernels.families import FULL
from gibbs_gmm.kernels.families.generic import padded
from gibbs_gmm.kernels.families.rounding import draw_unrounded

RATE = 1e-3
REPLICATES = 3000


def lower(P: Floats) -> Floats:
    """Lower triangular W with W'W = P."""
    return np.ascontiguousarray(np.linalg.cholesky(P[::-1, ::-1])[::-1, ::-1].T)


def step(rng: np.random.Generator, niw: NIW, X: Floats, mu: Floats, Sigma: Floats, centre: Floats) -> None:
    """Overwrite mu and Sigma."""
    D = len(mu)
    prior = gg.NormalInverseWishart(*niw[:4], resolution=np.sqrt(12.0 * niw.noise)).as_kernel(np.zeros(D))
    d = X - centre
    rows, where, W = FULL.statistics(1, D), np.zeros(padded(D)), lower(np.linalg.inv(Sigma))
    rows.block[0] = FULL.block_of(d)
    rows.block[0, :D] = d.sum(0)
    where[:D] = centre
    assert draw_unrounded(rng, prior, float(len(X)), rows, 0, where, FULL.scratch(D), mu, W) == 0
    Sigma[:] = np.linalg.inv(W.T @ W)


@pytest.mark.parametrize(("D", "n"), [(1, 8), (2, 5), (2, 30), (3, 5), (3, 12)])
def test_a_step_leaves_the_joint_law_of_components_and_rounded_rows_invariant(D: int, n: int) -> None:
    # the story: (mu, Sigma) from the prior, then rows from N(mu, Sigma + R); with both sides of the cut at 2 D + 1 rows
    rng = np.random.default_rng([2, D, n])
    niw = some_niw(D, D + 3.0)._replace(noise=np.linspace(0.4, 1.0, D))

    def statistics(mu: Floats, Sigma: Floats, X: Floats) -> dict[str, float]:
        return {
            "mu": mu[-1],
            "first": Sigma[0, 0],
            "log det": float(np.linalg.slogdet(Sigma)[1]),
            "mu less mean": float((X.mean(0) - mu)[0]),
            "scatter over Sigma": float(np.trace(np.linalg.solve(Sigma, np.cov(X.T, bias=True).reshape(D, D)))),
            "corner": Sigma[0, -1],
        }

    def draw() -> tuple[Floats, Floats, Floats]:
        mu, Sigma = draw_niw(rng, niw)
        return mu, Sigma, rng.multivariate_normal(mu, Sigma + np.diag(niw.noise), n)

    fresh, after = [statistics(*draw()) for _ in range(3 * REPLICATES)], []
    for _ in range(REPLICATES):
        mu, Sigma, X = draw()
        step(rng, niw, X, mu, Sigma, np.linspace(1.0, -1.0, D))
        after.append(statistics(mu, Sigma, X))
    p = {
        name: float(stats.ks_2samp([s[name] for s in after], [s[name] for s in fresh], method="asymp").pvalue)
        for name in fresh[0]
    }
    assert_p_values(p, RATE / 5)


def test_the_draws_forget_where_they_began() -> None:
    # one dimension, rows rounded to 1.5 standard deviations; the start has r^2 / 6 too much, as the sampler's draws do
    rng, n, r = np.random.default_rng(8), 60, 1.5
    niw = NIW(np.zeros(1), 0.01, 4.0, np.eye(1), noise=np.array([r * r / 12.0]))
    X = r * np.round(rng.normal(0.2, 1.0, (n, 1)) / r)
    S, draws = float(((X - X.mean()) ** 2).sum()), []
    for _ in range(4000):
        mu, Sigma = X.mean(0), np.array([[S / n + niw.noise[0]]])
        step(rng, niw, X, mu, Sigma, X.mean(0))
        draws.append(Sigma[0, 0])

    def density(v: float) -> float:  # of Sigma given the rows, the mean integrated out, up to a constant
        T, k = v + niw.noise[0], v / niw.kappa_0
        log_p = -0.5 * (n - 1) * np.log(T) - 0.5 * S / T - 0.5 * np.log(T / n + k) - 0.5 * X.mean() ** 2 / (T / n + k)
        return float(np.exp(log_p + stats.invgamma.logpdf(v, 2.0, scale=0.5) + 0.5 * n * np.log(S / n) + 0.5 * n))

    mass, mean = (integrate.quad(lambda v, p=p: v**p * density(v), 0.0, 8.0)[0] for p in (0, 1))
    truth = mean / mass
    assert abs(np.mean(draws) - truth) < 0.02 * truth  # what three steps leave of the start, and 4 standard errors
    assert np.mean(draws) < S / n  # rounding has been taken off


@pytest.mark.parametrize("D", [1, 2])
def test_variances_of_rounded_clusters_are_those_before_rounding(D: int) -> None:
    rng = np.random.default_rng([4, D])
    V = np.concatenate([rng.normal(0.0, 1.0, (1000, D)), rng.normal(12.0, 1.0, (1000, D))])
    settings = {"rng": 1, "draws": 200, "warmup": 200, "chains": 2, "threads": 1, "progress": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # few distinct values
        variances = gg.fit(np.round(V), 2, **settings).covariances[..., 0, 0]
    # Rounding to one standard deviation adds 1/12, 1.9 standard errors here; the averaged likelihood as much again.
    error = np.sqrt(2.0 / 1000.0)
    assert np.abs(variances.mean((0, 1)) - 1.0).max() < 4.0 * error
    assert variances.mean() < 1.0 + 1.0 / 24.0 + 2.0 * error
