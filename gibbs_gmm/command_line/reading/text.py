"""Text as a grid of cells: what separates fields, which line has the names, which lines are no rows."""

from __future__ import annotations

import csv
import dataclasses
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gibbs_gmm.command_line.reading.numbers import (
    Cells,
    Numbers,
    code_among,
    is_missing,
    is_number,
    number,
    plain_numbers,
)
from gibbs_gmm.command_line.reading.options import ReadOptions, Refused
from gibbs_gmm.command_line.reading.sources import Grid, Text
from gibbs_gmm.kernels.types import IntArray

_PREVIEW_LINES, _PREVIEW_BYTES = 200, 1 << 18
_DELIMITERS = ("\t", ";", "|", ",", " ")
_NO_DELIMITER = "\x1f"  # of a file of one column
_COMMENTS = ("#", "%")
_BLOCK = 1 << 24
_LINE_FEED = 10
_YEARS = range(1700, 2201)
_PLAIN = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_NAMED = {"space": " ", "tab": "\t", "\\t": "\t"}


@dataclasses.dataclass(frozen=True)
class _Head:
    """How the rows of a text are to be read: from which byte and line on, their names and separator, and comments."""

    start: int
    line: int  # lines before ``start``
    names: list[str]
    delimiter: str
    comment: str | None
    spare: bool  # whether each row ends in a separator, so that it has an empty field more
    notes: tuple[str, ...]
    rows: list[list[str]]  # the first ones


def read_text(text: Text, options: ReadOptions, exact: bool = False) -> Grid:
    """The cells of a text; with ``exact``, all as they are written.

    Raises
    ------
    Refused
        It is empty, its lines have different numbers of fields, or it cannot be told whether the first of them are
        names.
    """
    head = _head(text, options)
    notes = (*text.notes, *head.notes)
    quick = None if exact else _quick(text.content, head, options)
    columns, lines = quick if quick is not None else _careful(text.content, head)
    return Grid(head.names, columns, lines, notes, head.delimiter)


def grid_of_rows(rows: list[list[str]], options: ReadOptions) -> Grid:
    """The cells of a workbook, which has rows but no text."""
    numbered = [(line, row) for line, row in enumerate(rows, start=1) if line > options.skip and any(row)]
    if not numbered:
        raise Refused("the sheet is empty")
    width = max(len(row) for _, row in numbered)
    full = [[*row, *[""] * (width - len(row))] for _, row in numbered]
    used = [j for j in range(width) if any(row[j].strip() for row in full)]
    full = [[row[j] for j in used] for row in full]
    line = numbered[0][0]
    if sum(map(bool, full[0])) < min(2, len(used)):
        raise Refused(_titled(line, full[0][0], 1, len(used), line))
    if _is_header(full[0], full[1:], options, line):
        names, full, numbered = _names(full[0], line), full[1:], numbered[1:]
    else:
        names = [f"x{j}" for j in range(len(used))]
    if not full:
        raise Refused("there are no rows below the line of column names")
    return Grid(names, [list(column) for column in zip(*full, strict=True)], np.array([n for n, _ in numbered]))


# --- The head ---------------------------------------------------------------------------------------------------------


