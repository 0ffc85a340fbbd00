"""scikit-learn's variational mixture: the cost to convergence, and draws from the posterior that it claims.

Its factors are a Dirichlet (or the Beta sticks of a truncated Dirichlet process), and for each component a Wishart for
the precision and a normal for the mean given it (Bishop 2006, section 10.2). ``weight_concentration_prior`` is per
component, ``covariance_prior`` is the Psi_0 of an inverse Wishart; ``covariances_`` is Psi_k / nu_k.
"""

import warnings

import numpy as np
import sklearn
from driver import cost_of_iterations, cpu, task
from scipy import stats
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import BayesianGaussianMixture

warnings.simplefilter("ignore", ConvergenceWarning)
t = task()
known = t.model == "known"


def fit(seed: int, iterations: int, tol: float, starts: int = 1) -> BayesianGaussianMixture:
    """The same prior in its terms, from its own k-means starts."""
    return BayesianGaussianMixture(
        n_components=t.n if known else 20,
        weight_concentration_prior_type="dirichlet_distribution" if known else "dirichlet_process",
        weight_concentration_prior=t.alpha,
        mean_prior=t.mu_0,
        mean_precision_prior=t.kappa_0,
        degrees_of_freedom_prior=t.nu_0,
        covariance_prior=t.Psi_0,
        max_iter=iterations,
        tol=tol,
        n_init=starts,
        random_state=seed,
    ).fit(t.X)


def draw(model: BayesianGaussianMixture, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights, means and covariances from the factors."""
    if known:
        weights = rng.dirichlet(model.weight_concentration_)
    else:
        sticks = rng.beta(*model.weight_concentration_)
        sticks[-1] = 1.0
        weights = sticks * np.concatenate([[1.0], np.cumprod(1.0 - sticks[:-1])])
    nu = model.degrees_of_freedom_
    Sigma = np.array(
        [
            np.reshape(stats.invwishart.rvs(n, V * n, random_state=rng), (t.D, t.D))
            for n, V in zip(nu, model.covariances_, strict=True)
        ]
    )
    mean = [
        rng.multivariate_normal(m, S / k) for m, S, k in zip(model.means_, Sigma, model.mean_precision_, strict=True)
    ]
    return weights, np.array(mean), Sigma


fit(t.seed, 1, 0.0)
first = t.since_start()
if t.keep:
    seconds, model = cpu(lambda: fit(t.seed, 2000, 1e-3, starts=t.chains))
    iterations = model.n_iter_ * t.chains
    rng = np.random.default_rng(t.seed)
    draws = [draw(model, rng) for _ in range(4 * 1000)]
    shapes = ((), (t.D,), (t.D, t.D))
    arrays = {
        name: np.array([d[i] for d in draws]).reshape(4, 1000, -1, *shapes[i])
        for i, name in enumerate(("weights", "means", "covariances"))
    }
    used = len(np.unique(model.predict(t.X)))
    note = f"converges in {seconds / t.chains:.2g} s a start at the default tolerance"
    note += "" if known else f"; says that there are {used} clusters"
else:
    arrays, note = {}, ""
    seconds, iterations = cost_of_iterations(lambda times: fit(t.seed, times, 0.0), t.seconds, 3000)
t.finish(
    arrays,
    version=f"scikit-learn {sklearn.__version__}",
    first_draw_seconds=first,
    warmup_seconds=0.0,
    seconds=seconds,
    iterations=iterations,
    note=note,
)
