"""The Normal-Inverse-Gamma prior as a user sees it: its default, its checks, and its way into files."""

import json
from typing import Any

import numpy as np
import pytest

import gibbs_gmm as gg

X = np.random.default_rng(1).normal(3.0, [1.0, 20.0, 0.1], (50, 3))


def test_the_default_of_one_column_is_that_of_full_covariances() -> None:
    full = gg.NormalInverseWishart.from_data(X[:, 1])
    for kind in ("diag", "spherical"):
        prior = gg.NormalInverseGamma.from_data(X[:, 1], kind)
        assert prior.covariance_type == kind
        assert (prior.kappa_0, prior.kappa_0_shape) == (full.kappa_0, full.kappa_0_shape)
        np.testing.assert_array_equal(prior.mu_0, full.mu_0)
        np.testing.assert_array_equal(prior.resolution, full.resolution)
        np.testing.assert_allclose(prior.a_0, full.nu_0 / 2.0)
        np.testing.assert_allclose(prior.b_0, full.Psi_0.ravel()[0] / 2.0)
        assert prior.b_0_shape == full.Psi_0_df / 2.0


def test_the_default_follows_the_units_of_each_column() -> None:
    width = np.array([1e-6, 1.0, 1e6])
    one, other = gg.NormalInverseGamma.from_data(X), gg.NormalInverseGamma.from_data(X * width)
    np.testing.assert_allclose(other.b_0, one.b_0 * width**2)
    np.testing.assert_allclose(other.mu_0, one.mu_0 * width)
    assert (one.kappa_0, one.a_0) == (other.kappa_0, other.a_0)
    # a spherical component has the units of all columns: its scale is the mean of theirs
    np.testing.assert_allclose(gg.NormalInverseGamma.from_data(X, "spherical").b_0, np.mean(one.b_0))


def test_kappa_may_be_larger_in_many_columns() -> None:
    wide = np.random.default_rng(2).normal(size=(30, 40))
    assert gg.NormalInverseGamma.from_data(wide).kappa_0 == 0.05
    assert gg.NormalInverseGamma.from_data(wide[:, :4]).kappa_0 == 0.02
    assert gg.NormalInverseGamma.from_data(wide, "spherical").kappa_0 == 0.02


@pytest.mark.parametrize("kind", ["diag", "spherical"])
def test_a_prior_survives_json(kind: str) -> None:
    prior = gg.NormalInverseGamma.from_data(X, kind)
    again = gg.NormalInverseGamma.from_dict(json.loads(json.dumps(prior.to_dict())))
    assert again == prior
    assert hash(again) == hash(prior)
    assert again.describe() == prior.describe()
    assert prior != gg.NormalInverseGamma.from_data(X + 1.0, kind)


def test_it_says_its_laws() -> None:
    prior = gg.NormalInverseGamma([0.0, 1.0], 0.1, 2.0, [1.0, 2.0], b_0_shape=0.5, kappa_0_shape=1.0, resolution=0.5)
    text = prior.describe()
    assert text == "kappa_0 uniform on (0, 0.1), a_0 = 2, b_0 learned, of shape 0.5, values known to 0.5, 0.5"
    assert "b_0 fixed, exact values" in gg.NormalInverseGamma(0.0, 0.1, 2.0, 1.0).describe()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mu_0": []}, "mu_0 must"),
        ({"mu_0": [0.0, np.nan]}, "mu_0 must be finite"),
        ({"kappa_0": 0.0}, "kappa_0 must be positive, got 0"),
        ({"a_0": -1.0}, "a_0 must be positive, got -1"),
        ({"b_0": [1.0, 2.0, 3.0]}, r"b_0 must be one number or have shape \(2,\) to match mu_0, got \(3,\)"),
        ({"b_0": [1.0, 0.0]}, "b_0 must be positive, got 0"),
        ({"b_0": 0.0}, "b_0 must be positive, got 0"),
        ({"b_0": [[1.0, 0.0], [0.0, 1.0]]}, r"b_0 must have shape \(D,\), got \(2, 2\)"),
        ({"b_0_shape": 0.0}, "b_0_shape must be positive"),
        ({"kappa_0_shape": -1.0}, "kappa_0_shape must be positive"),
        ({"resolution": [0.1, -0.1]}, "resolution must not be negative"),
    ],
)
def test_bad_values_are_named(changes: dict[str, Any], message: str) -> None:
    values = {"mu_0": [0.0, 1.0], "kappa_0": 0.1, "a_0": 2.0, "b_0": [1.0, 2.0]} | changes
    with pytest.raises((TypeError, ValueError), match=message):
        gg.NormalInverseGamma(**values)


def test_data_without_a_scale_and_unknown_families_are_refused() -> None:
    with pytest.raises(ValueError, match=r"constant columns only.*NormalInverseGamma"):
        gg.NormalInverseGamma.from_data(np.ones((5, 2)))
    with pytest.raises(ValueError, match="'diag' or 'spherical', got 'full'"):
        gg.NormalInverseGamma.from_data(X, "full")
