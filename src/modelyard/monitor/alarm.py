"""Who is called, and with which words: the issue of a check, and the message to chat or mail. No I/O.

One issue stands for all that a project's monitor has to say; it is open from the first check that needs a person until one that does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from modelyard.monitor import words
from modelyard.monitor.report import Monitoring, Verdict
from modelyard.outcome import Alert
from modelyard.page.markdown import plain
from modelyard.page.plain import line

_TOLD = 8  # reasons in a comment or message
_ANSWER = """## How to answer

A training is due, and `modelyard.yaml` (`monitor.approval`, or the risk level) asks a person to start it:

- on the forge: Actions, the workflow **train**, Run workflow; or
- in a clone: `gh workflow run train.yml`

It trains, compares the new model with the live one, and proposes it only if it may replace it. Who does nothing keeps the live model: the
next check asks again. This issue closes itself when a check asks for nothing more. The evidence:"""


@dataclass(frozen=True, kw_only=True)
class Message:
    """What is sent to chat or mail."""

    title: str
    body: str  # Markdown
    kind: Literal["info", "success", "warning"]


def needs_person(found: Monitoring) -> bool:
    """Whether somebody has to look, or to start a training; one that starts by itself needs nobody."""
    return found.needs_approval or any(check.status == "alert" for check in found.checks)


def issue(found: Monitoring, summary: str) -> Alert:
    """The issue as it must stand after this check; ``summary`` is its evidence, in Markdown."""
    needs = needs_person(found)
    fired = sorted(check.name for check in found.checks if check.status in ("alert", "retrain"))
    return Alert(
        key=f"monitor:{found.name}",
        title=_title(found, _asks(found)),
        body=f"{_ANSWER}\n\n{summary}" if found.needs_approval else "",
        state=f"{found.verdict}{', to be approved' if found.needs_approval else ''}: {' '.join(fired)}",
        news=_news(found) if needs else f"Over. {_news(found)}",
        over=not needs,
    )


def message(found: Monitoring, before: Verdict | None, link: str = "") -> Message | None:
    """What to send after this check; None where there is nothing to tell.

    Parameters
    ----------
    before
        Verdict of the check before, which says whether an alarm is over; None where there was none.
    link
        Address of the run, or of the report.
    """
    if found.verdict == "healthy" and before != "alert":
        return None
    kind: Literal["info", "success", "warning"] = "warning"
    if found.verdict == "healthy":
        title, kind = "is healthy again", "success"
    elif found.verdict == "retrain" and not found.needs_approval:
        title, kind = "is trained anew", "info"
    else:
        title = _asks(found)
    answer = "Start it on the forge (Actions, train, Run workflow), or by `gh workflow run train.yml`." if found.needs_approval else ""
    return Message(title=_title(found, title), body="\n\n".join(filter(None, [_news(found), answer, link])), kind=kind)


def _title(found: Monitoring, what: str) -> str:
    return f"Modelyard: {line(found.name, 100)} {what}"


def _asks(found: Monitoring) -> str:
    return "waits for a person to start its training" if found.needs_approval else "needs a look"


def _news(found: Monitoring) -> str:
    """Verdict and reason in a line, then what fired, an item each."""
    at = f" on {span}" if (span := words.window(found)) else ""
    told = [reason for reason in dict.fromkeys(found.reasons) if reason.rstrip(".") not in found.reason]
    items = [f"- {plain(reason)}" for reason in told[:_TOLD]] + ([f"- and {len(told) - _TOLD} more"] if len(told) > _TOLD else [])
    head = f"**monitor: {found.verdict}**{at}: {plain(words.reason(found))}"
    return "\n\n".join(filter(None, [head, "\n".join(items)]))
