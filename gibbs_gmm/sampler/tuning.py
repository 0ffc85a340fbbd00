"""How much split-merge each sweep does: learned during warm-up, then frozen.

Costs are counted in rows read, not in seconds, so that the same seed gives the same bytes on a busy machine.
"""

from __future__ import annotations

import numpy as np

from gibbs_gmm.kernels.sampler.moves import Moves
from gibbs_gmm.kernels.sampler.row_by_row import MOST_ROWS
from gibbs_gmm.kernels.sampler.state import N_CLUSTERS, Model, State, rows_of
from gibbs_gmm.kernels.types import FloatArray

_SCANS = (1, 3, 6)  # scans of a launch that are tried
_SHARE = 0.2  # of a sweep's row operations that moves may take, where there are many rows
# Costs, in units of the density of one component for one row in the label pass:
_PAIR_ROW = 7.0  # a row in a pass over two clusters
_ROW = 6.0  # the rest of the label pass for a row
_ROW_BY_ROW = 2_000.0  # a move row by row
_GREEDY_MERGES = 20.0  # pairs tried in a greedy sweep; they read no rows
_FEW_ROWS = 5_000  # below this, the fixed cost of a move matters more than its rows
_KNOWN = (0.05, 0.5, 0.1, 0.1, 0.01)  # moves a sweep by launches, learned ones, row by row, from seeds, by searches
_UNKNOWN = (0.05, 1.0, 3.0, 1.0, 0.05)  # the same where n is unknown, at first
_MANY_COLUMNS = 12.0  # columns from which on one move a sweep is row by row: launches propose worse in many dimensions
_ROW_BY_ROW_SHARE = 0.1  # of a sweep that moves row by row may take, where this allows more of them
_EXCURSIONS = 0.1, 1.0  # share of sweeps from a known n in which it may rise, and in warm-up
_GAIN = 25.0  # of the tilt of p(n), in sweeps (a gain of c / s in the s-th of them)
_MOST = 30.0  # moves of one kind in a sweep
# Moves from seeds and by searches: their time for that of the rest of a sweep, in rough microseconds of few rows, from
# so many columns on. In fewer, moves row by row do what they do: the shares fall with the square of the columns.
_SEEDED_SHARE = 0.25
_SEARCHED_SHARE, _WARMUP_SHARE = 0.1, 1.0  # the latter in warm-up, whatever the columns
_SHARE_COLUMNS = 8.0
_SCANS_OF_SEARCH = 5.0  # passes over the rows of a search, merges that are refused before one included


