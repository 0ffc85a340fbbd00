"""Counter-based standard normals, many at a time: Box & Muller (1958), whose steps all vectorise."""

import math

import numpy as np

from gibbs_gmm.kernels._jit import kernel
from gibbs_gmm.kernels.random import uniform
from gibbs_gmm.kernels.simd import bits_to_float, float_to_bits, wide_vectors
from gibbs_gmm.kernels.tile import log2
from gibbs_gmm.kernels.types import FloatArray, IntArray

# Taylor coefficients of sin(pi t / 2) / t and cos(pi t / 2), by powers of t^2; on |t| <= 1/2 the remainders are below
# 1e-17.
_S0, _S1, _S2, _S3, _S4, _S5, _S6, _S7 = (
    (-1) ** i * (0.5 * math.pi) ** (2 * i + 1) / math.factorial(2 * i + 1) for i in range(8)
)
_C1, _C2, _C3, _C4, _C5, _C6, _C7, _C8 = (
    (-1) ** i * (0.5 * math.pi) ** (2 * i) / math.factorial(2 * i) for i in range(1, 9)
)
_ROUND = 1.5 * 2.0**52  # adding it leaves the nearest integer in the low bits of the sum
_1, _62, _63 = np.uint64(1), np.uint64(62), np.uint64(63)


@kernel
def _sine(t: float) -> float:
    """sin(pi t / 2) for |t| <= 1/2."""
    s = t * t
    p = _S7 * s + _S6
    p = p * s + _S5
    p = p * s + _S4
    p = p * s + _S3
    p = p * s + _S2
    p = p * s + _S1
    return (p * s + _S0) * t


@kernel
def _cosine(t: float) -> float:
    """cos(pi t / 2) for |t| <= 1/2."""
    s = t * t
    p = _C8 * s + _C7
    p = p * s + _C6
    p = p * s + _C5
    p = p * s + _C4
    p = p * s + _C3
    p = p * s + _C2
    p = p * s + _C1
    return p * s + 1.0


@kernel
def cosine_of_turns(u: float) -> float:
    """cos(2 pi u) for 0 <= u <= 1, to rounding."""
    shifted = 4.0 * u + _ROUND
    t = 4.0 * u - (shifted - _ROUND)
    quarter = float_to_bits(shifted)
    value = _sine(t) if (quarter & _1) != 0 else _cosine(t)
    sign = (((quarter + _1) << _62) >> _63) << _63  # negative in the second and third quarter
    return bits_to_float(float_to_bits(value) ^ sign)


@kernel
def sine_of_turns(u: float) -> float:
    """sin(2 pi u) for 0 <= u <= 1, to rounding."""
    shifted = 4.0 * u + _ROUND
    t = 4.0 * u - (shifted - _ROUND)
    quarter = float_to_bits(shifted)
    value = _cosine(t) if (quarter & _1) != 0 else _sine(t)
    sign = ((quarter << _62) >> _63) << _63  # negative in the third and fourth quarter
    return bits_to_float(float_to_bits(value) ^ sign)


@kernel
def fill_normals(key: np.uint64, rows: IntArray, m: int, D: int, scale: float, out: FloatArray) -> None:
    """out[a, b] <- scale times the a-th normal of row rows[b] of a key, for a < m <= D; out has an even number of rows.

    A normal depends on nothing but the key, its row and a. Numbers a and a + 1, a even, are of one pair.
    """
    wide_vectors()
    n, stride = rows.shape[0], D + D % 2
    for a in range(0, m, 2):
        one, other = out[a], out[a + 1]
        for b in range(n):
            first = rows[b] * stride + a
            radius = scale * math.sqrt(-2.0 * math.log(2.0) * log2(uniform(key, first)))
            angle = uniform(key, first + 1)
            one[b] = radius * cosine_of_turns(angle)
            other[b] = radius * sine_of_turns(angle)
