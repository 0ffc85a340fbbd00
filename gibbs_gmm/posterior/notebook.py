"""What a notebook shows of a trace and of its answers: a sentence, and a table that a person reads."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from gibbs_gmm.kernels.types import FloatArray, IntArray
from gibbs_gmm.posterior.wording import count, html_table, listed, percent

if TYPE_CHECKING:
    from gibbs_gmm.compare import Comparison
    from gibbs_gmm.evidence import Evidence
    from gibbs_gmm.posterior.clustering import Partition
    from gibbs_gmm.posterior.n_posterior import NPosterior
    from gibbs_gmm.posterior.partitions import CredibleBall
    from gibbs_gmm.trace import Trace

_QUICK = 20_000_000  # labels that are looked at without being asked to
_DOUBT = 0.1  # uncertainty of a row from which on it is in doubt
_MOST_CLUSTERS = 30
_LIKE = ((0.05, "almost the same"), (0.15, "similar"), (0.35, "different"), (math.inf, "very different"))

_UNIT = {
    "vi": "bits (variation of information)",
    "binder": "of all pairs of rows (Binder's loss)",
    "omari": "(one less the adjusted Rand index)",
}


def trace_html(trace: Trace) -> str:
    """How many clusters, what there is of each, and what to ask next."""
    C, T, _, D = trace.means.shape
    N, kind = trace.settings["n_observations"], "row" if trace.counts is None else "observation"
    size = f"{count(C, 'chain')} of {count(T, 'draw')} each, from {count(N, kind)} and {count(D, 'column')}"
    parts = [_p(f"<strong>{html.escape(trace.headline)}</strong>{html.escape(trace.verdict)}"), _p(size)]
    quick = trace.assignments is not None and trace.assignments.size <= _QUICK
    if quick and not trace.verdict:
        parts.append(_clusters_table(trace._partition))
    ask = ["n_posterior()", "summary()", "partition()", "relabel()", "log_density(X_new)", "predict(X_new)"]
    parts.append(_p("Ask it: " + ", ".join(f"<code>.{question}</code>" for question in ask)))
    return "".join(parts)


def partition_html(partition: Partition) -> str:
    """Who is in which cluster, and how surely."""
    N = len(partition.labels)
    unsure = int(np.count_nonzero(partition.uncertainty >= _DOUBT))
    text = f"<strong>{count(N, 'row')} in {count(partition.n_clusters, 'cluster')}</strong>; "
    text += f"{count(unsure, 'row')} may be of another with a probability of {_DOUBT:.0%} or more" if unsure else ""
    parts = [_p(text if unsure else f"{text}none is in doubt")]
    if partition.loss is not None and partition.expected_loss is not None:
        far = f"{partition.expected_loss:.3g} {_UNIT[partition.loss]}"
        far += f", {_how_far(partition.expected_loss, partition.loss, N)}"
        parts.append(_p(f"It has the least expected loss: the mean distance of a draw from it is {far}."))
    parts.append(_clusters_table(partition))
    return "".join(parts)


def ball_html(ball: CredibleBall) -> str:
    """How far draws are from the partition, in words and on the scale of the distance, and the extremes."""
    centre = ball.partition
    N = len(centre.labels)
    text = (
        f"<strong>{percent(ball.probability)} of the draws are within {ball.radius:.3g} {_UNIT[ball.loss]} of the "
        f"partition with {count(centre.n_clusters, 'cluster')}</strong>: {_how_far(ball.radius, ball.loss, N)}."
    )
    header = ("of these draws", "clusters", "rows in other clusters", "distance")
    bounds = (
        ("the most different", ball.horizontal, ball.horizontal_distance),
        ("with the fewest clusters", ball.upper_vertical, ball.upper_vertical_distance),
        ("with the most clusters", ball.lower_vertical, ball.lower_vertical_distance),
    )
    rows = []
    for name, labels, distance in bounds:
        moved = int(np.count_nonzero(labels[0] != centre.labels))
        clusters = f"{len(np.unique(labels[0]))}"
        far = f"{distance:.3g}, {_how_far(distance, ball.loss, N)}"
        rows.append((name, clusters, f"{moved:,} ({percent(moved / N)})", far))
    return _p(text) + html_table(header, rows, ())


def n_posterior_html(posterior: NPosterior, remarks: Iterable[str]) -> str:
    """How many, in a sentence, and the numbers that have a probability worth showing."""
    best = int(posterior.p_n_clusters.argmax())
    after, before = float(posterior.p_n_clusters[best]), float(posterior.prior_n_clusters[best])
    text = f"<strong>{count(int(posterior.n[best]), 'cluster')}: {percent(after)}</strong>"
    if not math.isnan(before):
        text += f", and {percent(before)} before the data"
    header, columns = ["number"], [[str(n) for n in posterior.n]]
    kinds = (
        ("components", posterior.p_n_components, posterior.se_n_components, posterior.prior_n_components),
        ("clusters", posterior.p_n_clusters, posterior.se_n_clusters, posterior.prior_n_clusters),
    )
    for name, p, se, prior in kinds:
        if p is not None and se is not None and prior is not None:
            header += [name, "before the data"]
            columns += [_percents(p, se), _percents(prior, np.full(len(prior), np.nan))]
    if len(posterior.p_n_clusters_by_chain) > 1:
        header.append("clusters, chain by chain")
        low, high = (f(posterior.p_n_clusters_by_chain, axis=0) for f in (np.min, np.max))
        columns.append([f"{100 * a:.1f}% to {100 * b:.1f}%" for a, b in zip(low, high, strict=True)])
    rows = list(zip(*columns, strict=True))[posterior.visible()]
    notes = (
        "Components: of the mixture; clusters: those of them that own rows. Plus or minus: Monte-Carlo standard error.",
    )
    return _p(text) + html_table(header, rows, (*remarks, *notes))


def _percents(p: FloatArray, se: FloatArray) -> list[str]:
    return [
        "-" if math.isnan(x) else f"{100 * x:.1f}%" if math.isnan(error) else f"{100 * x:.1f}% ± {100 * error:.1f}"
        for x, error in zip(p.tolist(), se.tolist(), strict=True)
    ]


def comparison_html(comparison: Comparison, notes: Iterable[str]) -> str:
    """Which family and number are most probable, and the evidence of all of them."""
    family, n = comparison.best
    p = float(np.nanmax(comparison.posterior))
    text = f"<strong>{html.escape(family)} covariances, {count(n, 'component')}: {percent(p)}</strong>"
    rows = []
    for r, number in enumerate(comparison.n_components):
        cells = [str(number)]
        for f in range(len(comparison)):
            value, error = comparison.log_evidence[f, r], comparison.standard_error[f, r]
            share = comparison.posterior[f, r]
            known = f"{value:.2f} \N{PLUS-MINUS SIGN} {error:.2f} ({percent(float(share))})"
            cells.append("-" if math.isnan(value) else known)
        rows.append(tuple(cells))
    header = ("components", *(f"log evidence, {name}" for name in comparison.covariance_types))
    return _p(text) + html_table(header, rows, tuple(notes))


def evidence_html(evidence: Evidence, notes: Iterable[str]) -> str:
    """Which n the data speak for, in a sentence, and all of them in a table."""
    value = evidence.log_evidence
    p = evidence.posterior()
    parts = []
    if np.isfinite(p).all():
        order = np.argsort(-p, kind="stable")
        named = [f"{count(int(evidence.n_components[j]), 'component')} ({percent(float(p[j]))})" for j in order[:3]]
        parts.append(_p(f"<strong>{listed(named)}</strong>, if all were equally probable before the data."))
    highest = value[np.isfinite(value)].max(initial=-np.inf)
    rows = [
        (f"{n}", f"{x:.3f}", f"{error:.3f}", f"{x - highest:.2f}", f"{share:.3f}")
        for n, x, error, share in zip(evidence.n_components, value, evidence.standard_error, p, strict=True)
    ]
    header = ("n", "log p(X | n)", "standard error", "less the highest", "p(n | X)")
    return "".join(parts) + html_table(header, rows, tuple(notes))


def _clusters_table(partition: Partition) -> str:
    """A line for each cluster: its rows, how many are in doubt, and what it may be part of."""
    header = ("cluster", f"{partition.unit}s", "share", "in doubt", "two rows together", "may be one with")
    sizes, rows = partition.sizes, []
    for j, k in enumerate(partition.numbers[:_MOST_CLUSTERS]):
        own = partition.labels == k
        other = int(partition.nearest[j])
        between = float(partition.together[j, np.searchsorted(partition.numbers, other)]) if other >= 0 else 0.0
        rows.append(
            (
                str(k),
                f"{int(sizes[j]):,}",
                percent(float(sizes[j] / sizes.sum())),
                f"{np.count_nonzero(partition.uncertainty[own] >= _DOUBT):,}",
                f"{partition.cohesion[j]:.2f}",
                f"{other} ({between:.2f})" if between >= 0.005 else "-",
            )
        )
    more = _more(partition.numbers)
    notes = ("Two rows together: the probability that two rows of the cluster are in one component, over all draws.",)
    return html_table(header, rows, (*more, *notes))


def _more(numbers: IntArray) -> tuple[str, ...]:
    rest = len(numbers) - _MOST_CLUSTERS
    return () if rest <= 0 else (f"And {count(rest, 'cluster')} more.",)


def _how_far(value: float, loss: str, N: int) -> str:
    """A distance between partitions in words and on its scale."""
    largest = {"vi": math.log2(N), "binder": 1.0 - 1.0 / N, "omari": 1.0}[loss]
    share = value / largest if largest > 0.0 else 0.0
    if value <= 0.0:
        return "the same"
    words = next(text for limit, text in _LIKE if share <= limit)
    return f"{words} ({percent(share)} of the farthest there is)"


def _p(text: str) -> str:
    return f"<p>{text}</p>"
