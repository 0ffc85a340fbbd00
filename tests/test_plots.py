"""Pictures: what is drawn where, and that they can be drawn for any trace."""

import dataclasses
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex, to_rgb
from scipy import stats
from test_relabel import shuffled, simulate, simulate_unknown_n

from gibbs_gmm import DirichletProcess, MixtureOfFiniteMixtures, load
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
from gibbs_gmm.plots.style import PALETTE, distinct
from gibbs_gmm.posterior.n_posterior import tabulate


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    assert matplotlib.get_backend().lower() == "agg"
    yield
    plt.close("all")


def lines(ax, *, thin: bool) -> list[LineCollection]:
    """The ellipses of a panel, one collection per component."""
    found = [c for c in ax.collections if isinstance(c, LineCollection)]
    return [c for c in found if (c.get_linewidth()[0] < 1.0) == thin]


def texts(axes) -> list[str]:
    return [text.get_text() for ax in axes.ravel() if ax.get_legend() for text in ax.get_legend().get_texts()]


def test_panels_and_labels() -> None:
    trace, X = simulate(T=30, D=3)
    axes = pairs(trace, X)
    assert axes.shape == (3, 3)
    assert [ax.get_xlabel() for ax in axes[-1]] == ["x0", "x1", "x2"]
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["", "x1", "x2"]
    assert all(axes[i, j].axison == (j <= i) for i in range(3) for j in range(3))
    assert texts(axes)[0].startswith("0:  0.50  (0.4")
    axes[0, 0].figure.draw_without_rendering()


def test_points_have_the_colour_of_their_most_probable_component() -> None:
    trace, X = shuffled(simulate(T=30)[0], seed=1)[0], simulate(T=30)[1]
    (points,) = [c for c in pairs(trace, X)[1, 0].collections if isinstance(c, PathCollection)]
    np.testing.assert_array_equal(points.get_offsets(), X)
    assert [to_hex(c) for c in points.get_facecolor()] == [PALETTE[i % 3].lower() for i in range(len(X))]


def test_points_are_grey_without_assignments() -> None:
    trace, X = simulate(T=30)
    axes = pairs(dataclasses.replace(trace, assignments=None), X)
    (points,) = [c for c in axes[1, 0].collections if isinstance(c, PathCollection)]
    assert {to_hex(c) for c in points.get_facecolor()} == {"#8c8c8c"}


def test_ellipses_hold_90_percent() -> None:
    """Every point of the ellipse of Sigma has the Mahalanobis distance of the 90% quantile."""
    Sigma = np.array([[4.0, -1.5, 0.0], [-1.5, 1.0, 0.3], [0.0, 0.3, 2.0]])
    trace, X = simulate(C=2, T=10, K=1, D=3)
    trace = dataclasses.replace(trace, covariances=np.broadcast_to(Sigma, trace.covariances.shape))
    axes = pairs(trace, X, max_draws=7)
    (thin,), (thick,) = (lines(axes[1, 0], thin=t) for t in (True, False))
    assert (len(thin.get_segments()), len(thick.get_segments())) == (7, 1)
    for panel, pair in ((axes[1, 0], [0, 1]), (axes[2, 0], [0, 2]), (axes[2, 1], [1, 2])):
        d = lines(panel, thin=False)[0].get_segments()[0] - trace.means[..., pair].mean((0, 1, 2))
        distance = np.einsum("ni,ij,nj->n", d, np.linalg.inv(Sigma[np.ix_(pair, pair)]), d)
        np.testing.assert_allclose(distance, stats.chi2(2).ppf(0.9), rtol=1e-9)


def test_draws_in_which_a_component_is_empty_do_not_count() -> None:
    trace, X = simulate(C=1, T=20)
    weights, means = trace.weights.copy(), trace.means.copy()
    weights[0, :5] = (0.6, 0.4 - 1e-6, 1e-6)
    means[0, :5, 2] = 1e6
    axes = pairs(dataclasses.replace(trace, weights=weights, means=means), X)
    assert [len(c.get_segments()) for c in lines(axes[1, 0], thin=True)] == [20, 20, 15]
    centre = lines(axes[1, 0], thin=False)[2].get_segments()[0].mean(0)
    np.testing.assert_allclose(centre, means[0, 5:, 2].mean(0), atol=3.0)
    assert axes[1, 0].get_xlim()[1] < 30.0


