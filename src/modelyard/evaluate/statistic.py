r"""Each metric as a function of how often each day is drawn, with its gradient. No I/O.

Rows of one day share weather and events, so the day is the unit of resampling. A replicate draws day :math:`d` with
multiplicity :math:`c_d`; a :data:`Statistic` gives :math:`T(c)` and :math:`\partial T / \partial c_d` for many replicates at
once, from sums per day, exactly what the metric is on the rows so repeated. None of the metrics depends on the total of
:math:`c`, hence :math:`\sum_d c_d\,\partial T / \partial c_d = 0`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from modelyard.evaluate import metrics
from modelyard.evaluate.metrics import DEFAULT, Settings

#: Multiplicities (replicates, days) -> values (replicates,) and gradients (replicates, days).
Statistic = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]

#: ROC AUC of the pairs whose rows share a day: no metric of a policy, but what tells two models apart with the least noise.
SAME_DAY_AUC = "roc_auc of one day"


def build(name: str, day: np.ndarray, label: np.ndarray, score: np.ndarray, given: Settings = DEFAULT) -> Statistic:
    """The metric ``name`` over days, or :data:`SAME_DAY_AUC`.

    Parameters
    ----------
    day
        (n,) whole numbers 0 .. D-1, the day of each row.
    label, score, given
        As in :func:`modelyard.evaluate.metrics.compute`. The bins of ``calibration_error`` are those of the rows as they are, for
        all replicates.

    Raises
    ------
    KeyError
        There is no such metric.
    """
    return _BUILDERS[name](day, label, score, given)


def value(name: str, label: np.ndarray, score: np.ndarray, given: Settings = DEFAULT) -> float:
    """The metric of these rows: what :func:`modelyard.evaluate.metrics.value` says, without scikit-learn's checks of each call."""
    return float(build(name, np.zeros(len(label), dtype=np.int64), label, score, given)(np.ones((1, 1)))[0][0])


