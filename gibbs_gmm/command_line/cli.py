"""The command line: ``gibbs-gmm fit data.csv``, ``report`` and ``predict``.

Exit codes: 0 done; 1 the run failed (numerical failure, disk full); 2 bad usage or bad input; 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NoReturn

from gibbs_gmm.command_line import commands
from gibbs_gmm.command_line.console import PROG, Failure, Refusal, complain

_AS_WRITTEN: dict[str, Any] = {"formatter_class": argparse.RawDescriptionHelpFormatter}
_DESCRIPTION = "Fully Bayesian Gaussian mixtures: the posterior of every component, and how sure it is."

_FIT = """\
Fit a Gaussian mixture to the numeric columns of a CSV file by Gibbs sampling.

The rows are taken to come from several kinds (components), each a multivariate
normal distribution; how many is learned, or given with --components. The
result is not one answer but draws of all the answers that the data allow: how
many kinds there are, how common each is, what it looks like, and which row
belongs to which. Several independent chains are run, so that it can be seen
whether they agree; if the number is learned, they start from one cluster, from
many and from numbers between. The run goes on until they agree and there are
enough draws, or until --max-sweeps, unless --draws or --warmup are given.

Two numbers are told apart: n, the components of the mixture, and n+, those of
them that own at least one row (clusters).

Written into the output folder:
  report.html      read this first, in a browser: how many clusters, what they
                   look like, who belongs where, whether the chains agree
  trace.npz        all draws; gibbs_gmm.load("trace.npz") reads them in Python
  summary.csv      mean, standard deviation, 90% interval, R-hat and effective
                   sample size of every quantity
  clusters.csv     the cluster of every row, how uncertain that is, and the
                   second cluster with its probability
  pairs.png        pair plot of the data with the components and their
                   uncertainty
  observations.npy and command.json, which "report" and "predict" need
and, where the number of components is learned:
  n_posterior.csv  probabilities of every n and n+, with standard errors, the
                   prior, and each chain's own
  n_posterior.png  the same as a picture

While it runs, the folder "checkpoint" in it takes the draws and where the
chains are, so that "gibbs-gmm resume" carries on a run that was killed.
"""

_FIT_EXAMPLES = """\
examples:
  gibbs-gmm fit data/iris.csv --out iris-run
  gibbs-gmm fit data/wine.csv --drop cultivar --max-sweeps 200000
  gibbs-gmm fit data/iris.csv --components 3 --out iris-3
  gibbs-gmm fit data/iris.csv --weights py --discount 0.3 --out iris-py

The file has one row per observation and, in its first line, the names of the
columns; commas, semicolons or tabs separate them. Text, constant and empty
columns are left out, which is said; missing values are refused.

exit codes:
  0 done; 1 the run failed; 2 bad usage or input; 130 interrupted (the draws so
  far are written, if there are any)
"""

_REPORT = """\
Make the report of a run again, and its tables and pictures, from its draws.
Nothing is sampled. The data that were fitted are in the run's folder; the CSV
file is not needed.
"""

_PREDICT = """\
Say of new rows which cluster of a run they belong to, as CSV: the number of
the row (from 0), its most probable cluster, the probability of that, and the
log of the posterior predictive density, which is low for rows unlike any that
were fitted. All is averaged over the draws.

Clusters have the numbers that they have in the run's report and clusters.csv;
-1 is none of them. Columns are found by their names; others are ignored.

A row is taken as one more observation, which the draws do not know. Of rows
that were fitted the draws do know; their clusters are in clusters.csv. Given
here again, a row that two clusters claim about equally may get the other one.
"""

_PREDICT_EXAMPLES = """\
examples:
  gibbs-gmm predict iris-run new.csv > labels.csv
  gibbs-gmm predict iris-run new.csv --out labels.csv
"""

_RESUME = """\
Carry on a run that was interrupted, killed, or stopped by a full disk, from
its output folder. The draws are exactly those of a run that nothing stopped,
and the results are written as "gibbs-gmm fit" would have written them.

