"""Charts of an evaluation, as inline SVG. Pure.

The challenger is a dark solid line with squares, the champion a grey broken line with circles: no chart is read by colour alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from modelyard.evaluate.check import Check
from modelyard.evaluate.curves import Bin, Points
from modelyard.evaluate.dependence import Dependence
from modelyard.evaluate.importance import Change
from modelyard.evaluate.paired import Comparison
from modelyard.evaluate.report import Range
from modelyard.evaluate.segments import Segment
from modelyard.page import figures, svg
from modelyard.page.figures import known
from modelyard.page.svg import RIGHT, WIDTH, label, n

_LEFT, _TOP = 40, 20
_BARS = 36  # of the residuals' distribution
_SPAN = 150  # width of a picture in a table
_MODELS = ("challenger", "champion")
_LINES = ("is", "was")


@dataclass(frozen=True)
class _Frame:
    """Room between two axes."""

    x: tuple[float, float]
    y: tuple[float, float]
    bottom: float

    def across(self, value: float) -> float:
        return _LEFT + (RIGHT - 4 - _LEFT) * figures.fraction(value, *self.x)

    def up(self, value: float) -> float:
        return self.bottom - (self.bottom - _TOP) * figures.fraction(value, *self.y)

    def curve(self, points: Iterable[tuple[float, float]], kind: str) -> str:
        """A line through the points; one out of the frame is moved to its border."""
        finite = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
        inside = [(min(max(x, self.x[0]), self.x[1]), min(max(y, self.y[0]), self.y[1])) for x, y in finite]
        return svg.path(kind, "M" + "L".join(f"{n(self.across(x))} {n(self.up(y))}" for x, y in inside)) if len(inside) > 1 else ""

    def axes(self, across: str, up: str, show: Callable[[float], str] = figures.short, *, ticks: bool = True) -> str:
        """Lines, figures and names of both axes."""
        grid = svg.path("grid", "".join(f"M{_LEFT} {n(self.up(tick))}H{n(RIGHT)}" for tick in _ticks(*self.y)))
        body = grid + "".join(label(_LEFT - 4, self.up(tick) + 3, show(tick), "end") for tick in _ticks(*self.y))
        if ticks:
            for tick in _ticks(*self.x):
                x, said = self.across(tick), figures.short(tick)
                half = len(said) * svg.LETTER / 2
                body += label(min(max(x, half), WIDTH - half), self.bottom + 13, said, "middle")
        return body + svg.axis(_LEFT, self.bottom) + label(_LEFT - 34, 9, up) + label(RIGHT, self.bottom + 27, across, "end")


def _ticks(low: float, high: float) -> list[float]:
    """Three to six round numbers from one to the other."""
    width = high - low
    if not width > 0 or not math.isfinite(width):
        return [low]
    power = 10.0 ** math.floor(math.log10(width / 3))
    step = next(power * times for times in (1, 2, 2.5, 5, 10) if width / (power * times) <= 5)
    return [step * i for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def roc(curves: Sequence[Points]) -> Markup:
    """True over false positive rate of one or two models."""
    frame = _Frame((0, 1), (0, 1), 250)
    body = frame.axes("false positive rate →", "true positive rate")
    body += frame.curve([(0, 0), (1, 1)], "guess") + _curves(frame, curves)
    return _chart(280, "ROC curve", [_at(points, 0.1, "true positive rate") for points in curves], body) if any(curves) else Markup("")


def precision_recall(curves: Sequence[Points], share: float | None) -> Markup:
    """Precision over recall of one or two models; ``share`` of positive rows is what a guess reaches.

    Where no row is recalled there is no precision: that point is left out.
    """
    curves = [[point for point in points if point[0] > 0] for points in curves]
    frame = _Frame((0, 1), (0, 1), 250)
    body = frame.axes("recall →", "precision")
    if share is not None:
        body += frame.curve([(0, share), (1, share)], "guess")
    return (
        _chart(280, "Precision-recall curve", [_at(points, 0.5, "precision") for points in curves], body + _curves(frame, curves))
        if any(curves)
        else Markup("")
    )


def _curves(frame: _Frame, curves: Sequence[Points]) -> str:
    """The champion first, so that the challenger lies over it."""
    return "".join(frame.curve(points, kind) for points, kind in reversed(list(zip(curves, _LINES, strict=False))))


def _at(points: Points, x: float, what: str) -> str:
    if not points:
        return ""
    value = float(np.interp(x, [a for a, _ in points], [b for _, b in points]))
    return f"{what} {figures.short(value)} at {figures.short(x)}"


def calibration(models: Sequence[Sequence[Bin]], *, rates: bool) -> Markup:
    """Mean label over mean score in bins of equally many rows; ``rates`` of a binary task start at 0."""
    bins = [[(b.score, b.label, b.rows) for b in model if known(b.score) is not None and known(b.label) is not None] for model in models]
    values = [value for model in bins for score, label_, _ in model for value in (score, label_)]
    if not values:
        return Markup("")
    low, high = (0.0, max(values)) if rates else (min(values), max(values))
    high = high if high > low else low + 1.0
    pad = 0.04 * (high - low)
    frame = _Frame((low if rates else low - pad, high + pad), (low if rates else low - pad, high + pad), 250)
    body = frame.axes("mean prediction →", "share of label 1" if rates else "mean label")
    body += frame.curve([(frame.x[0], frame.x[0]), (frame.x[1], frame.x[1])], "guess")
    for model, kind in reversed(list(zip(bins, _LINES, strict=False))):
        body += frame.curve([(x, y) for x, y, _ in model], kind)
        for x, y, rows in model:
            told = f"{figures.short(x)} predicted, {figures.short(y)} found, {rows:,} rows"
            body += _mark(frame.across(x), frame.up(y), told, first=kind == "is")
    worst = [max((abs(x - y) for x, y, _ in model), default=None) for model in bins]
    said = [f"largest distance from the diagonal {figures.short(gap)}" if gap is not None else "" for gap in worst]
    return _chart(280, "Calibration", said, body)


def residuals(models: Sequence[Points]) -> Markup:
    """Distribution of label minus prediction, from its quantiles; the outermost 2 % of the rows are not drawn."""
    drawn = [np.array(points) for points in models if points]
    if not drawn:
        return Markup("")
    low = min(float(np.interp(0.01, points[:, 1], points[:, 0])) for points in drawn)
    high = max(float(np.interp(0.99, points[:, 1], points[:, 0])) for points in drawn)
    if not high > low:
        return Markup("")
    edges = np.linspace(low, high, _BARS + 1)
    shares = [np.diff(np.interp(edges, points[:, 0], points[:, 1])) for points in drawn]
    frame = _Frame((low, high), (0.0, max(float(share.max()) for share in shares) or 1.0), 250)
    body = frame.axes("label minus prediction →", "share of the rows", figures.percent)
    if low < 0 < high:
        body += svg.path("zero", f"M{n(frame.across(0))} {_TOP}V{frame.bottom}")
    for share, kind in reversed(list(zip(shares, _LINES, strict=False))):
        steps = [(x, y) for i, y in enumerate(share.tolist()) for x in edges[i : i + 2].tolist()]
        body += frame.curve(steps, kind)
    said = [f"half of the rows lie between {figures.short(a)} and {figures.short(b)}" for a, b in map(_middle, drawn)]
    return _chart(280, "Distribution of residuals", said, body)


def _middle(points: np.ndarray) -> tuple[float, float]:
    return float(np.interp(0.25, points[:, 1], points[:, 0])), float(np.interp(0.75, points[:, 1], points[:, 0]))


def improvement(rivals: Sequence[Check], found: Comparison, bound: float) -> Markup:
    """The improvement with its interval, beside zero and the bound that it must lie above."""
    rivals = [check for check in rivals if known(check.value) is not None]
    real = [v for check in rivals for v in map(known, (check.value, check.lower, check.upper)) if v is not None]
    if not real:
        return Markup("")
    shows = known(found.detectable)
    real += [0.0, bound, *([shows] if shows is not None else [])]
    pad = 0.06 * ((max(real) - min(real)) or 1.0)
    low, high = min(real) - pad, max(real) + pad

    def at(value: float) -> float:
        return 6 + (WIDTH - 12) * figures.fraction(value, low, high)

    top, row = 18, 34
    ground = top + row * len(rivals) + 4
    body = f'<rect class="good" x="{n(at(bound))}" y="{top}" width="{n(WIDTH - 6 - at(bound))}" height="{ground - top}"/>'
    body += svg.path("zero", f"M{n(at(0))} {top}V{ground + 4}")
    asked = "above 0 is asked" if not bound else f"above {figures.short(bound)} is asked"
    body += svg.path("limit", f"M{n(at(bound))} {top}V{ground}") + label(at(bound), 12, f"{asked} →", svg.inside(at(bound)))
    for i, check in enumerate(rivals):
        y = top + row * i + 23
        lower, upper = known(check.lower), known(check.upper)
        if lower is not None and upper is not None:
            body += svg.path("whisker", f"M{n(at(lower))} {y - 5}v10m0-5H{n(at(upper))}m0-5v10")
        body += svg.square(at(check.value or 0.0), y, f"{check.value:+.4g}", filled=True)
        said = f"{check.name} {figures.number(check.value, signed=True)}"
        body += label(at(check.value or 0.0), y - 9, said, svg.inside(at(check.value or 0.0)), halo=True)
    body += svg.axis(6, ground, WIDTH - 6) + label(at(0), ground + 15, "0: as good", svg.inside(at(0)))
    if shows is not None:
        body += svg.path("tick", f"M{n(at(shows))} {ground}l3.5 7h-7z")
        body += label(at(shows), ground + 28, f"{figures.short(shows)} would show in 8 of 10 cases", svg.inside(at(shows)))
    told = "; ".join(f"against {c.name} {figures.number(c.value, signed=True)}, {_between(c.lower, c.upper)}" for c in rivals)
    return svg.chart(ground + 34, f"Improvement in {found.metric}: {told}; {asked}.", body)


def _between(lower: float | None, upper: float | None) -> str:
    return figures.interval(lower, upper, signed=True) or "without an interval"


def dependence(found: Dependence, low: float, high: float) -> Markup:
    """Mean prediction over the values of a column; ``low`` and ``high`` are shared, so that columns can be compared."""
    models = [found.challenger, *([found.champion] if found.champion else [])]
    texts = [value for value in found.values if isinstance(value, str)]
    numbers = [float(value) for value in found.values if not isinstance(value, str)]
    frame = _Frame((min(numbers), max(numbers)) if numbers else (-0.5, len(texts) - 0.5), (low, high), 120)
    xs = numbers or [float(i) for i in range(len(texts))]
    body = frame.axes("", "mean prediction", ticks=bool(numbers))
    for values, kind in reversed(list(zip(models, _LINES, strict=False))):
        points = [(x, y) for x, y in zip(xs, values, strict=True) if known(y) is not None]
        body += frame.curve(points, kind) if numbers else ""
        told = [svg.cut(str(value), 40) for value in found.values]
        body += "".join(
            _mark(frame.across(x), frame.up(y), f"{value}: {figures.number(y)}", first=kind == "is")
            for x, y, value in zip(xs, values, told, strict=True)
            if known(y) is not None
        )
    room = (RIGHT - _LEFT) / max(len(texts), 1)
    most = int(room / svg.LETTER) - 1
    for i, text in enumerate(texts):
        body += label(frame.across(i), frame.bottom + 13, svg.cut(text, max(most, 2)), "middle")
    said = [f"from {figures.short(min(values))} to {figures.short(max(values))}" for values in models]
    return _chart(138, f"Partial dependence on {found.column}", said, body)


def ranges(challenger: Range | None, champion: Range | None) -> Markup:
    """Intervals of one metric of both models, for a cell."""
    spans = [span for span in (challenger, champion) if span]
    real = [v for span in spans for v in map(known, (span.value, span.lower, span.upper)) if v is not None]
    if not real:
        return Markup("")
    body = ""
    for span, y, first in ((challenger, 7, True), (champion, 17, False)):
        if span and known(span.value) is not None:
            body += _lying(span.lower, span.upper, min(real), max(real), y, "whisker" if first else "whisker old")
            body += _mark(_across(span.value, min(real), max(real)), y, "", first=first)
    return svg.small(_SPAN, 24, body)


def reach(segments: Sequence[Segment], margin: float) -> float:
    """Half of the width that the segments' pictures share: the largest improvement or loss fits, an interval may be cut."""
    return max([1.3 * abs(v) for v in (known(one.improvement) for one in segments) if v is not None] + [2 * margin, 1e-9])


