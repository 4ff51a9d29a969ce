"""Answers of a service, and their log on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import numpy as np

from modelyard.serve.contract import Log
from modelyard.serve.log import Answer, PredictionLog

MOMENT = datetime(2013, 3, 4, 5, 30, tzinfo=UTC)


def answer(
    number: int = 0, *, columns: Mapping[str, Any] | None = None, predictions: Sequence[float] = (0.25, 0.75), **fields: Any
) -> Answer:
    """An answer of two rows, unless something else is said."""
    given = {"x": [1.5, -2.0], "group": ["a", None]} if columns is None else columns
    usual: dict[str, Any] = {
        "time": MOMENT,
        "request_id": f"r{number}",
        "ids": None,
        "role": "champion",
        "version": "7",
        "sha256": "c" * 64,
    }
    return Answer(columns={name: array(values) for name, values in given.items()}, predictions=np.array(predictions), **usual | fields)


def array(values: Any) -> np.ndarray:
    """As the service makes it: texts are objects."""
    made = np.asarray(values)
    return np.asarray(values, dtype=object) if made.dtype.kind in "UO" else made


def written(folder: Path, *answers: Answer, worker: int = 0, **settings: Any) -> PredictionLog:
    """The log of these answers, closed."""
    log = PredictionLog(folder, Log(**settings), worker)
    for each in answers:
        log.put(each)
    log.close()
    return log


def lines(folder: Path) -> list[dict[str, Any]]:
    """What stands in the closed files, in their order."""
    return [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]


def wait_for(what: Callable[[], object], seconds: float = 20.0) -> None:
    """Until it is so; a test that waits in vain fails."""
    end = monotonic() + seconds
    while not what():
        assert monotonic() < end, "waited in vain"
        sleep(0.005)
