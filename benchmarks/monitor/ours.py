"""modelyard's side of the benchmarks: its profile and its comparison, called as its command line calls them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as pa

from modelyard.monitor import measure, profile, sketch
from modelyard.monitor.arrays import texts
from modelyard.monitor.compare import Comparison, compare
from modelyard.monitor.profile import Counts, Profile
from modelyard.monitor.sketch import Layout, Survey
from modelyard.monitor.table import from_frame

LIMIT = "over 10 points missing"
QUESTIONS = ("shape", "missing", "novel", LIMIT)
ALPHA = 0.01
MISSING = 0.1  # monitor.missing
TYPES = {"text": pa.string(), "bool": pa.bool_(), "number": pa.float64()}


def profiled(frame: pd.DataFrame, time: str | None = None) -> Profile:
    """Profile a frame, by weeks where a column of times is named."""
    return measure.make(from_frame(frame), time=time)


def check(reference: Profile, frame: pd.DataFrame) -> Comparison:
    """Compare a frame with a profile; by its weeks where the profile has some."""
    counts, window = measure.count(reference, from_frame(frame))
    return compare(reference, counts, window, ALPHA)


def alarms(found: Comparison) -> dict[str, list[str]]:
    """Column -> the questions that alarm in the latest block, or by chance; and ``LIMIT``, the policy's fixed one."""
    fired = set(found.alarms[0]) if found.alarms else set()
    fired |= {(shift.column, LIMIT) for shift in found.shifts if shift.missing and shift.missing.size > MISSING}
    by: dict[str, list[str]] = {}
    for column, question in sorted(fired):
        by.setdefault(column, []).append(question)
    return by


def ruled(found: dict[str, list[str]]) -> list[str]:
    """The columns that the rule alone finds, without the fixed limit."""
    return [column for column, asked in found.items() if asked != [LIMIT]]


@dataclass
class Pool:
    """A table whose columns are kept as numbered distinct values, so that a split of its rows costs one count per column.

    The profile and the counts of a split are those that its rows would give: false_alarms.py compares them first.
    """

    frame: pd.DataFrame
    kinds: dict[str, str] = field(init=False)
    values: dict[str, pa.Array] = field(init=False)  # distinct values, numbers ascending; null last where there is one
    codes: dict[str, np.ndarray] = field(init=False)

    def __post_init__(self) -> None:
        source = from_frame(self.frame)
        self.kinds = dict(source.readable)
        self.values, self.codes = {}, {}
        for name in self.kinds:
            codes, distinct = pd.factorize(self.frame[name], sort=True)
            self.codes[name] = np.where(codes < 0, len(distinct), codes).astype(np.int32)
            listed = distinct.tolist()
            self.values[name] = pa.array([*listed, None], type=TYPES[self.kinds[name]])

    def check(self, reference: np.ndarray, current: np.ndarray) -> Comparison:
        """Split by row numbers, profile the one, count the other, and compare."""
        before, now = self._tallied(reference), self._tallied(current)
        found = Survey(len(reference), self.kinds, {name: self._surveyed(name, n) for name, n in before.items()})
        layout = sketch.layout(found, dict.fromkeys(self.kinds, "feature"))
        profiled = Profile(layout, self._counts(layout, before, len(reference)), self.kinds)
        return compare(profiled, self._counts(layout, now, len(current)), None, ALPHA)

    def _tallied(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        return {name: np.bincount(codes[rows], minlength=len(self.values[name])) for name, codes in self.codes.items()}

    def _surveyed(self, name: str, counts: np.ndarray) -> sketch.Column:
        known, missing = counts[:-1], int(counts[-1])
        rows = int(counts.sum())
        if self.kinds[name] != "number":
            dictionary, codes = texts(self.values[name][:-1])
            pairs = zip(codes.tolist(), known.tolist(), strict=True)
            return sketch.Column(rows, missing, texts=sketch.Texts({dictionary[code]: n for code, n in pairs if n}))
        values = self.values[name].to_numpy(zero_copy_only=False)[:-1]
        keys = sketch.Numbers.of(values[known > 0]).keys
        return sketch.Column(rows, missing, numbers=sketch.Numbers(keys, known[known > 0].astype(np.int64)))

    def _counts(self, layout: Layout, tallied: dict[str, np.ndarray], rows: int) -> Counts:
        cells = {}
        for column in layout.columns:
            places = profile._codes(column, self.values[column.name])
            cells[column.name] = np.bincount(places, weights=tallied[column.name], minlength=column.size).astype(np.int64)[None, :]
        return Counts(np.array([rows]), cells)
