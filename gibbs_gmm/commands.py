"""What the commands of the command line do: read, run, write, report."""

from __future__ import annotations

import argparse
import contextlib
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gibbs_gmm import run_folder
from gibbs_gmm.console import Failure, Refusal, bar_chart, complain, silent, warnings_as_lines

if TYPE_CHECKING:
    from gibbs_gmm.n_posterior import NPosterior
    from gibbs_gmm.summary import Summary
    from gibbs_gmm.table import Table
    from gibbs_gmm.trace import Trace
    from gibbs_gmm.weight_priors import WeightPrior


def fit(args: argparse.Namespace) -> int:
    """The command ``fit``: read, run, write, report."""
    say = silent if args.quiet else print
    out: Path = args.out if args.out is not None else Path(f"{args.csv.stem}-run")
    weight_prior = _weight_prior(args)
    _refuse_existing_run(out, args.force)
    table = _read(args)
    say(f"{args.csv}: {table.X.shape[0]} rows")
    say(f"  used      {', '.join(table.columns)}")
    for name, reason in table.left_out.items():
        say(f"  left out  {name}: {reason}")
    for name, count in table.label_like.items():
        complain(
            "warning", f"column {name!r} has only {count} values, all whole: if it holds labels, use --drop {name!r}"
        )
    with _made(out):
        with warnings_as_lines():
            trace = _sample(args, weight_prior, table)
        results = _write(trace, table, out)
    if results.n_posterior is not None:
        say(f"\n{bar_chart(results.n_posterior)}")
    say(f"\n{results.summary}\n")
    if args.quiet:
        for message in results.summary.messages:
            complain("warning", message)
    say(f"wrote {', '.join(results.files)} in {out}; --seed {trace.settings['seed']} gives the same draws again")
    return 130 if trace.settings["interrupted"] else 0


def _weight_prior(args: argparse.Namespace) -> WeightPrior:
    """What to fit: the prior of the number of components and of their weights."""
    from gibbs_gmm.weight_priors import DirichletProcess, FiniteMixture, MixtureOfFiniteMixtures, PitmanYorProcess

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
    if out.exists() and not out.is_dir():
        raise Refusal(f"the output {str(out)!r} is a file, not a folder")
    if not force and any((out / name).exists() for name in (run_folder.TRACE, *run_folder.DERIVED)):
        raise Refusal(
            f"the folder {str(out)!r} already has a run: choose another with --out, or replace it with --force"
        )


def _read(args: argparse.Namespace) -> Table:
    from gibbs_gmm.table import read_csv

    try:
        return read_csv(args.csv, args.columns, args.drop)
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


def _sample(args: argparse.Namespace, weight_prior: WeightPrior, table: Table) -> Trace:
    import numpy as np

    from gibbs_gmm import fit

    try:
        return fit(
            table,
            weight_prior,
            draws=args.draws,
            warmup=args.warmup,
            thin=args.thin,
            chains=args.chains,
            rng=args.seed,
            threads=args.threads,
            progress=not args.quiet,
            save_assignments=not args.no_assignments,
        )
    except (ArithmeticError, MemoryError, OSError, np.linalg.LinAlgError) as error:
        raise Failure(f"the run failed: {str(error) or type(error).__name__}") from None
    except (TypeError, ValueError) as error:
        raise Refusal(error) from None


class _Results(NamedTuple):
    """What came of a run: tables, the second where n was learned, and the names of the files."""

    summary: Summary
    n_posterior: NPosterior | None
    files: list[str]


def _write(trace: Trace, table: Table, out: Path) -> _Results:
    """Write everything, the trace first."""
    from gibbs_gmm import plots

    written: list[str] = []
    n_posterior = None
    try:
        # Those of an earlier run would be wrong beside the new trace.
        for name in run_folder.DERIVED:
            (out / name).unlink(missing_ok=True)
        trace.save(out / run_folder.TRACE)
        written.append(run_folder.TRACE)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the summary's messages are printed in any case
            summary = trace.summary()
            if not trace.n_is_known:
                n_posterior = trace.n_posterior()
        summary.to_csv(out / run_folder.SUMMARY)
        written.append(run_folder.SUMMARY)
        if n_posterior is not None:
            n_posterior.to_csv(out / run_folder.N_TABLE)
            written.append(run_folder.N_TABLE)
        try:
            plots.save(out / run_folder.PAIRS, plots.pairs, trace, table)
            written.append(run_folder.PAIRS)
            if n_posterior is not None:
                plots.save(out / run_folder.N_PICTURE, plots.n_posterior, n_posterior)
                written.append(run_folder.N_PICTURE)
        except ImportError as error:
            complain("warning", f"no picture: {error}")
    except (OSError, MemoryError) as error:
        raise Failure(
            f"the results could not be written: {str(error) or 'out of memory'}; {_whole_files(written, out)}"
        ) from None
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_whole_files(written, out)) from None
    return _Results(summary, n_posterior, written)


def _whole_files(written: list[str], out: Path) -> str:
    return f"{' and '.join(written)} in {out} can be used" if written else "nothing is written"
