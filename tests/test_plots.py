"""Pictures: what is drawn where, and that they can be drawn for any trace."""

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up_traces import simulate, simulate_unknown_n
from matplotlib import pyplot as plt
from matplotlib.collections import LineCollection, PathCollection
from test_density_plots import FIXED

from gibbs_gmm import load
from gibbs_gmm.evidence import Evidence
from gibbs_gmm.plots import (
    chains,
    check,
    density,
    evidence,
    membership,
    merged,
    n_posterior,
    pairs,
    profiles,
    save,
    similarity,
)
from gibbs_gmm.plots.memberships import apart
from gibbs_gmm.posterior.n_posterior import tabulate

pytestmark = pytest.mark.usefixtures("figures_closed")


def lines(ax, *, thin: bool) -> list[LineCollection]:
    """The ellipses of a panel, one collection per component."""
    found = [c for c in ax.collections if isinstance(c, LineCollection)]
    return [c for c in found if (c.get_linewidth()[0] < 1.0) == thin]


def texts(axes) -> list[str]:
    return [text.get_text() for ax in axes.ravel() if ax.get_legend() for text in ax.get_legend().get_texts()]


# --- Similarity ---


def drawn(ax) -> np.ndarray:
    """The matrix of a picture, with 1 on the diagonal, which is not drawn."""
    return np.ma.filled(ax.images[0].get_array(), 1.0)


def test_every_cluster_has_its_name_beside_the_matrix() -> None:
    trace, _ = simulate(C=1, T=2, K=2, N=1000)
    labels = np.repeat(np.arange(15), [900, *[1] * 12, 44, 44])
    ax = similarity(trace, partition=labels)
    assert [text.get_text() for text in ax.texts] == [str(k) for k in range(15)]
    places = np.array([text.get_position()[1] for text in ax.texts])
    assert np.diff(places).min() > 30.0  # of 1000 rows: names of clusters of one row are not on top of each other
    assert 0.0 <= places.min() <= places.max() <= 1000.0
    ax.figure.draw_without_rendering()


def test_similarity_is_ordered_by_the_partition() -> None:
    trace, _ = simulate(T=20, K=3)
    z = trace.assignments.copy()
    z[:, :5, 0] = 1  # row 0 is in another cluster in a quarter of the draws
    trace = dataclasses.replace(trace, assignments=z)
    labels = np.arange(60) % 3
    ax = similarity(trace, partition=labels)
    image = drawn(ax)
    assert image.shape == (60, 60)
    assert np.ma.getmaskarray(ax.images[0].get_array()).diagonal().all()  # a row and itself say nothing
    blocks = image.reshape(3, 20, 3, 20)
    assert blocks[0, :, 0].min() == 0.75
    assert blocks[0, :, 1].max() == 0.25
    assert blocks[1, :, 1].min() == 1.0
    assert blocks[2, :, :2].max() == 0.0
    assert [text.get_text() for text in ax.texts] == ["0", "1", "2"]
    np.testing.assert_array_equal(image, image.T)
    same = drawn(similarity(trace))
    np.testing.assert_array_equal(np.sort(same, axis=None), np.sort(image, axis=None))


def test_similarity_of_many_rows_shows_some_of_each_cluster() -> None:
    trace, _ = simulate(C=1, T=3, K=2, N=300)
    ax = similarity(trace, max_rows=50)
    assert ax.images[0].get_array().shape == (50, 50)
    assert "(50 of 300 shown)" in ax.get_xlabel()
    with pytest.raises(ValueError, match="partition must be of the 300 observations"):
        similarity(trace, partition=np.zeros(299, int))
    with pytest.raises(ValueError, match="max_rows must be at least 2"):
        similarity(trace, max_rows=1)


# --- Profiles, memberships, evidence ---


