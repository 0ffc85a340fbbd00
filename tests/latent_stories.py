"""Exact invariance of sweeps over rows with gaps and measurement errors: stories, and a chain let loose on them.

A story draws everything: a partition, its components, the true values of the rows, and what was measured. Sweeps that
start from the true values, labels included, must leave the joint law of all of it as it is (:mod:`invariance`).
What is compared knows a component only by the rows that own it, so that one statistic serves every prior of weights.
"""

import dataclasses
import functools
from typing import Any

import numpy as np
from family_cases import Case
from harness import read_only
from oracle import Floats, Ints
from scipy import stats
from simulation import draw_n, draw_niw, draw_rows

import gibbs_gmm as gg
from gibbs_gmm import trace_arrays
from gibbs_gmm.kernels.sampler.state import Data
from gibbs_gmm.latent import filled_in, kinds_of_rows
from gibbs_gmm.sampler.assemble import as_model, initial_state
from gibbs_gmm.sampler.chain import Chain
from gibbs_gmm.sampler.recipe import Plan

SWEEPS = 3


def some_gaps(N: int, D: int, share: float = 0.4) -> Any:
    """Which values are missing (N, D), at random; a value is left in each row, and some rows are complete."""
    rng = np.random.default_rng([N, D])
    gaps = rng.random((N, D)) < share
    gaps[np.arange(N), rng.integers(D, size=N)] = False
    gaps[:2] = False
    return gaps


@dataclasses.dataclass(frozen=True, eq=False)
class LatentStory:
    """N rows in D columns of components of a family, under a prior of weights; which values are missing; variances (D,)
    or (N, D), or covariances (N, D, D), of errors. tags: of which kind rows are known to be, for none of length 0; of
    no more than two kinds."""

    name: str
    weights: Any
    gaps: Any
    errors: Floats | None = None
    tags: Ints = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def shape(self) -> tuple[int, int]:
        return self.gaps.shape

    @functools.cached_property
    def case(self) -> Case:
        return Case("full" if self.name == "tied" else self.name, self.shape[1], np.zeros(self.shape[1]))

    @functools.cached_property
    def prior(self) -> Any:
        """The package's."""
        package = self.case.package()
        return dataclasses.replace(package, covariance_type="tied") if self.name == "tied" else package

    def draw(self, rng: np.random.Generator) -> tuple[Ints, Floats, Floats, Floats, Floats]:
        """Labels (N,), mean and covariance of the component of each row, its true values V and what was measured X."""
        N, D = self.shape
        z = draw_partition(rng, self.weights, N) if len(self.tags) == 0 else draw_tagged(rng, self.weights, self.tags)
        count, niw = z.max() + 1, self.case.niw
        if self.name == "tied":
            covariances = np.tile(draw_niw(rng, niw)[1], (count, 1, 1))
            means = draw_rows(rng, np.arange(count), np.tile(niw.mu_0, (count, 1)), covariances / niw.kappa_0)
        else:
            means, own = self.case.draw(rng, count)
            covariances = np.array([self.case.Sigma(covariance) for covariance in own])
        mu, Sigma = means[z], covariances[z]
        V = mu + np.einsum("nij,nj->ni", np.linalg.cholesky(Sigma), rng.standard_normal((N, D)))
        return z, mu, Sigma, V, self.measure(rng, V)

    def measure(self, rng: np.random.Generator, V: Floats) -> Floats:
        """What is seen of true values: NaN where nothing is."""
        N, D = self.shape
        X = V.copy()
        if self.errors is not None:
            E = full_errors(self.errors, N, D)
            values, vectors = np.linalg.eigh(E)
            root = vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]
            X += np.einsum("nij,nj->ni", root, rng.standard_normal((N, D)))
        X[self.gaps] = np.nan
        return X


def full_errors(errors: Floats, N: int, D: int) -> Floats:
    """As covariance matrices (N, D, D)."""
    return errors if errors.ndim == 3 else np.broadcast_to(errors, (N, D))[:, :, None] * np.eye(D)


