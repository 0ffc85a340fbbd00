"""How much split-merge each sweep does: learned during warm-up, then frozen.

Costs are counted in rows read, not in seconds, so that the same seed gives the same bytes on a busy machine.
"""

from __future__ import annotations

import numpy as np

from gibbs_gmm.kernels.moves import Moves
from gibbs_gmm.kernels.state import Model
from gibbs_gmm.kernels.types import FloatArray

_SCANS = (1, 3, 6)  # scans of a launch that are tried


class Tuner:
    """The schedule of one chain's moves.

    Warm-up has five parts: greedy moves, which leave out the proposal's probability and carry the chain to where the
    posterior lives (their draws are discarded); then exact moves, once with each number of scans on trial, whose accepted
    launches fill the library; then all moves at the number of scans that changed n most often for each row read. Kept
    draws use exact moves only, at frozen rates.
    """

    def __init__(self, warmup: int, model: Model, N: int) -> None:
        self.cuts = [1, *(1 + (warmup - 1) * part // 5 for part in range(1, 5))] if warmup > 1 else [0] * 5
        self.yields: dict[int, float] = {}
        self.scans = _SCANS[1]
        self.launches = 1.0
        self.recalls = 1.0
        self._marks = (0, 0)
        self._warmup = warmup

    def at(self, sweep: int, moves: Moves) -> tuple[FloatArray, int]:
        """The tuning from this sweep on, and for how many sweeps it stays (to the end of the run after warm-up)."""
        bounds = [*self.cuts, self._warmup]
        part = int(np.searchsorted(bounds, sweep, side="right"))
        if sweep >= self._warmup:
            return self.values(self.launches, self.recalls, self.scans, False, False), 1 << 62
        left = bounds[part] - sweep
        if part == 0:  # the first sweep draws the labels
            return self.values(0.0, 0.0, 0, False, False), left
        if part == 1:
            return self.values(self.launches, 0.0, self.scans, True, True), left
        if part <= 4:
            return self.values(self.launches, 0.0, _SCANS[part - 2], False, True), left
        return self.values(self.launches, self.recalls, self.scans, False, True), left

    @staticmethod
    def values(launches: float, recalls: float, scans: int, greedy: bool, collect: bool) -> FloatArray:
        """The tuning as the kernels take it."""
        return np.array([launches, recalls, scans, greedy, collect], np.float64)