def test_profiles_are_standardised_means() -> None:
    trace, X = simulate(T=50, K=3, D=4, N=90)
    X = X * [1.0, 10.0, 0.1, 1.0] + [0.0, 5.0, 0.0, -3.0]
    scale, shift = np.array([1.0, 10.0, 0.1, 1.0]), np.array([0.0, 5.0, 0.0, -3.0])
    trace = dataclasses.replace(
        trace, means=trace.means * scale + shift, covariances=trace.covariances * np.outer(scale, scale)
    )
    axes = profiles(trace, X)
    assert axes.shape == (3,)
    order = np.argsort(-trace.relabel().trace.weights.mean((0, 1)), kind="stable")
    means = trace.relabel().trace.means.reshape(-1, 3, 4)
    np.testing.assert_array_equal(order, np.arange(3))
    for k, ax in enumerate(axes):
        assert ax.get_title(loc="left").startswith(f"cluster {k}  (")
        points = next(c for c in ax.collections if isinstance(c, PathCollection)).get_offsets()
        np.testing.assert_allclose(points[:, 0], (means[:, k].mean(0) - X.mean(0)) / X.std(0), atol=0.02)
        np.testing.assert_array_equal(points[:, 1], np.arange(4))
        segments = [np.array(c.get_segments()) for c in ax.collections if isinstance(c, LineCollection)]
        low, high = np.quantile((means[:, k] - X.mean(0)) / X.std(0), [0.05, 0.95], axis=0)
        np.testing.assert_allclose(segments[1][:, :, 0], np.column_stack([low, high]), atol=1e-9)
        assert ax.get_xlim() == axes[0].get_xlim()
    assert [text.get_text() for text in axes[0].get_yticklabels()] == ["x0", "x1", "x2", "x3"]
    picked = profiles(trace, X, plt.subplots(1, 3)[1], columns=["x2"])
    assert [text.get_text() for text in picked[0].get_yticklabels()] == ["x2"]
    with pytest.raises(ValueError, match="axes must be 3 Axes for 3 clusters"):
        profiles(trace, X, plt.subplots(1, 2)[1])


def test_membership_stacks_the_probabilities_of_each_row() -> None:
    trace, _ = simulate(T=100, K=2)
    z = trace.assignments.copy()
    z[:, :40, 0] = 1  # row 0 of cluster 0: 40% elsewhere, the least sure of all
    trace = dataclasses.replace(trace, assignments=z)
    for source in (trace, trace.partition()):
        ax = membership(source)
        height = np.arange(0.0005, 1.0, 0.001)
        filled = np.array(
            [
                [area.get_paths()[0].contains_points(np.column_stack([np.full(1000, row + 0.5), height])).mean()]
                for area in ax.collections
                for row in range(60)
            ]
        ).reshape(-1, 60)
        np.testing.assert_allclose(filled.sum(0), 1.0, atol=0.002)
        np.testing.assert_allclose(filled[0, [0, 29, 30]], [1.0, 0.6, 0.0], atol=0.001)
        assert [text.get_text() for text in ax.get_xticklabels()] == ["0", "1"]
    big = membership(simulate(C=1, T=2, K=3, N=9000)[0])
    assert "(2,000 of 9,000 shown)" in big.get_xlabel()


def test_places_are_moved_apart_as_little_as_need_be() -> None:
    np.testing.assert_allclose(apart(np.array([10.0, 50.0, 90.0]), 100.0, 0.1), [10.0, 50.0, 90.0])
    np.testing.assert_allclose(apart(np.array([50.0, 50.0]), 100.0, 0.1), [45.0, 55.0])
    np.testing.assert_allclose(apart(np.array([98.0, 99.0, 100.0]), 100.0, 0.1), [80.0, 90.0, 100.0])


def test_evidence_draws_differences_and_the_posterior() -> None:
    value, error = np.array([-140.0, -101.0, -100.0, np.nan]), np.array([0.0, 0.1, 0.2, np.nan])
    known = Evidence(np.arange(1, 5), value, error, (), {})
    axes = evidence(known)
    np.testing.assert_allclose(axes[0].lines[0].get_xydata(), [[2, -1.0], [3, 0.0]])
    known = Evidence(np.arange(1, 4), value[:3], error[:3], (), {})
    np.testing.assert_allclose([bar.get_height() for bar in evidence(known)[1].patches], known.posterior())
    with pytest.raises(TypeError, match=r"what log_evidence\(X\) gave, got an object of type Trace"):
        evidence(simulate(C=1, T=2)[0])


