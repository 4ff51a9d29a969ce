"""The window against the profile: each check, the verdict, and the verb around them."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from scipy.spatial.distance import jensenshannon
from unit import mini_project

from modelyard import champion, monitor, profile
from modelyard.errors import DataError, ProjectError
from modelyard.monitor import compare
from modelyard.monitor.compare import Check, Shift
from modelyard.monitor.report import Monitoring
from modelyard.policy import Volume
from modelyard.project import Project

NOW = datetime(2013, 4, 1, 5, 30, tzinfo=UTC)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = mini_project.make(tmp_path)
    profile.run(made)
    return made


def _watch(project: Project, **released: Any) -> Monitoring:
    return monitor.watch(project, mini_project.released(project, **released), NOW)


def _status(found: Monitoring) -> dict[str, str]:
    return {check.name: check.status for check in found.checks}


def test_the_distance_of_known_cases() -> None:
    """0 where the shares are equal, 1 where they share nothing, scipy's value between, nothing to say of nothing."""
    assert compare.js_distance([1, 2, 3], [10, 20, 30]) == 0
    assert compare.js_distance([5, 0, 0], [0, 1, 9]) == 1
    assert compare.js_distance([3, 5, 2], [1, 0, 9]) == pytest.approx(jensenshannon([0.3, 0.5, 0.2], [0.1, 0, 0.9], base=2))
    assert compare.js_distance([3, 5], [1, 9]) == compare.js_distance([1, 9], [3, 5])
    assert compare.js_distance([0, 0], [1, 2]) is None


@pytest.mark.parametrize(
    ("live", "status", "told"),
    [
        ("3", "ok", "Version 3 is recorded and live."),
        ("2", "alert", "main records version 3, but version 2 is live: run promote, or train."),
        ("", "alert", "main records version 3, but nothing is live: run promote, or train."),
        (None, "unknown", "The registry was not asked"),
    ],
)
def test_a_record_that_never_became_live_alerts(live: str | None, status: str, told: str) -> None:
    """A promotion that was refused, or did not run, leaves main ahead of what serves: that must not stay quiet."""
    check = compare.release("3", live)

    assert check.status == status
    assert check.message.startswith(told)


@pytest.mark.parametrize(("rows", "status"), [(279, "alert"), (280, "ok"), (1120, "ok"), (1121, "alert")])
def test_the_volume_is_held_to_both_limits(rows: int, status: str) -> None:
    """Half and twice the training data's 20 rows a day are allowed, over 28 days."""
    assert compare.volume(rows, 28, 2000, 100, Volume()).status == status


def test_a_column_that_misses_more_is_named() -> None:
    """The rise counts, not the level."""
    columns = {"often": Shift(missing=0.52, missing_before=0.5, distance=None, drifted=False)}
    assert compare.missing(columns, 0.05).status == "ok"

    columns["temp"] = Shift(missing=0.12, missing_before=0.02, distance=None, drifted=False)
    found = compare.missing(columns, 0.05)
    assert (found.status, found.message) == ("alert", "Missing values rose: temp 12.0% (in training 2.0%).")


@pytest.mark.parametrize(("days", "limit", "status"), [(27.9, 28, "ok"), (28, 28, "retrain"), (900, None, "ok")])
def test_the_age_retrains_when_it_is_reached(days: float, limit: int | None, status: str) -> None:
    """From the limit on; without a limit never."""
    assert compare.age(days, limit).status == status


def test_the_strongest_status_is_the_verdict_and_nothing_is_hidden() -> None:
    """A retraining that is due is not held back by an alert, and the alert is still told."""
    volume = Check(name="volume", status="alert", message="few")
    age = Check(name="age", status="retrain", message="old")
    drift = Check(name="drift", status="noted", message="moved")

    assert compare.decide([volume, age, drift]) == ("retrain", ["age: old", "volume: few"])
    assert compare.decide([volume, drift]) == ("alert", ["volume: few"])
    assert compare.decide([drift]) == ("healthy", [])


def test_an_ordinary_window_is_healthy(project: Project) -> None:
    """Nothing fires; the window ends at the start of the day, and what only grows is not compared."""
    found = _watch(project)

    assert (found.verdict, found.reasons) == ("healthy", [])
    assert found.window == (datetime(2013, 3, 4), datetime(2013, 4, 1))
    assert (found.rows, found.champion.version) == (28 * 40, "7")
    assert found.champion.age_days == pytest.approx(31.229, abs=0.001)
    assert found.columns["serial"].distance is None
    assert found.performance
    assert found.performance.value == pytest.approx(0.88, abs=0.05)
    assert found.prediction
    assert found.prediction.distance is not None
    assert found.prediction.distance < 0.2


@pytest.mark.parametrize(
    ("fault", "check", "told"),
    [
        ({"shift": 20, "unlabelled": True}, "schema", "x: in_range(-8, 8): 1,120 of 1,120 rows (100.0%), e.g. 2"),
        ({"share": 0.3}, "volume", "12 rows a day, 0.30 times the training data's 40; 0.5 to 2 are allowed."),
        ({"missing": 0.1}, "missing", "gap 12.2% (in training 2.5%)"),
        ({"drop": ["gap"]}, "missing", "gap 100.0% (in training 2.5%)"),
        ({"drop": ["gap"]}, "schema", "gap: the column is missing"),
    ],
)
def test_each_fault_alerts(project: Project, fault: dict[str, Any], check: str, told: str) -> None:
    """Schema, volume and missing values each call somebody, with numbers."""
    project = _with_drift(project, "alert")  # of the drift that comes with it, nothing is asked here
    mini_project.fault(project.root, **fault)

    found = _watch(project)

    messages = {c.name: c.message for c in found.checks}
    assert found.verdict == "alert"
    assert _status(found)[check] == "alert"
    assert told in messages[check]


