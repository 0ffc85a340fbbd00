"""Tables, figures with targets and the picture, from the runs of ``peers.json``."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import common
from benchmarks.common import Figure
from benchmarks.peers.judge import R_HAT_MET, Summary, verdict
from benchmarks.peers.registry import OURS, SYSTEMS
from benchmarks.peers.runner import Run, summaries

_KIND = {system.name: system.kind for system in SYSTEMS}
_MODELS = {
    "known": ("Known n", "log likelihood"),
    "dp": ("Dirichlet process, concentration 1", "n+"),
    "dp_gamma": ("Dirichlet process with a learned concentration, Gamma(2, 4)", "n+"),
    "mfm": ("Mixture of finite mixtures, each system's default prior", "n+"),
}
_SHOWN_SYSTEMS = (OURS, "R bayesm", "JAGS", "NumPyro NUTS (tuned)", "PyMC NUTS (tuned)")
_SHOWN_DATA = ("iris", "galaxies", "faithful", "thyroid", "N=10,000 D=4 K=10")
_BAYESM_LARGE = "N=100,000 D=8 K=20"
_TELESCOPE_PUBLISHED = 0.06  # effective draws of n+ a second on Iris, measured once on a machine of two cores


def report(content: Mapping[str, Any], folder: Path) -> None:
    """Print all of it, and write it to ``peers.md`` and ``peers.png`` in the folder."""
    runs: list[Run] = content["runs"]
    parts = [
        common.describe(content["environment"]),
        _load(content["load_of_others"]),
        *_versions(runs),
        _titled("Known and unknown n, in short", overview(runs)),
        whole(runs),
        _titled("Milliseconds an iteration, known n", costs(runs)),
        _titled("Figures", figures_table(runs)),
    ]
    text = "\n\n".join(part for part in parts if part)
    print(text)
    (folder / "peers.md").write_text("# Side by side\n\n" + text + "\n", encoding="utf-8")
    if any("axis" in run for run in runs):
        _picture(runs, folder / "peers.png")


def _titled(title: str, table: str) -> str:
    return f"## {title}\n\n{table}" if table else ""


# --- Tables -----------------------------------------------------------------------------------------------------------


def _load(loads: Iterable[float | None]) -> str:
    known = sorted(load for load in loads if load is not None)
    if not known:
        return ""
    middle, most = statistics.median(known), known[-1]
    return f"Of the machine, other processes took {middle:.0%} (median over runs; at most {most:.0%})."


def _versions(runs: list[Run]) -> list[str]:
    versions = {run["system"]: run["version"] for run in runs if "version" in run}
    missing = {run["system"]: run["failed"] for run in runs if run.get("failed", "").startswith("not installed")}
    said = ["Systems: " + "; ".join(f"{name} ({version})" for name, version in versions.items()) + "."]
    return said + [f"Skipped: {name}, {reason}." for name, reason in missing.items()]


def reference_of(runs: list[Run], case: str, model: str) -> dict[str, Summary]:
    """The long run that answers are compared with."""
    for run in runs:
        if run.get("reference") and run["case"] == case and run["model"] == model:
            return summaries(run)
    return {}


def answer(run: Run, runs: list[Run]) -> str:
    """Whether it agrees with the reference, or where it ended."""
    if "failed" in run:
        return str(run["failed"])
    found, reference = summaries(run), reference_of(runs, run["case"], run["model"])
    if not found or not reference:
        return str(run["note"]) if not found else "no reference"
    if run["model"] == "mfm" and run["system"] != OURS:
        likeliest = max(range(len(run["p_n_clusters"])), key=lambda t: run["p_n_clusters"][t])
        worst = max(summary.r_hat for summary in found.values())
        met = "" if worst <= R_HAT_MET else f"; chains did not meet (R-hat {worst:.2f})"
        return f"another prior: n+ = {likeliest + 1} with {run['p_n_clusters'][likeliest]:.2f}{met}"
    said = verdict(found, reference)
    if _KIND[run["system"]] == "variational":
        gaps = []
        for name in ("log likelihood", "n+"):
            if name in found and reference.get(name) and reference[name].sd > 0.0:
                gap = (found[name].mean - reference[name].mean) / reference[name].sd
                gaps.append(f"{name} {gap:+.1f} sd off, with {found[name].sd / reference[name].sd:.2f} of its sd")
        return "; ".join([*gaps, run["note"]])
    return said


def rates(run: Run) -> dict[str, float]:
    """Effective draws a second of each quantity that varies."""
    return {name: s.ess / run["seconds"] for name, s in summaries(run).items() if s.sd > 0.0}


def whole(runs: list[Run]) -> str:
    """All tables of systems on data sets."""
    found = (_titled(title, _answers(runs, model, quantity)) for model, (title, quantity) in _MODELS.items())
    return "\n\n".join(table for table in found if table)


def figures_table(runs: list[Run]) -> str:
    """The figures with their targets."""
    return common.table(["figure", "target", "measured", "", "note"], [figure.row() for figure in figures(runs)])


def overview(runs: list[Run]) -> str:
    """Effective draws a second, a row for each system and model and a column for each data set."""
    chosen = [r for r in runs if "axis" not in r and not r.get("reference") and _KIND[r["system"]] == "exact"]
    chosen = [r for r in chosen if not r.get("failed", "").startswith("not installed")]
    data = list(dict.fromkeys(run["case"] for run in chosen))
    rows = []
    for model, (title, quantity) in _MODELS.items():
        for system in dict.fromkeys(run["system"] for run in chosen if run["model"] == model):
            of = {run["case"]: run for run in chosen if run["model"] == model and run["system"] == system}
            cells = [_in_short(of[name], quantity, runs) if name in of else "-" for name in data]
            rows.append([title.split(",")[0], quantity, system, *cells])
    return common.table(["model", "ESS/s of", "system", *data], rows) if rows else ""


def shortest(runs: list[Run]) -> str:
    """A few systems on a few data sets with n known: what a reader of the README wants to know."""
    chosen = [run for run in runs if run.get("model") == "known" and not run.get("reference") and "axis" not in run]
    rows = []
    for system in _SHOWN_SYSTEMS:
        of = {run["case"]: run for run in chosen if run["system"] == system}
        cells = [_in_short(of[name], "log likelihood", runs) if name in of else "-" for name in _SHOWN_DATA]
        rows.append([system, *cells])
    return common.table(["system", *_SHOWN_DATA], rows)


def _in_short(run: Run, quantity: str, runs: list[Run]) -> str:
    said = answer(run, runs)
    if "failed" in run:
        return "fails" if said.startswith("exit") else said
    if "did not meet" in said:
        return "apart"
    rate = rates(run).get(quantity)
    return _number(rate) + (" (differs)" if said.startswith("differs") else "") if rate else "-"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10.0 else f"{value:.2g}"


def _answers(runs: list[Run], model: str, quantity: str) -> str:
    chosen = [r for r in runs if r.get("model") == model and "axis" not in r and not r.get("reference")]
    rows = []
    for run in (r for r in chosen if not r.get("failed", "").startswith("not installed")):
        row = [run["case"], run["system"]]
        if "failed" in run:
            rows.append([*row, *["-"] * 6, run["failed"]])
            continue
        rate = rates(run) if _KIND[run["system"]] == "exact" else {}
        slowest = min(rate, key=lambda name: rate[name]) if rate else ""
        hat = max((s.r_hat for s in summaries(run).values()), default=float("nan")) if rate else float("nan")
        rows.append(
            [
                *row,
                f"{run['first_draw_seconds']:.1f} s",
                f"{run['warmup_seconds']:.2g} s",
                _time(run["seconds"] / run["iterations"]),
                _number(rate[quantity]) if quantity in rate else "-",
                f"{_number(rate[slowest])} ({slowest})" if rate else "-",
                f"{hat:.3f}" if rate else "-",
                answer(run, runs),
            ]
        )
    header = [
        "data",
        "system",
        "first draw",
        "warm-up",
        "iteration",
        f"ESS/s of {quantity}",
        "least ESS/s",
        "R-hat",
        "answer",
    ]
    return common.table(header, rows) if rows else ""


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def costs(runs: list[Run]) -> str:
    """A row for each size, a column for each system."""
    chosen = [run for run in runs if "axis" in run and not run.get("failed", "").startswith("not installed")]
    names = [system.name for system in SYSTEMS if any(run["system"] == system.name for run in chosen)]
    cells: dict[str, dict[str, str]] = {}
    for run in chosen:
        text = (
            str(run["failed"]).split(" at ")[0]
            if "failed" in run
            else _milliseconds(1e3 * run["seconds"] / run["iterations"])
        )
        cells.setdefault(run["case"], {})[run["system"]] = text
    if not cells:
        return ""
    return common.table(["", *names], [[case, *(row.get(name, "-") for name in names)] for case, row in cells.items()])


def _milliseconds(value: float) -> str:
    return f"{value:,.0f}" if value >= 100.0 else f"{value:.3g}"


# --- Figures ----------------------------------------------------------------------------------------------------------


def _one(runs: list[Run], **what: Any) -> Run | None:
    for run in runs:
        if (
            all(run.get(key) == value for key, value in what.items())
            and not run.get("reference")
            and "failed" not in run
        ):
            return run
    return None


def figures(runs: list[Run]) -> list[Figure]:
    """What this package is to reach beside others."""
    found = []
    for what, target in (({"case": "iris", "model": "known"}, 6), ({"case": _BAYESM_LARGE}, 20)):
        ours, peer = (_one(runs, system=name, **what) for name in (OURS, "R bayesm"))
        if ours and peer:
            each = [run["seconds"] / run["iterations"] for run in (peer, ours)]
            note = f"{_time(each[0])} against {_time(each[1])}"
            title = f"a sweep of R bayesm / a sweep, {what['case']}"
            found.append(Figure(title, target, True, each[0] / each[1], "times", note))
    for name in ("NumPyro NUTS", "PyMC NUTS", "NumPyro NUTS (tuned)", "PyMC NUTS (tuned)"):
        ours, peer = (_one(runs, case="iris", model="known", system=system) for system in (OURS, name))
        if ours and peer:
            rate = [rates(run)["log likelihood"] for run in (ours, peer)]
            note = f"{rate[0]:,.0f} against {rate[1]:.3g}"
            title = f"iris, n = 3, ESS/s of the log likelihood / that of {name}"
            note += "" if answer(peer, runs) == "agrees" else "; whose " + answer(peer, runs)
            found.append(Figure(title, 100, True, rate[0] / rate[1], "times", note))
    ours = _one(runs, case="iris", model="mfm", system=OURS)
    if ours:
        peer = _one(runs, case="iris", model="mfm", system="R telescope")
        theirs = rates(peer)["n+"] if peer else _TELESCOPE_PUBLISHED
        note = f"{rates(ours)['n+']:,.0f} against {theirs:.3g}" + ("" if peer else ", measured earlier")
        title = "iris, unknown n, ESS/s of n+ / that of R telescope"
        found.append(Figure(title, 1000, True, rates(ours)["n+"] / theirs, "times", note))
    faster, compared = faster_peers(runs)
    title = "configurations where a peer with the same answer is faster"
    note = f"of {compared} where the answer is the same" + "".join(f"; {name}" for name in faster)
    found.append(Figure(title, 0, False, len(faster), "", note))
    return found


def faster_peers(runs: list[Run]) -> tuple[list[str], int]:
    """Where a system with the same answer is faster, by effective draws or by the cost of a Gibbs sweep; of how many.

    Systems whose chains have not met, or met elsewhere, and those with a prior of their own are not compared.
    """
    faster, compared = [], 0
    for peer in runs:
        if peer["system"] == OURS or "failed" in peer or _KIND[peer["system"]] != "exact":
            continue
        same = {key: peer[key] for key in ("case", "model", "axis") if key in peer}
        ours = _one(runs, system=OURS, **same)
        if ours is None:
            continue
        if "axis" in peer:
            compared += 1
            if peer["seconds"] / peer["iterations"] < ours["seconds"] / ours["iterations"]:
                faster.append(f"{peer['system']}, {peer['case']}: an iteration")
        elif answer(peer, runs) == "agrees":
            compared += 1
            theirs, rate = rates(peer), rates(ours)
            slower = [name for name in theirs if name in rate and theirs[name] > rate[name]]
            faster += [f"{peer['system']}, {peer['case']}, {peer['model']}: {name}" for name in slower]
    return faster, compared


def _picture(runs: list[Run], path: Path) -> None:
    """The cost of an iteration against N, D and K."""
    from matplotlib.figure import Figure as Canvas

    axes_of = [axis for axis in ("N", "D", "K") if sum("axis" in run and run["axis"] == axis for run in runs) > 0]
    fixed = {"N": "D = 8, K = 20", "D": "N = 10,000, K = 10", "K": "N = 100,000, D = 4"}
    canvas = Canvas(figsize=(4.0 * len(axes_of), 4.2), layout="constrained")
    panels = canvas.subplots(1, len(axes_of), squeeze=False)[0]
    names = [system.name for system in SYSTEMS if system.costs]
    for panel, axis in zip(panels, axes_of, strict=True):
        for i, name in enumerate(names):
            chosen = [r for r in runs if r.get("axis") == axis and r["system"] == name and "failed" not in r]
            if chosen:
                chosen.sort(key=lambda run: run[axis])
                x, y = [r[axis] for r in chosen], [1e3 * r["seconds"] / r["iterations"] for r in chosen]
                style = {"lw": 2.5, "color": "black", "zorder": 3} if name == OURS else {"lw": 1.2, "color": f"C{i}"}
                panel.plot(x, y, marker="o", ms=4, label=name, **style)
        panel.set(xscale="log", yscale="log", xlabel=axis, title=f"against {axis} ({fixed[axis]})")
        if axis != "N":
            ticks = sorted({run[axis] for run in runs if run.get("axis") == axis})
            panel.set_xticks(ticks, [str(tick) for tick in ticks])
            panel.minorticks_off()
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("ms an iteration, one core")
    handles, labels = panels[0].get_legend_handles_labels()
    canvas.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    canvas.savefig(path, dpi=110)
