"""Known kinds and outliers together leave their prior invariant, exactly, under every weight prior, all moves made.

Everything is drawn from the prior and kept where the rows that are known are of the kinds that they are known to be of;
a few sweeps later it must still have that law (Geweke 2004; Gandy & Scott 2020). RATE is the probability that any test
of this file fails although all is well.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import simulation
from harness import assert_p_values, package_prior, some_niw
from numpy.typing import NDArray
from oracle import Floats
from scipy import stats
from test_unknown_n import ALPHA_PRIOR, LEARNED

import gibbs_gmm as gg
from gibbs_gmm.kernels.sampler import sweep as kernels
from gibbs_gmm.kernels.sampler.row_by_row import new_sides
from gibbs_gmm.kernels.sampler.state import COUNT, FAILED, LOG_SHARE, N_CLUSTERS, N_COMPONENTS, Data, Draws
from gibbs_gmm.kernels.tile import new_workspace
from gibbs_gmm.model.outliers import Outliers
from gibbs_gmm.model.weight_priors import WeightPrior
from gibbs_gmm.sampler.assemble import as_model, initial_state
from gibbs_gmm.sampler.buffers import new_moves

RATE = 1e-3
REPLICATES = 1000
N, D, SWEEPS = 9, 2, 4
TAGS = np.array([0, 0, 1, *[-1] * (N - 3)])
BOX = Outliers(0.3, (-4.0,) * D, (5.0,) * D)
NIW = some_niw(D, D + 3.0)


def hyperparameters(rng: np.random.Generator, prior: WeightPrior) -> Iterator[tuple[float, int]]:
    """alpha and n (0 for a process) from the prior, without end."""
    while True:
        n = np.zeros(10_000, np.int64)
        if isinstance(prior, gg.FiniteMixture):
            n[:] = prior.n_components
        elif isinstance(prior, gg.MixtureOfFiniteMixtures):
            n[:] = prior.n_prior.rvs(len(n), random_state=rng)
        yield from zip(ALPHA_PRIOR.rvs(len(n), random_state=rng).tolist(), n.tolist(), strict=True)


def draw_labels(
    rng: np.random.Generator, prior: WeightPrior, source: Iterator[tuple[float, int]]
) -> tuple[float, float, int, NDArray[np.int64]]:
    """alpha, the share of outliers, n (0 for a process) and labels: of kinds 0 and 1, of others from 2 on, -1 for none.

    Drawn until rows 0 and 1 are of kind 0 and row 2 is of kind 1.
    """
    known = TAGS >= 0
    for alpha, n in source:
        s = rng.beta(1.0, 1.0 / BOX.share - 1.0)
        outlier = rng.random(N) < s
        if outlier[known].any():
            continue
        if isinstance(prior, gg.DirichletProcess | gg.PitmanYorProcess):
            d, z = prior.discount, np.full(N, -1)
            for i in np.flatnonzero(~outlier):
                sizes = np.bincount(z[z >= 0])
                urn = np.append(sizes - d, alpha + len(sizes) * d)
                z[i] = rng.choice(len(urn), p=urn / urn.sum())
            if z[0] != z[1] or z[0] == z[2]:
                continue
            names = {z[0]: 0, z[2]: 1}
        else:
            gamma = alpha / n if isinstance(prior, gg.MixtureOfFiniteMixtures) and prior.dynamic else alpha
            z = np.where(outlier, -1, rng.choice(n, N, p=rng.dirichlet(np.full(n, gamma))))
            if (z[known] != TAGS[known]).any():
                continue
            names = {0: 0, 1: 1}
        return alpha, s, n, np.array([-1 if k < 0 else names.setdefault(k, len(names)) for k in z])
    raise AssertionError("the source has no end")


def statistics(alpha: float, s: float, n: int, z: NDArray[np.int64], X: Floats) -> dict[str, float]:
    """What is compared."""
    sizes = np.bincount(z[z >= 0])
    within = sum(((X[z == k] - X[z == k].mean(0)) ** 2).sum() for k in np.unique(z[z >= 0]))
    result = {
        "alpha": alpha,
        "share": s,
        "outliers": float((z < 0).sum()),
        "n+": float(len(sizes)),
        "of kind 0": float(sizes[0]),
        "of kind 1": float(sizes[1]),
        "within": float(within),
        "mean of kind 0": float(X[z == 0, 0].mean()),
        "mean of kind 1": float(X[z == 1, 1].mean()),
        "an outlier's place": float(X[z < 0].max(initial=-9.0)),
    }
    return result | ({"n": float(n), "n less n+": float(n - len(sizes))} if n > 0 else {})


@pytest.mark.parametrize("name", LEARNED)
def test_prior_is_left_invariant(name: str) -> None:
    weights, rng = LEARNED[name], np.random.default_rng([11, list(LEARNED).index(name)])
    prior = package_prior(NIW)
    model, _ = as_model(prior, weights, np.zeros(D))
    model = model._replace(weights=model.weights._replace(tagged=2))
    capacity = 64 if len(model.weights.log_p) == 0 else len(model.weights.log_p) + 1
    first = np.random.default_rng(1).standard_normal((N, D))
    first.flags.writeable = False
    data, family = Data(first, np.zeros(D), np.ones(D), TAGS.copy()), prior.family
    state = initial_state(rng, data, model, family, 1.0, 2, capacity, BOX.as_kernel())
    moves = new_moves(data.X.shape[1], family, capacity, 1)
    rows = {"weights": (0, 1), "means": (0, 1, D), "covariances": (0, 1, D, D), "scale": (0, D, D)}
    empty: dict[str, Any] = {
        field: np.zeros(rows.get(field, 0), np.int64 if field.startswith("n_") else float)
        for field in Draws._fields
        if field != "z"
    }
    draws = Draws(**empty, z=np.zeros((0, N), np.uint16))
    scratch = kernels.Scratch(
        new_sides(family, model.prior, N),
        np.zeros(max(capacity, len(model.weights.log_p))),
        np.zeros(capacity, np.int64),
        new_workspace(capacity, D),
        new_workspace(2, D),
    )
    calls, store = kernels.compiled_calls(rng, data, model, state, moves, draws, scratch)
    tuning = np.array([2.0, 0.0, 2.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    state.key[0] = 1  # labels are set below

    source = hyperparameters(rng, weights)

    def draw() -> tuple[float, float, int, NDArray[np.int64], Floats]:
        alpha, s, n, z = draw_labels(rng, weights, source)
        X = rng.uniform(BOX.low, BOX.high, (N, D))
        own = z >= 0
        X[own] = simulation.draw_rows(rng, z[own], *simulation.draw_components(rng, NIW, int(z.max()) + 1))
        return alpha, s, n, z, X

    before, after = [statistics(*draw()) for _ in range(3 * REPLICATES)], []
    for _ in range(REPLICATES):
        alpha, _, n, z, X = draw()
        X.flags.writeable = False
        t = int(z.max()) + 1
        state.z[:] = np.where(z < 0, capacity - 1, z)
        state.size[N_CLUSTERS], state.size[N_COMPONENTS] = t, max(n, t)
        state.outliers[COUNT], state.alpha[0] = (z < 0).sum(), alpha
        state.components.centre[:] = 0.0
        for k in range(t):
            own = X[z == k]
            state.total.n[k] = len(own)
            state.total.block[k] = family.block_of(own)
            state.total.block[k, :D] = own.sum(0)
        here = data._replace(X=X)
        kernels.run_sweeps(rng, here, model, model, state, moves, tuning, scratch, calls, store, SWEEPS, 0, 0, draws)
        assert state.report[FAILED] == 0
        z = state.z.astype(np.int64)
        z[z == capacity - 1] = -1
        assert (z[TAGS >= 0] == TAGS[TAGS >= 0]).all()
        assert state.outliers[COUNT] == (z < 0).sum()
        size = int(state.size[N_COMPONENTS]) if n > 0 else 0
        after.append(statistics(float(state.alpha[0]), float(np.exp(state.outliers[LOG_SHARE])), size, z, X))
    p = {
        key: float(stats.ks_2samp([row[key] for row in after], [row[key] for row in before], method="asymp").pvalue)
        for key in before[0]
    }
    assert_p_values(p, RATE / len(LEARNED))
