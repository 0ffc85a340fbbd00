"""A sign of life while the compiler is imported."""

import io
import sys
import time
from contextlib import nullcontext

import pytest

import gibbs_gmm
from gibbs_gmm import loading


class Terminal(io.StringIO):
    """A standard error that says whether it is a terminal."""

    def __init__(self, is_one: bool) -> None:
        super().__init__()
        self.isatty = lambda: is_one  # type: ignore[method-assign]


def without_numba(monkeypatch: pytest.MonkeyPatch, is_terminal: bool = True) -> Terminal:
    """Standard error of a process that has not imported numba."""
    file = Terminal(is_terminal)
    monkeypatch.setattr(sys, "stderr", file)
    monkeypatch.delitem(sys.modules, "numba", raising=False)
    return file


def test_a_slow_import_is_one_line_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = without_numba(monkeypatch)
    with loading.shown():
        until = time.monotonic() + 60.0
        while not terminal.getvalue() and time.monotonic() < until:
            time.sleep(0.01)
        assert terminal.getvalue() == "\rgetting ready ..."
    assert terminal.getvalue().rpartition("...")[2] == f"\r{' ' * 17}\r"


def test_a_quick_import_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = without_numba(monkeypatch)
    monkeypatch.setattr(loading, "_AFTER", 60.0)
    with loading.shown():
        pass
    assert terminal.getvalue() == ""


@pytest.mark.parametrize("loaded", [False, True])
def test_elsewhere_and_later_nothing_is_shown(monkeypatch: pytest.MonkeyPatch, loaded: bool) -> None:
    terminal = without_numba(monkeypatch, is_terminal=loaded)
    if loaded:
        monkeypatch.setitem(sys.modules, "numba", sys)
    monkeypatch.setattr(loading, "_AFTER", 0.0)
    with loading.shown():
        time.sleep(0.05)
    assert terminal.getvalue() == ""


def test_it_is_shown_for_what_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(loading, "shown", lambda: asked.append(1) or nullcontext())
    for name in ("Trace", "fit", "resume", "log_evidence"):
        monkeypatch.delitem(vars(gibbs_gmm), name, raising=False)
        getattr(gibbs_gmm, name)
        assert len(asked) == ("Trace", "fit", "resume", "log_evidence").index(name)
