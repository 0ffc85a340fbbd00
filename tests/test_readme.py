"""The READMEs show the results, and what the README says can be run prints what it shows."""

import re
import tomllib
from pathlib import Path

import pytest

from benchmarks import examples, readme

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
_NUMBER = r"-?\d+(?:\.\d*)?"


def test_the_readmes_show_the_results():
    for path in readme.DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        assert readme.filled(text) == text, f"{path.name}: run python -m benchmarks.readme"


@pytest.mark.parametrize(
    "name", ["readme", *(pytest.param(name, marks=pytest.mark.slow) for name in examples.NAMES[1:])]
)
def test_an_example_prints_what_is_shown(name: str) -> None:
    """The same words; numbers may differ as those of another processor's draws do, by a tenth or 0.15 (5 rows)."""
    printed, _ = examples.run(name)
    shown = examples.shown(name)
    assert " ".join(re.sub(_NUMBER, "#", printed).split()) == " ".join(re.sub(_NUMBER, "#", shown).split())
    for found, expected in zip(re.findall(_NUMBER, printed), re.findall(_NUMBER, shown), strict=True):
        whole = "." not in expected
        assert float(found) == pytest.approx(float(expected), rel=0.1, abs=5.0 if whole else 0.15)


def test_it_is_short_and_begins_with_two_commands_and_a_picture() -> None:
    assert len(README.splitlines()) < 180
    first, second = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)[:2]
    assert "pip install '.[plots]'\ngibbs-gmm fit data/iris.csv --out iris-run\n" in first
    assert "pip install -e '.[test]'\npython -m pytest\n" in second
    assert "](benchmarks/results/iris.png)" in README[: README.index("## From Python")]
    assert examples.PICTURE.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("document", ["README.md", "benchmarks/README.md"])
def test_links_lead_somewhere(document: str) -> None:
    path = ROOT / document
    links = re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8"))
    assert links
    for link in links:
        assert (path.parent / link).exists(), f"{document} leads to {link}"


def test_what_the_readme_names_is_there() -> None:
    for name in re.findall(r"`((?:gibbs_gmm/)?[a-z_/]+\.py)`", README):
        assert (ROOT / name).exists() or (ROOT / "gibbs_gmm" / name).exists(), name
    for name in re.findall(r"`([a-z_]+/)`", README):
        assert (ROOT / name).is_dir() or any(path.is_dir() for path in (ROOT / "gibbs_gmm").rglob(name)), name


def test_the_citation_is_of_this_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"\nversion: {project['version']}\n" in citation
    assert f"\nlicense: {project['license']}\n" in citation
