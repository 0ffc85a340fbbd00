"""Covariance matrices of families that do not store them as matrices, expanded where they are looked at."""

from __future__ import annotations

from typing import Any

import numpy as np

from gibbs_gmm.kernels.types import AnyArray, FloatArray


class DiagonalMatrices(np.lib.mixins.NDArrayOperatorsMixin):
    """Diagonal matrices (..., D, D) by their diagonals (..., D): an array that is made where it is indexed.

    Only what is indexed is expanded. Anything else that is done with it, arithmetic and methods of an array, is done
    with all matrices, and takes their memory.
    """

    def __init__(self, diagonals: FloatArray) -> None:
        self.diagonals = diagonals
        self.shape = (*diagonals.shape, diagonals.shape[-1])
        self.ndim, self.dtype = len(self.shape), diagonals.dtype

    def __len__(self) -> int:
        return int(self.shape[0])

    def __repr__(self) -> str:
        return f"<diagonal matrices {self.shape}>"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> AnyArray:
        return _matrices(self.diagonals).astype(self.dtype if dtype is None else dtype, copy=False)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **keywords: Any) -> Any:
        plain = [np.asarray(item) if isinstance(item, DiagonalMatrices) else item for item in inputs]
        return getattr(ufunc, method)(*plain, **keywords)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(np.asarray(self), name)

    def __getitem__(self, key: Any) -> AnyArray:
        key = key if isinstance(key, tuple) else (key,)
        dots = [i for i, item in enumerate(key) if item is Ellipsis]
        at = dots[0] if dots else len(key)
        head, tail = key[:at], key[at + 1 :]
        items: list[Any] = [*head, *[slice(None)] * (self.ndim - len(head) - len(tail)), *tail]
        lead, a, b = items[:-2], items[-2], items[-1]
        if _is_all(a) and _is_all(b):
            return _matrices(self.diagonals[tuple(lead)])
        if not any(isinstance(item, np.ndarray | list) for item in lead) and not _is_slice(a) and not _is_slice(b):
            values: AnyArray = self.diagonals[tuple(lead)][..., a] * np.equal(a, b)
            return values
        if not any(map(_is_slice, (*lead, a, b))):
            chosen: AnyArray = self.diagonals[(*lead, a)] * np.equal(a, b)
            return chosen
        everything: AnyArray = np.asarray(self)[key]
        return everything

    def reshape(self, *shape: int) -> DiagonalMatrices:
        """Another shape (..., D, D) of the same matrices."""
        if shape[-2:] != self.shape[-2:]:
            raise ValueError(f"shape must end in {self.shape[-2:]}, got {shape}")
        return DiagonalMatrices(self.diagonals.reshape(shape[:-1]))


def _matrices(diagonals: AnyArray) -> AnyArray:
    """Matrices (..., D, D) with these diagonals (..., D); all of a matrix is NaN where its diagonal is."""
    D = diagonals.shape[-1]
    result = np.zeros((*diagonals.shape, D), diagonals.dtype)
    result[..., np.arange(D), np.arange(D)] = diagonals
    result[np.isnan(diagonals).all(-1)] = np.nan
    return result


def _is_slice(item: Any) -> bool:
    return isinstance(item, slice)


def _is_all(item: Any) -> bool:
    return isinstance(item, slice) and item == slice(None)
