"""The pages of the documentation: the README's one command makes them, and no warning is given."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

import gibbs_gmm

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.skipif(importlib.util.find_spec("pdoc") is None, reason="pdoc is not installed (the extra docs)")
def test_every_public_name_has_its_page(tmp_path: Path) -> None:
    (command,) = re.findall(r"`python (-W error -m pdoc [^`]*)`", (ROOT / "README.md").read_text(encoding="utf-8"))
    words = [str(tmp_path) if word == "site" else word for word in command.split()]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "gibbs_gmm.html").read_text(encoding="utf-8")
    for name in gibbs_gmm.__all__:
        assert f'id="{name}"' in page or (tmp_path / "gibbs_gmm" / f"{name}.html").exists(), name
    for name in dir(gibbs_gmm.Trace):
        assert name.startswith("_") or f'id="Trace.{name}"' in page, name
