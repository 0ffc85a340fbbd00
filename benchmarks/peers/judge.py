"""From draws to figures, alike for every system: quantities that no labelling of components changes, and their ESS."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from arviz_stats.base import array_stats
from scipy.special import gammaln

from benchmarks.common import AnyArray, FloatArray
from benchmarks.peers.cases import Case

_CELLS = 1 << 22  # doubles in a temporary array
R_HAT_MET = 1.05
Z_AGREES = 4.0


def read_arrays(folder: Path) -> dict[str, AnyArray]:
    """The arrays beside ``result.json``."""
    arrays = {}
    for name, shape in json.loads((folder / "result.json").read_text())["arrays"].items():
        file = folder / f"{name}.f64"
        raw = np.fromfile(file) if file.exists() else np.fromfile(folder / f"{name}.i32", np.int32)
        arrays[name] = raw.reshape(shape)
    return arrays


def quantities(case: Case, known: bool, arrays: Mapping[str, AnyArray]) -> dict[str, FloatArray]:
    """Each (C, T). For a known n: log p(X | parameters), largest weight, entropy of the partition and n+.

    Otherwise of the partition alone: n+, its entropy, the share of its largest cluster, and log p(X given partition).
    Where a system gives a mixture only, a row's label is drawn from it, which is a draw from the joint posterior.
    """
    if "weights" not in arrays:
        return of_partitions(case, arrays["labels"])
    shape = arrays["weights"].shape[:2]
    rng = np.random.default_rng(0)
    found: list[dict[str, AnyArray]] = []
    for log_p, weights in _log_densities(case.X, arrays):
        top = log_p.max(1)
        cumulated = np.exp(log_p - top[:, None]).cumsum(1)
        labels = (cumulated[:, :-1] < rng.random(top.shape)[:, None] * cumulated[:, -1:]).sum(1)
        if known:
            sizes = (labels[:, None] == np.arange(weights.shape[1])[:, None]).sum(2)
            log_likelihood = (top + np.log(cumulated[:, -1])).sum(1)
            largest = weights.max(1)
            found.append({"log likelihood": log_likelihood, "largest weight": largest, **_shape_of(sizes)})
        else:
            found.append({"labels": labels.astype(np.uint8)})
    whole = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
    whole = {name: values.reshape(*shape, *values.shape[1:]) for name, values in whole.items()}
    return whole if known else of_partitions(case, whole["labels"])


def _log_densities(X: FloatArray, arrays: Mapping[str, AnyArray]) -> Iterator[tuple[FloatArray, FloatArray]]:
    """log p_k N(x_i; mu_k, Sigma_k), (draws, K, N), for a chunk of draws, and their weights (draws, K)."""
    C, T, K = arrays["weights"].shape
    N, D = X.shape
    flat = {name: values.reshape(C * T, *values.shape[2:]) for name, values in arrays.items()}
    step = max(1, _CELLS // (K * N * max(D, 1)))
    for start in range(0, C * T, step):
        weights, means, covariances = (flat[name][start : start + step] for name in ("weights", "means", "covariances"))
        factor = np.linalg.inv(np.linalg.cholesky(covariances))
        log_det = np.log(np.diagonal(factor, axis1=-2, axis2=-1)).sum(-1)
        Y = factor @ X.T - factor @ means[..., None]
        with np.errstate(divide="ignore"):
            log_c = np.log(weights) + log_det - 0.5 * D * np.log(2.0 * np.pi)
        yield log_c[..., None] - 0.5 * np.square(Y).sum(2), weights


def _shape_of(sizes: AnyArray) -> dict[str, FloatArray]:
    """Entropy of partitions and number of clusters, from cluster sizes (draws, K)."""
    share = sizes / sizes.sum(-1, keepdims=True)
    entropy = -(share * np.log(np.where(share > 0.0, share, 1.0))).sum(-1)
    return {"entropy": entropy, "n+": (sizes > 0).sum(-1).astype(float)}


def of_partitions(case: Case, labels: AnyArray) -> dict[str, FloatArray]:
    """The same of partitions (C, T, N), with log p(X given partition) under the prior of the case."""
    C, T, N = labels.shape
    D, K = case.X.shape[1], int(labels.max()) + 1
    flat, found = labels.reshape(C * T, N), []
    squares = np.einsum("ni,nj->nij", case.X - case.mu_0, case.X - case.mu_0).reshape(N, D * D)
    for start in range(0, C * T, step := max(1, _CELLS // (K * N))):
        member = (flat[start : start + step, None] == np.arange(K)[:, None]).astype(float)
        sizes = member.sum(2)
        sums = member @ (case.X - case.mu_0)
        scatter = (member @ squares).reshape(*sizes.shape, D, D)
        log_marginal = _log_marginal(case, sizes, sums, scatter).sum(-1)
        largest = sizes.max(-1) / N
        found.append({**_shape_of(sizes), "largest share": largest, "log p(X given partition)": log_marginal})
    return {name: np.concatenate([part[name] for part in found]).reshape(C, T) for name in found[0]}


def _log_marginal(case: Case, sizes: AnyArray, sums: FloatArray, scatter: FloatArray) -> FloatArray:
    """log p(rows of a cluster), from sums and products about mu_0 (Murphy 2007, section 9.5); 0 for an empty one."""
    D = len(case.mu_0)
    kappa, nu = case.kappa_0 + sizes, case.nu_0 + sizes
    Psi = case.Psi_0 + scatter - np.einsum("...i,...j->...ij", sums, sums) / kappa[..., None, None]
    j = np.arange(D)
    log_gammas = (gammaln((nu[..., None] - j) / 2) - gammaln((case.nu_0 - j) / 2)).sum(-1)
    log_dets = case.nu_0 * np.linalg.slogdet(case.Psi_0)[1] - nu * np.linalg.slogdet(Psi)[1]
    constant = -0.5 * D * (sizes * np.log(np.pi) + np.log(kappa / case.kappa_0))
    value: FloatArray = np.where(sizes > 0, constant + log_gammas + 0.5 * log_dets, 0.0)
    return value


@dataclasses.dataclass(frozen=True)
class Summary:
    """Mean and standard deviation of a quantity, its effective sample size and R-hat over the chains."""

    mean: float
    sd: float
    ess: float
    r_hat: float

    def z(self, other: Summary) -> float:
        """The difference of two means in joint Monte-Carlo standard errors."""
        error = np.hypot(self.sd / np.sqrt(self.ess), other.sd / np.sqrt(other.ess))
        return abs(self.mean - other.mean) / max(float(error), 1e-12)


def summarise(draws: FloatArray) -> Summary:
    """Of a quantity (C, T); a constant one has as many effective draws as draws."""
    if np.ptp(draws) == 0.0:
        return Summary(float(draws.flat[0]), 0.0, float(draws.size), 1.0)
    ess = float(array_stats.ess(draws, method="mean"))
    return Summary(float(draws.mean()), float(draws.std()), ess, float(array_stats.rhat(draws)))


def verdict(found: Mapping[str, Summary], reference: Mapping[str, Summary]) -> str:
    """Whether the answers agree, in words.

    All means within four joint standard errors: "agrees". Chains that have not met are judged by that alone.
    """
    worst = max(found, key=lambda name: found[name].r_hat)
    if not found[worst].r_hat <= R_HAT_MET:
        return f"chains did not meet (R-hat of {worst} {found[worst].r_hat:.2f})"
    shared = [name for name in found if name in reference]
    z = {name: found[name].z(reference[name]) for name in shared}
    worst = max(z, key=lambda name: z[name])
    if z[worst] <= Z_AGREES:
        return "agrees"
    gap = (found[worst].mean - reference[worst].mean) / max(reference[worst].sd, 1e-12)
    return f"differs: {worst} by {gap:+.2g} sd"
