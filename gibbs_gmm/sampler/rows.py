"""Where the rows of the data and the labels of a chain are, for sweeps that are not compiled as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from gibbs_gmm.kernels.families.generic import Family
from gibbs_gmm.kernels.sampler.rows import Rows
from gibbs_gmm.kernels.sampler.state import Data
from gibbs_gmm.kernels.types import FloatArray, LabelArray
from gibbs_gmm.model.families import ComponentPrior

if TYPE_CHECKING:
    from gibbs_gmm.data import Observations


class Store(Protocol):
    """A store of the rows: threads over rows that are here (:mod:`threaded`), other machines (:mod:`machines`), or a
    GPU (:mod:`device`).

    A sweep that fits one core is compiled as a whole, with the functions of :mod:`gibbs_gmm.kernels.sampler.rows`. One
    that does not is interpreted, and is handed the functions of a store. The bytes are the same, but for a GPU's.
    """

    always: bool
    """Whether every sweep is to be interpreted, however short."""

    def rows(self, chain: int, data: Data, z: Any) -> Rows:
        """The functions that a sweep of this chain is handed, z being the labels in its state."""


class Away(Store, Protocol):
    """A store of rows that are not here, with every chain's labels."""

    X: Any
    """What stands for the rows, (N, D): rows come when they are indexed."""
    columns: tuple[str, ...]
    shards: int
    """Parts in which statistics come back."""

    def require(self, prior: ComponentPrior, observations: Observations) -> None:
        """Refuse components or rows that it cannot take, by a ValueError."""

    def add_chain(self, chain: int, prior: Any, family: Family, data: Data, capacity: int) -> None:
        """Begin with labels 0 of a chain, and rows that are not known in full as ``data`` fills them in."""

    def gather(self, chain: int) -> LabelArray:
        """All labels of a chain."""

    def gather_true(self, chain: int) -> FloatArray:
        """All values of a chain that are not exact, row by row."""

    def scatter(self, chain: int, labels: LabelArray, true: FloatArray) -> None:
        """Replace all labels of a chain, and all values that are not exact."""
