"""The table a user reads first: what the posterior says of each component, and whether the chains agree."""

from __future__ import annotations

import csv
import dataclasses
import importlib
import math
import os
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from gibbs_gmm.kernels.types import AnyArray, FloatArray
from gibbs_gmm.optional import needs
from gibbs_gmm.posterior.agreement import (
    LISTED,
    MIN_DRAWS,
    R_HAT_LIMIT,
    Alarm,
    Kind,
    alike_all_the_same,
    apart,
    by_chain,
    different_modes,
    invariants,
    r_hat,
    run_longer,
    varies,
)
from gibbs_gmm.posterior.relabel import AMBIGUOUS_LIMIT, Relabelling, most_probable_n_clusters
from gibbs_gmm.posterior.standing import EFFECTIVE_DRAWS, R_HAT
from gibbs_gmm.posterior.wording import html_table, percent, plain, text_table
from gibbs_gmm.trace import Trace

_ESS_PER_CHAIN = 100
_LONGEST_PRINT = 100
_STATISTICS = ("mean", "sd", "q05", "q95", "r_hat", "ess_bulk", "ess_tail")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Summary:
    """Posterior summary of a trace, one row per quantity.

    Components are matched across draws and chains (:meth:`Trace.relabel`) and numbered from 0 by decreasing posterior
    mean weight. ``log_likelihood``, ``log_posterior``, ``sorted_weight[j]`` (the j-th largest weight of a draw, j from
    0), ``entropy`` (of the weights of a draw, in nats), ``partition[j]`` (the score of a draw on the j-th principal
    component of the partitions; of 1000 draws of each chain, if there are more), ``n_clusters`` and, where they are
    learned, ``n_components``, ``concentration`` and ``kappa_0`` do not depend on labels: they tell whether the chains
    agree.

    If the number of components is unknown, the rows of components are those of the most probable number of clusters,
    computed from the draws that have it; their R-hat and effective sample sizes are computed from equally many of these
    draws in each chain, the first. All other rows are computed from all draws; log_posterior, which cannot be compared
    across dimensions, is left out, and so are weights that fewer than 5% of draws have.

    Attributes
    ----------
    name : tuple of str
        ``weight[k]``, ``mean[k, column]``, ``covariance[k, column, column]`` (upper triangle), then the
        label-invariant quantities. ``summary["weight[0]"]`` is one row, as a dict.
    mean, sd, q05, q95 : (R,) float64
        Posterior mean, standard deviation and 90% interval, over all chains.
    r_hat : (R,) float64
        Rank-normalised split R-hat (Vehtari et al. 2021), 1 where chains agree; NaN for one chain, fewer than 4
        draws or a quantity that never changes, infinite where it differs between chains but not within them.
    ess_bulk, ess_tail : (R,) float64
        Effective sample sizes over all chains, for the mean and for the 90% interval; NaN for fewer than 4 draws
        or a quantity that never changes.
    ambiguous_share : float
        Share of the draws from which the rows of components are in which the matching of components is ambiguous: two
        of them could as well be the other way round (:func:`gibbs_gmm.posterior.relabel.relabel`).
    note : str
        How many clusters there are (``trace.headline``), which draws the rows of components are from, if not from all,
        and how surely components were matched.
    messages : tuple of str
        What a reader must know before using the numbers; empty when nothing is wrong.
    """

    name: tuple[str, ...]
    mean: FloatArray
    sd: FloatArray
    q05: FloatArray
    q95: FloatArray
    r_hat: FloatArray
    ess_bulk: FloatArray
    ess_tail: FloatArray
    ambiguous_share: float
    note: str
    messages: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.name)

    def __getitem__(self, name: str) -> dict[str, float]:
        try:
            row = self.name.index(name)
        except ValueError:
            raise KeyError(f"no row {name!r}; the names are in .name, such as {self.name[0]!r}") from None
        return {statistic: float(getattr(self, statistic)[row]) for statistic in _STATISTICS}

    def __repr__(self) -> str:
        return text_table(*self._text(), self._remarks())

    def _repr_html_(self) -> str:
        return html_table(*self._text(), self._remarks())

    def _remarks(self) -> tuple[str, ...]:
        return (self.note, *self.messages)

    def to_csv(self, path: str | os.PathLike[str], digits: int = 17) -> None:
        """Write the table to a CSV file, by default every digit of it; undefined values are empty."""
        columns = [[plain(value, digits) for value in getattr(self, statistic)] for statistic in _STATISTICS]
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["name", *_STATISTICS])
            writer.writerows(zip(self.name, *columns, strict=True))

    def to_dataframe(self) -> Any:
        """The table as a pandas DataFrame, indexed by name."""
        pd = needs("pandas", "arviz", "to_dataframe()")
        return pd.DataFrame(
            {statistic: getattr(self, statistic) for statistic in _STATISTICS},
            index=pd.Index(self.name, name="name"),
        )

    def _text(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Header and rows as text; the middle of a long table is left out."""
        show = list(range(len(self)))
        if len(self) > _LONGEST_PRINT:
            tail = len(self) - self.name.index("log_likelihood")
            head = max(_LONGEST_PRINT - tail, 20)
            show = [*show[:head], -1, *show[-tail:]]
        rows = []
        for r in show:
            if r < 0:
                rows.append((f"... {len(self) - len(show) + 1} more rows, in to_csv()", *[""] * len(_STATISTICS)))
                continue
            numbers = _format((self.mean[r], self.sd[r], self.q05[r], self.q95[r]), self.sd[r])
            ess = (f"{value:.0f}" for value in (self.ess_bulk[r], self.ess_tail[r]))
            r_hat = f"{self.r_hat[r]:.3f}" if self.r_hat[r] < 100 else f"{self.r_hat[r]:.0e}"
            rows.append((self.name[r], *numbers, r_hat, *ess))
        return ("", "mean", "sd", "5%", "95%", "r_hat", "ess_bulk", "ess_tail"), [
            tuple("-" if cell == "nan" else cell for cell in row) for row in rows
        ]


def summarize(trace: Trace) -> Summary:
    """Summarise a trace: per component after matching, and in quantities that do not depend on labels.

    Parameters
    ----------
    trace : Trace
        Any trace, down to one chain, one draw, one component and one column.

    Returns
    -------
    Summary
        Its ``messages`` say in plain words what is wrong, if anything.

    Warns
    -----
    UserWarning
        The chains have not met: their label-invariant quantities disagree.
    """
    names: list[str] = []
    blocks: list[FloatArray] = []
    relabelling = trace.relabel()
    chosen = None if trace.n_is_known else relabelling.counted
    for block_names, values in _component_rows(trace, relabelling):
        names += block_names
        blocks.append(_statistics(values, chosen))
    free = invariants(trace)
    blocks += [_statistics(x[None]) for x in free.values()]
    table = np.concatenate(blocks, axis=1)
    split = [np.split(row, [len(names)]) for row in table]
    ambiguous = relabelling.ambiguous_places if chosen is None else relabelling.ambiguous_places[chosen]
    ambiguous = ambiguous.reshape(-1, relabelling.n_matched)
    messages, unmet = _messages(trace, chosen, ambiguous.mean(0), *split[4:])
    if unmet is not None:
        warnings.warn(unmet, UserWarning, stacklevel=3)  # 3: the caller of Trace.summary
    columns = dict(zip(_STATISTICS, table, strict=True))
    return Summary(
        name=(*names, *free),
        ambiguous_share=float(ambiguous.any(-1).mean()),
        note=_note(trace, chosen, ambiguous),
        messages=tuple(messages),
        **columns,
    )


def _component_rows(trace: Trace, relabelling: Relabelling) -> Iterator[tuple[list[str], FloatArray]]:
    """Names and values (R, C, T) of the components' rows, in blocks so that no copy of all covariances is made."""
    perm, K, columns, (C, T, _, D) = relabelling.permutation, relabelling.n_matched, trace.columns, trace.means.shape
    upper = np.triu_indices(D) if trace.prior.is_matrix else (np.arange(D), np.arange(D))
    yield [f"weight[{k}]" for k in range(K)], np.moveaxis(np.take_along_axis(trace.weights, perm[..., :K], -1), -1, 0)
    for k in range(K):
        mean = np.take_along_axis(trace.means, perm[:, :, k, None, None], 2)[:, :, 0]
        yield [f"mean[{k}, {column}]" for column in columns], np.moveaxis(mean, -1, 0)
    for k in range(K):
        covariance = trace.covariances[*np.ogrid[:C, :T], perm[:, :, k]]
        pairs = [f"covariance[{k}, {columns[i]}, {columns[j]}]" for i, j in zip(*upper, strict=True)]
        yield pairs, np.moveaxis(covariance[:, :, *upper], -1, 0)


def _statistics(values: FloatArray, chosen: AnyArray | None = None) -> FloatArray:
    """The seven statistics, (7, R), of R quantities in C chains of T draws, or in the ``chosen`` (C, T) of them."""
    array_stats: Any = importlib.import_module("arviz_stats.base").array_stats  # lazy: it takes half a second
    R, C, T = values.shape
    if chosen is None:
        flat, chains = values.reshape(R, C * T), values
    else:
        flat, T = values[:, chosen], _least(chosen)
        chains = np.stack([values[:, c, np.flatnonzero(chosen[c])[:T]] for c in range(C)], axis=1)
    result = np.full((len(_STATISTICS), R), np.nan)
    result[0] = flat.mean(1)
    moving = varies(flat[:, None])
    if flat.shape[1] > 1:
        result[1] = np.where(moving, flat.std(1, ddof=1), 0.0)
    result[2:4] = np.quantile(flat, [0.05, 0.95], axis=1)
    if T >= MIN_DRAWS and moving.any():
        x = np.ascontiguousarray(chains[moving])
        result[4, moving] = r_hat(x)
        with np.errstate(all="ignore"):  # half a chain may be constant, as n_clusters often is
            result[5, moving] = array_stats.ess(x)
            result[6, moving] = array_stats.ess(x, method="tail", prob=(0.05, 0.95))
    return result


def _least(chosen: AnyArray) -> int:
    """How many of its draws every chain has at least among the chosen (C, T)."""
    return int(np.count_nonzero(chosen, axis=1).min())


def _note(trace: Trace, chosen: AnyArray | None, ambiguous: AnyArray) -> str:
    """How many clusters, which draws the components' rows are from, and in how many they could be exchanged."""
    note, matched = f"{trace.headline}.", ""
    if ambiguous.shape[1] > 1:
        share = percent(float(ambiguous.any(-1).mean()))
        matched = f"The components of these draws were matched; which is which is ambiguous in {share} of them."
    if chosen is None or chosen.all():
        return f"{note} {matched}".rstrip()
    t = most_probable_n_clusters(trace)
    note += (
        f" The rows of components (weight, mean, covariance) are from the {percent(float(chosen.mean()))} of draws "
        f"with {t} cluster{'s'[: t > 1]}, the most probable number; the rows from log_likelihood on are from all draws."
    )
    if _least(chosen) < MIN_DRAWS <= chosen.shape[1]:
        note += (
            f" Some chain has fewer than {MIN_DRAWS} of these draws, so they have no R-hat and effective sample size."
        )
    return f"{note} {matched}".rstrip()


def _messages(
    trace: Trace,
    chosen: AnyArray | None,
    ambiguous: FloatArray,
    r_hat: list[FloatArray],
    ess_bulk: list[FloatArray],
    ess_tail: list[FloatArray],
) -> tuple[list[str], str | None]:
    """What to say, and the part of it that is worth a warning.

    ``ambiguous`` is the share of draws in which each component could be exchanged with another. Each list holds two
    arrays: the values of the component-wise rows and of the label-invariant ones.
    """
    C, T = trace.log_likelihood.shape
    messages: list[str] = list(trace.settings.get("notes", ()))
    if trace.settings.get("interrupted"):
        text = f"The run was interrupted: these are the {T} draws per chain that it had kept."
        messages.append(Alarm(text, Kind.INTERRUPTED))
    if trace.settings.get("stopped_by") == "max_sweeps":
        messages.append(
            f"The run came to its budget of {trace.settings['max_sweeps']:,} sweeps in each chain before all that does "
            f"not depend on labels had an R-hat below {R_HAT} and {EFFECTIVE_DRAWS} effective draws: the "
            "answer is preliminary, and max_sweeps= can be raised."
        )
    unreadable = False  # the rows of components
    if (unmet := apart(trace)) is not None:
        unmet = Alarm(
            f"{unmet}The mean log_likelihood of each chain {by_chain(trace.log_likelihood.mean(1), '.1f')}. They are "
            "in different parts of the posterior, or too short to tell, and this table mixes them: do not use it. ",
            Kind.APART,
            run_longer(trace),
        )
        messages.append(unmet)
    elif (ambiguous > AMBIGUOUS_LIMIT).any():
        unreadable = True
        messages.append(
            f"Labels are not separable: {_ambiguous_components(ambiguous)}, because they overlap or have no "
            "observations. Do not read their rows (weight, mean, covariance); the rows from log_likelihood on, which "
            "do not depend on labels, can be read."
        )
    elif (r_hat[0] > R_HAT_LIMIT).any() and (chosen is None or _least(chosen) >= _ESS_PER_CHAIN):
        unreadable = True
        messages.append(
            "The chains agree on everything that does not depend on labels, and components were matched with "
            f"certainty, but component-wise R-hat reaches {np.nanmax(r_hat[0]):.2f}: single components are not the "
            "same in all chains. Do not read their rows (weight, mean, covariance) before longer chains agree."
        )
    if unmet is None and (modes := different_modes(trace)):
        messages.append(alike_all_the_same(modes))
    if C == 1:
        text = "There is one chain, so R-hat is undefined and nothing shows whether it has converged: run 4."
        messages.append(Alarm(text, Kind.ONE_CHAIN))
    if T < MIN_DRAWS:
        messages.append(f"R-hat and effective sample sizes need at least {MIN_DRAWS} draws per chain; there are {T}.")
    trusted = [np.concatenate(ess[int(unreadable) :]) for ess in (ess_bulk, ess_tail)]
    least = np.nanmin(np.append(np.concatenate(trusted), np.inf))
    if unmet is None and least < _ESS_PER_CHAIN * C:
        messages.append(
            f"There are few effective draws: the lowest effective sample size is {least:.0f}, below "
            f"{_ESS_PER_CHAIN * C} ({_ESS_PER_CHAIN} per chain). The numbers in such rows are rough: run more draws."
        )
    return messages, unmet


def _ambiguous_components(share: FloatArray) -> str:
    """Which components cannot be told apart, and in how many draws, for a sentence."""
    which = np.flatnonzero(share > AMBIGUOUS_LIMIT)
    listed = [str(k) for k in which]
    if len(which) > LISTED:
        listed = [*listed[: LISTED - 1], f"{len(which) - LISTED + 1} more"]
    names = " and ".join([", ".join(listed[:-1]), listed[-1]]) if len(listed) > 1 else f"{listed[0]} and others"
    low, high = percent(float(share[which].min())), percent(float(share[which].max()))
    shares = low if low == high else f"{low} to {high}"
    return f"components {names} could as well be exchanged in {shares} of draws"


def _format(values: tuple[float, ...], scale: float) -> list[str]:
    """Numbers to two significant digits of ``scale`` (a standard deviation); four where it says nothing."""
    largest = max(abs(value) for value in values)
    if not (math.isfinite(scale) and scale > 0.0):
        return [f"{value:z.4g}" for value in values]
    decimals = 1 - math.floor(math.log10(scale))
    if largest >= 1e7 or decimals > 6:
        digits = min(max(1, math.floor(math.log10(max(largest, scale))) + decimals), 15)
        return [f"{value:.{digits}e}" for value in values]
    return [f"{value:z.{max(decimals, 0)}f}" for value in values]
