"""Reading files that are as they should be: what is a column of numbers, and a plain message for everything else."""

from pathlib import Path

import numpy as np
import pytest

from gibbs_gmm.checks import data
from gibbs_gmm.command_line.reading.options import ReadOptions
from gibbs_gmm.command_line.reading.table import Table, read_table

DATA = Path(__file__).resolve().parents[1] / "data"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "some.csv"


def read(path: Path, text: str, **options: object) -> Table:
    path.write_bytes(text.encode())
    return read_table(path, ReadOptions(**options))


def refusal(path: Path, text: str, **options: object) -> str:
    """The message, after the name of the file, with which this text is refused."""
    with pytest.raises(ValueError, match=r"some\.csv") as caught:
        read(path, text, **options)
    file, _, message = str(caught.value).partition(": ")
    assert file == repr(str(path))
    return message


@pytest.mark.parametrize(
    ("name", "shape", "left_out"),
    [
        ("iris", (150, 4), {"species": "text ('setosa', ...)"}),
        ("faithful", (272, 2), {}),
        ("galaxies", (82, 1), {}),
        ("acidity", (155, 1), {}),
        ("thyroid", (215, 5), {"Diagnosis": "text ('Normal', ...)"}),
        ("wine", (178, 14), {}),
    ],
)
def test_the_data_sets(name: str, shape: tuple[int, int], left_out: dict[str, str]) -> None:
    table = read_table(DATA / f"{name}.csv")
    assert table.X.shape == shape
    assert table.left_out == left_out
    assert table.warnings == ()
    assert table.notes == ()
    assert table.rows.lines.tolist() == list(range(2, shape[0] + 2))
    assert list(table.rows.texts) == list(left_out)
    assert table.X.dtype == np.float64
    assert table.X.flags.c_contiguous


def test_labels_that_were_dropped_are_kept_to_be_compared_with_clusters() -> None:
    rows = read_table(DATA / "wine.csv", ReadOptions(drop=("cultivar", "proline"))).rows
    assert list(rows.texts) == ["cultivar"]  # proline has too many values
    assert sorted(set(rows.texts["cultivar"])) == ["1", "2", "3"]


def test_fit_takes_a_table_with_its_names_and_without_a_copy(path: Path) -> None:
    table = read(path, "a,b\n1,2\n3,4.5\n")
    X, columns = data(table)
    assert columns == table.columns == ("a", "b")
    assert np.shares_memory(X, table.X)
    np.testing.assert_array_equal(np.array(table, dtype=np.float32), [[1, 2], [3, 4.5]])


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_separators_line_ends_and_byte_order_mark(path: Path, separator: str, newline: str) -> None:
    lines = ["\ufeff a ", "1.5", "", "-2e3"], ['"b, c; d"', "3", "", " 4 "]
    text = newline.join(separator.join(fields) if any(fields) else "" for fields in zip(*lines, strict=True))
    table = read(path, text)
    assert table.columns == ("a", "b, c; d")
    np.testing.assert_array_equal(table.X, [[1.5, 3.0], [-2000.0, 4.0]])


def test_a_first_line_of_numbers_is_data(path: Path) -> None:
    table = read(path, "1,2\n3,4\n")
    assert table.columns == ("x0", "x1")
    np.testing.assert_array_equal(table.X, [[1, 2], [3, 4]])


def test_a_first_line_that_is_neither_names_nor_numbers_is_refused(path: Path) -> None:
    """Headerless files with labels would lose their first row otherwise."""
    message = refusal(path, "5.1,3.5,setosa\n4.9,3.0,setosa\n")
    assert message.startswith("line 1 is neither column names nor numbers: it holds '5.1' and 'setosa'")
    assert message.endswith("or say --header no if it is a row, --header yes if it is not")
    table = read(path, "5.1,3.5,setosa\n4.9,3.0,setosa\n", header=False)
    assert table.columns == ("x0", "x1")
    assert table.left_out == {"x2": "text ('setosa', ...)"}


