"""The folder of a run that outlasts interruptions: what it is a run of, where each chain is, and its draws.

    run.json          the run's recipe and its data's digest, with a checksum
    data.npy          the data, unless they are a memory-mapped file already
    errors.npy        variances of their measurement errors, where there are any
    counts.npy        how many observations each row stands for, where that was said
    chain-0.0, .1     two generations of the first chain's state, written in turn
    means.npy, ...    the draws (see ``storage``); where the run goes on until it is done, means.8.npy of every
                      eighth sweep, which give way to means.16.npy when there are many
    run.lock          locked by the process that writes

Files appear whole or not at all. A state is written after the draws that led to it are on disk, so that whatever
instant a run is killed at, the newest whole state and the draws up to it are there. Nothing is ever unpickled.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import mmap
import os
import shutil
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock, Timeout

from gibbs_gmm import checks
from gibbs_gmm.kernels.types import AnyArray, IntArray
from gibbs_gmm.sampler.recipe import Recipe, versions
from gibbs_gmm.storage.chain_state import Damaged, read_header, restore, write_state
from gibbs_gmm.storage.draw_files import DrawFile, DrawFiles, described, draw_path
from gibbs_gmm.storage.whole_files import remove_parts, replacing, write
from gibbs_gmm.trace import Trace

if TYPE_CHECKING:
    from gibbs_gmm.sampler.chain import Chain
    from gibbs_gmm.sampler.recipe import Plan

FORMAT = "gibbs_gmm run 1"
_RECIPE, _LOCK, _DATA, _ERRORS, _COUNTS = "run.json", "run.lock", "data.npy", "errors.npy", "counts.npy"
_FAILURE = "failed.txt"
_GROWING = ("warmup", "draws", "thin", "tuning")  # of the plan of a run that goes on until it is done
_BLOCK = 1 << 20
_LONGEST = 200  # characters of a setting in a message
_CHECKED = 1 << 30  # bytes up to which an array's checksums are compared when it is loaded
_REPAIR = "gibbs_gmm.resume() samples it again"
_SECONDS = 2.0  # at most this often is a chain's state written, and ...
_SHARE = 200.0  # ... this many times as rarely as it takes: half a percent of the time


def digest(X: AnyArray) -> str:
    """SHA-256 of the rows of X, read in blocks."""
    result = hashlib.sha256()
    step = max(1, _BLOCK // X[:1].nbytes)
    for start in range(0, len(X), step):
        result.update(np.ascontiguousarray(X[start : start + step]).data)
    return result.hexdigest()


class Folder:
    """A run's folder. Reading needs nothing; writing needs :meth:`locked`."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def __fspath__(self) -> str:
        return os.fspath(self.path)

    @property
    def has_run(self) -> bool:
        """Whether a run was begun in it."""
        return (self.path / _RECIPE).is_file()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder if need be, and keep other processes from writing into it for the time being."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            known = self.has_run or (self.path / _LOCK).exists()
            if not known and any(self.path.iterdir()):
                raise ValueError(
                    f"the checkpoint folder {os.fspath(self)!r} holds other files and no run: name another"
                )
            lock = FileLock(self.path / _LOCK, timeout=0)
            lock.acquire()
        except Timeout:
            raise ValueError(f"another process is at work in the run folder {os.fspath(self)!r}") from None
        except FileExistsError:
            raise ValueError(f"the checkpoint folder {os.fspath(self)!r} is a file") from None
        except OSError as error:
            message = f"the checkpoint folder cannot be written to ({error.strerror})"
            raise type(error)(error.errno, message, os.fspath(self)) from None
        try:
            remove_parts(self.path)
            yield
        finally:
            lock.release()  # as the system does when the process is killed

    def remove(self) -> None:
        """Take away the folder and the run in it, if there is one that no process is at work on."""
        if not self.path.exists():
            return
        with self.locked():
            for path in self.path.iterdir():
                if path.name != _LOCK:
                    path.unlink() if path.is_file() else shutil.rmtree(path)
            with contextlib.suppress(PermissionError):  # where no file that is in use can be removed
                (self.path / _LOCK).unlink()
            left = (self.path / _LOCK).exists()
        with contextlib.suppress(OSError):  # another process may have begun a run in it
            if left:
                (self.path / _LOCK).unlink()
            self.path.rmdir()

    def recipe(self) -> tuple[Recipe, dict[str, Any]]:
        """The recipe of the run, and what else its file says: versions, data, threads."""
        try:
            content = json.loads((self.path / _RECIPE).read_bytes())
            if content.get("format") != FORMAT:
                raise ValueError(f"its format is {content.get('format')!r}, and this version reads {FORMAT!r}")
            checksum = content.pop("sha256")
            if checksum != hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest():
                raise ValueError(f"{_RECIPE} is damaged")
            return Recipe.from_dict(content["recipe"]), content
        except FileNotFoundError:
            raise FileNotFoundError(f"there is no run in {os.fspath(self)!r}: it has no {_RECIPE}") from None
        except OSError:
            raise
        except Exception as error:  # there is no end to what json and the priors raise on values that are not theirs
            raise ValueError(f"{os.fspath(self)!r} cannot be read as a gibbs_gmm run: {error}") from error

    @property
    def failure(self) -> str | None:
        """What ended the run for good, if anything did: it would end so again."""
        path = self.path / _FAILURE
        return path.read_text(encoding="utf-8") if path.is_file() else None

    def fail(self, message: str) -> None:
        """Write down what ended the run for good."""
        write(self.path / _FAILURE, message)

    def begin(
        self,
        recipe: Recipe,
        X: AnyArray,
        threads: int,
        errors: AnyArray | None = None,
        counts: IntArray | None = None,
    ) -> None:
        """Write the data, unless they are in a file of their own, and then the recipe, which makes it a run.

        A run that is there already is only given the new plan.
        """
        if self.has_run:
            self.follow(recipe)
            return
        source = _mapped_file(X)
        if source is None:
            _write_array(self.path / _DATA, X)
        data: dict[str, Any] = {"shape": list(X.shape), "dtype": X.dtype.str, "sha256": digest(X), "file": source}
        if errors is not None:
            _write_array(self.path / _ERRORS, errors)
            data["errors"] = digest(errors)
        if counts is not None:
            _write_array(self.path / _COUNTS, counts)
            data["counts"] = {"sha256": digest(counts), "sum": int(counts.sum())}
        self._write({"format": FORMAT, "versions": versions(), "data": data, "threads": threads}, recipe)

    def follow(self, recipe: Recipe, stopped_by: str | None = None) -> None:
        """Give the run a longer plan, or write down what ended it."""
        self._write({**self.recipe()[1], "stopped_by": stopped_by}, recipe)

    def _write(self, content: dict[str, Any], recipe: Recipe) -> None:
        content = json.loads(json.dumps({**content, "recipe": recipe.to_dict()}))
        content["sha256"] = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        write(self.path / _RECIPE, json.dumps(content, indent=1))

    def data(self) -> AnyArray:
        """The data of the run, as a read-only memory map."""
        source = self.recipe()[1]["data"]
        if source["file"] is None:
            try:
                return np.asarray(np.load(self.path / _DATA, mmap_mode="r", allow_pickle=False))
            except OSError:
                raise
            except Exception as error:  # a damaged header may fail in any way that Python's own parser does
                raise ValueError(f"{os.fspath(self.path / _DATA)!r} is damaged: {error}") from error
        path, offset = source["file"]
        try:
            return np.asarray(np.memmap(path, source["dtype"], "r", offset, tuple(source["shape"])))
        except (OSError, ValueError) as error:
            raise ValueError(f"the data of the run were in {path!r}, which cannot be read: pass X ({error})") from None

    def errors(self) -> AnyArray | None:
        """The variances of the run's measurement errors, if it has any."""
        if "errors" not in self.recipe()[1]["data"]:
            return None
        try:
            return np.asarray(np.load(self.path / _ERRORS, allow_pickle=False))
        except (OSError, ValueError) as error:
            raise ValueError(f"{os.fspath(self.path / _ERRORS)!r} cannot be read: {error}") from None

    def counts(self) -> IntArray | None:
        """How many observations each row stands for, as they were given, those of count 0 included; None for one."""
        stored = self.recipe()[1]["data"].get("counts")
        if stored is None:
            return None
        try:
            counts = np.load(self.path / _COUNTS, allow_pickle=False)
            if digest(counts) != stored["sha256"]:
                raise ValueError("its numbers have changed")
            return checks.counts(counts, len(counts))
        except Exception as error:  # as above, of a header
            raise ValueError(f"{os.fspath(self.path / _COUNTS)!r} is damaged: {error}") from error

    def require_same(
        self,
        recipe: Recipe,
        X: AnyArray,
        any_seed: bool,
        errors: AnyArray | None = None,
        counts: IntArray | None = None,
    ) -> None:
        """Refuse to carry on a run with other data, settings or software; the message names what differs."""
        stored, content = self.recipe()
        data, here = content["data"], os.fspath(self)
        if self.failure is not None:
            raise ValueError(f"the run in {here!r} failed and would fail again: {self.failure}. Begin another")
        theirs, ours = content["versions"]["gibbs-gmm"], versions()["gibbs-gmm"]
        if theirs != ours:
            raise ValueError(f"the run in {here!r} was made by gibbs-gmm {theirs}, and this is {ours}")
        if (data["shape"], data["dtype"]) != (list(X.shape), X.dtype.str):
            kinds = f"{tuple(data['shape'])} {np.dtype(data['dtype'])}, got {X.shape} {X.dtype}"
            raise ValueError(f"the run in {here!r} is of other data: X was {kinds}")
        if data["sha256"] != digest(X):
            raise ValueError(f"the run in {here!r} is of other data: X has the same shape, but other values")
        if data.get("errors") != (None if errors is None else digest(errors)):
            raise ValueError(f"the run in {here!r} is of data with other measurement errors")
        if data.get("counts", {}).get("sha256") != (None if counts is None else digest(counts)):
            raise ValueError(f"the run in {here!r} is of other data: it has other counts of the same rows")
        now = versions()
        others = [f"{name} {was}, now {now[name]}" for name, was in content["versions"].items() if was != now[name]]
        if others:
            warnings.warn(
                f"the run in {here!r} was begun with {', '.join(others)}: it goes on as a valid one, but perhaps not "
                "to the last bit as it would have gone on",
                stacklevel=3,
            )
        pairs = dict(_leaves(stored.to_dict())), dict(_leaves(json.loads(json.dumps(recipe.to_dict()))))
        for name in sorted(pairs[0].keys() | pairs[1].keys()):
            old, new = (pair.get(name, "absent") for pair in pairs)
            grown = stored.plan.max_sweeps is not None and recipe.plan.max_sweeps is not None and name in _GROWING
            more = name in ("draws", "max_sweeps") and None not in (old, new) and old < new
            if old == new or (any_seed and name.startswith("seed.")) or grown or more:
                continue
            was, given = (f"{text[:_LONGEST]}{'...' * (len(text) > _LONGEST)}" for text in (str(old), str(new)))
            raise ValueError(
                f"the run in {here!r} has other settings: {name} was {was}, got {given}. Carry it on with the settings "
                "that it has, or name another checkpoint folder"
            )

    def states(self, chain: int) -> list[Path]:
        """The states of a chain whose headers are whole, the newest first."""
        found = []
        for generation in range(2):
            path = self.path / f"chain-{chain}.{generation}"
            with contextlib.suppress(OSError, ValueError):
                found.append((read_header(path)[0]["sweeps_done"], path))
        return [path for _, path in sorted(found, reverse=True)]

    def progress(self, recipe: Recipe) -> list[dict[str, Any]]:
        """The newest state's header of each chain; one that has none yet has done nothing."""
        newest = (self.states(chain) for chain in range(recipe.chains))
        nothing = {"sweeps_done": 0, "split_merge": {}, "seconds": 0.0}
        return [read_header(paths[0])[0] if paths else dict(nothing) for paths in newest]

    def draw_files(self, recipe: Recipe, content: dict[str, Any]) -> dict[str, DrawFile]:
        """The files of draws, read-only, with the shapes that the recipe's have."""
        D, N = len(recipe.columns), int(content["data"]["shape"][0])
        result = {}
        for field in recipe.fields:
            result[field.name] = file = DrawFile(draw_path(self.path, field.name, recipe.plan))
            slots = file.shape[2] if field.per_slot and len(file.shape) > 2 else 0
            if file.shape[0] != recipe.chains or file.shape[2:] != field.shape(slots, D, N):
                raise ValueError(f"{file.path.name} has shape {file.shape}, which is not that of this run")
        return result


