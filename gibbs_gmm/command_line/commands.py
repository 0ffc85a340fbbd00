"""What the commands of the command line do: read, run, write, report."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import logging
import os
import secrets
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gibbs_gmm.command_line import output_folder
from gibbs_gmm.command_line.console import PROG, Failure, Refusal, bar_chart, complain, silent, warnings_as_lines

if TYPE_CHECKING:
    from gibbs_gmm.command_line.csv_table import Table
    from gibbs_gmm.command_line.findings import Findings
    from gibbs_gmm.model.weight_priors import WeightPrior
    from gibbs_gmm.trace import Trace


def fit(args: argparse.Namespace) -> int:
    """The command ``fit``: read, run, write, report."""
    say = silent if args.quiet else print
    out: Path = args.out if args.out is not None else Path(f"{args.csv.stem}-run")
    weight_prior = _weight_prior(args)
    _refuse_existing_run(out, args.force)
    table = _read(args.csv, args.columns, args.drop)
    say(f"{args.csv}: {table.X.shape[0]} rows")
    say(f"  used      {', '.join(table.columns)}")
    for name, reason in table.left_out.items():
        say(f"  left out  {name}: {reason}")
    for name, count in table.label_like.items():
        complain(
            "warning", f"column {name!r} has only {count} values, all whole: if it holds labels, use --drop {name!r}"
        )
    seed = args.seed if args.seed is not None else secrets.randbits(64)
    arguments = (*args.arguments, *(() if args.seed is not None else ("--seed", str(seed))))
    command = output_folder.Command(str(args.csv), arguments, table.left_out)
    with _made(out), _begun(out, table, command):
        with warnings_as_lines(), _progress_lines(args.quiet):
            trace = _sample(args, weight_prior, table, out, seed)
        with _writing(out) as written:
            findings = _write_all(output_folder.Run(trace, table.X, command), out, written)
    _show(args, findings)
    say(f"wrote {', '.join(written)} in {out}; --seed {seed} gives the same draws again")
    return 130 if trace.settings["interrupted"] else 0


def resume(args: argparse.Namespace) -> int:
    """The command ``resume``: carry a run on and write its results, as ``fit`` would have."""
    from gibbs_gmm import resume

    say = silent if args.quiet else print
    out: Path = args.run
    folder = out / output_folder.CHECKPOINT
    ours = folder.is_dir()  # else it is a checkpoint folder of fit() in Python, which is its trace
    if ours:
        try:
            X, command = output_folder.read_origin(out)
        except (OSError, ValueError) as error:
            raise Refusal(error) from None
    with warnings_as_lines(), _progress_lines(args.quiet), _failures(out):
        trace = resume(
            folder if ours else out,
            draws=args.draws,
            max_sweeps=args.max_sweeps,
            threads=args.threads,
            progress=not args.quiet,
        )
    if not ours:
        say(f"{trace!r} in {out}")
        return 130 if trace.settings["interrupted"] else 0
    for name, more in (("--draws", args.draws), ("--max-sweeps", args.max_sweeps)):
        if more is not None:
            command = dataclasses.replace(command, arguments=(*command.arguments, name, str(more)))
            output_folder.save_origin(out, X, command)
    with _writing(out) as written:
        findings = _write_all(output_folder.Run(trace, X, command), out, written)
    _show(args, findings)
    say(f"wrote {', '.join(written)} in {out}")
    return 130 if trace.settings["interrupted"] else 0


@contextlib.contextmanager
def _begun(out: Path, table: Table, command: output_folder.Command) -> Iterator[None]:
    """Write what a run is of before it begins, so that it can be resumed; take it back if no sweep was kept."""
    for name in output_folder.EVERYTHING:
        (out / name).unlink(missing_ok=True)
    with _writing(out):
        output_folder.save_origin(out, table.X, command)
    try:
        yield
    except BaseException:
        if not (out / output_folder.CHECKPOINT).exists():
            for name in (output_folder.OBSERVATIONS, output_folder.COMMAND):
                (out / name).unlink(missing_ok=True)
        raise


def _show(args: argparse.Namespace, findings: Findings) -> None:
    """Print what came of a run."""
    from gibbs_gmm.posterior.model_check import sentences

    say = silent if args.quiet else print
    say(f"\n{findings.trace.headline}{findings.trace.verdict}")
    if not findings.trace.n_is_known:
        say(f"\n{bar_chart(findings.n_posterior)}")
    say(f"\n{findings.summary}\n")
    for sentence in sentences(findings.check) if findings.check is not None else ():
        say(f"{textwrap.fill(sentence, 80)}\n")
    if args.quiet:
        for message in findings.summary.messages:
            complain("warning", message)


def report(args: argparse.Namespace) -> int:
    """The command ``report``: everything but the trace, made again from it."""
    run = _read_run(args.run)
    with _writing(args.run) as written:
        findings = _write(run, args.run, written)
    if args.quiet:
        for message in findings.summary.messages:
            complain("warning", message)
    else:
        print(f"wrote {', '.join(written)} in {args.run}")
    return 0


def predict(args: argparse.Namespace) -> int:
    """The command ``predict``: clusters and densities of new rows, as CSV."""
    import numpy as np

    out: Path | None = args.out
    if out is not None and out.exists() and not args.force:
        raise Refusal(f"the file {str(out)!r} exists: choose another with --out, or replace it with --force")
    run = _read_run(args.run)
    table = _read(args.csv, run.trace.columns, (), constant=True)
    try:
        probabilities = run.trace.predict_proba(table)
        log_density = run.trace.log_density(table)
    except (ArithmeticError, MemoryError, np.linalg.LinAlgError) as error:
        raise Failure(f"the prediction failed: {str(error) or type(error).__name__}") from None
    except (TypeError, ValueError) as error:
        raise Refusal(error) from None
    cluster = probabilities.argmax(1)
    lines = ["row,cluster,probability,log_density"]
    for row, (k, p, log_p) in enumerate(zip(cluster, probabilities.max(1), log_density, strict=True)):
        lines.append(f"{row},{-1 if k == probabilities.shape[1] - 1 else k},{float(p)!r},{float(log_p)!r}")
    text = "\n".join(lines) + "\n"
    if out is None:
        print(text, end="")
        return 0
    try:
        output_folder.write(out, text)
    except OSError as error:
        raise Failure(f"{str(out)!r} could not be written: {error.strerror or error}") from None
    if not args.quiet:
        print(f"wrote {len(cluster)} rows to {out}")
    return 0


def _weight_prior(args: argparse.Namespace) -> WeightPrior:
    """What to fit: the prior of the number of components and of their weights."""
    from gibbs_gmm.model.weight_priors import DirichletProcess, FiniteMixture, MixtureOfFiniteMixtures, PitmanYorProcess

    if args.discount is not None and args.weights != "py":
        raise Refusal("--discount is for --weights py")
    given = {} if args.concentration is None else {"concentration": args.concentration}
    if args.components is not None:
        if args.weights is not None:
            raise Refusal("--weights is for an unknown number of components: leave it out, or --components")
        return FiniteMixture(args.components, **given)
    if args.weights == "dp":
        return DirichletProcess(**given)
    if args.weights == "py":
        return PitmanYorProcess(**given, **({} if args.discount is None else {"discount": args.discount}))
    return MixtureOfFiniteMixtures(**given)


def _refuse_existing_run(out: Path, force: bool) -> None:
    from gibbs_gmm.storage.run_folder import Folder

    if out.exists() and not out.is_dir():
        raise Refusal(f"the output {str(out)!r} is a file, not a folder")
    checkpoint = out / output_folder.CHECKPOINT
    failure = Folder(checkpoint).failure
    if not force and failure is not None:
        raise Refusal(
            f"the folder {str(out)!r} has a run that failed ({failure}); choose another folder with --out, or replace "
            "it with --force"
        )
    if not force and checkpoint.exists() and not (out / output_folder.TRACE).exists():
        raise Refusal(
            f"the folder {str(out)!r} has a run that was not finished: `{PROG} resume {out}` carries it on; or choose "
            "another folder with --out, or replace it with --force"
        )
    if not force and (checkpoint.exists() or any((out / name).exists() for name in output_folder.EVERYTHING)):
        raise Refusal(
            f"the folder {str(out)!r} already has a run: choose another with --out, or replace it with --force"
        )


def _read(path: Path, columns: Sequence[str] | None, drop: Sequence[str], constant: bool = False) -> Table:
    from gibbs_gmm.command_line.csv_table import read_csv

    try:
        return read_csv(path, columns, drop, constant)
    except (OSError, ValueError) as error:
        raise Refusal(error) from None


def _read_run(folder: Path) -> output_folder.Run:
    try:
        return output_folder.read(folder)
    except (OSError, ValueError) as error:
        raise Refusal(error) from None


@contextlib.contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Make the folder before the long run, not after it; take it away again if nothing came to be in it."""
    new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refusal(f"the output folder {str(folder)!r} cannot be made: {error.strerror}") from None
    if not os.access(folder, os.W_OK):
        raise Refusal(f"the output folder {str(folder)!r} cannot be written to")
    try:
        yield
    except BaseException:
        if new:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


