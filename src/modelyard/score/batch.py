"""What is to be scored, cut into parts that become one file each: row groups of files, or periods of ``load()``."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from modelyard import dataset
from modelyard.errors import DataError, UsageError
from modelyard.monitor import files, table
from modelyard.monitor.table import FramePiece, Piece, Source
from modelyard.project import Project
from modelyard.release import sha256
from modelyard.score.rows import fits
from modelyard.serve.contract import Column

#: Columns of the output that are none of the input.
OWN = ("input", "row", "prediction", "model", "version", "sha256", "scored_at")
#: Folder of the rows that could not be scored; readers of a folder of Parquet files pass names with an underscore over.
REFUSED = Path("_refused")


@dataclass(frozen=True)
class Reading:
    """Rows that lie open.

    Attributes
    ----------
    source
        The columns that are read, and no others.
    copied
        Those of them that stand in the output.
    sha256
        Of the input.
    """

    source: Source
    copied: tuple[str, ...]
    sha256: str


@dataclass(frozen=True)
class Asked:
    """Which columns are read: those of a request, the event time, and those that are copied to the output."""

    request: tuple[Column, ...]
    time: str
    label: str
    ids: tuple[str, ...] | None

    def of(self, source: Source, sha256: str = "") -> Reading:
        """The table with these columns only.

        Without ``ids``, all are copied that neither request nor label are: what the model does not see is what tells rows apart.

        Raises
        ------
        DataError
            The request's columns are not there, or a copied one is called like one of the output's own.
        UsageError
            A column of ``ids`` is not there.
        """
        fits(self.request, source)
        known = [column.name for column in self.request]
        names = [name for name, _ in source.readable]
        ids = [name for name in names if name not in (*known, self.label)] if self.ids is None else self.ids
        if lost := [name for name in ids if name not in names]:
            raise UsageError(f"{source.name} has no column {lost[0]!r} that could be copied.", f"Its columns are {', '.join(names)}.")
        copied = tuple(dict.fromkeys([*([self.time] if self.time in names else []), *ids]))
        if taken := [name for name in copied if name in OWN]:
            words = f"Column {taken[0]!r} of {source.name} is called like a column of the output."
            raise DataError(words, "Say by --id which columns are copied.")
        return Reading(source.select([*copied, *known]), copied, sha256)


@dataclass(frozen=True)
class Rows:
    """Some rows of a file."""

    output: str
    input: str
    first: int
    source: Source
    sha256: str

    @property
    def rows(self) -> int:
        """Rows in this part."""
        return self.source.rows

    def read(self, asked: Asked) -> Reading:
        """The rows; the file's hash is known."""
        return asked.of(self.source, self.sha256)

    def batches(self, names: Sequence[str], size: int) -> Iterator[pa.RecordBatch]:  # noqa: ARG002 - a table's pieces take it
        """Read the columns named."""
        yield from self.source.select(names).batches()

    def split(self, rows: int) -> list[Rows]:  # noqa: ARG002
        """Give itself: a part is one file."""
        return [self]

    def anywhere(self) -> Rows:
        """Name the file by its absolute path."""
        return replace(self, source=self.source.anywhere())


@dataclass(frozen=True)
class Span:
    """What the project's ``load(start, end)`` returns; it is asked where the part is scored."""

    output: str
    input: str
    project: Project
    start: datetime
    end: datetime
    first: int = 0
    rows: int = 0  # nobody knows before

    def read(self, asked: Asked) -> Reading:
        """Ask ``load``; the hash is that of the columns that are read, so labels that come later change nothing.

        Raises
        ------
        DataError
            ``load`` fails, or has no rows.
        """
        name = f"load({_short(self.start)}, {_short(self.end)})"
        loaded = table.from_frame(dataset.load(self.project, self.start, self.end), name, times=[asked.time])
        if not loaded.rows:
            raise DataError(f"{name} has no rows (yet).", "Score it later: name it by --start and --end.")
        found = asked.of(loaded)
        whole = pa.Table.from_batches(list(found.source.batches())).combine_chunks()
        return replace(found, source=replace(found.source, pieces=(FramePiece(whole),), casts=frozenset()), sha256=_digest(whole))

    def batches(self, names: Sequence[str], size: int) -> Iterator[pa.RecordBatch]:
        """Ask ``load`` for the columns named."""
        yield from table.from_frame(dataset.load(self.project, self.start, self.end)).pieces[0].batches(names, size)

    def split(self, rows: int) -> list[Span]:  # noqa: ARG002
        """Give itself: a part is one file."""
        return [self]

    def anywhere(self) -> Span:
        """Give itself: the project's folder is absolute."""
        return self


Part = Rows | Span


