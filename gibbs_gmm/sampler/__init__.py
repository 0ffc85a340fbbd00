"""Carrying a run out: chains, what they start from, threads and machines."""
