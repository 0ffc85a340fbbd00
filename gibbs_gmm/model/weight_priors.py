"""Priors of the number of components and their weights."""

from __future__ import annotations

import abc
import dataclasses
import functools
from typing import Any

import numpy as np

from gibbs_gmm import checks
from gibbs_gmm.kernels.sampler.partition_prior import DYNAMIC, PROCESS, STATIC, Weights
from gibbs_gmm.kernels.types import FloatArray

_MOST = 4096  # values of n that are ever considered
_NEGLIGIBLE = 1e-9  # prior mass of n that may be left out beyond the largest
_GRID = 4097  # points of the grid on which a learned concentration's prior density is interpolated
_TAIL = 1e-10  # mass left out at either end of it
_MOST_LABELS = (1 << 16) - 1  # labels are held as uint16

Concentration = Any
"""A positive number, or a frozen positive continuous ``scipy.stats`` distribution, under which it is learned."""


def _concentration(value: Any) -> Any:
    """A checked concentration: a float, or the distribution itself."""
    if not hasattr(value, "logpdf"):
        if hasattr(value, "logpmf"):
            raise TypeError(f"concentration must be a number or a continuous distribution, got the discrete {value!r}")
        return checks.positive("concentration", value)
    low, high = (float(end) for end in value.support())
    if low < 0.0 or not high > 0.0:
        raise ValueError(f"concentration must be a distribution of positive numbers, got support ({low}, {high})")
    return value


def _grid(concentration: Any) -> tuple[float, FloatArray, FloatArray]:
    """A starting value, and for a distribution a grid of log alpha with its log density there."""
    if isinstance(concentration, float):
        return concentration, np.zeros(0), np.zeros(0)
    low, middle, high = (float(concentration.ppf(p)) for p in (_TAIL, 0.5, 1.0 - _TAIL))
    grid = np.linspace(np.log(max(low, 1e-12)), np.log(min(high, 1e12)), _GRID)
    return middle, grid, np.asarray(concentration.logpdf(np.exp(grid)), np.float64) + grid


def _point_mass(n: int) -> tuple[FloatArray, FloatArray]:
    """log p(n) and log P(> n) for a known number of components."""
    log_p = np.full(n + 1, -np.inf)
    log_p[n] = 0.0
    return log_p, np.where(np.arange(n + 1) < n, 0.0, -np.inf)


def _describe(value: Any) -> Any:
    """A number as it is; a frozen distribution as its name and arguments, for JSON."""
    if hasattr(value, "dist"):
        return {"name": value.dist.name, "args": [float(a) for a in value.args], "kwds": dict(value.kwds)}
    return value


def _restore(value: Any) -> Any:
    """The inverse of :func:`_describe`; only distributions of ``scipy.stats`` are looked up, by name."""
    if not isinstance(value, dict):
        return value
    from scipy import stats

    family = getattr(stats, str(value["name"]), None)
    if not isinstance(family, (stats.rv_continuous, stats.rv_discrete)):
        raise ValueError(f"{value['name']!r} is not a distribution of scipy.stats")
    return family(*value["args"], **value["kwds"])


