"""The report of a run: one HTML file that holds its pictures and needs nothing else, for a person to read.

It is put together here; what each chapter says is in ``report_clusters``, ``report_rows``, ``report_check`` and
``report_run``.
"""

from __future__ import annotations

import functools
import importlib.resources
import io
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from gibbs_gmm import data_warnings
from gibbs_gmm.command_line import report_check, report_clusters, report_rows, report_run
from gibbs_gmm.command_line.advice import in_commands
from gibbs_gmm.command_line.findings import Findings
from gibbs_gmm.command_line.html_pieces import download, escape, p, warning
from gibbs_gmm.data import copies_of
from gibbs_gmm.posterior.clustering import contradiction
from gibbs_gmm.posterior.headline import LEVEL
from gibbs_gmm.posterior.wording import count, listed, percent

if TYPE_CHECKING:
    from gibbs_gmm.command_line.output_folder import Command

_MOST_SIZES = 12  # clusters whose sizes are in the first sentences

_Chapter = Callable[[Findings, dict[str, bytes]], Iterator[str]]
CHAPTERS: tuple[tuple[str, str, _Chapter], ...] = (
    ("clusters", "What are the clusters like?", report_clusters.described),
    ("number", "How many clusters, and how sure is that?", report_run.how_many),
    ("groups", "Do they match what was left out?", report_clusters.beside_texts),
    ("rows", "Which rows are sure, and which are not?", report_rows.rows),
    ("shape", "Are the clusters as the model takes them to be?", report_check.section),
    ("details", "All columns, all numbers", report_clusters.details),
    ("runs", "Do the runs agree?", report_run.agreement),
)
_LAST = ("again", "What was run, and how to run it again")


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
        "pairs": (plots.pairs, trace, X),
        "profiles": (plots.profiles, trace, X),
        "chains": (functools.partial(plots.chains, quantities=report_run.looked_at(findings)), trace),
    }
    if not trace.n_is_known:
        wanted["n_posterior"] = (plots.n_posterior, findings.n_posterior)
    if len(trace.columns) == 2:
        wanted["density"] = (plots.density, trace, X)
    if findings.partition is not None:
        wanted["similarity"] = (plots.similarity, trace)
        wanted["membership"] = (plots.membership, findings.partition)
    wanted |= report_check.pictures(findings)
    result = {}
    for name, (plot, *args) in wanted.items():
        buffer = io.BytesIO()
        plots.save(buffer, plot, *args)
        result[name] = buffer.getvalue()
    return result


def render(
    findings: Findings, images: dict[str, bytes], command: Command, files: Mapping[str, str | None] | None = None
) -> str:
    """The report as the text of an HTML file.

    Parameters
    ----------
    findings : Findings
        What to tell.
    images : dict
        What :func:`pictures` gave; empty for a report without.
    command : Command
        How the run came to be.
    files : mapping of str to str or None, optional
        Tables that a reader may save from the page, by the name of the file; None where one is too large for it.
    """
    chapters = []
    for name, title, chapter in CHAPTERS:
        if content := list(chapter(findings, images)):
            chapters.append((name, title, content))
    chapters.append((*_LAST, list(report_run.again(findings, command))))
    body = list(_head(findings, command))
    links = "".join(f'<li><a href="#{name}">{escape(title)}</a></li>' for name, title, _ in chapters)
    body.append(f'<nav aria-label="Contents"><ul>{links}</ul>{_downloads(files or {})}</nav>')
    for name, title, content in chapters:
        body.append(f'<section id="{name}"><h2>{escape(title)}</h2>')
        body += [*content, "</section>"]
    if not images:
        body.append(p("The report has no pictures: plots need matplotlib, pip install 'gibbs-gmm[plots]'.", "small"))
    title = escape(f"Clusters in {command.source}")
    style = importlib.resources.files("gibbs_gmm.command_line").joinpath("report.css").read_text(encoding="utf-8")
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"/>\n'
        f'<meta name="color-scheme" content="light dark"/>\n<title>{title}</title>\n'
        f"<style>\n{style}</style>\n</head>\n<body>\n<main>\n" + "\n".join(body) + "\n</main>\n</body>\n</html>\n"
    )


def _head(findings: Findings, command: Command) -> Iterator[str]:
    """The answer in a few sentences, and what keeps a reader from believing it."""
    trace, partition = findings.trace, findings.partition
    N, D = trace.settings["n_observations"], len(trace.columns)
    yield f"<h1>Clusters in {escape(command.source)}</h1>"
    alarms = report_run.alarms(findings)
    for message in in_commands(alarms, trace, command):
        yield warning(message)
    yield f'<p class="headline">{escape(trace.headline)}</p>'
    yield p(_meaning(findings), "lead")
    if partition is not None:
        few = partition.n_clusters <= _MOST_SIZES
        sizes = f", of {', '.join(map(str, partition.sizes))} {partition.unit}s" if few else ""
        text = f"The rows fall into {count(partition.n_clusters, 'cluster')}{sizes}"
        yield p(f"{text}. {report_rows.doubt(partition)}", "lead")
        if findings.outliers is not None:
            yield p(report_rows.outliers_sentence(findings), "lead")
        if (against := contradiction(trace, partition)) is not None:
            yield warning(against)
    for table in findings.cross_tables:
        if table.related:
            yield p(table.sentence, "lead")
    if not alarms:
        yield p(report_run.verdict(findings), "lead")
    for message in (*command.warnings, *data_warnings.messages(findings.X, trace.columns, copies_of(trace.counts))):
        yield warning(message)
    rows = f"{N:,} rows" if trace.counts is None else f"{trace.n_rows:,} rows that stand for {N:,} observations"
    used = f"{rows}; {count(D, 'column')} used: {listed(trace.columns)}"
    unused = f"; left out: {listed(command.left_out)}" if command.left_out else ""
    yield p(f"{used}{unused}.", "small")
    for note in trace.settings.get("notes", ()):
        yield p(note, "small")


def _meaning(findings: Findings) -> str:
    """What the headline says, for who has never seen one."""
    trace = findings.trace
    if trace.n_is_known:
        return "The number of clusters was given; what they are like, and which rows belong to them, was found."
    text = (
        f"A cluster is a group of rows that are alike. The numbers that are named hold {percent(LEVEL)} or more of the "
        "posterior probability: what is believed of the number of clusters after these rows were seen."
    )
    if not trace.weight_prior.n_is_finite:
        text += " Under a process, this number grows with the number of rows."
    return text


def _downloads(files: Mapping[str, str | None]) -> str:
    """Links that save tables, or say where they are if they are too large for a page."""
    if not files:
        return ""
    inside = [download(name, text) for name, text in files.items() if text is not None]
    beside = [escape(name) for name, text in files.items() if text is None]
    text = f"Save as a table: {', '.join(inside)}." if inside else ""
    if beside:
        text += f" Too large for this page, and in the folder beside it: {', '.join(beside)}."
    return f'<p class="small">{text.strip()}</p>'
