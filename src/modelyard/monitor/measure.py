"""From a table to its profile, or to its counts: both passes over a :class:`modelyard.monitor.table.Source`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from modelyard.errors import DataError, UsageError
from modelyard.monitor import profile as profiles
from modelyard.monitor import sketch
from modelyard.monitor.arrays import times
from modelyard.monitor.profile import Counts, Profile
from modelyard.monitor.report import Role
from modelyard.monitor.sketch import DAY, Blocks
from modelyard.monitor.table import Source


def make(
    source: Source,
    *,
    time: str | None = None,
    roles: dict[str, Role] | None = None,
    segments: tuple[str, ...] = (),
    block_days: float = 7,
    end: int | None = None,
) -> Profile:
    """Profile a table.

    Parameters
    ----------
    time
        Column of the event time; without it alarms can only be judged by chance.
    roles
        Columns that are no feature.
    end
        Where the last block ends, microseconds since 1970; default: the end of the last row's day.

    Raises
    ------
    DataError
        There are no rows.
    UsageError
        A column that is named is not there, or not what it must be.
    """
    kinds = {name: "text" if kind == "empty" else str(kind) for name, kind in source.readable}
    given = roles or {}
    for name in (*given, *segments, *([time] if time else [])):
        if name not in kinds:
            raise UsageError(f"{source.name} has no column {name!r}.", f"Its columns are {', '.join(kinds)}.")
    if time and kinds[time] != "time":
        raise UsageError(f"Column {time!r} of {source.name} holds {kinds[time]}, not times.", "Name a column of times with --time.")
    surveyed = None
    for batch in source.batches():
        part = sketch.survey(batch, kinds, time)
        surveyed = part if surveyed is None else surveyed + part
    if surveyed is None:
        raise DataError(f"{source.name} has no rows.", "A reference needs some.")
    all_roles: dict[str, Role] = {name: given.get(name, "feature") for name in kinds if name != time}
    made = sketch.layout(surveyed, all_roles, time=time, aware=time in source.aware, block_days=block_days, end=end, segments=segments)
    nothing = frozenset(name for name, kind in source.readable if kind == "empty")
    schema = {name: "nothing" if name in nothing else kind for name, kind in kinds.items()}
    return Profile(made, _summed(made, source, made.blocks), schema)


def count(profile: Profile, source: Source, *, start: int | None = None, end: int | None = None) -> tuple[Counts, Blocks | None]:
    """Count a window over a profile's cells, and the blocks that it was cut into.

    Parameters
    ----------
    start, end
        Of the window, microseconds since 1970; default: the first and the last row's day, whole.

    Raises
    ------
    DataError
        The window's times carry a zone and the reference's do not, or the other way round.
    """
    window = _window(profile, source, start, end)
    kinds = dict(source.readable)
    same = [c.name for c in profile.layout.columns if _alike(profile.kinds.get(c.name, ""), str(kinds.get(c.name, "")))]
    needed = [*same, *(name for name in profile.layout.segments if name in kinds), *([window.column] if window else [])]
    if not needed:
        return replace(profiles.nothing(profile.layout, window), rows=_rows(window, source.rows)), window
    return _summed(profile.layout, source.select(needed), window), window


def _alike(before: str, now: str) -> bool:
    """Whether a column can be counted: one of another kind is counted as missing, and the schema's check names it."""
    return bool(now) and (before == now or {before, now} <= {"text", "bool"} or "empty" in (before, now) or before == "nothing")


def _window(profile: Profile, source: Source, start: int | None, end: int | None) -> Blocks | None:
    blocks = profile.layout.blocks
    if blocks is None or dict(source.readable).get(blocks.column) != "time":
        return None
    if (blocks.column in source.aware) != blocks.aware and source.rows:
        words = ("carry a zone", "carry none")
        now, before = words if blocks.column in source.aware else words[::-1]
        raise DataError(f"The times of {source.name} {now}, those of the reference {before}.", "Write both with a zone, or both without.")
    if start is None or end is None:
        spans = [_span(*times(batch.column(0))) for batch in source.select([blocks.column]).batches()]
        known = [span for span in spans if span]
        if not known:
            return None
        start = min(first for first, _ in known) // DAY * DAY if start is None else start
        end = (max(last for _, last in known) // DAY + 1) * DAY if end is None else end
    return Blocks(blocks.column, end, blocks.length, max(1, -((start - end) // blocks.length)), start, blocks.aware)


def _span(moments: np.ndarray, valid: np.ndarray) -> tuple[int, int] | None:
    return (int(moments[valid].min()), int(moments[valid].max())) if valid.any() else None


def _summed(layout: sketch.Layout, source: Source, blocks: Blocks | None) -> Counts:
    total = profiles.nothing(layout, blocks)
    for batch in source.batches():
        total = total + profiles.count(layout, batch, blocks)
    return total


def _rows(window: Blocks | None, rows: int) -> np.ndarray:
    held = np.zeros(window.number + 1 if window else 1, dtype=np.int64)
    held[-1] = rows
    return held