class WeightPrior(abc.ABC):
    """A prior of the number of components n and of their weights.

    Attributes
    ----------
    concentration : float or frozen scipy.stats distribution
        Of the Dirichlet distribution or process; a distribution where it is learned.
    discount : float
        0 but for a Pitman-Yor process.
    """

    concentration: Concentration
    discount: float = 0.0
    _kind: int = STATIC  # what the kernels call it

    @property
    def known_n(self) -> int | None:
        """The number of components, where the prior allows one number only; None where it is unknown or infinite."""
        possible = np.flatnonzero(np.isfinite(self.log_n_prior()[0]))
        return int(possible[0]) if len(possible) == 1 else None

    @property
    def n_is_finite(self) -> bool:
        """Whether the number of components is finite; a process has infinitely many."""
        return self._kind != PROCESS

    @property
    def learns_n(self) -> bool:
        """Whether the number of components is finite and unknown, so that it has a posterior distribution."""
        return self.n_is_finite and self.known_n is None

    @property
    def learns_concentration(self) -> bool:
        """Whether the concentration is unknown, and drawn with the rest."""
        return not isinstance(self.concentration, float)

    @abc.abstractmethod
    def describe(self) -> str:
        """The prior in words."""

    @property
    def _concentration_in_words(self) -> str:
        return "learned" if self.learns_concentration else f"{self.concentration:g}"

    @abc.abstractmethod
    def log_n_prior(self) -> tuple[FloatArray, FloatArray]:
        """log p(n) and log P(> n) for n = 0, 1, ..., as far as mass matters; empty arrays for a process."""

    def n_clusters_pmf(self, N: int, most: int | None = None) -> FloatArray:
        """What the prior says of the number of clusters n+: the components that own any of N observations.

        With S_d(N, t) a generalised Stirling number of discount d (computed as in
        :mod:`gibbs_gmm.model.n_clusters_prior`):

        - n components, each with concentration gamma: p(n+ = t) = n!/(n - t)! gamma^t Gamma(n gamma)/Gamma(n gamma + N)
          S_{-gamma}(N, t) (Miller & Harrison 2018), averaged over p(n) where n is unknown, with gamma = alpha / n if
          dynamic (Fruehwirth-Schnatter, Malsiner-Walli & Gruen 2021). n+ is at most n and at most N: with few
          observations, or a concentration well below 1, it is much smaller than n.
        - A Dirichlet process: p(n+ = t) = alpha^t Gamma(alpha)/Gamma(alpha + N) S_0(N, t), where S_0(N, t) = |s(N, t)|
          is a Stirling number of the first kind (Antoniak 1974).
        - A Pitman-Yor process: p(n+ = t) = prod_{i=1}^{t-1} (alpha + i d) Gamma(1 + alpha)/Gamma(alpha + N) S_d(N, t)
          (Pitman 2006).

        Exact up to rounding and the tail of p(n) that is cut off, some 1e-9 (1e-7 as a discount nears 1). A learned
        concentration is averaged over its prior, with an error below 1e-6 in all.

        Parameters
        ----------
        N : int, 1 to 10,000,000
            How many observations.
        most : int, optional
            The last n+ whose probability is wanted, which is the faster the smaller it is: by default N.

        Returns
        -------
        (min(N, most),) float64
            p(n_clusters = 1), p(n_clusters = 2), ...
        """
        from gibbs_gmm.model.n_clusters_prior import average, finite_pmf, process_pmf

        log_p, _ = self.log_n_prior()

        def pmf(N: int, most: int, alpha: FloatArray, weight: FloatArray) -> FloatArray:
            if self.n_is_finite:
                return finite_pmf(N, most, log_p, self._kind == DYNAMIC, alpha, weight)
            return process_pmf(N, most, self.discount, alpha, weight)

        return average(self.concentration, N, most, pmf)

    def as_kernel(self) -> tuple[Weights, float]:
        """The prior as the kernels take it, and a starting value of the concentration."""
        alpha, grid, log_prior = _grid(self.concentration)
        known = self.known_n is not None
        return Weights(self._kind, known, self.discount, *self.log_n_prior(), grid, log_prior), alpha

    def require_rows(self, N: int) -> None:
        """Refuse N observations where the prior wants more components than these."""
        possible = np.flatnonzero(np.isfinite(self.log_n_prior()[0]))
        if len(possible) > 0 and possible[0] > N:
            raise ValueError(f"n_prior must allow n <= {N} for X with {N} rows, got a least n of {possible[0]}")


