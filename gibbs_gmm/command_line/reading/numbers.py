"""A column of cells as numbers: decimal commas, thousands separators, per cent, currency and units."""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Iterable, Sequence

import numpy as np

from gibbs_gmm.command_line.reading.options import Refused
from gibbs_gmm.kernels.types import FloatArray, IntArray

_MISSING = frozenset(
    (
        *("", "na", "n/a", "n.a.", "<na>", "nan", "nat", "null", "none", "?", ".", "-", "--"),
        *("#n/a", "#na", "#value!", "#div/0!", "#ref!", "#num!", "#name?", "#null!"),  # as spreadsheets write them
    )
)
_CURRENCY = r"[$€£¥₹]|R\$|USD|EUR|GBP|CHF|JPY|SEK|NOK|DKK|PLN|CZK|Fr\.|kr\.?"
_SPACES = "\u0020\u00a0\u2009\u202f"
_CELL = re.compile(
    rf"(?P<open>\()?(?P<sign>[+\-\u2212]?)[{_SPACES}]?(?P<before>{_CURRENCY})?[{_SPACES}]?(?P<sign2>[+\-\u2212]?)"
    rf"(?P<body>\d(?:[\d.,'\u2019{_SPACES}]*\d)?[.,]?|[.,]\d+)(?P<power>[eEdD][+-]?\d+)?"
    rf"[{_SPACES}]?(?P<after>(?:[°%‰$€£¥₹µ]|[^\W\d_])[^\s,;()]{{0,11}})?(?P<close>\))?(?P<minus>-)?"
)
_SOME = 200  # cells that show how a column is written
_CODE = re.compile(r"0\d+")
_SEVERAL = re.compile(r"[-+]?[\d.,]+\s*(±|\+/-|\+-|-|\u2013|\.\.|to)\s*[\d.,]+\D*")
_NEARLY = {  # what might have been numbers, and what to do about it
    _SEVERAL: "several numbers in a cell ({}): write one in each",
    re.compile(r"\d+\s*/\s*\d+"): "fractions ({}, ...): write them as decimals",
    re.compile(r"\d+:\d\d(:\d\d([.,]\d+)?)?"): "times ({}, ...): write them as numbers, such as hours",
}
_WRITTEN = {  # what Python would not read, beside separators and units
    "spaces between thousands": re.compile(rf"\d[{_SPACES}]\d"),
    "apostrophes between thousands": re.compile(r"\d['\u2019]\d"),
    "typographic minus signs": re.compile("\u2212"),
    "minus signs behind numbers": re.compile(r"\d-\s*$"),
    "negative numbers in parentheses": re.compile(r"^\s*\("),
    "Fortran's powers of ten": re.compile(r"\d[dD][+-]?\d"),
}
_LIMIT = re.compile(r"[<>≤≥]=?\s*[\d.,]+")
_GROUPS = {mark: re.compile(rf"\d{{1,3}}(?:{re.escape(mark)}\d{{3}})+") for mark in ".,"}
_AMBIGUOUS = re.compile(r"[1-9]\d{0,2}[.,]\d{3}")


@dataclasses.dataclass(frozen=True)
class _Cell:
    """A cell that is a number in some notation: its digits, what stands before or after them, its power of ten.

    ``marks`` are the decimal separators under which it is one: both, if it could be either.
    """

    negative: bool
    body: str
    power: str
    affix: str
    marks: str

    def value(self, decimal: str) -> float:
        """The number, under one of its decimal separators."""
        body = self.body.replace("," if decimal == "." else ".", "").replace(",", ".")
        number = float(body + self.power.upper().replace("D", "E"))  # D is Fortran's
        return -number if self.negative else number


@dataclasses.dataclass(frozen=True, eq=False)
class Numbers:
    """A column as numbers. ``missing`` are the rows without.

    ``notation`` says how cells were read that are not written as Python writes numbers, and ``example`` shows one.
    """

    values: FloatArray
    missing: IntArray
    notation: str = ""
    example: str = ""


@dataclasses.dataclass(frozen=True)
class Unread:
    """Why a column is no numbers; ``lost`` if it might have been, and somebody should be told how."""

    reason: str
    lost: bool = False


def is_missing(cell: str, more: Iterable[str] = ()) -> bool:
    """Whether a cell stands for a missing value."""
    text = cell.strip()
    return text.lower() in _MISSING or text in more


def code_among(cells: Sequence[str]) -> str | None:
    """A cell that is a code and no number, such as 01234, if all cells have its length."""
    code = next((cell.strip() for cell in cells[:_SOME] if _CODE.fullmatch(cell.strip())), None)
    return code if code is not None and all(len(cell.strip()) == len(code) for cell in cells) else None


def number(cell: str) -> float | None:
    """The cell as a number with a decimal point, or None if it is anything else."""
    try:
        value = float(cell)
    except ValueError:
        return None
    return None if math.isnan(value) or "_" in cell else value