def _with_drift(project: Project, verdict: str) -> Project:
    section = project.policy.monitor.model_copy(update={"drift": verdict})
    return Project(project.root, project.policy.model_copy(update={"monitor": section}))


@pytest.mark.parametrize("verdict", ["retrain", "alert"])
def test_drift_without_labels_says_what_the_policy_wants(project: Project, verdict: str) -> None:
    """Where no label tells how well the model does, drift retrains, or alerts if the policy prefers that."""
    project = _with_drift(project, verdict)
    mini_project.fault(project.root, shift=2, unlabelled=True)

    found = _watch(project)

    assert (found.verdict, _status(found)["drift"]) == (verdict, verdict)
    assert "the prediction 0." in {c.name: c.message for c in found.checks}["drift"]


def test_labels_that_are_not_known_yet_are_no_fault(project: Project) -> None:
    """Without labels the performance is unknown, never ok; the window is otherwise healthy, even where the schema wants labels."""
    path = project.source / project.policy.package / "schema.py"
    known = "    @pa.check('late', ignore_na=False)\n    def known(cls, column):\n        return column.notna()\n"
    path.write_text(path.read_text().replace("late: float = pa.Field(nullable=True)", f"late: float\n\n{known}"))
    mini_project.fault(project.root, unlabelled=True)

    found = _watch(project)

    assert found.verdict == "healthy"
    assert _status(found)["performance"] == "unknown"
    assert found.performance is None


def test_drift_is_noted_where_labels_say_that_the_model_holds(project: Project) -> None:
    """Labels answer what drift only hints at: it is listed, and nobody is called."""
    mini_project.fault(project.root, shift=1)

    found = _watch(project, value=0.8)

    assert found.columns["x"].drifted
    assert _status(found) | {"schema": "ok"} == _status(found)
    assert (found.verdict, _status(found)["drift"], _status(found)["performance"]) == ("healthy", "noted", "ok")


def test_decay_retrains(project: Project) -> None:
    """A world that turned round costs more ROC AUC than the policy bears."""
    mini_project.fault(project.root, flip=True)

    found = _watch(project)

    assert found.verdict == "retrain"
    assert found.reasons[0].startswith("performance: roc_auc 0.1")
    assert found.performance
    assert found.performance.loss == pytest.approx(0.88 - found.performance.value)


def test_decay_of_an_error_is_its_rise(tmp_path: Path) -> None:
    """Where less is better, more is a loss."""
    project = mini_project.make(tmp_path, task="regression", monitor={"decay": 0.5})
    profile.run(project)
    mini_project.fault(project.root, flip=True)

    found = _watch(project, value=0.85)

    assert found.performance
    assert found.performance.loss == pytest.approx(found.performance.value - 0.85)
    assert found.verdict == "retrain"


def test_an_old_champion_retrains_even_on_a_broken_window(tmp_path: Path) -> None:
    """Rows that the model cannot predict alert, and do not hide that the age is reached."""
    project = mini_project.make(tmp_path, monitor={"max_age_days": 28})
    profile.run(project)
    mini_project.fault(project.root, drop=["x"])

    found = _watch(project)

    assert found.verdict == "retrain"
    assert [reason.split(":")[0] for reason in found.reasons] == ["age", "schema", "missing"]
    assert "cannot predict rows that break the schema" in next(c.message for c in found.checks if c.name == "performance")


def test_an_empty_window_alerts(project: Project) -> None:
    """No rows at all is a fault of the volume, not a crash."""
    mini_project.fault(project.root, share=0)

    found = _watch(project)

    assert (found.verdict, found.rows, found.prediction, found.columns) == ("alert", 0, None, {})
    assert _status(found)["volume"] == "alert"


def test_a_load_that_fails_is_the_datas_fault(project: Project) -> None:
    """What load() raised is told as such."""
    mini_project.fault(project.root, raises="database is down")

    with pytest.raises(DataError, match="database is down"):
        _watch(project)


def test_a_champion_without_a_profile_is_named(tmp_path: Path) -> None:
    """A release without its reference cannot be watched; the message says how to get one."""
    project = mini_project.make(tmp_path)

    with pytest.raises(ProjectError, match=r"profile\.json is missing"):
        _watch(project)


def test_the_verb_writes_a_report_of_the_logical_date(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same date gives the same bytes; a negative verdict ends with exit code 10 and its outputs."""
    live = mini_project.released(project)
    monkeypatch.setattr(champion, "load", lambda _: live)  # the release record and DVC are tested with champion itself
    mini_project.fault(project.root, shift=2, unlabelled=True)
    path = project.root / "reports/monitor.json"

    outcome = monitor.run(project, NOW)
    first = path.read_bytes()
    monitor.run(project, NOW)

    assert path.read_bytes() == first
    assert json.loads(first)["now"] == "2013-04-01T05:30:00Z"
    assert outcome.summary.startswith("**monitor: retrain**")
    assert (outcome.exit_code, outcome.outputs["reasons"], outcome.outputs["age"], outcome.outputs["drifted"]) == (10, "1", "31", "x")


def test_nothing_is_live_before_the_first_release(project: Project) -> None:
    """A project without a release record has nothing to watch, and that is no failure."""
    subprocess.run(["git", "commit", "--quiet", "--allow-empty", "-m", "first"], cwd=project.root, check=True)

    outcome = monitor.run(project, NOW)

    assert (outcome.verdict, outcome.exit_code) == ("none", 0)
    assert "nothing is live yet" in outcome.summary
