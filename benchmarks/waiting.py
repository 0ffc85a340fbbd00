"""What a person waits for: ``python -m benchmarks.waiting [--quick]``.

``gibbs-gmm fit data/iris.csv`` from start to report, with and without ``--quick`` and ``-n 3``; and, in a terminal, how
long it, its help, and ``gibbs_gmm.fit`` in Python take to show anything at all: with compiled kernels and without. Of
each, seconds by the clock, and CPU seconds of all threads, which other processes change less: the least of a few runs.
Results go to ``results/waiting.json``. Linux only.
"""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import common
from benchmarks.common import say

_DATA = str(common.ROOT.parent / "data" / "iris.csv")
_FIT = ("-m", "gibbs_gmm", "fit", _DATA, "--seed", "1", "--out", "OUT")
_PYTHON = f"""
import numpy
X = numpy.genfromtxt({_DATA!r}, delimiter=",", skip_header=1, usecols=range(4))
import gibbs_gmm as gg
print("GO", flush=True)
gg.fit(X, rng=1)
"""
WHOLE: dict[str, tuple[tuple[str, ...], float]] = {  # with the seconds that they may take
    "gibbs-gmm fit data/iris.csv": (_FIT, 15.0),
    "gibbs-gmm fit data/iris.csv --quick": ((*_FIT, "--quick"), 6.0),
    "gibbs-gmm fit data/iris.csv -n 3": ((*_FIT, "-n", "3"), 6.0),
}
SIGNS: dict[str, tuple[str, ...]] = {
    "gibbs-gmm fit data/iris.csv": _FIT,
    "gibbs-gmm fit --help": ("-m", "gibbs_gmm", "fit", "--help"),
    "gg.fit(X), after the import of gibbs_gmm": ("-c", _PYTHON),
}
_SIGN = 1.0  # seconds to the first sign

Passed = tuple[float, float]  # seconds by the clock, and of the CPU


def whole(arguments: Sequence[str]) -> Passed:
    """What passes until a program ends."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        child = subprocess.Popen(_command(arguments, folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        if status != 0:
            raise SystemExit(f"{' '.join(arguments)} ended with status {status}")
        return time.perf_counter() - begun, usage.ru_utime + usage.ru_stime


def sign(arguments: Sequence[str], cache: str | None) -> Passed:
    """What passes until a program writes to its terminal; where it writes GO, from then on to what it writes next.

    ``cache`` is where compiled kernels are looked for.
    """
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))  # in a terminal of no size nothing is shown
    place = {} if cache is None else {"NUMBA_CACHE_DIR": cache}
    with tempfile.TemporaryDirectory() as folder:
        child = subprocess.Popen(
            _command(arguments, folder), stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, **place}
        )
        try:
            begun = time.perf_counter(), 0.0
            text = _written(ours)
            while text.startswith(b"GO") and b"\n" not in text:
                text += _written(ours)
            if text.startswith(b"GO"):
                begun = time.perf_counter(), _cpu_seconds(child.pid)
                if text.endswith(b"GO\r\n"):  # and not what came next already
                    _written(ours)
            return time.perf_counter() - begun[0], _cpu_seconds(child.pid) - begun[1]
        finally:
            child.kill()
            child.wait()
            os.close(ours)
            os.close(theirs)


def _command(arguments: Sequence[str], folder: str) -> list[str]:
    return [sys.executable, *(str(Path(folder) / "run") if word == "OUT" else word for word in arguments)]


def _written(terminal: int) -> bytes:
    if not select.select([terminal], [], [], 120.0)[0]:
        raise SystemExit("a program showed nothing for two minutes")
    return os.read(terminal, 1 << 16)


def _cpu_seconds(pid: int) -> float:
    """CPU seconds of a process that is still there, to a hundredth."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def least(measure: Callable[[], Passed], repeats: int) -> Passed:
    """The least of a few runs, by the clock and of the CPU."""
    clock, cpu = zip(*(measure() for _ in range(repeats)), strict=True)
    return min(clock), min(cpu)


def main() -> None:
    options = common.parser("How long a person waits for an answer, and for a sign of life.").parse_args()
    repeats = 2 if options.quick else 5
    results: list[tuple[str, str, float, Passed]] = []
    with common.OtherLoad() as load, tempfile.TemporaryDirectory() as empty:
        for name, arguments in SIGNS.items():
            say(f"the first sign of {name} ...")
            for what, cache in (("first sign", None), ("first sign, nothing compiled yet", empty)):
                results.append((name, what, _SIGN, least(lambda a=arguments, c=cache: sign(a, c), repeats)))
        for name, (arguments, limit) in WHOLE.items():
            say(f"{name} ...")
            results.append((name, "report", limit, least(lambda a=arguments: whole(a), repeats)))
    rows = [
        [f"`{name}`" if name.startswith("gibbs") else name, what, f"{limit:g} s", f"{clock:.2f}", f"{cpu:.2f}"]
        for name, what, limit, (clock, cpu) in results
    ]
    print(common.table(["", "until", "at most", "s", "s of CPU"], rows))
    entries = [
        {"name": name, "until": what, "at_most": limit, "seconds": clock, "cpu_seconds": cpu}
        for name, what, limit, (clock, cpu) in results
    ]
    common.write("waiting", {"load_of_others": load.share, "results": entries}, options.quick)


if __name__ == "__main__":
    main()
