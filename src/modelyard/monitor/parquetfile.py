"""Parquet files in pieces: by row groups, in batches, memory that does not grow with the file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from modelyard.errors import DataError
from modelyard.monitor.arrays import kind
from modelyard.monitor.files import refuse_twins, short

_INDEX = re.compile(r"__index_level_\d+__")  # what pandas calls an index without a name: row numbers
_BUFFER = 2**18  # bytes of a column that are read at once
_CODED = 3  # bytes a value: with fewer, a text column is stored as places in a short dictionary, since plain text takes more than 4


@dataclass(frozen=True)
class ParquetPiece:
    """Some row groups of a Parquet file."""

    path: str
    groups: tuple[int, ...]
    counts: tuple[int, ...]  # rows of each group
    coded: tuple[str, ...]  # text columns that the file stores as few distinct values, so reading them as such is cheap

    @property
    def rows(self) -> int:
        """Rows in this piece."""
        return sum(self.counts)

    def batches(self, names: Sequence[str], size: int) -> Iterator[pa.RecordBatch]:
        """Read the columns named, row group by row group."""
        from pyarrow.parquet import ParquetFile

        coded = [name for name in self.coded if name in names]
        try:
            with ParquetFile(
                self.path, read_dictionary=coded, pre_buffer=False, buffer_size=_BUFFER, coerce_int96_timestamp_unit="us"
            ) as file:
                for batch in file.iter_batches(size, list(self.groups), list(names), use_threads=False):
                    yield batch.select(list(names))
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{self.path} cannot be read: {short(error)}", "Write or fetch the file again.") from error

    def anywhere(self) -> ParquetPiece:
        """Name the file by its absolute path."""
        return replace(self, path=str(Path(self.path).absolute()))

    def split(self, rows: int) -> list[ParquetPiece]:
        """Cut between row groups."""
        pieces, first, held = [], 0, 0
        for last, count in enumerate(self.counts, 1):
            held += count
            if held >= rows or last == len(self.counts):
                pieces.append(replace(self, groups=self.groups[first:last], counts=self.counts[first:last]))
                first, held = last, 0
        return pieces or [self]


def look(path: str) -> tuple[ParquetPiece, pa.Schema]:
    """Read what a Parquet file says of itself at its end.

    Raises
    ------
    DataError
        It is cut off or damaged, or has two columns of one name.
    """
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            metadata, schema = file.metadata, file.schema_arrow
            groups = [metadata.row_group(place) for place in range(metadata.num_row_groups)]
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError(f"{path} is cut off or damaged: {short(error)}", "Write or fetch the file again.") from error
    refuse_twins(path, schema.names)
    schema = pa.schema([column for column in schema if not _INDEX.fullmatch(column.name)])
    texts = {field.name for field in schema if kind(field.type) == "text" and not pa.types.is_fixed_size_binary(field.type)}
    costs = dict.fromkeys(texts, 0.0)
    for group in groups:
        for place in range(group.num_columns):
            column = group.column(place)
            if column.path_in_schema in texts and column.num_values:
                cost = column.total_uncompressed_size / column.num_values
                costs[column.path_in_schema] = max(costs[column.path_in_schema], cost)
    coded = tuple(sorted(name for name, cost in costs.items() if cost <= _CODED))
    return ParquetPiece(path, tuple(range(len(groups))), tuple(group.num_rows for group in groups), coded), schema
