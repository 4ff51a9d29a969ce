"""``modelyard monitor``: the current window against the champion's profile, and against its metric at release.

Pure parts: :mod:`.profile` (counts per column), :mod:`.compare` (checks and verdict), :mod:`.report` (what is written).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelyard import clock
from modelyard.errors import ModelyardError
from modelyard.outcome import Outcome
from modelyard.project import REPORTS, Project, find

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from modelyard.champion import Champion
    from modelyard.monitor.compare import Check, Performance, Shift
    from modelyard.monitor.profile import Profile
    from modelyard.monitor.report import Monitoring

REPORT = "monitor.json"
_MATURE = 0.5  # with fewer labels than this share of the rows, those that are there may not speak for the window


def run(project: Project, now: datetime) -> Outcome:
    """Watch the champion on the last ``monitor.window_days`` before ``now``, and write ``reports/monitor.json``.

    Parameters
    ----------
    now
        Logical date, aware.

    Returns
    -------
    Outcome
        ``healthy`` is positive, ``alert`` and ``retrain`` are not; ``none`` (positive) where nothing was released yet.
    """
    from modelyard import champion, jsonfile
    from modelyard.console import step
    from modelyard.monitor import report

    with step("bring the champion"):
        live = champion.load(project)
    if live is None:
        return Outcome(verdict="none", summary="**monitor: none**: nothing is live yet. Run train, and merge its release.")
    with step("monitor"):
        found = watch(project, live, now)
    jsonfile.write(project.report(REPORT), found)
    with step("log the check"):
        unlogged = _log(project, found)
    performance = found.performance
    return Outcome(
        verdict=found.verdict,
        summary=report.summary(found) + "".join(f"\n\n{problem}" for problem in unlogged),
        positive=found.verdict == "healthy",
        alert=f"Modelyard: {project.policy.name} needs a look" if found.verdict == "alert" else "",
        outputs={
            "reasons": str(len(found.reasons)),
            "metric": performance.metric if performance else "",
            "value": f"{performance.value:.4f}" if performance else "",
            "age": f"{found.champion.age_days:.0f}",
            "drifted": " ".join(name for name, shift in found.columns.items() if shift.drifted),
        },
        problems=(*found.reasons, *unlogged),
    )


def _log(project: Project, found: Monitoring) -> tuple[str, ...]:
    """Keep the check with MLflow; what hinders that is told, and does not hide the verdict."""
    from modelyard import registry, state

    name = f"{project.policy.name}-monitor"
    metrics = {f"distance.{column}": shift.distance for column, shift in found.columns.items() if shift.distance is not None}
    metrics |= {"rows": found.rows, "age_days": found.champion.age_days}
    if found.prediction and found.prediction.distance is not None:
        metrics["distance.prediction"] = found.prediction.distance
    if found.performance:
        metrics[found.performance.metric] = found.performance.value

    def write(folder: Path | None) -> None:
        registry.log_run(
            registry.connect(folder),
            experiment=name,
            name=f"monitor {found.now:%Y-%m-%d}",
            params={},
            metrics=metrics,
            tags={"verdict": found.verdict, "champion": found.champion.version, "logical_date": found.now.isoformat()},
            artifacts={REPORT: project.root / REPORTS / REPORT},
        )

    try:
        if registry.is_remote():
            write(None)
        else:
            state.transact(project.root, write, f"monitor {found.now:%Y-%m-%d}")
    except ModelyardError as error:
        return (f"The check was not logged: {error.what}",)
    return ()


def watch(project: Project, champion: Champion, now: datetime) -> Monitoring:
    """Load the window, let the champion predict it, and answer each check.

    Raises
    ------
    DataError
        ``load()`` fails.
    ProjectError
        The champion has no profile, or does not predict what it must.
    """
    from modelyard import dataset, jsonfile
    from modelyard.monitor import compare, report
    from modelyard.monitor.profile import Profile

    policy = project.policy.monitor
    record = champion.release
    reference = jsonfile.read(champion.profile, Profile, "Run `modelyard train`, and release the model anew.")
    end = now.replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0)
    start = end - timedelta(days=policy.window_days)
    frame = dataset.load(project, start, end).reset_index(drop=True)
    age = (now - clock.parse(record.logical_date.isoformat())) / timedelta(days=1)
    checks = [
        _schema(project, frame),
        compare.volume(len(frame), policy.window_days, reference.rows, reference.days, policy.volume),
        compare.age(age, policy.max_age_days),
        compare.release(record.model.version, _live_version(project)),
    ]
    columns: dict[str, Shift] = {}
    prediction, performance = None, None
    if len(frame):
        scores, unknown = _predict(champion, frame, fits=checks[0].status == "ok")
        columns, prediction = _shifts(reference, frame, scores, policy.distance)
        if scores is not None:
            performance, unknown = _performance(project, champion, frame, scores)
        checks.append(compare.missing(columns, policy.missing))
        checks.append(compare.drift(columns, prediction, policy.distance, judged=performance is not None, verdict=policy.drift))
        checks.append(compare.performance(performance, unknown, policy.decay))
    verdict, reasons = compare.decide(checks)
    return report.Monitoring(
        verdict=verdict,
        reasons=reasons,
        now=now,
        window=(start, end),
        rows=len(frame),
        champion=report.Champion(
            sha256=record.model.sha256, version=record.model.version, released=record.logical_date, age_days=round(age, 3)
        ),
        checks=checks,
        prediction=prediction,
        columns=columns,
        performance=performance,
    )


def _live_version(project: Project) -> str | None:
    """Version of the registry's champion; empty where none has the alias, None without a registry."""
    from modelyard import registry, state

    folder = project.root / state.FOLDER
    if not (registry.is_remote() or (folder / state.DATABASE).exists()):
        return None
    found = registry.get_alias(registry.connect(folder), project.policy.name, "champion")
    return found.version if found else ""


