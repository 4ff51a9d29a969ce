r"""Which columns a model lives on: what its metric loses where a column is shuffled, and what changed between two models. No I/O.

The loss of column :math:`j` is :math:`L_j = \pm(M(y, f(X)) - M(y, f(X_{\pi j})))`, turned so that positive is a loss;
:math:`X_{\pi j}` is :math:`X` with column :math:`j` in random order. Columns that say the same share their importance: each is small
where the other can stand in for it.

Its interval is over days, by the jackknife of :func:`modelyard.evaluate.paired.compare`: :math:`L_j` is a difference of two metrics on
the same days. The rows of a day get values from all over the table, so that its standard error holds the chance of the shuffle too.
What changed between two models is the difference of their losses, by the same shuffles and days; many columns are looked at, so one
interval in twenty misses by chance.

References
----------
L. Breiman, "Random forests", Machine Learning 45 (2001); A. Fisher, C. Rudin, F. Dominici, "All models are wrong, but many are useful",
J. Mach. Learn. Res. 20 (2019).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, Field

from modelyard.evaluate import metrics, paired, statistic
from modelyard.evaluate.columns import spaced
from modelyard.evaluate.metrics import DEFAULT, Settings
from modelyard.policy import METRICS, Task

if TYPE_CHECKING:
    import pandas as pd

Predict = Callable[["pd.DataFrame"], np.ndarray]

#: Rows that are shuffled; more say the same.
ROWS = 5000
#: Values of the copies that a model is given at once, so that a table of many columns fits in memory.
_CELLS = 20_000_000


class Loss(BaseModel):
    """What the deciding metric loses where a column is shuffled."""

    value: float
    lower: float | None = Field(None, description="Lower end of the 95 % interval over days; none with too few days.")
    upper: float | None = None
    rank: int = Field(description="1: the column that the model lives on most.")


class Change(BaseModel):
    """One raw column, in both models."""

    column: str
    challenger: Loss
    champion: Loss | None = None
    difference: float | None = Field(None, description="The challenger's loss minus the champion's.")
    lower: float | None = None
    upper: float | None = None

    @property
    def certain(self) -> bool:
        """Whether the interval of the difference leaves 0 out: one model needs the column more."""
        return self.lower is not None and self.upper is not None and (self.lower > 0 or self.upper < 0)


def compare(
    task: Task,
    metric: str,
    frame: pd.DataFrame,
    label: np.ndarray,
    day: np.ndarray,
    columns: Sequence[str],
    challenger: Predict,
    champion: Predict | None = None,
    *,
    given: Settings = DEFAULT,
    repeats: int = 2,
    seed: int = 0,
) -> list[Change]:
    """Permutation importance of raw columns in both models, the challenger's largest first.

    Parameters
    ----------
    frame
        Rows that neither model has seen; of more than :data:`ROWS`, that many evenly spaced ones are taken.
    label, day
        (n,) known labels, and anything that is equal for rows of one day.
    columns
        Columns to shuffle, one at a time.
    challenger, champion
        Give (m,) predictions of m rows; each is called once, with all shuffled copies in one frame (more often for wide tables).
    repeats
        Shuffles of each column, which are averaged.

    Returns
    -------
    list
        Empty where the metric is not defined on these labels.
    """
    chosen = spaced(len(frame), ROWS)
    rows, label = frame.iloc[chosen].reset_index(drop=True), label[chosen]
    if not columns or metrics.undefined(metric, label):
        return []
    _, position = np.unique(day[chosen], return_inverse=True)
    sign = 1 if METRICS[task][metric] else -1

    def losses(predict: Predict) -> np.ndarray:
        """(columns, 1 + D): the loss, and what it is without each day."""
        found = [statistic.of(metric, position, label, score, given) for score in _scores(rows, columns, predict, repeats, seed)]
        values = np.array([[each.value, *each.without] for each in found])
        each = values[0] - values[1:].reshape(len(columns), repeats, -1)
        loss: np.ndarray = sign * each.mean(axis=1)  # of the differences: exactly 0 where a column is not used
        return loss

    first = losses(challenger)
    second = losses(champion) if champion else None
    before = _ranked(second) if second is not None else [None] * len(columns)
    made = [
        _change(name, loss, first[i], second[i] if second is not None else None, before[i])
        for i, (name, loss) in enumerate(zip(columns, _ranked(first), strict=True))
    ]
    return sorted(made, key=lambda each: each.challenger.rank)


def by_permutation(
    task: Task,
    metric: str,
    frame: pd.DataFrame,
    label: np.ndarray,
    columns: Sequence[str],
    predict: Predict,
    *,
    given: Settings = DEFAULT,
    seed: int = 0,
) -> dict[str, float]:
    """The loss of each column in one model, without intervals: what a profile keeps.

    Parameters
    ----------
    frame, label, columns, predict
        As in :func:`compare`.

    Returns
    -------
    dict
        Column -> loss in units of the metric; empty where the metric is not defined on these labels.
    """
    day = np.zeros(len(frame), dtype=np.int64)
    found = compare(task, metric, frame, label, day, columns, predict, given=given, repeats=1, seed=seed)
    losses = {each.column: each.challenger.value for each in found}
    return {name: losses[name] for name in columns if name in losses}


def _scores(rows: pd.DataFrame, columns: Sequence[str], predict: Predict, repeats: int, seed: int) -> list[np.ndarray]:
    """Predictions of the rows, and of each column's shuffled copies, one after the other."""
    import pandas as pd

    random = np.random.default_rng(seed)
    copies: list[tuple[str, np.ndarray] | None] = [None]
    copies += [(name, random.permutation(len(rows))) for name in columns for _ in range(repeats)]
    at_once = max(1, _CELLS // max(1, rows.size))
    found: list[np.ndarray] = []
    for start in range(0, len(copies), at_once):
        part = copies[start : start + at_once]
        tables = [rows if copy is None else rows.assign(**{copy[0]: rows[copy[0]].to_numpy()[copy[1]]}) for copy in part]
        found += np.split(predict(pd.concat(tables, ignore_index=True)), len(part))
    return found


def _ranked(losses: np.ndarray) -> list[Loss]:
    ranks = np.argsort(np.argsort(-losses[:, 0], kind="stable")) + 1
    spans = [_span(loss) for loss in losses]
    return [
        Loss(value=float(loss[0]), lower=lower, upper=upper, rank=int(rank))
        for loss, (lower, upper), rank in zip(losses, spans, ranks, strict=True)
    ]


def _change(name: str, loss: Loss, first: np.ndarray, second: np.ndarray | None, before: Loss | None) -> Change:
    if second is None:
        return Change(column=name, challenger=loss)
    lower, upper = _span(first - second)
    return Change(column=name, challenger=loss, champion=before, difference=float(first[0] - second[0]), lower=lower, upper=upper)


def _span(loss: np.ndarray) -> tuple[float | None, float | None]:
    """The 95 % interval of a loss, from that of all days and those without each; none with too few days."""
    value, without = float(loss[0]), loss[1:]
    try:
        se = paired.spread(value, without, abs(value))
    except ValueError:  # one day alone holds all rows of a class
        return None, None
    if len(without) < paired.MINIMUM_DAYS:
        return None, None
    reach = paired.quantile(paired.TWO_SIDED, len(without)) * se
    return value - reach, value + reach
