"""Which default prior finds the clusters: ``python -m benchmarks.prior_study [--quick]``.

The component prior and the concentration are chosen together for an unknown number of clusters, by how well their
posteriors find known labels and known numbers of clusters. Three stages:

1. a screen of many priors on the data sets and on 18 simulated mixtures;
2. the best few and the fixed alternatives in use elsewhere, on the data sets and on 35 other simulated mixtures: one to
   six components in 1 to 13 dimensions, at three overlaps, with 100 to 2,000 rows;
3. the winner, which was put together after a look at stage 2, against three others on 35 mixtures not seen before.

Under every prior n - 1 ~ BNB(1, 4, 3). Two short chains, one from 1 and one from 20 clusters (on the data sets of stage
2 also from 4 and 10), so that a prior under which chains do not meet shows. Results go to
``benchmarks/results/prior_study.json`` and ``prior_study.md``; those of ``--quick`` to ``results/scratch``.

The simulated components owe nothing to any of the priors: axes and shapes of each covariance are drawn freely, and the
means are then moved apart until the best possible rule, that knows all parameters, errs at the stated rate.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

import gibbs_gmm as gg
from benchmarks import common
from benchmarks.common import FloatArray, say
from gibbs_gmm.agreement import r_hat as r_hat_of

IntArray = npt.NDArray[np.int64]

_MET = 1.1  # R-hat of n+ above which two short chains have not met
_SCREEN_NUMBERS = 13_000  # rows x columns of the largest simulated set of the screen
_LEVEL = 0.9  # of the sets of n+ whose coverage is counted


# --- Data -------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Data:
    """Rows to cluster; the labels that score it, if there are any, and the number of clusters if that is known."""

    name: str
    X: FloatArray
    labels: IntArray | None
    n: int | None = None
    error: float = math.nan


def real_sets() -> list[Data]:
    """The data sets of ``data/``; labels only score."""
    return [Data(name, *common.data_set(name)) for name in common.DATA_SETS]


def simulate(N: int, D: int, n: int, error: float, seed: int) -> Data:
    """N rows from n components whose best possible classification errs at the rate ``error``."""
    rng = np.random.default_rng([seed, N, D, n])
    w = rng.dirichlet(np.full(n, 5.0))
    while w.min() < 0.3 / n:
        w = rng.dirichlet(np.full(n, 5.0))
    roots = np.empty((n, D, D))
    for k in range(n):
        axes = stats.ortho_group.rvs(D, random_state=rng) if D > 1 else np.eye(1)
        roots[k] = axes * np.exp(rng.normal(0.0, 0.3) + rng.normal(0.0, 0.4, D))
    # Of several sets of means the one whose nearest pair is farthest apart: no two components coincide by chance.
    proposals = rng.standard_normal((20, n, D))
    gaps = np.linalg.norm(proposals[:, :, None] - proposals[:, None], axis=3) + 1e9 * np.eye(n)
    means = proposals[gaps.min((1, 2)).argmax()]
    test = _draw(rng, 4000, w, means, roots)
    low, high = 0.0, 64.0
    for _ in range(20 if n > 1 else 0):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _bayes_error(test, w, middle * means, roots) > error else (low, middle)
    z, noise = _draw(rng, N, w, means, roots)
    while len(np.unique(z)) < n:
        z, noise = _draw(rng, N, w, means, roots)
    X = high * means[z] + noise
    return Data(f"{D}-D N={N} n={n} error={error:.0%} seed={seed}", X, z if n > 1 else None, n, error)


def _draw(
    rng: np.random.Generator, N: int, w: FloatArray, means: FloatArray, roots: FloatArray
) -> tuple[IntArray, FloatArray]:
    """Labels, and each row's deviation from the mean of its component."""
    z = rng.choice(len(w), size=N, p=w)
    return z, np.einsum("nij,nj->ni", roots[z], rng.standard_normal((N, means.shape[1])))


def _bayes_error(test: tuple[IntArray, FloatArray], w: FloatArray, means: FloatArray, roots: FloatArray) -> float:
    z, noise = test
    X = means[z] + noise
    score = np.empty((len(z), len(w)))
    for k, root in enumerate(roots):
        white = np.linalg.solve(root, (X - means[k]).T)
        score[:, k] = np.log(w[k]) - 0.5 * (white**2).sum(0) - np.linalg.slogdet(root)[1]
    return float((score.argmax(1) != z).mean())


