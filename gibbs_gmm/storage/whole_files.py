"""Files that appear whole or not at all: written beside their place, flushed to disk and renamed."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path

_PART = ".part"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[int]:
    """A descriptor of a new file that takes the place of ``path`` when all of it is on disk, or not at all."""
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(8)}{_PART}")
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(scratch, flags, 0o666)
        try:
            yield descriptor
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(scratch, path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write(path: Path, content: bytes | str | Iterable[str]) -> None:
    """Write a file that appears whole or not at all; of a large one the parts."""
    parts = (content,) if isinstance(content, (bytes, str)) else content
    with replacing(path) as descriptor, os.fdopen(os.dup(descriptor), "wb") as file:
        for part in parts:
            file.write(part.encode() if isinstance(part, str) else part)


def remove_parts(folder: Path) -> None:
    """Remove what processes that were killed have left of files they were writing into a folder."""
    for scratch in folder.glob(f".*{_PART}"):
        scratch.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to disk, where the system can."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
