"""The prior of components with diagonal or spherical covariances: Normal-Inverse-Gamma."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from gibbs_gmm import checks
from gibbs_gmm.data import Observations, observations_of
from gibbs_gmm.kernels.families import DIAGONAL, SPHERICAL, diagonal, spherical
from gibbs_gmm.kernels.families.diagonal import Hyper
from gibbs_gmm.kernels.families.generic import Family
from gibbs_gmm.kernels.types import FloatArray, IntArray
from gibbs_gmm.model.component_prior import (
    checked_resolution,
    default_variance,
    describe_kappa,
    describe_resolution,
    largest_kappa,
)
from gibbs_gmm.model.expanded import DiagonalMatrices
from gibbs_gmm.trace_arrays import Field

if TYPE_CHECKING:
    from gibbs_gmm.trace import Trace

_MOST_UNEQUAL = 100.0  # standard deviations of columns beside each other that spherical components are meant for
_TYPES = ("diag", "spherical")
_KAPPA_MOST = 0.05  # the default's largest kappa_0 in many columns; with 1/10, a few rows of one kind may fall apart


@dataclasses.dataclass(frozen=True, eq=False)
class NormalInverseGamma:
    """sigma^2_d ~ InverseGamma(a_0, b_0d), mu_d | sigma^2_d ~ N(mu_0d, sigma^2_d / kappa_0), for each component.

    With one b_0 for each column it is the prior of diagonal covariances, covariance_type="diag"; the columns are
    independent given the hyperparameters, and the units of each are free. With one number b_0 a component has one
    sigma^2 for all columns, covariance_type="spherical": mu | sigma^2 ~ N(mu_0, sigma^2 I / kappa_0), and all columns
    must have the same units. E[sigma^2] = b_0 / (a_0 - 1) where a_0 > 1. In one column, a_0 = nu_0 / 2 and b_0 = Psi_0
    / 2 of a :class:`NormalInverseWishart`.

    Parameters
    ----------
    mu_0 : (D,) array-like
        Prior mean of the component means, in the units of X.
    kappa_0 : float > 0
        How many observations the prior knowledge of a mean is worth.
    a_0 : float > 0
        Shape: half of how many observations the prior knowledge of a variance is worth.
    b_0 : (D,) array-like of floats > 0, or float > 0
        Scale, in the squared units of X.
    b_0_shape : float > 0, optional
        Makes the scale itself unknown: Gamma of this shape, in each column, with the given b_0 as its mean. The smaller
        the shape, the less is assumed about it.
    kappa_0_shape : float > 0, optional
        Makes kappa_0 unknown: a density proportional to kappa_0^(kappa_0_shape - 1) from 0 up to the given kappa_0, and
        none beyond. kappa_0_shape = 1 is the uniform one.
    resolution : float or (D,) array-like
        To what width the values of each column are known, in the units of X; 0 where they are exact. As for
        :class:`NormalInverseWishart`: a row's log density is its average over the cell of that width about it.

    Raises
    ------
    TypeError, ValueError
        A value of the wrong kind, shape or range; the message names it.

    Examples
    --------
    >>> import gibbs_gmm as gg
    >>> prior = gg.NormalInverseGamma([0.0, 0.0], 0.1, 2.0, [1.0, 2.0])
    >>> prior.a_0, prior.b_0
    (2.0, array([1., 2.]))
    """

    mu_0: FloatArray
    kappa_0: float
    a_0: float
    b_0: FloatArray | float
    b_0_shape: float | None
    kappa_0_shape: float | None
    resolution: FloatArray

    def __init__(
        self,
        mu_0: Any,
        kappa_0: Any,
        a_0: Any,
        b_0: Any,
        *,
        b_0_shape: float | None = None,
        kappa_0_shape: float | None = None,
        resolution: Any = 0.0,
    ) -> None:
        mu_0 = checks.real_array("mu_0", np.atleast_1d(mu_0), "(D,)", 1)
        D = len(mu_0)
        if D == 0:
            raise ValueError("mu_0 must have at least one entry, got none")
        if np.ndim(b_0) == 0:
            b_0 = checks.positive("b_0", b_0)
        else:
            b_0 = checks.real_array("b_0", b_0, "(D,)", 1)
            if len(b_0) != D:
                raise ValueError(f"b_0 must be one number or have shape ({D},) to match mu_0, got {b_0.shape}")
            if not (b_0 > 0.0).all():
                raise ValueError(f"b_0 must be positive, got {b_0.min()}")
        values = (
            mu_0,
            checks.positive("kappa_0", kappa_0),
            checks.positive("a_0", a_0),
            b_0,
            None if b_0_shape is None else checks.positive("b_0_shape", b_0_shape),
            None if kappa_0_shape is None else checks.positive("kappa_0_shape", kappa_0_shape),
            checked_resolution(resolution, D),
        )
        for field, value in zip(dataclasses.fields(self), values, strict=True):
            object.__setattr__(self, field.name, value)

    @property
    def n_features(self) -> int:
        """D, the dimension of the observations it is a prior for."""
        return len(self.mu_0)

    @property
    def covariance_type(self) -> str:
        """Of which components it is a prior: "diag" with a b_0 for each column, "spherical" with one number."""
        return "spherical" if isinstance(self.b_0, float) else "diag"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NormalInverseGamma) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.mu_0.tobytes(), self.kappa_0, self.a_0, np.asarray(self.b_0).tobytes()))

    @classmethod
    def from_data(cls, X: Any, covariance_type: str = "diag", counts: Any = None) -> NormalInverseGamma:
        """The default: weak, not one guess at a scale, and proper whatever the data.

        With V_d the variance of column d: mu_0, the law of kappa_0 and the resolution are those of
        :meth:`NormalInverseWishart.from_data`; a_0 = (3 + 1/N) / 2; b_0 is learned, with mean (5 + 1/N) / 8 V_d and
        shape 1/2. In one column this is the default of full covariances. Of diagonal components in more than four
        columns, kappa_0 may reach min(1/20, D^2 / 800), so that kinds are found that differ in few of many columns.

        Parameters
        ----------
        X : array-like (N, D) or (N,)
            The observations.
        covariance_type : "diag" or "spherical"
            "diag": a b_0 for each column, free of the columns' units. "spherical": one b_0, for which V is the mean of
            the columns' variances. A spherical component is so in the units of X: columns that are not measured in the
            same units want dividing by their standard deviations first.
        counts : (N,) array-like of whole numbers, optional
            How many observations each row stands for, as for :func:`gibbs_gmm.fit`.

        Raises
        ------
        ValueError
            All columns are constant, so that there is no scale, or ``covariance_type`` is neither.
        """
        return cls.from_observations(observations_of(X, counts), covariance_type=covariance_type)

    @classmethod
    def from_observations(cls, data: Observations, *, covariance_type: str = "diag") -> NormalInverseGamma:
        """:meth:`from_data` of data that are checked already."""
        _check_type(covariance_type)
        N, D = data.count, data.X.shape[1]
        one = 1.0 / N
        kappa_0 = largest_kappa(D)
        if covariance_type == "diag" and D > 4:
            kappa_0 = min(_KAPPA_MOST, kappa_0 * (D / 4) ** 2)
        b_0 = (5.0 + one) / 8.0 * default_variance(data, cls.__name__)
        return cls(
            data.loc,
            kappa_0,
            (3.0 + one) / 2.0,
            b_0 if covariance_type == "diag" else float(b_0.mean()),
            b_0_shape=0.5,
            kappa_0_shape=1.0,
            resolution=data.resolution,
        )

    def as_kernel(self, loc: FloatArray) -> diagonal.DiagonalPrior | spherical.SphericalPrior:
        """The prior as the kernels take it: plain arrays, in coordinates shifted by ``loc`` (D,)."""
        D, mu_0, noise = self.n_features, self.mu_0 - loc, self.resolution**2 / 12.0
        if isinstance(self.b_0, float):
            log_norm = spherical.log_normaliser(D, self.kappa_0, self.a_0, self.b_0)
            return spherical.SphericalPrior(mu_0, np.array([self.kappa_0, self.a_0, log_norm, self.b_0]), noise)
        log_norm = diagonal.log_normaliser(D, self.kappa_0, self.a_0, float(np.log(self.b_0).sum()))
        return diagonal.DiagonalPrior(mu_0, np.array([self.kappa_0, self.a_0, log_norm]), self.b_0.copy(), noise)

    def hyper_as_kernel(self) -> Hyper:
        """The laws of b_0 and kappa_0 as the kernels take them."""
        shape = self.b_0_shape or 0.0
        return Hyper(shape, shape / np.atleast_1d(self.b_0), self.kappa_0_shape or 0.0, self.kappa_0)

    @property
    def family(self) -> Family:
        """How the kernels make room for components of this kind."""
        return SPHERICAL if self.covariance_type == "spherical" else DIAGONAL

    def fields(self) -> tuple[Field, ...]:
        """What a trace holds besides weights and means: variances, and the hyperparameters that are learned."""
        own = () if self.covariance_type == "spherical" else ("column",)
        return (
            Field("variances", ("component", *own), place="covariances"),
            *([] if self.kappa_0_shape is None else [Field("kappa_0", hyper=True)]),
            *([] if self.b_0_shape is None else [Field("b_0", own, hyper=True, place="scale")]),
        )

    def matrices(self, trace: Trace) -> Any:
        """The covariance matrices (C, T, K, D, D) of a trace, made where they are indexed."""
        assert trace.variances is not None
        if self.covariance_type == "diag":
            return DiagonalMatrices(trace.variances)
        return DiagonalMatrices(np.broadcast_to(trace.variances[..., None], trace.means.shape))

    def marginal(self, columns: IntArray) -> NormalInverseGamma:
        """The prior of some columns alone, with its hyperparameters fixed."""
        b_0 = self.b_0 if isinstance(self.b_0, float) else self.b_0[columns]
        return NormalInverseGamma(self.mu_0[columns], self.kappa_0, self.a_0, b_0, resolution=self.resolution[columns])

    @property
    def law(self) -> str:
        """The prior of a component in a line."""
        own = "in each column, " if self.covariance_type == "diag" else ""
        return f"{own}mu | sigma^2 ~ Normal(mu_0, sigma^2 / kappa_0), sigma^2 ~ InverseGamma(a_0, b_0)"

    def scale_text(self, vector: Callable[[FloatArray], str]) -> str:
        """b_0 in words, vectors written by a function."""
        verb = "=" if self.b_0_shape is None else "has the mean"
        return f"b_0 {verb} {vector(np.atleast_1d(self.b_0))}"

    def notes(self, data: Observations) -> tuple[str, ...]:
        """What a reader of the summary must know of these components and the data."""
        scale = data.scale[data.scale > 0.0]
        if self.covariance_type == "diag" or len(scale) == 0 or scale.max() <= _MOST_UNEQUAL * scale.min():
            return ()
        wide, narrow = (data.columns[int(np.flatnonzero(data.scale == x)[0])] for x in (scale.max(), scale.min()))
        ratio = scale.max() / scale.min()
        return (
            "Clusters are spherical in the units of the columns, and the standard deviations of "
            f"{wide!r} and {narrow!r} are {ratio:.0f} to 1: distances are those of {wide!r} alone. Divide the columns "
            "by their standard deviations, or use covariance_type='diag'.",
        )

    is_matrix = False
    """Whether a component's covariance has entries off the diagonal."""

    def to_dict(self) -> dict[str, Any]:
        """Its parameters as plain lists and numbers, for JSON."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> NormalInverseGamma:
        """The inverse of :meth:`to_dict`."""
        return cls(**values)

    def describe(self) -> str:
        """Its laws of kappa_0 and b_0, and the resolution, in words."""
        scale = "b_0 fixed" if self.b_0_shape is None else f"b_0 learned, of shape {self.b_0_shape:g}"
        kappa, known = describe_kappa(self.kappa_0, self.kappa_0_shape), describe_resolution(self.resolution)
        return f"{kappa}, a_0 = {self.a_0:g}, {scale}, {known}"


def _check_type(covariance_type: str) -> None:
    if covariance_type not in _TYPES:
        kinds = " or ".join(map(repr, _TYPES))
        raise ValueError(f"covariance_type of a NormalInverseGamma prior must be {kinds}, got {covariance_type!r}")