def test_columns_that_cannot_be_modelled_are_left_out(path: Path) -> None:
    table = read(path, ",a,kind,five,void,half\n1,2,x,5,,1\n2,1,,5,NA,two\n3,3,z,5,,3\n4,4,1,5,?,four\n")
    assert table.columns == ("a",)
    assert table.left_out == {
        "(the first column)": "it has no name: row labels",
        "kind": "text ('x', ...)",
        "five": "constant (always 5)",
        "void": "empty",
        "half": "text ('two', ...)",
    }


def test_columns_can_be_chosen_and_dropped(path: Path) -> None:
    text = "a,b,c,d\n1,2,x,7\n4,5,y,9\n"
    table = read(path, text, columns=("b", "a"))
    assert table.columns == ("b", "a")
    assert table.left_out == {"c": "not asked for", "d": "not asked for"}
    np.testing.assert_array_equal(table.X, [[2, 1], [5, 4]])
    table = read(path, text, drop=["d"])
    assert table.columns == ("a", "b")
    assert table.left_out == {"c": "text ('x', ...)", "d": "dropped"}
    assert refusal(path, text, columns=["c"]) == "column 'c' cannot be modelled: text ('x', ...)"
    assert refusal(path, text, columns=["e"]) == "there is no column 'e'; the columns are 'a', 'b', 'c', 'd'"
    assert refusal(path, "weight,size\n1,2\n3,1\n", drop=["Wieght"]) == (
        "there is no column 'Wieght'; did you mean 'weight'? The columns are 'weight', 'size'"
    )
    assert refusal(path, "petal_width,size\n1,2\n3,1\n", columns=["petal_width", "petal_height"]) == (
        "there is no column 'petal_height'; the columns are 'petal_width', 'size'"  # petal_width is meant already
    )
    assert refusal(path, "1,2\n3,1\n", columns=["a"]) == (
        "there is no column 'a'; the file begins with numbers, not with a line of names, and its columns are 'x0', 'x1'"
    )
    assert refusal(path, text, skip=3) == "nothing is left of it after --skip 3"
    assert refusal(path, text, drop=["e"]).startswith("there is no column 'e'")
    assert refusal(path, text, drop=["a", "b", "d"]).startswith("no numeric column is left (a: dropped; ")


def test_names_with_commas_and_options_that_are_repeated(path: Path) -> None:
    text = 'a,"b, left",c\n1.5,2,7\n4,5,9\n'
    assert read(path, text, columns=["c", "b, left"]).columns == ("c", "b, left")
    assert read(path, text, columns=['"b, left", c']).columns == ("b, left", "c")
    assert read(path, text, drop=["a,c"]).columns == ("b, left",)
    assert read(path, text, drop=["a", "b, left"]).columns == ("c",)


def test_missing_values_are_counted_and_located(path: Path) -> None:
    rows = [f"{i % 7},{'' if i in (3, 5) else i % 11},{'NaN' if i < 8 else i % 13}" for i in range(20)]
    table = read(path, "a,b,c\n\n" + "\n".join(rows))
    assert table.notes == (
        "10 missing values in 8 rows: column 'b' has 2 missing values, lines 6, 8; column 'c' has 8 missing values, "
        "lines 3, 4, 5, 6, 7, ...",
    )
    assert np.isnan(table.X).sum(0).tolist() == [0, 2, 8]
    for gap in ("", "NA", "NaN", "?", "."):
        table = read(path, f"a,b\n1,2\n3,{gap}\n4,5\n")
        assert table.notes == ("1 missing value in 1 row: column 'b' has 1 missing value, line 3",)
        np.testing.assert_array_equal(table.X, [[1, 2], [3, np.nan], [4, 5]])
    assert refusal(path, "a,b\n1,2\nNA,?\n3,4\n.,NaN\n5,6\n") == (
        "2 rows (lines 3, 5) without a value in any column that is used: remove them"
    )
    assert "constant" in read(path, "a,b\n1,2\n3,2\n4,\n").left_out["b"]


