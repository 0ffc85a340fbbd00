"""Do the chains agree? Decided here, and said by whatever takes their draws together."""

from __future__ import annotations

import enum
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import entr, fdtri, ndtri
from scipy.stats import rankdata

from gibbs_gmm.kernels.types import AnyArray, FloatArray

if TYPE_CHECKING:
    from gibbs_gmm.trace import Trace

R_HAT_LIMIT = 1.05
MIN_DRAWS = 4  # per chain, for R-hat and effective sample sizes
LISTED = 8  # chains and components that are named one by one
_MIN_DRAWS_RANGES = 10  # two chains of 10 independent draws have disjoint ranges by chance once in 90,000 times
_RARE = 0.05  # the j-th largest weight is left out if fewer draws have j clusters: R-hat says nothing of mostly zeros
_CHANCE = 1e-5  # that independent draws of very short chains are taken for chains that have not met
_LONGER = 4  # times as many draws, where the chains have not met
_VERY_MANY = 200_000  # rows, over which a sweep takes so long that a run is short


class Kind(enum.Enum):
    """What an alarm is about: a reader must know of it before anything else."""

    INTERRUPTED = enum.auto()
    APART = enum.auto()
    ONE_CHAIN = enum.auto()


class Alarm(str):
    """A message of a table, that says what kind of alarm it is. ``finding`` is the message without its advice."""

    kind: Kind
    finding: str

    def __new__(cls, finding: str, kind: Kind, advice: str = "") -> Alarm:
        """What was found, then what to do about it, as is said in Python."""
        alarm = super().__new__(cls, finding + advice)
        alarm.kind, alarm.finding = kind, finding
        return alarm

    def __getnewargs__(self) -> tuple[str, Kind, str]:  # type: ignore[override]  # str has the text alone
        return self.finding, self.kind, self.removeprefix(self.finding)


def alarms(messages: Iterable[str]) -> list[Alarm]:
    """The first alarm of each kind among messages."""
    found = [message for message in messages if isinstance(message, Alarm)]
    first = (next((alarm for alarm in found if alarm.kind is kind), None) for kind in Kind)
    return [alarm for alarm in first if alarm is not None]


def invariants(trace: Trace) -> dict[str, FloatArray]:
    """The quantities (C, T) that do not depend on labels, log_likelihood first; scores of partitions may be of fewer
    draws.
    """
    rows: dict[str, AnyArray] = {"log_likelihood": trace.log_likelihood}
    shown = trace.weights.shape[-1]
    if trace.n_is_known:
        rows["log_posterior"] = trace.log_posterior
    else:
        shown = sum(int(np.mean(trace.n_clusters > j) >= _RARE) for j in range(shown))
    rows |= sorted_weights(trace.weights, shown)
    rows["entropy"] = entropy(trace.weights)
    rows |= trace._partition_scores
    rows["n_clusters"] = trace.n_clusters.astype(np.float64)
    if trace.weight_prior.learns_n:
        rows["n_components"] = trace.n_components.astype(np.float64)
    learned = {name: getattr(trace, name) for name in ("concentration", "kappa_0", "outlier_weight")}
    return rows | {name: values for name, values in learned.items() if values is not None}


def sorted_weights(weights: FloatArray, shown: int) -> dict[str, FloatArray]:
    """The ``shown`` largest weights (C, T) of each draw, the largest first."""
    descending = np.sort(weights, axis=-1)[..., ::-1]
    return {f"sorted_weight[{j}]": descending[..., j] for j in range(shown)}


def entropy(weights: FloatArray) -> FloatArray:
    """(C, T) the entropy of the weights of each draw, - sum_k w_k log w_k: how evenly rows are spread over clusters."""
    return np.asarray(entr(weights).sum(-1))


def varies(values: FloatArray) -> AnyArray:
    """(R,) whether quantities (R, C, T) vary. One component's weight is 1 up to rounding, and rounding has no R-hat."""
    flat = values.reshape(len(values), -1)
    return np.asarray(flat.max(1) - flat.min(1) > 4 * np.finfo(float).eps * np.abs(flat).max(1))


def r_hat(values: AnyArray) -> FloatArray:
    """Rank-normalised split R-hat (Vehtari et al. 2021) of quantities in C chains of T draws.

    The larger of the R-hat of the normal scores of the draws and of those of their distances from the median, chains
    cut in halves.

    Parameters
    ----------
    values : (..., C, T) numbers

    Returns
    -------
    (...) float64
        1 where chains agree; NaN for one chain, fewer than 4 draws or a quantity that never changes; infinite where it
        differs between chains but not within them.
    """
    *shape, C, T = values.shape
    rows = np.asarray(values, np.float64).reshape(-1, C, T)
    result = np.full(len(rows), np.nan)
    moving = varies(rows) if C > 1 and T >= MIN_DRAWS else np.zeros(len(rows), dtype=bool)
    if not moving.any():
        return result.reshape(shape)
    x, n = rows[moving], T // 2
    halves = np.concatenate([x[..., :n], x[..., T - n :]], axis=1)
    distances = np.abs(halves - np.median(halves, axis=(1, 2), keepdims=True))
    found = np.fmax(_r_hat_of_scores(halves), _r_hat_of_scores(distances))
    stuck = (x.min(2) == x.max(2)).all(1)
    result[moving] = np.where(stuck, np.inf, found)
    return result.reshape(shape)


