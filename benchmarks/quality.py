"""Is what it says true, and is it better than what others say: ``python -m benchmarks.quality [--quick]``.

1. Coverage. Data sets are simulated from the prior with 3 components. A 90% credible interval of an exact sampler then
   holds the truth in 90% of them, whatever the components overlap, if components are identified by a function of the
   parameters: here they are ordered by the first coordinate of their means, in the truth and in every draw. Beside this
   package scikit-learn's variational ``BayesianGaussianMixture`` with the same prior, intervals from draws of its
   fitted factors, and R's ``bayesm::rnmixGibbs``, one chain of 8,000 sweeps, every third of the last 6,000 kept.
2. Calibration of p(n). Data sets are simulated with n uniform on 1..6: of all cases in which p(n = j | X) is near 0.3,
   j should be true in 30%. Beside it BIC weights of EM fits, and the number of clusters that scikit-learn's Dirichlet
   process leaves. Under the prior that made the data no method has a larger log score on average; ``fit(X)`` as it
   is does not know that prior, as BIC does not.
3. Held-out density: the mean log predictive density of a row in 5-fold cross-validation on six real data sets.

Standard errors of 1 and 2 are over data sets, the independent units; of 3 over rows.
"""

from __future__ import annotations

import functools
import json
import math
import multiprocessing
import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import threadpoolctl
from scipy import special, stats
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from sklearn.model_selection import KFold

import gibbs_gmm as gg
from benchmarks import common
from benchmarks.common import AnyArray, Figure, FloatArray, say
from gibbs_gmm.summary import r_hat_of

D, N = 2, 100  # of the simulated data sets
_LEVEL = 0.9
_SE = 3.0  # a figure that should be exact may be as many standard errors off
_R_SCRIPT = common.ROOT / "peers" / "systems" / "bayesm_coverage.R"
_INSTALL = 'Rscript -e \'install.packages(c("bayesm", "jsonlite"))\''


# --- Work on all cores ------------------------------------------------------------------------------------------------


def _one_thread() -> None:
    threadpoolctl.threadpool_limits(1)
    warnings.simplefilter("ignore")  # chains that have not met and fits that have not converged are counted instead


