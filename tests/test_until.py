"""Runs that go on until they are done: what they are judged by, how their plan grows, and that nothing else decides."""

import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up_traces import BY_DRAW
from scipy import stats

import gibbs_gmm as gg
from gibbs_gmm import fitting
from gibbs_gmm.posterior import standing as standing_module
from gibbs_gmm.posterior.standing import standing
from gibbs_gmm.sampler import until
from gibbs_gmm.sampler.recipe import Plan
from gibbs_gmm.storage.run_folder import Keeper

RNG = np.random.default_rng(5)
X = np.concatenate([RNG.normal(m, 1.0, (20, 2)) for m in (-2.0, 2.0)])


@pytest.fixture
def demanding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few draws, and more effective ones wanted than they can be: runs that go on for several rounds."""
    monkeypatch.setattr(until, "_DRAWS", 40)
    monkeypatch.setattr(until, "_WARMUP", 20)
    monkeypatch.setattr(until, "_WARMUP_DRAWS", 1)
    monkeypatch.setattr(standing_module, "EFFECTIVE_DRAWS", 10_000)


def fit(**settings: Any) -> gg.Trace:
    return gg.fit(X, **{"chains": 2, "rng": 3, "progress": False, "thin": 1, "max_sweeps": 1200, **settings})


def require_same(a: gg.Trace, b: gg.Trace) -> None:
    for name in BY_DRAW:
        x, y = getattr(a, name), getattr(b, name)
        assert (x is None) == (y is None)
        if x is not None:
            np.testing.assert_array_equal(x, y, err_msg=name)
    for name in ("warmup", "draws", "thin", "max_sweeps", "tuning", "stopped_by", "split_merge"):
        assert a.settings[name] == b.settings[name]


# --- Plans ---


def test_a_plan_grows_until_its_budget_is_spent() -> None:
    plan = until.first_plan(150, 4, None, None, 100_000)
    assert plan == Plan(3000, 1000, 10, 100_000, tuning=3000)
    following = until.longer(plan, 150, False)
    assert following == (Plan(3000, 1000, 20, 100_000, tuning=3000), 0)
    assert until.longer(plan, 150, True) == (Plan(8000, 1000, 20, 100_000, tuning=3000), 500)
    plans = [plan]
    while following is not None:
        plans.append(following[0])
        following = until.longer(plans[-1], 150, False)
    assert [p.sweeps for p in plans] == [13_000, 23_000, 43_000, 83_000, 99_960]
    assert plans[-1].draws == 606  # of every 160th sweep: more than the 500 that were left


def test_first_plans() -> None:
    assert until.first_plan(10**5, 8, 3, None, None) == Plan(1000, 1000, 1, 4000, tuning=1000)
    assert until.first_plan(100, 1, 3, None, None).max_sweeps == 500_000
    assert until.first_plan(572, 8, None, None, None).max_sweeps == 1_500_000_000 // (572 * 8)
    assert until.first_plan(100, 1, 3, 7, None).thin == 7
    for N in (150, 10**6):
        for budget in (1, 2, 3, 10, 1500, 5000):
            plan = until.first_plan(N, 4, None, None, budget)
            assert plan.draws >= 1
            assert plan.sweeps <= budget


def test_plans_for_very_many_rows_have_fewer_sweeps_and_fewer_labels() -> None:
    """The work is counted: rows, columns and components that sweeps read, and labels that are kept."""
    assert until.first_plan(10**6, 4, None, None, None) == Plan(200, 250, 1, 800, tuning=200)
    assert until.first_plan(10**6, 4, 60, None, None).max_sweeps == 450  # as many as have the first draws
    assert until.first_plan(2 * 10**5, 2, None, None, None) == Plan(200, 1000, 1, 4000, tuning=200)
    assert until.first_plan(10**8, 2, None, None, None).draws == 100
    plan = until.first_plan(10**6, 4, None, None, None)
    assert until.longer(plan, 10**6, False) == (Plan(200, 250, 2, 800, tuning=200), 0)
    assert until.longer(plan, 10**6, True) == (Plan(325, 237, 2, 800, tuning=200), 125)


@pytest.mark.parametrize("N", [150, 10**6, 1_388_889])
@pytest.mark.parametrize("apart", [False, True])
def test_draws_that_are_kept_are_those_of_the_longer_plan(apart: bool, N: int) -> None:
    plan = Plan(100, until.most_draws(N), 3, 10**6)
    longer, first = until.longer(plan, N, apart) or (plan, 0)
    sweeps = plan.warmup + plan.thin * np.arange(1, plan.draws + 1)
    kept = sweeps[first + 1 :: 2]
    assert len(kept) == longer.draws_after(plan.sweeps)
    np.testing.assert_array_equal(kept, longer.warmup + longer.thin * np.arange(1, len(kept) + 1))


# --- What a run is judged by ---


def arrays(C: int = 4, T: int = 1000, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "weights": rng.dirichlet([50.0, 30.0, 20.0], (C, T)),
        "n_clusters": rng.integers(2, 4, (C, T)),
        "log_likelihood": rng.normal(size=(C, T)),
    }


def test_independent_draws_are_enough() -> None:
    now = standing(arrays(), None)
    assert now.done
    assert not now.apart
    assert now.r_hat < 1.01
    assert now.effective > 3000


@pytest.mark.parametrize("name", ["log_likelihood", "n_clusters", "weights"])
def test_each_quantity_can_keep_a_run_from_being_done(name: str) -> None:
    values = arrays()
    slow = values[name].copy()
    slow[:] = np.repeat(slow[:, ::20], 20, axis=1)
    now = standing({**values, name: slow}, None)
    assert not now.done
    assert now.effective < standing_module.EFFECTIVE_DRAWS
    assert now.effective_of in (
        {name} if name != "weights" else {"entropy", *(f"sorted_weight[{k}]" for k in range(3))}
    )
    apart = values[name].copy()
    apart[0] = {"log_likelihood": apart[0] + 1.0, "n_clusters": 3, "weights": [0.6, 0.3, 0.1]}[name]
    assert standing({**values, name: apart}, None).apart


def test_one_chain_is_judged_by_its_halves_and_labels_count() -> None:
    values = arrays(C=1)
    assert standing(values, None).done
    values["log_likelihood"][:, :500] += 1.0
    assert standing(values, None).apart
    z = np.zeros((4, 1000, 30), np.uint8)
    z[1:, :, :5] = 1
    now = standing(arrays(), list(z))
    assert now.apart
    assert str(now).endswith("rows apart")


def test_what_never_changes_is_no_obstacle() -> None:
    values = arrays()
    values["weights"], values["n_clusters"] = np.ones((4, 1000, 1)), np.ones((4, 1000), np.int64)
    assert standing(values, [np.zeros((1000, 9), np.uint8)] * 4).done


# --- Runs ---


@pytest.mark.usefixtures("demanding")
@pytest.mark.parametrize("n", [2, None])
def test_the_draws_are_those_of_a_run_with_the_last_plan(n: int | None) -> None:
    """Nothing but the plan decides what is in the trace: a run given it from the beginning has the same draws."""
    trace = fit(n_components=n)
    plan = trace.settings
    assert plan["stopped_by"] == "max_sweeps"
    assert plan["thin"] > 1
    assert trace.log_likelihood.shape == (2, plan["draws"])
    assert plan["warmup"] + plan["draws"] * plan["thin"] <= 1200
    every = fit(n_components=n, max_sweeps=None, draws=1200 - plan["tuning"], warmup=plan["tuning"])
    chosen = slice(plan["warmup"] - plan["tuning"] + plan["thin"] - 1, None, plan["thin"])
    for name in ("log_likelihood", "n_clusters", "assignments"):
        x = getattr(every, name)[:, chosen][:, : plan["draws"]]
        np.testing.assert_array_equal(getattr(trace, name), x, err_msg=name)


@pytest.mark.usefixtures("demanding")
@pytest.mark.parametrize("n", [2, None])
def test_threads_and_folders_change_nothing(n: int | None, tmp_path: Path) -> None:
    trace = fit(n_components=n)
    require_same(trace, fit(n_components=n, threads=1))
    require_same(trace, fit(n_components=n, checkpoint=tmp_path / "run"))
    require_same(trace, gg.load(tmp_path / "run"))
    require_same(trace, gg.resume(tmp_path / "run", progress=False))
    thins = {path.name.split(".")[1] for path in (tmp_path / "run").glob("*.*.npy")}
    assert thins == {str(trace.settings["thin"])}


class Killed(BaseException):
    """Ends a process as a kill would, as far as files can tell."""


@pytest.mark.usefixtures("demanding")
@pytest.mark.parametrize("where", ["before", "written", "named"])
@pytest.mark.parametrize("round_", [1, 3])
def test_a_run_that_is_killed_between_two_plans_goes_on(
    where: str, round_: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When nothing is done yet, when the files of the longer plan are written, and when the recipe names them."""
    count = 0
    module: Any = Keeper if where == "before" else fitting.Folder
    name = "go_on" if where == "before" else "follow"
    honest = getattr(module, name)

    def kill(*arguments: Any) -> None:
        nonlocal count
        count += 1
        if where == "named" or count < round_:
            honest(*arguments)
        if count == round_:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(module, name, kill)
        with pytest.raises(Killed):
            fit(checkpoint=tmp_path / "run")
    assert gg.load(tmp_path / "run").settings["stopped_by"] == "interruption"
    shutil.copytree(tmp_path / "run", tmp_path / "other")
    require_same(fit(), gg.resume(tmp_path / "run", progress=False))
    require_same(fit(), fit(checkpoint=tmp_path / "other"))