# --- Chains ---


def test_chains_draws_traces_and_ranks() -> None:
    trace, _ = simulate_unknown_n(weight_prior=FIXED)
    axes = chains(trace)
    names = ["log_likelihood", "n_clusters", "n_components", "concentration", "sorted_weight[0]"]
    assert [ax.get_ylabel() for ax in axes[:, 0]] == names
    lines_of = axes[0, 0].lines
    for c in range(4):
        np.testing.assert_array_equal(lines_of[2 * c].get_ydata(), trace.log_likelihood[c])
        assert set(lines_of[2 * c + 1].get_ydata()) == {trace.log_likelihood[c].mean()}
        assert c <= min(lines_of[2 * c].get_xdata()) < max(lines_of[2 * c].get_xdata()) < c + 1
    counts = np.concatenate([axes[1, 0].lines[2 * c].get_ydata() for c in range(4)])
    np.testing.assert_array_equal(np.round(counts), trace.n_clusters.ravel())
    axes[0, 0].figure.draw_without_rendering()


def test_ranks_are_flat_where_chains_agree_and_not_where_they_do_not() -> None:
    trace, _ = simulate(T=200)
    shifted = trace.log_likelihood.copy()
    shifted[1] += 100.0
    for values, flat in ((trace.log_likelihood, True), (shifted, False)):
        (ax,) = chains(dataclasses.replace(trace, log_likelihood=values), quantities=["log_likelihood"])[:, 1]
        heights = np.array([patch.get_data().values - patch.get_data().baseline for patch in ax.patches])
        assert heights.shape == (4, 20)
        assert (heights[1, -5:] == 3.0).all() != flat
        # 10 expected in each of 80 bins, variance 7.1: 5 standard deviations, once in 20,000 times
        assert (np.abs(heights - 1.0) < 1.4).all() == flat


def test_equal_values_are_ranked_by_lot() -> None:
    trace, _ = simulate(T=200)
    ax = chains(trace, quantities=["n_clusters"])[0, 1]
    heights = np.array([patch.get_data().values - patch.get_data().baseline for patch in ax.patches])
    assert (np.abs(heights - 1.0) < 1.4).all()


def test_chains_checks_its_arguments() -> None:
    trace, _ = simulate(T=5)
    with pytest.raises(ValueError, match=r"quantities must be among \['log_likelihood', .*, got \['x'\]"):
        chains(trace, quantities=["x"])
    with pytest.raises(ValueError, match="quantities must be a sequence of names"):
        chains(trace, quantities="log_likelihood")
    with pytest.raises(ValueError, match=r"axes must be a \(2, 2\) array of Axes for 2 quantities"):
        chains(trace, plt.subplots(2)[1], quantities=["log_likelihood", "n_clusters"])
    axes = plt.subplots(2, 2)[1]
    assert (chains(trace, axes, quantities=["log_likelihood", "n_clusters"]) == axes).all()


@pytest.mark.parametrize(
    ("C", "T", "n_clusters", "D"),
    [(1, 1, [[1]], 1), (1, 1, [[2]], 2), (2, 2, [[1, 3], [3, 1]], 3), (1, 5, [[2, 3, 2, 2, 1]], 1), (30, 2, None, 2)],
)
def test_every_picture_of_any_shape(C: int, T: int, n_clusters: Any, D: int, tmp_path: Path) -> None:
    """Varying n and fixed n, one column, one component, one chain, one draw, and a trace from disk."""
    if n_clusters is None:
        trace, X = simulate(C=C, T=T, K=2, D=D)
    else:
        trace, X = simulate_unknown_n(np.array(n_clusters), D=D, weight_prior=FIXED)
    assert trace.log_likelihood.shape == (C, T)
    trace.save(tmp_path / "trace.npz")
    trace = load(tmp_path / "trace.npz")
    of_clusters = (trace.check(X).plot(), trace.merged().plot())
    for drawn in (
        pairs(trace, X),
        density(trace, X.astype(np.float32)),
        similarity(trace),
        profiles(trace, X),
        membership(trace),
        chains(trace),
        *of_clusters,
    ):
        np.ravel(drawn)[0].figure.draw_without_rendering()


