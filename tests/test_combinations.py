"""What fit() is told of rows, two things at a time: it works, or is refused by name before anything is sampled.

Known kinds among rows that are not known in full are drawn by a pass of their own (kernels/sampler/latent.py); it is
held to exact invariance and enumeration here. RATE is the probability with which each test of these fails although all
is well.
"""

import itertools
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import oracle
import pytest
from commands import SHORT, complaints
from harness import assert_p_values, assert_same_draws, assert_within_mcse, package_prior, some_niw
from latent_stories import LatentStory, p_values, some_gaps
from oracle import Floats, Ints
from scipy import stats
from tagged import enumerate_tagged

import gibbs_gmm as gg
from gibbs_gmm import checks
from gibbs_gmm.command_line.cli import main
from gibbs_gmm.sampler import device

RATE = 1e-4

# --- Known kinds of rows that are not known in full: exact invariance, and enumeration ---

TAGS = np.array([-1, -1, 0, 0, 1, -1, -1, -1])  # rows 0 and 1 have no gaps
WEIGHTS = {
    "finite": gg.FiniteMixture(3, concentration=0.8),
    "mixture of finite mixtures": gg.MixtureOfFiniteMixtures(
        n_prior=stats.randint(1, 6), concentration=0.9, dynamic=False
    ),
    "process": gg.DirichletProcess(concentration=0.8),
}


@pytest.mark.parametrize(
    ("family", "weights", "with_errors"),
    [
        ("full", "finite", False),
        ("full", "mixture of finite mixtures", False),
        ("full", "process", False),
        ("full", "finite", True),
        ("diag", "finite", False),
        ("diag", "mixture of finite mixtures", True),
    ],
)
def test_known_kinds_with_gaps_and_errors_leave_the_prior_invariant(
    family: str, weights: str, with_errors: bool
) -> None:
    N, D = len(TAGS), 2
    gaps = some_gaps(N, D, 0.8)
    assert gaps[TAGS >= 0].any(1).sum() >= 2
    errors = np.random.default_rng(1).random((N, D)) if with_errors else None
    assert_p_values(p_values(LatentStory(family, WEIGHTS[weights], gaps, errors, TAGS)), RATE)


def enumerated(X: Floats, tags: Ints, niw: oracle.NIW, prior: oracle.WeightPrior) -> Floats:
    """p(z_i = z_j | what was observed, known kinds), by quadrature over the one missing value."""
    row, column = np.argwhere(np.isnan(X))[0]
    evidence, together = [], []
    for value in np.linspace(-12.0, 12.0, 150):
        full = X.copy()
        full[row, column] = value
        exact = enumerate_tagged(full, niw, prior, tags)
        first = exact.z[0]  # the same partition for each value: its joint over its probability is the evidence
        joint = sum(oracle.log_marginal(full[first == k], niw) for k in np.unique(first))
        evidence.append(joint - np.log(exact.probability[0]))
        together.append(np.tensordot(exact.probability, exact.z[:, :, None] == exact.z[:, None, :], axes=1))
    p = np.exp(np.array(evidence) - max(evidence))
    return np.tensordot(p / p.sum(), np.array(together), axes=1)


@pytest.mark.parametrize("name", ["finite", "mixture of finite mixtures"])
def test_known_kinds_with_a_gap_have_their_posterior(name: str) -> None:
    niw, tags = some_niw(2, 4.0), np.array([0, 1, -1, -1, -1])
    X = np.where(np.arange(5) % 2, 1.0, -1.0)[:, None] + np.random.default_rng(5).standard_normal((5, 2))
    X[1, 0] = np.nan  # a row of a known kind
    prior = oracle.Finite(3, 0.8) if name == "finite" else oracle.StaticMFM(0.9, np.full(5, 0.2))
    together = enumerated(X, tags, niw, prior)
    settings = {"draws": 10_000, "warmup": 200, "thin": 4, "rng": 20, "threads": 1, "progress": False}
    trace = gg.fit(X, WEIGHTS[name], prior=package_prior(niw), labels=tags, **settings)
    z = trace.assignments
    assert z is not None
    assert (z[..., :2] == [0, 1]).all()
    for i, j in itertools.combinations(range(5), 2):
        if tags[j] < 0:
            assert_within_mcse(z[..., i] == z[..., j], together[i, j], min_ess=3000, name=f"p(z_{i} = z_{j})")


# --- Every two things that fit() may be told ---

N = 24
RUN: dict[str, Any] = {"draws": 20, "warmup": 20, "thin": 1, "chains": 2, "rng": 1, "progress": False}
ROWS = ("gaps", "errors", "counts", "labels", "outliers")
WAYS: dict[str, dict[str, Any]] = {
    "tied": {"covariance_type": "tied"},
    "diag": {"covariance_type": "diag"},
    "spherical": {"covariance_type": "spherical"},
    "finite": {"n_components": gg.FiniteMixture(3)},
    "learned concentration": {"n_components": gg.FiniteMixture(3, stats.gamma(2.0))},
    "static": {"n_components": gg.MixtureOfFiniteMixtures(dynamic=False)},
    "Dirichlet process": {"n_components": gg.DirichletProcess()},
    "Pitman-Yor": {"n_components": gg.PitmanYorProcess()},
    "no assignments": {"save_assignments": False},
    "threads": {"threads": 2},
}
REFUSED = {
    **{("counts", name): "counts cannot be given together with" for name in ("labels", "outliers")},
    ("gaps", "counts"): "X must have all of its values where counts are given",
    ("errors", "counts"): "counts cannot be given together with",
    ("gaps", "outliers"): "X must have all of its values beside outliers=",
    ("errors", "outliers"): "errors must be None beside outliers=",
}


