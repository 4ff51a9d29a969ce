"""The current window beside the profile: three questions per column, and whether an answer is out of the ordinary. No I/O.

Two rules. Where the reference has at least eight complete blocks (weeks), the answers of the latest current block are set beside
those of each reference block: a table alarms where its largest score exceeds that of every reference block, which happens by itself
in one of (blocks + 1) checks. Else by chance, as if rows were independent: then alpha bounds the false alarms of the whole table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

import numpy as np

from modelyard.monitor import blocks as by_blocks
from modelyard.monitor import cause, describe, distance
from modelyard.monitor.profile import Counts, Profile
from modelyard.monitor.report import Answer, Calibration, Shift
from modelyard.monitor.sketch import Blocks, Cells

Question = Literal["shape", "missing", "novel"]

#: With fewer complete blocks the rule by blocks would alarm too often by itself.
MINIMUM_BLOCKS = 8
#: A smaller size is not worth an alarm, however sure it is: share of rows.
FLOORS: dict[Question, float] = {"shape": 0.02, "missing": 0.01, "novel": 0.005}


@dataclass(frozen=True)
class Comparison:
    """What was found."""

    shifts: tuple[Shift, ...]  # the prediction first, then what alarms, then by importance and size
    calibration: Calibration
    alarms: tuple[frozenset[tuple[str, Question]], ...]  # per current block, the latest first; one for all by chance


def compare(profile: Profile, current: Counts, window: Blocks | None, alpha: float = 0.01) -> Comparison:
    """Ask the three questions of each column.

    Parameters
    ----------
    current
        The window, counted over the profile's layout.
    window
        The blocks that ``current`` was counted by.
    alpha
        Chance of a false alarm of the whole table, where the rule is by chance.
    """
    known = profile.layout.blocks.complete if profile.layout.blocks else 0
    reference = [b for b in range(known) if profile.counts.rows[b]]
    now = [b for b in range(window.complete) if current.rows[b]] if window else []
    if len(reference) >= MINIMUM_BLOCKS and now and window and profile.layout.blocks and now[0] == 0:
        found = _by_blocks(profile, current, reference, now, window)
    else:
        found = _by_chance(profile, current, alpha)
    shifts = [_described(profile, current, shift, reference, now) for shift in found.shifts]
    shifts.sort(
        key=lambda s: (s.role != "prediction", s.role == "label", not s.alarm, -(s.importance or 0), -(s.shape.size if s.shape else 0))
    )
    return replace(found, shifts=tuple(shifts))


def _questions(column: Cells) -> tuple[Question, ...]:
    """Missing labels are not known yet, so nothing is asked of them; a sequence has no shape."""
    if column.kind == "sequence":
        return ("missing",) if column.role != "label" else ()
    return ("shape",) if column.role == "label" else ("shape", "missing", "novel")


def _told(profile: Profile, current: Counts, column: Cells) -> tuple[Question, ...]:
    """The questions that have an answer: where no value is known, on either side, there is no shape."""
    known = all(held.cells[column.name][:, 1:].any() for held in (profile.counts, current))
    return tuple(question for question in _questions(column) if known or question != "shape")


def _by_blocks(profile: Profile, current: Counts, reference: list[int], now: list[int], window: Blocks) -> Comparison:
    asked = [(column, question) for column in profile.layout.columns for question in _questions(column)]
    alarms, tops, limits = [], [], []
    latest = np.empty(0)
    sizes = {(c.name, q): _sized(profile, c, q, current.cells[c.name].sum(axis=0)) for c, q in asked}
    for b in now:
        table = np.stack([_scores(profile, current, column, question, reference, b) for column, question in asked])
        limit = float(table[:, :-1].max())
        answers = {(c.name, q): _sized(profile, c, q, current.cells[c.name][b]) for c, q in asked}
        hit = {(c.name, q) for (c, q), z in zip(asked, table[:, -1], strict=True) if z > limit and answers[c.name, q].size >= FLOORS[q]}
        alarms.append(frozenset(hit))
        tops.append(float(table[:, -1].max()))
        limits.append(limit)
        if b == now[0]:
            latest = table
    starts = [_moment(profile.layout.blocks, b) for b in reversed(reference)] + [_moment(window, b) for b in reversed(now)]
    # Each current block has a limit of its own, since it is one of those compared; it is shown against the latest one's.
    shown = [top - limit + limits[0] for top, limit in zip(reversed(tops), reversed(limits), strict=True)]
    calibration = Calibration(
        rule="blocks",
        blocks=len(reference),
        block_days=window.length / 86_400_000_000,
        level=1 / (len(reference) + 1),
        assumes="exchangeable blocks",
        scores=tuple(round(float(v), 4) for v in [*latest[:, :-1].max(axis=0)[::-1], *shown]),
        limit=round(limits[0], 4),
        starts=tuple(starts),
        moved=tuple(any(question == "shape" for _, question in hit) for hit in reversed(alarms)),
    )
    shifts = []
    for column in profile.layout.columns:
        answers_of = {q: replace(sizes[column.name, q], alarm=(column.name, q) in alarms[0]) for q in _told(profile, current, column)}
        row = next((i for i, (c, _) in enumerate(asked) if c.name == column.name), None)
        own = () if row is None else tuple(round(float(v), 4) for v in [*latest[row, :-1][::-1], latest[row, -1]])
        shifts.append(_shift(column, answers_of, own))
    return Comparison(tuple(shifts), calibration, tuple(alarms))


def _scores(profile: Profile, current: Counts, column: Cells, question: Question, reference: list[int], b: int) -> np.ndarray:
    """(blocks + 1,): the reference's blocks and the current one."""
    counts = np.concatenate([profile.counts.cells[column.name][reference], current.cells[column.name][[b]]])
    known = counts[:, 1:]
    if question == "missing":
        return by_blocks.scores(np.stack([counts[:, 0], known.sum(axis=1)], axis=1))
    if question == "novel":
        return by_blocks.scores(by_blocks.unknown(known, column.novel))
    if not known[-1].sum():  # nothing is known: that is not a shape
        return np.zeros(len(reference) + 1)
    ordered = np.stack([_ordered(column, row) for row in counts])
    return by_blocks.scores(by_blocks.pooled(ordered))


