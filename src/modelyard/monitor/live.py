"""A project's live model on the current window: loads, predicts, asks the registry, and lets the pure parts judge."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from modelyard import clock, dataset
from modelyard.errors import DataError
from modelyard.evaluate import metrics
from modelyard.monitor import checks, compare, decision, measure, performance, report, served, watch
from modelyard.monitor import profile as profiles
from modelyard.monitor import table as tables
from modelyard.monitor.profile import Counts, Profile
from modelyard.monitor.report import Check, Decay, Estimate, Monitoring, Performance
from modelyard.monitor.shadow import Window, judge
from modelyard.monitor.sketch import Blocks
from modelyard.policy import METRICS

if TYPE_CHECKING:
    import pandas as pd

    from modelyard.champion import Champion
    from modelyard.project import Project


@dataclass(frozen=True)
class Labels:
    """What the labels that have come say of the live model; and why, where they say nothing."""

    performance: Performance | None = None
    no_performance: str = ""
    decay: Decay | None = None
    no_decay: str = ""
    estimate: Estimate | None = None


@dataclass(frozen=True)
class _Seen:
    """The rows that the live model is judged by: those of ``load()``, predicted by it now, or those that it served."""

    profile: Profile
    frame: pd.DataFrame
    counted: tuple[Counts, Blocks | None]
    scores: np.ndarray | None
    unknown: str  # why labels say nothing of them
    known: np.ndarray | None = None  # which of them load() returned, where that is a question


def look(project: Project, champion: Champion, now: datetime) -> Monitoring:
    """Load the window, let the champion predict it, and answer each check.

    Where the policy names a prediction log, what is asked of features, of predictions and of the metric is asked of the rows that were
    served; what is asked of the data (schema, volume, freshness, duplicates), and of fresh models, of those that ``load()`` returns.

    Raises
    ------
    DataError
        ``load()`` fails, or the champion has no profile that this version reads.
    ProjectError
        The champion does not predict what it must.
    """
    policy, demand = project.policy.monitor, project.policy.risk.demand
    record = champion.release
    profile = profiles.read(champion.profile)
    end = now.replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0)
    start = end - timedelta(days=policy.window_days)
    frame = dataset.load(project, start, end).reset_index(drop=True)
    age = (now - clock.parse(record.logical_date.isoformat())) / timedelta(days=1)
    schema = _schema(project, frame)
    scores, unknown = _predict(champion, frame, fits=schema.status == "ok")
    counts, window = _count(profile, frame, scores, start, end)
    seen = _Seen(profile, frame, (counts, window), scores, unknown)
    answers = served.of(project, champion, profile, frame, start, end) if policy.served else None
    if answers:
        counted = _count(answers.profile, answers.frame, answers.scores, start, end)
        seen = _Seen(answers.profile, answers.frame, counted, answers.scores, answers.no_labels, answers.found)
    found = compare.compare(seen.profile, *seen.counted, policy.alpha)
    labels = _labels(project, champion, _usual(profile), seen, Window(frame, scores, start, end) if scores is not None else unknown)
    asked = [
        schema,
        *watch.about_rows(profile, counts, window, least=policy.volume.min, most=policy.volume.max),
        checks.freshness(watch.newest(counts), end, policy.stale_after, rows=counts.total),
        checks.duplicates(counts.duplicates, profile.duplicates, limit=policy.duplicates),
        checks.age(age, demand.life(policy.max_age_days)),
        checks.release(record.model.version, _live_version(project)),
        *([answers.check] if answers else []),
    ]
    if len(seen.frame):
        asked += [
            checks.missing(found.shifts, limit=policy.missing),
            checks.novel(found.shifts),
            checks.drift(found.shifts, found.calibration, labels.decay, need=policy.windows.need, of=policy.windows.of, says=policy.drift),
            checks.performance(labels.performance, labels.no_performance, limit=policy.loss, shadow=policy.shadow),
            *([checks.decay(labels.decay, labels.no_decay)] if policy.shadow else []),
        ]
    last = _last_training(project, record.logical_date)
    cooling = decision.cooling(now, last, policy.cooldown_days)
    decided = decision.decide(asked, cooling=cooling, approval=policy.approval == "required" or not demand.retrain)
    return Monitoring(
        verdict=decided.verdict,
        reason=decided.reason,
        reasons=decided.reasons,
        name=project.policy.name,
        now=now,
        window=(start, end),
        rows=len(seen.frame),
        reference_rows=profile.counts.total,
        champion=report.Champion(
            sha256=record.model.sha256, version=record.model.version, released=record.logical_date, age_days=round(age, 3)
        ),
        checks=decided.checks,
        calibration=found.calibration,
        columns=found.shifts,
        performance=labels.performance,
        decay=labels.decay,
        estimate=labels.estimate,
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


def _labels(project: Project, champion: Champion, usual: float, seen: _Seen, window: Window | str) -> Labels:
    """Ask the labels.

    Parameters
    ----------
    usual
        Share of the reference's rows that have a label.
    window
        The rows of ``load()``, since fresh models need all of a row; or why they cannot be predicted.
    """
    metric = champion.release.evaluation.metric
    if metric not in METRICS[project.policy.task]:
        reason = f"{metric}, which decided the release, is no metric of a {project.policy.task} task"
        return Labels(no_performance=reason, no_decay=reason)
    found, no_performance, estimated = None, seen.unknown, None
    if seen.scores is not None:
        rows = _rows(project, seen.frame, seen.scores)
        if not no_performance:
            found, no_performance = _performance(project, champion, metric, rows if seen.known is None else rows.take(seen.known), usual)
        estimated = performance.estimate(metric, rows.time, seen.scores, realised=found.value if found else None)
    if not project.policy.monitor.shadow:
        return Labels(found, no_performance, estimate=estimated)
    decay, no_decay = judge(champion, window, usual) if isinstance(window, Window) else (None, window)
    return Labels(found, no_performance, decay, no_decay, estimated)


def _performance(project: Project, champion: Champion, metric: str, rows: performance.Rows, usual: float) -> tuple[Performance | None, str]:
    """The metric that decided the release, now and on its hold-out; or None and why it is not known."""
    known, reason = performance.matured(rows.time, rows.label, usual)
    if reason:
        return None, reason
    now, reason = performance.level(metric, rows.take(known), metrics.settings(project.policy.evaluate))
    if now is None:
        return None, reason
    return performance.judge(metric, METRICS[project.policy.task][metric], now, _at_release(project, champion, metric)), ""


def _at_release(project: Project, champion: Champion, metric: str) -> performance.Level | None:
    """The level on the hold-out of the release; None where the data no longer deliver it."""
    from modelyard.predictions import of_champion

    try:
        frame = dataset.load(project, *champion.release.evaluation.holdout).reset_index(drop=True)
    except DataError:
        return None
    rows = _rows(project, frame, of_champion(champion, frame))
    return performance.level(metric, rows.take(~np.isnan(rows.label)), metrics.settings(project.policy.evaluate))[0]


def _rows(project: Project, frame: pd.DataFrame, scores: np.ndarray) -> performance.Rows:
    data = project.policy.data
    return performance.Rows(frame[data.time].to_numpy(), frame[data.label].to_numpy(dtype=float, na_value=np.nan), scores)


def _usual(profile: Profile) -> float:
    """Share of the reference's rows that have a label."""
    label = next((column.name for column in profile.layout.columns if column.role == "label"), None)
    if label is None or not profile.counts.total:
        return 0.0
    return 1 - float(profile.counts.cells[label][:, 0].sum()) / profile.counts.total
