"""Rows that are not known in full, sorted by what is missing and how well the rest was measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gibbs_gmm import checks
from gibbs_gmm.kernels.random import draw_key
from gibbs_gmm.kernels.sampler import latent_factors as kernels
from gibbs_gmm.kernels.sampler.start_fills import fill_gaps
from gibbs_gmm.kernels.sampler.state import Data, Latent, nothing_latent
from gibbs_gmm.kernels.tile import LOG2_E
from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray

_SAMPLE = 10_000  # rows whose values gaps are filled with for a start


def kinds_of_rows(X: AnyArray, errors: FloatArray | None = None) -> Latent:
    """What is latent in rows X (N, D), NaN where nothing was observed, without the values of a chain; all rows are
    exact where ``errors`` is None, else these are variances (D,) or (N, D), or covariance matrices (N, D, D), of what
    was observed. Of rows that are elsewhere ``recorded`` is left out.

    Rows of one kind lack the same columns and have the same errors.
    """
    N, D = X.shape
    missing = checks.missing(X)
    if errors is None:
        latent, noise = missing, np.zeros((N, 0))
    else:
        full = errors.ndim == 3
        variance = np.einsum("ndd->nd", errors) if full else np.broadcast_to(errors, (N, D))
        latent = missing | (variance > 0.0)
        measured = latent & ~missing
        noise = np.where(measured, variance, 0.0)
        if full:
            both = measured[:, :, None] & measured[:, None, :]
            noise = np.where(both, errors, 0.0).reshape(N, D * D)
    rows = np.flatnonzero(latent.any(1))
    if len(rows) == 0:
        return nothing_latent()
    first, group, counts = alike(np.hstack([missing[rows], latent[rows]]), noise[rows])
    order = np.lexsort((first, -counts))  # kinds of one row in the order of the rows: a pass meets them as they lie
    kind, own = rows[first[order]], np.full(N, -1)
    own[rows] = np.argsort(order)[group]
    size, n_missing = latent[kind].sum(1), missing[kind].sum(1)
    weights, log_det = _inverses(noise[kind], D)
    sets, set_of, _ = alike(latent[kind], np.zeros((len(kind), 0)))
    which = np.argsort(-np.bincount(set_of, weights=counts[order]), kind="stable")
    here = errors is not None and isinstance(X, np.ndarray)
    enough = kernels.many_rows(N)
    frequent = np.bincount(set_of, weights=counts[order])[which] >= enough
    leading = np.cumprod(frequent & (size[sets[which]] <= kernels.WIDEST)) if noise.shape[1] == D else np.zeros(0)
    return nothing_latent()._replace(
        group=own,
        recorded=np.array(X, np.float64) if here else np.zeros((0, 0)),
        size=size,
        columns=np.ascontiguousarray(np.argsort(~latent[kind], axis=1, kind="stable")),
        noise=np.zeros((0, 0)) if errors is None else LOG2_E * weights,
        constant=kernels.log_row_constant(n_missing, size - n_missing, log_det),
        shared=np.array([np.count_nonzero(counts > 1), np.count_nonzero(counts >= enough), int(leading.sum())]),
        pattern=np.argsort(which)[set_of],
        first=sets[which],
    )


def alike(pattern: AnyArray, noise: FloatArray) -> tuple[IntArray, IntArray, IntArray]:
    """Of each kind of row its first, the kind of each row, and how many rows each has."""
    key = np.hstack([np.packbits(pattern, axis=1), np.ascontiguousarray(noise + 0.0).view(np.uint8)])
    key = np.ascontiguousarray(key).view(np.dtype((np.void, key.shape[1])))[:, 0]
    _, first, group, counts = np.unique(key, return_index=True, return_inverse=True, return_counts=True)
    return first, group, counts


def _inverses(noise: FloatArray, D: int) -> tuple[FloatArray, FloatArray]:
    """The inverses of variances (G, D), 0 where they are, or of the blocks that are not 0 of matrices (G, D D); and the
    logarithms of their determinants (G,)."""
    if noise.shape[1] == 0:
        return noise, np.zeros(len(noise))
    if noise.shape[1] == D:
        some = noise > 0.0
        safe = np.where(some, noise, 1.0)
        return np.where(some, 1.0 / safe, 0.0), np.log(safe).sum(1)
    E = noise.reshape(-1, D, D).copy()
    none = np.einsum("gdd->gd", E) == 0.0
    E[:, np.arange(D), np.arange(D)] += none
    inverse = np.linalg.inv(E)
    inverse[:, np.arange(D), np.arange(D)] -= none
    return 0.5 * (inverse + inverse.transpose(0, 2, 1)).reshape(-1, D * D), np.linalg.slogdet(E)[1]


def not_exact(latent: Latent) -> AnyArray:
    """Which values of the rows in ``latent.group`` are not exact, (N, D)."""
    G, D = latent.columns.shape
    of_kind = np.zeros((G + 1, D), bool)  # the last row is that of exact rows, -1
    np.put_along_axis(of_kind[:G], latent.columns, np.arange(D) < latent.size[:, None], axis=1)
    found: AnyArray = of_kind[latent.group]
    return found


def count_not_exact(latent: Latent) -> IntArray:
    """How many values of each row are not exact, (N,)."""
    return np.append(latent.size, 0)[latent.group]


class Fills(NamedTuple):
    """What gaps are filled with for a start: values seen (S, D) of each column, sizes (D,) of them, by a key."""

    key: np.uint64
    seen: FloatArray
    sizes: IntArray

    @classmethod
    def of(cls, rng: np.random.Generator, data: Data) -> Fills:
        """Values of a sample of the rows; the typical one of a column that has none there."""
        N = len(data.X)
        index = np.unique(np.linspace(0, N - 1, min(N, _SAMPLE)).astype(np.int64))
        seen = np.sort(np.asarray(data.X[index], np.float64), axis=0)  # NaN go last
        sizes = np.count_nonzero(~np.isnan(seen), axis=0)
        seen[0, sizes == 0] = data.loc[sizes == 0]
        return cls(np.uint64(draw_key(rng)), seen, np.maximum(sizes, 1))

    def into(self, rows: IntArray, values: FloatArray) -> None:
        """Fill the gaps of rows of these numbers, values (M, D)."""
        fill_gaps(self.key, self.seen, self.sizes, rows, values)


class FilledRows:
    """Rows (N, D) that are elsewhere, with gaps as a chain starts with them: rows come when they are indexed."""

    def __init__(self, X: Any, fills: Fills) -> None:
        self._X, self.fills, self.shape, self.ndim = X, fills, X.shape, 2

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, index: IntArray) -> FloatArray:
        values = np.array(self._X[index], np.float64)
        self.fills.into(index, values)
        return values


def filled_in(rng: np.random.Generator, data: Data, capacity: int) -> Data:
    """The data of one chain: missing values are those of rows drawn at random, for a start; measured ones as measured.

    ``capacity`` is how many components there may be. Rows that are elsewhere are filled where they are; here they are
    :class:`FilledRows`.
    """
    latent = data.latent
    if len(latent.group) == 0:
        return data
    fills = Fills.of(rng, data)
    if not isinstance(data.X, np.ndarray):
        return data._replace(X=FilledRows(data.X, fills))
    values = np.array(data.X, np.float64)
    fills.into(np.arange(len(values)), values)
    room = kernels.new_room(latent, capacity, values.shape[1])
    shown = values.view()
    shown.flags.writeable = False
    return data._replace(X=shown, latent=latent._replace(values=values, room=room))


def _by_kind(latent: Latent, changed: Callable[[AnyArray], AnyArray]) -> Latent:
    """With its arrays that have an entry for each kind of row changed."""
    return latent._replace(
        size=changed(latent.size),
        columns=changed(latent.columns),
        noise=changed(latent.noise) if len(latent.noise) > 0 else latent.noise,
        constant=changed(latent.constant),
        pattern=changed(latent.pattern),
    )


class PartOfRows(NamedTuple):
    """What is latent in some of N rows, as it is sent to where they are.

    latent: of these rows and of the kinds of rows that they need, whose numbers among all n_kinds are in kinds. Rows of
    known errors have theirs in ``noise``.
    """

    latent: Latent
    kinds: IntArray
    n_kinds: int

    @classmethod
    def of(cls, latent: Latent, first: int, last: int) -> PartOfRows:
        """Of rows first .. last: their own kinds, and those that every pass prepares."""
        group = latent.group[first:last]
        every = (group[group >= 0], np.arange(latent.shared[0]), latent.first)
        kinds = np.unique(np.concatenate(every))
        own = np.where(group >= 0, np.searchsorted(kinds, group), -1)
        return cls(_by_kind(latent, lambda array: array[kinds])._replace(group=own), kinds, len(latent.size))

    def in_place(self, new: Any, N: int, first: int, X: AnyArray) -> Latent:
        """What is latent in all N rows, as far as it is known here: X are rows from number ``first`` on. ``new`` makes
        room of a shape and type."""
        latent, own = self.latent, self.latent.group

        def all_kinds(array: AnyArray) -> AnyArray:
            room: AnyArray = new((self.n_kinds, *array.shape[1:]), array.dtype)
            room[self.kinds] = array
            return room

        group = new((N,), np.int64)
        group[first : first + len(own)] = np.where(own >= 0, self.kinds[own], -1)
        recorded = latent.recorded
        if len(latent.noise) > 0:
            recorded = new((N, X.shape[1]), np.float64)
            recorded[first : first + len(own)] = X
        return _by_kind(latent, all_kinds)._replace(group=group, recorded=recorded)
