"""Passes and sweeps on a CUDA device: ``python -m benchmarks.device [--out FILE]``; needs the extra ``cuda`` and a GPU.

1. whole sweeps of ``fit(X, n, device="cuda")`` at N = 10,000,000, D = 8, and 20 clusters, known n and unknown, by the
   difference of two fits, and the seconds of a fit of 1,000 sweeps, upload included;
2. one pass over the rows (labels, statistics, parameters there and statistics back) at other sizes, median of five;
3. densities and probabilities of clusters of 10,000,000 new rows under 100 draws, and how far from the processor's;
4. whether labels are those of the processor, given the same parameters and uniforms, and bytes the same twice.

Prints a line of JSON for each.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import gibbs_gmm as gg
from gibbs_gmm.kernels import cuda
from gibbs_gmm.kernels.families import FULL
from gibbs_gmm.kernels.sampler import sweep
from gibbs_gmm.kernels.sampler.state import Data
from gibbs_gmm.kernels.tile import new_workspace
from gibbs_gmm.sampler.buffers import empty_state
from gibbs_gmm.sampler.device import Device

SPREAD = 3.0  # standard deviations of the clusters' means, in those of a cluster
lines: list[dict[str, Any]] = []


def say(**values: Any) -> None:
    lines.append(values)
    print(json.dumps(values), flush=True)


def components(K: int, D: int, seed: int = 1) -> tuple[Any, Any]:
    """K components with random covariances, ready for the label pass, and their means."""
    rng = np.random.default_rng(seed)
    mu, result = SPREAD * rng.normal(size=(K, D)), FULL.components(K, D)
    for k in range(K):
        A = 0.15 * rng.normal(size=(D, D)) + np.eye(D)
        W = np.linalg.cholesky(A @ A.T) * math.sqrt(math.log2(math.e))
        result.W[k], result.c[k], result.centre[k, :D] = W, -W @ mu[k], mu[k]
        result.log_c[k] = -math.log2(K) + np.log2(np.diag(W)).sum()
    return result, mu


def rows(N: int, mu: Any, dtype: Any = np.float64) -> Any:
    """N rows about the means, with unit covariances; of many, a million again and again."""
    rng, some = np.random.default_rng(2), min(N, 1_000_000)
    block = (rng.normal(size=(some, mu.shape[1])) + mu[rng.integers(len(mu), size=some)]).astype(dtype)
    return np.tile(block, (-(-N // some), 1))[:N]


def one_pass(N: int, D: int, K: int, dtype: Any = np.float64) -> None:
    """Milliseconds of a pass, and whether two give the same bytes."""
    own, mu = components(K, D)
    store, data = Device(rows(N, mu, dtype)), Data(np.zeros((1, D)), np.zeros(D), np.ones(D))
    prior = gg.NormalInverseWishart(np.zeros(D), 1.0, D + 2.0, np.eye(D)).as_kernel(np.zeros(D))
    store.add_chain(0, prior, FULL, data, K)
    state = empty_state(np.zeros(1, np.uint16), prior, FULL, K, 1)._replace(components=own)
    state.log_w[:], state.key[:], state.size[:] = -math.log(K), (5, 6), K
    run = store.rows(0).label_pass
    begun = time.perf_counter()
    run(None, state, False)
    first, sums = time.perf_counter() - begun, state.shards.block.tobytes()
    seconds = []
    for _ in range(5):
        begun = time.perf_counter()
        run(None, state, False)
        seconds.append(time.perf_counter() - begun)
    same = sums == state.shards.block.tobytes()
    say(
        what="pass",
        N=N,
        D=D,
        K=K,
        dtype=np.dtype(dtype).name,
        ms=1e3 * float(np.median(seconds)),
        first=first,
        same=same,
    )
    if N <= 1_000_000:
        here = empty_state(np.zeros(N, np.uint16), prior, FULL, K, 1)._replace(components=own)
        here.log_w[:], here.key[:], here.size[:] = state.log_w, state.key, K
        data = data._replace(X=rows(N, mu, dtype))
        begun = time.perf_counter()
        sweep.label_pass(data, here, False, new_workspace(K, D), 0, 1)
        differ = int((here.z != store.gather(0)).sum())
        say(what="labels", N=N, D=D, K=K, differ=differ, cpu_ms=1e3 * (time.perf_counter() - begun))


def whole_sweeps(N: int, D: int, K: int) -> None:
    """Milliseconds of a sweep by the difference of two fits, for known and unknown n."""
    X = rows(N, components(K, D)[1])
    settings: dict[str, Any] = {"chains": 1, "rng": 1, "thin": 1, "progress": False, "save_assignments": False}
    per_sweep = {}
    for name, n in (("known", K), ("unknown", None)):
        seconds = []
        for warmup, draws in ((200, 10), (200, 10), (200, 310)):  # the first compiles
            begun = time.perf_counter()
            trace = gg.fit(X, n, device="cuda", warmup=warmup, draws=draws, **settings)
            seconds.append(time.perf_counter() - begun)
        per_sweep[name] = (seconds[2] - seconds[1]) / 300
        clusters = trace.n_clusters[:, -50:].mean()
        say(what="sweep", n=name, N=N, D=D, K=K, ms=1e3 * per_sweep[name], fits=seconds, n_clusters=clusters)
    begun = time.perf_counter()
    gg.fit(X, K, device="cuda", warmup=500, draws=500, **settings)
    say(what="fit of 1,000 sweeps", N=N, D=D, K=K, seconds=time.perf_counter() - begun)
    say(what="ratio", unknown_to_known=per_sweep["unknown"] / per_sweep["known"])


def predictions(N: int, D: int, K: int) -> None:
    """Seconds for N new rows under 100 draws, the processor's from fewer rows, and the largest difference."""
    X, few = rows(N, components(K, D)[1]), 20_000
    settings: dict[str, Any] = {"warmup": 100, "draws": 50, "chains": 2, "rng": 1, "thin": 1, "progress": False}
    trace = gg.fit(X[:100_000], K, device="cuda", **settings)
    for name in ("log_density", "predict_proba"):
        ask, seconds = getattr(trace, name), []
        for _ in range(2):  # the first compiles
            begun = time.perf_counter()
            there = ask(X, device="cuda")
            seconds.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        here = ask(X[:few])
        here_seconds = (time.perf_counter() - begun) * N / few
        differ = float(np.abs(here - there[:few]).max())
        say(what=name, N=N, D=D, K=K, draws=100, seconds=seconds[1], cpu_seconds=here_seconds, differ=differ)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="a file for the results, as JSON")
    parser.add_argument("--passes", action="store_true", help="passes only")
    arguments = parser.parse_args()
    if not cuda.is_available():
        sys.exit("there is no CUDA device that numba can use")
    one_pass(10_000_000, 8, 20)
    one_pass(500_000, 8, 20)
    if not arguments.passes:
        whole_sweeps(10_000_000, 8, 20)
        predictions(10_000_000, 8, 20)
    one_pass(10_000_000, 32, 32)
    one_pass(100_000_000, 8, 20, np.float32)
    one_pass(10_000_000, 8, 100)
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(lines, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
