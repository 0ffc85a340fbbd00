"""The pair plot: what is drawn where, and that it can be drawn for any trace."""

import dataclasses
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex
from scipy import stats
from test_relabel import shuffled, simulate, simulate_unknown_n

from gibbs_gmm import DirichletProcess, MixtureOfFiniteMixtures
from gibbs_gmm.n_posterior import tabulate
from gibbs_gmm.plots import n_posterior, pairs, save
from gibbs_gmm.plots.style import PALETTE


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
        assert "and 19 more" in texts(axes)
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
    assert [to_hex(c) for c in points.get_facecolor()] == [PALETTE[i % 3].lower() for i in range(60)]
    axes[0, 0].figure.draw_without_rendering()


def test_the_mixture_is_that_of_all_draws() -> None:
    """One cluster in half of the draws and two in the others: the mixture's density is the mean of both densities."""
    n_clusters = np.repeat([1, 2], [101, 99])[None]  # 200 draws, as many as are looked at
    trace, X = simulate_unknown_n(n_clusters, D=1)
    mixture, *components = pairs(trace, X)[0, 0].lines
    assert len(components) == 1
    normals = stats.norm(trace.means[0], np.sqrt(trace.covariances[0, ..., 0]))
    terms = trace.weights[0, :, :, None] * normals.pdf(mixture.get_xdata())
    np.testing.assert_allclose(mixture.get_ydata(), np.nansum(terms, axis=1).mean(0), rtol=1e-10)
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
        "import sys, gibbs_gmm.plots, gibbs_gmm.summary, gibbs_gmm.n_posterior, gibbs_gmm.cli, gibbs_gmm.table\n"
        "print([m for m in ('matplotlib', 'arviz_stats', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
