"""Do chains of unknown n really move, and what does it cost: ``python -m benchmarks.mixing [--quick]``.

1. effective draws of n+ a second on one core, after warm-up, on data sets with a fixed prior (arviz-stats' mean ESS
   over four dispersed chains, by the CPU time of the sweeps), and p(n+) on Iris against independent figures;
2. ``fit(X)`` as it is, on eleven data sets: CPU seconds, R-hat and effective draws of n+;
3. large simulated mixtures: sweeps until the true n from one cluster and from 30 random ones, and whether it stays;
4. a sweep of unknown n against one of known n = 20 at N = 1,000,000;
5. ``log_evidence``: standard errors and seconds;
6. what moves bring n+ about: cost of a sweep, and of each kind of move, and how many of them are accepted;
7. many columns: the partitions of chains from one cluster and from 20, and R-hat;
8. known n: whether eight chains of three components of Wine meet, and effective draws of Iris.
"""

from __future__ import annotations

import dataclasses
import math
import time
import warnings
from typing import Any
from unittest import mock

import numpy as np
from arviz_stats.base import array_stats
from scipy import special, stats
from sklearn.metrics import adjusted_rand_score

import gibbs_gmm as gg
from benchmarks import common
from benchmarks.common import AnyArray, Figure, FloatArray, say
from benchmarks.prior_study.sets import simulate
from gibbs_gmm.kernels.sampler.state import N_CLUSTERS
from gibbs_gmm.posterior.agreement import r_hat as r_hat_of
from gibbs_gmm.sampler.chain import _BATCH_SECONDS, Chain


@dataclasses.dataclass(frozen=True)
class Case:
    """Data with a fixed prior and what is asked of its effective draws of n+ a second."""

    name: str
    target: float
    X: FloatArray
    prior: gg.NormalInverseWishart
    most: int  # n is uniform on 1 .. most
    thin: int


def cases() -> list[Case]:
    """The data sets of the figures, each with a fixed prior; weights are Dirichlet(1), n uniform on 1 .. most."""
    X = {name: common.data_set(name)[0] for name in ("iris", "galaxies", "faithful", "thyroid")}
    covariance = np.cov(X["iris"].T)
    iris = gg.NormalInverseWishart(X["iris"].mean(0), 0.01, 6.0, covariance / np.sqrt(3.0))
    galaxies = gg.NormalInverseWishart([20.82817073], 0.103556777, 2.56, [[14.813199656]])  # fixture B
    result = [Case("Iris", 1000, X["iris"], iris, 10, 10), Case("Galaxies", 4000, X["galaxies"], galaxies, 10, 5)]
    for name, target, thin in (("faithful", 600, 20), ("thyroid", 500, 40)):
        rows = X[name]
        D = rows.shape[1]
        prior = gg.NormalInverseWishart(rows.mean(0), 0.05, D + 2, 0.2 * np.diag(rows.var(0, ddof=1)))
        result.append(Case(name.capitalize(), target, rows, prior, 30, thin))
    return result


def _weights(case: Case) -> gg.MixtureOfFiniteMixtures:
    return gg.MixtureOfFiniteMixtures(stats.randint(1, case.most + 1), 1.0, dynamic=False)


def run_case(case: Case, draws: int, warmup: int, seed: int) -> dict[str, Any]:
    """Four chains on one thread, one after the other: ESS of n+ over all, and CPU seconds of the kept sweeps."""
    chains = common.build_chains(
        case.X, _weights(case), prior=case.prior, draws=draws, warmup=warmup, thin=case.thin, chains=4, rng=seed,
        save_assignments=False,
    )  # fmt: skip
    seconds = [_advance(chain) for chain in chains]
    n = np.stack([chain.arrays["n_clusters"] for chain in chains])
    warm, kept = np.array(seconds).T
    counts = np.sum([chain.moves.counts for chain in chains], axis=0)
    return {
        "data": case.name,
        "seed": seed,
        "ess": ess_of(n),
        "r_hat": float(r_hat_of(n)),
        "seconds": float(kept.sum()),
        "warmup_seconds": float(warm.sum()),
        "ess_per_second": ess_of(n) / float(kept.sum()),
        "microseconds_a_sweep": float(1e6 * kept.sum() / (4 * draws * case.thin)),
        "p_n_clusters": [float(np.mean(n == t)) for t in range(1, int(n.max()) + 1)],
        "proposed": counts[..., 0].tolist(),
        "accepted": counts[..., 1].tolist(),
        "tuning": [chain.tuner.frozen() for chain in chains],
    }


