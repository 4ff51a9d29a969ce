"""From a table to its profile, or to its counts: both passes over a :class:`modelyard.monitor.table.Source`."""

from __future__ import annotations

import operator
from dataclasses import replace
from functools import partial

import numpy as np

from modelyard.errors import DataError, UsageError
from modelyard.monitor import engine as engines
from modelyard.monitor import profile as profiles
from modelyard.monitor import sketch
from modelyard.monitor.arrays import times
from modelyard.monitor.duplicates import Tally
from modelyard.monitor.engine import Engine, Fold
from modelyard.monitor.profile import Counts, Profile
from modelyard.monitor.report import Role
from modelyard.monitor.sketch import DAY, Blocks, Layout, Survey
from modelyard.monitor.table import Source


def make(
    source: Source,
    *,
    time: str | None = None,
    roles: dict[str, Role] | None = None,
    segments: tuple[str, ...] = (),
    block_days: float = 7,
    end: int | None = None,
    engine: Engine = "local",
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
    engine
        Where parts are worked on; the profile is the same.

    Raises
    ------
    DataError
        There are no rows.
    UsageError
        A column that is named is not there, or not what it must be; or the engine is not there.
    """
    kinds = {name: "text" if kind == "empty" else str(kind) for name, kind in source.readable}
    given = roles or {}
    for name in (*given, *segments, *([time] if time else [])):
        if name not in kinds:
            raise UsageError(f"{source.name} has no column {name!r}.", f"Its columns are {', '.join(kinds)}.")
    if time and kinds[time] != "time":
        raise UsageError(f"Column {time!r} of {source.name} holds {kinds[time]}, not times.", "Name a column of times with --time.")
    if not source.rows:
        raise DataError(f"{source.name} has no rows.", "A reference needs some.")
    with engines.started(engine) as fold:
        surveyed = fold(source, partial(_surveyed, kinds, time), _added)
        if surveyed is None:  # only a damaged file says that it has rows, and holds none
            raise DataError(f"{source.name} has no rows.", "A reference needs some.")
        all_roles: dict[str, Role] = {name: given.get(name, "feature") for name in kinds if name != time}
        made = sketch.layout(surveyed, all_roles, time=time, aware=time in source.aware, block_days=block_days, end=end, segments=segments)
        nothing = frozenset(name for name, kind in source.readable if kind == "empty")
        schema = {name: "nothing" if name in nothing else kind for name, kind in kinds.items()}
        found = Profile(made, profiles.nothing(made, made.blocks), schema)
        counts = _summed(fold, source, made, made.blocks, tuple(kinds), found.known_at_once)
    return replace(found, counts=counts, duplicates=counts.duplicates)


def count(
    profile: Profile, source: Source, *, start: int | None = None, end: int | None = None, engine: Engine = "local"
) -> tuple[Counts, Blocks | None]:
    """Count a window over a profile's cells, and the blocks that it was cut into.

    Parameters
    ----------
    start, end
        Of the window, microseconds since 1970; default: the first and the last row's day, whole.
    engine
        Where parts are worked on; the counts are the same.

    Raises
    ------
    DataError
        The window's times carry a zone and the reference's do not, or the other way round.
    """
    with engines.started(engine) as fold:
        window = _window(fold, profile, source, start, end)
        return _counted(fold, profile, source, window), window


def _counted(fold: Fold, profile: Profile, source: Source, window: Blocks | None) -> Counts:
    kinds = dict(source.readable)
    same = [c.name for c in profile.layout.columns if _alike(profile.kinds.get(c.name, ""), str(kinds.get(c.name, "")))]
    segments = (name for name in profile.layout.segments if name in kinds)
    needed = tuple(dict.fromkeys((*same, *segments, *([window.column] if window else []))))
    compared = profile.known_at_once if profile.duplicates is not None else ()
    if not set(compared) <= set(kinds):  # rows of fewer columns repeat each other more often
        compared = ()
    if not needed and not compared:
        return replace(profiles.nothing(profile.layout, window), rows=_rows(window, source.rows))
    return _summed(fold, source.select((*needed, *compared)), profile.layout, window, needed, compared)


def _alike(before: str, now: str) -> bool:
    """Whether a column can be counted: one of another kind is counted as missing, and the schema's check names it."""
    return bool(now) and (before == now or {before, now} <= {"text", "bool"} or "empty" in (before, now) or before == "nothing")


def _window(fold: Fold, profile: Profile, source: Source, start: int | None, end: int | None) -> Blocks | None:
    blocks = profile.layout.blocks
    if blocks is None or dict(source.readable).get(blocks.column) != "time":
        return None
    if (blocks.column in source.aware) != blocks.aware and source.rows:
        words = ("carry a zone", "carry none")
        now, before = words if blocks.column in source.aware else words[::-1]
        raise DataError(f"The times of {source.name} {now}, those of the reference {before}.", "Write both with a zone, or both without.")
    if start is None or end is None:
        known = fold(source.select([blocks.column]), _spans, operator.add)
        if not known:
            return None
        start = min(first for first, _ in known) // DAY * DAY if start is None else start
        end = (max(last for _, last in known) // DAY + 1) * DAY if end is None else end
    return Blocks(blocks.column, end, blocks.length, max(1, -((start - end) // blocks.length)), start, blocks.aware)


def _spans(part: Source) -> list[tuple[int, int]]:
    """The first and last moment of each batch."""
    spans = []
    for batch in part.batches():
        moments, valid = times(batch.column(0))
        if valid.any():
            spans.append((int(moments[valid].min()), int(moments[valid].max())))
    return spans


def _surveyed(kinds: dict[str, str], time: str | None, part: Source) -> Survey | None:
    """Pass 1 over a part; None where it has no rows."""
    total = None
    for batch in part.batches():
        total = _added(total, sketch.survey(batch, kinds, time))
    return total


def _added(one: Survey | None, other: Survey | None) -> Survey | None:
    return one + other if one and other else one or other


def _summed(
    fold: Fold, source: Source, layout: Layout, blocks: Blocks | None, counted: tuple[str, ...], compared: tuple[str, ...]
) -> Counts:
    """Pass 2: the columns ``counted`` by their cells, whole rows by the columns ``compared``, where there are any."""
    total: Counts = fold(source, partial(_counts, layout, blocks, counted, compared), operator.add)
    return total


def _counts(layout: Layout, blocks: Blocks | None, counted: tuple[str, ...], compared: tuple[str, ...], part: Source) -> Counts:
    total, tally = profiles.nothing(layout, blocks), Tally()
    for batch in part.batches():
        total = total + profiles.count(layout, batch.select(list(counted)), blocks)
        if compared:
            tally.add(batch.select(list(compared)))
    return replace(total, whole=tally.total() if compared else None)


def _rows(window: Blocks | None, rows: int) -> np.ndarray:
    held = np.zeros(window.number + 1 if window else 1, dtype=np.int64)
    held[-1] = rows
    return held
