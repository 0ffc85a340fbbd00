"""Draws that are maps of files: larger than memory, if need be, as long as what was read of them is given back."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np

from gibbs_gmm.kernels.types import AnyArray


def let_go(draws: AnyArray) -> None:
    """Give the pages of a file, if the draws are a map of one, back to the system, which has them when they are wanted.

    They would count as memory of this process otherwise.
    """
    base: Any = draws
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    if isinstance(base, np.memmap) and base.mode == "r" and hasattr(mmap, "MADV_DONTNEED"):
        base._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]
