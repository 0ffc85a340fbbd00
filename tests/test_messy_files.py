"""Files as they come: each is read to the right columns and values, and what is said of it has the right words."""

import gzip
import io
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gibbs_gmm.command_line.reading.options import ReadOptions
from gibbs_gmm.command_line.reading.table import Table, read_table

ROWS = np.round(np.random.default_rng(3).normal(40.0, 12.0, (30, 3)), 2)
ROWS[0] = 41.25, 39.5, 12.75


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "some.csv"


def lines(template: str, rows: np.ndarray = ROWS, comma: bool = False) -> str:
    """A line for each row, ``template`` with its three values ({0:.2f}, ...) and its number ({i})."""
    made = []
    for i, row in enumerate(rows.tolist()):
        cells = [f"{value:.2f}".replace(".", ",") if comma else f"{value:.2f}" for value in row]
        made.append(template.format(*cells, i=i))
    return "\n".join(made) + "\n"


def read(path: Path, content: str | bytes, written: str = "utf-8", **options: Any) -> Table:
    path.write_bytes(content.encode(written) if isinstance(content, str) else content)
    return read_table(path, ReadOptions(**options))


def refusal(path: Path, content: str | bytes, **options: Any) -> str:
    with pytest.raises(ValueError, match=r"some\.csv") as caught:
        read(path, content, **options)
    return str(caught.value).partition(": ")[2]


def check(table: Table, columns: tuple[str, ...], values: np.ndarray) -> None:
    assert table.columns == columns
    np.testing.assert_array_equal(table.X, values)


# --- Decimals, thousands, units ---


def test_a_german_spreadsheet(path: Path) -> None:
    text = "Nr;Länge;Breite;Höhe;Art\r\n" + lines("{i};{0};{1};{2};gemein", comma=True).replace("\n", "\r\n")
    table = read(path, text.replace("gemein", "selten", 7), "cp1252")
    check(table, ("Länge", "Breite", "Höhe"), ROWS)
    assert table.left_out == {
        "Art": "text ('selten', ...)",
        "Nr": "the names of the rows, by whole numbers in order; to model it: --columns",
    }
    assert table.notes == (
        "read as Windows text (cp1252), since it is not UTF-8; if names look wrong, --encoding",
        "decimal commas in columns 'Länge', 'Breite', 'Höhe': '41,25' is read as 41.25",
    )
    assert (table.rows.id_name, table.rows.ids) == ("Nr", [str(i) for i in range(30)])
    assert table.rows.texts == {"Art": ["selten"] * 7 + ["gemein"] * 23}
    assert table.warnings == ()


def test_decimal_commas_in_one_column_only(path: Path) -> None:
    table = read(path, "a;b\n" + "".join(f"{a:.2f};{b:.2f}\n".replace(".", ",", 1) for a, b, _ in ROWS.tolist()))
    check(table, ("a", "b"), ROWS[:, :2])
    assert table.notes == ("decimal commas in column 'a': '41,25' is read as 41.25",)


def test_one_column_of_decimal_commas_and_no_separator(path: Path) -> None:
    check(read(path, "v\n" + lines("{0}", comma=True)), ("v",), ROWS[:, :1])


def test_decimal_commas_between_commas_cannot_be_told(path: Path) -> None:
    assert "save the file with semicolons" in refusal(path, "a,b\n" + lines("{0},{1}", comma=True))
    check(read(path, "a,b\n" + lines('"{0}","{1}"', comma=True)), ("a", "b"), ROWS[:, :2])


