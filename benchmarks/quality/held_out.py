"""3. Held-out density."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import special, stats
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from sklearn.model_selection import KFold

import gibbs_gmm as gg
from benchmarks import common
from benchmarks.common import Figure, FloatArray
from benchmarks.quality.shared import spread, variational
from gibbs_gmm.posterior.agreement import r_hat as r_hat_of

FOLDS = 5
OURS, EM, VB, VB_T = "gibbs_gmm", "EM, BIC", "VB score_samples", "VB predictive"
OTHERS = EM, VB, VB_T  # the variational Dirichlet process, by what it calls log densities and by what they are


def held_out_fold(name: str, fold: int) -> dict[str, Any]:
    """Log predictive densities of the rows left out, in the units of the data, by each system.

    Columns are standardised by the rows that are fitted, as users of scikit-learn do (this package does not depend on
    it).
    """
    X, _ = common.data_set(name)
    train, test = list(KFold(FOLDS, shuffle=True, random_state=1).split(X))[fold]
    mean, scale = X[train].mean(0), X[train].std(0)
    rows, new = (X[train] - mean) / scale, (X[test] - mean) / scale
    trace = gg.fit(rows, draws=400, rng=[8, fold], threads=1, progress=False)
    em = min(
        (GaussianMixture(k, n_init=5, max_iter=1000, random_state=fold).fit(rows) for k in range(1, 11)),
        key=lambda model: float(model.bic(rows)),
    )
    dp = variational(None, 10, fold).fit(rows)
    density = {
        OURS: trace.log_density(new, threads=1),
        EM: em.score_samples(new),
        VB: dp.score_samples(new),
        VB_T: variational_predictive(dp, new),
    }
    return {
        "log_density": {key: values - np.log(scale).sum() for key, values in density.items()},
        "em_n": em.n_components,
        "dp_n": len(np.unique(dp.predict(rows))),
        "r_hat": float(r_hat_of(trace.n_clusters)),
    }


def variational_predictive(model: BayesianGaussianMixture, X: FloatArray) -> FloatArray:
    """Log predictive density under the fitted factors: a mixture of multivariate t (Bishop 2006, eq. 10.81).

    ``score_samples`` takes expectations of the logarithms instead: no density, it integrates to less than 1.
    """
    terms = []
    for k, df in enumerate(model.degrees_of_freedom_):
        kappa, t_df = model.mean_precision_[k], df + 1.0 - X.shape[1]
        shape = (kappa + 1.0) / (kappa * t_df) * df * model.covariances_[k]
        log_density = stats.multivariate_t.logpdf(X, model.means_[k], shape, t_df)
        terms.append(np.log(max(model.weights_[k], 1e-300)) + log_density)
    return np.asarray(special.logsumexp(terms, axis=0))


def held_out(quick: bool) -> tuple[list[Figure], dict[str, Any]]:
    """Part 3."""
    names = ("iris", "faithful") if quick else common.DATA_SETS
    tasks = [(name, fold) for name in sorted(names, key="wine".__ne__) for fold in range(FOLDS)]  # wine takes longest
    found = dict(zip(tasks, spread(held_out_fold, tasks, "held-out density"), strict=True))
    figures, details = [], []
    for name in names:
        folds = [found[name, fold] for fold in range(FOLDS)]
        density = {system: np.concatenate([f["log_density"][system] for f in folds]) for system in (OURS, *OTHERS)}
        rows = len(density[OURS])
        less = {}
        for system in OTHERS:
            gap = density[OURS] - density[system]
            mean, error = float(gap.mean()), float(gap.std(ddof=1) / math.sqrt(rows))
            less[system] = {"mean": mean, "standard_error": error}
            figures.append(Figure(f"{name}: {OURS} less {system}", None, True, mean, "", f"s.e. {error:.3f}"))
        details.append(
            {
                "data": name,
                "rows": rows,
                "log_density": {system: float(values.mean()) for system, values in density.items()},
                "ours_less": less,
                "em_n": " ".join(str(f["em_n"]) for f in folds),
                "dp_n": " ".join(str(f["dp_n"]) for f in folds),
                "r_hat": max(f["r_hat"] for f in folds),
            }
        )
    return figures, {"data_sets": details}


def held_out_table(details: dict[str, Any]) -> str:
    """The mean log density, and what this package gains on each other system, a row for each data set."""
    rows = []
    for data in details["data_sets"]:
        gains = (f"{less['mean']:+.3f} ({less['standard_error']:.3f})" for less in data["ours_less"].values())
        density = f"{data['log_density'][OURS]:.3f}"
        rows.append([data["data"], f"{data['rows']}", density, *gains, data["em_n"], data["dp_n"]])
    header = ["data", "rows", OURS, *(f"less {system}" for system in OTHERS), "n of EM", "n of VB"]
    return (
        f"Mean log predictive density of a row held out ({FOLDS} folds), by {OURS}, and its gain on others "
        f"(standard error); the number of clusters that they find in each fold:\n\n{common.table(header, rows)}"
    )
