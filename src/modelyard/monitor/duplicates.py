"""How many rows repeat an earlier one: counted by 64 bit hashes of whole rows, part by part, and added.

Up to 2**20 different rows the count is exact (but for two different rows of one hash: a chance of one in 10**7 there). Beyond it, only
the rows whose hash ends in so many zero bits are remembered that no more than 2**20 remain: a sample that depends on the rows alone,
so neither their order nor the parts change it (adaptive sampling; Flajolet 1990, "On adaptive sampling"). ::

    tally = Tally()
    for batch in source.batches():
        tally.add(batch)
    tally.total().share
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from modelyard.monitor.arrays import Kind, coded, kind, numbers, raw_integers, times

LIMIT = 2**20  # different rows that are remembered
_BITS = 64
_NULL = np.uint64(0xFFF8_5EED_0000_0001)  # a NaN, so no number's bits
_STRETCH = 2**22  # bytes of text that are hashed at a time
_SMALL = 2**18  # bytes of a dictionary that is worth remembering
_EXACT = 2.0**53  # whole numbers beyond are not all floats

Hashes = NDArray[np.uint64]


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of one part or more; a sum is that of its parts, in any order.

    Attributes
    ----------
    at_least
        At place k, the rows whose hash ends in k zero bits or more; at place 0 all rows.
    level
        Of the different rows those are remembered whose hash ends in this many zero bits.
    hashes
        Of the rows that are remembered, each once, in order.
    """

    at_least: tuple[int, ...] = (0,) * (_BITS + 1)
    level: int = 0
    hashes: Hashes = field(default_factory=lambda: np.empty(0, np.uint64))

    @property
    def rows(self) -> int:
        """How many rows were counted."""
        return self.at_least[0]

    @property
    def share(self) -> float | None:
        """Rows that repeat an earlier one, of all rows; None where there are none.

        Two estimates from a sample: repetitions within it, which is exact where no row repeats; and the number of different rows, which a
        row that comes a million times cannot upset. The first is given unless they differ by more than four standard errors of the second.
        """
        if not self.rows:
            return None
        remembered, sampled = len(self.hashes), self.at_least[self.level]
        scale = 2**self.level
        error = scale * math.sqrt(remembered * (1 - 1 / scale)) / self.rows
        within = (sampled - remembered) / sampled if sampled else 0.0
        overall = (self.rows - remembered * scale) / self.rows
        return within if abs(within - overall) <= 4 * error else min(max(overall, 0.0), 1.0)

    def __add__(self, other: Rows) -> Rows:
        """Give the count of both parts together."""
        return merged([self, other])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Rows):
            return NotImplemented
        return self.at_least == other.at_least and self.level == other.level and np.array_equal(self.hashes, other.hashes)

    def __hash__(self) -> int:
        return hash((self.at_least, self.level, self.hashes.tobytes()))


class Tally:
    """Counts batches one after another; it puts them together only now and then, since that takes a sort."""

    def __init__(self) -> None:
        self._held = Rows()
        self._new: list[Rows] = []
        self._waiting = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """Count a batch's rows by all its columns; columns are told apart by their names, not by their places."""
        hashes = row_hashes(batch)
        left, keep, at_least = hashes, hashes, [len(hashes)] + [0] * _BITS
        for bits in range(1, _BITS + 1):
            left = _of_level(left, bits)
            at_least[bits] = len(left)
            if bits == self._held.level:
                keep = left
            if not len(left) and bits >= self._held.level:
                break
        self._new.append(Rows(tuple(at_least), self._held.level, keep))
        self._waiting += len(keep)
        if self._waiting > len(self._held.hashes) + LIMIT // 8:
            self.total()

    def total(self) -> Rows:
        """Give the count of all batches so far."""
        if self._new:
            self._held = merged([self._held, *self._new])
            self._new, self._waiting = [], 0
        return self._held


def merged(parts: list[Rows]) -> Rows:
    """Give the count of all parts together; their hashes may be out of order and repeat."""
    level = max(part.level for part in parts)
    kept = [part.hashes if part.level == level else _of_level(part.hashes, level) for part in parts]
    hashes = _distinct(np.concatenate(kept))
    while len(hashes) > LIMIT:
        level += 1
        hashes = _of_level(hashes, level)
    return Rows(tuple(map(sum, zip(*(part.at_least for part in parts), strict=True))), level, hashes)


def row_hashes(batch: pa.RecordBatch) -> Hashes:
    """Hash each row by all its columns. Null, NaN and NaT are alike and equal no value; 1, 1.0 and true are equal, as are 0.0 and -0.0."""
    total = np.zeros(batch.num_rows, np.uint64)
    shifted = np.empty_like(total)
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if len(column):
            _add(total, column, _factor(name), shifted)
    return _mixed(total)


