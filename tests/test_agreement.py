"""Whether chains agree: R-hat, and what is said where they do not."""

import dataclasses
import pickle
import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from arviz_stats.base import array_stats
from made_up_traces import simulate, simulate_unknown_n

import gibbs_gmm as gg
from gibbs_gmm.posterior.agreement import Alarm, Kind, alarms, limit, r_hat, run_longer


@pytest.mark.parametrize("kind", ["normal", "heavy tails", "counts", "one chain apart", "scales differ"])
@pytest.mark.parametrize(("C", "T"), [(2, 4), (4, 250), (3, 101)])
def test_r_hat_is_that_of_arviz(kind: str, C: int, T: int) -> None:
    rng = np.random.default_rng([C, T])
    x = rng.standard_normal((6, C, T)).cumsum(-1)
    if kind == "heavy tails":
        x = rng.standard_cauchy((6, C, T))
    elif kind == "counts":
        x = rng.poisson(3.0, (6, C, T)).astype(float)
    elif kind == "one chain apart":
        x[:, 0] += 10.0
    elif kind == "scales differ":
        x[:, 0] *= 20.0
    np.testing.assert_allclose(r_hat(x), array_stats.rhat(x), rtol=1e-12)
    assert r_hat(x[0]) == r_hat(x)[0]


def test_r_hat_where_it_is_not_defined() -> None:
    x = np.random.default_rng(0).standard_normal((2, 10))
    for undefined in (x[:1], x[:, :3], np.ones((2, 10)), 0.1 + np.zeros((2, 10)) + 1e-17 * x):
        assert np.isnan(r_hat(undefined))
    assert r_hat(np.array([[2.0] * 10, [3.0] * 10])) == np.inf


def test_chance_in_short_chains_is_no_disagreement() -> None:
    """Of 2,000 sets of independent draws of each length one or two may exceed its limit; many exceed 1.05."""
    rng = np.random.default_rng(3)
    for C, T in ((2, 5), (4, 10), (4, 30), (10, 60), (4, 1000)):
        found = r_hat(rng.standard_normal((2000 if T < 1000 else 100, C, T)))
        assert (found > limit(C, T)).sum() <= 2
        assert limit(C, T) >= 1.05
    assert (r_hat(rng.standard_normal((100, 4, 10))) > 1.05).mean() > 0.2
    assert limit(4, 1000) == 1.05


# --- Chains that have not met ---


def apart() -> gg.Trace:
    """Chains of which one has 2 clusters and the other 3, in every draw."""
    return simulate_unknown_n(np.repeat([[2], [3]], 50, axis=1))[0]


def said_by(question: Any) -> list[str]:
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        question()
    assert all(entry.filename == __file__ for entry in record)
    return [str(entry.message) for entry in record]


def test_each_answer_that_mixes_chains_says_so_once() -> None:
    trace = apart()
    X = np.zeros((1, 2))
    questions = {
        "partition": trace.partition,
        "credible_ball": trace.credible_ball,
        "predict": lambda: trace.predict(X),
        "sample": lambda: trace.sample(3, rng=1),
    }
    for name, question in questions.items():
        (text,) = said_by(question)
        assert text == (
            f"{name}(): The chains, which start from one cluster, from many and from numbers between, have not met: "
            "R-hat is above 1.16 for n_clusters (stuck at different values), sorted_weight[2] (2.25), sorted_weight[1] "
            "(1.84) and 3 more. The most probable n_clusters of each chain is 2, 3. Chain 1 has rows 0, 3, 6, 9, 12, "
            "15, 18, 21 and 12 more (counted from 0) as a cluster of their own, the other does not. The result mixes "
            "what they found: do not use it. Run longer, until they agree: gg.fit(X, trace.weight_prior, "
            "prior=trace.prior, warmup=4000, draws=1000, thin=1, chains=4)."
        )
        assert said_by(question) == []
    assert said_by(lambda: trace.predict_proba(X)) == []
    assert repr(trace).endswith("; THE CHAINS HAVE NOT MET: do not use this, see summary()>")


