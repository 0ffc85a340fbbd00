"""The one place of the tests that knows how the kernels' tuples are put together, and their statistical assertions."""

import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from arviz_stats.base import array_stats
from numpy.typing import ArrayLike, NDArray
from oracle import NIW, Floats, Ints
from scipy import stats

from gibbs_gmm import FiniteMixture, NormalInverseWishart, Trace, trace_arrays
from gibbs_gmm.kernels._jit import JIT as JIT
from gibbs_gmm.kernels.families import full as niw_kernels
from gibbs_gmm.kernels.families.generic import padded
from gibbs_gmm.kernels.sampler import sweep as kernels
from gibbs_gmm.kernels.sampler.state import Data
from gibbs_gmm.kernels.sampler.weights import draw_log_weights
from gibbs_gmm.kernels.tile import LOG2_E as LOG2_E
from gibbs_gmm.sampler.assemble import as_model, initial_state
from gibbs_gmm.sampler.chain import Chain
from gibbs_gmm.sampler.recipe import Plan

EPS = float(np.finfo(float).eps)


# --- Priors ---


def some_niw(D: int, nu_0: float | None = None) -> NIW:
    """A prior with nothing symmetric about it; nu_0 = D + 1.5 unless given."""
    A = np.eye(D) + np.tri(D, k=-1) / 2
    return NIW(np.linspace(-0.5, 0.7, D), 0.3, D + 1.5 if nu_0 is None else nu_0, 1.2 * A @ A.T)


def package_prior(niw: NIW) -> NormalInverseWishart:
    """The package's prior with the oracle's parameters."""
    resolution = 0.0 if niw.noise is None else np.sqrt(12.0 * niw.noise)
    return NormalInverseWishart(niw.mu_0, niw.kappa_0, niw.nu_0, niw.Psi_0, resolution=resolution)


def scale_prior(law: str, Psi_0: Floats) -> dict[str, Any]:
    """Keywords of a learned scale matrix about as large as Psi_0 (D, D), "turned" being "shrunk" in other axes."""
    D = len(Psi_0)
    if law == "wishart":
        return {"Psi_0": Psi_0, "Psi_0_df": D + 2.5}
    axes, mean = None, np.diag(np.diagonal(Psi_0))
    if law == "turned":
        axes = np.eye(D)
        axes[-1, :-1] = -0.8
        back = np.linalg.inv(axes)
        mean = back @ mean @ back.T
    return {"Psi_0": mean, "Psi_0_df": 5.0, "Psi_0_shrinkage": 0.4, "axes": axes}


def draw_scales(
    rng: np.random.Generator,
    count: int,
    Psi_0: Floats,
    Psi_0_df: float,
    Psi_0_shrinkage: float | None = None,
    axes: Floats | None = None,
) -> Floats:
    """Scale matrices (count, D, D) from their prior. Correlations of Wishart(D + 1, I) matrices are uniform."""
    D = len(Psi_0)
    if Psi_0_shrinkage is None:
        return np.asarray(stats.wishart(Psi_0_df, Psi_0 / Psi_0_df).rvs(count, random_state=rng)).reshape(count, D, D)
    A = np.eye(D) if axes is None else axes
    mean = np.diagonal(A @ Psi_0 @ A.T)
    root = np.sqrt(mean * rng.chisquare(Psi_0_df, (count, D)) / Psi_0_df)
    C = np.asarray(stats.wishart(D + 1, np.eye(D)).rvs(count, random_state=rng)).reshape(count, D, D)
    size = np.sqrt(np.diagonal(C, axis1=1, axis2=2))
    C = C / (size[:, :, None] * size[:, None, :])
    C = (1.0 - Psi_0_shrinkage) * C + Psi_0_shrinkage * np.eye(D)
    back = np.linalg.inv(A)
    return back @ (root[:, :, None] * C * root[:, None, :]) @ back.T


def kernel_prior(niw: NIW) -> niw_kernels.Prior:
    """The kernels' prior, in coordinates that are not shifted."""
    return package_prior(niw).as_kernel(np.zeros(len(niw.mu_0)))


