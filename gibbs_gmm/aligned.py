"""Arrays that start on a cache line."""

from __future__ import annotations

import math

import numpy as np

from gibbs_gmm.kernels.simd import LANES
from gibbs_gmm.kernels.types import FloatArray


def padded(*shape: int) -> FloatArray:
    """Zeros of this shape that start on a cache line; the last axis is a multiple of eight."""
    raw = np.zeros(math.prod(shape) + LANES)
    skip = (-raw.ctypes.data % 64) // 8
    return raw[skip : skip + math.prod(shape)].reshape(shape)
