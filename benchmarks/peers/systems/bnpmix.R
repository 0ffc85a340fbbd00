# BNPmix's PYdensity, with its default method: the importance conditional sampler of Canale, Corradin & Nipoti (2022),
# in C++ behind R. The prior is this package's: m0, k0, n0, Sigma0 are mu_0, kappa_0, nu_0, Psi_0. The parameters of new
# clusters come from m_imp = 10 draws of the prior, the default, in place of the prior, and simu_trunc_PY_mv (as of 0.2)
# never repeats the last of these where it should: what it converges to is near the posterior, not the posterior.
# D = 1 goes to the function for matrices too, which has the same prior.

here <- dirname(sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE)[1]))
source(file.path(here, "driver.R"))
if (!requireNamespace("BNPmix", quietly = TRUE)) stop("BNPmix is not installed")

task <- read_task()
if (task$model != "dp") stop("BNPmix takes a Dirichlet process with a given concentration")
prior <- list(
  strength = task$alpha, discount = 0, m0 = task$mu_0, k0 = task$kappa_0, n0 = task$nu_0, Sigma0 = task$Psi_0
)

# The partitions after a warm-up, and the CPU seconds of both. It takes no start: all rows begin in one cluster.
run <- function(draws, warmup = 0, chain = 1) {
  set.seed(task$seed + chain)
  begun <- cpu_now()
  drawn <- BNPmix::PYdensity(
    task$X, list(niter = warmup + draws, nburn = warmup, hyper = FALSE, nupd = warmup + draws, print_message = FALSE),
    prior, list(out_type = "CLUST")
  )
  list(labels = drawn$clust, seconds = cpu_now() - begun)
}

invisible(run(1))
first <- since_start(task)
once <- run(1)$seconds
pilot <- if (task$N <= 10000) 51 else 3
each <- max(run(pilot)$seconds - once, 1e-3) / (pilot - 1)
draws <- how_many(each, task$seconds / task$chains, task$draws)
warmup <- if (task$keep) warm_up(draws) else 0L

labels <- array(0L, c(task$chains, if (task$keep) draws else 0L, task$N))
seconds <- c(warmup = 0, draws = 0)
for (chain in seq_len(task$chains)) {
  it <- run(draws, warmup, chain)
  share <- draws / (warmup + draws)
  seconds <- seconds + it$seconds * c(1 - share, share)
  if (task$keep) labels[chain, , ] <- as.integer(it$labels) - 1L
}
finish(
  task, if (task$keep) list(labels = labels) else list(),
  version = as.character(packageVersion("BNPmix")), first_draw_seconds = first,
  warmup_seconds = seconds[["warmup"]], seconds = seconds[["draws"]], iterations = draws * task$chains,
  note = paste0("method ICS", if (task$keep) paste("; the first", warmup, "sweeps of a chain are its warm-up"))
)
