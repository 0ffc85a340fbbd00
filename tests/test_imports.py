"""Who may import whom. Imports for types only do not count; those inside functions do, but for two kinds of methods:
the questions of a trace, which are one line each and which a module of ``posterior`` answers, and ``plot``.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import gibbs_gmm

ROOT = Path(gibbs_gmm.__file__).parent
FRONT = {"fit", "resume", "fitting", "log_evidence", "evidence", "estimator", "command_line", "plots"}
ROOMS = {"model", "sampler", "storage", "posterior", "trace"}
GROUND = [
    "checks",
    "data",
    "data_warnings",
    "device_rows",
    "errors",
    "mapped_draws",
    "optional",
    "seeds",
    "threads",
    "trace_arrays",
]
SAMPLER = {f"sampler.{path.stem}" for path in (ROOT / "sampler").glob("*.py")}
FORBIDDEN = {
    "kernels": FRONT | ROOMS | {path.stem for path in ROOT.glob("*.py")},  # kernels import only kernels
    "kernels/families": {"kernels.sampler", "kernels.posterior"},
    "kernels/sampler": {"kernels.posterior"},
    "model": FRONT | ROOMS - {"model"},
    "posterior": FRONT | {"sampler", "storage"},
    "storage": FRONT | {"posterior"} | SAMPLER - {"sampler.recipe"},
    "sampler": FRONT | {"posterior", "storage"},
    "plots": {"fitting", "evidence", "estimator", "command_line", "sampler", "storage"},
    **{f"{name}.py": FRONT | ROOMS for name in GROUND},
    **{name: FRONT | {"sampler", "storage"} for name in ("trace.py", "trace_clusters.py", "trace_rows.py")},
}


def imported(node: ast.AST, path: Path) -> Iterator[str]:
    """The modules of the package that are imported below a node, named from its root."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.ClassDef) and child.name in ("Trace", "ClusterQuestions", "RowQuestions"):
            continue
        if isinstance(child, ast.FunctionDef) and child.name == "plot":
            continue
        if isinstance(child, ast.ImportFrom) and child.level == 0 and child.module is not None:
            for alias in child.names:
                yield f"{child.module}.{alias.name}"
        elif isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        yield from imported(child, path)


@pytest.mark.parametrize("room", FORBIDDEN)
def test_directions(room: str) -> None:
    files = [ROOT / room] if room.endswith(".py") else sorted((ROOT / room).rglob("*.py"))
    assert files
    for path in files:
        for name in imported(ast.parse(path.read_text(encoding="utf-8")), path):
            inner = name.removeprefix("gibbs_gmm.")
            wrong = [other for other in FORBIDDEN[room] if inner == other or inner.startswith(f"{other}.")]
            assert inner == name or not wrong, f"{path.relative_to(ROOT)} imports {name}"
