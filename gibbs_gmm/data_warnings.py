"""What in the data a mixture of Gaussians is not meant for, by the name of the column.

A Gaussian has a density, so that no value is met twice, and no column is a function of the others. Where values repeat,
the likelihood of a component that closes in on them has no bound, and clusters tell values apart instead of kinds.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np

from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray

_ROWS = 10_000  # rows that are looked at
_LEAST_ROWS = 10  # fewer say nothing
_FEW_VALUES, _ROWS_A_VALUE = 12, 5  # Iris' petal width, in tenths of cm, has 22 values in 150 rows
_TIED_SHARE, _TIED_EXCESS = 0.05, 5.0
_CLOSE = 0.1  # of a column's standard deviation: a residual that is worth a second look
_SAME = 1e-6  # of a column's standard deviation: a residual of arithmetic, in float32 too
_ROUNDING_EXCESS = 1.5  # a residual of rounding alone is 1 on average
_LEAST_FREEDOM = 10  # with fewer any column may seem to be a combination of the others
_COPIES, _COPIED = 0.2, 5  # share of rows that are copies of others, and of how many, at least
_LAST_DIGITS = 2e-15  # of the largest value: a spread that is rounding
_LARGEST_COUNT = 2.0**53  # beyond which every double is an integer
_NAMED = 8


def warn(X: AnyArray, columns: tuple[str, ...], copies: IntArray | None = None, stacklevel: int = 3) -> None:
    """One UserWarning for each of :func:`messages`; by default in the name of the caller's caller."""
    for message in messages(X, columns, copies):
        warnings.warn(message, UserWarning, stacklevel=stacklevel)


def messages(X: AnyArray, columns: tuple[str, ...], copies: IntArray | None = None) -> tuple[str, ...]:
    """What is said of the data, at most one message of each kind; empty for ordinary continuous data.

    - *Constant* columns have one value.
    - *Discrete* columns have at most 12 distinct values, at least two, and at least 5 rows for each.
    - *Tied* columns have a value that at least 5% of the rows share, and five times as many as share the value of a
      typical row, and one more (typical: the median, the two most frequent values left out). Rounding repeats all
      values alike; zero inflation, clipping and repeated rows repeat one or two.
    - *Columns that count rows* hold integers, all distinct and in order. (Of one column alone it is not said.)
    - *Repeated rows* are equal in all of two or more columns, and at least one of these is not on a grid, so that
      rounding does not explain it. At least 5 rows have copies, and at least 20% of the rows are copies.
    - *Redundant* columns are linear combinations of columns before them: the standard deviation of the residual is at
      most a millionth of the column's, or 1.5 times what rounding explains. A column with resolution r and coefficients
      b_k of columns with resolutions r_k has a residual of variance (r^2 + sum_k b_k^2 r_k^2) / 12 if nothing but
      rounding is in it. It is looked for as long as 10 degrees of freedom are left for the residual.

    Parameters
    ----------
    X : (N, D) float64 or float32
        Data; missing values are NaN, and what concerns several columns is looked at in rows without. Of more than
        10,000 rows as many are drawn, always the same ones.
    columns : tuple of str
        Names of the D columns.
    copies : (N,) int64, optional
        How many observations each row stands for, if not one. Repeated rows are then meant.

    Returns
    -------
    tuple of str

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> messages(X, ("a", "b"))
    ()
    >>> messages(np.column_stack([X, X.sum(1)]), ("a", "b", "total"))[0][:73]
    "X has redundant columns: 'total' is a linear combination of 'a' and 'b'. "
    """
    N, D = len(X) if copies is None else int(copies.sum()), X.shape[1]
    if N < _LEAST_ROWS:
        return ()
    chosen = drawn_rows(N, _ROWS)
    if copies is not None:
        chosen = np.searchsorted(np.cumsum(copies), chosen, side="right")
    drawn = np.asarray(X[chosen], np.float64)
    values = [np.unique(column[~np.isnan(column)], return_counts=True) for column in drawn.T]
    sample = drawn[~np.isnan(drawn).any(1)]
    constant = [d for d in range(D) if len(values[d][0]) == 1]
    discrete = [d for d in range(D) if d not in constant and _is_discrete(values[d][1])]
    counting = [d for d in range(D) if D > 1 and _counts_rows(drawn[:, d])]
    tied = {d: spikes for d in range(D) if d not in constant + discrete and len(spikes := _spikes(*values[d])) > 0}
    steps = np.array([resolution_of(distinct) for distinct, _ in values])
    redundant = _redundant(sample, columns, steps) if len(sample) >= _LEAST_ROWS else []
    exact = any(steps[d] == 0.0 for d in range(D) if d not in constant + discrete)
    looked_at = D > 1 and exact and copies is None and len(sample) >= _LEAST_ROWS
    different = _different_rows(sample) if looked_at else 0

    def some(found: Sequence[int], text: Callable[[int], str]) -> str:
        return _some([text(d) for d in found])

    kinds = (
        (
            constant,
            f"X has constant columns: {some(constant, lambda d: repr(columns[d]))}. They say nothing about clusters: "
            "leave them out.",
        ),
        (
            discrete,
            "X has columns of few distinct values: "
            f"{some(discrete, lambda d: f'{columns[d]!r} ({len(values[d][0])})')}. A Gaussian is for measurements: "
            "clusters may be single values. Leave out what is a label or a code.",
        ),
        (
            tied,
            "X has columns in which one value is shared by many rows: "
            f"{some(list(tied), lambda d: f'{columns[d]!r} ({_shares(tied[d], int(values[d][1].sum()))})')}. These "
            "rows may become clusters of their own. Are they zeros, values clipped at a limit, fill-ins or repeated "
            "rows?",
        ),
        (
            different,
            f"X has repeated rows: {len(sample)} rows are copies of {different} different ones. Copies may become "
            "clusters of their own, and count as evidence each. If they stand for weights or are there by mistake, "
            "fit one of each.",
        ),
        (
            counting,
            "X has columns that look like numbers of rows, integers that are all distinct and in order: "
            f"{some(counting, lambda d: repr(columns[d]))}. They say nothing about clusters: leave them out.",
        ),
        (
            redundant,
            f"X has redundant columns: {_some(redundant, '; ')}. They add nothing, and covariances in their direction "
            "are nearly singular: leave them out.",
        ),
    )
    return tuple(text for found, text in kinds if found)


