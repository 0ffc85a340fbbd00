# JAGS, through rjags: the same model with its labels, each variable drawn from its full conditional. Its Wishart
# sampler takes no multiple of Omega as the precision of mu, so mu is mu_0 + e / sqrt(kappa_0), e ~ N(0, Omega^-1).

here <- dirname(sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE)[1]))
source(file.path(here, "driver.R"))
if (!requireNamespace("rjags", quietly = TRUE)) stop("rjags is not installed")

task <- read_task()
K <- task$n
D <- task$D
multivariate <- "model {
  for (i in 1:N) {
    z[i] ~ dcat(w)
    X[i, 1:D] ~ dmnorm(mu[z[i], 1:D], Omega[z[i], 1:D, 1:D])
  }
  w ~ ddirch(a)
  for (k in 1:K) {
    e[k, 1:D] ~ dmnorm(zero, Omega[k, 1:D, 1:D])
    mu[k, 1:D] <- mu_0 + e[k, 1:D] / sqrt(kappa_0)
    Omega[k, 1:D, 1:D] ~ dwish(Psi_0, nu_0)
  }
}"
univariate <- "model {
  for (i in 1:N) {
    z[i] ~ dcat(w)
    X[i] ~ dnorm(mu[z[i]], Omega[z[i]])
  }
  w ~ ddirch(a)
  for (k in 1:K) {
    mu[k] ~ dnorm(mu_0, kappa_0 * Omega[k])
    Omega[k] ~ dgamma(nu_0 / 2, Psi_0 / 2)
  }
}"
data <- list(
  N = task$N, K = K, a = rep(task$alpha, K), mu_0 = task$mu_0, kappa_0 = task$kappa_0, nu_0 = task$nu_0
)
data <- c(data, if (D == 1) list(X = task$X[, 1], Psi_0 = task$Psi_0[1]) else
  list(X = task$X, Psi_0 = task$Psi_0, D = D, zero = rep(0, D)))
starts <- lapply(seq_len(task$chains), function(chain) {
  list(z = task$z0[chain, ] + 1, .RNG.name = "base::Mersenne-Twister", .RNG.seed = task$seed + chain)
})

compiled <- rjags::jags.model(
  textConnection(if (D == 1) univariate else multivariate), data, starts, task$chains, n.adapt = 0, quiet = TRUE
)
monitors <- c("w", "mu", "Omega")
# Sweeps of all chains, as an array of sweep, number and chain, and their CPU seconds.
run <- function(sweeps) {
  begun <- cpu_now()
  drawn <- rjags::jags.samples(compiled, monitors, sweeps, progress.bar = "none")
  list(drawn = drawn, seconds = cpu_now() - begun)
}

begun <- cpu_now()
invisible(rjags::adapt(compiled, if (task$keep) 100 else 1, end.adaptation = TRUE, progress.bar = "none"))
first <- since_start(task)
invisible(run(1))
pilot <- if (task$N <= 10000) 50 else 2
each <- run(pilot)$seconds / pilot
draws <- how_many(each, task$seconds, task$draws)
warmup <- if (task$keep) warm_up(draws) else 0L
if (warmup > 0) update(compiled, warmup, progress.bar = "none")
warmup_seconds <- cpu_now() - begun
it <- run(draws)

arrays <- list()
if (task$keep) {
  # jags.samples gives each variable's own dimensions, then draws, then chains.
  mu <- array(it$drawn$mu, c(K, D, draws, task$chains))
  Omega <- array(it$drawn$Omega, c(K, D, D, draws, task$chains))
  Omega <- matrix(aperm(Omega, c(2, 3, 1, 4, 5)), D^2)
  Sigma <- vapply(seq_len(ncol(Omega)), function(j) as.vector(chol2inv(chol(matrix(Omega[, j], D)))), numeric(D^2))
  arrays <- list(
    weights = aperm(array(it$drawn$w, c(K, draws, task$chains)), 3:1),
    means = aperm(mu, c(4, 3, 1, 2)),
    covariances = aperm(array(Sigma, c(D, D, K, draws, task$chains)), c(5, 4, 3, 1, 2))
  )
}
finish(
  task, arrays,
  version = paste0(rjags::jags.version(), ", rjags ", packageVersion("rjags")), first_draw_seconds = first,
  warmup_seconds = warmup_seconds, seconds = it$seconds, iterations = draws * task$chains
)
