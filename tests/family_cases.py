"""What a family of components is on paper, and its tuples in the kernels.

A ``Case`` is asked for what a family says; one more family is one more case. Components come out of the verbs ``draw``
and ``write``, so that no test knows how a family holds them.
"""

import dataclasses
import functools
from typing import Any

import numpy as np
from harness import draw_scales, some_niw
from oracle import NIW, Floats, Ints, log_niw
from oracle import log_marginal as log_marginal_full
from scipy import stats
from simulation import draw_components

import gibbs_gmm as gg
from gibbs_gmm.kernels.families import DIAGONAL, FULL, SPHERICAL, generic
from gibbs_gmm.kernels.families.generic import Family, padded
from gibbs_gmm.kernels.tile import LOG2_E, TILE, load_tile, new_workspace

A_0, H, KAPPA_SHAPE = 2.6, 1.7, 1.4
FAMILIES = {"full": FULL, "diag": DIAGONAL, "spherical": SPHERICAL}


@dataclasses.dataclass(frozen=True)
class Case:
    """A family in D columns with values known to within ``noise`` (D,), r^2 / 12, on paper.

    Priors are some_niw(D), or have its means, its kappa_0 and A_0, and the diagonal of its scale or the first entry.
    Covariances are as the family writes them; Sigma is (D, D).
    """

    name: str
    D: int
    noise: Floats

    @functools.cached_property
    def niw(self) -> NIW:
        return some_niw(self.D, self.D + 3.0)._replace(noise=self.noise)

    @property
    def family(self) -> Family:
        return FAMILIES[self.name]

    @functools.cached_property
    def scale(self) -> Any:
        """Psi_0 (D, D), b_0 (D,) or a number."""
        Psi_0 = self.niw.Psi_0
        return {"full": Psi_0, "diag": np.diagonal(Psi_0).copy(), "spherical": float(Psi_0[-1, -1])}[self.name]

    def package(self, scale: Any = None, kappa_0: float = some_niw(1).kappa_0, learned: bool = False) -> Any:
        """The package's prior, with this scale or its own."""
        mu_0, width = self.niw.mu_0, np.sqrt(12.0 * self.noise)
        scale = self.scale if scale is None else scale
        kappa_shape = KAPPA_SHAPE if learned else None
        if self.name == "full":
            df = self.D + 2.5 if learned else None
            return gg.NormalInverseWishart(
                mu_0, kappa_0, self.niw.nu_0, scale, Psi_0_df=df, kappa_0_shape=kappa_shape, resolution=width
            )
        h = H if learned else None
        return gg.NormalInverseGamma(
            mu_0, kappa_0, A_0, scale, b_0_shape=h, kappa_0_shape=kappa_shape, resolution=width
        )

    def kernel(self, *arguments: Any) -> Any:
        """The kernels' prior, in coordinates that are not shifted."""
        return self.package(*arguments).as_kernel(np.zeros(self.D))

    def hyper(self) -> Any:
        """The kernels' laws of the hyperparameters."""
        return self.package(learned=True).hyper_as_kernel()

    def covariances(self, K: int) -> Floats:
        """Room for those of K components."""
        return np.zeros((K, self.D, self.D)[: {"full": 3, "diag": 2, "spherical": 1}[self.name]])

    def Sigma(self, covariance: Floats) -> Floats:
        """(D, D)."""
        return covariance if self.name == "full" else covariance * np.eye(self.D)

    def draw_scale(self, rng: np.random.Generator) -> Any:
        """A learned scale from its law."""
        if self.name == "full":
            return draw_scales(rng, 1, self.scale, self.D + 2.5)[0]
        return self.scale * rng.gamma(H, 1.0 / H, np.shape(self.scale))

    def draw(self, rng: np.random.Generator, count: int) -> tuple[Floats, Floats]:
        """Means (count, D) and covariances of components from the prior."""
        if self.name == "full":
            return draw_components(rng, self.niw, count)
        variance = np.asarray(self.scale) / rng.gamma(A_0, size=(count, *np.shape(self.scale)))
        spread = np.sqrt(variance / self.niw.kappa_0).reshape(count, -1)
        return self.niw.mu_0 + spread * rng.standard_normal((count, self.D)), variance

    def log_prior(self, mu: Floats, covariance: Floats, scale: Any = None, kappa_0: float | None = None) -> float:
        """log density of a component, with respect to mu and covariance."""
        niw = self.niw
        scale, kappa_0 = self.scale if scale is None else scale, niw.kappa_0 if kappa_0 is None else kappa_0
        if self.name == "full":
            return log_niw(mu, covariance, niw._replace(Psi_0=scale, kappa_0=kappa_0))
        log_p = stats.invgamma.logpdf(covariance, A_0, scale=scale).sum()
        return float(log_p + stats.norm.logpdf(mu, niw.mu_0, np.sqrt(covariance / kappa_0)).sum())

    def log_marginal(self, X: Floats) -> float:
        """log density of the rows of one cluster, each averaged over its cell.

        Given the variance a column is N(mu_0, sigma^2 (I + 11' / kappa_0)), so it is t of 2 a_0 degrees of freedom, and
        all columns of a spherical component together are. With c = n noise / 2, exp(-c / sigma^2) InverseGamma(a_0,
        b_0) is (b_0 / (b_0 + c))^a_0 InverseGamma(a_0, b_0 + c).
        """
        if self.name == "full" or len(X) == 0:
            return log_marginal_full(X, self.niw)
        n, D = X.shape
        shape = np.eye(n) + 1.0 / self.niw.kappa_0
        cells = 0.5 * n * self.noise
        if self.name == "spherical":
            b = self.scale + cells.sum()
            law = stats.multivariate_t(np.tile(self.niw.mu_0, n), b / A_0 * np.kron(shape, np.eye(D)), df=2.0 * A_0)
            return float(A_0 * np.log(self.scale / b) + law.logpdf(X.ravel()))
        total = 0.0
        for d in range(D):
            b = self.scale[d] + cells[d]
            law = stats.multivariate_t(np.full(n, self.niw.mu_0[d]), b / A_0 * shape, df=2.0 * A_0)
            total += A_0 * np.log(self.scale[d] / b) + law.logpdf(X[:, d])
        return float(total)

    def meaningful(self) -> Any:
        """Which entries of a block mean anything."""
        P, D = padded(self.D), self.D
        block = np.zeros(self.family.block(D), bool)
        block[:D] = True
        if self.name == "full":
            block[P:].reshape(P, P)[:D, :D] = np.tri(D, dtype=bool)
        else:
            block[P : P + D] = True
        return block


