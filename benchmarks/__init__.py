"""Measurements: ``python -m benchmarks.kernels`` and ``python -m benchmarks.scaling``, each with ``--quick``.

Numba's cache does not see edits in another module than the one it caches, so compiled code is kept in a folder named
after a hash of all kernel sources: what is timed is what is in the tree.
"""

import hashlib
import os
import tempfile
from pathlib import Path

_ROOT = Path(__file__).parent
_SOURCES = sorted((*(_ROOT.parent / "gibbs_gmm" / "kernels").rglob("*.py"), *_ROOT.glob("*.py")))
_HASH = hashlib.sha256(b"".join(path.read_bytes() for path in _SOURCES)).hexdigest()[:16]

os.environ.setdefault("NUMBA_CACHE_DIR", os.path.join(tempfile.gettempdir(), f"gibbs-gmm-benchmarks-{_HASH}"))
