"""The prediction log as rows: read from its closed files, or from the Parquet files that a compaction made of them.

=====================  ===================================================================================================
``served_time``        when the answer was given, UTC
``served_request``     id of the request
``served_row``         position of the row in it, from 0
``served_id``          the caller's name of the row; null where it gave none
``served_role``        champion, shadow or fallback
``served_version``     version of the model in the registry
``served_sha256``      of its file
``served_seconds``     what its predict took for the whole answer; null where nobody measured
(features)             as the model got them, but those that the policy redacts
``served_prediction``  what it said
=====================  ===================================================================================================
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from modelyard.errors import DataError
from modelyard.serve.part import CLOSED, OPEN

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

#: Begins the names of all columns that are no feature, and of the folders of days.
PREFIX = "served_"
DAY = f"{PREFIX}day"


class Line(BaseModel):
    """A line of the log: one answer."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    format: Literal[1]
    time: AwareDatetime
    request_id: str
    ids: list[str] | None
    version: str
    sha256: str
    role: Literal["champion", "shadow", "fallback"]
    seconds: float | None
    times: list[str]
    columns: dict[str, list[Any]]
    predictions: Annotated[list[float | None], Field(min_length=1)]

    @model_validator(mode="after")
    def _agrees(self) -> Line:
        rows = len(self.predictions)
        if any(len(values) != rows for values in self.columns.values()) or (self.ids is not None and len(self.ids) != rows):
            raise ValueError("ids, columns and predictions differ in length")
        if any(name.startswith(PREFIX) for name in self.columns):
            raise ValueError(f"a column is called {PREFIX}..., as only the log's own are")
        if any(name not in self.columns or False in map(_moment, self.columns[name]) for name in self.times):
            raise ValueError("a time is no ISO time without a zone")
        return self


@dataclass(frozen=True)
class Damage:
    """A line that cannot be read; it is left out."""

    file: str
    line: int
    reason: str  # without a value of the data

    def __str__(self) -> str:
        return f"{self.file}, line {self.line:,}: {self.reason}"


@dataclass(frozen=True)
class Read:
    """Rows of the log, and what of it could not be read."""

    table: pa.Table
    damaged: tuple[Damage, ...] = ()
    open_files: int = 0  # files that are still written, and were passed over


def closed(folder: Path) -> list[Path]:
    """The closed files of a log, also in folders below."""
    return sorted(path for path in folder.rglob(f"*{CLOSED}") if path.is_file())


def still_open(folder: Path) -> int:
    """How many files are still written."""
    return sum(1 for _ in folder.rglob(f"*{OPEN}"))


def read(folder: Path, columns: Collection[str] | None = None, during: tuple[str, datetime, datetime] | None = None) -> Read:
    """Rows of a log: of the Parquet files where the folder holds a compaction, else of the closed log files in it and below.

    Parameters
    ----------
    columns
        Only these, where they are there; default: all.
    during
        Only rows with start <= time < end, naive, by this column; by ``served_time`` where a row has no such time.

    Raises
    ------
    DataError
        There is no such folder, or a Parquet file in it cannot be read.
    """
    import pyarrow as pa

    if not folder.is_dir():
        fix = "It should hold the prediction log, or what `modelyard served compact` made of it."
        raise DataError(f"There is no folder {folder}.", fix)
    days = sorted(folder.glob(f"{DAY}=*/*.parquet"))
    parts = [_only(_parquet(path), columns, during) for path in days]
    damaged: list[Damage] = []
    for path in [] if days else closed(folder):
        table, wrong = lines(path, path.relative_to(folder).as_posix())
        parts.append(_only(table, columns, during))
        damaged += wrong
    schema = unified([part.schema for part in parts] or [_only(_table([]), columns, None).schema])
    whole = pa.concat_tables([schema.empty_table(), *(fitted(part, schema) for part in parts)])
    return Read(whole, tuple(damaged), 0 if days else still_open(folder))


