"""CSV files in pieces: cut at the ends of rows, types inferred over the whole file, memory that does not grow with it."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv as arrow_csv

from modelyard.errors import DataError
from modelyard.monitor.files import PACKED, short

_CHUNK = 2 * 2**20  # bytes; 8 MiB takes 60 MB more, and no less time
_DELIMITERS = ",;\t|"
_NULLS = ["", "#N/A", "#N/A N/A", "#NA", "-NaN", "-nan", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"]
_TEXT = pa.dictionary(pa.int32(), pa.string())


@dataclass(frozen=True)
class CsvPiece:
    """A run of rows of a CSV file, and the types that its whole file (and the others of its folder) agreed on.

    Where a file is packed, its cuts are places in the unpacked text.
    """

    path: str
    delimiter: str
    types: tuple[tuple[str, pa.DataType], ...]  # all columns in the file's order
    cuts: tuple[int, ...]  # bytes at which chunks of whole rows begin, and the end of the last
    counts: tuple[int, ...]  # rows of each chunk

    @property
    def rows(self) -> int:
        """Rows in this piece."""
        return sum(self.counts)

    def batches(self, names: Sequence[str], size: int) -> Iterator[pa.RecordBatch]:
        """Read the columns named, in batches of at most ``size`` rows."""
        wanted = [name for name, _ in self.types if name in names]
        for chunk in _chunks(self.path, self.cuts):
            for batch in _parse(self.path, chunk, self.delimiter, dict(self.types), wanted).to_batches(max_chunksize=size):
                yield batch.select(list(names))

    def anywhere(self) -> CsvPiece:
        """Name the file by its absolute path."""
        return replace(self, path=str(Path(self.path).absolute()))

    def split(self, rows: int) -> list[CsvPiece]:
        """Cut into pieces of about this many rows; a packed file stays whole, since it can only be read from its start."""
        if self.path.lower().endswith(PACKED) or not self.counts:
            return [self]
        pieces, first, held = [], 0, 0
        for last, count in enumerate(self.counts, 1):
            held += count
            if held >= rows or last == len(self.counts):
                pieces.append(replace(self, cuts=self.cuts[first : last + 1], counts=self.counts[first:last]))
                first, held = last, 0
        return pieces


def scan(path: str, as_text: Collection[str] = ()) -> CsvPiece:
    """Read a CSV file once: its columns, where its rows can be cut, and the narrowest type that holds all values of each column.

    The delimiter is that of comma, semicolon, tab and bar which the header holds most of. A column whose values are of several types
    is text.

    Parameters
    ----------
    as_text
        Columns that are text whatever they look like, such as codes of digits.

    Raises
    ------
    DataError
        There is no header, a name stands in it twice, a row has too many or too few values, or the file is not text.
    """
    header, start = _header(path)
    delimiter = max(_DELIMITERS, key=header.count)
    names = next(csv.reader([header], delimiter=delimiter), [])
    names = [name or f"column {place}" for place, name in enumerate(names, 1)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{path}: the header names {', '.join(map(repr, twice))} more than once.", "Give each column a name of its own.")
    fixed = {name: _TEXT for name in names if name in as_text}
    types: dict[str, pa.DataType] = {}
    cuts, counts = [start], []
    for chunk in _chunks(path, (start,)):
        table = _parse(path, chunk, delimiter, fixed, names, column_names=names)
        for field in table.schema:
            types[field.name] = join(types.get(field.name, pa.null()), field.type)
        cuts.append(cuts[-1] + len(chunk))
        counts.append(table.num_rows)
    return CsvPiece(path, delimiter, tuple((name, types.get(name, pa.null())) for name in names), tuple(cuts), tuple(counts))


def agreed(pieces: list[CsvPiece]) -> list[CsvPiece]:
    """Give files that belong together the types that hold the values of all of them."""
    types: dict[str, pa.DataType] = {}
    for piece in pieces:
        for name, arrow in piece.types:
            types[name] = join(types.get(name, pa.null()), arrow)
    return [replace(piece, types=tuple((name, types[name]) for name, _ in piece.types)) for piece in pieces]


def join(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """Give the type that holds the values of both: numbers widen, dates become times, everything else that differs is text."""
    is_ = pa.types
    if one == other or is_.is_null(other):
        return one
    if is_.is_null(one):
        return _TEXT if is_.is_string(other) else other
    if is_.is_integer(one) and is_.is_floating(other):
        return other
    if is_.is_floating(one) and is_.is_integer(other):
        return one
    if {_clock(one), _clock(other)} == {"naive"}:
        return max(one, other, key=lambda arrow: 0 if is_.is_date(arrow) else 2 if arrow.unit == "ns" else 1)
    if {_clock(one), _clock(other)} == {"aware"}:
        return one if one.unit == "ns" else other
    return _TEXT


def _clock(arrow: pa.DataType) -> str:
    if pa.types.is_timestamp(arrow):
        return "naive" if arrow.tz is None else "aware"
    return "naive" if pa.types.is_date(arrow) else "none"


def _header(path: str) -> tuple[str, int]:
    """Give the first row as text, and where the next one begins."""
    try:
        with _opened(path) as stream:
            head = stream.read(2**20)
    except OSError as error:
        raise _unreachable(path, error) from error
    if head[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in head:
        raise DataError(f"{path} is not UTF-8 text.", "Save it as CSV in UTF-8.")
    mark = 3 if head.startswith(b"\xef\xbb\xbf") else 0
    end = head.find(b"\n", mark)
    while end >= 0 and head.count(b'"', mark, end) % 2:
        end = head.find(b"\n", end + 1)
    start = end + 1 if end >= 0 else len(head)
    try:
        header = head[mark:start].decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: the header is not UTF-8 text.", "Save it as CSV in UTF-8.") from error
    if not header.strip():
        raise DataError(f"{path} has no header.", "The first row must name the columns.")
    return header, start


def _opened(path: str) -> Any:
    return pa.input_stream(path) if path.lower().endswith(PACKED) else Path(path).open("rb")


def _unreachable(path: str, error: OSError) -> DataError:
    return DataError(f"{path} cannot be read: {short(error)}", "Write or fetch the file again; if it is packed, it may be cut off.")


def _chunks(path: str, cuts: tuple[int, ...]) -> Iterator[bytes]:
    """Read from cut to cut; with one cut only, from there to the end, in chunks of whole rows."""
    try:
        with _opened(path) as stream:
            if path.lower().endswith(PACKED):
                _skip(stream, cuts[0])
            else:
                stream.seek(cuts[0])
            if len(cuts) > 1:
                for start, stop in pairwise(cuts):
                    yield stream.read(stop - start)
                return
            rest = b""
            while block := stream.read(_CHUNK):
                rest += block
                if end := _end_of_rows(rest):
                    yield rest[:end]
                    rest = rest[end:]
            if rest:
                yield rest
    except OSError as error:
        raise _unreachable(path, error) from error


def _skip(stream: pa.NativeFile, length: int) -> None:
    while length > 0:
        length -= len(stream.read(min(length, _CHUNK)))


def _end_of_rows(text: bytes) -> int:
    """Give the end of the last row: the last line break outside of quotes; the last of all where quotes do not pair up."""
    end = last = text.rfind(b"\n")
    quotes = text.count(b'"', 0, max(end, 0))
    while end >= 0 and quotes % 2:
        before = text.rfind(b"\n", 0, end)
        quotes -= text.count(b'"', max(before, 0), end)
        end = before
    return (end if end >= 0 else last) + 1


def _parse(
    path: str, chunk: bytes, delimiter: str, types: dict[str, pa.DataType], wanted: list[str], column_names: list[str] | None = None
) -> pa.Table:
    names = column_names or list(types)
    try:
        return arrow_csv.read_csv(
            pa.BufferReader(chunk),
            arrow_csv.ReadOptions(use_threads=False, block_size=max(len(chunk), 1), column_names=names),
            arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=b'"' in chunk, ignore_empty_lines=len(names) > 1),
            arrow_csv.ConvertOptions(
                column_types=types, include_columns=wanted, strings_can_be_null=True, null_values=_NULLS, check_utf8=False
            ),
        )
    except pa.ArrowInvalid as error:
        raise _unreadable(path, str(error), names) from error


def _unreadable(path: str, said: str, names: list[str]) -> DataError:
    if ragged := re.search(r"Expected (\d+) columns, got (\d+): ?(.*)", said, re.DOTALL):
        row = " ".join(ragged[3].split())
        row = row if len(row) <= 60 else f"{row[:60]} ..."
        return DataError(
            f"{path}: the header names {ragged[1]} columns, but a row has {ragged[2]} values: {row}", "Repair the row, or its quotes."
        )
    if wrong := re.search(r"In CSV column #(\d+): CSV conversion error to ([^:]*): (.*)", said, re.DOTALL):
        return DataError(f"{path}: column {names[int(wrong[1])]!r} cannot be read as {wrong[2]}: {wrong[3]}")
    return DataError(f"{path} cannot be read as CSV: {said}")
