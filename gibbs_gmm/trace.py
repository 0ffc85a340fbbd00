"""The result of a fit: arrays of draws, and what it takes to reproduce them."""

from __future__ import annotations

import dataclasses
import functools
import os
from typing import Any

import numpy as np

from gibbs_gmm import trace_arrays
from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray
from gibbs_gmm.model.families import ComponentPrior
from gibbs_gmm.model.outliers import Outliers
from gibbs_gmm.model.weight_priors import WeightPrior
from gibbs_gmm.trace_clusters import ClusterQuestions
from gibbs_gmm.trace_rows import RowQuestions


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Trace(ClusterQuestions, RowQuestions):
    """Draws from the posterior of a Gaussian mixture, for C chains of T draws each, K components in D dimensions.

    All arrays are read-only. Component labels mean nothing across draws and chains: compare components only after
    matching them (:meth:`relabel`; :meth:`summary` does), or use quantities that do not depend on labels.

    If the number of components was learned, K is the largest number of clusters in any draw. Each draw holds the
    components that own observations, from slot 0 on; its other slots are NaN, with weight 0.

    Attributes
    ----------
    weights : (C, T, K) float64
        Component probabilities. Each draw of a known number of components sums to 1; of an unknown one,
        ``1 - weights.sum(-1)`` is the weight of the unoccupied components.
    means : (C, T, K, D) float64
        Component means, in the units of X. Where values are rounded by a width that matters, means and covariances are
        those of the values before, given the clusters of the rounded ones.
    covariances : (C, T, K, D, D) float64
        Component covariance matrices, in the squared units of X. Families that do not store matrices have them expanded
        where they are looked at: index first, ``covariances[chain, draw]``, and large traces stay small.
    variances : (C, T, K, D) float64 (diag), (C, T, K) (spherical), or None
        What a trace of these families stores in place of matrices.
    covariance : (C, T, D, D) float64 (tied), or None
        The matrix that all components of a draw share.
    assignments : (C, T, N) unsigned integers, or None
        Component of each observation, 0..K-1, in the smallest type that holds K; None with ``save_assignments=False``.
        Where there may be outliers they are int16, and -1 for these. With ``counts``, of each row whose count is not 0
        the component that most of its observations have.
    n_components, n_clusters : (C, T) int64
        Components of the mixture, and those of them that own at least one observation. Under a Dirichlet or Pitman-Yor
        process the mixture has infinitely many, and n_components counts those that the sampler had to look at: it
        means nothing.
    log_likelihood : (C, T) float64
        sum_i log sum_k w_k N(x_i | mu_k, Sigma_k): the density of the data, in units of X, labels summed out; each N
        averaged over the cell of the value, as ``prior.resolution`` has it. Of rows with missing values it is the
        density of the others, and of values with errors that of what was measured.
    log_posterior : (C, T) float64
        log_likelihood + log prior density of weights, means and covariances (the posterior density up to a constant).
        Of different numbers of components, and so of different dimensions, these densities cannot be compared.
    concentration, kappa_0 : (C, T) float64; Psi_0 : (C, T, D, D) float64; b_0 : (C, T, D) (diag), (C, T); or None
        The hyperparameters that are learned; None where they are fixed, or the family has none of that name.
    outlier_weight : (C, T) float64, or None
        The share of rows of no kind, where ``fit(outliers=...)`` allows any. ``weights`` are shares of the other rows.
    columns : tuple of str
        Names of the D columns of X ("x0", "x1", ... if it had none).
    prior : NormalInverseWishart or NormalInverseGamma
        Prior of the components, as used. Its ``covariance_type`` is that of the trace.
    weight_prior : FiniteMixture, MixtureOfFiniteMixtures, DirichletProcess or PitmanYorProcess
        Prior of the number of components and their weights.
    counts : (N,) int64 or None
        How many observations each row stands for, as given to :func:`gibbs_gmm.fit`; None for one. Sizes of clusters,
        the prior of partitions and log likelihoods speak of observations; partitions and similarities are of rows.
    settings : dict
        n_observations, draws, warmup, thin, chains, seed (entropy of the SeedSequence), seconds, versions,
        interrupted.

    Examples
    --------
    Of the trace and the rows of :func:`gibbs_gmm.fit`'s example:

    >>> trace
    <Trace: 4 chains x 200 draws of 100 rows x 2 columns: 2 components, as given>
    >>> trace.weights.shape, trace.assignments.shape
    ((4, 200, 2), (4, 200, 100))
    """

    weights: FloatArray
    means: FloatArray
    covariances: FloatArray = None  # type: ignore[assignment]  # what a family does not store is set below
    variances: FloatArray | None = None
    covariance: FloatArray | None = None
    assignments: AnyArray | None = None
    n_components: IntArray
    n_clusters: IntArray
    log_likelihood: FloatArray
    log_posterior: FloatArray
    concentration: FloatArray | None = None
    outlier_weight: FloatArray | None = None
    kappa_0: FloatArray | None = None
    Psi_0: FloatArray | None = None
    b_0: FloatArray | None = None
    columns: tuple[str, ...]
    prior: ComponentPrior
    weight_prior: WeightPrior
    settings: dict[str, Any]
    counts: IntArray | None = None

    def __post_init__(self) -> None:
        arrays = self.arrays() | ({} if self.counts is None else {"counts": self.counts})
        for name, array in arrays.items():
            view = array.view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)
        object.__setattr__(self, "covariances", self.prior.matrices(self))

    @property
    def n_rows(self) -> int:
        """How many rows were fitted, those of count 0 left out: as many as ``assignments`` has."""
        return int(self.settings["n_observations"] if self.counts is None else np.count_nonzero(self.counts))

    def fitted_rows(self, X: AnyArray) -> AnyArray:
        """The rows of X that were fitted, where X may have those of count 0 too.

        Examples
        --------
        >>> import gibbs_gmm as gg
        >>> import numpy as np
        >>> X = np.array([[0.0], [1.0], [2.0], [3.0]])
        >>> trace = gg.fit(X, 1, counts=[2, 0, 1, 3], draws=20, warmup=20, rng=1, progress=False)
        >>> trace.fitted_rows(X).ravel()
        array([0., 2., 3.])
        """
        return X[self.counts > 0] if self.counts is not None and len(X) == len(self.counts) else X

    @property
    def n_is_known(self) -> bool:
        """Whether the number of components was given, so that it is the same in every draw."""
        return self.weight_prior.known_n is not None

    @property
    def label_names(self) -> tuple[Any, ...]:
        """The kinds that some rows were known to be of: kind j is component j of every draw."""
        return tuple(self.settings.get("label_names", ()))

    @functools.cached_property
    def _outliers(self) -> Outliers | None:
        """The component of outliers, if there is one."""
        values = self.settings.get("outliers")
        return None if values is None else Outliers.from_dict(values)

    def arrays(self) -> dict[str, AnyArray]:
        """The arrays of draws that it stores, by name."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "counts"}
        if self.prior.covariance_type != "full":
            del values["covariances"]
        return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}

    def permuted(self, order: IntArray) -> Trace:
        """The trace with component ``order[c, t, k]``, (C, T, K), of each draw in place k. Labels stay as they were."""
        own = [field for field in self.prior.fields() + trace_arrays.ALWAYS if field.per_slot]
        moved: dict[str, Any] = {field.name: field.permuted(getattr(self, field.name), order) for field in own}
        return dataclasses.replace(self, **moved)

    def __repr__(self) -> str:
        C, T, _, D = self.means.shape
        rows = f"{self.n_rows} rows"
        if self.counts is not None:
            rows = f"{self.settings['n_observations']} observations in {rows}"
        counts = f"{C} chain{'s'[: C > 1]} x {T} draw{'s'[: T > 1]} of {rows} x {D} column{'s'[: D > 1]}"
        return f"<Trace: {counts}: {self.headline}{self.verdict}>"

    def _repr_html_(self) -> str:
        from gibbs_gmm.posterior.notebook import trace_html

        return trace_html(self)

    def to_arviz(self, X: Any = None) -> Any:
        """The trace as an ArviZ DataTree, for ``arviz_stats`` (``summary``, ``loo``) and ``arviz_plots``.

        ``X`` (N, D), optional, are the rows of the fit, which a trace does not hold: with them the tree has what
        leave-one-out cross-validation needs. Groups and dimensions: :func:`gibbs_gmm.posterior.export.to_arviz`.

        Examples
        --------
        Of the trace and the rows of :func:`gibbs_gmm.fit`'s example:

        >>> list(trace.to_arviz(X).children)
        ['posterior', 'sample_stats', 'components', 'log_likelihood', 'observed_data']
        """
        from gibbs_gmm.posterior.export import to_arviz

        return to_arviz(self, X)

    def to_dataframe(self) -> Any:
        """The trace as a tidy pandas data frame: one row for each component of each draw of each chain.

        Columns are chain, draw, component (its matched place, see :meth:`relabel`), weight, ``mean[column]``,
        ``covariance[column, column]`` (upper triangle), and of the draw n_components, n_clusters, log_likelihood,
        log_posterior and, where they are learned, concentration and kappa_0. Unused slots have no row.

        Raises
        ------
        ImportError
            pandas is missing: ``pip install 'gibbs-gmm[arviz]'``.

        Examples
        --------
        Of the trace and the rows of :func:`gibbs_gmm.fit`'s example:

        >>> trace.to_dataframe().shape[0] == 4 * 200 * 2
        True
        """
        from gibbs_gmm.posterior.export import to_dataframe

        return to_dataframe(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the trace to one ``.npz`` file, plain arrays and a JSON text, which appears whole or not at all.

        Examples
        --------
        Of the trace and the rows of :func:`gibbs_gmm.fit`'s example:

        >>> import os, tempfile
        >>> trace.save(os.path.join(tempfile.mkdtemp(), "run.npz"))
        """
        from gibbs_gmm.storage.trace_file import save

        save(self, path)


# Pages of the documentation show what a class holds itself: its questions too.
for _part in (ClusterQuestions, RowQuestions):
    for _name, _member in vars(_part).items():
        if not _name.startswith("__"):
            setattr(Trace, _name, _member)
