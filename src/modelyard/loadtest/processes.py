"""The service's processes: what they hold and work, and that they end when we do."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, NoReturn

import psutil  # type: ignore[import-untyped]

# Waits for the end of its input, which comes when its parent is gone, however it went. Where that is told to be well, nothing follows.
_GUARD = """
import os, signal, sys, time
if not sys.stdin.read():
    for sign in (signal.SIGTERM, signal.SIGKILL):
        for group in map(int, sys.argv[1:]):
            try:
                os.killpg(group, sign)
            except OSError:
                pass
        time.sleep(5)
"""


class Family:
    """The processes that were started by this one since, and theirs.

    Parameters
    ----------
    before
        What :func:`children` gave then.
    """

    def __init__(self, before: frozenset[int]) -> None:
        self.heads = [psutil.Process(each) for each in children() - before]
        self.peak = 0
        self._members: list[Any] = []
        self._seconds: dict[int, float] = {}
        self.look_around()

    def look_around(self) -> int:
        """See who belongs to it by now, since a worker may have been started again; how many. It takes some milliseconds."""
        self._members = []
        for head in self.heads:
            with contextlib.suppress(psutil.Error):
                self._members += [head, *head.children(recursive=True)]
        return len(self._members)

    def held(self) -> int:
        """Resident bytes of all; the most that was ever seen is kept."""
        total = 0
        for each in self._members:
            with contextlib.suppress(psutil.Error):
                total += each.memory_info().rss
        self.peak = max(self.peak, total)
        return total

    def worked(self) -> float:
        """Seconds that they have worked, also those that have ended since."""
        for each in self._members:
            with contextlib.suppress(psutil.Error):
                used = each.cpu_times()
                self._seconds[each.pid] = used.user + used.system
        return sum(self._seconds.values())


def children() -> frozenset[int]:
    """Ids of this process's children."""
    return frozenset(each.pid for each in psutil.Process().children())


@contextlib.contextmanager
def ended_with_us(family: Family) -> Iterator[None]:
    """While this runs, the family does not outlive us, even if we are killed; who started it stops it."""
    groups = [str(head.pid) for head in family.heads]  # each began a session of its own
    guard = subprocess.Popen([sys.executable, "-I", "-S", "-c", _GUARD, *groups], stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield
    finally:
        guard.communicate(b"well")


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
