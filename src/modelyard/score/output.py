"""The files of a batch: each is written under another name, renamed when whole, and says itself what it was made of."""

from __future__ import annotations

import fcntl
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
from pyarrow.parquet import ParquetFile, ParquetWriter

from modelyard import jsonfile
from modelyard.champion import Champion
from modelyard.console import say
from modelyard.errors import DataError, UsageError
from modelyard.monitor import files
from modelyard.monitor.table import Source
from modelyard.release import sha256
from modelyard.score import rows
from modelyard.score.batch import REFUSED, Asked, Batch, Part, Reading, Rows, Span
from modelyard.score.manifest import Input, Made, Manifest, Model, Origin, Output

MANIFEST = "_manifest.json"
_KEY = b"modelyard.score"
_DRAFT = ".draft"


@dataclass(frozen=True)
class Job:
    """What each worker needs to know."""

    champion: Champion
    asked: Asked
    folder: Path
    source: str
    now: datetime

    @property
    def model(self) -> Model:
        """The champion, as outputs name it."""
        record = self.champion.release
        return Model(name=record.model.name, version=record.model.version, sha256=record.model.sha256, commit=record.code.commit)


@dataclass(frozen=True)
class Written:
    """A file that is there now."""

    output: Output
    input_sha256: str
    fresh: bool


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One run at a time writes into a folder; the system releases the lock of a killed one, whose drafts are removed."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"Another run writes to {folder}: waiting for its end.")
            fcntl.flock(handle, fcntl.LOCK_EX)
        for draft in folder.rglob(f".*{_DRAFT}"):
            draft.unlink(missing_ok=True)
        yield
    finally:
        os.close(handle)


def score(job: Job, part: Source) -> list[Written]:
    """Score a part of :meth:`~modelyard.score.batch.Batch.as_table`, unless its output is there."""
    return [_written(job, piece) for piece in part.pieces if isinstance(piece, Rows | Span)]


def _written(job: Job, part: Part) -> Written:
    reading = part.read(job.asked)
    origin = Origin(
        source=job.source,
        input=part.input,
        input_sha256=reading.sha256,
        first=part.first,
        copied=list(reading.copied),
        model=job.model,
    )
    path, refused = job.folder / part.output, job.folder / REFUSED / part.output
    made = read(path)
    there = made is not None and made.origin == origin and refused.exists() == (made.refused > 0)
    if made is None or not there:
        (job.folder / MANIFEST).unlink(missing_ok=True)
        try:
            made = _write(job, reading, origin, path, refused)
        except OSError as error:
            words = f"{path} cannot be written: {files.short(error)}"
            raise DataError(words, "Check the folder, its permissions, and the space on the disk; then run it again.") from error
    said = made.model_dump(include={"rows", "refused", "reasons", "unseen", "scored_at"})
    return Written(Output(file=part.output, sha256=sha256(path), input=part.input, first=part.first, **said), reading.sha256, not there)


def _write(job: Job, reading: Reading, origin: Origin, path: Path, refused: Path) -> Made:
    position, total, reasons, unseen = origin.first, 0, Counter[str](), Counter[str]()
    with _File(path) as good, _File(refused) as bad:
        for batch in reading.source.batches():
            found = rows.predict(job.champion, job.asked.request, batch)
            places = np.arange(position, position + batch.num_rows)
            good.add(_predicted(job, origin, reading.copied, batch, places, found))
            if not found.known.all():
                bad.add(_refused(origin, batch, places, found))
            position += batch.num_rows
            total += int((~found.known).sum())
            reasons += found.refused
            unseen += found.unseen
        made = Made(
            origin=origin,
            rows=position - origin.first,
            refused=total,
            reasons=dict(sorted(reasons.items())),
            unseen=dict(sorted(unseen.items())),
            scored_at=job.now,
        )
        # The predictions come last: their file says that both are there.
        bad.finish(made)
        good.finish(made)
    return made


