r"""Each metric as a function of how often each day is drawn, with its gradient. No I/O.

Rows of one day share weather and events, so the day is the unit of resampling. A replicate draws day :math:`d` with
multiplicity :math:`c_d`; a :data:`Statistic` gives :math:`T(c)` and :math:`\partial T / \partial c_d` for many replicates at
once, from sums per day, exactly what the metric is on the rows so repeated. None of the metrics depends on the total of
:math:`c`, hence :math:`\sum_d c_d\,\partial T / \partial c_d = 0`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

#: Multiplicities (replicates, days) -> values (replicates,) and gradients (replicates, days).
Statistic = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]

#: ROC AUC of the pairs whose rows share a day: no metric of a policy, but what tells two models apart with the least noise.
SAME_DAY_AUC = "roc_auc of one day"


def build(name: str, day: np.ndarray, label: np.ndarray, score: np.ndarray) -> Statistic:
    """The metric ``name`` over days, or :data:`SAME_DAY_AUC`.

    Parameters
    ----------
    day
        (n,) whole numbers 0 .. D-1, the day of each row.
    label, score
        (n,) as in :func:`modelyard.evaluate.metrics.compute`.
    """
    if name == "roc_auc":
        return _roc_auc(day, label, score)
    if name == SAME_DAY_AUC:
        return _same_day_auc(day, label, score)
    if name == "average_precision":
        return _average_precision(day, label, score)
    if name == "r2":
        return _r2(day, label, score)
    if name == "rmse":
        return _root(_mean(day, (score - label) ** 2))
    if name == "log_loss":
        tiny = np.finfo(np.float64).eps  # scikit-learn's own clipping
        p = np.clip(score, tiny, 1 - tiny)
        return _mean(day, -(label * np.log(p) + (1 - label) * np.log(1 - p)))
    return _mean(day, np.abs(score - label) if name == "mae" else (score - label) ** 2)


def mean_over(name: str, group: np.ndarray, day: np.ndarray, label: np.ndarray, score: np.ndarray) -> Statistic:
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
        parts.append((days, build(name, local, label[rows], score[rows])))

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
    days = int(day.max()) + 1
    positive = label == 1
    matrix = np.empty((days, days))
    for j in range(days):
        negatives = np.sort(score[~positive & (day == j)])
        below = np.searchsorted(negatives, score[positive], side="left")
        upto = np.searchsorted(negatives, score[positive], side="right")
        matrix[:, j] = np.bincount(day[positive], weights=(below + upto) / 2, minlength=days)
    return matrix


def _per_day(day: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.bincount(day, weights=values, minlength=int(day.max()) + 1)


def _roc_auc(day: np.ndarray, label: np.ndarray, score: np.ndarray) -> Statistic:
    matrix = wins(day, label, score)
    ones, zeros = _per_day(day, label), _per_day(day, 1 - label)

    def statistic(c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        p, n = c @ ones, c @ zeros
        value = np.einsum("rd,de,re->r", c, matrix, c, optimize=True) / (p * n)
        slope = (c @ matrix.T + c @ matrix) / (p * n)[:, None]
        return value, slope - value[:, None] * (ones / p[:, None] + zeros / n[:, None])

    return statistic


def _same_day_auc(day: np.ndarray, label: np.ndarray, score: np.ndarray) -> Statistic:
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


def _r2(day: np.ndarray, label: np.ndarray, score: np.ndarray) -> Statistic:
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


def _average_precision(day: np.ndarray, label: np.ndarray, score: np.ndarray) -> Statistic:
    """Step-wise area under precision and recall: sum over thresholds of new positives x precision, by all positives."""
    days = int(day.max()) + 1
    levels, at = np.unique(-score, return_inverse=True)
    cell = at * days + day
    new = np.bincount(cell, weights=label, minlength=len(levels) * days).reshape(-1, days)
    seen = np.cumsum(np.bincount(cell, minlength=len(levels) * days).reshape(-1, days), axis=0)
    true = np.cumsum(new, axis=0)

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
