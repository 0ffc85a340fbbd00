"""Moves between clusters and outliers, and those of few rows, alone: how often each partition of four rows is visited.

Run as a script, with the compiler off (test_outliers.py): it prints by how many standard errors the most deviant
frequency is from its posterior probability.
"""

import numpy as np
import oracle
from harness import package_prior
from oracle import NIW
from tagged import enumerate_tagged

import gibbs_gmm as gg
from gibbs_gmm.kernels.sampler import sweep as kernels
from gibbs_gmm.kernels.sampler.outliers import _move as move_outliers
from gibbs_gmm.kernels.sampler.row_by_row import ANCHORED, new_sides
from gibbs_gmm.kernels.sampler.row_by_row import _move as move_rows
from gibbs_gmm.kernels.sampler.state import Data
from gibbs_gmm.model.outliers import Outliers
from gibbs_gmm.sampler.assemble import as_model, initial_state
from gibbs_gmm.sampler.buffers import new_moves

X = np.array([-1.5, -1.2, 0.7, 1.9])[:, None]
PRIOR = NIW(np.zeros(1), 0.2, 4.0, 0.3 * np.eye(1))
BOX, ALPHA = Outliers(0.4, (-2.0,), (2.5,)), 0.8
CAPACITY, MOVES, BATCHES = 8, 60_000, 20


def main() -> None:
    rng, prior = np.random.default_rng(3), package_prior(PRIOR)
    model, _ = as_model(prior, gg.DirichletProcess(ALPHA), np.zeros(1))
    data, family = Data(X, np.zeros(1), np.ones(1)), prior.family
    state = initial_state(rng, data, model, family, ALPHA, 1, CAPACITY, BOX.as_kernel())
    state.size[:] = 1, 1
    moves, rows, sides = new_moves(1, family, CAPACITY, 1), kernels.kernel_rows(), new_sides(family, model.prior, 4)
    law = 1.0, 1.0 / BOX.share - 1.0, BOX.log_density
    exact = enumerate_tagged(X, PRIOR, oracle.DP(ALPHA), np.full(4, -1), law)
    p = exact.probability * (exact.n_clusters > 0)  # these moves never leave all rows without a cluster
    p /= p.sum()
    place = {tuple(z): i for i, z in enumerate(exact.z.tolist())}
    seen = np.empty(MOVES, np.int64)
    for i in range(MOVES):
        own = (rng, data, model, state, moves, sides)
        move_outliers(*own, rows) if i % 2 else move_rows(*own, ANCHORED, False, rows)
        z, names = state.z.astype(int), dict[int, int]()
        z[z == CAPACITY - 1] = -1
        seen[i] = place[tuple(-1 if k < 0 else names.setdefault(k, len(names)) for k in z.tolist())]
    shares = np.stack([np.bincount(part, minlength=len(p)) / len(part) for part in np.array_split(seen, BATCHES)])
    error = shares.std(0, ddof=1) / np.sqrt(BATCHES)
    often = p > 0.01
    print(np.max(np.abs(shares.mean(0) - p)[often] / error[often]))


if __name__ == "__main__":
    main()