def told(*names: str) -> tuple[Floats, dict[str, Any]]:
    """Rows of two kinds, and what fit() is told of them."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((N, 2)) + 6.0 * (np.arange(N) % 2)[:, None]
    settings: dict[str, Any] = {}
    for name in names:
        if name == "gaps":
            X[::5, 0] = np.nan
        elif name == "errors":
            settings["errors"] = 0.1 + 0.1 * rng.random((N, 2))
        elif name == "counts":
            settings["counts"] = np.arange(N) % 4
        elif name == "labels":
            settings["labels"] = ["odd" if i % 2 else "even" for i in range(6)] + [""] * (N - 6)
        elif name == "outliers":
            settings["outliers"] = 0.1
        else:
            settings |= WAYS[name]
    return X, settings


def ask_everything(trace: gg.Trace, X: Floats, settings: dict[str, Any], folder: Path) -> None:
    """What a trace can be asked works, or is refused by name."""
    kept = settings.get("save_assignments", True)
    some, outliers = X[:5], "outliers" in settings
    assert str(trace.summary())
    assert str(trace.n_posterior())
    for method in (trace.log_density, trace.predict, trace.predict_proba):
        assert np.isfinite(method(some)).all()
        assert len(method(some, errors=[0.1, 0.2])) == 5
    assert trace.pointwise_log_density(some).shape == (2, 20, 5)
    assert trace.sample(3, rng=1).shape == (3, 2)
    gap = np.where(np.arange(2) == 0, np.nan, X[1:2])
    filled = trace.impute(np.concatenate([some, gap]))
    assert np.isfinite(filled.mean).all()
    assert np.isfinite(filled.draws(2, rng=1)).all()
    if outliers:
        with pytest.raises(ValueError, match="fit without outliers="):
            trace.conditional({"x0": 1.0})
        assert len(trace.outlier_probability(some)) == 5
    else:
        assert np.isfinite(trace.conditional({"x0": [1.0, 2.0]}).mean()).all()
        with pytest.raises(ValueError, match="outlier_probability needs a fit that allows outliers"):
            trace.outlier_probability()
    trace.save(folder / "trace")
    assert_same_draws(gg.load(next(folder.glob("trace*"))), trace)
    assert len(trace.to_dataframe()) > 0
    if not kept:
        with pytest.raises(ValueError, match="assignments"):
            trace.partition()
        return
    rows = np.count_nonzero(settings["counts"]) if "counts" in settings else N
    partition = trace.partition()
    assert partition.labels.shape == (rows,)
    assert trace.similarity().shape == (rows, rows)
    assert trace.credible_ball().radius >= 0.0
    assert len(trace.merged().n_clusters) > 0
    if "counts" in settings:
        with pytest.raises(ValueError, match="a trace with counts cannot be checked"):
            trace.check(X)
    else:
        assert isinstance(trace.check(X).messages, tuple)
    if outliers:
        assert trace.outlier_probability().shape == (rows,)
    if "labels" in settings:
        assert trace.label_names == ("even", "odd")
        assert (trace.assignments[..., :6] == np.arange(6) % 2).all()
        assert (partition.labels[:6] == np.arange(6) % 2).all()


@pytest.mark.parametrize(
    "names", [*itertools.combinations(ROWS, 2), *itertools.product(ROWS, WAYS)], ids=lambda names: " and ".join(names)
)
def test_two_things_work_or_are_refused(
    names: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, settings = told(*names)
    if names in REFUSED:
        monkeypatch.delattr("gibbs_gmm.fitting.chains_of")  # nothing is sampled
        with warnings.catch_warnings(action="error"), pytest.raises(ValueError, match=REFUSED[names]):
            gg.fit(X, **settings, **RUN)
        return
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # the chains are short
        ask_everything(gg.fit(X, **(RUN | settings)), X, settings, tmp_path)


@pytest.mark.parametrize("names", [("gaps", "labels"), ("errors", "labels"), ("labels", "outliers")])
def test_runs_are_carried_on_byte_for_byte(names: tuple[str, str], tmp_path: Path) -> None:
    X, settings = told(*names)
    with warnings.catch_warnings(action="ignore", category=UserWarning):
        whole = gg.fit(X, **settings, **RUN)
        gg.fit(X, **settings, **(RUN | {"draws": 7}), checkpoint=tmp_path / "run")
        assert_same_draws(gg.resume(tmp_path / "run", draws=20, progress=False), whole)
        with pytest.raises(ValueError, match="labels"):
            gg.fit(X, **(settings | {"labels": [*settings["labels"][:-1], "odd"]}), **RUN, checkpoint=tmp_path / "run")


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["cat", "dog", "Cat "], r"differ in capitals or spaces only: 'Cat '/'cat'\. They are taken as different"),
        (list(range(N)), f"labels has {N} kinds for {N} rows"),
        ([0, 1, 2, 3], ""),
    ],
)
def test_labels_that_may_be_meant_otherwise(labels: list[Any], said: str) -> None:
    X, _ = told()
    labels = labels + [None] * (N - len(labels))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gg.fit(X, labels=labels, **(RUN | {"draws": 1, "warmup": 0, "chains": 1}))
    about = [str(warning.message) for warning in caught if str(warning.message).startswith("labels")]
    assert len(about) == (1 if said else 0)
    assert not said or re.search(said, about[0])


# --- Rows elsewhere ---


def refused_elsewhere(monkeypatch: pytest.MonkeyPatch, X_of: Any, more: dict[str, str], **where: Any) -> None:
    """What is told of rows that are not on this machine is refused by name, before anything is sampled."""
    matches = {
        "counts": "counts cannot be given together with .* rows on a cluster or a GPU",
        **{name: f"{name} cannot be given for rows on a cluster or a GPU" for name in ("labels", "outliers")},
        **more,
    }
    monkeypatch.delattr("gibbs_gmm.fitting.chains_of")
    for name, match in matches.items():
        X, settings = told(name)
        with pytest.raises(ValueError, match=match):
            gg.fit(X_of(X), **settings, **RUN, **where)


def test_rows_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    class Store(device.Device):
        """Rows on a GPU, as far as what is refused looks at them."""

        def __init__(self, X: Any) -> None:
            self.X, self.columns = checks.table(X)

    monkeypatch.setattr(device, "Device", Store)
    exact = {
        "gaps": "X must have all of its values where the rows are on a GPU",
        "errors": "errors must be None where the rows are on a GPU",
    }
    refused_elsewhere(monkeypatch, np.asarray, exact, device="cuda")
    with pytest.raises(ValueError, match="on this machine, and client= or a Dask array puts them on others"):
        gg.fit(np.zeros((5, 2)), device="cuda", client=object())


def test_rows_on_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    da, distributed = pytest.importorskip("dask.array"), pytest.importorskip("distributed")
    settings = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None, "processes": False}
    with warnings.catch_warnings(action="ignore"), distributed.Client(**settings):  # warnings of Dask's own
        refused_elsewhere(monkeypatch, da.from_array, {})


@pytest.mark.parametrize("function", [gg.log_evidence, gg.compare])
def test_evidences_are_of_exact_rows(function: Any) -> None:
    X, _ = told("gaps")
    with pytest.raises(ValueError, match=r"X must be finite, got 5 missing values \(NaN\)"):
        function(X, 2)
    for name in ("counts", "errors", "labels", "outliers"):
        X, settings = told(name)
        with pytest.raises(TypeError, match=rf"{function.__name__}\(\) has no argument '{name}'"):
            function(X, 2, **settings)


# --- The command line ---


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("gaps", "labels"), ""),
        (("gaps", "diag"), ""),
        (("labels", "tied"), ""),
        (("labels", "outliers"), ""),
        (("outliers", "spherical"), ""),
        (("counts", "diag"), ""),
        (("gaps", "outliers"), "X must have all of its values beside outliers="),
        (("gaps", "counts"), "X must have all of its values where counts are given"),
        (("counts", "labels"), "counts cannot be given together with"),
        (("counts", "outliers"), "counts cannot be given together with"),
    ],
    ids=lambda value: " and ".join(value) if isinstance(value, tuple) else "",
)
@pytest.mark.usefixtures("fresh_folder", "no_pictures")
def test_the_report_of_two_things(names: tuple[str, str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    X, settings = told(*names)
    cells = [[f"{x:.6f}" if np.isfinite(x) else "" for x in row] for row in X]
    options = [*SHORT, "--components", "3"]
    header = ["a", "b"]
    for name in ("labels", "counts"):
        if name in names:
            header.append(name)
            options += [f"--{name}", name]
            cells = [[*row, str(value)] for row, value in zip(cells, settings[name], strict=True)]
    options += ["--outliers"] if "outliers" in names else []
    options += ["--covariance-type", names[1]] if names[1] in WAYS else []
    Path("some.csv").write_text("\n".join(map(",".join, [header, *cells])) + "\n", encoding="utf-8")
    code = main(["fit", "some.csv", *options])
    error = complaints(capsys.readouterr().err)
    assert code == (2 if said else 0), error
    if said:
        assert said in " ".join(error.split())
        assert not Path("some-run/draws").exists()
        return
    report = Path("some-run/report.html").read_text(encoding="utf-8")
    assert "nan" not in report.lower().replace("dominan", "").replace("financ", "")
    if "labels" in names:
        assert "0 is even and 1 is odd, as known for some rows" in report
    if "gaps" in names:
        assert "values are missing" in report
