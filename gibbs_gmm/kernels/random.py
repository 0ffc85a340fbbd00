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
def normal_quantile(p: float) -> float:
    """The quantile function of the standard normal law, to 16 digits (Wichura 1988, AS 241)."""
    q = p - 0.5
    if abs(q) <= 0.425:
        r = 0.180625 - q * q
        above = ((2.5090809287301226727e3 * r + 3.3430575583588128105e4) * r + 6.7265770927008700853e4) * r
        above = ((above + 4.5921953931549871457e4) * r + 1.3731693765509461125e4) * r + 1.9715909503065514427e3
        above = (above * r + 1.3314166789178437745e2) * r + 3.3871328727963666080e0
        below = ((5.2264952788528545610e3 * r + 2.8729085735721942674e4) * r + 3.9307895800092710610e4) * r
        below = ((below + 2.1213794301586595867e4) * r + 5.3941960214247511077e3) * r + 6.8718700749205790830e2
        below = (below * r + 4.2313330701600911252e1) * r + 1.0
        return q * above / below
    r = math.sqrt(-math.log(p if q < 0.0 else 1.0 - p))
    if r <= 5.0:
        r -= 1.6
        above = ((7.74545014278341407640e-4 * r + 2.27238449892691845833e-2) * r + 2.41780725177450611770e-1) * r
        above = ((above + 1.27045825245236838258e0) * r + 3.64784832476320460504e0) * r + 5.76949722146069140550e0
        above = (above * r + 4.63033784615654529590e0) * r + 1.42343711074968357734e0
        below = ((1.05075007164441684324e-9 * r + 5.47593808499534494600e-4) * r + 1.51986665636164571966e-2) * r
        below = ((below + 1.48103976427480074590e-1) * r + 6.89767334985100004550e-1) * r + 1.67638483018380384940e0
        below = (below * r + 2.05319162663775882187e0) * r + 1.0
    else:
        r -= 5.0
        above = ((2.01033439929228813265e-7 * r + 2.71155556874348757815e-5) * r + 1.24266094738807843860e-3) * r
        above = ((above + 2.65321895265761230930e-2) * r + 2.96560571828504891230e-1) * r + 1.78482653991729133580e0
        above = (above * r + 5.46378491116411436990e0) * r + 6.65790464350110377720e0
        below = ((2.04426310338993978564e-15 * r + 1.42151175831644588870e-7) * r + 1.84631831751005468180e-5) * r
        below = ((below + 7.86869131145613259100e-4) * r + 1.48753612908506148525e-2) * r + 1.36929880922735805310e-1
        below = (below * r + 5.99832206555887937690e-1) * r + 1.0
    return math.copysign(above / below, q)


@kernel
def normal(key: np.uint64, i: int) -> float:
    """The i-th standard normal of a key."""
    return normal_quantile(uniform(key, i))


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
