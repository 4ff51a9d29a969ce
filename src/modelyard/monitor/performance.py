"""How well the live model does: on labels that have matured, against a fresh model, and as an estimate without labels. No I/O.

What is not known has a reason, half a sentence: ``unknown`` is an answer, and never means that all is well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import numpy as np

from modelyard.evaluate import metrics, paired, statistic
from modelyard.evaluate.metrics import DEFAULT, Settings
from modelyard.evaluate.paired import MINIMUM_DAYS, TWO_SIDED
from modelyard.monitor.report import Decay, Estimate, Performance, Point

#: Levels are means over stretches of so many days, before and now: a metric of three weeks and one of four are not alike.
STRETCH_DAYS = 7
#: Days that a stretch must hold; a closed weekend or a day without labels does not spoil it.
_ENOUGH_DAYS = 4
#: Labels of a day have matured at this share of what is usual.
_MATURED = 0.9


@dataclass(frozen=True)
class Rows:
    """Scored rows.

    Parameters
    ----------
    time
        (n,) ``datetime64``, none missing.
    label
        (n,) NaN where it is not known.
    score
        (n,) what the live model said.
    """

    time: np.ndarray
    label: np.ndarray
    score: np.ndarray

    def __len__(self) -> int:
        return len(self.score)

    @property
    def day(self) -> np.ndarray:
        """(n,) days since 1970."""
        return self.time.astype("datetime64[D]").astype(np.int64)

    def take(self, rows: np.ndarray) -> Rows:
        """Some of the rows."""
        return Rows(self.time[rows], self.label[rows], self.score[rows])


@dataclass(frozen=True)
class Level:
    """The mean of the metric over stretches of equal length, and the metric in each."""

    value: float
    lower: float | None
    upper: float | None
    rows: int
    days: int
    points: tuple[Point, ...]


def matured(time: np.ndarray, label: np.ndarray, usual: float) -> tuple[np.ndarray, str]:
    """(n,) which rows have a label and lie on a day whose labels have matured; and why nothing can be said of them, if so.

    Labels that come early may be other ones than those that come late. A day counts once its share of labels is at least 90 % of
    the ``usual`` one, that of the training data: some rows never get a label.
    """
    known = ~np.isnan(label)
    if not usual > 0:
        return np.zeros(len(label), dtype=bool), "the training data have no labels to compare with"
    days, position = np.unique(time.astype("datetime64[D]"), return_inverse=True)
    share = np.bincount(position, weights=known, minlength=len(days)) / np.maximum(np.bincount(position, minlength=len(days)), 1)
    full = share >= _MATURED * usual
    if full.sum() < MINIMUM_DAYS:
        return np.zeros(len(label), dtype=bool), f"labels of {full.sum()} days have matured, and {MINIMUM_DAYS} are needed"
    return known & full[position], ""


def level(metric: str, rows: Rows, given: Settings = DEFAULT) -> tuple[Level | None, str]:
    """The metric of labelled rows as the mean over stretches of seven days, cut backwards from the last; None, and why.

    Left out is a stretch with fewer than four days, or on whose labels the metric is not defined.
    """
    start, counts, reason = _stretches(rows.day, lambda inside: metrics.undefined(metric, rows.label[inside]))
    if reason:
        return None, reason
    rows, start = rows.take(counts), start[counts]
    points = tuple(_point(metric, rows.take(start == first), int(first), given) for first in np.unique(start))
    lower, upper = _bounds(metric, rows, start, given)
    value = float(np.mean([point.value for point in points]))
    return Level(value, lower, upper, len(rows), len(np.unique(rows.day)), points), ""


def judge(metric: str, more_is_better: bool, window: Level, release: Level | None) -> Performance:
    """Both levels side by side."""
    return Performance(
        metric=metric,
        more_is_better=more_is_better,
        value=window.value,
        lower=window.lower,
        upper=window.upper,
        at_release=release.value if release else None,
        rows=window.rows,
        days=window.days,
        points=window.points,
        release_points=release.points if release else (),
    )


def decay(
    metric: str, more_is_better: bool, rows: Rows, shadow: np.ndarray, limit: float, given: Settings = DEFAULT
) -> tuple[Decay | None, str]:
    """What a freshly trained model gains over the live one on the same labelled rows; None, and why.

    Both models meet the same weather, so the gain tells decay where the level cannot. For ``roc_auc`` it is the gain on pairs of
    rows of the same day: pairs from different days say which day was worse, and make up most of the noise.

    Parameters
    ----------
    shadow
        (n,) what the fresh model says of the rows, none of which it was trained on.
    limit
        Gain that means decay: ``yes`` from there on, where the lower bound is above 0; ``no`` where the upper bound is below it.
    """
    days = len(np.unique(rows.day)) if len(rows) else 0
    if days < MINIMUM_DAYS:
        return None, f"labels of {days} days have matured since, and {MINIMUM_DAYS} are needed"
    if reason := metrics.undefined(metric, rows.label):
        return None, reason
    try:
        found = paired.compare(_gained(metric, rows), more_is_better, rows.day, rows.label, shadow, rows.score, TWO_SIDED, given)
    except ValueError as error:
        return None, str(error)
    answer: Literal["yes", "no", "undetermined"] = "undetermined"
    if found.difference >= limit and found.lower > 0:
        answer = "yes"
    elif found.upper < limit:
        answer = "no"
    return Decay(
        found=answer,
        gain=found.difference,
        lower=found.lower,
        upper=found.upper,
        limit=limit,
        days=found.days,
        rows=found.rows,
        detectable=found.detectable,
    ), ""


def strongest(fresh: Decay | None, recent: Decay | None) -> Decay | None:
    """One answer from two fresh models: that of all rows, and that of the latest rows alone.

    The former learns what is new only slowly, since old rows outnumber it; it tells the decay that a training mends. The latter
    has seen so little that it loses, unless what the features say of the label has changed: then it wins within weeks.
    """
    if recent and recent.found == "yes" and not (fresh and fresh.found == "yes"):
        return recent
    return fresh


def estimate(metric: str, time: np.ndarray, score: np.ndarray, *, realised: float | None = None) -> Estimate | None:
    """What :func:`level` would find on these rows if P(label = 1 | features) were the score; None where scores cannot say.

    Parameters
    ----------
    realised
        What the labels said, where they have come.
    """
    function = _EXPECTED.get(metric)
    if function is None or not len(score):
        return None
    start, counts, reason = _stretches(time.astype("datetime64[D]").astype(np.int64), lambda _: "")
    groups = [score] if reason else [score[start == first] for first in np.unique(start[counts])]
    values = [function(group) for group in groups]
    if not np.isfinite(values).all():  # scores of 0 or of 1 only: no two classes to tell apart
        return None
    assumes = "calibrated scores, and labels that depend on the features as they did at training"
    return Estimate(metric=metric, value=float(np.mean(values)), assumes=assumes, realised=realised)


def _stretches(day: np.ndarray, problem: Callable[[np.ndarray], str]) -> tuple[np.ndarray, np.ndarray, str]:
    """(n,) first day of each row's stretch; (n,) whether the stretch counts; and why none does, if so."""
    if not len(day):
        return day, np.empty(0, dtype=bool), "no row has a label"
    end = int(day.max()) + 1
    start = end + (day - end) // STRETCH_DAYS * STRETCH_DAYS
    counts, reasons = np.zeros(len(day), dtype=bool), set()
    for first in np.unique(start):
        inside = start == first
        few = len(np.unique(day[inside])) < _ENOUGH_DAYS
        reason = f"no {STRETCH_DAYS} days hold {_ENOUGH_DAYS} with labels" if few else problem(inside)
        counts[inside] = not reason
        reasons.add(reason)
    return start, counts, "" if "" in reasons else min(reasons)


