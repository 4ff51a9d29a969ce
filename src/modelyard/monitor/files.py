"""Which files a path or glob names, and the columns on which they agree."""

from __future__ import annotations

import glob
from pathlib import Path

import pyarrow as pa

from modelyard.errors import DataError, UsageError
from modelyard.monitor.arrays import Kind, is_aware, kind

PARQUET = (".parquet", ".pq", ".parq")
CSV = (".csv", ".tsv")
PACKED = (".gz", ".bz2", ".zst")
WORDS = {"number": "a number", "text": "text", "bool": "true or false", "time": "a time", "other": "nested", "empty": "empty"}


def named(given: str) -> list[str]:
    """Give the files that a path or glob names, sorted."""
    matched = [given] if Path(given).exists() else sorted(glob.glob(given, recursive=True))  # noqa: PTH207 - absolute globs too
    if not matched:
        if set(given) & set("*?["):
            raise UsageError(f"No file matches {given}.", "Check the glob; '**' looks into folders.")
        raise UsageError(f"{given} does not exist.", "Name a Parquet or CSV file, a folder of them, or a glob.")
    found = [file for path in matched for file in (_inside(Path(path)) if Path(path).is_dir() else [path])]
    if not found:
        raise UsageError(f"{given} holds no Parquet or CSV file.", f"Files must end in {', '.join((*PARQUET, *CSV))}.")
    return found


def _inside(folder: Path) -> list[str]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    hidden = ("_", ".")
    shown = (path for path in paths if not any(part.startswith(hidden) for part in path.relative_to(folder).parts))
    return [str(path) for path in shown if is_called(path.name, (*PARQUET, *CSV))]


def is_called(path: str, endings: tuple[str, ...]) -> bool:
    """Whether a file's name ends like this, be it packed or not."""
    name = path.lower()
    return name.removesuffix(next((ending for ending in PACKED if name.endswith(ending)), "")).endswith(endings)


def unified(
    name: str, paths: list[str], schemas: list[pa.Schema], wanted: list[str], *, strict: bool = True
) -> tuple[tuple[tuple[str, Kind], ...], frozenset[str]]:
    """Give the kinds of the wanted columns on which all files agree, and which of the times carry a zone."""
    kinds: dict[str, tuple[Kind, str]] = {}  # and the file that said so
    zones: dict[str, tuple[bool, str]] = {}
    for path, schema in zip(paths, schemas, strict=True):
        _complete(name, path, schema.names, paths[0], wanted, strict=strict)
        for column in wanted:
            arrow = schema.field(column).type
            new = (kind(arrow), path)
            kinds[column] = _same(column, kinds.get(column, new), new)
            if new[0] == "time":
                zoned, where = zones.setdefault(column, (is_aware(arrow), path))
                if zoned != is_aware(arrow):
                    one, other = (where, path) if zoned else (path, where)
                    raise DataError(f"The times of column {column!r} carry a zone in {one}, but none in {other}.", "Write both alike.")
    return tuple((column, kinds[column][0]) for column in wanted), frozenset(column for column, (aware, _) in zones.items() if aware)


def _complete(name: str, path: str, columns: list[str], first: str, wanted: list[str], *, strict: bool) -> None:
    lost, more = [column for column in wanted if column not in columns], [column for column in columns if column not in wanted]
    if lost and path == first:
        raise UsageError(f"{name} has no column {lost[0]!r}.", f"Its columns are {', '.join(columns)}.")
    if lost or (more and strict):
        column, has, lacks = (lost[0], first, path) if lost else (more[0], path, first)
        raise DataError(f"Column {column!r} is in {has}, but not in {lacks}.", "Name files of one schema, or only columns that all have.")


def _same(column: str, known: tuple[Kind, str], new: tuple[Kind, str]) -> tuple[Kind, str]:
    if new[0] in (known[0], "empty"):
        return known
    if known[0] == "empty":
        return new
    if {known[0], new[0]} == {"bool", "number"}:
        return "number", (known if known[0] == "number" else new)[1]
    raise DataError(
        f"Column {column!r} is {WORDS[known[0]]} in {known[1]}, but {WORDS[new[0]]} in {new[1]}.", "Write it as one type in all files."
    )


def refuse_twins(name: str, columns: list[str]) -> None:
    """Raise a DataError where two columns have one name."""
    if twice := sorted({column for column in columns if columns.count(column) > 1}):
        raise DataError(f"{name} has more than one column {twice[0]!r}.", "Give each column a name of its own.")


def short(error: Exception) -> str:
    """Give the first line of what a library said."""
    text = str(error).split(". Detail:")[0].splitlines()[0] if str(error) else type(error).__name__
    return text if len(text) <= 160 else f"{text[:160]} ..."
