"""What can be asked of a trace about its clusters: how many, what they are like, which rows they own, how surely."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

from gibbs_gmm.kernels.types import FloatArray
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
    from gibbs_gmm.trace import Trace


class ClusterQuestions:
    """The methods of :class:`gibbs_gmm.Trace` that are about the clusters of the fitted rows."""

    @functools.cached_property
    def headline(self: Trace) -> str:
        """How many clusters, in one sentence: those that hold 90% of the probability, and which of them is shown."""
        from gibbs_gmm.posterior.headline import headline

        return headline(self)

    @property
    def verdict(self: Trace) -> str:
        """What follows :attr:`headline` where the chains have not met; empty where nothing shows that."""
        return "" if self._why_apart is None else "; THE CHAINS HAVE NOT MET: do not use this, see summary()"

    @functools.cached_property
    def _difference(self: Trace) -> Difference | None:
        from gibbs_gmm.posterior.chain_partitions import largest_difference

        return largest_difference(self.assignments)

    @functools.cached_property
    def _partition_scores(self: Trace) -> dict[str, FloatArray]:
        from gibbs_gmm.posterior.partition_scores import partition_scores

        return partition_scores(self.assignments)

    @functools.cached_property
    def _why_apart(self: Trace) -> str | None:
        """Why the chains have not met, if they have not."""
        return why_apart(self)

    @functools.cached_property
    def _warned(self: Trace) -> set[str]:
        """The questions whose answers were warned about, since the chains have not met."""
        return set()

    def n_posterior(self: Trace) -> NPosterior:
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

    def summary(self: Trace) -> Summary:
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

    def relabel(self: Trace, method: str | None = None, X: Any = None) -> Relabelling:
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
    def _relabelling(self: Trace) -> Relabelling:
        from gibbs_gmm.posterior.relabel import relabel

        return relabel(self)

    def partition(
        self: Trace,
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
    def _partition(self: Trace) -> Partition:
        from gibbs_gmm.posterior.clustering import by_components

        return by_components(self)

    def credible_ball(self: Trace, level: float = 0.95, partition: Partition | None = None) -> CredibleBall:
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

    def similarity(self: Trace, rows: Any = None, pairs: Any = None, *, threads: int | None = None) -> FloatArray:
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

    def check(self: Trace, X: Any) -> Check:
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

    def merged(self: Trace) -> Merged:
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
