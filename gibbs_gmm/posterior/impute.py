"""Missing values given what was observed of a row, under the posterior of the mixture."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from gibbs_gmm import checks
from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray
from gibbs_gmm.model.known_labels import tags_of
from gibbs_gmm.posterior.predict import Seen, kinds_of, new_rows
from gibbs_gmm.seeds import seed_sequence
from gibbs_gmm.trace import Trace

_DRAWS = 1000  # draws of the posterior that moments are averaged over, at most
_NUMBERS = 1 << 21  # that a block of rows and draws may take at a time


@dataclasses.dataclass(frozen=True, eq=False)
class Imputation:
    """Rows with their missing values filled in.

    Attributes
    ----------
    mean, std : (N, D) float64
        Posterior mean and standard deviation of each value; those of an observed value are the value itself and 0.
    """

    mean: FloatArray
    std: FloatArray
    _trace: Trace = dataclasses.field(repr=False)
    _X: AnyArray = dataclasses.field(repr=False)
    _errors: FloatArray | None = dataclasses.field(repr=False)
    _tags: IntArray | None = dataclasses.field(repr=False)

    def draws(self, n: int, rng: Any = None) -> FloatArray:
        """Fill in the rows ``n`` times: proper multiple imputation (Rubin 1987).

        Each filling is of another draw of weights, means and covariances: of a row its component is drawn given what
        was observed, then its missing values given both.

        Parameters
        ----------
        n : int
            How many.
        rng : int, sequence of ints, SeedSequence, Generator, RandomState or None
            Seed.

        Returns
        -------
        (n, N, D) float64
        """
        n = checks.integer("n", n, 1)
        generator = np.random.Generator(np.random.PCG64(seed_sequence(rng)))
        C, T = self._trace.n_clusters.shape
        chosen = generator.choice(C * T, n, replace=n > C * T)
        result = np.empty((n, *self._X.shape))
        result[:] = self._X
        for rows, seen in kinds_of(self._X, self._errors):
            missing = np.setdiff1d(np.arange(self._X.shape[1]), seen.columns)
            if len(missing) == 0:
                continue
            for j, t in enumerate(chosen):
                law = _Conditional.of(self._trace, np.array([t]), seen, missing)
                root = np.linalg.cholesky(law.covariance[0])
                for block in _blocks(rows, law.size):
                    share, mean = law.given(self._X[block][:, seen.columns], _of(self._tags, block))
                    u = generator.random(len(block))
                    k = (np.cumsum(share[0], axis=0) <= u).sum(0).clip(max=len(root) - 1)
                    noise = generator.standard_normal((len(block), len(missing), 1))
                    values = mean[0][k, :, np.arange(len(block))] + (root[k] @ noise)[..., 0]
                    result[j, block[:, None], missing] = values
        return result


def impute(trace: Trace, X: Any, errors: Any = None, labels: Any = None) -> Imputation:
    """See :meth:`gibbs_gmm.trace.Trace.impute`."""
    rows, noise = new_rows(trace, X, errors, "X")
    tags = None if labels is None else tags_of(labels, len(rows), trace.label_names)
    mean, std = np.array(rows, np.float64), np.zeros(rows.shape)
    draws = np.unique(np.linspace(0, trace.n_clusters.size - 1, _DRAWS).astype(np.int64))
    for own, seen in kinds_of(rows, noise):
        missing = np.setdiff1d(np.arange(rows.shape[1]), seen.columns)
        if len(missing) == 0:
            continue
        first, second = np.zeros((2, len(missing), len(own)))
        centre = np.asarray(trace.prior.mu_0[missing], np.float64)[:, None]
        step = max(1, _NUMBERS // (trace.weights.shape[2] * rows.shape[1] ** 2))
        for start in range(0, len(draws), step):
            law = _Conditional.of(trace, draws[start : start + step], seen, missing)
            variance = np.einsum("tkmm->tkm", law.covariance)
            place = 0
            for block in _blocks(own, law.size):
                share, values = law.given(rows[block][:, seen.columns], _of(tags, block))
                part = slice(place, place + len(block))
                first[:, part] += np.einsum("tkn,tkmn->mn", share, values - centre)
                second[:, part] += np.einsum("tkn,tkmn->mn", share, (values - centre) ** 2 + variance[..., None])
                place += len(block)
        first /= len(draws)
        mean[own[:, None], missing] = (first + centre).T
        std[own[:, None], missing] = np.sqrt(np.maximum(second / len(draws) - first**2, 0.0)).T
    for array in (mean, std):
        array.flags.writeable = False
    return Imputation(mean, std, trace, rows, noise, tags)


def _of(tags: IntArray | None, rows: IntArray) -> IntArray | None:
    return None if tags is None else tags[rows]


def _blocks(rows: IntArray, size: int) -> Iterator[IntArray]:
    """Rows in blocks, of which each row takes ``size`` numbers."""
    step = max(1, _NUMBERS // size)
    for start in range(0, len(rows), step):
        yield rows[start : start + step]


@dataclasses.dataclass(frozen=True)
class _Conditional:
    """Components of B draws, given d columns of a row, of the m others.

    log_w (B, K) less half of the log determinant of what is seen; mu (B, K, D) of both; the root's inverse W (B, K, d,
    d); gain (B, K, m, d) with conditional means mu_m + gain W (x - mu_o); covariance (B, K, m, m).
    """

    log_w: FloatArray
    mu_seen: FloatArray
    mu_missing: FloatArray
    W: FloatArray
    gain: FloatArray
    covariance: FloatArray

    @property
    def size(self) -> int:
        """Numbers that a row takes."""
        return int(self.W.shape[0] * self.W.shape[1] * (self.W.shape[2] + 2 * self.gain.shape[2]))

    @classmethod
    def of(cls, trace: Trace, draws: IntArray, seen: Seen, missing: IntArray) -> _Conditional:
        """Of some draws of a trace, counted over all chains."""
        C, T, K, D = trace.means.shape
        c, t = np.divmod(draws, T)
        w, mu = trace.weights[c, t], np.array(trace.means[c, t])
        S = np.array(trace.covariances.reshape(C * T, K, D, D)[draws])
        free = np.isnan(mu[..., 0])
        mu[free], S[free] = 0.0, np.eye(D)
        o = seen.columns
        T_oo = S[..., o[:, None], o] + (0.0 if seen.error is None else seen.error)
        W = np.linalg.inv(np.linalg.cholesky(T_oo))
        gain = S[..., missing[:, None], o] @ W.swapaxes(-1, -2)
        covariance = S[..., missing[:, None], missing] - gain @ gain.swapaxes(-1, -2)
        size = np.einsum("tkmm->tkm", S[..., missing[:, None], missing])
        covariance[..., np.arange(len(missing)), np.arange(len(missing))] += 1e-14 * size
        with np.errstate(divide="ignore"):
            log_w = np.where(free, -np.inf, np.log(w)) + np.log(np.einsum("tkii->tki", W)).sum(-1)
        return cls(log_w, mu[..., o], mu[..., missing], W, gain, covariance)

    def given(self, x: AnyArray, tags: IntArray | None) -> tuple[FloatArray, FloatArray]:
        """Of rows x (n, d): the probabilities (B, K, n) of components, and the conditional means (B, K, m, n).

        A row of a known kind, tags (n,) where it is not -1, is of that component.
        """
        y = self.W @ (x.T - self.mu_seen[..., None])
        log_p = self.log_w[..., None] - 0.5 * np.square(y).sum(2)
        if tags is not None:
            other = (tags >= 0) & (tags != np.arange(log_p.shape[1])[:, None])
            log_p = np.where(other, -np.inf, log_p)
        p = np.exp(log_p - log_p.max(1, keepdims=True))
        return p / p.sum(1, keepdims=True), self.mu_missing[..., None] + self.gain @ y
