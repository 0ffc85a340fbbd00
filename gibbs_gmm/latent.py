"""Rows that are not known in full, sorted by what is missing and how well the rest was measured."""

from __future__ import annotations

import numpy as np

from gibbs_gmm.kernels.sampler import latent_factors as kernels
from gibbs_gmm.kernels.sampler.state import Data, Latent, nothing_latent
from gibbs_gmm.kernels.tile import LOG2_E
from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray


def kinds_of_rows(X: AnyArray, errors: FloatArray | None = None) -> Latent:
    """What is latent in rows X (N, D), NaN where nothing was observed, without the values of a chain; all rows are
    exact where ``errors`` is None, else these are variances (D,) or (N, D), or covariance matrices (N, D, D), of what
    was observed.

    Rows of one kind lack the same columns and have the same errors.
    """
    N, D = X.shape
    missing = np.isnan(X)
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
    enough = kernels.many_rows(N)
    frequent = np.bincount(set_of, weights=counts[order])[which] >= enough
    leading = np.cumprod(frequent & (size[sets[which]] <= kernels.WIDEST)) if noise.shape[1] == D else np.zeros(0)
    return nothing_latent()._replace(
        group=own,
        recorded=np.zeros((0, 0)) if errors is None else np.array(X, np.float64),
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


def filled_in(rng: np.random.Generator, data: Data, capacity: int) -> Data:
    """The data of one chain: missing values are those of rows drawn at random, for a start; measured ones as measured.

    ``capacity`` is how many components there may be.
    """
    latent = data.latent
    if len(latent.group) == 0:
        return data
    values = np.array(data.X, np.float64)
    for column, typical in zip(values.T, data.loc, strict=True):
        missing = np.isnan(column)
        known = column[~missing] if not missing.all() else np.array([typical])
        column[missing] = rng.choice(known, np.count_nonzero(missing))
    room = kernels.new_room(latent, capacity, values.shape[1])
    shown = values.view()
    shown.flags.writeable = False
    return data._replace(X=shown, latent=latent._replace(values=values, room=room))
