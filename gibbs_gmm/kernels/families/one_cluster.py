"""Psi_0 and kappa_0 from their prior to their posterior given all rows as one cluster, by fractions of the rows.

They are functions of standard normal z (D, D + 1) and Gamma(shape_i, 1) variables v (D + 1,), all independent:

- WISHART: Psi_0 = F B B' F', FF' = E[Psi_0] / df, B lower triangular with normals below its diagonal and B_ii^2 = 2
  v_i, shape_i = (df - i) / 2, i = 0, 1, .. (Bartlett's decomposition).
- SHRUNK: (Psi_0)_ii = 2 v_i E[(Psi_0)_ii] / df, shape_i = df / 2, and its correlation matrix is (C + ridge I) / (1 +
  ridge), C that of zz' ~ Wishart(D + 1, I), which is uniform (Barnard, McCulloch & Meng 2000).
- kappa_0 = kappa_most exp(-v_D / kappa_shape), shape_D = 1.
"""

import math
from typing import NamedTuple

import numpy as np

from gibbs_gmm.kernels._jit import kernel
from gibbs_gmm.kernels.families.full import KAPPA, Prior, Scratch, log_marginal, new_scratch, normalise
from gibbs_gmm.kernels.families.generic import Statistics
from gibbs_gmm.kernels.families.hyperprior import FIXED, SHRUNK, WISHART, Hyperprior, multiply_lower
from gibbs_gmm.kernels.linalg import cholesky
from gibbs_gmm.kernels.types import FloatArray

_WALKS = 2
"""Metropolis steps of each v_i in a sweep."""


class Place(NamedTuple):
    """Where a chain is: z (D, D + 1), v (D + 1,), and the prior at the Psi_0 and kappa_0 that they stand for. The rest
    is scratch: B (D, D), the row and the normals (D + 1,) of a slice, and that of the family.
    """

    z: FloatArray
    v: FloatArray
    prior: Prior
    B: FloatArray
    row: FloatArray
    normals: FloatArray
    scratch: Scratch


def new_place(prior: Prior) -> Place:
    """A place at the prior's own Psi_0, with room for the rest."""
    D = len(prior.mu_0)
    row, normals, v = np.zeros((3, D + 1))
    own = Prior(*(array.copy() for array in prior))
    return Place(np.zeros((D, D + 1)), v, own, np.zeros((D, D)), row, normals, new_scratch(D))


@kernel
def set_scale(prior: Prior, hyper: Hyperprior, place: Place) -> int:
    """Psi_0 and its Cholesky factor from z and v. Returns 0, or the number of a pivot that is not positive."""
    z, v, Psi_0, L_0, B = place.z, place.v, place.prior.Psi_0, place.prior.L_0, place.B
    D = Psi_0.shape[0]
    if hyper.law == WISHART:
        for i in range(D):
            for j in range(i):
                B[i, j] = z[i, j]
            B[i, i] = math.sqrt(2.0 * v[i])
        multiply_lower(prior.L_0, B, 1.0 / math.sqrt(hyper.df), L_0)
        for i in range(D):
            for j in range(i + 1):
                total = 0.0
                for m in range(j + 1):
                    total += L_0[i, m] * L_0[j, m]
                Psi_0[i, j] = total
    elif hyper.law == SHRUNK:
        for i in range(D):
            Psi_0[i, i] = 2.0 * v[i] / hyper.df * prior.Psi_0[i, i]
            length = 0.0
            for m in range(D + 1):
                length += z[i, m] * z[i, m]
            B[i, i] = math.sqrt(Psi_0[i, i] / length)
            for j in range(i):
                total = 0.0
                for m in range(D + 1):
                    total += z[i, m] * z[j, m]
                Psi_0[i, j] = B[i, i] * B[j, j] * total / (1.0 + hyper.ridge)
        return cholesky(Psi_0, L_0)
    return 0


@kernel
def log_m(
    prior: Prior, hyper: Hyperprior, place: Place, rows: Statistics, k: int, mean: FloatArray, changed: bool
) -> float:
    """log density of the rows in place k of the statistics about their mean (P,), at z and v, of which those of Psi_0
    may be changed.

    -inf where a scale matrix is not positive definite.
    """
    now = place.prior
    if changed and set_scale(prior, hyper, place) != 0:
        return -np.inf
    if hyper.kappa_shape > 0.0:
        now.scalars[KAPPA] = prior.scalars[KAPPA] * math.exp(-place.v[-1] / hyper.kappa_shape)
    normalise(now)
    value = log_marginal(now, rows.n[k], rows, k, mean, place.scratch)
    return value if value > -np.inf else -np.inf  # NaN too