def ess_of(values: AnyArray) -> float:
    """Effective sample size for the mean of draws (C, T)."""
    return float(array_stats.ess(values.astype(np.float64), method="mean"))


def _advance(chain: Chain) -> tuple[float, float]:
    """Run a chain to its end; CPU seconds of warm-up and of what is kept."""
    begun = time.thread_time()
    while chain.sweeps_done < chain.plan.warmup:
        chain.advance(None)
    middle = time.thread_time()
    while not chain.finished:
        chain.advance(None)
    return middle - begun, time.thread_time() - middle


def effective_draws(scratch: bool) -> tuple[list[Figure], list[dict[str, Any]]]:
    """Part 1."""
    figures, details = [], []
    for case in cases():
        say(f"effective draws: {case.name}")
        runs = [run_case(case, 500 if scratch else 3000, 3000, seed) for seed in range(1, 2 if scratch else 4)]
        details += runs
        rates = [run["ess_per_second"] for run in runs]
        note = f"{min(rates):,.0f} to {max(rates):,.0f} by seed; R-hat at most {max(run['r_hat'] for run in runs):.3f}"
        name = f"{case.name}, effective draws of n+ a second"
        figures.append(Figure(name, case.target, True, float(np.median(rates)), "", note))
        if case.name == "Iris":
            for t, published in ((2, 0.432), (3, 0.498), (4, 0.066)):
                p = float(np.mean([run["p_n_clusters"][t - 1] for run in runs]))
                figures.append(Figure(f"Iris, p(n+ = {t}) - {published}", 0.01, False, abs(p - published), ""))
    return figures, details


_SECONDS = {
    **dict.fromkeys(("iris", "faithful", "galaxies", "acidity", "thyroid"), 20),
    **{"wine": 60, "penguins": 30, "crabs": 30, "diabetes": 30, "olive": 240, "ais": 240},
}
"""Data sets of part 2, and the seconds of CPU that the run may take over all its chains."""


def defaults(scratch: bool) -> tuple[list[Figure], list[dict[str, Any]]]:
    """Part 2: the run goes on until it is done."""
    figures, details = [], []
    for name, limit in list(_SECONDS.items())[: 1 if scratch else None]:
        say(f"fit(X): {name}")
        X = common.data_set(name)[0]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of values that many rows share
            gg.fit(X, draws=2, warmup=60, thin=1, rng=0, progress=False)  # compiles for this number of columns
            begun, clock = time.process_time(), time.perf_counter()
            trace = gg.fit(X, rng=1, progress=False)
        seconds, clock = time.process_time() - begun, time.perf_counter() - clock
        p = np.bincount(trace.n_clusters.ravel()) / trace.n_clusters.size
        r_hats = {"n+": float(r_hat_of(trace.n_clusters)), "log p": float(r_hat_of(trace.log_likelihood))}
        ess, ended = ess_of(trace.n_clusters), trace.settings["stopped_by"]
        details.append({"data": name, "seconds": seconds, "clock": clock, "r_hat": r_hats, "ess": ess, "p": p.tolist()})
        title, note = f"fit(X) on {name.capitalize()}", f"{ended}; n+ = {int(p.argmax())} is likeliest"
        largest = float(np.nanmax(list(r_hats.values())))
        figures.append(Figure(f"{title}, R-hat of n+ and of the log likelihood", 1.01, False, largest, "", note))
        figures.append(Figure(f"{title}, effective draws of n+", 400, True, ess, ""))
        figures.append(Figure(f"{title}, CPU seconds", limit, False, seconds, "s", f"{clock:.1f} by the clock"))
    return figures, details