def is_number(cell: str) -> bool:
    """Whether a cell is a number in some notation, units and currency included."""
    return number(cell) is not None or _parsed(cell) is not None


def plain_numbers(cells: Sequence[str]) -> FloatArray | None:
    """All cells as numbers with decimal points, in one pass, or None if any of them is something else."""
    try:
        values = np.array(list(map(float, cells)))
    except ValueError:
        return None
    if np.isnan(values).any() or "_" in "".join(cells):  # Python reads "1_0" as 10; nobody else does
        return None
    return None if _looks_grouped(cells) else values


def _looks_grouped(cells: Sequence[str]) -> bool:
    """Whether points may be between thousands: three digits after each, and whole numbers below 1000 beside them.

    (Decimals that are not padded with zeros have fewer digits here and there; those that are padded, on all rows.)
    """
    first = cells[:_SOME]
    if not any("." in cell for cell in first):
        return False
    bare = [cell.strip().lstrip("+-") for cell in first] if len(first) == len(cells) else []
    if not all(_AMBIGUOUS.fullmatch(cell) for cell in bare or map(str.strip, cells) if "." in cell):
        return False
    whole = [len(cell) for cell in bare or cells if "." not in cell]
    return max(whole, default=0) == 3


def _parsed(cell: str) -> _Cell | None:
    match = _CELL.fullmatch(cell.strip())
    if match is None:
        return None
    part = match.groupdict(default="")
    if (part["open"] == "(") != (part["close"] == ")") or (part["sign"] and part["sign2"]):
        return None
    signs = part["sign"] + part["sign2"] + part["minus"]
    if len(signs) + (part["open"] == "(") > 1 or (part["before"] and part["after"]):
        return None
    pieces = re.split(f"[{_SPACES}'\u2019]", part["body"])
    if len(pieces) > 1 and not (len(pieces[0]) <= 3 and all(re.match(r"\d{3}(?!\d)", piece) for piece in pieces[1:])):
        return None
    body = "".join(pieces)
    negative = signs in ("-", "\u2212") or part["open"] == "("
    marks = _marks(body)
    return _Cell(negative, body, part["power"], part["before"] or part["after"], marks) if marks else None


def _marks(body: str) -> str:
    """The decimal separators under which digits with points and commas are a number; "" if there is none."""
    found = [mark for mark in ".," if mark in body]
    if not found:
        return ".,"
    if len(found) == 2:
        decimal = body[max(body.rfind("."), body.rfind(","))]
        whole = body[: body.rfind(decimal)]
        return decimal if decimal not in whole and _GROUPS["." if decimal == "," else ","].fullmatch(whole) else ""
    (mark,) = found
    if body.count(mark) > 1:
        return ("." if mark == "," else ",") if _GROUPS[mark].fullmatch(body) else ""
    return ".," if _AMBIGUOUS.fullmatch(body) else mark


class Cells:
    """The texts of a column, looked at once: which of them are missing, and what numbers the others are."""

    def __init__(self, texts: list[str], missing: Sequence[str] = ()) -> None:
        if any(text.startswith('="') for text in texts):  # as spreadsheets keep texts that look like numbers
            texts = [text[2:-1] if text.startswith('="') and text.endswith('"') else text for text in texts]
        self.texts = texts
        self.absent = np.zeros(len(texts), bool)
        self.plain = plain_numbers(texts) if not missing else None
        if self.plain is not None:
            return
        self.absent = np.array([is_missing(text, missing) for text in texts], bool)
        present = [text for text, gone in zip(texts, self.absent.tolist(), strict=True) if not gone]
        numbers = plain_numbers(present) if present else None
        if numbers is not None:
            self.plain = np.full(len(texts), np.nan)
            self.plain[~self.absent] = numbers

    @functools.cached_property
    def parsed(self) -> dict[str, _Cell | None]:
        """Each distinct text that is not missing, taken apart."""
        present = (text for text, gone in zip(self.texts, self.absent.tolist(), strict=True) if not gone)
        return {text: _parsed(text) for text in dict.fromkeys(present)}

    @property
    def proof(self) -> str:
        """The decimal separators that the column proves: "", ".", "," or ".,"."""
        if self.plain is not None:
            return "." if any("." in text for text in self.texts) else ""
        found = {cell.marks for cell in self.parsed.values() if cell is not None and len(cell.marks) == 1}
        return "".join(sorted(found, reverse=True))


