"""Log evidences log p(X | n) for a range of n, from one run that visits every n."""

from __future__ import annotations

import dataclasses
import math
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from arviz_stats.base import array_stats
from scipy.special import gammaln, logsumexp
from tqdm import tqdm

from gibbs_gmm import validate
from gibbs_gmm.chains import Chain, NumericalError, Plan, initial_state, seed_sequence
from gibbs_gmm.fitting import _cores, _plain
from gibbs_gmm.kernels.moves import Moves
from gibbs_gmm.kernels.niw import log_marginal
from gibbs_gmm.kernels.partition import STATIC, Weights
from gibbs_gmm.kernels.state import N_CLUSTERS, Data, Model, State
from gibbs_gmm.kernels.sweep import GREEDY, RECALLS
from gibbs_gmm.kernels.types import FloatArray, IntArray
from gibbs_gmm.priors import NormalInverseWishart
from gibbs_gmm.tuning import Tuner

_STARTS = (1, 20, 4, 10)  # clusters that chains start from
_ROUND = 25  # sweeps of each chain between two changes of the tilt
_BATCH = 500  # draws of each chain between two looks at the progress bar
_FLAT = 0.3  # visits of the rarest n, as a share of an equal one, at which the steps of the tilt are halved
_PATIENCE = 20  # rounds without that, at first, after which they are doubled
_LEAST_STEP = 0.02
_RECALLS = 4.0  # moves from the library for each that a fit would make: moves between n are what matters here
_FEW_TRIPS = 10
_MOST = (1 << 16) - 2  # labels are held as uint16
_ROWS = 1 << 16


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Evidence:
    """log p(X | n) with Monte-Carlo standard errors, as :func:`log_evidence` gives them.

    A difference of two is a log Bayes factor; its standard error is at most the sum of theirs.

    Attributes
    ----------
    n_components : (R,) int64
        The numbers of components n, in ascending order.
    log_evidence : (R,) float64
        log p(X | n): natural logarithm of a density in the units of X.
    standard_error : (R,) float64
        Its Monte-Carlo standard error; 0 for n = 1, which has a closed form.
    messages : tuple of str
        What a reader must know before using the numbers; empty when nothing is wrong.
    settings : dict
        n_observations, prior, concentration, draws, warmup, chains, seed (entropy of the SeedSequence), and
        round_trips: how often the chains went from one cluster to many and back.
    """

    n_components: IntArray
    log_evidence: FloatArray
    standard_error: FloatArray
    messages: tuple[str, ...]
    settings: dict[str, Any]

    def __len__(self) -> int:
        return len(self.n_components)

    def __repr__(self) -> str:
        finite = self.log_evidence[np.isfinite(self.log_evidence)]
        lines = [f"{'n':>6}  {'log p(X | n)':>14}  {'s.e.':>7}  {'- highest':>10}"]
        for n, value, error in zip(self.n_components, self.log_evidence, self.standard_error, strict=True):
            lines.append(f"{n:>6}  {value:>14.4f}  {error:>7.4f}  {value - finite.max(initial=-np.inf):>10.3f}")
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
    draws: int | None = None,
    warmup: int = 5_000,
    chains: int = 4,
    rng: Any = None,
    threads: int | None = None,
    progress: bool | None = None,
) -> Evidence:
    """The evidence (marginal likelihood) log p(X | n) of mixtures of n components, for each n, from one run.

    Weights given n are Dirichlet(concentration, ..., concentration). A mixture of finite mixtures is sampled whose
    prior p(n), n = 1, 2, ..., up to the largest asked for, is tilted during warm-up until every n is visited about
    equally (Wang & Landau 2001), and then frozen. Then

        log p(X | n) = log p(X | 1) + log [P(n) / P(1)] - log [p(n) / p(1)],

    with P(n) the mean over draws of p(n | partition), which depends on the number of clusters only, and log p(X | 1) in
    closed form.

    Parameters
    ----------
    X : array-like (N, D) or (N,)
        Observations, as for :func:`gibbs_gmm.fit`.
    n_components : int or iterable of int
        The numbers of components asked for, in any order, each at least 1. They may exceed N.
    prior : NormalInverseWishart, optional
        Prior of the component means and covariances, with fixed hyperparameters. Evidences depend on it far more than a
        posterior does: prefer your own to the default, ``NormalInverseWishart.from_data(X)`` without its hyperpriors.
    concentration : float > 0
        Dirichlet parameter of *each* component.
    draws : int, optional
        Sweeps of each chain to use; by default 10,000,000 / N, but between 5,000 and 100,000. Standard errors fall with
        the square root.
    warmup : int
        Sweeps of each chain before them, to adapt and discard.
    chains : int, at least 2
        Chains, independent once the tilt, which they adapt together, is frozen.
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
    A standard error is the larger of two: from the spread of the chains' own estimates, and from the effective sample
    size over all chains. The chains have to go back and forth between one cluster and many. How often they did is in
    ``settings["round_trips"]``; in many dimensions, or with many rows, it can be too seldom, and a message says so.

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
    N = len(array)
    wanted = _wanted(n_components)
    n_max = int(wanted[-1])
    gamma = validate.positive("concentration", concentration)
    draws = max(5_000, min(100_000, 10_000_000 // N)) if draws is None else validate.integer("draws", draws, 100)
    warmup = validate.integer("warmup", warmup, 100)
    n_chains = validate.integer("chains", chains, 2)
    n_threads = _cores() if threads is None else validate.integer("threads", threads, 1)
    if progress is not None and not isinstance(progress, (bool, np.bool_)):
        raise TypeError(f"progress must be True, False or None, got {progress!r}")
    root = seed_sequence(rng)
    loc, scale = validate.location_scale(array, columns)
    prior = _fixed_prior(prior, X, columns)

    data = Data(array, loc, np.where(scale > 0.0, scale, 1.0))
    tilt = _Tilt(N, n_max, gamma)
    model = Model(tilt.weights, prior.as_kernel(loc), prior.hyper_as_kernel())
    first = _log_one_cluster(data, model)
    if not math.isfinite(first):
        raise NumericalError("the posterior scale matrix of all data as one cluster is not positive definite")
    estimate, error, trips, messages = np.array([first]), np.zeros(1), 0, []
    if n_max > 1:
        runs = []
        for c, seed in enumerate(root.spawn(n_chains)):
            generator = np.random.Generator(np.random.PCG64(seed))
            start = min(_STARTS[c % len(_STARTS)], N, n_max)
            state = initial_state(generator, data, model, gamma, start, n_max + 1)
            runs.append(_Run(Chain(c, generator, data, model, state, Plan(0, _BATCH, 1), False), warmup))
        t = _sample(runs, tilt, first, warmup, draws, min(n_threads, n_chains), progress)
        estimate, error, trips = tilt.log_evidence(t, first)
        if not np.isfinite(estimate).all():
            messages.append(
                "Some n were never visited, so their evidences are not known (nan). Raise warmup; with many dimensions "
                "or rows the way from one cluster to many and back can be too hard."
            )
        elif trips < _FEW_TRIPS:
            messages.append(
                f"All chains together went from one cluster to many and back only {trips} times: the standard errors "
                "are themselves uncertain, and the estimates may be far off. Raise warmup and draws."
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
            "seed": _plain(root.entropy),
            "spawn_key": _plain(root.spawn_key),
            "round_trips": trips,
        },
    )


# --- The tilted prior ---


class _Tilt:
    """A prior p(n) of n = 1..n_max, and what follows from it and the number of clusters t alone.

    p(C, n) = p(n) v_n(t) prod_c Gamma(gamma + n_c)/Gamma(gamma), where v_n(t) = n!/(n - t)! Gamma(n gamma)/Gamma(n
    gamma + N). ``weights`` is this prior as the kernels take it; its tables change when p(n) does. ``log_p`` (n_max,)
    is log p(n), and ``given`` (n_max, n_max) is p(n | t), with a row for each t.
    """

    def __init__(self, N: int, n_max: int, gamma: float) -> None:
        self.N, self.gamma = N, gamma
        n, t = np.arange(1, n_max + 1)[:, None], np.arange(1, n_max + 1)
        log_v = gammaln(n + 1.0) - gammaln(np.maximum(n - t, 0) + 1.0) + gammaln(n * gamma) - gammaln(n * gamma + N)
        self.log_v = np.where(t <= n, log_v, -np.inf)
        none = np.zeros(0)
        self.weights = Weights(STATIC, False, 0.0, np.full(n_max + 1, -np.inf), np.zeros(n_max + 1), none, none)
        self.set(np.zeros(n_max))

    def set(self, log_p: FloatArray) -> None:
        """Replace log p(n), given up to a constant."""
        self.log_p = log_p - logsumexp(log_p)
        self.weights.log_p[1:] = self.log_p
        self.weights.log_tail[:-1] = np.logaddexp.accumulate(self.log_p[::-1])[::-1]
        self.weights.log_tail[-1] = -np.inf
        joint = self.log_p[:, None] + self.log_v
        self.given = np.exp(joint - logsumexp(joint, axis=0)).T

    def flatten(self, log_M: FloatArray) -> None:
        """Make every n equally likely, if summed over partitions into t clusters prod_c m(X_c) Gamma(gamma +
        n_c)/Gamma(gamma) is exp(log_M[t - 1]).
        """
        self.set(-logsumexp(self.log_v + log_M, axis=1))

    def log_product(self, sizes: FloatArray) -> float:
        """log prod_c Gamma(gamma + n_c)/Gamma(gamma)."""
        return float((gammaln(self.gamma + sizes) - gammaln(self.gamma)).sum())

    def log_evidence(self, t: IntArray, first: float) -> tuple[FloatArray, FloatArray, int]:
        """log p(X | n), n = 1..n_max, their standard errors, and the number of round trips, from t (chains, draws).

        ``first`` is log p(X | 1). NaN where n or n = 1 was never visited. Errors are infinite there, and without
        round trips.
        """
        C, T = t.shape
        visits = np.stack([np.bincount(row, minlength=len(self.log_p) + 1)[1:] for row in t]) / T
        P = visits.mean(0) @ self.given
        estimate, error = np.full(len(P), np.nan), np.full(len(P), np.inf)
        seen = (P > 0.0) & (P[0] > 0.0)
        estimate[seen] = first + np.log(P[seen] / P[0]) - self.log_p[seen] + self.log_p[0]
        # Its linear part is the mean over draws of y[t - 1, n - 1].
        y = self.given[:, seen] / P[seen] - self.given[:, :1] / P[0] if seen.any() else np.zeros((len(P), 0))
        spread = (visits @ y).std(0, ddof=1) / math.sqrt(C)
        error[seen] = np.maximum(spread, [_standard_error(column[t - 1]) for column in y.T])
        many = max(2, math.ceil(t.mean()))
        ends = [row[(row == 1) | (row >= many)] == 1 for row in t]
        trips = sum(int((end[1:] > end[:-1]).sum()) for end in ends)
        if trips == 0:
            error[:] = np.inf
        estimate[0], error[0] = first, 0.0
        return estimate, error, trips


def _standard_error(x: FloatArray) -> float:
    """Standard error of the mean of draws (chains, draws), by their effective sample size (Vehtari et al. 2021)."""
    if x.min() == x.max():
        return 0.0
    return float(x.std(ddof=1) / math.sqrt(float(array_stats.ess(x, method="mean"))))


# --- The run ---


class _RoundTuner(Tuner):
    """A tuner that is asked when a round of sweeps begins, and keeps to its answer until the next."""

    def __init__(self, warmup: int, model: Model) -> None:
        super().__init__(warmup, model)
        self._round: tuple[FloatArray, int] | None = None

    def begin(self, sweep: int, moves: Moves, state: State) -> tuple[FloatArray, int]:
        """The tuning of the round from this sweep on, and for how many sweeps it may last."""
        tuning, left = super().at(sweep, moves, state)
        if not tuning[GREEDY] > 0.0:
            tuning[RECALLS] *= _RECALLS
        self._round = tuning, left
        return self._round

    def at(self, sweep: int, moves: Moves, state: State) -> tuple[FloatArray, int]:
        """What the round began with."""
        return self._round or self.begin(sweep, moves, state)


class _Run:
    """A chain that is advanced by rounds of so many sweeps, of which the numbers of clusters are kept."""

    def __init__(self, chain: Chain, warmup: int) -> None:
        self._chain, self._done = chain, 0
        self._tuner = chain.tuner = _RoundTuner(warmup, chain.model)

    def begin(self) -> tuple[bool, int]:
        """Begin a round: whether its moves are greedy, and how many sweeps it may have."""
        tuning, left = self._tuner.begin(self._done, self._chain.moves, self._chain.state)
        return bool(tuning[GREEDY] > 0.0), left

    def sweeps(self, count: int, stop: threading.Event) -> IntArray:
        """Make the next sweeps, unless stopped: the number of clusters after each."""
        chain = self._chain
        chain.plan, chain.sweeps_done = Plan(0, count, 1), 0  # the rows of earlier ones are overwritten
        while not chain.finished and not stop.is_set():
            chain.advance(None)
        self._done += count
        return np.asarray(chain.arrays["n_clusters"][:count]).copy()

    def log_weight(self, tilt: _Tilt) -> tuple[int, float]:
        """t and log prod_c m(X_c) Gamma(gamma + n_c)/Gamma(gamma) of the partition as it stands."""
        state, prior = self._chain.state, self._chain.model.components
        total, t, D = state.total, int(state.size[N_CLUSTERS]), len(prior.mu_0)
        mu_n, Psi_n = np.empty(D), np.empty((D, D))
        result = tilt.log_product(total.n[:t])
        for k in range(t):
            result += log_marginal(prior, total.n[k], total.s[k], total.S[k], state.components.centre[k], mu_n, Psi_n)
        return t, result


def _sample(
    runs: list[_Run], tilt: _Tilt, first: float, warmup: int, draws: int, threads: int, progress: bool | None
) -> IntArray:
    """Adapt the tilt, then draw with it as it is: the numbers of clusters (chains, draws)."""
    bar = tqdm(
        total=len(runs) * (warmup + draws),
        desc="log evidence",
        unit=" sweeps",
        disable=None if progress is None else not progress,  # None: silent unless standard error is a terminal
        delay=0.5,
        leave=False,
    )
    stop = threading.Event()
    with bar, ThreadPoolExecutor(threads) as workers:

        def together(count: int) -> IntArray:
            """The numbers of clusters (chains, count) in the next sweeps of all chains."""
            t = np.stack(list(workers.map(lambda run: run.sweeps(count, stop), runs)))
            bar.update(t.size)
            return t

        try:
            _adapt(tilt, together, runs, warmup, first)
            for run in runs:
                run.begin()
            return np.concatenate([together(min(_BATCH, draws - done)) for done in range(0, draws, _BATCH)], axis=1)
        finally:
            stop.set()  # after an error or Ctrl-C, the chains end within a batch


def _adapt(tilt: _Tilt, together: Callable[[int], IntArray], runs: list[_Run], warmup: int, first: float) -> None:
    """Find the tilt, in rounds between which it changes and within which it does not.

    While moves are greedy, it is set from the best partitions seen, which is right but for their multitude. Then log
    p(n) falls with the share of n in each round, by steps that are halved whenever visits have become flat.
    """
    n_max = len(tilt.log_p)
    log_M = np.full(n_max, -np.inf)
    log_M[0] = first + tilt.log_product(np.array([float(tilt.N)]))
    step, rounds, visits, flat = 1.0, 0, np.zeros(n_max), False
    done = 0
    while done < warmup:
        greedy, left = min([run.begin() for run in runs])  # they all have the same schedule
        count = min(_ROUND, left, warmup - done)
        t = together(count)
        done += count
        if greedy:
            for now, weight in (run.log_weight(tilt) for run in runs):
                log_M[now - 1] = np.fmax(log_M[now - 1], weight)
            seen = np.flatnonzero(np.isfinite(log_M))
            tilt.flatten(np.interp(np.arange(n_max), seen, log_M[seen]))
            continue
        share = np.bincount(t.ravel(), minlength=n_max + 1)[1:] @ tilt.given / t.size
        tilt.set(tilt.log_p - step * (n_max * share - 1.0) * count / _ROUND)
        visits += share
        rounds += 1
        if rounds >= 5 and visits.min() * n_max > _FLAT * rounds:
            step, rounds, visits, flat = max(0.5 * step, _LEAST_STEP), 0, np.zeros(n_max), True
        elif rounds >= _PATIENCE and not flat:
            step, rounds, visits = 2.0 * step, 0, np.zeros(n_max)


# --- Arguments ---


def _wanted(n_components: Any) -> IntArray:
    """The distinct n asked for, in ascending order."""
    several = isinstance(n_components, Iterable) and not isinstance(n_components, str)
    wanted = sorted({validate.integer("n_components", n, 1) for n in (n_components if several else [n_components])})
    if not wanted:
        raise ValueError("n_components must hold at least one number, got none")
    if wanted[-1] > _MOST:
        raise ValueError(f"n_components must be at most {_MOST}, got {wanted[-1]}")
    return np.array(wanted, np.int64)


def _fixed_prior(prior: Any, X: Any, columns: tuple[str, ...]) -> NormalInverseWishart:
    """The prior of the components, which must have no hyperpriors; the default loses its own."""
    if prior is None:
        default = NormalInverseWishart.from_data(X)
        return NormalInverseWishart(
            default.mu_0, default.kappa_0, default.nu_0, default.Psi_0, resolution=default.resolution
        )
    if not isinstance(prior, NormalInverseWishart):
        raise TypeError(f"prior must be a NormalInverseWishart or None, got {prior!r}")
    if prior.n_features != len(columns):
        raise ValueError(f"prior must be for the {len(columns)} columns of X, got mu_0 with {prior.n_features} entries")
    if prior.Psi_0_df is not None or prior.kappa_0_shape is not None:
        raise ValueError(
            "prior must have fixed hyperparameters, got one with a hyperprior (Psi_0_df or kappa_0_shape), for which "
            "log p(X | 1) has no closed form; take NormalInverseWishart(p.mu_0, p.kappa_0, p.nu_0, p.Psi_0) of that p"
        )
    return prior


def _log_one_cluster(data: Data, model: Model) -> float:
    """log p(X | n = 1), in closed form; NaN where the posterior scale matrix is not positive definite."""
    N, D = data.X.shape
    s, S = np.zeros(D), np.zeros((D, D))
    for start in range(0, N, _ROWS):  # about data.loc, the mean of X
        rows = data.X[start : start + _ROWS] - data.loc
        s += rows.sum(0)
        S += rows.T @ rows
    return float(log_marginal(model.components, float(N), s, S, np.zeros(D), np.empty(D), np.empty((D, D))))