def drawn_rows(N: int, most: int) -> IntArray:
    """At most ``most`` of the rows 0..N-1, always the same ones, in order: all, or one at random of each stretch.

    Rows at even distances might be alike.
    """
    if most >= N:
        return np.arange(N)
    edges = np.linspace(0, N, most + 1).astype(np.int64)
    return np.asarray(edges[:-1] + np.random.default_rng(0).integers(np.diff(edges)), np.int64)


def _is_discrete(counts: AnyArray) -> bool:
    return len(counts) <= _FEW_VALUES and len(counts) * _ROWS_A_VALUE <= int(counts.sum())


def _different_rows(X: FloatArray) -> int:
    """How many rows are different, if many are copies; else 0."""
    counts = np.unique(X, axis=0, return_counts=True)[1]
    many = len(counts) <= (1.0 - _COPIES) * len(X) and np.count_nonzero(counts > 1) >= _COPIED
    return len(counts) if many else 0


def _counts_rows(column: FloatArray) -> bool:
    column = column[~np.isnan(column)]
    steps = np.diff(column)
    whole = np.array_equal(column, np.round(column)) and float(np.abs(column).max()) < _LARGEST_COUNT
    return bool(whole and ((steps > 0).all() or (steps < 0).all()))


def _spikes(distinct: FloatArray, counts: AnyArray) -> dict[float, int]:
    """Values that more rows share than the resolution of the column explains -> how many."""
    order = np.argsort(-counts, kind="stable")
    others = np.sort(counts[order[2:]])
    if len(others) == 0:
        return {}
    typical = others[np.searchsorted(np.cumsum(others), 0.5 * others.sum())]  # how many rows share that of a row
    least = max(_TIED_SHARE * counts.sum(), _TIED_EXCESS * (typical + 1))
    return {float(distinct[i]): int(counts[i]) for i in order[:2] if counts[i] >= least}


def _shares(spikes: dict[float, int], rows: int) -> str:
    return " and ".join(f"{value:g} in {100.0 * count / rows:.0f}%" for value, count in spikes.items())


def resolution_of(distinct: FloatArray) -> float:
    """The step of the grid that sorted distinct values lie on; 0 if there is none."""
    gaps = np.diff(distinct)
    gaps = gaps[gaps > 1e-9 * (distinct[-1] - distinct[0])]  # arithmetic leaves smaller ones between equal values
    if len(gaps) == 0:
        return 0.0
    step = float(gaps.min())
    return step if (np.abs(gaps / step - np.round(gaps / step)) < 1e-3).all() else 0.0


def _redundant(X: FloatArray, columns: tuple[str, ...], resolution: FloatArray) -> list[str]:
    """Which columns are linear combinations of columns before them, each as half a sentence."""
    n, standard = len(X), X - X[0]
    span = np.abs(standard).max(0)
    varies = span > _LAST_DIGITS * np.abs(X).max(0)
    span[~varies] = 1.0
    standard /= span  # squares of the data themselves may leave the range of doubles
    standard -= standard.mean(0)
    scale = np.where(varies, standard.std(0), 1.0)
    standard /= scale
    r = resolution / span / scale
    Q, kept, found = np.empty((n, min(X.shape))), list[int](), list[str]()
    for d in map(int, np.flatnonzero(varies)):
        basis = Q[:, : len(kept)]
        residual = standard[:, d] - basis @ (basis.T @ standard[:, d])
        residual -= basis @ (basis.T @ residual)  # the second time for the digits that the first has lost
        freedom = n - 1 - len(kept)
        if freedom < _LEAST_FREEDOM:
            break
        length = float(np.linalg.norm(residual))
        size = length / np.sqrt(freedom)
        if size <= _CLOSE:
            b = np.linalg.lstsq(standard[:, kept], standard[:, d], rcond=None)[0]
            rounding = np.sqrt((r[d] ** 2 + (b**2 * r[kept] ** 2).sum()) / 12)
            if size <= max(_ROUNDING_EXCESS * rounding, _SAME):
                parts = [kept[k] for k in np.flatnonzero(np.abs(b) > max(1e-4, 5.0 * size / np.sqrt(freedom)))]
                found.append(f"{columns[d]!r} is {_how(X, d, parts)} {_some([repr(columns[k]) for k in parts])}")
                continue
        Q[:, len(kept)] = residual / length
        kept.append(d)
    return found


def _how(X: FloatArray, d: int, parts: list[int]) -> str:
    if len(parts) > 1:
        return "a linear combination of"
    return "a copy of" if np.array_equal(X[:, d], X[:, parts[0]]) else "a linear function of"


def _some(texts: Sequence[str], between: str = ", ") -> str:
    """A list for a sentence; of a long one the first."""
    if len(texts) > _NAMED:
        return f"{between.join(texts[:_NAMED])}{between}and {len(texts) - _NAMED} more"
    return between.join(texts) if between != ", " or len(texts) < 2 else f"{', '.join(texts[:-1])} and {texts[-1]}"