def _schema(project: Project, frame: pd.DataFrame) -> Check:
    """Labels that are not known yet are no fault here, even where the schema demands them of a complete batch."""
    from modelyard import validate
    from modelyard.monitor.compare import Check

    label = project.policy.data.label
    found = validate.schema(project).failures(frame)
    failures = [f for f in found if f.column != label or f.examples or not f.rows]
    if failures:
        return Check(name="schema", status="alert", message="; ".join(f.message for f in failures) + ".")
    return Check(name="schema", status="ok", message="All rows fit the schema.")


def _predict(champion: Champion, frame: pd.DataFrame, *, fits: bool) -> tuple[np.ndarray | None, str]:
    """The champion's predictions; or None and why, where rows that break the schema cannot be predicted."""
    from modelyard.predictions import of_champion

    try:
        return of_champion(champion, frame), ""
    except Exception as error:
        if fits:
            raise
        return None, f"the champion cannot predict rows that break the schema ({error})"


def _shifts(reference: Profile, frame: pd.DataFrame, scores: np.ndarray | None, limit: float) -> tuple[dict[str, Shift], Shift | None]:
    import pandas as pd

    from modelyard.monitor import compare
    from modelyard.monitor.profile import count

    nothing = pd.Series(float("nan"), index=frame.index)  # a column that is gone is missing in every row
    columns = {name: compare.shift(before, count(before, frame.get(name, nothing)), limit) for name, before in reference.columns.items()}
    if scores is None:
        return columns, None
    return columns, compare.shift(reference.prediction, count(reference.prediction, pd.Series(scores)), limit)


def _performance(project: Project, champion: Champion, frame: pd.DataFrame, scores: np.ndarray) -> tuple[Performance | None, str]:
    """The metric that decided the release, on the labelled rows; or None and why it is not known."""
    from modelyard.evaluate import labelled, metrics
    from modelyard.evaluate.paired import MINIMUM_DAYS
    from modelyard.monitor.compare import Performance
    from modelyard.policy import METRICS

    task, name = project.policy.task, champion.release.evaluation.metric
    rows, label, day = labelled(project, frame)
    days = len(set(day.tolist()))
    if len(rows) < _MATURE * len(frame):
        return None, f"{len(rows):,} of {len(frame):,} rows have a label"
    if days < MINIMUM_DAYS:
        return None, f"labels are there for {days} days, and {MINIMUM_DAYS} are needed"
    if name not in METRICS[task]:
        return None, f"{name}, which decided the release, is no metric of a {task} task"
    if why := metrics.undefined(name, label):
        return None, why
    known = frame[project.policy.data.label].notna().to_numpy()
    value, before = metrics.compute(task, label, scores[known])[name], champion.release.evaluation.challenger
    loss = before - value if METRICS[task][name] else value - before
    return Performance(metric=name, value=value, at_release=before, loss=loss, rows=len(rows), days=days), ""


@click.command("monitor")
@clock.now_option
def command(now: datetime) -> Outcome:
    """Compare the current window with the champion's profile.

    Checks schema, volume, missing values, drift of each column and of the prediction, the metric where labels are there, and
    the champion's age. Verdict: healthy, alert or retrain (exit code 10 for the latter two); none where nothing is live.
    """
    return run(find(), now)