def test_what_is_to_be_done_can_be_pasted() -> None:
    X = np.random.default_rng(0).standard_normal((40, 2))
    prior = gg.MixtureOfFiniteMixtures(concentration=2.0)
    trace = gg.fit(X, prior, draws=3, warmup=2, thin=2, chains=2, rng=1, progress=False)
    advice = run_longer(trace).removeprefix("Run longer, until they agree: ").removesuffix(".")
    asked: dict[str, Any] = {}
    eval(
        advice,
        {"gg": SimpleNamespace(fit=lambda *args, **options: asked.update(options, args=args)), "trace": trace, "X": X},
    )
    assert asked == {"args": (X, prior), "prior": trace.prior, "warmup": 4000, "draws": 1000, "thin": 2, "chains": 4}


def test_a_run_that_came_to_its_budget_is_to_be_given_more() -> None:
    X = np.random.default_rng(0).standard_normal((40, 2))
    trace = gg.fit(X, 2, max_sweeps=20, chains=2, rng=1, progress=False)
    assert trace.settings["stopped_by"] == "max_sweeps"
    assert run_longer(trace).endswith("gg.fit(X, trace.weight_prior, prior=trace.prior, max_sweeps=80, chains=4).")


def test_fit_says_it_at_once_and_chains_that_have_met_say_nothing() -> None:
    X = np.random.default_rng(0).standard_normal((500, 6)) + np.where(np.arange(500) % 2, 1.0, -1.0)[:, None]
    quick: dict[str, Any] = {"thin": 1, "chains": 2, "rng": 1, "progress": False}
    (text,) = said_by(lambda: gg.fit(X, draws=12, warmup=0, **quick))
    assert text.startswith("fit(): The chains, which start from one cluster, from many and from numbers between, have")
    good = simulate(T=200)[0]
    assert said_by(good.partition) == said_by(lambda: good.sample(2, rng=1)) == []
    assert good.verdict == ""


def test_resume_says_it_too(tmp_path: Any) -> None:
    X = np.random.default_rng(0).standard_normal((500, 6)) + np.where(np.arange(500) % 2, 1.0, -1.0)[:, None]
    quick: dict[str, Any] = {"thin": 1, "chains": 2, "rng": 1, "progress": False}
    gg.fit(X, draws=12, warmup=0, checkpoint=tmp_path / "run", **quick)
    (text,) = said_by(lambda: gg.resume(tmp_path / "run", progress=False))
    assert text.startswith("resume(): The chains")


# --- Alarms ---


@pytest.mark.filterwarnings("ignore:.*have not met")
def test_alarms_have_kinds_whatever_they_say() -> None:
    good = simulate(T=200)[0]
    cut = dataclasses.replace(good, settings={**good.settings, "interrupted": True})
    for trace, kinds in (
        (good, []),
        (cut, [Kind.INTERRUPTED]),
        (simulate(C=1, T=200)[0], [Kind.ONE_CHAIN]),
        (apart(), [Kind.APART]),
    ):
        summary, posterior = trace.summary(), trace.n_posterior()
        found = alarms((*summary.messages, *posterior.messages))
        assert [alarm.kind for alarm in found] == kinds
        assert all(alarm in (*summary.messages, *posterior.messages) for alarm in found)
    assert alarms(["one chain, interrupted; chains have not met"]) == []


def test_an_alarm_is_a_text_that_survives_pickling() -> None:
    for advice in ("", "Run 4."):
        alarm = pickle.loads(pickle.dumps(Alarm("One chain. ", Kind.ONE_CHAIN, advice)))
        assert (alarm, alarm.kind, alarm.finding) == (f"One chain. {advice}", Kind.ONE_CHAIN, "One chain. ")
