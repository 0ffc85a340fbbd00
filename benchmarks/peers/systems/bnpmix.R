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
run <- function(draws, warmup, chain) {
  set.seed(task$seed + chain)
  begun <- cpu_now()
  drawn <- BNPmix::PYdensity(
    task$X, list(niter = warmup + draws, nburn = warmup, hyper = FALSE, nupd = warmup + draws, print_message = FALSE),
    prior, list(out_type = "CLUST")
  )
  list(labels = drawn$clust, seconds = cpu_now() - begun)
}

answer_with_labels(task, run, shortest = 1, "BNPmix", "method ICS")
