"""New rows under the posterior predictive: their density, the cluster they belong to, and draws of them.

The density of a new row given a draw is that of the draw's mixture, its unoccupied components included. Given the
hyperparameters, the parameters of unoccupied components are independent of the data. Where a trace does not hold them
(an unknown number of components) they are integrated out: together they have the prior predictive density, a
multivariate t at the draw's hyperparameters, with weight ``1 - weights.sum(-1)``. Components that it holds are used.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from gibbs_gmm import checks
from gibbs_gmm.data import checked_errors
from gibbs_gmm.device_rows import checked_device, rows_here
from gibbs_gmm.errors import NumericalError
from gibbs_gmm.kernels.posterior import predictive as kernels
from gibbs_gmm.kernels.tile import LOG2_E, TILE
from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray
from gibbs_gmm.latent import alike
from gibbs_gmm.model.expanded import DiagonalMatrices
from gibbs_gmm.model.normal_inverse_gamma import NormalInverseGamma
from gibbs_gmm.posterior.clustering import Partition, clusters_of, clusters_with_most
from gibbs_gmm.posterior.near_rows import near_each_other
from gibbs_gmm.posterior.relabel import Relabelling
from gibbs_gmm.seeds import seed_sequence
from gibbs_gmm.threads import Threads
from gibbs_gmm.trace import Trace

_BLOCK_BYTES = 1 << 20  # factorised draws that are held at a time: they should stay in a cache
_LEAST_DRAWS = 8  # and at least so many
_MOST_ROWS = 1 << 14  # rows of one task: Ctrl-C waits for no more than that times the draws of a block
_SAMPLE_ROWS = 1 << 14
_NONE = np.zeros(0, np.int64)


def log_density(
    trace: Trace, X_new: Any, threads: int | None = None, errors: Any = None, device: str = "cpu"
) -> FloatArray:
    """Log posterior predictive density of rows; see :meth:`gibbs_gmm.trace.Trace.log_density`."""
    X, noise = new_rows(trace, X_new, errors, device=device)
    C, T, K = trace.weights.shape
    top, mass = _sums(trace, X, noise, np.zeros((C * T, K + 1), np.int64), 1, threads, device=device)
    if trace._outliers is not None and trace.outlier_weight is not None:
        mass[0] += trace.outlier_weight.sum() * _relative(trace._outliers.log_density_within(X), top)
    return np.asarray((top + np.log2(mass[0])) / LOG2_E - math.log(C * T), np.float64)


def pointwise_log_density(
    trace: Trace, X: Any, threads: int | None = None, name: str = "X", errors: Any = None
) -> FloatArray:
    """Log density of each row under each draw; see :meth:`gibbs_gmm.trace.Trace.pointwise_log_density`."""
    rows, noise = new_rows(trace, X, errors, name)
    C, T, N = *trace.n_clusters.shape, len(rows)
    result = np.empty((C * T, N))
    location = _location(trace)
    with Threads(threads) as workers:
        for own, seen in kinds_of(rows, noise):
            values, loc, near = _values(rows, own, seen), location[seen.columns], None
            for start, mixtures in _blocks(trace, loc, workers, seen):
                if start == 0 and (near := near_each_other(values, loc, mixtures, workers, _MOST_ROWS)):
                    values, own = near[0], own[near[1]]
                n = len(mixtures.n)
                whole = seen.everything and near is None
                out = result[start : start + n] if whole else np.empty((n, len(values)))
                task = functools.partial(kernels.log_densities, values, loc, mixtures, out, near[2] if near else _NONE)
                workers.run(task, len(values), TILE, _MOST_ROWS)
                if not whole:
                    result[start : start + n, own] = out
    if trace._outliers is not None and trace.outlier_weight is not None:
        log_density = trace._outliers.log_density_within(rows)
        inside = log_density > -np.inf
        with np.errstate(divide="ignore"):
            log_weight = np.log(trace.outlier_weight.reshape(-1, 1)) + log_density[inside]
        result[:, inside] = np.logaddexp(result[:, inside], log_weight)
    return result.reshape(C, T, N)


def predict_proba(
    trace: Trace,
    X_new: Any,
    reference: Any = None,
    threads: int | None = None,
    errors: Any = None,
    device: str = "cpu",
) -> FloatArray:
    """Probabilities of clusters for new rows; see :meth:`gibbs_gmm.trace.Trace.predict_proba`."""
    X, noise = new_rows(trace, X_new, errors, device=device)
    cluster, counted, J = clusters_of_components(trace, reference)
    C, T, K = cluster.shape
    column = np.full((C * T, K + 1), J, np.int64)
    column[:, :K] = cluster.reshape(C * T, K)
    top, mass = _sums(trace, X, noise, column, J + 1, threads, counted.ravel(), device)
    mass[J] += _mass_of_outliers(trace, X, top, counted)
    return np.asarray((mass / mass.sum(0)).T, np.float64, order="C")


def outlier_probability(trace: Trace, X_new: Any, threads: int | None = None) -> FloatArray:
    """Of new rows: see :meth:`gibbs_gmm.trace.Trace.outlier_probability`."""
    X, noise = new_rows(trace, X_new, None)
    C, T, K = trace.weights.shape
    top, mass = _sums(trace, X, noise, np.zeros((C * T, K + 1), np.int64), 1, threads)
    outliers = _mass_of_outliers(trace, X, top, np.ones((C, T), bool))
    return np.asarray(outliers / (mass[0] + outliers), np.float64)


def _mass_of_outliers(trace: Trace, X: AnyArray, top: FloatArray, counted: AnyArray) -> FloatArray | float:
    """What outliers add to the masses of :func:`_sums`, of the draws that are ``counted`` (C, T)."""
    if trace._outliers is None or trace.outlier_weight is None:
        return 0.0
    log_density = trace._outliers.log_densities(np.asarray(X, np.float64))
    return np.asarray(trace.outlier_weight[counted].sum() * _relative(log_density, top))


def _relative(log_density: FloatArray | float, top: FloatArray) -> FloatArray:
    """A density over 2^top, at most 1e300."""
    return np.asarray(np.exp2(np.minimum(LOG2_E * log_density - top, 996.0)))


def predict(
    trace: Trace,
    X_new: Any,
    reference: Any = None,
    threads: int | None = None,
    errors: Any = None,
    device: str = "cpu",
) -> IntArray:
    """Most probable clusters of new rows; see :meth:`gibbs_gmm.trace.Trace.predict`."""
    proba = predict_proba(trace, X_new, reference, threads, errors, device)
    labels = proba.argmax(1)
    return np.where(labels == proba.shape[1] - 1, -1, labels)


def clusters_of_components(trace: Trace, reference: Any) -> tuple[IntArray, AnyArray, int]:
    """What each component of each draw stands for, 0..J-1 or J for none (C, T, K); the draws that count (C, T); J."""
    if reference is None or (isinstance(reference, Partition) and reference.loss is None):
        reference = trace.relabel()
    if isinstance(reference, Relabelling):
        if reference.permutation.shape != trace.weights.shape:
            raise ValueError(
                f"reference must be a relabelling of this trace, {trace.weights.shape}, got one of "
                f"{reference.permutation.shape}"
            )
        return clusters_of(reference), reference.counted, reference.n_matched
    labels = _labels(trace, reference)
    if trace.assignments is None:
        raise ValueError(
            "a trace without assignments cannot be compared with a partition; fit with save_assignments=True, or leave "
            "reference out"
        )
    return clusters_with_most(trace, labels), np.ones(trace.n_clusters.shape, dtype=bool), int(labels.max()) + 1


def _labels(trace: Trace, reference: Any) -> IntArray:
    """The labels of a partition, or that are one, checked."""
    labels, N = np.asarray(getattr(reference, "labels", reference)), trace.n_rows
    if labels.shape != (N,) or labels.dtype.kind not in "iu":
        seen = f"shape {labels.shape} and dtype {labels.dtype}" if labels.dtype.kind != "O" else repr(reference)
        raise ValueError(
            f"reference must be a partition, a relabelling or {N} integer labels, one for each fitted row, got {seen}"
        )
    if labels.min() < 0:
        raise ValueError(f"reference must hold labels 0, 1, ..., got {labels.min()}")
    return labels.astype(np.int64)


def sample(trace: Trace, n: int, rng: Any = None) -> tuple[FloatArray, IntArray, IntArray]:
    """``n`` rows from the posterior predictive, and of each its draw (counted over all chains) and component.

    A draw is chosen uniformly, one of its components by their weights, and a row from this component. Unoccupied
    components that are not in the trace have number K, outliers -1.
    """
    n = checks.integer("n", n, 1)
    generator = np.random.Generator(np.random.PCG64(seed_sequence(rng)))
    C, T, K, D = trace.means.shape
    draw = generator.integers(C * T, size=n)
    weights = np.hstack([trace.weights.reshape(C * T, K), rest_weight(trace)[:, None]])
    component, u = np.empty(n, np.int64), generator.random(n)
    for start in range(0, n, _SAMPLE_ROWS):
        own = slice(start, start + _SAMPLE_ROWS)
        cumulated = np.cumsum(weights[draw[own]], axis=1)
        # Counted are the components before it; one of weight 0 is never it, since u < 1.
        component[own] = (cumulated <= u[own, None] * cumulated[:, -1:]).sum(1)
    X, new = generator.standard_normal((n, D)), component == K
    law, df, scale = unoccupied(trace)
    if law != kernels.NORMAL:
        size = (int(new.sum()), D if law == kernels.PRODUCT else 1)
        X[new] /= np.sqrt(generator.chisquare(df, size))
    means, covariances = trace.means.reshape(C * T, K, D), trace.covariances.reshape(C * T, K, D, D)
    pair = draw * (K + 1) + component
    order = np.argsort(pair, kind="stable")
    for start in range(0, n, _SAMPLE_ROWS):
        rows = order[start : start + _SAMPLE_ROWS]
        pairs, which = np.unique(pair[rows], return_inverse=True)
        t, k = np.divmod(pairs, K + 1)
        prior, inside = k == K, np.minimum(k, K - 1)
        A = np.where(prior[:, None, None], scale[t], covariances[t, inside])
        centre = np.where(prior[:, None], trace.prior.mu_0, means[t, inside])
        X[rows] = centre[which] + np.einsum("nij,nj->ni", np.linalg.cholesky(A)[which], X[rows])
    if trace._outliers is not None and trace.outlier_weight is not None:
        outlier = generator.random(n) < trace.outlier_weight.reshape(-1)[draw]
        X[outlier] = generator.uniform(trace._outliers.low, trace._outliers.high, (int(outlier.sum()), D))
        component[outlier] = -1
    return X, draw, component


@dataclasses.dataclass(frozen=True)
class Seen:
    """What is seen of rows of one kind: which columns (d,), and the covariance (d, d) of the errors there, or None."""

    columns: IntArray
    error: FloatArray | None
    everything: bool = False
    """Whether all rows are of this kind, and all there is to see is seen, without an error."""


def new_rows(
    trace: Trace, X_new: Any, errors: Any, name: str = "X_new", device: str = "cpu"
) -> tuple[AnyArray, FloatArray | None]:
    """Rows like those of the fit, NaN where values are missing, and the variances of their errors."""
    given = checks.column_names(X_new, name)
    if checked_device(device) == "cuda":
        X_new = rows_here(X_new, name)
    X = checks.new_data(X_new, trace.columns, name, missing=True)
    return X, checked_errors(errors, X, trace.columns, given)


def kinds_of(X: AnyArray, errors: FloatArray | None) -> Iterator[tuple[IntArray, Seen]]:
    """Rows by what is missing and by their errors, each with the numbers of its rows."""
    N, D = X.shape
    missing, every = np.isnan(X), np.arange(D)
    if errors is None and not missing.any():
        yield np.arange(N), Seen(every, None, everything=True)
        return
    noise = np.zeros((N, 0))
    if errors is not None:
        noise = np.broadcast_to(errors, (N, D)) if errors.ndim < 3 else errors
        noise = noise.reshape(N, -1)
    first, group, counts = alike(missing, noise)
    rows = np.split(np.argsort(group, kind="stable"), np.cumsum(counts)[:-1])
    for i, own in zip(first, rows, strict=True):
        columns, error = np.flatnonzero(~missing[i]), None
        if errors is not None:
            whole = np.diag(noise[i]) if noise.shape[1] == D else noise[i].reshape(D, D)
            error = whole[np.ix_(columns, columns)]
        yield own, Seen(columns, error)


def _values(X: AnyArray, own: IntArray, seen: Seen) -> AnyArray:
    """What is seen of some rows."""
    return X if seen.everything else _read_only(X[own][:, seen.columns])


def _sums(
    trace: Trace,
    X: AnyArray,
    errors: FloatArray | None,
    column: IntArray,
    J: int,
    threads: int | None,
    counted: AnyArray | None = None,
    device: str = "cpu",
) -> tuple[FloatArray, FloatArray]:
    """top (N,) and mass (J, N): mass[j] 2^top is the sum of w_k N(x | mu_k, Sigma_k) over what counts towards j.

    Of the draws that are ``counted`` (C T,), all of them by default. x is what is seen of a row.
    """
    if device == "cuda":
        from gibbs_gmm.posterior import on_device

        on_device.require(trace, errors)
        step = on_device.rows_together(X.shape[1], J)
        if len(X) > step:
            starts = range(0, len(X), step)
            parts = [_sums(trace, X[i : i + step], None, column, J, threads, counted, device) for i in starts]
            return np.concatenate([part[0] for part in parts]), np.hstack([part[1] for part in parts])
    top, mass, location = np.full(len(X), kernels.LOWEST), np.zeros((J, len(X))), _location(trace)
    column = _held_first(trace, column)
    with Threads(threads) as workers:
        for rows, seen in kinds_of(X, errors):
            values, loc = _values(X, rows, seen), location[seen.columns]
            own_top, own_mass = (top, mass) if seen.everything else (top[rows], np.take(mass, rows, axis=1))
            there = on_device.RowsOnDevice(trace, values, loc, own_top, own_mass) if device == "cuda" else None
            near = None
            for start, mixtures in _blocks(trace, loc, workers, seen):
                if (
                    start == 0
                    and there is None
                    and (near := near_each_other(values, loc, mixtures, workers, _MOST_ROWS))
                ):
                    values = near[0]
                own = column[start : start + len(mixtures.n)]
                if counted is not None and not counted.all():
                    some = counted[start : start + len(own)]
                    own, names = own[some], mixtures._fields[:-2]
                    mixtures = mixtures._replace(**{name: getattr(mixtures, name)[some] for name in names})
                if there is not None:
                    there.add(mixtures, own)
                    continue
                arguments = values, loc, mixtures, own, own_top, own_mass, near[2] if near else _NONE
                workers.run(functools.partial(kernels.add_draws, *arguments), len(values), TILE, _MOST_ROWS)
            if near is not None:
                for array in (own_top, *own_mass):
                    array[near[1]] = array.copy()
            if there is not None:
                there.finish()
            if not seen.everything:
                top[rows], mass[:, rows] = own_top, own_mass
    return top, mass


def _blocks(trace: Trace, loc: FloatArray, workers: Threads, seen: Seen) -> Iterator[tuple[int, kernels.Mixtures]]:
    """Draws ready for the kernels, block by block in their order, with the number of the first; buffers are reused.

    They are those of what is seen. Any columns of a multivariate t are one of the same degrees of freedom; an error
    widens that of the unoccupied components, whose law with it is not a t, by its variance.
    """
    C, T, K, D = trace.means.shape
    d, block = len(seen.columns), (slice(None), slice(None), seen.columns[:, None], seen.columns)
    weights, means = (
        _read_only(_held_first(trace, array.reshape(C * T, *array.shape[2:]))) for array in (trace.weights, trace.means)
    )
    means = means if seen.everything else _read_only(means[..., seen.columns])
    covariances = trace.covariances.reshape(C * T, K, D, D)
    place = _held_first(trace, np.broadcast_to(np.arange(K), (C * T, K)))
    rest, n_held, (law, df, scale) = rest_weight(trace), held_slots(trace).sum(1), unoccupied(trace)
    if trace.outlier_weight is not None:
        share = 1.0 - trace.outlier_weight.reshape(-1)
        weights, rest = _read_only(weights * share[:, None]), rest * share
    mu_0 = _read_only(trace.prior.mu_0[seen.columns])
    error = np.zeros((d, d)) if seen.error is None else seen.error
    B = min(C * T, max(_LEAST_DRAWS, _BLOCK_BYTES // (8 * (K + 1) * (d * d + d + 1))))
    buffers = kernels.Mixtures(
        W=np.empty((B, K + 1, d, d)),
        c=np.empty((B, K + 1, d)),
        log_c=np.empty((B, K + 1)),
        n=np.empty(B, np.int64),
        log_rest=np.empty(B),
        power=0.5 * (df + (d if law == kernels.JOINT else 1.0)),
        law=law,
    )
    for start in range(0, C * T, B):
        own = slice(start, min(start + B, C * T))
        size = own.stop - start
        mixtures = buffers._replace(**{name: getattr(buffers, name)[:size] for name in buffers._fields[:-2]})
        mixtures.n[:] = n_held[own]
        matrices = covariances[np.arange(own.start, own.stop)[:, None], place[own]]
        wide = scale[own]
        if not seen.everything:
            matrices = matrices[block] + error
            wide = wide[block[1:]] + (1.0 if law == kernels.NORMAL else df) * error
        prepare = functools.partial(
            kernels.prepare,
            mixtures,
            weights[own],
            means[own],
            _read_only(matrices),
            rest[own],
            mu_0,
            _read_only(wide),
            df,
            loc,
        )
        failed = next(filter(None, workers.run(prepare, size, 1, size)), 0)
        if failed != 0:
            t, k = divmod(failed - 1, K + 1)
            what = "the scale of the prior" if k == K else f"the covariance matrix of component {k}"
            c, t = divmod(start + t, T)
            raise NumericalError(f"chain {c}, draw {t}: {what} is not positive definite")
        yield start, mixtures


def held_slots(trace: Trace) -> AnyArray:
    """Which slots of each draw hold a component, (C T, K)."""
    held: AnyArray = ~np.isnan(trace.means[..., 0].reshape(-1, trace.weights.shape[2]))
    return held


def _held_first(trace: Trace, array: AnyArray) -> AnyArray:
    """``array`` (C T, K, ...) with the slots of each draw that hold a component put first.

    They are there already unless the trace was relabelled. A place K, if it has one, comes after the last of them.
    """
    held = held_slots(trace)
    slots, K = array.shape[1], held.shape[1]
    if slots > K:
        held = np.hstack([held, np.ones((len(held), 1), bool)])
    if (held[:, 1:] <= held[:, :-1]).all():
        return array
    order = np.argsort(~held, axis=1, kind="stable")
    return np.take_along_axis(array, order.reshape(*order.shape, *[1] * (array.ndim - 2)), axis=1)


def rest_weight(trace: Trace) -> FloatArray:
    """The weight of the components that a draw's slots do not hold, (C T,); exactly 0 where there are none."""
    rest = np.maximum(0.0, 1.0 - trace.weights.sum(-1)).reshape(-1)
    if trace.weight_prior.n_is_finite:
        rest[trace.n_components.reshape(-1) == held_slots(trace).sum(1)] = 0.0
    return np.asarray(rest, np.float64)


