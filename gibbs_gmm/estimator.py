"""The same as a scikit-learn estimator."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np

from gibbs_gmm import checks
from gibbs_gmm.estimator_base import DensityMixin, GibbsEstimator, check_is_fitted, validate_data
from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray
from gibbs_gmm.posterior import predict
from gibbs_gmm.posterior.matched import matched_components


class GibbsGaussianMixture(DensityMixin, GibbsEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A Bayesian Gaussian mixture whose densities, labels and samples are averages over the whole posterior.

    :func:`gibbs_gmm.fit` behind scikit-learn's interface, for pipelines, cross-validation and grid searches. There is
    no single mixture in it: densities are the posterior predictive, and weights, means and covariances posterior means
    of matched components, those of ``trace_.summary()`` with their numbers.

    Parameters
    ----------
    n_components : int, FiniteMixture, MixtureOfFiniteMixtures, DirichletProcess, PitmanYorProcess or None
        The number of components, or a prior for it and for the weights; None learns it.
    prior, covariance_type : as for :func:`gibbs_gmm.fit`
        Prior and family of the components: "full", "tied", "diag" or "spherical".
    draws, warmup, thin, max_sweeps, chains, threads, progress : as for :func:`gibbs_gmm.fit`
    random_state : int, RandomState or None
        Seed of ``fit`` and of ``sample``. Under an int both give the same every time.

    Attributes
    ----------
    trace_ : Trace
        The posterior.
    labels_ : (n_samples,) int64
        Number of the cluster of each row of the fit, ``trace_.partition().labels``: of the component that owns it in
        most draws; of a row of count 0 that of ``predict``.
    n_components_ : int
        How many components there are: as given, or the most probable number of clusters.
    weights_, means_, covariances_ : (K,), (K, n_features), and scikit-learn's shape for the covariance type, float64
        The covariances of "full" components are (K, n_features, n_features), "tied" (n_features, n_features), "diag"
        (K, n_features), "spherical" (K,). Posterior means of the K = n_components_ components, by decreasing weight.
        Of an unknown number, from the draws that have K; the sum of the weights then lacks that of the unoccupied
        components.
    precisions_ : float64, of the shape of ``covariances_``
        Their inverses.
    converged_ : bool
        Whether there are several chains and they agree.
    n_features_in_ : int
        Number of columns of the fit.
    feature_names_in_ : (n_features_in_,) array of str
        Their names, if they were strings.

    Examples
    --------
    >>> import gibbs_gmm as gg
    >>> import numpy as np
    >>> X = np.concatenate([np.random.default_rng(0).normal(m, 1.0, (50, 2)) for m in (-3.0, 3.0)])
    >>> model = gg.GibbsGaussianMixture(draws=200, warmup=200, random_state=1).fit(X)
    >>> int(model.labels_.max()) + 1
    2
    >>> model.predict_proba([[3.0, 3.0]]).shape
    (1, 3)
    """

    labels_: IntArray
    n_components_: int
    weights_: FloatArray
    means_: FloatArray
    covariances_: FloatArray
    precisions_: FloatArray

    _takes_gaps = True

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Draw from the posterior given the rows of X (n_samples, n_features); y is ignored.

        ``sample_weight`` (n_samples,) are counts, whole numbers of observations that each row stands for: see
        ``counts`` of :func:`gibbs_gmm.fit`. A row of count 0 gets the label that is most probable for a new one.
        """
        checks.column_names(X)
        kinds, least = [np.float64, np.float32], 2 if sample_weight is None else 1
        rows = validate_data(
            self, checks.unmasked(X), dtype=kinds, ensure_min_samples=least, ensure_all_finite="allow-nan"
        )
        counts = None if sample_weight is None else checks.counts(sample_weight, len(rows), "sample_weight")
        return self._fit(rows, self.n_components, counts=counts)

    def _fit(
        self, array: AnyArray, n_components: Any, labels: IntArray | None = None, counts: IntArray | None = None
    ) -> Self:
        """Fit checked rows, of which some labels may be known, or that stand for several observations."""
        names = getattr(self, "feature_names_in_", None)
        self._draw(array, None if names is None else tuple(names), n_components, labels, counts)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # fit() has said that the chains have not met
            own = self.trace_.partition().labels
            if counts is not None and not counts.all():
                present = own
                own = self.trace_.predict(array, threads=self.threads)
                own[counts > 0] = present
            self.labels_ = own
        components, columns = matched_components(self.trace_), np.arange(array.shape[1])
        self.n_components_ = components.K
        self.weights_ = components.weights.mean(0)
        self.means_ = components.means(columns).mean(0)
        self.covariances_ = _shaped(components.covariances(columns).mean(0), self.trace_.prior.covariance_type)
        is_matrix = self.trace_.prior.is_matrix
        self.precisions_ = np.asarray(np.linalg.inv(self.covariances_) if is_matrix else 1.0 / self.covariances_)
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> IntArray:
        """Fit, and give the cluster of each row of X: ``labels_``.

        ``predict`` takes the rows of X for further ones, and may give another cluster where two claim a row about
        equally: see :meth:`gibbs_gmm.trace.Trace.predict_proba`.
        """
        return self.fit(X, sample_weight=sample_weight).labels_

    def score_samples(self, X: Any) -> FloatArray:
        """Log posterior predictive density of each row of X, (n_samples,)."""
        rows = self._rows(X)
        return self.trace_.log_density(rows, threads=self.threads)

    def score(self, X: Any, y: Any = None) -> float:
        """Mean log posterior predictive density of the rows of X; y is ignored."""
        return float(self.score_samples(X).mean())

    def predict_proba(self, X: Any) -> FloatArray:
        """Probability that each row is of each cluster, and in the last column that it is of none of them.

        See :meth:`gibbs_gmm.trace.Trace.predict_proba`.
        """
        rows = self._rows(X)
        return self.trace_.predict_proba(rows, threads=self.threads)

    def predict(self, X: Any) -> IntArray:
        """Most probable cluster of each row of X, or -1 where none of the clusters is most probable, (n_samples,)."""
        rows = self._rows(X)
        return self.trace_.predict(rows, threads=self.threads)

    def sample(self, n_samples: int = 1) -> tuple[FloatArray, IntArray]:
        """Rows (n_samples, n_features) from the posterior predictive, and the component of each, -1 for none."""
        check_is_fitted(self)
        X, draw, component = predict.sample(self.trace_, n_samples, self._seed())
        cluster, _, J = predict.clusters_of_components(self.trace_, None)
        unoccupied = np.full((len(cluster) * cluster.shape[1], 1), J)
        labels = np.hstack([cluster.reshape(len(unoccupied), -1), unoccupied])[draw, component]
        return X, np.where(labels == J, -1, labels)

    def bic(self, X: Any) -> float:
        """Not defined: BIC is a figure of one best mixture, and this is a posterior over all of them."""
        raise NotImplementedError(
            "bic() is not defined for a posterior: to compare numbers of components, leave n_components out and read "
            "trace_.n_posterior(), or compare gibbs_gmm.log_evidence(X, range(1, 11)), of which BIC is an approximation"
        )

    def aic(self, X: Any) -> float:
        """Not defined: AIC is a figure of one best mixture, and this is a posterior over all of them."""
        raise NotImplementedError(
            "aic() is not defined for a posterior: to compare predictions, use score() on rows held out, or "
            "arviz_stats.loo(trace_.to_arviz(X)), of which AIC is an approximation"
        )


def _shaped(covariances: FloatArray, covariance_type: str) -> FloatArray:
    """Covariances (K, D, D) in the shape that scikit-learn has for this type."""
    if covariance_type == "full":
        return covariances
    if covariance_type == "tied":
        tied: FloatArray = covariances[0]
        return tied
    variances = np.diagonal(covariances, axis1=1, axis2=2).copy()
    return variances if covariance_type == "diag" else variances[:, 0].copy()
