"""A known n that may rise on the way: the posterior given n stays what it is, by enumeration, and modes are left."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import oracle
import pytest
from harness import package_prior, some_niw
from oracle import Finite
from test_exactness import NEAL, NEAL_NIW, assert_posterior, run
from test_until import require_same

import gibbs_gmm as gg
from benchmarks import common
from gibbs_gmm.kernels.sampler import sweep
from gibbs_gmm.sampler import recipe, tuning
from gibbs_gmm.sampler.chain import Chain

MIN_SHARE = 0.05  # of all sweeps, at a larger n


@pytest.fixture
def everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """n may rise whatever the number of columns, and often."""
    monkeypatch.setattr(recipe, "_MANY_COLUMNS", 1)
    monkeypatch.setattr(tuning, "_EXCURSIONS", (0.7, 1.0))


def share_away(trace: gg.Trace) -> list[float]:
    """Sweeps of each chain at a larger n, for each that counts."""
    counted = trace.settings["warmup"] + trace.settings["draws"] * trace.settings["thin"]
    return [chain["sweeps_at_larger_n"] / counted for chain in trace.settings["split_merge"]]


@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize(("n", "alpha"), [(2, 1.0), (3, 1.0), (3, 0.3)])
def test_the_posterior_given_n_is_exact(n: int, alpha: float) -> None:
    trace = run(NEAL, n, alpha, NEAL_NIW)
    assert min(share_away(trace)) > MIN_SHARE
    assert trace.weights.shape[-1] == n
    assert (trace.n_components == n).all()
    np.testing.assert_allclose(trace.weights.sum(-1), 1.0, rtol=1e-12)
    assert_posterior(trace, oracle.enumerate_posterior(NEAL, NEAL_NIW, Finite(n, alpha)))


def test_it_is_exact_in_many_columns_by_default() -> None:
    rng = np.random.default_rng(3)
    X = np.where(np.arange(7) % 2, 1.0, -1.0)[:, None] + rng.standard_normal((7, 8))
    niw = some_niw(8, 11.0)
    trace = run(X, 2, 1.0, niw, thin=16)
    assert min(share_away(trace)) > 0.0
    assert_posterior(trace, oracle.enumerate_posterior(X, niw, Finite(2, 1.0)))


@pytest.mark.usefixtures("everywhere")
def test_threads_folders_and_interruptions_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    X = np.random.default_rng(1).standard_normal((30, 2))
    settings: dict[str, Any] = {"draws": 60, "warmup": 40, "thin": 3, "chains": 2, "rng": 4, "progress": False}
    whole = gg.fit(X, 2, threads=2, **settings)
    require_same(whole, gg.fit(X, 2, threads=1, **settings))
    monkeypatch.setattr("gibbs_gmm.sampler.chain._BATCH_SECONDS", 1e-9)  # a draw a batch
    monkeypatch.setattr("gibbs_gmm.storage.run_folder._SECONDS", 0.0)
    require_same(whole, gg.fit(X, 2, **settings))
    honest, count = Chain.advance, 0

    def stop(self: Chain, *store: Any) -> int:
        nonlocal count
        count += 1
        if count > 110:
            raise KeyboardInterrupt
        return honest(self, *store)

    with monkeypatch.context() as patch:
        patch.setattr(Chain, "advance", stop)
        with pytest.warns(UserWarning, match="interrupted"):
            gg.fit(X, 2, threads=1, checkpoint=tmp_path / "run", **settings)
    require_same(whole, gg.resume(tmp_path / "run", progress=False))


@pytest.mark.usefixtures("everywhere")
def test_a_chain_that_is_lost_is_called_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three clusters far apart, n = 2, and a p(n) that is not tilted: the chain comes back all the same."""
    monkeypatch.setattr(tuning, "_GAIN", 0.0)
    X = np.concatenate([np.random.default_rng(m).normal(20.0 * m, 0.5, (40, 2)) for m in range(3)])
    settings: dict[str, Any] = {"prior": package_prior(some_niw(2)), "draws": 50, "warmup": 50, "thin": 1, "rng": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trace = gg.fit(X, 2, chains=2, progress=False, **settings)
    away = [chain["sweeps_at_larger_n"] for chain in trace.settings["split_merge"]]
    assert max(away) > sweep._LOST
    assert max(away) < 2 * sweep._LOST
    assert trace.log_likelihood.shape == (2, 50)


@pytest.mark.slow
def test_wine_with_three_components() -> None:
    """Plain sweeps leave each chain in a mode of its own; here all are at the highest, and agree."""
    X = common.data_set("wine")[0]
    prior = gg.NormalInverseWishart(X.mean(0), 0.05, 15.0, 0.2 * np.diag(X.var(0, ddof=1)))
    trace = gg.fit(X, 3, prior=prior, chains=8, rng=1, max_sweeps=200_000, progress=False)
    assert trace.settings["stopped_by"] == "converged"
    assert trace._why_apart is None