def _sample(args: argparse.Namespace, weight_prior: WeightPrior, table: Table, out: Path, seed: int) -> Trace:
    from gibbs_gmm import NormalInverseWishart, fit
    from gibbs_gmm.storage.run_folder import Folder

    with _failures(out):
        checkpoint = Folder(out / output_folder.CHECKPOINT)
        checkpoint.remove()
        return fit(
            table,
            weight_prior,
            prior=NormalInverseWishart.from_data(table, args.scale),
            resolution=args.resolution,
            draws=args.draws,
            warmup=args.warmup,
            thin=args.thin,
            max_sweeps=args.max_sweeps,
            chains=args.chains,
            rng=seed,
            threads=args.threads,
            progress=not args.quiet,
            save_assignments=not args.no_assignments,
            checkpoint=checkpoint,
        )


@contextlib.contextmanager
def _failures(out: Path) -> Iterator[None]:
    """Errors of a run as what the command line makes of them."""
    import numpy as np

    try:
        yield
    except FileNotFoundError as error:
        raise Refusal(error) from None
    except (ArithmeticError, MemoryError, OSError, np.linalg.LinAlgError) as error:
        raise Failure(f"the run failed: {str(error) or type(error).__name__}") from None
    except (TypeError, ValueError) as error:
        raise Refusal(error) from None
    except KeyboardInterrupt:
        if (out / output_folder.CHECKPOINT).exists():
            raise KeyboardInterrupt(f"`{PROG} resume {out}` carries the run on") from None
        raise


