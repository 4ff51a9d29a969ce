"""All that is asked of labels and scores alone: the same in a project and of files. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from modelyard.evaluate import curves, fairness, gate, metrics, report, segments
from modelyard.evaluate.check import Check
from modelyard.evaluate.fairness import Fairness
from modelyard.evaluate.gate import Compared, Rows
from modelyard.evaluate.paired import Interval
from modelyard.evaluate.segments import Segments
from modelyard.policy import Evaluate, Task


@dataclass(frozen=True)
class Model:
    """What one model's scores say."""

    metrics: dict[str, float]
    ranges: dict[str, report.Range]
    curves: curves.Curves


@dataclass(frozen=True)
class Judged:
    """The challenger's scores, judged."""

    challenger: Model
    champion: Model | None
    first: Compared  # the comparison that decides
    segments: Segments
    fairness: Fairness
    checks: list[Check]


def judge(
    task: Task,
    settings: Evaluate,
    rows: Rows,
    columns: Mapping[str, np.ndarray],
    challenger: np.ndarray,
    champion: np.ndarray | None,
    first: Compared,
) -> Judged:
    """The challenger's criteria, segments and fairness, beside the comparison ``first`` that was made before.

    Parameters
    ----------
    columns
        Column -> (n,) values, of segments and protected attributes.
    challenger, champion
        Scores of the rows.
    """
    given = metrics.settings(settings)
    new, spans = _model(task, settings, rows, challenger)
    by_segment = segments.judge(task, settings.metric, columns, rows, challenger, champion, settings.segments, given, seed=settings.seed)
    by_group = fairness.judge(task, columns, rows, challenger, settings.fairness, settings.threshold)
    checks = [first.check, *gate.criteria(task, new.metrics, spans, settings.criteria), *by_segment.checks, *by_group.checks]
    old = _model(task, settings, rows, champion)[0] if champion is not None else None
    return Judged(new, old, first, by_segment, by_group, checks)


def _model(task: Task, settings: Evaluate, rows: Rows, score: np.ndarray) -> tuple[Model, dict[str, Interval]]:
    values = metrics.compute(task, rows.label, score, metrics.settings(settings), rows.weight)
    spans = gate.intervals(task, rows, score, settings)
    return Model(values, report.ranges(values, spans), curves.of(task, rows.label, score)), spans


def constant(task: Task, metric: str, label: np.ndarray) -> float | np.ndarray:
    """What a model says that knows nothing but these labels: their mean, for absolute errors the median, of classes their shares."""
    label = label[~np.isnan(label)]
    if not len(label):
        return 0.0
    if task == "multiclass":
        return np.bincount(label.astype(np.int64)) / len(label)
    return float(np.median(label) if metric in ("mae", "pinball") else np.mean(label))
