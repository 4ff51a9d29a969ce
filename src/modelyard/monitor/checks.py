"""Checks of the whole window: one question each, with a status and a sentence. No I/O, and nothing beside the standard library.

============  ============================================================================  ==========================
check         fires when                                                                    says
============  ============================================================================  ==========================
schema        a row or column does not fit                                                  alert: the data are broken
volume        rows per day, as a ratio to the reference's, leave the range                  alert: the data are broken
freshness     there is no row, or the newest one is too old                                 alert: the data are broken
duplicates    the share of repeated rows rose by more than the limit                        alert: the data are broken
missing       a column's missing values alarm, or rose by more than the limit               alert: the data are broken
novel         a column's values never seen alarm                                            alert: the data are broken
decay         a freshly trained model is certainly better, by the limit or more             retrain
age           the live model is as old as it may be                                         retrain
drift         shapes moved in k of the last n blocks, the latest among them                 retrain or alert
performance   the metric certainly fell by more than the limit, and no shadow judges decay  alert
release       main records another version than the registry's champion                     alert
served        the prediction log, where the policy names one, holds no row of the champion  alert
============  ============================================================================  ==========================

:mod:`.decision` makes one verdict of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal

from modelyard.monitor import words
from modelyard.monitor.report import Answer, Calibration, Check, Decay, Performance, Shift

#: What a column holds; "nothing" where no value is known.
Kind = Literal["number", "text", "time", "bool", "nothing"]

_NAMED = 5  # columns named in a sentence


def fits(failures: Sequence[str]) -> Check:
    """The project's own schema; ``failures`` are sentences without a full stop."""
    if not failures:
        return Check(name="schema", status="ok", message="All rows fit the schema.")
    more = f"; and {len(failures) - _NAMED} more" if len(failures) > _NAMED else ""
    return Check(name="schema", status="alert", message=f"Rows break the schema: {'; '.join(failures[:_NAMED])}{more}.")


def schema(reference: Mapping[str, Kind], current: Mapping[str, Kind]) -> Check:
    """Columns by kind, where no project says what a row must be.

    A column that is gone, or holds another kind, alerts. One that is new is noted: nobody was trained on it. One without any value has
    no kind of its own; that is for :func:`missing` to say.
    """
    gone = [name for name in reference if name not in current]
    both = [name for name in reference if name in current and "nothing" not in (reference[name], current[name])]
    changed = [f"{name} holds {current[name]} (was {reference[name]})" for name in both if current[name] != reference[name]]
    new = [name for name in current if name not in reference]
    told = [f"{what}: {_list(names)}" for what, names in (("gone", gone), ("of another kind", changed), ("new", new)) if names]
    message = f"Columns {'; '.join(told)}." if told else f"All {len(reference)} columns are there, each of its kind."
    return Check(name="schema", status="alert" if gone or changed else "noted" if new else "ok", message=message)


def volume(rows: int, days: float | None, reference_rows: int, reference_days: float | None, *, least: float, most: float) -> Check:
    """Rows per day against the reference's.

    Parameters
    ----------
    days, reference_days
        Days that the rows cover; None where they have no time: then only an empty window can be told.
    least, most
        Range that the ratio may have.
    """
    if not rows:
        return Check(name="volume", status="alert", message="There are no rows.")
    if not (days and reference_days and reference_rows):
        return Check(
            name="volume", status="unknown", message=f"{rows:,} row{'s' * (rows != 1)}; without times it is not known over how many days."
        )
    now, before = rows / days, reference_rows / reference_days
    ratio = now / before
    text = f"{_count(now)} rows a day, {ratio:.2f} times the reference's {_count(before)}"
    if least <= ratio <= most:
        return Check(name="volume", status="ok", message=f"{text}.")
    return Check(name="volume", status="alert", message=f"{text}; {least:g} to {most:g} are allowed.")


def freshness(newest: datetime | None, end: datetime | None, stale_days: float, *, rows: int) -> Check:
    """The newest row against the window's end.

    Parameters
    ----------
    newest
        Its event time; None where rows have no time.
    end
        End of the window; None where nobody says until when rows should be there.
    """
    if not rows:
        return Check(name="freshness", status="alert", message="No new row has come.")
    if newest is None or end is None:
        why = "the rows have no time" if newest is None else "nobody says until when there should be rows"
        return Check(name="freshness", status="unknown", message=f"Not known: {why}.")
    age = (end - newest) / timedelta(days=1)
    text = f"The newest row is of {words.day(newest)}"
    if age > stale_days:
        return Check(name="freshness", status="alert", message=f"{text}, {age:.0f} days old; {stale_days:g} are allowed.")
    return Check(name="freshness", status="ok", message=f"{text}.")


