"""What a user may say about a file, where it is not found out from the file itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence


class Refused(ValueError):
    """A file that cannot be read as it is; the message says what was seen, where, and what can be done."""


@dataclasses.dataclass(frozen=True)
class ReadOptions:
    """What is known of a file.

    Attributes
    ----------
    columns, drop : sequence of str
        The columns to use, in this order (None: all that can be modelled), and those to leave out. An entry is the name
        of a column, or several names with commas between them.
    id : str, optional
        The column of the rows' names.
    labels : str, optional
        The column of the kinds that rows are known to be of.
    counts : str, optional
        The column that says how many observations each row stands for.
    decimal : "." or ",", optional
        The decimal separator.
    delimiter : str, optional
        One character between fields; "space" is any number of spaces.
    encoding : str, optional
        The encoding of the text, by a name that Python knows.
    header : bool, optional
        Whether the first line holds the names of the columns.
    skip : int
        Lines to pass over at the beginning.
    comment : str, optional
        What lines begin with that are no rows; by default "#", if the file begins with such lines.
    missing : sequence of str
        More values that stand for missing ones.
    constant : bool
        Take constant columns too, as rows to be predicted may have; no column is then the rows' name unless asked for.
    """

    columns: Sequence[str] | None = None
    drop: Sequence[str] = ()
    id: str | None = None
    labels: str | None = None
    counts: str | None = None
    decimal: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    header: bool | None = None
    skip: int = 0
    comment: str | None = None
    missing: Sequence[str] = ()
    constant: bool = False
