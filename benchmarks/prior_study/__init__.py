"""Which default prior finds the clusters: ``python -m benchmarks.prior_study [--part P] [--candidate C] [--quick]``.

Candidates (``candidates.py``) are functions of the data that give a prior or keywords of ``fit``; one line adds one.
Each is fitted, from 1 and from 20 clusters, to the data sets of these parts:

- ``real``: ten labelled sets. The score is the adjusted Rand index of the trace's one partition; a failure scores 0.
- ``simulated``: mixtures of one to six components in 1 to 13 dimensions at three overlaps. They owe nothing to any
  prior: axes and shapes of each covariance are drawn freely, and the means are then moved apart until the best possible
  rule, that knows all parameters, errs at the stated rate.
- ``narrow``: kinds that differ along directions in which they are thin.
- ``redundant``: clear clusters, and the same with one more column, a copy or the total of others up to noise.
- ``rounded``: the same rows, exact and recorded to .25, .5 and 1 of the standard deviation within clusters.
- ``cases``: far-apart clusters, shares in per cent, fewer rows than columns, repeated rows; with the answer wanted.
- ``density``: the log predictive density of rows left out of the ten labelled sets, in five folds.

Every result is written when it is there, to ``benchmarks/results/prior_study.json``; it replaces that of the same
candidate, data set and seed. ``prior_study.md`` has the tables of all of them. With ``--quick`` a fifth of the data
sets are run, and results go to ``results/scratch``.
"""
