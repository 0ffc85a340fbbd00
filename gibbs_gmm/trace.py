"""The result of a fit: arrays of draws, and what it takes to reproduce them."""

from __future__ import annotations

import dataclasses
import functools
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from gibbs_gmm import trace_arrays
from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray
from gibbs_gmm.model.families import ComponentPrior
from gibbs_gmm.model.outliers import Outliers
from gibbs_gmm.model.weight_priors import WeightPrior
from gibbs_gmm.posterior.agreement import warn_if_apart, why_apart

if TYPE_CHECKING:
    from gibbs_gmm.posterior.chain_partitions import Difference
    from gibbs_gmm.posterior.clustering import Partition
    from gibbs_gmm.posterior.conditional import Conditional
    from gibbs_gmm.posterior.impute import Imputation
    from gibbs_gmm.posterior.merging import Merged
    from gibbs_gmm.posterior.model_check import Check
    from gibbs_gmm.posterior.n_posterior import NPosterior
    from gibbs_gmm.posterior.partitions import CredibleBall
    from gibbs_gmm.posterior.relabel import Relabelling
    from gibbs_gmm.posterior.summary import Summary


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Trace:
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

    @functools.cached_property
    def headline(self) -> str:
        """How many clusters, in one sentence: those that hold 90% of the probability, and which of them is shown."""
        from gibbs_gmm.posterior.headline import headline

        return headline(self)

    @property
    def verdict(self) -> str:
        """What follows :attr:`headline` where the chains have not met; empty where nothing shows that."""
        return "" if self._why_apart is None else "; THE CHAINS HAVE NOT MET: do not use this, see summary()"

    @functools.cached_property
    def _difference(self) -> Difference | None:
        from gibbs_gmm.posterior.chain_partitions import largest_difference

        return largest_difference(self.assignments)

    @functools.cached_property
    def _partition_scores(self) -> dict[str, FloatArray]:
        from gibbs_gmm.posterior.partition_scores import partition_scores

        return partition_scores(self.assignments)

    @functools.cached_property
    def _why_apart(self) -> str | None:
        """Why the chains have not met, if they have not."""
        return why_apart(self)

    @functools.cached_property
    def _warned(self) -> set[str]:
        """The questions whose answers were warned about, since the chains have not met."""
        return set()

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

    def outlier_probability(self, X_new: Any = None, *, threads: int | None = None) -> FloatArray:
        """The probability of each row that it is of no kind, where ``fit(outliers=...)`` allowed for such rows.

        Parameters
        ----------
        X_new, threads : optional, as for :meth:`log_density`
            New rows. One outside the box of the data is as probable an outlier as if the box were just wide enough to
            hold it. By default the rows of the fit.

        Returns
        -------
        (N,) float64
            For the rows of the fit, the share of the draws in which it is an outlier.

        Raises
        ------
        ValueError
            The fit allowed no outliers, or the trace has no assignments and X_new was not given.

        Examples
        --------
        >>> import gibbs_gmm as gg
        >>> import numpy as np
        >>> X = np.concatenate([np.random.default_rng(0).normal(size=(100, 2)), [[30.0, -40.0]]])
        >>> trace = gg.fit(X, 1, outliers=True, draws=200, warmup=200, rng=1, progress=False)
        >>> np.flatnonzero(trace.outlier_probability() > 0.5)
        array([100])
        """
        from gibbs_gmm.posterior import clustering, predict

        if self._outliers is None:
            raise ValueError("outlier_probability needs a fit that allows outliers: fit(..., outliers=True)")
        return (
            clustering.outlier_probability(self) if X_new is None else predict.outlier_probability(self, X_new, threads)
        )

    def n_posterior(self) -> NPosterior:
        """How many components and clusters there are: a table of p(n) and p(n+), beside their priors.

        With Monte-Carlo standard errors, and p(n+) of each chain, so that it shows where chains disagree. See
        :class:`gibbs_gmm.posterior.n_posterior.NPosterior`.

        Examples
        --------
        Of the trace and the rows of :func:`gibbs_gmm.fit`'s example:

        >>> trace.n_posterior().p_n_clusters
        array([0., 1.])
        """
        from gibbs_gmm.posterior.n_posterior import tabulate

        return tabulate(self)

    def summary(self) -> Summary:
        """Table of weights, means and covariances per component, with R-hat and effective sample sizes.

        Components are matched across draws and chains first; label-invariant quantities come with it, and a plain
        warning where the chains disagree. See :class:`gibbs_gmm.posterior.summary.Summary`.

        Examples
        --------
        Of the trace and the rows of :func:`gibbs_gmm.fit`'s example:

        >>> round(trace.summary()["weight[0]"]["mean"], 1)
        0.5
        """
        from gibbs_gmm.posterior.summary import summarize

        return summarize(self)

    def relabel(self, method: str | None = None, X: Any = None) -> Relabelling:
        """Components matched across draws and chains, and how surely: ``trace.relabel().trace`` is relabelled.

        By equivalence classes representatives ("ecr", the default), by Stephens' (2000) Kullback-Leibler algorithm
        ("kl", which needs the data X) or, without assignments, by the divergence of Gaussians ("divergence"). See
        :func:`gibbs_gmm.posterior.relabel.relabel`.

        Examples
        --------
        Of the trace and the rows of :func:`gibbs_gmm.fit`'s example:

        >>> trace.relabel()
        <Relabelling by ecr: 2 components in 4 chains x 200 draws, 0.0% of draws ambiguous>
        >>> bool((trace.relabel().trace.means[:, :, 0, 0] < 0.0).all())
        True
        """
        from gibbs_gmm.posterior.relabel import relabel

        if method is None and X is None:
            return dataclasses.replace(self._relabelling)  # the copy may hold a relabelled trace, and goes with it
        return relabel(self, method, X)

    @functools.cached_property
    def _relabelling(self) -> Relabelling:
        from gibbs_gmm.posterior.relabel import relabel

        return relabel(self)

    def check(self, X: Any) -> Check:
        """Are the clusters normal? Tails, skewness and ties of each cluster in each column, with calibrated p-values.

        ``X`` are the rows of the fit, which a trace does not hold. Named are clusters that are not normal, of fewer
        than D + 1 rows or of repeated values, clusters that may be one kind, and columns to take logarithms of. See
        :func:`gibbs_gmm.posterior.model_check.check`.

        Examples
        --------
        Of the trace and the rows of :func:`gibbs_gmm.fit`'s example:

        >>> trace.check(X).messages
        ()
        """
        from gibbs_gmm.posterior.model_check import check

        return check(self, X)

    def merged(self) -> Merged:
        """Clusters merged two at a time, from all down to one, and what each step costs: an aid to reading.

        For kinds that are not normal, of which a mixture makes several clusters: ``merged().labels(k)`` is the
        partition with k clusters. See :func:`gibbs_gmm.posterior.merging.merged`.

        Examples
        --------
        Of the trace and the rows of :func:`gibbs_gmm.fit`'s example:

        >>> trace.merged().n_clusters
        array([2, 1])
        """
        from gibbs_gmm.posterior.merging import merged

        return merged(self)

    def log_density(
        self, X_new: Any, *, errors: Any = None, threads: int | None = None, device: str = "cpu"
    ) -> FloatArray:
        """Log posterior predictive density of new rows, averaged over all draws of all chains.

        log (1 / C T) sum over draws of sum_k w_k N(x | mu_k, Sigma_k). What components without observations hold
        counts: where a trace does not have them (n unknown) it is the prior predictive, a multivariate t at the draw's
        hyperparameters, with weight ``1 - weights.sum(-1)``.

        Parameters
        ----------
        X_new : array-like (N_new, D) or, for D = 1, (N_new,)
            At least one row, of what ``fit`` takes; a data frame must have the columns of the fit, in any order. Of a
            row with missing values it is the density of the others.
        errors : (D,), (N_new, D) or (N_new, D, D) array-like, optional
            Errors of measurement of the new rows, as for ``fit``: by default none, so that the density is that of true
            values. Each row with an error of its own takes as long as a thousand without.
        threads : int, optional
            Threads to use; by default one per available core. The result does not depend on it.
        device : "cpu" or "cuda"
            "cuda": densities are computed on a GPU, as for ``fit``, and rounded a little differently there; without
            ``errors``.

        Returns
        -------
        (N_new,) float64
            In units of X. Memory beyond it is bounded.

        Examples
        --------
        Of the trace and the rows of :func:`gibbs_gmm.fit`'s example:

        >>> near, far = trace.log_density([[3.0, 3.0], [30.0, 30.0]])
        >>> bool(near > -4.0 > -100.0 > far)
        True
        """
        from gibbs_gmm.posterior.predict import log_density

        return log_density(self, X_new, threads, errors, device)

    def pointwise_log_density(self, X: Any, *, errors: Any = None, threads: int | None = None) -> FloatArray:
        """Log density of each row under each draw: for WAIC and LOO, and for bands about a density.

        The logarithm of the average density over draws is :meth:`log_density`. For the rows of the fit it is the
        pointwise log likelihood. For exact values (``resolution=0``) and a known number of components its sum over rows
        is ``log_likelihood``; for an unknown number it differs a little, since ``log_likelihood`` uses the unoccupied
        components as they were drawn, and here they are integrated out.

        Parameters
        ----------
        X, errors, threads : as for :meth:`log_density`

        Returns
        -------
        (C, T, N) float64
            8 C T N bytes: pass some of the rows where that is too much.

        Examples
        --------
        Of the trace and the rows of :func:`gibbs_gmm.fit`'s example:

        >>> trace.pointwise_log_density(X[:5]).shape
        (4, 200, 5)
        """
        from gibbs_gmm.posterior.predict import pointwise_log_density

        return pointwise_log_density(self, X, threads, errors=errors)

    def predict_proba(
        self,
        X_new: Any,
        reference: Any = None,
        *,
        errors: Any = None,
        threads: int | None = None,
        device: str = "cpu",
    ) -> FloatArray:
        """Probability that a new row belongs to each cluster, or to none of them.

        Column j is p(cluster j | x) = E[sum of w_k N(x | mu_k, Sigma_k) over the k that are cluster j] / E[density of
        x], expectations over draws: the new row itself weights the draws. By default the clusters are those of
        :meth:`partition`, the matched components of the draws that have the most probable number of clusters, and the
        expectations are over these draws. A row of the fit would be counted twice: ``partition().probabilities`` has
        its probabilities. Of a fit with ``labels`` cluster j is the kind ``label_names[j]``, for each of these; an
        outlier is of none.

        Parameters
        ----------
        X_new, errors, threads, device : as for :meth:`log_density`
        reference : Relabelling, Partition or (N,) integers, optional
            Other matched components; or other clusters 0, 1, ..., J-1 of the fitted rows. Each component of each draw
            then stands for the cluster that most of its observations are in, and expectations are over all draws.

        Returns
        -------
        (N_new, J + 1) float64
            Rows sum to 1. The last column is for none of the J clusters: a kind that no fitted row is of.

        Examples
        --------
        Of the trace and the rows of :func:`gibbs_gmm.fit`'s example:

        >>> trace.predict_proba([[3.0, 3.0]]).round(2)
        array([[0., 1., 0.]])
        """
        from gibbs_gmm.posterior.predict import predict_proba

        warn_if_apart(self, "predict")
        return predict_proba(self, X_new, reference, threads, errors, device)

    def predict(
        self,
        X_new: Any,
        reference: Any = None,
        *,
        errors: Any = None,
        threads: int | None = None,
        device: str = "cpu",
    ) -> IntArray:
        """Most probable cluster of each new row: the column of :meth:`predict_proba` that is largest.

        For the rows of the fit it agrees with :meth:`partition`, except where two clusters are about equally probable.

        Returns
        -------
        (N_new,) int64
            The number of a cluster, or -1 where none of them is most probable. (-1 is the last column.)

        Examples
        --------
        Of the trace and the rows of :func:`gibbs_gmm.fit`'s example:

        >>> trace.predict([[-3.0, -3.0], [3.0, 3.0]])
        array([0, 1])
        """
        from gibbs_gmm.posterior.predict import predict

        warn_if_apart(self, "predict")
        return predict(self, X_new, reference, threads, errors, device)

    def impute(self, X: Any, *, errors: Any = None, labels: Any = None) -> Imputation:
        """Missing values of rows, those of the fit or others, given what was observed of each.

        Weights, means and covariances are from the posterior, each draw counting alike (of more than 1,000 as many at
        even distances); of a row its component is unknown, unless ``labels`` says it. Components that own no row of the
        fit and are not in the trace (n unknown) are left out, and so are outliers.

        Parameters
        ----------
        X : array-like (N, D)
            Rows, NaN where values are missing.
        errors : (D,), (N, D) or (N, D, D) array-like, optional
            Errors of measurement of what was observed, as for :func:`gibbs_gmm.fit`.
        labels : (N,) array-like, optional
            Of which kind each row is known to be, one of ``label_names``, and -1, None, NaN or "" where it is unknown.

        Returns
        -------
        Imputation
            ``mean`` and ``std`` (N, D), and ``draws(n, rng)`` (n, N, D) for multiple imputation. Observed values stay.

        Examples
        --------
        Of the trace of :func:`gibbs_gmm.fit`'s example:

        >>> bool(abs(trace.impute([[3.0, float("nan")]]).mean[0, 1] - 3.0) < 1.0)
        True
        """
        from gibbs_gmm.posterior.impute import impute

        warn_if_apart(self, "impute")
        return impute(self, X, errors, labels)

    def sample(self, n: int, rng: Any = None) -> FloatArray:
        """New rows from the posterior predictive distribution, each from a draw chosen at random.

        Parameters
        ----------
        n : int
            How many.
        rng : int, sequence of ints, SeedSequence, Generator, RandomState or None
            Seed.

        Returns
        -------
        (n, D) float64

        Examples
        --------
        Of the trace and the rows of :func:`gibbs_gmm.fit`'s example:

        >>> trace.sample(3, rng=1).shape
        (3, 2)
        """
        from gibbs_gmm.posterior.predict import sample

        warn_if_apart(self, "sample")
        return sample(self, n, rng)[0]

    def conditional(self, given: Any) -> Conditional:
        """The distribution of the other columns of new rows of which some columns are given.

        The posterior predictive p(free columns | given columns, data): every draw's mixture is conditioned, and draws
        weigh as much as their density of what is given. What components without observations hold counts as in
        :meth:`log_density`.

        Parameters
        ----------
        given : mapping, or data frame of the columns that are given
            From names of columns (in ``trace.columns``), or their positions, to a number or M numbers each; a single
            number stands for all rows. Empty: nothing is given.

        Returns
        -------
        Conditional
            With ``mean()`` (M, F), ``std()``, ``covariance()`` (M, F, F), ``quantile(q)``, ``sample(n, rng)`` and
            ``log_density(values)`` of the F ``columns`` that are free
            (:class:`gibbs_gmm.posterior.conditional.Conditional`).

        Raises
        ------
        ValueError
            A column is unknown, no column is free, values are not finite, or their numbers differ.

        Examples
        --------
        Of the trace and the rows of :func:`gibbs_gmm.fit`'s example:

        >>> trace.conditional({"x0": 3.0}).mean().round()
        array([[3.]])
        >>> trace.conditional({"x0": [-3.0, 0.0, 3.0]})
        <Conditional: x1 given x0, 3 rows>
        """
        from gibbs_gmm.posterior.conditional import conditional

        warn_if_apart(self, "conditional")
        return conditional(self, given)

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

    def similarity(self, rows: Any = None, pairs: Any = None, *, threads: int | None = None) -> FloatArray:
        """Posterior probabilities that two observations are in the same cluster, over all draws of all chains.

        Parameters
        ----------
        rows : array-like (R,) of integers, optional
            Numbers of observations, 0..N-1: only these are compared with each other. Up to 10,000.
        pairs : array-like (P, 2) of integers, optional
            Pairs of observations, in place of ``rows``. Any number of them.
        threads : int, optional
            Threads to use, which changes nothing in the result; all cores by default.

        Returns
        -------
        (N, N), (R, R) or (P,) float64
            Without ``rows`` and ``pairs`` the matrix of all observations, of which there may be 10,000 (800 MB).

        Examples
        --------
        Of the trace and the rows of :func:`gibbs_gmm.fit`'s example:

        >>> trace.similarity(pairs=[[0, 1], [0, 99]])
        array([1., 0.])
        """
        from gibbs_gmm.posterior.partitions import similarity

        return similarity(self, rows, pairs, threads=threads)

    def partition(
        self,
        loss: str | None = None,
        *,
        runs: int = 16,
        max_clusters: int | None = None,
        rng: Any = 0,
        threads: int | None = None,
    ) -> Partition:
        """Who belongs with whom, as one answer, and how surely.

        By default the clusters are the matched components (:meth:`relabel`) of the draws that have the most probable
        number of clusters (of all draws where n was given), and each row is in the cluster that owns it in most of
        these draws. They are the components of :meth:`summary` and of all pictures, with the same numbers.

        With a loss, it is the partition of least expected loss, its mean loss against all draws, that a search finds
        (SALSO, Dahl, Johnson & Mueller 2022). Its number of clusters is its own; a cluster has the number of the
        component with which it shares most rows, and further ones where there is none.

        Parameters
        ----------
        loss : {"vi", "binder", "omari"}, optional
            Variation of information (Meila 2007; Wade & Ghahramani 2018), which tends to make one cluster of
            components that overlap; Binder's (1978) loss, which tends to put uncertain observations into small clusters
            of their own; one minus the adjusted Rand index (Hubert & Arabie 1985; Fritsch & Ickstadt 2009).
        runs : int
            The most searches to make. Fewer are made once four of them agree on the best.
        max_clusters : int, optional
            The most clusters that a search may give; by default as many as any draw has. Binder's loss and omari may
            fall further with more, by very many clusters of one observation.
        rng : int, sequence of ints, SeedSequence, Generator, RandomState or None
            Of the random orders of a search. The default gives the same answer every time.
        threads : int, optional
            Threads to use, which changes nothing in the result; all cores by default.

        Returns
        -------
        Partition
            With ``labels``, the membership ``probabilities`` and ``uncertainty`` of each row, the ``second`` cluster
            that it may be of, and how far each cluster holds together
            (:class:`gibbs_gmm.posterior.clustering.Partition`).

        Warns
        -----
        UserWarning
            The chains have not met; or the number of clusters has a posterior probability below 0.05.

        Examples
        --------
        Of the trace and the rows of :func:`gibbs_gmm.fit`'s example:

        >>> trace.partition()
        <Partition: 2 clusters of 50, 50; matched components>
        >>> float(trace.partition().uncertainty.max())
        0.0
        """
        from gibbs_gmm.posterior.partitions import partition

        warn_if_apart(self, "partition")
        return partition(self, loss, runs=runs, max_clusters=max_clusters, rng=rng, threads=threads)

    @functools.cached_property
    def _partition(self) -> Partition:
        from gibbs_gmm.posterior.clustering import by_components

        return by_components(self)

    def credible_ball(self, level: float = 0.95, partition: Partition | None = None) -> CredibleBall:
        """How sure the partition is: the draws nearest to it that hold a posterior probability of ``level``.

        Wade & Ghahramani (2018). The extremes of this ball say in words what is uncertain: its ``horizontal`` bound is
        the most different partition in it, its ``upper_vertical`` the one with the fewest clusters and its
        ``lower_vertical`` the one with the most.

        Parameters
        ----------
        level : float
            Between 0 and 1.
        partition : Partition, optional
            The centre; by default that of :meth:`partition` with its defaults. Its loss is the distance, or the
            variation of information where it has none.

        Returns
        -------
        CredibleBall

        Examples
        --------
        Of the trace and the rows of :func:`gibbs_gmm.fit`'s example:

        >>> trace.credible_ball(0.9)
        <CredibleBall: 100.0% of the draws are within vi 0 of 2 clusters; they have 2 to 2>
        """
        from gibbs_gmm.posterior.partitions import credible_ball

        warn_if_apart(self, "credible_ball")
        return credible_ball(self, level, partition)

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