class _Scale:
    """The scale (C T, D, D) of a new row of an unoccupied component, made for the draws that are asked for."""

    def __init__(self, factor: FloatArray, scale: Any) -> None:
        self._factor, self._scale = factor, scale

    def __getitem__(self, draws: Any) -> FloatArray:
        result: FloatArray = self._factor[draws][:, None, None] * self._scale[draws]
        return result


def unoccupied(trace: Trace) -> tuple[int, float, _Scale]:
    """The law of a new row of an unoccupied component, its degrees of freedom, and its scale in each draw.

    It is scale / df of a t distribution, or the covariance of a normal one.
    """
    prior, draws, D = trace.prior, trace.n_clusters.size, trace.prior.n_features
    kappa_0 = np.broadcast_to(prior.kappa_0, draws) if trace.kappa_0 is None else trace.kappa_0.reshape(draws)
    factor = (kappa_0 + 1.0) / kappa_0
    if isinstance(prior, NormalInverseGamma):
        b_0 = np.asarray(prior.b_0) if trace.b_0 is None else trace.b_0.reshape(draws, *trace.b_0.shape[2:])
        is_diag = prior.covariance_type == "diag"
        diagonals = np.broadcast_to(b_0 if is_diag else b_0[..., None], (draws, D))
        law = kernels.PRODUCT if is_diag else kernels.JOINT
        return law, 2.0 * prior.a_0, _Scale(2.0 * factor, DiagonalMatrices(diagonals))
    if trace.covariance is not None:
        return kernels.NORMAL, math.inf, _Scale(factor, trace.covariance.reshape(draws, D, D))
    Psi_0 = prior.Psi_0 if trace.Psi_0 is None else trace.Psi_0.reshape(draws, D, D)
    return kernels.JOINT, prior.nu_0 - D + 1.0, _Scale(factor, np.broadcast_to(Psi_0, (draws, D, D)))


def _location(trace: Trace) -> FloatArray:
    """A point within the data, about which densities lose no digits: the mean of the first draw's mixture."""
    held = held_slots(trace)[0]
    weights, means = trace.weights[0, 0, held], trace.means[0, 0, held]
    return np.asarray(weights @ means / weights.sum(), np.float64)


def _read_only(array: FloatArray) -> FloatArray:
    """A read-only view in C order, so that the kernels are compiled for one kind of array only."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view
