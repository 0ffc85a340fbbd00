# bayesm's rnmixGibbs: the same conjugate Gibbs sampler, in C++ behind R.

here <- dirname(sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE)[1]))
source(file.path(here, "driver.R"))
if (!requireNamespace("bayesm", quietly = TRUE)) stop("bayesm is not installed")

task <- read_task()
K <- task$n
D <- task$D
prior <- list(
  ncomp = K, Mubar = matrix(task$mu_0, 1), A = matrix(task$kappa_0), nu = task$nu_0, V = task$Psi_0,
  a = rep(task$alpha, K)
)
sink(nullfile())  # it reports the prior and the start

# R sweeps of one chain, and their CPU seconds. It takes no start: the labels begin as 1, 2, ..., K, 1, 2, ...
run <- function(R, chain = 1) {
  set.seed(task$seed + chain)
  begun <- cpu_now()
  drawn <- bayesm::rnmixGibbs(list(y = task$X), prior, list(R = R, keep = 1, nprint = 0))$nmix
  list(drawn = drawn, seconds = cpu_now() - begun)
}

run(1)
first <- since_start(task)
once <- run(1)$seconds
pilot <- if (task$N <= 10000) 201 else 3
each <- max(run(pilot)$seconds - once, 1e-3) / (pilot - 1)
draws <- how_many(each, task$seconds / task$chains, task$draws)
chains <- if (task$keep) task$chains else 1
# It has no warm-up of its own.
warmup <- if (task$keep) warm_up(draws) else 1L

kept <- warmup + seq_len(draws)
arrays <- if (!task$keep) list() else list(
  weights = array(0, c(task$chains, draws, K)),
  means = array(0, c(task$chains, draws, K, D)),
  covariances = array(0, c(task$chains, draws, K, D, D))
)
seconds <- c(warmup = 0, draws = 0)
for (chain in seq_len(chains)) {
  it <- run(warmup + draws, chain)
  after_first <- max(it$seconds - once, 0) / (warmup + draws - 1)
  seconds <- seconds + c(it$seconds - draws * after_first, draws * after_first)
  if (!task$keep) next
  arrays$weights[chain, , ] <- it$drawn$probdraw[kept, ]
  # mu and then rooti, column after column, of each component of each draw; Sigma^-1 = rooti rooti'.
  numbers <- array(unlist(it$drawn$compdraw[kept], use.names = FALSE), c(D + D^2, K, draws))
  arrays$means[chain, , , ] <- aperm(numbers[1:D, , , drop = FALSE], c(3, 2, 1))
  roots <- matrix(numbers[-(1:D), , ], D^2)
  sigmas <- vapply(
    seq_len(ncol(roots)), function(j) as.vector(crossprod(backsolve(matrix(roots[, j], D), diag(D)))), numeric(D^2)
  )
  arrays$covariances[chain, , , , ] <- aperm(array(sigmas, c(D, D, K, draws)), c(4, 3, 1, 2))
}
sink()
finish(
  task, arrays,
  version = as.character(packageVersion("bayesm")), first_draw_seconds = first,
  warmup_seconds = seconds[["warmup"]], seconds = seconds[["draws"]], iterations = draws * chains,
  note = if (task$keep) paste("the first", warmup, "sweeps of a chain are its warm-up") else ""
)