def read_trace(path: str | os.PathLike[str]) -> Trace:
    """The draws of a run so far, memory-mapped: those that all of its chains have. See :func:`gibbs_gmm.load`."""
    folder = Folder(path)
    recipe, content = folder.recipe()
    try:
        files = folder.draw_files(recipe, content)
        headers = folder.progress(recipe)
        kept = min(recipe.plan.draws_after(header["sweeps_done"]) for header in headers)
        if kept == 0:
            least = min(header["sweeps_done"] for header in headers)
            raise ValueError(f"it has no draws yet, and has made {least} of {recipe.plan.warmup} sweeps of warm-up")
        for file in files.values():
            if file.shape[1] < kept:
                raise ValueError(f"{file.path.name} has {file.shape[1]} draws, and {kept} are wanted")
            if file.nbytes < _CHECKED:
                for chain in range(recipe.chains):
                    if (draw := file.whole(chain, kept)) < kept:
                        raise ValueError(f"{file.path.name} is damaged in draw {draw} of chain {chain}; {_REPAIR}")
        arrays: dict[str, Any] = {name: file.map()[:, :kept] for name, file in files.items()}
        used = int(arrays["n_clusters"].max())
        for name in (field.name for field in recipe.fields if field.per_slot):
            slots = arrays[name].shape[2]
            if slots < used:
                raise ValueError(f"{name}.npy has {slots} component slots, and {used} are wanted")
            arrays[name] = arrays[name][:, :, : recipe.known_n or used]
    except Exception as error:  # as above, of numpy
        raise ValueError(f"{os.fspath(path)!r} cannot be read as a gibbs_gmm run: {error}") from error
    stopped_by = content.get("stopped_by") if kept == recipe.plan.draws else None
    stopped_by = stopped_by or "interruption"
    counts = folder.counts()
    return recipe.trace(
        arrays,
        counts,
        n_observations=int(content["data"]["shape"][0]) if counts is None else int(counts.sum()),
        threads=content["threads"],
        interrupted=stopped_by == "interruption",
        stopped_by=stopped_by,
        split_merge=[header["split_merge"] for header in headers],
        seconds=max(header["seconds"] for header in headers),
        versions=content["versions"],
    )


