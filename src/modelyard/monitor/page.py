"""A check as a static page, and the index of all checks in a folder: each whole in one file, without scripts.

jinja2 is imported by whoever imports this module: do so only where a page is asked for.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from markupsafe import Markup

from modelyard.monitor import chart, words
from modelyard.monitor.report import Decay, Monitoring, Performance, Shift, Status
from modelyard.page import template

INDEX = "index.html"
_FOLDER = Path(__file__).parent
_ROOM = 140_000  # bytes for columns with charts: the alarmed ones, then the first; a page stays under 200 KB
_LISTED = 120  # columns after those, with a line each
_REASONS = 8
_OPEN = 12  # alarmed columns that are not folded
_STRIP = 60  # checks in the index's strip of verdicts
_LARGEST = 20_000_000  # bytes of a report that the index reads


def write(found: Monitoring, path: Path, *, index: str = "") -> None:
    """Write the page of one check.

    Parameters
    ----------
    index
        Address of the page with all checks, where there is one.
    """
    shifts = [*words.moved(found), *(shift for shift in found.columns if not shift.alarm)]
    columns = _drawn(shifts, found)
    rest = shifts[len(columns) :]
    told = {check.message.strip() for check in found.checks}
    said = template.load("page.html.j2", _FOLDER).render(
        found=found,
        words=words,
        index=index,
        window=words.window(found),
        reasons=[reason for reason in words.more_reasons(found) if reason not in told][:_REASONS],
        checks=words.ordered(found),
        tiles=_tiles(found),
        overview=chart.scores(found.calibration),
        performance=_performance(found.performance),
        decay=_decay(found.decay),
        alarms=sum(shift.alarm for shift in shifts),
        columns=columns,
        lines=[(shift, _sizes(shift)) for shift in rest[:_LISTED]],
        hidden=len(rest[_LISTED:]),
    )
    template.write(path, said)


def write_index(folder: Path) -> None:
    """Write ``index.html`` in ``folder``: its checks, newest first. Files that are no reports are skipped, and named."""
    entries, foreign = [], []
    for file in sorted(folder.glob("*.json")):
        if file.name.startswith("."):
            continue
        entry = _entry(file)
        if entry:
            entries.append(entry)
        else:
            foreign.append(file.name)
    entries.sort(key=lambda entry: (entry.at, entry.file), reverse=True)
    said = template.load("index.html.j2", _FOLDER).render(entries=entries, strip=entries[:_STRIP][::-1], foreign=foreign, words=words)
    template.write(folder / INDEX, said)


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One figure for who has seconds."""

    name: str
    value: str
    more: str
    status: str
    at: str  # where on the page it is told whole


def _tiles(found: Monitoring) -> list[Tile]:
    """Columns, performance, decay, rows: as far as they were asked."""
    status = {check.name: check for check in found.checks}
    tiles = [_columns(found, [status[name].status for name in ("missing", "novel", "drift") if name in status])] if found.columns else []
    if said := found.performance:
        level, span = words.known(said.at_release), words.interval(said.lower, said.upper)
        more = "; ".join(filter(None, [f"at release {words.number(level)}" if level is not None else "", f"95 %: {span}" if span else ""]))
        judged = status["performance"].status if "performance" in status else "noted"
        tiles.append(Tile(name=said.metric, value=words.number(said.value), more=more, status=judged, at="performance"))
    if found.decay:
        more = f"retraining gains {words.number(found.decay.gain, signed=True)}; limit {words.short(found.decay.limit)}"
        tone = {"yes": "retrain", "no": "ok", "undetermined": "unknown"}[found.decay.found]
        tiles.append(Tile(name="decay", value=found.decay.found, more=more, status=tone, at="performance"))
    for name, shown in (("performance", found.performance), ("decay", found.decay)):
        if not shown and name in status:
            tiles.append(Tile(name=name, value=status[name].status, more=status[name].message, status=status[name].status, at="checks"))
    tone, more = (status["volume"].status, status["volume"].message) if "volume" in status else ("noted", "")
    tiles.append(Tile(name="rows", value=f"{found.rows:,}", more=more, status=tone, at="checks"))
    return tiles