@pytest.mark.usefixtures("demanding")
def test_states_that_are_lost_after_some_rounds_are_made_again(tmp_path: Path) -> None:
    whole = fit(checkpoint=tmp_path / "run")
    for state in (tmp_path / "run").glob("chain-0.*"):
        state.unlink()
    require_same(whole, gg.resume(tmp_path / "run", progress=False))


@pytest.mark.usefixtures("demanding")
def test_a_larger_budget_carries_a_run_on(tmp_path: Path) -> None:
    fit(checkpoint=tmp_path / "run")
    longer = gg.resume(tmp_path / "run", max_sweeps=4000, progress=False)
    assert longer.settings["thin"] > 20
    require_same(fit(max_sweeps=4000), longer)
    with pytest.raises(ValueError, match="max_sweeps must be"):
        gg.resume(tmp_path / "run", max_sweeps=3000, progress=False)
    with pytest.raises(ValueError, match="draws cannot be added"):
        gg.resume(tmp_path / "run", draws=3000, progress=False)
    with pytest.raises(ValueError, match="other settings"):
        fit(checkpoint=tmp_path / "run", draws=50, max_sweeps=None)


def test_a_budget_that_is_spent_is_said() -> None:
    trace = fit(n_components=1, max_sweeps=60)
    text = (
        "The run came to its budget of 60 sweeps in each chain before all that does not depend on labels had an R-hat"
    )
    assert any(message.startswith(text) for message in trace.summary().messages)


