"""A table beside a profile, without a project: what ``modelyard monitor --profile`` does. Imports numpy and pyarrow only."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from modelyard.monitor import checks, compare, decision, measure
from modelyard.monitor import profile as profiles
from modelyard.monitor.profile import Counts, Profile
from modelyard.monitor.report import Check, Monitoring
from modelyard.monitor.sketch import DAY, Blocks
from modelyard.monitor.table import Source

_LEAST, _MOST = 0.5, 2.0  # rows per day, as a ratio to the reference's
_MISSING = 0.05
_NEED, _OF = 2, 4


def table(profile_path: Path, source: Source) -> Monitoring:
    """Check a table against a profile's file, with the policy's defaults."""
    profile = profiles.read(profile_path)
    counts, window = measure.count(profile, source)
    found = compare.compare(profile, counts, window)
    kinds: dict[str, checks.Kind] = {name: _kind(kind) for name, kind in source.readable}
    reference: dict[str, checks.Kind] = {name: _kind(kind) for name, kind in profile.kinds.items()}
    asked: list[Check] = [checks.schema(reference, kinds), *about_rows(profile, counts, window, least=_LEAST, most=_MOST)]
    asked += [
        checks.missing(found.shifts, limit=_MISSING),
        checks.novel(found.shifts),
        checks.drift(found.shifts, found.calibration, None, need=_NEED, of=_OF, says="alert"),
    ]
    decided = decision.decide(asked)
    return Monitoring(
        verdict=decided.verdict,
        reason=decided.reason,
        reasons=decided.reasons,
        name=profile_path.name,
        now=None,
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


def moment(microseconds: int) -> datetime:
    """Microseconds since 1970 as a naive time."""
    return datetime(1970, 1, 1) + timedelta(microseconds=microseconds)


def write(path: Path, found: Monitoring) -> None:
    """Write the report as JSON: the same report is the same bytes, and a killed run leaves no half file."""
    text = json.dumps(dataclasses.asdict(found), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False, default=_plain) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z") if value.tzinfo else value.isoformat()
    raise TypeError(f"{type(value).__name__} has no place in a report")


def _kind(kind: str) -> checks.Kind:
    return "nothing" if kind in ("empty", "nothing") else kind  # type: ignore[return-value]
