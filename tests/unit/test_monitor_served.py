"""The live model as it really served: features and predictions from the log, labels by row id."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from unit import mini_project
from unit.answers import array, written
from unit.test_monitor import _said, _status

from modelyard import dataset, predictions, profile, served
from modelyard.champion import Champion
from modelyard.errors import DataError
from modelyard.monitor import live, watch
from modelyard.monitor.report import Monitoring
from modelyard.project import Project
from modelyard.serve.log import Answer

NOW = datetime(2013, 4, 1, 5, 30, tzinfo=UTC)
MARCH = datetime(2013, 3, 4), datetime(2013, 4, 1)
FEATURES = ("time", "x", "gap", "group")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = mini_project.make(tmp_path, monitor={"shadow": False, "served": "log", "row_id": ["serial"]})
    profile.run(made)
    return made


def log(
    project: Project,
    *,
    change: Callable[[pd.DataFrame], pd.DataFrame] = lambda frame: frame,
    predict: Callable[[np.ndarray], np.ndarray] = lambda scores: scores,
    features: Sequence[str] = FEATURES,
    named: bool = True,
    redact: Sequence[str] = (),
    **fields: Any,
) -> Champion:
    """A champion that answered all rows of March, 40 at a time, a week before they happened; and its log."""
    champion = mini_project.released(project)
    frame = change(dataset.load(project, *MARCH).reset_index(drop=True))
    scores = predict(predictions.of_champion(champion, frame))
    usual = {"role": "champion", "version": "7", "sha256": champion.release.model.sha256}
    answers = []
    for first in range(0, len(frame), 40):
        rows = frame.iloc[first : first + 40]
        given = {
            "time": rows["time"].iloc[0].to_pydatetime().replace(tzinfo=UTC) - timedelta(days=7),
            "request_id": f"{fields.get('role', '')}{fields.get('sha256', '')}{first}",
            "ids": rows["serial"].astype(str).tolist() if named else None,
            "columns": {name: array(rows[name].to_numpy()) for name in features},
            "predictions": scores[first : first + 40],
        }
        answers.append(Answer(**(given | usual | fields)))
    assert written(project.root / "log", *answers, redact=list(redact)).written == len(answers)
    return champion


def look(project: Project, champion: Champion) -> Monitoring:
    return live.look(project, champion, NOW)


def test_the_same_rows_give_the_same_answers(project: Project) -> None:
    """Where the service got what load() returns, the log says what monitor finds without it, and that it does."""
    champion = log(project)
    without = Project(
        project.root, project.policy.model_copy(update={"monitor": project.policy.monitor.model_copy(update={"served": None})})
    )

    found, before = look(project, champion), look(without, champion)

    assert found.verdict == "healthy"
    assert (found.rows, found.performance, found.estimate) == (before.rows, before.performance, before.estimate)
    assert found.calibration.rule == "blocks"
    assert {s.column: s.shape for s in found.columns if s.column in ("x", "gap", "group", "prediction", "late")} == {
        s.column: s.shape for s in before.columns if s.column != "serial"
    }
    assert _said(found)["served"] == "1,120 rows served by version 7."
    assert "served" not in _said(before)


def test_what_the_service_got_is_what_drifts(project: Project) -> None:
    """A caller that sends another unit than the data have moves what was served, and not what load() returns."""
    champion = log(project, change=lambda frame: frame.assign(x=frame["x"] + 1.5))

    found = look(project, champion)

    assert _status(found)["drift"] == "retrain"
    assert "x" in _said(found)["drift"]
    assert (_status(found)["schema"], _status(found)["volume"]) == ("ok", "ok")


def test_what_was_answered_is_what_performs(project: Project) -> None:
    """A service that turned its scores round is found by the labels, although the model itself is as good as ever."""
    champion = log(project, predict=lambda scores: 1 - scores)

    found = look(project, champion)

    assert found.performance
    assert found.performance.value < 0.2
    assert found.performance.rows == 1120
    assert _status(found)["performance"] == "alert"


def test_other_answers_are_left_out_and_told(project: Project) -> None:
    """Those of a fallback, of another model, and of rows that were asked for again; a shadow's are nobody's answers."""
    mini_project.released(project)
    champion = log(project, predict=lambda scores: 1 - scores)
    again = log(project)
    log(project, role="fallback", version="6", sha256="6" * 64)
    log(project, version="5", sha256="5" * 64, predict=lambda scores: scores[:40])
    log(project, role="shadow", version="8", sha256="8" * 64)

    found = look(project, again)

    assert champion.release == again.release
    assert found.rows == 1120
    said = _said(found)["served"]
    assert said.startswith("1,120 rows served by version 7; left out: 1,120 by a fallback, ")
    assert "1,120 asked for again later" in said
    assert (_status(found)["served"], found.verdict) == ("noted", "healthy")


def test_the_last_answer_counts(project: Project) -> None:
    """Whoever asks again acts on what was said last."""
    log(project, time=datetime(2013, 3, 3, tzinfo=UTC), predict=lambda scores: 1 - scores)
    champion = log(project, time=datetime(2013, 3, 4, tzinfo=UTC))

    found = look(project, champion)

    assert found.performance
    assert found.performance.value > 0.8


def test_rows_that_load_does_not_know_have_no_label(project: Project) -> None:
    """They drift and are counted; the metric is of the others."""
    champion = log(project)
    mini_project.fault(project.root, share=0.75)  # the first 30 of each 40

    found = look(project, champion)

    assert found.rows == 1120
    assert found.performance
    assert found.performance.rows == 840
    assert "280 are not in load()" in _said(found)["served"]


@pytest.mark.parametrize(
    ("row_id", "named", "reason"),
    [
        ([], True, "monitor.row_id names no columns"),
        (["serial"], False, "none of the rows that were served is in load()"),
        (["group", "serial"], True, "none of the rows that were served is in load()"),
    ],
)
def test_without_row_ids_there_is_no_metric_but_drift(project: Project, row_id: list[str], named: bool, reason: str) -> None:
    """It is unknown, with the reason; what needs no label is asked, and the estimate stands alone."""
    champion = log(project, named=named)
    changed = project.policy.monitor.model_copy(update={"row_id": row_id})

    found = look(Project(project.root, project.policy.model_copy(update={"monitor": changed})), champion)

    assert (_status(found)["performance"], _status(found)["drift"]) == ("unknown", "ok")
    assert reason in _said(found)["performance"]
    assert found.estimate
    assert found.estimate.realised is None


def test_labels_that_have_not_come_are_not_known(project: Project) -> None:
    """The rows are found, and wait."""
    champion = log(project)
    mini_project.fault(project.root, unlabelled=True)

    found = look(project, champion)

    assert "labels of 0 days have matured" in _said(found)["performance"]
    assert _said(found)["served"] == "1,120 rows served by version 7."


def test_ids_that_are_no_ids_are_told(project: Project) -> None:
    """A row id that several rows share finds none of them."""
    champion = log(project)
    changed = project.policy.monitor.model_copy(update={"row_id": ["group"]})

    found = look(Project(project.root, project.policy.model_copy(update={"monitor": changed})), champion)

    assert "3 ids stand for several rows of load()" in _said(found)["served"]


def test_a_column_that_is_not_logged_is_not_missing(project: Project) -> None:
    """One that is no feature, or that the policy redacts, is not compared at all."""
    champion = log(project, redact=["gap"])

    found = look(project, champion)

    assert {shift.column for shift in found.columns} == {"x", "group", "prediction", "late"}
    assert found.verdict == "healthy"


def test_without_an_event_time_the_answers_time_counts(project: Project) -> None:
    """A model that does not read the time is watched by when it was asked."""
    champion = log(project, features=["x", "gap", "group"])

    found = look(project, champion)

    assert found.rows == 21 * 40  # what was answered in the window is a week older than its rows
    assert found.performance
    assert _status(found)["drift"] == "ok"


def test_an_empty_log_calls_somebody(project: Project) -> None:
    """Nothing was served, or nothing was brought here; both want a person."""
    (project.root / "log").mkdir()

    found = look(project, mini_project.released(project))

    assert (found.verdict, _status(found)["served"]) == ("alert", "alert")
    assert "The prediction log holds none of this window: 0 rows served by version 7" in found.reason
    assert "drift" not in _status(found)


def test_a_log_that_is_not_there_is_an_error(project: Project) -> None:
    """The policy names it."""
    with pytest.raises(DataError, match="There is no folder"):
        look(project, mini_project.released(project))


def test_damaged_lines_are_told(project: Project) -> None:
    """The rest is watched."""
    champion = log(project)
    (project.root / "log/a.jsonl").write_text('{"format": 1, "ti\n')

    assert "1 damaged lines of the log" in _said(look(project, champion))["served"]


def test_a_compaction_says_what_the_log_says(project: Project) -> None:
    """The report is the same, byte by byte."""
    champion = log(project)
    watch.write(project.root / "log.json", look(project, champion))
    served.compact(project.root / "log", project.root / "parquet")
    changed = project.policy.monitor.model_copy(update={"served": "parquet"})

    watch.write(
        project.root / "parquet.json", look(Project(project.root, project.policy.model_copy(update={"monitor": changed})), champion)
    )

    assert (project.root / "parquet.json").read_bytes() == (project.root / "log.json").read_bytes()


def test_fresh_models_need_what_load_returns(tmp_path: Path) -> None:
    """The log holds features only; so decay is asked of load()'s rows, beside what was served."""
    project = mini_project.make(tmp_path, monitor={"served": "log", "row_id": ["serial"]})
    profile.run(project)
    mini_project.fault(project.root, flip="2013-03-04")
    log(project)
    champion = mini_project.with_recipe(mini_project.released(project))

    found = look(project, champion)

    assert found.decay
    assert (found.decay.found, found.verdict) == ("yes", "retrain")
    assert found.performance
    assert found.performance.value < 0.2