def simulated_sets(per_cell: int, seed: int) -> list[Data]:
    """``per_cell`` mixtures for each of five dimensions and three overlaps, and one single component per dimension."""
    rng = np.random.default_rng(seed)
    sets = []
    for D in (1, 2, 4, 8, 13):
        for error in (0.01, 0.04, 0.1):
            for _ in range(per_cell):
                N = int(rng.choice([100, 400, 1000, 2000], p=[0.25, 0.35, 0.3, 0.1]))
                most = min(6, max(2, N // (3 * D)))  # a component needs rows
                sets.append(simulate(N, D, int(rng.integers(2, most + 1)), error, seed + len(sets)))
        sets.append(simulate(400, D, 1, 0.0, seed + len(sets)))
    return sets


# --- Candidates -------------------------------------------------------------------------------------------------------

ComponentPrior = Callable[[FloatArray], gg.NormalInverseWishart]


def niw(
    spread: float,
    kappa: float,
    extra: float | Callable[[int], float] = 2.0,
    df: Callable[[int], float] | None = None,
    shape: float | None = None,
) -> ComponentPrior:
    """E[Sigma] = spread x diag(variances of the columns), nu_0 = D + extra."""

    def build(X: FloatArray) -> gg.NormalInverseWishart:
        D = X.shape[1]
        more = extra(D) if callable(extra) else extra
        Psi_0 = np.diag(spread * (more - 1.0) * X.var(axis=0, ddof=1))
        known = df(D) if df else None
        return gg.NormalInverseWishart(X.mean(0), kappa, D + more, Psi_0, Psi_0_df=known, kappa_0_shape=shape)

    return build


def fraley_raftery(X: FloatArray, n: int = 3) -> gg.NormalInverseWishart:
    """Fraley & Raftery (2007), whose scale depends on the number of components; n is a guess of it."""
    D = X.shape[1]
    return gg.NormalInverseWishart(X.mean(0), 0.01, D + 2.0, np.atleast_2d(np.cov(X.T)) / n ** (2.0 / D))


def unit_information(X: FloatArray) -> gg.NormalInverseWishart:
    """kappa_0 = 1 and Psi_0 = cov: one observation's worth of the whole data's spread."""
    return gg.NormalInverseWishart(X.mean(0), 1.0, X.shape[1] + 2.0, np.atleast_2d(np.cov(X.T)))


def telescope(X: FloatArray) -> gg.NormalInverseWishart:
    """The default of R's telescope (Malsiner-Walli, Fruehwirth-Schnatter & Gruen 2016), translated.

    There Sigma^-1 ~ W(c0, C0) and C0 ~ W(g0, G0) with c0 = 2.5 + (D - 1)/2, g0 = 0.5 + (D - 1)/2 and
    G0 = 100 g0/c0 diag(1/R^2), in the notation whose mean is c0 C0^-1: here nu_0 = 2 c0, Psi_0 = 2 C0, of mean
    2 g0 G0^-1 and 2 g0 degrees of freedom. Its mu ~ N(median, diag(R^2)), independent of Sigma, becomes the
    conjugate prior that is as wide where Sigma has its mean.
    """
    D, R = X.shape[1], np.ptp(X, axis=0)
    Psi_0 = (D + 4.0) / 100.0 * np.diag(R**2)
    kappa = (D + 4.0) / 100.0 / 3.0  # E[Sigma] / R^2
    return gg.NormalInverseWishart(np.median(X, axis=0), kappa, D + 4.0, Psi_0, Psi_0_df=float(D))


def telescope_by_variance(X: FloatArray) -> gg.NormalInverseWishart:
    """The same with R^2 = 25 x variance and the mean for the median: the range grows with N and with one outlier."""
    D = X.shape[1]
    Psi_0 = (D + 4.0) / 4.0 * np.diag(X.var(axis=0, ddof=1))
    return gg.NormalInverseWishart(X.mean(0), (D + 4.0) / 300.0, D + 4.0, Psi_0, Psi_0_df=float(D))


SCREENED: dict[str, ComponentPrior] = {
    # fixed, in use elsewhere
    "Fraley-Raftery, n = 3": fraley_raftery,
    "kappa 1, Psi = cov": unit_information,
    "fixed .2 V, kappa .01": niw(0.2, 0.01),
    "fixed .2 V, kappa .05": niw(0.2, 0.05),
    "telescope": telescope,
    # the scale learned; V = diag(variances), df = degrees of freedom of Psi_0
    "df D, nu D+2, .2 V, kappa .01": niw(0.2, 0.01, 2, lambda D: D),
    "df D, nu D+2, .2 V, kappa .05": niw(0.2, 0.05, 2, lambda D: D),
    "df D, nu D+4, .2 V, kappa .01": niw(0.2, 0.01, 4, lambda D: D),
    "df D, nu D+4, .2 V, kappa .05": niw(0.2, 0.05, 4, lambda D: D),
    "df D, nu D+4, .05 V, kappa .05": niw(0.05, 0.05, 4, lambda D: D),
    "df D, nu D+4, .5 V, kappa .05": niw(0.5, 0.05, 4, lambda D: D),
    "df D, nu D+8, .2 V, kappa .05": niw(0.2, 0.05, 8, lambda D: D),
    "df D+2, nu D+4, .2 V, kappa .05": niw(0.2, 0.05, 4, lambda D: D + 2),
    "df 2D+2, nu D+4, .2 V, kappa .05": niw(0.2, 0.05, 4, lambda D: 2 * D + 2),
    "df D, nu D+4, .2 V, kappa .1": niw(0.2, 0.1, 4, lambda D: D),
    "df D, nu D+4, .2 V, kappa ~ G(1/2) .05": niw(0.2, 0.05, 4, lambda D: D, 0.5),
    "df D, nu D+4, .2 V, kappa ~ G(1) .05": niw(0.2, 0.05, 4, lambda D: D, 1.0),
}

REFINED: dict[str, ComponentPrior] = {
    "df D, nu D+4, .2 V, kappa .02": niw(0.2, 0.02, 4, lambda D: D),
    "df D, nu D+8, .2 V, kappa .01": niw(0.2, 0.01, 8, lambda D: D),
    "df D, nu 2D+3, .2 V, kappa .01": niw(0.2, 0.01, lambda D: D + 3, lambda D: D),
    "df D+2, nu D+4, .2 V, kappa .01": niw(0.2, 0.01, 4, lambda D: D + 2),
    "telescope, R^2 = 25 V": telescope_by_variance,
}

COMPONENTS = SCREENED | REFINED


def weight_priors() -> dict[str, gg.MixtureOfFiniteMixtures]:
    return {
        "dynamic F(6,3)": gg.MixtureOfFiniteMixtures(),
        "static 1": gg.MixtureOfFiniteMixtures(concentration=1.0, dynamic=False),
        "static Gamma(1,20)": gg.MixtureOfFiniteMixtures(concentration=stats.gamma(1, scale=1 / 20), dynamic=False),
    }


DYNAMIC, STATIC, SPARSE = weight_priors()

SCREEN = [
    *((component, DYNAMIC) for component in SCREENED),
    *(
        (component, weight)
        for component in (
            "fixed .2 V, kappa .01",
            "telescope",
            "df D, nu D+4, .2 V, kappa .05",
        )
        for weight in (STATIC, SPARSE)
    ),
]

FINAL = [
    *(
        (component, DYNAMIC)
        for component in (
            "Fraley-Raftery, n = 3",
            "kappa 1, Psi = cov",
            "fixed .2 V, kappa .01",
            "telescope",
            "df D, nu D+2, .2 V, kappa .01",
            "df D, nu D+4, .2 V, kappa .01",
            "df D, nu D+4, .2 V, kappa .05",
            *REFINED,
        )
    ),
    *(("df D, nu D+4, .2 V, kappa .01", weight) for weight in (STATIC, SPARSE)),
]

CONFIRMATION = [
    (component, DYNAMIC)
    for component in (
        "telescope, R^2 = 25 V",
        "telescope",
        "df D, nu D+4, .2 V, kappa .05",
        "fixed .2 V, kappa .01",
    )
]


# --- Scores -----------------------------------------------------------------------------------------------------------


def adjusted_rand(Z: npt.NDArray[np.integer[Any]], labels: IntArray) -> FloatArray:
    """The adjusted Rand index (Hubert & Arabie 1985) of each row of Z (T, N) against ``labels`` (N,)."""
    T, K, C = len(Z), int(Z.max()) + 1, int(labels.max()) + 1
    cell = (np.arange(T)[:, None] * K + Z) * C + labels
    table = np.bincount(cell.ravel(), minlength=T * K * C).reshape(T, K, C).astype(np.float64)

    def pairs(counts: FloatArray) -> FloatArray:
        return np.asarray((counts * (counts - 1.0) / 2.0).sum(tuple(range(1, counts.ndim))))

    both, ours, theirs = pairs(table), pairs(table.sum(2)), pairs(table.sum(1))
    chance = ours * theirs / (Z.shape[1] * (Z.shape[1] - 1.0) / 2.0)
    span = 0.5 * (ours + theirs) - chance
    return np.where(span == 0.0, 1.0, (both - chance) / np.where(span == 0.0, 1.0, span))


@dataclasses.dataclass(frozen=True)
class Score:
    """What one fit says: of the true n+ where that is known, against the labels where there are any."""

    data: str
    component: str
    weight: str
    D: int
    n: int | None
    error: float
    ari: float
    p_true: float
    log_score: float
    covered: float
    set_size: float
    mode: int
    mean: float
    r_hat: float
    seconds: float

    @property
    def prior(self) -> tuple[str, str]:
        """Names of the component prior and of the weight prior."""
        return self.component, self.weight

    @property
    def met(self) -> bool:
        """Whether the chains agree on n+; R-hat is NaN where n+ is the same in every draw."""
        return not self.r_hat > _MET

    def line(self) -> str:
        """Its values as one line, in the order of its fields."""
        values = (getattr(self, field.name) for field in dataclasses.fields(self))
        return "; ".join(f"{value:.4g}" if isinstance(value, float) else str(value) for value in values)


def score(data: Data, component: str, weight: str, chains: int = 2) -> Score:
    begun = time.process_time()
    trace = gg.fit(
        data.X,
        weight_priors()[weight],
        prior=COMPONENTS[component](data.X),
        draws=300,
        thin=5 if len(data.X) < 1000 else 3,
        warmup=1500,
        chains=chains,
        rng=1,
        threads=1,
        progress=False,
        save_assignments=data.labels is not None,
    )
    seconds = time.process_time() - begun
    p = np.bincount(trace.n_clusters.ravel()) / trace.n_clusters.size
    ari = p_true = log_score = covered = math.nan
    order = np.argsort(-p, kind="stable")
    size = int(np.searchsorted(np.cumsum(p[order]), _LEVEL - 1e-12)) + 1
    if trace.assignments is not None and data.labels is not None:
        Z = trace.assignments.reshape(-1, len(data.X))
        ari = float(adjusted_rand(Z, data.labels).mean())
    if data.n is not None:
        p_true = float(p[data.n]) if data.n < len(p) else 0.0
        log_score = math.log(max(p_true, 0.5 / trace.n_clusters.size))  # as far as the draws can tell
        covered = float(data.n in order[:size])
    mean, r_hat = float(trace.n_clusters.mean()), float(r_hat_of(trace.n_clusters))
    return Score(
        data.name, component, weight, data.X.shape[1], data.n, data.error, ari, p_true, log_score, covered, float(size),
        int(p.argmax()), mean, r_hat, seconds,
    )  # fmt: skip


def run(sets: Sequence[Data], priors: Sequence[tuple[str, str]], chains: int = 2) -> list[Score]:
    scores = []
    for i, data in enumerate(sets):
        begun = time.perf_counter()
        scores += [score(data, *prior, chains) for prior in priors]
        say(f"{i + 1}/{len(sets)} {data.name}: {len(priors)} priors in {time.perf_counter() - begun:.1f} s")
    return scores


# --- Tables -----------------------------------------------------------------------------------------------------------


def _mean(values: Iterable[float]) -> float:
    finite = [value for value in values if not math.isnan(value)]
    return float(np.mean(finite)) if finite else math.nan


def _by_prior(scores: Sequence[Score]) -> dict[tuple[str, str], list[Score]]:
    groups: dict[tuple[str, str], list[Score]] = {}
    for s in scores:
        groups.setdefault(s.prior, []).append(s)
    return groups


def simulated_table(scores: Sequence[Score]) -> str:
    """One line a prior, best log score first."""
    rows = []
    for (component, weight), group in _by_prior([s for s in scores if s.n is not None]).items():
        low = [s for s in group if s.D <= 2 and s.n != 1]
        high = [s for s in group if s.D >= 8 and s.n != 1]
        numbers = (
            _mean(s.log_score for s in group),
            _mean(s.p_true for s in group),
            _mean(s.mode == s.n for s in group),
            _mean(s.covered for s in group),
            _mean(s.set_size for s in group),
            _mean(s.mean - (s.n or 0) for s in group),
            _mean(s.ari for s in group),
            _mean(s.p_true for s in low),
            _mean(s.p_true for s in high),
            _mean(s.p_true for s in group if s.n == 1),
            _mean(not s.met for s in group),
            _mean(s.seconds for s in group),
        )
        rows.append((-numbers[0], [component, weight, *(f"{value:.2f}" for value in numbers)]))
    header = (
        "component prior", "weights", "log score", "P(true n+)", "mode right", "90% covers", "its size", "bias", "ARI",
        "P, D <= 2", "P, D >= 8", "P, n = 1", "not met", "seconds",
    )  # fmt: skip
    return common.table(header, [row for _, row in sorted(rows)])


def real_table(scores: Sequence[Score]) -> str:
    """ARI where there are labels, and the posterior mean and mode of n+."""
    rows = []
    for (component, weight), group in _by_prior([s for s in scores if s.n is None]).items():
        cells = []
        for s in group:
            star = "" if s.met else "*"
            ari = "" if math.isnan(s.ari) else f"{s.ari:.2f}, "
            cells.append(f"{ari}{s.mean:.1f} ({s.mode}){star}")
        ari = _mean(s.ari for s in group)
        rows.append((-ari, [component, weight, f"{ari:.3f}", *cells]))
    names = [f"{data.name}{':' if data.labels is None else ': ARI'} n+" for data in real_sets()]
    return common.table(("component prior", "weights", "mean ARI", *names), [row for _, row in sorted(rows)])


def report(stages: dict[str, list[Score]], quick: bool) -> None:
    """Print the tables, and write them and every score."""
    text = []
    for title, scores in stages.items():
        text += [f"## {title}: simulated mixtures", simulated_table(scores)]
        if any(s.n is None for s in scores):
            text += [f"## {title}: data sets", real_table(scores)]
    text.append(
        "V = diag(variances of the columns); the number before it is the part of it that E[Sigma] is. Data sets: mean "
        f"ARI over draws, mean of n+ (its mode); * R-hat of n+ above {_MET}. bias: mean of n+ less the truth."
    )
    page = "\n\n".join(text)
    print(page)
    (common.results_folder(quick) / "prior_study.md").write_text(page + "\n", encoding="utf-8")
    fields = "; ".join(field.name for field in dataclasses.fields(Score))
    lines = {title: [s.line() for s in scores] for title, scores in stages.items()}
    common.write("prior_study", {"fields": fields, "stages": lines}, quick)


def main(arguments: Sequence[str] | None = None) -> None:
    quick = common.parser(str(__doc__).splitlines()[0]).parse_args(arguments).quick
    real = real_sets()
    few = [data for data in simulated_sets(1, 100) if data.X.size <= _SCREEN_NUMBERS]
    stages = {"Screen": run([*real, *(few[::3] if quick else few)], SCREEN)}
    if not quick:
        stages["Final"] = [*run(real, FINAL, chains=4), *run(simulated_sets(2, 1000), FINAL)]
        stages["Confirmation"] = run(simulated_sets(2, 5000), CONFIRMATION)
    report(stages, quick)


if __name__ == "__main__":
    main()
