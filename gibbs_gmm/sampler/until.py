"""When a run is done: it goes on until its answer can be believed, or until a budget of sweeps is spent.

A run whose draws and warm-up are not given makes a thousand draws, and is then judged by the quantities that do not
depend on labels. If it must go on, every second draw is dropped and the sweeps per draw are doubled, so that it is
about twice as long when it has a thousand draws again, and its trace is as large as before. Where the chains are apart,
the first half of the draws is thrown away as well: it has turned out to be warm-up. All this follows from sweeps and
draws, never from a clock, so that the same seed gives the same bytes.
"""

from __future__ import annotations

import dataclasses

from gibbs_gmm.sampler.recipe import Plan

_DRAWS = 1000
_ROWS_A_DRAW = 5_000  # rows of the label passes of one sweep or, of few rows, of the sweeps between two draws at first
_MOST_THIN = 10
_WARMUP = 1000
_WARMUP_DRAWS = 200  # and as many draws' sweeps, where the number of components is unknown
_BUDGET = 1_500_000_000  # values of X that the sweeps of a chain may read: a minute or two for small data
_MOST_SWEEPS = 500_000
_LEAST_SWEEPS = 4_000


def first_plan(N: int, D: int, known: bool, thin: int | None, max_sweeps: int | None) -> Plan:
    """The first thousand draws of a run for N rows of D columns, or as many as the budget allows.

    Parameters
    ----------
    known : bool
        Whether the number of components is.
    thin : int, optional
        Sweeps per draw at first.
    max_sweeps : int, optional
        The budget, sweeps of each chain in all.
    """
    thin = max(1, min(_MOST_THIN, _ROWS_A_DRAW // N)) if thin is None else thin
    warmup = _WARMUP if known else _WARMUP + _WARMUP_DRAWS * thin
    if max_sweeps is None:
        max_sweeps = max(_LEAST_SWEEPS, warmup + _DRAWS * thin, min(_MOST_SWEEPS, _BUDGET // (N * D)))
    if warmup + thin > max_sweeps // 2:
        warmup, thin = max_sweeps // 2, 1
    return within(Plan(warmup, _DRAWS, thin, max_sweeps, tuning=warmup))


def within(plan: Plan) -> Plan:
    """The plan with as many draws as its budget allows, up to a thousand."""
    assert plan.max_sweeps is not None
    return dataclasses.replace(plan, draws=min(_DRAWS, (plan.max_sweeps - plan.warmup) // plan.thin))


def longer(plan: Plan, apart: bool) -> tuple[Plan, int] | None:
    """The plan to go on with, and how many draws are thrown away before every second of the rest is kept.

    ``apart``: whether the chains have not met. None where the budget is spent.
    """
    first = plan.draws // 2 if apart else 0
    wider = within(dataclasses.replace(plan, warmup=plan.warmup + first * plan.thin, thin=2 * plan.thin))
    return (wider, first) if plan.draws == _DRAWS and wider.draws > (plan.draws - first) // 2 else None
