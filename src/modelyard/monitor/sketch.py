"""Pass 1 over the reference: what each column holds, bounded in memory, and the choice of its cells. No I/O.

A :class:`Survey` adds exactly: parts in any split and any order give the survey of the whole, hence the same cells.
"""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from modelyard.errors import DataError
from modelyard.monitor.arrays import numbers, texts, times
from modelyard.monitor.report import Kind, Role

DAY = 86_400_000_000  # microseconds

_DISTINCT = 1 << 16  # numbers kept apart; beyond, their lowest bits are dropped
_TEXTS = 100_000  # values of a text column that are told apart; beyond, it only has hash buckets
_CELLS = 64
_BUCKETS = 32
_RARE = 50  # a value seen less often gets no cell of its own: its count says little
_PRIVATE = 5  # nor does a text seen less often, however small the table: it could name a person
_SEGMENTS = 20
_BLOCKS = 64  # the latest ones; older rows only count in the total


@dataclass(frozen=True)
class Numbers:
    """How often each number occurs: exact up to 65,536 distinct ones, then by cells as narrow as 65,536 allow.

    Keys are the numbers' bits in an order that sorts like the numbers. With ``s`` the least shift at which at most 65,536 keys
    ``bits >> s`` remain, the result depends on the whole set only, not on how it was split: a part never needs a larger shift.
    """

    keys: np.ndarray  # (k,) uint64, ascending
    counts: np.ndarray  # (k,) int64
    shift: int = 0

    @classmethod
    def of(cls, values: np.ndarray) -> Numbers:
        """Tally finite values (n,)."""
        keys, counts = np.unique(_sortable(values), return_counts=True)
        return cls(keys, counts.astype(np.int64))._narrowed()

    def __add__(self, other: Numbers) -> Numbers:
        shift = max(self.shift, other.shift)
        keys = np.concatenate([self.keys >> np.uint64(shift - self.shift), other.keys >> np.uint64(shift - other.shift)])
        counts = np.concatenate([self.counts, other.counts])
        return Numbers(*_gathered(keys, counts), shift)._narrowed()

    def _narrowed(self) -> Numbers:
        drop, upper = 0, 64 - self.shift
        if len(self.keys) > _DISTINCT:
            while drop < upper:  # the least shift that suffices
                middle = (drop + upper) // 2
                if np.count_nonzero(np.diff(self.keys >> np.uint64(middle))) + 1 <= _DISTINCT:
                    upper = middle
                else:
                    drop = middle + 1
        return self if not drop else Numbers(*_gathered(self.keys >> np.uint64(drop), self.counts), self.shift + drop)

    @property
    def lowest(self) -> np.ndarray:
        """(k,) the smallest number that each key stands for."""
        return _number(self.keys << np.uint64(self.shift))

    @property
    def highest(self) -> float:
        """No number is larger."""
        top = (int(self.keys[-1]) << self.shift) | ((1 << self.shift) - 1)
        return float(_number(np.array([top], dtype=np.uint64))[0])


@dataclass(frozen=True)
class Texts:
    """How often each text occurs; None once there are more than 100,000 different ones."""

    counts: dict[str, int] | None

    def __add__(self, other: Texts) -> Texts:
        if self.counts is None or other.counts is None:
            return Texts(None)
        both = dict(self.counts)
        for value, n in other.counts.items():
            both[value] = both.get(value, 0) + n
        return Texts(both if len(both) <= _TEXTS else None)


@dataclass(frozen=True)
class Column:
    """One column of a survey."""

    rows: int
    missing: int
    numbers: Numbers | None = None
    texts: Texts | None = None
    days: dict[int, tuple[float, float]] | None = None  # day since 1970 -> least and largest number

    def __add__(self, other: Column) -> Column:
        return Column(
            self.rows + other.rows,
            self.missing + other.missing,
            self.numbers + other.numbers if self.numbers and other.numbers else self.numbers or other.numbers,
            self.texts + other.texts if self.texts and other.texts else self.texts or other.texts,
            _wider(self.days, other.days) if self.days is not None and other.days is not None else None,
        )


