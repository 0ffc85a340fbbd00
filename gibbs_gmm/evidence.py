"""Log evidences log p(X | n) for a range of n, from one run that visits every n."""

from __future__ import annotations

import dataclasses
import textwrap
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from scipy.special import logsumexp

from gibbs_gmm import checks, seeds, trace_arrays
from gibbs_gmm.data import Observations
from gibbs_gmm.kernels.families.generic import log_marginal
from gibbs_gmm.kernels.sampler.moves import Moves
from gibbs_gmm.kernels.sampler.state import N_CLUSTERS, Data, Model, State
from gibbs_gmm.kernels.sampler.sweep import GREEDY, RECALLS
from gibbs_gmm.kernels.types import FloatArray, IntArray
from gibbs_gmm.model.families import ComponentPrior, component_prior, prior_from_dict
from gibbs_gmm.model.normal_inverse_gamma import NormalInverseGamma
from gibbs_gmm.model.weight_priors import MixtureOfFiniteMixtures
from gibbs_gmm.optional import needs
from gibbs_gmm.sampler.assemble import initial_state
from gibbs_gmm.sampler.chain import Chain
from gibbs_gmm.sampler.one_cluster import REPLICATES, log_one_cluster
from gibbs_gmm.sampler.one_cluster_gamma import log_one_cluster_gamma
from gibbs_gmm.sampler.places import placed
from gibbs_gmm.sampler.progress import Compiling, Steps
from gibbs_gmm.sampler.recipe import Plan
from gibbs_gmm.sampler.tilt import Tilt
from gibbs_gmm.sampler.tuning import Tuner
from gibbs_gmm.threads import thread_count

