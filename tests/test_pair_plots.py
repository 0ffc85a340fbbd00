"""The picture of all pairs of columns: points, ellipses, numbers, any shape of a trace."""

import dataclasses

import numpy as np
import pytest
from made_up_traces import shuffled, simulate, simulate_unknown_n
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex, to_rgb
from scipy import stats
from test_plots import lines, texts

from gibbs_gmm.plots import chains, n_posterior, pairs
from gibbs_gmm.plots.style import PALETTE, distinct

pytestmark = pytest.mark.usefixtures("figures_closed")


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
