"""1. Coverage of credible intervals."""

from __future__ import annotations

import functools
import json
import math
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats
from sklearn.mixture import BayesianGaussianMixture

import gibbs_gmm as gg
from benchmarks import common
from benchmarks.common import Figure, FloatArray, say
from benchmarks.quality.shared import SE, D, niw, simulate, spread, variational
from gibbs_gmm.posterior.agreement import r_hat as r_hat_of

_LEVEL = 0.9
_R_SCRIPT = common.ROOT / "peers" / "systems" / "bayesm_coverage.R"
_INSTALL = 'Rscript -e \'install.packages(c("bayesm", "jsonlite"))\''
K, ALPHA = 3, 2.0
SETTINGS = {"apart": 0.02, "overlapping": 0.2}  # kappa_0: means within 7, or 2.2, standard deviations of a component
KINDS = {"weights": slice(0, K), "means": slice(K, K + K * D), "log determinants": slice(K + K * D, None)}
FIT, VARIATIONAL, BAYESM = "gibbs_gmm, fit(X, 3)", "scikit-learn variational", "bayesm"
_R_SWEEPS = {"warmup": 2000, "draws": 2000, "thin": 3}


def quantities(w: FloatArray, mu: FloatArray, log_det: FloatArray) -> FloatArray:
    """(T, K + KD + K): weights, means and log determinants, components ordered by the first coordinate of the mean."""
    order = mu[..., 0].argsort(-1)
    mu = np.take_along_axis(mu, order[..., None], -2).reshape(*w.shape[:-1], K * D)
    return np.concatenate([np.take_along_axis(w, order, -1), mu, np.take_along_axis(log_det, order, -1)], -1)


def intervals(draws: FloatArray) -> FloatArray:
    """Lower and upper ends (2, quantities) of equal-tailed intervals."""
    return np.asarray(np.quantile(draws, [0.5 - _LEVEL / 2, 0.5 + _LEVEL / 2], axis=0))


def coverage_set(setting: str, i: int) -> tuple[FloatArray, FloatArray]:
    """The truth (quantities,) and the rows of the i-th data set."""
    w, mu, Sigma, X, _ = simulate(
        np.random.default_rng([1, list(SETTINGS).index(setting), i]), niw(SETTINGS[setting]), K, ALPHA
    )
    return quantities(w, mu, np.linalg.slogdet(Sigma)[1]), X


def ours_and_variational(setting: str, i: int) -> dict[str, Any]:
    """For one data set, intervals of this package and of scikit-learn, R-hat, and whether the latter has converged."""
    _, X = coverage_set(setting, i)
    prior = niw(SETTINGS[setting])
    result: dict[str, Any] = {}
    settings: dict[str, Any] = {"threads": 1, "progress": False, "save_assignments": False}
    trace = gg.fit(X, gg.FiniteMixture(K, ALPHA), prior=prior, rng=[2, i], **settings)
    draws = quantities(trace.weights, trace.means, np.linalg.slogdet(trace.covariances)[1])
    r_hat = max(float(r_hat_of(draws[..., j])) for j in range(draws.shape[-1]))
    result[FIT] = {"ends": intervals(draws.reshape(-1, draws.shape[-1])), "r_hat": r_hat}
    weights = {"weight_concentration_prior_type": "dirichlet_distribution", "weight_concentration_prior": ALPHA}
    model = variational(prior, K, i, tol=1e-5, **weights).fit(X)
    ends = intervals(quantities(*factor_draws(model, 4000, np.random.default_rng([3, i]))))
    result[VARIATIONAL] = {"ends": ends, "converged": model.converged_}
    return result


