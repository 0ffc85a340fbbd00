"""A large file: rows are read from disk, draws are written as they come, and a run that was stopped is carried on."""

import numpy as np

import gibbs_gmm as gg

rng = np.random.default_rng(0)
kind = rng.choice(4, 200_000, p=[0.4, 0.3, 0.2, 0.1])
np.save("rows.npy", rng.normal(size=(200_000, 3)) + 6.0 * kind[:, None])

X = np.load("rows.npy", mmap_mode="r")  # stays on disk
trace = gg.fit(X, 4, draws=50, warmup=50, rng=1, checkpoint="run", progress=False)  # killed? call it again
print(trace.headline)
trace = gg.resume("run", draws=100, progress=False)  # more draws of the same run
print(trace.means.shape)
print("weights:", trace.relabel().trace.weights.mean((0, 1)).round(2))
print("rows as they were made:", (trace.partition().labels == kind).mean().round(3))
