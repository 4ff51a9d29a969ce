"""The load gate of `train`: a service that misses the policy's level is not proposed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from workflows.conftest import Scene
from workflows.yard import APRIL

pytestmark = pytest.mark.slow


def test_a_service_that_is_too_slow_is_not_proposed(fresh: Scene, proposed: Scene, tmp_path: Path) -> None:
    """Green, with the figure and what is allowed, and no branch but the state; the same model is proposed where it is quick enough."""
    yard = fresh.yard.copy(tmp_path)
    yard.put("params.yaml", "train.iterations", 20)
    yard.put("modelyard.yaml", "serving.level.p99_ms", 0.05)
    yard.commit("An impossible level")

    run = yard.happen("workflow_dispatch", "train", inputs={"now": APRIL.isoformat()})

    assert (run.conclusion, run.verdict) == ("success", "fail"), run.log
    assert run.steps["train/train.package.verdict"] == "packaged"
    assert run.steps["train/train.loadtest.verdict"] == "fail"
    assert re.search(r"The 99th percentile is [\d.]+ ms at 5 requests a second; 0\.05 ms are allowed\.", run.summary)
    assert set(yard.refs()) == {"main", "modelyard-state"}
    (kept,) = yard.artifacts.glob("train-*/reports-train/loadtest.json")
    assert json.loads(kept.read_text())["verdict"] == "fail"
    assert proposed.runs["train"].steps["train/train.loadtest.verdict"] == "pass"
