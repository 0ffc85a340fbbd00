# bayesm's rnmixGibbs on many data sets of one size in turn, for benchmarks/quality.py. The task is one of driver.R, with
# the rows of all data sets below each other in X and their number in "sets"; "warmup" sweeps of each are dropped, and
# every "thin"-th of the "draws" x "thin" after them is kept.

here <- dirname(sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE)[1]))
source(file.path(here, "driver.R"))

task <- read_task()
K <- task$n
D <- task$D
rows <- task$N / task$sets
prior <- list(
  ncomp = K, Mubar = matrix(task$mu_0, 1), A = matrix(task$kappa_0), nu = task$nu_0, V = task$Psi_0,
  a = rep(task$alpha, K)
)
kept <- task$warmup + task$thin * seq_len(task$draws)
arrays <- list(
  weights = array(0, c(task$sets, task$draws, K)),
  means = array(0, c(task$sets, task$draws, K, D)),
  log_determinants = array(0, c(task$sets, task$draws, K))
)
diagonal <- D + 1 + (seq_len(D) - 1) * (D + 1)  # of rooti, which follows mu

sink(nullfile())  # it reports the prior and the start
set.seed(task$seed)
for (s in seq_len(task$sets)) {
  y <- task$X[(s - 1) * rows + seq_len(rows), , drop = FALSE]
  drawn <- bayesm::rnmixGibbs(list(y = y), prior, list(R = max(kept), keep = 1, nprint = 0))$nmix
  arrays$weights[s, , ] <- drawn$probdraw[kept, ]
  # mu and then the triangular rooti, column after column, of each component of each draw; Sigma^-1 = rooti rooti'.
  numbers <- array(unlist(drawn$compdraw[kept], use.names = FALSE), c(D + D^2, K, task$draws))
  arrays$means[s, , , ] <- aperm(numbers[1:D, , , drop = FALSE], c(3, 2, 1))
  arrays$log_determinants[s, , ] <- t(colSums(-2 * log(abs(numbers[diagonal, , , drop = FALSE]))))
}
sink()
finish(task, arrays, version = as.character(packageVersion("bayesm")))
