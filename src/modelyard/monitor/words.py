"""How figures of a check are said, alike in the summary and on the page. Plain text, not yet escaped; no I/O."""

from __future__ import annotations

import math

from modelyard.monitor.report import (
    Answer,
    Calibration,
    Check,
    Decay,
    Estimate,
    Monitoring,
    Part,
    Performance,
    Point,
    Shift,
    Status,
    Verdict,
)
from modelyard.page.figures import NONE as NONE
from modelyard.page.figures import chance as chance
from modelyard.page.figures import day as day
from modelyard.page.figures import fraction as fraction
from modelyard.page.figures import interval as interval
from modelyard.page.figures import known as known
from modelyard.page.figures import number as number
from modelyard.page.figures import percent as percent
from modelyard.page.figures import short as short

SEVERITY: tuple[Status, ...] = ("retrain", "alert", "unknown", "noted", "ok")
MARKS: dict[str, str] = {"retrain": "↻", "alert": "!", "unknown": "?", "noted": "•", "ok": "✓", "healthy": "✓"}
MEANS: dict[Verdict, str] = {
    "healthy": "Nothing to do.",
    "alert": "The live model stays as it is, until somebody has looked.",
    "retrain": "The workflow train makes a challenger; the live model stays until a better one is released.",
}
APPROVAL = "A person must start the training: dispatch the workflow train. Until then the live model stays."
MEASURES = {"mean": "mean", "missing": "share missing", "novel": "share never seen", "top": "share of the most frequent value"}


def window(found: Monitoring) -> str:
    """``2013-06-03 to 2013-07-01``; the end is the first moment after it. Empty where the rows have no time."""
    return f"{day(found.window[0])} to {day(found.window[1])}" if found.window else ""


def reason(found: Monitoring) -> str:
    """The reason, and the assumption that it rests on where blocks could not judge."""
    said = found.reason.strip().rstrip(".") or "no reason was given"
    assumes = found.calibration.assumes
    if found.calibration.rule == "chance" and assumes and assumes not in said:
        said += f" (assumes {assumes})"
    return said + ("" if said.endswith(("!", "?")) else ".")


def more_reasons(found: Monitoring) -> tuple[str, ...]:
    """Reasons that the first one does not hold; often they are messages of checks."""
    return tuple(text for text in dict.fromkeys(map(str.strip, found.reasons)) if text and text.rstrip(".") not in found.reason)


def ordered(found: Monitoring) -> list[Check]:
    """The checks: those that made the verdict first, then by weight."""
    return sorted(found.checks, key=lambda check: (check.status != found.verdict, SEVERITY.index(check.status)))


def facts(found: Monitoring) -> tuple[str, ...]:
    """What was compared with what."""
    said = [f"{found.rows:,} rows, beside a profile of {found.reference_rows:,}"]
    if champion := found.champion:
        version = f"version {champion.version}, " if champion.version else ""
        said.append(f"champion: {version}released {day(champion.released)}, {champion.age_days:.0f} days old")
    if found.now:
        said.append(f"checked on {day(found.now)}")
    return tuple(said)


def blocks(calibration: Calibration, count: int = 2) -> str:
    """What blocks are called: weeks, days, or blocks."""
    word = {7.0: "week", 1.0: "day"}.get(calibration.block_days or 0.0, "block")
    return word if count == 1 else word + "s"