@pytest.mark.parametrize(
    ("cell", "value", "said"),
    [
        ("1.234.567,5", 1234567.5, "decimal commas and points between thousands"),
        ("1,234,567.5", 1234567.5, "commas between thousands"),
        ("1 234 567,5", 1234567.5, "decimal commas and spaces between thousands"),
        ("1\u00a0234\u202f567.5", 1234567.5, "spaces between thousands"),
        ("1'234'567.5", 1234567.5, "apostrophes between thousands"),
        ("12.5%", 12.5, "per cent"),
        ("12,5 %", 12.5, "decimal commas and per cent"),
        ("$1,234.50", 1234.5, "commas between thousands and the unit '$'"),
        ("1.234,50 €", 1234.5, "decimal commas and points between thousands and the unit '€'"),
        ("USD 12.5", 12.5, "the unit 'USD'"),
        ("12.5 cm", 12.5, "the unit 'cm'"),
        ("12.5mg/l", 12.5, "the unit 'mg/l'"),
        ("12.5 °C", 12.5, "the unit '°C'"),
        ("\u221212.5", -12.5, "typographic minus signs"),
        ("(12.5)", -12.5, "negative numbers in parentheses"),
        ("12.5-", -12.5, "minus signs behind numbers"),
        ("1,5E+03", 1500.0, "decimal commas"),
    ],
)
def test_notations(cell: str, value: float, said: str, path: Path) -> None:
    others = [cell.replace("5", str(digit)) for digit in (8, 6, 7)]
    table = read(path, "v;w\n" + "".join(f"{text};{i % 3}\n" for i, text in enumerate([cell, *others])))
    assert table.columns == ("v", "w")
    assert table.X[0, 0] == value
    assert len(set(table.X[:, 0])) == 4
    assert table.notes == (f"{said} in column 'v': {cell.strip()!r} is read as {value:.12g}",)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["1,234", "5,678"], "column 'v' holds '1,234' in line 2, which may be 1234 or 1.234: say --decimal . for the"),
        (["1.234", "950", "5.678"], "column 'v' holds '1.234' in line 2, which may be 1234 or 1.234: say --decimal , "),
        (["3,5", "2.75"], "column 'v' holds '2.75' in line 3 and '3,5' in line 2, with different decimal separators"),
    ],
)
def test_what_can_be_read_in_two_ways_is_asked(cells: list[str], message: str, path: Path) -> None:
    assert refusal(path, "v\tw\n" + "".join(f"{cell}\t{i * i}\n" for i, cell in enumerate(cells))).startswith(message)


def test_the_decimal_separator_can_be_given(path: Path) -> None:
    text = "v\tw\n1,234\t1\n5,678\t9\n2,345\t4\n"
    np.testing.assert_array_equal(read(path, text, decimal=",").X[:, 0], [1.234, 5.678, 2.345])
    np.testing.assert_array_equal(read(path, text, decimal=".").X[:, 0], [1234.0, 5678.0, 2345.0])
    assert "'3.5' in line 2" in refusal(path, "v;w\n3.5;1\n4,5;2\n5,5;7\n", decimal=",")


def test_other_columns_tell_thousands_from_decimals(path: Path) -> None:
    table = read(path, "v;w\n1.234;0,5\n950;1,5\n12.345;2,25\n")
    np.testing.assert_array_equal(table.X, [[1234.0, 0.5], [950.0, 1.5], [12345.0, 2.25]])
    table = read(path, 'v,w\n"1,234",0.5\n950,1.5\n"12,345",2.25\n')
    np.testing.assert_array_equal(table.X, [[1234.0, 0.5], [950.0, 1.5], [12345.0, 2.25]])


def test_different_units_are_left_out_with_a_warning(path: Path) -> None:
    table = read(
        path, "len,w\n" + "".join(f"{a} {('cm', 'mm')[i % 2]},{b}\n" for i, (a, b, _) in enumerate(ROWS.tolist()))
    )
    assert table.columns == ("w",)
    (warning,) = table.warnings
    assert warning.startswith("column 'len' is left out: it holds numbers with and without a unit, or with different")
    assert "'41.25 cm'" in warning
    assert warning.endswith("write all in one")


def test_limits_of_detection_are_named_as_such(path: Path) -> None:
    message = refusal(path, "a,b\n" + lines("{0},{1}") + "3.5,<0.5\n")
    assert message == (
        "column 'b' holds numbers, but '<0.5' in line 32; that is a limit, not a value: write a number in its place, "
        "such as half the limit"
    )


@pytest.mark.parametrize(
    ("cells", "reason", "lost"),
    [
        ("0123{i:02}", "codes with leading zeros ('012300', ...)", False),
        ("{0} \u00b1 0.5", "several numbers in a cell ('41.25 \u00b1 0.5'): write one in each", True),
        ("{i}-1{i}", "several numbers in a cell ('0-10'): write one in each", True),
        ("{i}/2", "fractions ('0/2', ...): write them as decimals", True),
        ("0{i}:30", "times ('00:30', ...): write them as numbers, such as hours", True),
        ("2024-0{i}", "dates ('2024-00', ...)", False),
        ("0:{i}", "text ('0:0', ...)", False),
        ("A{i}", "text ('A0', ...)", False),
    ],
)
def test_what_only_looks_like_numbers(cells: str, reason: str, lost: bool, path: Path) -> None:
    table = read(path, "v,w\n" + lines(f"{cells},{{1}}"))
    check(table, ("w",), ROWS[:, 1:2])
    assert table.left_out == {"v": reason}
    assert len(table.warnings) == lost


