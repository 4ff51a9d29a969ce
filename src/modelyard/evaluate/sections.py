"""What the page shows below the checks: metrics, curves, segments, fairness, importance. No I/O."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from markupsafe import Markup, escape

from modelyard import policy
from modelyard.evaluate import chart, weakest
from modelyard.evaluate.fairness import Attribute, Group
from modelyard.evaluate.importance import Change
from modelyard.evaluate.report import Challenger, Champion, Evaluation, Range
from modelyard.evaluate.segments import Segment
from modelyard.page import figures, template

_TOLD = 4  # messages of checks
_OPEN = 12  # segments that are not folded, beside those that failed
_COLUMNS = 20
# Bytes for what may be long, so that a page stays under 300 KB whatever the names are.
_ROOM = {"segments": 50_000, "few": 8_000, "groups": 30_000, "told": 20_000, "columns": 20_000}
_RATES = {
    "binary": {"selection_rate": "selected", "true_positive_rate": "true positive rate", "false_positive_rate": "false positive rate"},
    "regression": {"mean_prediction": "mean prediction", "mean_error": "mean error"},
    "multiclass": {},
}
T = TypeVar("T")


def fit(items: Sequence[T], size: Callable[[T], int], room: int) -> tuple[list[T], int]:
    """As many as there is room for, and how many are left out."""
    for i, item in enumerate(items):
        room -= size(item)
        if room < 0:
            return list(items[:i]), len(items) - i
    return list(items), 0


def weight(fixed: int, *texts: str) -> int:
    """Bytes on the page, about."""
    return fixed + sum(len(escape(text[: template.LONGEST]).encode(errors="replace")) for text in texts)


def ranged(value: float | None, lower: float | None, upper: float | None, *, signed: bool = False) -> str:
    """``0.7012 (0.6804 to 0.7211)``; empty where there is none."""
    if (number := figures.known(value)) is None:
        return ""
    if span := figures.interval(lower, upper, signed=signed):
        return f"{figures.number(number, signed=signed)} ({span})"
    return f"{number:.0f}" if 100 <= number < 1000 and number.is_integer() else figures.number(number, signed=signed)  # a count


def _models(found: Evaluation) -> list[Challenger | Champion]:
    return [found.challenger, *([found.champion] if found.champion else [])]


def metrics(found: Evaluation) -> list[dict[str, Any]]:
    """A row for each metric of the task, the deciding one first."""
    asked = {check.name: check for check in found.checks if check.family == "criteria"}
    rows = []
    for name, up in policy.METRICS[found.task].items():
        values = [_metric(model, name) for model in _models(found)]
        told = [ranged(one.value, one.lower, one.upper) if one else "undefined" for one in values]
        picture = chart.ranges(values[0], values[1] if len(values) > 1 else None)
        rows.append({"name": name, "better": "more" if up else "less", "values": told, "chart": picture, "asked": asked.get(name)})
    return sorted(rows, key=lambda row: row["name"] != found.metric)


def _metric(model: Challenger | Champion, name: str) -> Range | None:
    value = figures.known(model.metrics.get(name))
    return None if value is None else model.ranges.get(name) or Range(value=value)


def curves(found: Evaluation) -> list[dict[str, Any]]:
    """Charts with a title and what to read from them."""
    models, base = [model.curves for model in _models(found)], _positives(found)
    guess = f"Dotted: a guess, as {figures.percent(base)} of the rows have label 1." if base is not None else ""
    residuals = "Share of the rows by label minus prediction. Narrow and around 0 is better; the outermost rows are not drawn."
    drawn = [
        ("ROC curve", chart.roc([one.roc for one in models]), "Dotted: a guess. The nearer to the upper left corner, the better."),
        ("Precision and recall", chart.precision_recall([one.precision_recall for one in models], base), guess),
        ("Residuals", chart.residuals([one.residuals for one in models]), residuals),
        (
            "Calibration",
            chart.calibration([one.calibration for one in models], rates=found.task == "binary"),
            "Ten bins of equally many rows. Dotted: what is predicted is what happens.",
        ),
    ]
    return [{"title": title, "chart": picture, "text": text} for title, picture, text in drawn if picture]


def _positives(found: Evaluation) -> float | None:
    """Share of rows with label 1."""
    bins = found.challenger.curves.calibration if found.task == "binary" else []
    rows = sum(part.rows for part in bins)
    return figures.known(sum(part.label * part.rows for part in bins) / rows) if rows else None


def segments(found: Evaluation) -> dict[str, Any] | None:
    """Those that failed first, then by improvement; what is left out is counted."""
    if not (by := found.segments):
        return None
    margin, failed = found.inputs.policy.segments.margin, sum(one.failed for one in by.judged)
    width = chart.reach(by.judged, margin)
    ordered = sorted(by.judged, key=lambda one: (not one.failed, one.improvement if one.improvement is not None else 0.0))
    shown, hidden = fit(ordered, lambda one: weight(560, one.column, one.value), _ROOM["segments"])
    rows = [_segment(one, by.metric, width, margin) for one in shown]
    opened = failed + _OPEN if len(rows) > failed + _OPEN + 3 else len(rows)  # fewer are not worth a fold
    few, _ = fit(by.few, lambda one: weight(70, one.column, one.value, one.why), _ROOM["few"])
    return {
        "lead": [check.message for check in by.checks if check.name != "weakest" and check.status != "failed"][:_TOLD],
        "failed": failed,
        "compared": any(one.improvement is not None for one in by.judged),
        "metric": by.metric,
        "margin": figures.short(margin),
        "rows": rows[:opened],
        "more": rows[opened:],
        "hidden": hidden,
        "judged": len(by.judged),
        "weakest": by.weakest,
        "loss": weakest.LOSS[found.task],
        "few": few,
        "few_total": by.few_total,
        "unlisted": by.few_total - len(few),
    }


def _segment(one: Segment, metric: str, width: float, margin: float) -> dict[str, Any]:
    return {
        "of": one,
        "values": [figures.number(model.get(metric)) if model is not None else "" for model in (one.challenger, one.champion)],
        "chart": chart.segment(one, width, margin),
        "improvement": ranged(one.improvement, one.lower, one.upper, signed=True),
        "p": figures.chance(one.p).removeprefix("p ").removeprefix("= ") if one.p is not None else "",
    }


def fairness(found: Evaluation) -> dict[str, Any] | None:
    """A table for each attribute, with its checks; the checks of none apart."""
    if not (by := found.fairness):
        return None
    names = _RATES[found.task]
    pairs = [(attribute, group) for attribute in by.attributes for group in attribute.groups]
    shown, _ = fit(pairs, lambda pair: weight(700, pair[0].column, pair[1].value, pair[1].few), _ROOM["groups"])
    checks, _ = fit(by.checks, lambda check: weight(120, check.message), _ROOM["told"])
    tables: list[dict[str, Any]] = []
    for attribute in by.attributes:
        rows = _rates(attribute, [group for of, group in shown if of is attribute], list(names))
        told = [check for check in checks if check.name.startswith(f"{attribute.column}: ") or check.name == attribute.column]
        if rows:
            tables.append({"column": attribute.column, "rows": rows, "checks": told})
    named = {check.name for table in tables for check in table["checks"]}
    return {
        "names": list(names.values()),
        "tables": tables,
        "rest": [check for check in checks if check.name not in named],
        "hidden": sum(attribute.groups_total for attribute in by.attributes) - len(shown),
        "threshold": f"{by.threshold:g}" if found.task == "binary" else "",
    }


def _rates(attribute: Attribute, groups: list[Group], names: list[str]) -> list[dict[str, Any]]:
    """Rates with the width of their bars, in percent of the attribute's largest."""
    rates = {name: [figures.known(getattr(group, name)) for group in attribute.groups] for name in names}
    most = {name: max((abs(rate) for rate in rates[name] if rate is not None), default=0.0) or 1.0 for name in names}
    return [{"of": group, "cells": [_rate(figures.known(getattr(group, name)), most[name]) for name in names]} for group in groups]


