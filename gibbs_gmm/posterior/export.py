"""A trace in the terms of other packages: ArviZ's DataTree and a pandas data frame."""

from __future__ import annotations

from typing import Any

import numpy as np

from gibbs_gmm import checks, trace_arrays
from gibbs_gmm.kernels.types import AnyArray
from gibbs_gmm.optional import needs
from gibbs_gmm.posterior.predict import pointwise_log_density
from gibbs_gmm.posterior.relabel import Relabelling
from gibbs_gmm.trace import Trace

_DIMS = {"sorted_weights": ["rank"], "X": ["row", "column"]}  # of what is in no trace


def to_arviz(trace: Trace, X: Any = None) -> Any:
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
        (:meth:`gibbs_gmm.Trace.relabel`), of one number of them: where n is unknown, from the draws that have the most
        probable number, equally many of each chain, the first; ``draw_of_posterior`` are their numbers. The group is
        missing if some chain has no such draw. ``sample_stats``: lp (log_posterior), total_log_likelihood,
        what is known of n, and assignments, numbered as in ``components`` (larger numbers are components that are none
        of these). With X also ``observed_data`` and ``log_likelihood``, pointwise, from which leave-one-out
        cross-validation follows.
        Dimensions are chain, draw, rank, component, column, column_2 and row (a pandas index is kept).

    Raises
    ------
    ImportError
        ``arviz-base`` is missing: ``pip install 'gibbs-gmm[arviz]'``.
    """
    arviz_base = needs("arviz_base", "arviz", "Trace.to_arviz()")
    relabelling = trace.relabel()
    posterior: dict[str, AnyArray] = {"sorted_weights": np.sort(trace.weights, axis=-1)[..., ::-1]}
    fields = trace_arrays.fields(
        trace.prior, trace.weight_prior.learns_concentration, True, trace.outlier_weight is not None
    )
    posterior |= {field.name: getattr(trace, field.name) for field in fields if field.hyper}
    stats: dict[str, AnyArray] = {"lp": trace.log_posterior, "total_log_likelihood": trace.log_likelihood}
    (posterior if trace.weight_prior.learns_n else stats)["n_components"] = trace.n_components
    (stats if trace.n_is_known else posterior)["n_clusters"] = trace.n_clusters
    matched = relabelling.trace.assignments
    if matched is not None:
        stats["assignments"] = matched
    groups = {"posterior": posterior, "sample_stats": stats}
    components = _components(relabelling)
    share = {"n_components": relabelling.n_matched, "share_of_draws": float(relabelling.counted.mean())}
    if components is not None:
        groups["components"] = components
    coords: dict[str, Any] = {
        "component": np.arange(relabelling.n_matched),
        "rank": np.arange(trace.weights.shape[2]),
        "column": list(trace.columns),
        "column_2": list(trace.columns),
        "row": np.arange(trace.n_rows),
    }
    if X is not None:
        if trace.counts is not None:
            raise ValueError(
                "X must be left out for a trace with counts: leave-one-out is of single observations, and a row stands "
                "for several of them here"
            )
        array = checks.new_data(X, trace.columns, "X", missing=True)
        if len(array) != trace.n_rows:
            raise ValueError(f"X must be the {trace.n_rows} rows that were fitted, got {len(array)}")
        if hasattr(X, "index") and hasattr(X, "columns") and X.index.is_unique:
            coords["row"] = np.asarray(X.index)
        groups["log_likelihood"] = {"X": pointwise_log_density(trace, array)}
        groups["observed_data"] = {"X": np.asarray(array)}
    return arviz_base.from_dict(
        groups,
        coords=coords,
        dims={**{field.name: list(field.axes) for field in fields}, **_DIMS},
        attrs={
            "posterior": {
                "inference_library": "gibbs_gmm",
                "inference_library_version": trace.settings["versions"]["gibbs-gmm"],
                "sampling_time": trace.settings["seconds"],
                "tuning_steps": trace.settings["warmup"],
                "thin": trace.settings["thin"],
            },
            **({} if components is None else {"components": share}),
        },
    )


def _components(relabelling: Relabelling) -> dict[str, AnyArray] | None:
    """Components in the draws that have as many as the reference: of each chain equally many of these, the first."""
    trace, J = relabelling.source, relabelling.n_matched
    least = int(np.count_nonzero(relabelling.counted, axis=1).min())
    if least == 0:  # the chains are apart
        return None
    draws = np.stack([np.flatnonzero(chosen)[:least] for chosen in relabelling.counted])
    chains = np.arange(len(draws))[:, None, None]
    own = (chains, draws[..., None], relabelling.permutation[chains[..., 0], draws][..., :J])
    values = {name: getattr(trace, name)[own] for name in ("weights", "means", "covariances")}
    return {**values, "draw_of_posterior": draws}


def to_dataframe(trace: Trace) -> Any:
    """The trace as a data frame; see :meth:`gibbs_gmm.trace.Trace.to_dataframe`."""
    pandas = needs("pandas", "arviz", "Trace.to_dataframe()")
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