def test_numbers_that_spreadsheets_and_fortran_wrote(path: Path) -> None:
    check(read(path, "a,b\n" + lines('="{0}",{1}')), ("a", "b"), ROWS[:, :2])
    table = read(path, "a b\n" + "".join(f"{a:.4E} {b:.4E}\n".replace("E", "D") for a, b, _ in ROWS.tolist()))
    np.testing.assert_allclose(table.X, ROWS[:, :2], rtol=1e-12)


# --- Encodings and packing ---


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_encodings_are_found(encoding: str, path: Path) -> None:
    table = read(path, "größe\tb\r\n" + lines("{0}\t{1}"), encoding)
    check(table, ("größe", "b"), ROWS[:, :2])
    assert len(table.notes) == (encoding == "cp1252")


def test_an_encoding_can_be_given(path: Path) -> None:
    text = "größe,b\n" + lines("{0},{1}")
    check(read(path, text, "mac_roman", encoding="mac_roman"), ("größe", "b"), ROWS[:, :2])
    assert "there is no encoding 'klingon'" in refusal(path, text, encoding="klingon")
    assert "this is not utf-8 text: byte 2" in refusal(path, text.encode("cp1252"), encoding="utf-8")
    assert "say --encoding" in refusal(path, b"gr\x81\x9d,b\n1,2\n")


def test_packed_files(path: Path) -> None:
    text = ("a,b\n" + lines("{0},{1}")).encode()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("inside.csv", text)
    for content in (gzip.compress(text), archive.getvalue()):
        check(read(path, content), ("a", "b"), ROWS[:, :2])
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("other.csv", text)
    assert "a ZIP archive of 2 files (inside.csv, other.csv): unpack it" in refusal(path, archive.getvalue())
    assert "the compressed file is damaged" in refusal(path, gzip.compress(text)[:40])


def test_old_line_ends(path: Path) -> None:
    check(read(path, ("a,b\n" + lines("{0},{1}")).replace("\n", "\r")), ("a", "b"), ROWS[:, :2])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1...", "an old Excel workbook (.xls), not text: save it as CSV"),
        (b"%PDF-1.7 ...", "a PDF document"),
        (b"SQLite format 3\0...", "an SQLite database"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (b"<!DOCTYPE html><html>", "a web page or XML, not a table"),
        (b'{"a": [1, 2]}', "JSON, not a table"),
        (b'[{"a": 1}]', "JSON, not a table"),
    ],
)
def test_other_files_are_named(content: bytes, words: str, path: Path) -> None:
    assert words in refusal(path, content)


def test_numpy_files(path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, ROWS)
    check(read(path, buffer.getvalue()), ("x0", "x1", "x2"), ROWS)
    buffer = io.BytesIO()
    np.savez(buffer, X=ROWS, labels=np.arange(30))
    check(read(path, buffer.getvalue()), ("x0", "x1", "x2"), ROWS)
    np.savez(buffer := io.BytesIO(), X=ROWS, Y=ROWS)
    assert "holds 2 tables of numbers (its arrays: X, Y)" in refusal(path, buffer.getvalue())
    np.save(buffer := io.BytesIO(), np.array(["a", "b"]))
    assert "a table of numbers is wanted" in refusal(path, buffer.getvalue())


