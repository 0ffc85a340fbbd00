"""Counter-based normals that are drawn many at a time."""

import math

import numpy as np
from harness import EPS, assert_p_values
from scipy import stats

from gibbs_gmm.kernels.normals import cosine_of_turns, fill_normals, sine_of_turns

KEY = np.uint64(0x9E3779B97F4A7C15)


def normals(rows: range, m: int, D: int) -> np.ndarray:
    out = np.zeros((D + 1, len(rows)))
    fill_normals(KEY, np.array(rows), m, D, 1.0, out)
    return out[:m]


def test_sines_and_cosines() -> None:
    u = np.concatenate([np.linspace(0.0, 1.0, 4001), 0.125 * np.arange(9) + 2.0**-52])
    for f, truth in ((cosine_of_turns, math.cos), (sine_of_turns, math.sin)):
        for x in u[u <= 1.0].tolist():
            assert abs(f(x) - truth(2.0 * math.pi * x)) <= 8 * EPS  # 2 pi x is rounded too


def test_normals_are_normal_and_independent() -> None:
    N, D = 40_000, 3
    x = normals(range(N), D, D)
    p = {f"{a}": stats.kstest(x[a], "norm").pvalue for a in range(D)}
    for a in range(D):
        for b in range(a):
            p[f"{a}, {b}"] = stats.kstest((x[a] + x[b]) / math.sqrt(2.0), "norm").pvalue
            p[f"squares {a}, {b}"] = stats.pearsonr(x[a] ** 2, x[b] ** 2).pvalue
        p[f"rows {a}"] = stats.pearsonr(x[a, 1:], x[a, :-1]).pvalue
    assert_p_values(p, 1e-4)


def test_a_normal_depends_on_its_row_and_place_alone() -> None:
    whole = normals(range(200), 5, 6)
    np.testing.assert_array_equal(normals(range(77, 90), 5, 6), whole[:, 77:90])
    np.testing.assert_array_equal(normals(range(200), 3, 6), whole[:3])
    assert len(np.unique(whole)) == whole.size
