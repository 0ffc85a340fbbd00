"""What the command line says, and where: errors and warnings as lines of their own, a bar chart in plain text."""

from __future__ import annotations

import contextlib
import math
import sys
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gibbs_gmm.command_line import output_folder

if TYPE_CHECKING:
    from gibbs_gmm.posterior.n_posterior import NPosterior

PROG = "gibbs-gmm"
_WIDTH, _MOST_BARS = 79, 40  # of the bar chart


class Refusal(Exception):
    """Bad usage or bad input: message for the user, exit code 2."""


class Failure(Exception):
    """The run failed: message for the user, exit code 1."""


@contextlib.contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Show warnings meant for users as plain lines of this program."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        complain("warning", message)

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.filterwarnings("ignore", r"(fit|resume)\(\): The chains")  # the tables below say so
        warnings.showwarning = show
        yield


def complain(kind: str, message: object) -> None:
    """One line on standard error; ``kind`` is "error" or "warning"."""
    print(f"{PROG}: {kind}: {message}", file=sys.stderr)


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
    room = (_WIDTH - margin) // len(panels) - len("    0.000  0.000")
    longest = max(float(p.max()) for _, p, _ in panels)
    lines = [" " * margin, *(name.rjust(margin) for name in names)]
    for title, p, prior in panels:
        lines[0] += f"  {title:{room}}   post  prior"
        for row, (share, before) in enumerate(zip(p[shown], prior[shown], strict=True), start=1):
            bar = "#" * round(room * float(share) / longest)
            lines[row] += f"  {bar:{room}}  {share:.3f}  {'    -' if math.isnan(before) else f'{before:.3f}'}"
    return "\n".join(lines)
