"""The report of a run: one HTML file that holds its pictures and needs nothing else, for a person to read.

Everything that came from outside (names of columns and files, arguments) is escaped on its way in.
"""

from __future__ import annotations

import base64
import html
import io
import json
import math
import shlex
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from gibbs_gmm.command_line import output_folder, report_check
from gibbs_gmm.command_line.findings import Findings
from gibbs_gmm.kernels.types import AnyArray
from gibbs_gmm.model.weight_priors import to_dict
from gibbs_gmm.posterior.agreement import R_HAT_LIMIT, alarms
from gibbs_gmm.posterior.clustering import Partition, contradiction
from gibbs_gmm.posterior.headline import LEVEL
from gibbs_gmm.posterior.relabel import AMBIGUOUS_LIMIT
from gibbs_gmm.posterior.wording import html_table, percent

if TYPE_CHECKING:
    from gibbs_gmm.command_line.output_folder import Command

_UNSURE = 0.1  # uncertainty of a row from which it is listed
_MAX_LISTED = 20  # uncertain rows, and numbers of clusters
_LONG_TEXT = 24  # characters of a cell that may be broken into lines
_MAX_RANGES = 24  # of rows in a cluster
_ENDED = {
    "converged": "the chains agree, and there are enough draws",
    "max_sweeps": "its budget of sweeps is spent",
    "draws": "all draws that were asked for are there",
    "interruption": "it was interrupted",
}
_LONG = '<td class="text">'
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; line-height: 1.25; } h2 { font-size: 1.3rem; margin-top: 2.5rem; }
.lead { font-size: 1.1rem; } .small { color: #555; font-size: .875rem; }
.warning { border-left: .3rem solid #d55e00; background: #fdf1e7; padding: .6rem 1rem; margin: 1rem 0; }
figure { margin: 1rem 0; } img { max-width: 100%; height: auto; } figcaption { color: #555; font-size: .875rem; }
figure.similarity, figure.density { max-width: 40rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .875rem; margin: .5rem 0; }
th, td { padding: .15rem .6rem; text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
td.text { white-space: normal; text-align: left; } thead th { border-bottom: 1px solid #999; }
tbody th { text-align: left; font-weight: normal; } tbody tr:nth-child(even) { background: #f5f5f5; }
pre { background: #f5f5f5; padding: .6rem 1rem; overflow-x: auto; white-space: pre-wrap; font-size: .875rem; }
"""


def pictures(findings: Findings) -> dict[str, bytes]:
    """The pictures of a report as PNG files, by name; those that there is nothing to draw for are left out.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    from gibbs_gmm import plots

    trace, X = findings.trace, findings.X
    wanted: dict[str, tuple[Any, ...]] = {
        "n_posterior": (plots.n_posterior, findings.n_posterior),
        "pairs": (plots.pairs, trace, X),
        "chains": (plots.chains, trace),
    }
    if len(trace.columns) <= 2:
        wanted["density"] = (plots.density, trace, X)
    if findings.partition is not None:
        wanted["similarity"] = (plots.similarity, trace)
    wanted |= report_check.pictures(findings)
    result = {}
    for name, (plot, *args) in wanted.items():
        buffer = io.BytesIO()
        plots.save(buffer, plot, *args)
        result[name] = buffer.getvalue()
    return result


def render(findings: Findings, images: dict[str, bytes], command: Command) -> str:
    """The report as the text of an HTML file.

    Parameters
    ----------
    findings : Findings
        What to tell.
    images : dict
        What :func:`pictures` gave; empty for a report without.
    command : Command
        How the run came to be.
    """
    sections = (
        ("How many clusters, and how sure is that?", _how_many),
        ("What do they look like?", _what),
        ("Who belongs where, and who is uncertain?", _who),
        ("Did the chains agree?", _chains),
    )
    body = list(_head(findings, command))
    for title, section in sections:
        body += [f"<h2>{html.escape(title)}</h2>", *section(findings, images)]
    body += ["<h2>What was run, and how to run it again</h2>", *_again(findings, command)]
    if not images:
        body.append(_p("The report has no pictures: plots need matplotlib, pip install 'gibbs-gmm[plots]'.", "small"))
    title = html.escape(f"Clusters in {command.source}")
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"/>\n<title>{title}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n" + "\n".join(body) + "\n</body>\n</html>\n"
    )


# --- Sections ---------------------------------------------------------------------------------------------------------


def _head(findings: Findings, command: Command) -> Iterator[str]:
    """The answers in a few sentences, and what keeps a reader from believing them."""
    trace, partition = findings.trace, findings.partition
    N, D = trace.settings["n_observations"], len(trace.columns)
    yield f"<h1>Clusters in {html.escape(command.source)}</h1>"
    yield _p(f"{N:,} rows and {_count(D, 'column')}: {_list(trace.columns)}.", "small")
    for message in _alarms(findings):
        yield f'<div class="warning">{html.escape(message)}</div>'
    yield _p(_number_sentence(findings), "lead")
    if partition is not None:
        unsure = int(np.count_nonzero(partition.uncertainty >= _UNSURE))
        text = f"The rows fall into {_count(partition.n_clusters, 'cluster')}, of {_list(partition.sizes)} rows. "
        text += f"{_count(unsure, 'row')} ({percent(unsure / N)})" if unsure else "No row"
        yield _p(f"{text} may belong elsewhere, with an uncertainty of {_UNSURE} or more.", "lead")
        if (against := contradiction(trace, partition)) is not None:
            yield f'<div class="warning">{html.escape(against)}</div>'
    if not _alarms(findings):
        yield _p(_agreement(findings), "lead")


def _how_many(findings: Findings, images: dict[str, bytes]) -> Iterator[str]:
    posterior = findings.n_posterior
    yield _p(
        "The number of clusters, n+, counts the components that own at least one of these rows; the number of "
        "components, n, also counts those that none of these rows is from. Priors are what was believed before the "
        "data: where a posterior only repeats its prior, the data have not spoken."
    )
    yield from _figure(
        images,
        "n_posterior",
        "Posterior probabilities beside prior ones. Thin lines: two Monte-Carlo standard errors to either side. "
        "Circles: each chain alone.",
    )
    header, rows = posterior.text()
    visible = posterior.visible()
    most = max(_MAX_LISTED, visible.stop - visible.start + 2)
    more = () if len(rows) <= most else ("Each larger number has a probability below 0.005.",)
    remarks = (*filter(None, (posterior.note,)), *more)
    yield f'<div class="wide">{html_table(header, rows[:most], remarks)}</div>'


def _what(findings: Findings, images: dict[str, bytes]) -> Iterator[str]:
    trace, kinds = findings.trace, findings.components
    if not trace.n_is_known and kinds.share < 1.0:
        yield _p(
            f"What follows is from the {percent(kinds.share)} of draws with {_count(kinds.K, 'cluster')}, the most "
            "probable number. Components are matched across draws, since their numbers mean nothing by themselves."
        )
    if kinds.ambiguous_share > AMBIGUOUS_LIMIT:
        yield (
            '<div class="warning">'
            + html.escape(
                f"In {percent(kinds.ambiguous_share)} of draws it is not clear which component is which: they overlap, "
                "or split in several ways. Intervals of single components mean little here; the density of the whole "
                "mixture and the clusters of rows below do not depend on it."
            )
            + "</div>"
        )
    yield from _figure(
        images,
        "pairs",
        "Rows, coloured by the component they belong to most often; ellipses hold 90% of each component, thick for the "
        "posterior mean and thin for single draws, whose spread is the uncertainty; grey areas are the density of the "
        "whole mixture. On the diagonal, each column's histogram, the mixture with its 90% band, and the components.",
    )
    yield _p("Each component: its weight, and mean and standard deviation in each column, with 90% intervals.")
    yield f'<div class="wide">{_component_table(findings)}</div>'
    yield _p(f"All of these, and covariances, with R-hat and effective sample sizes: {output_folder.SUMMARY}.", "small")
    what = "The predictive density: where the next row would be."
    if len(trace.columns) == 2:
        what += " Areas hold 50%, 80% and 95% of the next rows; lines are the 95% of single draws."
    yield from _figure(images, "density", what)
    yield from report_check.section(findings, partial(_figure, images))


def _who(findings: Findings, images: dict[str, bytes]) -> Iterator[str]:
    partition = findings.partition
    if partition is None:
        yield _p("This run did not keep which row belongs to which component (--no-assignments).")
        return
    given = "" if findings.trace.n_is_known else f", given that there are {_count(findings.components.K, 'cluster')}"
    yield _p(
        "A row is in the cluster of the component that owns it in most of the draws that the components above are "
        f"from; its uncertainty is the probability that another one does{given}. Rows are counted from 0, the first "
        "below the names of columns."
    )
    yield _p(
        "Whether a cluster is one is a question of its own, answered from all draws. Together: the probability that "
        "two of its rows are in one component; where it is low, rows are uncertain or the cluster may be two. Nearest: "
        "the other cluster with whose rows its own are together most, and how much; where that is high, it may be part "
        "of it."
    )
    header = ("cluster", "rows", "share", "mean uncertainty", "together", "nearest", "which")
    rows = []
    for j, k in enumerate(partition.numbers):
        members = np.flatnonzero(partition.labels == k)
        other = int(partition.nearest[j])
        between = float(partition.together[j, np.searchsorted(partition.numbers, other)]) if other >= 0 else 0.0
        rows.append(
            (
                str(k),
                f"{len(members):,}",
                percent(len(members) / len(partition.labels)),
                f"{partition.uncertainty[members].mean():.3f}",
                f"{partition.cohesion[j]:.2f}",
                f"{other} ({between:.2f})" if between >= 0.005 else "-",
                _ranges(members),
            )
        )
    yield f'<div class="wide">{_table(header, rows)}</div>'
    yield from _figure(
        images,
        "similarity",
        "The probability that two rows are in one component, over all draws. Dark squares are clusters that hold "
        "together; pale parts inside a square are rows that may be split off, and dark parts outside are clusters that "
        "may be one.",
    )
    yield from _uncertain(findings, partition)
    yield _p(f"Cluster, uncertainty and second cluster of every row: {output_folder.CLUSTERS}.", "small")


def _uncertain(findings: Findings, partition: Partition) -> Iterator[str]:
    """The least certain rows, and where else they might belong."""
    unsure = np.flatnonzero(partition.uncertainty >= _UNSURE)
    if len(unsure) == 0:
        yield _p(f"No row has an uncertainty of {_UNSURE} or more.")
        return
    worst = unsure[np.argsort(-partition.uncertainty[unsure], kind="stable")][:_MAX_LISTED]
    many = f", the {len(worst)} least certain of which are" if len(worst) < len(unsure) else ""
    yield _p(f"{_count(len(unsure), 'row')} with an uncertainty of {_UNSURE} or more{many}:")
    shown = findings.components.telling_columns(6)
    header = ["row", *(findings.trace.columns[d] for d in shown), "cluster", "uncertainty", "or of", "probability"]
    rows = []
    for row in worst:
        other = int(partition.second[row])
        second = (str(other), f"{partition.probabilities[row, other]:.2f}") if other >= 0 else ("-", "-")
        values = (f"{findings.X[row, d]:.6g}" for d in shown)
        rows.append((str(row), *values, str(partition.labels[row]), f"{partition.uncertainty[row]:.2f}", *second))
    yield f'<div class="wide">{_table(header, rows)}</div>'


def _chains(findings: Findings, images: dict[str, bytes]) -> Iterator[str]:
    trace, summary = findings.trace, findings.summary
    yield _p(_agreement(findings))
    messages = dict.fromkeys((*summary.messages, *findings.n_posterior.messages))
    for message in messages:
        if message not in _alarms(findings):
            yield _p(message)
    yield from _figure(
        images,
        "chains",
        "Left: the draws of each chain and their mean (counts are moved a little, to be seen); all chains should look "
        "alike. Right: how the draws of each chain rank among all; flat where the chains agree.",
    )
    first = summary.name.index("log_likelihood")
    header = ("", "mean", "sd", "5%", "95%", "R-hat", "effective draws")
    rows = []
    for r in range(first, len(summary)):
        scale = summary.sd[r]
        numbers = (_number(float(x), scale) for x in (summary.mean[r], scale, summary.q05[r], summary.q95[r]))
        r_hat = "-" if math.isnan(summary.r_hat[r]) else f"{summary.r_hat[r]:.3f}"
        ess = np.fmin(summary.ess_bulk[r], summary.ess_tail[r])
        rows.append((summary.name[r], *numbers, r_hat, "-" if math.isnan(ess) else f"{ess:,.0f}"))
    yield f'<div class="wide">{html_table(header, rows, ())}</div>'
    C, T = trace.log_likelihood.shape
    yield _p(f"{_count(C, 'chain')} of {_count(T, 'draw')}; quantities that do not depend on labels.", "small")


def _again(findings: Findings, command: Command) -> Iterator[str]:
    trace = findings.trace
    settings, prior = trace.settings, trace.prior
    yield f"<pre>{html.escape(shlex.join(['gibbs-gmm', *command.arguments]))}</pre>"
    yield _p(
        "This gives the same draws again, on one kind of processor. In Python, gibbs_gmm.load("
        f"{output_folder.TRACE!r}) reads them, and this report is made again by: gibbs-gmm report FOLDER."
    )
    versions = ", ".join(f"{name} {version}" for name, version in settings.get("versions", {}).items())
    facts = {
        "model": findings.trace.weight_prior.describe(),
        "prior of the weights": json.dumps(to_dict(trace.weight_prior)),
        "components": f"covariance_type={prior.covariance_type!r}: {prior.law}",
        "its values": f"{prior.describe()}; mu_0 = {_vector(prior.mu_0)}; {prior.scale_text(_vector)}",
        "columns used": ", ".join(trace.columns),
        "columns left out": "; ".join(f"{name}: {why}" for name, why in command.left_out.items()) or "none",
        "sweeps": f"{settings.get('warmup', '?')} of warm-up, then one in {settings.get('thin', 1)} is kept",
        "ended by": _ENDED.get(settings.get("stopped_by", ""), "?"),
        "seed": str(settings.get("seed")),
        "took": f"{settings['seconds']:.1f} s, {settings.get('threads', '?')} threads"
        if "seconds" in settings
        else "?",
        "versions": versions or "?",
    }
    yield f'<div class="wide">{_table(("", ""), list(facts.items()))}</div>'


# --- Sentences --------------------------------------------------------------------------------------------------------


def _alarms(findings: Findings) -> list[str]:
    """What a reader must know before anything else: chains that have not met, runs that were cut short."""
    return list(alarms((*findings.summary.messages, *findings.n_posterior.messages)))


def _number_sentence(findings: Findings) -> str:
    """The headline of the trace, and what it means."""
    trace, meaning = findings.trace, ""
    if not trace.weight_prior.n_is_finite:
        meaning = " (Under a process, this number grows with the number of rows.)"
    elif not trace.n_is_known:
        meaning = f" The numbers that are named hold {percent(LEVEL)} or more of the posterior probability."
    return f"{trace.headline}.{meaning}"


def _agreement(findings: Findings) -> str:
    """Whether the chains agree, in numbers."""
    summary, C = findings.summary, len(findings.trace.log_likelihood)
    free = slice(summary.name.index("log_likelihood"), None)
    r_hat, ess = summary.r_hat[free], np.fmin(summary.ess_bulk[free], summary.ess_tail[free])
    if C == 1:
        return "There is one chain, so nothing shows whether it has converged."
    if not np.isfinite(r_hat).any() or not np.isfinite(ess).any():
        return "There are too few draws to tell whether the chains agree."
    worst = float(np.nanmax(r_hat))
    agree = "agree" if worst <= R_HAT_LIMIT and not _alarms(findings) else "do not agree"
    return (
        f"The {C} chains {agree}: the largest R-hat of quantities that do not depend on labels is {worst:.3f} (1 is "
        f"perfect, above {R_HAT_LIMIT} is bad), the least effective number of draws {np.nanmin(ess):,.0f}."
    )


# --- Pieces of HTML ---------------------------------------------------------------------------------------------------


def _component_table(findings: Findings) -> str:
    trace, kinds = findings.trace, findings.components
    everything = np.arange(len(trace.columns))
    means = kinds.means(everything)
    spreads = np.stack([np.sqrt(kinds.covariances(everything[[d]])[..., 0, 0]) for d in everything], -1)
    header = ["component", *map(str, range(kinds.K))]
    rows = [("weight", *(_interval(kinds.weights[:, k]) for k in range(kinds.K)))]
    for d, name in enumerate(trace.columns):
        for what, values in (("mean", means), ("sd", spreads)):
            rows.append((f"{name}, {what}", *(_interval(values[:, k, d]) for k in range(kinds.K))))
    return _table(header, rows)


def _interval(draws: AnyArray) -> str:
    """Posterior mean and 90% interval."""
    scale = float(draws.std())
    low, high = (_number(float(x), scale) for x in np.quantile(draws, [0.05, 0.95]))
    return f"{_number(float(draws.mean()), scale)} ({low} to {high})"


def _figure(images: dict[str, bytes], name: str, caption: str) -> Iterator[str]:
    if name in images:
        data = base64.b64encode(images[name]).decode("ascii")
        text = html.escape(caption)
        yield (
            f'<figure class="{html.escape(name)}"><img src="data:image/png;base64,{data}" alt="{html.escape(name)}"/>'
            f"<figcaption>{text}</figcaption></figure>"
        )


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; long texts in it may be broken into lines."""
    head = "".join(f"<th>{html.escape(str(cell))}</th>" for cell in header)
    body = ""
    for first, *cells in rows:
        body += f"<tr><th>{html.escape(first)}</th>"
        for cell in cells:
            body += f"{_LONG if len(cell) > _LONG_TEXT else '<td>'}{html.escape(cell)}</td>"
        body += "</tr>"
    top = f"<thead><tr>{head}</tr></thead>" if any(header) else ""
    return f"<table>{top}<tbody>{body}</tbody></table>"


def _p(text: str, kind: str = "") -> str:
    return f"<p{f' class={json.dumps(kind)}' if kind else ''}>{html.escape(text)}</p>"


def _ranges(rows: AnyArray) -> str:
    """Numbers in increasing order, runs of them as ranges, the first of very many."""
    starts = np.flatnonzero(np.r_[True, np.diff(rows) > 1])
    ends = np.r_[starts[1:], len(rows)] - 1
    parts = [
        str(rows[a]) if a == b else f"{rows[a]}-{rows[b]}" for a, b in zip(starts[:_MAX_RANGES], ends, strict=False)
    ]
    return ", ".join(parts) + (", ..." if len(starts) > _MAX_RANGES else "")


def _number(value: float, scale: float) -> str:
    """A number to two significant digits of ``scale``; four digits where that says nothing; - for none."""
    if math.isnan(value):
        return "-"
    if not (math.isfinite(scale) and scale > 0.0):
        return f"{value:.4g}"
    decimals = 1 - math.floor(math.log10(scale))
    return f"{value:.{decimals}f}" if 0 <= decimals <= 6 and abs(value) < 1e7 else f"{value:.4g}"


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'s'[: n != 1]}"


def _list(values: Iterable[object]) -> str:
    texts = [str(value) for value in values]
    if len(texts) > 20:
        texts = [*texts[:20], "..."]
    return ", ".join(texts)


def _vector(values: AnyArray) -> str:
    return f"({_list(f'{value:.6g}' for value in values)})"


def _is_diagonal(A: AnyArray) -> bool:
    return bool((np.diag(np.diagonal(A)) == A).all())
