"""A file of the prediction log while it is written: a part, which becomes a closed file or is taken up by a later start.

It is called ``*.jsonl.part`` until it is closed. Its writer holds a lock on it: a part that nobody holds was left by a process that died.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

CLOSED = ".jsonl"
OPEN = ".jsonl.part"


class Part:
    """A part that is written; its lock says that its writer lives."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{name}{OPEN}"
        self._begun = time.monotonic()
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o640)
        self.size = self.lines = 0
        self._is_whole = True
        try:
            _lock(self._fd)
        except BlockingIOError:  # a process that starts takes it for a dead one's: leave it to it, and make another one
            os.close(self._fd)
            raise
        except OSError:
            pass  # a file system without locks, on which nobody takes parts up

    @property
    def age(self) -> float:
        """Seconds since it was begun."""
        return time.monotonic() - self._begun

    @property
    def is_gone(self) -> bool:
        """Whether it was deleted."""
        try:
            return os.fstat(self._fd).st_nlink == 0
        except OSError:  # a share that went away
            return True

    def append(self, lines: Sequence[bytes]) -> tuple[int, OSError | None]:
        """How many lines stand in the file, and why not all of them do; a line that was written in part is taken back."""
        data, done, failure = memoryview(b"".join(lines)), 0, None
        try:
            while done < len(data):
                done += os.write(self._fd, data[done:])
        except OSError as error:
            failure = error
        count = whole = 0
        for line in lines:
            if whole + len(line) > done:
                break
            whole += len(line)
            count += 1
        self.size += whole
        self.lines += count
        if done > whole:
            try:
                os.ftruncate(self._fd, self.size)
            except OSError:  # the part keeps its name, and a later start cuts the line off
                self._is_whole = False
        return count, failure

    def finish(self) -> None:
        """Give it the name of a closed file, or none where it is empty."""
        try:
            if self.is_gone:
                return
            if self.lines and self._is_whole:
                os.fsync(self._fd)
                self._path.rename(self._path.with_name(self._path.name.removesuffix(OPEN) + CLOSED))
            elif not self.lines and self._is_whole:
                self._path.unlink(missing_ok=True)
        finally:
            with suppress(OSError):
                os.close(self._fd)


def take_up(folder: Path) -> int:
    """Close the parts whose writers died; the number of unfinished last lines that were cut off."""
    torn = 0
    for path in sorted(folder.glob(f"*{OPEN}")):
        try:
            fd = os.open(path, os.O_RDWR)
        except OSError:  # another one was faster, or it is another user's
            continue
        try:
            _lock(fd)
            size, end = os.fstat(fd).st_size, _last_end(fd)
            torn += size > end
            os.ftruncate(fd, end)
            if end:
                os.fsync(fd)
                path.rename(path.with_name(path.name.removesuffix(OPEN) + CLOSED))
            else:
                path.unlink()
        except OSError:  # its writer lives, or the file system knows no locks
            continue
        finally:
            os.close(fd)
    return torn


def _lock(fd: int) -> None:
    """Take the lock of a part.

    Raises
    ------
    BlockingIOError
        Another process holds it, or has just closed the part.
    """
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if os.fstat(fd).st_nlink == 0:
        raise BlockingIOError


def _last_end(fd: int) -> int:
    """Where the last whole line of a file ends."""
    end = os.fstat(fd).st_size
    while end:
        start = max(0, end - (1 << 16))
        found = os.pread(fd, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0
