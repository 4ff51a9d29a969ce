"""The decision: one verdict from all checks, and why, in one sentence. No I/O.

1. Broken data alert. No model is trained on them, so a training that is due waits until they are whole.
2. What asks for a training (decay, age, drift) retrains; within the cool-down after a training it waits, and is noted.
3. What asks for a person (drift, performance, release) alerts.
4. Else the live model is healthy; the sentence names what is noted, and what is not known.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from modelyard.monitor import words
from modelyard.monitor.report import Check, Verdict

#: Checks that say whether the data can be believed.
DATA = ("schema", "volume", "freshness", "duplicates", "missing", "novel")
_ORDER = (*DATA, "decay", "age", "drift", "performance", "release", "served")
_QUIET = {"noted": "noted", "unknown": "not known"}


def cooling(now: datetime, last: datetime | None, days: int) -> str:
    """Why no training may start yet, as half a sentence; empty where one may.

    Parameters
    ----------
    last
        Logical date of the last training, whatever came of it; None where there was none.
    """
    if last is None or now >= last + timedelta(days=days):
        return ""
    return f"a model was trained on {words.day(last)}, and the next one waits until {words.day(last + timedelta(days=days))}"


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What follows from the checks."""

    verdict: Verdict
    reason: str  # one sentence
    reasons: tuple[str, ...]  # of the checks that fired, strongest first
    needs_approval: bool
    checks: tuple[Check, ...]  # as given; what a cool-down holds back is only noted


def decide(checks: Iterable[Check], *, cooling: str = "", approval: bool = False) -> Decision:
    """One verdict, and why.

    Parameters
    ----------
    cooling
        From :func:`cooling`: a training that is due waits.
    approval
        A person must start a training that is due.
    """
    given = tuple(checks)
    due = _order(check for check in given if check.status == "retrain")
    alerts = _order(check for check in given if check.status == "alert")
    broken = [check for check in alerts if check.name in DATA]
    others = [check for check in alerts if check.name not in DATA]
    if due and cooling:
        given = tuple(dataclasses.replace(check, status="noted") if check.status == "retrain" else check for check in given)
    verdict: Verdict = "alert" if broken else "retrain" if due and not cooling else "alert" if others else "healthy"
    fired = [*due, *others] if verdict == "retrain" else [*broken, *due, *others]
    return Decision(
        verdict=verdict,
        reason=_sentence(verdict, given, broken, due, others, cooling, approval),
        reasons=tuple(check.message for check in fired),
        needs_approval=approval and verdict == "retrain",
        checks=given,
    )


def _sentence(
    verdict: Verdict,
    checks: Sequence[Check],
    broken: Sequence[Check],
    due: Sequence[Check],
    others: Sequence[Check],
    cooling: str,
    approval: bool,
) -> str:
    """Why, in one sentence: the strongest check in its words, the others by name."""
    waits = f"the training that is due ({_names(due)}) waits"
    if broken:
        held = f", and {waits}" if due else ""
        return f"The data are broken ({_words(broken)}){held}."
    if verdict == "retrain":
        return f"A training is due ({_words(due)})" + (", and a person must start it." if approval else ".")
    held = f"; {waits}: {cooling}" if due else ""
    if verdict == "alert":
        return f"A person should look ({_words(others)}){held}."
    if due:
        return f"Nothing else fired, and {waits}: {cooling}."
    named = {what: _names([check for check in checks if check.status == status]) for status, what in _QUIET.items()}
    beside = "; ".join(f"{what}: {names}" for what, names in named.items() if names)
    return "No check fired" + (f" ({beside})." if beside else ".")


def _words(fired: Sequence[Check]) -> str:
    first = f"{fired[0].name}: {fired[0].message.rstrip('.')}"
    return first + (f"; also {_names(fired[1:])}" if fired[1:] else "")


def _names(fired: Sequence[Check]) -> str:
    return ", ".join(check.name for check in fired)


def _order(fired: Iterable[Check]) -> list[Check]:
    """As the table of the checks has them; one that it does not name comes last."""
    return sorted(fired, key=lambda check: _ORDER.index(check.name) if check.name in _ORDER else len(_ORDER))
