"""Success criteria, and challenger against champion: from scores to checks. No I/O.

A challenger is compared on the same rows, day by day. ``superior``: the two-sided 95 % interval of its improvement lies above 0.
``non-inferior``: the one-sided 95 % bound lies above minus the margin, against the champion and, so that many small losses do not add
up, against the last release that was superior. Several challengers tried on one hold-out share the error (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from modelyard.evaluate import metrics, paired
from modelyard.evaluate.check import Check
from modelyard.evaluate.paired import TWO_SIDED, Comparison, Interval
from modelyard.policy import METRICS, Bound, Evaluate, Task

#: With fewer days there is no verdict between two models.
MINIMUM_DAYS = 10
_ERROR = 0.05
_LEAST = {"r2": -np.inf}  # no other metric is below 0
_MOST = dict.fromkeys(("roc_auc", "average_precision", "brier", "calibration_error", "f_beta", "r2", "accuracy", "macro_f1"), 1.0)
_WHY_CRITERION = "set before training: below it the model is of no use, however it compares"
_WHY_CHAMPION = "rows of one day are alike, so days are compared; a plain comparison promotes half of all models that are no better"
_WHY_ANCHOR = "each release may be a little worse than the one before; all together may not"
_WHY_BASELINE = "a model must know more than the average"


@dataclass(frozen=True)
class Rows:
    """The labelled rows of the hold-out.

    Parameters
    ----------
    day
        (n,) whole numbers, equal for rows of one day (or one other block that is independent of the rest).
    label
        (n,) none missing; of classes their numbers.
    weight
        (n,) how much each row counts; default 1.
    """

    day: np.ndarray
    label: np.ndarray
    blocks: str = "days"  # what the blocks are called
    weight: np.ndarray | None = field(default=None)

    @property
    def days(self) -> int:
        """Number of days."""
        return len(np.unique(self.day))

    def take(self, rows: np.ndarray) -> Rows:
        """Some of the rows."""
        weight = self.weight[rows] if self.weight is not None else None
        return Rows(self.day[rows], self.label[rows], self.blocks, weight)


@dataclass(frozen=True)
class Compared:
    """One comparison: its check, and the numbers where there are some."""

    check: Check
    comparison: Comparison | None = None  # at the confidence of the rule
    superior: bool = False  # the two-sided 95 % interval lies above 0

    def saying(self, more: str) -> Compared:
        """The same, with one more sentence."""
        message = f"{self.check.message} {more}" if more else self.check.message
        return replace(self, check=self.check.model_copy(update={"message": message}))


def intervals(task: Task, rows: Rows, score: np.ndarray, settings: Evaluate) -> dict[str, Interval]:
    """Each metric of the task with its two-sided 95 % interval over days; left out where it has none."""
    found = {}
    for name in METRICS[task]:
        if metrics.undefined(name, rows.label):
            continue
        try:
            span = paired.interval(name, rows.day, rows.label, score, TWO_SIDED, metrics.settings(settings), rows.weight)
            found[name] = replace(span, lower=max(span.lower, _LEAST.get(name, 0.0)), upper=min(span.upper, _MOST.get(name, np.inf)))
        except ValueError:  # too few days: there is a value, and no interval
            continue
    return found


def criteria(task: Task, values: Mapping[str, float], ranges: Mapping[str, Interval], bounds: Mapping[str, Bound]) -> list[Check]:
    """Hold the challenger's metrics against the policy's bounds.

    Parameters
    ----------
    values
        Metric -> value on the hold-out; a metric without one is unknown, which blocks.
    ranges
        From :func:`intervals`.
    """
    return [_criterion(name, bound, values.get(name), ranges.get(name), up=METRICS[task][name]) for name, bound in bounds.items()]


def _criterion(name: str, bound: Bound, value: float | None, span: Interval | None, *, up: bool) -> Check:
    limits = {"at least": bound.min, "at most": bound.max}
    limit = " and ".join(f"{words} {number:g}" for words, number in limits.items() if number is not None)
    limit += ", at the worse end of its interval" if bound.of == "bound" else ""
    known = {"value": value, "lower": span.lower if span else None, "upper": span.upper if span else None}
    common = {"family": "criteria", "name": name, "limit": limit, "why": _WHY_CRITERION, **known}
    judged = value if bound.of == "value" else (span.lower if up else span.upper) if span else None
    if judged is None:
        what = "value" if value is None else "interval"
        return Check(
            status="unknown", message=f"The challenger's {name} has no {what} on these rows; the policy demands {limit}.", **common
        )
    met = (bound.min is None or judged >= bound.min) and (bound.max is None or judged <= bound.max)
    said = f"The challenger's {name} is {value:.4f}" + (f" (95 %: {span.lower:.4f} to {span.upper:.4f})" if span else "")
    return Check(status="passed" if met else "failed", message=f"{said}; the policy demands {limit}.", **common)


def against_champion(
    task: Task, settings: Evaluate, rows: Rows, challenger: np.ndarray, champion: np.ndarray, *, same: bool = False, challengers: int = 1
) -> Compared:
    """Whether the challenger may replace the champion, by the policy's rule.

    ``passed``; ``inconclusive`` where it is not shown (then the champion is kept); ``unknown`` where the rows cannot judge the metric.

    Parameters
    ----------
    same
        Both are the same bytes.
    challengers
        How many have been tried on these days, this one included.
    """
    return _compared(task, settings, rows, challenger, champion, "champion", same=same, challengers=challengers)


def against_anchor(
    task: Task, settings: Evaluate, rows: Rows, challenger: np.ndarray, anchor: np.ndarray, *, challengers: int = 1
) -> Compared:
    """Whether a non-inferior challenger is also non-inferior to the last release that was superior."""
    return _compared(task, settings, rows, challenger, anchor, "the last superior release", challengers=challengers)


def against_constant(task: Task, settings: Evaluate, rows: Rows, challenger: np.ndarray, constant: float | np.ndarray) -> Compared:
    """Whether the first model beats one that always says the same (of classes, their shares); where it does not, that is a failure."""
    settings = settings.model_copy(update={"rule": "superior"})
    found = _compared(task, settings, rows, challenger, np.broadcast_to(constant, challenger.shape), "baseline")
    status = {"inconclusive": "failed"}.get(found.check.status, found.check.status)
    return Compared(found.check.model_copy(update={"status": status}), found.comparison, found.superior)


def _compared(
    task: Task,
    settings: Evaluate,
    rows: Rows,
    challenger: np.ndarray,
    rival: np.ndarray,
    name: str,
    *,
    same: bool = False,
    challengers: int = 1,
) -> Compared:
    metric, up, superior = settings.metric, METRICS[task][settings.metric], settings.rule == "superior"
    called = {"champion": "the champion", "baseline": "a model that always says the same"}.get(name, name)
    limit = "superior: the 95 % interval lies above 0"
    if not superior:
        limit = f"non-inferior: the one-sided 95 % bound lies above {-(settings.margin or 0):g}"
    limit += f"; corrected for {challengers} challengers on these days" if challengers > 1 else ""
    why = {"champion": _WHY_CHAMPION, "baseline": _WHY_BASELINE}.get(name, _WHY_ANCHOR)

    def check(status: str, message: str, found: Comparison | None = None) -> Check:
        numbers = {"value": found.difference, "lower": found.lower, "upper": found.upper} if found else {}
        return Check(family="champion", name=name, status=status, message=message, limit=limit, why=why, **numbers)

    if reason := metrics.undefined(metric, rows.label):
        return Compared(check("unknown", f"These rows cannot judge {metric}: {reason}."))
    if same:
        return Compared(check("inconclusive", "The challenger is the champion itself: the same bytes."))
    if rows.days < MINIMUM_DAYS:
        message = f"{rows.days} {rows.blocks} are too few to compare {metric} with {called}: {MINIMUM_DAYS} are needed."
        return Compared(check("inconclusive", message))
    error = _ERROR / challengers
    try:
        two_sided = _by(settings, up, rows, challenger, rival, 1 - error / 2)
        found = two_sided if superior else _by(settings, up, rows, challenger, rival, 1 - error)
    except ValueError as reason_:
        return Compared(check("unknown", f"These rows cannot compare {metric} with {called}: {reason_}."))
    bound = 0.0 if superior else -(settings.margin or 0.0)
    shown = found.lower > bound
    better = "improves" if found.difference >= 0 else "is worse"
    said = f"Against {called} {metric} {better} by {abs(found.difference):.4f}"
    span = f"95 %: {found.lower:+.4f} to {found.upper:+.4f}" if superior else f"one-sided 95 % bound {found.lower:+.4f}"
    if challengers > 1:
        span += f", corrected for {challengers} challengers"
    verdict = "superior" if superior else "not inferior"
    if not shown:
        verdict = "certainly worse" if found.upper < bound else "not shown to be better" if superior else "not shown to be as good"
    seen = f"{found.detectable:.4f} would show in 8 of 10 cases on {found.days} {rows.blocks}"
    message = f"{said} ({span}; more than {bound:g} is asked): {verdict}. {seen[0].upper()}{seen[1:]}."
    return Compared(check("passed" if shown else "inconclusive", message, found), found, two_sided.lower > 0)


def _by(settings: Evaluate, up: bool, rows: Rows, first: np.ndarray, second: np.ndarray, confidence: float) -> Comparison:
    return paired.compare(settings.metric, up, rows.day, rows.label, first, second, confidence, metrics.settings(settings), rows.weight)
