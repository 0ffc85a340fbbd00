"""Which family of covariances, and how many components? Evidences of all, side by side."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterable
from typing import Any

import numpy as np
from scipy.special import logsumexp

from gibbs_gmm import checks, seeds
from gibbs_gmm.evidence import Evidence, log_evidence, wanted_n
from gibbs_gmm.kernels.types import FloatArray, IntArray
from gibbs_gmm.model.families import COVARIANCE_TYPES, checked_covariance_type
from gibbs_gmm.optional import needs

_WIDTH = 80  # of the printed table's notes
_NEGLIGIBLE = 5e-4  # rows of a table that are less probable are left out in print
_UNSURE = 0.5  # standard error of a log evidence that a probability should not rest on


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """log p(X | n, covariance_type) of families of mixtures, as :func:`compare` gives them.

    Attributes
    ----------
    n_components : (R,) int64
        The numbers of components n, in ascending order.
    covariance_types : tuple of F str
        The families, in the order asked for.
    log_evidence, standard_error : (F, R) float64
        log p(X | n, covariance_type), a density in the units of X, and its Monte-Carlo standard error.
    posterior : (F, R) float64
        Probabilities of families and n together, where all are equally likely beforehand. They sum to 1.
    messages : tuple of str
        What a reader must know before using the numbers; empty when nothing is wrong.
    evidences : dict
        The :class:`gibbs_gmm.Evidence` of each family.

    Examples
    --------
    Of the rows of :func:`gibbs_gmm.fit`'s example:

    >>> comparison = gg.compare(X, [1, 2], ("full", "spherical"), draws=1000, warmup=500, rng=1, progress=False)
    >>> comparison.best
    ('spherical', 2)
    """

    n_components: IntArray
    covariance_types: tuple[str, ...]
    log_evidence: FloatArray
    standard_error: FloatArray
    posterior: FloatArray
    messages: tuple[str, ...]
    evidences: dict[str, Evidence]

    @property
    def best(self) -> tuple[str, int]:
        """The most probable family and n."""
        family, n = np.unravel_index(int(np.nanargmax(self.posterior)), self.posterior.shape)
        return self.covariance_types[int(family)], int(self.n_components[n])

    @property
    def family_posterior(self) -> dict[str, float]:
        """The probability of each family, over all n."""
        return dict(zip(self.covariance_types, self.posterior.sum(1).tolist(), strict=True))

    def __repr__(self) -> str:
        names = "".join(f"{name:>20}" for name in self.covariance_types)
        lines = [f"{'n':>4}{names}", " " * 4 + f"{'log p(X | n) (s.e.)':>20}" * len(self.covariance_types)]
        for r, n in enumerate(self.n_components):
            cells = (f"{self.log_evidence[f, r]:.2f} ({self.standard_error[f, r]:.2f})" for f in range(len(self)))
            lines.append(f"{n:>4}" + "".join(f"{cell:>20}" for cell in cells))
        shown = [p for p in self._ranked() if p[0] >= _NEGLIGIBLE] or self._ranked()[:1]
        lines += ["", "most probable:", *(f"  {p:>6.3f}  {family}, n = {n}" for p, family, n in shown)]
        return "\n".join([*lines, *("\n" + textwrap.fill(note, _WIDTH) for note in self._notes())])

    def _repr_html_(self) -> str:
        from gibbs_gmm.posterior.notebook import comparison_html

        return comparison_html(self, self._notes())

    def __len__(self) -> int:
        """How many families there are."""
        return len(self.covariance_types)

    def _notes(self) -> tuple[str, ...]:
        """What the numbers depend on, and what is wrong with them."""
        families = ", ".join(f"{name} {p:.3f}" for name, p in self.family_posterior.items())
        return (
            f"Families over all n: {families}. Every family and n was equally likely beforehand; each family has its "
            "own prior of the components, which evidences depend on.",
            *self.messages,
        )

    def _ranked(self) -> list[tuple[float, str, int]]:
        """Probability, family and n, the most probable first."""
        found = [
            (float(self.posterior[f, r]), name, int(n))
            for f, name in enumerate(self.covariance_types)
            for r, n in enumerate(self.n_components)
        ]
        return sorted(found, key=lambda item: -item[0])

    def to_csv(self) -> str:
        """The table as CSV, a row for each family and n."""
        lines = ["covariance_type,n_components,log_evidence,standard_error,posterior"]
        for f, name in enumerate(self.covariance_types):
            for r, n in enumerate(self.n_components):
                numbers = self.log_evidence[f, r], self.standard_error[f, r], self.posterior[f, r]
                lines.append(f"{name},{n}," + ",".join(f"{x:.6g}" if i else f"{x:.4f}" for i, x in enumerate(numbers)))
        return "\n".join(lines) + "\n"

    def to_dataframe(self) -> Any:
        """The table as a pandas DataFrame, a row for each family and n.

        Raises
        ------
        ImportError
            pandas is not installed.
        """
        pd = needs("pandas", "arviz", "to_dataframe()")
        index = pd.MultiIndex.from_product(
            [self.covariance_types, self.n_components], names=["covariance_type", "n_components"]
        )
        columns = {name: getattr(self, name).ravel() for name in ("log_evidence", "standard_error", "posterior")}
        return pd.DataFrame(columns, index=index)

    def plot(self, ax: Any = None) -> Any:
        """Log evidences over n, a line for each family: :func:`gibbs_gmm.plots.comparison`."""
        from gibbs_gmm.plots import comparison

        return comparison(self, ax)


def compare(
    X: Any,
    n_components: int | Iterable[int] = range(1, 11),
    covariance_types: Iterable[str] = COVARIANCE_TYPES,
    *,
    concentration: float = 1.0,
    draws: int | None = None,
    warmup: int = 5_000,
    chains: int = 4,
    rng: Any = None,
    threads: int | None = None,
    progress: bool = True,
    **unknown: Any,
) -> Comparison:
    """Which family of covariances, and how many components: evidences and posterior probabilities of all of them.

    What BIC approximates is here the evidence log p(X | n, covariance_type) itself, up to a Monte-Carlo error that is
    given. Each family has the default prior that :func:`gibbs_gmm.fit` has for it.

    Parameters
    ----------
    X : array-like (N, D) or (N,)
        Observations, as for :func:`gibbs_gmm.fit`.
    n_components : int or iterable of int
        The numbers of components, each at least 1.
    covariance_types : iterable of str
        Some of "full", "tied", "diag", "spherical".
    concentration, draws, warmup, chains, rng, threads, progress
        As for :func:`gibbs_gmm.log_evidence`, which makes a run for each family.

    Returns
    -------
    Comparison

    Raises
    ------
    TypeError, ValueError
        Bad input; the message names the argument, what was seen and what is wanted. Nothing has been sampled.
    NumericalError
        A scale matrix was not positive definite.

    Examples
    --------
    >>> import gibbs_gmm as gg
    >>> import numpy as np
    >>> X = np.concatenate([np.random.default_rng(0).normal(m, 1.0, (50, 2)) for m in (-3.0, 3.0)])
    >>> comparison = gg.compare(X, range(1, 4), ("full", "spherical"), draws=2000, warmup=1000, rng=1)
    >>> comparison.best
    ('spherical', 2)
    """
    checks.refuse_unknown("compare", unknown, checks.arguments(compare))
    names = [covariance_types] if isinstance(covariance_types, str) else list(covariance_types)
    families = tuple(dict.fromkeys(checked_covariance_type(name, "covariance_types") for name in names))
    if not families:
        raise ValueError("covariance_types must hold at least one of 'full', 'tied', 'diag', 'spherical', got none")
    wanted = wanted_n(n_components).tolist()
    settings: dict[str, Any] = {
        "concentration": concentration,
        "draws": draws,
        "warmup": warmup,
        "chains": chains,
        "threads": threads,
        "progress": progress,
    }
    evidences = {
        name: log_evidence(X, wanted, covariance_type=name, rng=seed, **settings)
        for name, seed in zip(families, seeds.seed_sequence(rng).spawn(len(families)), strict=True)
    }
    value = np.stack([evidence.log_evidence for evidence in evidences.values()])
    error = np.stack([evidence.standard_error for evidence in evidences.values()])
    messages = [f"{name}: {message}" for name, evidence in evidences.items() for message in evidence.messages]
    unvisited = np.isnan(value)
    log_p = np.where(unvisited, -np.inf, value)
    posterior = np.exp(log_p - logsumexp(log_p))
    if unvisited.any():
        messages.append("The probabilities leave out what is not known (nan).")
    if (error[posterior > 0.01] > _UNSURE).any():
        messages.append(
            f"A log evidence that counts has a standard error above {_UNSURE:g}: the probabilities are rough. Raise "
            "draws, or compare fewer components."
        )
    first = next(iter(evidences.values()))
    return Comparison(first.n_components, families, value, error, posterior, tuple(messages), evidences)
