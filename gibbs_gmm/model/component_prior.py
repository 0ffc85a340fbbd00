"""The prior of the components: Normal-Inverse-Wishart."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from gibbs_gmm import checks
from gibbs_gmm.data import Observations, observations_of
from gibbs_gmm.kernels.families import FULL, TIED
from gibbs_gmm.kernels.families.full import Prior, log_normaliser
from gibbs_gmm.kernels.families.generic import Family
from gibbs_gmm.kernels.families.hyperprior import FIXED, SHRUNK, WISHART, Hyperprior
from gibbs_gmm.kernels.families.tied import with_covariance
from gibbs_gmm.kernels.types import FloatArray, IntArray
from gibbs_gmm.model.columns import noise_axes
from gibbs_gmm.trace_arrays import Field

if TYPE_CHECKING:
    from gibbs_gmm.trace import Trace

_SCALES = ("shrunk", "wishart")
_KAPPA_MOST = 0.02  # the default's largest kappa_0 from four columns on
_SHARE = 0.25  # the default's mean of Psi_0 / (nu_0 + 2), as a share of the variances
_LEAST_SHARE = 0.05  # of a column's variance that is left to true values
_MOST_WIDTHS = 8  # resolutions that describe() lists


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
    Psi_0_df : float, optional
        Makes the scale itself unknown, with the given Psi_0 as its mean. The fewer degrees of freedom, the less is
        assumed about it. Alone, for Psi_0_df > D - 1, Psi_0 ~ Wishart(Psi_0_df, Psi_0 / Psi_0_df).
    Psi_0_shrinkage : float between 0 and 1, optional
        With Psi_0_df > 0: the diagonal entries of the scale are independent, Gamma with shape Psi_0_df / 2, and its
        correlation matrix is (1 - Psi_0_shrinkage) C + Psi_0_shrinkage I, C uniform over all correlation matrices
        (Barnard, McCulloch & Meng 2000; Lewandowski, Kurowicka & Joe 2009, eta = 1). The scale that components share
        may then be thin in a direction across the columns, but no thinner than this shrinkage allows; a component of
        its own may be. Near 0 any direction may be thin, as with the Wishart; near 1 the columns are the axes.
    axes : (D, D) array-like, optional
        With Psi_0_shrinkage: the rows are axes, linear combinations of the columns, that take the place of the columns
        in it. Psi_0 must be diagonal in them: axes @ Psi_0 @ axes.T.
    kappa_0_shape : float > 0, optional
        Makes kappa_0 unknown: a density proportional to kappa_0^(kappa_0_shape - 1) from 0 up to the given kappa_0, and
        none beyond. kappa_0_shape = 1 is the uniform one.
    resolution : float or (D,) array-like
        To what width the values of each column are known, in the units of X; 0 where they are exact. A row's log
        density is its average over the cell of that width about it: log N(x | mu, Sigma) - tr(R Sigma^-1) / 2, R =
        diag(resolution^2 / 12). It is bounded however many rows are equal, and conjugate: n rows add n R to the
        scatter.
    covariance_type : "full" or "tied"
        Whether each component has a covariance of its own, or all share one, Sigma.

    Raises
    ------
    TypeError, ValueError
        A value of the wrong kind, shape or range; the message names it.

    Examples
    --------
    >>> import gibbs_gmm as gg
    >>> prior = gg.NormalInverseWishart([0.0, 0.0], 0.1, 5.0, [[1.0, 0.0], [0.0, 2.0]])
    >>> prior.nu_0, prior.Psi_0.shape
    (5.0, (2, 2))
    """

    mu_0: FloatArray
    kappa_0: float
    nu_0: float
    Psi_0: FloatArray
    Psi_0_df: float | None
    Psi_0_shrinkage: float | None
    axes: FloatArray | None
    kappa_0_shape: float | None
    resolution: FloatArray
    covariance_type: str

    def __init__(
        self,
        mu_0: Any,
        kappa_0: Any,
        nu_0: Any,
        Psi_0: Any,
        *,
        Psi_0_df: float | None = None,
        Psi_0_shrinkage: float | None = None,
        axes: Any = None,
        kappa_0_shape: float | None = None,
        resolution: Any = 0.0,
        covariance_type: str = "full",
    ) -> None:
        mu_0 = checks.real_array("mu_0", np.atleast_1d(mu_0), "(D,)", 1)
        Psi_0 = checks.real_array("Psi_0", np.atleast_2d(Psi_0), "(D, D)", 2)
        kappa_0 = checks.positive("kappa_0", kappa_0)
        nu_0 = checks.positive("nu_0", nu_0)
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
            Psi_0_df = checks.positive("Psi_0_df", Psi_0_df)
            if Psi_0_shrinkage is None and not Psi_0_df > D - 1:
                raise ValueError(f"Psi_0_df must be greater than D - 1 = {D - 1}, got {Psi_0_df}")
        if Psi_0_shrinkage is not None:
            Psi_0_shrinkage = checks.positive("Psi_0_shrinkage", Psi_0_shrinkage)
            if not Psi_0_shrinkage < 1.0:
                raise ValueError(f"Psi_0_shrinkage must lie between 0 and 1, got {Psi_0_shrinkage}")
            if Psi_0_df is None:
                raise ValueError("Psi_0_shrinkage must come with Psi_0_df, which makes Psi_0 unknown, got None")
        if axes is not None:
            axes = _checked_axes(axes, Psi_0, Psi_0_shrinkage)
        if Psi_0_shrinkage is not None and axes is None and not _is_diagonal(Psi_0):
            raise ValueError("Psi_0 must be diagonal where Psi_0_shrinkage is given without axes")
        if kappa_0_shape is not None:
            kappa_0_shape = checks.positive("kappa_0_shape", kappa_0_shape)
        values = (
            mu_0,
            kappa_0,
            nu_0,
            Psi_0,
            Psi_0_df,
            Psi_0_shrinkage,
            axes,
            kappa_0_shape,
            checked_resolution(resolution, D),
            covariance_type,
        )
        if covariance_type not in ("full", "tied"):
            raise ValueError(f"covariance_type must be 'full' or 'tied' for this prior, got {covariance_type!r}")
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
    def from_data(
        cls, X: Any, scale: str = "shrunk", covariance_type: str = "full", counts: Any = None
    ) -> NormalInverseWishart:
        """The default: weak, free of units, not one guess at a scale, and proper whatever the data.

        With V_d the variance of column d: mu_0 is the mean of the data; kappa_0 is uniform on (0, min(1, D/4)^2 /
        50), so that clusters may lie as far apart as they like without being thought wide, and one more of them is not
        much cheaper in one dimension than in four; nu_0 = D + 2 + D^2 / N; Psi_0 is learned
        with mean (nu_0 + 2) / 4 diag(V), one degree of freedom and shrinkage 1/2; and values are known to the
        resolution that they show (:func:`gibbs_gmm.data.resolutions`), so that equal rows and rounded sums are
        no clusters of no width. A column that is normal noise about a linear combination of others
        has that noise as its axis (:func:`gibbs_gmm.model.columns.noise_axes`). ``benchmarks/prior_study`` compares
        it with others.

        Parameters
        ----------
        X : array-like (N, D) or (N,)
            The observations.
        scale : "shrunk" or "wishart"
            How the scale that components share is learned. "wishart": Psi_0 ~ Wishart with D degrees of freedom and the
            same mean. It lets all components be thin in any one direction, and so finds kinds that differ along one
            even if they are a hundred times longer than wide, at the price of many clusters where a thin direction
            is bent.
        counts : (N,) array-like of whole numbers, optional
            How many observations each row stands for, as for :func:`gibbs_gmm.fit`.

        Raises
        ------
        ValueError
            All columns are constant, so that there is no scale, or ``scale`` is neither.
        """
        return cls.from_observations(observations_of(X, counts), scale, covariance_type)

    @classmethod
    def from_observations(
        cls, data: Observations, scale: str = "shrunk", covariance_type: str = "full"
    ) -> NormalInverseWishart:
        """:meth:`from_data` of data that are checked already."""
        if scale not in _SCALES:
            raise ValueError(f"scale must be one of {', '.join(map(repr, _SCALES))}, got {scale!r}")
        variance = default_variance(data, cls.__name__)
        rows, resolution, N, D = data.sample, data.resolution, data.count, data.X.shape[1]
        noise = resolution**2 / 12.0
        nu_0 = D + 2 + D * D / N
        axes = None
        if scale == "shrunk":
            rows = rows[~np.isnan(rows).any(1)]
            axes = noise_axes(rows, resolution) if data.errors is None else np.eye(D)
            residual = (rows - data.loc) @ axes.T
            turned = (axes != np.eye(D)).any(1)
            if turned.any():
                variance[turned] = (residual.var(0, ddof=1) + axes**2 @ noise)[turned]
        Psi_0 = np.diag(_SHARE * (nu_0 + 2.0) * variance)
        if axes is not None and turned.any():
            back = np.linalg.inv(axes)
            Psi_0 = back @ Psi_0 @ back.T
            Psi_0 = 0.5 * (Psi_0 + Psi_0.T)
        return cls(
            data.loc,
            largest_kappa(D),
            nu_0,
            Psi_0,
            Psi_0_df=1.0 if scale == "shrunk" else D,
            Psi_0_shrinkage=0.5 if scale == "shrunk" else None,
            axes=axes if scale == "shrunk" and turned.any() else None,
            kappa_0_shape=1.0,
            resolution=resolution,
            covariance_type=covariance_type,
        )

    def as_kernel(self, loc: FloatArray) -> Any:
        """The prior as the kernels take it: plain arrays, in coordinates shifted by ``loc`` (D,)."""
        L_0 = np.asarray(np.linalg.cholesky(self.Psi_0), np.float64)
        log_norm = log_normaliser(len(loc), self.kappa_0, self.nu_0, 2.0 * np.log(np.diagonal(L_0)).sum())
        scalars = np.array([self.kappa_0, self.nu_0, log_norm])
        prior = Prior(self.mu_0 - loc, scalars, self.Psi_0.copy(), L_0, self.resolution**2 / 12.0)
        return with_covariance(prior) if self.covariance_type == "tied" else prior

    @property
    def family(self) -> Family:
        """How the kernels make room for components of this kind."""
        return TIED if self.covariance_type == "tied" else FULL

    def hyper_as_kernel(self) -> Hyperprior:
        """The laws of Psi_0 and kappa_0 as the kernels take them: the same whether components share a covariance."""
        D, df, shrinkage = self.n_features, self.Psi_0_df or 0.0, self.Psi_0_shrinkage or 0.0
        axes = np.zeros((0, 0)) if self.axes is None else self.axes.copy()
        back, rate = np.zeros((0, 0)), np.zeros((D, D))
        mean = self.Psi_0
        if self.axes is not None:
            back = np.ascontiguousarray(np.linalg.inv(axes))
            mean = np.diag(np.diagonal(axes @ mean @ axes.T))
        if df > 0.0:
            rate = np.ascontiguousarray(np.linalg.inv(mean / df))
        law = FIXED if self.Psi_0_df is None else (WISHART if self.Psi_0_shrinkage is None else SHRUNK)
        ridge = shrinkage / (1.0 - shrinkage)
        return Hyperprior(law, df, rate, ridge, axes, back, self.kappa_0_shape or 0.0, self.kappa_0)

    @property
    def law(self) -> str:
        """The prior of a component in a line."""
        return "mu | Sigma ~ Normal(mu_0, Sigma / kappa_0), Sigma ~ InverseWishart(nu_0, Psi_0)" + (
            ", one Sigma for all" if self.covariance_type == "tied" else ""
        )

    def scale_text(self, vector: Callable[[FloatArray], str]) -> str:
        """Psi_0 in words, vectors written by a function."""
        verb = "=" if self.Psi_0_df is None else "has the mean"
        kind = "diag" if _is_diagonal(self.Psi_0) else "a matrix with diagonal "
        return f"Psi_0 {verb} {kind}{vector(np.diagonal(self.Psi_0))}"

    def notes(self, data: Observations) -> tuple[str, ...]:
        """What a reader of the summary must know of these components and the data: nothing."""
        return ()

    is_matrix = True
    """Whether a component's covariance has entries off the diagonal."""

    def matrices(self, trace: Trace) -> FloatArray:
        """The covariance matrices (C, T, K, D, D) of a trace, without a copy."""
        if self.covariance_type == "full":
            return trace.covariances
        C, T, K, D = trace.means.shape
        assert trace.covariance is not None
        return np.broadcast_to(trace.covariance[:, :, None], (C, T, K, D, D))

    def marginal(self, columns: IntArray) -> NormalInverseWishart:
        """The prior of some columns alone, with its hyperparameters fixed.

        Any block of an inverse-Wishart matrix is inverse-Wishart, Sigma_AA ~ IW(nu_0 - (D - d), Psi_AA) (Mardia, Kent &
        Bibby 1979, section 3.8).
        """
        return NormalInverseWishart(
            self.mu_0[columns],
            self.kappa_0,
            self.nu_0 - (self.n_features - len(columns)),
            self.Psi_0[np.ix_(columns, columns)],
            resolution=self.resolution[columns],
            covariance_type=self.covariance_type,
        )

    def fields(self) -> tuple[Field, ...]:
        """What a trace holds besides weights and means: covariances, and the hyperparameters that are learned."""
        matrix = ("column", "column_2")
        is_full = self.covariance_type == "full"
        covariances = (
            Field("covariances", ("component", *matrix))
            if is_full
            else Field("covariance", matrix, place="covariances")
        )
        return (
            covariances,
            *([] if self.kappa_0_shape is None else [Field("kappa_0", hyper=True)]),
            *([] if self.Psi_0_df is None else [Field("Psi_0", matrix, hyper=True, place="scale")]),
        )

    def to_dict(self) -> dict[str, Any]:
        """Its parameters as plain lists and numbers, for JSON."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> NormalInverseWishart:
        """The inverse of :meth:`to_dict`."""
        return cls(**values)

    def describe(self) -> str:
        """Its laws of kappa_0 and Psi_0, and the resolution, in words."""
        D = self.n_features
        scale = "Psi_0 fixed"
        if self.Psi_0_df is not None:
            scale = f"Psi_0 learned, with {self.Psi_0_df:g} degrees of freedom"
            if self.Psi_0_shrinkage is not None:
                scale += f" and its correlations shrunk by {self.Psi_0_shrinkage:g}"
        if self.axes is not None:
            turned = int((self.axes != np.eye(D)).any(1).sum())
            scale += f", {turned} column{'s'[: turned > 1]} as noise about others"
        kappa, known = describe_kappa(self.kappa_0, self.kappa_0_shape), describe_resolution(self.resolution)
        return f"{kappa}, nu_0 = {self.nu_0:g}, {scale}, {known}"


def largest_kappa(D: int) -> float:
    """Up to where kappa_0 is uniform by default."""
    return _KAPPA_MOST * min(1.0, D / 4) ** 2


def default_variance(data: Observations, prior: str) -> FloatArray:
    """The variance of each column (D,), with what the resolution leaves to a value added, so that it is positive.

    Of values with errors it is that of the true ones: less the mean variance of the errors.

    Raises ValueError where all columns are constant; the message names the class of the prior that is to be passed.
    """
    if not (data.scale > 0.0).any():
        raise ValueError(
            f"X has constant columns only, {list(data.columns)}: they say nothing about clusters and give the "
            f"default prior no scale. Pass prior={prior}(...) with a scale of your own"
        )
    variance: FloatArray = data.scale**2 + data.resolution**2 / 12.0
    if data.errors is None:
        return variance
    return np.maximum(variance - data.error_variance, _LEAST_SHARE * variance)


def describe_kappa(kappa_0: float, shape: float | None) -> str:
    """The law of kappa_0 in words."""
    if shape is None:
        return f"kappa_0 = {kappa_0:g}"
    power = "uniform" if shape == 1.0 else f"with density ~ kappa_0^{shape - 1.0:g}"
    return f"kappa_0 {power} on (0, {kappa_0:g})"


def describe_resolution(resolution: FloatArray) -> str:
    """To what width values are known, in words."""
    if not resolution.any():
        return "exact values"
    widths = [f"{width:g}" for width in resolution[:_MOST_WIDTHS]]
    more = ["..."] if len(resolution) > _MOST_WIDTHS else []
    return f"values known to {', '.join(widths + more)}"


def checked_resolution(resolution: Any, D: int) -> FloatArray:
    """Widths (D,), from one for all columns or one for each."""
    array = checks.real_array("resolution", np.atleast_1d(resolution), "(D,)", 1)
    if len(array) not in (1, D):
        raise ValueError(f"resolution must be one width or one for each of the {D} columns, got {len(array)}")
    if not (array >= 0.0).all():
        raise ValueError(f"resolution must not be negative, got {array.min()}")
    result: FloatArray = np.array(np.broadcast_to(array, D))
    result.flags.writeable = False
    return result


def _checked_axes(axes: Any, Psi_0: FloatArray, shrinkage: float | None) -> FloatArray:
    axes = checks.real_array("axes", axes, "(D, D)", 2)
    if axes.shape != Psi_0.shape:
        raise ValueError(f"axes must have the shape of Psi_0, {Psi_0.shape}, got {axes.shape}")
    if shrinkage is None:
        raise ValueError("axes must come with Psi_0_shrinkage, got None")
    if not _is_diagonal(axes @ Psi_0 @ axes.T):
        raise ValueError("Psi_0 must be diagonal in the axes: axes @ Psi_0 @ axes.T is not")
    return np.asarray(axes, np.float64)


def _is_diagonal(A: FloatArray) -> bool:
    """Up to rounding, measured against the diagonal."""
    size = np.sqrt(np.diagonal(A))
    rest = np.abs(A / np.outer(size, size)) - np.eye(len(A))
    return bool((rest < 1e-4).all())  # half of the digits are lost where an axis is far shorter than its columns
