"""The compact reference: counts per column, by block of time and by segment; no rows. Pass 2 over a table, and the file.

Counts add exactly: parts in any split and any order give the counts of the whole.

The file is one Parquet table of the counts that are not zero, which any reader of Parquet opens:

===========  ==================================================================================================
column       of the table that was profiled; empty in the lines that count rows
by           empty: by block of time; else the segment column
group        block, 0 the latest, the last one whatever has no block; or position of the segment's value, the last one all others
cell         position as in :class:`modelyard.monitor.sketch.Cells`
count        rows
===========  ==================================================================================================

The file's metadata hold, under ``modelyard.profile``, the version of the format, the cells' edges and values, the blocks and the
hashes of model and data, as JSON.
"""

from __future__ import annotations

import json
import os
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from modelyard.errors import DataError
from modelyard.monitor import sketch
from modelyard.monitor.arrays import numbers, texts, times
from modelyard.monitor.duplicates import Rows
from modelyard.monitor.sketch import Blocks, Cells, Layout

VERSION = 2
_KEY = b"modelyard.profile"


@dataclass(frozen=True)
class Counts:
    """A table counted over a layout.

    ``cells[column]`` is (groups, size) int64, ``rows`` (groups,); groups are the blocks of time, the latest first, and one more for
    rows without a block. ``segments[segment][column]`` and ``segment_rows[segment]`` likewise by segment value.
    """

    rows: np.ndarray
    cells: dict[str, np.ndarray]
    segment_rows: dict[str, np.ndarray] = field(default_factory=dict)
    segments: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    last: int | None = None  # newest event time, microseconds since 1970
    whole: Rows | None = None  # the rows by their hashes, where repetitions are asked for

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.rows + other.rows,
            {name: counts + other.cells[name] for name, counts in self.cells.items()},
            {name: rows + other.segment_rows[name] for name, rows in self.segment_rows.items()},
            {name: {c: n + other.segments[name][c] for c, n in by.items()} for name, by in self.segments.items()},
            max((t for t in (self.last, other.last) if t is not None), default=None),
            self.whole + other.whole if self.whole and other.whole else None,
        )

    @property
    def duplicates(self) -> float | None:
        """Share of the rows that repeat an earlier one; None where that was not counted."""
        return self.whole.share if self.whole else None

    @property
    def total(self) -> int:
        """All rows."""
        return int(self.rows.sum())


@dataclass(frozen=True)
class Profile:
    """The reference that ``monitor`` compares with."""

    layout: Layout
    counts: Counts
    kinds: dict[str, str]  # column -> number, text, bool or time: the schema
    hashes: dict[str, str] = field(default_factory=dict)  # SHA-256 of model and data
    importance: dict[str, float] = field(default_factory=dict)  # of the model, where it is known
    duplicates: float | None = None  # share of rows that repeat an earlier one, by the columns of `known_at_once`

    @property
    def known_at_once(self) -> tuple[str, ...]:
        """The columns that make a row what it is: all but predictions, which are no data, and labels, which come later."""
        later = {column.name for column in self.layout.columns if column.role != "feature"}
        return tuple(name for name in self.kinds if name not in later)


def count(layout: Layout, batch: pa.RecordBatch, blocks: Blocks | None) -> Counts:
    """Count one batch; a column that is not there is missing in every row.

    Parameters
    ----------
    blocks
        Those of the table that is counted: the reference's own, or the current window's.
    """
    n = batch.num_rows
    there = set(batch.schema.names)
    groups = blocks.number + 1 if blocks else 1
    group, last = np.zeros(n, dtype=np.int64), None
    if blocks:
        moments, valid = times(batch.column(blocks.column))
        group = (blocks.end - 1 - moments) // blocks.length
        group[~valid | (group < 0) | (group >= blocks.number)] = blocks.number
        last = int(moments[valid].max()) if valid.any() else None
    keys = {name: _segment_codes(batch, name, values) for name, values in layout.segments.items()}
    cells: dict[str, np.ndarray] = {}
    by_segment: dict[str, dict[str, np.ndarray]] = {name: {} for name in keys}
    for column in layout.columns:
        code = _codes(column, batch.column(column.name)) if column.name in there else np.zeros(n, dtype=np.int64)
        cells[column.name] = np.bincount(group * column.size + code, minlength=groups * column.size).reshape(groups, column.size)
        for name, (key, size) in keys.items():
            by_segment[name][column.name] = np.bincount(key * column.size + code, minlength=size * column.size).reshape(size, column.size)
    segment_rows = {name: np.bincount(key, minlength=size) for name, (key, size) in keys.items()}
    return Counts(np.bincount(group, minlength=groups), cells, segment_rows, by_segment, last)