def _by_chance(profile: Profile, current: Counts, alpha: float) -> Comparison:
    asked = [(column, question) for column in profile.layout.columns for question in _questions(column)]
    level = alpha / max(1, len(asked))
    answers: dict[str, dict[Question, Answer]] = {column.name: {} for column in profile.layout.columns}
    for column, question in asked:
        now = current.cells[column.name].sum(axis=0)
        found = _sized(profile, column, question, now)
        chance = _chance(column, question, profile.counts.cells[column.name].sum(axis=0), now)
        answers[column.name][question] = replace(found, chance=chance, alarm=chance < level and found.size >= FLOORS[question])
    shifts = tuple(
        _shift(column, {q: answers[column.name][q] for q in _told(profile, current, column)}, ()) for column in profile.layout.columns
    )
    hit = frozenset((name, q) for name, by in answers.items() for q, answer in by.items() if answer.alarm)
    judged = bool(asked) and current.total > 0 and profile.counts.total > 0
    calibration = Calibration(
        rule="chance" if judged else "none", blocks=0, block_days=None, level=alpha, assumes="independent rows" if judged else "nothing"
    )
    return Comparison(shifts, calibration, (hit,))


def _sized(profile: Profile, column: Cells, question: Question, now: np.ndarray) -> Answer:
    before = profile.counts.cells[column.name].sum(axis=0)
    if question == "shape":
        known, seen = _ordered(column, before), _ordered(column, now)
        if not known.sum() or not seen.sum():
            return Answer(size=0.0)
        return Answer(size=distance.kolmogorov(known, seen) if column.ordered else distance.total_variation(known, seen))
    rows_before, rows = (before.sum(), now.sum()) if question == "missing" else (before[1:].sum(), now[1:].sum())
    old = float(before[0]) if question == "missing" else float(column.novel_rows if column.kind != "continuous" else 0)
    new = float(now[0] if question == "missing" else now[1 : 1 + column.novel].sum())
    first, second = old / rows_before if rows_before else 0.0, new / rows if rows else 0.0
    return Answer(size=second - first, reference=first, current=second)


def _chance(column: Cells, question: Question, before: np.ndarray, now: np.ndarray) -> float:
    if question == "missing":
        return distance.share_chance(float(before[0]), int(before.sum()), float(now[0]), int(now.sum()))
    n, m = int(before[1:].sum()), int(now[1:].sum())
    if question == "novel":
        novel = now[1 : 1 + column.novel]
        if column.kind == "continuous":
            return distance.beyond_chance(int(novel.max(initial=0)), n, m)
        return distance.share_chance(float(column.novel_rows), n, float(novel.sum()), m, column.novel_variance)
    if not n or not m:
        return 1.0
    if column.kind == "discrete":  # the other numbers have no place in the order: they are asked for by "novel"
        before, now = before[1:], now[1:]
    known, seen = _ordered(column, before), _ordered(column, now)
    if column.kind == "categorical" and column.novel_rows and column.buckets == 1:
        known, seen = known[1:], seen[1:]  # the one cell of rare values is smaller than it should be: see sketch
    pooled = distance.g_test(known, seen)
    return min(1.0, 2 * min(pooled, distance.kolmogorov_chance(distance.kolmogorov(known, seen), n, m))) if column.ordered else pooled


def _ordered(column: Cells, counts: np.ndarray) -> np.ndarray:
    """Counts of what is known, in the order of the values: below, the cells, above."""
    if column.kind != "continuous":
        return counts[1:] if len(counts) == column.size else counts
    return np.concatenate([counts[1:2], counts[3:], counts[2:3]])


def _shift(column: Cells, answers: dict[Question, Answer], own: tuple[float, ...]) -> Shift:
    return Shift(
        column=column.name,
        role=column.role,
        kind=column.kind,
        shape=answers.get("shape"),
        missing=answers.get("missing"),
        novel=answers.get("novel"),
        scores=own,
    )


def _described(profile: Profile, current: Counts, shift: Shift, reference: list[int], now: list[int]) -> Shift:
    column = next(c for c in profile.layout.columns if c.name == shift.column)
    before, after = profile.counts.cells[column.name].sum(axis=0), current.cells[column.name].sum(axis=0)
    known, seen = _ordered(column, before), _ordered(column, after)
    both = column.kind != "sequence" and bool(known.sum()) and bool(seen.sum())
    return replace(
        shift,
        psi=distance.population_stability(known, seen) if both else None,
        js=distance.jensen_shannon(known, seen) if both else None,
        wasserstein=describe.moved(column, before, after) if both and column.ordered else None,
        importance=profile.importance.get(column.name),
        strip=describe.strip(column, profile.counts, current, reference, now, shift) if reference and now else None,
        cells=describe.bars(column, before, after) if both else (),
        causes=cause.parts(profile, current, column, shift) if shift.alarm else (),
    )


def _moment(blocks: Blocks | None, index: int) -> datetime | None:
    return datetime.fromtimestamp(blocks.start(index) / 1e6, UTC).replace(tzinfo=None) if blocks else None


def columns_alarmed(found: Comparison, question: Question) -> Iterator[str]:
    """Names of the columns whose answer to the question alarms, in the order of the shifts."""
    return (s.column for s in found.shifts if (s.column, question) in found.alarms[0])
