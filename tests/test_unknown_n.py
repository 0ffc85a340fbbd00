"""An unknown number of components: enumeration under every prior and for every kind of move, and exact invariance.

Thresholds: each quantity within 4 Monte-Carlo standard errors of the truth (a right sampler fails one comparison with
probability 6e-5); exact invariance at a family-wise error rate of 1e-3. Seeds are fixed.
"""

import numpy as np
import oracle
import pytest
import simulation
from harness import assert_p_values, assert_within_mcse, draw_scales, package_prior, scale_prior, some_niw
from numpy.typing import NDArray
from oracle import NIW, Floats
from scipy import stats

import gibbs_gmm as gg
from gibbs_gmm.kernels.families.full import KAPPA
from gibbs_gmm.kernels.sampler import sweep as kernels
from gibbs_gmm.kernels.sampler.row_by_row import new_sides
from gibbs_gmm.kernels.sampler.state import FAILED, N_CLUSTERS, N_COMPONENTS, Data, Draws
from gibbs_gmm.kernels.tile import new_workspace
from gibbs_gmm.model.weight_priors import WeightPrior
from gibbs_gmm.sampler.assemble import as_model, initial_state
from gibbs_gmm.sampler.buffers import new_moves
from gibbs_gmm.sampler.tuning import Tuner

NEAL = np.array([-1.48, -1.40, -1.16, -1.08, -1.02, 0.14, 0.51, 0.53, 0.78])[:, None]
NEAL_NIW = NIW(np.zeros(1), 0.1, 4.0, np.eye(1))
BNB = stats.betanbinom(1, 4, 3, loc=1)
P_N = BNB.pmf(np.arange(1, 4000))

PRIORS: dict[str, tuple[WeightPrior, oracle.WeightPrior]] = {
    "sparse": (gg.FiniteMixture(5, 0.3), oracle.Finite(5, 0.3)),
    "static": (gg.MixtureOfFiniteMixtures(BNB, 1.0, dynamic=False), oracle.StaticMFM(1.0, P_N)),
    "static, 0.6": (gg.MixtureOfFiniteMixtures(BNB, 0.6, dynamic=False), oracle.StaticMFM(0.6, P_N)),
    "dynamic": (gg.MixtureOfFiniteMixtures(BNB, 1.0), oracle.DynamicMFM(1.0, P_N)),
    "Dirichlet process": (gg.DirichletProcess(1.0), oracle.DP(1.0)),
    "Pitman-Yor": (gg.PitmanYorProcess(0.7, 0.3), oracle.PY(0.7, 0.3)),
}
MOVES = {
    "labels only": (0.0, 0.0, 0.0, 0.0, 0.0, 20),
    "launches": (1.0, 0.0, 0.0, 0.0, 0.0, 6),
    "recalls": (0.0, 1.0, 0.0, 0.0, 0.0, 6),
    "row by row": (0.0, 0.0, 1.0, 0.0, 0.0, 6),
    "seeded": (0.0, 0.0, 0.0, 2.0, 0.0, 6),
    "searched": (0.0, 0.0, 0.0, 0.0, 1.0, 6),
    "all": (0.5, 1.0, 1.0, 1.0, 0.5, 5),
}
"""Moves a sweep with launches, learned ones, row by row, from seeds and by searches, and sweeps per draw."""


def use_moves(monkeypatch: pytest.MonkeyPatch, *rates: float) -> None:
    """Make kept sweeps do just these moves."""
    at = Tuner.at

    def only(self: Tuner, sweep: int, *rest: object) -> tuple[Floats, int]:
        tuning, left = at(self, sweep, *rest)
        values = [*rates[:3], 2.0, 0.0, 0.0, 0.0, 0.0, *rates[3:]]
        return (np.array(values) if sweep >= self._warmup else tuning), left

    monkeypatch.setattr(Tuner, "at", only)


def assert_exact(trace: gg.Trace, exact: oracle.Enumeration, min_ess: float) -> None:
    """p(n+), p(n) and co-clustering of a trace agree with the enumeration."""
    z = trace.assignments
    assert z is not None
    np.testing.assert_array_equal(trace.n_clusters, 1 + (np.diff(np.sort(z, axis=-1)) != 0).sum(-1))
    for t in range(1, z.shape[-1] + 1):
        if exact.n_clusters[t - 1] > 1e-3:
            name = f"p(n+ = {t})"
            assert_within_mcse(trace.n_clusters == t, exact.n_clusters[t - 1], min_ess=min_ess, name=name)
    if exact.n_components is not None and len(exact.n_components) > 9:
        for n in range(1, 6):
            name = f"p(n = {n})"
            assert_within_mcse(trace.n_components == n, exact.n_components[n - 1], min_ess=min_ess, name=name)
    for i, j in ((0, 1), (0, 5), (4, 5), (3, 5)):
        together = z[..., i] == z[..., j]
        assert_within_mcse(together, exact.co_clustering[i, j], min_ess=min_ess, name=f"p(z_{i} = z_{j})")


