"""Is there room for a trace? Asked before it is sampled."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path


def require_memory(needed: Mapping[str, int], at_least: bool) -> None:
    """Refuse a trace that cannot fit the memory that is free, before it is sampled."""
    free = _free_memory()
    copies = 2 if at_least else 1  # for an unknown n the chains' arrays, and the trace they are put together to
    if free is not None and copies * sum(needed.values()) > free:
        twice = ", twice that is needed while it is put together," if at_least else ""
        raise ValueError(
            f"the trace is too large for memory: {_described(needed, at_least)}{twice} and {_text(free)} are free. "
            "Pass checkpoint='a folder' to keep the draws on disk, fewer draws (with a larger thin the run is as "
            "long), or save_assignments=False"
        )


def require_disk(folder: Path, needed: Mapping[str, int], at_least: bool) -> None:
    """Refuse a trace, and a copy of the data, that cannot fit the disk."""
    free = shutil.disk_usage(folder).free
    if sum(needed.values()) > free:
        raise ValueError(
            f"the run is too large for the disk of {os.fspath(folder)!r}: {_described(needed, at_least)}, and "
            f"{_text(free)} are free. Pass a checkpoint folder on another disk, fewer draws (with a larger thin the "
            "run is as long), or save_assignments=False"
        )


def _described(needed: Mapping[str, int], at_least: bool) -> str:
    """A size and what it is made of, the larger parts."""
    total = sum(needed.values())
    parts = [f"{name} {_text(size)}" for name, size in needed.items() if size >= 0.05 * total]
    return f"it takes {'at least ' if at_least else ''}{_text(total)} ({', '.join(parts)})"


def _text(size: float) -> str:
    """A number of bytes, for people."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.4g} {unit}"
        size /= 1000
    return f"{size:,.1f} GB"


def _free_memory() -> int | None:
    """Bytes of memory that this process may still take; None where the system does not say."""
    limits = []
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        limits.append(1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]))
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        with contextlib.suppress(OSError, ValueError):  # "max" is no number: there is no limit
            group = Path("/sys/fs/cgroup")
            limits.append(int((group / limit).read_text()) - int((group / used).read_text()))
    return max(0, min(limits)) if limits else None
