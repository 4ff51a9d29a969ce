"""What the service's processes hold and work."""

from __future__ import annotations

import contextlib
from typing import Any

import psutil  # type: ignore[import-untyped]


class Resources:
    """Memory and processor time of a process and all that it started.

    Parameters
    ----------
    pid
        Its id.
    """

    def __init__(self, pid: int) -> None:
        self._head = psutil.Process(pid)
        self.peak = 0
        self._members: list[Any] = []
        self._seconds: dict[int, float] = {}
        self.look_around()

    def look_around(self) -> int:
        """See who belongs to it by now, since a worker may have been started again; how many. It takes some milliseconds."""
        self._members = []
        with contextlib.suppress(psutil.Error):
            self._members = [self._head, *self._head.children(recursive=True)]
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