class Tuner:
    """The schedule of one chain's moves.

    After the first sweep, which draws the labels, warm-up has five parts: greedy moves, which leave out the proposal's
    probability and carry the chain to where the posterior lives (these draws are discarded); exact moves with each
    number of scans on trial, one part each, whose launches fill the library; and all moves together at the number of
    scans that changed the partition most often for each row read. Kept draws use exact moves only, at frozen rates.

    Searches take about as much time as the rest of a sweep in warm-up, and little after it. Moves row by row are as
    many whatever they are worth: rates in proportion to the splits and merges that were accepted for the time made
    fewer effective draws of n+, because moves that are undone at once count for as much as those that last.
    """

    def __init__(self, warmup: int, model: Model, rises: bool = False) -> None:
        self._bounds = [1, *(1 + (warmup - 1) * part // 5 for part in range(1, 6))] if warmup > 1 else [0] * 6
        self._warmup = warmup
        # With n known fewer moves change anything once the components are found: they guard against local modes.
        self._known, self._rises = model.weights.known, rises
        self._before, self._rated = np.zeros(3), 0
        self._trials: dict[int, FloatArray] = {}  # accepted splits and merges, moves tried, rows read before each part
        self.launches, self.recalls, self.row_by_row, self.seeded, self.searched = _KNOWN if self._known else _UNKNOWN
        columns = len(model.prior.mu_0)
        self.row_by_row = max(self.row_by_row, min(1.0, (columns / _MANY_COLUMNS) ** 2))
        self.scans = _SCANS[1]

    def at(self, sweep: int, moves: Moves, state: State) -> tuple[FloatArray, int]:
        """The tuning from this sweep on, and for how many sweeps it stays (to the end of the run after warm-up)."""
        part = int(np.searchsorted(self._bounds, sweep, side="right"))
        self._learn(part, moves, state)
        if part != self._rated:  # at the first sweep of a part, whatever batches sweeps are made in
            self._rated = part
            self._rate(part, state)
        if part == 6 or self._warmup <= 1 <= sweep:
            return self._values(self.launches, self.recalls, self.scans, False, False), 1 << 62
        left = max(self._bounds[part], 1) - sweep
        if part == 0:
            return np.zeros(10), left
        if part == 1:
            return self._values(1.0, _GREEDY_MERGES, self.scans, True, True), left
        if part <= 4:
            return self._values(1.0, 0.0, _SCANS[part - 2], False, True), left
        return self._values(self.launches, self.recalls, self.scans, False, True), left

    def _values(self, launches: float, recalls: float, scans: int, greedy: bool, collect: bool) -> FloatArray:
        """The tuning as the kernels take it; moves are collected, and p(n) is tilted, in warm-up only."""
        excursions, gain = (_EXCURSIONS[collect], _GAIN * collect) if self._rises else (0.0, 0.0)
        values = [launches, recalls, self.row_by_row, scans, greedy, collect, excursions, gain]
        return np.array([*values, self.seeded, self.searched], np.float64)

    def _learn(self, part: int, moves: Moves, state: State) -> None:
        """Take stock of a trial that has ended, and at the end of the trials set scans and rates."""
        if part not in range(2, 6) or part in self._trials:
            return
        now = np.array([moves.counts[0, :2, 1].sum(), moves.counts[0, :, 0].sum(), moves.rows_read[0]], np.float64)
        self._trials[part] = now - self._before
        self._before = now
        trials = [self._trials[p] for p in (3, 4, 5) if p in self._trials]  # each holds what the part before it did
        if part < 5 or len(trials) < len(_SCANS):
            return  # a very short warm-up has parts without sweeps: it keeps the rates it began with
        accepted, tried, rows = np.array(trials).T
        self.scans = _SCANS[int(np.argmax((accepted + 0.5) / (rows + 1.0)))]
        N = rows_of(state.z)
        if N > _FEW_ROWS and rows.sum() > 0.0:
            sweep = N * (state.size[N_CLUSTERS] + _ROW)
            affordable = _SHARE * sweep / (_PAIR_ROW * rows.sum() / tried.sum())
            self.launches = float(min(self.launches, affordable / 2.0))
            self.recalls = float(min(self.recalls, affordable / 2.0))
            if not self._known:
                affordable = _ROW_BY_ROW_SHARE * sweep / _ROW_BY_ROW
                self.row_by_row = float(min(max(self.row_by_row, affordable), _MOST))

    def _rate(self, part: int, state: State) -> None:
        """Rates of moves from seeds and by searches, from what they and the rest of a sweep cost."""
        N, D, t = rows_of(state.z), len(state.prior.mu_0), max(1, int(state.size[N_CLUSTERS]))
        sweep = N * (0.03 + 5e-5 * (t + 2) * D * (D + 8)) + (t + 1) * (0.5 + 0.003 * D**3)
        search = _SCANS_OF_SEARCH * min(N / t, MOST_ROWS) * (0.15 + 0.002 * D * D)
        fall = min(1.0, (D / _SHARE_COLUMNS) ** 2)
        share = _SEARCHED_SHARE * fall if part == 6 else _WARMUP_SHARE
        self.searched = float(min(share * sweep / search, 1.0))
        if not self._known:
            self.seeded = float(min(_SEEDED_SHARE * fall * sweep / (4.0 + 0.04 * D * D), _MOST))

    def frozen(self) -> dict[str, float]:
        """What kept draws use, for the record."""
        rates = {
            "launches": self.launches,
            "recalls": self.recalls,
            "row_by_row": self.row_by_row,
            "seeded": self.seeded,
            "searched": self.searched,
        }
        return {**rates, "scans": self.scans}
