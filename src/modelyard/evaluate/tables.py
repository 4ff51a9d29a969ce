"""Predictions and labels from files, for an evaluation without a project."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from modelyard.errors import DataError, UsageError
from modelyard.policy import Task

if TYPE_CHECKING:
    import pandas as pd

_GROUPS = 200  # of rows that are said to be independent
_READ = "Write a Parquet or CSV file with the columns {columns}."


@dataclass(frozen=True)
class Table:
    """Labelled rows with the predictions of one or two models.

    ``missing`` are sentences on rows that a model does not predict: without them the two are not compared on the same rows.
    """

    day: np.ndarray  # (n,) whole numbers; random groups where rows are said to be independent
    label: np.ndarray  # (n,)
    challenger: np.ndarray  # (n,)
    champion: np.ndarray | None  # (n,)
    segments: dict[str, np.ndarray]
    unlabelled: int
    start: str
    end: str
    missing: tuple[str, ...] = field(default=())


def read(
    task: Task,
    challenger: Path,
    champion: Path | None,
    labels: Path,
    *,
    segments: tuple[str, ...] = (),
    independent: bool = False,
) -> Table:
    """Join the files by ``id``.

    Parameters
    ----------
    challenger, champion
        Columns ``id`` and ``prediction``.
    labels
        Columns ``id`` and ``label``; ``time``, unless rows are independent; and the segments.
    independent
        Rows need no time: none is like another.

    Raises
    ------
    DataError
        A file cannot be read, an id stands twice, or a value is not what it must be.
    UsageError
        A column is not there.
    """
    import pandas as pd

    truth = _table(labels, "label", [*segments, *([] if independent else ["time"])])
    rows = truth[truth["label"].notna()].copy()
    label = _numbers(rows["label"], labels, "label")
    if task == "binary" and (odd := sorted(set(label) - {0.0, 1.0})):
        raise DataError(f"{labels}: the label of a binary task is {odd[0]:g}.", "Write 0, 1, or nothing where it is not known.")
    scores, missing = [], []
    for path, who in ((challenger, "challenger"), (champion, "champion")):
        if path is None:
            continue
        given = _table(path, "prediction", [])
        found = rows["id"].map(pd.Series(_numbers(given["prediction"], path, "prediction"), index=given["id"]))
        if lacking := int(found.isna().sum()):
            missing.append(f"{lacking:,} of {len(rows):,} labelled rows have no prediction of the {who}.")
        score = found.to_numpy(dtype=float)
        if not np.isfinite(score[~np.isnan(score)]).all():
            raise DataError(f"{path} holds predictions that are infinite.")
        if task == "binary" and len(score) and (np.nanmin(score, initial=0) < 0 or np.nanmax(score, initial=0) > 1):
            raise DataError(f"{path} holds predictions outside of 0 to 1.", "A binary model gives probabilities of the label 1.")
        scores.append(score)
    day, start, end = _days(rows, labels, independent=independent)
    return Table(
        day=day,
        label=label,
        challenger=scores[0],
        champion=scores[1] if champion else None,
        segments={name: rows[name].astype("string").fillna("(missing)").to_numpy(dtype=object) for name in segments},
        unlabelled=len(truth) - len(rows),
        start=start,
        end=end,
        missing=tuple(missing),
    )


def _table(path: Path, value: str, more: list[str]) -> pd.DataFrame:
    import pandas as pd

    columns = ["id", value, *more]
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
    return frame[columns]


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
