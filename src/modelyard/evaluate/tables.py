"""Predictions and labels from files, for an evaluation without a project."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from modelyard.errors import DataError, UsageError
from modelyard.evaluate.gate import Rows
from modelyard.policy import Task

if TYPE_CHECKING:
    import pandas as pd

_GROUPS = 200  # of rows that are said to be independent
_READ = "Write a Parquet or CSV file with the columns {columns}."
_CLASS = "prediction_"
_SUM = 1e-3  # how far a row's probabilities may sum beside 1


@dataclass(frozen=True)
class Table:
    """Labelled rows with the predictions of one or two models.

    ``missing`` are sentences on rows that a model does not predict: without them the two are not compared on the same rows.
    """

    rows: Rows  # blocks are random groups where rows are said to be independent
    challenger: np.ndarray  # (n,), of classes (n, K)
    champion: np.ndarray | None
    segments: dict[str, np.ndarray]
    unlabelled: int
    start: str
    end: str
    missing: tuple[str, ...] = ()


def read(
    task: Task,
    challenger: Path,
    champion: Path | None,
    labels: Path,
    *,
    segments: tuple[str, ...] = (),
    weight: str | None = None,
    independent: bool = False,
) -> Table:
    """Join the files by ``id``.

    Parameters
    ----------
    challenger, champion
        Columns ``id`` and ``prediction``; of several classes ``prediction_<class>`` for each, which sum to 1.
    labels
        Columns ``id`` and ``label``; ``time``, unless rows are independent; the segments; and the weight.
    independent
        Rows need no time: none is like another.

    Raises
    ------
    DataError
        A file cannot be read, an id stands twice, or a value is not what it must be.
    UsageError
        A column is not there.
    """
    more = [*segments, *([weight] if weight else []), *([] if independent else ["time"])]
    truth = _table(labels, ["label", *more])
    rows = truth[truth["label"].notna()].copy()
    classes: list[str] = []
    scores, missing = [], []
    for path, who in ((challenger, "challenger"), (champion, "champion")):
        if path is None:
            continue
        score, named = _predictions(task, path, rows["id"])
        if classes and named != classes:
            raise DataError(f"{path} predicts the classes {', '.join(named)}, {challenger} {', '.join(classes)}.", "They must be the same.")
        classes = named
        if lacking := int(np.isnan(np.atleast_2d(score.T)).any(axis=0).sum()):
            missing.append(f"{lacking:,} of {len(rows):,} labelled rows have no prediction of the {who}.")
        scores.append(score)
    day, start, end = _days(rows, labels, independent=independent)
    return Table(
        rows=Rows(
            day, _labels(task, rows["label"], labels, classes), "groups of rows" if independent else "days", _weights(rows, weight, labels)
        ),
        challenger=scores[0],
        champion=scores[1] if champion else None,
        segments={name: rows[name].astype("string").fillna("(missing)").to_numpy(dtype=object) for name in segments},
        unlabelled=len(truth) - len(rows),
        start=start,
        end=end,
        missing=tuple(missing),
    )


def _predictions(task: Task, path: Path, ids: pd.Series) -> tuple[np.ndarray, list[str]]:
    """What a model says of these rows, NaN where it says nothing; and its classes, where there are several."""
    import pandas as pd

    given = _table(path, [] if task == "multiclass" else ["prediction"])
    names = [name for name in given.columns if str(name).startswith(_CLASS)] if task == "multiclass" else ["prediction"]
    if task == "multiclass" and len(names) < 2:
        raise UsageError(f"{path} has no columns {_CLASS}<class>.", _READ.format(columns=f"id, {_CLASS}<class> for each class"))
    values = np.column_stack([_numbers(given[name], path, name) for name in names])
    if not np.isfinite(values[~np.isnan(values)]).all():
        raise DataError(f"{path} holds predictions that are infinite.")
    if task != "regression" and values.size and (np.nanmin(values, initial=0) < 0 or np.nanmax(values, initial=0) > 1):
        what = "A binary model gives probabilities of the label 1." if task == "binary" else "A model of classes gives their probabilities."
        raise DataError(f"{path} holds predictions outside of 0 to 1.", what)
    if task == "multiclass" and len(values) and np.nanmax(np.abs(values.sum(axis=1) - 1), initial=0) > _SUM:
        raise DataError(f"{path}: the probabilities of a row sum to another number than 1.", "Give one for each class.")
    at = given.index.get_indexer(pd.Index(ids))
    score = np.where((at >= 0)[:, None], values[at], np.nan) if len(values) else np.full((len(ids), len(names)), np.nan)
    return (score, [str(name).removeprefix(_CLASS) for name in names]) if task == "multiclass" else (score[:, 0], [])


def _labels(task: Task, column: pd.Series, path: Path, classes: list[str]) -> np.ndarray:
    import pandas as pd

    if task == "multiclass":
        label = pd.Index(classes).get_indexer(pd.Index(column.astype("string"))).astype(float)
        if (label < 0).any():
            raise DataError(f"{path}: the label {column[label < 0].iloc[0]!r} is none of the predicted classes {', '.join(classes)}.")
        return label
    label = _numbers(column, path, "label")
    if task == "binary" and (odd := sorted(set(label) - {0.0, 1.0})):
        raise DataError(f"{path}: the label of a binary task is {odd[0]:g}.", "Write 0, 1, or nothing where it is not known.")
    return label


def _weights(rows: pd.DataFrame, name: str | None, path: Path) -> np.ndarray | None:
    if name is None:
        return None
    weight = _numbers(rows[name], path, name)
    if not np.isfinite(weight).all() or (weight < 0).any() or not (len(weight) == 0 or weight.any()):
        raise DataError(
            f"{path}: column {name!r} holds a weight that is negative or missing, or none above 0.", "Give each row a weight of 0 or more."
        )
    return weight


def _table(path: Path, columns: list[str]) -> pd.DataFrame:
    """The file's rows by id, with all their columns."""
    import pandas as pd

    columns = ["id", *columns]
    fix = _READ.format(columns=", ".join(columns))
    try:
        frame = pd.read_csv(path) if path.suffix.lower() == ".csv" else pd.read_parquet(path)
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist.", fix) from None
    except Exception as error:  # pandas and pyarrow have a dozen of their own
        raise DataError(f"{path} cannot be read: {str(error).splitlines()[0] if str(error) else type(error).__name__}", fix) from None
    if lacking := [name for name in columns if name not in frame.columns]:
        if lacking == ["time"]:
            fix += " Without times, say --independent-rows if rows of one day are no more alike than others."
        has = ", ".join(map(str, frame.columns)) or "none"
        raise UsageError(f"{path} has no column {lacking[0]!r}; it has {has}.", fix)
    if frame["id"].isna().any():
        raise DataError(f"{path} has rows without an id.", fix)
    if frame["id"].duplicated().any():
        twice = frame.loc[frame["id"].duplicated(), "id"].iloc[0]
        raise DataError(f"{path}: the id {twice!r} stands more than once.", "Give each row an id of its own.")
    return frame.set_index("id", drop=False)


def _numbers(column: pd.Series, path: Path, name: str) -> np.ndarray:
    import pandas as pd

    try:
        values: np.ndarray = pd.to_numeric(column).to_numpy(dtype=float, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: column {name!r} holds something that is no number: {error}") from None
    return values


def _days(rows: pd.DataFrame, path: Path, *, independent: bool) -> tuple[np.ndarray, str, str]:
    import pandas as pd

    if independent:  # any grouping of independent rows gives independent blocks
        return np.random.default_rng(0).permutation(len(rows)) % _GROUPS, "", ""
    try:
        times = pd.to_datetime(rows["time"])
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: column 'time' holds something that is no time: {error}") from None
    if times.isna().any():
        raise DataError(f"{path} has labelled rows without a time.", "Fill them in, or say --independent-rows.")
    times = times.dt.tz_convert("UTC").dt.tz_localize(None) if getattr(times.dtype, "tz", None) else times
    day = times.to_numpy().astype("datetime64[D]").astype(np.int64)
    return day, *((f"{times.min():%Y-%m-%d}", f"{times.max():%Y-%m-%d}") if len(times) else ("", ""))