def _columns(found: Monitoring, checked: list[Status]) -> Tile:
    """How many columns alarm, and the first of them; as bad as the checks that ask of columns."""
    alarms, compared = words.moved(found), sum(bool(words.answers(shift)) for shift in found.columns)
    status = min([*checked, "noted" if alarms else "ok"], key=words.SEVERITY.index)
    more = ", ".join(shift.column for shift in alarms[:3]) + (f" and {len(alarms) - 3} more" if len(alarms) > 3 else "")
    return Tile(name="columns that alarm", value=f"{len(alarms)} of {compared}", more=more, status=status, at="columns")


def _performance(found: Performance | None) -> dict[str, Any] | None:
    return {"text": words.performance(found), "chart": chart.performance(found)} if found else None


def _decay(found: Decay | None) -> dict[str, Any] | None:
    return {"text": f"{words.decay(found)} {words.evidence(found)}", "chart": chart.decay(found)} if found else None


def _drawn(shifts: list[Shift], found: Monitoring) -> list[dict[str, Any]]:
    """As many columns as there is room for."""
    columns: list[dict[str, Any]] = []
    room = _ROOM
    for shift in shifts:
        column = _column(shift, found, opened=shift.alarm and len(columns) < _OPEN)
        room -= 2000 + 400 * len(shift.causes) + sum(len(column[name].encode()) for name in ("spark", "distribution", "strip"))
        if room < 0:
            break
        columns.append(column)
    return columns


def _sizes(shift: Shift) -> list[tuple[str, bool, str]]:
    return [(name, answer.alarm, words.size(name, answer)) for name, answer in words.answers(shift)]


def _column(shift: Shift, found: Monitoring, *, opened: bool) -> dict[str, Any]:
    """What the page shows of a column."""
    calibration = found.calibration
    empty = Markup("")
    distances = (("PSI", shift.psi), ("Jensen-Shannon", shift.js), ("Wasserstein", shift.wasserstein), ("importance", shift.importance))
    return {
        "shift": shift,
        "open": opened,
        "sizes": _sizes(shift),
        "judged": {name: words.judged(calibration, shift, name, answer) or words.NONE for name, answer in words.answers(shift)},
        "measure": words.MEASURES[shift.strip.measure] if shift.strip else "",
        "spark": chart.spark(shift.strip) if shift.strip else empty,
        "distribution": chart.distribution(shift.column, shift.kind, shift.cells),
        "strip": chart.strip(shift.column, shift.strip, calibration) if shift.strip else empty,
        "causes": [
            (part, words.share(part), words.how(part, figures=False), _width(part.mix), _width(part.within)) for part in shift.causes[:10]
        ],
        "distances": [(name, words.number(value)) for name, value in distances if words.known(value) is not None],
    }


def _width(value: float) -> float:
    """Percent of a bar's room."""
    return round(min(abs(words.known(value) or 0.0), 1.0) * 100, 1)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One check in the index."""

    file: str
    page: str  # empty where there is none
    at: datetime
    day: str
    verdict: str
    reason: str
    name: str
    rows: str
    champion: str
    moved: str


def _entry(file: Path) -> Entry | None:
    """A report as JSON; None where it is something else, or broken."""
    try:
        if file.stat().st_size > _LARGEST:
            return None
        said = json.loads(file.read_bytes())
        verdict, at = said["verdict"], said["now"] or (said["window"] or [None, None])[1]
        if verdict not in words.MEANS or not isinstance(said["checks"], list):
            return None
        moment = datetime.fromisoformat(at) if at else datetime.min
        columns = said["columns"]
        alarmed = sum(any((column[question] or {}).get("alarm") for question in ("shape", "missing", "novel")) for column in columns)
        return Entry(
            file=file.name,
            page=f"{file.stem}.html" if file.with_suffix(".html").is_file() else "",
            at=moment if moment.tzinfo else moment.replace(tzinfo=UTC),
            day=words.day(moment) if at else file.stem,
            verdict=verdict,
            reason=str(said["reason"]),
            name=str(said["name"]),
            rows=f"{int(said['rows']):,}",
            champion=str(said["champion"]["version"]) if said["champion"] else "",
            moved=f"{alarmed} of {len(columns)}" if columns else "",
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        return None
