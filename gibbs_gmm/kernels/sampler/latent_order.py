"""The order in which a pass takes rows with latent values: those that are worked on together lie together.

A shard is cut into blocks, and the rows of a block are sorted into parts, in this order: rows that are exact; of each
kind that many rows share, and that is in the table of factors, its rows; of each set of columns that many rows lack,
rows whose errors differ; and all others. What row is in what block and part depends on the data and the number of
components alone.
"""

import numpy as np

from gibbs_gmm.kernels._jit import kernel
from gibbs_gmm.kernels.sampler.state import Latent, Room
from gibbs_gmm.kernels.simd import LANES

BLOCK = 16_384
"""Rows of a block; at the end of a shard it has up to twice as many."""


@kernel
def end_of_block(start: int, end: int) -> int:
    """Where the block ends that begins at row ``start`` of a shard that ends at row ``end``."""
    return start + BLOCK if end - start >= 2 * BLOCK else end


@kernel
def part_of(latent: Latent, g: int, kinds: int) -> int:
    """The part of rows of kind g >= 0, of which the first ``kinds`` have parts of their own; exact rows have part 0."""
    return int(g + 1 if g < kinds else kinds + 1 + min(latent.pattern[g], latent.shared[2]))


@kernel
def sort_rows(latent: Latent, kinds: int, first: int, last: int, room: Room) -> int:
    """room.order <- rows first .. last by parts, each part filled up with -1 to whole vectors, and room.part <- the
    part of each vector. Returns how many places there are."""
    order, part, own, tally = room.order, room.part, room.own, room.tally
    parts, rows, group = kinds + latent.shared[2] + 2, last - first, latent.group[first:last]
    for p in range(parts):
        tally[p] = 0
    exact, others = 0, 0  # rows that are exact go to their places at once
    for i in range(rows):
        if group[i] < 0:
            order[np.uint64(exact)] = first + i
            exact += 1
        else:
            p = part_of(latent, group[i], kinds)
            own[np.uint64(others)] = i
            others += 1
            tally[p] += 1
    tally[0] = exact
    end = 0
    for p in range(parts):
        start, filled = end, end + tally[p]
        tally[p] = start
        end = (filled + LANES - 1) // LANES * LANES
        for place in range(filled, end):
            order[place] = -1
        for vector in range(start // LANES, end // LANES):
            part[vector] = p
    for s in range(others):
        i = own[s]
        p = part_of(latent, group[i], kinds)
        order[tally[p]] = first + i
        tally[p] += 1
    return end
