"""Known faults, one column each, made in the same way every time; three sets, in which no column has two.

Each names the plain statistic that it moves, so that the ordinary weeks' range of that statistic says whether the fault lies
outside of it, whatever a tool makes of it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

Change = Callable[[pd.Series, np.random.Generator], pd.Series]
Statistic = Callable[[pd.Series], float]


@dataclass(frozen=True)
class Fault:
    """A fault in one column, and the statistic that it moves."""

    name: str
    column: str
    change: Change
    statistic: Statistic
    control: bool = False  # no column by itself shows it

    def __call__(self, frame: pd.DataFrame, seed: int) -> pd.DataFrame:
        """Put the fault into a copy of the table."""
        draws = np.random.default_rng([zlib.crc32(self.name.encode()), seed])
        before = frame[self.column]
        return frame.assign(**{self.column: self.change(before, draws).astype(before.dtype)})


def _some(share: float, change: Callable[[pd.Series], object]) -> Change:
    """Change a share of the rows, drawn at random."""

    def changed(values: pd.Series, draws: np.random.Generator) -> pd.Series:
        return values.mask(draws.random(len(values)) < share, change(values))

    return changed


def _all(change: Callable[[pd.Series], pd.Series]) -> Change:
    return lambda values, _: change(values)


def _relabelled(share: float, old: str, new: str) -> Change:
    return lambda values, draws: values.mask((values == old) & (draws.random(len(values)) < share), new)


def _share(condition: Callable[[pd.Series], pd.Series]) -> Statistic:
    return lambda values: float(condition(values).mean())


def _clock(values: pd.Series, hours: int) -> pd.Series:
    return (values + 100 * hours) % 2400


def _mean(values: pd.Series) -> float:
    return float(values.mean())


def _std(values: pd.Series) -> float:
    return float(values.std())


_missing = _share(lambda v: v.isna())

FIRST = (  # the eight of the first measurements, and one for each of the other columns
    Fault("dep_delay +5 min", "dep_delay", _all(lambda v: v + 5), _mean),
    Fault("arr_delay x 1.25", "arr_delay", _all(lambda v: (v * 1.25).round()), _std),
    Fault("distance 10 % in km", "distance", _some(0.10, lambda v: (v * 1.609344).round().astype(v.dtype)), _mean),
    Fault("air_time 10 % missing", "air_time", _some(0.10, lambda _: np.nan), _missing),
    Fault("carrier 5 % new code", "carrier", _some(0.05, lambda _: "ZZ"), _share(lambda v: v == "ZZ")),
    Fault("origin 15 % of JFK as LGA", "origin", _relabelled(0.15, "JFK", "LGA"), _share(lambda v: v == "JFK")),
    Fault("hour +1", "hour", _all(lambda v: v + 1), _mean),
    Fault("arr_time 5 % zero", "arr_time", _some(0.05, lambda _: 0.0), _share(lambda v: v == 0)),
    Fault("sched_dep_time zone +3 h", "sched_dep_time", _all(lambda v: _clock(v, 3)), _mean),
    Fault("sched_arr_time 10 % stuck at 1200", "sched_arr_time", _some(0.10, lambda _: 1200), _share(lambda v: v == 1200)),
    Fault("dep_time clipped at 2000", "dep_time", _all(lambda v: v.clip(upper=2000)), _share(lambda v: v > 2000)),
    Fault("dest 10 % with a space", "dest", _some(0.10, lambda v: v + " "), _share(lambda v: v.str.endswith(" "))),
    Fault("tailnum 10 % in small letters", "tailnum", _some(0.10, lambda v: v.str.lower()), _share(lambda v: v.str.islower())),
    Fault("flight 10 % stuck at 1", "flight", _some(0.10, lambda _: 1), _share(lambda v: v == 1)),
    Fault("minute rounded to 15", "minute", _all(lambda v: v // 15 * 15), _share(lambda v: v % 15 == 0)),
)
SECOND = (
    Fault("dep_delay 10 % sign flipped", "dep_delay", _some(0.10, lambda v: -v), _share(lambda v: v < -30)),
    Fault("arr_delay clipped at 60", "arr_delay", _all(lambda v: v.clip(upper=60)), _share(lambda v: v > 60)),
    Fault("distance 20 % a tenth", "distance", _some(0.20, lambda v: v // 10), _mean),
    Fault("air_time +10 min", "air_time", _all(lambda v: v + 10), _mean),
    Fault("carrier 20 % of UA as DL", "carrier", _relabelled(0.20, "UA", "DL"), _share(lambda v: v == "UA")),
    Fault("origin 3 % missing", "origin", _some(0.03, lambda _: None), _missing),
    Fault("hour 5 % stuck at 12", "hour", _some(0.05, lambda _: 12), _share(lambda v: v == 12)),
    Fault("arr_time 10 % to the full hour", "arr_time", _some(0.10, lambda v: v // 100 * 100), _share(lambda v: v % 100 == 0)),
    Fault("sched_dep_time 20 % an hour early", "sched_dep_time", _some(0.20, lambda v: _clock(v, -1)), _mean),
    Fault("sched_arr_time 5 % swapped with 0", "sched_arr_time", _some(0.05, lambda _: 0), _share(lambda v: v == 0)),
    Fault("dep_time 5 % missing", "dep_time", _some(0.05, lambda _: np.nan), _missing),
    Fault("dest 20 % of ATL as ORD", "dest", _relabelled(0.20, "ATL", "ORD"), _share(lambda v: v == "ATL")),
    Fault("tailnum 10 % missing", "tailnum", _some(0.10, lambda _: None), _missing),
    Fault("flight 20 % without thousands", "flight", _some(0.20, lambda v: v % 1000), _mean),
    Fault("minute 10 % zero", "minute", _some(0.10, lambda _: 0), _share(lambda v: v == 0)),
)
THIRD = (
    Fault("dep_delay rounded to 15 min", "dep_delay", _all(lambda v: (v / 15).round() * 15), _share(lambda v: v % 15 == 0)),
    Fault("arr_delay 5 % in seconds", "arr_delay", _some(0.05, lambda v: v * 60), _std),
    Fault("distance 1 % at 9999", "distance", _some(0.01, lambda _: 9999), _share(lambda v: v == 9999)),
    Fault("air_time 2 % at -1", "air_time", _some(0.02, lambda _: -1.0), _share(lambda v: v == -1)),
    Fault("carrier 10 % in small letters", "carrier", _some(0.10, lambda v: v.str.lower()), _share(lambda v: v.str.islower())),
    Fault("origin 1 % new code", "origin", _some(0.01, lambda _: "SWF"), _share(lambda v: v == "SWF")),
    Fault("hour 10 % in a 12-hour clock", "hour", _some(0.10, lambda v: v.where(v <= 12, v - 12)), _mean),
    Fault("arr_time zone +3 h", "arr_time", _all(lambda v: _clock(v, 3)), _mean),
    Fault("sched_dep_time 10 % stuck at 0800", "sched_dep_time", _some(0.10, lambda _: 800), _share(lambda v: v == 800)),
    Fault(
        "sched_arr_time in steps of 30",
        "sched_arr_time",
        _all(lambda v: v // 100 * 100 + v % 100 // 30 * 30),
        _share(lambda v: v % 100 % 30 == 0),
    ),
    Fault("dep_time 5 % zero", "dep_time", _some(0.05, lambda _: 0.0), _share(lambda v: v == 0)),
    Fault(
        "dest shuffled (control)",
        "dest",
        lambda v, draws: pd.Series(draws.permutation(v.to_numpy()), index=v.index),
        _share(lambda v: v == "ATL"),
        control=True,
    ),
    Fault("tailnum 5 % at N00000", "tailnum", _some(0.05, lambda _: "N00000"), _share(lambda v: v == "N00000")),
    Fault("flight +1000 in 5 %", "flight", _some(0.05, lambda v: v + 1000), _mean),
    Fault("minute in hundredths of an hour", "minute", _all(lambda v: (v / 0.6).round()), _mean),
)
SETS = (FIRST, SECOND, THIRD)
FAULTS = tuple(fault for group in SETS for fault in group)
BY_NAME = {fault.name: fault for fault in FAULTS}


def spoiled(frame: pd.DataFrame, group: tuple[Fault, ...], seed: int) -> pd.DataFrame:
    """Put all faults of a set into a copy of the table."""
    for fault in group:
        frame = fault(frame, seed)
    return frame