def _head(text: Text, options: ReadOptions) -> _Head:
    """What the first lines say."""
    content, notes = text.content, []
    start = _after(content, 0, options.skip)
    line = options.skip
    given = None if options.delimiter is None else _NAMED.get(options.delimiter, options.delimiter)
    marked = re.match(rb"\"?sep=([^\r\n])\"?\r?\n", content[start : start + 16], re.IGNORECASE)
    if marked is not None:  # Excel's own mark
        given, start, line = given or marked[1].decode(), start + marked.end(), line + 1
    lines = _preview(content, start)
    comment = options.comment
    if comment is None and (begun := next((one.strip() for one in lines if one.strip()), "")).startswith(_COMMENTS):
        comment = begun[0]
    comments = [k for k, one in enumerate(lines) if comment is not None and one.lstrip().startswith(comment)]
    rows_at = [k for k, one in enumerate(lines) if one.strip() and k not in set(comments)]
    if not rows_at:
        skipped = f"nothing is left of it after --skip {options.skip}"
        raise Refused(skipped if content and options.skip else "the file is empty")
    delimiter = given or _delimiter([lines[k] for k in rows_at])
    rows = [(k, row) for k, row in _split_lines(lines, rows_at, delimiter) if any(cell.strip() for cell in row)]
    if not rows:
        raise Refused("the file is empty")
    before = [k for k in comments if k < rows[0][0]]
    if before and (named := _commented_names(lines[before[-1]], comment or "", delimiter, rows)) is not None:
        first, names, body = rows[0][0], named, rows
        before = before[:-1]
    elif _is_header(rows[0][1], [row for _, row in rows[1:]], options, line + rows[0][0] + 1):
        first, names, body = rows[0][0] + 1, _names(rows[0][1], line + rows[0][0] + 1), rows[1:]
        if _is_no_row([row for _, row in body]):
            notes.append(f"line {line + body[0][0] + 1} is no row: it has no number where all others do (units?)")
            first, body = body[0][0] + 1, body[1:]
    else:
        first, names, body = rows[0][0], [f"x{j}" for j in range(len(rows[0][1]))], rows
    if before:
        remarks = f"{len(before)} line{'s'[: len(before) > 1]} at the top"
        notes.append(f"what follows {comment!r} is no data: {remarks}")
    widths = {len(row) for _, row in body}
    spare = False
    if widths == {len(names) + 1}:
        spare = all(not row[-1].strip() for _, row in body)
        if not spare and (delimiter != "," or len(names) > 1):
            names = ["", *names]  # as R's write.table names columns: not that of the rows' names
    if not spare:
        _refuse_preamble(rows, delimiter, line)
    offset = _after(content, start, first)
    return _Head(offset, line + first, names, delimiter, comment, spare, tuple(notes), [row for _, row in body])


def _after(content: bytes, start: int, lines: int) -> int:
    """The place after this many lines."""
    for _ in range(lines):
        end = content.find(b"\n", start)
        if end < 0:
            return len(content)
        start = end + 1
    return start


def _preview(content: bytes, start: int) -> list[str]:
    """The first lines, whole ones only."""
    part = content[start : start + _PREVIEW_BYTES]
    if len(part) == _PREVIEW_BYTES and b"\n" in part:
        part = part[: part.rfind(b"\n")]
    lines = part.decode("utf-8", "ignore").split("\n")
    return [line.rstrip("\r") for line in lines[:_PREVIEW_LINES]]


def _split_lines(lines: list[str], wanted: list[int], delimiter: str) -> list[tuple[int, list[str]]]:
    """The fields of the wanted lines, with the number of the line in which each row ends."""
    chosen = [_prepared(lines[k], delimiter) for k in wanted]
    reader = _reader((f"{line}\n" for line in chosen), delimiter, strict=False)
    return [(wanted[reader.line_num - 1], row) for row in reader]


def _reader(lines: Iterator[str], delimiter: str, strict: bool = True) -> Any:
    return csv.reader(lines, delimiter=delimiter, skipinitialspace=delimiter in " ,;|", strict=strict)


def _prepared(line: str, delimiter: str) -> str:
    return line.strip() if delimiter == " " else line


def _delimiter(lines: list[str]) -> str:
    """What separates the fields: that by which most lines have equally many, and most of these are numbers."""
    best, chosen = (0.0, 0.0), _NO_DELIMITER
    for delimiter in _DELIMITERS:
        rows = [row for row in _reader(iter(_prepared(line, delimiter) for line in lines), delimiter, False) if row]
        body = rows[1:] or rows
        width, count = Counter(map(len, body)).most_common(1)[0]
        if width < 2 or not (len(rows[0]) == width or _lacks_one(len(rows[0]), width, delimiter, body)):
            continue
        cells = [cell for row in body for cell in row]
        score = (round(count / len(body), 1), sum(map(is_number, cells)) / len(cells))
        if score > best:
            best, chosen = score, delimiter
    return chosen if chosen != _NO_DELIMITER else _commonest(lines)