@contextlib.contextmanager
def _progress_lines(quiet: bool) -> Iterator[None]:
    """Show the package's log of a run as lines of this program, where there is no terminal for a progress bar."""
    log, handler = logging.getLogger("gibbs_gmm"), logging.StreamHandler(sys.stderr)
    if quiet or sys.stderr.isatty():
        yield
        return
    handler.setFormatter(logging.Formatter(f"{PROG}: %(message)s"))
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


def _write_all(run: output_folder.Run, out: Path, written: list[str]) -> Findings:
    """Write the trace and everything that is made from it."""
    run.trace.save(out / output_folder.TRACE)
    written += [
        output_folder.TRACE,
        output_folder.OBSERVATIONS,
        output_folder.COMMAND,
    ]  # the others are there since it began
    return _write(run, out, written)


def _write(run: output_folder.Run, out: Path, written: list[str]) -> Findings:
    """Write everything that is made from the trace; ``written`` grows by the names of the files."""
    from gibbs_gmm.command_line.findings import clusters_csv, find
    from gibbs_gmm.command_line.report import pictures, render

    def write(name: str, content: bytes | str) -> None:
        output_folder.write(out / name, content)
        written.append(name)

    for name in output_folder.DERIVED:
        (out / name).unlink(missing_ok=True)
    findings = find(run.trace, run.X)
    findings.summary.to_csv(out / output_folder.SUMMARY)
    written.append(output_folder.SUMMARY)
    unknown = not run.trace.n_is_known
    if unknown:
        findings.n_posterior.to_csv(out / output_folder.N_TABLE)
        written.append(output_folder.N_TABLE)
    if findings.partition is not None:
        write(output_folder.CLUSTERS, clusters_csv(findings.partition))
    images: dict[str, bytes] = {}
    try:
        images = pictures(findings)
        write(output_folder.PAIRS, images["pairs"])
        if unknown:
            write(output_folder.N_PICTURE, images["n_posterior"])
    except ImportError as error:
        complain("warning", f"no pictures: {error}")
    write(output_folder.REPORT, render(findings, images, run.command))
    return findings


@contextlib.contextmanager
def _writing(out: Path) -> Iterator[list[str]]:
    """Names of files as they get written into a folder; where that fails, the message says which can be used."""
    written: list[str] = []
    try:
        yield written
    except (OSError, MemoryError) as error:
        raise Failure(
            f"the results could not be written: {str(error) or 'out of memory'}; {_whole_files(written, out)}"
        ) from None
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_whole_files(written, out)) from None


def _whole_files(written: list[str], out: Path) -> str:
    names = " and ".join(filter(None, (", ".join(written[:-1]), *written[-1:])))
    return f"{names} in {out} can be used" if written else "nothing is written"
