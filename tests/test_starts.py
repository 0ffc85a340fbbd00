"""Where chains of very many rows start: from a run with some of them, which decides nothing but that."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_until import require_same

import gibbs_gmm as gg
from gibbs_gmm import fitting
from gibbs_gmm.sampler import starts
from gibbs_gmm.sampler.chain import Chain

RNG = np.random.default_rng(8)
X = np.concatenate([RNG.normal(m, 1.0, (150, 2)) for m in (-20.0, 0.0, 20.0)])


@pytest.fixture(autouse=True)
def very_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """These rows count as very many."""
    monkeypatch.setattr(starts, "_VERY_MANY", 450)
    monkeypatch.setattr(starts, "_FEWEST", 90)
    monkeypatch.setattr(starts, "_SWEEPS", 300)


def fit(n: Any = None, **settings: Any) -> gg.Trace:
    return gg.fit(X, n, **{"chains": 2, "rng": 3, "progress": False, "thin": 1, "draws": 20, "warmup": 10, **settings})


@pytest.mark.parametrize("family", ["full", "tied", "diag", "spherical"])
def test_a_chain_starts_from_the_clusters_of_a_sample(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first draw has the three clusters, from 1 and from 20, without a sweep of warm-up over all rows."""
    trace = fit(covariance_type=family, warmup=0)
    assert set(trace.n_clusters[:, 0]) <= {3, 4}
    for centre in (-20.0, 0.0, 20.0):
        assert (np.nanmin(abs(trace.means[:, 0, :, 0] - centre), axis=-1) < 1.0).all()
    monkeypatch.setattr(starts, "_VERY_MANY", 451)
    one, many = fit(covariance_type=family, warmup=0).n_clusters[:, 0]
    assert one < 3
    assert many > 4


def test_chains_look_at_samples_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[Chain] = []
    honest = fitting.chains_of
    monkeypatch.setattr(fitting, "chains_of", lambda *given, **named: built.extend(honest(*given, **named)) or built)
    fit(3)
    samples = [chain.first.data.X for chain in built if chain.first is not None]
    assert [len(sample) for sample in samples] == [90, 90]
    assert not np.array_equal(*samples)
    every = {tuple(row) for row in X}
    assert all(tuple(row) in every for row in np.concatenate(samples))


@pytest.mark.parametrize("n", [3, None, gg.DirichletProcess()])
def test_threads_and_folders_change_nothing(n: Any, tmp_path: Path) -> None:
    trace = fit(n)
    require_same(trace, fit(n, threads=1))
    require_same(trace, fit(n, checkpoint=tmp_path / "run"))


class Killed(BaseException):
    """Ends a process as a kill would, as far as files can tell."""


@pytest.mark.parametrize("after", [1, 5, 40])
def test_a_run_that_is_killed_goes_on_to_the_same_draws(
    after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the run with some of the rows, whose work is done again, and behind it."""
    monkeypatch.setattr("gibbs_gmm.sampler.chain._BATCH_SECONDS", 0.0)  # a sweep at a time
    monkeypatch.setattr("gibbs_gmm.storage.run_folder._SECONDS", 0.0)
    calls, honest = 0, Chain.advance

    def advance(self: Chain, store: Any) -> int:
        nonlocal calls
        calls += self.first is not None
        if calls == after:
            raise Killed
        return honest(self, store)

    with monkeypatch.context() as patch:
        patch.setattr(Chain, "advance", advance)
        with pytest.raises(Killed):
            fit(checkpoint=tmp_path / "run", threads=1)
    shutil.copytree(tmp_path / "run", tmp_path / "other")
    whole = fit()
    require_same(whole, gg.resume(tmp_path / "run", progress=False))
    require_same(whole, fit(checkpoint=tmp_path / "other"))


def test_the_rows_that_are_started_from_are_said() -> None:
    from gibbs_gmm.sampler.progress import Progress

    built: list[Chain] = []

    class Stopped(Exception):
        pass

    def stop(chains: list[Chain], *_: Any, **__: Any) -> None:
        built.extend(chains)
        raise Stopped

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "run", stop)
        with pytest.raises(Stopped):
            fit()
    progress = Progress(False)
    progress.begin(built)
    assert progress._phase() == "2 chains, starting from 90 of the 450 rows each"
    while built[0].sweeps_done == 0:
        built[0].advance(None)
    assert "starting" in progress._phase()  # the other chain does not yet
    while built[1].sweeps_done == 0:
        built[1].advance(None)
    assert "warm-up" in progress._phase()