def draw_partition(rng: np.random.Generator, weights: Any, N: int) -> Ints:
    """Labels of clusters 0..t-1, in order of appearance."""
    if isinstance(weights, gg.DirichletProcess):
        z: list[int] = []
        for i in range(N):
            counts = np.bincount(z, minlength=0)
            p = np.append(counts, weights.concentration) / (i + weights.concentration)
            z.append(int(rng.choice(len(p), p=p)))
        return np.array(z)
    if isinstance(weights, gg.MixtureOfFiniteMixtures):
        K, alpha = int(draw_n(rng, weights.n_prior, 1)[0]), weights.concentration
    else:
        K, alpha = weights.n_components, weights.concentration
    labels = rng.choice(K, N, p=rng.dirichlet(np.full(K, alpha)))
    return np.unique(labels, return_inverse=True)[1]


def draw_tagged(rng: np.random.Generator, weights: Any, tags: Ints) -> Ints:
    """Labels given that rows of known kinds are of these, which are 0..G-1; others in order of appearance."""
    G, known = int(tags.max()) + 1, tags >= 0
    while isinstance(weights, gg.DirichletProcess):
        z = draw_partition(rng, weights, len(tags))
        first = [z[tags == k][0] for k in range(G)]
        if len(set(first)) == G and (z[known] == np.array(first)[tags[known]]).all():
            return _named(z, first)
    while True:
        finite = isinstance(weights, gg.FiniteMixture)
        n = np.full(50, weights.n_components) if finite else draw_n(rng, weights.n_prior, 50)
        w = rng.standard_gamma(weights.concentration, (50, max(G, n.max())))
        w[np.arange(w.shape[1]) >= n[:, None]] = 0.0
        w /= w.sum(1, keepdims=True)
        taken = np.flatnonzero(rng.random(50) < w[:, tags[known]].prod(1))  # the probability of what is known
        if len(taken) > 0:
            z = rng.choice(w.shape[1], len(tags), p=w[taken[0]])
            return _named(np.where(known, tags, z), list(range(G)))


def _named(z: Ints, first: list[int]) -> Ints:
    """Labels in order of appearance, but for these, which are the first."""
    names = {label: k for k, label in enumerate(first)}
    return np.array([names.setdefault(label, len(names)) for label in z.tolist()])


def statistics(story: LatentStory, z: Ints, mu: Floats, Sigma: Floats, V: Floats, X: Floats) -> dict[str, float]:
    """What is compared; mu (N, D) and Sigma (N, D, D) are of the component that owns each row."""
    N = len(z)
    W = np.linalg.inv(np.linalg.cholesky(Sigma))
    y = np.einsum("nij,nj->ni", W, V - mu)
    counts = np.bincount(z)
    result = {
        "clusters": float((counts > 0).sum()),
        "largest": float(counts.max()),
        "own distances": np.square(y).sum(),
        "distances of the first columns": np.square(y[:, 0]).sum(),
        "residuals": y.sum() / np.sqrt(N),
        "log det": np.log(np.linalg.det(Sigma[0])),
        "mean": mu[0, 0],
        "last mean": mu[-1, -1],
        "variance": Sigma[-1, -1, -1],
        "spread of true values": V.std(),
        "rows of one cluster": np.mean(z == z[-1]),
    }
    if y.shape[1] > 1:
        result["product"] = (y[:, 0] * y[:, -1]).sum()
        result["product of values"] = ((V[:, 0] - mu[:, 0]) * (V[:, -1] - mu[:, -1])).sum()
    known = story.tags >= 0
    if known.any():
        result["rows that are not of their known kind"] = float((z[: len(known)] != story.tags)[known].sum())
        result["rows of known kinds"] = float(np.isin(z, story.tags[known]).sum())
        result["mean of known kinds"] = mu[: len(known)][known].mean()
        result["true values of known kinds"] = V[: len(known)][known].mean()
        result["distances of known kinds"] = np.square(y[: len(known)][known]).sum()
    hidden = story.gaps
    if hidden.any():
        result["fills"] = np.where(hidden, V - mu, 0.0).sum()
        result["distances of rows with gaps"] = np.square(y[hidden.any(1)]).sum()
        result["distances of fills"] = np.square(((V - mu) / np.sqrt(np.einsum("ndd->nd", Sigma)))[hidden]).sum()
    if story.errors is not None:
        e = np.where(story.gaps, 0.0, X - V)
        result["errors"] = np.square(e).sum()
        result["errors and residuals"] = (e * (V - mu)).sum()
    return result


