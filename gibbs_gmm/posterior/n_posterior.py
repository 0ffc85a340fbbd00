"""How many? The posterior of the number of components and of clusters, beside their priors."""

from __future__ import annotations

import csv
import dataclasses
import importlib
import os
import warnings
from typing import Any

import numpy as np

from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray
from gibbs_gmm.model.n_clusters_prior import LARGEST
from gibbs_gmm.optional import needs
from gibbs_gmm.posterior.agreement import (
    MIN_DRAWS,
    Alarm,
    Kind,
    alike_all_the_same,
    apart,
    different_modes,
    run_longer,
)
from gibbs_gmm.posterior.wording import plain, text_table
from gibbs_gmm.trace import Trace

_NEGLIGIBLE, _VISIBLE = 0.0005, 0.005
_PRINTED_CHAINS = 6
_LEADING = 5  # empty rows at the beginning that are still printed


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class NPosterior:
    """Posterior of the number of components n and of clusters n+ (components that own observations).

    They answer different questions: n is how many kinds there are, n+ how many of them are among these observations.
    Both are beside their priors, which say how much of an answer was put in.

    Attributes
    ----------
    n : (V,) int64
        1, 2, ..., up to the last with a probability of 0.0005 or more, of n or of n+, in any chain.
    p_n_components, se_n_components : (V,) float64, or None
        p(n | X) and its Monte-Carlo standard error; None where n was given, and for a Dirichlet or Pitman-Yor process,
        whose n is infinite.
    prior_n_components : (V,) float64, or None
        p(n).
    p_n_clusters, se_n_clusters : (V,) float64
        p(n+ | X) and its Monte-Carlo standard error.
    prior_n_clusters : (V,) float64
        p(n+) of as many observations; NaN for more than 10,000,000.
    p_n_clusters_by_chain : (C, V) float64
        p(n+ | X) as each chain alone has it.
    note : str
        Why there is no p(n), where there is none.
    messages : tuple of str
        What a reader must know before using the numbers; empty when nothing is wrong.

    Notes
    -----
    Standard errors are the standard deviation of the indicator divided by the square root of its effective sample size
    over all chains; NaN where it never changes (a value that was never, or always, visited) and for fewer than 4 draws.
    """

    n: IntArray
    p_n_components: FloatArray | None
    se_n_components: FloatArray | None
    prior_n_components: FloatArray | None
    p_n_clusters: FloatArray
    se_n_clusters: FloatArray
    prior_n_clusters: FloatArray
    p_n_clusters_by_chain: FloatArray
    note: str
    messages: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.n)

    def __repr__(self) -> str:
        return text_table(*self.text(), self._remarks())

    def _repr_html_(self) -> str:
        from gibbs_gmm.posterior.notebook import n_posterior_html

        return n_posterior_html(self, self._remarks())

    def to_csv(self, path: str | os.PathLike[str], digits: int = 17) -> None:
        """Write the table to a CSV file, by default every digit of it; undefined values are empty."""
        columns = self._columns()
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["n", *columns])
            for row, n in enumerate(self.n):
                values = (float(column[row]) for column in columns.values())
                writer.writerow([int(n), *(plain(value, digits) for value in values)])

    def to_dataframe(self) -> Any:
        """The table as a pandas DataFrame, indexed by n."""
        pd = needs("pandas", "arviz", "to_dataframe()")
        return pd.DataFrame(self._columns(), index=pd.Index(self.n, name="n"))

    def _columns(self) -> dict[str, FloatArray]:
        """The columns that there are, by name; those of the chains are numbered."""
        names = [field.name for field in dataclasses.fields(self) if field.name not in ("n", "note", "messages")]
        columns = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        by_chain = columns.pop("p_n_clusters_by_chain")
        return columns | {f"p_n_clusters_chain_{c}": p for c, p in enumerate(by_chain)}

    def visible(self) -> slice:
        """The places of the values that a chart can show, up to the last with a probability of 0.005 or more."""
        return slice(self._first, int(_above(self._most(), _VISIBLE)[-1]) + 1)

    @property
    def _first(self) -> int:
        """The place of the first value worth showing: 0 unless many values before it have no posterior probability."""
        first = int(_above(self._most(), _NEGLIGIBLE)[0])
        return first if first > _LEADING else 0

    def _most(self) -> FloatArray:
        """The largest posterior probability of each value, of n or of n+, in any chain."""
        p_n_components = np.zeros(len(self)) if self.p_n_components is None else self.p_n_components
        most: FloatArray = np.stack([p_n_components, self.p_n_clusters, *self.p_n_clusters_by_chain]).max(0)
        return most

    def _remarks(self) -> tuple[str, ...]:
        return (self.note, *self.messages) if self.note else self.messages

    def text(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Header and rows as text; values at either end that have no posterior probability are one row."""
        blocks = [
            ("p(n)", self.p_n_components, self.se_n_components, self.prior_n_components),
            ("p(n+)", self.p_n_clusters, self.se_n_clusters, self.prior_n_clusters),
        ]
        header, columns = ["n"], []
        for name, p, se, prior in blocks:
            if p is not None and se is not None and prior is not None:
                header += [name, "se", "prior"]
                columns += [self._probabilities(p), ["", *(f"{x:.4f}" for x in se), ""], self._probabilities(prior)]
        C, first = len(self.p_n_clusters_by_chain), self._first
        if 1 < C <= _PRINTED_CHAINS:
            header += ["chain 0", *(str(c) for c in range(1, C))]
            columns += [self._probabilities(p) for p in self.p_n_clusters_by_chain]
        elif C > 1:
            header += ["least chain", "most"]
            extremes = (f(self.p_n_clusters_by_chain, axis=0) for f in (np.min, np.max))
            columns += [["", *self._probabilities(p)[1:-1], ""] for p in extremes]
        names = [f"< {self.n[first]}", *map(str, self.n), f"> {self.n[-1]}"]
        rows = [tuple("-" if cell == "nan" else cell for cell in row) for row in zip(names, *columns, strict=True)]
        beyond = [row for row in rows[-1:] if any(cell not in ("", "-") for cell in row[1:])]
        return tuple(header), [*rows[: first > 0], *rows[1 + first : -1], *beyond]

    def _probabilities(self, p: FloatArray) -> list[str]:
        """Probabilities as text; before them what is left out at the beginning, and behind them what is left of 1."""
        ends = (float(p[: self._first].sum()), max(0.0, 1.0 - float(p.sum())))
        before, beyond = ("" if end < _NEGLIGIBLE else f"{end:.3f}" for end in ends)
        return [before, *("0" if value == 0.0 else f"{value:.3f}" for value in p), beyond]


def tabulate(trace: Trace) -> NPosterior:
    """The posterior of the number of components and of clusters, from a trace.

    Parameters
    ----------
    trace : Trace
        Any trace, down to one chain and one draw.

    Returns
    -------
    NPosterior
        Its ``messages`` say in plain words what is wrong, if anything.

    Warns
    -----
    UserWarning
        The chains have not met.
    """
    questions = {"n_clusters": trace.n_clusters}
    if trace.weight_prior.learns_n:
        questions["n_components"] = trace.n_components
    shares = [*map(_shares, questions.values()), *map(_shares, trace.n_clusters)]
    last = max(int(_above(share, _NEGLIGIBLE)[-1]) + 1 for share in shares)
    n = np.arange(1, last + 1)
    p = {name: _padded(_shares(values), last) for name, values in questions.items()}
    se = {name: _standard_errors(values, n) for name, values in questions.items()}
    messages, unmet = _messages(trace)
    if unmet is not None:
        warnings.warn(unmet, UserWarning, stacklevel=3)  # 3: the caller of Trace.n_posterior
    return NPosterior(
        n=n,
        p_n_components=p.get("n_components"),
        se_n_components=se.get("n_components"),
        prior_n_components=_prior_n(trace, last) if "n_components" in questions else None,
        p_n_clusters=p["n_clusters"],
        se_n_clusters=se["n_clusters"],
        prior_n_clusters=_prior_n_clusters(trace, last),
        p_n_clusters_by_chain=np.stack([_padded(_shares(chain), last) for chain in trace.n_clusters]),
        note=_note(trace),
        messages=tuple(messages),
    )


def _shares(values: AnyArray) -> FloatArray:
    """The share of each of 1, 2, ... among values of any shape."""
    return np.bincount(values.ravel())[1:] / values.size


def _above(p: FloatArray, limit: float) -> IntArray:
    """Indices where p >= min(limit, max(p) / 10)."""
    return np.flatnonzero(p >= min(limit, 0.1 * float(p.max())))


def _padded(p: FloatArray, length: int) -> FloatArray:
    """``p`` cut or filled up with zeros."""
    return np.pad(p[:length], (0, max(0, length - len(p))))


def _standard_errors(values: AnyArray, n: IntArray) -> FloatArray:
    """Monte-Carlo standard errors of the probabilities of ``n`` from draws (C, T)."""
    array_stats: Any = importlib.import_module("arviz_stats.base").array_stats  # lazy: it takes half a second
    result = np.full(len(n), np.nan)
    if values.shape[1] >= MIN_DRAWS:
        for j, value in enumerate(n):
            hit = values == value
            if hit.any() and not hit.all():
                result[j] = float(array_stats.mcse(hit.astype(np.float64)))
    return result


def _prior_n(trace: Trace, length: int) -> FloatArray:
    """p(n) of n = 1, ..., ``length``, where n is finite."""
    return _padded(np.exp(trace.weight_prior.log_n_prior()[0][1:]), length)


def _prior_n_clusters(trace: Trace, length: int) -> FloatArray:
    """p(n+) of n+ = 1, ..., ``length``; NaN for more observations than it is computed for."""
    N = trace.settings["n_observations"]
    return np.full(length, np.nan) if N > LARGEST else _padded(trace.weight_prior.n_clusters_pmf(N, length), length)


def _note(trace: Trace) -> str:
    """Why there is no p(n)."""
    if trace.weight_prior.learns_n:
        return ""
    if trace.n_is_known:
        return f"n = {trace.n_components.flat[0]} is given; n+ is how many of these components own observations."
    return (
        "There is no p(n): a process has infinitely many components, and n+ is how many of them own observations. It "
        "grows with their number, and does not estimate how many kinds there are."
    )


def _messages(trace: Trace) -> tuple[list[str], str | None]:
    """What to say, and the part of it that is worth a warning."""
    C, T = trace.n_clusters.shape
    messages: list[str] = []
    if (unmet := apart(trace)) is not None:
        unmet = Alarm(f"{unmet}These probabilities mix them: do not use them. ", Kind.APART, run_longer(trace))
        messages.append(unmet)
    elif modes := different_modes(trace):
        messages.append(alike_all_the_same(modes))
    if C == 1:
        text = "There is one chain, so nothing shows whether it has converged: run 4."
        messages.append(Alarm(text, Kind.ONE_CHAIN))
    if T < MIN_DRAWS:
        messages.append(f"Standard errors need at least {MIN_DRAWS} draws per chain; there are {T}.")
    return messages, unmet
