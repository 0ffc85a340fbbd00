"""What a terminal shows while the compiler is loaded for the first fit, which takes a second."""

import contextlib
import sys
import threading
from collections.abc import Iterator

_TEXT = "getting ready ..."
_AFTER = 0.1  # seconds


@contextlib.contextmanager
def shown() -> Iterator[None]:
    """One line on standard error, if that is a terminal and it takes long enough; it is gone at the end."""
    if "numba" in sys.modules or sys.stderr is None or not sys.stderr.isatty():
        yield
        return
    ended = threading.Event()

    def show() -> None:
        if not ended.wait(_AFTER):
            _write(f"\r{_TEXT}")
            ended.wait()
            _write(f"\r{' ' * len(_TEXT)}\r")

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _write(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # the terminal is gone
        sys.stderr.write(text)
        sys.stderr.flush()