def _rate(rate: float | None, most: float) -> tuple[str, float]:
    return figures.number(rate), round(100 * abs(rate or 0.0) / most, 1)


def importance(found: Evaluation) -> dict[str, Any] | None:
    """The columns that the challenger lives on most."""
    if not found.importance:
        return None
    shown, _ = fit(found.importance[:_COLUMNS], lambda change: weight(650, change.column), _ROOM["columns"])
    low, high = chart.span(shown)
    digits = min(max(2 - math.floor(math.log10(max(high, -low))), 0), 8)  # three that matter of the largest
    return {
        "rows": [_column(change, low, high, digits) for change in shown],
        "hidden": len(found.importance) - len(shown),
        "champion": any(change.champion for change in found.importance),
    }


def _column(change: Change, low: float, high: float, digits: int) -> dict[str, Any]:
    losses = [loss for loss in (change.challenger, change.champion) if loss]
    return {
        "of": change,
        "chart": chart.importance(change, low, high),
        "values": [_fixed((loss.value, loss.lower, loss.upper), digits) for loss in losses],
        "difference": _fixed((change.difference, change.lower, change.upper), digits, "+"),
        "rank": _rank(change),
    }


def _fixed(values: tuple[float | None, float | None, float | None], digits: int, sign: str = "") -> str:
    """``0.05 (0.04 to 0.06)``: as many digits in all rows."""
    value, lower, upper = (None if figures.known(v) is None else f"{round(v or 0.0, digits) + 0.0:{sign},.{digits}f}" for v in values)
    return (value or figures.NONE) + (f" ({lower} to {upper})" if lower and upper else "")


def _rank(change: Change) -> str:
    """The rank, and the one in the champion where it was another."""
    now = change.challenger.rank
    if not change.champion or change.champion.rank == now:
        return str(now)
    return f"{now} ({'↑' if now < change.champion.rank else '↓'} was {change.champion.rank})"


def dependence(found: Evaluation) -> list[tuple[str, Markup]]:
    """Column and chart, all on one scale."""
    models = [model for one in found.dependence for model in (one.challenger, one.champion) if model]
    values = [value for model in models for value in model if figures.known(value) is not None]
    if not values:
        return []
    low, high = min(values), max(values)
    pad = 0.06 * (high - low) or 0.5
    return [(one.column, chart.dependence(one, low - pad, high + pad)) for one in found.dependence]
