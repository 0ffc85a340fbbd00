"""Data sets with what is known of them: the labelled ones of ``data/``, and simulated mixtures."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
from scipy import stats

from benchmarks import common
from benchmarks.common import FloatArray

IntArray = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Data:
    """Rows to cluster, and what is known of them.

    ``cell`` names the column of the table in which a set is averaged with others. ``labels`` and ``n`` score the
    answer; ``variances`` (n, D) are those within the kinds, in the order of the first coordinates of their means. With
    ``told`` the fit is given n.
    """

    name: str
    X: FloatArray
    labels: IntArray | None = None
    n: int | None = None
    cell: str = ""
    variances: FloatArray | None = None
    told: bool = False


def labelled(name: str) -> Data:
    """A labelled data set of ``data/``; the labels only score."""
    X, labels = common.data_set(name)
    return Data(name, X, labels, cell=name)


def real_sets() -> list[Data]:
    """All labelled data sets."""
    return [labelled(name) for name in common.LABELLED]


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
    cell = "n = 1" if n == 1 else f"D = {D}"
    return Data(f"{D}-D N={N} n={n} error={error:.0%} seed={seed}", X, z if n > 1 else None, n, cell)


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
    """``per_cell`` mixtures for each of five dimensions and three overlaps, and two single components per dimension."""
    rng = np.random.default_rng(seed)
    sets: list[Data] = []
    for D in (1, 2, 4, 8, 13):
        for error in (0.01, 0.04, 0.1):
            for _ in range(per_cell):
                N = int(rng.choice([100, 400, 1000, 2000], p=[0.25, 0.35, 0.3, 0.1]))
                most = min(6, max(2, N // (3 * D)))  # a component needs rows
                sets.append(simulate(N, D, int(rng.integers(2, most + 1)), error, seed + len(sets)))
        sets.append(simulate(400, D, 1, 0.0, seed + len(sets)))
    sets += [simulate(150, D, 1, 0.0, seed + D) for D in (1, 2, 4, 8, 13)]
    return sets
