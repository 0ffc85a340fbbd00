"""Where the rows of the data and the labels of a chain are, for sweeps that are not compiled as a whole."""

from __future__ import annotations

from typing import Any, Protocol

from gibbs_gmm.kernels.sampler.rows import Rows


class Store(Protocol):
    """A store of the rows: threads over rows that are here (:mod:`threaded`), or other machines (:mod:`machines`).

    A sweep that fits one core is compiled as a whole, with the functions of :mod:`gibbs_gmm.kernels.sampler.rows`. One
    that does not is interpreted, and is handed the functions of a store. The bytes are the same.
    """

    always: bool
    """Whether every sweep is to be interpreted, however short."""

    def rows(self, chain: int, z: Any) -> Rows:
        """The functions that a sweep of this chain is handed, z being the labels in its state."""
