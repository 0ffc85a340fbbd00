"""What the commands of the command line do: read, run, write, report."""

from __future__ import annotations

import argparse
import dataclasses
import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gibbs_gmm.command_line import output_folder, results, running
from gibbs_gmm.command_line.arguments import read_options
from gibbs_gmm.command_line.console import Failure, Refusal, complain, fold, silent, step, warnings_as_lines

if TYPE_CHECKING:
    from gibbs_gmm.command_line.reading.options import ReadOptions
    from gibbs_gmm.command_line.reading.table import Table
    from gibbs_gmm.model.weight_priors import WeightPrior
    from gibbs_gmm.trace import Trace

_SHOWN = 20  # columns that are named on the screen
QUICK_DRAWS = 500
_QUICK_WARMUP, _QUICK_SWEEPS = 2000, 10  # and sweeps per draw, at most
_QUICK_ROWS = 50_000_000  # that the draws of a chain may read, and twice as many in warm-up
_QUICK_LEAST = 25
_PRELIMINARY = "This is a preliminary answer (--quick): run without it for one to keep."
_SUFFIXES = r"\.(csv|tsv|txt|tab|dat|data|xlsx|xlsm|parquet|npy|npz|gz|bz2|xz|zip)$"


def fit(args: argparse.Namespace) -> int:
    """The command ``fit``: read, run, write, report."""
    say = silent if args.quiet else print
    out: Path = args.out if args.out is not None else default_folder(args.csv)
    _refuse_contradictions(args)
    with step(f"reading {_name(args.csv)}", args.quiet):
        weight_prior = _weight_prior(args)
        running.refuse_existing_run(out, args.force)
        columns = {"columns": args.columns, "drop": tuple(args.drop)}
        options = read_options(args, **columns, labels=args.labels, counts=args.counts)
        table = _read(args.csv, options)
        table = _present(table)
    _say_what_was_read(args.csv, table, say)
    seed = args.seed if args.seed is not None else secrets.randbits(64)
    arguments = (*args.arguments, *(() if args.seed is not None else ("--seed", str(seed))))
    warnings = (*table.warnings, *([_PRELIMINARY] if args.quick else []))
    command = output_folder.Command(_name(args.csv), arguments, table.left_out, table.notes, warnings)
    with running.made(out), running.begun(out, table, command):
        with warnings_as_lines(), running.progress_lines(args.quiet):
            trace = _sample(args, weight_prior, table, out, seed)
        with results.writing(out) as written:
            X = output_folder.observations(out)
            findings = results.write(output_folder.Run(trace, X, table.rows, command), out, written, args.quiet)
            if args.append:
                with step("writing the rows with their clusters", args.quiet):
                    _append(args.csv, options, findings.partition, out, written)
    results.show(findings, command, out, written, args.quiet)
    say(fold(f"The same draws again: --seed {seed}"))
    return 130 if trace.settings["interrupted"] else 0


def resume(args: argparse.Namespace) -> int:
    """The command ``resume``: carry a run on and write its results, as ``fit`` would have."""
    say = silent if args.quiet else print
    out: Path = args.run
    folder = out / output_folder.TRACE
    if not out.is_dir():
        why = "is a file, not the folder of a run" if out.exists() else "does not exist"
        raise Refusal(f"there is no run in {str(out)!r}: it {why}")
    ours = folder.is_dir()  # else it is a checkpoint folder of fit() in Python, which is its trace
    with step(f"reading {out}", args.quiet):
        from gibbs_gmm import resume

        if ours:
            try:
                X, rows, command = output_folder.read_origin(out)
            except (OSError, ValueError) as error:
                raise Refusal(error) from None
    more = {"draws": args.draws, "max_sweeps": args.max_sweeps}
    settings = {**more, "threads": args.threads, "progress": not args.quiet}
    with warnings_as_lines(), running.progress_lines(args.quiet), running.failures(out):
        trace = resume(folder, X, **settings) if ours else resume(out, **settings)
    if not ours:
        say(f"{trace!r} in {out}")
        return 130 if trace.settings["interrupted"] else 0
    for name, value in more.items():
        if value is not None:
            option = f"--{name.replace('_', '-')}"
            command = dataclasses.replace(command, arguments=(*command.arguments, option, str(value)))
            output_folder.save_command(out, X, command)
    with results.writing(out) as written:
        findings = results.write(output_folder.Run(trace, X, rows, command), out, written, args.quiet)
    results.show(findings, command, out, written, args.quiet)
    return 130 if trace.settings["interrupted"] else 0


