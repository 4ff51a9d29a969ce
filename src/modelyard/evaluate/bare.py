"""Predictions from files, without a project: what ``modelyard evaluate --challenger ... --labels ...`` does."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from modelyard.evaluate import decision, gate, report, scores, tables
from modelyard.evaluate.check import Check
from modelyard.evaluate.report import Evaluation
from modelyard.evaluate.scores import Judged
from modelyard.policy import Evaluate, Task
from modelyard.release import sha256


@dataclass(frozen=True)
class Files:
    """What is judged, and what must be said of it that no file says."""

    task: Task
    challenger: Path
    champion: Path | None
    labels: Path
    weight: str | None = None  # column of the labels' file
    independent: bool = False
    challengers: int = 1


def judge(files: Files, settings: Evaluate) -> Evaluation:
    """Judge predictions of one or two models on the same labelled rows.

    Raises
    ------
    DataError, UsageError
        A file cannot be read, or is not what it must be.
    """
    columns = tuple(dict.fromkeys([*settings.segments.columns, *settings.fairness.attributes]))
    table = tables.read(
        files.task,
        files.challenger,
        files.champion,
        files.labels,
        segments=columns,
        weight=files.weight,
        independent=files.independent,
    )
    found = None if table.missing else _judged(files, settings, table)
    lacking = [Check(family="champion", name="rows", status="unknown", message=message) for message in table.missing]
    checks = found.checks if found else lacking
    verdict, reasons = decision.decide(checks, decision.EVERYTHING)
    if files.independent:
        reasons = [*reasons, "This assumes independent rows: where rows of one day are alike, it promotes too often."]
    new, old = (found.challenger, found.champion) if found else (None, None)
    return Evaluation(
        verdict=verdict,
        reasons=reasons,
        task=files.task,
        metric=settings.metric,
        rule=settings.rule,
        superior=bool(found and found.first.superior),
        risk=None,
        challenger=report.Challenger(sha256=sha256(files.challenger), **(vars(new) if new else {"metrics": {}})),
        champion=report.Champion(sha256=sha256(files.champion), version="", **(vars(old) if old else {"metrics": {}}))
        if files.champion
        else None,
        comparison=found.first.comparison if found else None,
        checks=checks,
        segments=found.segments if found else None,
        fairness=found.fairness if found else None,
        holdout=_span(table),
        inputs=_inputs(files, settings, table),
    )


def _judged(files: Files, settings: Evaluate, table: tables.Table) -> Judged:
    rows, task = table.rows, files.task
    if table.champion is not None:
        first = gate.against_champion(task, settings, rows, table.challenger, table.champion, challengers=files.challengers)
    else:
        always = scores.constant(task, settings.metric, rows.label)
        if task == "multiclass":  # the last classes may be without a label
            always = np.pad(np.atleast_1d(always), (0, table.challenger.shape[1] - np.size(always)))
        first = gate.against_constant(task, settings, rows, table.challenger, always)
    return scores.judge(task, settings, rows, table.segments, table.challenger, table.champion, first)


def _inputs(files: Files, settings: Evaluate, table: tables.Table) -> report.Inputs:
    labelled = len(table.rows.label)
    given = [path for path in (files.labels, files.challenger, files.champion) if path]
    return report.Inputs(
        policy=settings,
        batches=[report.Batch(path=path.name, sha256=sha256(path)) for path in given],
        rows=labelled + table.unlabelled,
        labelled=labelled,
        days=table.rows.days,
        challengers=files.challengers,
        independent_rows=files.independent,
        weight=files.weight or "",
    )


def _span(table: tables.Table) -> tuple[datetime, datetime] | None:
    if not table.start:
        return None
    return datetime.fromisoformat(table.start), datetime.fromisoformat(table.end) + timedelta(days=1)
