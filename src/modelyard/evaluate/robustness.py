"""Does the model break: on odd rows, in another order, batch or type, under a little noise, against what the domain knows. No I/O.

What each check calls wrong:

==================  ==========================================================================================================
valid predictions   an exception, no number, NaN, an infinite value, a probability outside of [0, 1]
not constant        every row gets the same prediction
row order           a row's prediction depends on its neighbours, by more than :data:`ORDER`
batch size          it depends on how many rows are asked at once, by more than :data:`BATCH`
dtypes              it depends on the type that holds the same values, by more than :data:`DTYPE` in more than 5 % of the rows
noise               1 % of a standard deviation decides more than the row does: the correlation with the prediction before is under 0.5
missing values      a column is missing, and the model fails in words that do not name it, or answers with NaN
unseen categories   the same for a text that training cannot have seen
expectations        more of a column moves the prediction the wrong way in more rows than the policy tolerates
==================  ==========================================================================================================

Tolerances are absolute for probabilities, else relative to the largest prediction. An exception that names the column is a refusal: who
asks is told what to mend, so it is noted. What the schema refuses (:class:`Guard`) never reaches the model, and is noted as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, Field

from modelyard.evaluate import columns, spoiled
from modelyard.evaluate.asked import Asked, Predict, ask, in_words
from modelyard.evaluate.check import Check, Maker, Status
from modelyard.policy import Expectation, Task

if TYPE_CHECKING:
    import pandas as pd

#: Rows that are used, evenly spaced, and of them so many one by one.
ROWS, SINGLE = 2000, 20
#: Tolerances; kernels sum one row and many in another order.
ORDER, BATCH, DTYPE = 1e-6, 1e-5, 1e-4
#: Share of rows that may change with the type: a value rounded to float32 can cross a split of a tree (1.3 % in a small example).
CHANGED = 0.05
#: Share of a column's standard deviation.
NOISE = 0.01


@dataclass(frozen=True)
class Guard:
    """What the schema refuses before the model is asked."""

    missing: frozenset[str] = field(default_factory=frozenset)  # columns that may not be missing
    unseen: frozenset[str] = field(default_factory=frozenset)  # columns whose values are listed


class Noise(BaseModel):
    """How far the predictions move where each column of numbers gets noise of 1 % of its standard deviation."""

    median: float
    p99: float
    correlation: float | None = Field(description="Between the predictions before and after; None where one of them does not vary.")


class Robustness(BaseModel):
    """All that was found."""

    rows: int = Field(description="Rows that were used.")
    checks: list[Check]
    reactions: list[spoiled.Reaction] = []
    noise: Noise | None = None


def guard(schema: Any) -> Guard:
    """What a pandera ``DataFrameModel`` (or ``DataFrameSchema``) refuses: missing values in columns not nullable, texts not in ``isin``."""
    held = (schema.to_schema() if hasattr(schema, "to_schema") else schema).columns
    return Guard(
        missing=frozenset(str(name) for name, column in held.items() if not column.nullable),
        unseen=frozenset(str(name) for name, column in held.items() if any(check.name == "isin" for check in column.checks)),
    )


def judge(
    task: Task,
    predict: Predict,
    frame: pd.DataFrame,
    features: Sequence[str],
    expectations: Sequence[Expectation] = (),
    *,
    scores: np.ndarray | None = None,
    guard: Guard | None = None,
    seed: int = 0,
) -> Robustness:
    """Ask the model in many ways for the same rows; about ``50 + 2 * len(features)`` calls, so load it once.

    Parameters
    ----------
    predict
        Gives (m,) predictions of m rows; it may raise, which is a finding.
    frame
        Raw rows; of more than :data:`ROWS`, that many evenly spaced ones are used.
    features
        Raw columns that may be spoiled: all but the label.
    scores
        (n,) what ``predict`` said of the whole frame, to be compared with what it says of a part.
    guard
        None: nothing is refused before the model.
    """
    chosen = columns.spaced(len(frame), ROWS)
    if not len(chosen):
        return Robustness(rows=0, checks=[_check("valid predictions", "unknown", "There is no row to predict.")])
    rows = frame.iloc[chosen].reset_index(drop=True)
    try:
        before = ask(task, predict, rows)
    except Exception as error:
        message = f"The model fails on held-out rows: {in_words(error)}"
        return Robustness(rows=len(rows), checks=[_check("valid predictions", "failed", message)])
    at = Asked(task, predict, rows, before)
    names = [name for name in features if name in rows.columns]
    noise, noisy = _noise(at, names, np.random.default_rng(seed))
    reactions, refused = spoiled.react(at, names), guard or Guard()
    range_ = " and in [0, 1]" if task == "binary" else ""
    return Robustness(
        rows=len(rows),
        checks=[
            _check("valid predictions", "passed", f"All {len(rows):,} predictions are finite{range_}."),
            _constant(before),
            _order(at, np.random.default_rng(seed)),
            _batch(at, scores[chosen] if scores is not None else None),
            _dtypes(at, names),
            noisy,
            *spoiled.judge(reactions, refused.missing, refused.unseen),
            *(_expected(at, each) for each in expectations),
        ],
        reactions=reactions,
        noise=noise,
    )


def _constant(before: np.ndarray) -> Check:
    if len(before) < 2:
        return _check("not constant", "unknown", "One row says nothing of whether predictions differ.")
    different = len(np.unique(before))
    if different == 1:
        return _check("not constant", "failed", f"Every row gets the same prediction, {before[0]:.4g}.", value=1)
    return _check("not constant", "passed", f"{different:,} different predictions of {len(before):,} rows.", value=different)


def _order(at: Asked, random: np.random.Generator) -> Check:
    order = random.permutation(len(at.rows))
    try:
        after = np.empty_like(at.before)
        after[order] = at.ask(at.rows.iloc[order].reset_index(drop=True))
    except Exception as error:
        return _check("row order", "failed", f"The model fails on the same rows in another order: {in_words(error)}")
    return _same("row order", after, at.before, ORDER, at.scale, "in another order")


def _batch(at: Asked, whole: np.ndarray | None) -> Check:
    single = columns.spaced(len(at.rows), SINGLE)
    try:
        after = np.concatenate([at.ask(at.rows.iloc[[i]].reset_index(drop=True)) for i in single])
    except Exception as error:
        return _check("batch size", "failed", f"The model fails on a single row: {in_words(error)}")
    before, words = at.before[single], f"one at a time ({len(single)} rows)"
    if whole is not None:  # and as part of the whole hold-out
        after, before, words = np.concatenate([after, whole]), np.concatenate([before, at.before]), f"{words} or with all others"
    return _same("batch size", after, before, BATCH, at.scale, words)


def _same(name: str, after: np.ndarray, before: np.ndarray, tolerance: float, scale: float, words: str) -> Check:
    worst = float(np.abs(after - before).max())
    limit = tolerance * scale
    status: Status = "passed" if worst <= limit else "failed"
    return _check(name, status, f"Asked {words}, predictions differ by up to {worst:.2g}.", value=worst, limit=f"at most {limit:.2g}")


def _dtypes(at: Asked, names: Sequence[str]) -> Check:
    """All columns of one type are held by another at once, since that is how a caller's table differs."""
    found, worst = [], 0.0
    limit = f"at most {CHANGED:.0%} of the rows change by more than {DTYPE * at.scale:.2g}"
    for words, variant in columns.retyped(at.rows, names):
        try:
            gap = np.abs(at.ask(variant) - at.before)
        except Exception as error:
            found.append(f"{words} it fails: {in_words(error)}")
            continue
        worst = max(worst, float(gap.max()))
        if (share := float((gap > DTYPE * at.scale).mean())) > CHANGED:
            found.append(f"{words} {share:.1%} of the predictions change, by up to {gap.max():.2g}")
    if found:
        return _check("dtypes", "failed", f"The model depends on types: {'; '.join(found)}.", value=worst, limit=limit)
    return _check("dtypes", "passed", f"In other types that hold the same values, predictions differ by up to {worst:.2g}.", worst, limit)