def spread(function: Callable[..., Any], tasks: Sequence[tuple[Any, ...]], title: str) -> list[Any]:
    """The function of every task, in order; one process a core, one thread each."""
    begun = time.perf_counter()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(common.cores(), context, _one_thread) as pool:
        jobs = [pool.submit(function, *task) for task in tasks]
        for done, job in enumerate(as_completed(jobs), 1):
            job.result()
            if done % max(1, len(jobs) // 4) == 0:
                say(f"{title}: {done}/{len(jobs)}, {time.perf_counter() - begun:.0f} s")
    return [job.result() for job in jobs]


# --- Simulated data ---------------------------------------------------------------------------------------------------


def niw(kappa_0: float) -> gg.NormalInverseWishart:
    """E[Sigma] = I; means have a standard deviation of 1 / sqrt(kappa_0)."""
    return gg.NormalInverseWishart(np.zeros(D), kappa_0, 6.0, 3.0 * np.eye(D))


def simulate(
    rng: np.random.Generator, prior: gg.NormalInverseWishart, n: int, alpha: float
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, AnyArray]:
    """Weights, means, covariances, N rows and their labels from a mixture of n components drawn from the prior."""
    w = rng.dirichlet(np.full(n, alpha))
    Sigma = np.stack([stats.invwishart.rvs(prior.nu_0, prior.Psi_0, random_state=rng) for _ in range(n)])
    roots = np.linalg.cholesky(Sigma)
    mu = prior.mu_0 + np.einsum("nij,nj->ni", roots, rng.standard_normal((n, D))) / math.sqrt(prior.kappa_0)
    z = rng.choice(n, size=N, p=w)
    X = mu[z] + np.einsum("nij,nj->ni", roots[z], rng.standard_normal((N, D)))
    return w, mu, Sigma, X, z


# --- 1. Coverage ------------------------------------------------------------------------------------------------------

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
    r_hat = max(r_hat_of(draws[..., j]) for j in range(draws.shape[-1]))
    result[FIT] = {"ends": intervals(draws.reshape(-1, draws.shape[-1])), "r_hat": r_hat}
    weights = {"weight_concentration_prior_type": "dirichlet_distribution", "weight_concentration_prior": ALPHA}
    model = variational(prior, K, i, tol=1e-5, **weights).fit(X)
    ends = intervals(quantities(*factor_draws(model, 4000, np.random.default_rng([3, i]))))
    result[VARIATIONAL] = {"ends": ends, "converged": model.converged_}
    return result


def variational(
    prior: gg.NormalInverseWishart | None, components: int, seed: int, **more: Any
) -> BayesianGaussianMixture:
    """scikit-learn's, best of five starts, with the prior in its own parameters, or its default prior."""
    if prior is not None:
        more |= {"mean_prior": prior.mu_0, "mean_precision_prior": prior.kappa_0}
        more |= {"degrees_of_freedom_prior": prior.nu_0, "covariance_prior": prior.Psi_0}
    return BayesianGaussianMixture(n_components=components, n_init=5, max_iter=2000, random_state=seed, **more)


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
                    figures.append(Figure(title, _SE, False, off, "s.e.", f"{mean:.3f}, s.e. {error:.3f}"))
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


# --- 2. Calibration of p(n) -------------------------------------------------------------------------------------------

MOST = 6  # n is uniform on 1 .. MOST
KAPPA_0 = 0.05
_MOST_EM = 8
_EDGES = np.array([0.0, 0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0])
_RUN: dict[str, Any] = {"draws": 500, "thin": 10, "warmup": 2000, "threads": 1, "progress": False}
_LEAST_P = 0.5 / (4 * 500)  # what half a draw says: no log score is of less
KNOWN, DEFAULT = "gibbs_gmm, true prior", "gibbs_gmm, fit(X)"
BIC, BIC_6 = f"EM, BIC weights, n <= {_MOST_EM}", f"EM, BIC weights, n <= {MOST}"
DP, DP_PRIOR = "variational DP", "variational DP, true prior"


def numbers_of(i: int) -> dict[str, Any]:
    """For one data set the true n and n+, and what each system says of them: probabilities of 1..8, or one number."""
    rng = np.random.default_rng([4, i])
    prior, n = niw(KAPPA_0), int(rng.integers(1, MOST + 1))
    *_, X, z = simulate(rng, prior, n, 1.0)
    result: dict[str, Any] = {"n": n, "n+": len(np.unique(z))}
    uniform = gg.MixtureOfFiniteMixtures(stats.randint(1, MOST + 1), concentration=1.0, dynamic=False)
    traces = {KNOWN: gg.fit(X, uniform, prior=prior, rng=[5, i], **_RUN), DEFAULT: gg.fit(X, rng=[6, i], **_RUN)}
    for name, trace in traces.items():
        result[name] = {
            key: (np.bincount(values.ravel(), minlength=_MOST_EM + 1) / values.size)[1 : _MOST_EM + 1]
            for key, values in (("n", trace.n_components), ("n+", trace.n_clusters))
        }
        result[name]["r_hat"] = r_hat_of(trace.n_clusters)
    bic = [GaussianMixture(k, n_init=5, max_iter=1000, random_state=i).fit(X).bic(X) for k in range(1, _MOST_EM + 1)]
    for name, most in ((BIC, _MOST_EM), (BIC_6, MOST)):
        p = np.zeros(_MOST_EM)
        p[:most] = special.softmax(-0.5 * np.array(bic[:most]))
        result[name] = {"n": p, "n+": p}
    for name, given in ((DP, None), (DP_PRIOR, prior)):
        result[name] = len(np.unique(variational(given, 10, i).fit_predict(X)))
    return result


def reliability(p: FloatArray, truth: AnyArray) -> list[dict[str, float]]:
    """Bins of predicted probabilities p (sets, J) of 1..J against how often those numbers were the truth.

    The standard error is that of a calibrated forecast: within a bin the truth of a data set is one of its numbers with
    probability S, the sum of its p there, so that what is observed has variance S (1 - S).
    """
    hit = truth[:, None] == np.arange(1, p.shape[1] + 1)
    where = np.clip(np.searchsorted(_EDGES, p, side="right") - 1, 0, len(_EDGES) - 2)
    result = []
    for b in range(len(_EDGES) - 1):
        inside = where == b
        if count := int(inside.sum()):
            mass = np.where(inside, p, 0.0).sum(1)
            observed, predicted = float(hit[inside].mean()), float(p[inside].mean())
            error = math.sqrt(max((mass * (1.0 - np.minimum(mass, 1.0))).sum(), 1e-12)) / count
            result.append(
                {"from": _EDGES[b], "to": _EDGES[b + 1], "count": count, "predicted": predicted, "observed": observed,
                 "standard_error": error}
            )  # fmt: skip
    return result


def calibration_error(bins: Iterable[dict[str, float]]) -> float:
    """Expected calibration error: the mean over all predictions of |observed - predicted| of their bin."""
    weighted = [(row["count"], abs(row["observed"] - row["predicted"])) for row in bins]
    return sum(count * gap for count, gap in weighted) / sum(count for count, _ in weighted)


def by_chance(p: FloatArray, repeats: int) -> FloatArray:
    """Calibration errors where the truth is drawn from p itself (what is missing to 1 is the number 0)."""
    rng = np.random.default_rng(7)
    below = np.cumsum(p, axis=1)
    errors = []
    for _ in range(repeats):
        drawn = (rng.random((len(p), 1)) > below).sum(1) + 1
        errors.append(calibration_error(reliability(p, np.where(drawn > p.shape[1], 0, drawn))))
    return np.array(errors)


def calibration(quick: bool) -> tuple[list[Figure], dict[str, Any]]:
    """Part 2."""
    sets = 30 if quick else 300
    found = spread(numbers_of, [(i,) for i in range(sets)], "calibration")
    truth = {key: np.array([f[key] for f in found]) for key in ("n", "n+")}
    figures, systems = [], []
    for name in (KNOWN, DEFAULT, BIC, BIC_6, DP, DP_PRIOR):
        for key, true in truth.items():
            row: dict[str, Any] = {"system": name, "of": key}
            systems.append(row)
            if name in (DP, DP_PRIOR):
                row["right"] = float(np.mean(np.array([f[name] for f in found]) == true))
                continue
            p = np.stack([f[name][key] for f in found])
            scores = np.log(np.maximum(p[np.arange(sets), true - 1], _LEAST_P))
            bins = reliability(p[:, :MOST], true)
            ece, chance = calibration_error(bins), by_chance(p[:, :MOST], 200 if quick else 2000)
            as_large = float((chance >= ece).mean())
            row |= {
                "right": float(np.mean(p.argmax(1) + 1 == true)),
                "log_score": float(scores.mean()),
                "log_score_error": float(scores.std(ddof=1) / math.sqrt(sets)),
                "calibration_error": ece,
                "by_chance": float(chance.mean()),
                "probability_by_chance": as_large,
                "bins": bins,
            }
            if name == KNOWN:
                title = f"calibration error of p({key} given X): probability of one so large by chance"
                figures.append(Figure(title, 0.003, True, as_large, "", f"{ece:.4f}; by chance {chance.mean():.4f}"))
    unmet = {name: float(np.mean([f[name]["r_hat"] > 1.05 for f in found])) for name in (KNOWN, DEFAULT)}
    return figures, {"data_sets": sets, "r_hat_above_1.05": unmet, "systems": systems}


def calibration_table(details: dict[str, Any]) -> str:
    """How often the likeliest number is right, log score and calibration error, a row for each system."""
    groups: dict[str, list[str]] = {}
    for row in details["systems"]:
        cells = groups.setdefault(row["system"], [])
        cells.append(f"{row['right']:.2f}")
        if "log_score" in row:
            cells.append(f"{row['log_score']:.3f} ({row['log_score_error']:.3f})")
            cells.append(f"{row['calibration_error']:.3f} ({row['by_chance']:.3f})")
        else:
            cells += ["-", "-"]
    header = ["system", *(f"{what} {key}" for key in ("n", "n+") for what in ("right", "log score", "ECE"))]
    return (
        f"The number of components n, and of those with rows n+; {details['data_sets']} data sets with n uniform on "
        f"1..{MOST}. Right: how often the likeliest number is the true one. Log scores with standard errors, no "
        f"probability below {_LEAST_P:g}; a uniform guess at n: {math.log(1.0 / MOST):.2f}. ECE: expected calibration "
        "error (in brackets, its mean were it calibrated). True prior: of n and components; of the variational fit, of "
        f"components alone:\n\n{common.table(header, [[name, *cells] for name, cells in groups.items()])}"
    )


def reliability_tables(details: dict[str, Any]) -> str:
    """Predicted probabilities against what came true."""
    header = ["probability", "predictions", "mean", "came true", "s.e. if calibrated", "s.e. off"]
    blocks = []
    for row in details["systems"]:
        if row["system"] == KNOWN or (row["system"], row["of"]) == (BIC, "n+"):
            lines = []
            for b in row["bins"]:
                gap, error = b["observed"] - b["predicted"], b["standard_error"]
                numbers = f"{b['predicted']:.3f}", f"{b['observed']:.3f}", f"{error:.3f}", f"{gap / error:+.1f}"
                lines.append([f"{b['from']:g} to {b['to']:g}", f"{b['count']}", *numbers])
            title = f"Probabilities of {row['of']} = 1..{MOST} by {row['system']}, and how many came true:"
            blocks.append(f"{title}\n\n{common.table(header, lines)}")
    return "\n\n".join(blocks)


# --- 3. Held-out density ----------------------------------------------------------------------------------------------

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
        "r_hat": r_hat_of(trace.n_clusters),
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


# --- All --------------------------------------------------------------------------------------------------------------


def tables(content: dict[str, Any]) -> str:
    """The three main tables, from what ``quality.json`` holds."""
    found = content["details"]
    parts = (
        coverage_table(found["coverage"]),
        calibration_table(found["calibration"]),
        held_out_table(found["held out"]),
    )
    return "\n\n".join(parts)


def main() -> None:
    parts = {"coverage": coverage, "calibration": calibration, "held out": held_out}
    parser = common.parser(str(__doc__).splitlines()[0])
    parser.add_argument("--part", choices=parts, nargs="+", default=list(parts), help="parts to run; others stay as is")
    args = parser.parse_args()
    quick, path = args.quick, common.results_folder(args.quick) / "quality.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    details, loads = before.get("details", {}), before.get("load_of_others", {})
    if missing := set(parts) - set(args.part) - set(details):
        parser.error(f"--part: there are no results yet of {', '.join(sorted(missing))}; run all parts first")
    for name in args.part:
        begun = time.perf_counter()
        with common.OtherLoad() as load:
            found, details[name] = parts[name](quick)
        loads[name], details[name]["seconds"] = load.share, time.perf_counter() - begun
        details[name]["figures"] = [figure.to_dict() for figure in found]
    figures = [
        Figure(**{k: v for k, v in f.items() if k != "met"}) for part in details.values() for f in part["figures"]
    ]
    payload = {"load_of_others": loads, "details": details}
    print(common.describe(common.environment()))
    print(f"\n{tables(payload)}\n\n{reliability_tables(details['calibration'])}\n")
    judged = [figure for figure in figures if figure.target is not None]
    print(common.table(["figure", "target", "measured", "", "note"], [figure.row() for figure in judged]))
    for name in ("coverage", "calibration"):
        unmet = "; ".join(f"{key} {share:.1%}" for key, share in details[name]["r_hat_above_1.05"].items())
        print(f"\nData sets with an R-hat above 1.05, {name}: {unmet}", end="")
    print("\nLargest R-hat of n+ in a fold: ", end="")
    print(", ".join(f"{data['data']} {data['r_hat']:.3f}" for data in details["held out"]["data_sets"]))
    took = ", ".join(f"{name} {part['seconds']:.0f} s" for name, part in details.items())
    print(f"Took {took}; other processes took " + ", ".join(f"{share or 0:.0%}" for share in loads.values()))
    common.write("quality", payload, quick)


if __name__ == "__main__":
    main()
