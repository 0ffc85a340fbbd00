"""Pieces compiled by processes side by side, into the cache that all share.

numba compiles one function at a time, whatever the number of threads, and most of its time is Python's. So where
several pieces are missing from the cache, a few processes are started that compile them, while this one does the same;
it then loads what the others have made. They are started by a command of their own, so that it does not matter what
runs here (a notebook, a script without a guard, a daemon), and end when this process does. Whatever goes wrong with one
of them, what it has not made is compiled here.
"""

import gc
import os
import pickle
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any

from filelock import FileLock
from numba.core.serialize import dumps

from gibbs_gmm.kernels._jit import Piece

_FEWEST = 4
"""Pieces that must be missing for other processes to be started: each first loads numba for a second or two."""

_WORKER = "import sys; sys.path[:] = sys.argv[1:]; from gibbs_gmm.kernels._processes import work; work()"

reported: ContextVar[Callable[[int, int], None] | None] = ContextVar("reported", default=None)
"""What is told how many of how many pieces are compiled, if anything is; it may be called on any thread."""


def compile_pieces(pieces: Sequence[Piece]) -> None:
    """Compile the pieces that are not in the cache, on all cores, and load all; the ones that take long come first."""
    if _missing(pieces):
        with _alone(pieces[0]):
            missing = _missing(pieces)  # another process may have compiled them meanwhile
            if missing:
                _compile(missing)
    for piece in pieces:
        piece.compile()


def _missing(pieces: Sequence[Piece]) -> list[Piece]:
    return [piece for piece in pieces if not piece.is_compiled()]


def _alone(piece: Piece) -> AbstractContextManager[Any]:
    """Processes that want the same pieces take turns."""
    folder = piece.cache_folder()
    if folder is None:
        return nullcontext()
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        return FileLock(Path(folder) / "compiling.lock").acquire()  # which releases it
    except (OSError, NotImplementedError):  # a file system without locks
        return nullcontext()


class _Count:
    """How many pieces are compiled."""

    def __init__(self, total: int) -> None:
        self._total, self._done, self._report, self._lock = total, 0, reported.get(), threading.Lock()
        self._say()

    def add(self) -> None:
        """One more."""
        with self._lock:
            self._done += 1
            self._say()

    def _say(self) -> None:
        if self._report is not None:
            self._report(self._done, self._total)


def _compile(missing: list[Piece]) -> None:
    """Compile them, here and in as many processes as there are other cores; the first here, where numba is loaded."""
    count, left = _Count(len(missing)), deque(missing)
    piece = _next(left)
    helpers = [] if len(missing) < _FEWEST or missing[0].cache_folder() is None else _start(_cores() - 1)
    threads = [threading.Thread(target=_feed, args=(one, left, count), daemon=True) for one in helpers]
    collecting = gc.isenabled()
    gc.disable()  # numba makes millions of objects, nearly all of which stay
    try:
        for thread in threads:
            thread.start()
        while piece is not None:
            piece.compile()
            count.add()
            piece = _next(left)
        for thread in threads:
            thread.join()
    finally:
        for one in helpers:
            _end(one)
        if collecting:
            gc.enable()


def _next(left: deque[Piece]) -> Piece | None:
    """Take a piece, if another thread has left one."""
    try:
        return left.popleft()
    except IndexError:
        return None


def _end(helper: subprocess.Popen[bytes]) -> None:
    """End a process, whatever it is at."""
    helper.kill()
    helper.wait()
    for pipe in (helper.stdin, helper.stdout):
        with suppress(OSError):  # what was not sent yet
            pipe.close()  # type: ignore[union-attr]


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start(number: int) -> list[subprocess.Popen[bytes]]:
    """So many processes that compile what they are told to; fewer where they cannot be started."""
    helpers: list[subprocess.Popen[bytes]] = []
    command = [sys.executable, "-c", _WORKER, *sys.path]
    if getattr(sys, "frozen", False) or not Path(sys.executable or "").name.lower().startswith("python"):
        return []  # a program that has Python in it, and would start itself
    try:
        for _ in range(number):
            pipe = subprocess.PIPE
            helpers.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL))
    except (OSError, ValueError):  # no such program, or no room for more processes
        pass
    return helpers


def _feed(helper: subprocess.Popen[bytes], left: deque[Piece], count: _Count) -> None:
    """Have a process compile one piece after another."""
    assert helper.stdin is not None
    assert helper.stdout is not None
    try:
        while (piece := _next(left)) is not None:
            pickle.dump(dumps(piece.description()), helper.stdin)
            helper.stdin.flush()
            if helper.stdout.read(1) != b".":
                return
            count.add()
    except (OSError, ValueError):  # the process has ended
        return


def work() -> None:
    """Compile pieces that another process names, until it ends."""
    gc.disable()
    asked, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDWR), 1)
    pieces: deque[bytes] = deque()
    more = threading.Semaphore(0)
    threading.Thread(target=_listen, args=(asked, pieces, more), daemon=True).start()
    while more.acquire():
        Piece.described(pickle.loads(pieces.popleft())).compile()
        answers.write(b".")
        answers.flush()


def _listen(asked: IO[bytes], pieces: deque[bytes], more: threading.Semaphore) -> None:
    """Take what is asked for; end this process, whatever it is at, when the one that asks is gone."""
    try:
        while True:
            pieces.append(pickle.load(asked))
            more.release()
    finally:
        os._exit(0)
