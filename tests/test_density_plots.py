"""Pictures of densities and of numbers: the predictive density of columns, and p(n) and p(n+)."""

import dataclasses
import warnings

import matplotlib
import numpy as np
import pytest
from made_up_traces import shuffled, simulate, simulate_unknown_n
from matplotlib import pyplot as plt
from matplotlib.collections import LineCollection, PathCollection

from gibbs_gmm import DirichletProcess, MixtureOfFiniteMixtures
from gibbs_gmm.plots import density, n_posterior, pairs, profiles
from gibbs_gmm.posterior.n_posterior import tabulate

pytestmark = pytest.mark.usefixtures("figures_closed")

# --- p(n) and p(n+) ---

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
