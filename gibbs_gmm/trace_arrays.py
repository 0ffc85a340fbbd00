"""The arrays of a trace: one table, from which all that depends on their names, types and shapes follows.

Each has the axes (chain, draw, ...). What a prior of the components has in the trace, its covariances as it stores them
and the hyperparameters that it learns, it says itself: ``prior.fields()``.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gibbs_gmm.kernels.types import AnyArray

if TYPE_CHECKING:
    from gibbs_gmm.model.families import ComponentPrior


@dataclasses.dataclass(frozen=True)
class Field:
    """An array of a trace.

    Attributes
    ----------
    name : str
        Of the array, the attribute of a trace, the file in a run's folder and the variable of ArviZ.
    axes : tuple of str
        Its axes behind chain and draw: "component" (only as the first), "column", "column_2" or "row".
    kind : "float", "count", "label" or "label or none"
        float64, int64, the smallest unsigned integers that hold the labels 0..K-1, or int16 where -1 is one too.
    unused : float
        The value in component slots that a draw does not use.
    hyper : bool
        Whether it is a hyperparameter, and in a trace only where it is learned.
    place : str
        What it is among the draws of the kernels, if not what its name says.
    """

    name: str
    axes: tuple[str, ...] = ()
    kind: str = "float"
    unused: float = math.nan
    hyper: bool = False
    place: str = ""

    @property
    def per_slot(self) -> bool:
        """Whether it has a value for each component slot."""
        return self.axes[:1] == ("component",)

    def shape(self, slots: int, D: int, N: int) -> tuple[int, ...]:
        """The shape of a draw with this many component slots, columns and rows."""
        sizes = {"component": slots, "column": D, "column_2": D, "row": N}
        return tuple(sizes[axis] for axis in self.axes)

    def dtype(self, slots: int) -> np.dtype[Any]:
        """The type of its values, for this many component slots."""
        if self.kind == "label":
            return np.min_scalar_type(max(slots, 1) - 1)
        if self.kind == "label or none":
            return np.dtype(np.int16)
        return np.dtype(np.int64 if self.kind == "count" else np.float64)

    def bytes(self, slots: int, D: int, N: int) -> int:
        """Bytes of a draw."""
        return math.prod(self.shape(slots, D, N)) * self.dtype(slots).itemsize

    def with_slots(self, array: AnyArray, slots: int) -> AnyArray:
        """The array (draws, slots, ...) with this many component slots, cut or filled up with unused ones."""
        if not self.per_slot or array.shape[1] == slots:
            return array
        result = np.full((len(array), slots, *array.shape[2:]), self.unused)
        common = min(slots, array.shape[1])
        result[:, :common] = array[:, :common]
        return result

    def permuted(self, array: AnyArray, order: AnyArray) -> AnyArray:
        """The array (chain, draw, slots, ...) with component ``order[chain, draw, k]`` in slot k."""
        return np.take_along_axis(array, order.reshape(*order.shape, *[1] * (array.ndim - 3)), 2)


ALWAYS = (
    Field("weights", ("component",), unused=0.0),
    Field("means", ("component", "column")),
    Field("n_components", kind="count"),
    Field("n_clusters", kind="count"),
    Field("log_likelihood"),
    Field("log_posterior"),
)
_CONCENTRATION = Field("concentration", hyper=True)
_OUTLIER_WEIGHT = Field("outlier_weight", hyper=True)


def fields(
    prior: ComponentPrior, learns_concentration: bool, save_assignments: bool, outliers: bool = False
) -> tuple[Field, ...]:
    """The arrays of a trace under this prior of the components."""
    concentration = (_CONCENTRATION,) if learns_concentration else ()
    weight = (_OUTLIER_WEIGHT,) if outliers else ()
    assignments = (
        (Field("assignments", ("row",), "label or none" if outliers else "label"),) if save_assignments else ()
    )
    return (*ALWAYS, *prior.fields(), *concentration, *weight, *assignments)


def allocate(fields: Iterable[Field], shape: tuple[int, ...], slots: int, D: int, N: int) -> dict[str, AnyArray]:
    """Room for draws of this shape, with this many component slots."""
    return {field.name: np.empty((*shape, *field.shape(slots, D, N)), field.dtype(slots)) for field in fields}


def trace_bytes(fields: Iterable[Field], draws: int, slots: int, D: int, N: int) -> Mapping[str, int]:
    """Bytes of so many draws in each array, the largest first."""
    sizes = {field.name: draws * field.bytes(slots, D, N) for field in fields}
    return dict(sorted(sizes.items(), key=lambda item: -item[1]))