def factor_draws(
    model: BayesianGaussianMixture, draws: int, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Weights, means and log determinants from the fitted factors: Dirichlet, and Normal-Wishart of each component.

    The precision of component k is Wishart with ``degrees_of_freedom_[k]`` and inverse scale that many times
    ``covariances_[k]``.
    """
    w = rng.dirichlet(model.weight_concentration_, size=draws)
    mu, log_det = np.empty((draws, K, D)), np.empty((draws, K))
    for k, df in enumerate(model.degrees_of_freedom_):
        Sigma = stats.invwishart.rvs(df, df * model.covariances_[k], size=draws, random_state=rng)
        noise = np.einsum("tij,tj->ti", np.linalg.cholesky(Sigma), rng.standard_normal((draws, D)))
        mu[:, k] = model.means_[k] + noise / math.sqrt(model.mean_precision_[k])
        log_det[:, k] = np.linalg.slogdet(Sigma)[1]
    return w, mu, log_det


@functools.cache
def has_bayesm() -> bool:
    """Whether R is here, with what the script needs."""
    if (program := shutil.which("Rscript")) is None:
        return False
    code = 'quit(status = !all(sapply(c("bayesm", "jsonlite"), requireNamespace, quietly = TRUE)))'
    return subprocess.run([program, "-e", code], capture_output=True, check=False).returncode == 0


def by_bayesm(setting: str, first: int, last: int) -> list[FloatArray]:
    """Intervals of bayesm for data sets first .. last - 1."""
    prior = niw(SETTINGS[setting])
    X = np.concatenate([coverage_set(setting, i)[1] for i in range(first, last)])
    task = {
        "model": "known", "N": len(X), "D": D, "n": K, "alpha": ALPHA, "sets": last - first, "chains": 1,
        "mu_0": prior.mu_0.tolist(), "kappa_0": prior.kappa_0, "nu_0": prior.nu_0, "Psi_0": prior.Psi_0.tolist(),
        "seed": first + 1, **_R_SWEEPS,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "task.json").write_text(json.dumps(task))
        X.tofile(folder / "X.f64")
        np.zeros((1, len(X)), np.int32).tofile(folder / "z0.i32")  # rnmixGibbs takes no start
        subprocess.run(["Rscript", str(_R_SCRIPT), name], check=True)
        shapes = json.loads((folder / "result.json").read_text())["arrays"]
        w, mu, log_det = (
            np.fromfile(folder / f"{key}.f64").reshape(shapes[key]) for key in ("weights", "means", "log_determinants")
        )
    return [intervals(quantities(*arrays)) for arrays in zip(w, mu, log_det, strict=True)]


def coverage(quick: bool) -> tuple[list[Figure], dict[str, Any]]:
    """Part 1."""
    sets = 24 if quick else 300
    tasks = [(setting, i) for setting in SETTINGS for i in range(sets)]
    found = spread(ours_and_variational, tasks, "coverage")
    ends = {system: [f[system]["ends"] for f in found] for system in (FIT, VARIATIONAL)}
    if has_bayesm():
        size = 12 if quick else 25
        chunks = [(setting, first, first + size) for setting in SETTINGS for first in range(0, sets, size)]
        ends[BAYESM] = [one for chunk in spread(by_bayesm, chunks, "coverage, bayesm") for one in chunk]
    else:
        say(f"bayesm is left out: Rscript with bayesm and jsonlite was not found; {_INSTALL}")
    truth = np.stack([coverage_set(*task)[0] for task in tasks]).reshape(len(SETTINGS), sets, -1)
    figures, rows = [], []
    for system, values in ends.items():
        low, high = np.moveaxis(np.stack(values).reshape(len(SETTINGS), sets, 2, -1), 2, 0)
        inside = (low <= truth) & (truth <= high)
        for s, setting in enumerate(SETTINGS):
            for kind, columns in KINDS.items():
                shares = inside[s, :, columns].mean(-1)  # of each data set, the independent unit
                mean, error = float(shares.mean()), float(shares.std(ddof=1)) / math.sqrt(sets)
                width = float((high - low)[s, :, columns].mean())
                row = {"system": system, "components": setting, "kind": kind}
                rows.append({**row, "coverage": mean, "standard_error": error, "width": width})
                if system == FIT:
                    title = f"components {setting}: coverage of {kind} less {_LEVEL}"
                    off = abs(mean - _LEVEL) / error
                    figures.append(Figure(title, SE, False, off, "s.e.", f"{mean:.3f}, s.e. {error:.3f}"))
    unmet = {
        setting: float(np.mean([f[FIT]["r_hat"] > 1.05 for f in found[s * sets : (s + 1) * sets]]))
        for s, setting in enumerate(SETTINGS)
    }
    unconverged = sum(not f[VARIATIONAL]["converged"] for f in found)
    counts = {"data_sets": sets, "r_hat_above_1.05": unmet, "variational_unconverged": unconverged}
    return figures, {**counts, "intervals": rows}


def coverage_table(details: dict[str, Any]) -> str:
    """Coverage and width, a row for each system and kind of data sets."""
    groups: dict[tuple[str, str], list[str]] = {}
    for row in sorted(details["intervals"], key=lambda row: list(SETTINGS).index(row["components"])):
        cells = groups.setdefault((row["components"], row["system"]), [])
        cells += [f"{row['coverage']:.3f} ({row['standard_error']:.3f})", f"{row['width']:.3f}"]
    header = ["components", "system", *(cell for kind in KINDS for cell in (kind, "width"))]
    table = common.table(header, [[*group, *cells] for group, cells in groups.items()])
    return (
        f"Coverage of 90% intervals (standard error) and their mean width; {details['data_sets']} data sets of each "
        f"kind:\n\n{table}"
    )
