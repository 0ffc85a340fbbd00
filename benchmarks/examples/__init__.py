"""Worked examples, and what they print: ``python -m benchmarks.examples [NAME ...]``.

The first is the Python block of the README; the others are scripts beside this file. Each is run in an empty folder
that has ``data/``, and what it prints is kept in ``benchmarks/results/examples.json`` and ``examples.md``; the README's
picture is made by it too. A test runs them and compares.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import common

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RESULTS = common.ROOT / "results"
NAMES = ("readme", "iris", "galaxies", "large_file")
PICTURE = RESULTS / "iris.png"


def code(name: str) -> str:
    """The source of an example."""
    if name == "readme":
        (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
        return str(block)
    return (HERE / f"{name}.py").read_text(encoding="utf-8")


def shown(name: str) -> str:
    """What it printed when the results were made."""
    printed: dict[str, str] = json.loads((RESULTS / "examples.json").read_text(encoding="utf-8"))
    return printed[name]


def run(name: str) -> tuple[str, dict[str, Any]]:
    """Run an example in an empty folder: what it prints, and its variables."""
    variables: dict[str, Any] = {"__name__": "example"}
    printed = io.StringIO()
    with _folder_with_data(), contextlib.redirect_stdout(printed):
        exec(compile(code(name), name, "exec"), variables)
    return printed.getvalue(), variables


@contextlib.contextmanager
def _folder_with_data() -> Iterator[None]:
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "data", Path(folder) / "data")
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)
