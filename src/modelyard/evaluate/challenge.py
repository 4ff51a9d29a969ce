"""A project's challenger on its hold-out: loads, predicts with each model, and lets the pure parts judge."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from modelyard import champion as champions
from modelyard import checklist, dataset, history, jsonfile, validate
from modelyard.errors import DataError, ModelyardError
from modelyard.evaluate import (
    curves,
    decision,
    dependence,
    fairness,
    gate,
    importance,
    leakage,
    metrics,
    readiness,
    report,
    robustness,
    segments,
)
from modelyard.evaluate.check import Check
from modelyard.evaluate.gate import Compared, Rows
from modelyard.evaluate.paired import Draw
from modelyard.predictions import challenger as challenger_of
from modelyard.predictions import of_champion
from modelyard.project import MODEL, Project
from modelyard.release import sha256

if TYPE_CHECKING:
    from datetime import datetime

    import pandas as pd

    from modelyard.champion import Champion
    from modelyard.dataset import Split
    from modelyard.evaluate.report import Evaluation

#: Timings and memory, among the reports.
READINESS = "readiness.json"
_TIMED = ("latency", "memory")


def judge(project: Project, champion: Champion | None) -> Evaluation:
    """Predict the hold-out with both models, ask each question, and decide.

    Raises
    ------
    DataError
        There is no data, or none before the hold-out.
    ProjectError
        There is no model, or it does not predict what it must.
    """
    policy, settings = project.policy, project.policy.evaluate
    split = dataset.split(project)
    frame, label, day = labelled(project, split.holdout)
    rows = Rows(day, label)
    predict = challenger_of(project)
    score = predict(frame)
    digest = sha256(project.root / MODEL)
    challengers = _tried(project, split, digest)
    values = metrics.compute(policy.task, label, score, metrics.settings(settings))
    ranges = gate.intervals(policy.task, rows, score, settings)
    rival, refusal = _predicted(champion, frame, split) if champion else (None, "")
    same = champion is not None and champion.release.model.sha256 == digest
    if refusal:
        first = Compared(Check(family="champion", name="champion", status="unknown", message=refusal))
    elif rival is not None:
        first = gate.against_champion(policy.task, settings, rows, score, rival, same=same, challengers=challengers)
    else:
        first = gate.against_constant(policy.task, settings, rows, score, _constant(project, split))
    checks = [first.check, *gate.criteria(policy.task, values, ranges, settings.criteria)]
    if champion and first.comparison and settings.rule == "non-inferior" and not first.superior:
        checks += _anchored(project, champion, rows, frame, score, challengers)
    draw, schema = Draw(0.975, settings.replicates, settings.seed), validate.schema(project).model
    groups = {name: frame[name].to_numpy() for name in frame.columns if name not in (policy.data.label, policy.data.time)}
    features = [name for name in frame.columns if name != policy.data.label]
    by_segment = segments.judge(
        policy.task, settings.metric, groups, day, label, score, rival, settings.segments, draw, metrics.settings(settings)
    )
    by_group = fairness.judge(policy.task, groups, day, label, score, settings.fairness, settings.threshold, draw)
    lives_on = importance.compare(
        policy.task,
        settings.metric,
        frame,
        label,
        day,
        features,
        predict,
        partial(of_champion, champion) if champion and rival is not None else None,
        given=metrics.settings(settings),
        seed=settings.seed,
    )
    firm = robustness.judge(
        policy.task,
        predict,
        frame,
        features,
        settings.expectations,
        scores=score,
        guard=robustness.guard(schema),
        seed=settings.seed,
    )
    known = split.holdout[policy.data.label].notna().to_numpy()
    leaks = leakage.judge(
        policy.task,
        split.train,
        split.holdout[known],
        label=policy.data.label,
        time=policy.data.time,
        scores=score,
        later=leakage.known_later(schema),
        predict=predict,
        limit=settings.too_good,
    )
    ready = readiness.of(project)
    jsonfile.write(project.report(READINESS), ready)
    checks += [*by_segment.checks, *by_group.checks, *firm.checks, *leaks.checks, *map(_timeless, ready.checks)]
    checks += checklist.of(project).checks
    verdict, reasons = decision.decide(checks, policy.risk.demand)
    return report.Evaluation(
        verdict=verdict,
        reasons=reasons,
        task=policy.task,
        metric=settings.metric,
        rule=settings.rule,
        superior=first.superior,
        risk=policy.risk.level,
        challenger=report.Challenger(
            sha256=digest, metrics=values, ranges=report.ranges(values, ranges), curves=curves.of(policy.task, label, score)
        ),
        champion=_champion(project, champion, rows, rival) if champion else None,
        comparison=first.comparison,
        checks=checks,
        segments=by_segment,
        fairness=by_group,
        importance=lives_on,
        dependence=dependence.partial(
            frame, [each.column for each in lives_on], predict, partial(of_champion, champion) if champion and rival is not None else None
        ),
        holdout=(split.start, split.end),
        inputs=_inputs(project, split, day, challengers),
    )


def _timeless(check: Check) -> Check:
    """What was timed differs from run to run: the report keeps the answer, and :data:`READINESS` the numbers."""
    if not check.name.startswith(_TIMED):
        return check
    said = {"passed": "Within the limit", "failed": "Over the limit", "noted": "Measured; there is no limit"}
    message = f"{said[check.status]}: {READINESS} has the numbers." if check.status in said else check.message
    return check.model_copy(update={"value": None, "lower": None, "upper": None, "message": message})


def labelled(project: Project, frame: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """The rows whose label is known, the labels, and the calendar day of each row as a number."""
    policy = project.policy
    known = frame[frame[policy.data.label].notna()].reset_index(drop=True)
    label = known[policy.data.label].to_numpy(dtype=float)
    if policy.task == "binary" and (odd := sorted(set(label) - {0.0, 1.0})):
        raise DataError(f"The label {policy.data.label!r} of a binary task holds {odd[0]:g}.", "Let load() return 0, 1 or missing.")
    return known, label, known[policy.data.time].to_numpy().astype("datetime64[D]").astype(int)


def period(start: datetime, end: datetime) -> str:
    """The hold-out as a run's tag names it."""
    return f"{start:%Y-%m-%d}/{end:%Y-%m-%d}"


