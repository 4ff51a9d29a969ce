"""Segments: metrics by group of rows, and whether the challenger is worse than the champion in one. No I/O.

A segment is one value of one column; rows without a value are a segment too. Segments overlap (a carrier, an airport).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from pydantic import BaseModel, Field

from modelyard import policy
from modelyard.evaluate import metrics, paired, statistic, weakest
from modelyard.evaluate.check import Check
from modelyard.evaluate.gate import Rows
from modelyard.evaluate.weakest import Region
from modelyard.policy import METRICS, Task

#: With fewer days a segment is not judged.
MINIMUM_DAYS = 10
MISSING = "(missing)"
_ALPHA = 0.05
_LISTED = 100
_WHY = "a better average can hide a group of rows that got worse"


class Segment(BaseModel):
    """One value of one column with enough rows."""

    column: str
    value: str = Field(description="(missing): rows that have none.")
    rows: int = Field(description="With a label.")
    days: int
    challenger: dict[str, float] = Field(description="Metrics that are defined on its rows.")
    champion: dict[str, float] | None = None
    improvement: float | None = Field(None, description="In the deciding metric, positive is better; none without a champion.")
    lower: float | None = Field(None, description="One-sided 95 % bound of the improvement, not corrected.")
    upper: float | None = Field(None, description="The other one; where the segment fails it lies below 0.")
    p: float | None = Field(None, description="Of not being worse than the champion, Holm's correction over all judged segments included.")
    failed: bool = False

    @property
    def name(self) -> str:
        """Column and value."""
        return f"{self.column} = {self.value}"


class Few(BaseModel):
    """One value of one column that is not judged."""

    column: str
    value: str
    rows: int
    days: int
    why: str


class Segments(BaseModel):
    """Metrics by segment, and what follows."""

    metric: str = Field(description="The metric that decides.")
    judged: list[Segment] = Field(description="By column, the largest first.")
    few: list[Few] = Field(description=f"Too few rows, days, or labels of one kind; the largest {_LISTED}.")
    few_total: int = Field(description="How many there are in all.")
    weakest: list[Region] = Field(description="Where the challenger errs most, found by a tree; listed, never tested.")
    checks: list[Check]


def judge(
    task: Task,
    metric: str,
    columns: Mapping[str, np.ndarray],
    rows: Rows,
    challenger: np.ndarray,
    champion: np.ndarray | None,
    settings: policy.Segments,
    given: metrics.Settings = metrics.DEFAULT,
    *,
    features: Mapping[str, np.ndarray] | None = None,
    seed: int = 0,
) -> Segments:
    r"""Metrics by segment; where there is a champion, whether the challenger is worse in one.

    A segment fails where both hold: its loss in ``metric`` is larger than ``settings.margin`` (in the metric's own unit), and that
    it is not worse at all is rejected at 5 %, one-sided, by Holm's procedure over all judged segments, with the p-values of
    :func:`modelyard.evaluate.paired.compare`: with :math:`p_{(1)} \le \dots \le p_{(K)}`, the corrected
    :math:`\tilde p_{(i)} = \max_{j \le i} \min(1, (K - j + 1) p_{(j)})`. Holm holds for overlapping segments. The margin alone
    would block for noise, the test alone for anything at ten million rows.

    Without a champion there are only the metrics. A segment with fewer than ``settings.min_rows`` rows or
    :data:`MINIMUM_DAYS` days, or on whose labels the metric has no value, is listed and not judged.

    Parameters
    ----------
    columns
        Column -> (n,) values, for each of ``settings.columns`` that the data have.
    challenger, champion, given
        As in :func:`modelyard.evaluate.paired.compare`.
    features
        Column -> (n,) what the weakest regions may be told by; default ``columns``.
    seed
        Of the tree that finds these.

    References
    ----------
    S. Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6 (1979).
    """
    metrics.known(task, metric)
    if problem := _problem(metric, settings, columns, rows.label, challenger, champion):
        return Segments(metric=metric, judged=[], few=[], few_total=0, weakest=[], checks=[problem])
    scores = challenger, champion
    judged: list[Segment] = []
    rows_of: list[np.ndarray] = []
    few: list[Few] = []
    for column, value, at in _segments(settings, columns):
        inside = rows.take(at)
        common: dict[str, Any] = {"column": column, "value": value, "rows": len(at), "days": inside.days}
        if why := _too_few(metric, inside.label, common["days"], settings):
            few.append(Few(**common, why=why))
            continue
        defined = [name for name in METRICS[task] if not metrics.undefined(name, inside.label)]
        found = [
            {n: statistic.value(n, inside.label, s[at], given, inside.weight) for n in defined} if s is not None else None for s in scores
        ]
        judged.append(Segment(**common, challenger=found[0] or {}, champion=found[1]))
        rows_of.append(at)
    if champion is not None:
        judged = _compared(metric, METRICS[task][metric], judged, rows_of, rows, (challenger, champion), settings, given, few)
    few.sort(key=lambda one: -one.rows)
    told_by = features if features is not None else columns
    regions = weakest.find(task, told_by, rows.day, rows.label, challenger, settings.min_rows, seed=seed)
    checks = [_absent(column) for column in settings.columns if column not in columns]
    checks += _verdicts(metric, judged, few, settings, compared=champion is not None)
    if regions:
        checks.append(_weakest(task, regions[0]))
    return Segments(metric=metric, judged=judged, few=few[:_LISTED], few_total=len(few), weakest=regions, checks=checks)


def holm(p: np.ndarray) -> np.ndarray:
    """p-values after Holm's correction, in the order given.

    Examples
    --------
    >>> holm(np.array([0.02, 0.01, 0.5])).tolist()
    [0.04, 0.03, 0.5]
    """
    order = np.argsort(p, kind="stable")
    stepped = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    found = np.empty(len(p))
    found[order] = stepped
    return found


def _problem(
    metric: str,
    settings: policy.Segments,
    columns: Mapping[str, np.ndarray],
    label: np.ndarray,
    challenger: np.ndarray,
    champion: np.ndarray | None,
) -> Check | None:
    """What leaves nothing to judge."""
    if not settings.columns:
        message = "The policy names no segments: a group of rows that got worse would not be seen."
        return Check(family="segments", name="all", status="noted", message=message, why=_WHY)
    broken = [who for who, s in (("challenger", challenger), ("champion", champion)) if s is not None and not np.isfinite(s).all()]
    if reason := metrics.undefined(metric, label) or (f"the {broken[0]} predicts no number in some rows" if broken else ""):
        return _unknown(f"These rows cannot judge {metric} by segment: {reason}.")
    if not any(column in columns for column in settings.columns):
        return _unknown(f"The held-out rows have no column {', '.join(map(repr, settings.columns))}: correct evaluate.segments.columns.")
    return None


def _unknown(message: str, name: str = "all") -> Check:
    return Check(family="segments", name=name, status="unknown", message=message, why=_WHY)


def _absent(column: str) -> Check:
    return _unknown(f"The held-out rows have no column {column!r}: correct evaluate.segments.columns.", column)


def _segments(settings: policy.Segments, columns: Mapping[str, np.ndarray]) -> Iterator[tuple[str, str, np.ndarray]]:
    """Column, value and rows of each segment."""
    for column in dict.fromkeys(settings.columns):
        if column in columns:
            for value, rows in values_of(columns[column]):
                yield column, value, rows


def values_of(column: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Each value as text with its rows, the most frequent first."""
    import pandas as pd

    codes, values = pd.factorize(np.asarray(column))
    order, counts = np.argsort(codes, kind="stable"), np.bincount(codes + 1, minlength=len(values) + 1)
    groups = np.split(order, np.cumsum(counts)[:-1])
    named = [(MISSING, groups[0]), *((str(value), rows) for value, rows in zip(values, groups[1:], strict=True))]
    return sorted(((name, rows) for name, rows in named if len(rows)), key=lambda one: (-len(one[1]), one[0]))


def _too_few(metric: str, label: np.ndarray, days: int, settings: policy.Segments) -> str:
    if len(label) < settings.min_rows:
        return f"fewer than {settings.min_rows} rows"
    return f"fewer than {MINIMUM_DAYS} days" if days < MINIMUM_DAYS else metrics.undefined(metric, label)


def _compared(
    metric: str,
    up: bool,
    segments: list[Segment],
    rows_of: list[np.ndarray],
    rows: Rows,
    scores: tuple[np.ndarray, np.ndarray],
    settings: policy.Segments,
    given: metrics.Settings,
    few: list[Few],
) -> list[Segment]:
    """The segments with their improvement and verdict; those that cannot be compared go to ``few``."""
    found, kept = [], []
    for segment, at in zip(segments, rows_of, strict=True):
        inside, (challenger, champion) = rows.take(at), (score[at] for score in scores)
        try:
            by = paired.compare(metric, up, inside.day, inside.label, challenger, champion, 1 - _ALPHA, given, inside.weight)
            found.append(by)
        except ValueError as error:
            few.append(Few(**segment.model_dump(include={"column", "value", "rows", "days"}), why=str(error)))
            continue
        kept.append(segment)
    corrected = holm(np.array([by.p for by in found]))
    return [
        segment.model_copy(
            update={
                "improvement": by.difference,
                "lower": by.lower,
                "upper": by.upper,
                "p": float(p),
                "failed": bool(p <= _ALPHA and -by.difference > settings.margin),
            }
        )
        for segment, by, p in zip(kept, found, corrected, strict=True)
    ]


def _verdicts(metric: str, judged: list[Segment], few: list[Few], settings: policy.Segments, *, compared: bool) -> list[Check]:
    limit = f"no loss of more than {settings.margin:g}, certain at 95 %" if compared else ""
    total = len(judged) + len(few)
    if not judged:
        reasons = sorted({one.why for one in few})
        return [_unknown(f"None of {total} segments can be judged: {'; '.join(reasons)}.")]
    if not compared:
        message = f"{len(judged)} of {total} segments have enough rows; there is no champion to compare them with."
        return [Check(family="segments", name="all", status="noted", message=message, why=_WHY)]
    failed = [segment for segment in judged if segment.failed]
    if not failed:
        message = f"{len(judged)} of {total} segments judged, none is certainly worse than the champion"
        message += f" by more than {settings.margin:g} {metric}"
        low = min(judged, key=lambda segment: segment.improvement or 0)
        message += f"; lowest: {low.name}, {low.improvement:+.4f} (p = {low.p:.2g})." if (low.improvement or 0) < 0 else "."
        numbers = {"value": low.improvement, "lower": low.lower, "upper": low.upper}
        return [Check(family="segments", name="all", status="passed", message=message, limit=limit, why=_WHY, **numbers)]
    return [
        Check(
            family="segments",
            name=segment.name,
            status="failed",
            message=f"Where {segment.name}, {metric} is worse than the champion's by {-(segment.improvement or 0):.4f} "
            f"({segment.rows:,} rows, {segment.days} days; p = {segment.p:.2g} over {len(judged)} segments).",
            value=segment.improvement,
            lower=segment.lower,
            upper=segment.upper,
            limit=limit,
            why=_WHY,
        )
        for segment in failed
    ]


def _weakest(task: Task, region: Region) -> Check:
    message = f"The challenger's mean {weakest.LOSS[task]} is largest where {region.where}: {region.loss:.4f}"
    return Check(
        family="segments",
        name="weakest",
        status="noted",
        message=f"{message}, against {region.overall:.4f} overall ({region.rows:,} rows). Found by a tree on other days; not tested.",
        value=region.loss,
        why="where to look first for a better model",
    )
