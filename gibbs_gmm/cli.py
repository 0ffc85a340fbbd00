"""The command line: ``gibbs-gmm fit data.csv``.

Exit codes: 0 done; 1 the run failed (numerical failure, disk full); 2 bad usage or bad input; 130 interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

if TYPE_CHECKING:
    from gibbs_gmm.n_posterior import NPosterior
    from gibbs_gmm.summary import Summary
    from gibbs_gmm.table import Table
    from gibbs_gmm.trace import Trace
    from gibbs_gmm.weight_priors import WeightPrior

_PROG = "gibbs-gmm"
_TRACE, _SUMMARY, _PICTURE = "trace.npz", "summary.csv", "pairs.png"
_N_TABLE, _N_PICTURE = "n_posterior.csv", "n_posterior.png"
_WIDTH, _MOST_BARS = 79, 40  # of the bar chart

_DESCRIPTION = "Fully Bayesian Gaussian mixtures: the posterior of every component, and how sure it is."

_FIT = """\
Fit a Gaussian mixture to the numeric columns of a CSV file by Gibbs sampling.

The rows are taken to come from several kinds (components), each a multivariate
normal distribution; how many is learned, or given with --components. The
result is not one answer but draws of all the answers that the data allow: how
many kinds there are, how common each is, what it looks like, and which row
belongs to which. Several independent chains are run, so that it can be seen
whether they agree; if the number is learned, they start from one cluster, from
many and from numbers between.

Two numbers are told apart: n, the components of the mixture, and n+, those of
them that own at least one row (clusters).

Written into the output folder:
  trace.npz        all draws; gibbs_gmm.load("trace.npz") reads them in Python
  summary.csv      mean, standard deviation, 90% interval, R-hat and effective
                   sample size of every quantity
  pairs.png        pair plot of the data with the components and their
                   uncertainty
and, where the number of components is learned:
  n_posterior.csv  probabilities of every n and n+, with standard errors, the
                   prior, and each chain's own
  n_posterior.png  the same as a picture
"""

_FIT_EXAMPLES = """\
examples:
  gibbs-gmm fit data/iris.csv --out iris-run
  gibbs-gmm fit data/wine.csv --drop cultivar --draws 5000
  gibbs-gmm fit data/iris.csv --components 3 --out iris-3
  gibbs-gmm fit data/iris.csv --weights py --discount 0.3 --out iris-py

The file has one row per observation and, in its first line, the names of the
columns; commas, semicolons or tabs separate them. Text, constant and empty
columns are left out, which is said; missing values are refused.

exit codes:
  0 done; 1 the run failed; 2 bad usage or input; 130 interrupted (the draws so
  far are written, if there are any)
"""


class _Refusal(Exception):
    """Bad usage or bad input: message for the user, exit code 2."""


class _Failure(Exception):
    """The run failed: message for the user, exit code 1."""


class _Parser(argparse.ArgumentParser):
    """argparse, with errors under the name of the program, not of a subcommand."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(2, f"{_PROG}: error: {message}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; no expected error leaves a traceback.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments after the program's name; ``sys.argv[1:]`` by default.
    """
    try:
        args = _parser().parse_args(argv)
    except SystemExit as stop:  # argparse has printed help, version or its error
        return int(stop.code or 0)
    try:
        code: int = args.command(args)
        sys.stdout.flush()
        return code
    except _Refusal as error:
        _complain("error", error)
        return 2
    except _Failure as error:
        _complain("error", error)
        return 1
    except KeyboardInterrupt as stop:
        _complain("error", f"interrupted; {stop.args[0] if stop.args else 'nothing is written'}")
        return 130
    except BrokenPipeError:  # whoever read the output, such as `head`, has gone; everything else is done
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog=_PROG, description=_DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"{_PROG} {metadata.version('gibbs-gmm')}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    fit = commands.add_parser(
        "fit",
        help="fit a mixture to a CSV file",
        description=_FIT,
        epilog=_FIT_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    fit.set_defaults(command=_fit)
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

    data = fit.add_argument_group("data")
    data.add_argument("--columns", type=_names, metavar="A,B,C", help="use only these columns, in this order")
    data.add_argument(
        "--drop",
        type=_names,
        default=(),
        metavar="A,B",
        help="leave these columns out, such as labels coded as numbers",
    )

    run = fit.add_argument_group("run")
    run.add_argument(
        "--draws", type=_whole(1), default=1000, metavar="N", help="draws to keep per chain (default: 1000)"
    )
    run.add_argument(
        "--warmup",
        type=_whole(0),
        metavar="N",
        help="sweeps to throw away first, until the chain has found its way (default: 1000 with --components; else "
        "1000 plus 200 times --thin)",
    )
    run.add_argument(
        "--thin",
        type=_whole(1),
        metavar="N",
        help="keep every N-th sweep (default: 1 with --components; else 50,000 / rows, from 1 to 50)",
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
    return parser


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


def _names(text: str) -> tuple[str, ...]:
    """An argparse type: names between commas."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise argparse.ArgumentTypeError(f"names of columns with commas between them are wanted, got {text!r}")
    return names