def known(scratch: bool) -> tuple[list[Figure], list[dict[str, Any]]]:
    """Part 8: Wine with three components, eight chains; Iris with three."""
    X, figures, details = common.data_set("wine")[0], [], []
    prior = gg.NormalInverseWishart(X.mean(0), 0.05, X.shape[1] + 2, 0.2 * np.diag(X.var(0, ddof=1)))
    for seed in range(1, 2 if scratch else 4):
        say(f"known n: Wine, seed {seed}")
        begun = time.process_time()
        trace = gg.fit(X, 3, prior=prior, chains=8, max_sweeps=5_000 if scratch else 200_000, rng=seed, progress=False)
        seconds, r_hat = time.process_time() - begun, float(r_hat_of(trace.log_likelihood))
        assert trace.assignments is not None
        means = [float(np.mean([_log_joint(X, z, prior) for z in chain[::10]])) for chain in trace.assignments]
        details.append({"seed": seed, "seconds": seconds, "r_hat": r_hat, "log_joint": means})
        title, note = f"Wine, n = 3, seed {seed}", trace.settings["stopped_by"]
        apart = max(abs(float(mean) + 3685.7) for mean in means)
        figures.append(Figure(f"{title}: largest |mean log p(X, C) + 3685.7| of 8 chains", 2.0, False, apart, "", note))
        figures.append(Figure(f"{title}, R-hat of the log likelihood", 1.01, False, r_hat, ""))
        figures.append(Figure(f"{title}, CPU seconds", 60, False, seconds, "s"))
    say("known n: Iris")
    X, rates = common.data_set("iris")[0], []
    for seed in range(1, 4):
        chains = common.build_chains(X, 3, draws=2_000, warmup=1_000, thin=5, chains=4, rng=seed)
        kept = sum(_advance(chain)[1] for chain in chains)
        rates.append(ess_of(np.stack([chain.arrays["log_likelihood"] for chain in chains])) / kept)
    note = f"{min(rates):,.0f} to {max(rates):,.0f} by seed"
    name = "Iris, n = 3, effective draws of the log likelihood a second"
    figures.append(Figure(name, 4500, True, float(np.median(rates)), "", note))
    return figures, details


def _log_joint(X: FloatArray, z: AnyArray, prior: gg.NormalInverseWishart) -> float:
    """log p(X, C) of labels from 0 to 2 under Dirichlet(1, 1, 1), with SciPy."""
    N, sizes = len(z), np.bincount(z, minlength=3)
    log_joint = float(special.gammaln(3.0) - special.gammaln(3.0 + N) + special.gammaln(1.0 + sizes).sum())
    D = X.shape[1]
    for k in np.flatnonzero(sizes):
        Y = X[z == k]
        n, centre = len(Y), Y.mean(0)
        kappa, nu, away = prior.kappa_0 + n, prior.nu_0 + n, centre - prior.mu_0
        Psi = prior.Psi_0 + (Y - centre).T @ (Y - centre) + prior.kappa_0 * n / kappa * np.outer(away, away)
        log_joint += float(
            special.multigammaln(nu / 2, D)
            - special.multigammaln(prior.nu_0 / 2, D)
            + prior.nu_0 / 2 * np.linalg.slogdet(prior.Psi_0)[1]
            - nu / 2 * np.linalg.slogdet(Psi)[1]
            + D / 2 * (math.log(prior.kappa_0 / kappa) - n * math.log(math.pi))
        )
    return log_joint


def recovery(scratch: bool) -> tuple[list[Figure], list[dict[str, Any]]]:
    """Part 3: chains from one cluster and from 30, 200 sweeps of warm-up, and 200 sweeps in which they should stay."""
    figures, details = [], []
    sizes = ((10_000, 2, 5),) if scratch else ((10_000, 2, 5), (100_000, 8, 12))
    for N, D, n in sizes:
        data = simulate(N, D, n, 0.001, seed=7)
        for start in (1, 30):
            say(f"recovery: N={N:,} D={D}, {n} components, from {start} cluster(s)")
            with mock.patch("gibbs_gmm.sampler.assemble._start", lambda chain, rows, start=start: start):
                chains = common.build_chains(data.X, None, draws=200, warmup=200, thin=1, chains=4, rng=3)
            reached = []
            for chain in chains:
                first = None
                while not chain.finished:
                    chain._seconds_per_sweep = _BATCH_SECONDS  # one sweep at a time
                    chain.advance(None)
                    right = int(chain.state.size[N_CLUSTERS]) == n
                    if right and first is None:
                        first = chain.sweeps_done
                reached.append(first)
            kept = np.stack([chain.arrays["n_clusters"] for chain in chains])
            details.append(
                {"N": N, "D": D, "n": n, "start": start, "reached": reached, "stayed": float((kept == n).mean())}
            )
            title = f"N={N:,} D={D}, {n} components, from {start}"
            slowest = math.inf if None in reached else float(max(r for r in reached if r is not None))
            figures.append(Figure(f"{title}: sweeps until the slowest chain has n+ = {n}", 200, False, slowest, ""))
            figures.append(
                Figure(
                    f"{title}: least share of draws at {n} after that", 0.99, True, float((kept == n).mean(1).min()), ""
                )
            )
    return figures, details


