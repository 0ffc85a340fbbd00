"""What every test needs before gibbs_gmm is imported: a compiler cache that is never stale, no display, fixed seeds."""

import hashlib
import os
import sys
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parents[1]


def _fingerprint() -> str:
    """A hash of all kernel sources: numba's own cache does not see an edit in another module (numba issue 1833)."""
    digest = hashlib.sha256()
    for source in sorted((ROOT / "gibbs_gmm" / "kernels").glob("*.py")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


if "numba" in sys.modules:
    raise RuntimeError("numba was imported before tests/conftest.py could choose its cache folder")
# Of each process its own: two that save different specialisations of one function may mix them up.
os.environ["NUMBA_CACHE_DIR"] = str(
    ROOT / ".numba-cache" / _fingerprint() / os.environ.get("PYTEST_XDIST_WORKER", "main")
)
os.environ["MPLBACKEND"] = "Agg"

hypothesis.settings.register_profile("gibbs_gmm", deadline=None, derandomize=True, print_blob=False)
hypothesis.settings.load_profile("gibbs_gmm")


def pytest_configure(config: pytest.Config) -> None:
    if os.environ.get("NUMBA_DISABLE_JIT") == "1":
        # The uniforms multiply modulo 2^64; compiled code does so silently, NumPy scalars warn.
        config.addinivalue_line("filterwarnings", "ignore:overflow encountered in scalar:RuntimeWarning")