@dataclasses.dataclass(frozen=True)
class FiniteMixture(WeightPrior):
    """A known number of components, weights ~ Dirichlet(concentration, ..., concentration).

    Parameters
    ----------
    n_components : int >= 1
        How many components there are.
    concentration : float > 0, or a frozen positive scipy.stats distribution
        Dirichlet parameter of *each* component (not their sum). 1 is uniform over the simplex; well below 1 expects
        some components to stay empty (a sparse finite mixture). Under a distribution it is learned.

    Examples
    --------
    >>> import gibbs_gmm as gg
    >>> prior = gg.FiniteMixture(10, concentration=0.1)
    >>> prior.n_clusters_pmf(150)[:4].round(2)
    array([0.01, 0.07, 0.19, 0.28])
    """

    n_components: int
    concentration: Concentration = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_components", checks.integer("n_components", self.n_components, 1))
        object.__setattr__(self, "concentration", _concentration(self.concentration))

    @property
    def known_n(self) -> int:
        """The number of components."""
        return self.n_components

    def describe(self) -> str:
        """The prior in words."""
        return _dirichlet(self.n_components, "concentration", self)

    def log_n_prior(self) -> tuple[FloatArray, FloatArray]:
        """log p(n) and log P(> n) for n = 0, ..., n_components."""
        return _point_mass(self.n_components)

    def require_rows(self, N: int) -> None:
        """Refuse more components than there are observations, or than labels can be told apart."""
        limit = min(N, _MOST_LABELS)
        if self.n_components > limit:
            raise ValueError(f"n_components must be at most {limit} for X with {N} rows, got {self.n_components}")


@dataclasses.dataclass(frozen=True)
class MixtureOfFiniteMixtures(WeightPrior):
    """An unknown number of components n ~ n_prior, weights | n ~ Dirichlet (Miller & Harrison 2018).

    Parameters
    ----------
    n_prior : frozen discrete scipy.stats distribution on 1, 2, ...
        Prior of n; by default n - 1 ~ BNB(1, 4, 3), ``scipy.stats.betanbinom(1, 4, 3, loc=1)`` (Fruehwirth-Schnatter,
        Malsiner-Walli & Gruen 2021). A tail of less than 1e-9 is cut off. Where one number is left, the number of
        components is known, as in a :class:`FiniteMixture`.
    concentration : float > 0, or a frozen positive scipy.stats distribution
        Learned under F(6, 3) by default.
    dynamic : bool
        Dirichlet(concentration / n) for each component if True, Dirichlet(concentration) if False.

    Examples
    --------
    >>> import gibbs_gmm as gg
    >>> from scipy import stats
    >>> prior = gg.MixtureOfFiniteMixtures(stats.randint(1, 11), 1.0, dynamic=False)  # n uniform on 1..10
    >>> prior.n_clusters_pmf(150)[:4].round(2)
    array([0.1 , 0.1 , 0.1 , 0.11])
    """

    n_prior: Any = None
    concentration: Concentration = None
    dynamic: bool = True

    def __post_init__(self) -> None:
        from scipy import stats

        if self.n_prior is None:
            object.__setattr__(self, "n_prior", stats.betanbinom(1, 4, 3, loc=1))
        if self.concentration is None:
            object.__setattr__(self, "concentration", stats.f(6, 3))
        if not isinstance(self.dynamic, (bool, np.bool_)):
            raise TypeError(f"dynamic must be True or False, got {self.dynamic!r}")
        object.__setattr__(self, "concentration", _concentration(self.concentration))
        if not hasattr(self.n_prior, "logpmf"):
            what = "a continuous distribution" if hasattr(self.n_prior, "logpdf") else repr(self.n_prior)
            raise TypeError(f"n_prior must be a frozen discrete scipy.stats distribution, got {what}")
        below = float(self.n_prior.cdf(0))
        if below > 0.0:
            raise ValueError(f"n_prior must be a distribution on 1, 2, ..., got probability {below:.3g} below 1")
        object.__setattr__(self, "_kind", DYNAMIC if self.dynamic else STATIC)
        self.log_n_prior()

    def describe(self) -> str:
        """The prior in words."""
        each = "concentration / n" if self.dynamic else "concentration"
        if self.known_n is not None:
            return _dirichlet(self.known_n, each, self)
        concentration = self._concentration_in_words
        return f"mixture of finite mixtures: n unknown, weights Dirichlet({each}) each, concentration {concentration}"

    def log_n_prior(self) -> tuple[FloatArray, FloatArray]:
        """log p(n) and log P(> n) for n = 0, 1, ..., as far as mass matters."""
        return self._tables

    @functools.cached_property
    def _tables(self) -> tuple[FloatArray, FloatArray]:
        log_p = np.asarray(self.n_prior.logpmf(np.arange(_MOST + 1)), np.float64)
        log_p[0] = -np.inf
        p = np.exp(log_p)
        beyond = np.maximum(0.0, 1.0 - np.cumsum(p))
        if not p.sum() > 0.5:
            raise ValueError(f"n_prior must have most of its mass on 1..{_MOST}, got {p.sum():.3g}")
        end = int(np.argmax(beyond < _NEGLIGIBLE)) if (beyond < _NEGLIGIBLE).any() else _MOST
        possible = np.flatnonzero(np.isfinite(log_p[: end + 1]))
        if len(possible) == 1:
            return _point_mass(int(possible[0]))
        tail = np.append(np.cumsum(p[1 : end + 1][::-1])[::-1], 0.0)
        with np.errstate(divide="ignore"):
            return log_p[: end + 1], np.log(tail)


