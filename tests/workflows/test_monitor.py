"""Workflow `monitor`: on its schedule it watches the champion, and where that is not enough it trains."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from chat import SECRET, serve
from workflows.conftest import Scene
from workflows.yard import APRIL, MAY

from modelyard import git
from modelyard.demo import stage

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


def test_labels_held_back_leave_the_performance_unknown(released: Scene, tmp_path: Path) -> None:
    """Without labels nothing says that the model does well: the check is healthy, and does not claim it."""
    yard = released.yard.copy(tmp_path)
    flights = yard.flights()
    label = yard.demo.project.policy.data.label
    flights[label] = flights[label].astype(float).where(flights["scheduled"] < datetime(2013, 3, 1))
    yard.supply(flights)
    run = yard.happen("schedule", "monitor", APRIL + timedelta(days=1))

    assert (run.conclusion, run.verdict) == ("success", "healthy"), run.log
    assert (run.outputs["performance"], run.outputs["value"], run.outputs["start"]) == ("unknown", "", "false")
    assert re.search(r"not known: .*performance", run.outputs["reason"])


def test_broken_data_call_people_until_they_are_whole(released: Scene, tmp_path: Path) -> None:
    """A training is due by age, but none starts on broken data; chat and issue are told, and told again when it is over."""
    yard = released.yard.copy(tmp_path)
    yard.put("modelyard.yaml", "monitor.cooldown_days", 60)  # so that the whole data train nothing either
    yard.put("modelyard.yaml", "monitor.max_age_days", 21)
    yard.commit("A long cool-down, a short life")
    stage.break_month(yard.demo, datetime(2013, 4, 1))
    before = yard.refs()
    with serve() as chat:
        env = {"MODELYARD_ENV": f"MODELYARD_NOTIFY={chat.address}"}
        broken = yard.happen("schedule", "monitor", MAY, env=env)
        stage.repair(yard.demo)
        whole = yard.happen("schedule", "monitor", MAY, env=env)

    assert (broken.conclusion, broken.verdict, broken.outputs["start"]) == ("success", "alert", "false"), broken.log
    assert broken.outputs["reason"].startswith("The data are broken (schema: ")
    assert "the training that is due (age" in broken.outputs["reason"]
    assert "No forge here: it would open the issue 'Modelyard: flights needs a look'." in broken.log
    assert (whole.conclusion, whole.verdict) == ("success", "healthy"), whole.log
    assert "a model was trained on 2013-04-01" in whole.outputs["reason"]
    for run in (broken, whole):
        assert all(run.jobs[job] == "skipped" for job in CHILDREN)
        assert SECRET not in run.log + run.summary
    assert [(body["type"], body["title"]) for _, body in chat.received] == [
        ("warning", "Modelyard: flights needs a look"),
        ("success", "Modelyard: flights is healthy again"),
    ]
    assert yard.refs() | {"modelyard-state": ""} == before | {"modelyard-state": ""}
    assert [entry["verdict"] for entry in yard.logged("flights-monitor")] == ["healthy", "alert"]
    kept = {path.name for path in yard.artifacts.glob("monitor-*/reports-monitor/*")}
    assert {"monitor.json", "monitor.html"} <= kept


def test_a_training_waits_for_a_person_where_the_policy_wants_one(released: Scene, tmp_path: Path) -> None:
    """The verdict is retrain and nothing starts: the issue says how to answer."""
    yard = released.yard.copy(tmp_path)
    yard.put("modelyard.yaml", "monitor.approval", "required")
    yard.put("modelyard.yaml", "monitor.max_age_days", 21)
    yard.commit("Ask before training")
    before = yard.refs()
    run = yard.happen("schedule", "monitor", MAY)

    assert (run.conclusion, run.verdict, run.outputs["start"]) == ("success", "retrain", "false"), run.log
    assert all(run.jobs[job] == "skipped" for job in CHILDREN)
    assert yard.refs() | {"modelyard-state": ""} == before | {"modelyard-state": ""}
    assert "A person must start the training" in run.summary
    assert "it would open the issue 'Modelyard: flights waits for a person to start its training'." in run.log


def test_an_old_champion_is_replaced_in_one_run(released: Scene, tmp_path: Path) -> None:
    """At the maximum age the schedule's own run retrains; at low risk it moves main to the release and makes it live, nobody asked."""
    yard = released.yard.copy(tmp_path)
    yard.put("modelyard.yaml", "risk.impact", "negligible")
    yard.put("modelyard.yaml", "monitor.max_age_days", 21)
    yard.put("params.yaml", "train.iterations", 80)
    main = yard.commit("Low risk, and more trees")
    run = yard.happen("schedule", "monitor", MAY)

    assert run.conclusion == "success", run.log
    assert run.steps["monitor/monitor.monitor.verdict"] == "retrain"
    assert run.steps["monitor/monitor.monitor.start"] == "true"
    assert run.steps["monitor/monitor.monitor.reason"].startswith("A training is due (age: ")
    assert run.steps["monitor/train/train.evaluate.verdict"] == "promote"
    assert run.steps["monitor/train/train.propose.merged"] == "true"
    assert run.steps["monitor/train/promote/promote.promote.verdict"] == "live"
    assert all(run.jobs[job] == "success" for job in CHILDREN)
    after = yard.refs()
    assert after["main"] == after["modelyard/release"] == run.steps["monitor/train/train.propose.commit"]
    assert git.head(yard.origin, "main^") == main
    assert (yard.record().approved_by, yard.record().trigger) == ("policy: risk low", "schedule")
    assert yard.alias() == yard.record().model.version == "2"
