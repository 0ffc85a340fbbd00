"""The tables of the READMEs are those of the results."""

from benchmarks import readme


def test_the_readmes_show_the_results():
    for path in readme.DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        assert readme.filled(text) == text, f"{path.name}: run python -m benchmarks.readme"
