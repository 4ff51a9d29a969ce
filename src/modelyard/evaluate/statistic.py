r"""Each metric of all rows, and of the rows without each day: what a jackknife over days is made of. No I/O.

Rows of one day share weather and events, so the day is what is left out. Most metrics follow from sums per day; ``roc_auc`` from each
row's place among the other class, over all rows and within its day; only ``average_precision`` is taken anew for each day, on rows
sorted once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from modelyard.evaluate import metrics
from modelyard.evaluate.metrics import DEFAULT, Settings

#: ROC AUC of the pairs whose rows share a day: no metric of a policy, but what tells two models apart with the least noise.
SAME_DAY_AUC = "roc_auc of one day"


@dataclass(frozen=True)
class Statistic:
    """A metric, and what it is where one day is left out; not a number where it then has no value."""

    value: float
    without: np.ndarray  # (D,)


@dataclass(frozen=True)
class _Rows:
    day: np.ndarray
    label: np.ndarray
    score: np.ndarray
    weight: np.ndarray
    days: int

    def sums(self, values: np.ndarray | float = 1.0) -> np.ndarray:
        """(D,) weighted sums of the rows' values."""
        return np.bincount(self.day, weights=self.weight * values, minlength=self.days)

    def sums_by(self, group: np.ndarray, values: np.ndarray | float = 1.0) -> np.ndarray:
        """(G, D) the same by group 0 .. G-1."""
        groups = int(group.max()) + 1
        cells = np.bincount(group * self.days + self.day, weights=self.weight * values, minlength=groups * self.days)
        return cells.reshape(groups, self.days)


_Builder = Callable[[_Rows, Settings], tuple[float, np.ndarray]]


def of(
    name: str, day: np.ndarray, label: np.ndarray, score: np.ndarray, given: Settings = DEFAULT, weight: np.ndarray | None = None
) -> Statistic:
    """The metric ``name``, or :data:`SAME_DAY_AUC`.

    Parameters
    ----------
    day
        (n,) whole numbers 0 .. D-1, the day of each row.
    label, score, given, weight
        As in :func:`modelyard.evaluate.metrics.compute`. The bins of ``calibration_error`` are those of all rows.

    Raises
    ------
    KeyError
        There is no such metric.
    """
    build = (_BUILDERS if score.ndim == 1 else _OF_CLASSES)[name]
    rows = _Rows(day, label, score, np.ones(len(day)) if weight is None else weight, int(day.max()) + 1)
    with np.errstate(invalid="ignore", divide="ignore"):  # without its only day, a class is gone
        value, without = build(rows, given)
    return Statistic(float(value), without)


def value(name: str, label: np.ndarray, score: np.ndarray, given: Settings = DEFAULT, weight: np.ndarray | None = None) -> float:
    """The metric of these rows: what :func:`modelyard.evaluate.metrics.value` says, without scikit-learn's checks of each call."""
    return of(name, np.zeros(len(label), dtype=np.int64), label, score, given, weight).value


def mean_over(
    name: str,
    group: np.ndarray,
    day: np.ndarray,
    label: np.ndarray,
    score: np.ndarray,
    given: Settings = DEFAULT,
    weight: np.ndarray | None = None,
) -> Statistic:
    """The mean of the metric over groups of days, each group a function of its own days only.

    Parameters
    ----------
    group
        (n,) equal for the rows of one day.
    """
    names = np.unique(group)
    total, change = 0.0, np.zeros(int(day.max()) + 1)
    for name_of in names:
        rows = group == name_of
        days, local = np.unique(day[rows], return_inverse=True)
        part = of(name, local, label[rows], score[rows], given, weight[rows] if weight is not None else None)
        total += part.value / len(names)
        change[days] = (part.without - part.value) / len(names)
    return Statistic(total, total + change)


