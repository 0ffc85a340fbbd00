"""What a notebook shows: HTML that is sound, with the numbers of the trace in words and on their scale."""

import dataclasses
import math
from xml.etree import ElementTree

import numpy as np
import pytest
from made_up_traces import simulate, simulate_unknown_n

from gibbs_gmm import MixtureOfFiniteMixtures, NormalInverseWishart
from gibbs_gmm.compare import Comparison
from gibbs_gmm.evidence import Evidence
from gibbs_gmm.posterior.n_posterior import tabulate

FIXED = MixtureOfFiniteMixtures(concentration=1.0)


def shown(answer: object) -> tuple[str, list[list[str]]]:
    """What a notebook shows: all of it as text, and the rows of the table."""
    tree = ElementTree.fromstring(f"<div>{answer._repr_html_()}</div>")
    rows = [["".join(cell.itertext()) for cell in row] for row in tree.iter("tr")]
    return " ".join(" ".join(tree.itertext()).split()), rows


def test_a_trace_says_how_many_and_what_to_ask() -> None:
    trace, _ = simulate_unknown_n(weight_prior=FIXED)
    text, rows = shown(trace)
    assert text.startswith(trace.headline)
    assert "4 chains of 300 draws each, from 60 rows and 2 columns" in text
    assert [row[:2] for row in rows[1:]] == [[str(k), str(n)] for k, n in enumerate(trace.partition().sizes)]
    assert ".summary()" in text
    bare, rows = shown(dataclasses.replace(trace, assignments=None))
    assert rows == []
    assert trace.headline in bare
    one, _ = shown(simulate(C=1, T=1, K=1, D=1)[0])
    assert "1 chain of 1 draw each, from 60 rows and 1 column" in one


def test_chains_that_have_not_met_show_no_table() -> None:
    n_clusters = np.array([[2], [3]]) + np.zeros((1, 50), int)
    text, rows = shown(simulate_unknown_n(n_clusters, weight_prior=FIXED)[0])
    assert "THE CHAINS HAVE NOT MET" in text
    assert rows == []


def test_a_partition_says_who_is_in_doubt() -> None:
    trace, _ = simulate(T=100, K=2)
    z = trace.assignments.copy()
    z[:, :40, 0] = 1
    trace = dataclasses.replace(trace, assignments=z)
    text, rows = shown(trace.partition())
    assert text.startswith("60 rows in 2 clusters ; 1 row may be of another with a probability of 10% or more")
    assert rows[1][:4] == ["0", "30", "50%", "1"]
    assert "none is in doubt" in shown(simulate(T=10, K=2)[0].partition())[0]
    searched = trace.partition("vi")
    text, _ = shown(searched)
    share = searched.expected_loss / math.log2(60)
    assert f"{searched.expected_loss:.3g} bits (variation of information), " in text
    assert f"almost the same ({100 * share:.0f}% of the farthest there is)" in text


@pytest.mark.parametrize(
    ("loss", "unit"),
    [("vi", "bits (variation of information)"), ("binder", "of all pairs of rows"), ("omari", "adjusted Rand index")],
)
def test_a_credible_ball_is_in_words_and_on_its_scale(loss: str, unit: str) -> None:
    trace, _ = simulate(T=100, K=2)
    z = trace.assignments.copy()
    z[:, :40, :6] = 1 - z[:, :40, :6]
    ball = dataclasses.replace(trace, assignments=z).credible_ball(partition=trace.partition(loss))
    text, rows = shown(ball)
    assert f"{ball.probability:.0%} of the draws are within {ball.radius:.3g} " in text
    assert unit in text
    assert "of the farthest there is" in text
    assert [row[0] for row in rows[1:]] == [
        "the most different",
        "with the fewest clusters",
        "with the most clusters",
    ]
    assert rows[1][2] == "6 (10%)"


def test_the_number_of_clusters_in_a_sentence_and_in_per_cent() -> None:
    posterior = tabulate(simulate_unknown_n(weight_prior=FIXED)[0])
    text, rows = shown(posterior)
    assert text.startswith(f"3 clusters: {100 * posterior.p_n_clusters[2]:.0f}% , and ")
    (line,) = [row for row in rows if row[0] == "3"]
    assert line[3] == f"{100 * posterior.p_n_clusters[2]:.1f}% ± {100 * posterior.se_n_clusters[2]:.1f}"
    assert line[4] == f"{100 * posterior.prior_n_clusters[2]:.1f}%"


def test_an_evidence_in_a_sentence() -> None:
    prior = NormalInverseWishart(np.zeros(1), 0.1, 3.0, np.eye(1)).to_dict()
    values = np.array([-140.0, -100.0, -101.0])
    evidence = Evidence(np.arange(1, 4), values, np.array([0.0, 0.1, 0.1]), ("Beware.",), {"prior": prior})
    text, rows = shown(evidence)
    assert text.startswith("2 components (73%), 3 components (27%) and 1 component (less than 1%) , if all were equ")
    assert rows[2] == ["2", "-100.000", "0.100", "0.00", "0.731"]
    assert "Beware." in text
    unknown = dataclasses.replace(evidence, log_evidence=np.array([-140.0, np.nan, -101.0]))
    assert shown(unknown)[1][2][:2] == ["2", "nan"]


def test_a_comparison_names_the_best_and_shows_all() -> None:
    """A table of what was compared, a column for each family, under a sentence with the most probable of them."""
    value, error = np.array([[-310.0, -300.0], [-305.5, np.nan]]), np.array([[0.1, 0.2], [0.3, np.nan]])
    posterior = np.array([[0.0, 0.995], [0.005, 0.0]])
    families = ("full", "diag")
    comparison = Comparison(np.array([1, 2]), families, value, error, posterior, ("diag: a <warning>",), {})
    text, rows = shown(comparison)
    assert text.startswith("full covariances, 2 components: more than 99%")
    assert rows[0] == ["components", "log evidence, full", "log evidence, diag"]
    assert rows[1] == ["1", "-310.00 \u00b1 0.10 (0%)", "-305.50 \u00b1 0.30 (less than 1%)"]
    assert rows[2][1:] == ["-300.00 \u00b1 0.20 (more than 99%)", "-"]
    assert "Families over all n: full 0.995, diag 0.005." in text
    assert "diag: a <warning>" in text
