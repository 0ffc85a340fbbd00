"""What may be given to a conditional density, and what bad input gets."""

import dataclasses
import doctest
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from conditional_cases import QUICK, trace_of
from test_predict import rows

import gibbs_gmm as gg
from gibbs_gmm.posterior import conditional as module


def test_kinds_of_input() -> None:
    frame = pd.DataFrame(rows(40, 3), columns=["a", "b", "c"])
    trace = gg.fit(frame, 2, **QUICK)
    expected = trace.conditional({"a": [1.0, 2.0], "c": [3.0, 3.0]})
    np.testing.assert_array_equal(expected.values, [[1.0, 3.0], [2.0, 3.0]])
    assert (expected.columns, expected.given) == (("b",), ("a", "c"))
    assert repr(expected) == "<Conditional: b given a, c, 2 rows>"
    same: list[Any] = [
        {"c": 3.0, "a": np.array([1, 2])},
        {np.int64(0): (1, 2), 2: np.float32(3)},
        {"a": pd.Series([1.0, 2.0]), "c": pl.Series([3, 3])},
        pd.DataFrame({"c": [3.0, 3.0], "a": [1.0, 2.0]}),
        pl.DataFrame({"a": [1.0, 2.0], "c": [3.0, 3.0]}),
    ]
    for given in same:
        np.testing.assert_array_equal(trace.conditional(given).mean(), expected.mean())
    assert trace.conditional({"a": 1.0}).mean().shape == (1, 2)
    values = pd.DataFrame({"c": [0.0, 1.0], "b": [2.0, 3.0]})
    both = trace.conditional({"a": 1.0})
    np.testing.assert_array_equal(both.log_density(values), both.log_density([[2.0, 0.0], [3.0, 1.0]]))
    with pytest.raises(ValueError, match="read-only"):
        expected.values[0, 0] = 0.0


BAD: dict[str, tuple[Any, type[Exception], str]] = {
    "unknown": (
        {"lenght": 1.0},
        ValueError,
        r"given must name columns among .*got 'lenght' \(did you mean 'length'\?\)",
    ),
    "quite unknown": ({"zzz": 1.0}, ValueError, r"among \['length', 'width', 'x'\], got 'zzz'$"),
    "a boolean": ({True: 1.0}, ValueError, "got True"),
    "no such position": ({3: 1.0}, ValueError, r"positions of columns in 0\.\.2, got 3"),
    "a negative position": ({-1: 1.0}, ValueError, r"positions of columns in 0\.\.2, got -1"),
    "twice": ({"length": 1.0, 0: 1.0}, ValueError, "name a column once, got 'length' twice"),
    "all": ({0: 1.0, 1: 1.0, 2: 1.0}, ValueError, "leave at least one column free, got all 3.*log_density"),
    "NaN": (
        {"length": [0.0, np.nan]},
        ValueError,
        "given must be finite, got 1 missing values.*row 1, column 'length'",
    ),
    "None": ({"length": None}, ValueError, "given must be finite, got 1 missing values"),
    "infinite": ({"length": np.inf}, ValueError, "given must be finite, got 1 infinite"),
    "huge": ({"length": 1e150}, ValueError, "given column 'length' is too large"),
    "text": ({"length": "tall"}, TypeError, r"given\['length'\] must hold real numbers"),
    "a matrix": ({"length": np.zeros((2, 2))}, ValueError, r"given\['length'\] must be a number or one-dim.*\(2, 2\)"),
    "lengths": (
        {"length": [1.0, 2.0], "width": [1.0, 2.0, 3.0]},
        ValueError,
        "as many values of each column, or one number, got 2 of 'length', 3 of 'width'",
    ),
    "no rows": ({"length": []}, ValueError, r"given\['length'\] must have at least 1 row"),
    "an array": (
        np.zeros((1, 2)),
        TypeError,
        "given must be a mapping .* or a data frame.*got an object of type ndarray",
    ),
    "a name": ("length", TypeError, "got an object of type str"),
    "a frame": (pd.DataFrame({"lenght": [1.0]}), ValueError, "did you mean 'length'"),
}


@pytest.mark.parametrize("case", BAD.values(), ids=list(BAD))
def test_bad_given(case: tuple[Any, type[Exception], str]) -> None:
    given, error, message = case
    trace = dataclasses.replace(trace_of("full, n known"), columns=("length", "width", "x"))
    with pytest.raises(error, match=message):
        trace.conditional(given)


def test_bad_questions() -> None:
    answer = trace_of("full, n known").conditional({"x0": [1.0, 2.0, 3.0]})
    for q in (0.0, 1.0, -0.1, [0.5, 1.5], []):
        with pytest.raises(ValueError, match="q must be between 0 and 1, exclusive, got"):
            answer.quantile(q)
    with pytest.raises(ValueError, match="q must be finite"):
        answer.quantile(np.nan)
    with pytest.raises(ValueError, match=r"q must have shape \(\) or \(Q,\), got \(1, 1\)"):
        answer.quantile([[0.5]])
    with pytest.raises(TypeError, match="q must hold real numbers"):
        answer.quantile("half")
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        answer.sample(0)
    with pytest.raises(ValueError, match="values must have one row, or one for each of the 3 rows given, got 2"):
        answer.log_density(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="values must have the 2 columns"):
        answer.log_density(np.zeros((3, 3)))
    with pytest.raises(ValueError, match="values must be finite, got 1 missing"):
        answer.log_density([[0.0, np.nan]])


def test_chains_that_have_not_met_are_told() -> None:
    trace = trace_of("full, n known")
    apart = dataclasses.replace(trace, log_likelihood=np.add(trace.log_likelihood, [[0.0], [1e4]]))
    with pytest.warns(UserWarning, match=r"conditional\(\): .*have not met"):
        apart.conditional({0: 1.0})


def test_the_example_of_the_class() -> None:
    X = np.concatenate([np.random.default_rng(0).normal(m, 1.0, (50, 2)) for m in (-3.0, 3.0)])
    trace = gg.fit(X, 2, draws=200, warmup=200, rng=1, progress=False)
    result = doctest.testmod(module, extraglobs={"trace": trace}, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert (result.failed, result.attempted) == (0, 5)