def wins(group: np.ndarray, label: np.ndarray, score: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(n,) weight of the rows of the other class, within the group, that a row is ordered rightly to; a tie counts one half."""
    order = np.lexsort((score, group))
    group, label, score, weight = group[order], label[order], score[order], weight[order]
    new_group = np.append(True, group[1:] != group[:-1])
    new_level = new_group | np.append(True, score[1:] != score[:-1])
    level, start = np.cumsum(new_level) - 1, np.flatnonzero(new_level)  # rows that are tied, and the first of them
    first = np.flatnonzero(new_group[start])  # the first level of each group
    which = np.cumsum(new_group[start]) - 1
    one = label == 1
    negatives, positives = (np.add.reduceat(weight * rows, start) for rows in (~one, one))
    below = np.cumsum(negatives) - negatives
    below -= below[first][which]  # of the same group only
    upto = np.cumsum(positives) - (np.cumsum(positives) - positives)[first][which]
    above = np.add.reduceat(positives, first)[which] - upto
    found = np.where(one, (below + negatives / 2)[level], (above + positives / 2)[level])
    placed = np.empty(len(order))
    placed[order] = found
    return placed


def _ratio(hits: np.ndarray, of_all: np.ndarray) -> tuple[float, np.ndarray]:
    """The ratio of two sums over days."""
    return hits.sum() / of_all.sum(), (hits.sum() - hits) / (of_all.sum() - of_all)


def _mean(values: Callable[[_Rows, Settings], np.ndarray]) -> _Builder:
    return lambda rows, given: _ratio(rows.sums(values(rows, given)), rows.sums())


def _roc_auc(rows: _Rows, _: Settings) -> tuple[float, np.ndarray]:
    one = rows.label == 1
    ones, zeros = rows.sums(one), rows.sums(~one)
    placed = wins(np.zeros(len(rows.day), dtype=np.int64), rows.label, rows.score, rows.weight)
    with_own = rows.sums(placed)  # rightly ordered pairs that a day's rows take part in; those within it count twice
    right, own = rows.sums(placed * one).sum(), rows.sums(wins(rows.day, rows.label, rows.score, rows.weight) * one)
    return right / (ones.sum() * zeros.sum()), (right - with_own + own) / ((ones.sum() - ones) * (zeros.sum() - zeros))


def _same_day_auc(rows: _Rows, _: Settings) -> tuple[float, np.ndarray]:
    one = rows.label == 1
    return _ratio(rows.sums(wins(rows.day, rows.label, rows.score, rows.weight) * one), rows.sums(one) * rows.sums(~one))


def _r2(rows: _Rows, _: Settings) -> tuple[float, np.ndarray]:
    shifted = rows.label - rows.label.mean()  # the same R2, without the cancellation of large sums
    sums = np.array([rows.sums(values) for values in ((rows.score - rows.label) ** 2, shifted**2, shifted, 1.0)])
    total = sums.sum(axis=1, keepdims=True)
    errors, squares, label, weight = np.concatenate([total, total - sums], axis=1)
    found = 1 - errors / (squares - label**2 / weight)
    return found[0], found[1:]


def _average_precision(rows: _Rows, _: Settings) -> tuple[float, np.ndarray]:
    """Step-wise area under precision and recall: sum over thresholds of new positives x precision, by all positives."""
    order = np.argsort(-rows.score, kind="stable")
    day, label, weight, score = rows.day[order], rows.label[order], rows.weight[order], rows.score[order]
    ends = np.flatnonzero(np.append(score[1:] != score[:-1], True))  # the last row of each threshold

    def precision(weight: np.ndarray) -> float:
        seen, true = np.cumsum(weight)[ends], np.cumsum(weight * label)[ends]
        new = np.diff(true, prepend=0.0)
        some = seen > 0
        return float((new[some] * true[some] / seen[some]).sum() / true[-1])

    return precision(weight), np.array([precision(np.where(day == d, 0.0, weight)) for d in range(rows.days)])


def _calibration_error(rows: _Rows, _: Settings) -> tuple[float, np.ndarray]:
    excess, weight = rows.sums_by(metrics.bins(rows.score), rows.label - rows.score), rows.sums()
    total = excess.sum(axis=1, keepdims=True)
    return np.abs(total).sum() / weight.sum(), np.abs(total - excess).sum(axis=0) / (weight.sum() - weight)


def _f_beta(rows: _Rows, given: Settings) -> tuple[float, np.ndarray]:
    called, square = rows.score >= given.threshold, given.beta**2
    true = (1 + square) * rows.sums(called * rows.label)
    return _ratio(true, true + rows.sums(square * ~called * rows.label + called * (1 - rows.label)))


def _macro_f1(rows: _Rows, _: Settings) -> tuple[float, np.ndarray]:
    said, truth, classes = rows.score.argmax(axis=1), rows.label.astype(np.int64), rows.score.shape[1]

    def kept(of_class: np.ndarray, rows_of: np.ndarray | float) -> np.ndarray:
        """(classes, 1 + D): of all rows, and without each day."""
        sums = np.zeros((classes, rows.days))
        found = rows.sums_by(of_class, rows_of)
        sums[: len(found)] = found
        total = sums.sum(axis=1, keepdims=True)
        return np.concatenate([total, total - sums], axis=1)

    hits, whole = 2 * kept(truth, said == truth), kept(truth, 1.0) + kept(said, 1.0)
    each = np.divide(hits, whole, out=np.zeros_like(hits), where=whole > 1e-9)  # a class neither there nor said counts 0
    found = each.mean(axis=0)
    return found[0], found[1:]


def _of_both(transform: Callable[[np.ndarray], np.ndarray], build: _Builder) -> _Builder:
    """The statistic, transformed."""

    def built(rows: _Rows, given: Settings) -> tuple[float, np.ndarray]:
        value, without = build(rows, given)
        return float(transform(np.array(value))), transform(without)

    return built


#: Metric -> value and values without each day.
_BUILDERS: dict[str, _Builder] = {
    "roc_auc": _roc_auc,
    SAME_DAY_AUC: _same_day_auc,
    "average_precision": _average_precision,
    "brier": _mean(lambda rows, _: (rows.score - rows.label) ** 2),
    "log_loss": _mean(lambda rows, _: metrics.log_loss(rows.label, rows.score)),
    "calibration_error": _calibration_error,
    "f_beta": _f_beta,
    "cost": _mean(lambda rows, given: metrics.cost(rows.label, rows.score, given)),
    "mae": _mean(lambda rows, _: np.abs(rows.score - rows.label)),
    "rmse": _of_both(np.sqrt, _mean(lambda rows, _: (rows.score - rows.label) ** 2)),
    "r2": _r2,
    "pinball": _mean(lambda rows, given: metrics.pinball(rows.label, rows.score, given.quantile)),
    "bias": _of_both(np.abs, _mean(lambda rows, _: rows.score - rows.label)),
}
#: The same where scores are a table of probabilities by class, (n, K), and labels are 0 .. K-1.
_OF_CLASSES: dict[str, _Builder] = {
    "log_loss": _mean(lambda rows, _: metrics.log_loss_of_classes(rows.label, rows.score)),
    "accuracy": _mean(lambda rows, _: (rows.score.argmax(axis=1) == rows.label).astype(float)),
    "macro_f1": _macro_f1,
}