def read_only(X: ArrayLike) -> NDArray[np.floating]:
    """X as ``fit`` hands it to the kernels: C-ordered and not writable, so that no test compiles them a second time."""
    array = np.ascontiguousarray(X).view()
    array.flags.writeable = False
    return array


# --- One chain, kernel by kernel ---


class Gibbs:
    """Data, model and state of one chain with K components, with a method for each conditional that is drawn from.

    Everything that goes in or comes out is in the units of X: labels (N,), w (K,), mu (K, D), Sigma (K, D, D).
    ``loc`` is the point that the kernels take coordinates about (0 unless given).
    """

    def __init__(self, X: ArrayLike, K: int, alpha: float, niw: NIW, loc: Floats | None = None) -> None:
        X = read_only(X)
        self.K, self.D, self.alpha, self.niw = K, X.shape[1], alpha, niw
        self.loc = np.zeros(self.D) if loc is None else loc
        self.data = Data(X, self.loc, np.ones(self.D))
        self.model, _ = as_model(package_prior(niw), FiniteMixture(K, alpha), self.loc)
        self.family = package_prior(niw).family
        self.state = initial_state(np.random.default_rng(0), self.data, self.model, self.family, alpha, K, K)
        self.shards = len(self.state.shard_log_likelihood)
        self._chain: Chain | None = None
        self._fields = trace_arrays.fields(package_prior(niw), learns_concentration=False, save_assignments=True)

    def set_data(self, X: Floats) -> None:
        """Replace the data by others of the same shape; labels and parameters then have to be set again."""
        assert X.shape == self.data.X.shape
        self.data = self.data._replace(X=read_only(X))

    def set_labels(self, z: Ints, centre: Floats | None = None, *, occupied_first: bool = False) -> None:
        """Set z and its sufficient statistics, about ``centre`` (K, D) or else about each cluster's mean.

        A sweep wants the occupied components first: it finds the components renamed so.
        """
        z, name = np.asarray(z), np.arange(self.K)
        if occupied_first:
            name = np.argsort(np.bincount(z, minlength=self.K) == 0, kind="stable")
            z = np.argsort(name)[z]
        state, D = self.state, self.D
        state.z[:] = z
        state.size[:] = self.K, len(np.unique(z))
        for array in (state.total.n, state.total.block, state.components.centre):
            array[...] = 0.0
        for k in range(self.K):
            own = self.data.X[z == k].astype(float) - self.loc
            if centre is not None:
                state.components.centre[k, :D] = centre[name[k]] - self.loc
            elif len(own) > 0:
                state.components.centre[k, :D] = own.mean(0)
            d = own - state.components.centre[k, :D]
            state.total.n[k] = len(own)
            state.total.block[k] = self.family.block_of(d)
            state.total.block[k, :D] = d.sum(0)

    def set_parameters(
        self, w: Floats, mu: Floats, Sigma: Floats, *, weighted: bool = True, with_log_det: bool = True
    ) -> None:
        """Set the weights and components that the next label pass uses. Either switch, off, is a planted bug."""
        state, D = self.state, self.D
        state.size[0] = self.K
        state.log_w[:] = np.log(w)
        W = state.parameters.W
        W[...] = np.tril(np.linalg.inv(np.linalg.cholesky(Sigma)))
        state.components.W[...] = np.sqrt(LOG2_E) * W
        state.components.centre[...] = 0.0
        state.components.centre[:, :D] = mu - self.loc
        state.components.c[...] = -np.einsum("kij,kj->ki", state.components.W, mu - self.loc)
        log_det = np.log(np.diagonal(W, axis1=1, axis2=2)).sum(1)
        log_c = weighted * state.log_w + with_log_det * log_det - 0.5 * D * np.log(2.0 * np.pi)
        state.components.log_c[:] = LOG2_E * log_c

    def parameters(self) -> tuple[Floats, Floats, Floats]:
        """w, mu and Sigma as they stand."""
        V = np.linalg.inv(self.state.parameters.W)
        mu = self.state.components.centre[:, : self.D] + self.loc
        return np.exp(self.state.log_w), mu, V @ V.swapaxes(1, 2)

    def labels(self) -> Ints:
        """The labels as they stand."""
        return self.state.z.astype(np.int64)

    def statistics(self) -> tuple[Floats, Floats, Floats]:
        """n (K,), s (K, D) and S (K, D, D, the lower triangle) as they stand, about the centres."""
        total, D, P = self.state.total, self.D, padded(self.D)
        S = total.block[:, P:].reshape(-1, P, P)
        return total.n.copy(), total.block[:, :D].copy(), np.tril(S[:, :D, :D])

    def draw_weights(self, rng: np.random.Generator, counted: bool = True) -> Floats:
        """w | z. ``counted=False`` is a planted bug: the counts are left out."""
        log_w = np.empty(self.K)
        n = self.state.total.n
        draw_log_weights(rng, self.alpha, n if counted else np.zeros_like(n), log_w)
        return np.exp(log_w)

    def draw_components(self, rng: np.random.Generator, extra_nu: float = 0.0) -> tuple[Floats, Floats]:
        """(mu, Sigma) | z. ``extra_nu=1`` is a planted bug: the degrees of freedom are off by one."""
        D, total, prior = self.D, self.state.total, self.model.prior
        mu, Sigma = np.empty((self.K, D)), np.empty((self.K, D, D))
        scratch, W = self.family.scratch(D), np.zeros((D, D))
        for k in range(self.K):
            n, centre = total.n[k], self.state.components.centre[k]
            niw_kernels.update_posterior(prior, prior.noise, n, total, k, centre, scratch)
            kappa_n, nu_n = prior.scalars[niw_kernels.KAPPA] + n, prior.scalars[niw_kernels.NU] + n + extra_nu
            assert niw_kernels.draw_component(rng, scratch.mu_n, kappa_n, nu_n, scratch.Psi_n, mu[k], W) == 0
            V = np.linalg.inv(W)
            Sigma[k] = V @ V.T
        return mu + self.loc, Sigma

    def draw_parameters(self, rng: np.random.Generator) -> None:
        """(w, mu, Sigma) | z, and keys for the labels that follow. Wants the occupied components first."""
        cumulated = np.zeros(len(self.model.weights.log_p))
        kernels.draw_weights(rng, self.model, self.state, cumulated, kernels.kernel_rows())
        assert kernels.draw_parameters(rng, self.model, self.state, self.family.scratch(self.D)) == 0

    def label_pass(self, key: int | None = None) -> float:
        """Z | w, mu, Sigma with the uniforms of ``key`` (else of the key as it stands); returns the log likelihood."""
        if key is not None:
            self.state.key[0] = key
        self.label_shards(0, self.shards)
        return self.reduce()

    def label_shards(self, first: int, last: int) -> None:
        """The part of a label pass that one thread does."""
        kernels.label_task(self.data, self.state, False, first, last)

    def reduce(self) -> float:
        """The end of a label pass: the shards' statistics summed; returns the log likelihood."""
        return float(kernels.reduce_shards(self.state))

    def warm_up(self, rng: np.random.Generator, count: int, moves: list[int] | None = None) -> None:
        """Let a chain learn its moves on the data as they are; later calls of ``sweeps`` with this count make them.

        ``moves`` is how many a sweep then makes with new launches, with learned ones, row by row, from seeds and by
        searches; by default as the chain chooses.
        """
        plan = Plan(warmup=500, draws=count, thin=1)
        chain = Chain(0, rng, self.data, self.model, self.family, self.state, plan, self._fields)
        while chain.sweeps_done < plan.warmup:
            chain.advance(None)
        assert chain.moves.library.collected[0] > 0, "no launch was learned"
        if moves is not None:
            tuner, rates = chain.tuner, map(float, moves)
            tuner.at(plan.warmup, chain.moves, chain.state)  # sets rates of its own
            tuner.launches, tuner.recalls, tuner.row_by_row, tuner.seeded, tuner.searched = rates
        self._chain = chain

    def sweeps(self, rng: np.random.Generator, count: int) -> dict[str, NDArray[np.generic]]:
        """Whole sweeps as ``fit`` makes them after warm-up; returns each as a row of its arrays, z included.

        Wants the occupied components first, and leaves them so.
        """
        chain = self._chain
        if chain is None or chain.plan.draws != count:
            chain = Chain(0, rng, self.data, self.model, self.family, self.state, Plan(0, count, 1), self._fields)
        chain.rng, chain.data, chain.sweeps_done, self._chain = rng, self.data, chain.plan.warmup, chain
        while not chain.finished:
            chain.advance(None)
        assert chain.labels is not None
        return {**chain.arrays, "z": chain.labels}