def cost(scratch: bool) -> tuple[list[Figure], list[dict[str, Any]]]:
    """Part 4."""
    N = 200_000 if scratch else 1_000_000
    say(f"cost of a sweep: N={N:,}")
    X = common.mixture(N, 4, 20)
    settled = {}
    for name, weights in (("known", 20), ("unknown", None)):
        (chain,) = common.build_chains(X, weights, draws=8, warmup=60, chains=1, rng=1, thin=1, save_assignments=False)
        while chain.sweeps_done < chain.plan.warmup:
            chain.advance(None)
        common.sweep(chain, 1)
        settled[name] = chain
    tasks = {name: (lambda chain=chain: common.sweep(chain, 4)) for name, chain in settled.items()}
    seconds = common.interleave(tasks, 3 if scratch else 9)
    ratio = common.medians(seconds)["unknown"] / common.medians(seconds)["known"]
    low, high = common.ratio_range(seconds["unknown"], seconds["known"])
    clusters = int(settled["unknown"].state.size[N_CLUSTERS])
    note = f"{low:.2f} to {high:.2f}; {clusters} clusters"
    figure = Figure(f"sweep with unknown n / with n = 20, N={N:,} D=4", 1.3, False, ratio, "times", note)
    return [figure], [{"seconds": seconds, "n_clusters": clusters}]


def evidences(scratch: bool) -> tuple[list[Figure], list[dict[str, Any]]]:
    """Part 5."""
    figures, details = [], []
    fixture = "-246.17994108 -231.477 -227.059 -226.436 -226.262 -226.328 -226.519 -226.784 -227.111 -227.456"
    for case, target, draws in ((cases()[0], 0.1, 100_000), (cases()[1], 0.05, 150_000)):
        say(f"evidences: {case.name}")
        begun = time.perf_counter()
        found = gg.log_evidence(
            case.X, prior=case.prior, draws=draws // (10 if scratch else 1), chains=8, rng=1, progress=False
        )
        seconds, error = time.perf_counter() - begun, float(found.standard_error.max())
        values = {"log_evidence": found.log_evidence.tolist(), "standard_error": found.standard_error.tolist()}
        details.append({"data": case.name, **values, "seconds": seconds, "messages": found.messages})
        figures.append(
            Figure(f"{case.name}, largest standard error of log p(X | n), n = 1..10", target, False, error, "")
        )
        figures.append(Figure(f"{case.name}, seconds for it (two threads)", 60, False, seconds, "s"))
        if case.name == "Galaxies":
            gap = np.abs(found.log_evidence - np.array(fixture.split(), float))[1:] / found.standard_error[1:]
            note = "standard errors; n = 1..10, against Hairault, Robert & Rousseau's method"
            figures.append(Figure("Galaxies, largest gap to published evidences", 4, False, float(gap.max()), "", note))
    return figures, details


_KINDS = ("launches", "recalls", "row_by_row", "seeded", "searched")
_METHOD = {"launches": 0, "recalls": 0, "row_by_row": 1, "seeded": 2, "searched": 3}  # places in the moves' counts


def worth(scratch: bool) -> tuple[list[Figure], list[dict[str, Any]]]:
    """Part 6: a settled chain with moves of one kind at a time."""
    figures, details = [], []
    fixed = {case.name: (case.X, _weights(case), {"prior": case.prior}) for case in cases()[: 1 if scratch else None]}
    own = {name.capitalize(): (common.data_set(name)[0], None, {}) for name in ("wine", "olive", "ais")}
    many = {data.name: (data.X, None, {}) for data in (simulate(500, 10, 6, 0.01, 3), simulate(1000, 20, 8, 0.002, 3))}
    for name, (X, weights, settings) in (fixed if scratch else {**fixed, **own, **many}).items():
        say(f"moves: {name}")
        (chain,) = common.build_chains(
            X, weights, draws=400, warmup=2000, thin=1, chains=1, rng=1, save_assignments=False, **settings
        )
        while chain.sweeps_done < chain.plan.warmup:
            chain.advance(None)
        common.sweep(chain, 1)
        rates = chain.tuner.frozen()
        with common.without_moves(chain):
            plain, _ = _microseconds(chain)
            for kind in _KINDS:
                setattr(chain.tuner, kind, 1.0)
                cost, counts = _microseconds(chain)
                setattr(chain.tuner, kind, 0.0)
                accepted = (1000.0 * counts[_METHOD[kind], :, 1] / _SWEEPS).tolist()
                details.append({"data": name, "kind": kind, "us": cost - plain, "accepted": accepted, **rates})
                note = f"{accepted[2]:.3g} re-splits; {cost - plain:.0f} us beside {plain:.0f} of the rest"
                title = f"{name}, {kind}: splits and merges accepted a 1,000 sweeps at one a sweep"
                figures.append(Figure(title, None, True, accepted[0] + accepted[1], "", note))
    return figures, details


