"""Random numbers inside kernels: NumPy Generators for parameters, counter-based uniforms for labels."""

import math

import numpy as np

from gibbs_gmm.kernels._jit import kernel
from gibbs_gmm.kernels.simd import bits_to_float

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_30, _27, _31, _12 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(12)
_ONE = np.uint64(0x3FF0000000000000)
_BELOW_ONE = 1.0 - 2.0**-53


@kernel
def mix(h: np.uint64) -> np.uint64:
    """A bijection of 64-bit words that leaves no visible trace of its input (the finaliser of SplitMix64)."""
    h = (h ^ (h >> _30)) * _MIX_1
    h = (h ^ (h >> _27)) * _MIX_2
    return h ^ (h >> _31)


@kernel
def uniform(key: np.uint64, i: int) -> float:
    """The i-th uniform on (0, 1) of a key, never 0 or 1 (SplitMix64: Steele, Lea & Flood 2014).

    It depends on nothing else, so the label of row i is the same whichever thread draws it.
    """
    h = mix(key + np.uint64(i) * _GOLDEN)
    return bits_to_float((h >> _12) | _ONE) - _BELOW_ONE  # 52 random bits in [1, 2), moved into (0, 1)


@kernel
def subkey(key: np.uint64, i: int) -> np.uint64:
    """The i-th key of a key, for uniforms of its own."""
    return mix(key + np.uint64(i) * _GOLDEN)


@kernel
def draw_key(rng: np.random.Generator) -> np.uint64:
    """A fresh key for :func:`uniform`."""
    return mix(np.uint64(rng.random() * 2.0**53))


@kernel
def draw_log_gamma(rng: np.random.Generator, shape: float) -> float:
    """The logarithm of a Gamma(shape, 1) draw, finite however small the shape.

    Below shape 1 it uses Gamma(a) = Gamma(a + 1) U^(1/a) (Devroye 1986, IX.3), in logarithms, where a = 0.001 would
    underflow.
    """
    if shape >= 1.0:
        return math.log(rng.standard_gamma(shape))
    return math.log(rng.standard_gamma(shape + 1.0)) + math.log1p(-rng.random()) / shape
