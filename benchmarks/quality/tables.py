"""The main tables of all parts."""

from __future__ import annotations

from typing import Any

from benchmarks.quality.calibration import calibration_table
from benchmarks.quality.coverage import coverage_table
from benchmarks.quality.held_out import held_out_table
from benchmarks.quality.labels import labels_table


def tables(content: dict[str, Any]) -> str:
    """The main tables, from what ``quality.json`` holds."""
    found = content["details"]
    parts = (
        coverage_table(found["coverage"]),
        calibration_table(found["calibration"]),
        held_out_table(found["held out"]),
        labels_table(found["labels"]),
    )
    return "\n\n".join(parts)
