"""Priors of the number of components and their weights."""

from __future__ import annotations

import dataclasses
from typing import Any

from gibbs_gmm import validate


@dataclasses.dataclass(frozen=True)
class FiniteMixture:
    """A known number of components, weights ~ Dirichlet(concentration, ..., concentration).

    Parameters
    ----------
    n_components : int >= 1
        How many components there are.
    concentration : float > 0
        Dirichlet parameter of *each* component (not their sum). 1 is uniform over the simplex; well below 1 expects
        some components to stay empty (a sparse finite mixture).
    """

    n_components: int
    concentration: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_components", validate.integer("n_components", self.n_components, 1))
        object.__setattr__(self, "concentration", validate.positive("concentration", self.concentration))

    def to_dict(self) -> dict[str, Any]:
        """Its parameters as plain numbers, for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> FiniteMixture:
        """The inverse of :meth:`to_dict`."""
        return cls(**values)
