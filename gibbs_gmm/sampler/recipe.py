"""What a run is, and what follows from it before a row is read: its arrays, their sizes, the room of its chains."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import numpy as np

from gibbs_gmm import checks, seeds, trace_arrays
from gibbs_gmm.device_rows import checked_device
from gibbs_gmm.kernels.types import IntArray
from gibbs_gmm.model.families import ComponentPrior, prior_from_dict
from gibbs_gmm.model.known_labels import KnownLabels
from gibbs_gmm.model.outliers import Outliers
from gibbs_gmm.model.weight_priors import WeightPrior, from_dict, to_dict
from gibbs_gmm.trace import Trace
from gibbs_gmm.trace_arrays import Field

_PROCESS_CAPACITY = 4096
_MANY_COLUMNS = 8  # from so many on, chains of a known n get stuck
_FEW_ROWS = 5_000  # up to so many, sweeps at a larger n cost little
_HIGHER = 2  # components more than a known n


def n_may_rise_by(columns: int, rows: int) -> int:
    """By how much a known n may rise on the way (:func:`gibbs_gmm.kernels.sampler.sweep.run_sweeps`).

    Measured on Iris (4 columns, where it gains little) and Wine (13, where chains do not meet without it). With many
    rows it was not measured, and its sweeps at a larger n, thousands at worst, would take long.
    """
    return _HIGHER if columns >= _MANY_COLUMNS and rows <= _FEW_ROWS else 0


@dataclasses.dataclass(frozen=True)
class Plan:
    """How long a chain runs.

    Attributes
    ----------
    warmup, draws, thin : int
        Sweeps of warm-up, draws to keep, sweeps per draw.
    max_sweeps : int or None
        The budget of a run that goes on until it is done (:mod:`gibbs_gmm.sampler.until`), whose plan grows.
    tuning : int or None
        The sweeps in which moves are tuned, where warm-up has become longer than that.
    """

    warmup: int
    draws: int
    thin: int
    max_sweeps: int | None = None
    tuning: int | None = None

    @property
    def sweeps(self) -> int:
        """Sweeps of one chain in all."""
        return self.warmup + self.draws * self.thin

    def draws_after(self, sweeps: int) -> int:
        """How many draws a chain has after so many sweeps."""
        return max(0, sweeps - self.warmup) // self.thin

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Plan:
        """The plan of a recipe's values."""
        least = {"warmup": 0, "draws": 1, "thin": 1, "max_sweeps": 1, "tuning": 0}
        needed = {name: checks.integer(name, values[name], least[name]) for name in ("warmup", "draws", "thin")}
        others = {name: value for name in ("max_sweeps", "tuning") if (value := values.get(name)) is not None}
        return cls(**needed, **{name: checks.integer(name, value, least[name]) for name, value in others.items()})


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What a run is: with the same data, an equal recipe gives the same bytes.

    ``seed`` is what restores its root; ``notes`` what a reader of the summary must know of the model and the data.
    """

    columns: tuple[str, ...]
    prior: ComponentPrior
    weight_prior: WeightPrior
    plan: Plan
    chains: int
    save_assignments: bool
    seed: dict[str, Any]
    notes: tuple[str, ...] = ()
    device: str = "cpu"
    labels: KnownLabels | None = None
    outliers: Outliers | None = None

    @property
    def root(self) -> np.random.SeedSequence:
        """The root of the run's randomness."""
        return seeds.from_dict(self.seed)

    @property
    def known_n(self) -> int | None:
        """The number of components, where it is known."""
        return self.weight_prior.known_n

    @property
    def fields(self) -> tuple[Field, ...]:
        """The arrays of its trace."""
        learned, outliers = self.weight_prior.learns_concentration, self.outliers is not None
        return trace_arrays.fields(self.prior, learned, self.save_assignments, outliers)

    def capacity(self, N: int) -> int:
        """How many components a chain of N rows finds room for. Memory is touched only where components are in use."""
        last = 0 if self.outliers is None else 1  # a place for outliers behind the others
        if self.known_n is not None:  # with room for a few more, and one that split-merge needs
            higher = n_may_rise_by(len(self.columns), N)
            return self.known_n + (higher + 1 if higher > 0 else 0) + last
        finite = self.weight_prior.n_is_finite
        return (len(self.weight_prior.log_n_prior()[0]) if finite else _PROCESS_CAPACITY) + last

    def bytes(self, N: int, counted: bool = False) -> Mapping[str, int]:
        """Bytes of each array of its trace for N rows; at least so many where the number of components is unknown.

        ``counted``: whether rows stand for several observations, whose labels the chains then keep as numbers.
        """
        sizes = trace_arrays.trace_bytes(
            self.fields, self.chains * self.plan.draws, self.known_n or 1, len(self.columns), N
        )
        return {**sizes, "labels of the chains": 8 * self.chains * (self.known_n or 1) * N} if counted else sizes

    def trace(self, arrays: Mapping[str, Any], counts: IntArray | None, **others: Any) -> Trace:
        """The trace of the run: its arrays, the recipe, and what ``others`` say of the run in the settings."""
        settings = {
            **dataclasses.asdict(self.plan),
            "chains": self.chains,
            "seed": self.seed["entropy"],
            "spawn_key": self.seed["spawn_key"],
            "notes": list(self.notes),
            "device": self.device,
            **others,
        }
        if self.labels is not None:
            settings["label_names"] = list(self.labels.names)
        if self.outliers is not None:
            settings["outliers"] = self.outliers.to_dict()
        return Trace(
            **arrays,
            counts=counts,
            columns=self.columns,
            prior=self.prior,
            weight_prior=self.weight_prior,
            settings=settings,
        )

    def to_dict(self) -> dict[str, Any]:
        """The recipe as plain values, for JSON."""
        rows = {"labels": self.labels, "outliers": self.outliers}
        return {
            "columns": list(self.columns),
            "prior": self.prior.to_dict(),
            "weight_prior": to_dict(self.weight_prior),
            **dataclasses.asdict(self.plan),
            "chains": self.chains,
            "save_assignments": self.save_assignments,
            "seed": self.seed,
            "notes": list(self.notes),
            "device": self.device,
            **{name: value.to_dict() for name, value in rows.items() if value is not None},
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Recipe:
        """The inverse of :meth:`to_dict`."""
        return cls(
            tuple(values["columns"]),
            prior_from_dict(values["prior"]),
            from_dict(values["weight_prior"]),
            Plan.from_dict(values),
            checks.integer("chains", values["chains"], 1),
            _boolean("save_assignments", values["save_assignments"]),
            values["seed"],
            tuple(values["notes"]),
            checked_device(values["device"]),
            KnownLabels.from_dict(values["labels"]) if "labels" in values else None,
            Outliers.from_dict(values["outliers"]) if "outliers" in values else None,
        )


def _boolean(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be true or false, got {value!r}")
    return value


def versions() -> dict[str, str]:
    """Versions of what draws are made with."""
    packages = ("gibbs-gmm", "numpy", "scipy", "numba")
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in packages}}
