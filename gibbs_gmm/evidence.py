"""Log evidences log p(X | n) for a range of n, from one run that visits every n."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from arviz_stats.base import array_stats
from scipy.special import gammaln, logsumexp
from tqdm import tqdm

from gibbs_gmm import validate
from gibbs_gmm.chains import Chain, NumericalError, Plan, initial_state, seed_sequence
from gibbs_gmm.kernels.moves import Moves
from gibbs_gmm.kernels.niw import log_marginal
from gibbs_gmm.kernels.partition import STATIC, Weights
from gibbs_gmm.kernels.state import N_CLUSTERS, Data, Model, State
from gibbs_gmm.kernels.sweep import GREEDY, RECALLS
from gibbs_gmm.kernels.types import FloatArray, IntArray
from gibbs_gmm.priors import NormalInverseWishart
from gibbs_gmm.tuning import Tuner

_STARTS = (1, 20, 4, 10)
_ROUND = 25  # sweeps of each chain between two changes of the tilt
_BATCH = 500  # draws of each chain between two looks at the progress bar
_FLAT = 0.3  # least visits of an n, of what is expected, at which the tilt's steps are halved
_PATIENCE = 20  # rounds without that after which they are doubled
_RECALLS = 4.0  # moves from the library for each that a fit would make: moves between n are what matters here
_FEW_TRIPS = 10
_MOST = (1 << 16) - 2  # labels are held as uint16
_CHUNK = 1 << 16


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Evidence:
    """log p(X | n) with Monte-Carlo standard errors, as :func:`log_evidence` gives them.

    Differences are log Bayes factors; their standard errors are at most the sum of the two.

    Attributes
    ----------
    n_components : (R,) int64
        The numbers of components n.
    log_evidence : (R,) float64
        log p(X | n) in natural logarithms, a density in the units of X.
    standard_error : (R,) float64
        Its Monte-Carlo standard error; 0 for n = 1, which has a closed form.
    messages : tuple of str
        What a reader must know before using the numbers; empty when nothing is wrong.
    settings : dict
        prior, concentration, draws, warmup, chains, seed, and round_trips: how often the chains went from one cluster to
        many and back.
    """

    n_components: IntArray
    log_evidence: FloatArray
    standard_error: FloatArray
    messages: tuple[str, ...]
    settings: dict[str, Any]

    def __len__(self) -> int:
        return len(self.n_components)

    def __repr__(self) -> str:
        best = self.log_evidence.max()
        lines = [f"{'n':>6}  {'log p(X | n)':>14}  {'s.e.':>7}  {'- best':>9}"]
        for n, value, error in zip(self.n_components, self.log_evidence, self.standard_error, strict=True):
            lines.append(f"{n:>6}  {value:>14.4f}  {error:>7.4f}  {value - best:>9.3f}")
        return "\n".join([*lines, *(f"\n{message}" for message in self.messages)])

    def to_dataframe(self) -> Any:
        """The table as a pandas DataFrame, indexed by n_components."""
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError("to_dataframe() needs pandas: pip install pandas") from error
        return pd.DataFrame(
            {"log_evidence": self.log_evidence, "standard_error": self.standard_error},
            index=pd.Index(self.n_components, name="n_components"),
        )


def log_evidence(
    X: Any,
    n_components: int | Iterable[int] = range(1, 11),
    *,
    prior: NormalInverseWishart | None = None,
    concentration: float = 1.0,
    draws: int = 20_000,
    warmup: int = 5_000,
    chains: int = 4,
    rng: Any = None,
    threads: int | None = None,
    progress: bool | None = None,
) -> Evidence:
    """The evidence (marginal likelihood) log p(X | n) of mixtures of n components, for each n, from one run.

    Weights given n are Dirichlet(concentration, ..., concentration). A static mixture of finite mixtures is sampled whose
    prior p(n) proportional to exp(l_n) is tilted, in warm-up, until every n from 1 to the largest is visited about equally
    (Wang & Landau 2001), and then frozen. With P(n) the share of n in the draws, in which n is averaged out given the
    partition (it depends on the number of clusters only),

        log p(X | n) = log p(X | 1) + log [P(n) / P(1)] - l_n + l_1,

    and log p(X | 1) has a closed form. So n = 1 is always visited, and each error is that of a ratio to it.

    Parameters
    ----------
    X : array-like (N, D) or (N,)
        Observations, as for :func:`gibbs_gmm.fit`.
    n_components : int or iterable of int
        The numbers of components asked for, in any order, each at least 1; they may exceed N.
    prior : NormalInverseWishart, optional
        Prior of the component means and covariances. By default ``NormalInverseWishart.from_data(X)`` with its
        hyperparameters fixed at their prior means: evidences depend on the prior, and this one on the data, so prefer your
        own. A prior with a hyperprior is refused.
    concentration : float > 0
        Dirichlet parameter of *each* component.
    draws, warmup : int
        Sweeps of each chain to use, and before them to adapt and discard. Errors fall with the square root of ``draws``.
    chains : int, at least 2
        Independent chains but for the tilt, which all of them adapt. Standard errors come from their spread.
    rng, threads : as for :func:`gibbs_gmm.fit`
        The same seed gives the same bytes whatever ``threads`` is.
    progress : bool, optional
        Show a progress bar when the run takes long; by default where standard error is a terminal.

    Returns
    -------
    Evidence

    Raises
    ------
    TypeError, ValueError
        Bad input; the message names the argument, what was seen and what is wanted. Nothing has been sampled.
    NumericalError
        A scale matrix was not positive definite.

    Notes
    -----
    The standard error is the larger of two: from the spread of the chains' own estimates, and from the effective sample
    size over all chains. The chains have to go back and forth between one cluster and many; how often they did is in
    ``settings["round_trips"]``, and few trips give a message.

    Examples
    --------
    >>> import gibbs_gmm as gg
    >>> import numpy as np
    >>> X = np.concatenate([np.random.default_rng(0).normal(m, 1.0, (50, 2)) for m in (-3.0, 3.0)])
    >>> evidence = gg.log_evidence(X, range(1, 4), draws=2000, warmup=1000, rng=1)
    >>> int(evidence.n_components[evidence.log_evidence.argmax()])
    2
    """
    array, columns = validate.data(X)
    wanted = _wanted(n_components)
    gamma = validate.positive("concentration", concentration)
    draws, warmup = validate.integer("draws", draws, 100), validate.integer("warmup", warmup, 100)
    n_chains = validate.integer("chains", chains, 2)
    n_threads = _cores() if threads is None else validate.integer("threads", threads, 1)
    if progress is not None and not isinstance(progress, (bool, np.bool_)):
        raise TypeError(f"progress must be True, False or None, got {progress!r}")
    root = seed_sequence(rng)
    loc, scale = validate.location_scale(array, columns)
    prior = _fixed_prior(prior, X, columns)

    N, D, n_max = *array.shape, max(2, *wanted)
    data = Data(array, loc, np.where(scale > 0.0, scale, 1.0))
    tilt = Tilt(N, n_max, gamma)
    model = Model(tilt.weights, prior.as_kernel(loc), 0.0, np.zeros((D, D)), 0.0, 0.0)
    first = _log_one_cluster(data, model)
    if not math.isfinite(first):
        raise NumericalError("the scale matrix of all data as one cluster is not positive definite")
    runs = []
    for c, seed in enumerate(root.spawn(n_chains)):
        generator = np.random.Generator(np.random.PCG64(seed))
        state = initial_state(generator, data, model, gamma, min(_STARTS[c % 4], N, n_max), n_max + 1)
        runs.append(_Run(Chain(c, generator, data, model, state, Plan(0, _BATCH, 1), False), warmup))
    bar = tqdm(
        total=n_chains * (warmup + draws),
        desc="log evidence",
        unit=" sweeps",
        disable=None if progress is None else not progress,
        delay=0.5,
        leave=False,
    )
    with bar, ThreadPoolExecutor(min(n_threads, n_chains)) as workers:

        def together(sweeps: int) -> IntArray:
            """The numbers of clusters (chains, sweeps) of the next sweeps of all chains."""
            t = np.stack(list(workers.map(lambda run: run.sweeps(sweeps), runs)))
            bar.update(t.size)
            return t

        adapted = _adapt(tilt, together, runs, warmup, first, gamma)
        t = np.concatenate([together(min(_BATCH, draws - done)) for done in range(0, draws, _BATCH)], axis=1)
    estimate, error, trips = tilt.log_evidence(t, first)
    messages = []
    if not adapted:
        messages.append("Not every n was visited in warm-up: the estimates may be far off. Raise warmup.")
    elif trips < _FEW_TRIPS:
        messages.append(
            f"All chains together went from one cluster to many and back {trips} times only: the standard errors "
            "themselves are uncertain. Raise draws."
        )
    return Evidence(
        n_components=wanted,
        log_evidence=estimate[wanted - 1],
        standard_error=error[wanted - 1],
        messages=tuple(messages),
        settings={
            "n_observations": N,
            "prior": prior.to_dict(),
            "concentration": gamma,
            "draws": draws,
            "warmup": warmup,
            "chains": n_chains,
            "seed": root.entropy,
            "round_trips": trips,
        },
    )


class Tilt:
    """The prior exp(l_n) of n = 1..n_max, and what follows from it and the number of clusters t alone.

    p(C, n) = exp(l_n) v_n(t) prod_c Gamma(gamma + n_c)/Gamma(gamma), v_n(t) = n!/(n - t)! Gamma(n gamma)/Gamma(n gamma + N).
    ``weights`` is the prior as the kernels take it; its tables change with l.
    """

    def __init__(self, N: int, n_max: int, gamma: float) -> None:
        n, t = np.arange(1, n_max + 1)[:, None], np.arange(1, n_max + 1)
        log_v = gammaln(n + 1.0) - gammaln(np.maximum(n - t, 0) + 1.0) + gammaln(n * gamma) - gammaln(n * gamma + N)
        self.log_v = np.where(t <= n, log_v, -np.inf)
        self.log_one = float(gammaln(gamma + N) - gammaln(gamma))  # of the product, for t = 1
        none = np.zeros(0)
        self.weights = Weights(STATIC, False, 0.0, np.full(n_max + 1, -np.inf), np.zeros(n_max + 1), none, none)
        self.set(np.zeros(n_max))

    def set(self, l: FloatArray) -> None:
        """Replace l, up to a constant."""
        log_p, log_tail = self.weights.log_p, self.weights.log_tail
        log_p[1:] = l - logsumexp(l)
        log_tail[:-1] = np.logaddexp.accumulate(log_p[:0:-1])[::-1]
        log_tail[-1] = -np.inf
        joint = log_p[1:, None] + self.log_v
        self.l = log_p[1:].copy()
        self.given = np.exp(joint - logsumexp(joint, axis=0)).T  # p(n | t), a row for each t

    def flatten(self, log_M: FloatArray) -> None:
        """Set l so that every n is equally likely where sum over C with t clusters of p(X, C)/V(t) is exp(log_M)[t - 1]."""
        self.set(-logsumexp(self.log_v + log_M, axis=1))

    def log_evidence(self, t: IntArray, first: float) -> tuple[FloatArray, FloatArray, int]:
        """log p(X | n = 1..n_max), its standard errors and the number of round trips, from t (chains, draws)."""
        C, T = t.shape
        visits = np.stack([np.bincount(row, minlength=len(self.l) + 1)[1:] for row in t]) / T
        P = visits.mean(0) @ self.given
        if not P[0] > 0.0:
            nothing = np.full(len(self.l), np.nan)
            nothing[0] = first
            return nothing, np.where(np.isnan(nothing), np.inf, 0.0), 0
        with np.errstate(divide="ignore"):
            estimate = first + np.log(P / P[0]) - self.l + self.l[0]
        error = np.full(len(P), np.inf)
        # The estimate's linear part: the mean over draws of y[t - 1, n - 1].
        y = self.given[:, P > 0.0] / P[P > 0.0] - self.given[:, :1] / P[0]
        spread = (visits @ y).std(0, ddof=1)
        within = [_standard_error(column[t - 1]) for column in y.T]
        error[P > 0.0] = np.maximum(spread / math.sqrt(C), within)
        many = max(2, math.ceil(t.mean()))
        trips = 0
        for row in t:
            ends = row[(row == 1) | (row >= many)] == 1
            trips += int(np.count_nonzero(np.diff(ends.astype(np.int8)) == 1))
        return estimate, error, trips


def _standard_error(x: FloatArray) -> float:
    """Standard error of the mean of draws (chains, draws), by their effective sample size (Vehtari et al. 2021)."""
    if x.min() == x.max():
        return 0.0
    return float(x.std(ddof=1) / math.sqrt(float(array_stats.ess(x, method="mean"))))


class _Held(Tuner):
    """A tuner that is asked at the beginning of a round of sweeps, and keeps to that until the next."""

    def __init__(self, warmup: int, model: Model) -> None:
        super().__init__(warmup, model)
        self._held: tuple[FloatArray, int] | None = None

    def begin(self, sweep: int, moves: Moves, state: State) -> tuple[FloatArray, int]:
        """The tuning of the round from this sweep on, and for how many sweeps it may last."""
        tuning, left = super().at(sweep, moves, state)
        if not tuning[GREEDY] > 0.0:
            tuning[RECALLS] *= _RECALLS
        self._held = tuning, left
        return self._held

    def at(self, sweep: int, moves: Moves, state: State) -> tuple[FloatArray, int]:
        """What the round began with."""
        return self._held or super().at(sweep, moves, state)


class _Run:
    """A chain that is advanced by rounds of so many sweeps, of which only the numbers of clusters are kept."""

    def __init__(self, chain: Chain, warmup: int) -> None:
        self.chain, self._done = chain, 0
        self._tuner = chain.tuner = _Held(warmup, chain.model)

    def begin(self) -> tuple[bool, int]:
        """Begin a round: whether its moves are greedy, and how many sweeps it may have."""
        tuning, left = self._tuner.begin(self._done, self.chain.moves, self.chain.state)
        return bool(tuning[GREEDY] > 0.0), left

    def sweeps(self, count: int) -> IntArray:
        """Make a round of sweeps: the number of clusters after each."""
        chain = self.chain
        chain.plan, chain.sweeps_done = Plan(0, count, 1), 0  # rows of earlier rounds are overwritten
        while not chain.finished:
            chain.advance(None)
        self._done += count
        return np.asarray(chain.arrays["n_clusters"][:count]).copy()

    def log_weight(self, gamma: float) -> tuple[int, float]:
        """t and log [p(X, C) / V(t)] of the partition as it stands."""
        state, prior = self.chain.state, self.chain.model.components
        total, t, D = state.total, int(state.size[N_CLUSTERS]), len(prior.mu_0)
        scratch = np.empty(D), np.empty((D, D))
        result = float((gammaln(gamma + total.n[:t]) - gammaln(gamma)).sum())
        for k in range(t):
            result += log_marginal(prior, total.n[k], total.s[k], total.S[k], state.components.centre[k], *scratch)
        return t, result


def _adapt(tilt: Tilt, together: Any, runs: list[_Run], warmup: int, first: float, gamma: float) -> bool:
    """Warm-up: find the tilt. Returns whether every n has been visited.

    While moves are greedy, l is set from the best partitions of t clusters seen. Then, after each round, l_n falls with
    the share of n in the round, by steps that are halved whenever visits are flat (Wang & Landau 2001).
    """
    n_max = len(tilt.l)
    log_M = np.full(n_max, -np.inf)
    log_M[0] = first + tilt.log_one
    step, rounds, visits, flat = 1.0, 0, np.zeros(n_max), False
    done = 0
    while done < warmup:
        greedy, left = [run.begin() for run in runs][0]
        count = min(_ROUND, left, warmup - done)
        t = together(count)
        done += count
        if greedy:
            for run in runs:
                now, weight = run.log_weight(gamma)
                log_M[now - 1] = max(log_M[now - 1], weight)
            seen = np.flatnonzero(np.isfinite(log_M))
            tilt.flatten(np.interp(np.arange(n_max), seen, log_M[seen]))
            continue
        share = np.bincount(t.ravel(), minlength=n_max + 1)[1:] @ tilt.given / t.size
        tilt.set(tilt.l - step * (n_max * share - 1.0) * count / _ROUND)
        visits += share
        rounds += 1
        if rounds >= 5 and visits.min() * n_max > _FLAT * rounds:
            step, rounds, visits, flat = max(0.5 * step, 0.02), 0, np.zeros(n_max), True
        elif rounds >= _PATIENCE and not flat:
            step, rounds, visits = 2.0 * step, 0, np.zeros(n_max)
    for run in runs:
        run.begin()
    return flat


def _wanted(n_components: Any) -> IntArray:
    """The distinct n asked for, sorted."""
    values = [n_components] if not isinstance(n_components, Iterable) or isinstance(n_components, str) else n_components
    wanted = sorted({validate.integer("n_components", n, 1) for n in values})
    if not wanted:
        raise ValueError("n_components must hold at least one number, got none")
    if wanted[-1] > _MOST:
        raise ValueError(f"n_components must be at most {_MOST}, got {wanted[-1]}")
    return np.array(wanted, np.int64)


def _fixed_prior(prior: Any, X: Any, columns: tuple[str, ...]) -> NormalInverseWishart:
    """The prior of the components, without hyperpriors."""
    if prior is None:
        default = NormalInverseWishart.from_data(X)
        return NormalInverseWishart(default.mu_0, default.kappa_0, default.nu_0, default.Psi_0)
    if not isinstance(prior, NormalInverseWishart):
        raise TypeError(f"prior must be a NormalInverseWishart or None, got {prior!r}")
    if prior.n_features != len(columns):
        raise ValueError(f"prior must be for the {len(columns)} columns of X, got mu_0 with {prior.n_features} entries")
    if prior.Psi_0_df is not None or prior.kappa_0_shape is not None:
        raise ValueError(
            "prior must have fixed hyperparameters, got a hyperprior (Psi_0_df or kappa_0_shape): with one, log p(X | 1) has "
            "no closed form. Use NormalInverseWishart(prior.mu_0, prior.kappa_0, prior.nu_0, prior.Psi_0)"
        )
    return prior


def _log_one_cluster(data: Data, model: Model) -> float:
    """log p(X | n = 1); NaN where the posterior scale matrix is not positive definite."""
    N, D = data.X.shape
    s, S = np.zeros(D), np.zeros((D, D))
    for start in range(0, N, _CHUNK):  # data.loc is the mean of X
        rows = data.X[start : start + _CHUNK] - data.loc
        s += rows.sum(0)
        S += rows.T @ rows
    return float(log_marginal(model.components, float(N), s, S, np.zeros(D), np.empty(D), np.empty((D, D))))


def _cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
