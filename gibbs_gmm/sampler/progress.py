"""What a person sees while chains run: a bar in terminals and notebooks, and lines in the log.

If kernels have to be compiled before the first sweep, it says so.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Self

from tqdm import tqdm

from gibbs_gmm.kernels._processes import reported

if TYPE_CHECKING:
    from gibbs_gmm.sampler.chain import Chain

_log = logging.getLogger("gibbs_gmm")

_LOG_SECONDS = 10.0  # between two lines of progress in the log
_AT_ONCE = 0.1  # seconds after which a terminal shows that something is going on
_BAR = "{desc} |{bar}| {percentage:.0f}%, {remaining} left"


def on_screen() -> bool:
    """Whether there is somewhere to show a bar: a terminal or a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules


def _bar(total: int, text: str, shown: bool, done: int = 0) -> Any:
    return tqdm(
        total=total,
        initial=done,
        desc=text,
        bar_format=_BAR,
        disable=not shown,
        dynamic_ncols=True,
        delay=0.5,
        leave=False,
    )


class Steps:
    """The progress of a task of so many steps, from when it is made to the end of its context."""

    def __init__(self, total: int, text: str, show: bool) -> None:
        self._total, self._text, self._done = total, text, 0
        self._logs = show and not on_screen()
        self._bar = _bar(total, text, show and on_screen())
        self._first: tuple[float, int] | None = None  # when the first steps were done, and how many
        self._logged = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def update(self, steps: int) -> None:
        """So many more steps are done."""
        self._done += steps
        self._bar.update(steps)
        now = time.monotonic()
        if self._first is None:  # before it kernels may have been compiled
            self._first = now, self._done
        elif self._logs and not 0.0 <= now - self._logged <= _LOG_SECONDS:
            begun, before = self._first
            left = (now - begun) / max(1, self._done - before) * (self._total - self._done)
            _log.info("%s: %.0f%%, %s left", self._text, 100.0 * self._done / self._total, _duration(left))
            self._logged = now


class Compiling:
    """While it is a context, says how many pieces of the sampler have been compiled, of those not found in the cache.

    On screen it is one line that goes away, and that shows before long that something is going on; in the log, a line
    before and one after.
    """

    def __init__(self, show: bool) -> None:
        self._show, self._screen, self._begun = show, show and on_screen(), 0.0
        self._timer: threading.Timer | None = None
        self._line: Any = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._token = reported.set(self._say if self._show else None)
        if self._screen:
            self._timer = threading.Timer(_AT_ONCE, self._write, ["getting ready ..."])
            self._timer.daemon = True
            self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        reported.reset(self._token)
        self.close()

    def close(self) -> None:
        """Take the line away."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()
            self._timer = None
        if self._line is not None:
            self._line.close()
            self._line = None

    def _write(self, text: str) -> None:
        with self._lock:
            if self._line is None:
                self._line = tqdm(desc=text, bar_format="{desc}", leave=False)
            else:
                self._line.set_description_str(text)

    def _say(self, done: int, total: int) -> None:
        if self._screen:
            if self._timer is not None:
                self._timer.cancel()
            self._write(f"compiling for this machine, once: {done} of {total}")
            if done == total:
                self.close()
        elif done == 0:
            self._begun = time.monotonic()
            _log.info("compiling for this machine, once: %d pieces", total)
        elif done == total:
            _log.info("compiled, after %.0f s", time.monotonic() - self._begun)


class Progress:
    """The progress of a run, from before its kernels are needed to its end; one that is not shown does nothing.

    A context; in it :meth:`begin` is called when there are chains, and :meth:`update` after each batch of one. It may
    be entered before, for whatever takes a while before there are any.
    """

    def __init__(self, show: bool) -> None:
        self._show, self._begun = show, time.monotonic()
        self._screen = show and on_screen()
        self.missing = ""  # how far a run is that goes on until it is done
        self._compiling = Compiling(show)
        self._bar: Any = None

    def __enter__(self) -> Self:
        self._compiling.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._compiling.__exit__()
        self.close()

    def begin(self, chains: list[Chain]) -> None:
        """Show where these chains are."""
        self._compiling.close()
        self._chains, self._total = chains, sum(chain.plan.sweeps for chain in chains)
        done = sum(chain.sweeps_done for chain in chains)
        self._bar = _bar(self._total, self._phase(), self._screen, done)
        self._first: tuple[float, int] | None = None  # when the first batch had ended, and how many sweeps were done
        self._logged = self._begun

    def update(self, sweeps: int) -> None:
        """Some chain has made this many more sweeps."""
        if self._screen:
            self._bar.set_description_str(self._phase(), refresh=False)
        self._bar.update(sweeps)
        now = time.monotonic()
        done = sum(chain.sweeps_done for chain in self._chains)
        if self._first is None or done == self._first[1]:
            self._first, self._logged = (now, done), now
        elif self._show and not self._screen and not 0.0 <= now - self._logged <= _LOG_SECONDS:
            begun, before = self._first
            left = (now - begun) / max(1, done - before) * (self._total - done)
            _log.info("%s: %.0f%%, %s left", self._phase(), 100.0 * done / self._total, _duration(left))
            self._logged = now

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()

    def _phase(self) -> str:
        """What the chains are at: "4 chains, draw 312 of 1,000"."""
        count = len(self._chains)
        name = f"{count} chain{'s'[: count > 1]}{f' at {self.missing}' if self.missing else ''}"
        behind = min(self._chains, key=lambda chain: chain.sweeps_done)
        if behind.sweeps_done == 0 and behind.first is not None:
            return f"{name}, starting from {len(behind.first.data.X):,} of the {len(behind.data.X):,} rows each"
        if behind.sweeps_done < behind.plan.warmup:
            return f"{name}, warm-up sweep {behind.sweeps_done:,} of {behind.plan.warmup:,}"
        return f"{name}, draw {behind.draws_done:,} of {behind.plan.draws:,}"


def _duration(seconds: float) -> str:
    """Seconds for a person: 40 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
