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
from gibbs_gmm.model.weight_priors import WeightPrior
from gibbs_gmm.posterior.agreement import warn_if_apart, why_apart

if TYPE_CHECKING:
    from gibbs_gmm.posterior.chain_partitions import Difference
    from gibbs_gmm.posterior.clustering import Partition
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
        ``1 - weights.sum(-1)`` is what components without observations hold.
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
    n_components, n_clusters : (C, T) int64
        Components of the mixture, and those of them that own at least one observation. Under a Dirichlet or Pitman-Yor
        process the mixture has infinitely many, and n_components counts those that the sampler had to look at: it
        means nothing.
    log_likelihood : (C, T) float64
        sum_i log sum_k w_k N(x_i | mu_k, Sigma_k): the density of the data, in units of X, labels summed out; each N
        averaged over the cell of the value, as ``prior.resolution`` has it.
    log_posterior : (C, T) float64
        log_likelihood + log prior density of weights, means and covariances (the posterior density up to a constant).
        Of different numbers of components, and so of different dimensions, these densities cannot be compared.
    concentration, kappa_0 : (C, T) float64; Psi_0 : (C, T, D, D) float64; b_0 : (C, T, D) (diag), (C, T); or None
        The hyperparameters that are learned; None where they are fixed, or the family has none of that name.
    columns : tuple of str
        Names of the D columns of X ("x0", "x1", ... if it had none).
    prior : NormalInverseWishart or NormalInverseGamma
        Prior of the components, as used. Its ``covariance_type`` is that of the trace.
    weight_prior : FiniteMixture, MixtureOfFiniteMixtures, DirichletProcess or PitmanYorProcess
        Prior of the number of components and their weights.
    settings : dict
        n_observations, draws, warmup, thin, chains, seed (entropy of the SeedSequence), seconds, versions,
        interrupted.
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
    kappa_0: FloatArray | None = None
    Psi_0: FloatArray | None = None
    b_0: FloatArray | None = None
    columns: tuple[str, ...]
    prior: ComponentPrior
    weight_prior: WeightPrior
    settings: dict[str, Any]

    def __post_init__(self) -> None:
        for name, array in self.arrays().items():
            view = array.view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)
        object.__setattr__(self, "covariances", self.prior.matrices(self))

    def arrays(self) -> dict[str, AnyArray]:
        """The arrays that it stores, by name."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        if self.prior.covariance_type != "full":
            del values["covariances"]
        return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}

    def permuted(self, order: IntArray) -> Trace:
        """The trace with component ``order[c, t, k]``, (C, T, K), of each draw in place k. Labels stay as they were."""
        moved: dict[str, Any] = {}
        for field in self.prior.fields() + trace_arrays.ALWAYS:
            if field.per_slot:
                array = getattr(self, field.name)
                moved[field.name] = np.take_along_axis(array, order.reshape(*order.shape, *[1] * (array.ndim - 3)), 2)
        return dataclasses.replace(self, **moved)

    def __repr__(self) -> str:
        C, T, _, D = self.means.shape
        N = self.settings["n_observations"]
        counts = f"{C} chain{'s'[: C > 1]} x {T} draw{'s'[: T > 1]} of {N} rows x {D} column{'s'[: D > 1]}"
        return f"<Trace: {counts}: {self.headline}{self.verdict}>"

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

    def n_posterior(self) -> NPosterior:
        """How many components and clusters there are: a table of p(n) and p(n+), beside their priors.

        With Monte-Carlo standard errors, and p(n+) of each chain, so that it shows where chains disagree. See
        :class:`gibbs_gmm.posterior.n_posterior.NPosterior`.
        """
        from gibbs_gmm.posterior.n_posterior import tabulate

        return tabulate(self)

    def summary(self) -> Summary:
        """Table of weights, means and covariances per component, with R-hat and effective sample sizes.

        Components are matched across draws and chains first; label-invariant quantities come with it, and a plain
        warning where the chains disagree. See :class:`gibbs_gmm.posterior.summary.Summary`.
        """
        from gibbs_gmm.posterior.summary import summarize

        return summarize(self)

    def relabel(self, method: str | None = None, X: Any = None) -> Relabelling:
        """Components matched across draws and chains, and how surely: ``trace.relabel().trace`` is relabelled.

        By equivalence classes representatives ("ecr", the default), by Stephens' (2000) Kullback-Leibler algorithm
        ("kl", which needs the data X) or, without assignments, by the divergence of Gaussians ("divergence"). See
        :func:`gibbs_gmm.posterior.relabel.relabel`.
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

        Each of up to 100 draws says which rows a component owns. If the model is right these are normal, and a test of
        that is as exact as on a simple sample (Johnson 2007). Draws are put together with their correlation (Hartung
        1999), and p-values adjusted for the number of tests (Holm 1979). Clusters of fewer than D + 1 rows or of
        repeated values are named, and so are clusters that may be one kind and columns to take logarithms of.

        Parameters
        ----------
        X : array-like (N, D) or (N,)
            The rows of the fit, which a trace does not hold. Of more than 20,000 as many are drawn.

        Returns
        -------
        Check
            See :class:`gibbs_gmm.posterior.model_check.Check`; its ``messages`` are in plain words.

        Raises
        ------
        ValueError
            X is not of the shape of the fit, or the trace has no assignments.

        Examples
        --------
        >>> import gibbs_gmm as gg
        >>> import numpy as np
        >>> X = np.random.default_rng(0).standard_t(3, (200, 1))
        >>> gg.fit(X, 1, draws=50, warmup=50, rng=1).check(X).messages[0]
        'Cluster 0 has heavier tails than a normal in x0.'
        """
        from gibbs_gmm.posterior.model_check import check

        return check(self, X)

    def merged(self) -> Merged:
        """Clusters merged two at a time, from all down to one, and what each step costs: an aid to reading.

        For kinds that are not normal, of which a mixture makes several clusters. The clusters are those of
        :meth:`summary`. Merged are the two whose merging lowers the entropy of who belongs where most (Baudry, Raftery,
        Celeux, Lo & Gottardo 2010), or the nearest two where no row is between any.

        Returns
        -------
        Merged
            ``merged.labels(k)`` is the partition with k clusters. See :class:`gibbs_gmm.posterior.merging.Merged`.

        Raises
        ------
        ValueError
            The trace has no assignments.

        Examples
        --------
        >>> import gibbs_gmm as gg
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> X = np.concatenate([rng.exponential(1.0, (100, 2)), 20.0 + rng.normal(size=(100, 2))])
        >>> merged = gg.fit(X, 4, draws=200, warmup=500, rng=1).merged()
        >>> np.bincount(merged.labels(2))[np.unique(merged.labels(2))]
        array([100, 100])
        """
        from gibbs_gmm.posterior.merging import merged

        return merged(self)

    def log_density(self, X_new: Any, *, threads: int | None = None) -> FloatArray:
        """Log posterior predictive density of new rows, averaged over all draws of all chains.

        log (1 / C T) sum over draws of sum_k w_k N(x | mu_k, Sigma_k). What components without observations hold
        counts: where a trace does not have them (n unknown) it is the prior predictive, a multivariate t at the draw's
        hyperparameters, with weight ``1 - weights.sum(-1)``.

        Parameters
        ----------
        X_new : array-like (N_new, D) or, for D = 1, (N_new,)
            At least one row, of what ``fit`` takes; a data frame must have the columns of the fit, in any order.
        threads : int, optional
            Threads to use; by default one per available core. The result does not depend on it.

        Returns
        -------
        (N_new,) float64
            In units of X. Memory beyond it is bounded.

        Raises
        ------
        TypeError, ValueError
            Bad input; the message names the argument, what was seen and what is wanted.
        """
        from gibbs_gmm.posterior.predict import log_density

        return log_density(self, X_new, threads)

    def pointwise_log_density(self, X: Any, *, threads: int | None = None) -> FloatArray:
        """Log density of each row under each draw: for WAIC and LOO, and for bands about a density.

        Averaged over draws (its exponential, not itself) it is :meth:`log_density`. Of the rows of the fit it is the
        pointwise log likelihood. For exact values (``resolution=0``) and a known number of components its sum over them
        is ``log_likelihood``; for an unknown one it differs a little, since ``log_likelihood`` has the components
        without observations as they were drawn, and here they are integrated out.

        Parameters
        ----------
        X, threads : as for :meth:`log_density`

        Returns
        -------
        (C, T, N) float64
            8 C T N bytes: pass some of the rows where that is too much.
        """
        from gibbs_gmm.posterior.predict import pointwise_log_density

        return pointwise_log_density(self, X, threads)

    def predict_proba(self, X_new: Any, reference: Any = None, *, threads: int | None = None) -> FloatArray:
        """Probability that a new row belongs to each cluster, or to none of them.

        Column j is p(cluster j | x) = E[sum of w_k N(x | mu_k, Sigma_k) over the k that are cluster j] / E[density of
        x], expectations over draws: the row itself, as one more observation, says which draws to believe. By default
        the clusters are those of :meth:`partition`, the matched components of the draws that have the most probable
        number of them, and these draws count. Rows of the fit are in the draws already, and would count twice: their
        probabilities are ``partition().probabilities``, and the two may differ on which cluster is the larger where a
        row has about the same probability of two.

        Parameters
        ----------
        X_new, threads : as for :meth:`log_density`
        reference : Relabelling, Partition or (N,) integers, optional
            Other matched components; or other clusters 0, 1, ..., J-1 of the fitted rows. A component of any draw then
            stands for the cluster that most of its observations are in, and all draws count.

        Returns
        -------
        (N_new, J + 1) float64
            Rows sum to 1. The last column is for none of the J clusters: a kind that no fitted row is of.
        """
        from gibbs_gmm.posterior.predict import predict_proba

        warn_if_apart(self, "predict")
        return predict_proba(self, X_new, reference, threads)

    def predict(self, X_new: Any, reference: Any = None, *, threads: int | None = None) -> IntArray:
        """Most probable cluster of each new row: the column of :meth:`predict_proba` that is largest.

        Of the rows of the fit it is, but for rows that two clusters claim about equally, that of :meth:`partition`.

        Returns
        -------
        (N_new,) int64
            The number of a cluster, or -1 where none of them is most probable. (-1 is the last column.)
        """
        from gibbs_gmm.posterior.predict import predict

        warn_if_apart(self, "predict")
        return predict(self, X_new, reference, threads)

    def sample(self, n: int, rng: Any = None) -> FloatArray:
        """New rows from the posterior predictive distribution.

        Independent of each other given the trace: each is of a draw chosen at random.

        Parameters
        ----------
        n : int
            How many.
        rng : int, sequence of ints, SeedSequence, Generator or None
            Seed.

        Returns
        -------
        (n, D) float64
        """
        from gibbs_gmm.posterior.predict import sample

        warn_if_apart(self, "sample")
        return sample(self, n, rng)[0]

    def to_arviz(self, X: Any = None) -> Any:
        """The trace as an ArviZ DataTree, for ``arviz_stats`` (``summary``, ``loo``) and ``arviz_plots``.

        Parameters
        ----------
        X : array-like (N, D) or (N,), optional
            The rows of the fit, which a trace does not hold.

        Returns
        -------
        xarray.DataTree
            ``posterior`` has what does not depend on labels, from all draws: sorted_weights (by decreasing weight in
            each draw), the hyperparameters that are learned and, where n is unknown, n_components (not of a process)
            and n_clusters. ``components`` has weights, means and covariances of the matched components
            (:meth:`relabel`), of one number of them: where n is unknown from draws that have the most probable number,
            of each chain equally many, the first, whose numbers are ``draw_of_posterior``; the group is missing if some
            chain has none. ``sample_stats``: lp (log_posterior), total_log_likelihood, what is known of n, and
            assignments, numbers as in ``components`` (larger ones are components that are none of these). With X also
            ``observed_data`` and ``log_likelihood``, pointwise, from which leave-one-out cross-validation follows.
            Dimensions are chain, draw, rank, component, column, column_2 and row (a pandas index is kept).

        Raises
        ------
        ImportError
            ``arviz-base`` is missing: ``pip install 'gibbs-gmm[arviz]'``.
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

        By default the clusters are the components, matched (:meth:`relabel`), of the draws that have as many of them as
        is most probable - of all draws where n was given - and each row is in the one that owns it in most of these
        draws. They are the components of :meth:`summary` and of all pictures, with their numbers.

        With a loss, it is the partition of least expected loss, its mean loss against all draws, that a search finds.
        Its number of clusters is its own; they have the number of the component that they are, others further ones.
        The search is SALSO (Dahl, Johnson & Mueller 2022): several runs, each of which allocates the observations one
        after the other in random order, then moves single ones until none would, and then destroys and allocates single
        clusters anew. Some runs start from the draws that are the best answers themselves. The best of all is returned.

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
        rng : int, SeedSequence, Generator or None
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
            See :class:`gibbs_gmm.posterior.partitions.CredibleBall`.
        """
        from gibbs_gmm.posterior.partitions import credible_ball

        warn_if_apart(self, "credible_ball")
        return credible_ball(self, level, partition)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the trace to one ``.npz`` file: plain arrays and a JSON text, no pickle.

        The file appears whole or not at all: it is written beside its place, flushed to disk and renamed.
        """
        from gibbs_gmm.storage.trace_file import save

        save(self, path)
