"""The front door: check, build, run, stack."""

from __future__ import annotations

import dataclasses
import os
import time
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from gibbs_gmm import checks, data_warnings, seeds
from gibbs_gmm.data import Observations, checked_errors, copies_of
from gibbs_gmm.errors import NumericalError
from gibbs_gmm.kernels.sampler.state import Data
from gibbs_gmm.kernels.types import FloatArray, IntArray
from gibbs_gmm.latent import count_not_exact
from gibbs_gmm.model.component_prior import checked_resolution
from gibbs_gmm.model.families import ComponentPrior, component_prior
from gibbs_gmm.model.known_labels import KnownLabels
from gibbs_gmm.model.outliers import MOST_COMPONENTS, Outliers
from gibbs_gmm.model.weight_priors import FiniteMixture, MixtureOfFiniteMixtures, WeightPrior
from gibbs_gmm.posterior.agreement import warn_if_apart
from gibbs_gmm.posterior.standing import standing
from gibbs_gmm.sampler import until
from gibbs_gmm.sampler.assemble import chains_of
from gibbs_gmm.sampler.places import placed
from gibbs_gmm.sampler.progress import Progress
from gibbs_gmm.sampler.recipe import Plan, Recipe, versions
from gibbs_gmm.sampler.run import run, stack
from gibbs_gmm.storage.room import require_disk, require_memory
from gibbs_gmm.storage.run_folder import Folder, Keeper, read_trace
from gibbs_gmm.threads import thread_count
from gibbs_gmm.trace import Trace

if TYPE_CHECKING:
    from gibbs_gmm.sampler.rows import Away

_WINDOWS_BYTES = 1 << 26  # draws of all chains that wait in memory for their folder


