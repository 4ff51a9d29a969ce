"""Charts of a check, as inline SVG. Pure.

What belongs to the reference is pale and wide or round, what is current is dark and narrow or square, and what alarms has a mark of its
own: no chart is read by colour alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from markupsafe import Markup

from modelyard.monitor import words
from modelyard.monitor.report import Calibration, Cell, Decay, Kind, Performance, Point, Strip
from modelyard.page import svg
from modelyard.page.svg import LEFT, RIGHT, TOP, WIDTH, label, n

_ROWS = 12  # bars of a distribution that are drawn with their names
_POINTS = 52
_CUT = 4.0  # a block this many times above the limit is drawn no higher


def distribution(column: str, kind: Kind, cells: Sequence[Cell]) -> Markup:
    """Shares of the known rows by cell."""
    cells = [cell for cell in cells if words.known(cell.reference) is not None and words.known(cell.current) is not None]
    if not cells:
        return Markup("")
    most = max(cells, key=lambda cell: abs(cell.current - cell.reference))
    said = f"Distribution of {column}. Largest change: {most.label}, {words.percent(most.reference)} to {words.percent(most.current)}."
    return _upright(cells, said) if kind in ("continuous", "discrete") and len(cells) > 2 else _named(_fewer(cells), said)


def _fewer(cells: Sequence[Cell]) -> list[Cell]:
    """The largest, in their order, and the rest as one, together with what is a rest already."""
    if len(cells) <= _ROWS:
        return list(cells)
    single = [i for i, cell in enumerate(cells) if not _many(cell)]
    kept = set(sorted(single, key=lambda i: (-max(cells[i].reference, cells[i].current), i))[: _ROWS - 1])
    rest = [cell for i, cell in enumerate(cells) if i not in kept]
    many = sum(_many(cell) or 1 for cell in rest)
    other = Cell(label=f"{many} more", reference=sum(c.reference for c in rest), current=sum(c.current for c in rest))
    return [*(cell for i, cell in enumerate(cells) if i in kept), other]


def _many(cell: Cell) -> int:
    """For how many values a rest stands; 0 for a value."""
    found = re.fullmatch(r"(\d{1,9}) more", cell.label)
    return int(found[1]) if found else 0


def _upright(cells: Sequence[Cell], said: str) -> Markup:
    """Cells with an order: bars side by side, the current one inside of the reference's."""
    bottom, left = 118, 42
    slot = (RIGHT - left) / len(cells)
    most = max(max(cell.reference, cell.current) for cell in cells) or 1.0
    height = (bottom - TOP) / most
    old, new, names = "", "", ""
    labels = [svg.cut(cell.label, 14) for cell in cells]
    step = max(1, -(-int(max(map(len, labels)) * svg.LETTER + 6) // max(int(slot), 1)))
    for i, cell in enumerate(cells):
        x = left + i * slot
        old += svg.bar(x + 0.04 * slot, bottom, 0.92 * slot, cell.reference * height)
        told = f"{svg.cut(cell.label, 60)}: {words.percent(cell.reference)} → {words.percent(cell.current)}"
        new += svg.path("c", svg.bar(x + 0.3 * slot, bottom, 0.4 * slot, cell.current * height), told)
        if i % step == 0:
            middle = x + 0.5 * slot
            half = len(labels[i]) * svg.LETTER / 2
            fits = middle + half <= WIDTH
            names += label(max(middle, half) if fits else WIDTH, bottom + 13, labels[i], "middle" if fits else "end")
    body = svg.path("r", old) + new + svg.axis(left, bottom) + label(left - 4, TOP + 8, words.percent(most), "end") + names
    return svg.chart(134, said, body)


def _named(cells: Sequence[Cell], said: str) -> Markup:
    """Cells without an order: lying bars with their names; figures only for a rest, beside which the others would be small."""
    left, right, row = 104, 232, 17
    width = (right - left) / (max((max(cell.reference, cell.current) for cell in cells if not _many(cell)), default=1.0) or 1.0)
    body = ""
    for i, cell in enumerate(cells):
        y, old, new = 4 + i * row, n(cell.reference * width), n(cell.current * width)
        name = svg.cut(cell.label or "(empty)", 18)
        full = f"<title>{svg.escape(svg.cut(cell.label, 60))}</title>" if name.endswith("…") else ""
        body += f'<text x="{left - 5}" y="{y + 11}" text-anchor="end">{svg.escape(name)}{full}</text>'
        if not _many(cell):
            body += svg.path("r", f"M{left} {y + 1}h{old}v13h-{old}z") + svg.path("c", f"M{left} {y + 5}h{new}v5h-{new}z")
        body += label(right + 5, y + 11, f"{words.percent(cell.reference)} → {words.percent(cell.current)}")
    return svg.chart(len(cells) * row + 8, said, body)


def strip(column: str, found: Strip, calibration: Calibration) -> Markup:
    """A column over the blocks: the reference's range as a band, current blocks as squares, filled where they lie outside of it."""
    old, new = [words.known(v) for v in found.reference], [words.known(v) for v in found.current]
    before, real = [v for v in old if v is not None], [v for v in (*old, *new) if v is not None]
    if not real:
        return Markup("")
    show = words.short if found.measure == "mean" else words.percent
    bottom, count = 104, len(old) + len(new)
    scale, xs = svg.scale(min(real), max(real), bottom), svg.places(count)
    said = f"{words.MEASURES[found.measure]} of {column} over {words.blocks(calibration)}. Current: {', '.join(map(show, new[-8:]))}."
    body = svg.divide(len(old), xs, bottom)
    if before:
        high, low = scale(max(before)), scale(min(before))
        body = f'<rect class="band" x="{LEFT}" y="{n(high)}" width="{RIGHT - LEFT}" height="{n(max(low - high, 1))}"/>' + body
        said += f" Range of the reference: {show(min(before))} to {show(max(before))}."
    ys = [None if v is None else scale(v) for v in old]
    body += svg.line(xs[: len(old)], ys, "line") + svg.dots(xs[: len(old)], ys)
    for i, (x, value) in enumerate(zip(xs[len(old) :], new, strict=True)):
        if value is not None:
            outside = bool(before) and not min(before) <= value <= max(before)
            body += svg.square(x, scale(value), _since(calibration, len(old) + i, count) + show(value), filled=outside)
    body += label(LEFT - 4, TOP + 8, show(max(real)), "end") + label(LEFT - 4, bottom, show(min(real)), "end")
    return svg.chart(122, said, body + _dates(calibration, len(old), count, bottom + 14))


def spark(found: Strip) -> Markup:
    """The same, small and without words, for a line of the list."""
    values = [words.known(v) for v in (*found.reference, *found.current)]
    real = [v for v in values if v is not None]
    if not real:
        return Markup("")
    low, high, old = min(real), max(real), len(found.reference)
    xs = [3 + i * 84 / max(len(values) - 1, 1) for i in range(len(values))]
    ys = [None if v is None else 17 - 14 * words.fraction(v, low, high) for v in values]
    now = svg.line(xs[old:], ys[old:], "now") + svg.dots(xs[old:], ys[old:], "nowdots")
    return svg.spark(svg.line(xs[:old], ys[:old], "line") + now)


def scores(found: Calibration) -> Markup:
    """The table's score by block, with the limit above which a block alarms."""
    values = [words.known(score) for score in found.scores]
    real, alarms, limit = [v for v in values if v is not None], words.above(found), words.known(found.limit)
    old = len(values) - len(alarms)
    if not alarms or not real or limit is None:
        return Markup("")
    bottom, highest = 112, max(real)
    top = min(highest, _CUT * limit) if limit > 0 else highest
    scale, xs = svg.scale(0.0, max(top, limit) or 1.0, bottom, TOP + 10), svg.places(len(values))
    width = max(0.62 * (RIGHT - LEFT) / len(values), 1.5)
    body = svg.divide(old, xs, bottom)
    for i, (x, value) in enumerate(zip(xs, values, strict=True)):
        if value is None:
            continue
        alarm = i >= old and alarms[i - old]
        y = scale(max(min(value, top), 0.0))
        told = _since(found, i, len(values)) + words.short(value) if i >= old else ""
        body += svg.path("a" if alarm else "c" if i >= old else "r", svg.bar(x - width / 2, bottom, width, bottom - y), told)
        body += svg.path("a", f"M{n(x)} {n(y - 9)}l4 6h-8z") if alarm else ""
    body += svg.path("limit", f"M{LEFT} {n(scale(limit))}H{RIGHT}")
    body += label(LEFT + 2, scale(limit) - 4, f"limit {words.short(limit)}", halo=True)
    body += label(LEFT - 4, bottom, "0", "end") + label(LEFT - 4, TOP + 18, words.short(max(top, limit)), "end")
    word = words.blocks(found)
    said = f"Score of the table over {len(values)} {word}: {sum(alarms)} of {len(alarms)} current {word} lie above the limit of "
    said += words.short(limit) + (f"; the highest, {words.short(highest)}, is cut." if highest > top else ".")
    return svg.chart(130, said, body + svg.axis(LEFT, bottom) + _dates(found, old, len(values), bottom + 14))


def performance(found: Performance) -> Markup:
    """The metric by stretch of time with its intervals, beside the hold-out's before release."""
    old, new = found.release_points[-_POINTS:], found.points[-_POINTS:]
    shown: list[Point] = [*old, *new]
    every = [v for p in shown for v in (p.value, p.lower, p.upper)] + [found.at_release]
    real = [v for v in map(words.known, every) if v is not None]
    if not shown or not real:
        return Markup("")
    bottom, ticks = 124, [min(real), max(real)]
    scale, xs = svg.scale(min(real), max(real), bottom), svg.places(len(shown))
    body = svg.divide(len(old), xs, bottom)
    if (level := words.known(found.at_release)) is not None:
        body += svg.path("limit", f"M{LEFT} {n(scale(level))}H{RIGHT}")
        ticks = [tick for tick in ticks if abs(scale(tick) - scale(level)) > 11] + [level]
    for i, (x, point) in enumerate(zip(xs, shown, strict=True)):
        if words.known(point.value) is None:
            continue
        lower, upper, y = words.known(point.lower), words.known(point.upper), scale(point.value)
        if lower is not None and upper is not None:
            body += svg.whisker(x, scale(upper), scale(lower), "whisker" if i >= len(old) else "whisker old")
        told = words.point(point)
        circle = f'<circle class="old" cx="{n(x)}" cy="{n(y)}" r="3.2"><title>{svg.escape(told)}</title></circle>'
        body += svg.square(x, y, told, filled=True) if i >= len(old) else circle
    body += "".join(label(LEFT - 4, scale(tick) + 3, words.short(tick), "end") for tick in ticks)
    body += label(LEFT, bottom + 14, words.day(shown[0].start)) + label(RIGHT, bottom + 14, f"to {words.day(shown[-1].end)}", "end")
    return svg.chart(142, words.performance(found), body)


def decay(found: Decay) -> Markup:
    """The gain of a fresh model with its interval, beside zero and the limit."""
    limit = words.known(found.limit) or 0.0
    real = [v for v in map(words.known, (found.gain, found.lower, found.upper)) if v is not None] + [limit, 0.0]
    pad = 0.08 * ((max(real) - min(real)) or 1.0)
    low, high = min(real) - pad, max(real) + pad

    def at(value: float) -> float:
        return 12 + (WIDTH - 24) * (value - low) / (high - low)

    ground, middle = 58, 38
    body = f'<rect class="zone" x="{n(at(limit))}" y="16" width="{n(WIDTH - 12 - at(limit))}" height="{ground - 16}"/>'
    body += svg.axis(12, ground, WIDTH - 12) + svg.path("zero", f"M{n(at(0.0))} 20V{ground + 4}")
    body += svg.path("limit", f"M{n(at(limit))} 16V{ground}")
    body += label(at(0.0), ground + 14, "0: as good as the live model", svg.inside(at(0.0)))
    body += label(at(limit), 11, f"limit {words.short(limit)}: decayed from here on", svg.inside(at(limit)))
    lower, upper, gain = words.known(found.lower), words.known(found.upper), words.known(found.gain)
    if lower is not None and upper is not None:
        left, right = n(at(lower)), n(at(upper))
        body += svg.path("whisker", f"M{left} {middle - 5}v10m0-5H{right}m0-5v10")
    if gain is not None:
        body += svg.square(at(gain), middle, f"gain {words.number(gain, signed=True)}", filled=True)
    return svg.chart(78, words.decay(found), body)


def _moment(calibration: Calibration, index: int, count: int) -> datetime | None:
    return calibration.starts[index] if len(calibration.starts) == count and index < count else None


def _since(calibration: Calibration, index: int, count: int) -> str:
    moment = _moment(calibration, index, count)
    return f"from {words.day(moment)}: " if moment else ""


def _dates(calibration: Calibration, old: int, count: int, y: float) -> str:
    first, now = _moment(calibration, 0, count), _moment(calibration, old, count)
    left = f"reference from {words.day(first)}" if first and old else "reference" if old else ""
    return label(LEFT, y, left) + label(RIGHT, y, f"current from {words.day(now)}" if now else "current", "end")
