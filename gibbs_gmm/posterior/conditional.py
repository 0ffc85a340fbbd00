"""What some columns of a new row are, given its others: a mixture in each draw, averaged over the posterior.

The posterior predictive p(x_2 | x_1, X) is E p(x_1, x_2 | draw) / E p(x_1 | draw), expectations over draws, so the new
row itself weights the draws. Component k of draw s has the weight w_sk N(x_1 | s, k), over the sum of these over all
draws and components, and x_2 there its normal law given x_1. Unoccupied components that a trace does not hold are
integrated out, as :mod:`gibbs_gmm.posterior.predict` has them: they are one component more of the draw, a t.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from gibbs_gmm import checks
from gibbs_gmm.kernels.posterior.predictive import LOWEST, NORMAL, PRODUCT
from gibbs_gmm.kernels.types import FloatArray
from gibbs_gmm.posterior.conditional_components import Components, Given, components
from gibbs_gmm.posterior.mixture_quantiles import Part, quantiles
from gibbs_gmm.posterior.predict import clusters_of_components
from gibbs_gmm.seeds import seed_sequence
from gibbs_gmm.trace import Trace

_ROWS = 128  # rows that are looked at together
_NUMBERS = 1 << 19  # of an array of some components and these rows
_MOST_KEPT = 1 << 22  # numbers that are kept of all components and some rows


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Conditional:
    """The free columns of M rows, given the others, averaged over the posterior: :meth:`gibbs_gmm.Trace.conditional`.

    Answers are exact up to the Monte-Carlo error of the draws. That error grows where the values given are far from all
    rows of the fit, since then few draws carry the average (:attr:`effective_draws`).

    Attributes
    ----------
    trace : Trace
        The posterior.
    columns : tuple of F str
        Names of the free columns, in the order of the fit.
    given : tuple of G str
        Names of the columns that are given, in the order of the fit.
    values : (M, G) float64
        Their values.

    Examples
    --------
    Of the trace and the rows of :func:`gibbs_gmm.fit`'s example:

    >>> conditional = trace.conditional({"x0": [-3.0, 3.0]})
    >>> conditional
    <Conditional: x1 given x0, 2 rows>
    >>> conditional.mean().round()
    array([[-3.],
           [ 3.]])
    >>> conditional.quantile([0.05, 0.5, 0.95]).shape
    (3, 2, 1)
    >>> conditional.probabilities.round(2)
    array([[1., 0., 0.],
           [0., 1., 0.]])
    """

    trace: Trace
    columns: tuple[str, ...]
    given: tuple[str, ...]
    values: FloatArray

    def __repr__(self) -> str:
        M = len(self.values)
        what = f" given {', '.join(self.given)}" if self.given else ", nothing given"
        return f"<Conditional: {', '.join(self.columns)}{what}, {M} row{'s'[: M > 1]}>"

    def mean(self) -> FloatArray:
        """Means (M, F) float64, in the units of the columns.

        NaN where they do not exist: under a prior whose t distribution has one degree of freedom or less.
        """
        result = np.empty((len(self.values), len(self.columns)))
        for rows in self._row_blocks():
            total, mean, exists = _LogSum(rows), np.zeros((len(self.columns), 1)), True
            for group, law in self._laws(rows):
                weight, shrink = total.add(law.log_weight)
                mean = mean * shrink + np.einsum("pr,pfr->fr", weight, law.mean)
                exists &= group.df_free > 1.0
            result[rows] = (mean / total.mass).T if exists else np.nan
        return result

    def covariance(self) -> FloatArray:
        """Covariance matrices (M, F, F) float64: within components, and between components and draws.

        Infinite, and NaN off the diagonal, where they do not exist: under a prior whose t distribution has two degrees
        of freedom or less.
        """
        M, F = len(self.values), len(self.columns)
        result = np.empty((M, F, F))
        for rows in self._row_blocks():
            R = rows.stop - rows.start
            total, mean, covariance, exists = _LogSum(rows), np.zeros((R, F)), np.zeros((R, F, F)), True
            for group, law in self._laws(rows):
                if group.df_free <= 2.0:
                    exists = False
                    break
                # Groups are merged by their means and covariances (Chan, Golub & LeVeque 1983): no digits are lost.
                weight, _ = total.add(law.log_weight)
                own = weight.sum(0)
                share = (own / total.mass)[:, None]
                own = np.maximum(own, np.finfo(np.float64).tiny)
                centre = np.einsum("pr,pfr->fr", weight, law.mean) / own
                z = np.ascontiguousarray((np.sqrt(weight)[:, None] * (law.mean - centre)).transpose(2, 0, 1))
                within = (group.factor @ group.factor.mT).reshape(len(weight), F * F) * group.inflation
                both = z.mT @ z + ((weight * np.square(law.scale)).T @ within).reshape(R, F, F)
                apart = np.where(share > 0.0, centre.T - mean, 0.0)
                mean += share * apart
                share = share[:, None]
                covariance += share * (both / own[:, None, None] - covariance)
                covariance += share * (1.0 - share) * apart[:, :, None] * apart[:, None, :]
            result[rows] = covariance if exists else np.where(np.eye(F, dtype=bool), np.inf, np.nan)
        return result

    def std(self) -> FloatArray:
        """Standard deviations (M, F) float64: the square roots of the diagonals of :meth:`covariance`."""
        return np.asarray(np.sqrt(np.diagonal(self.covariance(), axis1=1, axis2=2)), np.float64)

    def quantile(self, q: Any) -> FloatArray:
        """Quantiles of each free column by itself.

        Parameters
        ----------
        q : float, or (Q,) array-like
            Between 0 and 1, exclusive.

        Returns
        -------
        (M, F) float64, or (Q, M, F) for an array
            Where the distribution function, averaged over the posterior, is q: to 1e-10 of min(q, 1 - q), or 1e-13, or
            as double precision has it, solved within a bracket.
        """
        wanted = checks.real_array("q", np.atleast_1d(np.asarray(q)), "() or (Q,)", 1)
        if wanted.size == 0 or not ((wanted > 0.0) & (wanted < 1.0)).all():
            raise ValueError(f"q must be between 0 and 1, exclusive, got {q!r}")
        M, F = len(self.values), len(self.columns)
        result = np.empty((len(wanted), M, F))
        for rows in self._row_blocks(1 + 2 * F):
            size, kept = rows.stop - rows.start, dict[float, list[Part]]()
            for group, law in self._laws(rows):
                spread = np.sqrt(np.square(group.factor).sum(2))[:, :, None] * law.scale[:, None, :]
                spread = np.broadcast_to(spread, law.mean.shape)
                kept.setdefault(group.df_free, []).append((law.log_weight, law.mean, spread))
            parts = {df: [np.concatenate(arrays) for arrays in zip(*some, strict=True)] for df, some in kept.items()}
            top = np.max([part[0].max(0) for part in parts.values()], axis=0)
            for i in range(size):
                weights = {df: np.exp(part[0][:, i] - top[i]) for df, part in parts.items()}
                for f in range(F):
                    mixture = {df: (weights[df], part[1][:, f, i], part[2][:, f, i]) for df, part in parts.items()}
                    result[:, rows.start + i, f] = quantiles(wanted, mixture)
        return result[0] if np.ndim(q) == 0 else result

    def sample(self, n: int, rng: Any = None) -> FloatArray:
        """``n`` draws of the free columns for each row, (n, M, F) float64, all independent of each other.

        Parameters
        ----------
        n : int
            How many.
        rng : int, sequence of ints, SeedSequence, Generator, RandomState or None
            Seed.
        """
        n = checks.integer("n", n, 1)
        generator = np.random.Generator(np.random.PCG64(seed_sequence(rng)))
        F = len(self.columns)
        result = np.empty((n, len(self.values), F))
        for rows in self._row_blocks(1):
            log_weight = np.concatenate([law.log_weight for _, law in self._laws(rows)])
            cumulated = np.cumsum(np.exp(log_weight - log_weight.max(0)), axis=0).T.copy()
            u = generator.random((len(cumulated), n)) * cumulated[:, -1:]
            chosen = np.array([np.searchsorted(*pair, side="right") for pair in zip(cumulated, u, strict=True)])
            first = 0
            for group, law in self._laws(rows):
                i, j = np.nonzero((chosen >= first) & (chosen < first + len(group.mean)))
                p = chosen[i, j] - first
                e = generator.standard_normal((len(p), F))
                if group.law != NORMAL:
                    size = (len(p), F if group.law == PRODUCT else 1)
                    e /= np.sqrt(generator.chisquare(group.df_free, size) / group.df_free)
                scale = np.broadcast_to(law.scale, law.log_weight.shape)[p, i]
                e = np.einsum("nij,nj->ni", group.factor[p], e) * scale[:, None]
                result[j, rows.start + i] = law.mean[p, :, i] + e
                first += len(group.mean)
        return result

    def log_density(self, values: Any) -> FloatArray:
        """Log density of values of all free columns together, each given its row.

        Parameters
        ----------
        values : array-like (M, F); (1, F), or where one row is given (V, F); without the last axis where F = 1
            In the order of ``columns``; a data frame must have these columns, in any order.

        Returns
        -------
        (M,) or (V,) float64
            In the units of the columns.
        """
        free = checks.new_data(values, self.columns, "values", whose="without a given value")
        M, N = len(self.values), max(len(free), len(self.values))
        if len(free) != M and min(len(free), M) > 1:
            raise ValueError(f"values must have one row, or one for each of the {M} rows given, got {len(free)}")
        free = np.broadcast_to(free, (N, free.shape[1]))
        every = dataclasses.replace(self, values=np.broadcast_to(self.values, (N, self.values.shape[1])))
        result = np.empty(N)
        for rows in every._row_blocks():
            given, joint = _LogSum(rows), _LogSum(rows)
            for group, law in every._laws(rows):
                given.add(law.log_weight)
                joint.add(law.log_weight + group.log_density(free[rows], law))
            with np.errstate(divide="ignore"):  # a density may be 0
                result[rows] = (joint.top - given.top) + np.log(joint.mass / given.mass)
        return result

    @functools.cached_property
    def probabilities(self) -> FloatArray:
        """(M, J + 1) float64: the probability that each row is of each cluster; in the last column, of none of them.

        The clusters are the J of ``trace.partition()``, and expectations are over the draws that have them, as in
        :meth:`gibbs_gmm.Trace.predict_proba`. Only the columns that are given speak.
        """
        cluster, counted, J = clusters_of_components(self.trace, None)
        own, counted = (
            np.hstack([cluster.reshape(counted.size, -1), np.full((counted.size, 1), J)]),
            counted.reshape(-1),
        )
        result = np.empty((len(self.values), J + 1))
        for rows in self._row_blocks():
            total, mass = _LogSum(rows), np.zeros((J + 1, 1))
            for group, law in self._laws(rows):
                weight, shrink = total.add(np.where(counted[group.draw][:, None], law.log_weight, -np.inf))
                which = own[group.draw, group.slot]
                mass = mass * shrink + np.stack([weight[which == j].sum(0) for j in range(J + 1)])
            result[rows] = (mass / mass.sum(0)).T
        return result

    @functools.cached_property
    def effective_draws(self) -> FloatArray:
        """(M,) float64: how many draws that weigh alike each row's draws are worth (Kish 1965).

        A draw weighs as much as its density of the values given. That draws of a chain depend on each other is not in
        it.
        """
        draws, result = self.trace.n_clusters.size, np.empty(len(self.values))
        for rows in self._row_blocks(1):
            total, mass = _LogSum(rows), np.zeros((draws, rows.stop - rows.start))
            for group, law in self._laws(rows):
                weight, shrink = total.add(law.log_weight)
                mass *= shrink
                np.add.at(mass, group.draw, weight)
            result[rows] = mass.sum(0) ** 2 / np.square(mass).sum(0)
        return result

    def _row_blocks(self, kept: int = 0) -> Iterator[slice]:
        """Rows in blocks, for each component of which so many numbers are kept."""
        C, T, K = self.trace.weights.shape
        size = max(1, min(_ROWS, _MOST_KEPT // max(1, kept * C * T * (K + 1))))
        for start in range(0, len(self.values), size):
            yield slice(start, min(start + size, len(self.values)))

    def _laws(self, rows: slice) -> Iterator[tuple[Components, Given]]:
        """All components of all draws, and the same given these rows, some draws at a time."""
        D = len(self.trace.columns)
        order = np.array([self.trace.columns.index(name) for name in self.given + self.columns])
        for group in components(self.trace, order, len(self.given), _NUMBERS // (D * (rows.stop - rows.start))):
            yield group, group.given(self.values[rows])


class _LogSum:
    """For each of some rows, a sum of numbers that are given by their logarithms: mass exp(top), (R,)."""

    def __init__(self, rows: slice) -> None:
        self.top, self.mass = np.full(rows.stop - rows.start, LOWEST), np.zeros(rows.stop - rows.start)

    def add(self, terms: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Add terms (P, R). Returns them over exp(top), and what sums over an earlier exp(top) are multiplied by."""
        top = np.maximum(self.top, terms.max(0))
        shrink, share = np.exp(self.top - top), np.exp(terms - top)
        self.top, self.mass = top, self.mass * shrink + share.sum(0)
        return share, shrink


