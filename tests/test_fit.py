"""`fit` as a user meets it: what comes back, from which kinds of input, and whether it finds what is there."""

import json
import subprocess
import sys
from typing import Any

import numpy as np
import oracle
import pandas as pd
import polars as pl
import pytest
import simulation
from harness import EPS, JIT, assert_p_values, assert_same_draws, mcse_p_value
from scipy import stats

import gibbs_gmm as gg

RATE = 1e-4
QUICK: dict[str, Any] = {"draws": 30, "warmup": 10, "chains": 2, "rng": 1, "threads": 1, "progress": False}


def two_groups(N: int = 60, D: int = 2) -> oracle.Floats:
    """Two groups of N / 2 rows, with values that float32 can hold."""
    X = np.random.default_rng(1).standard_normal((N, D)) + np.where(np.arange(N) % 2, 2.0, -2.0)[:, None]
    return X.astype(np.float32).astype(float)


# --- What comes back ---


@pytest.mark.parametrize(("N", "D", "K"), [(2, 1, 1), (2, 1, 2), (5, 3, 5), (40, 2, 3), (300, 1, 257)])
def test_shapes_types_and_ranges(N: int, D: int, K: int) -> None:
    trace = gg.fit(two_groups(N, D), K, **QUICK)
    C, T = 2, 30
    shapes = {
        "weights": (C, T, K),
        "means": (C, T, K, D),
        "covariances": (C, T, K, D, D),
        "assignments": (C, T, N),
        "n_components": (C, T),
        "n_clusters": (C, T),
        "log_likelihood": (C, T),
        "log_posterior": (C, T),
        "Psi_0": (C, T, D, D),  # learned under the default prior, as is kappa_0
        "kappa_0": (C, T),
    }
    integers = {"n_components": np.int64, "n_clusters": np.int64, "assignments": np.uint16 if K > 256 else np.uint8}
    arrays = trace.arrays()
    assert {name: array.shape for name, array in arrays.items()} == shapes
    assert {name: array.dtype for name, array in arrays.items()} == {n: integers.get(n, np.float64) for n in shapes}
    for array in arrays.values():
        assert np.isfinite(array).all()
        assert not array.flags.writeable
    assert (np.abs(trace.weights.sum(-1) - 1.0) <= (K + 8) * EPS).all()
    assert (trace.weights >= 0.0).all()
    np.testing.assert_array_equal(trace.covariances, trace.covariances.swapaxes(-1, -2))
    assert (np.linalg.eigvalsh(trace.covariances) > 0.0).all()
    assert (trace.n_components == K).all()
    assert trace.assignments is not None
    assert trace.assignments.max() < K
    for c, t in np.ndindex(C, T):
        assert trace.n_clusters[c, t] == len(np.unique(trace.assignments[c, t]))


def test_what_reproduces_the_run_comes_with_it() -> None:
    X = two_groups()
    trace = gg.fit(X, gg.FiniteMixture(3, concentration=0.5), thin=2, **QUICK)
    assert trace.weight_prior == gg.FiniteMixture(3, 0.5)
    assert trace.prior == gg.NormalInverseWishart.from_data(X)
    expected = {"n_observations": 60, "draws": 30, "warmup": 10, "thin": 2, "chains": 2, "threads": 1, "seed": 1}
    assert expected.items() <= trace.settings.items()
    assert trace.settings["interrupted"] is False
    assert {"python", "numpy", "scipy", "numba", "gibbs-gmm"} <= trace.settings["versions"].keys()
    assert "2 chains x 30 draws" in repr(trace)


def test_number_of_components_is_a_finite_mixture_with_concentration_one() -> None:
    assert_same_draws(gg.fit(two_groups(), 2, **QUICK), gg.fit(two_groups(), gg.FiniteMixture(2), **QUICK))
    assert_same_draws(gg.fit(two_groups(), np.int64(2), **QUICK), gg.fit(two_groups(), 2, **QUICK))


def test_labels_can_be_left_out() -> None:
    trace, full = gg.fit(two_groups(), 2, save_assignments=False, **QUICK), gg.fit(two_groups(), 2, **QUICK)
    assert trace.assignments is None
    for name, array in trace.arrays().items():
        np.testing.assert_array_equal(array, getattr(full, name))


def test_default_prior_is_free_of_units() -> None:
    X = two_groups(D=3)
    prior = gg.NormalInverseWishart.from_data(X)
    scaled = gg.NormalInverseWishart.from_data(X * [4.0, 0.5, 2.0**20])
    np.testing.assert_array_equal(scaled.mu_0, prior.mu_0 * [4.0, 0.5, 2.0**20])
    np.testing.assert_array_equal(scaled.Psi_0, prior.Psi_0 * np.square([4.0, 0.5, 2.0**20]))
    assert (scaled.kappa_0, scaled.nu_0) == (prior.kappa_0, prior.nu_0)
    assert (np.abs(prior.mu_0 - X.mean(0)) <= 60 * EPS * np.abs(X).max()).all()
    # The scale matrix is the columns' variances and what their resolution leaves open, all times one number.
    ratio = prior.Psi_0 / np.diag(X.var(0, ddof=1) + prior.resolution**2 / 12.0).clip(1e-300)
    assert (np.abs(ratio - ratio[0, 0] * np.eye(3)) <= 60 * EPS * ratio[0, 0]).all()