def _fit(args: argparse.Namespace) -> int:
    """The command ``fit``: read, run, write, report."""
    say = _silent if args.quiet else print
    out: Path = args.out if args.out is not None else Path(f"{args.csv.stem}-run")
    weight_prior = _weight_prior(args)
    _refuse_existing_run(out, args.force)
    table = _read(args)
    say(f"{args.csv}: {table.X.shape[0]} rows")
    say(f"  used      {', '.join(table.columns)}")
    for name, reason in table.left_out.items():
        say(f"  left out  {name}: {reason}")
    for name, count in table.label_like.items():
        _complain(
            "warning", f"column {name!r} has only {count} values, all whole: if it holds labels, use --drop {name!r}"
        )
    with _made(out):
        with _warnings_as_lines():
            trace = _sample(args, weight_prior, table)
        results = _write(trace, table, out)
    if results.n_posterior is not None:
        say(f"\n{_bar_chart(results.n_posterior)}")
    say(f"\n{results.summary}\n")
    if args.quiet:
        for message in results.summary.messages:
            _complain("warning", message)
    say(f"wrote {', '.join(results.files)} in {out}; --seed {trace.settings['seed']} gives the same draws again")
    return 130 if trace.settings["interrupted"] else 0


def _weight_prior(args: argparse.Namespace) -> WeightPrior:
    """What to fit: the prior of the number of components and of their weights."""
    from gibbs_gmm.weight_priors import DirichletProcess, FiniteMixture, MixtureOfFiniteMixtures, PitmanYorProcess

    if args.discount is not None and args.weights != "py":
        raise _Refusal("--discount is for --weights py")
    given = {} if args.concentration is None else {"concentration": args.concentration}
    if args.components is not None:
        if args.weights is not None:
            raise _Refusal("--weights is for an unknown number of components: leave it out, or --components")
        return FiniteMixture(args.components, **given)
    if args.weights == "dp":
        return DirichletProcess(**given)
    if args.weights == "py":
        return PitmanYorProcess(**given, **({} if args.discount is None else {"discount": args.discount}))
    return MixtureOfFiniteMixtures(**given)


def _refuse_existing_run(out: Path, force: bool) -> None:
    if out.exists() and not out.is_dir():
        raise _Refusal(f"the output {str(out)!r} is a file, not a folder")
    if not force and any((out / name).exists() for name in (_TRACE, _SUMMARY, _PICTURE, _N_TABLE, _N_PICTURE)):
        raise _Refusal(
            f"the folder {str(out)!r} already has a run: choose another with --out, or replace it with --force"
        )


def _read(args: argparse.Namespace) -> Table:
    from gibbs_gmm.table import read_csv

    try:
        return read_csv(args.csv, args.columns, args.drop)
    except (OSError, ValueError) as error:
        raise _Refusal(error) from None


