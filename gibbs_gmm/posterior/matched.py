"""What pictures and the report ask of a trace: matched components, and the posterior of some columns alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from gibbs_gmm import checks
from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray
from gibbs_gmm.trace import Trace
from gibbs_gmm.trace_arrays import ALWAYS


@dataclasses.dataclass(frozen=True, eq=False)
class Components:
    """Components matched across draws and chains: of all draws, or of those with the most probable number of clusters.

    Attributes
    ----------
    draws : (S,) int64
        The draws that have them, chains one after the other.
    perm : (S, K) int64
        Which component of each draw is the k-th.
    weights : (S, K) float64
        Their weights.
    share : float
        The share of draws that have them.
    ambiguous_share : float
        The share of these draws in which it is not clear which component is which.
    """

    trace: Trace
    draws: IntArray
    perm: IntArray
    weights: FloatArray
    share: float
    ambiguous_share: float

    @property
    def K(self) -> int:
        """Their number."""
        return int(self.perm.shape[1])

    def means(self, columns: IntArray) -> FloatArray:
        """(S, K, d): their means in these columns."""
        flat = self.trace.means[..., columns].reshape(-1, *self.trace.weights.shape[2:], len(columns))
        return np.take_along_axis(flat[self.draws], self.perm[:, :, None], 1)

    def covariances(self, columns: IntArray) -> FloatArray:
        """(S, K, d, d): their covariances of these columns."""
        block = self.trace.covariances[..., columns[:, None], columns]
        flat = block.reshape(-1, *block.shape[2:])
        return np.take_along_axis(flat[self.draws], self.perm[:, :, None, None], 1)

    def average(self, values: FloatArray) -> FloatArray:
        """Posterior mean of values (S, K, ...), weighted by the components' weights: empty ones say nothing."""
        mass = self.weights / self.weights.sum(0)
        result: FloatArray = np.einsum("sk,sk...->k...", mass, values)
        return result

    def telling_columns(self, most: int) -> IntArray:
        """The columns that tell the components apart best, in their order.

        Those with the largest share of variance that is between components, sum_k w_k (mu_k - mu)^2 of the whole.
        """
        everything = np.arange(len(self.trace.columns))
        weights = self.weights.mean(0) / self.weights.mean(0).sum()
        means = self.average(self.means(everything))
        within = weights @ np.stack([self.average(self.covariances(everything[[d]]))[:, 0, 0] for d in everything], 1)
        between = weights @ (means - weights @ means) ** 2
        order = np.argsort(-between / (between + within), kind="stable")
        return np.sort(order[:most])


def matched_components(trace: Trace) -> Components:
    """The components of a trace, matched."""
    C, T, _ = trace.weights.shape
    relabelling = trace.relabel()
    draws = np.flatnonzero(relabelling.counted)
    perm = relabelling.permutation.reshape(C * T, -1)[draws, : relabelling.n_matched]
    weights = np.take_along_axis(trace.weights.reshape(C * T, -1)[draws], perm, 1)
    ambiguous = float(relabelling.ambiguous_places[relabelling.counted].any(-1).mean())
    return Components(trace, draws, perm, weights, len(draws) / (C * T), ambiguous)


def some_draws(trace: Trace, draws: IntArray) -> Trace:
    """These draws of a trace, counted over all chains, as one chain."""
    some: dict[str, Any] = {
        name: array.reshape(-1, *array.shape[2:])[draws][None] for name, array in trace.arrays().items()
    }
    return dataclasses.replace(trace, **some)


def marginal(trace: Trace, columns: IntArray) -> Trace:
    """The posterior of some columns alone.

    It is a trace of the same model in fewer dimensions. Its log densities are still those of all columns, and its prior
    does not say how hyperparameters were learned: their draws are in the trace.
    """
    kept: dict[str, Any] = {}
    for field in (*ALWAYS, *trace.prior.fields()):
        array, across = getattr(trace, field.name), [axis.startswith("column") for axis in field.axes]
        if any(across) and array is not None:
            own = np.ix_(*[columns] * sum(across))
            kept[field.name] = array[..., *own]
    names, settings = tuple(trace.columns[column] for column in columns), trace.settings
    if trace._outliers is not None:
        settings = {**settings, "outliers": trace._outliers.marginal(columns).to_dict()}
    return dataclasses.replace(trace, **kept, columns=names, prior=trace.prior.marginal(columns), settings=settings)


def checked_data(trace: Trace, X: Any) -> AnyArray:
    """X as an array, with its columns in the order of the fit, if it can be the data of the trace; NaN is missing."""
    array, _ = checks.data(X, min_rows=1, missing=True)
    wanted = (trace.n_rows, len(trace.columns))
    if trace.fitted_rows(array).shape != wanted:
        raise ValueError(f"X must be the data of the trace, of shape {wanted}, got {array.shape}")
    return trace.fitted_rows(checks.new_data(X, trace.columns, "X", missing=True))


def checked_columns(trace: Trace, columns: Sequence[str]) -> IntArray:
    """The numbers of the columns with these names."""
    if isinstance(columns, str) or len(columns) == 0:
        raise ValueError(f"columns must be a sequence of names, got {columns!r}")
    unknown = [name for name in columns if name not in trace.columns]
    if unknown:
        raise ValueError(f"columns must be among {list(trace.columns)}, got {unknown}")
    return np.array([trace.columns.index(name) for name in columns])


def spread(n: int, most: int) -> IntArray:
    """At most ``most`` of 0..n-1, evenly spread."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(np.int64))