def segment(found: Segment, width: float, margin: float) -> Markup:
    """The improvement in a segment beside 0 and minus the margin, for a cell; an interval without an end goes on."""
    if known(found.improvement) is None:
        return Markup("")
    body = svg.path("zero", f"M{_SPAN / 2:g} 0V20")
    body += svg.path("limit", f"M{n(_across(-margin, -width, width))} 0V20") if margin else ""
    body += _lying(found.lower, found.upper, -width, width, 10)
    return svg.small(_SPAN, 20, body + svg.square(_across(found.improvement or 0.0, -width, width), 10, "", filled=found.failed))


def span(changes: Sequence[Change]) -> tuple[float, float]:
    """Of the importances that are drawn, 0 included."""
    losses = [loss for change in changes for loss in (change.challenger, change.champion) if loss]
    real = [v for loss in losses for v in map(known, (loss.value, loss.lower, loss.upper)) if v is not None]
    return min([0.0, *real]), max([0.0, *real]) or 1.0


def importance(found: Change, low: float, high: float) -> Markup:
    """The importance of a column in both models, for a cell: bars from 0 with their intervals."""
    zero, body = _across(0.0, low, high), ""
    for loss, y, kind, whisker in ((found.challenger, 7, "c", "whisker over"), (found.champion, 18, "r", "whisker old over")):
        if loss and (value := known(loss.value)) is not None:
            x = _across(value, low, high)
            body += svg.path(kind, f"M{n(zero)} {y - 4}H{n(x)}v8H{n(zero)}z") + _lying(
                loss.lower, loss.upper, low, high, y, whisker, cap=2.5
            )
    return svg.small(_SPAN, 24, body + svg.path("axis", f"M{n(zero)} 0V24"))


