"""What the scikit-learn estimators share: their parameters, the fit, and the checks of rows.

They import from here what they need of scikit-learn, so that its absence is said in one place.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from gibbs_gmm import checks
from gibbs_gmm.fitting import fit
from gibbs_gmm.kernels.types import AnyArray, IntArray
from gibbs_gmm.model.families import ComponentPrior
from gibbs_gmm.model.weight_priors import WeightPrior
from gibbs_gmm.trace import Trace

try:
    from sklearn.base import BaseEstimator
    from sklearn.base import ClassifierMixin as ClassifierMixin
    from sklearn.base import DensityMixin as DensityMixin
    from sklearn.base import MultiOutputMixin as MultiOutputMixin
    from sklearn.base import RegressorMixin as RegressorMixin
    from sklearn.utils.multiclass import check_classification_targets as check_classification_targets
    from sklearn.utils.validation import check_is_fitted as check_is_fitted
    from sklearn.utils.validation import validate_data as validate_data
except ImportError as error:
    raise ImportError(
        "the estimators need scikit-learn 1.6 or newer; install it with: pip install 'gibbs-gmm[sklearn]'"
    ) from error


class GibbsEstimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Parameters of :func:`gibbs_gmm.fit` as those of an estimator, and the posterior that it holds."""

    def __init__(
        self,
        n_components: int | WeightPrior | None = None,
        *,
        prior: ComponentPrior | None = None,
        covariance_type: str | None = None,
        draws: int | None = None,
        warmup: int | None = None,
        thin: int | None = None,
        max_sweeps: int | None = None,
        chains: int = 4,
        random_state: Any = None,
        threads: int | None = None,
        progress: bool = False,
    ) -> None:
        self.n_components = n_components
        self.prior = prior
        self.covariance_type = covariance_type
        self.draws = draws
        self.warmup = warmup
        self.thin = thin
        self.max_sweeps = max_sweeps
        self.chains = chains
        self.random_state = random_state
        self.threads = threads
        self.progress = progress

    trace_: Trace
    converged_: bool

    _takes_gaps = False
    """Whether rows may lack values, NaN."""

    def _draw(
        self,
        rows: AnyArray,
        columns: tuple[str, ...] | None,
        n_components: Any,
        labels: IntArray | None = None,
        counts: IntArray | None = None,
    ) -> None:
        """Set ``trace_``, the posterior given rows (N, D) whose columns have these names, and ``converged_``.

        ``labels`` and ``counts`` (N,) are as for :func:`gibbs_gmm.fit`.
        """
        trace = fit(
            rows,
            n_components,
            prior=self.prior,
            covariance_type=self.covariance_type,
            labels=labels,
            counts=counts,
            draws=self.draws,
            warmup=self.warmup,
            thin=self.thin,
            max_sweeps=self.max_sweeps,
            chains=self.chains,
            rng=self._seed(),
            threads=self.threads,
            progress=self.progress,
        )
        self.trace_ = trace if columns is None else dataclasses.replace(trace, columns=columns)
        self.converged_ = self.trace_.verdict == "" and len(self.trace_.log_likelihood) > 1

    def _rows(self, X: Any) -> AnyArray:
        """Rows like those of the fit, with their columns in its order."""
        check_is_fitted(self)
        names, wanted = checks.column_names(X), getattr(self, "feature_names_in_", None)
        if names is not None and wanted is not None and names != tuple(wanted) and set(names) == set(wanted):
            X = X[list(wanted)]
        kinds, finite = [np.float64, np.float32], "allow-nan" if self._takes_gaps else True
        array: AnyArray = validate_data(self, checks.unmasked(X), dtype=kinds, reset=False, ensure_all_finite=finite)
        return array

    def _seed(self) -> Any:
        """``random_state`` as ``rng`` of :func:`gibbs_gmm.fit`; a RandomState is advanced."""
        if isinstance(self.random_state, np.random.RandomState):
            return self.random_state.randint(0, 2**31, size=4).tolist()
        return self.random_state
