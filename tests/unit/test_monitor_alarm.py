"""The words of the issue and of the message: who is called, when, and how to answer."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from modelyard.monitor import alarm
from modelyard.monitor.report import Calibration, Check, Monitoring

STATES = {
    "healthy": {},
    "alert": {"volume": "alert"},
    "retrain": {"age": "retrain"},
    "retrain and alert": {"age": "retrain", "release": "alert"},
    "approval": {"age": "retrain"},
}


def found(state: str, **more: Any) -> Monitoring:
    fired = STATES[state]
    given: dict[str, Any] = {
        "verdict": {"approval": "retrain"}.get(state, state.split()[0]),
        "reason": "The reason (volume: few).",
        "reasons": tuple(f"What {name} says." for name in fired),
        "name": "flights",
        "now": datetime(2013, 7, 1, tzinfo=UTC),
        "window": (datetime(2013, 6, 3), datetime(2013, 7, 1)),
        "rows": 1,
        "reference_rows": 1,
        "champion": None,
        "checks": (Check(name="schema", status="ok", message="."), *(Check(name=n, status=s, message=".") for n, s in fired.items())),  # type: ignore[arg-type]
        "calibration": Calibration(rule="none", blocks=0, block_days=None, level=0.01, assumes=""),
        "columns": (),
        "needs_approval": state == "approval",
    }
    return Monitoring(**given | more)


@pytest.mark.parametrize(
    ("state", "over", "mark"),
    [
        ("healthy", True, "healthy: "),
        ("alert", False, "alert: volume"),
        ("retrain", True, "retrain: age"),
        ("retrain and alert", False, "retrain: age release"),
        ("approval", False, "retrain, to be approved: age"),
    ],
)
def test_an_issue_is_open_while_a_person_is_needed(state: str, over: bool, mark: str) -> None:
    """A training that starts by itself needs nobody; what has changed is verdict or set of reasons, not their numbers."""
    issue = alarm.issue(found(state), "summary")

    assert (issue.key, issue.over, issue.state) == ("monitor:flights", over, mark)
    assert alarm.issue(found(state, reasons=("Other numbers.",), reason="Other."), "another").state == mark


def test_the_issue_for_approval_says_how_to_answer() -> None:
    """By the forge's page or by one command; then the evidence, which is the check's summary. Any other issue is the summary."""
    asked, told = alarm.issue(found("approval"), "the summary"), alarm.issue(found("alert"), "the summary")

    assert asked.title == "Modelyard: flights waits for a person to start its training"
    assert "Actions, the workflow **train**, Run workflow" in asked.body
    assert "`gh workflow run train.yml`" in asked.body
    assert asked.body.endswith("The evidence:\n\nthe summary")
    assert (told.title, told.body) == ("Modelyard: flights needs a look", "")


def test_news_are_the_reason_and_the_others() -> None:
    """What the reason says already is not said again; of many reasons, eight. When it is over, the first word says so."""
    told = alarm.issue(found("alert", reasons=("few.", *(f"Reason {n}." for n in range(10)))), "").news

    assert told.startswith("**monitor: alert** on 2013-06-03 to 2013-07-01: The reason (volume: few).\n\n- Reason 0.\n")
    assert told.endswith("- Reason 7.\n- and 2 more")
    assert alarm.issue(found("healthy"), "").news.startswith("Over. **monitor: healthy**")


@pytest.mark.parametrize(
    ("state", "before", "title", "kind"),
    [
        ("healthy", None, None, ""),
        ("healthy", "healthy", None, ""),
        ("healthy", "retrain", None, ""),
        ("healthy", "alert", "is healthy again", "success"),
        ("alert", None, "needs a look", "warning"),
        ("alert", "alert", "needs a look", "warning"),
        ("retrain", "alert", "is trained anew", "info"),
        ("approval", "retrain", "waits for a person to start its training", "warning"),
    ],
)
def test_people_are_told_of_alarms_and_of_their_end(state: str, before: Any, title: str | None, kind: str) -> None:
    """Whatever is healthy and was so is not worth a message."""
    message = alarm.message(found(state), before, "https://forge.example/run/7")

    if title is None:
        assert message is None
        return
    assert message
    assert (message.title, message.kind) == (f"Modelyard: flights {title}", kind)
    assert message.body.endswith("https://forge.example/run/7")
    assert ("gh workflow run train.yml" in message.body) is (state == "approval")


def test_what_stands_in_the_data_cannot_speak() -> None:
    """A name from the data calls nobody, and is no markup."""
    issue = alarm.issue(found("alert", reason="Gone: @everyone <!-- modelyard:x y --> **b**.", name="a\nb"), "")

    assert "@everyone" not in issue.news
    assert "<!--" not in issue.news.replace("\\<!--", "")
    assert issue.title == "Modelyard: a b needs a look"
