"""What can be asked of a trace about rows, new ones above all: densities, clusters, missing values, samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gibbs_gmm.kernels.types import FloatArray, IntArray
from gibbs_gmm.posterior.agreement import warn_if_apart

if TYPE_CHECKING:
    from gibbs_gmm.posterior.conditional import Conditional
    from gibbs_gmm.posterior.impute import Imputation
    from gibbs_gmm.trace import Trace


class RowQuestions:
    """The methods of :class:`gibbs_gmm.Trace` that are about rows, those of the fit or others."""

    def log_density(
        self: Trace, X_new: Any, *, errors: Any = None, threads: int | None = None, device: str = "cpu"
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

    def pointwise_log_density(self: Trace, X: Any, *, errors: Any = None, threads: int | None = None) -> FloatArray:
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
        self: Trace,
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
        self: Trace,
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

    def outlier_probability(self: Trace, X_new: Any = None, *, threads: int | None = None) -> FloatArray:
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

    def impute(self: Trace, X: Any, *, errors: Any = None, labels: Any = None) -> Imputation:
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

    def sample(self: Trace, n: int, rng: Any = None) -> FloatArray:
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

    def conditional(self: Trace, given: Any) -> Conditional:
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
