"""What every test needs before gibbs_gmm is imported: a compiler cache that is never stale, no display, fixed seeds."""

import functools
import hashlib
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parents[1]


def _fingerprint() -> str:
    """A hash of all kernel sources: numba's own cache does not see an edit in another module (numba issue 1833)."""
    digest = hashlib.sha256()
    for source in sorted((ROOT / "gibbs_gmm" / "kernels").rglob("*.py")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


if "numba" in sys.modules:
    raise RuntimeError("numba was imported before tests/conftest.py could choose its cache folder")
CACHE = ROOT / ".numba-cache" / _fingerprint()
os.environ["NUMBA_CACHE_DIR"] = str(CACHE)
os.environ["MPLBACKEND"] = "Agg"

hypothesis.settings.register_profile("gibbs_gmm", deadline=None, derandomize=True, print_blob=False)
hypothesis.settings.load_profile("gibbs_gmm")


def pytest_configure(config: pytest.Config) -> None:
    if os.environ.get("NUMBA_DISABLE_JIT") == "1":
        # The uniforms multiply modulo 2^64; compiled code does so silently, NumPy scalars warn.
        config.addinivalue_line("filterwarnings", "ignore:overflow encountered in scalar:RuntimeWarning")


# --- What one process of the tests compiles, the others load ---


_held: Counter[str] = Counter()
"""Kernels that this process compiles now; its threads take turns."""


def _one_at_a_time(compile_one: Callable[..., Any]) -> Callable[..., Any]:
    """While a process compiles a kernel the others wait that want it too, and then find it in the cache.

    Nobody waits in a circle: a kernel is compiled while one that calls it is, never the other way round.
    """

    @functools.wraps(compile_one)
    def compiling(self: Any, *signature: Any) -> Any:
        function = self.__wrapped__ if isinstance(self, Pointer) else self.py_func
        name = f"{function.__module__}.{function.__qualname__}"
        with global_compiler_lock:
            if _held[name] > 0 or not name.startswith("gibbs_gmm."):
                return compile_one(self, *signature)
            with (CACHE / f"{name}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                _held[name] += 1
                try:
                    return compile_one(self, *signature)
                finally:
                    _held[name] -= 1

    return compiling


if os.environ.get("NUMBA_DISABLE_JIT") != "1" and os.name == "posix":
    import fcntl

    from numba.core.compiler_lock import global_compiler_lock
    from numba.core.dispatcher import Dispatcher

    from gibbs_gmm.kernels._records import Pointer

    CACHE.mkdir(parents=True, exist_ok=True)
    Dispatcher.compile = _one_at_a_time(Dispatcher.compile)
    Pointer.compile = _one_at_a_time(Pointer.compile)


# --- Pictures ---


@pytest.fixture
def figures_closed() -> Iterator[None]:
    """Figures are drawn without a display, and closed when the test ends."""
    from matplotlib import get_backend, pyplot

    assert get_backend().lower() == "agg"
    yield
    pyplot.close("all")


# --- The command line ---


@pytest.fixture
def fresh_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of its own to work in."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def no_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are drawn where they matter, in tests that ask for ``pictures``: they take longer than all the rest."""
    if "pictures" not in request.fixturenames:
        monkeypatch.setattr("gibbs_gmm.plots.save", lambda target, *_, **__: target.write(b"\x89PNG"))


@pytest.fixture
def pictures() -> None:
    """Asked for by tests that want real pictures."""
