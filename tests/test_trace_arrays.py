"""The table of a trace's arrays says what a trace, its folder and ArviZ have, for every prior."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

import gibbs_gmm as gg
from gibbs_gmm import trace_arrays

N, D = 40, 2
X = np.random.default_rng(1).standard_normal((N, D)) + np.array([-3.0, 3.0])[np.arange(N) % 2, None]
FIXED = gg.NormalInverseWishart(np.zeros(D), 0.1, D + 2.0, np.eye(D))
KAPPA = gg.NormalInverseWishart(np.zeros(D), 0.1, D + 2.0, np.eye(D), kappa_0_shape=1.0)
SCALE = gg.NormalInverseWishart(np.zeros(D), 0.1, D + 2.0, np.eye(D), Psi_0_df=D + 1.0)
SETTINGS: dict[str, Any] = {"draws": 6, "warmup": 5, "thin": 1, "chains": 2, "rng": 1, "progress": False}
CASES = {
    "nothing learned": (gg.FiniteMixture(3), FIXED, True, set()),
    "no labels": (gg.FiniteMixture(3), FIXED, False, set()),
    "kappa_0": (gg.FiniteMixture(3), KAPPA, True, {"kappa_0"}),
    "Psi_0": (gg.FiniteMixture(3), SCALE, True, {"Psi_0"}),
    "concentration": (gg.FiniteMixture(3, stats.gamma(2.0)), FIXED, True, {"concentration"}),
    "everything": (None, None, True, {"concentration", "kappa_0", "Psi_0"}),
    "a process": (gg.DirichletProcess(1.0), None, True, {"kappa_0", "Psi_0"}),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("in_folder", [False, True])
def test_a_trace_has_what_the_table_says(name: str, in_folder: bool, tmp_path: Path) -> None:
    n_components, prior, save_assignments, learned = CASES[name]
    checkpoint = tmp_path / "run" if in_folder else None
    trace = gg.fit(X, n_components, prior=prior, save_assignments=save_assignments, checkpoint=checkpoint, **SETTINGS)
    fields = trace_arrays.fields(trace.prior, trace.weight_prior.learns_concentration, save_assignments)
    assert {field.name for field in fields if field.hyper} == learned
    arrays, K = trace.arrays(), trace.weights.shape[2]
    assert arrays.keys() == {field.name for field in fields} <= {f.name for f in dataclasses.fields(gg.Trace)}
    for field in fields:
        assert arrays[field.name].shape == (2, 6, *field.shape(K, D, N))
        assert arrays[field.name].dtype == field.dtype(K)
    assert sum(array.nbytes for array in arrays.values()) == sum(trace_arrays.trace_bytes(fields, 12, K, D, N).values())
    if in_folder:
        assert {path.stem for path in (tmp_path / "run").glob("*.npy")} - {"data"} == arrays.keys()


def test_slots_that_are_not_used() -> None:
    weights, means, *_ = trace_arrays.fields(FIXED, False, False)
    assert (weights.name, means.name) == ("weights", "means")
    np.testing.assert_array_equal(weights.with_slots(np.ones((1, 2)), 3), [[1.0, 1.0, 0.0]])
    np.testing.assert_array_equal(means.with_slots(np.ones((1, 2, 1)), 3), [[[1.0], [1.0], [np.nan]]])
    np.testing.assert_array_equal(means.with_slots(np.arange(3.0)[None, :, None], 2), [[[0.0], [1.0]]])