def threads_left(before: set[threading.Thread]) -> list[str]:
    """Names of threads of the package that were not there before and do not end; other libraries keep some."""
    new = [thread for thread in threading.enumerate() if thread not in before and not thread.daemon]
    for thread in new:
        thread.join(5.0)
    return [thread.name for thread in new if thread.is_alive()]


# --- Traces ---


def assert_same_draws(a: Trace, b: Trace, *, of_b: tuple[slice, slice] = (slice(None), slice(None))) -> None:
    """Every array of ``a`` equals that of ``b``, or of these chains and draws of it, bit for bit."""
    arrays, others = a.arrays(), b.arrays()
    assert arrays.keys() == others.keys()
    for name, array in arrays.items():
        other = others[name][of_b]
        assert array.dtype == other.dtype
        np.testing.assert_array_equal(array, other, err_msg=name)


# --- Statistical assertions ---


class Estimate(NamedTuple):
    """Mean of a correlated sample, its Monte-Carlo standard error, and the effective sample size behind it."""

    mean: float
    se: float
    ess: float


def estimate(draws: ArrayLike) -> Estimate:
    """Mean, standard error and effective sample size (at most the number of draws) of draws (C, T)."""
    x = np.asarray(draws, dtype=float)
    assert x.ndim == 2, f"draws must be (chain, draw), got shape {x.shape}"
    ess = min(float(array_stats.ess(x, method="mean")), x.size) if x.min() < x.max() else np.nan
    return Estimate(float(x.mean()), float(x.std(ddof=1) / np.sqrt(ess)), ess)


