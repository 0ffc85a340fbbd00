"""Many binomial numbers at once, each as :func:`gibbs_gmm.kernels.binomial.binomial` would draw it.

The steps of the scalar functions are done for all numbers together in loops that vectorise; what is left, such as a
number whose first proposals are all rejected, is drawn by itself. All of it lives in one array, in rows of TILE numbers
at constant distances, so that a compiler sees that rows do not overlap.
"""

import math

import numpy as np

from gibbs_gmm.kernels._jit import kernel
from gibbs_gmm.kernels.binomial import FEW, MOST_OF_FEW, binomial, stirling_error
from gibbs_gmm.kernels.random import uniform
from gibbs_gmm.kernels.simd import LANES, float_to_bits, wide_vectors
from gibbs_gmm.kernels.tile import TILE, exp2, log2, log2_1p
from gibbs_gmm.kernels.types import FloatArray, IntArray

KEY, TRIALS, FIRST, SECOND, DRAWN = (TILE * row for row in range(5))
"""Where the bits of the keys begin, n, the weights of the two sides, and what was drawn."""

_P, _U, _CODE, _K = (TILE * row for row in range(5, 9))
_KEY_, _N_, _P_, _U_, _V_, _K_, _W_ = (TILE * row for row in range(9, 16))  # of those that are left

_DONE, _FEW_LEFT, _MANY_LEFT, _ALONE = 0.0, 1.0, 2.0, 3.0
_ATTEMPTS = 3  # proposals that are made together
_LOG_2 = math.log(2.0)


@kernel
def _deviance(x: float, mean: float, inverse: float) -> float:
    """x log(x / mean) + mean - x, with all digits where x is near the mean (Loader 2000), for x > 0; and 1 / mean."""
    gap = x - mean
    v = gap / (x + mean)
    s = v * v
    t = (1.0 / 19.0) * s + 1.0 / 17.0
    t = t * s + 1.0 / 15.0
    t = t * s + 1.0 / 13.0
    t = t * s + 1.0 / 11.0
    t = t * s + 1.0 / 9.0
    t = t * s + 1.0 / 7.0
    t = t * s + 1.0 / 5.0
    t = t * s + 1.0 / 3.0
    near, far = gap * v + 2.0 * x * v * s * t, log2(x * inverse) * x * _LOG_2 - gap
    return near if s < 0.01 else far


@kernel
def _begin(size: int, S: FloatArray) -> None:
    """The probability of the rarer side, and which way a number is found; many that fall on no side are found here."""
    wide_vectors()
    for b in range(size):
        x, y, n = S[FIRST + b], S[SECOND + b], S[TRIALS + b]
        p = (x if x <= y else y) / (x + y)
        u = uniform(float_to_bits(S[KEY + b]), 0)
        S[_P + b] = p
        S[_U + b] = u
        S[_K + b] = 0.0
        S[_CODE + b] = _MANY_LEFT if n * p >= FEW else (_DONE if u <= 1.0 - n * p else _FEW_LEFT)


@kernel
def _gather(code: float, size: int, index: IntArray, S: FloatArray) -> int:
    """Those with this code into the rows of those that are left, padded to whole vectors; returns how many."""
    found = 0
    for b in range(size):
        index[np.uint64(found)] = b
        found += 1 if S[_CODE + b] == code else 0
    padded = (found + LANES - 1) // LANES * LANES
    for s in range(found, padded):
        index[s] = index[found - 1]
    for s in range(padded):
        own = np.uint64(index[s])
        S[_KEY_ + s], S[_N_ + s] = S[KEY + own], S[TRIALS + own]
        S[_P_ + s], S[_U_ + s] = S[_P + own], S[_U + own]
    return found


@kernel
def _invert(found: int, index: IntArray, S: FloatArray) -> None:
    """Few expected: inversion from 0 upwards."""
    wide_vectors()
    padded = (found + LANES - 1) // LANES * LANES
    for s in range(padded):
        n, p = S[_N_ + s], S[_P_ + s]
        S[_V_ + s] = 1.0 - p if n == 1.0 else exp2(n * log2_1p(-p))
        S[_P_ + s] = p / (1.0 - p)
        S[_K_ + s] = 0.0
    k = 0.0
    while k < MOST_OF_FEW:
        left, more, inverse = 0, k + 1.0, 1.0 / (k + 1.0)
        for s in range(padded):
            u, mass = S[_U_ + s], S[_V_ + s]
            on = S[_K_ + s] == k and u > mass and S[_N_ + s] > k
            S[_K_ + s] = more if on else S[_K_ + s]
            S[_U_ + s] = u - mass if on else u
            S[_V_ + s] = mass * (S[_P_ + s] * (S[_N_ + s] - k) * inverse)
            left += 1 if on else 0
        if left == 0:
            break
        k = more
    for s in range(found):
        S[_K + index[s]] = S[_K_ + s]