def test_parquet(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({"a": ROWS[:, 0], "kind": ["u", "v", "w"] * 10, "b": ROWS[:, 1], "n": range(30)})
    frame.write_parquet(path)
    table = read_table(path)
    check(table, ("a", "b"), ROWS[:, :2])
    assert table.rows.texts == {"kind": ["u", "v", "w"] * 10}
    assert table.rows.id_name == "n"
    frame.with_columns(b=pl.Series([None, *ROWS[1:, 1].tolist()])).write_parquet(path)
    assert read_table(path).notes == ("1 missing value in 1 row: column 'b' has 1 missing value, line 1",)
    for reader in ("polars", "pandas"):
        monkeypatch.setitem(sys.modules, reader, None)
    with pytest.raises(ValueError, match="this is a Parquet file: save it as CSV, or install a reader"):
        read_table(path)


def test_excel(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    sheet = book.active
    for row in ([], ["", "sample", "a", "b"], *(["", f"S{i}", *row[:2]] for i, row in enumerate(ROWS.tolist()))):
        sheet.append(row)
    book.save(path)
    table = read_table(path)
    check(table, ("a", "b"), ROWS[:, :2])
    assert table.rows.lines[0] == 3
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(ValueError, match=r"an Excel workbook \(.xlsx\): save it as CSV, or install a reader"):
        read_table(path)


# --- Lines ---


def test_wholly_empty_lines_and_spare_separators(path: Path) -> None:
    check(read(path, "\n;\na;b\n" + lines("{0};{1}\n\n;\n  ")), ("a", "b"), ROWS[:, :2])
    check(read(path, "a,b\n" + lines("{0},{1},")), ("a", "b"), ROWS[:, :2])
    table = read(path, "a,b,\n" + lines("{0},{1},"))
    check(table, ("a", "b"), ROWS[:, :2])
    assert table.left_out == {"x2": "empty"}


@pytest.mark.parametrize(("separator", "gap"), [("|", ""), ("\t", " "), (" ", "   ")])
def test_separators(separator: str, gap: str, path: Path) -> None:
    template = gap + separator.join(["{0}", "{1}", "{2}"]) + gap
    check(
        read(path, separator.join("abc") + "\n" + lines(template.replace(separator, separator + gap))),
        ("a", "b", "c"),
        ROWS,
    )


def test_the_separator_can_be_given(path: Path) -> None:
    check(read(path, "a:b\n" + lines("{0}:{1}"), delimiter=":"), ("a", "b"), ROWS[:, :2])
    check(read(path, "sep=;\na;b\n" + lines("{0};{1}", comma=True)), ("a", "b"), ROWS[:, :2])
    check(read(path, "a b\n" + lines("{0} {1}"), delimiter="space"), ("a", "b"), ROWS[:, :2])


def test_titles_are_skipped_when_told(path: Path) -> None:
    text = "Results of 2024\n\na,b\n" + lines("{0},{1}")
    assert refusal(path, text) == (
        "line 1 ('Results of 2024') has 1 field where the others have 2: if the names of the columns come later, say "
        "--skip 2"
    )
    table = read(path, text, skip=2)
    check(table, ("a", "b"), ROWS[:, :2])
    assert table.rows.lines[0] == 4


def test_comments(path: Path) -> None:
    table = read(path, "# measured by me\n# in cm\na,b\n" + lines("{0},{1}").replace("\n", "\n# a note\n", 1))
    check(table, ("a", "b"), ROWS[:, :2])
    assert table.notes == ("what follows '#' is no data: 2 lines at the top",)
    assert table.rows.lines[:3].tolist() == [4, 6, 7]
    check(read(path, "a,b\n" + lines("{0},{1}") + "//end\n", comment="//"), ("a", "b"), ROWS[:, :2])
    check(read(path, "# a b c\n" + lines("{0} {1} {2}")), ("a", "b", "c"), ROWS)  # as numpy.savetxt writes


def test_rows_with_names_but_no_name_for_these(path: Path) -> None:
    table = read(path, '"a" "b"\n' + lines('"row {i}" {0} {1}'))  # as R's write.table writes
    check(table, ("a", "b"), ROWS[:, :2])
    assert table.left_out == {"(the first column)": "it has no name: row labels"}
    assert table.rows.ids is not None
    assert table.rows.ids[:2] == ["row 0", "row 1"]


def test_a_line_of_units_is_no_row(path: Path) -> None:
    table = read(path, "length;kind;width\ncm;;kg\n" + lines("{0};k;{1}"))
    check(table, ("length", "width"), ROWS[:, :2])
    assert table.notes == ("line 2 is no row: it has no number where all others do (units?)",)
    assert table.rows.lines[0] == 3
    table = read(path, "| a | b |\n|---|---|\n" + lines("| {0} | {1} |"))  # as in Markdown
    check(table, ("a", "b"), ROWS[:, :2])
    assert table.left_out == {"(the first column)": "empty", "x3": "empty"}


def test_names_in_several_lines(path: Path) -> None:
    table = read(path, '"length\n(cm)","width\n(kg)"\n' + lines("{0},{1}"))
    check(table, ("length (cm)", "width (kg)"), ROWS[:, :2])
    assert table.rows.lines[0] == 4


def test_a_last_line_of_sums_is_found(path: Path) -> None:
    assert refusal(path, "a,b\n" + lines("{0},{1}") + "Total,1200.5\n") == (
        "column 'a' holds numbers, but 'Total' in line 32; correct it, remove the line, or leave the column out with "
        "--drop"
    )


def test_what_is_no_table_says_so(path: Path) -> None:
    assert refusal(path, "a~b\n" + lines("{0}~{1}")).endswith(
        "if fields are separated by another character, say --delimiter"
    )
    assert refusal(path, "1.5, 2.5, 3.5\n").endswith(": there is only one row")


# --- Names of columns and rows ---


def test_years_are_names_if_the_rest_says_so(path: Path) -> None:
    check(read(path, "2019,2020,2021\n" + lines("{0},{1},{2}")), ("2019", "2020", "2021"), ROWS)
    table = read(path, "country;2019;2020\n" + lines("c{i};{0};{1}", comma=True))
    check(table, ("2019", "2020"), ROWS[:, :2])
    check(read(path, ",0,1,2\n" + lines("{i},{0},{1},{2}")), ("0", "1", "2"), ROWS)  # as pandas writes
    years = "2001,2002\n2003,2009\n2011,2004\n"
    assert refusal(path, years) == (
        "line 1 may be names of columns or the first row (it holds '2001'): say --header yes or --header no"
    )
    assert read(path, years, header=True).columns == ("2001", "2002")
    assert len(read(path, years, header=False).X) == 3


@pytest.mark.parametrize(
    ("name", "cells", "by"),
    [
        ("sample_id", "S{i}", ""),
        ("count", "{i}", ", by whole numbers in order; to model it: --columns"),
        ("patient nr.", "1{i}7", ", by its name, and that all its values are distinct; to model it: --columns"),
        ("Unnamed: 0", "{i}", ", by whole numbers in order; to model it: --columns"),
    ],
)
def test_names_of_rows(name: str, cells: str, by: str, path: Path) -> None:
    order = np.argsort(ROWS[:, 2]) if "its name" in by else np.arange(30)
    body = lines(f"{{0}},{cells},{{1}}").splitlines()
    table = read(path, f"a,{name},b\n" + "\n".join(body[i] for i in order))
    check(table, ("a", "b"), ROWS[order, :2])
    assert table.left_out == {name: f"the names of the rows{by}"}
    assert table.rows.id_name == name
    assert table.rows.ids is not None
    assert table.rows.ids[0] == cells.format(i=order[0])
    if by:
        assert read_table(path, ReadOptions(columns=["a", name])).columns == ("a", name)


def test_the_column_of_names_can_be_given(path: Path) -> None:
    text = "a,who,b\n" + lines("{0},w{i},{1}")
    table = read(path, text, id="who")
    assert (table.rows.id_name, table.left_out) == ("who", {"who": "the names of the rows"})
    assert read(path, text).rows.ids is None
    assert "there is no column 'hwo'; did you mean 'who'?" in refusal(path, text, id="hwo")


def test_the_last_column_is_never_taken_for_names(path: Path) -> None:
    assert read(path, "velocity\n" + "".join(f"{9172 + i * i}\n" for i in range(20))).columns == ("velocity",)


# --- Warnings ---


def test_numbers_that_stand_for_missing_ones(path: Path) -> None:
    rows = ROWS.copy()
    rows[[3, 9], 1] = -999
    text = "a,b\n" + lines("{0},{1}", rows)
    (warning,) = read(path, text).warnings
    assert warning == (
        "column 'b' is -999 in 2 rows (lines 5, 11), far from all its other values: if that stands for a missing "
        "value, say so with --missing -999"
    )
    assert "column 'b' has 2 missing values, lines 5, 11" in read(path, text, missing=["-999"]).notes[0]
    unknown = read(path, "a,b\n" + lines("{0},{1}") + "1,unknown\n", missing=["unknown"])
    assert "column 'b' has 1 missing value, line 32" in unknown.notes[0]


def test_very_many_columns_are_not_all_named(path: Path) -> None:
    text = (
        ",".join(f"v{i}" for i in range(300))
        + "\n"
        + "".join(",".join(f"{i * k % 7}.5" for i in range(300)) + "\n" for k in range(9))
    )
    assert refusal(path, text, drop=["w"]).endswith("'v18', 'v19', ... (300 in all)")


def test_dates(path: Path) -> None:
    text = "day,when,year,a\n" + "".join(
        f"2024-01-{d:02},202401{d:02},{1990 + d % 11},{a}\n"
        for d, a in zip([5, 3, *range(1, 28)], ROWS[:29, 0], strict=True)
    )
    table = read(path, text)
    assert table.left_out == {"day": "dates ('2024-01-05', ...)"}
    assert table.columns == ("when", "year", "a")
    (warning,) = table.warnings
    assert warning.startswith("column 'when' holds dates or years (20240105, ...), 'year' holds dates or years")


def test_every_message_names_the_file_and_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin:
        buffer = io.BytesIO(("a;b\n" + lines("{0};{1}", comma=True)).encode())

    monkeypatch.setattr(sys, "stdin", Stdin)
    check(read_table("-"), ("a", "b"), ROWS[:, :2])
    with pytest.raises(ValueError, match="standard input: the file is empty"):
        read_table("-")
