# What the R systems share: reading a task, timing, writing what was drawn. Needs jsonlite.

# The message of an error is the last that is said.
options(showErrorCalls = FALSE, error = quote(quit("no", status = 1, runLast = FALSE)))

read_task <- function() {
  folder <- commandArgs(trailingOnly = TRUE)[1]
  task <- jsonlite::fromJSON(file.path(folder, "task.json"))
  task$folder <- folder
  doubles <- function(name, size) {
    file <- file(file.path(folder, name), "rb")
    on.exit(close(file))
    readBin(file, "double", size, size = 8)
  }
  task$X <- matrix(doubles("X.f64", task$N * task$D), ncol = task$D, byrow = TRUE)
  file <- file(file.path(folder, "z0.i32"), "rb")
  on.exit(close(file))
  task$z0 <- matrix(readBin(file, "integer", task$chains * task$N, size = 4), nrow = task$chains, byrow = TRUE)
  task$Psi_0 <- matrix(task$Psi_0, task$D, task$D)
  task
}

# Seconds since the process was started, by the clock.
since_start <- function(task) as.numeric(Sys.time()) - task$started

# CPU seconds of this process.
cpu_now <- function() sum(proc.time()[c("user.self", "sys.self")])

# As many iterations as fit into the time, between the two bounds.
how_many <- function(seconds_each, seconds, most, least = 3) {
  as.integer(min(most, max(least, seconds / max(seconds_each, 1e-9))))
}

# Sweeps to discard before that many draws, for systems that leave it to their user.
warm_up <- function(draws) as.integer(max(min(1000, draws), draws %/% 4))

# An array into NAME.f64, or NAME.i32 if it holds integers, in C order.
write_array <- function(task, name, values) {
  whole <- is.integer(values)
  file <- file(file.path(task$folder, paste0(name, if (whole) ".i32" else ".f64")), "wb")
  on.exit(close(file))
  writeBin(as.vector(aperm(values)), file, size = if (whole) 4 else 8)
}

# The arrays, and result.json.
finish <- function(task, arrays, ...) {
  for (name in names(arrays)) write_array(task, name, arrays[[name]])
  result <- list(..., arrays = if (length(arrays) > 0) lapply(arrays, dim) else setNames(list(), character(0)))
  if (is.null(result$note)) result$note <- ""
  writeLines(jsonlite::toJSON(result, auto_unbox = TRUE, digits = 15), file.path(task$folder, "result.json"))
}

# Runs of a sampler of partitions that has no state to go on from, its pilot first, and the answer. ``run(draws, warmup,
# chain)`` gives labels from 1 and CPU seconds; ``shortest`` is the fewest draws that it can be asked for.
answer_with_labels <- function(task, run, shortest, package, note) {
  invisible(run(shortest, 0, 1))
  first <- since_start(task)
  once <- run(shortest, 0, 1)$seconds
  more <- if (task$N <= 10000) 50 * shortest else 2
  each <- max(run(shortest + more, 0, 1)$seconds - once, 1e-3) / more
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
    version = as.character(packageVersion(package)), first_draw_seconds = first,
    warmup_seconds = seconds[["warmup"]], seconds = seconds[["draws"]], iterations = draws * task$chains,
    note = paste0(note, if (task$keep) paste("; the first", warmup, "sweeps of a chain are its warm-up"))
  )
}