@dataclass(frozen=True)
class Survey:
    """What pass 1 knows of a table, or of a part of it."""

    rows: int
    kinds: dict[str, str]  # column -> number, text, bool or time
    columns: dict[str, Column]
    first: int | None = None  # event times, microseconds since 1970
    last: int | None = None

    def __add__(self, other: Survey) -> Survey:
        if self.kinds != other.kinds:
            raise DataError("Two parts of the table have different columns.", "Give parts of one table.")
        firsts = [t for t in (self.first, other.first) if t is not None]
        lasts = [t for t in (self.last, other.last) if t is not None]
        return Survey(
            self.rows + other.rows,
            self.kinds,
            {name: column + other.columns[name] for name, column in self.columns.items()},
            min(firsts, default=None),
            max(lasts, default=None),
        )


@dataclass(frozen=True)
class Cells:
    """Where the values of one column are counted.

    Positions: 0 missing; then the novel cells; then the others, in the order of the values where they have one.

    ================  =========================================  ======================================================
    kind              novel cells                                other cells
    ================  =========================================  ======================================================
    ``continuous``    below the reference's range, above it      [edge, next edge); the last one holds its upper edge
    ``discrete``      any other number                           one a number
    ``categorical``   any other text, by hash                    one a text
    ``sequence``      none                                       one for all: only what is missing is asked
    ================  =========================================  ======================================================
    """

    name: str
    role: Role
    kind: Kind
    edges: tuple[float, ...] = ()
    values: tuple[str | float, ...] = ()
    buckets: int = 0
    std: float = 0.0  # of the reference's numbers
    novel_rows: int = 0  # rows that a table like the reference would have in the novel cells: by leave-one-out
    novel_variance: float = 0.0  # of that number

    @property
    def novel(self) -> int:
        """Number of novel cells."""
        return {"continuous": 2, "discrete": 1, "categorical": self.buckets, "sequence": 0}[self.kind]

    @property
    def size(self) -> int:
        """Number of all cells."""
        return 1 + self.novel + {"continuous": len(self.edges) - 1, "sequence": 1}.get(self.kind, len(self.values))

    @property
    def ordered(self) -> bool:
        """Whether the values have an order."""
        return self.kind in ("continuous", "discrete")