def test_each_component_has_its_number_at_its_centre() -> None:
    trace, X = simulate(T=30)
    axes = pairs(trace, X)
    means = trace.relabel().trace.means.mean((0, 1))
    assert [text.get_text() for text in axes[1, 0].texts] == ["0", "1", "2"]
    np.testing.assert_allclose([text.get_position() for text in axes[1, 0].texts], means, atol=0.5)
    trace, X = simulate(T=30, D=1)
    ax = pairs(trace, X)[0, 0]
    means = trace.relabel().trace.means.mean((0, 1))[:, 0]
    np.testing.assert_allclose([text.get_position()[0] for text in ax.texts], means, atol=0.5)
    (marks,) = [c for c in ax.collections if isinstance(c, LineCollection)]
    np.testing.assert_array_equal([segment[0, 0] for segment in marks.get_segments()], X[:, 0])


def test_a_draw_with_little_weight_is_pale_and_so_is_a_row_that_is_unsure() -> None:
    trace, X = simulate(C=1, T=20)
    weights, z = trace.weights.copy(), trace.assignments.copy()
    weights[0, :5] = (0.6, 0.35, 0.05)
    z[:, :8, 0] = 1
    axes = pairs(dataclasses.replace(trace, weights=weights, assignments=z), X)
    alpha = lines(axes[1, 0], thin=True)[2].get_colors()[:, 3]
    assert alpha[:5].max() < 0.5 * alpha[5:].min()
    (points,) = [c for c in axes[1, 0].collections if isinstance(c, PathCollection)]
    alpha = points.get_facecolor()[:, 3]
    assert alpha[0] < alpha[1] == alpha[2]


def test_twelve_clusters_have_twelve_colours_that_can_be_told_apart() -> None:
    """Differences in CIELAB, of which 2 is just noticed; as seen without green cones, those left are still above 10."""
    linear = np.array([to_rgb(colour) for colour in distinct(12)])
    linear = np.where(linear <= 0.04045, linear / 12.92, ((linear + 0.055) / 1.055) ** 2.4)
    deuteranopia = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]]
    for view, least in ((np.eye(3), 20.0), (np.array(deuteranopia), 10.0)):
        xyz = np.clip(linear @ view.T, 0.0, 1.0) @ np.array(to_xyz).T / [0.95047, 1.0, 1.08883]
        f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
        lab = np.column_stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])])
        distance = np.linalg.norm(lab[:, None] - lab, axis=-1)
        assert distance[~np.eye(12, dtype=bool)].min() > least
    assert len(set(distinct(20))) == 20
    assert distinct(30)[:20] == distinct(20)


def test_axes_are_one_line_in_a_notebook() -> None:
    trace, X = simulate(T=5)
    assert repr(pairs(trace, X)) == "<2 x 2 Axes>"
    assert repr(chains(trace, quantities=["log_likelihood"])) == "<1 x 2 Axes>"
    assert repr(n_posterior(trace)) == "<1 Axes>"
    assert isinstance(pairs(trace, X)[0, 0], Axes)


def test_one_column_is_one_panel() -> None:
    trace, X = simulate(T=20, D=1)
    axes = pairs(trace, X[:, 0])
    assert axes.shape == (1, 1)
    assert axes[0, 0].get_xlabel() == "x0"
    assert texts(axes)[-1] == "mixture, and its 90% band"
    _, ax = plt.subplots()
    assert pairs(trace, X, ax)[0, 0] is ax
    (area,) = {round(float(np.trapezoid(line.get_ydata(), line.get_xdata())), 1) for line in ax.lines[:1]}
    assert area == 1.0


@pytest.mark.parametrize(
    ("C", "T", "K", "D", "N"), [(1, 1, 1, 1, 2), (1, 1, 1, 2, 2), (2, 3, 30, 3, 90), (1, 5, 9, 2, 20_000)]
)
def test_any_shape(C: int, T: int, K: int, D: int, N: int) -> None:
    trace, X = simulate(C=C, T=T, K=K, D=D, N=N)
    axes = pairs(trace, X)
    if D > 1:
        (points,) = [c for c in axes[1, 0].collections if isinstance(c, PathCollection)]
        assert len(points.get_offsets()) <= 4000
    if K == 30:
        assert "and 24 more" in texts(axes)
        axes[0, 0].figure.draw_without_rendering()
        legend, panel = axes[0, 2].get_legend().get_window_extent(), axes[1, 1].get_window_extent()
        assert legend.y0 > panel.y1  # else the panel in the middle would cover it
    axes[0, 0].figure.draw_without_rendering()