_STARTS = (1, 20, 4, 10)  # clusters that chains start from
_ROUND = 25  # sweeps of each chain between two changes of the tilt
_BATCH = 500  # draws of each chain between two looks at the progress bar
_FLAT = 0.3  # visits of the rarest n, as a share of an equal one, at which the steps of the tilt are halved
_PATIENCE = 20  # rounds without that, at first, after which they are doubled
_LEAST_STEP = 0.02
_RECALLS = 4.0  # moves from the library for each that a fit would make: moves between n are what matters here
_FEW_TRIPS = 10
_WIDTH = 80  # of the printed table's notes
_MOST = (1 << 16) - 2  # labels are held as uint16


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Evidence:
    """log p(X | n) with Monte-Carlo standard errors, as :func:`log_evidence` gives them.

    A difference of two is a log Bayes factor; its standard error is at most the sum of theirs. Both depend on the prior
    of the components, which the table names.

    Attributes
    ----------
    n_components : (R,) int64
        The numbers of components n, in ascending order.
    log_evidence : (R,) float64
        log p(X | n): natural logarithm of a density in the units of X.
    standard_error : (R,) float64
        Its Monte-Carlo standard error. That of n = 1, which is 0 where all hyperparameters are fixed, is part of every
        other.
    messages : tuple of str
        What a reader must know before using the numbers; empty when nothing is wrong.
    settings : dict
        n_observations, prior, concentration, draws, warmup, chains, seed (entropy of the SeedSequence), and
        round_trips: how often the chains went from one cluster to many and back.

    Examples
    --------
    Of the rows of :func:`gibbs_gmm.fit`'s example:

    >>> evidence = gg.log_evidence(X, [1, 2], draws=1000, warmup=500, rng=1, progress=False)
    >>> bool(evidence.log_evidence[1] > evidence.log_evidence[0] + 10.0)
    True
    >>> evidence.posterior().round(2)
    array([0., 1.])
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
        lines = [f"{'n':>6}  {'log p(X | n)':>14}  {'s.e.':>7}  {'- highest':>10}  {'p(n | X)':>8}"]
        rows = zip(self.n_components, self.log_evidence, self.standard_error, self.posterior(), strict=True)
        for n, value, error, p in rows:
            gap = value - finite.max(initial=-np.inf)
            lines.append(f"{n:>6}  {value:>14.4f}  {error:>7.4f}  {gap:>10.3f}  {p:>8.4f}")
        return "\n".join([*lines, *("\n" + textwrap.fill(note, _WIDTH) for note in self._notes())])

    def _repr_html_(self) -> str:
        from gibbs_gmm.posterior.notebook import evidence_html

        return evidence_html(self, self._notes())

    def _notes(self) -> tuple[str, ...]:
        """What the numbers depend on, and what is wrong with them."""
        prior = prior_from_dict(self.settings["prior"]).describe()
        return (f"p(n | X) under a uniform prior on these n. Components: {prior}.", *self.messages)

    def posterior(self, n_prior: Any = None) -> FloatArray:
        """p(n | X) of each n in ``n_components`` (R,), given that n is one of these.

        It is that of :func:`gibbs_gmm.fit` with ``MixtureOfFiniteMixtures(n_prior, concentration, dynamic=False)`` and
        the same prior of the components, where ``n_components`` holds all n that matter.

        Parameters
        ----------
        n_prior : frozen discrete scipy.stats distribution on 1, 2, ..., optional
            The prior p(n); by default all of ``n_components`` are equally likely.

        Returns
        -------
        (R,) float64
            NaN, all of them, where an evidence that counts is not known.
        """
        log_p = np.zeros(len(self))
        if n_prior is not None:
            log_p = np.asarray(MixtureOfFiniteMixtures(n_prior).n_prior.logpmf(self.n_components), np.float64)
            if not np.isfinite(log_p).any():
                raise ValueError(f"n_prior must give some of n = {self.n_components.tolist()} a probability above 0")
        log_joint = np.where(np.isfinite(log_p), log_p + self.log_evidence, -np.inf)
        p: FloatArray = np.exp(log_joint - logsumexp(log_joint))
        return p

    def to_dataframe(self) -> Any:
        """The table as a pandas DataFrame, indexed by n_components."""
        pd = needs("pandas", "arviz", "to_dataframe()")
        columns = {
            "log_evidence": self.log_evidence,
            "standard_error": self.standard_error,
            "posterior": self.posterior(),
        }
        return pd.DataFrame(columns, index=pd.Index(self.n_components, name="n_components"))


def log_evidence(
    X: Any,
    n_components: int | Iterable[int] = range(1, 11),
    *,
    prior: ComponentPrior | None = None,
    covariance_type: str | None = None,
    concentration: float = 1.0,
    draws: int | None = None,
    warmup: int = 5_000,
    chains: int = 4,
    rng: Any = None,
    threads: int | None = None,
    progress: bool = True,
    device: str = "cpu",
    **unknown: Any,
) -> Evidence:
    """The evidence (marginal likelihood) log p(X | n) of mixtures of n components, for each n, from one run.

    Weights given n are Dirichlet(concentration, ..., concentration). A mixture of finite mixtures is sampled whose
    prior p(n), n = 1, 2, ..., up to the largest asked for, is tilted during warm-up until every n is visited about
    equally (Wang & Landau 2001), and then frozen. Then

        log p(X | n) = log p(X | 1) + log [P(n) / P(1)] - log [p(n) / p(1)],

    with P(n) the mean over draws of p(n | partition), which depends on the number of clusters only. Psi_0 and kappa_0,
    where the prior of the components learns them, are integrated out: they are drawn with the rest, and log p(X | 1)
    comes from stepping-stone sampling over them (Xie, Lewis, Fan, Kuo & Chen 2011); where they are fixed, from its
    closed form.

    Parameters
    ----------
    X : array-like (N, D) or (N,)
        Observations, as for :func:`gibbs_gmm.fit`.
    n_components : int or iterable of int
        The numbers of components asked for, in any order, each at least 1. They may exceed N.
    prior : NormalInverseWishart or NormalInverseGamma, optional
        Prior of the component means and covariances; by default that of :func:`gibbs_gmm.fit` for the covariance type.
        Evidences depend on it far more than the clusters of a posterior do.
    covariance_type : "full", "tied", "diag" or "spherical", optional
        The family of components, as for :func:`gibbs_gmm.fit`. :func:`gibbs_gmm.compare` compares families.
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
    progress : bool
        Show a progress bar when the run takes long and standard error is a terminal or a notebook; elsewhere, a line
        now and then goes to the log ``gibbs_gmm``.
    device : "cpu" or "cuda"
        Where the passes over the rows are made, as for :func:`gibbs_gmm.fit`.

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
    A standard error of log p(X | n) - log p(X | 1) is the larger of two: from the spread of the chains' own estimates,
    and from the effective sample size over all chains. That of log p(X | 1), from the spread of independent replicates,
    is added in quadrature. The chains have to go back and forth between one cluster and many. How often they did is in
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
    checks.refuse_unknown("log_evidence", unknown, checks.arguments(log_evidence))
    array, columns, away = placed(X, None, device)
    N = len(array)
    wanted = wanted_n(n_components)
    n_max = int(wanted[-1])
    gamma = checks.positive("concentration", concentration)
    draws = max(5_000, min(100_000, 10_000_000 // N)) if draws is None else checks.integer("draws", draws, 100)
    warmup = checks.integer("warmup", warmup, 100)
    n_chains = checks.integer("chains", chains, 2)
    n_threads = thread_count(threads)
    if not isinstance(progress, (bool, np.bool_)):
        raise TypeError(f"progress must be True or False, got {progress!r}")
    root = seeds.seed_sequence(rng)
    observations = Observations.of(array, columns)
    prior = component_prior(prior, covariance_type, observations)
    if away is not None:
        away.require(prior, observations)

    data, tilt = observations.as_kernel(), Tilt(N, n_max, gamma)
    model = Model(tilt.weights, prior.as_kernel(data.loc), prior.hyper_as_kernel())
    spawned = root.spawn(n_chains + REPLICATES)
    first, first_error = _one_cluster(data, prior, spawned[n_chains:], n_threads)
    estimate, error, trips, messages = np.array([first]), np.zeros(1), 0, []
    if n_max > 1:
        runs, written = [], trace_arrays.fields(prior, False, False)
        for c, seed in enumerate(spawned[:n_chains]):
            generator = np.random.Generator(np.random.PCG64(seed))
            start = min(_STARTS[c % len(_STARTS)], N, n_max)
            shards = None
            if away is not None:
                away.add_chain(c, model.prior, prior.family, data, n_max + 1)
                shards = away.shards
            state = initial_state(generator, data, model, prior.family, gamma, start, n_max + 1, shards=shards)
            plan = Plan(0, _BATCH, 1)
            with Compiling(bool(progress)):
                chain = Chain(c, generator, data, model, prior.family, state, plan, written, remote=away)
            runs.append(_Run(chain, warmup))
        text = f"evidence of {prior.covariance_type} clusters"
        t = _sample(runs, tilt, first, warmup, draws, min(n_threads, n_chains), bool(progress), text)
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
    origin = seeds.to_dict(root)
    return Evidence(
        n_components=wanted,
        log_evidence=estimate[wanted - 1],
        standard_error=np.hypot(error, first_error)[wanted - 1],
        messages=tuple(messages),
        settings={
            "n_observations": N,
            "prior": prior.to_dict(),
            "concentration": gamma,
            "draws": draws,
            "warmup": warmup,
            "chains": n_chains,
            "seed": origin["entropy"],
            "spawn_key": origin["spawn_key"],
            "round_trips": trips,
        },
    )


def _one_cluster(
    data: Data, prior: ComponentPrior, seeds: list[np.random.SeedSequence], threads: int
) -> tuple[float, float]:
    """log p(X | n = 1) and its standard error. One component shares its covariance with none: tied is full then."""
    if isinstance(prior, NormalInverseGamma):
        return log_one_cluster_gamma(data, prior), 0.0
    return log_one_cluster(data, dataclasses.replace(prior, covariance_type="full"), seeds, threads)


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
            chain.advance(chain.remote)
        self._done += count
        return np.asarray(chain.arrays["n_clusters"][:count]).copy()

    def log_weight(self, tilt: Tilt) -> tuple[int, float]:
        """t and log prod_c m(X_c) Gamma(gamma + n_c)/Gamma(gamma) of the partition and hyperparameters of now."""
        state, scratch = self._chain.state, self._chain.moves.scratch
        total, centre, t = state.total, state.components.centre, int(state.size[N_CLUSTERS])
        result = tilt.log_product(total.n[:t])
        for k in range(t):
            result += log_marginal(state.prior, total.n[k], total, k, centre[k], scratch)
        return t, result


def _sample(
    runs: list[_Run], tilt: Tilt, first: float, warmup: int, draws: int, threads: int, progress: bool, text: str
) -> IntArray:
    """Adapt the tilt, then draw with it as it is: the numbers of clusters (chains, draws).

    ``text`` is what the progress is of.
    """
    stop, shown = threading.Event(), Steps(len(runs) * (warmup + draws), text, progress)
    with shown, ThreadPoolExecutor(threads) as workers:

        def together(count: int) -> IntArray:
            """The numbers of clusters (chains, count) in the next sweeps of all chains."""
            t = np.stack(list(workers.map(lambda run: run.sweeps(count, stop), runs)))
            shown.update(t.size)
            return t

        try:
            _adapt(tilt, together, runs, warmup, first)
            for run in runs:
                run.begin()
            return np.concatenate([together(min(_BATCH, draws - done)) for done in range(0, draws, _BATCH)], axis=1)
        finally:
            stop.set()  # after an error or Ctrl-C, the chains end within a batch


def _adapt(tilt: Tilt, together: Callable[[int], IntArray], runs: list[_Run], warmup: int, first: float) -> None:
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


def wanted_n(n_components: Any) -> IntArray:
    """The distinct n asked for, in ascending order."""
    several = isinstance(n_components, Iterable) and not isinstance(n_components, str)
    wanted = sorted({checks.integer("n_components", n, 1) for n in (n_components if several else [n_components])})
    if not wanted:
        raise ValueError("n_components must hold at least one number, got none")
    if wanted[-1] > _MOST:
        raise ValueError(f"n_components must be at most {_MOST}, got {wanted[-1]}")
    return np.array(wanted, np.int64)