def _r_hat_of_scores(x: FloatArray) -> FloatArray:
    """R-hat of the normal scores of the ranks of x (R, C, n), chains as they are."""
    R, C, n = x.shape
    z = ndtri((rankdata(x.reshape(R, C * n), axis=1) - 0.375) / (C * n + 0.25)).reshape(x.shape)
    with np.errstate(divide="ignore", invalid="ignore"):  # half a chain of counts is often constant
        between, within = z.mean(2).var(1, ddof=1), z.var(2, ddof=1).mean(1)
        return np.asarray(np.sqrt((n - 1) / n + between / within))


def limit(C: int, T: int, tests: int = 1) -> float:
    """The R-hat from which on C chains of T draws have not met: 1.05, or more where they are very short.

    Were the draws independent, the means and variances of 2C half chains of n draws would be those of an analysis of
    variance, R-hat^2 = (n - 1 + F) / n; short chains must exceed what F does once in 100,000 times in any of ``tests``.
    """
    n = T // 2
    if n < 2:
        return float("inf")
    F = fdtri(2 * C - 1, 2 * C * (n - 1), 1.0 - _CHANCE / tests)
    return max(R_HAT_LIMIT, float(np.sqrt((n - 1 + F) / n)))


def why_apart(trace: Trace) -> str | None:
    """Why the chains have not met, for the middle of a sentence; None if nothing shows that they have not."""
    values = {name: float(r_hat(x)) for name, x in invariants(trace).items()}
    most = limit(*trace.log_likelihood.shape)
    apart = {name: value for name, value in values.items() if value > most}
    partitions = {name: apart.pop(name) for name in trace._partition_scores if name in apart}
    if apart:
        worst = sorted(apart, key=lambda name: -apart[name])
        if "n_clusters" in apart:  # the question that everything else hangs on
            worst.insert(0, worst.pop(worst.index("n_clusters")))
        listed = ", ".join(f"{name} ({_r_hat_text(apart[name])})" for name in worst[:3])
        more = f" and {len(worst) - 3} more" if len(worst) > 3 else ""
        return f"R-hat is above {most:.2f} for {listed}{more}"
    separate = [name for name in ("log_likelihood", "n_clusters") if _disjoint(getattr(trace, name))]
    if separate:
        return f"one chain's {separate[0]} never comes near another's"
    unlike = "they do not cluster the rows alike"
    if trace._difference is not None:
        return unlike
    return f"{unlike} (R-hat of partitions: {_r_hat_text(max(partitions.values()))})" if partitions else None


def apart(trace: Trace) -> str | None:
    """That the chains have not met, and why, in whole sentences with a blank after them; None if they have."""
    if trace._why_apart is None:
        return None
    which, modes = "The chains", different_modes(trace)
    if not trace.n_is_known and modes:
        which = "The chains, which start from one cluster, from many and from numbers between,"
    rows = "" if trace._difference is None else f"{trace._difference} "
    return f"{which} have not met: {trace._why_apart}. {modes}{rows}"


def longer(trace: Trace) -> dict[str, int]:
    """The settings of a longer run, for chains that have not met."""
    (C, T), settings = trace.log_likelihood.shape, trace.settings
    if (budget := settings.get("max_sweeps")) is not None:
        return {"max_sweeps": _LONGER * budget, "chains": max(C, 4)}
    least = 1000 if settings.get("n_observations", 0) < _VERY_MANY else 200
    warmup, draws = _LONGER * max(settings.get("warmup", 1000), least), _LONGER * max(T, 250)
    return {"warmup": warmup, "draws": draws, "thin": settings.get("thin", 1), "chains": max(C, 4)}


def run_longer(trace: Trace) -> str:
    """What to do about chains that have not met, ready to be pasted."""
    settings = ", ".join(f"{name}={value}" for name, value in longer(trace).items())
    return f"Run longer, until they agree: gg.fit(X, trace.weight_prior, prior=trace.prior, {settings})."


def warn_if_apart(trace: Trace, question: str) -> Trace:
    """The trace, after a warning, once for each question asked of it, where its chains have not met."""
    text = apart(trace)
    if text is not None and question not in trace._warned:
        trace._warned.add(question)
        warnings.warn(
            f"{question}(): {text}The result mixes what they found: do not use it. {run_longer(trace)}",
            UserWarning,
            stacklevel=3,  # who asked the question
        )
    return trace


def different_modes(trace: Trace) -> str:
    """A sentence, with a blank after it, on chains whose most probable n_clusters differ; empty if they do not."""
    modes = np.array([np.bincount(chain).argmax() for chain in trace.n_clusters])
    if modes.min() == modes.max():
        return ""
    return f"The most probable n_clusters of each chain {by_chain(modes, 'd')}. "


def alike_all_the_same(modes: str) -> str:
    """What :func:`different_modes` means where R-hat finds nothing."""
    return f"{modes}As R-hat finds the chains alike, these numbers are about equally probable, or the chains are short."


def by_chain(values: AnyArray, form: str) -> str:
    """What a quantity of each chain is, or between what it lies."""
    if len(values) <= LISTED:
        return f"is {', '.join(f'{value:{form}}' for value in values)}"
    return f"lies between {values.min():{form}} and {values.max():{form}}"


def _disjoint(values: AnyArray) -> bool:
    """Whether the range of some chain (C, T) does not touch that of another."""
    if values.shape[0] < 2 or values.shape[1] < _MIN_DRAWS_RANGES:
        return False
    return bool(values.max(1).min() < values.min(1).max())


def _r_hat_text(value: float) -> str:
    """R-hat for a sentence."""
    return f"{value:.2f}" if value < 100 else "stuck at different values"