def _predicted(job: Job, origin: Origin, copied: Sequence[str], batch: pa.RecordBatch, places: np.ndarray, found: rows.Scored) -> pa.Table:
    known = found.known
    count, model = int(known.sum()), origin.model
    columns: dict[str, Any] = {"input": pa.repeat(origin.input, count), "row": pa.array(places[known])}
    columns |= {name: _plain(batch[name]).filter(pa.array(known)) for name in copied}
    columns |= {"prediction": pa.array(found.predictions[known])}
    columns |= {
        name: pa.repeat(text, count) for name, text in (("model", model.name), ("version", model.version), ("sha256", model.sha256))
    }
    columns |= {"scored_at": pa.repeat(pa.scalar(job.now, pa.timestamp("us", "UTC")), count)}
    return pa.table(columns)


def _refused(origin: Origin, batch: pa.RecordBatch, places: np.ndarray, found: rows.Scored) -> pa.Table:
    bad = ~found.known
    columns: dict[str, Any] = {"input": pa.repeat(origin.input, int(bad.sum())), "row": pa.array(places[bad])}
    columns |= {"reason": pa.array(found.reasons[bad], pa.string())}
    given = {f"{name}_given" if name in columns else name: _plain(batch[name]) for name in batch.schema.names}
    return pa.table(columns | {name: values.filter(pa.array(bad)) for name, values in given.items()})


def _plain(array: pa.Array) -> pa.Array:
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


class _File:
    """A Parquet file that gets its name when it is finished; without rows there is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.draft = path.with_name(f".{path.name}.{uuid4().hex[:8]}{_DRAFT}")
        self.writer: ParquetWriter | None = None

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self.writer:
                self.writer.close()
        finally:
            self.draft.unlink(missing_ok=True)

    def add(self, content: pa.Table) -> None:
        if self.writer is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.writer = ParquetWriter(self.draft, content.schema)
        self.writer.write_table(content)

    def finish(self, made: Made) -> None:
        if self.writer is None:
            self.path.unlink(missing_ok=True)  # of an earlier run
            return
        self.writer.add_key_value_metadata({_KEY: made.model_dump_json()})
        self.writer.close()
        self.draft.replace(self.path)


def read(path: Path) -> Made | None:
    """What an output says of itself; None where there is none, or none of this format."""
    try:
        with ParquetFile(path) as file:
            return Made.model_validate_json((file.metadata.metadata or {})[_KEY])
    except (OSError, ValueError, KeyError):  # ValueError: pyarrow's and pydantic's
        return None


def check(folder: Path, batch: Batch) -> None:
    """Refuse a folder that holds another batch, or somebody's files where outputs would lie.

    Raises
    ------
    UsageError
        It does.
    """
    fix = "Name another folder by --to."
    for made in map(read, _outputs(folder)):
        if made and made.origin.source != batch.source:
            raise UsageError(f"{folder} holds the predictions of {made.origin.source}, not of {batch.source}.", fix)
    for path in (folder / part.output for part in batch.parts):
        if path.exists() and read(path) is None and _is_whole(path):
            raise UsageError(f"{path} is there, and was not written by score.", fix)


def _is_whole(path: Path) -> bool:
    """Whether it can be read: what a crash of the machine damaged may be written over."""
    try:
        ParquetFile(path).close()
    except (OSError, ValueError):
        return False
    return True


def finish(job: Job, name: str, written: Sequence[Written]) -> Manifest:
    """Remove outputs of inputs that are gone, and write the manifest."""
    kept = {job.folder / each.output.file for each in written}
    for path in _outputs(job.folder):
        if path not in kept and read(path):
            (job.folder / MANIFEST).unlink(missing_ok=True)
            path.unlink()
            (job.folder / REFUSED / path.relative_to(job.folder)).unlink(missing_ok=True)
    inputs: dict[str, Input] = {}
    for each in written:
        before = inputs[each.output.input].rows if each.output.input in inputs else 0
        inputs[each.output.input] = Input(name=each.output.input, sha256=each.input_sha256, rows=before + each.output.rows)
    refused = sum(each.output.refused for each in written)
    found = Manifest(
        verdict="partial" if refused else "complete",
        batch=name,
        source=job.source,
        model=job.model,
        rows=sum(each.output.rows for each in written),
        refused=refused,
        inputs=list(inputs.values()),
        outputs=[each.output for each in written],
    )
    if not (job.folder / MANIFEST).exists():
        jsonfile.write(job.folder / MANIFEST, found)
    return found


def _outputs(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.parquet") if path.relative_to(folder).parts[0] != REFUSED.name)