def nothing(layout: Layout, blocks: Blocks | None) -> Counts:
    """The counts of a table without rows."""
    groups = blocks.number + 1 if blocks else 1
    by = {name: {c.name: np.zeros((len(v) + 1, c.size), np.int64) for c in layout.columns} for name, v in layout.segments.items()}
    rows = {name: np.zeros(len(values) + 1, np.int64) for name, values in layout.segments.items()}
    return Counts(np.zeros(groups, np.int64), {c.name: np.zeros((groups, c.size), np.int64) for c in layout.columns}, rows, by)


def write(path: Path, profile: Profile) -> None:
    """Write the file; the same profile is the same bytes."""
    import pyarrow.parquet as pq

    names = ["", *(c.name for c in profile.layout.columns)]
    parts: list[np.ndarray] = []  # (5, k): column, by, group, cell, count
    for by, rows, cells in [
        ("", profile.counts.rows, profile.counts.cells),
        *((name, profile.counts.segment_rows[name], cells) for name, cells in profile.counts.segments.items()),
    ]:
        axis = ["", *profile.layout.segments].index(by)
        for number, counts in enumerate([rows[:, None], *(cells[name] for name in names[1:])]):
            cell, group = np.nonzero(counts.T)  # cell by cell: neighbours in time are alike, and pack well
            parts.append(np.stack([np.full(len(cell), number), np.full(len(cell), axis), group, cell, counts[group, cell]]))
    columns = np.concatenate(parts, axis=1)
    arrays = [_words(columns[0], names), _words(columns[1], ["", *profile.layout.segments]), *(_array(row) for row in columns[2:])]
    meta = {
        "version": VERSION,
        "layout": sketch.as_json(profile.layout),
        "kinds": profile.kinds,
        "hashes": profile.hashes,
        "importance": profile.importance,
        "duplicates": profile.duplicates,
        "last": profile.counts.last,
    }
    table = pa.Table.from_arrays(arrays, names=["column", "by", "group", "cell", "count"])
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    # Without Arrow's own schema, which would hold the metadata a second time.
    with pq.ParquetWriter(
        draft, table.schema, compression="zstd", compression_level=19, store_schema=False, write_statistics=False
    ) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({_KEY: json.dumps(meta, sort_keys=True, separators=(",", ":"))})
    draft.replace(path)


def read(path: Path) -> Profile:
    """Read a file of :func:`write`.

    Raises
    ------
    DataError
        It is missing, cut off, no profile, or one of another version.
    """
    import pyarrow.parquet as pq

    again = "Make it anew: `modelyard profile`, or `modelyard train` and a release."
    try:
        raw = (pq.read_metadata(path).metadata or {}).get(_KEY)
    except FileNotFoundError:
        raise DataError(f"{path} is missing.", again) from None
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is no profile, or not a whole one: {str(error).splitlines()[0]}", again) from None
    if raw is None:
        raise DataError(f"{path} is a Parquet file, but no profile.", again)
    try:
        meta = json.loads(raw)
        if meta["version"] != VERSION:
            raise DataError(f"{path} is a profile of version {meta['version']}; this toolkit reads version {VERSION}.", again)
        with pq.ParquetFile(path, read_dictionary=["column", "by"]) as file:  # to encode them later would import all of Arrow's functions
            table = file.read(use_threads=False)
        return _assemble(table, meta)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OSError, pa.ArrowException) as error:
        raise DataError(f"{path} holds a profile that is damaged: {type(error).__name__}: {error}", again) from None


