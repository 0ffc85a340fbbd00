"""What a user sees while `fit` runs: Ctrl-C, the progress bar, and a chain that fails."""

import io
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from harness import JIT, assert_same_draws, threads_left

import gibbs_gmm as gg
from gibbs_gmm import fitting
from gibbs_gmm.kernels._processes import compile_pieces, reported
from gibbs_gmm.kernels.sampler import sweep
from gibbs_gmm.sampler import chain as chains
from gibbs_gmm.sampler import progress as shown

X = np.random.default_rng(1).standard_normal((40, 2)) + np.where(np.arange(40) % 2, 2.0, -2.0)[:, None]
SETTINGS: dict[str, Any] = {"draws": 50, "warmup": 20, "chains": 2, "rng": 1, "threads": 2}


class Bar:
    """A progress bar that shows nothing and calls ``act`` at one of its updates."""

    def __init__(self, at: int, act: Callable[[], object]) -> None:
        self.at, self.act, self.updates = at, act, 0

    def __call__(self, **settings: Any) -> "Bar":
        return self

    def update(self, sweeps: int) -> None:
        self.updates += 1
        if self.updates == self.at:
            self.act()

    def set_description_str(self, *_: Any, **__: Any) -> None:
        pass

    def close(self) -> None:
        pass


def interrupt() -> None:
    raise KeyboardInterrupt


# --- Ctrl-C ---


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """Ctrl-C is a KeyboardInterrupt even where the tests run in the background of a shell, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("act", [interrupt, lambda: signal.raise_signal(signal.SIGINT)], ids=["exception", "signal"])
@pytest.mark.parametrize(("at", "thin"), [(60, 1), (139, 1), (90, 3)])
def test_ctrl_c_gives_the_draws_so_far(
    monkeypatch: pytest.MonkeyPatch, act: Callable[[], object], at: int, thin: int
) -> None:
    whole = gg.fit(X, 2, progress=False, thin=thin, **SETTINGS)
    running = set(threading.enumerate())
    monkeypatch.setattr(chains, "_BATCH_SECONDS", 0.0)
    monkeypatch.setattr(shown, "tqdm", Bar(at, act))
    with pytest.warns(UserWarning, match=r"interrupted: the trace has \d+ of 50 draws per chain"):
        part = gg.fit(X, 2, thin=thin, **SETTINGS)
    kept = part.log_likelihood.shape[1]
    assert 0 < kept <= 50
    assert_same_draws(part, whole, of_b=(slice(None), slice(kept)))
    assert part.settings["interrupted"] is True
    assert whole.settings["interrupted"] is False
    assert threads_left(running) == []


@pytest.mark.parametrize("at", [1, 20])
def test_ctrl_c_before_the_first_draw_is_a_keyboard_interrupt(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    running = set(threading.enumerate())
    monkeypatch.setattr(chains, "_BATCH_SECONDS", 0.0)
    monkeypatch.setattr(shown, "tqdm", Bar(at, interrupt))
    with pytest.raises(KeyboardInterrupt):
        gg.fit(X, 2, **SETTINGS)
    assert threads_left(running) == []


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")
def test_ctrl_c_while_compiled_code_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    # The signal comes from outside, while the main thread waits for a batch; the run would take minutes. The clock
    # starts with the first batch of draws, so that there is something to keep.
    def handler(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGALRM, handler)
    monkeypatch.setattr(shown, "tqdm", Bar(1, lambda: signal.setitimer(signal.ITIMER_REAL, 0.1)))
    try:
        with pytest.warns(UserWarning, match="interrupted"):
            trace = gg.fit(X, 2, draws=100_000, warmup=0, thin=1000, chains=1, rng=1, save_assignments=False)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, previous)
    kept = trace.log_likelihood.shape[1]
    assert 0 < kept < 100_000
    whole = gg.fit(
        X, 2, draws=min(kept, 20), warmup=0, thin=1000, chains=1, rng=1, save_assignments=False, progress=False
    )
    np.testing.assert_array_equal(trace.means[:, :20], whole.means)


@pytest.mark.skipif(os.name != "posix", reason="sends a signal to another process")
@pytest.mark.parametrize("where", ["numba.core.typing.templates", "llvmlite.binding", "numba.core.dispatcher"])
def test_ctrl_c_while_numba_is_imported_does_no_harm(where: str) -> None:
    program = f"""
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {where!r}:
            sys.meta_path.remove(self)
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Finder())
import gibbs_gmm as gg
try:
    gg.fit