def fit(
    X: Any,
    n_components: int | WeightPrior | None = None,
    *,
    prior: ComponentPrior | None = None,
    covariance_type: str | None = None,
    resolution: Any = None,
    labels: Any = None,
    outliers: bool | float = False,
    errors: Any = None,
    counts: Any = None,
    draws: int | None = None,
    warmup: int | None = None,
    thin: int | None = None,
    max_sweeps: int | None = None,
    chains: int = 4,
    rng: Any = None,
    threads: int | None = None,
    progress: bool = True,
    save_assignments: bool = True,
    checkpoint: str | os.PathLike[str] | None = None,
    client: Any = None,
    device: str = "cpu",
    **unknown: Any,
) -> Trace:
    """Draw from the posterior of a Gaussian mixture: the number of components, weights, means, covariances and labels.

    Blocked Gibbs sampling (Diebolt & Robert 1994) with conjugate Normal-Inverse-Wishart components, and split-merge
    moves (Jain & Neal 2004) with parameters integrated out. An unknown number of components is drawn by telescoping
    (Fruehwirth-Schnatter, Malsiner-Walli & Gruen 2021), or by slices for the processes (Walker 2007). Chains start
    apart: from k-means++ clusterings that differ, and for an unknown number from 1, 20, 4 and 10 clusters in turn. Of
    200,000 rows or more, each first runs with one in 20 of them, drawn for itself, and goes on from there with all.

    Parameters
    ----------
    X : array-like (N, D) or (N,)
        Observations: an array, list, memory map, or pandas or polars data frame of finite real numbers. C-ordered
        float64 arrays, and float32 arrays of more than four million numbers, are read in place; anything else is
        converted once. Arithmetic is in float64. A Dask array stays on its cluster. NaN, nulls and masked values are
        missing: at random, given what is there. They are integrated out of labels and likelihood, and
        :meth:`Trace.impute` draws them. Each row and column must have a value.
    n_components : int, FiniteMixture, MixtureOfFiniteMixtures, DirichletProcess, PitmanYorProcess or None
        The number of components, or a prior for it and for the weights. An int n is ``FiniteMixture(n)``, at most N;
        None, an unknown number, is ``MixtureOfFiniteMixtures()``. From eight columns on, and up to 5,000 rows, a
        given number may rise by two for some sweeps, so that chains can leave local modes; draws are those sweeps only
        in which it is as given, and so from the posterior given it. ``trace.settings["split_merge"]`` counts the
        others.
    prior : NormalInverseWishart (full, tied) or NormalInverseGamma (diag, spherical), optional
        Prior of the component means and covariances; by default that of the family, ``from_data(X,
        covariance_type=...)`` of its class.
    covariance_type : "full", "tied", "diag" or "spherical", optional
        The family of components, as scikit-learn calls them: a covariance matrix for each component; one that all
        share; a variance for each column of each component; one for all columns of each, in the units of X. By default
        that of ``prior``, or "full". :func:`gibbs_gmm.compare` says which the data favour.
    resolution : float or (D,) array-like, optional
        To what width the values of each column are known, in place of the prior's own ``resolution``, which the default
        prior finds from the data. 0 takes them as exact: then the default's posterior may be improper where many rows
        are equal.
    labels : (N,) array-like, optional
        Of which kind each row is known to be, any hashable values; -1, None, NaN, "" and what pandas calls missing
        where it is unknown. Each kind is a component: a row of a known kind belongs to it, other rows may. Other kinds
        may be found beside them; n_components counts both. In the trace kind j, ``trace.label_names[j]``, is component
        j of every draw.
    outliers : bool or float between 0 and 1
        Whether there may be rows of no kind, or the share of them that is expected; True expects 5%. They are taken by
        a component of their own that is uniform over the box of the data
        (:class:`gibbs_gmm.model.outliers.Outliers`), which keeps a few odd rows from making a cluster. It is none of
        the n components and has no place in ``weights`` and ``means``; ``assignments`` are -1, and
        :meth:`Trace.outlier_probability` says how surely. ``similarity``, ``credible_ball`` and searches for a
        partition take all outliers of a draw as one cluster. X must have all of its values, without ``errors``.
    errors : (D,) or (N, D) array-like of standard deviations, or (N, D, D) of covariance matrices, optional
        Known errors of measurement: a row is x = v + e, e ~ N(0, E), and the mixture is that of the true values v
        (extreme deconvolution: Bovy, Hogg & Roweis 2011). 0 is a value that is exact. Those in a table, Series or
        dictionary go by the names of the columns.
    counts : (N,) array-like of whole numbers, optional
        How many observations each row stands for: row i for ``counts[i]``, each with a label of its own. The posterior
        is that of ``np.repeat(X, counts, axis=0)``, at a cost that grows with N: the bins of a histogram, or a table of
        distinct rows. Rows of count 0 are absent, and ``assignments`` has no place for them: it has one for each of
        ``np.flatnonzero(counts)``, the label that most of the row's observations have in a draw. Missing values,
        ``labels``, ``outliers``, ``errors``, ``client`` and ``device="cuda"`` want the rows repeated instead.
    draws, warmup : int, optional
        Draws to keep in each chain, and sweeps to discard before them. If one is given, the other is 1000 draws, or
        1000 sweeps for a known number of components and 1000 + 200 thin otherwise; 200 sweeps for 200,000 rows or more.
        If neither is, the run goes on until it is done: until the log likelihood, n_clusters, the largest weights,
        their entropy and the first principal components of the partitions all have an R-hat below 1.01 and at least 400
        effective draws, and the chains cluster the rows alike, or until ``max_sweeps`` are spent. It is looked at
        whenever it has 1000 draws in each chain, or of more than 250,000 rows 250,000,000 / N, at least 100; to go on,
        every second of them is dropped, and where the chains are apart the first half too.
        ``trace.settings["stopped_by"]`` has what ended it.
    thin : int, optional
        Sweeps per kept draw; of a run that goes on until it is done, at first. A sweep of few rows costs little and
        moves the chain little: the default is 5,000 / N, between 1 and 10, but 50,000 / N, between 1 and 50, for an
        unknown number of components and given draws or warm-up.
    max_sweeps : int, optional
        The most sweeps of each chain of a run that goes on until it is done; by default 1,500,000,000 / (N D), between
        4,000 (or the first 1000 draws) and 500,000. Of 200,000 rows or more: 96,000,000,000 / (N D K), K the number of
        components but at least 30, between the first draws and 4,000.
    chains : int
        Independent chains.
    rng : int, sequence of ints, SeedSequence, Generator, RandomState or None
        Seed. The same seed gives the same bytes whatever ``threads`` is, on one kind of processor.
    threads : int, optional
        Threads to use; by default one per available core. Chains come first; threads beyond the number of chains share
        the rows of large data.
    progress : bool
        Show a progress bar when the run takes long and standard error is a terminal or a notebook; elsewhere, a line
        now and then goes to the log ``gibbs_gmm``.
    save_assignments : bool
        Keep the (chains, draws, N) array of labels.
    checkpoint : path-like, optional
        A folder of its own for a run that outlasts interruptions. Draws, and every few seconds the states of the
        chains, are written into it, so that :func:`resume`, or the same call again, carries the run on after Ctrl-C, a
        kill or a full disk, to the trace that an uninterrupted run gives, byte for byte. :func:`load` reads the draws
        so far from another process. The trace may be larger than memory: its arrays are memory maps of files in the
        folder. A call with more ``draws`` adds to a finished run; with other data or settings it is refused. X is
        copied into the folder unless it is a memory map of a file.
    client : distributed.Client, optional
        The Dask cluster on whose workers the data lie and the passes over them are made; by default, for a Dask array
        X, the current one. The draws are those of one machine, whatever the number of workers and the chunks of X, if
        the processors are of one kind; a worker that is lost is replaced. Missing values, and true values behind
        ``errors``, are drawn there; a copy of them is fetched now and then. ``labels``, ``outliers`` and ``counts`` are
        for rows on one machine.
    device : "cpu" or "cuda"
        Where the passes over the rows are made: "cuda" is the NVIDIA GPU that numba finds (the extra ``cuda``), for
        full, diag and spherical components. X may then also be an array that is there (CuPy, DLPack). It pays from
        some 100,000 rows on. The same seed gives the same bytes on one kind of GPU; they are other draws, of the same
        posterior, than the processor's. X must have all of its values; ``labels``, ``outliers``, ``errors`` and
        ``counts`` are for the processor.

    Returns
    -------
    Trace
        Ctrl-C ends the run early and gives the draws so far, with a warning; before the first draw it raises
        KeyboardInterrupt as usual.

    Warns
    -----
    UserWarning
        The chains have not met, so that their draws are not from one posterior; the message says what to do.

    Raises
    ------
    TypeError, ValueError
        Bad input, or a trace too large for memory or disk; the message names the argument, what was seen and what is
        wanted. Nothing has been sampled.
    NumericalError
        A scale matrix was not positive definite; the message names chain, sweep and component.

    Warns
    -----
    UserWarning
        Columns that a Gaussian is not meant for, by name: of few distinct values, with one value shared by many rows,
        that count the rows, or that follow from others (:func:`gibbs_gmm.data_warnings.messages`). Labels that differ
        in capitals or spaces only, or of which nearly every row has its own.

    Examples
    --------
    >>> import gibbs_gmm as gg
    >>> import numpy as np
    >>> X = np.concatenate([np.random.default_rng(0).normal(m, 1.0, (50, 2)) for m in (-3.0, 3.0)])
    >>> trace = gg.fit(X, 2, draws=200, warmup=200, rng=1)
    >>> trace.means.shape
    (4, 200, 2, 2)
    """
    checks.refuse_unknown("fit", unknown, checks.arguments(fit))
    begun = time.perf_counter()
    array, columns, away = placed(X, client, device, 2 if counts is None else 1)
    outliers = bool(outliers) if isinstance(outliers, np.bool_) else outliers
    if counts is not None and (labels is not None or outliers is not False or errors is not None or away is not None):
        raise ValueError(
            "counts cannot be given together with labels, outliers, errors, or rows on a cluster or a GPU: repeat the "
            "rows, as np.repeat(X, counts, axis=0) does"
        )
    given_too = {"labels": labels is not None, "outliers": outliers is not False}
    _require_here(away, given_too)
    given = None if counts is None else checks.counts(counts, len(array))
    if given is not None:
        array = checks.present(array, given)
    copies = copies_of(given)
    shown = Progress(bool(progress))
    with shown:  # what an unknown number takes is imported at its first use
        weight_prior = _weight_prior(n_components, len(array) if copies is None else int(copies.sum()))
    plan = _plan(draws, warmup, thin, max_sweeps, array.shape, weight_prior.known_n)
    n_chains = checks.integer("chains", chains, 1)
    n_threads = thread_count(threads)
    for name, value in (("progress", progress), ("save_assignments", save_assignments)):
        if not isinstance(value, (bool, np.bool_)):
            raise TypeError(f"{name} must be True or False, got {value!r}")
    root = seeds.seed_sequence(rng)
    observations = Observations.of(array, columns, checked_errors(errors, array, columns), missing=True, copies=copies)
    if outliers is not False:
        observations.require_exact("beside outliers=")
    prior = component_prior(prior, covariance_type, observations)
    if away is not None:
        away.require(prior, observations)
    if resolution is not None:
        prior = dataclasses.replace(prior, resolution=checked_resolution(resolution, len(columns)))
    known = None if labels is None else KnownLabels.of(labels, len(array))
    if known is not None:
        known.require_room(weight_prior)
    beside = Outliers.of(outliers, observations, prior.resolution)
    if beside is not None and (weight_prior.known_n or 0) > MOST_COMPONENTS:
        raise ValueError(f"n_components must be at most {MOST_COMPONENTS} where there may be outliers")
    data_warnings.warn(array, columns, copies)
    for message in () if known is None else known.messages:
        warnings.warn(message, UserWarning, stacklevel=2)
    seed = seeds.to_dict(root)
    notes = prior.notes(observations) + observations.notes()
    recipe = Recipe(
        columns, prior, weight_prior, plan, n_chains, bool(save_assignments), seed, notes, device, known, beside
    )
    data = observations.as_kernel()
    given = None if given is None or (given == 1).all() else given
    if checkpoint is None:
        with shown:
            trace = _in_memory(recipe, data, given, n_threads, shown, begun, away)
        return warn_if_apart(trace, "fit")
    folder = Folder(checkpoint)
    with folder.locked():
        if folder.has_run:
            folder.require_same(recipe, array, any_seed=rng is None, errors=observations.errors, counts=given)
            stored = folder.recipe()[0]
            recipe = dataclasses.replace(
                recipe, seed=stored.seed, plan=_carried_on(stored.plan, recipe.plan, len(array))
            )
        with shown:
            trace = _in_folder(folder, recipe, data, given, n_threads, shown, away, observations.errors)
        return warn_if_apart(trace, "fit")


