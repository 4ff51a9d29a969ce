"""What ``/metrics`` says, for Prometheus. Workers write into files that they share, so that whoever is asked answers for all.

Labels come from small fixed sets, never from a request: a path or a text in a label would let any scanner fill the memory.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from modelyard.serve.contract import Contract
from modelyard.serve.request import Batch

MEDIA_TYPE = CONTENT_TYPE_LATEST

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_ROWS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)


class Distribution(Histogram):
    """A histogram that takes many values at once."""

    def observe_all(self, values: np.ndarray) -> None:
        """Count each of the values (n,), none of them NaN."""
        places = np.searchsorted(self._upper_bounds, values)  # a bucket holds its upper bound
        for place, count in enumerate(np.bincount(places).tolist()):
            if count:
                self._buckets[place].inc(count)
        self._sum.inc(float(values.sum()))


class Metrics:
    """All that one worker counts."""

    def __init__(self, contract: Contract, provider: str) -> None:
        self._registry = CollectorRegistry()
        self._requests = self._counter("requests", "Requests answered", "endpoint", "status")
        self._errors = self._counter("errors", "Requests refused or failed, by reason", "kind")
        self._seconds = self._histogram("request_seconds", "Time from a request's head to its answer", _SECONDS, "endpoint")
        limit = contract.limits.rows
        self._rows = self._histogram("batch_rows", "Rows of a request", [*(n for n in _ROWS if n < limit), limit])
        self._predictions = self._histogram("prediction", "Predictions", contract.histogram or [0.0])
        self._unseen = self._counter("unseen", "Texts that the training data did not hold", "column")
        self._missing = self._counter("missing", "Values that were null or left out", "column")
        self._fallback = self._counter("fallback", "Requests that the fallback answered")
        self._lost = self._counter("log_lost", "Answers that the prediction log lost")
        self._skipped = self._counter("shadow_skipped", "Answers that the shadow model did not give too: it lagged, or failed")
        for column in contract.columns:  # so that a rate begins at 0, not with the first of them
            if column.values:
                self._unseen.labels(column.name)
            if column.nullable:
                self._missing.labels(column.name)
        about = {"name": contract.name, "version": contract.version, "sha256": contract.sha256, "provider": provider}
        info = Gauge("modelyard_model_info", "The model that serves", list(about), registry=self._registry, multiprocess_mode="max")
        info.labels(**about).set(1)

    def request(self, endpoint: str, status: int, seconds: float) -> None:
        """A request was answered."""
        self._requests.labels(endpoint, str(status)).inc()
        self._seconds.labels(endpoint).observe(seconds)

    def error(self, kind: str) -> None:
        """A request was refused or failed."""
        self._errors.labels(kind).inc()

    def answer(self, batch: Batch, predictions: np.ndarray, *, is_fallback: bool) -> None:
        """Rows were predicted."""
        self._rows.observe(batch.rows)
        self._predictions.observe_all(predictions)
        for name, count in batch.unseen.items():
            self._unseen.labels(name).inc(count)
        for name, count in batch.missing.items():
            self._missing.labels(name).inc(count)
        if is_fallback:
            self._fallback.inc()

    def losses(self, *, log: int = 0, shadow: int = 0) -> None:
        """Answers that were lost by the log or skipped by the shadow since the last call."""
        if log:
            self._lost.inc(log)
        if shadow:
            self._skipped.inc(shadow)

    def text(self) -> bytes:
        """What Prometheus reads."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(f"modelyard_{name}", about, labels, registry=self._registry)

    def _histogram(self, name: str, about: str, buckets: Any, *labels: str) -> Distribution:
        return Distribution(f"modelyard_{name}", about, labels, buckets=buckets, registry=self._registry)
