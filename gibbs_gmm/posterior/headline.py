"""How many clusters, in one sentence: the same in ``repr(trace)``, the summary, the terminal and the report."""

from __future__ import annotations

import numpy as np

from gibbs_gmm.kernels.types import FloatArray, IntArray
from gibbs_gmm.posterior.relabel import most_probable_n_clusters
from gibbs_gmm.posterior.wording import percent
from gibbs_gmm.trace import Trace

LEVEL = 0.9
_NAMED = 3  # numbers with a probability of each


def credible_set(n_clusters: IntArray, level: float = LEVEL) -> tuple[IntArray, FloatArray]:
    """The fewest numbers of clusters that hold the ``level``, in increasing order, and their probabilities.

    Of equally probable ones the smaller come first. ``n_clusters`` are draws, of any shape.
    """
    p = np.bincount(n_clusters.ravel()) / n_clusters.size
    order = np.argsort(-p, kind="stable")
    held = np.cumsum(p[order])
    chosen = np.sort(order[: int(np.argmax(held >= level * (1.0 - 1e-12))) + 1])
    return chosen, p[chosen]


def headline(trace: Trace) -> str:
    """How many clusters there are: those that hold 90% of the probability, and which of them is shown.

    Without a full stop, such as "3 or 4 clusters (50% and 48%); tables and pictures show 3".
    """
    numbers, p = credible_set(trace.n_clusters)
    text = _numbers(numbers)
    shares = [percent(float(share)) for share in p]
    how_sure = _listed(shares, "and") if len(numbers) <= _NAMED else f"{percent(float(p.sum()))} together"
    if trace.n_is_known:
        K = trace.weights.shape[-1]
        given = f"{K} component{'s'[: K > 1]}, as given"
        if numbers.tolist() == [K]:
            return given
        return f"{given}, of which {text} own rows ({how_sure}); tables and pictures show {K}"
    text = f"{text} cluster{'s'[: int(numbers[-1]) > 1]} ({how_sure})"
    return text if len(numbers) == 1 else f"{text}; tables and pictures show {most_probable_n_clusters(trace)}"


def _numbers(numbers: IntArray) -> str:
    """3; 3 or 4; 4 to 9; 2, 5 or 7."""
    if len(numbers) > _NAMED and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{numbers[0]} to {numbers[-1]}"
    return _listed([str(n) for n in numbers], "or")


def _listed(texts: list[str], word: str) -> str:
    return f" {word} ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)