def _assemble(table: pa.Table, meta: dict[str, Any]) -> Profile:
    layout = sketch.from_json(meta["layout"])
    counts = nothing(layout, layout.blocks)
    names, axes = ["", *(c.name for c in layout.columns)], ["", *layout.segments]
    column, by = _positions(table.column("column"), names), _positions(table.column("by"), axes)
    group, cell, number = (numbers(table.column(n).combine_chunks())[0].astype(np.int64) for n in ("group", "cell", "count"))
    if len(number) and (number.min() < 0 or group.min() < 0 or cell.min() < 0):
        raise ValueError("a count below zero")
    at = np.flatnonzero(np.diff(by * len(names) + column, prepend=-1))  # runs of one column and one axis
    for start, end in zip(at.tolist(), [*at[1:].tolist(), len(number)], strict=True):
        name, axis = names[column[start]], axes[by[start]]
        cells = counts.cells if not axis else counts.segments[axis]
        rows = counts.rows if not axis else counts.segment_rows[axis]
        target = cells[name] if name else rows[:, None]
        target[group[start:end], cell[start:end]] = number[start:end]
    held = Counts(counts.rows, counts.cells, counts.segment_rows, counts.segments, meta["last"])
    return Profile(layout, held, meta["kinds"], meta["hashes"], meta["importance"], meta["duplicates"])


def _codes(column: Cells, array: pa.Array) -> np.ndarray:
    """(n,) position of each row's cell."""
    first = 1 + column.novel
    if column.kind == "sequence":
        return np.where(_valid(array), 1, 0)
    if column.kind == "categorical":
        dictionary, codes = texts(array)
        own = {value: first + i for i, value in enumerate(column.values)}
        place = [own[v] if v in own else 1 + (zlib.crc32(v.encode("utf-8", "surrogatepass")) % column.buckets) for v in dictionary]
        return np.array([*place, 0], dtype=np.int64)[codes]  # -1, a missing one, takes the last
    values, known = numbers(array)
    if column.kind == "discrete":
        own_values = np.array(column.values, dtype=np.float64)
        at = np.minimum(np.searchsorted(own_values, values), len(own_values) - 1)
        code = np.where(own_values[at] == values, first + at, 1)
    else:
        edges = np.array(column.edges)
        code = np.searchsorted(edges, values, side="right") + first - 1
        code[values == edges[-1]] = first + len(edges) - 2
        code[values < edges[0]] = 1
        code[values > edges[-1]] = 2
    code[~known] = 0
    return code.astype(np.int64, copy=False)


def _valid(array: pa.Array) -> np.ndarray:
    if pa.types.is_floating(array.type):
        return numbers(array)[1]
    if not array.null_count:
        return np.ones(len(array), dtype=bool)
    import pyarrow.compute as pc

    return numbers(pc.cast(pc.is_valid(array), pa.int8()))[0].astype(bool)


def _segment_codes(batch: pa.RecordBatch, name: str, values: tuple[str, ...]) -> tuple[np.ndarray, int]:
    if name not in batch.schema.names:
        return np.full(batch.num_rows, len(values), dtype=np.int64), len(values) + 1
    dictionary, codes = texts(batch.column(name))
    own = {value: i for i, value in enumerate(values)}
    return np.array([*(own.get(v, len(values)) for v in dictionary), len(values)], dtype=np.int64)[codes], len(values) + 1


def _words(codes: np.ndarray, words: list[str]) -> pa.Array:
    """Texts by their position; made of buffers, since pyarrow's own way imports pandas."""
    texts_ = [word.encode() for word in words]
    offsets = np.cumsum([0, *map(len, texts_)]).astype(np.int32)
    dictionary = pa.StringArray.from_buffers(len(words), pa.py_buffer(offsets), pa.py_buffer(b"".join(texts_)))
    return pa.DictionaryArray.from_arrays(_array(codes.astype(np.int32)), dictionary).cast(pa.string())


def _array(values: np.ndarray) -> pa.Array:
    kind = pa.from_numpy_dtype(values.dtype)
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])


def _positions(column: pa.ChunkedArray, words: list[str]) -> np.ndarray:
    dictionary, codes = texts(column.combine_chunks())
    return np.array([words.index(word) for word in dictionary], dtype=np.int64)[codes] if len(codes) else np.zeros(0, dtype=np.int64)
