"""The tests of correctness fail when the package is wrong: bugs are planted in a copy of it, and a test must see each.

Each bug is one that other packages have had or that would be easily made (DESIGN 7.3). Add a line when a kernel gains a
place to go wrong.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def conditional(step: str) -> str:
    """The exact-invariance test of one conditional."""
    return f"test_invariance.py::test_conditional_leaves_the_prior_invariant[{step}-2D, K=3]"


COMPONENTS = conditional("components_given_labels")
WEIGHTS = conditional("weights_given_labels")
SWEEP = conditional("parameters_then_labels")
LAUNCHES = "test_exactness.py::test_split_merge_moves_that_are_nearly_alone[1D-launches]"
RECALLS = "test_exactness.py::test_split_merge_moves_that_are_nearly_alone[1D-recalls]"
ROWS = "test_exactness.py::test_split_merge_moves_that_are_nearly_alone[1D-row by row]"
SEEDED = "test_exactness.py::test_split_merge_moves_that_are_nearly_alone[1D-seeded]"
SEARCHED = "test_exactness.py::test_split_merge_moves_that_are_nearly_alone[1D-searched]"
MFM = "test_unknown_n.py::test_fixture_a[static-row by row]"
GAPS = "test_missing.py::test_sweeps_leave_every_family_invariant[2-full]"
EMPTY = "test_unknown_n.py::test_fixture_a[static-all]"


PLANTS = {
    "reversed Bartlett": ("families/full.py", "0.5 * (nu_n - D + i + 1)", "0.5 * (nu_n - i)", COMPONENTS),
    "nu off by one": ("families/full.py", "0.5 * (nu_n - D + i + 1)", "0.5 * (nu_n - D + i + 2)", COMPONENTS),
    "prior mean forgotten": ("families/full.py", " + shrink * offset_i * offset_j", "", COMPONENTS),
    "scatter not about the mean": (
        "families/full.py",
        "(own[row + j] - own[i] * own[j] / n) + shrink",
        "own[row + j] + shrink",
        COMPONENTS,
    ),
    "mean as uncertain as one row": ("families/full.py", " / math.sqrt(kappa_n)", "", COMPONENTS),
    "components left out too early": (
        "families/full_radii.py",
        "NEGLIGIBLE - slack",
        "0.8 * NEGLIGIBLE - slack",
        "test_pruning.py::test_radii[False]",
    ),
    "outliers left to the components of others": (
        "sampler/pruning.py",
        "near.alive, 0, K\n",
        "near.alive, 0, K - 1\n",
        "test_pruning.py::test_same_bytes[True-False-apart]",
    ),
    "lines as if all rows were at the mean": (
        "families/full_radii.py",
        "own[e] = room.line[e * PACKED + b] * scale",
        "own[e] = 0.9 * room.line[e * PACKED + b] * scale",
        "test_pruning.py::test_lines",
    ),
    "rounding of far rows forgotten": (
        "families/full_radii.py",
        "(_ERROR / ((D + 4) * _EPS)",
        "(1e200 * _ERROR / ((D + 4) * _EPS)",
        "test_pruning.py::test_rows_so_far_from_the_origin_that_rounding_decides",
    ),
    "prior mean forgotten, one covariance": (
        "families/tied.py",
        " + shrink * offset_i * offset_j",
        "",
        "test_tied.py::test_the_covariance_given_the_clusters[2]",
    ),
    "a degree of freedom lost for each mean": (
        "families/tied.py",
        "total, scratch.Psi_n, prior.W[0])",
        "total - t, scratch.Psi_n, prior.W[0])",
        "test_tied.py::test_the_covariance_given_the_clusters[2]",
    ),
    "counts ignored": ("sampler/weights.py", "rng, alpha + n[k])", "rng, alpha)", WEIGHTS),
    "weights ignored": ("sampler/parameters.py", "(state.log_w[k] + log_density)", "log_density", SWEEP),
    "no log determinant": ("families/full.py", "return log_diagonal(W) - 0.5", "return -0.5", SWEEP),
    "split without its proposal": ("sampler/split_merge.py", "log_ratio -= log_q", "log_ratio -= 0.0", LAUNCHES),
    "merge at a fresh probability": ("sampler/split_merge.py", "task[MODE] = EVALUATE", "task[MODE] = DRAW", LAUNCHES),
    "choice of anchors forgotten": (
        "sampler/moves.py",
        "math.log(_SPLIT_ANCHORED / _JOIN_ANCHORED) + ",
        "",
        LAUNCHES,
    ),
    "row by row without its proposal": (
        "sampler/row_by_row.py",
        "log_ratio += log_q if drawn == 0 else -log_q",
        "log_ratio += log_q if drawn == 0 else 0.0",
        ROWS,
    ),
    "row by row at a fresh probability": (
        "sampler/row_by_row.py",
        "begun, last, data.tags, a, drawn == 1)",
        "begun, last, data.tags, a, True)",
        ROWS,
    ),
    "search at a fresh probability": (
        "sampler/row_by_row.py",
        "if drawn else sides.target[s]",
        "if n[0] > 0.0 else sides.target[s]",
        SEARCHED,
    ),
    "choice of a seed's new cluster forgotten": (
        "sampler/moves.py",
        "return -math.log(float(t)) if kind == SPLIT else math.log(t - 1.0)",
        "return 0.0 * t",
        SEEDED,
    ),
    "choice of anchors in rows forgotten": ("sampler/moves.py", "((t + 1.0) * n_0 * n_1)", "(t + 1.0)", ROWS),
    "V(t + 1) / V(t) off by one": (
        "sampler/moves.py",
        "n_observations(state), n, t, moves.sizes)",
        "n_observations(state), n + 1, t, moves.sizes)",
        MFM,
    ),
    "empty component not redrawn": (
        "sampler/parameters.py",
        "_draw_components(rng, state, scratch, t, K)",
        "_draw_components(rng, state, scratch, t, t)",
        EMPTY,
    ),
    "known kinds among those to choose from": (
        "sampler/partition_prior.py",
        "math.lgamma(n - weights.tagged + 1.0)",
        "math.lgamma(n + 1.0)",
        "test_known_labels.py::test_enumeration[static-all]",
    ),
    "choice of clusters forgotten": (
        "sampler/moves.py",
        " * 2.0 / (t + 1.0))",
        " * 2.0)",
        RECALLS,
    ),
    "determinant of what is missing forgotten": (
        "sampler/latent_factors.py",
        "out[k] += log2(x[k])",
        "out[k] += 0.0",
        "test_missing.py::test_log_likelihood_is_that_of_what_was_observed[1-2-of a column]",
    ),
    "known kinds forgotten where values are missing": (
        "sampler/latent.py",
        "        keep_to_tags(tags, K, work)\n    if sliced:",
        "    if sliced:",
        "test_combinations.py::test_known_kinds_with_gaps_and_errors_leave_the_prior_invariant[diag-finite-False]",
    ),
    "fills too narrow": ("sampler/latent.py", "index.shape[0], LOG2_E**0.5, 0", "index.shape[0], 1.0, 0", GAPS),
}
"""file, text, what it becomes, the test that must fail"""

IN_DEFAULT_SUITE = ("reversed Bartlett", "counts ignored")  # few seconds of compilation; others take up to a minute


@pytest.mark.parametrize(
    "plant", [pytest.param(name, marks=() if name in IN_DEFAULT_SUITE else pytest.mark.slow) for name in PLANTS]
)
def test_planted_bug_is_caught(plant: str, tmp_path: Path) -> None:
    file, text, bug, test = PLANTS[plant]
    ignore = shutil.ignore_patterns("__pycache__", "*.nbi", "*.nbc")
    shutil.copytree(ROOT / "gibbs_gmm", tmp_path / "gibbs_gmm", ignore=ignore)
    shutil.copytree(ROOT / "tests", tmp_path / "tests", ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    source = tmp_path / "gibbs_gmm" / "kernels" / file
    original = source.read_text()
    assert original.count(text) == 1, f"{text!r} is not once in {file}: plant this bug elsewhere"
    source.write_text(original.replace(text, bug))
    # Run in the copy, whose conftest gives it a compiler cache of its own. On the package as it is this test passes.
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", f"tests/{test}"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 1, run.stdout + run.stderr
    assert "1 failed" in run.stdout
    # It fails for the right reason: a statistic, or bytes that must be the same, not a crash.
    assert re.search(
        r"p-values below|standard errors from|: \d+ of \d+ differ|within the radius| == .* ± ", run.stdout
    ), run.stdout
