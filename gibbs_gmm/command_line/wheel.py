"""``python -m gibbs_gmm.command_line.wheel SOURCE``: a wheel with kernels compiled for kinds of processors.

SOURCE is the folder of this project. The wheel is for the Python, numba, llvmlite and NumPy that run this; where it
meets others, or another processor, kernels are compiled as if nothing had come with it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path

from gibbs_gmm.model.families import COVARIANCE_TYPES

_NEEDED = ("gibbs_gmm", "pyproject.toml", "README.md", "LICENSE")
_TAGS = "\n[bdist_wheel]\npython_tag = {tag}\nplat_name = {platform}\n"
_DATA = '\ngibbs_gmm = ["py.typed"]'


def main(argv: Sequence[str] | None = None) -> int:
    """Build the wheel; returns the exit code."""
    from gibbs_gmm.kernels import _shipped

    parser = argparse.ArgumentParser(prog="python -m gibbs_gmm.command_line.wheel", description=__doc__)
    parser.add_argument("source", type=Path, metavar="SOURCE", help="folder of this project")
    parser.add_argument("--out", type=Path, default=Path("dist"), metavar="DIR", help="for the wheel (default: dist)")
    parser.add_argument(
        "--kind",
        action="append",
        choices=tuple(_shipped.FEATURES),
        help="of processors; may be repeated (default: all)",
    )
    parser.add_argument(
        "--family", action="append", choices=COVARIANCE_TYPES, help="of clusters; may be repeated (default: all)"
    )
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        tree = Path(name) / "tree"
        tree.mkdir()
        copy_source(args.source, tree)
        for kind in args.kind or _shipped.FEATURES:
            compile_into(tree, kind, args.family or COVARIANCE_TYPES)
        pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(args.out), str(tree)]
        return subprocess.run(pip, check=False).returncode


def copy_source(source: Path, tree: Path) -> None:
    """Copy what a wheel is made of, and have it take the compiled kernels and bear this machine's tags."""
    for name in _NEEDED:
        if (source / name).is_dir():
            shutil.copytree(source / name, tree / name, ignore=shutil.ignore_patterns("__pycache__", "_compiled"))
        else:
            shutil.copy2(source / name, tree / name)
    project = tree / "pyproject.toml"
    text = project.read_text(encoding="utf-8")
    if _DATA not in text:
        raise ValueError(f"{source} is not the folder of this project: its pyproject.toml names no package data")
    compiled = '\n"gibbs_gmm.kernels" = ["_compiled/**/*"]'
    project.write_text(text.replace(_DATA, _DATA + compiled), encoding="utf-8")
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    tag = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    (tree / "setup.cfg").write_text(_TAGS.format(tag=tag, platform=platform), encoding="utf-8")


def compile_into(tree: Path, kind: str, families: Sequence[str]) -> None:
    """Compile the kernels of a source tree for a kind of processors, by the command ``compile``, and put them in it."""
    from gibbs_gmm.kernels import _shipped
    from gibbs_gmm.kernels._cache import subfolder

    kernels = tree / "gibbs_gmm" / "kernels"
    with tempfile.TemporaryDirectory() as cache:
        own = {"NUMBA_CPU_NAME": kind, "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": cache, "PYTHONPATH": str(tree)}
        command = [sys.executable, "-m", "gibbs_gmm", "compile", "--quiet", *families]
        subprocess.run(command, check=True, env={**os.environ, **own}, cwd=cache)
        files = {}
        for folder in (kernels, *(path.parent for path in kernels.rglob("__init__.py"))):
            for path in Path(cache, subfolder(folder)).glob("*.nb[ci]"):
                if "-copied." not in path.name:  # what is only needed to compile more
                    files[f"{folder.relative_to(kernels).as_posix()}/{path.name}"] = path.read_bytes()
    target = tree / _shipped.FOLDER.relative_to(_shipped.FOLDER.parents[2]) / kind
    for name, content in files.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(content)
    (target / _shipped.MANIFEST).write_bytes(_shipped.manifest_of(kind, files))


if __name__ == "__main__":
    sys.exit(main())
