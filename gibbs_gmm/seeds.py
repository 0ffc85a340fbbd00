"""Seeds: the root of a run's randomness."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gibbs_gmm import checks


def seed_sequence(rng: Any) -> np.random.SeedSequence:
    """The root of a run's randomness, from what a user may pass as ``rng`` (SPEC 7 of Scientific Python).

    None is fresh entropy; an int, a sequence of ints or a SeedSequence is a seed; a Generator or a RandomState gives
    128 bits and is advanced by it, so that the next run with it differs.
    """
    if isinstance(rng, np.random.Generator):
        return np.random.SeedSequence([int(word) for word in rng.integers(0, 2**32, size=4, dtype=np.uint64)])
    if isinstance(rng, np.random.RandomState):
        return np.random.SeedSequence([int(word) for word in rng.randint(0, 2**32, size=4, dtype=np.uint64)])
    if isinstance(rng, np.random.SeedSequence):  # a copy: spawning must not change the caller's
        return np.random.SeedSequence(rng.entropy, spawn_key=rng.spawn_key, pool_size=rng.pool_size)
    if rng is None:
        return np.random.SeedSequence()
    if isinstance(rng, (Sequence, np.ndarray)) and not isinstance(rng, (str, bytes)):
        return np.random.SeedSequence([checks.integer("rng", word, 0) for word in rng])
    try:
        return np.random.SeedSequence(checks.integer("rng", rng, 0))
    except TypeError:
        raise TypeError(
            f"rng must be None, an integer, a SeedSequence, or a numpy.random Generator or RandomState, got {rng!r}"
        ) from None


def to_dict(root: np.random.SeedSequence) -> dict[str, Any]:
    """What a root is made again from, as JSON can hold it."""
    return {"entropy": _plain(root.entropy), "spawn_key": _plain(root.spawn_key), "pool_size": root.pool_size}


def from_dict(values: dict[str, Any]) -> np.random.SeedSequence:
    """The inverse of :func:`to_dict`."""
    return np.random.SeedSequence(
        values["entropy"], spawn_key=tuple(values["spawn_key"]), pool_size=values["pool_size"]
    )


def _plain(entropy: Any) -> int | list[int]:
    """The entropy of a SeedSequence: an int or a sequence of ints, of NumPy's too."""
    return int(entropy) if np.ndim(entropy) == 0 else [int(word) for word in entropy]