def assert_within_mcse(
    draws: ArrayLike, truth: float, *, n_se: float = 4.0, min_ess: float = 1000.0, name: str = "quantity"
) -> None:
    """The mean of draws (C, T) lies within ``n_se`` Monte-Carlo standard errors of ``truth``.

    Fails too when the effective sample size is below ``min_ess``: such a chain shows nothing. By the central limit
    theorem a right sampler fails with probability 2 Phi(-n_se) for each quantity, 6e-5 at 4. A quantity that never
    changes has to be the truth.
    """
    mean, se, ess = estimate(draws)
    if np.isnan(ess):
        assert mean == truth, f"{name} is {mean} in every draw, and should be {truth} on average"
        return
    assert ess >= min_ess, f"{name} has an effective sample size of {ess:.0f}, below {min_ess:.0f}"
    assert abs(mean - truth) <= n_se * se, (
        f"{name}: {mean:.6g} +- {se:.2g} is {abs(mean - truth) / se:.1f} standard errors from {truth:.6g}"
    )


def mcse_p_value(draws: ArrayLike, truth: float, *, min_ess: float = 1000.0) -> float:
    """Two-sided p-value of the mean of draws (C, T) by its Monte-Carlo standard error, for a family of many."""
    mean, se, ess = estimate(draws)
    assert ess >= min_ess, f"the effective sample size is {ess:.0f}, below {min_ess:.0f}"
    return float(2.0 * stats.norm.sf(abs(mean - truth) / se))


def assert_p_values(p_values: Mapping[str, float], rate: float) -> None:
    """No p-value lies below ``rate`` divided by their number: if all is well this fails with probability ``rate``."""
    assert p_values
    limit = rate / len(p_values)
    low = {name: p for name, p in p_values.items() if not p >= limit}
    assert not low, f"p-values below {limit:.1e} (of {len(p_values)}): {low}"


def standard_error_p_value(draws: Floats, truth: float) -> float:
    """Two-sided p-value of the mean of independent draws (n,), by the central limit theorem."""
    z = (draws.mean() - truth) / (draws.std(ddof=1) / np.sqrt(len(draws)))
    return float(2.0 * stats.norm.sf(abs(z)))


def repeat(count: int, draw: Callable[[], ArrayLike]) -> Floats:
    """Independent draws, stacked."""
    return np.array([draw() for _ in range(count)])
