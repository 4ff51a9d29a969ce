"""A project's challenger on its hold-out: loads, predicts with each model, and lets the pure parts judge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from modelyard import champion as champions
from modelyard import checklist, dataset, history, jsonfile, validate
from modelyard.errors import DataError, ModelyardError
from modelyard.evaluate import (
    decision,
    dependence,
    gate,
    importance,
    leakage,
    metrics,
    readiness,
    report,
    robustness,
    scores,
)
from modelyard.evaluate.check import Check
from modelyard.evaluate.gate import Compared, Rows
from modelyard.predictions import challenger as challenger_of
from modelyard.predictions import of_champion
from modelyard.project import MODEL, Project
from modelyard.release import sha256
from modelyard.serving import read_examples

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
    rival = _asked(project, champion, frame, split) if champion else _Rival()
    first = _compared(project, split, rows, score, rival, digest, challengers)
    groups = {name: frame[name].to_numpy() for name in frame.columns if name not in (policy.data.label, policy.data.time)}
    judged = scores.judge(policy.task, settings, rows, groups, score, rival.score, first)
    beside = partial(of_champion, champion) if champion and rival.score is not None and not rival.lacks else None
    features = [name for name in frame.columns if name != policy.data.label]
    lives_on = importance.compare(
        policy.task,
        settings.metric,
        frame,
        label,
        day,
        features,
        predict,
        beside,
        given=metrics.settings(settings),
        seed=settings.seed,
    )
    checks = [
        *judged.checks,
        *_anchored(project, champion, rows, frame, score, first, challengers),
        *_behaviour(project, split, frame, features, score, predict),
        *_ready(project),
        *checklist.of(project).checks,
    ]
    verdict, reasons = decision.decide(checks, policy.risk.demand)
    return report.Evaluation(
        verdict=verdict,
        reasons=reasons,
        task=policy.task,
        metric=settings.metric,
        rule=settings.rule,
        superior=first.superior,
        risk=policy.risk.level,
        demand=policy.risk.demand,
        challenger=report.Challenger(sha256=digest, **vars(judged.challenger)),
        champion=_champion(champion, judged.champion) if champion else None,
        comparison=first.comparison,
        checks=checks,
        segments=judged.segments,
        fairness=judged.fairness,
        importance=lives_on,
        dependence=dependence.partial(frame, [each.column for each in lives_on], predict, beside),
        holdout=(split.start, split.end),
        inputs=_inputs(project, split, day, challengers),
    )


@dataclass(frozen=True)
class _Rival:
    """The champion's answer: its scores, or why there are none."""

    score: np.ndarray | None = None
    refusal: str = ""
    unreadable: bool = False  # the refusal is that it cannot read these rows
    lacks: tuple[str, ...] = ()  # columns that it was asked without
    sha256: str = ""


def _asked(project: Project, champion: Champion, frame: pd.DataFrame, split: Split) -> _Rival:
    """Ask the champion for the hold-out; what is gone from the data since is given as missing, if the policy says so."""
    digest, until = champion.release.model.sha256, champion.release.evaluation.holdout[0]
    if until > split.start:
        known = f"The champion was trained on rows up to {until:%Y-%m-%d}, and would know the hold-out from {split.start:%Y-%m-%d}."
        return _Rival(refusal=known, sha256=digest)
    lacks: tuple[str, ...] = ()
    try:
        if project.policy.evaluate.unreadable == "score":
            lacks = tuple(name for name in read_examples(champion.examples)[0][0] if name not in frame.columns)
            frame = frame.assign(**dict.fromkeys(lacks, np.nan))
        return _Rival(of_champion(champion, frame), lacks=lacks, sha256=digest)
    except ModelyardError as error:
        return _Rival(refusal=f"The champion cannot be asked: {error.what}", unreadable=True, sha256=digest)


def _compared(project: Project, split: Split, rows: Rows, score: np.ndarray, rival: _Rival, digest: str, challengers: int) -> Compared:
    """The challenger against the champion; against a constant where there is none."""
    task, settings = project.policy.task, project.policy.evaluate
    if rival.score is not None:
        found = gate.against_champion(task, settings, rows, score, rival.score, same=rival.sha256 == digest, challengers=challengers)
        gone = ", ".join(rival.lacks)
        return found.saying(f"The data hold no {gone} any more: the champion was asked with that missing." if gone else "")
    if rival.refusal and not (rival.unreadable and settings.unreadable == "score"):
        return Compared(Check(family="champion", name="champion", status="unknown", message=rival.refusal))
    label = split.train[project.policy.data.label].to_numpy(dtype=float, na_value=np.nan)
    found = gate.against_constant(task, settings, rows, score, scores.constant(task, settings.metric, label))
    return found.saying(f"{rival.refusal} By the policy (unreadable: score) a constant stands in its place." if rival.refusal else "")


def _behaviour(
    project: Project,
    split: Split,
    frame: pd.DataFrame,
    features: list[str],
    score: np.ndarray,
    predict: Callable[[pd.DataFrame], np.ndarray],
) -> list[Check]:
    """Does it break, and is it too good to be true?"""
    policy, settings = project.policy, project.policy.evaluate
    schema = validate.schema(project).model
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
    return [*firm.checks, *leaks.checks]


def _ready(project: Project) -> list[Check]:
    """Is it quick and small enough where it serves?"""
    ready = readiness.of(project)
    jsonfile.write(project.report(READINESS), ready)
    return [_timeless(check) for check in ready.checks]


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


def _anchored(
    project: Project, champion: Champion | None, rows: Rows, frame: pd.DataFrame, score: np.ndarray, first: Compared, challengers: int
) -> list[Check]:
    """By the rule non-inferior: the comparison with the last release that was superior, where that is not the champion itself."""
    if champion is None or first.comparison is None or first.superior or project.policy.evaluate.rule != "non-inferior":
        return []
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


def _champion(champion: Champion, found: scores.Model | None) -> report.Champion:
    record = champion.release.model
    return report.Champion(sha256=record.sha256, version=record.version, **(vars(found) if found else {"metrics": {}}))


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
