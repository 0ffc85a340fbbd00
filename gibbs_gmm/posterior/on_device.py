"""Predictions on a GPU: rows go there once, then the draws block by block; the sums over draws come back."""

from __future__ import annotations

from typing import Any

import numpy as np

from gibbs_gmm.kernels.cuda import device_array, kernels, to_device
from gibbs_gmm.kernels.cuda_layout import MOST_COLUMNS, Layout
from gibbs_gmm.kernels.cuda_predictive import kernel, packed
from gibbs_gmm.kernels.posterior.predictive import Mixtures
from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray
from gibbs_gmm.model.normal_inverse_gamma import NormalInverseGamma
from gibbs_gmm.trace import Trace

_NUMBERS = 1 << 28  # of rows and their sums that are on the device at a time


def rows_together(D: int, J: int) -> int:
    """Rows of D columns that go to the device together, with J sums each."""
    return max(1, _NUMBERS // (D + J + 1))


def require(trace: Trace, errors: Any) -> None:
    """Refuse what is not offered on a device."""
    most = MOST_COLUMNS[isinstance(trace.prior, NormalInverseGamma)]
    if trace.prior.n_features > most:
        raise ValueError(f'device="cuda" takes at most {most} columns here, got {trace.prior.n_features}')
    if errors is not None:
        raise ValueError('device="cuda" takes rows without errors=: leave out device=')


class RowsOnDevice:
    """Rows (N, d) of which densities are summed, with the sums: top (N,) and mass (J, N), overwritten by finish()."""

    def __init__(self, trace: Trace, values: AnyArray, loc: FloatArray, top: FloatArray, mass: FloatArray) -> None:
        N, d = values.shape
        self._layout = Layout(d, isinstance(trace.prior, NormalInverseGamma))
        self._single, self._N = bool(values.dtype == np.float32), N
        compiled = kernels(self._layout, self._single)
        self._threads = compiled.threads
        self._loc, self._X = to_device(loc), device_array(d * N, values.dtype)
        self._sums, self._top, self._mass = (top, mass), to_device(top), to_device(mass)
        blocks = -(-N // self._threads)
        compiled.transpose[blocks, self._threads](to_device(values), self._loc, self._X, N, 0)

    def add(self, mixtures: Mixtures, column: IntArray) -> None:
        """Add the densities under a block of draws."""
        P, law, column = packed(self._layout, mixtures, column)
        blocks = -(-self._N // (2 * self._threads))
        kernel(self._layout, self._single)[blocks, self._threads](
            self._X, self._loc, self._N, to_device(P), to_device(law), to_device(column), len(law),
            float(mixtures.power), self._top, self._mass,
        )  # fmt: skip

    def finish(self) -> None:
        """Bring the sums back."""
        for here, there in zip(self._sums, (self._top, self._mass), strict=True):
            here[:] = there.copy_to_host()
