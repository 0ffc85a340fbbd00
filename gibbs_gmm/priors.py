"""The prior of the components: Normal-Inverse-Wishart."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from gibbs_gmm import validate
from gibbs_gmm.kernels.niw import Prior, log_normaliser
from gibbs_gmm.kernels.types import AnyArray, FloatArray

_DEPENDENT = 1e-12  # least eigenvalue of a correlation matrix, per column, below which its columns count as dependent
_LAST_DIGITS = 8.0  # a standard deviation of fewer units in the last place of the mean is that of rounding


@dataclasses.dataclass(frozen=True, eq=False)
class NormalInverseWishart:
    """Sigma ~ InverseWishart(nu_0, Psi_0), mu | Sigma ~ N(mu_0, Sigma / kappa_0), for each component.

    E[Sigma] = Psi_0 / (nu_0 - D - 1) where nu_0 > D + 1. In one dimension Sigma is a variance with density
    InverseGamma(nu_0 / 2, Psi_0 / 2).

    Parameters
    ----------
    mu_0 : (D,) array-like
        Prior mean of the component means, in the units of X.
    kappa_0 : float > 0
        How many observations the prior knowledge of a mean is worth.
    nu_0 : float > D - 1
        Degrees of freedom: how many observations the prior knowledge of a covariance is worth.
    Psi_0 : (D, D) array-like, symmetric positive definite
        Scale matrix, in the squared units of X.
    Psi_0_df : float > D - 1, optional
        Makes the scale itself unknown: Psi_0 ~ Wishart(Psi_0_df, Psi_0 / Psi_0_df), whose mean is the given Psi_0. The
        fewer degrees of freedom, the less is assumed about it.
    kappa_0_shape : float > 0, optional
        Makes kappa_0 unknown: kappa_0 ~ Gamma with this shape and the given kappa_0 as its mean.

    Raises
    ------
    TypeError, ValueError
        A value of the wrong kind, shape or range; the message names it.
    """

    mu_0: FloatArray
    kappa_0: float
    nu_0: float
    Psi_0: FloatArray
    Psi_0_df: float | None
    kappa_0_shape: float | None

    def __init__(
        self,
        mu_0: Any,
        kappa_0: Any,
        nu_0: Any,
        Psi_0: Any,
        *,
        Psi_0_df: float | None = None,
        kappa_0_shape: float | None = None,
    ) -> None:
        mu_0 = validate.real_array("mu_0", np.atleast_1d(mu_0), "(D,)", 1)
        Psi_0 = validate.real_array("Psi_0", np.atleast_2d(Psi_0), "(D, D)", 2)
        kappa_0 = validate.positive("kappa_0", kappa_0)
        nu_0 = validate.positive("nu_0", nu_0)
        D = len(mu_0)
        if D == 0:
            raise ValueError("mu_0 must have at least one entry, got none")
        if Psi_0.shape != (D, D):
            raise ValueError(f"Psi_0 must have shape ({D}, {D}) to match mu_0, got {Psi_0.shape}")
        if not nu_0 > D - 1:
            raise ValueError(f"nu_0 must be greater than D - 1 = {D - 1}, got {nu_0}")
        # Rounding of a computed covariance may leave it this far from symmetric.
        if not np.allclose(Psi_0, Psi_0.T, rtol=1e-10, atol=1e-12 * np.abs(Psi_0).max()):
            raise ValueError(
                f"Psi_0 must be symmetric, got a largest difference of {np.abs(Psi_0 - Psi_0.T).max():.3g}"
            )
        try:
            np.linalg.cholesky(Psi_0)
        except np.linalg.LinAlgError:
            least = np.linalg.eigvalsh(Psi_0)[0]
            raise ValueError(f"Psi_0 must be positive definite, got a least eigenvalue of {least:.3g}") from None
        if Psi_0_df is not None:
            Psi_0_df = validate.positive("Psi_0_df", Psi_0_df)
            if not Psi_0_df > D - 1:
                raise ValueError(f"Psi_0_df must be greater than D - 1 = {D - 1}, got {Psi_0_df}")
        if kappa_0_shape is not None:
            kappa_0_shape = validate.positive("kappa_0_shape", kappa_0_shape)
        values = (mu_0, kappa_0, nu_0, Psi_0, Psi_0_df, kappa_0_shape)
        for field, value in zip(dataclasses.fields(self), values, strict=True):
            object.__setattr__(self, field.name, value)

    @property
    def n_features(self) -> int:
        """D, the dimension of the observations it is a prior for."""
        return len(self.mu_0)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NormalInverseWishart) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.mu_0.tobytes(), self.kappa_0, self.nu_0, self.Psi_0.tobytes()))

    @classmethod
    def from_data(cls, X: Any) -> NormalInverseWishart:
        """The default: weak, free of units, and not one guess at a scale.

        With V the columns' variances: mu_0 is the mean of the data, kappa_0 = (D + 4) / 300, nu_0 = D + 4, and Psi_0 ~
        Wishart with D degrees of freedom and mean (D + 4) / 4 diag(V). It is the default of R's telescope
        (Fruehwirth-Schnatter, Malsiner-Walli & Gruen 2021) as a Normal-Inverse-Wishart, with 25 V in place of the
        squared range, which grows with N and with one outlier. ``benchmarks.prior_study`` compares it with others.

        Where the columns are linearly dependent (N <= D makes them so), or one varies in its last digits only, Psi_0
        stays at its mean: learned, it would vanish in the direction in which the data do not vary, and the posterior
        with it.

        Parameters
        ----------
        X : array-like (N, D) or (N,)
            The observations.

        Raises
        ------
        ValueError
            A column is constant, so that it has no scale of its own.
        """
        return cls.from_rows(*validate.data(X))

    @classmethod
    def from_rows(cls, array: AnyArray, columns: tuple[str, ...]) -> NormalInverseWishart:
        """:meth:`from_data` of data that are checked already."""
        mean, scale = validate.location_scale(array, columns)
        constant = [name for name, value in zip(columns, scale, strict=True) if not value > 0.0]
        if constant:
            raise ValueError(
                f"X has constant columns {constant}: they say nothing about clusters and give the default prior no "
                "scale. Drop them, or pass prior=NormalInverseWishart(...) with a scale of your own"
            )
        D = len(columns)
        Psi_0 = np.diag((D + 4) / 4 * scale**2)
        dependent = np.linalg.eigvalsh(validate.correlation(array, mean, scale))[0] < _DEPENDENT * D
        rounded = (scale < _LAST_DIGITS * np.spacing(np.abs(mean))).any()
        df = None if dependent or rounded else D
        return cls(mean, kappa_0=(D + 4) / 300, nu_0=D + 4, Psi_0=Psi_0, Psi_0_df=df)

    def as_kernel(self, loc: FloatArray) -> Prior:
        """The prior as the kernels take it: plain arrays, in coordinates shifted by ``loc`` (D,)."""
        L_0 = np.asarray(np.linalg.cholesky(self.Psi_0), np.float64)
        log_norm = log_normaliser(len(loc), self.kappa_0, self.nu_0, 2.0 * np.log(np.diagonal(L_0)).sum())
        return Prior(self.mu_0 - loc, self.kappa_0, self.nu_0, self.Psi_0.copy(), L_0, log_norm)

    def to_dict(self) -> dict[str, Any]:
        """Its parameters as plain lists and numbers, for JSON."""
        return {
            "mu_0": self.mu_0.tolist(),
            "kappa_0": self.kappa_0,
            "nu_0": self.nu_0,
            "Psi_0": self.Psi_0.tolist(),
            "Psi_0_df": self.Psi_0_df,
            "kappa_0_shape": self.kappa_0_shape,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> NormalInverseWishart:
        """The inverse of :meth:`to_dict`."""
        return cls(**values)
