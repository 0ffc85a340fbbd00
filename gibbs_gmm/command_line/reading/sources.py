"""The bytes of a file, unpacked and as UTF-8 text; files that are no text are read by a reader, or named."""

from __future__ import annotations

import bz2
import codecs
import dataclasses
import difflib
import gzip
import importlib
import io
import lzma
import re
import sys
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gibbs_gmm.command_line.reading.numbers import Numbers
from gibbs_gmm.command_line.reading.options import Refused
from gibbs_gmm.kernels.types import AnyArray, IntArray

STDIN = "-"
_SAVE = "save it as CSV"
_PACKED: tuple[tuple[bytes, Callable[[bytes], bytes]], ...] = (
    (b"\x1f\x8b", gzip.decompress),
    (b"BZh", bz2.decompress),
    (b"\xfd7zXZ\0", lzma.decompress),
)
_NAMED = (
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook (.xls)"),
    (b"%PDF", "a PDF document"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"ARROW1", "an Arrow (Feather) file"),
    (b"\x89HDF", "an HDF5 file"),
    (b"$FL2", "an SPSS file"),
    (b"<stata_dta>", "a Stata file"),
    (b"RDX", "an R data file"),
    (b"X\n\0\0", "an R data file"),
    (b"{\\rtf", "an RTF document"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
)
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_BLOCK = 1 << 20


@dataclasses.dataclass(frozen=True)
class Text:
    """A text file: its content as UTF-8, and what has to be said of how it came to be that."""

    content: bytes
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Grid:
    """Columns of cells, before anybody asked which of them are numbers.

    Attributes
    ----------
    names : sequence of str
        Names of the columns; "" is a first column without one.
    columns : sequence
        For each its numbers, or a list of the cells' texts.
    lines : (N,) int64
        The line of the file, from 1, in which each row ends.
    notes : tuple of str
        What has to be said of how the file was read.
    delimiter : str
        What was between the fields; "" for files that are no text.
    """

    names: Sequence[str]
    columns: Sequence[Numbers | list[str]]
    lines: IntArray
    notes: tuple[str, ...] = ()
    delimiter: str = ""


def read_source(path: Path, encoding: str | None) -> Text | Grid | list[list[str]]:
    """The text of a file, its columns if it is of a kind that has any, or its rows if it is a workbook.

    Parameters
    ----------
    path : Path
        The file or pipe; ``-`` is standard input.
    encoding : str, optional
        The encoding of the text; found from its marks by default.

    Raises
    ------
    OSError
        The file cannot be read; FileNotFoundError and IsADirectoryError say so plainly.
    Refused
        It is not a table, or needs a reader that is not installed.
    """
    content = _bytes(path)
    for mark, unpack in _PACKED:
        if content.startswith(mark):
            try:
                content = unpack(content)
            except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
                raise Refused(f"the compressed file is damaged: {error}") from None
    if content.startswith(b"PK\x03\x04"):
        return _from_zip(content, encoding)
    if content.startswith(b"\x93NUMPY"):
        return _from_numpy(np.load(io.BytesIO(content), allow_pickle=False))
    if content.startswith(b"PAR1"):
        return _from_parquet(content)
    for mark, kind in _NAMED:
        if content.startswith(mark):
            raise Refused(f"this is {kind}, not text: {_SAVE}")
    return decoded(content, encoding)


def _bytes(path: Path) -> bytes:
    if str(path) == STDIN:
        return sys.stdin.buffer.read()
    if path.is_dir():
        raise IsADirectoryError(f"{str(path)!r} is a folder, not a CSV file")
    if not path.exists():
        beside = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
        close = difflib.get_close_matches(path.name, beside, 1, 0.7)
        hint = f"; did you mean {str(path.with_name(close[0]))!r}?" if close else ""
        raise FileNotFoundError(f"there is no file {str(path)!r}{hint}")
    return path.read_bytes()


def decoded(content: bytes, encoding: str | None) -> Text:
    """The bytes of a text as UTF-8. Without a name for the encoding: by its marks, UTF-8, or else cp1252."""
    if encoding is not None:
        try:
            text = content.decode(encoding)
        except LookupError:
            raise Refused(f"there is no encoding {encoding!r}; names are utf-8, cp1252, mac_roman, shift_jis") from None
        except UnicodeDecodeError as error:
            message = f"this is not {encoding} text: byte {error.start} cannot be read; try another --encoding"
            raise Refused(message) from None
        return _text(text.removeprefix("\ufeff").encode())
    for mark, name in _MARKS:
        if content.startswith(mark):
            content = content[len(mark) :]
            return _text(content if name == "utf-8" else _transcoded(content, name))
    start = np.frombuffer(content[:_BLOCK], np.uint8)
    if (start == 0).any():
        for name, nulls in (("utf-16-le", start[1::2]), ("utf-16-be", start[::2])):
            if np.count_nonzero(nulls == 0) > 0.7 * len(nulls):
                return _text(_transcoded(content, name))
        raise Refused("this is not a text file; save it as CSV in UTF-8")
    if _is_utf8(content):
        return _text(content)
    try:
        text = content.decode("cp1252")
    except UnicodeDecodeError:
        raise Refused(
            "this is not UTF-8 text, nor Windows' own (cp1252): say --encoding, such as mac_roman, cp850 or shift_jis, "
            "or save it as CSV in UTF-8"
        ) from None
    return _text(text.encode(), "read as Windows text (cp1252), since it is not UTF-8; if names look wrong, --encoding")


def _text(content: bytes, *notes: str) -> Text:
    """Text that is no table is refused here: markup and JSON. Lines end in a line feed."""
    content = content.rstrip(b"\x1a")  # the end-of-file mark of DOS
    if b"\0" in content:
        raise Refused("this is not a text file; save it as CSV in UTF-8")
    if b"\r" in content and b"\n" not in content:
        content = content.replace(b"\r", b"\n")
    start = content[:200].lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise Refused("this is a web page or XML, not a table: download the table itself as CSV")
    if re.match(rb'\{\s*(["}]|$)|\[\s*[\[{]', start):
        raise Refused(f"this is JSON, not a table: {_SAVE}")
    return Text(content, notes)


def _transcoded(content: bytes, encoding: str) -> bytes:
    try:
        return content.decode(encoding).encode()
    except UnicodeDecodeError:
        raise Refused(f"this looks like {encoding} text but is damaged; save it as CSV in UTF-8") from None


def _is_utf8(content: bytes) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(content), _BLOCK):
            decoder.decode(content[start : start + _BLOCK])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


