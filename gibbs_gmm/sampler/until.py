"""When a run is done: it goes on until its answer can be believed, or until a budget of sweeps is spent.

A run whose draws and warm-up are not given makes a thousand draws, and is then judged by the quantities that do not
depend on labels. If it must go on, every second draw is dropped and the sweeps per draw are doubled, so that it is
about twice as long when it has a thousand draws again, and its trace is as large as before. Where the chains are apart,
the first half of the draws is thrown away as well: it has turned out to be warm-up. All this follows from sweeps and
draws, never from a clock, so that the same seed gives the same bytes.

With very many rows chains start near the end of their warm-up (:mod:`gibbs_gmm.sampler.starts`), fewer draws are made,
as the labels of each take as many bytes as there are rows, and it is judged after fewer sweeps.
"""

from __future__ import annotations

import dataclasses

from gibbs_gmm.sampler.recipe import Plan
from gibbs_gmm.sampler.starts import from_sample

_DRAWS = 1000
_LABELS = 250_000_000  # of a chain's draws, at most
_FEWEST_DRAWS = 100
_ROWS_A_DRAW = 5_000  # rows of the label passes of one sweep or, of few rows, of the sweeps between two draws at first
_MOST_THIN = 10
_WARMUP = 1000
_WARMUP_DRAWS = 200  # and as many draws' sweeps, where the number of components is unknown
_BUDGET = 1_500_000_000  # values of X that the sweeps of a chain may read: a minute or two for small data
_MOST_SWEEPS = 500_000
_LEAST_SWEEPS = 4_000
_SAMPLED_WARMUP = 200  # of chains that start from a sample of their rows
_SAMPLED_BUDGET = 96_000_000_000  # of values times components that their sweeps may read: two or three minutes
_COMPONENTS = 30  # that are counted there, at least


def most_draws(N: int) -> int:
    """Draws of each chain, of N rows, after which a run is judged."""
    return min(_DRAWS, max(_FEWEST_DRAWS, _LABELS // N))


def first_warmup(N: int, known: bool, thin: int) -> int:
    """Sweeps of warm-up at first, or of a run whose draws are given; ``known``: whether the number of components is."""
    if from_sample(N):
        return _SAMPLED_WARMUP
    return _WARMUP if known else _WARMUP + _WARMUP_DRAWS * thin


def first_plan(N: int, D: int, n: int | None, thin: int | None, max_sweeps: int | None) -> Plan:
    """The first draws of a run for N rows of D columns, a thousand or, of very many rows, fewer, or what the budget is.

    Parameters
    ----------
    n : int or None
        The number of components, if it is known.
    thin : int, optional
        Sweeps per draw at first.
    max_sweeps : int, optional
        The budget, sweeps of each chain in all.
    """
    thin = max(1, min(_MOST_THIN, _ROWS_A_DRAW // N)) if thin is None else thin
    warmup = first_warmup(N, n is not None, thin)
    if max_sweeps is None:
        if from_sample(N):
            max_sweeps = min(_LEAST_SWEEPS, _SAMPLED_BUDGET // (N * D * max(_COMPONENTS, n or 0)))
        else:
            max_sweeps = max(_LEAST_SWEEPS, min(_MOST_SWEEPS, _BUDGET // (N * D)))
        max_sweeps = max(max_sweeps, warmup + most_draws(N) * thin)
    if warmup + thin > max_sweeps // 2:
        warmup, thin = max_sweeps // 2, 1
    return within(Plan(warmup, _DRAWS, thin, max_sweeps, tuning=warmup), N)


def within(plan: Plan, N: int) -> Plan:
    """The plan with as many draws as its budget allows, up to :func:`most_draws`."""
    assert plan.max_sweeps is not None
    return dataclasses.replace(plan, draws=min(most_draws(N), (plan.max_sweeps - plan.warmup) // plan.thin))


def longer(plan: Plan, N: int, apart: bool) -> tuple[Plan, int] | None:
    """The plan to go on with, and how many draws are thrown away before every second of the rest is kept.

    ``apart``: whether the chains have not met. None where the budget is spent.
    """
    most = most_draws(N)
    first = plan.draws // 2 if apart else 0
    wider = within(dataclasses.replace(plan, warmup=plan.warmup + first * plan.thin, thin=2 * plan.thin), N)
    return (wider, first) if plan.draws == most and wider.draws > (plan.draws - first) // 2 else None