class Keeper:
    """Keeps chains in a run's folder while they run: their draws, and now and then where they are.

    Called by the threads that advance the chains, after each batch.
    """

    def __init__(self, folder: Folder, chains: list[Chain], recipe: Recipe) -> None:
        self._folder, self._chains, self._lock = folder, chains, threading.Lock()
        self._begun, self._closed = time.monotonic(), False
        self._generation = [0] * len(chains)
        self._due = [self._begun + _SECONDS] * len(chains)
        self._kept = [-1] * len(chains)  # the sweep that each chain's newest state is of
        _, content = folder.recipe()
        self._seconds = max(header["seconds"] for header in folder.progress(recipe))
        try:
            files = folder.draw_files(recipe, content)
        except (OSError, ValueError):  # there are none yet, or one is damaged: the chains start over
            files = {}
        for chain in chains:
            for path in folder.states(chain.number) if files else ():
                done = recipe.plan.draws_after(read_header(path)[0]["sweeps_done"])
                if all(done <= file.shape[1] and file.whole(chain.number, done) == done for file in files.values()):
                    with contextlib.suppress(Damaged):  # then the state before it, or the beginning
                        restore(path, chain)
                        self._generation[chain.number] = 1 - int(path.suffix[1:])
                        self._kept[chain.number] = chain.sweeps_done
                        break
        rows, written = chains[0].row_shapes(), [chain.draws_done for chain in chains]
        self._files = DrawFiles(folder.path, recipe.fields, rows, recipe.plan, written)
        self._recipe = recipe

    def __call__(self, chain: Chain) -> None:
        """Keep what there is to be kept of this chain: all draws if its memory for them is full or time has come."""
        due = chain.finished or time.monotonic() >= self._due[chain.number]
        if not (due or chain.is_full):
            return
        with self._lock:
            if not self._closed:
                self._keep(chain, due)

    def _keep(self, chain: Chain, due: bool) -> None:
        begun, c = time.monotonic(), chain.number
        try:
            self._files.write(c, *chain.take())
            if due:
                self._files.sync()
                seconds = self._seconds + begun - self._begun
                write_state(self._folder.path / f"chain-{c}.{self._generation[c]}", chain, seconds)
        except OSError as error:
            raise described(error, self._folder.path) from error
        if due:
            self._generation[c], self._kept[c] = 1 - self._generation[c], chain.sweeps_done
            now = time.monotonic()
            self._due[c] = now + max(_SECONDS, (now - begun) * _SHARE)

    def keep_all(self) -> None:
        """Keep all chains as they are."""
        with self._lock:
            for chain in self._chains:
                if chain.sweeps_done != self._kept[chain.number]:
                    self._keep(chain, True)

    def kept(self, name: str) -> AnyArray:
        """An array (C, T, ...) of all draws, once :meth:`keep_all` was called."""
        return self._files.map(name)[:, : min(self._files.written)]

    def go_on(self, plan: Plan, first: int) -> None:
        """Go on in files for a longer plan, with every second of the draws behind the ``first``.

        The files are written beside those that there are, which go when the recipe names the new plan.
        """
        try:
            self._files.thin(plan, first)
            self._recipe = dataclasses.replace(self._recipe, plan=plan)
            self._folder.follow(self._recipe)
            self._files.follow(plan, first)
        except OSError as error:
            raise described(error, self._folder.path) from error

    def close(self) -> None:
        """Write nothing from now on, whatever threads are still at work."""
        with self._lock:
            self._closed = True
            self._files.close()


def _write_array(path: Path, array: AnyArray) -> None:
    with replacing(path) as descriptor, os.fdopen(os.dup(descriptor), "wb") as file:
        np.lib.format.write_array(file, array, allow_pickle=False)


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested dictionaries, with dotted names."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{name}.{key}" if name else key)
    else:
        yield name, value


def _mapped_file(X: AnyArray) -> tuple[str, int] | None:
    """The file that X is a map of, and where in it X begins; None for an array in memory. A cluster is no file."""
    if not isinstance(X, np.ndarray):
        return "a cluster or a device", 0
    base: Any = X
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    if not isinstance(base, np.memmap) or base.filename is None or base.mode == "c":
        return None
    start = np.frombuffer(base._mmap, np.uint8)  # type: ignore[attr-defined]  # all of the map
    shift = X.__array_interface__["data"][0] - start.__array_interface__["data"][0]
    return os.path.abspath(base.filename), base.offset - base.offset % mmap.ALLOCATIONGRANULARITY + shift
