"""Predictions from files, without a project: what ``modelyard evaluate --challenger ... --labels ...`` does."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from modelyard.evaluate import curves, decision, fairness, gate, metrics, report, segments, tables
from modelyard.evaluate.check import Check
from modelyard.evaluate.gate import Rows
from modelyard.evaluate.paired import Draw
from modelyard.evaluate.report import Evaluation
from modelyard.policy import Evaluate, Task
from modelyard.release import sha256
from modelyard.risk import FAMILIES, Demand

#: Without a project there is no risk level: all that is asked counts, and what cannot be decided does not block.
DEMAND = Demand(checks=list(FAMILIES), inconclusive="pass", approvers=0)


def judge(
    task: Task,
    challenger: Path,
    champion: Path | None,
    labels: Path,
    settings: Evaluate,
    *,
    independent: bool = False,
    challengers: int = 1,
) -> Evaluation:
    """Judge predictions of one or two models on the same labelled rows.

    Raises
    ------
    DataError, UsageError
        A file cannot be read, or is not what it must be.
    """
    columns = tuple(dict.fromkeys([*settings.segments.columns, *settings.fairness.attributes]))
    table = tables.read(task, challenger, champion, labels, segments=columns, independent=independent)
    rows = Rows(table.day, table.label, "groups of rows" if independent else "days")
    checks = [Check(family="champion", name="rows", status="unknown", message=message) for message in table.missing]
    values: dict[str, float] = {}
    ranges: dict[str, report.Range] = {}
    found, by_segment, by_group = None, None, None
    if not checks:
        values = metrics.compute(task, rows.label, table.challenger, metrics.settings(settings))
        spans = gate.intervals(task, rows, table.challenger, settings)
        ranges = report.ranges(values, spans)
        if table.champion is not None:
            found = gate.against_champion(task, settings, rows, table.challenger, table.champion, challengers=challengers)
        else:
            middle = np.median if settings.metric in ("mae", "pinball") else np.mean
            constant = float(middle(rows.label)) if len(rows.label) else 0.0
            found = gate.against_constant(task, settings, rows, table.challenger, constant)
        checks += [found.check, *gate.criteria(task, values, spans, settings.criteria)]
        draw = Draw(0.975, settings.replicates, settings.seed)
        groups, given = table.segments, metrics.settings(settings)
        by_segment = segments.judge(
            task, settings.metric, groups, rows.day, rows.label, table.challenger, table.champion, settings.segments, draw, given
        )
        by_group = fairness.judge(task, groups, rows.day, rows.label, table.challenger, settings.fairness, settings.threshold, draw)
        checks += [*by_segment.checks, *by_group.checks]
    inputs = report.Inputs(
        policy=settings,
        batches=[report.Batch(path=path.name, sha256=sha256(path)) for path in (labels, challenger, *([champion] if champion else []))],
        rows=len(rows.label) + table.unlabelled,
        labelled=len(rows.label),
        days=rows.days,
        challengers=challengers,
        independent_rows=independent,
    )
    verdict, reasons = decision.decide(checks, DEMAND)
    if independent:
        reasons = [*reasons, "This assumes independent rows: where rows of one day are alike, it promotes too often."]
    return Evaluation(
        verdict=verdict,
        reasons=reasons,
        task=task,
        metric=settings.metric,
        rule=settings.rule,
        superior=bool(found and found.superior),
        risk=None,
        challenger=report.Challenger(
            sha256=sha256(challenger),
            metrics=values,
            ranges=ranges,
            curves=curves.of(task, rows.label, table.challenger) if values else curves.Curves(),
        ),
        champion=_champion(task, settings, champion, rows, table.champion) if champion else None,
        comparison=found.comparison if found else None,
        checks=checks,
        segments=by_segment,
        fairness=by_group,
        holdout=_span(table),
        inputs=inputs,
    )


def _champion(task: Task, settings: Evaluate, path: Path, rows: Rows, score: np.ndarray | None) -> report.Champion:
    if score is None or np.isnan(score).any():
        return report.Champion(sha256=sha256(path), version="", metrics={})
    values = metrics.compute(task, rows.label, score, metrics.settings(settings))
    spans = report.ranges(values, gate.intervals(task, rows, score, settings))
    return report.Champion(sha256=sha256(path), version="", metrics=values, ranges=spans, curves=curves.of(task, rows.label, score))


def _span(table: tables.Table) -> tuple[datetime, datetime] | None:
    if not table.start:
        return None
    return datetime.fromisoformat(table.start), datetime.fromisoformat(table.end) + timedelta(days=1)
