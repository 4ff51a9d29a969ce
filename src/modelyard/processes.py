"""Programs that are started here: they end when they should, with all that they started, also where we are killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

# Waits for the end of its input, which comes when its parent is gone, however it went. Where that is told to be well, nothing follows.
_GUARD = """
import sys
if not sys.stdin.read():
    import psutil
    try:
        head = psutil.Process(int(sys.argv[1]))
        family = [head, *head.children(recursive=True)]
        head.terminate()
    except psutil.Error:
        sys.exit()
    for each in psutil.wait_procs(family, timeout=5)[1]:
        each.kill()
"""


@contextlib.contextmanager
def ended_with_us(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Stop a process on leaving; and where we are killed before, it does not outlive us either."""
    guard = subprocess.Popen([sys.executable, "-I", "-c", _GUARD, str(process.pid)], stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield
    finally:
        stop(process)
        guard.communicate(b"well")


def stop(process: subprocess.Popen[bytes], seconds: float = 10) -> None:
    """End a process that began a session of its own, and all that it started: in good order, or after some seconds at once."""
    import psutil  # type: ignore[import-untyped]

    def family() -> set[psutil.Process]:
        try:
            head = psutil.Process(process.pid)
            return {head, *head.children(recursive=True)}
        except psutil.NoSuchProcess:
            return set()

    members = family()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    for each in members | family():  # one by one: BentoML's workers have groups of their own
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    process.wait()


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM, by which jobs are cancelled, does as Ctrl-C: what was started is stopped on the way out."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def _interrupt(_: int, __: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
