"""The command line: ``gibbs-gmm fit data.csv``, ``resume``, ``report``, ``predict``, ``compare`` and ``compile``.

Exit codes: 0 done; 1 the run failed (numerical failure, disk full); 2 bad usage or bad input; 130 interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from gibbs_gmm.command_line import commands, compiling, help_texts
from gibbs_gmm.command_line.arguments import Parser, add_file_options, positive, share, whole, widths
from gibbs_gmm.command_line.console import PROG, Failure, Refusal, complain, prepare_streams

COVARIANCE_TYPES = ("full", "tied", "diag", "spherical")
_COLLECT_AFTER = 50_000  # objects
_AS_WRITTEN: dict[str, Any] = {"formatter_class": argparse.RawDescriptionHelpFormatter}


def program() -> int:
    """Run the command line as a program of its own, which ends with it."""
    code = main()
    gc.freeze()  # else Python looks at half a million objects once more on its way out, for half a second
    return code


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; no expected error leaves a traceback.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments after the program's name; ``sys.argv[1:]`` by default.
    """
    prepare_streams()
    with _few_collections():
        return _run(argv)


@contextlib.contextmanager
def _few_collections() -> Iterator[None]:
    """Look for cycles of dead objects seldom: importing makes many that live, and half a second was spent on them."""
    before = gc.get_threshold()
    gc.set_threshold(_COLLECT_AFTER, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _run(argv: Sequence[str] | None) -> int:
    """The exit code of what :func:`main` runs."""
    try:
        args, unknown = _parser().parse_known_args(argv)
        if unknown:
            args.parser.refuse_unknown(unknown)
        args.arguments = tuple(sys.argv[1:] if argv is None else argv)
    except SystemExit as stop:  # argparse has printed help, version or its error
        return int(stop.code or 0)
    try:
        code: int = args.command(args)
        print(end="", flush=True)
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
        _print_no_more()
        return 1
    except OSError as error:
        what = "the output could not be written" if error.filename is None else repr(str(error.filename))
        complain("error", f"{what}: {error.strerror or error}")
        _print_no_more()
        return 1


def _print_no_more() -> None:
    """Let what could not be printed go, which Python would try once more as it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> Parser:
    parser = Parser(prog=PROG, description=help_texts.DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"{PROG} {metadata.version('gibbs-gmm')}")
    parser.set_defaults(parser=parser)
    subcommands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in (_add_fit, _add_resume, _add_report, _add_predict, _add_compare, _add_compile):
        add(subcommands)
    parser.usage = f"{PROG} {{{','.join(subcommands.choices)}}} ... (--help says more)"
    return parser


def _command(subcommands: Any, name: str, arguments: str, does: Any, **texts: Any) -> Parser:
    """A parser for a command, which ``does`` what it says."""
    usage = f"{PROG} {name} {arguments} [options] (--help names them)"
    parser: Parser = subcommands.add_parser(name, prog=f"{PROG} {name}", usage=usage, **_AS_WRITTEN, **texts)
    parser.set_defaults(command=does, parser=parser)
    return parser


def _add_fit(subcommands: Any) -> None:
    fit = _command(
        subcommands,
        "fit",
        "FILE",
        commands.fit,
        help="fit a mixture to a CSV file",
        description=help_texts.FIT,
        epilog=help_texts.FIT_EXAMPLES,
    )
    fit.add_argument("csv", type=Path, metavar="FILE", help='file of observations, one per row; "-": standard input')

    model = fit.add_argument_group("model")
    model.add_argument(
        "-n", "--components", type=whole(1), metavar="N", help="number of components (default: it is learned)"
    )
    model.add_argument(
        "--weights",
        choices=("mfm", "dp", "py"),
        help="what an unknown number is: finite, under a prior that decreases from 1 (mfm, a mixture of finite "
        "mixtures, the default); or infinite, with a Dirichlet process (dp) or a Pitman-Yor process (py) for weights",
    )
    model.add_argument(
        "--concentration",
        type=positive,
        metavar="A",
        help="how evenly the weights are shared beforehand: with N components, the Dirichlet parameter of each "
        "(default: 1, all weights equally plausible; less expects some components to be nearly empty); for mfm, A/n is "
        "that parameter (default: A is learned); for dp and py, larger expects more clusters (default: 1)",
    )
    model.add_argument(
        "--discount",
        type=share,
        metavar="S",
        help="for py: from 0, a Dirichlet process, to below 1, very many small clusters (default: 0.25)",
    )
    model.add_argument(
        "--covariance-type",
        choices=COVARIANCE_TYPES,
        default="full",
        help="the shape of clusters: each of its own (full, the default), all of one (tied), along the columns (diag), "
        "or round in the units of the columns (spherical); gibbs-gmm compare says which the data favour",
    )
    model.add_argument(
        "--scale",
        choices=("shrunk", "wishart"),
        help="for full and tied clusters, how the scale that clusters share is learned: with its correlations shrunk "
        "by half (shrunk, the default), or freely (wishart), which finds clusters that differ along directions in "
        "which all are very thin, and more clusters where such a direction is bent",
    )
    model.add_argument(
        "--resolution",
        type=widths,
        metavar="R[,R...]",
        help="to what width values are known, for all columns or for each (default: as the values show; 0: exact)",
    )
    model.add_argument(
        "--labels",
        metavar="COLUMN",
        help="the column that says of which kind rows are known to be, empty where that is not known; each kind is a "
        "cluster, and others may be found beside them",
    )
    model.add_argument(
        "--outliers",
        action="store_true",
        help="allow for rows of no cluster, anywhere in the range of the data: about 5%% of them are expected",
    )
    add_file_options(fit, choose=True)
    fit.add_argument(
        "--counts",
        metavar="COLUMN",
        help="the column that says how many observations each row stands for, such as a bin of a histogram",
    )
    _add_run_options(fit)

    output = fit.add_argument_group("output")
    output.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder for the results (default: the file's name with -run, right here)",
    )
    output.add_argument("--force", action="store_true", help="replace the run that the folder already has")
    output.add_argument(
        "--append",
        action="store_true",
        help="write the rows of the file once more, with their clusters and the probabilities of these",
    )
    output.add_argument(
        "--no-assignments",
        action="store_true",
        help="do not keep which row belongs to which component in each draw: the largest part of the trace",
    )
    _add_quiet(output)


def _add_run_options(fit: Parser) -> None:
    run = fit.add_argument_group("run")
    run.add_argument(
        "--quick",
        action="store_true",
        help=f"a preliminary answer in a few seconds: {commands.QUICK_DRAWS} draws after a short warm-up, fewer of "
        "more than 100,000 rows",
    )
    run.add_argument("--draws", type=whole(1), metavar="N", help="draws to keep per chain (default: until they agree)")
    run.add_argument(
        "--warmup",
        type=whole(0),
        metavar="N",
        help="sweeps to throw away first, until the chain has found its way (default: as the run finds out; with "
        "--draws, 1000 with --components, else 1000 plus 200 times --thin; 200 for 200,000 rows or more)",
    )
    run.add_argument(
        "--thin",
        type=whole(1),
        metavar="N",
        help="keep every N-th sweep, of a run without --draws and --warmup at first (default: 5,000 / rows, from 1 to "
        "10; with one of these and without --components 50,000 / rows, from 1 to 50)",
    )
    run.add_argument(
        "--max-sweeps",
        type=whole(1),
        metavar="N",
        help="the most sweeps per chain of a run without --draws and --warmup (default: about a minute's for small "
        "data)",
    )
    run.add_argument(
        "--chains",
        type=whole(1),
        default=4,
        metavar="N",
        help="independent chains; with one, nothing shows whether it can be trusted (default: 4)",
    )
    run.add_argument(
        "--seed", type=whole(0), metavar="N", help="the same seed gives the same draws (default: a fresh one, printed)"
    )
    _add_threads(run)


def _add_resume(subcommands: Any) -> None:
    resume = _command(
        subcommands,
        "resume",
        "RUN",
        commands.resume,
        help="carry on a run that was interrupted, or add draws to one",
        description=help_texts.RESUME,
    )
    resume.add_argument("run", type=Path, metavar="RUN", help="folder that fit wrote")
    resume.add_argument(
        "--draws", type=whole(1), metavar="N", help="draws per chain to have in the end (default: as first asked for)"
    )
    resume.add_argument(
        "--max-sweeps",
        type=whole(1),
        metavar="N",
        help="the most sweeps per chain of a run that goes on until it is done (default: as first asked for)",
    )
    _add_threads(resume)
    _add_quiet(resume)


def _add_report(subcommands: Any) -> None:
    report = _command(
        subcommands,
        "report",
        "RUN",
        commands.report,
        help="make the report of a run again",
        description=help_texts.REPORT,
    )
    report.add_argument("run", type=Path, metavar="RUN", help="folder that fit wrote")
    _add_quiet(report)


def _add_predict(subcommands: Any) -> None:
    predict = _command(
        subcommands,
        "predict",
        "RUN FILE",
        commands.predict,
        help="say which clusters of a run new rows belong to",
        description=help_texts.PREDICT,
        epilog=help_texts.PREDICT_EXAMPLES,
    )
    predict.add_argument("run", type=Path, metavar="RUN", help="folder that fit wrote")
    predict.add_argument("csv", type=Path, metavar="FILE", help="file of new rows, with the columns of the fit")
    predict.add_argument("--out", type=Path, metavar="FILE", help="file to write (default: standard output)")
    predict.add_argument("--force", action="store_true", help="replace the file if it exists")
    add_file_options(predict, choose=False)
    _add_quiet(predict)


def _add_compare(subcommands: Any) -> None:
    compare = _command(
        subcommands,
        "compare",
        "FILE",
        commands.compare,
        help="say how probable each shape and number of clusters is",
        description=help_texts.COMPARE,
    )
    compare.add_argument("csv", type=Path, metavar="FILE", help='file of observations; "-": standard input')
    compare.add_argument(
        "-n", "--components", type=whole(1), default=10, metavar="N", help="numbers of components: 1 to N (default: 10)"
    )
    compare.add_argument(
        "--covariance-type",
        action="append",
        choices=COVARIANCE_TYPES,
        help="a shape of clusters; may be given several times (default: all four)",
    )
    compare.add_argument("--draws", type=whole(100), metavar="N", help="sweeps of each chain (default: by the rows)")
    compare.add_argument("--out", type=Path, metavar="FILE", help="write the table to this file too, as CSV")
    compare.add_argument("--plot", type=Path, metavar="FILE", help="draw the log evidences into this file")
    compare.add_argument("--force", action="store_true", help="replace files that exist")
    compare.add_argument("--seed", type=whole(0), metavar="N", help="the same seed gives the same numbers")
    add_file_options(compare, choose=True)
    _add_threads(compare)
    _add_quiet(compare)


def _add_compile(subcommands: Any) -> None:
    kernels = _command(
        subcommands,
        "compile",
        "[FAMILY ...]",
        compiling.compile_kernels,
        help="compile ahead of time what runs on this kind of machine need",
        description=help_texts.COMPILE,
        epilog=help_texts.COMPILE_EXAMPLES,
    )
    kernels.add_argument(
        "families",
        nargs="*",
        type=_family,
        metavar="FAMILY",
        help="shapes of clusters: full, tied, diag, spherical (default: all four)",
    )
    _add_quiet(kernels)


def _family(text: str) -> str:
    """A shape of clusters (``choices`` would refuse that there is none)."""
    if text not in COVARIANCE_TYPES:
        raise argparse.ArgumentTypeError(f"must be one of {', '.join(COVARIANCE_TYPES)}, got {text!r}")
    return text


def _add_threads(parser: Any) -> None:
    parser.add_argument(
        "--threads", type=whole(1), metavar="N", help="threads; no effect on the draws (default: all cores)"
    )


def _add_quiet(parser: Any) -> None:
    parser.add_argument("--quiet", action="store_true", help="print only results asked for, warnings and errors")