def _tried(project: Project, split: Split, digest: str) -> int:
    """Models that were judged on this hold-out, as far as the registry knows, this one included."""
    from modelyard import registry, state

    folder = project.root / state.FOLDER
    if not (registry.is_remote() or (folder / state.DATABASE).exists()):
        return 1
    runs = registry.newest_runs(registry.connect(folder), project.policy.name, 100)
    tag = period(split.start, split.end)
    return len({digest, *(tags["model.sha256"] for _, tags in runs if tags.get("holdout") == tag and "model.sha256" in tags)})


def _predicted(champion: Champion, frame: pd.DataFrame, split: Split) -> tuple[np.ndarray | None, str]:
    """What the champion says of the hold-out; or None, and why it cannot be asked."""
    if champion.release.evaluation.holdout[0] > split.start:
        until = champion.release.evaluation.holdout[0]
        return (
            None,
            f"The champion was trained on rows up to {until:%Y-%m-%d}, and would know the hold-out from {split.start:%Y-%m-%d}.",
        )
    try:
        return of_champion(champion, frame), ""
    except ModelyardError as error:
        return None, f"The champion cannot be asked: {error.what}"


def _constant(project: Project, split: Split) -> float:
    """What a model says that knows only the training labels: their mean, or for absolute errors their median."""
    label = split.train[project.policy.data.label].to_numpy(dtype=float, na_value=np.nan)
    middle = np.nanmedian if project.policy.evaluate.metric in ("mae", "pinball") else np.nanmean
    return float(middle(label)) if (~np.isnan(label)).any() else 0.0


def _anchored(project: Project, champion: Champion, rows: Rows, frame: pd.DataFrame, score: np.ndarray, challengers: int) -> list[Check]:
    """The comparison with the last release that was superior, where that is not the champion itself."""
    entry = next((entry for entry in history.releases(project.root) if entry.release.evaluation.superior is not False), None)
    if entry is None or entry.release.model.sha256 == champion.release.model.sha256:
        return []
    try:
        anchor = champions.load(project, entry.commit)
        other = of_champion(anchor, frame) if anchor else None
    except ModelyardError as error:
        message = f"Version {entry.release.model.version}, the last superior release, cannot be asked: {error.what}"
        return [Check(family="champion", name="the last superior release", status="unknown", message=message)]
    if other is None:
        return []
    return [gate.against_anchor(project.policy.task, project.policy.evaluate, rows, score, other, challengers=challengers).check]


def _champion(project: Project, champion: Champion, rows: Rows, score: np.ndarray | None) -> report.Champion:
    task, settings, record = project.policy.task, project.policy.evaluate, champion.release.model
    if score is None:
        return report.Champion(sha256=record.sha256, version=record.version, metrics={})
    values = metrics.compute(task, rows.label, score, metrics.settings(settings))
    spans = report.ranges(values, gate.intervals(task, rows, score, settings))
    drawn = curves.of(task, rows.label, score)
    return report.Champion(sha256=record.sha256, version=record.version, metrics=values, ranges=spans, curves=drawn)


def _inputs(project: Project, split: Split, day: np.ndarray, challengers: int) -> report.Inputs:
    files = [period.file for period in dataset.on_disk(project) if period.end > split.start]
    return report.Inputs(
        policy=project.policy.evaluate,
        batches=[report.Batch(path=file.as_posix(), sha256=sha256(project.root / file)) for file in files],
        rows=len(split.holdout),
        labelled=len(day),
        days=len(set(day.tolist())),
        challengers=challengers,
    )