def resume(
    path: str | os.PathLike[str],
    X: Any = None,
    *,
    draws: int | None = None,
    max_sweeps: int | None = None,
    threads: int | None = None,
    progress: bool = True,
    client: Any = None,
    **unknown: Any,
) -> Trace:
    """Carry on a run that ``fit(..., checkpoint=path)`` began, after whatever ended it, to the end that it was to have.

    The trace is, byte for byte, the one that an uninterrupted run gives.

    Parameters
    ----------
    path : path-like
        The checkpoint folder. If a state or draws in it are damaged, what they were is sampled again.
    X : array-like, optional
        The data, if they were in a file that has moved, or on a cluster. Other data than the run's are refused.
    draws : int, optional
        Draws to have in each chain in the end, at least as many as were asked for before. The trace is the one that
        would have come of asking for them at first.
    max_sweeps : int, optional
        The most sweeps of each chain of a run that goes on until it is done, at least as many as before.
    threads, progress, client
        As for :func:`fit`.

    Returns
    -------
    Trace
        Its arrays are memory maps of files in the folder.

    Raises
    ------
    FileNotFoundError
        There is no run in the folder.
    ValueError
        The data are not those of the run; another process is at work in the folder; the run was made by an incompatible
        version; or its recipe is damaged.

    Examples
    --------
    Of the rows of :func:`fit`'s example:

    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> trace = gg.fit(X, 2, draws=10, warmup=100, rng=1, checkpoint=folder, progress=False)
    >>> gg.resume(folder, draws=20, progress=False).means.shape
    (4, 20, 2, 2)
    """
    checks.refuse_unknown("resume", unknown, checks.arguments(resume))
    folder = Folder(path)
    recipe, _ = folder.recipe()
    n_threads = thread_count(threads)
    counts = folder.counts()
    array, _, away = placed(folder.data() if X is None else X, client, recipe.device, 2 if counts is None else 1)
    told = {"labels": recipe.labels, "outliers": recipe.outliers, "counts": counts}
    _require_here(away, {name: value is not None for name, value in told.items()})
    recipe = dataclasses.replace(recipe, plan=_with_more(recipe.plan, draws, max_sweeps, len(array)))
    if counts is not None and len(array) == len(counts):
        array = checks.present(array, counts)
    with folder.locked():
        errors = folder.errors()
        folder.require_same(recipe, array, any_seed=False, errors=errors, counts=counts)
        data = Observations.of(array, recipe.columns, errors, missing=True, copies=copies_of(counts)).as_kernel()
        with Progress(bool(progress)) as shown:
            trace = _in_folder(folder, recipe, data, counts, n_threads, shown, away, errors)
        return warn_if_apart(trace, "resume")


