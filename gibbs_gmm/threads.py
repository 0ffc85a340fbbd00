"""Threads: how many there are, and ranges of work spread over them."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from gibbs_gmm import checks

_TASKS_PER_THREAD = 4  # more tasks than threads even out cores that are busy with something else


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def thread_count(threads: Any) -> int:
    """The argument ``threads``, checked; None is one thread for each core."""
    return cores() if threads is None else checks.integer("threads", threads, 1)


class Threads:
    """Runs a task over ranges of things, on threads or, where there is one, without any."""

    def __init__(self, threads: int | None) -> None:
        self.count = thread_count(threads)
        self._pool = ThreadPoolExecutor(self.count) if self.count > 1 else None

    def __enter__(self) -> Threads:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Wait for what runs, and begin nothing more."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def run(self, task: Callable[[int, int], Any], size: int, unit: int = 1, most: int | None = None) -> list[Any]:
        """Results of ``task(first, last)`` over 0..size, in ranges of at most ``most``, cut at multiples of unit.

        Ranges are as many as 4 for each thread, or more where they would be larger than ``most``.
        """
        step = math.ceil(size / (_TASKS_PER_THREAD * self.count) / unit) * unit
        step = max(unit, step if most is None else min(most, step))
        ranges = [(first, min(first + step, size)) for first in range(0, size, step)]
        if self._pool is None or len(ranges) == 1:
            return [task(*ends) for ends in ranges]
        return [part.result() for part in [self._pool.submit(task, *ends) for ends in ranges]]
