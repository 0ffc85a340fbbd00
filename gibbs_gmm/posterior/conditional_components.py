"""Components of a trace's draws, made ready for rows of which some columns are given."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import numpy as np

from gibbs_gmm.errors import NumericalError
from gibbs_gmm.kernels.posterior.predictive import JOINT, NORMAL
from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray
from gibbs_gmm.posterior.predict import held_slots, rest_weight, unoccupied
from gibbs_gmm.trace import Trace

_FARTHEST = 1e300  # squared distances are at most that, so that they stay finite


@dataclasses.dataclass(frozen=True, eq=False)
class Given:
    """P components, given some columns of R rows.

    Attributes
    ----------
    log_weight : (P, R) float64
        Logarithm of their weight times their density of the columns given.
    mean : (P, F, R) float64
        Means of the free columns.
    scale : (P, R) or, where it is always 1, (P, 1) float64
        What their factor of the free columns is multiplied by.
    """

    log_weight: FloatArray
    mean: FloatArray
    scale: FloatArray


@dataclasses.dataclass(frozen=True, eq=False)
class Components:
    """P components of one law, of which the first G columns are given and the other F are free.

    Law NORMAL is N(mean, L L'); JOINT a multivariate t about mean with scale matrix L L'; PRODUCT a t in each column.

    Attributes
    ----------
    law : int
        Of :mod:`gibbs_gmm.kernels.posterior.predictive`.
    df, df_free : float
        Degrees of freedom, and those of the free columns given the others; inf where the law is normal.
    draw, slot : (P,) int64
        Which they are: the draw, counted over all chains, and the slot, or K for the unoccupied components together.
    log_weight : (P,) float64
        Logarithm of their weight over the determinant of L's block of the given columns.
    mean : (P, D) float64
    V, slope, factor : (P, G, G), (P, F, G), (P, F, F) float64
        The inverse of L's block of the given columns, and L's other rows. With y = V (x_1 - mean_1), the free columns
        have the mean mean_2 + slope y and the factor ``factor`` times a scale.
    """

    law: int
    df: float
    df_free: float
    draw: IntArray
    slot: IntArray
    log_weight: FloatArray
    mean: FloatArray
    V: FloatArray
    slope: FloatArray
    factor: FloatArray

    def given(self, x: FloatArray) -> Given:
        """The components given rows x (R, G) of the given columns."""
        G = x.shape[1]
        y = self.V @ (x.T - self.mean[:, :G, None])
        log_weight = self.log_weight[:, None] + _log_standard(y, self.law, self.df)
        # A multivariate t given a part of it is one (Kotz & Nadarajah 2004, section 1.11).
        scale = np.sqrt((self.df + _squares(y)) / self.df_free) if self.law == JOINT else np.ones((len(y), 1))
        return Given(log_weight, self.mean[:, G:, None] + self.slope @ y, scale)

    def log_density(self, x: FloatArray, given: Given) -> FloatArray:
        """Log densities (P, R) of rows x (R, F) of the free columns, given the others."""
        F = x.shape[1]
        y = np.linalg.inv(self.factor) @ (x.T - given.mean) / given.scale[:, None, :]
        log_determinant = _log_determinant(self.factor)[:, None] + F * np.log(given.scale)
        return np.asarray(_log_standard(y, self.law, self.df_free) - log_determinant, np.float64)

    @property
    def inflation(self) -> float:
        """Covariances of the free columns are this times scale^2 times factor factor'; inf where they do not exist."""
        if self.law == NORMAL:
            return 1.0
        return self.df_free / (self.df_free - 2.0) if self.df_free > 2.0 else math.inf


def components(trace: Trace, order: IntArray, n_given: int, most: int) -> Iterator[Components]:
    """All components of a trace, columns in this order, the first ``n_given`` given: some draws at a time.

    Of these, components that the trace holds come first, then the unoccupied ones, if they have any weight. Draws are
    as many as have ``most`` slots, or one.
    """
    C, T, K, D = trace.means.shape
    weights, means = trace.weights.reshape(C * T, K), trace.means.reshape(C * T, K, D)
    covariances = trace.covariances.reshape(C * T, K, D, D)
    held, rest, (law, df, scale) = held_slots(trace), rest_weight(trace), unoccupied(trace)

    def made(
        law: int, df: float, draw: IntArray, slot: IntArray, weight: FloatArray, mean: FloatArray, A: AnyArray
    ) -> Components:
        A, G = A[:, order[:, None], order], n_given
        try:
            L = np.linalg.cholesky(A)
        except np.linalg.LinAlgError:
            bad = next(p for p, one in enumerate(A) if not _is_positive(one))
            what = "the scale of the prior" if slot[bad] == K else f"the covariance matrix of component {slot[bad]}"
            raise NumericalError(
                f"chain {draw[bad] // T}, draw {draw[bad] % T}: {what} is not positive definite"
            ) from None
        with np.errstate(divide="ignore"):  # a weight may be 0
            log_weight = np.log(weight) - _log_determinant(L[:, :G, :G])
        df_free = df + G if law == JOINT else df
        V = np.asarray(np.linalg.inv(L[:, :G, :G]), np.float64)
        return Components(law, df, df_free, draw, slot, log_weight, mean[:, order], V, L[:, G:, :G], L[:, G:, G:])

    size = max(1, most // K)
    for start in range(0, C * T, size):
        own = slice(start, start + size)
        t, k = np.nonzero(held[own])
        yield made(NORMAL, math.inf, start + t, k, weights[own][t, k], means[own][t, k], covariances[start + t, k])
        t = start + np.flatnonzero(rest[own] > 0.0)
        if len(t) > 0:
            A = scale[t] if law == NORMAL else scale[t] / df
            yield made(law, df, t, np.full(len(t), K), rest[t], np.tile(trace.prior.mu_0, (len(t), 1)), A)


def _log_standard(y: FloatArray, law: int, df: float) -> FloatArray:
    """Log density (P, R) of a law of y (P, d, R) about 0 with the scale 1."""
    d = y.shape[1]
    if law == NORMAL:
        result = -0.5 * (_squares(y) + d * math.log(2.0 * math.pi))
    elif law == JOINT:
        log_norm = math.lgamma(0.5 * (df + d)) - math.lgamma(0.5 * df) - 0.5 * d * math.log(math.pi * df)
        result = log_norm - 0.5 * (df + d) * np.log1p(_squares(y) / df)
    else:
        log_norm = math.lgamma(0.5 * (df + 1.0)) - math.lgamma(0.5 * df) - 0.5 * math.log(math.pi * df)
        with np.errstate(over="ignore"):
            tails = np.log1p(np.minimum(np.square(y), _FARTHEST) / df).sum(1)
        result = d * log_norm - 0.5 * (df + 1.0) * tails
    return np.asarray(result, np.float64)


def _squares(y: FloatArray) -> FloatArray:
    """Sums of squares over the columns of y (P, d, R), (P, R)."""
    with np.errstate(over="ignore"):
        return np.asarray(np.minimum(np.einsum("pdr,pdr->pr", y, y), _FARTHEST), np.float64)


def _log_determinant(L: FloatArray) -> FloatArray:
    """Log determinants (P,) of triangular matrices (P, d, d)."""
    result: FloatArray = np.log(np.diagonal(L, axis1=1, axis2=2)).sum(1)
    return result


def _is_positive(A: FloatArray) -> bool:
    try:
        np.linalg.cholesky(A)
    except np.linalg.LinAlgError:
        return False
    return True
