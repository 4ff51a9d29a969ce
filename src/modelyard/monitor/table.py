"""Tables as a stream of Arrow record batches: Parquet and CSV (a file, a folder or a glob), or a pandas frame in memory.

Only numpy and pyarrow are imported, and of a file only as much is held as one batch needs, whatever its size. What the columns of a
batch hold, :func:`numbers`, :func:`texts` and :func:`times` say. ::

    source = table.open("data/2013-*.parquet")
    for batch in source.batches():
        for name, kind in source.readable:
            if kind == "number":
                values, valid = table.numbers(batch[name])
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from modelyard.errors import DataError, UsageError
from modelyard.monitor import files, parquetfile
from modelyard.monitor.arrays import Kind, numbers, texts, times
from modelyard.monitor.csvfile import CsvPiece, agreed, scan
from modelyard.monitor.files import refuse_twins, short

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["BATCH", "Kind", "Source", "from_frame", "numbers", "open", "texts", "times"]

BATCH = 2**16  # rows; 2**18 costs as much time and 60 MB more
PART = 2**20  # rows of a part, unless a file is smaller


class Piece(Protocol):
    """A run of rows in one file, or in memory."""

    @property
    def rows(self) -> int:
        """Rows in this piece."""

    def batches(self, names: Sequence[str], size: int) -> Iterator[pa.RecordBatch]:
        """Read the columns named, in that order, in batches of at most ``size`` rows."""

    def split(self, rows: int) -> Sequence[Piece]:
        """Cut into pieces of about this many rows."""

    def anywhere(self) -> Piece:
        """The same piece, its file named by an absolute path."""


@dataclass(frozen=True)
class Source:
    """A table that can be read again and again, whole or by parts; it can be sent to another process.

    Attributes
    ----------
    name
        What messages call it.
    schema
        Each column and what it is. ``other`` (nested) columns are not read; ``empty`` ones hold no value at all and go with any kind.
    rows
        How many rows there are.
    aware
        The time columns whose times carry a zone (they come in UTC); the other times carry none. To mix the two is the caller's to refuse.
    """

    name: str
    schema: tuple[tuple[str, Kind], ...]
    rows: int
    aware: frozenset[str] = frozenset()
    pieces: tuple[Piece, ...] = field(default=(), repr=False)
    casts: frozenset[str] = frozenset()  # text columns that are to be read as times

    @property
    def readable(self) -> tuple[tuple[str, Kind], ...]:
        """The columns that batches hold."""
        return tuple((name, kind) for name, kind in self.schema if kind != "other")

    @property
    def left_out(self) -> tuple[str, ...]:
        """The columns that are nested, so batches leave them out."""
        return tuple(name for name, kind in self.schema if kind == "other")

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Read the rows, at most :data:`BATCH` at a time; none where there are none.

        Each batch holds the readable columns in the schema's order. Arrow types may differ between files where their kinds agree.

        Raises
        ------
        DataError
            A file is damaged, or a text column that was to be read as times holds something else.
        """
        names = [name for name, _ in self.readable]
        for piece in self.pieces:
            for batch in piece.batches(names, BATCH):
                if batch.num_rows:
                    yield self._cast(batch) if self.casts else batch

    def parts(self, rows: int = PART) -> list[Source]:
        """Cut into sources of about ``rows`` rows (a file, or some row groups of one), for workers; their order is that of the rows."""
        return [replace(self, rows=piece.rows, pieces=(piece,)) for whole in self.pieces for piece in whole.split(rows)]

    def anywhere(self) -> Source:
        """Give the same table with its files named by absolute paths, for a process with another working folder."""
        return replace(self, pieces=tuple(piece.anywhere() for piece in self.pieces))

    def select(self, columns: Iterable[str]) -> Source:
        """Give the same table with these columns only.

        Raises
        ------
        UsageError
            There is no such column.
        """
        kinds, wanted = dict(self.schema), list(dict.fromkeys(columns))
        if unknown := [name for name in wanted if name not in kinds]:
            raise UsageError(f"{self.name} has no column {unknown[0]!r}.", f"Its columns are {', '.join(kinds)}.")
        aware, casts = self.aware & set(wanted), self.casts & set(wanted)
        return replace(self, schema=tuple((name, kinds[name]) for name in wanted), aware=aware, casts=casts)

    def _cast(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        columns = [
            _as_times(self.name, name, batch[name], name in self.aware) if name in self.casts else batch[name]
            for name in batch.schema.names
        ]
        return pa.RecordBatch.from_arrays(columns, batch.schema.names)


@dataclass(frozen=True)
class FramePiece:
    """A table in memory."""

    table: pa.Table

    @property
    def rows(self) -> int:
        """Rows in this piece."""
        return int(self.table.num_rows)

    def batches(self, names: Sequence[str], size: int) -> Iterator[pa.RecordBatch]:
        """Cut into batches, without a copy."""
        yield from self.table.select(list(names)).to_batches(max_chunksize=size)

    def split(self, rows: int) -> list[FramePiece]:
        """Cut into slices, without a copy."""
        return [FramePiece(self.table.slice(first, rows)) for first in range(0, max(self.rows, 1), rows)]

    def anywhere(self) -> FramePiece:
        """Give itself: it travels whole."""
        return self


def open(  # noqa: A001
    path_or_glob: str | Path, columns: Iterable[str] | None = None, times: Collection[str] = (), as_text: Collection[str] = ()
) -> Source:
    """Look at a Parquet or CSV file, a folder of them, or all that a glob matches; rows are read later, by :meth:`Source.batches`.

    A folder is searched to its ground; names that begin with ``_`` or ``.`` are passed over. Parquet is known by its first bytes, CSV
    by its ending (``.csv``, ``.tsv``, also packed: ``.gz``, ``.bz2``, ``.zst``). CSV is read once here, since its types are those
    that hold every value; empty fields, ``NA``, ``null`` and the like are missing values.

    Parameters
    ----------
    columns
        Read these only, in this order.
    times
        Columns of times, where they are there: those that are text must hold ISO times, all with or all without a zone.
    as_text
        Columns that a CSV file holds as text even where they look like numbers, such as codes of digits.

    Raises
    ------
    UsageError
        There is no such file, nothing matches, Parquet and CSV are mixed, or a column named is not there.
    DataError
        A file cannot be read, names a column twice, or disagrees with another about its columns.
    """
    name, paths = str(path_or_glob), files.named(str(path_or_glob))
    found = [_look(path, as_text) for path in paths]
    if len({type(piece) for piece, _ in found}) > 1:
        raise UsageError(f"{name} holds both Parquet and CSV files.", "Name one sort by a glob, such as 'data/*.parquet'.")
    pieces: Sequence[Piece] = [piece for piece, _ in found]
    schemas = [schema for _, schema in found]
    if isinstance(pieces[0], CsvPiece):
        same = agreed([piece for piece in pieces if isinstance(piece, CsvPiece)])
        pieces, schemas = same, [pa.schema(list(piece.types)) for piece in same]
    wanted = schemas[0].names if columns is None else list(dict.fromkeys(columns))
    schema, aware = files.unified(name, paths, schemas, wanted, strict=columns is None)
    return _finished(Source(name, schema, sum(piece.rows for piece in pieces), aware, tuple(pieces)), times)


def from_frame(frame: pd.DataFrame, name: str = "the frame", times: Collection[str] = ()) -> Source:
    """Look at a pandas frame; its index is no column, and a column of mixed types is text.

    Raises
    ------
    DataError
        A name stands for two columns, or a column of text that was to be read as times holds something else.
    """
    names = [str(column) for column in frame.columns]
    refuse_twins(name, names)
    table = pa.table([_from_pandas(frame.iloc[:, place]) for place in range(len(names))], names=names)
    schema, aware = files.unified(name, [name], [table.schema], names)
    return _finished(Source(name, schema, len(frame), aware, (FramePiece(table),)), times)


def _from_pandas(series: pd.Series[Any]) -> pa.Array | pa.ChunkedArray:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # what pyarrow does inside is no concern of the caller
            return pa.array(series, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return pa.array(series.astype(object).where(series.isna(), series.astype(str)), type=pa.string(), from_pandas=True)


def _look(path: str, as_text: Collection[str]) -> tuple[Piece, pa.Schema]:
    """Read what a file says of itself."""
    try:
        with Path(path).open("rb") as file:
            head = file.read(4)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    if not head:
        raise DataError(f"{path} is empty.", "Write or fetch the file again.")
    if head == b"PAR1":
        return parquetfile.look(path)
    if files.is_called(path, files.PARQUET):
        raise DataError(f"{path} is not Parquet, although it is called so.", "Give CSV the ending .csv.")
    if not files.is_called(path, files.CSV):
        raise UsageError(f"{path} is neither Parquet nor, by its name, CSV.", f"CSV must end in {' or '.join(files.CSV)}.")
    piece = scan(path, as_text)
    return piece, pa.schema(list(piece.types))


def _finished(source: Source, times: Collection[str]) -> Source:
    """Refuse what has nothing to read, and make times of the text columns named: the first value says whether they carry zones."""
    if not source.readable:
        raise DataError(
            f"{source.name} has no column that can be read.", "Nested columns are left out; write them as columns of their own."
        )
    kinds = dict(source.schema)
    times = [name for name in times if name in kinds]
    if wrong := [name for name, kind in source.select(times).schema if kind in ("number", "bool", "other")]:
        raise DataError(f"Column {wrong[0]!r} of {source.name} is {files.WORDS[kinds[wrong[0]]]}, not a time.", "Name a column of times.")
    casts = [name for name in times if kinds[name] == "text"]
    aware = {name for name in casts if re.search(r"(Z|[+-]\d\d(:?\d\d)?)$", _first(source.select([name]))[10:])}
    schema: list[tuple[str, Kind]] = [(name, "time" if name in casts else kinds[name]) for name in kinds]
    return replace(source, schema=tuple(schema), aware=source.aware | aware, casts=frozenset(casts))


def _first(source: Source) -> str:
    for batch in source.batches():
        values, codes = texts(batch.column(0))
        if (codes >= 0).any():
            return str(values[codes[codes >= 0][0]])
    return ""


def _as_times(source: str, name: str, array: pa.Array, aware: bool) -> pa.Array:
    said = f"Column {name!r} of {source} holds text that is no time"
    try:
        return array.cast(pa.string()).cast(pa.timestamp("us", "UTC" if aware else None))
    except pa.ArrowInvalid as error:
        if "zone offset" in str(error):
            raise DataError(
                f"Column {name!r} of {source} mixes times with and without a zone: {short(error)}", "Write them alike."
            ) from error
        raise DataError(f"{said}: {short(error)}", "Write times like 2013-07-01T12:00:00, or like 2013-07-01T12:00:00Z.") from error