@pytest.mark.usefixtures("demanding")
def test_what_is_missing_is_said(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gibbs_gmm.sampler.progress._LOG_SECONDS", 0.0)
    with caplog.at_level(logging.INFO, "gibbs_gmm"):
        fit(progress=True)
    assert any("at R-hat" in r.getMessage() and "effective draws (" in r.getMessage() for r in caplog.records)


def test_a_run_that_has_converged_says_so() -> None:
    trace = gg.fit(X, 1, rng=1, progress=False)
    assert trace.settings["stopped_by"] == "converged"
    assert trace.settings["thin"] == 10
    assert trace.log_likelihood.shape == (4, 1000)
    given = gg.fit(X, 1, draws=5, rng=1, progress=False)
    assert given.settings["stopped_by"] == "draws"
    assert (given.settings["warmup"], given.settings["thin"], given.settings["max_sweeps"]) == (1000, 10, None)


def test_bad_budgets() -> None:
    with pytest.raises(ValueError, match="max_sweeps must be"):
        fit(max_sweeps=0)
    with pytest.raises(TypeError, match="max_sweeps must be"):
        fit(max_sweeps=2.5)
    for given in ({"draws": 5}, {"warmup": 5}):
        with pytest.raises(ValueError, match="max_sweeps is for a run that goes on until it is done"):
            fit(**given)


@pytest.mark.slow
def test_stopping_does_not_spoil_intervals() -> None:
    """Data and parameters drawn from the prior, 300 runs that end by themselves: 90% intervals cover as they should.

    What is covered are the mean and the log variance of one component, and the mean of one row's density over two, for
    which 300 independent cases must lie within what a binomial of 0.9 does in all but one in 10,000 cases. Rows are
    few and overlap, so that runs end after different numbers of rounds.
    """
    rng = np.random.default_rng(11)
    prior = gg.NormalInverseWishart([0.0], 0.2, 5.0, [[3.0]])
    covered, thins = np.zeros((300, 2), dtype=bool), set()
    for r in range(300):
        w = rng.dirichlet([1.0, 1.0])
        variance = stats.invwishart(5.0, 3.0).rvs(2, random_state=rng)
        mean = rng.normal(0.0, np.sqrt(variance / 0.2))
        z = (rng.random(25) > w[0]).astype(int)
        rows = rng.normal(mean[z], np.sqrt(variance[z]))[:, None]
        trace = gg.fit(rows, 2, prior=prior, resolution=0.0, thin=1, rng=r, progress=False)
        truth = np.array([w.max(), np.log(w @ (variance + mean**2) - (w @ mean) ** 2)])
        m, v, p = trace.means[..., 0], trace.covariances[..., 0, 0], trace.weights
        whole = np.log((p * (v + m**2)).sum(-1) - (p * m).sum(-1) ** 2)
        for k, draws in enumerate((p.max(-1), whole)):
            low, high = np.quantile(draws, [0.05, 0.95])
            covered[r, k] = low <= truth[k] <= high
        thins.add(trace.settings["thin"])
    assert len(thins) > 2
    least, most = stats.binom(300, 0.9).ppf([0.5e-4, 1.0 - 0.5e-4])
    assert ((covered.sum(0) >= least) & (covered.sum(0) <= most)).all(), covered.mean(0)
