"""The priors to compare: functions of the data X (N, D) that give a prior, or a dictionary of keywords for ``fit``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import stats

import gibbs_gmm as gg
from benchmarks.common import FloatArray

Candidate = Callable[[FloatArray], "gg.NormalInverseWishart | dict[str, Any]"]


def fixed(spread: float) -> Candidate:
    """E[Sigma] = spread x diag(variances of the columns), nu_0 = D + 2, kappa_0 = (D + 4) / 300."""

    def build(X: FloatArray) -> gg.NormalInverseWishart:
        D = X.shape[1]
        return gg.NormalInverseWishart(X.mean(0), (D + 4.0) / 300.0, D + 2.0, spread * np.diag(X.var(axis=0, ddof=1)))

    return build


def telescope_like(X: FloatArray) -> gg.NormalInverseWishart:
    """Psi_0 ~ Wishart(D) of mean (D + 4) / 4 diag(variances), nu_0 = D + 4, kappa_0 = (D + 4) / 300.

    The default of R's telescope with R^2 = 25 V: the range grows with N and with one outlier.
    """
    D = X.shape[1]
    Psi_0 = (D + 4.0) / 4.0 * np.diag(X.var(axis=0, ddof=1))
    return gg.NormalInverseWishart(X.mean(0), (D + 4.0) / 300.0, D + 4.0, Psi_0, Psi_0_df=D)


def but(**changes: Any) -> Candidate:
    """The default prior with some of its parameters changed."""
    return lambda X: dataclasses.replace(gg.NormalInverseWishart.from_data(X), **changes)


def plain_axes(X: FloatArray) -> gg.NormalInverseWishart:
    """The default prior with the columns as axes, whatever they are noise about."""
    default = gg.NormalInverseWishart.from_data(X)
    Psi_0 = (default.nu_0 + 2.0) / 4.0 * np.diag(X.var(axis=0, ddof=1))
    return dataclasses.replace(default, axes=None, Psi_0=Psi_0)


def fraley_raftery(X: FloatArray, n: int = 3) -> gg.NormalInverseWishart:
    """Fraley & Raftery (2007), whose scale depends on the number of components; n is a guess of it."""
    D = X.shape[1]
    return gg.NormalInverseWishart(X.mean(0), 0.01, D + 2.0, np.atleast_2d(np.cov(X.T)) / n ** (2.0 / D))


def unit_information(X: FloatArray) -> gg.NormalInverseWishart:
    """kappa_0 = 1 and Psi_0 = cov: one observation's worth of the whole data's spread."""
    return gg.NormalInverseWishart(X.mean(0), 1.0, X.shape[1] + 2.0, np.atleast_2d(np.cov(X.T)))


def telescope(X: FloatArray) -> gg.NormalInverseWishart:
    """The default of R's telescope (Malsiner-Walli, Fruehwirth-Schnatter & Gruen 2016), translated.

    There Sigma^-1 ~ W(c0, C0) and C0 ~ W(g0, G0) with c0 = 2.5 + (D - 1)/2, g0 = 0.5 + (D - 1)/2 and
    G0 = 100 g0/c0 diag(1/R^2), in the notation whose mean is c0 C0^-1: here nu_0 = 2 c0, Psi_0 = 2 C0, of mean
    2 g0 G0^-1 and 2 g0 degrees of freedom. Its mu ~ N(median, diag(R^2)), independent of Sigma, becomes the
    conjugate prior that is as wide where Sigma has its mean.
    """
    D, R = X.shape[1], np.ptp(X, axis=0)
    Psi_0 = (D + 4.0) / 100.0 * np.diag(R**2)
    kappa = (D + 4.0) / 100.0 / 3.0  # E[Sigma] / R^2
    return gg.NormalInverseWishart(np.median(X, axis=0), kappa, D + 4.0, Psi_0, Psi_0_df=float(D))


def static(concentration: Any) -> Candidate:
    """The default prior of the components, and a concentration per component that does not fall with n."""
    weights = gg.MixtureOfFiniteMixtures(concentration=concentration, dynamic=False)
    return lambda X: {"n_components": weights}


CANDIDATES: dict[str, Candidate] = {
    "default": lambda X: {},
    "default, static 1": static(1.0),
    "default, static Gamma(1,20)": static(stats.gamma(1, scale=1 / 20)),
    "scale=wishart": lambda X: gg.NormalInverseWishart.from_data(X, scale="wishart"),
    "shrinkage .1": but(Psi_0_shrinkage=0.1),
    "shrinkage .3": but(Psi_0_shrinkage=0.3),
    "shrinkage .7": but(Psi_0_shrinkage=0.7),
    "shrinkage .98": but(Psi_0_shrinkage=0.98),
    "no noise axes": plain_axes,
    "kappa_0 = 1/50": but(kappa_0_shape=None),
    "resolution 0": but(resolution=0.0),
    "wishart, kappa_0 fixed": telescope_like,
    "fixed .02 V": fixed(0.02),
    "fixed .05 V": fixed(0.05),
    "fixed .1 V": fixed(0.1),
    "fixed .2 V": fixed(0.2),
    "Fraley-Raftery, n = 3": fraley_raftery,
    "kappa 1, Psi = cov": unit_information,
    "telescope": telescope,
}


def keywords(name: str, X: FloatArray) -> dict[str, Any]:
    """What a candidate passes to ``fit`` beside X."""
    found = CANDIDATES[name](X)
    return found if isinstance(found, dict) else {"prior": found}