def _require_here(away: Away | None, told: dict[str, bool]) -> None:
    """Refuse what is told of rows by these names, where they are elsewhere."""
    for name in [name for name, is_told in told.items() if is_told and away is not None]:
        raise ValueError(f"{name} cannot be given for rows on a cluster or a GPU: fit them on one machine")


def _true_values(recipe: Recipe, data: Data) -> dict[str, int]:
    """Bytes of the rows of each chain that are here, where there are true values to be filled in."""
    latent = len(data.latent.group) > 0 and isinstance(data.X, np.ndarray)
    return {"the chains' own rows": recipe.chains * data.X.size * 8} if latent else {}


def _kept_values(recipe: Recipe, data: Data) -> dict[str, int]:
    """Bytes of the true values that states of the chains hold."""
    total = int(count_not_exact(data.latent).sum())
    return {"true values": 2 * recipe.chains * 8 * total} if total > 0 else {}  # two generations of states


def _in_memory(
    recipe: Recipe,
    data: Data,
    counts: IntArray | None,
    threads: int,
    progress: Progress,
    begun: float,
    away: Away | None,
) -> Trace:
    """Run all chains and put their draws together."""
    copies = copies_of(counts)
    needed = {**recipe.bytes(len(data.X), copies is not None), **_true_values(recipe, data)}
    require_memory(needed, recipe.known_n is None)
    chains = chains_of(recipe, data, away, copies=copies)
    stopped_by = run(chains, threads, progress, standing, away=away)
    kept = min(chain.draws_done for chain in chains)
    recipe = dataclasses.replace(recipe, plan=chains[0].plan)
    if stopped_by == "interruption":
        if kept == 0:
            raise KeyboardInterrupt
        warnings.warn(_interrupted(kept, recipe.plan), stacklevel=3)
    return recipe.trace(
        stack(chains, kept),
        counts,
        n_observations=len(data.X) if copies is None else int(copies.sum()),
        threads=threads,
        interrupted=stopped_by == "interruption",
        stopped_by=stopped_by,
        split_merge=[chain.report() for chain in chains],
        seconds=time.perf_counter() - begun,
        versions=versions(),
    )


