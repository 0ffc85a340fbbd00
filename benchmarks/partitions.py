"""How long partitions of a trace take: ``python -m benchmarks.partitions [--quick]``.

The labels are drawn from a posterior that is far from certain: ten overlapping normal components in two dimensions,
whose means differ a little from draw to draw, and of which one is split in every third draw. Results go to
``benchmarks/results/partitions.json``; those of ``--quick`` to ``results/scratch``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

import gibbs_gmm as gg
from benchmarks import common
from benchmarks.common import Figure, say

_SEPARATION = 4.0  # standard deviation of the components' means, in those of a component


def trace_of(N: int, draws: int, K: int = 10) -> gg.Trace:
    """A trace of N rows with such labels; the rest of it is of no consequence."""
    rng = np.random.default_rng(0)
    means = _SEPARATION * rng.standard_normal((K, 2))
    X = means[rng.integers(K, size=N)] + rng.standard_normal((N, 2))
    z = np.empty((1, draws, N), np.uint8)
    for t in range(draws):
        moved = means + 0.1 * rng.standard_normal((K, 2))
        if t % 3 == 0:
            moved = np.vstack([moved, moved[:1] + 0.5])
        best = np.full(N, -np.inf)
        for k in range(len(moved)):  # the largest of log density + Gumbel noise
            score = rng.gumbel(size=N) - 0.5 * np.square(X - moved[k]).sum(1)
            z[0, t][score > best] = k
            best = np.maximum(best, score)
    filled = np.zeros((1, draws, K + 1))
    return gg.Trace(
        weights=filled + 1.0 / (K + 1),
        means=filled[..., None],
        covariances=filled[..., None, None] + 1.0,
        assignments=z,
        n_components=np.full((1, draws), K + 1),
        n_clusters=np.full((1, draws), K + 1),
        log_likelihood=filled[..., 0],
        log_posterior=filled[..., 0],
        concentration=None,
        kappa_0=None,
        Psi_0=None,
        columns=("x0",),
        prior=gg.NormalInverseWishart([0.0], 1.0, 3.0, [[1.0]]),
        weight_prior=gg.FiniteMixture(K + 1),
        settings={"n_observations": N},
    )


def main() -> None:
    options = common.parser("Time similarities, partitions and credible balls.").parse_args()
    quick = options.quick
    small, medium, large, draws = (300, 500, 1_000, 200) if quick else (1_000, 5_000, 10_000, 1_000)
    figures: list[Figure] = []
    details: dict[str, Any] = {}

    def measure(name: str, target: float | None, task: Callable[[], Any]) -> None:
        """Processor seconds of all threads together: what one core would take, whatever else the machine does."""
        say(f"{name} ...")
        wall, cpu = time.perf_counter(), time.process_time()
        result = task()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        figures.append(Figure(name, target, False, cpu, "s", f"{wall:.2f} s by the clock"))
        details[name] = {"wall": wall, "cpu": cpu}
        if isinstance(result, gg.Partition):
            details[name] |= {"n_clusters": result.n_clusters, "expected_loss": result.expected_loss}
            details[name] |= {"runs": result.runs, "agreeing_runs": result.agreeing_runs}

    with common.one_blas_thread(), common.OtherLoad() as load:
        for loss in ("vi", "binder", "omari"):  # compile
            trace_of(30, 5, 3).partition(loss)
        trace_of(30, 5, 3).similarity()
        trace = trace_of(small, draws)
        for loss, target in (("vi", 2.0), ("binder", None), ("omari", None)):
            measure(f"partition, {loss}, N={small:,}", target, lambda loss=loss: trace.partition(loss))
        centre = trace.partition("vi", runs=1)
        measure(f"credible_ball, N={small:,}", None, lambda: trace.credible_ball(partition=centre))
        medium_trace = trace_of(medium, draws)
        measure(f"similarity, N={medium:,}", 5.0, medium_trace.similarity)
        large_trace = trace_of(large, draws)
        for loss, target in (("vi", 30.0), ("binder", None)):
            measure(f"partition, {loss}, N={large:,}", target, lambda loss=loss: large_trace.partition(loss))
        large_centre = large_trace.partition("vi", runs=1)
        measure(f"credible_ball, N={large:,}", None, lambda: large_trace.credible_ball(partition=large_centre))
    print(common.describe(common.environment()))
    print(f"\n{draws:,} draws; seconds of CPU, which {common.cores()} threads share\n")
    print(common.table(["figure", "target", "CPU", "", ""], (figure.row() for figure in figures)))
    if load.share is not None:
        print(f"\nOf the machine, other processes took {load.share:.0%}.")
    payload = {
        "draws": draws,
        "figures": [figure.to_dict() for figure in figures],
        "details": details,
        "load_of_others": load.share,
    }
    common.write("partitions", payload, quick)


if __name__ == "__main__":
    main()