@dataclass(frozen=True)
class Blocks:
    """Stretches of equal length, counted backwards from ``end``; one that begins before ``first`` is not complete."""

    column: str
    end: int  # microseconds since 1970, exclusive
    length: int  # microseconds
    number: int
    first: int  # of the rows; the start of its day
    aware: bool = False

    def start(self, index: int) -> int:
        """Start of a block; 0 is the latest."""
        return self.end - (index + 1) * self.length

    @property
    def complete(self) -> int:
        """How many blocks, from the latest on, are complete."""
        return min(self.number, (self.end - self.first) // self.length)


@dataclass(frozen=True)
class Layout:
    """Where everything is counted."""

    columns: tuple[Cells, ...]
    segments: dict[str, tuple[str, ...]]  # column -> values that are told apart; one group more for all others
    blocks: Blocks | None = None


def survey(batch: pa.RecordBatch, kinds: dict[str, str], time: str | None = None) -> Survey:
    """Survey the columns of ``kinds`` in one batch.

    Parameters
    ----------
    kinds
        Column -> number, text, bool or time.
    time
        Column of the event time: with it numbers that only grow are told apart.
    """
    first = last = day = order = None
    if time:
        moments, valid = times(batch.column(time))
        if valid.any():
            first, last = int(moments[valid].min()), int(moments[valid].max())
        day = np.where(valid, moments // DAY, np.iinfo(np.int64).min)
        order = np.argsort(day, kind="stable")
    columns = {}
    for name, kind in kinds.items():
        array = batch.column(name)
        if kind == "number":
            values, known = numbers(array)
            finite = known & np.isfinite(values)
            grown = _extremes(values, finite, day, order) if day is not None and order is not None else None
            tally = Numbers.of(values[finite])
            columns[name] = Column(len(values), int(len(values) - known.sum()), numbers=tally, days=grown)
        elif kind in ("text", "bool"):
            dictionary, codes = texts(array)
            counts = np.bincount(codes[codes >= 0], minlength=len(dictionary))
            tallied = {value: int(n) for value, n in zip(dictionary, counts.tolist(), strict=True) if n}
            columns[name] = Column(len(codes), int((codes < 0).sum()), texts=Texts(tallied if len(tallied) <= _TEXTS else None))
        else:
            columns[name] = Column(batch.num_rows, array.null_count)
    return Survey(batch.num_rows, kinds, columns, first, last)


def layout(
    found: Survey,
    roles: dict[str, Role],
    *,
    time: str | None = None,
    aware: bool = False,
    block_days: float = 7,
    end: int | None = None,
    segments: tuple[str, ...] = (),
) -> Layout:
    """Choose the cells.

    Parameters
    ----------
    roles
        Column -> role; columns that are not named here get no cells.
    end
        Where the last block ends, microseconds since 1970; default is the end of the last row's day.
    """
    blocks = None
    if time and found.first is not None and found.last is not None:
        first = found.first // DAY * DAY
        end = end if end is not None else (found.last // DAY + 1) * DAY
        length = int(block_days * DAY)
        blocks = Blocks(time, end, length, min(_BLOCKS, max(1, -((first - end) // length))), first, aware)
    return Layout(
        tuple(cells(name, role, found.columns[name]) for name, role in roles.items()),
        {name: _segment(name, found.columns[name]) for name in segments},
        blocks,
    )


def cells(name: str, role: Role, column: Column) -> Cells:
    """Choose the cells of one column."""
    if column.numbers is not None and len(column.numbers.keys):
        if _grows(column.days):
            return Cells(name, role, "sequence")
        return _of_numbers(name, role, column.numbers)
    if column.texts is not None:
        return _of_texts(name, role, column.texts)
    return Cells(name, role, "sequence")  # times; columns without a value


def _of_numbers(name: str, role: Role, tally: Numbers) -> Cells:
    low, counts, total = tally.lowest, tally.counts, int(tally.counts.sum())
    mean = float(np.sum(low * (counts / total)))
    with np.errstate(over="ignore"):
        std = float(np.sqrt(np.sum((low - mean) ** 2 * (counts / total))))
    std = std if np.isfinite(std) else 0.0
    if not tally.shift and len(low) <= _CELLS:
        often = _often(counts, 1)
        rows, variance = _left_out(counts, often)
        return Cells(name, role, "discrete", values=tuple(low[counts >= often].tolist()), std=std, novel_rows=rows, novel_variance=variance)
    k = np.arange(1, _CELLS // 2)
    levels = np.unique(np.concatenate([2 * k / _CELLS, (1 - np.cos(2 * np.pi * k / _CELLS)) / 2]))  # half of them into the tails
    at = np.searchsorted(np.cumsum(counts), np.ceil(levels * total), side="left")
    alone = at[1:][np.diff(at) == 0]  # a number that fills several levels gets a cell of its own
    at = np.unique(np.concatenate([at, alone, np.minimum(alone + 1, len(low) - 1)]))
    least, most = _outward(float(low[0]), tally.highest)
    inner = low[at]
    edges = [least, *inner[(inner > least) & (inner < most)].tolist(), most]
    return Cells(name, role, "continuous", edges=tuple(edges), std=std)


def _of_texts(name: str, role: Role, tally: Texts) -> Cells:
    if tally.counts is None:
        return Cells(name, role, "categorical", buckets=_BUCKETS)
    ranked = sorted(tally.counts.items(), key=lambda item: (-item[1], item[0]))
    counts = np.array([n for _, n in ranked], dtype=np.int64)
    often = _often(counts, _PRIVATE)
    kept = tuple(value for value, n in ranked if n >= often)
    rows, variance = _left_out(counts, often)
    few = len(ranked) - len(kept) <= _BUCKETS  # so few need not be told apart
    return Cells(name, role, "categorical", values=kept, buckets=1 if few else _BUCKETS, novel_rows=rows, novel_variance=variance)


def _segment(name: str, column: Column) -> tuple[str, ...]:
    if column.texts is None or column.texts.counts is None:
        raise DataError(
            f"The segment column {name!r} holds no texts, or more than {_TEXTS:,} different ones.", "Choose a column with few values."
        )
    ranked = sorted(column.texts.counts.items(), key=lambda item: (-item[1], item[0]))[:_SEGMENTS]
    return tuple(value for value, n in ranked if n >= min(_RARE, max(_PRIVATE, column.rows // 100)))


def _often(counts: np.ndarray, least: int) -> int:
    """From how many rows on a value gets a cell: 50 (or one in a hundred of a small table), more where there are too many values."""
    total = int(counts.sum())
    least = max(least, min(_RARE, total // 100))
    ranked = np.sort(counts)[::-1]
    return max(least, int(ranked[_CELLS]) + 1) if len(ranked) > _CELLS else least


def _left_out(counts: np.ndarray, often: int) -> tuple[int, float]:
    r"""Rows that a fresh table of the same size would have outside of the cells, and the variance of that estimate.

    Cells are chosen by the counts themselves, so the reference has too few rows outside. Leaving out one row at a time, a value
    with exactly ``often`` rows loses its cell: :math:`\sum_{n \le often} n` is unbiased, as Good and Turing's estimate of the
    unseen (there ``often`` is 1).

    References
    ----------
    I. J. Good, "The population frequencies of species and the estimation of population parameters", Biometrika 40 (1953).
    """
    return int(counts[counts <= often].sum()), float(often**2 * np.count_nonzero(counts == often))


def _outward(least: float, most: float) -> tuple[float, float]:
    """The range, widened to numbers of few digits: the extremes are values of single rows."""
    step = abs(least) * 0.001 or 0.001 if least == most else 10.0 ** (np.floor(np.log10(most - least)) - 2)
    low, high = np.floor(least / step) * step, np.ceil(most / step) * step
    digits = max(0, int(-np.floor(np.log10(step))))
    low, high = round(float(low), digits), round(float(high), digits)
    return (low if low <= least else least), (high if high >= most else most)


def _grows(days: dict[int, tuple[float, float]] | None) -> bool:
    """Whether the numbers only grow with time: no day reaches back below the day before."""
    if not days or len(days) < 3:
        return False
    spans = [days[day] for day in sorted(days)]
    return spans[0][0] < spans[-1][1] and all(before[1] <= after[0] for before, after in itertools.pairwise(spans))


def _extremes(values: np.ndarray, known: np.ndarray, day: np.ndarray, order: np.ndarray) -> dict[int, tuple[float, float]]:
    kept = order[known[order] & (day[order] >= 0)]
    if not len(kept):
        return {}
    days, starts = np.unique(day[kept], return_index=True)
    least, most = np.minimum.reduceat(values[kept], starts), np.maximum.reduceat(values[kept], starts)
    return {int(d): (float(a), float(b)) for d, a, b in zip(days, least, most, strict=True)}


def _wider(first: dict[int, tuple[float, float]], second: dict[int, tuple[float, float]]) -> dict[int, tuple[float, float]]:
    both = dict(first)
    for day, (least, most) in second.items():
        a, b = both.get(day, (least, most))
        both[day] = (min(a, least), max(b, most))
    return both


def _gathered(keys: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    unique, position = np.unique(keys, return_inverse=True)
    summed = np.zeros(len(unique), dtype=np.int64)
    np.add.at(summed, position, counts)
    return unique, summed


def _sortable(values: np.ndarray) -> np.ndarray:
    bits = (values + 0.0).view(np.int64)  # + 0.0 makes -0.0 and 0.0 one
    return np.where(bits < 0, ~bits, bits ^ np.int64(-0x8000000000000000)).view(np.uint64)


def _number(keys: np.ndarray) -> np.ndarray:
    bits = keys.view(np.int64)
    return np.where(bits < 0, bits ^ np.int64(-0x8000000000000000), ~bits).view(np.float64)


def as_json(made: Layout) -> dict[str, Any]:
    """The layout as plain values."""
    return asdict(made)


def from_json(raw: dict[str, Any]) -> Layout:
    """The layout of :func:`as_json`.

    Raises
    ------
    KeyError, TypeError, ValueError
        It is not one.
    """
    columns = tuple(replace(Cells(**c), edges=tuple(c["edges"]), values=tuple(c["values"])) for c in raw["columns"])
    segments = {name: tuple(values) for name, values in raw["segments"].items()}
    return Layout(columns, segments, Blocks(**raw["blocks"]) if raw["blocks"] else None)
