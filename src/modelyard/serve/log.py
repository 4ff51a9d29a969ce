"""The prediction log: a JSON line for each answer, written beside the service and never in its way.

``put`` makes the line, while the answer is still in the processor's cache, and lays it down; one thread writes what lies there, twenty
times a second, to a :class:`modelyard.serve.part.Part`. What cannot be written (the disk is full, the folder is gone) is tried again; what
there is no room to keep until then is counted in ``lost``.
The format, and what is promised: ``docs/reference/prediction-log.md``.
"""

from __future__ import annotations

import atexit
import hashlib
import secrets
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import orjson

from modelyard.serve.contract import Log
from modelyard.serve.part import Part, take_up

#: Version of the format of a line.
FORMAT = 1
#: Bytes that may wait to be written; what comes beyond is lost, and counted.
MOST_BYTES = 10_000_000

_TICK = 0.05  # seconds between two looks at what waits
_PATIENCE = 1.0  # seconds until what could not be written is tried again
_CHUNK = 1 << 18  # bytes that are written at once

Role = Literal["champion", "shadow", "fallback"]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An answer of the service, or what a shadow would have answered. Its arrays must not be changed: a shadow may read them later.

    Parameters
    ----------
    time
        When it was given, aware.
    ids
        The caller's names of the rows, by which labels find them later; None where it gave none.
    columns
        Column -> (n,) values as the model got them. A float32 is written by its own shortest digits: 0.1, not 0.10000000149011612.
    version, sha256
        Of the model that answered; empty for a constant.
    seconds
        What the model's predict took; None where nobody measured.
    """

    time: datetime
    request_id: str
    ids: Sequence[str] | None
    columns: Mapping[str, np.ndarray]
    predictions: np.ndarray
    role: Role
    version: str
    sha256: str
    seconds: float | None = None


def is_sampled(request_id: str, share: float) -> bool:
    """Whether a request is in the sample: by the hash of its id, so that its rows, and its shadow's, share their fate."""
    if share >= 1 or share <= 0:
        return share >= 1
    digest = hashlib.blake2b(request_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64


def encode(answer: Answer, redact: frozenset[str] = frozenset()) -> bytes:
    """One line, with its end; the columns named in ``redact`` are left out. NaN and infinity become null."""
    columns: dict[str, Any] = {name: values for name, values in answer.columns.items() if name not in redact}
    times = [name for name, values in columns.items() if values.dtype.kind == "M"]
    for name in times:  # orjson knows no missing ones, nor all years; of other units than this Python would make whole numbers
        columns[name] = columns[name].astype("datetime64[us]").tolist()
    line = {
        "format": FORMAT,
        "time": answer.time.astimezone(UTC),
        "request_id": answer.request_id,
        "ids": None if answer.ids is None else list(answer.ids),
        "version": answer.version,
        "sha256": answer.sha256,
        "role": answer.role,
        "seconds": answer.seconds,
        "times": times,
        "columns": columns,
        "predictions": answer.predictions,
    }
    return orjson.dumps(line, default=_plain, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE)


def _plain(odd: Any) -> Any:
    """What orjson does not write itself: arrays of objects, arrays that do not lie in one piece, and what nobody foresaw."""
    if not isinstance(odd, np.ndarray):
        return str(odd)
    return odd.tolist() if odd.dtype.kind == "O" else np.ascontiguousarray(odd)


class PredictionLog:
    """The log of one worker.

    Parameters
    ----------
    folder
        Made where it is not there. Workers may share it.
    log
        Sample, redacted columns, and when a new file is begun.
    worker
        Number that tells this worker's files from the others'.

    Attributes
    ----------
    written
        Answers that stand in files.
    lost
        Answers that do not, and should.
    torn
        Unfinished last lines that were cut off the files of workers that died.
    problem
        Why the last write failed; empty where none did, or a later one succeeded.
    """

    def __init__(self, folder: Path, log: Log, worker: int) -> None:
        self.written = self.lost = self.torn = 0
        self.problem = ""
        self._folder, self._worker, self._token = folder, worker, secrets.token_hex(4)
        self._sample, self._redact = log.sample, frozenset(log.redact)
        self._most_bytes, self._most_seconds = log.file_mb * 1e6, log.file_minutes * 60
        self._lock = threading.Lock()  # guards the three below, and lost
        self._waiting: list[bytes] = []
        self._size = 0
        self._closed = False
        self._wake = threading.Event()
        # The writer's own: lines taken from those that wait, the file.
        self._taken: deque[bytes] = deque()
        self._file: Part | None = None
        self._retry = 0.0
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def put(self, answer: Answer) -> None:
        """Lay an answer down to be written; never waits for the disk, and never raises."""
        if not is_sampled(answer.request_id, self._sample):
            return
        try:
            line = b"" if self._size >= MOST_BYTES else encode(answer, self._redact)
        except Exception as error:  # one answer that cannot be written must not end the log, nor the request
            self.problem = f"An answer is no JSON: {type(error).__name__}"
            line = b""
        with self._lock:
            if self._closed or not line:
                self.lost += 1
                return
            self._waiting.append(line)
            self._size += len(line)
            hurry = self._size > MOST_BYTES // 2
        if hurry:
            self._wake.set()

    def close(self, seconds: float = 10.0) -> None:
        """Write what waits, close the file, and count as lost what could not be written; give up after so many seconds."""
        with self._lock:
            self._closed = True
        self._wake.set()
        self._thread.join(seconds)
        atexit.unregister(self.close)

    def _run(self) -> None:
        try:
            self.torn += take_up(self._folder)
        except OSError as error:
            self.problem = _words(error)
        while not self._closed:
            self._wake.wait(_TICK)
            self._wake.clear()
            self._step()
        self._retry = 0.0
        self._step()  # what was left of a failure
        self._step()  # what waited behind it
        self._lose(len(self._taken))
        with self._lock:
            self.lost += len(self._waiting)
            self._waiting = []
        self._finish()

    def _step(self) -> None:
        """Write what waits; stop where a write fails, so that it is tried again before anything new is taken."""
        if time.monotonic() < self._retry:
            return
        if not self._taken:
            with self._lock:
                self._taken, self._waiting, self._size = deque(self._waiting), [], 0
        while self._taken:
            if not self._write():
                self._retry = time.monotonic() + _PATIENCE
                return
        if self._file and self._file.age > self._most_seconds:
            self._finish()

    def _write(self) -> bool:
        """Write the next lines; whether all of them stand in the file. Of those that do not, none stands there in part."""
        lines, size = [], 0
        for line in self._taken:
            lines.append(line)
            size += len(line)
            if size >= _CHUNK:
                break
        try:
            self._file = self._file or Part(self._folder, f"w{self._worker}-{self._token}")
            done, error = self._file.append(lines)
        except OSError as refused:  # the file could not even be made
            done, error = 0, refused
        self.written += done
        for _ in range(done):
            self._taken.popleft()
        self.problem = _words(error) if error else ""
        if self._file and (error or self._file.size >= self._most_bytes or self._file.is_gone):
            self._finish()
        return error is None

    def _finish(self) -> None:
        """Close the file; whoever reads closed files sees it from now on."""
        if not self._file:
            return
        file, self._file = self._file, None
        if file.is_gone:  # somebody deleted it, or its folder: its lines went with it
            self.written -= file.lines
            self._lose(file.lines)
            self.problem = f"{file.lines} answers were deleted with their file"
        try:
            file.finish()
        except OSError as error:  # it stays a part, which the next start takes up
            self.problem = _words(error)

    def _lose(self, answers: int) -> None:
        with self._lock:
            self.lost += answers


def _words(error: OSError) -> str:
    return error.strerror or type(error).__name__
