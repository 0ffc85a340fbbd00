"""What the columns say: the width to which values are known, and which columns are noise about others."""

import numpy as np
import pytest
from numpy.typing import NDArray

import gibbs_gmm as gg
from gibbs_gmm.data import resolutions
from gibbs_gmm.model.columns import noise_axes

RNG = np.random.default_rng(12)
NORMAL = RNG.standard_normal((400, 3))


@pytest.mark.parametrize("step", [0.1, 0.25, 1.0])
def test_the_step_of_rounded_values_is_found(step: float) -> None:
    rounded = step * np.round(NORMAL / step)
    np.testing.assert_allclose(resolutions(rounded), step, rtol=1e-12)
    np.testing.assert_allclose(resolutions(1e-5 * rounded + 3.0), 1e-5 * step, rtol=1e-6)


def test_exact_values_are_known_far_better_than_they_spread() -> None:
    r = resolutions(NORMAL)
    assert ((r > 1e-4) & (r < 1e-2)).all()
    few = resolutions(NORMAL[:9])
    assert (few < 2e-2).all()


def test_neither_clusters_far_away_nor_outliers_widen_the_cells() -> None:
    near = resolutions(NORMAL)
    far = np.concatenate([NORMAL, NORMAL + 1e6])
    assert (resolutions(far) < 2.5 * near).all()
    outlier = np.concatenate([NORMAL, [[1e9, 0.0, -1e12]]])
    np.testing.assert_allclose(resolutions(outlier), near, rtol=0.05)


def test_ties_without_a_step_are_known_to_their_nearest_neighbours() -> None:
    counts = np.log([1.0, 2.0, 4.0])[RNG.integers(3, size=300)][:, None]
    np.testing.assert_allclose(resolutions(counts), np.log(2.0))
    inflated = np.where(RNG.random(300) < 0.6, 0.0, 5.0 + RNG.random(300))[:, None]
    assert 4.9 < resolutions(inflated)[0] < 5.1


def test_a_constant_column_has_some_width() -> None:
    assert resolutions(np.full((9, 1), -7.0))[0] == 7e-3
    assert resolutions(np.zeros((9, 1)))[0] == 1e-3


def turned(X: NDArray[np.float64]) -> list[int]:
    """The columns whose axes are not the columns themselves."""
    axes = noise_axes(X, resolutions(X))
    return np.flatnonzero((axes != np.eye(X.shape[1])).any(1)).tolist()


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.05])
@pytest.mark.parametrize("what", ["copy", "total"])
def test_a_column_that_is_noise_about_others_is_found(what: str, noise: float) -> None:
    kinds = NORMAL + 5.0 * RNG.standard_normal((3, 3))[RNG.integers(3, size=400)]
    column = kinds[:, 0] if what == "copy" else kinds.sum(1)
    X = np.column_stack([kinds, column + noise * column.std() * RNG.standard_normal(400)])
    axes = noise_axes(X, resolutions(X))
    found = turned(X)
    assert len(found) == 1
    residual = (X - X.mean(0)) @ axes[found[0]]
    assert residual.std() <= 1.1 * max(noise, 1e-9) * X[:, found[0]].std()
    assert len(turned(X[:, ::-1] * [1.0, 1e3, 1e-3, 2.0])) == 1


def test_bent_or_grouped_columns_keep_their_axes() -> None:
    height, width = np.exp(0.1 * NORMAL[:, 0]), np.exp(0.1 * NORMAL[:, 1])
    area = height * width  # nearly linear in both, and yet no noise
    assert turned(np.column_stack([height, width, area])) == []
    groups = NORMAL[:, 0] + 0.1 * RNG.choice([-1.0, 1.0], 400) + 0.01 * RNG.standard_normal(400)
    assert turned(np.column_stack([NORMAL[:, 0], groups])) == []
    assert turned(NORMAL) == []


def test_the_default_prior_follows_units() -> None:
    X = np.column_stack([NORMAL, NORMAL.sum(1) + 0.01 * RNG.standard_normal(400)])
    factor = np.array([4.0, 0.5, 2.0**20, 2.0**-9])
    prior, scaled = gg.NormalInverseWishart.from_data(X), gg.NormalInverseWishart.from_data(X * factor)
    assert prior.axes is not None
    assert scaled.axes is not None
    size = np.sqrt(np.diagonal(prior.Psi_0)) * factor
    np.testing.assert_allclose(
        scaled.Psi_0 / np.outer(size, size),
        prior.Psi_0 / np.outer(size, size) * factor[:, None] * factor,
        rtol=0,
        atol=1e-9,
    )
    np.testing.assert_array_equal(scaled.resolution, prior.resolution * factor)
    assert (scaled.kappa_0, scaled.nu_0) == (prior.kappa_0, prior.nu_0)


def test_a_prior_is_itself_again_from_its_dictionary() -> None:
    prior = gg.NormalInverseWishart.from_data(np.column_stack([NORMAL, NORMAL.sum(1)]))
    assert gg.NormalInverseWishart.from_dict(prior.to_dict()) == prior
    assert "noise about others" in prior.describe()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"Psi_0_shrinkage": 0.5}, "Psi_0_shrinkage must come with Psi_0_df"),
        ({"Psi_0_df": 1.0, "Psi_0_shrinkage": 1.0}, "Psi_0_shrinkage must lie between 0 and 1, got 1.0"),
        ({"Psi_0_df": 1.0}, "Psi_0_df must be greater than D - 1 = 1, got 1.0"),
        ({"axes": np.eye(2)}, "axes must come with Psi_0_shrinkage"),
        ({"Psi_0_df": 1.0, "Psi_0_shrinkage": 0.5, "axes": [[1.0, 0.5], [0.0, 1.0]]}, "Psi_0 must be diagonal in the"),
        ({"Psi_0_df": 1.0, "Psi_0_shrinkage": 0.5, "axes": np.eye(3)}, r"axes must have the shape of Psi_0, \(2, 2\)"),
        ({"resolution": [1.0, 2.0, 3.0]}, "resolution must be one width or one for each of the 2 columns, got 3"),
        ({"resolution": -1.0}, "resolution must not be negative, got -1.0"),
    ],
)
def test_bad_hyperpriors_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gg.NormalInverseWishart(np.zeros(2), 0.1, 4.0, np.eye(2), **arguments)


def test_scale_and_resolution_are_checked() -> None:
    with pytest.raises(ValueError, match="scale must be one of 'shrunk', 'wishart', got 'full'"):
        gg.NormalInverseWishart.from_data(NORMAL, scale="full")
    with pytest.raises(ValueError, match="resolution must be one width or one for each of the 3 columns"):
        gg.fit(NORMAL, 2, resolution=[1.0, 2.0])
    settings = {"draws": 2, "warmup": 2, "chains": 1, "rng": 1, "progress": False}
    assert gg.fit(NORMAL, 2, resolution=0.5, **settings).prior.resolution.tolist() == [0.5, 0.5, 0.5]


def test_a_prior_describes_its_resolution() -> None:
    def described(D: int, resolution: object) -> str:
        return gg.NormalInverseWishart(np.zeros(D), 0.1, D + 2.0, np.eye(D), resolution=resolution).describe()

    assert described(2, 0.0).endswith(", Psi_0 fixed, exact values")
    assert described(2, [0.5, 0.0]).endswith(", values known to 0.5, 0")
    assert described(9, 1.0).endswith("1, 1, ...")
