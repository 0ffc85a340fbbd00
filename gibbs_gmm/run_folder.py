"""The folder of a run of the command line: the names of its files."""

from __future__ import annotations

TRACE = "trace.npz"
SUMMARY = "summary.csv"
N_TABLE = "n_posterior.csv"
PAIRS = "pairs.png"
N_PICTURE = "n_posterior.png"
DERIVED = (SUMMARY, N_TABLE, PAIRS, N_PICTURE)  # made from the trace: those of an earlier run would be wrong beside it
