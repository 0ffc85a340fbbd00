"""Arguments: their types, the options that several commands share, and errors that say what was probably meant."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from gibbs_gmm.command_line.console import PROG
from gibbs_gmm.command_line.reading.options import ReadOptions

_MEANT = {
    **dict.fromkeys(("--n", "--k", "-k", "--clusters", "--n-components", "--n-clusters"), "--components"),
    **dict.fromkeys(("-o", "--output", "--folder", "--dir", "--output-dir"), "--out"),
    **dict.fromkeys(("--iterations", "--iter", "--samples", "--n-iter"), "--draws"),
    **dict.fromkeys(("--burnin", "--burn-in", "--burn", "--tune"), "--warmup"),
    **dict.fromkeys(("--sep", "--separator", "-d"), "--delimiter"),
    **dict.fromkeys(("--cores", "--jobs", "-j", "--n-jobs", "--workers"), "--threads"),
    **dict.fromkeys(("--exclude", "--ignore", "--without"), "--drop"),
    **dict.fromkeys(("--features", "--variables", "--vars", "--only", "--use", "--usecols"), "--columns"),
    **dict.fromkeys(("--na", "--na-values", "--nan"), "--missing"),
    **dict.fromkeys(("--overwrite", "-f", "--replace"), "--force"),
    **dict.fromkeys(("--silent", "-q"), "--quiet"),
    **dict.fromkeys(("--random-state", "--rng"), "--seed"),
    **dict.fromkeys(("--index", "--index-col", "--row-names"), "--id"),
    **dict.fromkeys(("--skiprows", "--skip-lines"), "--skip"),
    **dict.fromkeys(("--fast", "--preview"), "--quick"),
}


class Parser(argparse.ArgumentParser):
    """argparse without abbreviations; errors are those of the program, and say what was probably meant."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Print how the command is used and what is wrong, and end with 2."""
        self.print_usage(sys.stderr)
        self.exit(2, f"{PROG}: error: {message}\n")

    def refuse_unknown(self, unknown: Sequence[str]) -> NoReturn:
        """End because of arguments that the command does not have."""
        known = [option for option in self._option_string_actions if option.startswith("--")]
        hints = []
        for argument in unknown:
            name = argument.split("=")[0]
            if not name.startswith("-"):
                continue
            close = difflib.get_close_matches(name, known, 1, 0.6)
            meant = _MEANT[name] if _MEANT.get(name) in known else close[0] if close else None
            if meant is not None:
                short = next(
                    (f" ({one})" for one in self._option_string_actions[meant].option_strings if one[1] != "-"), ""
                )
                hints.append(f"for {name}, did you mean {meant}{short}?")
        advice = " ".join(hints) or f"See {self.prog} --help"
        self.error(f"unrecognized arguments: {' '.join(unknown)}. {advice[0].upper()}{advice[1:]}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """As argparse does, but of a command that there is not, say what was probably meant."""
        commands = action.choices if isinstance(action, argparse._SubParsersAction) else None
        if commands is None or value in commands:
            super()._check_value(action, value)
            return
        close = difflib.get_close_matches(str(value), list(commands), 1, 0.6)
        meant = close[0] if close else f"fit {value}" if "." in str(value) else None
        hint = f": did you mean `{PROG} {meant}`?" if meant is not None else f" (choose from {', '.join(commands)})"
        raise argparse.ArgumentError(action, f"invalid choice: {value!r}{hint}")


def add_file_options(parser: argparse.ArgumentParser, choose: bool) -> None:
    """What may be said of a file; with ``choose``, which of its columns to use too."""
    file = parser.add_argument_group("file", "found out from the file where not given")
    if choose:
        file.add_argument(
            "--columns",
            type=names,
            action="append",
            metavar="A,B,C",
            help="use only these columns, in this order; may be given several times, for names with commas",
        )
        file.add_argument(
            "--drop",
            type=names,
            action="append",
            default=[],
            metavar="A,B",
            help="leave these columns out, such as labels coded as numbers; may be given several times",
        )
    file.add_argument("--id", metavar="NAME", help="the column with the names of the rows")
    file.add_argument(
        "--decimal", choices=(".", ","), metavar="MARK", help="what stands before decimals: a point or a comma"
    )
    file.add_argument(
        "--delimiter", type=_delimiter, metavar="C", help='what stands between fields: one character, "tab" or "space"'
    )
    file.add_argument("--encoding", metavar="NAME", help="of the text, such as cp1252, utf-16 or mac_roman")
    file.add_argument("--header", choices=("yes", "no"), help="whether the first line holds the names of columns")
    file.add_argument("--skip", type=whole(0), default=0, metavar="N", help="lines to pass over at the top")
    file.add_argument("--comment", metavar="C", help="what lines begin with that are no rows")
    file.add_argument(
        "--missing",
        action="append",
        default=[],
        metavar="VALUE",
        help="a value that stands for a missing one, such as -999; may be given several times",
    )


def read_options(args: argparse.Namespace, **others: Any) -> ReadOptions:
    """What was said of a file."""
    same = ("id", "decimal", "delimiter", "encoding", "skip", "comment", "missing")
    header = None if args.header is None else args.header == "yes"
    return ReadOptions(**{name: getattr(args, name) for name in same}, header=header, **others)


# --- Types ------------------------------------------------------------------------------------------------------------


def whole(minimum: int) -> Callable[[str], int]:
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


def positive(text: str) -> float:
    """An argparse type: a positive finite number."""
    value = _number(text)
    if not 0.0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"a positive number is wanted, got {text!r}")
    return value


def share(text: str) -> float:
    """An argparse type: a number of at least 0 and less than 1."""
    value = _number(text)
    if not 0.0 <= value < 1.0:
        raise argparse.ArgumentTypeError(f"a number of at least 0 and less than 1 is wanted, got {text!r}")
    return value


def widths(text: str) -> list[float]:
    """An argparse type: one number of at least 0, or several between commas."""
    values = [_number(value) for value in text.split(",")]
    if not all(0.0 <= value < float("inf") for value in values):
        raise argparse.ArgumentTypeError(f"numbers of at least 0 with commas between them are wanted, got {text!r}")
    return values


def names(text: str) -> str:
    """An argparse type: a name, or names between commas."""
    if not text.replace(",", "").strip():
        raise argparse.ArgumentTypeError(f"names of columns with commas between them are wanted, got {text!r}")
    return text


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return -1.0


def _delimiter(text: str) -> str:
    if text not in ("tab", "space", "\\t") and len(text) != 1:
        raise argparse.ArgumentTypeError(f'one character, "tab" or "space" is wanted, got {text!r}')
    return text