@kernel
def _propose(trial: int, found: int, S: FloatArray) -> None:
    """Transformed rejection with a squeeze: a proposal for each, and whether the squeeze takes it."""
    wide_vectors()
    padded = (found + LANES - 1) // LANES * LANES
    for s in range(padded):
        n, p, key = S[_N_ + s], S[_P_ + s], float_to_bits(S[_KEY_ + s])
        root = math.sqrt(n * p * (1.0 - p))
        b = 1.15 + 2.53 * root
        a = -0.0873 + 0.0248 * b + 0.01 * p
        u, v = uniform(key, trial) - 0.5, uniform(key, trial + 1)
        room = 0.5 - abs(u)
        S[_K_ + s] = np.floor((2.0 * a / room + b) * u + (n * p + 0.5))
        S[_U_ + s] = room
        S[_V_ + s] = v
        S[_W_ + s] = _DONE if room >= 0.07 and v <= 0.92 - 4.2 / b else _MANY_LEFT


@kernel
def _examine(found: int, S: FloatArray) -> None:
    """Whether proposals that the squeeze has not taken are accepted, by the density."""
    wide_vectors()
    padded = (found + LANES - 1) // LANES * LANES
    for s in range(padded):
        n, p, room = S[_N_ + s], S[_P_ + s], S[_U_ + s]
        root = math.sqrt(n * p * (1.0 - p))
        b = 1.15 + 2.53 * root
        a = -0.0873 + 0.0248 * b + 0.01 * p
        S[_V_ + s] = log2(S[_V_ + s] * (2.83 + 5.1 / b) * root / (a / (room * room) + b)) * _LOG_2
    for s in range(padded):
        n, p, k = S[_N_ + s], S[_P_ + s], S[_K_ + s]
        mode = np.floor((n + 1.0) * p)
        inside = 1.0 if k > 0.0 else 0.0
        inside = inside if k < n else 0.0
        x = k if inside == 1.0 else mode
        tilt = log2(x * (n - x) / (mode * (n - mode))) * _LOG_2
        mean, rest = n * p, n * (1.0 - p)
        of_mean, of_rest = 1.0 / mean, 1.0 / rest
        # Written out: a function of this size is not inlined, and a loop that calls one does not vectorise.
        density = stirling_error(mode) + stirling_error(n - mode) - stirling_error(x) - stirling_error(n - x)
        density += _deviance(mode, mean, of_mean) - _deviance(x, mean, of_mean) - 0.5 * tilt
        density += _deviance(n - mode, rest, of_rest) - _deviance(n - x, rest, of_rest)
        code = _DONE if S[_V_ + s] <= density else _MANY_LEFT
        end = _ALONE if abs(k - 0.5 * n) == 0.5 * n else _MANY_LEFT  # 0 and n have another formula; beyond lies nothing
        S[_W_ + s] = code if inside == 1.0 else end


@kernel
def _keep(found: int, index: IntArray, S: FloatArray) -> int:
    """Numbers that are found to their places; the others move together, and so does ``index``. Returns how many."""
    left = 0
    for s in range(found):
        b, code = np.uint64(index[s]), S[_W_ + s]
        S[_K + b] = S[_K_ + s]
        S[_CODE + b] = code
        index[np.uint64(left)] = index[s]
        S[_W_ + np.uint64(left)] = s
        left += 1 if code == _MANY_LEFT else 0
    padded = (left + LANES - 1) // LANES * LANES
    for s in range(left, padded):
        index[s], S[_W_ + s] = index[left - 1], S[_W_ + left - 1]
    for row in range(_KEY_, _W_, TILE):
        for s in range(padded):
            S[row + s] = S[row + np.uint64(S[_W_ + s])]
    return left


@kernel
def draw_binomials(size: int, index: IntArray, S: FloatArray) -> None:
    """S[DRAWN + b] <- Binomial(n, a / (a + b)) by the uniforms of a key, b < size <= TILE.

    S (SCRATCH TILE,): the bits of the keys from KEY on, n from TRIALS, and a and b >= 0, not both 0, from FIRST and
    SECOND. Whole vectors are read. index (TILE,): scratch.
    """
    wide_vectors()
    padded = (size + LANES - 1) // LANES * LANES
    for b in range(size, padded):
        for row in range(KEY, DRAWN, TILE):
            S[row + b] = S[row + size - 1]
    _begin(padded, S)
    found = _gather(_FEW_LEFT, size, index, S)
    if found > 0:
        _invert(found, index, S)
    left = _gather(_MANY_LEFT, size, index, S)
    for trial in range(0, 2 * _ATTEMPTS, 2):
        if left == 0:
            break
        _propose(trial, left, S)
        left = _keep(left, index, S)
        if left > 0:
            _examine(left, S)
            left = _keep(left, index, S)
    for b in range(size):
        n, k = S[TRIALS + b], S[_K + b]
        S[DRAWN + b] = k if S[FIRST + b] <= S[SECOND + b] else n - k
    for b in range(size):
        if S[_CODE + b] >= _MANY_LEFT:
            S[DRAWN + b] = binomial(float_to_bits(S[KEY + b]), S[TRIALS + b], S[FIRST + b], S[SECOND + b])
