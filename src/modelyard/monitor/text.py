"""A check in Markdown, for the workflow's summary, its issue and the terminal; and its problems for annotations. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from modelyard.monitor import words
from modelyard.monitor.report import Monitoring, Shift
from modelyard.page.markdown import LONGEST, code, plain
from modelyard.page.plain import line

_BARS = "▁▂▃▄▅▆▇█"
_MEASURES = {"mean": "mean", "missing": "missing", "novel": "never seen", "top": "top value"}
_MOVED = 25  # rows of the table of what moved
_LISTED = 100  # columns in the folded table: an issue's body has room for 60,000 characters
_NAMED = 5  # columns named in one sentence
_SENTENCES = 9  # GitHub shows ten annotations a step


def summary(found: Monitoring) -> str:
    """Markdown: verdict and reason, checks, what moved; all else folded."""
    at = f" on {span}" if (span := words.window(found)) else ""
    told = {check.message.strip() for check in found.checks}
    parts = [
        f"**monitor: {found.verdict}**{at}: {plain(words.reason(found))}",
        *([f"**{words.APPROVAL}**"] if found.needs_approval else []),
        "\n".join(f"- {plain(text)}" for text in words.more_reasons(found) if text not in told),
        " · ".join((code(found.name, table=False), *map(plain, words.facts(found)))),
        _checks(found),
        _moved(found),
        _folded(found),
    ]
    return "\n\n".join(part for part in parts if part)


def sentences(found: Monitoring) -> tuple[str, ...]:
    """What is wrong, a sentence each, many columns in one; at most nine. Plain text."""
    negative = found.verdict != "healthy"
    said = [line(text) for text in ((found.reason, *words.more_reasons(found)) if negative or found.reasons else ())]
    if found.needs_approval:
        said.insert(1, words.APPROVAL)
    if negative:
        said += _by_question(found.columns, " ".join(said))
    said = [text for text in dict.fromkeys(said) if text]
    if len(said) > _SENTENCES:
        said = [*said[: _SENTENCES - 1], f"{len(said) - _SENTENCES + 1} more stand in the summary."]
    return tuple(said)


def _by_question(columns: Sequence[Shift], told: str) -> Iterable[str]:
    """Which columns alarm, a sentence for each question; none where all of them were named before."""
    starts = {"shape": "The shape has moved in", "missing": "More values are missing in", "never seen": "Values never seen before are in"}
    for question, start in starts.items():
        asked = ((shift.column, dict(words.answers(shift)).get(question)) for shift in columns)
        names = [line(name, LONGEST) for name, answer in asked if answer and answer.alarm]
        if all(name in told for name in names):
            continue
        rest = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        yield f"{start} {len(names)} column{'s' if len(names) > 1 else ''}: {', '.join(names[:_NAMED])}{rest}."


def chart(reference: Sequence[float | None], current: Sequence[float | None]) -> str:
    """Blocks as characters, the current ones after a line; a dot where nothing is known."""
    points = [words.known(value) for value in (*reference, *current)]
    real = [value for value in points if value is not None]
    if not real:
        return ""
    low, high, top = min(real), max(real), len(_BARS) - 1
    bars = ["·" if value is None else _BARS[round(words.fraction(value, low, high) * top - 0.01)] for value in points]
    return "".join((*bars[: len(reference)], "│", *bars[len(reference) :]))


def _chart(shift: Shift, found: Monitoring) -> str:
    """The column over the blocks, as a code span with what it measures."""
    if shift.strip and (drawn := chart(shift.strip.reference, shift.strip.current)):
        return f"`{drawn}` {_MEASURES[shift.strip.measure]}"
    if shift.scores and (drawn := chart(*words.split(found.calibration, shift.scores))):
        return f"`{drawn}` score"
    return ""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table without the columns in which nothing stands."""
    shown = [i for i in range(len(head)) if any(row[i] not in ("", words.NONE) for row in rows)]
    lines = [[head[i] for i in shown], ["---"] * len(shown), *([row[i] for i in shown] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _checks(found: Monitoring) -> str:
    if not found.checks:
        return ""
    bold = {"alert": "**", "retrain": "**"}
    rows = []
    for check in words.ordered(found):
        mark = bold.get(check.status, "")
        rows.append((plain(check.name), f"{words.MARKS[check.status]} {mark}{check.status}{mark}", plain(check.message)))
    return _table(("check", "answer", "why"), rows)


def _moved(found: Monitoring) -> str:
    """The alarmed columns, a row for each question that alarms; what belongs to the column stands in its first row."""
    alarmed = words.moved(found)
    compared = sum(bool(words.answers(shift)) for shift in found.columns)
    if not alarmed:
        said = f"None of {compared} columns alarms. " if compared else ""
        return f"### What moved\n\n{said}{plain(words.rule(found.calibration))}"
    rows: list[tuple[str, ...]] = []
    for shift in alarmed:
        name = f"{code(shift.column)} ({shift.role})" if shift.role != "feature" else code(shift.column)
        once = (_chart(shift, found), _causes(shift))
        for question, answer in words.answers(shift):
            if answer.alarm:
                judged = words.judged(found.calibration, shift, question, answer) or words.NONE
                rows.append((name, question, words.size(question, answer), judged, *once))
                once = ("", "")
    head = ("column", "question", "size", "chance or rank", f"{words.blocks(found.calibration)}, reference │ current", "carried by")
    more = f"\n\n{len(rows) - _MOVED} more stand in the report." if len(rows) > _MOVED else ""
    size = "Size of a shape: the share of rows that must move to turn one into the other, at least."
    title = f"### What moved: {len(alarmed)} of {compared} columns"
    return f"{title}\n\n{_table(head, rows[:_MOVED])}{more}\n\n{plain(words.rule(found.calibration))} {size}"


def _causes(shift: Shift) -> str:
    return "; ".join(f"{code(f'{part.segment} = {part.value}')}: {words.share(part)} of it, {words.how(part)}" for part in shift.causes[:3])


def _folded(found: Monitoring) -> str:
    """All columns with the distances that others use, performance, decay, estimate."""
    parts = []
    if found.performance:
        parts.append(f"**Performance.** {plain(words.performance(found.performance))}")
        parts += ["\n".join(f"- {plain(words.point(point))}" for point in found.performance.points[-8:])]
    if found.decay:
        parts.append(f"**Decay: {found.decay.found}.** {plain(words.decay(found.decay))} {plain(words.evidence(found.decay))}")
    if found.estimate:
        parts.append(f"**An estimate, not measured.** {plain(words.estimate(found.estimate))}")
    if found.columns:
        parts.append(_table(_ALL, [_figures(shift, found) for shift in found.columns[:_LISTED]]))
    if len(found.columns) > _LISTED:
        parts.append(f"{len(found.columns) - _LISTED} more columns stand in the report.")
    if hashes := [f"{plain(name)} {code(found.profile[name][:12], table=False)}" for name in sorted(found.profile)]:
        parts.append(f"Compared with: {', '.join(hashes)}")
    body = "\n\n".join(part for part in parts if part)
    told = [f"All {len(found.columns)} columns"] if found.columns else []
    told += [name for name in ("performance", "decay", "estimate") if getattr(found, name)] or ([] if told else ["hashes"])
    return f"<details><summary>{', '.join(told)}</summary>\n\n{body}\n\n</details>" if body else ""


_ALL = ("column", "role", "shape", "missing", "never seen", "PSI", "JS", "Wasserstein", "importance", "over time")


def _figures(shift: Shift, found: Monitoring) -> tuple[str, ...]:
    asked = dict(words.answers(shift))
    said = [
        (f"**{words.size(name, asked[name])}**" if asked[name].alarm else words.size(name, asked[name])) if name in asked else words.NONE
        for name in ("shape", "missing", "never seen")
    ]
    distances = map(words.number, (shift.psi, shift.js, shift.wasserstein, shift.importance))
    return (code(shift.column), shift.role, *said, *distances, _chart(shift, found))
