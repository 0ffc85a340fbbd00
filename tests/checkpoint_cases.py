"""Runs that are stopped and resumed."""

import os
import sys
from typing import Any

import numpy as np
import pytest

import gibbs_gmm as gg
from gibbs_gmm.sampler import chain as chains
from gibbs_gmm.storage import run_folder as checkpoint

X = np.random.default_rng(1).standard_normal((60, 2)) + np.array([-3.0, 0.0, 3.0])[np.arange(60) % 3, None]
SETTINGS: dict[str, Any] = {"draws": 30, "warmup": 40, "thin": 2, "chains": 2, "rng": 1, "threads": 2}
PRIORS: dict[str, Any] = {"known": gg.FiniteMixture(3), "unknown": None, "process": gg.DirichletProcess()}


def fit(n: Any = None, **changes: Any) -> gg.Trace:
    return gg.fit(X, n, **{**SETTINGS, "progress": False, **changes})


def keep_every_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    """One sweep a batch, every one of them kept, a window of few draws, and no waiting for the disk."""
    monkeypatch.setattr(chains, "_BATCH_SECONDS", 0.0)
    monkeypatch.setattr(checkpoint, "_SECONDS", 0.0)
    monkeypatch.setattr(checkpoint, "_SHARE", 0.0)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    fitting = sys.modules[gg.fit.__module__]
    monkeypatch.setattr(fitting, "_WINDOWS_BYTES", 10_000)


class Stop(Exception):
    """Ends a run in the middle, as a failure would."""


def stop_at(monkeypatch: pytest.MonkeyPatch, count: int, error: type[BaseException] = Stop) -> None:
    """Let the next run raise at its ``count``-th batch."""
    advance, calls = chains.Chain.advance, iter(range(1 << 30))

    def failing(self: chains.Chain, shared: Any) -> int:
        if next(calls) == count:
            raise error
        return advance(self, shared)

    monkeypatch.setattr(chains.Chain, "advance", failing)