class Kernels:
    """A family's tuples with room for K components."""

    def __init__(self, case: Case, K: int) -> None:
        self.case, self.K, self.D, family = case, K, case.D, case.family
        self.prior = case.kernel()
        self.components, self.parameters = family.components(K, self.D), family.parameters(K, self.D)
        self.scratch, self.statistics = family.scratch(self.D), family.statistics(K, self.D)

    def collect(self, X: Floats, z: Ints, centre: Floats) -> None:
        """The statistics of rows with these labels, about these centres (K, D)."""
        work = new_workspace(self.K, self.D)
        self.components.centre[:, : self.D] = centre
        for start in range(0, len(X), TILE):
            size = min(TILE, len(X) - start)
            load_tile(X, np.zeros(self.D), start, size, work.Xt, work.rows)
            work.label[:size] = z[start : start + size]
            generic.accumulate(self.components, size, work, self.statistics)
        generic.flush(self.components, self.K, work, self.statistics)

    def draw(self, rng: np.random.Generator, k: int, n: float) -> None:
        """Component k given its n rows."""
        centre = self.components.centre
        assert generic.draw(self.prior, rng, n, self.statistics, k, centre, self.parameters, k, self.scratch) == 0

    def prepare(self, k: int, log_weight: float = 0.0) -> None:
        """Component k for the label pass."""
        log_density = generic.prepare(self.prior, self.parameters, k, self.components, k)
        self.components.log_c[k] = LOG2_E * (log_weight + log_density)

    def write(self, rng: np.random.Generator, k: int, n: float = 0.0) -> tuple[Floats, Floats]:
        """(mu, covariance) of component k."""
        means, covariances = np.zeros((self.K, self.D)), self.case.covariances(self.K)
        generic.write(
            self.prior, rng, n, self.statistics, k, self.parameters, self.components, np.zeros(self.D), self.scratch,
            means, covariances,
        )  # fmt: skip
        return means[k], covariances[k]

    def log_weights(self, X: Floats) -> Floats:
        """(K, N) of at most a tile of rows, checked for their largest."""
        work = new_workspace(self.K, self.D)
        load_tile(X, np.zeros(self.D), 0, len(X), work.Xt, work.rows)
        generic.log_weights(self.components, self.K, work)
        np.testing.assert_array_equal(work.top, work.lw.max(0))
        return work.lw[:, : len(X)].copy()


def some_case(name: str, D: int, resolved: bool = True) -> Case:
    return Case(name, D, np.zeros(D) if resolved else np.linspace(0.4, 1.0, D))


def drawn(case: Case, K: int, seed: int = 1) -> tuple[Kernels, Floats, list[Floats]]:
    """K components from the prior, prepared with weights 1, 2, .., and their means (K, D) and covariances."""
    rng, own = np.random.default_rng([seed, case.D]), Kernels(case, K)
    for k in range(K):
        own.draw(rng, k, 0.0)
        own.prepare(k, np.log(k + 1.0))
    means, covariances = zip(*(own.write(rng, k) for k in range(K)), strict=True)
    return own, np.array(means), list(covariances)
