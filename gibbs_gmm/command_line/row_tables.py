"""Tables with a line for each row: predictions, and the rows of a file with their clusters."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gibbs_gmm.command_line.reading.options import ReadOptions, Refused
from gibbs_gmm.command_line.reading.rows import Rows
from gibbs_gmm.command_line.reading.table import read_grid
from gibbs_gmm.kernels.types import FloatArray

if TYPE_CHECKING:
    from gibbs_gmm.posterior.clustering import Partition


def predictions_csv(rows: Rows, probabilities: FloatArray, log_density: FloatArray) -> str:
    """Clusters and densities of new rows, as the text of a CSV file.

    Parameters
    ----------
    rows : Rows
        Lines and names of the N rows.
    probabilities : (N, J + 1) float64
        Of clusters 0..J-1, and in the last column of none of them.
    log_density : (N,) float64
        Log posterior predictive densities.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    names = [] if rows.ids is None else [rows.ids]
    writer.writerow(["row", "line", *[rows.id_name] * len(names), "cluster", "probability", "log_density"])
    best = probabilities.argmax(1)
    cluster = np.where(best == probabilities.shape[1] - 1, -1, best)
    columns = (rows.lines.tolist(), *names, cluster.tolist(), probabilities.max(1).tolist(), log_density.tolist())
    for row, (*called, k, p, log_p) in enumerate(zip(*columns, strict=True)):
        writer.writerow([row, *called, k, f"{p:.6g}", f"{log_p:.6g}"])
    return file.getvalue()


def appended(path: Path, options: ReadOptions, partition: Partition) -> str:
    """All columns of a file as they are in it, with the cluster of each row and its probability, as CSV.

    Raises
    ------
    Refused
        The file has changed since it was fitted.
    """
    grid = read_grid(path, options, exact=True)
    if len(grid.lines) != len(partition.labels):
        raise Refused(f"{str(path)!r} has {len(grid.lines)} rows, and {len(partition.labels)} were fitted")
    file = io.StringIO()
    delimiter = grid.delimiter if grid.delimiter in ("\t", ";", "|") else ","
    writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
    writer.writerow([*grid.names, "cluster", "probability"])
    cells = [column if isinstance(column, list) else column.values.tolist() for column in grid.columns]
    comma = delimiter != "," and any("," in cell for column in cells for cell in column[:1000] if isinstance(cell, str))
    sure = 1.0 - partition.uncertainty
    for row, k, p in zip(zip(*cells, strict=True), partition.labels.tolist(), sure.tolist(), strict=True):
        probability = f"{p:.6g}"
        writer.writerow([*row, k, probability.replace(".", ",") if comma else probability])
    return file.getvalue()