CROSSED = [  # one prior with every move, and every other prior with all moves together
    pytest.param(name, moves, marks=() if moves == "all" or name == "static" else pytest.mark.slow)
    for name in PRIORS
    for moves in MOVES
]


@pytest.mark.parametrize(("name", "moves"), CROSSED)
def test_fixture_a(name: str, moves: str, monkeypatch: pytest.MonkeyPatch) -> None:
    prior, truth = PRIORS[name]
    *rates, thin = MOVES[moves]
    use_moves(monkeypatch, *rates)
    settings = {"draws": 11_000, "warmup": 1000, "thin": thin, "rng": 5, "threads": 1, "progress": False}
    trace = gg.fit(NEAL, prior, prior=package_prior(NEAL_NIW), **settings)
    assert_exact(trace, oracle.enumerate_posterior(NEAL, NEAL_NIW, truth), min_ess=10_000)


@pytest.mark.parametrize(
    ("name", "D", "N"),
    [
        pytest.param(name, D, N, marks=() if D == 2 or name == "static" else pytest.mark.slow)
        for name in PRIORS
        for D, N in ((2, 7), (3, 6))
    ],
)
def test_two_and_three_dimensions(name: str, D: int, N: int) -> None:
    prior, truth = PRIORS[name]
    X = np.where(np.arange(N) % 2, 1.5, -1.5)[:, None] + np.random.default_rng([D, N]).standard_normal((N, D))
    niw = some_niw(D, D + 2.0)
    settings = {"draws": 8000, "warmup": 1000, "thin": 8, "rng": 6, "threads": 1, "progress": False}
    trace = gg.fit(X, prior, prior=package_prior(niw), **settings)
    assert_exact(trace, oracle.enumerate_posterior(X, niw, truth), min_ess=10_000)


# --- Exact invariance, hyperparameters included ---

RATE = 1e-3
REPLICATES = 1500
N_ROWS, SWEEPS = 12, 5
ALPHA_PRIOR = stats.gamma(3.0, scale=0.4)
LEARNED: dict[str, WeightPrior] = {
    "finite": gg.FiniteMixture(3, ALPHA_PRIOR),
    "static": gg.MixtureOfFiniteMixtures(stats.randint(1, 6), ALPHA_PRIOR, dynamic=False),
    "dynamic": gg.MixtureOfFiniteMixtures(BNB, ALPHA_PRIOR),
    "Dirichlet process": gg.DirichletProcess(ALPHA_PRIOR),
    "Pitman-Yor": gg.PitmanYorProcess(ALPHA_PRIOR, 0.2),
}


def draw_partition(rng: np.random.Generator, prior: WeightPrior, alpha: float) -> tuple[int, NDArray[np.int64]]:
    """n (0 for a process) and labels, numbered by first appearance, from the prior."""
    if isinstance(prior, gg.DirichletProcess | gg.PitmanYorProcess):
        d, z = getattr(prior, "discount", 0.0), [0]
        while len(z) < N_ROWS:
            sizes = np.bincount(z)
            urn = np.append(sizes - d, alpha + len(sizes) * d)
            z.append(int(rng.choice(len(urn), p=urn / urn.sum())))
        return 0, np.array(z)
    n = prior.n_components if isinstance(prior, gg.FiniteMixture) else int(simulation.draw_n(rng, prior.n_prior, 1)[0])
    dynamic = isinstance(prior, gg.MixtureOfFiniteMixtures) and prior.dynamic
    z = rng.choice(n, N_ROWS, p=rng.dirichlet(np.full(n, alpha / n if dynamic else alpha)))
    return n, np.unique(z, return_inverse=True)[1]


