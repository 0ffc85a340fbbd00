"""2. Calibration of p(n)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from scipy import special, stats
from sklearn.mixture import GaussianMixture

import gibbs_gmm as gg
from benchmarks import common
from benchmarks.common import AnyArray, Figure, FloatArray
from benchmarks.quality.shared import niw, simulate, spread, variational
from gibbs_gmm.posterior.agreement import r_hat as r_hat_of

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
        result[name]["r_hat"] = float(r_hat_of(trace.n_clusters))
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
