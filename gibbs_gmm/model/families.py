"""The families of components, by the names of scikit-learn, and the prior that each has."""

from __future__ import annotations

import dataclasses
import difflib
from typing import Any

from gibbs_gmm.data import Observations
from gibbs_gmm.model.component_prior import NormalInverseWishart
from gibbs_gmm.model.normal_inverse_gamma import NormalInverseGamma

ComponentPrior = NormalInverseWishart | NormalInverseGamma

PRIORS: dict[str, type[NormalInverseWishart] | type[NormalInverseGamma]] = {
    "full": NormalInverseWishart,
    "tied": NormalInverseWishart,
    "diag": NormalInverseGamma,
    "spherical": NormalInverseGamma,
}
"""The prior of each family of components: a covariance matrix for each, one for all, one variance for each column of
each component, one for all columns of each."""

COVARIANCE_TYPES = tuple(PRIORS)


def checked_covariance_type(name: Any, argument: str = "covariance_type") -> str:
    """One of the four names; ValueError otherwise."""
    if isinstance(name, str) and name in PRIORS:
        return name
    near = difflib.get_close_matches(name, [*PRIORS, "diagonal"], 1) if isinstance(name, str) else []
    hint = f"; did you mean {near[0].removesuffix('onal')!r}?" if near else ""
    raise ValueError(f"{argument} must be 'full', 'tied', 'diag' or 'spherical', got {name!r}{hint}")


def component_prior(prior: Any, covariance_type: str | None, data: Observations) -> ComponentPrior:
    """The prior that a user asked for, or the default of the family for these data.

    Raises
    ------
    ValueError
        The covariance type is unknown, or the prior is for another number of columns.
    TypeError
        The prior is of another class than the family's.
    """
    kind = None if covariance_type is None else checked_covariance_type(covariance_type)
    if prior is None:
        return PRIORS[kind or "full"].from_observations(data, covariance_type=kind or "full")
    if not isinstance(prior, ComponentPrior):
        raise TypeError(f"prior must be a NormalInverseWishart, a NormalInverseGamma or None, got {prior!r}")
    if kind is not None and kind != prior.covariance_type:
        if not (isinstance(prior, NormalInverseWishart) and PRIORS[kind] is NormalInverseWishart):
            raise TypeError(
                f"prior must be a {PRIORS[kind].__name__} for covariance_type={kind!r}"
                + (f" with {_B_0[kind]}" if kind in _B_0 else "")
                + f", got a {type(prior).__name__} for {prior.covariance_type!r}"
            )
        prior = dataclasses.replace(prior, covariance_type=kind)
    D = len(data.columns)
    checked: ComponentPrior = prior
    if checked.n_features != D:
        raise ValueError(f"prior must be for the {D} columns of X, got mu_0 with {checked.n_features} entries")
    return checked


def prior_from_dict(values: dict[str, Any]) -> ComponentPrior:
    """The inverse of a prior's ``to_dict``."""
    return NormalInverseGamma.from_dict(values) if "b_0" in values else NormalInverseWishart.from_dict(values)


_B_0 = {"diag": "a b_0 for each column", "spherical": "one number as b_0"}
