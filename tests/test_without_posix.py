"""The command line, a checkpoint and a resume where there is nothing that only POSIX systems have, as on Windows."""

import subprocess
import sys
from pathlib import Path

import pytest
from commands import csv_file

PROGRAM = """
import gc, mmap, os, signal, sys, warnings

for name in ("fcntl", "resource", "termios", "tty", "pty", "pwd", "grp", "posix_ipc", "syslog"):
    sys.modules[name] = None
for name in ("pread", "pwrite", "preadv", "pwritev", "sched_getaffinity", "fork", "O_DIRECTORY", "fdatasync", "mkfifo"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("MAP_PRIVATE", "MAP_ANONYMOUS", "MAP_SHARED", "MAP_NORESERVE"):
    if hasattr(mmap, name):
        delattr(mmap, name)
for name in ("SIGALRM", "SIGKILL", "SIGUSR1", "setitimer", "pthread_sigmask"):
    if hasattr(signal, name):
        delattr(signal, name)

# As on Windows, no file is replaced while this process has it open; maps count as open.
replace = os.replace
def careful(source, target):
    target = os.path.abspath(target)
    held = [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
    held += [line.split(maxsplit=5)[-1].strip() for line in open("/proc/self/maps")]
    if os.path.realpath(target) in held:
        raise PermissionError(13, "The process cannot access the file because it is being used", target)
    replace(source, target)
if os.path.isdir("/proc/self/fd"):
    os.replace = careful

warnings.filterwarnings("ignore", "only soft file lock", UserWarning)
import gibbs_gmm
from gibbs_gmm.command_line import cli
from gibbs_gmm.sampler import chain as chains
from gibbs_gmm.sampler.machine import phantom

def main(arguments):
    gc.collect()  # a command is a process of its own, which closes its files when it ends
    return cli.main(arguments)

assert phantom((3, 2), "f8").sum() == 0.0
short = ["--draws", "60", "--warmup", "40", "--chains", "2", "--thin", "1", "--seed", "1"]
chains._BATCH_SECONDS = 0.0
advance, calls = chains.Chain.advance, iter(range(10**9))
def stopping(self, shared):
    if next(calls) == 130:
        raise KeyboardInterrupt
    return advance(self, shared)
assert main(["fit", "some.csv", *short, "--out", "whole"]) == 0
chains.Chain.advance = stopping
assert main(["fit", "some.csv", *short]) == 130
chains.Chain.advance = advance
print(gibbs_gmm.load("some-run").means.shape[1] if os.path.exists("some-run/report.html") else "none yet")
assert main(["resume", "some-run"]) == 0
assert main(["resume", "some-run", "--draws", "90"]) == 0
assert main(["report", "some-run"]) == 0
assert main(["predict", "some-run", "some.csv", "--out", "labels.csv"]) == 0
whole, again = gibbs_gmm.load("whole"), gibbs_gmm.load("some-run")
assert again.weights.shape[1] == 90
assert (whole.n_clusters == again.n_clusters[:, :60]).all()
assert (whole.log_likelihood == again.log_likelihood[:, :60]).all()
del whole, again
assert main(["fit", "some.csv", *short, "--out", "whole", "--force"]) == 0
print("done")
"""


@pytest.mark.usefixtures("fresh_folder")
def test_the_command_line_without_posix() -> None:
    csv_file()
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("done\n")
    assert len(Path("labels.csv").read_text().splitlines()) == 41


def test_no_module_needs_posix_to_be_imported() -> None:
    source = Path(__file__).resolve().parents[1] / "gibbs_gmm"
    text = "\n".join(path.read_text(encoding="utf-8") for path in source.rglob("*.py"))
    for name in (
        "import fcntl",
        "import resource",
        "import termios",
        "os.pread",
        "os.pwrite",
        "os.fork",
        "signal.SIGALRM",
    ):
        assert name not in text
