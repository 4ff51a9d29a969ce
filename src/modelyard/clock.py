"""The logical date: every verb that asks "until when" asks here."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from modelyard.errors import UsageError


def parse(text: str) -> datetime:
    """Read an ISO 8601 date or time; without a zone it is UTC.

    Returns
    -------
    datetime
        Aware, in UTC.
    """
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(f"{text!r} is not a date.", "Write it as 2013-04-01 or 2013-04-01T06:00:00+00:00.") from None


def _callback(_: click.Context, __: click.Parameter, value: str | None) -> datetime:
    return parse(value) if value else datetime.now(UTC)


#: ``--now`` / ``MODELYARD_NOW``; the real clock where neither is given. Exact backfills, replays and tests rest on it.
now_option = click.option(
    "--now",
    envvar="MODELYARD_NOW",
    callback=_callback,
    metavar="DATE",
    help="Logical date, ISO 8601; default: the real clock. Also MODELYARD_NOW.",
)