def test_infinite_values_are_located(path: Path) -> None:
    assert refusal(path, "a\n1\n-inf\n2\n").startswith(
        "column 'a' has 1 infinite value, line 3. Values that are infinite cannot be modelled: remove the 1 row"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n3\n", "line 3 has 1 field where 2 are expected"),
        ("a,b\n1,2\n\n3,4,5\n", "line 4 has 3 fields where 2 are expected"),
        ('a,"b\nb"\n1,2\n3,4,5\n', "line 4 has 3 fields where 2 are expected"),
        (
            "a\n1\n2\nthree\n4\n",
            "column 'a' holds numbers, but 'three' in line 4; correct it, remove the line, or leave the column out "
            "with --drop",
        ),
        (
            "a\n1\n2\n3\n4\n1_0\nx\n",
            "column 'a' holds numbers, but '1_0' in line 6 (and 1 more such value); correct it, remove the line, or "
            "leave the column out with --drop",
        ),
        ("", "the file is empty"),
        ("\n\n", "the file is empty"),
        ("a,b\n", "there are no rows below the line of column names"),
        ("a,b\nx,5\ny,5\n", "no numeric column is left (a: text ('x', ...); b: constant (always 5))"),
        ("a,b,a\n1,2,3\n", "line 1 names two columns 'a'; give each a name of its own"),
        ('a,b\n1,"2\n3,4\n', "line 3 is not valid CSV: unexpected end of data"),
    ],
)
def test_bad_files(path: Path, text: str, message: str) -> None:
    assert refusal(path, text) == message


def test_lines_are_those_of_the_file(path: Path) -> None:
    rows = [str(i * 7 % 31) for i in range(30)]
    assert read(path, "\n".join(rows)).rows.lines.tolist() == list(range(1, 31))
    rows[20] = ""
    rows[25] = "NA"
    assert refusal(path, "a\n" + "\n".join(rows)).startswith("1 row (line 27) without a value")


def test_the_fast_reader_and_the_careful_one_agree(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=(50, 3)), 10.0 ** rng.uniform(-300, 300, (50, 3))])
    text = "a,kind,b,c\n" + "".join(f"{a!r},k{i % 3}, {b!r} ,{c!r}\r\n" for i, (a, b, c) in enumerate(X.tolist()))
    fast = read(path, text)
    monkeypatch.setattr("gibbs_gmm.command_line.reading.text._quick", lambda *_: None)
    careful = read(path, text)
    assert fast.X.tobytes() == careful.X.tobytes() == X.tobytes()
    assert fast.rows.lines.tolist() == careful.rows.lines.tolist()
    assert fast.rows.texts == careful.rows.texts == {"kind": [f"k{i % 3}" for i in range(100)]}


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        ("1,2,3", "line 502 has 3 fields where 2 are expected"),
        ("1", "line 502 has 1 field where 2 are expected"),
        ("1,x", "column 'b' holds numbers, but 'x' in line 502;"),
        ("1,inf", "column 'b' has 1 infinite value, line 502."),
        ("1,1_0", "column 'b' holds numbers, but '1_0' in line 502;"),
    ],
)
def test_one_odd_line_far_down_is_found(odd: str, message: str, path: Path) -> None:
    lines = [f"{i % 7}.5,{i % 11}" for i in range(1000)]
    lines[500] = odd
    assert refusal(path, "a,b\n" + "\n".join(lines) + "\n").startswith(message)


def test_files_that_cannot_be_read(tmp_path: Path, path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no file '.*some\.csv'"):
        read_table(path)
    (tmp_path / "same.csv").touch()
    with pytest.raises(FileNotFoundError, match=r"there is no file '.*some\.csv'; did you mean '.*same\.csv'\?"):
        read_table(path)
    with pytest.raises(IsADirectoryError, match="is a folder, not a CSV file"):
        read_table(tmp_path)
    path.write_bytes(b"a\0b\x01\x02\n1\n")
    with pytest.raises(ValueError, match="not a text file"):
        read_table(path)