def _lacks_one(names: int, width: int, delimiter: str, body: Sequence[list[str]]) -> bool:
    """Whether the line of names has one field less than the rows, because these have names too or end in a separator.

    One name above two fields may be that of a single column, with decimal commas, or a title.
    """
    few = names > 1 or delimiter in " \t" or all(not row[-1].strip() for row in body)
    return names == width - 1 and few


def _commonest(lines: list[str]) -> str:
    """The separator of lines none of which has as many fields as the first: that of most of them."""
    for delimiter in _DELIMITERS[:-1]:
        if len(lines) > 2 and delimiter != "," and sum(delimiter in line for line in lines) > len(lines) / 2:
            return delimiter
    several = sum(line.count(",") > 0 and not is_number(line) for line in lines)
    return "," if several > len(lines) / 2 else _NO_DELIMITER


def _refuse_preamble(rows: list[tuple[int, list[str]]], delimiter: str, line: int) -> None:
    """Titles above the table would be taken for its names."""
    widths = [len(row) for _, row in rows]
    if len(rows) < 3 or delimiter == _NO_DELIMITER:
        return
    usual, count = Counter(widths[1:]).most_common(1)[0]
    alone = widths[0] == 1 and delimiter not in " \t"
    if (widths[0] + 1 < usual or (alone and usual > 1)) and count > len(widths) / 2:
        at = rows[widths.index(usual)][0]
        shown = rows[0][1][0]
        if 2 * widths[0] == usual > 2 and delimiter == ",":
            raise Refused(
                f"the first line has {widths[0]} fields and the others have {usual}: if commas are both between fields "
                "and in numbers, nobody can tell them apart; save the file with semicolons between its fields"
            )
        raise Refused(_titled(line + rows[0][0] + 1, shown, widths[0], usual, line + at))


def _titled(line: int, shown: str, fields: int, usual: int, skip: int) -> str:
    return (
        f"line {line} ({shown!r}) has {fields} field{'s'[: fields > 1]} where the others have {usual}: if the names of "
        f"the columns come later, say --skip {skip}"
    )


def _commented_names(line: str, comment: str, delimiter: str, rows: list[tuple[int, list[str]]]) -> list[str] | None:
    """The names in the last comment above the rows, as NumPy's savetxt writes them, if that is what it holds."""
    bare = line.strip().removeprefix(comment)
    cells: list[str] = next(_reader(iter([_prepared(bare, delimiter)]), delimiter, False), [])
    first = rows[0][1]
    if len(cells) != len(first) or len(cells) < 2 or any(map(is_number, cells)) or not any(map(is_number, first)):
        return None
    return _names(cells, 1)


def _is_header(first: list[str], body: Sequence[list[str]], options: ReadOptions, line: int) -> bool:
    """Whether the first row holds names. Raises Refused if that cannot be told."""
    if options.header is not None:
        return options.header
    numbers = [is_number(cell) and not is_missing(cell, options.missing) for cell in first]
    if not any(numbers):
        return True
    texts = [cell for cell, numeric in zip(first, numbers, strict=True) if not numeric and not is_missing(cell)]
    counted = _counted([cell for cell, numeric in zip(first, numbers, strict=True) if numeric])
    if counted and body and (texts or len(first) > 1):
        like = [
            _is_among(first[j], [row[j] for row in body if j < len(row)], counted == "years")
            for j, numeric in enumerate(numbers)
            if numeric
        ]
        if not any(like):
            return True
        if texts or counted == "years":
            raise Refused(
                f"line {line} may be names of columns or the first row (it holds {first[numbers.index(True)]!r}): "
                "say --header yes or --header no"
            )
        return False
    if texts:
        number_ = first[numbers.index(True)]
        raise Refused(
            f"line {line} is neither column names nor numbers: it holds {number_!r} and {texts[0]!r}; give the file a "
            "first line of names, or say --header no if it is a row, --header yes if it is not"
        )
    return False