_SWEEPS = 1000


def _microseconds(chain: Chain) -> tuple[float, AnyArray]:
    """CPU time of a sweep at the rates as they are, and what became of the moves of 1,000 sweeps, in none of which the
    chain had to make room for more clusters.
    """
    before, slots, begun = chain.moves.counts.copy(), chain.slots, time.thread_time()
    for _ in range(_SWEEPS // 200):
        common.sweep(chain, 200)
    if chain.slots > slots:
        return _microseconds(chain)
    return 1e6 * (time.thread_time() - begun) / _SWEEPS, chain.moves.counts - before


def many_columns(scratch: bool) -> tuple[list[Figure], list[dict[str, Any]]]:
    """Part 7: the least adjusted Rand index between chains' last partitions after 2,000 sweeps; R-hat in 30-D."""
    figures, details = [], []
    data = simulate(1000, 20, 8, 0.002, 3)
    last = []
    for start in (1, 20):
        say(f"many columns: {data.name} from {start}")
        with mock.patch("gibbs_gmm.sampler.assemble._start", lambda chain, rows, start=start: start):
            chains = common.build_chains(
                data.X, None, draws=500, warmup=100 if scratch else 1500, thin=1, chains=1 if scratch else 4, rng=1
            )
        seconds = [sum(_advance(chain)) for chain in chains]
        last += [chain.state.z.copy() for chain in chains]
        details.append({"data": data.name, "start": start, "seconds": seconds})
    apart = min(adjusted_rand_score(a, b) for i, a in enumerate(last) for b in last[:i])
    truth = min(adjusted_rand_score(data.labels, z) for z in last)
    name = f"{data.name}, least adjusted Rand index between chains from 1 and 20 clusters"
    figures.append(Figure(name, 0.95, True, apart, "", f"{truth:.2f} with the truth"))
    if not scratch:
        data = simulate(600, 30, 4, 0.05, 3)
        say(f"many columns: {data.name}")
        chains = common.build_chains(data.X, None, draws=4000, warmup=1500, thin=1, chains=4, rng=1)
        taken = sum(sum(_advance(chain)) for chain in chains)
        log_p = np.stack([chain.arrays["log_likelihood"] for chain in chains])
        figures.append(Figure(f"{data.name}, R-hat of the log likelihood", 1.05, False, float(r_hat_of(log_p)), ""))
        figures.append(Figure(f"{data.name}, seconds of CPU for it", 120, False, taken, "s"))
    return figures, details


def main() -> None:
    args = common.parser(__doc__.splitlines()[0]).parse_args()
    parts = {
        "effective draws": effective_draws,
        "defaults": defaults,
        "recovery": recovery,
        "cost": cost,
        "evidences": evidences,
        "worth of moves": worth,
        "many columns": many_columns,
        "known n": known,
    }
    figures: list[Figure] = []
    details, loads = {}, {}
    for name, part in parts.items():
        with common.OtherLoad() as load:
            found, details[name] = part(args.quick)
        figures += found
        loads[name] = load.share
    print(common.describe(common.environment()))
    print(common.table(["figure", "target", "measured", "", "note"], [figure.row() for figure in figures]))
    print("Of the machine, other processes took: " + ", ".join(f"{name} {share:.0%}" for name, share in loads.items()))
    payload = {"figures": [figure.to_dict() for figure in figures], "load_of_others": loads, "details": details}
    common.write("mixing", payload, args.quick)


if __name__ == "__main__":
    main()
