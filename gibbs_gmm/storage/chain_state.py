"""Where a chain is, in a file: its generator, its tuner and every array of its state, with checksums.

All arrays of a chain's state and moves are saved, whatever they are called, and all attributes of its tuner, except the
scratch that is listed in ``_SCRATCH``: a new field needs no change here. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gibbs_gmm.kernels.types import AnyArray
from gibbs_gmm.storage.whole_files import replacing

if TYPE_CHECKING:
    from gibbs_gmm.sampler.chain import Chain

_STATE = b"gibbs_gmm state 1"
_SCRATCH = ("shards", "shard_log_likelihood", "pair", "scratch")
"""Fields of a chain's tuples that every sweep or move writes before it reads them."""
_BLOCK = 1 << 20
_MAX_HEADER = 1 << 26


class Damaged(ValueError):
    """A file is not as it was written."""


def _arrays(values: Any, name: str) -> Iterator[tuple[str, AnyArray]]:
    """The arrays of nested named tuples with their names, but for scratch."""
    for field, value in zip(values._fields, values, strict=True):
        if field in _SCRATCH:
            continue
        if hasattr(value, "_fields"):
            yield from _arrays(value, f"{name}.{field}")
        elif isinstance(value, np.ndarray):
            yield f"{name}.{field}", value


def _arrays_of(chain: Chain) -> Iterator[tuple[str, AnyArray]]:
    """The arrays that say where a chain is, once it was told to ``gather``.

    True values that are drawn, and the prior of a known n that may rise, which is learned, are among them.
    """
    yield from _arrays(chain.state, "state")
    yield from _arrays(chain.moves, "moves")
    if len(chain.true) > 0:
        yield "true", chain.true
    if chain.wider is not chain.model:
        yield from _arrays(chain.wider.weights, "weights")


def _flat(array: AnyArray) -> AnyArray:
    """The bytes of a contiguous array, a view."""
    assert array.flags.c_contiguous
    return array.reshape(-1).view(np.uint8)


def _used(flat: AnyArray) -> int:
    """Bytes up to the last that is not zero: room for components that were never in use is not stored."""
    for end in range(len(flat), 0, -_BLOCK):
        last = np.flatnonzero(flat[max(0, end - _BLOCK) : end])
        if len(last) > 0:
            return max(0, end - _BLOCK) + int(last[-1]) + 1
    return 0


def _encode(value: Any) -> Any:
    """Plain values, tuples and arrays, nested, as JSON can hold them exactly."""
    if isinstance(value, np.ndarray):
        return {"array": value.tolist(), "dtype": value.dtype.str, "shape": list(value.shape)}
    if isinstance(value, np.generic):
        return _encode(np.asarray(value))
    if isinstance(value, tuple):
        return {"tuple": [_encode(item) for item in value]}
    if isinstance(value, list):
        return [_encode(item) for item in value]
    if isinstance(value, dict):
        return {"dict": [[_encode(key), _encode(item)] for key, item in value.items()]}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"a {type(value).__name__} cannot be kept in a checkpoint")


def _decode(value: Any) -> Any:
    """The inverse of :func:`_encode`."""
    if isinstance(value, list):
        return [_decode(item) for item in value]
    if isinstance(value, dict):
        if "array" in value:
            return np.array(value["array"], value["dtype"]).reshape(value["shape"])[()]
        if "tuple" in value:
            return tuple(_decode(item) for item in value["tuple"])
        return {_decode(key): _decode(item) for key, item in value["dict"]}
    return value


def write_state(path: Path, chain: Chain, seconds: float) -> None:
    """Write where a chain is: its generator, tuner and state, behind a header with the checksums of both."""
    chain.gather()
    body, arrays = hashlib.sha256(), []
    parts = []
    for name, array in _arrays_of(chain):
        flat = _flat(array)
        parts.append(flat[: _used(flat)])
        arrays.append([name, array.dtype.str, list(array.shape), len(parts[-1])])
        body.update(parts[-1].data)
    header = {
        "sweeps_done": chain.sweeps_done,
        "rng": chain.rng.bit_generator.state,
        "tuner": _encode(vars(chain.tuner)),
        "arrays": arrays,
        "split_merge": chain.report(),
        "seconds": seconds,
        "body": body.hexdigest(),
    }
    text = json.dumps(header).encode()
    head = b"\n".join([_STATE, hashlib.sha256(text).hexdigest().encode(), text, b""])
    with replacing(path) as descriptor, os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(head)
        for part in parts:
            file.write(part.data)


def read_header(path: Path) -> tuple[dict[str, Any], int]:
    """The header of a state and where its body begins. Raises ValueError where it is damaged."""
    with open(path, "rb") as file:
        if file.readline(len(_STATE) + 1) != _STATE + b"\n":
            raise ValueError(f"{path.name} is not a state of a chain in this version's format")
        wanted = file.readline(65).rstrip(b"\n").decode("ascii", "replace")
        text = file.readline(_MAX_HEADER).rstrip(b"\n")
        if hashlib.sha256(text).hexdigest() != wanted:
            raise Damaged(f"{path.name} is damaged")
        header: dict[str, Any] = json.loads(text)
        body, size = file.tell(), os.fstat(file.fileno()).st_size
    if size != body + sum(count for *_, count in header["arrays"]):
        raise Damaged(f"{path.name} is cut short or too long")
    return header, body


def restore(path: Path, chain: Chain) -> None:
    """Put a chain where the state in ``path`` says. Raises ValueError where it is damaged or of another sampler."""
    header, offset = read_header(path)
    targets = dict(_arrays_of(chain))
    kinds = {name: (array.dtype.str, list(array.shape)) for name, array in targets.items()}
    stored = {name: (dtype, shape) for name, dtype, shape, _ in header["arrays"]}
    different = sorted(name for name in kinds.keys() | stored.keys() if kinds.get(name) != stored.get(name))
    if different or header["tuner"].keys() != {"dict"}:
        raise ValueError(f"{path.name} is of another version of the sampler: {', '.join(different)} differ")
    body = hashlib.sha256()
    with open(path, "rb") as file:
        file.seek(offset)
        while block := file.read(_BLOCK):
            body.update(block)
        if body.hexdigest() != header["body"]:
            raise Damaged(f"{path.name} is damaged")
        file.seek(offset)
        for name, *_, count in header["arrays"]:
            target = targets[name]
            flat = _flat(target)
            file.readinto(flat[:count].data)
            if flat[count:].any():  # room that was never in use takes no memory as long as nothing is written there
                flat[count:] = 0
    chain.scatter()
    tuner = _decode(header["tuner"])
    if tuner.keys() != vars(chain.tuner).keys():
        raise ValueError(f"{path.name} is of another version of the sampler: the tuner has other fields")
    for name, value in vars(chain.tuner).items():
        named = hasattr(value, "_fields")
        setattr(chain.tuner, name, type(value)(*tuner[name]) if named else tuner[name])
    chain.rng.bit_generator.state = header["rng"]
    chain.continue_from(header["sweeps_done"])
