"""Rows that lie on a GPU, or are to be looked at there: whether there is one, and tables of either kind."""

from __future__ import annotations

from typing import Any

import numpy as np

from gibbs_gmm import checks
from gibbs_gmm.kernels.types import AnyArray

_MOVED = 1 << 26  # bytes that are copied here at a time
_FEW_ROWS = 64  # rows that are copied here one by one


def checked_device(device: Any) -> str:
    """Where the passes over the rows are made, "cpu" or "cuda"."""
    if device not in ("cpu", "cuda"):
        raise ValueError(f'device must be "cpu" or "cuda", got {device!r}')
    return str(device)


class Remote:
    """X (N, D) of an array that lies on a device: rows are copied here when they are indexed."""

    def __init__(self, array: Any) -> None:
        self._array = array
        self.shape: tuple[int, int] = (int(array.shape[0]), int(array.shape[1]))
        self.dtype, self.ndim = np.dtype(array.dtype), 2

    def __len__(self) -> int:
        return int(self.shape[0])

    @property
    def nbytes(self) -> int:
        """Bytes of all of it."""
        return int(self.shape[0] * self.shape[1] * self.dtype.itemsize)

    def __getitem__(self, key: Any) -> AnyArray:
        if isinstance(key, slice) and key.step in (None, 1):
            return np.asarray(self._array[key].copy_to_host())
        if np.ndim(key) == 0:
            return np.asarray(self._array[int(key)].copy_to_host())
        rows = np.asarray(np.arange(len(self))[key])
        result = np.empty((len(rows), self.shape[1]), self.dtype)
        if len(rows) <= _FEW_ROWS:
            for place, row in enumerate(rows.tolist()):
                result[place] = self._array[row].copy_to_host()
            return result
        step = max(1, _MOVED // (self.shape[1] * self.dtype.itemsize))
        for start in range(0, len(self), step):
            own = (rows >= start) & (rows < start + step)
            if own.any():
                result[own] = self[start : start + step][rows[own] - start]
        return result


def cuda_kernels() -> Any:
    """The kernels, or an error that says why there are none."""
    from gibbs_gmm.kernels import cuda

    if not cuda.is_available():
        raise RuntimeError(
            'device="cuda" needs an NVIDIA GPU with its driver, and the extra: pip install "gibbs-gmm[cuda]"; numba '
            'finds none here. device="cpu" is the default'
        )
    return cuda


def rows_of(X: Any, cuda: Any, name: str = "X", min_rows: int = 2) -> tuple[Any, tuple[str, ...]]:
    """A table whose values are not looked at yet, here or on the device, and the names of its columns."""
    if hasattr(X, "__dlpack_device__") and not hasattr(X, "__cuda_array_interface__"):
        kind = int(X.__dlpack_device__()[0])
        if kind == 1:  # in memory
            return checks.table(X if isinstance(X, np.ndarray) else np.from_dlpack(X), name, min_rows)
        X = _through_cupy(X)
    if not hasattr(X, "__cuda_array_interface__"):
        return checks.table(X, name, min_rows)
    array = cuda.as_device_array(X)
    if array.ndim == 1:
        array = array.reshape(array.shape[0], 1)
    if array.ndim != 2 or array.shape[0] < min_rows or array.shape[1] < 1:
        raise ValueError(f"{name} must have shape (N, D) with N of at least {min_rows}, got {tuple(array.shape)}")
    if np.dtype(array.dtype) not in (np.float32, np.float64):
        raise TypeError(f"{name} on a device must hold float32 or float64, got dtype {array.dtype}")
    return Remote(array), tuple(f"x{d}" for d in range(array.shape[1]))


def _through_cupy(X: Any) -> Any:
    """An array that speaks DLPack only, by way of CuPy."""
    from gibbs_gmm.optional import needs

    return needs("cupy", "cuda", "an array on a device that has no __cuda_array_interface__").from_dlpack(X)


def rows_here(X: Any, name: str) -> Any:
    """New rows that a GPU is asked about, as a table here: wherever they are; an error where there is no GPU."""
    cuda_kernels()
    if isinstance(X, np.ndarray) or not (hasattr(X, "__cuda_array_interface__") or hasattr(X, "__dlpack_device__")):
        return X
    array, _ = rows_of(X, cuda_kernels(), name, 1)
    return array[:] if isinstance(array, Remote) else array
