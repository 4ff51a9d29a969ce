"""The logical date."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click
import pytest
from click.testing import CliRunner

from modelyard import clock
from modelyard.errors import UsageError


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2013-04-01", datetime(2013, 4, 1, tzinfo=UTC)),
        ("2013-04-01T06:30", datetime(2013, 4, 1, 6, 30, tzinfo=UTC)),
        ("2013-04-01T06:30:00+02:00", datetime(2013, 4, 1, 4, 30, tzinfo=UTC)),
        ("2013-04-01T06:30:00Z", datetime(2013, 4, 1, 6, 30, tzinfo=UTC)),
    ],
)
def test_a_date_is_utc_unless_it_says_otherwise(text: str, moment: datetime) -> None:
    """Every accepted form gives an aware time in UTC."""
    found = clock.parse(text)

    assert found == moment
    assert found.utcoffset() == timedelta(0)


@pytest.mark.parametrize("text", ["yesterday", "2013-13-01", "1.4.2013", "0001-01-01T00:00+05:00"])
def test_what_is_no_date_is_a_usage_error(text: str) -> None:
    """It is quoted, and the form is shown."""
    with pytest.raises(UsageError, match="is not a date") as caught:
        clock.parse(text)

    assert text in caught.value.what
    assert "2013-04-01" in caught.value.fix


def test_the_option_comes_before_the_variable_before_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty MODELYARD_NOW, as a workflow passes it where no date was given, is the real clock."""

    @click.command()
    @clock.now_option
    def show(now: datetime) -> None:
        click.echo(now.isoformat())

    def shown(*args: str) -> datetime:
        return datetime.fromisoformat(CliRunner().invoke(show, args, catch_exceptions=False).output.strip())

    for empty in (None, ""):
        if empty is not None:
            monkeypatch.setenv("MODELYARD_NOW", empty)
        assert abs(shown() - datetime.now(UTC)) < timedelta(minutes=1)
    monkeypatch.setenv("MODELYARD_NOW", "2013-04-01")
    assert shown() == datetime(2013, 4, 1, tzinfo=UTC)
    assert shown("--now", "2013-05-01") == datetime(2013, 5, 1, tzinfo=UTC)