With --draws, more draws are added to a run, finished or not, that was asked
for so many; with --max-sweeps, a run that goes on until it is done may make
more sweeps. The draws are those that asking for it at first would have given.
"""


class _Parser(argparse.ArgumentParser):
    """argparse, with errors under the name of the program, not of a subcommand."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(2, f"{PROG}: error: {message}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; no expected error leaves a traceback.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments after the program's name; ``sys.argv[1:]`` by default.
    """
    try:
        args = _parser().parse_args(argv)
        args.arguments = tuple(sys.argv[1:] if argv is None else argv)
    except SystemExit as stop:  # argparse has printed help, version or its error
        return int(stop.code or 0)
    try:
        code: int = args.command(args)
        sys.stdout.flush()
        return code
    except Refusal as error:
        complain("error", error)
        return 2
    except Failure as error:
        complain("error", error)
        return 1
    except KeyboardInterrupt as stop:
        complain("error", f"interrupted; {stop.args[0] if stop.args else 'nothing is written'}")
        return 130
    except BrokenPipeError:  # whoever read the output, such as `head`, has gone; everything else is done
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog=PROG, description=_DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"{PROG} {metadata.version('gibbs-gmm')}")
    subcommands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    fit = subcommands.add_parser(
        "fit",
        help="fit a mixture to a CSV file",
        description=_FIT,
        epilog=_FIT_EXAMPLES,
        **_AS_WRITTEN,
    )
    fit.set_defaults(command=commands.fit)
    fit.add_argument("csv", type=Path, metavar="CSV", help="file of observations, one per row")

    model = fit.add_argument_group("model")
    model.add_argument(
        "-n", "--components", type=_whole(1), metavar="N", help="number of components (default: it is learned)"
    )
    model.add_argument(
        "--weights",
        choices=("mfm", "dp", "py"),
        help="what an unknown number is: finite, under a prior that decreases from 1 (mfm, a mixture of finite "
        "mixtures, the default); or infinite, with a Dirichlet process (dp) or a Pitman-Yor process (py) for weights",
    )
    model.add_argument(
        "--concentration",
        type=_positive,
        metavar="A",
        help="how evenly the weights are shared beforehand: with N components, the Dirichlet parameter of each "
        "(default: 1, all weights equally plausible; less expects some components to be nearly empty); for mfm, A/n is "
        "that parameter (default: A is learned); for dp and py, larger expects more clusters (default: 1)",
    )
    model.add_argument(
        "--discount",
        type=_share,
        metavar="S",
        help="for py: from 0, a Dirichlet process, to below 1, very many small clusters (default: 0.25)",
    )

    model.add_argument(
        "--scale",
        choices=("shrunk", "wishart"),
        default="shrunk",
        help="how the scale that clusters share is learned: with its correlations shrunk by half (shrunk, the "
        "default), or freely (wishart), which finds clusters that differ along directions in which all are very thin, "
        "and more clusters where such a direction is bent",
    )

    data = fit.add_argument_group("data")
    data.add_argument("--columns", type=_names, metavar="A,B,C", help="use only these columns, in this order")
    data.add_argument(
        "--drop",
        type=_names,
        default=(),
        metavar="A,B",
        help="leave these columns out, such as labels coded as numbers",
    )
    data.add_argument(
        "--resolution",
        type=_widths,
        metavar="R[,R...]",
        help="to what width values are known, for all columns or for each (default: as the values show; 0: exact)",
    )

    run = fit.add_argument_group("run")
    run.add_argument(
        "--draws",
        type=_whole(1),
        metavar="N",
        help="draws to keep per chain (default: the run goes on until its chains agree and it has enough draws)",
    )
    run.add_argument(
        "--warmup",
        type=_whole(0),
        metavar="N",
        help="sweeps to throw away first, until the chain has found its way (default: as the run finds out; with "
        "--draws, 1000 with --components, else 1000 plus 200 times --thin)",
    )
    run.add_argument(
        "--thin",
        type=_whole(1),
        metavar="N",
        help="keep every N-th sweep, of a run without --draws and --warmup at first (default: 5,000 / rows, from 1 to "
        "10; with one of these and without --components 50,000 / rows, from 1 to 50)",
    )
    run.add_argument(
        "--max-sweeps",
        type=_whole(1),
        metavar="N",
        help="the most sweeps per chain of a run without --draws and --warmup (default: about a minute's for small "
        "data)",
    )
    run.add_argument(
        "--chains",
        type=_whole(1),
        default=4,
        metavar="N",
        help="independent chains; with one, nothing shows whether it can be trusted (default: 4)",
    )
    run.add_argument(
        "--seed", type=_whole(0), metavar="N", help="the same seed gives the same draws (default: a fresh one, printed)"
    )
    run.add_argument(
        "--threads", type=_whole(1), metavar="N", help="threads; no effect on the draws (default: all cores)"
    )

    output = fit.add_argument_group("output")
    output.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder for the results (default: the file's name with -run, right here)",
    )
    output.add_argument("--force", action="store_true", help="replace the run that the folder already has")
    output.add_argument(
        "--no-assignments",
        action="store_true",
        help="do not keep which row belongs to which component in each draw: the largest part of the trace",
    )
    output.add_argument("--quiet", action="store_true", help="print only warnings and errors")
    _add_report(subcommands)
    _add_predict(subcommands)

    resume = subcommands.add_parser(
        "resume",
        help="carry on a run that was interrupted, or add draws to one",
        description=_RESUME,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    resume.set_defaults(command=commands.resume)
    resume.add_argument("run", type=Path, metavar="DIR", help="output folder of the run")
    resume.add_argument(
        "--draws", type=_whole(1), metavar="N", help="draws per chain to have in the end (default: as first asked for)"
    )
    resume.add_argument(
        "--max-sweeps",
        type=_whole(1),
        metavar="N",
        help="the most sweeps per chain of a run that goes on until it is done (default: as first asked for)",
    )
    resume.add_argument(
        "--threads", type=_whole(1), metavar="N", help="threads; no effect on the draws (default: all cores)"
    )
    resume.add_argument("--quiet", action="store_true", help="print only warnings and errors")
    return parser


def _add_report(subcommands: Any) -> None:
    report = subcommands.add_parser("report", help="make the report of a run again", description=_REPORT, **_AS_WRITTEN)
    report.set_defaults(command=commands.report)
    report.add_argument("run", type=Path, metavar="RUN", help="folder that fit wrote")
    report.add_argument("--quiet", action="store_true", help="print only warnings and errors")


def _add_predict(subcommands: Any) -> None:
    predict = subcommands.add_parser(
        "predict",
        help="say which clusters of a run new rows belong to",
        description=_PREDICT,
        epilog=_PREDICT_EXAMPLES,
        **_AS_WRITTEN,
    )
    predict.set_defaults(command=commands.predict)
    predict.add_argument("run", type=Path, metavar="RUN", help="folder that fit wrote")
    predict.add_argument("csv", type=Path, metavar="CSV", help="file of new rows, with the columns of the fit")
    predict.add_argument("--out", type=Path, metavar="FILE", help="file to write (default: standard output)")
    predict.add_argument("--force", action="store_true", help="replace the file if it exists")
    predict.add_argument("--quiet", action="store_true", help="print only the table, warnings and errors")


def _whole(minimum: int) -> Any:
    """An argparse type: an integer of at least ``minimum``."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = minimum - 1
        if value < minimum:
            raise argparse.ArgumentTypeError(f"a whole number of at least {minimum} is wanted, got {text!r}")
        return value

    return parse


def _positive(text: str) -> float:
    """An argparse type: a positive finite number."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"a positive number is wanted, got {text!r}")
    return value


def _share(text: str) -> float:
    """An argparse type: a number of at least 0 and less than 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value < 1.0:
        raise argparse.ArgumentTypeError(f"a number of at least 0 and less than 1 is wanted, got {text!r}")
    return value


def _widths(text: str) -> list[float]:
    """An argparse type: one number of at least 0, or several between commas."""
    try:
        values = [float(value) for value in text.split(",")]
    except ValueError:
        values = [-1.0]
    if not all(0.0 <= value < float("inf") for value in values):
        raise argparse.ArgumentTypeError(f"numbers of at least 0 with commas between them are wanted, got {text!r}")
    return values


def _names(text: str) -> tuple[str, ...]:
    """An argparse type: names between commas."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise argparse.ArgumentTypeError(f"names of columns with commas between them are wanted, got {text!r}")
    return names
