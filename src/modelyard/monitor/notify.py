"""Notifications to chat, mail or a pager, by apprise: it knows some 130 services, each by an address.

The addresses are secrets: they stand in one environment variable, and neither they nor what a service answers is ever printed.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from modelyard.monitor.alarm import Message

#: apprise addresses, separated by spaces or lines.
VARIABLE = "MODELYARD_NOTIFY"


def send(message: Message) -> tuple[str, ...]:
    """Send to each address, and return a sentence on each that could not be reached; nothing is raised.

    Nothing happens where there is no address.
    """
    addresses = os.environ.get(VARIABLE, "").split()
    if not addresses:
        return ()
    try:
        with _silence():
            import apprise
    except ModuleNotFoundError:
        return (f"Nobody was notified: {VARIABLE} is set, but apprise is not installed. Depend on modelyard[notify], and lock anew.",)
    failed = []
    for number, address in enumerate(addresses, 1):
        which = f"address {number} of {len(addresses)} in {VARIABLE}"
        with _silence():
            try:
                service = apprise.Apprise.instantiate(address, suppress_exceptions=True)
                problem = "apprise knows no such service" if service is None else ""
                if service is not None:
                    which += f" ({service.service_name})"
                    sender = apprise.Apprise()
                    sender.add(service)
                    sent = sender.notify(
                        body=message.body, title=message.title, notify_type=message.kind, body_format=apprise.NotifyFormat.MARKDOWN
                    )
                    problem = "" if sent else "the service could not be reached, or refused"
            except Exception as error:  # of a plugin or of what it uses; its words may hold the address
                problem = type(error).__name__
        if problem:
            failed.append(f"Not notified: {which}: {problem}.")
    return tuple(failed)


@contextmanager
def _silence() -> Iterator[None]:
    """No log record and no warning: those of apprise and of what it uses name addresses and tokens."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