# --- Kinds of input ---

X = two_groups()
SAME_AS_FLOAT64 = {
    "Fortran order": np.asfortranarray(X),
    "strided": np.repeat(X, 3, axis=1)[:, ::3],
    "reversed": X[::-1].copy()[::-1],
    "big-endian": X.astype(">f8"),
    "unaligned": np.frombuffer(b"\0" + X.tobytes(), np.uint8)[1:].view(float).reshape(X.shape),
    "list": X.tolist(),
    "tuples": tuple(map(tuple, X.tolist())),
    "objects": X.astype(object),
    "matrix": np.asarray(X).view(type("Sub", (np.ndarray,), {})),
    "pandas": pd.DataFrame(X),
    "polars": pl.DataFrame(X),
    "float32": X.astype(np.float32),
    "float32, Fortran order": np.asfortranarray(X.astype(np.float32)),
}


@pytest.mark.parametrize("kind", SAME_AS_FLOAT64)
def test_every_kind_of_input_gives_the_same_draws(kind: str) -> None:
    assert_same_draws(gg.fit(SAME_AS_FLOAT64[kind], 2, **QUICK), gg.fit(X, 2, **QUICK))


def test_read_only_arrays_and_memory_maps(tmp_path: Any) -> None:
    fixed = X.copy()
    fixed.flags.writeable = False
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    expected = gg.fit(X, 2, **QUICK)
    assert_same_draws(gg.fit(fixed, 2, **QUICK), expected)
    assert_same_draws(gg.fit(mapped, 2, **QUICK), expected)


def test_input_is_not_changed() -> None:
    copy = X.copy()
    gg.fit(X, 2, **QUICK)
    np.testing.assert_array_equal(X, copy)
    assert X.flags.writeable


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.uint16, np.float16, np.longdouble])
def test_other_numbers_are_converted(dtype: type) -> None:
    whole = np.round(8 * (X + 5))
    assert_same_draws(gg.fit(whole.astype(dtype), 2, **QUICK), gg.fit(whole, 2, **QUICK))


def test_one_dimension_is_one_column() -> None:
    x = X[:, 0]
    expected = gg.fit(x[:, None], 2, **QUICK)
    for same in (x, x.tolist(), pd.Series(x), pl.Series(x), X[:, :1]):
        assert_same_draws(gg.fit(same, 2, **QUICK), expected)


def test_column_names_are_kept() -> None:
    assert gg.fit(X, 2, **QUICK).columns == ("x0", "x1")
    assert gg.fit(pd.DataFrame(X, columns=["length", "width"]), 2, **QUICK).columns == ("length", "width")
    assert gg.fit(pl.DataFrame(X, schema=["length", "width"]), 2, **QUICK).columns == ("length", "width")
    assert gg.fit(pd.DataFrame(X), 2, **QUICK).columns == ("0", "1")


# --- Compilation ---


def in_a_fresh_process(code: str) -> Any:
    """What the code prints as JSON."""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


def test_importing_the_package_imports_no_numba() -> None:
    loaded = in_a_fresh_process("import gibbs_gmm, sys, json; print(json.dumps(sorted(sys.modules)))")
    assert not {"numba", "scipy", "pandas", "matplotlib", "arviz_stats"} & set(loaded)


COUNT_SIGNATURES = """
import importlib, json, pkgutil
import numpy as np
import gibbs_gmm
import gibbs_gmm.kernels
from gibbs_gmm.kernels import _jit
from gibbs_gmm.kernels._fragments import Kernel

def count():
    result = {}
    for info in pkgutil.walk_packages(gibbs_gmm.kernels.__path__, "gibbs_gmm.kernels."):
        module = importlib.import_module(info.name)
        for name, value in vars(module).items():
            if isinstance(value, Kernel):
                own = value.py_func.__module__ + "." + name
                result[own] = len(value.signatures)
                result[own + " (copied)"] = len(value._numba_type_.dispatcher.signatures)
    for function, *_ in _jit._pointers:  # what is compiled to be passed as an argument
        name = function.__module__ + "." + function.__name__ + " (pointer)"
        result[name] = result.get(name, 0) + 1
    return result
"""


@pytest.mark.skipif(not JIT, reason="nothing is compiled")
def test_importing_compiles_nothing() -> None:
    counts = in_a_fresh_process(COUNT_SIGNATURES + "gibbs_gmm.fit\nprint(json.dumps(count()))")
    assert len(counts) > 10
    assert not any(counts.values())