def read_column(name: str, column: Cells, lines: IntArray, decimal: str, certain: bool) -> Numbers | Unread:
    """The cells of a column as numbers, or why they are none.

    Parameters
    ----------
    name : str
        For messages.
    column : Cells
        The texts.
    lines : (N,) int64
        Where in the file they are.
    decimal : "", "." or ","
        The decimal separator of the file, if it is known.
    certain : bool
        Whether it was given, so that nothing else may be found.

    Raises
    ------
    Refused
        It holds numbers but for some texts, or its separators can be read in two ways.
    """
    cells, absent = column.texts, column.absent
    if (code := code_among(cells)) is not None:
        return Unread(f"codes with leading zeros ({code!r}, ...)")
    if column.plain is not None and (decimal != "," or not column.proof):
        return Numbers(column.plain, np.flatnonzero(absent))
    parsed = column.parsed
    special = {text: value for text, one in parsed.items() if one is None and (value := number(text)) is not None}
    texts = {cell for cell, one in parsed.items() if one is None and cell not in special}
    n_text = sum(cell in texts for cell in cells) if texts else 0
    n_numbers = len(cells) - int(absent.sum()) - n_text
    if n_numbers == n_text == 0:
        return Unread("empty")
    first = next((cell for cell in cells if cell in texts), "")
    if n_text >= n_numbers:
        for form, what in _NEARLY.items():
            if form.fullmatch(first.strip()):
                return Unread(what.format(repr(first)), lost=True)
        return Unread(f"text ({first!r}, ...)")
    where = {cell: int(line) for cell, line in zip(reversed(cells), lines[::-1], strict=True)}
    if texts:
        raise Refused(_stray(name, first, where[first], n_text))
    ones = {cell: one for cell, one in parsed.items() if one is not None}
    affixes = dict.fromkeys([*("" for _ in special), *(one.affix for one in ones.values())])
    if len(affixes) > 3:
        return Unread(f"text ({next(iter(ones))!r}, ...)")
    if len(affixes) > 1:
        some = dict.fromkeys([""], next(iter(special), "")) | {one.affix: cell for cell, one in reversed(ones.items())}
        shown = " and ".join(repr(some[affix]) for affix in [*affixes][:2])
        return Unread(f"numbers with and without a unit, or with different ones ({shown}): write all in one", lost=True)
    mark = _decimal(name, ones, where, decimal, certain)
    values_of = special | {cell: one.value(mark) for cell, one in ones.items() if mark in one.marks}
    if len(values_of) < len(ones) + len(special):
        wrong = next(cell for cell in ones if cell not in values_of)
        count = sum(cell in ones and cell not in values_of for cell in cells)
        raise Refused(_stray(name, wrong, where[wrong], count))
    values = np.array([math.nan if gone else values_of[cell] for cell, gone in zip(cells, absent, strict=True)])
    return Numbers(values, np.flatnonzero(absent), *_notation(ones, mark, next(iter(affixes), "")))


def _stray(name: str, cell: str, line: int, count: int) -> str:
    more = f" (and {count - 1} more such value{'s'[: count > 2]})" if count > 1 else ""
    if _LIMIT.fullmatch(cell.strip()):
        advice = "that is a limit, not a value: write a number in its place, such as half the limit"
    else:
        advice = "correct it, remove the line, or leave the column out with --drop"
    return f"column {name!r} holds numbers, but {cell!r} in line {line}{more}; {advice}"


def _decimal(name: str, ones: dict[str, _Cell], where: dict[str, int], decimal: str, certain: bool) -> str:
    """The decimal separator of a column."""
    proof = {next(iter(one.marks)): cell for cell, one in reversed(ones.items()) if len(one.marks) == 1}
    if certain:
        return decimal
    if len(proof) == 2:
        point, comma = proof["."], proof[","]
        raise Refused(
            f"column {name!r} holds {point!r} in line {where[point]} and {comma!r} in line {where[comma]}, with "
            "different decimal separators: write all with one, or leave the column out with --drop"
        )
    if proof:
        return next(iter(proof))
    commas, points = ([cell for cell, one in ones.items() if mark in one.body] for mark in ",.")
    if decimal or not (commas or _looks_grouped(list(ones))):
        return decimal or "."
    cell = (commas or points)[0]
    mark, other = (",", ".") if commas else (".", ",")
    whole, fraction = ones[cell].body.replace(mark, ""), ones[cell].body.replace(mark, ".")
    raise Refused(
        f"column {name!r} holds {cell!r} in line {where[cell]}, which may be {whole} or {fraction}: say --decimal "
        f"{other} for the first, --decimal {mark} for the second"
    )


def _notation(ones: dict[str, _Cell], mark: str, affix: str) -> tuple[str, str]:
    """How cells are written that Python would not read, or not as the same numbers, and an example."""
    changed = next((cell for cell, one in ones.items() if number(cell) != one.value(mark)), None)
    if changed is None:
        return "", ""
    said = []
    thousands = "," if mark == "." else "."
    if mark == "," and any("," in one.body for one in ones.values()):
        said.append("decimal commas")
    if any(thousands in one.body for one in ones.values()):
        said.append(f"{'commas' if thousands == ',' else 'points'} between thousands")
    said += [what for what, written in _WRITTEN.items() if any(map(written.search, ones))]
    if affix:
        said.append("per cent" if affix == "%" else f"the unit {affix!r}")
    return " and ".join(said) or "other notation", f"{changed.strip()!r} is read as {ones[changed].value(mark):.12g}"