@pytest.mark.parametrize(
    ("D", "law"),
    [(1, "wishart"), *(pytest.param(2, law, marks=pytest.mark.slow) for law in ("wishart", "shrunk", "turned"))],
)
@pytest.mark.parametrize("name", LEARNED)
def test_everything_learned_leaves_the_prior_invariant(name: str, D: int, law: str) -> None:
    weights, rng = LEARNED[name], np.random.default_rng([7, D])
    niw = some_niw(D, D + 3.0)
    scale = scale_prior(law, niw.Psi_0)
    prior = gg.NormalInverseWishart(*niw[:3], kappa_0_shape=1.5, **scale)
    model, _ = as_model(prior, weights, np.zeros(D))
    capacity = 64 if len(model.weights.log_p) == 0 else len(model.weights.log_p)
    blank = np.zeros((N_ROWS, D))
    blank.flags.writeable = False
    data = Data(blank, np.zeros(D), np.ones(D))
    start = data._replace(X=np.random.default_rng(1).standard_normal((N_ROWS, D)))
    family = prior.family
    state, moves = (
        initial_state(rng, start, model, family, 1.0, 1, capacity),
        new_moves(data.X.shape[1], family, capacity, 1),
    )
    none = {"weights": (0, 1), "means": (0, 1, D), "covariances": (0, 1, D, D), "scale": (0, D, D)}
    draws = Draws(
        **{
            field: np.zeros(none.get(field, 0), np.int64 if field.startswith("n_") else float)
            for field in Draws._fields
            if field != "z"
        },
        z=np.zeros((0, N_ROWS), np.uint16),
    )
    place = np.zeros(capacity, np.int64)
    sides = new_sides(family, model.prior, N_ROWS)
    scratch = kernels.Scratch(
        sides, np.zeros(len(model.weights.log_p)), place, new_workspace(capacity, D), new_workspace(2, D)
    )
    calls, rows = kernels.compiled_calls(rng, data, model, state, moves, draws, scratch)
    tuning = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    state.key[0] = 1  # labels are set below

    count = 4 * REPLICATES
    Psi = draw_scales(rng, count, **scale)
    kappas = niw.kappa_0 * rng.random(count) ** (1.0 / 1.5)
    alphas = ALPHA_PRIOR.rvs(count, random_state=rng)
    hyperparameters = zip(alphas.tolist(), kappas.tolist(), Psi, strict=True)

    def draw() -> tuple[float, float, Floats, int, NDArray[np.int64], Floats]:
        alpha, kappa, Psi_0 = next(hyperparameters)
        n, z = draw_partition(rng, weights, alpha)
        parts = simulation.draw_components(rng, NIW(niw.mu_0, kappa, niw.nu_0, Psi_0), int(z.max()) + 1)
        return alpha, kappa, Psi_0, n, z, simulation.draw_rows(rng, z, *parts)

    def statistics(
        alpha: float, kappa: float, Psi_0: Floats, n: int, z: NDArray[np.int64], X: Floats
    ) -> dict[str, float]:
        sizes = np.bincount(z)
        sizes = sizes[sizes > 0]
        within = sum(((X[z == k] - X[z == k].mean(0)) ** 2).sum() for k in np.unique(z))
        result = {
            "alpha": alpha,
            "kappa_0": kappa,
            "log det Psi_0": float(np.linalg.slogdet(Psi_0)[1]),
            "Psi_0": Psi_0[-1, -1],
            "n+": float(len(sizes)),
            "largest": float(sizes.max()),
            "alpha times n+": alpha * len(sizes),
            "within over Psi_0": within / np.trace(Psi_0),
            "spread times kappa_0": kappa * ((X.mean(0) - niw.mu_0) ** 2).sum(),
        }
        if n > 0:
            result |= {"n": float(n), "n less n+": float(n - len(sizes))}
        return result

    before, after = [statistics(*draw()) for _ in range(3 * REPLICATES)], []
    for _ in range(REPLICATES):
        alpha, kappa, Psi_0, n, z, X = draw()
        X.flags.writeable = False
        state.z[:] = z
        state.size[N_CLUSTERS] = z.max() + 1
        state.size[N_COMPONENTS] = max(n, z.max() + 1)
        state.components.centre[:] = 0.0
        for k in range(z.max() + 1):
            own = X[z == k]
            state.total.n[k] = len(own)
            state.total.block[k] = family.block_of(own)
            state.total.block[k, :D] = own.sum(0)
        state.alpha[0] = alpha
        now = gg.NormalInverseWishart(niw.mu_0, kappa, niw.nu_0, Psi_0)
        for array, value in zip(state.prior, now.as_kernel(np.zeros(D)), strict=True):
            array[...] = value
        here = data._replace(X=X)
        kernels.run_sweeps(rng, here, model, model, state, moves, tuning, scratch, calls, rows, SWEEPS, 0, 0, draws)
        assert state.report[FAILED] == 0
        size = int(state.size[N_COMPONENTS]) if n > 0 else 0
        labels = state.z.astype(np.int64)
        kappa, Psi_0 = float(state.prior.scalars[KAPPA]), state.prior.Psi_0.copy()
        after.append(statistics(float(state.alpha[0]), kappa, Psi_0, size, labels, X))
    p = {
        key: float(stats.ks_2samp([row[key] for row in after], [row[key] for row in before], method="asymp").pvalue)
        for key in before[0]
    }
    assert_p_values(p, RATE / (4 * len(LEARNED)))