def _is_no_row(body: Sequence[list[str]]) -> bool:
    """Whether the first row below the names holds texts where all others hold numbers: units, or a rule of dashes."""
    if len(body) < 3:
        return False
    first, others = body[0], body[1:]
    numeric = [all(j < len(row) and is_number(row[j]) for row in others) for j in range(len(first))]
    return (
        any(numeric)
        and not any(is_number(cell) for cell in first)
        and all(cell.strip() for cell, number_ in zip(first, numeric, strict=True) if number_)
    )


def _counted(cells: Sequence[str]) -> str:
    """Whether these may be names though they are numbers: "years", or "positions" 0, 1, ... or 1, 2, ...; or ""."""
    if not all(re.fullmatch(r"\d{1,4}", cell.strip()) for cell in cells):
        return ""
    values = [int(cell) for cell in cells]
    if len(set(values)) == len(values) and all(value in _YEARS for value in values):
        return "years"
    positions = (list(range(len(values))), list(range(1, len(values) + 1)))
    return "positions" if len(values) > 1 and values in positions else ""


def _is_among(name: str, cells: Sequence[str], years: bool) -> bool:
    """Whether a number could be one more value of the cells below it: near them if it is a year, else whole as they."""
    values = [value for cell in cells if (value := number(cell.strip().replace(",", "."))) is not None]
    if not values:
        return False
    if not years:
        return sum(value != round(value) for value in values) <= 0.2 * len(values)
    margin = max(values) - min(values) + 1
    return min(values) - margin <= float(name) <= max(values) + margin


def _names(first: list[str], line: int) -> list[str]:
    """Names of columns; the first may lack one, others get the names of their places."""
    names = [" ".join(cell.lstrip("\ufeff").split()) or f"x{j}" for j, cell in enumerate(first)]
    if len(first) > 1 and not first[0].strip():
        names[0] = ""
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise Refused(f"line {line} names two columns {twice!r}; give each a name of its own")
    return names


# --- The rows ---------------------------------------------------------------------------------------------------------


def _quick(content: bytes, head: _Head, options: ReadOptions) -> tuple[list[Numbers | list[str]], IntArray] | None:
    """All rows by compiled readers, where every line has its fields and each column is plain numbers or plain text.

    None where anything at all is otherwise: it is then looked at with care.
    """
    k, start = len(head.names), head.start
    if head.delimiter == " " or head.spare or options.missing or not head.rows or b'"' in content[start:]:
        return None
    if any(len(row) != k for row in head.rows):
        return None
    if head.comment is not None and head.comment.encode() in content[start:]:
        return None
    decimal = _decimal(content, head, options)
    kinds = [_is_numeric([row[j] for row in head.rows], decimal) for j in range(k)]
    used = [j for j in range(k) if kinds[j]]
    marks = _marks(content, start, head.delimiter)
    if None in kinds or not used or len(marks) % k != 0:
        return None
    grid, bytes_ = marks.reshape(-1, k), np.frombuffer(content, np.uint8)
    if not (bytes_[grid[:-1, -1]] == _LINE_FEED).all() or (bytes_[grid[:, :-1]] == _LINE_FEED).any():
        return None
    body = content[start:] if decimal == "." else content[start:].replace(b",", b".")
    delimiter = None if head.delimiter == _NO_DELIMITER else head.delimiter
    try:
        values = np.loadtxt(
            io.BytesIO(body), delimiter=delimiter, usecols=used, ndmin=2, comments=None, encoding="utf-8"
        )
    except (ValueError, UnicodeDecodeError):
        return None
    if len(values) != len(grid) or not np.isfinite(values).all():
        return None
    starts = np.append(start, grid.ravel()[:-1] + 1).reshape(grid.shape)
    columns: list[Numbers | list[str]] = []
    for j in range(k):
        if kinds[j]:
            cells = [row[j] for row in head.rows]
            columns.append(Numbers(values[:, used.index(j)], np.zeros(0, np.int64), *_comma(cells)))
        else:
            ranges = zip(starts[:, j].tolist(), grid[:, j].tolist(), strict=True)
            columns.append([content[a:b].decode().strip() for a, b in ranges])
    return columns, np.arange(head.line + 1, head.line + 1 + len(grid))