def duplicates(share: float | None, reference: float | None, *, limit: float) -> Check:
    """Share of rows that repeat an earlier one, against the reference's; None where it was not counted."""
    if share is None or reference is None:
        return Check(name="duplicates", status="unknown", message="Repeated rows were not counted.")
    text = f"{words.percent(share)} of the rows are repeated, in the reference {words.percent(reference)}"
    if share - reference > limit:
        return Check(name="duplicates", status="alert", message=f"{text}: {words.percent(limit)} more are allowed.")
    return Check(name="duplicates", status="ok", message=f"{text}.")


def missing(columns: Iterable[Shift], *, limit: float) -> Check:
    """Columns in which more values are missing than the reference's blocks know, or by more than ``limit``.

    Labels are left out: they come later.
    """
    asked = [(shift.column, shift.missing) for shift in columns if shift.missing and shift.role != "label"]
    risen = [(name, answer) for name, answer in asked if answer.size > limit or (answer.alarm and answer.size > 0)]
    if not risen:
        return Check(name="missing", status="ok", message=f"Of {len(asked)} columns none misses more values than is usual.")
    return Check(name="missing", status="alert", message=f"More values are missing: {_changes(risen)}.")


def novel(columns: Iterable[Shift]) -> Check:
    """Columns with more values never seen than chance, or the reference's blocks, know."""
    asked = [(shift.column, shift.novel) for shift in columns if shift.novel]
    alarmed = [(name, answer) for name, answer in asked if answer.alarm and answer.size > 0]
    if not alarmed:
        said = f"Of {len(asked)} columns none holds more values than is usual that were never seen, or too rare to count."
        return Check(name="novel", status="ok", message=said)
    return Check(name="novel", status="alert", message=f"Values never seen before, or too rare to count: {_changes(alarmed)}.")


def drift(
    columns: Iterable[Shift],
    calibration: Calibration,
    decay: Decay | None,
    *,
    need: int,
    of: int,
    says: Literal["alert", "retrain"],
) -> Check:
    """Whether shapes moved, for long enough to count.

    By blocks, ``need`` of the last ``of`` must alarm, the latest among them; a window of fewer than ``need`` blocks calls for a person at
    most. By chance, the whole window is one question; since that assumes independent rows, which rows of one day are not, it calls for a
    person at most. Where labels say that the live model holds (``decay`` found "no"), drift is noted, and nobody is called.
    """
    moved = [shift for shift in columns if shift.shape and shift.shape.alarm]
    if calibration.rule == "none":
        return Check(name="drift", status="unknown", message="Not known: there is nothing to compare.")
    if not moved and not any(calibration.moved[-of:]):
        return Check(name="drift", status="ok", message="No column's shape moved more than is usual.")
    told = _list([f"{_called(shift)} {words.percent(shift.shape.size)}" for shift in moved if shift.shape])
    holds = decay is not None and decay.found == "no"
    noted = "; the labels say that the model holds" if holds else ""
    if calibration.rule == "chance":
        status: Literal["noted", "alert"] = "noted" if holds else "alert"
        message = f"Shapes moved (assumes {calibration.assumes}): {told}{noted}."
        return Check(name="drift", status=status, message=message)
    alarmed = calibration.moved[-of:]
    one = words.blocks(calibration, 1)
    where = f"{sum(alarmed)} of the last {len(alarmed)} {one}s" if len(alarmed) > 1 else f"the only {one}"
    if not alarmed[-1]:
        return Check(name="drift", status="noted", message=f"Shapes moved in {where}, but the latest is as usual.")
    if sum(alarmed) < min(need, len(alarmed)):
        return Check(name="drift", status="noted", message=f"Shapes moved in {where}, but {need} are needed: {told}{noted}.")
    latest = ", the latest included" if len(alarmed) > 1 else ""
    message = f"Shapes moved in {where}{latest}: {told}{noted}."
    if holds:
        return Check(name="drift", status="noted", message=message)
    return Check(name="drift", status=says if len(alarmed) >= need else "alert", message=message)


