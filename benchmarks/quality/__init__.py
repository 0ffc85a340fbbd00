"""Is what it says true, and is it better than what others say: ``python -m benchmarks.quality [--quick]``.

1. Coverage. Data sets are simulated from the prior with 3 components. A 90% credible interval of an exact sampler then
   holds the truth in 90% of them, whatever the components overlap, if components are identified by a function of the
   parameters: here they are ordered by the first coordinate of their means, in the truth and in every draw. Beside this
   package scikit-learn's variational ``BayesianGaussianMixture`` with the same prior, intervals from draws of its
   fitted factors, and R's ``bayesm::rnmixGibbs``, one chain of 8,000 sweeps, every third of the last 6,000 kept.
2. Calibration of p(n). Data sets are simulated with n uniform on 1..6: of all cases in which p(n = j | X) is near 0.3,
   j should be true in 30%. Beside it BIC weights of EM fits, and the number of clusters that scikit-learn's Dirichlet
   process leaves. Under the prior that made the data no method has a larger log score on average; ``fit(X)`` as it
   is does not know that prior, as BIC does not.
3. Held-out density: the mean log predictive density of a row in 5-fold cross-validation on six real data sets.
4. Known labels: the adjusted Rand index of the one partition on ten labelled data sets, beside R's ``mclust``: EM, with
   the family of covariances and the number of clusters that BIC prefers, and with full covariances alone.

Standard errors of 1 and 2 are over data sets, the independent units; of 3 over rows.
"""
