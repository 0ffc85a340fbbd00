"""What `fit` says of data that a Gaussian is not meant for, and that it says nothing of ordinary data."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gibbs_gmm as gg
from gibbs_gmm.command_line.reading.options import ReadOptions
from gibbs_gmm.command_line.reading.table import read_table
from gibbs_gmm.data_warnings import messages, warn

DATA = Path(__file__).resolve().parents[1] / "data"
NAMES = tuple("abcdefghijklmnop")
rng = np.random.default_rng(0)
PLAIN = rng.normal(size=(200, 2))
SOILS = 100.0 * np.vstack([rng.dirichlet(a, 150) for a in ((30, 12, 8), (8, 14, 28))])


def said(X: np.ndarray) -> str:
    return " ".join(messages(X, NAMES[: X.shape[1]]))


@pytest.mark.parametrize("name", ["iris", "galaxies", "faithful", "acidity", "thyroid", "wine"])
def test_ordinary_data_are_passed_over(name: str) -> None:
    table = read_table(DATA / f"{name}.csv", ReadOptions(drop=["cultivar"] if name == "wine" else ()))
    assert messages(table.X, table.columns) == ()


@given(
    st.integers(2, 300),
    st.integers(1, 12),
    st.sampled_from([2, 9]),
    st.floats(-1e6, 1e6),
    st.integers(-100, 100),
    st.integers(0, 1000),
)
def test_continuous_data_are_passed_over(N: int, D: int, decimals: int, shift: float, power: int, seed: int) -> None:
    """Correlated clusters, rounded to a hundredth of their width or not at all, in any units."""
    generator = np.random.default_rng(seed)
    X = generator.normal(size=(N, D)) + 0.5 * generator.normal(size=(N, 1)) + 4.0 * generator.integers(3, size=(N, 1))
    assert said((X.round(decimals) + shift) * 10.0**power) == ""


@pytest.mark.parametrize(
    ("X", "part"),
    [
        (np.column_stack([PLAIN, PLAIN[:, 0] > 0]), "few distinct values: 'c' (2)."),
        (np.column_stack([PLAIN, rng.integers(1, 11, 200)]), "few distinct values: 'c' (10)."),
        (rng.normal(size=100).round()[:, None], "few distinct values: 'a' ("),
    ],
)
def test_discrete_columns(X: np.ndarray, part: str) -> None:
    assert part in said(X)


@pytest.mark.parametrize("decimals", [1, 2, 9])
def test_tied_columns(decimals: int) -> None:
    zeros = np.where(rng.random(200) < 0.2, 0.0, 2.0 + rng.gamma(3.0, size=200)).round(decimals)
    assert f"'c' (0 in {100 * np.mean(zeros == 0.0):.0f}%)" in said(np.column_stack([PLAIN, zeros]))
    clipped = PLAIN.clip(-0.8, 0.8).round(decimals + 1)
    shares = [f"{limit} in {100 * np.mean(clipped[:, 0] == limit):.0f}%" for limit in (-0.8, 0.8)]
    assert all(share in said(clipped) for share in shares)
    repeated = np.vstack([PLAIN, PLAIN[:1].repeat(15, 0)])
    assert "'a' (-1.17" not in said(PLAIN)
    assert f"'a' ({repeated[-1, 0]:g} in 7%) and 'b' ({repeated[-1, 1]:g} in 7%)" in said(repeated)


def test_columns_that_count_rows() -> None:
    for number in (np.arange(200), 10_000 - 3 * np.arange(200), np.cumsum(rng.integers(1, 9, 200))):
        assert "in order: 'c'." in said(np.column_stack([PLAIN, number]))
    assert said(np.column_stack([PLAIN, rng.permutation(200)])) == ""
    assert said(np.column_stack([PLAIN, np.arange(200) + 0.5])) == ""
    assert said(9_000 + np.cumsum(rng.integers(1, 400, 82))[:, None]) == ""  # one sorted column is the data


@pytest.mark.parametrize("decimals", [9, 2, 1, 0])
def test_shares_are_redundant_however_they_are_rounded(decimals: int) -> None:
    plain = rng.normal(30.0, 5.0, (300, 1))
    assert "'d' is a linear combination of 'a' and 'c'" in said(
        np.hstack([SOILS[:, :1], plain, SOILS[:, 1:]]).round(decimals)
    )


def test_copies_and_units() -> None:
    X = np.column_stack([PLAIN, 2.54 * PLAIN[:, 0] + 1.0, PLAIN[:, 1]])
    assert "'c' is a linear function of 'a'; 'd' is a copy of 'b'." in said(X)
    assert "'c' is a linear function of 'a'; 'd' is a" in said(X.astype(np.float32))
    assert said(PLAIN @ [[1.0, 1.0], [0.0, 0.01]]) == ""  # 1% of noise is no redundancy


def test_no_scale_is_too_large_or_small() -> None:
    X = np.column_stack([PLAIN, PLAIN.sum(1)])
    for scale in (1e-300, 1e300):
        assert "'c' is a linear combination of 'a' and 'b'" in said(scale * X)
    assert "'c' is a linear combination" in said(X * [1e-150, 1e150, 1.0])
    assert said(np.column_stack([PLAIN, np.full(200, 1e8)])).startswith("X has constant columns: 'c'. They")


def test_repeated_rows() -> None:
    """Rows repeated as weights, also beside a column of few values; but not rounding, zeros or one filled-in row."""
    weights = np.random.default_rng(1).integers(1, 15, 30)
    rows = np.column_stack([PLAIN[:30], np.arange(30) % 3])
    for X in (rows[:, :2], rows):
        assert f"X has repeated rows: {weights.sum()} rows are copies of 30 different ones." in said(
            X.repeat(weights, 0)
        )
    for X in (
        PLAIN.round(0),
        np.column_stack([PLAIN[:, 0].round(0), 2.54 * PLAIN[:, 0].round(0)]),
        np.vstack([PLAIN, PLAIN[:1].repeat(100, 0)]),
        np.where(PLAIN < 0.0, 0.0, PLAIN),
        PLAIN[:, :1].repeat(2, 0),
    ):
        assert "repeated rows:" not in said(X)


def test_a_sample_of_many_rows_is_enough() -> None:
    X = rng.normal(size=(50_000, 3))
    X[:, 2] = np.arange(50_000)
    assert "in order: 'c'." in said(X)
    X[:, 2] = X[:, 0] + X[:, 1]
    X[::4, 1] = 0.0
    assert "'b' (0 in 25%)" in said(X)
    assert "'c' is" not in said(X)


def test_long_lists_are_cut() -> None:
    text = said(rng.integers(0, 5, (200, 11)).astype(float))
    assert "'h' (5), and 3 more" in text


def test_fit_warns_once_of_each_kind() -> None:
    X = np.column_stack([PLAIN, PLAIN.sum(1), np.arange(200.0), PLAIN[:, 0] > 0])
    with pytest.warns(UserWarning, match="X has ") as record:
        gg.fit(X, 1, draws=2, warmup=2, chains=1, rng=1)
    assert [str(w.message) for w in record] == list(messages(X, ("x0", "x1", "x2", "x3", "x4")))
    assert [str(w.message).split(":")[0].split(",")[0] for w in record] == [
        "X has columns of few distinct values",
        "X has columns that look like numbers of rows",
        "X has redundant columns",
    ]
    assert all(w.filename == __file__ for w in record)


def test_few_rows_say_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn(np.zeros((9, 2)), ("a", "b"))
