"""The prior distribution of the number of clusters n+ in N observations, exactly, at a cost that hardly depends on N.

Every weight prior is of Gibbs type: p(C) = V_N(t) prod_c (1 - sigma)_(n_c - 1) for a partition C into t clusters, with
sigma = d for Dirichlet (d = 0) and Pitman-Yor processes and sigma = -gamma for finite mixtures with Dirichlet(gamma)
weights (Gnedin & Pitman 2006). Hence

    p(n+ = t) = V_N(t) S_sigma(N, t),    S_sigma(N, t) = N!/t! [x^N] f(x)^t,    f(x) = (1 - (1 - x)^sigma) / sigma,

S_sigma a generalised Stirling number (Pitman 2006, sections 1.5 and 3.2); f(x) = -log(1 - x) for sigma = 0.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special

from gibbs_gmm import checks
from gibbs_gmm.kernels.types import AnyArray, FloatArray

LARGEST = 10_000_000
"""The largest N: the result has N entries."""

_NEGLIGIBLE = 1e-10  # prior mass that may be left out: of pairs (concentration, n), and of n+ beyond the largest
_TAIL = 1e-10  # mass of a concentration left out at either end, as for the sampler
_NODES = 16  # Gauss-Legendre nodes in each panel of log concentration
_PANELS, _MOST_PANELS = 3, 96
_AGREE = 1e-6  # sum of absolute differences between two rules that ends their refinement
_BLOCK, _LARGEST_BLOCK, _CHUNK = 16, 8192, 1 << 20  # values of t at first and at most, and numbers in one array
_FEW, _CIRCLE = 64, 256  # N - t up to which a whole circle may be needed, and nodes on it
_SMALL = 16  # N up to which it always is
_LEAST = 5.2  # N zeta at the vertex of a parabola, at least: Weideman & Trefethen (2007) for 20 nodes


# --- Generalised Stirling numbers ---


def _log_f(sigma: FloatArray, zeta: AnyArray) -> AnyArray:
    """log f(x) at x = exp(-zeta), Re zeta > 0 or x off the cut [1, inf); it neither overflows nor cancels."""
    far = zeta.real > 0.7
    log_rest = np.empty_like(zeta)  # log(1 - x), by whichever form keeps its digits
    log_rest[far] = special.log1p(-np.exp(-zeta[far]))
    log_rest[~far] = np.log(-special.expm1(-zeta[~far]))
    q = sigma * log_rest
    s = np.where(q.real > 0.0, -q, q)
    s[s == 0.0] = 1e-300
    return np.asarray(np.log(-log_rest) + np.log(special.expm1(s) / s) + np.where(q.real > 0.0, q, 0.0))


def _slope(sigma: FloatArray, zeta: FloatArray) -> FloatArray:
    """x f'(x) / f(x) at x = exp(-zeta) < 1: the mean size of a cluster; it falls from infinity to 1."""
    with np.errstate(all="ignore"):  # of each pair of forms one may fail, and is not used
        log_rest = np.where(zeta > 0.7, np.log1p(-np.exp(-zeta)), np.log(-np.expm1(-zeta)))
        q = -sigma * log_rest
        ratio = np.where(q == 0.0, 1.0, q / np.expm1(q))
    return np.asarray(ratio / (-log_rest * np.expm1(zeta)))


def log_coefficients(N: int, t: FloatArray, sigma: FloatArray) -> FloatArray:
    """log [x^N] f(x)^t for t = 1..N, elementwise; log S_sigma(N, t) = log N! - log t! + this.

    By Cauchy's integral, on x = exp(-zeta). In zeta the integrand exp(N zeta) f^t has one saddle on the positive axis
    and is cut along the negative one, so the trapezoidal rule on the parabola zeta_0 (1 + i u)^2 through the saddle
    converges geometrically (Weideman & Trefethen 2007), with some twenty terms whatever N is (more as sigma nears 1).
    Where N - t is small the integrand is not yet small at Im zeta = +-pi, and it is the whole circle instead.
    Relative error of the coefficient: some 1e-10 (1e-8 for sigma = 0.99), against the recursion in N and t.

    Parameters
    ----------
    N : int
    t, sigma : float arrays of one shape
        1 <= t <= N, sigma < 1.
    """
    shape = t.shape
    t, sigma = t.ravel(), sigma.ravel()
    low, high = np.full(t.shape, np.log(1e-30)), np.full(t.shape, np.log(60.0))
    for _ in range(40):  # bisection for the saddle, t x f'(x) / f(x) = N
        middle = 0.5 * (low + high)
        above = t * _slope(sigma, np.exp(middle)) > N
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    saddle = np.exp(0.5 * (low + high))
    result = np.zeros(t.shape)
    circle = (N - t <= _FEW) & ((saddle > 40.0 / _CIRCLE) | (N <= _SMALL))
    for place, sum_up in ((circle & (t < N), _on_circle), (~circle, _on_parabola)):
        if place.any():
            result[place] = sum_up(N, t[place], sigma[place], saddle[place])
    return result.reshape(shape)


