"""A table beside a profile, without a project: what ``modelyard monitor --profile`` does. Imports numpy and pyarrow only."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from modelyard.monitor import checks, compare, decision, measure
from modelyard.monitor import profile as profiles
from modelyard.monitor.engine import Engine
from modelyard.monitor.profile import Counts, Profile
from modelyard.monitor.report import Answer, Check, Monitoring, Shift
from modelyard.monitor.sketch import DAY, Blocks
from modelyard.monitor.table import Source

_LEAST, _MOST = 0.5, 2.0  # rows per day, as a ratio to the reference's
_MISSING = 0.1
_DUPLICATES = 0.01
_STALE = 2  # blocks
_NEED, _OF = 2, 4


def table(profile_path: Path, source: Source, *, now: datetime | None = None, engine: Engine = "local") -> Monitoring:
    """Check a table against a profile's file, with the policy's defaults.

    Parameters
    ----------
    now
        Until when there should be rows, aware; None where nobody says so.
    engine
        Where parts of the table are counted; the report is the same.
    """
    profile = profiles.read(profile_path)
    counts, window = measure.count(profile, source, engine=engine)
    found = compare.compare(profile, counts, window)
    kinds: dict[str, checks.Kind] = {name: _kind(kind) for name, kind in source.readable}
    reference: dict[str, checks.Kind] = {name: _kind(kind) for name, kind in profile.kinds.items()}
    asked: list[Check] = [checks.schema(reference, kinds), *about_rows(profile, counts, window, least=_LEAST, most=_MOST)]
    asked += [
        checks.freshness(newest(counts), now.astimezone(UTC).replace(tzinfo=None) if now else None, _stale(profile), rows=counts.total),
        checks.duplicates(counts.duplicates, profile.duplicates, limit=_DUPLICATES),
        checks.missing([*_untimed(profile, counts, kinds), *found.shifts], limit=_MISSING),
        checks.novel(found.shifts),
        checks.drift(found.shifts, found.calibration, None, need=_NEED, of=_OF, says="alert"),
    ]
    decided = decision.decide(asked)
    return Monitoring(
        verdict=decided.verdict,
        reason=decided.reason,
        reasons=decided.reasons,
        name=profile_path.name,
        now=now,
        window=(moment(window.first), moment(window.end)) if window else None,
        rows=counts.total,
        reference_rows=profile.counts.total,
        champion=None,
        checks=decided.checks,
        calibration=found.calibration,
        columns=found.shifts,
        profile={"profile": hashlib.sha256(profile_path.read_bytes()).hexdigest(), **profile.hashes},
    )


def about_rows(profile: Profile, counts: Counts, window: Blocks | None, *, least: float, most: float) -> list[Check]:
    """How many rows there are, for so long a time."""
    blocks = profile.layout.blocks
    days = (window.end - window.first) / DAY if window else None
    before = (blocks.end - blocks.first) / DAY if blocks else None
    return [checks.volume(counts.total, days, profile.counts.total, before, least=least, most=most)]


def newest(counts: Counts) -> datetime | None:
    """Time of the newest row; None where no row has one."""
    return moment(counts.last) if counts.last is not None else None


def _stale(profile: Profile) -> float:
    blocks = profile.layout.blocks
    return _STALE * (blocks.length / DAY if blocks else 7)


def _untimed(profile: Profile, counts: Counts, kinds: dict[str, checks.Kind]) -> list[Shift]:
    """The column of the event time, where rows lack it: they are in no block, so nothing else would tell."""
    blocks = profile.layout.blocks
    if not blocks or blocks.column not in kinds or not counts.total:
        return []
    older = blocks.first < blocks.start(blocks.number - 1)  # those of the reference are in no block either
    before = 0.0 if older else float(profile.counts.rows[-1] / profile.counts.total)
    now = float(counts.rows[-1] / counts.total)
    missing = Answer(size=now - before, reference=before, current=now)
    return [Shift(column=blocks.column, role="feature", kind="sequence", shape=None, missing=missing, novel=None)] if now else []


def moment(microseconds: int) -> datetime:
    """Microseconds since 1970 as a naive time."""
    return datetime(1970, 1, 1) + timedelta(microseconds=microseconds)


def write(path: Path, found: Monitoring) -> None:
    """Write the report as JSON: the same report is the same bytes, and a killed run leaves no half file.

    JSON has no word for NaN or infinity: they become null, since a check that found broken numbers must still tell of it.
    """
    text = json.dumps(_plain(found), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def _plain(value: Any) -> Any:
    """The report as JSON has it."""
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: _plain(held) for key, held in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(held) for held in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z") if value.tzinfo else value.isoformat()
    return value


def _kind(kind: str) -> checks.Kind:
    return "nothing" if kind in ("empty", "nothing") else kind  # type: ignore[return-value]
