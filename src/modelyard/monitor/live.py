"""A project's live model on the current window: loads, predicts, asks the registry, and lets the pure parts judge."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from modelyard import clock, dataset
from modelyard.monitor import checks, compare, decision, measure, report, watch
from modelyard.monitor import profile as profiles
from modelyard.monitor import table as tables
from modelyard.monitor.profile import Counts, Profile
from modelyard.monitor.report import Check, Monitoring, Performance
from modelyard.monitor.sketch import Blocks

if TYPE_CHECKING:
    import pandas as pd

    from modelyard.champion import Champion
    from modelyard.project import Project

_MATURE = 0.5  # with fewer labels than this share of the rows, those that are there may not speak for the window


def look(project: Project, champion: Champion, now: datetime) -> Monitoring:
    """Load the window, let the champion predict it, and answer each check.

    Raises
    ------
    DataError
        ``load()`` fails, or the champion has no profile that this version reads.
    ProjectError
        The champion does not predict what it must.
    """
    policy = project.policy.monitor
    record = champion.release
    profile = profiles.read(champion.profile)
    end = now.replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0)
    start = end - timedelta(days=policy.window_days)
    frame = dataset.load(project, start, end).reset_index(drop=True)
    age = (now - clock.parse(record.logical_date.isoformat())) / timedelta(days=1)
    schema = _schema(project, frame)
    scores, unknown = _predict(champion, frame, fits=schema.status == "ok")
    counts, window = _count(profile, frame, scores, start, end)
    found = compare.compare(profile, counts, window, policy.alpha)
    performance: Performance | None = None
    if scores is not None:
        performance, unknown = _performance(project, champion, frame, scores)
    asked = [
        schema,
        *watch.about_rows(profile, counts, window, least=policy.volume.min, most=policy.volume.max),
        checks.freshness(_newest(counts), end, policy.stale_after, rows=counts.total),
        checks.age(age, policy.max_age_days),
        checks.release(record.model.version, _live_version(project)),
    ]
    if len(frame):
        asked += [
            checks.missing(found.shifts, limit=policy.missing),
            checks.novel(found.shifts),
            checks.drift(found.shifts, found.calibration, None, need=policy.windows.need, of=policy.windows.of, says=policy.drift),
            checks.performance(performance, unknown, limit=policy.decay, shadow=False),
        ]
    last = _last_training(project, record.logical_date)
    cooling = decision.cooling(now, last, policy.cooldown_days)
    decided = decision.decide(asked, cooling=cooling, approval=policy.approval == "required")
    return Monitoring(
        verdict=decided.verdict,
        reason=decided.reason,
        reasons=decided.reasons,
        name=project.policy.name,
        now=now,
        window=(start, end),
        rows=len(frame),
        reference_rows=profile.counts.total,
        champion=report.Champion(
            sha256=record.model.sha256, version=record.model.version, released=record.logical_date, age_days=round(age, 3)
        ),
        checks=decided.checks,
        calibration=found.calibration,
        columns=found.shifts,
        performance=performance,
        needs_approval=decided.needs_approval,
        profile={"profile": hashlib.sha256(champion.profile.read_bytes()).hexdigest(), **profile.hashes},
    )


def _count(
    profile: Profile, frame: pd.DataFrame, scores: np.ndarray | None, start: datetime, end: datetime
) -> tuple[Counts, Blocks | None]:
    """Count the rows, with the predictions as the column that the profile has for them."""
    name = next((column.name for column in profile.layout.columns if column.role == "prediction"), None)
    rows = frame if scores is None or name is None else frame.assign(**{name: scores})
    first, last = (int(np.datetime64(moment, "us").astype(np.int64)) for moment in (start, end))
    return measure.count(profile, tables.from_frame(rows, "the window"), start=first, end=last)


def _newest(counts: Counts) -> datetime | None:
    return watch.moment(counts.last) if counts.last is not None else None


def _live_version(project: Project) -> str | None:
    """Version of the registry's champion; empty where none has the alias, None without a registry."""
    from modelyard import registry, state

    folder = project.root / state.FOLDER
    if not (registry.is_remote() or (folder / state.DATABASE).exists()):
        return None
    found = registry.get_alias(registry.connect(folder), project.policy.name, "champion")
    return found.version if found else ""


def _last_training(project: Project, released: datetime) -> datetime:
    """Logical date of the newest training that was logged, whatever its verdict; that of the release where none is newer."""
    from modelyard import registry, state

    release = clock.parse(released.isoformat())
    folder = project.root / state.FOLDER
    if not (registry.is_remote() or (folder / state.DATABASE).exists()):
        return release
    dates = registry.logical_dates(registry.connect(folder), project.policy.name)
    return max([release, *(clock.parse(date) for date in dates)])


def _schema(project: Project, frame: pd.DataFrame) -> Check:
    """Labels that are not known yet are no fault here, even where the schema demands them of a complete batch."""
    from modelyard import validate

    label = project.policy.data.label
    found = validate.schema(project).failures(frame)
    return checks.fits([f.message for f in found if f.column != label or f.examples or not f.rows])


def _predict(champion: Champion, frame: pd.DataFrame, *, fits: bool) -> tuple[np.ndarray | None, str]:
    """The champion's predictions; or None and why, where rows that break the schema cannot be predicted."""
    from modelyard.predictions import of_champion

    if frame.empty:
        return None, "there are no rows"
    try:
        return of_champion(champion, frame), ""
    except Exception as error:
        if fits:
            raise
        return None, f"the champion cannot predict rows that break the schema ({error})"


def _performance(project: Project, champion: Champion, frame: pd.DataFrame, scores: np.ndarray) -> tuple[Performance | None, str]:
    """The metric that decided the release, on the labelled rows; or None and why it is not known."""
    from modelyard.evaluate import labelled, metrics, paired
    from modelyard.policy import METRICS

    task, name = project.policy.task, champion.release.evaluation.metric
    rows, label, day = labelled(project, frame)
    days = len(set(day.tolist()))
    if len(rows) < _MATURE * len(frame):
        return None, f"{len(rows):,} of {len(frame):,} rows have a label"
    if days < paired.MINIMUM_DAYS:
        return None, f"labels are there for {days} days, and {paired.MINIMUM_DAYS} are needed"
    if name not in METRICS[task]:
        return None, f"{name}, which decided the release, is no metric of a {task} task"
    if why := metrics.undefined(name, label):
        return None, why
    known = frame[project.policy.data.label].notna().to_numpy()
    try:
        interval = paired.interval(name, day, label, scores[known], paired.Draw(confidence=0.975))  # one-sided each: 95 % in all
    except ValueError as error:
        return None, str(error)
    found = Performance(
        metric=name,
        more_is_better=METRICS[task][name],
        value=interval.value,
        lower=interval.lower,
        upper=interval.upper,
        at_release=champion.release.evaluation.challenger,
        rows=len(rows),
        days=days,
    )
    return found, ""
