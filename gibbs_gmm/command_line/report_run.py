"""The part of the report on the run: how many clusters, whether the chains agree, and how to run it again."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from gibbs_gmm.command_line import output_folder
from gibbs_gmm.command_line.findings import Findings
from gibbs_gmm.command_line.html_pieces import escape, figure, fold, p, table
from gibbs_gmm.kernels.types import AnyArray
from gibbs_gmm.model.weight_priors import to_dict
from gibbs_gmm.posterior.agreement import R_HAT_LIMIT, Alarm
from gibbs_gmm.posterior.agreement import alarms as agreement_alarms
from gibbs_gmm.posterior.wording import count, listed, number, percent

if TYPE_CHECKING:
    from gibbs_gmm.command_line.output_folder import Command

_MAX_NUMBERS = 20  # of clusters
_MOST_LOOKED_AT = 2  # quantities beside the log likelihood whose draws are shown
_ENDED = {
    "converged": "agreement of the chains, with enough effective draws",
    "max_sweeps": "its budget of sweeps",
    "draws": "the number of draws that was asked for",
    "interruption": "an interruption",
}


def alarms(findings: Findings) -> list[str]:
    """What a reader must know before anything else: chains that have not met, runs that were cut short."""
    return list(agreement_alarms((*findings.summary.messages, *findings.n_posterior.messages)))


# --- How many ---------------------------------------------------------------------------------------------------------


def how_many(findings: Findings, images: dict[str, bytes]) -> Iterator[str]:
    """The posterior of the number of clusters, in a sentence, a picture and a table."""
    posterior = findings.n_posterior
    shown = np.argsort(-posterior.p_n_clusters, kind="stable")[:4]
    parts = [
        f"{count(int(posterior.n[place]), 'cluster')}: {percent(float(posterior.p_n_clusters[place]))}"
        for place in shown
        if posterior.p_n_clusters[place] >= 0.005
    ]
    finding = f"The probability of each number of clusters: {', '.join(parts)}."
    if findings.trace.n_is_known:
        finding = f"The number was given. The probability that so many own rows: {', '.join(parts)}."
    yield p(finding)
    yield figure(
        images,
        "n_posterior",
        _most_probable(findings),
        "Posterior probabilities beside prior ones. Thin lines: two Monte-Carlo standard errors to either side. "
        "Circles: each run alone.",
        finding,
    )
    header, rows = posterior.text()
    visible = posterior.visible()
    most = max(_MAX_NUMBERS, visible.stop - visible.start + 2)
    inside = [
        p(
            "The number of clusters, n+, counts the components that own at least one of these rows; the number of "
            "components, n, also counts those that none of these rows is from. Priors are what was believed before "
            "the data: where a posterior only repeats its prior, the data have not spoken."
        ),
        table(header, rows[:most]),
    ]
    if len(rows) > most:
        inside.append(p("Each larger number has a probability below 0.005."))
    if posterior.note:
        inside.append(p(posterior.note))
    yield fold("All probabilities, with priors and standard errors", inside)


def _most_probable(findings: Findings) -> str:
    """The most probable number of clusters, and whether it was so before the data."""
    posterior = findings.n_posterior
    best = int(posterior.p_n_clusters.argmax())
    text = f"{count(int(posterior.n[best]), 'cluster')} are most probable".replace("1 cluster are", "1 cluster is")
    before = float(posterior.prior_n_clusters[best])
    after = percent(float(posterior.p_n_clusters[best]))
    return f"{text}, {after}." if math.isnan(before) else f"{text}: {after}, and {percent(before)} before the data."


# --- Do the runs agree? -----------------------------------------------------------------------------------------------


def verdict(findings: Findings) -> str:
    """Whether the chains agree, in words."""
    trace = findings.trace
    C, T = trace.log_likelihood.shape
    if C == 1:
        return "There is one run, so nothing shows whether it has found everything there is: make 4."
    if alarms(findings):
        return f"No: the {C} runs do not agree, and what they found is mixed here. Do not use it; run longer."
    starts = (
        "which began from different groupings of the rows"
        if trace.n_is_known
        else "which began from one cluster, from many and from numbers between"
    )
    if not np.isfinite(_invariant(findings)[0]).any():
        return f"There are too few draws ({T} for each run) to tell whether the {C} runs agree."
    return f"The {C} runs, {starts}, agree."


def agreement(findings: Findings, images: dict[str, bytes]) -> Iterator[str]:
    """The verdict; numbers and pictures behind it for who wants them."""
    trace, summary = findings.trace, findings.summary
    C, T = trace.log_likelihood.shape
    yield p(verdict(findings))
    said = (*alarms(findings), *trace.settings.get("notes", ()))  # at the head of the page
    for message in dict.fromkeys((*summary.messages, *findings.n_posterior.messages)):
        if message not in said and not isinstance(message, Alarm):
            yield p(message)
    r_hat, ess = _invariant(findings)
    inside = []
    if np.isfinite(r_hat).any():
        inside.append(
            p(
                f"Runs are called chains. The largest R-hat of quantities that do not depend on the numbers of "
                f"clusters is {np.nanmax(r_hat):.3f} (1 is perfect, above {R_HAT_LIMIT} is bad), the least effective "
                f"number of draws {np.nanmin(ess):,.0f}: as many independent draws would be as precise."
            )
        )
    inside += [
        figure(
            images,
            "chains",
            "The runs look alike." if not alarms(findings) and C > 1 else "The draws of each run.",
            "The log likelihood, the number of clusters and, of the other quantities below, the one with the largest "
            "R-hat, where they vary. "
            "Left: the draws of each chain and their mean (counts are moved a little, to be seen); all chains should "
            "look alike. Right: how the draws of each chain rank among all; flat where the chains agree.",
        ),
        _invariants_table(findings),
        p(f"{count(C, 'chain')} of {count(T, 'draw')}; quantities that do not depend on labels.", "small"),
    ]
    yield fold("The numbers behind this: R-hat, effective draws, traces", inside)


def _invariant(findings: Findings) -> tuple[AnyArray, AnyArray]:
    """R-hat and the smaller effective sample size of the quantities that do not depend on labels."""
    summary = findings.summary
    free = slice(summary.name.index("log_likelihood"), None)
    return summary.r_hat[free], np.fmin(summary.ess_bulk[free], summary.ess_tail[free])


def looked_at(findings: Findings) -> list[str]:
    """The quantities whose draws are shown: the log likelihood, n+, and what else the chains agree least in."""
    summary = findings.summary
    r_hat, first = _invariant(findings)[0], summary.name.index("log_likelihood")
    free, varies = summary.name[first:], summary.sd[first:] > 0.0
    order = sorted(range(1, len(free)), key=lambda row: (free[row] != "n_clusters", -np.nan_to_num(r_hat[row])))
    return ["log_likelihood", *[free[row] for row in order if varies[row]][:_MOST_LOOKED_AT]]


def _invariants_table(findings: Findings) -> str:
    summary = findings.summary
    rows = []
    for r in range(summary.name.index("log_likelihood"), len(summary)):
        scale = summary.sd[r]
        numbers = (number(float(x), scale) for x in (summary.mean[r], scale, summary.q05[r], summary.q95[r]))
        r_hat = "-" if math.isnan(summary.r_hat[r]) else f"{summary.r_hat[r]:.3f}"
        ess = np.fmin(summary.ess_bulk[r], summary.ess_tail[r])
        rows.append((summary.name[r], *numbers, r_hat, "-" if math.isnan(ess) else f"{ess:,.0f}"))
    return table(("", "mean", "sd", "5%", "95%", "R-hat", "effective draws"), rows)


# --- Again ------------------------------------------------------------------------------------------------------------


def again(findings: Findings, command: Command) -> Iterator[str]:
    """What was run, in words, and the command to paste; priors and versions for who wants them."""
    trace = findings.trace
    settings = trace.settings
    C, T = trace.log_likelihood.shape
    yield p(
        f"The model: {trace.weight_prior.describe()}. Each cluster is a normal distribution (a bell, in "
        f"{count(len(trace.columns), 'column')}). "
        f"{count(C, 'run')} of {count(T, 'draw')} each were made."
    )
    yield p("To make the same draws again, on one kind of processor, paste:")
    yield f"<pre>{escape(shlex.join(['gibbs-gmm', *command.arguments]))}</pre>"
    yield p(
        f"In Python, gibbs_gmm.load({output_folder.TRACE!r}) reads them, and this report is made again by: gibbs-gmm "
        "report FOLDER."
    )
    if command.notes:
        yield (
            "<p>How the file was read:</p><ul>"
            + "".join(f"<li>{escape(note)}</li>" for note in command.notes)
            + "</ul>"
        )
    versions = ", ".join(f"{name} {version}" for name, version in settings.get("versions", {}).items())
    facts = {
        "columns used": ", ".join(trace.columns),
        "columns left out": "; ".join(f"{name}: {why}" for name, why in command.left_out.items()) or "none",
        "prior of the weights": ", ".join(f"{name} {_value(x)}" for name, x in to_dict(trace.weight_prior).items()),
        "prior of the clusters": trace.prior.describe(),
        **{f"its {name}": text for name, x in trace.prior.to_dict().items() if (text := _value(x)) != "None"},
        "sweeps": f"{settings.get('warmup', '?')} of warm-up, then one in {settings.get('thin', 1)} is kept",
        "ended by": _ENDED.get(settings.get("stopped_by", ""), "?"),
        "seed": str(settings.get("seed")),
        "took": f"{settings['seconds']:.1f} s, {count(settings.get('threads', 1), 'thread')}"
        if "seconds" in settings
        else "?",
        "versions": versions or "?",
    }
    yield fold("Priors, settings and versions", [table(("", ""), list(facts.items()), "facts")])


def _value(value: Any) -> str:
    """A parameter of a prior: a number, a vector, the diagonal of a matrix, or what else it is."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_value(x)}" for name, x in value.items())
    if not isinstance(value, (list, tuple)) or not all(isinstance(x, (int, float, list, tuple)) for x in value):
        return f"{value:.6g}" if isinstance(value, float) else str(value)
    array = np.asarray(value, dtype=np.float64)
    if array.ndim == 2:
        diagonal = np.diagonal(array)
        kind = "diag" if (np.diag(diagonal) == array).all() else "a matrix with diagonal "
        return f"{kind}{_vector(diagonal)}"
    return _vector(array.ravel())


def _vector(values: Iterable[float]) -> str:
    return f"({listed((f'{value:.6g}' for value in values), word=',').replace(' ,', ',')})"
