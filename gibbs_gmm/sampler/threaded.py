"""A sweep whose passes over X are spread over threads."""

from __future__ import annotations

import functools
from typing import Any

from gibbs_gmm.kernels.sampler import sweep as kernels
from gibbs_gmm.kernels.sampler.launch import Pair
from gibbs_gmm.kernels.sampler.rows import Rows
from gibbs_gmm.kernels.sampler.state import Data, State
from gibbs_gmm.kernels.types import LabelArray
from gibbs_gmm.threads import Threads


class Threaded:
    """The store of rows that are here, with its passes over X spread over threads."""

    always = False

    def __init__(self, threads: Threads) -> None:
        self._threads = threads

    def rows(self, chain: int, data: Data, z: Any) -> Rows:
        """The functions that an interpreted sweep is handed, whatever the chain."""
        return kernels.kernel_rows(data, z)._replace(label_pass=self._label_pass, pair_pass=self._pair_pass)

    def _label_pass(self, data: Data, state: State, sliced: bool, *_: Any) -> None:
        task, _ = kernels.kernel_tasks(data, state.z)
        self._threads.run(functools.partial(task, data, state, sliced), len(state.shard_log_likelihood))

    def _pair_pass(self, data: Data, z: LabelArray, pair: Pair, *_: Any) -> None:
        _, task = kernels.kernel_tasks(data, z)
        self._threads.run(functools.partial(task, data, z, pair), len(pair.log_q))