def mean_over(name: str, group: np.ndarray, day: np.ndarray, label: np.ndarray, score: np.ndarray, given: Settings = DEFAULT) -> Statistic:
    """The mean of the metric over groups of days, each group a function of its own days only.

    Parameters
    ----------
    group
        (n,) equal for the rows of one day.
    """
    parts = []
    for name_of in np.unique(group):
        rows = group == name_of
        days, local = np.unique(day[rows], return_inverse=True)
        parts.append((days, build(name, local, label[rows], score[rows], given)))

    def statistic(c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        value, slope = np.zeros(len(c)), np.zeros(c.shape)
        for days, part in parts:
            values, slopes = part(c[:, days])
            value += values / len(parts)
            slope[:, days] = slopes / len(parts)
        return value, slope

    return statistic


def wins(day: np.ndarray, label: np.ndarray, score: np.ndarray) -> np.ndarray:
    """(D, D): how many pairs of a positive of day i and a negative of day j are ordered rightly; a tie counts one half."""
    order = np.argsort(score, kind="stable")  # a search for sorted values is many times as fast
    day, label, score = day[order], label[order], score[order]
    days = int(day.max()) + 1
    positive = label == 1
    at, of = score[positive], day[positive]
    matrix = np.empty((days, days))
    for j in range(days):
        negatives = score[~positive & (day == j)]
        below = np.searchsorted(negatives, at, side="left")
        upto = np.searchsorted(negatives, at, side="right")
        matrix[:, j] = np.bincount(of, weights=(below + upto) / 2, minlength=days)
    return matrix


def _per_day(day: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.bincount(day, weights=values, minlength=int(day.max()) + 1)


def _roc_auc(day: np.ndarray, label: np.ndarray, score: np.ndarray, _: Settings) -> Statistic:
    matrix = wins(day, label, score)
    ones, zeros = _per_day(day, label), _per_day(day, 1 - label)

    def statistic(c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        p, n = c @ ones, c @ zeros
        right = c @ matrix
        value = (right * c).sum(axis=1) / (p * n)
        slope = (c @ matrix.T + right) / (p * n)[:, None]
        return value, slope - value[:, None] * (ones / p[:, None] + zeros / n[:, None])

    return statistic


def _same_day_auc(day: np.ndarray, label: np.ndarray, score: np.ndarray, _: Settings) -> Statistic:
    right = np.empty(int(day.max()) + 1)
    for d in range(len(right)):
        rows = day == d
        right[d] = wins(np.zeros(rows.sum(), dtype=np.int64), label[rows], score[rows])[0, 0] if rows.any() else 0.0
    pairs = _per_day(day, label) * _per_day(day, 1 - label)

    def statistic(c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        total = c @ pairs
        value = (c @ right) / total
        return value, (right - value[:, None] * pairs) / total[:, None]

    return statistic


def _mean(day: np.ndarray, values: np.ndarray) -> Statistic:
    sums, rows = _per_day(day, values), _per_day(day, np.ones(len(day)))

    def statistic(c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        total = c @ rows
        value = (c @ sums) / total
        return value, (sums - value[:, None] * rows) / total[:, None]

    return statistic


def _root(square: Statistic) -> Statistic:
    def statistic(c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        value, slope = square(c)
        root = np.sqrt(value)
        return root, slope / np.where(root > 0, 2 * root, np.inf)[:, None]  # no error at all: a minimum, flat

    return statistic


def _r2(day: np.ndarray, label: np.ndarray, score: np.ndarray, _: Settings) -> Statistic:
    shifted = label - label.mean()  # the same R2, without the cancellation of large sums
    rows, y, yy = (_per_day(day, v) for v in (np.ones(len(day)), shifted, shifted**2))
    errors = _per_day(day, (score - label) ** 2)

    def statistic(c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mean = ((c @ y) / (c @ rows))[:, None]
        spread = (c @ yy)[:, None] - mean**2 * (c @ rows)[:, None]
        share = (c @ errors)[:, None] / spread
        slope = -(errors - share * (yy - 2 * mean * y + mean**2 * rows)) / spread
        return (1 - share)[:, 0], slope

    return statistic


def _average_precision(day: np.ndarray, label: np.ndarray, score: np.ndarray, _: Settings) -> Statistic:
    """Step-wise area under precision and recall: sum over thresholds of new positives x precision, by all positives."""
    days = int(day.max()) + 1
    levels, at = np.unique(-score, return_inverse=True)
    cell = at * days + day
    new = np.bincount(cell, weights=label, minlength=len(levels) * days).reshape(-1, days)
    seen = np.cumsum(np.bincount(cell, minlength=len(levels) * days).reshape(-1, days), axis=0)
    true = np.cumsum(new, axis=0)
    adds = np.append(np.flatnonzero(new[:-1].any(axis=1)), len(new) - 1)  # the other thresholds add nothing
    new, seen, true = new[adds], seen[adds], true[adds]

    def some(c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        n, t, k = c @ seen.T, c @ true.T, c @ new.T
        with np.errstate(invalid="ignore", divide="ignore"):
            by = np.where(n > 0, 1 / n, 0.0)  # no row of the drawn days is above the threshold
        positives = t[:, -1:]
        value = (k * t * by).sum(axis=1, keepdims=True) / positives
        slope = ((t * by) @ new + (k * by) @ true - (k * t * by**2) @ seen) / positives
        return value[:, 0], slope - value * true[-1] / positives

    def statistic(c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        parts = [some(c[i : i + 50]) for i in range(0, len(c), 50)]  # (replicates, thresholds) must fit in memory
        return np.concatenate([v for v, _ in parts]), np.concatenate([s for _, s in parts])

    return statistic


def _size(mean: Statistic) -> Statistic:
    """Absolute value; flat where the mean is 0."""

    def statistic(c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        value, slope = mean(c)
        return np.abs(value), np.sign(value)[:, None] * slope

    return statistic


def _calibration_error(day: np.ndarray, label: np.ndarray, score: np.ndarray, _: Settings) -> Statistic:
    days, at = int(day.max()) + 1, metrics.bins(score)
    excess = np.bincount(at * days + day, weights=label - score, minlength=(int(at.max()) + 1) * days).reshape(-1, days)
    rows = _per_day(day, np.ones(len(day)))

    def statistic(c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        total, sums = c @ rows, c @ excess.T
        value = np.abs(sums).sum(axis=1) / total
        return value, (np.sign(sums) @ excess - value[:, None] * rows) / total[:, None]

    return statistic


def _f_beta(day: np.ndarray, label: np.ndarray, score: np.ndarray, given: Settings) -> Statistic:
    called, square = score >= given.threshold, given.beta**2
    true = (1 + square) * _per_day(day, called * label)
    whole = true + _per_day(day, square * ~called * label + called * (1 - label))

    def statistic(c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        total = c @ whole
        value = (c @ true) / total
        return value, (true - value[:, None] * whole) / total[:, None]

    return statistic


#: Metric -> how it is built from days, labels, scores and settings.
_BUILDERS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray, Settings], Statistic]] = {
    "roc_auc": _roc_auc,
    SAME_DAY_AUC: _same_day_auc,
    "average_precision": _average_precision,
    "brier": lambda day, label, score, _: _mean(day, (score - label) ** 2),
    "log_loss": lambda day, label, score, _: _mean(day, metrics.log_loss(label, score)),
    "calibration_error": _calibration_error,
    "f_beta": _f_beta,
    "cost": lambda day, label, score, given: _mean(day, metrics.cost(label, score, given)),
    "mae": lambda day, label, score, _: _mean(day, np.abs(score - label)),
    "rmse": lambda day, label, score, _: _root(_mean(day, (score - label) ** 2)),
    "r2": _r2,
    "pinball": lambda day, label, score, given: _mean(day, metrics.pinball(label, score, given.quantile)),
    "bias": lambda day, label, score, _: _size(_mean(day, score - label)),
}