def _on_circle(N: int, t: FloatArray, sigma: FloatArray, saddle: FloatArray) -> FloatArray:
    """The coefficient as a mean over a circle: wrong by the coefficient of x^(N + 256), times |x|^256 < 1e-17."""
    zeta = np.maximum(saddle, 40.0 / _CIRCLE)
    top = N * zeta + t * _log_f(sigma, zeta + 0j).real
    total = np.zeros(t.shape)
    for j in range(_CIRCLE // 2):
        node = zeta + 2j * np.pi * (j + 0.5) / _CIRCLE
        total += np.exp(N * node + t * _log_f(sigma, node) - top).real
    return np.asarray(top + np.log(total * 2.0 / _CIRCLE))


def _on_parabola(N: int, t: FloatArray, sigma: FloatArray, saddle: FloatArray) -> FloatArray:
    """The coefficient by the trapezoidal rule on a parabola, until the terms no longer matter."""
    zeta = np.maximum(saddle, _LEAST / N)
    step = 1e-4
    bend = t * zeta * (_slope(sigma, zeta * (1.0 - step)) - _slope(sigma, zeta * (1.0 + step))) / (2.0 * step)
    h = np.minimum(0.14, 0.33 / np.sqrt(bend))  # of a Gaussian with this curvature, aliases are below 1e-18
    top = N * zeta + t * _log_f(sigma, zeta + 0j).real
    total = np.zeros(t.shape)
    for j in range(5000):
        u = 1.0 + 1j * h * (j + 0.5)
        node = zeta * u * u
        term = u * np.exp(N * node + t * _log_f(sigma, node) - top)
        total += term.real
        if np.all(np.abs(term) <= 1e-17 * np.abs(total)):
            break
    return np.asarray(top + np.log(total * zeta * h * (2.0 / np.pi)))


# --- Number of clusters ---


def _collect(most: int, largest: int, block: Callable[[FloatArray], FloatArray]) -> FloatArray:
    """p(n+ = 1..most), by blocks of t up to the largest, or until the rest does not matter: it is left at 0."""
    pmf = np.zeros(most)
    first, size = 1, _BLOCK
    while first <= largest:
        last = min(largest, first + size - 1)
        pmf[first - 1 : last] = block(np.arange(first, last + 1.0))
        mass = pmf[:last].sum()
        if mass > 1.0 - _NEGLIGIBLE or (mass > 0.5 and pmf[first - 1 : last].sum() < 1e-14):
            break
        first, size = last + 1, min(last, _LARGEST_BLOCK)
    return pmf


def process_pmf(N: int, most: int, discount: float, alpha: FloatArray, weight: FloatArray) -> FloatArray:
    """p(n+ = 1..most) for a Dirichlet or Pitman-Yor process, averaged over alpha (Q,) with weights that sum to one.

    V_N(t) = prod_{i=1}^{t-1} (alpha + i d) Gamma(1 + alpha) / Gamma(alpha + N) (Pitman 1996).
    """
    log_V = np.log(weight) + special.gammaln(N + 1.0) - _log_rising(1.0 + alpha, N - 1)

    def block(t: FloatArray) -> FloatArray:
        nonlocal log_V
        log_c = log_coefficients(N, t, np.full(len(t), discount)) - special.gammaln(t + 1.0)
        result = np.zeros(len(t))
        for start in range(0, len(t), max(1, _CHUNK // len(alpha))):
            part = slice(start, start + max(1, _CHUNK // len(alpha)))
            # V grows by alpha + (t - 1) d from t - 1 to t, and by nothing at t = 1
            grow = np.where(t[part] > 1.0, np.log(alpha[:, None] + (t[part] - 1.0) * discount), 0.0)
            log_p = log_V[:, None] + np.cumsum(grow, axis=1)
            log_V = log_p[:, -1]
            result[part] = np.exp(log_p + log_c[part]).sum(0)
        return result

    return _collect(most, most, block)


def finite_pmf(
    N: int, most: int, log_p: FloatArray, dynamic: bool, alpha: FloatArray, weight: FloatArray
) -> FloatArray:
    """p(n+ = 1..most) for finite mixtures, averaged over n with log prior ``log_p`` (n_max + 1,) and over alpha (Q,).

    Given n and gamma, p(n+ = t) = n!/(n - t)! gamma^t Gamma(n gamma)/Gamma(n gamma + N) S_-gamma(N, t) (Miller &
    Harrison 2018). Pairs (alpha, n) whose weights together are below 1e-10 are left out.
    """
    joint = weight[:, None] * np.exp(log_p)
    order = np.argsort(joint, axis=None)
    order = order[np.cumsum(joint.ravel()[order]) > _NEGLIGIBLE * joint.sum()]
    q, n = np.unravel_index(np.sort(order), joint.shape)
    share = joint[q, n] / joint[q, n].sum()
    gamma = alpha[q] / n if dynamic else alpha[q]
    log_factorial = special.gammaln(np.arange(len(log_p)) + 1.0)
    log_V = log_factorial[n] + special.gammaln(N + 1.0) - _log_rising(gamma * n, N)
    knots, read = _interpolation(gamma)
    missing = np.ones(len(n))  # of each pair's distribution of t

    def block(t: FloatArray) -> FloatArray:
        table = log_coefficients(N, *np.broadcast_arrays(t, -knots[:, None]))
        table += t * np.log(knots)[:, None] - special.gammaln(t + 1.0)
        result = np.zeros(len(t))
        wanted = np.flatnonzero((n >= t[0]) & (missing * share > _NEGLIGIBLE / len(n)))
        rows = max(1, _CHUNK // len(t))
        for start in range(0, len(wanted), rows):
            some = wanted[start : start + rows]
            empty = n[some, None] - t.astype(np.int64)
            p = read(some, table) + (log_V[some, None] - log_factorial[np.maximum(empty, 0)])
            p = np.exp(p, out=p, where=empty >= 0)
            p[empty < 0] = 0.0
            missing[some] -= p.sum(1)
            result += share[some] @ p
        return result

    return _collect(most, min(most, int(n.max())), block)


def _log_rising(a: FloatArray, N: int) -> FloatArray:
    """log Gamma(a + N) - log Gamma(a), a > 0: by Stirling's series for large a, where the difference would cancel."""
    large = np.maximum(a, 20.0)
    series = (large - 0.5) * np.log1p(N / large) + N * np.log(large + N) - N
    for power, factor in ((1, 12.0), (3, -360.0), (5, 1260.0)):
        series += ((large + N) ** -power - large**-power) / factor
    return np.asarray(np.where(a < 20.0, special.gammaln(a + N) - special.gammaln(a), series))


def _interpolation(gamma: FloatArray) -> tuple[FloatArray, Callable[[AnyArray, FloatArray], FloatArray]]:
    """Knots of gamma for a table, and what reads its rows at gamma[some]: by Chebyshev interpolation if they are many.

    The table's functions of log gamma are analytic about the real axis; 5 knots a unit reproduce them to 1e-10.
    """
    knots, place = np.unique(gamma, return_inverse=True)
    low, high = np.log(knots[0]), np.log(knots[-1])
    count = int(24 + 5.0 * (high - low))
    if len(knots) <= count:
        return knots, lambda some, table: np.asarray(table[place[some]])
    angle = (np.arange(count) + 0.5) * np.pi / count
    middle, half = 0.5 * (low + high), 0.5 * (high - low)
    knots = np.exp(middle + half * np.cos(angle))
    series = np.cos(np.arange(count)[:, None] * angle) * (2.0 / count)
    series[0] *= 0.5

    def read(some: AnyArray, table: FloatArray) -> FloatArray:
        x = np.clip((np.log(gamma[some]) - middle) / half, -1.0, 1.0)
        return np.asarray(np.polynomial.chebyshev.chebvander(x, count - 1) @ (series @ table))

    return knots, read


def average(
    concentration: Any, N: Any, most: int | None, pmf: Callable[[int, int, FloatArray, FloatArray], FloatArray]
) -> FloatArray:
    """p(n+ = 1..most) of N observations for a concentration that is known, or averaged over its prior.

    The average is by a composite Gauss-Legendre rule in log concentration, between the quantiles 1e-10 and 1 - 1e-10,
    with twice as many panels until the result changes by less than 1e-6 in all (the sum of absolute differences);
    that of a smooth density is then right to 1e-9. Where the density has so many corners that 96 panels do not do, a
    warning tells the change there was.
    """
    N = checks.integer("N", N, 1)
    if N > LARGEST:
        raise ValueError(f"N must be at most {LARGEST:,} (the result has N entries), got {N:,}")
    most = N if most is None else min(N, checks.integer("most", most, 1))
    if isinstance(concentration, float):
        return pmf(N, most, np.array([concentration]), np.ones(1))
    low, high = (float(np.log(np.clip(concentration.ppf(p), 1e-12, 1e12))) for p in (_TAIL, 1.0 - _TAIL))
    x, w = np.polynomial.legendre.leggauss(_NODES)
    before: FloatArray | None = None
    panels = _PANELS
    while True:
        edges = np.linspace(low, high, panels + 1)
        half = 0.5 * (edges[1] - edges[0])
        log_alpha = ((edges[:-1] + half)[:, None] + half * x).ravel()
        weight = np.tile(w, panels) * np.exp(np.asarray(concentration.logpdf(np.exp(log_alpha))) + log_alpha)
        use = weight > 1e-14 * weight.max()
        result = pmf(N, most, np.exp(log_alpha[use]), weight[use] / weight[use].sum())
        change = np.inf if before is None else float(np.abs(result - before).sum())
        if change < _AGREE:
            return result
        if panels >= _MOST_PANELS:
            warnings.warn(
                f"the prior of n_clusters, averaged over the concentration's, may be wrong by {change:.1g} in all",
                stacklevel=3,
            )
            return result
        before, panels = result, 2 * panels