except KeyboardInterrupt:
    print("interrupted", any(isinstance(finder, Finder) for finder in sys.meta_path))
print(gg.fit([[0.0], [1.0], [3.0], [2.0]], 1, draws=2, warmup=2, chains=1, rng=1).means.shape)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("interrupted False\n(1, 2, 1, 1)\n", 0), done.stderr


# --- Progress ---


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def eager(file: io.StringIO) -> Callable[..., Any]:
    """The package's bar, but at once and to this file."""
    original = shown.tqdm
    return lambda **settings: original(**settings | {"delay": 0.0, "mininterval": 0.0, "miniters": 1, "file": file})


def test_progress_is_shown_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(shown, "tqdm", eager(screen))
    monkeypatch.setattr(chains, "_BATCH_SECONDS", 0.0)
    gg.fit(X, 2, progress=True, thin=2, **SETTINGS)
    text = screen.getvalue()
    assert "2 chains, warm-up sweep 0 of 20 |" in text
    assert re.search(r"2 chains, draw \d+ of 50 \|.*\| \d+%, [\d:]+ left", text)
    assert "100%" in text


def test_a_terminal_shows_a_sign_of_life_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before there are chains, and taken away again; a fit that is refused meanwhile leaves nothing behind."""
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(shown, "_AT_ONCE", 0.001)
    build = fitting.chains_of
    monkeypatch.setattr(fitting, "chains_of", lambda *a, **kw: (time.sleep(0.2), build(*a, **kw))[1])
    gg.fit(X, 2, progress=True, **SETTINGS)
    assert screen.getvalue().startswith("\rgetting ready ...")
    assert re.search(r"getting ready \.\.\.\r {17}\r", screen.getvalue())  # blanks are written over it
    before = threading.active_count()
    screen.truncate(0)
    monkeypatch.setattr(shown, "_AT_ONCE", 0.05)
    with pytest.raises(ValueError, match="n_components"):
        gg.fit(X, 0, progress=True)
    time.sleep(0.1)
    assert (screen.getvalue(), threading.active_count()) == ("", before)


def test_progress_is_shown_in_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()  # no terminal
    monkeypatch.setattr(shown, "tqdm", eager(screen))
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    gg.fit(X, 2, progress=True, **SETTINGS)
    assert "2 chains, draw " in screen.getvalue()


def test_progress_goes_to_the_log_elsewhere(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(shown, "_LOG_SECONDS", 0.0)
    monkeypatch.setattr(chains, "_BATCH_SECONDS", 0.0)
    with caplog.at_level(logging.INFO, "gibbs_gmm"):
        gg.fit(X, 2, progress=True, **SETTINGS)
    assert re.fullmatch(r"2 chains, warm-up sweep \d+ of 20: \d+%, \d+ s left", caplog.messages[0])
    assert re.fullmatch(r"2 chains, draw \d+ of 50: \d+%, \d+ s left", caplog.messages[-1])
    caplog.clear()
    with caplog.at_level(logging.INFO, "gibbs_gmm"):
        gg.fit(X, 2, progress=False, **SETTINGS)
    assert caplog.messages == []


def compile_seven() -> None:
    """Say that seven pieces are compiled."""
    say = reported.get()
    for done in range(8):
        if say is not None:
            say(done, 7)


@pytest.mark.skipif(not JIT, reason="nothing is compiled")
def test_compilation_is_said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(sweep, "compile_pieces", lambda pieces: compile_seven() or compile_pieces(pieces))
    with caplog.at_level(logging.INFO, "gibbs_gmm"):
        gg.fit(X, 2, progress=True, **{**SETTINGS, "chains": 1})
    assert caplog.messages[0] == "compiling for this machine, once: 7 pieces"
    assert re.fullmatch(r"compiled, after \d+ s", caplog.messages[1])
    assert sum("compil" in message for message in caplog.messages) == 2
    caplog.clear()
    with caplog.at_level(logging.INFO, "gibbs_gmm"):
        gg.fit(X, 2, progress=False, **SETTINGS)
    assert caplog.messages == []


@pytest.mark.skipif(not JIT, reason="nothing is compiled")
def test_compilation_is_one_line_of_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with shown.Compiling(True):
        compile_seven()
    lines = [line.strip() for line in terminal.getvalue().split("\r") if line.strip()]
    assert lines == [f"compiling for this machine, once: {done} of 7" for done in range(8)]
    assert "\n" not in terminal.getvalue()


@pytest.mark.parametrize(("file", "progress"), [(Terminal(), False), (io.StringIO(), True), (io.StringIO(), False)])
def test_progress_is_silent(monkeypatch: pytest.MonkeyPatch, file: io.StringIO, progress: bool) -> None:
    monkeypatch.setattr(sys, "stderr", file)
    gg.fit(X, 2, progress=progress, **SETTINGS)
    assert file.getvalue() == ""


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    gg.fit(X, 2, **SETTINGS)
    assert capfd.readouterr() == ("", "")


def test_progress_counts_every_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}

    class Counter(Bar):
        def __call__(self, **settings: Any) -> Bar:
            seen.update(settings, done=0)
            return self

        def update(self, sweeps: int) -> None:
            seen["done"] += sweeps

    monkeypatch.setattr(shown, "tqdm", Counter(0, interrupt))
    gg.fit(X, 2, thin=3, **SETTINGS)
    assert seen["done"] == seen["total"] == 2 * (20 + 50 * 3)


# --- Failure ---


def hopeless() -> tuple[np.ndarray, gg.NormalInverseWishart]:
    """Collinear data under a prior far below their rounding errors."""
    prior = gg.NormalInverseWishart(np.zeros(3), 0.01, 5.0, 1e-30 * np.eye(3))
    return np.column_stack([X, X.sum(1)]), prior


@pytest.mark.filterwarnings("ignore:X has redundant columns")
@pytest.mark.parametrize("threads", [1, 2])
def test_numerical_failure_names_chain_sweep_and_component(threads: int) -> None:
    data, prior = hopeless()
    running = set(threading.enumerate())
    with pytest.raises(
        gg.NumericalError, match=r"chain [01], sweep \d+: .* component [01] is not positive definite.*a larger scale"
    ):
        gg.fit(data, 2, prior=prior, **SETTINGS | {"threads": threads})
    assert threads_left(running) == []


@pytest.mark.filterwarnings("ignore:X has redundant columns")
def test_numerical_failure_is_an_arithmetic_error_and_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    data, _ = hopeless()
    prior = gg.NormalInverseWishart(np.zeros(3), 0.01, 5.0, 1e-14 * np.eye(3))  # fails now and then
    one = SETTINGS | {"chains": 1, "draws": 20_000, "save_assignments": False, "progress": False}
    messages = []
    for seconds in (0.05, 0.0, 3600.0):
        monkeypatch.setattr(chains, "_BATCH_SECONDS", seconds)
        with pytest.raises(ArithmeticError) as failure:
            gg.fit(data, 2, prior=prior, **one)
        messages.append(str(failure.value))
    assert len(set(messages)) == 1, messages
    sweep = re.search(r"sweep (\d+)", messages[0])
    assert sweep is not None
    assert int(sweep[1]) > 0  # it is not the first, so that counting over batches was seen


# --- Length ---


@pytest.mark.parametrize("warmup", range(12))
def test_any_warm_up_however_short(warmup: int) -> None:
    trace = gg.fit(X, 2, **SETTINGS | {"warmup": warmup, "draws": 1, "progress": False})
    assert np.isfinite(trace.log_posterior).all()


@pytest.mark.parametrize(("terminal", "notebook"), [(True, False), (False, True), (False, False)])
def test_steps_are_shown_on_a_screen_and_logged_elsewhere(
    terminal: bool, notebook: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Those of an evidence: a bar in a terminal or a notebook; in a log, lines with the time that is left."""
    screen = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(shown, "tqdm", eager(screen))
    monkeypatch.setattr(shown, "_LOG_SECONDS", 0.0)
    if notebook:
        monkeypatch.setitem(sys.modules, "ipykernel", sys)
    with caplog.at_level(logging.INFO, "gibbs_gmm"), shown.Steps(10, "evidence of full clusters", True) as steps:
        time.sleep(0.5)  # it is compiled
        steps.update(1)
        time.sleep(0.01)
        steps.update(4)
    assert ("evidence of full clusters |" in screen.getvalue()) == (terminal or notebook)
    logged = [record.getMessage() for record in caplog.records]
    assert logged == ([] if terminal or notebook else ["evidence of full clusters: 50%, 0 s left"])
    with caplog.at_level(logging.INFO, "gibbs_gmm"), shown.Steps(10, "nothing", False) as steps:
        steps.update(5)
    assert "nothing" not in screen.getvalue()
    assert len(caplog.records) == len(logged)