@kernel
def draw_prior(rng: np.random.Generator, shape: FloatArray, place: Place) -> None:
    """The normals z and the Gamma variables v from their laws."""
    D = place.z.shape[0]
    for i in range(D):
        for j in range(D + 1):
            place.z[i, j] = rng.standard_normal()
    for i in range(D + 1):
        place.v[i] = rng.standard_gamma(shape[i])


@kernel
def _slice_row(
    rng: np.random.Generator,
    prior: Prior,
    hyper: Hyperprior,
    place: Place,
    rows: Statistics,
    k: int,
    mean: FloatArray,
    i: int,
    size: int,
    now: float,
) -> float:
    """The first ``size`` normals of row i of z by elliptical slice sampling (Murray, Adams & MacKay 2010).

    Takes and returns log m there.
    """
    least = now + math.log1p(-rng.random())
    angle = 2.0 * math.pi * rng.random()
    low, high = angle - 2.0 * math.pi, angle
    for j in range(size):
        place.row[j], place.normals[j] = place.z[i, j], rng.standard_normal()
    while True:
        for j in range(size):
            place.z[i, j] = place.row[j] * math.cos(angle) + place.normals[j] * math.sin(angle)
        now = log_m(prior, hyper, place, rows, k, mean, True)
        if now >= least:
            return now
        if angle < 0.0:
            low = angle
        else:
            high = angle
        angle = low + (high - low) * rng.random()


@kernel
def _walk(
    rng: np.random.Generator,
    prior: Prior,
    hyper: Hyperprior,
    place: Place,
    rows: Statistics,
    k: int,
    mean: FloatArray,
    i: int,
    shape: float,
    now: float,
) -> float:
    """A Metropolis step of log v_i, of a width between 1/4 and 4 that is drawn. Takes and returns log m there."""
    D, old = len(prior.mu_0), place.v[i]
    step = 0.25 * 16.0 ** rng.random() * rng.standard_normal()
    place.v[i] = old * math.exp(step)
    then = log_m(prior, hyper, place, rows, k, mean, i < D)
    if math.log1p(-rng.random()) < shape * step - (place.v[i] - old) + then - now:
        return then
    place.v[i] = old
    if i < D:
        set_scale(prior, hyper, place)
    return now


@kernel
def climb(
    rng: np.random.Generator,
    prior: Prior,
    hyper: Hyperprior,
    shape: FloatArray,
    rows: Statistics,
    mean: FloatArray,
    place: Place,
    log_ratio: FloatArray,
) -> None:
    """Draws (K, T) of log m_{k+1} - log m_k, at (Psi_0, kappa_0) of density p_k ~ p(Psi_0, kappa_0) m_k.

    m_k is the marginal density of the rows in place k of the statistics, a fraction of all, about their common mean
    (P,); their numbers, rows.n (K + 1,), ascend from 0. T independent draws from the prior come first. From then on, T
    sweeps over z and v for each k, which leave p_k invariant, carry on from the last. The scale has no axes but the
    columns.
    """
    D = len(prior.mu_0)
    for k in range(log_ratio.shape[0]):
        now = 0.0
        if k > 0:
            now = log_m(prior, hyper, place, rows, k, mean, False)
        for t in range(log_ratio.shape[1]):
            if k == 0:
                draw_prior(rng, shape, place)
                log_ratio[k, t] = log_m(prior, hyper, place, rows, k + 1, mean, True)
                continue
            if hyper.law != FIXED:
                for i in range(D):
                    size = i if hyper.law == WISHART else D + 1
                    if size > 0 and D > 1:
                        now = _slice_row(rng, prior, hyper, place, rows, k, mean, i, size, now)
            for i in range(D + 1):
                if (hyper.law != FIXED) if i < D else (hyper.kappa_shape > 0.0):
                    for _ in range(_WALKS):
                        now = _walk(rng, prior, hyper, place, rows, k, mean, i, shape[i], now)
            log_ratio[k, t] = log_m(prior, hyper, place, rows, k + 1, mean, False) - now