def _in_folder(
    folder: Folder,
    recipe: Recipe,
    data: Data,
    counts: IntArray | None,
    threads: int,
    progress: Progress,
    away: Away | None,
    errors: FloatArray | None,
) -> Trace:
    """Begin a run in a folder that this process has locked, or carry it on, and read its trace from there."""
    new = not folder.has_run or folder.recipe()[0].plan != recipe.plan
    if new:
        copy = {"a copy of X": 0 if folder.has_run or not isinstance(data.X, np.ndarray) else data.X.nbytes}
        copy |= _kept_values(recipe, data)
        require_disk(folder.path, {**recipe.bytes(len(data.X)), **copy}, recipe.known_n is None)
    chains = chains_of(recipe, data, away, _WINDOWS_BYTES // recipe.chains, copies_of(counts))
    if new:
        folder.begin(recipe, data.X, threads, errors, counts)
    keeper = Keeper(folder, chains, recipe)
    try:
        stopped_by = run(chains, threads, progress, standing, keeper, away)
        keeper.keep_all()
    except NumericalError as error:  # the same sweeps would fail again
        folder.fail(str(error))
        raise
    finally:
        keeper.close()
    kept, plan = min(chain.draws_done for chain in chains), chains[0].plan
    if stopped_by == "interruption":
        where = f"gibbs_gmm.resume({os.fspath(folder)!r}) carries the run on"
        if kept == 0:
            raise KeyboardInterrupt(where)
        warnings.warn(f"{_interrupted(kept, plan)}; {where}", stacklevel=3)
    else:
        folder.follow(dataclasses.replace(recipe, plan=plan), stopped_by)
    return read_trace(folder)


def _plan(draws: Any, warmup: Any, thin: Any, max_sweeps: Any, shape: tuple[int, ...], n: int | None) -> Plan:
    """How long the run is to be: as given, or until it is done."""
    N, D = shape
    thin = None if thin is None else checks.integer("thin", thin, 1)
    if draws is None and warmup is None:
        budget = None if max_sweeps is None else checks.integer("max_sweeps", max_sweeps, 1)
        return until.first_plan(N, D, n, thin, budget)
    if max_sweeps is not None:
        raise ValueError(
            "max_sweeps is for a run that goes on until it is done, and draws or warmup were given too: leave out one "
            "or the other"
        )
    if thin is None:
        rows, most = (50_000, 50) if n is None else (5_000, 10)
        thin = max(1, min(most, rows // N))
    if warmup is None:
        warmup = until.first_warmup(N, n is not None, thin)
    return Plan(
        warmup=checks.integer("warmup", warmup, 0),
        draws=checks.integer("draws", 1000 if draws is None else draws, 1),
        thin=thin,
    )


def _carried_on(stored: Plan, asked: Plan, N: int) -> Plan:
    """The plan of a run in a folder that is asked for again: as it has grown, with what it may have of more now."""
    if stored.max_sweeps is None or asked.max_sweeps is None:
        return asked
    return _with_more(stored, None, max(stored.max_sweeps, asked.max_sweeps), N)


def _with_more(plan: Plan, draws: Any, max_sweeps: Any, N: int) -> Plan:
    """A plan with as many draws, or as large a budget, in place of fewer."""
    if draws is not None and plan.max_sweeps is not None:
        raise ValueError("draws cannot be added to a run that goes on until it is done: raise max_sweeps")
    if max_sweeps is not None and plan.max_sweeps is None:
        raise ValueError("max_sweeps is for a run that goes on until it is done, and the draws of this one were given")
    if draws is not None:
        return dataclasses.replace(plan, draws=checks.integer("draws", draws, plan.draws))
    if max_sweeps is not None and plan.max_sweeps is not None:
        budget = checks.integer("max_sweeps", max_sweeps, plan.max_sweeps)
        return until.within(dataclasses.replace(plan, max_sweeps=budget), N)
    return plan


def _interrupted(kept: int, plan: Plan) -> str:
    return f"interrupted: the trace has {kept} of {plan.draws} draws per chain; they are valid draws"


def _weight_prior(n_components: Any, N: int) -> WeightPrior:
    """The weight prior that was asked for, checked against the number of rows."""
    if n_components is None:
        n_components = MixtureOfFiniteMixtures()
    weight_prior = n_components if isinstance(n_components, WeightPrior) else FiniteMixture(n_components)
    weight_prior.require_rows(N)
    return weight_prior