def unified(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """A schema that holds the columns of all; one that is of a kind here and of another there is text."""
    import pyarrow as pa

    kinds: dict[str, pa.DataType] = {}
    for field in (field for schema in schemas for field in schema):
        both = [pa.schema([(field.name, kind)]) for kind in (kinds.get(field.name, field.type), field.type)]
        try:
            kinds[field.name] = pa.unify_schemas(both, promote_options="permissive").field(0).type
        except pa.ArrowException:
            kinds[field.name] = pa.string()
    return pa.schema(list(kinds.items()))


def fitted(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with the columns of the schema, null where it has none."""
    import pyarrow as pa

    there = set(table.column_names)
    columns = [table[field.name].cast(field.type) if field.name in there else pa.nulls(len(table), field.type) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def lines(path: Path, name: str) -> tuple[pa.Table, list[Damage]]:
    """The rows of a log file, and the lines that are none; ``name`` is what messages call it."""
    good, damaged = [], []
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            try:
                good.append(Line.model_validate_json(raw))
            except ValidationError as error:
                first = error.errors(include_input=False, include_url=False)[0]
                where = ".".join(str(part) for part in first["loc"][:1])
                message = first["msg"].removeprefix("Value error, ")
                damaged.append(Damage(name, number, f"{where}: {message}" if where else message))
    return _table(good), damaged


def row_ids(frame: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """The names of rows, as a caller of the service gives them: the columns' values joined by ``/``.

    Times are ISO 8601, with the fraction of a second only where there is one: ``2013-04-01T05:30:00``; whole numbers have no point, also
    where they stand in a column of floats.

    Raises
    ------
    DataError
        There is no such column.
    """
    if missing := [name for name in columns if name not in frame.columns]:
        raise DataError(f"monitor.row_id names {missing[0]!r}, which load() does not return.", "See monitor: in modelyard.yaml.")
    return ["/".join(map(_word, values)) for values in zip(*(frame[name].tolist() for name in columns), strict=True)]


def labels(loaded: pd.DataFrame, row_id: Sequence[str], label: str) -> tuple[pd.Series[float], int]:
    """Labels by row id, and how many ids stand for several rows: those are left out. None where there are no columns of an id."""
    import pandas as pd

    if not row_id:
        return pd.Series(dtype="float64", index=pd.Index([], dtype=object)), 0
    found = pd.Series(loaded[label].to_numpy(dtype=float, na_value=float("nan")), index=row_ids(loaded, row_id))
    twice = found.index.duplicated(keep=False)
    return found[~twice], found.index[twice].nunique()


def times(rows: pd.DataFrame, name: str) -> pd.Series[pd.Timestamp]:
    """The event time of rows of the log: that of the column, where the service got it, else that of the answer, UTC."""
    import pandas as pd

    answered: pd.Series[pd.Timestamp] = rows[f"{PREFIX}time"].dt.tz_localize(None)
    if name not in rows.columns or not pd.api.types.is_datetime64_dtype(rows[name]):
        return answered
    return rows[name].fillna(answered)


def _only(table: pa.Table, columns: Collection[str] | None, during: tuple[str, datetime, datetime] | None) -> pa.Table:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if during:
        name, start, end = during
        moment = table[f"{PREFIX}time"].cast(pa.int64())
        if name in table.column_names and pa.types.is_timestamp(table.schema.field(name).type):
            moment = pc.coalesce(table[name].cast(pa.timestamp("us")).cast(pa.int64()), moment)
        first, after = (int(np.datetime64(each, "us").astype(np.int64)) for each in (start, end))
        table = table.filter(pc.and_(pc.greater_equal(moment, first), pc.less(moment, after)))
    return table if columns is None else table.select([name for name in table.column_names if name in columns])


def _table(lines: list[Line]) -> pa.Table:
    """A row for each predicted row."""
    import numpy as np
    import pyarrow as pa

    counts = np.array([len(line.predictions) for line in lines], dtype=np.int64)
    answer = pa.array(np.repeat(np.arange(len(lines)), counts))

    def each(values: Iterable[Any], kind: pa.DataType) -> pa.Array:
        """One value a line, for each of its rows."""
        return pa.array(list(values), kind).take(answer)

    first = np.repeat(np.cumsum(counts) - counts, counts)
    made = {
        "time": each((line.time for line in lines), pa.timestamp("us", "UTC")),
        "request": each((line.request_id for line in lines), pa.string()),
        "row": pa.array((np.arange(len(answer)) - first).astype(np.int32)),
        "id": pa.array([name for line in lines for name in _of(line.ids, line)], pa.string()),
        "role": each((line.role for line in lines), pa.string()),
        "version": each((line.version for line in lines), pa.string()),
        "sha256": each((line.sha256 for line in lines), pa.string()),
        "seconds": each((line.seconds for line in lines), pa.float64()),
    }
    columns = {f"{PREFIX}{name}": values for name, values in made.items()}
    for name in dict.fromkeys(name for line in lines for name in line.columns):
        is_time = all(name in line.times for line in lines if name in line.columns)
        columns[name] = _feature([value for line in lines for value in _of(line.columns.get(name), line)], is_time=is_time)
    columns[f"{PREFIX}prediction"] = pa.array([value for line in lines for value in line.predictions], pa.float64())
    return pa.table(columns)


def _of(values: Sequence[Any] | None, line: Line) -> Sequence[Any]:
    return [None] * len(line.predictions) if values is None else values


def _feature(values: list[Any], *, is_time: bool) -> pa.Array:
    """One column; where its lines do not agree on what it holds, text."""
    import pyarrow as pa

    if is_time:
        return pa.array(list(map(_moment, values)), pa.timestamp("us"))
    try:
        found = pa.array(values)
        if not pa.types.is_nested(found.type):
            return found
    except (pa.ArrowException, TypeError, OverflowError):
        pass
    return pa.array([value if value is None or isinstance(value, str) else json.dumps(value) for value in values], pa.string())


def _moment(value: Any) -> datetime | Literal[False] | None:
    """An ISO time without a zone; False where it is something else."""
    if value is None:
        return None
    try:
        found = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return False
    return found if found.tzinfo is None else False


def _parquet(path: Path) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            return file.read()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read: {str(error).splitlines()[0]}", "Compact the log to a new folder.") from None


def _word(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