def conditional(trace: Trace, given: Any) -> Conditional:
    """The columns that are free given the others; see :meth:`gibbs_gmm.trace.Trace.conditional`."""
    names, arrays = trace.columns, dict[int, FloatArray]()
    if trace.outlier_weight is not None:
        raise ValueError("conditional() is not offered for a fit with outliers: fit without outliers=")
    if isinstance(given, Mapping):
        for key, value in given.items():
            column = _column(key, names)
            if column in arrays:
                raise ValueError(f"given must name a column once, got {names[column]!r} twice")
            arrays[column] = _values(names[column], value)
    elif checks.column_names(given, "given") is not None:
        table, labels = checks.table(given, "given", 1)
        arrays = {_column(label, names): table[:, i] for i, label in enumerate(labels)}
    else:
        raise TypeError(
            "given must be a mapping from names or positions of columns to their values, or a data frame of these "
            f"columns, got an object of type {type(given).__name__}"
        )
    if len(arrays) == len(names):
        raise ValueError(
            f"given must leave at least one column free, got all {len(names)}: the density of whole rows is "
            "log_density(X_new)"
        )
    lengths = {names[column]: len(array) for column, array in arrays.items() if array.ndim == 1}
    if len(set(lengths.values())) > 1:
        seen = ", ".join(f"{length} of {name!r}" for name, length in lengths.items())
        raise ValueError(f"given must hold as many values of each column, or one number, got {seen}")
    M, order = next(iter(lengths.values()), 1), sorted(arrays)
    own = tuple(names[column] for column in order)
    values = np.empty((M, len(order)))
    for j, column in enumerate(order):
        values[:, j] = arrays[column]
    if order:
        gaps = checks.NotFinite(own, "given")
        gaps.look(values, 0)
        gaps.refuse()
        checks.new_data(values, own, "given")
    values.flags.writeable = False
    return Conditional(trace, tuple(name for name in names if name not in own), own, values)


def _column(key: Any, names: tuple[str, ...]) -> int:
    """The position of a column that is given by its name or position."""
    if isinstance(key, (int, np.integer)) and not isinstance(key, bool):
        if not 0 <= key < len(names):
            raise ValueError(f"given must have positions of columns in 0..{len(names) - 1}, got {key}")
        return int(key)
    if key in names:
        return names.index(key)
    near = difflib.get_close_matches(key, names, 1) if isinstance(key, str) else []
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise ValueError(f"given must name columns among {list(names)}, got {key!r}{hint}")


def _values(name: str, value: Any) -> FloatArray:
    """Values of a column that is given: a number () or an array (M,)."""
    what, is_one = f"given[{name!r}]", np.ndim(value) == 0
    if np.ndim(value) > 1:
        raise ValueError(f"{what} must be a number or one-dimensional, got shape {np.shape(value)}")
    table, _ = checks.table([value] if is_one else value, what, 1)
    return table[0, 0] if is_one else table[:, 0]
