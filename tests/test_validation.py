"""Bad input, each with a message that names the argument, what was seen and what is wanted, before any sampling."""

import contextlib
import datetime
import math
import warnings
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from harness import EPS
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import sparse

import gibbs_gmm as gg
from gibbs_gmm import checks
from gibbs_gmm.seeds import seed_sequence

X = np.random.default_rng(1).standard_normal((30, 2)) + np.where(np.arange(30) % 2, 2.0, -2.0)[:, None]
PRIOR = gg.NormalInverseWishart(np.zeros(2), 0.01, 4.0, np.eye(2))


def quick(X: Any, n_components: Any = 2, **changes: Any) -> gg.Trace:
    arguments = {"draws": 20, "warmup": 10, "chains": 2, "rng": 1, "threads": 1, "progress": False} | changes
    return gg.fit(X, n_components, **arguments)


@pytest.fixture
def no_sampling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is refused is refused before a chain is started."""

    def run(*args: Any) -> None:
        pytest.fail("sampling was started")

    monkeypatch.setitem(gg.fit.__globals__, "run", run)


def with_value(value: Any, row: int = 3, column: int = 1) -> np.ndarray:
    bad = X.astype(complex) if isinstance(value, complex) else X.copy()
    bad[row, column] = value
    return bad


# --- X ---

BAD_X = {
    "empty": (np.empty((0, 2)), ValueError, r"X must have at least 2 rows, got shape \(0, 2\)"),
    "empty list": ([], ValueError, r"X must have at least 2 rows, got shape \(0, 1\)"),
    "one row": (X[:1], ValueError, r"X must have at least 2 rows, got shape \(1, 2\)"),
    "no columns": (np.empty((5, 0)), ValueError, r"X must have at least one column, got shape \(5, 0\)"),
    "three dimensions": (X[None], ValueError, r"X must have shape \(N, D\) or \(N,\), got \(1, 30, 2\)"),
    "a number": (3.0, ValueError, r"X must have shape \(N, D\) or \(N,\), got \(\)"),
    "None": (None, (TypeError, ValueError), r"X must"),
    "text": (X.astype(str), TypeError, r"X must hold real numbers of shape \(N, D\), got dtype <U"),
    "a word": ("data.csv", TypeError, r"X must hold real numbers of shape \(N, D\), got dtype <U"),
    "bytes": (X.astype("S"), TypeError, r"X must hold real numbers of shape \(N, D\), got dtype"),
    "numbers as text": (
        X.astype(str).astype(object),
        TypeError,
        "X column 'x0' must hold real numbers, got text: leave it out, or make numbers of it; row 0 is '",
    ),
    "words": ([["a", "b"], ["c", "d"]], TypeError, "X must hold real numbers"),
    "complex": (X + 0j, TypeError, "X must hold real numbers.* got dtype complex128"),
    "complex objects": ((X + 0j).astype(object), TypeError, "X column 'x0' must hold real numbers"),
    "dates": (X.astype("datetime64[s]"), TypeError, r"X must hold real numbers.* got dtype datetime64\[s\]"),
    "records": (np.zeros(5, [("a", float)]), TypeError, "X must hold real numbers"),
    "mask": (X > 0, TypeError, "X must hold real numbers .* got dtype bool; convert booleans to 0 and 1"),
    "mask of objects": ((X > 0).astype(object), TypeError, "X column 'x0' must hold real numbers, got booleans"),
    "a masked row": (
        np.ma.masked_array(X, mask=np.arange(60).reshape(30, 2) // 2 == 4),
        ValueError,
        "X must have a value in each row, got none in row 4, counted from 0",
    ),
    "masked rows": (
        list(np.ma.masked_array(X, mask=np.arange(60).reshape(30, 2) % 8 < 2)),
        ValueError,
        "X must have a value in each row, got none in rows 0, 4, 8, 12, 16, ...",
    ),
    "names that occur twice": (
        pd.DataFrame(np.hstack([X, X])[:, :3], columns=["a", "b", "a"]),
        ValueError,
        "X must have columns with different names, got 'a' twice",
    ),
    "ragged": (
        np.array([[1.0, 2.0], [3.0]], dtype=object),
        TypeError,
        r"X must hold real numbers.* \(ragged rows\?\)",
    ),
    "ragged lists": ([[1.0, 2.0], [3.0]], ValueError, "X must hold real numbers.* got rows of different lengths"),
    "a set": ({1.0, 2.0}, TypeError, r"X must hold real numbers.* got a set: pass list\(X\)"),
    "a dict": ({"a": [1, 2]}, TypeError, r"X must hold real numbers.* got a dict: pass pandas.DataFrame\(X\)"),
    "a generator": ((row for row in X), TypeError, r"X must hold real numbers.* got a generator: pass list\(X\)"),
    "frame with complex numbers": (
        pd.DataFrame({"a": [1.0, 2.0], "b": [1j, 2j]}),
        TypeError,
        "X column 'b' must hold real numbers, got complex ones",
    ),
    "a column of NaN": (
        X * [1.0, np.nan],
        ValueError,
        "X must have a value in each column, got none in 'x1': leave it out",
    ),
    "inf": (
        with_value(np.inf),
        ValueError,
        r"X must be finite, got 1 infinite values, the first in row 3, column 'x1'",
    ),
    "-inf": (with_value(-np.inf, 29, 0), ValueError, "X must be finite, got 1 infinite values, .* row 29, column 'x0'"),
    "None inside": (
        [*X.tolist(), [None, None]],
        ValueError,
        "X must have a value in each row, got none in row 30",
    ),
    "frame with text": (
        pd.DataFrame({"a": [1.0, 2], "b": ["x", "y"]}),
        TypeError,
        "X column 'b' must hold real numbers, got text: leave it out",
    ),
    "frame with a category": (
        pd.DataFrame({"a": [1.0, 2], "b": pd.Categorical(["x", "y"])}),
        TypeError,
        "X column 'b' must hold real numbers, got text",
    ),
    "frame with a mask": (
        pd.DataFrame({"a": [1.0, 2], "b": [True, False]}),
        TypeError,
        "X column 'b' must hold real numbers, got booleans; convert them to 0 and 1 if meant",
    ),
    "frame with dates": (
        pd.DataFrame({"a": 1.0, "day": pd.to_datetime(["2020-01-01"] * 3)}),
        TypeError,
        "X column 'day' must hold real numbers, got dates or times",
    ),
    "polars with text": (
        pl.DataFrame({"a": [1.0, 2], "b": ["x", "y"]}),
        TypeError,
        "X column 'b' must hold real numbers, got text",
    ),
    "polars with dates": (
        pl.DataFrame({"a": [1.0, 2.0], "day": [datetime.date(2020, 1, d) for d in (1, 2)]}),
        TypeError,
        "X column 'day' must hold real numbers, got dates",
    ),
    "text inside a list": ([[1.0, 2.0], [3.0, "n/a"]], TypeError, "X"),
    "text inside objects": (
        np.array([[1.0, 2.0], [3.0, "n/a"]], dtype=object),
        TypeError,
        "X column 'x1' must hold real numbers, got text: .*; row 1 is 'n/a'",
    ),
    "frame with nulls": (
        pd.DataFrame({"a": pd.array([None, None, None], dtype="Int64"), "b": 1.0}),
        ValueError,
        "X must have a value in each column, got none in 'a'",
    ),
    "sparse": (
        sparse.csr_matrix(X),
        TypeError,
        r"X must be dense, got a sparse csr_matrix: pass X.toarray\(\)",
    ),
    "sparse array": (sparse.coo_array(X), TypeError, "X must be dense, got a sparse coo_array"),
    "lazy frame": (
        pl.LazyFrame({"a": [1.0, 2]}),
        TypeError,
        r"X must hold its data, got a polars LazyFrame: pass X.collect\(\)",
    ),
    "frame with gaps": (
        pd.DataFrame({"a": [1.0, None, 3, None], "b": [1.0, None, 2.0, 3.0]}),
        ValueError,
        "X must have a value in each row, got none in row 1",
    ),
    "polars with gaps": (
        pl.DataFrame({"a": [1.0, None, 3], "b": [1.0, None, 2.0]}),
        ValueError,
        "X must have a value in each row, got none in row 1",
    ),
    "1e300": (X * 1e300, ValueError, "X column 'x0' is too large for covariances in double precision"),
    "1e300 alone": (with_value(1e300), ValueError, "X column 'x1' is too large"),
    "1e300 and little spread": (1e300 * (1 + 1e-10 * X), ValueError, "X column 'x0' is too large"),
    "1e-300": (X * 1e-300, ValueError, "X column 'x0' varies too little for covariances .* multiply it"),
    "subnormal": (X * 1e-310, ValueError, "X column 'x0' varies too little"),
    "one column 1e-300": (X * [1.0, 1e-300], ValueError, "X column 'x1' varies too little"),
    "all rows equal": (np.tile([1.0, 2.0], (9, 1)), ValueError, r"X has constant columns only, \['x0', 'x1'\]"),
    "all zero": (np.zeros((9, 1)), ValueError, r"X has constant columns only, \['x0'\].*prior="),
}


def test_a_random_state_is_a_seed_and_is_advanced() -> None:
    state = np.random.RandomState(1)
    first, second = (seed_sequence(state).generate_state(4).tolist() for _ in range(2))
    assert first != second
    assert seed_sequence(np.random.RandomState(1)).generate_state(4).tolist() == first


@pytest.mark.usefixtures("no_sampling")
@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("seed", "rng"),
        ("random_state", "rng"),
        ("K", "n_components"),
        ("n_clusters", "n_components"),
        ("n_component", "n_components"),
        ("burn_in", "warmup"),
        ("tune", "warmup"),
        ("n_jobs", "threads"),
        ("n_iter", "draws"),
        ("verbose", "progress"),
    ],
)
def test_an_argument_of_another_name_is_recognised(given: str, meant: str) -> None:
    for function in (gg.fit, gg.log_evidence):
        with pytest.raises(TypeError, match=rf"\(\) has no argument '{given}' \(did you mean {meant}\?\); its argum"):
            function(X, **{given: 3})
    with pytest.raises(TypeError, match=r"fit\(\) has no argument 'colour'; its arguments are X, n_components, prior"):
        gg.fit(X, 2, colour="red")


@pytest.mark.usefixtures("no_sampling")
@pytest.mark.parametrize("kind", BAD_X)
def test_bad_data(kind: str) -> None:
    bad, error, message = BAD_X[kind]
    with pytest.raises(error, match=message):
        quick(bad)


def test_missing_values_are_counted_over_all_of_a_large_array() -> None:
    large = np.zeros((200_000, 2))
    large[[70_000, 150_000, 199_999], [1, 0, 1]] = np.nan
    with pytest.raises(ValueError, match=r"got 3 missing values .*, the first in row 70000, column 'x1'"):
        checks.data(large)


def test_numbers_of_other_kinds_are_numbers() -> None:
    objects = [[Decimal("1.5"), 2], [np.float32(3.0), 4.0], [5, 6.5]]
    array, _ = checks.data(np.array(objects, dtype=object))
    np.testing.assert_array_equal(array, [[1.5, 2.0], [3.0, 4.0], [5.0, 6.5]])


# --- Counts ---

BAD_COUNTS = [
    ("n_components", 0, ValueError, "n_components must be at least 1, got 0"),
    ("n_components", -3, ValueError, "n_components must be at least 1, got -3"),
    ("n_components", 31, ValueError, "n_components must be at most 30 for X with 30 rows, got 31"),
    ("n_components", gg.FiniteMixture(31), ValueError, "n_components must be at most 30"),
    ("n_components", 2.0, TypeError, r"n_components must be an integer, got 2.0 \(float\)"),
    ("n_components", 2.5, TypeError, "n_components must be an integer, got 2.5"),
    ("n_components", "3", TypeError, r"n_components must be an integer, got '3' \(str\)"),
    ("n_components", [3], TypeError, r"n_components must be an integer, got \[3\]"),
    ("n_components", True, TypeError, "n_components must be an integer, got the boolean True"),
    ("n_components", np.True_, TypeError, "n_components must be an integer, got the boolean True"),
    ("n_components", np.array([True, False]), TypeError, "n_components must be an integer"),
    ("draws", 0, ValueError, "draws must be at least 1, got 0"),
    ("draws", 1e3, TypeError, r"draws must be an integer, got 1000.0 \(float\)"),
    ("draws", True, TypeError, "draws must be an integer, got the boolean True"),
    ("warmup", -1, ValueError, "warmup must be at least 0, got -1"),
    ("warmup", "long", TypeError, "warmup must be an integer, got 'long'"),
    ("chains", 0, ValueError, "chains must be at least 1, got 0"),
    ("chains", False, TypeError, "chains must be an integer, got the boolean False"),
    ("thin", 0, ValueError, "thin must be at least 1, got 0"),
    ("thin", np.nan, TypeError, "thin must be an integer, got nan"),
    ("threads", 0, ValueError, "threads must be at least 1, got 0"),
    ("threads", "all", TypeError, "threads must be an integer, got 'all'"),
    ("progress", 1, TypeError, "progress must be True or False, got 1"),
    ("progress", "no", TypeError, "progress must be True or False, got 'no'"),
    ("save_assignments", None, TypeError, "save_assignments must be True or False, got None"),
    ("rng", -1, ValueError, "rng must be at least 0, got -1"),
    ("rng", 1.5, TypeError, "rng must be None, an integer, a SeedSequence, or a numpy.random .* RandomState, got 1.5"),
    ("rng", "seed", TypeError, "rng must be None, an integer, .* got 'seed'"),
    ("rng", True, TypeError, "rng must be None, an integer, .* got True"),
    ("rng", [1, -2], ValueError, "rng must be at least 0, got -2"),
    ("rng", [1, True], TypeError, "rng must be an integer, got the boolean True"),
    ("rng", np.random, TypeError, "rng must be None, an integer"),
    ("prior", "weak", TypeError, "prior must be a NormalInverseWishart, .* or None, got 'weak'"),
    (
        "prior",
        gg.NormalInverseWishart(0.0, 1.0, 1.0, 1.0),
        ValueError,
        "prior must be for the 2 columns of X, got mu_0 with 1",
    ),
]


@pytest.mark.usefixtures("no_sampling")
@pytest.mark.parametrize(("name", "value", "error", "message"), BAD_COUNTS, ids=lambda value: str(value)[:30])
def test_bad_arguments(name: str, value: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        quick(X, **{name: value})


@pytest.mark.parametrize("name", ["draws", "chains", "thin", "threads", "warmup"])
def test_numpy_integers_are_integers(name: str) -> None:
    quick(X, **{name: np.int32(3)})


@given(st.integers(-(2**70), 2**70), st.integers(-5, 5))
def test_integer(value: int, minimum: int) -> None:
    if value >= minimum:
        assert checks.integer("n", value, minimum) == value
    else:
        with pytest.raises(ValueError, match=f"n must be at least {minimum}, got {value}"):
            checks.integer("n", value, minimum)


@given(st.floats() | st.integers(-(2**2000), 2**2000))
def test_positive(value: float) -> None:
    if 0 < value < 2**1023:
        assert checks.positive("a", value) == float(value)
    elif 0 < value < math.inf:
        with contextlib.suppress(ValueError):  # too large for a float, or just not
            assert checks.positive("a", value) == float(value)
    else:
        with pytest.raises(ValueError, match=r"a must be (positive|finite), got"):
            checks.positive("a", value)


@given(st.none() | st.text() | st.booleans() | st.complex_numbers() | st.lists(st.floats()) | st.binary())
def test_what_is_not_a_number_is_a_type_error(value: Any) -> None:
    with pytest.raises(TypeError, match="a must be a number, got"):
        checks.real("a", value)
    with pytest.raises(TypeError, match="a must be an integer, got"):
        checks.integer("a", value, 0)


# --- Priors ---

GOOD = {"mu_0": [0.0, 1.0], "kappa_0": 0.1, "nu_0": 3.0, "Psi_0": [[2.0, 0.5], [0.5, 1.0]]}
BAD_PRIORS = [
    ("kappa_0", 0.0, ValueError, "kappa_0 must be positive, got 0"),
    ("kappa_0", -1, ValueError, "kappa_0 must be positive, got -1"),
    ("kappa_0", math.inf, ValueError, "kappa_0 must be finite, got inf"),
    ("kappa_0", math.nan, ValueError, "kappa_0 must be finite, got nan"),
    ("kappa_0", True, TypeError, "kappa_0 must be a number, got the boolean True"),
    ("kappa_0", "1", TypeError, r"kappa_0 must be a number, got '1' \(str\)"),
    ("kappa_0", [1.0], TypeError, r"kappa_0 must be a number, got \[1.0\]"),
    ("kappa_0", 1j, TypeError, "kappa_0 must be a number, got 1j"),
    ("nu_0", 1.0, ValueError, "nu_0 must be greater than D - 1 = 1, got 1.0"),
    ("nu_0", 0.5, ValueError, "nu_0 must be greater than D - 1 = 1, got 0.5"),
    ("nu_0", -3.0, ValueError, "nu_0 must be positive, got -3.0"),
    ("nu_0", math.nan, ValueError, "nu_0 must be finite, got nan"),
    ("nu_0", np.True_, TypeError, "nu_0 must be a number, got the boolean True"),
    ("mu_0", [0.0, math.nan], ValueError, "mu_0 must be finite, got"),
    ("mu_0", [0.0, math.inf], ValueError, "mu_0 must be finite, got"),
    ("mu_0", [[0.0, 1.0]], ValueError, r"mu_0 must have shape \(D,\), got \(1, 2\)"),
    ("mu_0", [], ValueError, "mu_0 must have at least one entry, got none"),
    ("mu_0", [True, False], TypeError, r"mu_0 must hold real numbers of shape \(D,\), got dtype bool"),
    ("mu_0", ["a", "b"], TypeError, "mu_0 must hold real numbers"),
    ("mu_0", [0.0, 1.0, 2.0], ValueError, r"Psi_0 must have shape \(3, 3\) to match mu_0, got \(2, 2\)"),
    ("Psi_0", np.eye(3), ValueError, r"Psi_0 must have shape \(2, 2\) to match mu_0, got \(3, 3\)"),
    ("Psi_0", [1.0, 2.0], ValueError, r"Psi_0 must have shape \(2, 2\) to match mu_0, got \(1, 2\)"),
    ("Psi_0", np.ones((2, 2, 2)), ValueError, r"Psi_0 must have shape \(D, D\), got \(2, 2, 2\)"),
    ("Psi_0", [[1.0, 0.5], [0.4, 1.0]], ValueError, "Psi_0 must be symmetric, got a largest difference of 0.1"),
    ("Psi_0", [[1.0, 2.0], [2.0, 1.0]], ValueError, "Psi_0 must be positive definite, got a least eigenvalue of -1"),
    ("Psi_0", [[1.0, 1.0], [1.0, 1.0]], ValueError, "Psi_0 must be positive definite"),
    ("Psi_0", np.zeros((2, 2)), ValueError, "Psi_0 must be positive definite, got a least eigenvalue of 0"),
    ("Psi_0", -np.eye(2), ValueError, "Psi_0 must be positive definite, got a least eigenvalue of -1"),
    ("Psi_0", [[1.0, math.nan], [math.nan, 1.0]], ValueError, "Psi_0 must be finite"),
    ("Psi_0", np.eye(2) > 0, TypeError, "Psi_0 must hold real numbers .* got dtype bool"),
    ("Psi_0", np.eye(2) * 1j, TypeError, "Psi_0 must hold real numbers .* got dtype complex128"),
]


@pytest.mark.parametrize(("name", "value", "error", "message"), BAD_PRIORS, ids=lambda value: str(value)[:30])
def test_bad_prior(name: str, value: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        gg.NormalInverseWishart(**GOOD | {name: value})


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (0.0, ValueError, "concentration must be positive, got 0"),
        (-1.0, ValueError, "concentration must be positive, got -1"),
        (math.inf, ValueError, "concentration must be finite, got inf"),
        (math.nan, ValueError, "concentration must be finite, got nan"),
        (True, TypeError, "concentration must be a number, got the boolean True"),
        ("1", TypeError, "concentration must be a number, got '1'"),
    ],
)
def test_bad_concentration(value: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        gg.FiniteMixture(2, concentration=value)


def test_prior_takes_scalars_in_one_dimension() -> None:
    prior = gg.NormalInverseWishart(0, 1, 2, 3)
    assert prior == gg.NormalInverseWishart([0.0], 1.0, 2.0, [[3.0]])
    assert hash(prior) == hash(gg.NormalInverseWishart([0.0], 1.0, 2.0, [[3.0]]))
    assert prior != gg.NormalInverseWishart([0.0], 1.0, 2.0, [[4.0]])
    assert prior.n_features == 1


def test_prior_does_not_follow_later_changes() -> None:
    mu_0, Psi_0 = np.zeros(2), np.eye(2)
    prior = gg.NormalInverseWishart(mu_0, 1.0, 3.0, Psi_0)
    mu_0[0], Psi_0[0, 0] = 5.0, 5.0
    assert prior == gg.NormalInverseWishart(np.zeros(2), 1.0, 3.0, np.eye(2))
    with pytest.raises(ValueError, match="read-only"):
        prior.Psi_0[0, 0] = 2.0


@given(st.integers(1, 6), st.floats(1e-200, 1e200), st.integers(0, 2**32))
def test_any_computed_covariance_is_a_scale_matrix(D: int, scale: float, seed: int) -> None:
    A = np.random.default_rng(seed).standard_normal((D, D + 3))
    Psi_0 = np.cov(A).reshape(D, D) * scale
    assume(np.isfinite(Psi_0).all() and np.linalg.cond(Psi_0) < 1e8)
    assert gg.NormalInverseWishart(np.zeros(D), 1.0, float(D), Psi_0).Psi_0.shape == (D, D)


# --- Unusual data that must work ---

rng = np.random.default_rng(5)
UNUSUAL = {
    "duplicate columns": np.column_stack([X, X[:, 0]]),
    "all columns equal": np.tile(X[:, :1], (1, 4)),
    "collinear": np.column_stack([X, X[:, 0] + 2 * X[:, 1]]),
    "more columns than rows": rng.standard_normal((5, 12)),
    "duplicate rows": np.repeat(X[:5], 6, axis=0),
    "two rows": X[:2],
    "two values": np.where(np.arange(30) % 2, 1.0, 0.0)[:, None],
    "an outlier": np.vstack([X, [[1e6, -1e6]]]),
    "integers": np.arange(60).reshape(30, 2),
    "1e130": X * 1e130,
    "1e-130": X * 1e-130,
    "1e130 and 1e-130": X * [1e130, 1e-130],
    "last bit of 1e8": (1e8 + np.spacing(1e8) * (np.arange(30) % 2))[:, None],
    "float32 near its largest": (3e38 * X / np.abs(X).max()).astype(np.float32),
    "wide range": np.sign(X) * 10.0 ** rng.uniform(-5, 5, X.shape),
}
WARNED = {
    "duplicate columns": ("redundant",),
    "all columns equal": ("redundant",),
    "collinear": ("redundant",),
    "duplicate rows": ("few distinct values",),
    "two values": ("few distinct values",),
    "integers": ("numbers of rows", "redundant"),
    "last bit of 1e8": ("few distinct values",),
}


@pytest.mark.parametrize("kind", UNUSUAL)
def test_unusual_data_under_the_default_prior(kind: str) -> None:
    data = UNUSUAL[kind]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        trace = quick(data, min(3, len(data)), draws=200, warmup=200)
    assert {part for part in WARNED.get(kind, ()) if not any(part in str(w.message) for w in said)} == set()
    said = [entry for entry in said if "have not met" not in str(entry.message)]  # so short a run
    assert len(said) == len(WARNED.get(kind, ()))
    for name, array in trace.arrays().items():
        assert np.isfinite(array).all(), name
    sd = np.sqrt(np.diagonal(trace.covariances, axis1=-2, axis2=-1))
    correlations = trace.covariances / sd[..., None] / sd[..., None, :]
    D = data.shape[1]
    assert (np.linalg.eigvalsh(correlations) > -D * EPS * D).all()


@pytest.mark.filterwarnings("ignore:X has constant columns")
@pytest.mark.parametrize("constant", [1.0, 0.0, -3e7])
def test_constant_columns_work_with_a_prior_of_ones_own(constant: float) -> None:
    data = np.column_stack([X, np.full(30, constant)])
    prior = gg.NormalInverseWishart([0.0, 0.0, constant], 0.01, 5.0, np.eye(3))
    trace = quick(data, prior=prior)
    for name, array in trace.arrays().items():
        assert np.isfinite(array).all(), name
    equal_rows = quick(np.full((30, 3), constant), prior=prior)
    assert np.isfinite(equal_rows.log_likelihood).all()


@given(st.integers(-120, 120), st.integers(-120, 120))
def test_any_scale_is_finite(a: int, b: int) -> None:
    trace = quick(X * [10.0**a, 10.0**b], draws=5, warmup=5)
    for name, array in trace.arrays().items():
        assert np.isfinite(array).all(), name
