"""Moves of whole clusters without a label pass behind them: whatever they do, labels and statistics stay as they must.

Run as a script, with the compiler off (test_known_labels.py): it prints how many moves of each kind were accepted.
"""

import json

import numpy as np
from harness import package_prior, some_niw

import gibbs_gmm as gg
from gibbs_gmm.kernels.sampler import sweep as kernels
from gibbs_gmm.kernels.sampler.outliers import draw_share, moves_with_outliers
from gibbs_gmm.kernels.sampler.row_by_row import new_sides
from gibbs_gmm.kernels.sampler.split_merge import split_merge
from gibbs_gmm.kernels.sampler.state import COUNT, N_CLUSTERS, Data
from gibbs_gmm.kernels.tile import new_workspace
from gibbs_gmm.model.outliers import Outliers
from gibbs_gmm.sampler.assemble import as_model, initial_state
from gibbs_gmm.sampler.buffers import new_moves

N, D, CAPACITY = 16, 2, 13
TAGS = np.array([0, 0, 1, 1, *[-1] * (N - 4)])


def main() -> None:
    rng = np.random.default_rng(5)
    X = rng.standard_normal((N, D)) + np.where(np.arange(N) % 2, 1.0, -1.0)[:, None]
    prior, weights = package_prior(some_niw(D)), gg.DirichletProcess(2.0)
    model, _ = as_model(prior, weights, np.zeros(D))
    model = model._replace(weights=model.weights._replace(tagged=2))
    data, family = Data(X, np.zeros(D), np.ones(D), TAGS), prior.family
    outliers = Outliers(0.3, (-4.0,) * D, (4.0,) * D).as_kernel()
    state, moves = (
        initial_state(rng, data, model, family, 2.0, 2, CAPACITY, outliers),
        new_moves(D, family, CAPACITY, 1),
    )
    z = np.where(TAGS >= 0, TAGS, rng.integers(0, 4, N))
    z[-2:] = CAPACITY - 1
    state.z[:], state.size[:], state.outliers[COUNT] = z, len(set(z)) - 1, 2.0
    state.components.centre[:] = 0.0
    for k in range(state.size[N_CLUSTERS]):
        own = X[z == k]
        state.total.n[k], state.total.block[k] = len(own), family.block_of(own)
        state.total.block[k, :D] = own.sum(0)
    rows, sides, work = kernels.kernel_rows(), new_sides(family, model.prior, N), new_workspace(2, D)
    formed = 0
    for i in range(400):
        before = int(state.outliers[COUNT])
        if i % 2:
            split_merge(rng, data, model, state, moves, 1 if i % 4 == 1 else 0, False, i < 200, work, rows)
        else:
            draw_share(rng, state)
            moves_with_outliers(rng, data, model, state, moves, sides, 1, 1, 1, i < 200, rows)
        formed += before != int(state.outliers[COUNT])
        z, t = state.z.astype(int), int(state.size[N_CLUSTERS])
        assert (z[TAGS >= 0] == TAGS[TAGS >= 0]).all(), f"move {i}: known rows are in {z[TAGS >= 0]}"
        assert (np.bincount(z[z < CAPACITY - 1], minlength=t) == state.total.n[:t]).all(), f"move {i}"
        assert (state.total.n[:t] > 0).all()
        assert state.outliers[COUNT] == (z == CAPACITY - 1).sum()
        for k in range(t):
            mean = state.components.centre[k, :D] + state.total.block[k, :D] / state.total.n[k]
            np.testing.assert_allclose(mean, X[z == k].mean(0), atol=1e-9)
    print(json.dumps([moves.counts[..., 1].tolist(), formed]))


if __name__ == "__main__":
    main()
