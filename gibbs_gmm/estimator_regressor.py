"""Regression by a mixture, as a scikit-learn estimator."""

from __future__ import annotations

from typing import Any

import numpy as np

from gibbs_gmm import checks
from gibbs_gmm.estimator_base import GibbsEstimator, MultiOutputMixin, RegressorMixin, validate_data
from gibbs_gmm.kernels.types import FloatArray
from gibbs_gmm.posterior.conditional import Conditional, conditional


class GibbsMixtureRegressor(MultiOutputMixin, RegressorMixin, GibbsEstimator):  # type: ignore[misc]  # has no types
    """Regression by the posterior of a Gaussian mixture of X and y together.

    Given x, y is a mixture of linear regressions whose weights depend on x, averaged over the whole posterior: curved,
    with several modes and a spread that changes with x where the data say so, and wide far from all rows of the fit.
    It is :meth:`gibbs_gmm.Trace.conditional` behind scikit-learn's interface.

    Parameters
    ----------
    n_components, prior, covariance_type : as for :class:`gibbs_gmm.GibbsGaussianMixture`
        Of the mixture of the columns of X and of y, in this order. Within a component of "diag" or "spherical"
        covariances y does not depend on x.
    draws, warmup, thin, max_sweeps, chains, threads, progress : as for :func:`gibbs_gmm.fit`
    random_state : int, RandomState or None
        Seed of ``fit``.

    Attributes
    ----------
    trace_ : Trace
        The posterior. Its columns are those of X, then those of y: named as they are, or "y", or "y0", "y1", ...
    converged_ : bool
        Whether there are several chains and they agree.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : (n_features_in_,) array of str
        Their names, if they were strings.

    Examples
    --------
    >>> import gibbs_gmm as gg
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-2.0, 2.0, (200, 1))
    >>> y = np.abs(X[:, 0]) + 0.1 * rng.standard_normal(200)
    >>> model = gg.GibbsMixtureRegressor(draws=200, warmup=200, random_state=1).fit(X, y)
    >>> model.predict([[-1.5], [1.5]]).round(1)
    array([1.5, 1.5])
    >>> low, high = model.predict_quantiles([[-1.5], [1.5]], [0.05, 0.95])
    >>> bool((low > 1.2).all() and (high < 1.8).all())
    True
    """

    def fit(self, X: Any, y: Any) -> GibbsMixtureRegressor:
        """Draw from the posterior given the rows of X (n_samples, n_features) and y (n_samples,) or (n_samples, T)."""
        checks.column_names(X)
        own = _names(y)
        y = checks.real_numbers(y, "y") if y is not None and np.asarray(y).dtype.kind in "OUS" else y
        X, y = validate_data(
            self,
            checks.unmasked(X),
            checks.unmasked(y),
            dtype=[np.float64, np.float32],
            multi_output=True,
            y_numeric=True,
            ensure_min_samples=2,
        )
        self._is_one = y.ndim == 1
        names = tuple(getattr(self, "feature_names_in_", [f"x{d}" for d in range(X.shape[1])]))
        usual = ("y",) if self._is_one else tuple(f"y{t}" for t in range(y.shape[1]))
        apart = (names + targets for targets in (own, usual) if targets and not set(names) & set(targets))
        self._draw(np.column_stack([X, y]), next(apart, None), self.n_components)
        return self

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Posterior predictive means of y.

        Parameters
        ----------
        X : array-like (n_samples, n_features)
        return_std : bool
            Whether standard deviations of new y, noise included, are returned too.

        Returns
        -------
        (n_samples,) or (n_samples, T) float64, as y was; or a pair of such arrays
        """
        given = self._given(X)
        mean = self._shaped(given.mean())
        return (mean, self._shaped(given.std())) if return_std else mean

    def predict_quantiles(self, X: Any, q: Any) -> FloatArray:
        """Posterior predictive quantiles of each column of y.

        Parameters
        ----------
        X : array-like (n_samples, n_features)
        q : float, or (Q,) array-like
            Between 0 and 1, exclusive.

        Returns
        -------
        (n_samples,) or (n_samples, T) float64, as y was; of an array q (Q, n_samples) or (Q, n_samples, T)
        """
        return self._shaped(self._given(X).quantile(q))

    def sample_y(self, X: Any, n_samples: int = 1, random_state: Any = 0) -> FloatArray:
        """Draws of y from the posterior predictive, each independent of all others.

        Parameters
        ----------
        X : array-like (n_samples_X, n_features)
        n_samples : int
            Draws for each row.
        random_state : int, RandomState or None
            Seed; None is fresh entropy.

        Returns
        -------
        (n_samples_X, n_samples) or (n_samples_X, T, n_samples) float64, as y was
            The axes of scikit-learn's GaussianProcessRegressor, whose rows depend on each other.
        """
        drawn = self._given(X).sample(n_samples, random_state)
        return self._shaped(np.moveaxis(drawn, 0, -1), 1)

    def _given(self, X: Any) -> Conditional:
        rows = self._rows(X)
        return conditional(self.trace_, dict(enumerate(rows.T)))

    def _shaped(self, values: FloatArray, axis: int = -1) -> FloatArray:
        """Without the axis of the columns of y, if y had none."""
        return np.asarray(values.squeeze(axis)) if self._is_one else values


def _names(y: Any) -> tuple[str, ...] | None:
    """The names of the columns of y, if they have some; masked arrays are refused."""
    names, name = checks.column_names(y, "y"), getattr(y, "name", None)
    return (name,) if names is None and isinstance(name, str) and name else names