# --- Files that are no text -------------------------------------------------------------------------------------------


def _from_zip(content: bytes, encoding: str | None) -> Text | Grid | list[list[str]]:
    """A workbook, a NumPy archive, or the only file in an archive."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except zipfile.BadZipFile as error:
        raise Refused(f"this is a ZIP archive, and damaged: {error}") from None
    names = [name for name in archive.namelist() if not name.endswith("/")]
    if "xl/workbook.xml" in names:
        return _from_excel(content)
    if "mimetype" in names and b"opendocument" in archive.read("mimetype"):
        raise Refused(f"this is an OpenDocument file (LibreOffice), not text: {_SAVE}")
    if names and all(name.endswith(".npy") for name in names):
        return _from_npz(content)
    names = [name for name in names if not name.startswith("__MACOSX/")]
    if len(names) != 1:
        raise Refused(f"this is a ZIP archive of {len(names)} files ({_some(names)}): unpack it and name one of them")
    return decoded(archive.read(names[0]), encoding)


def _from_excel(content: bytes) -> list[list[str]]:
    """The rows of the first sheet that has any."""
    try:
        openpyxl: Any = importlib.import_module("openpyxl")
    except ImportError:
        message = f"this is an Excel workbook (.xlsx): {_SAVE}, or install a reader: pip install openpyxl"
        raise Refused(message) from None
    workbook = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
    for sheet in workbook.worksheets:
        rows = [[_cell(value) for value in row] for row in sheet.iter_rows(values_only=True)]
        if any(any(row) for row in rows):
            return rows
    raise Refused("the workbook is empty")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2.0**53:
        return str(int(value))  # a workbook knows no integers
    return repr(value) if isinstance(value, float) else str(value)


def _from_parquet(content: bytes) -> Grid:
    for reader in ("polars", "pandas"):
        try:
            frame: Any = importlib.import_module(reader).read_parquet(io.BytesIO(content))
        except ImportError:
            continue
        names = [str(name) for name in frame.columns]
        columns = [_column(np.asarray(frame[name].to_numpy())) for name in frame.columns]
        return Grid(names, columns, np.arange(1, len(frame) + 1))
    raise Refused(f"this is a Parquet file: {_SAVE}, or install a reader: pip install polars")


def _from_npz(content: bytes) -> Grid:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        if "metadata" in file.files:
            raise Refused("this is a trace of gibbs-gmm, not data: `gibbs-gmm report FOLDER` makes its report again")
        tables = [name for name in file.files if file[name].ndim == 2 and file[name].dtype.kind in "iuf"]
        if len(tables) != 1:
            raise Refused(
                f"this NumPy archive holds {len(tables)} tables of numbers (its arrays: {_some(file.files)}), and one "
                "is wanted: save it alone, with numpy.save"
            )
        return _from_numpy(file[tables[0]])


def _from_numpy(array: AnyArray) -> Grid:
    if array.dtype.names is not None and array.ndim == 1:
        names = list(array.dtype.names)
        return Grid(names, [_column(array[name]) for name in names], np.arange(1, len(array) + 1))
    if array.dtype.kind not in "iuf" or array.ndim not in (1, 2):
        raise Refused(
            f"this NumPy array has the type {array.dtype} and the shape {array.shape}, and a table of numbers is "
            "wanted, rows by columns"
        )
    table = array if array.ndim == 2 else array[:, None]
    names = [f"x{j}" for j in range(table.shape[1])]
    return Grid(names, [_column(values) for values in table.T], np.arange(1, len(table) + 1))


def _column(values: AnyArray) -> Numbers | list[str]:
    """A typed column as numbers, or as texts."""
    if values.dtype.kind in "iuf":
        numbers = values.astype(np.float64)
        return Numbers(numbers, np.flatnonzero(np.isnan(numbers)))
    return ["" if value is None or value != value else str(value) for value in values.tolist()]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
