# dirichletprocess: DirichletProcessMvnormal, Neal's algorithm 4, in R. The prior is given as its documentation reads,
# Sigma^-1 ~ Wishart(nu, Lambda^-1) and mu | Sigma ~ N(mu0, Sigma / kappa0), which is this package's. What it draws is
# not the posterior of that: PosteriorDraw.mvnormal takes W from Wishart(nu_n, t_n), with t_n and not its inverse as
# the scale, W / kappa_n^2 for the covariance matrix and (kappa_n W)^-1 for the mean's, which changes with the units of
# the data; Predictive.mvnormal leaves out all but the first factor of the multivariate gamma function. As in its
# vignette, the columns are given to it with standard deviation 1 (and the prior in the same units).

here <- dirname(sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE)[1]))
source(file.path(here, "driver.R"))
if (!requireNamespace("dirichletprocess", quietly = TRUE)) stop("dirichletprocess is not installed")

task <- read_task()
if (task$model != "dp_gamma") stop("dirichletprocess draws the concentration of a Dirichlet process")
if (task$D == 1) stop("DirichletProcessMvnormal takes two columns or more")
y <- scale(task$X)
units <- attr(y, "scaled:scale")
prior <- list(
  mu0 = (task$mu_0 - attr(y, "scaled:center")) / units, Lambda = task$Psi_0 / (units %o% units),
  kappa0 = task$kappa_0, nu = task$nu_0
)

start <- function(chain = 1) {
  set.seed(task$seed + chain)
  dirichletprocess::DirichletProcessMvnormal(y, prior, c(task$alpha_shape, task$alpha_rate))
}
# That many sweeps on, and the CPU seconds they took.
go_on <- function(state, sweeps) {
  begun <- cpu_now()
  state <- dirichletprocess::Fit(state, sweeps, progressBar = FALSE)
  list(state = state, seconds = cpu_now() - begun)
}

it <- go_on(start(), 1)
first <- since_start(task)
it <- go_on(it$state, if (task$N <= 1000) 20 else 2)
pilot <- if (task$N <= 1000) 20 else 2
each <- go_on(it$state, pilot)$seconds / pilot
draws <- how_many(each, task$seconds / task$chains, task$draws)
warmup <- if (task$keep) warm_up(draws) else 0L

labels <- array(0L, c(task$chains, if (task$keep) draws else 0L, task$N))
seconds <- c(warmup = 0, draws = 0)
for (chain in seq_len(task$chains)) {
  state <- start(chain)
  if (warmup > 0) {
    it <- go_on(state, warmup)
    state <- it$state
    seconds[["warmup"]] <- seconds[["warmup"]] + it$seconds
  }
  it <- go_on(state, draws)
  seconds[["draws"]] <- seconds[["draws"]] + it$seconds
  if (task$keep) labels[chain, , ] <- as.integer(do.call(rbind, it$state$labelsChain)) - 1L
}
finish(
  task, if (task$keep) list(labels = labels) else list(),
  version = as.character(packageVersion("dirichletprocess")), first_draw_seconds = first,
  warmup_seconds = seconds[["warmup"]], seconds = seconds[["draws"]], iterations = draws * task$chains,
  note = paste0(
    "its draws are not from the posterior of the model in its documentation",
    if (task$keep) paste("; the first", warmup, "sweeps of a chain are its warm-up")
  )
)