def _point(metric: str, rows: Rows, first: int, given: Settings) -> Point:
    value = statistic.value(metric, rows.label, rows.score, given)
    lower, upper = _bounds(metric, rows, np.zeros(len(rows), dtype=np.int64), given)
    start = datetime(1970, 1, 1) + timedelta(days=first)
    return Point(start=start, end=start + timedelta(days=STRETCH_DAYS), value=value, lower=lower, upper=upper, rows=len(rows))


def _bounds(metric: str, rows: Rows, stretch: np.ndarray, given: Settings) -> tuple[float | None, float | None]:
    try:
        found = paired.interval(metric, rows.day, rows.label, rows.score, TWO_SIDED, given, stretch=stretch)
    except ValueError:  # too few days, or days of one class
        return None, None
    return found.lower, found.upper


def _gained(metric: str, rows: Rows) -> str:
    """The statistic that a gain is told in."""
    if metric != "roc_auc":
        return metric
    _, position = np.unique(rows.day, return_inverse=True)
    share = np.bincount(position, weights=rows.label) / np.bincount(position)
    return statistic.SAME_DAY_AUC if ((share > 0) & (share < 1)).sum() >= MINIMUM_DAYS else metric


def _expected_roc_auc(score: np.ndarray) -> float:
    """Expected rightly ordered pairs by expected pairs of a positive and a negative."""
    value, count = np.unique(score, return_counts=True)
    positive, negative = value * count, (1 - value) * count
    below = np.cumsum(negative) - negative
    tied = positive * negative - value * (1 - value) * count  # a row makes no pair with itself
    pairs = positive.sum() * negative.sum() - (value * (1 - value) * count).sum()
    return float((positive @ below + tied.sum() / 2) / pairs) if pairs > 0 else float("nan")


def _expected_average_precision(score: np.ndarray) -> float:
    value, count = np.unique(-score, return_counts=True)
    new = -value * count
    seen, true = np.cumsum(count), np.cumsum(new)
    both = new * true - value * (1 + value) * count  # E[new true] is the product and the variance of new
    return float((both / seen).sum() / true[-1]) if true[-1] > 0 else float("nan")


def _expected_log_loss(score: np.ndarray) -> float:
    tiny = np.finfo(np.float64).eps
    p = np.clip(score, tiny, 1 - tiny)
    return float(-np.mean(score * np.log(p) + (1 - score) * np.log(1 - p)))


_EXPECTED: dict[str, Callable[[np.ndarray], float]] = {
    "roc_auc": _expected_roc_auc,
    "average_precision": _expected_average_precision,
    "brier": lambda score: float(np.mean(score * (1 - score))),
    "log_loss": _expected_log_loss,
}
