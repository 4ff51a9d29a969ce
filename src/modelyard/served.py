"""``modelyard served``: the prediction log of a service, brought to Parquet.

A compaction is exactly once: a plan names the log files that it takes, each day of it is one file that appears whole or not at all
under a name that follows from the plan, and a record of what is done ends it. A killed one is continued from its plan.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from pydantic import BaseModel, Field, ValidationError

from modelyard.errors import DataError, UsageError
from modelyard.outcome import Outcome

if TYPE_CHECKING:
    import pyarrow as pa

_KEEP = "_compaction"  # folder of the plan and of what is done; readers of Parquet pass over names that begin so
_SHOWN = 8  # damaged lines that are named


class _Plan(BaseModel):
    """The log files that one compaction takes."""

    id: str
    files: list[str]


class _Done(_Plan):
    """What came of them."""

    rows: int
    parquet: list[str]
    damaged: list[str]
    gone: list[str] = Field(description="Files that were planned, and deleted by somebody before they were read.")


def compact(folder: Path, to: Path, *, remove: bool = False) -> Outcome:
    """Bring all closed log files of ``folder``, and below it, to Parquet: a folder a day, one row for each predicted row.

    Parameters
    ----------
    to
        Made where it is not there.
    remove
        Delete the log files that are in Parquet.

    Raises
    ------
    UsageError
        ``folder`` is not there.
    DataError
        A killed compaction to the same place was of another folder.
    """
    from modelyard import predictionlog

    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}.", "Name the folder of the log: what MODELYARD_LOG says to the service.")
    with _alone(to) as is_alone:
        if not is_alone:
            return Outcome(verdict="", summary=f"**served compact**: another compaction to {to} is at work, and nothing was done.")
        made = [_carry_out(plan, folder, to) for plan in _plans(folder, to)]
        if remove:
            for name in _done(to):
                (folder / name).unlink(missing_ok=True)
    return _outcome(made, to, predictionlog.still_open(folder))


def _outcome(made: list[_Done], to: Path, open_files: int) -> Outcome:
    rows, files = sum(done.rows for done in made), sum(len(done.files) for done in made)
    parquet = sum(len(done.parquet) for done in made)
    damaged, gone = [text for done in made for text in done.damaged], [name for done in made for name in done.gone]
    said = [f"**served compact**: {rows:,} rows of {files:,} log files went to {parquet:,} Parquet files in {to}."]
    if not made:
        said = ["**served compact**: no log file is new."]
    if open_files:
        said.append(f"{open_files:,} files are still written, and wait.")
    problems = [f"{len(damaged):,} lines are damaged, and left out: {_some(damaged)}."] if damaged else []
    problems += [f"{len(gone):,} log files were deleted before they were read: {_some(gone)}."] if gone else []
    outputs = {"rows": str(rows), "files": str(files), "damaged": str(len(damaged))}
    return Outcome(verdict="", summary="\n\n".join([*said, *problems]), outputs=outputs, problems=tuple(problems))


def _some(names: list[str]) -> str:
    return "; ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else "")


@contextmanager
def _alone(to: Path) -> Iterator[bool]:
    """Whether no other compaction writes there, by a lock that ends with its holder."""
    (to / _KEEP).mkdir(parents=True, exist_ok=True)
    with (to / _KEEP / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _plans(folder: Path, to: Path) -> Iterator[_Plan]:
    """The plan of a compaction that was killed, then one of the files that none has taken yet."""
    from modelyard import predictionlog

    path = to / _KEEP / "plan.json"
    try:
        killed = _Plan.model_validate_json(path.read_bytes())
        if (to / _KEEP / f"{killed.id}.done.json").exists():  # at the very end
            path.unlink()
        else:
            yield killed
    except FileNotFoundError:
        pass
    except ValidationError:
        raise DataError(f"{path} is damaged.", f"Compact to a new folder, and delete {to}.") from None
    known = set(_done(to))
    names = [name for file in predictionlog.closed(folder) if (name := file.relative_to(folder).as_posix()) not in known]
    if names:
        plan = _Plan(id=hashlib.sha256("\n".join(names).encode()).hexdigest()[:16], files=names)
        _write(path, plan)
        yield plan


def _done(to: Path) -> list[str]:
    """The log files that are in Parquet."""
    return [name for path in sorted((to / _KEEP).glob("*.done.json")) for name in json.loads(path.read_bytes())["files"]]


def _carry_out(plan: _Plan, folder: Path, to: Path) -> _Done:
    """Write the days of a plan that are not there yet; only one log file is in memory, its days wait on disk until they are joined."""
    import pyarrow.parquet as pq

    from modelyard import predictionlog

    for left in to.glob(f"{predictionlog.DAY}=*/.*.draft"):
        left.unlink()
    rows, damaged, gone = 0, [], []
    with tempfile.TemporaryDirectory(prefix="modelyard-served-") as name:
        scratch = Path(name)
        for number, file in enumerate(plan.files):
            try:
                table, wrong = predictionlog.lines(folder / file, file)
            except FileNotFoundError:
                gone.append(file)
                continue
            damaged += [str(each) for each in wrong]
            rows += table.num_rows
            for day, part in _by_day(table):
                (scratch / day).mkdir(exist_ok=True)
                pq.write_table(part, scratch / day / f"{number:08}.parquet", compression="zstd")
        if len(gone) == len(plan.files):
            raise DataError(
                f"{gone[0]}, which an unfinished compaction was to take, is not in {folder}.", "Name the folder that it was of."
            )
        days = sorted(path.name for path in scratch.iterdir())
        parquet = [f"{predictionlog.DAY}={day}/{plan.id}.parquet" for day in days]
        for day, path in zip(days, parquet, strict=True):
            if not (to / path).exists():
                _join(sorted((scratch / day).iterdir()), to / path)
    done = _Done(id=plan.id, files=plan.files, rows=rows, parquet=parquet, damaged=damaged, gone=gone)
    _write(to / _KEEP / f"{plan.id}.done.json", done)
    (to / _KEEP / "plan.json").unlink()
    return done


def _by_day(table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """The rows of each day, UTC."""
    import numpy as np
    import pyarrow as pa

    days = table["served_time"].to_numpy().astype("datetime64[D]")
    for day in np.unique(days):
        yield str(day), table.filter(pa.array(days == day))


def _join(parts: list[Path], path: Path) -> None:
    """One Parquet file of several, which appears whole."""
    import pyarrow.parquet as pq

    from modelyard import predictionlog

    schema = predictionlog.unified([pq.read_schema(part) for part in parts])
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft")
    with pq.ParquetWriter(draft, schema, compression="zstd") as writer:
        for part in parts:
            writer.write_table(predictionlog.fitted(pq.read_table(part), schema))
    _settle(draft, path)


def _write(path: Path, document: BaseModel) -> None:
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(document.model_dump_json(indent=1), encoding="utf-8")
    _settle(draft, path)


def _settle(draft: Path, path: Path) -> None:
    """Let a file appear under its name, on disk for good: what it was made of may be deleted next."""
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@click.group("served")
def command() -> None:
    """Work with the prediction log of a service."""


@command.command("compact")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--to", type=click.Path(path_type=Path), required=True, help="Folder of the Parquet files; made where it is not there.")
@click.option("--remove", is_flag=True, help="Delete the log files that are in Parquet.")
def _compact_command(folder: Path, to: Path, remove: bool) -> Outcome:
    """Bring the closed log files of FOLDER to Parquet: a folder a day, one row for each predicted row.

    It may be killed, run again, or run twice at once: no row comes twice, and none is lost. Damaged lines are named and left out.
    Outputs: rows, files, damaged.
    """
    return compact(folder, to, remove=remove)