def _across(value: float, low: float, high: float) -> float:
    return 5 + (_SPAN - 10) * figures.fraction(value, low, high)


def _lying(lower: float | None, upper: float | None, low: float, high: float, y: float, kind: str = "whisker", cap: float = 4) -> str:
    """A lying interval; an end out of the room has no cap."""
    if (left := known(lower)) is None or (right := known(upper)) is None:
        return ""
    a, b = (_across(min(max(value, low), high), low, high) for value in (left, right))
    if a == b and (left > high or right < low):
        return ""
    ends = "".join(f"M{n(x)} {n(y - cap)}v{n(2 * cap)}" for x, value in ((a, left), (b, right)) if low <= value <= high)
    return svg.path(kind, f"M{n(a if left >= low else 0)} {n(y)}H{n(b if right <= high else _SPAN)}{ends}")


def _mark(x: float, y: float, told: str, *, first: bool) -> str:
    """A square of the challenger, a circle of the champion."""
    if first:
        return svg.square(x, y, told, filled=True)
    title = f"<title>{svg.escape(told)}</title>" if told else ""
    return f'<circle class="old" cx="{n(x)}" cy="{n(y)}" r="3">{title}</circle>'


def _chart(height: int, what: str, said: Sequence[str], body: str) -> Markup:
    told = "; ".join(f"{who}: {text}" for who, text in zip(_MODELS, said, strict=False) if text)
    return svg.chart(height, f"{what}. {told}.", body)
