"""Draws of labels in blocks of rows, and as partitions: equal draws, and rows that no draw separates, are kept once."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Iterator

import numpy as np

from gibbs_gmm.kernels.posterior import co_clustering, partition_search
from gibbs_gmm.kernels.posterior.partition_search import Draws
from gibbs_gmm.kernels.types import AnyArray, IntArray
from gibbs_gmm.mapped_draws import let_go

_BUFFER = 1 << 22  # labels that are renumbered at once
_OUTLIER = np.uint16(65_535)  # -1 as uint16
_BLOCK = 8192  # rows of all draws of a chain that are in memory at once


def label_blocks(assignments: AnyArray, none: int) -> Iterator[tuple[slice, list[AnyArray]]]:
    """Labels of some rows in all draws (C, T, N), one array (T, B) per chain, until all rows were there.

    ``none`` is written where a row is an outlier, -1.
    """
    C, _, N = assignments.shape
    for first in range(0, N, _BLOCK):
        rows = slice(first, min(first + _BLOCK, N))
        # A copy, of one type and layout: one compiled version serves all traces.
        blocks = [np.array(assignments[c, :, rows], dtype=np.uint16, order="C") for c in range(C)]
        if assignments.dtype.kind == "i":
            for block in blocks:
                block[block == _OUTLIER] = none
        yield rows, blocks
        if rows.start % (8 * _BLOCK) == 0:  # not each time: the system maps some pages around the one that is read
            let_go(assignments)


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """The partitions that the draws are, each kept once, of rows that are kept once where no draw separates them.

    ``z`` (U, S) uint16 labels; ``count`` (S,) how often each draw occurs; ``clusters`` (S,) how many it has; ``weight``
    (U,) observations of each row; ``member`` (N,) row of each observation; ``draw`` (C T,) which of the S each is.
    """

    z: AnyArray
    count: IntArray
    clusters: IntArray
    weight: IntArray
    member: IntArray
    draw: IntArray

    def draws(self, loss: int) -> Draws:
        """As the search wants them."""
        m = np.arange(int(self.weight.sum()) + 2, dtype=np.float64)
        f = m * np.log2(np.maximum(m, 1.0))
        step = m.copy()
        if loss == partition_search.VI:  # log2(m + 1) + m log2(1 + 1/m): the difference of f loses digits
            step = np.log2(m + 1.0) + m * np.log1p(1.0 / np.maximum(m, 1.0)) / math.log(2.0)
        first = np.concatenate([[0], np.cumsum(self.clusters)])
        return Draws(self.z, first, self.count / self.count.sum(), self.weight, f, step)


def collect(assignments: AnyArray, rows: IntArray | None, collapse: bool = True) -> Sample:
    """The draws ``assignments`` (C, T, N) of the observations ``rows``, in two passes that copy a part at a time."""
    C, T, N = assignments.shape
    N = N if rows is None else len(rows)
    key, sizes, draw = np.zeros(N, np.uint64), np.empty(C * T, np.int64), np.empty(C * T, np.int64)
    known: dict[bytes, int] = {}
    kept: list[int] = []
    for start, labels in _parts(assignments, rows):
        stop = start + len(labels)
        co_clustering.renumber(labels, sizes[start:stop])
        if collapse:
            co_clustering.hash_rows(labels, key)
        for t, partition in enumerate(labels, start):
            name = hashlib.blake2b(partition.data, digest_size=16).digest()
            draw[t] = known.setdefault(name, len(known))
            if draw[t] == len(kept):
                kept.append(t)
    representative, member = np.arange(N), np.arange(N)
    if collapse:
        _, found, place = np.unique(key, return_index=True, return_inverse=True)
        representative, order = np.sort(found), np.empty(len(found), np.int64)
        order[np.argsort(found)] = np.arange(len(found))
        member = order[place]
    z = np.empty((len(representative), len(kept)), np.uint16)
    of_draw = np.full(C * T, -1)
    of_draw[kept] = np.arange(len(kept))
    for start, labels in _parts(assignments, rows):
        wanted = np.flatnonzero(of_draw[start : start + len(labels)] >= 0)
        labels = labels[wanted]
        co_clustering.renumber(labels, np.empty(len(labels), np.int64))
        alike = labels[:, representative]
        if collapse and not np.array_equal(alike[:, member], labels):  # two keys of 64 bits were equal by accident
            return collect(assignments, rows, collapse=False)
        z[:, of_draw[start + wanted]] = alike.T
    return Sample(
        z=z,
        count=np.bincount(draw),
        clusters=sizes[kept],
        weight=np.bincount(member),
        member=member,
        draw=draw,
    )


def _parts(assignments: AnyArray, rows: IntArray | None) -> Iterator[tuple[int, AnyArray]]:
    """The labels of a few draws at a time, as a new uint16 array, and the number of the first of them."""
    C, T, N = assignments.shape
    step = max(1, _BUFFER // N)
    for c in range(C):
        for t in range(0, T, step):
            part = assignments[c, t : t + step]
            yield c * T + t, np.array(part if rows is None else part[:, rows], dtype=np.uint16, order="C")
        let_go(assignments)
