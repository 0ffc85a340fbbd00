"""Classes of which some rows are known, as a scikit-learn classifier."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from gibbs_gmm import checks
from gibbs_gmm.estimator import GibbsGaussianMixture
from gibbs_gmm.estimator_base import ClassifierMixin, check_classification_targets, validate_data
from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray
from gibbs_gmm.model.weight_priors import WeightPrior


class GibbsGaussianMixtureClassifier(ClassifierMixin, GibbsGaussianMixture):  # type: ignore[misc]  # it has no types
    """A semi-supervised Bayesian classifier: a Gaussian for each class, and rows of unknown class count too.

    :func:`gibbs_gmm.fit` with ``labels``, behind scikit-learn's interface. With all classes known it is Bayesian
    quadratic discriminant analysis. As in ``sklearn.semi_supervised``, a target of -1 (or, of strings, "") is unknown.

    Parameters
    ----------
    n_components : int, FiniteMixture, MixtureOfFiniteMixtures, DirichletProcess, PitmanYorProcess or None
        By default, and at least, there are as many as classes. A larger number, or a prior for it, allows for further
        kinds among the rows of unknown class; probabilities of classes are then given that a row is of one of them,
        and ``trace_.predict_proba`` has those of the other kinds.
    prior, covariance_type, draws, warmup, thin, max_sweeps, chains, threads, progress, random_state
        As for :class:`GibbsGaussianMixture`. "tied" makes it linear discriminant analysis.

    Attributes
    ----------
    classes_ : (n_classes,) array
        The known classes, sorted; class j is component j of every draw.
    trace_ : Trace
        The posterior.
    labels_, n_components_, weights_, means_, covariances_, precisions_, converged_, n_features_in_, feature_names_in_
        As for :class:`GibbsGaussianMixture`; the classes come first, in their order.

    Examples
    --------
    >>> import gibbs_gmm as gg
    >>> import numpy as np
    >>> X = np.concatenate([np.random.default_rng(0).normal(m, 1.0, (50, 2)) for m in (-3.0, 3.0)])
    >>> y = np.full(100, -1)
    >>> y[[0, 50]] = 7, 3
    >>> model = gg.GibbsGaussianMixtureClassifier(draws=200, warmup=200, random_state=1).fit(X, y)
    >>> model.classes_, model.predict([[-3.0, -3.0], [3.0, 3.0]])
    (array([3, 7]), array([7, 3]))
    """

    classes_: AnyArray

    def fit(self, X: Any, y: Any = None) -> Self:  # type: ignore[override]  # no counts beside known labels
        """Draw from the posterior given rows X (n_samples, n_features) and classes y (n_samples,), -1 if unknown."""
        checks.column_names(X)
        kinds, finite = [np.float64, np.float32], "allow-nan"
        array, y = validate_data(
            self, checks.unmasked(X), y, dtype=kinds, ensure_min_samples=2, ensure_all_finite=finite
        )
        _refuse_missing(y)
        known = y != ("" if y.dtype.kind in "OUS" and all(isinstance(value, str) for value in y) else -1)
        if not known.any():
            raise ValueError("y must have at least one known class, got -1 (unknown) for every row")
        _refuse_mixed(y[known])
        check_classification_targets(y[known])
        self.classes_, codes = np.unique(y[known], return_inverse=True)
        labels = np.full(len(y), -1, np.int64)
        labels[known] = codes
        n_components = 1 if self.n_components is None else self.n_components
        if not isinstance(n_components, WeightPrior):
            n_components = max(checks.integer("n_components", n_components, 1), len(self.classes_))
        return self._fit(array, n_components, labels)

    def fit_predict(self, X: Any, y: Any = None) -> IntArray:  # type: ignore[override]
        """Fit, and give the class of each row of X, as :meth:`predict` does."""
        return self.fit(X, y).predict(X)

    def predict_proba(self, X: Any) -> FloatArray:
        """Probability that each row is of each class, (n_samples, n_classes), given that it is of one of them."""
        proba = super().predict_proba(X)[:, : len(self.classes_)]
        total = proba.sum(1, keepdims=True)
        # Where further kinds have all of the probability, to the last digit, nothing tells the classes apart.
        return np.where(total > 0.0, proba / np.where(total > 0.0, total, 1.0), 1.0 / len(self.classes_))

    def predict(self, X: Any) -> AnyArray:
        """The most probable class of each row of X, (n_samples,)."""
        proba = self.predict_proba(X)
        return np.asarray(self.classes_[proba.argmax(1)])


def _refuse_missing(y: AnyArray) -> None:
    """Refuse what is missing among classes that are objects: of numbers scikit-learn does."""
    for row, value in enumerate(y if y.dtype.kind == "O" else ()):
        if value is None or type(value).__name__ in ("NAType", "NaTType") or value != value:
            raise ValueError(f'y must be -1 where a class is unknown, or "" among text, got {value} in row {row}')


def _refuse_mixed(classes: AnyArray) -> None:
    """Refuse text and numbers side by side, which have no order."""
    kinds = sorted({type(value).__name__ for value in classes} if classes.dtype.kind == "O" else ())
    if "str" in kinds and len(kinds) > 1:
        raise TypeError(f"y must hold classes of one kind, got {', '.join(kinds)}: make text of all of them")