def test_a_constant_column_can_be_drawn() -> None:
    trace, X = simulate(T=5)
    X[:, 1] = 3.0
    pairs(trace, X)[0, 0].figure.draw_without_rendering()


def test_many_columns_are_cut_and_it_is_said() -> None:
    trace, X = simulate(C=1, T=2, K=2, D=12)
    axes = pairs(trace, X)
    assert axes.shape == (6, 6)
    assert "6 of 12 columns are shown" in texts(axes)
    axes = pairs(trace, X, columns=["x11", "x3"])
    assert [ax.get_xlabel() for ax in axes[-1]] == ["x11", "x3"]


def test_given_axes_are_used() -> None:
    trace, X = simulate(T=5)
    _, axes = plt.subplots(2, 2)
    assert (pairs(trace, X, axes) == axes).all()
    with pytest.raises(ValueError, match=r"axes must be a \(2, 2\) array"):
        pairs(trace, X, axes[0])


def test_bad_arguments_are_named() -> None:
    trace, X = simulate(T=5)
    with pytest.raises(ValueError, match=r"X must be the data of the trace, of shape \(60, 2\), got \(59, 2\)"):
        pairs(trace, X[1:])
    with pytest.raises(ValueError, match=r"columns must be among \['x0', 'x1'\], got \['x2'\]"):
        pairs(trace, X, columns=["x1", "x2"])
    with pytest.raises(ValueError, match="columns must be a sequence of names"):
        pairs(trace, X, columns="x1")
    with pytest.raises(ValueError, match="max_draws must be at least 1"):
        pairs(trace, X, max_draws=0)


# --- Unknown n ---


def test_components_are_those_of_the_most_probable_number_of_clusters() -> None:
    truth, X = simulate_unknown_n()
    trace, _ = shuffled(truth, seed=1)
    axes = pairs(trace, X, max_draws=20)
    share = f"{100 * np.mean(trace.n_clusters == 3):.0f}%"
    assert axes[0, 1].get_legend().get_title().get_text() == f"3 clusters ({share} of draws):  weight (90% interval)"
    assert [text[:2] for text in texts(axes)] == ["0:", "1:", "2:", "mi", "90", "mi"]
    assert "mixture, all draws, and its 90% band" in texts(axes)
    assert [len(c.get_segments()) for c in lines(axes[1, 0], thin=True)] == [20, 20, 20]
    own = truth.n_clusters == 3
    for k, thick in enumerate(lines(axes[1, 0], thin=False)):
        centre = np.average(truth.means[own][:, k], axis=0, weights=truth.weights[own][:, k])
        np.testing.assert_allclose(thick.get_segments()[0][:-1].mean(0), centre, atol=1e-9)
    (points,) = [c for c in axes[1, 0].collections if isinstance(c, PathCollection)]
    owners = [(0, 1, 2, 0)[i % 4] for i in range(60)]  # the rows of a fourth belong to the first
    assert [to_hex(c) for c in points.get_facecolor()] == [PALETTE[k].lower() for k in owners]
    axes[0, 0].figure.draw_without_rendering()


def test_the_mixture_is_that_of_all_draws() -> None:
    """One cluster in half of the draws and two in the others: the density is the mean of all, unoccupied included."""
    n_clusters = np.repeat([1, 2], [101, 99])[None]  # 200 draws, as many as are looked at
    trace, X = simulate_unknown_n(n_clusters, D=1)
    mixture, *components = pairs(trace, X)[0, 0].lines
    assert len(components) == 1
    normals = stats.norm(trace.means[0], np.sqrt(trace.covariances[0, ..., 0]))
    terms = trace.weights[0, :, :, None] * normals.pdf(mixture.get_xdata())
    np.testing.assert_allclose(mixture.get_ydata(), np.exp(trace.log_density(mixture.get_xdata()[:, None])), rtol=1e-10)
    assert (mixture.get_ydata() >= np.nansum(terms, axis=1).mean(0) * (1 - 1e-12)).all()
    np.testing.assert_allclose(components[0].get_ydata(), terms[:101, 0].mean(0), rtol=1e-10)


