"""What /metrics says: many values at once, and many workers as one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from unit.mini_service import samples

from modelyard.serve.metrics import Distribution

EDGES = [0.1, 0.5, 1.0]


def test_many_values_are_counted_as_one_by_one() -> None:
    """Also on the edges, beyond the last one, and below the first."""
    values = np.concatenate([np.random.default_rng(0).normal(size=1000), EDGES, [7.0, -7.0, 0.1]])
    registries = [CollectorRegistry(), CollectorRegistry()]
    together = Distribution("h", "", buckets=EDGES, registry=registries[0])
    alone = Histogram("h", "", buckets=EDGES, registry=registries[1])
    together.observe_all(values[:700])
    together.observe_all(values[700:])
    for value in values:
        alone.observe(value)

    first, second = (
        samples("\n".join(line for line in generate_latest(r).decode().splitlines() if "created" not in line)) for r in registries
    )
    assert first == pytest.approx(second)


WORKER = """
import sys
import numpy as np
from modelyard.serve.contract import Column, Contract
from modelyard.serve.metrics import Metrics
from modelyard.serve.request import Batch
columns = [Column(name="x", kind="number", nullable=True)]
metrics = Metrics(Contract(name="mini", task="binary", sha256="0", columns=columns, histogram=[0.5, 1.0]), "CPUExecutionProvider")
metrics.request("/predict", 200, 0.01)
metrics.answer(Batch({}, None, 2, {"x": 1}, {}), np.array([0.25, 0.75]), is_fallback=True)
metrics.losses(log=3)
print(metrics.text().decode())
"""


def test_any_worker_answers_for_all(tmp_path: Path) -> None:
    """Three workers count, one after the other; the last one tells the sum, and one model."""
    for _ in range(3):
        env = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PATH": ""}
        done = subprocess.run([sys.executable, "-c", WORKER], env=env, capture_output=True, text=True, check=True)
    found = samples(done.stdout)

    assert found['requests_total{endpoint="/predict",status="200"}'] == 3
    assert (found["prediction_count"], found['prediction_bucket{le="0.5"}'], found["batch_rows_sum"]) == (6, 3, 6)
    assert (found['missing_total{column="x"}'], found["fallback_total"], found["log_lost_total"]) == (3, 3, 9)
    assert [value for name, value in found.items() if name.startswith("model_info")] == [1]