def split(calibration: Calibration, scores: tuple[float, ...]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Scores of the reference's blocks, and of the current ones."""
    return scores[: calibration.blocks], scores[calibration.blocks :]


def above(calibration: Calibration) -> tuple[bool, ...]:
    """Which current blocks lie above the limit, where blocks judge; NaN never does."""
    reference, current = split(calibration, calibration.scores)
    limit = calibration.limit if calibration.limit is not None else max(reference, default=math.inf)
    return tuple(score > limit for score in current)


def judged(calibration: Calibration, shift: Shift, question: str, answer: Answer) -> str:
    """By what a question alarms, or does not: its chance, or its rank among the reference's blocks; empty where that is not known."""
    if answer.chance is not None:
        return chance(answer.chance)
    if calibration.rule != "blocks":
        return ""
    if answer.alarm:
        return f"above all {calibration.blocks} {blocks(calibration)}"
    reference, current = split(calibration, shift.scores)
    if question != "shape" or not reference or not current or math.isnan(current[-1]):  # scores are of the shape
        return ""
    return f"rank {1 + sum(score >= current[-1] for score in reference)} of {len(reference) + 1}"


def rule(calibration: Calibration) -> str:
    """What the alarms rest on, and how often they are false."""
    if calibration.rule == "none":
        return "Nothing could be compared, so no drift can be told."
    if calibration.rule == "chance":
        return (
            f"Alarms go by chance over the whole table: without any change at most {percent(calibration.level)} of the checks alarm. "
            f"This assumes {calibration.assumes}; drift found so does not start a training by itself."
        )
    one = blocks(calibration, 1)
    of = f" ({short(calibration.block_days)} days each)" if calibration.block_days and one == "block" else ""
    return (
        f"A {one} alarms where the table's score lies above that of all {calibration.blocks} {blocks(calibration)} of the reference{of}, "
        "by a change large enough to matter. "
        f"Without any change that happens with a chance of {percent(calibration.level)}. This assumes {calibration.assumes}."
    )


def answers(shift: Shift) -> tuple[tuple[str, Answer], ...]:
    """The questions that were asked, by name."""
    asked = (("shape", shift.shape), ("missing", shift.missing), ("never seen", shift.novel))
    return tuple((name, answer) for name, answer in asked if answer)


def size(question: str, answer: Answer) -> str:
    """How much moved."""
    if question == "shape":
        return percent(answer.size)
    if known(answer.reference) is None or known(answer.current) is None:
        return points(answer)
    before, after = percent(answer.reference), percent(answer.current)
    return before if before == after else f"{before} → {after}"


def points(answer: Answer) -> str:
    """A difference of shares."""
    return NONE if known(answer.size) is None else f"{100 * answer.size:+.1f} points"


def how(part: Part, *, figures: bool = True) -> str:
    """How a segment adds to the shift: ``moved within``, or ``grew from 20 % to 30 % of the rows``."""
    mix = "grew" if part.current_share > part.reference_share else "shrank"
    if figures:
        mix += f" from {percent(part.reference_share)} to {percent(part.current_share)} of the rows"
    if abs(part.within) >= 2 * abs(part.mix):
        return "moved within"
    return mix if abs(part.mix) >= 2 * abs(part.within) else f"moved within, and {mix}"


def share(part: Part) -> str:
    """Share of the whole shift, in whole percent."""
    whole = known(part.mix + part.within)
    return NONE if whole is None else f"{100 * whole:.0f} %"


def moved(found: Monitoring) -> tuple[Shift, ...]:
    """Columns that alarm: the prediction first, then as the report orders them."""
    return tuple(sorted((shift for shift in found.columns if shift.alarm), key=lambda shift: shift.role != "prediction"))


def performance(found: Performance) -> str:
    """The metric with its interval, and its level at release."""
    span = interval(found.lower, found.upper)
    said = f"{found.metric} {number(found.value)}" + (f" (95 %: {span})" if span else " (no interval)")
    if known(found.at_release) is not None:
        said += f"; at release {number(found.at_release)}"
    better = "more" if found.more_is_better else "less"
    return f"{said}. {better.capitalize()} is better. {found.rows:,} rows with labels, {found.days} days."


def point(found: Point) -> str:
    """One stretch of time."""
    span = interval(found.lower, found.upper)
    return f"{day(found.start)} to {day(found.end)}: {number(found.value)}" + (f" ({span})" if span else "") + f", {found.rows:,} rows"


def decay(found: Decay) -> str:
    """What a fresh model of the same recipe would gain, and what that says of the live one."""
    means = {
        "yes": "the live model has decayed",
        "no": "the live model holds",
        "undetermined": f"the labels do not tell yet; a true gain of {number(found.detectable)} would show in 8 of 10 cases",
    }[found.found]
    span = interval(found.lower, found.upper, signed=True)
    gain = f"{number(found.gain, signed=True)} (95 %: {span or NONE}; limit {short(found.limit)})"
    return f"A fresh model of the same recipe gains {gain}: {means}."


def evidence(found: Decay) -> str:
    """What the gain rests on."""
    seen = f"; a true gain of {number(found.detectable)} would show in 8 of 10 cases" if found.found != "undetermined" else ""
    return f"{found.rows:,} rows with labels, {found.days} days{seen}."


def estimate(found: Estimate) -> str:
    """The estimate without labels, with what it assumes."""
    said = f"{found.metric} would be {number(found.value)}. It assumes {found.assumes.strip().rstrip('.')}, and decides nothing."
    return said + (f" Labels said {number(found.realised)} since." if known(found.realised) is not None else "")
