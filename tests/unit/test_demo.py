"""What the demo tells of a run."""

from __future__ import annotations

from datetime import datetime

import pytest

from modelyard.demo.story import Run
from modelyard.local import WorkflowRun


@pytest.mark.parametrize(
    ("workflow", "verdicts", "told"),
    [
        ("train", {"validate": "invalid"}, "invalid"),
        ("train", {"validate": "valid", "evaluate": "keep"}, "keep"),
        ("train", {"validate": "valid", "evaluate": "promote", "package": "packaged", "loadtest": "pass"}, "promote"),
        ("train", {"validate": "valid", "evaluate": "promote", "package": "block"}, "block"),
        ("train", {"validate": "valid", "evaluate": "promote", "package": "packaged", "loadtest": "fail"}, "block"),
        ("train", {"validate": "valid", "evaluate": "promote", "package": "packaged", "loadtest": "unknown"}, "block"),
        ("monitor", {"monitor": "retrain", "validate": "valid", "evaluate": "keep"}, "retrain"),
        ("promote", {"promote": "live"}, "live"),
    ],
)
def test_a_run_is_told_by_what_it_decided(workflow: str, verdicts: dict[str, str], told: str) -> None:
    """Not by the last step that had a verdict: a package or a load test that stops a release overrules the evaluation."""
    steps = {f"job/{step}.{step}.verdict": verdict for step, verdict in verdicts.items()}
    run = WorkflowRun(workflow=workflow, event="schedule", conclusion="success", steps=steps, verdict=list(verdicts.values())[-1])

    assert Run(datetime(2013, 4, 1), run).as_json()["verdict"] == told