@dataclasses.dataclass(frozen=True)
class DirichletProcess(WeightPrior):
    """A Dirichlet process mixture: infinitely many components, of which the data occupy some (Ferguson 1973).

    Parameters
    ----------
    concentration : float > 0, or a frozen positive scipy.stats distribution
        Total concentration alpha: about alpha log N clusters are expected. Under a distribution it is learned.

    Examples
    --------
    >>> import gibbs_gmm as gg
    >>> gg.DirichletProcess(1.0).n_clusters_pmf(150)[:4].round(2)
    array([0.01, 0.04, 0.1 , 0.17])
    """

    concentration: Concentration = 1.0
    _kind = PROCESS

    def __post_init__(self) -> None:
        object.__setattr__(self, "concentration", _concentration(self.concentration))

    def describe(self) -> str:
        """The prior in words."""
        return f"Dirichlet process, concentration {self._concentration_in_words}"

    def log_n_prior(self) -> tuple[FloatArray, FloatArray]:
        """Empty: the number of components is infinite."""
        return np.zeros(0), np.zeros(0)


@dataclasses.dataclass(frozen=True)
class PitmanYorProcess(WeightPrior):
    """A Pitman-Yor process mixture: like a Dirichlet process, with more and smaller clusters (Pitman & Yor 1997).

    Parameters
    ----------
    concentration : float > 0, or a frozen positive scipy.stats distribution
        Under a distribution it is learned.
    discount : float in [0, 1)
        0 is the Dirichlet process. The number of clusters grows like N^discount; above about 0.5 the conditional
        sampler needs very many components.

    Examples
    --------
    >>> import gibbs_gmm as gg
    >>> gg.PitmanYorProcess(0.5, discount=0.25).n_clusters_pmf(150)[:4].round(2)
    array([0.02, 0.04, 0.06, 0.08])
    """

    concentration: Concentration = 1.0
    discount: float = 0.25
    _kind = PROCESS

    def __post_init__(self) -> None:
        object.__setattr__(self, "concentration", _concentration(self.concentration))
        discount = checks.real("discount", self.discount)
        if not 0.0 <= discount < 1.0:
            raise ValueError(f"discount must be at least 0 and less than 1, got {discount}")
        object.__setattr__(self, "discount", discount)

    def describe(self) -> str:
        """The prior in words."""
        return f"Pitman-Yor process, concentration {self._concentration_in_words}, discount {self.discount:g}"

    def log_n_prior(self) -> tuple[FloatArray, FloatArray]:
        """Empty: the number of components is infinite."""
        return np.zeros(0), np.zeros(0)


def _dirichlet(n: int, each: str, prior: WeightPrior) -> str:
    """A known number of components in words."""
    components = f"{n} component{'s'[: n > 1]}"
    return f"{components}, weights Dirichlet({each}) each, concentration {prior._concentration_in_words}"


_KINDS = {kind.__name__: kind for kind in (FiniteMixture, MixtureOfFiniteMixtures, DirichletProcess, PitmanYorProcess)}


def to_dict(prior: WeightPrior) -> dict[str, Any]:
    """A weight prior as plain values, for JSON."""
    assert dataclasses.is_dataclass(prior)
    fields = {field.name: _describe(getattr(prior, field.name)) for field in dataclasses.fields(prior)}
    return {"kind": type(prior).__name__, **fields}


def from_dict(values: dict[str, Any]) -> WeightPrior:
    """The inverse of :func:`to_dict`."""
    values = {name: _restore(value) for name, value in values.items()}
    return _KINDS[values.pop("kind")](**values)