def _add(total: Hashes, array: pa.Array, factor: np.uint64, shifted: Hashes) -> None:
    """Add a column's part."""
    what = kind(array.type)
    if what == "empty":
        total += _spread(np.full(1, _NULL), factor)
    elif what == "text":
        *entries, codes = coded(array)
        hashed = (_remembered if len(entries[1]) <= _SMALL else _text_bits)(*entries)
        total += _spread(hashed.copy(), factor)[codes]
    else:
        total += _spread(_bits(array, what), factor, shifted)


def _spread(bits: Hashes, factor: np.uint64, shifted: Hashes | None = None) -> Hashes:
    """Multiply in place, between two folds.

    What makes small numbers differ lies at the top of a float. The first fold copies it to the bottom, since a product spreads bits only
    upwards; the second one mixes what a sum with other columns would else keep apart.
    """
    bits ^= np.right_shift(bits, np.uint64(45), out=shifted)
    bits *= factor
    bits ^= np.right_shift(bits, np.uint64(32), out=shifted)
    return bits


def _of_level(hashes: Hashes, level: int) -> Hashes:
    kept: Hashes = hashes[hashes & np.uint64((1 << level) - 1) == 0]
    return kept


def _distinct(hashes: Hashes) -> Hashes:
    """Sort, and give each once (numpy's ``unique`` hashes first, which takes three times as long)."""
    hashes.sort()
    if len(hashes) < 2:
        return hashes
    first = np.empty(len(hashes), bool)
    first[0] = True
    np.not_equal(hashes[1:], hashes[:-1], out=first[1:])
    return hashes if first.all() else hashes[first]


@lru_cache(maxsize=4096)
def _factor(name: str) -> np.uint64:
    """Give a column's own odd number."""
    return np.uint64(int.from_bytes(blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little") | 1)


def _mixed(values: Hashes) -> Hashes:
    """Spread each bit over all others, in place (the finalizer of SplitMix64)."""
    shifted = values >> np.uint64(30)
    values ^= shifted
    values *= np.uint64(0xBF58476D1CE4E5B9)
    np.right_shift(values, np.uint64(27), out=shifted)
    values ^= shifted
    values *= np.uint64(0x94D049BB133111EB)
    np.right_shift(values, np.uint64(31), out=shifted)
    values ^= shifted
    return values


def _bits(array: pa.Array, what: Kind) -> Hashes:
    """Give 64 bits for each number or time, equal where the values are."""
    if what == "time":
        moments, valid = times(array)
        found = moments.view(np.uint64).copy()
    else:
        floats, valid = numbers(array)
        found = (floats + 0.0).view(np.uint64)  # -0.0 becomes 0.0
        raw = raw_integers(array)
        if raw is not None and (floats.max() >= _EXACT or floats.min() <= -_EXACT):
            with np.errstate(invalid="ignore"):  # what rounding took; mostly 0, as is its mix
                found ^= _mixed(raw.view(np.uint64) - floats.astype(raw.dtype).view(np.uint64))
    if not valid.all():
        np.copyto(found, _NULL, where=~valid)
    return found


def _text_bits(ends: bytes, data: bytes, known: bytes) -> Hashes:
    """Hash each entry of a dictionary: the sum over its bytes of a hash of byte and place. One more entry stands for null."""
    cuts = np.frombuffer(ends, np.int64)
    found = np.full(max(len(cuts), 1), _NULL)
    starts = [0, *np.searchsorted(cuts, np.arange(_STRETCH, len(data), _STRETCH)).tolist(), max(len(cuts) - 1, 0)]
    for first, last in pairwise(starts):
        if first < last:
            begin, lengths = cuts[first], np.diff(cuts[first : last + 1])
            places = np.arange(begin, cuts[last]) - np.repeat(cuts[first:last], lengths)
            letters = np.frombuffer(data, np.uint8, len(places), begin)
            sums = np.zeros(len(places) + 1, np.uint64)
            np.cumsum(_mixed((places.astype(np.uint64) << np.uint64(8)) + letters + np.uint64(1)), out=sums[1:])
            found[first:last] = sums[cuts[first + 1 : last + 1] - begin] - sums[cuts[first:last] - begin] + lengths.astype(np.uint64)
    found[:-1][np.frombuffer(known, np.uint8) == 0] = _NULL
    return found


_remembered = lru_cache(maxsize=64)(_text_bits)
