"""A sweep whose passes over X are spread over threads."""

from __future__ import annotations

import functools
from typing import Any

from gibbs_gmm.kernels.sampler import sweep as kernels
from gibbs_gmm.kernels.sampler.launch import Pair, restricted_task
from gibbs_gmm.kernels.sampler.split_merge import split_merge
from gibbs_gmm.kernels.sampler.state import Data, Model, State
from gibbs_gmm.kernels.types import AnyArray, FloatArray, LabelArray
from gibbs_gmm.threads import Threads


class Shared:
    """The passes of a sweep spread over threads: what an interpreted sweep calls in place of compiled passes."""

    always = False  # whether every sweep is to be spread, however short

    def __init__(self, threads: Threads) -> None:
        self._threads = threads

    def calls(self, model: Model) -> kernels.Calls:
        """The pieces of a sweep, those that pass over X spread; pointers would be interpreted when called from here."""
        return kernels.kernel_calls(model)._replace(
            split_merge=plain(split_merge), restricted=self._restricted, assign=self._assign
        )

    def _assign(self, data: Data, state: State, sliced: bool, *_: Any) -> None:
        task = functools.partial(kernels.assign_task, data, state, sliced)
        self._threads.run(task, len(state.shard_log_likelihood))

    def _restricted(self, X: AnyArray, loc: FloatArray, z: LabelArray, pair: Pair, *_: Any) -> None:
        self._threads.run(functools.partial(restricted_task, X, loc, z, pair), len(pair.log_q))


def plain(kernel: Any) -> Any:
    """The Python function of a kernel, to be interpreted."""
    return getattr(kernel, "py_func", kernel)