def report(args: argparse.Namespace) -> int:
    """The command ``report``: everything but the trace, made again from it."""
    with step(f"reading {args.run}", args.quiet):
        from gibbs_gmm.command_line.advice import in_commands

        run = _read_run(args.run)
    with results.writing(args.run) as written:
        findings = results.write(run, args.run, written, args.quiet)
    if args.quiet:
        for message in in_commands(findings.summary.messages, run.trace, run.command, str(args.run)):
            complain("warning", message)
    else:
        print(fold(f"wrote {', '.join(written)} in {args.run}"))
    return 0


def predict(args: argparse.Namespace) -> int:
    """The command ``predict``: clusters and densities of new rows, as CSV."""
    out: Path | None = args.out
    if out is not None and out.exists() and not args.force:
        raise Refusal(f"the file {str(out)!r} exists: choose another with --out, or replace it with --force")
    with step(f"reading {args.run}", args.quiet):
        import numpy as np

        from gibbs_gmm.command_line.row_tables import predictions_csv

        run = _read_run(args.run)
        wanted = [_as_entry(name) for name in run.trace.columns]
        table = _read(args.csv, read_options(args, columns=wanted, constant=True))
    try:
        with step("averaging over the draws", args.quiet):
            probabilities = run.trace.predict_proba(table)
            log_density = run.trace.log_density(table)
    except (ArithmeticError, MemoryError, np.linalg.LinAlgError) as error:
        raise Failure(f"the prediction failed: {str(error) or type(error).__name__}") from None
    except (TypeError, ValueError) as error:
        raise Refusal(error) from None
    text = predictions_csv(table.rows, probabilities, log_density)
    if out is None:
        print(text, end="")
        return 0
    try:
        output_folder.write(out, text)
    except OSError as error:
        raise Failure(f"{str(out)!r} could not be written: {error.strerror or error}") from None
    if not args.quiet:
        print(f"wrote {len(probabilities)} rows to {out}")
    return 0


def default_folder(path: Path) -> Path:
    """Where the results of a file go: a folder of its name, right here."""
    name = "stdin" if str(path) == "-" or path.is_fifo() else path.name
    while (shorter := re.sub(_SUFFIXES, "", name, flags=re.IGNORECASE)) not in (name, ""):
        name = shorter
    return Path(f"{name}-run")


def _name(path: Path) -> str:
    return "standard input" if str(path) == "-" else str(path)


def _say_what_was_read(path: Path, table: Table, say: Any) -> None:
    """How a file was understood: what is modelled, what is not, and what may be wrong."""
    observations = "" if table.counts is None else f" that stand for {int(table.counts.sum()):,} observations"
    say(f"{_name(path)}: {table.X.shape[0]:,} rows{observations}")
    more = f", and {len(table.columns) - _SHOWN} more" if len(table.columns) > _SHOWN else ""
    say(fold(f"  used      {', '.join(table.columns[:_SHOWN])}{more}", " " * 12))
    for name, reason in list(table.left_out.items())[:_SHOWN]:
        say(fold(f"  left out  {name}: {reason}", " " * 12))
    if len(table.left_out) > _SHOWN:
        say(f"  left out  {len(table.left_out) - _SHOWN} more columns: see {output_folder.REPORT}")
    for note in table.notes:
        say(fold(f"  note      {note}", " " * 12))
    for message in table.warnings:
        complain("warning", message)


def _refuse_contradictions(args: argparse.Namespace) -> None:
    """Refuse options that do not go together."""
    if args.append and str(args.csv) == "-":
        raise Refusal("--append needs a file, and standard input cannot be read twice")
    if args.append and args.no_assignments:
        raise Refusal("--append needs to know which row is in which cluster: leave out --no-assignments")
    if args.outliers and args.no_assignments:
        raise Refusal("--outliers needs to know which row is what: leave out --no-assignments")
    if args.discount is not None and args.weights != "py":
        raise Refusal("--discount is for --weights py")
    if args.components is not None and args.weights is not None:
        raise Refusal("--weights is for an unknown number of components: leave it out, or --components")
    if args.scale is not None and args.covariance_type in ("diag", "spherical"):
        raise Refusal(
            f"--scale is for full and tied clusters: leave it out with --covariance-type {args.covariance_type}"
        )


def _weight_prior(args: argparse.Namespace) -> WeightPrior:
    """What to fit: the prior of the number of components and of their weights."""
    from gibbs_gmm.model.weight_priors import DirichletProcess, FiniteMixture, MixtureOfFiniteMixtures, PitmanYorProcess

    given = {} if args.concentration is None else {"concentration": args.concentration}
    if args.components is not None:
        return FiniteMixture(args.components, **given)
    if args.weights == "dp":
        return DirichletProcess(**given)
    if args.weights == "py":
        return PitmanYorProcess(**given, **({} if args.discount is None else {"discount": args.discount}))
    return MixtureOfFiniteMixtures(**given)


def _read(path: Path, options: ReadOptions) -> Table:
    from gibbs_gmm.command_line.reading.table import read_table

    try:
        return read_table(path, options)
    except (OSError, ValueError) as error:
        raise Refusal(error) from None


