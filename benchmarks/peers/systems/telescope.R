# telescope: the sampler of the same name, with the prior of its own Iris example (its own acidity example for D = 1),
# K - 1 ~ BNB(1, 4, 3) and weights ~ Dirichlet(alpha / K), alpha ~ F(6, 3). The components' prior is its own.

here <- dirname(sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE)[1]))
source(file.path(here, "driver.R"))
if (!requireNamespace("telescope", quietly = TRUE)) stop("telescope is not installed")

task <- read_task()
if (task$model != "mfm") stop("telescope draws the number of components")
y <- task$X
D <- task$D
K_start <- 10
K_max <- if (D == 1) 50 else 40
prior_K <- telescope::priorOnK_spec("BNB_143")
prior_alpha <- telescope::priorOnAlpha_spec("F_6_3")
prior_alpha$param$log_pAlpha <- prior_alpha$log_pAlpha  # where version 0.1-0 looks for it

ranges <- apply(y, 2, function(x) diff(range(x)))
if (D == 1) {
  c0 <- 2
  g0 <- 0.2
  C0 <- matrix(0.02 * ranges^2)
  G0 <- matrix(10 / ranges^2)
  b0 <- matrix((max(y) + min(y)) / 2)
  B0 <- matrix(ranges^2)
} else {
  c0 <- 2.5 + (D - 1) / 2
  g0 <- 0.5 + (D - 1) / 2
  G0 <- 100 * g0 / c0 * diag(1 / ranges^2)
  C0 <- g0 * chol2inv(chol(G0))
  b0 <- apply(y, 2, median)
  B0 <- diag(ranges^2)
}
sample_mixture <- if (D == 1) telescope::sampleUniNormMixture else telescope::sampleMultNormMixture

# Draws of the partition of one chain, after a warm-up, and CPU seconds of both, without those of k-means.
run <- function(draws, warmup, chain) {
  set.seed(task$seed + chain)
  start <- suppressWarnings(kmeans(y, centers = K_start, nstart = 100, iter.max = 30))
  begun <- cpu_now()
  drawn <- sample_mixture(
    y, start$cluster, t(start$centers), array(0.5 * c(C0), c(D, D, K_start)), rep(1 / K_start, K_start),
    c0, g0, G0, C0, b0, B0, draws, warmup, 1, K_max, "MixDynamic", prior_K, prior_alpha
  )
  list(labels = drawn$S, seconds = cpu_now() - begun)
}

# Its first draw is the start.
answer_with_labels(task, run, shortest = 2, "telescope", "its own prior of the components")
