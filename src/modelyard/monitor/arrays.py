"""Arrow arrays as numpy arrays, by their buffers: pyarrow's own ways import pandas, which costs a second."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Kind = Literal["number", "text", "bool", "time", "empty", "other"]
"""``empty``: a type without values (Arrow's null), which goes with any kind; ``other``: nested, so it is left out."""

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Codes = NDArray[np.int32]
Mask = NDArray[np.bool_]

_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_DAY = 86_400 * 10**6
_SMALL = 2**18  # bytes of a dictionary that is worth remembering


def kind(arrow: pa.DataType) -> Kind:
    """Give what a column of this Arrow type is: dictionaries and extensions are what they hold; a time of day is a number of seconds."""
    arrow, is_ = _plain(arrow), pa.types
    if is_.is_null(arrow):
        return "empty"
    if is_.is_boolean(arrow):
        return "bool"
    if is_.is_timestamp(arrow) or is_.is_date(arrow):
        return "time"
    if is_.is_integer(arrow) or is_.is_floating(arrow) or is_.is_decimal(arrow) or is_.is_time(arrow) or is_.is_duration(arrow):
        return "number"
    return "text" if _is_text(arrow) else "other"


def is_aware(arrow: pa.DataType) -> bool:
    """Whether times of this type carry a zone; Arrow keeps such times in UTC."""
    arrow = _plain(arrow)
    return bool(pa.types.is_timestamp(arrow) and arrow.tz is not None)


def numbers(array: pa.Array) -> tuple[Floats, Mask]:
    """Give the values of a column of numbers or of truth values, and which of them are known.

    Parameters
    ----------
    array
        Integers, floats, decimals, booleans, times of day and durations (in seconds), or a dictionary of these.

    Returns
    -------
    values
        Where a value is not known, anything may stand. Whole numbers beyond 2**53 are rounded. Read-only where no copy was needed.
    valid
        False for null and for NaN; infinities are values.
    """
    array = _storage(array)
    arrow = array.type
    if pa.types.is_dictionary(arrow):
        inner, known = numbers(array.dictionary)
        codes = _codes(array)
        valid = codes >= 0
        if not len(inner):
            return np.zeros(len(array)), valid
        return inner[codes], valid & known[codes]  # -1 takes the last one, which `valid` hides
    if pa.types.is_null(arrow):
        return np.zeros(len(array)), np.zeros(len(array), bool)
    valid = _valid(array)
    if pa.types.is_boolean(arrow):
        return _bits(array.buffers()[1], array.offset, len(array)).astype(np.float64), valid
    if pa.types.is_decimal(arrow):
        return _fixed(array.cast(pa.float64()), np.float64), valid
    if pa.types.is_floating(arrow):
        values = _fixed(array, np.dtype(f"f{arrow.bit_width // 8}")).astype(np.float64, copy=False)
        return values, valid & ~np.isnan(values)
    if pa.types.is_integer(arrow):
        return _integers(array).astype(np.float64), valid
    if pa.types.is_time(arrow) or pa.types.is_duration(arrow):
        return _integers(array) / _PER_SECOND[arrow.unit], valid
    raise TypeError(f"{arrow} is no number")


def texts(array: pa.Array) -> tuple[tuple[str, ...], Codes]:
    r"""Give the distinct values of a column as text, and for each row the place of its value among them.

    Parameters
    ----------
    array
        Text, binary, a dictionary of these, booleans (``false``, ``true``); anything else that is not nested becomes text first.

    Returns
    -------
    dictionary
        Distinct texts; some may not occur. Bytes that are not UTF-8 appear as ``\xe9``. The same object comes back for an equal
        dictionary (if it is not large), so what is derived from it can be kept by ``id`` as long as it is held.
    codes
        -1 for null.
    """
    array = _storage(array)
    arrow = array.type
    if pa.types.is_null(arrow):
        return (), np.full(len(array), -1, np.int32)
    if pa.types.is_boolean(arrow):
        found = _bits(array.buffers()[1], array.offset, len(array)).astype(np.int32)
        found[~_valid(array)] = -1
        return ("false", "true"), found
    ends, data, known, codes = coded(array)
    decode = _remembered if len(data) + len(ends) <= _SMALL else _decoded
    values, renamed = decode(ends, data, known)
    return values, codes if renamed is None or not len(codes) else np.append(renamed, np.int32(-1))[codes]


def coded(array: pa.Array) -> tuple[bytes, bytes, bytes, Codes]:
    """Give text (or what can be written as text) as it lies: the dictionary's cuts, its bytes, which of it is known, and the codes.

    Returns
    -------
    cuts
        64 bit integers, one more than the dictionary has entries; empty where it has none.
    data
        The bytes of all entries, one behind the other.
    known
        One byte an entry: 0 where it is null.
    codes
        The entry of each row, -1 for null.
    """
    array = _storage(array)
    if pa.types.is_dictionary(array.type) and len(array.dictionary) > len(array):
        array = array.dictionary_decode()  # most of the dictionary does not occur here
    if not pa.types.is_dictionary(array.type):
        array = _sliced(array).dictionary_encode()
    inner = _sliced(array.dictionary)
    return *_span(inner), _valid(inner).tobytes(), _codes(array)


def times(array: pa.Array) -> tuple[Integers, Mask]:
    """Give the moments of a column of timestamps or dates in microseconds since 1970, and which of them are known.

    Times with a zone are in UTC; times without one, and dates (their midnight), are taken as they stand. A moment that does not fit
    into 64 bits counts as unknown.
    """
    array = _storage(array)
    arrow = array.type
    if pa.types.is_dictionary(arrow):
        inner, known = times(array.dictionary)
        codes = _codes(array)
        if not len(inner):
            return np.zeros(len(array), np.int64), codes >= 0
        return inner[codes], (codes >= 0) & known[codes]
    if pa.types.is_null(arrow):
        return np.zeros(len(array), np.int64), np.zeros(len(array), bool)
    values, valid = _integers(array), _valid(array)
    if pa.types.is_date32(arrow):
        return values.astype(np.int64) * _DAY, valid
    if not (pa.types.is_timestamp(arrow) or pa.types.is_date64(arrow)):
        raise TypeError(f"{arrow} is no time")
    unit = arrow.unit if pa.types.is_timestamp(arrow) else "ms"
    if unit == "us":
        return values, valid
    if unit == "ns":
        return values // 1000, valid
    factor = 10**6 // _PER_SECOND[unit]
    limit = 2**63 // factor - 1
    fits = (values >= -limit) & (values <= limit)
    return np.where(fits, values, 0) * factor, valid & fits


def raw_integers(array: pa.Array) -> NDArray[Any] | None:
    """Give the 64 bit integers of a column as they lie, unrounded; None for any other type."""
    array = _storage(array)
    return _integers(array) if pa.types.is_int64(array.type) or pa.types.is_uint64(array.type) else None


def _plain(arrow: pa.DataType) -> pa.DataType:
    while isinstance(arrow, pa.BaseExtensionType) or pa.types.is_dictionary(arrow):
        arrow = arrow.storage_type if isinstance(arrow, pa.BaseExtensionType) else arrow.value_type
    return arrow


def _storage(array: pa.Array) -> pa.Array:
    return array.storage if isinstance(array, pa.ExtensionArray) else array


def _is_text(arrow: pa.DataType) -> bool:
    is_ = pa.types
    checks = (is_.is_string, is_.is_large_string, is_.is_string_view, is_.is_binary, is_.is_large_binary, is_.is_binary_view)
    return any(check(arrow) for check in (*checks, is_.is_fixed_size_binary))


def _sliced(array: pa.Array) -> pa.Array:
    """Give text as text with offsets, and what is not text as text; bytes are not looked at."""
    array = _storage(array)
    is_, arrow = pa.types, array.type
    if is_.is_string_view(arrow) or is_.is_binary_view(arrow):
        return array.cast(pa.large_binary())
    if is_.is_fixed_size_binary(arrow):
        return array.cast(pa.binary())
    return array if _is_text(arrow) else array.cast(pa.string())


def _fixed(array: pa.Array, dtype: Any) -> NDArray[Any]:
    """Look at values of fixed width where they lie."""
    dtype = np.dtype(dtype)
    buffer = array.buffers()[1]
    if buffer is None or not len(array):
        return np.zeros(len(array), dtype)
    return np.frombuffer(buffer, dtype, len(array), array.offset * dtype.itemsize)


def _integers(array: pa.Array) -> NDArray[Any]:
    sign = "u" if pa.types.is_unsigned_integer(array.type) else "i"
    return _fixed(array, np.dtype(f"{sign}{array.type.bit_width // 8}"))


def _bits(buffer: pa.Buffer | None, offset: int, length: int) -> Mask:
    if buffer is None or not length:
        return np.zeros(length, bool)
    first = offset // 8
    packed = np.frombuffer(buffer, np.uint8, (offset + length + 7) // 8 - first, first)
    return np.unpackbits(packed, bitorder="little")[offset % 8 : offset % 8 + length].view(bool)


def _valid(array: pa.Array) -> Mask:
    if not array.null_count:
        return np.ones(len(array), bool)
    return _bits(array.buffers()[0], array.offset, len(array))


def _codes(array: pa.Array) -> Codes:
    """Copy a dictionary array's places, -1 for null."""
    indices = array.indices
    codes = _integers(indices).astype(np.int32)
    if indices.null_count:
        codes[~_valid(indices)] = -1
    return codes


def _span(array: pa.Array) -> tuple[bytes, bytes]:
    """Give a text array's ends as 64 bit numbers that start at 0, and its bytes."""
    _, ends, data = array.buffers()
    if ends is None or not len(array):
        return b"", b""
    wide = pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type)
    dtype = np.dtype(np.int64 if wide else np.int32)
    found = np.frombuffer(ends, dtype, len(array) + 1, array.offset * dtype.itemsize).astype(np.int64)
    first, last = int(found[0]), int(found[-1])
    return (found - first).tobytes(), data.slice(first, last - first).to_pybytes() if data else b""


def _decoded(ends: bytes, data: bytes, known: bytes) -> tuple[tuple[str, ...], Codes | None]:
    """Cut and decode; where a value is null or comes twice, say also which place each one takes."""
    cuts = np.frombuffer(ends, np.int64).tolist()
    if data.isascii():
        whole = data.decode("ascii")
        values = [whole[a:b] for a, b in pairwise(cuts)]
    else:
        values = [data[a:b].decode("utf-8", "backslashreplace") for a, b in pairwise(cuts)]
    if b"\0" not in known and len(set(values)) == len(values):
        return tuple(values), None
    places: dict[str, int] = {}
    renamed = [places.setdefault(value, len(places)) if is_known else -1 for value, is_known in zip(values, known, strict=True)]
    return tuple(places), np.array(renamed, np.int32)


_remembered = lru_cache(maxsize=64)(_decoded)