@pytest.mark.skipif(not JIT, reason="nothing is compiled")
def test_one_specialisation_per_kernel_and_dtype() -> None:
    code = """
X = np.random.default_rng(0).standard_normal((50, 2))
def kinds(X):
    fixed = X.copy()
    fixed.flags.writeable = False
    return [X, np.asfortranarray(X), np.repeat(X, 2, 1)[:, ::2], fixed, X[:, :1], X[:, 0], X[:40]]
def run(kinds):
    for x in kinds:
        gibbs_gmm.fit(x, 2, draws=3, warmup=1, chains=1, rng=1, progress=False)
        gibbs_gmm.fit(x, 3, draws=3, warmup=1, chains=2, rng=1, progress=False, save_assignments=False)
    return count()
doubles = run([*kinds(X), X.tolist(), (10 * X).astype(int)])
small = run(kinds(X.astype(np.float32)))
gibbs_gmm.checks.SMALL = 0
singles = run(kinds(X.astype(np.float32)))
print(json.dumps([doubles, small, singles]))
"""
    doubles, small, singles = in_a_fresh_process(COUNT_SIGNATURES + code)
    assert doubles["gibbs_gmm.kernels.sampler.sweep.run_sweeps"] == 1
    assert max(doubles.values()) == 1, {name: n for name, n in doubles.items() if n > 1}
    assert small == doubles, "an array of float32 that is small is one of float64"
    assert singles["gibbs_gmm.kernels.sampler.sweep.run_sweeps"] == 2
    assert max(singles.values()) == 2, {name: n for name, n in singles.items() if n > 2}


# --- Recovery ---


@pytest.mark.parametrize(("D", "N"), [(1, 600), (2, 600), (4, 800), (10, 1500), (30, 3000)])
def test_recovers_a_simulated_mixture(D: int, N: int) -> None:
    """Three components 12 standard deviations apart: the labels are certain, so that the whole posterior is known.

    A row is nearer to a wrong mean with probability at most 2 Phi(-6) = 2e-9. So every draw of a chain that has found
    the three has the true partition; given that, Psi_0 and kappa_0, the others have their closed-form posterior,
    and the true values are plausible under it. Single labels cannot leave a start that takes two of them for one; at
    most one chain of four may be left with such a start, and then the summary must say so.
    """
    X, z, w, mu, _ = simulation.simulate_mixture(np.random.default_rng([7, D]), N, D, 3, 12.0)
    trace = gg.fit(X, 3, draws=500, warmup=200, chains=4, rng=3, progress=False)
    assert trace.assignments is not None
    own = np.array([np.flatnonzero(z == k)[0] for k in range(3)])  # one row of each true component
    name = trace.assignments[..., own].astype(np.int64)  # (C, T, 3): what each draw calls it
    found = (np.sort(name, axis=2) == np.arange(3)).all((1, 2))
    assert found.sum() >= 3
    if not found.all():
        with pytest.warns(UserWarning, match="chains have not met"):
            trace.summary()
    name = name[found]
    np.testing.assert_array_equal(trace.assignments[found], name[..., z])
    assert trace.Psi_0 is not None  # the default prior learns both, so that they differ from draw to draw
    assert trace.kappa_0 is not None
    Psi_0, kappa_0, mu_0 = trace.Psi_0[found], trace.kappa_0[found], trace.prior.mu_0
    flat = oracle.NIW(mu_0, 1e-300, trace.prior.nu_0, np.zeros((D, D)), trace.prior.resolution**2 / 12.0)
    weights = np.take_along_axis(trace.weights[found], name, 2)
    means = np.take_along_axis(trace.means[found], name[..., None], 2)
    covariances = np.take_along_axis(trace.covariances[found], name[..., None, None], 2)
    p = {}
    for k in range(3):
        n, posterior = (z == k).sum(), oracle.niw_posterior(X[z == k], flat)
        gap = posterior.mu_0 - mu_0
        p[f"mean of weight {k}"] = mcse_p_value(weights[..., k], (1 + n) / (3 + N))
        p[f"weight {k}"] = 2 * min((q := stats.beta(1 + n, 2 + N - n).cdf(w[k])), 1 - q)
        df = posterior.nu_0 - D + 1
        for d in range(D):
            p[f"mean of mean {k}, {d}"] = mcse_p_value(means[..., k, d] - mu_0[d] - n / (kappa_0 + n) * gap[d], 0.0)
            for e in {0, d}:
                Psi_n = posterior.Psi_0[d, e] + Psi_0[..., d, e] + kappa_0 * n / (kappa_0 + n) * gap[d] * gap[e]
                rest = covariances[..., k, d, e] - Psi_n / (posterior.nu_0 - D - 1)
                p[f"mean of covariance {k}, {d}, {e}"] = mcse_p_value(rest, 0.0)
            scale = np.sqrt((posterior.Psi_0[d, d] + Psi_0[..., d, d].mean()) / (posterior.kappa_0 * df))
            p[f"mean {k}, {d}"] = 2 * stats.t(df).sf(abs(mu[k, d] - posterior.mu_0[d]) / scale)
    assert_p_values(p, RATE)