def performance(found: Performance | None, unknown: str, *, limit: float, shadow: bool) -> Check:
    """The metric against its level at release.

    A lower level is noted and no more, since seasons and weather move it as much as decay does: :func:`decay` judges on the same rows. Only
    where no shadow is trained, a certain loss of more than ``limit`` calls for a person.

    Parameters
    ----------
    unknown
        Why it is not known, where ``found`` is None.
    """
    if found is None:
        return Check(name="performance", status="unknown", message=f"How well the model does is not known: {unknown}.")
    span = words.interval(found.lower, found.upper)
    text = f"{found.metric} {words.number(found.value)}" + (f" (95 %: {span})" if span else "")
    text += f" on {found.rows:,} labelled rows of {found.days} days"
    if words.known(found.at_release) is not None:
        text += f"; at release {words.number(found.at_release)}"
    lost = _certain_loss(found)
    if not shadow and lost > limit:
        return Check(name="performance", status="alert", message=f"{text}, so worse by more than {limit:g}.")
    if lost > 0:
        return Check(name="performance", status="noted", message=f"{text}, so worse.")
    return Check(name="performance", status="ok", message=f"{text}.")


def decay(found: Decay | None, unknown: str) -> Check:
    """The gain of a freshly trained model over the live one; ``unknown`` says why there is none to tell."""
    if found is None:
        return Check(name="decay", status="unknown", message=f"Whether the model has decayed is not known: {unknown}.")
    status: Literal["retrain", "ok", "unknown"] = {"yes": "retrain", "no": "ok", "undetermined": "unknown"}[found.found]  # type: ignore[assignment]
    return Check(name="decay", status=status, message=words.decay(found))


def age(days: float, limit: int | None) -> Check:
    """Days since the champion's logical date."""
    if limit is not None and days >= limit:
        return Check(name="age", status="retrain", message=f"The live model is {days:.0f} days old; {limit} are allowed.")
    return Check(name="age", status="ok", message=f"The live model is {days:.0f} days old" + (f" of {limit}." if limit else "."))


def release(recorded: str, live: str | None) -> Check:
    """Whether what main records is what is live.

    Parameters
    ----------
    recorded
        Model version in main's release record.
    live
        Version of the alias ``champion``; empty where none has it, None where the registry is not there to be asked.
    """
    if live is None:
        return Check(name="release", status="unknown", message="The registry was not asked: there is no state here.")
    if live != recorded:
        what = f"version {live} is live" if live else "nothing is live"
        return Check(name="release", status="alert", message=f"main records version {recorded}, but {what}: run promote, or train.")
    return Check(name="release", status="ok", message=f"Version {live} is recorded and live.")


def served(rows: int, version: str, left_out: Mapping[str, int], *, missing: int | None, ambiguous: int = 0, damaged: int = 0) -> Check:
    """How much of the prediction log was watched: the champion's rows of the window, each once.

    Parameters
    ----------
    left_out
        Why -> rows of the log that were not taken.
    missing
        Rows whose id ``load()`` does not return; None where no id is known.
    ambiguous
        Ids for which it returns several rows.
    damaged
        Lines of the log that cannot be read.
    """
    told = [f"{count:,} {why}" for why, count in left_out.items() if count]
    said = [f"{rows:,} row{'s' * (rows != 1)} served by version {version}"]
    said += [f"left out: {', '.join(told)}"] if told else []
    said += [f"{missing:,} are not in load()"] if missing else []
    said += [f"{ambiguous:,} ids stand for several rows of load()"] if ambiguous else []
    said += [f"{damaged:,} damaged lines of the log"] if damaged else []
    message = f"{'; '.join(said)}."
    if not rows:
        return Check(name="served", status="alert", message=f"The prediction log holds none of this window: {message}")
    return Check(name="served", status="noted" if said[1:] else "ok", message=message)


def _certain_loss(found: Performance) -> float:
    """How far the better end of the interval lies below the level at release; negative where it does not, or is not known."""
    level, upper, lower = words.known(found.at_release), words.known(found.upper), words.known(found.lower)
    best = upper if found.more_is_better else lower
    if level is None or best is None:
        return float("-inf")
    return level - best if found.more_is_better else best - level


def _changes(columns: Sequence[tuple[str, Answer]]) -> str:
    return _list([f"{name} {words.size('share', answer)}" for name, answer in columns])


def _called(shift: Shift) -> str:
    return {"prediction": "the prediction", "label": "the label"}.get(shift.role, shift.column)


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _count(rows: float) -> str:
    return f"{rows:,.0f}" if rows >= 10 else f"{rows:.2g}"
