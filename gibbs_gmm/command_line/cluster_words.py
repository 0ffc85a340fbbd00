"""Each cluster in words: the columns that set it apart from the others, and how far."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from gibbs_gmm.kernels.types import AnyArray, FloatArray
from gibbs_gmm.posterior.matched import Components, spread
from gibbs_gmm.posterior.wording import listed, number

_CLEAR, _VERY = 0.5, 2.0  # standard deviations within clusters: a difference that counts, and one that is great
_BETWEEN = 1.0  # from both sides, for a middle place to be worth a word
_CAP = 4.0  # differences beyond it set a cluster apart no further
_SURE = 0.95  # posterior probability of the direction from which on it is said
_SPREAD = 1.6  # times as wide as the others, or as narrow
_MOST, _MOST_SPREADS = 5, 2  # columns that are named
_MAX_DRAWS = 1000

HOW_FAR = (
    "High and low: above, or below, most of the other clusters, and on the other side of none; very: by two standard "
    "deviations or more from each of them. Medium: between others and clearly apart from each. Differences count where "
    f"their direction has a posterior probability of {_SURE:.0%} or more."
)


@dataclasses.dataclass(frozen=True)
class Trait:
    """Where a cluster is in one column, beside the others.

    Attributes
    ----------
    column : str
        Its name.
    word : str
        "high", "very high", "low", "very low" or "medium"; empty where the column says little of the cluster.
    distance : float
        How far its mean is from those of the others, in standard deviations within the two clusters: the mean over the
        others, each with its weight, and none counted with more than 4.
    own, others : str
        Its mean, and the range of those of the others, as text in the units of the column.
    """

    column: str
    word: str
    distance: float
    own: str
    others: str


@dataclasses.dataclass(frozen=True)
class Description:
    """One cluster: its weight, its traits, the most telling first, and how widely its rows are spread.

    Attributes
    ----------
    number : int
        That of the component.
    weight : float
        Posterior mean of its weight.
    traits : tuple of Trait
        One for each column, by decreasing distance; empty where there is no other cluster.
    wider, narrower : tuple of str
        Columns in which its standard deviation is 1.6 times that within the others, or theirs 1.6 times its own.
    """

    number: int
    weight: float
    traits: tuple[Trait, ...]
    wider: tuple[str, ...]
    narrower: tuple[str, ...]

    @property
    def telling(self) -> tuple[Trait, ...]:
        """The traits that are named."""
        return tuple(trait for trait in self.traits if trait.word)[:_MOST]

    @property
    def sentence(self) -> str:
        """What sets the cluster apart, in a sentence."""
        if not self.traits:
            return "There is no other cluster to compare it with."
        groups: dict[str, list[str]] = {}
        for trait in self.telling:
            groups.setdefault(trait.word, []).append(f"{trait.column} ({trait.own}; the others {trait.others})")
        parts = [f"{word} {listed(names)}" for word, names in groups.items()]
        spreads = ((self.wider, "a wide spread"), (self.narrower, "a narrow spread"))
        parts += [f"{what} of {listed(names[:_MOST_SPREADS])}" for names, what in spreads if names]
        if not parts:
            return "No single column sets it apart: look at how columns go together in the pictures."
        text = "; ".join(parts)
        return f"{text[0].upper()}{text[1:]}."


def describe(components: Components, X: AnyArray) -> tuple[Description, ...]:
    """Every component of a trace in words.

    Parameters
    ----------
    components : Components
        K matched components in D columns.
    X : (N, D)
        The rows, whose standard deviation in each column says how many digits its numbers have.
    """
    K, columns = components.K, components.trace.columns
    scale = np.nanstd(X, 0, dtype=np.float64)
    some = spread(len(components.draws), _MAX_DRAWS)
    weights = components.weights.mean(0)
    traits: list[list[Trait]] = [[] for _ in range(K)]
    spreads = np.zeros((K, len(columns)))
    for d, name in enumerate(columns if K > 1 else ()):
        means, deviations = components.means(np.array([d]))[..., 0], components.covariances(np.array([d]))[..., 0, 0]
        own, within = components.average(means), np.sqrt(components.average(deviations))
        sure = np.abs((means[some, :, None] > means[some, None, :]).mean(0) - 0.5) >= _SURE - 0.5
        gap = (own[:, None] - own) / np.sqrt((within[:, None] ** 2 + within**2) / 2.0)
        for k in range(K):
            rest = np.arange(K) != k
            texts = [number(float(value), float(scale[d]) / 4.0) for value in np.sort(own[rest])]
            others = texts[0] if texts[0] == texts[-1] else f"{texts[0]} to {texts[-1]}"
            share = weights[rest] / weights[rest].sum()
            distance = float(share @ np.minimum(np.abs(gap[k, rest]), _CAP))
            word = _word(np.where(sure[k, rest], gap[k, rest], 0.0), share)
            traits[k].append(Trait(name, word, distance, number(float(own[k]), float(scale[d]) / 4.0), others))
            wide = (deviations[some, k] > deviations[some][:, rest] @ share).mean()
            if max(wide, 1.0 - wide) >= _SURE:
                spreads[k, d] = math.log(within[k]) - 0.5 * math.log(within[rest] ** 2 @ share)
    order = np.argsort(-np.abs(spreads), axis=1, kind="stable")
    return tuple(
        Description(
            number=k,
            weight=float(weights[k]),
            traits=tuple(sorted(traits[k], key=lambda trait: -trait.distance)),
            wider=tuple(columns[d] for d in order[k] if spreads[k, d] >= math.log(_SPREAD)),
            narrower=tuple(columns[d] for d in order[k] if spreads[k, d] <= -math.log(_SPREAD)),
        )
        for k in range(K)
    )


def _word(gap: FloatArray, share: FloatArray) -> str:
    """Where a cluster is, from how far it is above each of the others, and the share of the weight that each has."""
    below, above = gap >= _CLEAR, gap <= -_CLEAR
    for side, other, word in ((below, above, "high"), (above, below, "low")):
        if share[side].sum() >= 0.5 and not other.any():
            return f"very {word}" if np.abs(gap).min() >= _VERY else word
    return "medium" if below.any() and above.any() and np.abs(gap).min() >= _BETWEEN else ""
