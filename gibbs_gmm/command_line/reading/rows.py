"""What is known of the rows of a table beside their numbers."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gibbs_gmm.kernels.types import IntArray


@dataclasses.dataclass(frozen=True, eq=False)
class Rows:
    """What is known of the rows of a table beside its numbers.

    Attributes
    ----------
    lines : (N,) int64
        Where they are in the file, from 1.
    id_name, ids : str and list of str
        The column of the rows' names, and these; "" and None if there is none.
    labels : list, optional
        The kinds that rows are known to be of, as int or str, None where that is not known.
    texts : dict
        Columns with few distinct values that were left out, such as the species -> their N values as text.
    """

    lines: IntArray
    id_name: str = ""
    ids: list[str] | None = None
    texts: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    labels: list[int | str | None] | None = None