def _noise(at: Asked, names: Sequence[str], random: np.random.Generator) -> tuple[Noise | None, Check]:
    limit = "correlation with the predictions before at least 0.5"
    made = {name: columns.noisy(at.rows[name], NOISE, random) for name in names}
    moved = {name: column for name, column in made.items() if column is not None}
    if not moved:
        return None, _check("noise", "noted", "There is no column of numbers that varies.")
    try:
        after = at.ask(at.rows.assign(**moved))
    except Exception as error:
        return None, _check(
            "noise", "failed", f"The model fails under noise of 1 % of a standard deviation: {in_words(error)}", limit=limit
        )
    gap = np.abs(after - at.before)
    varies = np.ptp(after) > 0 and np.ptp(at.before) > 0
    like = float(np.corrcoef(after, at.before)[0, 1]) if varies else None
    found = Noise(median=float(np.median(gap)), p99=float(np.quantile(gap, 0.99)), correlation=like)
    said = f"Noise of 1 % of a standard deviation moves predictions by {found.median:.2g} (median), {found.p99:.2g} (99th percentile)"
    if like is not None and like < 0.5:
        return found, _check("noise", "failed", f"{said}: it decides more than the row (correlation {like:.2f}).", found.median, limit)
    return found, _check("noise", "noted", f"{said}.", found.median, limit)


def _expected(at: Asked, given: Expectation) -> Check:
    name = f"{given.column} +{given.by:g}: {given.prediction}"
    limit = f"at most {given.tolerance:.0%} of the rows"
    if given.column not in at.rows.columns:
        return _check(name, "unknown", f"There is no column {given.column!r}: mend expectations in the policy.", limit=limit)
    column = at.rows[given.column]
    if not columns.is_number(column):
        return _check(name, "unknown", f"Column {given.column!r} holds {column.dtype}, no numbers.", limit=limit)
    known = column.notna().to_numpy()
    if not known.any():
        return _check(name, "unknown", f"Column {given.column!r} is missing in every row.", limit=limit)
    more = int(given.by) if float(given.by).is_integer() else given.by
    rows = at.rows[known].reset_index(drop=True)
    try:
        change = at.ask(rows.assign(**{given.column: rows[given.column] + more})) - at.before[known]
    except Exception as error:
        return _check(name, "failed", f"The model fails where {given.column} grows by {given.by:g}: {in_words(error)}", limit=limit)
    wrong = change < -ORDER if given.prediction == "not lower" else change > ORDER
    share = float(wrong.mean())
    verb = "lowers" if given.prediction == "not lower" else "raises"
    said = f"{given.by:g} more of {given.column} {verb} the prediction in {share:.1%} of {len(rows):,} rows"
    return _check(name, "passed" if share <= given.tolerance else "failed", f"{said}; {given.tolerance:.0%} may.", share, limit)


_check = Maker(
    "robustness",
    {
        "valid predictions": "a NaN or a probability above 1 breaks whatever reads it",
        "not constant": "a model that says the same of everything has learned nothing, or lost its inputs",
        "row order": "a row's answer may not depend on who else asks",
        "batch size": "the service asks for one row, the evaluation for thousands: it must be the same model",
        "dtypes": "JSON, CSV and Parquet hold the same values in other types",
        "noise": "real measurements are never exact",
    },
    otherwise="what the domain knows must hold, whatever the data of one year say",
)
