"""What the package advises in Python, as commands."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from gibbs_gmm.command_line.console import PROG
from gibbs_gmm.posterior.agreement import Alarm, longer

if TYPE_CHECKING:
    from gibbs_gmm.command_line.output_folder import Command
    from gibbs_gmm.trace import Trace


def in_commands(messages: Iterable[str], trace: Trace, command: Command, folder: str = "FOLDER") -> list[str]:
    """Messages of a table, whose advice to run longer is to a user of the command line.

    Parameters
    ----------
    messages : iterable of str
        The advice of an :class:`gibbs_gmm.posterior.agreement.Alarm` is to run longer, in Python.
    command : Command
        How the run came to be.
    folder : str
        That of the run, as it is to be pasted.
    """
    return [
        message.finding + _run_longer(trace, command, folder)
        if isinstance(message, Alarm) and message.finding != message
        else message
        for message in messages
    ]


def _run_longer(trace: Trace, command: Command, folder: str) -> str:
    if "--quick" in command.arguments:
        return "Run longer, until they agree: the same command without --quick."
    more = longer(trace)
    if "max_sweeps" in more and len(trace.log_likelihood) == more["chains"]:
        return f"Run longer, until they agree: {PROG} resume {folder} --max-sweeps {more['max_sweeps']}"
    options = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in more.items())
    return f"Run longer, until they agree: the same command with {options} --force."
