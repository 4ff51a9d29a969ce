"""A challenger beside the champion: it answers a share of the requests too, after they were answered, and nobody waits for it.

What it says goes to the prediction log with the role ``shadow``, and ``modelyard evaluate --shadow`` compares the two.
"""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import replace
from pathlib import Path

from modelyard.serve import beside
from modelyard.serve.log import Answer, PredictionLog, is_sampled

#: Answers that may wait for the shadow; more are skipped, and counted.
MOST_WAITING = 64


class Shadow:
    """A shadow model.

    Parameters
    ----------
    folder
        Holds ``model.onnx`` and ``serving.json`` of the challenger, which must have the same code as the champion.
    load
        The project's ``model.load``.
    share
        Of the requests that it answers too; by their ids, as the log's sample.
    log
        Where its answers go.

    Attributes
    ----------
    answered, skipped, failed
        Requests of its share: answered, left out because it lagged, and those at which it raised or gave no numbers.
    problem
        What it raised last: the name of the error, since its words may hold data.

    Raises
    ------
    ValueError
        The folder holds no such model.
    """

    def __init__(self, folder: Path, load: beside.Load, share: float, log: PredictionLog) -> None:
        self.answered = self.skipped = self.failed = 0
        self.problem = ""
        self._model = beside.open_(folder, load)
        self.version, self.sha256 = self._model.contract.version, self._model.contract.sha256
        self._share, self._log = share, log
        self._waiting: queue.Queue[Answer | None] = queue.Queue(MOST_WAITING)
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)
        self._thread.start()

    def offer(self, answer: Answer) -> None:
        """Let the shadow answer it too, if it is in the share; never blocks, and never raises. Call it once the answer is sent."""
        if self._closed or not is_sampled(answer.request_id, self._share):
            return
        try:
            self._waiting.put_nowait(answer)
        except queue.Full:
            self.skipped += 1

    def close(self, seconds: float = 5.0) -> None:
        """Answer what waits, for so many seconds at most. The log is to be closed after it."""
        self._closed = True
        try:
            self._waiting.put(None, timeout=seconds)
            self._thread.join(seconds)
        except queue.Full:
            self.skipped += self._waiting.qsize()

    def _run(self) -> None:
        while answer := self._waiting.get():
            start = time.perf_counter()
            try:
                predictions = self._model(answer.columns)
            except Exception as error:  # a challenger's fault is a finding, and the champion's service goes on
                self.failed += 1
                self.problem = type(error).__name__
                continue
            seconds = time.perf_counter() - start
            self.answered += 1
            self._log.put(
                replace(answer, predictions=predictions, role="shadow", version=self.version, sha256=self.sha256, seconds=seconds)
            )