class Sampler:
    """One chain of a story, which makes moves of all kinds."""

    def __init__(self, story: LatentStory, moves: tuple[int, int, int] = (2, 1, 1)) -> None:
        self.story, (N, D) = story, story.shape
        rng = np.random.default_rng(6)
        *_, X = story.draw(rng)
        self.loc = np.linspace(0.4, -0.3, D)
        latent = kinds_of_rows(X, story.errors)
        data = Data(read_only(X), self.loc, np.ones(D), story.tags, latent)
        prior, weights = story.prior, story.weights
        model, alpha = as_model(prior, weights, self.loc)
        n_kinds = int(story.tags.max(initial=-1)) + 1
        model = model._replace(weights=model.weights._replace(tagged=n_kinds))
        capacity = weights.known_n or (N + 1 if weights.n_is_finite else 400)
        self.data, self.family = filled_in(rng, data, capacity), prior.family
        K = weights.known_n or 2  # as many as there are kinds, or more
        self.state = initial_state(rng, self.data, model, self.family, alpha, K, capacity)
        fields = trace_arrays.fields(prior, learns_concentration=False, save_assignments=True)
        plan = Plan(warmup=300, draws=SWEEPS, thin=1)
        self.chain = Chain(0, rng, self.data, model, self.family, self.state, plan, fields)
        while self.chain.sweeps_done < plan.warmup:
            self.chain.advance(None)
        tuner = self.chain.tuner
        tuner.launches, tuner.recalls, tuner.row_by_row = map(float, moves)

    def after(self, rng: np.random.Generator, drawn: tuple[Ints, Floats, Floats, Floats, Floats]) -> dict[str, float]:
        """The statistics after sweeps that start from what was drawn."""
        z, _, Sigma, V, X = drawn
        state, latent, D = self.state, self.data.latent, V.shape[1]
        latent.values[:] = V
        if len(latent.recorded) > 0:
            latent.recorded[:] = X
        state.z[:] = z
        state.size[:] = max(self.story.weights.known_n or 0, z.max() + 1), z.max() + 1
        for array in (state.total.n, state.total.block, state.components.centre):
            array[...] = 0.0
        for k in range(z.max() + 1):
            own = V[z == k] - self.loc
            state.components.centre[k, :D] = own.mean(0)
            state.total.n[k] = len(own)
            state.total.block[k] = self.family.block_of(own - own.mean(0))
        if self.story.name == "tied":
            state.prior.W[0] = np.tril(np.linalg.inv(np.linalg.cholesky(Sigma[0])))
        chain = self.chain
        chain.rng, chain.sweeps_done = rng, chain.plan.warmup
        while not chain.finished:
            chain.advance(None)
        z = chain.labels[-1].astype(np.int64)
        arrays = {name: array[-1] for name, array in chain.arrays.items()}
        return statistics(self.story, z, arrays["means"][z], self._covariances(arrays)[z], latent.values.copy(), X)

    def _covariances(self, arrays: dict[str, Any]) -> Floats:
        K, D = arrays["means"].shape
        if "covariances" in arrays:
            return arrays["covariances"]
        if "covariance" in arrays:
            return np.tile(arrays["covariance"], (K, 1, 1))
        return arrays["variances"].reshape(K, -1)[:, :, None] * np.eye(D)


def p_values(story: LatentStory, sampler: Any = None, replicates: int = 1200) -> dict[str, float]:
    """p-values, one per statistic, of the hypothesis that sweeps leave the story invariant."""
    rng = np.random.default_rng([20_270_301, *story.shape])
    sampler = Sampler(story) if sampler is None else sampler
    after = [sampler.after(rng, story.draw(rng)) for _ in range(replicates)]
    fresh = []
    for _ in range(3 * replicates):
        fresh.append(statistics(story, *story.draw(rng)))
    return {
        name: float(stats.ks_2samp([row[name] for row in after], [row[name] for row in fresh], method="asymp").pvalue)
        for name in after[0]
    }
