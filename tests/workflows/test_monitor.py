"""Workflow `monitor`: on its schedule it watches the champion, and where that is not enough it trains."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from workflows.conftest import Scene
from workflows.yard import APRIL, MAY

from modelyard import git

pytestmark = pytest.mark.slow

CHILDREN = ("monitor/train", "monitor/train/train", "monitor/train/promote", "monitor/train/promote/promote")


def test_nothing_is_live(fresh: Scene) -> None:
    """Before the first release there is nothing to watch: the run succeeds, and starts nothing."""
    before = fresh.yard.refs()
    run = fresh.yard.happen("workflow_dispatch", "monitor")

    assert (run.conclusion, run.verdict) == ("success", "none")
    assert fresh.yard.refs() == before


def test_a_release_that_never_became_live_alerts(proposed: Scene, tmp_path: Path) -> None:
    """Main records a model, but promote did not make it live: nobody has to find that out by chance."""
    yard = proposed.yard.copy(tmp_path)
    yard.approve()
    yard.push()
    run = yard.happen("schedule", "monitor", APRIL + timedelta(days=1))

    assert (run.conclusion, run.verdict) == ("success", "alert"), run.log
    assert "main records version 1, but nothing is live: run promote, or train." in run.summary


def test_a_healthy_champion_is_left_alone(released: Scene, tmp_path: Path) -> None:
    """Soon after the release all is well: the check is logged in the state, and nothing is trained."""
    yard = released.yard.copy(tmp_path)
    before = yard.refs()
    run = yard.happen("schedule", "monitor", APRIL + timedelta(days=1))

    assert (run.conclusion, run.verdict) == ("success", "healthy"), run.log
    assert all(run.jobs[job] == "skipped" for job in CHILDREN)
    assert yard.refs() | {"modelyard-state": ""} == before | {"modelyard-state": ""}
    assert [(entry["verdict"], entry["champion"]) for entry in yard.logged("flights-monitor")] == [("healthy", "1")]


def test_an_old_champion_is_replaced_in_one_run(released: Scene, tmp_path: Path) -> None:
    """At the maximum age the schedule's own run retrains; at low risk it moves main to the release and makes it live, nobody asked."""
    yard = released.yard.copy(tmp_path)
    yard.put("modelyard.yaml", "risk.level", "low")
    yard.put("params.yaml", "train.iterations", 80)
    main = yard.commit("Low risk, and more trees")
    run = yard.happen("schedule", "monitor", MAY)

    assert run.conclusion == "success", run.log
    assert run.steps["monitor/monitor.monitor.verdict"] == "retrain"
    assert run.steps["monitor/train/train.evaluate.verdict"] == "promote"
    assert run.steps["monitor/train/train.propose.merged"] == "true"
    assert run.steps["monitor/train/promote/promote.promote.verdict"] == "live"
    assert all(run.jobs[job] == "success" for job in CHILDREN)
    after = yard.refs()
    assert after["main"] == after["modelyard/release"] == run.steps["monitor/train/train.propose.commit"]
    assert git.head(yard.origin, "main^") == main
    assert (yard.record().approved_by, yard.record().trigger) == ("policy: risk low", "schedule")
    assert yard.alias() == yard.record().model.version == "2"