@dataclass(frozen=True)
class Batch:
    """All parts.

    Attributes
    ----------
    name
        Of its folder.
    source
        What was named on the command line.
    stamps
        Each file with its size and time of change when it was hashed.
    """

    name: str
    source: str
    parts: tuple[Part, ...]
    stamps: tuple[tuple[Path, tuple[int, int]], ...] = ()

    def as_table(self) -> Source:
        """For an engine, whose tables consist of pieces."""
        pieces: tuple[Piece, ...] = self.parts
        return Source(self.name, (), sum(part.rows for part in self.parts), pieces=pieces)

    def still(self) -> None:
        """Refuse files that changed while they were read: their hash is not that of the rows.

        Raises
        ------
        DataError
            One did; the next run scores it anew.
        """
        for path, stamp in self.stamps:
            if not path.exists() or _stamp(path) != stamp:
                raise DataError(f"{path} changed while it was scored.", "Run it again, once nobody writes to it.")


def of_files(project: Project, given: str, asked: Asked) -> Batch:
    """Files, cut between row groups at about a million rows.

    Raises
    ------
    UsageError
        There is no such file, or two of them would be written to one.
    DataError
        They cannot be read, differ, hold no rows, or not the columns of a request.
    """
    wanted = [column.name for column in asked.request if column.kind == "time"]
    codes = [column.name for column in asked.request if column.kind == "text"]
    whole = table.open(given, times=[*wanted, asked.time], as_text=codes)
    asked.of(whole)  # before anything is scored
    if not whole.rows:
        raise DataError(f"{given} holds no rows.", "Name a table that holds some.")
    parts: list[Rows] = []
    paths = [Path(path) for path in files.named(given)]
    stamps = [(path.absolute(), _stamp(path)) for path in paths]
    for path, piece in zip(paths, whole.pieces, strict=True):
        name = _beneath(given, path)
        digest, first = sha256(path), 0
        for number, cut in enumerate(piece.split(table.PART)):
            output = f"{name.removesuffix('.parquet')}-{number:05}.parquet"
            if cut.rows:
                parts.append(Rows(output, name, first, replace(whole, rows=cut.rows, pieces=(cut,)), digest))
            first += cut.rows
    outputs = Counter(path for part in parts for path in (part.output, (REFUSED / part.output).as_posix()))
    if twice := [path for path, count in outputs.items() if count > 1]:
        raise UsageError(
            f"Two files of {given} would be written to {twice[0]}.", "Score them one after the other, each --to its own folder."
        )
    return Batch(Path(given).stem.strip("*?[]") or "batch", _named(project, given), tuple(parts), tuple(stamps))


def of_periods(project: Project, span: tuple[datetime, datetime] | None, now: datetime) -> Batch:
    """What ``load()`` has for a span, cut at the edges of periods; by default the last period that is over.

    Parameters
    ----------
    span
        Naive, in the clock of the data, as ``now`` is.
    """
    if span is None:
        over = list(dataset.complete_periods(project.policy.data.model_copy(update={"delay_days": 0}), now))
        if not over:
            raise UsageError(f"No period of {project.policy.data.start} or later is over at {now}.", "Name a span by --start and --end.")
        span = over[-1].start, over[-1].end
    start, end = span
    if start >= end:
        raise UsageError(f"--start {start} is not before --end {end}.")
    data = project.policy.data.model_copy(update={"start": start.date(), "delay_days": 0})
    parts = []
    for period in dataset.complete_periods(data, end + timedelta(days=31)):  # the last one may end after the span
        first, last = max(period.start, start), min(period.end, end)
        if first >= last:
            break
        name = period.name if (first, last) == (period.start, period.end) else f"{_short(first)}_{_short(last)}"
        parts.append(Span(f"{name}.parquet", name, project, first, last))
    name = parts[0].input if len(parts) == 1 else f"{_short(start)}_{_short(end)}"
    return Batch(name, f"load({_short(start)}, {_short(end)})", tuple(parts))


def _short(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}" if moment == datetime(moment.year, moment.month, moment.day) else f"{moment:%Y-%m-%dT%H%M%S}"


def _beneath(given: str, path: Path) -> str:
    """The path of a file below what was named: below the folder, or below what of a glob has no wildcard."""
    if Path(given).is_file():
        return path.name
    parts = Path(given).parts
    fixed = (
        next((place for place, part in enumerate(parts) if set(part) & set("*?[")), len(parts)) if not Path(given).is_dir() else len(parts)
    )
    return path.relative_to(Path(*parts[:fixed])).as_posix()


def _named(project: Project, given: str) -> str:
    """What was named, from wherever the command runs."""
    path = Path(given).absolute()
    return path.relative_to(project.root).as_posix() if path.is_relative_to(project.root) else path.as_posix()


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


class _Hash(io.RawIOBase):
    """A file that keeps only the hash of what is written."""

    def __init__(self) -> None:
        self.sha256 = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.sha256.update(data)
        return len(data)


def _digest(content: pa.Table) -> str:
    """SHA-256 of names, types and values, as Arrow writes them to a stream."""
    sink = _Hash()
    with pa.ipc.new_stream(sink, content.schema) as stream:
        stream.write_table(content, max_chunksize=table.BATCH)
    return sink.sha256.hexdigest()
