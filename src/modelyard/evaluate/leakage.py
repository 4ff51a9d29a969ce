"""Does the model know what it cannot know? Alarms on scores, columns, rows, times and the schema. No I/O.

==================  ==========================================================================================================
too good            the hold-out is predicted almost without error (:data:`TOO_GOOD`)
single column       one raw column alone predicts nearly all of it (:data:`SINGLE`)
overlap             rows of the hold-out were trained on
order               training rows lie after the hold-out's start
known later         the model reacts to a column that the schema marks as known only after the prediction is needed
==================  ==========================================================================================================

A schema marks such a column by ``pandera.Field(metadata={"known": "later"})``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, Field

from modelyard.evaluate import metrics
from modelyard.evaluate.check import Check, Maker
from modelyard.evaluate.columns import is_number, is_text, spaced
from modelyard.policy import Task

if TYPE_CHECKING:
    import pandas as pd

Predict = Callable[["pd.DataFrame"], np.ndarray]

#: ROC AUC, or R2, from which on a model is not believed: what is worth predicting is decided by more than is known beforehand, and
#: leakage is the usual reason of such figures (S. Kapoor, A. Narayanan, "Leakage and the reproducibility crisis in
#: machine-learning-based science", Patterns 4, 2023).
TOO_GOOD = 0.995
#: The same for a single column, which ought to know less than the model.
SINGLE = 0.98
#: Share of the hold-out's rows that may equal training rows: a few repeat by chance or by a source's double entry.
OVERLAP = 0.01
#: Rows, evenly spaced, of which a column's own power is told; and those by which a reaction is looked for.
ROWS, REACTIONS = 20_000, 2000

_LOOK = "look for the label, or what follows from it, among the columns, and for rows of one case in training and hold-out"


class Alone(BaseModel):
    """How well one raw column predicts the hold-out by itself."""

    column: str
    value: float = Field(description="ROC AUC, or R2.")


class Leakage(BaseModel):
    """All that was found."""

    checks: list[Check]
    alone: list[Alone] = Field(default_factory=list, description="Each raw column by itself, the strongest first.")


def known_later(schema: Any) -> set[str]:
    """The columns that a pandera ``DataFrameModel`` (or ``DataFrameSchema``) marks with ``metadata={"known": "later"}``."""
    held = (schema.to_schema() if hasattr(schema, "to_schema") else schema).columns
    return {str(name) for name, column in held.items() if (column.metadata or {}).get("known") == "later"}


def judge(
    task: Task,
    train: pd.DataFrame,
    holdout: pd.DataFrame,
    *,
    label: str,
    time: str | None,
    scores: np.ndarray,
    later: set[str] | None,
    predict: Predict,
    limit: float = TOO_GOOD,
) -> Leakage:
    """All alarms.

    Parameters
    ----------
    train, holdout
        Raw rows with all their columns; where labels are missing the row is left out of what needs them.
    label, time
        Names of columns; without a time the order is unknown.
    scores
        (n,) the model's predictions of the hold-out.
    later
        From :func:`known_later`; None where there is no schema.
    predict
        Gives (m,) predictions of m rows.
    limit
        In place of :data:`TOO_GOOD`.
    """
    columns = [str(name) for name in holdout.columns if name not in (label, time)]
    known = holdout[label].notna().to_numpy()
    truth = holdout.loc[known, label].to_numpy(dtype=float)
    alone = _alone(task, train, holdout[known], columns, label)
    return Leakage(
        checks=[
            too_good(task, truth, scores[known], limit=limit),
            _single(task, alone, truth),
            overlap(train, holdout, label=label),
            order(train, holdout, time=time),
            _later(later, holdout, predict),
        ],
        alone=alone,
    )


def too_good(task: Task, label: np.ndarray, scores: np.ndarray, *, limit: float = TOO_GOOD) -> Check:
    """Whether the hold-out is predicted so well that it is not believed; the labels are known."""
    metric = _metric(task)
    demand = f"{metric} below {limit:g}"
    if why := metrics.undefined(metric, label):
        return _check("too good", "unknown", f"{metric} has no value: {why}.", limit=demand)
    value = metrics.value(metric, label, scores)
    if value >= limit:
        return _check("too good", "failed", f"{metric} is {value:.4f}, too good to be true: {_LOOK}.", value, demand)
    return _check("too good", "passed", f"{metric} is {value:.4f}, which can be.", value, demand)


def overlap(train: pd.DataFrame, holdout: pd.DataFrame, *, label: str) -> Check:
    """How many rows of the hold-out equal a training row in all columns but the label; rows that repeat within one of them do not count."""
    demand = f"at most {OVERLAP:.0%} of the hold-out's rows"
    shared = [name for name in holdout.columns if name in train.columns and name != label]
    if not shared or not len(holdout):
        reason = "training and hold-out share no column" if len(holdout) else "there is no held-out row"
        return _check("overlap", "unknown", f"Nothing can be compared: {reason}.", limit=demand)
    try:
        first, second = _hashes(train, holdout, shared)
    except TypeError as error:  # a column of lists
        return _check("overlap", "unknown", f"The rows cannot be compared: {error}.", limit=demand)
    same = int(np.isin(second, first).sum())
    share = same / len(holdout)
    if share > OVERLAP:
        message = f"{same:,} of {len(holdout):,} held-out rows ({share:.1%}) were trained on: let load() give each row once."
        return _check("overlap", "failed", message, share, demand)
    if same:
        return _check("overlap", "noted", f"{same:,} of {len(holdout):,} held-out rows ({share:.2%}) equal a training row.", share, demand)
    return _check("overlap", "passed", f"None of {len(holdout):,} held-out rows equals one of {len(train):,} training rows.", 0.0, demand)


def order(train: pd.DataFrame, holdout: pd.DataFrame, *, time: str | None) -> Check:
    """Whether all of training lies before the hold-out."""
    demand = "no training row at or after the hold-out's first"
    if time is None or time not in train.columns or time not in holdout.columns:
        return _check("order", "unknown", "Without a time in both tables nobody can say which rows came first.", limit=demand)
    if not len(train) or not len(holdout) or train[time].isna().any() or holdout[time].isna().any():
        return _check("order", "unknown", f"There are no rows, or the time {time!r} is missing in some.", limit=demand)
    start = holdout[time].min()
    late = int((train[time] >= start).sum())
    if late:
        message = f"{late:,} of {len(train):,} training rows lie at or after {start}, where the hold-out begins."
        return _check("order", "failed", message, late, demand)
    return _check("order", "passed", f"The last training row is of {train[time].max()}, the first held-out row of {start}.", 0, demand)


def _single(task: Task, alone: Sequence[Alone], truth: np.ndarray) -> Check:
    metric = _metric(task)
    demand = f"{metric} of each column below {SINGLE:g}"
    if why := metrics.undefined(metric, truth):
        return _check("single column", "unknown", f"{metric} has no value: {why}.", limit=demand)
    if not alone:
        return _check(
            "single column", "unknown", "There is no column of numbers, times or texts with labelled training rows.", limit=demand
        )
    bad, best = [each for each in alone if each.value >= SINGLE], alone[0]
    if bad:
        names = ", ".join(f"{each.column} ({each.value:.4f})" for each in bad)
        message = f"Alone, this predicts nearly all ({metric}): {names}. Is it known before the prediction is needed?"
        return _check("single column", "failed", message, best.value, demand)
    return _check("single column", "passed", f"The strongest column alone is {best.column}: {metric} {best.value:.3f}.", best.value, demand)


def _alone(task: Task, train: pd.DataFrame, holdout: pd.DataFrame, columns: Sequence[str], label: str) -> list[Alone]:
    """A small tree, or for texts the mean label of each value, fitted on training rows and scored on the hold-out."""
    known = train[train[label].notna()]
    known, holdout = known.iloc[spaced(len(known), ROWS)], holdout.iloc[spaced(len(holdout), ROWS)]
    first, second = known[label].to_numpy(dtype=float), holdout[label].to_numpy(dtype=float)
    metric = _metric(task)
    if metrics.undefined(metric, first) or metrics.undefined(metric, second):
        return []
    found = []
    for name in columns:
        if name not in known.columns:
            continue
        candidates = _predicted(task, known[name], first, holdout[name])
        if candidates:
            values = [_power(task, second, score) for score in candidates]
            found.append(Alone(column=name, value=max(values)))
    return sorted(found, key=lambda each: -each.value)


def _predicted(task: Task, train: pd.Series, label: np.ndarray, holdout: pd.Series) -> list[np.ndarray]:
    """What the column says of the hold-out, in one or two ways; none where it holds neither numbers, times nor texts."""
    from sklearn.preprocessing import TargetEncoder
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    if is_text(train):
        kind = "binary" if task == "binary" else "continuous"
        first, second = (column.astype(object).where(column.notna(), "").to_numpy(dtype=str)[:, None] for column in (train, holdout))
        return [TargetEncoder(target_type=kind, random_state=0).fit(first, label).transform(second)[:, 0]]
    if (pair := _numbers(train, holdout)) is None:
        return []
    first, second = (values[:, None] for values in pair)
    maker = DecisionTreeClassifier if task == "binary" else DecisionTreeRegressor
    tree = maker(max_leaf_nodes=64, min_samples_leaf=5, random_state=0).fit(first, label)
    scores = [tree.predict_proba(second)[:, 1] if task == "binary" else tree.predict(second)]
    if not np.isnan(second).any():  # finer than 64 steps
        scores.append(second[:, 0])
    return scores


def _numbers(train: pd.Series, holdout: pd.Series) -> tuple[np.ndarray, np.ndarray] | None:
    """Both columns as float64; times as nanoseconds, infinite values as missing."""
    import pandas as pd

    made = []
    for column in (train, holdout):
        if pd.api.types.is_datetime64_any_dtype(column.dtype):
            column = column.dt.tz_localize(None) if getattr(column.dtype, "tz", None) else column
            column = (column - pd.Timestamp(0)).dt.total_seconds()
        elif not (is_number(column) or pd.api.types.is_bool_dtype(column.dtype)):
            return None
        values = column.to_numpy(dtype=float, na_value=np.nan)
        made.append(np.where(np.abs(values) < np.finfo(np.float32).max, values, np.nan))  # a tree computes in float32
    return made[0], made[1]


def _power(task: Task, label: np.ndarray, score: np.ndarray) -> float:
    """ROC AUC in whichever direction, or the squared correlation: R2 after the best straight line."""
    if task == "binary":
        value = metrics.value("roc_auc", label, score)
        return max(value, 1 - value)
    return float(np.corrcoef(label, score)[0, 1] ** 2) if np.ptp(score) > 0 else 0.0


def _hashes(train: pd.DataFrame, holdout: pd.DataFrame, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """A 64-bit hash of each row; columns whose types differ are brought to a common one first, since 1 and 1.0 hash differently."""
    import pandas as pd
    from pandas.util import hash_pandas_object

    common = {name: pd.concat([train[name].iloc[:0], holdout[name].iloc[:0]]).dtype for name in names}
    odd = {name: kind for name, kind in common.items() if not train[name].dtype == holdout[name].dtype == kind}
    first, second = (hash_pandas_object(table[list(names)].astype(odd), index=False).to_numpy() for table in (train, holdout))
    return first, second


def _later(later: set[str] | None, holdout: pd.DataFrame, predict: Predict) -> Check:
    demand = "no reaction to columns that the schema marks as known later"
    if later is None:
        return _check("known later", "unknown", "There is no schema that says when a column is known.", limit=demand)
    if not later:
        message = 'The schema marks no column with metadata={"known": "later"}.'
        return _check("known later", "noted", message, limit=demand)
    rows = holdout.iloc[spaced(len(holdout), REACTIONS)].reset_index(drop=True)
    found, unsure = [], []
    try:
        before = predict(rows)
        for name in sorted(later & {str(column) for column in rows.columns}):
            values = rows[name].to_numpy()[np.random.default_rng(0).permutation(len(rows))]
            if rows[name].nunique(dropna=False) < 2:
                unsure.append(name)
            elif not np.array_equal(predict(rows.assign(**{name: values})), before):
                found.append(name)
    except Exception as error:
        message = f"The model fails where columns known later are shuffled: {type(error).__name__}: {error}"
        return _check("known later", "unknown", message, limit=demand)
    if found:
        return _check("known later", "failed", f"The model reacts to {', '.join(found)}: leave it out of the features.", len(found), demand)
    if unsure:
        return _check("known later", "unknown", f"{', '.join(unsure)}: one value in all held-out rows, so no reaction shows.", limit=demand)
    return _check("known later", "passed", f"The model does not react to {', '.join(sorted(later))}.", 0, demand)


def _metric(task: Task) -> str:
    return "roc_auc" if task == "binary" else "r2"


_check = Maker(
    "leakage",
    {
        "too good": "a model that sees the label in training has nothing to go by when it serves",
        "single column": "a column that nearly equals the label is usually written after the event",
        "overlap": "what was learned by heart is no evidence for new rows",
        "order": "a model that saw the future is judged too well",
        "known later": "what is not known yet cannot be asked when the prediction is needed",
    },
)
