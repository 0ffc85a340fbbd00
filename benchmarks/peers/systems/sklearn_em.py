"""scikit-learn's EM: the cost of an iteration, and of a fit to convergence from the k-means starts."""

import warnings

import numpy as np
import sklearn
from driver import cost_of_iterations, cpu, task
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

warnings.simplefilter("ignore", ConvergenceWarning)
t = task()


def start(c: int) -> dict[str, np.ndarray]:
    """Parameters at a k-means clustering."""
    groups = [t.X[t.z0[c] == k] for k in range(t.n)]
    common = np.cov(t.X.T).reshape(t.D, t.D) / t.n
    return {
        "weights_init": np.array([(len(g) + 1) / (t.N + t.n) for g in groups]),
        "means_init": np.array([g.mean(0) if len(g) > 0 else t.X.mean(0) for g in groups]),
        "precisions_init": np.linalg.inv(
            np.array(
                [
                    (np.cov(g.T).reshape(t.D, t.D) * len(g) + common) / (len(g) + 1) if len(g) > 1 else common
                    for g in groups
                ]
            )
        ),
    }


def fit(c: int, iterations: int, tol: float) -> GaussianMixture:
    """EM from start c."""
    return GaussianMixture(t.n, tol=tol, max_iter=iterations, **start(c)).fit(t.X)


fit(0, 1, 0.0)
first = t.since_start()
seconds, iterations = cost_of_iterations(lambda times: fit(0, times, 0.0), t.seconds, 3000)
note = ""
if t.keep:
    converging, models = cpu(lambda: [fit(c, 1000, 1e-3) for c in range(t.chains)])
    best = max(model.score(t.X) * t.N for model in models)
    note = f"converges in {converging / t.chains:.2g} s at the default tolerance, log likelihood {best:.1f}"
t.finish(
    {},
    version=f"scikit-learn {sklearn.__version__}",
    first_draw_seconds=first,
    warmup_seconds=0.0,
    seconds=seconds,
    iterations=iterations,
    note=note,
)
