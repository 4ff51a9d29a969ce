"""Processes that were started here end, with all that they started."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil

from modelyard import processes

# Does not listen to SIGTERM, nor does its child, which has a session of its own, as BentoML's workers have.
_STUBBORN = """
import signal, subprocess, sys, time
from pathlib import Path
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if len(sys.argv) == 2:
    subprocess.Popen([sys.executable, *sys.orig_argv[1:], "child"], start_new_session=True)
else:
    Path(sys.argv[1]).touch()
time.sleep(120)
"""


def stubborn(folder: Path) -> tuple[subprocess.Popen[bytes], list[psutil.Process]]:
    sign = folder / "child"
    process = subprocess.Popen([sys.executable, "-c", _STUBBORN, str(sign)], start_new_session=True)
    while not sign.exists():
        time.sleep(0.02)
    return process, [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]


def test_what_does_not_listen_is_ended_with_its_children_that_left_the_group(tmp_path: Path) -> None:
    """A signal to the group would leave the child alive, and nobody would know of it any more."""
    process, family = stubborn(tmp_path)

    processes.stop(process, seconds=0.1)

    assert len(family) == 2
    assert psutil.wait_procs(family, timeout=30)[1] == []
    assert process.returncode == -9


def test_where_we_are_killed_it_ends_too(tmp_path: Path) -> None:
    """Nobody is left to stop it but who watches over us."""
    code = (
        "import subprocess, sys, time; from modelyard import processes\n"
        f"stubborn = subprocess.Popen([sys.executable, '-c', {_STUBBORN!r}, sys.argv[1]], start_new_session=True)\n"
        "with processes.ended_with_us(stubborn): time.sleep(120)"
    )
    sign = tmp_path / "child"
    started = subprocess.Popen([sys.executable, "-c", code, str(sign)])
    below: list[psutil.Process] = []
    while not (sign.exists() and len(below) == 3):  # the two, and who watches
        time.sleep(0.02)
        below = psutil.Process(started.pid).children(recursive=True)

    started.kill()
    started.wait()

    assert psutil.wait_procs(below, timeout=60)[1] == []