@pytest.mark.parametrize(
    ("n_clusters", "D"), [([[1]], 1), ([[1]], 2), ([[3, 1]], 2), ([[7, 9, 11, 9]], 2), ([[30]], 1)]
)
def test_any_shape_of_unknown_n(n_clusters: list[list[int]], D: int) -> None:
    trace, X = simulate_unknown_n(np.array(n_clusters), D=D)
    pairs(trace, X)[0, 0].figure.draw_without_rendering()
    pairs(dataclasses.replace(trace, assignments=None), X)[0, 0].figure.draw_without_rendering()


FIXED = MixtureOfFiniteMixtures(concentration=1.0)  # the prior of n+ under the default one takes a second or two


def heights(ax, label: str) -> list[float]:
    (bars,) = [bars for bars in ax.containers if bars.get_label() == label]
    return [bar.get_height() for bar in bars]


def test_n_posterior_draws_posterior_and_prior() -> None:
    posterior = tabulate(simulate_unknown_n(weight_prior=FIXED)[0])
    axes = n_posterior(posterior)
    assert axes.shape == (2,)
    assert [ax.get_title(loc="left") for ax in axes] == ["p(n)", "p(n+)"]
    assert heights(axes[0], "posterior") == posterior.p_n_components.tolist()
    assert heights(axes[0], "prior") == posterior.prior_n_components.tolist()
    assert heights(axes[1], "posterior") == posterior.p_n_clusters.tolist()
    assert heights(axes[1], "prior") == posterior.prior_n_clusters.tolist()
    (circles,) = [c for c in axes[1].collections if isinstance(c, PathCollection)]
    expected = np.sort(posterior.p_n_clusters_by_chain[:, 1:4], axis=None)
    np.testing.assert_array_equal(np.sort(circles.get_offsets()[:, 1]), expected)
    (errors,) = [c for c in axes[1].collections if isinstance(c, LineCollection)]
    reach = [np.ptp(segment[:, 1]) for segment in errors.get_segments()]
    np.testing.assert_allclose(reach, 4.0 * posterior.se_n_clusters[1:4], rtol=1e-12)
    assert {text.get_text() for text in axes[1].get_legend().get_texts()} == {"posterior", "prior", "each chain alone"}
    axes[0].figure.draw_without_rendering()
    assert axes[0].get_xlim()[0] == pytest.approx(0.3)
    assert all(tick == int(tick) for tick in axes[0].get_xticks())


def test_n_posterior_of_a_process_and_of_a_given_n_is_one_panel() -> None:
    for trace in (simulate_unknown_n(weight_prior=DirichletProcess())[0], simulate()[0]):
        axes = n_posterior(trace)
        assert [ax.get_title(loc="left") for ax in axes] == ["p(n+)"]
        _, ax = plt.subplots()
        assert n_posterior(trace, ax)[0] is ax
        axes[0].figure.draw_without_rendering()


def test_n_posterior_checks_its_axes() -> None:
    trace, _ = simulate_unknown_n(weight_prior=FIXED)
    _, axes = plt.subplots(2, 1)
    assert (n_posterior(trace, axes) == axes).all()
    with pytest.raises(ValueError, match=r"axes must be 2 Axes for p\(n\) and p\(n\+\), got shape"):
        n_posterior(trace, axes[0])


def test_n_posterior_warns_of_chains_that_have_not_met() -> None:
    trace, _ = simulate_unknown_n(np.array([[2], [3]]) + np.zeros((1, 50), int), weight_prior=FIXED)
    with pytest.warns(UserWarning, match="have not met") as record:
        n_posterior(trace)
    assert record[0].filename == __file__


@pytest.mark.parametrize(("C", "T"), [(1, 1), (1, 3), (4, 1), (30, 5)])
def test_n_posterior_of_any_shape(C: int, T: int) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* have not met")
        axes = n_posterior(simulate_unknown_n(C=C, T=T, weight_prior=FIXED)[0])
    axes[0].figure.draw_without_rendering()


# --- Predictive density ---


