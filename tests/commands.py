"""What the tests of the command line share: a small file, short runs of it, and the files that a run leaves."""

from pathlib import Path

import numpy as np

from gibbs_gmm.command_line.cli import main

DATA = Path(__file__).resolve().parents[1] / "data"
SHORT = ["--draws", "30", "--warmup", "30", "--chains", "2", "--seed", "1"]
FILES = [
    "clusters.csv",
    "command.json",
    "observations.npy",
    "pairs.png",
    "report.html",
    "rows.csv",
    "summary.csv",
]
ALL_FILES = sorted(["n_posterior.csv", "n_posterior.png", *FILES])
PNG = b"\x89PNG"


def csv_file(text: str = "", rows: int = 40) -> str:
    """A small file of two clusters, or this text."""
    x = np.random.default_rng(0).normal(size=(rows, 2)) + 10.0 * (np.arange(rows) % 2)[:, None]
    Path("some.csv").write_text(
        text or "a,b,name\n" + "".join(f"{a},{b},n{a}\n" for a, b in x.tolist()), encoding="utf-8"
    )
    return "some.csv"


def fit(*options: str) -> int:
    return main(["fit", csv_file(), "--components", "2", *SHORT, *options])


def fit_unknown(*options: str) -> int:
    return main(["fit", csv_file(), *SHORT, *options])


def complaints(err: str) -> str:
    """The errors and warnings on standard error, without the lines that say what is being done."""
    return "".join(line for line in err.splitlines(True) if line.startswith(("gibbs-gmm: error", "gibbs-gmm: warning")))


def written(folder: str = "some-run") -> list[str]:
    """The results in a folder, beside the draws."""
    return sorted(path.name for path in Path(folder).iterdir() if path.name != "draws")