def test_check_marks_what_fails() -> None:
    trace, X = simulate(C=2, T=5, K=2, D=3, N=400)
    X[1::2, 1] = np.random.default_rng(0).standard_t(2, 200)
    axes = check(trace.check(X))
    crosses = [[tuple(point) for point in ax.collections[0].get_offsets()] for ax in axes]
    assert (1, 1) in crosses[0]
    assert crosses[2] == []
    np.testing.assert_allclose(axes[0].images[0].get_array(), trace.check(X).tails)
    assert [label.get_text() for label in axes[1].get_xticklabels()] == ["x0", "x1", "x2"]
    with pytest.raises(ValueError, match="axes must be 3 Axes for tails, skewness and ties"):
        check(trace.check(X), plt.subplots(2)[1])


def test_merged_draws_the_entropy_of_every_step() -> None:
    trace, _ = simulate(C=2, T=5, K=4)
    z = np.array(trace.assignments)
    z[:, :2, 1::4] = 2
    result = dataclasses.replace(trace, assignments=z).merged()
    ax = merged(result, plt.subplots()[1])
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), np.column_stack([result.n_clusters, result.entropy]))
    assert [text.get_text() for text in ax.texts] == [f"{a}+{b}" for a, b in result.pair[1:]]
    assert ax.texts[0].get_text() == "1+2"


def test_pictures_of_a_check_and_a_merging_refuse_the_trace() -> None:
    trace, _ = simulate(C=1, T=2, K=2)
    with pytest.raises(TypeError, match=r"what trace\.check\(X\) gave, got an object of type Trace"):
        check(trace)
    with pytest.raises(TypeError, match=r"what trace\.merged\(\) gave, got an object of type Trace"):
        merged(trace)


def test_names_are_plain_text() -> None:
    trace, X = simulate(T=5)
    trace = dataclasses.replace(trace, columns=("$\\frac{$", "a column with a very long name"))
    axes = pairs(trace, X)
    axes[0, 0].figure.draw_without_rendering()
    assert axes[1, 1].get_xlabel() == "a column with a ver\N{HORIZONTAL ELLIPSIS}"
    density(trace, X).figure.draw_without_rendering()


# --- Files and imports ---


def test_save_leaves_pyplot_alone(tmp_path: Path) -> None:
    trace, X = simulate(T=5)
    save(tmp_path / "n.png", n_posterior, trace)
    assert (tmp_path / "n.png").read_bytes().startswith(b"\x89PNG")
    save(tmp_path / "n.pdf", n_posterior, tabulate(trace))
    assert (tmp_path / "n.pdf").read_bytes().startswith(b"%PDF")
    save(tmp_path / "pairs.png", pairs, trace, X)
    assert (tmp_path / "pairs.png").read_bytes().startswith(b"\x89PNG")
    save(tmp_path / "one.png", pairs, trace, X, columns=["x1"])
    assert plt.get_fignums() == []


def test_without_matplotlib_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    trace, X = simulate(T=5)
    for module in ("matplotlib", "matplotlib.pyplot", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r"pip install 'gibbs-gmm\[plots\]'"):
        pairs(trace, X)
    with pytest.raises(ImportError, match=r"pip install 'gibbs-gmm\[plots\]'"):
        save(tmp_path / "pairs.png", pairs, trace, X)
    with pytest.raises(ImportError, match=r"pip install 'gibbs-gmm\[plots\]'"):
        n_posterior(trace)


def test_heavy_packages_are_imported_only_when_used() -> None:
    code = (
        "import sys, gibbs_gmm.plots, gibbs_gmm.posterior.summary, gibbs_gmm.posterior.n_posterior\n"
        "import gibbs_gmm.command_line.cli, gibbs_gmm.command_line.reading.table\n"
        "print([m for m in ('matplotlib', 'arviz_stats', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
