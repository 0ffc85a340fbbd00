# mclust's Mclust on the rows that standard input holds (CSV without names), for benchmarks/quality/labels.py: EM from
# hierarchical clustering, the number of clusters, at most the argument, by BIC; over all families of covariances, and
# with full covariances alone. Writes labels, family and number of clusters as JSON.

suppressPackageStartupMessages(library(mclust))

most <- as.integer(commandArgs(trailingOnly = TRUE)[1])
X <- as.matrix(read.csv(file("stdin"), header = FALSE))
answer <- function(families) {
  fit <- suppressWarnings(Mclust(X, G = seq_len(most), modelNames = families, verbose = FALSE))
  if (is.null(fit)) NULL else list(labels = as.integer(fit$classification), family = fit$modelName, n = fit$G)
}
families <- if (ncol(X) == 1) c("E", "V") else mclust.options("emModelNames")
full <- if (ncol(X) == 1) "V" else "VVV"
found <- list(version = as.character(packageVersion("mclust")), best = answer(families), full = answer(full))
writeLines(jsonlite::toJSON(found, auto_unbox = TRUE, null = "null"))
