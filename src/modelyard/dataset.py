"""The data on disk: one Parquet file per period, and the split at the hold-out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from modelyard.errors import DataError
from modelyard.policy import Data
from modelyard.project import RAW, Project, load_object

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Period:
    """Event times in [start, end), named ``2013-01``, ``2013-W01`` or ``2013-01-01``."""

    name: str
    start: datetime
    end: datetime

    @property
    def file(self) -> Path:
        """Path relative to the project's root."""
        return RAW / f"{self.name}.parquet"


@dataclass(frozen=True)
class Split:
    """Rows to train on, and the last days, which never are."""

    train: pd.DataFrame
    holdout: pd.DataFrame
    start: datetime
    end: datetime


def complete_periods(data: Data, until: datetime) -> Iterator[Period]:
    """Each period from ``data.start`` on whose end, and the wait for its labels, lies not after ``until``.

    Parameters
    ----------
    until
        Naive, in the clock of the data.
    """
    start = datetime(data.start.year, data.start.month, data.start.day)
    while True:
        period = _period(data.period, start)
        if period.end + timedelta(days=data.delay_days) > until:
            return
        yield period
        start = period.end


def named(data: Data, name: str) -> Period:
    """The period of the name, as :func:`complete_periods` names it."""
    try:
        if data.period == "month":
            start = datetime.strptime(name, "%Y-%m")
        elif data.period == "week":
            start = datetime.strptime(f"{name}-1", "%G-W%V-%u")
        else:
            start = datetime.strptime(name, "%Y-%m-%d")
    except ValueError:
        raise DataError(
            f"{RAW / name}.parquet is not named after a {data.period}.", f"Only ingest writes to {RAW}; move the file away."
        ) from None
    return _period(data.period, start)


def on_disk(project: Project) -> list[Period]:
    """The periods whose files lie in ``data/raw``, oldest first."""
    return sorted((named(project.policy.data, p.stem) for p in (project.root / RAW).glob("*.parquet")), key=lambda p: p.start)


def load(project: Project, start: datetime, end: datetime) -> pd.DataFrame:
    """Ask the project's ``load(start, end)``, and hold it to its promise.

    Raises
    ------
    DataError
        ``load`` raised, or returned no DataFrame, no time column, or rows outside [start, end).
    """
    import pandas as pd

    policy = project.policy
    name = f"{policy.package}.data.load({start:%Y-%m-%d}, {end:%Y-%m-%d})"
    function = load_object(project, "data", "load")
    try:
        frame = function(start, end)
    except Exception as error:
        raise DataError(f"{name} failed: {type(error).__name__}: {error}", f"Mend load in src/{policy.package}/data.py.") from error
    if not isinstance(frame, pd.DataFrame):
        raise DataError(f"{name} returned {type(frame).__name__}, not a pandas DataFrame.")
    for column in (policy.data.time, policy.data.label):
        if column not in frame.columns:
            raise DataError(
                f"{name} returned no column {column!r}; it has {', '.join(map(str, frame.columns))}.", "See data: in modelyard.yaml."
            )
    time = frame[policy.data.time]
    if not pd.api.types.is_datetime64_dtype(time):
        raise DataError(f"{name}: column {policy.data.time!r} holds {time.dtype}, not times without a zone.")
    outside = int((~time.between(pd.Timestamp(start), pd.Timestamp(end), inclusive="left")).sum())
    if outside:
        raise DataError(f"{name} returned {outside} rows outside of the time asked for.", f"Return only start <= {policy.data.time} < end.")
    return frame


def read(project: Project, start: datetime | None = None, end: datetime | None = None) -> pd.DataFrame:
    """All rows on disk with start <= event time < end, in the order of the files.

    Raises
    ------
    DataError
        There is no data, or a file cannot be read.
    """
    import pandas as pd

    frames = []
    for period in on_disk(project):
        if (start is None or period.end > start) and (end is None or period.start < end):
            try:
                frames.append(pd.read_parquet(project.root / period.file))
            except Exception as error:
                raise DataError(f"{period.file} cannot be read: {error}", "Restore it: dvc checkout, or dvc pull.") from error
    if not frames:
        raise DataError(f"There is no data in {RAW}.", "Run `modelyard ingest`, or `modelyard state pull` and `dvc pull`.")
    frame = pd.concat(frames, ignore_index=True)
    time = frame[project.policy.data.time]
    keep = pd.Series(True, index=frame.index)
    if start is not None:
        keep &= time >= pd.Timestamp(start)
    if end is not None:
        keep &= time < pd.Timestamp(end)
    return frame[keep].reset_index(drop=True)


def split(project: Project) -> Split:
    """Cut the data on disk into training rows and the hold-out: the last ``evaluate.holdout_days`` before its end.

    The end is that of the last period on disk, so the split follows from the data alone and a rebuilt model is the same.
    """
    frame = read(project)
    end = on_disk(project)[-1].end
    start = end - timedelta(days=project.policy.evaluate.holdout_days)
    time = frame[project.policy.data.time]
    early = time < start
    if not early.any():
        raise DataError(
            f"All data lie in the hold-out of {project.policy.evaluate.holdout_days} days.",
            "Ingest more periods, or lower evaluate.holdout_days.",
        )
    return Split(frame[early].reset_index(drop=True), frame[~early].reset_index(drop=True), start, end)


def _period(kind: str, start: datetime) -> Period:
    if kind == "month":
        start = start.replace(day=1)
        end = (start + timedelta(days=32)).replace(day=1)
        return Period(f"{start:%Y-%m}", start, end)
    if kind == "week":
        start -= timedelta(days=start.weekday())
        return Period(f"{start:%G-W%V}", start, start + timedelta(days=7))
    return Period(f"{start:%Y-%m-%d}", start, start + timedelta(days=1))
