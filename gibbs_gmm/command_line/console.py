"""What the command line says, and where: steps, errors and warnings on standard error, a bar chart in plain text."""

from __future__ import annotations

import contextlib
import io
import math
import shutil
import sys
import textwrap
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gibbs_gmm.command_line import output_folder

if TYPE_CHECKING:
    from gibbs_gmm.posterior.n_posterior import NPosterior

PROG = "gibbs-gmm"
WIDTH = 79
_MOST_BARS = 12  # of the bar chart


class Refusal(Exception):
    """Bad usage or bad input: message for the user, exit code 2."""


class Failure(Exception):
    """The run failed: message for the user, exit code 1."""


def prepare_streams() -> None:
    """Let no character end the program: UTF-8 in files and pipes, and what a terminal lacks as an escape."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            if stream.isatty():
                stream.reconfigure(errors="backslashreplace")
            else:
                stream.reconfigure(encoding="utf-8", errors="backslashreplace")


@contextlib.contextmanager
def step(text: str, quiet: bool = False) -> Iterator[None]:
    """Say what is being done: in a terminal for as long as it takes, elsewhere as a line that stays."""
    if quiet:
        yield
        return
    if not sys.stderr.isatty():
        print(f"{PROG}: {text}", file=sys.stderr, flush=True)
        yield
        return
    shown = f"{text} ..."[: _columns() - 1]
    print(shown, end="\r", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        print(" " * len(shown), end="\r", file=sys.stderr, flush=True)


@contextlib.contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Show warnings meant for users as plain lines of this program."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        text = str(message)
        complain("warning", f"{text} (--drop leaves a column out)" if text.startswith("X has ") else text)

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.filterwarnings("ignore", r"(fit|resume)\(\): The chains")  # the answer says so
        warnings.showwarning = show
        yield


def complain(kind: str, message: object) -> None:
    """An error or a warning on standard error, one line; folded in a terminal."""
    text = f"{PROG}: {kind}: {message}"
    if sys.stderr.isatty():
        text = fold(text, "  ").ljust(_columns() - 1)  # over what may be in its place
    print(text, file=sys.stderr)


def fold(text: str, indent: str = "") -> str:
    """The text in lines of at most 79 characters, fewer in a narrower terminal; long words stay whole."""
    width = min(WIDTH, _columns() - 1)
    return textwrap.fill(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _columns() -> int:
    return max(40, shutil.get_terminal_size().columns)


def silent(*_: object) -> None:
    """Say nothing."""


def bar_chart(posterior: NPosterior) -> str:
    """p(n) and p(n+) side by side, or p(n+) alone, as bars of plain text with their numbers."""
    panels = [("p(n+), clusters", posterior.p_n_clusters, posterior.prior_n_clusters)]
    if posterior.p_n_components is not None and posterior.prior_n_components is not None:
        panels.insert(0, ("p(n), components", posterior.p_n_components, posterior.prior_n_components))
    shown = posterior.visible()
    if len(posterior.n[shown]) > _MOST_BARS:
        return f"n and n+ are spread over {len(posterior.n[shown])} values: see {output_folder.N_TABLE}"
    names = [str(n) for n in posterior.n[shown]]
    margin = max(map(len, names)) + 2
    room = (WIDTH - margin) // len(panels) - len("    0.000  0.000")
    longest = max(float(p.max()) for _, p, _ in panels)
    lines = [" " * margin, *(name.rjust(margin) for name in names)]
    for title, p, prior in panels:
        lines[0] += f"  {title:{room}}   post  prior"
        for row, (share, before) in enumerate(zip(p[shown], prior[shown], strict=True), start=1):
            bar = "#" * round(room * float(share) / longest)
            lines[row] += f"  {bar:{room}}  {share:.3f}  {'    -' if math.isnan(before) else f'{before:.3f}'}"
    return "\n".join(lines)
