"""A project's live model on its window: each fault, each verdict, and the verb around them."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from unit import mini_project

from modelyard import champion, monitor, profile
from modelyard.errors import DataError
from modelyard.monitor import live
from modelyard.monitor.report import Monitoring
from modelyard.project import Project

NOW = datetime(2013, 4, 1, 5, 30, tzinfo=UTC)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = mini_project.make(tmp_path, monitor={"segments": ["group"]})
    profile.run(made)
    return made


def _look(project: Project, **released: Any) -> Monitoring:
    return live.look(project, mini_project.released(project, **released), NOW)


def _status(found: Monitoring) -> dict[str, str]:
    return {check.name: check.status for check in found.checks}


def _said(found: Monitoring) -> dict[str, str]:
    return {check.name: check.message for check in found.checks}


def test_an_ordinary_window_is_healthy(project: Project) -> None:
    """Nothing fires; the window ends at the start of the day, and what only grows is not compared."""
    found = _look(project)

    assert (found.verdict, found.reasons) == ("healthy", ())
    assert found.window == (datetime(2013, 3, 4), datetime(2013, 4, 1))
    assert found.champion
    assert (found.rows, found.champion.version) == (28 * 40, "7")
    assert found.champion.age_days == pytest.approx(31.229, abs=0.001)
    shifts = {shift.column: shift for shift in found.columns}
    assert [shift.column for shift in found.columns[:2]] == ["prediction", "x"]  # then by importance
    assert shifts["x"].importance == pytest.approx(0.38, abs=0.1)
    assert shifts["gap"].importance == 0
    assert shifts["serial"].shape is None
    assert found.performance
    assert found.performance.lower
    assert found.performance.upper
    assert found.performance.lower < found.performance.value < found.performance.upper
    assert found.performance.value == pytest.approx(0.88, abs=0.05)
    assert (found.calibration.rule, found.calibration.blocks, found.calibration.level) == ("blocks", 8, pytest.approx(1 / 9))
    assert len(found.calibration.scores) == 8 + 4


@pytest.mark.parametrize(
    ("fault", "check", "told"),
    [
        ({"shift": 20, "unlabelled": True}, "schema", "x: in_range(-8, 8): 1,120 of 1,120 rows (100.0%), e.g. 2"),
        ({"share": 0.3}, "volume", "12 rows a day, 0.30 times the reference's 40; 0.5 to 2 are allowed."),
        ({"missing": 0.2}, "missing", "gap 2.5 % \u2192 22.0 %"),
        ({"drop": ["gap"]}, "missing", "gap 2.5 % \u2192 100 %"),
        ({"drop": ["gap"]}, "schema", "gap: the column is missing"),
        ({"shift": 3.5, "unlabelled": True}, "novel", "x 0 % \u2192"),
        ({"share": 0}, "freshness", "No new row has come."),
    ],
)
def test_broken_data_alert_and_nothing_is_trained_on_them(project: Project, fault: dict[str, Any], check: str, told: str) -> None:
    """Each fault of the data calls somebody, with numbers; the drift that comes with it does not start a training."""
    mini_project.fault(project.root, **fault)

    found = _look(project)

    assert found.verdict == "alert"
    assert _status(found)[check] == "alert"
    assert told in _said(found)[check]
    assert found.reason.startswith("The data are broken")


def _with(project: Project, **section: Any) -> Project:
    changed = project.policy.monitor.model_copy(update=section)
    return Project(project.root, project.policy.model_copy(update={"monitor": changed}))


@pytest.mark.parametrize("verdict", ["retrain", "alert"])
def test_drift_says_what_the_policy_wants(project: Project, verdict: str) -> None:
    """A shape that moved in each week of the window retrains, or alerts if the policy prefers that; the prediction comes first."""
    project = _with(project, drift=verdict)
    mini_project.fault(project.root, shift=0.8, unlabelled=True)

    found = _look(project)

    assert (found.verdict, _status(found)["drift"]) == (verdict, verdict), _said(found)
    assert "Shapes moved in 4 of the last 4 weeks, the latest included: the prediction" in _said(found)["drift"]
    assert {part.segment for shift in found.columns if shift.alarm for part in shift.causes} == {"group"}


def test_a_person_is_asked_where_the_policy_wants_approval(project: Project) -> None:
    """The verdict stays retrain, and nothing starts by itself."""
    project = _with(project, approval="required")
    mini_project.fault(project.root, shift=0.8, unlabelled=True)

    found = _look(project)

    assert (found.verdict, found.needs_approval) == ("retrain", True)


def test_a_training_waits_for_the_cool_down(project: Project) -> None:
    """Shortly after a release no other training starts, and the report says until when."""
    mini_project.fault(project.root, shift=0.8, unlabelled=True)

    found = _look(project, logical_date="2013-03-25T00:00:00+00:00")

    assert (found.verdict, _status(found)["drift"]) == ("healthy", "noted")
    assert "waits until 2013-04-08" in found.reason


def test_labels_that_are_not_known_yet_are_no_fault(project: Project) -> None:
    """Without labels the performance is unknown, never ok; the window is otherwise healthy, even where the schema wants labels."""
    path = project.source / project.policy.package / "schema.py"
    known = "    @pa.check('late', ignore_na=False)\n    def known(cls, column):\n        return column.notna()\n"
    path.write_text(path.read_text().replace("late: float = pa.Field(nullable=True)", f"late: float\n\n{known}"))
    mini_project.fault(project.root, unlabelled=True)

    found = _look(project)

    assert found.verdict == "healthy"
    assert _status(found)["performance"] == "unknown"
    assert found.performance is None


def test_a_certain_loss_calls_a_person_where_no_shadow_is_trained(tmp_path: Path) -> None:
    """A world that turned round costs more ROC AUC than the policy bears, beyond the interval."""
    project = mini_project.make(tmp_path, monitor={"shadow": False})
    profile.run(project)
    mini_project.fault(project.root, flip="2013-03-04")

    found = _look(project)

    assert _status(found)["performance"] == "alert"
    assert "decay" not in _status(found)
    assert found.verdict == "alert"
    assert "performance: roc_auc 0.1" in found.reason


def test_a_decayed_model_is_trained_anew(project: Project) -> None:
    """A world that turned round: the level is noted, and the shadow of the latest rows says that a training mends it."""
    live_model = mini_project.with_recipe(mini_project.released(project))
    mini_project.fault(project.root, flip="2013-03-04")

    found = live.look(project, live_model, NOW)

    assert found.verdict == "retrain"
    assert found.reason.startswith("A training is due (decay: A fresh model of the same recipe gains +0.7")
    assert _status(found)["performance"] == "noted"
    assert found.decay
    assert (found.decay.found, found.decay.days) == ("yes", 14)
    assert found.performance
    assert found.performance.at_release == pytest.approx(0.88, abs=0.05)


def test_labels_that_say_that_the_model_holds_silence_drift(project: Project) -> None:
    """Shapes moved, and yet a fresh model is no better: nobody is called."""
    live_model = mini_project.with_recipe(mini_project.released(project))
    mini_project.fault(project.root, shift=0.4)

    found = live.look(project, live_model, NOW)

    assert (found.verdict, _status(found)["drift"], _status(found)["decay"]) == ("healthy", "noted", "ok")
    assert "the labels say that the model holds" in _said(found)["drift"]


def test_an_estimate_stands_beside_what_the_labels_said(project: Project) -> None:
    """The world is as it was, so what calibrated scores promise is near what came true; where the world turned round it is not."""
    found = _look(project)
    assert found.estimate
    assert found.estimate.realised == found.performance.value  # type: ignore[union-attr]
    assert found.estimate.value == pytest.approx(found.estimate.realised, abs=0.03)

    mini_project.fault(project.root, flip="2013-03-04")
    turned = _look(project)

    assert turned.estimate == dataclasses.replace(found.estimate, realised=turned.performance.value)  # type: ignore[union-attr, type-var]
    assert turned.performance
    assert turned.performance.value < 0.2


def test_a_holdout_that_is_no_longer_delivered_takes_no_answer_but_its_own(project: Project) -> None:
    """The level at release is not known then, and nothing else is lost."""
    mini_project.fault(project.root, raises="gone", before="2013-03-01")

    found = _look(project)

    assert found.performance
    assert found.performance.at_release is None
    assert (found.verdict, _status(found)["performance"]) == ("healthy", "ok")
    assert "at release" not in _said(found)["performance"]


def test_an_old_champion_retrains(tmp_path: Path) -> None:
    """From the maximum age on; but not on a broken window: the training that is due waits, and that is told."""
    project = mini_project.make(tmp_path, monitor={"max_age_days": 28})
    profile.run(project)

    assert _look(project).verdict == "retrain"

    mini_project.fault(project.root, drop=["x"])
    found = _look(project)

    assert found.verdict == "alert"
    assert "the training that is due (age) waits" in found.reason
    assert "cannot predict rows that break the schema" in _said(found)["performance"]


def test_an_empty_window_alerts(project: Project) -> None:
    """No rows at all is a fault of the data, not a crash, and nothing is judged."""
    mini_project.fault(project.root, share=0)

    found = _look(project)

    assert (found.verdict, found.rows, found.calibration.rule) == ("alert", 0, "none")
    assert _status(found)["volume"] == "alert"


def test_a_load_that_fails_is_the_datas_fault(project: Project) -> None:
    """What load() raised is told as such."""
    mini_project.fault(project.root, raises="database is down")

    with pytest.raises(DataError, match="database is down"):
        _look(project)


def test_a_champion_without_a_profile_is_named(tmp_path: Path) -> None:
    """A release without its reference cannot be watched; the message says how to get one."""
    project = mini_project.make(tmp_path)

    with pytest.raises(DataError, match=r"profile\.parquet is missing"):
        _look(project)


def test_the_verb_writes_a_report_of_the_logical_date(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same date gives the same bytes; a negative verdict ends with exit code 10 and its outputs."""
    known = mini_project.released(project)
    monkeypatch.setattr(champion, "load", lambda _: known)  # the release record and DVC are tested with champion itself
    mini_project.fault(project.root, shift=0.8, unlabelled=True)
    path = project.root / "reports/monitor.json"

    outcome = monitor.run(project, NOW)
    first = path.read_bytes()
    monitor.run(project, NOW)

    assert path.read_bytes() == first
    assert json.loads(first)["now"] == "2013-04-01T05:30:00Z"
    assert outcome.summary.startswith("**monitor: retrain**")
    outputs = outcome.outputs
    assert (outcome.exit_code, outputs["start"], outputs["age"], outputs["drifted"]) == (10, "true", "31", "prediction x")
    assert "<svg" in (project.root / "reports/monitor.html").read_text()


def test_nothing_is_live_before_the_first_release(project: Project) -> None:
    """A project without a release record has nothing to watch, and that is no failure."""
    subprocess.run(["git", "commit", "--quiet", "--allow-empty", "-m", "first"], cwd=project.root, check=True)

    outcome = monitor.run(project, NOW)

    assert (outcome.verdict, outcome.exit_code) == ("none", 0)
    assert "nothing is live yet" in outcome.summary
