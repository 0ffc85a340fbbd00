"""The report in a real browser, where one is installed: nothing sticks out of the page or is lost on paper."""

import html
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from made_up_traces import simulate

from gibbs_gmm.command_line.findings import find
from gibbs_gmm.command_line.output_folder import Command
from gibbs_gmm.command_line.report import pictures, render

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next((found for found in map(shutil.which, _NAMES) if found), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no browser is installed")

# What the page says of itself, with all folds open, to the page that frames it: what lies outside of it, and whether
# what scrolls can be scrolled to its end.
_ASK = """<script>
window.addEventListener("load", function () {
  document.querySelectorAll("details").forEach(function (fold) { fold.open = true; });
  var width = document.documentElement.clientWidth, outside = [], empty = [];
  document.querySelectorAll("body *").forEach(function (element) {
    var box = element.getBoundingClientRect(), scroll = element.closest(".scroll,.wide");
    if (scroll && scroll !== element) { return; }
    if (box.right > width + 0.5 || box.left < -0.5) { outside.push(element.tagName + "." + element.className); }
  });
  document.querySelectorAll("img").forEach(function (image) {
    if (!image.complete || image.naturalWidth === 0 || image.width < 100) { empty.push(image.alt); }
  });
  var say = [width, document.documentElement.scrollWidth, outside.join(";"), empty.join(";")];
  parent.postMessage(say.join("|"), "*");
});
</script>"""
_FRAME = """<!DOCTYPE html><body><script>
window.addEventListener("message", function (event) { document.body.setAttribute("data-said", event.data); });
</script><iframe src="report.html" width="WIDTH" height="900" style="border: 0"></iframe></body>"""


def browse(folder: Path, *arguments: str) -> str:
    command = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


@pytest.fixture(scope="module")
def report() -> str:
    """Twelve clusters in thirteen columns with long names, and a column that was left out."""
    trace, X = simulate(C=2, T=20, K=12, D=13, N=240)
    names = tuple(f"column_{d}_with_a_name_that_is_very_long" for d in range(13))
    object.__setattr__(trace, "columns", names)
    z = trace.assignments.copy()
    z[:, :8, :30] = (z[:, :8, :30] + 1) % 12  # some rows are in doubt
    object.__setattr__(trace, "assignments", z)
    found = find(trace, X, {"kind": np.array(["one", "another", "a third kind"])[np.arange(240) % 3].tolist()})
    command = Command("a/rather/long/path/to/" + "x" * 80 + ".csv", ("fit", "x" * 200), {"kind": "text ('one', ...)"})
    return render(found, pictures(found), command, {"clusters.csv": "row,cluster\n"})


@pytest.mark.parametrize("width", [390, 800, 1200])
def test_nothing_sticks_out_of_the_page(report: str, width: int, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(report.replace("</body>", f"{_ASK}</body>"), encoding="utf-8")
    (tmp_path / "frame.html").write_text(_FRAME.replace("WIDTH", str(width)), encoding="utf-8")
    seen = browse(tmp_path, "--window-size=1400,1000", "--virtual-time-budget=10000", "--dump-dom", frame(tmp_path))
    (said,) = re.findall('data-said="([^"]*)"', seen)
    inner, whole, outside, empty = html.unescape(said).split("|")
    assert width - 20 <= int(inner) <= width
    assert int(whole) == int(inner), "the page scrolls sideways"
    assert outside == ""
    assert empty == ""


def frame(folder: Path) -> str:
    return (folder / "frame.html").as_uri()


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="no pdftotext to read the paper with")
def test_nothing_is_lost_on_paper(report: str, tmp_path: Path) -> None:
    """Every cluster of every table, and what is folded on screen, is on the paper."""
    (tmp_path / "report.html").write_text(report, encoding="utf-8")
    paper = tmp_path / "report.pdf"
    browse(tmp_path, "--no-pdf-header-footer", f"--print-to-pdf={paper}", (tmp_path / "report.html").as_uri())
    text = read(paper, "-layout")
    for k in range(12):
        assert len(re.findall(rf"[Cc]luster {k}\b", text)) >= 4
    for folded in ("effective draws", "mean uncertainty", "versions", "sorted_weight[11]"):
        assert folded in text
    pages = read(paper, "-bbox")
    (width,) = {float(found) for found in re.findall('<page width="([0-9.]+)"', pages)}
    right = max(float(found) for found in re.findall('xMax="([0-9.]+)"', pages))
    left = min(float(found) for found in re.findall('xMin="([0-9.]+)"', pages))
    assert 0.0 < left < right < width, "words stick out of the paper"


def read(paper: Path, how: str) -> str:
    done = subprocess.run(["pdftotext", how, str(paper), "-"], capture_output=True, text=True, check=True)
    return done.stdout