@contextlib.contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Make the folder before the long run, not after it; take it away again if nothing came to be in it."""
    new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _Refusal(f"the output folder {str(folder)!r} cannot be made: {error.strerror}") from None
    if not os.access(folder, os.W_OK):
        raise _Refusal(f"the output folder {str(folder)!r} cannot be written to")
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
        raise _Failure(f"the run failed: {str(error) or type(error).__name__}") from None
    except (TypeError, ValueError) as error:
        raise _Refusal(error) from None


class _Results(NamedTuple):
    """What came of a run: tables, the second where n was learned, and the names of the files."""

    summary: Summary
    n_posterior: NPosterior | None
    files: list[str]


def _write(trace: Trace, table: Table, out: Path) -> _Results:
    """Write everything, the trace first."""
    from gibbs_gmm.plots import save_n_posterior, save_pairs

    written: list[str] = []
    n_posterior = None
    try:
        # Those of an earlier run would be wrong beside the new trace.
        for name in (_SUMMARY, _PICTURE, _N_TABLE, _N_PICTURE):
            (out / name).unlink(missing_ok=True)
        trace.save(out / _TRACE)
        written.append(_TRACE)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the summary's messages are printed in any case
            summary = trace.summary()
            if not trace.n_is_known:
                n_posterior = trace.n_posterior()
        summary.to_csv(out / _SUMMARY)
        written.append(_SUMMARY)
        if n_posterior is not None:
            n_posterior.to_csv(out / _N_TABLE)
            written.append(_N_TABLE)
        try:
            save_pairs(trace, table, out / _PICTURE)
            written.append(_PICTURE)
            if n_posterior is not None:
                save_n_posterior(n_posterior, out / _N_PICTURE)
                written.append(_N_PICTURE)
        except ImportError as error:
            _complain("warning", f"no picture: {error}")
    except (OSError, MemoryError) as error:
        raise _Failure(
            f"the results could not be written: {str(error) or 'out of memory'}; {_whole_files(written, out)}"
        ) from None
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_whole_files(written, out)) from None
    return _Results(summary, n_posterior, written)


def _bar_chart(posterior: NPosterior) -> str:
    """p(n) and p(n+) side by side, or p(n+) alone, as bars of plain text with their numbers."""
    panels = [("p(n+), clusters", posterior.p_n_clusters, posterior.prior_n_clusters)]
    if posterior.p_n_components is not None and posterior.prior_n_components is not None:
        panels.insert(0, ("p(n), components", posterior.p_n_components, posterior.prior_n_components))
    shown = posterior.visible()
    if len(posterior.n[shown]) > _MOST_BARS:
        return f"n and n+ are spread over {len(posterior.n[shown])} values: see {_N_TABLE}"
    names = [str(n) for n in posterior.n[shown]]
    margin = max(map(len, names)) + 2
    room = (_WIDTH - margin) // len(panels) - len("    0.000  0.000")
    longest = max(float(p.max()) for _, p, _ in panels)
    lines = [" " * margin, *(name.rjust(margin) for name in names)]
    for title, p, prior in panels:
        lines[0] += f"  {title:{room}}   post  prior"
        for row, (share, before) in enumerate(zip(p[shown], prior[shown], strict=True), start=1):
            bar = "#" * round(room * float(share) / longest)
            lines[row] += f"  {bar:{room}}  {share:.3f}  {'    -' if math.isnan(before) else f'{before:.3f}'}"
    return "\n".join(lines)


def _whole_files(written: list[str], out: Path) -> str:
    return f"{' and '.join(written)} in {out} can be used" if written else "nothing is written"


@contextlib.contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """Show warnings meant for users as plain lines of this program."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        _complain("warning", message)

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show
        yield


def _complain(kind: str, message: object) -> None:
    print(f"{_PROG}: {kind}: {message}", file=sys.stderr)


def _silent(*_: object) -> None:
    """Say nothing."""
