"""What the benchmarks compute from draws is right."""

import json
from pathlib import Path

import numpy as np
import pytest
from oracle import NIW, log_marginal, log_mixture_density
from scipy import stats
from sklearn.metrics import adjusted_rand_score

from benchmarks import common
from benchmarks.peers import tables
from benchmarks.peers.cases import Case
from benchmarks.peers.judge import Summary, quantities, read_arrays, summarise, verdict
from benchmarks.quality import labels

C, T, N, K, D = 2, 3, 12, 3, 2


@pytest.fixture(scope="module")
def case() -> Case:
    rng = np.random.default_rng(1)
    return Case(
        "small", rng.standard_normal((N, D)), K, np.array([0.3, -0.2]), 0.5, 5.0, np.array([[2.0, 0.3], [0.3, 1.0]])
    )


@pytest.fixture(scope="module")
def mixtures() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(2)
    return {
        "weights": rng.dirichlet(np.ones(K), (C, T)),
        "means": rng.standard_normal((C, T, K, D)),
        "covariances": stats.invwishart(6.0, np.eye(D)).rvs(C * T * K, random_state=rng).reshape(C, T, K, D, D),
    }


def test_log_likelihood_and_largest_weight(case, mixtures):
    found = quantities(case, True, mixtures)
    for c in range(C):
        for t in range(T):
            w, mu, Sigma = (mixtures[name][c, t] for name in ("weights", "means", "covariances"))
            np.testing.assert_allclose(found["log likelihood"][c, t], log_mixture_density(case.X, w, mu, Sigma).sum())
    np.testing.assert_array_equal(found["largest weight"], mixtures["weights"].max(-1))


def test_labels_are_drawn_from_their_conditional():
    x = np.zeros((20_000, 1))
    case = Case("line", x, 2, np.zeros(1), 1.0, 3.0, np.eye(1))
    one = {"weights": [0.3, 0.7], "means": [[0.0], [1.0]], "covariances": [[[1.0]], [[4.0]]]}
    found = quantities(case, True, {name: np.array(value, float)[None, None] for name, value in one.items()})
    odds = 0.3 * stats.norm.pdf(0.0) / (0.7 * stats.norm(1.0, 2.0).pdf(0.0))
    p = odds / (1.0 + odds)
    entropy = found["entropy"][0, 0]
    slope = abs(np.log(p / (1.0 - p)))
    assert abs(entropy - stats.entropy([p, 1.0 - p])) < 4.0 * slope * np.sqrt(p * (1.0 - p) / len(x))
    assert found["n+"][0, 0] == 2.0


def test_partitions(case):
    labels = np.random.default_rng(3).integers(0, 4, (C, T, N))
    labels[0, 0] = 2
    found = quantities(case, False, {"labels": labels})
    niw = NIW(case.mu_0, case.kappa_0, case.nu_0, case.Psi_0)
    for c in range(C):
        for t in range(T):
            clusters = [case.X[labels[c, t] == k] for k in range(4)]
            sizes = np.array([len(rows) for rows in clusters])
            expected = sum(log_marginal(rows, niw) for rows in clusters)
            np.testing.assert_allclose(found["log p(X given partition)"][c, t], expected)
            np.testing.assert_allclose(found["entropy"][c, t], stats.entropy(sizes))
            assert found["n+"][c, t] == (sizes > 0).sum()
            assert found["largest share"][c, t] == sizes.max() / N
    assert found["entropy"][0, 0] == 0.0


def test_verdicts():
    rng = np.random.default_rng(4)
    same, other = rng.standard_normal((4, 500)), rng.standard_normal((4, 500)) + 1.0
    reference = {"a": summarise(rng.standard_normal((4, 500)))}
    assert verdict({"a": summarise(same)}, reference) == "agrees"
    assert verdict({"a": summarise(other)}, reference).startswith("differs: a by +")
    apart = same + 5.0 * np.arange(4)[:, None]
    assert verdict({"a": summarise(apart)}, reference).startswith("chains did not meet")
    assert verdict({"a": summarise(np.full((4, 500), 2.0))}, {"a": Summary(2.0, 0.0, 2000.0, 1.0)}) == "agrees"


def test_arrays_are_read_as_they_were_written(tmp_path: Path):
    weights, labels = np.random.default_rng(5).random((2, 3, 4)), np.arange(24, dtype=np.int32).reshape(2, 3, 4)
    weights.tofile(tmp_path / "weights.f64")
    labels.tofile(tmp_path / "labels.i32")
    (tmp_path / "result.json").write_text(json.dumps({"arrays": {"weights": [2, 3, 4], "labels": [2, 3, 4]}}))
    found = read_arrays(tmp_path)
    np.testing.assert_array_equal(found["weights"], weights)
    np.testing.assert_array_equal(found["labels"], labels)


def _run(system: str, seconds: float, mean: float = 0.0, **more: object) -> dict:
    summary = {"mean": mean, "sd": 1.0, "ess": 1000.0, "r_hat": 1.0}
    run = {"case": "iris", "model": "known", "system": system, "seconds": seconds, "iterations": 10, "note": ""}
    return {**run, "found": {"log likelihood": summary}, **more}


def test_a_faster_peer_is_named_only_where_its_answer_is_the_same():
    ours, reference = _run("gibbs_gmm", 1.0), _run("gibbs_gmm", 4.0, reference=True)
    assert tables.faster_peers([reference, ours, _run("JAGS", 2.0)]) == ([], 1)
    assert tables.faster_peers([reference, ours, _run("JAGS", 0.5)]) == (["JAGS, iris, known: log likelihood"], 1)
    assert tables.faster_peers([reference, ours, _run("JAGS", 0.5, mean=3.0)]) == ([], 0)


@pytest.mark.skipif(not labels.has_mclust(), reason="needs R with mclust and jsonlite")
def test_mclust_tells_setosa_from_the_rest():
    found = labels.by_mclust("iris")
    _, species = common.data_set("iris")
    assert found[labels.FULL]["note"] == "VVV"
    for system in (labels.BEST, labels.FULL):
        assert found[system]["n"] == 2
        assert found[system]["ari"] == pytest.approx(adjusted_rand_score(species, species == 0))


def test_the_table_of_labels_counts_failures_as_zero():
    ours = [{"ari": 0.8, "n": 3, "note": ""}, {"ari": 0.0, "note": "failed"}]
    details = {"data_sets": ["one", "two"], "systems": {labels.OURS: ours}}
    row = labels.labels_table(details).splitlines()[-1]
    assert [cell.strip() for cell in row.split("|")[1:-1]] == [labels.OURS, "0.400", "0.80; 3", "0.00; failed"]
