"""The systems: what each can do, how it is started, and how it is installed."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent
ENVIRONMENTS = ROOT.parent / ".envs"


@dataclasses.dataclass(frozen=True)
class System:
    """A script in ``systems/``.

    ``models`` are those that it can be given, ``kind`` what its answer is meant to be: "exact" for draws from the
    posterior, "variational" or "point" for approximations. ``needs`` are Python packages of an environment of its own,
    or R packages; ``costs`` says whether it takes part in the costs of an iteration, ``data`` on which data sets it is
    run, by model, where not on all, and ``patience`` how many times longer it is run than others, so that its
    effective draws can be counted at all.
    """

    name: str
    script: str
    models: tuple[str, ...]
    kind: str = "exact"
    needs: tuple[str, ...] = ()
    debian: str = ""
    costs: bool = True
    data: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    patience: float = 1.0

    @property
    def is_r(self) -> bool:
        """Whether it is an R script."""
        return self.script.endswith(".R")

    def command(self) -> list[str]:
        """How its process is started, but for the folder."""
        script = str(ROOT / "systems" / self.script)
        return ["Rscript", "--vanilla", script] if self.is_r else [self._python(), script]

    def installed(self) -> bool:
        """Whether it can run here."""
        if self.is_r:
            return all(_has_r_package(package) for package in ("jsonlite", *self.needs))
        return Path(self._python()).exists()

    def how_to_install(self) -> str:
        """The command."""
        if not self.is_r:
            return f"python -m benchmarks.peers --install {self.environment}"
        if self.debian:
            return f"apt-get install r-base-core r-cran-jsonlite {self.debian}"
        packages = ", ".join(f'"{package}"' for package in ("jsonlite", *self.needs))
        return f"Rscript -e 'install.packages(c({packages}))'"

    @property
    def environment(self) -> str:
        """The name of its environment."""
        return self.script.split("_")[0]

    def install(self) -> None:
        """Make its Python environment."""
        folder = ENVIRONMENTS / self.environment
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(folder / "bin" / "python"), "-m", "pip", "install", *self.needs], check=True)

    def _python(self) -> str:
        return str(ENVIRONMENTS / self.environment / "bin" / "python") if self.needs else sys.executable


@cache
def _has_r_package(name: str) -> bool:
    if shutil.which("Rscript") is None:
        return False
    test = f"quit(status = !requireNamespace('{name}', quietly = TRUE))"
    return subprocess.run(["Rscript", "--vanilla", "-e", test], capture_output=True, check=False).returncode == 0


OURS = "gibbs_gmm"
_NUMPYRO, _PYMC = ("numpyro", "jax"), ("pymc", "nutpie", "numba")
_KNOWN, _DP = {"known": ("iris", "faithful")}, {"dp": ("iris", "galaxies")}  # elsewhere they take long
SYSTEMS = (
    System(OURS, "gibbs_gmm_fit.py", ("known", "dp", "dp_gamma", "mfm")),
    System("NumPy Gibbs", "numpy_gibbs.py", ("known",)),
    System("R bayesm", "bayesm.R", ("known",), needs=("bayesm",), debian="r-cran-bayesm"),
    System("JAGS", "jags.R", ("known",), needs=("rjags",), debian="r-cran-rjags"),
    System("NumPyro NUTS", "numpyro_nuts.py", ("known",), needs=_NUMPYRO, costs=False, data=_KNOWN),
    System("NumPyro NUTS (tuned)", "numpyro_tuned.py", ("known", "dp"), needs=_NUMPYRO, costs=False, data=_DP),
    System("PyMC NUTS", "pymc_nuts.py", ("known",), needs=_PYMC, costs=False, data=_KNOWN),
    System("PyMC NUTS (tuned)", "pymc_tuned.py", ("known", "dp"), needs=_PYMC, costs=False, data=_DP),
    System("R BNPmix", "bnpmix.R", ("dp",), needs=("BNPmix",), costs=False),
    System("R dirichletprocess", "dirichletprocess.R", ("dp_gamma",), needs=("dirichletprocess",), costs=False),
    System("R telescope", "telescope.R", ("mfm",), needs=("telescope",), costs=False, patience=24.0),
    System("scikit-learn EM", "sklearn_em.py", ("known",), kind="point"),
    System("scikit-learn variational", "sklearn_vb.py", ("known", "dp"), kind="variational"),
)
