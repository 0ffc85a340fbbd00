"""Galaxies: an unknown number of components, its posterior beside its prior, and evidences of each number."""

import numpy as np
from scipy import stats

import gibbs_gmm as gg

X = np.loadtxt("data/galaxies.csv", skiprows=1)
uniform = stats.randint(1, 11)  # n = 1, ..., 10
evidence = gg.log_evidence(X, range(1, 11), rng=1, progress=False)
trace = gg.fit(X, gg.MixtureOfFiniteMixtures(uniform, 1.0, dynamic=False), rng=1, progress=False)

posterior = trace.n_posterior()
print("n   p(n | X), from the draws   from the evidences   log p(X | n)")
for n in range(1, 11):
    drawn = posterior.p_n_components[n - 1] if n <= len(posterior) else 0.0
    print(f"{n:<3d} {drawn:24.2f} {evidence.posterior()[n - 1]:20.2f} {evidence.log_evidence[n - 1]:14.1f}")
print(trace.headline)