def test_the_density_of_a_column_is_over_its_histogram() -> None:
    trace, X = simulate_unknown_n(T=50, D=1, weight_prior=FIXED)
    ax = density(trace, X)
    (line,) = ax.lines
    np.testing.assert_allclose(line.get_ydata(), np.exp(trace.log_density(line.get_xdata()[:, None])), rtol=1e-10)
    band = ax.collections[0].get_paths()[0].vertices
    assert band[:, 1].max() > line.get_ydata().max()
    heights = [bar.get_height() * bar.get_width() for bar in ax.patches]
    assert sum(heights) == pytest.approx(1.0)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "observations",
        "90% band",
        "predictive density",
    ]


def test_rows_that_stand_for_several_count_so_often() -> None:
    """In the histogram, and in what a profile is measured from."""
    trace, X = simulate_unknown_n(T=20, D=1, weight_prior=FIXED)
    counts = np.where(X[:, 0] > np.median(X[:, 0]), 9, 1)
    counted = dataclasses.replace(trace, counts=counts)
    once, often = (density(one, X).patches for one in (trace, counted))
    assert sum(bar.get_height() * bar.get_width() for bar in often) == pytest.approx(1.0)
    assert often[-1].get_height() == pytest.approx(once[-1].get_height() * 9 / counts.mean())
    place, place_often = (
        np.array([ax.collections[-1].get_offsets()[0, 0] for ax in profiles(one, X)]) for one in (trace, counted)
    )
    assert len(place) > 1
    Y = np.repeat(X, counts, axis=0)
    np.testing.assert_allclose(place * X.std() + X.mean(), place_often * Y.std() + Y.mean(), rtol=1e-6)


def test_a_relabelled_trace_can_be_drawn() -> None:
    """Its unused slots may be anywhere; predict.py wants them last."""
    trace, X = simulate_unknown_n(C=1, T=20, D=1, weight_prior=FIXED)
    moved, _ = shuffled(trace, seed=1)
    (line,), (expected,) = (density(one, X).lines for one in (moved, trace))
    np.testing.assert_allclose(line.get_ydata(), expected.get_ydata(), rtol=1e-10)
    pairs(moved, X)


def test_the_areas_of_two_columns_hold_what_they_say() -> None:
    """The share of new rows inside the outermost area, which marching squares draw, is 95%."""
    trace, X = simulate_unknown_n(D=3, weight_prior=FIXED)
    ax = density(trace, X, columns=["x2", "x0"])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x2", "x0")
    areas = [c for c in ax.collections if type(c).__name__ == "QuadContourSet" and c.filled]
    new = trace.sample(4000, rng=1)[:, [2, 0]]
    (x0, x1), (y0, y1) = ax.get_xlim(), ax.get_ylim()
    new = new[(new[:, 0] > x0) & (new[:, 0] < x1) & (new[:, 1] > y0) & (new[:, 1] < y1)]
    for k, mass in enumerate((0.95, 0.8, 0.5)):
        inside = np.zeros(len(new), dtype=bool)
        for path in areas[0].get_paths()[k:]:
            inside |= np.logical_xor.reduce(
                [
                    np.zeros(len(new), bool),
                    *(matplotlib.path.Path(polygon).contains_points(new) for polygon in path.to_polygons()),
                ]
            )
        assert inside.mean() == pytest.approx(mass, abs=0.03)  # 4 standard errors of 4000 rows, and the grid


def test_density_chooses_the_columns_that_tell_clusters_apart() -> None:
    trace, X = simulate(T=30, D=5)
    means, X = trace.means.copy(), X.copy()
    means[..., [0, 2, 4]] *= 0.01
    trace = dataclasses.replace(trace, means=means)
    ax = density(trace, X)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x1", "x3")
    assert ax.get_title(loc="left") == "2 of 5 columns, which tell the clusters apart best"
    assert density(trace, X, columns=["x0", "x1"]).get_title(loc="left") == "2 of 5 columns"
    assert density(*simulate(T=5)).get_title(loc="left") == ""


def test_density_checks_its_columns() -> None:
    trace, X = simulate(T=5, D=3)
    with pytest.raises(ValueError, match="columns must be one or two names"):
        density(trace, X, columns=["x0", "x1", "x2"])
    with pytest.raises(ValueError, match="axes must be one Axes for a density"):
        density(trace, X, plt.subplots(1, 2)[1])


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
