"""Which family, and how many components: evidences of all side by side."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import oracle
import pytest
from harness import EPS, some_niw
from oracle import Finite

import gibbs_gmm as gg
from gibbs_gmm.command_line.cli import main

X = np.round(np.random.default_rng(3).normal(size=(6, 1)) + np.array([0.0, 0.0, 0.0, 6.0, 6.0, 6.0])[:, None], 3)
FEW = {"draws": 3000, "warmup": 1000, "rng": 1, "progress": False}


def two_round_kinds() -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.concatenate([rng.normal(m, 1.0, (40, 2)) for m in (-3.0, 3.0)])


def test_probabilities_are_those_of_the_evidences() -> None:
    found = gg.compare(two_round_kinds(), range(1, 4), ("diag", "spherical"), **FEW)
    assert found.log_evidence.shape == found.posterior.shape == (2, 3)
    weights = np.exp(found.log_evidence - found.log_evidence.max())
    np.testing.assert_allclose(found.posterior, weights / weights.sum(), rtol=1e-12)
    np.testing.assert_allclose(sum(found.family_posterior.values()), 1.0, rtol=1e-12)
    assert found.best == ("spherical", 2)
    assert "spherical, n = 2" in repr(found)
    assert found.to_csv().count("\n") == 7
    for name in found.covariance_types:
        np.testing.assert_array_equal(found.evidences[name].n_components, [1, 2, 3])


def test_the_families_are_one_in_one_column() -> None:
    """Their default priors too: evidences of n = 1 differ by the Monte-Carlo error of full covariances alone."""
    found = gg.compare(X, [1], rng=1, progress=False)
    exact = found.log_evidence[found.covariance_types.index("diag"), 0]
    error = 4.0 * found.standard_error[found.covariance_types.index("full"), 0] + 1e-6
    assert np.abs(found.log_evidence[:, 0] - exact).max() <= error
    assert found.standard_error[found.covariance_types.index("spherical"), 0] == 0.0


def test_evidence_of_tied_components_by_enumeration() -> None:
    """log p(X | n) of 6 rows, summed over all partitions, Sigma integrated out with the means."""
    niw = some_niw(1)
    prior = gg.NormalInverseWishart(*niw[:4], covariance_type="tied")
    found = gg.log_evidence(X, range(1, 4), prior=prior, draws=20_000, warmup=2_000, rng=2, progress=False)
    expected = [oracle.enumerate_posterior(X, niw, Finite(n, 1.0), tied=True).log_evidence for n in range(1, 4)]
    assert abs(found.log_evidence[0] - expected[0]) <= 1000 * EPS * abs(expected[0])
    assert (np.abs(found.log_evidence - expected) <= 4.0 * found.standard_error + 1e-10).all()
    assert found.standard_error.max() < 0.05


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"covariance_types": ["diagonal"]},
            "covariance_types must be 'full', 'tied', 'diag' or 'spherical', got 'diagonal'",
        ),
        ({"covariance_types": []}, "covariance_types must hold at least one"),
        ({"n_components": []}, "n_components must hold at least one number"),
    ],
)
def test_bad_input(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gg.compare(X, **{"n_components": [1, 2], **changes})


def test_an_unknown_argument_gets_a_suggestion() -> None:
    with pytest.raises(TypeError, match=r"did you mean .*n_components"):
        gg.compare(X, K=3)


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savetxt(tmp_path / "x.csv", two_round_kinds(), delimiter=",", header="a,b", comments="")
    out, plot = tmp_path / "table.csv", tmp_path / "plot.png"
    arguments = ["compare", str(tmp_path / "x.csv"), "-n", "2", "--covariance-type", "spherical", "--draws", "1000"]
    assert main([*arguments, "--seed", "1", "--out", str(out), "--plot", str(plot), "--quiet"]) == 0
    assert "spherical, n = 2" in capsys.readouterr().out
    assert out.read_text().startswith("covariance_type,n_components,log_evidence")
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert main([*arguments, "--out", str(out)]) == 2
    assert "exists" in capsys.readouterr().err
    assert main([*arguments, "--plot", str(tmp_path / "plot.xyz")]) == 2
    assert "plot.xyz' must end in one of ." in capsys.readouterr().err
    assert main([*arguments, "--out", str(tmp_path / "no" / "table.csv")]) == 2
    assert "there is no folder" in capsys.readouterr().err


def test_help_names_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gibbs_gmm", "compare", "--help"], capture_output=True, text=True, check=True
    )
    assert "spherical" in done.stdout
