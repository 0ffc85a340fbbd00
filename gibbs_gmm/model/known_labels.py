"""Known labels: rows of which it is known what kind they are."""

from __future__ import annotations

import base64
import dataclasses
import numbers
from typing import Any

import numpy as np

from gibbs_gmm.kernels.types import IntArray
from gibbs_gmm.model.weight_priors import WeightPrior

UNKNOWN = -1
_NAMED = 5  # kinds in a message
_MANY_ROWS = 20  # of known kinds; a few may well have a kind each


@dataclasses.dataclass(frozen=True, eq=False)
class KnownLabels:
    """The kinds that some rows are known to be of.

    Attributes
    ----------
    names : tuple
        Of the G kinds, in order: the distinct values of the labels, as int, float, bool or str.
    tags : (N,) int64
        The number of each row's kind, -1 where it is unknown.
    """

    names: tuple[Any, ...]
    tags: IntArray

    @classmethod
    def of(cls, labels: Any, N: int) -> KnownLabels:
        """The labels of N rows: any hashable values; -1, None, NaN, "" and what pandas calls missing are unknown.

        Raises
        ------
        TypeError, ValueError
            There are not N labels in one dimension, a value is not hashable, or none is known.
        """
        known = _known(labels, N)
        try:
            names = _in_order(set(known.values()))
        except TypeError:
            raise _not_hashable(known) from None
        if not names:
            raise ValueError("labels must hold at least one known label, got none: leave labels out")
        number = {name: k for k, name in enumerate(names)}
        tags = np.full(N, UNKNOWN, np.int64)
        tags[list(known)] = [number[value] for value in known.values()]
        return cls(tuple(map(_written, names)), tags)

    def require_room(self, prior: WeightPrior) -> None:
        """Refuse a weight prior that allows fewer components than there are kinds."""
        most = np.flatnonzero(np.isfinite(prior.log_n_prior()[0]))
        if len(most) > 0 and most[-1] < len(self.names):
            raise ValueError(
                f"n_components must allow at least {len(self.names)} components, one for each kind in labels "
                f"({', '.join(map(repr, self.names[:5]))}{', ...' * (len(self.names) > 5)}), got at most {most[-1]}"
            )

    @property
    def messages(self) -> tuple[str, ...]:
        """What may be wrong with the labels: kinds that are spelt in two ways, and a kind for nearly every row."""
        found, spelt = [], dict[str, list[str]]()
        for name in self.names:
            if isinstance(name, str):
                spelt.setdefault(" ".join(name.split()).casefold(), []).append(name)
        twice = ["/".join(map(repr, names)) for names in spelt.values() if len(names) > 1]
        if twice:
            more = f" and {len(twice) - _NAMED} more" if len(twice) > _NAMED else ""
            found.append(
                f"labels has kinds that differ in capitals or spaces only: {', '.join(twice[:_NAMED])}{more}. They are "
                "taken as different kinds, each a component of its own: spell them alike if they are one."
            )
        known = np.count_nonzero(self.tags != UNKNOWN)
        if known >= _MANY_ROWS and 2 * len(self.names) > known:
            found.append(
                f"labels has {len(self.names)} kinds for {known} rows, each a component of its own: a label says of "
                "which kind a row is, and is no name of the row and no measurement."
            )
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON: the tags as one text, four bytes each in base 64."""
        return {"names": list(self.names), "tags": base64.b64encode(self.tags.astype("<i4").tobytes()).decode()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> KnownLabels:
        """The inverse of :meth:`to_dict`."""
        tags = np.frombuffer(base64.b64decode(values["tags"]), "<i4")
        return cls(tuple(values["names"]), tags.astype(np.int64))


def tags_of(labels: Any, N: int, names: tuple[Any, ...] | None) -> IntArray:
    """The number of the kind of N rows, of the kinds of a fit with these names, (N,); -1 where it is unknown.

    Raises
    ------
    TypeError, ValueError
        As :meth:`KnownLabels.of`; or the fit had no labels, or none of such a name.
    """
    if not names:
        raise ValueError("labels must be None for a fit that had none, of whose components none is known to be a kind")
    known, tags = _known(labels, N), np.full(N, UNKNOWN, np.int64)
    number = {name: k for k, name in enumerate(names)}
    for i, value in known.items():
        if not _hashable(value):
            raise _not_hashable(known)
        if _written(value) not in number:
            some = f"{', '.join(map(repr, names[:_NAMED]))}{', ...' * (len(names) > _NAMED)}"
            raise ValueError(f"labels must be among those of the fit ({some}), got {value!r} for row {i}")
        tags[i] = number[_written(value)]
    return tags


def _known(labels: Any, N: int) -> dict[int, Any]:
    """The rows whose labels are known, of N, and these."""
    values = _values(labels)
    if len(values) != N:
        raise ValueError(f"labels must have {N} entries, one for each row of X, got {len(values)}")
    return {i: _plain(value) for i, value in enumerate(values) if not _is_unknown(value)}


def _not_hashable(known: dict[int, Any]) -> TypeError:
    i, value = next((i, value) for i, value in known.items() if not _hashable(value))
    return TypeError(f"labels must be hashable, got {value!r} ({type(value).__name__}) for row {i}")


def _written(name: Any) -> Any:
    """A name as a trace keeps it."""
    return name if isinstance(name, (int, float, str)) else str(name)


def _values(labels: Any) -> list[Any]:
    """The labels as a list of whatever they are."""
    if isinstance(labels, (str, bytes)) or not (hasattr(labels, "__len__") or hasattr(labels, "__iter__")):
        raise TypeError(f"labels must hold one label for each row of X, got {labels!r}")
    if isinstance(labels, (list, tuple)):
        return list(labels)
    shape = getattr(labels, "shape", None)
    if shape is not None and len(shape) != 1:
        raise ValueError(f"labels must have one dimension, got shape {tuple(shape)}")
    convert = getattr(labels, "tolist", None) or getattr(labels, "to_list", None)
    return list(labels) if convert is None else list(convert())


def _is_unknown(value: Any) -> bool:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(value, str):
        return not value.strip()
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and (value != value or value == UNKNOWN)


def _plain(value: Any) -> Any:
    """Numbers of NumPy as those of Python, and whole ones as int: pandas makes floats of integers beside gaps."""
    value = value.item() if isinstance(value, np.generic) else value
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _in_order(names: set[Any]) -> list[Any]:
    """Sorted; by type and text where they cannot be compared."""
    try:
        return sorted(names)
    except TypeError:
        return sorted(names, key=lambda name: (type(name).__name__, str(name)))
