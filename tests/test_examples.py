"""The examples of the documentation: every public name has one, and it prints what it says."""

import doctest
import inspect
import sys
from typing import Any

import numpy as np
import pytest
from matplotlib import pyplot as plt

import gibbs_gmm as gg
from gibbs_gmm import plots

NAMES = {name: getattr(gg, name) for name in gg.__all__ if name != "plots"}
NAMES |= {f"plots.{name}": getattr(plots, name) for name in plots.__all__}
NAMES |= {
    f"Trace.{name}": method
    for name, method in inspect.getmembers(gg.Trace, inspect.isfunction)
    if not name.startswith("_") and name not in ("arrays", "permuted")  # for the package
}


@pytest.fixture(scope="module")
def known() -> dict[str, Any]:
    """What the examples may take as known: the rows and the trace of the example of ``fit``."""
    X = np.concatenate([np.random.default_rng(0).normal(m, 1.0, (50, 2)) for m in (-3.0, 3.0)])
    trace = gg.fit(X, 2, draws=200, warmup=200, rng=1, progress=False)
    return {"gg": gg, "np": np, "X": X, "trace": trace}


@pytest.mark.parametrize("name", NAMES)
def test_an_example_prints_what_it_says(name: str, known: dict[str, Any]) -> None:
    doc = inspect.getdoc(NAMES[name])
    assert doc is not None
    test = doctest.DocTestParser().get_doctest(doc, dict(known), name, None, None)
    assert test.examples, f"{name} has no example"
    said: list[str] = []
    result = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test, out=said.append)
    plt.close("all")
    assert result.failed == 0, "".join(said)


def test_the_examples_of_modules_hold_too(known: dict[str, Any]) -> None:
    module = sys.modules["gibbs_gmm.data_warnings"]
    assert doctest.testmod(module, extraglobs=known).failed == 0
