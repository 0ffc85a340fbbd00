"""How far a run is: whether its chains have met, and its effective draws, of what does not depend on labels."""

from __future__ import annotations

import dataclasses
import importlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gibbs_gmm.kernels.types import AnyArray
from gibbs_gmm.posterior.agreement import entropy, r_hat, sorted_weights, varies
from gibbs_gmm.posterior.chain_partitions import Difference, largest_difference
from gibbs_gmm.posterior.partition_scores import partition_scores

R_HAT = 1.01
EFFECTIVE_DRAWS = 400
_OFTEN = 0.5  # share of the draws that have so many clusters, for the weight of the last of them to be looked at


@dataclasses.dataclass(frozen=True, eq=False)
class Standing:
    """How far a run is: the largest R-hat and the fewest effective draws of its quantities, and of which they are.

    ``difference`` is that between the partitions of its chains, if there is one.
    """

    r_hat: float
    r_hat_of: str
    effective: float
    effective_of: str
    difference: Difference | None

    @property
    def apart(self) -> bool:
        """Whether the chains have not met."""
        return self.r_hat >= R_HAT or self.difference is not None

    @property
    def done(self) -> bool:
        """Whether the run can be believed."""
        return not self.apart and self.effective >= EFFECTIVE_DRAWS

    def __str__(self) -> str:
        r_hat, effective = f"R-hat {self.r_hat:.3f} ({self.r_hat_of})", f"{self.effective:.0f} effective draws"
        return f"{r_hat}, {effective} ({self.effective_of}){', rows apart' if self.difference is not None else ''}"


def standing(arrays: Mapping[str, AnyArray], labels: Sequence[AnyArray] | None) -> Standing:
    """How far a run is, by its log likelihood, n+, the largest weights and their entropy, and its partitions:
    their principal components, and how often each chain has rows together.

    R-hat of one chain is that of its halves.

    Parameters
    ----------
    arrays : mapping
        weights (C, T, K), n_clusters and log_likelihood (C, T) of the draws so far.
    labels : sequence of C arrays (T, N), or None
        The assignments.
    """
    array_stats: Any = importlib.import_module("arviz_stats.base").array_stats  # lazy: it takes half a second
    t = arrays["n_clusters"]
    often = sum(int(np.mean(t > k) >= _OFTEN) for k in range(int(t.max())))
    values = {
        "log_likelihood": arrays["log_likelihood"],
        "n_clusters": t.astype(np.float64),
        **sorted_weights(arrays["weights"], often),
        "entropy": entropy(arrays["weights"]),
        **partition_scores(labels),
    }
    r_hats, effective = {"log_likelihood": 1.0}, {"log_likelihood": math.inf}
    for name, x in values.items():
        if not varies(x[None])[0]:
            continue
        halves = x.reshape(2, -1) if len(x) == 1 and x.size % 2 == 0 else x
        with np.errstate(all="ignore"):  # half a chain may be constant, as n_clusters often is
            effective[name] = float(np.nan_to_num(array_stats.ess(x)))
        r_hats[name] = float(np.nan_to_num(r_hat(halves), nan=math.inf, posinf=math.inf))
    worst, least = max(r_hats, key=lambda name: r_hats[name]), min(effective, key=lambda name: effective[name])
    difference = None if labels is None else largest_difference(labels)
    return Standing(r_hats[worst], worst, effective[least], least, difference)
