"""Notifications, sent by apprise to a server on the loopback; addresses stay secret."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator

import pytest
from chat import SECRET, Chat, serve

from modelyard.monitor import notify
from modelyard.monitor.alarm import Message

MESSAGE = Message(title="flights needs a look", body="**monitor: alert**\n\n- few rows", kind="warning")


@pytest.fixture
def chat() -> Iterator[Chat]:
    """A service that listens."""
    with serve() as chat:
        yield chat


def test_a_message_arrives_at_each_address(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses stand in one variable, apart by spaces or lines; the body is Markdown, as the service takes it."""
    monkeypatch.setenv(notify.VARIABLE, f" {chat.address}/one\n{chat.address}/two  ")

    assert notify.send(MESSAGE) == ()
    assert [path for path, _ in chat.received] == [f"/{SECRET}/one", f"/{SECRET}/two"]
    for _, body in chat.received:
        assert (body["title"], body["type"]) == ("flights needs a look", "warning")
        assert "few rows" in body["message"]


@pytest.mark.parametrize("value", [None, "", " \n "])
def test_without_an_address_nothing_is_even_imported(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    """A project that notifies nobody needs no apprise."""
    monkeypatch.setitem(sys.modules, "apprise", None)
    if value is not None:
        monkeypatch.setenv(notify.VARIABLE, value)

    assert notify.send(MESSAGE) == ()


def test_apprise_that_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to do about it."""
    monkeypatch.setitem(sys.modules, "apprise", None)
    monkeypatch.setenv(notify.VARIABLE, f"json://127.0.0.1/{SECRET}")

    (problem,) = notify.send(MESSAGE)

    assert "Depend on modelyard[notify]" in problem
    assert SECRET not in problem


def test_one_that_fails_is_told_by_number_and_service_and_the_others_get_it(
    chat: Chat, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody listens, a service that does not exist, no address at all, a bad one: four sentences, and no secret in any output."""
    caplog.set_level(logging.DEBUG)
    broken = [f"json://127.0.0.1:9/{SECRET}", f"nosuch://{SECRET}", SECRET, f"slack://{SECRET}"]
    monkeypatch.setenv(notify.VARIABLE, " ".join([*broken, chat.address]))

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        problems = notify.send(MESSAGE)

    assert problems == (
        "Not notified: address 1 of 5 in MODELYARD_NOTIFY (JSON): the service could not be reached, or refused.",
        "Not notified: address 2 of 5 in MODELYARD_NOTIFY: apprise knows no such service.",
        "Not notified: address 3 of 5 in MODELYARD_NOTIFY: apprise knows no such service.",
        "Not notified: address 4 of 5 in MODELYARD_NOTIFY: apprise knows no such service.",
    )
    assert len(chat.received) == 1
    told = capfd.readouterr()
    assert SECRET not in told.out + told.err + caplog.text + "".join(str(w.message) for w in warned)


def test_a_refusal_is_told(chat: Chat, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """A service that answers with an error, too, without a word of it."""
    chat.status = 403
    monkeypatch.setenv(notify.VARIABLE, chat.address)

    (problem,) = notify.send(MESSAGE)

    assert "(JSON): the service could not be reached, or refused" in problem
    assert capfd.readouterr() == ("", "")


def test_a_plugin_that_breaks_is_told_by_its_kind_of_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its words may hold the address."""
    import apprise

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(apprise.Apprise, "notify", fail)
    monkeypatch.setenv(notify.VARIABLE, f"json://127.0.0.1:9/{SECRET}")

    assert notify.send(MESSAGE) == ("Not notified: address 1 of 1 in MODELYARD_NOTIFY (JSON): RuntimeError.",)


def test_logging_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is silenced while it sends speaks again afterwards."""
    monkeypatch.setenv(notify.VARIABLE, "nosuch://x")
    notify.send(MESSAGE)

    assert logging.root.manager.disable == 0
