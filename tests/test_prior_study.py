"""What the study of the default prior computes is right: its data sets are what they say, its scores what they mean."""

import dataclasses
import json

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

import gibbs_gmm as gg
from benchmarks import common
from benchmarks.prior_study import __main__ as study
from benchmarks.prior_study import cases, kinds, sets, tables
from benchmarks.prior_study.candidates import CANDIDATES, keywords
from benchmarks.prior_study.scores import adjusted_rand, score


def test_adjusted_rand_is_that_of_sklearn():
    rng = np.random.default_rng(1)
    labels, Z = rng.integers(0, 3, 40), rng.integers(0, 4, (5, 40))
    Z[0] = labels
    Z[1] = 0
    np.testing.assert_allclose(adjusted_rand(Z, labels), [adjusted_rand_score(labels, z) for z in Z], atol=1e-12)


@pytest.mark.parametrize("name", common.LABELLED)
def test_labels_are_not_among_the_columns(name):
    data = sets.labelled(name)
    with open(common.ROOT.parent / "data" / f"{name}.csv", encoding="utf-8") as file:
        columns = file.readline().strip().split(",")
    assert data.X.shape[1] == len(columns) - 1
    assert len(data.labels) == len(data.X)
    assert 2 <= len(np.unique(data.labels)) <= 9


@pytest.mark.parametrize("part", study.PARTS)
def test_no_two_data_sets_have_one_name(part):
    names = [data.name for data in study.PARTS[part]()]
    assert len(set(names)) == len(names)


def test_narrow_kinds_are_thin_where_they_differ():
    for data in kinds.narrow_sets(per_cell=1):
        rho = float(data.cell.split()[1])
        own = [data.X[data.labels == k] for k in range(3)]
        within = np.mean([np.corrcoef(rows.T)[np.triu_indices(4, 1)].mean() for rows in own])
        assert within == pytest.approx(rho, abs=0.08)
        total = np.corrcoef(np.concatenate([rows - rows.mean(0) for rows in own]).T)
        assert np.linalg.eigvalsh(total)[0] < 2.0 * (1.0 - rho)
        gaps = [np.linalg.norm(own[j].mean(0) - own[k].mean(0)) for j, k in ((0, 1), (0, 2), (1, 2))]
        assert np.allclose(gaps, 4.5 * np.sqrt(1.0 - rho), rtol=0.35, atol=0.4)


def test_redundant_columns_carry_the_noise_they_say():
    by_name = {data.name: data.X for data in kinds.redundant_sets(per_cell=1)}
    for D in (5, 10):
        base = by_name[f"{D}-D, none, 0"]
        for what, column in (("copy", base[:, -1]), ("total", base.sum(1))):
            for noise in (0.0, 0.01, 0.05):
                X = by_name[f"{D}-D, {what} {noise:.0%}, 0"]
                np.testing.assert_array_equal(X[:, :-1], base)
                assert (X[:, -1] - column).std() == pytest.approx(noise * column.std(), rel=0.2)


def test_rounded_rows_lie_on_a_grid_near_the_exact_ones():
    found = kinds.rounded_sets(per_cell=2)
    exact = {data.name.replace("exact", ""): data for data in found if "exact" in data.name}
    for data in found:
        if "exact" not in data.name:
            part = float(data.cell.split()[1])
            base = exact[f"{data.name.split()[0]} , {data.name.split()[-1]}"]
            assert np.abs(data.X - base.X).max() <= part / 2 + 1e-9
            steps = (data.X - data.X[0]) / part
            np.testing.assert_allclose(steps, np.round(steps), atol=1e-9)
            np.testing.assert_array_equal(data.variances, base.variances)


def test_the_variances_of_rounded_sets_are_those_of_their_kinds():
    data = kinds.rounded_sets(per_cell=4)[12]  # 1-D, exact, 2,000 rows
    assert len(data.X) == 2000
    own = [data.X[data.labels == k].var(ddof=1) for k in range(data.n)]
    np.testing.assert_allclose(own, data.variances[:, 0], rtol=0.2)


def test_a_score_says_what_the_draws_say():
    data = cases.far_apart("two", (0.0, 10.0), 40)
    found = score(data, "wishart, kappa_0 fixed", seed=1)
    assert found["failure"] is None
    assert found["mode"] == 2
    assert found["ari"] == 1.0
    assert found["p_true"] > 0.5
    assert found["log_score"] == pytest.approx(np.log(found["p_true"]))
    assert tables.right({**found, "candidate": "wishart, kappa_0 fixed"})
    # the same rows with twice the variance claimed for both kinds
    claimed = dataclasses.replace(data, variances=4.0 * data.variances)
    wrong = score(claimed, "wishart, kappa_0 fixed", seed=1)
    assert wrong["variance_ratio"] == pytest.approx(4.0, rel=0.3)
    assert wrong["covered"] == 0.0
    assert not tables.right(wrong)


def test_a_failure_is_a_result_and_scores_zero(monkeypatch):
    def refuse(X):
        raise ValueError("no prior for this")

    monkeypatch.setitem(CANDIDATES, "refuse", refuse)
    data = cases.far_apart("two", (0.0, 10.0), 40)
    found = score(data, "refuse", seed=1)
    assert found["failure"] == "ValueError: no prior for this"
    assert not tables.right(found)
    lines = [{**found, "part": part, "candidate": "refuse", "data": "two", "seed": 1} for part in tables.PARTS]
    page = tables.page(lines, tables.PARTS)
    assert "failed" in page
    assert "0.000" in page


@pytest.mark.parametrize("name", CANDIDATES)
def test_candidates_are_what_fit_takes(name):
    X = np.random.default_rng(2).standard_normal((30, 2))
    trace = gg.fit(X, **keywords(name, X), draws=2, warmup=2, thin=1, chains=1, rng=1, threads=1, progress=False)
    assert trace.n_clusters.shape == (1, 2)


def test_results_merge_by_candidate_data_set_and_seed(tmp_path, monkeypatch):
    monkeypatch.setattr(common, "results_folder", lambda scratch: tmp_path)
    one = {"part": "real", "candidate": "default", "data": "iris", "seed": 1, "cell": "iris", "N": 150, "D": 4}
    one |= {"n": None, "failure": None, "ari": 0.123456789, "by_chain": [3.0, 3.1], "r_hat": 1.01, "seconds": 1.0}
    study.store([one], False)
    study.store([{**one, "seed": 2}], False)
    study.store([{**one, "ari": 0.5}], False)
    found = study.stored(False)
    assert sorted((r["seed"], r["ari"]) for r in found) == [(1, 0.5), (2, 0.1235)]
    assert json.loads((tmp_path / "prior_study.json").read_text())["environment"]["cores"] >= 1
    assert "0.31; 3.0-3.1" in (tmp_path / "prior_study.md").read_text()
