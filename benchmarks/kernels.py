"""The figures to reach, measured: ``python -m benchmarks.kernels [--quick] [--only SECTION ...]``.

Everything is a ratio of medians of runs that took turns within this process, or a time on this machine: CPU time where
one thread works, wall time for ``threads`` and ``startup``. Kernels are compiled before they are timed; how long that
takes is a figure of its own (``startup``). Results go to ``benchmarks/results/kernels.json``; those of ``--quick`` and
``--only`` to ``results/scratch``.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

import gibbs_gmm
from benchmarks import common, fresh_processes, pruning
from benchmarks.common import Figure, interleave, medians, noise, say
from benchmarks.numpy_sampler import NumpySampler, TunedNumpySampler
from benchmarks.pieces import labels_alone, profile

_GEMM = 1536
Detail = dict[str, Any]


def gemm(quick: bool) -> tuple[list[Figure], Detail]:
    """Labels + statistics against the FLOP rate of OpenBLAS, one thread."""
    figures, detail = [], {}
    A = np.random.default_rng(0).standard_normal((_GEMM, _GEMM))
    B = np.empty_like(A)
    for N, D, K, target in ((100_000, 32, 32, 0.9), (250_000, 16, 20, 0.7)):
        chain = common.settled_chain(common.mixture(N, D, K), K, draws=1)
        common.label_statistics_pass(chain)
        alone = labels_alone(chain)
        seconds = interleave(
            {
                "pass": partial(common.label_statistics_pass, chain),
                "gemm": partial(np.matmul, A, A, out=B),
                "labels alone": alone,
            },
            7 if quick else 21,
        )
        middle = medians(seconds)
        operations = N * K * (D * (D + 1) + 4 * D)
        rate, peak = operations / middle["pass"], 2 * _GEMM**3 / middle["gemm"]
        spread = noise(seconds["gemm"], seconds["pass"], operations / (2 * _GEMM**3))
        figures.append(
            Figure(
                f"labels + statistics / GEMM, FLOP rate, N={N:,} D={D} K={K}",
                target,
                True,
                rate / peak,
                "",
                f"{rate / 1e9:.1f} of {peak / 1e9:.1f} GFLOP/s; labels alone "
                f"{operations / middle['labels alone'] / peak:.2f}; {spread}",
            )
        )
        detail[f"N={N} D={D} K={K}"] = {"operations": operations, "seconds": seconds}
    return figures, detail


def million(quick: bool) -> tuple[list[Figure], Detail]:
    """A whole sweep of a million rows against scikit-learn, NumPy and the label pass alone, one thread each."""
    N, D, K = 200_000 if quick else 1_000_000, 4, 20
    X = common.mixture(N, D, K)
    chain = common.settled_chain(X, K, draws=2)
    common.sweep(chain, 2)
    alone = labels_alone(chain)

    def blocked() -> None:
        with common.without_moves(chain):
            common.sweep(chain, 1)

    tasks = {"sweep": lambda: common.sweep(chain, 1), "without moves": blocked, "labels alone": alone}
    short = interleave(tasks, 9 if quick else 15)
    middle = medians(short)

    draw = {name: chain.arrays[name][0].copy() for name in ("weights", "means", "covariances")}
    prior = gibbs_gmm.NormalInverseWishart.from_data(X)
    z = chain.labels[0].astype(np.int64) if chain.labels is not None else np.zeros(N, np.int64)
    usual = NumpySampler(X, K, prior, 1.0, z, np.random.default_rng(0))
    tuned = TunedNumpySampler(X, K, prior, 1.0, z, np.random.default_rng(0))
    iterations = (1, 3)

    def em(max_iter: int) -> Callable[[], object]:
        # All parameters given: nothing is initialised from the data, and tol=0 never stops early. fit() then runs
        # max_iter iterations and one E-step, so that the difference of two runs holds nothing but iterations.
        model = GaussianMixture(
            K,
            weights_init=draw["weights"] / draw["weights"].sum(),
            means_init=draw["means"],
            precisions_init=np.linalg.inv(draw["covariances"]),
            tol=0.0,
            max_iter=max_iter,
        )
        return lambda: model.fit(X)

    def five_sweeps() -> None:
        for _ in range(5):
            common.sweep(chain, 1)

    long_tasks: dict[str, Callable[[], object]] = {
        "five sweeps": five_sweeps,
        "numpy sweep": usual.sweep,
        "tuned numpy sweep": tuned.sweep,
        **{f"fit, {m} EM iterations": em(m) for m in iterations},
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        interleave({"numpy": usual.sweep, "tuned": tuned.sweep, "em": em(1)}, 1)
        long = interleave(long_tasks, 1 if quick else 3)
    means = medians(long)
    sweep = means["five sweeps"] / 5
    few, many = iterations
    iteration = (means[f"fit, {many} EM iterations"] - means[f"fit, {few} EM iterations"]) / (many - few)
    size = f"N={N:,} D=4 K=20"

    small = common.settled_chain(X, 3, draws=1)
    three = interleave({"sweep": lambda: common.sweep(small, 1)}, 7 if quick else 15)
    figures = [
        Figure(
            f"EM iteration of scikit-learn / sweep, {size}",
            40.0,
            True,
            iteration / sweep,
            "times",
            f"{iteration * 1e3:.0f} ms against {sweep * 1e3:.1f} ms",
        ),
        Figure(
            f"NumPy sweep / sweep, {size}",
            25.0,
            True,
            means["numpy sweep"] / sweep,
            "times",
            f"{means['numpy sweep'] * 1e3:.0f} ms; (N, K) arrays, scipy.special.logsumexp",
        ),
        Figure(
            f"NumPy sweep tuned for memory order / sweep, {size}",
            None,
            True,
            means["tuned numpy sweep"] / sweep,
            "times",
            f"{means['tuned numpy sweep'] * 1e3:.0f} ms; (K, N) arrays, all in place",
        ),
        Figure(
            f"sweep, N={N:,} D=4 K=3",
            20.0,
            False,
            statistics.median(three["sweep"]) / N * 1e9,
            "ns an observation",
        ),
        Figure(
            f"sweep / label pass alone, {size}",
            1.2,
            False,
            middle["sweep"] / middle["labels alone"],
            "times",
            f"{middle['sweep'] * 1e3:.1f} ms against {middle['labels alone'] * 1e3:.1f} ms; "
            + noise(short["sweep"], short["labels alone"]),
        ),
        Figure(
            f"sweep without split-merge moves / label pass alone, {size}",
            None,
            False,
            middle["without moves"] / middle["labels alone"],
            "times",
            f"{middle['without moves'] * 1e3:.1f} ms; {noise(short['without moves'], short['labels alone'])}",
        ),
    ]
    pieces = profile(chain, 1, 5 if quick else 9)
    return figures, {"seconds": {**short, **long, "sweep K=3": three["sweep"]}, "profile": pieces, "profile of": size}


def iris(quick: bool) -> tuple[list[Figure], Detail]:
    """Microseconds a sweep and chain on Iris, n = 3, one thread: from fit() at two lengths, and inside one batch."""
    X, chains = common.iris(), 4
    few, many = 1_000, 6_000 if quick else 11_000

    def run(draws: int) -> Callable[[], object]:
        return lambda: gibbs_gmm.fit(
            X, 3, draws=draws, warmup=1_000, thin=1, chains=chains, rng=1, threads=1, progress=False
        )

    times = 2_000
    chain = common.settled_chain(X, 3, draws=times, warmup=1_000)

    def blocked() -> None:
        with common.without_moves(chain):
            common.sweep(chain, times)

    tasks = {"few": run(few), "many": run(many), "batch": lambda: common.sweep(chain, times), "without moves": blocked}
    interleave(tasks, 1)
    seconds = interleave(tasks, 5 if quick else 11)
    middle = medians(seconds)
    per_sweep = (middle["many"] - middle["few"]) / ((many - few) * chains)
    differences = np.array(seconds["many"]) - np.array(seconds["few"])
    low, high = np.quantile(differences, [0.25, 0.75]) / ((many - few) * chains)
    figures = [
        Figure(
            "Iris, n=3, a sweep of fit()",
            10.0,
            False,
            per_sweep * 1e6,
            "us a sweep and chain",
            f"quartiles {low * 1e6:.3g} to {high * 1e6:.3g}; labels kept",
        ),
        Figure(
            "Iris, n=3, a sweep within one batch",
            10.0,
            False,
            middle["batch"] / times * 1e6,
            "us a sweep and chain",
            "run_sweeps, labels kept",
        ),
        Figure(
            "the same without split-merge moves",
            None,
            False,
            middle["without moves"] / times * 1e6,
            "us a sweep and chain",
        ),
    ]
    pieces = profile(chain, times, 5 if quick else 11)
    return figures, {"seconds": seconds, "draws": [few, many], "profile": pieces, "profile of": "Iris, n=3"}


def threads(quick: bool) -> tuple[list[Figure], Detail]:
    """One thread against two, for the sampling of fit() after its set-up. Beside it, what the machine itself gives:

    two matrix multiplications one after the other against side by side.
    """
    figures, detail = [], {}
    A = np.random.default_rng(0).standard_normal((_GEMM, _GEMM))
    B = np.zeros((4, _GEMM, _GEMM))
    long = 4_000 if quick else 20_000
    cases = (
        ("2 chains, Iris, n=3", common.iris(), 3, 2, long),
        ("2 chains, N=100,000 D=4 K=20", common.mixture(100_000, 4, 20), 20, 2, 20 if quick else 40),
        ("1 chain, N=1,000,000 D=4 K=20", common.mixture(1_000_000, 4, 20), 20, 1, 4 if quick else 8),
    )
    with ThreadPoolExecutor(2) as pool:
        for name, X, K, n_chains, draws in cases:
            chains = common.build_chains(X, K, draws=draws, warmup=0, thin=1, chains=n_chains, rng=1, threads=2)
            seconds = interleave(
                {
                    "one": partial(common.run_again, chains, 1),
                    "two": partial(common.run_again, chains, 2),
                    "machine, one": lambda: [np.matmul(A, A, out=out) for out in B],
                    "machine, two": lambda: list(pool.map(lambda out: np.matmul(A, A, out=out), B)),
                },
                4 if quick else 8,
                time.perf_counter,
            )
            seconds = {task: values[1:] for task, values in seconds.items()}  # the first run learns how long a sweep is
            middle = medians(seconds)
            machine = middle["machine, one"] / middle["machine, two"]
            figures.append(
                Figure(
                    f"1 thread / 2 threads, {name}",
                    1.8,
                    True,
                    middle["one"] / middle["two"],
                    "times",
                    f"{noise(seconds['one'], seconds['two'])}; the machine itself gives {machine:.2f}",
                    fair=machine >= 1.8,
                )
            )
            detail[name] = {"seconds": seconds}
    return figures, detail


SECTIONS = {
    "gemm": gemm,
    "million": million,
    "pruned": pruning.passes,
    "pruned sweeps": pruning.sweeps,
    "pruned pairs": pruning.pairs,
    "pruned predictions": pruning.predictions,
    "iris": iris,
    "threads": threads,
    "memory": fresh_processes.memory,
    "startup": fresh_processes.startup,
}


def main() -> None:
    parser = common.parser("Measure the figures that the kernels are to reach.")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="sections to run")
    options = parser.parse_args()
    scratch = options.quick or set(options.only) != set(SECTIONS)

    begun = time.perf_counter()
    gibbs_gmm.fit(common.iris(), 3, draws=1, warmup=0, chains=1, rng=1, progress=False)
    compile_seconds = time.perf_counter() - begun
    figures: list[Figure] = []
    details: dict[str, Detail] = {}
    with common.one_blas_thread():
        for name in options.only:
            say(f"{name} ...")
            begun = time.perf_counter()
            with common.OtherLoad() as load:
                new, details[name] = SECTIONS[name](options.quick)
            details[name] |= {"wall_seconds": time.perf_counter() - begun, "load_of_others": load.share}
            figures += new

    print(f"{common.describe(common.environment())}\n")
    print(common.table(["figure", "target", "measured", "", "note"], (figure.row() for figure in figures)))
    for detail in details.values():
        if "profile" in detail:
            whole = detail["profile"]["whole sweep"]
            rows = (
                [piece, f"{seconds * 1e6:,.2f}", f"{100.0 * seconds / whole:.1f}"]
                for piece, seconds in detail["profile"].items()
            )
            print(f"\nWhere a sweep's time goes, {detail['profile of']}\n")
            print(common.table(["piece", "us", "% of the sweep"], rows))
    shares = [f"{name} {detail['load_of_others']:.0%}" for name, detail in details.items() if detail["load_of_others"]]
    print(f"\nOf the machine, other processes took: {', '.join(shares) or 'nothing'}.")
    missed = [figure.name for figure in figures if figure.met is False]
    met = sum(figure.met is True for figure in figures)
    unknown = [figure.name for figure in figures if not figure.fair and not figure.met]
    print(f"{met} of {met + len(missed)} figures met; missed: {'; '.join(missed) or 'none'}.")
    if unknown:
        print(f"The machine was too busy to say anything of: {'; '.join(unknown)}.")
    payload = {
        "figures": [figure.to_dict() for figure in figures],
        "first_fit_in_this_process_seconds": compile_seconds,
        "details": details,
    }
    common.write("kernels", payload, scratch)


if __name__ == "__main__":
    main()