def _decimal(content: bytes, head: _Head, options: ReadOptions) -> str:
    """The decimal separator under which rows may be read as they are: a comma only where there is no point at all."""
    if options.decimal is not None:
        return options.decimal
    columns = [Cells([row[j] for row in head.rows]) for j in range(len(head.names))]
    comma = head.delimiter != "," and {mark for column in columns for mark in column.proof} == {","}
    return "," if comma and b"." not in content[head.start :] else "."


def _is_numeric(cells: list[str], decimal: str) -> bool | None:
    """Whether cells are plain numbers (True) or plain text (False); None if they are neither."""
    if decimal == "," and any("." in cell for cell in cells):
        return None
    plain = [cell.strip().replace(",", ".") if decimal == "," else cell.strip() for cell in cells]
    if all(map(_PLAIN.fullmatch, plain)):
        if code_among(plain) is not None:
            return None
        return True if decimal == "," or plain_numbers(plain) is not None else None
    return None if any(is_number(cell) or is_missing(cell) for cell in cells) else False


def _comma(cells: list[str]) -> tuple[str, str]:
    """What is to be said of a column with decimal commas."""
    cell = next((cell.strip() for cell in cells if "," in cell), None)
    return ("", "") if cell is None else ("decimal commas", f"{cell!r} is read as {float(cell.replace(',', '.')):.12g}")


def _marks(content: bytes, start: int, delimiter: str) -> IntArray:
    """Where the separators of fields and the ends of lines are; a last line without an end has one."""
    found, mark = [], ord(delimiter)
    for place in range(start, len(content), _BLOCK):
        block = np.frombuffer(content, np.uint8, min(_BLOCK, len(content) - place), place)
        found.append(np.flatnonzero((block == mark) | (block == _LINE_FEED)) + place)
    if not content.endswith(b"\n"):
        found.append(np.array([len(content)]))
    return np.concatenate(found)


def _careful(content: bytes, head: _Head) -> tuple[list[list[str]], IntArray]:
    """All rows one by one; the message for a line that is not like the others names it."""
    file = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", newline="")
    file.seek(head.start)
    reader = _reader(_lines(file, head), head.delimiter)
    rows, lines, width = [], [], len(head.names)
    try:
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            if head.spare and len(row) == width + 1 and not row[-1].strip():
                row.pop()
            if len(row) != width:
                line = head.line + reader.line_num
                raise Refused(_ragged(row, width, line, head))
            rows.append(row)
            lines.append(head.line + reader.line_num)
    except csv.Error as error:
        raise Refused(f"line {head.line + reader.line_num} is not valid CSV: {error}") from None
    if not rows:
        raise Refused("there are no rows below the line of column names")
    return [list(column) for column in zip(*rows, strict=True)], np.array(lines)


def _lines(file: io.TextIOWrapper, head: _Head) -> Iterator[str]:
    """The lines of the rows; comments are passed on as empty ones, so that lines are counted."""
    for line in file:
        bare = line.strip()
        if head.comment is not None and bare.startswith(head.comment):
            yield "\n"
        else:
            yield bare if head.delimiter == " " else line


def _ragged(row: list[str], width: int, line: int, head: _Head) -> str:
    message = f"line {line} has {len(row)} field{'s'[: len(row) > 1]} where {width} are expected"
    if head.delimiter == "," and len(row) == 2 * width:
        message += "; if commas are in numbers too, save the file with semicolons between its fields"
    return message
