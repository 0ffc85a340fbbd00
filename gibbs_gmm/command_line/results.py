"""The results of a run: the files that are made from its draws, and the answer on the screen."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gibbs_gmm.command_line import output_folder
from gibbs_gmm.command_line.console import PROG, WIDTH, Failure, bar_chart, complain, fold, step

if TYPE_CHECKING:
    from gibbs_gmm.command_line.findings import Findings

_MOST_CLUSTERS = 20  # lines of the table of clusters
_MOST_COLUMNS = 5
_LONGEST_NAME = 16
_DIGITS = 6  # of numbers in files


def write(run: output_folder.Run, out: Path, written: list[str], quiet: bool) -> Findings:
    """Write everything that is made from the trace; ``written`` grows by the names of the files."""
    with step("putting the draws of all chains together", quiet):
        from gibbs_gmm.command_line.findings import clusters_csv, find
        from gibbs_gmm.command_line.report import pictures, render

        findings = find(run.trace, run.X, run.rows.texts, run.rows.ids, run.rows.lines)

    def save(name: str, content: bytes | str | Iterable[str]) -> None:
        output_folder.write(out / name, content)
        written.append(name)

    for name in output_folder.DERIVED:
        (out / name).unlink(missing_ok=True)
    with step("writing tables", quiet):
        findings.summary.to_csv(out / output_folder.SUMMARY, _DIGITS)
        written.append(output_folder.SUMMARY)
        unknown = not run.trace.n_is_known
        if unknown:
            findings.n_posterior.to_csv(out / output_folder.N_TABLE, _DIGITS)
            written.append(output_folder.N_TABLE)
        if findings.partition is not None:
            named: dict[str, Any] = {"line": run.rows.lines}
            if run.rows.ids is not None:
                named[run.rows.id_name] = run.rows.ids
            save(output_folder.CLUSTERS, clusters_csv(findings.partition, named))
    with step("testing whether clusters are normal", quiet):
        _ = findings.check, findings.merged
    images: dict[str, bytes] = {}
    try:
        with step("drawing pictures", quiet):
            images = pictures(findings)
        save(output_folder.PAIRS, images["pairs"])
        if unknown:
            save(output_folder.N_PICTURE, images["n_posterior"])
    except ImportError as error:
        complain("warning", f"no pictures: {error}")
    with step("writing the report", quiet):
        tables = [
            name for name in (output_folder.CLUSTERS, output_folder.SUMMARY, output_folder.N_TABLE) if name in written
        ]
        files = {name: _text(out / name) for name in tables}
        save(output_folder.REPORT, render(findings, images, run.command, files))
    return findings


def _text(path: Path) -> str | None:
    """What a table holds, unless it is too large for a page."""
    small = path.stat().st_size <= output_folder.LARGEST_DOWNLOAD
    return path.read_text(encoding="utf-8") if small else None


@contextlib.contextmanager
def writing(out: Path) -> Iterator[list[str]]:
    """Names of files as they get written into a folder; where that fails, the message says which can be used."""
    written: list[str] = []
    try:
        yield written
    except (OSError, MemoryError) as error:
        reason = str(error) or "out of memory"
        raise Failure(f"the results could not be written: {reason}; {_whole_files(written, out)}") from None
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_whole_files(written, out)) from None


def _whole_files(written: list[str], out: Path) -> str:
    if not (out / output_folder.TRACE).exists():
        return "nothing is written"
    names = " and ".join(filter(None, (", ".join(written[:-1]), *written[-1:])))
    others = f"`{PROG} report {out}` writes {'the others' if written else 'the results'}"
    return f"{names} in {out} can be used, and {others}" if written else f"the draws are whole: {others}"


def show(findings: Findings, command: output_folder.Command, out: Path, written: list[str], quiet: bool) -> None:
    """Print what came of a run: the answer first, what speaks against it, and where to look next."""
    from gibbs_gmm.command_line.advice import in_commands
    from gibbs_gmm.posterior.model_check import sentences

    alarms = in_commands(findings.summary.messages, findings.trace, command, str(out))
    if quiet:
        for message in alarms:
            complain("warning", message)
        return
    trace = findings.trace
    if not trace.n_is_known:
        print(f"\n{bar_chart(findings.n_posterior)}")
    print(f"\n{fold(trace.headline + trace.verdict.replace(', see summary()', ''))}\n")
    print(clusters_table(findings))
    if findings.outliers is not None:
        from gibbs_gmm.command_line.report_rows import outliers_sentence

        print(f"\n{fold(outliers_sentence(findings))}")
    said = [] if findings.check is None else list(sentences(findings.check))
    for message in (*command.warnings, *alarms, *said):
        print(f"\n{fold(message)}")
    print(f"\n{fold(f'Read next: {out / output_folder.REPORT}')}")
    if output_folder.CLUSTERS in written:
        print(fold(f"Clusters of the rows: {out / output_folder.CLUSTERS}"))
    if output_folder.APPENDED in written:
        print(fold(f"The file with its clusters: {out / output_folder.APPENDED}"))
    print(fold(f"All numbers: {out / output_folder.SUMMARY}"))
    budget, T = trace.settings.get("max_sweeps"), trace.log_likelihood.shape[1]
    if budget is None:
        print(fold(f"More draws: {PROG} resume {out} --draws {2 * T}"))
    elif trace.settings["stopped_by"] == "max_sweeps":
        print(fold(f"To go on: {PROG} resume {out} --max-sweeps {4 * budget}"))


def clusters_table(findings: Findings) -> str:
    """A line for each cluster: its share, its rows, and its means in the columns that tell clusters apart best."""
    import numpy as np

    kinds, partition, kinds_known = findings.components, findings.partition, findings.trace.label_names
    shares = kinds.weights.mean(0)
    for most in range(min(_MOST_COLUMNS, len(findings.trace.columns)), 0, -1):
        columns = kinds.telling_columns(most)
        means = kinds.average(kinds.means(columns))
        names = [findings.trace.columns[d] for d in columns]
        shown = [name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 2]}.." for name in names]
        table = [["cluster", "share", *([] if partition is None else ["rows"]), *shown]]
        for k in range(min(kinds.K, _MOST_CLUSTERS)):
            rows = [] if partition is None else [f"{np.count_nonzero(partition.labels == k):,}"]
            name = str(k) if k >= len(kinds_known) else f"{k} {kinds_known[k]}"[:_LONGEST_NAME]
            table.append([name, f"{100.0 * shares[k]:.0f}%", *rows, *(f"{mean:.4g}" for mean in means[k])])
        room = [max(map(len, column)) for column in zip(*table, strict=True)]
        if sum(room) + 2 * (len(room) - 1) <= WIDTH:
            break
    file = io.StringIO()
    for line in table:
        file.write("  ".join(cell.rjust(width) for cell, width in zip(line, room, strict=True)).rstrip() + "\n")
    if kinds.K > _MOST_CLUSTERS:
        file.write(f"and {kinds.K - _MOST_CLUSTERS} more, in {output_folder.SUMMARY}\n")
    others = len(findings.trace.columns) - len(columns)
    where = f"; {others} more column{'s'[: others > 1]}: {output_folder.REPORT}" if others > 0 else ""
    what = "share of" if partition is None else "share and number of"
    return f"Clusters: {what} the rows, and means{where}\n{file.getvalue()}".rstrip("\n")
