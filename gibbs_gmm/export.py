"""A trace in the terms of other packages: ArviZ's DataTree and a pandas data frame."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from gibbs_gmm import validate
from gibbs_gmm.kernels.types import AnyArray
from gibbs_gmm.predict import pointwise_log_density
from gibbs_gmm.trace import Trace
from gibbs_gmm.weight_priors import MixtureOfFiniteMixtures

_DIMS = {
    "weights": ["component"],
    "means": ["component", "column"],
    "covariances": ["component", "column", "column_2"],
    "Psi_0": ["column", "column_2"],
    "assignments": ["row"],
    "X": ["row", "column"],
}


def to_arviz(trace: Trace, X: Any = None) -> Any:
    """The trace as an ArviZ DataTree; see :meth:`gibbs_gmm.trace.Trace.to_arviz`."""
    arviz_base = _optional("arviz_base", "to_arviz")
    matched = trace.relabel().trace
    posterior: dict[str, AnyArray] = {name: getattr(matched, name) for name in ("weights", "means", "covariances")}
    for name in ("concentration", "kappa_0", "Psi_0"):
        if getattr(trace, name) is not None:
            posterior[name] = getattr(trace, name)
    stats: dict[str, AnyArray] = {"lp": trace.log_posterior, "log_likelihood": trace.log_likelihood}
    learned = isinstance(trace.weight_prior, MixtureOfFiniteMixtures) and not trace.n_is_known
    (posterior if learned else stats)["n_components"] = trace.n_components
    (stats if trace.n_is_known else posterior)["n_clusters"] = trace.n_clusters
    if matched.assignments is not None:
        stats["assignments"] = matched.assignments
    groups = {"posterior": posterior, "sample_stats": stats}
    coords: dict[str, Any] = {
        "component": np.arange(trace.weights.shape[2]),
        "column": list(trace.columns),
        "column_2": list(trace.columns),
        "row": np.arange(trace.settings["n_observations"]),
    }
    if X is not None:
        array = validate.new_data(X, trace.columns, "X")
        if len(array) != trace.settings["n_observations"]:
            raise ValueError(
                f"X must be the {trace.settings['n_observations']} rows that were fitted, got {len(array)}"
            )
        if hasattr(X, "index") and hasattr(X, "columns") and X.index.is_unique:
            coords["row"] = np.asarray(X.index)
        groups["log_likelihood"] = {"X": pointwise_log_density(trace, array)}
        groups["observed_data"] = {"X": np.asarray(array)}
    return arviz_base.from_dict(
        groups,
        coords=coords,
        dims=_DIMS,
        attrs={
            "posterior": {
                "inference_library": "gibbs_gmm",
                "inference_library_version": trace.settings["versions"]["gibbs-gmm"],
                "sampling_time": trace.settings["seconds"],
                "tuning_steps": trace.settings["warmup"],
                "thin": trace.settings["thin"],
            }
        },
    )


def to_dataframe(trace: Trace) -> Any:
    """The trace as a data frame; see :meth:`gibbs_gmm.trace.Trace.to_dataframe`."""
    pandas = _optional("pandas", "to_dataframe")
    matched, names, D = trace.relabel().trace, trace.columns, len(trace.columns)
    chain, draw, component = np.nonzero(~np.isnan(matched.means[..., 0]))
    own = (chain, draw, component)
    frame = {"chain": chain, "draw": draw, "component": component, "weight": matched.weights[own]}
    frame |= {f"mean[{names[i]}]": matched.means[..., i][own] for i in range(D)}
    frame |= {
        f"covariance[{names[i]}, {names[j]}]": matched.covariances[..., i, j][own]
        for i in range(D)
        for j in range(i, D)
    }
    for name in ("n_components", "n_clusters", "log_likelihood", "log_posterior", "concentration", "kappa_0"):
        if getattr(trace, name) is not None:
            frame[name] = getattr(trace, name)[chain, draw]
    return pandas.DataFrame(frame)


def _optional(module: str, function: str) -> Any:
    """An optional package, or a message that names the extra that brings it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"Trace.{function} needs the package {module!r}; install it with: pip install 'gibbs-gmm[arviz]'"
        ) from error
