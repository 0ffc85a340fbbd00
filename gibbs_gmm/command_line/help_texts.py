"""What ``gibbs-gmm COMMAND --help`` says before and after the options."""

DESCRIPTION = "Fully Bayesian Gaussian mixtures: the posterior of every component, and how sure it is."

FIT = """\
Fit a Gaussian mixture to the numeric columns of a file by Gibbs sampling.

The rows are taken to come from several kinds (components), each a multivariate
normal distribution; how many is learned, or given with --components. The
result is not one answer but draws of all the answers that the data allow: how
many kinds there are, how common each is, what it looks like, and which row
belongs to which. Several independent chains are run, so that it can be seen
whether they agree; if the number is learned, they start from one cluster, from
many and from numbers between. The run goes on until they agree and there are
enough draws, or until --max-sweeps, unless --draws or --warmup are given.

Two numbers are told apart: n, the components of the mixture, and n+, those of
them that own at least one row (clusters).

Written into the output folder:
  report.html      read this first, in a browser: how many clusters, what they
                   look like, who belongs where, whether the chains agree
  clusters.csv     the cluster of every row, how uncertain that is, and the
                   second cluster with its probability
  summary.csv      mean, standard deviation, 90% interval, R-hat and effective
                   sample size of every quantity
  pairs.png        pair plot of the data with the components and their
                   uncertainty
  draws            a folder with all draws; gibbs_gmm.load("draws") reads them
                   in Python, while the run is still going on too
  observations.npy, rows.csv, command.json: what "report" and "predict" need
and, where the number of components is learned:
  n_posterior.csv  probabilities of every n and n+, with standard errors, the
                   prior, and each chain's own
  n_posterior.png  the same as a picture

A run that was interrupted or killed is carried on with "gibbs-gmm resume".
"""

FIT_EXAMPLES = """\
examples:
  gibbs-gmm fit data/iris.csv --out iris-run
  gibbs-gmm fit data/wine.csv --drop cultivar --max-sweeps 200000
  gibbs-gmm fit data/iris.csv --components 3 --out iris-3
  gibbs-gmm fit measured.csv --decimal , --delimiter ';' --skip 3 --quick

The file has one row per observation and, in its first line, the names of the
columns. What separates fields and decimals, the encoding, units and per cent
are found out, which is said. Text, constant and empty columns are left out,
and so are numbers of rows. Empty cells, NA, NaN, ? and . are missing values:
they are counted, and integrated out. Compressed text (.gz, .zip) is read, "-"
is standard input; Excel (with openpyxl), Parquet (with polars or pandas) and
NumPy files are read too.

exit codes:
  0 done; 1 the run failed; 2 bad usage or input; 130 interrupted (the draws so
  far are written, if there are any)
"""

REPORT = """\
Make the report of a run again, and its tables and pictures, from its draws.
Nothing is sampled. The data that were fitted are in the run's folder; the file
that they came from is not needed.
"""

PREDICT = """\
Say of new rows which cluster of a run they belong to, as CSV: the number of
the row (from 0), its line in the file, its name if it has one, its most
probable cluster, the probability of that, and the log of the posterior
predictive density, which is low for rows unlike any that were fitted. All is
averaged over the draws.

Clusters have the numbers that they have in the run's report and clusters.csv;
-1 is none of them. Columns are found by their names; others are ignored.

A row is taken as one more observation, which the draws do not know. Of rows
that were fitted the draws do know; their clusters are in clusters.csv. Given
here again, a row that two clusters claim about equally may get the other one.
"""

PREDICT_EXAMPLES = """\
examples:
  gibbs-gmm predict iris-run new.csv > labels.csv
  gibbs-gmm predict iris-run new.csv --out labels.csv
"""

RESUME = """\
Carry on a run that was interrupted, killed, or stopped by a full disk, from
its output folder. The draws are exactly those of a run that nothing stopped,
and the results are written as "gibbs-gmm fit" would have written them.

With --draws, more draws are added to a run, finished or not, that was asked
for so many; with --max-sweeps, a run that goes on until it is done may make
more sweeps. The draws are those that asking for it at first would have given.
"""

COMPARE = """\
Say how probable each shape of clusters and each number of them is, by their
evidence: what BIC approximates, up to a Monte-Carlo error that is printed.
Shapes: full, each cluster of its own; tied, all of one; diag, along the
columns; spherical, round in the units of the columns. Each has its default
prior, and all shapes and numbers are equally likely beforehand.
"""

COMPILE = """\
Compile, ahead of time, what "fit" and "predict" need on this kind of machine.

Otherwise the first run on a machine compiles it, on all cores, and keeps it.
Compiled code lies beside the package; where that cannot be written to, in the
user's cache folder; and wherever the environment variable NUMBA_CACHE_DIR
says, if it is set. It is found there by all who may read it, also where
nothing can be written. It is for the processor it was compiled on, for these
versions of Python, numba and this package; where it does not fit, code is
compiled anew.

In an image of a container, run this command once the package is installed, as
the user who installed it. On a cluster, run it on a machine of the kind that
is to compute, with NUMBA_CACHE_DIR set to a folder that all machines see, and
set it to the same folder in jobs.

"python -m gibbs_gmm.command_line.wheel SOURCE" makes a wheel with compiled
kernels, for processors of the kinds x86-64-v3 and x86-64-v4.
"""

COMPILE_EXAMPLES = """\
examples:
  gibbs-gmm compile
  gibbs-gmm compile full diag
  NUMBA_CACHE_DIR=/shared/compiled gibbs-gmm compile
"""