def compare(args: argparse.Namespace) -> int:
    """The command ``compare``: evidences of families and numbers of components."""
    for path in (args.out, args.plot):
        if path is not None and path.exists() and not args.force:
            raise Refusal(f"the file {str(path)!r} exists: choose another, or replace it with --force")
        if path is not None and not path.absolute().parent.is_dir():
            raise Refusal(f"there is no folder {str(path.parent)!r} for {path.name!r}")
    with step(f"reading {_name(args.csv)}", args.quiet):
        table = _read(args.csv, read_options(args, columns=args.columns, drop=tuple(args.drop)))
    _say_what_was_read(args.csv, table, silent if args.quiet else print)
    from gibbs_gmm import compare

    if args.plot is not None:
        _require_picture(args.plot)
    settings = {"draws": args.draws, "rng": args.seed, "threads": args.threads}
    families = args.covariance_type or ("full", "tied", "diag", "spherical")
    try:
        with warnings_as_lines(), running.progress_lines(args.quiet):
            found = compare(table, range(1, args.components + 1), families, progress=not args.quiet, **settings)
    except (TypeError, ValueError) as error:
        raise Refusal(error) from None
    except (ArithmeticError, MemoryError) as error:
        raise Failure(f"the comparison failed: {str(error) or type(error).__name__}") from None
    print(found)
    try:
        if args.out is not None:
            output_folder.write(args.out, found.to_csv())
        if args.plot is not None:
            from gibbs_gmm import plots

            plots.save(args.plot, plots.comparison, found)
    except (OSError, ImportError, ValueError) as error:
        raise Failure(f"the results could not be written: {error}") from None
    return 0


def _require_picture(path: Path) -> None:
    """Refuse a picture that could not be drawn, before the long run and not after it."""
    try:
        from gibbs_gmm.plots.style import formats

        known = formats()
    except ImportError as error:
        raise Refusal(error) from None
    if path.suffix.lower().lstrip(".") not in known:
        raise Refusal(f"the picture {str(path)!r} must end in one of {', '.join(f'.{one}' for one in known)}")


def _as_entry(name: str) -> str:
    """The name of a column as an entry of ``ReadOptions.columns``."""
    return f'"{name}"' if "," in name else name


def _present(table: Table) -> Table:
    """The table without rows of count 0."""
    from gibbs_gmm.command_line.reading.table import without_absent_rows

    try:
        return without_absent_rows(table)
    except (TypeError, ValueError) as error:
        raise Refusal(error) from None


def _read_run(folder: Path) -> output_folder.Run:
    try:
        return output_folder.read(folder)
    except (OSError, ValueError) as error:
        raise Refusal(error) from None


def _sample(args: argparse.Namespace, weight_prior: WeightPrior, table: Table, out: Path, seed: int) -> Trace:
    """Sample from the observations in the folder, into the folder."""
    from gibbs_gmm import NormalInverseWishart, fit
    from gibbs_gmm.command_line.reading.table import Observations

    with running.failures(out):
        X = Observations(output_folder.observations(out), table.columns)
        draws, warmup, thin = args.draws, args.warmup, args.thin
        if args.quick:
            N = len(X.values)
            draws = draws or max(_QUICK_LEAST, min(QUICK_DRAWS, _QUICK_ROWS // N))
            warmup = max(2 * _QUICK_LEAST, min(_QUICK_WARMUP, 2 * _QUICK_ROWS // N)) if warmup is None else warmup
            thin = thin or max(1, min(_QUICK_SWEEPS, 1000 * _QUICK_SWEEPS // N))
        prior = None
        if args.scale is not None:
            prior = NormalInverseWishart.from_data(X, args.scale, args.covariance_type, table.counts)
        return fit(
            X,
            weight_prior,
            prior=prior,
            covariance_type=args.covariance_type,
            resolution=args.resolution,
            counts=table.counts,
            labels=table.rows.labels,
            outliers=args.outliers,
            draws=draws,
            warmup=warmup,
            max_sweeps=args.max_sweeps,
            thin=thin,
            chains=args.chains,
            rng=seed,
            threads=args.threads,
            progress=not args.quiet,
            save_assignments=not args.no_assignments,
            checkpoint=out / output_folder.TRACE,
        )


def _append(path: Path, options: ReadOptions, partition: Any, out: Path, written: list[str]) -> None:
    """Write the rows of the file with their clusters."""
    from gibbs_gmm.command_line.row_tables import appended

    try:
        text = appended(path, options, partition)
    except ValueError as error:
        complain("warning", f"--append wrote nothing: {error}")
        return
    output_folder.write(out / output_folder.APPENDED, text)
    written.append(output_folder.APPENDED)
