"""What matching components across draws needs of N rows: labels counted, and probabilities of labels summed.

Each function takes a block of rows in the T draws of one chain and adds to sums that the caller keeps, so that no array
of draws x rows x components is ever made. ``place`` (T, K) says where component k of draw t sits among the places
0..K-1, of which 0..J-1 are those to be matched; ``counted`` (T,) are the draws that define them, whose components all
sit among these.
"""

from gibbs_gmm.kernels._jit import allocating_kernel, kernel
from gibbs_gmm.kernels._records import kept
from gibbs_gmm.kernels.families.full_pass import Components
from gibbs_gmm.kernels.families.generic import log_weights
from gibbs_gmm.kernels.tile import TILE, exp2, load_tile, new_workspace
from gibbs_gmm.kernels.types import AnyArray, FloatArray, IntArray, LabelArray


@kernel
def count_agreements(z: LabelArray, reference: IntArray, scores: FloatArray) -> None:
    """Add the contingency tables of each draw, z (T, B), with one partition, the labels (B,) of ``reference``.

    scores (T, J, K): [t, j, k] += number of rows that the reference has in j and draw t in k.
    """
    for t in range(z.shape[0]):
        for i in range(z.shape[1]):
            scores[t, reference[i], z[t, i]] += 1.0


@kernel
def count_places(z: LabelArray, place: IntArray, counted: AnyArray, counts: IntArray) -> None:
    """Add to counts (B, J) how many of the counted draws z (T, B) have row i at place j."""
    for t in range(z.shape[0]):
        if counted[t]:
            for i in range(z.shape[1]):
                counts[i, place[t, z[t, i]]] += 1


@allocating_kernel
def add_responsibilities(
    X: AnyArray,
    loc: FloatArray,
    first: int,
    n: IntArray,
    W: FloatArray,
    c: FloatArray,
    log_c: FloatArray,
    place: IntArray,
    counted: AnyArray,
    p: FloatArray,
    total: FloatArray,
) -> None:
    """p(z_i = k | x_i) under each draw, for the TILE rows of X from ``first`` on, and their sums by place.

    n (T,) components of each draw, the first in W (T, K, D, D), c (T, K, D), log_c (T, K), which are as in
    :class:`Components`. p (T, K, TILE) is overwritten, with 0 for components and rows that there are not; those of the
    counted draws are added to total (J, TILE).
    """
    T, K, D = c.shape
    size = min(TILE, X.shape[0] - first)
    work = kept(new_workspace(K, D))
    load_tile(X, loc, first, size, work.Xt, work.rows)
    for t in range(T):
        log_weights(Components(W[t], c[t], log_c[t], c[t]), n[t], work)
        for b in range(TILE):
            work.total[b] = 0.0
        for k in range(n[t]):
            for b in range(TILE):
                p[t, k, b] = exp2(work.lw[k, b] - work.top[b])
                work.total[b] += p[t, k, b]
        for k in range(n[t]):
            for b in range(TILE):
                p[t, k, b] /= work.total[b]
            for b in range(size, TILE):
                p[t, k, b] = 0.0
            if counted[t]:
                row = total[place[t, k]]
                for b in range(TILE):
                    row[b] += p[t, k, b]
        for k in range(n[t], K):
            for b in range(TILE):
                p[t, k, b] = 0.0
